//! The surface that charts are drawn on: SVG whose colours are classes.
//!
//! A plotters backend of our own. Colours reach it as an ink and a dash number ([`style`]) and leave it as the
//! classes of [`crate::palette`]; marks of one kind that follow each other share one path, which makes a scatter
//! of hundreds of points a few kilobytes. Its unit is a quarter of a pixel, since plotters rounds to integers.

use std::convert::Infallible;
use std::fmt::Write as _;

use plotters::style::{RGBAColor, ShapeStyle};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
    FontTransform,
};

use crate::palette::Ink;

/// Canvas units per pixel of the figure's natural size.
pub(crate) const UNIT: i32 = 4;

/// An ink and a dash pattern as the colour that plotters hands through.
pub(crate) fn colour(ink: Ink, dash: usize, opacity: f64) -> RGBAColor {
    RGBAColor(ink.code(), (dash % crate::palette::N_COLOURS) as u8, 0, opacity)
}

/// A full line of an ink, `width` in canvas units.
pub(crate) fn style(ink: Ink, width: u32) -> ShapeStyle {
    ShapeStyle { color: colour(ink, 0, 1.0), filled: false, stroke_width: width }
}

/// A filled shape of an ink.
pub(crate) fn fill(ink: Ink) -> ShapeStyle {
    ShapeStyle { color: colour(ink, 0, 1.0), filled: true, stroke_width: 0 }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Stroke { width: u32 },
    Dot { radius: u32 },
    Fill,
}

struct Batch {
    kind: Kind,
    ink: (u8, u8),
    opacity: f64,
    path: String,
}

/// Writes the elements of an SVG image into a string.
pub(crate) struct Canvas<'a> {
    out: &'a mut String,
    size: (u32, u32),
    batch: Option<Batch>,
}

impl<'a> Canvas<'a> {
    /// A surface of `size` canvas units; appends to `out`.
    pub fn new(out: &'a mut String, size: (u32, u32)) -> Self {
        Self { out, size, batch: None }
    }

    fn path(&mut self, kind: Kind, colour: BackendColor) -> &mut String {
        let ink = (colour.rgb.0, colour.rgb.1);
        let same = self
            .batch
            .as_ref()
            .is_some_and(|b| b.kind == kind && b.ink == ink && b.opacity.to_bits() == colour.alpha.to_bits());
        if !same {
            self.flush();
        }
        &mut self.batch.get_or_insert_with(|| Batch { kind, ink, opacity: colour.alpha, path: String::new() }).path
    }

    fn flush(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let (ink, dash) = batch.ink;
        let dash = if dash == 0 { String::new() } else { format!(" d{dash}") };
        let _ = match batch.kind {
            Kind::Stroke { width } => {
                write!(self.out, r#"<path class="s{ink}{dash}" fill="none" stroke-width="{width}""#)
            }
            Kind::Dot { radius } => write!(
                self.out,
                r#"<path class="s{ink}" fill="none" stroke-linecap="round" stroke-width="{}""#,
                2 * radius
            ),
            Kind::Fill => write!(self.out, r#"<path class="f{ink}""#),
        };
        if batch.opacity < 1.0 {
            let _ = write!(self.out, r#" opacity="{}""#, batch.opacity);
        }
        let _ = writeln!(self.out, r#" d="{}"/>"#, batch.path);
    }

    fn polyline(
        &mut self,
        kind: Kind,
        colour: BackendColor,
        points: impl IntoIterator<Item = BackendCoord>,
        end: &str,
    ) {
        let path = self.path(kind, colour);
        let mut n_points = 0;
        for (x, y) in points {
            let _ = write!(path, "{}{x} {y}", if n_points == 0 { 'M' } else { 'L' });
            n_points += 1;
        }
        if n_points > 0 {
            path.push_str(end);
        }
    }
}

/// Text content and attribute values with the characters escaped that XML reserves.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        self.flush();
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        let _ = write!(self.path(Kind::Fill, color), "M{x} {y}h1v1h-1z");
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.polyline(Kind::Stroke { width: style.stroke_width() }, style.color(), [from, to], "");
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(&mut self, a: BackendCoord, b: BackendCoord, style: &S, fill: bool) -> Drawn {
        let kind = if fill { Kind::Fill } else { Kind::Stroke { width: style.stroke_width() } };
        let (w, h) = (b.0 - a.0, b.1 - a.1);
        let _ = write!(self.path(kind, style.color()), "M{} {}h{w}v{h}h{}z", a.0, a.1, -w);
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        self.polyline(Kind::Stroke { width: style.stroke_width() }, style.color(), path, "");
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, (x, y): BackendCoord, r: u32, style: &S, fill: bool) -> Drawn {
        if fill {
            let _ = write!(self.path(Kind::Dot { radius: r }, style.color()), "M{x} {y}h0");
        } else {
            let (r, left) = (r as i32, x - r as i32);
            let path = self.path(Kind::Stroke { width: style.stroke_width() }, style.color());
            let _ = write!(path, "M{left} {y}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z", d = 2 * r);
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, vert: I, style: &S) -> Drawn {
        self.polyline(Kind::Fill, style.color(), vert, "z");
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        self.flush();
        let anchor = match style.anchor().h_pos {
            HPos::Left => "start",
            HPos::Right => "end",
            HPos::Center => "middle",
        };
        let dy = match style.anchor().v_pos {
            VPos::Top => "0.76em",
            VPos::Center => "0.35em",
            VPos::Bottom => "-0.25em",
        };
        let turn = match style.transform() {
            FontTransform::None => None,
            FontTransform::Rotate90 => Some(90),
            FontTransform::Rotate180 => Some(180),
            FontTransform::Rotate270 => Some(270),
        };
        let _ = write!(
            self.out,
            r#"<text x="{x}" y="{y}" dy="{dy}" text-anchor="{anchor}" font-size="{}" class="f{}""#,
            style.size(),
            style.color().rgb.0
        );
        if matches!(style.style(), FontStyle::Bold) {
            self.out.push_str(r#" font-weight="600""#);
        }
        if let Some(degrees) = turn {
            let _ = write!(self.out, r#" transform="rotate({degrees} {x} {y})""#);
        }
        let _ = writeln!(self.out, ">{}</text>", escape(text));
        Ok(())
    }
}
