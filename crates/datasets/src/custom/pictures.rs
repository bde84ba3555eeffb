//! Pictures in a folder for each class: PNG and JPEG, below `train/` and `test/` (or `val/`).
//!
//! A picture becomes what torchvision's evaluation makes of it: `convert("RGB")`, `Resize` of the short side with antialiasing,
//! `CenterCrop`. Classes are numbered by the names of their folders, in the order of their bytes, as `ImageFolder` does. Files are looked
//! at when the data set is opened, and read when their pixels are asked for.
//!
//! Resizing is that of Pillow within 1/255 (crate `fast_image_resize`), grey is its `L`, and decoders of JPEG differ by little (crate
//! `jpeg-decoder`): the tests compare 20 pictures with Pillow's.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageDecoder as _, Limits, RgbImage};
use jpeg_decoder::PixelFormat;
use model::config::{DataConfig, Interpolation, Resize};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{MAX_BYTES, Opened, Pixels, entries, has_ending, io_error, missing, name, open_file, read_up_to, refused};
use crate::labels::{MAX_CLASSES, RawLabels};
use crate::source::text;
use crate::{DatasetError, Split};

/// Names of the folder of training samples, and of that of test samples, the first that is there.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 5] = ["test", "testing", "val", "valid", "validation"];

const PICTURES: [&str; 3] = ["png", "jpg", "jpeg"];

/// What torchvision reads as pictures, and is not read here.
const OTHERS: [&str; 7] = ["ppm", "pgm", "bmp", "tif", "tiff", "webp", "gif"];

/// How deep folders of a class are looked into.
const MAX_DEPTH: usize = 8;

/// Longest side of a picture, and most bytes that it takes when decoded.
const MAX_SIDE: u32 = 1 << 16;
const MAX_DECODED: u64 = 1 << 30;

/// Most bytes of a picture's file.
const MAX_FILE: u64 = 1 << 28;

/// Pictures that are looked into when the data set is opened, to tell how large and of what kind they are.
const LOOKED_AT: usize = 1000;

/// The files of a data set.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Every picture, relative to the root.
    files: Vec<PathBuf>,
}

/// What is done to every picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// 1 for grey, 3 for colour.
    channels: usize,
    /// `[H, W]` that are cut out of the middle.
    crop: [usize; 2],
    /// Length of the short side before; `None` leaves pictures, which must be large enough.
    short_side: Option<usize>,
    interpolation: Interpolation,
    /// Whether every picture must have the size of the crop: nobody said what to do with others.
    is_exact: bool,
}

impl Geometry {
    pub(crate) fn shape(&self) -> [usize; 3] {
        [self.channels, self.crop[0], self.crop[1]]
    }
}

/// The folders of the two splits.
struct Roots {
    train: Option<PathBuf>,
    test: Option<PathBuf>,
    notes: Vec<String>,
}

pub(super) fn find(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let Roots { train, test, .. } = roots(folder)?;
    Ok([train, test].into_iter().flatten().collect())
}

/// Whether pictures lie in a folder itself, where no class is told of them.
pub(super) fn are_in(folder: &Path) -> Result<bool, DatasetError> {
    Ok(entries(folder)?.iter().any(|path| has_ending(path, &PICTURES)))
}

/// Folders with a folder of pictures for each class; the folder itself holds test samples if it is such a one.
fn roots(folder: &Path) -> Result<Roots, DatasetError> {
    let folders: Vec<PathBuf> = entries(folder)?.into_iter().filter(|path| path.is_dir()).collect();
    let called = |name: &str| folders.iter().find(|path| self::name(path).eq_ignore_ascii_case(name));
    let with_classes = |names: &[&str]| -> Result<Vec<PathBuf>, DatasetError> {
        let mut found = Vec::new();
        for path in names.iter().filter_map(|name| called(name)) {
            if has_classes(path)? {
                found.push(path.clone());
            }
        }
        Ok(found)
    };
    let train = with_classes(&TRAIN)?.into_iter().next();
    let tests = with_classes(&TEST)?;
    let mut notes = Vec::new();
    if let [test, aside @ ..] = &tests[..]
        && !aside.is_empty()
    {
        let names: Vec<String> = aside.iter().map(|path| name(path)).collect();
        notes.push(format!("{}: {} is left aside, as {} is there", text(folder), names.join(", "), name(test)));
    }
    let test = tests.into_iter().next();
    if train.is_none() && test.is_none() && has_classes(folder)? {
        notes.push(format!("{}: without train/ and test/, all pictures are test samples", text(folder)));
        return Ok(Roots { train: None, test: Some(folder.to_owned()), notes });
    }
    Ok(Roots { train, test, notes })
}

/// Whether a folder of it holds a picture.
fn has_classes(folder: &Path) -> Result<bool, DatasetError> {
    for path in entries(folder)? {
        if path.is_dir() && !pictures_below(&path, MAX_DEPTH, true)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Pictures of a folder and the folders in it, by name.
///
/// - `first`: whether one is enough
fn pictures_below(folder: &Path, depth: usize, first: bool) -> Result<Vec<PathBuf>, DatasetError> {
    let mut pictures = Vec::new();
    for path in entries(folder)? {
        if has_ending(&path, &PICTURES) {
            pictures.push(path);
        } else if has_ending(&path, &OTHERS) {
            return Err(refused(
                &path,
                "a picture of another format".to_owned(),
                "supported: PNG and JPEG; write it as one of them",
            ));
        } else if depth > 0 && path.is_dir() {
            pictures.extend(pictures_below(&path, depth - 1, first)?);
        }
        if first && !pictures.is_empty() {
            break;
        }
    }
    Ok(pictures)
}

/// Pictures of one split, and the class of each.
struct Listed {
    classes: Vec<String>,
    pictures: Vec<(PathBuf, usize)>,
}

/// The pictures of a split: the first of every class, then the second of every class, and so on, so that the first ones of all are of all
/// classes.
fn list(root: &Path) -> Result<Listed, DatasetError> {
    let folders: Vec<PathBuf> = entries(root)?.into_iter().filter(|path| path.is_dir()).collect();
    if folders.len() > MAX_CLASSES {
        return Err(refused(root, format!("holds {} folders", folders.len()), "up to 65,536 classes are supported"));
    }
    let mut by_turn = Vec::new();
    for (class, folder) in folders.iter().enumerate() {
        let pictures = pictures_below(folder, MAX_DEPTH, false)?;
        by_turn.extend(pictures.into_iter().enumerate().map(|(turn, path)| (turn, class, path)));
    }
    by_turn.sort();
    let pictures = by_turn.into_iter().map(|(_, class, path)| (path, class)).collect();
    Ok(Listed { classes: folders.iter().map(|folder| name(folder)).collect(), pictures })
}

pub(super) fn open(folder: &Path, config: &DataConfig, input: Option<[usize; 3]>) -> Result<Opened, DatasetError> {
    let Roots { train, test, mut notes } = roots(folder)?;
    let list = |root: &Option<PathBuf>| root.as_deref().map(self::list).transpose();
    let listed = [list(&train)?, list(&test)?];
    if let ([Some(train), Some(test)], [Some(train_root), Some(test_root)]) = (&listed, [&train, &test]) {
        check_classes([train, test], [train_root, test_root])?;
    }
    let classes = listed.iter().flatten().map(|listed| listed.classes.clone()).next();
    let classes = classes.ok_or_else(|| missing(folder, Split::Test))?;
    let mut files = Vec::new();
    let mut indices = Vec::new();
    for listed in listed.iter().flatten() {
        let first = files.len();
        files.extend(listed.pictures.iter().map(|(path, _)| relative(path, folder)));
        indices.push((first..files.len()).collect::<Vec<usize>>());
    }
    let files = Arc::new(Folder { root: folder.to_owned(), files });
    let looked_at = files.look()?;
    let geometry = geometry(folder, config, input, &looked_at)?;
    notes.extend(looked_at.notes(folder, geometry));
    notes.push(size_note(geometry));
    let roots = [train, test];
    let mut indices = indices.into_iter();
    let splits = [0, 1].map(|split| {
        let (listed, root) = (listed[split].as_ref()?, roots[split].as_ref()?);
        let labels = listed.pictures.iter().map(|&(_, class)| class as i128).collect();
        let files_of_split = indices.next()?;
        let pixels = Pixels::Files { folder: files.clone(), files: files_of_split, geometry };
        Some((RawLabels { place: text(root), labels }, pixels))
    });
    Ok(Opened { shape: geometry.shape(), class_names: Some(classes), notes, splits })
}

fn relative(path: &Path, root: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

/// Checks that both splits have folders for the same classes, as the classes are numbered by them.
fn check_classes([train, test]: [&Listed; 2], roots: [&PathBuf; 2]) -> Result<(), DatasetError> {
    let [of_train, of_test] = [train, test].map(|listed| listed.classes.iter().collect::<BTreeSet<_>>());
    let lacks = |missing: Vec<&&String>, root: &PathBuf, other: &PathBuf| {
        let (n, first) = (missing.len(), missing.first()?);
        let more = if n > 1 { format!(" and {} others", n - 1) } else { String::new() };
        Some(refused(
            root,
            format!("no folder for the class `{first}`{more}, which {} has", text(other)),
            "give both the same folders, one for each class; a folder may be empty",
        ))
    };
    let in_test = lacks(of_train.difference(&of_test).collect(), roots[1], roots[0]);
    match in_test.or_else(|| lacks(of_test.difference(&of_train).collect(), roots[0], roots[1])) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// What is done to pictures: as the configuration says, and where it does not as torchvision's evaluation of `ImageNet` does, unless the
/// pictures have the size of the input already.
fn geometry(
    folder: &Path,
    config: &DataConfig,
    input: Option<[usize; 3]>,
    looked_at: &LookedAt,
) -> Result<Geometry, DatasetError> {
    let (channels, crop) = match (input, config.crop) {
        (None, None) => {
            let found = "pictures of no size that is known beforehand".to_owned();
            return Err(refused(folder, found, "give model.input, or data.crop for the size that they are cut to"));
        }
        (None, Some(crop)) => (3, [crop; 2]),
        (Some([channels, height, width]), Some(crop)) if [height, width] != [crop; 2] => {
            return Err(refused(
                folder,
                format!("data.crop = {crop}, but the network takes {channels}×{height}×{width}"),
                "leave data.crop out, or change model.input",
            ));
        }
        (Some([channels, height, width]), _) => (channels, [height, width]),
    };
    if ![1, 3].contains(&channels) {
        return Err(refused(
            folder,
            format!("pictures for {channels} channels"),
            "supported: model.input with 1 channel (grey) or 3 (colour)",
        ));
    }
    let fits = looked_at.sizes.iter().all(|&size| size == crop.map(|side| side as u32));
    let is_exact = config.resize.is_none() && fits;
    let longer = crop[0].max(crop[1]);
    let short_side = match config.resize {
        Some(Resize::Off) => None,
        Some(Resize::ShortSide(side)) if side < longer => {
            return Err(refused(
                folder,
                format!("data.resize = {side} is less than the {}×{} that are cut out", crop[0], crop[1]),
                &format!("set data.resize to {longer} or more"),
            ));
        }
        Some(Resize::ShortSide(side)) => Some(side),
        None if fits => None,
        // 256 for 224, as for ImageNet.
        None => Some((longer * 256 + 112) / 224),
    };
    Ok(Geometry { channels, crop, short_side, interpolation: config.interpolation, is_exact })
}

fn size_note(geometry: Geometry) -> String {
    let Geometry { crop: [height, width], short_side, interpolation, is_exact, .. } = geometry;
    match short_side {
        _ if is_exact => format!("pictures: {height}×{width} as the network's input, taken as they are (data.resize)"),
        None => format!("pictures: the middle {height}×{width}, not resized (data.resize, data.crop)"),
        Some(side) => format!(
            "pictures: short side resized to {side} ({interpolation}, antialiased), then the middle {height}×{width} \
             (data.resize, data.interpolation, data.crop)"
        ),
    }
}

/// What some pictures are, by their headers.
#[derive(Default)]
struct LookedAt {
    n: usize,
    /// `[H, W]` that occur.
    sizes: BTreeSet<[u32; 2]>,
    grey: usize,
    with_alpha: usize,
    turned: usize,
}

impl LookedAt {
    /// What the user should know of them, one sentence each.
    fn notes(&self, folder: &Path, geometry: Geometry) -> Vec<String> {
        let of = |n: usize, what: &str| format!("{}: {n} of {} pictures looked at {what}", text(folder), self.n);
        let colour = self.n - self.grey;
        let mut notes = Vec::new();
        match geometry.channels {
            3 if self.grey > 0 => notes.push(of(self.grey, "are grey; their values stand in all three channels")),
            1 if colour > 0 => notes.push(of(colour, "are in colour and become grey, as Pillow's mode L")),
            _ => {}
        }
        if self.with_alpha > 0 {
            notes.push(of(self.with_alpha, "have an alpha channel, which is left out, as torchvision does"));
        }
        if self.turned > 0 {
            notes.push(of(
                self.turned,
                "are to be turned by EXIF's orientation, which is not heeded, as torchvision does",
            ));
        }
        notes
    }
}

impl Folder {
    /// Looks into pictures, the same share of all.
    fn look(&self) -> Result<LookedAt, DatasetError> {
        let n = self.files.len().min(LOOKED_AT);
        let chosen: Vec<usize> = (0..n).map(|idx| idx * self.files.len() / n).collect();
        let headers = chosen.par_iter().map(|&file| {
            let path = self.root.join(&self.files[file]);
            let bytes = read_picture(&path)?;
            let decoder = Decoder::new(&path, &bytes)?;
            Ok((decoder.size, decoder.color, decoder.is_turned))
        });
        let mut looked_at = LookedAt { n, ..LookedAt::default() };
        for header in headers.collect::<Vec<_>>() {
            let (size, Color { is_grey, has_alpha }, is_turned) = header?;
            looked_at.sizes.insert(size);
            looked_at.grey += usize::from(is_grey);
            looked_at.with_alpha += usize::from(has_alpha);
            looked_at.turned += usize::from(is_turned);
        }
        Ok(looked_at)
    }

    /// Pixels `[N, C, H, W]` of some pictures.
    pub(crate) fn read(&self, files: &[usize], geometry: &Geometry) -> Result<Vec<u8>, DatasetError> {
        let n_features: usize = geometry.shape().iter().product();
        let found = files.len() as u64 * n_features as u64;
        if found > MAX_BYTES {
            let remedy = "use fewer samples (simulate.samples, convert.calibration_samples), or smaller pictures";
            let found = format!("{} pictures are {found} bytes, above the limit of {MAX_BYTES}", files.len());
            return Err(refused(&self.root, found, remedy));
        }
        let mut bytes = vec![0; found as usize];
        let write = |(to, &file): (&mut [u8], &usize)| {
            let path = self.root.join(&self.files[file]);
            to.copy_from_slice(&decode(&path, &read_picture(&path)?, geometry)?);
            Ok(())
        };
        let written: Vec<Result<(), DatasetError>> =
            bytes.par_chunks_exact_mut(n_features).zip(files).map(write).collect();
        // The first error in the order of the files, whichever came first.
        written.into_iter().collect::<Result<(), _>>()?;
        Ok(bytes)
    }

    /// Adds names and contents of some files to a hash.
    pub(crate) fn hash(&self, files: &[usize], hash: &mut Sha256) -> Result<(), DatasetError> {
        for &file in files {
            let path = &self.files[file];
            hash.update(path.to_string_lossy().as_bytes());
            let bytes = read_picture(&self.root.join(path))?;
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        Ok(())
    }
}

fn read_picture(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let file: File = open_file(path)?;
    let length = file.metadata().map_err(io_error(path))?.len();
    if length > MAX_FILE {
        return Err(DatasetError::TooLarge { path: path.to_owned(), found: length, limit: MAX_FILE });
    }
    read_up_to(path, BufReader::new(file), MAX_FILE)
}

/// A picture whose header has been read. Its first bytes say of what format it is, whatever its name: there is a PNG file in `ImageNet`
/// that is called JPEG.
struct Decoder<'a> {
    path: &'a Path,
    /// `[H, W]`
    size: [u32; 2],
    color: Color,
    /// Whether EXIF says that the picture is to be shown otherwise than it is stored.
    is_turned: bool,
    format: Format<'a>,
}

enum Format<'a> {
    Png(Box<PngDecoder<Cursor<&'a [u8]>>>),
    Jpeg(Box<jpeg_decoder::Decoder<&'a [u8]>>),
}

impl<'a> Decoder<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, DatasetError> {
        let decoder = if bytes.starts_with(b"\x89PNG") {
            Self::of_png(path, bytes)?
        } else if bytes.starts_with(&[0xff, 0xd8]) {
            Self::of_jpeg(path, bytes)?
        } else {
            return Err(refused(path, "neither PNG nor JPEG by its first bytes".to_owned(), "write it as one of them"));
        };
        let [height, width] = decoder.size;
        let found = 4 * u64::from(height) * u64::from(width);
        if found > MAX_DECODED || height.max(width) > MAX_SIDE {
            return Err(DatasetError::TooLarge { path: path.to_owned(), found, limit: MAX_DECODED });
        }
        Ok(decoder)
    }

    fn of_png(path: &'a Path, bytes: &'a [u8]) -> Result<Self, DatasetError> {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_DECODED);
        let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits);
        let mut decoder = decoder.map_err(|error| damaged(path, &error.to_string()))?;
        let (width, height) = decoder.dimensions();
        let color = check_color(path, decoder.original_color_type())?;
        // A damaged EXIF part is none.
        let is_turned = decoder.orientation().is_ok_and(|turn| turn != Orientation::NoTransforms);
        Ok(Self { path, size: [height, width], color, is_turned, format: Format::Png(Box::new(decoder)) })
    }

    fn of_jpeg(path: &'a Path, bytes: &'a [u8]) -> Result<Self, DatasetError> {
        check_end(path, bytes)?;
        let mut decoder = jpeg_decoder::Decoder::new(bytes);
        decoder.set_max_decoding_buffer_size(MAX_DECODED as usize);
        decoder.read_info().map_err(|error| damaged(path, &error.to_string()))?;
        let info = decoder.info().ok_or_else(|| damaged(path, "no header"))?;
        let color = match info.pixel_format {
            PixelFormat::L8 => Color { is_grey: true, has_alpha: false },
            PixelFormat::RGB24 => Color { is_grey: false, has_alpha: false },
            other => return Err(refuse_color(path, &format!("{other:?}"))),
        };
        let turn = decoder.exif_data().and_then(Orientation::from_exif_chunk);
        let is_turned = turn.is_some_and(|turn| turn != Orientation::NoTransforms);
        let size = [info.height.into(), info.width.into()];
        Ok(Self { path, size, color, is_turned, format: Format::Jpeg(Box::new(decoder)) })
    }

    fn decode(self) -> Result<DynamicImage, DatasetError> {
        let Self { path, size: [height, width], color, format, .. } = self;
        let picture = match format {
            Format::Png(decoder) => {
                Some(DynamicImage::from_decoder(*decoder).map_err(|error| damaged(path, &error.to_string()))?)
            }
            Format::Jpeg(mut decoder) => {
                let pixels = decoder.decode().map_err(|error| damaged(path, &error.to_string()))?;
                if color.is_grey {
                    GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8)
                } else {
                    RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8)
                }
            }
        };
        picture.ok_or_else(|| damaged(path, "fewer pixels than its header says"))
    }
}

/// Refuses a JPEG picture whose end is missing: decoders show the part that is there.
fn check_end(path: &Path, bytes: &[u8]) -> Result<(), DatasetError> {
    let mut segments = &bytes[2..];
    while let [0xff, rest @ ..] = segments {
        match rest {
            // Filling before a mark.
            [0xff, ..] => segments = rest,
            [0xda, scan @ ..] => {
                // In a scan, this is the mark of its end and nothing else.
                let is_whole = scan.array_windows::<2>().any(|pair| *pair == [0xff, 0xd9]);
                return if is_whole { Ok(()) } else { Err(damaged(path, "its end is missing")) };
            }
            [_, high, low, segment @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                segments = segment.get(length.saturating_sub(2)..).unwrap_or_default();
            }
            _ => break,
        }
    }
    // What is no JPEG file at all is told by its decoder.
    Ok(())
}

fn damaged(path: &Path, error: &str) -> DatasetError {
    refused(path, format!("damaged picture ({error})"), "get the file again")
}

fn refuse_color(path: &Path, color: &str) -> DatasetError {
    let remedy = "supported: grey or colour of up to 8 bits a channel, with alpha or without; convert it";
    refused(path, format!("not supported: colours of the kind {color}"), remedy)
}

/// What a picture's colours are.
#[derive(Clone, Copy)]
struct Color {
    is_grey: bool,
    has_alpha: bool,
}

/// Refuses what programs read in different ways.
fn check_color(path: &Path, color: ExtendedColorType) -> Result<Color, DatasetError> {
    use ExtendedColorType::{
        A8, L1, L2, L4, L8, La1, La2, La4, La8, Rgb1, Rgb2, Rgb4, Rgb8, Rgba1, Rgba2, Rgba4, Rgba8,
    };
    let (is_grey, has_alpha) = match color {
        L1 | L2 | L4 | L8 | A8 => (true, false),
        La1 | La2 | La4 | La8 => (true, true),
        Rgb1 | Rgb2 | Rgb4 | Rgb8 => (false, false),
        Rgba1 | Rgba2 | Rgba4 | Rgba8 => (false, true),
        other => return Err(refuse_color(path, &format!("{other:?}"))),
    };
    Ok(Color { is_grey, has_alpha })
}

/// Pixels `[C, H, W]` of a picture.
fn decode(path: &Path, bytes: &[u8], geometry: &Geometry) -> Result<Vec<u8>, DatasetError> {
    let picture = Decoder::new(path, bytes)?.decode()?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let interleaved = interleaved(picture, geometry.channels);
    let (interleaved, [height, width]) = match geometry.short_side {
        Some(side) => resized(path, interleaved, [height, width], side, geometry)?,
        None => (interleaved, [height, width]),
    };
    let [crop_height, crop_width] = geometry.crop;
    if geometry.is_exact && [height, width] != geometry.crop {
        return Err(refused(
            path,
            format!("a picture of {height}×{width} where all that were looked at are {crop_height}×{crop_width}"),
            "set data.resize to the length that short sides are resized to",
        ));
    }
    if height < crop_height || width < crop_width {
        return Err(refused(
            path,
            format!("a picture of {height}×{width}, of which {crop_height}×{crop_width} are to be cut out"),
            "set data.resize to the length that short sides are resized to, or data.crop lower",
        ));
    }
    let (top, left) = (middle(height, crop_height), middle(width, crop_width));
    let channels = geometry.channels;
    let mut planes = Vec::with_capacity(channels * crop_height * crop_width);
    for channel in 0..channels {
        for row in top..top + crop_height {
            let pixels = interleaved[(row * width + left) * channels..].chunks_exact(channels);
            planes.extend(pixels.take(crop_width).map(|pixel| pixel[channel]));
        }
    }
    Ok(planes)
}

/// First row or column of the middle, as torchvision's `CenterCrop` rounds: half to even.
fn middle(size: usize, crop: usize) -> usize {
    ((size - crop) as f64 / 2.0).round_ties_even() as usize
}

/// Pixels `[H, W, C]` as Pillow's `convert` to `L` or `RGB` gives them.
fn interleaved(picture: DynamicImage, channels: usize) -> Vec<u8> {
    match (channels, picture) {
        (1, DynamicImage::ImageLuma8(grey)) => grey.into_raw(),
        (1, DynamicImage::ImageLumaA8(grey)) => grey.as_raw().iter().step_by(2).copied().collect(),
        (1, colour) => {
            // ITU-R 601-2, in 16-bit fractions.
            let luma = |&[red, green, blue]: &[u8; 3]| {
                ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
            };
            colour.into_rgb8().as_raw().as_chunks::<3>().0.iter().map(luma).collect()
        }
        (_, colour) => colour.into_rgb8().into_raw(),
    }
}

/// The picture with its short side of another length, and its new `[H, W]`.
fn resized(
    path: &Path,
    interleaved: Vec<u8>,
    [height, width]: [usize; 2],
    side: usize,
    geometry: &Geometry,
) -> Result<(Vec<u8>, [usize; 2]), DatasetError> {
    let long = |long: usize, short: usize| (side * long) / short;
    let [new_height, new_width] =
        if width <= height { [long(height, width), side] } else { [side, long(width, height)] };
    if [new_height, new_width] == [height, width] {
        return Ok((interleaved, [height, width]));
    }
    let refuse =
        |error: String| refused(path, format!("a picture of {height}×{width} ({error})"), "use another picture");
    if new_height.max(new_width) > MAX_SIDE as usize {
        return Err(refuse(format!("resized, it is {new_height}×{new_width}")));
    }
    let pixel = if geometry.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let filter = match geometry.interpolation {
        Interpolation::Bilinear => FilterType::Bilinear,
        Interpolation::Bicubic => FilterType::CatmullRom,
    };
    let from = Image::from_vec_u8(width as u32, height as u32, interleaved, pixel);
    let mut picture = from.map_err(|error| refuse(error.to_string()))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    // Rows, then columns, as Pillow does: what the first cuts off above white and below black, the second does not see.
    for [height, width] in [[height, new_width], [new_height, new_width]] {
        let mut to = Image::new(width as u32, height as u32, pixel);
        Resizer::new().resize(&picture, &mut to, &options).map_err(|error| refuse(error.to_string()))?;
        picture = to;
    }
    Ok((picture.into_vec(), [new_height, new_width]))
}
