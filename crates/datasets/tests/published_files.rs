//! The published files, as `scripts/fetch-data all` gets them, load with the counts that their authors give.
//!
//! Ignored where the files are not there: run `scripts/fetch-data all`, then
//! `cargo test --release -p datasets -- --ignored`.

use std::path::Path;

use datasets::{DatasetFacts, DatasetName, LabelledImages, Split};

/// Images per class of MNIST, counted from its label files; the other two data sets are balanced.
const MNIST_TRAIN: [usize; 10] = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
const MNIST_TEST: [usize; 10] = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];

/// Compares a split with its published number of images per class, and its checksum with one computed from the same
/// files (whose MD5 were those published) in another language.
fn check(name: DatasetName, split: Split, class_counts: [usize; 10], checksum: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name.default_path());
    let samples = LabelledImages::load(name, split, Some(&folder)).unwrap();
    let facts = DatasetFacts::of(name, Some(&folder)).unwrap();
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
    assert_eq!(samples.checksum(), checksum);
}

#[test]
#[ignore = "needs `scripts/fetch-data mnist`"]
fn mnist_has_its_published_counts() {
    check(
        DatasetName::Mnist,
        Split::Train,
        MNIST_TRAIN,
        "f7df01b7c4dbb5a8c8fc5a77cc3ac9e51ed9b4deb5c7f46b5c9da66808ebde7f",
    );
    check(
        DatasetName::Mnist,
        Split::Test,
        MNIST_TEST,
        "31ef87ab4c948765e885add21204cfcd1b3f3940d53a01236c9dc658fb03d146",
    );
}

#[test]
#[ignore = "needs `scripts/fetch-data fashion-mnist`"]
fn fashion_mnist_has_its_published_counts() {
    check(
        DatasetName::FashionMnist,
        Split::Train,
        [6000; 10],
        "fb9974f488b911abe56ff66817f5877d6264df039c0c5111317a32181877fec3",
    );
    check(
        DatasetName::FashionMnist,
        Split::Test,
        [1000; 10],
        "e7020434a35cbb7121bcda30a7400b70bb44a0e4b62c286ac5360d858ea2d27e",
    );
}

#[test]
#[ignore = "needs `scripts/fetch-data cifar10`"]
fn cifar10_has_its_published_counts() {
    check(
        DatasetName::Cifar10,
        Split::Train,
        [5000; 10],
        "189931a7bc39a4d5854f4f53682fb4c5f9f294d49ccfb5d398c57c86b520dafc",
    );
    check(
        DatasetName::Cifar10,
        Split::Test,
        [1000; 10],
        "e4d0c931f1a2cbfbc10a6ea06f6bb380b9f0ff8b97fabfbdc221cb76f4c0d0b7",
    );
}
