//! What can be wrong with a data set.

use std::path::PathBuf;

use thiserror::Error;

use crate::Split;

/// A data set cannot be used.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The folder of the data set is not there.
    #[error("{}: no such folder; {remedy}", path.display())]
    MissingFolder {
        /// The folder that was looked for.
        path: PathBuf,
        /// How to get it.
        remedy: String,
    },
    /// The folder is there, but not a file of the data set.
    #[error("{}: not found, nor under another usual name; {remedy}", path.display())]
    MissingFile {
        /// The file that was looked for.
        path: PathBuf,
        /// How to get it.
        remedy: String,
    },
    /// The operating system refused to read a file.
    #[error("{}: {cause}; check that it is a file and can be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A gzip stream is broken off or damaged.
    #[error("{}: damaged gzip stream ({cause}); get the file again", path.display())]
    DamagedGzip {
        /// The file.
        path: PathBuf,
        /// What the decompressor said.
        cause: std::io::Error,
    },
    /// A file does not begin as its format does.
    #[error(
        "{}: starts with {found:#010x} where {expected:#010x} is needed ({what}); it is another kind of file, get it again",
        path.display()
    )]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// Its first four bytes.
        found: u32,
        /// What they should be.
        expected: u32,
        /// What the format is.
        what: &'static str,
    },
    /// A file ends inside its header, before the header says, or inside a sample.
    #[error("{}: truncated: {found} bytes where {expected} are needed; get the file again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes in the file, after decompression.
        found: u64,
        /// Bytes that its header, or its last sample, needs.
        expected: u64,
    },
    /// A file goes on after the end that its header says.
    #[error("{}: more bytes than the {expected} its header declares; get the file again", path.display())]
    Oversized {
        /// The file.
        path: PathBuf,
        /// Bytes that its header declares, after decompression.
        expected: u64,
    },
    /// A file holds, or declares, more than this crate reads into memory.
    #[error("{}: {found} bytes or more, above the limit of {limit}; get the file again, or use fewer samples", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes declared by the header, or seen before reading stopped.
        found: u64,
        /// Most bytes that are read.
        limit: u64,
    },
    /// Images have another size than the data set's.
    #[error(
        "{}: images of {}×{} where {}×{} are needed; use the files of this data set",
        path.display(), found[0], found[1], expected[0], expected[1]
    )]
    WrongImageSize {
        /// The file.
        path: PathBuf,
        /// Height and width in the file.
        found: [u32; 2],
        /// Height and width of the data set.
        expected: [u32; 2],
    },
    /// Images and labels do not belong together.
    #[error(
        "{}: {n_labels} labels for the {n_images} images of {}; get both files from one source",
        labels.display(), images.display()
    )]
    CountMismatch {
        /// The file of images.
        images: PathBuf,
        /// The file of labels.
        labels: PathBuf,
        /// Number of images.
        n_images: usize,
        /// Number of labels.
        n_labels: usize,
    },
    /// A label is no class.
    #[error("{place}: label {label} of sample {index} (from 0) {}", not_a_class(*label, *first, *n_classes))]
    LabelOutOfRange {
        /// The file, or `labels` where they came from no file.
        place: String,
        /// Index of the sample, from 0.
        index: usize,
        /// The label.
        label: i128,
        /// Label of the first class.
        first: usize,
        /// Number of classes.
        n_classes: usize,
    },
    /// A label is a fraction, or no number.
    #[error(
        "{place}: label {value} of sample {index} (from 0) is not whole; write the number of each sample's class, from 0 on"
    )]
    LabelNotWhole {
        /// The file.
        place: String,
        /// Index of the label, from 0.
        index: usize,
        /// The label.
        value: f64,
    },
    /// Labels look as if they were counted from 1.
    #[error(
        "{place}: labels run from 1 to {last}, and none is 0; set data.first_label = 1 if 1 is the first of {last} classes, \
         or 0 if it is the second of {}", last + 1
    )]
    LabelsFromOne {
        /// The file.
        place: String,
        /// The largest label.
        last: i128,
    },
    /// A value is infinite, or no number.
    #[error("{place}: value {value} in sample {index} (from 0); write finite numbers of 32 bits")]
    NotFinite {
        /// The file.
        place: String,
        /// Index of the sample, from 0.
        index: usize,
        /// The value, as a 32-bit float.
        value: f32,
    },
    /// Values would be spikes, and are no rates.
    #[error(
        "{n_samples} of {n} {split} samples have values outside {low} to {high}, such as {value} in sample {index} (from 0), which no rate \
         of spikes stands for; set data.range (or data.scale) so that it holds them, or simulate.encoding = \"constant\""
    )]
    OutsideRange {
        /// How many samples have such values.
        n_samples: usize,
        /// Of how many.
        n: usize,
        /// Which samples.
        split: Split,
        /// The first of these samples, from 0.
        index: usize,
        /// Its first such value, after division by the scale.
        value: f64,
        /// Smallest value that is a rate.
        low: f64,
        /// Largest value that is a rate.
        high: f64,
    },
    /// Files hold what is not read, or what contradicts the configuration.
    #[error("{place}: {found}; {remedy}")]
    Refused {
        /// The file or folder.
        place: String,
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// Training and test samples are of different kinds.
    #[error("{}: {found}, but {other}; write both files from one data set", path.display())]
    SplitsDiffer {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What the other one does.
        other: String,
    },
    /// A file holds no sample.
    #[error("{}: no samples where one or more are needed; get the file again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Shape, scale or number of classes that no image can have.
    #[error(
        "labelled images: shape {shape:?}, scale {scale}, {n_classes} classes; use sizes ≥ 1 whose product fits memory, scale ≥ 1 and 1 to 65,536 classes"
    )]
    InvalidKind {
        /// Image shape `[C, H, W]`.
        shape: [usize; 3],
        /// Pixel value that stands for 1.
        scale: u8,
        /// Number of classes.
        n_classes: usize,
    },
    /// Pixels and labels that are not of the same number of images.
    #[error("labelled images: {n_pixels} pixels for {n_labels} labels; give {n_features} pixels per label")]
    PixelCount {
        /// Number of pixels.
        n_pixels: usize,
        /// Number of labels.
        n_labels: usize,
        /// Pixels of an image.
        n_features: usize,
    },
    /// A pixel would be read as more than 1.
    #[error("labelled images: pixel {pixel} of sample {index} (from 0) is above the scale {scale}; use a larger scale")]
    PixelAboveScale {
        /// Index of the sample, from 0.
        index: usize,
        /// The pixel value.
        pixel: u8,
        /// Pixel value that stands for 1.
        scale: u8,
    },
    /// More validation samples are asked for than there are samples to spare.
    #[error("{n_validation} validation samples of {n_samples} leave none to train on; use fewer than {n_samples}")]
    SplitTooLarge {
        /// Samples asked for.
        n_validation: usize,
        /// Samples there are.
        n_samples: usize,
    },
}

/// Why a label is none of the classes, and what to do.
fn not_a_class(label: i128, first: usize, n_classes: usize) -> String {
    if label < first as i128 {
        format!("is below the first one, {first}; correct the label, or set data.first_label")
    } else {
        format!("is not below {}; correct the label or get the file again", first + n_classes)
    }
}
