//! Reading and writing safetensors files: all or nothing, checked, with provenance.
//!
//! A file is written beside its destination and renamed, so a crash leaves the old file or none. Quartic's
//! own description of the contents is one JSON text under the metadata key `quartic`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Metadata key of Quartic's own description.
pub const METADATA_KEY: &str = "quartic";

/// Largest file that is read, 4 GiB: a guard against reading the wrong file into memory.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A tensor of 32-bit floats in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorF32 {
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

impl TensorF32 {
    /// A tensor of zeros.
    pub fn zeros(shape: Vec<usize>) -> Self {
        let n = shape.iter().product();
        Self { shape, values: vec![0.0; n] }
    }
}

/// What a safetensors file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents<M> {
    /// The tensors by name.
    pub tensors: BTreeMap<String, TensorF32>,
    /// Quartic's description; `None` if the file was made by something else.
    pub metadata: Option<M>,
    /// SHA-256 of the file, in hexadecimal.
    pub checksum: String,
}

/// A file could not be read or written.
#[derive(Debug, Error)]
pub enum ArtefactError {
    /// The operating system refused.
    #[error("{}: {cause}; {remedy}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The file is not what it should be.
    #[error("{}: {found}; {remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The tensors in the file are not those that the model needs; all differences in one text.
    #[error("{}: the weights do not fit the model:\n{}", path.display(), differences.trim_end())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// One line per tensor that is missing, misshapen or not finite.
        differences: String,
    },
}

/// Writes `bytes` to `path` by way of a temporary file in the same folder, which is made if needed.
///
/// # Errors
/// [`ArtefactError::Io`] if the system refuses; an existing file is then left as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ArtefactError> {
    write_atomically_with(path, |file| file.write_all(bytes))
}

/// Removes what an earlier run made, if it is there.
///
/// # Errors
/// [`ArtefactError::Io`] if the system refuses.
pub fn remove(path: &Path) -> Result<(), ArtefactError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(ArtefactError::Io { path: path.to_owned(), cause, remedy: "it is of an earlier run, remove it" })
        }
        _ => Ok(()),
    }
}

/// Writes what does not have to be in memory as a whole, as [`write_atomically`] does.
///
/// - `write`: is given the temporary file, buffered
///
/// # Errors
/// [`ArtefactError::Io`] if the system or `write` refuses; an existing file is then left as it was.
pub fn write_atomically_with(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut fs::File>) -> io::Result<()>,
) -> Result<(), ArtefactError> {
    let io_error = |cause| ArtefactError::Io {
        path: path.to_owned(),
        cause,
        remedy: "check that the folder can be written to and has space",
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(io_error)?;
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".quartic-");
    // Readable like any other file, as the umask says, not by its owner alone as temporary ones are.
    #[cfg(unix)]
    temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = temporary.tempfile_in(folder).map_err(io_error)?;
    let mut buffered = BufWriter::new(file.as_file_mut());
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(io_error)?;
    drop(buffered);
    file.as_file().sync_all().map_err(io_error)?;
    file.persist(path).map_err(|error| io_error(error.error))?;
    Ok(())
}

/// Copies a file by way of a temporary one, as [`write_atomically`] writes.
///
/// # Errors
/// [`ArtefactError::Io`] if the system refuses; an existing file is then left as it was.
pub fn copy_atomically(from: &Path, to: &Path) -> Result<(), ArtefactError> {
    let io_error = |cause| ArtefactError::Io { path: from.to_owned(), cause, remedy: "check that it can be read" };
    let mut source = fs::File::open(from).map_err(io_error)?;
    write_atomically_with(to, |file| io::copy(&mut source, file).map(|_| ()))
}

/// Values and shape of a tensor that is kept elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorRef<'a> {
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Cow<'a, [f32]>,
}

impl<'a> From<&'a TensorF32> for TensorRef<'a> {
    fn from(tensor: &'a TensorF32) -> Self {
        Self { shape: tensor.shape.clone(), values: Cow::Borrowed(&tensor.values) }
    }
}

/// Writes tensors and Quartic's description to a safetensors file and returns the file's SHA-256.
///
/// # Errors
/// [`ArtefactError::Io`] if the system refuses; an existing file is then left as it was.
pub fn write<M: Serialize>(
    path: &Path,
    tensors: &BTreeMap<String, TensorF32>,
    metadata: &M,
) -> Result<String, ArtefactError> {
    let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.into())).collect();
    write_refs(path, &tensors, metadata)
}

/// The same for tensors that are kept elsewhere: none of them is copied as a whole.
///
/// # Errors
/// As [`write()`].
pub fn write_refs<M: Serialize>(
    path: &Path,
    tensors: &BTreeMap<String, TensorRef<'_>>,
    metadata: &M,
) -> Result<String, ArtefactError> {
    let text = serde_json::to_string(metadata).expect("metadata has string keys only");
    let mut end = 0;
    let infos = tensors.iter().map(|(name, TensorRef { shape, values })| {
        let start = end;
        end += size_of_val(&**values);
        (name.clone(), TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets: (start, end) })
    });
    let description = [(METADATA_KEY.to_owned(), text)].into_iter().collect();
    let header =
        Metadata::new(Some(description), infos.collect()).expect("a tensor has as many values as its shape says");
    let mut header = serde_json::to_vec(&header).expect("a header has string keys only");
    // Tensors begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut digest = Sha256::new();
    write_atomically_with(path, |file| {
        let mut put = |bytes: &[u8]| {
            digest.update(bytes);
            file.write_all(bytes)
        };
        put(&(header.len() as u64).to_le_bytes())?;
        put(&header)?;
        let mut buffer = Vec::with_capacity(size_of::<f32>() * CHUNK);
        for TensorRef { values, .. } in tensors.values() {
            for values in values.chunks(CHUNK) {
                buffer.clear();
                buffer.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                put(&buffer)?;
            }
        }
        Ok(())
    })?;
    Ok(hex(&digest.finalize()))
}

/// Values that are turned from or into bytes at a time, 256 KiB of them.
const CHUNK: usize = 1 << 16;

/// Reads a safetensors file of 32-bit floats.
///
/// # Errors
/// [`ArtefactError::Io`] if it is missing or unreadable, [`ArtefactError::Damaged`] if it is too large, not a
/// safetensors file, truncated, holds other types than F32, or has a description that cannot be understood.
pub fn read<M: DeserializeOwned>(path: &Path, remedy: &'static str) -> Result<Contents<M>, ArtefactError> {
    read_where(path, remedy, |_| true)
}

/// The same for some of the tensors; the others are checked, as part of the file, and not kept.
///
/// - `keeps`: whether a tensor of a name is asked for
///
/// The file is read once from its beginning to its end, straight into the tensors. It is not mapped into memory, though that would save the
/// copy: a mapped file that another program cuts short ends the process with a signal that no safe code can turn into an error, and one that
/// is written to changes weights that were checked already. What is read here is a private copy, whose checksum is that of the very bytes
/// that the tensors are made of, and a file that ends early is refused like any other damaged one.
///
/// # Errors
/// As [`read`].
pub fn read_where<M: DeserializeOwned>(
    path: &Path,
    remedy: &'static str,
    keeps: impl Fn(&str) -> bool,
) -> Result<Contents<M>, ArtefactError> {
    let damaged = |found: String| ArtefactError::Damaged { path: path.to_owned(), found, remedy };
    let not_whole = |found: &dyn Display| damaged(format!("not a whole safetensors file ({found})"));
    let (file, n_bytes) = open(path, remedy)?;
    let mut file = Hashed { file, digest: Sha256::new() };
    let read_exact = |file: &mut Hashed, buffer: &mut [u8]| {
        file.read_exact(buffer).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => not_whole(&"it ends early"),
            _ => ArtefactError::Io { path: path.to_owned(), cause, remedy },
        })
    };
    let mut length = [0; 8];
    read_exact(&mut file, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length > n_bytes {
        return Err(not_whole(&format!("a header of {length} bytes")));
    }
    let mut header = vec![0; length as usize];
    read_exact(&mut file, &mut header)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| not_whole(&error))?;
    // Before memory is taken for what it declares.
    if (header.data_len() as u64).checked_add(8 + length) != Some(n_bytes) {
        return Err(not_whole(&format!("{} bytes of tensors in a file of {n_bytes}", header.data_len())));
    }
    let metadata = match header.metadata().as_ref().and_then(|map| map.get(METADATA_KEY)) {
        None => None,
        Some(text) => Some(
            serde_json::from_str(text)
                .map_err(|error| damaged(format!("its description cannot be understood ({error})")))?,
        ),
    };
    let mut tensors = BTreeMap::new();
    let mut buffer = vec![0; size_of::<f32>() * CHUNK];
    for name in header.offset_keys() {
        let info = header.info(&name).expect("the header has the names that it gives");
        if info.dtype != Dtype::F32 {
            return Err(damaged(format!("tensor `{name}` has type {:?} where F32 is needed", info.dtype)));
        }
        let n_values = (info.data_offsets.1 - info.data_offsets.0) / size_of::<f32>();
        let is_kept = keeps(&name);
        let mut values = Vec::with_capacity(if is_kept { n_values } else { 0 });
        for first in (0..n_values).step_by(CHUNK) {
            let buffer = &mut buffer[..size_of::<f32>() * CHUNK.min(n_values - first)];
            read_exact(&mut file, buffer)?;
            if is_kept {
                values.extend(buffer.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)));
            }
        }
        if is_kept {
            tensors.insert(name, TensorF32 { shape: info.shape.clone(), values });
        }
    }
    Ok(Contents { tensors, metadata, checksum: hex(&file.digest.finalize()) })
}

/// A file of whose bytes the checksum is taken as they are read.
struct Hashed {
    file: fs::File,
    digest: Sha256,
}

impl io::Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.file.read(buffer)?;
        self.digest.update(&buffer[..n_bytes]);
        Ok(n_bytes)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Longest header that is read, 64 MiB: a training history of a hundred thousand epochs is 20.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// Reads Quartic's description of a safetensors file and nothing else of it; `None` if there is none.
///
/// The tensors are not looked at: whether the file is whole is for [`read`] to say.
///
/// # Errors
/// As [`read`].
pub fn read_description<M: DeserializeOwned>(path: &Path, remedy: &'static str) -> Result<Option<M>, ArtefactError> {
    let io_error = |cause| ArtefactError::Io { path: path.to_owned(), cause, remedy };
    let damaged = |found: String| ArtefactError::Damaged { path: path.to_owned(), found, remedy };
    let mut file = fs::File::open(path).map_err(io_error)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| damaged("not a whole safetensors file (no header)".to_owned()))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(damaged(format!("a header of {length} bytes exceeds the limit of {MAX_HEADER_BYTES}")));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(io_error)?;
    let header: serde_json::Value =
        serde_json::from_slice(&header).map_err(|error| damaged(format!("damaged header ({error})")))?;
    header["__metadata__"][METADATA_KEY]
        .as_str()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| damaged(format!("its description cannot be understood ({error})")))
}

/// Opens a file to be read in parts, and tells its length.
///
/// # Errors
/// [`ArtefactError::Io`] if it is missing or unreadable, [`ArtefactError::Damaged`] if it is a folder or a device, empty, or too
/// large.
pub fn open(path: &Path, remedy: &'static str) -> Result<(fs::File, u64), ArtefactError> {
    let io_error = |cause| ArtefactError::Io { path: path.to_owned(), cause, remedy };
    let metadata = fs::metadata(path).map_err(io_error)?;
    let size = metadata.len();
    let found = if metadata.is_dir() {
        "a folder where a file is needed".to_owned()
    } else if !metadata.is_file() {
        // Its length is not known before it ends, and /dev/zero does not.
        "a pipe or device where a file is needed".to_owned()
    } else if size == 0 {
        "an empty file".to_owned()
    } else if size > MAX_FILE_BYTES {
        format!("{size} bytes exceed the limit of {MAX_FILE_BYTES}")
    } else {
        return Ok((fs::File::open(path).map_err(io_error)?, size));
    };
    Err(ArtefactError::Damaged { path: path.to_owned(), found, remedy })
}

/// Reads a whole file.
///
/// # Errors
/// As [`open`].
pub fn read_bytes(path: &Path, remedy: &'static str) -> Result<Vec<u8>, ArtefactError> {
    let (mut file, size) = open(path, remedy)?;
    let mut bytes = Vec::with_capacity(size as usize);
    file.read_to_end(&mut bytes).map_err(|cause| ArtefactError::Io { path: path.to_owned(), cause, remedy })?;
    Ok(bytes)
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of all that is read, in hexadecimal.
///
/// # Errors
/// If the system refuses.
pub fn sha256_of_reader(mut reader: impl io::Read) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            n => digest.update(&buffer[..n]),
        }
    }
}

/// SHA-256 of a file, in hexadecimal, a piece at a time; `None` if it cannot be read.
pub fn file_checksum(path: &Path) -> Option<String> {
    sha256_of_reader(fs::File::open(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn tensors() -> BTreeMap<String, TensorF32> {
        [
            (
                "1.weight".to_owned(),
                TensorF32 { shape: vec![2, 3], values: vec![1.0, -2.5, 0.0, 3.0, f32::MIN_POSITIVE, 6.0] },
            ),
            ("1.bias".to_owned(), TensorF32 { shape: vec![2], values: vec![0.5, -0.25] }),
        ]
        .into()
    }

    #[test]
    fn what_is_written_is_read_back_with_the_same_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/a.safetensors");
        let checksum = write(&path, &tensors(), &json!({"seed": 7})).unwrap();
        let contents: Contents<Value> = read(&path, "").unwrap();
        assert_eq!(contents.tensors, tensors());
        assert_eq!(contents.metadata, Some(json!({"seed": 7})));
        assert_eq!(read_description::<Value>(&path, "").unwrap(), Some(json!({"seed": 7})));
        assert_eq!(contents.checksum, checksum);
        assert_eq!(file_checksum(&path), Some(checksum));
    }

    #[test]
    fn what_is_written_piece_by_piece_is_what_the_format_s_own_library_writes() {
        use safetensors::tensor::TensorView;
        // Longer than a piece, and not a multiple of it.
        let long: Vec<f32> = (0..2 * CHUNK + 3).map(|value| value as f32 / 7.0).collect();
        let mut tensors = tensors();
        tensors.insert("0.weight".to_owned(), TensorF32 { shape: vec![long.len()], values: long });
        let bytes: BTreeMap<&String, Vec<u8>> = tensors
            .iter()
            .map(|(name, of)| (name, of.values.iter().flat_map(|value| value.to_le_bytes()).collect()))
            .collect();
        let views = bytes
            .iter()
            .map(|(name, bytes)| (*name, TensorView::new(Dtype::F32, tensors[*name].shape.clone(), bytes).unwrap()));
        let metadata = [(METADATA_KEY.to_owned(), r#"{"seed":7}"#.to_owned())].into_iter().collect();
        let expected = safetensors::serialize(views, Some(metadata)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        write(&path, &tensors, &json!({"seed": 7})).unwrap();
        assert!(fs::read(&path).unwrap() == expected);
        let whole: Contents<Value> = read(&path, "").unwrap();
        assert!(whole.tensors == tensors);
        let some: Contents<Value> = read_where(&path, "", |name| name == "1.bias").unwrap();
        assert_eq!(some.tensors.keys().collect::<Vec<_>>(), ["1.bias"]);
        assert_eq!((some.checksum, some.metadata), (whole.checksum, whole.metadata));
    }

    #[test]
    fn a_file_with_bytes_behind_its_tensors_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        write(&path, &tensors(), &json!({})).unwrap();
        let mut longer = fs::read(&path).unwrap();
        longer.push(0);
        fs::write(&path, longer).unwrap();
        let error = read::<Value>(&path, "").unwrap_err().to_string();
        assert!(error.contains("32 bytes of tensors in a file of"), "{error}");
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        write(&path, &tensors(), &json!({})).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let error = read::<Value>(&path, "train again").unwrap_err().to_string();
            assert!(error.contains("a.safetensors") && error.ends_with("train again"), "{error}");
        }
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, &tensors(), &json!({})).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file may stay behind");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.safetensors");
            fs::write(&path, &bytes).unwrap();
            prop_assert!(read::<Value>(&path, "").is_err());
            let _ = read_description::<Value>(&path, "");
        }
    }
}
