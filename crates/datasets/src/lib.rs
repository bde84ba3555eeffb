//! Labelled images: read from disk in their standard formats, or embedded.
//!
//! | name | images | from |
//! |---|---|---|
//! | `digits` | 8×8, 3,823 + 1,797 | embedded (UCI optdigits, CC BY 4.0, see `assets/README.md`) |
//! | `mnist` | 28×28, 60,000 + 10,000 | a folder of IDX files, gzipped or not |
//! | `fashion-mnist` | 28×28, 60,000 + 10,000 | a folder of IDX files, gzipped or not |
//! | `cifar10` | 3×32×32, 50,000 + 10,000 | a folder of CIFAR-10 binary batches |
//! | `cifar100` | 3×32×32, 50,000 + 10,000 | a folder of CIFAR-100's binary version, with its 100 fine classes |
//! | `custom` | any | pictures in a folder for each class, `.npz`, IDX, CIFAR's binary files, safetensors |
//!
//! [`DataSet::open`] looks at files, [`DataSet::samples`] gives the [`Samples`] of a split, and [`Samples::read`] makes
//! [`LabelledImages`] of them.
//!
//! Files are read no further than their headers and the data set's shape warrant, so a damaged or hostile file
//! is an error and never a panic or a huge allocation.

mod custom;
mod elements;
mod error;
mod idx;
mod images;
mod labels;
mod resolve;
mod samples;
mod scaling;
mod sets;
mod source;

pub use error::DatasetError;
pub use images::{LabelledImage, LabelledImages, Outside};
pub use model::config::DatasetName;
pub use resolve::Resolved;
pub use samples::Samples;
pub use source::{DataSet, DatasetFacts, Split, published_checksum};
