//! The spiking network that a trained network is converted to, and the engines that run it.
//!
//! - [`network`]: layers of integrate-and-fire neurons
//! - [`wiring`]: which neurons a spike reaches
//! - [`pool`]: pools on the way
//! - [`cost`]: synaptic operations
//! - [`grid`]: the exact grid that weights lie on, which makes every engine give the same spikes
//! - [`philox`]: random numbers that depend on what they are for, not on when they are drawn
//! - [`encoder`]: pixels to spikes or to a constant current
//! - [`spikes`]: spike trains as bits
//! - [`engine`]: event-driven on the CPU, and dense on any burn backend
//! - [`faults`]: what neuromorphic hardware does to a network
//! - [`exit`]: when a decision is settled before the last step
//! - [`probe`]: statistics of inputs, currents and potentials
//! - [`rate`]: the network with spike counts in place of spikes
//! - [`mod@norm`]: norms of weight vectors
//! - [`artefact`]: the file `snn.safetensors`
//!
//! One time step of a neuron with membrane potential v, weights W̃ and bias b̃ (in thresholds):
//!
//! `u = v + W̃ s + b̃`, a spike if `u ≥ 1`, then `v = u − 1` (reset by subtraction) or `v = 0` (reset to zero).
//!
//! The last layer integrates and never fires (readout `potential`) or fires like the others (readout `spikes`).
//! Never prints, never exits.

pub mod artefact;
pub mod cost;
mod drive;
pub mod encoder;
pub mod engine;
pub mod exit;
pub mod faults;
pub mod grid;
pub mod network;
pub mod norm;
pub mod philox;
mod places;
mod planes;
pub mod pool;
pub mod probe;
pub mod rate;
pub mod spikes;
pub mod wiring;

pub use cost::SynapticOperations;
pub use engine::{DenseEngine, Engine, EngineError, EventEngine, RunSettings, Sample, SampleTrace};
pub use exit::{EarlyDecision, EarlyExit};
pub use network::{NetworkError, SpikingLayer, SpikingNetwork};
pub use norm::norm;
pub use spikes::SpikeTrain;
pub use wiring::{Connection, Kernel, Wiring};
