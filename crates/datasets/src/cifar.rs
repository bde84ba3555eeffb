//! CIFAR-10's binary batches: per sample one byte of label, then 3×32×32 pixels, plane by plane.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::{DatasetError, DatasetName, Split};

const N_PIXELS: usize = 3 * 32 * 32;
const N_CLASSES: usize = 10;

/// Most samples of one batch file; the published ones have 10,000.
const MAX_SAMPLES: u64 = 100_000;

/// Pixels `[N, 3, 32, 32]` and labels `[N]` of one split.
pub(crate) fn load(split: Split, folder: &Path) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    let inner = folder.join("cifar-10-batches-bin");
    let folder = if inner.is_dir() { &inner } else { folder };
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let names = match split {
        Split::Train => vec!["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        Split::Test => vec!["test_batch"],
    };
    for name in names {
        read_batch(&folder.join(format!("{name}.bin")), &mut pixels, &mut labels)?;
    }
    Ok((pixels, labels))
}

fn read_batch(path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<u8>) -> Result<(), DatasetError> {
    let io_error = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => DatasetError::Missing { path: path.to_owned(), remedy: DatasetName::Cifar10.remedy() },
        _ => DatasetError::Io { path: path.to_owned(), source },
    };
    let record = (1 + N_PIXELS) as u64;
    let limit = MAX_SAMPLES * record;
    let mut bytes = Vec::new();
    File::open(path).map_err(io_error)?.take(limit + 1).read_to_end(&mut bytes).map_err(io_error)?;
    let found = bytes.len() as u64;
    if found == 0 {
        return Err(DatasetError::Empty { path: path.to_owned() });
    }
    if found > limit {
        return Err(DatasetError::Oversized { path: path.to_owned(), expected: limit });
    }
    if !found.is_multiple_of(record) {
        let expected = found.next_multiple_of(record);
        return Err(DatasetError::Truncated { path: path.to_owned(), found, expected });
    }
    for (index, sample) in bytes.chunks_exact(1 + N_PIXELS).enumerate() {
        let label = sample[0];
        if usize::from(label) >= N_CLASSES {
            return Err(DatasetError::LabelOutOfRange { path: path.to_owned(), index, label, n_classes: N_CLASSES });
        }
        labels.push(label);
        pixels.extend_from_slice(&sample[1..]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load_test_batch(bytes: &[u8], inner: bool) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let batches = folder.path().join(if inner { "cifar-10-batches-bin" } else { "." });
        std::fs::create_dir_all(&batches).unwrap();
        std::fs::write(batches.join("test_batch.bin"), bytes).unwrap();
        load(Split::Test, folder.path())
    }

    fn samples() -> Vec<u8> {
        [vec![3; 1 + N_PIXELS], vec![9; 1 + N_PIXELS]].concat()
    }

    #[test]
    fn labels_and_pixels_are_taken_apart_in_either_folder() {
        for inner in [false, true] {
            let (pixels, labels) = load_test_batch(&samples(), inner).unwrap();
            assert_eq!(labels, [3, 9]);
            assert_eq!(pixels, [vec![3; N_PIXELS], vec![9; N_PIXELS]].concat());
        }
    }

    #[test]
    fn damaged_batches_are_told_apart() {
        assert!(matches!(load_test_batch(&samples()[1..], false), Err(DatasetError::Truncated { found: 6145, expected: 6146, .. })));
        assert!(matches!(load_test_batch(&[], false), Err(DatasetError::Empty { .. })));
        assert!(matches!(load_test_batch(&[10; 1 + N_PIXELS], false), Err(DatasetError::LabelOutOfRange { label: 10, .. })));
        let huge = vec![0; (MAX_SAMPLES as usize + 1) * (1 + N_PIXELS)];
        assert!(matches!(load_test_batch(&huge, false), Err(DatasetError::Oversized { .. })));
    }

    #[test]
    fn a_missing_batch_says_which_command_gets_it() {
        let error = load(Split::Train, Path::new("nowhere")).unwrap_err().to_string();
        assert!(error.contains("nowhere/data_batch_1.bin: not found; run `scripts/fetch-data cifar10`"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..7000)) {
            let whole = !bytes.is_empty() && bytes.len() % (1 + N_PIXELS) == 0;
            prop_assert!(whole || load_test_batch(&bytes, false).is_err());
        }
    }
}
