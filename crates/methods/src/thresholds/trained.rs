//! `trained`: the thresholds that the network was trained with, which its quantised activations have.
//!
//! `λ_j` is that of the network's own activation, `λ/L · clamp(⌊Lx/λ + ½⌋, 0, L)`. In T = L steps of a constant current and with an initial
//! potential of ½, a neuron with this threshold sends what the activation is, but for the order in which its input arrives.
//!
//! A channel that is always above its λ keeps it: the trained network cuts it off there as well.
//!
//! Data: none, but for a readout from spikes, where the percentile of the logits is measured. Keys: those of all methods.
//!
//! Source: T. Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks", ICLR 2022.

use super::{Place, ThresholdError, percentile};

pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    if place.is_output {
        return percentile::thresholds(place);
    }
    let trained = place.layer.trained.clone();
    Ok(trained.ok_or_else(|| ThresholdError::NotTrained { layer: place.layer.name.clone() })?)
}
