//! What faults of the hardware do to the accuracy.

use maud::{Markup, PreEscaped, html};

use super::{HALF, Section, figure, findings, reading, table};
use crate::chart::{Chart, line_swatch, swatch};
use crate::error::ReportError;
use crate::number::MISSING;
use crate::palette::Ink;
use crate::severity::{all_faults, fault_tables, labels, sweeps};
use crate::table::{Column, Table};
use results::record::{ExperimentRecord, FaultsRecord};

pub(super) fn section(record: &ExperimentRecord) -> Result<Option<Section>, ReportError> {
    let all = all_faults(record);
    if all.is_empty() {
        return Ok(None);
    }
    let sweeps = sweeps(record);
    let labels = labels(&sweeps);
    let charts: Vec<Chart> = sweeps.iter().map(|sweep| sweep.chart(record, &labels)).collect();
    let caption = "Mean accuracy after the last step against the severity of one fault, all else alike; whiskers are the 95 % \
                   interval over networks, each the mean of its devices.";
    Ok(Some(Section {
        id: "faults",
        title: "Faults of the hardware",
        body: html! {
            (reading("Each simulation seed is a device: noise of weights and thresholds is drawn once for it, the same for all methods, and larger at a higher severity. Weights of few bits are rounded before their noise. Every neuron has a threshold of its own, in a convolution at every position; a lost spike is lost for all that it would have reached, and is not counted."))
            @if !charts.is_empty() {
                (figure(&charts, HALF, "charts two", &legend(&labels), caption)?)
                (findings(&crate::severity::findings(record, &sweeps)))
                @for t in fault_tables(record) { (table(&t)) }
            }
            details open[charts.is_empty()] { summary { "Faults" } (table(&listed(&all))) }
        },
    }))
}

fn legend(labels: &[&str]) -> Markup {
    html! {
        ul.legend {
            li { (PreEscaped(line_swatch(Ink::Ann, 0))) "ANN" }
            @for (i, label) in labels.iter().enumerate() { li { (PreEscaped(swatch(i, true))) (label) } }
        }
    }
}

fn listed(all: &[&FaultsRecord]) -> Table {
    let number = |value: f64| if value > 0.0 { value.to_string() } else { MISSING.to_owned() };
    let row = |faults: &&FaultsRecord| {
        let of = if faults.weight_noise > 0.0 { &faults.weight_noise_of } else { MISSING };
        vec![
            faults.label.clone(),
            faults.weight_bits.map_or_else(|| MISSING.to_owned(), |bits| bits.to_string()),
            number(faults.weight_noise),
            of.to_owned(),
            faults.weight_range.clone(),
            number(faults.threshold_mismatch),
            number(faults.dropped_spikes),
            faults.seed.to_string(),
        ]
    };
    Table {
        title: "Faults".to_owned(),
        columns: vec![
            Column::text("label"),
            Column::number("bits of a weight"),
            Column::number("weight noise"),
            Column::text("relative to"),
            Column::text("range of weights"),
            Column::number("threshold mismatch"),
            Column::number("dropped spikes"),
            Column::number("seed of devices"),
        ],
        rows: all.iter().map(row).collect(),
    }
}
