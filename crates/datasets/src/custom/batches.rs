//! CIFAR's binary files, where the data set is not called by its name: CIFAR-100's `train.bin` and `test.bin`, and CIFAR-10's batches.
//!
//! A sample of CIFAR-100 is a byte for its coarse class, one for its fine class, and the pixels, plane by plane.
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "binary version".

use std::path::{Path, PathBuf};

use model::config::DataConfig;

use super::{Opened, Pixels, Read, io_error, open_file, read_up_to, refused};
use crate::elements::Values;
use crate::labels::RawLabels;
use crate::sets;
use crate::source::text;
use crate::{DatasetError, Split};

const SHAPE: [usize; 3] = [3, 32, 32];
const N_PIXELS: usize = 3 * 32 * 32;

/// Bytes of a sample of CIFAR-100.
const RECORD: usize = 2 + N_PIXELS;

/// Most bytes of a file: that of its training samples has 50,000.
const MAX_BYTES: u64 = 1_000_000 * RECORD as u64;

/// Columns of the two labels, how many classes each has, and the files that name these.
const COLUMNS: [(usize, &str); 2] = [(20, "coarse_label_names.txt"), (100, "fine_label_names.txt")];

const FINE: usize = 1;

pub(super) fn find(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let folder = inner(folder);
    let are_pickled = folder.join("cifar-100-python").is_dir()
        || folder.ends_with("cifar-100-python")
        || folder.join("batches.meta").is_file();
    if are_pickled {
        let remedy = "nothing pickled is read: get CIFAR's binary version (cifar-100-binary.tar.gz)";
        return Err(refused(&folder, "holds CIFAR's version for Python".to_owned(), remedy));
    }
    let names = ["train.bin", "test.bin", "data_batch_1.bin", "test_batch.bin"];
    Ok(names.map(|name| folder.join(name)).into_iter().filter(|path| path.is_file()).collect())
}

/// The folder that the published archive is unpacked to, if it is there.
fn inner(folder: &Path) -> PathBuf {
    let names = ["cifar-100-binary", "cifar-10-batches-bin"];
    names.map(|name| folder.join(name)).into_iter().find(|inner| inner.is_dir()).unwrap_or_else(|| folder.to_owned())
}

pub(super) fn open(folder: &Path, config: &DataConfig, _: Option<[usize; 3]>) -> Result<Opened, DatasetError> {
    let folder = &inner(folder);
    let has = |name: &str| folder.join(name).is_file();
    match [has("train.bin") || has("test.bin"), has("data_batch_1.bin") || has("test_batch.bin")] {
        [true, false] => open_cifar100(folder, config),
        [false, true] => open_cifar10(folder),
        _ => Err(refused(folder, "holds CIFAR-10 and CIFAR-100".to_owned(), "keep one of them in the folder")),
    }
}

fn open_cifar100(folder: &Path, config: &DataConfig) -> Result<Opened, DatasetError> {
    let column = config.label_column.unwrap_or(FINE);
    let Some(&(n_classes, names)) = COLUMNS.get(column) else {
        let found = format!("CIFAR-100 has no column {column} of labels");
        return Err(refused(
            folder,
            found,
            "set data.label_column to 0 for its 20 coarse classes or 1 for its 100 fine ones",
        ));
    };
    let open = |split: Split| {
        let path = folder.join(format!("{split}.bin"));
        if !path.is_file() {
            return Ok(None);
        }
        let file = records(&path)?;
        let labels: Vec<i128> = file.chunks_exact(RECORD).map(|record| record[column].into()).collect();
        let bound = |(index, &label): (usize, &i128)| (label >= n_classes as i128).then_some((index, label));
        if let Some((index, label)) = labels.iter().enumerate().find_map(bound) {
            return Err(DatasetError::LabelOutOfRange { place: text(&path), index, label, first: 0, n_classes });
        }
        let labels = RawLabels { place: text(&path), labels };
        let pixels = Pixels::Array(Read(Box::new(move || {
            let file = records(&path)?;
            Ok(Values::Bytes(file.chunks_exact(RECORD).flat_map(|record| &record[2..]).copied().collect()))
        })));
        Ok(Some((labels, pixels)))
    };
    let class_names = class_names(&folder.join(names), n_classes)?;
    let of = ["coarse", "fine"][column];
    let note = config.label_column.is_none().then(|| {
        format!(
            "{}: CIFAR-100 with its {n_classes} {of} classes (data.label_column = 0 for the 20 coarse ones)",
            text(folder)
        )
    });
    let splits = [open(Split::Train)?, open(Split::Test)?];
    Ok(Opened { shape: SHAPE, class_names: Some(class_names), notes: note.into_iter().collect(), splits })
}

/// Whole samples of a file.
fn records(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let length = std::fs::metadata(path).map_err(io_error(path))?.len();
    if length > MAX_BYTES {
        return Err(DatasetError::TooLarge { path: path.to_owned(), found: length, limit: MAX_BYTES });
    }
    let bytes = read_up_to(path, open_file(path)?, MAX_BYTES)?;
    match bytes.len() % RECORD {
        0 if bytes.is_empty() => Err(DatasetError::Empty { path: path.to_owned() }),
        0 => Ok(bytes),
        over => {
            let found = bytes.len() as u64;
            Err(DatasetError::Truncated { path: path.to_owned(), found, expected: found + (RECORD - over) as u64 })
        }
    }
}

/// A name in each line; numbers if there is no such file.
fn class_names(path: &Path, n_classes: usize) -> Result<Vec<String>, DatasetError> {
    if !path.is_file() {
        return Ok((0..n_classes).map(|class| class.to_string()).collect());
    }
    let bytes = read_up_to(path, open_file(path)?, 1 << 16)?;
    let text = String::from_utf8_lossy(&bytes);
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() == n_classes {
        Ok(names)
    } else {
        Err(refused(path, format!("names {} classes where {n_classes} are needed", names.len()), "get the file again"))
    }
}

fn open_cifar10(folder: &Path) -> Result<Opened, DatasetError> {
    let open = |split: Split, first: &str| {
        if !folder.join(first).is_file() {
            return Ok(None);
        }
        let (_, labels) = sets::load_cifar10(split, folder)?;
        let labels = RawLabels { place: text(folder), labels: labels.into_iter().map(i128::from).collect() };
        let folder = folder.to_owned();
        let read = move || Ok(Values::Bytes(sets::load_cifar10(split, &folder)?.0));
        Ok(Some((labels, Pixels::Array(Read(Box::new(read))))))
    };
    let splits = [open(Split::Train, "data_batch_1.bin")?, open(Split::Test, "test_batch.bin")?];
    let class_names = sets::cifar10().facts().class_names;
    Ok(Opened { shape: SHAPE, class_names: Some(class_names), notes: Vec::new(), splits })
}
