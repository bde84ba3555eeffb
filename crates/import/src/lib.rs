//! Networks from elsewhere: weights files of other programs, and files that hold a whole network.
//!
//! - [`weights`]: the tensors of a given architecture, from PyTorch's checkpoints, safetensors, records of burn, or ONNX files
//! - [`network`]: architecture and tensors of an ONNX file, read once for both
//!
//! A file is believed in nothing: no code in it is run, what it declares is checked against what it holds before memory is
//! taken for it, and what cannot be converted exactly is refused by name.

mod archive;
mod checkpoint;
mod choice;
mod entry;
mod floats;
mod naming;
mod onnx;
mod pickle;
mod records;
mod reparametrization;
mod shards;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::Architecture;
use model::ann::{self, AnnArtefact};
use model::artefact::{self, ArtefactError, TensorF32};
use model::config::ModelSection;
use serde_json::Value;
use thiserror::Error;

use choice::{Chosen, Holding, Refusal};
use entry::{Entry, Flaw};
use floats::rounding_note;
use naming::{Found, zeros_note};
use onnx::OnnxNetwork;
use source::Source;

/// What to do about a file that is missing or damaged.
const REMEDY: &str = "run `train` on this configuration first, or name a whole weights file with `--weights`";

/// What to do about an ONNX file that is missing or damaged.
const ONNX_REMEDY: &str =
    "name the whole file that the network was exported to, such as by torch.onnx.export(net, (x,), FILE)";

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
/// Takes Quartic's own `ann.safetensors`, any other safetensors file, a PyTorch checkpoint, an index of several of either, a record
/// of burn, or an ONNX file of the same architecture; floats of 8, 16 and 64 bits become those of 32.
///
/// - `key`: which of several state dicts is meant, by the keys that lead to it (`model_ema`, `state.net`), or what the names of its
///   tensors start with; where there is none, the one that fits
///
/// # Errors
/// [`ImportError`] if the file is missing, damaged, or of another kind; if its tensors are missing, left over, misshapen or not
/// finite; if several state dicts fit and none is chosen; if an ONNX file's network is another one.
pub fn weights(path: &Path, architecture: &Architecture, key: Option<&str>) -> Result<Imported, ImportError> {
    let refused = |found: &str, remedy: &str| ImportError::Refused {
        path: path.to_owned(),
        found: found.to_owned(),
        remedy: remedy.to_owned(),
    };
    if is_onnx(path) {
        return match key {
            None => network(path, Some(architecture.input()), None)?.into_weights(architecture),
            Some(_) => Err(refused("an ONNX file, which has no keys", "leave `--key` out")),
        };
    }
    let source = Source::open(path)?;
    let head = source.read_up_to(0, 300).map_err(|found| refused(&found, REMEDY))?;
    if let Some((found, remedy)) = other_kind(&head) {
        return Err(refused(found, remedy));
    }
    if let Some(format) = records::format(&head) {
        let checksum = source.checksum()?;
        let holding = records::open(format, source).map_err(|found| refused(&found, RECORD_REMEDY))?;
        return of_record(path, &holding, checksum, architecture, key);
    }
    if checkpoint::looks_like_one(&head) {
        let checksum = source.checksum()?;
        let holding = checkpoint::open(source).map_err(|found| refused(&found, checkpoint::REMEDY))?;
        return of_holding(path, &holding, checksum, architecture, key);
    }
    if shards::is_index(&head) {
        let (holding, checksum) = shards::open_index(path, &source).map_err(|found| {
            refused(&found, "name an index, such as model.safetensors.index.json, beside all of its files")
        })?;
        return of_holding(path, &holding, checksum, architecture, key);
    }
    of_safetensors(path, source, architecture, key)
}

/// What to do about a record of burn.
const RECORD_REMEDY: &str = "load it with burn and save it anew: net.into_record().save(\"net.bpk\")";

/// What a file is that is known by its first bytes and not read, and what to do.
fn other_kind(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let page = ("a page of the web, which a server gave in place of the file", "download the file itself");
    let kinds: [(&[u8], _, _); 7] = [
        (
            b"version https://git-lfs",
            "what Git LFS keeps in place of the file",
            "get the file itself: git lfs pull, or download it",
        ),
        (b"<!DOCTYPE", page.0, page.1),
        (b"<html", page.0, page.1),
        (
            b"\x89HDF",
            "an HDF5 file, as Keras writes",
            "export the network to ONNX: model.export(FILE, format=\"onnx\")",
        ),
        (b"\x93NUMPY", "a NumPy array", "save the weights by name: safetensors.numpy.save_file(arrays, FILE)"),
        (b"GGUF", "a GGUF file", "name the safetensors or PyTorch file that it was made from"),
        (b"\x1f\x8b", "a file packed by gzip", "unpack it before: gunzip FILE"),
    ];
    kinds.into_iter().find(|(magic, ..)| head.starts_with(magic)).map(|(_, found, remedy)| (found, remedy))
}

/// Reads an ONNX file.
///
/// - `sample`: shape of the data set's images, which a network whose input is a vector does not tell
/// - `output`: name of the output, where there are several
///
/// # Errors
/// [`ImportError`] if the file is missing or damaged, or its network has no exact counterpart among the layers there are.
pub fn network(path: &Path, sample: Option<[usize; 3]>, output: Option<&str>) -> Result<Network, ImportError> {
    let bytes = artefact::read_bytes(path, ONNX_REMEDY)?;
    if let Some((found, remedy)) = other_kind(&bytes[..bytes.len().min(300)]) {
        let (path, found, remedy) = (path.to_owned(), found.to_owned(), remedy.to_owned());
        return Err(ImportError::Refused { path, found, remedy });
    }
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

fn of_safetensors(
    path: &Path,
    source: Source,
    architecture: &Architecture,
    key: Option<&str>,
) -> Result<Imported, ImportError> {
    let header = shards::Header::read(&source).map_err(|error| ArtefactError::Damaged {
        path: path.to_owned(),
        found: format!("neither a PyTorch checkpoint nor a whole safetensors file ({error})"),
        remedy: REMEDY,
    })?;
    if let Some(text) = header.description() {
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
    let checksum = source.checksum()?;
    of_holding(path, &header.holding(source), checksum, architecture, key)
}

/// A record of burn, whose matrices may be either way round.
fn of_record(
    path: &Path,
    holding: &Holding,
    checksum: String,
    architecture: &Architecture,
    key: Option<&str>,
) -> Result<Imported, ImportError> {
    match of_holding(path, holding, checksum.clone(), architecture, key) {
        Err(error) => {
            let in_columns = of_holding(path, &records::in_columns(holding), checksum, architecture, key);
            in_columns.map_err(|_| error)
        }
        Ok(mut imported) => {
            imported.notes.push("weights of fully connected layers are transposed, as burn keeps them".to_owned());
            Ok(imported)
        }
    }
}

fn of_holding(
    path: &Path,
    holding: &Holding,
    checksum: String,
    architecture: &Architecture,
    key: Option<&str>,
) -> Result<Imported, ImportError> {
    let Chosen { entries, assignment, notes } = holding.choose(architecture, key).map_err(|refusal| match refusal {
        Refusal::Unfit(differences) => ArtefactError::Unfit { path: path.to_owned(), differences }.into(),
        Refusal::Other { found, remedy } => ImportError::Refused { path: path.to_owned(), found, remedy },
    })?;
    let notes = notes.into_iter().chain(assignment.notes).collect();
    let mut reader = Reader::new(path, notes);
    // Values are read here and not before: shapes are the model's by now, whatever sizes the file has declared.
    for (own, position) in assignment.tensors {
        reader.add(own, &entries[position])?;
    }
    let (tensors, notes) = reader.finish(assignment.zeros);
    finish(path, architecture, tensors, checksum, notes)
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

    fn add(&mut self, name: String, entry: &Entry) -> Result<(), ImportError> {
        let floats::Values { values, n_rounded } = entry.values().map_err(|flaw| {
            let (found, remedy) = match flaw {
                Flaw::Kind(found) => (found, "save the weights anew, as 32-bit floats"),
                Flaw::Damage(found) => (found, "the file is damaged: copy it again, or save the weights anew"),
            };
            ImportError::Refused { path: self.path.to_owned(), found, remedy: remedy.to_owned() }
        })?;
        self.n_values += values.len();
        self.n_rounded += n_rounded;
        self.tensors.insert(name, TensorF32 { shape: entry.shape.clone(), values });
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
