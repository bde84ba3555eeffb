//! `std`: the measured standard deviation of each neuron's input current per step, which `norm` approximates.
//!
//! `λ_j = σ_j / κ`; the layer's median where σ is zero, the bias where there are no weights
//!
//! Data: the input current of the spiking network as far as it is converted, on calibration samples. Keys: `kappa`.
//!
//! Source: an ablation of our own.

use super::{Place, ThresholdError};
use crate::activation::percentile;
use crate::layer::Before;
use crate::saturation;

pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    let sigmas = place.noise()?;
    let is_constant = |channel: usize| place.layer.weight_vector(channel, Before(None)).all(|weight| weight == 0.0);
    let positive: Vec<f64> = sigmas.iter().copied().filter(|sigma| *sigma > 0.0).collect();
    let steady = || ThresholdError::SteadyInput { layer: place.layer.name.clone() };
    let median = percentile(positive, 50.0).ok_or_else(steady)?;
    let kappa = place.choice.kappa;
    let of = |(channel, sigma): (usize, f64)| {
        if is_constant(channel) {
            return saturation::of_constant(place.layer, channel);
        }
        let sigma = if sigma > 0.0 { sigma } else { median };
        sigma / kappa
    };
    Ok(sigmas.into_iter().enumerate().map(of).collect())
}
