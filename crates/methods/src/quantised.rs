//! Thresholds and shifts for neurons that count, layer by layer on inputs that are quantised already.
//!
//! After T steps of τ quanta a network of counting neurons is the trained one with activations rounded to L = τT levels
//! ([`snn::neurons::Counting`]). So nothing has to be simulated to know what a layer does: one step of L quanta is the same. Each
//! layer is chosen behind the chosen ones before it, so that it makes up for what they lost.
//!
//! `λ_j, δ_j = argmin Σ (a − λ/L · clamp(⌊Lx/λ + v(0) + δ⌋, 0, L))²` over the channel's neurons and the calibration samples: a are the
//! trained network's activations, x what the layer computes from quantised inputs. λ is among hundredths of the largest activation;
//! the shift δ, in quanta, is zero unless `calibrate` asks for it, and is then what takes the mean error back.
//!
//! Source: the error is that of Li et al. 2021, "A free lunch from ANN", whose inputs are the trained network's.

use anyhow::Result;
use engine_event::EventEngine;
use model::config::{Encoding, NeuronConfig, NeuronKind, RateCap, Readout};
use rayon::prelude::*;
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::{Engine as _, RunSettings, Sample};

use crate::activation::Activations;
use crate::layer::{AnnLayer, Before};
use crate::rescale;

/// Candidates for each channel's λ: the largest activation times 1/100, 2/100, … 1.
const CANDIDATES: usize = 100;

/// Rounds of choosing λ for the shift and the shift for λ.
const ROUNDS: usize = 3;

/// Most pairs of a channel that are looked at, evenly spread over samples and positions.
const MOST_PAIRS: usize = 16_384;

/// Largest shift, in quanta.
const MOST_SHIFT: f64 = 2.0;

/// Samples run at once.
const BATCH: usize = 64;

/// What layers are chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Quantised<'a> {
    /// Shape `[C, H, W]` of the network's input.
    pub input: [usize; 3],
    /// Calibration samples, `[n_in]` each.
    pub images: &'a [Vec<f32>],
    /// The trained network's activations for these, one entry per layer.
    pub activations: &'a [Activations],
    /// Levels L of an activation.
    pub levels: u32,
    /// v(0) of hidden neurons, in quanta.
    pub initial_potential: f64,
    /// Factor on every hidden λ that is chosen.
    pub scale: f64,
    /// Whether mean errors are taken back.
    pub shifts: bool,
    /// Where the decision is read from: a readout from spikes keeps the thresholds that it is given.
    pub readout: Readout,
}

impl Quantised<'_> {
    /// Chooses all layers.
    ///
    /// - `thresholds`: λ of every layer by a method that looks at each layer alone; a channel that is never active keeps its own, and so
    ///   does the last layer
    /// - returns the layers before rounding, and per layer the mean over its channels of the magnitude of the shift, in quanta
    ///
    /// # Errors
    /// If weights are too large or not finite.
    pub fn choose(&self, layers: &[AnnLayer], thresholds: &[Vec<f64>]) -> Result<(Vec<ExactLayer>, Vec<f64>)> {
        let last = layers.len() - 1;
        let mut lambdas: Vec<Vec<f64>> = Vec::new();
        let (mut exact, mut magnitudes) = (Vec::new(), Vec::new());
        for (idx, layer) in layers.iter().enumerate() {
            let before = Before(Some(&lambdas));
            let inputs =
                self.inputs(&exact, rescale::rescale_layer(layer, before, &vec![1.0; layer.n_channels()], 0.0))?;
            let (activations, given) = (&self.activations[idx], &thresholds[idx]);
            let chosen: Vec<Chosen> = if idx < last {
                let of = |channel: usize| {
                    let pairs = inputs.of_channel(channel).zip(activations.of_channel(channel)).map(<[f64; 2]>::from);
                    let all = inputs.values.len() / inputs.n_channels();
                    let pairs: Vec<[f64; 2]> = pairs.step_by(all.div_ceil(MOST_PAIRS).max(1) | 1).collect();
                    self.of_channel(&pairs, given[channel], layer.ceiling)
                };
                (0..layer.n_channels()).into_par_iter().map(of).collect()
            } else {
                // Logits: their mean error, which is added before the first step. The readout has no v(0) of its own.
                let pairs = inputs.channel_means().into_iter().zip(activations.channel_means());
                let of = |((x, a), &lambda): ((f64, f64), &f64)| Chosen {
                    lambda,
                    shift: f64::from(self.levels) * (a - x) / lambda,
                };
                pairs.zip(given).map(of).collect()
            };
            let own: Vec<f64> = chosen.iter().map(|chosen| chosen.lambda).collect();
            let start = if idx < last { self.initial_potential } else { 0.0 };
            let mut layer = rescale::rescale_layer(layer, before, &own, start);
            if self.shifts {
                layer.initial_potentials.iter_mut().zip(&chosen).for_each(|(start, chosen)| *start += chosen.shift);
            }
            let mean = chosen.iter().map(|chosen| chosen.shift.abs()).sum::<f64>() / chosen.len() as f64;
            magnitudes.push(if self.shifts { mean } else { 0.0 });
            lambdas.push(own);
            exact.push(layer);
        }
        Ok((exact, magnitudes))
    }

    /// What a layer computes of quantised inputs, before its rectifier.
    ///
    /// - `before`: the layers before it
    /// - `layer`: with λ = 1
    fn inputs(&self, before: &[ExactLayer], layer: ExactLayer) -> Result<Activations> {
        let n_channels = layer.thresholds.len();
        let layers: Vec<ExactLayer> = before.iter().cloned().chain([layer]).collect();
        let precision = Precision { may_saturate: false, ..(4 * self.levels as usize).into() };
        let network = rescale::round(self.input, &layers, precision)?;
        let engine = EventEngine::new(&network);
        let settings = one_step(self.levels, Readout::Potential);
        let mut values = Vec::new();
        for (batch_idx, batch) in self.images.chunks(BATCH).enumerate() {
            for trace in engine.run(&Sample::consecutive(batch_idx * BATCH, batch), &settings)? {
                values.extend(trace.readout);
            }
        }
        let n_neurons = values.len() / self.images.len().max(1);
        Ok(Activations { n_neurons, n_positions: n_neurons / n_channels, values })
    }

    /// What is chosen for a channel.
    ///
    /// - `pairs`: what the layer computes and what the trained network's activation is
    fn of_channel(&self, pairs: &[[f64; 2]], given: f64, ceiling: f64) -> Chosen {
        let largest = pairs.iter().fold(0.0, |largest: f64, [x, a]| largest.max(*x).max(*a)).min(ceiling);
        if largest <= 0.0 || pairs.iter().all(|[_, a]| *a <= 0.0) {
            return Chosen { lambda: given, shift: 0.0 };
        }
        let levels = f64::from(self.levels);
        let mut best = Chosen { lambda: largest, shift: 0.0 };
        for _ in 0..if self.shifts { ROUNDS } else { 1 } {
            let (start, offset) = (self.initial_potential + best.shift, best.shift);
            let error = |lambda: f64| {
                let (per_quantum, quantum) = (levels / lambda, lambda / levels);
                let of = |[x, _]: &[f64; 2]| {
                    let count = (x * per_quantum + start).floor().clamp(0.0, levels);
                    ((x + offset * quantum).max(0.0) - quantum * count).powi(2)
                };
                pairs.iter().map(of).sum::<f64>()
            };
            let candidates = (1..=CANDIDATES).map(|k| largest * k as f64 / CANDIDATES as f64);
            let scored = candidates.map(|lambda| (error(lambda), lambda));
            let (_, lambda) = scored.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are candidates");
            best.lambda = (lambda * self.scale).min(ceiling);
            if self.shifts {
                best.shift = self.shift(pairs, best.lambda);
            }
        }
        best
    }

    /// The shift that takes the mean error back, by bisection: what is put out grows with it.
    fn shift(&self, pairs: &[[f64; 2]], lambda: f64) -> f64 {
        let levels = f64::from(self.levels);
        let wanted: f64 = pairs.iter().map(|[_, a]| a * levels / lambda).sum();
        let put_out = |shift: f64| -> f64 {
            let start = self.initial_potential + shift;
            pairs.iter().map(|[x, _]| (x * levels / lambda + start).floor().clamp(0.0, levels)).sum()
        };
        let (mut low, mut high) = (-MOST_SHIFT, MOST_SHIFT);
        for _ in 0..12 {
            let middle = f64::midpoint(low, high);
            if put_out(middle) < wanted { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    }
}

/// What is chosen for a channel.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    /// Threshold λ, in units of activations.
    lambda: f64,
    /// Added to v(0), in quanta.
    shift: f64,
}

/// A run of one step of as many quanta as an activation has levels: what counting neurons come to after as many quanta in any number of
/// steps, if their input is a constant current.
pub fn one_step(levels: u32, readout: Readout) -> RunSettings {
    let neuron = NeuronConfig { kind: NeuronKind::Counting, levels, rate_cap: RateCap::Step };
    let (encoding, reset) = (Encoding::Constant, model::config::Reset::Subtract);
    RunSettings { encoding, neuron, reset, readout, n_steps: 1, seed: 0 }
}
