//! A user's own samples, in the formats that people have them in: one file for each, tried in [`FORMATS`].
//!
//! What lies in a folder is found out by looking: names where a format has fixed ones, first bytes where it has not. If it is of
//! several kinds the user has to say which. A reader checks headers and reads labels at once; pixels when they are asked for.

mod archive;
mod array;
mod batches;
mod idx;
pub(crate) mod pictures;
mod tensors;

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::config::DataConfig;

use crate::elements::Values;
use crate::labels::RawLabels;
use crate::source::text;
use crate::{DatasetError, Split};
use pictures::{Folder, Geometry};

/// Most bytes of samples that are read into memory: 16 GiB.
pub(crate) const MAX_BYTES: u64 = 1 << 34;

/// A user's own data set whose files have been looked at.
pub(crate) struct Opened {
    /// `[C, H, W]`
    pub(crate) shape: [usize; 3],
    /// Names of the classes, if the files give them.
    pub(crate) class_names: Option<Vec<String>>,
    /// What the user should know, one sentence each.
    pub(crate) notes: Vec<String>,
    /// Training and test samples.
    pub(crate) splits: [Option<(RawLabels, Pixels)>; 2],
}

/// Where the pixels of a split are.
#[derive(Debug)]
pub(crate) enum Pixels {
    /// In one array `[N, C, H, W]`.
    Array(Read),
    /// In a file for each sample.
    Files { folder: Arc<Folder>, files: Vec<usize>, geometry: Geometry },
}

/// Reads an array of pixels.
pub(crate) struct Read(pub(crate) Box<dyn Fn() -> Result<Values, DatasetError> + Send + Sync>);

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

/// One format.
struct Format {
    /// What it is, for a list.
    name: &'static str,
    /// The files of the format that a path leads to, for a list; empty if there are none.
    find: fn(&Path) -> Result<Vec<PathBuf>, DatasetError>,
    open: Open,
}

/// Opens what a path leads to.
///
/// - shape: that of the network's input, if it is known
type Open = fn(&Path, &DataConfig, Option<[usize; 3]>) -> Result<Opened, DatasetError>;

const FORMATS: [Format; 5] = [
    Format { name: "safetensors files", find: tensors::find, open: tensors::open },
    Format { name: "a NumPy archive", find: archive::find, open: archive::open },
    Format { name: "IDX files", find: idx::find, open: idx::open },
    Format { name: "CIFAR's binary files", find: batches::find, open: batches::open },
    Format { name: "pictures in a folder for each class", find: pictures::find, open: pictures::open },
];

/// What can lie in `data.path`.
const REMEDY: &str = "set data.path to a folder with train.safetensors and test.safetensors (of images and labels each), IDX files, \
     CIFAR-100's train.bin and test.bin, or train/ and test/ with a folder of pictures for each class; or to an .npz file";

/// Looks at what lies in a path.
///
/// # Errors
/// [`DatasetError`] if nothing is there, nothing that is known, or several kinds of files; and what the format's reader says.
pub(crate) fn open(path: &Path, config: &DataConfig, input: Option<[usize; 3]>) -> Result<Opened, DatasetError> {
    let mut found = Vec::new();
    for format in &FORMATS {
        let files = (format.find)(path)?;
        if !files.is_empty() {
            found.push((format, files));
        }
    }
    match &found[..] {
        [(format, _)] => (format.open)(path, config, input),
        [] if path.is_dir() && pictures::are_in(path)? => {
            let remedy = "put them into folders, one for each class, in the order of the network's outputs";
            Err(refused(path, "holds pictures, and no folder for each class with them".to_owned(), remedy))
        }
        [] if path.is_dir() => Err(refused(path, "holds no samples of a kind that is read".to_owned(), REMEDY)),
        [] if path.exists() => Err(refused(path, "is no file of samples that is read".to_owned(), REMEDY)),
        [] => Err(DatasetError::MissingFolder { path: path.to_owned(), remedy: REMEDY.to_owned() }),
        several => {
            let kind = |(format, files): &(&Format, Vec<PathBuf>)| {
                let names: Vec<String> = files.iter().take(3).map(|file| name(file)).collect();
                let more = if files.len() > 3 { ", …" } else { "" };
                format!("{} ({}{more})", format.name, names.join(", "))
            };
            let kinds: Vec<String> = several.iter().map(kind).collect();
            let remedy = "keep one kind in the folder, or set data.path to it";
            Err(refused(path, format!("holds samples of several kinds: {}", kinds.join("; ")), remedy))
        }
    }
}

/// A split that the files do not have.
pub(crate) fn missing(path: &Path, split: Split) -> DatasetError {
    let which = match split {
        Split::Train => "training",
        Split::Test => "test",
    };
    refused(path, format!("holds no {which} samples"), REMEDY)
}

fn refused(path: &Path, found: String, remedy: &str) -> DatasetError {
    DatasetError::Refused { place: text(path), found, remedy: remedy.to_owned() }
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> DatasetError {
    move |cause| DatasetError::Io { path: path.to_owned(), cause }
}

/// Last part of a path.
fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// What lies in a folder, by name; nothing hidden, and nothing if it is no folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        if !name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a file's name ends so, in small letters or capitals.
fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// Reads up to so many bytes of a file, allocating as they come.
fn read_up_to(path: &Path, reader: impl std::io::Read, n: u64) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    reader.take(n).read_to_end(&mut bytes).map_err(io_error(path))?;
    Ok(bytes)
}

fn open_file(path: &Path) -> Result<File, DatasetError> {
    File::open(path).map_err(io_error(path))
}

/// Images and labels of the two splits of one data set, where each is an array.
fn check_alike(shapes: [Option<([usize; 3], String)>; 2]) -> Result<[usize; 3], DatasetError> {
    match shapes {
        [Some((train, train_place)), Some((test, test_place))] if train != test => Err(DatasetError::SplitsDiffer {
            path: test_place.into(),
            found: format!("images of {test:?}"),
            other: format!("those of {train_place} are of {train:?}"),
        }),
        [Some((shape, _)), _] | [None, Some((shape, _))] => Ok(shape),
        [None, None] => unreachable!("a format is opened where it has files"),
    }
}

/// Checks that there is an image, and a label for each.
fn check_counts(images: &str, n_images: usize, labels: &RawLabels) -> Result<(), DatasetError> {
    let n_labels = labels.labels.len();
    if n_images != n_labels {
        let (images, labels) = (images.into(), labels.place.clone().into());
        return Err(DatasetError::CountMismatch { images, labels, n_images, n_labels });
    }
    if n_images == 0 { Err(DatasetError::Empty { path: images.into() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
