//! The converted network in formats of others, beside its own file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use export::nir::{Deviation, Graph};
use export::{Format, Provenance, nir, plain};
use model::Experiment;
use results::record::ConversionRecord;
use serde_json::Value;
use snn::RunSettings;

/// A network in a format of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The file to begin with.
    pub path: PathBuf,
    /// What it is, for people.
    pub what: String,
    /// What whoever runs it has to know, one sentence each.
    pub notes: Vec<String>,
}

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
    let write = |format: &Format| match format {
        Format::Nir => {
            let path = folder.join(nir::FILE_NAME);
            let graph = Graph::new(&artefact.network, &run, allowed, &provenance)
                .with_context(|| format!("{}: not written", path.display()))?;
            graph.write(&path)?;
            let notes = graph.notes().iter().map(|note| format!("{}: {note}", path.display())).collect();
            Ok(Exported { path, what: format!("NIR graph of {} nodes", graph.n_nodes()), notes })
        }
        Format::Plain => {
            let path = plain::write(folder, &artefact.network, &run, &provenance)?;
            let what = format!("description of {}", plain::TENSORS_FILE_NAME);
            Ok(Exported { path, what, notes: Vec::new() })
        }
    };
    formats.iter().map(write).collect()
}
