//! What is made of an experiment's record, all in the run's folder:
//!
//! - `experiment.json`: the record itself
//! - `results.csv`: every step of every run, tidy; `results-columns.md` says what its columns are
//! - `table.md`, `intervals.md`, `differences.md`, `early-exit.md`: accuracies; their confidence intervals; the baseline against each
//!   other method; samples stopped early
//! - `law.md`, `loss.md`, `faults.md`: what the noise follows, where accuracy is lost, what faults cost, where that was measured
//! - `findings.md`: what it shows, in sentences
//! - `accuracy-light.svg`, `accuracy-operations-light.svg`, those of `factors`, `law`, `loss` and `faults`, and the same for `dark`
//! - `report.html`
//!
//! Of an unfinished or partly failed sweep, tables and findings say so in their first line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use model::artefact::{remove, write_atomically};
use model::config::ExperimentFile;
use report::Table;
use results::record::{CellState, ExperimentRecord};

/// Figures that are left out where there is nothing to draw.
const OPTIONAL_FIGURES: [&str; 10] = [
    "accuracy-operations-light.svg",
    "accuracy-operations-dark.svg",
    "factors-light.svg",
    "factors-dark.svg",
    "law-light.svg",
    "law-dark.svg",
    "loss-light.svg",
    "loss-dark.svg",
    "faults-light.svg",
    "faults-dark.svg",
];

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
    let faults: Vec<String> = report::fault_tables(record).iter().map(with_title).collect();
    let text = |text: String| format!("{}{text}", partial(record));
    let optional = [
        ("intervals.md", report::interval_table(record).as_ref().map(table)),
        ("differences.md", report::difference_table(record).as_ref().map(table)),
        ("top-five.md", report::top_five_table(record).as_ref().map(table)),
        ("early-exit.md", report::early_exit_table(record).as_ref().map(table)),
        ("law.md", report::law_markdown(record).map(text)),
        ("loss.md", report::loss_markdown(record).map(text)),
        ("faults.md", (!faults.is_empty()).then(|| text(faults.join("\n")))),
    ];
    for (name, made) in &optional {
        match made {
            Some(made) => put(name, made)?,
            None => remove(&folder.join(name))?,
        }
    }
    put("findings.md", &report::findings_markdown(record))?;
    let figures = [
        report::figures(record)?,
        report::factor_figures(record)?,
        report::law_figures(record)?,
        report::loss_figures(record)?,
        report::fault_figures(record)?,
    ]
    .concat();
    for name in OPTIONAL_FIGURES.iter().filter(|name| figures.iter().all(|figure| figure.file_name != **name)) {
        remove(&folder.join(name))?;
    }
    for figure in figures {
        put(&figure.file_name, &figure.svg)?;
    }
    put("report.html", &report::html(record)?)?;
    Ok(folder.join("report.html"))
}

/// A table in Markdown under its title.
fn with_title(table: &Table) -> String {
    format!("{}\n\n{}", table.title, report::markdown(table))
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
