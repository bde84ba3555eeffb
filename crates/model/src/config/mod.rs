//! One TOML file → a checked [`Experiment`].
//!
//! A file is read into a raw TOML table, changed by `--set KEY=VALUE` overrides, checked against the table of
//! keys ([`schema::KEYS`]) and turned into types that cannot be invalid. Every problem is reported at once, with
//! file, key and remedy. The resolved table, with all defaults filled in, goes into every artefact.

mod data;
mod faults;
mod keys;
mod layers;
mod method;
pub mod schema;
mod sections;
mod sweep;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::{Table, Value};

use crate::architecture::{Architecture, shape_text};
use crate::backend::Backend;
use crate::quantised;
pub use data::{DataConfig, DatasetName, Interpolation, Normalize, Resize, Scaling};
pub use faults::{FaultsConfig, NO_FAULTS};
pub use layers::ModelSection;
pub use method::{Measures, Method, MethodFacts};
use schema::{KEYS, Key};
pub use sections::{
    Augment, ConvertConfig, DEFAULT_KAPPAS, DEFAULT_THRESHOLD_LEARNING_RATE, Kappa, NeuronConfig, ReportConfig, Scale,
    Schedule, SimulateConfig, TrainConfig,
};
pub use sweep::{Axis, Cell, folder_name};
pub use words::{
    Activation, Calibrate, Encoding, EngineKind, NeuronKind, NoiseOf, RateCap, Readout, Reset, TrainedThresholds,
    WeightRange,
};

/// Keys that the data fill in where a file leaves them open.
const SCALE: &str = "data.scale";
const RANGE: &str = "data.range";

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

/// What is known of an experiment before its `[model]` is.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// Name of the experiment.
    pub name: String,
    /// Its data set, with what the file rightly says of it.
    pub data: DataConfig,
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
        let count = |path: &str| {
            schema::lookup(raw, path).and_then(Value::as_integer).and_then(|count| usize::try_from(count).ok())
        };
        let data = DataConfig {
            dataset: text("data.dataset")?.parse().ok()?,
            path: text("data.path").map(PathBuf::from),
            crop: count("data.crop"),
            first_label: count("data.first_label"),
            label_column: count("data.label_column"),
            ..DataConfig::default()
        };
        Some(Self { name, data, input })
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
    std::fs::read_to_string(path).map_err(|error| {
        let is_network = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"));
        let message = if is_network {
            "a network, where an experiment file is needed; give the samples that it is for (convert FILE.onnx --data PATH), or an \
             experiment file with it (convert CONFIG --weights FILE.onnx)"
                .to_owned()
        } else {
            format!("{error}; give the path of an experiment file, such as configs/quickstart.toml")
        };
        ConfigError { file: path.to_owned(), problems: vec![Problem::new("", message)] }
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

/// A key that is set in vain; in words: `convert.kappa has no effect: the method …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithoutEffect {
    /// Dotted path.
    pub path: &'static str,
    /// Who would look at it, and is not there.
    pub why: String,
}

impl fmt::Display for WithoutEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no effect: {}", self.path, self.why)
    }
}

impl Experiment {
    /// Puts a checked table into its types.
    fn of_checked(resolved: Table, architecture: Architecture) -> Self {
        // A blank, which the rows of the keys fill in.
        let mut experiment = Self {
            name: String::new(),
            description: String::new(),
            seed: 0,
            backend: Backend::Flex,
            data: DataConfig::default(),
            architecture,
            train: TrainConfig::default(),
            convert: ConvertConfig::default(),
            simulate: SimulateConfig::default(),
            report: ReportConfig::default(),
            resolved: Table::new(),
        };
        for key in KEYS {
            if let Some(given) = keys::Given::of(&resolved, key.path) {
                (key.read)(&mut experiment, &given);
            }
        }
        let neuron = &mut experiment.simulate.neuron;
        if neuron.kind != NeuronKind::Counting {
            // Others do not look at what else is set.
            *neuron = NeuronConfig { kind: neuron.kind, ..NeuronConfig::default() };
        }
        Self { resolved, ..experiment }
    }

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

    /// Keys of a section with another value than their default that nothing looks at.
    ///
    /// No error: in a sweep over methods they may be another's.
    ///
    /// - `section`: `convert`, say
    pub fn keys_without_effect(&self, section: &str) -> Vec<WithoutEffect> {
        let of_section = |key: &&Key| {
            key.path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')) && !key.matters_to(self)
        };
        let set = KEYS.iter().filter(of_section).filter(|key| !schema::is_default(&self.resolved, key));
        set.map(|key| WithoutEffect { path: key.path, why: key.why_not(self) }).collect()
    }

    /// Whether the experiment depends on a key; true for what is no key.
    pub fn depends_on(&self, path: &str) -> bool {
        schema::find(path).is_none_or(|key| key.matters_to(self))
    }

    /// Keys of a section that have no effect here, and had none on an artefact: a difference in them does not make it another.
    ///
    /// - `made_by`: the resolved configuration that the artefact holds; if it cannot be read, no key is known to have had none
    pub fn keys_without_effect_on_either(&self, section: &str, made_by: &str) -> Vec<&'static str> {
        let Ok(made_by) = Self::parse(made_by, Path::new("configuration of an artefact"), &[]) else {
            return Vec::new();
        };
        let has_effect = |key: &Key| key.matters_to(self) || key.matters_to(&made_by);
        schema::keys_below(section).filter(|key| !has_effect(key)).map(|key| key.path).collect()
    }

    /// The resolved configuration as TOML text.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.resolved).expect("a table of TOML values")
    }

    /// The experiment with what its data tell put in place of what its file leaves open: `data.scale` and `data.range` are in
    /// [`Self::resolved`] and [`Self::to_toml`] then.
    ///
    /// Published data sets are known by their names, so only what differs from theirs is put in.
    ///
    /// - `usual`: what the data set's name tells, if it does
    #[must_use]
    pub fn with_scaling(&self, scaling: Scaling, usual: Option<Scaling>) -> Self {
        let mut experiment = self.clone();
        if usual == Some(scaling) {
            return experiment;
        }
        let Scaling { scale, range } = scaling;
        (experiment.data.scale, experiment.data.range) = (Some(scale), Some(range));
        schema::insert(&mut experiment.resolved, SCALE, scale.into());
        schema::insert(&mut experiment.resolved, RANGE, range.to_vec().into());
        experiment.see_values();
        experiment
    }

    /// Lets the network see the values that samples stand for ([`DataConfig::affine`]).
    fn see_values(&mut self) {
        let channels = self.architecture.input()[0];
        if self.data.normalize.as_ref().is_some_and(|normalize| !normalize.fits(channels)) {
            // Refused with what else contradicts itself.
            return;
        }
        let affine: Vec<[f64; 2]> = (0..channels).map(|channel| self.data.affine(channel)).collect();
        self.architecture =
            self.architecture.seeing(&affine).expect("a network stays one where each channel of its input is scaled");
    }

    /// What an artefact's resolved configuration says of the scaling of its data; `None` if it does not.
    pub fn scaling_of_config(config: &str) -> Option<Scaling> {
        let table: Table = config.parse().ok()?;
        let scale = number(schema::lookup(&table, SCALE)?)?;
        let range: Vec<f64> = schema::lookup(&table, RANGE)?.as_array()?.iter().filter_map(number).collect();
        Some(Scaling { scale, range: range.try_into().ok()? })
    }

    /// The experiment with the scaling of an artefact's resolved configuration in place of what its own file leaves open.
    #[must_use]
    pub fn with_scaling_of(&self, config: &str) -> Self {
        let Some(Scaling { scale, range }) = Self::scaling_of_config(config) else { return self.clone() };
        let scaling = Scaling { scale: self.data.scale.unwrap_or(scale), range: self.data.range.unwrap_or(range) };
        self.with_scaling(scaling, None)
    }

    /// Whether an artefact's resolved configuration is that of this experiment, but for what the experiment leaves to its data.
    pub fn is_config(&self, config: &str) -> bool {
        let Ok(mut table) = config.parse::<Table>() else { return false };
        for path in [SCALE, RANGE] {
            let (_, name) = path.rsplit_once('.').expect("a key of a section");
            if let Some(data) = table.get_mut("data").and_then(Value::as_table_mut)
                && schema::lookup(&self.resolved, path).is_none()
            {
                data.remove(name);
            }
        }
        table == self.resolved
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
        let dataset = self.data.dataset;
        let input = self.architecture.input();
        if input != shape {
            let (found, wanted) = (shape_text(&input), shape_text(&shape));
            return Err(format!(
                "[model] input: found {found}, but {dataset} has images of {wanted}; use input = {shape:?}"
            ));
        }
        if self.architecture.n_classes() != n_classes {
            // Without names, the largest label counts.
            let names = if dataset == DatasetName::Custom {
                ", or name all classes: in the files' metadata, or by empty folders beside those of \
                     pictures"
            } else {
                ""
            };
            return Err(format!(
                "[model] layers: the last layer has {} units, but {dataset} has {n_classes} classes; use units = {n_classes}{names}",
                self.architecture.n_classes()
            ));
        }
        Ok(())
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
        resolved.get("model").and_then(Value::as_table).and_then(|model| layers::architecture(model, None, problems));
    if problems.len() > before {
        return None;
    }
    let mut experiment = Experiment::of_checked(resolved, architecture?);
    experiment.see_values();
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
    quantisation(experiment, &mut refuse);
    normalization(experiment, &mut refuse);
    if simulate.seeds.is_empty() {
        refuse("simulate.seeds", "found none; give at least one".to_owned());
    }
    if let Some(late) = simulate.checkpoints.iter().find(|&&step| step > simulate.steps) {
        refuse(
            "simulate.checkpoints",
            format!("step {late} is after the last; raise simulate.steps = {} or drop it", simulate.steps),
        );
    }
    if convert.method.facts().measures == Measures::Noise && simulate.encoding == Encoding::Constant {
        refuse(
            "convert.method",
            format!(
                "`{}` measures the variance of spiking input, but simulate.encoding = \"constant\" has none; use another method or encoding",
                convert.method
            ),
        );
    }
    if !simulate.neuron.levels.is_power_of_two() {
        let (found, below) = (simulate.neuron.levels, simulate.neuron.levels.next_power_of_two() / 2);
        refuse(
            "simulate.levels",
            format!("found {found}; use a power of two, {below} or {}: quanta are exact then", 2 * below),
        );
    }
    if simulate.decompose && !simulate.neuron.is_binary() {
        refuse(
            "simulate.decompose",
            format!(
                "takes apart runs of neurons `if`; of `{}`, what is lost is rounding and saturation: set decompose = false",
                simulate.neuron.kind
            ),
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
    let divides = |method: &Method| method.facts().keys.contains(&"convert.kappa");
    if convert.kappa == Kappa::Auto && !divides(&convert.method) {
        let others: Vec<&str> =
            Method::ALL.iter().filter(|method| divides(method)).map(|method| method.name()).collect();
        refuse(
            "convert.kappa",
            format!("\"auto\" is for the methods {}, not `{}`; give a number", others.join(" and "), convert.method),
        );
    }
    if convert.kappa == Kappa::Auto && convert.scale == Scale::Auto {
        refuse(
            "convert.scale",
            "\"auto\" beside kappa = \"auto\" searches the thresholds twice; give a number for one of them".to_owned(),
        );
    }
}

/// A network with the activation `qcfs` that cannot be trained.
fn quantisation(experiment: &Experiment, refuse: &mut impl FnMut(&str, String)) {
    let TrainConfig { activation, levels, epochs, .. } = &experiment.train;
    if *activation != Activation::Qcfs {
        return;
    }
    if levels.is_empty() {
        refuse(
            "train.levels",
            "missing, and activation = \"qcfs\" needs it; give numbers of levels, such as [16, 8, 4]: the last one is what the network is \
             trained for"
                .to_owned(),
        );
    } else if levels.len() > *epochs {
        let n = levels.len();
        refuse(
            "train.levels",
            format!("found {n} stages for train.epochs = {epochs}; raise epochs to at least {n}, or drop stages"),
        );
    }
    for problem in quantised::rectifiers(&experiment.architecture).err().unwrap_or_default() {
        refuse("train.activation", format!("\"qcfs\": {problem}"));
    }
}

/// Means and deviations that do not belong together, or not to the network's input.
fn normalization(experiment: &Experiment, refuse: &mut impl FnMut(&str, String)) {
    let has = |path| schema::lookup(&experiment.resolved, path).is_some();
    let keys = ["data.normalize.mean", "data.normalize.deviation"];
    match keys.map(has) {
        [true, false] => return refuse(keys[0], format!("has no effect without a deviation; give {}", keys[1])),
        [false, true] => {
            return refuse(keys[1], format!("has no effect without a mean; give {}, 0 for none", keys[0]));
        }
        _ => {}
    }
    let Some(Normalize { mean, deviation }) = &experiment.data.normalize else { return };
    let n_channels = experiment.architecture.input()[0];
    for (key, values) in keys.into_iter().zip([mean, deviation]) {
        if values.len() != 1 && values.len() != n_channels {
            refuse(
                key,
                format!("found {} numbers for {n_channels} channels; give one for each, or one for all", values.len()),
            );
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

#[cfg(test)]
mod tests;
