//! Activations of the trained network on calibration samples, all of them kept.
//!
//! Statistics are taken over whole matrices, so the order and size of batches do not matter.

/// Activations of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Activations {
    /// Number of neurons.
    pub n_neurons: usize,
    /// Number of neurons of a channel; 1 in a fully connected layer.
    pub n_positions: usize,
    /// `[n_samples, n_neurons]`, row-major.
    pub values: Vec<f32>,
}

impl Activations {
    /// Number of channels.
    pub fn n_channels(&self) -> usize {
        self.n_neurons / self.n_positions
    }

    /// The activations of a channel's neurons, sample by sample.
    pub fn of_channel(&self, channel: usize) -> impl Iterator<Item = f64> {
        let own = channel * self.n_positions..(channel + 1) * self.n_positions;
        self.values.chunks_exact(self.n_neurons).flat_map(move |row| &row[own.clone()]).map(|&value| f64::from(value))
    }

    /// Mean activation of each channel, `[C]`.
    pub fn channel_means(&self) -> Vec<f64> {
        let n = (self.values.len() / self.n_channels()) as f64;
        (0..self.n_channels()).map(|channel| self.of_channel(channel).sum::<f64>() / n).collect()
    }

    /// The largest activation of any neuron; 0 if none is positive.
    pub fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |largest: f64, &value| largest.max(f64::from(value)))
    }

    /// Share of (sample, neuron) pairs whose activation exceeds the threshold of the neuron's channel.
    pub fn share_above(&self, thresholds: &[f64]) -> f64 {
        let of_neurons = thresholds.iter().flat_map(|threshold| std::iter::repeat_n(threshold, self.n_positions));
        let pairs = self.values.chunks_exact(self.n_neurons).flat_map(|row| row.iter().zip(of_neurons.clone()));
        let n_above = pairs.filter(|(value, threshold)| f64::from(**value) > **threshold).count();
        n_above as f64 / self.values.len().max(1) as f64
    }
}

/// Nearest-rank percentile: the smallest value that at least `percent` % of the values do not exceed.
///
/// - `percent`: in (0, 100]
/// - returns `None` if there are no values
pub fn percentile(mut values: Vec<f64>, percent: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    // Rounding of percent/100·n must not push a whole rank up by one.
    let rank = (percent / 100.0 * n as f64 - 1e-9).ceil() as usize;
    let (_, &mut value, _) = values.select_nth_unstable_by(rank.clamp(1, n) - 1, f64::total_cmp);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_of_ten_values_are_those_counted_by_hand() {
        let values = || (1..=10).rev().map(f64::from).collect::<Vec<_>>();
        for (percent, expected) in [(100.0, 10.0), (99.9, 10.0), (90.0, 9.0), (90.1, 10.0), (50.0, 5.0), (1.0, 1.0)] {
            assert_eq!(percentile(values(), percent), Some(expected), "{percent}");
        }
        assert_eq!(percentile(Vec::new(), 50.0), None);
    }

    #[test]
    fn shares_and_columns_are_those_counted_by_hand() {
        let activations = Activations { n_neurons: 2, n_positions: 1, values: vec![0.0, 3.0, 1.0, 1.0, 2.0, -1.0] };
        assert_eq!(activations.of_channel(1).collect::<Vec<_>>(), [3.0, 1.0, -1.0]);
        assert_eq!(activations.largest(), 3.0);
        assert!((activations.share_above(&[0.5, 1.0]) - 3.0 / 6.0).abs() < 1e-12);
        let image = Activations { n_neurons: 6, n_positions: 3, values: (0..12).map(|i| i as f32).collect() };
        assert_eq!(image.of_channel(1).collect::<Vec<_>>(), [3.0, 4.0, 5.0, 9.0, 10.0, 11.0]);
        assert!((image.share_above(&[1.5, 9.5]) - 6.0 / 12.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_percentile_leaves_its_share_at_or_below(values in proptest::collection::vec(0.0..9.0_f64, 1..200), percent in 0.1..100.0_f64) {
            let found = percentile(values.clone(), percent).unwrap();
            let share = |keep: &dyn Fn(f64) -> bool| values.iter().filter(|v| keep(**v)).count() as f64 / values.len() as f64;
            prop_assert!(share(&|v| v <= found) >= percent / 100.0 - 1e-9);
            prop_assert!(share(&|v| v < found) < percent / 100.0);
        }
    }
}
