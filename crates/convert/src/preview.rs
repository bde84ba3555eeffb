//! `convert --preview`: how accurate neurons that count will be after any number of steps, without simulating them.
//!
//! After T steps of τ quanta such a network is the trained one with activations rounded to τT levels, whatever the order of its spikes
//! ([`snn::neurons::Counting`]), if its input is a constant current. So one step of τT quanta tells the accuracy, and it is the same for
//! all T and τ of one product. Judged on training samples that no threshold was measured on, where there are such.

use std::path::Path;

use anyhow::Result;
use datasets::Resolved;
use engine_event::EventEngine;
use methods::quantised::one_step;
use model::Experiment;
use model::config::{Encoding, Readout};
use report::{Column, Table};
use results::record::ConversionRecord;
use serde_json::Value;
use snn::{Engine as _, EngineError, Sample};

use crate::{Files, draw};

/// Steps and quanta that are told.
const STEPS: [u32; 6] = [1, 2, 4, 8, 16, 32];
const LEVELS: [u32; 4] = [1, 2, 4, 8];

/// What is told, and what the user should know of it, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Accuracy by T and τ.
    pub table: Table,
    /// Notes.
    pub notes: Vec<String>,
}

/// Accuracy of a converted network on training samples for each T and τ.
///
/// - `path`: the converted network's file
///
/// # Errors
/// If the network or the samples cannot be read.
pub fn preview(experiment: &Experiment, path: &Path) -> Result<Preview> {
    let artefact = snn::artefact::read::<Value, ConversionRecord>(path)?;
    let Resolved { experiment, data, .. } = Resolved::of(experiment, Some(&artefact.metadata.config))?;
    let files = Files { experiment: &experiment, data: Ok(&data) };
    let (_, samples) = draw(files.calibration()?.rest, experiment.convert.kappa_samples, experiment.seed)?;
    let images: Vec<Vec<f32>> = (0..samples.len()).map(|index| samples.image(index)).collect();
    let inputs = Sample::consecutive(0, &images);
    let engine = EventEngine::new(&artefact.network);
    let accuracy = |levels: u32| -> Result<String> {
        let traces = match engine.run(&inputs, &one_step(levels, Readout::Potential)) {
            Ok(traces) => traces,
            // Converted for fewer.
            Err(EngineError::TooLarge { .. }) => return Ok("–".to_owned()),
            Err(error) => return Err(error.into()),
        };
        let right = |(trace, &label): (&snn::SampleTrace, &u16)| trace.decisions().last() == Some(&usize::from(label));
        let n_right = traces.iter().zip(samples.labels()).filter(|pair| right(*pair)).count();
        Ok(format!("{:.1}", 100.0 * n_right as f64 / samples.len() as f64))
    };
    // One run for all T and τ of one product.
    let most = STEPS[STEPS.len() - 1] * LEVELS[LEVELS.len() - 1];
    let of_levels: Vec<String> =
        (0..=most.trailing_zeros()).map(|power| accuracy(1 << power)).collect::<Result<_>>()?;
    let row = |levels: &u32| {
        let cells = STEPS.iter().map(|steps| of_levels[(steps * levels).trailing_zeros() as usize].clone());
        std::iter::once(format!("τ={levels}")).chain(cells).collect()
    };
    let columns = STEPS.map(|steps| Column::number(format!("T={steps}")));
    let table = Table {
        title: format!("Accuracy of neurons `counting` on {} training samples, in %", samples.len()),
        columns: std::iter::once(Column::text("levels")).chain(columns).collect(),
        rows: LEVELS.iter().map(row).collect(),
    };
    let mut notes = Vec::new();
    if experiment.simulate.neuron.is_binary() {
        notes.push("the preview is of neurons `counting`; set simulate.neuron to convert for them".to_owned());
    }
    if experiment.simulate.encoding != Encoding::Constant {
        let encoding = experiment.simulate.encoding;
        notes.push(format!(
            "the preview is of a constant current; input coded as `{encoding}` has noise that it leaves out"
        ));
    }
    if of_levels.iter().any(|accuracy| accuracy == "–") {
        notes.push(
            "–: sums would not be exact; convert for more simulate.steps or simulate.levels to see it".to_owned(),
        );
    }
    Ok(Preview { table, notes })
}
