//! What `convert --export` and `simulate --record` write and what `inspect` tells, through the commands' libraries.

use std::fs;
use std::path::Path;

use engine_event::EventEngine;
use export::Format;
use export::nir::Deviation;
use model::Experiment;
use model::config::ExperimentFile;
use results::record::ConversionRecord;
use serde_json::Value;
use snn::{Engine as _, RunSettings, Sample};

const TINY: &str = r#"
name = "tiny"
data = { dataset = "digits" }
model = { input = [1, 8, 8], layers = [
  { kind = "conv2d", channels = 3, kernel = 3 }, { kind = "relu" }, { kind = "avg-pool", kernel = 2 }, { kind = "flatten" },
  { kind = "dense", units = 10 }] }
train = { epochs = 2 }
simulate = { steps = 8, samples = 40, probe_samples = 10 }
"#;

fn experiment(overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    ExperimentFile::parse(TINY, Path::new("tiny.toml"), &overrides).unwrap().base
}

fn converted(experiment: &Experiment) -> (tempfile::TempDir, convert::Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let ann = train::run(experiment, folder.path(), None, train::Options::default()).unwrap();
    let snn = convert::run(experiment, &ann.path, folder.path(), convert::Options::default()).unwrap();
    (folder, snn)
}

#[test]
fn a_graph_that_would_compute_something_else_is_refused_and_leaves_the_old_one() {
    let experiment = experiment(&["convert.initial_potential=0.5"]);
    let (folder, snn) = converted(&experiment);
    let old = folder.path().join("snn.nir");
    fs::write(&old, "old").unwrap();
    let error = convert::export::write(&experiment, &snn.path, &[Format::Nir], &[]).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("snn.nir: not written") && error.contains("--allow reset-by-subtraction,initial-potential"),
        "{error}"
    );
    assert_eq!(fs::read(&old).unwrap(), b"old");

    let allowed = [Deviation::ResetBySubtraction, Deviation::InitialPotential];
    let written = convert::export::write(&experiment, &snn.path, &[Format::Nir, Format::Plain], &allowed).unwrap();
    assert_eq!(written.iter().map(|exported| exported.notes.len()).collect::<Vec<_>>(), [2, 0]);
    assert_eq!(written[0].path, old);
    export::hdf5::read(&fs::read(&old).unwrap()).unwrap();
    assert!(written[1].path.with_file_name(export::plain::TENSORS_FILE_NAME).exists());
}

#[test]
fn a_network_that_nir_has_all_words_for_is_exported_without_being_allowed_anything() {
    let experiment = experiment(&["convert.initial_potential=0", "simulate.reset=\"zero\""]);
    let (_folder, snn) = converted(&experiment);
    let written = convert::export::write(&experiment, &snn.path, &[Format::Nir], &[]).unwrap();
    assert_eq!(written[0].notes, Vec::<String>::new());
    assert_eq!(written[0].what, "NIR graph of 7 nodes");
}

/// The data of an array, behind its header.
fn array<'a>(file: &'a [u8], header: &str) -> &'a [u8] {
    let length = usize::from(u16::from_le_bytes([file[8], file[9]]));
    let found = std::str::from_utf8(&file[10..10 + length]).unwrap().trim_end();
    assert_eq!(found, format!("{{{header}, }}"));
    &file[10 + length..]
}

#[test]
fn a_recording_holds_the_engines_spikes_rates_and_potentials() {
    let experiment = experiment(&["simulate.seeds=[3, 4]"]);
    let (folder, snn) = converted(&experiment);
    let path = simulate::record::record(&experiment, folder.path(), 5).unwrap();
    let about: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&about["seed"], &about["snn"]), (&Value::from(3), &Value::from(snn.checksum)));
    let file = |name: &str| fs::read(path.with_file_name(name)).unwrap();

    let network = snn::artefact::read::<Value, ConversionRecord>(&snn.path).unwrap().network;
    let pixels = file("pixels.npy");
    let pixels = array(&pixels, "'descr': '<f4', 'fortran_order': False, 'shape': (5, 1, 8, 8)");
    let pixels: Vec<f32> = pixels.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
    let images: Vec<Vec<f32>> = pixels.chunks_exact(64).map(<[f32]>::to_vec).collect();
    let settings = RunSettings::new(&experiment.simulate, 3);
    let traces = EventEngine::new(&network).run(&Sample::consecutive(0, &images), &settings).unwrap();
    // The input, and 3 × 6 × 6 neurons of the convolution.
    for (source, n) in [(0, 64), (1, 108)] {
        let spikes = file(&format!("spikes-{source}.npy"));
        let spikes = array(&spikes, &format!("'descr': '|b1', 'fortran_order': False, 'shape': (5, 8, {n})"));
        let rates = file(&format!("rates-{source}.npy"));
        let rates = array(&rates, &format!("'descr': '<f4', 'fortran_order': False, 'shape': (5, {n})"));
        for (sample, trace) in traces.iter().enumerate() {
            let train = &trace.spikes[source];
            let all = (0..8).flat_map(|step| (0..n).map(move |neuron| (step, neuron)));
            let ours: Vec<u8> = all.map(|(step, neuron)| u8::from(train.get(step, neuron))).collect();
            assert_eq!(ours, spikes[sample * 8 * n..][..8 * n], "source {source}, sample {sample}");
            let ours: Vec<u8> = train.counts().iter().flat_map(|&count| (count as f32 / 8.0).to_le_bytes()).collect();
            assert_eq!(ours, rates[sample * 4 * n..][..4 * n], "source {source}, sample {sample}");
        }
    }
    let readout = file("readout.npy");
    let readout = array(&readout, "'descr': '<f4', 'fortran_order': False, 'shape': (5, 8, 10)");
    let ours: Vec<u8> = traces.iter().flat_map(|trace| &trace.readout).flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(ours, readout);
    assert!(!path.with_file_name("spikes-2.npy").exists(), "the readout does not fire");
}

#[test]
fn more_samples_than_there_are_cannot_be_recorded_and_constant_input_has_no_spikes() {
    let experiment = experiment(&["simulate.encoding=\"constant\""]);
    let (folder, _) = converted(&experiment);
    for n in [0, 41] {
        let error = simulate::record::record(&experiment, folder.path(), n).unwrap_err().to_string();
        assert!(error.contains("there are 40 test samples"), "{error}");
    }
    assert!(!folder.path().join("recording").exists());
    let path = simulate::record::record(&experiment, folder.path(), 40).unwrap();
    assert!(!path.with_file_name("spikes-0.npy").exists() && path.with_file_name("spikes-1.npy").exists());
}

#[test]
fn results_and_whole_experiments_are_told_with_their_accuracies() {
    let experiment = experiment(&["simulate.seeds=[3, 4]", "simulate.checkpoints=[1, 8]"]);
    let (folder, snn) = converted(&experiment);
    let outcome = simulate::run(&experiment, "seed 7", "norm", folder.path(), simulate::Options::default()).unwrap();
    let seeds = &outcome.results.run.simulation.seeds;
    let accuracy = 100.0 * (seeds[0].accuracy[7] + seeds[1].accuracy[7]) / 2.0;

    let found = inspect::inspect(&outcome.path).unwrap().json();
    assert_eq!((&found["kind"], &found["experiment"]), (&"results of one spiking network".into(), &"tiny".into()));
    assert_eq!(found["snn_sha256"], Value::from(snn.checksum));
    let row = &found["accuracy_percent"][0];
    assert_eq!((&row["run"], &row["seeds"]), (&"norm".into(), &2.into()));
    let told = row["T=8"].as_f64().unwrap();
    // Two orders of the same sum.
    assert!((told - accuracy).abs() < 1e-9 && row.get("T=1").is_some() && row.get("T=2").is_none(), "{row}");

    let whole = folder.path().join("experiment.json");
    let record = simulate::experiment_record(&experiment, &outcome.results);
    fs::write(&whole, serde_json::to_vec(&record).unwrap()).unwrap();
    let found = inspect::inspect(&whole).unwrap();
    assert_eq!(found.json()["accuracy_percent"][0]["T=8"], row["T=8"]);
    assert_eq!(found.json()["networks"][0]["architecture"], Value::from(experiment.architecture.to_string()));
    assert!(found.text().contains("a whole experiment"), "{}", found.text());

    let found = inspect::inspect(&folder.path().join("ann.safetensors")).unwrap().json();
    assert_eq!((&found["kind"], &found["epochs"]), (&"trained network".into(), &2.into()));
}
