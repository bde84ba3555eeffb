//! The figures of an experiment: charts for the page, and files for a README.
//!
//! Reads [`crate::method`]; draws with [`crate::chart`].

use crate::chart::{Axis, Chart, Mark, count_label, extent};
use crate::error::ReportError;
use crate::method::{Method, ann_accuracy, checkpoints, last_step, methods};
use crate::number::{accuracy_decimals, percent};
use crate::palette::Ink;
use crate::record::ExperimentRecord;
use crate::sheet::{Figure, sheet};

/// Height of the window of the zoomed panels below the ANN's accuracy, in percentage points: wide enough for what
/// still counts as a loss, narrow enough to show tenths.
const ZOOM_POINTS: f64 = 3.0;
/// Room above the highest curve of a zoomed panel, in percentage points.
const HEADROOM_POINTS: f64 = 0.4;

/// Accuracy against time steps as standalone files, one per theme.
///
/// For a README that follows the reader's scheme:
/// `<picture><source media="(prefers-color-scheme: dark)" srcset="accuracy-dark.svg"><img src="accuracy-light.svg" alt="…"></picture>`.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn figures(record: &ExperimentRecord) -> Result<Vec<Figure>, ReportError> {
    let label = format!("{}: accuracy of the spiking network against time steps, per method", record.name);
    let methods = methods(record);
    let [full, zoom] = accuracy_charts(record, &methods);
    let legend: Vec<&str> = methods.iter().map(|method| method.label).collect();
    sheet("accuracy", &label, &[full, zoom], 2, &legend)
}

/// Accuracy against time steps: the whole range, and the last points below the ANN.
pub(crate) fn accuracy_charts(record: &ExperimentRecord, methods: &[Method<'_>]) -> [Chart; 2] {
    let x = Axis::steps(last_step(record), "time steps T");
    charts(record, methods, &x, |_, step| Some(step as f64))
}

/// Accuracy against synaptic operations per sample: the whole range, and the last points below the ANN.
pub(crate) fn cost_charts(record: &ExperimentRecord, methods: &[Method<'_>]) -> [Chart; 2] {
    let cost = |m: &Method<'_>, step: usize| m.operations(step).map(|s| s.mean);
    let costs = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| cost(m, t)));
    let x = Axis::log10(costs, "synaptic operations per sample", count_label);
    charts(record, methods, &x, cost)
}

fn charts(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    x: &Axis,
    place: impl Fn(&Method<'_>, usize) -> Option<f64>,
) -> [Chart; 2] {
    let ann = ann_accuracy(record).map(|s| s.mean);
    let finals: Vec<f64> = methods.iter().filter_map(|m| m.accuracy(m.steps())).map(|s| s.mean * 100.0).collect();
    let all = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| m.accuracy(t))).map(|s| s.mean * 100.0);
    let best = extent(all).map_or(100.0, |r| r.1);
    let reference = ann.map_or(best, |a| a * 100.0);
    // Where every method ends further below, the window reaches down to the best of them.
    let best_final = extent(finals).map_or(reference, |r| r.1);
    let lo = (reference - ZOOM_POINTS).min(best_final - 1.0).max(0.0);
    let hi = (reference.max(best) + HEADROOM_POINTS).min(100.0 + HEADROOM_POINTS);
    [
        chart("Full range", x.clone(), Axis::linear(0.0, 100.0, 5, "accuracy in %"), record, methods, &place),
        chart("Near the ANN", x.clone(), Axis::linear(lo, hi, 6, "accuracy in %"), record, methods, &place),
    ]
}

fn chart(
    title: &str,
    x: Axis,
    y: Axis,
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    place: &impl Fn(&Method<'_>, usize) -> Option<f64>,
) -> Chart {
    let mut marks = Vec::new();
    if let Some(ann) = ann_accuracy(record) {
        let label = format!("ANN {}", percent(ann.mean, accuracy_decimals(record.dataset.n_test)));
        marks.push(Mark::Level { y: ann.mean * 100.0, label });
    }
    let checkpoints = checkpoints(record);
    for (i, method) in methods.iter().enumerate() {
        let mut points = Vec::new();
        let mut tabulated = Vec::new();
        let mut whiskers = Vec::new();
        for step in 1..=method.steps() {
            let (Some(x), Some(accuracy)) = (place(method, step), method.accuracy(step)) else { continue };
            let mean = accuracy.mean * 100.0;
            points.push([x, mean]);
            if checkpoints.contains(&step) {
                tabulated.push([x, mean]);
                let sd = accuracy.sd.unwrap_or(0.0) * 100.0;
                whiskers.push([x, mean - sd, mean + sd]);
            }
        }
        marks.push(Mark::Whiskers { points: whiskers, ink: Ink::Series(i) });
        marks.push(Mark::Line { points, ink: Ink::Series(i), dash: i, width_px: 1.6 });
        marks.push(Mark::Markers { points: tabulated, series: i });
    }
    Chart { title: title.to_owned(), x, y, marks }
}
