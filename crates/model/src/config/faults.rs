//! `[simulate.faults]`: what neuromorphic hardware does to a network.

use super::{NoiseOf, WeightRange};

/// What a run without faults is called where runs with faults stand beside it.
pub const NO_FAULTS: &str = "no faults";

/// `[simulate.faults]`; by default there are none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FaultsConfig {
    /// With a simulation seed, which device it is.
    pub seed: u64,
    /// Standard deviation of the weights' Gaussian noise, at least 0.
    pub weight_noise: f64,
    /// What that is relative to.
    pub weight_noise_of: NoiseOf,
    /// Which weights share the range of `weight_bits` and of noise that is relative to it.
    pub weight_range: WeightRange,
    /// Bits of a weight, its sign among them, at least 2; `None` leaves weights as they are.
    pub weight_bits: Option<u32>,
    /// Standard deviation of the neurons' thresholds, relative to their mean, at least 0.
    pub threshold_mismatch: f64,
    /// Probability that a spike is lost, in [0, 1].
    pub dropped_spikes: f64,
}

impl FaultsConfig {
    /// Whether the hardware is as good as the network.
    pub fn is_none(&self) -> bool {
        self.weight_bits.is_none() && !self.is_random()
    }

    /// Whether devices differ from each other, or runs of one.
    pub fn is_random(&self) -> bool {
        self.weight_noise > 0.0 || self.threshold_mismatch > 0.0 || self.dropped_spikes > 0.0
    }

    /// Name for tables and figures: `4-bit weights + weight noise 0.1`.
    pub fn label(&self) -> String {
        let range = match self.weight_range {
            WeightRange::Layer => "",
            WeightRange::Channel => " per channel",
        };
        let mut parts = Vec::new();
        parts.extend(self.weight_bits.map(|bits| format!("{bits}-bit weights{range}")));
        if self.weight_noise > 0.0 {
            parts.push(match self.weight_noise_of {
                NoiseOf::Range => format!("weight noise {}{range}", self.weight_noise),
                NoiseOf::Weight => format!("relative weight noise {}", self.weight_noise),
            });
        }
        if self.threshold_mismatch > 0.0 {
            parts.push(format!("threshold mismatch {}", self.threshold_mismatch));
        }
        if self.dropped_spikes > 0.0 {
            parts.push(format!("dropped spikes {}", self.dropped_spikes));
        }
        let label = if parts.is_empty() { NO_FAULTS.to_owned() } else { parts.join(" + ") };
        if self.seed == 0 { label } else { format!("{label} (devices {})", self.seed) }
    }
}
