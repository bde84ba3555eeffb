//! The part of HDF5 that a NIR graph needs: groups, and datasets of numbers and UTF-8 text.
//!
//! [`bytes`] writes the format that HDF5 1.8 brought in, which every reader since then knows: a superblock of version 2, object
//! headers of version 2 with the links in them, contiguous data, texts of variable length in global heaps. [`read`] understands
//! that, and what h5py writes by default, which the reference package `nir` uses: the format of before, with its trees of names
//! and its chunks, compressed by gzip. It says what it meets otherwise.
//!
//! Source: *HDF5 File Format Specification Version 3.0*, The HDF Group; the sections are named below. The pure-Rust crates that
//! read and write HDF5 are months old, change weekly and are tens of thousands of lines each, for a file of a few dozen arrays.

mod chunks;
mod read;

use std::collections::BTreeMap;

use thiserror::Error;

pub use read::read;

/// What a name in a group stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// More names.
    Group(Group),
    /// An array.
    Dataset(Dataset),
}

/// Names in a group, in the order in which they are found.
pub type Group = BTreeMap<String, Item>;

/// An array.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Sizes of its dimensions; none for a single value.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Values,
}

/// Values of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// Integers, in 64 bits whatever they are stored in; truth values are 0 and 1.
    I64(Vec<i64>),
    /// UTF-8 texts of any length.
    Text(Vec<String>),
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Item {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Dataset(Dataset { shape: Vec::new(), values: Values::Text(vec![text.into()]) })
    }

    /// A number.
    pub fn integer(value: i64) -> Self {
        Self::Dataset(Dataset { shape: Vec::new(), values: Values::I64(vec![value]) })
    }

    /// A list of numbers.
    pub fn integers(values: impl IntoIterator<Item = usize>) -> Self {
        let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
        Self::Dataset(Dataset { shape: vec![values.len()], values: Values::I64(values) })
    }

    /// An array of floats.
    pub fn floats(shape: &[usize], values: Vec<f32>) -> Self {
        Self::Dataset(Dataset { shape: shape.to_vec(), values: Values::F32(values) })
    }

    /// A group of the items that are given.
    pub fn group<N: Into<String>>(items: impl IntoIterator<Item = (N, Item)>) -> Self {
        Self::Group(items.into_iter().map(|(name, item)| (name.into(), item)).collect())
    }
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Hdf5Error {
    /// It is something else.
    #[error("not an HDF5 file")]
    Foreign,
    /// It ends too early, or its parts contradict each other.
    #[error("damaged HDF5 file: {0}")]
    Damaged(String),
    /// It may well be a whole HDF5 file.
    #[error("an HDF5 file of a kind that is not read here: {0}")]
    Unknown(String),
}

const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Length of the superblock.
const SUPERBLOCK: usize = 48;

/// An address that leads nowhere.
const UNDEFINED: u64 = u64::MAX;

/// Smallest global heap that the HDF5 library reads.
const SMALLEST_HEAP: usize = 4096;

/// Texts of a global heap: their indices are of 16 bits, and 0 is none.
const HEAP_TEXTS: usize = 32_768;

/// Messages of object headers (section IV.A.2).
mod message {
    pub const DATASPACE: u8 = 0x01;
    pub const LINK_INFO: u8 = 0x02;
    pub const DATATYPE: u8 = 0x03;
    pub const FILL_VALUE: u8 = 0x05;
    pub const LINK: u8 = 0x06;
    pub const EXTERNAL_FILES: u8 = 0x07;
    pub const LAYOUT: u8 = 0x08;
    pub const GROUP_INFO: u8 = 0x0a;
    pub const FILTERS: u8 = 0x0b;
    pub const CONTINUATION: u8 = 0x10;
    pub const SYMBOL_TABLE: u8 = 0x11;
}

/// Where a dataset's values are (section IV.A.2.i).
mod layout {
    pub const COMPACT: u8 = 0;
    pub const CONTIGUOUS: u8 = 1;
    pub const CHUNKED: u8 = 2;
}

/// Datatype messages (section IV.A.2.d): class and version, bit field, size of a value, properties.
#[rustfmt::skip]
mod datatype {
    /// Class 1: little-endian, the leading bit of the mantissa implied, the sign in bit 31; 32 bits from bit 0 on, 8 of them the
    /// exponent from bit 23 on, 23 the mantissa; exponent bias 127.
    pub const F32: [u8; 20] = [0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
    /// The same in 64 bits, 11 of them the exponent from bit 52 on; exponent bias 1023.
    pub const F64: [u8; 20] = [0x11, 0x20, 63, 0, 8, 0, 0, 0, 0, 0, 64, 0, 52, 11, 0, 52, 0xff, 3, 0, 0];
    /// Class 0: little-endian, signed; 64 bits from bit 0 on.
    pub const I64: [u8; 12] = [0x10, 0x08, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0];
    /// Class 9: texts in UTF-8, ended by a zero; a length and where the text is, of single bytes (class 3).
    pub const TEXT: [u8; 16] = [0x19, 0x01, 0x01, 0, 16, 0, 0, 0, 0x13, 0x10, 0, 0, 1, 0, 0, 0];
}

/// Length of a text's reference: its length, the heap's address, the index there.
const REFERENCE: usize = 4 + 8 + 4;

/// A file that holds a group's items.
pub fn bytes(root: &Group) -> Vec<u8> {
    let mut writer = Writer { file: vec![0; SUPERBLOCK], references: Vec::new() };
    let mut texts = Vec::new();
    collect_texts(root, &mut texts);
    for heap in texts.chunks(HEAP_TEXTS) {
        writer.heap(heap);
    }
    writer.references.reverse();
    let root = writer.group(root);
    writer.superblock(root);
    writer.file
}

/// All texts, in the order in which their datasets are written.
fn collect_texts<'a>(group: &'a Group, texts: &mut Vec<&'a str>) {
    for item in group.values() {
        match item {
            Item::Group(group) => collect_texts(group, texts),
            Item::Dataset(Dataset { values: Values::Text(values), .. }) => {
                texts.extend(values.iter().map(String::as_str));
            }
            Item::Dataset(_) => {}
        }
    }
}

struct Writer {
    file: Vec<u8>,
    /// References to the texts that are still to be written, the next one last.
    references: Vec<[u8; REFERENCE]>,
}

impl Writer {
    /// Where the next part goes: everything begins at a multiple of 8.
    fn next(&mut self) -> u64 {
        self.file.resize(self.file.len().next_multiple_of(8), 0);
        self.file.len() as u64
    }

    /// A global heap collection (section III.E).
    fn heap(&mut self, texts: &[&str]) {
        let address = self.next();
        let mut objects = Vec::new();
        for (text, index) in texts.iter().zip(1_u16..) {
            objects.extend(index.to_le_bytes());
            // A reference count of 0, which nobody counts; 4 bytes reserved.
            objects.extend([0; 6]);
            objects.extend((text.len() as u64).to_le_bytes());
            objects.extend(text.as_bytes());
            objects.resize(objects.len().next_multiple_of(8), 0);
            let mut reference = [0; REFERENCE];
            reference[..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
            reference[4..12].copy_from_slice(&address.to_le_bytes());
            reference[12..].copy_from_slice(&u32::from(index).to_le_bytes());
            self.references.push(reference);
        }
        // Object 0, the free space, its own 16 bytes of description counted.
        let size = (16 + objects.len() + 16).max(SMALLEST_HEAP);
        let free = size - 16 - objects.len();
        objects.extend([0; 8]);
        objects.extend((free as u64).to_le_bytes());
        objects.resize(size - 16, 0);
        self.file.extend(b"GCOL\x01\0\0\0");
        self.file.extend((size as u64).to_le_bytes());
        self.file.extend(objects);
    }

    /// Writes a group and everything in it; returns its address.
    fn group(&mut self, group: &Group) -> u64 {
        // No index of links: they are in the header.
        let mut link_info = vec![0, 0];
        link_info.extend(UNDEFINED.to_le_bytes());
        link_info.extend(UNDEFINED.to_le_bytes());
        let mut messages = vec![(message::LINK_INFO, link_info), (message::GROUP_INFO, vec![0, 0])];
        for (name, item) in group {
            let address = match item {
                Item::Group(group) => self.group(group),
                Item::Dataset(dataset) => self.dataset(dataset),
            };
            // A hard link, its name's length in 2 bytes, in UTF-8.
            let mut link = vec![1, 0x11, 1];
            link.extend((name.len() as u16).to_le_bytes());
            link.extend(name.as_bytes());
            link.extend(address.to_le_bytes());
            messages.push((message::LINK, link));
        }
        self.header(&messages)
    }

    fn dataset(&mut self, dataset: &Dataset) -> u64 {
        let Dataset { shape, values } = dataset;
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a dataset has as many values as its shape");
        let address = self.next();
        let datatype = match values {
            Values::F32(values) => {
                self.file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                &datatype::F32[..]
            }
            Values::F64(values) => {
                self.file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                &datatype::F64[..]
            }
            Values::I64(values) => {
                self.file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                &datatype::I64[..]
            }
            Values::Text(values) => {
                for _ in values {
                    let reference = self.references.pop().expect("each text has been put into a heap");
                    self.file.extend(reference);
                }
                &datatype::TEXT[..]
            }
        };
        let size = self.file.len() as u64 - address;
        let mut dataspace = vec![2, shape.len() as u8, 0, u8::from(!shape.is_empty())];
        dataspace.extend(shape.iter().flat_map(|&size| (size as u64).to_le_bytes()));
        let mut layout = vec![3, layout::CONTIGUOUS];
        layout.extend(if size == 0 { UNDEFINED } else { address }.to_le_bytes());
        layout.extend(size.to_le_bytes());
        self.header(&[
            (message::DATASPACE, dataspace),
            (message::DATATYPE, datatype.to_vec()),
            // Space allocated late, filled if a value is set; none is.
            (message::FILL_VALUE, vec![3, 0x0a]),
            (message::LAYOUT, layout),
        ])
    }

    /// An object header of version 2 (section IV.A.1.b); returns its address.
    fn header(&mut self, messages: &[(u8, Vec<u8>)]) -> u64 {
        let address = self.next();
        let n_bytes: usize = messages.iter().map(|(_, body)| 4 + body.len()).sum();
        // The size of all messages is given in 4 bytes.
        self.file.extend(b"OHDR\x02\x02");
        self.file.extend((n_bytes as u32).to_le_bytes());
        for (kind, body) in messages {
            self.file.push(*kind);
            self.file.extend((body.len() as u16).to_le_bytes());
            self.file.push(0);
            self.file.extend(body);
        }
        let checksum = lookup3(&self.file[address as usize..]);
        self.file.extend(checksum.to_le_bytes());
        address
    }

    /// The superblock of version 2 (section II.A).
    fn superblock(&mut self, root: u64) {
        let end = self.file.len() as u64;
        let mut superblock = SIGNATURE.to_vec();
        // Addresses and lengths of 8 bytes, no flags, base address 0.
        superblock.extend([2, 8, 8, 0]);
        for address in [0, UNDEFINED, end, root] {
            superblock.extend(address.to_le_bytes());
        }
        superblock.extend(lookup3(&superblock).to_le_bytes());
        self.file[..SUPERBLOCK].copy_from_slice(&superblock);
    }
}

/// Checksum of metadata: Bob Jenkins' `lookup3` (2006, public domain), `hashlittle` from 0.
fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let [mut a, mut b, mut c] = [start; 3];
    let mut rest = bytes;
    let words = |block: &[u8]| -> [u32; 3] {
        let mut padded = [0; 12];
        padded[..block.len()].copy_from_slice(block);
        let word = |at: usize| u32::from_le_bytes([padded[at], padded[at + 1], padded[at + 2], padded[at + 3]]);
        [word(0), word(4), word(8)]
    };
    let add = |[a, b, c]: [u32; 3], [x, y, z]: [u32; 3]| [a.wrapping_add(x), b.wrapping_add(y), c.wrapping_add(z)];
    while rest.len() > 12 {
        [a, b, c] = add([a, b, c], words(&rest[..12]));
        a = a.wrapping_sub(c) ^ c.rotate_left(4);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(6);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(8);
        b = b.wrapping_add(a);
        a = a.wrapping_sub(c) ^ c.rotate_left(16);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(19);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(4);
        b = b.wrapping_add(a);
        rest = &rest[12..];
    }
    if rest.is_empty() {
        return c;
    }
    [a, b, c] = add([a, b, c], words(rest));
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

fn damaged(found: impl Into<String>) -> Hdf5Error {
    Hdf5Error::Damaged(found.into())
}

fn unknown(found: impl Into<String>) -> Hdf5Error {
    Hdf5Error::Unknown(found.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Group {
        let Item::Group(root) = Item::group([
            ("version", Item::text("1.0")),
            (
                "node",
                Item::group([
                    ("weight", Item::floats(&[2, 3], vec![1.0, -2.5, 0.0, 3.0, f32::MIN_POSITIVE, 6.0])),
                    ("stride", Item::integers([1, 2])),
                    ("groups", Item::integer(-1)),
                    ("empty", Item::integers([])),
                    ("r", Item::Dataset(Dataset { shape: vec![2], values: Values::F64(vec![0.1, -1e300]) })),
                    ("nothing", Item::Group(Group::new())),
                    (
                        "edges",
                        Item::Dataset(Dataset {
                            shape: vec![2, 2],
                            values: Values::Text(
                                ["a", "", "schön", "a text longer than eight bytes"].map(str::to_owned).into(),
                            ),
                        }),
                    ),
                ]),
            ),
        ]) else {
            unreachable!("a group was made")
        };
        root
    }

    #[test]
    fn the_checksum_is_that_of_its_authors_test() {
        // The self-test of lookup3.c.
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
        assert_eq!(lookup3(b""), 0xdead_beef);
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(read(&bytes(&example())).unwrap(), example());
    }

    #[test]
    fn more_texts_than_one_heap_holds_are_read_back() {
        let texts: Vec<String> = (0..HEAP_TEXTS + 3).map(|i| i.to_string()).collect();
        let root: Group =
            [("texts".to_owned(), Item::Dataset(Dataset { shape: vec![texts.len()], values: Values::Text(texts) }))]
                .into();
        let file = bytes(&root);
        let heaps = file.windows(4).filter(|window| window == b"GCOL").count();
        assert_eq!(heaps, 2);
        assert_eq!(read(&file).unwrap(), root);
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        let whole = bytes(&example());
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn files_of_other_kinds_are_told_from_damaged_ones() {
        assert_eq!(read(b"PK\x03\x04 no HDF5 at all"), Err(Hdf5Error::Foreign));
        let mut old = bytes(&example());
        old[8] = 9;
        assert!(matches!(read(&old), Err(Hdf5Error::Unknown(found)) if found.contains("version 9")));
        let mut damaged = bytes(&example());
        damaged[20] ^= 1;
        assert_eq!(read(&damaged), Err(Hdf5Error::Damaged("a checksum does not match".to_owned())));
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_panics(at in 0..bytes(&example()).len(), change in 1..=255_u8) {
            let mut file = bytes(&example());
            file[at] ^= change;
            // A value may change, a structure may not: it is under a checksum.
            if let Ok(group) = read(&file) {
                prop_assert_eq!(group.keys().collect::<Vec<_>>(), ["node", "version"]);
            }
        }

        #[test]
        fn arbitrary_bytes_behind_the_signature_never_panic(rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let file = [SIGNATURE.as_slice(), &[2], &rest].concat();
            prop_assert!(read(&file).is_err());
        }
    }
}
