//! The published data sets: one file each, which says what the data set holds, how it is checked and read, and one row each here.
//!
//! A new one has its word in the configuration ([`DatasetName`]), too, and `scripts/fetch-data` may know how to get it.

mod cifar10;
mod cifar100;
mod digits;
mod fashion_mnist;
mod mnist;

use std::path::Path;

use model::config::DatasetName;

use crate::source::Published;
use crate::{DatasetError, Split};

/// What a data set's own file says of it.
#[derive(Debug)]
pub(crate) struct Row {
    /// What is known before any file is read.
    pub(crate) published: &'static Published,
    /// Pixel value that stands for 1: pixels are divided by it.
    pub(crate) scale: u8,
    /// [`crate::LabelledImages::checksum`] of the published training and test samples, where it is known.
    pub(crate) checksums: Option<[&'static str; 2]>,
    /// Reads one split from a folder.
    pub(crate) load: fn(Split, &Path) -> Result<Loaded, DatasetError>,
}

/// One split as it is read: pixels `[N, C, H, W]` and labels `[N]`.
pub(crate) type Loaded = (Vec<u8>, Vec<u8>);

/// What is known of a published data set; `None` for a user's own.
pub(crate) const fn row(name: DatasetName) -> Option<&'static Row> {
    match name {
        DatasetName::Digits => Some(&digits::ROW),
        DatasetName::Mnist => Some(&mnist::ROW),
        DatasetName::FashionMnist => Some(&fashion_mnist::ROW),
        DatasetName::Cifar10 => Some(&cifar10::ROW),
        DatasetName::Cifar100 => Some(&cifar100::ROW),
        DatasetName::Custom => None,
    }
}

/// Reads one split of CIFAR-10 for whoever has found its files by themselves.
pub(crate) fn load_cifar10(split: Split, folder: &Path) -> Result<Loaded, DatasetError> {
    (cifar10::ROW.load)(split, folder)
}

/// What is known of CIFAR-10.
pub(crate) fn cifar10() -> &'static Published {
    cifar10::ROW.published
}
