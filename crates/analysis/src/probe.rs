//! Statistics of the current that spikes cause in a layer's neurons and of the potential that it adds up to: the paper's
//! variance, measured.
//!
//! Pure functions on spike trains and weights. Used to choose thresholds by noise and to test the L4-norm's claim.

use engine_event::LayerCurrents;
use model::config::Reset;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use snn::network::SpikingLayer;
use snn::places::by_place;
use snn::pool::Pooling;
use snn::spikes::SpikeTrain;
use snn::wiring::{Connection, Kernel};

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
pub fn current_variance(layer: &SpikingLayer, inputs: &[&[SpikeTrain]]) -> Option<CurrentVariance> {
    let mut probe = CurrentProbe::new(layer, inputs.first()?.first()?.n_steps());
    probe.add(layer, inputs);
    Some(probe.finish(layer)?.0)
}

/// Measures the input current of a layer, some samples after others.
///
/// Currents are sums on the exact grid; their statistics are in f64, samples in order, so the result depends neither on threads nor on
/// how samples are divided.
#[derive(Debug)]
pub struct CurrentProbe {
    currents: LayerCurrents,
    n_steps: usize,
    n_samples: usize,
    /// Sums of the variances of channels, in thresholds squared, `[C]`.
    variances: Vec<f64>,
    inputs: Vec<InputSums>,
}

impl CurrentProbe {
    /// No samples yet.
    pub fn new(layer: &SpikingLayer, n_steps: usize) -> Self {
        Self::with_currents(layer, LayerCurrents::new(layer), n_steps)
    }

    /// The same with the layer's currents, which others may look at, too.
    pub fn with_currents(layer: &SpikingLayer, currents: LayerCurrents, n_steps: usize) -> Self {
        let inputs = layer.connections().iter().map(InputSums::new).collect();
        let variances = vec![0.0; layer.shape()[0]];
        Self { currents, n_steps, n_samples: 0, variances, inputs }
    }

    /// Adds samples; with fewer than two steps, none.
    ///
    /// - `layer`: the same every time
    /// - `inputs`: each sample's spikes: of the input, then of the layers before this one
    pub fn add(&mut self, layer: &SpikingLayer, inputs: &[&[SpikeTrain]]) {
        let n_steps = self.n_steps;
        if n_steps < 2 {
            return;
        }
        let arch = Arch::new();
        let of_sample = |spikes: &&[SpikeTrain]| {
            let mut found = vec![0.0; layer.n_out()];
            self.currents.for_each_site(spikes, n_steps, &mut |places, currents, width| {
                arch.dispatch(CurrentStatistics { currents, width, variances: &mut found[places] });
            });
            mean_of_channels(layer, &found, |variance| *variance)
        };
        let per_sample: Vec<Vec<f64>> = inputs.par_iter().map(of_sample).collect();
        for variances in &per_sample {
            for (sum, variance) in self.variances.iter_mut().zip(variances) {
                *sum += variance;
            }
        }
        for (sums, connection) in self.inputs.iter_mut().zip(layer.connections()) {
            sums.add(connection, inputs);
        }
        self.n_samples += inputs.len();
    }

    /// What was measured of all samples; `None` with fewer than two steps or no sample.
    pub fn finish(&self, layer: &SpikingLayer) -> Option<(CurrentVariance, InputMeans)> {
        if self.n_samples == 0 {
            return None;
        }
        let connections = self.inputs.iter().zip(layer.connections());
        let means = connections.map(|(sums, connection)| sums.means(connection, self.n_samples, layer.n_positions()));
        let means = InputMeans { connections: means.collect() };
        let n_samples = self.n_samples as f64;
        let mut measured: Vec<f64> = self.variances.iter().map(|sum| sum / n_samples).collect();
        let mut bernoulli: Vec<f64> = (0..layer.shape()[0])
            .map(|channel| {
                let squares = layer.weight_vector(channel).map(|weight| weight * weight);
                squares.zip(means.variances(channel)).map(|(square, variance)| square * variance).sum()
            })
            .collect();
        let thresholds = layer.thresholds().iter().map(|&threshold| f64::from(threshold).powi(2));
        for ((measured, bernoulli), square) in measured.iter_mut().zip(&mut bernoulli).zip(thresholds) {
            *measured *= square;
            *bernoulli *= square;
        }
        Some((CurrentVariance { measured, bernoulli }, means))
    }
}

/// Rates of a layer's inputs, and the variances that they have as independent Bernoulli variables, each with the synapse that
/// it arrives at: the entries of [`SpikingLayer::weight_vector`].
///
/// Means over samples, and over the positions of a convolution, zero where its kernel hangs over the border. An average pool's
/// mean is one input; its neurons are taken to be independent too.
#[derive(Debug, Clone, PartialEq)]
pub struct InputMeans {
    connections: Vec<ConnectionMeans>,
}

#[derive(Debug, Clone, PartialEq)]
struct ConnectionMeans {
    kernel: Kernel,
    /// Mean r, `[groups, row]`.
    rates: Vec<f64>,
    /// Mean r(1 − r)·T/(T − 1), `[groups, row]`.
    variances: Vec<f64>,
}

impl InputMeans {
    /// Mean rates, in spikes per step, of the inputs of a channel's neurons.
    pub fn rates(&self, channel: usize) -> impl Iterator<Item = f64> + Clone {
        self.of(channel, |connection| &connection.rates)
    }

    /// Mean variances, in spikes² per step, of the inputs of a channel's neurons.
    pub fn variances(&self, channel: usize) -> impl Iterator<Item = f64> + Clone {
        self.of(channel, |connection| &connection.variances)
    }

    fn of(&self, channel: usize, values: fn(&ConnectionMeans) -> &[f64]) -> impl Iterator<Item = f64> + Clone {
        self.connections.iter().flat_map(move |connection| {
            let Kernel { channels, groups, .. } = connection.kernel;
            let row_len = connection.kernel.row_len();
            values(connection)[channel / (channels / groups) * row_len..][..row_len].iter().copied()
        })
    }
}

/// Of each source of a connection, behind its max pools, the sums over samples of r and of r(1 − r)·T/(T − 1).
#[derive(Debug)]
struct InputSums(Vec<[f64; 2]>);

impl InputSums {
    fn new(connection: &Connection<f32>) -> Self {
        Self(vec![[0.0; 2]; connection.wiring.max_pooled_shape().iter().product()])
    }

    fn add(&mut self, connection: &Connection<f32>, inputs: &[&[SpikeTrain]]) {
        let wiring = &connection.wiring;
        let pooling = Pooling::new(wiring);
        for spikes in inputs {
            let passed = pooling.max_pooled(&spikes[wiring.source.index()]);
            let train = passed.as_ref().unwrap_or(&spikes[wiring.source.index()]);
            let n_steps = train.n_steps() as f64;
            for ([rates, variances], count) in self.0.iter_mut().zip(train.counts()) {
                let rate = f64::from(count) / n_steps;
                *rates += rate;
                *variances += rate * (1.0 - rate) * n_steps / (n_steps - 1.0);
            }
        }
    }

    /// - `n_positions`: of the layer's neurons
    fn means(&self, connection: &Connection<f32>, n_samples: usize, n_positions: usize) -> ConnectionMeans {
        let wiring = &connection.wiring;
        let pooling = Pooling::new(wiring);
        // One output channel stands for all of its group: they see the same inputs.
        let kernel = wiring.kernel;
        let group = Kernel { channels: kernel.groups, ..kernel };
        let zeros = vec![0.0; kernel.groups * kernel.row_len()];
        let (mut rates, mut variances) = (zeros.clone(), zeros);
        let (area, n) = (wiring.multiplicity() as f64, (n_samples * n_positions) as f64);
        for (neuron, &[rate, variance]) in self.0.iter().enumerate().filter(|(_, [rate, _])| *rate > 0.0) {
            pooling.for_each_input(neuron, |input, multiple| {
                let multiple = f64::from(multiple);
                group.for_each_synapse(input, |_, weight| {
                    rates[weight] += multiple * rate / area / n;
                    variances[weight] += multiple * multiple * variance / (area * area) / n;
                });
            });
        }
        ConnectionMeans { kernel, rates, variances }
    }
}

/// Means over the neurons of each channel, without copies of what a layer of millions of neurons has.
///
/// - `found`: of the neurons, by place
fn mean_of_channels<T>(layer: &SpikingLayer, found: &[T], value: impl Fn(&T) -> f64) -> Vec<f64> {
    let mut means = vec![0.0; layer.shape()[0]];
    for of_position in found.chunks_exact(means.len()) {
        for (mean, found) in means.iter_mut().zip(of_position) {
            *mean += value(found) / layer.n_positions() as f64;
        }
    }
    means
}

/// Variance over time of the membrane potential before firing, `u = v + W̃ s + b̃`, of each channel's neurons, in the square of
/// the units of activations.
#[derive(Debug, Clone, PartialEq)]
pub struct PotentialVariance {
    /// Unbiased variance over the steps of a sample, mean over samples and a channel's neurons, `[C]`.
    pub measured: Vec<f64>,
    /// What is left of it around the straight line over time that fits best, `[C]`: without the drift of neurons that are
    /// driven away from their threshold, and of those that cannot keep up.
    pub around_trend: Vec<f64>,
    /// Mean of the variance over those samples and neurons only that spike at least once, `[C]`; NaN where none does.
    pub firing: Vec<f64>,
}

/// Measures the potentials of a layer, which spikes reset where the neurons fire, some samples after others.
///
/// The arithmetic of potentials is the engines'; statistics are in f64, samples in order.
#[derive(Debug)]
pub struct PotentialProbe {
    currents: LayerCurrents,
    n_steps: usize,
    reset: Reset,
    n_samples: usize,
    /// Sums over samples of the means over each channel's neurons of what a site finds, `[C]`, in thresholds squared.
    sums: [Vec<f64>; 4],
}

impl PotentialProbe {
    /// No samples yet.
    pub fn new(layer: &SpikingLayer, n_steps: usize, reset: Reset) -> Self {
        Self::with_currents(layer, LayerCurrents::new(layer), n_steps, reset)
    }

    /// The same with the layer's currents, which others may look at, too.
    pub fn with_currents(layer: &SpikingLayer, currents: LayerCurrents, n_steps: usize, reset: Reset) -> Self {
        let zeros = || vec![0.0; layer.shape()[0]];
        let sums = [zeros(), zeros(), zeros(), zeros()];
        Self { currents, n_steps, reset, n_samples: 0, sums }
    }

    /// Adds samples; with fewer than two steps, none.
    ///
    /// - `layer`: the same every time
    /// - `inputs`: each sample's spikes: of the input, then of the layers before this one
    /// - `steady`: current of each neuron of one of these samples at each step that does not depend on spikes, in thresholds,
    ///   `[n_out]`: the bias, or the drive of a constant input
    pub fn add(&mut self, layer: &SpikingLayer, inputs: &[&[SpikeTrain]], steady: impl Fn(usize) -> Vec<f32> + Sync) {
        let Self { n_steps, reset, .. } = *self;
        if n_steps < 2 {
            return;
        }
        let arch = Arch::new();
        let places = |values: &[f32]| by_place(layer.shape(), values);
        let start = places(&layer.for_neurons(layer.initial_potentials()));
        let limits = layer.potential_limits(n_steps).map(|limits| places(&layer.for_neurons(&limits)));
        let fire_at = places(&layer.firing_thresholds().map_or_else(|| vec![1.0; layer.n_out()], <[f32]>::to_vec));
        let of_sample = |(sample, spikes): (usize, &&[SpikeTrain])| {
            let steady = places(&steady(sample));
            let mut found = vec![[0.0; 4]; layer.n_out()];
            self.currents.for_each_site(spikes, n_steps, &mut |places, currents, width| {
                let of = |values: &'_ [f32]| values[places.clone()].to_vec();
                arch.dispatch(PotentialStatistics {
                    currents,
                    width,
                    reset,
                    start: of(&start),
                    limits: limits.as_deref().map_or_else(|| vec![f32::INFINITY; places.len()], of),
                    fire_at: of(&fire_at),
                    steady: of(&steady),
                    found: &mut found[places.clone()],
                });
            });
            [0, 1, 2, 3].map(|which| mean_of_channels(layer, &found, |found: &[f64; 4]| found[which]))
        };
        let per_sample: Vec<[Vec<f64>; 4]> = inputs.par_iter().enumerate().map(of_sample).collect();
        for found in &per_sample {
            let values = found.iter().flatten();
            for (sum, value) in self.sums.iter_mut().flatten().zip(values) {
                *sum += value;
            }
        }
        self.n_samples += inputs.len();
    }

    /// What was measured of all samples; `None` with fewer than two steps or no sample.
    pub fn finish(&self, layer: &SpikingLayer) -> Option<PotentialVariance> {
        if self.n_samples == 0 {
            return None;
        }
        let squares = || layer.thresholds().iter().map(|&threshold| f64::from(threshold).powi(2));
        let n_samples = self.n_samples as f64;
        let [measured, around_trend, firing, n_firing] = &self.sums;
        let mean = |sums: &[f64]| squares().zip(sums).map(|(square, sum)| square * sum / n_samples).collect();
        let of_firing = firing.iter().zip(n_firing).map(|(sum, n)| sum / n);
        Some(PotentialVariance {
            measured: mean(measured),
            around_trend: mean(around_trend),
            firing: squares().zip(of_firing).map(|(square, variance)| square * variance).collect(),
        })
    }
}

/// Fires the neurons of one site and looks at their potentials.
///
/// Welford's running mean, sum of squared deviations, and sum of products of deviations with those of the time.
struct PotentialStatistics<'a> {
    /// `[T, width]`
    currents: &'a [f32],
    width: usize,
    reset: Reset,
    /// Potentials before the first step.
    start: Vec<f32>,
    limits: Vec<f32>,
    /// Firing thresholds.
    fire_at: Vec<f32>,
    steady: Vec<f32>,
    /// Of each neuron the variance, that around the trend, in thresholds squared; the first again and a 1 if it spikes, else zeros.
    found: &'a mut [[f64; 4]],
}

impl WithSimd for PotentialStatistics<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { currents, width, reset, start: mut potentials, limits, fire_at, steady, found } = self;
        let n_neurons = found.len();
        let [mut mean, mut squares, mut with_time] = [(); 3].map(|()| vec![0.0; n_neurons]);
        let mut spikes = vec![0.0_f32; n_neurons];
        let steps = currents.chunks_exact(width);
        let n = steps.len() as f64;
        for (step, currents) in steps.enumerate() {
            // Of the steps so far, this one included, the mean is half of the last; all counted from 0.
            let since_mean = step as f64 / 2.0;
            for lane in 0..n_neurons {
                let u = potentials[lane] + steady[lane] + currents[lane];
                let deviation = f64::from(u) - mean[lane];
                mean[lane] += deviation / (step + 1) as f64;
                squares[lane] += deviation * (f64::from(u) - mean[lane]);
                with_time[lane] += deviation * since_mean;
                let threshold = fire_at[lane];
                spikes[lane] += f32::from(u8::from(u >= threshold));
                let left = match reset {
                    _ if u < threshold => u,
                    Reset::Subtract => u - threshold,
                    Reset::Zero => 0.0,
                };
                potentials[lane] = left.min(limits[lane]).max(-limits[lane]);
            }
        }
        let time_squares = n * (n * n - 1.0) / 12.0;
        for (lane, found) in found.iter_mut().enumerate() {
            let trend = with_time[lane].powi(2) / time_squares;
            let variance = squares[lane] / (n - 1.0);
            let fires = f64::from(u8::from(spikes[lane] > 0.0));
            *found = [variance, (squares[lane] - trend).max(0.0) / (n - 1.0), fires * variance, fires];
        }
    }
}

/// The unbiased variance over time of the current of each neuron of a site, in thresholds squared: Welford's running mean and sum of
/// squared deviations.
struct CurrentStatistics<'a> {
    /// `[T, width]`
    currents: &'a [f32],
    width: usize,
    variances: &'a mut [f64],
}

impl WithSimd for CurrentStatistics<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { currents, width, variances: squares } = self;
        let mut mean = vec![0.0; squares.len()];
        let steps = currents.chunks_exact(width);
        let n = (steps.len() - 1) as f64;
        for (step, currents) in steps.enumerate() {
            for ((mean, squares), &current) in mean.iter_mut().zip(&mut *squares).zip(currents) {
                let deviation = f64::from(current) - *mean;
                *mean += deviation / (step + 1) as f64;
                *squares += deviation * (f64::from(current) - *mean);
            }
        }
        for sum in squares {
            *sum /= n;
        }
    }
}

#[cfg(test)]
mod tests {
    use model::config::Encoding;
    use model::population::{Pool, PoolKind};

    use super::*;
    use snn::encoder::encode;
    use snn::network::ExactLayer;
    use snn::wiring::{Connection, Kernel, Wiring};

    fn layer(wiring: Wiring, weights: Vec<f64>, threshold: f64, n_steps: usize) -> SpikingLayer {
        let n_channels = wiring.kernel.channels;
        let exact = ExactLayer {
            name: "x".to_owned(),
            connections: vec![Connection { wiring, weights }],
            biases: vec![0.0; n_channels].into(),
            initial_potentials: vec![0.0; n_channels],
            thresholds: vec![threshold; n_channels],
        };
        SpikingLayer::round(&exact, n_steps).unwrap()
    }

    fn potential_variance(
        layer: &SpikingLayer,
        inputs: &[&[SpikeTrain]],
        steady: f32,
        reset: Reset,
    ) -> Option<PotentialVariance> {
        let mut probe = PotentialProbe::new(layer, inputs.first().map_or(2, |spikes| spikes[0].n_steps()), reset);
        probe.add(layer, inputs, |_| vec![steady]);
        probe.finish(layer)
    }

    #[test]
    fn variance_of_a_hand_made_train_is_the_one_computed_by_hand() {
        let mut train = SpikeTrain::silent([2, 1, 1], 4);
        for (step, neuron) in [(0, 0), (1, 0), (1, 1), (3, 1)] {
            train.add(step, neuron);
        }
        // Currents with weights 1 and 2: 1, 3, 0, 2; mean 1.5, squares 0.25 + 2.25 + 2.25 + 0.25 = 5, over 3. A threshold of 2
        // makes four times that of it, in units of activations.
        let layer = layer(Wiring::dense(snn::Source::INPUT, [2, 1, 1], 1), vec![1.0, 2.0], 2.0, 4);
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
        let pool = Pool::new(PoolKind::Mean, [1, 2], [1, 2]);
        let kernel = Kernel::square([1, 1, 2], 1, 1, 1, 0, 1);
        let wiring = Wiring { source: snn::Source::INPUT, source_shape: [1, 1, 4], pools: vec![pool], kernel };
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
    fn a_window_of_fewer_inputs_has_the_variance_of_their_multiples() {
        // A window of two pixels, and one that sticks out, of one pixel, which it adds twice.
        let pool = Pool { ceil: true, ..Pool::new(PoolKind::Mean, [1, 2], [1, 2]) };
        let kernel = Kernel::identity([1, 1, 2]);
        let wiring = Wiring { source: snn::Source::INPUT, source_shape: [1, 1, 3], pools: vec![pool], kernel };
        let mut train = SpikeTrain::silent([1, 1, 3], 2);
        for (step, neuron) in [(0, 0), (0, 1), (1, 2)] {
            train.add(step, neuron);
        }
        // Currents 6, 0 and 0, 6: variances of 18.
        let layer = layer(wiring, vec![3.0], 1.0, 2);
        let variance = current_variance(&layer, &[&[train.clone()]]).unwrap();
        assert!((variance.measured[0] - 18.0).abs() < 1e-12, "{variance:?}");
        // Rates of ½, whose variance is ½: twice of weight 3, and once of weight 6; over two neurons.
        assert!((variance.bernoulli[0] - (4.5 + 9.0)).abs() < 1e-12, "{variance:?}");
        // The mean of a window is one input: (½ + ½)/2, and ½.
        let mut probe = CurrentProbe::new(&layer, 2);
        probe.add(&layer, &[&[train]]);
        assert_eq!(probe.finish(&layer).unwrap().1.rates(0).collect::<Vec<_>>(), [0.5]);
    }

    #[test]
    fn rates_and_variances_stand_at_the_synapses_that_they_arrive_at() {
        // Two groups, each of one input channel of two positions and two output channels.
        let kernel = Kernel::square([2, 1, 2], 4, 1, 1, 0, 2);
        let wiring = Wiring { source: snn::Source::INPUT, source_shape: [2, 1, 2], pools: Vec::new(), kernel };
        let mut train = SpikeTrain::silent([2, 1, 2], 2);
        for (step, neuron) in [(0, 0), (1, 0), (0, 1), (0, 2)] {
            train.add(step, neuron);
        }
        // Rates 1 and ½ in the first channel, ½ and 0 in the second; variances ¼·2 where the rate is ½.
        let layer = layer(wiring, vec![1.0; 4], 1.0, 2);
        let mut probe = CurrentProbe::new(&layer, 2);
        probe.add(&layer, &[&[train]]);
        let (_, means) = probe.finish(&layer).unwrap();
        let of =
            |channel: usize| (means.rates(channel).collect::<Vec<_>>(), means.variances(channel).collect::<Vec<_>>());
        assert_eq!([of(0), of(1)], [(vec![0.75], vec![0.25]), (vec![0.75], vec![0.25])]);
        assert_eq!([of(2), of(3)], [(vec![0.25], vec![0.25]), (vec![0.25], vec![0.25])]);
    }

    #[test]
    fn variance_of_a_potential_is_the_one_computed_by_hand() {
        let mut train = SpikeTrain::silent([1, 1, 1], 4);
        (0..4).for_each(|step| train.add(step, 0));
        let layer = layer(Wiring::dense(snn::Source::INPUT, [1, 1, 1], 1), vec![0.5], 2.0, 4);
        let variance = |reset| potential_variance(&layer, &[&[train.clone()]], 0.25, reset).unwrap();
        // Potentials ¾, 1½ → ½, 1¼ → ¼, 1: deviations −⅜, ⅜, ⅛, −⅛ from their mean; products with the time's −1½, −½, ½, 1½ add
        // up to ¼, of whose squares there are 5. A threshold of 2 makes four times that of it, in units of activations.
        let found = variance(Reset::Subtract);
        assert!((found.measured[0] - 4.0 * 0.3125 / 3.0).abs() < 1e-12, "{found:?}");
        assert!((found.around_trend[0] - 4.0 * (0.3125 - 0.0625 / 5.0) / 3.0).abs() < 1e-12, "{found:?}");
        assert_eq!(found.firing, found.measured);
        // Potentials ¾, 1½ → 0, ¾, 1½.
        let found = variance(Reset::Zero);
        assert!((found.measured[0] - 4.0 * 4.0 * 0.375 * 0.375 / 3.0).abs() < 1e-12, "{found:?}");
        assert_eq!(potential_variance(&layer, &[], 0.25, Reset::Zero), None);
    }

    #[test]
    fn a_potential_that_only_drifts_has_no_variance_around_its_trend() {
        let train = SpikeTrain::silent([1, 1, 1], 16);
        let layer = layer(Wiring::dense(snn::Source::INPUT, [1, 1, 1], 1), vec![1.0], 1.0, 16);
        let found = potential_variance(&layer, &[&[train]], -0.5, Reset::Subtract).unwrap();
        assert!(found.firing[0].is_nan(), "{found:?}");
        // The squares of 16 steps' deviations from their mean are 340; a quarter of it, over 15.
        assert!((found.measured[0] - 340.0 / 4.0 / 15.0).abs() < 1e-12 && found.around_trend[0] < 1e-12, "{found:?}");
    }

    #[test]
    fn poisson_input_has_the_bernoulli_variance() {
        let weights: Vec<f64> = (0..3 * 50).map(|i| f64::from(i % 7) - 3.0).collect();
        let pixels: Vec<f32> = (0..50).map(|i| i as f32 / 60.0).collect();
        let trains: Vec<[SpikeTrain; 1]> =
            (0..40).map(|sample| [encode(Encoding::Poisson, 1, sample, [50, 1, 1], &pixels, 0..500)]).collect();
        let layer = layer(Wiring::dense(snn::Source::INPUT, [50, 1, 1], 3), weights.clone(), 1.0, 500);
        let inputs: Vec<&[SpikeTrain]> = trains.iter().map(<[SpikeTrain; 1]>::as_slice).collect();
        let variance = current_variance(&layer, &inputs).unwrap();
        let mut in_parts = CurrentProbe::new(&layer, 500);
        inputs.chunks(7).for_each(|inputs| in_parts.add(&layer, inputs));
        assert_eq!(in_parts.finish(&layer).unwrap().0, variance);
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
