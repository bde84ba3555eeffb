//! Files that are damaged or made to do harm are refused: nothing in them is run, and no memory is taken on their word.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use import::ImportError;
use model::Architecture;
use model::architecture::{Conv2d, LayerKind, Window};
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const FIXTURES: [&str; 23] = [
    "mlp.pt",
    "mlp-legacy.pt",
    "mlp-f64.pt",
    "mlp.safetensors",
    "cnn.pt",
    "cnn-norms.onnx",
    "functional-legacy.onnx",
    "functional.onnx",
    "resnet.onnx",
    "zoo/shuffle.onnx",
    "zoo/shared-legacy.onnx",
    "zoo/channels-last.onnx",
    "zoo/quantised.onnx",
    "checkpoints/training.pt",
    "checkpoints/one-storage-legacy.pt",
    "checkpoints/weight-norm.pt",
    "checkpoints/spectral-norm-old.pt",
    "checkpoints/numpy.pt",
    "checkpoints/deflated.pt",
    "checkpoints/no-crc.pt",
    "checkpoints/float8_e4m3fn.safetensors",
    "checkpoints/burn.bpk",
    "checkpoints/burn.mpk",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn mlp() -> Architecture {
    use LayerKind::{Dense, Flatten, Relu};
    Architecture::new([1, 8, 8], &[Flatten, Dense { units: 16 }, Relu, Dense { units: 10 }]).unwrap()
}

/// The networks of `scripts/peers/make_checkpoint_fixtures.py`, and of burn's records.
fn small(name: &str) -> Architecture {
    use LayerKind::{AvgPool, BatchNorm, Dense, Flatten, Relu};
    let classifier = [Flatten, Dense { units: 3 }, Relu, Dense { units: 2 }];
    if !name.contains("burn") {
        return Architecture::new([1, 2, 2], &classifier).unwrap();
    }
    let conv = LayerKind::Conv2d(Conv2d::square(2, 3, 1, 1));
    let halve = AvgPool(Window::square(2, 2));
    let kinds = [&[conv, BatchNorm { epsilon: 1e-5 }, Relu, halve][..], &classifier].concat();
    Architecture::new([1, 4, 4], &kinds).unwrap()
}

/// Reads bytes as a file of a name's kind, architecture and all if it is ONNX.
fn read(name: &str, bytes: &[u8]) -> Result<(), ImportError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(Path::new(name).file_name().unwrap());
    std::fs::write(&path, bytes).unwrap();
    let architecture = if import::is_onnx(&path) {
        let model = import::network(&path, Some([1, 8, 8]), None)?.model;
        Architecture::of_entries(model.input, None, &model.layers).expect("what is imported is checked")
    } else if name.starts_with("checkpoints/") {
        small(name)
    } else {
        mlp()
    };
    let imported = import::weights(&path, &architecture, None)?;
    // What gets through is whole.
    assert_eq!(model::ann::differences(&architecture, &imported.ann.tensors), "");
    Ok(())
}

fn refused(name: &str, bytes: &[u8], expected: &str) {
    let error = read(name, bytes).unwrap_err().to_string();
    assert!(error.contains(expected), "expected {expected}\nfound {error}");
}

#[test]
fn files_cut_short_anywhere_are_refused() {
    for name in FIXTURES {
        let whole = std::fs::read(fixture(name)).unwrap();
        for length in (0..whole.len()).step_by(whole.len() / 97) {
            assert!(read(name, &whole[..length]).is_err(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn files_with_a_byte_changed_are_read_or_refused() {
    for name in FIXTURES {
        let whole = std::fs::read(fixture(name)).unwrap();
        for (at, flip) in (0..whole.len()).step_by(whole.len() / 211).zip([0xff, 0x01, 0x80].into_iter().cycle()) {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            _ = read(name, &bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn files_with_a_few_bytes_changed_never_panic(
        file in 0..FIXTURES.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(fixture(FIXTURES[file])).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        _ = read(FIXTURES[file], &bytes);
    }

    #[test]
    fn arbitrary_instructions_of_a_pickle_never_panic(pickle in proptest::collection::vec(any::<u8>(), 0..60)) {
        prop_assert!(read("x.pt", &checkpoint(&pickle, &[], CompressionMethod::Stored)).is_err());
    }
}

/// An archive as `torch.save` writes it.
fn checkpoint(pickle: &[u8], storages: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    let mut add = |name: &str, bytes: &[u8]| {
        archive.start_file(name, options).unwrap();
        archive.write_all(bytes).unwrap();
    };
    add("x/data.pkl", pickle);
    for (key, bytes) in storages {
        add(&format!("x/data/{key}"), bytes);
    }
    archive.finish().unwrap().into_inner()
}

/// A state dict as a pickle: names with the number of their storage's values, shape and strides.
fn state_dict(tensors: &[(&str, u32, &[u32], &[u32])]) -> Vec<u8> {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let number = |number: u32| [b"J", &number.to_le_bytes()[..]].concat();
    let tuple =
        |numbers: &[u32]| [b"(", &numbers.iter().flat_map(|&n| number(n)).collect::<Vec<_>>()[..], b"t"].concat();
    let mut pickle = b"\x80\x02}(".to_vec();
    for (key, (name, n_values, shape, stride)) in tensors.iter().enumerate() {
        pickle.extend(text(name));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(
            [text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(&key.to_string()), text("cpu")].concat(),
        );
        pickle.extend([number(*n_values), b"tQ".to_vec(), number(0), tuple(shape), tuple(stride)].concat());
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u.");
    pickle
}

#[test]
fn a_state_dict_written_by_hand_is_read() {
    let pickle = state_dict(&[
        ("a.weight", 1024, &[16, 64], &[64, 1]),
        ("a.bias", 16, &[16], &[1]),
        ("b.weight", 160, &[10, 16], &[16, 1]),
        ("b.bias", 10, &[10], &[1]),
    ]);
    let zeros = vec![0; 4096];
    let storages: [(&str, &[u8]); 4] = [("0", &zeros), ("1", &zeros[..64]), ("2", &zeros[..640]), ("3", &zeros[..40])];
    read("x.pt", &checkpoint(&pickle, &storages, CompressionMethod::Stored)).unwrap();
    // Compressed and with a storage that ends early.
    read("x.pt", &checkpoint(&pickle, &storages, CompressionMethod::Deflated)).unwrap();
    refused("x.pt", &checkpoint(&pickle, &storages[..3], CompressionMethod::Stored), "record x/data/3 is not there");
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let short = [storages[0], storages[1], ("2", &zeros[..636]), storages[3]];
        refused("x.pt", &checkpoint(&pickle, &short, method), "record x/data/2 ends at 636 bytes");
    }
}

#[test]
fn code_in_a_pickle_is_refused_by_name_and_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let command = format!("touch {}", mark.display());
    let argument = [b"X", &(command.len() as u32).to_le_bytes()[..], command.as_bytes()].concat();
    let by_line = [b"\x80\x02cos\nsystem\n", &argument[..], b"\x85R."].concat();
    let stacked = [b"\x80\x04\x8c\x05posix\x8c\x06system\x93", &argument[..], b"\x85R."].concat();
    let built = [b"\x80\x02c__main__\nNet\n)\x81", &argument[..], b"N\x86b."].concat();
    let within = [b"\x80\x02}X\x01\0\0\0xcos\nsystem\n", &argument[..], b"\x85Rs."].concat();
    let cases =
        [(by_line, "`os.system`"), (stacked, "`posix.system`"), (within, "`os.system`"), (built, "`__main__.Net`")];
    for (pickle, name) in cases {
        refused("x.pt", &checkpoint(&pickle, &[], CompressionMethod::Stored), name);
        // The container of PyTorch before 1.6: its head, then the object.
        let head =
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.";
        refused("x.pt", &[&head[..], &pickle, b"\x80\x02]."].concat(), name);
    }
    assert!(!mark.exists());
}

#[test]
fn a_whole_pickled_network_is_refused_with_what_to_save_instead() {
    let bytes = std::fs::read(fixture("mlp-whole.pt")).unwrap();
    refused("x.pt", &bytes, "an object of `__main__.Mlp`, which is not built since that would run its code");
    refused("x.pt", &bytes, "torch.save(net.state_dict(), FILE)");
}

#[test]
fn sizes_that_a_file_only_claims_take_no_memory() {
    // A trillion values out of one, by strides of zero: of another shape than the model's, so they are never read.
    let view = state_dict(&[("1.weight", 1, &[1 << 20, 1 << 20], &[0, 0])]);
    assert!(read("x.pt", &checkpoint(&view, &[("0", &[0; 4])], CompressionMethod::Stored)).is_err());
    let view = state_dict(&[("1.weight", 1, &[1 << 15, 1 << 15], &[0, 0])]);
    let error = read("x.pt", &checkpoint(&view, &[("0", &[0; 4])], CompressionMethod::Stored)).unwrap_err().to_string();
    assert!(error.contains("found shape [32768, 32768]; the model needs [16, 64]"), "{error}");
    // A storage that is not there.
    let claimed = state_dict(&[("1.weight", u32::MAX >> 1, &[16, 64], &[64, 1])]);
    assert!(read("x.pt", &checkpoint(&claimed, &[("0", &[0; 4])], CompressionMethod::Stored)).is_err());
    // A text of two gigabytes.
    refused("x.pt", &checkpoint(b"\x80\x02X\xff\xff\xff\x7fabc.", &[], CompressionMethod::Stored), "an early end");
}

#[test]
fn a_pickle_that_unpacks_to_more_than_the_limit_is_refused() {
    let unpacked = vec![b'N'; 17 << 20];
    let bomb = checkpoint(&unpacked, &[], CompressionMethod::Deflated);
    assert!(bomb.len() < unpacked.len() / 100);
    refused("x.pt", &bomb, "its x/data.pkl unpacks to more than 16777216 bytes");
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let lists = [&b"\x80\x02"[..], &vec![b']'; 200_000], &vec![b'a'; 199_999], b"."].concat();
    assert!(read("x.pt", &checkpoint(&lists, &[], CompressionMethod::Stored)).is_err());
    // Field 7 of field 1 of field 7 …: a graph in a node in a graph. Lengths are those of what follows.
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        let mut outer = vec![0x3a];
        let mut length = nested.len();
        while length >= 0x80 {
            outer.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(nested);
        nested = outer;
    }
    assert!(read("x.onnx", &nested).is_err());
}

#[test]
fn an_archive_with_two_pickles_is_refused() {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["a/data.pkl", "data.pkl"] {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(&state_dict(&[])).unwrap();
    }
    refused("x.pt", &archive.finish().unwrap().into_inner(), "not one data.pkl in the archive");
}

#[test]
fn a_file_of_another_kind_is_refused_by_what_it_is_not() {
    let converted = Path::new(env!("CARGO_MANIFEST_DIR")).join("../export/tests/fixtures/mlp-zero.safetensors");
    refused("x.safetensors", &std::fs::read(converted).unwrap(), "a spiking network, where a trained one is needed");
    refused(
        "x.pt",
        &checkpoint(b"\x80\x02}.", &[], CompressionMethod::Stored),
        "a dictionary that is empty, or whose keys are no texts; save the weights",
    );
    refused("x.bin", b"once upon a time", "neither a PyTorch checkpoint nor a whole safetensors file");
    refused("x.pt", b"\x80\x02}.", "a pickle that torch.save did not write; save the weights alone");
    refused("x.pt", b"\x80\x02}", "not a whole checkpoint (an early end)");
    refused("x.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes; export the network to ONNX");
    refused("x.mpk.gz", b"\x1f\x8b\x08\0", "a file packed by gzip; unpack it before: gunzip FILE");
    refused("x.json", b"{\"a\": 1}", "JSON without `weight_map`");
    refused("x.onnx", b"\x08\x01", "not a whole ONNX file (no graph in it)");
    refused("x.onnx", b"", "x.onnx: an empty file; name the whole file that the network was exported to");
    for name in ["x.pt", "x.safetensors"] {
        refused(name, b"", &format!("{name}: an empty file; run `train`"));
        refused(
            name,
            b"version https://git-lfs.github.com/spec/v1\n",
            "what Git LFS keeps in place of the file; get the file itself",
        );
        refused(
            name,
            b"<!DOCTYPE html>",
            "a page of the web, which a server gave in place of the file; download the file itself",
        );
    }
    let folder = import::weights(Path::new(env!("CARGO_MANIFEST_DIR")), &mlp(), None).unwrap_err().to_string();
    assert!(folder.contains("import: a folder where a file is needed; "), "{folder}");
    refused("x.onnx", &std::fs::read(fixture("mlp.pt")).unwrap(), "not a whole ONNX file");
    let missing = import::weights(Path::new("nowhere/net.pt"), &mlp(), None).unwrap_err().to_string();
    assert!(missing.starts_with("nowhere/net.pt: ") && missing.contains("--weights"), "{missing}");
}

#[test]
fn a_damaged_record_is_found_out_by_its_checksum() {
    let whole = std::fs::read(fixture("checkpoints/protocol-5.pt")).unwrap();
    read("checkpoints/protocol-5.pt", &whole).unwrap();
    // The weights of the second layer, by PyTorch.
    let expected: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("checkpoints/expected.json")).unwrap()).unwrap();
    let first = expected["files"]["protocol-5.pt"]["values"]["3.weight"][0].as_f64().unwrap() as f32;
    let at = whole.windows(4).position(|word| word == first.to_le_bytes()).unwrap();
    let mut damaged = whole.clone();
    damaged[at] ^= 1;
    refused(
        "checkpoints/protocol-5.pt",
        &damaged,
        "is damaged: its checksum is another; the file is damaged: copy it again",
    );
}

/// A dictionary whose entries are all one dictionary, and so on inwards to a tensor.
fn nested_sharing(n_keys: u32, depth: u32) -> Vec<u8> {
    let text = |text: String| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let tensor = state_dict(&[("w", 1, &[1], &[1])]);
    // Without the end, and kept as number 0.
    let mut pickle = [&tensor[..tensor.len() - 1], b"q\x000"].concat();
    for level in 1..=depth {
        pickle.extend(b"}(");
        for key in 0..n_keys {
            pickle.extend([text(key.to_string()), vec![b'h', level as u8 - 1]].concat());
        }
        pickle.extend([b'u', b'q', level as u8, b'0']);
    }
    pickle.extend([b'h', depth as u8, b'.']);
    pickle
}

#[test]
fn dictionaries_that_are_one_another_again_and_again_are_refused() {
    let archive = |pickle: &[u8]| checkpoint(pickle, &[("0", &[0; 4])], CompressionMethod::Stored);
    refused("x.pt", &archive(&nested_sharing(10, 7)), "more than 131072 tensors in dictionaries");
    // Deeper than tensors are looked for, and without end.
    refused("x.pt", &archive(&nested_sharing(8, 9)), "dictionaries of more than 4194304 entries");
    refused("x.pt", &archive(b"\x80\x02}q\0X\x01\0\0\0xh\0s."), "no tensors in dictionaries, but `x`");
}

#[test]
fn a_directory_that_lies_is_refused() {
    let whole = std::fs::read(fixture("checkpoints/no-crc.pt")).unwrap();
    let place = |signature: &[u8]| whole.windows(4).position(|word| word == signature).unwrap();
    let (entry, wide, end) = (place(b"PK\x01\x02"), place(b"PK\x06\x06"), place(b"PK\x05\x06"));
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let name = "checkpoints/no-crc.pt";
    read(name, &with(0, b"PK")).unwrap();
    refused(name, &with(entry + 20, &[0xfe; 8]), "not a whole checkpoint");
    refused(name, &with(entry + 20, &[0xfe; 4]), "is stored in 4278124286 bytes and holds");
    refused(name, &with(entry + 42, &[0xfe; 4]), "before what it says lies in it");
    refused(name, &with(entry + 8, &[1]), "is encrypted");
    refused(name, &with(entry + 10, &[99]), "is packed by method 99; supported: stored (0), deflated (8)");
    refused(name, &with(wide + 32, &[0xff; 8]), "a directory that is cut short");
    refused(name, &with(wide + 40, &[0xff; 8]), "a directory that reaches over the end of the archive");
    refused(name, &with(end, b"none"), "an archive without the directory at its end");
}

#[test]
fn files_of_an_index_are_read_from_the_same_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inner/model.safetensors.index.json");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    for place in ["inner/a.safetensors", "b.safetensors"] {
        std::fs::copy(fixture("mlp.safetensors"), folder.path().join(place)).unwrap();
    }
    std::fs::copy(fixture("mlp.safetensors"), path.with_file_name("c.safetensors")).unwrap();
    let read = |map: &str| {
        std::fs::write(&path, format!("{{\"weight_map\": {map}}}")).unwrap();
        import::weights(&path, &mlp(), None).map(|imported| imported.ann.checksum).map_err(|error| error.to_string())
    };
    let whole = read(r#"{"fc1.weight": "a.safetensors"}"#).unwrap();
    assert_ne!(whole, read(r#"{"fc1.bias": "a.safetensors"}"#).unwrap());
    let outside = folder.path().join("b.safetensors");
    for file in [
        "../b.safetensors",
        "/b.safetensors",
        "./../b.safetensors",
        "x/a.safetensors",
        "..",
        ".",
        "",
        outside.to_str().unwrap(),
    ] {
        let error = read(&format!(r#"{{"fc1.weight": "{file}"}}"#)).unwrap_err();
        assert!(error.contains(&format!("its file `{file}`: does not lie in the same folder")), "{error}");
    }
    for (map, expected) in [
        (r#"{"fc1.weight": "none.safetensors"}"#, "none.safetensors: No such file"),
        (
            r#"{"fc3.weight": "a.safetensors"}"#,
            "its file `a.safetensors` does not hold the tensor `fc3.weight` that it says",
        ),
        (r#"{"fc1.weight": 7}"#, "its `weight_map` gives no file for `fc1.weight`"),
        (r#"{"fc1.weight": "model.safetensors.index.json"}"#, "not a whole safetensors file"),
        (
            r#"{"fc1.weight": "a.safetensors", "fc1.bias": "c.safetensors"}"#,
            "lies in both `a.safetensors` and `c.safetensors`",
        ),
        (r#"{"fc1.weight": "#, "JSON that is damaged"),
    ] {
        let error = read(map).unwrap_err();
        assert!(error.contains(expected), "expected {expected}\nfound {error}");
    }
}

#[test]
fn records_that_claim_more_than_they_hold_are_refused() {
    let pack = |head: &[u8], length: u32, version: u16| {
        [b"NRUB", &version.to_le_bytes()[..], &length.to_le_bytes(), head, &[0; 600]].concat()
    };
    // {"tensors": {"w": {"dtype": "F32", "shape": [2⁶³], "data_offsets": (0, 2⁶³)}}}, by RFC 8949.
    let huge = b"\x1b\x80\0\0\0\0\0\0\0";
    let head = [b"\xa1gtensors\xa1aw\xa3edtypecF32eshape\x81", &huge[..], b"ldata_offsets\x82\0", &huge[..]].concat();
    refused("x.bpk", &pack(&head, head.len() as u32, 1), "tensor `w` reaches over the end of the file");
    refused("x.bpk", &pack(&head, u32::MAX, 1), "a head of 4294967295 bytes; supported: up to 104857600");
    refused("x.bpk", &pack(&head, 90_000_000, 1), "before what it says lies in it");
    refused("x.bpk", &pack(&head, head.len() as u32, 2), "version 2; supported: 1");
    let deep = vec![0x81; 100_000];
    assert!(read("x.bpk", &pack(&deep, deep.len() as u32, 1)).is_err());
    // A map whose `item` is lists in lists, and one that claims four billion entries.
    let start = b"\x82\xa8metadata\xc0\xa4item";
    assert!(read("x.mpk", &[&start[..], &vec![0x91; 100_000]].concat()).is_err());
    refused("x.mpk", &[&start[..], b"\xdf\xff\xff\xff\xff"].concat(), "not a whole record of burn");
    refused("x.mpk", &[&start[..], b"\xc6\xff\xff\xff\xff"].concat(), "not a whole record of burn");
    refused("x.mpk", &[&start[..], b"\x80"].concat(), "no tensors; load it with burn and save it anew");
}

/// The network whose weights lie in `mlp.onnx.data`, with another file in its place.
fn external(location: &[u8; 13], prepare: impl Fn(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let mut bytes = std::fs::read(fixture("external/mlp.onnx")).unwrap();
    let own = b"mlp.onnx.data";
    let places: Vec<usize> = (0..bytes.len() - own.len()).filter(|&at| bytes[at..].starts_with(own)).collect();
    assert_eq!(places.len(), 2, "both weights lie outside");
    for at in places {
        bytes[at..at + own.len()].copy_from_slice(location);
    }
    std::fs::write(inner.join("mlp.onnx"), bytes).unwrap();
    prepare(&inner);
    match import::weights(&inner.join("mlp.onnx"), &mlp(), None) {
        Ok(_) => "read".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn weights_outside_are_read_from_the_same_folder_only() {
    let data = || std::fs::read(fixture("external/mlp.onnx.data")).unwrap();
    let put = |place: &'static str| move |inner: &Path| std::fs::write(inner.join(place), data()).unwrap();
    assert_eq!(external(b"mlp.onnx.data", put("mlp.onnx.data")), "read");
    for (location, place) in [(b"../mlp.o.data", "../mlp.o.data"), (b"./../m.o.data", "../m.o.data")] {
        let error = external(location, put(place));
        assert!(error.contains("does not lie in the same folder"), "{error}");
    }
    let error = external(b"/etc/hostname", |_| {});
    assert!(error.contains("`/etc/hostname` does not lie in the same folder"), "{error}");
    let error = external(b"mlp.onnx.data", |_| {});
    assert!(error.contains("its file `mlp.onnx.data` cannot be read"), "{error}");
    let error = external(b"mlp.onnx.data", |inner| std::fs::write(inner.join("mlp.onnx.data"), &data()[..99]).unwrap());
    assert!(error.contains("`mlp.onnx.data` ends at 99 bytes, before it does"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let error = external(b"mlp.onnx.data", |inner| {
        let outside = inner.parent().unwrap().join("secret");
        std::fs::copy(fixture("external/mlp.onnx.data"), &outside).unwrap();
        std::os::unix::fs::symlink(outside, inner.join("mlp.onnx.data")).unwrap();
    });
    assert!(error.contains("`mlp.onnx.data` does not lie in the same folder"), "{error}");
}
