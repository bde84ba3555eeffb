//! Spikes that stand for several quanta, or take some back, for compute kernels that know spikes of 0 and 1 alone.
//!
//! Currents are linear in what arrives. So the steps of graded spikes become *rows* of spikes of 0 and 1: for each step, sign and bit of
//! the magnitude one row of the spikes that have it, of which those without any are left out. Kernels list and add up rows as if they
//! were steps, and the neurons add the sums of a step's rows up, each with the weight of its bit and its sign. Most spikes stand for
//! one quantum, so that there are few rows more than steps.

use snn::spikes::SpikeTrain;
use snn::wiring::Source;

/// The rows of some steps, the same for all samples that are run together.
#[derive(Debug)]
pub(crate) struct Rows {
    rows: Vec<Row>,
    /// Bit that a spike of the input counts as: it stands for a whole threshold.
    of_input: usize,
}

/// One bit of the magnitudes of one sign of the spikes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    step: usize,
    pub(crate) bit: usize,
    pub(crate) is_negative: bool,
    /// Whether it is the last of its step.
    pub(crate) is_last: bool,
}

impl Rows {
    /// Those of some trains: at least one for each step.
    ///
    /// - `trains`: with the sources that they come from
    /// - `levels`: quanta in a threshold, a power of two
    pub(crate) fn of<'a>(
        trains: &(impl Iterator<Item = (Source, &'a SpikeTrain)> + Clone),
        n_steps: usize,
        levels: u32,
    ) -> Self {
        let of_input = levels.trailing_zeros() as usize;
        let mut rows = Vec::with_capacity(2 * n_steps);
        for step in 0..n_steps {
            let first = rows.len();
            for is_negative in [false, true] {
                let mut has_input = false;
                let widths = trains.clone().map(|(source, train)| {
                    let width = train.magnitude_width(step, is_negative);
                    has_input |= source == Source::INPUT && width > 0;
                    if source == Source::INPUT { 0 } else { width }
                });
                let width = widths.max().unwrap_or(0);
                let bits = (0..width).chain((has_input && of_input >= width).then_some(of_input));
                rows.extend(bits.map(|bit| Row { step, bit, is_negative, is_last: false }));
            }
            if rows.len() == first {
                rows.push(Row { step, bit: 0, is_negative: false, is_last: false });
            }
            if let Some(last) = rows.last_mut() {
                last.is_last = true;
            }
        }
        Self { rows, of_input }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// The rows of a train, as steps of spikes of 0 and 1.
    ///
    /// - `source`: where it comes from; it may have come through max pools
    pub(crate) fn expand(&self, source: usize, train: &SpikeTrain) -> SpikeTrain {
        let is_input = source == Source::INPUT.index();
        let mut expanded = SpikeTrain::silent(train.shape(), self.rows.len());
        let n_words = train.words_per_step();
        let (words, pitch) = expanded.words_mut();
        for (row, to) in self.rows.iter().zip(words.chunks_exact_mut(pitch.max(1))) {
            let bit = if is_input { row.bit.checked_sub(self.of_input) } else { Some(row.bit) };
            // Of the input's spikes, every magnitude is one.
            let Some(bit) = bit.filter(|bit| !is_input || *bit == 0) else { continue };
            for (word, to) in to[..n_words].iter_mut().enumerate() {
                *to = train.magnitude_bits(row.step, word, bit, row.is_negative);
            }
        }
        expanded
    }
}

/// What arrives of a sample at a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arriving<'a> {
    /// Of the input and of the layers so far.
    pub(crate) spikes: &'a [SpikeTrain],
    /// Rows that graded spikes become; `None` where spikes are 0 or 1.
    pub(crate) rows: Option<&'a Rows>,
}

impl<'a> Arriving<'a> {
    /// Spikes of 0 and 1.
    pub(crate) fn binary(spikes: &'a [SpikeTrain]) -> Self {
        Self { spikes, rows: None }
    }

    /// The rows of a train, where it has some; it is itself where spikes are 0 or 1.
    pub(crate) fn expanded(&self, source: usize, train: &SpikeTrain) -> Option<SpikeTrain> {
        self.rows.map(|rows| rows.expand(source, train))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rows_of_a_step_add_up_to_its_spikes(
            picks in proptest::collection::vec((0..3_usize, 0..20_usize, -6..9_i32), 0..40), inputs in any::<u32>(), shift in 0..4_u32,
        ) {
            let (mut hidden, mut input) = (SpikeTrain::silent([10, 2, 1], 3), SpikeTrain::silent([10, 2, 1], 3));
            let mut table = [[0; 20]; 3];
            for (step, neuron, quanta) in picks {
                table[step][neuron] = quanta;
            }
            for (step, row) in table.iter().enumerate() {
                row.iter().enumerate().for_each(|(neuron, &quanta)| hidden.add_quanta(step, neuron, quanta));
                (0..20).filter(|neuron| inputs >> neuron & 1 == 1 && step != 1).for_each(|neuron| input.add(step, neuron));
            }
            let hidden = hidden.normalized();
            let trains = [(Source::INPUT, &input), (Source::of_layer(0), &hidden)];
            let rows = Rows::of(&trains.into_iter(), 3, 1 << shift);
            let mut sums = [[[0; 20]; 3]; 2];
            let mut step = 0;
            let expanded = trains.map(|(source, train)| rows.expand(source.index(), train));
            for (idx, row) in rows.iter().enumerate() {
                let weight = if row.is_negative { -(1 << row.bit) } else { 1 << row.bit };
                for (sums, expanded) in sums.iter_mut().zip(&expanded) {
                    expanded.neurons(idx).for_each(|neuron| sums[step][neuron] += weight);
                }
                step += usize::from(row.is_last);
            }
            prop_assert_eq!(step, 3);
            prop_assert_eq!(sums[1], table);
            for (step, row) in sums[0].iter().enumerate() {
                prop_assert!((0..20).all(|neuron| row[neuron] == i32::from(input.get(step, neuron)) << shift));
            }
        }
    }
}
