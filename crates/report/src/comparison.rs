//! Which method is ahead, and when nobody can say.
//!
//! Two methods are compared on the same networks and simulation seeds. The unit of replication is the network
//! when there are several (its seeds are averaged first), else the seed. A difference is called only if the 95 %
//! interval of the mean paired difference (Student's t) leaves out zero; all else is a tie. The choice of test
//! images is not part of that interval.

use crate::method::{Key, Method};
use crate::statistic::{half_width, summarise};

/// Outcome of comparing two methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The difference is larger than its interval.
    Different,
    /// The interval of the difference contains zero.
    Tie,
    /// There is no spread to judge by: a single observation, no common ones, or identical repetitions.
    Unknown,
}

/// Compares paired observations.
pub(crate) fn compare(a: &[(Key<'_>, f64)], b: &[(Key<'_>, f64)]) -> Verdict {
    difference(a, b).map_or(Verdict::Unknown, |(_, verdict)| verdict)
}

/// Mean of `a − b` over common keys, and whether it can be told from zero; `None` without common keys.
pub(crate) fn difference(a: &[(Key<'_>, f64)], b: &[(Key<'_>, f64)]) -> Option<(f64, Verdict)> {
    let differences: Vec<(&str, f64)> =
        a.iter().filter_map(|(key, x)| b.iter().find(|(other, _)| other == key).map(|(_, y)| (key.0, x - y))).collect();
    let mut networks: Vec<&str> = differences.iter().map(|(network, _)| *network).collect();
    networks.sort_unstable();
    networks.dedup();
    let units: Vec<f64> = if networks.len() > 1 {
        networks
            .iter()
            .filter_map(|n| summarise(differences.iter().filter(|(d, _)| d == n).map(|(_, x)| *x)).map(|s| s.mean))
            .collect()
    } else {
        differences.iter().map(|(_, x)| *x).collect()
    };
    let summary = summarise(units)?;
    let verdict = match half_width(&summary) {
        Some(half) if summary.mean == 0.0 || summary.mean.abs() <= half => Verdict::Tie,
        Some(half) if half > 0.0 => Verdict::Different,
        _ => Verdict::Unknown,
    };
    Some((summary.mean, verdict))
}

/// The method with the highest mean accuracy at a step, and how sure that is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leader {
    /// Index of the method with the highest mean.
    pub best: usize,
    /// Methods that cannot be told from it.
    pub tied: Vec<usize>,
    /// Methods for which there is no spread to judge by.
    pub unknown: Vec<usize>,
}

/// Finds the leader at a step; `None` if no method has a value there.
pub(crate) fn leader(methods: &[Method<'_>], step: usize) -> Option<Leader> {
    let mut ranked: Vec<(usize, f64)> =
        methods.iter().enumerate().filter_map(|(i, m)| m.accuracy(step).map(|s| (i, s.mean))).collect();
    // Stable: the first in the configuration's order leads among equals.
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (&(best, _), others) = ranked.split_first()?;
    let top = methods[best].accuracy_at(step);
    let verdict = |i: usize| compare(&top, &methods[i].accuracy_at(step));
    let with = |wanted: Verdict| others.iter().map(|o| o.0).filter(|&i| verdict(i) == wanted).collect();
    Some(Leader { best, tied: with(Verdict::Tie), unknown: with(Verdict::Unknown) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(values: &[(&'static str, u64, f64)]) -> Vec<(Key<'static>, f64)> {
        values.iter().map(|&(n, s, v)| ((n, s), v)).collect()
    }

    #[test]
    fn a_constant_lead_over_noisy_pairs_is_a_difference() {
        let a = observed(&[("a", 1, 0.90), ("a", 2, 0.80), ("a", 3, 0.85)]);
        let b = observed(&[("a", 3, 0.839), ("a", 1, 0.890), ("a", 2, 0.789)]);
        assert_eq!(compare(&a, &b), Verdict::Different);
    }

    #[test]
    fn the_mean_difference_is_that_of_the_networks_however_many_seeds_each_has() {
        let a = observed(&[("a", 1, 0.90), ("a", 2, 0.90), ("b", 1, 0.80)]);
        let b = observed(&[("a", 1, 0.88), ("a", 2, 0.86), ("b", 1, 0.79), ("c", 1, 0.0)]);
        let (mean, verdict) = difference(&a, &b).unwrap();
        assert!((mean - 0.02).abs() < 1e-12 && verdict == Verdict::Tie, "{mean}, {verdict:?}");
        assert_eq!(difference(&a, &[]), None);
    }

    #[test]
    fn a_lead_smaller_than_its_spread_is_a_tie() {
        let a = observed(&[("a", 1, 0.90), ("a", 2, 0.80)]);
        let b = observed(&[("a", 1, 0.88), ("a", 2, 0.81)]);
        assert_eq!(compare(&a, &b), Verdict::Tie);
    }

    #[test]
    fn many_seeds_of_two_disagreeing_networks_do_not_make_a_difference() {
        let mut a = Vec::new();
        let mut b = Vec::new();
        for seed in 0..20 {
            a.extend(observed(&[("a", seed, 0.9), ("b", seed, 0.9)]));
            b.extend(observed(&[("a", seed, 0.85 + 1e-4 * seed as f64), ("b", seed, 0.89)]));
        }
        assert_eq!(compare(&a, &b), Verdict::Tie);
    }

    #[test]
    fn one_observation_or_identical_repetitions_decide_nothing() {
        assert_eq!(compare(&observed(&[("a", 1, 0.9)]), &observed(&[("a", 1, 0.5)])), Verdict::Unknown);
        let (a, b) = (observed(&[("a", 1, 0.9), ("a", 2, 0.9)]), observed(&[("a", 1, 0.5), ("a", 2, 0.5)]));
        assert_eq!(compare(&a, &b), Verdict::Unknown);
        assert_eq!(compare(&a, &[]), Verdict::Unknown);
        assert_eq!(compare(&a, &a), Verdict::Tie);
    }
}
