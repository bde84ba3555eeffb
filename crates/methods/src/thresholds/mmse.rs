//! `mmse`: for each neuron the threshold that represents its activations with the least squared error in T steps.
//!
//! `λ_j = argmin_λ Σ (a − λ/T · clip(⌊aT/λ + v(0)⌋, 0, T))²`, over the channel's neurons and the calibration samples; the layer's
//! largest activation for a channel never active
//!
//! Data: activations. Keys: `target_steps`, which is T.
//!
//! Source: Y. Li et al., "A free lunch from ANN: towards efficient, accurate spiking neural networks calibration", ICML 2021,
//! simplified: no calibration of biases and potentials.

use rayon::prelude::*;

use super::Place;

/// Candidates for each neuron's λ of least squared error: the largest activation times 1/100, 2/100, … 1, the steps of the code
/// of Li et al. 2021, which stops at 6/100.
const CANDIDATES: usize = 100;

#[allow(clippy::unnecessary_wraps, reason = "the form of every method")]
pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    let (activations, choice) = (place.activations(), place.choice);
    let of_layer = activations.largest();
    let of_channel = |channel: usize| {
        let values: Vec<f64> = activations.of_channel(channel).collect();
        least_error(values, choice.target_steps, choice.initial_potential).unwrap_or(of_layer)
    };
    Ok((0..activations.n_channels()).into_par_iter().map(of_channel).collect())
}

/// The λ that represents activations with the least squared error in a number of steps; `None` if none is positive.
///
/// - `n_steps`: or the number of levels of a quantised activation
/// - `initial_potential`: what is rounded with, ½ for the nearest level
pub fn least_error(mut activations: Vec<f64>, n_steps: usize, initial_potential: f64) -> Option<f64> {
    for value in &mut activations {
        *value = value.max(0.0);
    }
    let largest = activations.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return None;
    }
    let candidates = (1..=CANDIDATES).map(|k| largest * k as f64 / CANDIDATES as f64);
    let error = |lambda: f64| {
        activations.iter().map(|&a| quantisation_error(a, lambda, n_steps, initial_potential).powi(2)).sum::<f64>()
    };
    let scored = candidates.map(|lambda| (error(lambda), lambda));
    scored.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, lambda)| lambda)
}

/// What is lost of an activation that T steps of a neuron with threshold λ and steady input stand for.
fn quantisation_error(activation: f64, lambda: f64, n_steps: usize, initial_potential: f64) -> f64 {
    let n_steps = n_steps as f64;
    let count = (activation * n_steps / lambda + initial_potential).floor().clamp(0.0, n_steps);
    activation - count * lambda / n_steps
}
