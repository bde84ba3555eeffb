//! PyTorch checkpoints: a state dict, or a dictionary around one.
//!
//! Nothing in a file is run: burn's reader knows how tensors are put together and leaves everything else alone, and a
//! file that names classes other than those that tensors need is refused before ([`crate::pickle`]).

use std::io::{Cursor, Read as _};
use std::path::Path;

use pytorch_reader::{DType, PickleValue, PytorchReader, Tensor};
use zip::ZipArchive;

use crate::floats::{Float, Values};
use crate::naming::Order;
use crate::pickle::{self, Mentions};

/// What is asked for instead of a file that holds more than tensors.
pub(crate) const REMEDY: &str = "save the weights alone: torch.save(net.state_dict(), FILE)";

/// Keys under which checkpoints commonly keep their state dict.
const WRAPPERS: [&str; 7] = ["state_dict", "model_state_dict", "model_state", "model", "net", "network", "module"];

/// Largest pickle that is unpacked, 16 MiB: it holds names and shapes, the values lie beside it.
const MAX_PICKLE_BYTES: u64 = 16 << 20;

/// Number of pickles at the head of a file of `PyTorch` before 1.6: a magic number, a version, the system, the object.
const LEGACY_PICKLES: usize = 4;

/// A state dict whose values are not read yet.
#[derive(Debug)]
pub(crate) struct StateDict {
    /// Named as in the state dict.
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) order: Order,
    /// The key that the state dict was found under.
    pub(crate) wrapper: Option<String>,
}

/// Whether a file starts like one of `torch.save`'s.
pub(crate) fn looks_like_one(bytes: &[u8]) -> bool {
    let is_safetensors = bytes.get(8) == Some(&b'{');
    bytes.starts_with(b"PK\x03\x04") || (bytes.first() == Some(&0x80) && !is_safetensors) || is_tar(bytes)
}

/// The container of PyTorch before 0.1.10.
fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// Opens a checkpoint; no tensor's values are read yet.
///
/// - `bytes`: the file's
///
/// # Errors
/// What was found in place of a state dict.
pub(crate) fn open(path: &Path, bytes: &[u8]) -> Result<StateDict, String> {
    if is_tar(bytes) {
        return Err("a checkpoint of PyTorch before 0.1.10".to_owned());
    }
    let mentions = mentions(bytes)?;
    if let Some(global) = pickle::unknown_global(&mentions) {
        return Err(format!("it refers to `{global}`, which weights do not need, so it is not read"));
    }
    let wrapper = wrapper(path)?;
    let reader = match &wrapper {
        None => PytorchReader::new(path),
        Some(key) => PytorchReader::with_top_level_key(path, key),
    };
    let mut tensors: Vec<Tensor> = reader.map_err(|error| error.to_string())?.into_tensors().into_values().collect();
    if tensors.is_empty() {
        return Err("no tensors".to_owned());
    }
    let place = |tensor: &Tensor| mentions.texts.get(&tensor.name).copied();
    let order = if tensors.iter().all(|tensor| place(tensor).is_some()) { Order::OfAppearance } else { Order::Unknown };
    // By name where the order is not known, since the reader gives them in an order of its own.
    tensors.sort_by(|a, b| (place(a), &a.name).cmp(&(place(b), &b.name)));
    Ok(StateDict { tensors, order, wrapper })
}

/// A tensor's values.
///
/// # Errors
/// If they are no floats, too large, or cannot be read.
pub(crate) fn values(tensor: &Tensor) -> Result<Values, String> {
    let float = match tensor.dtype() {
        DType::F16 => Float::F16,
        DType::BF16 => Float::Bf16,
        DType::F32 => Float::F32,
        DType::F64 => Float::F64,
        other => return Err(format!("`{}` holds {other:?} where floats are needed", tensor.name)),
    };
    let bytes = tensor.read().map_err(|error| error.to_string())?;
    float.read(&bytes).map_err(|found| format!("`{}`: {found}", tensor.name))
}

fn mentions(bytes: &[u8]) -> Result<Mentions, String> {
    let damaged = |found: String| format!("not a whole checkpoint ({found})");
    if !bytes.starts_with(b"PK") {
        let mut rest = bytes;
        let mut all = Mentions::default();
        for _ in 0..LEGACY_PICKLES {
            let mentions = pickle::scan(&mut rest).map_err(damaged)?;
            all.globals.extend(mentions.globals);
            all.texts = mentions.texts;
        }
        return Ok(all);
    }
    let text = |error: zip::result::ZipError| damaged(error.to_string());
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(text)?;
    let names: Vec<String> =
        archive.file_names().collect::<Result<Vec<_>, _>>().map_err(text)?.into_iter().map(Into::into).collect();
    // More than one would leave open which of them burn's reader takes.
    let [name] = names.iter().filter(|name| is_pickle(name)).collect::<Vec<_>>()[..] else {
        return Err(damaged("not one data.pkl in the archive".to_owned()));
    };
    let mut pickle = Vec::new();
    let entry = archive.by_name(name).map_err(text)?;
    entry.take(MAX_PICKLE_BYTES + 1).read_to_end(&mut pickle).map_err(|error| damaged(error.to_string()))?;
    if pickle.len() as u64 > MAX_PICKLE_BYTES {
        return Err(damaged(format!("its data.pkl exceeds {MAX_PICKLE_BYTES} bytes")));
    }
    pickle::scan(&mut &pickle[..]).map_err(damaged)
}

fn is_pickle(name: &str) -> bool {
    name == "data.pkl" || name.ends_with("/data.pkl")
}

/// The key of a dictionary that holds the state dict, if it is not the dictionary itself.
fn wrapper(path: &Path) -> Result<Option<String>, String> {
    let root = PytorchReader::read_pickle_data(path, None).map_err(|error| error.to_string())?;
    let PickleValue::Dict(root) = root else { return Err("no dictionary of tensors".to_owned()) };
    let is_tensor = |value: &PickleValue| matches!(value, PickleValue::Unsupported(kind) if kind == "torch.Tensor");
    if root.values().any(is_tensor) {
        return Ok(None);
    }
    let holds_tensors = |key: &str| match root.get(key) {
        Some(PickleValue::Dict(inner)) => inner.values().any(is_tensor),
        _ => false,
    };
    if let Some(key) = WRAPPERS.into_iter().find(|key| holds_tensors(key)) {
        return Ok(Some(key.to_owned()));
    }
    if root.is_empty() {
        return Err("an empty dictionary".to_owned());
    }
    let mut keys: Vec<String> = root.keys().map(|key| format!("`{key}`")).collect();
    keys.sort();
    let wrappers = WRAPPERS.map(|key| format!("`{key}`")).join(", ");
    Err(format!("no state dict under {wrappers}, but {}", keys.join(", ")))
}
