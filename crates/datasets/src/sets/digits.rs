//! UCI optdigits, embedded: 8×8 images of handwritten digits with values 0 to 16.
//!
//! Pure: reads no file. Source, licence and changes: `assets/README.md` of this crate.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::Row;
use crate::Split;
use crate::source::Published;

pub(super) static ROW: Row = Row {
    published: &PUBLISHED,
    scale: 16,
    checksums: Some([
        "0449253afbff52ee94beae24b276afc8960a69ce7c9d4f40c538bbad8e7b92d0",
        "bec5fb5ceb40d34ee15c8e881c53e171d1b657a261273098f130ec00c4c9b0f0",
    ]),
    load: |split, _| Ok(load(split)),
};

static PUBLISHED: Published = Published { shape: [1, 8, 8], class_names: &CLASSES, n_train: 3823, n_test: 1797 };

const CLASSES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// One line per sample: 64 pixels and the label, comma-separated; the training samples first.
static ASSET: &[u8] = include_bytes!("../../assets/optdigits.csv.gz");

const N_PIXELS: usize = 64;

/// Pixels `[N, 8, 8]` and labels `[N]` of one split.
fn load(split: Split) -> (Vec<u8>, Vec<u8>) {
    let mut text = String::new();
    GzDecoder::new(ASSET).read_to_string(&mut text).expect("the embedded asset is a whole gzip file");
    let (n_train, n_test) = (PUBLISHED.n_train, PUBLISHED.n_test);
    let (skip, n_samples) = match split {
        Split::Train => (0, n_train),
        Split::Test => (n_train, n_test),
    };
    let (mut pixels, mut labels) = (Vec::with_capacity(n_samples * N_PIXELS), Vec::with_capacity(n_samples));
    for line in text.lines().skip(skip).take(n_samples) {
        pixels.extend(line.split(',').map(|value| value.parse::<u8>().expect("the embedded asset holds numbers")));
        labels.push(pixels.pop().expect("an embedded line is not empty"));
    }
    (pixels, labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatasetName, LabelledImages, published_checksum};

    #[test]
    fn the_splits_are_the_published_ones() {
        for (split, n_samples) in [(Split::Train, 3823), (Split::Test, 1797)] {
            let samples = LabelledImages::load(DatasetName::Digits, split, None).unwrap();
            assert_eq!((samples.len(), samples.shape(), samples.n_classes()), (n_samples, [1, 8, 8], 10));
            // They identify the data in artefacts, so they must never change.
            assert_eq!(Some(samples.checksum().as_str()), published_checksum(DatasetName::Digits, split), "{split}");
        }
    }

    #[test]
    fn the_asset_holds_nothing_but_the_two_splits() {
        let mut text = String::new();
        GzDecoder::new(ASSET).read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 3823 + 1797);
        assert!(text.lines().all(|line| line.split(',').count() == N_PIXELS + 1));
    }

    /// The data set's documentation gives 98.00 % for one nearest neighbour (Euclidean): 1761 of 1797 is 97.997 %.
    #[test]
    fn the_nearest_neighbour_is_right_as_often_as_published() {
        let (train, train_labels) = load(Split::Train);
        let (test, test_labels) = load(Split::Test);
        let distance =
            |a: &[u8], b: &[u8]| -> i32 { a.iter().zip(b).map(|(&x, &y)| (i32::from(x) - i32::from(y)).pow(2)).sum() };
        let correct = test.chunks_exact(N_PIXELS).zip(&test_labels).filter(|(image, label)| {
            let known = train.chunks_exact(N_PIXELS).zip(&train_labels);
            known.min_by_key(|(other, _)| distance(image, other)).unwrap().1 == *label
        });
        assert_eq!(correct.count(), 1761);
    }
}
