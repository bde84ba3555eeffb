//! Converted networks, and what they did, in formats of others.
//!
//! - [`nir`]: a graph for other simulators and for neuromorphic hardware
//! - [`plain`]: tensors and a description that anybody can load
//! - [`npy`]: spike trains and rates for NumPy
//! - [`hdf5`]: what a graph is written in
//!
//! Never prints, never exits.

pub mod hdf5;
pub mod nir;
pub mod npy;
pub mod plain;

/// Where an exported network comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Version of the program that exports it.
    pub quartic_version: String,
    /// SHA-256 of its `snn.safetensors`, in hexadecimal.
    pub parent: String,
}
