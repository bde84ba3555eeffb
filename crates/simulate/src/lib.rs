//! Runs a spiking network over T time steps, scores it and writes `results.json`.
//!
//! What it measures is in the crate `analysis`.
//!
//! - [`record`]: spikes, rates and potentials of a few as NumPy arrays
//! - [`explain`]: which compute kernels run a network, and why
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let experiment = model::config::ExperimentFile::read("configs/quickstart.toml".as_ref(), &[])?.base;
//! let folder = std::path::Path::new("runs/quickstart");
//! let label = experiment.convert.label();
//! let outcome = simulate::run(&experiment, "network", &label, folder, simulate::Options::default())?;
//! println!("after 4 steps {:.1} %", 100.0 * outcome.results.run.simulation.seeds[0].accuracy[3]);
//! # Ok(())
//! # }
//! ```

pub mod explain;
pub mod record;
mod reference;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use burn::tensor::Device;
use cli::ExperimentArgs;
pub use cli::Options;
use datasets::{LabelledImages, Outside, Resolved, Split};
use engine_dense::DenseEngine;
use engine_event::EventEngine;
use indicatif::ProgressBar;
use model::Experiment;
use model::artefact::{self, TensorF32};
use model::config::{ConfigError, ConvertConfig, Encoding, EngineKind, ModelSection, Readout, SimulateConfig};
use model::population::Population;
use rayon::prelude::*;
use results::record::{
    AnnRecord, ConversionRecord, DatasetRecord, EnergyRecord, ExperimentRecord, FaultsRecord, GradedRecord, RunRecord,
    SeedRecord, SimulationRecord, SweepRecord,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use snn::artefact::{SnnArtefact, SnnMetadata, TrainedNetwork};
use snn::grid::Precision;
use snn::{
    EarlyDecision, EarlyExit, Engine, RunSettings, Sample, SampleTrace, SpikingNetwork, SynapticOperations, Wiring,
};

use analysis::decompose::Decomposition;
use analysis::measure::{self, LayerProbe, NoiseProbes, RateProbes};
use analysis::score::{Activity, EarlyScore, Score};
use engine_event::LayerCurrents;
use reference::Reference;

/// Results on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The file.
    pub path: PathBuf,
    /// What was measured.
    pub results: Results,
    /// What the user should know beyond that, one sentence each.
    pub notes: Vec<String>,
    /// Whether the file was there already and unchanged.
    pub reused: bool,
}

/// What is measured of one spiking network: the contents of `results.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`FORMAT`] of the program that wrote the file.
    pub format: u32,
    /// Version of the program that wrote the file.
    pub quartic_version: String,
    /// Everything that the results depend on. A file with the recipe that is asked for need not be made again.
    pub recipe: Value,
    /// The whole resolved configuration, as TOML text.
    pub config: String,
    /// The data set.
    pub dataset: DatasetRecord,
    /// The trained network, without its history.
    pub ann: AnnRecord,
    /// The conversion and the simulation.
    pub run: RunRecord,
}

/// Format of the results; raised when their meaning changes.
pub const FORMAT: u32 = 3;

/// Name of the results in a run's folder.
pub const FILE_NAME: &str = "results.json";

/// Spikes that the neurons of all samples could have that are run before progress is shown again: 8 MiB of bits. Bounds memory,
/// does not change results.
const CHUNK_SPIKES: usize = 1 << 26;

/// The same for a network of so many neurons that the few samples which are run at least would have more: 32 MiB.
const MOST_CHUNK_SPIKES: usize = 1 << 28;

/// Bytes of memory that a run takes at its peak for each byte of the spiking network's file: its weights, and what the engine makes of
/// them.
const MEMORY_FACTOR: f64 = 4.0;

/// Reads the experiment file; a `[model]` that it lacks is that of the converted network in its folder.
///
/// # Errors
/// [`ConfigError`] with every problem.
pub fn read_experiment(args: &ExperimentArgs) -> Result<Experiment, ConfigError> {
    args.read_base_or_find(|outline| {
        let path = args.runs.join(&outline.name).join(snn::artefact::FILE_NAME);
        // Of the file, its head is enough; whether the rest is whole is for the run to say.
        let metadata =
            artefact::read_description::<SnnMetadata<Value, Value>>(&path, "run `convert` on this configuration first")
                .map_err(|error| error.to_string())?;
        Ok(metadata.and_then(|metadata| ModelSection::of_config(&metadata.config)))
    })
}

/// Simulates a converted network, or finds it simulated, in a run's folder.
///
/// - `network_label`, `run_label`: names in tables, [`model::config::Cell::network`] and [`model::config::Cell::run`]
///
/// # Errors
/// If the network or the data cannot be read or do not fit each other, the backend is not built in, or the folder
/// cannot be written to.
pub fn run(
    experiment: &Experiment,
    network_label: &str,
    run_label: &str,
    folder: &Path,
    options: Options,
) -> Result<Outcome> {
    let path = folder.join(FILE_NAME);
    let snn_path = folder.join(snn::artefact::FILE_NAME);
    cli::memory::check(&snn_path, MEMORY_FACTOR)?;
    let Parts { network, trained: TrainedNetwork { tensors, metadata, checksum } } =
        Parts::read(experiment, &snn_path)?;
    let test = load(experiment, &metadata)?;
    let experiment = &test.experiment;
    check_converted(experiment, &metadata, folder)?;
    let runs_reference = experiment.simulate.reference;
    if runs_reference {
        check_model(experiment, &tensors, metadata.ann_levels, folder)?;
    }
    let recipe = recipe(experiment, [network_label, run_label], &checksum, &test.samples.checksum());
    let found = if options.force { None } else { reusable(&path, &recipe) };
    let device = ann::device(experiment.backend)?;
    let levels = metadata.ann_levels;
    // Before the weights of a large spiking network are read.
    let n_probed = experiment.simulate.probe_samples.min(test.samples.len());
    let reference = (runs_reference && found.is_none())
        .then(|| Reference::new(&experiment.architecture, tensors, levels, &device, &test.samples, n_probed, options));
    let network = if let Some(network) = network {
        network
    } else {
        let artefact = snn::artefact::read_network::<Value, ConversionRecord>(&snn_path)?;
        if artefact.checksum != checksum {
            bail!("{}: it has changed while it was read; run again once it is written", snn_path.display());
        }
        artefact.network
    };
    if !runs_reference {
        check_wirings(experiment, &network, folder)?;
    }
    let first_device = device_of(experiment, &network, experiment.simulate.seeds[0])?;
    check_grids(&first_device, &RunSettings::new(&experiment.simulate, experiment.simulate.seeds[0]), folder)?;
    let is_binary = experiment.simulate.neuron.is_binary();
    let note =
        |layer: &snn::SpikingLayer| is_binary.then(|| layer.saturation_note(experiment.simulate.steps)).flatten();
    let mut notes = test.notes.clone();
    notes.extend(first_device.layers().iter().filter_map(note));
    notes.extend(experiment.simulate.neuron.waits().then(|| waiting_note(&first_device, &experiment.simulate)));
    if let Some(results) = found {
        return Ok(Outcome { path, results, notes, reused: true });
    }
    match &reference {
        Some(reference) => notes.extend(reference.note()),
        None => notes.push(
            "simulate.reference = false: the trained network was not run, so its accuracy, the agreement with it and the comparison of \
             rates with activations are missing"
                .to_owned(),
        ),
    }
    let operations = SynapticOperations::new(&network);
    let simulation = Simulation {
        experiment,
        network: &network,
        first_device: &first_device,
        reference: reference.as_ref(),
        device: &device,
        test: &test,
        operations,
    };
    let (record, note) = simulation.run(options)?;
    notes.extend(note);
    // What is said of neurons that wait was said above.
    notes.extend(record.graded.as_ref().filter(|_| !experiment.simulate.neuron.waits()).map(graded_note));
    let results = Results {
        format: FORMAT,
        quartic_version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
        config: experiment.to_toml(),
        dataset: test.record.clone(),
        ann: ann_record(experiment, network_label, reference.as_ref()),
        run: RunRecord {
            label: run_label.to_owned(),
            network: network_label.to_owned(),
            conversion: metadata.conversion,
            simulation: record,
        },
    };
    artefact::write_atomically(&path, &serde_json::to_vec(&results)?)?;
    Ok(Outcome { path, results, notes, reused: false })
}

/// What of the converted network's file is in memory at first.
struct Parts {
    /// `None` where it is large: it is read once the trained network has been run.
    network: Option<SpikingNetwork>,
    /// Its tensors are missing where they are not needed.
    trained: TrainedNetwork<Value, ConversionRecord>,
}

impl Parts {
    fn read(experiment: &Experiment, path: &Path) -> Result<Self> {
        if experiment.simulate.reference && snn::artefact::is_large(&experiment.architecture) {
            return Ok(Self { network: None, trained: snn::artefact::read_trained(path)? });
        }
        // At once, where both fit or one of them is not needed.
        let artefact =
            if experiment.simulate.reference { snn::artefact::read(path)? } else { snn::artefact::read_network(path)? };
        let SnnArtefact { network, ann: tensors, metadata, checksum } = artefact;
        Ok(Self { network: Some(network), trained: TrainedNetwork { tensors, metadata, checksum } })
    }
}

/// What spikes carry, in one sentence.
fn graded_note(graded: &GradedRecord) -> String {
    let GradedRecord { neuron, levels, bits_per_spike, negative_share, multiple_share, .. } = graded;
    format!(
        "neurons `{neuron}`, quanta in a threshold: {levels}; a spike carries {bits_per_spike} bits at most, {:.1} % of them take back, {:.1} \
         % stand for several quanta; a synaptic operation is the addition of one quantum",
        100.0 * negative_share,
        100.0 * multiple_share
    )
}

/// How long a decision takes where layers wait.
fn waiting_note(network: &SpikingNetwork, config: &SimulateConfig) -> String {
    let n_steps = config.steps;
    // Trains of T steps, one after the other, until a source has sent all; the input sends at once.
    let mut trains = vec![1];
    for layer in network.layers() {
        let sources = layer.connections().iter().map(|connection| trains[connection.wiring.source.index()]);
        trains.push(1 + sources.max().unwrap_or(0));
    }
    // A readout from potentials has decided when its input has arrived.
    let n_trains = trains[trains.len() - 1] - usize::from(config.readout == Readout::Potential);
    format!(
        "neurons `waiting` send only when their whole input has arrived, so T = {n_steps} counts the steps of each layer, not those up to a \
         decision: the first one comes after {} steps ({n_trains} trains of {n_steps}), and one every {n_steps} steps if samples follow each \
         other",
        n_trains * n_steps
    )
}

/// One spiking network's results as a record to report.
pub fn experiment_record(experiment: &Experiment, results: &Results) -> ExperimentRecord {
    ExperimentRecord {
        name: experiment.name.clone(),
        description: experiment.description.clone(),
        quartic_version: results.quartic_version.clone(),
        config: experiment.to_toml(),
        dataset: results.dataset.clone(),
        networks: vec![results.ann.clone()],
        runs: vec![results.run.clone()],
        sweep: SweepRecord::default(),
    }
}

/// Test samples and what is known of their data set.
struct TestData {
    /// The experiment, with the scaling of its data.
    experiment: Experiment,
    /// What the user should know of the data, one sentence each.
    notes: Vec<String>,
    samples: LabelledImages,
    record: DatasetRecord,
}

fn load(experiment: &Experiment, metadata: &SnnMetadata<Value, ConversionRecord>) -> Result<TestData> {
    let Resolved { experiment, data, mut notes } = Resolved::of(experiment, Some(&metadata.config))?;
    let name = experiment.data.dataset;
    let all = data.samples(Split::Test)?;
    experiment.check_fits(all.shape(), all.n_classes()).map_err(|problem| anyhow!(problem))?;
    let samples = match experiment.simulate.samples {
        Some(n) if n > all.len() => bail!(
            "[simulate] samples: found {n}, but {name} has {} test samples; use at most that many, or 0 for all",
            all.len()
        ),
        Some(n) => all.take(n),
        None => all,
    };
    let samples = samples.read()?;
    if experiment.simulate.encoding != Encoding::Constant {
        samples.check_rates(Split::Test)?;
    } else if let Some(Outside { n_samples, .. }) = samples.outside() {
        notes.push(format!(
            "{n_samples} of {} test samples have values outside data.range, which a constant current takes as they are",
            samples.len()
        ));
    }
    let record = DatasetRecord {
        name: name.to_string(),
        shape: samples.shape(),
        class_names: samples.class_names().to_vec(),
        n_train: data.facts().n_train,
        n_test: samples.len(),
    };
    Ok(TestData { experiment, notes, samples, record })
}

/// Results are labelled by the configuration, so the network must be what it says: of its model, converted as `[convert]` says and for
/// its readout (output thresholds are chosen for one).
fn check_converted(
    experiment: &Experiment,
    metadata: &SnnMetadata<Value, ConversionRecord>,
    folder: &Path,
) -> Result<()> {
    let path = folder.join(snn::artefact::FILE_NAME);
    let remedy = "run `convert` with the same configuration";
    let (made, asked) = (&metadata.recipe, experiment.excerpt(&["convert", "simulate.readout"]));
    let without_effect = experiment.keys_without_effect_on_either("convert", &metadata.config);
    let readouts = [made, &asked].map(|of| of["simulate"]["readout"].clone());
    let mut settings = vec![("simulate.readout".to_owned(), readouts)];
    for (key, asked) in asked["convert"].as_object().into_iter().flatten() {
        let path = format!("convert.{key}");
        // What nothing looks at may differ, and is not always kept.
        if let Some(made) = made["convert"].get(key).filter(|_| !without_effect.contains(&path.as_str())) {
            settings.push((path, [made.clone(), asked.clone()]));
        }
    }
    let data = experiment.excerpt(&["data.scale", "data.range", "data.normalize"]);
    for key in ["scale", "range", "normalize"] {
        let of = |config: &Value| config["data"].get(key).cloned().unwrap_or_default();
        // Without data, conversion knows of no scale, and of no range but the usual one.
        let usual = |value: Value| if key == "range" && value == json!([0.0, 1.0]) { Value::Null } else { value };
        let [made, asked] = [usual(of(made)), usual(of(&data))];
        if key != "scale" || !made.is_null() {
            settings.push((format!("data.{key}"), [made, asked]));
        }
    }
    if let Some((key, [made, asked])) = settings.iter().find(|(_, [made, asked])| made != asked) {
        bail!("{}: converted for {key} = {made}, but {asked} is asked for; {remedy}", path.display());
    }
    Ok(())
}

/// Refuses a network that was converted from another model than the one that its results would be labelled by.
fn check_model(
    experiment: &Experiment,
    tensors: &BTreeMap<String, TensorF32>,
    levels: Option<usize>,
    folder: &Path,
) -> Result<()> {
    let differences = model::ann::differences_at(&experiment.architecture, levels, tensors);
    if !differences.is_empty() {
        bail!("{}: {OTHER_MODEL}:\n{differences}", folder.join(snn::artefact::FILE_NAME).display());
    }
    Ok(())
}

/// The same where the trained network is not looked at: by the wiring that the model asks for.
fn check_wirings(experiment: &Experiment, network: &SpikingNetwork, folder: &Path) -> Result<()> {
    let populations = experiment.architecture.populations();
    let fits = |(population, layer): (&Population, &snn::SpikingLayer)| {
        let found = layer.connections().iter().map(|connection| &connection.wiring);
        let needed = population.connections.iter().map(|of| Wiring {
            source: of.source,
            source_shape: of.source_shape,
            pools: of.pools.clone(),
            kernel: of.kernel,
        });
        population.shape == layer.shape() && found.eq(needed.collect::<Vec<_>>().iter())
    };
    let path = folder.join(snn::artefact::FILE_NAME);
    let (found, needed) = (network.layers().len(), populations.len());
    if found != needed {
        bail!("{}: {OTHER_MODEL}: {found} layers of neurons, where the model needs {needed}", path.display());
    }
    if let Some((population, _)) = populations.iter().zip(network.layers()).find(|pair| !fits(*pair)) {
        bail!("{}: {OTHER_MODEL}: the model needs other connections to {}", path.display(), population.name);
    }
    Ok(())
}

/// What is wrong with a network of another model.
const OTHER_MODEL: &str = "converted from another model than [model]; run `convert` with the same configuration";

/// Refuses neurons that count or take back on a network whose grids were made for others: potentials would saturate, and what is put out be
/// wrong without a word. Where spikes are lost, what arrives is no count anyway.
fn check_grids(network: &SpikingNetwork, settings: &RunSettings, folder: &Path) -> Result<()> {
    if settings.neuron.is_binary() || network.spike_loss().is_some() {
        return Ok(());
    }
    let neuron = snn::neurons::of_run(settings);
    let is_exact =
        |layer: &&snn::SpikingLayer| matches!(layer.potential_limits_of(&*neuron, settings.n_steps, false), Ok(None));
    if let Some(layer) = network.layers().iter().find(|layer| !is_exact(layer)) {
        bail!(
            "{}: layer {}: converted for other neurons, or for fewer steps and levels: sums would not be exact with neurons `{}`; run \
             `convert` with the same configuration",
            folder.join(snn::artefact::FILE_NAME).display(),
            layer.name(),
            neuron.name()
        );
    }
    Ok(())
}

fn recipe(experiment: &Experiment, labels: [&str; 2], snn_checksum: &str, data_checksum: &str) -> Value {
    let mut recipe = experiment.excerpt(&["backend", "simulate"]);
    // Every backend and engine gives the same spikes, so neither is part of what results depend on; but the trained
    // network's decisions, which agreement is measured against, may differ in the last bit between backends.
    let mut without = vec!["engine", "batch_size"];
    if experiment.simulate.faults.is_none() {
        without.push("faults");
    } else {
        // Layers with faults are rounded again.
        recipe["sum_bits"] = json!(experiment.convert.sum_bits);
        recipe["weight_bits"] = json!(experiment.convert.weight_bits);
    }
    if experiment.simulate.reference {
        // Younger than the others, and written only where it has an effect: results stay what they were before it.
        without.push("reference");
    }
    if let Some(simulate) = recipe["simulate"].as_object_mut() {
        for key in without {
            simulate.shift_remove(key);
        }
    }
    recipe["labels"] = json!(labels);
    recipe["snn"] = json!(snn_checksum);
    recipe["data"] = json!(data_checksum);
    recipe["format"] = json!(FORMAT);
    recipe
}

fn reusable(path: &Path, recipe: &Value) -> Option<Results> {
    let results: Results = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (results.recipe == *recipe).then_some(results)
}

fn ann_record(experiment: &Experiment, label: &str, reference: Option<&Reference>) -> AnnRecord {
    let architecture = &experiment.architecture;
    AnnRecord {
        label: label.to_owned(),
        seed: experiment.seed,
        architecture: architecture.to_string(),
        n_parameters: architecture.n_parameters(),
        macs_per_sample: architecture.macs_per_sample(),
        test_accuracy: reference.map(|reference| reference.scores.accuracy),
        test_top5: reference.and_then(|reference| reference.scores.top5),
        epochs: Vec::new(),
    }
}

/// The network as the device of a simulation seed holds it.
fn device_of<'a>(experiment: &Experiment, network: &'a SpikingNetwork, seed: u64) -> Result<Cow<'a, SpikingNetwork>> {
    let config = &experiment.simulate;
    if config.faults.is_none() {
        return Ok(Cow::Borrowed(network));
    }
    let ConvertConfig { sum_bits, weight_bits, .. } = experiment.convert;
    let precision = Precision {
        n_steps: config.steps_to_round_for(config.steps),
        sum_bits,
        weight_bits,
        may_saturate: config.neuron.is_binary(),
    };
    let device = snn::faults::device(network, &config.faults, seed, precision);
    Ok(Cow::Owned(device.with_context(|| format!("[simulate.faults] {}, seed {seed}", config.faults.label()))?))
}

/// One network, its test samples and what runs them.
struct Simulation<'a> {
    experiment: &'a Experiment,
    network: &'a SpikingNetwork,
    /// The network as the device of the first seed holds it; itself without faults.
    first_device: &'a SpikingNetwork,
    /// What the trained network says of the samples, if it was asked.
    reference: Option<&'a Reference>,
    device: &'a Device,
    test: &'a TestData,
    operations: SynapticOperations,
}

/// What stops samples early, and the time that it took against that of the whole runs: told, never written down.
struct Early {
    exit: EarlyExit,
    confidence: f64,
    whole: Duration,
    stopped: Duration,
}

impl Early {
    fn new(network: &SpikingNetwork, confidence: f64) -> Self {
        let exit = EarlyExit::new(network, confidence);
        Self { exit, confidence, whole: Duration::ZERO, stopped: Duration::ZERO }
    }

    /// The decisions of a chunk of samples whose whole runs have just taken some time.
    fn run(
        &mut self,
        engine: &dyn Engine,
        samples: &[Sample<'_>],
        settings: &RunSettings,
        whole: Duration,
    ) -> Result<Vec<EarlyDecision>> {
        let start = Instant::now();
        let decisions = engine.run_until(samples, settings, &self.exit).context("simulation with early exit")?;
        self.stopped += start.elapsed();
        self.whole += whole;
        Ok(decisions)
    }

    fn note(&self) -> String {
        let ratio = self.stopped.as_secs_f64() / self.whole.as_secs_f64();
        format!("early exit took {ratio:.2} of the time of running every sample to T")
    }
}

/// What is measured beyond scores, of the first simulation seed.
struct Probed {
    /// Traces of the samples whose spikes are drawn.
    drawn: Vec<SampleTrace>,
    rates: RateProbes,
    /// `None` where spikes are not 0 and 1.
    noise: Option<NoiseProbes>,
    activity: Activity,
}

impl Simulation<'_> {
    /// The record, and what the user should know.
    fn run(&self, options: Options) -> Result<(SimulationRecord, Option<String>)> {
        let config = &self.experiment.simulate;
        let samples = &self.test.samples;
        let different_seeds = config.different_seeds();
        let bar = progress_bar(different_seeds.len() * samples.len(), options);
        let (mut engine, currents) = self.first_engine();
        let mut early = config.early_exit.map(|confidence| Early::new(self.first_device, confidence));
        let n_probed = config.probe_samples.min(samples.len());
        let mut probed = Probed {
            drawn: Vec::new(),
            rates: self.rate_probes(n_probed),
            noise: currents.map(|currents| {
                let settings = RunSettings::new(config, config.seeds[0]);
                NoiseProbes::new(self.first_device, &settings, |idx, _| currents[idx].clone())
            }),
            activity: Activity::new(config.steps, config.neuron),
        };
        let mut seeds = Vec::with_capacity(different_seeds.len());
        for (idx, &seed) in different_seeds.iter().enumerate() {
            if idx > 0 && config.faults.is_random() {
                let device = device_of(self.experiment, self.network, seed)?;
                engine = self.engine(&device);
                if let Some(early) = &mut early {
                    early.exit = EarlyExit::new(&device, early.confidence);
                }
            }
            let probed = (idx == 0).then_some(&mut probed);
            seeds.push(self.run_seed(engine.as_ref(), seed, probed, early.as_mut(), &bar)?);
        }
        bar.finish_and_clear();
        Ok((self.record(seeds, probed), early.as_ref().map(Early::note)))
    }

    /// The engine of the first seed, and the currents of the layers for probes, if those are of spikes of 0 and 1, which the law is of.
    fn first_engine(&self) -> (Box<dyn Engine>, Option<Vec<LayerCurrents>>) {
        let (network, is_binary) = (self.first_device, self.experiment.simulate.neuron.is_binary());
        if self.experiment.simulate.engine == EngineKind::Event {
            let engine = EventEngine::new(network);
            let currents = is_binary.then(|| (0..network.layers().len()).map(|idx| engine.currents(idx)).collect());
            return (Box::new(engine), currents);
        }
        let currents = is_binary.then(|| network.layers().iter().map(LayerCurrents::new).collect());
        (self.engine(network), currents)
    }

    fn rate_probes(&self, n_probed: usize) -> RateProbes {
        let probes = RateProbes::new(self.first_device, n_probed, self.experiment.simulate.neuron.levels);
        match self.reference.map(Reference::chosen) {
            None | Some([]) => probes,
            Some(chosen) => probes.of_neurons(chosen.to_vec()),
        }
    }

    /// What the trained network decides for a sample, if it was asked.
    fn ann_decision(&self, index: usize) -> Option<usize> {
        self.reference.map(|reference| reference.decisions[index])
    }

    fn engine(&self, network: &SpikingNetwork) -> Box<dyn Engine> {
        match self.experiment.simulate.engine {
            EngineKind::Event => Box::new(EventEngine::new(network)),
            EngineKind::Dense => Box::new(DenseEngine::new(network, self.device, self.experiment.simulate.batch_size)),
        }
    }

    /// Adds the rates of samples that have been run.
    ///
    /// - `first`: index of the first one
    fn probe_rates(&self, probes: &mut RateProbes, first: usize, traces: &[SampleTrace]) {
        let Some(reference) = self.reference else { return probes.add(self.first_device, traces, None) };
        let at_once = reference.at_once();
        for (first, traces) in (first..).step_by(at_once).zip(traces.chunks(at_once)) {
            let activations = reference.of(&self.test.samples, first, first + traces.len());
            probes.add(self.first_device, traces, Some(&activations));
        }
    }

    fn run_seed(
        &self,
        engine: &dyn Engine,
        seed: u64,
        mut probed: Option<&mut Probed>,
        mut early: Option<&mut Early>,
        bar: &ProgressBar,
    ) -> Result<SeedRecord> {
        let config = &self.experiment.simulate;
        let settings = RunSettings::new(config, seed);
        let samples = &self.test.samples;
        let (mut score, mut early_score) = (Score::new(config.steps), EarlyScore::new(config.steps));
        let mut decomposition =
            config.decompose.then(|| Decomposition::new(self.network, &settings, &config.checkpoints));
        let chunk = samples_per_chunk(self.network, config.steps);
        for first in (0..samples.len()).step_by(chunk) {
            let indices = first..samples.len().min(first + chunk);
            let images: Vec<Vec<f32>> = indices.clone().map(|index| samples.image(index)).collect();
            let chunk = Sample::consecutive(first, &images);
            let start = Instant::now();
            let traces = engine.run(&chunk, &settings).context("simulation")?;
            let whole = start.elapsed();
            let stopped = early.as_mut().map(|early| early.run(engine, &chunk, &settings, whole)).transpose()?;
            if let Some(decomposition) = &mut decomposition {
                decomposition.add(engine, &chunk, &traces, |index| usize::from(samples.label(index)))?;
            }
            let n_probed = config.probe_samples.saturating_sub(first).min(traces.len());
            if let Some(probed) = probed.as_mut().filter(|_| n_probed > 0) {
                self.probe_rates(&mut probed.rates, first, &traces[..n_probed]);
                if let Some(noise) = &mut probed.noise {
                    noise.add(self.first_device, &traces[..n_probed], &images[..n_probed]);
                }
            }
            let operations: Vec<Vec<Vec<u64>>> = traces.par_iter().map(|trace| self.operations.of(trace)).collect();
            for ((index, trace), operations) in indices.zip(traces).zip(operations) {
                let label = usize::from(samples.label(index));
                score.add(&trace, &operations, label, self.ann_decision(index));
                if let Some(stopped) = &stopped {
                    early_score.add(stopped[index - first], &trace, &operations, label);
                }
                if let Some(probed) = &mut probed {
                    probed.activity.add(&trace, &operations);
                    if index < config.raster_samples {
                        probed.drawn.push(trace);
                    }
                }
                bar.inc(1);
            }
        }
        let early_exit = early.map(|early| early_score.record(early.confidence));
        let loss = decomposition.map_or_else(Vec::new, |decomposition| decomposition.record());
        Ok(SeedRecord { early_exit, loss, ..score.record(seed) })
    }

    fn record(&self, seeds: Vec<SeedRecord>, probed: Probed) -> SimulationRecord {
        let config = &self.experiment.simulate;
        let samples = &self.test.samples;
        let probes = probed.rates.into_layers(self.first_device);
        let graded = probed.activity.graded();
        let mut layers = probed.activity.record(self.first_device);
        for (layer, LayerProbe { rate_correlation, residual_potential, charge, .. }) in
            layers[1..].iter_mut().zip(&probes)
        {
            layer.rate_correlation = *rate_correlation;
            layer.residual_potential = Some(*residual_potential);
            layer.charge = *charge;
        }
        let rasters = probed.drawn.iter().enumerate().map(|(index, trace)| {
            let (label, pixels) = (usize::from(samples.label(index)), samples.image(index));
            measure::raster(self.first_device, trace, index, label, self.ann_decision(index), samples.shape(), &pixels)
        });
        SimulationRecord {
            engine: config.engine.to_string(),
            encoding: config.encoding.to_string(),
            reset: config.reset.to_string(),
            readout: config.readout.to_string(),
            graded,
            steps: config.steps,
            n_samples: samples.len(),
            checkpoints: config.checkpoints.clone(),
            energy: self.energy(&seeds),
            seeds,
            layers,
            variance: probed.noise.map_or_else(Vec::new, |noise| noise.into_layers(self.first_device)),
            rate_match: probes
                .into_iter()
                .map(|probe| probe.rate_match)
                .filter(|rates| !rates.points.is_empty())
                .collect(),
            rasters: rasters.collect(),
            faults: self.faults(),
        }
    }

    fn faults(&self) -> Option<FaultsRecord> {
        let faults = &self.experiment.simulate.faults;
        (!faults.is_none()).then(|| FaultsRecord {
            label: faults.label(),
            seed: faults.seed,
            weight_noise: faults.weight_noise,
            weight_noise_of: faults.weight_noise_of.to_string(),
            weight_range: faults.weight_range.to_string(),
            weight_bits: faults.weight_bits,
            threshold_mismatch: faults.threshold_mismatch,
            dropped_spikes: faults.dropped_spikes,
        })
    }

    /// Horowitz 2014 (ISSCC), 45 nm at 0.9 V: arithmetic alone, without memory or communication.
    fn energy(&self, seeds: &[SeedRecord]) -> EnergyRecord {
        /// 32-bit floating-point multiplication (3.7 pJ) and addition (0.9 pJ).
        const MAC_PJ: f64 = 4.6;
        const ADD_PJ: f64 = 0.9;
        let constant = self.experiment.simulate.encoding == Encoding::Constant;
        let snn_macs_per_sample = if constant { self.operations.of_constant_input() as f64 } else { 0.0 };
        let operations =
            |step: usize| seeds.iter().map(|seed| seed.synaptic_operations[step]).sum::<f64>() / seeds.len() as f64;
        EnergyRecord {
            mac_pj: MAC_PJ,
            add_pj: ADD_PJ,
            source:
                "M. Horowitz, \"Computing's energy problem (and what we can do about it)\", ISSCC 2014: 45 nm, 0.9 V, \
                     32-bit floating point, arithmetic only"
                    .to_owned(),
            snn_macs_per_sample,
            ann_pj: self.experiment.architecture.macs_per_sample() as f64 * MAC_PJ,
            snn_pj: (0..self.experiment.simulate.steps)
                .map(|step| operations(step) * ADD_PJ + snn_macs_per_sample * MAC_PJ)
                .collect(),
        }
    }
}

fn samples_per_chunk(network: &SpikingNetwork, n_steps: usize) -> usize {
    let n_neurons: usize = network.layers().iter().map(snn::SpikingLayer::n_out).sum();
    let most = (MOST_CHUNK_SPIKES / (n_neurons * n_steps)).max(rayon::current_num_threads());
    (CHUNK_SPIKES / (n_neurons * n_steps)).clamp(16, 256).min(most)
}

fn progress_bar(n_samples: usize, options: Options) -> ProgressBar {
    let template = "simulate {wide_bar} {percent}% {elapsed} (left {eta}) {per_sec}";
    cli::progress::bar(n_samples as u64, template, options.progress)
}
