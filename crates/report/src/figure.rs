//! The figures of an experiment: charts for the page, and files for a README.
//!
//! Reads [`crate::method`]; draws with [`crate::chart`].

use crate::chart::{Axis, Chart, Mark, count_label, extent};
use crate::error::ReportError;
use crate::method::{Method, ann_accuracies, ann_accuracy, checkpoints, last_step, methods};
use crate::number::{accuracy_decimals, percent};
use crate::palette::Ink;
use crate::panel::{Panel, panels};
use crate::sheet::{Figure, Group, sheet};
use results::record::ExperimentRecord;

/// Height of the window of the zoomed panels below the ANN's accuracy, in percentage points: wide enough for what
/// still counts as a loss, narrow enough to show tenths.
const ZOOM_POINTS: f64 = 3.0;
/// Room above the highest curve of a zoomed panel, in percentage points.
const HEADROOM_POINTS: f64 = 0.4;

/// Accuracy against time steps, and against synaptic operations, as standalone files, one per theme: `accuracy-light.svg`,
/// `accuracy-operations-light.svg` and the same for `dark`.
///
/// Many methods are parted into panels, one for each combination of the factors that the sweep varies beside conversions. The
/// figure over operations is left out where none were counted.
///
/// For a README that follows the reader's scheme:
/// `<picture><source media="(prefers-color-scheme: dark)" srcset="accuracy-dark.svg"><img src="accuracy-light.svg" alt="…"></picture>`.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn figures(record: &ExperimentRecord) -> Result<Vec<Figure>, ReportError> {
    let methods = methods(record);
    let mut figures = both_themes(record, &methods, "accuracy", "time steps", &accuracy_charts)?;
    if methods.iter().any(|m| m.operations(m.steps()).is_some_and(|s| s.mean > 0.0)) {
        figures.extend(both_themes(record, &methods, "accuracy-operations", "synaptic operations", &cost_charts)?);
    }
    Ok(figures)
}

/// Panels of a standalone figure that are each drawn twice, whole and enlarged.
const FEW_PANELS: usize = 4;

/// Draws the panels of some methods: the whole range, and the last points below the ANN.
pub(crate) type Charts<'f> = &'f dyn Fn(&ExperimentRecord, &[Method<'_>], &Panel) -> [Chart; 2];

/// One figure for a light and for a dark ground.
fn both_themes(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    name: &str,
    against: &str,
    charts: Charts<'_>,
) -> Result<Vec<Figure>, ReportError> {
    let label = format!("{}: accuracy of the spiking network against {against}, per method", record.name);
    let groups = panels(record, methods).into_iter().map(|group| {
        // Each panel whole and enlarged; or, where they are many, three or four panels whole.
        let n_columns = match group.panels.len() {
            n if n <= FEW_PANELS && group.title.is_empty() => 2,
            n if n.is_multiple_of(4) => 4,
            _ => 3,
        };
        let n_charts = if n_columns == 2 { 2 } else { 1 };
        let charts = group.panels.iter().flat_map(|panel| charts(record, methods, panel).into_iter().take(n_charts));
        Group { title: group.title, charts: charts.collect(), n_columns, row_height: None, legend: group.series }
    });
    sheet(name, &label, &groups.collect::<Vec<_>>())
}

/// Accuracy against time steps: the whole range, and the last points below the ANN.
pub(crate) fn accuracy_charts(record: &ExperimentRecord, methods: &[Method<'_>], panel: &Panel) -> [Chart; 2] {
    let x = Axis::steps(last_step(record), "time steps T");
    charts(record, methods, panel, &x, |_, step| Some(step as f64))
}

/// Accuracy against synaptic operations per sample: the whole range, and the last points below the ANN.
pub(crate) fn cost_charts(record: &ExperimentRecord, methods: &[Method<'_>], panel: &Panel) -> [Chart; 2] {
    let cost = |m: &Method<'_>, step: usize| m.operations(step).map(|s| s.mean);
    // The same axis in every panel.
    let costs = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| cost(m, t)));
    let x = Axis::log10(costs, "synaptic operations per sample", count_label);
    charts(record, methods, panel, &x, cost)
}

/// Mean accuracy of the networks that a panel's methods were converted from.
fn reference(record: &ExperimentRecord, panel: &Panel) -> Option<f64> {
    let own = ann_accuracies(record).into_iter().find(|(variant, _)| *variant == panel.variant);
    own.map(|(_, accuracy)| accuracy).or_else(|| ann_accuracy(record)).map(|s| s.mean)
}

fn charts(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    panel: &Panel,
    x: &Axis,
    place: impl Fn(&Method<'_>, usize) -> Option<f64>,
) -> [Chart; 2] {
    let ann = reference(record, panel);
    let finals: Vec<f64> = methods.iter().filter_map(|m| m.accuracy(m.steps())).map(|s| s.mean * 100.0).collect();
    let all = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| m.accuracy(t))).map(|s| s.mean * 100.0);
    let best = extent(all).map_or(100.0, |r| r.1);
    let reference = ann.map_or(best, |a| a * 100.0);
    // Where every method ends further below, the window reaches down to the best of them.
    let best_final = extent(finals).map_or(reference, |r| r.1);
    let lo = (reference - ZOOM_POINTS).min(best_final - 1.0).max(0.0);
    let hi = (reference.max(best) + HEADROOM_POINTS).min(100.0 + HEADROOM_POINTS);
    let y = [Axis::linear(0.0, 100.0, 5, "accuracy in %"), Axis::linear(lo, hi, 6, "accuracy in %")];
    let titles = if panel.title.is_empty() {
        ["Full range".to_owned(), "Near the ANN".to_owned()]
    } else {
        [panel.title.clone(), format!("{}, near the ANN", panel.title)]
    };
    let mut y = y.into_iter();
    titles.map(|title| {
        let y = y.next().expect("an axis for each");
        chart(title, x.clone(), y, ann, record, methods, panel, &place)
    })
}

#[allow(clippy::too_many_arguments, reason = "what a chart is made of, gathered in one place only")]
fn chart(
    title: String,
    x: Axis,
    y: Axis,
    ann: Option<f64>,
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    panel: &Panel,
    place: &impl Fn(&Method<'_>, usize) -> Option<f64>,
) -> Chart {
    let mut marks = Vec::new();
    if let Some(ann) = ann {
        let label = format!("ANN {}", percent(ann, accuracy_decimals(record.dataset.n_test)));
        marks.push(Mark::Level { y: ann * 100.0, label });
    }
    let checkpoints = checkpoints(record);
    for &(method_idx, series) in &panel.members {
        let method = &methods[method_idx];
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
        marks.push(Mark::Whiskers { points: whiskers, ink: Ink::Series(series) });
        marks.push(Mark::Line { points, ink: Ink::Series(series), dash: series, width_px: 1.6 });
        marks.push(Mark::Markers { points: tabulated, series });
    }
    Chart { title, x, y, marks }
}
