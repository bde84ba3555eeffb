//! ANN activation against SNN rate.

use maud::{PreEscaped, html};

use super::{SMALL, Section, figure, findings, reading, table};
use crate::chart::{Axis, Chart, Mark, line_swatch};
use crate::error::ReportError;
use crate::method::Method;
use crate::number::fixed;
use crate::palette::Ink;
use crate::table::{Column, Table};
use results::record::{RateMatch, RunRecord};
use results::statistic::correlation;

/// Points drawn per panel.
const MAX_POINTS: usize = 400;
/// Largest activation drawn, in thresholds; beyond it rates can only be cut off at one.
const MAX_ACTIVATION: f64 = 1.6;

pub(super) fn section(methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let shown: Vec<(&str, &RunRecord)> = methods
        .iter()
        .filter_map(|m| Some((m.label, *m.runs.iter().find(|r| !r.simulation.rate_match.is_empty())?)))
        .collect();
    let Some(layers) = shown.first().map(|(_, run)| names(run)) else { return Ok(None) };
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for (i, (label, run)) in shown.iter().enumerate() {
        let charts: Vec<Chart> = run.simulation.rate_match.iter().map(|layer| panel(i, layer)).collect();
        let correlations: Vec<Option<f64>> = run.simulation.rate_match.iter().map(|l| measured(run, l)).collect();
        let row = layers.iter().map(|name| {
            let at = run.simulation.rate_match.iter().position(|l| l.name == *name);
            at.and_then(|at| correlations[at]).map_or_else(|| "–".to_owned(), |r| fixed(r, 3))
        });
        rows.push(std::iter::once((*label).to_owned()).chain(row).collect());
        figures.push((label, run, charts));
    }
    let mut columns = vec![Column::text("method")];
    columns.extend(layers.iter().map(|name| Column::number(*name)));
    let correlations = Table {
        title: "Correlation of a/λ with the spike rate, first network of each method".to_owned(),
        columns,
        rows,
    };
    let none = html! {};
    let n_cut = shown
        .iter()
        .flat_map(|(_, r)| r.simulation.rate_match.iter().flat_map(|l| &l.points))
        .filter(|p| p[0] > MAX_ACTIVATION)
        .count();
    Ok(Some(Section {
        id: "rates",
        title: "ANN activation against SNN rate",
        body: html! {
            (reading("A conversion is right when spikes per step equal a/λ, the ANN’s activation in thresholds: points on the line. Below it charge is missing, above it noise fires neurons that should be silent, and activations beyond 1 are cut off."))
            ul.legend { li { (PreEscaped(line_swatch(Ink::Ann, 2))) "rate = a/λ, at most 1" } }
            div.multiples {
                @for (label, run, charts) in &figures {
                    (figure(charts, SMALL, "charts small", &none, &format!("{label} (network {})", run.network))?)
                }
            }
            @if n_cut > 0 { p.note { (n_cut) " points with a/λ above " (fixed(MAX_ACTIVATION, 1)) " lie outside the panels." } }
            (findings(&sentences(&shown, &layers)))
            (table(&correlations))
        },
    }))
}

fn names(run: &RunRecord) -> Vec<&str> {
    run.simulation.rate_match.iter().map(|l| l.name.as_str()).collect()
}

/// The record's own correlation over all probed pairs, else that of the stored ones.
fn measured(run: &RunRecord, layer: &RateMatch) -> Option<f64> {
    let recorded = run.simulation.layers.iter().find(|l| l.name == layer.name).and_then(|l| l.rate_correlation);
    recorded.filter(|r| r.is_finite()).or_else(|| correlation(layer.points.iter().copied()))
}

fn panel(series: usize, layer: &RateMatch) -> Chart {
    let every = layer.points.len().div_ceil(MAX_POINTS).max(1);
    let largest = layer.points.iter().map(|p| p[0]).filter(|v| v.is_finite()).fold(1.0, f64::max);
    let end = if largest > 1.0 { largest.min(MAX_ACTIVATION) } else { 1.0 };
    let lowest = layer.points.iter().map(|p| p[0]).filter(|v| v.is_finite()).fold(0.0, f64::min).max(-0.2);
    Chart {
        title: layer.name.clone(),
        x: Axis::linear(lowest - 0.03, end + 0.03, 4, "a/λ"),
        y: Axis::linear(-0.03, 1.05, 4, "spikes per step"),
        marks: vec![
            Mark::Dots {
                points: layer.points.iter().step_by(every).copied().collect(),
                ink: Ink::Series(series),
                radius_px: 1.5,
                opacity: 0.55,
            },
            Mark::Line { points: vec![[0.0, 0.0], [1.0, 1.0], [end, 1.0]], ink: Ink::Ann, dash: 2, width_px: 1.1 },
        ],
    }
}

fn sentences(shown: &[(&str, &RunRecord)], layers: &[&str]) -> Vec<String> {
    layers
        .iter()
        .filter_map(|name| {
            let mut ranked: Vec<(&str, f64)> = shown
                .iter()
                .filter_map(|(label, run)| {
                    let layer = run.simulation.rate_match.iter().find(|l| l.name == *name)?;
                    Some((*label, measured(run, layer)?))
                })
                .collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
            let ((high, high_r), (low, low_r)) = (*ranked.first()?, *ranked.last()?);
            Some(if ranked.len() == 1 {
                format!("In {name} rates follow activations with r = {}.", fixed(high_r, 3))
            } else {
                format!(
                    "In {name} rates follow activations with r = {} ({high}) down to {} ({low}).",
                    fixed(high_r, 3),
                    fixed(low_r, 3)
                )
            })
        })
        .collect()
}
