//! The data sets by name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::DatasetError;

/// A data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatasetName {
    /// UCI optdigits, embedded.
    Digits,
    /// MNIST.
    Mnist,
    /// Fashion-MNIST.
    FashionMnist,
    /// CIFAR-10.
    Cifar10,
}

/// A part of a data set.
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
const THINGS: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

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

    /// Names of the classes, in label order.
    pub const fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::Digits | Self::Mnist => &DIGITS,
            Self::FashionMnist => &CLOTHES,
            Self::Cifar10 => &THINGS,
        }
    }

    /// Pixel value of full brightness; values are divided by it.
    pub(crate) const fn white(self) -> u8 {
        match self {
            Self::Digits => 16,
            _ => 255,
        }
    }

    /// Folder where `scripts/fetch-data` puts the files.
    pub fn default_path(self) -> PathBuf {
        PathBuf::from("data").join(self.name())
    }

    /// How to get a missing file.
    pub(crate) fn remedy(self) -> String {
        let holds = if self == Self::Cifar10 { "CIFAR-10 binary batches" } else { "IDX files" };
        format!("run `scripts/fetch-data {self}`, or set data.path to a folder that holds the {holds}")
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
