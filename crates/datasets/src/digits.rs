//! UCI optdigits, embedded: 8×8 images of handwritten digits with values 0 to 16.
//!
//! Source and licence: `assets/README.md` of this crate.

use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;

use crate::{DatasetError, Split};

static ASSET: &[u8] = include_bytes!("../assets/optdigits.csv.gz");

const N_PIXELS: usize = 64;

/// Lines of the published training file; the rest is the test file.
const N_TRAIN: usize = 3823;

/// Pixels `[N, 8, 8]` and labels `[N]` of one split.
pub(crate) fn load(split: Split) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    let path = PathBuf::from("the embedded optdigits.csv.gz");
    let mut text = String::new();
    GzDecoder::new(ASSET).read_to_string(&mut text).map_err(|source| DatasetError::Io { path, source })?;
    let lines = text.lines();
    let lines: Vec<&str> = match split {
        Split::Train => lines.take(N_TRAIN).collect(),
        Split::Test => lines.skip(N_TRAIN).collect(),
    };
    let (mut pixels, mut labels) = (Vec::with_capacity(lines.len() * N_PIXELS), Vec::with_capacity(lines.len()));
    for line in lines {
        let values: Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
        match values.as_deref() {
            Ok([image @ .., label]) if image.len() == N_PIXELS => {
                pixels.extend_from_slice(image);
                labels.push(*label);
            }
            _ => return Err(DatasetError::Parts(format!("the embedded data set has a damaged line: {line}"))),
        }
    }
    Ok((pixels, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_splits_have_their_published_sizes() {
        for (split, n_samples) in [(Split::Train, 3823), (Split::Test, 1797)] {
            let (pixels, labels) = load(split).unwrap();
            assert_eq!((pixels.len(), labels.len()), (64 * n_samples, n_samples));
        }
    }

    /// The data set's documentation gives 98.00 % for one nearest neighbour (Euclidean): 1761 of 1797.
    #[test]
    fn the_nearest_neighbour_is_right_as_often_as_published() {
        let (train, train_labels) = load(Split::Train).unwrap();
        let (test, test_labels) = load(Split::Test).unwrap();
        let distance = |a: &[u8], b: &[u8]| -> i32 { a.iter().zip(b).map(|(&x, &y)| (i32::from(x) - i32::from(y)).pow(2)).sum() };
        let correct = test.chunks_exact(N_PIXELS).zip(&test_labels).filter(|(image, label)| {
            let neighbour = train.chunks_exact(N_PIXELS).zip(&train_labels).min_by_key(|(other, _)| distance(image, other));
            neighbour.unwrap().1 == *label
        });
        assert_eq!(correct.count(), 1761);
    }
}
