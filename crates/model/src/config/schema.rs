//! Every configuration key: meaning, type, range and default, in one table.
//!
//! The table checks a file, fills in the defaults, suggests the nearest key for an unknown one and
//! is printed as the reference (`--keys`). `[[model.layers]]` and `[sweep]` have shapes of their own and are
//! checked beside it.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::Problem;
use crate::Backend;

/// What a key's value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// A name for files and folders: letters, digits, `-`, `_`, `.`, not starting with a dot.
    Slug,
    /// `true` or `false`.
    Bool,
    /// A whole number between two bounds, both included.
    Integer(i64, i64),
    /// A number between two bounds, both included.
    Float(f64, f64),
    /// A number above the first bound, up to the second.
    Above(f64, f64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number above the first bound up to the second, or this word.
    AboveOr(f64, f64, &'static str),
    /// A whole number between two bounds, both included, or this word.
    IntegerOr(i64, i64, &'static str),
    /// A list of whole numbers within bounds, without repetition.
    Integers(i64, i64),
    /// A list of numbers above the first bound up to the second, without repetition.
    Floats(f64, f64),
    /// The same, or this word.
    FloatsOr(f64, f64, &'static str),
    /// Image shape `[C, H, W]`.
    Shape,
    /// The list of layers; checked beside the table.
    Layers,
}

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
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default: Some(default), doc }
}

const fn required(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, default: None, doc }
}

/// Most time steps of a run; a bound on memory, and far past where accuracy stops changing.
const MAX_STEPS: i64 = 4096;

/// Highest confidence of an early exit: the decisions of a data set are too few to tell it from certainty.
const MOST_CONFIDENT: f64 = 0.999_999;

/// Largest standard deviation of thresholds; one in 740 is then held at a tenth of the nominal value.
const MOST_MISMATCH: f64 = 0.3;

/// Every key, in the order of a configuration file.
pub const KEYS: &[Key] = &[
    required("name", Kind::Slug, "name of the experiment; its results go to `runs/NAME`"),
    key("description", Kind::Text, "\"\"", "what the experiment shows, for the report"),
    key(
        "seed",
        Kind::Integer(0, i64::MAX),
        "0",
        "training seed: initial weights, validation split, order of samples, augmentation, dropout",
    ),
    key(
        "backend",
        Kind::Choice(&["flex", "ndarray", "wgpu"]),
        "\"flex\"",
        "burn backend of training, calibration and the dense engine",
    ),
    required(
        "data.dataset",
        Kind::Choice(&["digits", "mnist", "fashion-mnist", "cifar10", "custom"]),
        "data set; `digits` is built in, `custom` your own (`train.safetensors` and `test.safetensors` in `data.path`)",
    ),
    key("data.path", Kind::Text, "", "folder with the data set's files; default `data/DATASET`"),
    key("data.validation_samples", Kind::Integer(0, 1_000_000), "0", "training samples set aside for validation"),
    required(
        "model.input",
        Kind::Shape,
        "shape of one sample, `[C, H, W]`; `convert --weights FILE.onnx` takes it from there",
    ),
    required(
        "model.layers",
        Kind::Layers,
        "the layers, first to last, each a table with a `kind`; `convert --weights FILE.onnx` takes them from there",
    ),
    key(
        "train.augment.crop_padding",
        Kind::Integer(0, 1024),
        "0",
        "augmentation: rows and columns of zeros around each training image, out of which a random window of its size is cut",
    ),
    key(
        "train.augment.poisson_steps",
        Kind::Integer(0, MAX_STEPS),
        "0",
        "augmentation: replace each training image by the mean of this many steps of Poisson spikes, so that the network learns to bear their noise; 0 leaves it",
    ),
    key(
        "train.augment.flip",
        Kind::Bool,
        "false",
        "augmentation: mirror half of the training images left to right, at random",
    ),
    key("train.epochs", Kind::Integer(1, 100_000), "10", "passes over the training samples"),
    key("train.batch_size", Kind::Integer(1, 65_536), "64", "samples per step of gradient descent"),
    key(
        "train.patience",
        Kind::Integer(0, 100_000),
        "0",
        "early stopping: epochs without a better validation loss before training ends and the best epoch's weights are kept; 0 never stops early",
    ),
    key("train.sgd.learning_rate", Kind::Above(0.0, 100.0), "0.1", "initial step size"),
    key(
        "train.sgd.momentum",
        Kind::Float(0.0, 0.9999),
        "0.9",
        "share of the last step kept in the next; 0 is plain SGD",
    ),
    key("train.sgd.nesterov", Kind::Bool, "false", "Nesterov's momentum"),
    key(
        "train.sgd.weight_decay",
        Kind::Float(0.0, 1.0),
        "0.0",
        "L2 penalty: this times the parameter is added to its gradient",
    ),
    key(
        "train.sgd.schedule",
        Kind::Choice(&["constant", "step", "cosine"]),
        "\"cosine\"",
        "how the learning rate falls: not, by a factor every few epochs, or along half a cosine",
    ),
    key("train.sgd.step_epochs", Kind::Integer(1, 100_000), "10", "schedule `step`: epochs between reductions"),
    key("train.sgd.step_factor", Kind::Above(0.0, 1.0), "0.1", "schedule `step`: factor of each reduction"),
    key("train.sgd.final_learning_rate", Kind::Float(0.0, 100.0), "0.0", "schedule `cosine`: step size at the end"),
    key(
        "convert.label",
        Kind::Text,
        "\"\"",
        "name of this conversion in tables and figures; default: its method and parameters",
    ),
    key(
        "convert.method",
        Kind::Choice(&["none", "model", "max", "percentile", "channel-percentile", "norm", "std", "mmse"]),
        "\"norm\"",
        "how the thresholds λ are chosen",
    ),
    key("convert.p", Kind::AboveOr(0.0, 1000.0, "inf"), "4", "method `norm`: order p of the norm ‖w‖_p"),
    key(
        "convert.kappa",
        Kind::AboveOr(0.0, 1000.0, "auto"),
        "0.4",
        "methods `norm` and `std`: noise-to-threshold ratio κ, or \"auto\" for the best of `kappa_grid` at `target_steps`",
    ),
    key(
        "convert.kappa_grid",
        Kind::FloatsOr(0.0, 1000.0, "auto"),
        "\"auto\"",
        "values that `kappa = \"auto\"` tries; \"auto\" for [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0], with `norm` times the network's mean ratio of ‖w‖_p to ‖w‖_4, so that every p tries like thresholds",
    ),
    key(
        "convert.kappa_samples",
        Kind::Integer(1, 1_000_000),
        "5000",
        "training samples that `kappa = \"auto\"` and `scale = \"auto\"` are judged on, apart from the calibration samples where there are enough",
    ),
    key(
        "convert.percentile",
        Kind::Above(0.0, 100.0),
        "99.9",
        "methods `percentile` and `channel-percentile`: share of activations at or below λ, in %",
    ),
    key("convert.percentile_zeros", Kind::Bool, "false", "whether activations of zero count in percentiles"),
    key(
        "convert.scale",
        Kind::AboveOr(0.0, 1000.0, "auto"),
        "1.0",
        "factor on every hidden λ, after the method; below 1 spikes more and settles sooner; \"auto\" for the best of `scale_grid` at `target_steps`, for any method",
    ),
    key(
        "convert.scale_grid",
        Kind::Floats(0.0, 1000.0),
        "[0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0]",
        "values that `scale = \"auto\"` tries",
    ),
    key(
        "convert.target_steps",
        Kind::Integer(0, MAX_STEPS),
        "0",
        "time steps T that `mmse`, `calibrate`, `kappa = \"auto\"` and `scale = \"auto\"` aim at; 0 is `simulate.steps`",
    ),
    key(
        "convert.calibration_samples",
        Kind::Integer(1, 1_000_000),
        "1000",
        "training samples whose activations are measured",
    ),
    key(
        "convert.calibrate",
        Kind::Choice(&["none", "bias", "potential"]),
        "\"none\"",
        "take back the mean error of each channel's spike rate on the calibration samples: by its bias, or by its initial potential, which leaves the function as it was trained",
    ),
    key(
        "convert.compensate",
        Kind::Bool,
        "true",
        "undo each layer's rescaling in the next, so that the network's function stays; false is an ablation",
    ),
    key(
        "convert.initial_potential",
        Kind::Float(0.0, 0.999),
        "0.5",
        "membrane potential of hidden neurons before the first step, in thresholds",
    ),
    key(
        "convert.sum_bits",
        Kind::Integer(8, 24),
        "24",
        "bits, besides the sign, of what one step adds to a potential; weights are rounded so that it fits. With 15 or less the event-driven engine adds 16-bit integers, at about twice the speed",
    ),
    key(
        "convert.weight_bits",
        Kind::Integer(2, 25),
        "25",
        "bits of a weight, with the sign; each neuron's weights are rounded so that they fit. With 8 or less, and `sum_bits` of 15 or less, the event-driven engine reads bytes, and is faster still; 7 are fastest where nothing is pooled",
    ),
    key(
        "simulate.engine",
        Kind::Choice(&["event", "dense"]),
        "\"event\"",
        "event-driven on the CPU, or dense on the burn backend; same spikes, bit for bit",
    ),
    key(
        "simulate.encoding",
        Kind::Choice(&["poisson", "systematic", "regular", "constant"]),
        "\"poisson\"",
        "how pixels become input: random spikes, evenly spread with a random or a fixed phase, or a constant current",
    ),
    key(
        "simulate.reset",
        Kind::Choice(&["subtract", "zero"]),
        "\"subtract\"",
        "after a spike the threshold is subtracted, or the potential set to zero",
    ),
    key(
        "simulate.readout",
        Kind::Choice(&["potential", "spikes"]),
        "\"potential\"",
        "the decision is the output neuron with the highest potential, or with the most spikes",
    ),
    key("simulate.steps", Kind::Integer(1, MAX_STEPS), "32", "time steps T"),
    key(
        "simulate.early_exit",
        Kind::AboveOr(0.5, MOST_CONFIDENT, "off"),
        "\"off\"",
        "beside the runs of T steps, stop each sample once its decision is that at T with this probability, by a sequential test; reports accuracy, steps and synaptic operations at the stop",
    ),
    key(
        "simulate.decompose",
        Kind::Bool,
        "false",
        "take the loss of accuracy at each checkpoint apart: noise of the input, rounding to whole spikes, saturation, and the order of spikes in time; by models of rates with each of these effects or without",
    ),
    key(
        "simulate.checkpoints",
        Kind::Integers(1, MAX_STEPS),
        "[]",
        "steps shown in tables; default: powers of two and T",
    ),
    key("simulate.seeds", Kind::Integers(0, i64::MAX), "[0]", "simulation seeds, one run each"),
    key("simulate.samples", Kind::Integer(0, 1_000_000), "0", "test samples, the first ones; 0 is all"),
    key("simulate.batch_size", Kind::Integer(1, 65_536), "64", "samples per batch of the dense engine"),
    key(
        "simulate.probe_samples",
        Kind::Integer(1, 100_000),
        "200",
        "test samples whose currents, rates and potentials are recorded",
    ),
    key("simulate.raster_samples", Kind::Integer(0, 20), "3", "test samples whose spikes are drawn in the report"),
    key(
        "simulate.faults.seed",
        Kind::Integer(0, i64::MAX),
        "0",
        "another one makes other devices; a device is drawn for each simulation seed, the same whatever the conversion and the severity",
    ),
    key(
        "simulate.faults.weight_noise",
        Kind::Float(0.0, 1.0),
        "0.0",
        "fault: standard deviation of the Gaussian noise on each weight, drawn once per device, after `weight_bits`; a convolution's kernel is stored once, and so is its noise; biases have none",
    ),
    key(
        "simulate.faults.weight_noise_of",
        Kind::Choice(&["range", "weight"]),
        "\"range\"",
        "what `weight_noise` is relative to: the range of the weights (crossbars of memristors; Joshi et al. 2020), or each weight itself (mismatch of mixed-signal synapses; Büchel et al. 2021)",
    ),
    key(
        "simulate.faults.weight_range",
        Kind::Choice(&["layer", "channel"]),
        "\"layer\"",
        "which weights share a range, the largest magnitude among them: those of a layer, for hardware with one threshold and one scale for all its neurons, or those of each channel (in a fully connected layer, each neuron) that has its own; each connection of a residual sum apart",
    ),
    key(
        "simulate.faults.weight_bits",
        Kind::IntegerOr(2, 16, "off"),
        "\"off\"",
        "fault: weights of this many bits, sign included: rounded to 2^(bits − 1) − 1 equal steps either side of zero, the outermost at the end of their range; biases stay",
    ),
    key(
        "simulate.faults.threshold_mismatch",
        Kind::Float(0.0, MOST_MISMATCH),
        "0.0",
        "fault: standard deviation of the firing thresholds relative to their nominal value, Gaussian, drawn once per device for every neuron, in a convolution for every position of every channel; never below a tenth of the nominal value. A spike subtracts the neuron's own threshold; initial potentials stay",
    ),
    key(
        "simulate.faults.dropped_spikes",
        Kind::Float(0.0, 1.0),
        "0.0",
        "fault: probability that a spike is lost behind the neuron, or pixel, that sent it, for all that it would have reached; independent from spike to spike",
    ),
    key(
        "report.baseline",
        Kind::Text,
        "",
        "label of the conversion that the others are compared with; default: the first by the L4-norm",
    ),
];

/// Checks every key of a file and fills in the defaults; returns the resolved file, without `[sweep]`.
///
/// Problems are added to `problems`; the result can be relied on only if none was.
pub(super) fn check(raw: &Table, problems: &mut Vec<Problem>) -> Table {
    refuse_unknown(raw, "", problems);
    let mut resolved = Table::new();
    for key in KEYS {
        let given = lookup(raw, key.path);
        let value = match (given, key.default) {
            (Some(value), _) => match key.kind.check(value) {
                Ok(()) => value.clone(),
                Err(wanted) => {
                    problems.push(Problem::new(key.path, format!("found {}; use {wanted}", brief(value))));
                    continue;
                }
            },
            (None, None) => {
                problems.push(Problem::new(key.path, format!("missing; give {} ({})", key.kind.wanted(), key.doc)));
                continue;
            }
            (None, Some("")) => continue,
            (None, Some(default)) => parse_value(default).expect("defaults are valid TOML"),
        };
        insert(&mut resolved, key.path, value);
    }
    resolved
}

/// Whether a key of a resolved file has its default.
pub(super) fn is_default(resolved: &Table, path: &str) -> bool {
    let default = KEYS.iter().find(|key| key.path == path).and_then(|key| key.default);
    let default = default.map(|text| parse_value(text).expect("defaults are valid TOML"));
    lookup(resolved, path) == default.as_ref()
}

/// The value at a dotted path.
pub(super) fn lookup<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, rest)) => table.get(section)?.as_table().and_then(|table| lookup(table, rest)),
    }
}

/// Puts a value at a dotted path, making tables on the way (and replacing what is no table).
pub(super) fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => _ = table.insert(path.to_owned(), value),
        Some((section, rest)) => {
            let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            insert(entry.as_table_mut().expect("made a table just now"), rest, value);
        }
    }
}

/// One TOML value from text: `0.3`, `"abc"`, `[1, 2]`.
pub(super) fn parse_value(text: &str) -> Result<Value, toml::de::Error> {
    let table: Table = format!("value = {text}").parse()?;
    Ok(table["value"].clone())
}

/// A value for an error message: in TOML, shortened.
pub(super) fn brief(value: &Value) -> String {
    brief_text(&value.to_string())
}

/// A text, shortened.
pub(super) fn brief_text(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("…".chars()).collect()
    }
}

/// Whether a dotted path is a section: something that keys lie in.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Whether a dotted path is a key.
pub(super) fn is_key(path: &str) -> bool {
    KEYS.iter().any(|key| key.path == path)
}

/// Whether a text is fit to name files and folders.
pub(super) fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.len() <= 100
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// The problem of a path that is neither key nor section, with the nearest key that exists.
pub(super) fn unknown(path: &str) -> Problem {
    // A key may stand in the wrong section: compare both the whole path and its last part.
    let distance = |known: &str| {
        let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        strsim::damerau_levenshtein(path, known).min(strsim::damerau_levenshtein(&last(path), &last(known)) + 1)
    };
    let sections = KEYS.iter().filter_map(|key| key.path.rsplit_once('.').map(|(section, _)| section));
    let nearest = KEYS.iter().map(|key| key.path).chain(sections).chain(["sweep"]).min_by_key(|known| distance(known));
    let remedy = match nearest {
        Some(nearest) if distance(nearest) <= path.len().max(6) / 3 + 1 => format!("did you mean `{nearest}`?"),
        _ => "remove it, or see `--keys` for the keys there are".to_owned(),
    };
    Problem::new(path, format!("unknown key; {remedy}"))
}

fn refuse_unknown(table: &Table, prefix: &str, problems: &mut Vec<Problem>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            _ if is_key(&path) || path == "sweep" => {}
            Value::Table(inner) if is_section(&path) => refuse_unknown(inner, &path, problems),
            _ if is_section(&path) => {
                problems.push(Problem::new(
                    &path,
                    format!("found {}; it is a section, give a table `[{path}]`", brief(value)),
                ));
            }
            _ => problems.push(unknown(&path)),
        }
    }
}

impl Kind {
    /// `Err` says what is wanted instead.
    fn check(self, value: &Value) -> Result<(), String> {
        let number = || value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let list = || value.as_array().filter(|list| (1..list.len()).all(|i| !list[..i].contains(&list[i])));
        let good = match self {
            Self::Text => value.is_str(),
            Self::Slug => value.as_str().is_some_and(is_slug),
            Self::Bool => value.is_bool(),
            Self::Integer(low, high) => value.as_integer().is_some_and(|found| (low..=high).contains(&found)),
            Self::Float(low, high) => number().is_some_and(|found| (low..=high).contains(&found)),
            Self::Above(low, high) => number().is_some_and(|found| found > low && found <= high),
            Self::AboveOr(low, high, word) => {
                value.as_str() == Some(word) || number().is_some_and(|found| found > low && found <= high)
            }
            Self::IntegerOr(low, high, word) => {
                value.as_str() == Some(word) || Self::Integer(low, high).check(value).is_ok()
            }
            Self::Choice(words) => value.as_str().is_some_and(|found| words.contains(&found)),
            Self::Integers(low, high) => list().is_some_and(|list| {
                list.iter().all(|item| item.as_integer().is_some_and(|found| (low..=high).contains(&found)))
            }),
            Self::Floats(low, high) => list().is_some_and(|list| {
                !list.is_empty() && list.iter().all(|item| Self::Above(low, high).check(item).is_ok())
            }),
            Self::FloatsOr(low, high, word) => {
                value.as_str() == Some(word) || Self::Floats(low, high).check(value).is_ok()
            }
            Self::Shape => value.as_array().is_some_and(|list| {
                list.len() == 3
                    && list.iter().all(|item| item.as_integer().is_some_and(|size| (1..=4096).contains(&size)))
            }),
            Self::Layers => value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_table)),
        };
        if good { Ok(()) } else { Err(self.wanted()) }
    }

    fn wanted(self) -> String {
        let high_text = |high: i64| if high == i64::MAX { "2^63 - 1".to_owned() } else { high.to_string() };
        match self {
            Self::Text => "a text in quotes".to_owned(),
            Self::Slug => "a short text of letters, digits, `-`, `_` and `.`, not starting with a dot".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Integer(low, high) => format!("a whole number from {low} to {}", high_text(high)),
            Self::Float(low, high) => format!("a number from {low} to {high}"),
            Self::Above(low, high) => format!("a number above {low} and up to {high}"),
            Self::Choice(words) => {
                format!("one of {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
            }
            Self::AboveOr(low, high, word) => format!("a number above {low} and up to {high}, or \"{word}\""),
            Self::IntegerOr(low, high, word) => format!("a whole number from {low} to {high}, or \"{word}\""),
            Self::Integers(low, high) => format!("a list of different whole numbers from {low} to {}", high_text(high)),
            Self::Floats(low, high) => format!("a list of different numbers above {low} and up to {high}"),
            Self::FloatsOr(low, high, word) => format!("{}, or \"{word}\"", Self::Floats(low, high).wanted()),
            Self::Shape => "three whole numbers [C, H, W] from 1 to 4096".to_owned(),
            Self::Layers => {
                "a list of tables, such as [{ kind = \"flatten\" }, { kind = \"dense\", units = 10 }]".to_owned()
            }
        }
    }
}

/// The reference of every key, for `--keys`.
pub fn reference(built_in: &[Backend]) -> String {
    let mut text = String::from("Keys of an experiment file (--set KEY=VALUE overrides any of them)\n");
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if of != section {
            _ = writeln!(text, "\n[{of}]");
            section = of;
        }
        let default = match key.default {
            None => "required".to_owned(),
            Some("") => "optional".to_owned(),
            Some(default) => format!("default {default}"),
        };
        _ = writeln!(text, "{name}: {}\n    {}; {default}", key.doc, key.kind.wanted());
    }
    _ = writeln!(
        text,
        "\n[[model.layers]] kinds\n{}",
        crate::LayerKind::KINDS
            .iter()
            .map(|(kind, keys)| if keys.is_empty() {
                (*kind).to_owned()
            } else {
                let key =
                    |key: &&str| key.strip_suffix('?').map_or_else(|| (*key).to_owned(), |key| format!("[{key}]"));
                format!("{kind} ({})", keys.iter().map(key).collect::<Vec<_>>().join(", "))
            })
            .collect::<Vec<_>>()
            .join("\n")
    );
    text.push_str(
        "\n[sweep]\nKEY = [VALUES]: lists over any key above; tables over any section, as in\n    \
         convert = [{ method = \"percentile\" }, { method = \"norm\", kappa = 0.3 }]\n    \
         A table may have a `label`, which names it; a network without one is called by its architecture.\n    \
         `reproduce` runs every combination and reports them side by side.\n",
    );
    let built_in: Vec<_> = built_in.iter().map(ToString::to_string).collect();
    _ = writeln!(text, "\nBackends built in: {}", built_in.join(", "));
    text
}
