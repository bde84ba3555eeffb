//! Graphs that the reference package `nir` wrote, read without it: every value is h5py's.
//!
//! `scripts/peers/make_nir_fixture.py` makes the fixtures, and names versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use export::hdf5::{self, Dataset, Group, Hdf5Error, Item, Values};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

/// What h5py found in one dataset.
#[derive(Debug, Deserialize)]
struct Expected {
    shape: Vec<usize>,
    dtype: String,
    chunks: usize,
    /// Of a long dataset, every so-manieth value is there.
    every: usize,
    values: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Fixture {
    datasets: BTreeMap<String, Expected>,
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// Every dataset by its path.
fn flat<'a>(group: &'a Group, prefix: &str, all: &mut BTreeMap<String, &'a Dataset>) {
    for (name, item) in group {
        match item {
            Item::Group(group) => flat(group, &format!("{prefix}{name}/"), all),
            Item::Dataset(dataset) => _ = all.insert(format!("{prefix}{name}"), dataset),
        }
    }
}

#[test]
fn every_value_is_what_h5py_reads() {
    let fixture: Fixture = serde_json::from_slice(&bytes("nir.json")).unwrap();
    let root = hdf5::read(&bytes("nir.nir")).unwrap();
    let mut found = BTreeMap::new();
    flat(&root, "", &mut found);
    assert_eq!(found.keys().collect::<Vec<_>>(), fixture.datasets.keys().collect::<Vec<_>>());
    let mut types = Vec::new();
    for (name, Expected { shape, dtype, every, values, .. }) in &fixture.datasets {
        let dataset = found[name];
        assert_eq!(dataset.shape, *shape, "{name}");
        let (kind, all): (&str, Vec<Value>) = match &dataset.values {
            Values::F32(values) => ("<f4", values.iter().map(|&value| f64::from(value).into()).collect()),
            Values::F64(values) => ("<f8", values.iter().map(|&value| value.into()).collect()),
            Values::I64(values) => ("integer", values.iter().map(|&value| value.into()).collect()),
            Values::Text(values) => ("|O", values.iter().map(|value| value.as_str().into()).collect()),
        };
        let is_integer = ["<i8", "<i2", "|b1"].contains(&dtype.as_str());
        assert_eq!(kind, if is_integer { "integer" } else { dtype.as_str() }, "{name}");
        assert_eq!(all.into_iter().step_by(*every).collect::<Vec<_>>(), *values, "{name}");
        types.push(dtype.as_str());
    }
    // The fixture has what the claim is about: all types, more names than a table of them holds, several chunks.
    assert!(["<f4", "<f8", "<i8", "<i2", "|b1", "|O"].iter().all(|kind| types.contains(kind)));
    assert!(root["node"].group()["nodes"].group().len() > 8);
    assert_eq!(fixture.datasets["node/nodes/linear/weight"].chunks, 16);
}

trait AsGroup {
    fn group(&self) -> &Group;
}

impl AsGroup for Item {
    fn group(&self) -> &Group {
        let Self::Group(group) = self else { panic!("no group: {self:?}") };
        group
    }
}

#[test]
fn values_are_the_same_whether_compressed_or_not() {
    let nodes = |name| hdf5::read(&bytes(name)).unwrap()["node"].group()["nodes"].group().clone();
    let [packed, plain] = ["nir.nir", "nir-plain.nir"].map(nodes);
    assert_eq!(plain.keys().collect::<Vec<_>>(), ["conv", "if", "input"]);
    for (name, node) in &plain {
        assert_eq!(*node, packed[name], "{name}");
    }
}

#[test]
fn a_file_cut_short_is_refused() {
    let whole = bytes("nir-plain.nir");
    for length in (0..whole.len()).step_by(7) {
        assert!(hdf5::read(&whole[..length]).is_err(), "{length} bytes");
    }
}

/// Where some bytes are, each time that they are there.
fn places(file: &[u8], part: &[u8]) -> Vec<usize> {
    (0..file.len() - part.len()).filter(|&at| file[at..].starts_with(part)).collect()
}

#[test]
fn a_group_within_itself_ends_in_an_error() {
    // Every entry of every table of names leads to the root group's header.
    let mut file = bytes("nir-plain.nir");
    let root: [u8; 8] = file[64..72].try_into().unwrap();
    for table in places(&file, b"SNOD") {
        let n = usize::from(file[table + 6]);
        for entry in 0..n {
            file[table + 8 + 40 * entry + 8..][..8].copy_from_slice(&root);
        }
    }
    assert!(matches!(hdf5::read(&file), Err(Hdf5Error::Damaged(_))), "{:?}", hdf5::read(&file));
}

#[test]
fn a_tree_that_leads_back_to_itself_ends_in_an_error() {
    let mut file = bytes("nir.nir");
    for tree in places(&file, b"TREE") {
        // One level up, and its first child is itself.
        file[tree + 5] = 1;
        let key = if file[tree + 4] == 0 { 8 } else { 24 };
        file[tree + 24 + key..][..8].copy_from_slice(&(tree as u64).to_le_bytes());
    }
    assert_eq!(hdf5::read(&file), Err(Hdf5Error::Damaged("a tree that does not go down".to_owned())));
}

#[test]
fn chunks_that_were_never_written_are_not_taken_for_zeros() {
    let mut file = bytes("nir.nir");
    // Layouts of two dimensions, in chunks; the tree of them is at an address.
    let layouts: Vec<usize> = places(&file, &[3, 2, 3]).into_iter().map(|at| at + 3).collect();
    let trees = layouts.into_iter().filter(|&at| {
        let tree = usize::try_from(u64::from_le_bytes(file[at..at + 8].try_into().unwrap())).unwrap_or(usize::MAX);
        file.get(tree..).is_some_and(|tree| tree.starts_with(b"TREE"))
    });
    let trees: Vec<usize> = trees.collect();
    assert_eq!(trees.len(), 2, "weights of `affine` and `linear`");
    for at in trees {
        file[at..at + 8].fill(0xff);
    }
    assert_eq!(hdf5::read(&file), Err(Hdf5Error::Unknown("values that were never written".to_owned())));
}

#[test]
fn a_chunk_that_claims_more_than_it_can_unpack_to_takes_no_memory() {
    let whole = bytes("nir.nir");
    // The layout of the weights of 301 × 130, whose chunks it says the sizes of; then a billion times as many.
    let weights = places(&whole, &[301_u64.to_le_bytes(), 130_u64.to_le_bytes()].concat());
    assert!(!weights.is_empty());
    let mut file = whole;
    for at in weights {
        file[at..at + 8].copy_from_slice(&(301_u64 << 30).to_le_bytes());
    }
    let error = hdf5::read(&file).unwrap_err().to_string();
    assert!(error.contains("data of more than") || error.contains("chunks of"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_bytes_never_panic(
        name in prop::sample::select(vec!["nir.nir", "nir-plain.nir"]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        word in any::<prop::sample::Index>(),
    ) {
        let mut file = bytes(name);
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        // And a word that is an address or a length, rather than one of values, is another one.
        let words: Vec<usize> = (0..file.len() / 8).map(|word| word * 8)
            .filter(|&at| file[at + 3..at + 8] == [0; 5] && file[at..at + 3] != [0; 3]).collect();
        let at = *word.get(&words);
        file[at + 1] ^= 3;
        _ = hdf5::read(&file);
    }
}
