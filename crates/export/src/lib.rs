//! Converted networks, and what they did, in formats of others.
//!
//! - [`nir`]: a graph for other simulators and for neuromorphic hardware
//! - [`plain`]: tensors and a description that anybody can load
//! - [`npy`]: spike trains and rates for NumPy
//! - [`hdf5`]: what a graph is written in
//!
//! ```no_run
//! use export::nir::{Deviation, Graph};
//! use model::config::{Encoding, NeuronConfig, Readout, Reset};
//! use serde_json::Value;
//!
//! let converted = snn::artefact::read::<Value, Value>("runs/quickstart/snn.safetensors".as_ref())?;
//! let run = snn::RunSettings {
//!     encoding: Encoding::Poisson,
//!     neuron: NeuronConfig::default(), reset: Reset::Subtract,
//!     readout: Readout::Potential,
//!     n_steps: 32,
//!     seed: 0,
//! };
//! let provenance = export::Provenance { quartic_version: "0.1.0".to_owned(), parent: converted.checksum };
//! let graph = Graph::new(&converted.network, &run, &[Deviation::ResetBySubtraction], &provenance)?;
//! graph.write("runs/quickstart/snn.nir".as_ref())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Never prints, never exits.

pub mod hdf5;
pub mod nir;
pub mod npy;
pub mod plain;

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use model::artefact::ArtefactError;
use snn::{RunSettings, SpikingNetwork};
use thiserror::Error;

/// A format that converted networks are written in: a file of this crate each, and a row here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`nir`].
    Nir,
    /// [`plain`].
    Plain,
}

/// What a format's own file says of it.
struct Target {
    /// The word on the command line.
    name: &'static str,
    /// Names of the files, the one to begin with first.
    files: &'static [&'static str],
    /// Writes them into a folder.
    write: fn(&Path, &Exportable<'_>) -> Result<Exported, ExportError>,
}

/// A converted network with what its readers are told.
#[derive(Debug, Clone, Copy)]
pub struct Exportable<'a> {
    /// The network.
    pub network: &'a SpikingNetwork,
    /// How it is meant to be run.
    pub run: &'a RunSettings,
    /// Where it comes from.
    pub provenance: &'a Provenance,
    /// What may be lost where a format has no word for it.
    pub allowed: &'a [nir::Deviation],
}

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

/// A network that was not exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The format cannot hold it.
    #[error("{}: not written", path.display())]
    Refused {
        /// The file that was to be written.
        path: PathBuf,
        /// Why.
        #[source]
        why: Box<dyn Error + Send + Sync>,
    },
    /// The folder cannot be written to.
    #[error(transparent)]
    File(#[from] ArtefactError),
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Nir, Self::Plain];

    const fn target(self) -> &'static Target {
        match self {
            Self::Nir => &nir::TARGET,
            Self::Plain => &plain::TARGET,
        }
    }

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        self.target().name
    }

    /// Every one with its files, for help: `nir (snn.nir) or plain (…)`.
    pub fn list() -> String {
        let of = |format: Self| format!("{format} ({})", format.target().files.join(", "));
        Self::ALL.map(of).join(" or ")
    }

    /// Writes a network into a folder.
    ///
    /// # Errors
    /// [`ExportError`] if the format cannot hold the network, or the folder cannot be written to.
    pub fn write(self, folder: &Path, network: &Exportable<'_>) -> Result<Exported, ExportError> {
        (self.target().write)(folder, network)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|format| format.name() == word);
        found.ok_or_else(|| format!("`{word}` is no format of networks; use one of {known}"))
    }
}

/// Where an exported network comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Version of the program that exports it.
    pub quartic_version: String,
    /// SHA-256 of its `snn.safetensors`, in hexadecimal.
    pub parent: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_as_its_format_and_listed_with_its_files() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
            assert!(Format::list().contains(&format!("{format} (")));
        }
        assert_eq!(Format::list(), "nir (snn.nir) or plain (snn-plain.json, snn-plain.safetensors)");
        assert_eq!("onnx".parse::<Format>(), Err("`onnx` is no format of networks; use one of nir, plain".to_owned()));
    }
}
