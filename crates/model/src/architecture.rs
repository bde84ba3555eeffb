//! The layers of a network, checked, with their shapes.
//!
//! Pure data: no weights, no burn. Made by [`crate::config`]; read by the trained network, by conversion and by whoever prints a
//! network. A configuration lists layers, each of which reads the one before it or those that it names; [`Architecture::graph`] is
//! what the list stands for, and what the graph becomes in a spiking network is in [`crate::population`].

use std::fmt;

use crate::graph::{Builder, Graph, Operand};
use crate::kernel::{Kernel, Pool};
use crate::population::{self, PoolKind, Population, Weights};

/// What one layer does, as in the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerKind {
    /// Makes a vector of an image, channel by channel, row by row.
    Flatten,
    /// Fully connected: `y = W x + b`, `W`: `[units, n_in]`.
    Dense {
        /// Number of outputs.
        units: usize,
    },
    /// Convolution with zero padding.
    Conv2d(Conv2d),
    /// Batch normalisation of each channel or unit; folded into the weights before it at conversion
    /// (Ioffe & Szegedy 2015).
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// `max(0, x)`; an integrate-and-fire neuron stands here in the spiking network.
    Relu,
    /// `min(max(low, x), high)`: `relu6` from 0 to 6, hard tanh from −1 to 1. Neurons saturate where it does; where it goes to both
    /// sides of zero, one neuron stands for each side.
    Clip {
        /// Least output.
        low: f64,
        /// Largest output.
        high: f64,
    },
    /// `max(0, x) − slope·max(0, −x)`; one neuron stands for each term.
    LeakyRelu {
        /// Slope below zero.
        slope: f64,
    },
    /// A leaky relu with a learned slope for each channel or unit (He et al. 2015).
    PRelu,
    /// `|x| = max(0, x) + max(0, −x)`; one neuron stands for each term.
    Abs,
    /// `weight·x + bias` of each channel or unit.
    Scale,
    /// `(x − mean)/deviation` of each channel: what `data.normalize` puts before the first layer. A configuration does not have it
    /// among its layers.
    Normalize {
        /// Means `[C]`.
        mean: Vec<f64>,
        /// Standard deviations `[C]`, each > 0.
        deviation: Vec<f64>,
    },
    /// Sets inputs to zero at random while training, identity otherwise.
    Dropout {
        /// Probability of zero, in [0, 1).
        rate: f64,
    },
    /// Mean of each window.
    AvgPool(Window),
    /// Mean of each channel.
    GlobalAvgPool,
    /// Largest of each window.
    MaxPool(Window),
    /// `body(x) + shortcut(x)` (He et al. 2016).
    Residual {
        /// Layers of the branch.
        body: Vec<LayerKind>,
        /// Layers of the skip connection; none is the identity.
        shortcut: Vec<LayerKind>,
    },
    /// Sum of its inputs.
    Add,
    /// Its inputs side by side: their channels, or the features of vectors.
    Concat,
    /// Some channels, or features of a vector.
    Slice {
        /// The first.
        start: usize,
        /// The one behind the last.
        end: usize,
    },
    /// Channels in another order: those of `groups` groups in turn (Zhang et al. 2018).
    ChannelShuffle {
        /// Number of groups.
        groups: usize,
    },
}

/// Parameters of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Number of output channels.
    pub channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Distance between neighbouring outputs, down and across.
    pub stride: [usize; 2],
    /// Rows of zeros above, columns to the left, rows below, columns to the right.
    pub padding: [usize; 4],
    /// Distance between neighbouring taps of the kernel, down and across.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other; as many as channels is depthwise.
    pub groups: usize,
    /// Whether there is a bias; a batch norm that follows makes it useless.
    pub bias: bool,
}

impl Conv2d {
    /// A square kernel, padded on all sides alike, in one group, with a bias.
    pub const fn square(channels: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 4],
            dilation: [1; 2],
            groups: 1,
            bias: true,
        }
    }

    /// Its geometry on an input.
    ///
    /// - `input`: `[C, H, W]`
    pub const fn on(&self, input: [usize; 3]) -> Kernel {
        let Self { channels, kernel: size, stride, padding, dilation, groups, .. } = *self;
        Kernel { input, channels, size, stride, padding, dilation, groups }
    }
}

/// Windows of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Distance between neighbouring windows, down and across.
    pub stride: [usize; 2],
    /// Rows above, columns to the left, rows below, columns to the right: zeros for a mean, nothing for a maximum.
    pub padding: [usize; 4],
    /// Whether the last window may stick out behind the padding.
    pub ceil: bool,
    /// Whether a mean counts the padding among its inputs.
    pub counts_padding: bool,
}

impl Window {
    /// A square window without padding.
    pub const fn square(kernel: usize, stride: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [0; 4], ceil: false, counts_padding: true }
    }

    /// The pool of these windows.
    pub const fn pool(self, kind: PoolKind) -> Pool {
        let Self { kernel, stride, padding, ceil, counts_padding } = self;
        Pool { kind, kernel, stride, padding, ceil, counts_padding }
    }
}

impl LayerKind {
    /// Every kind's name in configurations, with the keys it takes; `?` marks those that may be left out.
    pub const KINDS: [(&'static str, &'static [&'static str]); 19] = [
        ("flatten", &[]),
        ("dense", &["units"]),
        ("conv2d", &["channels", "kernel", "stride?", "padding?", "dilation?", "groups?", "bias?"]),
        ("batch-norm", &["epsilon?"]),
        ("relu", &[]),
        ("clip", &["low?", "high"]),
        ("leaky-relu", &["slope?"]),
        ("prelu", &[]),
        ("abs", &[]),
        ("scale", &[]),
        ("dropout", &["rate"]),
        ("avg-pool", &["kernel", "stride?", "padding?", "ceil?", "count-padding?"]),
        ("global-avg-pool", &[]),
        ("max-pool", &["kernel", "stride?", "padding?", "ceil?"]),
        ("residual", &["body", "shortcut?"]),
        ("add", &[]),
        ("concat", &[]),
        ("slice", &["start", "end"]),
        ("channel-shuffle", &["groups"]),
    ];

    /// The kind's name in configurations.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Flatten => "flatten",
            Self::Dense { .. } => "dense",
            Self::Conv2d(_) => "conv2d",
            Self::BatchNorm { .. } => "batch-norm",
            Self::Relu => "relu",
            Self::Clip { .. } => "clip",
            Self::LeakyRelu { .. } => "leaky-relu",
            Self::PRelu => "prelu",
            Self::Abs => "abs",
            Self::Scale => "scale",
            Self::Normalize { .. } => "normalize",
            Self::Dropout { .. } => "dropout",
            Self::AvgPool(_) => "avg-pool",
            Self::GlobalAvgPool => "global-avg-pool",
            Self::MaxPool(_) => "max-pool",
            Self::Residual { .. } => "residual",
            Self::Add => "add",
            Self::Concat => "concat",
            Self::Slice { .. } => "slice",
            Self::ChannelShuffle { .. } => "channel-shuffle",
        }
    }

    /// Shapes of its own tensors, without those of layers within it, by the last part of their names.
    ///
    /// - `input`: shape of one sample's input
    ///
    /// Weights are `[n_out, n_in]` or `[C_out, C_in/groups, k, k]`, and a batch norm has `weight`, `bias`,
    /// `running_mean` and `running_var` of `[C]`, as in PyTorch.
    pub fn tensors(&self, input: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        match self {
            Self::Dense { units } => vec![("weight", vec![*units, input[0]]), ("bias", vec![*units])],
            Self::Conv2d(conv) => {
                let shape = vec![conv.channels, input[0] / conv.groups, conv.kernel[0], conv.kernel[1]];
                let bias = conv.bias.then(|| ("bias", vec![conv.channels]));
                std::iter::once(("weight", shape)).chain(bias).collect()
            }
            Self::BatchNorm { .. } => {
                ["weight", "bias", "running_mean", "running_var"].map(|field| (field, vec![input[0]])).into()
            }
            Self::Scale => ["weight", "bias"].map(|field| (field, vec![input[0]])).into(),
            Self::PRelu => vec![("weight", vec![input[0]])],
            _ => Vec::new(),
        }
    }

    /// Whether neurons stand there in the spiking network, unless its input is spikes already.
    pub const fn is_activation(&self) -> bool {
        matches!(self, Self::Relu | Self::Clip { .. } | Self::LeakyRelu { .. } | Self::PRelu | Self::Abs)
    }

    /// Its own multiply-accumulate operations for one sample, without those of layers within it. Batch norm is folded, pools and
    /// sums have no multiplications: none of them count.
    ///
    /// - `input`, `output`: shapes of one sample's
    pub fn macs_per_sample(&self, input: &[usize], output: &[usize]) -> u64 {
        match self {
            Self::Dense { .. } | Self::Conv2d(_) => {
                let per_output: usize = self.tensors(input)[0].1[1..].iter().product();
                output.iter().product::<usize>() as u64 * per_output as u64
            }
            _ => 0,
        }
    }
}

/// A layer as a configuration lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it does.
    pub kind: LayerKind,
    /// By what others name it; its tensors bear the name, too.
    pub name: Option<String>,
    /// Names of what it reads, [`Entry::INPUT`] among them; none for the layer before it.
    pub from: Vec<String>,
}

impl Entry {
    /// What a layer names to read the network's input.
    pub const INPUT: &'static str = "input";
}

impl From<LayerKind> for Entry {
    fn from(kind: LayerKind) -> Self {
        Self { kind, name: None, from: Vec::new() }
    }
}

/// One layer in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Place in the network, as its tensors are named: `3`, or `5.body.0` within a residual block; or the name that it was given.
    pub path: String,
    /// What it does.
    pub kind: LayerKind,
    /// Shape of one sample's input, without the batch dimension: `[C, H, W]` or `[features]`; of the first where there are several.
    pub input: Vec<usize>,
    /// Shape of one sample's output.
    pub output: Vec<usize>,
    /// A residual block's branch.
    pub body: Vec<Layer>,
    /// A residual block's skip connection.
    pub shortcut: Vec<Layer>,
}

impl Layer {
    /// Shapes of its own tensors, without those of layers within it, by name ([`LayerKind::tensors`]).
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let named = |(field, shape)| (format!("{}.{field}", self.path), shape);
        self.kind.tensors(&self.input).into_iter().map(named).collect()
    }

    /// This layer and those within it, in the order of computation.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Layer)) {
        visit(self);
        for layer in self.body.iter().chain(&self.shortcut) {
            layer.walk(visit);
        }
    }
}

/// A checked network: shapes fit, and everything in it has an exact counterpart in a spiking network.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    graph: Graph,
    entries: Vec<Entry>,
    layers: Vec<Layer>,
    populations: Vec<Population>,
}

/// A layer that does not fit its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProblem {
    /// Place in `[[model.layers]]`: `3`, or `5.body.0`; `None` for the network as a whole.
    pub path: Option<String>,
    /// What was found and what to do, in one line.
    pub message: String,
}

impl Architecture {
    /// Most weights a layer may have, 2²⁸ (1 GiB of f32): a guard against slips such as a missing pool.
    pub const MAX_WEIGHTS: usize = 1 << 28;

    /// Most outputs a layer may have for one sample, 2²⁶.
    pub const MAX_OUTPUTS: usize = 1 << 26;

    /// Checks that a chain of layers forms a network that can be trained and converted.
    ///
    /// - `input`: shape `[C, H, W]` of one sample
    /// - `kinds`: the layers in order
    ///
    /// # Errors
    /// Every [`LayerProblem`] found, not the first only.
    pub fn new(input: [usize; 3], kinds: &[LayerKind]) -> Result<Self, Vec<LayerProblem>> {
        let entries: Vec<Entry> = kinds.iter().cloned().map(Entry::from).collect();
        Self::of_entries(input, None, &entries)
    }

    /// The same for layers that say what they read.
    ///
    /// - `normalize`: what is done to the input before the first layer, a [`LayerKind::Normalize`]
    ///
    /// # Errors
    /// Every [`LayerProblem`] found, not the first only.
    pub fn of_entries(
        input: [usize; 3],
        normalize: Option<LayerKind>,
        entries: &[Entry],
    ) -> Result<Self, Vec<LayerProblem>> {
        let mut builder = Builder::new(input);
        let first = match normalize {
            Some(kind) => builder.push("normalize", kind, &[Operand::Input], None),
            None => Operand::Input,
        };
        let (layers, _) = expand(&mut builder, "", entries, first, None);
        let (graph, mut problems) = builder.into_parts();
        let (populations, found) = population::lowered(&graph);
        problems.extend(found);
        if problems.is_empty() {
            return Ok(Self { graph, entries: entries.to_vec(), layers, populations });
        }
        problems.sort_by_key(|(at, _)| *at);
        Err(problems.into_iter().map(|(_, problem)| problem).collect())
    }

    /// The same network for samples of which its layers see `factor·p + offset`, channel by channel: a [`LayerKind::Normalize`] stands
    /// before the first of them, unless all are `[1, 0]`.
    ///
    /// - `of_channels`: `[factor, offset]` of each channel, factors > 0
    ///
    /// # Errors
    /// Every [`LayerProblem`] found, not the first only.
    pub fn seeing(&self, of_channels: &[[f64; 2]]) -> Result<Self, Vec<LayerProblem>> {
        let is_plain = of_channels.iter().all(|affine| *affine == [1.0, 0.0]);
        let normalize = LayerKind::Normalize {
            mean: of_channels.iter().map(|[factor, offset]| -offset / factor).collect(),
            deviation: of_channels.iter().map(|[factor, _]| factor.recip()).collect(),
        };
        Self::of_entries(self.input(), (!is_plain).then_some(normalize), &self.entries)
    }

    /// The layers as a configuration lists them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Shape `[C, H, W]` of one sample.
    pub fn input(&self) -> [usize; 3] {
        self.graph.input()
    }

    /// The layers as a graph, residual blocks taken apart.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What stands for neurons in the spiking network: one population per `relu`, and the logits last.
    pub fn populations(&self) -> &[Population] {
        &self.populations
    }

    /// Numbers of weights: of its layers, and of the connections of the spiking network, to which layers without an activation between
    /// them are multiplied out. Skip connections without weights do not count.
    pub fn n_weights(&self) -> [u64; 2] {
        let product = |shape: &[usize]| shape.iter().map(|&size| size as u64).product::<u64>();
        let of_layers =
            self.tensors().iter().filter(|(_, shape)| shape.len() > 1).map(|(_, shape)| product(shape)).sum();
        let connections = self.populations.iter().flat_map(|population| &population.connections);
        let weighted =
            connections.filter(|connection| !matches!(connection.weights, Weights::Identity | Weights::Uniform(_)));
        [of_layers, weighted.map(|connection| product(&connection.kernel.weight_shape())).sum()]
    }

    /// Number of outputs, one logit per class.
    pub fn n_classes(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output.iter().product())
    }

    /// Every layer, those within residual blocks too, in the order of computation.
    pub fn all_layers(&self) -> Vec<&Layer> {
        let mut all = Vec::new();
        for layer in &self.layers {
            layer.walk(&mut |layer| all.push(layer));
        }
        all
    }

    /// Shapes of all tensors by name ([`LayerKind::tensors`]), in the order of computation.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        self.graph.tensors()
    }

    /// Number of trainable parameters.
    pub fn n_parameters(&self) -> u64 {
        let trained = self.tensors().into_iter().filter(|(name, _)| !name.contains(".running_"));
        trained.map(|(_, shape)| shape.iter().map(|&size| size as u64).product::<u64>()).sum()
    }

    /// Multiply-accumulate operations for one sample.
    pub fn macs_per_sample(&self) -> u64 {
        self.graph.macs_per_sample()
    }
}

/// Adds a configuration's layers to a graph.
///
/// - `prefix`: of their places: empty, or `5.body.`
/// - `block`: place of the residual block that they are in
/// - returns the layers, and what the last of them gives
fn expand(
    builder: &mut Builder,
    prefix: &str,
    entries: &[Entry],
    from: Operand,
    block: Option<&str>,
) -> (Vec<Layer>, Operand) {
    let mut at = from;
    let mut named: Vec<(&str, Operand)> = vec![(Entry::INPUT, from)];
    let mut read = vec![entries.is_empty(); entries.len()];
    let mut layers: Vec<Layer> = Vec::with_capacity(entries.len());
    for (idx, entry) in entries.iter().enumerate() {
        let path = entry.name.clone().unwrap_or_else(|| format!("{prefix}{idx}"));
        let mut inputs = Vec::new();
        for name in &entry.from {
            match named.iter().find(|(known, _)| known == name) {
                Some((_, operand)) => inputs.push(*operand),
                None => refuse_unknown(builder, &path, entry, name, &named),
            }
            let of = entries[..idx].iter().position(|before| before.name.as_ref() == Some(name));
            if let Some(of) = of {
                read[of] = true;
            }
        }
        if entry.from.is_empty()
            && let Some(before) = idx.checked_sub(1)
        {
            read[before] = true;
        }
        if inputs.is_empty() {
            inputs.push(at);
        }
        let input = builder.shape(inputs[0]).to_vec();
        let (mut body, mut shortcut) = (Vec::new(), Vec::new());
        if let LayerKind::Residual { body: inner, shortcut: skip } = &entry.kind {
            (body, shortcut, at) = residual(builder, &path, inner, skip, inputs[0]);
        } else {
            at = builder.push(&path, entry.kind.clone(), &inputs, block);
        }
        if let Some(name) = &entry.name {
            if name == Entry::INPUT {
                builder
                    .refuse(&path, format!("{}: `input` is the network's input; use another name", entry.kind.name()));
            }
            named.push((name, at));
        }
        layers.push(Layer {
            path,
            kind: entry.kind.clone(),
            input,
            output: builder.shape(at).to_vec(),
            body,
            shortcut,
        });
    }
    for (idx, _) in read.iter().enumerate().rev().skip(1).filter(|(_, read)| !**read) {
        let (path, kind) = (layers[idx].path.clone(), entries[idx].kind.name());
        builder.refuse(&path, format!("{kind}: no layer reads it; name it in the `from` of one, or remove it"));
    }
    (layers, at)
}

fn refuse_unknown(builder: &mut Builder, path: &str, entry: &Entry, name: &str, named: &[(&str, Operand)]) {
    let kind = entry.kind.name();
    let known = named.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    builder.refuse(path, format!("{kind}: reads `{name}`, which no layer before it is named; named are {known}"));
}

/// Adds the branches of a residual block and their sum.
fn residual(
    builder: &mut Builder,
    path: &str,
    body: &[LayerKind],
    shortcut: &[LayerKind],
    from: Operand,
) -> (Vec<Layer>, Vec<Layer>, Operand) {
    let n_problems = builder.n_problems();
    let entries = |kinds: &[LayerKind]| kinds.iter().cloned().map(Entry::from).collect::<Vec<_>>();
    let (body_layers, after_body) = expand(builder, &format!("{path}.body."), &entries(body), from, Some(path));
    let (shortcut_layers, skip) = expand(builder, &format!("{path}.shortcut."), &entries(shortcut), from, Some(path));
    if builder.n_problems() == n_problems {
        if body.is_empty() {
            builder.refuse(path, "residual: body has no layers; put some into it, or remove the block".to_owned());
        } else if builder.shape(after_body) != builder.shape(skip) {
            let problem = format!(
                "residual: body gives {} but shortcut {}; make them equal, such as by a conv2d with kernel 1 and the body's stride \
                 in `shortcut`",
                shape_text(builder.shape(after_body)),
                shape_text(builder.shape(skip))
            );
            builder.refuse(path, problem);
        }
    }
    // Shapes that differ have been refused in the block's own words.
    let skip = if builder.shape(after_body) == builder.shape(skip) { skip } else { after_body };
    let sum = builder.push(path, LayerKind::Add, &[after_body, skip], Some(path));
    (body_layers, shortcut_layers, sum)
}

impl fmt::Display for Architecture {
    /// `784-512-512-10`, `1×28×28-16c5-ap2-32c5-ap2-128-10`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layers.first().map(|layer| &layer.kind) {
            Some(LayerKind::Flatten) => write!(f, "{}", self.input().iter().product::<usize>())?,
            _ => f.write_str(&shape_text(&self.input()))?,
        }
        for part in self.layers.iter().filter_map(|layer| brief(&layer.kind)) {
            write!(f, "-{part}")?;
        }
        Ok(())
    }
}

/// A layer in the usual short form; `None` for those that it leaves out.
fn brief(kind: &LayerKind) -> Option<String> {
    let sides =
        |[down, across]: [usize; 2]| if down == across { down.to_string() } else { format!("{down}×{across}") };
    let window = |name: &str, Window { kernel, stride, .. }: &Window| {
        if kernel == stride {
            format!("{name}{}", sides(*kernel))
        } else {
            format!("{name}{}s{}", sides(*kernel), sides(*stride))
        }
    };
    match kind {
        LayerKind::Dense { units } => Some(units.to_string()),
        LayerKind::Conv2d(conv) => {
            let part = |letter: &str, is_usual: bool, text: String| {
                if is_usual { String::new() } else { format!("{letter}{text}") }
            };
            let groups = part("g", conv.groups == 1, conv.groups.to_string());
            let stride = part("s", conv.stride == [1; 2], sides(conv.stride));
            let dilation = part("d", conv.dilation == [1; 2], sides(conv.dilation));
            Some(format!("{}c{}{stride}{dilation}{groups}", conv.channels, sides(conv.kernel)))
        }
        LayerKind::AvgPool(pool) => Some(window("ap", pool)),
        LayerKind::MaxPool(pool) => Some(window("mp", pool)),
        LayerKind::GlobalAvgPool => Some("gap".to_owned()),
        LayerKind::Add | LayerKind::Concat => Some(kind.name().to_owned()),
        LayerKind::Residual { body, .. } => {
            Some(format!("[{}]", body.iter().filter_map(brief).collect::<Vec<_>>().join("-")))
        }
        LayerKind::Flatten
        | LayerKind::BatchNorm { .. }
        | LayerKind::Relu
        | LayerKind::Clip { .. }
        | LayerKind::LeakyRelu { .. }
        | LayerKind::PRelu
        | LayerKind::Abs
        | LayerKind::Scale
        | LayerKind::Normalize { .. }
        | LayerKind::Dropout { .. }
        | LayerKind::Slice { .. }
        | LayerKind::ChannelShuffle { .. } => None,
    }
}

/// A shape for people: `1×28×28`.
pub fn shape_text(shape: &[usize]) -> String {
    let sizes: Vec<_> = shape.iter().map(ToString::to_string).collect();
    sizes.join("×")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::Source;
    use LayerKind::{AvgPool, BatchNorm, Dense, Dropout, Flatten, GlobalAvgPool, MaxPool, Relu, Residual};

    const HALVE: Window = Window::square(2, 2);
    const NORM: LayerKind = BatchNorm { epsilon: 1e-5 };

    fn conv(channels: usize, kernel: usize, stride: usize, padding: usize) -> LayerKind {
        LayerKind::Conv2d(Conv2d::square(channels, kernel, stride, padding))
    }

    fn problems(kinds: &[LayerKind]) -> String {
        let problems = Architecture::new([1, 28, 28], kinds).unwrap_err();
        problems.iter().map(|p| format!("{}: {}\n", p.path.as_deref().unwrap_or("-"), p.message)).collect()
    }

    #[test]
    fn shapes_and_costs_of_an_mlp_are_those_computed_by_hand() {
        let kinds = [Flatten, Dense { units: 512 }, Relu, Dropout { rate: 0.2 }, Dense { units: 10 }];
        let network = Architecture::new([1, 28, 28], &kinds).unwrap();
        assert_eq!(network.to_string(), "784-512-10");
        assert_eq!(network.n_classes(), 10);
        assert_eq!(network.macs_per_sample(), 784 * 512 + 512 * 10);
        assert_eq!(network.n_parameters(), 784 * 512 + 512 + 512 * 10 + 10);
        let names: Vec<_> = network.populations().iter().map(|population| population.name.as_str()).collect();
        assert_eq!(names, ["dense 1", "dense 2"]);
    }

    #[test]
    fn shapes_and_costs_of_a_cnn_are_those_computed_by_hand() {
        let depthwise = LayerKind::Conv2d(Conv2d { groups: 16, bias: false, ..Conv2d::square(16, 3, 2, 1) });
        let kinds = [
            conv(16, 5, 1, 2),
            NORM,
            Relu,
            MaxPool(HALVE),
            depthwise,
            Relu,
            AvgPool(HALVE),
            Flatten,
            Dense { units: 10 },
        ];
        let network = Architecture::new([1, 28, 28], &kinds).unwrap();
        assert_eq!(network.to_string(), "1×28×28-16c5-mp2-16c3s2g16-ap2-10");
        let shapes: Vec<_> = network.layers().iter().map(|layer| shape_text(&layer.output)).collect();
        assert_eq!(shapes[..5], ["16×28×28", "16×28×28", "16×28×28", "16×14×14", "16×7×7"]);
        assert_eq!(shapes[5..], ["16×7×7", "16×3×3", "144", "10"]);
        assert_eq!(network.macs_per_sample(), 16 * 784 * 25 + 16 * 49 * 9 + 144 * 10);
        assert_eq!(network.n_parameters(), (16 * 25 + 16) + 32 + 16 * 9 + (1440 + 10));
        let [first, second, last] = network.populations() else { panic!("three populations") };
        assert_eq!((first.name.as_str(), first.shape, first.n_neurons()), ("conv 1", [16, 28, 28], 16 * 784));
        assert_eq!((second.connections[0].source, second.connections[0].pools.len()), (Source::of_layer(0), 1));
        assert_eq!((last.connections[0].source_shape, last.connections[0].pools.len()), ([16, 7, 7], 1));
    }

    #[test]
    fn a_residual_block_is_one_population_with_two_connections() {
        let body = || vec![conv(8, 3, 1, 1), NORM, Relu, conv(8, 3, 1, 1), NORM];
        let identity = Residual { body: body(), shortcut: Vec::new() };
        let narrow = Residual {
            body: vec![conv(4, 3, 2, 1), NORM, Relu, conv(4, 3, 1, 1)],
            shortcut: vec![conv(4, 1, 2, 0), NORM],
        };
        let kinds = [conv(8, 3, 1, 1), NORM, Relu, identity, Relu, narrow, Relu, GlobalAvgPool, Dense { units: 10 }];
        let network = Architecture::new([3, 8, 8], &kinds).unwrap();
        assert_eq!(network.to_string(), "3×8×8-8c3-[8c3-8c3]-[4c3s2-4c3]-gap-10");
        let populations = network.populations();
        let names: Vec<_> = populations.iter().map(|population| population.name.as_str()).collect();
        assert_eq!(names, ["conv 1", "conv 2", "residual 3", "conv 4", "residual 5", "dense 6"]);
        let sources: Vec<Vec<usize>> = populations
            .iter()
            .map(|p| p.connections.iter().map(|connection| connection.source.index()).collect())
            .collect();
        assert_eq!(sources, [vec![0], vec![1], vec![2, 1], vec![3], vec![4, 3], vec![5]]);
        assert_eq!(populations[2].connections[1].weights, crate::population::Weights::Identity);
        assert!(network.tensors().contains(&("5.shortcut.1.running_var".to_owned(), vec![4])));
        let at = |size: u64| size * size;
        let expected = 8 * 27 * 64 + 2 * 8 * 72 * 64 + 4 * at(4) * 72 + 4 * at(4) * 36 + 4 * at(4) * 8 + 40;
        assert_eq!(network.macs_per_sample(), expected);
    }

    #[test]
    fn every_misplaced_layer_is_named_at_once_with_its_remedy() {
        let text = problems(&[MaxPool(HALVE), Dense { units: 5 }, Relu, conv(10, 1, 1, 0)]);
        assert!(text.contains("0: max-pool: stands before the first weighted layer"), "{text}");
        assert!(text.contains("1: dense: its input is an image 1×14×14; put a `flatten`"), "{text}");
        assert!(text.contains("3: conv2d: its input is a vector"), "{text}");
    }

    fn sources(network: &Architecture) -> Vec<Vec<usize>> {
        let of = |p: &Population| p.connections.iter().map(|connection| connection.source.index()).collect();
        network.populations().iter().map(of).collect()
    }

    #[test]
    fn layers_without_an_activation_between_become_one_connection() {
        let depthwise = LayerKind::Conv2d(Conv2d { groups: 4, ..Conv2d::square(4, 3, 2, 1) });
        let kinds = [conv(4, 1, 1, 0), depthwise, NORM, conv(6, 1, 1, 0), Relu, GlobalAvgPool, Dense { units: 3 }];
        let network = Architecture::new([2, 8, 8], &kinds).unwrap();
        assert_eq!(sources(&network), [vec![0], vec![1]]);
        // 4·2 + 4·9 + 6·4 + 3·6, and 6·2·9 + 3·6.
        assert_eq!(network.n_weights(), [86, 126]);
        let kernel = network.populations()[0].connections[0].kernel;
        assert_eq!(kernel, crate::kernel::Kernel::square([2, 8, 8], 6, 3, 2, 1, 1));
    }

    #[test]
    fn two_branches_side_by_side_are_two_populations_read_by_two_connections() {
        let entry = |kind, name: &str, from: &[&str]| Entry {
            kind,
            name: (!name.is_empty()).then(|| name.to_owned()),
            from: from.iter().map(|&from| from.to_owned()).collect(),
        };
        let entries = [
            entry(conv(2, 3, 1, 1), "a", &["input"]),
            entry(conv(3, 1, 1, 0), "b", &["input"]),
            entry(LayerKind::Concat, "", &["a", "b"]),
            entry(Relu, "c", &[]),
            entry(LayerKind::Slice { start: 1, end: 4 }, "", &[]),
            entry(GlobalAvgPool, "", &[]),
            entry(Dense { units: 3 }, "", &[]),
        ];
        let network = Architecture::of_entries([1, 4, 4], None, &entries).unwrap();
        assert_eq!(sources(&network), [vec![0], vec![0], vec![1, 2]]);
        let [a, b, _] = network.populations() else { panic!("three populations") };
        assert_eq!((a.shape, a.stands_for.channels.as_deref()), ([2, 4, 4], Some(&[0, 1][..])));
        assert_eq!((b.shape, b.stands_for.channels.as_deref()), ([3, 4, 4], Some(&[2, 3, 4][..])));
        assert_eq!(network.tensors()[0].0, "a.weight");
    }

    #[test]
    fn activations_with_two_sides_are_two_populations() {
        let kinds = |activation| [Flatten, Dense { units: 4 }, activation, Dense { units: 3 }];
        let halves = |activation: LayerKind| {
            let network = Architecture::new([1, 2, 2], &kinds(activation)).unwrap();
            let of = |p: &Population| (p.stands_for.sign, p.stands_for.floor, p.stands_for.ceiling);
            network.populations().iter().filter(|p| !p.stands_for.is_logit).map(of).collect::<Vec<_>>()
        };
        let open = f64::INFINITY;
        assert_eq!(halves(LayerKind::Clip { low: 0.0, high: 6.0 }), [(1.0, 0.0, 6.0)]);
        assert_eq!(halves(LayerKind::Clip { low: -1.0, high: 2.0 }), [(1.0, 0.0, 2.0), (-1.0, 0.0, 1.0)]);
        assert_eq!(halves(LayerKind::Clip { low: 1.0, high: 3.0 }), [(1.0, 1.0, 2.0)]);
        assert_eq!(halves(LayerKind::Clip { low: -3.0, high: -1.0 }), [(-1.0, 1.0, 2.0)]);
        assert_eq!(halves(LayerKind::LeakyRelu { slope: 0.1 }), [(1.0, 0.0, open), (-1.0, 0.0, open)]);
        assert_eq!(halves(LayerKind::Abs), [(1.0, 0.0, open), (-1.0, 0.0, open)]);
    }

    #[test]
    fn what_is_done_to_samples_stands_before_the_first_layer_and_is_no_layer_of_the_configuration() {
        let plain = Architecture::new([2, 2, 2], &[Flatten, Dense { units: 3 }]).unwrap();
        let seeing = plain.seeing(&[[2.0, -1.0], [0.5, 0.25]]).unwrap();
        let first = &seeing.graph().nodes()[0].kind;
        assert_eq!(*first, LayerKind::Normalize { mean: vec![0.5, -0.5], deviation: vec![0.5, 2.0] });
        assert_eq!((seeing.entries(), seeing.tensors()), (plain.entries(), plain.tensors()));
        assert_eq!(seeing.seeing(&[[1.0, 0.0]; 2]).unwrap(), plain);
    }

    #[test]
    fn names_that_lead_nowhere_are_refused() {
        let entry = |kind, name: Option<&str>, from: &[&str]| Entry {
            kind,
            name: name.map(str::to_owned),
            from: from.iter().map(|&from| from.to_owned()).collect(),
        };
        let entries = [
            entry(Flatten, Some("flat"), &["inptu"]),
            entry(Dense { units: 3 }, Some("flat"), &[]),
            entry(Dense { units: 3 }, Some("b"), &["flat"]),
            entry(Dense { units: 3 }, None, &["flat"]),
        ];
        let problems = Architecture::of_entries([1, 2, 2], None, &entries).unwrap_err();
        let text: String =
            problems.iter().map(|p| format!("{}: {}\n", p.path.as_deref().unwrap_or("-"), p.message)).collect();
        assert!(
            text.contains("flat: flatten: reads `inptu`, which no layer before it is named; named are `input`"),
            "{text}"
        );
        assert!(text.contains("flat: dense: another layer has the name `flat`"), "{text}");
        assert!(text.contains("b: dense: no layer reads it"), "{text}");
    }

    #[test]
    fn layers_that_cannot_be_converted_exactly_are_refused_by_name_with_their_remedy() {
        let end = [Flatten, Dense { units: 10 }];
        let with_end = |kinds: &[LayerKind]| problems(&[kinds, &end].concat());
        let cases = [
            (with_end(&[MaxPool(HALVE)]), "0: max-pool: stands before the first weighted layer"),
            (
                with_end(&[conv(2, 3, 1, 1), Relu, AvgPool(HALVE), MaxPool(HALVE)]),
                "3: max-pool: follows an average pool, and there is no exact rule",
            ),
            (
                with_end(&[conv(2, 3, 1, 1), MaxPool(HALVE), Relu]),
                "1: max-pool: stands between a layer and its activation; put the `relu` right before the pool: the network computes the \
                 same if nothing that multiplies by numbers below zero",
            ),
            (
                problems(&[conv(10, 27, 1, 0)]),
                "0: conv2d: is the last layer, and gives images of 2×2; end with one number",
            ),
            (problems(&[Flatten]), "0: flatten: is the last layer, and there is none with weights; end with a `dense`"),
            (
                with_end(&[conv(2, 3, 1, 1), conv(2, 3, 1, 1), Relu]),
                "1: conv2d: pads what a layer with a kernel of more",
            ),
            (
                with_end(&[conv(2, 31, 1, 0), Relu]),
                "0: conv2d: kernel 31 exceeds its 28×28 input; use kernel ≤ 28 or padding ≥ 2",
            ),
            (
                with_end(&[conv(2, 3, 1, 1), Relu, MaxPool(Window { padding: [2; 4], ..HALVE })]),
                "2: max-pool: padding 2 is not below kernel 2, so some windows see no input; use a smaller padding",
            ),
            (with_end(&[AvgPool(Window::square(29, 1))]), "0: avg-pool: kernel 29 exceeds its 28×28 input"),
            (with_end(&[Flatten, conv(2, 3, 1, 1), Relu]), "1: conv2d: its input is a vector"),
            (
                with_end(&[LayerKind::Conv2d(Conv2d { groups: 2, ..Conv2d::square(4, 3, 1, 1) }), Relu]),
                "0: conv2d: groups 2 does not divide both 1 input and 4 output channels",
            ),
            (
                with_end(&[Residual { body: vec![conv(2, 3, 1, 1)], shortcut: Vec::new() }, Relu]),
                "0: residual: body gives 2×28×28 but shortcut 1×28×28",
            ),
            (with_end(&[conv(1, 3, 1, 1), Relu, LayerKind::Add]), "2: add: reads one layer; it takes two or more"),
            (with_end(&[LayerKind::Slice { start: 0, end: 2 }]), "0: slice: channels 0 to 2 of 1; use"),
            (with_end(&[LayerKind::ChannelShuffle { groups: 2 }]), "0: channel-shuffle: groups 2 does not divide"),
        ];
        for (text, expected) in cases {
            assert!(text.starts_with(expected), "expected {expected}\nfound {text}");
        }
    }

    #[test]
    fn a_convolution_may_pad_by_more_than_its_kernel() {
        let layers = [conv(2, 3, 1, 5), Relu, Flatten, Dense { units: 10 }];
        let architecture = Architecture::new([1, 28, 28], &layers).unwrap();
        assert_eq!(architecture.populations()[0].shape, [2, 36, 36]);
    }

    #[test]
    fn a_network_without_layers_is_refused() {
        assert!(problems(&[]).contains("no layers"));
    }

    #[test]
    fn a_layer_too_large_to_hold_is_refused() {
        assert!(problems(&[Flatten, Dense { units: usize::MAX }]).contains("exceed"));
        assert!(problems(&[conv(usize::MAX, 3, 1, 1), Relu]).contains("exceed"));
    }
}
