//! Networks that PyTorch trained, converted and simulated: from an ONNX file alone, and from saved weights.
//!
//! The files are the fixtures of the `import` crate, made by `scripts/peers/make_import_fixtures.py`.

use convert::check::Expectation;
use std::path::{Path, PathBuf};

use cli::{ExperimentArgs, Options};
use convert::read_experiment;
use model::Experiment;
use model::config::ModelSection;
use serde_json::Value;

const WITHOUT_MODEL: &str = r#"
name = "imported"
[data]
dataset = "digits"
[convert]
method = "channel-percentile"
[simulate]
encoding = "systematic"
steps = 64
samples = 400
probe_samples = 20
"#;

/// Share of 400 decisions in which the spiking network may differ from the trained one: input counts are less than a spike
/// off and T = 64, but rates of deep layers still have their own error.
const DISAGREEMENT: f64 = 0.05;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates/import/tests/fixtures").join(name)
}

/// Arguments of a command on an experiment file in a new folder, whose runs go there too.
fn args(config: &str) -> (tempfile::TempDir, ExperimentArgs) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imported.toml");
    std::fs::write(&path, config).unwrap();
    let args = ExperimentArgs {
        config: Some(path),
        overrides: Vec::new(),
        backend: None,
        runs: folder.path().to_owned(),
        force: false,
        keys: false,
    };
    (folder, args)
}

fn run(config: &str, weights: &Path) -> (Experiment, convert::Outcome, simulate::Outcome) {
    let (folder, args) = args(config);
    let (experiment, _) = read_experiment(&args, Some(weights), None).unwrap();
    let run = folder.path().join("imported");
    let converted = convert::run(&experiment, weights, &run, Options::default()).unwrap();
    let again = convert::run(&experiment, weights, &run, Options::default()).unwrap();
    assert_eq!((again.reused, &again.notes), (true, &converted.notes));
    // `simulate` is given the same file, and finds the network's architecture in its folder.
    let simulated = simulate::read_experiment(&args).unwrap();
    assert_eq!(simulated.architecture, experiment.architecture);
    let outcome = simulate::run(&simulated, "seed 0", "run", &run, Options::default()).unwrap();
    let config = snn::artefact::read::<Value, Value>(&run.join("snn.safetensors")).unwrap().metadata.config;
    let recorded = ModelSection::of_config(&config).unwrap();
    assert_eq!(recorded.input, experiment.architecture.input());
    (experiment, converted, outcome)
}

#[test]
fn an_onnx_file_is_all_that_an_experiment_needs_to_know_of_its_network() {
    for (file, short) in [
        ("mlp.onnx", "64-16-10"),
        ("cnn.onnx", "1×8×8-6c3-mp2-8c3-ap2-10"),
        ("cnn-norms.onnx", "1×8×8-6c3-mp2-8c3-ap2-10"),
        ("resnet-legacy.onnx", "1×8×8-6c3-6c3-6c3-add-8c3s2-8c3-8c1s2-add-gap-10"),
        ("functional.onnx", "1×8×8-12-10"),
    ] {
        let (experiment, converted, simulated) = run(WITHOUT_MODEL, &fixture(file));
        assert_eq!(experiment.architecture.to_string(), short);
        assert!(converted.notes[0].starts_with(short), "{:?}", converted.notes);
        let seed = &simulated.results.run.simulation.seeds[0];
        assert!(*seed.agreement.last().unwrap() >= 1.0 - DISAGREEMENT, "{file}: {:?}", seed.agreement);
        // PyTorch gets 1702 to 1730 of all 1797 right.
        let accuracy = simulated.results.ann.test_accuracy.unwrap();
        assert!(accuracy > 0.9, "{file}: {accuracy}");
    }
}

#[test]
fn an_onnx_file_is_read_once_for_its_architecture_and_its_weights() {
    let (folder, args) = args(WITHOUT_MODEL);
    let weights = folder.path().join("mlp.onnx");
    std::fs::copy(fixture("mlp.onnx"), &weights).unwrap();
    let (experiment, network) = read_experiment(&args, Some(&weights), None).unwrap();
    std::fs::remove_file(&weights).unwrap();
    let imported = network.unwrap().into_weights(&experiment.architecture).unwrap();
    assert_eq!(imported, import::weights(&fixture("mlp.onnx"), &experiment.architecture, None).unwrap());
    let converted =
        convert::run_imported(&experiment, imported, folder.path(), Options::default(), Expectation::default())
            .unwrap();
    let again = convert::run(&experiment, &fixture("mlp.onnx"), folder.path(), Options::default()).unwrap();
    assert_eq!((again.reused, &again.notes), (true, &converted.notes));
}

#[test]
fn saved_weights_give_the_network_that_their_export_gives() {
    let model = r#"
[model]
input = [1, 8, 8]
layers = [{ kind = "flatten" }, { kind = "dense", units = 16 }, { kind = "relu" }, { kind = "dense", units = 10 }]
"#;
    let config = format!("{WITHOUT_MODEL}{model}");
    let exported = run(WITHOUT_MODEL, &fixture("mlp.onnx")).2;
    for file in ["mlp.pt", "mlp-f64.pt", "mlp.safetensors", "external/mlp.onnx"] {
        let simulated = run(&config, &fixture(file)).2;
        assert_eq!(simulated.results.run, exported.results.run, "{file}");
    }
}

#[test]
fn the_model_is_part_of_what_other_peoples_weights_are_converted_for() {
    let model = |pool: &str| {
        format!(
            r#"{WITHOUT_MODEL}
[model]
input = [1, 8, 8]
layers = [
  {{ kind = "conv2d", channels = 6, kernel = 3, padding = 1, bias = false }}, {{ kind = "batch-norm" }}, {{ kind = "relu" }},
  {{ kind = "{pool}-pool", kernel = 2 }},
  {{ kind = "conv2d", channels = 8, kernel = 3, padding = 1 }}, {{ kind = "batch-norm", epsilon = 1e-3 }}, {{ kind = "relu" }},
  {{ kind = "avg-pool", kernel = 2 }}, {{ kind = "flatten" }}, {{ kind = "dense", units = 10 }},
]
"#
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let convert = |pool: &str| {
        let (_config, args) = args(&model(pool));
        let weights = fixture("cnn.pt");
        let (experiment, network) = read_experiment(&args, Some(&weights), None).unwrap();
        assert_eq!(network, None);
        convert::run(&experiment, &weights, folder.path(), Options::default()).unwrap().reused
    };
    assert_eq!([convert("max"), convert("max"), convert("avg"), convert("avg")], [false, true, false, true]);
}

#[test]
fn an_experiment_of_a_network_alone_has_a_file_once_that_is_written_and_gives_way_to_no_other() {
    let (folder, mut args) = args("");
    args.config = Some(fixture("cnn.onnx"));
    args.overrides = vec!["data.dataset=digits".to_owned()];
    let experiment_of = |args: &ExperimentArgs, data: &str| convert::experiment_of(args, Path::new(data), None);
    let (experiment, network, file) = experiment_of(&args, "somewhere").unwrap();
    assert_eq!(experiment.name, "cnn");
    assert_eq!(network.model.input, [1, 8, 8]);
    assert_eq!(file.path, folder.path().join("cnn").join(convert::EXPERIMENT_FILE));
    // An experiment that was never converted is in nobody's way.
    assert!(!file.path.exists());
    experiment_of(&args, "elsewhere").unwrap();
    file.write().unwrap();
    experiment_of(&args, "somewhere").unwrap();
    let error = experiment_of(&args, "elsewhere").unwrap_err().to_string();
    assert!(error.contains("is there already, and another experiment") && error.contains("--set name=NAME"), "{error}");
    args.overrides.push("name=other".to_owned());
    experiment_of(&args, "elsewhere").unwrap();
}

#[test]
fn what_is_no_onnx_file_by_its_contents_is_refused_by_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let refusal = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        import::network(&path, None, None).unwrap_err().to_string()
    };
    let whole = std::fs::read(fixture("cnn.onnx")).unwrap();
    let cases: [(&[u8], &str); 4] = [
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "what Git LFS keeps in place of the file; get the file itself: git lfs pull",
        ),
        (
            b"<!DOCTYPE html><html>",
            "a page of the web, which a server gave in place of the file; download the file itself",
        ),
        (
            &whole[..3000],
            "; name the whole file that the network was exported to, such as by torch.onnx.export(net, (x,), FILE)",
        ),
        (b"", "an empty file; name the whole file that the network was exported to"),
    ];
    for (bytes, expected) in cases {
        let error = refusal(bytes);
        assert!(error.contains("net.onnx: ") && error.contains(expected), "{error}");
    }
    let (_folder, mut args) = args("");
    args.config = Some(fixture("cnn.onnx"));
    let error = read_experiment(&args, None, None).unwrap_err().to_string();
    assert!(error.contains("a network, where an experiment file is needed; give the samples"), "{error}");
}

#[test]
fn a_model_that_is_nowhere_is_asked_for() {
    let (_folder, args) = args(WITHOUT_MODEL);
    let weights = fixture("mlp.pt");
    let error = read_experiment(&args, Some(&weights), None).unwrap_err().to_string();
    assert!(error.contains("[model] layers: missing") && error.contains("FILE.onnx"), "{error}");
    let error = simulate::read_experiment(&args).unwrap_err().to_string();
    assert!(error.contains("snn.safetensors") && error.contains("run `convert`"), "{error}");
    let error = read_experiment(&args, Some(Path::new("nowhere.onnx")), None).unwrap_err().to_string();
    assert!(error.contains("nowhere.onnx: No such file"), "{error}");
}

#[test]
fn an_onnx_file_for_other_images_is_refused() {
    for (file, found) in
        [("cnn.onnx", "takes images of 1×8×8, and mnist has 1×28×28"), ("mlp.onnx", "takes images of 1×8×8")]
    {
        let (_folder, args) = args(&WITHOUT_MODEL.replace("digits", "mnist"));
        let error = read_experiment(&args, Some(&fixture(file)), None).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(found), "{error}");
    }
}
