//! `kappa = "auto"`: the κ of a grid whose spiking network decides best on samples set aside for that.

use anyhow::Result;
use datasets::LabelledImages;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::config::ConvertConfig;
use report::record::KappaTrial;
use snn::{Engine as _, EventEngine, RunSettings, Sample, SpikingNetwork};

/// Converts with every κ of the grid, scores each after `settings.n_steps` steps, and returns the best with all trials.
///
/// Among equals the smallest κ wins: it spikes least.
///
/// - `convert`: makes the spiking network of a κ
///
/// # Errors
/// If a κ gives no network.
pub fn best_kappa(
    config: &ConvertConfig,
    settings: &RunSettings,
    samples: &LabelledImages,
    convert: impl Fn(f64) -> Result<SpikingNetwork>,
    progress: bool,
) -> Result<(f64, Vec<KappaTrial>)> {
    let target = if progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("convert  {wide_bar} {percent}% κ = {msg}").expect("a valid template");
    let bar = ProgressBar::with_draw_target(Some(config.kappa_grid.len() as u64), target).with_style(style);
    let images: Vec<Vec<f32>> = (0..samples.len()).map(|index| samples.image(index)).collect();
    let inputs: Vec<Sample<'_>> =
        images.iter().enumerate().map(|(index, pixels)| Sample { index: index as u32, pixels }).collect();
    let mut trials = Vec::with_capacity(config.kappa_grid.len());
    for &kappa in &config.kappa_grid {
        bar.set_message(kappa.to_string());
        let traces = EventEngine::new(&convert(kappa)?).run(&inputs, settings)?;
        let right = traces
            .iter()
            .zip(samples.labels())
            .filter(|(trace, label)| trace.decisions().last() == Some(&usize::from(**label)));
        trials.push(KappaTrial { kappa, accuracy: right.count() as f64 / samples.len() as f64 });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((best(&trials), trials))
}

/// What the user should know if a better κ may lie outside the grid; `None` if the best one is inside, or nothing was tried.
pub fn end_of_grid_note(kappa: f64, trials: &[KappaTrial]) -> Option<String> {
    let beyond = |bound: f64, end: &str| {
        format!("κ = {bound} is the {end} that `kappa = \"auto\"` tried; widen convert.kappa_grid")
    };
    let smaller = trials.iter().any(|trial| trial.kappa < kappa);
    let larger = trials.iter().any(|trial| trial.kappa > kappa);
    match (smaller, larger) {
        (false, true) => Some(beyond(kappa, "smallest")),
        (true, false) => Some(beyond(kappa, "largest")),
        _ => None,
    }
}

fn best(trials: &[KappaTrial]) -> f64 {
    let better = |a: &&KappaTrial, b: &&KappaTrial| a.accuracy.total_cmp(&b.accuracy).then(b.kappa.total_cmp(&a.kappa));
    trials.iter().max_by(better).expect("the grid is not empty").kappa
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_best_kappa_at_an_end_of_the_grid_is_pointed_out() {
        let trials = [0.1, 0.2, 0.3].map(|kappa| KappaTrial { kappa, accuracy: 0.5 });
        assert!(end_of_grid_note(0.1, &trials).unwrap().contains("smallest"));
        assert!(end_of_grid_note(0.3, &trials).unwrap().contains("largest"));
        assert_eq!(end_of_grid_note(0.2, &trials), None);
        assert_eq!(end_of_grid_note(0.4, &[]), None);
    }

    #[test]
    fn the_smallest_kappa_wins_among_the_most_accurate() {
        let trials =
            [(0.5, 0.9), (0.2, 0.8), (0.3, 0.9), (0.4, 0.9)].map(|(kappa, accuracy)| KappaTrial { kappa, accuracy });
        assert!((best(&trials) - 0.3).abs() < f64::EPSILON);
    }
}
