//! `train.safetensors` and `test.safetensors` in a folder.
//!
//! Each holds two tensors: `images` of shape `[N, C, H, W]`, `[N, H, W]` or `[N, n]`, and `labels`, whole numbers `[N]` or `[N, 1]`. The
//! classes' names may stand in the file's metadata, separated by commas, as `classes`.
//! Source of the format: <https://github.com/huggingface/safetensors>, "Format".

use std::cmp::Ordering;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use model::config::DataConfig;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::array::Layout;
use super::{MAX_BYTES, Opened, Pixels, Read, check_alike, check_counts, io_error, open_file, read_up_to};
use crate::elements::{Element, Order};
use crate::labels::RawLabels;
use crate::source::text;
use crate::{DatasetError, Split};

/// Longest header that is read, in bytes: two tensors and the names of 65,536 classes need less.
const MAX_HEADER: u64 = 1 << 24;

/// One split's file, of which all but the images has been read.
struct SplitFile {
    layout: Layout,
    labels: RawLabels,
    pixels: Pixels,
    classes: Option<Vec<String>>,
}

#[allow(clippy::unnecessary_wraps, reason = "other formats look into files for this, which may fail")]
pub(super) fn find(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    Ok([Split::Train, Split::Test]
        .map(|split| path_of(folder, split))
        .into_iter()
        .filter(|path| path.exists())
        .collect())
}

fn path_of(folder: &Path, split: Split) -> PathBuf {
    folder.join(format!("{split}.safetensors"))
}

pub(super) fn open(folder: &Path, config: &DataConfig, _: Option<[usize; 3]>) -> Result<Opened, DatasetError> {
    let open = |split| {
        let path = path_of(folder, split);
        path.exists().then(|| SplitFile::open(&path, config)).transpose()
    };
    let files = [open(Split::Train)?, open(Split::Test)?];
    let shape = check_alike(
        files.each_ref().map(|file| file.as_ref().map(|file| (file.layout.shape, file.labels.place.clone()))),
    )?;
    let class_names = class_names(&files)?;
    let splits = files.map(|file| file.map(|SplitFile { labels, pixels, .. }| (labels, pixels)));
    Ok(Opened { shape, class_names, notes: Vec::new(), splits })
}

/// Names of the classes, if a file gives them.
fn class_names(files: &[Option<SplitFile>; 2]) -> Result<Option<Vec<String>>, DatasetError> {
    let mut named = files.iter().flatten().filter_map(|file| Some((&file.labels.place, file.classes.as_ref()?)));
    let Some((place, names)) = named.next() else { return Ok(None) };
    match named.find(|(_, others)| *others != names) {
        None => Ok(Some(names.clone())),
        Some((other, others)) => Err(DatasetError::SplitsDiffer {
            path: other.into(),
            found: format!("{} classes, `{}`", others.len(), others.join(",")),
            other: format!("{place} has {}, `{}`", names.len(), names.join(",")),
        }),
    }
}

impl SplitFile {
    fn open(path: &Path, config: &DataConfig) -> Result<Self, DatasetError> {
        let mut file = open_file(path)?;
        let wrong = |found: String| wrong_contents(path, found);
        let (header, start) = read_header(path, &mut file)?;
        let tensor = |name: &str| {
            let names = || header.offset_keys().join(", ");
            header.info(name).ok_or_else(|| wrong(format!("no tensor `{name}` among those that it has ({})", names())))
        };
        let place = text(path);
        let (images, labels) = (tensor("images")?, tensor("labels")?);
        let layout = Layout::of(&place, &images.shape, true, None)?;
        let element = element(images.dtype).ok_or_else(|| wrong(format!("images are {}", images.dtype)))?;
        let label_element = self::element(labels.dtype).ok_or_else(|| wrong(format!("labels are {}", labels.dtype)))?;
        let bytes = read(path, &mut file, start, labels)?;
        let labels_read = label_element.labels(Order::Little, &bytes, &place)?;
        let labels = RawLabels::of_array(place.clone(), labels_read, &labels.shape, config.label_column)?;
        check_counts(&place, images.shape[0], &labels)?;
        let classes = header.metadata().as_ref().and_then(|metadata| metadata.get("classes"));
        let classes = classes.map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
        let (images, path, n_features) = (images.clone(), path.to_owned(), layout.n_features());
        let pixels = Pixels::Array(Read(Box::new(move || {
            let bytes = read(&path, &mut open_file(&path)?, start, &images)?;
            element.values(Order::Little, bytes, &text(&path), n_features)
        })));
        Ok(Self { layout, labels, pixels, classes })
    }
}

fn wrong_contents(path: &Path, found: String) -> DatasetError {
    DatasetError::Refused {
        place: text(path),
        found,
        remedy: "write it with safetensors' `save_file`: `images` as numbers of shape [N, C, H, W], [N, H, W] or [N, n], and `labels` \
                 as integers of shape [N]"
            .to_owned(),
    }
}

/// The header of a safetensors file of just the length that it tells, and the first byte behind it.
fn read_header(path: &Path, file: &mut File) -> Result<(Metadata, u64), DatasetError> {
    let wrong = |found: String| wrong_contents(path, found);
    let length = read_at(path, file, 0, 8)?;
    let n_header = u64::from_le_bytes(*length.first_chunk().expect("eight bytes were read"));
    if n_header > MAX_HEADER {
        return Err(wrong("no safetensors file, or one with a header of more than 16 MiB".to_owned()));
    }
    let header = read_at(path, file, 8, n_header)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| wrong(format!("no safetensors file, or one with a damaged header ({error})")))?;
    let start = 8 + n_header;
    let expected = start + header.data_len() as u64;
    let found = file.metadata().map_err(io_error(path))?.len();
    let path = path.to_owned();
    match found.cmp(&expected) {
        Ordering::Less => Err(DatasetError::Truncated { path, found, expected }),
        Ordering::Equal => Ok((header, start)),
        Ordering::Greater => Err(DatasetError::Oversized { path, expected }),
    }
}

/// `None` for what is no number of a usual type.
fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::BOOL => Element::Bool,
        Dtype::U8 => Element::U8,
        Dtype::I8 => Element::I8,
        Dtype::U16 => Element::U16,
        Dtype::I16 => Element::I16,
        Dtype::U32 => Element::U32,
        Dtype::I32 => Element::I32,
        Dtype::U64 => Element::U64,
        Dtype::I64 => Element::I64,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        _ => return None,
    })
}

/// Bytes of a tensor.
///
/// - `start`: of all tensors in the file
fn read(path: &Path, file: &mut File, start: u64, tensor: &TensorInfo) -> Result<Vec<u8>, DatasetError> {
    let (first, behind) = tensor.data_offsets;
    read_at(path, file, start + first as u64, (behind - first) as u64)
}

/// Bytes of a file, which is known to hold them or not to be much longer.
fn read_at(path: &Path, file: &mut File, start: u64, n: u64) -> Result<Vec<u8>, DatasetError> {
    if n > MAX_BYTES {
        return Err(DatasetError::TooLarge { path: path.to_owned(), found: n, limit: MAX_BYTES });
    }
    file.seek(SeekFrom::Start(start)).map_err(io_error(path))?;
    let bytes = read_up_to(path, file, n)?;
    if (bytes.len() as u64) < n {
        let (found, expected) = (start + bytes.len() as u64, start + n);
        return Err(DatasetError::Truncated { path: path.to_owned(), found, expected });
    }
    Ok(bytes)
}
