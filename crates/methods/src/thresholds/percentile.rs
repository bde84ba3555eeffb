//! `percentile`: a percentile of a layer's activations, so that a few outliers do not slow all neurons down.
//!
//! `λ = P_q(a)`, over the layer's neurons and the calibration samples; activations of zero count if `percentile_zeros` says so
//!
//! Data: activations. Keys: `percentile`, `percentile_zeros`.
//!
//! Source: B. Rueckauer et al., "Conversion of continuous-valued deep networks to efficient event-driven networks for image
//! classification", Frontiers in Neuroscience 11:682, 2017.

use super::{Choice, Place};
use crate::activation::{self, Activations};

#[allow(clippy::unnecessary_wraps, reason = "the form of every method")]
pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    Ok(place.all(of_layer(place.activations(), place.choice)))
}

/// The percentile of all of a layer's activations; 0 where none counts.
pub(super) fn of_layer(activations: &Activations, choice: &Choice) -> f64 {
    of(activations.values.iter().map(|&value| f64::from(value)), choice).unwrap_or(0.0)
}

/// The percentile of values. Negative ones, which only logits are, count as zero: a neuron cannot fire for them.
pub(super) fn of(values: impl Iterator<Item = f64>, choice: &Choice) -> Option<f64> {
    let values = values.map(|value| value.max(0.0));
    let counted = values.filter(|value| *value > 0.0 || choice.percentile_zeros);
    activation::percentile(counted.collect(), choice.percentile)
}
