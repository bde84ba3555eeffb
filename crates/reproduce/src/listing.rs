//! What experiments there are: size, cost, data, and what has been run (`reproduce --list`).
//!
//! Reads experiment files, data sets and the notes of earlier runs; trains nothing but, where no run has told how fast this machine
//! is, two small networks to find out.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use datasets::{DataSet, DatasetName, Split};
use indicatif::HumanDuration;
use model::Experiment;
use model::config::{ConfigError, ExperimentFile};
use serde::Deserialize;

use crate::cells::{Place, checksum, groups};
use crate::ledger::Ledger;
use crate::times::{Kind, Timed, Times, work};
use crate::{Options, Stage};

/// One experiment file.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The file.
    pub path: PathBuf,
    /// Name of the experiment.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// Trained networks.
    pub n_networks: usize,
    /// Conversions and simulations of each network.
    pub n_runs: usize,
    /// Simulation seeds of the first of them.
    pub n_seeds: usize,
    /// What has been run.
    pub cells: Cells,
    /// The data set; why it cannot be used, where it cannot.
    pub data: (String, Option<String>),
    /// What it costs.
    pub cost: Cost,
}

/// How many combinations of an experiment have been run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cells {
    /// All of them.
    pub all: usize,
    /// Finished, with this configuration.
    pub finished: usize,
    /// Failed when last run with this configuration.
    pub failed: usize,
    /// Networks that are trained.
    pub trained: usize,
}

/// Estimated time of an experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Of everything.
    pub all: Duration,
    /// Of what has not been run.
    pub left: Duration,
    /// What it is estimated from.
    pub source: Source,
}

/// What a time is estimated from; a sum of several sources is as good as the last of them here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Times of this experiment's own stages.
    Own,
    /// Times of like stages of other experiments, by amount of work.
    Others,
    /// Times of small networks trained just now, by amount of work.
    Calibration,
}

/// Lists experiment files.
///
/// - `paths`: files, and folders with files at any depth
/// - `runs`: folder for results
/// - `calibrating`: told before small networks are trained
///
/// # Errors
/// If a path is not there, a folder holds no experiment file, a file is no valid experiment, or the calibration fails.
pub fn list(
    paths: &[PathBuf],
    overrides: &[String],
    runs: &Path,
    mut calibrating: impl FnMut(),
) -> Result<Vec<Listing>> {
    let mut files = Vec::new();
    for path in paths {
        let found = files_below(path)?;
        if found.is_empty() {
            bail!("{}: holds no experiment file (*.toml); give a file or another folder", path.display());
        }
        files.extend(found);
    }
    let read: Vec<(PathBuf, Result<ExperimentFile, ConfigError>)> =
        files.into_iter().map(|path| (path.clone(), ExperimentFile::read(&path, overrides))).collect();
    let problems: Vec<String> =
        read.iter().filter_map(|(_, file)| file.as_ref().err().map(ToString::to_string)).collect();
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    let mut speeds = Speeds::of(runs);
    let mut data = HashMap::new();
    let mut listings = Vec::new();
    for (path, file) in read {
        let file = file.map_err(|error| anyhow!("{error}"))?;
        listings.push(describe(path, &file, runs, &mut speeds, &mut data, &mut calibrating)?);
    }
    Ok(listings)
}

/// Experiment files below a path, in order; results that lie beside them are none.
fn files_below(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let context = |error: std::io::Error| anyhow!("{}: {error}; give a file or a folder", path.display());
    let mut inner: Vec<PathBuf> =
        std::fs::read_dir(path).map_err(context)?.flatten().map(|entry| entry.path()).collect();
    inner.sort();
    let mut files = Vec::new();
    for path in inner {
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(files)
}

fn describe(
    path: PathBuf,
    file: &ExperimentFile,
    runs: &Path,
    speeds: &mut Speeds,
    data: &mut HashMap<(DatasetName, Option<PathBuf>), Option<String>>,
    calibrating: &mut impl FnMut(),
) -> Result<Listing> {
    let folder = runs.join(&file.base.name);
    let ledger = Ledger::read(&folder);
    let own = Rates::of(Times::read(&folder).all());
    let groups = groups(file);
    let mut cells = Cells { all: file.cells.len(), ..Cells::default() };
    let mut cost = Cost { all: Duration::ZERO, left: Duration::ZERO, source: Source::Own };
    let mut add = |experiment: &Experiment, stage: Stage, left: bool| -> Result<()> {
        let kind = Kind::of(stage, experiment);
        let (rate, source) = match own.rate(&kind) {
            Some(rate) => (rate, Source::Own),
            None => speeds.rate(&kind, calibrating)?,
        };
        let time = Duration::from_secs_f64((rate * work(stage, experiment)).min(1e9));
        cost.all += time;
        if left {
            cost.left += time;
        }
        cost.source = cost.source.max(source);
        Ok(())
    };
    for group in &groups {
        let first = &file.cells[group[0]];
        let trained = train::seems_trained(&first.experiment, &Place::of(file, first, &folder).network);
        cells.trained += usize::from(trained);
        add(&first.experiment, Stage::Train, !trained)?;
        for &idx in group {
            let cell = &file.cells[idx];
            let (place, checksum) = (Place::of(file, cell, &folder), checksum(cell));
            let finished = trained
                && (ledger.unchanged(&place.name, &checksum, &place.files).is_some()
                    || seems_finished(&cell.experiment, &place.folder));
            let failed = !finished && ledger.failure(&place.name, &checksum).is_some();
            cells.finished += usize::from(finished);
            cells.failed += usize::from(failed);
            add(&cell.experiment, Stage::Convert, !finished)?;
            add(&cell.experiment, Stage::Simulate, !finished)?;
        }
    }
    let key = (file.base.data.dataset, file.base.data.path.clone());
    let missing = data.entry(key).or_insert_with(|| problem_of_data(&file.base)).clone();
    Ok(Listing {
        path,
        name: file.base.name.clone(),
        description: file.base.description.clone(),
        n_networks: groups.len(),
        n_runs: groups.iter().map(Vec::len).max().unwrap_or(0),
        n_seeds: file.cells[0].experiment.simulate.seeds.len(),
        cells,
        data: (file.base.data.dataset.to_string(), missing),
        cost,
    })
}

/// Whether a folder holds results of this configuration, of a run that kept no ledger.
fn seems_finished(experiment: &Experiment, folder: &Path) -> bool {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        config: String,
    }
    let head = std::fs::read(folder.join(simulate::FILE_NAME)).ok();
    let head: Option<Head> = head.and_then(|text| serde_json::from_slice(&text).ok());
    head.is_some_and(|head| head.format == simulate::FORMAT && experiment.is_config(&head.config))
}

/// Why the data set of an experiment cannot be used; `None` if it can.
fn problem_of_data(experiment: &Experiment) -> Option<String> {
    let data = match DataSet::open(&experiment.data, Some(experiment.architecture.input())) {
        Ok(data) => data,
        Err(error) => return Some(error.to_string()),
    };
    [Split::Train, Split::Test].into_iter().find_map(|split| data.samples(split).err()).map(|error| error.to_string())
}

/// Seconds per unit of work, by kind: of all that was done, the time over the work.
struct Rates(BTreeMap<Kind, (f64, f64)>);

impl Rates {
    fn of<'a>(times: impl IntoIterator<Item = &'a Timed>) -> Self {
        let mut rates = Self(BTreeMap::new());
        for timed in times {
            rates.add(timed);
        }
        rates
    }

    fn add(&mut self, timed: &Timed) {
        let (seconds, work) = self.0.entry(timed.kind.clone()).or_default();
        *seconds += timed.seconds;
        *work += timed.work;
    }

    fn rate(&self, kind: &Kind) -> Option<f64> {
        self.0.get(kind).filter(|(_, work)| *work > 0.0).map(|(seconds, work)| seconds / work)
    }
}

/// How fast this machine is, as far as known.
struct Speeds {
    earlier: Rates,
    calibrated: Rates,
}

impl Speeds {
    /// What the experiments in a folder for results took.
    fn of(runs: &Path) -> Self {
        let folders = std::fs::read_dir(runs).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
        let folders: Vec<PathBuf> = folders.unwrap_or_default();
        let times: Vec<Times> = folders.iter().map(|folder| Times::read(folder)).collect();
        Self { earlier: Rates::of(times.iter().flat_map(Times::all)), calibrated: Rates(BTreeMap::new()) }
    }

    fn rate(&mut self, kind: &Kind, calibrating: &mut impl FnMut()) -> Result<(f64, Source)> {
        if let Some(rate) = self.earlier.rate(kind) {
            return Ok((rate, Source::Others));
        }
        if self.calibrated.rate(kind).is_none() {
            calibrating();
            self.calibrate(kind)?;
        }
        let rate = self.calibrated.rate(kind).ok_or_else(|| anyhow!("{kind:?}: the calibration did not time it"))?;
        Ok((rate, Source::Calibration))
    }

    /// Trains, converts and simulates a small network of a kind.
    fn calibrate(&mut self, kind: &Kind) -> Result<()> {
        let folder = tempfile::tempdir()?;
        // Training does not depend on the engine.
        let engine = if kind.engine.is_empty() { "event" } else { &kind.engine };
        // A backend that is not built in is as fast as one that is, for all that can be known here.
        let backend = kind.backend.parse::<model::Backend>().ok().filter(|backend| ann::backend::is_built_in(*backend));
        let text = if kind.convolutional { CONVOLUTIONAL } else { DENSE };
        let mut overrides = vec![format!("simulate.engine={engine}")];
        overrides.extend(backend.map(|backend| format!("backend={backend}")));
        let file = ExperimentFile::parse(text, Path::new("calibration"), &overrides)?;
        crate::run(&file, folder.path(), Options::default(), |_| {})?;
        for timed in Times::read(&folder.path().join(&file.base.name)).all() {
            let kind = Kind { backend: kind.backend.clone(), ..timed.kind.clone() };
            self.calibrated.add(&Timed { kind, ..timed.clone() });
        }
        Ok(())
    }
}

/// A network of dense layers, large enough that what goes with each batch and sample does not count.
const DENSE: &str = r#"
name = "calibration"
data.dataset = "digits"
train = { epochs = 1, batch_size = 128 }
simulate = { steps = 16, probe_samples = 10, raster_samples = 0 }
[model]
input = [1, 8, 8]
layers = [
  { kind = "flatten" },
  { kind = "dense", units = 1024 }, { kind = "relu" },
  { kind = "dense", units = 1024 }, { kind = "relu" },
  { kind = "dense", units = 10 },
]
"#;

/// The same of convolutions, with images as large as those embedded are.
const CONVOLUTIONAL: &str = r#"
name = "calibration"
data.dataset = "digits"
train = { epochs = 1, batch_size = 128 }
simulate = { steps = 16, samples = 500, probe_samples = 10, raster_samples = 0 }
[model]
input = [1, 8, 8]
layers = [
  { kind = "conv2d", channels = 32, kernel = 3, padding = 1 }, { kind = "relu" },
  { kind = "conv2d", channels = 64, kernel = 3, padding = 1 }, { kind = "relu" },
  { kind = "conv2d", channels = 64, kernel = 3, padding = 1 }, { kind = "relu" },
  { kind = "avg-pool", kernel = 2 },
  { kind = "flatten" },
  { kind = "dense", units = 10 },
]
"#;

/// The listing for people.
pub fn text(listings: &[Listing]) -> String {
    let mut text = String::new();
    for listing in listings {
        let Listing { path, name, description, n_networks, n_runs, n_seeds, cells, data, cost } = listing;
        text += &format!("{} ({name})\n", path.display());
        if !description.is_empty() {
            text += &format!("  {description}\n");
        }
        text += &format!(
            "  size: {} × {} × {} = {}\n",
            number_of(*n_networks, "network"),
            number_of(*n_runs, "conversion"),
            number_of(*n_seeds, "simulation seed"),
            number_of(cells.all * n_seeds, "run")
        );
        text += &format!("  state: {}\n", state(*n_networks, *cells));
        text += &match data {
            (name, None) => format!("  data: {name}, there\n"),
            (name, Some(problem)) => format!("  data: {name}, NOT there: {problem}\n"),
        };
        let source = match cost.source {
            Source::Own => "by its own recorded times",
            Source::Others => "by recorded times of other experiments, scaled",
            Source::Calibration => "by timing small networks now, scaled; right within a small factor",
        };
        let left = if cost.left.is_zero() { "nothing".to_owned() } else { duration(cost.left) };
        text += &format!("  time: {} in all, {left} left ({source})\n\n", duration(cost.all));
    }
    text
}

fn state(n_networks: usize, cells: Cells) -> String {
    let Cells { all, finished, failed, trained } = cells;
    match (finished, failed, trained) {
        (0, 0, 0) => "not run".to_owned(),
        (done, 0, _) if done == all => format!("finished, {}", number_of(all, "combination")),
        _ => {
            let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
            format!(
                "partial: {finished} of {} finished{failed}, {trained} of {} trained",
                number_of(all, "combination"),
                number_of(n_networks, "network")
            )
        }
    }
}

fn number_of(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) { "under a second".to_owned() } else { HumanDuration(time).to_string() }
}
