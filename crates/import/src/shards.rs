//! Safetensors files of other programs, one or several with an index, and PyTorch checkpoints with an index.
//!
//! An index says which file each tensor lies in, `{"weight_map": {"TENSOR": "FILE"}}`, as model hubs keep large networks.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::rc::Rc;

use model::artefact::{self, METADATA_KEY};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::Value;

use crate::checkpoint;
use crate::choice::{Holding, Placed};
use crate::entry::{Entry, Kind, Storage};
use crate::floats::{Float, Float8, Format};
use crate::naming::Order;
use crate::source::Source;

/// Longest header of a safetensors file, by its specification.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Longest index that is read, 64 MiB.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// The head of a safetensors file.
#[derive(Debug)]
pub(crate) struct Header {
    metadata: Metadata,
    /// Where the numbers start.
    start: u64,
}

impl Header {
    /// Reads and checks the head of a file.
    ///
    /// # Errors
    /// If the file is not a whole safetensors file.
    pub(crate) fn read(source: &Source) -> Result<Self, String> {
        let n_bytes = source.read(0, 8).map_err(|_| "no header".to_owned())?;
        let n_bytes = u64::from_le_bytes(n_bytes.try_into().expect("eight bytes were read"));
        if n_bytes > MAX_HEADER_BYTES {
            return Err("header too large".to_owned());
        }
        let header = source.read(8, n_bytes)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
        let start = 8 + n_bytes;
        if (metadata.data_len() as u64).checked_add(start) != Some(source.len()) {
            return Err(format!("its numbers take {} bytes and not those that are there", metadata.data_len()));
        }
        Ok(Self { metadata, start })
    }

    /// Quartic's own description, if it is Quartic's file.
    pub(crate) fn description(&self) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(METADATA_KEY).map(String::as_str)
    }

    /// The tensors, sorted by name.
    pub(crate) fn holding(&self, source: Source) -> Holding {
        let source = Rc::new(source);
        let tensors: BTreeMap<String, _> = self.metadata.tensors().into_iter().collect();
        let placed = tensors.into_iter().map(|(name, info)| {
            let (start, end) = info.data_offsets;
            let storage = Storage::Part(Rc::clone(&source), self.start + start as u64..self.start + end as u64);
            let entry = Entry::contiguous(name.clone(), info.shape.clone(), kind_of(info.dtype), storage);
            Placed { keys: vec![name], entry }
        });
        Holding { placed: placed.collect(), order: Order::Unknown }
    }
}

fn kind_of(kind: Dtype) -> Kind {
    Kind::Float(match kind {
        Dtype::F8_E4M3 => Format::Eight(Float8::E4M3),
        Dtype::F8_E4M3FNUZ => Format::Eight(Float8::E4M3Fnuz),
        Dtype::F8_E5M2 => Format::Eight(Float8::E5M2),
        Dtype::F8_E5M2FNUZ => Format::Eight(Float8::E5M2Fnuz),
        Dtype::F16 => Format::Wide(Float::F16),
        Dtype::BF16 => Format::Wide(Float::Bf16),
        Dtype::F32 => Format::Wide(Float::F32),
        Dtype::F64 => Format::Wide(Float::F64),
        other => return Kind::Other(format!("{other:?}")),
    })
}

/// Whether a file is an index.
pub(crate) fn is_index(head: &[u8]) -> bool {
    head.trim_ascii_start().first() == Some(&b'{')
}

/// Finds the tensors of all files of an index; returns with them the checksum of all.
///
/// # Errors
/// If the index is damaged, or its files are missing, lie elsewhere, or do not hold what it says.
pub(crate) fn open_index(path: &Path, source: &Source) -> Result<(Holding, String), String> {
    if source.len() > MAX_INDEX_BYTES {
        return Err(format!("an index of {} bytes; supported: up to {MAX_INDEX_BYTES}", source.len()));
    }
    let bytes = source.read(0, source.len())?;
    let index: Value = serde_json::from_slice(&bytes).map_err(|error| format!("JSON that is damaged ({error})"))?;
    let Some(map) = index.get("weight_map").and_then(Value::as_object) else {
        return Err("JSON without `weight_map`, so no index of weights files".to_owned());
    };
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, file) in map {
        let file = file.as_str().ok_or_else(|| format!("its `weight_map` gives no file for `{name}`"))?;
        files.entry(file).or_default().push(name);
    }
    let mut checksums = vec![artefact::sha256_hex(&bytes)];
    let mut tensors: BTreeMap<String, (Placed, &str)> = BTreeMap::new();
    for (file, names) in files {
        let (holding, checksum) = open_shard(path, file).map_err(|found| format!("its file `{file}`: {found}"))?;
        checksums.push(checksum);
        for placed in holding.placed {
            let name = placed.keys.join(".");
            if let Some((_, other)) = tensors.insert(name.clone(), (placed, file)) {
                return Err(format!("tensor `{name}` lies in both `{other}` and `{file}`"));
            }
        }
        if let Some(name) = names.iter().find(|name| tensors.get(**name).is_none_or(|(_, found)| *found != file)) {
            return Err(format!("its file `{file}` does not hold the tensor `{name}` that it says"));
        }
    }
    let placed = tensors.into_values().map(|(placed, _)| placed).collect();
    Ok((Holding { placed, order: Order::Unknown }, artefact::sha256_hex(checksums.join(" ").as_bytes())))
}

fn open_shard(index: &Path, file: &str) -> Result<(Holding, String), String> {
    let name = Path::new(file);
    if !matches!(name.components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
        return Err("does not lie in the same folder".to_owned());
    }
    let path = index.with_file_name(name);
    let source = Source::open(&path).map_err(|error| error.to_string())?;
    let checksum = source.checksum().map_err(|error| error.to_string())?;
    let holding = if checkpoint::looks_like_one(&source.read_up_to(0, 300)?) {
        checkpoint::open(source)?
    } else {
        Header::read(&source).map_err(|found| format!("not a whole safetensors file ({found})"))?.holding(source)
    };
    Ok((holding, checksum))
}
