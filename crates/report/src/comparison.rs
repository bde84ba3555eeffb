//! Which method is ahead, and when nobody can say.
//!
//! Two methods are compared on the same networks. The unit of replication is the network when there are several (its
//! simulation seeds are averaged first), else the seed. A difference is called only if the 95 %
//! interval of the mean paired difference (Student's t) leaves out zero; all else is a tie. Where several comparisons are made at
//! once, Holm's correction keeps the chance of any false call at 5 %: over the comparisons with one method that was chosen
//! beforehand, over all pairs where the leader is chosen by the same numbers. The choice of test images is not part of that.

use crate::method::{Key, Method};
use results::statistic::{Summary, by_network, half_width, holm, p_value, summarise};

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

/// Whichever of several has the highest mean, and how sure that is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leader {
    /// Index of that with the highest mean.
    pub best: usize,
    /// What cannot be told from it, highest mean first.
    pub tied: Vec<usize>,
    /// For what there is no spread to judge by.
    pub unknown: Vec<usize>,
}

/// Finds the method with the highest mean accuracy at a step; `None` if no method has a value there.
pub(crate) fn leader(methods: &[Method<'_>], step: usize) -> Option<Leader> {
    leader_of(&methods.iter().map(|method| method.accuracy_at(step)).collect::<Vec<_>>())
}

/// Finds the highest mean of several observed on the same networks; `None` if nothing was observed of any.
///
/// Any of them could have come out first, so all pairs are compared, by Holm's procedure over all of them.
pub(crate) fn leader_of(observed: &[Vec<(Key<'_>, f64)>]) -> Option<Leader> {
    let mean =
        |values: &[(Key<'_>, f64)]| summarise(values.iter().map(|(_, value)| *value)).map(|summary| summary.mean);
    let mut ranked: Vec<(usize, f64)> =
        observed.iter().enumerate().filter_map(|(i, values)| Some((i, mean(values)?))).collect();
    // Stable: the first in the order given leads among equals.
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = ranked.first()?.0;
    let mut differences = Vec::with_capacity(ranked.len() * (ranked.len() - 1) / 2);
    for (rank, (higher, _)) in ranked.iter().enumerate() {
        differences.extend(ranked[rank + 1..].iter().map(|(lower, _)| paired(&observed[*higher], &observed[*lower])));
    }
    // The leader's own pairs come first.
    let of_leader: Vec<(usize, Verdict)> = ranked[1..].iter().map(|(i, _)| *i).zip(verdicts(&differences)).collect();
    let with = |wanted: Verdict| of_leader.iter().filter(|(_, found)| *found == wanted).map(|(i, _)| *i).collect();
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
    fn a_leader_chosen_by_its_numbers_has_to_stand_out_among_all_pairs() {
        let of = |values: [f64; 3]| observed(&[("a", 1, values[0]), ("b", 1, values[1]), ("c", 1, values[2])]);
        // The lead over the second, 0.0402 on average, has t = 6.96 with two degrees of freedom: p = 0.020.
        let (first, second) = (of([0.0402, 0.0302, 0.0502]), of([0.0, 0.0, 0.0]));
        let two = leader_of(&[second.clone(), first.clone()]).unwrap();
        assert_eq!(two, Leader { best: 1, tied: Vec::new(), unknown: Vec::new() });
        // A third, far behind, is told from both, so that Holm has one pair left, as with two.
        let three = leader_of(&[second.clone(), first.clone(), of([-1.0, -1.0001, -1.0002])]).unwrap();
        assert_eq!(three, Leader { best: 1, tied: Vec::new(), unknown: Vec::new() });
        // A third like the second: p = 0.020 and 0.024 would do for the leader's two pairs, but not for three.
        let like = of([-0.001, 0.001, -0.001]);
        let of_two: Vec<_> = [&second, &like].iter().map(|other| paired(&first, other)).collect();
        assert_eq!(verdicts(&of_two), [Verdict::Different, Verdict::Different]);
        let three = leader_of(&[second, first, like]).unwrap();
        assert_eq!(three, Leader { best: 1, tied: vec![0, 2], unknown: Vec::new() });
        assert_eq!(leader_of(&[Vec::new()]), None);
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
