//! The converted network in formats of others, beside its own file.

use std::path::Path;

use anyhow::Result;
use export::nir::Deviation;
use export::{Exportable, Exported, Format, Provenance};
use model::Experiment;
use results::record::ConversionRecord;
use serde_json::Value;
use snn::RunSettings;

/// Writes a converted network in some formats.
///
/// - `path`: the converted network's own file; the others go beside it
/// - `allowed`: what may be lost where NIR has no word for it
///
/// # Errors
/// If the network cannot be read, a format cannot hold it, or the folder cannot be written to. Formats before that one are written.
pub fn write(experiment: &Experiment, path: &Path, formats: &[Format], allowed: &[Deviation]) -> Result<Vec<Exported>> {
    if formats.is_empty() {
        return Ok(Vec::new());
    }
    let artefact = snn::artefact::read::<Value, ConversionRecord>(path)?;
    let run = RunSettings::new(&experiment.simulate, experiment.seed);
    let provenance =
        Provenance { quartic_version: env!("CARGO_PKG_VERSION").to_owned(), parent: artefact.checksum.clone() };
    let folder = path.parent().unwrap_or(Path::new(""));
    let exportable = Exportable { network: &artefact.network, run: &run, provenance: &provenance, allowed };
    formats.iter().map(|format| Ok(format.write(folder, &exportable)?)).collect()
}
