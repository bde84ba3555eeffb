//! Standard deviation of the input current against the norms of the weights: claim 3 of the paper.

use std::fmt::Write as _;

use maud::{PreEscaped, html};

use super::{HALF, Section, figure, findings, reading, table};
use crate::chart::{Axis, Chart, Mark, line_swatch};
use crate::error::ReportError;
use crate::method::Method;
use crate::number::{fixed, fixed_or_missing, list, significant};
use crate::palette::Ink;
use crate::record::{ExperimentRecord, LayerVariance, NormFit, RunRecord};
use crate::statistic::{Summary, summarise};
use crate::table::{Column, Table};

/// Points drawn per panel; more only thicken the cloud.
const MAX_POINTS: usize = 500;
/// Coefficients of variation closer than this share of the smallest are not told apart: over a few hundred neurons
/// their own sampling error is about 1/√(2n), some 3 to 7 %.
const EQUAL_SHARE: f64 = 0.05;

pub(super) fn section(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let Some(run) = record
        .networks
        .iter()
        .flat_map(|n| record.runs.iter().filter(|r| r.network == n.label))
        .chain(&record.runs)
        .find(|r| !r.simulation.variance.is_empty())
    else {
        return Ok(None);
    };
    let charts: Vec<Chart> = run.simulation.variance.iter().map(panel).collect();
    let caption = format!(
        "One dot per neuron{}, from the run “{}” on network “{}”: standard deviation of the input current per time step \
         against the L4-norm of the incoming weights (in units of the ANN’s activations). Rings are what independent \
         Bernoulli inputs with the measured rates would give. The line is the best proportional fit to the dots.",
        if run.simulation.variance.iter().any(|l| l.neurons.len() > MAX_POINTS) {
            format!(" (at most {MAX_POINTS} per panel, evenly spaced)")
        } else {
            String::new()
        },
        run.label,
        run.network
    );
    let legend = html! {
        ul.legend {
            li { (PreEscaped(key(false))) "measured" }
            li { (PreEscaped(key(true))) "Bernoulli prediction" }
            li { (PreEscaped(line_swatch(Ink::Ann, 0))) "σ proportional to the L4-norm" }
        }
    };
    Ok(Some(Section {
        id: "variance",
        title: "Input noise against the L4-norm",
        body: html! {
            (reading("If the standard deviation σ is proportional to a norm of the weights, the dots lie on a line through the origin and σ/‖w‖ varies little from neuron to neuron. The norm with the smallest coefficient of variation of σ/‖w‖ predicts the noise best."))
            blockquote.claim {
                p { strong { "The paper’s statement (abstract, claim 3): " } "the standard deviation of the pre-firing membrane potential is proportional to the L4-norm of the weight vector." }
                p { strong { "Our reading: " } "for independent inputs with small rates r, Var = Σ w²r = ‖w‖₄² ‖r‖₂ cos φ, where φ is the angle between w∘w and r; so σ follows the L4-norm as far as φ is alike across neurons. If rates were independent of the weights, the L2-norm would be the exact predictor. What is shown here is the input current per step; the section that follows has the potential before firing too, every norm with its confidence interval, and the angle." }
            }
            (figure(&charts, HALF, "charts two", &legend, &caption)?)
            (findings(&sentences(record, run)))
            (table(&norm_table(run)))
            @if methods.len() > 1 { details { summary { "The same for every method" } (table(&spread_table(methods))) } }
        },
    }))
}

/// A dot or a ring for the legend.
fn key(ring: bool) -> String {
    let shape = if ring {
        format!(r#"<circle cx="6" cy="6" r="3.5" fill="none" class="s{}" stroke-width="1.2"/>"#, Ink::Series(1).code())
    } else {
        format!(r#"<circle cx="6" cy="6" r="3" class="f{}"/>"#, Ink::Series(0).code())
    };
    format!(r#"<svg class="swatch" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{shape}</svg>"#)
}

fn panel(layer: &LayerVariance) -> Chart {
    let every = layer.neurons.len().div_ceil(MAX_POINTS).max(1);
    let finite = || layer.neurons.iter().filter(|n| n.l4_norm.is_finite() && n.sigma.is_finite());
    let shown: Vec<_> = layer.neurons.iter().step_by(every).collect();
    let x = Axis::fit(shown.iter().map(|n| n.l4_norm), 5, "L4-norm of the weights");
    let y = Axis::fit(shown.iter().flat_map(|n| [n.sigma, n.sigma_bernoulli]), 5, "σ of the input current per step");
    let mut marks = Vec::new();
    let (product, square) = finite().fold((0.0, 0.0), |(p, s), n| (p + n.l4_norm * n.sigma, s + n.l4_norm * n.l4_norm));
    if square > 0.0 {
        let slope = product / square;
        let (from, to) = x.ends();
        marks.push(Mark::Line {
            points: vec![[from, slope * from], [to, slope * to]],
            ink: Ink::Ann,
            dash: 0,
            width_px: 1.2,
        });
    }
    marks.push(Mark::Rings {
        points: shown.iter().map(|n| [n.l4_norm, n.sigma_bernoulli]).collect(),
        ink: Ink::Series(1),
        radius_px: 2.2,
    });
    marks.push(Mark::Dots {
        points: shown.iter().map(|n| [n.l4_norm, n.sigma]).collect(),
        ink: Ink::Series(0),
        radius_px: 1.8,
        opacity: 0.85,
    });
    Chart { title: format!("Into {}", layer.name), x, y, marks }
}

/// The norms that predict best: the smallest coefficient of variation, and what cannot be told from it.
fn best(norms: &[NormFit]) -> Vec<&NormFit> {
    let smallest =
        norms.iter().map(|n| n.coefficient_of_variation).filter(|c| c.is_finite()).fold(f64::INFINITY, f64::min);
    norms.iter().filter(|n| n.coefficient_of_variation <= smallest * (1.0 + EQUAL_SHARE)).collect()
}

/// Norm orders that were compared, in the order of the record.
fn orders<'a>(runs: impl IntoIterator<Item = &'a RunRecord>) -> Vec<&'a str> {
    let mut orders: Vec<&str> = Vec::new();
    for fit in runs.into_iter().flat_map(|run| &run.simulation.variance).flat_map(|l| &l.norms) {
        if !orders.contains(&fit.p.as_str()) {
            orders.push(&fit.p);
        }
    }
    orders
}

/// Coefficients of variation per layer and method, over networks: conversion scales a layer's weights by the
/// thresholds of the layer before, so which norm predicts best depends on the method.
fn spread_table(methods: &[Method<'_>]) -> Table {
    let orders = orders(methods.iter().flat_map(|m| m.runs.iter().copied()));
    let mut layers: Vec<&str> = Vec::new();
    for layer in methods.iter().flat_map(|m| &m.runs).flat_map(|run| &run.simulation.variance) {
        if !layers.contains(&layer.name.as_str()) {
            layers.push(&layer.name);
        }
    }
    let mut columns = vec![Column::text("into layer"), Column::text("method")];
    columns.extend(orders.iter().map(|p| Column::number(format!("p = {p}"))));
    let mut rows = Vec::new();
    for layer in layers {
        for method in methods {
            let measured = method.runs.iter().flat_map(|run| &run.simulation.variance).filter(|l| l.name == layer);
            let fits: Vec<&NormFit> = measured.flat_map(|l| &l.norms).collect();
            let summary = |p: &str| summarise(fits.iter().filter(|n| n.p == p).map(|n| n.coefficient_of_variation));
            let summaries: Vec<Option<Summary>> = orders.iter().map(|p| summary(p)).collect();
            let smallest = summaries.iter().flatten().map(|s| s.mean).fold(f64::INFINITY, f64::min);
            let cell = |summary: &Option<Summary>| {
                summary.map_or_else(String::new, |Summary { mean, sd, .. }| {
                    let mark = if mean <= smallest * (1.0 + EQUAL_SHARE) { "★ " } else { "" };
                    let spread = sd.map_or_else(String::new, |sd| format!(" ± {}", fixed(sd, 3)));
                    format!("{mark}{}{spread}", fixed(mean, 3))
                })
            };
            if smallest.is_finite() {
                let mut row = vec![layer.to_owned(), method.label.to_owned()];
                row.extend(summaries.iter().map(cell));
                rows.push(row);
            }
        }
    }
    let title = "Coefficient of variation of σ/‖w‖ₚ, mean ± standard deviation over networks (★ as above)";
    Table { title: title.to_owned(), columns, rows }
}

fn norm_table(run: &RunRecord) -> Table {
    let orders = orders([run]);
    let mut columns = vec![Column::text("into layer"), Column::text("measure")];
    columns.extend(orders.iter().map(|p| Column::number(format!("p = {p}"))));
    let mut rows = Vec::new();
    for layer in &run.simulation.variance {
        let best = best(&layer.norms);
        let row = |measure: &str, cell: &dyn Fn(&NormFit) -> String| {
            let mut row = vec![layer.name.clone(), measure.to_owned()];
            row.extend(orders.iter().map(|p| layer.norms.iter().find(|n| n.p == **p).map(cell).unwrap_or_default()));
            row
        };
        rows.push(row("variation of σ/‖w‖ₚ", &|n| {
            let mark = if best.iter().any(|b| b.p == n.p) { "★ " } else { "" };
            format!("{mark}{}", significant(n.coefficient_of_variation))
        }));
        rows.push(row("correlation of σ, ‖w‖ₚ", &|n| fixed_or_missing(n.correlation, 3)));
    }
    let title = "How well each norm predicts σ (★ smallest coefficient of variation, and any within 5 % of it)";
    Table { title: title.to_owned(), columns, rows }
}

fn sentences(record: &ExperimentRecord, run: &RunRecord) -> Vec<String> {
    let mut sentences = Vec::new();
    for layer in &run.simulation.variance {
        let best = best(&layer.norms);
        let names: Vec<String> = best.iter().map(|n| format!("p = {}", n.p)).collect();
        let Some(smallest) = best.iter().map(|n| n.coefficient_of_variation).reduce(f64::min) else { continue };
        let four = layer.norms.iter().find(|n| n.p == "4");
        let mut text = format!("Into {}: {} predicts best", layer.name, list(&names));
        if names.len() > 1 {
            text = format!("Into {}: a tie of {}", layer.name, list(&names));
        }
        let _ = write!(text, " (coefficient of variation {})", significant(smallest));
        if let Some(four) = four.filter(|n| !best.iter().any(|b| b.p == n.p)) {
            let _ = write!(text, "; p = 4 has {}", significant(four.coefficient_of_variation));
            if smallest > 0.0 {
                let _ = write!(text, ", {} times as much", fixed(four.coefficient_of_variation / smallest, 1));
            }
        }
        text.push('.');
        let others: Vec<&LayerVariance> = record
            .runs
            .iter()
            .filter(|r| !std::ptr::eq(*r, run))
            .filter_map(|r| r.simulation.variance.iter().find(|l| l.name == layer.name))
            .collect();
        if !others.is_empty() {
            let agreeing =
                others.iter().filter(|l| self::best(&l.norms).iter().any(|n| best.iter().any(|b| b.p == n.p))).count();
            let _ = write!(text, " {agreeing} of the {} other runs that measured it agree.", others.len());
        }
        sentences.push(text);
    }
    sentences
}
