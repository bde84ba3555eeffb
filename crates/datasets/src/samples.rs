//! Samples of one split whose pixels may not have been read yet, so that those that nobody asks for never are.

use std::sync::Arc;

use model::config::Scaling;
use sha2::{Digest as _, Sha256};

use crate::custom::pictures::{self, Geometry};
use crate::elements::Values;
use crate::images::{hexadecimal, split_indices};
use crate::{DatasetError, LabelledImages};

/// Samples of one split of a data set: their classes, and their pixels as soon as they are [read](Self::read).
#[derive(Debug, Clone)]
pub struct Samples(Content);

#[derive(Debug, Clone)]
enum Content {
    Read(LabelledImages),
    Files(Files),
}

/// A file for each sample.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) folder: Arc<pictures::Folder>,
    /// Index of each sample's file in the folder.
    pub(crate) indices: Vec<usize>,
    pub(crate) labels: Vec<u16>,
    pub(crate) class_names: Arc<[String]>,
    pub(crate) geometry: Geometry,
    pub(crate) scaling: Scaling,
}

impl Samples {
    pub(crate) fn of_files(files: Files) -> Self {
        Self(Content::Files(files))
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels().len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels().is_empty()
    }

    /// Classes `[N]` of all samples.
    pub fn labels(&self) -> &[u16] {
        match &self.0 {
            Content::Read(images) => images.labels(),
            Content::Files(files) => &files.labels,
        }
    }

    /// Shape `[C, H, W]` of a sample.
    pub fn shape(&self) -> [usize; 3] {
        match &self.0 {
            Content::Read(images) => images.shape(),
            Content::Files(files) => files.geometry.shape(),
        }
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        match &self.0 {
            Content::Read(images) => images.n_classes(),
            Content::Files(files) => files.class_names.len(),
        }
    }

    /// The samples with the given indices, in that order.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        Self(match &self.0 {
            Content::Read(images) => Content::Read(images.select(indices)),
            Content::Files(of) => Content::Files(Files {
                indices: indices.iter().map(|&index| of.indices[index]).collect(),
                labels: indices.iter().map(|&index| of.labels[index]).collect(),
                ..of.clone()
            }),
        })
    }

    /// The first `n` samples, or all if there are fewer.
    #[must_use]
    pub fn take(&self, n: usize) -> Self {
        let n = n.min(self.len());
        match &self.0 {
            Content::Read(images) => Self(Content::Read(images.take(n))),
            Content::Files(_) => self.select(&(0..n).collect::<Vec<_>>()),
        }
    }

    /// Two parts without common samples ([`LabelledImages::split_validation`]).
    ///
    /// # Errors
    /// [`DatasetError::SplitTooLarge`] if no sample would be left to train on.
    pub fn split_validation(&self, n_validation: usize, seed: u64) -> Result<(Self, Self), DatasetError> {
        let [train, validation] = split_indices(self.len(), n_validation, seed)?;
        Ok((self.select(&train), self.select(&validation)))
    }

    /// Reads the pixels of all samples into memory: one byte per pixel of pictures.
    ///
    /// # Errors
    /// [`DatasetError`] if a file is missing, damaged or of another kind, or there are more pixels than are held in memory.
    pub fn read(self) -> Result<LabelledImages, DatasetError> {
        match self.0 {
            Content::Read(images) => Ok(images),
            Content::Files(Files { folder, indices, labels, class_names, geometry, scaling }) => {
                let bytes = folder.read(&indices, &geometry)?;
                LabelledImages::of_values(geometry.shape(), scaling, class_names, Values::Bytes(bytes), labels)
            }
        }
    }

    /// Identifies the samples: [`LabelledImages::checksum`], or where each has a file SHA-256 over the names and contents of the files,
    /// their classes and what is done to them.
    ///
    /// # Errors
    /// [`DatasetError`] if a file cannot be read.
    pub fn checksum(&self) -> Result<String, DatasetError> {
        match &self.0 {
            Content::Read(images) => Ok(images.checksum()),
            Content::Files(Files { folder, indices, labels, class_names, geometry, scaling }) => {
                let mut hash = Sha256::new();
                hash.update(format!("{geometry:?} {scaling:?} {}", class_names.len()));
                folder.hash(indices, &mut hash)?;
                for label in labels {
                    hash.update(label.to_le_bytes());
                }
                Ok(hexadecimal(hash))
            }
        }
    }
}

impl From<LabelledImages> for Samples {
    fn from(images: LabelledImages) -> Self {
        Self(Content::Read(images))
    }
}
