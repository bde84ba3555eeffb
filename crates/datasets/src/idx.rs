//! IDX files, the format of MNIST and its relatives, gzipped or not.
//!
//! A file is a big-endian magic number (0x0803 for images, 0x0801 for labels), the sizes, and the bytes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::{DatasetError, DatasetName, Split};

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;

/// Most bytes of a decompressed file, 1 GiB: far above any data set of this kind.
const MAX_BYTES: u64 = 1 << 30;

/// Pixels `[N, H, W]` and labels `[N]` of one split.
pub(crate) fn load(name: DatasetName, split: Split, folder: &Path) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    let stem = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let images = open(name, folder, &format!("{stem}-images"), "idx3-ubyte")?;
    let labels = open(name, folder, &format!("{stem}-labels"), "idx1-ubyte")?;
    let [_, height, width] = name.shape();
    let (images_path, labels_path) = (images.path.clone(), labels.path.clone());
    let pixels = images.parse_images([height as u32, width as u32])?;
    let labels = labels.parse_labels(name.class_names().len())?;
    let n_images = pixels.len() / (height * width);
    if n_images != labels.len() {
        let n_labels = labels.len();
        return Err(DatasetError::CountMismatch { images: images_path, labels: labels_path, n_images, n_labels });
    }
    Ok((pixels, labels))
}

/// A file being read, decompressed if its name ends in `.gz`.
struct Source<R> {
    path: PathBuf,
    reader: R,
}

fn open(name: DatasetName, folder: &Path, stem: &str, ending: &str) -> Result<Source<Box<dyn Read>>, DatasetError> {
    for separator in ["-", "."] {
        for gz in ["", ".gz"] {
            let path = folder.join(format!("{stem}{separator}{ending}{gz}"));
            match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(DatasetError::Io { path, source }),
                Ok(file) => {
                    let file = std::io::BufReader::new(file);
                    let reader: Box<dyn Read> = if gz.is_empty() { Box::new(file) } else { Box::new(GzDecoder::new(file)) };
                    return Ok(Source { path, reader });
                }
            }
        }
    }
    Err(DatasetError::Missing { path: folder.join(format!("{stem}-{ending}")), remedy: name.remedy() })
}

impl<R: Read> Source<R> {
    fn parse_images(mut self, expected: [u32; 2]) -> Result<Vec<u8>, DatasetError> {
        let [magic, count, height, width] = self.header::<4>(IMAGES_MAGIC, "IDX images")?;
        debug_assert_eq!(magic, IMAGES_MAGIC);
        if [height, width] != expected {
            return Err(DatasetError::WrongImageSize { path: self.path, found: [height, width], expected });
        }
        self.body(16, u64::from(count) * u64::from(height) * u64::from(width))
    }

    fn parse_labels(mut self, n_classes: usize) -> Result<Vec<u8>, DatasetError> {
        let [_, count] = self.header::<2>(LABELS_MAGIC, "IDX labels")?;
        let path = self.path.clone();
        let labels = self.body(8, u64::from(count))?;
        match labels.iter().position(|&label| usize::from(label) >= n_classes) {
            Some(index) => Err(DatasetError::LabelOutOfRange { path, index, label: labels[index], n_classes }),
            None => Ok(labels),
        }
    }

    fn header<const N: usize>(&mut self, expected: u32, what: &'static str) -> Result<[u32; N], DatasetError> {
        let bytes = self.read_up_to(4 * N as u64)?;
        let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_be_bytes(word)).collect();
        if let Some(&found) = words.first()
            && found != expected
        {
            return Err(DatasetError::WrongMagic { path: self.path.clone(), found, expected, what });
        }
        words.try_into().map_err(|_| DatasetError::Truncated {
            path: self.path.clone(),
            found: bytes.len() as u64,
            expected: 4 * N as u64,
        })
    }

    /// Exactly the bytes that the header asks for.
    fn body(mut self, header: u64, n_bytes: u64) -> Result<Vec<u8>, DatasetError> {
        if n_bytes == 0 {
            return Err(DatasetError::Empty { path: self.path });
        }
        if n_bytes > MAX_BYTES {
            return Err(DatasetError::Oversized { path: self.path, expected: MAX_BYTES });
        }
        // One byte more, to see whether the file goes on. What is read is allocated as it comes, not as declared.
        let bytes = self.read_up_to(n_bytes + 1)?;
        let (found, expected) = (header + bytes.len() as u64, header + n_bytes);
        match found.cmp(&expected) {
            std::cmp::Ordering::Equal => Ok(bytes),
            std::cmp::Ordering::Less => Err(DatasetError::Truncated { path: self.path, found, expected }),
            std::cmp::Ordering::Greater => Err(DatasetError::Oversized { path: self.path, expected }),
        }
    }

    fn read_up_to(&mut self, n_bytes: u64) -> Result<Vec<u8>, DatasetError> {
        let mut bytes = Vec::new();
        let path = &self.path;
        (&mut self.reader)
            .take(n_bytes)
            .read_to_end(&mut bytes)
            .map_err(|source| DatasetError::Io { path: path.clone(), source })?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    const NAME: DatasetName = DatasetName::Mnist;

    fn images(count: u32, n_present: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = [IMAGES_MAGIC, count, 28, 28].iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.resize(16 + 784 * n_present, 7);
        bytes
    }

    fn labels(values: &[u8]) -> Vec<u8> {
        let header = [LABELS_MAGIC, values.len() as u32];
        header.iter().flat_map(|word| word.to_be_bytes()).chain(values.iter().copied()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Loads the test split from a folder with these two files.
    fn load_files(image_file: (&str, &[u8]), label_file: (&str, &[u8])) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [image_file, label_file] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        load(NAME, Split::Test, folder.path())
    }

    fn load_bytes(images: &[u8], labels: &[u8]) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
        load_files(("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels))
    }

    #[test]
    fn plain_gzipped_and_dotted_files_give_the_same_samples() {
        let (images, labels) = (images(2, 2), labels(&[3, 9]));
        let expected = (vec![7; 2 * 784], vec![3, 9]);
        assert_eq!(load_bytes(&images, &labels).unwrap(), expected);
        let gz = load_files(("t10k-images-idx3-ubyte.gz", &gzip(&images)), ("t10k-labels-idx1-ubyte.gz", &gzip(&labels)));
        assert_eq!(gz.unwrap(), expected);
        let dotted = load_files(("t10k-images.idx3-ubyte", &images), ("t10k-labels.idx1-ubyte", &labels));
        assert_eq!(dotted.unwrap(), expected);
    }

    #[test]
    fn a_missing_file_says_which_command_gets_it() {
        let error = load(NAME, Split::Train, Path::new("nowhere")).unwrap_err().to_string();
        assert!(error.contains("nowhere/train-images-idx3-ubyte: not found; run `scripts/fetch-data mnist`"), "{error}");
    }

    #[test]
    fn damaged_files_are_told_apart() {
        let good = labels(&[3, 9]);
        assert!(matches!(load_bytes(&images(2, 1), &good), Err(DatasetError::Truncated { found: 800, expected: 1584, .. })));
        assert!(matches!(load_bytes(&images(2, 2)[..10], &good), Err(DatasetError::Truncated { found: 10, .. })));
        assert!(matches!(load_bytes(&images(2, 3), &good), Err(DatasetError::Oversized { expected: 1584, .. })));
        assert!(matches!(load_bytes(&good, &good), Err(DatasetError::WrongMagic { found: LABELS_MAGIC, .. })));
        assert!(matches!(load_bytes(&images(2, 2), &images(2, 2)), Err(DatasetError::WrongMagic { .. })));
        assert!(matches!(load_bytes(&images(3, 3), &good), Err(DatasetError::CountMismatch { n_images: 3, n_labels: 2, .. })));
        assert!(matches!(load_bytes(&images(2, 2), &labels(&[3, 10])), Err(DatasetError::LabelOutOfRange { index: 1, label: 10, .. })));
        assert!(matches!(load_bytes(&images(0, 0), &labels(&[])), Err(DatasetError::Empty { .. })));
        let mut wide = images(2, 2);
        wide[15] = 29;
        assert!(matches!(load_bytes(&wide, &good), Err(DatasetError::WrongImageSize { found: [28, 29], .. })));
    }

    #[test]
    fn a_header_that_declares_gigabytes_allocates_no_more_than_the_file_holds() {
        assert!(matches!(load_bytes(&images(u32::MAX, 1), &labels(&[1])), Err(DatasetError::Oversized { .. })));
        assert!(matches!(load_bytes(&images(1_000_000, 1), &labels(&[1])), Err(DatasetError::Truncated { found: 800, .. })));
    }

    #[test]
    fn a_gzip_file_that_never_ends_or_breaks_off_is_refused() {
        let labels = gzip(&labels(&[3, 9]));
        let load_gz = |images: &[u8]| load_files(("t10k-images-idx3-ubyte.gz", images), ("t10k-labels-idx1-ubyte.gz", &labels));
        let bomb = gzip(&[images(2, 2), vec![0; 50_000_000]].concat());
        assert!(matches!(load_gz(&bomb), Err(DatasetError::Oversized { expected: 1584, .. })));
        let whole = gzip(&images(2, 2));
        assert!(matches!(load_gz(&whole[..whole.len() / 2]), Err(DatasetError::Io { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), magic in any::<bool>()) {
            let mut bytes = bytes;
            if magic && bytes.len() >= 16 {
                bytes[..16].copy_from_slice(&images(2, 0)[..16]);
            }
            let source = Source { path: PathBuf::new(), reader: bytes.as_slice() };
            let parsed = source.parse_images([28, 28]);
            prop_assert_eq!(parsed.is_ok(), magic && bytes.len() == 16 + 2 * 784);
        }
    }
}
