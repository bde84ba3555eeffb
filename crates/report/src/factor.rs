//! Accuracy at each level of each swept factor, averaged over everything else: main effects, drawn.
//!
//! Reads [`crate::effect`]; gives a figure and a section of the page.

use crate::chart::{Axis, Chart, Mark};
use crate::effect::{Effect, effects};
use crate::error::ReportError;
use crate::finding::first_middle_last;
use crate::method::{Method, checkpoints, methods};
use crate::palette::Ink;
use crate::panel::distinct;
use crate::sheet::{Figure, Group, sheet, shorten};
use results::record::ExperimentRecord;
use results::statistic::half_width;

/// Height of the row of a level, in pixels.
const ROW_HEIGHT: f64 = 19.0;
/// Room between two factors, in rows.
const GAP: f64 = 0.6;
/// Height of everything but the rows, in pixels: words above, axis below.
const FRAME: f64 = 62.0;
/// Characters of a level's name that are shown.
const LONGEST_NAME: usize = 44;

/// Factors from top to bottom, one row for each level, one series for each step.
pub(crate) struct MainEffects {
    /// Accuracy to the right, levels from top to bottom.
    pub chart: Chart,
    /// Natural height of the chart, in pixels.
    pub height_px: i32,
    /// Name of each series.
    pub legend: Vec<String>,
}

/// Main effects at the first, the middle and the last checkpoint; `None` for fewer than two factors.
///
/// The factor that moves accuracy most, over these steps, is on top.
pub(crate) fn main_effects(record: &ExperimentRecord, methods: &[Method<'_>]) -> Option<MainEffects> {
    let steps = first_middle_last(&checkpoints(record));
    let by_step: Vec<Vec<Effect<'_>>> = steps.iter().map(|&step| effects(record, methods, step)).collect();
    let of_axis = |axis: usize| -> Vec<Option<&Effect<'_>>> {
        let is_of = |effect: &&Effect<'_>| effect.axis == &record.sweep.axes[axis];
        by_step.iter().map(|effects| effects.iter().find(is_of)).collect()
    };
    let size = |found: &[Option<&Effect<'_>>]| found.iter().flatten().map(|effect| effect.difference.mean).sum::<f64>();
    let mut factors: Vec<(usize, Vec<Option<&Effect<'_>>>)> =
        (0..record.sweep.axes.len()).map(|axis| (axis, of_axis(axis))).collect();
    factors.retain(|(_, found)| found.iter().any(Option::is_some));
    factors.sort_by(|a, b| size(&b.1).total_cmp(&size(&a.1)));
    if factors.len() < 2 {
        return None;
    }
    let levels_of =
        |axis: usize| methods.iter().filter_map(move |method| Some(method.cell?.levels.get(axis)?.as_str()));
    let levels: Vec<Vec<&str>> = factors.iter().map(|(axis, _)| distinct(levels_of(*axis))).collect();
    let n_rows = levels.iter().map(Vec::len).sum::<usize>() as f64 + GAP * levels.len() as f64;
    let (mut ticks, mut marks, mut accuracies) = (Vec::new(), Vec::new(), Vec::new());
    // Rows are counted upwards; the first is at the top.
    let mut row = n_rows + GAP / 2.0 - 0.5;
    for ((axis, found), levels) in factors.iter().zip(&levels) {
        row -= GAP;
        let heights: Vec<f64> = (0..levels.len()).map(|i| row - i as f64).collect();
        row -= levels.len() as f64;
        let name = |level: &str| shorten(&record.sweep.axes[*axis].named(level), LONGEST_NAME);
        ticks.extend(heights.iter().zip(levels).map(|(height, level)| (*height, name(level))));
        for (series, effect) in found.iter().enumerate() {
            let Some(effect) = effect else { continue };
            let ink = Ink::Series(series);
            let mut points = Vec::new();
            for (height, level) in heights.iter().zip(levels) {
                let Some((_, accuracy)) = effect.levels.iter().find(|(name, _)| name == level) else { continue };
                let (mean, half) = (accuracy.mean * 100.0, half_width(accuracy).unwrap_or(0.0) * 100.0);
                points.push([mean, *height]);
                accuracies.extend([mean - half, mean + half].map(|end| end.clamp(0.0, 100.0)));
                let interval = vec![[mean - half, *height], [mean + half, *height]];
                marks.push(Mark::Line { points: interval, ink, dash: 0, width_px: 1.0 });
            }
            marks.push(Mark::Line { points: points.clone(), ink, dash: series, width_px: 1.2 });
            marks.push(Mark::Markers { points, series });
        }
    }
    ticks.reverse();
    Some(MainEffects {
        chart: Chart {
            title: String::new(),
            x: Axis::fit(accuracies, 6, "accuracy in %"),
            y: Axis::bare(0.0, n_rows).with_ticks(ticks),
            marks,
        },
        height_px: (n_rows * ROW_HEIGHT + FRAME) as i32,
        legend: steps.iter().map(|step| format!("T = {step}")).collect(),
    })
}

/// Main effects as standalone files, `factors-light.svg` and `factors-dark.svg`; none for fewer than two factors.
///
/// A point is the mean accuracy at one level of a factor over all combinations of the others, at the first, the middle and the last
/// checkpoint; the horizontal line through it is its 95 % confidence interval (Student's t) over networks, or over simulation seeds
/// where there is one network.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn factor_figures(record: &ExperimentRecord) -> Result<Vec<Figure>, ReportError> {
    let Some(MainEffects { chart, height_px, legend }) = main_effects(record, &methods(record)) else {
        return Ok(Vec::new());
    };
    let label = format!("{}: mean accuracy at each level of each factor, averaged over all others", record.name);
    let group = Group { title: String::new(), charts: vec![chart], n_columns: 1, row_height: Some(height_px), legend };
    sheet("factors", &label, &[group])
}
