//! Fashion-MNIST: 28×28 images of clothes.
//!
//! Files: IDX, gzipped or not ([`crate::idx`]), as `scripts/fetch-data fashion-mnist` gets them.
//! Source: H. Xiao et al., "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms", arXiv:1708.07747 (2017).

use super::Row;
use crate::idx;
use crate::source::Published;

pub(super) static ROW: Row = Row {
    published: &PUBLISHED,
    scale: 255,
    checksums: Some([
        "fb9974f488b911abe56ff66817f5877d6264df039c0c5111317a32181877fec3",
        "e7020434a35cbb7121bcda30a7400b70bb44a0e4b62c286ac5360d858ea2d27e",
    ]),
    load: |split, folder| idx::load(&PUBLISHED, REMEDY, split, folder),
};

static PUBLISHED: Published = Published { shape: [1, 28, 28], class_names: &CLOTHES, n_train: 60_000, n_test: 10_000 };

const CLOTHES: [&str; 10] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/// How to get a missing folder or file.
const REMEDY: &str = "run `scripts/fetch-data fashion-mnist`, or set data.path to a folder that holds the IDX files";
