//! The trained network in burn: what is trained, and what tells the activations at conversion.
//!
//! - [`network`]: the burn module of a [`model::Architecture`]
//! - [`backend`]: the only place that names a concrete burn backend, and kernels of our own on them

pub mod backend;
pub mod network;

pub use backend::{BackendError, device};
pub use network::Network;
