//! Standalone figures: charts side by side above a legend, one file per theme.
//!
//! Draws with [`crate::chart`]; what is drawn comes from [`crate::figure`], [`crate::law`] and [`crate::loss`].

use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::canvas::{UNIT, fill, style};
use crate::chart::{Chart, draw, draw_marker, draw_svg, words};
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

/// Columns of a legend, and the characters of a label that fit one.
const LEGEND_COLUMNS: usize = 4;
const LEGEND_CHARACTERS: usize = 28;

/// Half of the room between two charts, in pixels.
const GAP: i32 = 8;

/// Charts row by row, over a legend of the series that they share.
///
/// - `name`: of the files: `NAME-light.svg`
/// - `label`: what they show, for those who cannot see it
/// - `n_columns`: charts of a row
/// - `legend`: name of each series
pub(crate) fn sheet(
    name: &str,
    label: &str,
    charts: &[Chart],
    n_columns: usize,
    legend: &[&str],
) -> Result<Vec<Figure>, ReportError> {
    let n_rows = charts.len().div_ceil(n_columns).max(1);
    let (width, height) = (880, if n_columns > 2 { 250 } else { 320 });
    let legend_rows = legend.len().div_ceil(LEGEND_COLUMNS) as i32;
    let panels = height * n_rows as i32;
    let size = ((width * UNIT) as u32, ((panels + 14 + 20 * legend_rows + 24) * UNIT) as u32);
    let body = draw_svg(size, label, |area| {
        area.draw(&Rectangle::new([(0, 0), (size.0 as i32, size.1 as i32)], fill(Ink::Ground)))?;
        let inner = area.margin(12 * UNIT, 12 * UNIT, 16 * UNIT, 8 * UNIT);
        let (top, bottom) = inner.split_vertically(panels * UNIT);
        for (i, (chart, panel)) in charts.iter().zip(top.split_evenly((n_rows, n_columns))).enumerate() {
            let gap = |inner: bool| if inner { GAP * UNIT } else { 0 };
            let below = gap(i / n_columns + 1 < n_rows);
            draw(chart, &panel.margin(0, below, gap(i % n_columns > 0), gap((i + 1) % n_columns > 0)))?;
        }
        for (i, name) in legend.iter().enumerate() {
            let column = (width - 24) / LEGEND_COLUMNS as i32;
            let x = (i % LEGEND_COLUMNS) as i32 * column * UNIT;
            let y = (18 + 20 * (i / LEGEND_COLUMNS) as i32) * UNIT;
            let mut stroke = style(Ink::Series(i), 2 * UNIT as u32);
            stroke.color = crate::canvas::colour(Ink::Series(i), i, 1.0);
            bottom.draw(&PathElement::new(vec![(x, y), (x + 26 * UNIT, y)], stroke))?;
            draw_marker(&bottom, (x + 13 * UNIT, y), i)?;
            let text = words(Ink::Text, false).pos(Pos::new(HPos::Left, VPos::Center));
            bottom.draw(&Text::new(shorten(name, LEGEND_CHARACTERS), (x + 33 * UNIT, y), text))?;
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

fn shorten(text: &str, n_characters: usize) -> String {
    if text.chars().count() <= n_characters {
        return text.to_owned();
    }
    text.chars().take(n_characters - 1).chain(['…']).collect()
}
