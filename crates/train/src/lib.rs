//! Trains the non-spiking network of an experiment and writes `ann.safetensors`.
//!
//! - [`fit`]: stochastic gradient descent, epoch by epoch
//! - [`augment`]: random crops and mirror images
//! - [`schedule`]: the learning rate at each step
//! - [`start`]: the network and the thresholds that training starts from
//! - [`checkpoint`]: what is needed to go on after a kill
//! - [`progress`]: what is shown meanwhile
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let experiment = model::config::ExperimentFile::read("configs/quickstart.toml".as_ref(), &[])?.base;
//! let ann = train::run(&experiment, "runs/quickstart".as_ref(), None, train::Options::default())?;
//! println!("{}: {:.1} %", ann.path.display(), 100.0 * ann.metadata.test_accuracy);
//! # Ok(())
//! # }
//! ```
//!
//! burn supplies layers, gradients, loss and optimiser. The loop is our own, because a resumed run must end in
//! the same weights as an uninterrupted one: order of samples and dropout are seeded anew for each epoch, and
//! burn's `Learner` does not save the state of either.

pub mod augment;
pub mod checkpoint;
pub mod fit;
pub mod progress;
pub mod schedule;
pub mod start;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
pub use cli::Options;
use datasets::{LabelledImages, Resolved, Split};
use model::ann::{AnnArtefact, AnnMetadata, FILE_NAME, FORMAT};
use model::{Experiment, artefact};
use results::record::EpochRecord;
use serde_json::{Value, json};
use start::Start;

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
    /// What the user should know of the data, one sentence each.
    pub notes: Vec<String>,
    /// Whether there was nothing to train: the network was there already, here or in another experiment's folder.
    pub reused: bool,
}

/// Trains the experiment's network, or finds it trained, in a run's folder.
///
/// - `runs`: where other experiments keep theirs: a network with the same recipe is copied instead of trained again
///
/// # Errors
/// If the backend is not built in, the data cannot be read or do not fit the network, training diverges, or
/// the folder cannot be written to.
pub fn run(experiment: &Experiment, folder: &Path, runs: Option<&Path>, options: Options) -> Result<Outcome> {
    let path = folder.join(FILE_NAME);
    let device = ann::device(experiment.backend)?;
    let data = Data::load(experiment)?;
    let experiment = &data.experiment;
    let notes = data.notes.clone();
    let start = Start::of(experiment)?;
    let recipe = recipe(experiment, &data, start.as_ref());
    if !options.force
        && let Some(outcome) = reusable(experiment, &path, &recipe)
    {
        checkpoint::remove(folder)?;
        return Ok(Outcome { notes, ..outcome });
    }
    if !options.force
        && let Some(twin) = runs.and_then(|runs| twin(runs, experiment, &recipe))
    {
        artefact::copy_atomically(&twin.path, &path)?;
        checkpoint::remove(folder)?;
        return Ok(Outcome { path, notes, ..twin });
    }
    let fitted = fit::fit(experiment, &data, &device, start.as_ref(), folder, &recipe, options)?;
    let metadata = AnnMetadata {
        format: FORMAT,
        quartic_version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
        config: experiment.to_toml(),
        test_accuracy: fit::accuracy(&fitted.network, &data.test, &device),
        test_top5: fit::top_five(&fitted.network, &data.test, &device),
        epoch: fitted.epoch,
        history: serde_json::to_value(&fitted.history)?,
        quantisation: fitted.quantisation,
    };
    let checksum = artefact::write(&path, &fitted.network.tensors(), &metadata)?;
    checkpoint::remove(folder)?;
    Ok(Outcome { path, checksum, metadata, history: fitted.history, notes, reused: false })
}

/// The samples of one experiment.
#[derive(Debug, Clone)]
pub struct Data {
    /// The experiment, with the scaling of its data.
    pub experiment: Experiment,
    /// What the user should know of the data, one sentence each.
    pub notes: Vec<String>,
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
        let Resolved { experiment, data, notes } = Resolved::of(experiment, None)?;
        let all = data.samples(Split::Train)?;
        experiment.check_fits(all.shape(), all.n_classes()).map_err(|problem| anyhow!(problem))?;
        let test = data.samples(Split::Test)?.read()?;
        let checksum = all.checksum()?;
        let (train, validation) = match experiment.data.validation_samples {
            0 => (all.read()?, None),
            n_validation => {
                let (train, validation) = all
                    .split_validation(n_validation, experiment.seed)
                    .with_context(|| format!("[data] validation_samples = {n_validation}"))?;
                (train.read()?, Some(validation.read()?))
            }
        };
        if experiment.train.augment.poisson_steps > 0 {
            train.check_rates(Split::Train)?;
        }
        Ok(Self { experiment, notes, train, validation, test, checksum })
    }
}

/// Whether a run's folder holds the experiment's trained network, by its description alone: neither its weights nor the data are
/// read.
pub fn seems_trained(experiment: &Experiment, folder: &Path) -> bool {
    let Ok(Some(AnnMetadata { mut recipe, .. })) = artefact::read_description(&folder.join(FILE_NAME), "") else {
        return false;
    };
    for (section, key) in [("data", "checksum"), ("train", FROM)] {
        if let Some(section) = recipe[section].as_object_mut() {
            section.shift_remove(key);
        }
    }
    recipe == recipe_without_data(experiment)
}

/// Everything that the weights depend on but the data's contents, of which their scaling is a part.
fn recipe_without_data(experiment: &Experiment) -> Value {
    let mut recipe = experiment.excerpt(&[
        "seed",
        "backend",
        "data.dataset",
        "data.validation_samples",
        "data.normalize",
        "model",
        "train",
    ]);
    recipe["format"] = json!(FORMAT);
    let config = &experiment.train;
    let Some(train) = recipe["train"].as_object_mut() else { return recipe };
    // Where that network is does not matter, and what is left out is what it would be by default.
    train.shift_remove(FROM);
    for key in ["activation", "levels", "thresholds"] {
        train.shift_remove(key);
    }
    if let Some(sgd) = train.get_mut("sgd").and_then(Value::as_object_mut) {
        sgd.shift_remove("threshold_learning_rate");
    }
    if config.final_levels().is_some() {
        train.insert("activation".to_owned(), json!(config.activation));
        train.insert("levels".to_owned(), json!(config.levels));
        train.insert("thresholds".to_owned(), json!(config.thresholds));
        train.insert("threshold_learning_rate".to_owned(), json!(config.threshold_rate()));
    }
    recipe
}

/// Key of a recipe's `train`: checksum of the network that training starts from.
const FROM: &str = "from";

/// Everything that the weights depend on.
fn recipe(experiment: &Experiment, data: &Data, start: Option<&Start>) -> Value {
    let mut recipe = recipe_without_data(experiment);
    recipe["data"]["checksum"] = json!(data.checksum);
    if let Some(start) = start {
        recipe["train"][FROM] = json!(start.ann.checksum);
    }
    recipe
}

/// The network in `path`, if it is whole and its recipe is the wanted one.
fn reusable(experiment: &Experiment, path: &Path, recipe: &Value) -> Option<Outcome> {
    let artefact = AnnArtefact::read(path, &experiment.architecture).ok()?;
    let metadata = artefact.metadata.filter(|metadata| metadata.recipe == *recipe)?;
    let history = serde_json::from_value(metadata.history.clone()).ok()?;
    Some(Outcome {
        path: path.to_owned(),
        checksum: artefact.checksum,
        metadata,
        history,
        notes: Vec::new(),
        reused: true,
    })
}

/// A network of another experiment with the wanted recipe: `RUNS/*/ann.safetensors` or `RUNS/*/*/ann.safetensors`, the first
/// by name.
fn twin(runs: &Path, experiment: &Experiment, recipe: &Value) -> Option<Outcome> {
    let outer = subfolders(runs);
    let inner: Vec<PathBuf> = outer.iter().flat_map(|folder| subfolders(folder)).collect();
    let fits = |path: &PathBuf| {
        artefact::read_description::<AnnMetadata>(path, "").is_ok_and(|of| of.is_some_and(|of| of.recipe == *recipe))
    };
    let mut files = outer.into_iter().chain(inner).map(|folder| folder.join(FILE_NAME)).filter(fits);
    files.find_map(|path| reusable(experiment, &path, recipe))
}

/// In the order of their names; none of what is no folder.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use model::config::ExperimentFile;

    use super::*;

    /// A seed is a draw of 97.3 % ± 0.2 % (six seeds, 97.1 to 97.6 %), and a processor that rounds differently draws
    /// again: three standard deviations below. The nearest neighbour reaches 98.0 %.
    const DIGITS_ACCURACY: f64 = 0.968;

    fn experiment(keys: &[&str]) -> Experiment {
        let text = r#"
            name = "digits"
            seed = 7
            data.dataset = "digits"
            train = { epochs = 1, batch_size = 64 }
            [model]
            input = [1, 8, 8]
            layers = [
              { kind = "flatten" },
              { kind = "dense", units = 128 },
              { kind = "relu" },
              { kind = "dropout", rate = 0.1 },
              { kind = "dense", units = 10 },
            ]
        "#;
        let overrides: Vec<String> = keys.iter().map(ToString::to_string).collect();
        ExperimentFile::parse(text, Path::new("digits.toml"), &overrides).unwrap().base
    }

    fn run_in(folder: &Path, keys: &[&str]) -> Outcome {
        run(&experiment(keys), folder, None, Options::default()).unwrap()
    }

    #[test]
    fn a_small_network_learns_the_digits() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ["train.epochs=60", "train.sgd.learning_rate=0.4", "train.sgd.weight_decay=1e-4"];
        let outcome = run_in(folder.path(), &keys);
        let accuracy = outcome.metadata.test_accuracy;
        assert!(accuracy >= DIGITS_ACCURACY, "{accuracy}");
        assert!(outcome.history[59].train_loss < 0.1 * outcome.history[0].train_loss);
        assert_eq!((outcome.history.len(), outcome.metadata.epoch), (60, 60));
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [FILE_NAME]);
    }

    #[test]
    fn a_seed_gives_the_same_file_every_time_and_another_seed_another_network() {
        for backend in ann::backend::usable() {
            let backend = format!("backend={backend}");
            let train = |seed: &str| {
                let folder = tempfile::tempdir().unwrap();
                let keys = [backend.as_str(), seed, "data.validation_samples=400", "train.patience=1"];
                let outcome = run_in(folder.path(), &keys);
                let network = AnnArtefact::read(&outcome.path, &experiment(&keys).architecture).unwrap();
                assert_eq!(network.checksum, outcome.checksum);
                (outcome.checksum, network.tensors)
            };
            assert_eq!(train("seed=7"), train("seed=7"), "{backend}");
            assert_ne!(train("seed=7").1, train("seed=8").1, "{backend}");
        }
    }

    #[test]
    fn a_network_is_reused_until_its_recipe_changes_its_file_is_damaged_or_force_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let first = run_in(folder.path(), &[]);
        assert!(!first.reused);
        assert!(seems_trained(&experiment(&["simulate.steps=8"]), folder.path()));
        assert!(!seems_trained(&experiment(&["seed=8"]), folder.path()));
        assert_eq!(run_in(folder.path(), &[]), Outcome { reused: true, ..first.clone() });
        // Keys that the weights do not depend on change nothing.
        assert!(run_in(folder.path(), &["simulate.steps=8", "convert.kappa=0.3"]).reused);

        let forced = run(&experiment(&[]), folder.path(), None, Options { force: true, progress: false }).unwrap();
        assert_eq!(forced, first);

        std::fs::write(&first.path, "damaged").unwrap();
        assert_eq!(run_in(folder.path(), &[]), first);

        for keys in
            [["train.sgd.momentum=0.8"], ["seed=8"], ["model.layers=[{kind=\"flatten\"}, {kind=\"dense\", units=10}]"]]
        {
            assert!(!run_in(folder.path(), &keys).reused, "{keys:?}");
        }
    }

    #[test]
    fn a_network_that_another_experiment_has_trained_is_copied_unless_its_recipe_differs_or_force_is_given() {
        let runs = tempfile::tempdir().unwrap();
        let first = run_in(&runs.path().join("one/seed-7"), &[]);
        let run_beside = |name: &str, key: &str, options: Options| {
            run(&experiment(&[key]), &runs.path().join(name), Some(runs.path()), options).unwrap()
        };
        let copied = run_beside("two", "simulate.steps=8", Options::default());
        assert_eq!(copied, Outcome { path: runs.path().join("two").join(FILE_NAME), reused: true, ..first.clone() });
        assert_eq!(std::fs::read(&copied.path).unwrap(), std::fs::read(&first.path).unwrap());
        assert!(!run_beside("three", "seed=8", Options::default()).reused);
        assert!(!run_beside("four", "seed=7", Options { force: true, progress: false }).reused);
        // A damaged file is passed over.
        std::fs::write(&first.path, "damaged").unwrap();
        assert!(run_beside("five", "seed=7", Options::default()).reused);
    }

    /// A network too small to bear a single level as it is.
    const SMALL: &str =
        "model.layers=[{kind=\"flatten\"}, {kind=\"dense\", units=16}, {kind=\"relu\"}, {kind=\"dense\", units=10}]";

    #[test]
    fn fine_tuning_to_few_levels_gets_back_what_quantising_costs_and_keeps_its_thresholds() {
        let folder = tempfile::tempdir().unwrap();
        let split = "data.validation_samples=800";
        let relu =
            run_in(&folder.path().join("relu"), &[SMALL, split, "train.epochs=20", "train.sgd.learning_rate=0.2"]);
        assert!(AnnArtefact::read(&relu.path, &experiment(&[SMALL]).architecture).unwrap().levels().is_none());
        let from = format!("train.from={}", folder.path().join("relu").display());
        for thresholds in ["channel", "norm"] {
            let set = format!("train.thresholds={thresholds}");
            let levels = "train.levels=[1]";
            let keys = [
                SMALL,
                split,
                "train.activation=qcfs",
                levels,
                &from,
                &set,
                "train.epochs=8",
                "train.sgd.learning_rate=0.05",
            ];
            let tuned = run_in(&folder.path().join(thresholds), &keys);
            let quantisation = tuned.metadata.quantisation.clone().unwrap();
            let accuracies = quantisation.validation.unwrap();
            assert_eq!(quantisation.levels, 1);
            assert_eq!(Some(accuracies.start), relu.history.last().unwrap().validation_accuracy);
            assert_eq!(Some(accuracies.trained), tuned.history.last().unwrap().validation_accuracy);
            let (cost, regained) = (accuracies.start - accuracies.untrained, accuracies.trained - accuracies.untrained);
            assert!(cost > 0.1 && regained > cost / 2.0, "{thresholds}: {accuracies:?}");
            // What is read back computes the same, and is not made again.
            let artefact = AnnArtefact::read(&tuned.path, &experiment(&keys).architecture).unwrap();
            assert_eq!(artefact.tensors["2.threshold"].shape, [16]);
            let (device, data) = (ann::device(model::Backend::Flex).unwrap(), Data::load(&experiment(&keys)).unwrap());
            let levels = artefact.levels();
            let network =
                ann::Network::with_tensors(&experiment(&keys).architecture, &artefact.tensors, levels, &device);
            assert_eq!(fit::accuracy(&network, &data.test, &device), tuned.metadata.test_accuracy);
            assert!(run_in(&folder.path().join(thresholds), &keys).reused);
            assert!(seems_trained(&experiment(&keys), &folder.path().join(thresholds)));
        }
    }

    #[test]
    fn a_network_of_another_architecture_is_no_start_and_is_told_with_its_differences() {
        let folder = tempfile::tempdir().unwrap();
        let first = run_in(folder.path(), &[]);
        let from = format!("train.from={}", first.path.display());
        let refused = |layers: &str| {
            let keys = [from.as_str(), &format!("model.layers={layers}")];
            let error = run(&experiment(&keys), &folder.path().join("other"), None, Options::default()).unwrap_err();
            format!("{error:#}")
        };
        let error = refused("[{kind=\"flatten\"}, {kind=\"dense\", units=10}]");
        assert!(error.contains("[train] from = ") && error.contains("`1.weight`: found shape [128, 64]"), "{error}");
        let other = "[{kind=\"flatten\"}, {kind=\"dense\", units=128}, {kind=\"abs\"}, {kind=\"dropout\", rate=0.1}, {kind=\"dense\", units=10}]";
        let error = refused(other);
        assert!(error.contains("layer `2` is a `relu` there and a `abs` here"), "{error}");
        let nowhere = run(&experiment(&["train.from=nowhere"]), folder.path(), None, Options::default()).unwrap_err();
        assert!(format!("{nowhere:#}").contains("give train.from a trained network's ann.safetensors"), "{nowhere:#}");
    }

    #[test]
    fn a_network_that_does_not_fit_its_data_is_refused_before_training() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&experiment(&["model.input=[1, 4, 16]"]), folder.path(), None, Options::default()).unwrap_err();
        assert!(error.to_string().contains("use input = [1, 8, 8]"), "{error}");
        let error =
            run(&experiment(&["data.validation_samples=3823"]), folder.path(), None, Options::default()).unwrap_err();
        assert!(format!("{error:#}").contains("[data] validation_samples = 3823: "), "{error:#}");
    }
}
