//! Converts a trained network to a spiking network and writes `snn.safetensors`.
//!
//! - [`activation`]: the trained network's activations on calibration samples
//! - [`mod@export`]: the converted network in formats of others
//! - [`mod@preview`]: its accuracy with neurons that count, for any number of steps
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let experiment = model::config::ExperimentFile::read("configs/quickstart.toml".as_ref(), &[])?.base;
//! let folder = std::path::Path::new("runs/quickstart");
//! let snn = convert::run(&experiment, &folder.join("ann.safetensors"), folder, convert::Options::default())?;
//! for layer in &snn.conversion.layers {
//!     println!("{}: λ from {} to {}", layer.name, layer.lambda.min, layer.lambda.max);
//! }
//! # Ok(())
//! # }
//! ```

pub mod activation;
pub mod check;
pub mod export;
pub mod preview;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use analysis::probe::current_variance;
use ann::network::Network;
use anyhow::{Context as _, Error, Result, anyhow, bail};
use burn::tensor::Device;
use check::{Expectation, Trial};
use cli::ExperimentArgs;
pub use cli::Options;
use datasets::{DataSet, DatasetError, DatasetFacts, DatasetName, LabelledImages, Resolved, Samples, Split};
use engine_event::EventEngine;
use import::Imported;
use model::Experiment;
use model::ann::AnnArtefact;
use model::architecture::shape_text;
use model::artefact;
use model::config::{
    Calibrate, ConfigError, ConvertConfig, DEFAULT_KAPPAS, Encoding, Kappa, Method, ModelSection, NeuronConfig,
    Outline, Readout, Scale,
};
use results::record::{ConversionRecord, KappaTrial, ScaleSearch, ScaleTrial};
use serde_json::{Value, json};
use snn::artefact::{FILE_NAME, FORMAT, SnnArtefact, SnnMetadata, Structure, TrainedFile};
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::{Engine as _, NetworkError, RunSettings, Sample, SpikeTrain, SpikingLayer, SpikingNetwork};

use methods::activation::Activations;
use methods::calibrate::{self, Calibration};
use methods::layer::{AnnLayer, Before, ann_layers};
use methods::quantised::Quantised;
use methods::search::{self, Knob, Tried};
use methods::thresholds::{Choice, ThresholdError, choose, norm::ratio_to_l4};
use methods::{logits, rescale, saturation, summary};

/// A converted network on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub checksum: String,
    /// What was done.
    pub conversion: ConversionRecord,
    /// What the user should know beyond that, one sentence each.
    pub notes: Vec<String>,
    /// Whether the file was there already and unchanged.
    pub reused: bool,
}

/// Samples on which `std` measures the noise: enough for a few percent of error, and it runs the network once a layer.
const NOISE_SAMPLES: usize = 200;

/// Key of a recipe's `data`.
const CHECKSUM: &str = "checksum";

/// Reads the experiment file; a `[model]` that it lacks is that of an ONNX file, whose network is returned with it.
///
/// - `weights`: the trained network, if it is not Quartic's own
/// - `output`: name of the ONNX file's output, where there are several
///
/// # Errors
/// [`ConfigError`] with every problem, that of the ONNX file among them.
pub fn read_experiment(
    args: &ExperimentArgs,
    weights: Option<&Path>,
    output: Option<&str>,
) -> Result<(Experiment, Option<import::Network>), ConfigError> {
    let mut network = None;
    let experiment = args.read_base_or_find(|outline| find_model(outline, weights, output, &mut network))?;
    Ok((experiment, network))
}

/// The `[model]` of an ONNX file, for an experiment that lacks one.
fn find_model(
    Outline { data, input, .. }: &Outline,
    weights: Option<&Path>,
    output: Option<&str>,
    network: &mut Option<import::Network>,
) -> Result<Option<ModelSection>, String> {
    let Some(onnx) = weights.filter(|path| import::is_onnx(path)) else { return Ok(None) };
    // A data set that cannot be read is refused with everything else that is wrong with the file.
    let facts = DatasetFacts::of(data, *input);
    let sample = facts.ok().map(|facts| facts.shape);
    let found = import::network(onnx, input.or(sample), output).map_err(|error| error.to_string())?;
    match sample {
        Some(sample) if sample != found.model.input => Err(format!(
            "{}: takes images of {}, and {} has {}; export the network for these",
            onnx.display(),
            shape_text(&found.model.input),
            data.dataset,
            shape_text(&sample)
        )),
        _ => Ok(Some(network.insert(found).model.clone())),
    }
}

/// Name of the experiment file that stands for a network and a folder.
pub const EXPERIMENT_FILE: &str = "experiment.toml";

/// An experiment without a file: a network, the data that it is for, and what serves most networks: a constant current and the
/// `percentile` method. Its file, `RUNS/NAME/experiment.toml`, is for the commands that follow, and for whoever has converted the network
/// to write.
///
/// - `args`: the network's file in place of an experiment's; its name becomes the experiment's
/// - `data`: folder or file with the samples
///
/// # Errors
/// If the network is not read, the data do not fit it, or the experiment's file is there and another one.
pub fn experiment_of(
    args: &ExperimentArgs,
    data: &Path,
    output: Option<&str>,
) -> Result<(Experiment, import::Network, OwnFile)> {
    let onnx = args.config.as_deref().unwrap_or(Path::new(""));
    if !import::is_onnx(onnx) {
        bail!(
            "{}: --data goes with an ONNX file, which says what its network is; with other weights, give an experiment file that has the \
             [model], and --weights",
            onnx.display()
        );
    }
    let stem = onnx.file_stem().unwrap_or_default().to_string_lossy();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(allowed).collect();
    // One level deep, as an experiment file has it.
    let section = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), toml::Value::from(*value)));
        toml::Value::Table(pairs.collect())
    };
    let text = toml::Table::from_iter([
        ("name".to_owned(), toml::Value::from(name)),
        ("data".to_owned(), section(&[("dataset", "custom"), ("path", &data.to_string_lossy())])),
        ("convert".to_owned(), section(&[("method", "percentile")])),
        ("simulate".to_owned(), section(&[("encoding", "constant")])),
    ])
    .to_string();
    let mut network = None;
    // The experiment's file is the network's here, and named once.
    let own = format!("{}: ", onnx.display());
    let find = |outline: &Outline| {
        let found = find_model(outline, Some(onnx), output, &mut network);
        found.map_err(|message| {
            message.lines().map(|line| line.strip_prefix(&own).unwrap_or(line)).collect::<Vec<_>>().join("; ")
        })
    };
    let experiment = Experiment::parse_or_find(&text, onnx, &args.all_overrides(), find)?;
    let network = network.with_context(|| format!("{}: not read", onnx.display()))?;
    let path = args.runs.join(&experiment.name).join(EXPERIMENT_FILE);
    let mut resolved: toml::Table = experiment.to_toml().parse().expect("a resolved experiment is valid TOML");
    // Commands take it from the converted network.
    resolved.remove("model");
    let text = format!("# Of {}; its [model] is in {FILE_NAME}.\n{resolved}", onnx.display());
    match std::fs::read_to_string(&path) {
        Ok(found) if found != text && !args.force => bail!(
            "{}: is there already, and another experiment; convert with it (convert {0} --weights {}), give this one another name (--set \
             name=NAME), or give --force",
            path.display(),
            onnx.display()
        ),
        _ => Ok((experiment, network, OwnFile { path, text })),
    }
}

/// The file of an experiment that was made of a network and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// Where it goes.
    pub path: PathBuf,
    text: String,
}

impl OwnFile {
    /// Writes it, where the network is converted: an experiment that fails is soon made another.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn write(&self) -> Result<()> {
        let context = || format!("{}: cannot be written", self.path.display());
        std::fs::create_dir_all(self.path.parent().unwrap_or(Path::new("."))).with_context(context)?;
        std::fs::write(&self.path, &self.text).with_context(context)
    }
}

/// Converts a network, or finds it converted, in a run's folder.
///
/// - `weights`: the trained network, Quartic's own `ann.safetensors` or a file of another program's ([`import::weights`])
/// - `folder`: where `snn.safetensors` goes
///
/// # Errors
/// If the weights cannot be read or do not fit, the data are needed and cannot be read, or the method gives no
/// thresholds.
pub fn run(experiment: &Experiment, weights: &Path, folder: &Path, options: Options) -> Result<Outcome> {
    check_memory(weights)?;
    let weights = import::weights(weights, &experiment.architecture, None)?;
    run_imported(experiment, weights, folder, options, Expectation::default())
}

/// The same for weights that are read already.
///
/// - `expected`: of a network that another program has trained
///
/// # Errors
/// If the data are needed and cannot be read, the method gives no thresholds, or the network of another program is not as accurate as
/// expected, or not better than chance.
pub fn run_imported(
    experiment: &Experiment,
    weights: Imported,
    folder: &Path,
    options: Options,
    expected: Expectation,
) -> Result<Outcome> {
    let path = folder.join(FILE_NAME);
    let Imported { mut ann, notes: mut import_notes } = weights;
    let made_by = ann.metadata.as_ref().map(|metadata| metadata.config.as_str());
    let (experiment, data) = match Resolved::of(experiment, made_by) {
        Ok(Resolved { experiment, data, notes }) => {
            import_notes.extend(notes);
            (experiment, Ok(data))
        }
        // A method may do without data.
        Err(error) => {
            (made_by.map_or_else(|| experiment.clone(), |config| experiment.with_scaling_of(config)), Err(error))
        }
    };
    let experiment = &experiment;
    let files = Files { experiment, data: data.as_ref() };
    let recipe = recipe(experiment, &ann.checksum, files.own_checksum().as_deref());
    let found = if options.force { None } else { snn::artefact::read_network::<Value, ConversionRecord>(&path).ok() };
    let found = found.filter(|found| has_trained(&found.metadata, folder));
    let found = found.filter(|found| is_same(&found.metadata, &recipe, experiment));
    let mut found = found.map(|SnnArtefact { metadata, checksum, .. }| (metadata, checksum));
    let network = |ann: &AnnArtefact, device: &Device| {
        Network::with_tensors(&experiment.architecture, &ann.tensors, ann.levels(), device)
    };
    let unchanged = |ann: &AnnArtefact, (metadata, checksum): (SnnMetadata<Value, ConversionRecord>, String)| {
        let SnnMetadata { conversion, notes: own_notes, .. } = metadata;
        // Files of before notes were kept have none.
        let of_record = search::end_of_grid_note(&conversion).filter(|_| own_notes.is_empty());
        let mut notes: Vec<String> = import_notes.iter().cloned().chain(own_notes).chain(of_record).collect();
        if made_by.is_none() && expected.accuracy.is_some() {
            let (device, none_needed) = (ann::device(experiment.backend)?, Err(&anyhow!("not read")));
            let judged = files.judge(&network(ann, &device), &device, none_needed, expected)?;
            notes.extend(judged.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
        }
        Ok(Outcome { path: path.clone(), checksum, conversion, notes, reused: true })
    };
    // What was converted without data lacks the saturation that data tell: not for ever, if they are there by now.
    let lacks_data =
        |found: &ConversionRecord| matches!(&found.layers[..], [first, _, ..] if first.expected_saturation.is_none());
    if let Some(found) = found.take_if(|(metadata, _)| !lacks_data(&metadata.conversion)) {
        return unchanged(&ann, found);
    }
    let samples = files.calibration();
    if let Some(found) = found.filter(|_| samples.is_err()) {
        return unchanged(&ann, found);
    }
    let device = ann::device(experiment.backend)?;
    // The trained network's tensors are stored once, and those of a large one let go as soon as they have served.
    let is_large = snn::artefact::is_large(&experiment.architecture);
    let trained = if is_large { Some(trained_file(folder, &ann)?) } else { None };
    let network = if is_large {
        Network::of_tensors(&experiment.architecture, std::mem::take(&mut ann.tensors), ann.levels(), &device)
    } else {
        network(&ann, &device)
    };
    let mut notes: Vec<String> = composition_note(experiment).into_iter().collect();
    if made_by.is_none() {
        notes.extend(files.judge(&network, &device, samples.as_ref(), expected)?);
    }
    let mut data = samples.map(|samples| {
        let populations = experiment.architecture.populations();
        let activations = activation::measure(&network, populations, &samples.calibration, &device);
        Data { samples, activations }
    });
    if is_large {
        ann.tensors = network.tensors();
    }
    drop(network);
    let mut layers = ann_layers(&experiment.architecture, &ann.tensors);
    if is_large {
        ann.tensors.clear();
    }
    if let Ok(Data { activations, .. }) = &mut data {
        notes.extend(raise_logits(experiment, &mut layers, activations));
    }
    let converter = Converter { experiment, layers: &layers, data };
    let converted = converter.convert(options)?;
    notes.extend(converted.notes);
    let metadata = SnnMetadata {
        ann_levels: ann.levels(),
        format: FORMAT,
        quartic_version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
        config: experiment.to_toml(),
        parent: ann.checksum,
        conversion: converted.record.clone(),
        notes: notes.clone(),
        trained,
        structure: Structure::default(),
    };
    let checksum = snn::artefact::write(&path, &converted.network, &ann.tensors, metadata)?;
    let notes = import_notes.into_iter().chain(notes).collect();
    Ok(Outcome { path, checksum, conversion: converted.record, notes, reused: false })
}

/// Bytes of memory that a conversion takes at its peak for each byte of the trained network's file: weights as 64-bit floats, those of the
/// largest layer once more, and the rounded ones.
const MEMORY_FACTOR: f64 = 7.0;

/// Refuses a network that does not fit into memory, before it is read.
///
/// - `weights`: its file
///
/// # Errors
/// With the figures that are needed and free.
pub fn check_memory(weights: &Path) -> Result<()> {
    Ok(cli::memory::check(weights, MEMORY_FACTOR)?)
}

/// The file of the trained network's tensors in a run's folder: Quartic's own if it is there, else one that is written for it.
fn trained_file(folder: &Path, ann: &AnnArtefact) -> Result<TrainedFile> {
    let own = artefact::file_checksum(&folder.join(model::ann::FILE_NAME));
    if own.as_deref() == Some(ann.checksum.as_str()) {
        return Ok(TrainedFile { name: model::ann::FILE_NAME.to_owned(), checksum: ann.checksum.clone() });
    }
    Ok(snn::artefact::write_trained(folder, &ann.tensors)?)
}

/// Whether the trained network that a file refers to is still there, if it refers to one.
fn has_trained(metadata: &SnnMetadata<Value, ConversionRecord>, folder: &Path) -> bool {
    metadata.trained.as_ref().is_none_or(|TrainedFile { name, checksum }| {
        artefact::file_checksum(&folder.join(name)).as_ref() == Some(checksum)
    })
}

/// Whether a network is what would be made now. Keys of `[convert]` that nothing looks at do not make it another, and neither do
/// training samples that are there no longer.
fn is_same(found: &SnnMetadata<Value, ConversionRecord>, asked: &Value, experiment: &Experiment) -> bool {
    let without_effect = experiment.keys_without_effect_on_either("convert", &found.config);
    let of_effect = |recipe: &Value| {
        let mut recipe = recipe.clone();
        if let Some(convert) = recipe["convert"].as_object_mut() {
            convert.retain(|key, _| !without_effect.contains(&format!("convert.{key}").as_str()));
        }
        recipe
    };
    let mut found = of_effect(&found.recipe);
    if asked["data"].get(CHECKSUM).is_none()
        && let Some(data) = found["data"].as_object_mut()
    {
        data.shift_remove(CHECKSUM);
    }
    found == of_effect(asked)
}

/// Everything that the converted network depends on. Its training samples are known by their folder, and only a user's own by their
/// contents: reading all published ones to find that nothing is to be done would take longer than the conversion.
///
/// - `own_data`: checksum of a user's own training samples
fn recipe(experiment: &Experiment, ann_checksum: &str, own_data: Option<&str>) -> Value {
    let mut recipe = experiment.excerpt(&[
        "seed",
        "backend",
        "data.dataset",
        "data.path",
        "data.validation_samples",
        "data.scale",
        "data.range",
        "data.normalize",
        "model",
        "convert",
        "simulate.encoding",
        "simulate.reset",
        "simulate.readout",
        "simulate.steps",
    ]);
    if experiment.convert.scale != Scale::Auto
        && let Some(convert) = recipe["convert"].as_object_mut()
    {
        // It is younger than the others, and written only where it has an effect: files stay what they were before it.
        convert.shift_remove("scale_grid");
    }
    // Younger than the others, too.
    let neuron = experiment.simulate.neuron;
    if !neuron.is_binary() {
        recipe["simulate"]["neuron"] = json!(neuron.kind);
        recipe["simulate"]["levels"] = json!(neuron.levels);
        recipe["simulate"]["rate_cap"] = json!(neuron.rate_cap);
    }
    if let Some(checksum) = own_data {
        recipe["data"][CHECKSUM] = json!(checksum);
    }
    recipe["ann"] = json!(ann_checksum);
    recipe["format"] = json!(FORMAT);
    recipe
}

/// The data of an experiment, or why they cannot be read.
#[derive(Clone, Copy)]
struct Files<'a> {
    experiment: &'a Experiment,
    data: Result<&'a DataSet, &'a DatasetError>,
}

/// Samples that conversion may look at: training samples, none of them from the validation split.
#[derive(Debug)]
struct CalibrationData {
    calibration: LabelledImages,
    /// The others; all samples where there are no others.
    rest: Samples,
}

impl Files<'_> {
    /// Checksum of a user's own training samples, whose file may hold others tomorrow; `None` if they cannot be read, and for published
    /// data, which are known by their name.
    fn own_checksum(self) -> Option<String> {
        let data = self.data.ok().filter(|_| self.experiment.data.dataset == DatasetName::Custom)?;
        data.samples(Split::Train).ok()?.checksum().ok()
    }

    /// Tries an imported network; says so where there are no samples to try it on.
    ///
    /// - `training`: samples to try it on where no accuracy on the test samples is expected, or why there are none
    fn judge(
        self,
        network: &Network,
        device: &Device,
        training: Result<&CalibrationData, &Error>,
        expected: Expectation,
    ) -> Result<Vec<String>> {
        let experiment = self.experiment;
        let of = |split: Split| -> Result<LabelledImages> {
            let all = self.data.map_err(|error| anyhow!("{error}"))?.samples(split)?;
            experiment.check_fits(all.shape(), all.n_classes()).map_err(|problem| anyhow!(problem))?;
            Ok(all.read()?)
        };
        let (split, samples) = if expected.accuracy.is_some() {
            ("test", of(Split::Test)?)
        } else {
            let unmeasured =
                |error: &dyn Display| vec![format!("the trained network's accuracy is not measured: {error:#}")];
            let training = match training {
                Ok(training) => training.rest.take(check::SAMPLES).read(),
                Err(error) => return Ok(unmeasured(error)),
            };
            match training {
                Ok(samples) => ("training", samples),
                Err(error) => return Ok(unmeasured(&error)),
            }
        };
        Trial { experiment, network, device, samples: &samples, split }.judge(expected)
    }

    fn calibration(self) -> Result<CalibrationData> {
        let experiment = self.experiment;
        let all = self.data.map_err(|error| anyhow!("{error}"))?.samples(Split::Train)?;
        experiment.check_fits(all.shape(), all.n_classes()).map_err(|problem| anyhow!(problem))?;
        let train = match experiment.data.validation_samples {
            0 => all,
            n_validation => {
                let context = || format!("[data] validation_samples = {n_validation}");
                all.split_validation(n_validation, experiment.seed).with_context(context)?.0
            }
        };
        let (rest, calibration) = draw(train, experiment.convert.calibration_samples, experiment.seed)?;
        Ok(CalibrationData { calibration, rest })
    }
}

/// Draws samples and reads them; where there are not more than that, all of them are both drawn and left, and read once.
///
/// Returns those that are left, then those that are drawn.
fn draw(samples: Samples, n: usize, seed: u64) -> Result<(Samples, LabelledImages), DatasetError> {
    if n < samples.len() {
        let (rest, drawn) = samples.split_validation(n, seed)?;
        return Ok((rest, drawn.read()?));
    }
    let drawn = samples.read()?;
    Ok((drawn.clone().into(), drawn))
}

/// What it costs that layers without an activation between them are multiplied out, where it costs something.
fn composition_note(experiment: &Experiment) -> Option<String> {
    let [before, after] = experiment.architecture.n_weights();
    (after > before).then(|| {
        format!(
            "layers without an activation between them are multiplied out, exactly: to {after} weights, from {before}; an \
             activation between them would save synaptic operations"
        )
    })
}

/// Adds the same number to all logits where spikes could not show them; returns what the user should know.
fn raise_logits(experiment: &Experiment, layers: &mut [AnnLayer], activations: &mut [Activations]) -> Option<String> {
    if experiment.simulate.readout != Readout::Spikes {
        return None;
    }
    let measured = activations.last_mut()?;
    let shift = logits::shift(measured)?;
    for value in &mut measured.values {
        *value += shift as f32;
    }
    let last = layers.last_mut()?;
    let n_positions = last.n_positions();
    last.biases = last.biases.map(n_positions, |_, bias| bias + shift);
    Some(format!(
        "all logits are raised by {shift:.3}, which leaves decisions as they are: spikes show positive ones alone"
    ))
}

/// A factor that is given; 1 where it is searched for.
fn value_of(scale: Scale) -> f64 {
    match scale {
        Scale::Value(scale) => scale,
        Scale::Auto => 1.0,
    }
}

/// One network on its way to being converted.
struct Converter<'a> {
    experiment: &'a Experiment,
    layers: &'a [AnnLayer],
    /// What the trained network does with training samples, or why there are none.
    data: Result<Data>,
}

/// Training samples and what the trained network does with them.
struct Data {
    samples: CalibrationData,
    /// On the calibration samples.
    activations: Vec<Activations>,
}

/// What conversion made.
struct Converted {
    network: SpikingNetwork,
    record: ConversionRecord,
    notes: Vec<String>,
}

/// The network for one κ and one factor.
struct Tuned {
    /// λ of every layer, `[C]` each.
    thresholds: Vec<Vec<f64>>,
    /// The most that rounding has changed a value of each layer by, in thresholds.
    rounding_changes: Vec<f64>,
    /// Mean magnitude of what calibration took back, per layer.
    rate_errors: Option<Vec<f64>>,
    network: SpikingNetwork,
}

impl Converter<'_> {
    fn convert(&self, options: Options) -> Result<Converted> {
        let config = &self.experiment.convert;
        let data_needed = config.method.needs_data(self.experiment.simulate.readout)
            || config.is_searched()
            || config.calibrate != Calibrate::None;
        let mut notes = Vec::new();
        match &self.data {
            Err(error) if data_needed => bail!("{error:#}"),
            Err(error) => notes.push(format!("no expected saturation: {error:#} (the method itself needs no data)")),
            Ok(_) => {}
        }
        let measured = self.data.as_ref().ok().map(|data| &data.activations[..]);
        let best = |knob: Knob, grid: &[f64], convert: &dyn Fn(f64) -> Result<Tuned>| {
            let (_, selection) = draw(self.samples()?.rest.clone(), config.kappa_samples, self.experiment.seed)?;
            self.check_rates(&selection)?;
            let network = |value| Ok(convert(value)?.network);
            search::best(knob, grid, &self.settings(config.target_steps), &selection, network, options.progress)
        };
        // At most one of them is left open.
        let ((kappa, kappas), scale_search) = match (config.kappa, config.scale) {
            (Kappa::Auto, scale) => {
                let scale = value_of(scale);
                (best(Knob::Kappa, &self.kappas()?, &|kappa| self.at(kappa, scale, measured))?, None)
            }
            (Kappa::Value(kappa), Scale::Auto) => {
                let (scale, trials) = best(Knob::Scale, &config.scale_grid, &|scale| self.at(kappa, scale, measured))?;
                let trial = |Tried { value, accuracy }| ScaleTrial { scale: value, accuracy };
                let trials = trials.into_iter().map(trial).collect();
                ((kappa, Vec::new()), Some(ScaleSearch { scale, trials }))
            }
            (Kappa::Value(kappa), Scale::Value(_)) => ((kappa, Vec::new()), None),
        };
        let scale = scale_search.as_ref().map_or_else(|| value_of(config.scale), |search| search.scale);
        let Tuned { thresholds, rounding_changes, rate_errors, network } = self.at(kappa, scale, measured)?;
        let trial = |Tried { value, accuracy }| KappaTrial { kappa: value, accuracy };
        let record = ConversionRecord {
            method: config.method.to_string(),
            p: self.experiment.depends_on("convert.p").then_some(config.p).filter(|p| p.is_finite()),
            kappa: self.experiment.depends_on("convert.kappa").then_some(kappa),
            kappa_search: kappas.into_iter().map(trial).collect(),
            compensate: config.compensate,
            initial_potential: config.initial_potential,
            calibrate: config.calibrate.to_string(),
            n_calibration: if data_needed { self.samples()?.calibration.len() } else { 0 },
            layers: summary::layers(&network, &thresholds, &rounding_changes, rate_errors.as_deref(), measured),
            scale_search,
        };
        notes.extend(search::end_of_grid_note(&record));
        notes.extend(saturation::notes(self.layers, &thresholds, measured));
        Ok(Converted { network, record, notes })
    }

    /// What `kappa = "auto"` tries, to two digits where it is fitted to the norm.
    fn kappas(&self) -> Result<Vec<f64>> {
        let config = &self.experiment.convert;
        if let Some(given) = &config.kappa_grid {
            return Ok(given.clone());
        }
        let ratio = match config.method {
            Method::Norm => ratio_to_l4(self.layers, config.p, config.compensate),
            _ => 1.0,
        };
        if !ratio.is_normal() {
            bail!(
                "`kappa = \"auto\"`: norms of order p = {} are too large to fit a grid to; give convert.kappa_grid",
                config.p
            );
        }
        let two_digits = |kappa: f64| format!("{kappa:.1e}").parse().expect("a number just written");
        Ok(DEFAULT_KAPPAS.iter().map(|kappa| two_digits(kappa * ratio)).collect())
    }

    fn samples(&self) -> Result<&CalibrationData> {
        self.data.as_ref().map(|data| &data.samples).map_err(|error| anyhow!("{error:#}"))
    }

    /// Refuses samples that no spikes can stand for, if they are to be run as spikes.
    fn check_rates(&self, samples: &LabelledImages) -> Result<()> {
        match self.experiment.simulate.encoding {
            Encoding::Constant => Ok(()),
            _ => Ok(samples.check_rates(Split::Train)?),
        }
    }

    fn settings(&self, n_steps: usize) -> RunSettings {
        RunSettings { n_steps, ..RunSettings::new(&self.experiment.simulate, self.experiment.seed) }
    }

    /// The network for one κ and one factor.
    fn at(&self, kappa: f64, scale: f64, activations: Option<&[Activations]>) -> Result<Tuned> {
        let config = &self.experiment.convert;
        let choice = Choice {
            method: config.method,
            p: config.p,
            kappa,
            percentile: config.percentile,
            percentile_zeros: config.percentile_zeros,
            scale,
            // Levels of an activation.
            target_steps: config.target_steps * self.experiment.simulate.neuron.levels as usize,
            initial_potential: config.initial_potential,
            compensate: config.compensate,
            readout: self.experiment.simulate.readout,
        };
        let noise = |idx: usize, before: &[Vec<f64>]| self.noise(idx, before);
        let simulate = &self.experiment.simulate;
        let is_quantised = !simulate.neuron.is_binary() && config.method == Method::Mmse && config.compensate;
        // Of what is chosen on quantised inputs, only channels that are never active and a readout that fires keep these. Such channels
        // have the layer's largest activation with either method, and `max` tells it in no time.
        let is_needed =
            !(is_quantised && config.calibrate != Calibrate::Bias && simulate.readout == Readout::Potential);
        let first = Choice { method: if is_needed { config.method } else { Method::Max }, ..choice };
        let thresholds = choose(self.layers, activations, &first, &noise)?;
        let n_steps = simulate.steps_to_round_for(simulate.steps.max(config.target_steps));
        let precision = Precision {
            n_steps,
            sum_bits: config.sum_bits,
            weight_bits: config.weight_bits,
            may_saturate: simulate.neuron.is_binary(),
        };
        let input = self.experiment.architecture.input();
        let (exact, rate_errors) = match config.calibrate {
            calibrate @ (Calibrate::None | Calibrate::Potential) if is_quantised => {
                let shifts = calibrate == Calibrate::Potential;
                let activations = activations.expect("calibration is given data");
                let (exact, magnitudes) = self.quantised(&thresholds, activations, &choice, shifts)?;
                (exact, shifts.then_some(magnitudes))
            }
            Calibrate::None => {
                // Layer by layer: in 64 bits, the weights of all of them take twice the memory of the network.
                let ConvertConfig { compensate, initial_potential, .. } = *config;
                let layers = &self.layers[..thresholds.len()];
                let mut rounding_changes = Vec::with_capacity(layers.len());
                let rescaled = rescale::each(layers, &thresholds, compensate, initial_potential).map(|exact| {
                    let layer = SpikingLayer::round(&exact, precision)?;
                    rounding_changes.push(summary::rounding_change(&layer, &exact));
                    Ok::<_, NetworkError>(layer)
                });
                let network = SpikingNetwork::new(input, rescaled.collect::<Result<_, NetworkError>>()?)?;
                return Ok(Tuned { thresholds, rounding_changes, rate_errors: None, network });
            }
            _ => {
                let mut exact = self.rescaled(&thresholds);
                let activations = activations.expect("calibration is given data");
                let errors = self.calibrate(&mut exact, activations, precision)?;
                (exact, Some(errors))
            }
        };
        let network = rescale::round(input, &exact, precision)?;
        let changes = network.layers().iter().zip(&exact).map(|(layer, exact)| summary::rounding_change(layer, exact));
        let rounding_changes = changes.collect();
        let thresholds = exact.into_iter().map(|layer| layer.thresholds).collect();
        Ok(Tuned { thresholds, rounding_changes, rate_errors, network })
    }

    fn rescaled(&self, thresholds: &[Vec<f64>]) -> Vec<ExactLayer> {
        let ConvertConfig { compensate, initial_potential, .. } = self.experiment.convert;
        rescale::rescale(&self.layers[..thresholds.len()], thresholds, compensate, initial_potential)
    }

    /// The layers for neurons that count, chosen on quantised inputs.
    fn quantised(
        &self,
        thresholds: &[Vec<f64>],
        activations: &[Activations],
        choice: &Choice,
        shifts: bool,
    ) -> Result<(Vec<ExactLayer>, Vec<f64>)> {
        let samples = &self.samples()?.calibration;
        let images: Vec<Vec<f32>> = (0..samples.len()).map(|sample| samples.image(sample)).collect();
        let quantised = Quantised {
            input: self.experiment.architecture.input(),
            images: &images,
            activations,
            levels: u32::try_from(choice.target_steps).expect("few steps"),
            initial_potential: choice.initial_potential,
            scale: choice.scale,
            shifts,
        };
        quantised.choose(self.layers, thresholds)
    }

    fn calibrate(
        &self,
        layers: &mut [ExactLayer],
        activations: &[Activations],
        precision: Precision,
    ) -> Result<Vec<f64>> {
        let Self { experiment, .. } = self;
        let samples = &self.samples()?.calibration;
        self.check_rates(samples)?;
        let images: Vec<Vec<f32>> = (0..samples.len()).map(|sample| samples.image(sample)).collect();
        let settings = self.settings(experiment.convert.target_steps);
        let calibration = Calibration { images: &images, activations, settings };
        let input = experiment.architecture.input();
        calibrate::calibrate(experiment.convert.calibrate, input, layers, &calibration, precision)
    }

    /// Standard deviation of a layer's input current per step, in units of activations: measured by running the layers
    /// before it, as they are converted, on calibration samples.
    fn noise(&self, idx: usize, before: &[Vec<f64>]) -> Result<Vec<f64>> {
        let calibration = &self.samples()?.calibration.take(NOISE_SAMPLES);
        self.check_rates(calibration)?;
        // The noise of spikes of 0 and 1.
        let settings = RunSettings {
            readout: Readout::Spikes,
            neuron: NeuronConfig::default(),
            ..self.settings(self.experiment.simulate.steps)
        };
        let images: Vec<Vec<f32>> = (0..calibration.len()).map(|sample| calibration.image(sample)).collect();
        let samples = Sample::consecutive(0, &images);
        let inputs: Vec<Vec<SpikeTrain>> = if idx == 0 {
            samples.iter().map(|sample| vec![sample.encode(self.experiment.architecture.input(), &settings)]).collect()
        } else {
            // The layers before this one are hidden ones: all of them fire and start as such.
            let mut exact = self.rescaled(before);
            for layer in &mut exact {
                layer.initial_potentials.fill(self.experiment.convert.initial_potential);
            }
            let network = rescale::round(self.experiment.architecture.input(), &exact, settings.n_steps)?;
            let traces = EventEngine::new(&network).run(&samples, &settings)?;
            traces.into_iter().map(|trace| trace.spikes).collect()
        };
        let layer = &self.layers[idx];
        let before = Before(self.experiment.convert.compensate.then_some(before));
        let exact = rescale::rescale_layer(layer, before, &vec![1.0; layer.n_channels()], 0.0);
        let layer_of_inputs = SpikingLayer::round(&exact, settings.n_steps)?;
        let variance = current_variance(&layer_of_inputs, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let variance = variance.ok_or_else(|| ThresholdError::SteadyInput { layer: layer.name.clone() })?;
        Ok(variance.measured.into_iter().map(f64::sqrt).collect())
    }
}

#[cfg(test)]
mod preservation;
