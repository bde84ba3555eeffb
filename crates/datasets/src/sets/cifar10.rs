//! CIFAR-10: 3×32×32 images of animals and vehicles, in binary batches: per sample one byte of label, then the pixels, plane by plane.
//!
//! Reads batch files only, as `scripts/fetch-data cifar10` makes them; [`crate::images`] makes samples of them. The files of
//! [`super::cifar100`], which differ in their labels, are read here as well.
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "binary version".

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use super::Row;
use crate::source::Published;
use crate::{DatasetError, Split};

pub(super) static ROW: Row = Row {
    published: &PUBLISHED,
    scale: 255,
    checksums: Some([
        "189931a7bc39a4d5854f4f53682fb4c5f9f294d49ccfb5d398c57c86b520dafc",
        "e4d0c931f1a2cbfbc10a6ea06f6bb380b9f0ff8b97fabfbdc221cb76f4c0d0b7",
    ]),
    load,
};

static PUBLISHED: Published = Published { shape: [3, 32, 32], class_names: &THINGS, n_train: 50_000, n_test: 10_000 };

const THINGS: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

pub(super) const LAYOUT: Layout = Layout { n_label_bytes: 1, n_classes: THINGS.len(), max_samples: 100_000 };

/// How to get a missing folder or file.
const REMEDY: &str =
    "run `scripts/fetch-data cifar10`, or set data.path to a folder that holds the CIFAR-10 binary batches";

const N_PIXELS: usize = 3 * 32 * 32;

/// What a batch file holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Bytes before the pixels of a sample, the last of which is its class.
    pub(super) n_label_bytes: usize,
    pub(super) n_classes: usize,
    /// Most samples read of one file; of the published ones, CIFAR-10's have 10,000 and CIFAR-100's 50,000.
    pub(super) max_samples: u64,
}

impl Layout {
    /// Bytes of a sample.
    const fn record(self) -> u64 {
        (self.n_label_bytes + N_PIXELS) as u64
    }
}

/// Pixels `[N, 3, 32, 32]` and labels `[N]` of one split.
fn load(split: Split, folder: &Path) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    let names: &[&str] = match split {
        Split::Train => &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        Split::Test => &["test_batch"],
    };
    load_files(LAYOUT, folder, "cifar-10-batches-bin", names, REMEDY)
}

/// The samples of some files, joined in order.
///
/// - `folder`: that of the files, or one with the folder `inner`, that the published archive is unpacked to
/// - `names`: of the files, without their ending
pub(super) fn load_files(
    layout: Layout,
    folder: &Path,
    inner: &str,
    names: &[&str],
    remedy: &str,
) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    if !folder.is_dir() {
        return Err(DatasetError::MissingFolder { path: folder.to_owned(), remedy: remedy.to_owned() });
    }
    let inner = folder.join(inner);
    let folder = if inner.is_dir() { &inner } else { folder };
    let mut batches = Batches::default();
    for name in names {
        let path = folder.join(format!("{name}.bin"));
        let io_error = |cause: std::io::Error| match cause.kind() {
            ErrorKind::NotFound => DatasetError::MissingFile { path: path.clone(), remedy: remedy.to_owned() },
            _ => DatasetError::Io { path: path.clone(), cause },
        };
        let file = File::open(&path).map_err(io_error)?;
        // The length is only a hint to avoid copies; reading checks what is really there.
        let length = file.metadata().map_err(io_error)?.len();
        batches.pixels.reserve_exact(length.min(layout.max_samples * layout.record()) as usize);
        batches.read(layout, &path, BufReader::new(file))?;
    }
    batches.pixels.shrink_to_fit();
    Ok((batches.pixels, batches.labels))
}

/// What has been read so far.
#[derive(Default)]
struct Batches {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Batches {
    /// Appends the samples of one file.
    fn read(&mut self, layout: Layout, path: &Path, mut reader: impl Read) -> Result<(), DatasetError> {
        let Layout { n_label_bytes, n_classes, max_samples } = layout;
        let record = layout.record();
        let mut sample = Vec::with_capacity(record as usize);
        for index in 0.. {
            sample.clear();
            (&mut reader)
                .take(record)
                .read_to_end(&mut sample)
                .map_err(|cause| DatasetError::Io { path: path.to_owned(), cause })?;
            let found = index * record + sample.len() as u64;
            match sample.len() as u64 {
                0 if index == 0 => return Err(DatasetError::Empty { path: path.to_owned() }),
                0 => break,
                n if n == record => {}
                _ => {
                    let expected = (index + 1) * record;
                    return Err(DatasetError::Truncated { path: path.to_owned(), found, expected });
                }
            }
            if index == max_samples {
                return Err(DatasetError::TooLarge { path: path.to_owned(), found, limit: max_samples * record });
            }
            let label = sample[n_label_bytes - 1];
            if usize::from(label) >= n_classes {
                let (place, index, label) = (path.display().to_string(), index as usize, i128::from(label));
                return Err(DatasetError::LabelOutOfRange { place, index, label, first: 0, n_classes });
            }
            self.labels.push(label);
            self.pixels.extend_from_slice(&sample[n_label_bytes..]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORD: u64 = LAYOUT.record();

    /// A layout with a small limit.
    const THREE: Layout = Layout { max_samples: 3, ..LAYOUT };

    fn sample(label: u8, pixel: u8) -> Vec<u8> {
        [vec![label], vec![pixel; N_PIXELS]].concat()
    }

    fn read(bytes: &[u8]) -> Result<Batches, DatasetError> {
        let mut batches = Batches::default();
        batches.read(THREE, Path::new("test_batch.bin"), bytes).map(|()| batches)
    }

    #[test]
    fn the_batches_of_a_split_are_joined_in_order_from_either_folder() {
        for inner in [".", "cifar-10-batches-bin"] {
            let folder = tempfile::tempdir().unwrap();
            let batches = folder.path().join(inner);
            std::fs::create_dir_all(&batches).unwrap();
            for batch in 1..=5 {
                let bytes = [sample(batch, 10 + batch), sample(9, batch)].concat();
                std::fs::write(batches.join(format!("data_batch_{batch}.bin")), bytes).unwrap();
            }
            std::fs::write(batches.join("test_batch.bin"), sample(7, 70)).unwrap();

            let (pixels, labels) = load(Split::Train, folder.path()).unwrap();
            assert_eq!(labels, [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]);
            let expected: Vec<u8> =
                (1..=5).flat_map(|batch| [[10 + batch; N_PIXELS], [batch; N_PIXELS]].concat()).collect();
            assert_eq!(pixels, expected);
            assert_eq!(load(Split::Test, folder.path()).unwrap(), (vec![70; N_PIXELS], vec![7]));
        }
    }

    #[test]
    fn damaged_batches_are_told_apart() {
        let two = [sample(3, 0), sample(9, 0)].concat();
        assert!(matches!(read(&two[1..]), Err(DatasetError::Truncated { found: 6145, expected: 6146, .. })));
        let trailing = [two, vec![0]].concat();
        assert!(matches!(read(&trailing), Err(DatasetError::Truncated { found: 6147, expected: 9219, .. })));
        assert!(matches!(read(&[]), Err(DatasetError::Empty { .. })));
        let wrong = read(&[sample(9, 0), sample(10, 0)].concat());
        assert!(matches!(wrong, Err(DatasetError::LabelOutOfRange { index: 1, label: 10, n_classes: 10, .. })));
    }

    #[test]
    fn an_endless_batch_is_left_at_the_limit() {
        let endless = Batches::default().read(THREE, Path::new("test_batch.bin"), std::io::repeat(0));
        assert!(matches!(endless, Err(DatasetError::TooLarge { limit: 9219, .. })));
        assert_eq!(read(&vec![0; 9219]).unwrap_or_default().labels, [0; 3]);
    }

    #[test]
    fn a_missing_folder_or_batch_says_which_command_gets_it() {
        let error = load(Split::Train, Path::new("nowhere")).unwrap_err().to_string();
        assert_eq!(
            error,
            "nowhere: no such folder; run `scripts/fetch-data cifar10`, \
             or set data.path to a folder that holds the CIFAR-10 binary batches"
        );
        let folder = tempfile::tempdir().unwrap();
        let error = load(Split::Train, folder.path()).unwrap_err();
        assert!(
            matches!(&error, DatasetError::MissingFile { path, .. } if path.ends_with("data_batch_1.bin")),
            "{error}"
        );
        assert!(error.to_string().contains("run `scripts/fetch-data cifar10`"), "{error}");
    }

    #[test]
    fn a_folder_in_place_of_a_batch_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("test_batch.bin")).unwrap();
        assert!(matches!(load(Split::Test, folder.path()), Err(DatasetError::Io { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_whole_samples_alone_are_read(
            label in any::<u8>(), n_bytes in 0..4 * RECORD as usize, noise in proptest::collection::vec(any::<u8>(), 1..50),
        ) {
            let mut bytes: Vec<u8> = noise.into_iter().cycle().take(n_bytes).collect();
            bytes.iter_mut().step_by(RECORD as usize).for_each(|first| *first = label);
            let whole = n_bytes > 0 && (n_bytes as u64).is_multiple_of(RECORD) && label < 10;
            prop_assert_eq!(read(&bytes).is_ok(), whole);
        }

        #[test]
        fn whole_samples_are_read_as_they_are(samples in proptest::collection::vec((0..10u8, any::<u8>()), 1..4)) {
            let bytes: Vec<u8> = samples.iter().flat_map(|&(label, pixel)| sample(label, pixel)).collect();
            let batches = read(&bytes).unwrap_or_default();
            prop_assert_eq!(batches.labels, samples.iter().map(|&(label, _)| label).collect::<Vec<_>>());
            prop_assert!(batches.pixels.chunks(N_PIXELS).zip(&samples).all(|(image, &(_, pixel))| image == [pixel; N_PIXELS]));
        }
    }
}
