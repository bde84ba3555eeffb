//! IDX files of any name, rank and type of numbers, gzipped or not: EMNIST, KMNIST, QMNIST and their kin.
//!
//! They are known by their first bytes. Their names say which samples they hold: `train`, or `test` or `t10k`, and `images` or `labels`;
//! where a name says neither of the last two, the array's rank does.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use model::config::DataConfig;

use super::array::Layout;
use super::{Opened, Pixels, Read, check_alike, check_counts, entries, has_ending, name, open_file, refused};
use crate::elements::{Element, Order};
use crate::idx::Source;
use crate::labels::RawLabels;
use crate::source::text;
use crate::{DatasetError, Split};

/// Files that are of another format for certain, and are not looked into.
const OTHERS: [&str; 9] = ["safetensors", "npz", "npy", "bin", "png", "jpg", "jpeg", "txt", "toml"];

/// A file whose header has been read.
#[derive(Debug, Clone)]
struct IdxFile {
    path: PathBuf,
    element: Element,
    shape: Vec<usize>,
}

pub(super) fn find(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    Ok(files(path)?.into_iter().map(|file| file.path).collect())
}

/// The IDX files of a folder, or those of the folder above whose names begin as the path ends.
fn files(path: &Path) -> Result<Vec<IdxFile>, DatasetError> {
    let (folder, prefix) = match path.parent() {
        Some(parent) if !path.exists() => (parent.to_owned(), name(path)),
        // What torchvision keeps its downloads in.
        _ if path.join("raw").is_dir() => (path.join("raw"), String::new()),
        _ => (path.to_owned(), String::new()),
    };
    let mut files = Vec::new();
    for path in entries(&folder)? {
        if name(&path).starts_with(&prefix) && path.is_file() && !has_ending(&path, &OTHERS) {
            files.extend(IdxFile::open(&path)?);
        }
    }
    // Of a file and its gzipped self, the file.
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    files.retain(|file| !has_ending(&file.path, &["gz"]) || !paths.contains(&file.path.with_extension("")));
    Ok(files)
}

pub(super) fn open(path: &Path, config: &DataConfig, input: Option<[usize; 3]>) -> Result<Opened, DatasetError> {
    let mut roles: BTreeMap<(usize, bool), Vec<IdxFile>> = BTreeMap::new();
    for file in files(path)? {
        let Some(split) = file.split() else {
            return Err(refused(
                &file.path,
                "an IDX file whose name says neither `train` nor `test`".to_owned(),
                "rename it, say to test-images-idx3-ubyte",
            ));
        };
        roles.entry((split as usize, file.is_labels())).or_default().push(file);
    }
    if let Some(several) = roles.values().find(|files| files.len() > 1) {
        let names: Vec<String> = several.iter().map(|file| name(&file.path)).collect();
        return Err(refused(
            path,
            format!("holds several sets of IDX files: {}", names.join(", ")),
            "set data.path to the folder and what the names of one set begin with, such as data/emnist/emnist-letters",
        ));
    }
    let mut take =
        |split: Split, is_labels| roles.remove(&(split as usize, is_labels)).and_then(|mut files| files.pop());
    let mut open = |split| match (take(split, false), take(split, true)) {
        (None, None) => Ok(None),
        (Some(images), Some(labels)) => self::split(images, &labels, config, input).map(Some),
        (Some(alone), None) | (None, Some(alone)) => {
            let other = if alone.is_labels() { "images" } else { "labels" };
            Err(refused(
                &alone.path,
                format!("there are no {other} of the same samples"),
                "get both files from one source",
            ))
        }
    };
    let splits = [open(Split::Train)?, open(Split::Test)?];
    let shape = check_alike(
        splits.each_ref().map(|split| split.as_ref().map(|(layout, place, ..)| (layout.shape, place.clone()))),
    )?;
    let splits = splits.map(|split| split.map(|(_, _, labels, pixels)| (labels, pixels)));
    Ok(Opened { shape, class_names: None, notes: Vec::new(), splits })
}

fn split(
    images: IdxFile,
    labels: &IdxFile,
    config: &DataConfig,
    input: Option<[usize; 3]>,
) -> Result<(Layout, String, RawLabels, Pixels), DatasetError> {
    let place = text(&images.path);
    let layout = Layout::of(&place, &images.shape, false, input)?;
    let label_place = text(&labels.path);
    let read = labels.element.labels(Order::Big, &labels.read()?, &label_place)?;
    let raw = RawLabels::of_array(label_place, read, &labels.shape, config.label_column)?;
    check_counts(&place, images.shape[0], &raw)?;
    let pixels = Pixels::Array(Read(Box::new(move || {
        let values = images.element.values(Order::Big, images.read()?, &text(&images.path), layout.n_features())?;
        Ok(layout.ordered(values))
    })));
    Ok((layout, place, raw, pixels))
}

impl IdxFile {
    /// `None` if it is no IDX file.
    fn open(path: &Path) -> Result<Option<Self>, DatasetError> {
        let mut source = Source::new(path, BufReader::new(open_file(path)?))?;
        let magic = match source.read_up_to(4) {
            Ok(magic) => magic,
            // Another file's damage is not ours to tell, unless it is named as those are that are looked for.
            Err(DatasetError::DamagedGzip { .. }) if !name(path).contains("idx") => return Ok(None),
            Err(error) => return Err(error),
        };
        let [0, 0, code, rank @ 1..=4] = magic[..] else { return Ok(None) };
        let Some(element) = element(code) else { return Ok(None) };
        let n_sizes = 4 * u64::from(rank);
        let sizes = source.read_up_to(n_sizes)?;
        if (sizes.len() as u64) < n_sizes {
            let (found, expected) = (4 + sizes.len() as u64, 4 + n_sizes);
            return Err(DatasetError::Truncated { path: path.to_owned(), found, expected });
        }
        let shape = sizes.as_chunks::<4>().0.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
        Ok(Some(Self { path: path.to_owned(), element, shape }))
    }

    fn split(&self) -> Option<Split> {
        let name = name(&self.path).to_lowercase();
        if name.contains("train") {
            Some(Split::Train)
        } else if name.contains("test") || name.contains("t10k") {
            Some(Split::Test)
        } else {
            None
        }
    }

    fn is_labels(&self) -> bool {
        let name = name(&self.path).to_lowercase();
        let has = |words: [&str; 2]| words.iter().any(|word| name.contains(word));
        has(["label", "target"]) || !has(["image", "img"]) && self.shape.len() == 1
    }

    /// Its numbers, of just the length that its header says.
    fn read(&self) -> Result<Vec<u8>, DatasetError> {
        let mut source = Source::new(&self.path, BufReader::new(open_file(&self.path)?))?;
        let header = 4 + 4 * self.shape.len() as u64;
        source.read_up_to(header)?;
        source.body(header, self.element.n_bytes(&self.shape).min(u64::MAX - header))
    }
}

/// The type of numbers that a magic number names.
fn element(code: u8) -> Option<Element> {
    Some(match code {
        0x08 => Element::U8,
        0x09 => Element::I8,
        0x0b => Element::I16,
        0x0c => Element::I32,
        0x0d => Element::F32,
        0x0e => Element::F64,
        _ => return None,
    })
}
