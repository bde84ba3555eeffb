//! `norm`: a norm of each neuron's incoming weights, which predicts the noise that its input spikes bring.
//!
//! `λ_j = ‖w_j ∘ λ‖_p / κ`, where `w_j` is the kernel, the mean of an average pool being one input, and of a residual sum all
//! kernels together
//!
//! A channel whose least activation exceeds that, such as one of tiny weights and a large bias, would fire at every step whatever it
//! sees; its λ is the largest activation that its inputs allow. So is that of a channel without weights, which sends its bias.
//!
//! Data: none, but for a readout from spikes, where the percentile of the logits is measured. Keys: `p`, `kappa`.
//!
//! Source: J. Allred, K. Roy, "L4-Norm Weight Adjustments for Converted Spiking Neural Networks", arXiv:2111.09446, 2021: p = 4, our
//! reading of its abstract.

use snn::norm;

use super::Place;
use crate::layer::{AnnLayer, Before};
use crate::saturation;

#[allow(clippy::unnecessary_wraps, reason = "the form of every method")]
pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    let Place { layer, before, choice, .. } = place;
    let of = |channel: usize| match norm(layer.weight_vector(channel, *before), choice.p) {
        0.0 => saturation::of_constant(layer, channel),
        norm => norm / choice.kappa,
    };
    Ok((0..layer.n_channels()).map(of).collect())
}

/// How much larger a norm of the incoming weights is than their L4-norm: the geometric mean over the hidden layers of that
/// over the channels of each, `‖w_j ∘ λ‖_p / ‖w_j ∘ λ‖_4`. With λ = ‖w ∘ λ‖_p / κ, a κ that is this many times larger makes
/// thresholds like those of the L4-norm. 1 if there is no hidden layer. Channels without weights do not count.
pub fn ratio_to_l4(layers: &[AnnLayer], p: f64, compensate: bool) -> f64 {
    let hidden = &layers[..layers.len() - 1];
    let mut lambdas: Vec<Vec<f64>> = Vec::new();
    let mut sum_of_logs = 0.0;
    for layer in hidden {
        let before = Before(compensate.then_some(lambdas.as_slice()));
        let of = |channel: usize| [p, 4.0].map(|p| norm(layer.weight_vector(channel, before), p));
        let norms: Vec<[f64; 2]> = (0..layer.n_channels()).map(of).collect();
        let logs = norms.iter().filter(|[_, of_4]| *of_4 > 0.0).map(|[of_p, of_4]| (of_p / of_4).ln());
        sum_of_logs += logs.clone().sum::<f64>() / logs.count().max(1) as f64;
        let or_constant = |(channel, [_, of_4]): (usize, &[f64; 2])| {
            if *of_4 > 0.0 { *of_4 } else { saturation::of_constant(layer, channel) }
        };
        lambdas.push(norms.iter().enumerate().map(or_constant).collect());
    }
    (sum_of_logs / hidden.len().max(1) as f64).exp()
}
