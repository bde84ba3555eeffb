//! Converts a trained network to a spiking network and writes `snn.safetensors`.
//!
//! - [`activation`]: the trained network's activations on calibration samples
//! - [`mod@export`]: the converted network in formats of others
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
pub mod export;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use analysis::probe::current_variance;
use ann::network::Network;
use anyhow::{Context as _, Result, anyhow, bail};
use burn::tensor::Device;
use cli::ExperimentArgs;
pub use cli::Options;
use datasets::{DatasetError, DatasetFacts, DatasetName, LabelledImages, Split};
use engine_event::EventEngine;
use import::Imported;
use model::Experiment;
use model::architecture::shape_text;
use model::config::{Calibrate, ConfigError, ConvertConfig, DEFAULT_KAPPAS, Kappa, Method, Outline, Readout, Scale};
use results::record::{ConversionRecord, KappaTrial, ScaleSearch, ScaleTrial};
use serde_json::{Value, json};
use snn::artefact::{FILE_NAME, FORMAT, SnnMetadata, Structure};
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::{Engine as _, RunSettings, Sample, SpikeTrain, SpikingLayer, SpikingNetwork};

use methods::activation::Activations;
use methods::calibrate::{self, Calibration};
use methods::layer::{AnnLayer, Before, ann_layers};
use methods::search::{self, Knob, Tried};
use methods::thresholds::{Choice, ThresholdError, choose, norm::ratio_to_l4};
use methods::{rescale, summary};

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
///
/// # Errors
/// [`ConfigError`] with every problem, that of the ONNX file among them.
pub fn read_experiment(
    args: &ExperimentArgs,
    weights: Option<&Path>,
) -> Result<(Experiment, Option<import::Network>), ConfigError> {
    let mut network = None;
    let experiment = args.read_base_or_find(|Outline { dataset, path, input, .. }| {
        let Some(onnx) = weights.filter(|path| import::is_onnx(path)) else { return Ok(None) };
        // A data set that cannot be read is refused with everything else that is wrong with the file.
        let facts = dataset.parse().and_then(|name| DatasetFacts::of(name, path.as_deref()));
        let sample = facts.ok().map(|facts| facts.shape);
        let found = import::network(onnx, input.or(sample), None).map_err(|error| error.to_string())?;
        match sample {
            Some(sample) if sample != found.model.input => Err(format!(
                "{}: takes images of {}, and {dataset} has {}; export the network for these",
                onnx.display(),
                shape_text(&found.model.input),
                shape_text(&sample)
            )),
            _ => Ok(Some(network.insert(found).model.clone())),
        }
    })?;
    Ok((experiment, network))
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
    run_imported(experiment, import::weights(weights, &experiment.architecture)?, folder, options)
}

/// The same for weights that are read already.
///
/// # Errors
/// If the data are needed and cannot be read, or the method gives no thresholds.
pub fn run_imported(experiment: &Experiment, weights: Imported, folder: &Path, options: Options) -> Result<Outcome> {
    let path = folder.join(FILE_NAME);
    let Imported { ann, notes: import_notes } = weights;
    let recipe = recipe(experiment, &ann.checksum, own_data(experiment).as_deref());
    // What was converted without data lacks the saturation that data tell: not for ever, if they are there by now.
    let lacks_data =
        |found: &ConversionRecord| matches!(&found.layers[..], [first, _, ..] if first.expected_saturation.is_none());
    if !options.force
        && let Ok(found) = snn::artefact::read::<Value, ConversionRecord>(&path)
        && is_same(&found.metadata, &recipe, experiment)
        && !(lacks_data(&found.metadata.conversion) && CalibrationData::load(experiment).is_ok())
    {
        let (checksum, conversion) = (found.checksum, found.metadata.conversion);
        let notes = import_notes.into_iter().chain(search::end_of_grid_note(&conversion)).collect();
        return Ok(Outcome { path, checksum, conversion, notes, reused: true });
    }
    let device = ann::device(experiment.backend)?;
    let layers = ann_layers(&experiment.architecture, &ann.tensors);
    let network = Network::with_tensors(&experiment.architecture, &ann.tensors, &device);
    let converter =
        Converter { experiment, layers: &layers, network: &network, device: &device, data: OnceCell::new() };
    let converted = converter.convert(options)?;
    let metadata = SnnMetadata {
        format: FORMAT,
        quartic_version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
        config: experiment.to_toml(),
        parent: ann.checksum,
        conversion: converted.record.clone(),
        structure: Structure::default(),
    };
    let checksum = snn::artefact::write(&path, &converted.network, &ann.tensors, metadata)?;
    let notes = import_notes.into_iter().chain(converted.notes).collect();
    Ok(Outcome { path, checksum, conversion: converted.record, notes, reused: false })
}

/// Checksum of a user's own training samples, whose file may hold others tomorrow; `None` if they cannot be read, and for published
/// data, which are known by their name.
fn own_data(experiment: &Experiment) -> Option<String> {
    let name = experiment.data.dataset.parse().ok().filter(|name| *name == DatasetName::Custom)?;
    let samples = LabelledImages::load(name, Split::Train, experiment.data.path.as_deref()).ok()?;
    Some(samples.checksum())
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
    if let Some(checksum) = own_data {
        recipe["data"][CHECKSUM] = json!(checksum);
    }
    recipe["ann"] = json!(ann_checksum);
    recipe["format"] = json!(FORMAT);
    recipe
}

/// Samples that conversion may look at: training samples, none of them from the validation split.
#[derive(Debug)]
struct CalibrationData {
    calibration: LabelledImages,
    /// The others; all samples where there are no others.
    rest: LabelledImages,
}

impl CalibrationData {
    fn load(experiment: &Experiment) -> Result<Self> {
        let name: DatasetName = experiment.data.dataset.parse()?;
        let all = LabelledImages::load(name, Split::Train, experiment.data.path.as_deref())?;
        experiment.check_fits(all.shape(), all.n_classes()).map_err(|problem| anyhow!(problem))?;
        let train = match experiment.data.validation_samples {
            0 => all,
            n_validation => {
                let context = || format!("[data] validation_samples = {n_validation}");
                all.split_validation(n_validation, experiment.seed).with_context(context)?.0
            }
        };
        let (rest, calibration) = draw(&train, experiment.convert.calibration_samples, experiment.seed)?;
        Ok(Self { calibration, rest })
    }
}

/// Draws samples; where there are not more than that, all of them are both drawn and left.
fn draw(samples: &LabelledImages, n: usize, seed: u64) -> Result<(LabelledImages, LabelledImages), DatasetError> {
    if n < samples.len() { samples.split_validation(n, seed) } else { Ok((samples.clone(), samples.clone())) }
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
    network: &'a Network,
    device: &'a Device,
    /// Read when first needed.
    data: OnceCell<CalibrationData>,
}

/// What conversion made.
struct Converted {
    network: SpikingNetwork,
    record: ConversionRecord,
    notes: Vec<String>,
}

/// The network for one κ and one factor.
struct Tuned {
    /// Before rounding.
    exact: Vec<ExactLayer>,
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
        let activations = match self.data() {
            Ok(data) => {
                let populations = self.experiment.architecture.populations();
                Some(activation::measure(self.network, populations, &data.calibration, self.device))
            }
            Err(error) if data_needed => return Err(error),
            Err(error) => {
                notes.push(format!("no expected saturation: {error:#} (the method itself needs no data)"));
                None
            }
        };
        let measured = activations.as_deref();
        let best = |knob: Knob, grid: &[f64], convert: &dyn Fn(f64) -> Result<Tuned>| {
            let (_, selection) = draw(&self.data()?.rest, config.kappa_samples, self.experiment.seed)?;
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
        let Tuned { exact, rate_errors, network } = self.at(kappa, scale, measured)?;
        let trial = |Tried { value, accuracy }| KappaTrial { kappa: value, accuracy };
        let record = ConversionRecord {
            method: config.method.to_string(),
            p: self.experiment.depends_on("convert.p").then_some(config.p).filter(|p| p.is_finite()),
            kappa: self.experiment.depends_on("convert.kappa").then_some(kappa),
            kappa_search: kappas.into_iter().map(trial).collect(),
            compensate: config.compensate,
            initial_potential: config.initial_potential,
            calibrate: config.calibrate.to_string(),
            n_calibration: if data_needed { self.data()?.calibration.len() } else { 0 },
            layers: summary::layers(&network, &exact, rate_errors.as_deref(), measured),
            scale_search,
        };
        notes.extend(search::end_of_grid_note(&record));
        Ok(Converted { network, record, notes })
    }

    /// What `kappa = "auto"` tries, to two digits where it is fitted to the norm.
    fn kappas(&self) -> Result<Vec<f64>> {
        let config = &self.experiment.convert;
        if let Some(given) = &config.kappa_grid {
            return Ok(given.clone());
        }
        let ratio = match config.method {
            Method::Norm => ratio_to_l4(self.layers, config.p, config.compensate)?,
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

    fn data(&self) -> Result<&CalibrationData> {
        if self.data.get().is_none() {
            // Nobody else sets it: there is one thread.
            let _ = self.data.set(CalibrationData::load(self.experiment)?);
        }
        Ok(self.data.get().expect("set just now"))
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
            target_steps: config.target_steps,
            initial_potential: config.initial_potential,
            compensate: config.compensate,
            readout: self.experiment.simulate.readout,
        };
        let noise = |idx: usize, before: &[Vec<f64>]| self.noise(idx, before);
        let thresholds = choose(self.layers, activations, &choice, &noise)?;
        let n_steps = self.experiment.simulate.steps.max(config.target_steps);
        let precision = Precision { n_steps, sum_bits: config.sum_bits, weight_bits: config.weight_bits };
        let mut exact = self.rescaled(&thresholds);
        let rate_errors = match config.calibrate {
            Calibrate::None => None,
            _ => Some(self.calibrate(&mut exact, activations.expect("calibration is given data"), precision)?),
        };
        let network = rescale::round(self.experiment.architecture.input(), &exact, precision)?;
        Ok(Tuned { exact, rate_errors, network })
    }

    fn rescaled(&self, thresholds: &[Vec<f64>]) -> Vec<ExactLayer> {
        let ConvertConfig { compensate, initial_potential, .. } = self.experiment.convert;
        rescale::rescale(&self.layers[..thresholds.len()], thresholds, compensate, initial_potential)
    }

    fn calibrate(
        &self,
        layers: &mut [ExactLayer],
        activations: &[Activations],
        precision: Precision,
    ) -> Result<Vec<f64>> {
        let Self { experiment, .. } = self;
        let samples = &self.data()?.calibration;
        let images: Vec<Vec<f32>> = (0..samples.len()).map(|sample| samples.image(sample)).collect();
        let settings = self.settings(experiment.convert.target_steps);
        let calibration = Calibration { images: &images, activations, settings };
        let input = experiment.architecture.input();
        calibrate::calibrate(experiment.convert.calibrate, input, layers, &calibration, precision)
    }

    /// Standard deviation of a layer's input current per step, in units of activations: measured by running the layers
    /// before it, as they are converted, on calibration samples.
    fn noise(&self, idx: usize, before: &[Vec<f64>]) -> Result<Vec<f64>> {
        let calibration = &self.data()?.calibration.take(NOISE_SAMPLES);
        let settings = RunSettings { readout: Readout::Spikes, ..self.settings(self.experiment.simulate.steps) };
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
