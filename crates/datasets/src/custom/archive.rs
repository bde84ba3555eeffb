//! NumPy archives, `.npz`: arrays of training and of test samples under the names that `MedMNIST` and Keras give them.
//!
//! Nothing pickled is read. An array is decompressed up to the length that its header declares, and one byte further.
//! Source of the format: NumPy, `numpy.lib.format`.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use model::config::DataConfig;
use npyz::{DType, Endianness, NpyHeader, TypeChar};
use zip::ZipArchive;

use super::array::Layout;
use super::{
    MAX_BYTES, Opened, Pixels, Read, check_alike, check_counts, entries, has_ending, name, open_file, read_up_to,
    refused,
};
use crate::elements::{Element, Order, Values};
use crate::labels::RawLabels;
use crate::source::text;
use crate::{DatasetError, Split};

/// Names of images and labels of training and of test samples: those of `MedMNIST`, of Keras, and others that are met.
const NAMES: [[[&str; 2]; 2]; 4] = [
    [["train_images", "train_labels"], ["test_images", "test_labels"]],
    [["x_train", "y_train"], ["x_test", "y_test"]],
    [["X_train", "Y_train"], ["X_test", "Y_test"]],
    [["X_train", "y_train"], ["X_test", "y_test"]],
];

/// Longest header of an array, in bytes; NumPy's are 118.
const MAX_HEADER: u64 = 1 << 16;

const REMEDY: &str = "write it with `numpy.savez`: x_train, y_train, x_test and y_test, or train_images, train_labels, test_images and \
     test_labels";

pub(super) fn find(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if path.is_file() {
        return Ok(if has_ending(path, &["npz"]) { vec![path.to_owned()] } else { Vec::new() });
    }
    Ok(entries(path)?.into_iter().filter(|path| has_ending(path, &["npz"])).collect())
}

pub(super) fn open(path: &Path, config: &DataConfig, input: Option<[usize; 3]>) -> Result<Opened, DatasetError> {
    let files = find(path)?;
    let [file] = &files[..] else {
        let names: Vec<String> = files.iter().map(|file| name(file)).collect();
        let found = format!("holds {} archives: {}", files.len(), names.join(", "));
        return Err(refused(path, found, "set data.path to one of them"));
    };
    let archive = Archive::open(file)?;
    let names = archive.names();
    let has = |name: &str| names.iter().any(|known| known == name);
    let of_set = NAMES.iter().find(|set| set.iter().flatten().filter(|name| has(name)).count() >= 2);
    let Some(of_set) = of_set else {
        return Err(refused(file, format!("holds the arrays {}", names.join(", ")), REMEDY));
    };
    let open = |[images, labels]: [&'static str; 2]| match (has(images), has(labels)) {
        (false, false) => Ok(None),
        (true, true) => split(file, [images, labels], config, input).map(Some),
        (true, false) => Err(refused(file, format!("holds {images} without {labels}"), REMEDY)),
        (false, true) => Err(refused(file, format!("holds {labels} without {images}"), REMEDY)),
    };
    let splits = [open(of_set[Split::Train as usize])?, open(of_set[Split::Test as usize])?];
    let shape = check_alike(
        splits.each_ref().map(|split| split.as_ref().map(|(layout, place, ..)| (layout.shape, place.clone()))),
    )?;
    let mut notes = Vec::new();
    if names.iter().any(|name| name == "val_images") {
        notes.push(format!(
            "{}: val_images are left aside; data.validation_samples are taken from the training samples",
            text(file)
        ));
    }
    if splits.iter().flatten().any(|(layout, ..)| layout.channels_last && shape[0] > 1) {
        notes.push(format!("{}: images are [N, H, W, C]; their channels are moved to the front", text(file)));
    }
    let splits = splits.map(|split| split.map(|(_, _, labels, pixels)| (labels, pixels)));
    Ok(Opened { shape, class_names: None, notes, splits })
}

type SplitParts = (Layout, String, RawLabels, Pixels);

fn split(
    file: &Path,
    [images, labels]: [&'static str; 2],
    config: &DataConfig,
    input: Option<[usize; 3]>,
) -> Result<SplitParts, DatasetError> {
    let mut archive = Archive::open(file)?;
    let place = format!("{}: {images}", text(file));
    let array = archive.header(images)?;
    let layout = Layout::of(&place, &array.shape, false, input)?;
    let (label_array, bytes) = archive.read(labels)?;
    let label_place = format!("{}: {labels}", text(file));
    if label_array.is_fortran && label_array.shape.iter().filter(|&&n| n > 1).count() > 1 {
        return Err(refused(
            file,
            format!("{labels} are in Fortran's order"),
            "write `numpy.ascontiguousarray` of them",
        ));
    }
    let read = label_array.element.labels(label_array.order, &bytes, &label_place)?;
    let labels = RawLabels::of_array(label_place, read, &label_array.shape, config.label_column)?;
    check_counts(&place, array.shape[0], &labels)?;
    let (file, of_values) = (file.to_owned(), place.clone());
    let pixels = Pixels::Array(Read(Box::new(move || {
        let (array, bytes) = Archive::open(&file)?.read(images)?;
        let values = array.element.values(array.order, bytes, &of_values, layout.n_features())?;
        let values = if array.is_fortran { row_major(&values, &array.shape) } else { values };
        Ok(layout.ordered(values))
    })));
    Ok((layout, place, labels, pixels))
}

/// Values in the order in which the last index runs fastest, of those in which the first one does.
fn row_major(values: &Values, shape: &[usize]) -> Values {
    let places = (0..values.len()).map(|mut index| {
        // From the last axis to the first.
        let mut places = vec![0; shape.len()];
        for (place, size) in places.iter_mut().zip(shape).rev() {
            (*place, index) = (index % size, index / size);
        }
        places.iter().zip(shape).rev().fold(0, |sum, (place, size)| sum * size + place)
    });
    values.reordered(places)
}

/// What the header of an array says.
struct Array {
    element: Element,
    order: Order,
    shape: Vec<usize>,
    is_fortran: bool,
}

struct Archive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

impl Archive {
    fn open(path: &Path) -> Result<Self, DatasetError> {
        let zip =
            ZipArchive::new(BufReader::new(open_file(path)?)).map_err(|error| damaged(path, &error.to_string()))?;
        Ok(Self { path: path.to_owned(), zip })
    }

    /// Names of its arrays.
    fn names(&self) -> Vec<String> {
        let names = self.zip.file_names().filter_map(Result::ok);
        names.filter_map(|name| Some(name.strip_suffix(".npy")?.to_owned())).collect()
    }

    fn header(&mut self, array: &str) -> Result<Array, DatasetError> {
        let mut file =
            self.zip.by_name(&format!("{array}.npy")).map_err(|error| damaged(&self.path, &error.to_string()))?;
        Array::read(&self.path, array, &mut file)
    }

    /// An array and all its bytes.
    fn read(&mut self, array: &str) -> Result<(Array, Vec<u8>), DatasetError> {
        let mut file =
            self.zip.by_name(&format!("{array}.npy")).map_err(|error| damaged(&self.path, &error.to_string()))?;
        let header = Array::read(&self.path, array, &mut file)?;
        let expected = header.element.n_bytes(&header.shape);
        let path = self.path.clone();
        if expected > MAX_BYTES {
            return Err(DatasetError::TooLarge { path, found: expected, limit: MAX_BYTES });
        }
        // One byte more, to see whether it goes on; at its end the archive's own checksum is looked at.
        let bytes = match read_up_to(&self.path, file, expected + 1) {
            Err(DatasetError::Io { cause, .. }) => return Err(damaged(&self.path, &format!("{array}: {cause}"))),
            bytes => bytes?,
        };
        match (bytes.len() as u64).cmp(&expected) {
            std::cmp::Ordering::Less => Err(DatasetError::Truncated { path, found: bytes.len() as u64, expected }),
            std::cmp::Ordering::Greater => Err(DatasetError::Oversized { path, expected }),
            std::cmp::Ordering::Equal => Ok((header, bytes)),
        }
    }
}

impl Array {
    /// Reads up to the first byte of the numbers.
    fn read(path: &Path, array: &str, file: &mut impl std::io::Read) -> Result<Self, DatasetError> {
        let damage = |what: &str| damaged(path, &format!("{array}: {what}"));
        let start = read_up_to(path, &mut *file, 10)?;
        let length = match start[..] {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high] => u64::from(u16::from_le_bytes([low, high])),
            // The length of later versions has two more bytes, which are 0 for every header of a usual length.
            [0x93, b'N', b'U', b'M', b'P', b'Y', _, _, low, high] => u64::from(u16::from_le_bytes([low, high])) + 2,
            _ => return Err(damage("no NumPy array")),
        };
        let rest = read_up_to(path, &mut *file, length.min(MAX_HEADER))?;
        // Brackets in brackets are what parsers of Python's literals go down into.
        if rest.iter().filter(|byte| b"([{".contains(byte)).count() > 16 {
            return Err(refused(path, format!("{array} is of a composed type"), "write plain numbers"));
        }
        let header = NpyHeader::from_reader(start.chain(&rest[..])).map_err(|error| damage(&error.to_string()))?;
        let refuse =
            |what: String| refused(path, format!("{array} is {what}"), "write numbers of one type, not objects");
        let DType::Plain(of) = header.dtype() else {
            return Err(refuse("of a composed type".to_owned()));
        };
        let element = match (of.type_char(), of.size_field()) {
            (TypeChar::Bool, _) => Element::Bool,
            (TypeChar::Uint, 1) => Element::U8,
            (TypeChar::Int, 1) => Element::I8,
            (TypeChar::Uint, 2) => Element::U16,
            (TypeChar::Int, 2) => Element::I16,
            (TypeChar::Uint, 4) => Element::U32,
            (TypeChar::Int, 4) => Element::I32,
            (TypeChar::Uint, 8) => Element::U64,
            (TypeChar::Int, 8) => Element::I64,
            (TypeChar::Float, 2) => Element::F16,
            (TypeChar::Float, 4) => Element::F32,
            (TypeChar::Float, 8) => Element::F64,
            _ => return Err(refuse(format!("of type `{of}`"))),
        };
        let order = if of.endianness() == Endianness::Big { Order::Big } else { Order::Little };
        let shape = header.shape().iter().map(|&size| usize::try_from(size)).collect::<Result<_, _>>();
        let shape = shape.map_err(|_| damage("a shape that no memory holds"))?;
        Ok(Self { element, order, shape, is_fortran: header.order() == npyz::Order::Fortran })
    }
}

fn damaged(path: &Path, what: &str) -> DatasetError {
    refused(path, format!("damaged archive ({what})"), "get the file again")
}
