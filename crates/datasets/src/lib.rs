//! Labelled images: read from disk in their standard formats, or embedded.
//!
//! | name | images | from |
//! |---|---|---|
//! | `digits` | 8×8, 3,823 + 1,797 | embedded (UCI optdigits, CC BY 4.0, see `assets/README.md`) |
//! | `mnist` | 28×28, 60,000 + 10,000 | a folder of IDX files, gzipped or not |
//! | `fashion-mnist` | 28×28, 60,000 + 10,000 | a folder of IDX files, gzipped or not |
//! | `cifar10` | 3×32×32, 50,000 + 10,000 | a folder of CIFAR-10 binary batches |
//! | `custom` | any | a folder with `train.safetensors` and `test.safetensors` |
//!
//! Files are read no further than their headers and the data set's shape warrant, so a damaged or hostile file
//! is an error and never a panic or a huge allocation.

mod error;
mod idx;
mod images;
mod sets;
mod source;

pub use error::DatasetError;
pub use images::{LabelledImage, LabelledImages};
pub use sets::DatasetName;
pub use source::{DatasetFacts, Split};
