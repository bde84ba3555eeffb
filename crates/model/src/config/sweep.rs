//! `[sweep]`: lists over any key or section; every combination is one [`Cell`].

use std::collections::HashMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::schema::{self, brief};
use super::{Experiment, Problem};

/// Most combinations of one sweep.
const MAX_CELLS: usize = 10_000;

/// Longest name of a cell's folder, in bytes; a longer label is cut and told apart by its checksum.
const LONGEST_FOLDER: usize = 96;

/// Bytes of a label's checksum in a folder's name: 48 bits, and labels that share what stands before them are few.
const TOLD_APART: usize = 6;

/// What names a value of a sweep over a section other than `[convert]`, which has a key of that name.
const LABEL: &str = "label";

/// One axis of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Dotted path of a key, or of a section.
    pub path: String,
    /// The values that it takes; tables if the path is a section.
    pub values: Vec<Value>,
}

impl Axis {
    /// Whether its values give different trained networks, or only different conversions and simulations of the same.
    pub fn is_of_network(&self) -> bool {
        !(self.path == "convert" || self.path.starts_with("convert.") || self.path.starts_with("simulate"))
    }

    /// Whether its values are repetitions of the same network.
    pub fn is_replication(&self) -> bool {
        self.path == "seed"
    }
}

/// One combination of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What tells its network from the others', `seed 1` say; empty if there is one network only.
    pub network: String,
    /// The same without the training seed, `784-256-10` say; empty if networks differ in their seed alone.
    pub variant: String,
    /// The training seed, `seed 1`, where it is swept.
    pub replicate: String,
    /// What tells its conversion and simulation from the others'; never empty.
    pub run: String,
    /// Its value on each axis, for people.
    pub levels: Vec<String>,
    /// Its value of each of [`super::ExperimentFile::columns`]; empty where the key has no effect on this combination.
    pub values: Vec<String>,
    /// The experiment with the cell's values put in, and no sweep.
    pub experiment: Experiment,
}

impl Cell {
    /// What is compared, whatever the training seed: conversion and simulation, and the network where there are several kinds.
    pub fn method(&self) -> String {
        if self.variant.is_empty() { self.run.clone() } else { format!("{}: {}", self.variant, self.run) }
    }

    /// Its network in sentences: `seed 1`, also where there is one only.
    pub fn network_label(&self) -> String {
        if self.network.is_empty() { format!("seed {}", self.experiment.seed) } else { self.network.clone() }
    }
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
        if let Some(why) = schema::never_swept(&path) {
            problems.push(Problem::new(&place, why.to_owned()));
            continue;
        }
        match value {
            Value::Table(inner) if schema::is_section(&path) => collect(inner, &path, axes, problems),
            Value::Array(values) if !values.is_empty() => {
                if schema::is_section(&path) && !values.iter().all(Value::is_table) {
                    problems
                        .push(Problem::new(&place, format!("found {}; a section is swept over tables", brief(value))));
                } else if let Some(label) =
                    values.iter().filter_map(|value| value.as_table()?.get(LABEL)).find(|label| !label.is_str())
                {
                    let message = format!("label: found {}; give a text in quotes", brief(label));
                    problems.push(Problem::new(&place, message));
                } else if path == "simulate.faults"
                    && values.iter().any(|value| value.as_table().is_some_and(|faults| faults.contains_key(LABEL)))
                {
                    let message = "label: faults are called by what they are; remove it".to_owned();
                    problems.push(Problem::new(&place, message));
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

/// The problem of a key that is overridden, but set to something else by every combination.
pub(super) fn without_effect(key: &str, axes: &[Axis]) -> Option<Problem> {
    let sets = |axis: &&Axis| match key.strip_prefix(&axis.path) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| {
            axis.values.iter().all(|value| value.as_table().is_some_and(|table| schema::lookup(table, rest).is_some()))
        }),
        None => false,
    };
    let axis = axes.iter().find(sets)?;
    let remedy = if axis.path == key {
        format!("give --set 'sweep.{key}=[…]', or change it there")
    } else {
        format!("change it in sweep.{}", axis.path)
    };
    Some(Problem::new("", format!("--set {key}: no effect, for [sweep] sets it in every combination; {remedy}")))
}

/// Dotted paths of the keys that a sweep sets, in its order; a given name of a section's values is a key `section`.
pub(super) fn columns(axes: &[Axis]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let mut add = |path: String| {
        // A conversion's label is known as such.
        if path != "convert.label" && !columns.contains(&path) {
            columns.push(path);
        }
    };
    for axis in axes {
        for value in &axis.values {
            match value {
                Value::Table(section) if schema::is_section(&axis.path) => {
                    if given_label(axis, section).is_some() {
                        add(axis.path.clone());
                    }
                    for (path, _) in leaves(section, &axis.path) {
                        add(path);
                    }
                }
                _ => add(axis.path.clone()),
            }
        }
    }
    columns
}

/// Every combination, the last axis varying fastest; one cell without a sweep.
pub(super) fn cells(base: &Table, axes: &[Axis], columns: &[String], problems: &mut Vec<Problem>) -> Vec<Cell> {
    let mut choices: Vec<Vec<usize>> = vec![Vec::new()];
    for axis in axes {
        choices = choices
            .iter()
            .flat_map(|choice| (0..axis.values.len()).map(|value_idx| [choice.as_slice(), &[value_idx]].concat()))
            .collect();
    }
    let levels: Vec<Vec<String>> =
        axes.iter().map(|axis| axis.values.iter().map(|value| level(base, axis, value)).collect()).collect();
    let converts = axes.iter().any(is_of_conversion);
    let mut cells: Vec<Cell> = Vec::new();
    let mut folders: HashMap<(String, String), Vec<usize>> = HashMap::new();
    for choice in choices {
        let mut table = base.clone();
        let (mut network, mut variant, mut run, mut replicate) = (Vec::new(), Vec::new(), Vec::new(), String::new());
        let mut faults = false;
        for ((axis, &value_idx), levels) in axes.iter().zip(&choice).zip(&levels) {
            let value = &axis.values[value_idx];
            put(&mut table, axis, value);
            let level = &levels[value_idx];
            let named = schema::is_section(&axis.path) || axis.path == "model.layers";
            let last = axis.path.rsplit('.').next().unwrap_or_default();
            let text = if named { level.clone() } else { format!("{last} {level}") };
            if is_of_conversion(axis) {
                continue;
            }
            if axis.path.starts_with("simulate.faults") {
                faults = true;
                continue;
            }
            if !axis.is_of_network() {
                run.push(text);
                continue;
            }
            if axis.is_replication() {
                replicate.clone_from(&text);
            } else {
                variant.push(text.clone());
            }
            network.push(text);
        }
        let mut own = Vec::new();
        let experiment = super::experiment(&table, &mut own);
        for Problem { path, message } in own {
            let problem = Problem { path, message: format!("in a combination of [sweep]: {message}") };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        let Some(experiment) = experiment else { continue };
        if converts || faults || run.is_empty() {
            run.insert(0, experiment.convert.label());
        }
        if faults {
            run.push(experiment.simulate.faults.label());
        }
        let levels: Vec<String> = levels.iter().zip(&choice).map(|(levels, &idx)| levels[idx].clone()).collect();
        let cell = Cell {
            network: network.join(", "),
            variant: variant.join(", "),
            replicate,
            run: run.join(", "),
            values: columns.iter().map(|path| value_text(path, axes, &levels, &experiment)).collect(),
            levels,
            experiment,
        };
        match folders.entry((folder_name(&cell.network), folder_name(&cell.run))) {
            std::collections::hash_map::Entry::Vacant(entry) => _ = entry.insert(choice),
            std::collections::hash_map::Entry::Occupied(entry) => {
                let problem = alike(&cell, axes, &choice, entry.get());
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
                continue;
            }
        }
        cells.push(cell);
    }
    // What all networks have in common tells none of them apart.
    if cells.iter().all(|cell| cell.variant == cells[0].variant) {
        for cell in &mut cells {
            cell.variant.clear();
        }
    }
    cells
}

/// Two combinations that would share a folder and a name.
fn alike(cell: &Cell, axes: &[Axis], choice: &[usize], other: &[usize]) -> Problem {
    let differing = axes.iter().zip(choice.iter().zip(other)).find(|(_, (a, b))| a != b).map(|(axis, _)| axis);
    let axis = differing.expect("no combination comes twice");
    let called = if axis.is_of_network() && !cell.network.is_empty() { &cell.network } else { &cell.run };
    let remedy = match axis.path.rsplit_once('.') {
        Some((section, name)) if !schema::is_section(&axis.path) => {
            format!("sweep over tables, {section} = [{{ label = \"…\", {name} = … }}, …], with different `label`s")
        }
        _ => "give them different `label`s".to_owned(),
    };
    Problem::new(&format!("sweep.{}", axis.path), format!("two combinations are both called `{called}`; {remedy}"))
}

/// Puts an axis's value into an experiment.
fn put(table: &mut Table, axis: &Axis, value: &Value) {
    match value {
        Value::Table(section) if schema::is_section(&axis.path) => {
            let mut section = section.clone();
            if given_label(axis, &section).is_some() {
                section.remove(LABEL);
            }
            merge(table, &axis.path, &section);
        }
        _ => schema::insert(table, &axis.path, value.clone()),
    }
}

/// The name given to a value of a section; `[convert]` has a key for it, which goes into the conversion's label.
fn given_label<'a>(axis: &Axis, section: &'a Table) -> Option<&'a str> {
    (axis.path != "convert").then(|| section.get(LABEL)).flatten().and_then(Value::as_str)
}

/// One value of an axis for people, whatever the other axes' values are.
///
/// The name given to it; else a network's architecture, a conversion's label, a section's keys with their values, or the value.
fn level(base: &Table, axis: &Axis, value: &Value) -> String {
    let alone = || {
        let mut table = base.clone();
        put(&mut table, axis, value);
        // Alone it may contradict what other axes set.
        super::experiment(&table, &mut Vec::new())
    };
    let architecture = || alone().map(|experiment| experiment.architecture.to_string());
    match value {
        Value::Table(section) if schema::is_section(&axis.path) => {
            let named = given_label(axis, section).map(str::to_owned);
            let of_section = || match axis.path.as_str() {
                "convert" => alone().map(|experiment| experiment.convert.label()),
                "model" => architecture(),
                "simulate.faults" => alone().map(|experiment| experiment.simulate.faults.label()),
                _ => None,
            };
            named.or_else(of_section).unwrap_or_else(|| {
                let text = |(path, value): (String, &Value)| {
                    format!("{} {}", path.rsplit('.').next().unwrap_or_default(), plain(value))
                };
                leaves(section, &axis.path).into_iter().map(text).collect::<Vec<_>>().join(", ")
            })
        }
        _ if axis.path == "model.layers" => architecture().unwrap_or_else(|| plain(value)),
        _ => plain(value),
    }
}

/// Keys of a swept section with their values.
fn leaves<'a>(section: &'a Table, path: &str) -> Vec<(String, &'a Value)> {
    let mut found = Vec::new();
    for (name, value) in section {
        let path = format!("{path}.{name}");
        match value {
            Value::Table(inner) if schema::is_section(&path) => found.extend(leaves(inner, &path)),
            _ if schema::is_key(&path) => found.push((path, value)),
            _ => {}
        }
    }
    found
}

/// The value of a column for one cell, defaults filled in; empty where the key has no effect.
fn value_text(path: &str, axes: &[Axis], levels: &[String], experiment: &Experiment) -> String {
    if path == "model.layers" {
        return experiment.architecture.to_string();
    }
    if schema::is_section(path) {
        let level = axes.iter().zip(levels).find(|(axis, _)| axis.path == path);
        return level.map(|(_, level)| level.clone()).unwrap_or_default();
    }
    let value = schema::lookup(experiment.resolved(), path).filter(|_| experiment.depends_on(path));
    value.map(plain).unwrap_or_default()
}

/// A value without the quotes of a text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => brief(other),
    }
}

/// Whether the conversion's own label tells an axis's values apart.
fn is_of_conversion(axis: &Axis) -> bool {
    axis.path == "convert" || schema::find(&axis.path).is_some_and(|key| key.is_in_label)
}

fn merge(table: &mut Table, section: &str, values: &Table) {
    for (name, value) in values {
        let path = format!("{section}.{name}");
        match value {
            Value::Table(inner) if schema::is_section(&path) => merge(table, &path, inner),
            _ => schema::insert(table, &path, value.clone()),
        }
    }
}

/// A label as the name of a folder: `norm p=4 κ=0.4` → `norm-p-4-k-0.4`. A long one is cut, and told apart by its checksum.
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
    let name = name.trim_end_matches('-');
    if name.len() <= LONGEST_FOLDER {
        return name.to_owned();
    }
    let mut short = name[..LONGEST_FOLDER - 2 * TOLD_APART - 1].trim_end_matches('-').to_owned();
    short.push('-');
    for byte in &Sha256::digest(label.as_bytes())[..TOLD_APART] {
        let _ = write!(short, "{byte:02x}");
    }
    short
}
