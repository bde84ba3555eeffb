//! `kappa = "auto"` and `scale = "auto"`: the value of a grid whose spiking network decides best on samples set aside for that.

use anyhow::{Result, bail};
use datasets::LabelledImages;
use engine_event::EventEngine;
use results::record::ConversionRecord;
use snn::{Engine as _, NetworkError, RunSettings, Sample, SpikingNetwork};

/// What sets the thresholds and is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knob {
    /// Noise-to-threshold ratio κ.
    Kappa,
    /// Factor on every hidden λ.
    Scale,
}

impl Knob {
    /// Name of its key.
    fn key(self) -> &'static str {
        match self {
            Self::Kappa => "kappa",
            Self::Scale => "scale",
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Kappa => "κ",
            Self::Scale => "scale",
        }
    }

    /// Whether a value makes lower thresholds than another.
    fn is_lower(self, a: f64, b: f64) -> bool {
        match self {
            Self::Kappa => a > b,
            Self::Scale => a < b,
        }
    }
}

/// A value that was tried and the accuracy of its network, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried {
    /// The value.
    pub value: f64,
    /// On the samples set aside.
    pub accuracy: f64,
}

/// Converts with every value of the grid, scores each, and returns the best with all trials.
///
/// The value with the highest accuracy after `settings.n_steps` steps sets the mark. Of all that cannot be told from it (on the
/// same samples, at most one standard error of the paired difference behind), the one with the highest mean accuracy over
/// all steps until then wins, which settles soonest; among equals the one of the highest thresholds, which spikes least. Without
/// that, a sample or two would decide where several values are past the steep part of their curves.
///
/// - `grid`: the values
/// - `settings`: of the runs, whose last step is the one aimed at
/// - `samples`: what they are judged on
/// - `convert`: makes the spiking network of a value
///
/// A value whose weights are too large for exact sums is passed over: without data, λ grows with 1/κ from layer to layer.
///
/// # Errors
/// If no value gives a network, or none a network that decides better than chance: there would be nothing to choose by. If
/// conversion fails for another reason.
pub fn best(
    knob: Knob,
    grid: &[f64],
    settings: &RunSettings,
    samples: &LabelledImages,
    convert: impl Fn(f64) -> Result<SpikingNetwork>,
    progress: bool,
) -> Result<(f64, Vec<Tried>)> {
    let bar = cli::progress::bar(grid.len() as u64, "convert  {wide_bar} {percent}% {msg}", progress);
    let images: Vec<Vec<f32>> = (0..samples.len()).map(|index| samples.image(index)).collect();
    let inputs = Sample::consecutive(0, &images);
    let mut trials = Vec::with_capacity(grid.len());
    let mut too_large = None;
    for &value in grid {
        bar.set_message(format!("{} = {value}", knob.symbol()));
        let network = match convert(value) {
            Ok(network) => network,
            Err(error) if matches!(error.downcast_ref(), Some(NetworkError::TooLarge { .. })) => {
                too_large = Some(error);
                bar.inc(1);
                continue;
            }
            Err(error) => return Err(error),
        };
        let traces = EventEngine::new(&network).run(&inputs, settings)?;
        let mut trial = Trial { value, right: Vec::with_capacity(samples.len()), n_right_at_all_steps: 0 };
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
        return Err(error.context(format!("no {} of convert.{}_grid gives a network", knob.symbol(), knob.key())));
    }
    let best = best_of(knob, &trials);
    if !beats_chance(&trials, samples) {
        bail!(at_chance(knob, grid, best, samples, settings.n_steps));
    }
    let tried = |trial: &Trial| Tried { value: trial.value, accuracy: trial.n_right() as f64 / samples.len() as f64 };
    Ok((best.value, trials.iter().map(tried).collect()))
}

/// What one value gives.
#[derive(Debug, Clone, PartialEq)]
struct Trial {
    value: f64,
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

/// Right decisions of a network that always names the most frequent class.
fn most_frequent(samples: &LabelledImages) -> usize {
    let mut counts = vec![0; samples.n_classes()];
    samples.labels().iter().for_each(|&label| counts[usize::from(label)] += 1);
    counts.into_iter().max().unwrap_or_default()
}

/// Whether the most accurate value is more than three standard errors above always naming the most frequent class.
fn beats_chance(trials: &[Trial], samples: &LabelledImages) -> bool {
    let n = samples.len() as f64;
    let chance = most_frequent(samples) as f64;
    let standard_error = (chance * (1.0 - chance / n)).sqrt();
    trials.iter().any(|trial| trial.n_right() as f64 > chance + 3.0 * standard_error)
}

fn at_chance(knob: Knob, grid: &[f64], best: &Trial, samples: &LabelledImages, n_steps: usize) -> String {
    let percent = |n: usize| format!("{:.1} %", 100.0 * n as f64 / samples.len() as f64);
    let (lower, symbol, key) = (if knob == Knob::Kappa { "larger" } else { "smaller" }, knob.symbol(), knob.key());
    format!(
        "`{key} = \"auto\"`: no {symbol} of {grid:?} decides better than chance after T = {n_steps} steps: {} of {} training samples \
         are right, and {} would be by always naming the most frequent class; give convert.{key}_grid {lower} values, which \
         lower the thresholds, or raise convert.target_steps",
        percent(best.n_right()),
        samples.len(),
        percent(most_frequent(samples)),
    )
}

/// What the user should know if a better value may lie outside a grid; `None` if the best one is inside, or nothing was tried.
pub fn end_of_grid_note(conversion: &ConversionRecord) -> Option<String> {
    let kappas: Vec<f64> = conversion.kappa_search.iter().map(|trial| trial.kappa).collect();
    let kappa = conversion.kappa.and_then(|chosen| end_of_grid(Knob::Kappa, chosen, &kappas));
    kappa.or_else(|| {
        let search = conversion.scale_search.as_ref()?;
        let scales: Vec<f64> = search.trials.iter().map(|trial| trial.scale).collect();
        end_of_grid(Knob::Scale, search.scale, &scales)
    })
}

fn end_of_grid(knob: Knob, chosen: f64, tried: &[f64]) -> Option<String> {
    let smaller = tried.iter().any(|value| *value < chosen);
    let larger = tried.iter().any(|value| *value > chosen);
    let end = match (smaller, larger) {
        (false, true) => "smallest",
        (true, false) => "largest",
        _ => return None,
    };
    let (symbol, key) = (knob.symbol(), knob.key());
    Some(format!("{symbol} = {chosen} is the {end} that `{key} = \"auto\"` tried; widen convert.{key}_grid"))
}

fn best_of(knob: Knob, trials: &[Trial]) -> &Trial {
    let highest = trials.iter().max_by_key(|trial| trial.n_right()).expect("the grid is not empty");
    let near = trials.iter().filter(|trial| trial.is_near(highest));
    let spikes_less = |a: &Trial, b: &Trial| knob.is_lower(b.value, a.value).cmp(&knob.is_lower(a.value, b.value));
    let better =
        |a: &&Trial, b: &&Trial| a.n_right_at_all_steps.cmp(&b.n_right_at_all_steps).then_with(|| spikes_less(a, b));
    near.max_by(better).expect("the highest is near itself")
}

#[cfg(test)]
mod tests {
    use results::record::{KappaTrial, ScaleSearch, ScaleTrial};

    use super::*;

    fn record(kappa: Option<f64>, kappas: &[f64], scale_search: Option<ScaleSearch>) -> ConversionRecord {
        ConversionRecord {
            method: "norm".to_owned(),
            p: Some(4.0),
            kappa,
            kappa_search: kappas.iter().map(|&kappa| KappaTrial { kappa, accuracy: 0.5 }).collect(),
            compensate: true,
            initial_potential: 0.5,
            calibrate: "none".to_owned(),
            n_calibration: 0,
            layers: Vec::new(),
            scale_search,
        }
    }

    #[test]
    fn a_best_value_at_an_end_of_its_grid_is_pointed_out() {
        let note = |kappa: Option<f64>, tried: &[f64]| end_of_grid_note(&record(kappa, tried, None));
        let grid = [0.1, 0.2, 0.3];
        assert!(note(Some(0.1), &grid).unwrap().contains("κ = 0.1 is the smallest that `kappa = \"auto\"` tried"));
        assert!(note(Some(0.3), &grid).unwrap().contains("largest"));
        assert_eq!(note(Some(0.2), &grid), None);
        assert_eq!(note(Some(0.4), &[]), None);
        assert_eq!(note(None, &[]), None);
        let of_scale = |scale: f64| {
            let trials = grid.iter().map(|&scale| ScaleTrial { scale, accuracy: 0.5 }).collect();
            end_of_grid_note(&record(Some(0.4), &[], Some(ScaleSearch { scale, trials })))
        };
        let note = "scale = 0.3 is the largest that `scale = \"auto\"` tried; widen convert.scale_grid";
        assert_eq!((of_scale(0.3).as_deref(), of_scale(0.2)), (Some(note), None));
    }

    /// - `trials`: the value, the samples decided rightly at the end, right decisions at all steps
    fn best_value(knob: Knob, trials: &[(f64, std::ops::Range<usize>, usize)]) -> f64 {
        let trial = |(value, right, n_right_at_all_steps): &(f64, std::ops::Range<usize>, usize)| Trial {
            value: *value,
            right: (0..100).map(|sample| right.contains(&sample)).collect(),
            n_right_at_all_steps: *n_right_at_all_steps,
        };
        best_of(knob, &trials.iter().map(trial).collect::<Vec<_>>()).value
    }

    #[test]
    fn the_value_that_settles_soonest_wins_among_those_that_cannot_be_told_from_the_most_accurate() {
        // 0.2: 14 right that the best has wrong, 10 the other way: 4 behind, standard error √24. 0.3: 10 behind, √10.
        for knob in [Knob::Kappa, Knob::Scale] {
            assert_eq!(best_value(knob, &[(0.1, 0..90, 500), (0.2, 14..100, 700), (0.3, 0..80, 800)]), 0.2);
        }
    }

    #[test]
    fn values_that_decide_like_always_naming_a_class_are_no_better_than_chance() {
        // 60 of 100 are of class 1, standard error √(60 · 0.4) = 4.9.
        let labels = (0..100).map(|sample| u16::from(sample < 60)).collect();
        let samples = LabelledImages::from_parts([1, 1, 1], 255, 2, vec![0; 100], labels).unwrap();
        assert_eq!(most_frequent(&samples), 60);
        let of = |n: usize| Trial { value: 0.1, right: (0..100).map(|i| i < n).collect(), n_right_at_all_steps: n };
        assert!(!beats_chance(&[of(40), of(60), of(74)], &samples));
        assert!(beats_chance(&[of(40), of(75)], &samples));
    }

    #[test]
    fn the_value_of_the_highest_thresholds_wins_among_equals() {
        let trials = [(0.5, 0..90, 700), (0.2, 0..90, 600), (0.3, 0..90, 700)];
        assert_eq!(best_value(Knob::Kappa, &trials), 0.3);
        assert_eq!(best_value(Knob::Scale, &trials), 0.5);
    }
}
