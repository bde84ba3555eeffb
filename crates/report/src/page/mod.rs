//! The report page: one HTML file that needs nothing else, no script among it.
//!
//! Reads [`crate::method`], [`crate::comparison`] and [`crate::diagnosis`]; figures are from [`crate::chart`].
//! Text goes through `maud`, which escapes it; the only markup put in as is are our own SVGs and style sheet.

mod accuracy;
mod early_exit;
mod energy;
mod factors;
mod faults;
mod headline;
mod law;
mod layers;
mod loss;
mod provenance;
mod raster;
mod rates;
mod search;
mod training;
mod variance;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chart::{Chart, line_swatch, svg, swatch};
use crate::comparison::leader;
use crate::error::ReportError;
use crate::finding::{MANY_METHODS, mean_accuracy};
use crate::method::{Method, checkpoints, methods};
use crate::palette::{DARK_COLOURS, Ink, LIGHT_COLOURS, page_rules};
use crate::table::{Align, Table, references};
use results::record::ExperimentRecord;

/// Layout and typography; colours come from [`crate::palette`].
const STYLE: &str = include_str!("page.css");

/// Natural size of a chart that shares its row with one other, in pixels.
const HALF: (u32, u32) = (420, 300);
/// Natural size of a chart among small multiples, in pixels.
const SMALL: (u32, u32) = (200, 200);
/// Width of a chart that shares its row with two others, in pixels; its height follows what it shows.
const THIRD: u32 = 300;

/// One section of the page.
struct Section {
    /// Fragment that the contents list links to.
    id: &'static str,
    /// Heading.
    title: &'static str,
    /// Everything below the heading.
    body: Markup,
}

/// The whole report as one self-contained HTML page.
///
/// Opens offline, without scripts and without other files; follows the reader's light or dark scheme. Sections
/// for which the record holds nothing are left out. Missing and non-finite values are shown as a dash.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn html(record: &ExperimentRecord) -> Result<String, ReportError> {
    let methods = methods(record);
    let chosen = chosen(record);
    let sections: Vec<Section> = [
        accuracy::against_steps(record, &methods)?,
        accuracy::against_cost(record, &methods)?,
        factors::section(record, &methods)?,
        early_exit::section(record, &methods)?,
        faults::section(record)?,
        loss::section(record, &methods)?,
        variance::section(record, &chosen)?,
        law::section(record, &methods)?,
        rates::section(&chosen)?,
        raster::section(record, &chosen)?,
        layers::section(&chosen)?,
        energy::section(record, &chosen)?,
        search::section(&chosen)?,
        training::section(record)?,
        Some(provenance::section(record)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(format!("Quartic {}", record.quartic_version));
                title { (record.name) " – Quartic report" }
                style { (PreEscaped(style_sheet())) }
            }
            body {
                header {
                    p.kicker { "Quartic report" }
                    h1 { (record.name) }
                    @if !record.description.trim().is_empty() { p.lead { (record.description) } }
                }
                main {
                    (headline::section(record, &methods))
                    nav aria-label="Contents" {
                        ol { @for s in &sections { li { a href={ "#" (s.id) } { (s.title) } } } }
                    }
                    @if chosen.len() < methods.len() {
                        p.note { "Sections on noise, rates, spikes, layers, energy and the search for κ show " (chosen.len()) " of the " (methods.len()) " methods: those that lead at a checkpoint, the baseline, and the best of the others." }
                    }
                    @for s in &sections {
                        section id=(s.id) aria-labelledby={ (s.id) "-title" } {
                            h2 id={ (s.id) "-title" } { (s.title) }
                            (s.body)
                        }
                    }
                }
                footer { p { "Made by Quartic " (record.quartic_version) " from the record of this experiment. Every sentence that interprets is computed from the numbers shown." } }
            }
        }
    };
    Ok(page.into_string())
}

/// Methods of which details are shown: all where there are few; else those that lead at a checkpoint, the baseline, and the best
/// of the others half-way through the checkpoints.
fn chosen(record: &ExperimentRecord) -> Vec<Method<'_>> {
    let methods = methods(record);
    if methods.len() <= MANY_METHODS {
        return methods;
    }
    let steps = checkpoints(record);
    let middle = steps.get(steps.len() / 2).copied().unwrap_or(1);
    let mut wanted: Vec<usize> = steps.iter().filter_map(|&step| leader(&methods, step)).map(|l| l.best).collect();
    wanted.extend(references(record, &methods).into_iter().flatten());
    let mut ranked: Vec<usize> = (0..methods.len()).collect();
    ranked.sort_by(|&a, &b| mean_accuracy(&methods[b], middle).total_cmp(&mean_accuracy(&methods[a], middle)));
    wanted.extend(ranked);
    let mut kept: Vec<usize> = Vec::new();
    for idx in wanted {
        if kept.len() < MANY_METHODS && !kept.contains(&idx) {
            kept.push(idx);
        }
    }
    methods.into_iter().enumerate().filter(|(idx, _)| kept.contains(idx)).map(|(_, method)| method).collect()
}

fn style_sheet() -> String {
    let (light, dark) = (LIGHT_COLOURS.properties(), DARK_COLOURS.properties());
    format!(
        ":root{{{light}}}@media (prefers-color-scheme:dark){{@media screen{{:root{{{dark}}}}}}}{}{STYLE}",
        page_rules()
    )
}

/// How a section is to be read.
fn reading(text: &str) -> Markup {
    html! { p.reading { (text) } }
}

/// What the numbers of a section show, one sentence per item.
fn findings(sentences: &[String]) -> Markup {
    html! {
        @if !sentences.is_empty() {
            div.findings {
                h3 { "What this shows" }
                ul { @for s in sentences { li { (unbroken(s)) } } }
            }
        }
    }
}

/// The text with spaces that do not break inside its quantities: `T = 8`, `κ = 0.3`, `12 %`.
fn unbroken(text: &str) -> String {
    text.replace(" = ", "\u{a0}=\u{a0}").replace(" %", "\u{a0}%").replace(" / ", "\u{a0}/ ")
}

/// A figure of one or more charts with a caption.
fn figure(
    charts: &[Chart],
    size: (u32, u32),
    class: &str,
    legend: &Markup,
    caption: &str,
) -> Result<Markup, ReportError> {
    let images = charts.iter().map(|chart| svg(chart, size, &chart.description())).collect::<Result<Vec<_>, _>>()?;
    Ok(html! {
        figure {
            (legend)
            div class=(class) { @for image in &images { (PreEscaped(image)) } }
            figcaption { (caption) }
        }
    })
}

/// The legend of a figure with one series per method.
fn method_legend(methods: &[Method<'_>], with_ann: bool) -> Markup {
    html! {
        ul.legend {
            @if with_ann { li { (PreEscaped(line_swatch(Ink::Ann, 0))) "ANN" } }
            @for (i, m) in methods.iter().enumerate() { li { (PreEscaped(swatch(i, true))) (m.label) } }
        }
    }
}

/// A table in a container that scrolls sideways on narrow screens.
fn table(table: &Table) -> Markup {
    let class = |i: usize| table.columns.get(i).filter(|c| c.align == Align::Right).map(|_| "n");
    html! {
        div.scroll tabindex="0" role="region" aria-label=(table.title) {
            table {
                caption { span { (table.title) } }
                thead { tr { @for (i, c) in table.columns.iter().enumerate() { th scope="col" class=[class(i)] { (unbroken(&c.name)) } } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (i, cell) in row.iter().enumerate() {
                                @if i == 0 { th scope="row" class=[class(0)] { (cell) } }
                                @else { td class=[class(i)] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
