//! What in a conversion loses accuracy, and what to change.
//!
//! [`verdict`] names the layer that loses a whole run, and why; [`flags`] are all findings.
//!
//! Rules on the record's per-layer measures; each has a threshold with its reason. Only hidden layers are
//! judged: black pixels are silent and white ones saturated by right, and a readout that integrates never fires.

use crate::number::{fixed, percent, significant};
use results::record::{LayerActivity, LayerConversion, RunRecord};

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

/// Loss of accuracy against the ANN after the last step, in points of a hundred, above which a run gets a verdict: more than
/// simulation seeds differ, and more than the closeness that conversions are judged by.
const LOSS_LIMIT: f64 = 0.01;
/// Share of a layer's charge that one spike per step cannot carry, above which saturation is taken for the cause; the same
/// reason as [`SATURATED_SHARE_LIMIT`].
const CLIPPED_LIMIT: f64 = 0.05;
/// Spikes over those that the activations stand for, below which a layer is taken to be starved, and above the reciprocal of
/// which to fire by noise: a fifth is more than rounding to whole spikes loses within a layer.
const DELIVERED_LIMIT: f64 = 0.8;

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

/// What loses a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    /// What was lost, where, and by what.
    pub finding: String,
    /// What to change.
    pub remedy: &'static str,
}

/// Names the layer that loses a run whose accuracy after the last step is more than [`LOSS_LIMIT`] below the ANN's.
///
/// It is the first hidden layer at which the correlation of spike rates with activations falls at least half as far as at
/// any, counted from 1 at the input; a layer that never fires counts as 0. `None` if the run is close enough, or nothing is known of its layers.
pub(crate) fn verdict(run: &RunRecord, ann_accuracy: f64) -> Option<Verdict> {
    let last = run.simulation.seeds.iter().filter_map(|seed| seed.accuracy.last());
    let accuracy = last.clone().sum::<f64>() / last.count() as f64;
    let loss = ann_accuracy - accuracy;
    if loss.is_nan() || loss <= LOSS_LIMIT {
        return None;
    }
    let activity = &run.simulation.layers;
    let hidden = activity.get(1..activity.len().saturating_sub(1)).filter(|hidden| !hidden.is_empty())?;
    // Without spikes there is no correlation; NaN never comes out of a simulation but may out of a file.
    let follows = |layer: &LayerActivity| layer.rate_correlation.filter(|r| r.is_finite()).unwrap_or(0.0);
    let before: Vec<f64> = std::iter::once(1.0).chain(hidden.iter().map(follows)).collect();
    let fall = |idx: usize| before[idx] - follows(&hidden[idx]);
    let largest = (0..hidden.len()).map(fall).fold(0.0, f64::max);
    // Layers behind the one that loses it fall as well, having nothing to follow.
    let first = (0..hidden.len()).find(|&idx| fall(idx) >= largest / 2.0)?;
    let (lost, before) = (&hidden[first], before[first]);
    let (cause, remedy) = cause(lost);
    let finding = format!(
        "{} % where the ANN has {} %; most is lost at {}: the correlation of spike rates with activations falls from {} to \
         {} there; {cause}",
        percent(accuracy, 1),
        percent(ann_accuracy, 1),
        lost.name,
        fixed(before, 2),
        fixed(follows(lost), 2)
    );
    Some(Verdict { finding, remedy })
}

/// What a layer suffers from, and what to change.
fn cause(layer: &LayerActivity) -> (String, &'static str) {
    const STARVED: &str = "Lower the thresholds (a larger κ, a lower percentile, a smaller `scale`), start at half a threshold \
                           (`initial_potential = 0.5`), or simulate longer";
    let Some(charge) = layer.charge.filter(|charge| charge.delivered > 0.0) else {
        return ("it never fires".to_owned(), STARVED);
    };
    let share = charge.delivered_share();
    if charge.clipped > CLIPPED_LIMIT {
        let clipped = percent(charge.clipped, 0);
        (
            format!("{clipped} % of its charge is more than one spike per step can carry (saturation)"),
            "Raise the thresholds: a smaller κ, a higher percentile, a larger `scale`",
        )
    } else if share < DELIVERED_LIMIT {
        (format!("it sends {} % of the spikes that its activations stand for (silence)", percent(share, 0)), STARVED)
    } else if share > 1.0 / DELIVERED_LIMIT {
        (
            format!(
                "it sends {} times the spikes that its activations stand for: noise carries neurons over the threshold that should be silent",
                fixed(share, 1)
            ),
            "Make the input steadier (encoding `systematic`, `regular` or `constant`), raise the thresholds (a smaller κ) so that \
             noise is less of one, or simulate longer",
        )
    } else {
        (
            "the right number of spikes, from the wrong neurons (noise)".to_owned(),
            "Make the input steadier (encoding `systematic`, `regular` or `constant`), or simulate longer",
        )
    }
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
    use results::record::{Charge, ConversionRecord, EnergyRecord, Range, SeedRecord, SimulationRecord};

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
            charge: None,
        }
    }

    fn run(accuracy: f64, hidden: Vec<LayerActivity>) -> RunRecord {
        let mut run = results::record::RunRecord {
            label: "x".to_owned(),
            network: "n".to_owned(),
            conversion: ConversionRecord {
                method: "norm".to_owned(),
                p: None,
                kappa: None,
                kappa_search: Vec::new(),
                compensate: true,
                initial_potential: 0.5,
                calibrate: "none".to_owned(),
                n_calibration: 0,
                layers: Vec::new(),
                scale_search: None,
            },
            simulation: SimulationRecord {
                graded: None,
                engine: String::new(),
                encoding: String::new(),
                reset: String::new(),
                readout: "potential".to_owned(),
                steps: 2,
                n_samples: 10,
                checkpoints: vec![2],
                seeds: Vec::new(),
                layers: vec![activity()],
                variance: Vec::new(),
                rate_match: Vec::new(),
                rasters: Vec::new(),
                energy: EnergyRecord {
                    mac_pj: 1.0,
                    add_pj: 1.0,
                    source: String::new(),
                    snn_macs_per_sample: 0.0,
                    ann_pj: 1.0,
                    snn_pj: vec![1.0; 2],
                },
                faults: None,
            },
        };
        run.simulation.seeds.push(SeedRecord {
            seed: 0,
            accuracy: vec![0.0, accuracy],
            top5: Vec::new(),
            agreement: vec![0.0; 2],
            synaptic_operations: vec![0.0; 2],
            mean_latency: 1.0,
            early_exit: None,
            loss: Vec::new(),
        });
        run.simulation.layers.extend(hidden);
        run.simulation.layers.push(activity());
        run
    }

    #[test]
    fn a_collapse_is_put_down_to_the_layer_where_rates_stop_following_and_to_its_cause() {
        let layer = |name: &str, r: Option<f64>, expected: f64, clipped: f64, delivered: f64| LayerActivity {
            name: name.to_owned(),
            rate_correlation: r,
            charge: Some(Charge { expected, clipped, delivered }),
            ..activity()
        };
        let good = || layer("conv 1", Some(0.98), 0.2, 0.0, 0.2);
        let cases = [
            (
                layer("conv 2", Some(0.5), 0.4, 0.3, 0.2),
                "0.98 to 0.50 there; 30 % of its charge",
                "Raise the thresholds",
            ),
            (layer("conv 2", Some(0.5), 0.2, 0.0, 0.05), "it sends 25 % of the spikes", "Lower the thresholds"),
            (layer("conv 2", None, 0.2, 0.0, 0.0), "0.98 to 0.00 there; it never fires", "Lower the thresholds"),
            (layer("conv 2", Some(0.6), 0.1, 0.0, 0.2), "it sends 2.0 times the spikes", "Make the input steadier"),
            (layer("conv 2", Some(0.6), 0.2, 0.0, 0.2), "from the wrong neurons", "Make the input steadier"),
        ];
        for (bad, finding, remedy) in cases {
            // The layer after it has nothing left to lose.
            let verdict = verdict(&run(0.5, vec![good(), bad, layer("conv 3", None, 0.2, 0.0, 0.0)]), 0.9).unwrap();
            assert!(
                verdict.finding.starts_with("50.0 % where the ANN has 90.0 %; most is lost at conv 2"),
                "{verdict:?}"
            );
            assert!(verdict.finding.contains(finding) && verdict.remedy.starts_with(remedy), "{verdict:?}");
        }
    }

    #[test]
    fn a_run_as_good_as_the_ann_gets_no_verdict() {
        assert_eq!(verdict(&run(0.895, vec![activity()]), 0.9), None);
        assert!(verdict(&run(0.885, vec![activity()]), 0.9).is_some());
        assert_eq!(verdict(&run(0.5, Vec::new()), 0.9), None);
        assert_eq!(verdict(&run(f64::NAN, vec![activity()]), 0.9), None);
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
            rate_error: None,
            expected_saturation: Some(0.2),
        };
        assert_eq!(conversion_flags(&layer).len(), 2);
        let fine = LayerConversion { rounding_change: ROUNDING_LIMIT, expected_saturation: None, ..layer };
        assert!(conversion_flags(&fine).is_empty());
    }
}
