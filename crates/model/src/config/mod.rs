//! One TOML file → a checked [`Experiment`].
//!
//! A file is read into a raw TOML table, changed by `--set KEY=VALUE` overrides, checked against the table of
//! keys in [`schema`] and turned into types that cannot be invalid. Every problem is reported at once, with
//! file, key and remedy. The resolved table, with all defaults filled in, goes into every artefact.

mod faults;
mod layers;
pub mod schema;
mod sweep;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;
use toml::{Table, Value};

use crate::architecture::{Architecture, shape_text};
use crate::backend::Backend;
pub use faults::{FaultsConfig, NO_FAULTS};
pub use layers::ModelSection;
pub use sweep::{Axis, Cell, folder_name};

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", .problems.iter().map(|problem| format!("{}: {problem}", .file.display())).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, at least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key; empty for the file as a whole.
    pub path: String,
    /// What was found and what to do, in one line.
    pub message: String,
}

impl Problem {
    fn new(path: &str, message: String) -> Self {
        Self { path: path.to_owned(), message }
    }
}

impl fmt::Display for Problem {
    /// `[train.sgd] momentum: found 2; use …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.rsplit_once('.') {
            Some((section, name)) => write!(f, "[{section}] {name}: {}", self.message),
            None if self.path.is_empty() => f.write_str(&self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// A checked experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Name, fit for a folder.
    pub name: String,
    /// What it shows; may be empty.
    pub description: String,
    /// Training seed.
    pub seed: u64,
    /// burn backend of training, calibration and the dense engine.
    pub backend: Backend,
    /// `[data]`
    pub data: DataConfig,
    /// `[model]`
    pub architecture: Architecture,
    /// `[train]`
    pub train: TrainConfig,
    /// `[convert]`
    pub convert: ConvertConfig,
    /// `[simulate]`
    pub simulate: SimulateConfig,
    /// `[report]`
    pub report: ReportConfig,
    resolved: Table,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataConfig {
    /// Name of the data set.
    pub dataset: String,
    /// Folder with its files; `None` is the data set's own default.
    pub path: Option<PathBuf>,
    /// Training samples set aside for validation.
    pub validation_samples: usize,
}

/// `[train]`
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// Passes over the training samples, at least 1.
    pub epochs: usize,
    /// Samples per step, at least 1.
    pub batch_size: usize,
    /// Epochs without a better validation loss before training ends; `None` never stops early.
    pub patience: Option<usize>,
    /// Initial step size, above 0.
    pub learning_rate: f64,
    /// Share of the last step kept in the next, in [0, 1).
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// L2 penalty, at least 0.
    pub weight_decay: f64,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// What is done to training images.
    pub augment: Augment,
}

/// `[train.augment]`: random changes to training images, anew in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augment {
    /// Zeros around the image, out of which a random window of its size is cut; 0 leaves it.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
    /// Steps of Poisson spikes whose mean takes the image's place; 0 leaves it.
    pub poisson_steps: usize,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// By a factor every few epochs.
    Step {
        /// Epochs between reductions.
        epochs: usize,
        /// Factor of each, in (0, 1].
        factor: f64,
    },
    /// Along half a cosine over all epochs.
    Cosine {
        /// Step size at the end.
        final_learning_rate: f64,
    },
}

/// Declares an enum of configuration words with its names, `FromStr` and `Display`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every one, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in configurations.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|known| known.name() == word)
                    .ok_or_else(|| format!("found `{word}`; use one of {}", [$($word),+].join(", ")))
            }
        }
    };
}

words! {
    /// How the thresholds λ are chosen.
    Method {
        /// λ = 1.
        None = "none",
        /// The largest activation that the weights allow, per layer.
        Model = "model",
        /// The layer's largest activation.
        Max = "max",
        /// A percentile of the layer's activations.
        Percentile = "percentile",
        /// A percentile of each neuron's activations.
        ChannelPercentile = "channel-percentile",
        /// A norm of each neuron's weights over κ.
        Norm = "norm",
        /// The measured standard deviation of each neuron's input current over κ.
        Std = "std",
        /// The λ of least squared quantisation error, per neuron.
        Mmse = "mmse",
    }
}

words! {
    /// How each channel's mean spike rate is brought to that of the trained network.
    Calibrate {
        /// Not at all.
        None = "none",
        /// By a current at each step.
        Bias = "bias",
        /// By the potential before the first step.
        Potential = "potential",
    }
}

words! {
    /// How pixels become input.
    Encoding {
        /// A spike at each step with the pixel's value as its probability.
        Poisson = "poisson",
        /// Evenly spaced spikes with a random phase.
        Systematic = "systematic",
        /// Evenly spaced spikes with phase ½.
        Regular = "regular",
        /// The pixel's value as a constant input current; no spikes.
        Constant = "constant",
    }
}

words! {
    /// What a spike does to the membrane potential.
    Reset {
        /// The threshold is subtracted.
        Subtract = "subtract",
        /// The potential is set to zero.
        Zero = "zero",
    }
}

words! {
    /// What the decision is read from.
    Readout {
        /// Membrane potential of output neurons that do not fire.
        Potential = "potential",
        /// Spike count of output neurons.
        Spikes = "spikes",
    }
}

words! {
    /// What runs the spiking network.
    EngineKind {
        /// Event-driven, on the CPU.
        Event = "event",
        /// Dense tensors, on the burn backend.
        Dense = "dense",
    }
}

words! {
    /// Which weights share a range, the largest magnitude among them.
    WeightRange {
        /// Those of a connection of a layer.
        Layer = "layer",
        /// Those of a connection of a channel; in a fully connected layer, of a neuron.
        Channel = "channel",
    }
}

words! {
    /// What the noise of a weight is relative to.
    NoiseOf {
        /// Its range.
        Range = "range",
        /// The weight itself.
        Weight = "weight",
    }
}

/// The noise-to-threshold ratio κ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kappa {
    /// This value.
    Value(f64),
    /// The best of the grid on training samples.
    Auto,
}

/// The factor on every hidden λ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// This value.
    Value(f64),
    /// The best of the grid on training samples.
    Auto,
}

/// What `Kappa::Auto` tries by default with `std` and the L4-norm; with another norm, multiples of it.
pub const DEFAULT_KAPPAS: [f64; 8] = [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0];

/// `[convert]`
#[derive(Debug, Clone, PartialEq)]
pub struct ConvertConfig {
    /// The name given to this conversion; may be empty.
    pub given_label: String,
    /// How the thresholds are chosen.
    pub method: Method,
    /// Order of the norm, above 0; infinity is the largest magnitude.
    pub p: f64,
    /// Noise-to-threshold ratio of `norm` and `std`.
    pub kappa: Kappa,
    /// What `Kappa::Auto` tries; `None` for [`DEFAULT_KAPPAS`], fitted to the norm.
    pub kappa_grid: Option<Vec<f64>>,
    /// Training samples that `Kappa::Auto` and `Scale::Auto` are judged on.
    pub kappa_samples: usize,
    /// Percentile, in (0, 100].
    pub percentile: f64,
    /// Whether zeros count in percentiles.
    pub percentile_zeros: bool,
    /// Factor on every hidden λ.
    pub scale: Scale,
    /// What `Scale::Auto` tries.
    pub scale_grid: Vec<f64>,
    /// What takes back the mean error of each channel's rates.
    pub calibrate: Calibrate,
    /// Time steps that `mmse`, `Kappa::Auto`, `Scale::Auto` and `calibrate` aim at.
    pub target_steps: usize,
    /// Training samples whose activations are measured.
    pub calibration_samples: usize,
    /// Whether the next layer undoes each layer's rescaling.
    pub compensate: bool,
    /// Membrane potential of hidden neurons before the first step, in thresholds.
    pub initial_potential: f64,
    /// Bits, besides the sign, of what a step adds to a potential.
    pub sum_bits: u32,
    /// Bits of a weight, with the sign.
    pub weight_bits: u32,
}

/// `[simulate]`
#[derive(Debug, Clone, PartialEq)]
pub struct SimulateConfig {
    /// What runs the network.
    pub engine: EngineKind,
    /// How pixels become input.
    pub encoding: Encoding,
    /// What a spike does to the potential.
    pub reset: Reset,
    /// What the decision is read from.
    pub readout: Readout,
    /// Time steps T.
    pub steps: usize,
    /// Confidence at which a decision is taken before T, in (½, 1); `None` always runs to T.
    pub early_exit: Option<f64>,
    /// Whether the loss of accuracy is taken apart.
    pub decompose: bool,
    /// Steps shown in tables, ascending, T last.
    pub checkpoints: Vec<usize>,
    /// Simulation seeds, at least one.
    pub seeds: Vec<u64>,
    /// Test samples, the first ones; `None` is all.
    pub samples: Option<usize>,
    /// Samples per batch of the dense engine.
    pub batch_size: usize,
    /// Test samples that are probed.
    pub probe_samples: usize,
    /// Test samples whose spikes are drawn.
    pub raster_samples: usize,
    /// What the hardware does to the network.
    pub faults: FaultsConfig,
}

impl SimulateConfig {
    /// Seeds whose runs differ: the first one only where nothing is random.
    pub fn different_seeds(&self) -> &[u64] {
        let is_random = !matches!(self.encoding, Encoding::Regular | Encoding::Constant) || self.faults.is_random();
        if is_random { &self.seeds } else { &self.seeds[..1] }
    }
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportConfig {
    /// Label of the conversion that others are compared with; `None` is the first by the L4-norm.
    pub baseline: Option<String>,
}

/// What is known of an experiment before its `[model]` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Name of the experiment.
    pub name: String,
    /// Name of its data set, not yet checked.
    pub dataset: String,
    /// Folder with the data set's files, if the file gives it.
    pub path: Option<PathBuf>,
    /// Shape of the input, if the file gives it.
    pub input: Option<[usize; 3]>,
}

impl Outline {
    /// `None` if the file lacks what every experiment must have, or has something else in its place.
    fn of(raw: &Table) -> Option<Self> {
        let text = |path: &str| schema::lookup(raw, path).and_then(Value::as_str).map(str::to_owned);
        let name = text("name").filter(|name| schema::is_slug(name))?;
        let input = schema::lookup(raw, "model.input").and_then(Value::as_array).and_then(|sizes| {
            let sizes: Vec<usize> = sizes.iter().filter_map(|size| usize::try_from(size.as_integer()?).ok()).collect();
            sizes.try_into().ok()
        });
        Some(Self { name, dataset: text("data.dataset")?, path: text("data.path").map(PathBuf::from), input })
    }
}

/// A checked file: one experiment, and the combinations of its sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentFile {
    /// The experiment without its sweep.
    pub base: Experiment,
    /// The axes of `[sweep]`; empty without one.
    pub axes: Vec<Axis>,
    /// Dotted paths of the keys that the sweep sets, [`Cell::values`] being their values.
    pub columns: Vec<String>,
    /// Every combination, the last axis varying fastest; one without a sweep.
    pub cells: Vec<Cell>,
}

impl ExperimentFile {
    /// Reads and checks an experiment file.
    ///
    /// - `overrides`: `KEY=VALUE`, each with a dotted path and a TOML value (a bare word is a text)
    ///
    /// # Errors
    /// [`ConfigError`] with every problem: an unreadable file, a syntax error, unknown keys, values out of
    /// range, keys that contradict each other, overrides that match no key.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::parse(&read_text(path)?, path, overrides)
    }

    /// Checks the text of an experiment file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let Raw { mut table, axes, mut problems } = Raw::parse(text, path, overrides, |_| Ok(None))?;
        problems
            .extend(overrides.iter().filter_map(|text| sweep::without_effect(text.split_once('=')?.0.trim(), &axes)));
        let base = experiment(&table, &mut problems);
        let fail = |problems| ConfigError { file: path.to_owned(), problems: told_apart(problems, overrides) };
        let Some(base) = base.filter(|_| problems.is_empty()) else { return Err(fail(problems)) };
        table.remove("sweep");
        let columns = sweep::columns(&axes);
        let cells = sweep::cells(&table, &axes, &columns, &mut problems);
        if problems.is_empty() {
            problems.extend(unknown_baseline(&base, &cells));
        }
        if problems.is_empty() { Ok(Self { base, axes, columns, cells }) } else { Err(fail(problems)) }
    }
}

/// Problems, those of overridden keys marked as such: the file is not to blame for them.
fn told_apart(mut problems: Vec<Problem>, overrides: &[String]) -> Vec<Problem> {
    for Problem { path, message } in &mut problems {
        let of_key = |text: &&String| text.split_once('=').is_some_and(|(key, _)| key.trim() == path.as_str());
        if let Some(text) = overrides.iter().rev().find(of_key) {
            message.push_str(&format!(" (it is set by --set {})", schema::brief_text(text)));
        }
    }
    problems
}

/// The text of an experiment file.
fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError {
        file: path.to_owned(),
        problems: vec![Problem::new(
            "",
            format!("{error}; give the path of an experiment file, such as configs/quickstart.toml"),
        )],
    })
}

/// A file with its overrides, before its keys are checked.
struct Raw {
    table: Table,
    axes: Vec<Axis>,
    problems: Vec<Problem>,
}

impl Raw {
    /// - `find`: is asked for `[model]` if the file has no `model.layers`
    fn parse(
        text: &str,
        path: &Path,
        overrides: &[String],
        find: impl FnOnce(&Outline) -> Result<Option<ModelSection>, String>,
    ) -> Result<Self, ConfigError> {
        let fail = |problems| ConfigError { file: path.to_owned(), problems };
        let mut table: Table = text
            .parse()
            .map_err(|error| fail(vec![Problem::new("", format!("not valid TOML: {}", syntax(&error, text)))]))?;
        let mut problems = Vec::new();
        for text in overrides {
            override_key(&mut table, text, &mut problems);
        }
        if schema::lookup(&table, "model.layers").is_none()
            && let Some(outline) = Outline::of(&table)
        {
            match find(&outline) {
                Ok(section) => _ = section.map(|section| section.complete(&mut table)),
                Err(message) => return Err(fail(vec![Problem::new("model", message)])),
            }
        }
        let axes = sweep::axes(&table, &mut problems);
        Ok(Self { table, axes, problems })
    }
}

/// A baseline that no combination is called.
fn unknown_baseline(base: &Experiment, cells: &[Cell]) -> Option<Problem> {
    let baseline = base.report.baseline.as_ref()?;
    let mut labels: Vec<&str> = cells.iter().map(|cell| cell.run.as_str()).collect();
    labels.dedup();
    if labels.contains(&baseline.as_str()) {
        return None;
    }
    let nearest = labels.iter().min_by_key(|label| strsim::damerau_levenshtein(label, baseline))?;
    let message = format!("found \"{baseline}\", which no conversion is called; did you mean \"{nearest}\"?");
    Some(Problem::new("report.baseline", message))
}

impl Experiment {
    /// Reads and checks an experiment file for a command that expands no sweep: the combinations are not looked at, so an
    /// override may make two of them alike, or one impossible.
    ///
    /// # Errors
    /// As [`ExperimentFile::read`].
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::read_or_find(path, overrides, |_| Ok(None))
    }

    /// The same; its `[model]` may be found elsewhere.
    ///
    /// - `find`: is asked for the section if the file has no `model.layers`; `None` if it is nowhere else either
    ///
    /// # Errors
    /// As [`ExperimentFile::read`], and what `find` says.
    pub fn read_or_find(
        path: &Path,
        overrides: &[String],
        find: impl FnOnce(&Outline) -> Result<Option<ModelSection>, String>,
    ) -> Result<Self, ConfigError> {
        Self::parse_or_find(&read_text(path)?, path, overrides, find)
    }

    /// Checks the text of an experiment file as [`Self::read`] does; `path` is for messages.
    ///
    /// # Errors
    /// As [`ExperimentFile::read`].
    pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::parse_or_find(text, path, overrides, |_| Ok(None))
    }

    /// Checks the text of an experiment file as [`Self::read_or_find`] does.
    ///
    /// # Errors
    /// As [`Self::read_or_find`].
    pub fn parse_or_find(
        text: &str,
        path: &Path,
        overrides: &[String],
        find: impl FnOnce(&Outline) -> Result<Option<ModelSection>, String>,
    ) -> Result<Self, ConfigError> {
        let Raw { table, mut problems, .. } = Raw::parse(text, path, overrides, find)?;
        let experiment = experiment(&table, &mut problems).filter(|_| problems.is_empty());
        experiment.ok_or_else(|| ConfigError { file: path.to_owned(), problems: told_apart(problems, overrides) })
    }

    /// The resolved configuration: every key with its value, defaults filled in.
    pub fn resolved(&self) -> &Table {
        &self.resolved
    }

    /// Keys of `[convert]` with another value than their default that its method does not look at.
    ///
    /// No error: in a sweep over methods they may be another's.
    pub fn keys_without_effect(&self) -> Vec<&'static str> {
        use Method::{ChannelPercentile, Norm, Percentile, Std};
        let of_methods: [(&str, &[Method]); 4] = [
            ("convert.p", &[Norm]),
            ("convert.kappa", &[Norm, Std]),
            ("convert.percentile", &[Percentile, ChannelPercentile]),
            ("convert.percentile_zeros", &[Percentile, ChannelPercentile]),
        ];
        let others = of_methods.into_iter().filter(|(_, methods)| !methods.contains(&self.convert.method));
        others.map(|(key, _)| key).filter(|key| !schema::is_default(&self.resolved, key)).collect()
    }

    /// The resolved configuration as TOML text.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.resolved).expect("a table of TOML values")
    }

    /// The resolved configuration of some keys or sections, for an artefact's recipe.
    pub fn excerpt(&self, paths: &[&str]) -> serde_json::Value {
        let mut excerpt = Table::new();
        for path in paths {
            if let Some(value) = schema::lookup(&self.resolved, path) {
                schema::insert(&mut excerpt, path, value.clone());
            }
        }
        serde_json::to_value(excerpt).expect("TOML values without dates are JSON values")
    }

    /// Checks that the network fits the data set.
    ///
    /// # Errors
    /// What does not fit, with the remedy.
    pub fn check_fits(&self, shape: [usize; 3], n_classes: usize) -> Result<(), String> {
        let dataset = &self.data.dataset;
        let input = self.architecture.input();
        if input != shape {
            let (found, wanted) = (shape_text(&input), shape_text(&shape));
            return Err(format!(
                "[model] input: found {found}, but {dataset} has images of {wanted}; use input = {shape:?}"
            ));
        }
        if self.architecture.n_classes() != n_classes {
            // Without names, the largest label counts.
            let names = if dataset == "custom" { ", or name all classes in the files' metadata" } else { "" };
            return Err(format!(
                "[model] layers: the last layer has {} units, but {dataset} has {n_classes} classes; use units = {n_classes}{names}",
                self.architecture.n_classes()
            ));
        }
        Ok(())
    }
}

impl ConvertConfig {
    /// Name for tables and figures: the one given, or the method with its parameters.
    pub fn label(&self) -> String {
        if !self.given_label.is_empty() {
            return self.given_label.clone();
        }
        let kappa = match self.kappa {
            Kappa::Value(kappa) => kappa.to_string(),
            Kappa::Auto => "auto".to_owned(),
        };
        let mut label = match self.method {
            Method::Norm if self.p.is_infinite() => format!("norm p=∞ κ={kappa}"),
            Method::Norm => format!("norm p={} κ={kappa}", self.p),
            Method::Std => format!("std κ={kappa}"),
            Method::Percentile | Method::ChannelPercentile => format!("{} {}", self.method, self.percentile),
            method => method.to_string(),
        };
        match self.scale {
            Scale::Value(scale) if (scale - 1.0).abs() > f64::EPSILON => label.push_str(&format!(" ×{scale}")),
            Scale::Value(_) => {}
            Scale::Auto => label.push_str(" ×auto"),
        }
        if !self.compensate {
            label.push_str(" uncompensated");
        }
        match self.calibrate {
            Calibrate::None => {}
            Calibrate::Bias => label.push_str(" + bias"),
            Calibrate::Potential => label.push_str(" + v(0)"),
        }
        if self.sum_bits != 24 {
            label.push_str(&format!(", {} bits", self.sum_bits));
        }
        if self.weight_bits != 25 {
            label.push_str(&format!(", {}-bit weights", self.weight_bits));
        }
        label
    }
}

/// The first line of a TOML syntax error, with its place.
fn syntax(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().replace('\n', ", ");
    match error.span() {
        Some(span) => {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            format!("line {line}: {message}; correct it")
        }
        None => format!("{message}; correct it"),
    }
}

fn override_key(raw: &mut Table, text: &str, problems: &mut Vec<Problem>) {
    let Some((path, value)) = text.split_once('=') else {
        problems.push(Problem::new("", format!("--set {text}: no `=`; write --set KEY=VALUE")));
        return;
    };
    let (path, value) = (path.trim(), value.trim());
    if !schema::is_key(path) && !path.strip_prefix("sweep.").is_some_and(schema::is_key) {
        let problem = schema::unknown(path);
        problems.push(Problem::new("", format!("--set {path}: {}", problem.message)));
        return;
    }
    // A bare word is a text: --set convert.method=norm.
    let value = schema::parse_value(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    schema::insert(raw, path, value);
}

/// Checks a raw table without its sweep.
fn experiment(raw: &Table, problems: &mut Vec<Problem>) -> Option<Experiment> {
    let before = problems.len();
    let resolved = schema::check(raw, problems);
    let architecture =
        resolved.get("model").and_then(Value::as_table).and_then(|model| layers::architecture(model, problems));
    if problems.len() > before {
        return None;
    }
    let experiment = Reader(&resolved).experiment(architecture?);
    contradictions(&experiment, problems);
    (problems.len() == before).then_some(experiment)
}

/// Keys that are valid alone but not together.
fn contradictions(experiment: &Experiment, problems: &mut Vec<Problem>) {
    let Experiment { data, train, convert, simulate, .. } = experiment;
    let mut refuse = |path: &str, message: String| problems.push(Problem::new(path, message));
    if train.patience.is_some() && data.validation_samples == 0 {
        refuse(
            "train.patience",
            "early stopping needs a validation split; set data.validation_samples, or patience = 0".to_owned(),
        );
    }
    if train.nesterov && train.momentum == 0.0 {
        refuse(
            "train.sgd.nesterov",
            "has no effect without momentum; set train.sgd.momentum, or nesterov = false".to_owned(),
        );
    }
    if simulate.seeds.is_empty() {
        refuse("simulate.seeds", "found none; give at least one".to_owned());
    }
    if let Some(late) = simulate.checkpoints.iter().find(|&&step| step > simulate.steps) {
        refuse(
            "simulate.checkpoints",
            format!("step {late} is after the last; raise simulate.steps = {} or drop it", simulate.steps),
        );
    }
    if convert.method == Method::Std && simulate.encoding == Encoding::Constant {
        refuse(
            "convert.method",
            "`std` measures the variance of spiking input, but simulate.encoding = \"constant\" has none; use another method or encoding"
                .to_owned(),
        );
    }
    if simulate.decompose && simulate.reset == Reset::Zero {
        refuse(
            "simulate.decompose",
            "takes apart runs with reset by subtraction, whose counts follow from their charge; set simulate.reset = \"subtract\", or decompose = false"
                .to_owned(),
        );
    }
    if simulate.decompose && !simulate.faults.is_none() {
        refuse(
            "simulate.decompose",
            "takes apart networks without faults; remove [simulate.faults], or set decompose = false".to_owned(),
        );
    }
    if convert.calibrate != Calibrate::None && !convert.compensate {
        refuse(
            "convert.calibrate",
            format!(
                "`{}` brings rates to those of the trained network, which convert.compensate = false does not compute; \
                 drop one of them",
                convert.calibrate
            ),
        );
    }
    if convert.kappa == Kappa::Auto && !matches!(convert.method, Method::Norm | Method::Std) {
        refuse(
            "convert.kappa",
            format!("\"auto\" is for the methods norm and std, not `{}`; give a number", convert.method),
        );
    }
    if convert.kappa == Kappa::Auto && convert.scale == Scale::Auto {
        refuse(
            "convert.scale",
            "\"auto\" beside kappa = \"auto\" searches the thresholds twice; give a number for one of them".to_owned(),
        );
    }
}

/// Reads values out of a table that [`schema::check`] has passed.
struct Reader<'a>(&'a Table);

impl Reader<'_> {
    fn value(&self, path: &str) -> &Value {
        schema::lookup(self.0, path).unwrap_or_else(|| panic!("`{path}` was checked and filled in"))
    }

    fn text(&self, path: &str) -> String {
        self.value(path).as_str().expect("a checked text").to_owned()
    }

    fn bool(&self, path: &str) -> bool {
        self.value(path).as_bool().expect("a checked bool")
    }

    fn integer(&self, path: &str) -> u64 {
        self.value(path).as_integer().expect("a checked integer") as u64
    }

    fn count(&self, path: &str) -> usize {
        self.integer(path) as usize
    }

    fn float(&self, path: &str) -> f64 {
        number(self.value(path)).expect("a checked number")
    }

    fn integers(&self, path: &str) -> Vec<u64> {
        let list = self.value(path).as_array().expect("a checked list");
        list.iter().map(|item| item.as_integer().expect("a checked integer") as u64).collect()
    }

    fn word<T: FromStr>(&self, path: &str) -> T {
        let word = self.text(path);
        word.parse().unwrap_or_else(|_| panic!("`{path}`: the table of keys lists `{word}`, its type does not"))
    }

    /// Zero stands for "none" in counts.
    fn optional_count(&self, path: &str) -> Option<usize> {
        Some(self.count(path)).filter(|&count| count > 0)
    }

    fn experiment(&self, architecture: Architecture) -> Experiment {
        Experiment {
            name: self.text("name"),
            description: self.text("description"),
            seed: self.integer("seed"),
            backend: self.word("backend"),
            data: DataConfig {
                dataset: self.text("data.dataset"),
                path: schema::lookup(self.0, "data.path").and_then(Value::as_str).map(PathBuf::from),
                validation_samples: self.count("data.validation_samples"),
            },
            architecture,
            train: self.train(),
            convert: self.convert(),
            simulate: self.simulate(),
            report: ReportConfig {
                baseline: schema::lookup(self.0, "report.baseline").and_then(Value::as_str).map(str::to_owned),
            },
            resolved: self.0.clone(),
        }
    }

    fn train(&self) -> TrainConfig {
        TrainConfig {
            epochs: self.count("train.epochs"),
            batch_size: self.count("train.batch_size"),
            patience: self.optional_count("train.patience"),
            learning_rate: self.float("train.sgd.learning_rate"),
            momentum: self.float("train.sgd.momentum"),
            nesterov: self.bool("train.sgd.nesterov"),
            weight_decay: self.float("train.sgd.weight_decay"),
            schedule: match self.text("train.sgd.schedule").as_str() {
                "constant" => Schedule::Constant,
                "step" => Schedule::Step {
                    epochs: self.count("train.sgd.step_epochs"),
                    factor: self.float("train.sgd.step_factor"),
                },
                _ => Schedule::Cosine { final_learning_rate: self.float("train.sgd.final_learning_rate") },
            },
            augment: Augment {
                crop_padding: self.count("train.augment.crop_padding"),
                flip: self.bool("train.augment.flip"),
                poisson_steps: self.count("train.augment.poisson_steps"),
            },
        }
    }

    fn convert(&self) -> ConvertConfig {
        let grid =
            |path: &str| -> Option<Vec<f64>> { Some(self.value(path).as_array()?.iter().filter_map(number).collect()) };
        ConvertConfig {
            given_label: self.text("convert.label"),
            method: self.word("convert.method"),
            p: number(self.value("convert.p")).unwrap_or(f64::INFINITY),
            kappa: number(self.value("convert.kappa")).map_or(Kappa::Auto, Kappa::Value),
            kappa_grid: grid("convert.kappa_grid"),
            kappa_samples: self.count("convert.kappa_samples"),
            percentile: self.float("convert.percentile"),
            percentile_zeros: self.bool("convert.percentile_zeros"),
            scale: number(self.value("convert.scale")).map_or(Scale::Auto, Scale::Value),
            scale_grid: grid("convert.scale_grid").expect("a checked list"),
            target_steps: self.optional_count("convert.target_steps").unwrap_or_else(|| self.count("simulate.steps")),
            calibration_samples: self.count("convert.calibration_samples"),
            calibrate: self.word("convert.calibrate"),
            compensate: self.bool("convert.compensate"),
            initial_potential: self.float("convert.initial_potential"),
            sum_bits: self.count("convert.sum_bits") as u32,
            weight_bits: self.count("convert.weight_bits") as u32,
        }
    }

    fn simulate(&self) -> SimulateConfig {
        let steps = self.count("simulate.steps");
        let mut checkpoints: Vec<usize> =
            self.integers("simulate.checkpoints").into_iter().map(|step| step as usize).collect();
        if checkpoints.is_empty() {
            checkpoints = (0..=steps.ilog2()).map(|power| 1 << power).filter(|&step| step < steps).collect();
        }
        if checkpoints.iter().all(|&step| step < steps) {
            checkpoints.push(steps);
        }
        checkpoints.sort_unstable();
        SimulateConfig {
            engine: self.word("simulate.engine"),
            encoding: self.word("simulate.encoding"),
            reset: self.word("simulate.reset"),
            readout: self.word("simulate.readout"),
            steps,
            early_exit: number(self.value("simulate.early_exit")),
            decompose: self.bool("simulate.decompose"),
            checkpoints,
            seeds: self.integers("simulate.seeds"),
            samples: self.optional_count("simulate.samples"),
            batch_size: self.count("simulate.batch_size"),
            probe_samples: self.count("simulate.probe_samples"),
            raster_samples: self.count("simulate.raster_samples"),
            faults: FaultsConfig {
                seed: self.integer("simulate.faults.seed"),
                weight_noise: self.float("simulate.faults.weight_noise"),
                weight_noise_of: self.word("simulate.faults.weight_noise_of"),
                weight_range: self.word("simulate.faults.weight_range"),
                weight_bits: self.value("simulate.faults.weight_bits").as_integer().map(|bits| bits as u32),
                threshold_mismatch: self.float("simulate.faults.threshold_mismatch"),
                dropped_spikes: self.float("simulate.faults.dropped_spikes"),
            },
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

#[cfg(test)]
mod tests;
