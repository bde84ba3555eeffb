//! Runs grouped into methods: what was observed for one conversion, over networks and simulation seeds.
//!
//! Reads [`results::record`]; feeds the tables, the figures and [`crate::comparison`].

use std::collections::HashMap;

use crate::comparison::units;
use results::record::{AnnRecord, AxisRole, CellRecord, EarlyExitRecord, ExperimentRecord, RunRecord, SeedRecord};
use results::statistic::{Summary, summarise};

/// Which training seed (or network) and which simulation seed an observation is from; methods are compared at equal keys.
pub(crate) type Key<'a> = (&'a str, u64);

/// All runs of one conversion and one kind of network, in the order of the record.
pub(crate) struct Method<'a> {
    /// Label of the conversion, and the kind of network where there are several.
    pub label: &'a str,
    /// Its place in the sweep, that of its first run; `None` where no sweep is known.
    pub cell: Option<&'a CellRecord>,
    /// Its runs, one per network.
    pub runs: Vec<&'a RunRecord>,
    /// One per network and simulation seed.
    pub observations: Vec<Observation<'a>>,
}

/// One network simulated with one seed.
pub(crate) struct Observation<'a> {
    /// Training seed (or network), and simulation seed.
    pub key: Key<'a>,
    /// Label of the network.
    pub network: &'a str,
    /// Accuracy of the network before conversion.
    pub ann_accuracy: Option<f64>,
    /// What was measured.
    pub seed: &'a SeedRecord,
}

/// The methods of a record, in the order of their first run.
pub(crate) fn methods(record: &ExperimentRecord) -> Vec<Method<'_>> {
    let cells: HashMap<(&str, &str), &CellRecord> =
        record.sweep.cells.iter().map(|cell| ((cell.network.as_str(), cell.label.as_str()), cell)).collect();
    let repeats = record.sweep.axes.iter().any(|axis| axis.role == AxisRole::Replication);
    let networks: HashMap<&str, f64> =
        record.networks.iter().filter_map(|n| Some((n.label.as_str(), n.test_accuracy?))).collect();
    let mut methods: Vec<Method<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for run in &record.runs {
        let cell = cells.get(&(run.network.as_str(), run.label.as_str())).copied();
        let label = cell.map_or(run.label.as_str(), |cell| &cell.method);
        let idx = *places.entry(label).or_insert_with(|| {
            methods.push(Method { label, cell, runs: Vec::new(), observations: Vec::new() });
            methods.len() - 1
        });
        // Where kinds of networks are swept but no training seed, the simulation seed is all that repeats.
        let replicate = match cell {
            Some(cell) if repeats || !cell.variant.is_empty() => cell.replicate.as_str(),
            _ => run.network.as_str(),
        };
        methods[idx].observations.extend(run.simulation.seeds.iter().map(|seed| Observation {
            key: (replicate, seed.seed),
            network: &run.network,
            ann_accuracy: networks.get(run.network.as_str()).copied(),
            seed,
        }));
        methods[idx].runs.push(run);
    }
    methods
}

/// Accuracy of the networks before conversion.
pub(crate) fn ann_accuracy(record: &ExperimentRecord) -> Option<Summary> {
    summarise(record.networks.iter().filter_map(|n| n.test_accuracy))
}

/// The same for each kind of network, with its name; one entry without a name where networks differ in their seed alone.
pub(crate) fn ann_accuracies(record: &ExperimentRecord) -> Vec<(&str, Summary)> {
    of_networks(record, |network| network.test_accuracy)
}

/// A value of the trained networks, over each kind of them.
pub(crate) fn of_networks(
    record: &ExperimentRecord,
    value: impl Fn(&AnnRecord) -> Option<f64>,
) -> Vec<(&str, Summary)> {
    let variants: HashMap<&str, &str> =
        record.sweep.cells.iter().map(|cell| (cell.network.as_str(), cell.variant.as_str())).collect();
    let mut found: Vec<(&str, Vec<f64>)> = Vec::new();
    for network in &record.networks {
        let variant = variants.get(network.label.as_str()).copied().unwrap_or_default();
        let Some(value) = value(network) else { continue };
        match found.iter_mut().find(|(known, _)| *known == variant) {
            Some((_, values)) => values.push(value),
            None => found.push((variant, vec![value])),
        }
    }
    found.into_iter().filter_map(|(variant, values)| Some((variant, summarise(values)?))).collect()
}

/// What intervals are over: the networks where there are several of a kind, else the simulation seeds.
pub(crate) fn unit(methods: &[Method<'_>]) -> &'static str {
    let repeats = |m: &Method<'_>| m.observations.iter().any(|o| o.key.0 != m.observations[0].key.0);
    if methods.iter().any(repeats) { "networks" } else { "simulation seeds" }
}

/// Time steps at which any run is tabulated, ascending.
pub(crate) fn checkpoints(record: &ExperimentRecord) -> Vec<usize> {
    let mut steps: Vec<usize> = record.runs.iter().flat_map(|r| r.simulation.checkpoints.iter().copied()).collect();
    steps.retain(|&s| s > 0);
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// The longest simulation.
pub(crate) fn last_step(record: &ExperimentRecord) -> usize {
    record.runs.iter().map(|r| r.simulation.steps).max().unwrap_or(0)
}

/// The methods of a record by the kind of network that they convert: those of different kinds are not compared.
pub(crate) fn kinds(record: &ExperimentRecord) -> Vec<Vec<Method<'_>>> {
    let mut kinds: Vec<Vec<Method<'_>>> = Vec::new();
    for method in methods(record) {
        match kinds.iter_mut().find(|kind| kind[0].variant() == method.variant()) {
            Some(kind) => kind.push(method),
            None => kinds.push(vec![method]),
        }
    }
    kinds
}

impl<'a> Method<'a> {
    /// The kind of network, `784-256-10` say; empty if networks differ in their seed alone.
    pub fn variant(&self) -> &'a str {
        self.cell.map_or("", |cell| &cell.variant)
    }

    /// Label of the conversion without the kind of network.
    pub fn conversion(&self) -> &'a str {
        self.runs[0].label.as_str()
    }

    /// Mean accuracy at a step over the units of replication, for an interval.
    pub fn accuracy_by_unit(&self, step: usize) -> Option<Summary> {
        summarise(units(&self.accuracy_at(step)))
    }

    /// Number of steps this method was simulated for.
    pub fn steps(&self) -> usize {
        self.runs.iter().map(|r| r.simulation.steps).max().unwrap_or(0)
    }

    /// One value per network and seed, from the series that `series` picks, at a step (from 1).
    pub fn at(&self, step: usize, series: impl Fn(&'a SeedRecord) -> &'a [f64]) -> Vec<(Key<'a>, f64)> {
        let Some(idx) = step.checked_sub(1) else { return Vec::new() };
        self.observations
            .iter()
            .filter_map(|o| series(o.seed).get(idx).filter(|v| v.is_finite()).map(|&v| (o.key, v)))
            .collect()
    }

    /// Accuracies at a step.
    pub fn accuracy_at(&self, step: usize) -> Vec<(Key<'a>, f64)> {
        self.at(step, |s| &s.accuracy)
    }

    /// Synaptic operations per sample up to a step.
    pub fn operations_at(&self, step: usize) -> Vec<(Key<'a>, f64)> {
        self.at(step, |s| &s.synaptic_operations)
    }

    /// Mean and spread of the accuracy at a step.
    pub fn accuracy(&self, step: usize) -> Option<Summary> {
        summarise(self.accuracy_at(step).into_iter().map(|(_, v)| v))
    }

    /// Mean and spread of the share of samples whose class is among the first five at a step; `None` with few classes.
    pub fn top_five(&self, step: usize) -> Option<Summary> {
        summarise(self.at(step, |s| &s.top5).into_iter().map(|(_, v)| v))
    }

    /// Mean and spread of the agreement with the ANN's decision at a step.
    pub fn agreement(&self, step: usize) -> Option<Summary> {
        summarise(self.at(step, |s| &s.agreement).into_iter().map(|(_, v)| v))
    }

    /// Mean and spread of the synaptic operations per sample up to a step.
    pub fn operations(&self, step: usize) -> Option<Summary> {
        summarise(self.operations_at(step).into_iter().map(|(_, v)| v))
    }

    /// Mean and spread of a value of the samples that are stopped early, which may look at the whole run; `None` where none are.
    pub fn early_exit(&self, value: impl Fn(&EarlyExitRecord, &SeedRecord) -> Option<f64>) -> Option<Summary> {
        summarise(self.observations.iter().filter_map(|o| value(o.seed.early_exit.as_ref()?, o.seed)))
    }

    /// Confidence at which its samples are stopped early; `None` where none are.
    pub fn confidence(&self) -> Option<f64> {
        self.observations.iter().find_map(|o| o.seed.early_exit.as_ref().map(|early| early.confidence))
    }

    /// Mean over networks and seeds of the accuracy minus that of the own ANN; negative when accuracy is lost.
    pub fn gap(&self, step: usize) -> Option<f64> {
        let idx = step.checked_sub(1)?;
        summarise(self.observations.iter().filter_map(|o| Some(o.seed.accuracy.get(idx).copied()? - o.ann_accuracy?)))
            .map(|s| s.mean)
    }

    /// First step at which the mean accuracy is at most `points` percentage points below the ANN's.
    pub fn first_step_within(&self, points: f64) -> Option<usize> {
        /// Accuracies are ratios of counts; one rounding must not decide.
        const ROUNDING: f64 = 1e-12;
        (1..=self.steps()).find(|&t| self.gap(t).is_some_and(|gap| gap >= -points / 100.0 - ROUNDING))
    }
}
