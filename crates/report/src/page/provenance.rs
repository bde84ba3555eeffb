//! Where the numbers are from: configuration, networks, seeds, versions, sources.

use std::fmt::Write as _;

use maud::html;

use super::{Section, table};
use crate::method::methods;
use crate::number::{MISSING, accuracy_decimals, fixed, integer, list, percent};
use crate::table::{Column, Table};
use results::record::{ConversionRecord, ExperimentRecord, RunRecord};

pub(super) fn section(record: &ExperimentRecord) -> Section {
    let mut seeds: Vec<u64> = record.runs.iter().flat_map(|r| r.simulation.seeds.iter().map(|s| s.seed)).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let mut training: Vec<u64> = record.networks.iter().map(|n| n.seed).collect();
    training.sort_unstable();
    training.dedup();
    let numbers = |seeds: &[u64]| {
        if seeds.is_empty() { MISSING.to_owned() } else { list(&seeds.iter().map(u64::to_string).collect::<Vec<_>>()) }
    };
    let dataset = &record.dataset;
    let shape = dataset.shape.map(|n| n.to_string()).join(" × ");
    Section {
        id: "provenance",
        title: "Configuration and provenance",
        body: html! {
            dl.listing {
                div { dt { "Quartic" } dd { "version " (record.quartic_version) } }
                div { dt { "Data set" } dd { (dataset.name) ", " (shape) " (channels × height × width), " (integer(dataset.n_train as u64)) " training and " (integer(dataset.n_test as u64)) " evaluated test samples" } }
                @if !dataset.class_names.is_empty() { div { dt { "Classes" } dd { (list(&dataset.class_names)) } } }
                div { dt { "Training seeds" } dd { (numbers(&training)) } }
                div { dt { "Simulation seeds" } dd { (numbers(&seeds)) } }
            }
            @if !record.networks.is_empty() { (table(&networks(record))) }
            @if !record.runs.is_empty() { (table(&settings(record))) }
            @if !record.config.trim().is_empty() {
                details {
                    summary { "Resolved configuration" small { "TOML, every default filled in" } }
                    pre tabindex="0" { code { (record.config) } }
                }
            }
            h3 { "Source" }
            p { "Allred, J. & Roy, K. (2021). “L4-Norm Weight Adjustments for Converted Spiking Neural Networks”. " a href="https://arxiv.org/abs/2111.09446" rel="noreferrer" { "arXiv 2111.09446" } "." }
            p.note { "Statements marked as the paper’s are those of its abstract; everything else on this page is Quartic’s own derivation or measurement." }
        },
    }
}

fn networks(record: &ExperimentRecord) -> Table {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let rows = record
        .networks
        .iter()
        .map(|n| {
            vec![
                n.label.clone(),
                n.architecture.clone(),
                n.seed.to_string(),
                integer(n.n_parameters),
                integer(n.macs_per_sample),
                if n.epochs.is_empty() { MISSING.to_owned() } else { n.epochs.len().to_string() },
                n.test_accuracy.map_or_else(|| MISSING.to_owned(), |accuracy| percent(accuracy, decimals)),
            ]
        })
        .collect();
    Table {
        title: "Networks".to_owned(),
        columns: vec![
            Column::text("network"),
            Column::text("architecture"),
            Column::number("seed"),
            Column::number("parameters"),
            Column::number("MACs / sample"),
            Column::number("epochs"),
            Column::number("test accuracy, %"),
        ],
        rows,
    }
}

fn settings(record: &ExperimentRecord) -> Table {
    let rows = methods(record)
        .iter()
        .filter_map(|m| {
            let run: &RunRecord = m.runs.first()?;
            let (c, s) = (&run.conversion, &run.simulation);
            Some(vec![
                m.label.to_owned(),
                thresholds(&m.runs),
                if c.n_calibration == 0 { "none".to_owned() } else { integer(c.n_calibration as u64) },
                if c.compensate { "yes" } else { "no" }.to_owned(),
                plain(c.initial_potential),
                c.calibrate.clone(),
                s.encoding.clone(),
                s.reset.clone(),
                s.readout.clone(),
                s.engine.clone(),
                s.steps.to_string(),
                integer(s.n_samples as u64),
                s.faults.as_ref().map_or_else(|| "none".to_owned(), |faults| faults.label.clone()),
            ])
        })
        .collect();
    Table {
        title: "Methods".to_owned(),
        columns: vec![
            Column::text("method"),
            Column::text("thresholds"),
            Column::number("calibration samples"),
            Column::text("compensated"),
            Column::number("v(0)"),
            Column::text("rates calibrated by"),
            Column::text("input coding"),
            Column::text("reset"),
            Column::text("readout"),
            Column::text("engine"),
            Column::number("T"),
            Column::number("test samples"),
            Column::text("faults"),
        ],
        rows,
    }
}

/// Method and parameters of a conversion; κ and the searched factor of every network where they differ.
fn thresholds(runs: &[&RunRecord]) -> String {
    let Some(ConversionRecord { method, p, .. }) = runs.first().map(|r| &r.conversion) else { return String::new() };
    let mut text = method.clone();
    if let Some(p) = p {
        let _ = write!(text, ", p\u{a0}=\u{a0}{}", plain(*p));
    }
    let mut kappas: Vec<String> = runs.iter().filter_map(|r| r.conversion.kappa).map(plain).collect();
    kappas.dedup();
    if !kappas.is_empty() {
        let _ = write!(text, ", κ\u{a0}=\u{a0}{}", list(&kappas));
    }
    let scales = runs.iter().filter_map(|r| r.conversion.scale_search.as_ref()).map(|search| plain(search.scale));
    let mut scales: Vec<String> = scales.collect();
    scales.dedup();
    if !scales.is_empty() {
        let _ = write!(text, ", times {}", list(&scales));
    }
    text
}

/// A parameter as short as it is exact to four decimals.
fn plain(value: f64) -> String {
    let text = fixed(value, 4);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
