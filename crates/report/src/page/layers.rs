//! What each layer does, and where a conversion loses accuracy.

use maud::{Markup, html};

use super::{Section, THIRD, figure, method_legend, reading, table, unbroken};
use crate::chart::{Axis, Chart, Mark, extent};
use crate::diagnosis::{Flag, flags, limits, verdict};
use crate::error::ReportError;
use crate::method::Method;
use crate::number::{MISSING, count, fixed_or_missing, grid_step, integer, percent, significant};
use crate::table::{Column, Table};
use results::record::{LayerActivity, Range, RunRecord};

/// Height of a method's row in the charts, in pixels: its marker and some air.
const ROW_HEIGHT: usize = 8;
/// Height of what stands around the rows: title, tick labels, axis title.
const FRAME_HEIGHT: usize = 80;
/// Share of a layer's band that the rows of its methods fill; the rest parts it from the next layer.
const BAND: f64 = 0.72;

pub(super) fn section(methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let shown: Vec<Shown<'_>> = methods
        .iter()
        .enumerate()
        .filter_map(|(series, m)| {
            let run = *m.runs.iter().find(|r| !(r.simulation.layers.is_empty() && r.conversion.layers.is_empty()))?;
            // The accuracy of the run's own network.
            let ann_accuracy = m.observations.iter().find(|o| o.network == run.network).and_then(|o| o.ann_accuracy);
            Some(Shown { series, label: m.label, run, ann_accuracy })
        })
        .collect();
    if shown.is_empty() {
        return Ok(None);
    }
    let charts = charts(&shown, methods.len());
    let height = charts.1;
    let caption = "Layers between input and readout, one marker per method, in the order of the legend from top to bottom. Silent: neurons that never fired \
                   for any sample. Saturated: (sample, neuron) pairs that fired at every step. First network of each \
                   method, first simulation seed.";
    let legend = method_legend(methods, false);
    Ok(Some(Section {
        id: "layers",
        title: "Layer by layer",
        body: html! {
            (reading("Where spikes go missing or are cut off. A silent neuron passes nothing on, a saturated one cannot show a larger activation. For the input neither says anything: black pixels are silent and white ones saturated by right."))
            @if !charts.0.is_empty() { (figure(&charts.0, (THIRD, height), "charts three", &legend, caption)?) }
            (diagnosis(&shown))
            @for (i, s) in shown.iter().enumerate() {
                details open[i == 0] {
                    summary { (s.label) small { "network " (s.run.network) } }
                    @if !s.run.simulation.layers.is_empty() { (table(&activity(s.run))) }
                    @if !s.run.conversion.layers.is_empty() { (table(&conversion(s.run))) }
                }
            }
            p.note { "λ is the threshold in units of the ANN’s activations; w̃, the grid, rounding and potentials are in thresholds. Three values are minimum, median and maximum over the layer’s neurons." }
        },
    }))
}

/// One method and the run that stands for it.
struct Shown<'a> {
    series: usize,
    label: &'a str,
    run: &'a RunRecord,
    ann_accuracy: Option<f64>,
}

/// Whether a layer of a run integrates without ever firing, as a readout by potential does.
fn integrates(run: &RunRecord, layer_idx: usize) -> bool {
    layer_idx + 1 == run.simulation.layers.len() && run.simulation.readout == "potential"
}

/// The layers whose firing says something about the conversion: neither the input nor a readout that never fires.
fn judged(run: &RunRecord) -> &[LayerActivity] {
    let layers = &run.simulation.layers;
    let end = layers.len() - usize::from(layers.len().checked_sub(1).is_some_and(|last| integrates(run, last)));
    layers.get(1..end).unwrap_or_default()
}

/// Mean rate, silent share and saturated share per layer, and the height that fits them.
fn charts(shown: &[Shown<'_>], n_methods: usize) -> (Vec<Chart>, u32) {
    let mut names: Vec<&str> = Vec::new();
    for layer in shown.iter().flat_map(|s| judged(s.run)) {
        if !names.contains(&layer.name.as_str()) {
            names.push(&layer.name);
        }
    }
    if names.is_empty() {
        return (Vec::new(), 0);
    }
    let chart = |title: &str, x_title: &str, share: &dyn Fn(&LayerActivity) -> f64| {
        let row = |name: &str, series: usize| {
            let layer = names.iter().position(|n| *n == name).unwrap_or(0);
            let offset = (series as f64 + 0.5) / n_methods as f64 - 0.5;
            (names.len() - 1 - layer) as f64 - BAND * offset
        };
        let points = |s: &Shown<'_>| -> Vec<[f64; 2]> {
            judged(s.run).iter().map(|l| [share(l) * 100.0, row(&l.name, s.series)]).collect()
        };
        let largest = extent(shown.iter().flat_map(points).map(|p| p[0])).map_or(0.0, |r| r.1);
        // Where nothing is to be seen, one percent gives zero its place.
        let end = if largest > 0.0 { largest } else { 1.0 };
        let ticks = names.iter().rev().enumerate().map(|(i, n)| (i as f64, (*n).to_owned())).collect();
        Chart {
            title: title.to_owned(),
            x: Axis::linear(-0.03 * end, 1.06 * end, 4, x_title),
            y: Axis::bare(-0.5, names.len() as f64 - 0.5).with_ticks(ticks),
            marks: shown.iter().map(|s| Mark::Markers { points: points(s), series: s.series }).collect(),
        }
    };
    let band = (n_methods * ROW_HEIGHT).max(24) as f64 / BAND;
    let height = FRAME_HEIGHT as u32 + (names.len() as f64 * band) as u32;
    let charts = vec![
        chart("Mean rate", "spikes per neuron and step, %", &|l| l.mean_rate),
        chart("Silent", "share of neurons, %", &|l| l.silent_share),
        chart("Saturated", "share of (sample, neuron) pairs, %", &|l| l.saturated_share),
    ];
    (charts, height)
}

/// The findings of all methods, those with the same remedy together.
fn diagnosis(shown: &[Shown<'_>]) -> Markup {
    let mut groups: Vec<(&str, Vec<(&str, Flag)>)> = Vec::new();
    for s in shown {
        for flag in flags(s.run) {
            match groups.iter_mut().find(|(remedy, _)| *remedy == flag.remedy) {
                Some((_, found)) => found.push((s.label, flag)),
                None => groups.push((flag.remedy, vec![(s.label, flag)])),
            }
        }
    }
    let verdict = |s: &Shown<'_>| Some((s.label.to_owned(), verdict(s.run, s.ann_accuracy?)?));
    let verdicts: Vec<_> = shown.iter().filter_map(verdict).collect();
    html! {
        div.findings {
            h3 { "Why accuracy is lost, and what to change" }
            @for (label, verdict) in &verdicts {
                p.remedy { strong { (label) } ": " (unbroken(&verdict.finding)) ". " (verdict.remedy) "." }
            }
            @if groups.is_empty() { p { "No layer of any method crosses a limit." } }
            @for (remedy, found) in &groups {
                p.remedy { strong { (capitalised(remedy)) "." } }
                ul { @for (label, flag) in found { li { b { (label) } ", " (flag.layer) ": " (unbroken(&flag.finding)) "." } } }
            }
            p.limits { (unbroken(&limits())) }
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn activity(run: &RunRecord) -> Table {
    let rows = run
        .simulation
        .layers
        .iter()
        .enumerate()
        .map(|(i, l)| {
            let fired = |text: String| if integrates(run, i) { MISSING.to_owned() } else { text };
            vec![
                l.name.clone(),
                integer(l.n_neurons as u64),
                fired(percent(l.mean_rate, 2)),
                fired(count(l.spikes_per_sample)),
                fired(count(l.synaptic_operations)),
                fired(percent(l.silent_share, 1)),
                fired(percent(l.saturated_share, 2)),
                fixed_or_missing(l.rate_correlation, 3),
                fixed_or_missing(l.residual_potential, 3),
                fixed_or_missing(l.charge.map(|charge| charge.delivered_share() * 100.0), 1),
                fixed_or_missing(l.charge.map(|charge| charge.clipped * 100.0), 1),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("layer"),
        Column::number("neurons"),
        Column::number("mean rate, %"),
        Column::number("spikes / sample"),
        Column::number("syn. ops / sample"),
        Column::number("silent, %"),
        Column::number("saturated, %"),
        Column::number("r of a/λ and rate"),
        Column::number("residual potential"),
        Column::number("charge passed on, %"),
        Column::number("charge above 1 spike / step, %"),
    ];
    Table { title: format!("Activity over T = {} steps", run.simulation.steps), columns, rows }
}

fn conversion(run: &RunRecord) -> Table {
    let range = |r: &Range| [r.min, r.median, r.max].map(significant).join(" · ");
    let rows = run
        .conversion
        .layers
        .iter()
        .map(|l| {
            vec![
                l.name.clone(),
                integer(l.n_neurons as u64),
                range(&l.lambda),
                range(&l.l4_norm),
                grid_step(l.grid_step),
                significant(l.rounding_change),
                l.rate_error.map_or_else(|| "–".to_owned(), significant),
                fixed_or_missing(l.expected_saturation.map(|s| s * 100.0), 2),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("layer"),
        Column::number("neurons"),
        Column::number("λ"),
        Column::number("‖w̃‖₄"),
        Column::number("grid step"),
        Column::number("largest rounding"),
        Column::number("rate error taken back"),
        Column::number("expected saturation, %"),
    ];
    Table { title: "Conversion".to_owned(), columns, rows }
}
