//! Records of burn's own: burnpack files (`.bpk`), and records in `MessagePack` (`.mpk`) of its earlier versions.
//!
//! burn names a batch norm's scale and shift `gamma` and `beta`, and keeps the weights of a fully connected layer as `[n_in, n_out]`,
//! unless the layer was made with `LinearLayout::Col`. Both are read without burn: a burnpack file is a short head in CBOR and
//! numbers (its layout is the documentation of crate burn-pack 0.22.1), a `MessagePack` record is its modules as nested maps, with
//! `{id, param: {bytes, shape, dtype}}` for each tensor (written by burn 0.18.0).

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::choice::{Holding, Placed};
use crate::entry::{Entry, Kind, Storage};
use crate::floats::{Float, Format};
use crate::naming::Order;
use crate::source::Source;

/// "BURN", as a little-endian number.
const MAGIC: &[u8; 4] = b"NRUB";

/// Bytes before the head: the magic, a 16-bit version and the 32-bit length of the head.
const HEADER_BYTES: u64 = 10;

/// The version that is read.
const VERSION: u16 = 1;

/// Numbers start at a multiple of this, and their offsets are counted from there.
const ALIGNMENT: u64 = 256;

/// Longest head that is read, as in burn-pack.
const MAX_HEAD_BYTES: u64 = 100 << 20;

/// Longest list of numbers that is kept: a shape.
const MAX_NUMBERS: usize = 64;

/// Deepest nesting of a head or record.
const MAX_DEPTH: usize = 64;

/// The formats of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Burnpack,
    MessagePack,
}

/// The format of a file, by its first bytes.
pub(crate) fn format(head: &[u8]) -> Option<Record> {
    // A map of two or three entries, the first of which is "metadata".
    let is_record =
        head.first().is_some_and(|byte| (0x82..=0x83).contains(byte)) && head.get(1..10) == Some(b"\xa8metadata");
    match head {
        _ if head.starts_with(MAGIC) => Some(Record::Burnpack),
        _ if is_record => Some(Record::MessagePack),
        _ => None,
    }
}

/// Finds the tensors of a record, named and laid out as PyTorch's.
///
/// # Errors
/// If it is damaged or of another version.
pub(crate) fn open(format: Record, source: Source) -> Result<Holding, String> {
    let placed = match format {
        Record::Burnpack => burnpack(source).map_err(|found| format!("not a whole burnpack file ({found})"))?,
        Record::MessagePack => messagepack(&source).map_err(|found| format!("not a whole record of burn ({found})"))?,
    };
    if placed.is_empty() {
        return Err("no tensors".to_owned());
    }
    Ok(Holding { placed: placed.into_iter().map(renamed).collect(), order: Order::OfAppearance })
}

/// The same tensors, with matrices as they are in the file: as layers of `LinearLayout::Col` keep them.
pub(crate) fn in_columns(holding: &Holding) -> Holding {
    let placed = holding.placed.iter().cloned().map(|mut placed| {
        placed.entry = placed.entry.untransposed();
        placed
    });
    Holding { placed: placed.collect(), order: holding.order }
}

/// With PyTorch's name and layout.
fn renamed(mut placed: Placed) -> Placed {
    if let Some(field) = placed.keys.last_mut() {
        let parts = field.rsplit_once('.').map_or((None, field.as_str()), |(path, field)| (Some(path), field));
        let theirs = match parts.1 {
            "gamma" => "weight",
            "beta" => "bias",
            other => other,
        };
        *field = parts.0.map_or_else(|| theirs.to_owned(), |path| format!("{path}.{theirs}"));
    }
    let is_matrix = placed.entry.shape.len() == 2 && placed.keys.last().is_some_and(|name| name.ends_with("weight"));
    placed.entry.name = placed.keys.join(".");
    if is_matrix {
        placed.entry = placed.entry.transposed();
    }
    placed
}

fn kind_of(kind: &str) -> Kind {
    Kind::Float(match kind {
        "F64" => Format::Wide(Float::F64),
        "F32" | "Flex32" => Format::Wide(Float::F32),
        "F16" => Format::Wide(Float::F16),
        "BF16" => Format::Wide(Float::Bf16),
        other => return Kind::Other(other.to_owned()),
    })
}

/// The head of a burnpack file.
#[derive(Deserialize)]
struct Head {
    tensors: BTreeMap<String, Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    dtype: ciborium::Value,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

fn burnpack(source: Source) -> Result<Vec<Placed>, String> {
    let header = source.read(0, HEADER_BYTES)?;
    let version = u16::from_le_bytes([header[4], header[5]]);
    if version != VERSION {
        return Err(format!("version {version}; supported: {VERSION}"));
    }
    let n_bytes = u64::from(u32::from_le_bytes([header[6], header[7], header[8], header[9]]));
    if n_bytes > MAX_HEAD_BYTES {
        return Err(format!("a head of {n_bytes} bytes; supported: up to {MAX_HEAD_BYTES}"));
    }
    let bytes = source.read(HEADER_BYTES, n_bytes)?;
    let head: Head =
        ciborium::de::from_reader_with_recursion_limit(&bytes[..], MAX_DEPTH).map_err(|error| error.to_string())?;
    let start = (HEADER_BYTES + n_bytes).next_multiple_of(ALIGNMENT);
    // Names are sorted there; numbers lie in the order in which the network declares its layers.
    let mut tensors: Vec<(String, Descriptor)> = head.tensors.into_iter().collect();
    tensors.sort_by_key(|(_, descriptor)| descriptor.data_offsets);
    let source = Rc::new(source);
    let placed = |(name, Descriptor { dtype, shape, data_offsets: (from, to) }): (String, Descriptor)| {
        let end = start.checked_add(to).filter(|end| from <= to && *end <= source.len());
        let end = end.ok_or_else(|| format!("tensor `{name}` reaches over the end of the file"))?;
        // A type with parameters, such as that of quantized numbers, is no text.
        let kind = dtype.as_text().map_or_else(|| Kind::Other("quantized numbers".to_owned()), kind_of);
        let shape = shape.into_iter().map(|size| size as usize).collect();
        let entry = Entry::contiguous(name.clone(), shape, kind, Storage::Part(Rc::clone(&source), start + from..end));
        Ok(Placed { keys: vec![name], entry })
    };
    tensors.into_iter().map(placed).collect()
}

/// A value of a `MessagePack` record; numbers and others that no tensor needs are left out.
enum Node<'a> {
    Map(Vec<(&'a str, Node<'a>)>),
    List(Vec<Node<'a>>),
    Bytes(&'a [u8]),
    Text(&'a str),
    Int(u64),
    Other,
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
        text.write_str("a value of a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Node>()? {
            let value = entries.next_value()?;
            if let Node::Text(key) = key {
                map.push((key, value));
            }
        }
        Ok(Node::Map(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            if list.len() < MAX_NUMBERS || matches!(value, Node::Map(_) | Node::List(_)) {
                list.push(value);
            }
        }
        Ok(Node::List(list))
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Node::Bytes(bytes))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Node::Int(number))
    }

    fn visit_i64<E>(self, _number: i64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _number: f64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }
}

impl<'a> Node<'a> {
    fn get(&self, key: &str) -> Option<&Node<'a>> {
        match self {
            Self::Map(entries) => entries.iter().find(|(found, _)| *found == key).map(|(_, value)| value),
            _ => None,
        }
    }
}

fn messagepack(source: &Source) -> Result<Vec<Placed>, String> {
    let bytes = source.read(0, source.len())?;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
    deserializer.set_max_depth(MAX_DEPTH);
    let record = Node::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    let item = record.get("item").ok_or("no `item`")?;
    let mut placed = Vec::new();
    walk(item, &mut Vec::new(), &mut placed)?;
    Ok(placed)
}

fn walk(node: &Node, path: &mut Vec<String>, placed: &mut Vec<Placed>) -> Result<(), String> {
    if let (Some(_), Some(parameter)) = (node.get("id"), node.get("param")) {
        placed.extend(tensor(parameter, path.join("."))?);
        return Ok(());
    }
    let mut step = |key: String, node: &Node| {
        path.push(key);
        let result = walk(node, path, placed);
        path.pop();
        result
    };
    match node {
        Node::Map(entries) => entries.iter().try_for_each(|(key, node)| step((*key).to_owned(), node)),
        Node::List(nodes) => nodes.iter().enumerate().try_for_each(|(at, node)| step(at.to_string(), node)),
        _ => Ok(()),
    }
}

/// `{bytes, shape, dtype}`
fn tensor(parameter: &Node, name: String) -> Result<Option<Placed>, String> {
    let Some(Node::List(shape)) = parameter.get("shape") else { return Ok(None) };
    let size = |node: &Node| match node {
        Node::Int(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    let shape: Option<Vec<usize>> = shape.iter().map(size).collect();
    let shape = shape.ok_or_else(|| format!("the shape of `{name}` is no list of numbers"))?;
    let (kind, bytes) = match (parameter.get("bytes"), parameter.get("dtype")) {
        (Some(Node::Bytes(bytes)), Some(Node::Text(kind))) => (kind_of(kind), bytes.to_vec()),
        (Some(Node::Bytes(_)), _) => (Kind::Other("quantized numbers".to_owned()), Vec::new()),
        _ => (Kind::Opaque("written as by burn before 0.14, number by number".to_owned()), Vec::new()),
    };
    let entry = Entry::contiguous(name.clone(), shape, kind, Storage::Memory(bytes));
    Ok(Some(Placed { keys: vec![name], entry }))
}
