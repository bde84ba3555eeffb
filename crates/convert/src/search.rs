//! `kappa = "auto"`: the κ of a grid whose spiking network decides best on samples set aside for that.

use anyhow::Result;
use datasets::LabelledImages;
use model::config::ConvertConfig;
use report::record::{ConversionRecord, KappaTrial};
use snn::{Engine as _, EventEngine, NetworkError, RunSettings, Sample, SpikingNetwork};

/// Converts with every κ of the grid, scores each, and returns the best with all trials.
///
/// The κ with the highest accuracy after `settings.n_steps` steps sets the mark. Of all that cannot be told from it (on the
/// same samples, at most one standard error of the paired difference behind), the one with the highest mean accuracy over
/// all steps until then wins, which settles soonest; the smallest among equals, which spikes least. Without that, a sample
/// or two would decide where several values are past the steep part of their curves.
///
/// - `convert`: makes the spiking network of a κ
///
/// A κ whose weights are too large for exact sums is passed over: without data, λ grows with 1/κ from layer to layer.
///
/// # Errors
/// If no κ gives a network, or conversion fails for another reason.
pub fn best_kappa(
    config: &ConvertConfig,
    settings: &RunSettings,
    samples: &LabelledImages,
    convert: impl Fn(f64) -> Result<SpikingNetwork>,
    progress: bool,
) -> Result<(f64, Vec<KappaTrial>)> {
    let template = "convert  {wide_bar} {percent}% κ = {msg}";
    let bar = model::progress::bar(config.kappa_grid.len() as u64, template, progress);
    let images: Vec<Vec<f32>> = (0..samples.len()).map(|index| samples.image(index)).collect();
    let inputs = Sample::consecutive(0, &images);
    let mut trials = Vec::with_capacity(config.kappa_grid.len());
    let mut too_large = None;
    for &kappa in &config.kappa_grid {
        bar.set_message(kappa.to_string());
        let network = match convert(kappa) {
            Ok(network) => network,
            Err(error) if matches!(error.downcast_ref(), Some(NetworkError::TooLarge { .. })) => {
                too_large = Some(error);
                bar.inc(1);
                continue;
            }
            Err(error) => return Err(error),
        };
        let traces = EventEngine::new(&network).run(&inputs, settings)?;
        let mut trial = Trial { kappa, right: Vec::with_capacity(samples.len()), n_right_at_all_steps: 0 };
        for (trace, &label) in traces.iter().zip(samples.labels()) {
            let right = |decision: &usize| *decision == usize::from(label);
            let decisions = trace.decisions();
            trial.right.push(decisions.last().is_some_and(right));
            trial.n_right_at_all_steps += decisions.iter().filter(|decision| right(decision)).count();
        }
        trials.push(trial);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(error) = too_large.filter(|_| trials.is_empty()) {
        return Err(error.context("no κ of convert.kappa_grid gives a network"));
    }
    let record =
        |trial: &Trial| KappaTrial { kappa: trial.kappa, accuracy: trial.n_right() as f64 / samples.len() as f64 };
    Ok((best(&trials).kappa, trials.iter().map(record).collect()))
}

/// What one κ gives.
#[derive(Debug, Clone, PartialEq)]
struct Trial {
    kappa: f64,
    /// Whether each sample is decided rightly after the last step.
    right: Vec<bool>,
    /// Right decisions at all steps together.
    n_right_at_all_steps: usize,
}

impl Trial {
    fn n_right(&self) -> usize {
        self.right.iter().filter(|right| **right).count()
    }

    /// Whether it is at most one standard error behind another on the same samples: the difference of two counts of
    /// right decisions comes from the samples that only one of them decides rightly, and its standard error is the root
    /// of their number (McNemar 1947).
    fn is_near(&self, other: &Self) -> bool {
        let n_different = self.right.iter().zip(&other.right).filter(|(a, b)| a != b).count();
        other.n_right() as f64 - self.n_right() as f64 <= (n_different as f64).sqrt()
    }
}

/// What the user should know if a better κ may lie outside the grid; `None` if the best one is inside, or nothing was tried.
pub fn end_of_grid_note(conversion: &ConversionRecord) -> Option<String> {
    let (kappa, trials) = (conversion.kappa?, &conversion.kappa_search);
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

fn best(trials: &[Trial]) -> &Trial {
    let highest = trials.iter().max_by_key(|trial| trial.n_right()).expect("the grid is not empty");
    let near = trials.iter().filter(|trial| trial.is_near(highest));
    let better =
        |a: &&Trial, b: &&Trial| a.n_right_at_all_steps.cmp(&b.n_right_at_all_steps).then(b.kappa.total_cmp(&a.kappa));
    near.max_by(better).expect("the highest is near itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_best_kappa_at_an_end_of_the_grid_is_pointed_out() {
        let note = |kappa: Option<f64>, tried: &[f64]| {
            end_of_grid_note(&ConversionRecord {
                method: "norm".to_owned(),
                p: Some(4.0),
                kappa,
                kappa_search: tried.iter().map(|&kappa| KappaTrial { kappa, accuracy: 0.5 }).collect(),
                compensate: true,
                initial_potential: 0.5,
                calibrate: "none".to_owned(),
                n_calibration: 0,
                layers: Vec::new(),
            })
        };
        let grid = [0.1, 0.2, 0.3];
        assert!(note(Some(0.1), &grid).unwrap().contains("smallest"));
        assert!(note(Some(0.3), &grid).unwrap().contains("largest"));
        assert_eq!(note(Some(0.2), &grid), None);
        assert_eq!(note(Some(0.4), &[]), None);
        assert_eq!(note(None, &[]), None);
    }

    /// - `trials`: κ, the samples decided rightly at the end, right decisions at all steps
    fn best_of(trials: &[(f64, std::ops::Range<usize>, usize)]) -> f64 {
        let trial = |(kappa, right, n_right_at_all_steps): &(f64, std::ops::Range<usize>, usize)| Trial {
            kappa: *kappa,
            right: (0..100).map(|sample| right.contains(&sample)).collect(),
            n_right_at_all_steps: *n_right_at_all_steps,
        };
        best(&trials.iter().map(trial).collect::<Vec<_>>()).kappa
    }

    #[test]
    fn the_kappa_that_settles_soonest_wins_among_those_that_cannot_be_told_from_the_most_accurate() {
        // 0.2: 10 right that the best has wrong, 14 the other way: 4 behind, standard error √24. 0.3: 10 behind, √10.
        assert_eq!(best_of(&[(0.1, 0..90, 500), (0.2, 14..100, 700), (0.3, 0..80, 800)]), 0.2);
    }

    #[test]
    fn the_smallest_kappa_wins_among_equals() {
        assert_eq!(best_of(&[(0.5, 0..90, 700), (0.2, 0..90, 600), (0.3, 0..90, 700)]), 0.3);
    }
}
