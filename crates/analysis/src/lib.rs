//! Why a spiking network is as accurate as it is.
//!
//! - [`score`]: accuracy, agreement, cost and activity over all samples, run to T and stopped early
//! - [`probe`]: statistics of currents and potentials
//! - [`measure`]: noise, rates and rasters of a few samples
//! - [`law`]: why that noise follows one norm of the weights or another
//! - [`rate`]: the network with spike counts in place of spikes
//! - [`decompose`]: where accuracy is lost

pub mod decompose;
pub mod law;
pub mod measure;
pub mod probe;
pub mod rate;
pub mod score;
