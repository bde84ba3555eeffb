//! Where accuracy is lost: the loss at each checkpoint as a sum of effects.
//!
//! Rate models with every subset of three effects give each its Shapley value: what it takes away when it is added, on average
//! over all orders of adding the three. With what conversion itself changed and what the order of spikes adds, they sum up to
//! the loss exactly. Reads [`results::record`]; gives `loss.md`, its figures, and what [`crate::page`] shows of it.

use std::fmt::Write as _;

use crate::chart::{Axis, Chart, Mark, extent};
use crate::error::ReportError;
use crate::method::{Key, Method, checkpoints, last_step, methods};
use crate::number::{MISSING, accuracy_decimals, fixed, list, percent};
use crate::palette::Ink;
use crate::sheet::{Figure, Group, sheet};
use crate::table::{Column, Table, markdown};
use results::record::{ExperimentRecord, LossRecord, N_MODELS};
use results::statistic::over_networks;

/// Bits of a model's number.
const INPUT: usize = 1;
const ROUNDING: usize = 2;
const SATURATION: usize = 4;

/// Height of the enlarged panel, in percentage points.
const ZOOM_POINTS: f64 = 3.0;

/// Loss at or below which a run counts as near the ANN, in percentage points: where sentences look.
const NEAR_POINTS: f64 = 5.0;

/// Smallest share that a sentence speaks of, in percentage points.
const LEAST_POINTS: f64 = 0.05;

/// What takes accuracy away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Weights on their grid, calibrated biases, `compensate = false`.
    Conversion,
    /// Noise of the input's spikes.
    Input,
    /// Whole spikes.
    Rounding,
    /// A spike per step at most.
    Saturation,
    /// When spikes come: what is left.
    Order,
}

impl Part {
    /// In the order of a table.
    pub const ALL: [Self; 5] = [Self::Input, Self::Rounding, Self::Saturation, Self::Order, Self::Conversion];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conversion => "conversion itself",
            Self::Input => "input noise",
            Self::Rounding => "rounding",
            Self::Saturation => "saturation",
            Self::Order => "order of spikes",
        }
    }

    /// Accuracy that it takes away at a checkpoint.
    fn of(self, observed: &Observed<'_>) -> f64 {
        let models = &observed.loss.models;
        match self {
            Self::Conversion => observed.ann - models[0],
            Self::Input => shapley(models, INPUT),
            Self::Rounding => shapley(models, ROUNDING),
            Self::Saturation => shapley(models, SATURATION),
            Self::Order => models[N_MODELS - 1] - observed.snn,
        }
    }
}

/// Mean over the six orders of adding three effects of what accuracy falls by when one of them is added.
fn shapley(models: &[f64; N_MODELS], effect: usize) -> f64 {
    let fall = |before: usize| models[before] - models[before | effect];
    let [one, other] = match effect {
        INPUT => [ROUNDING, SATURATION],
        ROUNDING => [INPUT, SATURATION],
        _ => [INPUT, ROUNDING],
    };
    // It comes first in two of the orders and last in two.
    fall(0) / 3.0 + (fall(one) + fall(other)) / 6.0 + fall(one | other) / 3.0
}

/// One network and simulation seed at one checkpoint.
struct Observed<'a> {
    key: Key<'a>,
    ann: f64,
    snn: f64,
    loss: &'a LossRecord,
}

/// Mean over networks and half width of its 95 % interval.
type Interval = (f64, Option<f64>);

fn observed<'a>(method: &Method<'a>, step: usize) -> Vec<Observed<'a>> {
    let of = |observation: &crate::method::Observation<'a>| {
        Some(Observed {
            key: observation.key,
            ann: observation.ann_accuracy?,
            snn: observation.seed.accuracy.get(step - 1).copied()?,
            loss: observation.seed.loss.iter().find(|loss| loss.step == step)?,
        })
    };
    method.observations.iter().filter_map(of).collect()
}

fn mean(method: &Method<'_>, step: usize, value: impl Fn(&Observed<'_>) -> Option<f64>) -> Option<Interval> {
    let observed = observed(method, step);
    over_networks(&observed.iter().filter_map(|o| Some((o.key, value(o)?))).collect::<Vec<_>>())
}

/// Accuracy lost in all.
fn total(method: &Method<'_>, step: usize) -> Option<Interval> {
    mean(method, step, |observed| Some(observed.ann - observed.snn))
}

fn part(method: &Method<'_>, step: usize, part: Part) -> Option<Interval> {
    mean(method, step, |observed| Some(part.of(observed)))
}

/// Methods that were taken apart.
fn taken_apart<'m, 'a>(methods: &'m [Method<'a>]) -> Vec<&'m Method<'a>> {
    methods.iter().filter(|method| method.observations.iter().any(|o| !o.seed.loss.is_empty())).collect()
}

/// In percentage points, with its interval.
fn points(interval: Option<Interval>, decimals: usize) -> String {
    match interval {
        None => MISSING.to_owned(),
        Some((mean, None)) => percent(mean, decimals),
        Some((mean, Some(half))) => format!("{} ± {}", percent(mean, decimals), percent(half, decimals)),
    }
}

/// A value of each network and seed; `None` where it was not measured.
type Value = dyn Fn(&Observed<'_>) -> Option<f64>;

/// A row of a table.
struct Row {
    name: &'static str,
    value: Box<Value>,
}

impl Row {
    fn new(name: &'static str, value: impl Fn(&Observed<'_>) -> Option<f64> + 'static) -> Self {
        Self { name, value: Box::new(value) }
    }
}

/// A column per checkpoint, and every row for every method, in percent.
fn steps_table(record: &ExperimentRecord, methods: &[&Method<'_>], title: String, rows: &[Row]) -> Table {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let steps = checkpoints(record);
    let mut columns = vec![Column::text("method"), Column::text("")];
    columns.extend(steps.iter().map(|t| Column::number(format!("T={t}"))));
    let row = |method: &Method<'_>, row: &Row| {
        let cells = steps.iter().map(|&t| points(mean(method, t, &row.value), decimals));
        [method.label.to_owned(), row.name.to_owned()].into_iter().chain(cells).collect()
    };
    let of_method = |method: &&Method<'_>| rows.iter().map(|r| row(method, r)).collect::<Vec<_>>();
    Table { title, columns, rows: methods.iter().flat_map(of_method).collect() }
}

fn n_networks(record: &ExperimentRecord) -> String {
    match record.networks.len() {
        1 => "one network".to_owned(),
        n => format!("mean and 95 % confidence interval over {n} networks"),
    }
}

/// The loss and its parts, in percentage points.
fn parts_table(record: &ExperimentRecord, methods: &[&Method<'_>]) -> Table {
    let mut rows = vec![Row::new("in all", |o| Some(o.ann - o.snn))];
    rows.extend(Part::ALL.map(|part| Row::new(part.name(), move |o| Some(part.of(o)))));
    let title =
        format!("Accuracy lost against the ANN, in points, and what of it goes to each effect; {}", n_networks(record));
    steps_table(record, methods, title, &rows)
}

/// Accuracies of the models, in %.
fn models_table(record: &ExperimentRecord, methods: &[&Method<'_>]) -> Table {
    const ALL: usize = N_MODELS - 1;
    let models = [
        (0, "rates, no effect"),
        (INPUT, "input noise alone"),
        (ROUNDING, "rounding alone"),
        (SATURATION, "saturation alone"),
        (ALL & !INPUT, "all but input noise"),
        (ALL & !ROUNDING, "all but rounding"),
        (ALL & !SATURATION, "all but saturation"),
        (ALL, "all three"),
    ];
    let mut rows: Vec<Row> =
        models.into_iter().map(|(model, name)| Row::new(name, move |o| Some(o.loss.models[model]))).collect();
    rows.push(Row::new("spiking network", |o| Some(o.snn)));
    rows.push(Row::new("spiking network, constant current", |o| o.loss.constant_current));
    rows.push(Row::new("all three decide as the spiking network", |o| Some(o.loss.agreement)));
    let title = format!("Accuracy of models of rates, in %; {}", n_networks(record));
    steps_table(record, methods, title, &rows)
}

/// The two tables; none if nothing was taken apart.
pub(crate) fn tables(record: &ExperimentRecord, methods: &[Method<'_>]) -> Vec<Table> {
    let methods = taken_apart(methods);
    if methods.is_empty() {
        return Vec::new();
    }
    vec![parts_table(record, &methods), models_table(record, &methods)]
}

/// What takes most at the first checkpoint, at the first that is near the ANN, and at the last; and whether the model holds.
pub(crate) fn sentences(record: &ExperimentRecord, methods: &[Method<'_>]) -> Vec<String> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let steps = checkpoints(record);
    let mut sentences = Vec::new();
    for method in taken_apart(methods) {
        let near = |step: &usize| total(method, *step).is_some_and(|(loss, _)| loss * 100.0 <= NEAR_POINTS);
        let mut told: Vec<usize> = steps.first().copied().into_iter().collect();
        told.extend(steps.iter().copied().find(near));
        told.extend(steps.last());
        told.dedup();
        sentences.extend(told.iter().filter_map(|&step| shares(method, step, decimals)));
        sentences.extend(told.get(1).or(told.last()).and_then(|&step| check(method, step, decimals)));
    }
    sentences
}

/// What goes to each effect at a checkpoint.
fn shares(method: &Method<'_>, step: usize, decimals: usize) -> Option<String> {
    let all = total(method, step)?;
    let mut parts: Vec<(&str, Interval)> =
        Part::ALL.iter().filter_map(|&which| Some((which.name(), part(method, step, which)?))).collect();
    parts.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    let told: Vec<String> = parts
        .iter()
        .filter(|(_, share)| share.0.abs() * 100.0 >= LEAST_POINTS)
        .map(|(name, share)| format!("{} {name}", points(Some(*share), decimals)))
        .collect();
    let lost = points(Some(all), decimals);
    if told.is_empty() {
        return Some(format!(
            "{}: at T = {step}, {lost} points are lost, none of them to an effect that takes {LEAST_POINTS}.",
            method.label
        ));
    }
    Some(format!("{}: at T = {step}, of {lost} points lost: {}.", method.label, list(&told)))
}

/// Whether what the model says of input noise is what the spiking network shows.
fn check(method: &Method<'_>, step: usize, decimals: usize) -> Option<String> {
    let (agreement, _) = mean(method, step, |o| Some(o.loss.agreement))?;
    let text = format!(
        "{}: at T = {step} the model with all three effects decides as the spiking network for {} % of the samples",
        method.label,
        fixed(agreement * 100.0, 1)
    );
    let gained = mean(method, step, |o| Some(o.loss.constant_current? - o.snn));
    let Some((gained, _)) = gained else { return Some(format!("{text}.")) };
    let (said, _) = mean(method, step, |o| Some(o.loss.models[N_MODELS - 1 - INPUT] - o.loss.models[N_MODELS - 1]))?;
    Some(format!(
        "{text}; on a constant current, without input noise, the network itself gains {} points, the model {}.",
        percent(gained, decimals),
        percent(said, decimals)
    ))
}

/// Points lost to each effect against time steps, of one method: the whole range, and near the ANN.
pub(crate) fn charts(record: &ExperimentRecord, method: &Method<'_>) -> [Chart; 2] {
    let steps = checkpoints(record);
    let marks = || {
        let mut marks = Vec::new();
        let all: Vec<[f64; 2]> = steps.iter().filter_map(|&t| Some([t as f64, total(method, t)?.0 * 100.0])).collect();
        marks.push(Mark::Line { points: all, ink: Ink::Ann, dash: 0, width_px: 1.4 });
        for (series, which) in Part::ALL.into_iter().enumerate() {
            let at = |&t: &usize| part(method, t, which).map(|(mean, half)| (t as f64, mean * 100.0, half));
            let means: Vec<_> = steps.iter().filter_map(at).collect();
            let points: Vec<[f64; 2]> = means.iter().map(|&(x, mean, _)| [x, mean]).collect();
            let whisker = |&(x, mean, half): &(f64, f64, Option<f64>)| {
                half.map(|half| [x, mean - half * 100.0, mean + half * 100.0])
            };
            let whiskers = means.iter().filter_map(whisker).collect();
            marks.push(Mark::Whiskers { points: whiskers, ink: Ink::Series(series) });
            marks.push(Mark::Line { points: points.clone(), ink: Ink::Series(series), dash: series, width_px: 1.6 });
            marks.push(Mark::Markers { points, series });
        }
        marks
    };
    let values = steps
        .iter()
        .flat_map(|&t| Part::ALL.iter().map(move |&which| part(method, t, which)).chain([total(method, t)]).flatten());
    let (low, high) = extent(values.map(|(mean, _)| mean * 100.0)).unwrap_or((0.0, 1.0));
    let x = || Axis::steps(last_step(record), "time steps T");
    let title = "points lost (no markers: in all)";
    [
        Chart {
            title: method.label.to_owned(),
            x: x(),
            y: Axis::linear(low.min(0.0), 1.05 * high.max(1.0), 5, title),
            marks: marks(),
        },
        Chart {
            title: format!("{}, near the ANN", method.label),
            x: x(),
            y: Axis::linear(-ZOOM_POINTS / 3.0, ZOOM_POINTS, 5, title),
            marks: marks(),
        },
    ]
}

/// Names of the series of [`charts`].
pub(crate) fn legend() -> [&'static str; 5] {
    Part::ALL.map(Part::name)
}

/// `loss.md`: sentences and tables; `None` if nothing was taken apart.
pub fn loss_markdown(record: &ExperimentRecord) -> Option<String> {
    let methods = methods(record);
    let tables = tables(record, &methods);
    if tables.is_empty() {
        return None;
    }
    let mut text = String::new();
    for sentence in sentences(record, &methods) {
        let _ = writeln!(text, "- {sentence}");
    }
    for table in tables {
        let _ = write!(text, "\n{}:\n\n{}", table.title, markdown(&table));
    }
    Some(text)
}

/// The loss as standalone files, one per theme: of the first method, and near the ANN of the first by a norm; none if nothing was
/// taken apart.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn loss_figures(record: &ExperimentRecord) -> Result<Vec<Figure>, ReportError> {
    let methods = methods(record);
    let taken_apart = taken_apart(&methods);
    let Some(first) = taken_apart.first() else { return Ok(Vec::new()) };
    let by_norm = taken_apart[1..].iter().find(|method| method.runs.iter().any(|run| run.conversion.method == "norm"));
    let mut panels = charts(record, first).to_vec();
    panels.extend(by_norm.map(|method| charts(record, method)[1].clone()));
    let label = format!("{}: points of accuracy lost to each effect against time steps", record.name);
    let legend = legend().into_iter().map(str::to_owned).collect();
    sheet(
        "loss",
        &label,
        &[Group { title: String::new(), n_columns: panels.len(), row_height: None, charts: panels, legend }],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of a few f64 operations on numbers near one.
    const NEAR: f64 = 1e-12;

    #[test]
    fn effects_that_do_not_meet_take_what_each_takes_alone() {
        // Numbers are sums of ⅛ for input noise, ¼ for rounding, ½ for saturation.
        let models: [f64; 8] = std::array::from_fn(|k| 1.0 - k as f64 / 8.0);
        let parts = [INPUT, ROUNDING, SATURATION].map(|effect| shapley(&models, effect));
        assert!(parts.iter().zip([0.125, 0.25, 0.5]).all(|(found, share)| (found - share).abs() < NEAR), "{parts:?}");
    }

    #[test]
    fn effects_that_only_harm_together_share_alike_and_what_does_nothing_gets_nothing() {
        // Input noise and rounding take 0.3 together, and nothing alone.
        let models: [f64; 8] = std::array::from_fn(|k| if k & 3 == 3 { 0.6 } else { 0.9 });
        let parts = [INPUT, ROUNDING, SATURATION].map(|effect| shapley(&models, effect));
        assert!(parts.iter().zip([0.15, 0.15, 0.0]).all(|(found, share)| (found - share).abs() < NEAR), "{parts:?}");
    }

    #[test]
    fn the_parts_add_up_to_the_loss() {
        let loss = LossRecord {
            step: 4,
            models: [0.89, 0.85, 0.8, 0.7, 0.88, 0.82, 0.81, 0.65],
            agreement: 0.9,
            constant_current: None,
        };
        let observed = Observed { key: ("seed 1", 0), ann: 0.9, snn: 0.6, loss: &loss };
        let sum: f64 = Part::ALL.iter().map(|part| part.of(&observed)).sum();
        assert!((sum - 0.3).abs() < NEAR, "{sum}");
    }
}
