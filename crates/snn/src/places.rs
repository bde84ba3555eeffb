//! Places: neurons in the order in which a convolution reads them, the channels of a position side by side.

/// Values by place, out of values by neuron.
pub(crate) fn by_place<T: Copy>(shape: [usize; 3], by_neuron: &[T]) -> Vec<T> {
    let (channels, n_positions) = (shape[0], shape[1] * shape[2]);
    if channels == 1 || n_positions == 1 {
        return by_neuron.to_vec();
    }
    let neurons = (0..n_positions).flat_map(|position| (0..channels).map(move |c| c * n_positions + position));
    neurons.map(|neuron| by_neuron[neuron]).collect()
}

/// Values by neuron, out of values by place; those behind the last place are left out.
pub(crate) fn by_neuron<T: Copy>(shape: [usize; 3], by_place: &[T]) -> Vec<T> {
    let (channels, n_positions) = (shape[0], shape[1] * shape[2]);
    if channels == 1 || n_positions == 1 {
        return by_place[..channels * n_positions].to_vec();
    }
    let places = (0..channels).flat_map(|channel| (0..n_positions).map(move |p| p * channels + channel));
    places.map(|place| by_place[place]).collect()
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
        for shape in [[6, 1, 1], [1, 2, 3]] {
            assert_eq!(by_place(shape, &neurons), neurons);
            assert_eq!(by_neuron(shape, &[1, 2, 3, 4, 5, 6, 0, 0]), neurons);
        }
    }
}
