//! Arrays of numbers of any element type, as bytes of a file → values of samples, and labels.
//!
//! What the numbers stand for is found in [`crate::scaling`]; which classes labels are, in [`crate::labels`].

use half::{bf16, f16};

use crate::DatasetError;

/// Type of the numbers of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

/// Order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// Values of samples as they are stored, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// Whole numbers from 0 to 255.
    Bytes(Vec<u8>),
    /// Finite numbers.
    Reals {
        values: Vec<f32>,
        /// Whether the file's type is one of whole numbers.
        are_whole: bool,
    },
}

/// Calls a macro with each type, to decode bytes as numbers of it.
macro_rules! decode {
    ($element:expr, $order:expr, $bytes:expr, |$number:ident| $to:expr) => {
        match $element {
            Element::Bool | Element::U8 => decode!(@ u8, $order, $bytes, |$number| $to),
            Element::I8 => decode!(@ i8, $order, $bytes, |$number| $to),
            Element::U16 => decode!(@ u16, $order, $bytes, |$number| $to),
            Element::I16 => decode!(@ i16, $order, $bytes, |$number| $to),
            Element::U32 => decode!(@ u32, $order, $bytes, |$number| $to),
            Element::I32 => decode!(@ i32, $order, $bytes, |$number| $to),
            Element::U64 => decode!(@ u64, $order, $bytes, |$number| $to),
            Element::I64 => decode!(@ i64, $order, $bytes, |$number| $to),
            Element::F16 => decode!(@ f16, $order, $bytes, |$number| { let $number = f64::from($number); $to }),
            Element::Bf16 => decode!(@ bf16, $order, $bytes, |$number| { let $number = f64::from($number); $to }),
            Element::F32 => decode!(@ f32, $order, $bytes, |$number| $to),
            Element::F64 => decode!(@ f64, $order, $bytes, |$number| $to),
        }
    };
    (@ $type:ty, $order:expr, $bytes:expr, |$number:ident| $to:expr) => {{
        let chunks = $bytes.as_chunks::<{ size_of::<$type>() }>().0;
        match $order {
            Order::Little => chunks.iter().map(|&bytes| { let $number = <$type>::from_le_bytes(bytes); $to }).collect(),
            Order::Big => chunks.iter().map(|&bytes| { let $number = <$type>::from_be_bytes(bytes); $to }).collect(),
        }
    }};
}

impl Element {
    /// Bytes of a number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Bytes of an array; as many as can be counted if there are more.
    pub(crate) fn n_bytes(self, shape: &[usize]) -> u64 {
        shape.iter().fold(self.size() as u64, |product, &size| product.saturating_mul(size as u64))
    }

    pub(crate) fn is_whole(self) -> bool {
        !matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// Values of samples; whole numbers that all are bytes are kept as such.
    ///
    /// - `place`: the file, for messages
    /// - `n_features`: values of a sample
    ///
    /// # Errors
    /// If a value is infinite or no number, or too large for a 32-bit float.
    pub(crate) fn values(
        self,
        order: Order,
        bytes: Vec<u8>,
        place: &str,
        n_features: usize,
    ) -> Result<Values, DatasetError> {
        if matches!(self, Self::Bool | Self::U8) {
            return Ok(Values::Bytes(bytes));
        }
        let values: Vec<f32> = decode!(self, order, bytes, |number| number as f32);
        drop(bytes);
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return Err(DatasetError::NotFinite {
                place: place.to_owned(),
                index: position / n_features.max(1),
                value: values[position],
            });
        }
        let are_whole = self.is_whole();
        Ok(if are_whole && values.iter().all(|value| (0.0..=255.0).contains(value)) {
            Values::Bytes(values.into_iter().map(|value| value as u8).collect())
        } else {
            Values::Reals { values, are_whole }
        })
    }

    /// Labels of any type, floats among them if they are whole.
    ///
    /// # Errors
    /// If one is not whole.
    pub(crate) fn labels(self, order: Order, bytes: &[u8], place: &str) -> Result<Vec<i128>, DatasetError> {
        if self.is_whole() {
            return Ok(decode!(self, order, bytes, |number| number as i128));
        }
        let values: Vec<f64> = decode!(self, order, bytes, |number| number as f64);
        match values.iter().position(|value| value.fract() != 0.0) {
            None => Ok(values.into_iter().map(|value| value as i128).collect()),
            Some(index) => Err(DatasetError::LabelNotWhole { place: place.to_owned(), index, value: values[index] }),
        }
    }
}

impl Values {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Reals { values, .. } => values.len(),
        }
    }

    /// The same values in another order.
    ///
    /// - `of`: place of each value in the present order
    pub(crate) fn reordered(&self, of: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(of.map(|place| bytes[place]).collect()),
            Self::Reals { values, are_whole } => {
                Self::Reals { values: of.map(|place| values[place]).collect(), are_whole: *are_whole }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_and_order_are_the_numbers_they_are() {
        let whole = |element: Element, order, bytes: &[u8]| element.labels(order, bytes, "x").unwrap();
        assert_eq!(whole(Element::I8, Order::Little, &[0xff, 3]), [-1, 3]);
        assert_eq!(whole(Element::U16, Order::Little, &[0, 1]), [256]);
        assert_eq!(whole(Element::U16, Order::Big, &[0, 1]), [1]);
        assert_eq!(whole(Element::I16, Order::Big, &[0xff, 0xfe]), [-2]);
        assert_eq!(whole(Element::I32, Order::Big, &[0, 0, 1, 2]), [258]);
        assert_eq!(whole(Element::U64, Order::Little, &[0xff; 8]), [i128::from(u64::MAX)]);
        assert_eq!(whole(Element::F32, Order::Big, &7_f32.to_be_bytes()), [7]);
        let half = whole(Element::F16, Order::Little, &f16::from_f32(9.0).to_le_bytes());
        assert_eq!((half, whole(Element::Bf16, Order::Little, &bf16::from_f32(9.0).to_le_bytes())), (vec![9], vec![9]));
        let error = Element::F64.labels(Order::Little, &[1.0, 2.5].map(f64::to_le_bytes).concat(), "x").unwrap_err();
        assert!(matches!(error, DatasetError::LabelNotWhole { index: 1, value: 2.5, .. }), "{error}");
        let error = Element::F64.labels(Order::Little, &f64::NAN.to_le_bytes(), "x").unwrap_err();
        assert!(matches!(error, DatasetError::LabelNotWhole { index: 0, .. }), "{error}");
    }

    #[test]
    fn whole_numbers_up_to_255_are_bytes_and_all_others_are_kept_as_they_are() {
        let values = |element: Element, bytes: Vec<u8>| element.values(Order::Little, bytes, "x", 1).unwrap();
        assert_eq!(values(Element::Bool, vec![0, 1]), Values::Bytes(vec![0, 1]));
        let long = [0, 255].map(i64::to_le_bytes).concat();
        assert_eq!(values(Element::I64, long), Values::Bytes(vec![0, 255]));
        let wide = [0, 256].map(u16::to_le_bytes).concat();
        assert_eq!(values(Element::U16, wide), Values::Reals { values: vec![0.0, 256.0], are_whole: true });
        let negative = [0, -1].map(i32::to_le_bytes).concat();
        assert_eq!(values(Element::I32, negative), Values::Reals { values: vec![0.0, -1.0], are_whole: true });
        let floats = [1.0, 2.0].map(f32::to_le_bytes).concat();
        assert_eq!(values(Element::F32, floats), Values::Reals { values: vec![1.0, 2.0], are_whole: false });
        for bad in [f64::NAN, f64::INFINITY, 1e39] {
            let bytes = [0.0, 0.0, bad, 0.0].map(f64::to_le_bytes).concat();
            let error = Element::F64.values(Order::Little, bytes, "x", 2).unwrap_err();
            assert!(matches!(error, DatasetError::NotFinite { index: 1, .. }), "{error}");
        }
    }
}
