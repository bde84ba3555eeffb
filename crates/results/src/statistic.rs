//! Means, standard deviations and confidence intervals of small samples.
//!
//! Non-finite values are left out before anything is computed.

/// Mean and spread of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n − 1); `None` for a single value.
    pub sd: Option<f64>,
    /// Number of values.
    pub n: usize,
}

/// Mean and sample standard deviation of the finite values; `None` if there are none.
pub fn summarise(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let sd = (n > 1).then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt());
    Some(Summary { mean, sd, n })
}

/// Probability that an interval covers what it estimates.
pub const CONFIDENCE: f64 = 0.95;

/// Half width of the 95 % confidence interval of a mean, by Student's t; `None` without a spread.
pub fn half_width(summary: &Summary) -> Option<f64> {
    half_width_of(summary, 1)
}

/// Mean over networks and the half width of its 95 % confidence interval, of one value per network and simulation seed.
///
/// The seeds of a network are averaged first: they are not independent of each other. `None` for the width of a single network.
pub fn over_networks(values: &[((&str, u64), f64)]) -> Option<(f64, Option<f64>)> {
    let summary = summarise(by_network(values).into_iter().map(|(_, mean)| mean))?;
    Some((summary.mean, half_width(&summary)))
}

/// Mean over the seeds of each network, sorted by network.
pub fn by_network<'a>(values: &[((&'a str, u64), f64)]) -> Vec<(&'a str, f64)> {
    let mut networks: Vec<&str> = values.iter().map(|((network, _), _)| *network).collect();
    networks.sort_unstable();
    networks.dedup();
    let mean = |n: &str| summarise(values.iter().filter(|(key, _)| key.0 == n).map(|(_, x)| *x)).map(|s| s.mean);
    networks.into_iter().filter_map(|n| Some((n, mean(n)?))).collect()
}

/// The same for one of several intervals that all cover at once with 95 %: each misses with 5 % over their number (Bonferroni).
pub fn half_width_of(summary: &Summary, n_intervals: usize) -> Option<f64> {
    let miss = (1.0 - CONFIDENCE) / n_intervals.max(1) as f64;
    summary.sd.map(|sd| student_t(miss, summary.n - 1) * sd / (summary.n as f64).sqrt())
}

/// Probability of a mean at least as far from zero if the true one is zero, by Student's t, two-sided.
///
/// `None` without a spread: for a single value, and for identical ones other than zero.
pub fn p_value(summary: &Summary) -> Option<f64> {
    let sd = summary.sd?;
    if summary.mean == 0.0 {
        return Some(1.0);
    }
    // Differences of accuracies are multiples of 1/N; what rounding adds to identical ones is no spread.
    if sd <= 1e-12 * summary.mean.abs() {
        return None;
    }
    Some(two_sided(summary.mean / (sd / (summary.n as f64).sqrt()), summary.n - 1))
}

/// Which of several hypotheses are rejected so that the chance of any false rejection stays at 5 %: Holm's step-down procedure.
///
/// From the smallest p on, the i-th of m (from 0) is rejected while p ≤ 0.05 / (m − i); the first that is not ends it.
///
/// Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
pub fn holm(p_values: &[f64]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut rejected = vec![false; p_values.len()];
    for (rank, &idx) in order.iter().enumerate() {
        if p_values[idx] > (1.0 - CONFIDENCE) / (p_values.len() - rank) as f64 {
            break;
        }
        rejected[idx] = true;
    }
    rejected
}

/// The t that is exceeded in magnitude with a given probability: bisection of [`two_sided`], to the last bits of an f64.
fn student_t(probability: f64, degrees: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while two_sided(high, degrees) > probability {
        high *= 2.0;
    }
    // Each halves the interval; after 200 its ends are neighbours or equal.
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if two_sided(middle, degrees) > probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Probability that Student's t exceeds a magnitude.
fn two_sided(t: f64, degrees: usize) -> f64 {
    2.0 * upper_tail(t.abs(), degrees)
}

/// Probability that Student's t is above `x`, to some 10⁻¹⁵ (absolute: of smaller tails only the size is known).
///
/// The finite sums for whole degrees of freedom, Abramowitz & Stegun 26.7.3 and 26.7.4.
///
/// - `degrees`: ν ≥ 1
pub fn upper_tail(x: f64, degrees: usize) -> f64 {
    let nu = degrees as f64;
    let (sine, square) = (x / (nu + x * x).sqrt(), nu / (nu + x * x));
    // Even ν: 1 + ½ c² + ½ ¾ c⁴ + … up to c^(ν − 2); odd: c + ⅔ c³ + … up to the same.
    let odd = degrees % 2;
    let mut term = if odd == 1 { square.sqrt() } else { 1.0 };
    let mut sum = 0.0;
    for power in (odd..degrees.saturating_sub(1)).step_by(2) {
        sum += term;
        term *= square * (power + 1) as f64 / (power + 2) as f64;
    }
    let between =
        if odd == 1 { 2.0 / std::f64::consts::PI * ((x / nu.sqrt()).atan() + sine * sum) } else { sine * sum };
    (1.0 - between) / 2.0
}

/// Pearson correlation of the finite pairs; `None` if undefined.
pub fn correlation<I: IntoIterator<Item = [f64; 2]>>(pairs: I) -> Option<f64>
where
    I::IntoIter: Clone,
{
    let pairs = pairs.into_iter().filter(|pair| pair.iter().all(|value| value.is_finite()));
    let n = pairs.clone().count() as f64;
    let mean = |i: usize| pairs.clone().map(|pair| pair[i]).sum::<f64>() / n;
    let (mx, my) = (mean(0), mean(1));
    let sum = |f: fn(f64, f64) -> f64| pairs.clone().map(|[x, y]| f(x - mx, y - my)).sum::<f64>();
    let r = sum(|x, y| x * y) / (sum(|x, _| x * x) * sum(|_, y| y * y)).sqrt();
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

    /// Half of the last digit of the printed table.
    const TABLE: f64 = 0.0005;

    #[test]
    fn quantiles_are_those_of_the_printed_table() {
        let table = [(1, 12.706), (2, 4.303), (4, 2.776), (8, 2.306), (30, 2.042), (60, 2.000), (120, 1.980)];
        for (degrees, t) in table {
            assert!((student_t(0.05, degrees) - t).abs() <= TABLE, "{degrees}");
        }
        // Closed forms: t = tan(π/2 · (1 − p)) for ν = 1, and t = (1 − p) √(2 / (p (2 − p))) for ν = 2.
        for p in [0.5_f64, 0.05, 0.05 / 12.0, 1e-6] {
            let (one, two) =
                ((std::f64::consts::FRAC_PI_2 * (1.0 - p)).tan(), (1.0 - p) * (2.0 / (p * (2.0 - p))).sqrt());
            assert!((student_t(p, 1) / one - 1.0).abs() < 1e-9, "{p}");
            assert!((student_t(p, 2) / two - 1.0).abs() < 1e-9, "{p}");
        }
    }

    /// What a tail of Student's t is off: a few roundings of numbers up to one.
    const TAIL: f64 = 2e-15;

    #[test]
    fn tails_of_students_t_are_those_of_the_tables() {
        /// Half of the last digit of a quantile, times a density of 0.08 at most there.
        const THREE_DECIMALS: f64 = 0.0005 * 0.08;
        // Two-sided 95 % and one-sided 99.95 % quantiles.
        for (degrees, x, tail) in [(1, 12.706, 0.025), (2, 4.303, 0.025), (5, 2.571, 0.025), (30, 2.042, 0.025)] {
            assert!((upper_tail(x, degrees) - tail).abs() < THREE_DECIMALS, "{degrees}: {}", upper_tail(x, degrees));
        }
        for (degrees, x) in [(3, 12.924), (4, 8.610), (10, 4.587), (120, 3.373)] {
            assert!((upper_tail(x, degrees) - 0.0005).abs() < THREE_DECIMALS, "{degrees}: {}", upper_tail(x, degrees));
        }
        // ν = 1 is Cauchy's; ν = 2 has a closed form; many degrees are nearly normal.
        assert!((upper_tail(1.0, 1) - 0.25).abs() < 1e-15);
        assert!((upper_tail(3.0, 2) - (0.5 - 3.0 / (2.0 * 11.0_f64.sqrt()))).abs() < 1e-15);
        assert!((upper_tail(1.959_964, 100_000) - 0.025).abs() < 1e-5);
        assert!((upper_tail(-1.3, 7) + upper_tail(1.3, 7) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn probabilities_are_those_of_another_implementation() {
        // scipy 1.17.1: 2 * scipy.stats.t.sf(t, nu)
        let cases = [
            (0.5, 1, 0.704_832_764_699_133_5),
            (2.5, 4, 0.066_766_544_811_988_14),
            (12.0, 2, 0.006_872_933_677_158_46),
            (1.0, 9, 0.343_436_396_137_913_6),
            (4.0, 29, 0.000_400_063_945_652_491_73),
            (2.2, 199, 0.028_958_094_783_635_57),
            (60.0, 4, 4.621_068_727_635_128e-7),
        ];
        for (t, degrees, p) in cases {
            assert!((two_sided(t, degrees) - p).abs() < TAIL, "{t} {degrees}: {}", two_sided(t, degrees));
        }
        assert_eq!(two_sided(0.0, 3), 1.0);
    }

    #[test]
    fn three_values_have_the_half_width_of_the_t_table() {
        let s = summarise([1.0, 2.0, 3.0]).unwrap();
        assert!((half_width(&s).unwrap() - 4.303 / 3f64.sqrt()).abs() < TABLE);
        // One of twelve: t(1 − 0.05/24, 2), by the closed form.
        let p: f64 = 0.05 / 12.0;
        let t = (1.0 - p) * (2.0 / (p * (2.0 - p))).sqrt();
        assert!((half_width_of(&s, 12).unwrap() - t / 3f64.sqrt()).abs() < 1e-6);
        // t = 2 / (1/√3) = 3.464 with two degrees of freedom.
        assert!((p_value(&s).unwrap() - 0.074_179_900).abs() < 1e-8);
        assert_eq!(
            (p_value(&summarise([2.0, 2.0]).unwrap()), p_value(&summarise([0.0, 0.0]).unwrap())),
            (None, Some(1.0))
        );
    }

    #[test]
    fn holm_rejects_from_the_smallest_on_until_the_first_that_stands() {
        // The bounds are 0.0125, 0.0167, 0.025, 0.05: the third stands, and so does the fourth after it.
        assert_eq!(holm(&[0.03, 0.01, 0.04, 0.015]), [false, true, false, true]);
        assert_eq!(holm(&[0.01, 0.04, 0.02]), [true, true, true]);
        assert_eq!(holm(&[0.02, 0.02, 0.02]), [false; 3]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn seeds_of_a_network_count_as_one() {
        let values = [(("a", 0), 0.0), (("b", 0), 2.0), (("a", 1), 2.0), (("c", 0), 3.0)];
        let (mean, half) = over_networks(&values).unwrap();
        assert!((mean - 2.0).abs() < ROUNDING && (half.unwrap() - 4.303 / 3f64.sqrt()).abs() < TABLE);
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
