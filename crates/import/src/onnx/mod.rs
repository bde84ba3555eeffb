//! ONNX files → architecture and tensors.
//!
//! - `proto`: the messages of a file
//! - `graph`: how its nodes hang together
//! - `tensor`: the numbers in it
//! - `input`: which of the input's dimensions are channels, rows and columns
//! - `view`: how tensors of the file lie over the values of layers
//! - `walk`: what each node computes, with `images`, `arithmetic`, `moves` and `constants`
//! - `layers`: the layers that this makes
//! - `fit`: whether they are those of a configuration

mod arithmetic;
mod attributes;
mod constants;
mod fit;
mod graph;
mod images;
mod input;
mod layers;
mod moves;
mod proto;
mod tensor;
#[cfg(test)]
mod tests;
mod view;
mod walk;

use std::collections::BTreeMap;
use std::path::Path;

use model::Architecture;
use model::architecture::LayerProblem;
use model::artefact::{self, TensorF32};
use model::config::ModelSection;
use prost::Message as _;

use crate::floats::rounding_note;
use crate::{ImportError, ONNX_REMEDY};
pub(crate) use fit::fit;
use graph::Graph;
use input::Layout;
use layers::Layers;
use proto::Model;
use tensor::Store;
use view::View;

/// Longest short form of a network that is shown.
const MAX_SHORT: usize = 160;

/// What an ONNX file holds.
#[derive(Debug)]
pub(crate) struct OnnxNetwork {
    pub(crate) model: ModelSection,
    /// Named as the model's.
    pub(crate) tensors: BTreeMap<String, TensorF32>,
    pub(crate) notes: Vec<String>,
    /// SHA-256 of the file; with files beside it, of their checksums one after the other.
    pub(crate) checksum: String,
}

/// Reads a network.
///
/// - `bytes`: the file's
/// - `sample`: shape of the data set's images
/// - `output`: name of the output, where there are several
///
/// # Errors
/// [`ImportError`] with the nodes that have no exact counterpart.
pub(crate) fn read(
    path: &Path,
    bytes: Vec<u8>,
    sample: Option<[usize; 3]>,
    output: Option<&str>,
) -> Result<OnnxNetwork, ImportError> {
    let mut checksum = artefact::sha256_hex(&bytes);
    // The tensors' bytes are shared with the file's.
    let bytes = prost::bytes::Bytes::from(bytes);
    let model = Model::decode(bytes).map_err(|error| error.to_string());
    let with_graph = |model: Model| if model.graph.is_some() { Ok(model) } else { Err("no graph in it".to_owned()) };
    let model = model.and_then(with_graph).map_err(|error| ImportError::Refused {
        path: path.to_owned(),
        found: format!("not a whole ONNX file ({error})"),
        remedy: ONNX_REMEDY.to_owned(),
    })?;
    let store = Store::new(path);
    let fail = |problems: Vec<String>| ImportError::Network { path: path.to_owned(), problems };
    let Layers { model, tensors, notes, .. } = layers_of(&model, &store, sample, output).map_err(fail)?;
    let files = store.files.borrow();
    if !files.is_empty() {
        let own = files.values().map(|path| artefact::file_checksum(path).unwrap_or_default());
        let all: Vec<String> = std::iter::once(checksum).chain(own).collect();
        checksum = artefact::sha256_hex(all.join(" ").as_bytes());
    }
    Ok(OnnxNetwork { model, tensors, notes, checksum })
}

/// Checks the graph and makes layers of it.
///
/// # Errors
/// One line for each problem.
fn layers_of(
    model: &Model,
    store: &Store,
    sample: Option<[usize; 3]>,
    output: Option<&str>,
) -> Result<Layers, Vec<String>> {
    let one = |problem: String| vec![problem];
    let graph = graph::check(model, output).map_err(one)?;
    let unsupported = walk::unsupported(&graph);
    if !unsupported.is_empty() {
        return Err(unsupported);
    }
    let mut first = None;
    for Layout { shape, view } in input::layouts(&graph, store, sample).map_err(one)? {
        *store.counts.borrow_mut() = (0, 0);
        match made(&graph, store, shape, view) {
            Ok(layers) => return Ok(layers),
            // What is wrong with the likeliest reading of the input.
            Err(problems) => _ = first.get_or_insert(problems),
        }
    }
    Err(first.unwrap_or_default())
}

/// The layers of a graph whose input is read in one way.
fn made(graph: &Graph, store: &Store, shape: [usize; 3], view: View) -> Result<Layers, Vec<String>> {
    let (signals, output) = walk::walk(graph, store, shape.to_vec(), view).map_err(|problem| vec![problem])?;
    let mut layers = layers::layers(signals, &output)?;
    let architecture =
        Architecture::of_entries(layers.model.input, None, &layers.model.layers).map_err(|problems| {
            let text = |problem: LayerProblem| {
                let node = problem.path.as_ref().and_then(|path| layers.nodes.get(path));
                node.map_or(problem.message.clone(), |node| format!("{node}: as {}", problem.message))
            };
            problems.into_iter().map(text).collect::<Vec<_>>()
        })?;
    let (n_nodes, version) = (graph.nodes.len(), graph.version);
    let short = architecture.to_string();
    let short = if short.chars().count() <= MAX_SHORT {
        short
    } else {
        format!("{} layers with {} parameters", architecture.layers().len(), architecture.n_parameters())
    };
    layers.notes.insert(0, format!("{short}, from {n_nodes} nodes of operator version {version}"));
    let (n_values, n_rounded) = *store.counts.borrow();
    layers.notes.extend(rounding_note(n_rounded, n_values));
    Ok(layers)
}
