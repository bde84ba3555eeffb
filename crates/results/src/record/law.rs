//! Why σ follows one norm of the weights or another.

use serde::{Deserialize, Serialize};

use super::NormFit;

/// How well one quantity predicts another over a layer's neurons.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Coefficient of variation over neurons of what is predicted divided by its prediction; smaller is better.
    pub coefficient_of_variation: f64,
    /// Pearson correlation of the two; `None` where undefined (all alike).
    pub correlation: Option<f64>,
}

/// What stands behind the fit of the norms, for one layer.
///
/// A channel of a convolution counts as one neuron, its inputs being means over positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerLaw {
    /// Fit of the measured σ by the exact prediction for independent inputs, `sqrt(Σ w² r(1 − r))`.
    pub prediction: Fit,
    /// Mean over neurons of `σ² / Σ w² r(1 − r)`: 1 if inputs are independent, above if they spike together.
    pub dependence: f64,
    /// Angles between weights and inputs.
    pub angle: Angle,
    /// The same norms against the σ of the membrane potential before firing; `None` for neurons that never fire.
    pub potential: Option<PotentialLaw>,
    /// Fit of each norm if rates were drawn uniformly from [0, 1], whatever the weights.
    pub uniform_rates: Vec<NormFit>,
    /// Fit of each norm if the inputs' variances were dealt out to the weights at random.
    pub shuffled_rates: Vec<NormFit>,
}

/// The angle φ between w∘w and what comes in, for `Σ w² x = ‖w‖₄² ‖x‖₂ cos φ`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Angle {
    /// Mean over neurons of cos φ to the inputs' variances r(1 − r).
    pub cosine: f64,
    /// Its coefficient of variation over neurons.
    pub cosine_variation: f64,
    /// Coefficient of variation of `sqrt(cos φ)`: that of `sqrt(Σ w² r(1 − r)) / ‖w‖₄` where all neurons have the same inputs.
    pub root_variation: f64,
    /// Coefficient of variation over neurons of `sqrt(Σ w² r(1 − r)) / ‖w‖₂`, the root of the mean input that w² weighs: what
    /// `root_variation` is to the L4-norm, to the L2-norm.
    pub mean_root_variation: f64,
    /// Mean over neurons of cos φ to the inputs' rates r themselves, of which small ones have r(1 − r) ≈ r.
    pub rate_cosine: f64,
    /// Coefficient of variation of its root.
    pub rate_root_variation: f64,
    /// Mean over neurons of the correlation, over inputs, of w² with r(1 − r): 0 if weights do not know their inputs' rates.
    pub alignment: f64,
}

/// Standard deviation over time of the potential before firing, `u = v + current`, and what it follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PotentialLaw {
    /// Mean over neurons, in thresholds.
    pub sigma: f64,
    /// Mean over neurons of the σ of the current, in thresholds.
    pub current_sigma: f64,
    /// Share of the variance that is a straight line over time: neurons that drift away from their threshold or cannot keep up.
    pub drift_share: f64,
    /// Fit by each norm.
    pub norms: Vec<NormFit>,
    /// Fit of what is left around that line.
    pub norms_around_trend: Vec<NormFit>,
    /// Mean over neurons of σ where they spike at least once for a sample, in thresholds; `None` if none does.
    pub firing_sigma: Option<f64>,
    /// Fit of that; empty if none does.
    pub norms_firing: Vec<NormFit>,
}
