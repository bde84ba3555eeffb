//! The typed sections of an [`super::Experiment`].
//!
//! A field is filled in by the row of its key in [`super::keys`], which has its default. The `Default` of a section is a blank for
//! these rows to fill in.

use std::fmt;

use super::{
    Activation, Calibrate, Encoding, EngineKind, FaultsConfig, Method, NeuronKind, RateCap, Readout, Reset,
    TrainedThresholds,
};

/// `[train]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainConfig {
    /// Passes over the training samples, at least 1.
    pub epochs: usize,
    /// Samples per step, at least 1.
    pub batch_size: usize,
    /// Epochs without a better validation loss before training ends; `None` never stops early.
    pub patience: Option<usize>,
    /// Initial step size, above 0.
    pub learning_rate: f64,
    /// Share of the last step kept in the next, in [0, 1).
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// L2 penalty, at least 0.
    pub weight_decay: f64,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// What is done to training images.
    pub augment: Augment,
    /// What rectifiers compute.
    pub activation: Activation,
    /// Numbers of levels of `qcfs`, a stage of training each; the last is what the network is trained for.
    pub levels: Vec<usize>,
    /// Where the network to start from is, `{seed}` standing for the training seed; `None` starts from random weights.
    pub from: Option<String>,
    /// What is free in the thresholds of `qcfs`.
    pub thresholds: TrainedThresholds,
    /// Initial step size of the thresholds of `qcfs`; `None` for [`DEFAULT_THRESHOLD_LEARNING_RATE`].
    pub threshold_learning_rate: Option<f64>,
}

/// Initial step size of the thresholds of `qcfs`, of their logarithms.
pub const DEFAULT_THRESHOLD_LEARNING_RATE: f64 = 0.01;

impl TrainConfig {
    /// Number of levels in an epoch, from 1, where the activation is `qcfs`: the epochs are divided evenly among the stages, and the
    /// later ones get what is left over.
    pub fn levels_in(&self, epoch: usize) -> Option<usize> {
        let stage = || (epoch.clamp(1, self.epochs) - 1) * self.levels.len() / self.epochs;
        (self.activation == Activation::Qcfs).then(|| self.levels[stage()])
    }

    /// The number of levels that the network is trained for, where the activation is `qcfs`.
    pub fn final_levels(&self) -> Option<usize> {
        self.levels_in(self.epochs)
    }

    /// Whether an epoch, from 1, is of the last stage, whose network is the one that is wanted.
    pub fn is_final_stage(&self, epoch: usize) -> bool {
        self.levels_in(epoch) == self.final_levels()
    }

    /// Initial step size of the thresholds.
    pub fn threshold_rate(&self) -> f64 {
        self.threshold_learning_rate.unwrap_or(DEFAULT_THRESHOLD_LEARNING_RATE)
    }
}

/// `[train.augment]`: random changes to training images, anew in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augment {
    /// Zeros around the image, out of which a random window of its size is cut; 0 leaves it.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
    /// Steps of Poisson spikes whose mean takes the image's place; 0 leaves it.
    pub poisson_steps: usize,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Schedule {
    /// Not at all.
    #[default]
    Constant,
    /// By a factor every few epochs.
    Step {
        /// Epochs between reductions.
        epochs: usize,
        /// Factor of each, in (0, 1].
        factor: f64,
    },
    /// Along half a cosine over all epochs.
    Cosine {
        /// Step size at the end.
        final_learning_rate: f64,
    },
}

/// The noise-to-threshold ratio κ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kappa {
    /// This value.
    Value(f64),
    /// The best of the grid on training samples.
    Auto,
}

impl fmt::Display for Kappa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(kappa) => kappa.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl Default for Kappa {
    fn default() -> Self {
        Self::Value(0.0)
    }
}

impl Default for Scale {
    fn default() -> Self {
        Self::Value(1.0)
    }
}

/// The factor on every hidden λ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// This value.
    Value(f64),
    /// The best of the grid on training samples.
    Auto,
}

/// What `Kappa::Auto` tries by default with `std` and the L4-norm; with another norm, multiples of it.
pub const DEFAULT_KAPPAS: [f64; 8] = [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0];

/// `[convert]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConvertConfig {
    /// The name given to this conversion; may be empty.
    pub given_label: String,
    /// How the thresholds are chosen.
    pub method: Method,
    /// Order of the norm, above 0; infinity is the largest magnitude.
    pub p: f64,
    /// Noise-to-threshold ratio of `norm` and `std`.
    pub kappa: Kappa,
    /// What `Kappa::Auto` tries; `None` for [`DEFAULT_KAPPAS`], fitted to the norm.
    pub kappa_grid: Option<Vec<f64>>,
    /// Training samples that `Kappa::Auto` and `Scale::Auto` are judged on.
    pub kappa_samples: usize,
    /// Percentile, in (0, 100].
    pub percentile: f64,
    /// Whether zeros count in percentiles.
    pub percentile_zeros: bool,
    /// Factor on every hidden λ.
    pub scale: Scale,
    /// What `Scale::Auto` tries.
    pub scale_grid: Vec<f64>,
    /// What takes back the mean error of each channel's rates.
    pub calibrate: Calibrate,
    /// Time steps that `mmse`, `Kappa::Auto`, `Scale::Auto` and `calibrate` aim at.
    pub target_steps: usize,
    /// Training samples whose activations are measured.
    pub calibration_samples: usize,
    /// Whether the next layer undoes each layer's rescaling.
    pub compensate: bool,
    /// Membrane potential of hidden neurons before the first step, in thresholds.
    pub initial_potential: f64,
    /// Bits, besides the sign, of what a step adds to a potential.
    pub sum_bits: u32,
    /// Bits of a weight, with the sign.
    pub weight_bits: u32,
}

/// `[simulate]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SimulateConfig {
    /// What runs the network.
    pub engine: EngineKind,
    /// How pixels become input.
    pub encoding: Encoding,
    /// What fires.
    pub neuron: NeuronConfig,
    /// What a spike does to the potential.
    pub reset: Reset,
    /// What the decision is read from.
    pub readout: Readout,
    /// Time steps T.
    pub steps: usize,
    /// Confidence at which a decision is taken before T, in (½, 1); `None` always runs to T.
    pub early_exit: Option<f64>,
    /// Whether the loss of accuracy is taken apart.
    pub decompose: bool,
    /// Steps shown in tables, ascending, T last.
    pub checkpoints: Vec<usize>,
    /// Simulation seeds, at least one.
    pub seeds: Vec<u64>,
    /// Test samples, the first ones; `None` is all.
    pub samples: Option<usize>,
    /// Samples per batch of the dense engine.
    pub batch_size: usize,
    /// Test samples that are probed.
    pub probe_samples: usize,
    /// Whether the trained network is run on the test samples, too.
    pub reference: bool,
    /// Test samples whose spikes are drawn.
    pub raster_samples: usize,
    /// What the hardware does to the network.
    pub faults: FaultsConfig,
}

/// The neurons that fire: `simulate.neuron`, `simulate.levels` and `simulate.rate_cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NeuronConfig {
    /// Their model.
    pub kind: NeuronKind,
    /// Quanta in a threshold, τ: a power of two, 1 but for counting neurons.
    pub levels: u32,
    /// What bounds the quanta of counting neurons.
    pub rate_cap: RateCap,
}

impl Default for NeuronConfig {
    /// Integrate-and-fire neurons.
    fn default() -> Self {
        Self { kind: NeuronKind::default(), levels: 1, rate_cap: RateCap::default() }
    }
}

impl NeuronConfig {
    /// Whether these are integrate-and-fire neurons, whose spikes are 0 or 1.
    pub fn is_binary(self) -> bool {
        self.kind == NeuronKind::IntegrateAndFire
    }

    /// Whether they wait for their whole input before they send anything.
    pub fn waits(self) -> bool {
        self.kind == NeuronKind::Waiting
    }

    /// For a column of a table: `counting τ=2`.
    pub fn label(self) -> String {
        match self.levels {
            1 => self.kind.to_string(),
            levels => format!("{} τ={levels}", self.kind),
        }
    }
}

impl SimulateConfig {
    /// Steps of spikes of 0 and 1 whose exact grid serves a run of these neurons.
    ///
    /// A run of neurons that count or take back adds up what as many steps as there are quanta would, at most; and of both signs at once,
    /// in any order, three times as much.
    pub fn steps_to_round_for(&self, n_steps: usize) -> usize {
        if self.neuron.is_binary() { n_steps } else { 4 * self.neuron.levels as usize * n_steps }
    }

    /// Seeds whose runs differ: the first one only where nothing is random.
    pub fn different_seeds(&self) -> &[u64] {
        let is_random = self.encoding.is_random() || self.faults.is_random();
        if is_random { &self.seeds } else { &self.seeds[..1] }
    }
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportConfig {
    /// Label of the conversion that others are compared with; `None` is the first by the L4-norm.
    pub baseline: Option<String>,
}

impl ConvertConfig {
    /// Whether κ or the factor on thresholds is searched for on training samples.
    pub fn is_searched(&self) -> bool {
        self.kappa == Kappa::Auto || self.scale == Scale::Auto
    }

    /// Name for tables and figures: the one given, or the method with its parameters.
    pub fn label(&self) -> String {
        if !self.given_label.is_empty() {
            return self.given_label.clone();
        }
        let mut label = (self.method.facts().label)(self);
        match self.scale {
            Scale::Value(scale) if (scale - 1.0).abs() > f64::EPSILON => label.push_str(&format!(" ×{scale}")),
            Scale::Value(_) => {}
            Scale::Auto => label.push_str(" ×auto"),
        }
        if !self.compensate {
            label.push_str(" uncompensated");
        }
        match self.calibrate {
            Calibrate::None => {}
            Calibrate::Bias => label.push_str(" + bias"),
            Calibrate::Potential => label.push_str(" + v(0)"),
        }
        if self.sum_bits != 24 {
            label.push_str(&format!(", {} bits", self.sum_bits));
        }
        if self.weight_bits != 25 {
            label.push_str(&format!(", {}-bit weights", self.weight_bits));
        }
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_divided_evenly_among_the_stages_and_later_ones_get_what_is_left_over() {
        let config = |epochs, levels: &[usize]| TrainConfig {
            epochs,
            activation: Activation::Qcfs,
            levels: levels.to_vec(),
            ..TrainConfig::default()
        };
        let stages = |of: &TrainConfig| (1..=of.epochs).filter_map(|epoch| of.levels_in(epoch)).collect::<Vec<_>>();
        assert_eq!(stages(&config(6, &[16, 8, 4])), [16, 16, 8, 8, 4, 4]);
        assert_eq!(stages(&config(5, &[8, 4])), [8, 8, 8, 4, 4]);
        assert_eq!(stages(&config(3, &[4])), [4, 4, 4]);
        let five = config(5, &[8, 4]);
        assert_eq!((five.is_final_stage(3), five.is_final_stage(4), five.final_levels()), (false, true, Some(4)));
        assert!(TrainConfig { epochs: 2, ..TrainConfig::default() }.is_final_stage(1));
    }
}
