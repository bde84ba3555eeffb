//! Tensors of a file: what they are called and shaped, and where their numbers lie.
//!
//! A file is asked for numbers only when a tensor is known to be one that the model needs, and to have the shape that the model
//! gives it: whatever sizes a file claims, no more memory is taken than that.

use std::ops::Range;
use std::rc::Rc;

use crate::archive::Archive;
use crate::floats::{Format, Values};
use crate::reparametrization::Rule;
use crate::source::Source;

/// A tensor that is not read yet.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Kind,
    pub(crate) content: Content,
}

/// What numbers a tensor has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Float(Format),
    /// Whole numbers, truth values or others that no weight is, by their name in the file.
    Other(String),
    /// Why its numbers are not read.
    Opaque(String),
}

/// Why a tensor's numbers cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// They are not of a kind that is read, or too large.
    Kind(String),
    /// They are not there, or damaged.
    Damage(String),
}

/// Where the numbers come from.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// They lie in a file.
    Stored {
        storage: Rc<Storage>,
        /// Of the first number, in numbers.
        offset: u64,
        /// Distances between neighbours of each dimension, in numbers; `None` if the numbers lie one after the other.
        strides: Option<Vec<u64>>,
    },
    /// They are computed from those of other tensors.
    Computed(Rule, Vec<Entry>),
}

/// Bytes in a file, which several tensors may share.
#[derive(Debug)]
pub(crate) enum Storage {
    /// A part of a file.
    Part(Rc<Source>, Range<u64>),
    /// A record of an archive, of which no more than so many bytes are the storage's.
    Record { archive: Rc<Archive>, name: String, n_bytes: u64 },
    /// What was written between other things, and is in memory.
    Memory(Vec<u8>),
    /// Nothing, since there can be no tensor in it.
    Empty,
}

impl Storage {
    fn len(&self) -> u64 {
        match self {
            Self::Part(_, range) => range.end - range.start,
            Self::Record { n_bytes, .. } => *n_bytes,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Empty => 0,
        }
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, String> {
        if range.end > self.len() {
            return Err(format!("{} bytes end before its numbers do", self.len()));
        }
        match self {
            Self::Part(source, part) => source.read(part.start + range.start, range.end - range.start),
            Self::Record { archive, name, .. } => archive.read(name, range),
            Self::Memory(bytes) => Ok(bytes[range.start as usize..range.end as usize].to_vec()),
            Self::Empty => Ok(Vec::new()),
        }
    }
}

impl Entry {
    /// A tensor whose numbers lie one after the other.
    pub(crate) fn contiguous(name: String, shape: Vec<usize>, kind: Kind, storage: Storage) -> Self {
        let content = Content::Stored { storage: Rc::new(storage), offset: 0, strides: None };
        Self { name, shape, kind, content }
    }

    /// Number of its numbers; `None` if there can be no such.
    pub(crate) fn n_values(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size))
    }

    /// Whether two are one tensor under two names.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let same = match (&self.content, &other.content) {
            (
                Content::Stored { storage: a, offset: at_a, strides: by_a },
                Content::Stored { storage: b, offset: at_b, strides: by_b },
            ) => Rc::ptr_eq(a, b) && at_a == at_b && by_a == by_b,
            (Content::Computed(rule_a, a), Content::Computed(rule_b, b)) => {
                rule_a == rule_b && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same_as(b))
            }
            _ => false,
        };
        same && self.shape == other.shape && self.kind == other.kind
    }

    /// The transposed matrix.
    ///
    /// Only for tensors whose numbers lie one after the other.
    pub(crate) fn transposed(mut self) -> Self {
        if let (&[n_rows, n_columns], Content::Stored { strides, .. }) = (&self.shape[..], &mut self.content) {
            *strides = Some(vec![1, n_columns as u64]);
            self.shape = vec![n_columns, n_rows];
        }
        self
    }

    /// The matrix that was transposed.
    pub(crate) fn untransposed(mut self) -> Self {
        if let (&[n_rows, n_columns], Content::Stored { strides, .. }) = (&self.shape[..], &mut self.content)
            && *strides == Some(vec![1, n_rows as u64])
        {
            *strides = None;
            self.shape = vec![n_columns, n_rows];
        }
        self
    }

    /// Its numbers, row-major.
    ///
    /// # Errors
    /// If they are no floats, too large, or not there.
    pub(crate) fn values(&self) -> Result<Values, Flaw> {
        let named = |found: String| format!("`{}`: {found}", self.name);
        match &self.content {
            Content::Computed(rule, parts) => {
                let read = |part: &Self| -> Result<_, Flaw> { Ok((part.shape.clone(), part.values()?)) };
                let parts = parts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
                rule.compute(&self.shape, &parts).map_err(|found| Flaw::Kind(named(found)))
            }
            Content::Stored { storage, offset, strides } => {
                let float = match &self.kind {
                    Kind::Float(float) => *float,
                    Kind::Other(kind) => {
                        return Err(Flaw::Kind(format!("`{}` holds {kind} where floats are needed", self.name)));
                    }
                    Kind::Opaque(reason) => return Err(Flaw::Kind(format!("`{}` is {reason}", self.name))),
                };
                let bytes = self.bytes(float, storage, *offset, strides.as_deref());
                let bytes = bytes.map_err(|found| Flaw::Damage(named(found)))?;
                float.read(&bytes).map_err(|found| Flaw::Kind(named(found)))
            }
        }
    }

    /// Bytes of its numbers, row-major.
    fn bytes(&self, float: Format, storage: &Storage, offset: u64, strides: Option<&[u64]>) -> Result<Vec<u8>, String> {
        let too_large = || format!("a shape of {:?} that no file holds", self.shape);
        let n = self.n_values().ok_or_else(too_large)?;
        if n == 0 {
            return Ok(Vec::new());
        }
        let own = contiguous_strides(&self.shape);
        let strides = strides.unwrap_or(&own);
        let mut steps = self.shape.iter().zip(strides).map(|(&size, &stride)| (size as u64 - 1).checked_mul(stride));
        let last = steps.try_fold(0_u64, |sum, step| sum.checked_add(step?));
        let size = float.size() as u64;
        let in_bytes = |place: u64| place.checked_mul(size);
        let end = last.and_then(|last| in_bytes(offset.checked_add(last)?.checked_add(1)?));
        let (start, end) = in_bytes(offset).zip(end).ok_or_else(too_large)?;
        let bytes = storage.read(start..end)?;
        let in_order = self.shape.iter().zip(strides.iter().zip(&own)).all(|(&size, (a, b))| size == 1 || a == b);
        Ok(if in_order { bytes } else { gather(&bytes, &self.shape, strides, size as usize, n) })
    }
}

/// Distances between neighbours where numbers lie one after the other.
fn contiguous_strides(shape: &[usize]) -> Vec<u64> {
    let mut stride = 1_u64;
    let mut strides: Vec<u64> = shape
        .iter()
        .rev()
        .map(|&size| {
            let own = stride;
            stride = stride.saturating_mul(size as u64);
            own
        })
        .collect();
    strides.reverse();
    strides
}

/// Numbers in row-major order, from where they lie.
fn gather(bytes: &[u8], shape: &[usize], strides: &[u64], size: usize, n: usize) -> Vec<u8> {
    let mut gathered = Vec::with_capacity(n * size);
    let mut index = vec![0_usize; shape.len()];
    for _ in 0..n {
        let place: usize = index.iter().zip(strides).map(|(&i, &stride)| i * stride as usize).sum();
        gathered.extend_from_slice(&bytes[place * size..][..size]);
        for (i, &size) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < size {
                break;
            }
            *i = 0;
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floats::Float;

    fn entry(shape: &[usize], offset: u64, strides: &[u64]) -> Entry {
        let bytes = (0..12_u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
        let content =
            Content::Stored { storage: Rc::new(Storage::Memory(bytes)), offset, strides: Some(strides.to_vec()) };
        Entry { name: "w".to_owned(), shape: shape.to_vec(), kind: Kind::Float(Format::Wide(Float::F32)), content }
    }

    /// Against the definition: the number at (i, j) lies at offset + i·stride₀ + j·stride₁.
    #[test]
    fn tensors_are_read_by_their_strides() {
        let values = |shape: &[usize], offset, strides: &[u64]| entry(shape, offset, strides).values().unwrap().values;
        assert_eq!(values(&[2, 3], 0, &[3, 1]), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(values(&[3, 2], 0, &[1, 3]), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(values(&[2, 2], 1, &[6, 2]), [1., 3., 7., 9.]);
        assert_eq!(values(&[2, 3], 4, &[0, 0]), [4.; 6]);
        assert_eq!(values(&[1, 3], 0, &[77, 1]), [0., 1., 2.]);
        assert_eq!(values(&[], 11, &[]), [11.]);
        assert_eq!(values(&[0, 3], 99, &[3, 1]), [0.; 0]);
        assert_eq!(entry(&[3, 4], 0, &[4, 1]).transposed().values().unwrap().values[..4], [0., 4., 8., 1.]);
    }

    #[test]
    fn numbers_that_lie_outside_are_refused() {
        for (shape, offset, strides) in [
            (&[2, 3][..], 7, &[3, 1][..]),
            (&[2, 3], 0, &[u64::MAX, 1]),
            (&[usize::MAX, 3], 0, &[1, 1]),
            (&[1], u64::MAX, &[1]),
            (&[2, 2], u64::MAX / 4, &[1, 1]),
        ] {
            assert!(entry(shape, offset, strides).values().is_err(), "{shape:?}");
        }
        let kind = Kind::Other("int64".to_owned());
        let error = Entry { kind, ..entry(&[1], 0, &[1]) }.values().unwrap_err();
        assert_eq!(error, Flaw::Kind("`w` holds int64 where floats are needed".to_owned()));
    }
}
