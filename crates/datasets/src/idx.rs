//! IDX files, the format of MNIST and its relatives, gzipped or not.
//!
//! A file is a big-endian magic number (0x0803 for images, 0x0801 for labels), the sizes, and the bytes.
//! Reads files only; [`crate::images`] makes samples of them.
//! Source: <http://yann.lecun.com/exdb/mnist/>, "the IDX file format".

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::source::Published;
use crate::{DatasetError, Split};

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;

/// Most bytes read of a file, after decompression: 1 GiB, 23 times the training images of MNIST.
const MAX_BYTES: u64 = 1 << 30;

/// Pixels `[N, H, W]` and labels `[N]` of one split.
///
/// - `remedy`: how to get a missing folder or file
pub(crate) fn load(
    published: &Published,
    remedy: &str,
    split: Split,
    folder: &Path,
) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    if !folder.is_dir() {
        return Err(DatasetError::MissingFolder { path: folder.to_owned(), remedy: remedy.to_owned() });
    }
    let stem = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let (images_path, images) = open(remedy, folder, &format!("{stem}-images"), "idx3-ubyte")?;
    let (labels_path, labels) = open(remedy, folder, &format!("{stem}-labels"), "idx1-ubyte")?;
    let [_, height, width] = published.shape;
    let pixels = Source::new(&images_path, images)?.images([height as u32, width as u32])?;
    let labels = Source::new(&labels_path, labels)?.labels(published.class_names.len())?;
    let (n_images, n_labels) = (pixels.len() / (height * width), labels.len());
    if n_images != n_labels {
        return Err(DatasetError::CountMismatch { images: images_path, labels: labels_path, n_images, n_labels });
    }
    Ok((pixels, labels))
}

/// Opens the first there is of the usual spellings, such as `train-images-idx3-ubyte` and `train-images.idx3-ubyte.gz`.
fn open(remedy: &str, folder: &Path, stem: &str, ending: &str) -> Result<(PathBuf, BufReader<File>), DatasetError> {
    for separator in ["-", "."] {
        for gz in ["", ".gz"] {
            let path = folder.join(format!("{stem}{separator}{ending}{gz}"));
            match File::open(&path) {
                Ok(file) => return Ok((path, BufReader::new(file))),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(cause) => return Err(DatasetError::Io { path, cause }),
            }
        }
    }
    Err(DatasetError::MissingFile { path: folder.join(format!("{stem}-{ending}")), remedy: remedy.to_owned() })
}

/// A file being read. It is gzipped if it starts so, whatever its name: no IDX file does.
pub(crate) struct Source<'a, R> {
    path: &'a Path,
    reader: Content<R>,
}

enum Content<R> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
}

impl<'a, R: BufRead> Source<'a, R> {
    pub(crate) fn new(path: &'a Path, mut reader: R) -> Result<Self, DatasetError> {
        let start = reader.fill_buf().map_err(|cause| DatasetError::Io { path: path.to_owned(), cause })?;
        let is_gzip = start.starts_with(&[0x1f, 0x8b]);
        let reader =
            if is_gzip { Content::Gzip(Box::new(MultiGzDecoder::new(reader))) } else { Content::Plain(reader) };
        Ok(Self { path, reader })
    }

    fn images(mut self, expected: [u32; 2]) -> Result<Vec<u8>, DatasetError> {
        let [count, height, width] = self.header(IMAGES_MAGIC, "IDX images of bytes")?;
        if [height, width] != expected {
            return Err(DatasetError::WrongImageSize { path: self.path.to_owned(), found: [height, width], expected });
        }
        self.body(16, u64::from(count) * u64::from(height) * u64::from(width))
    }

    fn labels(mut self, n_classes: usize) -> Result<Vec<u8>, DatasetError> {
        let [count] = self.header(LABELS_MAGIC, "IDX labels of bytes")?;
        let labels = self.body(8, u64::from(count))?;
        match labels.iter().position(|&label| usize::from(label) >= n_classes) {
            Some(index) => {
                let (place, label) = (self.path.display().to_string(), labels[index].into());
                Err(DatasetError::LabelOutOfRange { place, index, label, first: 0, n_classes })
            }
            None => Ok(labels),
        }
    }

    /// The `N` sizes after the magic number.
    fn header<const N: usize>(&mut self, magic: u32, what: &'static str) -> Result<[u32; N], DatasetError> {
        let bytes = self.read_up_to(4 + 4 * N as u64)?;
        let mut words = bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_be_bytes(word));
        match words.next() {
            Some(found) if found != magic => {
                return Err(DatasetError::WrongMagic { path: self.path.to_owned(), found, expected: magic, what });
            }
            _ => {}
        }
        words.collect::<Vec<_>>().try_into().map_err(|_| DatasetError::Truncated {
            path: self.path.to_owned(),
            found: bytes.len() as u64,
            expected: 4 + 4 * N as u64,
        })
    }

    /// Exactly the bytes that the header declares.
    pub(crate) fn body(&mut self, header: u64, n_bytes: u64) -> Result<Vec<u8>, DatasetError> {
        let path = self.path.to_owned();
        if n_bytes == 0 {
            return Err(DatasetError::Empty { path });
        }
        if n_bytes > MAX_BYTES {
            return Err(DatasetError::TooLarge { path, found: header + n_bytes, limit: MAX_BYTES });
        }
        // One byte more, to see whether the file goes on.
        let bytes = self.read_up_to(n_bytes + 1)?;
        let (found, expected) = (header + bytes.len() as u64, header + n_bytes);
        match found.cmp(&expected) {
            Ordering::Equal => Ok(bytes),
            Ordering::Less => Err(DatasetError::Truncated { path, found, expected }),
            Ordering::Greater => Err(DatasetError::Oversized { path, expected }),
        }
    }

    /// Allocates as bytes come, never as they are declared.
    pub(crate) fn read_up_to(&mut self, n_bytes: u64) -> Result<Vec<u8>, DatasetError> {
        let mut bytes = Vec::new();
        let path = || self.path.to_owned();
        match &mut self.reader {
            Content::Plain(reader) => {
                let read = reader.take(n_bytes).read_to_end(&mut bytes);
                read.map_err(|cause| DatasetError::Io { path: path(), cause })?;
            }
            Content::Gzip(reader) => {
                let read = reader.take(n_bytes).read_to_end(&mut bytes);
                read.map_err(|cause| match cause.kind() {
                    ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                        DatasetError::DamagedGzip { path: path(), cause }
                    }
                    _ => DatasetError::Io { path: path(), cause },
                })?;
            }
        }
        bytes.shrink_to_fit();
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
    use crate::{DatasetName, LabelledImages};

    const REMEDY: &str = "get it";

    static OF_TEN_CLASSES: Published =
        Published { shape: [1, 28, 28], class_names: &["x"; 10], n_train: 60_000, n_test: 10_000 };

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
        load(&OF_TEN_CLASSES, REMEDY, Split::Test, folder.path())
    }

    fn load_bytes(images: &[u8], labels: &[u8]) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
        load_files(("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels))
    }

    fn load_gz(images: &[u8]) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
        let labels = gzip(&labels(&[3, 9]));
        load_files(("t10k-images-idx3-ubyte.gz", images), ("t10k-labels-idx1-ubyte.gz", &labels))
    }

    fn parse_images(bytes: &[u8]) -> Result<Vec<u8>, DatasetError> {
        Source::new(Path::new("images"), bytes)?.images([28, 28])
    }

    fn parse_labels(bytes: &[u8]) -> Result<Vec<u8>, DatasetError> {
        Source::new(Path::new("labels"), bytes)?.labels(10)
    }

    #[test]
    fn plain_gzipped_and_dotted_files_give_the_same_samples() {
        let (images, labels) = (images(2, 2), labels(&[3, 9]));
        let (images_gz, labels_gz) = (gzip(&images), gzip(&labels));
        let expected = (vec![7; 2 * 784], vec![3, 9]);
        for (images_name, images) in [
            ("t10k-images-idx3-ubyte", &images),
            ("t10k-images.idx3-ubyte", &images),
            ("t10k-images-idx3-ubyte.gz", &images_gz),
            ("t10k-images.idx3-ubyte.gz", &images_gz),
            ("t10k-images-idx3-ubyte.gz", &images), // decompressed on the way, as some browsers do
        ] {
            for (labels_name, labels) in
                [("t10k-labels-idx1-ubyte", &labels), ("t10k-labels.idx1-ubyte.gz", &labels_gz)]
            {
                assert_eq!(
                    load_files((images_name, images), (labels_name, labels)).unwrap(),
                    expected,
                    "{images_name}"
                );
            }
        }
    }

    #[test]
    fn a_missing_folder_or_file_says_which_command_gets_it() {
        let nowhere = Some(Path::new("nowhere"));
        let error = LabelledImages::load(DatasetName::Mnist, Split::Train, nowhere).unwrap_err().to_string();
        assert_eq!(
            error,
            "nowhere: no such folder; run `scripts/fetch-data mnist`, or set data.path to a folder that holds the IDX files"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train-images-idx3-ubyte"), images(1, 1)).unwrap();
        let error = LabelledImages::load(DatasetName::FashionMnist, Split::Train, Some(folder.path())).unwrap_err();
        let is_labels =
            matches!(&error, DatasetError::MissingFile { path, .. } if path.ends_with("train-labels-idx1-ubyte"));
        assert!(is_labels && error.to_string().contains("run `scripts/fetch-data fashion-mnist`"), "{error}");
    }

    #[test]
    fn damaged_files_are_told_apart() {
        let good = labels(&[3, 9]);
        let load = |images: &[u8]| load_bytes(images, &good);
        assert!(matches!(load(&images(2, 1)), Err(DatasetError::Truncated { found: 800, expected: 1584, .. })));
        assert!(matches!(load(&images(2, 2)[..10]), Err(DatasetError::Truncated { found: 10, expected: 16, .. })));
        assert!(matches!(load(&[]), Err(DatasetError::Truncated { found: 0, expected: 16, .. })));
        assert!(matches!(load(&images(2, 3)), Err(DatasetError::Oversized { expected: 1584, .. })));
        assert!(matches!(load(&good), Err(DatasetError::WrongMagic { found: LABELS_MAGIC, .. })));
        assert!(matches!(load(&images(0, 0)), Err(DatasetError::Empty { .. })));
        assert!(matches!(load(&images(3, 3)), Err(DatasetError::CountMismatch { n_images: 3, n_labels: 2, .. })));
        let mut wide = images(2, 2);
        wide[15] = 29;
        assert!(matches!(load(&wide), Err(DatasetError::WrongImageSize { found: [28, 29], expected: [28, 28], .. })));
    }

    #[test]
    fn damaged_labels_are_told_apart() {
        let load = |labels: &[u8]| load_bytes(&images(2, 2), labels);
        assert!(matches!(load(&images(2, 2)), Err(DatasetError::WrongMagic { found: IMAGES_MAGIC, .. })));
        let wrong = load(&labels(&[3, 10])).unwrap_err();
        assert!(matches!(wrong, DatasetError::LabelOutOfRange { index: 1, label: 10, n_classes: 10, .. }));
        assert!(wrong.to_string().contains("t10k-labels-idx1-ubyte: label 10 of sample 1"), "{wrong}");
        assert!(matches!(load(&labels(&[3, 9])[..9]), Err(DatasetError::Truncated { found: 9, expected: 10, .. })));
        let trailing = [labels(&[3, 9]), vec![0]].concat();
        assert!(matches!(load(&trailing), Err(DatasetError::Oversized { expected: 10, .. })));
    }

    #[test]
    fn a_subset_with_another_count_loads() {
        let (pixels, labels) = load_bytes(&images(5, 5), &labels(&[0, 1, 2, 3, 4])).unwrap();
        assert_eq!((pixels.len(), labels.len()), (5 * 784, 5));
    }

    #[test]
    fn a_header_that_declares_gigabytes_allocates_no_more_than_the_file_holds() {
        let four_billion = load_bytes(&images(u32::MAX, 1), &labels(&[1]));
        assert!(matches!(four_billion, Err(DatasetError::TooLarge { found: 3_367_254_359_296, limit: MAX_BYTES, .. })));
        let million = load_bytes(&images(1_000_000, 1), &labels(&[1]));
        assert!(matches!(million, Err(DatasetError::Truncated { found: 800, expected: 784_000_016, .. })));
    }

    #[test]
    fn a_gzip_bomb_is_left_one_byte_after_the_declared_end() {
        let bomb = gzip(&[images(2, 2), vec![0; 10_000_000]].concat());
        let mut source = Source::new(Path::new("bomb"), bomb.as_slice()).unwrap();
        source.header::<3>(IMAGES_MAGIC, "IDX images").unwrap();
        assert!(matches!(source.body(16, 2 * 784), Err(DatasetError::Oversized { expected: 1584, .. })));
        // The byte after the expected end was taken, the one after that is still there.
        assert_eq!(source.read_up_to(20_000_000).unwrap().len(), 10_000_000 - 1);
        assert!(matches!(load_gz(&bomb), Err(DatasetError::Oversized { .. })));
    }

    #[test]
    fn a_damaged_gzip_stream_is_refused() {
        let whole = gzip(&images(2, 2));
        assert!(load_gz(&whole).is_ok());
        let mut wrong_sum = whole.clone();
        *wrong_sum.iter_mut().nth_back(5).unwrap() ^= 1;
        let trailing = [whole.as_slice(), b"more"].concat();
        for damaged in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &whole[..3], &wrong_sum, &trailing] {
            assert!(matches!(load_gz(damaged), Err(DatasetError::DamagedGzip { .. })), "{:?}", load_gz(damaged));
        }
    }

    #[test]
    fn the_members_of_a_gzip_file_are_one_stream() {
        let bytes = images(2, 2);
        let members = [gzip(&bytes[..500]), gzip(&bytes[500..])].concat();
        assert_eq!(load_gz(&members).unwrap().0, vec![7; 2 * 784]);
        let extra = [gzip(&bytes), gzip(&[0])].concat();
        assert!(matches!(load_gz(&extra), Err(DatasetError::Oversized { .. })));
    }

    #[test]
    fn a_folder_in_place_of_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert!(matches!(load(&OF_TEN_CLASSES, REMEDY, Split::Test, folder.path()), Err(DatasetError::Io { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse_images(&bytes), parse_labels(&bytes));
            // Behind a true start of each kind of file, so that more than the first check sees them.
            for start in [&images(2, 0)[..4], &images(2, 0), &labels(&[])[..4], &gzip(&images(2, 2))[..10]] {
                let bytes = [start, &bytes].concat();
                let _ = (parse_images(&bytes), parse_labels(&bytes));
                let _ = (parse_images(&gzip(&bytes)), parse_labels(&gzip(&bytes)));
            }
        }

        #[test]
        fn a_damaged_byte_never_panics(position in 0..1584usize, value in any::<u8>(), n_bytes in 0..1584usize) {
            for mut bytes in [images(2, 2), gzip(&images(2, 2))] {
                let position = position % bytes.len();
                bytes[position] = value;
                let _ = parse_images(&bytes);
                bytes.truncate(n_bytes);
                prop_assert!(parse_images(&bytes).is_err() || n_bytes >= bytes.len());
            }
        }

        #[test]
        fn images_are_read_only_if_the_file_has_exactly_the_declared_length(count in 0..4u32, n_bytes in 0..4000usize) {
            let mut bytes = images(count, 0);
            bytes.resize(n_bytes, 1);
            prop_assert_eq!(parse_images(&bytes).is_ok(), count > 0 && n_bytes == 16 + 784 * count as usize);
        }

        #[test]
        fn labels_are_read_as_they_are(values in proptest::collection::vec(0..10u8, 1..300)) {
            prop_assert_eq!(parse_labels(&labels(&values)).unwrap_or_default(), values.clone());
            prop_assert_eq!(parse_labels(&gzip(&labels(&values))).unwrap_or_default(), values);
        }
    }
}
