//! Runs grouped into methods: what was observed for one conversion, over networks and simulation seeds.
//!
//! Reads [`crate::record`]; feeds the tables, the figures and [`crate::comparison`].

use crate::record::{EarlyExitRecord, ExperimentRecord, RunRecord, SeedRecord};
use crate::statistic::{Summary, summarise};

/// Which network and which simulation seed an observation is from; methods are compared at equal keys.
pub(crate) type Key<'a> = (&'a str, u64);

/// All runs of one conversion, in the order of the record.
pub(crate) struct Method<'a> {
    /// Label of the conversion.
    pub label: &'a str,
    /// Its runs, one per network.
    pub runs: Vec<&'a RunRecord>,
    /// One per network and simulation seed.
    pub observations: Vec<Observation<'a>>,
}

/// One network simulated with one seed.
pub(crate) struct Observation<'a> {
    /// Network and seed.
    pub key: Key<'a>,
    /// Accuracy of the network before conversion.
    pub ann_accuracy: Option<f64>,
    /// What was measured.
    pub seed: &'a SeedRecord,
}

/// The methods of a record, in the order of their first run.
pub(crate) fn methods(record: &ExperimentRecord) -> Vec<Method<'_>> {
    let mut methods: Vec<Method<'_>> = Vec::new();
    for run in &record.runs {
        let idx = methods.iter().position(|m| m.label == run.label).unwrap_or_else(|| {
            methods.push(Method { label: &run.label, runs: Vec::new(), observations: Vec::new() });
            methods.len() - 1
        });
        let network = record.networks.iter().find(|n| n.label == run.network);
        methods[idx].observations.extend(run.simulation.seeds.iter().map(|seed| Observation {
            key: (run.network.as_str(), seed.seed),
            ann_accuracy: network.map(|n| n.test_accuracy),
            seed,
        }));
        methods[idx].runs.push(run);
    }
    methods
}

/// Accuracy of the networks before conversion.
pub(crate) fn ann_accuracy(record: &ExperimentRecord) -> Option<Summary> {
    summarise(record.networks.iter().map(|n| n.test_accuracy))
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

impl<'a> Method<'a> {
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
