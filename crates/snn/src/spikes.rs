//! Spike trains: one bit per neuron and time step, and where spikes carry more, their signs and magnitudes as further planes of bits.

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
///
/// A spike stands for one quantum, unless the train is graded ([`Self::is_graded`]): then for a number of them, which may be negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpikeTrain {
    shape: [usize; 3],
    n_steps: usize,
    words: Vec<u64>,
    /// `None` where every spike stands for one quantum.
    grades: Option<Box<Grades>>,
}

/// What spikes stand for, in the layout of the spikes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Grades {
    /// Spikes that take quanta back.
    negative: Vec<u64>,
    /// Bit k of each spike's magnitude less one; the last plane has a bit.
    beyond_one: Vec<Vec<u64>>,
}

impl SpikeTrain {
    /// A train without a spike.
    ///
    /// - `shape`: `[C, H, W]`; `[n, 1, 1]` for a fully connected layer of n
    #[inline]
    pub fn silent(shape: [usize; 3], n_steps: usize) -> Self {
        let mut train = Self { shape, n_steps, words: Vec::new(), grades: None };
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

    /// Adds a spike of some quanta of a neuron at a step, both from 0; nothing where there are none.
    ///
    /// - the neuron has no spike at the step so far
    pub fn add_quanta(&mut self, step: usize, neuron: usize, quanta: i32) {
        if quanta == 0 {
            return;
        }
        self.add(step, neuron);
        let place = self.place(neuron);
        if quanta < 0 {
            self.add_negative_bits(step, place, 1);
        }
        let beyond_one = quanta.unsigned_abs() - 1;
        for plane in (0..u32::BITS - beyond_one.leading_zeros()).filter(|plane| beyond_one >> plane & 1 == 1) {
            self.add_beyond_one(step, plane as usize, place, 1);
        }
    }

    /// Says of spikes at up to 64 places from `first` on, bit k for place `first + k`, that they take quanta back.
    #[inline]
    pub fn add_negative_bits(&mut self, step: usize, first: usize, bits: u64) {
        let (pitch, len) = (self.pitch(), self.words.len());
        let negative = &mut self.grades.get_or_insert_default().negative;
        negative.resize(len, 0);
        add_bits(&mut negative[step * pitch..][..pitch], first, bits);
    }

    /// Says of spikes at up to 64 places that a bit of their magnitude less one is set.
    ///
    /// - `plane`: of the bit, which is worth `2^plane`
    #[inline]
    pub fn add_beyond_one(&mut self, step: usize, plane: usize, first: usize, bits: u64) {
        let (pitch, len) = (self.pitch(), self.words.len());
        let planes = &mut self.grades.get_or_insert_default().beyond_one;
        planes.resize_with(planes.len().max(plane + 1), || vec![0; len]);
        add_bits(&mut planes[plane][step * pitch..][..pitch], first, bits);
    }

    /// Whether any spike stands for another number of quanta than one.
    #[inline]
    pub fn is_graded(&self) -> bool {
        self.grades.is_some()
    }

    /// Quanta of a neuron at a step, both from 0; 0 where it does not spike.
    pub fn quanta(&self, step: usize, neuron: usize) -> i32 {
        if self.get(step, neuron) { self.quanta_at(step, self.place(neuron)) } else { 0 }
    }

    /// Quanta of the spike at a place.
    fn quanta_at(&self, step: usize, place: usize) -> i32 {
        let Some(grades) = &self.grades else { return 1 };
        let at = step * self.pitch() + place / WORD;
        let bit = |plane: &Vec<u64>| plane.get(at).map_or(0, |word| (word >> (place % WORD) & 1) as i32);
        let planes = grades.beyond_one.iter().enumerate();
        let magnitude = 1 + planes.map(|(k, plane)| bit(plane) << k).sum::<i32>();
        if bit(&grades.negative) == 1 { -magnitude } else { magnitude }
    }

    /// The spikes of a step, by place, and how many quanta each stands for.
    #[inline]
    pub fn graded_places(&self, step: usize) -> impl Iterator<Item = (usize, i32)> {
        self.places(step).map(move |place| (place, self.quanta_at(step, place)))
    }

    /// The neurons that spike at a step, and how many quanta each spike stands for.
    #[inline]
    pub fn graded_neurons(&self, step: usize) -> impl Iterator<Item = (usize, i32)> {
        self.neurons(step).map(move |neuron| (neuron, self.quanta_at(step, self.place(neuron))))
    }

    /// Bits of the number of quanta of one sign at a step, by place: of a word of the step, the spikes for which bit `plane` of their
    /// magnitude is set.
    ///
    /// - `word`: of the step's, from 0
    #[inline]
    pub fn magnitude_bits(&self, step: usize, word: usize, plane: usize, is_negative: bool) -> u64 {
        let at = step * self.pitch() + word;
        let spikes = self.words[at];
        let Some(grades) = &self.grades else { return if plane == 0 && !is_negative { spikes } else { 0 } };
        let negative = grades.negative.get(at).copied().unwrap_or(0);
        let of_sign = if is_negative { spikes & negative } else { spikes & !negative };
        // The magnitude is one more than what is stored: the carry runs through the set bits below.
        let (mut carry, mut bits) = (of_sign, 0);
        for k in 0..=plane {
            let stored = grades.beyond_one.get(k).map_or(0, |plane| plane[at]) & of_sign;
            bits = stored ^ carry;
            carry &= stored;
        }
        bits
    }

    /// Bits of the largest magnitude of a spike of a sign at a step; 0 without spikes.
    pub fn magnitude_width(&self, step: usize, is_negative: bool) -> usize {
        let words = 0..self.words_per_step();
        let any = |plane: usize| words.clone().any(|word| self.magnitude_bits(step, word, plane, is_negative) != 0);
        let most = self.grades.as_ref().map_or(1, |grades| grades.beyond_one.len() + 1);
        (0..most).rev().find(|&plane| any(plane)).map_or(0, |plane| plane + 1)
    }

    /// Takes planes away that say nothing, so that equal spikes are equal trains.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        if let Some(grades) = &mut self.grades {
            let is_empty = |plane: &Vec<u64>| plane.iter().all(|&word| word == 0);
            while grades.beyond_one.last().is_some_and(is_empty) {
                grades.beyond_one.pop();
            }
            if is_empty(&grades.negative) {
                grades.negative.clear();
            }
            if grades.negative.is_empty() && grades.beyond_one.is_empty() {
                self.grades = None;
            }
        }
        self
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
        if let Some(grades) = &mut self.grades {
            for plane in std::iter::once(&mut grades.negative).chain(&mut grades.beyond_one) {
                plane.iter_mut().zip(&self.words).for_each(|(bits, kept)| *bits &= kept);
            }
            *self = std::mem::replace(self, Self::silent([0; 3], 0)).normalized();
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
        let before = self.words.len();
        self.words.extend_from_slice(&later.words);
        self.n_steps += later.n_steps;
        if self.grades.is_none() && later.grades.is_none() {
            return;
        }
        let (len, none) = (self.words.len(), Grades::default());
        let grades: &mut Grades = self.grades.get_or_insert_default();
        let later = later.grades.as_deref().unwrap_or(&none);
        let n_planes = grades.beyond_one.len().max(later.beyond_one.len());
        grades.beyond_one.resize_with(n_planes, || vec![0; before]);
        let later_planes = later.beyond_one.iter().map(Some).chain(std::iter::repeat(None));
        let planes = std::iter::once((&mut grades.negative, Some(&later.negative)));
        for (plane, later) in planes.chain(grades.beyond_one.iter_mut().zip(later_planes)) {
            let later = later.filter(|later| !later.is_empty());
            if plane.is_empty() && later.is_none() {
                continue;
            }
            plane.resize(before, 0);
            plane.extend(later.into_iter().flatten());
            plane.resize(len, 0);
        }
    }

    /// What neurons that wait send once this much has been counted: as many spikes of 0 and 1 as quanta, spread evenly
    /// ([`crate::neurons::spread`]).
    ///
    /// # Panics
    /// If a neuron has put out less than nothing, or more quanta than there are steps.
    #[must_use]
    pub fn spread(&self) -> Self {
        let mut spread = Self::silent(self.shape, self.n_steps);
        for (neuron, count) in self.counts().into_iter().enumerate() {
            let n_spikes = usize::try_from(count).expect("counts of such neurons are not below zero");
            assert!(n_spikes <= self.n_steps, "no more spikes than steps");
            let fires = crate::neurons::spread(n_spikes, self.n_steps).enumerate().filter(|(_, fires)| *fires);
            fires.for_each(|(step, _)| spread.add(step, neuron));
        }
        spread
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

    /// Quanta of each neuron over all steps, `[N]`: spikes, where each stands for one; those taken back are subtracted.
    #[inline]
    pub fn counts(&self) -> Vec<i32> {
        let mut by_place = vec![0; self.n_neurons()];
        for step in 0..self.n_steps {
            for (place, quanta) in self.graded_places(step) {
                by_place[place] += quanta;
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
        assert_eq!((counts[63], counts[98], counts.iter().sum::<i32>()), (1, 0, 4));
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
        /// Against a table of numbers.
        #[test]
        fn graded_spikes_are_found_as_they_were_put_whatever_was_appended_or_taken_away(
            channels in 1..70_usize, picks in proptest::collection::vec((0..4_usize, any::<u16>(), -9..10_i32), 0..60), odd in any::<bool>(),
        ) {
            let shape = [channels, 1, 2];
            let n = 2 * channels;
            let mut table = vec![vec![0; n]; 4];
            for (step, neuron, quanta) in picks {
                table[step][usize::from(neuron) % n] = quanta;
            }
            let train_of = |rows: &[Vec<i32>]| {
                let mut train = SpikeTrain::silent(shape, rows.len());
                for (step, row) in rows.iter().enumerate() {
                    row.iter().enumerate().for_each(|(neuron, &quanta)| train.add_quanta(step, neuron, quanta));
                }
                train.normalized()
            };
            let whole = train_of(&table);
            prop_assert_eq!(whole.is_graded(), table.iter().flatten().any(|quanta| !(0..=1).contains(quanta)));
            let (first, second) = table.split_at(1 + usize::from(odd));
            let mut joined = train_of(first);
            joined.append(&train_of(second));
            prop_assert_eq!(&joined, &whole);
            for (step, row) in table.iter().enumerate() {
                prop_assert!((0..n).all(|neuron| whole.quanta(step, neuron) == row[neuron]));
                let mut found = vec![0; n];
                whole.graded_neurons(step).for_each(|(neuron, quanta)| found[neuron] = quanta);
                prop_assert_eq!(&found, row);
                for is_negative in [false, true] {
                    let magnitude = |neuron: usize| if is_negative { (-row[neuron]).max(0) } else { row[neuron].max(0) };
                    let width = whole.magnitude_width(step, is_negative);
                    prop_assert_eq!(width as u32, i32::BITS - (0..n).map(magnitude).max().unwrap().leading_zeros());
                    for neuron in 0..n {
                        let place = whole.place(neuron);
                        let bit = |plane: usize| whole.magnitude_bits(step, place / 64, plane, is_negative) >> (place % 64) & 1;
                        prop_assert_eq!((0..5).map(|plane| (bit(plane) as i32) << plane).sum::<i32>(), magnitude(neuron));
                    }
                }
            }
            let sums: Vec<i32> = (0..n).map(|neuron| table.iter().map(|row| row[neuron]).sum()).collect();
            prop_assert_eq!(whole.counts(), sums);
            let mut kept = whole;
            kept.retain(|step, neuron| (step + neuron) % 2 == usize::from(odd));
            for (step, row) in table.iter_mut().enumerate() {
                row.iter_mut().enumerate().filter(|(neuron, _)| (step + neuron) % 2 != usize::from(odd)).for_each(|(_, q)| *q = 0);
            }
            prop_assert_eq!(kept, train_of(&table));
        }

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
