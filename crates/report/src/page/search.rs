//! The search for κ, where a method left it to the calibration split.

use maud::html;

use super::{HALF, Section, figure, findings, reading, table};
use crate::chart::{Axis, Chart, Mark, swatch};
use crate::error::ReportError;
use crate::method::Method;
use crate::number::{MISSING, fixed, percent, significant};
use crate::palette::Ink;
use crate::record::{KappaTrial, RunRecord};
use crate::table::{Column, Table};

/// Loss against the best trial, in percentage points, within which a trial counts as about as good.
const PLATEAU_POINTS: f64 = 0.5;

pub(super) fn section(methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let searched: Vec<(usize, &str, &RunRecord)> = methods
        .iter()
        .enumerate()
        .flat_map(|(i, m)| m.runs.iter().map(move |r| (i, m.label, *r)))
        .filter(|(_, _, run)| !run.conversion.kappa_search.is_empty())
        .collect();
    if searched.is_empty() {
        return Ok(None);
    }
    let mut legend: Vec<(usize, &str)> = searched.iter().map(|(i, label, _)| (*i, *label)).collect();
    legend.dedup();
    let legend = html! {
        ul.legend { @for (i, label) in &legend { li { (maud::PreEscaped(swatch(*i, true))) (label) } } }
    };
    let caption = "One line per network: accuracy of the converted network on the selection split against κ (decimal \
                   logarithmic axis). The marker is the chosen κ.";
    Ok(Some(Section {
        id: "search",
        title: "Search for κ",
        body: html! {
            (reading("κ trades speed against precision: too small and deep layers starve, too large and they saturate. A broad top means that the exact value matters little."))
            div.pair {
                (figure(&[chart(&searched)], HALF, "charts", &legend, caption)?)
                div { (table(&chosen(&searched))) (findings(&sentences(&searched))) }
            }
        },
    }))
}

fn chart(searched: &[(usize, &str, &RunRecord)]) -> Chart {
    let trials = || searched.iter().flat_map(|(_, _, run)| &run.conversion.kappa_search);
    let x = Axis::log10(trials().map(|t| t.kappa), "κ", short_kappa);
    let y = Axis::fit(trials().map(|t| t.accuracy * 100.0), 5, "accuracy in %, selection split");
    let mut marks = Vec::new();
    for (series, _, run) in searched {
        let points = ordered(run).iter().map(|t| [t.kappa, t.accuracy * 100.0]).collect();
        marks.push(Mark::Line { points, ink: Ink::Series(*series), dash: *series, width_px: 1.6 });
        let at = taken(run).map(|t| [t.kappa, t.accuracy * 100.0]);
        marks.push(Mark::Markers { points: at.into_iter().collect(), series: *series });
    }
    Chart { title: "Accuracy against κ".to_owned(), x, y, marks }
}

fn short_kappa(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn ordered(run: &RunRecord) -> Vec<KappaTrial> {
    let mut trials = run.conversion.kappa_search.clone();
    trials.sort_by(|a, b| a.kappa.total_cmp(&b.kappa));
    trials
}

/// The trial of the chosen κ.
fn taken(run: &RunRecord) -> Option<&KappaTrial> {
    let chosen = run.conversion.kappa?;
    run.conversion.kappa_search.iter().min_by(|a, b| (a.kappa - chosen).abs().total_cmp(&(b.kappa - chosen).abs()))
}

/// Smallest and largest κ of the trials next to the best that are about as good.
fn plateau(run: &RunRecord) -> Option<(f64, f64)> {
    let trials = ordered(run);
    let best = (0..trials.len())
        .filter(|&i| trials[i].accuracy.is_finite())
        .max_by(|&a, &b| trials[a].accuracy.total_cmp(&trials[b].accuracy))?;
    let good = |t: &&KappaTrial| t.accuracy * 100.0 >= trials[best].accuracy * 100.0 - PLATEAU_POINTS;
    let low = trials[..=best].iter().rev().take_while(good).last()?;
    let high = trials[best..].iter().take_while(good).last()?;
    Some((low.kappa, high.kappa))
}

fn chosen(searched: &[(usize, &str, &RunRecord)]) -> Table {
    let rows = searched
        .iter()
        .map(|(_, label, run)| {
            let at = taken(run).map_or_else(|| MISSING.to_owned(), |t| percent(t.accuracy, 2));
            let range = plateau(run).map_or_else(
                || MISSING.to_owned(),
                |(low, high)| format!("{} to {}", short_kappa(low), short_kappa(high)),
            );
            vec![
                (*label).to_owned(),
                run.network.clone(),
                run.conversion.kappa.map_or_else(|| MISSING.to_owned(), short_kappa),
                at,
                range,
            ]
        })
        .collect();
    Table {
        title: "Chosen values".to_owned(),
        columns: vec![
            Column::text("method"),
            Column::text("network"),
            Column::number("chosen κ"),
            Column::number("accuracy, %"),
            Column::number(format!("κ within {} points of the best", fixed(PLATEAU_POINTS, 1))),
        ],
        rows,
    }
}

fn sentences(searched: &[(usize, &str, &RunRecord)]) -> Vec<String> {
    let mut sentences = Vec::new();
    for (_, label, run) in searched {
        let trials = ordered(run);
        let (Some(first), Some(last), Some(at)) = (trials.first(), trials.last(), taken(run)) else { continue };
        let edge = if at.kappa <= first.kappa {
            "smallest"
        } else if at.kappa >= last.kappa {
            "largest"
        } else {
            continue;
        };
        if trials.len() > 1 {
            sentences.push(format!(
                "{label} on {}: the chosen κ = {} is the {edge} that was tried; a wider grid may hold a better one.",
                run.network,
                short_kappa(at.kappa)
            ));
        }
    }
    sentences
}
