//! Synaptic operations: what spikes cost.

use pulp::{Arch, Simd, WithSimd};

use crate::engine::SampleTrace;
use crate::network::{SpikingLayer, SpikingNetwork};
use crate::pool::{Pooling, max_pool};
use crate::spikes::SpikeTrain;
use crate::wiring::Source;

/// Counts the operations that a network's spikes cause.
///
/// A spike costs one addition per neuron that it reaches, counted at the borders as many as there are; one that stands for several quanta
/// as many additions as there are quanta, though a machine that multiplies needs one operation. Behind a max pool only a spike that
/// passes reaches any, and each spike into the pool costs one comparison per window.
#[derive(Debug, Clone)]
pub struct SynapticOperations {
    connections: Vec<ConnectionCost>,
    n_sources: usize,
}

#[derive(Debug, Clone)]
struct ConnectionCost {
    source: Source,
    pooling: Pooling,
    fan_outs: Vec<FanOut>,
}

/// Places, in one word of a step's spikes, whose spikes cause the same number of additions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FanOut {
    word: usize,
    places: u64,
    additions: u64,
}

/// - `additions`: that a spike causes, per position: all channels have the same fan-out
fn fan_outs(additions: &[u64], n_channels: usize) -> Vec<FanOut> {
    let mut fan_outs: Vec<FanOut> = Vec::new();
    for (position, &additions) in additions.iter().enumerate() {
        for place in position * n_channels..(position + 1) * n_channels {
            let (word, bit) = (place / 64, 1 << (place % 64));
            let in_word = fan_outs.iter_mut().rev().take_while(|of| of.word == word);
            match in_word.into_iter().find(|of| of.additions == additions) {
                Some(of) => of.places |= bit,
                None => fan_outs.push(FanOut { word, places: bit, additions }),
            }
        }
    }
    fan_outs
}

/// Counts the additions that the spikes of each step cause.
struct CountAdditions<'a> {
    train: &'a SpikeTrain,
    fan_outs: &'a [FanOut],
    /// `[T]`
    operations: &'a mut [u64],
}

impl WithSimd for CountAdditions<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it takes its SIMD level from the function that it is inlined into")]
    fn with_simd<S: Simd>(self, _: S) {
        for (step, operations) in self.operations.iter_mut().enumerate() {
            if !self.train.is_graded() {
                let words = self.train.words(step);
                for FanOut { word, places, additions } in self.fan_outs {
                    *operations += u64::from((words[*word] & places).count_ones()) * additions;
                }
                continue;
            }
            for is_negative in [false, true] {
                for plane in 0..self.train.magnitude_width(step, is_negative) {
                    for FanOut { word, places, additions } in self.fan_outs {
                        let bits = self.train.magnitude_bits(step, *word, plane, is_negative) & places;
                        *operations += (u64::from(bits.count_ones()) << plane) * additions;
                    }
                }
            }
        }
    }
}

impl SynapticOperations {
    /// Counts fan-outs once, for all samples.
    pub fn new(network: &SpikingNetwork) -> Self {
        let connections = network.layers().iter().flat_map(SpikingLayer::connections).map(|connection| {
            let (wiring, pooling) = (&connection.wiring, Pooling::new(&connection.wiring));
            // The first channel's inputs lie before the others'.
            let [n_channels, height, width] = wiring.max_pooled_shape();
            let additions = (0..height * width).map(|position| {
                let mut n = 0;
                // What is added several times is one addition of a multiple.
                pooling.for_each_input(position, |input, _| n += wiring.kernel.fan_out(input) as u64);
                n
            });
            let fan_outs = fan_outs(&additions.collect::<Vec<u64>>(), n_channels);
            ConnectionCost { source: wiring.source, pooling, fan_outs }
        });
        Self { connections: connections.collect(), n_sources: network.layers().len() + 1 }
    }

    /// Operations at each step, `[T]`, that the spikes of each source cause: the input first, then the layers in order.
    pub fn of(&self, trace: &SampleTrace) -> Vec<Vec<u64>> {
        let mut operations = vec![vec![0; trace.n_steps()]; self.n_sources];
        for ConnectionCost { source, pooling, fan_outs } in &self.connections {
            let mut train = &trace.spikes[source.index()];
            let mut passed;
            for windows in &pooling.max {
                for (step, operations) in operations[source.index()].iter_mut().enumerate() {
                    *operations += train.neurons(step).map(|input| windows.of(input).len() as u64).sum::<u64>();
                }
                passed = max_pool(windows, train);
                train = &passed;
            }
            Arch::new().dispatch(CountAdditions { train, fan_outs, operations: &mut operations[source.index()] });
        }
        operations
    }

    /// Multiplications and additions of a constant input, once per sample.
    pub fn of_constant_input(&self) -> u64 {
        let first = self.connections.iter().filter(|connection| connection.source == Source::INPUT);
        let all_spike = |of: &FanOut| u64::from(of.places.count_ones()) * of.additions;
        first.flat_map(|connection| &connection.fan_outs).map(all_spike).sum()
    }
}

#[cfg(test)]
mod tests {
    use model::config::{Encoding, NeuronConfig, Readout, Reset};
    use model::population::{Pool, PoolKind};

    use super::*;
    use crate::network::ExactLayer;
    use crate::{Connection, Engine as _, Kernel, ReferenceEngine, RunSettings, Sample, Wiring};

    #[test]
    fn synaptic_operations_at_borders_and_through_pools_are_those_counted_by_hand() {
        // One white pixel in the corner of a 3×3 image: a 3×3 kernel reaches 4 of 9 neurons in each of 2 channels.
        let kernel = Kernel::square([1, 3, 3], 2, 3, 1, 1, 1);
        let wiring = Wiring { source: Source::INPUT, source_shape: [1, 3, 3], pools: Vec::new(), kernel };
        let pool = |kind| vec![Pool::new(kind, [2; 2], [1; 2])];
        let layer = |wiring: Wiring, weight: f64| {
            let n_channels = wiring.kernel.channels;
            let exact = ExactLayer {
                name: "x".to_owned(),
                connections: vec![Connection { weights: vec![weight; n_channels * wiring.kernel.row_len()], wiring }],
                biases: vec![0.0; n_channels].into(),
                initial_potentials: vec![0.0; n_channels],
                thresholds: vec![1.0; n_channels],
            };
            SpikingLayer::round(&exact, 4).unwrap()
        };
        let first = |shape: [usize; 3]| Wiring {
            source: Source::INPUT,
            source_shape: shape,
            pools: Vec::new(),
            kernel: Kernel::identity(shape),
        };
        let count = |kind: PoolKind| {
            let readout = Wiring { pools: pool(kind), ..Wiring::dense(Source::of_layer(0), [2, 3, 3], 5) };
            let readout = Wiring { kernel: Kernel::dense(2 * 2 * 2, 5), ..readout };
            let network =
                SpikingNetwork::new([1, 3, 3], vec![layer(wiring.clone(), 1.0), layer(readout, 1.0)]).unwrap();
            let settings = RunSettings {
                encoding: Encoding::Regular,
                neuron: NeuronConfig::default(),
                reset: Reset::Subtract,
                readout: Readout::Potential,
                n_steps: 1,
                seed: 0,
            };
            let mut pixels = [0.0; 9];
            pixels[0] = 1.0;
            let trace = ReferenceEngine::new(&network).run(&[Sample { index: 0, pixels: &pixels }], &settings).unwrap();
            SynapticOperations::new(&network).of(&trace[0])
        };
        // Each channel spikes at four places, which stand in 1, 2, 2 and 4 of the overlapping windows, 9 in all; each window has
        // 5 outputs.
        assert_eq!(count(PoolKind::Mean), [vec![8], vec![2 * 9 * 5], vec![0]]);
        // What a window at the border adds several times is one addition of a multiple.
        let padded = |counts_padding| {
            let pool = Pool { padding: [1, 1, 0, 0], counts_padding, ..Pool::new(PoolKind::Mean, [2; 2], [2; 2]) };
            let kernel = Kernel::dense(2 * 2 * 2, 5);
            let wiring = Wiring { pools: vec![pool], kernel, ..Wiring::dense(Source::of_layer(0), [2, 3, 3], 5) };
            let pooling = Pooling::new(&wiring);
            let mut found = Vec::new();
            pooling.for_each_input(0, |input, multiple| found.push((input, multiple)));
            let network =
                SpikingNetwork::new([2, 3, 3], vec![layer(first([2, 3, 3]), 1.0), layer(wiring, 0.0)]).unwrap();
            let all: u64 = SynapticOperations::new(&network).connections[1]
                .fan_outs
                .iter()
                .map(|of| u64::from(of.places.count_ones()) * of.additions)
                .sum();
            (found, all)
        };
        // 18 neurons in one window each, of 5 outputs.
        assert_eq!([padded(true), padded(false)], [(vec![(0, 1)], 90), (vec![(0, 4)], 90)]);
        // 9 comparisons per channel, and one spike for each of its 4 windows.
        assert_eq!(count(PoolKind::Max), [vec![8], vec![2 * 9 + 2 * 4 * 5], vec![0]]);
    }
}
