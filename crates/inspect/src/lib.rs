//! What a file holds: layers, shapes, ranges, accuracies, and where it comes from.
//!
//! - [`tensors`]: safetensors files, Quartic's own and others
//! - [`records`]: JSON files
//! - [`graph`]: NIR graphs, Quartic's own and others
//!
//! A file's kind is told from its contents, not from its name. An [`Inspection`] is facts and tables, for people or for
//! programs. Never prints, never exits.
//!
//! ```no_run
//! let found = inspect::inspect("runs/quickstart/snn.safetensors".as_ref())?.json();
//! println!("{}: κ = {}", found["kind"], found["kappa"]);
//! # Ok::<(), inspect::InspectError>(())
//! ```

pub mod graph;
pub mod records;
pub mod tensors;

use std::path::{Path, PathBuf};

use model::artefact::{self, ArtefactError, sha256_hex};
use report::{Column, Table};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    path: PathBuf,
    n_bytes: usize,
    sha256: String,
    found: Found,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// What it is: `spiking network`.
    pub kind: &'static str,
    /// Single values by name, in the order in which they are shown.
    pub facts: Map<String, Value>,
    /// Lists by name, each row with the same keys.
    pub tables: Vec<(&'static str, Vec<Map<String, Value>>)>,
}

/// A file that nothing can be said about.
#[derive(Debug, Error)]
pub enum InspectError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] ArtefactError),
    /// It is something else, or damaged.
    #[error("{}: {found}; {remedy}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It is a converted network, but a damaged one.
    #[error(transparent)]
    Network(#[from] snn::artefact::SnnFileError),
}

/// Why the contents of a file cannot be told: what was found, and what to do.
pub(crate) type Refusal = (String, &'static str);

/// Says what a file holds.
///
/// # Errors
/// [`InspectError`] if it cannot be read, is of a kind that is not known, or damaged.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let unreadable = |(found, remedy)| InspectError::Unreadable { path: path.to_owned(), found, remedy };
    let bytes = artefact::read_bytes(path, "name a file that can be read")?;
    let found = match bytes.as_slice() {
        [0x89, b'H', b'D', b'F', ..] => graph::inspect(&bytes).map_err(unreadable)?,
        [b'{' | b' ' | b'\n', ..] => records::inspect(&bytes, path).map_err(unreadable)?,
        _ => match weights_of_others(&bytes, path) {
            Some(kind) => return Err(unreadable((format!("{kind}, of which nothing is shown"), WEIGHTS_REMEDY))),
            None => tensors::inspect(&bytes, path)?,
        },
    };
    Ok(Inspection { path: path.to_owned(), n_bytes: bytes.len(), sha256: sha256_hex(&bytes), found })
}

/// What to do with weights that conversion reads.
const WEIGHTS_REMEDY: &str = "`convert CONFIG --weights FILE` says what it takes for what";

/// Kind of a file that conversion reads, if it is one and no safetensors file, which may begin with any length.
fn weights_of_others(bytes: &[u8], path: &Path) -> Option<&'static str> {
    match bytes {
        [_, _, _, _, _, _, _, _, b'{', ..] => None,
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => Some("a PyTorch checkpoint or another archive"),
        _ if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) => Some("an ONNX file"),
        _ => None,
    }
}

impl Inspection {
    /// What was found.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// For programs, in one line.
    pub fn json(&self) -> Value {
        let Found { kind, facts, tables } = &self.found;
        let mut whole = Map::new();
        whole.insert("file".to_owned(), json!(self.path));
        whole.insert("kind".to_owned(), json!(kind));
        whole.insert("bytes".to_owned(), json!(self.n_bytes));
        whole.insert("sha256".to_owned(), json!(self.sha256));
        whole.extend(facts.clone());
        whole.extend(tables.iter().map(|(name, rows)| ((*name).to_owned(), json!(rows))));
        Value::Object(whole)
    }

    /// For people.
    pub fn text(&self) -> String {
        let Found { kind, facts, tables } = &self.found;
        let mut text = format!("{}: {kind}\n", self.path.display());
        let own = [("bytes".to_owned(), json!(self.n_bytes)), ("sha256".to_owned(), json!(self.sha256))];
        let facts: Vec<(&str, String)> = facts
            .iter()
            .chain(own.iter().map(|(name, value)| (name, value)))
            .map(|(name, value)| (name.as_str(), cell(value)))
            .collect();
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts {
            let mut lines = value.lines();
            text += &format!("  {:width$}  {}\n", name.replace('_', " "), lines.next().unwrap_or_default());
            text.extend(lines.map(|line| format!("  {:width$}  {line}\n", "")));
        }
        for (name, rows) in tables {
            text += &format!("\n{}", report::terminal(&table(name, rows)));
        }
        text
    }
}

fn table(name: &str, rows: &[Map<String, Value>]) -> Table {
    let names: Vec<&String> = rows.first().into_iter().flat_map(Map::keys).collect();
    let is_number = |name: &str| rows.iter().all(|row| !matches!(row[name], Value::String(_)));
    let column = |name: &&String| {
        let shown = if **name == "lambda" { "λ".to_owned() } else { name.replace('_', " ") };
        if is_number(name) { Column::number(shown) } else { Column::text(shown) }
    };
    Table {
        title: name.to_owned(),
        columns: names.iter().map(column).collect(),
        rows: rows.iter().map(|row| row.values().map(cell).collect()).collect(),
    }
}

/// A value for people: shapes as `4×8×8`, ranges as `−1 … 2`.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(value) => float(value),
            None => number.to_string(),
        },
        Value::Array(values) => {
            values.iter().map(cell).collect::<Vec<_>>().join(if values.iter().all(Value::is_u64) { "×" } else { ", " })
        }
        Value::Object(range) if range.keys().eq(["min", "max"]) => {
            let (min, max) = (cell(&range["min"]), cell(&range["max"]));
            if min == max { min } else { format!("{min} … {max}") }
        }
        Value::Object(_) => value.to_string(),
    }
}

fn float(value: f64) -> String {
    if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

/// The smallest and the largest of some values; `null` if there are none.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> Value {
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
        let (min, max) = ends.unwrap_or((value, value));
        // NaN is a range of its own, or it would go unseen.
        if value.is_nan() || min.is_nan() { Some((f64::NAN, f64::NAN)) } else { Some((min.min(value), max.max(value))) }
    });
    // JSON has no words for values that are not finite.
    let number = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
    ends.map_or(Value::Null, |(min, max)| json!({"min": number(min), "max": number(max)}))
}

/// A row of a table.
pub(crate) fn row<const N: usize>(cells: [(&str, Value); N]) -> Map<String, Value> {
    cells.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Adds facts, leaving out what is not known.
pub(crate) fn add<const N: usize>(facts: &mut Map<String, Value>, more: [(&str, Value); N]) {
    facts.extend(more.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)));
}

/// What a configuration says of a network: the experiment's name, its layers, how it is run.
pub(crate) fn configuration(facts: &mut Map<String, Value>, config: &Value) {
    let Some(text) = config.as_str() else { return };
    match model::config::ExperimentFile::parse(text, Path::new("config"), &[]) {
        Ok(file) => {
            let (experiment, run) = (&file.base, &file.base.simulate);
            let run =
                format!("{} input, reset {}, readout {}, T = {}", run.encoding, run.reset, run.readout, run.steps);
            add(
                facts,
                [
                    ("experiment", json!(experiment.name)),
                    ("seed", json!(experiment.seed)),
                    ("data", json!(experiment.data.dataset)),
                    ("architecture", json!(experiment.architecture.to_string())),
                    ("run", json!(run)),
                ],
            );
        }
        Err(_) => add(facts, [("configuration", json!("not understood by this version"))]),
    }
}

/// A recipe's checksum: equal for files that were made of the same things in the same way.
pub(crate) fn recipe(facts: &mut Map<String, Value>, recipe: &Value) {
    if !recipe.is_null() {
        add(facts, [("recipe_sha256", json!(sha256_hex(recipe.to_string().as_bytes())))]);
    }
}
