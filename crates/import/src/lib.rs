//! Networks from elsewhere: weights files of other programs, and files that hold a whole network.
//!
//! - [`weights`]: the tensors of a given architecture, from safetensors, PyTorch or ONNX files
//! - [`network`]: architecture and tensors of an ONNX file, read once for both
//!
//! A file is believed in nothing: no code in it is run, what it declares is checked against what it holds before memory is
//! taken for it, and what cannot be converted exactly is refused by name.

mod checkpoint;
mod floats;
mod naming;
mod onnx;
mod pickle;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::Architecture;
use model::ann::{self, AnnArtefact};
use model::artefact::{self, ArtefactError, TensorF32};
use model::config::ModelSection;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use thiserror::Error;

use floats::{Float, rounding_note};
use naming::{Found, Order, zeros_note};
use onnx::OnnxNetwork;

/// What to do about a file that is missing or damaged.
const REMEDY: &str = "run `train` on this configuration first, or name a whole weights file with `--weights`";

/// A network from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Its tensors, named and shaped as the model's.
    pub ann: AnnArtefact,
    /// What was done to them that the user should know, one sentence each.
    pub notes: Vec<String>,
}

/// A network that its file describes whole: architecture, and tensors until they are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The architecture, as the configuration's `[model]`.
    pub model: ModelSection,
    /// What was done to it that the user should know, one sentence each.
    pub notes: Vec<String>,
    path: PathBuf,
    /// Named as the model's.
    tensors: BTreeMap<String, TensorF32>,
    checksum: String,
}

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It cannot be read, or its tensors do not fit.
    #[error(transparent)]
    File(#[from] ArtefactError),
    /// It is not what it should be, or holds what is not read.
    #[error("{}: {found}; {remedy}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// Its network has no exact counterpart.
    #[error("{}: {}", path.display(), problems.join(&format!("\n{}: ", path.display())))]
    Network {
        /// The file.
        path: PathBuf,
        /// The node, what was found and what to do, one line each.
        problems: Vec<String>,
    },
}

/// Whether a file is taken for ONNX, which has no mark of its own.
pub fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// Reads a weights file and finds the architecture's tensors in it.
///
/// Takes Quartic's own `ann.safetensors`, any other safetensors file, a PyTorch checkpoint, or an ONNX file of the same
/// architecture; floats of 16 and 64 bits become those of 32.
///
/// # Errors
/// [`ImportError`] if the file is missing, damaged, of another kind, or holds code; if its tensors are missing, left over,
/// misshapen or not finite; if an ONNX file's network is another one.
pub fn weights(path: &Path, architecture: &Architecture) -> Result<Imported, ImportError> {
    if is_onnx(path) {
        return network(path, Some(architecture.input()), None)?.into_weights(architecture);
    }
    let bytes = artefact::read_bytes(path, REMEDY)?;
    if checkpoint::looks_like_one(&bytes) {
        of_checkpoint(path, &bytes, architecture)
    } else {
        of_safetensors(path, &bytes, architecture)
    }
}

/// Reads an ONNX file.
///
/// - `sample`: shape of the data set's images, which a network whose input is a vector does not tell
/// - `output`: name of the output, where there are several
///
/// # Errors
/// [`ImportError`] if the file is missing or damaged, or its network has no exact counterpart among the layers there are.
pub fn network(path: &Path, sample: Option<[usize; 3]>, output: Option<&str>) -> Result<Network, ImportError> {
    let bytes = artefact::read_bytes(path, REMEDY)?;
    let OnnxNetwork { model, tensors, notes, checksum } = onnx::read(path, bytes, sample, output)?;
    Ok(Network { model, notes, path: path.to_owned(), tensors, checksum })
}

impl Network {
    /// Its tensors for an architecture that is its own, but for what computes nothing.
    ///
    /// # Errors
    /// [`ImportError`] if the architecture is another one, or tensors are not finite.
    pub fn into_weights(self, architecture: &Architecture) -> Result<Imported, ImportError> {
        let Self { model, mut notes, path, tensors, checksum } = self;
        let (tensors, zeros) = onnx::fit(&model, tensors, architecture).map_err(|found| ImportError::Refused {
            path: path.clone(),
            found,
            remedy: "leave [model] out of the configuration to take the file's".to_owned(),
        })?;
        if !zeros.is_empty() {
            notes.push(zeros_note(zeros.iter().map(String::as_str)));
        }
        finish(&path, architecture, tensors, checksum, notes)
    }
}

fn of_safetensors(path: &Path, bytes: &[u8], architecture: &Architecture) -> Result<Imported, ImportError> {
    let whole = |error| ArtefactError::Damaged {
        path: path.to_owned(),
        found: format!("neither a PyTorch checkpoint nor a whole safetensors file ({error})"),
        remedy: REMEDY,
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(whole)?;
    if let Some(text) = header.metadata().as_ref().and_then(|entries| entries.get(artefact::METADATA_KEY)) {
        // What is no JSON at all is refused by the artefact's own reader.
        let description: Value = serde_json::from_str(text).unwrap_or_default();
        let has = |key: &str| description.get(key).is_some();
        if has("structure") || has("described_in") {
            return Err(ImportError::Refused {
                path: path.to_owned(),
                found: "a spiking network, where a trained one is needed".to_owned(),
                remedy: "name the file that it was converted from, such as ann.safetensors".to_owned(),
            });
        }
        return Ok(Imported { ann: AnnArtefact::read(path, architecture)?, notes: Vec::new() });
    }
    let file = SafeTensors::deserialize(bytes).map_err(whole)?;
    let mut views = file.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let found: Vec<Found> =
        views.iter().map(|(name, view)| Found { name: name.clone(), shape: view.shape().to_vec() }).collect();
    let assignment = naming::assign(architecture, &found, Order::Unknown)
        .map_err(|differences| ArtefactError::Unfit { path: path.to_owned(), differences })?;
    let mut reader = Reader::new(path, assignment.notes);
    for (own, position) in assignment.tensors {
        let (name, view) = &views[position];
        let float = match view.dtype() {
            Dtype::F16 => Float::F16,
            Dtype::BF16 => Float::Bf16,
            Dtype::F32 => Float::F32,
            Dtype::F64 => Float::F64,
            other => return Err(reader.refuse(format!("tensor `{name}` has type {other:?} where floats are needed"))),
        };
        let values = float.read(view.data()).map_err(|found| format!("`{name}`: {found}"));
        reader.add(own, view.shape().to_vec(), values)?;
    }
    let (tensors, notes) = reader.finish(assignment.zeros);
    finish(path, architecture, tensors, artefact::sha256_hex(bytes), notes)
}

fn of_checkpoint(path: &Path, bytes: &[u8], architecture: &Architecture) -> Result<Imported, ImportError> {
    let refused =
        |found: String| ImportError::Refused { path: path.to_owned(), found, remedy: checkpoint::REMEDY.to_owned() };
    let checkpoint::StateDict { tensors: entries, order, wrapper } = checkpoint::open(path, bytes).map_err(refused)?;
    let found: Vec<Found> =
        entries.iter().map(|tensor| Found { name: tensor.name.clone(), shape: tensor.shape().to_vec() }).collect();
    let assignment = naming::assign(architecture, &found, order)
        .map_err(|differences| ArtefactError::Unfit { path: path.to_owned(), differences })?;
    let notes = wrapper.map(|key| format!("the state dict is that under `{key}`")).into_iter().chain(assignment.notes);
    let mut reader = Reader::new(path, notes.collect());
    // Values are read here and not before: shapes are the model's by now, whatever sizes the file has declared.
    for (own, position) in assignment.tensors {
        let entry = &entries[position];
        reader.add(own, entry.shape().to_vec(), checkpoint::values(entry))?;
    }
    let (tensors, notes) = reader.finish(assignment.zeros);
    finish(path, architecture, tensors, artefact::sha256_hex(bytes), notes)
}

/// Collects tensors, and what narrowing them costs.
struct Reader<'a> {
    path: &'a Path,
    tensors: BTreeMap<String, TensorF32>,
    notes: Vec<String>,
    n_values: usize,
    n_rounded: usize,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, notes: Vec<String>) -> Self {
        Self { path, tensors: BTreeMap::new(), notes, n_values: 0, n_rounded: 0 }
    }

    fn refuse(&self, found: String) -> ImportError {
        let remedy = "save the weights anew, as 32-bit floats".to_owned();
        ImportError::Refused { path: self.path.to_owned(), found, remedy }
    }

    fn add(
        &mut self,
        name: String,
        shape: Vec<usize>,
        values: Result<floats::Values, String>,
    ) -> Result<(), ImportError> {
        let floats::Values { values, n_rounded } = values.map_err(|found| self.refuse(found))?;
        self.n_values += values.len();
        self.n_rounded += n_rounded;
        self.tensors.insert(name, TensorF32 { shape, values });
        Ok(())
    }

    /// - `zeros`: what the file has nothing for
    fn finish(mut self, zeros: Vec<Found>) -> (BTreeMap<String, TensorF32>, Vec<String>) {
        let zeros = zeros.into_iter().map(|Found { name, shape }| (name, TensorF32::zeros(shape)));
        self.tensors.extend(zeros);
        self.notes.extend(rounding_note(self.n_rounded, self.n_values));
        (self.tensors, self.notes)
    }
}

fn finish(
    path: &Path,
    architecture: &Architecture,
    tensors: BTreeMap<String, TensorF32>,
    checksum: String,
    notes: Vec<String>,
) -> Result<Imported, ImportError> {
    let differences = ann::differences(architecture, &tensors);
    if !differences.is_empty() {
        return Err(ArtefactError::Unfit { path: path.to_owned(), differences }.into());
    }
    Ok(Imported { ann: AnnArtefact { tensors, metadata: None, checksum }, notes })
}
