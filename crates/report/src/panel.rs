//! Which curves share a panel, so that many methods stay readable.
//!
//! Reads the sweep's combinations through [`crate::method`]; feeds [`crate::figure`] and the page.

use crate::method::Method;
use crate::record::{AxisRole, ExperimentRecord};

/// Curves that one panel holds at most before they are parted by the method of conversion.
const MOST_CURVES: usize = 16;
/// Curves that are shown together whatever factors they differ in.
const FEW_CURVES: usize = 8;

/// Curves that are drawn together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panel {
    /// What its curves have in common; empty for a single panel.
    pub title: String,
    /// Kind of network, where there are several; the panel shows its ANN.
    pub variant: String,
    /// Index of each method with the number of its series: colour, dash and marker.
    pub members: Vec<(usize, usize)>,
}

impl Panel {
    /// A single panel: every method with a look of its own.
    pub fn of_all(methods: &[Method<'_>]) -> Self {
        Self { title: String::new(), variant: String::new(), members: (0..methods.len()).map(|i| (i, i)).collect() }
    }
}

/// Panels, and what their series are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panels {
    /// At least one.
    pub panels: Vec<Panel>,
    /// Name of each series.
    pub series: Vec<String>,
}

/// Parts the methods into panels: one if they are few, else one for each combination of the factors that the sweep varies beside
/// conversions; where there are still too many curves, by method of conversion.
pub(crate) fn panels(record: &ExperimentRecord, methods: &[Method<'_>]) -> Panels {
    let together = || Panels {
        panels: vec![Panel::of_all(methods)],
        series: methods.iter().map(|m| m.label.to_owned()).collect(),
    };
    if methods.len() <= FEW_CURVES {
        return together();
    }
    let level =
        |m: &Method<'_>, axis: usize| m.cell.and_then(|cell| cell.levels.get(axis)).cloned().unwrap_or_default();
    let varied: Vec<usize> = (0..record.sweep.axes.len())
        .filter(|&axis| record.sweep.axes[axis].role != AxisRole::Replication)
        .filter(|&axis| methods.iter().any(|m| level(m, axis) != level(&methods[0], axis)))
        .collect();
    let n_levels = |axis: usize| distinct(methods.iter().map(|m| level(m, axis))).len();
    // Conversions are compared; what else varies is where they are compared.
    let rank = |axis: usize| match record.sweep.axes[axis].key.as_str() {
        "convert" => (2, 0),
        "convert.method" => (1, 0),
        _ => (0, n_levels(axis)),
    };
    let series_axis = varied.iter().copied().rev().max_by_key(|&axis| rank(axis));
    let title = |m: &Method<'_>| {
        let others = varied.iter().filter(|&&axis| Some(axis) != series_axis);
        let part = |&axis: &usize| {
            let key = record.sweep.axes[axis].key.rsplit('.').next().unwrap_or_default();
            let level = level(m, axis);
            if record.sweep.axes[axis].key == "model" || key == "layers" { level } else { format!("{key} {level}") }
        };
        others.map(part).collect::<Vec<_>>().join(", ")
    };
    let name = |m: &Method<'_>| series_axis.map_or_else(|| m.label.to_owned(), |axis| level(m, axis));
    let titles: Vec<String> = methods.iter().map(title).collect();
    let names: Vec<String> = methods.iter().map(name).collect();
    let mut series = distinct(names.iter().cloned());
    let by_conversion = series.len() > MOST_CURVES;
    if !by_conversion && titles.iter().all(|t| *t == titles[0]) {
        return together();
    }
    // Within a method of conversion its variants are few: they have the first looks, in each panel anew.
    let group = |i: usize| methods[i].runs[0].conversion.method.as_str();
    let mut panels: Vec<Panel> = Vec::new();
    for (i, m) in methods.iter().enumerate() {
        let title = match (by_conversion, titles[i].as_str()) {
            (false, title) => title.to_owned(),
            (true, "") => group(i).to_owned(),
            (true, title) => format!("{title}: {}", group(i)),
        };
        let idx = panels.iter().position(|panel| panel.title == title).unwrap_or_else(|| {
            panels.push(Panel { title, variant: m.variant().to_owned(), members: Vec::new() });
            panels.len() - 1
        });
        panels[idx].members.push((i, series.iter().position(|s| *s == names[i]).expect("it is among them")));
    }
    if by_conversion {
        // Series are numbered within their method of conversion; the legend of a panel names them.
        let numbered: Vec<(String, usize)> = series
            .iter()
            .enumerate()
            .map(|(idx, name)| {
                let of = |name: &String| names.iter().position(|n| n == name).map(group);
                (name.clone(), series[..idx].iter().filter(|other| of(other) == of(name)).count())
            })
            .collect();
        for panel in &mut panels {
            for member in &mut panel.members {
                member.1 = numbered[member.1].1;
            }
        }
        series.clear();
    }
    Panels { panels, series }
}

/// Each value once, in the order of its first appearance.
fn distinct(values: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}
