//! Faults of the hardware and the search for the scale, from the configuration to the results.

use std::path::{Path, PathBuf};

use datasets::{DatasetName, LabelledImages, Split};
use engine_dense::DenseEngine;
use model::Experiment;
use model::config::ExperimentFile;
use results::record::{SeedRecord, SimulationRecord};
use serde_json::Value;
use snn::{Engine as _, RunSettings, Sample};

const TINY: &str = r#"
name = "tiny"
[data]
dataset = "digits"
[model]
input = [1, 8, 8]
layers = [{ kind = "flatten" }, { kind = "dense", units = 40 }, { kind = "relu" }, { kind = "dense", units = 10 }]
[train]
epochs = 6
[convert]
target_steps = 4
kappa_samples = 600
[simulate]
steps = 16
samples = 400
seeds = [3, 4]
probe_samples = 50
"#;

fn experiment(overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    ExperimentFile::parse(TINY, Path::new("tiny.toml"), &overrides).unwrap().base
}

/// A folder with the trained network of the tiny experiment.
fn trained() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let outcome = train::run(&experiment(&[]), folder.path(), None, train::Options::default()).unwrap();
    (folder, outcome.path)
}

fn convert(overrides: &[&str], weights: &Path, folder: &Path) -> convert::Outcome {
    convert::run(&experiment(overrides), weights, folder, convert::Options::default()).unwrap()
}

fn simulate(overrides: &[&str], folder: &Path) -> simulate::Outcome {
    simulate::run(&experiment(overrides), "seed 0", "run", folder, simulate::Options::default()).unwrap()
}

fn last_accuracy(record: &SimulationRecord) -> f64 {
    let last = |seed: &SeedRecord| *seed.accuracy.last().unwrap();
    record.seeds.iter().map(last).sum::<f64>() / record.seeds.len() as f64
}

#[test]
fn faults_of_zero_are_no_faults_and_the_results_of_before_still_count() {
    let (folder, weights) = trained();
    convert(&[], &weights, folder.path());
    let none = simulate(&[], folder.path());
    assert_eq!(none.results.run.simulation.faults, None);
    assert!(!std::fs::read_to_string(&none.path).unwrap().contains("faults\":"), "nothing in the record or the recipe");
    let zeros = [
        "simulate.faults.weight_noise=0",
        "simulate.faults.threshold_mismatch=0.0",
        "simulate.faults.dropped_spikes=0",
        "simulate.faults.weight_bits=off",
        "simulate.faults.seed=8",
    ];
    let again = simulate(&zeros, folder.path());
    assert!(again.reused);
    assert_eq!(again.results, none.results);
}

#[test]
fn every_fault_is_recorded_costs_accuracy_where_it_is_bad_and_is_the_same_on_both_engines() {
    let (folder, weights) = trained();
    convert(&[], &weights, folder.path());
    let none = last_accuracy(&simulate(&[], folder.path()).results.run.simulation);
    let faults = [
        ("weight_noise=0.3", "weight noise 0.3"),
        ("weight_bits=2", "2-bit weights"),
        ("threshold_mismatch=0.3", "threshold mismatch 0.3"),
        ("dropped_spikes=0.7", "dropped spikes 0.7"),
    ];
    for (fault, label) in faults {
        let fault = format!("simulate.faults.{fault}");
        let event = simulate(&[&fault], folder.path());
        assert!(!event.reused, "{fault}: a part of the recipe");
        let record = &event.results.run.simulation;
        assert_eq!(record.faults.as_ref().unwrap().label, label);
        assert_eq!(record.seeds.len(), 2);
        assert_ne!(record.seeds[0].accuracy, record.seeds[1].accuracy, "{fault}: devices differ");
        // Of thresholds that are a third off, sums over 40 neurons feel little.
        let least_loss = if label.starts_with("threshold") { -0.01 } else { 0.01 };
        assert!(none - last_accuracy(record) >= least_loss, "{fault}: {} after {none}", last_accuracy(record));
        let dense = simulate::run(
            &experiment(&[&fault, "simulate.engine=dense"]),
            "seed 0",
            "run",
            folder.path(),
            simulate::Options { force: true, ..simulate::Options::default() },
        );
        let mut dense = dense.unwrap().results.run;
        dense.simulation.engine = "event".to_owned();
        assert_eq!(dense, event.results.run, "{fault}");
    }
}

#[test]
fn devices_differ_where_the_input_has_no_random_numbers_and_runs_without_any_are_made_once() {
    let (folder, weights) = trained();
    let constant = "simulate.encoding=constant";
    convert(&[constant], &weights, folder.path());
    let n_seeds = |fault: &str| {
        let results = simulate(&[constant, &format!("simulate.faults.{fault}")], folder.path()).results;
        results.run.simulation.seeds.len()
    };
    assert_eq!((n_seeds("weight_bits=4"), n_seeds("weight_noise=0.1"), n_seeds("threshold_mismatch=0.1")), (1, 2, 2));
}

#[test]
fn early_exit_stops_devices_with_faults_and_keeps_its_promise() {
    let (folder, weights) = trained();
    convert(&[], &weights, folder.path());
    let faults = ["simulate.faults.dropped_spikes=0.1", "simulate.faults.weight_noise=0.05"];
    let whole = simulate(&faults, folder.path()).results.run;
    let mut early = simulate(&[&faults[..], &["simulate.early_exit=0.95"]].concat(), folder.path()).results.run;
    for seed in &mut early.simulation.seeds {
        let early = seed.early_exit.take().unwrap();
        assert!(early.mean_steps < 14.0 && early.agreement > 0.9, "{early:?}");
    }
    assert_eq!(early, whole);
}

/// Right decisions of each sample at the last step, and of all samples at all steps.
struct Trial {
    scale: f64,
    right: Vec<bool>,
    n_right_at_all_steps: usize,
}

impl Trial {
    fn n_right(&self) -> usize {
        self.right.iter().filter(|right| **right).count()
    }
}

#[test]
fn the_searched_scale_is_the_best_of_its_grid_by_its_rule() {
    let (folder, weights) = trained();
    let grid = "convert.scale_grid=[0.1, 0.3, 0.6, 1.0, 2.5]";
    let method = "convert.method=max";
    let found = convert(&[method, grid, "convert.scale=auto"], &weights, folder.path());
    let search = found.conversion.scale_search.clone().unwrap();
    assert_eq!(found.conversion.kappa_search, []);
    // What the search may look at: neither calibration samples nor test samples.
    let all = LabelledImages::load(DatasetName::Digits, Split::Train, None).unwrap();
    let (_, selection) = all.split_validation(1000, 0).unwrap().0.split_validation(600, 0).unwrap();
    let images: Vec<Vec<f32>> = (0..selection.len()).map(|index| selection.image(index)).collect();
    let experiment = experiment(&[]);
    let settings = RunSettings { n_steps: 4, ..RunSettings::new(&experiment.simulate, experiment.seed) };
    let trial = |scale: f64| {
        let own = folder.path().join(scale.to_string());
        convert(&[method, &format!("convert.scale={scale}")], &weights, &own);
        let artefact = snn::artefact::read::<Value, Value>(&own.join("snn.safetensors")).unwrap();
        let engine = DenseEngine::new(&artefact.network, &ann::device(experiment.backend).unwrap(), 64);
        let traces = engine.run(&Sample::consecutive(0, &images), &settings).unwrap();
        let rights = traces.iter().zip(selection.labels()).map(|(trace, &label)| {
            trace.decisions().into_iter().map(|decision| decision == usize::from(label)).collect::<Vec<bool>>()
        });
        let rights: Vec<Vec<bool>> = rights.collect();
        Trial {
            scale,
            right: rights.iter().map(|steps| steps[3]).collect(),
            n_right_at_all_steps: rights.iter().flatten().filter(|right| **right).count(),
        }
    };
    let trials: Vec<Trial> = [0.1, 0.3, 0.6, 1.0, 2.5].into_iter().map(trial).collect();
    for (trial, record) in trials.iter().zip(&search.trials) {
        assert_eq!((trial.scale, trial.n_right() as f64 / 600.0), (record.scale, record.accuracy));
    }
    // Those at most a standard error of the paired difference behind the most accurate; of these the one that settles soonest.
    let most = trials.iter().map(Trial::n_right).max().unwrap();
    let best = trials.iter().rfind(|trial| trial.n_right() == most).unwrap();
    let near = trials.iter().filter(|trial| {
        let apart = trial.right.iter().zip(&best.right).filter(|(a, b)| a != b).count();
        (most - trial.n_right()) as f64 <= (apart as f64).sqrt()
    });
    let soonest = near.max_by_key(|trial| trial.n_right_at_all_steps).unwrap();
    assert_eq!(search.scale, soonest.scale);
    assert!(soonest.scale < 1.0, "thresholds at the maxima are slow, so that the search has something to find");
    // The network is that of the chosen factor.
    let read = |folder: &Path| snn::artefact::read::<Value, Value>(&folder.join("snn.safetensors")).unwrap().network;
    assert!(read(folder.path()) == read(&folder.path().join(search.scale.to_string())));
}
