//! Which method is ahead, and when nobody can say.
//!
//! Two methods are compared on the same networks. The unit of replication is the network when there are several (its
//! simulation seeds are averaged first), else the seed. A difference is called only if the 95 %
//! interval of the mean paired difference (Student's t) leaves out zero; all else is a tie. Where one method is compared with
//! several at once, Holm's correction keeps the chance of any false call at 5 %, if that one was chosen beforehand; a leader is
//! chosen by the same numbers, and calls are more often false than that. The choice of test images is not part of that.

use crate::method::{Key, Method};
use crate::statistic::{Summary, by_network, half_width, holm, p_value, summarise};

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
    paired(a, b).map_or(Verdict::Unknown, |difference| verdict(&difference))
}

/// Whether a mean difference can be told from zero, seen alone.
pub(crate) fn verdict(difference: &Summary) -> Verdict {
    match half_width(difference) {
        Some(half) if difference.mean == 0.0 || difference.mean.abs() <= half => Verdict::Tie,
        Some(_) if p_value(difference).is_some() => Verdict::Different,
        _ => Verdict::Unknown,
    }
}

/// Which of several mean differences can be told from zero at once, by Holm's procedure.
pub(crate) fn verdicts(differences: &[Option<Summary>]) -> Vec<Verdict> {
    let p_values: Vec<Option<f64>> = differences.iter().map(|d| d.as_ref().and_then(p_value)).collect();
    let known: Vec<f64> = p_values.iter().copied().flatten().collect();
    let mut rejected = holm(&known).into_iter();
    p_values
        .iter()
        .map(|p| match p {
            None => Verdict::Unknown,
            Some(_) if rejected.next().expect("one for each that is known") => Verdict::Different,
            Some(_) => Verdict::Tie,
        })
        .collect()
}

/// Mean and spread of `a − b` over the units of replication; `None` if none is common to both.
///
/// With several networks in common, the difference of a network is that of the means over the seeds that each method has: one
/// seed is all that a deterministic input coding has. With a single one, differences are those at common seeds.
pub(crate) fn paired(a: &[(Key<'_>, f64)], b: &[(Key<'_>, f64)]) -> Option<Summary> {
    let (of_a, of_b) = (by_network(a), by_network(b));
    let common: Vec<f64> = of_a
        .iter()
        .filter_map(|(network, mean)| of_b.iter().find(|(other, _)| other == network).map(|(_, other)| mean - other))
        .collect();
    if common.len() > 1 {
        return summarise(common);
    }
    let at_seeds = a.iter().filter_map(|(key, x)| b.iter().find(|(other, _)| other == key).map(|(_, y)| x - y));
    summarise(at_seeds)
}

/// One value per unit of replication: the means of the networks if there are several, else the values as they are.
pub(crate) fn units(values: &[(Key<'_>, f64)]) -> Vec<f64> {
    let networks = by_network(values);
    if networks.len() < 2 {
        return values.iter().map(|(_, x)| *x).collect();
    }
    networks.into_iter().map(|(_, mean)| mean).collect()
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

/// Finds the leader at a step, all comparisons with it taken together; `None` if no method has a value there.
pub(crate) fn leader(methods: &[Method<'_>], step: usize) -> Option<Leader> {
    let mut ranked: Vec<(usize, f64)> =
        methods.iter().enumerate().filter_map(|(i, m)| m.accuracy(step).map(|s| (i, s.mean))).collect();
    // Stable: the first in the configuration's order leads among equals.
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (&(best, _), others) = ranked.split_first()?;
    let top = methods[best].accuracy_at(step);
    let differences: Vec<Option<Summary>> =
        others.iter().map(|&(i, _)| paired(&top, &methods[i].accuracy_at(step))).collect();
    let verdicts = verdicts(&differences);
    let with = |wanted: Verdict| {
        others.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == wanted).map(|((i, _), _)| *i).collect()
    };
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
        let difference = paired(&a, &b).unwrap();
        assert!((difference.mean - 0.02).abs() < 1e-12 && verdict(&difference) == Verdict::Tie, "{difference:?}");
        assert_eq!(difference.n, 2, "two networks, whatever the number of seeds");
        assert_eq!(paired(&a, &[]), None);
    }

    #[test]
    fn a_method_with_one_seed_is_compared_with_the_mean_over_the_seeds_of_another() {
        // Seed 1 is unlucky in both networks; the method of one seed does not depend on it.
        let random = observed(&[("a", 1, 0.90), ("a", 2, 0.94), ("b", 1, 0.91), ("b", 2, 0.95)]);
        let steady = observed(&[("a", 1, 0.92), ("b", 1, 0.93)]);
        let difference = paired(&random, &steady).unwrap();
        assert!(difference.mean.abs() < 1e-12 && difference.n == 2, "{difference:?}");
        // In a single network nothing tells a seed's luck from the method.
        assert_eq!(compare(&random[..2], &steady[..1]), Verdict::Unknown);
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
    fn what_is_a_difference_alone_may_be_a_tie_among_many_comparisons() {
        // t = 4.9 with two degrees of freedom: p = 0.039.
        let borderline = summarise([0.03, 0.02, 0.04].map(|x| x - 0.001_7)).unwrap();
        let clear = summarise([0.300, 0.301, 0.302]).unwrap();
        assert_eq!(verdict(&borderline), Verdict::Different);
        assert_eq!(verdicts(&[Some(borderline)]), [Verdict::Different]);
        let verdicts = verdicts(&[Some(borderline), None, Some(clear), Some(borderline)]);
        assert_eq!(verdicts, [Verdict::Tie, Verdict::Unknown, Verdict::Different, Verdict::Tie]);
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
