//! `norm`: a norm of each neuron's incoming weights, which predicts the noise that its input spikes bring.
//!
//! `λ_j = ‖w_j ∘ λ‖_p / κ`, where `w_j` is the kernel, the mean of an average pool being one input, and of a residual sum all
//! kernels together
//!
//! Data: none, but for a readout from spikes, where the percentile of the logits is measured. Keys: `p`, `kappa`.
//!
//! Source: J. Allred, K. Roy, "L4-Norm Weight Adjustments for Converted Spiking Neural Networks", arXiv:2111.09446, 2021: p = 4, our
//! reading of its abstract.

use model::config::Method;
use snn::norm;

use super::{Place, ThresholdError, silent_channel};
use crate::layer::{AnnLayer, Before};

pub(super) fn thresholds(place: &Place<'_>) -> anyhow::Result<Vec<f64>> {
    let Place { layer, before, choice, .. } = place;
    let of = |channel: usize| Ok(positive_norm(layer, channel, *before, choice.p)? / choice.kappa);
    (0..layer.n_channels()).map(of).collect()
}

/// How much larger a norm of the incoming weights is than their L4-norm: the geometric mean over the hidden layers of that
/// over the channels of each, `‖w_j ∘ λ‖_p / ‖w_j ∘ λ‖_4`. With λ = ‖w ∘ λ‖_p / κ, a κ that is this many times larger makes
/// thresholds like those of the L4-norm. 1 if there is no hidden layer.
///
/// # Errors
/// [`ThresholdError::SilentChannel`]
pub fn ratio_to_l4(layers: &[AnnLayer], p: f64, compensate: bool) -> Result<f64, ThresholdError> {
    let hidden = &layers[..layers.len() - 1];
    let mut lambdas: Vec<Vec<f64>> = Vec::new();
    let mut sum_of_logs = 0.0;
    for layer in hidden {
        let before = Before(compensate.then_some(lambdas.as_slice()));
        let norms_of = |p: f64| -> Result<Vec<f64>, ThresholdError> {
            (0..layer.n_channels()).map(|channel| positive_norm(layer, channel, before, p)).collect()
        };
        let (of_p, of_4) = (norms_of(p)?, norms_of(4.0)?);
        let logs = of_p.iter().zip(&of_4).map(|(of_p, of_4)| (of_p / of_4).ln());
        sum_of_logs += logs.sum::<f64>() / of_4.len() as f64;
        lambdas.push(of_4);
    }
    Ok((sum_of_logs / hidden.len().max(1) as f64).exp())
}

fn positive_norm(layer: &AnnLayer, channel: usize, before: Before<'_>, p: f64) -> Result<f64, ThresholdError> {
    let norm = norm(layer.weight_vector(channel, before), p);
    if norm > 0.0 { Ok(norm) } else { Err(silent_channel(layer, channel, Method::Norm)) }
}
