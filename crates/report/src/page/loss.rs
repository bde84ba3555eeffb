//! Where accuracy is lost.

use maud::{PreEscaped, html};

use super::{HALF, Section, figure, findings, reading, table};
use crate::chart::{Chart, line_swatch, swatch};
use crate::error::ReportError;
use crate::loss::{charts, legend, sentences, tables};
use crate::method::Method;
use crate::palette::Ink;
use results::record::ExperimentRecord;

pub(super) fn section(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let tables = tables(record, methods);
    let [parts, models] = &tables[..] else { return Ok(None) };
    let taken_apart = methods.iter().filter(|method| method.observations.iter().any(|o| !o.seed.loss.is_empty()));
    let panels: Vec<Chart> = taken_apart.flat_map(|method| charts(record, method)).collect();
    let key = html! {
        ul.legend {
            li { (PreEscaped(line_swatch(Ink::Ann, 0))) "all that is lost" }
            @for (i, name) in legend().iter().enumerate() { li { (PreEscaped(swatch(i, true))) (name) } }
        }
    };
    let caption = "Points of accuracy lost against the ANN at each checkpoint, and what of it goes to each effect, mean over \
                   networks; whiskers are its 95 % confidence interval. Right: the last points.";
    Ok(Some(Section {
        id: "loss",
        title: "Where accuracy is lost",
        body: html! {
            (reading("A model of rates replaces every spike train by its count, for the same input spikes: max(0, min(T, ⌊aT + v(0)⌋)) for a neuron of drive a. Input noise, rounding to whole spikes with v(0), and saturation at a spike per step can each be left out. An effect gets what accuracy falls by when it is added, averaged over all orders of adding the three (Shapley value). What the spiking network loses beyond the model with all three is the order of its spikes: charge that comes too late or was spent too early. The parts add up to the loss; one below zero gives accuracy back."))
            (figure(&panels, HALF, "charts two", &key, caption)?)
            (findings(&sentences(record, methods)))
            (table(parts))
            details { summary { "Accuracy with each effect alone and with each left out" } (table(models)) }
        },
    }))
}
