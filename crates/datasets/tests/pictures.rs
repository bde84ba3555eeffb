//! Pictures are read as torchvision's evaluation reads them: pixels of Pillow, pinned by `fixtures/make_pictures.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datasets::{DataSet, DatasetName, LabelledImages, Split};
use model::config::{DataConfig, Interpolation, Resize};
use safetensors::SafeTensors;
use serde_json::Value;

/// PNG is exact, and resizing differs from Pillow's by its last bit.
const OF_PNG: i32 = 1;

/// Two decoders of JPEG differ by how their transforms round, which brightness and colours add up.
const OF_JPEG: i32 = 2;

/// The negative parts of bicubic kernels make such differences larger.
const OF_BICUBIC_JPEG: i32 = 3;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A data set of one class with these pictures as its test samples.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let class = folder.path().join("test/class");
    std::fs::create_dir_all(&class).unwrap();
    for name in names {
        std::fs::copy(fixtures().join("pictures").join(name), class.join(name)).unwrap();
    }
    folder
}

fn config(folder: &Path) -> DataConfig {
    DataConfig { dataset: DatasetName::Custom, path: Some(folder.to_owned()), ..DataConfig::default() }
}

fn read(config: &DataConfig, input: [usize; 3]) -> Result<LabelledImages, datasets::DatasetError> {
    DataSet::open(config, Some(input))?.samples(Split::Test)?.read()
}

fn refusal(names: &[&str], input: [usize; 3]) -> String {
    let folder = folder(names);
    read(&config(folder.path()), input).expect_err("refused").to_string()
}

#[test]
fn pixels_are_those_of_pillow_on_20_pictures_of_every_kind() {
    let bytes = std::fs::read(fixtures().join("pictures.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let cases: BTreeMap<String, Value> = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    let mut pictures = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    for (case, of) in &cases {
        let text = |key: &str| of[key].as_str().unwrap();
        let count = |value: &Value| value.as_u64().unwrap() as usize;
        let name = text("picture");
        pictures.insert(name.to_owned());
        let folder = folder(&[name]);
        let config = DataConfig {
            resize: Some(Resize::ShortSide(count(&of["resize"]))),
            interpolation: text("interpolation").parse().unwrap(),
            ..config(folder.path())
        };
        let input = [count(&of["channels"]), count(&of["crop"][0]), count(&of["crop"][1])];
        let images = read(&config, input).unwrap();
        let expected = tensors.tensor(case).unwrap();
        assert_eq!(expected.shape(), input, "{case}");
        let difference = |(&a, &b): (&u8, &u8)| (i32::from(a) - i32::from(b)).abs();
        let largest = images.raw(0).iter().zip(expected.data()).map(difference).max().unwrap();
        let bound = match (name.ends_with("png"), config.interpolation) {
            (true, _) => OF_PNG,
            (false, Interpolation::Bilinear) => OF_JPEG,
            (false, Interpolation::Bicubic) => OF_BICUBIC_JPEG,
        };
        if largest > bound {
            wrong.push(format!("{case}: {largest}"));
        }
    }
    assert!(pictures.len() >= 20, "{pictures:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_done_to_pictures_is_said() {
    let names = ["grey.jpg", "rgb.png", "alpha.png", "turned.jpg"];
    let folder = folder(&names);
    let notes = |config: &DataConfig, input| DataSet::open(config, Some(input)).unwrap().notes().unwrap().join("\n");
    let config = config(folder.path());
    let told = notes(&config, [3, 32, 32]);
    for part in [
        "1 of 4 pictures looked at are grey; their values stand in all three channels",
        "1 of 4 pictures looked at have an alpha channel, which is left out, as torchvision does",
        "1 of 4 pictures looked at are to be turned by EXIF's orientation, which is not heeded, as torchvision does",
        "short side resized to 37 (bilinear, antialiased), then the middle 32×32 (data.resize, data.interpolation, data.crop)",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let told = notes(&config, [1, 224, 224]);
    assert!(told.contains("3 of 4 pictures looked at are in colour and become grey, as Pillow's mode L"), "{told}");
    assert!(told.contains("short side resized to 256"), "{told}");
    let off = DataConfig { resize: Some(Resize::Off), crop: Some(20), ..config };
    let told = notes(&off, [3, 20, 20]);
    assert!(told.contains("the middle 20×20, not resized"), "{told}");
}

#[test]
fn pictures_of_the_inputs_size_are_taken_as_they_are() {
    let folder = folder(&["same-size.png"]);
    let data = DataSet::open(&config(folder.path()), Some([3, 32, 32])).unwrap();
    assert!(data.notes().unwrap()[0].contains("32×32 as the network's input, taken as they are"), "{:?}", data.notes());
    let images = data.samples(Split::Test).unwrap().read().unwrap();
    let picture = image::open(fixtures().join("pictures/same-size.png")).unwrap().into_rgb8();
    let planes: Vec<u8> = (0..3).flat_map(|channel| picture.pixels().map(move |pixel| pixel[channel])).collect();
    assert_eq!(images.raw(0), planes);
    assert_eq!(images.image(0)[5], f32::from(planes[5]) / 255.0);
}

#[test]
fn pictures_that_are_not_read_are_refused_by_name() {
    for (name, found) in [
        (
            "deep-grey.png",
            "deep-grey.png: not supported: colours of the kind L16; supported: grey or colour of up to 8 bits",
        ),
        ("cmyk.jpg", "cmyk.jpg: not supported: colours of the kind CMYK32; supported"),
    ] {
        let message = refusal(&[name], [3, 16, 16]);
        assert!(message.contains(found), "{message}");
    }
    let message = refusal(&["rgb.png"], [2, 16, 16]);
    assert!(
        message.contains("pictures for 2 channels; supported: model.input with 1 channel (grey) or 3"),
        "{message}"
    );
    let folder = folder(&["rgb.png"]);
    let of = |resize, crop, input| {
        let config = DataConfig { resize, crop, ..config(folder.path()) };
        match input {
            Some(input) => read(&config, input).expect_err("refused").to_string(),
            None => DataSet::open(&config, None).expect_err("refused").to_string(),
        }
    };
    let message = of(Some(Resize::ShortSide(20)), None, Some([3, 32, 32]));
    assert!(
        message.contains("data.resize = 20 is less than the 32×32 that are cut out; set data.resize to 32 or more"),
        "{message}"
    );
    let message = of(Some(Resize::Off), None, Some([3, 50, 50]));
    assert!(message.contains("a picture of 55×44, of which 50×50 are to be cut out; set data.resize"), "{message}");
    let message = of(None, Some(30), Some([3, 32, 32]));
    assert!(message.contains("data.crop = 30, but the network takes 3×32×32; leave data.crop out"), "{message}");
    let message = of(None, None, None);
    assert!(message.contains("give model.input, or data.crop"), "{message}");
}

#[test]
fn damaged_pictures_are_refused_when_they_are_read_and_never_panic() {
    for name in ["420.jpg", "progressive.jpg", "rgb.png", "palette.png"] {
        let folder = folder(&[name]);
        let path = folder.path().join("test/class").join(name);
        let whole = std::fs::read(&path).unwrap();
        // Decoders of JPEG show what there is of a picture whose end is missing; its header must be there.
        for n in [0, 1, 2, 10, 40] {
            std::fs::write(&path, &whole[..n]).unwrap();
            let error = read(&config(folder.path()), [3, 32, 32]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("; "), "{error}");
        }
        for at in (0..whole.len()).step_by(whole.len() / 60) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x5a;
            std::fs::write(&path, &bytes).unwrap();
            drop(read(&config(folder.path()), [3, 32, 32]));
        }
        std::fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
        let error = read(&config(folder.path()), [3, 32, 32]);
        assert!(error.is_err(), "{name}: a truncated picture is read");
    }
}
