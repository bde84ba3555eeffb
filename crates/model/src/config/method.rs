//! The conversion methods: one variant and one row of facts each.
//!
//! What is said here is all that the configuration, notes, labels and records need. The thresholds themselves are in the crate
//! `methods`, one file a method, and its match over [`Method`] is exhaustive: a method without thresholds does not compile.

use super::words::words;
use super::{ConvertConfig, Readout};

words! {
    /// How the thresholds λ are chosen.
    Method {
        /// λ = 1.
        None = "none",
        /// The largest activation that the weights allow, per layer.
        Model = "model",
        /// The layer's largest activation.
        Max = "max",
        /// A percentile of the layer's activations.
        Percentile = "percentile",
        /// A percentile of each neuron's activations.
        ChannelPercentile = "channel-percentile",
        /// A norm of each neuron's weights over κ.
        Norm = "norm",
        /// The measured standard deviation of each neuron's input current over κ.
        Std = "std",
        /// The λ of least squared quantisation error, per neuron.
        Mmse = "mmse",
        /// The λ that the network was trained with, per neuron.
        Trained = "trained",
    }
}

/// What is known of a method without running it.
#[derive(Debug, Clone, Copy)]
pub struct MethodFacts {
    /// What hidden thresholds are measured from.
    pub measures: Measures,
    /// Whether it knows how large logits become. If not, output neurons that fire get thresholds from measured logits.
    pub bounds_logits: bool,
    /// Keys that are for this method, and perhaps for others, but not for all.
    pub keys: &'static [&'static str],
    /// Name for tables and figures, with its parameters.
    pub label: fn(&ConvertConfig) -> String,
}

/// What a method measures on calibration samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measures {
    /// Nothing: weights are enough.
    Nothing,
    /// The trained network's activations.
    Activations,
    /// The standard deviation of input currents per step, in the spiking network as far as it is converted.
    Noise,
}

/// What percentiles look at.
const PERCENTILES: &[&str] = &["convert.percentile", "convert.percentile_zeros"];

impl Method {
    /// The row of a method.
    pub fn facts(self) -> MethodFacts {
        match self {
            Self::None => MethodFacts {
                measures: Measures::Nothing,
                bounds_logits: false,
                keys: &[],
                label: |_| "none".to_owned(),
            },
            Self::Model => MethodFacts {
                measures: Measures::Nothing,
                bounds_logits: true,
                keys: &[],
                label: |_| "model".to_owned(),
            },
            Self::Max => MethodFacts {
                measures: Measures::Activations,
                bounds_logits: true,
                keys: &[],
                label: |_| "max".to_owned(),
            },
            Self::Percentile => MethodFacts {
                measures: Measures::Activations,
                bounds_logits: true,
                keys: PERCENTILES,
                label: |convert| format!("percentile {}", convert.percentile),
            },
            Self::ChannelPercentile => MethodFacts {
                measures: Measures::Activations,
                bounds_logits: true,
                keys: PERCENTILES,
                label: |convert| format!("channel-percentile {}", convert.percentile),
            },
            Self::Norm => MethodFacts {
                measures: Measures::Nothing,
                bounds_logits: false,
                keys: &["convert.p", "convert.kappa"],
                label: |convert| {
                    let p = if convert.p.is_infinite() { "∞".to_owned() } else { convert.p.to_string() };
                    format!("norm p={p} κ={}", convert.kappa)
                },
            },
            Self::Std => MethodFacts {
                measures: Measures::Noise,
                bounds_logits: false,
                keys: &["convert.kappa"],
                label: |convert| format!("std κ={}", convert.kappa),
            },
            Self::Mmse => MethodFacts {
                measures: Measures::Activations,
                bounds_logits: true,
                keys: &["convert.target_steps"],
                label: |_| "mmse".to_owned(),
            },
            Self::Trained => MethodFacts {
                measures: Measures::Nothing,
                bounds_logits: false,
                keys: &[],
                label: |_| "trained".to_owned(),
            },
        }
    }

    /// Whether thresholds of output neurons are taken from a percentile of measured logits.
    pub fn measures_logits(self, readout: Readout) -> bool {
        readout == Readout::Spikes && !self.facts().bounds_logits
    }

    /// Whether a method needs calibration samples: also one that measures nothing, if it has to measure logits.
    pub fn needs_data(self, readout: Readout) -> bool {
        self.facts().measures != Measures::Nothing || self.measures_logits(readout)
    }

    /// Whether a method looks at a key that is not for all methods, `convert.kappa` say.
    pub fn looks_at(self, key: &str, readout: Readout) -> bool {
        self.facts().keys.contains(&key) || (self.measures_logits(readout) && PERCENTILES.contains(&key))
    }
}
