//! What an experiment shows, in sentences that are computed from its numbers.
//!
//! Reads [`crate::method`], [`crate::comparison`] and [`crate::effect`]; the page opens with it.

use std::fmt::Write as _;

use crate::comparison::{Verdict, leader, leader_of, paired, verdicts};
use crate::effect::{Effect, effects};
use crate::method::{Method, ann_accuracies, checkpoints, kinds, methods, unit};
use crate::number::{accuracy_decimals, count, fixed, interval, list, percent, some_of};
use crate::severity;
use crate::table::references;
use results::record::{CellRecord, CellState, ExperimentRecord};
use results::statistic::{Summary, half_width, summarise};

/// Losses, in percentage points, whose first step is reported.
pub(crate) const LOSSES: [f64; 2] = [1.0, 0.5];
/// Methods that a sentence names before it counts the others, where there are few and where there are many.
const NAMED: [usize; 2] = [4, 2];
/// Methods from which on there are many.
pub(crate) const MANY_METHODS: usize = 16;
/// Points behind on average from which on a tie is one for its scatter alone.
const FAR_POINTS: f64 = 1.0;

/// How many methods a sentence names, of so many in the record.
pub(crate) fn n_named(n_methods: usize) -> usize {
    NAMED[usize::from(n_methods > MANY_METHODS)]
}

/// What an experiment shows, one sentence each: who leads at each checkpoint, at which cost, and how the baseline stands, or, where
/// runs differ by faults, who bears each best; and which factor matters most. Empty without results.
///
/// Brackets hold 95 % confidence intervals, and a difference is called one only beyond chance; see [`findings_markdown`].
pub fn findings(record: &ExperimentRecord) -> Vec<String> {
    let methods = methods(record);
    let mut sentences: Vec<String> = state_of_sweep(record).into_iter().collect();
    let steps = checkpoints(record);
    if methods.iter().all(|m| m.observations.is_empty()) || steps.is_empty() {
        return sentences;
    }
    sentences.extend(networks(record));
    let shown = first_middle_last(&steps);
    let kinds = kinds(record);
    let told = if kinds.len() > 1 { &shown } else { &steps };
    // Who bears a fault best is asked at the same severity; a network without faults leads all that have some.
    let of_faults = severity::findings(record, &severity::sweeps(record));
    if of_faults.is_empty() {
        for kind in &kinds {
            sentences.extend(told.iter().filter_map(|&step| leads(record, kind, step)));
            sentences.extend(LOSSES.iter().filter_map(|&loss| cheapest(kind, loss)));
        }
        sentences.extend(shown.iter().filter_map(|&step| baseline(record, &methods, step)));
    }
    sentences.extend(of_faults);
    sentences.extend(shown.iter().filter_map(|&step| factors(record, &methods, step)));
    sentences
}

/// The same as a Markdown file, with how to read it.
pub fn findings_markdown(record: &ExperimentRecord) -> String {
    let mut text = format!("# {}: what it shows\n\n", record.name);
    for sentence in findings(record) {
        let _ = writeln!(text, "- {}", sentence.replace('*', "\\*").replace('_', "\\_"));
    }
    let _ = writeln!(text, "\n{}", how_judged(record));
    text
}

/// How differences are judged, in one paragraph.
pub(crate) fn how_judged(record: &ExperimentRecord) -> String {
    let methods = methods(record);
    format!(
        "Brackets are 95 % confidence intervals of the mean (Student’s t over {}; simulation seeds of a network are averaged \
         first). Methods are compared on the same networks. A tie with the leader at a step is a difference that Holm’s correction \
         for all pairs of methods of a kind of network cannot tell from zero, any of which could have come out as the leader’s; one with the baseline, \
         for the comparisons with it. The effect of a factor is its best level against its worst, averaged over \
         all other factors, with an interval that holds for any pair of its levels (Bonferroni). The choice of test samples is \
         not part of any interval.",
        unit(&methods)
    )
}

/// Says that results are missing, and why; `None` where all are there.
fn state_of_sweep(record: &ExperimentRecord) -> Option<String> {
    let cells = &record.sweep.cells;
    let failed = cells.iter().filter(|cell| matches!(cell.state, CellState::Failed { .. })).count();
    let waiting = cells.iter().filter(|cell| cell.state == CellState::Waiting).count();
    let finished = cells.len() - failed - waiting;
    let mut parts = Vec::new();
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if waiting > 0 {
        parts.push(format!("{waiting} have not been run"));
    }
    (!parts.is_empty()).then(|| {
        format!(
            "Partial: {finished} of {} combinations are finished, {}; all that follows is of the finished ones.",
            cells.len(),
            parts.join(", ")
        )
    })
}

/// Combinations that failed, with what failed.
pub(crate) fn failures(record: &ExperimentRecord) -> Vec<(&CellRecord, &str, &str)> {
    let cells = record.sweep.cells.iter();
    cells
        .filter_map(|cell| match &cell.state {
            CellState::Failed { stage, error } => Some((cell, stage.as_str(), error.as_str())),
            CellState::Finished | CellState::Waiting => None,
        })
        .collect()
}

/// The networks before conversion, where there are several kinds.
fn networks(record: &ExperimentRecord) -> Option<String> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let kinds = ann_accuracies(record);
    let named: Vec<String> =
        kinds.iter().map(|(name, accuracy)| format!("{name} {} %", interval(Some(*accuracy), decimals))).collect();
    (kinds.len() > 1).then(|| format!("Before conversion: {}.", some_of(&named, 2 * NAMED[0])))
}

/// The leader at a step, what it costs, and what cannot be told from it.
fn leads(record: &ExperimentRecord, methods: &[Method<'_>], step: usize) -> Option<String> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let leader = leader(methods, step)?;
    let best = &methods[leader.best];
    let mut text = format!(
        "{}T = {step}: {} leads with {} %",
        of_kind(best),
        best.conversion(),
        interval(best.accuracy_by_unit(step), decimals)
    );
    if let Some(cost) = best.operations(step).filter(|s| s.mean > 0.0) {
        let _ = write!(text, " at {} synaptic operations per sample", count(cost.mean));
    }
    let n_others = methods.iter().filter(|m| m.accuracy(step).is_some()).count() - 1;
    let behind = |i: usize| Some((best.accuracy(step)?.mean - methods[i].accuracy(step)?.mean) * 100.0);
    let tied: Vec<String> = leader
        .tied
        .iter()
        .map(|&i| match behind(i).filter(|points| *points > FAR_POINTS) {
            Some(points) => {
                format!("{} ({} points behind, but too scattered to tell)", methods[i].conversion(), fixed(points, 1))
            }
            None => methods[i].conversion().to_owned(),
        })
        .collect();
    let named = some_of(&tied, n_named(methods.len()));
    match (n_others, tied.len(), leader.unknown.len()) {
        (0, ..) => {}
        (_, 0, 0) => text.push_str(", ahead of every other method"),
        (_, 0, _) => text.push_str("; there is no spread to tell it from the others"),
        (_, n, _) if n == n_others => {
            let _ = write!(text, ", a tie with {named}");
        }
        (_, n, _) => {
            let _ = write!(text, ", a tie with {n} of {n_others} others: {named}");
        }
    }
    // Among what ties, the cheapest is the better choice.
    let thrifty = leader
        .tied
        .iter()
        .filter(|&&i| behind(i).is_some_and(|points| points <= FAR_POINTS))
        .filter_map(|&i| Some((i, methods[i].operations(step)?.mean)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, cost)| *cost > 0.0 && best.operations(step).is_some_and(|s| *cost < s.mean));
    if let Some((i, cost)) = thrifty {
        let share = cost / best.operations(step)?.mean;
        let _ = write!(text, "; {} has {} % of its operations", methods[i].conversion(), percent(share, 0));
    }
    text.push('.');
    Some(text)
}

/// `784-256-10: ` where there are several kinds of networks.
fn of_kind(method: &Method<'_>) -> String {
    let kind = method.variant();
    if kind.is_empty() { String::new() } else { format!("{kind}: ") }
}

/// Which method comes within a loss of the ANN with the fewest operations.
pub(crate) fn cheapest(methods: &[Method<'_>], loss: f64) -> Option<String> {
    let mut ranked: Vec<(&Method<'_>, usize, f64)> = methods
        .iter()
        .filter_map(|m| {
            let step = m.first_step_within(loss)?;
            Some((m, step, m.operations(step).filter(|s| s.mean > 0.0)?.mean))
        })
        .collect();
    ranked.sort_by(|a, b| a.2.total_cmp(&b.2));
    let &(best, step, cost) = ranked.first()?;
    let price = |m: &Method<'_>, t: usize, ops: f64| format!("{} with {} (T = {t})", m.conversion(), count(ops));
    let head = format!("{}Fewest operations to come within {} points of the ANN", of_kind(best), fixed(loss, 1));
    let Some(&(second, second_step, second_cost)) = ranked.get(1) else {
        return Some(format!("{head}: {}; no other method comes that near.", price(best, step, cost)));
    };
    // Any of them could have been the cheapest.
    let costs = ranked.iter().map(|(m, t, _)| m.operations_at(*t).into_iter().map(|(key, n)| (key, -n)).collect());
    let leader = leader_of(&costs.collect::<Vec<_>>())?;
    let second = price(second, second_step, second_cost);
    let best = price(best, step, cost);
    Some(if leader.tied.contains(&1) {
        format!("{head}: a tie of {best} and {second}.")
    } else if leader.unknown.contains(&1) {
        format!("{head}: {best}, then {second}; there is no spread to judge the difference by.")
    } else {
        format!("{head}: {best}, then {second}.")
    })
}

/// The order in which the methods come within a loss of the ANN.
pub(crate) fn reached(methods: &[Method<'_>], loss: f64) -> Option<String> {
    let mut by_step: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut never = Vec::new();
    for method in methods {
        match method.first_step_within(loss) {
            None => never.push(method.label),
            Some(t) => match by_step.iter_mut().find(|(step, _)| *step == t) {
                Some((_, labels)) => labels.push(method.label),
                None => by_step.push((t, vec![method.label])),
            },
        }
    }
    by_step.sort_by_key(|(step, _)| *step);
    let named = |labels: &[&str]| {
        if methods.len() > MANY_METHODS && labels.len() > 1 {
            format!("{} methods", labels.len())
        } else {
            list(labels)
        }
    };
    let mut parts: Vec<String> = by_step.iter().map(|(t, labels)| format!("{} at T = {t}", named(labels))).collect();
    if !never.is_empty() {
        parts.push(format!("never: {}", named(&never)));
    }
    (!parts.is_empty()).then(|| {
        format!("First step at most {} points below the ANN, on average: {}.", fixed(loss, 1), parts.join("; "))
    })
}

/// How the baseline stands against all others at a step; `None` unless there is one for all, and several others.
fn baseline(record: &ExperimentRecord, methods: &[Method<'_>], step: usize) -> Option<String> {
    let references = references(record, methods);
    let reference = *references.first()?;
    let reference = reference.filter(|_| references.iter().all(|other| *other == reference))?;
    let others: Vec<usize> = (0..methods.len()).filter(|&i| i != reference).collect();
    if others.len() < 2 {
        return None;
    }
    let own = methods[reference].accuracy_at(step);
    let differences: Vec<Option<Summary>> =
        others.iter().map(|&i| paired(&own, &methods[i].accuracy_at(step))).collect();
    let (mut ahead, mut behind, mut tied) = (Vec::new(), Vec::new(), Vec::new());
    for ((&i, difference), verdict) in others.iter().zip(&differences).zip(verdicts(&differences)) {
        match (verdict, difference) {
            (Verdict::Different, Some(difference)) if difference.mean > 0.0 => ahead.push(methods[i].label),
            (Verdict::Different, Some(_)) => behind.push(methods[i].label),
            (Verdict::Tie, _) => tied.push(methods[i].label),
            _ => {}
        }
    }
    let parts: Vec<String> = [("ahead of", ahead), ("behind", behind), ("tied with", tied)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(how, names)| match methods.len() {
            n if n > MANY_METHODS => format!("{how} {}", names.len()),
            _ => format!("{how} {}", some_of(&names, NAMED[0])),
        })
        .collect();
    let of = if methods.len() > MANY_METHODS { format!(", of {} others", others.len()) } else { String::new() };
    (!parts.is_empty()).then(|| format!("T = {step}: {} is {}{of}.", methods[reference].label, parts.join("; ")))
}

/// How far each factor moves accuracy at a step; `None` for fewer than two factors.
fn factors(record: &ExperimentRecord, methods: &[Method<'_>], step: usize) -> Option<String> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let effects = effects(record, methods, step);
    if effects.len() < 2 {
        return None;
    }
    let points = |effect: &Effect<'_>| {
        let Summary { mean, .. } = effect.difference;
        let size = percent(mean, decimals);
        effect.half_width.map_or_else(
            || format!("{size} points"),
            |half| format!("{size} [{}, {}] points", percent(mean - half, decimals), percent(mean + half, decimals)),
        )
    };
    let ends = |effect: &Effect<'_>| {
        let ends = effect.levels.first().zip(effect.levels.last());
        ends.map(|((best, _), (worst, _))| format!("{best} best, {worst} worst")).unwrap_or_default()
    };
    let all = |effects: &[&Effect<'_>]| {
        list(&effects.iter().map(|e| format!("{} with {} ({})", e.axis.key, points(e), ends(e))).collect::<Vec<_>>())
    };
    // No spread: one unit of replication, or all alike.
    let (judged, alike): (Vec<_>, Vec<_>) = effects.iter().partition(|effect| effect.half_width.is_some());
    if judged.is_empty() {
        return Some(format!("T = {step}: there is no spread to judge factors by; accuracy moves: {}.", all(&alike)));
    }
    let (told, open): (Vec<_>, Vec<_>) = judged.into_iter().partition(|effect| effect.is_told());
    let mut text = match told.as_slice() {
        [] => format!("T = {step}: no factor’s effect can be told from none"),
        [first, others @ ..] => {
            let others = if others.is_empty() { String::new() } else { format!("; then {}", all(others)) };
            format!("T = {step}: {} matters most, {} ({}){others}", first.axis.key, points(first), ends(first))
        }
    };
    if !open.is_empty() {
        let _ = write!(text, "; not told from none: {}", all(&open));
    }
    if !alike.is_empty() {
        let _ = write!(text, "; with no spread to judge by: {}", all(&alike));
    }
    text.push('.');
    Some(text)
}

/// The first, the middle and the last of some steps.
pub(crate) fn first_middle_last(steps: &[usize]) -> Vec<usize> {
    let mut chosen: Vec<usize> =
        [0, steps.len() / 2, steps.len().saturating_sub(1)].iter().filter_map(|&i| steps.get(i).copied()).collect();
    chosen.dedup();
    chosen
}

/// The best methods at a step, in order: mean with its interval, its difference from the best, and its cost.
pub(crate) fn ranking(record: &ExperimentRecord, methods: &[Method<'_>], step: usize, most: usize) -> Vec<Vec<String>> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let Some(leader) = leader(methods, step) else { return Vec::new() };
    let mut ranked: Vec<(usize, f64)> =
        methods.iter().enumerate().filter_map(|(i, m)| Some((i, m.accuracy(step)?.mean))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let top = methods[leader.best].accuracy_at(step);
    ranked
        .into_iter()
        .take(most)
        .enumerate()
        .map(|(rank, (i, _))| {
            let m = &methods[i];
            let behind = paired(&m.accuracy_at(step), &top).filter(|_| i != leader.best);
            let ends = behind.as_ref().and_then(half_width);
            vec![
                (rank + 1).to_string(),
                m.label.to_owned(),
                interval(m.accuracy_by_unit(step), decimals),
                match (behind, ends) {
                    (None, _) => "–".to_owned(),
                    (Some(d), None) => percent(d.mean, decimals),
                    (Some(d), Some(half)) => format!(
                        "{} [{}, {}]",
                        percent(d.mean, decimals),
                        percent(d.mean - half, decimals),
                        percent(d.mean + half, decimals)
                    ),
                },
                if i == leader.best {
                    "highest mean"
                } else if leader.tied.contains(&i) {
                    "tie"
                } else if leader.unknown.contains(&i) {
                    "no spread"
                } else {
                    "behind"
                }
                .to_owned(),
                m.operations(step).map_or_else(|| "–".to_owned(), |s| count(s.mean)),
            ]
        })
        .collect()
}

/// Mean accuracy over the units of a few methods, for choosing among them.
pub(crate) fn mean_accuracy(method: &Method<'_>, step: usize) -> f64 {
    summarise(method.accuracy_at(step).into_iter().map(|(_, v)| v)).map_or(f64::NEG_INFINITY, |s| s.mean)
}
