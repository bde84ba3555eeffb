//! A user's own images: `train.safetensors` and `test.safetensors` in a folder.
//!
//! Each holds two tensors: `images`, bytes of shape `[N, C, H, W]`, `[N, H, W]` or `[N, n]`, and `labels`, integers `[N]` from 0 on.
//! The classes' names may stand in the file's metadata, separated by commas, as `classes`; without them there are as many classes as
//! the largest label of the two files says. Reads files only; [`crate::images`] makes samples of them.
//! Source of the format: <https://github.com/huggingface/safetensors>, "Format".

use std::cmp::Ordering;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{Loaded, Row};
use crate::{DatasetError, DatasetFacts, Split};

pub(super) static ROW: Row = Row { name: "custom", is_embedded: false, scale: 255, checksums: None, facts, load };

/// How to get a missing folder or file.
const REMEDY: &str = "set data.path to a folder with train.safetensors and test.safetensors, of images and labels each";

/// Longest header that is read, in bytes: two tensors and the names of 256 classes need far less.
const MAX_HEADER: u64 = 1 << 20;

/// One split's file, of which all but the images has been read.
#[derive(Debug)]
struct SplitFile {
    path: PathBuf,
    file: File,
    /// `[C, H, W]`
    shape: [usize; 3],
    /// First byte of the images, and how many there are.
    images: (u64, usize),
    labels: Vec<u8>,
    classes: Option<Vec<String>>,
}

/// What a folder's files tell of the data set.
///
/// # Errors
/// If there is no file, or one is damaged, holds something else, or does not belong to the other.
fn facts(folder: &Path) -> Result<DatasetFacts, DatasetError> {
    facts_of(folder, &open(folder)?)
}

/// The same, and pixels `[N, C, H, W]` and labels `[N]` of one split.
fn load(split: Split, folder: &Path) -> Result<Loaded, DatasetError> {
    let files = open(folder)?;
    let facts = facts_of(folder, &files)?;
    let [train, test] = files;
    let wanted = match split {
        Split::Train => train,
        Split::Test => test,
    };
    let mut wanted = wanted.ok_or_else(|| missing(folder, split))?;
    let (start, n_bytes) = wanted.images;
    let pixels = read(&wanted.path, &mut wanted.file, start, n_bytes)?;
    Ok((facts, pixels, wanted.labels))
}

fn facts_of(folder: &Path, files: &[Option<SplitFile>; 2]) -> Result<DatasetFacts, DatasetError> {
    let Some(either) = files.iter().flatten().next() else { return Err(missing(folder, Split::Test)) };
    let [n_train, n_test] = files.each_ref().map(|file| file.as_ref().map_or(0, |file| file.labels.len()));
    Ok(DatasetFacts { shape: either.shape, class_names: class_names(files)?, n_train, n_test })
}

fn missing(folder: &Path, split: Split) -> DatasetError {
    DatasetError::MissingFile { path: folder.join(file_name(split)), remedy: REMEDY.to_owned() }
}

fn file_name(split: Split) -> String {
    format!("{split}.safetensors")
}

/// The files of training and test samples; `None` for one that is not there.
fn open(folder: &Path) -> Result<[Option<SplitFile>; 2], DatasetError> {
    if !folder.is_dir() {
        return Err(DatasetError::MissingFolder { path: folder.to_owned(), remedy: REMEDY.to_owned() });
    }
    let [train, test] = [Split::Train, Split::Test].map(|split| SplitFile::open(folder.join(file_name(split))));
    let files = [train?, test?];
    if let [Some(train), Some(test)] = &files
        && train.shape != test.shape
    {
        return Err(DatasetError::SplitsDiffer {
            path: test.path.clone(),
            found: format!("images of {:?}", test.shape),
            other: format!("those of {} are of {:?}", train.path.display(), train.shape),
        });
    }
    Ok(files)
}

/// Names of the classes, as a file gives them or by number.
fn class_names(files: &[Option<SplitFile>; 2]) -> Result<Vec<String>, DatasetError> {
    let files = || files.iter().flatten();
    let mut named = files().filter_map(|file| Some((file, file.classes.as_ref()?)));
    let Some((file, names)) = named.next() else {
        let largest = files().flat_map(|file| &file.labels).max().copied().unwrap_or(0);
        return Ok((0..=largest).map(|class| class.to_string()).collect());
    };
    match named.find(|(_, others)| *others != names) {
        None => Ok(names.clone()),
        Some((other, others)) => Err(DatasetError::SplitsDiffer {
            path: other.path.clone(),
            found: format!("{} classes, `{}`", others.len(), others.join(",")),
            other: format!("{} has {}, `{}`", file.path.display(), names.len(), names.join(",")),
        }),
    }
}

impl SplitFile {
    /// `None` if there is no such file.
    fn open(path: PathBuf) -> Result<Option<Self>, DatasetError> {
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|cause| DatasetError::Io { path: path.clone(), cause })?,
        };
        let wrong = |found: String| DatasetError::WrongContents { path: path.clone(), found };
        let (header, start) = read_header(&path, &mut file)?;
        let tensor = |name: &str| {
            let names = || header.offset_keys().join(", ");
            header.info(name).ok_or_else(|| wrong(format!("no tensor `{name}` among those that it has ({})", names())))
        };
        let place = |tensor: &TensorInfo| {
            let (first, behind) = tensor.data_offsets;
            (start + first as u64, behind - first)
        };
        let (images, labels) = (tensor("images")?, tensor("labels")?);
        let shape = image_shape(images).map_err(wrong)?;
        let n_images = images.shape[0];
        if labels.shape != [n_images] {
            return Err(wrong(format!("labels are of shape {:?}, for {n_images} images", labels.shape)));
        }
        if images.shape.contains(&0) {
            return Err(DatasetError::Empty { path });
        }
        let value = label_type(labels.dtype).map_err(wrong)?;
        let classes = header.metadata().as_ref().and_then(|metadata| metadata.get("classes"));
        let classes: Option<Vec<String>> =
            classes.map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
        // More are refused, whatever they are called.
        let n_classes = classes.as_ref().map_or(256, |names| names.len().min(256));
        let class = |(index, bytes)| {
            let label = value(bytes);
            let class = u8::try_from(label).ok().filter(|&class| usize::from(class) < n_classes);
            let place = path.display().to_string();
            class.ok_or(DatasetError::LabelOutOfRange { place, index, label, n_classes })
        };
        let (first, n_bytes) = place(labels);
        let bytes = read(&path, &mut file, first, n_bytes)?;
        let size = labels.dtype.bitsize() / 8;
        let labels = bytes.chunks_exact(size).enumerate().map(class).collect::<Result<_, _>>()?;
        Ok(Some(Self { shape, images: place(images), labels, classes, file, path }))
    }
}

/// The header of a safetensors file of just the length that it tells, and the first byte behind it.
fn read_header(path: &Path, file: &mut File) -> Result<(Metadata, u64), DatasetError> {
    let wrong = |found: String| DatasetError::WrongContents { path: path.to_owned(), found };
    let length = read(path, file, 0, 8)?;
    let n_header = u64::from_le_bytes(*length.first_chunk().expect("eight bytes were read"));
    if n_header > MAX_HEADER {
        return Err(wrong("no safetensors file, or one with a header of more than 1 MiB".to_owned()));
    }
    let header = read(path, file, 8, n_header as usize)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| wrong(format!("no safetensors file, or one with a damaged header ({error})")))?;
    let start = 8 + n_header;
    let expected = start + header.data_len() as u64;
    let found = file.metadata().map_err(|cause| DatasetError::Io { path: path.to_owned(), cause })?.len();
    let path = path.to_owned();
    match found.cmp(&expected) {
        Ordering::Less => Err(DatasetError::Truncated { path, found, expected }),
        Ordering::Equal => Ok((header, start)),
        Ordering::Greater => Err(DatasetError::Oversized { path, expected }),
    }
}

/// `[C, H, W]`, or what the tensor is instead of images.
fn image_shape(images: &TensorInfo) -> Result<[usize; 3], String> {
    match (images.dtype, images.shape[..].split_first()) {
        (Dtype::U8, Some((_, &[n]))) => Ok([n, 1, 1]),
        (Dtype::U8, Some((_, &[height, width]))) => Ok([1, height, width]),
        (Dtype::U8, Some((_, &[channels, height, width]))) => Ok([channels, height, width]),
        (dtype, _) => Err(format!("images are {dtype} of shape {:?}", images.shape)),
    }
}

/// The number that the bytes of a label are, or what labels are that are no integers.
fn label_type(dtype: Dtype) -> Result<impl Fn(&[u8]) -> i128, String> {
    let is_signed = match dtype {
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => true,
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => false,
        other => return Err(format!("labels are {other}")),
    };
    Ok(move |bytes: &[u8]| {
        let bits = bytes.iter().rev().fold(0, |bits, &byte| bits << 8 | i128::from(byte));
        let is_negative = is_signed && bytes.last().is_some_and(|byte| byte >> 7 == 1);
        bits - (i128::from(is_negative) << (8 * bytes.len()))
    })
}

/// Bytes of a file, which is known to hold them or not to be much longer.
fn read(path: &Path, file: &mut File, start: u64, n: usize) -> Result<Vec<u8>, DatasetError> {
    let io_error = |cause| DatasetError::Io { path: path.to_owned(), cause };
    file.seek(SeekFrom::Start(start)).map_err(io_error)?;
    let mut bytes = Vec::new();
    file.take(n as u64).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() < n {
        let (found, expected) = (start + bytes.len() as u64, start + n as u64);
        return Err(DatasetError::Truncated { path: path.to_owned(), found, expected });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::{DatasetName, LabelledImages};

    /// A file with these tensors; names of classes, if any, in its metadata.
    fn file(images: (Dtype, &[usize], &[u8]), labels: (Dtype, &[usize], &[u8]), classes: Option<&str>) -> Vec<u8> {
        let view = |(dtype, shape, bytes): (Dtype, &[usize], &'static [u8])| {
            TensorView::new(dtype, shape.to_vec(), bytes).expect("as many bytes as the shape says")
        };
        let [image_bytes, label_bytes] = [images.2, labels.2].map(|bytes| &*bytes.to_vec().leak());
        let tensors =
            [("images", view((images.0, images.1, image_bytes))), ("labels", view((labels.0, labels.1, label_bytes)))];
        let metadata = classes.map(|names| HashMap::from([("classes".to_owned(), names.to_owned())]));
        safetensors::serialize(tensors, metadata).expect("tensors that fit")
    }

    /// Two images of 2 × 3 with the labels 1 and 4.
    fn two() -> Vec<u8> {
        file((Dtype::U8, &[2, 2, 3], &[0, 1, 2, 3, 4, 5, 255, 7, 8, 9, 10, 11]), (Dtype::U8, &[2], &[1, 4]), None)
    }

    fn folder(train: Option<&[u8]>, test: Option<&[u8]>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in [("train", train), ("test", test)] {
            if let Some(bytes) = bytes {
                std::fs::write(folder.path().join(format!("{name}.safetensors")), bytes).expect("a file");
            }
        }
        folder
    }

    fn load_from(train: Option<&[u8]>, test: Option<&[u8]>) -> Result<LabelledImages, DatasetError> {
        LabelledImages::load(DatasetName::Custom, Split::Test, Some(folder(train, test).path()))
    }

    fn message(test: &[u8]) -> String {
        load_from(None, Some(test)).expect_err("refused").to_string()
    }

    #[test]
    fn images_are_those_written_with_as_many_classes_as_the_two_files_have() {
        let more = file((Dtype::U8, &[1, 2, 3], &[0; 6]), (Dtype::I64, &[1], &7_i64.to_le_bytes()), None);
        let test = load_from(Some(&more), Some(&two())).unwrap();
        assert_eq!((test.shape(), test.labels(), test.n_classes()), ([1, 2, 3], [1, 4].as_slice(), 8));
        assert_eq!((test.raw(1), test.scale()), ([255, 7, 8, 9, 10, 11].as_slice(), 255.0));
        let alone = load_from(None, Some(&two())).unwrap();
        assert_eq!((alone.n_classes(), alone.class_names()[4].as_str()), (5, "4"));
        let facts = DatasetFacts::of(DatasetName::Custom, Some(folder(Some(&more), Some(&two())).path())).unwrap();
        assert_eq!((facts.shape, facts.class_names.len(), facts.n_train, facts.n_test), ([1, 2, 3], 8, 1, 2));
    }

    #[test]
    fn shapes_of_vectors_planes_and_colour_images_are_told_apart() {
        for (shape, expected) in
            [(&[2, 6][..], [6, 1, 1]), (&[2, 2, 3], [1, 2, 3]), (&[2, 3, 1, 2], [3, 1, 2]), (&[1, 3, 2, 2], [3, 2, 2])]
        {
            let n = shape[0];
            let bytes = file((Dtype::U8, shape, &[9; 12]), (Dtype::U8, &[n], &vec![0; n]), None);
            assert_eq!(load_from(None, Some(&bytes)).unwrap().shape(), expected);
        }
    }

    #[test]
    fn classes_have_the_names_that_a_file_gives() {
        let named = |classes| file((Dtype::U8, &[1, 2], &[0; 2]), (Dtype::U8, &[1], &[1]), Some(classes));
        let test = load_from(None, Some(&named("cat, dog,owl"))).unwrap();
        assert_eq!(test.class_names(), ["cat", "dog", "owl"]);
        let error = load_from(Some(&named("cat,dog")), Some(&named("dog,cat"))).unwrap_err();
        assert!(matches!(error, DatasetError::SplitsDiffer { .. }), "{error}");
        assert!(message(&named("cat")).contains("label 1 of sample 0 (from 0) is not below 1"));
    }

    #[test]
    fn labels_of_every_integer_type_are_read_and_none_is_cut_off() {
        let labelled = |dtype, bytes: &[u8]| file((Dtype::U8, &[1, 1], &[0]), (dtype, &[1], bytes), None);
        let read = |dtype, bytes: &[u8]| load_from(None, Some(&labelled(dtype, bytes))).map(|test| test.label(0));
        assert_eq!(read(Dtype::I8, &3_i8.to_le_bytes()).unwrap(), 3);
        assert_eq!(read(Dtype::U16, &255_u16.to_le_bytes()).unwrap(), 255);
        assert_eq!(read(Dtype::I32, &77_i32.to_le_bytes()).unwrap(), 77);
        assert_eq!(read(Dtype::U64, &200_u64.to_le_bytes()).unwrap(), 200);
        for (dtype, bytes, found) in [
            (Dtype::I8, vec![255], -1),
            (Dtype::I64, (-9_i64).to_le_bytes().to_vec(), -9),
            (Dtype::U64, u64::MAX.to_le_bytes().to_vec(), i128::from(u64::MAX)),
            (Dtype::I32, 256_i32.to_le_bytes().to_vec(), 256),
        ] {
            let error = read(dtype, &bytes).unwrap_err();
            assert!(
                matches!(error, DatasetError::LabelOutOfRange { label, n_classes: 256, .. } if label == found),
                "{error}"
            );
        }
    }

    #[test]
    fn other_contents_are_refused_with_what_is_needed() {
        let labels = (Dtype::U8, &[1][..], &[0][..]);
        for (bytes, found) in [
            (file((Dtype::F32, &[1, 1], &[0; 4]), labels, None), "images are F32 of shape [1, 1]"),
            (file((Dtype::U8, &[1], &[0]), labels, None), "images are U8 of shape [1]"),
            (file((Dtype::U8, &[2, 1], &[0; 2]), labels, None), "labels are of shape [1], for 2 images"),
            (file((Dtype::U8, &[1, 1], &[0]), (Dtype::F32, &[1], &[0; 4]), None), "labels are F32"),
            (safetensors::serialize::<&str, TensorView<'_>, _>([], None).unwrap(), "no tensor `images`"),
            (b"PK\x03\x04 this is a zip file".to_vec(), "no safetensors file"),
        ] {
            let message = message(&bytes);
            assert!(message.contains(found) && message.contains("uint8"), "{message}");
        }
        let none = file((Dtype::U8, &[0, 4], &[]), (Dtype::U8, &[0], &[]), None);
        assert!(matches!(load_from(None, Some(&none)), Err(DatasetError::Empty { .. })));
    }

    #[test]
    fn broken_files_and_missing_ones_are_told_apart() {
        let whole = two();
        for n in [0, 7, 20, whole.len() - 1] {
            let error = load_from(None, Some(&whole[..n])).unwrap_err();
            assert!(matches!(error, DatasetError::Truncated { .. }), "{n} bytes: {error}");
        }
        let more = [whole.clone(), vec![0]].concat();
        assert!(matches!(load_from(None, Some(&more)), Err(DatasetError::Oversized { .. })));
        let other = file((Dtype::U8, &[1, 4], &[0; 4]), (Dtype::U8, &[1], &[0]), None);
        let error = load_from(Some(&other), Some(&whole)).unwrap_err().to_string();
        assert!(error.contains("images of [1, 2, 3], but those of") && error.contains("[4, 1, 1]"), "{error}");
        let error = load_from(Some(&whole), None).unwrap_err();
        assert!(matches!(&error, DatasetError::MissingFile { path, .. } if path.ends_with("test.safetensors")));
        assert!(error.to_string().contains("set data.path to a folder with train.safetensors"), "{error}");
        let error = LabelledImages::load(DatasetName::Custom, Split::Train, Some(Path::new("nowhere"))).unwrap_err();
        assert!(matches!(error, DatasetError::MissingFolder { .. }));
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_panics(at in 0..1000_usize, byte in any::<u8>()) {
            let mut bytes = two();
            let at = at % bytes.len();
            bytes[at] = byte;
            drop(load_from(None, Some(&bytes)));
        }
    }
}
