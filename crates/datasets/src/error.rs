//! What can be wrong with a data set.

use std::path::PathBuf;

use thiserror::Error;

/// A data set cannot be used.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// No data set has this name.
    #[error("data set `{found}` is unknown; use one of {known}")]
    UnknownName {
        /// The name.
        found: String,
        /// Names of all data sets.
        known: String,
    },
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
    #[error(
        "{place}: label {label} of sample {index} (from 0) is not below {n_classes}; correct the label or get the file again"
    )]
    LabelOutOfRange {
        /// The file, or `labels` where they came from no file.
        place: String,
        /// Index of the sample, from 0.
        index: usize,
        /// The label.
        label: i128,
        /// Number of classes.
        n_classes: usize,
    },
    /// A file of a user's own data holds something else.
    #[error(
        "{}: {found}; write it with safetensors' `save_file`: `images` as bytes (uint8, 0 to 255) of shape [N, C, H, W], [N, H, W] or [N, n], \
         and `labels` as integers of shape [N]",
        path.display()
    )]
    WrongContents {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
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
        "labelled images: shape {shape:?}, scale {scale}, {n_classes} classes; use sizes ≥ 1 whose product fits memory, scale ≥ 1 and 1 to 256 classes"
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
