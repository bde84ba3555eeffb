//! What every part of Quartic shares: the experiment's configuration, the network it describes, and the
//! artefact that carries its weights.
//!
//! - [`config`]: one TOML file → a checked [`Experiment`]
//! - [`architecture`]: the layers, with their shapes
//! - [`graph`]: the same as a graph: which layer reads what
//! - [`population`]: what the layers become in the spiking network: populations and connections
//! - [`evaluate`]: what the trained network computes, for tests
//! - [`ann`]: the trained network's artefact, `ann.safetensors`
//! - [`artefact`]: reading and writing safetensors files safely
//! - [`backend`]: names of the burn backends that an experiment can ask for
//!
//! ```
//! use model::config::ExperimentFile;
//!
//! let text = r#"
//! name = "tiny"
//! data = { dataset = "digits" }
//! model = { input = [1, 8, 8], layers = [{ kind = "flatten" }, { kind = "dense", units = 20 }, { kind = "relu" }, { kind = "dense", units = 10 }] }
//! "#;
//! // Everything that is not given has a default; overrides are those of `--set`.
//! let experiment = ExperimentFile::parse(text, "tiny.toml".as_ref(), &["train.epochs=3".to_owned()])?.base;
//! assert_eq!(experiment.architecture.to_string(), "64-20-10");
//! assert_eq!(experiment.train.epochs, 3);
//!
//! // All problems at once, each with its key and what to write instead.
//! let error = ExperimentFile::parse(text, "tiny.toml".as_ref(), &["train.epoch=3".to_owned()]).unwrap_err();
//! assert!(error.to_string().contains("train.epochs"));
//! # Ok::<(), model::ConfigError>(())
//! ```
//!
//! Never prints, never exits.

pub mod ann;
pub mod architecture;
pub mod artefact;
pub mod backend;
pub mod config;
pub mod evaluate;
pub mod graph;
pub mod kernel;
pub mod population;
pub mod quantised;

pub use architecture::{Architecture, Layer, LayerKind};
pub use backend::Backend;
pub use config::{ConfigError, Experiment};
pub use graph::Graph;
pub use population::Source;
