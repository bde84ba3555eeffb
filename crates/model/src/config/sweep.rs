//! `[sweep]`: lists over any key or section; every combination is one [`Cell`].

use toml::{Table, Value};

use super::schema::{self, brief};
use super::{Experiment, Problem};

/// Most combinations of one sweep.
const MAX_CELLS: usize = 10_000;

/// One axis of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Dotted path of a key, or of a section.
    pub path: String,
    /// The values that it takes; tables if the path is a section.
    pub values: Vec<Value>,
}

/// One combination of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What tells its network from the others', `seed 1` say; empty if there is one network only.
    pub network: String,
    /// What tells its conversion and simulation from the others'; never empty.
    pub run: String,
    /// The experiment with the cell's values put in, and no sweep.
    pub experiment: Experiment,
}

/// Reads `[sweep]`; nested tables and dotted keys are the same thing.
pub(super) fn axes(raw: &Table, problems: &mut Vec<Problem>) -> Vec<Axis> {
    let mut axes = Vec::new();
    match raw.get("sweep") {
        None => {}
        Some(Value::Table(table)) => collect(table, "", &mut axes, problems),
        Some(other) => problems.push(Problem::new("sweep", format!("found {}; give a table `[sweep]`", brief(other)))),
    }
    let cells = axes.iter().fold(1usize, |cells, axis| cells.saturating_mul(axis.values.len()));
    if cells > MAX_CELLS {
        problems.push(Problem::new(
            "sweep",
            format!("{cells} combinations; at most {MAX_CELLS} are run, shorten the lists"),
        ));
    }
    axes
}

fn collect(table: &Table, prefix: &str, axes: &mut Vec<Axis>, problems: &mut Vec<Problem>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let place = format!("sweep.{path}");
        if !schema::is_key(&path) && !schema::is_section(&path) {
            let mut problem = schema::unknown(&path);
            problem.path = place;
            problems.push(problem);
            continue;
        }
        if ["name", "description"].contains(&path.as_str()) {
            problems.push(Problem::new(&place, "names the experiment, so it cannot be swept; remove it".to_owned()));
            continue;
        }
        match value {
            Value::Table(inner) if schema::is_section(&path) => collect(inner, &path, axes, problems),
            Value::Array(values) if !values.is_empty() => {
                if schema::is_section(&path) && !values.iter().all(Value::is_table) {
                    problems
                        .push(Problem::new(&place, format!("found {}; a section is swept over tables", brief(value))));
                } else if (1..values.len()).any(|i| values[..i].contains(&values[i])) {
                    problems.push(Problem::new(&place, "a value stands twice; remove one".to_owned()));
                } else {
                    axes.push(Axis { path, values: values.clone() });
                }
            }
            other => problems.push(Problem::new(&place, format!("found {}; give a list of values", brief(other)))),
        }
    }
}

/// Every combination, the last axis varying fastest; one cell without a sweep.
pub(super) fn cells(base: &Table, axes: &[Axis], problems: &mut Vec<Problem>) -> Vec<Cell> {
    let mut choices: Vec<Vec<usize>> = vec![Vec::new()];
    for axis in axes {
        choices = choices
            .iter()
            .flat_map(|choice| (0..axis.values.len()).map(|value_idx| [choice.as_slice(), &[value_idx]].concat()))
            .collect();
    }
    let mut cells: Vec<Cell> = Vec::new();
    for choice in choices {
        let mut table = base.clone();
        let (mut network, mut run) = (Vec::new(), Vec::new());
        let (mut converts, mut faults) = (false, false);
        for (axis, &value_idx) in axes.iter().zip(&choice) {
            let value = &axis.values[value_idx];
            match value {
                Value::Table(section) if schema::is_section(&axis.path) => merge(&mut table, &axis.path, section),
                _ => schema::insert(&mut table, &axis.path, value.clone()),
            }
            let text = match value {
                Value::String(text) => text.clone(),
                other => brief(other),
            };
            let last = axis.path.rsplit('.').next().unwrap_or_default();
            if METHOD_KEYS.contains(&axis.path.as_str()) {
                converts = true;
            } else if axis.path.starts_with("simulate.faults") {
                faults = true;
            } else if axis.path.starts_with("convert.") || axis.path.starts_with("simulate") {
                run.push(format!("{last} {text}"));
            } else {
                network.push(format!("{last} {text}"));
            }
        }
        let before = problems.len();
        let experiment = super::experiment(&table, problems);
        for problem in &mut problems[before..] {
            problem.message = format!("in a combination of [sweep]: {}", problem.message);
        }
        let Some(experiment) = experiment else { continue };
        if converts || faults || run.is_empty() {
            run.insert(0, experiment.convert.label());
        }
        if faults {
            run.push(experiment.simulate.faults.label());
        }
        let cell = Cell { network: network.join(", "), run: run.join(", "), experiment };
        let folders = |cell: &Cell| (folder_name(&cell.network), folder_name(&cell.run));
        if cells.iter().any(|other| folders(other) == folders(&cell)) {
            let path = if converts { "sweep.convert" } else { "sweep" };
            let message = format!("two combinations are both called `{}`; give them different `label`s", cell.run);
            if !problems.iter().any(|problem| problem.message == message) {
                problems.push(Problem::new(path, message));
            }
            continue;
        }
        cells.push(cell);
    }
    cells
}

/// Paths whose values the conversion's own label tells apart.
const METHOD_KEYS: [&str; 10] = [
    "convert",
    "convert.label",
    "convert.method",
    "convert.p",
    "convert.kappa",
    "convert.percentile",
    "convert.scale",
    "convert.compensate",
    "convert.calibrate",
    "convert.sum_bits",
];

fn merge(table: &mut Table, section: &str, values: &Table) {
    for (name, value) in values {
        let path = format!("{section}.{name}");
        match value {
            Value::Table(inner) if schema::is_section(&path) => merge(table, &path, inner),
            _ => schema::insert(table, &path, value.clone()),
        }
    }
}

/// A label as the name of a folder: `norm p=4 κ=0.4` → `norm-p-4-k-0.4`.
pub fn folder_name(label: &str) -> String {
    let mut name = String::new();
    for c in label.chars() {
        match c {
            'κ' => name.push('k'),
            '∞' => name.push_str("inf"),
            '×' => name.push('x'),
            '½' => name.push_str("half"),
            c if c.is_ascii_alphanumeric() || c == '.' || c == '_' => name.push(c),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.trim_end_matches('-').to_owned()
}
