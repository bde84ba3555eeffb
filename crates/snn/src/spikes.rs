//! Spike trains: one bit per neuron and time step.

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// Spikes of a layer over all time steps of one sample.
///
/// Bits `[T, N]`, each step padded to whole 64-bit words; the padding is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpikeTrain {
    n_neurons: usize,
    n_steps: usize,
    words: Vec<u64>,
}

impl SpikeTrain {
    /// A train without a spike.
    pub fn silent(n_neurons: usize, n_steps: usize) -> Self {
        Self { n_neurons, n_steps, words: vec![0; n_steps * n_neurons.div_ceil(WORD)] }
    }

    /// Number of neurons N.
    pub fn n_neurons(&self) -> usize {
        self.n_neurons
    }

    /// Number of time steps T.
    pub fn n_steps(&self) -> usize {
        self.n_steps
    }

    fn words_per_step(&self) -> usize {
        self.n_neurons.div_ceil(WORD)
    }

    /// Adds a spike of a neuron at a step, both from 0.
    #[inline]
    pub fn add(&mut self, step: usize, neuron: usize) {
        debug_assert!(neuron < self.n_neurons, "a spike of a neuron that is there");
        let word = step * self.words_per_step() + neuron / WORD;
        self.words[word] |= 1 << (neuron % WORD);
    }

    /// Adds the spikes of up to 64 neurons from `first` on, bit k for neuron `first + k`, at a step from 0.
    ///
    /// - `first`: such that the bits that are set fall into one word
    #[inline]
    pub(crate) fn add_bits(&mut self, step: usize, first: usize, bits: u64) {
        let word = step * self.words_per_step() + first / WORD;
        self.words[word] |= bits << (first % WORD);
    }

    /// Whether a neuron spikes at a step, both from 0.
    pub fn get(&self, step: usize, neuron: usize) -> bool {
        assert!(neuron < self.n_neurons, "neuron {neuron} of {}", self.n_neurons);
        self.at(step)[neuron / WORD] >> (neuron % WORD) & 1 == 1
    }

    fn at(&self, step: usize) -> &[u64] {
        let n_words = self.words_per_step();
        &self.words[step * n_words..][..n_words]
    }

    /// The neurons that spike at a step (from 0), ascending.
    pub fn neurons(&self, step: usize) -> impl Iterator<Item = usize> {
        self.at(step).iter().enumerate().flat_map(|(word_idx, &word)| {
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

    /// Number of spikes at a step (from 0).
    pub fn n_spikes(&self, step: usize) -> usize {
        self.at(step).iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Number of spikes of each neuron over all steps, `[N]`.
    pub fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.n_neurons];
        for step in 0..self.n_steps {
            for neuron in self.neurons(step) {
                counts[neuron] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_are_found_where_they_were_put() {
        let spikes = [(0, 0), (0, 63), (0, 64), (2, 99)];
        let mut train = SpikeTrain::silent(100, 3);
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
    fn bits_land_at_their_first_neuron() {
        let mut train = SpikeTrain::silent(130, 2);
        train.add_bits(1, 64, 0b101);
        train.add_bits(1, 96, 0b11);
        assert_eq!(train.neurons(1).collect::<Vec<_>>(), [64, 66, 96, 97]);
        assert_eq!(train.n_spikes(0), 0);
    }
}
