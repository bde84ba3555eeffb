//! What `simulate --explain` tells: what would run each layer of a converted network.

use std::path::Path;

use anyhow::Result;
use engine_dense::DenseEngine;
use engine_event::{Choice, LayerExplanation};
use model::Experiment;
use model::config::EngineKind;
use report::{Column, Table};
use results::record::ConversionRecord;
use serde_json::Value;
use snn::RunSettings;

use crate::{check_converted, check_wirings, device_of};

/// What runs a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The compute kernels of each layer, if the event-driven engine runs it.
    pub table: Option<Table>,
    /// One sentence each: why no faster kernel runs a layer, or how the dense engine runs the network.
    pub reasons: Vec<String>,
}

/// Explains what runs the converted network in a run's folder, with the first of the simulation seeds. Simulates nothing.
///
/// # Errors
/// If the network cannot be read or is not the experiment's, or the backend is not built in.
pub fn explain(experiment: &Experiment, folder: &Path) -> Result<Explanation> {
    let artefact = snn::artefact::read_network::<Value, ConversionRecord>(&folder.join(snn::artefact::FILE_NAME))?;
    check_converted(experiment, &artefact.metadata, folder)?;
    check_wirings(experiment, &artefact.network, folder)?;
    let seed = experiment.simulate.seeds[0];
    let network = device_of(experiment, &artefact.network, seed)?;
    Ok(match experiment.simulate.engine {
        EngineKind::Event => {
            let settings = RunSettings::new(&experiment.simulate, seed);
            event(&engine_event::explain(&network, &settings))
        }
        EngineKind::Dense => {
            let device = ann::device(experiment.backend)?;
            let neuron = experiment.simulate.neuron;
            let reason = if neuron.is_binary() {
                DenseEngine::explain(&network, &device)
            } else {
                format!("the dense engine runs neurons `{}` step by step on {}", neuron.kind, experiment.backend)
            };
            Explanation { table: None, reasons: vec![reason] }
        }
    })
}

fn event(layers: &[LayerExplanation]) -> Explanation {
    let is_driven = layers.iter().any(|layer| layer.drive.is_some());
    let mut columns = vec![Column::text("layer"), Column::text("synapses")];
    columns.extend(is_driven.then(|| Column::text("constant input")));
    columns.extend(["sums", "potentials"].map(Column::text));
    let row = |layer: &LayerExplanation| {
        let mut row = vec![layer.layer.clone(), layer.synapses.kernel.to_owned()];
        row.extend(is_driven.then(|| layer.drive.as_ref().map_or("–", |drive| drive.kernel).to_owned()));
        row.extend([layer.sums, layer.potentials].map(str::to_owned));
        row
    };
    let level = layers.first().map_or("portable", |layer| layer.simd_level);
    let table = Table {
        title: format!("Compute kernels of the event-driven engine, SIMD level {level}"),
        columns,
        rows: layers.iter().map(row).collect(),
    };
    let reasons = layers.iter().flat_map(|layer| {
        let choices = std::iter::once(&layer.synapses).chain(&layer.drive);
        choices.flat_map(|choice| reasons(&layer.layer, choice))
    });
    Explanation { table: Some(table), reasons: reasons.collect() }
}

/// Why faster kernels do not run a layer: a sentence for those that have the same reason.
fn reasons(layer: &str, choice: &Choice) -> Vec<String> {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for refusal in &choice.refusals {
        match by_reason.iter_mut().find(|(reason, _)| *reason == refusal.reason) {
            Some((_, kernels)) => kernels.push(refusal.kernel),
            None => by_reason.push((&refusal.reason, vec![refusal.kernel])),
        }
    }
    let sentence = |(reason, kernels): &(&str, Vec<&str>)| format!("{layer}: not {}: {reason}", kernels.join(", "));
    by_reason.iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use engine_event::Refusal;

    use super::*;

    #[test]
    fn kernels_with_the_same_reason_share_a_sentence() {
        let refusal = |kernel, reason: &str| Refusal { kernel, reason: reason.to_owned() };
        let refusals = vec![refusal("a", "too large"), refusal("b", "stride 2"), refusal("c", "too large")];
        let choice = Choice { kernel: "d", refusals };
        let layer = LayerExplanation {
            layer: "conv 1".to_owned(),
            synapses: choice.clone(),
            drive: None,
            sums: "int16",
            potentials: "int32",
            simd_level: "AVX2",
        };
        let driven = LayerExplanation { drive: Some(Choice { kernel: "e", refusals: Vec::new() }), ..layer.clone() };
        let Explanation { table, reasons } = event(&[driven, layer]);
        assert_eq!(reasons[..2], ["conv 1: not a, c: too large", "conv 1: not b: stride 2"]);
        let expected = "Compute kernels of the event-driven engine, SIMD level AVX2\n\
                        layer   synapses  constant input  sums   potentials\n\
                        ───────────────────────────────────────────────────\n\
                        conv 1  d         e               int16  int32\n\
                        conv 1  d         –               int16  int32\n";
        assert_eq!(report::terminal(&table.unwrap()), expected);
    }
}
