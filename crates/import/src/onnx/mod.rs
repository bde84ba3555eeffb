//! ONNX files → architecture and tensors.
//!
//! - `proto`: the messages of a file
//! - `graph`: how its nodes hang together
//! - `tensor`: the numbers in it
//! - `walk`: what each node computes
//! - `layers`: the layers that this makes

mod graph;
mod layers;
mod proto;
mod tensor;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;
use std::path::Path;

use model::Architecture;
use model::architecture::{Conv2d, Layer, LayerKind};
use model::artefact::{self, TensorF32};
use model::config::ModelSection;
use prost::Message as _;

use crate::floats::rounding_note;
use crate::{ImportError, REMEDY};
use layers::Layers;
use proto::Model;
use tensor::Store;

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
///
/// # Errors
/// [`ImportError`] with the nodes that have no exact counterpart.
pub(crate) fn read(path: &Path, bytes: Vec<u8>, sample: Option<[usize; 3]>) -> Result<OnnxNetwork, ImportError> {
    let mut checksum = artefact::sha256_hex(&bytes);
    // The tensors' bytes are shared with the file's.
    let bytes = prost::bytes::Bytes::from(bytes);
    let model = Model::decode(bytes).map_err(|error| error.to_string());
    let with_graph = |model: Model| if model.graph.is_some() { Ok(model) } else { Err("no graph in it".to_owned()) };
    let model = model.and_then(with_graph).map_err(|error| ImportError::Refused {
        path: path.to_owned(),
        found: format!("not a whole ONNX file ({error})"),
        remedy: REMEDY.to_owned(),
    })?;
    let store = Store::new(path);
    let fail = |problems: Vec<String>| ImportError::Network { path: path.to_owned(), problems };
    let Layers { model, tensors, notes, .. } = layers_of(&model, &store, sample).map_err(fail)?;
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
fn layers_of(model: &Model, store: &Store, sample: Option<[usize; 3]>) -> Result<Layers, Vec<String>> {
    let one = |problem: String| vec![problem];
    let graph = graph::check(model).map_err(one)?;
    let unsupported = walk::unsupported(&graph);
    if !unsupported.is_empty() {
        return Err(unsupported);
    }
    let (mut walk, output) = walk::walk(&graph, store).map_err(one)?;
    let mut layers = layers::layers(&mut walk.signals, output, sample).map_err(one)?;
    let architecture =
        Architecture::of_entries(layers.model.input, None, &layers.model.layers).map_err(|problems| {
            let text = |problem: model::architecture::LayerProblem| {
                let node = problem.path.as_ref().and_then(|path| layers.nodes.get(path));
                node.map_or(problem.message.clone(), |node| format!("{node}: as {}", problem.message))
            };
            problems.into_iter().map(text).collect::<Vec<_>>()
        })?;
    let summary = format!("{architecture}, from {} nodes of operator version {}", graph.nodes.len(), graph.version);
    layers.notes.insert(0, summary);
    let (n_values, n_rounded) = *store.counts.borrow();
    layers.notes.extend(rounding_note(n_rounded, n_values));
    Ok(layers)
}

/// Renames the tensors of a file's network to those of an architecture that is the same but for dropouts, which compute
/// nothing and which files leave out, and for biases of convolutions that the file has none of, which are zeros. Returns the
/// names of these beside the tensors.
///
/// # Errors
/// If the architecture is another one.
pub(crate) fn fit(
    model: &ModelSection,
    mut tensors: BTreeMap<String, TensorF32>,
    architecture: &Architecture,
) -> Result<(BTreeMap<String, TensorF32>, Vec<String>), String> {
    let kinds: Vec<LayerKind> = architecture.layers().iter().map(|layer| layer.kind.clone()).collect();
    let own = Architecture::of_entries(model.input, None, &model.layers)
        .map_err(|_| "its network cannot be converted".to_owned())?;
    let theirs: Vec<LayerKind> = model.layers.iter().map(|entry| entry.kind.clone()).collect();
    let [theirs, ours] = [&theirs, &kinds].map(|kinds| without_dropout(kinds));
    let differs = |(theirs, ours): &(&LayerKind, &LayerKind)| with_bias(theirs) != with_bias(ours);
    let different = theirs.iter().zip(&ours).find(differs);
    if different.is_some() || theirs.len() != ours.len() || architecture.input() != model.input {
        // The short forms leave padding, for one, out.
        let place = different.map_or(String::new(), |(theirs, ours)| {
            format!(" (at first {}, where the configuration has {})", theirs.to_toml(), ours.to_toml())
        });
        return Err(format!("its network is {own}, and the configuration's another one, {architecture}{place}"));
    }
    let (mut fitted, mut zeros) = (BTreeMap::new(), Vec::new());
    for (theirs, ours) in weighted(&own).into_iter().zip(weighted(architecture)) {
        for (name, shape) in ours.tensors() {
            let field = &name[ours.path.len()..];
            let tensor = tensors.remove(&format!("{}{field}", theirs.path)).unwrap_or_else(|| {
                zeros.push(name.clone());
                TensorF32::zeros(shape)
            });
            fitted.insert(name, tensor);
        }
    }
    match tensors.keys().next() {
        None => Ok((fitted, zeros)),
        Some(name) => Err(format!("its network has the bias `{name}`, and the configuration says bias = false there")),
    }
}

/// Layers with tensors, in an order that dropouts do not change.
fn weighted(architecture: &Architecture) -> Vec<&Layer> {
    architecture.all_layers().into_iter().filter(|layer| !layer.tensors().is_empty()).collect()
}

fn without_dropout(kinds: &[LayerKind]) -> Vec<LayerKind> {
    let kept = kinds.iter().filter(|kind| !matches!(kind, LayerKind::Dropout { .. }));
    kept.map(|kind| match kind {
        LayerKind::Residual { body, shortcut } => {
            LayerKind::Residual { body: without_dropout(body), shortcut: without_dropout(shortcut) }
        }
        kind => kind.clone(),
    })
    .collect()
}

/// The layer, as if every convolution had a bias.
fn with_bias(kind: &LayerKind) -> LayerKind {
    match kind {
        LayerKind::Conv2d(conv) => LayerKind::Conv2d(Conv2d { bias: true, ..*conv }),
        LayerKind::Residual { body, shortcut } => LayerKind::Residual {
            body: body.iter().map(with_bias).collect(),
            shortcut: shortcut.iter().map(with_bias).collect(),
        },
        kind => kind.clone(),
    }
}
