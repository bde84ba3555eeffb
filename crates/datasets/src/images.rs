//! Labelled images in memory, as the bytes they are stored as.
//!
//! Checks what the data sets' readers ([`crate::sets`], [`crate::custom`]) or a caller give; reads no file itself. The commands take
//! samples from here, by index or as a burn data set.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn_dataset::Dataset;
use model::config::{DataConfig, DatasetName, Scaling};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::elements::Values;
use crate::labels::MAX_CLASSES;
use crate::scaling::kept;
use crate::{DataSet, DatasetError, Split};

/// Images of one shape with a class each.
///
/// A pixel that is stored as a byte costs one, and four bytes if it is stored otherwise. Read, it is in [0, 1], as the data set's
/// [`Scaling`] says; only where that was not found from these images themselves can it lie outside.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledImages {
    shape: [usize; 3],
    scaling: Scaling,
    class_names: Arc<[String]>,
    pixels: Pixels,
    labels: Vec<u16>,
}

/// Pixels `[N, C, H, W]`, row-major.
#[derive(Debug, Clone, PartialEq)]
enum Pixels {
    Bytes {
        bytes: Vec<u8>,
        /// The pixel that each byte stands for.
        values: Arc<[f32; 256]>,
    },
    Reals(Vec<f32>),
}

impl Pixels {
    fn of(values: Values, scaling: Scaling) -> Self {
        match values {
            Values::Bytes(bytes) => Self::of_bytes(bytes, scaling),
            Values::Reals { mut values, .. } => {
                if scaling != Scaling::by(1.0) {
                    for value in &mut values {
                        *value = kept(scaling, (*value).into());
                    }
                }
                Self::Reals(values)
            }
        }
    }

    fn of_bytes(bytes: Vec<u8>, scaling: Scaling) -> Self {
        let values = Arc::new(std::array::from_fn(|byte| kept(scaling, byte as f64)));
        Self::Bytes { bytes, values }
    }

    fn select(&self, ranges: impl Iterator<Item = Range<usize>>) -> Self {
        match self {
            Self::Bytes { bytes, values } => {
                Self::Bytes { bytes: ranges.flat_map(|range| &bytes[range]).copied().collect(), values: values.clone() }
            }
            Self::Reals(values) => Self::Reals(ranges.flat_map(|range| &values[range]).copied().collect()),
        }
    }
}

/// Samples whose values no rate of spikes stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outside {
    /// How many samples there are.
    pub n_samples: usize,
    /// The first of them, from 0.
    pub index: usize,
    /// Its first such value, after division by the scale.
    pub value: f64,
}

/// One image with its class, as burn's data tools want it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelledImage {
    /// Index in the data set.
    pub index: usize,
    /// Pixels `[C·H·W]`, row-major, in [0, 1].
    pub pixels: Vec<f32>,
    /// Class.
    pub label: u16,
}

impl LabelledImages {
    /// Reads a split of a data set into memory, with what its files tell and no more.
    ///
    /// - `path`: its folder or file; `None` is [`DatasetName::default_path`]. Unused for an embedded data set.
    ///
    /// # Errors
    /// [`DatasetError`] if files are missing, truncated, oversized, of another kind, or do not belong together.
    pub fn load(name: DatasetName, split: Split, path: Option<&Path>) -> Result<Self, DatasetError> {
        let config = DataConfig { dataset: name, path: path.map(Path::to_owned), ..DataConfig::default() };
        DataSet::open(&config, None)?.samples(split)?.read()
    }

    /// Puts together what a reader has checked.
    ///
    /// - `labels`: `[N]`, each below the number of names
    pub(crate) fn of_values(
        shape: [usize; 3],
        scaling: Scaling,
        class_names: Arc<[String]>,
        values: Values,
        labels: Vec<u16>,
    ) -> Result<Self, DatasetError> {
        let n_features = n_features(shape);
        let (n_pixels, n_labels) = (values.len(), labels.len());
        if n_labels.checked_mul(n_features) != Some(n_pixels) {
            return Err(DatasetError::PixelCount { n_pixels, n_labels, n_features });
        }
        Ok(Self { shape, scaling, class_names, pixels: Pixels::of(values, scaling), labels })
    }

    /// Makes labelled images of their parts; the classes are named by their numbers.
    ///
    /// - `shape`: `[C, H, W]`, each ≥ 1
    /// - `scale`: pixel value that stands for 1, ≥ 1
    /// - `n_classes`: 1 to 65,536
    /// - `pixels`: `[N, C, H, W]`, row-major, none above `scale`
    /// - `labels`: `[N]`, each below `n_classes`
    ///
    /// # Errors
    /// [`DatasetError::InvalidKind`], [`DatasetError::PixelCount`], [`DatasetError::PixelAboveScale`] or
    /// [`DatasetError::LabelOutOfRange`] if they are not so.
    pub fn from_parts(
        shape: [usize; 3],
        scale: u8,
        n_classes: usize,
        pixels: Vec<u8>,
        labels: Vec<u16>,
    ) -> Result<Self, DatasetError> {
        let n_features = n_features(shape);
        if n_features == 0 || scale == 0 || !(1..=MAX_CLASSES).contains(&n_classes) {
            return Err(DatasetError::InvalidKind { shape, scale, n_classes });
        }
        if let Some(position) = pixels.iter().position(|&pixel| pixel > scale) {
            let (index, pixel) = (position / n_features, pixels[position]);
            return Err(DatasetError::PixelAboveScale { index, pixel, scale });
        }
        if let Some(index) = labels.iter().position(|&label| usize::from(label) >= n_classes) {
            let (place, label) = ("labels".to_owned(), labels[index].into());
            return Err(DatasetError::LabelOutOfRange { place, index, label, first: 0, n_classes });
        }
        let class_names = (0..n_classes).map(|class| class.to_string()).collect();
        Self::of_values(shape, Scaling::by(scale.into()), class_names, Values::Bytes(pixels), labels)
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
        self.class_names.len()
    }

    /// Names of the classes, in label order.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Class of an image.
    pub fn label(&self, index: usize) -> u16 {
        self.labels[index]
    }

    /// Classes `[N]` of all images.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// Bytes `[C, H, W]` that an image is stored as, row-major.
    ///
    /// # Panics
    /// If its pixels are stored as something else.
    pub fn raw(&self, index: usize) -> &[u8] {
        let n_features = self.n_features();
        match &self.pixels {
            Pixels::Bytes { bytes, .. } => &bytes[index * n_features..][..n_features],
            Pixels::Reals(_) => panic!("pixels are asked for as bytes, and are none"),
        }
    }

    /// What stored values stand for.
    pub fn scaling(&self) -> Scaling {
        self.scaling
    }

    /// Pixels `[C, H, W]` of an image, row-major, in [0, 1].
    pub fn image(&self, index: usize) -> Vec<f32> {
        self.images(index..index + 1)
    }

    /// Pixels `[N, C, H, W]` of a range of images, row-major, in [0, 1].
    pub fn images(&self, range: Range<usize>) -> Vec<f32> {
        let mut pixels = vec![0.0; range.len() * self.n_features()];
        for (image, index) in pixels.chunks_exact_mut(self.n_features()).zip(range) {
            self.write_image(index, image);
        }
        pixels
    }

    /// Writes an image's pixels, row-major, in [0, 1].
    ///
    /// - `image`: `[C·H·W]`; another length is a bug and panics
    pub fn write_image(&self, index: usize, image: &mut [f32]) {
        let n_features = self.n_features();
        assert_eq!(image.len(), n_features, "an image is written to a slice of its length");
        let range = index * n_features..(index + 1) * n_features;
        match &self.pixels {
            Pixels::Bytes { bytes, values } => {
                image.iter_mut().zip(&bytes[range]).for_each(|(value, &byte)| *value = values[usize::from(byte)]);
            }
            Pixels::Reals(values) => image.copy_from_slice(&values[range]),
        }
    }

    /// Samples that have values outside [0, 1], which no rate of spikes stands for; `None` if there are none.
    pub fn outside(&self) -> Option<Outside> {
        let n_features = self.n_features();
        let is_outside = |pixel: f32| !(0.0..=1.0).contains(&pixel);
        let places = |is_outside: &dyn Fn(usize) -> bool| {
            let first = (0..self.len() * n_features).find(|&place| is_outside(place))?;
            let in_sample = |index: &usize| (index * n_features..(index + 1) * n_features).any(is_outside);
            Some((first, (first / n_features..self.len()).filter(in_sample).count()))
        };
        let (first, n_samples) = match &self.pixels {
            Pixels::Bytes { bytes, values } => {
                let are_outside = values.map(is_outside);
                places(&|place| are_outside[usize::from(bytes[place])])
            }
            Pixels::Reals(values) => places(&|place| is_outside(values[place])),
        }?;
        let pixel = match &self.pixels {
            Pixels::Bytes { bytes, values } => values[usize::from(bytes[first])],
            Pixels::Reals(values) => values[first],
        };
        let [low, high] = self.scaling.range;
        Some(Outside { n_samples, index: first / n_features, value: low + (high - low) * f64::from(pixel) })
    }

    /// Refuses samples that have values outside [0, 1], for those who make spikes of them.
    ///
    /// - `split`: which samples they are, for the message
    ///
    /// # Errors
    /// [`DatasetError::OutsideRange`]
    pub fn check_rates(&self, split: Split) -> Result<(), DatasetError> {
        let Some(Outside { n_samples, index, value }) = self.outside() else { return Ok(()) };
        let [low, high] = self.scaling.range;
        Err(DatasetError::OutsideRange { n_samples, n: self.len(), split, index, value, low, high })
    }

    /// The images with the given indices, in that order.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let n_features = self.n_features();
        Self {
            class_names: self.class_names.clone(),
            pixels: self.pixels.select(indices.iter().map(|&index| index * n_features..(index + 1) * n_features)),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            ..*self
        }
    }

    /// The first `n` images, or all if there are fewer.
    #[must_use]
    pub fn take(&self, n: usize) -> Self {
        let n = n.min(self.len());
        Self {
            class_names: self.class_names.clone(),
            pixels: self.pixels.select(std::iter::once(0..n * self.n_features())),
            labels: self.labels[..n].to_vec(),
            ..*self
        }
    }

    /// Two parts without common images: those to train on, and `n_validation` drawn uniformly at random.
    ///
    /// Both keep the order of the images. The same seed gives the same parts on every machine and in every later
    /// version (`ChaCha8`, with the draws made here), and a larger `n_validation` draws the same images and more.
    ///
    /// # Errors
    /// [`DatasetError::SplitTooLarge`] if no image would be left to train on.
    pub fn split_validation(&self, n_validation: usize, seed: u64) -> Result<(Self, Self), DatasetError> {
        let [train, validation] = split_indices(self.len(), n_validation, seed)?;
        Ok((self.select(&train), self.select(&validation)))
    }

    /// SHA-256 over number, shape, classes, scaling, pixels and labels, in hexadecimal: identifies the images.
    ///
    /// The sizes go in as little-endian 64-bit integers, pixels and labels as the bytes they are.
    pub fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        let [channels, height, width] = self.shape;
        for size in [self.len(), channels, height, width, self.n_classes()] {
            hash.update((size as u64).to_le_bytes());
        }
        let Scaling { scale, range } = self.scaling;
        match &self.pixels {
            Pixels::Bytes { bytes, .. } => {
                if range == [0.0, 1.0] && scale.fract() == 0.0 {
                    hash.update((scale as u64).to_le_bytes());
                } else {
                    hash_scaling(&mut hash, self.scaling);
                }
                hash.update(bytes);
            }
            Pixels::Reals(values) => {
                hash_scaling(&mut hash, self.scaling);
                for value in values {
                    hash.update(value.to_le_bytes());
                }
            }
        }
        for label in &self.labels {
            let bytes = label.to_le_bytes();
            hash.update(if self.n_classes() <= 256 { &bytes[..1] } else { &bytes });
        }
        hexadecimal(hash)
    }
}

fn hash_scaling(hash: &mut Sha256, Scaling { scale, range: [low, high] }: Scaling) {
    for value in [scale, low, high] {
        hash.update(value.to_le_bytes());
    }
}

/// The digest of a hash.
pub(crate) fn hexadecimal(hash: Sha256) -> String {
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").expect("writing to a text cannot fail");
    }
    text
}

/// Number of pixels of an image; 0 if there are none, or more than can be counted.
fn n_features(shape: [usize; 3]) -> usize {
    shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size)).unwrap_or(0)
}

/// Indices of those to train on and of those to validate on, both in ascending order ([`LabelledImages::split_validation`]).
pub(crate) fn split_indices(n_samples: usize, n_validation: usize, seed: u64) -> Result<[Vec<usize>; 2], DatasetError> {
    if n_validation >= n_samples {
        return Err(DatasetError::SplitTooLarge { n_validation, n_samples });
    }
    let mut order: Vec<usize> = (0..n_samples).collect();
    shuffle_front(&mut order, n_validation, seed);
    let (validation, train) = order.split_at_mut(n_validation);
    validation.sort_unstable();
    train.sort_unstable();
    Ok([train.to_vec(), validation.to_vec()])
}

/// Moves `n` items drawn uniformly without replacement to the front (Fisher–Yates).
///
/// `ChaCha8` keyed with the seed's little-endian bytes. No sampling code of the `rand` crate takes part: its
/// results may change from version to version.
fn shuffle_front(items: &mut [usize], n: usize, seed: u64) {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut generator = ChaCha8Rng::from_seed(key);
    for front in 0..n {
        let n_left = (items.len() - front) as u64;
        // Draws beyond the last whole multiple would favour some items: they are made again.
        let n_fair = u64::MAX - u64::MAX % n_left;
        let draw = std::iter::repeat_with(|| generator.next_u64()).find(|&draw| draw < n_fair);
        let draw = draw.expect("the generator has no end") % n_left;
        items.swap(front, front + draw as usize);
    }
}

impl Dataset<LabelledImage> for LabelledImages {
    /// Panics beyond the end, as the trait asks; never an error, since all images are in memory.
    fn get(&self, index: usize) -> Result<LabelledImage, burn_dataset::DatasetError> {
        Ok(LabelledImage { index, pixels: self.image(index), label: self.labels[index] })
    }

    fn len(&self) -> usize {
        self.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_labels(labels: Vec<u16>) -> LabelledImages {
        let pixels = labels.iter().flat_map(|&label| [2 * label as u8, 2 * label as u8 + 1]).collect();
        LabelledImages::from_parts([1, 1, 2], 16, 8, pixels, labels).unwrap()
    }

    fn eight() -> LabelledImages {
        with_labels((0..8).collect())
    }

    #[test]
    fn pixels_are_read_as_fractions_of_the_scale() {
        assert_eq!(eight().images(3..5), [6.0 / 16.0, 7.0 / 16.0, 8.0 / 16.0, 9.0 / 16.0]);
        assert_eq!((eight().raw(3), eight().scaling()), ([6, 7].as_slice(), Scaling::by(16.0)));
        let white = LabelledImages::from_parts([1, 1, 1], 255, 1, vec![255], vec![0]).unwrap();
        assert_eq!(white.image(0), [1.0]);
    }

    #[test]
    fn burn_gets_the_same_images() {
        let samples = eight();
        let items: Vec<LabelledImage> = Dataset::iter(&samples).collect::<Result<_, _>>().unwrap();
        assert_eq!(items.len(), Dataset::<LabelledImage>::len(&samples));
        for (index, item) in items.into_iter().enumerate() {
            assert_eq!(item, LabelledImage { index, pixels: samples.image(index), label: samples.label(index) });
        }
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn burn_asking_beyond_the_end_is_a_bug() {
        let _: Result<LabelledImage, _> = Dataset::get(&eight(), 8);
    }

    #[test]
    fn selected_images_keep_their_labels_and_the_given_order() {
        let selected = eight().select(&[5, 0, 5]);
        assert_eq!(selected.labels(), [5, 0, 5]);
        assert_eq!((selected.raw(0), selected.raw(1)), ([10, 11].as_slice(), [0, 1].as_slice()));
        assert_eq!(eight().take(2), eight().select(&[0, 1]));
        assert_eq!(eight().take(9), eight());
        assert!(eight().take(0).is_empty());
    }

    #[test]
    fn a_loaded_data_set_has_its_class_names() {
        let digits = LabelledImages::load(DatasetName::Digits, Split::Test, None).unwrap();
        assert_eq!((digits.class_names()[9].as_str(), digits.n_classes(), digits.n_features()), ("9", 10, 64));
    }

    /// The first draws, by an implementation of `ChaCha8` and of the draws in another language.
    #[test]
    fn the_draws_of_a_seed_never_change() {
        let drawn = |n_items, n, seed| {
            let mut items: Vec<usize> = (0..n_items).collect();
            shuffle_front(&mut items, n, seed);
            items.truncate(n);
            items
        };
        assert_eq!(drawn(8, 8, 0), [6, 0, 1, 3, 4, 5, 7, 2]);
        assert_eq!(drawn(60_000, 10, 7), [54099, 31324, 32254, 11562, 52651, 54686, 5369, 11445, 20973, 20510]);
        assert_eq!(drawn(60_000, 5, u64::MAX), [7047, 43984, 37798, 30984, 15784]);
    }

    #[test]
    fn every_image_is_drawn_equally_often() {
        let mut counts = [0_u32; 8];
        for seed in 0..1000 {
            for &label in eight().split_validation(3, seed).unwrap().1.labels() {
                counts[usize::from(label)] += 1;
            }
        }
        // Binomial with n = 1000, p = 3/8: mean 375, standard deviation 15.3; five of them either way.
        assert!(counts.iter().all(|count| (299..=451).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_split_that_leaves_nothing_to_train_on_is_refused() {
        let error = eight().split_validation(8, 5).unwrap_err();
        assert!(matches!(error, DatasetError::SplitTooLarge { n_validation: 8, n_samples: 8 }));
        assert_eq!(eight().split_validation(0, 5).unwrap(), (eight(), eight().take(0)));
    }

    #[test]
    fn the_checksum_changes_with_every_part() {
        let base = eight().checksum();
        let with = |shape, scale, n_classes, pixel, label| {
            let mut pixels: Vec<u8> = (0..16).collect();
            let mut labels: Vec<u16> = (0..8).collect();
            (pixels[0], labels[0]) = (pixel, label);
            LabelledImages::from_parts(shape, scale, n_classes, pixels, labels).unwrap().checksum()
        };
        assert_eq!(with([1, 1, 2], 16, 8, 0, 0), base);
        for other in [
            with([1, 2, 1], 16, 8, 0, 0),
            with([1, 1, 2], 17, 8, 0, 0),
            with([1, 1, 2], 16, 9, 0, 0),
            with([1, 1, 2], 16, 8, 1, 0),
            with([1, 1, 2], 16, 8, 0, 1),
            eight().take(7).checksum(),
        ] {
            assert_ne!(other, base);
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let make = |shape, scale, n_classes, pixels: &[u8], labels: &[u16]| {
            LabelledImages::from_parts(shape, scale, n_classes, pixels.to_vec(), labels.to_vec()).unwrap_err()
        };
        let pair = [1, 1, 2];
        assert!(matches!(
            make(pair, 16, 8, &[0; 3], &[0, 1]),
            DatasetError::PixelCount { n_pixels: 3, n_features: 2, .. }
        ));
        assert!(matches!(
            make(pair, 16, 8, &[0, 0, 0, 17], &[0, 1]),
            DatasetError::PixelAboveScale { index: 1, pixel: 17, .. }
        ));
        assert!(matches!(
            make(pair, 16, 8, &[0; 4], &[0, 8]),
            DatasetError::LabelOutOfRange { index: 1, label: 8, .. }
        ));
        for (shape, scale, n_classes) in
            [([0, 1, 2], 16, 8), ([usize::MAX, 2, 1], 16, 8), (pair, 0, 8), (pair, 16, 0), (pair, 16, 65_537)]
        {
            assert!(matches!(make(shape, scale, n_classes, &[], &[]), DatasetError::InvalidKind { .. }));
        }
    }

    fn of_reals(values: Vec<f32>, scaling: Scaling) -> LabelledImages {
        let names: Arc<[String]> = (0..300).map(|class| class.to_string()).collect();
        let labels = (0..values.len() as u16 / 2).map(|label| 290 + label).collect();
        let values = Values::Reals { values, are_whole: false };
        LabelledImages::of_values([2, 1, 1], scaling, names, values, labels).unwrap()
    }

    #[test]
    fn real_values_are_kept_by_their_range_and_those_outside_are_counted() {
        let images = of_reals(vec![-2.0, 6.0, 0.0, 2.0], Scaling { scale: 1.0, range: [-2.0, 6.0] });
        assert_eq!(images.images(0..2), [0.0, 1.0, 0.25, 0.5]);
        assert_eq!((images.labels(), images.outside()), ([290, 291].as_slice(), None));
        assert!(images.check_rates(Split::Test).is_ok());
        let images = of_reals(vec![-2.0, 6.0, 0.0, 10.0, -3.0, 7.0], Scaling { scale: 2.0, range: [-1.0, 3.0] });
        assert_eq!(images.select(&[1]).images(0..1), [0.25, 1.5]);
        assert_eq!(images.outside(), Some(Outside { n_samples: 2, index: 1, value: 5.0 }));
        assert_eq!(
            images.check_rates(Split::Test).unwrap_err().to_string(),
            "2 of 3 test samples have values outside -1 to 3, such as 5 in sample 1 (from 0), which no rate of spikes stands for; \
             set data.range (or data.scale) so that it holds them, or simulate.encoding = \"constant\""
        );
        assert_ne!(images.checksum(), of_reals(vec![-2.0, 6.0, 0.0, 10.0, -3.0, 6.5], images.scaling()).checksum());
    }

    #[test]
    fn bytes_above_white_are_told_and_not_cut_off() {
        let names: Arc<[String]> = ["0".to_owned()].into();
        let values = Values::Bytes(vec![16, 20, 0, 16]);
        let images = LabelledImages::of_values([1, 1, 2], Scaling::by(16.0), names, values, vec![0, 0]).unwrap();
        assert_eq!(images.image(0), [1.0, 1.25]);
        assert_eq!(images.outside(), Some(Outside { n_samples: 1, index: 0, value: 1.25 }));
    }

    proptest! {
        #[test]
        fn a_validation_split_is_disjoint_complete_ordered_and_fixed_by_its_seed(
            labels in proptest::collection::vec(0..8_u16, 2..40), part in 0.0..1.0, seed in any::<u64>(),
        ) {
            let n_validation = (labels.len() as f64 * part) as usize;
            // Each image is its own index, so that the parts show which images they hold.
            let indices: Vec<u8> = (0..labels.len() as u8).collect();
            let samples = LabelledImages::from_parts([1, 1, 1], 255, 8, indices.clone(), labels).unwrap();
            let (train, validation) = samples.split_validation(n_validation, seed).unwrap();
            prop_assert_eq!(validation.len(), n_validation);
            let stored = |part: &LabelledImages| -> Vec<u8> { (0..part.len()).map(|i| part.raw(i)[0]).collect() };
            prop_assert!(stored(&train).is_sorted() && stored(&validation).is_sorted());
            let mut all = [stored(&train), stored(&validation)].concat();
            all.sort_unstable();
            prop_assert_eq!(all, indices);
            for part in [&train, &validation] {
                prop_assert!((0..part.len()).all(|i| part.label(i) == samples.label(usize::from(part.raw(i)[0]))));
            }
            prop_assert_eq!(samples.split_validation(n_validation, seed).unwrap(), (train, validation.clone()));
            let fewer = samples.split_validation(n_validation / 2, seed).unwrap().1;
            prop_assert!(stored(&fewer).iter().all(|index| stored(&validation).contains(index)));
        }
    }
}
