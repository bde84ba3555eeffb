//! train → convert → simulate through their libraries: other people's weights, bad input, and what is made only once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datasets::{DatasetName, LabelledImages, Split};
use model::artefact::{self, TensorF32};
use model::config::{ExperimentFile, Method};
use model::{Experiment, ann};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

const TINY: &str = r#"
name = "tiny"
[data]
dataset = "digits"
[model]
input = [1, 8, 8]
layers = [{ kind = "flatten" }, { kind = "dense", units = 20 }, { kind = "relu" }, { kind = "dense", units = 10 }]
[train]
epochs = 4
[simulate]
steps = 16
samples = 300
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

fn convert(overrides: &[&str], weights: &Path, folder: &Path) -> anyhow::Result<convert::Outcome> {
    let experiment = experiment(overrides);
    let imported = import::weights(weights, &experiment.architecture, None)?;
    // Some of them are spoilt on purpose.
    let expected = convert::check::Expectation { accuracy: None, chance: true };
    convert::run_imported(&experiment, imported, folder, convert::Options::default(), expected)
}

fn simulate(overrides: &[&str], folder: &Path) -> anyhow::Result<simulate::Outcome> {
    simulate::run(&experiment(overrides), "seed 0", "run", folder, simulate::Options::default())
}

/// The trained tensors with a change, as a file that Quartic did not make.
fn foreign(weights: &Path, change: impl Fn(&mut BTreeMap<String, TensorF32>)) -> PathBuf {
    let mut tensors = ann::AnnArtefact::read(weights, &experiment(&[]).architecture).unwrap().tensors;
    change(&mut tensors);
    let path = weights.with_file_name("foreign.safetensors");
    let views: Vec<(String, Vec<u8>, Vec<usize>)> = tensors
        .into_iter()
        .map(|(name, t)| (name, t.values.iter().flat_map(|v| v.to_le_bytes()).collect(), t.shape))
        .collect();
    let views = views.iter().map(|(name, bytes, shape)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

/// Writes a split of the digits as a user's own data, in bytes up to 255.
fn write_own(split: Split, folder: &Path) {
    let digits = LabelledImages::load(DatasetName::Digits, split, None).unwrap();
    let pixels: Vec<u8> = (0..digits.len()).flat_map(|idx| digits.raw(idx)).map(|&pixel| pixel * 15).collect();
    let labels: Vec<u8> = digits.labels().iter().flat_map(|&label| i64::from(label).to_le_bytes()).collect();
    let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let tensors = [
        ("images", view(Dtype::U8, &[digits.len(), 8, 8], &pixels)),
        ("labels", view(Dtype::I64, &[digits.len()], &labels)),
    ];
    let file = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(folder.join(format!("{split}.safetensors")), file).unwrap();
}

#[test]
fn own_data_go_through_all_commands() {
    let folder = tempfile::tempdir().unwrap();
    for split in [Split::Train, Split::Test] {
        write_own(split, folder.path());
    }
    let path = format!("data.path={}", folder.path().display());
    let overrides = ["data.dataset=custom", &path, "convert.method=percentile"];
    let own = experiment(&overrides);
    let trained = train::run(&own, folder.path(), None, train::Options::default()).unwrap();
    convert(&overrides, &trained.path, folder.path()).unwrap();
    let results = simulate(&overrides, folder.path()).unwrap().results;
    let results::record::DatasetRecord { name, shape, n_train, n_test, .. } = results.dataset;
    assert_eq!((name.as_str(), shape, n_train, n_test), ("custom", [1, 8, 8], 3823, 300));
    let accuracy = results.run.simulation.seeds[0].accuracy.last().copied();
    assert!(accuracy.is_some_and(|accuracy| accuracy > 0.9), "{accuracy:?}");
    // Without files, the error names them.
    let nowhere = experiment(&["data.dataset=custom", "data.path=nowhere"]);
    let error = train::run(&nowhere, folder.path(), None, train::Options::default()).err().unwrap();
    assert!(format!("{error:#}").contains("nowhere: no such folder; set data.path"), "{error:#}");
}

#[test]
fn conversion_knows_own_training_samples_by_their_contents_and_does_without_them_once_made() {
    let (folder, weights) = trained();
    for split in [Split::Train, Split::Test] {
        write_own(split, folder.path());
    }
    let path = format!("data.path={}", folder.path().display());
    let overrides = ["data.dataset=custom", &path, "convert.method=percentile"];
    let converted = |folder: &Path| convert(&overrides, &weights, folder).unwrap();
    let first = converted(folder.path());
    assert!(!first.reused && converted(folder.path()).reused);
    let [train, test] = ["train.safetensors", "test.safetensors"].map(|name| folder.path().join(name));
    std::fs::copy(test, &train).unwrap();
    let other = converted(folder.path());
    assert!(!other.reused && other.checksum != first.checksum);
    std::fs::remove_file(&train).unwrap();
    assert!(converted(folder.path()).reused);
}

#[test]
fn early_exit_adds_to_the_results_and_changes_nothing_else() {
    let (folder, weights) = trained();
    convert(&[], &weights, folder.path()).unwrap();
    let off = simulate(&[], folder.path()).unwrap();
    assert!(!std::fs::read_to_string(&off.path).unwrap().contains("\"early_exit\":{"));
    for (engine, confidence) in [("event", "0.9"), ("dense", "0.999")] {
        let overrides = [format!("simulate.early_exit={confidence}"), format!("simulate.engine={engine}")];
        let on = simulate(&[&overrides[0], &overrides[1]], folder.path()).unwrap();
        assert!(on.notes.iter().any(|note| note.starts_with("early exit took")), "{:?}", on.notes);
        let mut run = on.results.run;
        let seed = &mut run.simulation.seeds[0];
        let early = seed.early_exit.take().unwrap();
        let (accuracy, operations) = (*seed.accuracy.last().unwrap(), *seed.synaptic_operations.last().unwrap());
        // Of 300 samples a few differ; those that differ are as many more or fewer right ones at most.
        assert!((early.accuracy - accuracy).abs() <= 1.0 - early.agreement + 1e-12, "{early:?}");
        assert!(early.agreement > 0.9 && early.mean_steps < 14.0, "{early:?}");
        assert!(early.synaptic_operations < operations && (early.exits.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        run.simulation.engine = "event".to_owned();
        assert_eq!(run, off.results.run);
    }
}

#[test]
fn without_the_trained_network_its_part_of_the_results_is_left_out_and_the_rest_is_the_same() {
    let (folder, weights) = trained();
    convert(&[], &weights, folder.path()).unwrap();
    let mut with = simulate(&[], folder.path()).unwrap().results.run.simulation;
    let outcome = simulate(&["simulate.reference=false"], folder.path()).unwrap();
    assert!(!outcome.reused && outcome.notes.iter().any(|note| note.starts_with("simulate.reference = false")));
    let text = std::fs::read_to_string(&outcome.path).unwrap();
    for key in ["test_accuracy", "agreement", "ann_decision"] {
        assert!(!text.contains(&format!("\"{key}\"")), "{key}");
    }
    let without = outcome.results.run.simulation.clone();
    with.seeds.iter_mut().for_each(|seed| seed.agreement.clear());
    assert_eq!((&without.seeds, &without.variance), (&with.seeds, &with.variance));
    assert!(without.rate_match.is_empty() && !with.rate_match.is_empty());
    // Written and read back, and told on a page.
    assert!(simulate(&["simulate.reference=false"], folder.path()).unwrap().reused);
    let record = simulate::experiment_record(&experiment(&["simulate.reference=false"]), &outcome.results);
    assert!(report::html(&record).unwrap().contains("tiny"));
}

#[test]
fn a_network_that_refers_to_the_trained_one_is_simulated_as_one_that_holds_it() {
    let (folder, weights) = trained();
    let path = convert(&[], &weights, folder.path()).unwrap().path;
    let holding = simulate(&[], folder.path()).unwrap().results.run;
    let whole = snn::artefact::read::<Value, Value>(&path).unwrap();
    let trained = snn::artefact::write_trained(folder.path(), &whole.ann).unwrap();
    let metadata = snn::artefact::SnnMetadata { trained: Some(trained), ..whole.metadata };
    snn::artefact::write(&path, &whole.network, &BTreeMap::new(), metadata).unwrap();
    assert_eq!(simulate(&[], folder.path()).unwrap().results.run, holding);
    std::fs::remove_file(folder.path().join(snn::artefact::TRAINED_FILE_NAME)).unwrap();
    let error = simulate(&["simulate.steps=8"], folder.path()).unwrap_err().to_string();
    assert!(error.contains("trained.safetensors") && error.contains("simulate.reference = false"), "{error}");
    let without = simulate(&["simulate.reference=false"], folder.path()).unwrap().results.run;
    assert_eq!(without.simulation.variance, holding.simulation.variance);
}

#[test]
fn taking_the_loss_apart_adds_to_the_results_and_changes_nothing_else() {
    let (folder, weights) = trained();
    for encoding in ["poisson", "constant"] {
        let encoding_key = format!("simulate.encoding={encoding}");
        convert(&[&encoding_key], &weights, folder.path()).unwrap();
        let off = simulate(&[&encoding_key], folder.path()).unwrap();
        assert!(!std::fs::read_to_string(&off.path).unwrap().contains("\"loss\""));
        let mut of_engines = Vec::new();
        for engine in ["event", "dense"] {
            let engine_key = format!("simulate.engine={engine}");
            let on = simulate(&[&encoding_key, &engine_key, "simulate.decompose=true"], folder.path());
            let results = on.unwrap().results;
            let mut run = results.run;
            let loss = std::mem::take(&mut run.simulation.seeds[0].loss);
            assert_eq!(loss.iter().map(|of| of.step).collect::<Vec<_>>(), [1, 2, 4, 8, 16]);
            // Without effects the model is the trained network, but for the rounding of weights: no decision of 300 is that near.
            assert!(loss.iter().all(|of| Some(of.models[0]) == results.ann.test_accuracy), "{loss:?}");
            let seed = &run.simulation.seeds[0];
            for of in &loss {
                // One hidden layer under constant current spikes evenly: nothing is left to the order of spikes.
                if encoding == "constant" {
                    assert_eq!(
                        (of.agreement, of.models[7], of.constant_current),
                        (1.0, seed.accuracy[of.step - 1], None)
                    );
                    assert_eq!(
                        of.models[..].iter().step_by(2).collect::<Vec<_>>(),
                        of.models[1..].iter().step_by(2).collect::<Vec<_>>()
                    );
                } else {
                    let difference = (of.models[7] - seed.accuracy[of.step - 1]).abs();
                    assert!(difference <= 1.0 - of.agreement + 1e-12 && of.constant_current.is_some(), "{of:?}");
                }
            }
            // What rounding alone takes at T = 16 is a few decisions of 300 at most.
            assert!(loss[4].models[0] - loss[4].models[2] <= 0.02, "{loss:?}");
            run.simulation.engine = "event".to_owned();
            assert_eq!(run, off.results.run);
            of_engines.push(loss);
        }
        assert_eq!(of_engines[0], of_engines[1]);
    }
}

#[test]
fn the_spiking_network_decides_as_the_trained_one_and_every_method_gets_there() {
    let (folder, weights) = trained();
    // This network was trained without thresholds of its own.
    for method in Method::ALL.iter().filter(|method| **method != Method::Trained) {
        let set = format!("convert.method={method}");
        let overrides = [set.as_str(), "convert.kappa=0.15", "simulate.encoding=systematic", "simulate.steps=64"];
        convert(&overrides, &weights, folder.path()).unwrap();
        let results = simulate(&overrides, folder.path()).unwrap().results;
        let seed = &results.run.simulation.seeds[0];
        // Pixel counts are less than a spike off, so at T = 64 few decisions can differ; but `none` cuts off every
        // activation above 1, and the worst case of `model` is so large that its neurons hardly fire by then.
        let expected = if matches!(method, Method::None | Method::Model) { 0.7 } else { 0.95 };
        assert!(*seed.agreement.last().unwrap() >= expected, "{method}: {:?}", seed.agreement);
        let operations: Vec<f64> = results.run.simulation.layers.iter().map(|l| l.synaptic_operations).collect();
        let (total, by_layer) = (seed.synaptic_operations.last().unwrap(), operations.iter().sum::<f64>());
        assert!((total - by_layer).abs() < 1e-9 * total, "{method}: {total} in all, {by_layer} by layer");
    }
}

#[test]
fn kappa_is_found_for_every_norm_and_refused_where_no_value_decides_better_than_chance() {
    let (folder, weights) = trained();
    let convert = |keys: &[&str]| {
        let searched = ["convert.kappa=auto", "convert.kappa_samples=500", "convert.target_steps=8"];
        convert(&[&searched[..], keys].concat(), &weights, folder.path())
    };
    for p in ["1", "2", "4", "\"inf\""] {
        let conversion = convert(&[&format!("convert.p={p}")]).unwrap().conversion;
        let tried: Vec<f64> = conversion.kappa_search.iter().map(|trial| trial.accuracy).collect();
        let chosen = conversion.kappa_search.iter().find(|trial| Some(trial.kappa) == conversion.kappa).unwrap();
        // With the κ of the L4-norm thresholds by the L1-norm are so high that nothing fires.
        assert!(tried.len() == 8 && chosen.accuracy > 0.9, "p = {p}: {:?}", conversion.kappa_search);
    }
    let error = format!("{:#}", convert(&["convert.p=1", "convert.kappa_grid=[0.001, 0.002]"]).unwrap_err());
    let expected = "`kappa = \"auto\"`: no κ of [0.001, 0.002] decides better than chance after T = 8 steps: ";
    assert!(error.starts_with(expected) && error.contains("give convert.kappa_grid larger values"), "{error}");
    let error = format!("{:#}", convert(&["convert.p=0.001"]).unwrap_err());
    assert!(error.contains("norms of order p = 0.001 are too large to fit a grid to"), "{error}");
}

#[test]
fn weights_of_another_program_convert_to_the_same_network() {
    let (folder, weights) = trained();
    let foreign = foreign(&weights, |_| {});
    convert(&[], &weights, &folder.path().join("own")).unwrap();
    convert(&[], &foreign, &folder.path().join("foreign")).unwrap();
    let read =
        |name: &str| snn::artefact::read::<Value, Value>(&folder.path().join(name).join("snn.safetensors")).unwrap();
    assert!(read("own").network == read("foreign").network);
    assert_ne!(read("own").metadata.parent, read("foreign").metadata.parent);
}

#[test]
fn a_layer_without_a_bias_converts_as_one_whose_biases_are_zeros_and_its_owner_is_told() {
    let (folder, weights) = trained();
    let zeros = foreign(&weights, |t| values(t, "3.bias").fill(0.0));
    let into = |name: &str| folder.path().join(name);
    convert(&[], &zeros, &into("zeros")).unwrap();
    let without = foreign(&weights, |t| _ = t.remove("3.bias"));
    let converted = convert(&[], &without, &into("without")).unwrap();
    assert_eq!(converted.notes[0], "zeros stand for biases that the file does not have: `3.bias`");
    let read = |name: &str| snn::artefact::read::<Value, Value>(&into(name).join("snn.safetensors")).unwrap().network;
    assert!(read("zeros") == read("without"));
}

fn values<'a>(tensors: &'a mut BTreeMap<String, TensorF32>, name: &str) -> &'a mut [f32] {
    &mut tensors.get_mut(name).unwrap().values
}

#[test]
fn weights_that_cannot_be_converted_are_refused_by_name_and_nothing_is_written() {
    let (folder, weights) = trained();
    let refused = |change: &dyn Fn(&mut BTreeMap<String, TensorF32>), overrides: &[&str], expected: &str| {
        let path = foreign(&weights, change);
        let error = convert(overrides, &path, folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "`{expected}` is not in `{error}`");
    };
    refused(&|t| values(t, "1.weight")[3] = f32::NAN, &[], "`1.weight`: value NaN at position 3");
    refused(&|t| values(t, "3.bias")[2] = f32::INFINITY, &[], "`3.bias`: value inf at position 2");
    refused(&|t| _ = t.remove("3.weight"), &[], "  nothing like it      missing");
    // A bias may lack, but not where something else is there that may be it.
    let rename = |t: &mut BTreeMap<String, TensorF32>| {
        let bias = t.remove("3.bias").unwrap();
        t.insert("3.b".to_owned(), bias);
    };
    refused(&rename, &[], "`3.bias` [10]        `3.b` [10]           rename it, if it is the same");
    refused(
        &|t| values(t, "1.weight").fill(-1.0),
        &["convert.method=max"],
        "layer dense 1: no calibration sample activates",
    );
    let none = "convert.method=none";
    refused(&|t| values(t, "1.weight").fill(1e30), &[none], "too large for exact sums of 24 bits and weights of 25;");
    let (fills, bits) = (|t: &mut _| values(t, "1.weight").fill(3.0), "convert.weight_bits=2");
    refused(
        &fills,
        &[none, bits],
        "up to 3.000e0 thresholds are too large for exact sums of 24 bits and weights of 2;",
    );
    assert!(!folder.path().join("snn.safetensors").exists());
    let missing = format!("{:#}", convert(&[], &folder.path().join("nothing.safetensors"), folder.path()).unwrap_err());
    assert!(missing.contains("nothing.safetensors") && missing.contains("run `train`"), "{missing}");
    assert_eq!(missing.matches("os error").count(), 1, "{missing}");
}

#[test]
fn an_imported_network_at_chance_is_refused_with_the_likely_causes_in_order() {
    let (folder, weights) = trained();
    let spoilt = foreign(&weights, |t| values(t, "3.weight").fill(0.0));
    let error =
        convert::run(&experiment(&[]), &spoilt, folder.path(), convert::Options::default()).unwrap_err().to_string();
    assert!(
        error.contains("no more than chance (") && error.contains("likely causes, in order: its samples"),
        "{error}"
    );
    assert!(error.contains("--accept-chance") && !folder.path().join("snn.safetensors").exists(), "{error}");
    convert(&[], &spoilt, folder.path()).unwrap();
}

#[test]
fn what_was_said_of_a_conversion_is_said_again_where_it_is_found_unchanged() {
    let (folder, weights) = trained();
    let weights = foreign(&weights, |_| {});
    let first = convert(&[], &weights, folder.path()).unwrap();
    let of_accuracy = |note: &&String| note.starts_with("the trained network's accuracy is");
    assert_eq!(first.notes.iter().filter(of_accuracy).count(), 1, "{:?}", first.notes);
    let again = convert(&[], &weights, folder.path()).unwrap();
    assert_eq!(again, convert::Outcome { reused: true, ..first.clone() });

    // Files of before notes were kept are as good as ever.
    let path = folder.path().join("snn.safetensors");
    let whole: artefact::Contents<Value> = artefact::read(&path, "").unwrap();
    let mut description = whole.metadata.unwrap();
    assert!(description.as_object_mut().unwrap().shift_remove("notes").is_some());
    artefact::write(&path, &whole.tensors, &description).unwrap();
    let old = convert(&[], &weights, folder.path()).unwrap();
    assert!(old.reused && !old.notes.iter().any(|note| of_accuracy(&note)), "{:?}", old.notes);
}

#[test]
fn an_expected_accuracy_is_asked_of_an_unchanged_network_too() {
    let (folder, weights) = trained();
    let weights = foreign(&weights, |_| {});
    let experiment = experiment(&[]);
    let run = |accuracy: Option<f64>| {
        let imported = import::weights(&weights, &experiment.architecture, None).unwrap();
        let expected = convert::check::Expectation { accuracy, chance: false };
        convert::run_imported(&experiment, imported, folder.path(), convert::Options::default(), expected)
    };
    run(None).unwrap();
    let error = run(Some(1.0)).unwrap_err().to_string();
    assert!(error.contains("and 1 % is expected"), "{error}");
    let found = run(None).unwrap().notes.into_iter().find(|note| note.contains("accuracy is")).unwrap();
    assert!(found.contains("training samples"), "{found}");
}

#[test]
fn networks_that_cannot_be_simulated_are_refused_with_a_remedy() {
    let (folder, weights) = trained();
    let error = simulate(&[], folder.path()).unwrap_err().to_string();
    assert!(error.contains("snn.safetensors") && error.contains("run `convert`"), "{error}");
    convert(&[], &weights, folder.path()).unwrap();
    let error = simulate(&["simulate.readout=spikes"], folder.path()).unwrap_err().to_string();
    assert!(error.contains("converted for simulate.readout = \"potential\""), "{error}");
    let error = simulate(&["convert.kappa=0.3"], folder.path()).unwrap_err().to_string();
    assert!(error.contains("snn.safetensors: converted for convert.kappa = 0.4, but 0.3 is asked for"), "{error}");
    let other = "model.layers=[{kind=\"flatten\"},{kind=\"dense\",units=10}]";
    let error = simulate(&[other], folder.path()).unwrap_err().to_string();
    assert!(error.contains("converted from another model than [model]; run `convert`"), "{error}");
    let error = simulate(&["simulate.samples=5000"], folder.path()).unwrap_err().to_string();
    assert!(error.contains("found 5000, but digits has 1797 test samples"), "{error}");
    let path = folder.path().join("snn.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = simulate(&[], folder.path()).unwrap_err().to_string();
    assert!(error.contains("snn.safetensors: not a whole safetensors file"), "{error}");
}

#[test]
fn a_network_is_converted_again_only_if_something_it_depends_on_has_changed() {
    let (folder, weights) = trained();
    let reused = |overrides: &[&str]| {
        let converted = convert(overrides, &weights, folder.path()).unwrap().reused;
        (converted, simulate(overrides, folder.path()).unwrap().reused)
    };
    assert_eq!(reused(&[]), (false, false));
    assert_eq!(reused(&[]), (true, true));
    assert_eq!(reused(&["simulate.samples=200"]), (true, false));
    assert_eq!(reused(&["simulate.samples=200", "simulate.engine=dense"]), (true, true));
    assert_eq!(reused(&["convert.kappa=0.3"]), (false, false));
    // Nothing looks at these: no κ and no scale is searched for, and a norm takes no percentile.
    let in_vain = ["convert.kappa_grid=[0.2]", "convert.scale_grid=[0.2]", "convert.percentile=99"];
    assert_eq!(reused(&["convert.kappa=0.3", in_vain[0], in_vain[1], in_vain[2]]), (true, true));
    let changed = foreign(&weights, |tensors| tensors.get_mut("3.bias").unwrap().values[0] += 0.5);
    assert!(!convert(&["convert.kappa=0.3"], &changed, folder.path()).unwrap().reused);
}

#[test]
fn a_method_without_data_converts_where_there_is_no_data_and_says_what_it_could_not_tell() {
    let (folder, weights) = trained();
    let away = ["data.dataset=mnist", "data.path=\"/nowhere\"", "model.input=[1, 8, 8]"];
    let norm = convert(&away, &weights, folder.path()).unwrap();
    assert!(
        norm.notes[0].contains("no expected saturation") && norm.notes[0].contains("fetch-data mnist"),
        "{:?}",
        norm.notes
    );
    assert!(norm.conversion.layers.iter().all(|layer| layer.expected_saturation.is_none()));
    let max = convert(&[&away[..], &["convert.method=max"]].concat(), &weights, folder.path());
    assert!(max.unwrap_err().to_string().contains("scripts/fetch-data mnist"));
}

#[test]
fn what_is_written_as_results_is_read_back() {
    let (folder, weights) = trained();
    convert(&[], &weights, folder.path()).unwrap();
    let outcome = simulate(&[], folder.path()).unwrap();
    let read: simulate::Results = serde_json::from_slice(&std::fs::read(&outcome.path).unwrap()).unwrap();
    assert!(read == outcome.results);
    let checksum = artefact::file_checksum(&folder.path().join("snn.safetensors")).unwrap();
    assert_eq!(read.recipe["snn"], Value::String(checksum));
}
