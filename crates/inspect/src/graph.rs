//! NIR graphs: those of `convert --export nir`, and those that the reference package `nir` writes.

use export::hdf5::{self, Dataset, Group, Hdf5Error, Item, Values};
use model::architecture::shape_text;
use serde_json::{Map, Value, json};

use crate::{Found, Refusal, add, range, row};

/// What an HDF5 file holds.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Found, Refusal> {
    let root = hdf5::read(bytes).map_err(|error| {
        let remedy = match error {
            Hdf5Error::Unknown(_) => {
                "write it as `nir.write(FILE, graph)` does by default, or read it with the HDF5 library's tools"
            }
            Hdf5Error::Foreign | Hdf5Error::Damaged(_) => {
                "write it again: `convert CONFIG --export nir`, or `nir.write(FILE, graph)`"
            }
        };
        (error.to_string(), remedy)
    })?;
    let strange = |found: &str| (format!("an HDF5 file that holds no NIR graph: {found}"), "name a NIR graph");
    let graph = group(&root, "node").ok_or_else(|| strange("no group `node`"))?;
    let nodes = group(graph, "nodes").ok_or_else(|| match fact(graph.get("type")) {
        Value::String(kind) => strange(&format!("a single node of type `{kind}`")),
        _ => strange("no nodes"),
    })?;
    let edges = match graph.get("edges") {
        Some(Item::Dataset(Dataset { values: Values::Text(edges), .. })) => edges.as_slice(),
        // h5py makes an empty list one of numbers.
        Some(Item::Dataset(Dataset { values, .. })) if values.is_empty() => &[],
        _ => return Err(strange("no edges")),
    };
    let mut found = Found { kind: "NIR graph", ..Found::default() };
    add(&mut found.facts, [("nir_version", fact(root.get("version")))]);
    if let Some(metadata) = group(graph, "metadata") {
        for (name, item) in metadata {
            add(&mut found.facts, [(name.as_str(), fact(Some(item)))]);
        }
    }
    add(&mut found.facts, [("nodes_in_all", json!(nodes.len())), ("edges_in_all", json!(edges.len() / 2))]);
    let rows = nodes.iter().filter_map(|(name, node)| match node {
        Item::Group(node) => Some(self::node(name, node, edges)),
        Item::Dataset(_) => None,
    });
    found.tables.push(("nodes", rows.collect()));
    Ok(found)
}

fn group<'a>(of: &'a Group, name: &str) -> Option<&'a Group> {
    match of.get(name)? {
        Item::Group(group) => Some(group),
        Item::Dataset(_) => None,
    }
}

/// Most values that are shown one by one.
const FEW: usize = 16;

/// A single value, or a list of few; of many the shape; `null` for anything else.
fn fact(item: Option<&Item>) -> Value {
    let Some(Item::Dataset(Dataset { shape, values })) = item else { return Value::Null };
    if values.len() > FEW {
        return json!(format!("{} values", shape_text(shape)));
    }
    let all = match values {
        Values::Text(texts) => json!(texts),
        Values::I64(values) => json!(values),
        Values::F32(values) => json!(values),
        Values::F64(values) => json!(values),
    };
    if shape.is_empty() { all[0].clone() } else { all }
}

/// The smallest and the largest of numbers; `null` for texts.
fn ends(values: &Values) -> Value {
    match values {
        Values::F32(values) => range(values.iter().map(|&value| f64::from(value))),
        Values::F64(values) => range(values.iter().copied()),
        Values::I64(values) => range(values.iter().map(|&value| value as f64)),
        Values::Text(_) => Value::Null,
    }
}

fn node(name: &str, node: &Group, edges: &[String]) -> Map<String, Value> {
    let array = |field: &str| match node.get(field) {
        Some(Item::Dataset(Dataset { shape, values })) => Some((shape, values)),
        _ => None,
    };
    let first = ["weight", "v_threshold", "threshold", "scale"].into_iter().find_map(array);
    let integers = |field: &str| node.get(field).map_or(Value::Null, |item| fact(Some(item)));
    // Nodes that have neither still have a value for each neuron.
    let shape = first.or_else(|| ["delay", "r"].into_iter().find_map(array)).map_or_else(
        || {
            ["shape", "kernel_size", "input_type"]
                .map(integers)
                .into_iter()
                .find(|shape| !shape.is_null())
                .unwrap_or_default()
        },
        |(shape, _)| json!(shape),
    );
    let from: Vec<&str> = edges.chunks_exact(2).filter(|edge| edge[1] == name).map(|edge| edge[0].as_str()).collect();
    row([
        ("node", json!(name)),
        ("type", fact(node.get("type"))),
        ("shape", shape),
        ("weights_or_threshold", first.map_or(Value::Null, |(_, values)| ends(values))),
        ("from", json!(from.join(", "))),
    ])
}
