//! How far each swept factor moves accuracy, averaged over everything else: main effects.
//!
//! Reads the sweep's combinations through [`crate::method`]; feeds [`crate::finding`] and [`crate::factor`].

use crate::comparison::units;
use crate::method::Method;
use results::record::{AxisRecord, AxisRole, ExperimentRecord};
use results::statistic::{Summary, half_width_of, summarise};

/// Main effect of one factor at one step: its best level against its worst.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effect<'a> {
    /// The swept list.
    pub axis: &'a AxisRecord,
    /// Its levels with their accuracies over the units of replication, the best first.
    pub levels: Vec<(&'a str, Summary)>,
    /// Best minus worst level, over the units of replication.
    pub difference: Summary,
    /// Half width of the difference's interval; it covers with 95 % whichever two levels turn out best and worst (Bonferroni over
    /// their pairs). `None` without a spread.
    pub half_width: Option<f64>,
}

impl Effect<'_> {
    /// Whether the levels can be told apart.
    pub fn is_told(&self) -> bool {
        self.half_width.is_some_and(|half| self.difference.mean > half)
    }
}

/// Main effects at a step, the largest first; factors with a single level have none.
///
/// The mean of a level is over all combinations of the other factors that were measured for every level of this one, first
/// within each unit of replication (training seed, else simulation seed), then over the units. So a combination that failed
/// weighs on no level alone.
pub(crate) fn effects<'a>(record: &'a ExperimentRecord, methods: &[Method<'a>], step: usize) -> Vec<Effect<'a>> {
    let values: Vec<Place<'a>> = methods.iter().filter_map(|method| Place::of(method, step)).collect();
    let axes = record.sweep.axes.iter().enumerate().filter(|(_, axis)| axis.role != AxisRole::Replication);
    let mut effects: Vec<Effect<'a>> =
        axes.filter_map(|(idx, axis)| effect((idx, axis), &replications(record), &values)).collect();
    effects.sort_by(|a, b| b.difference.mean.total_cmp(&a.difference.mean));
    effects
}

/// Indices of the axes that repeat.
fn replications(record: &ExperimentRecord) -> Vec<usize> {
    let axes = record.sweep.axes.iter().enumerate();
    axes.filter(|(_, axis)| axis.role == AxisRole::Replication).map(|(idx, _)| idx).collect()
}

/// What one method reached, and where it stands in the sweep.
struct Place<'a> {
    levels: Vec<&'a str>,
    /// Unit of replication and accuracy; several seeds of a network are averaged.
    accuracies: Vec<(String, f64)>,
}

impl<'a> Place<'a> {
    fn of(method: &Method<'a>, step: usize) -> Option<Self> {
        let levels = method.cell?.levels.iter().map(String::as_str).collect();
        let values = method.accuracy_at(step);
        let mut names: Vec<&str> = values.iter().map(|(key, _)| key.0).collect();
        names.sort_unstable();
        names.dedup();
        let accuracies = if names.len() > 1 {
            names.iter().map(|name| (*name).to_owned()).zip(units(&values)).collect()
        } else {
            values.iter().map(|((_, seed), accuracy)| (seed.to_string(), *accuracy)).collect()
        };
        Some(Self { levels, accuracies })
    }

    fn at(&self, unit: &str) -> Option<f64> {
        self.accuracies.iter().find(|(name, _)| name == unit).map(|(_, accuracy)| *accuracy)
    }
}

/// What was measured at one combination of all other factors.
struct Block<'a, 'p> {
    others: Vec<&'a str>,
    /// Each with the level of the factor that is looked at.
    members: Vec<(&'a str, &'p Place<'a>)>,
}

/// - `axis_idx`, `axis`: place of the factor among the lists of the sweep, and the factor
/// - `skipped`: places of the lists that repeat
fn effect<'a>(
    (axis_idx, axis): (usize, &'a AxisRecord),
    skipped: &[usize],
    places: &[Place<'a>],
) -> Option<Effect<'a>> {
    let mut levels: Vec<&'a str> = Vec::new();
    // Combinations of all other factors, each with the places of its levels.
    let mut blocks: Vec<Block<'a, '_>> = Vec::new();
    for place in places {
        let level = *place.levels.get(axis_idx)?;
        if !levels.contains(&level) {
            levels.push(level);
        }
        let others: Vec<&str> = place
            .levels
            .iter()
            .enumerate()
            .filter(|(idx, _)| *idx != axis_idx && !skipped.contains(idx))
            .map(|(_, level)| *level)
            .collect();
        match blocks.iter_mut().find(|block| block.others == others) {
            Some(block) => block.members.push((level, place)),
            None => blocks.push(Block { others, members: vec![(level, place)] }),
        }
    }
    if levels.len() < 2 {
        return None;
    }
    let mut units: Vec<&str> =
        places.iter().flat_map(|place| place.accuracies.iter().map(|(unit, _)| unit.as_str())).collect();
    units.sort_unstable();
    units.dedup();
    // Mean of each level in each unit.
    let by_unit: Vec<Vec<f64>> = units
        .iter()
        .filter_map(|unit| {
            let complete: Vec<Vec<f64>> = blocks
                .iter()
                .filter_map(|block| {
                    let value =
                        |level: &&str| block.members.iter().find(|(of, _)| of == level).and_then(|(_, p)| p.at(unit));
                    levels.iter().map(value).collect()
                })
                .collect();
            let mean = |i: usize| summarise(complete.iter().map(|values| values[i])).map(|s| s.mean);
            (0..levels.len()).map(mean).collect()
        })
        .collect();
    let of_level = |i: usize| Some((i, summarise(by_unit.iter().map(|means| means[i]))?));
    let mut ranked: Vec<(usize, Summary)> = (0..levels.len()).filter_map(of_level).collect();
    ranked.sort_by(|a, b| b.1.mean.total_cmp(&a.1.mean));
    let (&(best, _), &(worst, _)) = (ranked.first()?, ranked.last()?);
    let difference = summarise(by_unit.iter().map(|means| means[best] - means[worst]))?;
    let n_pairs = levels.len() * (levels.len() - 1) / 2;
    // Identical differences have no spread to judge by.
    let half_width = half_width_of(&difference, n_pairs).filter(|_| difference.sd.is_some_and(|sd| sd > 1e-12));
    Some(Effect {
        axis,
        levels: ranked.into_iter().map(|(i, accuracy)| (levels[i], accuracy)).collect(),
        difference,
        half_width,
    })
}
