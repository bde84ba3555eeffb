//! The numbers that the page opens with.

use maud::{Markup, html};

use super::{findings, table};
use crate::chart::extent;
use crate::comparison::leader;
use crate::finding::{LOSSES, MANY_METHODS, failures, how_judged, n_named};
use crate::method::{Method, ann_accuracies, ann_accuracy, checkpoints, kinds, last_step};
use crate::number::{MISSING, accuracy_decimals, fixed, integer, percent, percent_summary, some_of};
use crate::table::{Column, Table};
use results::record::ExperimentRecord;

pub(super) fn section(record: &ExperimentRecord, methods: &[Method<'_>]) -> Markup {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let mut seeds: Vec<u64> = methods.iter().flat_map(|m| m.observations.iter().map(|o| o.key.1)).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let mut architectures: Vec<&str> = record.networks.iter().map(|n| n.architecture.as_str()).collect();
    architectures.sort_unstable();
    architectures.dedup();
    html! {
        dl.facts {
            @let kinds = ann_accuracies(record);
            @if let (true, Some((low, high))) = (kinds.len() > 1, extent(kinds.iter().map(|(_, accuracy)| accuracy.mean))) {
                div { dt { "ANN accuracy, %" } dd { (percent(low, decimals)) " to " (percent(high, decimals)) small { "means of " (kinds.len()) " kinds of network" } } }
            } @else {
                div { dt { "ANN accuracy, %" } dd { (percent_summary(ann_accuracy(record), decimals)) } }
            }
            div { dt { "Data set" } dd { (record.dataset.name) small { (integer(record.dataset.n_test as u64)) " test samples" } } }
            div { dt { "Network" } dd { @if let [one] = architectures[..] { (one) } @else { (architectures.len()) " architectures" } small { (record.networks.len()) " trained" } } }
            div { dt { "Simulation" } dd { "T = " (last_step(record)) small { (number_of(methods.len(), "method")) ", " (number_of(seeds.len(), "seed")) } } }
        }
        @let failures = failures(record);
        @if !failures.is_empty() {
            div.caution {
                p { (number_of(failures.len(), "combination")) " failed; what follows is of the others. The same command again makes the failed ones and no other." }
                ul { @for (cell, stage, error) in &failures { li { b { (cell.network) ": " (cell.label) } " – " (stage) ": " (error) } } }
            }
        }
        (findings(&crate::finding::findings(record)))
        @if architectures.len() > 1 && ann_accuracies(record).len() == 1 {
            p.caution { "The networks differ in more than their seed; means over them mix different architectures. The table of networks lists each." }
        }
        @if !methods.is_empty() {
            @if methods.len() > MANY_METHODS {
                (table(&leaders(record, decimals)))
                details { summary { "How soon each method comes near its ANN" small { (methods.len()) " rows" } } (table(&first_steps(methods))) }
            } @else {
                div.pair {
                    (table(&leaders(record, decimals)))
                    (table(&first_steps(methods)))
                }
            }
            p.note { "± is one standard deviation over networks × simulation seeds. " (how_judged(record)) }
        }
    }
}

fn number_of(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The highest mean of each kind of network at each checkpoint, with what cannot be told from it.
fn leaders(record: &ExperimentRecord, decimals: usize) -> Table {
    let kinds = kinds(record);
    let steps = checkpoints(record);
    let rows = steps
        .iter()
        .flat_map(|&step| kinds.iter().map(move |methods| (step, methods)))
        .filter_map(|(step, methods)| {
            let leader = leader(methods, step)?;
            let label = |i: &usize| methods[*i].label;
            let best = &methods[leader.best];
            let others = if !leader.tied.is_empty() {
                format!(
                    "tie with {}",
                    some_of(&leader.tied.iter().map(label).collect::<Vec<_>>(), n_named(methods.len()))
                )
            } else if !leader.unknown.is_empty() {
                "no spread to judge by".to_owned()
            } else if methods.len() == 1 {
                "only method".to_owned()
            } else {
                "ahead of all others".to_owned()
            };
            let accuracy = percent_summary(best.accuracy(step), decimals);
            Some(vec![step.to_string(), best.label.to_owned(), accuracy, others])
        })
        .collect();
    Table {
        title: "Highest mean accuracy at each checkpoint".to_owned(),
        columns: vec![
            Column::number("T"),
            Column::text("highest mean"),
            Column::number("accuracy, %"),
            Column::text("verdict"),
        ],
        rows,
    }
}

/// First step within each loss of the ANN, and what is left at the end.
fn first_steps(methods: &[Method<'_>]) -> Table {
    let mut columns = vec![Column::text("method")];
    columns.extend(LOSSES.iter().map(|loss| Column::number(format!("first T within {} points", fixed(*loss, 1)))));
    columns.push(Column::number("loss at the last T, points"));
    let rows = methods
        .iter()
        .map(|m| {
            let mut row = vec![m.label.to_owned()];
            row.extend(
                LOSSES.iter().map(|l| m.first_step_within(*l).map_or_else(|| MISSING.to_owned(), |t| t.to_string())),
            );
            row.push(m.gap(m.steps()).map_or_else(|| MISSING.to_owned(), |gap| fixed(-gap * 100.0, 2)));
            row
        })
        .collect();
    Table { title: "How soon each method comes near its ANN".to_owned(), columns, rows }
}
