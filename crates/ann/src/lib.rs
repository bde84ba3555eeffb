//! The trained network in burn: what is trained, and what tells the activations at conversion.
//!
//! - [`network`]: the burn module of a [`model::Architecture`]
//! - `qcfs`: its quantised activation
//! - [`backend`]: the only place that names a concrete burn backend, and kernels of our own on them

pub mod backend;
pub mod network;
mod qcfs;

pub use backend::{BackendError, device};
pub use network::Network;
