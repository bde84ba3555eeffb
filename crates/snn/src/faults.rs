//! Faults: a network as one device of neuromorphic hardware holds and runs it.
//!
//! A device is a [`SpikingNetwork`] of its own, with weights that are off, neurons that fire at thresholds of their own, and
//! spikes that are lost on their way; the engines run it as they run any network. What is random about it comes from
//! [`crate::philox`] under a key made of the simulation seed and the faults' own, and never depends on the network's values: all
//! conversions meet the same device, and a worse one has the same faults, only larger.
//!
//! With ε standard normal, w̃ a weight in thresholds and m the end of its range, the largest |w̃| of its connection (`weight_range`
//! `layer`: all neurons of a layer have one threshold and one scale) or of its connection and channel (`channel`: each channel,
//! in a fully connected layer each neuron, has its own, so that neurons with huge weights do not cost the others their precision):
//!
//! 1. `weight_bits` b: `w̃ ← Δ · round(w̃ / Δ)`, `Δ = m / (2^(b−1) − 1)`: the symmetric uniform quantiser, with as many
//!    steps on either side of zero (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference: A
//!    whitepaper", 2.2, 2.6).
//! 2. `weight_noise` σ: `w̃ ← w̃ + σ m ε` (relative to the range, as in Joshi et al. 2020, "Accurate deep neural network inference
//!    using computational phase-change memory") or `w̃ ← w̃ (1 + σ ε)` (relative to the weight, as in Büchel et al. 2021,
//!    "Supervised training of spiking neural networks for robust deployment on mixed-signal neuromorphic processors"). The first
//!    has one σ for all weights of a range; that of a phase-change cell depends on its conductance.
//! 3. `threshold_mismatch` σ: each neuron fires at `θ = max(1 + σ ε, 1/10)` in place of 1, and subtracts θ. Gaussian relative to
//!    the nominal threshold, as in the code of Büchel et al. 2021, who take |θ| where there is a floor here.
//!    Each position of a convolution is a neuron. Potentials that start at a share of the threshold start at that of the nominal one.
//! 4. `dropped_spikes` p: each spike, those of the input too, is lost with probability p for all that it would have reached
//!    (deletion noise: Park et al. 2021, "Noise-robust deep spiking neural networks with temporal information"). The neuron has
//!    fired and is reset. Trains that a run records are those that arrive.
//!
//! A weight is stored once: a kernel's is the same at all positions, its fault too. Biases stay: hardware keeps them where it keeps
//! potentials, in more bits. Changed layers are rounded to exact grids again, whose bounds are computed anew.

use std::f64::consts::TAU;

use model::config::{FaultsConfig, NoiseOf, WeightRange};

use crate::grid::Precision;
use crate::network::{ExactLayer, NetworkError, SpikingLayer, SpikingNetwork};
use crate::philox::philox;
use crate::spikes::SpikeTrain;
use crate::wiring::{Connection, Source};

/// What random numbers are for; those of [`crate::encoder`] are 0 and 1.
const DEVICE_STREAM: u32 = 2;
const WEIGHT_STREAM: u32 = 3;
const THRESHOLD_STREAM: u32 = 4;
/// Stream of the lost spikes of the input; each layer has the stream after that of the layer before.
const LOSS_STREAM: u32 = 1 << 16;

/// Least firing threshold, in nominal ones: a Gaussian has no least, and a neuron of none would fire at nothing.
const LEAST_THRESHOLD: f64 = 0.1;

/// A network as a device holds it; the network itself if there are no faults.
///
/// - `seed`: simulation seed, each of which is a device
/// - `precision`: of a run's sums, for the layers that change
///
/// # Errors
/// [`NetworkError::TooLarge`] if noise makes weights too large for exact sums.
pub fn device(
    network: &SpikingNetwork,
    faults: &FaultsConfig,
    seed: u64,
    precision: impl Into<Precision>,
) -> Result<SpikingNetwork, NetworkError> {
    if faults.is_none() {
        return Ok(network.clone());
    }
    let (precision, device) = (precision.into(), Device { key: device_key(seed, faults.seed), faults });
    let layers = network.layers().iter().enumerate().map(|(idx, layer)| device.layer(idx as u32, layer, precision));
    let spike_loss = (faults.dropped_spikes > 0.0).then(|| SpikeLoss::new(device.key, faults.dropped_spikes));
    Ok(SpikingNetwork::new(network.input(), layers.collect::<Result<_, _>>()?)?.with_spike_loss(spike_loss))
}

/// A key of 64 bits for two seeds of as many.
fn device_key(seed: u64, faults_seed: u64) -> u64 {
    let [low, high, ..] = philox(seed, [faults_seed as u32, (faults_seed >> 32) as u32, 0, DEVICE_STREAM]);
    u64::from(high) << 32 | u64::from(low)
}

struct Device<'a> {
    key: u64,
    faults: &'a FaultsConfig,
}

impl Device<'_> {
    fn layer(&self, idx: u32, layer: &SpikingLayer, precision: Precision) -> Result<SpikingLayer, NetworkError> {
        let FaultsConfig { weight_noise, weight_bits, threshold_mismatch, .. } = *self.faults;
        if weight_noise == 0.0 && weight_bits.is_none() && threshold_mismatch == 0.0 {
            return Ok(layer.clone());
        }
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let connections = (0..).zip(layer.connections()).map(|(at, connection)| Connection {
            wiring: connection.wiring.clone(),
            weights: self.weights([at, idx], wide(&connection.weights), connection.wiring.kernel.row_len()),
        });
        let exact = ExactLayer {
            name: layer.name().to_owned(),
            connections: connections.collect(),
            biases: layer.biases().map(layer.n_positions(), |_, &bias| f64::from(bias)),
            initial_potentials: wide(layer.initial_potentials()),
            thresholds: wide(layer.thresholds()),
        };
        let firing_thresholds = (threshold_mismatch > 0.0).then(|| {
            let of = |neuron| 1.0 + threshold_mismatch * self.normal(neuron, [0, idx], THRESHOLD_STREAM);
            (0..layer.n_out()).map(|neuron| of(neuron).max(LEAST_THRESHOLD)).collect::<Vec<f64>>()
        });
        SpikingLayer::round_with(&exact, firing_thresholds.as_deref(), precision)
    }

    /// - `of`: index of the connection and of its layer
    /// - `row_len`: weights of a channel
    fn weights(&self, of: [u32; 2], mut weights: Vec<f64>, row_len: usize) -> Vec<f64> {
        let FaultsConfig { weight_noise, weight_noise_of, weight_range, weight_bits, .. } = *self.faults;
        let n_sharing = match weight_range {
            WeightRange::Layer => weights.len(),
            WeightRange::Channel => row_len,
        };
        for (share_idx, weights) in weights.chunks_mut(n_sharing).enumerate() {
            let largest = weights.iter().fold(0.0_f64, |largest, weight| largest.max(weight.abs()));
            if let Some(bits) = weight_bits.filter(|_| largest > 0.0) {
                let n_steps = f64::from((1_u32 << (bits - 1)) - 1);
                for weight in &mut *weights {
                    *weight = (*weight / largest * n_steps).round_ties_even() * largest / n_steps;
                }
            }
            if weight_noise > 0.0 {
                for (idx, weight) in weights.iter_mut().enumerate() {
                    let range = match weight_noise_of {
                        NoiseOf::Range => largest,
                        NoiseOf::Weight => *weight,
                    };
                    *weight += weight_noise * range * self.normal(share_idx * n_sharing + idx, of, WEIGHT_STREAM);
                }
            }
        }
        weights
    }

    /// A standard normal number (Box & Muller 1958); its magnitude is 6.7 at most.
    ///
    /// - `idx`, `of`: what it is for
    fn normal(&self, idx: usize, of: [u32; 2], stream: u32) -> f64 {
        let words = philox(self.key, [idx as u32 / 4, of[0], of[1], stream]);
        // Two words make two numbers.
        let pair = idx % 4 / 2 * 2;
        let [radius, angle] = [words[pair], words[pair + 1]].map(|word| (f64::from(word) + 1.0) / 2.0_f64.powi(32));
        let (sine, cosine) = (TAU * angle).sin_cos();
        (-2.0 * radius.ln()).sqrt() * if idx.is_multiple_of(2) { cosine } else { sine }
    }
}

/// Which spikes are lost on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpikeLoss {
    key: u64,
    /// A draw below this, of 2³², is a loss.
    lost: u64,
}

impl SpikeLoss {
    /// - `probability`: in [0, 1]
    fn new(key: u64, probability: f64) -> Self {
        Self { key, lost: (probability * 2.0_f64.powi(32)).round() as u64 }
    }

    /// Whether a spike is lost.
    ///
    /// - `sample`: index in its data set
    /// - `step`: of the run, from 0
    pub fn loses(self, source: Source, sample: u32, neuron: usize, step: usize) -> bool {
        let counter = [neuron as u32, step as u32 / 4, sample, LOSS_STREAM + source.index() as u32];
        u64::from(philox(self.key, counter)[step % 4]) < self.lost
    }

    /// Takes the lost spikes out of a train.
    ///
    /// - `first_step`: of the run, at which the train begins
    pub fn thin(self, train: &mut SpikeTrain, source: Source, sample: u32, first_step: usize) {
        train.retain(|step, neuron| !self.loses(source, sample, neuron, first_step + step));
    }
}

#[cfg(test)]
mod tests {
    use model::config::{Encoding, NeuronConfig, Readout, Reset};

    use super::*;
    use crate::engine::{Engine as _, RunSettings, Sample};
    use crate::reference::ReferenceEngine;
    use crate::wiring::{Kernel, Wiring};

    const NONE: FaultsConfig = FaultsConfig {
        seed: 0,
        weight_noise: 0.0,
        weight_noise_of: NoiseOf::Range,
        weight_range: WeightRange::Layer,
        weight_bits: None,
        threshold_mismatch: 0.0,
        dropped_spikes: 0.0,
    };

    /// Standard errors that an estimate may be off: one seed in a million, and the seeds are fixed.
    const STANDARD_ERRORS: f64 = 5.0;

    fn layer(wiring: Wiring, weights: Vec<f64>, n_steps: usize) -> SpikingLayer {
        let n_channels = wiring.kernel.channels;
        let exact = ExactLayer {
            name: "x".to_owned(),
            connections: vec![Connection { wiring, weights }],
            biases: vec![0.25; n_channels].into(),
            initial_potentials: vec![0.5; n_channels],
            thresholds: vec![2.0; n_channels],
        };
        SpikingLayer::round(&exact, n_steps).unwrap()
    }

    fn dense(weights: Vec<f64>, n_out: usize) -> SpikingNetwork {
        let input = [weights.len() / n_out, 1, 1];
        SpikingNetwork::new(input, vec![layer(Wiring::dense(Source::INPUT, input, n_out), weights, 32)]).unwrap()
    }

    fn weights(network: &SpikingNetwork) -> &[f32] {
        &network.layers()[0].connections()[0].weights
    }

    #[test]
    fn a_device_without_faults_is_the_network_itself() {
        let network = dense((0..40).map(|i| 0.013 * f64::from(i) - 0.2).collect(), 4);
        let other_devices = FaultsConfig { seed: 9, weight_noise_of: NoiseOf::Weight, ..NONE };
        assert_eq!(device(&network, &other_devices, 3, 32).unwrap(), network);
        // Faults that are so small that nothing comes of them change nothing either.
        let tiny = FaultsConfig { weight_noise: 1e-12, ..NONE };
        assert_eq!(weights(&device(&network, &tiny, 3, 32).unwrap()), weights(&network));
    }

    #[test]
    fn weights_of_few_bits_are_those_computed_by_hand() {
        // 3 bits: three steps either side of zero, of ¼ up to the largest, ¾.
        let network = dense(vec![0.75, -0.5, 0.12, 0.13, -0.38, 0.0], 2);
        let three = device(&network, &FaultsConfig { weight_bits: Some(3), ..NONE }, 0, 32).unwrap();
        assert_eq!(weights(&three), [0.75, -0.5, 0.0, 0.25, -0.5, 0.0]);
        let two = device(&network, &FaultsConfig { weight_bits: Some(2), ..NONE }, 0, 32).unwrap();
        assert_eq!(weights(&two), [0.75, -0.75, 0.0, 0.0, -0.75, 0.0]);
        assert_eq!(two.layers()[0].biases(), network.layers()[0].biases());
        let silent = dense(vec![0.0; 4], 2);
        assert_eq!(weights(&device(&silent, &FaultsConfig { weight_bits: Some(4), ..NONE }, 0, 32).unwrap()), [0.0; 4]);
    }

    #[test]
    fn a_neuron_with_a_range_of_its_own_does_not_cost_the_others_their_precision() {
        // Three steps either side of zero: of 100 for both neurons, or of 100 and of ¼.
        let network = dense(vec![300.0, 90.0, 0.75, -0.5], 2);
        let bits = |weight_range| {
            let faults = FaultsConfig { weight_bits: Some(3), weight_range, ..NONE };
            weights(&device(&network, &faults, 0, 32).unwrap()).to_vec()
        };
        assert_eq!(bits(WeightRange::Layer), [300.0, 100.0, 0.0, 0.0]);
        assert_eq!(bits(WeightRange::Channel), [300.0, 100.0, 0.75, -0.5]);
        let noise = |weight_range| {
            let faults = FaultsConfig { weight_noise: 0.1, weight_range, ..NONE };
            let faulty = device(&network, &faults, 0, 32).unwrap();
            weights(&faulty).iter().zip(weights(&network)).map(|(a, b)| f64::from(a - b)).collect::<Vec<f64>>()
        };
        let (layer, channel) = (noise(WeightRange::Layer), noise(WeightRange::Channel));
        // The same draws, in units of 300 and of 0.75; the grid of large weights is the coarser.
        assert_eq!(layer[..2], channel[..2]);
        assert!(
            layer[2..].iter().zip(&channel[2..]).all(|(a, b)| (a / 300.0 - b / 0.75).abs() < 1e-4),
            "{layer:?}, {channel:?}"
        );
    }

    #[test]
    fn more_bits_err_by_half_a_step_of_theirs_at_most() {
        let network = dense((0..1000).map(|i| 0.3 * (f64::from(i) * 1.7).sin()).collect(), 10);
        let largest = weights(&network).iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
        for bits in 2..=16 {
            let faulty = device(&network, &FaultsConfig { weight_bits: Some(bits), ..NONE }, 0, 32).unwrap();
            let step = f64::from(largest) / f64::from((1 << (bits - 1)) - 1);
            let grid = faulty.layers()[0].grids().iter().map(|grid| grid.step()).fold(0.0, f64::max);
            for (after, before) in weights(&faulty).iter().zip(weights(&network)) {
                assert!(f64::from((after - before).abs()) <= step / 2.0 + grid, "{bits} bits");
            }
        }
    }

    /// Mean and standard deviation, each in standard errors off 0 and 1.
    fn off(values: &[f64]) -> [f64; 2] {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        [mean * n.sqrt(), (variance - 1.0) / (2.0 / (n - 1.0)).sqrt()]
    }

    #[test]
    fn noise_is_standard_normal_in_units_of_its_range() {
        let network =
            dense((0..40_000).map(|i| if i % 3 == 0 { 0.0 } else { 0.01 * f64::from(i % 21 - 10) }).collect(), 40);
        let largest = weights(&network).iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
        for (of, sigma) in [(NoiseOf::Range, 0.2), (NoiseOf::Weight, 0.3)] {
            let faults = FaultsConfig { weight_noise: sigma, weight_noise_of: of, ..NONE };
            let faulty = device(&network, &faults, 7, 32).unwrap();
            let pairs = weights(&faulty).iter().zip(weights(&network));
            let noise: Vec<f64> = pairs
                .filter(|(_, before)| of == NoiseOf::Range || **before != 0.0)
                .map(|(after, before)| {
                    let range = if of == NoiseOf::Range { largest } else { *before };
                    f64::from(after - before) / (sigma * f64::from(range))
                })
                .collect();
            assert!(off(&noise).iter().all(|errors| errors.abs() < STANDARD_ERRORS), "{of}: {:?}", off(&noise));
            let beyond = noise.iter().filter(|noise| noise.abs() > 1.959_964).count() as f64 / noise.len() as f64;
            let error = (0.05 * 0.95 / noise.len() as f64).sqrt();
            assert!((beyond - 0.05).abs() < STANDARD_ERRORS * error, "{of}: {beyond} beyond 1.96");
            let moved = |(after, before): &(&f32, &f32)| **before == 0.0 && **after != 0.0;
            let n_moved = weights(&faulty).iter().zip(weights(&network)).filter(moved).count();
            // Noise below half a step of the grid leaves some of the 13,334.
            assert!(if of == NoiseOf::Weight { n_moved == 0 } else { n_moved > 13_000 }, "{of}: {n_moved}");
        }
    }

    #[test]
    fn a_worse_device_has_the_same_faults_only_larger_and_every_seed_is_another() {
        let network = dense((0..90).map(|i| 0.01 * f64::from(i) - 0.4).collect(), 9);
        let noise = |sigma: f64, seed: u64, faults_seed: u64| {
            let faults = FaultsConfig { weight_noise: sigma, seed: faults_seed, ..NONE };
            let faulty = device(&network, &faults, seed, 32).unwrap();
            weights(&faulty).iter().zip(weights(&network)).map(|(a, b)| f64::from(a - b)).collect::<Vec<f64>>()
        };
        let (mild, bad) = (noise(0.1, 1, 0), noise(0.2, 1, 0));
        // Either is rounded to its grid.
        assert!(mild.iter().zip(&bad).all(|(mild, bad)| (2.0 * mild - bad).abs() < 1e-4));
        assert!(mild != noise(0.1, 2, 0) && mild != noise(0.1, 1, 1) && noise(0.1, 2, 0) != noise(0.1, 1, 1));
    }

    #[test]
    fn every_position_of_a_convolution_has_a_threshold_of_its_own_and_a_kernel_one_noise() {
        let kernel = Kernel::square([1, 40, 40], 12, 3, 1, 1, 1);
        let wiring = Wiring { source: Source::INPUT, source_shape: [1, 40, 40], pools: Vec::new(), kernel };
        let network = SpikingNetwork::new([1, 40, 40], vec![layer(wiring, vec![0.1; 12 * 9], 32)]).unwrap();
        let faults = FaultsConfig { threshold_mismatch: 0.15, weight_noise: 0.1, ..NONE };
        let faulty = device(&network, &faults, 4, 32).unwrap();
        let thresholds = faulty.layers()[0].firing_thresholds().unwrap();
        assert_eq!((thresholds.len(), weights(&faulty).len()), (12 * 1600, 12 * 9));
        let deviations: Vec<f64> = thresholds.iter().map(|&theta| (f64::from(theta) - 1.0) / 0.15).collect();
        assert!(off(&deviations).iter().all(|errors| errors.abs() < STANDARD_ERRORS), "{:?}", off(&deviations));
        for (channel, grid) in faulty.layers()[0].grids().iter().enumerate() {
            let of_channel = &thresholds[channel * 1600..][..1600];
            assert!(of_channel.iter().all(|&theta| grid.holds(theta) && theta <= grid.potential_limit));
        }
    }

    #[test]
    fn thresholds_never_fall_below_a_tenth() {
        let network = dense(vec![0.1; 30_000], 15_000);
        let faulty = device(&network, &FaultsConfig { threshold_mismatch: 0.3, ..NONE }, 0, 32).unwrap();
        let thresholds = faulty.layers()[0].firing_thresholds().unwrap();
        let least = thresholds.iter().copied().fold(f32::INFINITY, f32::min);
        // Within the rounding to the grid.
        assert!((least - 0.1).abs() < 1e-5, "{least}");
        assert_eq!(weights(&faulty), weights(&network));
    }

    #[test]
    fn weights_that_noise_makes_too_large_are_refused_and_larger_ones_get_a_coarser_grid() {
        let network = dense(vec![0.5, -0.25], 1);
        let faulty = device(&network, &FaultsConfig { weight_noise: 1.0, ..NONE }, 11, 4096).unwrap();
        assert!(faulty.layers()[0].grids()[0].free_steps >= 4096);
        let huge = dense(vec![3300.0; 5000], 1);
        let error = device(&huge, &FaultsConfig { weight_noise: 1.0, ..NONE }, 0, 32).unwrap_err();
        assert!(matches!(error, NetworkError::TooLarge { .. }), "{error}");
    }

    /// A neuron of threshold θ under a constant current of c fires when `½ + c t` has passed another multiple of θ.
    #[test]
    fn a_neuron_fires_at_its_own_threshold_and_subtracts_it_as_computed_by_hand() {
        let mut network = dense(vec![0.25], 1);
        let exact = ExactLayer {
            name: "x".to_owned(),
            connections: network.layers()[0]
                .connections()
                .iter()
                .map(|c| Connection { wiring: c.wiring.clone(), weights: vec![0.25] })
                .collect(),
            biases: vec![0.25].into(),
            initial_potentials: vec![0.5],
            thresholds: vec![2.0],
        };
        let layer = SpikingLayer::round_with(&exact, Some(&[1.25]), 32.into()).unwrap();
        network = SpikingNetwork::new(network.input(), vec![layer]).unwrap();
        let settings = |reset| RunSettings {
            encoding: Encoding::Constant,
            neuron: NeuronConfig::default(),
            reset,
            readout: Readout::Spikes,
            n_steps: 6,
            seed: 0,
        };
        let run = |reset| {
            let sample = [Sample { index: 0, pixels: &[1.0] }];
            ReferenceEngine::new(&network).run(&sample, &settings(reset)).unwrap().remove(0)
        };
        // ½ a step: 1, 1.5 fires → 0.25, 0.75, 1.25 fires → 0, 0.5, 1.
        let trace = run(Reset::Subtract);
        assert_eq!((0..6).map(|step| trace.spikes[1].n_spikes(step)).collect::<Vec<_>>(), [0, 1, 0, 1, 0, 0]);
        assert_eq!(trace.residual[0].by_neuron(), [1.0]);
        // 1, 1.5 fires → 0, 0.5, 1, 1.5 fires → 0, 0.5.
        let trace = run(Reset::Zero);
        assert_eq!((0..6).map(|step| trace.spikes[1].n_spikes(step)).collect::<Vec<_>>(), [0, 1, 0, 0, 1, 0]);
        assert_eq!(trace.residual[0].by_neuron(), [0.5]);
    }

    #[test]
    fn a_binomial_share_of_spikes_is_lost_and_the_same_ones_in_any_piece_of_time() {
        const N_NEURONS: usize = 300;
        const N_STEPS: usize = 101;
        let mut all = SpikeTrain::silent([30, 2, 5], N_STEPS);
        (0..N_STEPS).for_each(|step| (0..N_NEURONS).for_each(|neuron| all.add(step, neuron)));
        for probability in [0.05, 0.3, 0.9] {
            let loss = SpikeLoss::new(5, probability);
            let mut thinned = all.clone();
            loss.thin(&mut thinned, Source::of_layer(1), 17, 0);
            let n = (N_NEURONS * N_STEPS) as f64;
            let kept = thinned.n_spikes_in_all() as f64;
            let error = (n * probability * (1.0 - probability)).sqrt();
            assert!((kept - n * (1.0 - probability)).abs() < STANDARD_ERRORS * error, "{kept} of {n} at {probability}");
            // Counts of neurons are binomial too: no neuron is better off than others, and steps are independent.
            let expected = N_STEPS as f64 * probability * (1.0 - probability);
            let mean = N_STEPS as f64 * (1.0 - probability);
            let counts = thinned.counts().into_iter().map(|count| (f64::from(count) - mean) / expected.sqrt());
            assert!(off(&counts.collect::<Vec<_>>()).iter().all(|errors| errors.abs() < STANDARD_ERRORS));
            let mut later = SpikeTrain::silent([30, 2, 5], 40);
            (0..40).for_each(|step| (0..N_NEURONS).for_each(|neuron| later.add(step, neuron)));
            loss.thin(&mut later, Source::of_layer(1), 17, 33);
            for (step, neuron) in (0..40).flat_map(|step| (0..N_NEURONS).map(move |neuron| (step, neuron))) {
                assert_eq!(later.get(step, neuron), thinned.get(33 + step, neuron));
            }
            let mut other = all.clone();
            loss.thin(&mut other, Source::of_layer(0), 17, 0);
            assert_ne!(other, thinned);
        }
        let mut none = all.clone();
        SpikeLoss::new(5, 1.0).thin(&mut none, Source::INPUT, 0, 0);
        assert!(none.is_silent());
    }

    #[test]
    fn what_is_lost_at_a_low_probability_is_lost_at_a_higher_one_too() {
        let (few, many) = (SpikeLoss::new(3, 0.1), SpikeLoss::new(3, 0.2));
        let lost = |loss: SpikeLoss| {
            (0..4000).map(move |neuron| loss.loses(Source::INPUT, 1, neuron, 6)).collect::<Vec<bool>>()
        };
        assert!(lost(few).iter().zip(lost(many)).all(|(few, many)| !few || many));
    }

    #[test]
    fn lost_spikes_reach_nobody_and_leave_their_neuron_reset() {
        // Every spike of the hidden neuron is lost; its own input is constant, so that it goes on firing as before.
        let first = layer(Wiring::dense(Source::INPUT, [1, 1, 1], 1), vec![0.75], 32);
        let second = layer(Wiring::dense(Source::of_layer(0), [1, 1, 1], 1), vec![1.0], 32);
        let network = SpikingNetwork::new([1, 1, 1], vec![first, second]).unwrap();
        let faulty = device(&network, &FaultsConfig { dropped_spikes: 1.0, ..NONE }, 0, 32).unwrap();
        let settings = RunSettings {
            encoding: Encoding::Constant,
            neuron: NeuronConfig::default(),
            reset: Reset::Subtract,
            readout: Readout::Potential,
            n_steps: 5,
            seed: 0,
        };
        let sample = [Sample { index: 0, pixels: &[1.0] }];
        let trace = ReferenceEngine::new(&faulty).run(&sample, &settings).unwrap().remove(0);
        assert_eq!((trace.spikes[1].n_spikes_in_all(), trace.residual[0].by_neuron()[0]), (0, 0.5));
        // Its bias of ¼ alone.
        assert_eq!(trace.readout, [0.75, 1.0, 1.25, 1.5, 1.75]);
    }
}
