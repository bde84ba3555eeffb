//! Means, standard deviations and confidence intervals of small samples.
//!
//! Non-finite values are left out before anything is computed.

/// Mean and spread of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n − 1); `None` for a single value.
    pub sd: Option<f64>,
    /// Number of values.
    pub n: usize,
}

/// Mean and sample standard deviation of the finite values; `None` if there are none.
pub(crate) fn summarise(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let sd = (n > 1).then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt());
    Some(Summary { mean, sd, n })
}

/// Half width of the 95 % confidence interval of a mean, by Student's t; `None` without a spread.
pub(crate) fn half_width(summary: &Summary) -> Option<f64> {
    summary.sd.map(|sd| student_t(summary.n - 1) * sd / (summary.n as f64).sqrt())
}

/// Mean over networks and the half width of its 95 % confidence interval, of one value per network and simulation seed.
///
/// The seeds of a network are averaged first: they are not independent of each other. `None` for the width of a single network.
pub(crate) fn over_networks(values: &[((&str, u64), f64)]) -> Option<(f64, Option<f64>)> {
    let mut networks: Vec<&str> = values.iter().map(|((network, _), _)| *network).collect();
    networks.sort_unstable();
    networks.dedup();
    let of = |network: &&str| summarise(values.iter().filter(|((n, _), _)| n == network).map(|(_, v)| *v));
    let summary = summarise(networks.iter().filter_map(|network| Some(of(network)?.mean)))?;
    Some((summary.mean, half_width(&summary)))
}

/// Two-sided 95 % quantile of Student's t.
fn student_t(degrees: usize) -> f64 {
    /// t(0.975, ν) for ν = 1..=30; the standard table, three decimals.
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    /// Limit for many degrees of freedom; beyond the table it is 4 % too small at worst.
    const NORMAL: f64 = 1.960;
    degrees.checked_sub(1).and_then(|i| TABLE.get(i)).copied().unwrap_or(NORMAL)
}

/// Pearson correlation of the finite pairs; `None` if undefined.
pub fn correlation(pairs: impl IntoIterator<Item = [f64; 2]>) -> Option<f64> {
    let pairs: Vec<[f64; 2]> = pairs.into_iter().filter(|p| p.iter().all(|v| v.is_finite())).collect();
    let n = pairs.len() as f64;
    let mean = |i: usize| pairs.iter().map(|p| p[i]).sum::<f64>() / n;
    let (mx, my) = (mean(0), mean(1));
    let sum = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|p| f(p[0] - mx, p[1] - my)).sum::<f64>();
    let r = sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    r.is_finite().then_some(r)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of a few f64 operations on numbers near one.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn spread_is_the_sample_standard_deviation() {
        let s = summarise([1.0, 2.0, f64::NAN, 3.0]).unwrap();
        assert_eq!(s.n, 3);
        assert!((s.mean - 2.0).abs() < ROUNDING);
        assert!((s.sd.unwrap() - 1.0).abs() < ROUNDING);
    }

    #[test]
    fn one_value_has_no_spread_and_none_has_no_mean() {
        assert_eq!(summarise([4.0]), Some(Summary { mean: 4.0, sd: None, n: 1 }));
        assert_eq!(summarise([f64::INFINITY]), None);
    }

    #[test]
    fn three_values_have_the_half_width_of_the_t_table() {
        let s = summarise([1.0, 2.0, 3.0]).unwrap();
        assert!((half_width(&s).unwrap() - 4.303 / 3f64.sqrt()).abs() < ROUNDING);
    }

    #[test]
    fn seeds_of_a_network_count_as_one() {
        let values = [(("a", 0), 0.0), (("b", 0), 2.0), (("a", 1), 2.0), (("c", 0), 3.0)];
        let (mean, half) = over_networks(&values).unwrap();
        assert!((mean - 2.0).abs() < ROUNDING && (half.unwrap() - 4.303 / 3f64.sqrt()).abs() < ROUNDING);
        assert_eq!(over_networks(&values[..1]), Some((0.0, None)));
        assert_eq!(over_networks(&[]), None);
    }

    #[test]
    fn correlation_of_a_line_is_one_and_of_a_constant_undefined() {
        assert!((correlation([[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]).unwrap() - 1.0).abs() < ROUNDING);
        assert_eq!(correlation([[1.0, 1.0], [1.0, 2.0]]), None);
        assert_eq!(correlation([]), None);
    }
}
