//! Weights files of every kind that people have give the weights that PyTorch computes with.
//!
//! The files and their weights are made by `scripts/peers/make_checkpoint_fixtures.py`, which names the versions. The records of burn
//! are of a convolution (1 → 2 channels), a batch norm and fully connected layers of 8-3 and 3-2, the last without a bias, whose
//! numbers count on from 0, 100, 200, …: `burn.bpk` as `Module::into_record` saves it in burn 0.22.1, `burn.mpk` and `burn-half.mpk`
//! as `NamedMpkFileRecorder` does in burn 0.18.0 with full and half precision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use import::Imported;
use model::Architecture;
use model::architecture::{Conv2d, LayerKind, Window};
use serde_json::Value;

/// Relative to each weight. Norms are sums of a few products, which PyTorch adds in 32 bits and in another order: a few roundings of
/// 6e-8 each.
const TOLERANCE: f64 = 5e-7;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name)
}

fn mlp() -> Architecture {
    use LayerKind::{Dense, Flatten, Relu};
    Architecture::new([1, 2, 2], &[Flatten, Dense { units: 3 }, Relu, Dense { units: 2 }]).unwrap()
}

fn cnn() -> Architecture {
    use LayerKind::{AvgPool, BatchNorm, Conv2d as Conv, Dense, Flatten, Relu};
    let conv = Conv(Conv2d::square(2, 3, 1, 1));
    let halve = AvgPool(Window::square(2, 2));
    let classifier = [Flatten, Dense { units: 3 }, Relu, Dense { units: 2 }];
    let kinds = [&[conv, BatchNorm { epsilon: 1e-5 }, Relu, halve][..], &classifier].concat();
    Architecture::new([1, 4, 4], &kinds).unwrap()
}

fn read(name: &str, architecture: &Architecture, key: Option<&str>) -> Result<Imported, String> {
    import::weights(&fixture(name), architecture, key).map_err(|error| error.to_string())
}

#[test]
fn files_of_every_kind_give_the_weights_that_pytorch_computes_with() {
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(fixture("expected.json")).unwrap()).unwrap();
    let files = expected["files"].as_object().unwrap();
    assert!(files.len() > 40);
    for (name, file) in files {
        let architecture = if file["network"] == "mlp" { mlp() } else { cnn() };
        let imported = read(name, &architecture, file["key"].as_str()).unwrap();
        let values: BTreeMap<String, Vec<f64>> = serde_json::from_value(file["values"].clone()).unwrap();
        assert!(imported.ann.tensors.keys().eq(values.keys()), "{name}");
        for (path, tensor) in &imported.ann.tensors {
            let differs =
                |(&found, &wanted): (&f32, &f64)| (f64::from(found) - wanted).abs() > TOLERANCE * wanted.abs();
            let wrong = tensor.values.iter().zip(&values[path]).position(differs);
            assert_eq!((wrong, tensor.values.len()), (None, values[path].len()), "{name}: {path}");
        }
    }
}

/// What is said of the names in most of the files.
const IN_ORDER: &str = "names taken in order: fc1 → 1, fc2 → 3";

#[test]
fn what_was_taken_and_what_was_left_is_told() {
    let told = |name: &str, expected: &[&str]| {
        let architecture = if name.starts_with("averaged") || name.starts_with("wrapped-w") { cnn() } else { mlp() };
        let notes = read(name, &architecture, None).unwrap().notes;
        assert_eq!(notes, expected, "{name}");
    };
    told("no-crc.pt", &[IN_ORDER]);
    told("training.pt", &["the state dict is that under `net`", IN_ORDER]);
    told("two-levels.pt", &["the state dict is that under `train.state.network`", IN_ORDER]);
    told("gradients.pt", &["the state dict is that under `net`", "tensors left aside: `gradients`", IN_ORDER]);
    told(
        "lightning.ckpt",
        &[
            "the state dict is that under `state_dict`",
            "left aside, as parts of the training: `state_dict.criterion.weight`",
            "names taken in order: model.fc1 → 1, model.fc2 → 3",
        ],
    );
    let doubles = "taken once, as one tensor under two names: `head.weight = fc2.weight`, `head.bias = fc2.bias`";
    told("twice.pt", &[doubles, IN_ORDER]);
    let aside = "left aside, as no weights but whole numbers or truth values: `step`, `mask`";
    told("whole-numbers.pt", &[aside, IN_ORDER]);
    told("weight-norm.pt", &["computed from their weight norm: `fc1.weight`, `fc2.weight`", IN_ORDER]);
    told("spectral-norm-old.pt", &["computed from their spectral norm: `fc1.weight`, `fc2.weight`", IN_ORDER]);
    told("wrapped-within.safetensors", &["names are the model's without `_orig_mod.`, `module.`, `net.`"]);
    let averaged = read("averaged.pt", &cnn(), None).unwrap().notes;
    assert!(averaged.len() == 1 && averaged[0].contains("module.features.0 → 0"), "{averaged:?}");
}

#[test]
fn between_several_state_dicts_the_user_chooses() {
    let ask = |name: &str, expected: &str| {
        let error = read(name, &mlp(), None).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    ask(
        "two.pt",
        "several state dicts fit the model: `model`, `model_ema`; choose by `--key model` or `--key model_ema`",
    );
    ask(
        "two-flat.pt",
        "several state dicts fit the model: `state_dict.ema_model`, `state_dict.online_model`; choose by `--key state_dict.ema_model` \
         or `--key state_dict.online_model`",
    );
    for key in ["online_model", "state_dict.online_model"] {
        let imported = read("two-flat.pt", &mlp(), Some(key)).unwrap();
        assert_eq!(imported.ann.tensors, read("two.pt", &mlp(), Some("model")).unwrap().ann.tensors);
        assert_eq!(imported.notes[0], "the state dict is that under `state_dict.online_model`, as asked for");
    }
    let error = read("two.pt", &mlp(), Some("ema")).unwrap_err();
    assert!(error.contains("no tensors under the key `ema`; found: `model`, `model_ema`"), "{error}");
    let error = read("no-crc.pt", &mlp(), Some("net")).unwrap_err();
    assert!(error.contains("no tensors under the key `net`; found: `fc1`, `fc2`"), "{error}");
    // A key takes what is under it, whether or not it fits.
    let error = read("parts.pt", &cnn(), Some("head")).unwrap_err();
    assert!(error.contains("`0.weight` [2, 1, 3, 3]") && error.contains("missing"), "{error}");
}

#[test]
fn records_of_burn_give_its_numbers_in_pytorchs_layout() {
    for name in ["burn.bpk", "burn.mpk", "burn-half.mpk"] {
        let Imported { ann, notes } = read(name, &cnn(), None).unwrap();
        // 16-bit floats of 700 and more are whole numbers too, up to 2048.
        let count = |from: u16, n: u16| (from..from + n).map(f32::from).collect::<Vec<_>>();
        let values = |path: &str| ann.tensors[path].values.clone();
        assert_eq!(values("0.weight"), count(0, 18), "{name}");
        assert_eq!([values("0.bias"), values("1.weight")], [count(100, 2), count(200, 2)]);
        assert_eq!([values("1.bias"), values("1.running_mean")], [count(300, 2), count(400, 2)]);
        assert_eq!([values("1.running_var"), values("5.bias")], [count(500, 2), count(700, 3)]);
        let transposed: Vec<f32> =
            (0..3).flat_map(|o| (0..8).map(move |i| f32::from(600 + 3 * i + o as u16))).collect();
        assert_eq!(values("5.weight"), transposed);
        assert_eq!(values("7.weight"), [800., 802., 804., 801., 803., 805.]);
        assert_eq!(values("7.bias"), [0.0; 2]);
        assert!(notes.iter().any(|note| note.contains("transposed, as burn keeps them")), "{notes:?}");
    }
}

#[test]
fn what_cannot_be_read_as_it_is_is_refused_with_what_to_do() {
    let refused = |name: &str, expected: &str| {
        let error = read(name, &mlp(), None).unwrap_err();
        assert!(error.contains(expected) && error.contains(name), "expected {expected}\nfound {error}");
    };
    refused(
        "whole-in-dictionary.pt",
        "no tensors in dictionaries, but `model`, an object of `__main__.Mlp`, which is not built",
    );
    refused("whole-in-dictionary.pt", "save the weights alone: torch.save(net.state_dict(), FILE)");
    refused(
        "quantized.pt",
        "`fc1.weight` is a quantized tensor, which is not read; save it as a dense tensor of 32-bit floats",
    );
    refused("int8.pt", "holds int8 where floats are needed; save the weights anew, as 32-bit floats");
    refused(
        "orthogonal.pt",
        "`fc1.parametrizations.weight.original` is part of a parametrization; supported: weight norm and",
    );
    refused("orthogonal.pt", "remove_parametrizations(layer, \"weight\")");
    refused("chained.pt", "`fc1.parametrizations.weight.1` is a second parametrization of one weight");
    refused("torchscript.pt", "a TorchScript program (net = torch.jit.load(FILE)); save the weights alone");
    refused("big-endian.pt", "a checkpoint of a big-endian machine");
    refused("apart.pt", "the state dict under `weights` has nothing for `1.bias`, which `biases.first` might be");
    // A number that the network may compute with is not passed over, and no other name is blamed.
    refused("left-over.pt", "–                  `temperature` []     left over");
    let error = read("left-over.pt", &mlp(), None).unwrap_err();
    assert!(!error.contains("rename it"), "{error}");
}
