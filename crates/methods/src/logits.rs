//! Logits that spikes can show.
//!
//! A readout from spikes sees positive logits alone. A network whose logits are negative wherever it decides would never be heard; the
//! same number added to all of them changes no decision and lets it.

use crate::activation::{Activations, percentile};

/// Percentile of samples whose logits may stay unheard.
const PERCENT: f64 = 1.0;

/// What to add to all logits so that the second largest of nearly all samples is above zero; `None` where the largest of nearly all are
/// already, as those of most networks.
///
/// - `logits`: on calibration samples
pub fn shift(logits: &Activations) -> Option<f64> {
    let two_largest = |row: &[f32]| {
        let largest = |[first, second]: [f64; 2], value: &f32| {
            let value = f64::from(*value);
            if value > first { [value, first] } else { [first, second.max(value)] }
        };
        row.iter().fold([f64::NEG_INFINITY; 2], largest)
    };
    let all: Vec<[f64; 2]> = logits.values.chunks_exact(logits.n_neurons).map(two_largest).collect();
    let of = |which: usize| percentile(all.iter().map(|two| two[which]).filter(|x| x.is_finite()).collect(), PERCENT);
    if of(0)? > 0.0 { None } else { of(1).map(|second| -second) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_are_raised_where_the_largest_are_negative_and_only_there() {
        let of = |values: &[f32]| shift(&Activations { n_neurons: 3, n_positions: 1, values: values.to_vec() });
        assert_eq!(of(&[1.0, -5.0, -7.0, 0.5, 0.25, -2.0]), None);
        assert_eq!(of(&[-40.0, -48.0, -50.0, -60.0, -42.0, -45.0]), Some(48.0));
        assert_eq!(of(&[]), None);
    }
}
