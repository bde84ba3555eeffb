//! The combinations of a sweep, one after another: found finished, made, or failed.
//!
//! Calls the other commands; each of them finds out by itself what is there and unchanged. What [`crate::ledger`] knows to be so
//! is not even asked.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, anyhow};
use datasets::{DataSet, Split};
use model::ann::AnnMetadata;
use model::artefact::read_description;
use model::config::{Axis, Cell, ExperimentFile, folder_name};
use results::record::{
    AnnRecord, AxisRecord, AxisRole, CellRecord, CellState, DatasetRecord, EpochRecord, ExperimentRecord, RunRecord,
    SweepRecord,
};
use simulate::Results;

use crate::ledger::{Ledger, config_checksum};
use crate::outputs::config_text;
use crate::times::Times;
use crate::{Event, Failure, Options, Stage};

/// The combinations of an experiment, and what has become of them.
pub struct Sweep<'a> {
    file: &'a ExperimentFile,
    folder: &'a Path,
    options: Options,
    ledger: Ledger,
    times: Times,
    dataset: Option<DatasetRecord>,
    networks: Vec<AnnRecord>,
    /// One per cell of the file.
    states: Vec<State>,
    /// Whether what all combinations need is known to be there.
    is_checked: bool,
}

/// What has become of a combination.
enum State {
    Waiting,
    Finished { run: Box<RunRecord>, notes: Vec<String> },
    Failed(Failure),
}

/// Where a cell's files are, and what they are made of.
pub(crate) struct Place {
    /// The cell's folder.
    pub folder: PathBuf,
    /// The same relative to the run's folder.
    pub name: String,
    /// The folder of its network.
    pub network: PathBuf,
    /// The same relative to the run's folder; empty for that itself.
    pub network_name: String,
    /// Everything that it is or is made of.
    pub files: Vec<PathBuf>,
}

impl Place {
    /// Where a cell of a file is, in a run's folder.
    pub fn of(file: &ExperimentFile, cell: &Cell, folder: &Path) -> Self {
        let network_name = folder_name(&cell.network);
        let name = if file.cells.len() == 1 {
            network_name.clone()
        } else {
            let run = folder_name(&cell.run);
            if network_name.is_empty() { run } else { format!("{network_name}/{run}") }
        };
        let (network, own) = (folder.join(&network_name), folder.join(&name));
        let mut files = vec![
            network.join(model::ann::FILE_NAME),
            own.join(snn::artefact::FILE_NAME),
            own.join(simulate::FILE_NAME),
        ];
        let data = &cell.experiment.data;
        if !data.dataset.is_embedded() {
            files.push(data.path.clone().unwrap_or_else(|| data.dataset.default_path()));
        }
        Self { folder: own, name, network, network_name, files }
    }
}

/// Checksum of what a cell's results depend on in its configuration.
pub(crate) fn checksum(cell: &Cell) -> String {
    config_checksum(&cell.experiment, [&cell.network_label(), &cell.run])
}

/// Combinations that share a trained network, in the order of the file: indices of its cells.
pub(crate) fn groups(file: &ExperimentFile) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (idx, cell) in file.cells.iter().enumerate() {
        let group = *places.entry(cell.network.as_str()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(idx);
    }
    groups
}

/// Checks that the data are there, and the backend if all combinations have the same one.
fn check(file: &ExperimentFile) -> Result<()> {
    let data = DataSet::open(&file.base.data, Some(file.base.architecture.input()))?;
    for split in [Split::Train, Split::Test] {
        data.samples(split)?;
    }
    if file.axes.iter().all(|axis| axis.path != "backend") {
        ann::device(file.base.backend)?;
    }
    Ok(())
}

impl<'a> Sweep<'a> {
    /// The combinations of a file, none of them looked at.
    ///
    /// - `folder`: the experiment's own
    pub fn new(file: &'a ExperimentFile, folder: &'a Path, options: Options) -> Self {
        Self {
            file,
            folder,
            options,
            ledger: Ledger::read(folder),
            times: Times::read(folder),
            dataset: None,
            networks: Vec::new(),
            states: file.cells.iter().map(|_| State::Waiting).collect(),
            is_checked: false,
        }
    }

    /// Combinations that share a trained network: indices.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        groups(self.file)
    }

    /// Trains one network and runs its combinations, as far as they are not done; returns whether there was anything to do.
    ///
    /// # Errors
    /// If the run's folder cannot be written to, or what all combinations need is not there. What fails in a combination is
    /// its own failure.
    pub fn run(&mut self, group: &[usize], watch: &mut impl FnMut(&Event)) -> Result<bool> {
        let found: Vec<Option<(Results, Vec<String>)>> = group.iter().map(|&idx| self.unchanged(idx)).collect();
        if found.iter().all(Option::is_some)
            && let Some(history) = self.history(group[0])
        {
            watch(&Event::Trained { network: self.file.cells[group[0]].network_label(), took: None });
            for (&idx, (results, notes)) in group.iter().zip(found.into_iter().flatten()) {
                self.finish(idx, results, &history, notes);
                watch(&Event::Finished { what: self.what(idx), took: None });
            }
            return Ok(false);
        }
        if !self.is_checked {
            check(self.file)?;
            self.is_checked = true;
        }
        match self.train(group[0], watch) {
            Err(error) => {
                for &idx in group {
                    self.fail(idx, Stage::Train, &error, watch);
                }
            }
            Ok((weights, history)) => {
                for &idx in group {
                    self.cell(idx, &weights, &history, watch);
                }
            }
        }
        self.ledger.write(self.folder)?;
        self.times.write(self.folder)?;
        Ok(true)
    }

    /// Results of a combination none of whose files has changed since they were found whole.
    fn unchanged(&self, idx: usize) -> Option<(Results, Vec<String>)> {
        if self.options.force {
            return None;
        }
        let cell = &self.file.cells[idx];
        let place = Place::of(self.file, cell, self.folder);
        let notes = self.ledger.unchanged(&place.name, &checksum(cell), &place.files)?;
        let results = serde_json::from_slice(&std::fs::read(place.folder.join(simulate::FILE_NAME)).ok()?).ok()?;
        Some((results, notes.to_vec()))
    }

    /// Training history of a network that is there.
    fn history(&self, idx: usize) -> Option<Vec<EpochRecord>> {
        let place = Place::of(self.file, &self.file.cells[idx], self.folder);
        let path = place.network.join(model::ann::FILE_NAME);
        let AnnMetadata { history, .. } = read_description(&path, "").ok()??;
        serde_json::from_value(history).ok()
    }

    fn train(&mut self, idx: usize, watch: &mut impl FnMut(&Event)) -> Result<(PathBuf, Vec<EpochRecord>)> {
        let cell = &self.file.cells[idx];
        let place = Place::of(self.file, cell, self.folder);
        let (network, experiment) = (cell.network_label(), &cell.experiment);
        if self.options.force || !train::seems_trained(experiment, &place.network) {
            watch(&Event::Enter { what: format!("{network}: {}", experiment.architecture), stage: Stage::Train });
        }
        // What is left of a training that was killed says nothing of how long one takes.
        let resumed = std::fs::read_dir(&place.network)
            .is_ok_and(|entries| entries.flatten().any(|e| e.file_name().to_string_lossy().starts_with("checkpoint")));
        let start = Instant::now();
        let options = self.options;
        let trained = guarded(|| train::run(experiment, &place.network, self.folder.parent(), options))?;
        let took = (!trained.reused).then(|| start.elapsed());
        if let Some(took) = took.filter(|_| !resumed) {
            self.times.add(&place.network_name, Stage::Train, experiment, took.as_secs_f64());
        }
        watch(&Event::Trained { network, took });
        Ok((trained.path, trained.history))
    }

    /// Converts and simulates one combination, or finds that done.
    fn cell(&mut self, idx: usize, weights: &Path, history: &[EpochRecord], watch: &mut impl FnMut(&Event)) {
        if let Some((results, notes)) = self.unchanged(idx) {
            self.finish(idx, results, history, notes);
            watch(&Event::Finished { what: self.what(idx), took: None });
            return;
        }
        let cell = &self.file.cells[idx];
        let place = Place::of(self.file, cell, self.folder);
        let (experiment, options, what) = (&cell.experiment, self.options, self.what(idx));
        watch(&Event::Enter { what: what.clone(), stage: Stage::Convert });
        let start = Instant::now();
        let converted = match guarded(|| convert::run(experiment, weights, &place.folder, options)) {
            Ok(converted) => converted,
            Err(error) => return self.fail(idx, Stage::Convert, &error, watch),
        };
        if !converted.reused {
            self.times.add(&place.name, Stage::Convert, experiment, start.elapsed().as_secs_f64());
        }
        watch(&Event::Enter { what: what.clone(), stage: Stage::Simulate });
        let simulating = Instant::now();
        let network = cell.network_label();
        let simulated = match guarded(|| simulate::run(experiment, &network, &cell.run, &place.folder, options)) {
            Ok(simulated) => simulated,
            Err(error) => return self.fail(idx, Stage::Simulate, &error, watch),
        };
        if !simulated.reused {
            self.times.add(&place.name, Stage::Simulate, experiment, simulating.elapsed().as_secs_f64());
        }
        let mut notes = converted.notes;
        // Both stages look at the data, and say the same of them.
        notes.extend(simulated.notes.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
        self.ledger.finish(&place.name, &checksum(cell), &place.files, notes.clone());
        self.finish(idx, simulated.results, history, notes);
        let took = (!(converted.reused && simulated.reused)).then(|| start.elapsed());
        watch(&Event::Finished { what, took });
    }

    fn finish(&mut self, idx: usize, results: Results, history: &[EpochRecord], notes: Vec<String>) {
        if self.networks.iter().all(|known| known.label != results.ann.label) {
            self.networks.push(AnnRecord { epochs: history.to_vec(), ..results.ann });
        }
        self.dataset.get_or_insert(results.dataset);
        self.states[idx] = State::Finished { run: Box::new(results.run), notes };
    }

    fn fail(&mut self, idx: usize, stage: Stage, error: &anyhow::Error, watch: &mut impl FnMut(&Event)) {
        let cell = &self.file.cells[idx];
        let (network, label) = (cell.network_label(), cell.run.clone());
        let failure = Failure { network, label, stage, error: format!("{error:#}") };
        self.ledger.fail(&Place::of(self.file, cell, self.folder).name, &checksum(cell), failure.clone());
        watch(&Event::Failed(failure.clone()));
        self.states[idx] = State::Failed(failure);
    }

    /// `seed 1: norm p=4 κ=0.4`
    fn what(&self, idx: usize) -> String {
        let cell = &self.file.cells[idx];
        format!("{}: {}", cell.network_label(), cell.run)
    }

    /// Combinations that failed.
    pub fn failures(&self) -> Vec<Failure> {
        let failed = |state: &State| if let State::Failed(failure) = state { Some(failure.clone()) } else { None };
        self.states.iter().filter_map(failed).collect()
    }

    /// What the user should know of the finished combinations, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut all = Vec::new();
        for idx in self.groups().concat() {
            if let State::Finished { notes, .. } = &self.states[idx] {
                all.extend(notes.iter().map(|note| format!("{}: {note}", self.what(idx))));
            }
        }
        all
    }

    /// Everything that has been measured so far; `None` if nothing has.
    pub fn record(&self) -> Option<ExperimentRecord> {
        let base = &self.file.base;
        let runs: Vec<RunRecord> = self
            .groups()
            .concat()
            .into_iter()
            .filter_map(
                |idx| if let State::Finished { run, .. } = &self.states[idx] { Some((**run).clone()) } else { None },
            )
            .collect();
        Some(ExperimentRecord {
            name: base.name.clone(),
            description: base.description.clone(),
            quartic_version: env!("CARGO_PKG_VERSION").to_owned(),
            config: config_text(self.file),
            dataset: self.dataset.clone()?,
            networks: self.networks.clone(),
            runs,
            sweep: self.sweep_record(),
        })
    }

    fn sweep_record(&self) -> SweepRecord {
        if self.file.axes.is_empty() {
            return SweepRecord::default();
        }
        let cells = self.file.cells.iter().zip(&self.states).map(|(cell, state)| CellRecord {
            network: cell.network_label(),
            label: cell.run.clone(),
            method: cell.method(),
            variant: cell.variant.clone(),
            replicate: cell.replicate.clone(),
            levels: cell.levels.clone(),
            values: cell.values.clone(),
            state: match state {
                State::Waiting => CellState::Waiting,
                State::Finished { .. } => CellState::Finished,
                State::Failed(Failure { stage, error, .. }) => {
                    CellState::Failed { stage: stage.to_string(), error: error.clone() }
                }
            },
        });
        SweepRecord {
            baseline: self.file.base.report.baseline.clone(),
            axes: self.file.axes.iter().map(axis_record).collect(),
            columns: self.file.columns.clone(),
            cells: cells.collect(),
        }
    }
}

fn axis_record(axis: &Axis) -> AxisRecord {
    let role = if axis.is_replication() {
        AxisRole::Replication
    } else if axis.is_of_network() {
        AxisRole::Network
    } else {
        AxisRole::Run
    };
    AxisRecord { key: axis.path.clone(), role }
}

/// Runs a stage so that a bug in it, too, is a failure of its combination alone.
fn guarded<T>(stage: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a stage has touched is its own: files that it had not renamed, and values that are dropped here.
    catch_unwind(AssertUnwindSafe(stage)).unwrap_or_else(|panic| Err(anyhow!("{}", panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a bug in Quartic: {}", text.as_deref().unwrap_or("panicked"))
}
