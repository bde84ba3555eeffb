//! The spiking network that a trained network is converted to, what runs it, and the readable engine that says what is right.
//!
//! - [`network`]: layers of neurons
//! - [`neurons`]: what a neuron does in a time step
//! - [`wiring`]: which neurons a spike reaches
//! - [`pool`]: pools on the way
//! - [`places`]: neurons in the order in which a convolution reads them
//! - [`simd`]: SIMD levels
//! - [`cost`]: synaptic operations
//! - [`grid`]: the exact grid that weights lie on, which makes every engine give the same spikes
//! - [`philox`]: random numbers that depend on what they are for, not on when they are drawn
//! - [`encoder`]: pixels to spikes or to a constant current
//! - [`spikes`]: spike trains as bits
//! - [`engine`]: what every engine takes and gives
//! - [`mod@reference`]: the definition, neuron by neuron and step by step; what the fast engines are held to
//! - [`faults`]: what neuromorphic hardware does to a network
//! - [`exit`]: when a decision is settled before the last step
//! - [`mod@norm`]: norms of weight vectors
//! - [`artefact`]: the file `snn.safetensors`
//!
//! One time step of a neuron with membrane potential v, weights W̃ and bias b̃ (in thresholds):
//!
//! `u = v + W̃ s + b̃`, a spike if `u ≥ 1`, then `v = u − 1` (reset by subtraction) or `v = 0` (reset to zero).
//!
//! The last layer integrates and never fires (readout `potential`) or fires like the others (readout `spikes`).
//! ```
//! use model::config::{Encoding, NeuronConfig, Readout, Reset};
//! use snn::network::ExactLayer;
//! use snn::{Connection, Engine, ReferenceEngine, RunSettings, Sample, Source, SpikingLayer, SpikingNetwork, Wiring};
//!
//! // Two inputs onto one neuron that starts half-way to its threshold, and a readout of it.
//! let layer = |name: &str, wiring: Wiring, weights: Vec<f64>, start: f64| {
//!     let exact = ExactLayer {
//!         name: name.to_owned(),
//!         connections: vec![Connection { wiring, weights }],
//!         biases: vec![0.0].into(),
//!         initial_potentials: vec![start],
//!         thresholds: vec![1.0],
//!     };
//!     SpikingLayer::round(&exact, 4)
//! };
//! let layers = vec![
//!     layer("dense 1", Wiring::dense(Source::INPUT, [2, 1, 1], 1), vec![0.5, -0.25], 0.5)?,
//!     layer("dense 2", Wiring::dense(Source::of_layer(0), [1, 1, 1], 1), vec![2.0], 0.0)?,
//! ];
//! let network = SpikingNetwork::new([2, 1, 1], layers)?;
//!
//! let settings = RunSettings {
//!     encoding: Encoding::Regular,
//!     neuron: NeuronConfig::default(), reset: Reset::Subtract,
//!     readout: Readout::Potential,
//!     n_steps: 4,
//!     seed: 0,
//! };
//! let trace = &ReferenceEngine::new(&network).run(&[Sample { index: 0, pixels: &[1.0, 0.0] }], &settings)?[0];
//! assert_eq!((0..4).map(|step| trace.spikes[1].get(step, 0)).collect::<Vec<_>>(), [true, false, true, false]);
//! assert_eq!(trace.readout, [2.0, 2.0, 4.0, 4.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A converted network comes from its file, [`artefact::read`].
//!
//! Never prints, never exits.

pub mod artefact;
pub mod cost;
pub mod encoder;
pub mod engine;
pub mod exit;
pub mod faults;
pub mod grid;
pub mod network;
pub mod neurons;
pub mod norm;
pub mod philox;
pub mod places;
pub mod pool;
pub mod reference;
pub mod simd;
pub mod spikes;
pub mod wiring;

pub use cost::SynapticOperations;
pub use engine::{Emissions, Engine, EngineError, RunSettings, Sample, SampleTrace};
pub use exit::{EarlyDecision, EarlyExit};
pub use network::{Biases, NetworkError, SpikingLayer, SpikingNetwork};
pub use norm::norm;
pub use places::Potentials;
pub use reference::ReferenceEngine;
pub use spikes::SpikeTrain;
pub use wiring::{Connection, Kernel, Source, Wiring};
