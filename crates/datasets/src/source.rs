//! What is known of data sets, and their parts. The data sets themselves are in [`crate::sets`].

use std::fmt;
use std::path::Path;

use crate::{DatasetError, DatasetName};

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
        (name.row().facts)(&name.folder(path))
    }
}

/// What is known of a published data set before any file is read.
#[derive(Debug)]
pub(crate) struct Published {
    /// `[C, H, W]`
    pub(crate) shape: [usize; 3],
    /// In label order.
    pub(crate) class_names: &'static [&'static str],
    /// Number of training and test samples; a user's files may hold others.
    pub(crate) n_train: usize,
    pub(crate) n_test: usize,
}

impl Published {
    pub(crate) fn facts(&self) -> DatasetFacts {
        let &Self { shape, class_names, n_train, n_test } = self;
        DatasetFacts { shape, class_names: class_names.iter().copied().map(str::to_owned).collect(), n_train, n_test }
    }
}

/// A part of a data set, as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training and calibration.
    Train,
    /// For scoring.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}
