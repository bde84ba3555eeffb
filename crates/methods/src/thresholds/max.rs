//! `max`: the largest activation of a layer.
//!
//! `λ = max a`, over the layer's neurons and the calibration samples
//!
//! Data: activations. Keys: those of all methods.
//!
//! Source: P. U. Diehl et al., "Fast-classifying, high-accuracy spiking deep networks through weight and threshold balancing",
//! IJCNN 2015, data-based normalisation.

use super::Place;

#[allow(clippy::unnecessary_wraps, reason = "the form of every method")]
pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    Ok(place.all(place.activations().largest()))
}
