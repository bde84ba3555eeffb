//! The data sets: one file each, which says what the data set holds, how it is called, checked and read, and one row each here.
//!
//! A new one has its word in the configuration's row of `data.dataset`, too, and `scripts/fetch-data` may know how to get it.

mod cifar10;
mod custom;
mod digits;
mod fashion_mnist;
mod mnist;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{DatasetError, DatasetFacts, Split};

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

/// What a data set's own file says of it.
#[derive(Debug)]
pub(crate) struct Row {
    /// The name in configurations.
    pub(crate) name: &'static str,
    /// Whether it is part of this crate and needs no files.
    pub(crate) is_embedded: bool,
    /// Pixel value that stands for 1: pixels are divided by it.
    pub(crate) scale: u8,
    /// [`crate::LabelledImages::checksum`] of the published training and test samples; `None` for a user's own.
    pub(crate) checksums: Option<[&'static str; 2]>,
    /// What is known without the images, from a folder where the files must tell.
    pub(crate) facts: fn(&Path) -> Result<DatasetFacts, DatasetError>,
    /// Reads one split from a folder.
    pub(crate) load: fn(Split, &Path) -> Result<Loaded, DatasetError>,
}

/// One split as it is read: the facts, pixels `[N, C, H, W]` and labels `[N]`.
pub(crate) type Loaded = (DatasetFacts, Vec<u8>, Vec<u8>);

impl DatasetName {
    /// Every data set.
    pub const ALL: [Self; 5] = [Self::Digits, Self::Mnist, Self::FashionMnist, Self::Cifar10, Self::Custom];

    pub(crate) const fn row(self) -> &'static Row {
        match self {
            Self::Digits => &digits::ROW,
            Self::Mnist => &mnist::ROW,
            Self::FashionMnist => &fashion_mnist::ROW,
            Self::Cifar10 => &cifar10::ROW,
            Self::Custom => &custom::ROW,
        }
    }

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether it is part of this crate and needs no files.
    pub const fn is_embedded(self) -> bool {
        self.row().is_embedded
    }

    /// [`crate::LabelledImages::checksum`] of a published split; `None` for a user's own.
    pub fn published_checksum(self, split: Split) -> Option<&'static str> {
        self.row().checksums.map(|[train, test]| match split {
            Split::Train => train,
            Split::Test => test,
        })
    }

    /// Folder where `scripts/fetch-data` puts the files, or a user may, relative to the repository's root.
    pub fn default_path(self) -> PathBuf {
        PathBuf::from("data").join(self.name())
    }

    /// The folder given, or the default.
    pub(crate) fn folder(self, path: Option<&Path>) -> PathBuf {
        path.map_or_else(|| self.default_path(), Path::to_owned)
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
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| DatasetError::UnknownName {
            found: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
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
