//! Places: neurons in the order in which a convolution reads them, the channels of a position side by side.

/// Rows and columns that are turned over together, as many as a line of the cache holds of floats.
const TILE: usize = 16;

/// Membrane potentials of a layer, which are turned into the order of its neurons when they are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Potentials {
    shape: [usize; 3],
    by_place: Vec<f32>,
}

impl Potentials {
    /// - `by_place`: what lies behind the last place is left out
    #[inline]
    pub fn of_places(shape: [usize; 3], mut by_place: Vec<f32>) -> Self {
        by_place.truncate(shape.iter().product());
        Self { shape, by_place }
    }

    /// Of potentials in the order of neurons, `[C, H, W]`.
    #[inline]
    pub fn of_neurons(shape: [usize; 3], potentials: &[f32]) -> Self {
        Self { shape, by_place: by_place(shape, potentials) }
    }

    /// In thresholds, `[C, H, W]`.
    #[inline]
    pub fn by_neuron(&self) -> Vec<f32> {
        by_neuron(self.shape, &self.by_place)
    }
}

/// Values by place, out of values by neuron.
#[inline]
pub fn by_place<T: Copy>(shape: [usize; 3], by_neuron: &[T]) -> Vec<T> {
    transposed(by_neuron, [shape[0], shape[1] * shape[2]])
}

/// Values by neuron, out of values by place; those behind the last place are left out.
#[inline]
pub fn by_neuron<T: Copy>(shape: [usize; 3], by_place: &[T]) -> Vec<T> {
    let (channels, n_positions) = (shape[0], shape[1] * shape[2]);
    transposed(&by_place[..channels * n_positions], [n_positions, channels])
}

/// - `values`: `[rows, columns]`
/// - returns `[columns, rows]`
fn transposed<T: Copy>(values: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    let mut turned = values.to_vec();
    if rows == 1 || columns == 1 {
        return turned;
    }
    for first_row in (0..rows).step_by(TILE) {
        for first in (0..columns).step_by(TILE) {
            for column in first..columns.min(first + TILE) {
                let to = &mut turned[column * rows..][..rows];
                for row in first_row..rows.min(first_row + TILE) {
                    to[row] = values[row * columns + column];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_last() {
        let neurons = [1, 2, 3, 4, 5, 6];
        let places = by_place([2, 1, 3], &neurons);
        assert_eq!(places, [1, 4, 2, 5, 3, 6]);
        assert_eq!(by_neuron([2, 1, 3], &places), neurons);
        let (shape, neurons) = ([40, 3, 7], (0..840).collect::<Vec<_>>());
        let places = by_place(shape, &neurons);
        assert!((0..840).all(|place| places[place] == place % 40 * 21 + place / 40));
        assert_eq!(by_neuron(shape, &places), neurons);
        let neurons = [1, 2, 3, 4, 5, 6];
        for shape in [[6, 1, 1], [1, 2, 3]] {
            assert_eq!(by_place(shape, &neurons), neurons);
            assert_eq!(by_neuron(shape, &[1, 2, 3, 4, 5, 6, 0, 0]), neurons);
        }
    }
}
