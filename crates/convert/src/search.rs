//! `kappa = "auto"`: the κ of a grid whose spiking network decides best on samples set aside for that.

use anyhow::Result;
use datasets::LabelledImages;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::config::ConvertConfig;
use report::record::KappaTrial;
use snn::{Engine as _, EventEngine, RunSettings, Sample, SpikingNetwork};

/// Converts with every κ of the grid, scores each, and returns the best with all trials.
///
/// The best is chosen by the one-standard-error rule (Breiman et al. 1984): of the values whose accuracy after
/// `settings.n_steps` steps is within one standard error of the highest, the one with the highest mean accuracy over all
/// steps until then, which settles soonest; the smallest among equals, which spikes least. The highest accuracy alone would be
/// decided by a sample or two where several values are past the steep part of their curves.
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
        let (mut at_end, mut at_all) = (0, 0);
        for (trace, &label) in traces.iter().zip(samples.labels()) {
            let right: Vec<bool> = trace.decisions().iter().map(|decision| *decision == usize::from(label)).collect();
            at_end += usize::from(right.last() == Some(&true));
            at_all += right.iter().filter(|right| **right).count();
        }
        let n = samples.len() as f64;
        trials.push(Trial {
            kappa,
            accuracy: at_end as f64 / n,
            mean_accuracy: at_all as f64 / (n * settings.n_steps as f64),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let kappa = best(&trials, samples.len());
    Ok((kappa, trials.iter().map(|&Trial { kappa, accuracy, .. }| KappaTrial { kappa, accuracy }).collect()))
}

/// What one κ gives, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trial {
    kappa: f64,
    /// After the last step.
    accuracy: f64,
    /// Over all steps.
    mean_accuracy: f64,
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

fn best(trials: &[Trial], n_samples: usize) -> f64 {
    let highest = trials.iter().map(|trial| trial.accuracy).fold(0.0, f64::max);
    let standard_error = (highest * (1.0 - highest) / n_samples as f64).sqrt();
    let near = trials.iter().filter(|trial| trial.accuracy >= highest - standard_error);
    let better = |a: &&Trial, b: &&Trial| a.mean_accuracy.total_cmp(&b.mean_accuracy).then(b.kappa.total_cmp(&a.kappa));
    near.max_by(better).expect("the grid is not empty").kappa
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

    fn best_of(trials: &[(f64, f64, f64)]) -> f64 {
        let trials: Vec<Trial> =
            trials.iter().map(|&(kappa, accuracy, mean_accuracy)| Trial { kappa, accuracy, mean_accuracy }).collect();
        // One standard error of 0.9 on 100 samples is 0.03.
        best(&trials, 100)
    }

    #[test]
    fn the_kappa_that_settles_soonest_wins_among_those_within_a_standard_error() {
        assert_eq!(best_of(&[(0.1, 0.9, 0.5), (0.2, 0.88, 0.7), (0.3, 0.86, 0.8)]), 0.2);
    }

    #[test]
    fn the_smallest_kappa_wins_among_equals() {
        assert_eq!(best_of(&[(0.5, 0.9, 0.7), (0.2, 0.9, 0.6), (0.3, 0.9, 0.7)]), 0.3);
    }
}
