//! Samples stopped as soon as their decision is settled.

use maud::html;

use super::{HALF, Section, figure, findings, method_legend, reading, table};
use crate::chart::{Axis, Chart, Mark};
use crate::error::ReportError;
use crate::figure::accuracy_charts;
use crate::method::{Method, last_step};
use crate::number::{fixed, percent, significant};
use crate::palette::Ink;
use crate::panel::Panel;
use crate::table::early_exit_table;
use results::record::ExperimentRecord;
use results::statistic::Summary;

/// Radius of the ring at a method's mean number of steps, in pixels.
const RING: f64 = 6.0;

pub(super) fn section(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let Some(early_exits) = early_exit_table(record) else { return Ok(None) };
    let [_, near] = accuracy_charts(record, methods, &Panel::of_all(methods));
    let charts = [with_stops(near, methods), stopped(record, methods)];
    let caption = "Left: mean accuracy after each time step, all samples alike; a ring stands at the accuracy and the mean \
                   number of steps of samples that stop one by one. Right: share of samples that have stopped (binary logarithmic \
                   axes). Means over networks and simulation seeds.";
    let sentences: Vec<String> = methods.iter().filter_map(promise).collect();
    Ok(Some(Section {
        id: "early-exit",
        title: "Early exit",
        body: html! {
            (reading("A sample stops once the probability that another class overtakes its decision before T is at most 1 − confidence, by a test of the margins against the variance of the readout. Easy samples stop soon, so that a ring lies left of its curve or above it."))
            (figure(&charts, HALF, "charts two", &method_legend(methods, true), caption)?)
            (findings(&sentences))
            (table(&early_exits))
        },
    }))
}

/// The curves with a ring at the mean steps and the accuracy of each method.
fn with_stops(mut chart: Chart, methods: &[Method<'_>]) -> Chart {
    for (series, method) in methods.iter().enumerate() {
        let steps = method.early_exit(|early, _| Some(early.mean_steps));
        let accuracy = method.early_exit(|early, _| Some(early.accuracy));
        let points = steps.zip(accuracy).map(|(steps, accuracy)| [steps.mean, accuracy.mean * 100.0]);
        let points = points.into_iter().collect();
        chart.marks.push(Mark::Rings { points, ink: Ink::Series(series), radius_px: RING });
    }
    chart
}

/// Share of samples that have stopped after each step.
fn stopped(record: &ExperimentRecord, methods: &[Method<'_>]) -> Chart {
    let mut marks = Vec::new();
    for (series, method) in methods.iter().enumerate() {
        let so_far = |step: usize| method.early_exit(|early, _| Some(early.exits.iter().take(step).sum::<f64>()));
        let point = |step: usize| Some([step as f64, so_far(step)?.mean * 100.0]);
        let points = (1..=method.steps()).filter_map(point).collect();
        marks.push(Mark::Line { points, ink: Ink::Series(series), dash: series, width_px: 1.6 });
    }
    let x = Axis::steps(last_step(record), "time steps T");
    let y = Axis::linear(0.0, 100.0, 5, "samples that have stopped, %");
    Chart { title: "Stopped".to_owned(), x, y, marks }
}

/// Whether a method's decisions differ as seldom as its confidence says, and what stopping saves.
fn promise(method: &Method<'_>) -> Option<String> {
    let mean = |summary: Option<Summary>| summary.map(|s| s.mean);
    let doubt = 1.0 - method.confidence()?;
    let differing = mean(method.early_exit(|early, _| Some(1.0 - early.agreement)))?;
    let steps = mean(method.early_exit(|early, _| Some(early.mean_steps)))?;
    let verdict = if differing <= doubt { "as seldom as promised" } else { "more often than promised" };
    Some(format!(
        "{}: {} steps per sample instead of {}; {} % of the decisions differ from those at T, {verdict} ({} %).",
        method.label,
        fixed(steps, 2),
        method.steps(),
        percent(differing, 2),
        significant(doubt * 100.0)
    ))
}
