//! Safetensors files: trained networks, converted ones, exported ones, and other people's.

use std::path::Path;

use half::{bf16, f16};
use model::architecture::shape_text;
use model::graph::sides_text;
use model::population::{Pool, PoolKind};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};
use snn::{Connection, Kernel, SpikingLayer, SpikingNetwork};

use crate::{Found, InspectError, add, configuration, range, recipe, row};

/// Metadata key of Quartic's description.
const METADATA_KEY: &str = "quartic";

/// What a safetensors file holds.
pub(crate) fn inspect(bytes: &[u8], path: &Path) -> Result<Found, InspectError> {
    let refuse = |found: String| InspectError::Unreadable {
        path: path.to_owned(),
        found,
        remedy: "name a file of Quartic's (ann.safetensors, snn.safetensors, results.json, experiment.json, snn.nir, snn-plain.json, \
                 recording.json), a safetensors file or a NIR graph",
    };
    let file =
        SafeTensors::deserialize(bytes).map_err(|error| refuse(format!("not a whole safetensors file ({error})")))?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| refuse(format!("damaged header ({error})")))?;
    let metadata = header.metadata().as_ref();
    let own: Value = match metadata.and_then(|map| map.get(METADATA_KEY)) {
        Some(text) => serde_json::from_str(text)
            .map_err(|error| refuse(format!("its description cannot be understood ({error})")))?,
        None => Value::Null,
    };
    let mut found = Found::default();
    if own.get("structure").is_some() {
        return spiking(path, &own);
    }
    if own.get("history").is_some() {
        found.kind = "trained network";
        trained(&mut found.facts, &own);
    } else if let Some(description) = own.get("described_in") {
        found.kind = "plain tensors of a spiking network";
        add(&mut found.facts, [("described_in", description.clone())]);
    } else {
        found.kind = "tensors";
        let mut others: Vec<_> = metadata.into_iter().flatten().filter(|(key, _)| *key != METADATA_KEY).collect();
        others.sort();
        found.facts.extend(others.into_iter().map(|(key, text)| (key.clone(), json!(text))));
    }
    let mut tensors = file.tensors();
    tensors.sort_by_key(|(name, _)| natural(name));
    let n_values: usize = tensors.iter().map(|(_, view)| view.shape().iter().product::<usize>()).sum();
    add(&mut found.facts, [("tensors_in_all", json!(tensors.len())), ("values_in_all", json!(n_values))]);
    found.tables.push(("tensors", tensors.iter().map(|(name, view)| tensor(name, view)).collect()));
    Ok(found)
}

/// A name whose numbers sort as such: `2.weight` before `10.weight`.
fn natural(name: &str) -> Vec<(u64, String)> {
    name.split('.').map(|part| (part.parse().unwrap_or(u64::MAX), part.to_owned())).collect()
}

fn tensor(name: &str, view: &TensorView<'_>) -> Map<String, Value> {
    let dtype = format!("{:?}", view.dtype());
    let ends = values(view).map_or(Value::Null, |values| range(values.into_iter()));
    row([("tensor", json!(name)), ("type", json!(dtype)), ("shape", json!(view.shape())), ("values", ends)])
}

/// The values of a tensor of a type that Rust, or a line or two, knows; `None` for others.
fn values(view: &TensorView<'_>) -> Option<Vec<f64>> {
    let data = view.data();
    macro_rules! of {
        ($type:ty) => {{
            const SIZE: usize = size_of::<$type>();
            data.as_chunks::<SIZE>().0.iter().map(|&bytes| <$type>::from_le_bytes(bytes) as f64).collect()
        }};
    }
    let words = || data.as_chunks::<2>().0.iter().map(|&bytes| u16::from_le_bytes(bytes));
    Some(match view.dtype() {
        Dtype::F64 => of!(f64),
        Dtype::F32 => of!(f32),
        Dtype::I64 => of!(i64),
        Dtype::U64 => of!(u64),
        Dtype::I32 => of!(i32),
        Dtype::U32 => of!(u32),
        Dtype::I16 => of!(i16),
        Dtype::U16 => of!(u16),
        Dtype::I8 => of!(i8),
        Dtype::U8 | Dtype::BOOL => of!(u8),
        Dtype::BF16 => words().map(|word| bf16::from_bits(word).to_f64()).collect(),
        Dtype::F16 => words().map(|word| f16::from_bits(word).to_f64()).collect(),
        _ => return None,
    })
}

fn trained(facts: &mut Map<String, Value>, own: &Value) {
    configuration(facts, &own["config"]);
    let last = own["history"].as_array().and_then(|epochs| epochs.last());
    add(
        facts,
        [
            ("test_accuracy", own["test_accuracy"].clone()),
            ("levels_of_activations", own["quantisation"]["levels"].clone()),
            ("test_accuracy_of_start", own["quantisation"]["start_test_accuracy"].clone()),
            ("validation_accuracy_of_start", own["quantisation"]["validation"]["start"].clone()),
            ("validation_accuracy_untrained", own["quantisation"]["validation"]["untrained"].clone()),
            ("validation_accuracy", own["quantisation"]["validation"]["trained"].clone()),
            ("epoch", own["epoch"].clone()),
            ("epochs", json!(own["history"].as_array().map(Vec::len))),
            ("last_train_loss", last.map_or(Value::Null, |epoch| epoch["train_loss"].clone())),
            ("data_sha256", own["recipe"]["data_sha256"].clone()),
            ("quartic_version", own["quartic_version"].clone()),
            ("format", own["format"].clone()),
        ],
    );
    recipe(facts, &own["recipe"]);
}

fn spiking(path: &Path, own: &Value) -> Result<Found, InspectError> {
    let network = snn::artefact::read::<Value, Value>(path)?.network;
    let mut found = Found { kind: "spiking network", ..Found::default() };
    let facts = &mut found.facts;
    configuration(facts, &own["config"]);
    let conversion = &own["conversion"];
    add(
        facts,
        [
            ("method", conversion["method"].clone()),
            ("p", conversion["p"].clone()),
            ("kappa", conversion["kappa"].clone()),
            ("calibrate", conversion["calibrate"].clone()),
            ("neurons_in_all", json!(network.layers().iter().map(SpikingLayer::n_out).sum::<usize>())),
            ("parent_sha256", own["parent"].clone()),
            ("quartic_version", own["quartic_version"].clone()),
            ("format", own["format"].clone()),
        ],
    );
    recipe(facts, &own["recipe"]);
    let all = network.layers();
    found.tables.push(("layers", all.iter().map(layer).collect()));
    let connections = all.iter().flat_map(|layer| layer.connections().iter().map(|of| connection(&network, layer, of)));
    found.tables.push(("connections", connections.collect()));
    Ok(found)
}

fn layer(layer: &SpikingLayer) -> Map<String, Value> {
    let of = |values: &[f32]| range(values.iter().map(|&value| f64::from(value)));
    row([
        ("layer", json!(layer.name())),
        ("shape", json!(layer.shape())),
        ("lambda", of(layer.thresholds())),
        ("bias", of(layer.biases().values())),
        ("initial_potential", of(layer.initial_potentials())),
        ("grid_exponent", range(layer.grids().iter().map(|grid| f64::from(-grid.exponent)))),
    ])
}

fn connection(network: &SpikingNetwork, layer: &SpikingLayer, connection: &Connection<f32>) -> Map<String, Value> {
    let Connection { wiring, weights } = connection;
    let source = wiring.source.layer().map_or("input", |source| network.layers()[source].name());
    let pools: Vec<String> = wiring.pools.iter().map(pool_text).collect();
    row([
        ("from", json!(source)),
        ("to", json!(layer.name())),
        ("pools", if pools.is_empty() { Value::Null } else { json!(pools.join(", ")) }),
        ("kernel", json!(kernel_text(&wiring.kernel))),
        ("weights", json!(weights.len())),
        ("weight", range(weights.iter().map(|&weight| f64::from(weight)))),
    ])
}

fn pool_text(pool: &Pool) -> String {
    let kind = if pool.kind == PoolKind::Max { "max" } else { "mean" };
    let [kernel, stride] = [pool.kernel, pool.stride].map(|sides| shape_text(&sides));
    let padding = match (pool.padding, pool.kind, pool.counts_padding) {
        ([0, 0, 0, 0], ..) => String::new(),
        (padding, PoolKind::Mean, false) => format!(", padding {}, not counted", sides_text(padding)),
        (padding, ..) => format!(", padding {}", sides_text(padding)),
    };
    let ceil = if pool.ceil { ", ceil" } else { "" };
    format!("{kind} {kernel} / {stride}{padding}{ceil}")
}

fn kernel_text(kernel: &Kernel) -> String {
    if kernel.is_dense() {
        return "fully connected".to_owned();
    }
    let Kernel { size, stride, padding, dilation, groups, .. } = *kernel;
    let dilation = if dilation == [1; 2] { String::new() } else { format!(", dilation {}", sides_text(dilation)) };
    let groups = if groups > 1 { format!(", groups {groups}") } else { String::new() };
    format!("{}, stride {}, padding {}{dilation}{groups}", shape_text(&size), sides_text(stride), sides_text(padding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_told_with_what_is_unusual_about_them() {
        let kernel = Kernel::square([4, 9, 9], 4, 3, 1, 1, 2);
        assert_eq!(kernel_text(&kernel), "3×3, stride 1, padding 1, groups 2");
        let uneven =
            Kernel { size: [1, 7], stride: [2, 1], padding: [0, 3, 0, 2], dilation: [1, 2], groups: 1, ..kernel };
        assert_eq!(kernel_text(&uneven), "1×7, stride 2×1, padding 0×3×0×2, dilation 1×2");
        let pool = Pool::new(PoolKind::Mean, [3, 2], [2, 2]);
        let padded = Pool { padding: [1; 4], ..pool };
        let texts = [
            pool,
            padded,
            Pool { counts_padding: false, ceil: true, ..padded },
            Pool { kind: PoolKind::Max, counts_padding: false, ..padded },
        ];
        assert_eq!(
            texts.map(|pool| pool_text(&pool)),
            [
                "mean 3×2 / 2×2",
                "mean 3×2 / 2×2, padding 1",
                "mean 3×2 / 2×2, padding 1, not counted, ceil",
                "max 3×2 / 2×2, padding 1"
            ]
        );
    }

    #[test]
    fn half_precision_values_are_those_of_the_standard() {
        // IEEE 754-2008, binary16: one, the smallest, the largest, minus two, infinity.
        let bytes = [0x3c00_u16, 0x0001, 0x7bff, 0xc000, 0x7c00].map(u16::to_le_bytes).concat();
        let view = TensorView::new(Dtype::F16, vec![5], &bytes).unwrap();
        assert_eq!(values(&view).unwrap(), [1.0, (-24_f64).exp2(), 65504.0, -2.0, f64::INFINITY]);
    }

    #[test]
    fn names_are_sorted_by_their_numbers() {
        let mut names = ["10.weight", "2.bias", "conv.weight", "2.body.0.weight"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["2.bias", "2.body.0.weight", "10.weight", "conv.weight"]);
    }
}
