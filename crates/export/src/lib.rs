//! Converted networks, and what they did, in formats of others.
//!
//! - [`nir`]: a graph for other simulators and for neuromorphic hardware
//! - [`plain`]: tensors and a description that anybody can load
//! - [`npy`]: spike trains and rates for NumPy
//! - [`hdf5`]: what a graph is written in
//!
//! ```no_run
//! use export::nir::{Deviation, Graph};
//! use model::config::{Encoding, Readout, Reset};
//! use serde_json::Value;
//!
//! let converted = snn::artefact::read::<Value, Value>("runs/quickstart/snn.safetensors".as_ref())?;
//! let run = snn::RunSettings {
//!     encoding: Encoding::Poisson,
//!     reset: Reset::Subtract,
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

use std::fmt;
use std::str::FromStr;

/// A format that converted networks are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`nir`].
    Nir,
    /// [`plain`].
    Plain,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Nir, Self::Plain];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nir => "nir",
            Self::Plain => "plain",
        }
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
