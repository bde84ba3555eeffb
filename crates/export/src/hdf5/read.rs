//! HDF5 files → groups and datasets: those of [`super::bytes`], and those that the reference package `nir` writes by way of
//! h5py, which keeps to the format of before HDF5 1.8 and compresses by gzip.
//!
//! A file is believed in nothing. Every address and length is checked against the file, trees go down and end, and a file is
//! refused if it takes more parts or more bytes than it has, so that neither time nor memory grow beyond what an honest file
//! of its length needs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::chunks::{self, Deflate};
use super::{Dataset, Group, Hdf5Error, Item, REFERENCE, SIGNATURE, SUPERBLOCK, UNDEFINED, Values};
use super::{damaged, datatype, layout, lookup3, message, unknown};

/// Groups within groups that are followed; a link back to a group above would have no end.
const DEEPEST: usize = 32;

/// Length of the shortest part that is counted, an empty message.
const SHORTEST: usize = 4;

/// Reads a file.
///
/// # Errors
/// [`Hdf5Error`] if it is no HDF5 file, damaged, or uses what a NIR graph has no need of.
pub fn read(file: &[u8]) -> Result<Group, Hdf5Error> {
    if file.get(..8) != Some(SIGNATURE) {
        return Err(Hdf5Error::Foreign);
    }
    let root = match file.get(8) {
        None => return Err(damaged("it ends in its superblock")),
        Some(0 | 1) => old_superblock(file)?,
        Some(2 | 3) => superblock(file)?,
        Some(version) => return Err(unknown(format!("its superblock has version {version}"))),
    };
    let mut reader =
        Reader { file, heaps: BTreeMap::new(), n_parts_left: file.len() / SHORTEST, n_bytes_left: file.len() };
    match reader.item(root, 0)? {
        Item::Group(group) => Ok(group),
        Item::Dataset(_) => Err(damaged("a dataset in place of the root group")),
    }
}

/// The root group's address, from a superblock of version 2 or 3 (section II.B).
fn superblock(file: &[u8]) -> Result<u64, Hdf5Error> {
    let mut superblock = Cursor::at(file, 0, SUPERBLOCK)?;
    superblock.check_sum()?;
    superblock.take(9)?;
    check_widths(superblock.take(2)?)?;
    superblock.take(1)?;
    check_base(superblock.u64()?)?;
    superblock.take(8)?;
    check_end(file, superblock.u64()?)?;
    superblock.u64()
}

/// The same from one of version 0 or 1 (section II.A), which ends in the root group's entry of a symbol table.
fn old_superblock(file: &[u8]) -> Result<u64, Hdf5Error> {
    let mut superblock = Cursor::at(file, 0, 100.min(file.len()))?;
    superblock.take(8)?;
    let version = superblock.byte()?;
    superblock.take(4)?;
    check_widths(superblock.take(2)?)?;
    // Sizes of tree nodes, which say themselves how full they are; flags; version 1 has 4 bytes more.
    superblock.take(1 + 4 + 4 + usize::from(version) * 4)?;
    check_base(superblock.u64()?)?;
    superblock.take(8)?;
    check_end(file, superblock.u64()?)?;
    superblock.take(8 + 8)?;
    superblock.u64()
}

fn check_widths(widths: &[u8]) -> Result<(), Hdf5Error> {
    if widths == [8, 8] { Ok(()) } else { Err(unknown("addresses or lengths that are not of 8 bytes")) }
}

fn check_base(base: u64) -> Result<(), Hdf5Error> {
    if base == 0 { Ok(()) } else { Err(unknown("something else in the file before its start")) }
}

fn check_end(file: &[u8], end: u64) -> Result<(), Hdf5Error> {
    let n_bytes = file.len();
    if end == n_bytes as u64 { Ok(()) } else { Err(damaged(format!("{n_bytes} bytes of {end}"))) }
}

/// Objects of global heaps by index, by the heaps' addresses.
type Heaps<'a> = BTreeMap<u64, BTreeMap<u64, &'a [u8]>>;

/// A message of an object header.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    kind: u64,
    flags: u8,
    body: Cursor<'a>,
}

pub(super) struct Reader<'a> {
    pub(super) file: &'a [u8],
    heaps: Heaps<'a>,
    /// Headers, messages, links, chunks, texts that may still come.
    n_parts_left: usize,
    /// Bytes of values, as they are stored, that may still come.
    n_bytes_left: usize,
}

impl<'a> Reader<'a> {
    /// Takes note of parts of the file, each of which is there once.
    pub(super) fn count_parts(&mut self, n: usize) -> Result<(), Hdf5Error> {
        let left = self.n_parts_left.checked_sub(n);
        self.n_parts_left = left.ok_or_else(|| damaged("more parts than a file of its length has room for"))?;
        Ok(())
    }

    /// Takes note of bytes of values, each of which is there once.
    pub(super) fn count_bytes(&mut self, n: usize) -> Result<(), Hdf5Error> {
        let left = self.n_bytes_left.checked_sub(n);
        self.n_bytes_left = left.ok_or_else(|| damaged("values that share their bytes"))?;
        Ok(())
    }

    fn item(&mut self, address: u64, depth: usize) -> Result<Item, Hdf5Error> {
        if depth > DEEPEST {
            return Err(damaged("groups within each other without end"));
        }
        let messages = self.messages(address)?;
        let find = |kind: u8| messages.iter().find(|message| message.kind == u64::from(kind));
        if find(message::LAYOUT).is_some() {
            return self.dataset(&messages).map(Item::Dataset);
        }
        if let Some(&Message { mut body, .. }) = find(message::SYMBOL_TABLE) {
            return self.old_group(body.u64()?, body.u64()?, depth).map(Item::Group);
        }
        if find(message::LINK_INFO).is_none() {
            return Err(unknown("an object that is neither group nor dataset"));
        }
        let mut group = Group::new();
        for Message { kind, mut body, .. } in messages {
            if kind == u64::from(message::LINK) {
                let (name, address) = link(body)?;
                add(&mut group, name, self.item(address, depth + 1)?)?;
            } else if kind == u64::from(message::LINK_INFO) {
                body.byte()?;
                let flags = body.byte()?;
                body.take(usize::from(flags & 1) * 8)?;
                if body.u64()? != UNDEFINED {
                    return Err(unknown("links in a heap of their own"));
                }
            }
        }
        Ok(Item::Group(group))
    }

    /// Messages of an object header (section IV.A.1).
    fn messages(&mut self, address: u64) -> Result<Vec<Message<'a>>, Hdf5Error> {
        let start = usize::try_from(address).map_err(|_| damaged("an address beyond its end"))?;
        let messages = match Cursor::at(self.file, start, 4)?.rest {
            b"OHDR" => self.new_messages(start)?,
            [1, 0, ..] => self.old_messages(start)?,
            _ => return Err(damaged("no object header where one is pointed at")),
        };
        self.count_parts(1 + messages.len())?;
        let needed = [message::DATASPACE, message::DATATYPE, message::LAYOUT, message::FILTERS].map(u64::from);
        match messages.iter().find(|message| message.flags >> 1 & 1 == 1 && needed.contains(&message.kind)) {
            Some(_) => Err(unknown("a type or shape that several datasets share")),
            None => Ok(messages),
        }
    }

    fn new_messages(&self, start: usize) -> Result<Vec<Message<'a>>, Hdf5Error> {
        let mut prefix = Cursor::at(self.file, start, 6)?;
        prefix.take(5)?;
        let flags = prefix.byte()?;
        // Times of 4 × 4 bytes, then limits of attribute storage of 2 × 2 bytes, if there.
        let more = usize::from(flags >> 5 & 1) * 16 + usize::from(flags >> 4 & 1) * 4;
        let width = 1 << (flags & 3);
        let mut sizes = Cursor::at(self.file, start + 6 + more, width)?;
        let n_bytes = sizes.number(width)?;
        let whole = usize::try_from(n_bytes).ok().and_then(|n| n.checked_add(6 + more + width + 4));
        let mut header =
            Cursor::at(self.file, start, whole.ok_or_else(|| damaged("an object header beyond its end"))?)?;
        header.check_sum()?;
        header.take(6 + more + width)?;
        let mut messages = Vec::new();
        // What is too short for a message is a gap.
        while header.left() >= 4 {
            let kind = header.number(1)?;
            let size = header.number(2)? as usize;
            let message_flags = header.byte()?;
            header.take(usize::from(flags >> 2 & 1) * 2)?;
            messages.push(Message { kind, flags: message_flags, body: Cursor { rest: header.take(size)? } });
        }
        if messages.iter().any(|message| message.kind == u64::from(message::CONTINUATION)) {
            return Err(unknown("an object header of version 2 in several parts"));
        }
        Ok(messages)
    }

    fn old_messages(&self, start: usize) -> Result<Vec<Message<'a>>, Hdf5Error> {
        let mut prefix = Cursor::at(self.file, start, 16)?;
        prefix.take(2)?;
        let n_messages = prefix.number(2)? as usize;
        prefix.take(4)?;
        let n_bytes = prefix.number(4)? as usize;
        let mut parts = vec![Cursor::at(self.file, start + 16, n_bytes)?];
        let mut messages = Vec::new();
        // A part is named by a message and messages are counted, so that parts that name each other end.
        while let Some(mut part) = parts.pop() {
            while part.left() >= 8 && messages.len() < n_messages {
                let (kind, size) = (part.number(2)?, part.number(2)? as usize);
                let flags = part.byte()?;
                part.take(3)?;
                let mut body = Cursor { rest: part.take(size)? };
                messages.push(Message { kind, flags, body });
                if kind == u64::from(message::CONTINUATION) {
                    parts.push(Cursor::at_address(self.file, body.u64()?, body.u64()?)?);
                }
            }
        }
        if messages.len() == n_messages { Ok(messages) } else { Err(damaged("an object header that ends too early")) }
    }

    /// A group of before HDF5 1.8: a tree of tables (sections III.A.1 and III.B), whose names lie in a heap (III.D).
    fn old_group(&mut self, tree: u64, heap: u64, depth: usize) -> Result<Group, Hdf5Error> {
        let mut prefix = Cursor::at_address(self.file, heap, 32)?;
        prefix.expect(*b"HEAP", "heap of names")?;
        prefix.take(4)?;
        let n_bytes = prefix.u64()?;
        prefix.take(8)?;
        let names = Cursor::at_address(self.file, prefix.u64()?, n_bytes)?.rest;
        let mut group = Group::new();
        for (_, table) in self.tree(tree, Tree::Group)? {
            let mut prefix = Cursor::at_address(self.file, table, 8)?;
            prefix.expect(*b"SNOD", "table of names")?;
            prefix.take(2)?;
            let n = prefix.number(2)?;
            self.count_parts(n as usize)?;
            let mut entries = Cursor::at_address(self.file, table + 8, n * 40)?;
            for _ in 0..n {
                let (at, address) = (entries.u64()?, entries.u64()?);
                let kind = entries.number(4)?;
                entries.take(4 + 16)?;
                if kind == 2 {
                    return Err(unknown("a link by name"));
                }
                let name = usize::try_from(at).ok().and_then(|at| names.get(at..));
                let name = name.and_then(|name| name.split(|&byte| byte == 0).next()).unwrap_or_default();
                let name = std::str::from_utf8(name).map_err(|_| damaged("a name that is not UTF-8"))?;
                add(&mut group, name.to_owned(), self.item(address, depth + 1)?)?;
            }
        }
        Ok(group)
    }

    /// Keys and addresses at the bottom of a tree of version 1 (section III.A.1).
    pub(super) fn tree(&mut self, address: u64, tree: Tree) -> Result<Vec<(Cursor<'a>, u64)>, Hdf5Error> {
        let mut bottom = Vec::new();
        let mut left = vec![(address, None)];
        while let Some((address, level)) = left.pop() {
            let mut node = Cursor::at_address(self.file, address, 24)?;
            node.expect(*b"TREE", "tree")?;
            if node.byte()? != tree.kind() {
                return Err(damaged("a tree of another kind"));
            }
            let found = node.byte()?;
            if level.is_some_and(|level| level != found) {
                return Err(damaged("a tree that does not go down"));
            }
            let n = node.number(2)?;
            self.count_parts(1 + n as usize)?;
            let key = tree.key_bytes();
            let mut entries = Cursor::at_address(self.file, address + 24, n * (key + 8))?;
            let mut children = Vec::new();
            for _ in 0..n {
                children.push((Cursor { rest: entries.take(key as usize)? }, entries.u64()?));
            }
            match found.checked_sub(1) {
                None => bottom.extend(children),
                Some(below) => left.extend(children.into_iter().rev().map(|(_, address)| (address, Some(below)))),
            }
        }
        Ok(bottom)
    }

    fn dataset(&mut self, messages: &[Message<'a>]) -> Result<Dataset, Hdf5Error> {
        let find = |kind: u8| messages.iter().find(|message| message.kind == u64::from(kind)).map(|found| found.body);
        let part = |kind, name: &str| find(kind).ok_or_else(|| damaged(format!("a dataset without {name}")));
        if find(message::EXTERNAL_FILES).is_some() {
            return Err(unknown("data in other files"));
        }
        let shape = dimensions(part(message::DATASPACE, "a shape")?)?;
        let values = ValueType::read(part(message::DATATYPE, "a type")?)?;
        let filters = find(message::FILTERS).map(chunks::filters).transpose()?.unwrap_or(Deflate::No);
        let n_values = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        let n_bytes = n_values.and_then(|n| n.checked_mul(values.width()));
        let n_bytes = n_bytes.ok_or_else(|| damaged(format!("a shape of {shape:?}")))?;
        let fits = |found: u64| {
            let text = || damaged(format!("{found} bytes of data for a shape of {shape:?}"));
            if found == n_bytes as u64 { Ok(()) } else { Err(text()) }
        };
        let mut layout = part(message::LAYOUT, "data")?;
        let version = layout.byte()?;
        if version != 3 {
            return Err(unknown(format!("data in a layout of version {version}, where 3 is read")));
        }
        let whole;
        let data = match layout.byte()? {
            layout::COMPACT => {
                let n = layout.number(2)?;
                fits(n)?;
                self.count_bytes(n_bytes)?;
                layout.take(n_bytes)?
            }
            layout::CONTIGUOUS => {
                let (address, n) = (layout.u64()?, layout.u64()?);
                fits(n)?;
                self.count_bytes(n_bytes)?;
                match (n, address) {
                    (0, _) => &[],
                    (_, UNDEFINED) => return Err(unknown("values that were never written")),
                    _ => Cursor::at_address(self.file, address, n)?.rest,
                }
            }
            layout::CHUNKED => {
                whole = self.chunked(layout, &shape, values.width(), filters)?;
                &whole
            }
            other => return Err(unknown(format!("data in a layout of class {other}"))),
        };
        Ok(Dataset { values: self.values(values, data)?, shape })
    }

    fn values(&mut self, kind: ValueType, data: &[u8]) -> Result<Values, Hdf5Error> {
        Ok(match kind {
            ValueType::F32 => {
                Values::F32(data.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect())
            }
            ValueType::F64 => {
                Values::F64(data.as_chunks::<8>().0.iter().map(|&word| f64::from_le_bytes(word)).collect())
            }
            ValueType::Integer { width, signed } => {
                let value = |bytes: &[u8]| {
                    // Its leading bit, the sign, goes on to the left.
                    let negative = signed && bytes[width - 1] >> 7 == 1;
                    let mut word = [if negative { 0xff } else { 0 }; 8];
                    word[..width].copy_from_slice(bytes);
                    let value = i64::from_le_bytes(word);
                    if value < 0 && !negative { Err(unknown("integers of 2⁶³ or more")) } else { Ok(value) }
                };
                Values::I64(data.chunks_exact(width).map(value).collect::<Result<_, _>>()?)
            }
            ValueType::Text => {
                let references = data.chunks_exact(REFERENCE).map(|rest| self.text(Cursor { rest }));
                Values::Text(references.collect::<Result<_, _>>()?)
            }
            ValueType::FixedText { width } => {
                let text = |bytes: &[u8]| utf8(bytes.split(|&byte| byte == 0).next().unwrap_or_default());
                Values::Text(data.chunks_exact(width).map(text).collect::<Result<_, _>>()?)
            }
        })
    }

    fn text(&mut self, mut reference: Cursor<'_>) -> Result<String, Hdf5Error> {
        let (length, address, index) = (reference.number(4)? as usize, reference.u64()?, reference.number(4)?);
        if length == 0 {
            return Ok(String::new());
        }
        self.count_bytes(length)?;
        let file = self.file;
        let heap = match self.heaps.entry(address) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let objects = heap(file, address)?;
                let left = self.n_parts_left.checked_sub(1 + objects.len());
                self.n_parts_left = left.ok_or_else(|| damaged("heaps that share their bytes"))?;
                new.insert(objects)
            }
        };
        let found = heap.get(&index).ok_or_else(|| damaged("a text that is in no heap"))?;
        utf8(found.get(..length).ok_or_else(|| damaged("a text shorter than it should be"))?)
    }
}

fn utf8(bytes: &[u8]) -> Result<String, Hdf5Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged("a text that is not UTF-8"))
}

/// A global heap collection's objects (section III.E).
fn heap(file: &[u8], address: u64) -> Result<BTreeMap<u64, &[u8]>, Hdf5Error> {
    let mut prefix = Cursor::at_address(file, address, 16)?;
    prefix.expect(*b"GCOL", "heap of texts")?;
    prefix.take(4)?;
    let mut heap = Cursor::at_address(file, address, prefix.u64()?)?;
    heap.take(16)?;
    let mut objects = BTreeMap::new();
    // What is too short for an object is free.
    while heap.left() >= 16 {
        let index = heap.number(2)?;
        heap.take(6)?;
        let size = usize::try_from(heap.u64()?).map_err(|_| damaged("a text beyond its end"))?;
        if index == 0 {
            break;
        }
        objects.insert(index, heap.take(size)?);
        heap.take((size.next_multiple_of(8) - size).min(heap.left()))?;
    }
    Ok(objects)
}

fn add(group: &mut Group, name: String, item: Item) -> Result<(), Hdf5Error> {
    match group.insert(name, item) {
        None => Ok(()),
        Some(_) => Err(damaged("two items of one name")),
    }
}

fn link(mut body: Cursor<'_>) -> Result<(String, u64), Hdf5Error> {
    body.byte()?;
    let flags = body.byte()?;
    let kind = if flags >> 3 & 1 == 1 { body.byte()? } else { 0 };
    if kind != 0 {
        return Err(unknown("a link by name"));
    }
    body.take(usize::from(flags >> 2 & 1) * 8 + usize::from(flags >> 4 & 1))?;
    let length = body.number(1 << (flags & 3))? as usize;
    let name = String::from_utf8(body.take(length)?.to_vec()).map_err(|_| damaged("a name that is not UTF-8"))?;
    Ok((name, body.u64()?))
}

/// Sizes of a dataset's dimensions (section IV.A.2.b).
fn dimensions(mut dataspace: Cursor<'_>) -> Result<Vec<usize>, Hdf5Error> {
    let (version, n_dimensions) = (dataspace.byte()?, dataspace.byte()?);
    dataspace.byte()?;
    match version {
        1 => _ = dataspace.take(5)?,
        // Kind 2 is no value at all.
        2 if dataspace.byte()? < 2 => {}
        2 => return Err(unknown("a dataset without a value")),
        _ => return Err(unknown(format!("a shape of version {version}"))),
    }
    let size = |_| usize::try_from(dataspace.u64()?).map_err(|_| damaged("a dimension beyond all memory"));
    (0..n_dimensions).map(size).collect()
}

/// Types of values that are read.
#[derive(Debug, Clone, Copy)]
enum ValueType {
    F32,
    F64,
    Integer {
        width: usize,
        signed: bool,
    },
    /// References to a global heap.
    Text,
    FixedText {
        width: usize,
    },
}

impl ValueType {
    fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Text => REFERENCE,
            Self::Integer { width, .. } | Self::FixedText { width } => width,
        }
    }

    /// From a datatype message (section IV.A.2.d).
    fn read(message: Cursor<'_>) -> Result<Self, Hdf5Error> {
        let mut body = message;
        let class = body.byte()? & 0x0f;
        let bits = body.take(3)?;
        let width = body.number(4)? as usize;
        let is = |known: &[u8]| message.rest.get(1..).is_some_and(|rest| rest.starts_with(&known[1..]));
        let of_class = |name: &str| Err(unknown(format!("values that are {name} of {width} bytes")));
        match class {
            0 => {
                let (first, n_bits) = (body.number(2)?, body.number(2)?);
                let whole = bits[0] & 1 == 0 && first == 0 && n_bits as usize == 8 * width;
                let signed = bits[0] >> 3 & 1 == 1;
                if whole && [1, 2, 4, 8].contains(&width) {
                    Ok(Self::Integer { width, signed })
                } else {
                    of_class("big-endian or packed integers")
                }
            }
            1 if is(&datatype::F32) => Ok(Self::F32),
            1 if is(&datatype::F64) => Ok(Self::F64),
            1 => of_class("floats, big-endian or neither of 32 nor of 64 bits,"),
            3 if width > 0 => Ok(Self::FixedText { width }),
            // Truth values are h5py's enumeration of 0 and 1.
            8 => match Self::read(body)? {
                Self::Integer { width: base, signed } if base == width => Ok(Self::Integer { width, signed }),
                _ => of_class("an enumeration of no integers"),
            },
            9 if bits[0] & 0x0f == 1 && width == REFERENCE => Ok(Self::Text),
            6 => of_class("compounds"),
            9 => of_class("lists"),
            other => of_class(&format!("of class {other}")),
        }
    }
}

/// Trees of before HDF5 1.8.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tree {
    /// Names in groups.
    Group,
    /// Chunks of a dataset of so many dimensions.
    Chunks(usize),
}

impl Tree {
    const fn kind(self) -> u8 {
        match self {
            Self::Group => 0,
            Self::Chunks(_) => 1,
        }
    }

    const fn key_bytes(self) -> u64 {
        match self {
            Self::Group => 8,
            // Its length, filters that are left out, its place and a zero for the bytes of a value.
            Self::Chunks(n_dimensions) => 8 + 8 * (n_dimensions as u64 + 1),
        }
    }
}

/// Bytes that are read one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn at(file: &'a [u8], start: usize, n: usize) -> Result<Self, Hdf5Error> {
        let part = start.checked_add(n).and_then(|end| file.get(start..end));
        part.map(|rest| Self { rest }).ok_or_else(|| damaged("it ends too early"))
    }

    pub(super) fn at_address(file: &'a [u8], address: u64, n: u64) -> Result<Self, Hdf5Error> {
        let fits = |value| usize::try_from(value).map_err(|_| damaged("an address beyond its end"));
        Self::at(file, fits(address)?, fits(n)?)
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Hdf5Error> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or_else(|| damaged("a part ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Hdf5Error> {
        self.take(1).map(|taken| taken[0])
    }

    /// A number of up to 8 bytes.
    pub(super) fn number(&mut self, width: usize) -> Result<u64, Hdf5Error> {
        let taken = self.take(width)?;
        Ok(taken.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Hdf5Error> {
        self.number(8)
    }

    /// Takes a part's signature off the front.
    fn expect(&mut self, signature: [u8; 4], name: &str) -> Result<(), Hdf5Error> {
        if self.take(4)? == signature { Ok(()) } else { Err(damaged(format!("no {name} where one is pointed at"))) }
    }

    /// Takes the checksum off the end and compares it.
    fn check_sum(&mut self) -> Result<(), Hdf5Error> {
        let (body, sum) = self.rest.split_last_chunk::<4>().ok_or_else(|| damaged("a part ends too early"))?;
        if lookup3(body) != u32::from_le_bytes(*sum) {
            return Err(damaged("a checksum does not match"));
        }
        self.rest = body;
        Ok(())
    }
}
