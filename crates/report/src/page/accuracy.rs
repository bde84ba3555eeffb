//! Accuracy against time steps and against synaptic operations.

use maud::html;

use super::headline::LOSSES;
use super::{HALF, Section, figure, findings, method_legend, reading, table};
use crate::comparison::{Verdict, compare, leader};
use crate::error::ReportError;
use crate::figure::{accuracy_charts, cost_charts};
use crate::method::{Method, checkpoints};
use crate::number::{accuracy_decimals, count, count_summary, fixed, list, percent, percent_summary};
use crate::record::ExperimentRecord;
use crate::statistic::summarise;
use crate::table::{Column, Table, accuracy_table, checkpoint_table, difference_table};

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
            (figure(&accuracy_charts(record, methods), HALF, "charts two", &method_legend(methods, true), caption)?)
            (findings(&step_findings(record, methods)))
            (table(&accuracy_table(record)))
            @if let Some(differences) = difference_table(record) { (table(&differences)) }
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
            format!("At T = {last}, {best} has the highest mean and ties with {}.", list(&tied))
        } else if !leader.unknown.is_empty() {
            format!("At T = {last}, {best} has the highest mean; there is no spread to tell it from the others.")
        } else {
            format!("At T = {last}, {best} is ahead of every other method.")
        });
    }
    sentences
}

/// The order in which the methods come within a loss of the ANN.
fn reached(methods: &[Method<'_>], loss: f64) -> Option<String> {
    let mut by_step: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut never = Vec::new();
    for method in methods {
        match method.first_step_within(loss) {
            None => never.push(method.label),
            Some(t) => match by_step.iter_mut().find(|(step, _)| *step == t) {
                Some((_, labels)) => labels.push(method.label),
                None => by_step.push((t, vec![method.label])),
            },
        }
    }
    by_step.sort_by_key(|(step, _)| *step);
    let mut parts: Vec<String> = by_step.iter().map(|(t, labels)| format!("{} at T = {t}", list(labels))).collect();
    if !never.is_empty() {
        parts.push(format!("never: {}", list(&never)));
    }
    (!parts.is_empty()).then(|| {
        format!("First step at most {} points below the ANN, on average: {}.", fixed(loss, 1), parts.join("; "))
    })
}

pub(super) fn against_cost(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    if methods.iter().all(|m| m.operations(m.steps()).is_none_or(|s| s.mean <= 0.0)) {
        return Ok(None);
    }
    let operations =
        checkpoint_table(record, "Synaptic operations per sample".to_owned(), |m, t| count_summary(m.operations(t)));
    let caption = "Mean accuracy against the synaptic operations spent so far (decimal logarithmic axis), one point per \
                   time step; markers and whiskers as above.";
    let mut sentences: Vec<String> = LOSSES.iter().filter_map(|&loss| cheapest(methods, loss)).collect();
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
            (figure(&cost_charts(record, methods), HALF, "charts two", &method_legend(methods, true), caption)?)
            (findings(&sentences))
            (table(&operations))
        },
    }))
}

/// Which method comes within a loss of the ANN with the fewest operations.
fn cheapest(methods: &[Method<'_>], loss: f64) -> Option<String> {
    let mut ranked: Vec<(&Method<'_>, usize, f64)> = methods
        .iter()
        .filter_map(|m| {
            let step = m.first_step_within(loss)?;
            Some((m, step, m.operations(step)?.mean))
        })
        .collect();
    ranked.sort_by(|a, b| a.2.total_cmp(&b.2));
    let &(best, step, cost) = ranked.first()?;
    let price = |m: &Method<'_>, t: usize, ops: f64| format!("{} with {} (T = {t})", m.label, count(ops));
    let head = format!("Fewest operations to come within {} points of the ANN", fixed(loss, 1));
    let Some(&(second, second_step, second_cost)) = ranked.get(1) else {
        return Some(format!("{head}: {}; no other method comes that near.", price(best, step, cost)));
    };
    let verdict = compare(&best.operations_at(step), &second.operations_at(second_step));
    let second = price(second, second_step, second_cost);
    let best = price(best, step, cost);
    Some(match verdict {
        Verdict::Different => format!("{head}: {best}, then {second}."),
        Verdict::Tie => format!("{head}: a tie of {best} and {second}."),
        Verdict::Unknown => format!("{head}: {best}, then {second}; there is no spread to judge the difference by."),
    })
}
