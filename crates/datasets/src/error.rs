//! What can be wrong with a data set.

use std::path::PathBuf;

use thiserror::Error;

/// A data set cannot be used.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// No data set has this name.
    #[error("data set `{found}` is unknown; use one of digits, mnist, fashion-mnist, cifar10")]
    UnknownName {
        /// The name.
        found: String,
    },
    /// A file is not where it should be.
    #[error("{}: not found; {remedy}", path.display())]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
        /// How to get it.
        remedy: String,
    },
    /// The operating system refused to read a file.
    #[error("{}: {source}; check that it can be read and is whole", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not begin as its format does.
    #[error("{}: starts with {found:#010x} where {expected:#010x} is needed ({what}); it is not such a file, get it again", path.display())]
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
    /// A file ends before its header says, or inside its header.
    #[error("{}: truncated: {found} bytes where {expected} are needed; get it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes after decompression.
        found: u64,
        /// Bytes its header asks for.
        expected: u64,
    },
    /// A file goes on after its header says, or is larger than any data set of its kind.
    #[error("{}: more than {expected} bytes; it is damaged or not such a file, get it again", path.display())]
    Oversized {
        /// The file.
        path: PathBuf,
        /// Bytes its header, or the limit, allows.
        expected: u64,
    },
    /// Images have another size than the data set's.
    #[error("{}: images of {} × {} where {} × {} are needed; use the files of this data set", path.display(), found[0], found[1], expected[0], expected[1])]
    WrongImageSize {
        /// The file.
        path: PathBuf,
        /// Height and width in the file.
        found: [u32; 2],
        /// Height and width of the data set.
        expected: [u32; 2],
    },
    /// Images and labels do not belong together.
    #[error("{}: {n_labels} labels for the {n_images} images of {}; get both files again", labels.display(), images.display())]
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
    #[error("{}: label {label} of sample {index} is not below {n_classes}; get the file again", path.display())]
    LabelOutOfRange {
        /// The file.
        path: PathBuf,
        /// Index of the sample, from 0.
        index: usize,
        /// The label.
        label: u8,
        /// Number of classes.
        n_classes: usize,
    },
    /// There is nothing in it.
    #[error("{}: no samples; get the file again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// More validation samples are asked for than there are samples to spare.
    #[error("{n_validation} validation samples of {n_samples} leave none to train on; use fewer than {n_samples}")]
    SplitTooLarge {
        /// Samples asked for.
        n_validation: usize,
        /// Samples there are.
        n_samples: usize,
    },
    /// Parts that do not make labelled images.
    #[error("labelled images: {0}")]
    Parts(String),
}
