//! The searches for κ and for the factor on the thresholds, where a method left one to the selection split.

use maud::{Markup, html};

use super::{HALF, Section, figure, findings, reading, table};
use crate::chart::{Axis, Chart, Mark, swatch};
use crate::error::ReportError;
use crate::method::Method;
use crate::number::{MISSING, fixed, percent, significant};
use crate::palette::Ink;
use crate::table::{Column, Table};
use results::record::RunRecord;

/// Loss against the best trial, in percentage points, within which a trial counts as about as good.
const PLATEAU_POINTS: f64 = 0.5;

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knob {
    Kappa,
    Scale,
}

impl Knob {
    /// As in `κ = 0.3`.
    fn symbol(self) -> &'static str {
        match self {
            Self::Kappa => "κ",
            Self::Scale => "scale",
        }
    }

    fn reading(self) -> &'static str {
        match self {
            Self::Kappa => {
                "κ trades speed against precision: too small and deep layers starve, too large and they saturate. A broad top means that the exact value matters little."
            }
            Self::Scale => {
                "The factor on a method's own thresholds trades speed against precision: too large and deep layers starve, too small and they saturate. A broad top means that the exact value matters little."
            }
        }
    }

    /// The chosen value and all trials of a run, as value and accuracy; `None` if nothing was searched for.
    fn searched(self, run: &RunRecord) -> Option<(Option<f64>, Vec<[f64; 2]>)> {
        let conversion = &run.conversion;
        let (chosen, mut trials): (_, Vec<[f64; 2]>) = match self {
            Self::Kappa => {
                (conversion.kappa, conversion.kappa_search.iter().map(|trial| [trial.kappa, trial.accuracy]).collect())
            }
            Self::Scale => {
                let search = conversion.scale_search.as_ref()?;
                (Some(search.scale), search.trials.iter().map(|trial| [trial.scale, trial.accuracy]).collect())
            }
        };
        trials.sort_by(|a, b| a[0].total_cmp(&b[0]));
        (!trials.is_empty()).then_some((chosen, trials))
    }
}

/// One run's search.
struct Search<'a> {
    /// Index of the method.
    series: usize,
    label: &'a str,
    network: &'a str,
    chosen: Option<f64>,
    /// Value and accuracy, values ascending; at least one.
    trials: Vec<[f64; 2]>,
}

pub(super) fn section(methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let mut parts = Vec::new();
    for knob in [Knob::Kappa, Knob::Scale] {
        let mut searches = Vec::new();
        for (series, method) in methods.iter().enumerate() {
            for run in &method.runs {
                let Some((chosen, trials)) = knob.searched(run) else { continue };
                searches.push(Search { series, label: method.label, network: &run.network, chosen, trials });
            }
        }
        if !searches.is_empty() {
            parts.push((knob, part(knob, &searches)?));
        }
    }
    let title = match parts.iter().map(|(knob, _)| *knob).collect::<Vec<_>>()[..] {
        [] => return Ok(None),
        [Knob::Kappa] => "Search for κ",
        [Knob::Scale] => "Search for the scale",
        _ => "Searches for κ and the scale",
    };
    Ok(Some(Section { id: "search", title, body: html! { @for (_, part) in &parts { (part) } } }))
}

fn part(knob: Knob, searches: &[Search<'_>]) -> Result<Markup, ReportError> {
    let mut legend: Vec<(usize, &str)> = searches.iter().map(|search| (search.series, search.label)).collect();
    legend.dedup();
    let legend = html! {
        ul.legend { @for (i, label) in &legend { li { (maud::PreEscaped(swatch(*i, true))) (label) } } }
    };
    let symbol = knob.symbol();
    let caption = format!(
        "One line per network: accuracy of the converted network on the selection split against {symbol} (decimal logarithmic \
         axis). The marker is the chosen {symbol}."
    );
    Ok(html! {
        (reading(knob.reading()))
        div.pair {
            (figure(&[chart(knob, searches)], HALF, "charts", &legend, &caption)?)
            div { (table(&chosen(knob, searches))) (findings(&sentences(knob, searches))) }
        }
    })
}

fn chart(knob: Knob, searches: &[Search<'_>]) -> Chart {
    let trials = || searches.iter().flat_map(|search| &search.trials);
    let x = Axis::log10(trials().map(|trial| trial[0]), knob.symbol(), short);
    let y = Axis::fit(trials().map(|trial| trial[1] * 100.0), 5, "accuracy in %, selection split");
    let mut marks = Vec::new();
    for search in searches {
        let point = |&[value, accuracy]: &[f64; 2]| [value, accuracy * 100.0];
        let (series, points) = (search.series, search.trials.iter().map(point).collect());
        marks.push(Mark::Line { points, ink: Ink::Series(series), dash: series, width_px: 1.6 });
        marks.push(Mark::Markers { points: search.taken().iter().map(point).collect(), series });
    }
    Chart { title: format!("Accuracy against {}", knob.symbol()), x, y, marks }
}

fn short(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

impl Search<'_> {
    /// The trial of the chosen value.
    fn taken(&self) -> Option<[f64; 2]> {
        let chosen = self.chosen?;
        self.trials.iter().copied().min_by(|a, b| (a[0] - chosen).abs().total_cmp(&(b[0] - chosen).abs()))
    }

    /// Smallest and largest value of the trials next to the best that are about as good.
    fn plateau(&self) -> Option<[f64; 2]> {
        let trials = &self.trials;
        let best = (0..trials.len())
            .filter(|&i| trials[i][1].is_finite())
            .max_by(|&a, &b| trials[a][1].total_cmp(&trials[b][1]))?;
        let good = |trial: &&[f64; 2]| trial[1] * 100.0 >= trials[best][1] * 100.0 - PLATEAU_POINTS;
        let low = trials[..=best].iter().rev().take_while(good).last()?;
        let high = trials[best..].iter().take_while(good).last()?;
        Some([low[0], high[0]])
    }
}

fn chosen(knob: Knob, searches: &[Search<'_>]) -> Table {
    let missing = || MISSING.to_owned();
    let row = |search: &Search<'_>| {
        vec![
            search.label.to_owned(),
            search.network.to_owned(),
            search.chosen.map_or_else(missing, short),
            search.taken().map_or_else(missing, |trial| percent(trial[1], 2)),
            search.plateau().map_or_else(missing, |[low, high]| format!("{} to {}", short(low), short(high))),
        ]
    };
    let symbol = knob.symbol();
    Table {
        title: "Chosen values".to_owned(),
        columns: vec![
            Column::text("method"),
            Column::text("network"),
            Column::number(format!("chosen {symbol}")),
            Column::number("accuracy, %"),
            Column::number(format!("{symbol} within {} points of the best", fixed(PLATEAU_POINTS, 1))),
        ],
        rows: searches.iter().map(row).collect(),
    }
}

fn sentences(knob: Knob, searches: &[Search<'_>]) -> Vec<String> {
    let sentence = |search: &Search<'_>| {
        let (first, last, [value, _]) = (search.trials.first()?, search.trials.last()?, search.taken()?);
        let edge = if value <= first[0] {
            "smallest"
        } else if value >= last[0] {
            "largest"
        } else {
            return None;
        };
        (search.trials.len() > 1).then(|| {
            format!(
                "{} on {}: the chosen {} = {} is the {edge} that was tried; a wider grid may hold a better one.",
                search.label,
                search.network,
                knob.symbol(),
                short(value)
            )
        })
    };
    searches.iter().filter_map(sentence).collect()
}
