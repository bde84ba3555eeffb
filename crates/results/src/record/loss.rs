//! Where the accuracy of a spiking network is lost.

use serde::{Deserialize, Serialize};

/// Number of rate models: one for each subset of three effects.
pub const N_MODELS: usize = 8;

/// One checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossRecord {
    /// Time step, from 1.
    pub step: usize,
    /// Accuracy of the rate model with each subset of effects, in [0, 1]: number k has the input's counts for bit 0 of k (else
    /// its pixels), rounding to whole spikes for bit 1, saturation at a spike per step for bit 2.
    pub models: [f64; N_MODELS],
    /// Share of samples for which the model with all effects decides as the spiking network, in [0, 1].
    pub agreement: f64,
    /// Accuracy of the spiking network itself on a constant current, in [0, 1]; `None` if that is its input already.
    pub constant_current: Option<f64>,
}
