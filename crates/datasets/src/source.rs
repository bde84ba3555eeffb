//! The data sets by name, with what is known of the published ones before any file is read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{DatasetError, custom};

/// A data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatasetName {
    /// UCI optdigits (Alpaydin & Kaynak 1998), embedded.
    Digits,
    /// MNIST (`LeCun` et al. 1998).
    Mnist,
    /// Fashion-MNIST (Xiao et al. 2017).
    FashionMnist,
    /// CIFAR-10 (Krizhevsky 2009).
    Cifar10,
    /// A user's own.
    Custom,
}

/// What is known of a data set without its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetFacts {
    /// Image shape `[C, H, W]`.
    pub shape: [usize; 3],
    /// Names of the classes, in label order.
    pub class_names: Vec<String>,
    /// Number of training samples, as published or in a user's own file; 0 if that is not there.
    pub n_train: usize,
    /// The same of test samples.
    pub n_test: usize,
}

impl DatasetFacts {
    /// Reads no file of a published data set, and of a user's own all but the images.
    ///
    /// - `path`: as for [`crate::LabelledImages::load`]
    ///
    /// # Errors
    /// [`DatasetError`] if a user's own files are missing, damaged, of another kind, or do not belong together.
    pub fn of(name: DatasetName, path: Option<&Path>) -> Result<Self, DatasetError> {
        let Some(published) = name.published() else {
            return custom::facts(&name.folder(path));
        };
        let &Published { shape, class_names, n_train, n_test, .. } = published;
        let class_names = class_names.iter().copied().map(str::to_owned).collect();
        Ok(Self { shape, class_names, n_train, n_test })
    }
}

/// What is known of a published data set before any file is read.
#[derive(Debug)]
pub(crate) struct Published {
    /// `[C, H, W]`
    pub(crate) shape: [usize; 3],
    /// Pixel value that stands for 1: pixels are divided by it.
    pub(crate) scale: u8,
    /// In label order.
    pub(crate) class_names: &'static [&'static str],
    /// Number of training and test samples; a user's files may hold others.
    pub(crate) n_train: usize,
    pub(crate) n_test: usize,
}

/// A part of a data set, as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training and calibration.
    Train,
    /// For scoring.
    Test,
}

const DIGIT_NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const CLOTHES: [&str; 10] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
const THINGS: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

pub(crate) static DIGITS: Published =
    Published { shape: [1, 8, 8], scale: 16, class_names: &DIGIT_NAMES, n_train: 3823, n_test: 1797 };
pub(crate) static MNIST: Published =
    Published { shape: [1, 28, 28], scale: 255, class_names: &DIGIT_NAMES, n_train: 60_000, n_test: 10_000 };
pub(crate) static FASHION_MNIST: Published = Published { class_names: &CLOTHES, ..MNIST };
pub(crate) static CIFAR10: Published =
    Published { shape: [3, 32, 32], scale: 255, class_names: &THINGS, n_train: 50_000, n_test: 10_000 };

impl DatasetName {
    /// Every data set.
    pub const ALL: [Self; 5] = [Self::Digits, Self::Mnist, Self::FashionMnist, Self::Cifar10, Self::Custom];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
            Self::Custom => "custom",
        }
    }

    /// `None` for a user's own, which its files tell all of.
    pub(crate) const fn published(self) -> Option<&'static Published> {
        match self {
            Self::Digits => Some(&DIGITS),
            Self::Mnist => Some(&MNIST),
            Self::FashionMnist => Some(&FASHION_MNIST),
            Self::Cifar10 => Some(&CIFAR10),
            Self::Custom => None,
        }
    }

    /// Whether it is part of this crate and needs no files.
    pub const fn is_embedded(self) -> bool {
        matches!(self, Self::Digits)
    }

    /// Folder where `scripts/fetch-data` puts the files, or a user may, relative to the repository's root.
    pub fn default_path(self) -> PathBuf {
        PathBuf::from("data").join(self.name())
    }

    /// The folder given, or the default.
    pub(crate) fn folder(self, path: Option<&Path>) -> PathBuf {
        path.map_or_else(|| self.default_path(), Path::to_owned)
    }

    /// How to get a missing folder or file.
    pub(crate) fn remedy(self) -> String {
        let holds = match self {
            Self::Custom => return custom::REMEDY.to_owned(),
            Self::Cifar10 => "CIFAR-10 binary batches",
            _ => "IDX files",
        };
        format!("run `scripts/fetch-data {self}`, or set data.path to a folder that holds the {holds}")
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DatasetName {
    type Err = DatasetError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|known| known.name() == name)
            .ok_or_else(|| DatasetError::UnknownName { found: name.to_owned() })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_as_its_data_set() {
        for name in DatasetName::ALL {
            assert_eq!(name.to_string().parse::<DatasetName>().unwrap(), name);
            assert_eq!(name.default_path(), PathBuf::from(format!("data/{name}")));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let message = "MNIST".parse::<DatasetName>().unwrap_err().to_string();
        for part in DatasetName::ALL.map(DatasetName::name).into_iter().chain(["`MNIST`"]) {
            assert!(message.contains(part), "{message}");
        }
    }
}
