//! `model`: the largest activation that the weights of a layer allow, whatever the input.
//!
//! `λ = max_j (Σ_i max(0, w_ji) λ_i + max(0, b_j))`, one for the layer, over all connections; of biases of single neurons, the largest of
//! the channel
//!
//! Data: none. Keys: those of all methods.
//!
//! Source: P. U. Diehl et al., "Fast-classifying, high-accuracy spiking deep networks through weight and threshold balancing",
//! IJCNN 2015, model-based normalisation. Theirs multiplies the maxima of the layers; this is the same bound layer by layer.

use super::Place;

#[allow(clippy::unnecessary_wraps, reason = "the form of every method")]
pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    let layer = place.layer;
    let of = |channel: usize| {
        let weights = layer.weight_vector(channel, place.before);
        let [_, bias] = layer.biases.range(channel, layer.n_positions());
        weights.map(|weight| weight.max(0.0)).sum::<f64>() + bias.max(0.0)
    };
    Ok(place.all((0..layer.n_channels()).map(of).fold(0.0, f64::max)))
}
