//! Trains the non-spiking network of an experiment and writes `ann.safetensors`.
//!
//! - [`fit`]: stochastic gradient descent, epoch by epoch
//! - [`schedule`]: the learning rate at each step
//! - [`checkpoint`]: what is needed to go on after a kill
//!
//! burn supplies layers, gradients, loss and optimiser. The loop is our own, because a resumed run must end in
//! the same weights as an uninterrupted one: order of samples and dropout are seeded anew for each epoch, and
//! burn's `Learner` does not save the state of either.

pub mod checkpoint;
pub mod fit;
pub mod schedule;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use datasets::{DatasetName, LabelledImages, Split};
use model::ann::{self, AnnMetadata};
use model::{Experiment, artefact};
use report::record::EpochRecord;
use serde_json::{Value, json};

/// How to run, apart from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Train again even if the wanted network is there.
    pub force: bool,
    /// Show progress on the standard error.
    pub progress: bool,
}

/// A trained network on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub checksum: String,
    /// Where it comes from and how good it is.
    pub metadata: AnnMetadata,
    /// Training history, one entry per epoch.
    pub history: Vec<EpochRecord>,
    /// Whether the file was there already and unchanged.
    pub reused: bool,
}

/// Name of the artefact in a run's folder.
pub const FILE_NAME: &str = "ann.safetensors";

/// Trains the experiment's network, or finds it trained, in a run's folder.
///
/// # Errors
/// If the backend is not built in, the data cannot be read or do not fit the network, training diverges, or
/// the folder cannot be written to.
pub fn run(experiment: &Experiment, folder: &Path, options: Options) -> Result<Outcome> {
    let path = folder.join(FILE_NAME);
    let device = experiment.backend.device()?;
    let data = Data::load(experiment)?;
    let recipe = recipe(experiment, &data);
    if !options.force
        && let Some(outcome) = reusable(experiment, &path, &recipe)
    {
        return Ok(outcome);
    }
    let fitted = fit::fit(experiment, &data, &device, folder, &recipe, options)?;
    let metadata = AnnMetadata {
        format: ann::FORMAT,
        quartic_version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
        config: experiment.to_toml(),
        test_accuracy: fit::accuracy(&fitted.network, &data.test, &device),
        epoch: fitted.epoch,
        history: serde_json::to_value(&fitted.history)?,
    };
    let checksum = artefact::write(&path, &fitted.network.tensors(), &metadata)?;
    checkpoint::remove(folder)?;
    Ok(Outcome { path, checksum, metadata, history: fitted.history, reused: false })
}

/// The samples of one experiment.
#[derive(Debug, Clone)]
pub struct Data {
    /// Samples to learn from.
    pub train: LabelledImages,
    /// Samples to stop early by; `None` without a validation split.
    pub validation: Option<LabelledImages>,
    /// Samples to score on.
    pub test: LabelledImages,
    /// Identifies the data set, before it was split.
    pub checksum: String,
}

impl Data {
    /// Reads the experiment's data set and splits off the validation samples.
    ///
    /// # Errors
    /// If files are missing or damaged, too few for the split, or do not fit the network.
    pub fn load(experiment: &Experiment) -> Result<Self> {
        let name: DatasetName = experiment.data.dataset.parse()?;
        let path = experiment.data.path.as_deref();
        let all = LabelledImages::load(name, Split::Train, path)?;
        experiment.check_fits(all.shape(), all.n_classes()).map_err(|problem| anyhow!(problem))?;
        let test = LabelledImages::load(name, Split::Test, path)?;
        let checksum = all.checksum();
        let (train, validation) = match experiment.data.validation_samples {
            0 => (all, None),
            n_validation => {
                let (train, validation) = all
                    .split_validation(n_validation, experiment.seed)
                    .with_context(|| format!("[data] validation_samples = {n_validation}"))?;
                (train, Some(validation))
            }
        };
        Ok(Self { train, validation, test, checksum })
    }
}

/// Everything that the weights depend on.
fn recipe(experiment: &Experiment, data: &Data) -> Value {
    let mut recipe = experiment.excerpt(&["seed", "backend", "data.dataset", "data.validation_samples", "model", "train"]);
    recipe["data"]["checksum"] = json!(data.checksum);
    recipe["format"] = json!(ann::FORMAT);
    recipe
}

/// The network in `path`, if it is whole and its recipe is the wanted one.
fn reusable(experiment: &Experiment, path: &Path, recipe: &Value) -> Option<Outcome> {
    let artefact = ann::AnnArtefact::read(path, &experiment.architecture).ok()?;
    let metadata = artefact.metadata.filter(|metadata| metadata.recipe == *recipe)?;
    let history = serde_json::from_value(metadata.history.clone()).ok()?;
    Some(Outcome { path: path.to_owned(), checksum: artefact.checksum, metadata, history, reused: true })
}
