//! Networks that PyTorch saved and exported give PyTorch's logits.
//!
//! The files and the logits are made by `scripts/peers/make_import_fixtures.py`, which names the versions.

use std::path::{Path, PathBuf};

use ann::network::{Network, values};
use burn::tensor::{Tensor, TensorData};
use datasets::{DatasetName, LabelledImages, Split};
use import::Imported;
use model::architecture::{Conv2d, LayerKind, Window};
use model::{Architecture, Backend};
use serde_json::Value;

/// Both compute in 32 bits, but add in different orders, and exporters fold batch norms: relative to the largest logit.
const TOLERANCE: f32 = 5e-6;

const INPUT: [usize; 3] = [1, 8, 8];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/import/tests/fixtures").join(name)
}

fn conv(channels: usize, kernel: usize, stride: usize, bias: bool) -> LayerKind {
    LayerKind::Conv2d(Conv2d { bias, ..Conv2d::square(channels, kernel, stride, kernel / 2) })
}

fn norm() -> LayerKind {
    LayerKind::BatchNorm { epsilon: 1e-5 }
}

fn architecture(network: &str) -> Architecture {
    use LayerKind::{AvgPool, BatchNorm, Dense, Dropout, Flatten, GlobalAvgPool, MaxPool, Relu, Residual};
    let halve = Window::square(2, 2);
    let body =
        |channels, stride| vec![conv(channels, 3, stride, false), norm(), Relu, conv(channels, 3, 1, false), norm()];
    let kinds = match network {
        "mlp" => vec![Flatten, Dense { units: 16 }, Relu, Dropout { rate: 0.1 }, Dense { units: 10 }],
        "cnn" => vec![
            conv(6, 3, 1, false),
            norm(),
            Relu,
            MaxPool(halve),
            conv(8, 3, 1, true),
            BatchNorm { epsilon: 1e-3 },
            Relu,
            AvgPool(halve),
            Flatten,
            Dense { units: 10 },
        ],
        "resnet" => vec![
            conv(6, 3, 1, false),
            norm(),
            Relu,
            Residual { body: body(6, 1), shortcut: vec![] },
            Relu,
            Residual { body: body(8, 2), shortcut: vec![conv(8, 1, 2, false), norm()] },
            Relu,
            GlobalAvgPool,
            Flatten,
            Dense { units: 10 },
        ],
        "bare" => bare(false),
        other => panic!("no network {other}"),
    };
    Architecture::new(INPUT, &kinds).unwrap()
}

/// That network, whose fully connected layers have biases in every configuration, and its convolution in some.
fn bare(conv_bias: bool) -> Vec<LayerKind> {
    use LayerKind::{AvgPool, Dense, Flatten, Relu};
    let halve = Window::square(2, 2);
    vec![conv(4, 3, 1, conv_bias), Relu, AvgPool(halve), Flatten, Dense { units: 12 }, Relu, Dense { units: 10 }]
}

/// Architecture and tensors of an ONNX file, by way of the configuration that it becomes.
fn of_onnx(name: &str) -> (Architecture, Imported) {
    let path = fixture(name);
    let network = import::network(&path, Some(INPUT), None).unwrap();
    let architecture = Architecture::of_entries(network.model.input, None, &network.model.layers).unwrap();
    let imported = import::weights(&path, &architecture, None).unwrap();
    assert_eq!(imported.notes, network.notes);
    (architecture, imported)
}

/// Logits `[N, 10]` of all test images.
fn logits(architecture: &Architecture, imported: &Imported) -> Vec<f32> {
    let images = LabelledImages::load(DatasetName::Digits, Split::Test, None).unwrap();
    let device = ann::device(Backend::Flex).unwrap();
    let network = Network::with_tensors(architecture, &imported.ann.tensors, None, &device);
    let pixels = TensorData::new(images.images(0..images.len()), [images.len(), images.n_features()]);
    values(network.forward(Tensor::from_data(pixels, &device)))
}

fn log_probabilities(logits: &[f32]) -> Vec<f32> {
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    logits.iter().map(|&logit| (f64::from(logit) - sum.ln()) as f32).collect()
}

/// Checks a network against what PyTorch wrote down of it.
fn agrees(network: &str, architecture: &Architecture, imported: &Imported) {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let (n_images, expected) = (expected["images"].as_u64().unwrap() as usize, &expected["networks"][network]);
    let logits = logits(architecture, imported);
    let wanted: Vec<Vec<f32>> = serde_json::from_value(expected["logits"].clone()).unwrap();
    assert_eq!(wanted.len(), n_images);
    let scale = wanted.iter().flatten().fold(0_f32, |largest, logit| largest.max(logit.abs()));
    for (found, wanted) in logits.chunks(10).zip(&wanted) {
        // That network ends with a log-softmax, which is left out at import.
        let found = if network == "functional" { log_probabilities(found) } else { found.to_vec() };
        let error = found.iter().zip(wanted).fold(0_f32, |largest, (a, b)| largest.max((a - b).abs()));
        assert!(error <= TOLERANCE * scale, "{network}: logits differ by {error} of {scale}: {found:?} {wanted:?}");
    }
    let images = LabelledImages::load(DatasetName::Digits, Split::Test, None).unwrap();
    let decision = |logits: &[f32]| logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    let correct =
        logits.chunks(10).zip(images.labels()).filter(|(logits, label)| decision(logits) == usize::from(**label));
    assert_eq!(correct.count() as u64, expected["correct"].as_u64().unwrap(), "{network}");
}

#[test]
fn saved_state_dicts_give_pytorchs_logits() {
    let cases = [
        ("mlp", "mlp.pt", "names taken in order: fc1 → 1, fc2 → 4"),
        ("mlp", "mlp-legacy.pt", "names taken in order: fc1 → 1, fc2 → 4"),
        ("mlp", "mlp-f64.pt", "names taken in order: fc1 → 1, fc2 → 4"),
        ("mlp", "mlp.safetensors", "names taken in order: fc1 → 1, fc2 → 4"),
        ("cnn", "cnn.pt", "names taken in order: module.features.0 → 0, module.features.1 → 1, module.features.4 → 4"),
        ("resnet", "resnet.pt", "layer2.bn2 → 5.body.4, layer2.shortcut.0 → 5.shortcut.0"),
    ];
    for (network, file, note) in cases {
        let architecture = architecture(network);
        let imported = import::weights(&fixture(file), &architecture, None).unwrap();
        assert!(imported.notes.iter().any(|found| found.contains(note)), "{file}: {:?}", imported.notes);
        agrees(network, &architecture, &imported);
    }
}

#[test]
fn layers_without_a_bias_give_pytorchs_logits_with_zeros_in_its_place() {
    let lacking = ["`4.bias`, `6.bias`", "`0.bias`, `4.bias`, `6.bias`"];
    for (conv_bias, lacking) in [false, true].into_iter().zip(lacking) {
        let architecture = Architecture::new(INPUT, &bare(conv_bias)).unwrap();
        // The layers of the safetensors file, which is sorted, are told from one another by their shapes.
        for file in ["bare.pt", "bare.safetensors"] {
            let imported = import::weights(&fixture(file), &architecture, None).unwrap();
            let names = imported.notes.iter().any(|note| note.contains("conv → 0, hidden → 4, out → 6"));
            let zeros = format!("zeros stand for biases that the file does not have: {lacking}");
            assert!(names && imported.notes.contains(&zeros), "{file}: {:?}", imported.notes);
            assert_eq!(imported.ann.tensors["6.bias"].values, [0.0; 10]);
            agrees("bare", &architecture, &imported);
        }
        let imported = import::weights(&fixture("bare.onnx"), &architecture, None).unwrap();
        let told = imported.notes.iter().any(|note| note.ends_with("does not have: `0.bias`"));
        assert_eq!(told, conv_bias, "{:?}", imported.notes);
        agrees("bare", &architecture, &imported);
    }
}

#[test]
fn exported_networks_are_read_whole_and_give_pytorchs_logits() {
    let cases = [
        ("mlp", "mlp.onnx", "64-16-10"),
        ("mlp", "external/mlp.onnx", "64-16-10"),
        ("cnn", "cnn.onnx", "1×8×8-6c3-mp2-8c3-ap2-10"),
        ("cnn", "cnn-legacy.onnx", "1×8×8-6c3-mp2-8c3-ap2-10"),
        ("cnn", "cnn-norms.onnx", "1×8×8-6c3-mp2-8c3-ap2-10"),
        ("resnet", "resnet.onnx", "1×8×8-6c3-6c3-6c3-add-8c3s2-8c3-8c1s2-add-gap-10"),
        ("resnet", "resnet-legacy.onnx", "1×8×8-6c3-6c3-6c3-add-8c3s2-8c3-8c1s2-add-gap-10"),
        ("bare", "bare.onnx", "1×8×8-4c3-ap2-12-10"),
        ("functional", "functional.onnx", "1×8×8-12-10"),
        ("functional", "functional-legacy.onnx", "1×8×8-12-10"),
    ];
    for (network, file, short) in cases {
        let (architecture, imported) = of_onnx(file);
        assert_eq!(architecture.to_string(), short, "{file}");
        agrees(network, &architecture, &imported);
    }
}

#[test]
fn batch_norms_that_were_exported_are_layers() {
    let (found, _) = of_onnx("cnn-norms.onnx");
    let kinds = |architecture: &Architecture| -> Vec<LayerKind> {
        architecture.layers().iter().map(|layer| layer.kind.clone()).collect()
    };
    // The epsilons too are those that were meant, not the 32-bit floats next to them.
    assert_eq!(kinds(&found), kinds(&architecture("cnn")));
}

#[test]
fn what_was_done_to_a_network_is_told() {
    let told = |name: &str, expected: &str| {
        let notes = of_onnx(name).1.notes;
        assert!(notes.iter().any(|note| note.contains(expected)), "{expected}: {notes:?}");
    };
    told("functional.onnx", "node `node_log_softmax` (LogSoftmax) at the end is left out");
    told("cnn.onnx", "node `node_relu` (Relu) is put before node `node_max_pool2d` (MaxPool)");
    told("mlp.onnx", "64-16-10, from 4 nodes of operator version 20");
    let checkpoint = import::weights(&fixture("cnn.pt"), &architecture("cnn"), None).unwrap();
    assert_eq!(checkpoint.notes[0], "the state dict is that under `state_dict`");
}

#[test]
fn an_onnx_file_fits_a_configuration_of_the_same_network() {
    let with_dropout = architecture("mlp");
    let imported = import::weights(&fixture("mlp.onnx"), &with_dropout, None).unwrap();
    agrees("mlp", &with_dropout, &imported);
    let error = import::weights(&fixture("mlp.onnx"), &architecture("cnn"), None).unwrap_err().to_string();
    assert!(error.contains("its network is 64-16-10") && error.contains("leave [model] out"), "{error}");
}

#[test]
fn a_file_beside_the_network_is_part_of_its_checksum() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mlp.onnx", "mlp.onnx.data"] {
        std::fs::copy(fixture("external").join(name), folder.path().join(name)).unwrap();
    }
    let (path, data) = (folder.path().join("mlp.onnx"), folder.path().join("mlp.onnx.data"));
    let architecture = architecture("mlp");
    let checksum = || import::weights(&path, &architecture, None).unwrap().ann.checksum;
    let before = checksum();
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&data, bytes).unwrap();
    assert_ne!(checksum(), before);
}
