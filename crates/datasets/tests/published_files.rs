//! The published files, as `scripts/fetch-data all` gets them, load with the counts that their authors give.
//!
//! Ignored where the files are not there: run `scripts/fetch-data all`, then
//! `cargo test --release -p datasets -- --ignored`.

use std::path::Path;

use datasets::{DatasetFacts, DatasetName, LabelledImages, Split, published_checksum};
use model::config::DataConfig;

/// Images per class of MNIST, counted from its label files; the other two data sets are balanced.
const MNIST_TRAIN: [usize; 10] = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
const MNIST_TEST: [usize; 10] = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];

/// Compares a split with its published number of images per class, and its checksum with that of
/// its row, which was computed from the same files (whose MD5 were those published) in another language.
fn check(name: DatasetName, split: Split, class_counts: [usize; 10]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name.default_path());
    let samples = LabelledImages::load(name, split, Some(&folder)).unwrap();
    let facts = DatasetFacts::of(&DataConfig { dataset: name, ..DataConfig::default() }, None).unwrap();
    let n_published = match split {
        Split::Train => facts.n_train,
        Split::Test => facts.n_test,
    };
    assert_eq!((samples.len(), samples.shape()), (n_published, facts.shape));
    let mut counts = [0; 10];
    for &label in samples.labels() {
        counts[usize::from(label)] += 1;
    }
    println!("{name} {split}: {counts:?}, SHA-256 {}", samples.checksum());
    assert_eq!(counts, class_counts);
    assert_eq!(Some(samples.checksum().as_str()), published_checksum(name, split));
}

#[test]
#[ignore = "needs `scripts/fetch-data mnist`"]
fn mnist_has_its_published_counts() {
    check(DatasetName::Mnist, Split::Train, MNIST_TRAIN);
    check(DatasetName::Mnist, Split::Test, MNIST_TEST);
}

#[test]
#[ignore = "needs `scripts/fetch-data fashion-mnist`"]
fn fashion_mnist_has_its_published_counts() {
    check(DatasetName::FashionMnist, Split::Train, [6000; 10]);
    check(DatasetName::FashionMnist, Split::Test, [1000; 10]);
}

#[test]
#[ignore = "needs `scripts/fetch-data cifar10`"]
fn cifar10_has_its_published_counts() {
    check(DatasetName::Cifar10, Split::Train, [5000; 10]);
    check(DatasetName::Cifar10, Split::Test, [1000; 10]);
}
