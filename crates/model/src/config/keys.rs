//! Every configuration key, one row each: what it must be, its default, its meaning, where it goes, and for whom it matters.
//!
//! The rows check a file, fill in the defaults and the typed sections ([`super::sections`]), are printed as the reference (`--keys`),
//! and say which keys of an experiment have no effect: those get a note, do not make a conversion another, and leave their
//! column of a sweep's table empty. A new key is a row here and the field that it is read into.

use toml::{Table, Value};

use super::schema::Kind::{
    self, Above, AboveOr, Bool, Choice, Float, Floats, FloatsOr, Integer, IntegerOr, Integers, Layers, Positives,
    Range, Reals, Shape, Slug, Text,
};
use super::schema::lookup;
use super::{
    Activation, Calibrate, DatasetName, Encoding, EngineKind, Experiment, Interpolation, Kappa, Method, NeuronKind,
    NoiseOf, Normalize, RateCap, Readout, Reset, Resize, Scale, Schedule, TrainedThresholds, WeightRange, number,
};

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path: `train.sgd.momentum`.
    pub path: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// Default as TOML; `None` if the key must be given; empty if it may be left out and has no value then.
    pub default: Option<&'static str>,
    /// Meaning and unit.
    pub doc: &'static str,
    /// For whom it matters.
    pub matters: Matters,
    /// Whether a conversion's label says what it is set to.
    pub is_in_label: bool,
    /// Why it cannot be swept.
    pub never_swept: Option<&'static str>,
    /// Puts a checked value into the experiment.
    pub(super) read: Read,
}

type Read = fn(&mut Experiment, &Given<'_>);

/// For whom a key matters.
#[derive(Debug, Clone, Copy)]
pub enum Matters {
    /// For every experiment.
    Always,
    /// For the methods that name it among their keys ([`crate::config::MethodFacts::keys`]).
    ToMethods,
    /// Where something else is set.
    Where(Condition),
}

/// What else must be set for a key to matter.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    /// Who looks at the key, for a note: `only the dense engine looks at it`.
    pub who: &'static str,
    /// Whether they are there.
    pub holds: fn(&Experiment) -> bool,
}

/// What a row that says no more has: it may be left out, matters to every experiment and may be swept.
const KEY: Key = Key {
    path: "",
    kind: Text,
    default: Some(""),
    doc: "",
    matters: Matters::Always,
    is_in_label: false,
    never_swept: None,
    read: |_, _| {},
};

impl Key {
    /// Whether an experiment depends on the key.
    pub fn matters_to(&self, experiment: &Experiment) -> bool {
        match self.matters {
            Matters::Always => true,
            Matters::ToMethods => experiment.convert.method.looks_at(self.path, experiment.simulate.readout),
            Matters::Where(condition) => (condition.holds)(experiment),
        }
    }

    /// Why an experiment that does not depend on the key does not.
    pub(super) fn why_not(&self, experiment: &Experiment) -> String {
        match self.matters {
            Matters::Where(condition) => condition.who.to_owned(),
            _ => format!("the method `{}` does not look at it", experiment.convert.method),
        }
    }
}

/// Most time steps of a run; a bound on memory, and far past where accuracy stops changing.
const MAX_STEPS: i64 = 4096;

/// Most quanta in a threshold.
const MAX_LEVELS: i64 = 64;

/// Highest confidence of an early exit: the decisions of a data set are too few to tell it from certainty.
const MOST_CONFIDENT: f64 = 0.999_999;

/// Largest standard deviation of thresholds; one in 740 is then held at a tenth of the nominal value.
const MOST_MISMATCH: f64 = 0.3;

/// Largest magnitude of a value of a sample; larger ones would not be told apart by 32-bit floats.
const MOST_VALUE: f64 = 1e9;

/// Most levels of a quantised activation: more are as good as none.
const MAX_ACTIVATION_LEVELS: i64 = 256;

/// Longest side of a picture, in pixels.
const MAX_SIDE: i64 = 4096;

const NAMES: &str = "names the experiment, so it cannot be swept; remove it";
const OTHER_SAMPLES: &str =
    "accuracies on other samples are not compared, so it cannot be swept; run one experiment for each value";
const OF_ALL: &str = "is of all combinations together, so it cannot be swept";

const CUSTOM: Condition =
    Condition { who: "only dataset = \"custom\" looks at it", holds: |of| of.data.dataset == DatasetName::Custom };
const KAPPA_SEARCH: Condition =
    Condition { who: "only kappa = \"auto\" looks at it", holds: |of| of.convert.kappa == Kappa::Auto };
const SCALE_SEARCH: Condition =
    Condition { who: "only scale = \"auto\" looks at it", holds: |of| of.convert.scale == Scale::Auto };
const SEARCH: Condition =
    Condition { who: "only kappa = \"auto\" and scale = \"auto\" look at it", holds: |of| of.convert.is_searched() };
const TARGET: Condition = Condition {
    who: "only `mmse`, calibrate, kappa = \"auto\" and scale = \"auto\" aim at it",
    // The exact grid is made for the longer of the two runs.
    holds: |Experiment { convert, simulate, .. }| {
        convert.is_searched()
            || convert.calibrate != Calibrate::None
            || convert.method.looks_at("convert.target_steps", simulate.readout)
            || convert.target_steps > simulate.steps
    },
};
const STEP: Condition = Condition {
    who: "only schedule = \"step\" looks at it",
    holds: |of| matches!(of.train.schedule, Schedule::Step { .. }),
};
const COSINE: Condition = Condition {
    who: "only schedule = \"cosine\" looks at it",
    holds: |of| matches!(of.train.schedule, Schedule::Cosine { .. }),
};
const BINARY: Condition = Condition {
    who: "only neurons `if` look at it; the others subtract what they put out",
    holds: |of| of.simulate.neuron.is_binary(),
};
const COUNTING: Condition = Condition {
    who: "only neurons `counting` look at it",
    holds: |of| of.simulate.neuron.kind == NeuronKind::Counting,
};
const QCFS: Condition =
    Condition { who: "only activation = \"qcfs\" looks at it", holds: |of| of.train.activation == Activation::Qcfs };
const DENSE: Condition =
    Condition { who: "only the dense engine looks at it", holds: |of| of.simulate.engine == EngineKind::Dense };

/// Reader of what [`super::layers`] reads beside the table.
const READ_WITH_LAYERS: Read = |_, _| {};

/// Reader of what goes into [`Normalize`], which the row of `data.normalize.mean` makes.
const READ_WITH_MEAN: Read = |_, _| {};

/// Reader of what goes into [`Schedule`], which the row of `train.sgd.schedule` makes.
const READ_WITH_SCHEDULE: Read = |_, _| {};

/// Every key, in the order of a configuration file.
pub const KEYS: &[Key] = &[
    Key {
        path: "name",
        kind: Slug,
        default: None,
        doc: "name of the experiment; its results go to `runs/NAME`",
        read: |to, from| to.name = from.text(),
        never_swept: Some(NAMES),
        ..KEY
    },
    Key {
        path: "description",
        kind: Text,
        default: Some("\"\""),
        doc: "what the experiment shows, for the report",
        read: |to, from| to.description = from.text(),
        never_swept: Some(NAMES),
        ..KEY
    },
    Key {
        path: "seed",
        kind: Integer(0, i64::MAX),
        default: Some("0"),
        doc: "training seed: initial weights, validation split, order of samples, augmentation, dropout",
        read: |to, from| to.seed = from.integer(),
        ..KEY
    },
    Key {
        path: "backend",
        kind: Choice(&["flex", "ndarray", "wgpu"]),
        default: Some("\"flex\""),
        doc: "burn backend of training, calibration and the dense engine",
        read: |to, from| to.backend = from.word(),
        ..KEY
    },
    Key {
        path: "data.dataset",
        kind: Choice(DatasetName::WORDS),
        default: None,
        doc: "data set; `digits` is built in, `custom` your own: what lies in `data.path` is found out (pictures in a folder for each class, .npz, IDX, CIFAR's binary files, safetensors)",
        read: |to, from| to.data.dataset = from.word(),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.path",
        kind: Text,
        default: Some(""),
        doc: "folder with the data set's files, an .npz file, or what the names of IDX files begin with; default `data/DATASET`",
        read: |to, from| to.data.path = Some(from.text().into()),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.validation_samples",
        kind: Integer(0, 1_000_000),
        default: Some("0"),
        doc: "training samples set aside for validation",
        read: |to, from| to.data.validation_samples = from.count(),
        ..KEY
    },
    Key {
        path: "data.scale",
        kind: Above(0.0, MOST_VALUE),
        doc: "what stored values are divided by; default: 1 for floats, and for whole numbers 255 or 65535 if the largest value of the training samples is more than half of that, else that largest value",
        read: |to, from| to.data.scale = Some(from.float()),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.range",
        kind: Range(-MOST_VALUE, MOST_VALUE),
        doc: "smallest and largest value, after `data.scale`, which are kept as 0 and 1; the network sees the values themselves. Default: [0, 1], or what the training samples span if they leave it",
        read: |to, from| to.data.range = from.pair(),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.resize",
        kind: IntegerOr(1, MAX_SIDE, "off"),
        doc: "pictures: length that the short side is resized to, or \"off\"; default: `data.crop` · 256/224, rounded, and \"off\" where pictures have the network's size already",
        read: |to, from| {
            let side = |side| Resize::ShortSide(side as usize);
            to.data.resize = Some(from.whole().map_or(Resize::Off, side));
        },
        matters: Matters::Where(CUSTOM),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.crop",
        kind: Integer(1, MAX_SIDE),
        doc: "pictures: height and width that are cut out of the middle; default: those of `model.input`",
        read: |to, from| to.data.crop = Some(from.count()),
        matters: Matters::Where(CUSTOM),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.interpolation",
        kind: Choice(Interpolation::WORDS),
        doc: "pictures: how they are resized, with the antialiasing of Pillow; default \"bilinear\"",
        read: |to, from| to.data.interpolation = from.word(),
        matters: Matters::Where(CUSTOM),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.first_label",
        kind: Integer(0, 65_535),
        doc: "label of the first class, such as 1 for the letters of EMNIST; default 0, and labels that look otherwise are refused",
        read: |to, from| to.data.first_label = Some(from.count()),
        matters: Matters::Where(CUSTOM),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.label_column",
        kind: Integer(0, 65_535),
        doc: "column of a table of labels, such as 0 for QMNIST; for CIFAR-100, 0 for its coarse classes and 1, the default, for its fine ones",
        read: |to, from| to.data.label_column = Some(from.count()),
        matters: Matters::Where(CUSTOM),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.normalize.mean",
        kind: Reals(-MOST_VALUE, MOST_VALUE),
        doc: "what is taken off each channel's values, after `data.scale`, before the network sees them; one for each channel, or one for all",
        read: |to, from| to.data.normalize = Some(normalize(from)),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "data.normalize.deviation",
        kind: Positives(0.0, MOST_VALUE),
        doc: "what each channel's values are divided by when their mean is taken off; one for each channel, or one for all",
        read: READ_WITH_MEAN,
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "model.input",
        kind: Shape,
        default: None,
        doc: "shape of one sample, `[C, H, W]`; `convert --weights FILE.onnx` takes it from there",
        read: READ_WITH_LAYERS,
        ..KEY
    },
    Key {
        path: "model.layers",
        kind: Layers,
        default: None,
        doc: "the layers, first to last, each a table with a `kind`; `convert --weights FILE.onnx` takes them from there",
        read: READ_WITH_LAYERS,
        ..KEY
    },
    Key {
        path: "train.augment.crop_padding",
        kind: Integer(0, 1024),
        default: Some("0"),
        doc: "augmentation: rows and columns of zeros around each training image, out of which a random window of its size is cut",
        read: |to, from| to.train.augment.crop_padding = from.count(),
        ..KEY
    },
    Key {
        path: "train.augment.poisson_steps",
        kind: Integer(0, MAX_STEPS),
        default: Some("0"),
        doc: "augmentation: replace each training image by the mean of this many steps of Poisson spikes, so that the network learns to bear their noise; 0 leaves it",
        read: |to, from| to.train.augment.poisson_steps = from.count(),
        ..KEY
    },
    Key {
        path: "train.augment.flip",
        kind: Bool,
        default: Some("false"),
        doc: "augmentation: mirror half of the training images left to right, at random",
        read: |to, from| to.train.augment.flip = from.bool(),
        ..KEY
    },
    Key {
        path: "train.epochs",
        kind: Integer(1, 100_000),
        default: Some("10"),
        doc: "passes over the training samples",
        read: |to, from| to.train.epochs = from.count(),
        ..KEY
    },
    Key {
        path: "train.batch_size",
        kind: Integer(1, 65_536),
        default: Some("64"),
        doc: "samples per step of gradient descent",
        read: |to, from| to.train.batch_size = from.count(),
        ..KEY
    },
    Key {
        path: "train.patience",
        kind: Integer(0, 100_000),
        default: Some("0"),
        doc: "early stopping: epochs without a better validation loss before training ends and the best epoch's weights are kept; 0 never stops early",
        read: |to, from| to.train.patience = from.positive_count(),
        ..KEY
    },
    Key {
        path: "train.activation",
        kind: Choice(Activation::WORDS),
        doc: "what rectifiers compute: `relu`, the default, or `qcfs`, λ/L · clamp(⌊Lx/λ + ½⌋, 0, L) with L levels and learned thresholds λ: for networks that are run for few steps",
        read: |to, from| to.train.activation = from.word(),
        ..KEY
    },
    Key {
        path: "train.levels",
        kind: Integers(1, MAX_ACTIVATION_LEVELS),
        doc: "activation `qcfs`: numbers of levels L, such as [16, 8, 4]; epochs are divided evenly among them, and the last one is what the network is trained for",
        read: |to, from| to.train.levels = from.integers().into_iter().map(|levels| levels as usize).collect(),
        matters: Matters::Where(QCFS),
        ..KEY
    },
    Key {
        path: "train.thresholds",
        kind: Choice(TrainedThresholds::WORDS),
        doc: "activation `qcfs`: what is learned of the thresholds: `channel`, the default, the λ of each channel; `norm`, one factor c per layer, λ_j = c·‖w_j∘λ‖₄, the norm being taken anew before each epoch",
        read: |to, from| to.train.thresholds = from.word(),
        matters: Matters::Where(QCFS),
        ..KEY
    },
    Key {
        path: "train.from",
        kind: Text,
        doc: "fine-tuning: the trained network to start from, its ann.safetensors or the run folder that holds it; `{seed}` stands for the training seed. Default: random weights",
        read: |to, from| to.train.from = Some(from.text()),
        ..KEY
    },
    Key {
        path: "train.sgd.learning_rate",
        kind: Above(0.0, 100.0),
        default: Some("0.1"),
        doc: "initial step size",
        read: |to, from| to.train.learning_rate = from.float(),
        ..KEY
    },
    Key {
        path: "train.sgd.momentum",
        kind: Float(0.0, 0.9999),
        default: Some("0.9"),
        doc: "share of the last step kept in the next; 0 is plain SGD",
        read: |to, from| to.train.momentum = from.float(),
        ..KEY
    },
    Key {
        path: "train.sgd.nesterov",
        kind: Bool,
        default: Some("false"),
        doc: "Nesterov's momentum",
        read: |to, from| to.train.nesterov = from.bool(),
        ..KEY
    },
    Key {
        path: "train.sgd.weight_decay",
        kind: Float(0.0, 1.0),
        default: Some("0.0"),
        doc: "L2 penalty: this times the parameter is added to its gradient",
        read: |to, from| to.train.weight_decay = from.float(),
        ..KEY
    },
    Key {
        path: "train.sgd.schedule",
        kind: Choice(&["constant", "step", "cosine"]),
        default: Some("\"cosine\""),
        doc: "how the learning rate falls: not, by a factor every few epochs, or along half a cosine",
        read: |to, from| to.train.schedule = schedule(from),
        ..KEY
    },
    Key {
        path: "train.sgd.step_epochs",
        kind: Integer(1, 100_000),
        default: Some("10"),
        doc: "schedule `step`: epochs between reductions",
        read: READ_WITH_SCHEDULE,
        matters: Matters::Where(STEP),
        ..KEY
    },
    Key {
        path: "train.sgd.step_factor",
        kind: Above(0.0, 1.0),
        default: Some("0.1"),
        doc: "schedule `step`: factor of each reduction",
        read: READ_WITH_SCHEDULE,
        matters: Matters::Where(STEP),
        ..KEY
    },
    Key {
        path: "train.sgd.final_learning_rate",
        kind: Float(0.0, 100.0),
        default: Some("0.0"),
        doc: "schedule `cosine`: step size at the end",
        read: READ_WITH_SCHEDULE,
        matters: Matters::Where(COSINE),
        ..KEY
    },
    Key {
        path: "train.sgd.threshold_learning_rate",
        kind: Above(0.0, 100.0),
        doc: "activation `qcfs`: initial step size of the logarithms of λ, which falls as that of the weights does; they have no weight decay. Default 0.01",
        read: |to, from| to.train.threshold_learning_rate = Some(from.float()),
        matters: Matters::Where(QCFS),
        ..KEY
    },
    Key {
        path: "convert.label",
        kind: Text,
        default: Some("\"\""),
        doc: "name of this conversion in tables and figures; default: its method and parameters",
        read: |to, from| to.convert.given_label = from.text(),
        is_in_label: true,
        ..KEY
    },
    Key {
        path: "convert.method",
        kind: Choice(Method::WORDS),
        default: Some("\"norm\""),
        doc: "how the thresholds λ are chosen",
        read: |to, from| to.convert.method = from.word(),
        is_in_label: true,
        ..KEY
    },
    Key {
        path: "convert.p",
        kind: AboveOr(0.0, 1000.0, "inf"),
        default: Some("4"),
        doc: "method `norm`: order p of the norm ‖w‖_p",
        read: |to, from| to.convert.p = from.number().unwrap_or(f64::INFINITY),
        is_in_label: true,
        matters: Matters::ToMethods,
        ..KEY
    },
    Key {
        path: "convert.kappa",
        kind: AboveOr(0.0, 1000.0, "auto"),
        default: Some("0.4"),
        doc: "methods `norm` and `std`: noise-to-threshold ratio κ, or \"auto\" for the best of `kappa_grid` at `target_steps`",
        read: |to, from| to.convert.kappa = from.number().map_or(Kappa::Auto, Kappa::Value),
        is_in_label: true,
        matters: Matters::ToMethods,
        ..KEY
    },
    Key {
        path: "convert.kappa_grid",
        kind: FloatsOr(0.0, 1000.0, "auto"),
        default: Some("\"auto\""),
        doc: "values that `kappa = \"auto\"` tries; \"auto\" for [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0], with `norm` times the network's mean ratio of ‖w‖_p to ‖w‖_4, so that every p tries like thresholds",
        read: |to, from| to.convert.kappa_grid = from.numbers(),
        matters: Matters::Where(KAPPA_SEARCH),
        ..KEY
    },
    Key {
        path: "convert.kappa_samples",
        kind: Integer(1, 1_000_000),
        default: Some("5000"),
        doc: "training samples that `kappa = \"auto\"` and `scale = \"auto\"` are judged on, apart from the calibration samples where there are enough",
        read: |to, from| to.convert.kappa_samples = from.count(),
        matters: Matters::Where(SEARCH),
        ..KEY
    },
    Key {
        path: "convert.percentile",
        kind: Above(0.0, 100.0),
        default: Some("99.9"),
        doc: "methods `percentile` and `channel-percentile`: share of activations at or below λ, in %",
        read: |to, from| to.convert.percentile = from.float(),
        is_in_label: true,
        matters: Matters::ToMethods,
        ..KEY
    },
    Key {
        path: "convert.percentile_zeros",
        kind: Bool,
        default: Some("false"),
        doc: "whether activations of zero count in percentiles",
        read: |to, from| to.convert.percentile_zeros = from.bool(),
        matters: Matters::ToMethods,
        ..KEY
    },
    Key {
        path: "convert.scale",
        kind: AboveOr(0.0, 1000.0, "auto"),
        default: Some("1.0"),
        doc: "factor on every hidden λ, after the method; below 1 spikes more and settles sooner; \"auto\" for the best of `scale_grid` at `target_steps`, for any method",
        read: |to, from| to.convert.scale = from.number().map_or(Scale::Auto, Scale::Value),
        is_in_label: true,
        ..KEY
    },
    Key {
        path: "convert.scale_grid",
        kind: Floats(0.0, 1000.0),
        default: Some("[0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0]"),
        doc: "values that `scale = \"auto\"` tries",
        read: |to, from| to.convert.scale_grid = from.numbers().expect("a checked list"),
        matters: Matters::Where(SCALE_SEARCH),
        ..KEY
    },
    Key {
        path: "convert.target_steps",
        kind: Integer(0, MAX_STEPS),
        default: Some("0"),
        doc: "time steps T that `mmse`, `calibrate`, `kappa = \"auto\"` and `scale = \"auto\"` aim at; 0 is `simulate.steps`",
        read: |to, from| {
            to.convert.target_steps = from.positive_count().unwrap_or_else(|| from.other("simulate.steps").count());
        },
        matters: Matters::Where(TARGET),
        ..KEY
    },
    Key {
        path: "convert.calibration_samples",
        kind: Integer(1, 1_000_000),
        default: Some("1000"),
        doc: "training samples whose activations are measured",
        read: |to, from| to.convert.calibration_samples = from.count(),
        ..KEY
    },
    Key {
        path: "convert.calibrate",
        kind: Choice(Calibrate::WORDS),
        default: Some("\"none\""),
        doc: "take back the mean error of each channel's spike rate on the calibration samples: by its bias, or by its initial potential, which leaves the function as it was trained",
        read: |to, from| to.convert.calibrate = from.word(),
        is_in_label: true,
        ..KEY
    },
    Key {
        path: "convert.compensate",
        kind: Bool,
        default: Some("true"),
        doc: "undo each layer's rescaling in the next, so that the network's function stays; false is an ablation",
        read: |to, from| to.convert.compensate = from.bool(),
        is_in_label: true,
        ..KEY
    },
    Key {
        path: "convert.initial_potential",
        kind: Float(0.0, 0.999),
        default: Some("0.5"),
        doc: "membrane potential of hidden neurons before the first step, in thresholds",
        read: |to, from| to.convert.initial_potential = from.float(),
        ..KEY
    },
    Key {
        path: "convert.sum_bits",
        kind: Integer(8, 24),
        default: Some("24"),
        doc: "bits, besides the sign, of what one step adds to a potential; weights are rounded so that it fits. With 15 or less the event-driven engine adds 16-bit integers, at about twice the speed",
        read: |to, from| to.convert.sum_bits = from.count() as u32,
        is_in_label: true,
        ..KEY
    },
    Key {
        path: "convert.weight_bits",
        kind: Integer(2, 25),
        default: Some("25"),
        doc: "bits of a weight, with the sign; each neuron's weights are rounded so that they fit. With 8 or less, and `sum_bits` of 15 or less, the event-driven engine reads bytes, and is faster still; 7 are fastest where nothing is pooled",
        read: |to, from| to.convert.weight_bits = from.count() as u32,
        is_in_label: true,
        ..KEY
    },
    Key {
        path: "simulate.engine",
        kind: Choice(EngineKind::WORDS),
        default: Some("\"event\""),
        doc: "event-driven on the CPU, or dense on the burn backend; same spikes, bit for bit",
        read: |to, from| to.simulate.engine = from.word(),
        ..KEY
    },
    Key {
        path: "simulate.encoding",
        kind: Choice(Encoding::WORDS),
        default: Some("\"poisson\""),
        doc: "how pixels become input: random spikes, evenly spread with a random or a fixed phase, or a constant current",
        read: |to, from| to.simulate.encoding = from.word(),
        ..KEY
    },
    Key {
        path: "simulate.neuron",
        kind: Choice(NeuronKind::WORDS),
        default: Some("\"if\""),
        doc: "neurons that fire: integrate-and-fire, whose spikes are 0 or 1; ternary, which take a spike back that later input shows to have been wrong; counting, which put out any number of quanta at a step, also negative, so that after t steps the network is the trained one with activations rounded to τt levels; waiting, which send as many spikes as counting ones, 0 or 1, once their whole input has arrived: each layer T steps after the one before it",
        read: |to, from| to.simulate.neuron.kind = from.word(),
        ..KEY
    },
    Key {
        path: "simulate.levels",
        kind: Integer(1, MAX_LEVELS),
        default: Some("1"),
        doc: "quanta in a threshold, τ, of counting neurons; a power of two. With more than 1, events carry several bits",
        read: |to, from| to.simulate.neuron.levels = from.count() as u32,
        matters: Matters::Where(COUNTING),
        ..KEY
    },
    Key {
        path: "simulate.rate_cap",
        kind: Choice(RateCap::WORDS),
        default: Some("\"step\""),
        doc: "what bounds the quanta of a counting neuron after t of T steps: τt, so that a run may end at any step, or τT",
        read: |to, from| to.simulate.neuron.rate_cap = from.word(),
        matters: Matters::Where(COUNTING),
        ..KEY
    },
    Key {
        path: "simulate.reset",
        kind: Choice(Reset::WORDS),
        default: Some("\"subtract\""),
        doc: "after a spike the threshold is subtracted, or the potential set to zero",
        read: |to, from| to.simulate.reset = from.word(),
        matters: Matters::Where(BINARY),
        ..KEY
    },
    Key {
        path: "simulate.readout",
        kind: Choice(Readout::WORDS),
        default: Some("\"potential\""),
        doc: "the decision is the output neuron with the highest potential, or with the most spikes",
        read: |to, from| to.simulate.readout = from.word(),
        ..KEY
    },
    Key {
        path: "simulate.steps",
        kind: Integer(1, MAX_STEPS),
        default: Some("32"),
        doc: "time steps T",
        read: |to, from| to.simulate.steps = from.count(),
        ..KEY
    },
    Key {
        path: "simulate.early_exit",
        kind: AboveOr(0.5, MOST_CONFIDENT, "off"),
        default: Some("\"off\""),
        doc: "beside the runs of T steps, stop each sample once its decision is that at T with this probability, by a sequential test; reports accuracy, steps and synaptic operations at the stop",
        read: |to, from| to.simulate.early_exit = from.number(),
        ..KEY
    },
    Key {
        path: "simulate.decompose",
        kind: Bool,
        default: Some("false"),
        doc: "take the loss of accuracy at each checkpoint apart: noise of the input, rounding to whole spikes, saturation, and the order of spikes in time; by models of rates with each of these effects or without",
        read: |to, from| to.simulate.decompose = from.bool(),
        ..KEY
    },
    Key {
        path: "simulate.checkpoints",
        kind: Integers(1, MAX_STEPS),
        default: Some("[]"),
        doc: "steps shown in tables; default: powers of two and T",
        read: |to, from| to.simulate.checkpoints = checkpoints(from),
        ..KEY
    },
    Key {
        path: "simulate.seeds",
        kind: Integers(0, i64::MAX),
        default: Some("[0]"),
        doc: "simulation seeds, one run each",
        read: |to, from| to.simulate.seeds = from.integers(),
        ..KEY
    },
    Key {
        path: "simulate.samples",
        kind: Integer(0, 1_000_000),
        default: Some("0"),
        doc: "test samples, the first ones; 0 is all",
        read: |to, from| to.simulate.samples = from.positive_count(),
        never_swept: Some(OTHER_SAMPLES),
        ..KEY
    },
    Key {
        path: "simulate.batch_size",
        kind: Integer(1, 65_536),
        default: Some("64"),
        doc: "samples per batch of the dense engine",
        read: |to, from| to.simulate.batch_size = from.count(),
        matters: Matters::Where(DENSE),
        ..KEY
    },
    Key {
        path: "simulate.probe_samples",
        kind: Integer(1, 100_000),
        default: Some("200"),
        doc: "test samples whose currents, rates and potentials are recorded",
        read: |to, from| to.simulate.probe_samples = from.count(),
        ..KEY
    },
    Key {
        path: "simulate.reference",
        kind: Bool,
        default: Some("true"),
        doc: "run the trained network on the test samples, too: without it, its accuracy, the agreement with it and the comparison of rates with activations are left out",
        read: |to, from| to.simulate.reference = from.bool(),
        ..KEY
    },
    Key {
        path: "simulate.raster_samples",
        kind: Integer(0, 20),
        default: Some("3"),
        doc: "test samples whose spikes are drawn in the report",
        read: |to, from| to.simulate.raster_samples = from.count(),
        ..KEY
    },
    Key {
        path: "simulate.faults.seed",
        kind: Integer(0, i64::MAX),
        default: Some("0"),
        doc: "another one makes other devices; a device is drawn for each simulation seed, the same whatever the conversion and the severity",
        read: |to, from| to.simulate.faults.seed = from.integer(),
        ..KEY
    },
    Key {
        path: "simulate.faults.weight_noise",
        kind: Float(0.0, 1.0),
        default: Some("0.0"),
        doc: "fault: standard deviation of the Gaussian noise on each weight, drawn once per device, after `weight_bits`; a convolution's kernel is stored once, and so is its noise; biases have none",
        read: |to, from| to.simulate.faults.weight_noise = from.float(),
        ..KEY
    },
    Key {
        path: "simulate.faults.weight_noise_of",
        kind: Choice(NoiseOf::WORDS),
        default: Some("\"range\""),
        doc: "what `weight_noise` is relative to: the range of the weights (crossbars of memristors; Joshi et al. 2020), or each weight itself (mismatch of mixed-signal synapses; Büchel et al. 2021)",
        read: |to, from| to.simulate.faults.weight_noise_of = from.word(),
        ..KEY
    },
    Key {
        path: "simulate.faults.weight_range",
        kind: Choice(WeightRange::WORDS),
        default: Some("\"layer\""),
        doc: "which weights share a range, the largest magnitude among them: those of a layer, for hardware with one threshold and one scale for all its neurons, or those of each channel (in a fully connected layer, each neuron) that has its own; each connection of a residual sum apart",
        read: |to, from| to.simulate.faults.weight_range = from.word(),
        ..KEY
    },
    Key {
        path: "simulate.faults.weight_bits",
        kind: IntegerOr(2, 16, "off"),
        default: Some("\"off\""),
        doc: "fault: weights of this many bits, sign included: rounded to 2^(bits − 1) − 1 equal steps either side of zero, the outermost at the end of their range; biases stay",
        read: |to, from| to.simulate.faults.weight_bits = from.whole().map(|bits| bits as u32),
        ..KEY
    },
    Key {
        path: "simulate.faults.threshold_mismatch",
        kind: Float(0.0, MOST_MISMATCH),
        default: Some("0.0"),
        doc: "fault: standard deviation of the firing thresholds relative to their nominal value, Gaussian, drawn once per device for every neuron, in a convolution for every position of every channel; never below a tenth of the nominal value. A spike subtracts the neuron's own threshold; initial potentials stay",
        read: |to, from| to.simulate.faults.threshold_mismatch = from.float(),
        ..KEY
    },
    Key {
        path: "simulate.faults.dropped_spikes",
        kind: Float(0.0, 1.0),
        default: Some("0.0"),
        doc: "fault: probability that a spike is lost behind the neuron, or pixel, that sent it, for all that it would have reached; independent from spike to spike",
        read: |to, from| to.simulate.faults.dropped_spikes = from.float(),
        ..KEY
    },
    Key {
        path: "report.baseline",
        kind: Text,
        default: Some(""),
        doc: "label of the conversion that the others are compared with; default: the first by the L4-norm",
        read: |to, from| to.report.baseline = Some(from.text()),
        never_swept: Some(OF_ALL),
        ..KEY
    },
];

fn normalize(mean: &Given<'_>) -> Normalize {
    let deviation = Given::of(mean.table, "data.normalize.deviation");
    // Without a deviation it is refused as a contradiction.
    let deviation = deviation.and_then(|deviation| deviation.numbers()).unwrap_or_default();
    Normalize { mean: mean.numbers().expect("a checked list"), deviation }
}

fn schedule(from: &Given<'_>) -> Schedule {
    match from.text().as_str() {
        "constant" => Schedule::Constant,
        "step" => Schedule::Step {
            epochs: from.other("train.sgd.step_epochs").count(),
            factor: from.other("train.sgd.step_factor").float(),
        },
        _ => Schedule::Cosine { final_learning_rate: from.other("train.sgd.final_learning_rate").float() },
    }
}

fn checkpoints(from: &Given<'_>) -> Vec<usize> {
    let steps = from.other("simulate.steps").count();
    let mut checkpoints: Vec<usize> = from.integers().into_iter().map(|step| step as usize).collect();
    if checkpoints.is_empty() {
        checkpoints = (0..=steps.ilog2()).map(|power| 1 << power).filter(|&step| step < steps).collect();
    }
    if checkpoints.iter().all(|&step| step < steps) {
        checkpoints.push(steps);
    }
    checkpoints.sort_unstable();
    checkpoints
}

/// A checked value and the table that it is from.
pub(super) struct Given<'a> {
    table: &'a Table,
    path: &'static str,
    value: &'a Value,
}

impl<'a> Given<'a> {
    /// `None` for a key that was left out and has no default.
    ///
    /// - `table`: one that [`super::schema::check`] has passed and filled in
    pub(super) fn of(table: &'a Table, path: &'static str) -> Option<Self> {
        Some(Self { table, path, value: lookup(table, path)? })
    }

    /// The value of another key, one with a default.
    fn other(&self, path: &'static str) -> Self {
        Self::of(self.table, path).unwrap_or_else(|| panic!("`{path}` was checked and filled in"))
    }

    fn text(&self) -> String {
        self.value.as_str().expect("a checked text").to_owned()
    }

    fn bool(&self) -> bool {
        self.value.as_bool().expect("a checked bool")
    }

    fn integer(&self) -> u64 {
        self.whole().expect("a checked integer")
    }

    fn count(&self) -> usize {
        self.integer() as usize
    }

    fn float(&self) -> f64 {
        self.number().expect("a checked number")
    }

    /// `None` for the word that may stand in a whole number's place.
    fn whole(&self) -> Option<u64> {
        self.value.as_integer().map(|whole| whole as u64)
    }

    /// `None` for the word that may stand in a number's place.
    fn number(&self) -> Option<f64> {
        number(self.value)
    }

    /// `None` for the word that may stand in a list's place.
    fn numbers(&self) -> Option<Vec<f64>> {
        Some(self.value.as_array()?.iter().filter_map(number).collect())
    }

    /// The two numbers of a list of two.
    fn pair(&self) -> Option<[f64; 2]> {
        self.numbers()?.try_into().ok()
    }

    fn integers(&self) -> Vec<u64> {
        let list = self.value.as_array().expect("a checked list");
        list.iter().map(|item| item.as_integer().expect("a checked integer") as u64).collect()
    }

    /// Zero stands for "none" in counts.
    fn positive_count(&self) -> Option<usize> {
        Some(self.count()).filter(|&count| count > 0)
    }

    fn word<T: std::str::FromStr>(&self) -> T {
        let word = self.text();
        word.parse().unwrap_or_else(|_| panic!("`{}`: the table of keys lists `{word}`, its type does not", self.path))
    }
}
