//! Measured points on straight lines, as standalone figures: for what should grow in proportion.

use plotters::element::Rectangle;

use crate::canvas::{UNIT, fill};
use crate::chart::{Axis, Chart, Mark, draw, draw_svg};
use crate::error::ReportError;
use crate::palette::Ink;
use crate::sheet::{Figure, themed};

/// Points against the least-squares line through them.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Title of the horizontal axis.
    pub x: String,
    /// Title of the vertical axis.
    pub y: String,
    /// What was measured, `[x, y]`.
    pub points: Vec<[f64; 2]>,
}

/// A straight line and how well it fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineFit {
    /// Value at zero.
    pub intercept: f64,
    /// Increase per unit.
    pub slope: f64,
    /// Share of the variance that the line explains, R².
    pub r_squared: f64,
}

impl Panel {
    /// The least-squares line; `None` with fewer than two points, or with all at the same place.
    pub fn line(&self) -> Option<LineFit> {
        let n = self.points.len() as f64;
        let mean = |axis: usize| self.points.iter().map(|point| point[axis]).sum::<f64>() / n;
        let (x, y) = (mean(0), mean(1));
        let sum = |a: usize, b: usize| {
            let of = |point: &[f64; 2], axis| if axis == 0 { point[0] - x } else { point[1] - y };
            self.points.iter().map(|point| of(point, a) * of(point, b)).sum::<f64>()
        };
        let slope = sum(0, 1) / sum(0, 0);
        slope.is_finite().then(|| LineFit {
            intercept: y - slope * x,
            slope,
            r_squared: sum(0, 1).powi(2) / (sum(0, 0) * sum(1, 1)),
        })
    }

    fn chart(&self) -> Chart {
        let last = self.points.iter().map(|point| point[0]).fold(0.0, f64::max);
        let line = self.line().map_or(Vec::new(), |LineFit { intercept, slope, .. }| {
            vec![[0.0, intercept], [last, intercept + slope * last]]
        });
        let highest = self.points.iter().map(|point| point[1]).fold(0.0, f64::max);
        Chart {
            title: String::new(),
            x: Axis::linear(0.0, 1.05 * last, 4, self.x.clone()),
            y: Axis::linear(0.0, 1.1 * highest, 4, self.y.clone()),
            marks: vec![
                Mark::Line { points: line, ink: Ink::Ann, dash: 0, width_px: 1.2 },
                Mark::Markers { points: self.points.clone(), series: 0 },
            ],
        }
    }
}

/// Panels side by side, from zero on both axes; one figure per theme, `NAME-light.svg` and `NAME-dark.svg`.
///
/// - `label`: what they show, for those who cannot see it
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn point_figures(name: &str, label: &str, panels: &[Panel]) -> Result<Vec<Figure>, ReportError> {
    const WIDTH: i32 = 290;
    const HEIGHT: i32 = 230;
    let size = ((WIDTH * panels.len() as i32 * UNIT) as u32, (HEIGHT * UNIT) as u32);
    let body = draw_svg(size, label, |area| {
        area.draw(&Rectangle::new([(0, 0), (size.0 as i32, size.1 as i32)], fill(Ink::Ground)))?;
        for (panel, area) in panels.iter().zip(area.split_evenly((1, panels.len()))) {
            draw(&panel.chart(), &area.margin(8 * UNIT, 8 * UNIT, 10 * UNIT, 10 * UNIT))?;
        }
        Ok(())
    })?;
    Ok(themed(name, &body, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(points: &[[f64; 2]]) -> Panel {
        Panel { x: "samples".to_owned(), y: "seconds".to_owned(), points: points.to_vec() }
    }

    #[test]
    fn points_on_a_line_give_that_line() {
        let line = panel(&[[1.0, 5.0], [2.0, 7.0], [4.0, 11.0]]).line().unwrap();
        assert_eq!((line.intercept, line.slope, line.r_squared), (3.0, 2.0, 1.0));
    }

    #[test]
    fn points_off_a_line_explain_less_than_all_of_the_variance() {
        // By hand: means 1 and 1, Sxy = 1, Sxx = 2, Syy = 2.
        let line = panel(&[[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]]).line().unwrap();
        assert_eq!((line.intercept, line.slope, line.r_squared), (0.5, 0.5, 0.25));
    }

    #[test]
    fn one_place_has_no_line() {
        assert_eq!(panel(&[[1.0, 1.0], [1.0, 2.0]]).line(), None);
        assert_eq!(panel(&[]).line(), None);
    }

    #[test]
    fn every_panel_stands_in_the_figure_of_either_theme() {
        let panels = [panel(&[[1.0, 5.0], [2.0, 7.0]]), panel(&[[3.0, 1.0]])];
        let figures = point_figures("scaling", "time against samples", &panels).unwrap();
        let names: Vec<&str> = figures.iter().map(|figure| figure.file_name.as_str()).collect();
        assert_eq!(names, ["scaling-light.svg", "scaling-dark.svg"]);
        assert!(figures.iter().all(|figure| figure.svg.matches("samples").count() >= 3));
    }
}
