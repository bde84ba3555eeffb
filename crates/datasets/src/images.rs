//! Labelled images in memory, as the bytes they are stored as.

use std::path::Path;

use burn_dataset::Dataset;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{DatasetError, DatasetName, Split, cifar, digits, idx};

/// Images of one shape with a class each. A pixel costs one byte, and is read as a number in [0, 1].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImages {
    shape: [usize; 3],
    white: u8,
    n_classes: usize,
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

/// One image with its class, as burn's data tools want it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelledImage {
    /// Pixels `[C·H·W]`, in [0, 1].
    pub pixels: Vec<f32>,
    /// Class.
    pub label: u8,
}

impl LabelledImages {
    /// Reads a data set.
    ///
    /// - `path`: the folder with its files; `None` is the default folder. The embedded data set has none.
    ///
    /// # Errors
    /// [`DatasetError`] if files are missing, truncated, oversized, of another kind, or do not belong together.
    pub fn load(name: DatasetName, split: Split, path: Option<&Path>) -> Result<Self, DatasetError> {
        let folder = path.map_or_else(|| name.default_path(), Path::to_owned);
        let (pixels, labels) = match name {
            DatasetName::Digits => digits::load(split)?,
            DatasetName::Mnist | DatasetName::FashionMnist => idx::load(name, split, &folder)?,
            DatasetName::Cifar10 => cifar::load(split, &folder)?,
        };
        Self::from_parts(name.shape(), name.white(), name.class_names().len(), pixels, labels)
    }

    /// Makes labelled images of their parts.
    ///
    /// - `shape`: `[C, H, W]`
    /// - `white`: pixel value that stands for 1.0
    /// - `pixels`: `[N, C, H, W]`, row-major, none above `white`
    /// - `labels`: `[N]`, each below `n_classes`
    ///
    /// # Errors
    /// [`DatasetError::Parts`] if they do not fit.
    pub fn from_parts(
        shape: [usize; 3],
        white: u8,
        n_classes: usize,
        pixels: Vec<u8>,
        labels: Vec<u8>,
    ) -> Result<Self, DatasetError> {
        let n_features: usize = shape.iter().product();
        let refuse = |problem: String| Err(DatasetError::Parts(problem));
        if n_features == 0 || pixels.len() != n_features * labels.len() {
            return refuse(format!("{} pixels do not make {} images of {shape:?}", pixels.len(), labels.len()));
        }
        if let Some(pixel) = pixels.iter().find(|&&pixel| pixel > white) {
            return refuse(format!("a pixel of {pixel} is above the largest, {white}"));
        }
        if let Some(label) = labels.iter().find(|&&label| usize::from(label) >= n_classes) {
            return refuse(format!("a label of {label} is not below {n_classes}"));
        }
        Ok(Self { shape, white, n_classes, pixels, labels })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Shape `[C, H, W]` of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of pixels of an image, `C·H·W`.
    pub fn n_features(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Class of an image.
    pub fn label(&self, index: usize) -> u8 {
        self.labels[index]
    }

    /// Writes an image's pixels, in [0, 1].
    ///
    /// - `image`: `[C·H·W]`
    pub fn write_image(&self, index: usize, image: &mut [f32]) {
        let n_features = self.n_features();
        let white = f32::from(self.white);
        for (value, &pixel) in image.iter_mut().zip(&self.pixels[index * n_features..][..n_features]) {
            *value = f32::from(pixel) / white;
        }
    }

    /// Pixels `[N, C·H·W]` of a range of images, in [0, 1].
    pub fn images(&self, range: std::ops::Range<usize>) -> Vec<f32> {
        let mut pixels = vec![0.0; range.len() * self.n_features()];
        for (image, index) in pixels.chunks_exact_mut(self.n_features()).zip(range) {
            self.write_image(index, image);
        }
        pixels
    }

    /// The images with the given indices, in that order.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let n_features = self.n_features();
        Self {
            pixels: indices.iter().flat_map(|&index| &self.pixels[index * n_features..][..n_features]).copied().collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            ..*self
        }
    }

    /// Two parts without common images: the rest, and `n_validation` images drawn at random.
    ///
    /// The same seed gives the same parts on every machine.
    ///
    /// # Errors
    /// [`DatasetError::SplitTooLarge`] if no image would be left in the first part.
    pub fn split_validation(&self, n_validation: usize, seed: u64) -> Result<(Self, Self), DatasetError> {
        let n_samples = self.len();
        if n_validation >= n_samples {
            return Err(DatasetError::SplitTooLarge { n_validation, n_samples });
        }
        let mut order: Vec<usize> = (0..n_samples).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let (validation, train) = order.split_at_mut(n_validation);
        validation.sort_unstable();
        train.sort_unstable();
        Ok((self.select(train), self.select(validation)))
    }

    /// SHA-256 over shape, classes, pixels and labels, in hexadecimal: identifies the images.
    pub fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        let sizes = [self.len(), self.shape[0], self.shape[1], self.shape[2], self.n_classes, usize::from(self.white)];
        for size in sizes {
            hash.update((size as u64).to_le_bytes());
        }
        hash.update(&self.pixels);
        hash.update(&self.labels);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Dataset<LabelledImage> for LabelledImages {
    fn get(&self, index: usize) -> Result<LabelledImage, burn_dataset::DatasetError> {
        let Some(&label) = self.labels.get(index) else {
            let problem = format!("sample {index} of {}", self.labels.len());
            return Err(burn_dataset::DatasetError::new(DatasetError::Parts(problem)));
        };
        Ok(LabelledImage { pixels: self.images(index..index + 1), label })
    }

    fn len(&self) -> usize {
        self.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eight() -> LabelledImages {
        let pixels = (0..16).collect();
        LabelledImages::from_parts([1, 1, 2], 16, 8, pixels, (0..8).collect()).unwrap()
    }

    #[test]
    fn pixels_are_read_as_fractions_of_white() {
        assert_eq!(eight().images(3..5), [6.0 / 16.0, 7.0 / 16.0, 8.0 / 16.0, 9.0 / 16.0]);
        let item = Dataset::get(&eight(), 3).unwrap();
        assert_eq!((item.pixels, item.label), (vec![6.0 / 16.0, 7.0 / 16.0], 3));
        assert!(Dataset::get(&eight(), 8).unwrap_err().to_string().contains("sample 8 of 8"));
    }

    #[test]
    fn a_validation_split_is_disjoint_complete_and_fixed_by_its_seed() {
        let (train, validation) = eight().split_validation(3, 5).unwrap();
        let mut labels: Vec<u8> = train.labels.iter().chain(&validation.labels).copied().collect();
        labels.sort_unstable();
        assert_eq!((validation.len(), labels), (3, (0..8).collect()));
        assert_eq!(eight().split_validation(3, 5).unwrap(), (train, validation.clone()));
        assert!((0..20).any(|seed| eight().split_validation(3, seed).unwrap().1 != validation));
        assert!(matches!(eight().split_validation(8, 5), Err(DatasetError::SplitTooLarge { .. })));
    }

    #[test]
    fn the_checksum_changes_with_every_part() {
        let base = eight().checksum();
        let with = |shape, white, n_classes, pixel, label| {
            let mut pixels: Vec<u8> = (0..16).collect();
            let mut labels: Vec<u8> = (0..8).collect();
            (pixels[0], labels[0]) = (pixel, label);
            LabelledImages::from_parts(shape, white, n_classes, pixels, labels).unwrap().checksum()
        };
        assert_eq!(with([1, 1, 2], 16, 8, 0, 0), base);
        for other in [with([1, 2, 1], 16, 8, 0, 0), with([1, 1, 2], 17, 8, 0, 0), with([1, 1, 2], 16, 9, 0, 0), with([1, 1, 2], 16, 8, 1, 0), with([1, 1, 2], 16, 8, 0, 1)] {
            assert_ne!(other, base);
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        for (pixels, labels, message) in [
            (vec![0; 3], vec![0, 1], "3 pixels do not make 2 images"),
            (vec![0, 0, 0, 17], vec![0, 1], "17 is above the largest, 16"),
            (vec![0; 4], vec![0, 8], "8 is not below 8"),
        ] {
            let error = LabelledImages::from_parts([1, 1, 2], 16, 8, pixels, labels).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
