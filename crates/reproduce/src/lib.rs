//! A whole experiment from one configuration: train → convert → simulate → report, for every combination of its sweep.
//!
//! In `RUNS/NAME/`: one folder per trained network (none without a sweep over training) with `ann.safetensors`, in it
//! one folder per conversion (none without a sweep) with `snn.safetensors` and `results.json`; and for all of them
//! together `experiment.json`, `results.csv`, `table.md`, `differences.md`, `early-exit.md`, `law.md`, `loss.md`, `faults.md`,
//! `accuracy-light.svg` and `-dark.svg`, the same of `law`, `loss` and `faults`, and `report.html`; those of things that were
//! measured.
//! What is there and unchanged is not made again, so a run that was cut off goes on where it stopped.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use model::artefact::write_atomically;
pub use model::cli::Options;
use model::config::{Cell, ExperimentFile, folder_name};
use report::record::{AnnRecord, ExperimentRecord};

/// A finished experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Everything that was measured.
    pub record: ExperimentRecord,
    /// The report.
    pub page: PathBuf,
    /// What the user should know beyond that, one sentence each.
    pub notes: Vec<String>,
}

/// What happens next, for whoever shows progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Number of the step, from 1.
    pub number: usize,
    /// Number of steps.
    pub of: usize,
    /// What is done: `seed 1: norm p=4 κ=0.4`.
    pub what: String,
}

/// Runs every combination of an experiment and reports them side by side.
///
/// - `runs`: folder for results; the experiment's are in a folder of its name
/// - `announce`: told before each step
///
/// # Errors
/// The first step that fails, with its name; what was finished before stays.
pub fn run(file: &ExperimentFile, runs: &Path, options: Options, announce: impl Fn(&Step)) -> Result<Outcome> {
    let folder = runs.join(&file.base.name);
    let mut networks: Vec<AnnRecord> = Vec::new();
    let mut record_runs = Vec::new();
    let mut dataset = None;
    let mut notes = Vec::new();
    let groups = groups(&file.cells);
    let of = groups.len() + file.cells.len();
    let mut number = 0;
    let mut step = |what: String| {
        number += 1;
        announce(&Step { number, of, what });
    };
    for cells in groups {
        let first = &cells[0].experiment;
        let network = network_label(cells[0]);
        let network_folder = folder.join(folder_name(&cells[0].network));
        step(format!("{network}: train {}", first.architecture));
        let trained = train::run(first, &network_folder, Some(runs), options).with_context(|| network.clone())?;
        for cell in cells {
            let label = &cell.run;
            step(format!("{network}: {label}"));
            let cell_folder =
                if file.cells.len() == 1 { network_folder.clone() } else { network_folder.join(folder_name(label)) };
            let context = || format!("{network}: {label}");
            let converted =
                convert::run(&cell.experiment, &trained.path, &cell_folder, options).with_context(context)?;
            let simulated =
                simulate::run(&cell.experiment, &network, label, &cell_folder, options).with_context(context)?;
            notes.extend(
                converted.notes.into_iter().chain(simulated.notes).map(|note| format!("{network}: {label}: {note}")),
            );
            let results = simulated.results;
            if networks.iter().all(|known| known.label != network) {
                networks.push(AnnRecord { epochs: trained.history.clone(), ..results.ann });
            }
            dataset.get_or_insert(results.dataset);
            record_runs.push(results.run);
        }
    }
    let record = ExperimentRecord {
        name: file.base.name.clone(),
        description: file.base.description.clone(),
        quartic_version: env!("CARGO_PKG_VERSION").to_owned(),
        config: config_text(file),
        dataset: dataset.expect("a checked file has at least one combination"),
        networks,
        runs: record_runs,
    };
    let page = write(&record, &folder)?;
    Ok(Outcome { record, page, notes })
}

/// Combinations that share a trained network, in the order of the file.
fn groups(cells: &[Cell]) -> Vec<Vec<&Cell>> {
    let mut groups: Vec<Vec<&Cell>> = Vec::new();
    for cell in cells {
        match groups.iter_mut().find(|group| group[0].network == cell.network) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups
}

fn network_label(cell: &Cell) -> String {
    if cell.network.is_empty() { format!("seed {}", cell.experiment.seed) } else { cell.network.clone() }
}

/// The resolved configuration, with the sweep that it was expanded from.
fn config_text(file: &ExperimentFile) -> String {
    let mut text = file.base.to_toml();
    if !file.axes.is_empty() {
        text.push_str("\n[sweep]\n");
        for axis in &file.axes {
            let values: Vec<String> = axis.values.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "{} = [{}]", axis.path, values.join(", "));
        }
    }
    text
}

/// A table in Markdown under its title.
fn with_title(table: &report::Table) -> String {
    format!("{}\n\n{}", table.title, report::markdown(table))
}

/// Writes everything that is made of a record; returns the path of the page.
fn write(record: &ExperimentRecord, folder: &Path) -> Result<PathBuf> {
    let put = |name: &str, text: &str| write_atomically(&folder.join(name), text.as_bytes());
    put("experiment.json", &serde_json::to_string(record)?)?;
    put("results.csv", &report::tidy_csv(record)?)?;
    put("table.md", &report::markdown(&report::accuracy_table(record)))?;
    if let Some(differences) = report::difference_table(record) {
        put("differences.md", &report::markdown(&differences))?;
    }
    if let Some(early_exits) = report::early_exit_table(record) {
        put("early-exit.md", &report::markdown(&early_exits))?;
    }
    let faults: Vec<String> = report::fault_tables(record).iter().map(with_title).collect();
    if !faults.is_empty() {
        put("faults.md", &faults.join("\n"))?;
    }
    if let Some(law) = report::law_markdown(record) {
        put("law.md", &law)?;
    }
    if let Some(loss) = report::loss_markdown(record) {
        put("loss.md", &loss)?;
    }
    let figures = [
        report::figures(record)?,
        report::law_figures(record)?,
        report::loss_figures(record)?,
        report::fault_figures(record)?,
    ];
    for figure in figures.into_iter().flatten() {
        put(&figure.file_name, &figure.svg)?;
    }
    put("report.html", &report::html(record)?)?;
    Ok(folder.join("report.html"))
}
