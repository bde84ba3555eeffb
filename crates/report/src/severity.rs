//! Accuracy against the severity of a fault, where runs differ by that fault alone.
//!
//! Reads [`crate::method`]'s labels and [`results::record`]; gives tables, findings and figures.

use crate::chart::{Axis, Chart, Mark, extent};
use crate::comparison::{leader_of, units};
use crate::error::ReportError;
use crate::method::{Key, ann_accuracy, last_step};
use crate::number::{MISSING, accuracy_decimals, integer, list, percent};
use crate::palette::Ink;
use crate::sheet::{Figure, Group, sheet};
use crate::table::{Column, Table};
use results::record::{ExperimentRecord, FaultsRecord, RunRecord};
use results::statistic::{Summary, half_width, summarise};

/// What the label of a run without faults ends with where others have some.
const NO_FAULTS: &str = "no faults";

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    WeightNoise,
    WeightNoisePerChannel,
    RelativeWeightNoise,
    WeightBits,
    WeightBitsPerChannel,
    ThresholdMismatch,
    DroppedSpikes,
}

impl Fault {
    const ALL: [Self; 7] = [
        Self::WeightNoise,
        Self::WeightNoisePerChannel,
        Self::RelativeWeightNoise,
        Self::WeightBits,
        Self::WeightBitsPerChannel,
        Self::ThresholdMismatch,
        Self::DroppedSpikes,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::WeightNoise => "weight noise",
            Self::WeightNoisePerChannel => "weight noise per channel",
            Self::RelativeWeightNoise => "relative weight noise",
            Self::WeightBits => "bits of a weight",
            Self::WeightBitsPerChannel => "bits of a weight per channel",
            Self::ThresholdMismatch => "threshold mismatch",
            Self::DroppedSpikes => "dropped spikes",
        }
    }

    /// What its numbers are.
    fn axis(self) -> &'static str {
        match self {
            Self::WeightNoise => "standard deviation / largest weight of the layer",
            Self::WeightNoisePerChannel => "standard deviation / largest weight of the channel",
            Self::RelativeWeightNoise => "standard deviation / weight",
            Self::WeightBits => "bits up to the largest weight of the layer",
            Self::WeightBitsPerChannel => "bits up to the largest weight of the channel",
            Self::ThresholdMismatch => "standard deviation / threshold",
            Self::DroppedSpikes => "probability",
        }
    }

    /// Whether its severities are bits, of which fewer are worse.
    fn is_bits(self) -> bool {
        matches!(self, Self::WeightBits | Self::WeightBitsPerChannel)
    }

    /// `None` where there is no such fault.
    fn severity(self, faults: &FaultsRecord) -> Option<f64> {
        let of = |range: &str| faults.weight_range == range;
        let noise = Some(faults.weight_noise);
        let (is_of_range, bits) = (faults.weight_noise_of == "range", faults.weight_bits.map(f64::from));
        let severity = match self {
            Self::WeightNoise => noise.filter(|_| is_of_range && of("layer")),
            Self::WeightNoisePerChannel => noise.filter(|_| is_of_range && of("channel")),
            Self::RelativeWeightNoise => noise.filter(|_| !is_of_range),
            Self::WeightBits => bits.filter(|_| of("layer")),
            Self::WeightBitsPerChannel => bits.filter(|_| of("channel")),
            Self::ThresholdMismatch => Some(faults.threshold_mismatch),
            Self::DroppedSpikes => Some(faults.dropped_spikes),
        };
        severity.filter(|severity| *severity > 0.0)
    }

    /// A number that grows with the damage.
    fn damage(self, severity: Option<f64>) -> f64 {
        match (self, severity) {
            (_, None) => f64::NEG_INFINITY,
            (fault, Some(bits)) if fault.is_bits() => -bits,
            (_, Some(severity)) => severity,
        }
    }

    /// What stands for a severity in tables.
    fn text(self, severity: Option<f64>) -> String {
        match (self, severity) {
            (fault, None) if fault.is_bits() => "off".to_owned(),
            (_, None) => "0".to_owned(),
            (_, Some(severity)) => severity.to_string(),
        }
    }
}

/// The severities of all faults of a run.
type Severities = [Option<f64>; Fault::ALL.len()];

fn severities(run: &RunRecord) -> Severities {
    Fault::ALL.map(|fault| run.simulation.faults.as_ref().and_then(|faults| fault.severity(faults)))
}

/// What a run is called without its faults.
fn method_of(run: &RunRecord) -> &str {
    let faults = run.simulation.faults.as_ref().map_or(NO_FAULTS, |faults| &faults.label);
    run.label.strip_suffix(faults).and_then(|rest| rest.strip_suffix(", ")).unwrap_or(&run.label)
}

/// One fault at several severities, all else alike.
pub(crate) struct Sweep<'a> {
    fault: Fault,
    /// The other faults, the same at all severities.
    others: Severities,
    /// Least damage first; `None` is none of the fault.
    severities: Vec<Option<f64>>,
    /// The methods, in the order of the record.
    pub methods: Vec<SweptMethod<'a>>,
}

/// One method of a [`Sweep`].
pub(crate) struct SweptMethod<'a> {
    /// What it is called without the fault.
    pub label: &'a str,
    /// Accuracies after the last step at each severity, one per network and simulation seed.
    accuracies: Vec<Vec<(Key<'a>, f64)>>,
}

/// Every fault that runs differ by, first those without any other fault.
pub(crate) fn sweeps(record: &ExperimentRecord) -> Vec<Sweep<'_>> {
    let runs: Vec<(&RunRecord, Severities)> = record.runs.iter().map(|run| (run, severities(run))).collect();
    let mut sweeps = Vec::new();
    for (idx, fault) in Fault::ALL.into_iter().enumerate() {
        let others = |severities: &Severities| {
            let mut others = *severities;
            others[idx] = None;
            others
        };
        let mut contexts: Vec<Severities> = Vec::new();
        for context in runs.iter().map(|(_, severities)| others(severities)) {
            if contexts.contains(&context) {
                continue;
            }
            contexts.push(context);
            let alike = runs.iter().filter(|(_, severities)| others(severities) == context);
            let alike: Vec<(&RunRecord, Option<f64>)> =
                alike.map(|(run, severities)| (*run, severities[idx])).collect();
            sweeps.extend(sweep(fault, context, &alike));
        }
    }
    sweeps.sort_by_key(|sweep| sweep.others.iter().flatten().count());
    sweeps
}

/// `None` if the runs do not differ by the fault.
fn sweep<'a>(fault: Fault, others: Severities, runs: &[(&'a RunRecord, Option<f64>)]) -> Option<Sweep<'a>> {
    let mut severities: Vec<Option<f64>> = runs.iter().map(|(_, severity)| *severity).collect();
    severities.sort_by(|a, b| fault.damage(*a).total_cmp(&fault.damage(*b)));
    severities.dedup();
    if severities.len() < 2 {
        return None;
    }
    let mut methods: Vec<SweptMethod<'a>> = Vec::new();
    for (run, severity) in runs {
        let label = method_of(run);
        let idx = methods.iter().position(|method| method.label == label).unwrap_or_else(|| {
            methods.push(SweptMethod { label, accuracies: vec![Vec::new(); severities.len()] });
            methods.len() - 1
        });
        let at = severities.iter().position(|other| other == severity).expect("collected above");
        let of_seeds = run.simulation.seeds.iter().filter_map(|seed| {
            let accuracy = seed.accuracy.last().copied().filter(|accuracy| accuracy.is_finite())?;
            Some(((run.network.as_str(), seed.seed), accuracy))
        });
        methods[idx].accuracies[at].extend(of_seeds);
    }
    Some(Sweep { fault, others, severities, methods })
}

impl SweptMethod<'_> {
    /// Over networks, each the mean of its devices; over the devices of a single network.
    fn accuracy(&self, severity_idx: usize) -> Option<Summary> {
        summarise(units(&self.accuracies[severity_idx]))
    }
}

impl Sweep<'_> {
    /// `weight noise`, or `weight noise (dropped spikes 0.1)`.
    fn title(&self) -> String {
        let others = Fault::ALL.into_iter().zip(&self.others);
        let others = others.filter_map(|(fault, severity)| Some(format!("{} {}", fault.name(), (*severity)?)));
        let others: Vec<String> = others.collect();
        if others.is_empty() {
            self.fault.name().to_owned()
        } else {
            format!("{} ({})", self.fault.name(), list(&others))
        }
    }

    fn table(&self, record: &ExperimentRecord) -> Table {
        let decimals = accuracy_decimals(record.dataset.n_test);
        let cell = |method: &SweptMethod<'_>, idx: usize| {
            let Some(summary) = method.accuracy(idx) else { return MISSING.to_owned() };
            let half = half_width(&summary).map(|half| format!(" ± {}", percent(half, decimals)));
            percent(summary.mean, decimals) + &half.unwrap_or_default()
        };
        let row = |method: &SweptMethod<'_>| {
            std::iter::once(method.label.to_owned())
                .chain((0..self.severities.len()).map(|idx| cell(method, idx)))
                .collect()
        };
        let severities = self.severities.iter().map(|severity| Column::number(self.fault.text(*severity)));
        let units = match record.networks.len() {
            0 | 1 => "devices".to_owned(),
            n => format!("{n} networks"),
        };
        Table {
            title: format!(
                "Accuracy in % at T = {} on {} test samples, against {}: mean ± 95 % interval over {units}",
                last_step(record),
                integer(record.dataset.n_test as u64),
                self.title()
            ),
            columns: std::iter::once(Column::text("method")).chain(severities).collect(),
            rows: self.methods.iter().map(row).collect(),
        }
    }

    /// Where a severity stands on the axis.
    fn place(&self, severity_idx: usize) -> f64 {
        match (self.fault, self.severities[severity_idx]) {
            (fault, _) if fault.is_bits() => severity_idx as f64,
            (_, severity) => severity.unwrap_or(0.0),
        }
    }

    /// - `labels`: of the methods of all charts, which share colours
    pub fn chart(&self, record: &ExperimentRecord, labels: &[&str]) -> Chart {
        let mut marks = Vec::new();
        let ann = ann_accuracy(record).map(|summary| summary.mean * 100.0);
        if let Some(y) = ann {
            let label = format!("ANN {}", percent(y / 100.0, accuracy_decimals(record.dataset.n_test)));
            marks.push(Mark::Level { y, label });
        }
        let mut values: Vec<f64> = ann.into_iter().collect();
        for method in &self.methods {
            let Some(series) = labels.iter().position(|label| *label == method.label) else { continue };
            let (mut points, mut whiskers) = (Vec::new(), Vec::new());
            for idx in 0..self.severities.len() {
                let Some(summary) = method.accuracy(idx) else { continue };
                let (x, mean) = (self.place(idx), summary.mean * 100.0);
                let half = half_width(&summary).unwrap_or(0.0) * 100.0;
                points.push([x, mean]);
                whiskers.push([x, (mean - half).max(0.0), (mean + half).min(100.0)]);
            }
            values.extend(whiskers.iter().flat_map(|whisker| [whisker[1], whisker[2]]));
            marks.push(Mark::Whiskers { points: whiskers, ink: Ink::Series(series) });
            marks.push(Mark::Line { points: points.clone(), ink: Ink::Series(series), dash: series, width_px: 1.6 });
            marks.push(Mark::Markers { points, series });
        }
        let last = self.place(self.severities.len() - 1);
        let x = Axis::linear(-0.03 * last, 1.03 * last, 5, self.fault.axis());
        let x = if self.fault.is_bits() {
            let ticks = self.severities.iter().enumerate();
            x.with_ticks(ticks.map(|(idx, severity)| (idx as f64, self.fault.text(*severity))).collect())
        } else {
            x
        };
        let (low, high) = extent(values).unwrap_or((0.0, 100.0));
        let margin = 0.05 * (high - low);
        let y = Axis::linear((low - margin).max(0.0), (high + margin).min(100.4), 6, "accuracy in %");
        let title = self.title();
        let mut letters = title.chars();
        let title = letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default();
        Chart { title, x, y, marks }
    }

    /// Who bears the worst severity best, and how sure that is.
    fn finding(&self, record: &ExperimentRecord) -> Option<String> {
        let worst = self.severities.len() - 1;
        let observed: Vec<_> = self.methods.iter().map(|method| method.accuracies[worst].clone()).collect();
        if observed.iter().filter(|values| !values.is_empty()).count() < 2 {
            return None;
        }
        let leader = leader_of(&observed)?;
        let best = &self.methods[leader.best];
        let tied: Vec<&str> = leader.tied.iter().map(|&i| self.methods[i].label).collect();
        let rest = if !tied.is_empty() {
            format!("and ties with {}", list(&tied))
        } else if !leader.unknown.is_empty() {
            "with no spread to tell it from the others".to_owned()
        } else {
            "ahead of every other method".to_owned()
        };
        Some(format!(
            "{} = {}: {} has the highest mean, {} %, {rest}.",
            self.title(),
            self.fault.text(self.severities[worst]),
            best.label,
            percent(best.accuracy(worst)?.mean, accuracy_decimals(record.dataset.n_test))
        ))
    }
}

/// Labels of the methods of all sweeps, in the order of the record.
pub(crate) fn labels<'a>(sweeps: &[Sweep<'a>]) -> Vec<&'a str> {
    let mut labels = Vec::new();
    for method in sweeps.iter().flat_map(|sweep| &sweep.methods) {
        if !labels.contains(&method.label) {
            labels.push(method.label);
        }
    }
    labels
}

/// Sentences on who bears each fault best.
pub(crate) fn findings(record: &ExperimentRecord, sweeps: &[Sweep<'_>]) -> Vec<String> {
    sweeps.iter().filter_map(|sweep| sweep.finding(record)).collect()
}

/// Accuracy of each method at each severity of a fault, one table for each fault that runs differ by; none without such runs.
///
/// Runs are put together that differ in nothing but the fault. Mean ± half the 95 % interval (Student's t) over networks, each
/// the mean of its devices; over devices where there is one network.
pub fn fault_tables(record: &ExperimentRecord) -> Vec<Table> {
    sweeps(record).iter().map(|sweep| sweep.table(record)).collect()
}

/// Accuracy against severity as standalone files, one per theme, a panel for each fault; none without such runs.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn fault_figures(record: &ExperimentRecord) -> Result<Vec<Figure>, ReportError> {
    let sweeps = sweeps(record);
    if sweeps.is_empty() {
        return Ok(Vec::new());
    }
    let labels = labels(&sweeps);
    let charts: Vec<Chart> = sweeps.iter().map(|sweep| sweep.chart(record, &labels)).collect();
    let legend = labels.into_iter().map(str::to_owned).collect();
    let label = format!("{}: accuracy of the spiking network against faults of its hardware, per method", record.name);
    sheet("faults", &label, &[Group { title: String::new(), charts, n_columns: 2, row_height: None, legend }])
}

/// The different faults of a record's runs, in their order.
pub(crate) fn all_faults(record: &ExperimentRecord) -> Vec<&FaultsRecord> {
    let mut all: Vec<&FaultsRecord> = Vec::new();
    for faults in record.runs.iter().filter_map(|run| run.simulation.faults.as_ref()) {
        if !all.contains(&faults) {
            all.push(faults);
        }
    }
    all
}
