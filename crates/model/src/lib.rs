//! What every part of Quartic shares: the experiment's configuration, the network it describes, the burn
//! module that trains it, and the artefact that carries its weights.
//!
//! - [`config`]: one TOML file → a checked [`Experiment`]
//! - [`architecture`]: the layers, with their shapes
//! - [`population`]: what the layers become in the spiking network: populations and connections
//! - [`network`]: the burn module of an architecture
//! - [`ann`]: the trained network's artefact, `ann.safetensors`
//! - [`artefact`]: reading and writing safetensors files safely
//! - [`backend`]: the only place that names a concrete burn backend
//! - [`cli`]: arguments that every command takes
//! - [`progress`]: bars of several commands on one terminal
//!
//! Prints progress only, and never exits.

pub mod ann;
pub mod architecture;
pub mod artefact;
pub mod backend;
pub mod cli;
pub mod config;
pub mod network;
pub mod population;
pub mod progress;

pub use architecture::{Architecture, Layer, LayerKind};
pub use backend::Backend;
pub use config::{ConfigError, Experiment};
