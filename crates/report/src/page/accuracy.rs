//! Accuracy against time steps and against synaptic operations.

use maud::{Markup, PreEscaped, html};

use super::{HALF, Section, THIRD, figure, findings, reading, table};
use crate::chart::{Chart, line_swatch, swatch};
use crate::comparison::leader;
use crate::error::ReportError;
use crate::figure::{Charts, accuracy_charts, cost_charts};
use crate::finding::{LOSSES, MANY_METHODS, cheapest, n_named, ranking, reached};
use crate::method::{Method, checkpoints, kinds};
use crate::number::{accuracy_decimals, count, count_summary, percent, percent_summary, some_of};
use crate::palette::Ink;
use crate::panel::{Group, panels};
use crate::table::{Column, Table, accuracy_table, checkpoint_table, difference_table, interval_table, top_five_table};
use results::record::ExperimentRecord;
use results::statistic::summarise;

/// Methods of a ranking.
const RANKED: usize = 8;
/// Most panels of one figure that are shown before the others are folded away.
const MOST_PANELS: usize = 12;

pub(super) fn against_steps(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    if methods.iter().all(|m| (1..=m.steps()).all(|t| m.accuracy(t).is_none())) {
        return Ok(None);
    }
    let decimals = accuracy_decimals(record.dataset.n_test);
    let agreement = checkpoint_table(record, "Agreement with the ANN’s decision, in %".to_owned(), |m, t| {
        percent_summary(m.agreement(t), decimals)
    });
    let caption = "Mean accuracy over networks and simulation seeds after each time step (binary logarithmic axis). \
                   Markers stand at the checkpoints, whiskers are one standard deviation. \
                   The second panel enlarges the last points below the ANN.";
    Ok(Some(Section {
        id: "steps",
        title: "Accuracy against time steps",
        body: html! {
            (reading("A curve further left needs fewer steps. The full range shows which methods collapse at few steps, the enlarged one what is still lost later."))
            (curves(record, methods, &accuracy_charts, caption)?)
            (findings(&step_findings(record, methods)))
            @if methods.len() > MANY_METHODS {
                @for ranking in &rankings(record, methods) { (table(ranking)) }
                details { summary { "Every method" small { (methods.len()) " rows" } } (table(&accuracy_table(record))) }
                @if let Some(differences) = difference_table(record) {
                    details { summary { "Against the baseline" } (table(&differences)) }
                }
            } @else {
                (table(&accuracy_table(record)))
                @if let Some(differences) = difference_table(record) { (table(&differences)) }
            }
            @if let Some(top_five) = top_five_table(record) { (table(&top_five)) }
            @if let Some(intervals) = interval_table(record) {
                details { summary { "Confidence intervals" } (table(&intervals)) }
            }
            details { summary { "Agreement with the ANN, and latency" } (table(&agreement)) (table(&latency(methods))) }
        },
    }))
}

/// Mean over the samples of the first step from which the decision no longer changes.
fn latency(methods: &[Method<'_>]) -> Table {
    let rows = methods
        .iter()
        .map(|m| {
            let seeds = summarise(m.observations.iter().map(|o| o.seed.mean_latency));
            vec![m.label.to_owned(), count_summary(seeds)]
        })
        .collect();
    Table {
        title: "Latency, mean over samples".to_owned(),
        columns: vec![Column::text("method"), Column::number("step from which the decision stays")],
        rows,
    }
}

fn step_findings(record: &ExperimentRecord, methods: &[Method<'_>]) -> Vec<String> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let mut sentences: Vec<String> = LOSSES.iter().rev().filter_map(|&loss| reached(methods, loss)).collect();
    let steps = checkpoints(record);
    if let Some((first, leader)) = steps.first().and_then(|&t| Some((t, leader(methods, t)?))) {
        let lowest = methods
            .iter()
            .filter_map(|m| Some((m, m.accuracy(first)?.mean)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .filter(|_| methods.len() > 1);
        if let (Some((low, low_mean)), Some(high)) = (lowest, methods[leader.best].accuracy(first)) {
            sentences.push(format!(
                "At T = {first} the methods span {} % ({}) to {} % ({}).",
                percent(low_mean, decimals),
                low.label,
                percent(high.mean, decimals),
                methods[leader.best].label
            ));
        }
    }
    if let Some((last, leader)) = steps.last().and_then(|&t| Some((t, leader(methods, t)?))) {
        let best = methods[leader.best].label;
        let tied: Vec<&str> = leader.tied.iter().map(|&i| methods[i].label).collect();
        sentences.push(if !tied.is_empty() {
            format!(
                "At T = {last}, {best} has the highest mean and ties with {}.",
                some_of(&tied, n_named(methods.len()))
            )
        } else if !leader.unknown.is_empty() {
            format!("At T = {last}, {best} has the highest mean; there is no spread to tell it from the others.")
        } else {
            format!("At T = {last}, {best} is ahead of every other method.")
        });
    }
    sentences
}

/// The best methods at the first, a middle and the last checkpoint.
fn rankings(record: &ExperimentRecord, methods: &[Method<'_>]) -> Vec<Table> {
    let steps = checkpoints(record);
    let mut shown: Vec<usize> = [0, steps.len() / 2, steps.len() - 1].iter().map(|&i| steps[i]).collect();
    shown.dedup();
    shown
        .into_iter()
        .map(|step| Table {
            title: format!("The best {RANKED} of {} methods at T = {step}", methods.len()),
            columns: vec![
                Column::number("rank"),
                Column::text("method"),
                Column::number("accuracy, % [95 % interval]"),
                Column::number("against the first, points [95 % interval]"),
                Column::text("verdict"),
                Column::number("syn. ops / sample"),
            ],
            rows: ranking(record, methods, step, RANKED),
        })
        .collect()
}

/// The curves of all methods, in as many panels as they need.
fn curves(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    charts: Charts<'_>,
    caption: &str,
) -> Result<Markup, ReportError> {
    let groups = panels(record, methods);
    let legend = |group: &Group| {
        html! {
            ul.legend {
                li { (PreEscaped(line_swatch(Ink::Ann, 0))) "ANN" }
                @for (i, name) in group.series.iter().enumerate() { li { (PreEscaped(swatch(i, true))) (name) } }
            }
        }
    };
    if let [group @ Group { panels, .. }] = groups.as_slice()
        && let [only] = panels.as_slice()
    {
        return figure(&charts(record, methods, only), HALF, "charts two", &legend(group), caption);
    }
    let parts = groups
        .iter()
        .map(|group| {
            let pairs: Vec<[Chart; 2]> = group.panels.iter().map(|panel| charts(record, methods, panel)).collect();
            let (mut whole, mut near) = (Vec::new(), Vec::new());
            for [full, zoom] in pairs {
                whole.push(figure(&[full], (THIRD, PANEL_HEIGHT), "charts", &html! {}, "")?);
                near.push(figure(&[zoom], (THIRD, PANEL_HEIGHT), "charts", &html! {}, "")?);
            }
            let (first, rest) = whole.split_at(whole.len().min(MOST_PANELS));
            Ok(html! {
                @if !group.title.is_empty() { h3 { (group.title) } }
                (legend(group))
                div.panels { @for panel in first { (panel) } }
                @if !rest.is_empty() {
                    details { summary { (rest.len()) " more panels" } div.panels { @for panel in rest { (panel) } } }
                }
                details { summary { "The same near the ANN" } div.panels { @for panel in &near { (panel) } } }
            })
        })
        .collect::<Result<Vec<Markup>, ReportError>>()?;
    let second = "The second panel enlarges the last points below the ANN.";
    let caption = caption.replace(second, "One panel for each combination of what else was swept.");
    Ok(html! {
        @for part in &parts { (part) }
        p.note { (caption) }
    })
}

/// Height of a panel among many, in pixels.
const PANEL_HEIGHT: u32 = 250;

pub(super) fn against_cost(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    if methods.iter().all(|m| m.operations(m.steps()).is_none_or(|s| s.mean <= 0.0)) {
        return Ok(None);
    }
    let operations =
        checkpoint_table(record, "Synaptic operations per sample".to_owned(), |m, t| count_summary(m.operations(t)));
    let caption = "Mean accuracy against the synaptic operations spent so far (decimal logarithmic axis), one point per \
                   time step; markers and whiskers as above.";
    let kinds = kinds(record);
    let of_kind =
        |kind: &Vec<Method<'_>>| LOSSES.into_iter().filter_map(|loss| cheapest(kind, loss)).collect::<Vec<_>>();
    let mut sentences: Vec<String> = kinds.iter().flat_map(of_kind).collect();
    let mut macs: Vec<u64> = record.networks.iter().map(|n| n.macs_per_sample).collect();
    macs.dedup();
    if let [macs] = macs[..] {
        sentences.push(format!("The ANN spends {} multiply-accumulates per sample.", count(macs as f64)));
    }
    Ok(Some(Section {
        id: "operations",
        title: "Accuracy against synaptic operations",
        body: html! {
            (reading("A synaptic operation is one spike arriving at one neuron: one addition. A method that fires more is faster in steps but pays for it here; a curve further left is cheaper."))
            (curves(record, methods, &cost_charts, caption)?)
            (findings(&sentences))
            @if methods.len() > MANY_METHODS {
                details { summary { "Operations of every method" } (table(&operations)) }
            } @else {
                (table(&operations))
            }
        },
    }))
}
