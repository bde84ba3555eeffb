//! Colours, dashes and marker shapes, and the style sheet that gives them to figures.
//!
//! Figures name an [`Ink`]; only style sheets know colours. So one SVG serves a light and a dark page, and a
//! standalone file carries the sheet of its theme.

use std::fmt::Write as _;

/// Number of series colours; later series reuse them with another marker.
pub(crate) const N_COLOURS: usize = 8;

/// Series colours on a light ground. After Okabe and Ito's colour-blind-safe set, darkened to a contrast of at
/// least 3:1 against white (WCAG 2.2, graphical objects).
const LIGHT: [&str; N_COLOURS] =
    ["#0063a6", "#c44e00", "#00805e", "#b0468a", "#8a6a00", "#1f8fc4", "#6a4fb3", "#5c5c5c"];
/// The same hues on a dark ground.
const DARK: [&str; N_COLOURS] =
    ["#5aaef5", "#f58a4b", "#3cc79b", "#e58cc4", "#dfb23c", "#8adcff", "#ab9cf5", "#b9b9b9"];

/// Dash patterns, in units of the figure's stroke grid (four per pixel); the first is a full line.
const DASHES: [&str; N_COLOURS] = ["", "28 14", "6 12", "32 10 6 10", "14 10", "44 12", "20 8 6 8 6 8", "4 8"];

/// What a mark is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// A series, by number.
    Series(usize),
    /// The network before conversion.
    Ann,
    /// Axes and ticks.
    Axis,
    /// Grid lines.
    Grid,
    /// Words.
    Text,
    /// The ground the figure stands on.
    Ground,
}

/// Number of inks: the series colours and the five others.
const N_INKS: u8 = N_COLOURS as u8 + 5;

impl Ink {
    /// The ink's number, which stands for it inside a plotting library's colour.
    pub fn code(self) -> u8 {
        match self {
            Self::Series(i) => (i % N_COLOURS) as u8,
            Self::Ann => N_COLOURS as u8,
            Self::Axis => N_COLOURS as u8 + 1,
            Self::Grid => N_COLOURS as u8 + 2,
            Self::Text => N_COLOURS as u8 + 3,
            Self::Ground => N_COLOURS as u8 + 4,
        }
    }
}

/// Colours of one theme.
pub(crate) struct Colours {
    /// Series colours.
    pub series: [&'static str; N_COLOURS],
    /// The ANN's line.
    pub ann: &'static str,
    /// Axes and ticks.
    pub axis: &'static str,
    /// Grid lines.
    pub grid: &'static str,
    /// Words in figures.
    pub text: &'static str,
    /// The ground.
    pub ground: &'static str,
}

/// On a light ground.
pub(crate) const LIGHT_COLOURS: Colours =
    Colours { series: LIGHT, ann: "#111418", axis: "#7a828c", grid: "#e4e7eb", text: "#3d444d", ground: "#ffffff" };
/// On a dark ground; GitHub's own dark ground, so that a README's figure has no visible edge there.
pub(crate) const DARK_COLOURS: Colours =
    Colours { series: DARK, ann: "#f3f5f7", axis: "#7b8591", grid: "#262d36", text: "#c3cad3", ground: "#0d1117" };

impl Colours {
    fn by_code(&self) -> [&'static str; N_INKS as usize] {
        let s = self.series;
        [s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], self.ann, self.axis, self.grid, self.text, self.ground]
    }

    /// The theme as custom properties `--k0` … of a style sheet.
    pub fn properties(&self) -> String {
        let mut css = String::new();
        for (code, colour) in self.by_code().iter().enumerate() {
            let _ = write!(css, "--k{code}:{colour};");
        }
        css
    }

    /// Rules for a standalone figure: the same classes as on the page, with this theme's colours.
    pub fn rules(&self) -> String {
        let colours = self.by_code();
        rules(|code| colours[code].to_owned())
    }
}

/// Rules for the page: classes that take their colour from custom properties, which follow the reader's scheme.
///
/// `s3` strokes and `f3` fills with ink 3; `d3` is dash pattern 3.
pub(crate) fn page_rules() -> String {
    rules(|code| format!("var(--k{code})"))
}

fn rules(colour: impl Fn(usize) -> String) -> String {
    let mut css = String::new();
    for code in 0..usize::from(N_INKS) {
        let colour = colour(code);
        let _ = write!(css, ".s{code}{{stroke:{colour}}}.f{code}{{fill:{colour}}}");
    }
    for (i, dash) in DASHES.iter().enumerate().skip(1) {
        let _ = write!(css, ".d{i}{{stroke-dasharray:{dash}}}");
    }
    css
}

/// Marker shapes, in the order in which series take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// A filled circle.
    Disc,
    /// A filled square.
    Square,
    /// A filled triangle, point up.
    Up,
    /// A filled square on its corner.
    Diamond,
    /// A filled triangle, point down.
    Down,
    /// A ring.
    Ring,
    /// A diagonal cross.
    Cross,
    /// An empty square.
    Box,
}

/// The marker of a series: it differs from that of any other series of the same colour up to 64 series.
pub(crate) fn marker(series: usize) -> Marker {
    use Marker::{Box, Cross, Diamond, Disc, Down, Ring, Square, Up};
    [Disc, Square, Up, Diamond, Down, Ring, Cross, Box][(series + series / N_COLOURS) % N_COLOURS]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of WCAG 2.2.
    fn luminance(colour: &str) -> f64 {
        let channel = |i: usize| {
            let c = f64::from(u8::from_str_radix(&colour[i..i + 2], 16).unwrap()) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn inks_stand_out_from_their_ground() {
        /// WCAG 2.2: 3:1 for graphical objects, 4.5:1 for text.
        const GRAPHIC: f64 = 3.0;
        const WORDS: f64 = 4.5;
        for theme in [&LIGHT_COLOURS, &DARK_COLOURS] {
            for colour in theme.series.iter().chain([&theme.ann, &theme.axis]) {
                assert!(contrast(colour, theme.ground) >= GRAPHIC, "{colour} on {}", theme.ground);
            }
            assert!(contrast(theme.text, theme.ground) >= WORDS);
        }
    }

    #[test]
    fn sixty_four_series_differ_in_colour_or_marker() {
        let looks: Vec<_> = (0..64).map(|i| (Ink::Series(i).code(), marker(i))).collect();
        for (i, look) in looks.iter().enumerate() {
            assert!(!looks[..i].contains(look), "series {i}");
        }
    }
}
