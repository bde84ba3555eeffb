//! Wall-clock times of the stages, kept in the run's folder: `times.json`. No result depends on them.
//!
//! Times are kept with the work that they were for, so that they can be scaled to other experiments.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use datasets::DatasetFacts;
use model::artefact::write_atomically;
use model::config::{Calibrate, DEFAULT_KAPPAS, Kappa, Measures, Scale};
use model::{Experiment, LayerKind};
use serde::{Deserialize, Serialize};

use crate::Stage;

/// Name of the file in a run's folder.
pub const FILE_NAME: &str = "times.json";

/// Multiply-accumulates of a training step over those of a decision: forward, and backward to activations and to weights.
const TRAINING_PASSES: f64 = 3.0;

/// What a time depends on beside the amount of work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kind {
    /// What was done.
    pub stage: Stage,
    /// burn backend.
    pub backend: String,
    /// Engine of the simulation; empty for training.
    pub engine: String,
    /// Whether the network has convolutions.
    pub convolutional: bool,
}

impl Kind {
    /// The kind of an experiment's stage.
    pub fn of(stage: Stage, experiment: &Experiment) -> Self {
        Self {
            stage,
            backend: experiment.backend.to_string(),
            engine: if stage == Stage::Train { String::new() } else { experiment.simulate.engine.to_string() },
            convolutional: experiment.architecture.layers().iter().any(|layer| convolves(&layer.kind)),
        }
    }
}

fn convolves(kind: &LayerKind) -> bool {
    match kind {
        LayerKind::Conv2d(_) => true,
        LayerKind::Residual { body, shortcut } => body.iter().chain(shortcut).any(convolves),
        _ => false,
    }
}

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// What it depends on.
    pub kind: Kind,
    /// How much was done, by [`work`].
    pub work: f64,
    /// How long that took.
    pub seconds: f64,
}

/// Times of one run's folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// By folder relative to the run's, and stage: the last time that it was done as a whole.
    stages: BTreeMap<String, Timed>,
}

impl Times {
    /// Reads a run's times; none if there are none that can be read.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read(folder.join(FILE_NAME)).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Writes them to the run's folder.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<()> {
        Ok(write_atomically(&folder.join(FILE_NAME), &serde_json::to_vec(self)?)?)
    }

    /// Notes down a stage.
    pub fn add(&mut self, folder: &str, stage: Stage, experiment: &Experiment, seconds: f64) {
        let timed = Timed { kind: Kind::of(stage, experiment), work: work(stage, experiment), seconds };
        _ = self.stages.insert(format!("{folder}/{stage}"), timed);
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Timed> {
        self.stages.values()
    }
}

/// Amount of work of a stage, in multiply-accumulates of the network before conversion: those of training, or those that the
/// simulated steps stand for. Spiking networks skip most of the latter, the more so the sparser their spikes: times of like
/// networks are proportional to it, those of unlike ones within a small factor.
pub fn work(stage: Stage, experiment: &Experiment) -> f64 {
    let macs = experiment.architecture.macs_per_sample() as f64;
    let facts = DatasetFacts::of(&experiment.data, Some(experiment.architecture.input()));
    let (n_train, n_test) = facts.map_or((0, 0), |facts| (facts.n_train, facts.n_test));
    let (convert, simulate) = (&experiment.convert, &experiment.simulate);
    match stage {
        Stage::Train => {
            let samples = n_train.saturating_sub(experiment.data.validation_samples);
            macs * TRAINING_PASSES * samples as f64 * experiment.train.epochs as f64
        }
        Stage::Convert => {
            let measured = convert.calibration_samples as f64;
            let kappas = convert.kappa_grid.as_ref().map_or(DEFAULT_KAPPAS.len(), Vec::len);
            let trials = match (convert.kappa, convert.scale) {
                (Kappa::Auto, _) => kappas as f64,
                (_, Scale::Auto) => convert.scale_grid.len() as f64,
                _ => 0.0,
            };
            let simulated = trials * convert.kappa_samples.min(n_train) as f64 * convert.target_steps as f64
                + if convert.calibrate == Calibrate::None { 0.0 } else { measured * convert.target_steps as f64 }
                + if convert.method.facts().measures == Measures::Noise {
                    measured * simulate.steps as f64
                } else {
                    0.0
                };
            macs * (measured + simulated)
        }
        Stage::Simulate => {
            let samples = simulate.samples.unwrap_or(n_test).min(n_test) as f64;
            let runs = if simulate.early_exit.is_some() { 2.0 } else { 1.0 };
            macs * samples * simulate.different_seeds().len() as f64 * simulate.steps as f64 * runs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::config::ExperimentFile;

    fn experiment(keys: &[&str]) -> Experiment {
        let text = "name = \"x\"\ndata.dataset = \"digits\"\n[model]\ninput = [1, 8, 8]\nlayers = [{ kind = \"flatten\" }, { kind = \"dense\", units = 10 }]\n";
        let overrides: Vec<String> = keys.iter().map(ToString::to_string).collect();
        ExperimentFile::parse(text, Path::new("x.toml"), &overrides).unwrap().base
    }

    #[test]
    fn work_counts_multiply_accumulates() {
        // 64 × 10 of them a sample, 3,823 samples to learn from, 1,797 to test on.
        let keys = ["train.epochs=2", "data.validation_samples=823", "simulate.steps=4", "simulate.seeds=[0, 1]"];
        assert_eq!(work(Stage::Train, &experiment(&keys)), 640.0 * 3.0 * 3000.0 * 2.0);
        assert_eq!(work(Stage::Simulate, &experiment(&keys)), 640.0 * 1797.0 * 2.0 * 4.0);
        assert_eq!(work(Stage::Simulate, &experiment(&["simulate.samples=100", "simulate.steps=1"])), 640.0 * 100.0);
        assert_eq!(work(Stage::Convert, &experiment(&[])), 640.0 * 1000.0);
        let searched = [
            "convert.kappa=auto",
            "convert.kappa_grid=[0.1, 0.2]",
            "convert.target_steps=4",
            "convert.kappa_samples=500",
        ];
        assert_eq!(work(Stage::Convert, &experiment(&searched)), 640.0 * (1000.0 + 2.0 * 500.0 * 4.0));
        let scaled = ["convert.scale=auto", "convert.scale_grid=[0.1, 0.2, 0.3]", searched[2], searched[3]];
        assert_eq!(work(Stage::Convert, &experiment(&scaled)), 640.0 * (1000.0 + 3.0 * 500.0 * 4.0));
        let steady = ["simulate.encoding=constant", "simulate.seeds=[0, 1]", "simulate.steps=4"];
        assert_eq!(work(Stage::Simulate, &experiment(&steady)), 640.0 * 1797.0 * 4.0, "both seeds give one run");
    }

    #[test]
    fn times_are_read_back_and_the_last_of_a_stage_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = Times::default();
        times.add("seed-1", Stage::Train, &experiment(&[]), 3.0);
        times.add("seed-1", Stage::Train, &experiment(&[]), 2.0);
        times.add("seed-1/max", Stage::Simulate, &experiment(&[]), 1.0);
        times.write(folder.path()).unwrap();
        let read = Times::read(folder.path());
        assert_eq!(read, times);
        assert_eq!(read.all().map(|timed| timed.seconds).collect::<Vec<_>>(), [1.0, 2.0]);
    }
}
