//! The figures of an experiment: charts for the page, and files for a README.
//!
//! Reads [`crate::method`]; draws with [`crate::chart`].

use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::canvas::{UNIT, fill, style};
use crate::chart::{Area, Axis, Chart, Failure, Mark, count_label, draw, draw_marker, draw_svg, extent, words};
use crate::error::ReportError;
use crate::method::{Method, ann_accuracies, ann_accuracy, checkpoints, last_step, methods};
use crate::number::{accuracy_decimals, percent};
use crate::palette::{Colours, DARK_COLOURS, Ink, LIGHT_COLOURS};
use crate::panel::{Group, Panel, panels};
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

/// Accuracy against time steps, and against synaptic operations, as standalone files, one per theme: `accuracy-light.svg`,
/// `accuracy-operations-light.svg` and the same for `dark`.
///
/// Many methods are parted into panels, one for each combination of the factors that the sweep varies beside conversions. The
/// figure over operations is left out where none were counted.
///
/// For a README that follows the reader's scheme:
/// `<picture><source media="(prefers-color-scheme: dark)" srcset="accuracy-dark.svg"><img src="accuracy-light.svg" alt="…"></picture>`.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn figures(record: &ExperimentRecord) -> Result<Vec<Figure>, ReportError> {
    let methods = methods(record);
    let mut figures = both_themes(record, &methods, "accuracy", "time steps", &accuracy_charts)?;
    if methods.iter().any(|m| m.operations(m.steps()).is_some_and(|s| s.mean > 0.0)) {
        figures.extend(both_themes(record, &methods, "accuracy-operations", "synaptic operations", &cost_charts)?);
    }
    Ok(figures)
}

/// Draws the panels of some methods: the whole range, and the last points below the ANN.
pub(crate) type Charts<'f> = &'f dyn Fn(&ExperimentRecord, &[Method<'_>], &Panel) -> [Chart; 2];

/// One figure for a light and for a dark ground.
fn both_themes(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    name: &str,
    against: &str,
    charts: Charts<'_>,
) -> Result<Vec<Figure>, ReportError> {
    let label = format!("{}: accuracy of the spiking network against {against}, per method", record.name);
    let groups: Vec<Drawn> =
        panels(record, methods).into_iter().map(|group| Drawn::new(record, methods, group, charts)).collect();
    let width = 880;
    let height: i32 = groups.iter().map(Drawn::height).sum();
    let size = ((width * UNIT) as u32, ((height + 24) * UNIT) as u32);
    let body = draw_svg(size, &label, |area| {
        area.draw(&Rectangle::new([(0, 0), (size.0 as i32, size.1 as i32)], fill(Ink::Ground)))?;
        let mut rest = area.margin(12 * UNIT, 12 * UNIT, 16 * UNIT, 8 * UNIT);
        for group in &groups {
            let (own, below) = rest.split_vertically(group.height() * UNIT);
            group.draw(&own, width)?;
            rest = below;
        }
        Ok(())
    })?;
    Ok([(Theme::Light, "light", &LIGHT_COLOURS), (Theme::Dark, "dark", &DARK_COLOURS)]
        .into_iter()
        .map(|(theme, ground, colours)| Figure {
            file_name: format!("{name}-{ground}.svg"),
            theme,
            svg: standalone(&body, size, colours),
        })
        .collect())
}

/// Panels of a standalone figure that are each drawn twice, whole and enlarged.
const FEW_PANELS: usize = 4;

/// Panels of a standalone figure with the legend below them.
struct Drawn {
    title: String,
    charts: Vec<Chart>,
    /// Charts to a row: each panel whole and enlarged; or, where they are many, three or four panels whole.
    n_columns: usize,
    series: Vec<String>,
}

impl Drawn {
    fn new(record: &ExperimentRecord, methods: &[Method<'_>], group: Group, charts: Charts<'_>) -> Self {
        let n_columns = match group.panels.len() {
            n if n <= FEW_PANELS && group.title.is_empty() => 2,
            n if n.is_multiple_of(4) => 4,
            _ => 3,
        };
        let n_charts = if n_columns == 2 { 2 } else { 1 };
        let charts = group.panels.iter().flat_map(|panel| charts(record, methods, panel).into_iter().take(n_charts));
        Self { title: group.title, charts: charts.collect(), n_columns, series: group.series }
    }

    fn panels_height(&self) -> i32 {
        let rows = self.charts.len().div_ceil(self.n_columns).max(1) as i32;
        self.heading() + rows * if self.n_columns == 2 { 320 } else { 250 }
    }

    /// Columns of the legend, and the characters that fit one.
    fn legend(&self) -> (usize, usize) {
        let longest = self.series.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        LEGENDS.into_iter().find(|(_, fit)| longest <= *fit).unwrap_or(LEGENDS[2])
    }

    fn heading(&self) -> i32 {
        if self.title.is_empty() { 0 } else { 24 }
    }

    /// In pixels of the figure's natural size.
    fn height(&self) -> i32 {
        self.panels_height() + 14 + 20 * self.series.len().div_ceil(self.legend().0) as i32
    }

    fn draw(&self, area: &Area<'_, '_>, width: i32) -> Result<(), Failure> {
        let (top, bottom) = area.split_vertically(self.panels_height() * UNIT);
        let (heading, top) = top.split_vertically(self.heading() * UNIT);
        if !self.title.is_empty() {
            heading.draw(&Text::new(self.title.clone(), (0, 4 * UNIT), words(Ink::Text, true)))?;
        }
        if let ([full, zoom], 2) = (self.charts.as_slice(), self.n_columns) {
            let (left, right) = top.split_horizontally(width / 2 * UNIT - 12 * UNIT);
            draw(full, &left.margin(0, 0, 0, 8 * UNIT))?;
            draw(zoom, &right.margin(0, 0, 8 * UNIT, 0))?;
        } else {
            let rows = self.charts.len().div_ceil(self.n_columns).max(1);
            for (chart, place) in self.charts.iter().zip(top.split_evenly((rows, self.n_columns))) {
                draw(chart, &place.margin(0, 6 * UNIT, 4 * UNIT, 8 * UNIT))?;
            }
        }
        let (n_columns, n_characters) = self.legend();
        for (i, name) in self.series.iter().enumerate() {
            let column = (width - 24) / n_columns as i32;
            let x = (i % n_columns) as i32 * column * UNIT;
            let y = (18 + 20 * (i / n_columns) as i32) * UNIT;
            let mut stroke = style(Ink::Series(i), 2 * UNIT as u32);
            stroke.color = crate::canvas::colour(Ink::Series(i), i, 1.0);
            bottom.draw(&PathElement::new(vec![(x, y), (x + 26 * UNIT, y)], stroke))?;
            draw_marker(&bottom, (x + 13 * UNIT, y), i)?;
            let text = words(Ink::Text, false).pos(Pos::new(HPos::Left, VPos::Center));
            bottom.draw(&Text::new(shorten(name, n_characters), (x + 33 * UNIT, y), text))?;
        }
        Ok(())
    }
}

/// Columns of a standalone figure's legend, and the characters of a label that fit one: as many columns as hold the longest label.
const LEGENDS: [(usize, usize); 3] = [(4, 28), (3, 40), (2, 64)];

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
pub(crate) fn accuracy_charts(record: &ExperimentRecord, methods: &[Method<'_>], panel: &Panel) -> [Chart; 2] {
    let x = Axis::steps(last_step(record), "time steps T");
    charts(record, methods, panel, &x, |_, step| Some(step as f64))
}

/// Accuracy against synaptic operations per sample: the whole range, and the last points below the ANN.
pub(crate) fn cost_charts(record: &ExperimentRecord, methods: &[Method<'_>], panel: &Panel) -> [Chart; 2] {
    let cost = |m: &Method<'_>, step: usize| m.operations(step).map(|s| s.mean);
    // The same axis in every panel.
    let costs = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| cost(m, t)));
    let x = Axis::log10(costs, "synaptic operations per sample", count_label);
    charts(record, methods, panel, &x, cost)
}

/// Mean accuracy of the networks that a panel's methods were converted from.
fn reference(record: &ExperimentRecord, panel: &Panel) -> Option<f64> {
    let own = ann_accuracies(record).into_iter().find(|(variant, _)| *variant == panel.variant);
    own.map(|(_, accuracy)| accuracy).or_else(|| ann_accuracy(record)).map(|s| s.mean)
}

fn charts(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    panel: &Panel,
    x: &Axis,
    place: impl Fn(&Method<'_>, usize) -> Option<f64>,
) -> [Chart; 2] {
    let ann = reference(record, panel);
    let finals: Vec<f64> = methods.iter().filter_map(|m| m.accuracy(m.steps())).map(|s| s.mean * 100.0).collect();
    let all = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| m.accuracy(t))).map(|s| s.mean * 100.0);
    let best = extent(all).map_or(100.0, |r| r.1);
    let reference = ann.map_or(best, |a| a * 100.0);
    // Where every method ends further below, the window reaches down to the best of them.
    let best_final = extent(finals).map_or(reference, |r| r.1);
    let lo = (reference - ZOOM_POINTS).min(best_final - 1.0).max(0.0);
    let hi = (reference.max(best) + HEADROOM_POINTS).min(100.0 + HEADROOM_POINTS);
    let y = [Axis::linear(0.0, 100.0, 5, "accuracy in %"), Axis::linear(lo, hi, 6, "accuracy in %")];
    let titles = if panel.title.is_empty() {
        ["Full range".to_owned(), "Near the ANN".to_owned()]
    } else {
        [panel.title.clone(), format!("{}, near the ANN", panel.title)]
    };
    let mut y = y.into_iter();
    titles.map(|title| {
        let y = y.next().expect("an axis for each");
        chart(title, x.clone(), y, ann, record, methods, panel, &place)
    })
}

#[allow(clippy::too_many_arguments, reason = "what a chart is made of, gathered in one place only")]
fn chart(
    title: String,
    x: Axis,
    y: Axis,
    ann: Option<f64>,
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    panel: &Panel,
    place: &impl Fn(&Method<'_>, usize) -> Option<f64>,
) -> Chart {
    let mut marks = Vec::new();
    if let Some(ann) = ann {
        let label = format!("ANN {}", percent(ann, accuracy_decimals(record.dataset.n_test)));
        marks.push(Mark::Level { y: ann * 100.0, label });
    }
    let checkpoints = checkpoints(record);
    for &(method_idx, series) in &panel.members {
        let method = &methods[method_idx];
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
        marks.push(Mark::Whiskers { points: whiskers, ink: Ink::Series(series) });
        marks.push(Mark::Line { points, ink: Ink::Series(series), dash: series, width_px: 1.6 });
        marks.push(Mark::Markers { points: tabulated, series });
    }
    Chart { title, x, y, marks }
}
