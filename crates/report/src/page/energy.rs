//! Energy estimate: what the counted operations would cost, against the ANN.

use maud::html;

use super::{HALF, Section, figure, findings, method_legend, reading, table};
use crate::chart::{Axis, Chart, Mark};
use crate::error::ReportError;
use crate::finding::LOSSES;
use crate::method::{Method, checkpoints, last_step};
use crate::number::{
    MISSING, accuracy_decimals, energy, fixed, list, percent_summary, significant, significant_or_missing,
};
use crate::palette::Ink;
use crate::table::{Column, Table};
use results::record::{EnergyRecord, ExperimentRecord};
use results::statistic::{Summary, summarise};

pub(super) fn section(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    if !methods.iter().any(|m| spent(m, m.steps()).is_some_and(|s| s.mean > 0.0)) {
        return Ok(None);
    }
    let charts = [against_steps(record, methods), against_accuracy(record, methods)];
    let caption = "First panel: estimated energy per sample up to each time step, with the ANN’s (both axes logarithmic). \
                   Second panel: mean accuracy against the same energy as a multiple of the ANN’s.";
    Ok(Some(Section {
        id: "energy",
        title: "Energy estimate",
        body: html! {
            (reading("Operations times what one costs. A spiking network is the cheaper one for as long as its curve stays below the ANN’s line, or to the left of 1× where accuracy is shown."))
            (figure(&charts, HALF, "charts two", &method_legend(methods, true), caption)?)
            (findings(&sentences(methods)))
            (table(&costs(record, methods)))
            @for constants in constants(record) { p.note { (constants) } }
            p.note { "Arithmetic only: memory traffic, leakage and the cost of a neuron’s own update are left out, for both networks. On real hardware they can outweigh what is counted here." }
        },
    }))
}

/// Energy per sample up to a step (from 1), over the networks, pJ.
fn spent(method: &Method<'_>, step: usize) -> Option<Summary> {
    let idx = step.checked_sub(1)?;
    summarise(method.runs.iter().filter_map(|r| r.simulation.energy.snn_pj.get(idx).copied()))
}

/// The same as a multiple of the energy of the own ANN.
fn ratio(method: &Method<'_>, step: usize) -> Option<f64> {
    let idx = step.checked_sub(1)?;
    let ratios = method.runs.iter().filter_map(|r| {
        let energy = &r.simulation.energy;
        (energy.ann_pj > 0.0).then_some(energy.snn_pj.get(idx)? / energy.ann_pj)
    });
    summarise(ratios).map(|s| s.mean)
}

/// Last step up to which the spiking network spends no more than the ANN.
fn break_even(method: &Method<'_>) -> Option<usize> {
    (1..=method.steps()).take_while(|&t| ratio(method, t).is_some_and(|r| r <= 1.0)).last()
}

fn against_steps(record: &ExperimentRecord, methods: &[Method<'_>]) -> Chart {
    let ann = summarise(methods.iter().flat_map(|m| &m.runs).map(|r| r.simulation.energy.ann_pj)).map(|s| s.mean);
    let all = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| spent(m, t)).map(|s| s.mean));
    let y = Axis::log10(all.chain(ann), "energy per sample", energy_label);
    let mut marks = Vec::new();
    if let Some(ann) = ann.filter(|a| *a > 0.0) {
        marks.push(Mark::Level { y: ann, label: format!("ANN {}", energy(ann)) });
    }
    curves(record, methods, &mut marks, |m, t| Some([t as f64, spent(m, t)?.mean]));
    Chart { title: "Energy against time".to_owned(), x: Axis::steps(last_step(record), "time steps T"), y, marks }
}

fn against_accuracy(record: &ExperimentRecord, methods: &[Method<'_>]) -> Chart {
    let ratios = methods.iter().flat_map(|m| (1..=m.steps()).filter_map(|t| ratio(m, t)));
    let x = Axis::log10(ratios, "energy, multiples of the ANN’s", ratio_label);
    let y = Axis::linear(0.0, 100.0, 5, "accuracy in %");
    // The place of equal energy, where it is on the axis.
    let mut marks = Vec::new();
    if x.contains(1.0) {
        marks.push(Mark::Line { points: vec![[1.0, 0.0], [1.0, 100.0]], ink: Ink::Ann, dash: 2, width_px: 1.1 });
    }
    curves(record, methods, &mut marks, |m, t| Some([ratio(m, t)?, m.accuracy(t)?.mean * 100.0]));
    Chart { title: "Accuracy against energy".to_owned(), x, y, marks }
}

/// One line per method with its markers at the checkpoints.
fn curves(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    marks: &mut Vec<Mark>,
    place: impl Fn(&Method<'_>, usize) -> Option<[f64; 2]>,
) {
    let checkpoints = checkpoints(record);
    for (i, method) in methods.iter().enumerate() {
        let points = (1..=method.steps()).filter_map(|t| place(method, t)).collect();
        let tabulated = checkpoints.iter().filter_map(|&t| place(method, t)).collect();
        marks.push(Mark::Line { points, ink: Ink::Series(i), dash: i, width_px: 1.6 });
        marks.push(Mark::Markers { points: tabulated, series: i });
    }
}

fn energy_label(value_pj: f64) -> String {
    let units = [(1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ")];
    // A millionth: a tick computed as a multiple of a power of ten must not fall to the unit below it.
    let (size, unit) = units.into_iter().find(|(size, _)| value_pj >= size * (1.0 - 1e-6)).unwrap_or((1.0, "pJ"));
    format!("{} {unit}", short(value_pj / size))
}

fn ratio_label(value: f64) -> String {
    format!("{}×", short(value))
}

/// Three significant digits without trailing zeros.
fn short(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') && !text.contains('×') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn costs(record: &ExperimentRecord, methods: &[Method<'_>]) -> Table {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let [loss, _] = LOSSES;
    let columns = vec![
        Column::text("method"),
        Column::number(format!("energy / sample, T={}", last_step(record))),
        Column::number("multiple of the ANN’s"),
        Column::number("last T not above the ANN’s"),
        Column::number("accuracy there, %"),
        Column::number(format!("energy at the first T within {} points", fixed(loss, 1))),
        Column::number("multiple of the ANN’s"),
    ];
    let text = |step: Option<usize>| step.map_or_else(|| MISSING.to_owned(), |t| t.to_string());
    let rows = methods
        .iter()
        .map(|m| {
            let (end, even, near) = (m.steps(), break_even(m), m.first_step_within(loss));
            let cost = |step: usize| spent(m, step).map_or_else(|| MISSING.to_owned(), |s| energy(s.mean));
            vec![
                m.label.to_owned(),
                cost(end),
                significant_or_missing(ratio(m, end)),
                text(even),
                even.map_or_else(|| MISSING.to_owned(), |t| percent_summary(m.accuracy(t), decimals)),
                near.map_or_else(|| MISSING.to_owned(), cost),
                significant_or_missing(near.and_then(|t| ratio(m, t))),
            ]
        })
        .collect();
    Table { title: "Energy per sample, mean over networks".to_owned(), columns, rows }
}

fn sentences(methods: &[Method<'_>]) -> Vec<String> {
    let mut sentences = Vec::new();
    let [loss, _] = LOSSES;
    let near: Vec<_> = methods
        .iter()
        .filter_map(|m| {
            let step = m.first_step_within(loss)?;
            Some((m, step, spent(m, step)?.mean, ratio(m, step)?))
        })
        .collect();
    if let Some((m, step, cost, ratio)) = near.iter().min_by(|a, b| a.3.total_cmp(&b.3)) {
        sentences.push(format!(
            "Least energy to come within {} points of the ANN, by the means: {} at T = {step} with {}, {} times the ANN’s.",
            fixed(loss, 1),
            m.label,
            energy(*cost),
            short(*ratio)
        ));
    }
    let (mut always, mut until, mut never) = (Vec::new(), Vec::new(), Vec::new());
    for method in methods.iter().filter(|m| ratio(m, 1).is_some()) {
        match break_even(method) {
            None => never.push(method.label.to_owned()),
            Some(t) if t == method.steps() => always.push(method.label.to_owned()),
            Some(t) => until.push(format!("{} (T = {t})", method.label)),
        }
    }
    for (names, text) in [
        (always, "Below the ANN’s energy at every step"),
        (until, "Below the ANN’s energy up to the step in brackets"),
        (never, "Above the ANN’s energy from the first step"),
    ] {
        if !names.is_empty() {
            sentences.push(format!("{text}: {}.", list(&names)));
        }
    }
    sentences
}

/// What the estimate is made of; one sentence, or one per set of constants where runs differ.
fn constants(record: &ExperimentRecord) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    for run in &record.runs {
        let EnergyRecord { mac_pj, add_pj, source, snn_macs_per_sample, .. } = &run.simulation.energy;
        let macs = if *snn_macs_per_sample > 0.0 {
            " The constant input current of the first layer is charged as multiply-accumulates, once per sample."
        } else {
            ""
        };
        let source = source.trim().trim_end_matches('.');
        let text = format!(
            "Constants: {} pJ per multiply-accumulate (ANN), {} pJ per addition, one per synaptic operation (SNN){}.{macs}",
            short(*mac_pj),
            short(*add_pj),
            if source.is_empty() { String::new() } else { format!("; source: {source}") },
        );
        if !sentences.contains(&text) {
            sentences.push(text);
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_labels_have_no_trailing_zeros_and_stay_in_their_unit() {
        let labels: Vec<_> = [0.5, 1.0, 999.999_999_9, 1.5e3, 2e6, 1e9].map(energy_label).into();
        assert_eq!(labels, ["0.5 pJ", "1 pJ", "1 nJ", "1.5 nJ", "2 µJ", "1 mJ"]);
        assert_eq!([0.01, 1.0, 30.0].map(ratio_label), ["0.01×", "1×", "30×"]);
    }
}
