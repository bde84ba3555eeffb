//! Charts: axes with chosen ticks, and marks on them.
//!
//! Lays out with plotters and draws on [`crate::canvas`]; knows nothing of experiments.

use std::convert::Infallible;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{ChartBuilder, LabelAreaPosition};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, ShapeStyle, TextStyle};

use crate::canvas::{Canvas, UNIT, colour, escape, fill, style};
use crate::error::ReportError;
use crate::number::{fixed, significant};
use crate::palette::{Ink, Marker, marker};

/// Size of words in a figure, in pixels of its natural size.
const FONT_SIZE: i32 = 12;
/// Width of a character, estimated, as a share of the font size; errs on the wide side for digits.
const CHARACTER_WIDTH: f64 = 0.6;
/// Half the size of a marker, in pixels of the figure's natural size.
const MARKER_SIZE: f64 = 3.4;
/// Height of one row of text above the plot, in pixels.
const TITLE_ROW: i32 = 18;

/// A surface that is drawn on.
pub(crate) type Area<'a, 'b> = DrawingArea<Canvas<'b>, Shift>;
/// What the plotting library may fail with.
pub(crate) type Failure = DrawingAreaErrorKind<Infallible>;

/// How values are placed on an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// Proportionally.
    Linear,
    /// By the binary logarithm.
    Log2,
    /// By the decimal logarithm.
    Log10,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log2 => value.log2(),
            Self::Log10 => value.log10(),
        }
    }
}

/// One axis: range, ticks, title.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    scale: Scale,
    /// Range after [`Scale::place`].
    range: (f64, f64),
    /// Places (after [`Scale::place`]) and labels of the ticks.
    ticks: Vec<(f64, String)>,
    /// Whether grid lines stand at the ticks.
    grid: bool,
    title: String,
}

impl Axis {
    /// A linear axis from `lo` to `hi` with about `n_ticks` ticks at round numbers.
    pub fn linear(lo: f64, hi: f64, n_ticks: usize, title: impl Into<String>) -> Self {
        let (lo, hi) = widen(lo, hi);
        let rough = (hi - lo) / n_ticks.max(1) as f64;
        let decade = 10f64.powf(rough.log10().floor());
        // A thousandth of a step lets a tick that falls on the end of the axis survive rounding.
        let ends = |step: f64| (((lo / step) - 1e-3).ceil() as i64, ((hi / step) + 1e-3).floor() as i64);
        let steps = [0.5, 1.0, 2.0, 5.0, 10.0].map(|m| m * decade);
        let mut choice = steps.iter().position(|s| *s >= rough).unwrap_or(steps.len() - 1);
        // A single tick gives no scale.
        while choice > 0 && ends(steps[choice]).1 <= ends(steps[choice]).0 {
            choice -= 1;
        }
        let step = steps[choice];
        let decimals = usize::try_from(-(step.log10().floor() as i32)).unwrap_or(0);
        let (first, last) = ends(step);
        let ticks = (first..=last).map(|i| i as f64 * step).map(|v| (v, fixed(v, decimals))).collect();
        Self { scale: Scale::Linear, range: (lo, hi), ticks, grid: true, title: title.into() }
    }

    /// A linear axis that holds all finite values, and zero if they reach more than half-way down to it.
    pub fn fit(values: impl IntoIterator<Item = f64>, n_ticks: usize, title: impl Into<String>) -> Self {
        let Some((lo, hi)) = extent(values) else { return Self::linear(0.0, 1.0, n_ticks, title) };
        let margin = 0.05 * (hi - lo);
        let (mut low, mut high) = (lo - margin, hi + margin);
        if lo >= 0.0 && lo < 0.5 * hi {
            low = 0.0;
        }
        if hi <= 0.0 && hi > 0.5 * lo {
            high = 0.0;
        }
        Self::linear(low, high, n_ticks, title)
    }

    /// Time steps 1..=`last` on a binary logarithmic axis, ticks at powers of two.
    pub fn steps(last: usize, title: impl Into<String>) -> Self {
        let hi = (last.max(2) as f64).log2();
        let n_ticks = hi.floor() as i32;
        let mut ticks: Vec<(f64, String)> = (0..=n_ticks).map(|i| (f64::from(i), (1_u64 << i).to_string())).collect();
        // The last step gets its own tick where the label has room beside that of the power below it.
        if hi - f64::from(n_ticks) > 0.05 * hi {
            if hi - f64::from(n_ticks) < 0.12 * hi {
                ticks.pop();
            }
            ticks.push((hi, last.to_string()));
        }
        Self { scale: Scale::Log2, range: (-0.03 * hi, 1.03 * hi), ticks, grid: true, title: title.into() }
    }

    /// A decimal logarithmic axis that holds all positive finite values.
    pub fn log10(values: impl IntoIterator<Item = f64>, title: impl Into<String>, label: fn(f64) -> String) -> Self {
        let (lo, hi) = extent(values.into_iter().filter(|v| *v > 0.0)).unwrap_or((1.0, 10.0));
        let (lo, hi) = widen(lo.log10(), hi.log10());
        let margin = 0.04 * (hi - lo);
        let range = (lo - margin, hi + margin);
        let ticks_at = |multiples: &[f64]| -> Vec<(f64, String)> {
            (range.0.floor() as i32..=range.1.ceil() as i32)
                .flat_map(|decade| multiples.iter().map(move |m| m * 10f64.powi(decade)))
                .map(|v| (v.log10(), label(v)))
                .filter(|(place, _)| (range.0..=range.1).contains(place))
                .collect()
        };
        let choices: [&[f64]; 4] = [&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]];
        let ticks = choices.iter().map(|c| ticks_at(c)).find(|t| t.len() >= 3).unwrap_or_else(|| ticks_at(choices[3]));
        Self { scale: Scale::Log10, range, ticks, grid: true, title: title.into() }
    }

    /// An axis without ticks, for rows that have no numbers.
    pub fn bare(lo: f64, hi: f64) -> Self {
        Self { scale: Scale::Linear, range: widen(lo, hi), ticks: Vec::new(), grid: true, title: String::new() }
    }

    /// The same axis with other tick labels than its own; none are drawn for an empty list.
    pub fn with_ticks(mut self, ticks: Vec<(f64, String)>) -> Self {
        self.ticks = ticks;
        self
    }

    /// The same axis without grid lines.
    pub fn without_grid(mut self) -> Self {
        self.grid = false;
        self
    }

    fn place(&self, value: f64) -> Option<f64> {
        let placed = self.scale.place(value);
        placed.is_finite().then_some(placed)
    }

    fn holds(&self, place: f64) -> bool {
        // A millionth of the range: the ends belong to it whatever the rounding.
        let slack = 1e-6 * (self.range.1 - self.range.0);
        place >= self.range.0 - slack && place <= self.range.1 + slack
    }

    /// Ends of a linear axis.
    pub fn ends(&self) -> (f64, f64) {
        debug_assert_eq!(self.scale, Scale::Linear, "the ends of a logarithmic axis are logarithms");
        self.range
    }

    /// Whether a value lies on the axis.
    pub fn contains(&self, value: f64) -> bool {
        self.place(value).is_some_and(|place| self.holds(place))
    }

    fn label(&self, place: f64) -> String {
        self.ticks.iter().find(|t| t.0.to_bits() == place.to_bits()).map(|t| t.1.clone()).unwrap_or_default()
    }
}

/// An axis as plotters' coordinate, over places.
struct Placed {
    range: (f64, f64),
    ticks: Vec<f64>,
}

impl Placed {
    fn new(axis: &Axis) -> Self {
        Self { range: axis.range, ticks: axis.ticks.iter().map(|t| t.0).collect() }
    }
}

impl Ranged for Placed {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range.0) / (self.range.1 - self.range.0);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light points are a finer grid, which no figure here has.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.0..self.range.1
    }
}

/// Smallest and largest finite value.
pub(crate) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |range, v| {
        let (lo, hi) = range.unwrap_or((v, v));
        Some((v.min(lo), v.max(hi)))
    })
}

/// A range of some width, whatever came in.
fn widen(lo: f64, hi: f64) -> (f64, f64) {
    if !(lo.is_finite() && hi.is_finite()) {
        return (0.0, 1.0);
    }
    // Below a billionth of its magnitude a range has no width that numbers could show.
    if hi - lo > 1e-9 * hi.abs().max(lo.abs()).max(1e-9) {
        return (lo, hi);
    }
    let half = if lo == 0.0 { 0.5 } else { 0.1 * lo.abs() };
    (lo - half, lo + half)
}

/// Something drawn on a chart, in values of its axes. What falls outside the axes is cut off.
#[derive(Clone)]
pub(crate) enum Mark {
    /// Points joined by straight lines.
    Line { points: Vec<[f64; 2]>, ink: Ink, dash: usize, width_px: f64 },
    /// The markers of a series.
    Markers { points: Vec<[f64; 2]>, series: usize },
    /// Vertical whiskers `[x, low, high]`.
    Whiskers { points: Vec<[f64; 3]>, ink: Ink },
    /// Small dots.
    Dots { points: Vec<[f64; 2]>, ink: Ink, radius_px: f64, opacity: f64 },
    /// Small rings.
    Rings { points: Vec<[f64; 2]>, ink: Ink, radius_px: f64 },
    /// Horizontal line over the whole chart, with a label at its left end.
    Level { y: f64, label: String },
    /// Upright ticks of one row's height, for spikes: `[x, row]`, `width` in x.
    Spikes { points: Vec<[f64; 2]>, ink: Ink, width: f64 },
}

/// Axes, marks, and the words above them.
#[derive(Clone)]
pub(crate) struct Chart {
    /// Heading; may be empty.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis; its title stands above it, level, where it is easiest to read.
    pub y: Axis,
    /// Marks, drawn in order.
    pub marks: Vec<Mark>,
}

impl Chart {
    /// What the chart shows, in words: its heading and what is drawn against what.
    pub fn description(&self) -> String {
        let axes = match (self.y.title.as_str(), self.x.title.as_str()) {
            ("", x) => x.to_owned(),
            (y, "") => y.to_owned(),
            (y, x) => format!("{y} against {x}"),
        };
        if self.title.is_empty() { axes } else { format!("{}: {axes}", self.title) }
    }
}

/// One chart as an `svg` element that scales with its container; `label` says to those who cannot see it what it shows.
pub(crate) fn svg(chart: &Chart, size_px: (u32, u32), label: &str) -> Result<String, ReportError> {
    let size = (size_px.0 * UNIT as u32, size_px.1 * UNIT as u32);
    draw_svg(size, label, |area| draw(chart, area))
}

/// Runs `paint` on a fresh surface and wraps what it drew.
pub(crate) fn draw_svg(
    size: (u32, u32),
    label: &str,
    paint: impl FnOnce(&Area<'_, '_>) -> Result<(), Failure>,
) -> Result<String, ReportError> {
    let mut body = String::new();
    {
        let area = Canvas::new(&mut body, size).into_drawing_area();
        paint(&area)
            .and_then(|()| area.present())
            .map_err(|e| ReportError::Draw { figure: label.to_owned(), reason: e.to_string() })?;
    }
    let label = escape(label);
    Ok(format!(
        "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" \
         aria-label=\"{label}\"><title>{label}</title>\n{body}</svg>",
        size.0, size.1
    ))
}

/// A short piece of line with the marker of a series, for legends; `24 × 12` pixels.
pub(crate) fn swatch(series: usize, with_marker: bool) -> String {
    let drawn = draw_swatch((24, 12), |area| {
        area.draw(&PathElement::new(vec![(0, 24), (96, 24)], line(Ink::Series(series), series, 1.8)))?;
        if with_marker { draw_marker(area, (48, 24), series) } else { Ok(()) }
    });
    drawn.unwrap_or_default()
}

/// A legend entry's line without marker in any ink and dash.
pub(crate) fn line_swatch(ink: Ink, dash: usize) -> String {
    draw_swatch((24, 12), |area| area.draw(&PathElement::new(vec![(0, 24), (96, 24)], line(ink, dash, 1.8))))
        .unwrap_or_default()
}

fn draw_swatch(
    (width, height): (u32, u32),
    paint: impl FnOnce(&Area<'_, '_>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut body = String::new();
    let size = (width * UNIT as u32, height * UNIT as u32);
    {
        let area = Canvas::new(&mut body, size).into_drawing_area();
        paint(&area)?;
        area.present()?;
    }
    Ok(format!(
        "<svg class=\"swatch\" viewBox=\"0 0 {} {}\" width=\"{width}\" height=\"{height}\" aria-hidden=\"true\">{}</svg>",
        size.0, size.1, body
    ))
}

/// Text style of figures.
pub(crate) fn words(ink: Ink, bold: bool) -> TextStyle<'static> {
    let weight = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(FONT_SIZE * UNIT), weight);
    TextStyle { color: colour(ink, 0, 1.0).to_backend_color(), ..TextStyle::from(font) }
}

fn line(ink: Ink, dash: usize, width_px: f64) -> ShapeStyle {
    ShapeStyle { color: colour(ink, dash, 1.0), filled: false, stroke_width: px(width_px) as u32 }
}

fn px(pixels: f64) -> i32 {
    (pixels * f64::from(UNIT)).round() as i32
}

/// Draws a chart into the whole of an area.
pub(crate) fn draw(chart: &Chart, area: &Area<'_, '_>) -> Result<(), Failure> {
    let mut top = UNIT * 6;
    for (text, bold) in [(&chart.title, true), (&chart.y.title, false)] {
        if !text.is_empty() {
            area.draw(&Text::new(text.clone(), (0, top), words(Ink::Text, bold)))?;
            top += UNIT * TITLE_ROW;
        }
    }
    let longest = chart.y.ticks.iter().map(|t| t.1.chars().count()).max().unwrap_or(0);
    let left = px(longest as f64 * f64::from(FONT_SIZE) * CHARACTER_WIDTH + 8.0);
    let rows = usize::from(!chart.x.ticks.is_empty()) + usize::from(!chart.x.title.is_empty());
    let mut plot = ChartBuilder::on(area)
        .margin_top(top)
        .margin_right(px(12.0))
        .margin_left(px(1.0))
        .set_label_area_size(LabelAreaPosition::Left, left)
        .set_label_area_size(LabelAreaPosition::Bottom, px(6.0) + px(16.0) * rows as i32)
        .build_cartesian_2d(Placed::new(&chart.x), Placed::new(&chart.y))?;
    let mut mesh = plot.configure_mesh();
    if !chart.x.grid {
        mesh.disable_x_mesh();
    }
    if !chart.y.grid {
        mesh.disable_y_mesh();
    }
    mesh.bold_line_style(style(Ink::Grid, UNIT as u32))
        .axis_style(style(Ink::Axis, UNIT as u32))
        .label_style(words(Ink::Text, false))
        .x_label_formatter(&|v| chart.x.label(*v))
        .y_label_formatter(&|v| chart.y.label(*v))
        .set_all_tick_mark_size(px(3.0))
        .x_desc(chart.x.title.as_str())
        .draw()?;

    let base = plot.plotting_area().get_base_pixel();
    let surface = plot.plotting_area().strip_coord_spec();
    let pixel = |x: f64, y: f64| {
        let (px, py) = plot.plotting_area().map_coordinate(&(x, y));
        (px - base.0, py - base.1)
    };
    for mark in &chart.marks {
        draw_mark(mark, chart, &surface, &pixel)?;
    }
    Ok(())
}

fn draw_mark(
    mark: &Mark,
    chart: &Chart,
    surface: &Area<'_, '_>,
    pixel: &dyn Fn(f64, f64) -> (i32, i32),
) -> Result<(), Failure> {
    let place = |p: &[f64; 2]| Some((chart.x.place(p[0])?, chart.y.place(p[1])?));
    let inside = |points: &[[f64; 2]]| -> Vec<(i32, i32)> {
        let placed = points.iter().filter_map(place);
        placed.filter(|&(x, y)| chart.x.holds(x) && chart.y.holds(y)).map(|(x, y)| pixel(x, y)).collect()
    };
    match mark {
        Mark::Line { points, ink, dash, width_px } => {
            let placed: Vec<(f64, f64)> = points.iter().filter_map(place).collect();
            for piece in clip(&placed, chart.y.range) {
                let piece: Vec<_> = piece.into_iter().map(|(x, y)| pixel(x, y)).collect();
                surface.draw(&PathElement::new(piece, line(*ink, *dash, *width_px)))?;
            }
        }
        Mark::Markers { points, series } => {
            for at in inside(points) {
                draw_marker(surface, at, *series)?;
            }
        }
        Mark::Whiskers { points, ink } => {
            for &[x, lo, hi] in points {
                let (Some((x, lo)), Some((_, hi))) = (place(&[x, lo]), place(&[x, hi])) else { continue };
                let (lo, hi) = (lo.max(chart.y.range.0), hi.min(chart.y.range.1));
                if lo < hi {
                    surface.draw(&PathElement::new(vec![pixel(x, lo), pixel(x, hi)], line(*ink, 0, 1.0)))?;
                }
            }
        }
        Mark::Dots { points, ink, radius_px, opacity } => {
            let dot = ShapeStyle { color: colour(*ink, 0, *opacity), filled: true, stroke_width: 0 };
            for at in inside(points) {
                surface.draw(&Circle::new(at, px(*radius_px), dot))?;
            }
        }
        Mark::Rings { points, ink, radius_px } => {
            for at in inside(points) {
                surface.draw(&Circle::new(at, px(*radius_px), line(*ink, 0, 0.75)))?;
            }
        }
        Mark::Level { y, label } => {
            if let Some(y) = chart.y.place(*y).filter(|y| chart.y.holds(*y)) {
                let (from, to) = (pixel(chart.x.range.0, y), pixel(chart.x.range.1, y));
                surface.draw(&PathElement::new(vec![from, to], line(Ink::Ann, 0, 1.2)))?;
                // Below the line where there is no room above it.
                let above = from.1 > px(f64::from(FONT_SIZE) + 4.0);
                let (side, gap) = if above { (VPos::Bottom, px(-1.0)) } else { (VPos::Top, px(4.0)) };
                let text = words(Ink::Ann, false).pos(Pos::new(HPos::Left, side));
                surface.draw(&Text::new(label.clone(), (from.0 + px(4.0), from.1 + gap), text))?;
            }
        }
        Mark::Spikes { points, ink, width } => {
            for p in points {
                let Some((x, y)) = place(p).filter(|&(x, y)| chart.x.holds(x) && chart.y.holds(y)) else { continue };
                let (a, b) = (pixel(x - width / 2.0, y + 1.0), pixel(x + width / 2.0, y));
                // At least half a pixel high, so that dense rows stay visible.
                let b = (b.0.max(a.0 + UNIT / 2), b.1.max(a.1 + UNIT / 2));
                surface.draw(&Rectangle::new([a, b], fill(*ink)))?;
            }
        }
    }
    Ok(())
}

/// The pieces of a polyline that lie between two heights, cut exactly there.
fn clip(points: &[(f64, f64)], (lo, hi): (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in points.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let rise = b.1 - a.1;
        let (mut from, mut to) = (0.0_f64, 1.0_f64);
        if rise == 0.0 {
            if a.1 < lo || a.1 > hi {
                continue;
            }
        } else {
            let (s, t) = ((lo - a.1) / rise, (hi - a.1) / rise);
            from = from.max(s.min(t));
            to = to.min(s.max(t));
            if from >= to {
                continue;
            }
        }
        let at = |share: f64| {
            if share <= 0.0 {
                a
            } else if share >= 1.0 {
                b
            } else {
                (a.0 + share * (b.0 - a.0), a.1 + share * rise)
            }
        };
        let (start, end) = (at(from), at(to));
        match pieces.last_mut().filter(|p| p.last() == Some(&start)) {
            Some(piece) => piece.push(end),
            None => pieces.push(vec![start, end]),
        }
    }
    pieces
}

/// Draws the marker of a series around a point of the area.
pub(crate) fn draw_marker(area: &Area<'_, '_>, (x, y): (i32, i32), series: usize) -> Result<(), Failure> {
    let ink = Ink::Series(series);
    let r = px(MARKER_SIZE);
    // Shapes of one nominal size look alike in weight with these factors.
    let (wide, half) = ((f64::from(r) * 1.2) as i32, (f64::from(r) * 0.85) as i32);
    let corners = |offsets: &[(i32, i32)]| offsets.iter().map(|(dx, dy)| (x + dx, y + dy)).collect::<Vec<_>>();
    let box_corners = [(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half)];
    let outline = line(ink, 0, 1.5);
    match marker(series) {
        Marker::Disc => area.draw(&Circle::new((x, y), r, fill(ink))),
        Marker::Square => area.draw(&Polygon::new(corners(&box_corners[..4]), fill(ink))),
        Marker::Up => area.draw(&Polygon::new(corners(&[(0, -wide), (wide, half), (-wide, half)]), fill(ink))),
        Marker::Down => area.draw(&Polygon::new(corners(&[(0, wide), (wide, -half), (-wide, -half)]), fill(ink))),
        Marker::Diamond => {
            area.draw(&Polygon::new(corners(&[(0, -wide), (wide, 0), (0, wide), (-wide, 0)]), fill(ink)))
        }
        Marker::Ring => {
            area.draw(&Circle::new((x, y), r, fill(Ink::Ground)))?;
            area.draw(&Circle::new((x, y), half, outline))
        }
        Marker::Cross => {
            area.draw(&PathElement::new(corners(&[(-half, -half), (half, half)]), outline))?;
            area.draw(&PathElement::new(corners(&[(-half, half), (half, -half)]), outline))
        }
        Marker::Box => {
            area.draw(&Polygon::new(corners(&box_corners[..4]), fill(Ink::Ground)))?;
            area.draw(&PathElement::new(corners(&box_corners), outline))
        }
    }
}

/// Labels of an axis that shows counts.
pub(crate) fn count_label(value: f64) -> String {
    let (scaled, unit) = [(1e9, "G"), (1e6, "M"), (1e3, "k")]
        .iter()
        .find(|(size, _)| value >= *size)
        .map_or((value, ""), |(size, unit)| (value / size, *unit));
    let text = if scaled >= 1.0 { fixed(scaled, usize::from(scaled.fract() > 0.01)) } else { significant(scaled) };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_exactly_at_the_ends_of_the_axis() {
        let pieces = clip(&[(0.0, -1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 3.0)], (0.0, 2.0));
        assert_eq!(pieces, vec![vec![(1.0, 0.0), (2.0, 1.0), (3.0, 1.0), (3.5, 2.0)]]);
        assert!(clip(&[(0.0, 5.0), (1.0, 5.0)], (0.0, 2.0)).is_empty());
    }

    #[test]
    fn ticks_of_a_linear_axis_are_round_numbers_inside_it() {
        let labels = |axis: Axis| axis.ticks.into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(Axis::linear(0.0, 100.0, 5, "")), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(Axis::linear(85.1, 88.4, 4, "")), ["86", "87", "88"]);
        assert_eq!(labels(Axis::linear(0.3, 0.3, 2, "")).first().unwrap(), "0.28");
    }

    #[test]
    fn steps_get_ticks_at_powers_of_two_and_at_the_last() {
        let labels = |last| Axis::steps(last, "").ticks.into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(32), ["1", "2", "4", "8", "16", "32"]);
        assert_eq!(labels(50), ["1", "2", "4", "8", "16", "50"]);
        assert_eq!(labels(100), ["1", "2", "4", "8", "16", "32", "100"]);
    }

    #[test]
    fn axes_of_equal_or_missing_values_have_a_width() {
        for axis in [
            Axis::fit([2.0, 2.0], 4, ""),
            Axis::fit([0.0], 4, ""),
            Axis::fit([f64::NAN], 4, ""),
            Axis::log10([5.0], "", count_label),
            Axis::log10([], "", count_label),
            Axis::steps(0, ""),
        ] {
            assert!(axis.range.1 > axis.range.0, "{axis:?}");
        }
    }

    #[test]
    fn marks_without_finite_values_draw_nothing_and_do_not_fail() {
        let chart = Chart {
            title: String::new(),
            x: Axis::linear(0.0, 1.0, 4, "x"),
            y: Axis::linear(0.0, 1.0, 4, "y"),
            marks: vec![Mark::Dots {
                points: vec![[f64::NAN, 0.5], [0.5, f64::INFINITY]],
                ink: Ink::Series(0),
                radius_px: 2.0,
                opacity: 1.0,
            }],
        };
        let image = svg(&chart, (200, 100), "a <label>").unwrap();
        assert!(!image.contains("stroke-linecap"), "{image}");
        assert!(image.contains("aria-label=\"a &lt;label&gt;\""));
    }
}
