//! Networks of ONNX files against a runtime: Quartic's layers and tensors give the logits that the runtime computes from the same file.
//!
//! The runtime is rten, in 32-bit floats; Quartic's side is the definition of each layer in 64 bits. The files are made by
//! `scripts/peers/make_import_fixtures.py` and `scripts/peers/make_onnx_fixtures.py`; those in `cases` are networks as users have
//! them.

use std::path::{Path, PathBuf};

use import::Network;
use model::Architecture;
use model::architecture::Entry;
use rten::{Dimension, Model, NodeId};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

/// Largest difference of logits, as a share of the largest: the rounding of 32 bits in sums of a few hundred numbers.
const ROUNDING: f64 = 5e-6;

/// Samples for each network.
const N_SAMPLES: u64 = 3;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    files.sort();
    files
}

/// What Quartic reads, with the architecture.
fn network(path: &Path, output: Option<&str>) -> (Architecture, Network) {
    let network = import::network(path, None, output).unwrap_or_else(|error| panic!("{error}"));
    let architecture = Architecture::of_entries(network.model.input, None, &network.model.layers).unwrap();
    (architecture, network)
}

struct Runtime {
    model: Model,
    output: NodeId,
    shape: Vec<usize>,
}

impl Runtime {
    fn new(path: &Path, output: Option<&str>) -> Self {
        let model = Model::load_file(path).unwrap();
        let dims = model.node_info(model.input_ids()[0]).unwrap().shape().unwrap();
        let size = |dim: &Dimension| if let Dimension::Fixed(size) = dim { *size } else { 1 };
        let shape = dims.iter().map(size).collect();
        let output = output.map_or(model.output_ids()[0], |name| model.node_id(name).unwrap());
        Self { model, output, shape }
    }

    fn logits(&self, values: Vec<f32>) -> Vec<f64> {
        let input = Tensor::from_data(&self.shape[..], values);
        let found =
            self.model.run(vec![(self.model.input_ids()[0], input.view().into())], &[self.output], None).unwrap();
        let logits: Tensor<f32> = found.into_iter().next().unwrap().try_into().unwrap();
        logits.iter().map(|&value| f64::from(value)).collect()
    }
}

/// Numbers from 0 to 1.
fn sample(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..n).map(|_| next()).collect()
}

/// What the file does behind the logits, which the import leaves out.
fn behind(notes: &[String], logits: &[f64]) -> Vec<f64> {
    let is = |operator: &str| notes.iter().any(|note| note.contains(&format!("({operator}) at the end is left out")));
    let exponents = logits.iter().map(|logit| logit.exp()).collect::<Vec<f64>>();
    let sum: f64 = exponents.iter().sum();
    let mut found = logits.to_vec();
    if notes.iter().any(|note| note.contains("taken for two classes")) {
        let &[minus, plus] = logits else { panic!("two classes") };
        assert_eq!(minus, -plus);
        found = vec![plus - minus];
    }
    if is("Softmax") {
        found = exponents.iter().map(|exponent| exponent / sum).collect();
    } else if is("LogSoftmax") {
        found = logits.iter().map(|logit| logit - sum.ln()).collect();
    } else if is("Sigmoid") {
        found = found.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect();
    }
    found
}

/// - `seen`: the order of Quartic's values in the file's input
fn compare(path: &Path, output: Option<&str>, seen: impl Fn(Vec<f64>) -> Vec<f64>) {
    let (architecture, network) = network(path, output);
    let notes = network.notes.clone();
    let tensors = network.into_weights(&architecture).unwrap().ann.tensors;
    let runtime = Runtime::new(path, output);
    for seed in 0..N_SAMPLES {
        let values = sample(runtime.shape.iter().product(), seed);
        let own = seen(values.iter().map(|&value| f64::from(value)).collect());
        let logits = model::evaluate::evaluate(architecture.graph(), &tensors, &own).pop().unwrap();
        let (found, expected) = (behind(&notes, &logits), runtime.logits(values));
        let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        assert_eq!(found.len(), expected.len(), "{}", path.display());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= ROUNDING * largest,
                "{}: {found} where the runtime has {expected}",
                path.display()
            );
        }
    }
}

#[test]
fn networks_as_users_have_them_give_the_logits_of_a_runtime() {
    let files = [files("cases"), files("")].concat();
    assert!(files.len() > 20);
    for path in &files {
        compare(path, None, |values| values);
    }
}

#[test]
fn blocks_of_every_zoo_family_give_the_logits_of_a_runtime() {
    let files = files("zoo");
    assert!(files.len() > 20);
    let special = ["binary", "channels-last"];
    let is_special = |path: &Path| special.iter().any(|name| path.to_string_lossy().contains(name));
    files.iter().filter(|path| !is_special(path)).for_each(|path| compare(path, None, |values| values));
}

#[test]
fn images_with_channels_last_are_read_channel_by_channel() {
    let path = folder("zoo/channels-last.onnx");
    let (architecture, network) = network(&path, None);
    assert_eq!(architecture.input(), [2, 6, 6]);
    assert!(network.notes[1].contains("(Softmax) at the end is left out"), "{:?}", network.notes);
    compare(&path, None, |values| (0..72).map(|at| values[at % 36 * 2 + at / 36]).collect());
}

#[test]
fn one_of_several_outputs_is_chosen_and_one_unit_is_two_classes() {
    for (file, outputs) in [("zoo/binary.onnx", ["squeeze", "linear_1"]), ("zoo/binary-legacy.onnx", ["22", "23"])] {
        let path = folder(file);
        let error = import::network(&path, None, None).unwrap_err().to_string();
        assert!(error.contains("choose one with --output NAME"), "{error}");
        let error = import::network(&path, None, Some("z")).unwrap_err().to_string();
        assert!(error.contains("no output is called `z`; the file gives `"), "{error}");
        let names: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        for (name, is_binary) in names.iter().zip([true, false]) {
            let (architecture, network) = network(&path, Some(name));
            assert_eq!(architecture.n_classes(), if is_binary { 2 } else { 5 });
            let note = network.notes.iter().any(|note| note.contains("the second where it is above zero"));
            assert_eq!(note, is_binary, "{outputs:?} {:?}", network.notes);
            compare(&path, Some(name), |values| values);
        }
    }
}

#[test]
fn layers_that_follow_each_other_have_no_names() {
    let (_, network) = network(&folder("zoo/residual.onnx"), None);
    let named: Vec<&Entry> = network.model.layers.iter().filter(|entry| entry.name.is_some()).collect();
    // What a shortcut reads, the end of each body, and the convolution of the second shortcut's norm is the exporter's fold.
    assert!((3..=5).contains(&named.len()), "{named:?}");
    let sums = network.model.layers.iter().filter(|entry| entry.from.len() == 2).count();
    assert_eq!(sums, 2);
}
