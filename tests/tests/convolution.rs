//! A trained network with every kind of layer, through conversion, both engines and the diagnosis.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use model::Experiment;
use model::config::{ExperimentFile, Method};
use results::record::SimulationRecord;

const EVERY_KIND: &str = r#"
name = "every-kind"
data.dataset = "digits"
[model]
input = [1, 8, 8]
layers = [
  { kind = "conv2d", channels = 12, kernel = 3, padding = 1, bias = false },
  { kind = "batch-norm" },
  { kind = "relu" },
  { kind = "max-pool", kernel = 2 },
  { kind = "conv2d", channels = 12, kernel = 3, padding = 1, groups = 12 },
  { kind = "batch-norm" },
  { kind = "relu" },
  { kind = "residual", body = [
    { kind = "conv2d", channels = 12, kernel = 3, padding = 1 },
    { kind = "batch-norm" },
    { kind = "relu" },
    { kind = "conv2d", channels = 12, kernel = 3, padding = 1 },
    { kind = "batch-norm" },
  ] },
  { kind = "relu" },
  { kind = "avg-pool", kernel = 2, stride = 1 },
  { kind = "residual", body = [
    { kind = "conv2d", channels = 24, kernel = 3, stride = 2, padding = 1 },
  ], shortcut = [
    { kind = "conv2d", channels = 24, kernel = 1, stride = 2 },
    { kind = "batch-norm" },
  ] },
  { kind = "relu" },
  { kind = "dropout", rate = 0.1 },
  { kind = "global-avg-pool" },
  { kind = "dense", units = 32 },
  { kind = "batch-norm" },
  { kind = "relu" },
  { kind = "dense", units = 10 },
]
[train]
epochs = 6
sgd = { learning_rate = 0.1, weight_decay = 1e-4 }
[simulate]
steps = 64
samples = 300
probe_samples = 100
"#;

fn experiment(overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    ExperimentFile::parse(EVERY_KIND, Path::new("every-kind.toml"), &overrides).unwrap().base
}

/// The trained network, made once for all tests of this file.
fn trained() -> &'static Path {
    static TRAINED: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = TRAINED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = train::run(&experiment(&[]), folder.path(), None, train::Options::default()).unwrap().path;
        (folder, path)
    });
    path
}

fn convert(overrides: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    convert::run(&experiment(overrides), trained(), folder.path(), convert::Options::default()).unwrap();
    folder
}

fn simulate(overrides: &[&str], folder: &Path) -> simulate::Results {
    // Engines are no part of what results depend on, so one's results would be taken for the other's.
    let afresh = simulate::Options { force: true, ..simulate::Options::default() };
    simulate::run(&experiment(overrides), "seed 0", "run", folder, afresh).unwrap().results
}

/// Converts and simulates; the report's page comes with the results.
fn run(overrides: &[&str]) -> (simulate::Results, String) {
    let results = simulate(overrides, convert(overrides).path());
    let page = report::html(&simulate::experiment_record(&experiment(overrides), &results)).unwrap();
    (results, page)
}

fn last_accuracy(simulation: &SimulationRecord) -> f64 {
    *simulation.seeds[0].accuracy.last().unwrap()
}

#[test]
fn methods_get_to_the_ann_s_accuracy_through_every_kind_of_layer() {
    /// A few of 300 samples at the margin between two classes.
    const CLOSE: f64 = 0.02;
    // Thresholds of 1 cut off most activations, and the largest activation that the weights allow grows so much from
    // layer to layer that hundreds of steps are too few. It was trained without thresholds of its own.
    let without = [Method::None, Method::Model, Method::Trained];
    for method in Method::ALL.iter().filter(|method| !without.contains(method)) {
        // Without data, λ grows or falls with κ from layer to layer: the right one is that of this depth.
        let kappa = if *method == Method::Std { "convert.kappa=0.2" } else { "convert.kappa=0.6" };
        let method = format!("convert.method={method}");
        let (results, _) = run(&[&method, kappa, "simulate.steps=256"]);
        let (ann, snn) = (results.ann.test_accuracy.unwrap(), last_accuracy(&results.run.simulation));
        assert!(ann > 0.9 && snn >= ann - CLOSE, "{method}: {snn} for {ann}");
    }
}

#[test]
fn the_dense_engine_gives_the_results_of_the_event_driven_one_on_a_trained_network() {
    let keys = ["convert.method=channel-percentile", "simulate.steps=24", "simulate.samples=60"];
    // One conversion: backends calibrate to the last bit only.
    let folder = convert(&keys);
    for encoding in ["simulate.encoding=poisson", "simulate.encoding=constant"] {
        let event = simulate(&[&keys[..], &[encoding]].concat(), folder.path()).run.simulation;
        for backend in ann::backend::usable() {
            let backend = format!("backend={backend}");
            let dense = [encoding, "simulate.engine=dense", "simulate.batch_size=20", &backend];
            let dense = simulate(&[&keys[..], &dense].concat(), folder.path()).run.simulation;
            assert_eq!((&dense.seeds, &dense.rasters), (&event.seeds, &event.rasters), "{backend}, {encoding}");
        }
    }
}

#[test]
fn the_loss_is_taken_apart_through_every_kind_of_layer() {
    for readout in ["potential", "spikes"] {
        let readout = format!("simulate.readout={readout}");
        let keys = ["convert.method=channel-percentile", "simulate.decompose=true", "simulate.samples=100", &readout];
        let (results, page) = run(&keys);
        let seed = &results.run.simulation.seeds[0];
        assert_eq!(seed.loss.iter().map(|of| of.step).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64]);
        // Within one step there is no order of spikes: the model counts as the network does, through pools and sums.
        let first = seed.loss[0];
        assert_eq!((first.agreement, first.models[7]), (1.0, seed.accuracy[0]), "{readout}");
        // The function is the trained network's, unless the last layer's ReLU makes logits below zero equal.
        if readout.ends_with("potential") {
            assert!(seed.loss.iter().all(|of| Some(of.models[0]) == results.ann.test_accuracy), "{:?}", seed.loss);
        }
        assert!(page.contains("Where accuracy is lost"));
    }
}

#[test]
fn every_layer_with_noise_has_its_law() {
    let (results, page) = run(&["convert.method=percentile"]);
    let layers = &results.run.simulation.variance;
    assert_eq!(layers.len(), 7, "{:?}", layers.iter().map(|layer| &layer.name).collect::<Vec<_>>());
    for (idx, layer) in layers.iter().enumerate() {
        let law = layer.law.as_ref().expect("a law");
        assert_eq!(law.potential.is_some(), idx < 6, "{}: only the readout never fires", layer.name);
        assert!(law.dependence > 0.0 && (0.0..=1.0).contains(&law.angle.cosine), "{}: {law:?}", layer.name);
    }
    // Pixels are drawn independently of each other.
    let pixels = layers[0].law.as_ref().unwrap();
    assert!((pixels.dependence - 1.0).abs() < 0.05 && pixels.prediction.coefficient_of_variation < 0.1, "{pixels:?}");
    assert!(page.contains("Which norm the noise follows"));
    // A constant current has no noise: the first layer is left out.
    let (constant, _) = run(&["convert.method=percentile", "simulate.encoding=constant"]);
    assert!(constant.run.simulation.variance.iter().all(|layer| layer.name != layers[0].name));
}

#[test]
fn calibrated_rates_gain_accuracy_in_few_steps_and_coarse_weights_lose_none() {
    let accuracy = |keys: &[&str]| {
        let few = ["convert.method=percentile", "simulate.encoding=constant", "simulate.steps=4"];
        last_accuracy(&run(&[&few[..], keys].concat()).0.run.simulation)
    };
    let plain = accuracy(&[]);
    for how in ["convert.calibrate=bias", "convert.calibrate=potential"] {
        let calibrated = accuracy(&[how]);
        assert!(calibrated > plain + 0.05, "{how}: {calibrated} instead of {plain}");
        let coarse = accuracy(&[how, "convert.sum_bits=15"]);
        assert!((coarse - calibrated).abs() < 0.02, "{how}: {coarse} with 15 bits, {calibrated} with 24");
    }
}

#[test]
fn a_kappa_of_the_grid_that_gives_no_exact_network_is_passed_over() {
    let keys = |grid: &str| {
        let grid = format!("convert.kappa_grid={grid}");
        let experiment = experiment(&["convert.kappa=auto", "convert.kappa_samples=100", "simulate.steps=16", &grid]);
        let folder = tempfile::tempdir().unwrap();
        convert::run(&experiment, trained(), folder.path(), convert::Options::default())
    };
    let conversion = keys("[0.01, 0.6]").unwrap().conversion;
    assert_eq!(conversion.kappa, Some(0.6));
    assert_eq!(conversion.kappa_search.iter().map(|trial| trial.kappa).collect::<Vec<_>>(), [0.6]);
    let error = format!("{:#}", keys("[0.01, 0.02]").unwrap_err());
    assert!(error.contains("no κ of convert.kappa_grid gives a network: layer dense 7: weights of channel"), "{error}");
}

#[test]
fn a_network_made_to_collapse_is_diagnosed_by_layer_cause_and_remedy() {
    let verdict = |keys: &[&str]| {
        let (results, page) = run(keys);
        let lost = results.ann.test_accuracy.unwrap() - last_accuracy(&results.run.simulation);
        assert!(lost > 0.1, "{keys:?}: only {lost} is lost");
        let start = page.find("most is lost at").expect("a verdict");
        page[start..].chars().take(400).collect::<String>()
    };
    let starved = verdict(&["convert.kappa=0.1", "convert.initial_potential=0"]);
    assert!(starved.contains("Lower the thresholds"), "{starved}");
    let saturated = verdict(&["convert.kappa=3"]);
    assert!(saturated.contains("(saturation)") && saturated.contains("Raise the thresholds"), "{saturated}");
    let noisy = verdict(&["convert.kappa=0.4", "simulate.steps=1"]);
    assert!(noisy.contains("conv 1") || noisy.contains("conv 2"), "{noisy}");
}
