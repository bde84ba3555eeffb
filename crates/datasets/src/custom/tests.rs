//! The formats, from bytes written by hand or by other programs.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use model::config::{DatasetName, Scaling};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;
use crate::{DataSet, DatasetFacts, LabelledImages};

type Tensor<'a> = (Dtype, &'a [usize], &'a [u8]);

/// A safetensors file with these tensors; names of classes, if any, in its metadata.
fn safetensors(images: Tensor<'_>, labels: Tensor<'_>, classes: Option<&str>) -> Vec<u8> {
    let view = |(dtype, shape, bytes): Tensor<'_>| {
        let bytes: &'static [u8] = bytes.to_vec().leak();
        TensorView::new(dtype, shape.to_vec(), bytes).expect("as many bytes as the shape says")
    };
    let tensors = [("images", view(images)), ("labels", view(labels))];
    let metadata = classes.map(|names| HashMap::from([("classes".to_owned(), names.to_owned())]));
    safetensors::serialize(tensors, metadata).expect("tensors that fit")
}

/// Two images of 2 × 3 with the labels 1 and 4.
fn two() -> Vec<u8> {
    safetensors((Dtype::U8, &[2, 2, 3], &[0, 1, 2, 3, 4, 5, 255, 7, 8, 9, 10, 11]), (Dtype::U8, &[2], &[1, 4]), None)
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file in the folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    folder
}

fn config(path: &Path) -> DataConfig {
    DataConfig { dataset: DatasetName::Custom, path: Some(path.to_owned()), ..DataConfig::default() }
}

fn load(config: &DataConfig, split: Split) -> Result<LabelledImages, DatasetError> {
    DataSet::open(config, None)?.samples(split)?.read()
}

fn load_from(files: &[(&str, &[u8])], split: Split) -> Result<LabelledImages, DatasetError> {
    load(&config(folder(files).path()), split)
}

fn refusal(files: &[(&str, &[u8])]) -> String {
    load_from(files, Split::Test).expect_err("refused").to_string()
}

fn test_only(bytes: &[u8]) -> Result<LabelledImages, DatasetError> {
    load_from(&[("test.safetensors", bytes)], Split::Test)
}

#[test]
fn images_are_those_written_with_as_many_classes_as_the_two_files_have() {
    let more = safetensors((Dtype::U8, &[1, 2, 3], &[200; 6]), (Dtype::I64, &[1], &7_i64.to_le_bytes()), None);
    let files: &[(&str, &[u8])] = &[("train.safetensors", &more), ("test.safetensors", &two())];
    let test = load_from(files, Split::Test).unwrap();
    assert_eq!((test.shape(), test.labels(), test.n_classes()), ([1, 2, 3], [1, 4].as_slice(), 8));
    assert_eq!((test.raw(1), test.scaling()), ([255, 7, 8, 9, 10, 11].as_slice(), Scaling::by(255.0)));
    let alone = test_only(&two()).unwrap();
    assert_eq!((alone.n_classes(), alone.class_names()[4].as_str()), (5, "4"));
    let facts = DatasetFacts::of(&config(folder(files).path()), None).unwrap();
    assert_eq!((facts.shape, facts.class_names.len(), facts.n_train, facts.n_test), ([1, 2, 3], 8, 1, 2));
}

#[test]
fn shapes_of_vectors_planes_and_colour_images_are_told_apart() {
    for (shape, expected) in
        [(&[2, 6][..], [6, 1, 1]), (&[2, 2, 3], [1, 2, 3]), (&[2, 3, 1, 2], [3, 1, 2]), (&[1, 3, 2, 2], [3, 2, 2])]
    {
        let n = shape[0];
        let bytes = safetensors((Dtype::U8, shape, &[9; 12]), (Dtype::U8, &[n], &vec![0; n]), None);
        assert_eq!(test_only(&bytes).unwrap().shape(), expected);
    }
}

#[test]
fn classes_have_the_names_that_a_file_gives() {
    let named = |classes| safetensors((Dtype::U8, &[1, 2], &[0; 2]), (Dtype::U8, &[1], &[1]), Some(classes));
    assert_eq!(test_only(&named("cat, dog,owl")).unwrap().class_names(), ["cat", "dog", "owl"]);
    let files: &[(&str, &[u8])] = &[("train.safetensors", &named("cat,dog")), ("test.safetensors", &named("dog,cat"))];
    let error = load_from(files, Split::Test).unwrap_err();
    assert!(matches!(error, DatasetError::SplitsDiffer { .. }), "{error}");
    let error = test_only(&named("cat")).unwrap_err().to_string();
    assert!(error.contains("label 1 of sample 0 (from 0) is not below 1"), "{error}");
}

#[test]
fn labels_of_every_number_type_are_read_and_none_is_cut_off() {
    let labelled = |dtype, bytes: &[u8]| safetensors((Dtype::U8, &[1, 1], &[0]), (dtype, &[1], bytes), None);
    let read = |dtype, bytes: &[u8]| test_only(&labelled(dtype, bytes)).map(|test| test.label(0));
    assert_eq!(read(Dtype::I8, &3_i8.to_le_bytes()).unwrap(), 3);
    assert_eq!(read(Dtype::U16, &65_535_u16.to_le_bytes()).unwrap(), 65_535);
    assert_eq!(read(Dtype::I32, &777_i32.to_le_bytes()).unwrap(), 777);
    assert_eq!(read(Dtype::F32, &12_f32.to_le_bytes()).unwrap(), 12);
    for (dtype, bytes, found) in [
        (Dtype::I8, vec![255], -1),
        (Dtype::I64, (-9_i64).to_le_bytes().to_vec(), -9),
        (Dtype::U64, u64::MAX.to_le_bytes().to_vec(), i128::from(u64::MAX)),
        (Dtype::I32, 65_536_i32.to_le_bytes().to_vec(), 65_536),
    ] {
        let error = read(dtype, &bytes).unwrap_err();
        assert!(matches!(error, DatasetError::LabelOutOfRange { label, .. } if label == found), "{error}");
    }
    let error = read(Dtype::F32, &1.5_f32.to_le_bytes()).unwrap_err().to_string();
    assert!(error.contains("label 1.5 of sample 0 (from 0) is not whole; write the number"), "{error}");
}

#[test]
fn other_contents_are_refused_with_what_is_needed() {
    let labels: Tensor<'_> = (Dtype::U8, &[1], &[0]);
    let message = |bytes: &[u8]| test_only(bytes).expect_err("refused").to_string();
    for (bytes, found) in [
        (safetensors((Dtype::U8, &[1], &[0]), labels, None), "images are of shape [1]; supported: [N, C, H, W]"),
        (safetensors((Dtype::C64, &[1, 1], &[0; 8]), labels, None), "images are C64; write it with safetensors"),
        (safetensors((Dtype::U8, &[2, 1], &[0; 2]), labels, None), "1 labels for the 2 images of"),
        (safetensors::serialize::<&str, TensorView<'_>, _>([], None).unwrap(), "no tensor `images`"),
        (b"PK\x03\x04 this is a zip file".to_vec(), "no safetensors file"),
    ] {
        let message = message(&bytes);
        assert!(message.contains(found), "{message}");
    }
    let none = safetensors((Dtype::U8, &[0, 4], &[]), (Dtype::U8, &[0], &[]), None);
    assert!(matches!(test_only(&none), Err(DatasetError::Empty { .. })));
    let infinite = [1.0, f32::INFINITY].map(f32::to_le_bytes).concat();
    let infinite = safetensors((Dtype::F32, &[1, 2], &infinite), labels, None);
    assert!(message(&infinite).contains("value inf in sample 0 (from 0); write finite numbers"));
}

#[test]
fn broken_files_and_missing_ones_are_told_apart() {
    let whole = two();
    for n in [0, 7, 20, whole.len() - 1] {
        let error = test_only(&whole[..n]).unwrap_err();
        assert!(matches!(error, DatasetError::Truncated { .. }), "{n} bytes: {error}");
    }
    let more = [whole.clone(), vec![0]].concat();
    assert!(matches!(test_only(&more), Err(DatasetError::Oversized { .. })));
    let other = safetensors((Dtype::U8, &[1, 4], &[0; 4]), (Dtype::U8, &[1], &[0]), None);
    let files: &[(&str, &[u8])] = &[("train.safetensors", &other), ("test.safetensors", &whole)];
    let error = load_from(files, Split::Test).unwrap_err().to_string();
    assert!(error.contains("images of [1, 2, 3], but those of") && error.contains("[4, 1, 1]"), "{error}");
    let error = refusal(&[("train.safetensors", &whole)]);
    assert!(error.contains("holds no test samples; set data.path to a folder with train.safetensors"), "{error}");
    let error = load(&config(Path::new("nowhere")), Split::Train).unwrap_err();
    assert!(matches!(error, DatasetError::MissingFolder { .. }));
    let error = refusal(&[("readme.txt", b"hello")]);
    assert!(error.contains("holds no samples of a kind that is read; set data.path"), "{error}");
}

#[test]
fn real_values_of_any_sign_are_kept_by_the_range_of_the_training_samples() {
    let floats = |values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        safetensors(
            (Dtype::F32, &[values.len() / 2, 2], &bytes),
            (Dtype::U8, &[values.len() / 2], &vec![0; values.len() / 2]),
            None,
        )
    };
    let files: &[(&str, &[u8])] =
        &[("train.safetensors", &floats(&[-1.0, 3.0, 0.0, 1.0])), ("test.safetensors", &floats(&[1.0, 7.0]))];
    let folder = folder(files);
    let data = DataSet::open(&config(folder.path()), None).unwrap();
    assert_eq!(data.scaling().unwrap(), Scaling { scale: 1.0, range: [-1.0, 3.0] });
    assert!(data.notes().unwrap()[0].contains("-1 to 3 kept as 0 to 1"), "{:?}", data.notes());
    assert_eq!(data.samples(Split::Train).unwrap().read().unwrap().images(0..2), [0.0, 1.0, 0.25, 0.5]);
    let test = data.samples(Split::Test).unwrap().read().unwrap();
    // Not cut off.
    assert_eq!(test.image(0), [0.5, 2.0]);
    assert!(test.check_rates(Split::Test).unwrap_err().to_string().contains("such as 7 in sample 0"));
    // What an artefact says is not found again.
    let said = DataConfig { scale: Some(1.0), range: Some([-1.0, 7.0]), ..config(folder.path()) };
    let data = DataSet::open(&said, None).unwrap();
    assert!(data.notes().unwrap().is_empty());
    assert_eq!(data.samples(Split::Test).unwrap().read().unwrap().image(0), [0.25, 1.0]);
}

#[test]
fn bytes_that_never_reach_white_are_divided_by_the_largest() {
    let of = |bytes: &[u8]| safetensors((Dtype::U8, &[1, bytes.len()], bytes), (Dtype::U8, &[1], &[0]), None);
    let files: &[(&str, &[u8])] = &[("train.safetensors", &of(&[0, 16, 3])), ("test.safetensors", &of(&[8, 4, 2]))];
    let folder = folder(files);
    let data = DataSet::open(&config(folder.path()), None).unwrap();
    assert_eq!(data.notes().unwrap(), ["pixels: bytes up to 16 in the training samples, divided by 16 (data.scale)"]);
    assert_eq!(data.samples(Split::Test).unwrap().read().unwrap().image(0), [0.5, 0.25, 0.125]);
}

/// Arrays of NumPy's own format, each of (name, type, shape, bytes), in an archive.
fn npz(arrays: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, descr, shape, bytes) in arrays {
        let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
        let (descr, is_fortran) = descr.strip_prefix('F').map_or((*descr, "False"), |descr| (descr, "True"));
        let header = format!("{{'descr': '{descr}', 'fortran_order': {is_fortran}, 'shape': ({sizes}), }}");
        zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
        zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        zip.write_all(header.as_bytes()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn archives_of_medmnist_and_of_keras_are_read() {
    let medmnist = npz(&[
        ("train_images", "|u1", &[2, 1, 2, 3], &[1, 2, 3, 4, 5, 6, 250, 8, 9, 10, 11, 12]),
        ("train_labels", "|u1", &[2, 1], &[0, 1]),
        ("val_images", "|u1", &[1, 1, 2, 3], &[0; 6]),
        ("val_labels", "|u1", &[1, 1], &[0]),
        ("test_images", "|u1", &[1, 1, 2, 3], &[9, 8, 7, 6, 5, 4]),
        ("test_labels", "|u1", &[1, 1], &[1]),
    ]);
    let folder = folder(&[("pathmnist.npz", &medmnist)]);
    // By the folder, and by the file itself.
    for path in [folder.path().to_owned(), folder.path().join("pathmnist.npz")] {
        let data = DataSet::open(&config(&path), None).unwrap();
        let test = data.samples(Split::Test).unwrap().read().unwrap();
        assert_eq!((test.shape(), test.labels(), test.n_classes()), ([3, 1, 2], [1].as_slice(), 2));
        assert_eq!(test.raw(0), [9, 6, 8, 5, 7, 4]);
        let notes = data.notes().unwrap().join("\n");
        assert!(notes.contains("val_images are left aside") && notes.contains("[N, H, W, C]"), "{notes}");
    }
    let labels = [3_i64, 0].map(i64::to_be_bytes).concat();
    let floats = [0.0_f32, 0.5, 0.25, 1.0].map(f32::to_le_bytes).concat();
    let keras = npz(&[
        ("x_train", "<f4", &[2, 1, 2], &floats),
        ("y_train", ">i8", &[2], &labels),
        ("x_test", "F<f4", &[2, 2], &floats),
        ("y_test", "<f4", &[2], &[1.0_f32, 2.0].map(f32::to_le_bytes).concat()),
    ]);
    let error = refusal(&[("keras.npz", &keras)]);
    assert!(error.contains("images of [2, 1, 1], but those of"), "{error}");
    let keras = npz(&[("x_test", "F<f4", &[2, 2], &floats), ("y_test", ">i8", &[2], &labels)]);
    let test = load_from(&[("keras.npz", &keras)], Split::Test).unwrap();
    assert_eq!((test.images(0..2), test.labels()), (vec![0.0, 0.25, 0.5, 1.0], [3, 0].as_slice()));
}

#[test]
fn archives_that_hold_something_else_are_refused() {
    let message = |arrays: &[(&str, &str, &[usize], &[u8])]| refusal(&[("a.npz", &npz(arrays))]);
    let labels: (&str, &str, &[usize], &[u8]) = ("y_test", "|u1", &[1], &[0]);
    for (arrays, found) in [
        (vec![("arr_0", "|u1", &[1][..], &[0][..])], "holds the arrays arr_0; write it with `numpy.savez`"),
        (vec![("x_test", "|O", &[1, 1], &[0]), labels], "x_test is of type `|O`; write numbers of one type"),
        (vec![("x_test", "|u1", &[1, 1], &[]), labels], "truncated: 0 bytes where 1 are needed"),
        (vec![("x_test", "|u1", &[1, 1], &[0, 0]), labels], "more bytes than the 1 its header declares"),
        (vec![("x_test", "|u1", &[2, 1], &[0, 0]), labels], "1 labels for the 2 images"),
        (vec![("x_train", "|u1", &[1, 1], &[0]), labels], "holds x_train without y_train"),
        (vec![("x_test", "|u1", &[1, 1 << 40], &[0]), labels], "above the limit"),
        (vec![("x_test", "|u1", &[1, 1], &[0]), ("y_test", "|u1", &[1, 2], &[0, 5])], "set data.label_column"),
    ] {
        let message = message(&arrays);
        assert!(message.contains(found), "{message}");
    }
    let whole = npz(&[("x_test", "|u1", &[1, 1], &[0]), labels]);
    let error = refusal(&[("a.npz", &whole[..whole.len() / 2])]);
    assert!(error.contains("a.npz: damaged archive ("), "{error}");
    let error = refusal(&[("a.npz", &whole), ("b.npz", &whole)]);
    assert!(error.contains("holds 2 archives: a.npz, b.npz; set data.path to one of them"), "{error}");
}

/// An IDX file.
fn idx(code: u8, shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let sizes = shape.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, code, shape.len() as u8].into_iter().chain(sizes).chain(bytes.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn idx_files_of_other_names_ranks_and_types_are_read() {
    let images = idx(0x08, &[2, 1, 2], &[1, 2, 3, 200]);
    let labels = idx(0x08, &[2], &[0, 2]);
    let files: &[(&str, &[u8])] = &[
        ("emnist-letters-train-images-idx3-ubyte.gz", &gzip(&images)),
        ("emnist-letters-train-labels-idx1-ubyte.gz", &gzip(&labels)),
        ("emnist-letters-test-images-idx3-ubyte", &images),
        ("emnist-letters-test-images-idx3-ubyte.gz", &gzip(&images)),
        ("emnist-letters-test-labels-idx1-ubyte", &labels),
    ];
    let test = load_from(files, Split::Test).unwrap();
    assert_eq!((test.shape(), test.labels(), test.raw(1)), ([1, 1, 2], [0, 2].as_slice(), [3, 200].as_slice()));
    // In torchvision's folder.
    let raw: Vec<(String, &[u8])> = files.iter().map(|(name, bytes)| (format!("raw/{name}"), *bytes)).collect();
    let raw: Vec<(&str, &[u8])> = raw.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    assert_eq!(load_from(&raw, Split::Train).unwrap().raw(1), [3, 200]);
    // Big-endian numbers of other types.
    let floats = idx(0x0d, &[1, 2], &[-1.5_f32, 2.0].map(f32::to_be_bytes).concat());
    let long = idx(0x0c, &[1], &300_i32.to_be_bytes());
    let test = load_from(&[("test-images", &floats), ("test-labels", &long)], Split::Test).unwrap();
    assert_eq!((test.shape(), test.label(0), test.image(0)), ([2, 1, 1], 300, vec![0.0, 1.0]));
}

#[test]
fn one_of_several_sets_of_idx_files_is_chosen_by_what_its_names_begin_with() {
    let (images, labels) = (idx(0x08, &[1, 1, 2], &[1, 255]), idx(0x08, &[1], &[0]));
    let names: Vec<String> =
        ["a", "b"].iter().flat_map(|set| ["images", "labels"].map(|of| format!("{set}-test-{of}"))).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .zip([&images, &labels].into_iter().cycle())
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let folder = folder(&files);
    let error = load(&config(folder.path()), Split::Test).unwrap_err().to_string();
    assert!(error.contains("holds several sets of IDX files: a-test-images, b-test-images; set data.path"), "{error}");
    assert_eq!(load(&config(&folder.path().join("b")), Split::Test).unwrap().raw(0), [1, 255]);
    assert!(matches!(load(&config(&folder.path().join("c")), Split::Test), Err(DatasetError::MissingFolder { .. })));
}

#[test]
fn tables_of_labels_and_labels_from_1_are_told_apart_with_a_remedy() {
    let images = idx(0x08, &[3, 1, 1], &[1, 2, 255]);
    let table: Vec<u8> =
        [[1, 7], [2, 8], [3, 9]].as_flattened().iter().flat_map(|&label: &i32| label.to_be_bytes()).collect();
    let files: &[(&str, &[u8])] =
        &[("qmnist-test-images-idx3-ubyte", &images), ("qmnist-test-labels-idx2-int", &idx(0x0c, &[3, 2], &table))];
    let error = refusal(files);
    assert!(error.contains("labels are a table of shape [3, 2]; set data.label_column to the column"), "{error}");
    let folder = folder(files);
    let first = DataConfig { label_column: Some(0), ..config(folder.path()) };
    let error = load(&first, Split::Test).unwrap_err().to_string();
    assert!(error.contains("labels run from 1 to 3, and none is 0; set data.first_label = 1"), "{error}");
    let from_one = DataConfig { first_label: Some(1), ..first };
    let test = load(&from_one, Split::Test).unwrap();
    assert_eq!((test.labels(), test.n_classes(), test.class_names()[0].as_str()), ([0, 1, 2].as_slice(), 3, "1"));
}

#[test]
fn idx_files_that_do_not_belong_together_or_are_damaged_are_refused() {
    let (images, labels) = (idx(0x08, &[2, 1, 2], &[1, 2, 3, 4]), idx(0x08, &[2], &[0, 2]));
    let message = |files: &[(&str, &[u8])]| refusal(files);
    assert!(message(&[("test-images", &images)]).contains("there are no labels of the same samples"));
    assert!(message(&[("other-images", &images)]).contains("says neither `train` nor `test`; rename it"));
    let fewer = idx(0x08, &[1], &[0]);
    assert!(message(&[("test-images", &images), ("test-labels", &fewer)]).contains("1 labels for the 2 images"));
    let pair = |bytes: &[u8]| message(&[("test-images-idx", bytes), ("test-labels-idx", &labels)]);
    assert!(pair(&images[..images.len() - 1]).contains("truncated: 19 bytes where 20 are needed"));
    assert!(pair(&images[..9]).contains("truncated: 9 bytes where 16 are needed"));
    assert!(pair(&[&images[..], &[0]].concat()).contains("more bytes than the 20 its header declares"));
    assert!(pair(&gzip(&images)[..12]).contains("damaged gzip stream"));
    assert!(pair(&idx(0x08, &[u32::MAX, u32::MAX, 9], &[])).contains("; use fewer or smaller samples"));
}

fn cifar100(records: &[(u8, u8, u8)]) -> Vec<u8> {
    records.iter().flat_map(|&(coarse, fine, pixel)| [vec![coarse, fine], vec![pixel; 3072]].concat()).collect()
}

#[test]
fn cifar_100_has_fine_classes_or_coarse_ones() {
    let (train, test) = (cifar100(&[(3, 42, 9), (19, 99, 255)]), cifar100(&[(0, 7, 1)]));
    let names: String = (0..20).map(|class| format!("group {class}\n")).collect();
    let files: &[(&str, &[u8])] = &[
        ("cifar-100-binary/train.bin", &train),
        ("cifar-100-binary/test.bin", &test),
        ("cifar-100-binary/coarse_label_names.txt", names.as_bytes()),
    ];
    let folder = folder(files);
    let data = DataSet::open(&config(folder.path()), None).unwrap();
    assert!(data.notes().unwrap()[0].contains("CIFAR-100 with its 100 fine classes"), "{:?}", data.notes());
    let fine = data.samples(Split::Train).unwrap().read().unwrap();
    assert_eq!((fine.shape(), fine.labels(), fine.n_classes()), ([3, 32, 32], [42, 99].as_slice(), 100));
    assert_eq!(fine.raw(1), [255; 3072]);
    let coarse = DataConfig { label_column: Some(0), ..config(folder.path()) };
    let coarse = load(&coarse, Split::Train).unwrap();
    assert_eq!((coarse.labels(), coarse.class_names()[19].as_str()), ([3, 19].as_slice(), "group 19"));
    let neither = DataConfig { label_column: Some(2), ..config(folder.path()) };
    assert!(load(&neither, Split::Train).unwrap_err().to_string().contains("set data.label_column to 0"));
    let error = refusal(&[("test.bin", &cifar100(&[(0, 100, 1)]))]);
    assert!(error.contains("test.bin: label 100 of sample 0 (from 0) is not below 100"), "{error}");
    let error = refusal(&[("test.bin", &test[1..])]);
    assert!(error.contains("truncated: 3073 bytes where 3074 are needed"), "{error}");
    let error = refusal(&[("cifar-100-python/train", b"\x80")]);
    assert!(error.contains("nothing pickled is read: get CIFAR's binary version"), "{error}");
}

#[test]
fn pictures_without_folders_of_classes_are_refused_as_what_they_are() {
    let error = refusal(&[("one.PNG", b"x"), ("two.jpeg", b"x")]);
    assert!(
        error.contains(
            ": holds pictures, and no folder for each class with them; put them into folders, one for each class"
        ),
        "{error}"
    );
}

#[test]
fn cifar_10_is_known_by_its_files_too() {
    let record = [vec![7], vec![9; 3072]].concat();
    let test = load_from(&[("test_batch.bin", &record)], Split::Test).unwrap();
    assert_eq!((test.label(0), test.class_names()[7].as_str(), test.raw(0)), (7, "horse", [9; 3072].as_slice()));
}

#[test]
fn files_of_several_kinds_are_refused_with_a_list() {
    let error = refusal(&[
        ("test.safetensors", &two()),
        ("test-images", &idx(0x08, &[1, 1, 1], &[1])),
        ("test-labels", &idx(0x08, &[1], &[1])),
    ]);
    assert!(
        error.contains("holds samples of several kinds: safetensors files (test.safetensors); IDX files (test-images, test-labels); keep"),
        "{error}"
    );
}

/// A PNG file of one colour.
fn png(size: u32, value: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(size, size, image::Luma([value]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn pictures_have_the_class_of_their_folder_and_come_in_turn() {
    let files: Vec<(String, Vec<u8>)> = [
        "train/b/1.png",
        "train/b/2.png",
        "train/a/x.PNG",
        "train/a/.hidden.png",
        "val/a/1.png",
        "val/b/sub/1.png",
        "train/a/notes.txt",
    ]
    .iter()
    .zip(1..)
    .map(|(name, value)| ((*name).to_owned(), png(4, value)))
    .collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let folder = folder(&files);
    let data = DataSet::open(&config(folder.path()), Some([1, 4, 4])).unwrap();
    let facts = data.facts();
    assert_eq!((facts.shape, facts.n_train, facts.n_test), ([1, 4, 4], 3, 2));
    assert_eq!(facts.class_names, ["a", "b"]);
    let train = data.samples(Split::Train).unwrap();
    let checksum = train.checksum().unwrap();
    assert_ne!(train.take(2).checksum().unwrap(), checksum);
    assert_eq!((train.labels(), train.shape(), train.n_classes()), ([0, 1, 1].as_slice(), [1, 4, 4], 2));
    let part = train.select(&[2, 0]).read().unwrap();
    assert_eq!((part.raw(0)[0], part.raw(1)[0], part.labels()), (2, 3, [1, 0].as_slice()));
    let (rest, drawn) = train.split_validation(1, 3).unwrap();
    assert_eq!((rest.len(), drawn.len()), (2, 1));
    std::fs::write(folder.path().join("train/b/2.png"), png(4, 77)).unwrap();
    assert_ne!(train.checksum().unwrap(), checksum);
    // A picture that nobody has looked at since is another one by now.
    std::fs::write(folder.path().join("train/b/2.png"), png(5, 77)).unwrap();
    let error = train.read().unwrap_err().to_string();
    assert!(error.contains("a picture of 5×5 where all that were looked at are 4×4; set data.resize"), "{error}");
}

#[test]
fn folders_that_are_no_classes_of_both_splits_are_refused() {
    let picture = png(4, 9);
    let message = |files: &[&str]| {
        let files: Vec<(&str, &[u8])> = files.iter().map(|name| (*name, picture.as_slice())).collect();
        let folder = folder(&files);
        DataSet::open(&config(folder.path()), Some([1, 4, 4])).map(|data| data.notes().unwrap().join("\n"))
    };
    let lacks = message(&["train/a/1.png", "train/b/1.png", "train/c/1.png", "test/a/1.png"]).unwrap_err().to_string();
    assert!(
        lacks.contains("test: no folder for the class `b` and 1 others, which") && lacks.contains("; give both"),
        "{lacks}"
    );
    let lacks = message(&["train/a/1.png", "test/a/1.png", "test/z/1.png"]).unwrap_err().to_string();
    assert!(lacks.contains("train: no folder for the class `z`, which"), "{lacks}");
    let other = message(&["test/a/1.png", "test/a/2.webp"]).unwrap_err().to_string();
    assert!(other.contains("2.webp: a picture of another format; supported: PNG and JPEG"), "{other}");
    let aside = message(&["train/a/1.png", "test/a/1.png", "val/a/1.png"]).unwrap();
    assert!(aside.contains("val is left aside, as test is there"), "{aside}");
    let alone = message(&["a/1.png", "b/1.png"]).unwrap();
    assert!(alone.contains("without train/ and test/, all pictures are test samples"), "{alone}");
}

proptest! {
    #[test]
    fn a_changed_byte_never_panics(at in any::<usize>(), byte in any::<u8>()) {
        let archive = npz(&[("x_test", "<f4", &[1, 2], &[0; 8]), ("y_test", "|u1", &[1], &[0])]);
        for (name, mut bytes) in [
            ("test.safetensors", two()),
            ("a.npz", archive),
            ("test-images-idx", idx(0x0d, &[1, 1, 2], &[0; 8])),
        ] {
            let at = at % bytes.len();
            bytes[at] = byte;
            let labels = idx(0x08, &[1], &[0]);
            let files: &[(&str, &[u8])] = &[(name, &bytes), ("test-labels-idx", &labels)];
            drop(load_from(if name.contains("idx") { files } else { &files[..1] }, Split::Test));
        }
    }

    #[test]
    fn arbitrary_headers_of_arrays_never_panic(text in "[\\[\\(\\{'a-z0-9,:<>| ]{0,80}") {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("x_test.npy", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
        zip.write_all(&(text.len() as u16).to_le_bytes()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
        zip.start_file("y_test.npy", zip::write::SimpleFileOptions::default()).unwrap();
        let bytes = zip.finish().unwrap().into_inner();
        prop_assert!(load_from(&[("a.npz", &bytes)], Split::Test).is_err());
    }
}
