//! What a network did with single samples, as NumPy arrays.
//!
//! Into `recording/` beside the network: `pixels.npy` `[N, C, H, W]` and `labels.npy` `[N]`; for source k (0 the input, k the
//! k-th layer that fires) `spikes-k.npy` `[N, T, neurons]` and `rates-k.npy` `[N, neurons]`, spikes per step; `readout.npy`
//! `[N, T, classes]`, membrane potentials or spikes so far, after each step. Neurons are numbered channel by channel, row by
//! row: `reshape(N, T, C, H, W)` gives images. `recording.json` names them and is written last.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use engine_event::EventEngine;
use export::npy;
use model::config::Encoding;
use model::{Experiment, artefact};
use results::record::ConversionRecord;
use serde_json::{Value, json};
use snn::{Engine as _, RunSettings, Sample, SampleTrace, SpikeTrain, SpikingLayer};

use crate::{check_converted, check_wirings, device_of, load};

/// Folder of a recording in a run's folder.
pub const FOLDER: &str = "recording";

/// Names the arrays; written last.
const DESCRIPTION: &str = "recording.json";

/// Records the first samples of the test set, with the first of the simulation seeds.
///
/// - `n`: number of samples
/// - `folder`: where the converted network is
/// - returns the path of `recording.json`
///
/// # Errors
/// If the network or the data cannot be read or do not fit each other, there are fewer samples, or the folder cannot be
/// written to.
pub fn record(experiment: &Experiment, folder: &Path, n: usize) -> Result<PathBuf> {
    let snn = snn::artefact::read_network::<Value, ConversionRecord>(&folder.join(snn::artefact::FILE_NAME))?;
    let test = load(experiment, &snn.metadata)?;
    let experiment = &test.experiment;
    check_converted(experiment, &snn.metadata, folder)?;
    check_wirings(experiment, &snn.network, folder)?;
    if n == 0 || n > test.samples.len() {
        bail!(
            "--record {n}: there are {} test samples; record at least one and at most all of them",
            test.samples.len()
        );
    }
    let samples = test.samples.take(n);
    let images: Vec<Vec<f32>> = (0..n).map(|sample| samples.image(sample)).collect();
    let settings = RunSettings::new(&experiment.simulate, experiment.simulate.seeds[0]);
    let device = device_of(experiment, &snn.network, experiment.simulate.seeds[0])?;
    let traces = EventEngine::new(&device).run(&Sample::consecutive(0, &images), &settings)?;

    let folder = folder.join(FOLDER);
    // It vouches for the arrays beside it, which are about to be replaced.
    artefact::remove(&folder.join(DESCRIPTION))?;
    let [channels, height, width] = samples.shape();
    array(&folder, "pixels.npy", &[n, channels, height, width], images.iter().flatten().copied())?;
    if samples.n_classes() <= 256 {
        array(&folder, "labels.npy", &[n], samples.labels().iter().map(|&label| label as u8))?;
    } else {
        array(&folder, "labels.npy", &[n], samples.labels().iter().copied())?;
    }
    let (n_steps, n_classes) = (settings.n_steps, snn.network.n_classes());
    array(
        &folder,
        "readout.npy",
        &[n, n_steps, n_classes],
        traces.iter().flat_map(|trace| trace.readout.iter().copied()),
    )?;
    let names = std::iter::once("input").chain(snn.network.layers().iter().map(SpikingLayer::name));
    let mut sources = Vec::new();
    for (source, name) in names.enumerate().take(traces[0].spikes.len()) {
        // A constant input does not spike.
        if snn::Source::from_index(source) != snn::Source::INPUT || settings.encoding != Encoding::Constant {
            let shape = traces[0].spikes[source].shape();
            let (spikes, rates) = (format!("spikes-{source}.npy"), format!("rates-{source}.npy"));
            self::spikes(&folder, [&spikes, &rates], &traces, source, settings.neuron.levels)?;
            sources.push(json!({"source": source, "name": name, "shape": shape, "spikes": spikes, "rates": rates}));
        }
    }
    let mut description = json!({
        "quartic_version": env!("CARGO_PKG_VERSION"),
        "snn": snn.checksum,
        "samples": n,
        "steps": n_steps,
        "seed": settings.seed,
        "encoding": settings.encoding,
        "reset": settings.reset,
        "readout": settings.readout,
        "faults": experiment.simulate.faults.label(),
        "sources": sources,
    });
    if !settings.neuron.is_binary() {
        description["neuron"] = json!({"kind": settings.neuron.kind, "levels": settings.neuron.levels});
    }
    let path = folder.join(DESCRIPTION);
    artefact::write_atomically(&path, &serde_json::to_vec_pretty(&description)?)?;
    Ok(path)
}

fn array<V: npy::Value>(folder: &Path, name: &str, shape: &[usize], values: impl Iterator<Item = V>) -> Result<()> {
    Ok(artefact::write_atomically_with(&folder.join(name), |file| npy::write(file, shape, values))?)
}

/// - `names`: of the files of spikes, which are quanta as floats where they are not 0 or 1 each, and of rates, in thresholds a step
/// - `levels`: quanta in a threshold
fn spikes(folder: &Path, names: [&str; 2], traces: &[SampleTrace], source: usize, levels: u32) -> Result<()> {
    let trains = || traces.iter().map(|trace| &trace.spikes[source]);
    let (n, n_steps, n_neurons) =
        (traces.len(), traces[0].spikes[source].n_steps(), traces[0].spikes[source].n_neurons());
    let shape = [n, n_steps, n_neurons];
    if trains().any(SpikeTrain::is_graded) {
        let of_step = |train: &'_ SpikeTrain, step| {
            (0..n_neurons).map(move |neuron| train.quanta(step, neuron) as f32).collect::<Vec<_>>()
        };
        let of_train = |train| (0..n_steps).flat_map(move |step| of_step(train, step));
        array(folder, names[0], &shape, trains().flat_map(of_train))?;
    } else {
        let of_step =
            |train: &'_ SpikeTrain, step| (0..n_neurons).map(move |neuron| train.get(step, neuron)).collect::<Vec<_>>();
        let of_train = |train| (0..n_steps).flat_map(move |step| of_step(train, step));
        array(folder, names[0], &shape, trains().flat_map(of_train))?;
    }
    // A spike of the input is a whole threshold.
    let levels = if source == snn::Source::INPUT.index() { 1 } else { levels };
    let in_run = (n_steps * levels as usize) as f32;
    let rates = trains().flat_map(SpikeTrain::counts).map(|count| count as f32 / in_run);
    array(folder, names[1], &[n, n_neurons], rates)
}
