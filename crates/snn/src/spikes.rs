//! Spike trains: one bit per neuron and time step.

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// Words of a line of the cache.
const LINE: usize = 8;

/// Steps do not lie a multiple of so many words apart: their lines would share few sets of the first-level cache.
const ALIASING: usize = 64;

/// Spikes of a layer over all time steps of one sample.
///
/// Neurons are numbered channel by channel, row by row, as everywhere; their bits lie position by position, the channels of
/// a position side by side (channels last), for that is how a convolution reads them. Bits `[T, H·W·C]`, each step padded to
/// whole 64-bit words or more; the padding is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpikeTrain {
    shape: [usize; 3],
    n_steps: usize,
    words: Vec<u64>,
}

impl SpikeTrain {
    /// A train without a spike.
    ///
    /// - `shape`: `[C, H, W]`; `[n, 1, 1]` for a fully connected layer of n
    #[inline]
    pub fn silent(shape: [usize; 3], n_steps: usize) -> Self {
        let mut train = Self { shape, n_steps, words: Vec::new() };
        train.words = vec![0; n_steps * train.pitch()];
        train
    }

    /// `[C, H, W]`.
    #[inline]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of neurons N.
    #[inline]
    pub fn n_neurons(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of time steps T.
    #[inline]
    pub fn n_steps(&self) -> usize {
        self.n_steps
    }

    fn n_positions(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    fn place(&self, neuron: usize) -> usize {
        let n_positions = self.n_positions();
        if n_positions == 1 { neuron } else { neuron % n_positions * self.shape[0] + neuron / n_positions }
    }

    /// Words of 64 bits that the spikes of a step take.
    #[inline]
    pub fn words_per_step(&self) -> usize {
        self.n_neurons().div_ceil(WORD)
    }

    /// Words from a step to the next.
    fn pitch(&self) -> usize {
        let n_words = self.words_per_step();
        if n_words > 0 && n_words.is_multiple_of(ALIASING) { n_words + LINE } else { n_words }
    }

    /// The bits of a step (from 0), by place.
    #[inline]
    pub fn words(&self, step: usize) -> &[u64] {
        &self.words[step * self.pitch()..][..self.words_per_step()]
    }

    /// Adds a spike of a neuron at a step, both from 0.
    #[inline]
    pub fn add(&mut self, step: usize, neuron: usize) {
        debug_assert!(neuron < self.n_neurons(), "a spike of a neuron that is there");
        let place = self.place(neuron);
        let word = step * self.pitch() + place / WORD;
        self.words[word] |= 1 << (place % WORD);
    }

    /// Adds the spikes at up to 64 places from `first` on, bit k for place `first + k`, at a step from 0.
    #[inline]
    pub fn add_bits(&mut self, step: usize, first: usize, bits: u64) {
        let pitch = self.pitch();
        add_bits(&mut self.words[step * pitch..][..pitch], first, bits);
    }

    /// All words of all steps, and how many lie from a step to the next.
    #[inline]
    pub fn words_mut(&mut self) -> (&mut [u64], usize) {
        let pitch = self.pitch();
        (&mut self.words, pitch)
    }

    /// Adds the spikes of a step, from 0.
    ///
    /// - `fired`: `[N]`, other than zero where a neuron spikes
    #[inline]
    pub fn add_row(&mut self, step: usize, fired: &[f32]) {
        let in_order = self.n_positions() == 1;
        for (chunk_idx, chunk) in fired.chunks(WORD).enumerate() {
            let first = chunk_idx * WORD;
            let mut bits = 0;
            for (eighth_idx, eighth) in chunk.chunks(8).enumerate() {
                // Most are silent, and whether all of eight are is one comparison.
                if eighth.iter().fold(0, |any, spike| any | spike.to_bits()) != 0 {
                    let of = |(lane, &spike): (usize, &f32)| u64::from(spike != 0.0) << (eighth_idx * 8 + lane);
                    bits |= eighth.iter().enumerate().map(of).fold(0, |a, b| a | b);
                }
            }
            if in_order {
                self.add_bits(step, first, bits);
            } else {
                while bits != 0 {
                    self.add(step, first + bits.trailing_zeros() as usize);
                    bits &= bits - 1;
                }
            }
        }
    }

    /// Keeps the spikes that a step and a neuron, both from 0, say are to be kept.
    #[inline]
    pub fn retain(&mut self, keeps: impl Fn(usize, usize) -> bool) {
        let pitch = self.pitch();
        let (channels, n_positions) = (self.shape[0], self.n_positions());
        for (word_idx, word) in self.words.iter_mut().enumerate() {
            let (step, first) = (word_idx / pitch, word_idx % pitch * WORD);
            let mut rest = *word;
            while rest != 0 {
                let place = first + rest.trailing_zeros() as usize;
                let neuron = if n_positions == 1 { place } else { place % channels * n_positions + place / channels };
                if !keeps(step, neuron) {
                    *word &= !(1 << (place % WORD));
                }
                rest &= rest - 1;
            }
        }
    }

    /// Whether a neuron spikes at a step, both from 0.
    #[inline]
    pub fn get(&self, step: usize, neuron: usize) -> bool {
        assert!(neuron < self.n_neurons(), "neuron {neuron} of {}", self.n_neurons());
        let place = self.place(neuron);
        self.words(step)[place / WORD] >> (place % WORD) & 1 == 1
    }

    /// Whether there is no spike at all.
    #[inline]
    pub fn is_silent(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The places that spike at a step, ascending.
    #[inline]
    pub fn places(&self, step: usize) -> impl Iterator<Item = usize> {
        self.words(step).iter().enumerate().flat_map(|(word_idx, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                (rest != 0).then(|| {
                    rest &= rest - 1;
                    word_idx * WORD + bit
                })
            })
        })
    }

    /// The neurons that spike at a step (from 0), position by position.
    #[inline]
    pub fn neurons(&self, step: usize) -> impl Iterator<Item = usize> {
        let (channels, n_positions) = (self.shape[0], self.n_positions());
        let neuron = move |place: usize| place % channels * n_positions + place / channels;
        self.places(step).map(move |place| if n_positions == 1 { place } else { neuron(place) })
    }

    /// Number of spikes at a step (from 0).
    #[inline]
    pub fn n_spikes(&self, step: usize) -> usize {
        self.words(step).iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Number of spikes at all steps.
    #[inline]
    pub fn n_spikes_in_all(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Appends the steps of another train of the same shape.
    #[inline]
    pub fn append(&mut self, later: &Self) {
        assert_eq!(self.shape, later.shape, "trains of one layer");
        self.words.extend_from_slice(&later.words);
        self.n_steps += later.n_steps;
    }

    /// One step with a spike of each neuron that spikes at any step.
    #[must_use]
    #[inline]
    pub fn at_any_step(&self) -> Self {
        self.fold(0, |a, b| a | b)
    }

    /// One step with a spike of each neuron that spikes at every step.
    #[must_use]
    #[inline]
    pub fn at_every_step(&self) -> Self {
        self.fold(u64::MAX, |a, b| a & b)
    }

    fn fold(&self, start: u64, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut folded = Self::silent(self.shape, 1);
        for (word, to) in folded.words[..self.words_per_step()].iter_mut().enumerate() {
            *to = (0..self.n_steps).map(|step| self.words(step)[word]).fold(start, &join);
        }
        folded
    }

    /// Adds the spikes of another train of the same shape and number of steps.
    #[inline]
    pub fn unite(&mut self, other: &Self) {
        assert_eq!((self.shape, self.n_steps), (other.shape, other.n_steps), "trains of one layer");
        self.words.iter_mut().zip(&other.words).for_each(|(to, from)| *to |= from);
    }

    /// Number of spikes of each neuron over all steps, `[N]`.
    #[inline]
    pub fn counts(&self) -> Vec<u32> {
        let mut by_place = vec![0; self.n_neurons()];
        for step in 0..self.n_steps {
            for place in self.places(step) {
                by_place[place] += 1;
            }
        }
        (0..self.n_neurons()).map(|neuron| by_place[self.place(neuron)]).collect()
    }
}

/// Sets up to 64 bits from `first` on.
#[inline]
pub fn add_bits(words: &mut [u64], first: usize, bits: u64) {
    let (word, shift) = (first / WORD, first % WORD);
    words[word] |= bits << shift;
    // What does not fit into the word, if anything.
    let rest = bits.checked_shr((WORD - shift) as u32).unwrap_or(0);
    if rest != 0 {
        words[word + 1] |= rest;
    }
}

/// Up to 64 bits from `first` on; what lies behind `n` of them means nothing.
#[inline(always)]
#[allow(clippy::inline_always, reason = "part of the loops that make lists")]
pub fn word_from(words: &[u64], first: usize, n: usize) -> u64 {
    let (word, shift) = (first / WORD, first % WORD);
    let bits = words[word] >> shift;
    if shift + n > WORD { bits | words[word + 1] << (WORD - shift) } else { bits }
}

/// Up to 64 bits from `first` on.
#[cfg(test)]
#[inline]
pub fn bits_of(words: &[u64], first: usize, n: usize) -> u64 {
    (0..n).fold(0, |bits, i| bits | (words[(first + i) / WORD] >> ((first + i) % WORD) & 1) << i)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spikes_are_found_where_they_were_put() {
        let spikes = [(0, 0), (0, 63), (0, 64), (2, 99)];
        let mut train = SpikeTrain::silent([100, 1, 1], 3);
        assert!(train.is_silent());
        for (step, neuron) in spikes {
            train.add(step, neuron);
        }
        for step in 0..3 {
            let expected: Vec<usize> = spikes.iter().filter(|spike| spike.0 == step).map(|spike| spike.1).collect();
            assert_eq!(train.neurons(step).collect::<Vec<_>>(), expected);
            assert_eq!(train.n_spikes(step), expected.len());
            assert!((0..100).all(|neuron| train.get(step, neuron) == expected.contains(&neuron)));
        }
        let counts = train.counts();
        assert_eq!((counts[63], counts[98], counts.iter().sum::<u32>()), (1, 0, 4));
    }

    #[test]
    fn neurons_that_spike_at_any_and_at_every_step_are_told_apart() {
        let mut train = SpikeTrain::silent([70, 1, 1], 2);
        for (step, neuron) in [(0, 3), (0, 66), (1, 66), (1, 69)] {
            train.add(step, neuron);
        }
        let mut any = train.at_any_step();
        assert_eq!(any.neurons(0).collect::<Vec<_>>(), [3, 66, 69]);
        assert_eq!(train.at_every_step().neurons(0).collect::<Vec<_>>(), [66]);
        let mut other = SpikeTrain::silent([70, 1, 1], 1);
        other.add(0, 5);
        any.unite(&other);
        assert_eq!(any.neurons(0).collect::<Vec<_>>(), [3, 5, 66, 69]);
    }

    #[test]
    fn bits_land_at_their_first_place() {
        let mut train = SpikeTrain::silent([130, 1, 1], 2);
        train.add_bits(1, 64, 0b101);
        train.add_bits(1, 94, 0b11 << 33);
        assert_eq!(train.neurons(1).collect::<Vec<_>>(), [64, 66, 127, 128]);
        assert_eq!(train.n_spikes(0), 0);
    }

    proptest! {
        #[test]
        fn channels_of_a_position_lie_side_by_side(
            shape in (1..80_usize, 1..5_usize, 1..5_usize), picks in proptest::collection::vec(any::<u32>(), 1..40),
        ) {
            let shape = [shape.0, shape.1, shape.2];
            let (channels, n_positions) = (shape[0], shape[1] * shape[2]);
            let mut train = SpikeTrain::silent(shape, 2);
            let mut neurons: Vec<usize> = picks.iter().map(|&pick| pick as usize % train.n_neurons()).collect();
            for &neuron in &neurons {
                train.add(1, neuron);
            }
            neurons.sort_unstable();
            neurons.dedup();
            let mut found: Vec<usize> = train.neurons(1).collect();
            found.sort_unstable();
            prop_assert_eq!(&found, &neurons);
            prop_assert!(neurons.iter().all(|&neuron| train.get(1, neuron) && train.counts()[neuron] == 1));
            let mut by_row = SpikeTrain::silent(shape, 2);
            by_row.add_row(1, &(0..train.n_neurons()).map(|n| f32::from(u8::from(train.get(1, n)))).collect::<Vec<_>>());
            prop_assert_eq!(&by_row, &train);
            for position in 0..n_positions {
                let expected: Vec<u32> =
                    (0..channels as u32).filter(|&c| neurons.contains(&(c as usize * n_positions + position))).collect();
                let bits = |channel: usize, n| bits_of(train.words(1), position * channels + channel, n);
                let found = (0..channels as u32).filter(|&c| bits(c as usize, 1) == 1);
                prop_assert_eq!(found.collect::<Vec<u32>>(), expected);
                let first = channels.min(64);
                let together = (0..first).map(|channel| bits(channel, 1) << channel).sum::<u64>();
                prop_assert_eq!(bits(0, first), together);
            }
        }
    }
}
