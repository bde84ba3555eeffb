//! Norms of weight vectors.

/// `‖x‖_p = (Σ_i |x_i|^p)^(1/p)`, summed in f64; the largest magnitude for p = ∞.
///
/// - `p`: > 0
pub fn norm(values: impl Iterator<Item = f64> + Clone, p: f64) -> f64 {
    let largest = values.clone().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if largest == 0.0 || p.is_infinite() {
        return largest;
    }
    // Divided by the largest, so that no power over- or underflows for all terms.
    largest * values.map(|value| (value.abs() / largest).powf(p)).sum::<f64>().powf(1.0 / p)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of a few f64 operations.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn norms_of_all_orders_are_those_computed_by_hand() {
        let of = |p| norm([3.0, -4.0].into_iter(), p);
        assert!((of(1.0) - 7.0).abs() < ROUNDING && (of(2.0) - 5.0).abs() < ROUNDING);
        assert!((of(4.0) - 337_f64.powf(0.25)).abs() < ROUNDING);
        assert!((of(f64::INFINITY) - 4.0).abs() < ROUNDING);
        assert!((norm([0.0, 0.0].into_iter(), 4.0)).abs() < ROUNDING);
    }

    #[test]
    fn huge_and_tiny_values_keep_their_norm() {
        for scale in [1e200, 1e-200] {
            assert!((norm([scale, scale].into_iter(), 4.0) / scale - 2_f64.powf(0.25)).abs() < ROUNDING);
        }
    }
}
