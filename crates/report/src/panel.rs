//! Which curves share a panel, so that many methods stay readable.
//!
//! Reads the sweep's combinations through [`crate::method`]; feeds [`crate::figure`] and the page.

use crate::method::Method;
use results::record::{AxisRole, ExperimentRecord};

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

/// Panels that share a legend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// The method of conversion, where curves are parted by it; else empty.
    pub title: String,
    /// Name of each series.
    pub series: Vec<String>,
    /// At least one.
    pub panels: Vec<Panel>,
}

/// Parts the methods into panels: one if they are few, else one for each combination of the factors that the sweep varies beside
/// conversions; where there are still too many curves, these for each method of conversion.
pub(crate) fn panels(record: &ExperimentRecord, methods: &[Method<'_>]) -> Vec<Group> {
    let together = || {
        let series = methods.iter().map(|m| m.label.to_owned()).collect();
        vec![Group { title: String::new(), series, panels: vec![Panel::of_all(methods)] }]
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
        others.map(|&axis| record.sweep.axes[axis].named(&level(m, axis))).collect::<Vec<_>>().join(", ")
    };
    let name = |m: &Method<'_>| series_axis.map_or_else(|| m.label.to_owned(), |axis| level(m, axis));
    let titles: Vec<String> = methods.iter().map(title).collect();
    let names: Vec<String> = methods.iter().map(name).collect();
    let by_conversion = distinct(names.iter().cloned()).len() > MOST_CURVES;
    if !by_conversion && titles.iter().all(|t| *t == titles[0]) {
        return together();
    }
    let mut groups: Vec<Group> = Vec::new();
    for (i, m) in methods.iter().enumerate() {
        let of = if by_conversion { m.runs[0].conversion.method.as_str() } else { "" };
        let group = position_or_push(
            &mut groups,
            |group| group.title == of,
            || Group { title: of.to_owned(), series: Vec::new(), panels: Vec::new() },
        );
        let Group { series, panels, .. } = &mut groups[group];
        let look = position_or_push(series, |name| *name == names[i], || names[i].clone());
        let panel = position_or_push(
            panels,
            |panel| panel.title == titles[i],
            || Panel { title: titles[i].clone(), variant: m.variant().to_owned(), members: Vec::new() },
        );
        panels[panel].members.push((i, look));
    }
    groups
}

/// Place of what is looked for; it is put at the end if it is not there.
fn position_or_push<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    items.iter().position(is).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    })
}

/// Each value once, in the order of its first appearance.
pub(crate) fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}
