//! `[data]`: which samples there are, and what their stored values stand for.
//!
//! The data set's own crate reads files and finds what the file leaves open, [`Scaling`]; the graph of the network gets
//! [`DataConfig::affine`], which leads from what is stored in [0, 1] to what the network was trained on.

use std::path::PathBuf;

use super::words::words;

words! {
    /// A data set.
    DatasetName {
        /// UCI optdigits (Alpaydin & Kaynak 1998), embedded.
        Digits = "digits",
        /// MNIST (`LeCun` et al. 1998).
        Mnist = "mnist",
        /// Fashion-MNIST (Xiao et al. 2017).
        FashionMnist = "fashion-mnist",
        /// CIFAR-10 (Krizhevsky 2009).
        Cifar10 = "cifar10",
        /// CIFAR-100 (Krizhevsky 2009) with its 100 fine classes.
        Cifar100 = "cifar100",
        /// A user's own.
        Custom = "custom",
    }
}

impl DatasetName {
    /// Whether it is part of the program and needs no files.
    pub const fn is_embedded(self) -> bool {
        matches!(self, Self::Digits)
    }

    /// Folder where `scripts/fetch-data` puts the files, or a user may, relative to the repository's root.
    pub fn default_path(self) -> PathBuf {
        PathBuf::from("data").join(self.name())
    }
}

words! {
    /// How pictures are made smaller or larger.
    Interpolation {
        /// Triangles, as wide as a pixel of the smaller picture.
        Bilinear = "bilinear",
        /// Cubic splines with a = −½, as wide as two pixels of the smaller picture.
        Bicubic = "bicubic",
    }
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DataConfig {
    /// The data set.
    pub dataset: DatasetName,
    /// Its folder or file; `None` is the data set's own default.
    pub path: Option<PathBuf>,
    /// Training samples set aside for validation.
    pub validation_samples: usize,
    /// What stored values are divided by, above 0; `None` leaves it to the data.
    pub scale: Option<f64>,
    /// Smallest and largest value, after `scale`, that are kept as 0 and 1; `None` leaves it to the data.
    pub range: Option<[f64; 2]>,
    /// What is taken off values, after `scale`, and what they are divided by, before the network sees them.
    pub normalize: Option<Normalize>,
    /// Length of the short side that pictures are resized to; `None` leaves it to the pictures.
    pub resize: Option<Resize>,
    /// Height and width that are cut out of the middle of pictures; `None` is the size of the network's input.
    pub crop: Option<usize>,
    /// How pictures are resized.
    pub interpolation: Interpolation,
    /// Label of the first class; `None` is 0, and labels that look otherwise are refused.
    pub first_label: Option<usize>,
    /// Column of a table of labels; `None` takes labels that are a list.
    pub label_column: Option<usize>,
}

/// What is done to the size of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// Nothing.
    Off,
    /// The short side gets this length, and the long one keeps the shape.
    ShortSide(usize),
}

/// Normalisation by channel: the network sees `(v − mean) / deviation`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalize {
    /// `[C]`, or one for all channels.
    pub mean: Vec<f64>,
    /// `[C]`, or one for all channels; every one above 0.
    pub deviation: Vec<f64>,
}

/// What a sample's stored values stand for: a value is `v = stored / scale`, and `p = (v − low) / (high − low)` is in [0, 1] where `v`
/// is in the range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Above 0.
    pub scale: f64,
    /// `[low, high]`, `low < high`.
    pub range: [f64; 2],
}

impl Scaling {
    /// Values of whole files are divided by a number and lie in [0, 1] then.
    pub const fn by(scale: f64) -> Self {
        Self { scale, range: [0.0, 1.0] }
    }
}

impl Normalize {
    /// Whether there is one number for all channels, or one for each.
    pub fn fits(&self, channels: usize) -> bool {
        [&self.mean, &self.deviation].iter().all(|values| values.len() == 1 || values.len() == channels)
    }
}

impl DataConfig {
    /// The two numbers `[factor, offset]` with which a channel of the network sees `factor · p + offset` where a sample has the value p in
    /// [0, 1]: `v = low + (high − low) · p` of `range`, and `(v − mean) / deviation` of `normalize`.
    ///
    /// `[1, 0]` where neither is given. The range that the data tell is there once [`super::Experiment::with_scaling`] has put it in.
    pub fn affine(&self, channel: usize) -> [f64; 2] {
        let [low, high] = self.range.unwrap_or([0.0, 1.0]);
        let of = |values: &[f64]| if let &[one] = values { one } else { values[channel] };
        let (mean, deviation) =
            self.normalize.as_ref().map_or((0.0, 1.0), |normalize| (of(&normalize.mean), of(&normalize.deviation)));
        [(high - low) / deviation, (low - mean) / deviation]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_sees_the_value_itself_less_its_mean_over_its_deviation() {
        let mut data = DataConfig::default();
        assert_eq!(data.affine(2), [1.0, 0.0]);
        data.range = Some([-2.0, 6.0]);
        assert_eq!(data.affine(0), [8.0, -2.0]);
        data.normalize = Some(Normalize { mean: vec![1.0, 0.0], deviation: vec![0.5] });
        // p = 0.25 is v = 0; less 1 and over 0.5 that is −2.
        let [factor, offset] = data.affine(0);
        assert_eq!((factor, offset, factor * 0.25 + offset), (16.0, -6.0, -2.0));
        assert_eq!(data.affine(1), [16.0, -4.0]);
    }
}
