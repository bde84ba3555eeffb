//! Bytes of floating-point numbers → 32-bit floats.

/// Types of floating-point numbers that files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

/// Values, and what narrowing them cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Values {
    pub(crate) values: Vec<f32>,
    /// How many are not what the file holds, but the 32-bit float next to it.
    pub(crate) n_rounded: usize,
}

impl Float {
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Reads little-endian numbers. Widening is exact; 64-bit numbers are rounded to the nearest.
    ///
    /// # Errors
    /// If a number is too large for 32 bits, or the bytes are no whole number of numbers.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Values, String> {
        if !bytes.len().is_multiple_of(self.size()) {
            return Err(format!("{} bytes are no whole number of {}-byte floats", bytes.len(), self.size()));
        }
        let two = |word: &[u8]| u16::from_le_bytes([word[0], word[1]]);
        let exact = |values: Vec<f32>| Ok(Values { values, n_rounded: 0 });
        match self {
            Self::F16 => exact(bytes.chunks_exact(2).map(|word| half::f16::from_bits(two(word)).to_f32()).collect()),
            Self::Bf16 => exact(bytes.chunks_exact(2).map(|word| half::bf16::from_bits(two(word)).to_f32()).collect()),
            Self::F32 => exact(bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()),
            Self::F64 => narrow(bytes.as_chunks::<8>().0.iter().map(|&word| f64::from_le_bytes(word))),
        }
    }
}

/// Rounds to the nearest 32-bit floats.
///
/// # Errors
/// If a number is too large for 32 bits.
pub(crate) fn narrow(numbers: impl Iterator<Item = f64>) -> Result<Values, String> {
    let mut values = Vec::with_capacity(numbers.size_hint().0);
    let mut n_rounded = 0;
    for number in numbers {
        let value = number as f32;
        if value.is_infinite() && number.is_finite() {
            return Err(format!("value {number} at position {} is too large for 32 bits", values.len()));
        }
        n_rounded += usize::from(f64::from(value) != number && !number.is_nan());
        values.push(value);
    }
    Ok(Values { values, n_rounded })
}

/// What the user should know of tensors that were rounded; `None` if none was.
pub(crate) fn rounding_note(n_rounded: usize, n_values: usize) -> Option<String> {
    (n_rounded > 0)
        .then(|| format!("{n_rounded} of {n_values} 64-bit weights were rounded to the nearest 32-bit number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrower_floats_are_widened_exactly() {
        // 1, −2, 65504 (the largest), 2⁻²⁴ (the smallest).
        let f16 = [0x3c00_u16, 0xc000, 0x7bff, 0x0001].map(u16::to_le_bytes).concat();
        let values = Float::F16.read(&f16).unwrap();
        assert_eq!(values, Values { values: vec![1.0, -2.0, 65504.0, 2f32.powi(-24)], n_rounded: 0 });
        let bf16 = [0x3f80_u16, 0xc040].map(u16::to_le_bytes).concat();
        assert_eq!(Float::Bf16.read(&bf16).unwrap().values, [1.0, -3.0]);
    }

    #[test]
    fn wider_floats_are_rounded_counted_and_refused_where_they_do_not_fit() {
        let bytes = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let values = Float::F64.read(&bytes(&[0.5, 0.1, f64::NAN])).unwrap();
        assert_eq!((&values.values[..2], values.n_rounded), (&[0.5, 0.1][..], 1));
        assert!(values.values[2].is_nan());
        assert!(Float::F64.read(&bytes(&[1.0, 1e39])).unwrap_err().contains("position 1 is too large"));
        assert!(Float::F32.read(&[0; 6]).unwrap_err().contains("no whole number"));
    }
}
