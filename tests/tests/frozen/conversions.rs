//! Conversions of two small networks by every method, and a converted network's file.
//!
//! Activations are measured in 32-bit floats, of which the order of additions is a matter of the CPU. Here it does not matter:
//! pixels are k/16 and weights few small multiples of a power of two, so that every partial sum is exact, which
//! [`every_sum_of_the_trained_networks_is_exact_in_32_bits`] checks.
//!
//! Norms are powers of real numbers, whose last bit is not the same in every library. Thresholds are rounded to 32 bits and weights to
//! a grid before they are hashed, so that a change of 10⁻¹⁶ changes one in a hundred million of them, and numbers of the record are
//! rounded to [`DIGITS`]. With the last bit of every power moved up, or down, no hash changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ann::network::Network;
use convert::activation;
use datasets::{DatasetName, LabelledImages, Split};
use engine_event::EventEngine;
use methods::layer::ann_layers;
use model::ann::{AnnArtefact, AnnMetadata};
use model::artefact::{self, Contents, TensorF32};
use model::config::{Encoding, ExperimentFile, NeuronConfig, Readout, Reset};
use model::population::{Pool, PoolKind};
use model::{Architecture, Experiment};
use rayon::prelude::*;
use results::record::ConversionRecord;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use snn::philox::philox;
use snn::{Connection, Engine as _, RunSettings, Sample};

use crate::record::{self, Hash};

/// File of the hashes of conversions.
const CONVERSIONS: &str = "conversions.txt";

/// The trained network, and a network converted from it by the format of today.
const ANN: &str = "ann.safetensors";
const SNN: &str = "snn.safetensors";

/// Significant decimal digits of the numbers of a record that are looked at: ten fewer than there are.
const DIGITS: usize = 6;

/// The same of the change by rounding, a small difference of numbers that are not.
const DIGITS_OF_DIFFERENCES: usize = 3;

/// Factor that takes numbers of few binary digits away from the middle between two decimal ones.
const OFF_TIES: f64 = 1.0 + 1.0 / (1 << 30) as f64;

/// What [`philox`] draws numbers for.
const WEIGHT_STREAM: u32 = 111;

/// Seed of random weights, with which no channel has none.
const SEED: u64 = 3;

/// A small network of convolutions, trained on the digits; its weights are rounded to multiples of the steps below.
const CNN: &str = r#"
name = "cnn"
[data]
dataset = "digits"
[model]
input = [1, 8, 8]
layers = [
  { kind = "conv2d", channels = 8, kernel = 3, padding = 1 },
  { kind = "relu" },
  { kind = "avg-pool", kernel = 2 },
  { kind = "conv2d", channels = 16, kernel = 3, padding = 1 },
  { kind = "relu" },
  { kind = "max-pool", kernel = 2 },
  { kind = "flatten" },
  { kind = "dense", units = 10 },
]
[train]
epochs = 12
[convert]
calibration_samples = 300
kappa_samples = 300
[simulate]
steps = 16
"#;

/// Steps in a unit of the weights and biases of each layer.
const STEPS: [(&str, f32); 3] = [("0.", 8.0), ("3.", 32.0), ("7.", 8.0)];

/// A network of all kinds of layers, with weights of no meaning.
const EVERY_KIND: &str = r#"
name = "every-kind"
[data]
dataset = "digits"
[model]
input = [1, 8, 8]
layers = [
  { kind = "conv2d", channels = 8, kernel = 3, padding = 1, bias = false },
  { kind = "batch-norm", epsilon = 0.25 },
  { kind = "relu" },
  { kind = "max-pool", kernel = 2 },
  { kind = "conv2d", channels = 8, kernel = 3, padding = 1, groups = 4 },
  { kind = "relu" },
  { kind = "residual", body = [
    { kind = "conv2d", channels = 8, kernel = 3, padding = 1 },
    { kind = "relu" },
    { kind = "conv2d", channels = 8, kernel = 3, padding = 1 },
    { kind = "batch-norm", epsilon = 0.25 },
  ] },
  { kind = "relu" },
  { kind = "avg-pool", kernel = 2, stride = 1 },
  { kind = "residual", body = [
    { kind = "conv2d", channels = 12, kernel = 3, stride = 2, padding = 1 },
  ], shortcut = [
    { kind = "conv2d", channels = 12, kernel = 1, stride = 2 },
  ] },
  { kind = "relu" },
  { kind = "dropout", rate = 0.1 },
  { kind = "global-avg-pool" },
  { kind = "dense", units = 16 },
  { kind = "relu" },
  { kind = "dense", units = 10 },
]
[convert]
calibration_samples = 200
[simulate]
steps = 16
"#;

/// Conversions of the trained network: name, and what is set.
const CONVERSIONS_OF_CNN: &[(&str, &[&str])] = &[
    ("default", &[]),
    ("none", &["convert.method=none"]),
    ("model", &["convert.method=model"]),
    ("max", &["convert.method=max"]),
    ("percentile", &["convert.method=percentile"]),
    ("percentile-95", &["convert.method=percentile", "convert.percentile=95"]),
    ("percentile-with-zeros", &["convert.method=percentile", "convert.percentile_zeros=true", "convert.percentile=99"]),
    ("percentile-behind-validation", &["convert.method=percentile", "data.validation_samples=500"]),
    ("percentile-other-seed", &["convert.method=percentile", "seed=7"]),
    ("channel-percentile", &["convert.method=channel-percentile"]),
    ("channel-percentile-50", &["convert.method=channel-percentile", "convert.percentile=50"]),
    ("norm-1", &["convert.p=1", "convert.kappa=1.9"]),
    ("norm-2", &["convert.p=2"]),
    ("norm-3.5", &["convert.p=3.5"]),
    ("norm-inf", &["convert.p=\"inf\""]),
    ("norm-4-uncompensated", &["convert.compensate=false"]),
    ("norm-4-auto", &["convert.kappa=auto"]),
    ("norm-1-auto", &["convert.p=1", "convert.kappa=auto", "convert.target_steps=8"]),
    ("norm-4-grid", &["convert.kappa=auto", "convert.kappa_grid=[0.3, 0.6]", "simulate.encoding=constant"]),
    ("norm-4-scaled", &["convert.scale=0.5"]),
    ("std", &["convert.method=std"]),
    ("std-auto", &["convert.method=std", "convert.kappa=auto"]),
    ("std-systematic", &["convert.method=std", "simulate.encoding=systematic", "convert.initial_potential=0"]),
    ("mmse", &["convert.method=mmse"]),
    ("mmse-4-steps", &["convert.method=mmse", "convert.target_steps=4", "convert.initial_potential=0"]),
    ("max-auto-scale", &["convert.method=max", "convert.scale=auto", "simulate.encoding=regular"]),
    ("mmse-auto-scale", &["convert.method=mmse", "convert.scale=auto", "convert.scale_grid=[0.5, 0.8]"]),
    ("percentile-bias", &["convert.method=percentile", "convert.calibrate=bias"]),
    ("percentile-potential", &["convert.method=percentile", "convert.calibrate=potential"]),
    (
        "max-potential-constant",
        &[
            "convert.method=max",
            "convert.calibrate=potential",
            "simulate.encoding=constant",
            "simulate.reset=zero",
            "convert.target_steps=4",
        ],
    ),
    ("none-spikes", &["convert.method=none", "simulate.readout=spikes"]),
    ("model-spikes", &["convert.method=model", "simulate.readout=spikes"]),
    ("max-spikes", &["convert.method=max", "simulate.readout=spikes"]),
    ("channel-percentile-spikes", &["convert.method=channel-percentile", "simulate.readout=spikes"]),
    ("norm-4-spikes", &["simulate.readout=spikes"]),
    ("std-spikes", &["convert.method=std", "simulate.readout=spikes"]),
    ("mmse-spikes-bias", &["convert.method=mmse", "simulate.readout=spikes", "convert.calibrate=bias"]),
    ("norm-4-integers", &["convert.sum_bits=15"]),
    ("percentile-bytes", &["convert.method=percentile", "convert.sum_bits=15", "convert.weight_bits=8"]),
    ("max-small-bytes", &["convert.method=max", "convert.sum_bits=15", "convert.weight_bits=7"]),
    ("norm-4-long", &["simulate.steps=4096"]),
];

/// Conversions of the network of all kinds of layers.
const CONVERSIONS_OF_EVERY_KIND: &[(&str, &[&str])] = &[
    ("none", &["convert.method=none"]),
    ("model", &["convert.method=model"]),
    ("max", &["convert.method=max"]),
    ("percentile", &["convert.method=percentile"]),
    ("channel-percentile", &["convert.method=channel-percentile"]),
    ("norm-4", &["convert.kappa=0.6"]),
    ("norm-2-uncompensated", &["convert.p=2", "convert.kappa=0.37", "convert.compensate=false"]),
    ("std", &["convert.method=std", "convert.kappa=0.2"]),
    ("mmse", &["convert.method=mmse"]),
    ("max-bias", &["convert.method=max", "convert.calibrate=bias"]),
    ("max-spikes", &["convert.method=max", "simulate.readout=spikes"]),
    ("max-bytes", &["convert.method=max", "convert.sum_bits=15", "convert.weight_bits=8"]),
];

fn experiment(text: &str, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    ExperimentFile::parse(text, Path::new("frozen.toml"), &overrides).expect("a valid experiment").base
}

/// Random weights for all kinds of layers, as a file.
///
/// Weights are 0 or ±½. Batch norms divide by powers of two and shift by quarters.
fn every_kind() -> &'static Path {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let architecture = experiment(EVERY_KIND, &[]).architecture;
        let tensors = (0_u32..).zip(architecture.tensors()).map(|(idx, (name, shape))| {
            let draw = |at: usize| philox(SEED, [at as u32, idx, 0, WEIGHT_STREAM])[0];
            let is_norm = architecture.tensors().iter().any(|(other, _)| {
                other.strip_suffix(".running_var").is_some_and(|path| name.starts_with(&format!("{path}.")))
            });
            let value = |at: usize| match (name.rsplit('.').next(), draw(at) % 16) {
                // With the ε of ¼: 1 and 4.
                (Some("running_var"), draw) => [0.75, 3.75][draw as usize % 2],
                (Some("weight"), draw) if is_norm => [0.5, 1.0][draw as usize % 2],
                (Some("running_mean" | "bias"), draw) => (draw as f32 % 8.0 - 3.0) / 4.0,
                (_, 0..3) => 0.5,
                (_, 3..5) => -0.5,
                _ => 0.0,
            };
            let values = (0..shape.iter().product()).map(value).collect();
            (name.clone(), TensorF32 { shape, values })
        });
        let tensors: BTreeMap<String, TensorF32> = tensors.collect();
        let folder = tempfile::tempdir().expect("a folder for a file");
        let path = folder.path().join(ANN);
        let bytes = |tensor: &TensorF32| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let bytes: Vec<Vec<u8>> = tensors.values().map(bytes).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
            (name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).expect("as many values as the shape has"))
        });
        // With no description: it is not Quartic's.
        let file = safetensors::serialize(views, None).expect("tensors of different names");
        std::fs::write(&path, file).expect("a file in a folder of its own");
        (folder, path)
    });
    path
}

/// The file that a conversion writes.
fn converted(experiment: &Experiment, weights: &Path) -> Contents<Value> {
    let folder = tempfile::tempdir().expect("a folder for a file");
    let imported = import::weights(weights, &experiment.architecture, None).expect("weights just written");
    // Their weights are random.
    let expected = convert::check::Expectation { accuracy: None, chance: true };
    let outcome = convert::run_imported(experiment, imported, folder.path(), convert::Options::default(), expected);
    let path = outcome.unwrap_or_else(|error| panic!("{error:#}")).path;
    artefact::read(&path, "").expect("a file just written")
}

fn hash_of_tensors(tensors: &BTreeMap<String, TensorF32>) -> String {
    let mut hash = Hash::default();
    for (name, TensorF32 { shape, values }) in tensors {
        hash.bytes(name.as_bytes());
        hash.size(shape.len());
        for &size in shape {
            hash.size(size);
        }
        hash.floats(values);
    }
    hash.finish()
}

/// A description without last digits.
fn rounded(value: &Value, n_digits: usize) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().expect("a float");
            let text = format!("{:.*e}", n_digits - 1, number * OFF_TIES);
            json!(text.parse::<f64>().expect("a number just written"))
        }
        Value::Array(values) => values.iter().map(|value| rounded(value, n_digits)).collect(),
        Value::Object(values) => {
            let entry = |(key, value): (&String, &Value)| {
                let n_digits = if key == "rounding_change" { DIGITS_OF_DIFFERENCES } else { n_digits };
                (key.clone(), rounded(value, n_digits))
            };
            Value::Object(values.iter().map(entry).collect())
        }
        other => other.clone(),
    }
}

/// A line for each value of a description, under its path; lists of values are one.
fn lines(path: &str, value: &Value) -> String {
    let is_plain = |value: &Value| !value.is_array() && !value.is_object();
    match value {
        Value::Object(entries) => {
            let under = |key: &String| if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            entries.iter().map(|(key, value)| lines(&under(key), value)).collect()
        }
        Value::Array(values) if !values.iter().all(is_plain) => {
            (0..).zip(values).map(|(at, value): (usize, _)| lines(&format!("{path}.{at}"), value)).collect()
        }
        _ => format!("{path}: {value}\n"),
    }
}

/// What a file is described by, but for the version of the program that wrote it.
fn description(mut metadata: Value) -> String {
    let entries = metadata.as_object_mut().expect("a description has names");
    entries.shift_remove("quartic_version").expect("the version that wrote the file");
    let config = entries.shift_remove("config").expect("the configuration");
    format!("{}config:\n{}", lines("", &rounded(&metadata, DIGITS)), config.as_str().expect("a text"))
}

#[test]
fn every_method_gives_the_frozen_networks() {
    let trained = record::path(ANN);
    let mut found = Vec::new();
    let networks = [
        ("cnn", CNN, trained.as_path(), CONVERSIONS_OF_CNN),
        ("every-kind", EVERY_KIND, every_kind(), CONVERSIONS_OF_EVERY_KIND),
    ];
    for (name, text, weights, conversions) in networks {
        for (conversion, overrides) in conversions {
            let Contents { tensors, metadata, .. } = converted(&experiment(text, overrides), weights);
            let metadata = metadata.expect("a description");
            found.push((format!("{name} {conversion} tensors"), hash_of_tensors(&tensors)));
            let record = rounded(&metadata["conversion"], DIGITS).to_string();
            found.push((format!("{name} {conversion} record"), record::hash_of_text(&record)));
        }
    }
    let about = "Files that conversions write: SHA-256 of their tensors, and of their record rounded to a few digits; first 16 digits.";
    record::check(CONVERSIONS, about, &found);
}

#[test]
fn files_of_converted_networks_are_described_as_frozen() {
    let of = |text: &str, weights: &Path, overrides: &[&str]| {
        description(converted(&experiment(text, overrides), weights).metadata.expect("a description"))
    };
    record::check_text("cnn-description.txt", &of(CNN, &record::path(ANN), &[]));
    let every_kind = of(EVERY_KIND, every_kind(), &["convert.method=max"]);
    record::check_text("every-kind-description.txt", &every_kind);
}

#[test]
fn a_network_that_was_converted_before_still_spikes_as_it_did() {
    let artefact =
        snn::artefact::read::<Value, ConversionRecord>(&record::path(SNN)).expect("a file of today's format");
    let digits = LabelledImages::load(DatasetName::Digits, Split::Test, None).expect("embedded");
    let images: Vec<Vec<f32>> = (0..8).map(|index| digits.image(index)).collect();
    let hash = |encoding: Encoding| {
        let settings = RunSettings {
            encoding,
            neuron: NeuronConfig::default(),
            reset: Reset::Subtract,
            readout: Readout::Potential,
            n_steps: 16,
            seed: 0,
        };
        let traces = EventEngine::new(&artefact.network).run(&Sample::consecutive(0, &images), &settings);
        let mut hash = Hash::default();
        traces.expect("samples that fit").iter().for_each(|trace| crate::add_trace(&mut hash, trace));
        (format!("{SNN} {encoding}"), hash.finish())
    };
    let found: Vec<(String, String)> = Encoding::ALL.iter().map(|&encoding| hash(encoding)).collect();
    record::check("snn.txt", "What the network of the file beside this does: hashes as in `spikes.txt`.", &found);
}

/// A layer's values in one sample.
#[derive(Clone)]
struct Values {
    /// `[C, H, W]`
    shape: [usize; 3],
    values: Vec<f64>,
}

impl Values {
    /// The largest of each window, or the sum, whose 1/k² is in the weights.
    fn pooled(&self, pool: &Pool) -> Self {
        let ([_, height, width], shape) = (self.shape, pool.output(self.shape));
        let [channels, rows, columns] = shape;
        let of = |window: usize| {
            let (channel, row, column) = (window / (rows * columns), window / columns % rows, window % columns);
            let inside = (0..pool.area()).map(|at| {
                let (y, x) =
                    (at / pool.kernel[1] + row * pool.stride[0], at % pool.kernel[1] + column * pool.stride[1]);
                self.values[(channel * height + y) * width + x]
            });
            match pool.kind {
                PoolKind::Max => inside.fold(f64::NEG_INFINITY, f64::max),
                PoolKind::Mean => inside.sum(),
            }
        };
        Self { shape, values: (0..channels * rows * columns).map(of).collect() }
    }
}

/// The largest power of two that all numbers are multiples of; infinite if all are zero.
fn unit(values: &[f64]) -> f64 {
    let of = |value: f64| {
        // Of 52 bits behind the point, as many as there are up to the last that is set.
        let n_bits = 52 - (value.to_bits() | 1 << 52).trailing_zeros();
        let leading = f64::from_bits(value.abs().to_bits() >> 52 << 52);
        leading * 0.5_f64.powi(n_bits as i32)
    };
    values.iter().filter(|value| **value != 0.0).map(|&value| of(value)).fold(f64::INFINITY, f64::min)
}

#[test]
fn every_sum_of_the_trained_networks_is_exact_in_32_bits() {
    /// Whole numbers that a 32-bit float holds without a gap.
    const EXACT: f64 = 16_777_216.0;
    /// Room for what a batch norm or a pool has in between.
    const ROOM: f64 = 2.0;
    assert_eq!(unit(&[0.0, -0.75, 6.0]), 0.25);
    let samples = LabelledImages::load(DatasetName::Digits, Split::Train, None).expect("embedded");
    for (text, weights) in [(CNN, record::path(ANN)), (EVERY_KIND, every_kind().to_owned())] {
        let Experiment { architecture, backend, .. } = experiment(text, &[]);
        let tensors = AnnArtefact::read(&weights, &architecture).expect("weights that fit").tensors;
        let device = ann::device(backend).expect("built in for these tests");
        let network = Network::with_tensors(&architecture, &tensors, None, &device);
        let measured = activation::measure(&network, architecture.populations(), &samples, &device);
        let layers = ann_layers(&architecture, &tensors);
        (0..samples.len()).into_par_iter().for_each(|sample| {
            let pixels = samples.image(sample).iter().map(|&pixel| f64::from(pixel)).collect();
            let mut values = vec![Values { shape: architecture.input(), values: pixels }];
            for (idx, layer) in layers.iter().enumerate() {
                let mut sums: Vec<f64> = layer.biases.of_neurons(layer.n_positions());
                let mut magnitudes: Vec<f64> = sums.iter().map(|sum| sum.abs()).collect();
                let mut finest = unit(layer.biases.values());
                for Connection { wiring, weights } in &layer.connections {
                    let source = values[wiring.source.index()].clone();
                    let inputs = wiring.pools.iter().fold(source, |values, pool| values.pooled(pool));
                    finest = finest.min(unit(&inputs.values) * unit(weights));
                    for (input, &value) in inputs.values.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                        wiring.kernel.for_each_synapse(input, |neuron, weight| {
                            let product = value * weights[weight];
                            sums[neuron] += product;
                            magnitudes[neuron] += product.abs();
                        });
                    }
                }
                let largest = magnitudes.iter().copied().fold(0.0, f64::max);
                assert!(ROOM * largest / finest <= EXACT, "{}: sums of {finest} up to {largest}", layer.name);
                if idx + 1 < layers.len() {
                    for sum in &mut sums {
                        *sum = sum.max(0.0);
                    }
                }
                let own = measured[idx].values[sample * sums.len()..][..sums.len()].iter().map(|&own| f64::from(own));
                assert!(own.eq(sums.iter().copied()), "{}: activations of sample {sample} are rounded", layer.name);
                values.push(Values { shape: layer.shape, values: sums });
            }
        });
    }
}

/// Makes the trained network and the converted one. Training is not the same to the last bit on every CPU, so the files are kept.
///
/// `cargo test --release --workspace --test frozen -- --ignored`
#[test]
#[ignore = "writes the files that the other tests read"]
fn train_the_network_anew() {
    let experiment = experiment(CNN, &[]);
    let folder = tempfile::tempdir().expect("a folder for a file");
    let outcome = train::run(&experiment, folder.path(), None, train::Options::default()).expect("training");
    let mut tensors = AnnArtefact::read(&outcome.path, &experiment.architecture).expect("a file just written").tensors;
    for (name, tensor) in &mut tensors {
        let (_, steps) = STEPS.iter().find(|(layer, _)| name.starts_with(layer)).expect("steps of every layer");
        tensor.values.iter_mut().for_each(|value| *value = (*value * steps).round() / steps);
    }
    let test_accuracy = accuracy(&experiment.architecture, &tensors);
    eprintln!("test accuracy {} trained, {test_accuracy} rounded", outcome.metadata.test_accuracy);
    // Not what training with that recipe gives.
    let metadata = AnnMetadata { test_accuracy, recipe: Value::Null, history: json!([]), ..outcome.metadata };
    let path = record::path(ANN);
    artefact::write(&path, &tensors, &metadata).expect("a file beside the test");
    let converted = convert::run(&experiment, &path, folder.path(), convert::Options::default()).expect("a conversion");
    artefact::copy_atomically(&converted.path, &record::path(SNN)).expect("a file beside the test");
}

/// Share of the test samples that a network decides rightly.
fn accuracy(architecture: &Architecture, tensors: &BTreeMap<String, TensorF32>) -> f64 {
    let device = ann::device(experiment(CNN, &[]).backend).expect("built in for these tests");
    let network = Network::with_tensors(architecture, tensors, None, &device);
    let test = LabelledImages::load(DatasetName::Digits, Split::Test, None).expect("embedded");
    let measured = activation::measure(&network, architecture.populations(), &test, &device);
    let logits = measured.last().expect("logits").values.chunks_exact(10).map(snn::engine::first_largest);
    let n_right = logits.zip(test.labels()).filter(|(decision, label)| *decision == usize::from(**label)).count();
    n_right as f64 / test.len() as f64
}
