//! A whole experiment from one configuration: train → convert → simulate → report, for every combination of its sweep.
//!
//! - [`cells`]: trains, converts and simulates each combination, or finds it done; a failed one stops no other
//! - [`ledger`]: what became of each, `cells.json`
//! - [`times`]: how long stages took, `times.json`
//! - [`outputs`]: the record of all of them, its tables, figures and page
//! - [`progress`]: what is shown meanwhile
//! - [`listing`]: what experiments there are, what they cost and what has been run
//!
//! In `RUNS/NAME/`: one folder per trained network (none without a sweep over training) with `ann.safetensors`, in it
//! one folder per conversion (none without a sweep) with `snn.safetensors` and `results.json`; and for all of them
//! together `experiment.json` and what [`outputs`] makes of it. What is there and unchanged is not made again, so a run that was cut
//! off goes on where it stopped, and a run after a failure makes what failed.

pub mod cells;
pub mod ledger;
pub mod listing;
pub mod outputs;
pub mod progress;
pub mod times;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
pub use cli::Options;
use model::config::ExperimentFile;
use results::record::ExperimentRecord;
use serde::{Deserialize, Serialize};

use cells::Sweep;

/// An experiment that has come to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Everything that was measured.
    pub record: ExperimentRecord,
    /// The report.
    pub page: PathBuf,
    /// What the user should know beyond that, one sentence each.
    pub notes: Vec<String>,
    /// Combinations that failed; all others are finished.
    pub failures: Vec<Failure>,
}

/// What is done to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Stochastic gradient descent.
    Train,
    /// To a spiking network.
    Convert,
    /// Of the spiking network.
    Simulate,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Convert => "convert",
            Self::Simulate => "simulate",
        })
    }
}

/// A combination that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Label of its network.
    pub network: String,
    /// Label of its conversion.
    pub label: String,
    /// What failed.
    pub stage: Stage,
    /// The error, with its context.
    pub error: String,
}

/// What happens, for whoever shows progress.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It begins.
    Begin {
        /// Trained networks.
        n_networks: usize,
        /// Combinations.
        n_cells: usize,
    },
    /// A stage is entered; conversion and simulation may turn out to be done already.
    Enter {
        /// `seed 1: norm p=4 κ=0.4`, or `seed 1: 64-24-10` in training.
        what: String,
        /// The stage.
        stage: Stage,
    },
    /// A network is there.
    Trained {
        /// Its label.
        network: String,
        /// How long it took; `None` if it was there already.
        took: Option<Duration>,
    },
    /// A combination is finished.
    Finished {
        /// `seed 1: norm p=4 κ=0.4`
        what: String,
        /// How long conversion and simulation took; `None` if both were done already.
        took: Option<Duration>,
    },
    /// A combination failed.
    Failed(Failure),
}

/// A share of all time that writing results of an unfinished sweep may take: one part in so many.
const PARTIAL_SHARE: u32 = 20;

/// Runs every combination of an experiment and reports them side by side.
///
/// A combination that fails is left out of the report, which says so; the others go on. After a network the results so far are
/// written, marked as partial, as often as that takes little time.
///
/// - `runs`: folder for results; the experiment's are in a folder of its name
/// - `watch`: told what happens
///
/// # Errors
/// If there is something to be run and the data cannot be read, or the backend of all combinations is not built in; if every
/// combination fails, with why; or if the folder cannot be written to.
pub fn run(file: &ExperimentFile, runs: &Path, options: Options, mut watch: impl FnMut(&Event)) -> Result<Outcome> {
    let folder = runs.join(&file.base.name);
    let mut sweep = Sweep::new(file, &folder, options);
    let groups = sweep.groups();
    watch(&Event::Begin { n_networks: groups.len(), n_cells: file.cells.len() });
    let (mut since, mut took) = (Instant::now(), Duration::ZERO);
    for (idx, group) in groups.iter().enumerate() {
        let made = sweep.run(group, &mut watch)?;
        let last = idx + 1 == groups.len();
        if !last && made && since.elapsed() >= took * PARTIAL_SHARE {
            let start = Instant::now();
            if let Some(record) = sweep.record() {
                outputs::write(&record, &folder)?;
            }
            (since, took) = (Instant::now(), start.elapsed());
        }
    }
    let failures = sweep.failures();
    let Some(record) = sweep.record() else { bail!("{}", failure_list(&failures)) };
    let page = outputs::write(&record, &folder)?;
    Ok(Outcome { record, page, notes: sweep.notes(), failures })
}

/// Failures for people: combinations that failed for the same reason together, the first few by name.
pub fn failure_list(failures: &[Failure]) -> String {
    /// Combinations that are named for one reason.
    const MOST_NAMED: usize = 12;
    let mut reasons: Vec<(Stage, &str, Vec<String>)> = Vec::new();
    for Failure { network, label, stage, error } in failures {
        let what = format!("{network}: {label}");
        match reasons.iter_mut().find(|(known, of, _)| known == stage && of == error) {
            Some((_, _, cells)) => cells.push(what),
            None => reasons.push((*stage, error, vec![what])),
        }
    }
    let text: Vec<String> = reasons
        .into_iter()
        .map(|(stage, error, mut cells)| {
            let more = cells.len().saturating_sub(MOST_NAMED);
            if more > 0 {
                cells.truncate(MOST_NAMED);
                cells.push(format!("{more} more"));
            }
            format!("failed to {stage}: {}\n  {}", cells.join("; "), error.replace('\n', "\n  "))
        })
        .collect();
    text.join("\n")
}
