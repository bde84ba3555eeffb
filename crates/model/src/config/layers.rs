//! `[[model.layers]]`: each table to a [`LayerKind`], then all of them to an [`Architecture`].

use toml::{Table, Value};

use super::Problem;
use super::schema::brief;
use crate::architecture::{Architecture, Conv2d, Entry, LayerKind, Window};

/// Most units of a dense layer that a configuration may ask for.
const MAX_UNITS: i64 = 1 << 20;

/// Most channels of a convolution, and largest kernel, stride and padding.
const MAX_CHANNELS: i64 = 1 << 16;
const MAX_KERNEL: i64 = 1 << 10;

/// Kinds that other frameworks have and that cannot be converted, with what to do instead.
const UNSUPPORTED: [(&[&str], &str); 9] = [
    (
        &["softmax", "log-softmax"],
        "leave it out: the loss applies it in training, and the largest logit is the largest probability",
    ),
    (
        &["sigmoid", "tanh", "gelu", "silu", "elu", "hard-swish", "softplus", "mish"],
        "it is curved, and neurons stand for what is straight piece by piece: `relu`, `clip`, `leaky-relu`, `prelu`, `abs`; train with \
         one of them",
    ),
    (&["relu6"], "give `clip` with high = 6"),
    (&["hard-tanh"], "give `clip` with low = -1 and high = 1"),
    (&["hard-sigmoid"], "give `scale` and then `clip` with high = 1"),
    (
        &["layer-norm", "group-norm", "instance-norm"],
        "it depends on the sample, so it cannot be folded; use `batch-norm`",
    ),
    (
        &["conv1d"],
        "use `conv2d`: a signal of one dimension is an image of one row, so model.input is [C, 1, length], the kernel [1, k] \
         and the padding [0, p]",
    ),
    (&["conv3d", "conv-transpose2d"], "only `conv2d` is there; use it instead"),
    (&["lstm", "gru", "attention", "embedding"], "there is no spiking counterpart; use `conv2d` and `dense` layers"),
];

/// The checked network; `None` if a problem was added.
///
/// - `normalize`: what `data.normalize` asks for, a [`LayerKind::Normalize`]
pub(super) fn architecture(
    model: &Table,
    normalize: Option<LayerKind>,
    problems: &mut Vec<Problem>,
) -> Option<Architecture> {
    let before = problems.len();
    let entries = entries("model.layers", model.get("layers")?, problems);
    let sizes: Vec<usize> =
        model.get("input")?.as_array()?.iter().filter_map(|size| size.as_integer().map(|size| size as usize)).collect();
    if problems.len() > before {
        return None;
    }
    match Architecture::of_entries(sizes.try_into().ok()?, normalize, &entries) {
        Ok(architecture) => Some(architecture),
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| match problem.path {
                Some(path) => Problem::new(&format!("model.layers.{path}"), problem.message),
                None => Problem::new("model.layers", problem.message),
            }));
            None
        }
    }
}

/// `[model]` from elsewhere than the configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSection {
    /// Shape `[C, H, W]` of one sample.
    pub input: [usize; 3],
    /// The layers, first to last.
    pub layers: Vec<Entry>,
}

impl ModelSection {
    /// Reads the section out of a resolved configuration, such as an artefact holds; `None` if it has none that is valid.
    pub fn of_config(config: &str) -> Option<Self> {
        let table: Table = config.parse().ok()?;
        let architecture = architecture(table.get("model")?.as_table()?, None, &mut Vec::new())?;
        Some(Self { input: architecture.input(), layers: architecture.entries().to_vec() })
    }

    /// Fills in what a raw configuration leaves out of its `[model]`.
    pub(super) fn complete(&self, raw: &mut Table) {
        let model = raw.entry("model").or_insert_with(|| Value::Table(Table::new()));
        // What is no table stays, to be refused like any other wrong value.
        if let Some(model) = model.as_table_mut() {
            model
                .entry("input")
                .or_insert_with(|| self.input.iter().map(|&size| count(size)).collect::<Vec<_>>().into());
            model.entry("layers").or_insert_with(|| entry_tables(&self.layers));
        }
    }
}

impl LayerKind {
    /// The layer as a configuration has it, every key given: `{ kind = "dense", units = 10 }`.
    pub fn to_toml(&self) -> String {
        layer_tables(std::slice::from_ref(self))[0].to_string()
    }
}

fn count(n: usize) -> Value {
    Value::Integer(n as i64)
}

/// Equal sizes as one number.
fn sizes<const N: usize>(sizes: [usize; N]) -> Value {
    let equal = sizes.iter().all(|size| *size == sizes[0]);
    if equal { count(sizes[0]) } else { sizes.map(count).to_vec().into() }
}

/// What is not usual is written, so that files of usual networks stay what they were.
fn window(window: Window, is_mean: bool) -> Vec<(&'static str, Value)> {
    let Window { kernel, stride, padding, ceil, counts_padding } = window;
    let mut keys = vec![("kernel", sizes(kernel)), ("stride", sizes(stride))];
    keys.extend((padding != [0; 4]).then(|| ("padding", sizes(padding))));
    keys.extend(ceil.then_some(("ceil", Value::Boolean(true))));
    keys.extend((is_mean && !counts_padding).then_some(("count-padding", Value::Boolean(false))));
    keys
}

/// The inverse of [`kinds`].
fn layer_tables(kinds: &[LayerKind]) -> Value {
    let table = |kind: &LayerKind| {
        let keys = match kind {
            LayerKind::Flatten
            | LayerKind::Relu
            | LayerKind::PRelu
            | LayerKind::Abs
            | LayerKind::Scale
            | LayerKind::GlobalAvgPool
            | LayerKind::Normalize { .. }
            | LayerKind::Add
            | LayerKind::Concat => Vec::new(),
            LayerKind::Clip { low, high } => vec![("low", Value::Float(*low)), ("high", Value::Float(*high))],
            LayerKind::LeakyRelu { slope } => vec![("slope", Value::Float(*slope))],
            LayerKind::Slice { start, end } => vec![("start", count(*start)), ("end", count(*end))],
            LayerKind::ChannelShuffle { groups } => vec![("groups", count(*groups))],
            LayerKind::Dense { units } => vec![("units", count(*units))],
            LayerKind::Conv2d(conv) => vec![
                ("channels", count(conv.channels)),
                ("kernel", sizes(conv.kernel)),
                ("stride", sizes(conv.stride)),
                ("padding", sizes(conv.padding)),
                ("groups", count(conv.groups)),
                ("bias", Value::Boolean(conv.bias)),
            ]
            .into_iter()
            .chain((conv.dilation != [1; 2]).then(|| ("dilation", sizes(conv.dilation))))
            .collect(),
            LayerKind::BatchNorm { epsilon } => vec![("epsilon", Value::Float(*epsilon))],
            LayerKind::Dropout { rate } => vec![("rate", Value::Float(*rate))],
            LayerKind::AvgPool(pool) => window(*pool, true),
            LayerKind::MaxPool(pool) => window(*pool, false),
            LayerKind::Residual { body, shortcut } => {
                vec![("body", layer_tables(body)), ("shortcut", layer_tables(shortcut))]
            }
        };
        let name = ("kind", Value::String(kind.name().to_owned()));
        Value::Table(std::iter::once(name).chain(keys).map(|(key, value)| (key.to_owned(), value)).collect())
    };
    Value::Array(kinds.iter().map(table).collect())
}

/// The inverse of [`entries`].
fn entry_tables(entries: &[Entry]) -> Value {
    let table = |Entry { kind, name, from }: &Entry| {
        let Value::Array(mut tables) = layer_tables(std::slice::from_ref(kind)) else { unreachable!("a list") };
        let mut table = tables.pop().expect("one table for one layer");
        let keys = table.as_table_mut().expect("a table for each layer");
        if let Some(name) = name {
            keys.insert("name".to_owned(), Value::String(name.clone()));
        }
        match &from[..] {
            [] => {}
            [one] => _ = keys.insert("from".to_owned(), Value::String(one.clone())),
            all => _ = keys.insert("from".to_owned(), all.to_vec().into()),
        }
        table
    };
    Value::Array(entries.iter().map(table).collect())
}

/// Layers of a network, with the names that they give themselves and that they read; one with a problem is left out.
fn entries(place: &str, list: &Value, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let Some(layers) = list.as_array().filter(|layers| layers.iter().all(Value::is_table)) else {
        problems.push(Problem::new(place, format!("found {}; give a list of layers", brief(list))));
        return Vec::new();
    };
    let entry = |(idx, layer): (usize, &Value)| {
        let place = format!("{place}.{idx}");
        let mut table = layer.as_table()?.clone();
        let name = table.remove("name").and_then(|name| layer_name(&place, &name, problems));
        let from = table.remove("from").map_or_else(Vec::new, |from| sources(&place, &from, problems));
        let kind = kind(&place, &Value::Table(table), problems)?;
        Some(Entry { kind, name, from })
    };
    layers.iter().enumerate().filter_map(entry).collect()
}

fn layer_name(place: &str, value: &Value, problems: &mut Vec<Problem>) -> Option<String> {
    let is_good = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    let name = value.as_str().filter(is_good);
    if name.is_none() {
        let message = format!(
            "name: found {}; give a text of letters, digits, `_`, `-` and `.` that starts with a letter",
            brief(value)
        );
        problems.push(Problem::new(place, message));
    }
    name.map(str::to_owned)
}

/// Names of what a layer reads: a text, or a list of texts.
fn sources(place: &str, value: &Value, problems: &mut Vec<Problem>) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let names = match value {
        Value::Array(names) if !names.is_empty() => names.iter().map(text).collect(),
        _ => text(value).map(|name| vec![name]),
    };
    if names.is_none() {
        let message =
            format!("from: found {}; give the name of a layer, `input`, or a list of such names", brief(value));
        problems.push(Problem::new(place, message));
    }
    names.unwrap_or_default()
}

/// Layers of a list; a layer with a problem is left out.
fn kinds(place: &str, list: &Value, problems: &mut Vec<Problem>) -> Vec<LayerKind> {
    let Some(layers) = list.as_array().filter(|layers| layers.iter().all(Value::is_table)) else {
        problems.push(Problem::new(place, format!("found {}; give a list of layers", brief(list))));
        return Vec::new();
    };
    layers.iter().enumerate().filter_map(|(idx, layer)| kind(&format!("{place}.{idx}"), layer, problems)).collect()
}

fn kind(place: &str, layer: &Value, problems: &mut Vec<Problem>) -> Option<LayerKind> {
    let table = layer.as_table()?;
    let known = || LayerKind::KINDS.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let Some(name) = table.get("kind").and_then(Value::as_str) else {
        problems.push(Problem::new(place, format!("`kind` is missing or no text; give one of {}", known())));
        return None;
    };
    let Some((_, keys)) = LayerKind::KINDS.iter().find(|(kind, _)| *kind == name) else {
        problems.push(Problem::new(place, format!("unknown kind `{name}`; {}", remedy_for_unknown(name, &known()))));
        return None;
    };
    let before = problems.len();
    let is_key = |key: &str| keys.iter().any(|known| known.trim_end_matches('?') == key);
    for key in table.keys().filter(|key| *key != "kind" && !is_key(key)) {
        let remedy = if keys.is_empty() {
            "it takes no keys".to_owned()
        } else {
            format!("it takes {}", keys.join(", ").replace('?', ""))
        };
        problems.push(Problem::new(place, format!("{name}: unknown key `{key}`; {remedy}")));
    }
    let mut read = LayerReader { place, name, table, problems };
    let kind = match name {
        "flatten" => LayerKind::Flatten,
        "relu" => LayerKind::Relu,
        "prelu" => LayerKind::PRelu,
        "abs" => LayerKind::Abs,
        "scale" => LayerKind::Scale,
        "add" => LayerKind::Add,
        "concat" => LayerKind::Concat,
        "clip" => read.clip(),
        "leaky-relu" => LayerKind::LeakyRelu {
            slope: read.number("slope", Some(0.01), |slope| slope.is_finite() && slope.abs() <= 1e3, "a number"),
        },
        "slice" => LayerKind::Slice {
            start: read.count("start", None, 0, MAX_UNITS),
            end: read.count("end", None, 1, MAX_UNITS),
        },
        "channel-shuffle" => LayerKind::ChannelShuffle { groups: read.count("groups", None, 1, MAX_CHANNELS) },
        "global-avg-pool" => LayerKind::GlobalAvgPool,
        "dense" => LayerKind::Dense { units: read.count("units", None, 1, MAX_UNITS) },
        "dropout" => LayerKind::Dropout {
            rate: read.number("rate", None, |rate| (0.0..1.0).contains(&rate), "a number from 0 to below 1"),
        },
        "batch-norm" => LayerKind::BatchNorm {
            epsilon: read.number("epsilon", Some(1e-5), |e| e > 0.0 && e <= 1.0, "a number above 0 and up to 1"),
        },
        "conv2d" => LayerKind::Conv2d(Conv2d {
            channels: read.count("channels", None, 1, MAX_CHANNELS),
            kernel: read.sizes("kernel", None, 1),
            stride: read.sizes("stride", Some([1; 2]), 1),
            padding: read.padding(),
            dilation: read.sizes("dilation", Some([1; 2]), 1),
            groups: read.count("groups", Some(1), 1, MAX_CHANNELS),
            bias: read.bool("bias", true),
        }),
        "avg-pool" => LayerKind::AvgPool(read.window(true)),
        "max-pool" => LayerKind::MaxPool(read.window(false)),
        "residual" => LayerKind::Residual { body: read.layers("body", true), shortcut: read.layers("shortcut", false) },
        other => unreachable!("kind `{other}` is in LayerKind::KINDS but is not read here"),
    };
    (problems.len() == before).then_some(kind)
}

fn remedy_for_unknown(name: &str, known: &str) -> String {
    let plain = name.to_lowercase().replace(['_', ' '], "-");
    if let Some((_, remedy)) = UNSUPPORTED.iter().find(|(names, _)| names.contains(&plain.as_str())) {
        return (*remedy).to_owned();
    }
    let distance = |kind: &str| strsim::damerau_levenshtein(kind, &plain);
    let nearest = LayerKind::KINDS.iter().map(|(kind, _)| *kind).min_by_key(|kind| distance(kind));
    match nearest.filter(|kind| distance(kind) <= 2) {
        Some(kind) => format!("did you mean `{kind}`?"),
        None => format!("use one of {known}"),
    }
}

/// One whole number, or a list of them; `None` if it is anything else or out of range.
fn numbers(value: &Value, low: i64) -> Option<Vec<usize>> {
    let number = |value: &Value| value.as_integer().filter(|n| (low..=MAX_KERNEL).contains(n)).map(|n| n as usize);
    match value {
        Value::Array(values) => values.iter().map(number).collect(),
        _ => number(value).map(|all| vec![all]),
    }
}

/// Reads the keys of one layer; what it returns for a problem can be relied on for nothing but its type.
struct LayerReader<'a> {
    place: &'a str,
    name: &'a str,
    table: &'a Table,
    problems: &'a mut Vec<Problem>,
}

impl LayerReader<'_> {
    fn refuse(&mut self, key: &str, wanted: &str) {
        let found = self.table.get(key).map_or_else(|| "missing".to_owned(), |value| format!("found {}", brief(value)));
        let message = format!("{}: {found}; give {wanted}", self.name);
        self.problems.push(Problem::new(&format!("{}.{key}", self.place), message));
    }

    /// - `default`: `None` if the key must be given
    fn count(&mut self, key: &str, default: Option<i64>, low: i64, high: i64) -> usize {
        let found = self.table.get(key).map_or(default, Value::as_integer).filter(|found| (low..=high).contains(found));
        if found.is_none() {
            self.refuse(key, &format!("a whole number from {low} to {high}"));
        }
        found.unwrap_or(1) as usize
    }

    fn number(&mut self, key: &str, default: Option<f64>, good: impl Fn(f64) -> bool, wanted: &str) -> f64 {
        let found = self.table.get(key).map_or(default, super::number).filter(|found| good(*found));
        if found.is_none() {
            self.refuse(key, wanted);
        }
        found.unwrap_or_default()
    }

    fn clip(&mut self) -> LayerKind {
        let is_bound = |bound: f64| bound.is_finite() && bound.abs() <= 1e6;
        let low = self.number("low", Some(0.0), is_bound, "a number up to a million");
        let high = self.number("high", None, is_bound, "a number up to a million");
        if low >= high && self.table.contains_key("high") {
            self.refuse("high", &format!("a number above low = {low}"));
        }
        LayerKind::Clip { low, high }
    }

    fn bool(&mut self, key: &str, default: bool) -> bool {
        let found = self.table.get(key).map_or(Some(default), Value::as_bool);
        if found.is_none() {
            self.refuse(key, "true or false");
        }
        found.unwrap_or_default()
    }

    /// Sizes down and across: one number for both, or a list of two.
    ///
    /// - `default`: `None` if the key must be given
    fn sizes(&mut self, key: &str, default: Option<[usize; 2]>, low: i64) -> [usize; 2] {
        let Some(value) = self.table.get(key) else {
            if default.is_none() {
                self.refuse(
                    key,
                    &format!("a whole number from {low} to {MAX_KERNEL}, or two of them: down and across"),
                );
            }
            return default.unwrap_or([1; 2]);
        };
        match numbers(value, low).as_deref() {
            Some([all]) => [*all; 2],
            Some(&[down, across]) => [down, across],
            _ => {
                self.refuse(
                    key,
                    &format!("a whole number from {low} to {MAX_KERNEL}, or two of them: down and across"),
                );
                [1; 2]
            }
        }
    }

    /// Zeros on four sides: one number for all, two for rows and columns, or four: top, left, bottom, right.
    fn padding(&mut self) -> [usize; 4] {
        let Some(value) = self.table.get("padding") else { return [0; 4] };
        match numbers(value, 0).as_deref() {
            Some([all]) => [*all; 4],
            Some(&[rows, columns]) => [rows, columns, rows, columns],
            Some(&[top, left, bottom, right]) => [top, left, bottom, right],
            _ => {
                let wanted = format!(
                    "a whole number from 0 to {MAX_KERNEL}, two of them (rows, columns) or four (top, left, bottom, right)"
                );
                self.refuse("padding", &wanted);
                [0; 4]
            }
        }
    }

    fn window(&mut self, is_mean: bool) -> Window {
        let kernel = self.sizes("kernel", None, 1);
        Window {
            kernel,
            stride: self.sizes("stride", Some(kernel), 1),
            padding: self.padding(),
            ceil: self.bool("ceil", false),
            counts_padding: !is_mean || self.bool("count-padding", true),
        }
    }

    fn layers(&mut self, key: &str, required: bool) -> Vec<LayerKind> {
        if let Some(list) = self.table.get(key) {
            return kinds(&format!("{}.{key}", self.place), list, self.problems);
        }
        if required {
            self.refuse(key, "a list of layers");
        }
        Vec::new()
    }
}
