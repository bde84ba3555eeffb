//! Plain result records: what the commands measure, as the report reads it.
//!
//! Data only: no computation, no files. Filled in by the commands, written to `results.json`, and turned
//! into pages, tables and figures by the other modules of this crate. Every vector over time has one entry
//! per time step, t = 1..=T, unless its documentation says otherwise.

mod law;
mod loss;

use serde::{Deserialize, Serialize};

pub use law::{Angle, Fit, LayerLaw, PotentialLaw};
pub use loss::{LossRecord, N_MODELS};

/// Number of classes above which the five that are decided for first are looked at beside the first one.
pub const TOP_FIVE_ABOVE: usize = 10;

/// One experiment: everything a report page is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentRecord {
    /// The experiment's name, from its configuration.
    pub name: String,
    /// One or two sentences on what the experiment shows, from its configuration; may be empty.
    pub description: String,
    /// Version of the program that made the record.
    pub quartic_version: String,
    /// The resolved configuration (all defaults filled in), as TOML text.
    pub config: String,
    /// The data set.
    pub dataset: DatasetRecord,
    /// The trained networks, one per training seed (or per other swept training key).
    pub networks: Vec<AnnRecord>,
    /// One entry per network and conversion, in the order of the configuration.
    pub runs: Vec<RunRecord>,
    /// The sweep that the runs are the combinations of.
    #[serde(default, skip_serializing_if = "SweepRecord::is_empty")]
    pub sweep: SweepRecord,
}

/// The data set that was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Name as in the configuration: `digits`, `mnist`, `fashion-mnist`, `cifar10`.
    pub name: String,
    /// Image shape `[C, H, W]`.
    pub shape: [usize; 3],
    /// Names of the classes, in label order.
    pub class_names: Vec<String>,
    /// Number of training samples (before the validation split).
    pub n_train: usize,
    /// Number of test samples that were evaluated.
    pub n_test: usize,
}

/// A trained non-spiking network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnnRecord {
    /// Label that tells this network from the others, for example `seed 1`.
    pub label: String,
    /// Training seed.
    pub seed: u64,
    /// Short description of the architecture, for example `784-512-512-10`.
    pub architecture: String,
    /// Number of trainable parameters.
    pub n_parameters: u64,
    /// Multiply-accumulate operations for one sample.
    pub macs_per_sample: u64,
    /// Accuracy on the evaluated test samples, in [0, 1]; `None` where it was not run on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// Share of the evaluated test samples whose class is among the five that are decided for first, in [0, 1]; `None` with
    /// [`TOP_FIVE_ABOVE`] classes or fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    /// Training history, one entry per epoch; empty when the weights were brought from elsewhere.
    pub epochs: Vec<EpochRecord>,
}

/// One training epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch number, from 1.
    pub epoch: usize,
    /// Learning rate at the end of the epoch.
    pub learning_rate: f64,
    /// Mean training loss (cross entropy, nats).
    pub train_loss: f64,
    /// Training accuracy in [0, 1], measured while training (dropout active).
    pub train_accuracy: f64,
    /// Mean validation loss, when there is a validation split.
    pub validation_loss: Option<f64>,
    /// Validation accuracy in [0, 1], when there is a validation split.
    pub validation_accuracy: Option<f64>,
}

/// One network, converted in one way, simulated with one or several seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Label of the conversion (and of other swept keys but the training ones), for example
    /// `norm p=4 κ=0.4`. Runs that differ in nothing but the network share it.
    pub label: String,
    /// Label of the network, as in [`AnnRecord::label`].
    pub network: String,
    /// How the network was converted.
    pub conversion: ConversionRecord,
    /// What the spiking network did.
    pub simulation: SimulationRecord,
}

/// How one network was converted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversionRecord {
    /// Method, as in the configuration: `none`, `model`, `max`, `percentile`, `channel-percentile`, `norm`, `std`, `mmse`, `trained`.
    pub method: String,
    /// Norm order p for `norm`.
    pub p: Option<f64>,
    /// Noise-to-threshold ratio κ for `norm` and `std`; the chosen value when it was `auto`.
    pub kappa: Option<f64>,
    /// The grid that `kappa = "auto"` tried: κ and the accuracy on the calibration split.
    pub kappa_search: Vec<KappaTrial>,
    /// Whether the next layer undoes the rescaling (false: the function-changing ablation).
    pub compensate: bool,
    /// Membrane potential of the hidden neurons at step 0, in thresholds.
    pub initial_potential: f64,
    /// What takes back the mean error of each channel's rates: `none`, `bias` or `potential`.
    pub calibrate: String,
    /// Number of calibration samples; 0 when the method uses no data.
    pub n_calibration: usize,
    /// One entry per layer of neurons, the readout last.
    pub layers: Vec<LayerConversion>,
    /// What `scale = "auto"` tried and chose; `None` where the factor was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_search: Option<ScaleSearch>,
}

/// What `scale = "auto"` tried and chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleSearch {
    /// The chosen factor on every hidden λ.
    pub scale: f64,
    /// The grid, with the accuracy on the selection split.
    pub trials: Vec<ScaleTrial>,
}

/// One value tried by `scale = "auto"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleTrial {
    /// The factor.
    pub scale: f64,
    /// Accuracy of the converted network on the selection split, in [0, 1].
    pub accuracy: f64,
}

/// One value tried by `kappa = "auto"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KappaTrial {
    /// The value of κ.
    pub kappa: f64,
    /// Accuracy of the converted network on the selection split, in [0, 1].
    pub accuracy: f64,
}

/// Minimum, median and maximum over the neurons of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest value.
    pub min: f64,
    /// Median.
    pub median: f64,
    /// Largest value.
    pub max: f64,
}

/// What conversion did to one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerConversion {
    /// Name, for example `dense 1`.
    pub name: String,
    /// Number of neurons.
    pub n_neurons: usize,
    /// Thresholds λ, in units of the ANN's activations.
    pub lambda: Range,
    /// `‖w̃‖₄` of the converted weights, in thresholds.
    pub l4_norm: Range,
    /// Coarsest step of the power-of-two grids that the neurons were rounded to, in thresholds.
    pub grid_step: f64,
    /// Largest change of a weight or bias by that rounding, in thresholds.
    pub rounding_change: f64,
    /// Mean magnitude of the rate errors that calibration took back, in spikes per step (readout `potential`: in charge per
    /// step, in thresholds); `None` where there was no such calibration.
    pub rate_error: Option<f64>,
    /// Share of (calibration sample, neuron) pairs whose activation exceeds λ, in [0, 1];
    /// `None` without calibration data and for the readout.
    pub expected_saturation: Option<f64>,
}

/// What the spiking network did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulationRecord {
    /// Engine: `event` or `dense`.
    pub engine: String,
    /// Input coding: `poisson`, `systematic`, `regular`, `constant`.
    pub encoding: String,
    /// Reset: `subtract` or `zero`.
    pub reset: String,
    /// Readout: `potential` or `spikes`.
    pub readout: String,
    /// Neurons whose spikes carry more than 0 or 1, and what they carry; `None` of integrate-and-fire neurons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graded: Option<GradedRecord>,
    /// Number of time steps T.
    pub steps: usize,
    /// Number of test samples.
    pub n_samples: usize,
    /// Time steps at which results are tabulated, ascending, the last equal to T.
    pub checkpoints: Vec<usize>,
    /// One entry per simulation seed.
    pub seeds: Vec<SeedRecord>,
    /// Activity per layer, the input first, the readout last; means over the samples of the first seed.
    pub layers: Vec<LayerActivity>,
    /// Input-current statistics per layer of spiking-input synapses (claim 3 of the paper).
    pub variance: Vec<LayerVariance>,
    /// ANN activation against SNN rate, per hidden layer.
    pub rate_match: Vec<RateMatch>,
    /// Spike rasters of a few samples.
    pub rasters: Vec<SampleRaster>,
    /// Energy estimate.
    pub energy: EnergyRecord,
    /// What the hardware did to the network; `None` without faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsRecord>,
}

/// What the spikes of the layers carry in a run of neurons that count or take back; of the first seed, all samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradedRecord {
    /// Model of the neurons: `ternary` or `counting`.
    pub neuron: String,
    /// Quanta in a threshold, τ.
    pub levels: u32,
    /// What bounds them: `step` or `run`.
    pub rate_cap: String,
    /// Bits that the largest spike takes, its sign included.
    pub bits_per_spike: u32,
    /// Share of the spikes that take quanta back.
    pub negative_share: f64,
    /// Share of the spikes that stand for several quanta, of either sign.
    pub multiple_share: f64,
}

/// Faults of the hardware: each simulation seed is a device of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultsRecord {
    /// Name, with which the labels of runs end: `weight noise 0.1`.
    pub label: String,
    /// With a simulation seed, which device it is.
    pub seed: u64,
    /// Standard deviation of the weights' Gaussian noise.
    pub weight_noise: f64,
    /// What that is relative to: `range` (of the weights) or `weight` (each one itself).
    pub weight_noise_of: String,
    /// Which weights share a range, the largest magnitude among them: those of a `layer` or of a `channel`.
    pub weight_range: String,
    /// Bits of a weight, its sign among them; `None` where weights are not rounded to few.
    pub weight_bits: Option<u32>,
    /// Standard deviation of the neurons' thresholds, relative to the nominal one.
    pub threshold_mismatch: f64,
    /// Probability that a spike is lost.
    pub dropped_spikes: f64,
}

/// Results of one simulation seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedRecord {
    /// Simulation seed.
    pub seed: u64,
    /// Accuracy after each step, `[T]`, in [0, 1].
    pub accuracy: Vec<f64>,
    /// Share of samples whose class is among the five with the highest readout after each step, `[T]`, in [0, 1]; empty with
    /// [`TOP_FIVE_ABOVE`] classes or fewer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top5: Vec<f64>,
    /// Share of samples whose decision equals the ANN's after each step, `[T]`, in [0, 1]; empty where the ANN was not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreement: Vec<f64>,
    /// Synaptic operations per sample up to and including each step, `[T]` (cumulative mean).
    pub synaptic_operations: Vec<f64>,
    /// Mean over samples of the first step from which the decision no longer changes.
    pub mean_latency: f64,
    /// What stopping each sample as soon as its decision is settled would have given; `None` where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_exit: Option<EarlyExitRecord>,
    /// Where accuracy is lost, one entry per checkpoint; empty where that was not asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loss: Vec<LossRecord>,
}

/// Samples stopped as soon as their decision is settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyExitRecord {
    /// Least probability, by the test, that a decision is that after T steps, in (½, 1).
    pub confidence: f64,
    /// Accuracy of the decisions, in [0, 1].
    pub accuracy: f64,
    /// Share of samples whose decision equals their own after T steps, in [0, 1].
    pub agreement: f64,
    /// Mean number of steps taken.
    pub mean_steps: f64,
    /// Steps after which half of the samples have stopped.
    pub median_steps: usize,
    /// Steps after which nine in ten samples have stopped.
    pub ninth_decile_steps: usize,
    /// Share of samples that were not settled before T, in [0, 1].
    pub unsettled_share: f64,
    /// Synaptic operations per sample up to its stop.
    pub synaptic_operations: f64,
    /// Share of samples that stop at each step, `[T]`.
    pub exits: Vec<f64>,
}

/// Activity of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerActivity {
    /// Name, for example `input`, `dense 1`.
    pub name: String,
    /// Number of neurons (pixels for the input).
    pub n_neurons: usize,
    /// Mean spikes per sample over all T steps.
    pub spikes_per_sample: f64,
    /// Mean spikes per neuron and step, in [0, 1].
    pub mean_rate: f64,
    /// Mean synaptic operations per sample caused by this layer's spikes.
    pub synaptic_operations: f64,
    /// Share of neurons that never fired for any sample, in [0, 1].
    pub silent_share: f64,
    /// Share of (sample, neuron) pairs that fired at every step, in [0, 1].
    pub saturated_share: f64,
    /// Pearson correlation of `a/λ` with the spike rate over probed samples and neurons; `None` where undefined.
    pub rate_correlation: Option<f64>,
    /// Mean membrane potential left at the end, in thresholds, over probed samples; `None` for input.
    pub residual_potential: Option<f64>,
    /// What it passes on of what its activations stand for, over probed samples; `None` for the input, a layer that never
    /// fires, and one without activations.
    pub charge: Option<Charge>,
}

/// What a layer passes on of what the ANN's activations stand for, means over neurons and samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    /// Mean of a/λ: what should be passed on, in spikes per step.
    pub expected: f64,
    /// Share of that above one spike per step, which no neuron can pass: `Σ max(0, a/λ − 1) / Σ a/λ`.
    pub clipped: f64,
    /// Mean spike rate.
    pub delivered: f64,
}

impl Charge {
    /// Spikes over those that neurons of their activations could send: 1 if nothing is lost on the way.
    pub fn delivered_share(&self) -> f64 {
        self.delivered / (self.expected * (1.0 - self.clipped))
    }
}

/// How the standard deviation of the input current relates to the norms of the weights, for one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerVariance {
    /// Name of the layer whose neurons receive the current.
    pub name: String,
    /// One point per channel, or per neuron of a fully connected layer: its L4-norm and the measured and predicted standard deviation. Of
    /// a layer with more than 2²² weights, some that were drawn.
    pub neurons: Vec<NeuronVariance>,
    /// How well each norm predicts the measured standard deviation.
    pub norms: Vec<NormFit>,
    /// Why it does or does not; `None` in results of versions that did not look.
    #[serde(default)]
    pub law: Option<LayerLaw>,
}

/// One neuron's weights and current noise, in units of the ANN's activations (before division by λ).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NeuronVariance {
    /// `‖w‖₄` over the neuron's incoming weights, the previous layer's λ multiplied in.
    pub l4_norm: f64,
    /// Measured standard deviation over time of the input current per step (root mean variance over samples).
    pub sigma: f64,
    /// The Bernoulli prediction `sqrt(mean over samples of Σ w² r(1−r))` from the measured rates r.
    pub sigma_bernoulli: f64,
}

/// How well one norm order predicts the standard deviation of the current over a layer's neurons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormFit {
    /// Norm order as text: `1`, `2`, `3`, `4`, `6`, `∞`.
    pub p: String,
    /// Coefficient of variation over neurons of `σ/‖w‖_p`; smaller is a better predictor.
    pub coefficient_of_variation: f64,
    /// Pearson correlation of σ with `‖w‖_p`; `None` where undefined (all norms alike).
    pub correlation: Option<f64>,
}

/// ANN activation against SNN rate, for one hidden layer: a subsample of (sample, neuron) pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateMatch {
    /// Name of the layer.
    pub name: String,
    /// Pairs `[a/λ, spikes per step]`.
    pub points: Vec<[f64; 2]>,
}

/// Spikes of one sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRaster {
    /// Index in the test set.
    pub index: usize,
    /// True class.
    pub label: usize,
    /// The ANN's decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ann_decision: Option<usize>,
    /// The SNN's decision after each step, `[T]`.
    pub decisions: Vec<usize>,
    /// Image shape `[C, H, W]`.
    pub shape: [usize; 3],
    /// Pixels `[C·H·W]`, 0 (black) to 255 (white).
    pub pixels: Vec<u8>,
    /// Spikes of each layer, the input first.
    pub layers: Vec<LayerRaster>,
    /// Readout after each step, `[T][n_classes]`: membrane potential or spike count.
    pub readout: Vec<Vec<f64>>,
}

/// Spikes of one layer for one sample, possibly of a subset of its neurons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRaster {
    /// Name of the layer.
    pub name: String,
    /// Number of neurons in the layer.
    pub n_neurons: usize,
    /// Number of neurons shown (evenly spaced ones).
    pub n_shown: usize,
    /// Spikes as `[step (from 1), row (0..n_shown)]`.
    pub events: Vec<[u32; 2]>,
}

/// Energy estimate per sample, with the constants it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnergyRecord {
    /// Energy of one 32-bit floating-point multiply-accumulate, pJ.
    pub mac_pj: f64,
    /// Energy of one 32-bit floating-point addition, pJ.
    pub add_pj: f64,
    /// Where the constants are from.
    pub source: String,
    /// Multiply-accumulates the SNN spends per sample (constant-current input only).
    pub snn_macs_per_sample: f64,
    /// ANN energy per sample, pJ.
    pub ann_pj: f64,
    /// SNN energy per sample after each step, pJ, `[T]`.
    pub snn_pj: Vec<f64>,
}

/// The combinations of a sweep, and what became of each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SweepRecord {
    /// Label of the conversion that others are compared with; `None` is the first by the L4-norm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The lists of the sweep, in its order.
    pub axes: Vec<AxisRecord>,
    /// Dotted paths of the keys that the sweep sets.
    pub columns: Vec<String>,
    /// Every combination.
    pub cells: Vec<CellRecord>,
}

impl SweepRecord {
    /// Whether nothing is known of a sweep, as for a single run.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One list of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisRecord {
    /// Dotted path of a key or a section.
    pub key: String,
    /// What its values give.
    pub role: AxisRole,
}

impl AxisRecord {
    /// What one of its values is called beside those of other lists: `readout spikes`; a whole section by the value alone.
    pub fn named(&self, level: &str) -> String {
        match self.key.rsplit('.').next().unwrap_or_default() {
            "convert" | "model" | "layers" => level.to_owned(),
            key => format!("{} {level}", key.replace('_', " ")),
        }
    }
}

/// What the values of one list of a sweep give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AxisRole {
    /// Repetitions: training seeds.
    Replication,
    /// Different trained networks.
    Network,
    /// Different conversions or simulations of the same network.
    Run,
}

/// One combination of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellRecord {
    /// Label of its network, as in [`AnnRecord::label`].
    pub network: String,
    /// Label of its conversion, as in [`RunRecord::label`].
    pub label: String,
    /// What is compared, whatever the training seed: the label, and the kind of network where there are several.
    pub method: String,
    /// The kind of network, `784-256-10` say; empty if networks differ in their seed alone.
    pub variant: String,
    /// The training seed, where it is swept; combinations with the same one repeat each other's training as far as they can.
    pub replicate: String,
    /// Its value on each of [`SweepRecord::axes`], for people.
    pub levels: Vec<String>,
    /// Its value of each of [`SweepRecord::columns`]; empty where the key has no effect on it.
    pub values: Vec<String>,
    /// What became of it.
    pub state: CellState,
}

/// What became of a combination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellState {
    /// It is among the runs.
    Finished,
    /// It is not, for a reason.
    Failed {
        /// What failed: `train`, `convert` or `simulate`.
        stage: String,
        /// The error, with its context.
        error: String,
    },
    /// Its turn has not come.
    Waiting,
}
