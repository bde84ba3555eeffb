//! Bytes of floating-point numbers → 32-bit floats.

/// Types of floating-point numbers that files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

/// Types of floating-point numbers of eight bits, of which weights are made for the newest processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float8 {
    /// Four bits of exponent and three of fraction, no infinity.
    E4M3,
    /// The same without a negative zero, whose bits are the only ones that are no number.
    E4M3Fnuz,
    /// The upper byte of a 16-bit float.
    E5M2,
    /// Five bits of exponent and two of fraction, neither infinity nor negative zero.
    E5M2Fnuz,
}

/// Any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Wide(Float),
    Eight(Float8),
}

impl Format {
    /// Bytes of a number.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Wide(float) => float.size(),
            Self::Eight(_) => 1,
        }
    }

    /// Reads little-endian numbers.
    ///
    /// # Errors
    /// As [`Float::read`].
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Values, String> {
        match self {
            Self::Wide(float) => float.read(bytes),
            Self::Eight(float) => {
                Ok(Values { values: bytes.iter().map(|&byte| float.widen(byte)).collect(), n_rounded: 0 })
            }
        }
    }
}

impl Float8 {
    fn widen(self, byte: u8) -> f32 {
        match self {
            Self::E4M3 => of_8_bits(byte, 3, 7, byte & 0x7f == 0x7f),
            Self::E4M3Fnuz => of_8_bits(byte, 3, 8, byte == 0x80),
            Self::E5M2 => half::f16::from_bits(u16::from(byte) << 8).to_f32(),
            Self::E5M2Fnuz => of_8_bits(byte, 2, 16, byte == 0x80),
        }
    }
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

/// A number of eight bits: a sign, an exponent, and a fraction of `n_fraction` bits; `±1.f · 2^(e − bias)`, or
/// `±0.f · 2^(1 − bias)` where the exponent is 0.
fn of_8_bits(byte: u8, n_fraction: u32, bias: i32, is_nan: bool) -> f32 {
    if is_nan {
        return f32::NAN;
    }
    let exponent = i32::from((byte & 0x7f) >> n_fraction);
    let fraction = f32::from(byte & ((1 << n_fraction) - 1)) / (1 << n_fraction) as f32;
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(1 - bias),
        _ => (1.0 + fraction) * 2f32.powi(exponent - bias),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
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
            return Err(format!("value {number:e} at position {} is too large for 32 bits", values.len()));
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

    /// The tables of the formats' definitions: 1, the largest and the smallest number, and what is none.
    #[test]
    fn floats_of_8_bits_are_widened_exactly() {
        let e4m3 = Format::Eight(Float8::E4M3).read(&[0x38, 0xb8, 0x7e, 0x01, 0x08, 0x80, 0x7f]).unwrap().values;
        assert_eq!(e4m3[..6], [1.0, -1.0, 448.0, 2f32.powi(-9), 2f32.powi(-6), -0.0]);
        let e5m2 = Format::Eight(Float8::E5M2).read(&[0x3c, 0xbc, 0x7b, 0x01, 0x04, 0x7c, 0x7f]).unwrap().values;
        assert_eq!(e5m2[..6], [1.0, -1.0, 57344.0, 2f32.powi(-16), 2f32.powi(-14), f32::INFINITY]);
        let e4m3 = Format::Eight(Float8::E4M3Fnuz).read(&[0x40, 0xc0, 0x7f, 0x01, 0x00, 0x08, 0x80]).unwrap().values;
        assert_eq!(e4m3[..6], [1.0, -1.0, 240.0, 2f32.powi(-10), 0.0, 2f32.powi(-7)]);
        let e5m2fnuz =
            Format::Eight(Float8::E5M2Fnuz).read(&[0x40, 0xc0, 0x7f, 0x01, 0x00, 0x04, 0x80]).unwrap().values;
        assert_eq!(e5m2fnuz[..6], [1.0, -1.0, 57344.0, 2f32.powi(-17), 0.0, 2f32.powi(-15)]);
        for values in [e4m3, e5m2, e5m2fnuz] {
            assert!(values[6].is_nan());
        }
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
