//! Numbers as text, with no more digits than they deserve.
//!
//! Missing and non-finite values are all written [`MISSING`], so that no page ever says `NaN`.

use results::statistic::{Summary, half_width};

/// What stands where there is no value.
pub(crate) const MISSING: &str = "–";

/// Accuracies are given to 0.01 points from this many test samples on, where one sample weighs at most 0.05
/// points; below it to 0.1 points.
const SAMPLES_FOR_TWO_DECIMALS: usize = 2000;

/// Decimals of an accuracy in percent that was measured on `n_test` samples.
pub(crate) fn accuracy_decimals(n_test: usize) -> usize {
    if n_test >= SAMPLES_FOR_TWO_DECIMALS { 2 } else { 1 }
}

/// A number with a fixed count of decimals and a true minus sign.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        // A rounded zero has no sign.
        Some(digits) if digits.bytes().all(|b| matches!(b, b'0' | b'.')) => digits.to_owned(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// A share in [0, 1] as percent without the sign.
pub(crate) fn percent(share: f64, decimals: usize) -> String {
    fixed(share * 100.0, decimals)
}

/// Mean and standard deviation of shares in [0, 1], as percent: `86.12 ± 0.21`, or the mean alone.
pub(crate) fn percent_summary(summary: Option<Summary>, decimals: usize) -> String {
    summary.map_or_else(
        || MISSING.to_owned(),
        |s| match s.sd {
            Some(sd) => format!("{} ± {}", percent(s.mean, decimals), percent(sd, decimals)),
            None => percent(s.mean, decimals),
        },
    )
}

/// Mean of shares in [0, 1] with its 95 % confidence interval, as percent: `86.12 [85.90, 86.34]`, or the mean alone.
///
/// - `summary`: over the units of replication
pub(crate) fn interval(summary: Option<Summary>, decimals: usize) -> String {
    let Some(summary) = summary else { return MISSING.to_owned() };
    let mean = percent(summary.mean, decimals);
    half_width(&summary).map_or_else(
        || mean.clone(),
        |half| {
            let ends = [summary.mean - half, summary.mean + half].map(|end| percent(end, decimals));
            format!("{mean} [{}]", ends.join(", "))
        },
    )
}

/// Mean and standard deviation with a fixed count of decimals: `4.36 ± 0.05`, or the mean alone.
pub(crate) fn number_summary(summary: Option<Summary>, decimals: usize) -> String {
    summary.map_or_else(
        || MISSING.to_owned(),
        |s| match s.sd {
            Some(sd) => format!("{} ± {}", fixed(s.mean, decimals), fixed(sd, decimals)),
            None => fixed(s.mean, decimals),
        },
    )
}

/// A number with three significant digits: `0.0312`, `4.57`, `1230`, `3.1×10⁻⁵`.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor() as i32;
    if (-4..6).contains(&exponent) {
        fixed(value, usize::try_from(2 - exponent).unwrap_or(0))
    } else {
        format!("{}×10{}", fixed(value / 10f64.powi(exponent), 1), superscript(exponent))
    }
}

/// An optional number with three significant digits.
pub(crate) fn significant_or_missing(value: Option<f64>) -> String {
    value.map_or_else(|| MISSING.to_owned(), significant)
}

/// An optional number with a fixed count of decimals.
pub(crate) fn fixed_or_missing(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| MISSING.to_owned(), |v| fixed(v, decimals))
}

/// A count with three significant digits and a metric prefix: `812`, `45.1 k`, `1.23 M`.
pub(crate) fn count(value: f64) -> String {
    scaled(value, &[(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, "")])
}

/// Mean and standard deviation of counts, in the mean's unit: `1.23 ± 0.02 M`.
pub(crate) fn count_summary(summary: Option<Summary>) -> String {
    let Some(summary) = summary else { return MISSING.to_owned() };
    let Some(sd) = summary.sd else { return count(summary.mean) };
    for (unit, name) in [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, "")] {
        if summary.mean.abs() >= unit {
            let mean = summary.mean / unit;
            let mut decimals = usize::try_from(2 - mean.abs().log10().floor() as i32).unwrap_or(0);
            // Up to two more digits where the spread would else be shown as none.
            let sd_digit = -(sd / unit).log10().floor();
            if sd_digit.is_finite() && sd_digit > decimals as f64 {
                decimals = decimals.max((decimals + 2).min(sd_digit as usize));
            }
            return format!("{} ± {}{name}", fixed(mean, decimals), fixed(sd / unit, decimals));
        }
    }
    format!("{} ± {}", significant(summary.mean), significant(sd))
}

/// An energy in picojoule with three significant digits and a fitting unit.
pub(crate) fn energy(value_pj: f64) -> String {
    scaled(value_pj, &[(1e12, " J"), (1e9, " mJ"), (1e6, " µJ"), (1e3, " nJ"), (1.0, " pJ")])
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    for (unit, name) in units {
        if value.abs() >= *unit {
            return format!("{}{name}", significant(value / unit));
        }
    }
    format!("{}{}", significant(value), units.last().map_or("", |u| u.1))
}

/// A power of two as such (`2⁻¹²`), any other number with three significant digits.
pub(crate) fn grid_step(value: f64) -> String {
    if !value.is_finite() || value <= 0.0 {
        return MISSING.to_owned();
    }
    let exponent = value.log2().round();
    if exponent.exp2().to_bits() == value.to_bits() {
        format!("2{}", superscript(exponent as i32))
    } else {
        significant(value)
    }
}

fn superscript(exponent: i32) -> String {
    exponent
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
        })
        .collect()
}

/// An integer with thin spaces between groups of three digits.
pub(crate) fn integer(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Names as an English list: `a`, `a and b`, `a, b and c`; names that have commas themselves are parted by semicolons.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let (comma, and) = parts(names);
            format!("{}{and}{}", first.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(comma), last.as_ref())
        }
    }
}

/// What parts the names of a list, and the last one from the others.
fn parts<S: AsRef<str>>(names: &[S]) -> (&'static str, &'static str) {
    if names.iter().any(|name| name.as_ref().contains(", ")) { ("; ", "; and ") } else { (", ", " and ") }
}

/// The first few names of a longer list: `a, b, c and 4 others`.
pub(crate) fn some_of<S: AsRef<str>>(names: &[S], most: usize) -> String {
    // One more name is no longer than "1 other".
    if names.len() <= most + 1 {
        return list(names);
    }
    let shown: Vec<&str> = names[..most].iter().map(AsRef::as_ref).collect();
    let (comma, and) = parts(&shown);
    format!("{}{and}{} others", shown.join(comma), names.len() - most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_significant_digits() {
        let cases = [
            (0.031_24, "0.0312"),
            (4.567, "4.57"),
            (-45.67, "−45.7"),
            (1234.4, "1234"),
            (3.12e-5, "3.1×10⁻⁵"),
            (2.5e7, "2.5×10⁷"),
            (0.0, "0"),
            (f64::NAN, MISSING),
        ];
        for (value, text) in cases {
            assert_eq!(significant(value), text);
        }
    }

    #[test]
    fn counts_and_energies_take_a_fitting_unit() {
        assert_eq!(count(812.0), "812");
        assert_eq!(count(45_120.0), "45.1 k");
        assert_eq!(count(1_234_000.0), "1.23 M");
        assert_eq!(energy(3_075_000.0), "3.08 µJ");
    }

    #[test]
    fn a_small_spread_gets_up_to_two_more_digits() {
        let text = |sd| count_summary(Some(Summary { mean: 1_234_000.0, sd: Some(sd), n: 3 }));
        assert_eq!(text(15_000.0), "1.23 ± 0.01 M");
        assert_eq!(text(2_000.0), "1.234 ± 0.002 M");
        assert_eq!(text(1.0), "1.2340 ± 0.0000 M");
        assert_eq!(text(0.0), "1.23 ± 0.00 M");
    }

    #[test]
    fn a_rounded_zero_has_no_sign() {
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(fixed(-0.01, 2), "−0.01");
    }

    #[test]
    fn grid_steps_are_powers_of_two() {
        assert_eq!(grid_step(1.0 / 4096.0), "2⁻¹²");
        assert_eq!(grid_step(0.3), "0.300");
        assert_eq!(grid_step(0.0), MISSING);
    }

    #[test]
    fn percentages_show_a_spread_only_when_there_is_one() {
        assert_eq!(percent_summary(Some(Summary { mean: 0.8612, sd: Some(0.0021), n: 3 }), 2), "86.12 ± 0.21");
        assert_eq!(percent_summary(Some(Summary { mean: 0.8612, sd: None, n: 1 }), 1), "86.1");
        assert_eq!(percent_summary(None, 1), MISSING);
    }

    #[test]
    fn an_interval_is_not_a_standard_deviation() {
        // t(0.975, 2) = 4.303, over the root of three networks.
        assert_eq!(interval(Some(Summary { mean: 0.8612, sd: Some(0.001), n: 3 }), 2), "86.12 [85.87, 86.37]");
        assert_eq!(interval(Some(Summary { mean: 0.8612, sd: None, n: 1 }), 1), "86.1");
        assert_eq!(interval(None, 1), MISSING);
    }

    #[test]
    fn lists_read_as_english() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list(&["a, 1", "a, 2", "b"]), "a, 1; a, 2; and b");
        assert_eq!(some_of(&["a", "b", "c"], 2), "a, b and c");
        assert_eq!(some_of(&["a, 1", "b", "c", "d"], 2), "a, 1; b; and 2 others");
        assert_eq!(some_of(&["a", "b", "c", "d"], 2), "a, b and 2 others");
    }
}
