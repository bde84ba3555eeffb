//! The figures of an experiment: charts for the page, and files for a README.
//!
//! Reads [`crate::method`]; draws with [`crate::chart`].

use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::canvas::{UNIT, fill, style};
use crate::chart::{Area, Axis, Chart, Failure, Mark, count_label, draw, draw_marker, draw_svg, extent, words};
use crate::error::ReportError;
use crate::method::{Method, ann_accuracy, checkpoints, last_step, methods};
use crate::number::{accuracy_decimals, percent};
use crate::palette::{Colours, DARK_COLOURS, Ink, LIGHT_COLOURS};
use crate::record::ExperimentRecord;

/// Height of the window of the zoomed panels below the ANN's accuracy, in percentage points: wide enough for what
/// still counts as a loss, narrow enough to show tenths.
const ZOOM_POINTS: f64 = 3.0;
/// Room above the highest curve of a zoomed panel, in percentage points.
const HEADROOM_POINTS: f64 = 0.4;

/// Ground a standalone figure is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark marks on white.
    Light,
    /// Light marks on GitHub's dark ground.
    Dark,
}

/// A standalone SVG file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// File name, for example `accuracy-light.svg`.
    pub file_name: String,
    /// Ground it is made for.
    pub theme: Theme,
    /// The file's content.
    pub svg: String,
}

/// Accuracy against time steps as standalone files, one per theme.
///
/// For a README that follows the reader's scheme:
/// `<picture><source media="(prefers-color-scheme: dark)" srcset="accuracy-dark.svg"><img src="accuracy-light.svg" alt="…"></picture>`.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn figures(record: &ExperimentRecord) -> Result<Vec<Figure>, ReportError> {
    let label = format!("{}: accuracy of the spiking network against time steps, per method", record.name);
    let methods = methods(record);
    let [full, zoom] = accuracy_charts(record, &methods);
    let legend_rows = methods.len().div_ceil(LEGEND_COLUMNS) as i32;
    let (width, panels, legend) = (880, 320, 14 + 20 * legend_rows);
    let size = ((width * UNIT) as u32, ((panels + legend + 24) * UNIT) as u32);
    let body = draw_svg(size, &label, |area| {
        area.draw(&Rectangle::new([(0, 0), (size.0 as i32, size.1 as i32)], fill(Ink::Ground)))?;
        let inner = area.margin(12 * UNIT, 12 * UNIT, 16 * UNIT, 8 * UNIT);
        let (top, bottom) = inner.split_vertically(panels * UNIT);
        let (left, right) = top.split_horizontally(width / 2 * UNIT - 12 * UNIT);
        draw(&full, &left.margin(0, 0, 0, 8 * UNIT))?;
        draw(&zoom, &right.margin(0, 0, 8 * UNIT, 0))?;
        draw_legend(&bottom, width, &methods.iter().map(|method| method.label).collect::<Vec<_>>())
    })?;
    Ok(themed("accuracy", &body, size))
}

/// Charts two by two over one legend as standalone files, one per theme.
///
/// - `name`: the files' names begin with it
/// - `labels`: of the series, from 0
pub(crate) fn panels(
    name: &str,
    description: &str,
    charts: &[Chart],
    labels: &[&str],
) -> Result<Vec<Figure>, ReportError> {
    let legend_rows = labels.len().div_ceil(LEGEND_COLUMNS) as i32;
    let (width, row, legend) = (880, 300, 14 + 20 * legend_rows);
    let n_rows = charts.len().div_ceil(2) as i32;
    let size = ((width * UNIT) as u32, ((n_rows * row + legend + 24) * UNIT) as u32);
    let body = draw_svg(size, description, |area| {
        area.draw(&Rectangle::new([(0, 0), (size.0 as i32, size.1 as i32)], fill(Ink::Ground)))?;
        let mut rest = area.margin(12 * UNIT, 12 * UNIT, 16 * UNIT, 8 * UNIT);
        for pair in charts.chunks(2) {
            let (top, below) = rest.split_vertically(row * UNIT);
            rest = below;
            let (left, right) = top.split_horizontally(width / 2 * UNIT - 12 * UNIT);
            draw(&pair[0], &left.margin(0, 8 * UNIT, 0, 8 * UNIT))?;
            if let Some(chart) = pair.get(1) {
                draw(chart, &right.margin(0, 8 * UNIT, 8 * UNIT, 0))?;
            }
        }
        draw_legend(&rest, width, labels)
    })?;
    Ok(themed(name, &body, size))
}

/// Lines, markers and labels of the series, from 0, in columns.
fn draw_legend(area: &Area<'_, '_>, width: i32, labels: &[&str]) -> Result<(), Failure> {
    for (i, label) in labels.iter().enumerate() {
        let column = (width - 24) / LEGEND_COLUMNS as i32;
        let x = (i % LEGEND_COLUMNS) as i32 * column * UNIT;
        let y = (18 + 20 * (i / LEGEND_COLUMNS) as i32) * UNIT;
        let mut stroke = style(Ink::Series(i), 2 * UNIT as u32);
        stroke.color = crate::canvas::colour(Ink::Series(i), i, 1.0);
        area.draw(&PathElement::new(vec![(x, y), (x + 26 * UNIT, y)], stroke))?;
        draw_marker(area, (x + 13 * UNIT, y), i)?;
        let text = words(Ink::Text, false).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(shorten(label, LEGEND_CHARACTERS), (x + 33 * UNIT, y), text))?;
    }
    Ok(())
}

/// A drawing as standalone files, one per theme, `NAME-light.svg` and `NAME-dark.svg`.
pub(crate) fn themed(name: &str, body: &str, size: (u32, u32)) -> Vec<Figure> {
    let themes = [(Theme::Light, "light", &LIGHT_COLOURS), (Theme::Dark, "dark", &DARK_COLOURS)];
    let figure = |(theme, suffix, colours)| Figure {
        file_name: format!("{name}-{suffix}.svg"),
        theme,
        svg: standalone(body, size, colours),
    };
    themes.into_iter().map(figure).collect()
}

/// Columns of a standalone figure's legend, and the characters of a label that fit one.
const LEGEND_COLUMNS: usize = 4;
const LEGEND_CHARACTERS: usize = 28;

/// Gives a figure its size and its colours.
fn standalone(svg: &str, (width, height): (u32, u32), colours: &Colours) -> String {
    let unit = UNIT as u32;
    let tag = format!(
        "<svg width=\"{}\" height=\"{}\" font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\"",
        width / unit,
        height / unit
    );
    let css = format!("</title><style>text{{font-variant-numeric:tabular-nums}}{}</style>", colours.rules());
    svg.replacen("<svg class=\"chart\"", &tag, 1).replacen("</title>", &css, 1)
}

fn shorten(text: &str, n_characters: usize) -> String {
    if text.chars().count() <= n_characters {
        return text.to_owned();
    }
    text.chars().take(n_characters - 1).chain(['…']).collect()
}

/// Accuracy against time steps: the whole range, and the last points below the ANN.
pub(crate) fn accuracy_charts(record: &ExperimentRecord, methods: &[Method<'_>]) -> [Chart; 2] {
    let x = Axis::steps(last_step(record), "time steps T");
    charts(record, methods, &x, |_, step| Some(step as f64))
}

/// Accuracy against synaptic operations per sample: the whole range, and the last points below the ANN.
pub(crate) fn cost_charts(record: &ExperimentRecord, methods: &[Method<'_>]) -> [Chart; 2] {
    let cost = |m: &Method<'_>, step: usize| m.operations(step).map(|s| s.mean);
    let costs = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| cost(m, t)));
    let x = Axis::log10(costs, "synaptic operations per sample", count_label);
    charts(record, methods, &x, cost)
}

fn charts(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    x: &Axis,
    place: impl Fn(&Method<'_>, usize) -> Option<f64>,
) -> [Chart; 2] {
    let ann = ann_accuracy(record).map(|s| s.mean);
    let finals: Vec<f64> = methods.iter().filter_map(|m| m.accuracy(m.steps())).map(|s| s.mean * 100.0).collect();
    let all = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| m.accuracy(t))).map(|s| s.mean * 100.0);
    let best = extent(all).map_or(100.0, |r| r.1);
    let reference = ann.map_or(best, |a| a * 100.0);
    // Where every method ends further below, the window reaches down to the best of them.
    let best_final = extent(finals).map_or(reference, |r| r.1);
    let lo = (reference - ZOOM_POINTS).min(best_final - 1.0).max(0.0);
    let hi = (reference.max(best) + HEADROOM_POINTS).min(100.0 + HEADROOM_POINTS);
    [
        chart("Full range", x.clone(), Axis::linear(0.0, 100.0, 5, "accuracy in %"), record, methods, &place),
        chart("Near the ANN", x.clone(), Axis::linear(lo, hi, 6, "accuracy in %"), record, methods, &place),
    ]
}

fn chart(
    title: &str,
    x: Axis,
    y: Axis,
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    place: &impl Fn(&Method<'_>, usize) -> Option<f64>,
) -> Chart {
    let mut marks = Vec::new();
    if let Some(ann) = ann_accuracy(record) {
        let label = format!("ANN {}", percent(ann.mean, accuracy_decimals(record.dataset.n_test)));
        marks.push(Mark::Level { y: ann.mean * 100.0, label });
    }
    let checkpoints = checkpoints(record);
    for (i, method) in methods.iter().enumerate() {
        let mut points = Vec::new();
        let mut tabulated = Vec::new();
        let mut whiskers = Vec::new();
        for step in 1..=method.steps() {
            let (Some(x), Some(accuracy)) = (place(method, step), method.accuracy(step)) else { continue };
            let mean = accuracy.mean * 100.0;
            points.push([x, mean]);
            if checkpoints.contains(&step) {
                tabulated.push([x, mean]);
                let sd = accuracy.sd.unwrap_or(0.0) * 100.0;
                whiskers.push([x, mean - sd, mean + sd]);
            }
        }
        marks.push(Mark::Whiskers { points: whiskers, ink: Ink::Series(i) });
        marks.push(Mark::Line { points, ink: Ink::Series(i), dash: i, width_px: 1.6 });
        marks.push(Mark::Markers { points: tabulated, series: i });
    }
    Chart { title: title.to_owned(), x, y, marks }
}
