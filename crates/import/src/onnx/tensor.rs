//! Tensors that an ONNX file holds, in itself or in files beside it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use prost::bytes::Bytes;

use super::proto::{Tensor, data_type};
use crate::floats::{Float, Values, narrow};

/// Numbers with their shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers<T> {
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<T>,
}

/// Reads tensors, and counts what narrowing them costs.
#[derive(Debug)]
pub(super) struct Store {
    /// Folder of the file.
    folder: PathBuf,
    /// Files beside it that were read.
    pub(super) files: RefCell<BTreeMap<String, PathBuf>>,
    /// Numbers read, and those of them that were rounded.
    pub(super) counts: RefCell<(usize, usize)>,
    /// Tensors that were read, by their place in memory, and how many values they have.
    distinct: RefCell<(HashSet<usize>, usize)>,
}

impl Store {
    pub(super) fn new(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self {
            folder: folder.to_owned(),
            files: RefCell::default(),
            counts: RefCell::default(),
            distinct: RefCell::default(),
        }
    }

    /// Values of all tensors that were read, each counted once.
    pub(super) fn n_distinct(&self) -> usize {
        self.distinct.borrow().1
    }

    fn count(&self, tensor: &Tensor, n_values: usize) {
        let mut distinct = self.distinct.borrow_mut();
        if distinct.0.insert(std::ptr::from_ref(tensor).addr()) {
            distinct.1 += n_values;
        }
    }

    /// A tensor of floats.
    pub(super) fn floats(&self, tensor: &Tensor) -> Result<Numbers<f32>, String> {
        let float = match tensor.data_type {
            data_type::FLOAT => Float::F32,
            data_type::FLOAT16 => Float::F16,
            data_type::BFLOAT16 => Float::Bf16,
            data_type::DOUBLE => Float::F64,
            other => return Err(format!("it holds type {other} where floats are needed")),
        };
        let (dims, n_values) = dims(tensor)?;
        let bytes = self.bytes(tensor, n_values, float.size())?;
        let exact = |values: Vec<f32>| Ok(Values { values, n_rounded: 0 });
        let values = match (bytes, float) {
            (Some(bytes), _) => float.read(&bytes),
            (None, Float::F32) => exact(tensor.float_data.clone()),
            (None, Float::F64) => narrow(tensor.double_data.iter().copied()),
            // 16-bit floats are kept as the numbers that their bits spell.
            (None, Float::F16 | Float::Bf16) => {
                let bytes: Vec<u8> = tensor.int32_data.iter().flat_map(|&bits| (bits as u16).to_le_bytes()).collect();
                float.read(&bytes)
            }
        };
        let Values { values, n_rounded } = values?;
        self.count(tensor, values.len());
        let mut counts = self.counts.borrow_mut();
        *counts = (counts.0 + values.len(), counts.1 + n_rounded);
        whole(dims, values, n_values)
    }

    /// A tensor of whole numbers, or of truth values as 0 and 1.
    pub(super) fn integers(&self, tensor: &Tensor) -> Result<Numbers<i64>, String> {
        let (dims, n_values) = dims(tensor)?;
        let values = match tensor.data_type {
            data_type::INT8 | data_type::UINT8 | data_type::INT16 | data_type::UINT16 => {
                let Numbers { dims, values } = self.quantised(tensor)?;
                return Ok(Numbers { dims, values: values.into_iter().map(i64::from).collect() });
            }
            data_type::INT64 => match self.bytes(tensor, n_values, 8)? {
                Some(bytes) => bytes.as_chunks::<8>().0.iter().map(|&word| i64::from_le_bytes(word)).collect(),
                None => tensor.int64_data.clone(),
            },
            data_type::INT32 => match self.bytes(tensor, n_values, 4)? {
                Some(bytes) => bytes.as_chunks::<4>().0.iter().map(|&word| i32::from_le_bytes(word).into()).collect(),
                None => tensor.int32_data.iter().map(|&value| value.into()).collect(),
            },
            data_type::BOOL => match self.bytes(tensor, n_values, 1)? {
                Some(bytes) => bytes.iter().map(|&byte| i64::from(byte != 0)).collect(),
                None => tensor.int32_data.iter().map(|&value| i64::from(value != 0)).collect(),
            },
            other => return Err(format!("it holds type {other} where whole numbers are needed")),
        };
        whole(dims, values, n_values)
    }

    /// A tensor of whole numbers of up to 32 bits, as quantised weights are.
    pub(super) fn quantised(&self, tensor: &Tensor) -> Result<Numbers<i32>, String> {
        let (dims, n_values) = dims(tensor)?;
        let size = match tensor.data_type {
            data_type::INT8 | data_type::UINT8 => 1,
            data_type::INT16 | data_type::UINT16 => 2,
            data_type::INT32 => 4,
            other => {
                return Err(format!("it holds type {other}; supported: whole numbers of 8, 16 and 32 bits"));
            }
        };
        self.count(tensor, n_values);
        let Some(bytes) = self.bytes(tensor, n_values, size)? else {
            return whole(dims, tensor.int32_data.clone(), n_values);
        };
        let pairs = || bytes.as_chunks::<2>().0.iter();
        let values = match tensor.data_type {
            data_type::INT8 => bytes.iter().map(|&byte| byte.cast_signed().into()).collect(),
            data_type::UINT8 => bytes.iter().map(|&byte| byte.into()).collect(),
            data_type::INT16 => pairs().map(|&word| i16::from_le_bytes(word).into()).collect(),
            data_type::UINT16 => pairs().map(|&word| u16::from_le_bytes(word).into()).collect(),
            _ => bytes.as_chunks::<4>().0.iter().map(|&word| i32::from_le_bytes(word)).collect(),
        };
        whole(dims, values, n_values)
    }

    /// The bytes of a tensor, of the length that its shape asks for; `None` if its values are in fields of their own.
    fn bytes(&self, tensor: &Tensor, n_values: usize, size: usize) -> Result<Option<Bytes>, String> {
        let n_bytes = n_values.checked_mul(size).ok_or("its size overflows")?;
        if tensor.data_location != 0 {
            return self.outside(tensor, n_bytes).map(|bytes| Some(bytes.into()));
        }
        let raw = &tensor.raw_data;
        if raw.is_empty() {
            return Ok(None);
        }
        if raw.len() != n_bytes {
            return Err(format!("it holds {} bytes where its shape {:?} needs {n_bytes}", raw.len(), tensor.dims));
        }
        // Shared with the file's, not copied.
        Ok(Some(raw.clone()))
    }

    /// The bytes of a tensor from a file in the same folder.
    fn outside(&self, tensor: &Tensor, n_bytes: usize) -> Result<Vec<u8>, String> {
        let value = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key: &str| match value(key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("its {key} `{text}` is no number")),
        };
        let location = value("location").ok_or("it lies in a file that is not named")?;
        let path = self.beside(location)?;
        let start = number("offset")?.unwrap_or(0);
        if let Some(length) = number("length")?
            && length != n_bytes as u64
        {
            return Err(format!("`{location}` holds {length} bytes of it where its shape needs {n_bytes}"));
        }
        let missing = |error: std::io::Error| format!("its file `{location}` cannot be read: {error}");
        let mut file = File::open(&path).map_err(missing)?;
        let size = file.metadata().map_err(missing)?.len();
        if start.checked_add(n_bytes as u64).is_none_or(|end| end > size) {
            return Err(format!("`{location}` ends at {size} bytes, before it does"));
        }
        self.files.borrow_mut().insert(location.clone(), path);
        let mut bytes = vec![0; n_bytes];
        file.seek(SeekFrom::Start(start)).map_err(missing)?;
        file.read_exact(&mut bytes).map_err(missing)?;
        Ok(bytes)
    }

    /// The path of a file in the folder, and of no other.
    fn beside(&self, location: &str) -> Result<PathBuf, String> {
        let refused = || format!("its file `{location}` does not lie in the same folder");
        let path = Path::new(location);
        if location.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(refused());
        }
        let missing = |error: std::io::Error| format!("its file `{location}` cannot be read: {error}");
        let folder = self.folder.canonicalize().map_err(missing)?;
        // A link may lead elsewhere.
        let path = folder.join(path).canonicalize().map_err(missing)?;
        if path.starts_with(&folder) && path.is_file() { Ok(path) } else { Err(refused()) }
    }
}

/// Sizes of a tensor's dimensions, and their product.
fn dims(tensor: &Tensor) -> Result<(Vec<usize>, usize), String> {
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
    let dims = dims.ok_or_else(|| format!("its shape {:?} has a negative size", tensor.dims))?;
    let n_values = dims.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    Ok((dims, n_values.ok_or("its size overflows")?))
}

fn whole<T>(dims: Vec<usize>, values: Vec<T>, n_values: usize) -> Result<Numbers<T>, String> {
    if values.len() == n_values {
        Ok(Numbers { dims, values })
    } else {
        Err(format!("it holds {} values where its shape {dims:?} needs {n_values}", values.len()))
    }
}
