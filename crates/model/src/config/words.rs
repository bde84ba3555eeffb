//! Words that configuration and records share: each enum with the words of its values.
//!
//! The methods are in [`super::method`].

/// Declares an enum of configuration words with its names, `FromStr`, `Display`, and the first one as `Default`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every one, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Their words, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word in configurations.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl Default for $name {
            /// The first one.
            fn default() -> Self {
                Self::ALL[0]
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|known| known.name() == word)
                    .ok_or_else(|| format!("found `{word}`; use one of {}", Self::WORDS.join(", ")))
            }
        }
    };
}

pub(super) use words;

words! {
    /// What the rectifiers of a network compute while it is trained, and from then on.
    Activation {
        /// `max(0, x)`.
        Relu = "relu",
        /// The same, quantised to a few levels.
        Qcfs = "qcfs",
    }
}

words! {
    /// What is free in the thresholds that training learns.
    TrainedThresholds {
        /// Each channel's λ.
        Channel = "channel",
        /// One factor per layer, on the L4-norm of each channel's weights.
        Norm = "norm",
    }
}

words! {
    /// How each channel's mean spike rate is brought to that of the trained network.
    Calibrate {
        /// Not at all.
        None = "none",
        /// By a current at each step.
        Bias = "bias",
        /// By the potential before the first step.
        Potential = "potential",
    }
}

words! {
    /// How pixels become input.
    Encoding {
        /// A spike at each step with the pixel's value as its probability.
        Poisson = "poisson",
        /// Evenly spaced spikes with a random phase.
        Systematic = "systematic",
        /// Evenly spaced spikes with phase ½.
        Regular = "regular",
        /// The pixel's value as a constant input current; no spikes.
        Constant = "constant",
    }
}

impl Encoding {
    /// Whether input differs from seed to seed.
    pub const fn is_random(self) -> bool {
        match self {
            Self::Poisson | Self::Systematic => true,
            Self::Regular | Self::Constant => false,
        }
    }
}

words! {
    /// What a spike does to the membrane potential.
    Reset {
        /// The threshold is subtracted.
        Subtract = "subtract",
        /// The potential is set to zero.
        Zero = "zero",
    }
}

words! {
    /// The model of the neurons that fire.
    NeuronKind {
        /// Spikes of 0 and 1.
        IntegrateAndFire = "if",
        /// Spikes of −1, 0 and 1: a spike can be taken back.
        Ternary = "ternary",
        /// Any number of quanta at a step, also negative: what was put out so far is always the rounded sum of the input.
        Counting = "counting",
        /// Spikes of 0 and 1, as many as counting gives, sent once the whole input has arrived.
        Waiting = "waiting",
    }
}

words! {
    /// What bounds the quanta that a counting neuron has put out.
    RateCap {
        /// τt after t steps: a rate of one spike a step, whenever the run ends.
        Step = "step",
        /// τT at every step: the rate is bounded at the end of the run alone.
        Run = "run",
    }
}

words! {
    /// What the decision is read from.
    Readout {
        /// Membrane potential of output neurons that do not fire.
        Potential = "potential",
        /// Spike count of output neurons.
        Spikes = "spikes",
    }
}

words! {
    /// What runs the spiking network.
    EngineKind {
        /// Event-driven, on the CPU.
        Event = "event",
        /// Dense tensors, on the burn backend.
        Dense = "dense",
    }
}

words! {
    /// Which weights share a range, the largest magnitude among them.
    WeightRange {
        /// Those of a connection of a layer.
        Layer = "layer",
        /// Those of a connection of a channel; in a fully connected layer, of a neuron.
        Channel = "channel",
    }
}

words! {
    /// What the noise of a weight is relative to.
    NoiseOf {
        /// Its range.
        Range = "range",
        /// The weight itself.
        Weight = "weight",
    }
}
