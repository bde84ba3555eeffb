//! What is made of an experiment's record, all in the run's folder:
//!
//! - `experiment.json`: the record itself
//! - `results.csv`: every step of every run, tidy; `results-columns.md` says what its columns are
//! - `table.md`, `intervals.md`, `differences.md`, `early-exit.md`: accuracies; their confidence intervals; the baseline against each
//!   other method; samples stopped early
//! - `findings.md`: what it shows, in sentences
//! - `accuracy-light.svg`, `accuracy-operations-light.svg` and the same for `dark`
//! - `report.html`
//!
//! Of an unfinished or partly failed sweep, tables and findings say so in their first line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use model::artefact::write_atomically;
use model::config::ExperimentFile;
use report::Table;
use report::record::{CellState, ExperimentRecord};

/// Figures that are left out where operations were not counted.
const OPTIONAL_FIGURES: [&str; 2] = ["accuracy-operations-light.svg", "accuracy-operations-dark.svg"];

/// Writes everything that is made of a record; returns the path of the page.
///
/// # Errors
/// If the folder cannot be written to.
pub fn write(record: &ExperimentRecord, folder: &Path) -> Result<PathBuf> {
    let put = |name: &str, text: &str| write_atomically(&folder.join(name), text.as_bytes());
    let table = |table: &Table| format!("{}{}", partial(record), report::markdown(table));
    put("experiment.json", &serde_json::to_string(record)?)?;
    put("results.csv", &report::tidy_csv(record)?)?;
    put("results-columns.md", &report::markdown(&report::tidy_column_table(record)))?;
    put("table.md", &table(&report::accuracy_table(record)))?;
    let optional = [
        ("intervals.md", report::interval_table(record)),
        ("differences.md", report::difference_table(record)),
        ("early-exit.md", report::early_exit_table(record)),
    ];
    for (name, made) in &optional {
        match made {
            Some(made) => put(name, &table(made))?,
            None => remove(&folder.join(name))?,
        }
    }
    put("findings.md", &report::findings_markdown(record))?;
    let figures = report::figures(record)?;
    for name in OPTIONAL_FIGURES.iter().filter(|name| figures.iter().all(|figure| figure.file_name != **name)) {
        remove(&folder.join(name))?;
    }
    for figure in figures {
        put(&figure.file_name, &figure.svg)?;
    }
    put("report.html", &report::html(record)?)?;
    Ok(folder.join("report.html"))
}

/// First line of a table of an unfinished sweep; empty for a finished one.
fn partial(record: &ExperimentRecord) -> String {
    let cells = &record.sweep.cells;
    let finished = cells.iter().filter(|cell| cell.state == CellState::Finished).count();
    if finished == cells.len() {
        return String::new();
    }
    format!("Partial: {finished} of {} combinations.\n\n", cells.len())
}

/// Removes what an earlier run made and this one does not.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(anyhow::anyhow!("{}: {error}; it is of an earlier run, remove it", path.display()))
        }
        _ => Ok(()),
    }
}

/// The resolved configuration, with the sweep that it was expanded from.
pub(crate) fn config_text(file: &ExperimentFile) -> String {
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
