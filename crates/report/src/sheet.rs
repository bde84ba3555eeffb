//! Standalone figures: charts side by side above a legend, one file per theme.
//!
//! Draws with [`crate::chart`]; what is drawn comes from [`crate::figure`], [`crate::factor`], [`crate::law`], [`crate::loss`] and
//! [`crate::severity`].

use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::canvas::{UNIT, fill, style};
use crate::chart::{Area, Chart, Failure, draw, draw_marker, draw_svg, words};
use crate::error::ReportError;
use crate::palette::{Colours, DARK_COLOURS, Ink, LIGHT_COLOURS};

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

/// Columns of a legend, and the characters of a label that fit one: as many columns as hold the longest label.
const LEGENDS: [(usize, usize); 3] = [(4, 28), (3, 40), (2, 64)];

/// Width of a figure, in pixels.
const WIDTH: i32 = 880;

/// Half of the room between two charts, in pixels.
const GAP: i32 = 8;

/// Charts row by row over a legend of the series that they share.
pub(crate) struct Group {
    /// Heading; may be empty.
    pub title: String,
    /// The charts.
    pub charts: Vec<Chart>,
    /// Charts of a row.
    pub n_columns: usize,
    /// Height of a row in pixels; `None` for the usual one of so many columns.
    pub row_height: Option<i32>,
    /// Name of each series.
    pub legend: Vec<String>,
}

impl Group {
    fn n_rows(&self) -> usize {
        self.charts.len().div_ceil(self.n_columns).max(1)
    }

    fn heading(&self) -> i32 {
        if self.title.is_empty() { 0 } else { 24 }
    }

    fn panels_height(&self) -> i32 {
        let usual = if self.n_columns > 2 { 250 } else { 320 };
        self.heading() + self.n_rows() as i32 * self.row_height.unwrap_or(usual)
    }

    fn legend_columns(&self) -> (usize, usize) {
        let longest = self.legend.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        LEGENDS.into_iter().find(|(_, fit)| longest <= *fit).unwrap_or(LEGENDS[2])
    }

    /// In pixels of the figure's natural size.
    fn height(&self) -> i32 {
        self.panels_height() + 14 + 20 * self.legend.len().div_ceil(self.legend_columns().0) as i32
    }

    fn draw(&self, area: &Area<'_, '_>) -> Result<(), Failure> {
        let (top, bottom) = area.split_vertically(self.panels_height() * UNIT);
        let (heading, top) = top.split_vertically(self.heading() * UNIT);
        if !self.title.is_empty() {
            heading.draw(&Text::new(self.title.clone(), (0, 4 * UNIT), words(Ink::Text, true)))?;
        }
        let (n_rows, n_columns) = (self.n_rows(), self.n_columns);
        for (i, (chart, panel)) in self.charts.iter().zip(top.split_evenly((n_rows, n_columns))).enumerate() {
            let gap = |inner: bool| if inner { GAP * UNIT } else { 0 };
            let below = gap(i / n_columns + 1 < n_rows);
            draw(chart, &panel.margin(0, below, gap(i % n_columns > 0), gap((i + 1) % n_columns > 0)))?;
        }
        let (n_columns, n_characters) = self.legend_columns();
        for (i, name) in self.legend.iter().enumerate() {
            let column = (WIDTH - 24) / n_columns as i32;
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

/// Groups of charts, one below the other.
///
/// - `name`: of the files: `NAME-light.svg`
/// - `label`: what they show, for those who cannot see it
pub(crate) fn sheet(name: &str, label: &str, groups: &[Group]) -> Result<Vec<Figure>, ReportError> {
    let height: i32 = groups.iter().map(Group::height).sum();
    let size = ((WIDTH * UNIT) as u32, ((height + 24) * UNIT) as u32);
    let body = draw_svg(size, label, |area| {
        area.draw(&Rectangle::new([(0, 0), (size.0 as i32, size.1 as i32)], fill(Ink::Ground)))?;
        let mut rest = area.margin(12 * UNIT, 12 * UNIT, 16 * UNIT, 8 * UNIT);
        for group in groups {
            let (own, below) = rest.split_vertically(group.height() * UNIT);
            group.draw(&own)?;
            rest = below;
        }
        Ok(())
    })?;
    Ok(themed(name, &body, size))
}

/// A drawing as standalone files, one per theme, `NAME-light.svg` and `NAME-dark.svg`.
pub(crate) fn themed(name: &str, body: &str, size: (u32, u32)) -> Vec<Figure> {
    let themes = [(Theme::Light, "light", &LIGHT_COLOURS), (Theme::Dark, "dark", &DARK_COLOURS)];
    let figure = |(theme, ground, colours)| Figure {
        file_name: format!("{name}-{ground}.svg"),
        theme,
        svg: standalone(body, size, colours),
    };
    themes.into_iter().map(figure).collect()
}

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

/// The text, or as much of its beginning as fits so many characters.
pub(crate) fn shorten(text: &str, n_characters: usize) -> String {
    if text.chars().count() <= n_characters {
        return text.to_owned();
    }
    text.chars().take(n_characters - 1).chain(['…']).collect()
}
