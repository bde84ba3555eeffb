//! MNIST: 28×28 images of handwritten digits.
//!
//! Files: IDX, gzipped or not ([`crate::idx`]), as `scripts/fetch-data mnist` gets them.
//! Source: Y. `LeCun` et al., "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86 (1998).

use super::Row;
use crate::idx;
use crate::source::Published;

pub(super) static ROW: Row = Row {
    published: &PUBLISHED,
    scale: 255,
    checksums: Some([
        "f7df01b7c4dbb5a8c8fc5a77cc3ac9e51ed9b4deb5c7f46b5c9da66808ebde7f",
        "31ef87ab4c948765e885add21204cfcd1b3f3940d53a01236c9dc658fb03d146",
    ]),
    load: |split, folder| idx::load(&PUBLISHED, REMEDY, split, folder),
};

static PUBLISHED: Published = Published { shape: [1, 28, 28], class_names: &DIGITS, n_train: 60_000, n_test: 10_000 };

const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// How to get a missing folder or file.
const REMEDY: &str = "run `scripts/fetch-data mnist`, or set data.path to a folder that holds the IDX files";
