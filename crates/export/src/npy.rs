//! NumPy's array files, `.npy`, written value by value.
//!
//! Source: `numpy.lib.format`, version 1.0 of the format: a magic string, the header's length, the header as a Python literal
//! padded with spaces so that data begin at a multiple of 64 bytes, the data row-major.

use std::io::{self, Write};

/// Type of a value that NumPy knows.
pub trait Value: Copy {
    /// Its name in NumPy.
    const NAME: &'static str;

    /// Its bytes in the file.
    fn bytes(self) -> impl AsRef<[u8]>;
}

macro_rules! values {
    ($($value:ty = $name:literal),+) => {$(
        impl Value for $value {
            const NAME: &'static str = $name;

            fn bytes(self) -> impl AsRef<[u8]> {
                self.to_le_bytes()
            }
        }
    )+};
}

values!(u8 = "|u1", u16 = "<u2", u32 = "<u4", f32 = "<f4");

impl Value for bool {
    const NAME: &'static str = "|b1";

    fn bytes(self) -> impl AsRef<[u8]> {
        [u8::from(self)]
    }
}

/// Writes an array.
///
/// - `shape`: sizes of its dimensions
/// - `values`: row-major, as many as the shape has
///
/// # Errors
/// What the writer refuses.
///
/// # Panics
/// If there are more or fewer values.
pub fn write<V: Value>(to: &mut impl Write, shape: &[usize], values: impl Iterator<Item = V>) -> io::Result<()> {
    to.write_all(&header(V::NAME, shape))?;
    let mut n = 0;
    for value in values {
        to.write_all(value.bytes().as_ref())?;
        n += 1;
    }
    assert_eq!(n, shape.iter().product::<usize>(), "an array has as many values as its shape");
    Ok(())
}

fn header(name: &str, shape: &[usize]) -> Vec<u8> {
    // A tuple: with a comma behind each size, also behind a single one.
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let sizes = if shape.len() > 1 { sizes.trim_end_matches(", ") } else { sizes.trim_end() };
    let mut text = format!("{{'descr': '{name}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let prefix = 10;
    let length = (prefix + text.len() + 1).next_multiple_of(64) - prefix;
    text.extend(std::iter::repeat_n(' ', length - 1 - text.len()));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\0".to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_that_numpy_writes() {
        // numpy 2.4.6: numpy.lib.format.write_array, version (1, 0).
        let of = |shape: &[usize]| String::from_utf8(header("<f4", shape)[10..].to_vec()).unwrap();
        assert_eq!(of(&[2, 3, 4]).trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }");
        assert_eq!(of(&[5]).trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }");
        assert_eq!(of(&[]).trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (), }");
        for shape in [&[][..], &[5], &[1234, 5678, 91_011], &[usize::MAX; 8]] {
            let header = header("|b1", shape);
            assert_eq!((header.len() % 64, header.last()), (0, Some(&b'\n')));
            assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), header.len() - 10);
        }
    }

    #[test]
    fn values_follow_row_by_row() {
        let mut file = Vec::new();
        write(&mut file, &[2, 2], [1.0_f32, 2.0, 3.0, -4.0].into_iter()).unwrap();
        assert_eq!(file[128..], [0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 192]);
        let mut file = Vec::new();
        write(&mut file, &[3], [true, false, true].into_iter()).unwrap();
        assert_eq!(file[128..], [1, 0, 1]);
    }

    #[test]
    #[should_panic(expected = "as many values as its shape")]
    fn a_missing_value_is_a_bug() {
        write(&mut Vec::new(), &[2], [1_u8].into_iter()).unwrap();
    }
}
