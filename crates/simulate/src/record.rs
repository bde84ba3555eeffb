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

use crate::{check_converted, device_of, load};

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
    let snn = snn::artefact::read::<Value, ConversionRecord>(&folder.join(snn::artefact::FILE_NAME))?;
    let test = load(experiment, &snn)?;
    let experiment = &test.experiment;
    check_converted(experiment, &snn, folder)?;
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
            self::spikes(&folder, [&spikes, &rates], &traces, source)?;
            sources.push(json!({"source": source, "name": name, "shape": shape, "spikes": spikes, "rates": rates}));
        }
    }
    let description = json!({
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
    let path = folder.join(DESCRIPTION);
    artefact::write_atomically(&path, &serde_json::to_vec_pretty(&description)?)?;
    Ok(path)
}

fn array<V: npy::Value>(folder: &Path, name: &str, shape: &[usize], values: impl Iterator<Item = V>) -> Result<()> {
    Ok(artefact::write_atomically_with(&folder.join(name), |file| npy::write(file, shape, values))?)
}

/// - `names`: of the files of spikes and of rates
fn spikes(folder: &Path, names: [&str; 2], traces: &[SampleTrace], source: usize) -> Result<()> {
    let trains = || traces.iter().map(|trace| &trace.spikes[source]);
    let (n, n_steps, n_neurons) =
        (traces.len(), traces[0].spikes[source].n_steps(), traces[0].spikes[source].n_neurons());
    let of_step =
        |train: &'_ SpikeTrain, step| (0..n_neurons).map(move |neuron| train.get(step, neuron)).collect::<Vec<_>>();
    let of_train = |train| (0..n_steps).flat_map(move |step| of_step(train, step));
    array(folder, names[0], &[n, n_steps, n_neurons], trains().flat_map(of_train))?;
    let rates = trains().flat_map(SpikeTrain::counts).map(|count| count as f32 / n_steps as f32);
    array(folder, names[1], &[n, n_neurons], rates)
}
