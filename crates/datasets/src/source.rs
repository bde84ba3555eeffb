//! The data sets by name, with what is known of them before any file is read.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::DatasetError;

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
}

/// A part of a data set, as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training and calibration.
    Train,
    /// For scoring.
    Test,
}

const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const CLOTHES: [&str; 10] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
const THINGS: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

impl DatasetName {
    /// Every data set.
    pub const ALL: [Self; 4] = [Self::Digits, Self::Mnist, Self::FashionMnist, Self::Cifar10];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
        }
    }

    /// Image shape `[C, H, W]`.
    pub const fn shape(self) -> [usize; 3] {
        match self {
            Self::Digits => [1, 8, 8],
            Self::Mnist | Self::FashionMnist => [1, 28, 28],
            Self::Cifar10 => [3, 32, 32],
        }
    }

    /// Number of classes.
    pub const fn n_classes(self) -> usize {
        self.class_names().len()
    }

    /// Names of the classes, in label order.
    pub const fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::Digits | Self::Mnist => &DIGITS,
            Self::FashionMnist => &CLOTHES,
            Self::Cifar10 => &THINGS,
        }
    }

    /// Number of published training samples; a user's files may hold another number.
    pub const fn train_len(self) -> usize {
        match self {
            Self::Digits => 3823,
            Self::Mnist | Self::FashionMnist => 60_000,
            Self::Cifar10 => 50_000,
        }
    }

    /// Number of published test samples; a user's files may hold another number.
    pub const fn test_len(self) -> usize {
        match self {
            Self::Digits => 1797,
            _ => 10_000,
        }
    }

    /// Whether it is part of this crate and needs no files.
    pub const fn is_embedded(self) -> bool {
        matches!(self, Self::Digits)
    }

    /// Folder where `scripts/fetch-data` puts the files, relative to the repository's root.
    pub fn default_path(self) -> PathBuf {
        PathBuf::from("data").join(self.name())
    }

    /// Pixel value that stands for 1: pixels are divided by it.
    pub(crate) const fn scale(self) -> u8 {
        match self {
            Self::Digits => 16,
            _ => 255,
        }
    }

    /// How to get a missing folder or file.
    pub(crate) fn remedy(self) -> String {
        let holds = if self == Self::Cifar10 { "CIFAR-10 binary batches" } else { "IDX files" };
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
            assert_eq!(name.n_classes(), 10);
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
