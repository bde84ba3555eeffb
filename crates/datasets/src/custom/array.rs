//! Arrays of samples: which of their axes are channels, rows and columns.

use crate::DatasetError;
use crate::elements::Values;

/// Numbers of channels that pictures have: grey, grey with alpha, colour, colour with alpha.
const OF_PICTURES: [usize; 4] = [1, 2, 3, 4];

/// How the axes of an array of samples are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// `[C, H, W]`
    pub(super) shape: [usize; 3],
    /// Whether the channels are the last axis of the array.
    pub(super) channels_last: bool,
}

impl Layout {
    /// Vectors `[N, n]`, planes `[N, H, W]`, and images `[N, C, H, W]` or `[N, H, W, C]`.
    ///
    /// Where an array of four axes can be read both ways, the shape of the network's input decides, then which of the two axes is as
    /// long as channels of pictures are, the last one first.
    ///
    /// - `array`: shape of the whole array
    /// - `channels_first`: whether the format has no other order
    ///
    /// # Errors
    /// If the array has other axes, or it cannot be told where the channels are.
    pub(super) fn of(
        place: &str,
        array: &[usize],
        channels_first: bool,
        input: Option<[usize; 3]>,
    ) -> Result<Self, DatasetError> {
        let refused = |remedy: &str| {
            Err(DatasetError::Refused {
                place: place.to_owned(),
                found: format!("images are of shape {array:?}"),
                remedy: remedy.to_owned(),
            })
        };
        let (shape, channels_last) = match *array {
            [_, n] => ([n, 1, 1], false),
            [_, height, width] => ([1, height, width], false),
            [_, a, b, c] if channels_first || input == Some([a, b, c]) && input != Some([c, a, b]) => {
                ([a, b, c], false)
            }
            [_, a, b, c] if input == Some([c, a, b]) || OF_PICTURES.contains(&c) => ([c, a, b], true),
            [_, a, b, c] if OF_PICTURES.contains(&a) => ([a, b, c], false),
            [_, _, _, _] => {
                return refused(
                    "not supported: volumes; supported: [N, C, H, W] and [N, H, W, C] with 1 to 4 channels, or as model.input says",
                );
            }
            _ => return refused("supported: [N, C, H, W], [N, H, W, C], [N, H, W] and [N, n]"),
        };
        if array.contains(&0) {
            return Err(DatasetError::Empty { path: place.into() });
        }
        let n_features = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        if n_features.and_then(|n| n.checked_mul(array[0])).is_none() {
            return refused("use fewer or smaller samples");
        }
        Ok(Self { shape, channels_last })
    }

    /// Number of values of a sample.
    pub(super) fn n_features(self) -> usize {
        self.shape.iter().product()
    }

    /// Values `[N, C, H, W]` of those of the array.
    pub(super) fn ordered(self, values: Values) -> Values {
        let [channels, height, width] = self.shape;
        if !self.channels_last || channels == 1 {
            return values;
        }
        let (n_positions, n_features) = (height * width, self.n_features());
        let n_samples = values.len() / n_features;
        let of_sample = move |sample: usize| {
            (0..channels).flat_map(move |channel| {
                (0..n_positions).map(move |position| sample * n_features + position * channels + channel)
            })
        };
        values.reordered((0..n_samples).flat_map(of_sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_where_the_input_says_or_else_where_pictures_have_them() {
        let of = |array: &[usize], input| Layout::of("x", array, false, input).map(|of| (of.shape, of.channels_last));
        assert_eq!(of(&[9, 7], None).unwrap(), ([7, 1, 1], false));
        assert_eq!(of(&[9, 5, 6], None).unwrap(), ([1, 5, 6], false));
        assert_eq!(of(&[9, 28, 28, 3], None).unwrap(), ([3, 28, 28], true));
        assert_eq!(of(&[9, 3, 28, 28], None).unwrap(), ([3, 28, 28], false));
        assert_eq!(of(&[9, 28, 28, 1], None).unwrap(), ([1, 28, 28], true));
        // Both: NumPy's users have channels last, unless the network says otherwise.
        assert_eq!(of(&[9, 1, 28, 3], None).unwrap(), ([3, 1, 28], true));
        assert_eq!(of(&[9, 1, 28, 3], Some([1, 28, 3])).unwrap(), ([1, 28, 3], false));
        assert_eq!(of(&[9, 13, 64, 64], Some([13, 64, 64])).unwrap(), ([13, 64, 64], false));
        assert_eq!(of(&[9, 64, 64, 13], Some([13, 64, 64])).unwrap(), ([13, 64, 64], true));
        assert!(of(&[9, 28, 28, 28], None).unwrap_err().to_string().contains("not supported: volumes"));
        assert!(of(&[9], None).unwrap_err().to_string().contains("images are of shape [9]; supported"));
        assert!(matches!(of(&[0, 4], None), Err(DatasetError::Empty { .. })));
        assert!(of(&[3, usize::MAX], None).is_err());
    }

    #[test]
    fn channels_move_from_last_to_first() {
        // Two samples of one row of two pixels of three channels.
        let layout = Layout { shape: [3, 1, 2], channels_last: true };
        let values = Values::Bytes(vec![1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]);
        assert_eq!(layout.ordered(values), Values::Bytes(vec![1, 4, 2, 5, 3, 6, 11, 14, 12, 15, 13, 16]));
    }
}
