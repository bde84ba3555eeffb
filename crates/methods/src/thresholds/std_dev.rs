//! `std`: the measured standard deviation of each neuron's input current per step, which `norm` approximates.
//!
//! `λ_j = σ_j / κ`; the layer's median where σ is zero
//!
//! Data: the input current of the spiking network as far as it is converted, on calibration samples. Keys: `kappa`.
//!
//! Source: an ablation of our own.

use super::{Place, ThresholdError};
use crate::activation::percentile;
use crate::layer::Before;

pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    let sigmas = place.noise()?;
    let silent = |channel: &usize| place.layer.weight_vector(*channel, Before(None)).all(|weight| weight == 0.0);
    if let Some(channel) = (0..place.layer.n_channels()).find(silent) {
        return Err(place.silent_channel(channel).into());
    }
    let positive: Vec<f64> = sigmas.iter().copied().filter(|sigma| *sigma > 0.0).collect();
    let steady = || ThresholdError::SteadyInput { layer: place.layer.name.clone() };
    let median = percentile(positive, 50.0).ok_or_else(steady)?;
    let kappa = place.choice.kappa;
    Ok(sigmas.into_iter().map(|sigma| if sigma > 0.0 { sigma } else { median } / kappa).collect())
}
