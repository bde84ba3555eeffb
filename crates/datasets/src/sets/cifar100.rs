//! CIFAR-100: 3×32×32 images of 100 classes, in two binary files: per sample a byte for its coarse class, one for its fine class, then the
//! pixels, plane by plane.
//!
//! With its fine classes; [`crate::custom`] reads the 20 coarse ones. The files are those of CIFAR-10 but for their labels, and are read
//! there. Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "binary version".

use std::path::Path;

use super::Row;
use super::cifar10::{Layout, load_files};
use crate::source::Published;
use crate::{DatasetError, Split};

pub(super) static ROW: Row = Row { published: &PUBLISHED, scale: 255, checksums: None, load };

static PUBLISHED: Published = Published { shape: [3, 32, 32], class_names: &THINGS, n_train: 50_000, n_test: 10_000 };

/// As in the published `fine_label_names.txt`.
#[rustfmt::skip]
const THINGS: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy", "bridge",
    "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud",
    "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl",
    "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear",
    "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel",
    "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train",
    "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];

const LAYOUT: Layout = Layout { n_label_bytes: 2, n_classes: THINGS.len(), max_samples: 1_000_000 };

/// How to get a missing folder or file.
const REMEDY: &str = "put train.bin and test.bin of CIFAR-100's binary version (cifar-100-binary.tar.gz) there, or set data.path to their \
                      folder";

/// Pixels `[N, 3, 32, 32]` and labels `[N]` of one split.
fn load(split: Split, folder: &Path) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    let name = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    load_files(LAYOUT, folder, "cifar-100-binary", &[name], REMEDY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const N_PIXELS: usize = 3 * 32 * 32;

    fn sample(coarse: u8, fine: u8, pixel: u8) -> Vec<u8> {
        [vec![coarse, fine], vec![pixel; N_PIXELS]].concat()
    }

    #[test]
    fn samples_have_their_fine_classes_in_either_folder() {
        for inner in [".", "cifar-100-binary"] {
            let folder = tempfile::tempdir().unwrap();
            let files = folder.path().join(inner);
            std::fs::create_dir_all(&files).unwrap();
            std::fs::write(files.join("train.bin"), [sample(3, 42, 9), sample(19, 99, 255)].concat()).unwrap();
            std::fs::write(files.join("test.bin"), sample(0, 7, 1)).unwrap();
            let (pixels, labels) = load(Split::Train, folder.path()).unwrap();
            assert_eq!((pixels, labels), ([[9; N_PIXELS], [255; N_PIXELS]].concat(), vec![42, 99]));
            assert_eq!(load(Split::Test, folder.path()).unwrap(), (vec![1; N_PIXELS], vec![7]));
        }
    }

    #[test]
    fn damaged_and_missing_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |bytes: Option<&[u8]>| {
            let write = |bytes| std::fs::write(folder.path().join("test.bin"), bytes).unwrap();
            bytes.map(write);
            load(Split::Test, folder.path()).unwrap_err().to_string()
        };
        let missing = refused(None);
        assert!(
            missing.contains("test.bin: ") && missing.contains("put train.bin and test.bin of CIFAR-100"),
            "{missing}"
        );
        let label = refused(Some(&sample(0, 100, 1)));
        assert!(label.contains("test.bin: label 100 of sample 0 (from 0) is not below 100"), "{label}");
        // A file of CIFAR-10, whose samples are a byte shorter.
        let short = refused(Some(&sample(0, 7, 1)[1..]));
        assert!(short.contains("truncated: 3073 bytes where 3074 are needed"), "{short}");
    }

    #[test]
    fn classes_are_in_the_order_of_their_names() {
        assert!(THINGS.is_sorted());
    }
}
