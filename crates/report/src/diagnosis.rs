//! What in a conversion loses accuracy, and what to change.
//!
//! Rules on the record's per-layer measures; each has a threshold with its reason. Only hidden layers are
//! judged: black pixels are silent and white ones saturated by right, and a readout that integrates never fires.

use crate::number::{fixed, percent, significant};
use crate::record::{LayerActivity, LayerConversion, RunRecord};

/// Share of (sample, neuron) pairs that fire at every step, above which saturation is flagged. A saturated neuron
/// cannot show a larger activation at any T; percentile conversion gives up about 0.1 % on purpose, so 5 % is far
/// beyond what any method means to lose.
const SATURATED_SHARE_LIMIT: f64 = 0.05;
/// Share of neurons that never fire for any sample, above which silence is flagged. Some units of a `ReLU` network are
/// dead or rare; if most of a layer says nothing, charge does not get through.
const SILENT_SHARE_LIMIT: f64 = 0.5;
/// Correlation of `a/λ` with the spike rate below which rates are flagged as not following the ANN: at 0.8 a third
/// of the rates' variance is not explained by the activations.
const RATE_CORRELATION_LIMIT: f64 = 0.8;
/// Share of calibration pairs above λ that is flagged; the same reason as [`SATURATED_SHARE_LIMIT`].
const EXPECTED_SATURATION_LIMIT: f64 = 0.05;
/// Largest rounding change of a weight or bias, in thresholds, that passes: a hundredth of a threshold per spike,
/// with the signs mixed, stays below one threshold over thousands of spikes.
const ROUNDING_LIMIT: f64 = 0.01;

/// The limits, as one sentence for the reader.
pub(crate) fn limits() -> String {
    format!(
        "Named are hidden layers with more than {} % silent neurons, more than {} % saturated pairs, or a correlation of \
         spike rates with activations below {}; and layers with more than {} % of calibration activations above their \
         threshold, or a rounding change above {} thresholds.",
        percent(SILENT_SHARE_LIMIT, 0),
        percent(SATURATED_SHARE_LIMIT, 0),
        fixed(RATE_CORRELATION_LIMIT, 1),
        percent(EXPECTED_SATURATION_LIMIT, 0),
        fixed(ROUNDING_LIMIT, 2)
    )
}

/// One finding about one layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flag {
    /// Name of the layer.
    pub layer: String,
    /// What was measured.
    pub finding: String,
    /// What to change.
    pub remedy: &'static str,
}

/// All findings about a run, in the order of the layers.
pub(crate) fn flags(run: &RunRecord) -> Vec<Flag> {
    let activity = &run.simulation.layers;
    let hidden = activity.get(1..activity.len().saturating_sub(1)).unwrap_or_default();
    let mut flags: Vec<Flag> = hidden.iter().flat_map(activity_flags).collect();
    flags.extend(run.conversion.layers.iter().flat_map(conversion_flags));
    flags
}

fn activity_flags(layer: &LayerActivity) -> Vec<Flag> {
    let flag = |finding: String, remedy| Flag { layer: layer.name.clone(), finding, remedy };
    let mut flags = Vec::new();
    if layer.saturated_share > SATURATED_SHARE_LIMIT {
        flags.push(flag(
            format!("{} % of (sample, neuron) pairs fire at every step", percent(layer.saturated_share, 1)),
            "raise the thresholds: a smaller κ, or a higher percentile",
        ));
    }
    if layer.silent_share > SILENT_SHARE_LIMIT {
        flags.push(flag(
            format!("{} % of neurons never fire", percent(layer.silent_share, 1)),
            "lower the thresholds (a larger κ, a lower percentile), start at half a threshold, or simulate longer",
        ));
    }
    if let Some(r) = layer.rate_correlation.filter(|r| *r < RATE_CORRELATION_LIMIT) {
        flags.push(flag(
            format!("spike rates follow the ANN's activations with r = {} only", fixed(r, 2)),
            "look at the panel of this layer above: points below the line lack charge (lower the thresholds or \
             simulate longer), points cut off at 1 are saturated (raise them), a cloud is noise (a steadier input \
             coding, or more steps)",
        ));
    }
    flags
}

fn conversion_flags(layer: &LayerConversion) -> Vec<Flag> {
    let flag = |finding: String, remedy| Flag { layer: layer.name.clone(), finding, remedy };
    let mut flags = Vec::new();
    if let Some(share) = layer.expected_saturation.filter(|s| *s > EXPECTED_SATURATION_LIMIT) {
        flags.push(flag(
            format!("{} % of calibration activations exceed their threshold", percent(share, 1)),
            "raise the thresholds: a smaller κ, or a higher percentile",
        ));
    }
    if layer.rounding_change > ROUNDING_LIMIT {
        flags.push(flag(
            format!("rounding moved a weight or bias by {} thresholds", significant(layer.rounding_change)),
            "simulate fewer steps or raise the thresholds, so that the exact grid can be finer",
        ));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Range;

    fn activity() -> LayerActivity {
        LayerActivity {
            name: "dense 1".to_owned(),
            n_neurons: 10,
            spikes_per_sample: 1.0,
            mean_rate: 0.1,
            synaptic_operations: 1.0,
            silent_share: SILENT_SHARE_LIMIT,
            saturated_share: SATURATED_SHARE_LIMIT,
            rate_correlation: Some(RATE_CORRELATION_LIMIT),
            residual_potential: None,
        }
    }

    #[test]
    fn a_layer_at_its_limits_passes_and_beyond_them_is_flagged() {
        assert!(activity_flags(&activity()).is_empty());
        let bad =
            LayerActivity { silent_share: 0.51, saturated_share: 0.051, rate_correlation: Some(0.79), ..activity() };
        let findings: Vec<_> = activity_flags(&bad).into_iter().map(|f| f.finding).collect();
        assert_eq!(
            findings,
            [
                "5.1 % of (sample, neuron) pairs fire at every step",
                "51.0 % of neurons never fire",
                "spike rates follow the ANN's activations with r = 0.79 only"
            ]
        );
    }

    #[test]
    fn coarse_rounding_and_saturated_calibration_are_flagged() {
        let one = Range { min: 1.0, median: 1.0, max: 1.0 };
        let layer = LayerConversion {
            name: "dense 2".to_owned(),
            n_neurons: 3,
            lambda: one,
            l4_norm: one,
            grid_step: 0.0625,
            rounding_change: 0.031,
            expected_saturation: Some(0.2),
        };
        assert_eq!(conversion_flags(&layer).len(), 2);
        let fine = LayerConversion { rounding_change: ROUNDING_LIMIT, expected_saturation: None, ..layer };
        assert!(conversion_flags(&fine).is_empty());
    }
}
