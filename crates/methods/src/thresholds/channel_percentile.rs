//! `channel-percentile`: a percentile of each channel's own activations, so that channels of small activations fire as often as others.
//!
//! `λ_j = P_q(a_j)`, over the channel's neurons and the calibration samples; the layer's percentile for a channel never active
//!
//! Data: activations. Keys: `percentile`, `percentile_zeros`.
//!
//! Source: S. Kim et al., "Spiking-YOLO: spiking neural network for energy-efficient object detection", AAAI 2020, channel-wise
//! normalisation.

use rayon::prelude::*;

use super::{Place, percentile};

#[allow(clippy::unnecessary_wraps, reason = "the form of every method")]
pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    let (activations, choice) = (place.activations(), place.choice);
    let layer = percentile::of_layer(activations, choice);
    let of_channel = |channel: usize| {
        let own = percentile::of(activations.of_channel(channel), choice);
        own.filter(|own| *own > 0.0).unwrap_or(layer)
    };
    Ok((0..activations.n_channels()).into_par_iter().map(of_channel).collect())
}
