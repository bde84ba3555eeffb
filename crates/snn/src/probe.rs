//! Statistics of the current that spikes cause in a layer's neurons: the paper's variance, measured.
//!
//! Pure functions on spike trains and weights. Used to choose thresholds by noise and to test the L4-norm's claim.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use crate::engine::events::{Lists, PoolStates, Scratch};
use crate::engine::gather::{Consumer, GatherLayer, NARROW, Visit, WIDE};
use crate::network::SpikingLayer;
use crate::places::by_neuron;
use crate::pool::Pooling;
use crate::spikes::SpikeTrain;

/// Variance over time of the input current per step of each channel's neurons (in a fully connected layer, each neuron's),
/// in the square of the units of activations.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrentVariance {
    /// Measured: unbiased variance over the steps of a sample, mean over samples and a channel's neurons, `[C]`.
    pub measured: Vec<f64>,
    /// What independent Bernoulli inputs of the measured rates would give: `Σ_i w_ji² mean(r_i (1 − r_i))`, mean over the
    /// neurons, `[C]`, with the same T/(T − 1) as the unbiased variance.
    pub bernoulli: Vec<f64>,
}

/// Measures the variance of the input current; `None` with fewer than two steps or no sample.
///
/// - `inputs`: each sample's spikes: of the input, then of the layers before this one
///
/// Currents are sums on the exact grid; their statistics are in f64, samples in order, so the result does not depend on threads.
pub fn current_variance(layer: &SpikingLayer, inputs: &[&[SpikeTrain]]) -> Option<CurrentVariance> {
    let n_steps = inputs.first()?.first()?.n_steps();
    if n_steps < 2 {
        return None;
    }
    let packed = GatherLayer::new(layer);
    let of_sample = |spikes: &&[SpikeTrain]| {
        let mut statistics = CurrentStatistics { n_steps, variances: vec![0.0; layer.n_out()] };
        let mut lists = Lists::default();
        packed.list(Arch::new(), spikes, &mut PoolStates::default(), &mut Scratch::default(), &mut lists);
        packed.visit(Arch::new(), &[lists], n_steps, &mut statistics);
        mean_of_channels(layer, &by_neuron(layer.shape(), &statistics.variances))
    };
    let per_sample: Vec<Vec<f64>> = inputs.par_iter().map(of_sample).collect();
    let n = inputs.len() as f64;
    let mut measured = vec![0.0; layer.shape()[0]];
    for variances in &per_sample {
        for (sum, variance) in measured.iter_mut().zip(variances) {
            *sum += variance / n;
        }
    }
    let mut bernoulli = bernoulli(layer, inputs);
    let thresholds = layer.thresholds().iter().map(|&threshold| f64::from(threshold).powi(2));
    for ((measured, bernoulli), square) in measured.iter_mut().zip(&mut bernoulli).zip(thresholds) {
        *measured *= square;
        *bernoulli *= square;
    }
    Some(CurrentVariance { measured, bernoulli })
}

/// Variances of independent inputs, in thresholds squared, `[C]`.
fn bernoulli(layer: &SpikingLayer, inputs: &[&[SpikeTrain]]) -> Vec<f64> {
    let mut variances = vec![0.0; layer.n_out()];
    for connection in layer.connections() {
        let wiring = &connection.wiring;
        let pooling = Pooling::new(wiring);
        let mut scatter = vec![0.0; wiring.max_pooled_shape().iter().product()];
        for spikes in inputs {
            let passed = pooling.max_pooled(&spikes[wiring.source]);
            let train = passed.as_ref().unwrap_or(&spikes[wiring.source]);
            let n_steps = train.n_steps() as f64;
            for (sum, count) in scatter.iter_mut().zip(train.counts()) {
                let rate = f64::from(count) / n_steps;
                *sum += rate * (1.0 - rate) * n_steps / (n_steps - 1.0) / inputs.len() as f64;
            }
        }
        for (neuron, &scatter) in scatter.iter().enumerate().filter(|(_, scatter)| **scatter > 0.0) {
            pooling.for_each_input(neuron, |input| {
                wiring.kernel.for_each_synapse(input, |target, weight| {
                    variances[target] += f64::from(connection.weights[weight]).powi(2) * scatter;
                });
            });
        }
    }
    mean_of_channels(layer, &variances)
}

/// - `values`: of the neurons
fn mean_of_channels(layer: &SpikingLayer, values: &[f64]) -> Vec<f64> {
    let n_positions = layer.n_positions();
    let mean = |of_channel: &[f64]| of_channel.iter().map(|value| value / n_positions as f64).sum();
    values.chunks_exact(n_positions).map(mean).collect()
}

/// The unbiased variance over time of each neuron's current, in thresholds squared.
struct CurrentStatistics {
    n_steps: usize,
    /// By place.
    variances: Vec<f64>,
}

impl CurrentStatistics {
    fn site<const W: usize>(&mut self) -> Site<'_, W> {
        Site { statistics: self, places: 0..0, mean: [0.0; W], squares: [0.0; W] }
    }
}

impl Visit for CurrentStatistics {
    fn wide(&mut self) -> impl Consumer<WIDE> {
        self.site()
    }

    fn narrow(&mut self) -> impl Consumer<NARROW> {
        self.site()
    }
}

/// Welford's running mean and sum of squared deviations of one site's neurons.
struct Site<'a, const W: usize> {
    statistics: &'a mut CurrentStatistics,
    places: Range<usize>,
    mean: [f64; W],
    squares: [f64; W],
}

#[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
impl<const W: usize> Consumer<W> for Site<'_, W> {
    #[inline(always)]
    fn begin(&mut self, _: usize, places: Range<usize>) {
        (self.places, self.mean, self.squares) = (places, [0.0; W], [0.0; W]);
    }

    #[inline(always)]
    fn step(&mut self, step: usize, currents: &[f32; W]) {
        for ((mean, squares), &current) in self.mean.iter_mut().zip(&mut self.squares).zip(currents) {
            let deviation = f64::from(current) - *mean;
            *mean += deviation / (step + 1) as f64;
            *squares += deviation * (f64::from(current) - *mean);
        }
    }

    #[inline(always)]
    fn end(&mut self) {
        let n = (self.statistics.n_steps - 1) as f64;
        let variances = self.statistics.variances[self.places.clone()].iter_mut();
        variances.zip(&self.squares).for_each(|(variance, sum)| *variance = sum / n);
    }
}

#[cfg(test)]
mod tests {
    use model::config::Encoding;
    use model::population::{Pool, PoolKind};

    use super::*;
    use crate::encoder::encode;
    use crate::network::ExactLayer;
    use crate::wiring::{Connection, Kernel, Wiring};

    fn layer(wiring: Wiring, weights: Vec<f64>, threshold: f64, n_steps: usize) -> SpikingLayer {
        let n_channels = wiring.kernel.channels;
        let exact = ExactLayer {
            name: "x".to_owned(),
            connections: vec![Connection { wiring, weights }],
            biases: vec![0.0; n_channels],
            initial_potentials: vec![0.0; n_channels],
            thresholds: vec![threshold; n_channels],
        };
        SpikingLayer::round(&exact, n_steps).unwrap()
    }

    #[test]
    fn variance_of_a_hand_made_train_is_the_one_computed_by_hand() {
        let mut train = SpikeTrain::silent([2, 1, 1], 4);
        for (step, neuron) in [(0, 0), (1, 0), (1, 1), (3, 1)] {
            train.add(step, neuron);
        }
        // Currents with weights 1 and 2: 1, 3, 0, 2; mean 1.5, squares 0.25 + 2.25 + 2.25 + 0.25 = 5, over 3. A threshold of 2
        // makes four times that of it, in units of activations.
        let layer = layer(Wiring::dense(0, [2, 1, 1], 1), vec![1.0, 2.0], 2.0, 4);
        let variance = current_variance(&layer, &[&[train]]).unwrap();
        assert!((variance.measured[0] - 4.0 * 5.0 / 3.0).abs() < 1e-12);
        // Rates ½ and ½: (1 + 4)·¼ times 4/3.
        assert!((variance.bernoulli[0] - 4.0 * 5.0 / 3.0).abs() < 1e-12);
        assert_eq!(current_variance(&layer, &[]), None);
        assert_eq!(current_variance(&layer, &[&[SpikeTrain::silent([2, 1, 1], 1)]]), None);
    }

    #[test]
    fn variance_of_a_channel_is_the_mean_over_its_neurons_behind_pools() {
        // Two windows of two pixels; each window's sum times 3 is a neuron's current.
        let pool = Pool { kind: PoolKind::Mean, kernel: [1, 2], stride: [1, 2] };
        let kernel = Kernel { input: [1, 1, 2], channels: 1, size: 1, stride: 1, padding: 0, groups: 1 };
        let wiring = Wiring { source: 0, source_shape: [1, 1, 4], pools: vec![pool], kernel };
        let mut train = SpikeTrain::silent([1, 1, 4], 2);
        for (step, neuron) in [(0, 0), (0, 1), (1, 3)] {
            train.add(step, neuron);
        }
        // Currents 6, 0 and 0, 3: variances 18 and 4.5.
        let variance = current_variance(&layer(wiring, vec![3.0], 1.0, 2), &[&[train]]).unwrap();
        assert!((variance.measured[0] - 11.25).abs() < 1e-12, "{variance:?}");
        // Three inputs of rate ½: 9·¼·2 each, over two neurons.
        assert!((variance.bernoulli[0] - 3.0 * 4.5 / 2.0).abs() < 1e-12, "{variance:?}");
    }

    #[test]
    fn poisson_input_has_the_bernoulli_variance() {
        let weights: Vec<f64> = (0..3 * 50).map(|i| f64::from(i % 7) - 3.0).collect();
        let pixels: Vec<f32> = (0..50).map(|i| i as f32 / 60.0).collect();
        let trains: Vec<[SpikeTrain; 1]> =
            (0..40).map(|sample| [encode(Encoding::Poisson, 1, sample, [50, 1, 1], &pixels, 0..500)]).collect();
        let layer = layer(Wiring::dense(0, [50, 1, 1], 3), weights.clone(), 1.0, 500);
        let inputs: Vec<&[SpikeTrain]> = trains.iter().map(<[SpikeTrain; 1]>::as_slice).collect();
        let variance = current_variance(&layer, &inputs).unwrap();
        for (j, (measured, bernoulli)) in variance.measured.iter().zip(&variance.bernoulli).enumerate() {
            let exact: f64 = (0..50)
                .map(|i| {
                    let r = f64::from(pixels[i]);
                    weights[j * 50 + i].powi(2) * r * (1.0 - r)
                })
                .sum();
            // 20,000 near-normal currents: a standard error of 1 %, five of them.
            assert!((measured / exact - 1.0).abs() < 0.05, "neuron {j}: {measured} for {exact}");
            assert!((bernoulli / exact - 1.0).abs() < 0.05, "neuron {j}: {bernoulli} for {exact}");
        }
    }
}
