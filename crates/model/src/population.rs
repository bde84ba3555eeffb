//! Graph → populations of neurons and the connections between them.
//!
//! A population stands where the trained network has a rectifying activation, and at its logits. All that lies between two
//! populations is affine: it is composed, exactly, into connections, whose currents add, and a bias. What has no exact counterpart is
//! refused here, by name and with a remedy: nothing is left out silently.
//!
//! Structure only: which weights are multiplied is said by [`Weights`]; the numbers come with the trained tensors. Biases are not
//! followed here at all: the bias of a neuron is what the trained network computes there while every population is silent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::architecture::{Architecture, LayerKind, LayerProblem};
use crate::graph::{Graph, Node, Operand, Problem};
pub use crate::kernel::Pool;
use crate::kernel::{Axis, Kernel};

/// Most weights that layers without an activation between them may be composed to.
const MAX_COMPOSED: usize = 1 << 26;
/// Where a connection comes from: the network's input, or one of its layers of neurons.
///
/// Sources are numbered, the input first: what is there for each of them (spike trains, names of recorded arrays) stands in a list by
/// [`Source::index`], and files hold that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Source(usize);

impl Source {
    /// The network's input.
    pub const INPUT: Self = Self(0);

    /// A layer of the spiking network, or a population, by its index from 0.
    pub const fn of_layer(layer: usize) -> Self {
        Self(layer + 1)
    }

    /// The source of an index in a list of all of them, the input's being 0.
    pub const fn from_index(index: usize) -> Self {
        Self(index)
    }

    /// The layer's index from 0; `None` for the input.
    pub const fn layer(self) -> Option<usize> {
        self.0.checked_sub(1)
    }

    /// Index in a list of all sources: 0 for the input, then the layers in order.
    pub const fn index(self) -> usize {
        self.0
    }
}

impl fmt::Display for Source {
    /// Its number in files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Neurons of one layer, all of them alike but for their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// Name for people, numbered from 1: `conv 1`, `residual 4`, `dense 5`.
    pub name: String,
    /// `[C, H, W]`; a vector of n is `[n, 1, 1]`.
    pub shape: [usize; 3],
    /// Where its input current comes from. None for neurons that their bias alone drives.
    pub connections: Vec<Connection>,
    /// What its rates stand for.
    pub stands_for: StandsFor,
}

impl Population {
    /// Number of neurons.
    pub fn n_neurons(&self) -> usize {
        self.shape.iter().product()
    }

    /// The largest value that its neurons stand for, in units of the trained network; infinite where there is none.
    pub fn ceiling(&self) -> f64 {
        self.stands_for.ceiling
    }
}

/// A number of the trained network that the rate of each neuron of a population stands for:
/// `min(max(0, sign·x − floor), ceiling)` of the input x of an activation, or the logits themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct StandsFor {
    /// Index of the activation in the graph, or of the last node.
    pub node: usize,
    /// Whether it is the logits: no rectifier.
    pub is_logit: bool,
    /// −1 for neurons that stand for what lies below zero (OFF), else 1.
    pub sign: f64,
    /// What is taken off before rectification.
    pub floor: f64,
    /// Where it saturates; infinite for a `relu`.
    pub ceiling: f64,
    /// Indices along the first dimension of the activation's input (channels of an image, features of a vector) that the neurons
    /// stand for, in the population's order; `None` for all of them in order.
    pub channels: Option<Vec<usize>>,
}

/// Synapses from one population, or the input, onto another.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// The population, or the input.
    pub source: Source,
    /// Shape `[C, H, W]` of the source.
    pub source_shape: [usize; 3],
    /// What happens to the source's spikes on the way, in order: max pools first, then average pools.
    pub pools: Vec<Pool>,
    /// Where they go from there.
    pub kernel: Kernel,
    /// The weights of the kernel, before an average pool's divisor.
    pub weights: Weights,
}

impl Connection {
    fn spikes(source: Source, source_shape: [usize; 3]) -> Self {
        let kernel = Kernel::identity(source_shape);
        Self { source, source_shape, pools: Vec::new(), kernel, weights: Weights::Identity }
    }

    /// Shape of the spikes behind the pools.
    pub fn pooled_shape(&self) -> [usize; 3] {
        self.pools.iter().fold(self.source_shape, |shape, pool| pool.output(shape))
    }
}

/// What a pool takes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolKind {
    /// The mean.
    Mean,
    /// The largest.
    Max,
}

/// The weights of a kernel, as products of the trained network's tensors.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// Ones, one for each channel.
    Identity,
    /// The stored weights of a layer: the tensor `NODE.weight`.
    Stored {
        /// Name of the node.
        node: String,
    },
    /// The same number everywhere: the slope of an activation, or the share of each input in the mean of a window.
    Uniform(f64),
    /// Weights with the rows of each output channel multiplied.
    Scaled {
        /// The weights.
        of: Box<Weights>,
        /// The factors.
        by: Factors,
        /// Index of each output channel's factor; `None` for its own.
        channels: Option<Vec<usize>>,
    },
    /// Some output channels of weights.
    Rows {
        /// The kernel of the weights.
        kernel: Kernel,
        /// The weights.
        of: Box<Weights>,
        /// The channels, in order.
        rows: Vec<usize>,
    },
    /// Weights as rows among others, which are zero.
    Spread {
        /// The kernel of the weights.
        kernel: Kernel,
        /// The weights.
        of: Box<Weights>,
        /// Output channel of each row.
        rows: Vec<usize>,
    },
    /// Some input channels of weights: those of a part of what a layer reads.
    Columns {
        /// The kernel of the weights.
        kernel: Kernel,
        /// The weights.
        of: Box<Weights>,
        /// For each input channel of the part, the channels of the whole that read it.
        columns: Vec<Vec<usize>>,
    },
    /// One affine layer behind another.
    Composed {
        /// The kernel of the second.
        outer_kernel: Kernel,
        /// The weights of the second.
        outer: Box<Weights>,
        /// The kernel of the first.
        inner_kernel: Kernel,
        /// The weights of the first.
        inner: Box<Weights>,
    },
}

/// Factors of channels.
#[derive(Debug, Clone, PartialEq)]
pub enum Factors {
    /// `γ/√(σ² + ε)` of a batch norm.
    BatchNorm {
        /// Name of the node.
        node: String,
        /// Added to the variance.
        epsilon: f64,
    },
    /// The tensor `NODE.weight` of a `scale` layer.
    Scale {
        /// Name of the node.
        node: String,
    },
    /// Minus the tensor `NODE.weight`, of a `prelu` layer.
    MinusSlope {
        /// Name of the node.
        node: String,
    },
    /// These numbers.
    Numbers(Vec<f64>),
}

/// The kernel of one kernel behind another; `None` where no kernel without the borders of the image does the same.
pub fn composed(outer: &Kernel, inner: &Kernel) -> Option<Kernel> {
    if outer.input != inner.output() && outer.input[1..] != [1; 2] {
        return None;
    }
    // A fully connected layer behind an image: the whole of what is before it, unless that is pointwise.
    if outer.input != inner.output() {
        return (outer.is_dense() && inner.is_pointwise()).then(|| Kernel::dense(inner.n_in(), outer.channels));
    }
    let groups = match (outer.groups, inner.groups) {
        (a, b) if a == b => a,
        (_, b) if is_depthwise(outer) => b,
        (a, _) if is_depthwise(inner) => a,
        _ => 1,
    };
    let axes = [0, 1].map(|dimension| composed_axis(outer.axis(dimension), inner.axis(dimension)));
    let [Some(down), Some(across)] = axes else { return None };
    Some(Kernel {
        input: inner.input,
        channels: outer.channels,
        size: [down.size, across.size],
        stride: [down.stride, across.stride],
        padding: [down.padding[0], across.padding[0], down.padding[1], across.padding[1]],
        dilation: [down.dilation, across.dilation],
        groups,
    })
}

/// Whether each output channel reads one channel, its own.
fn is_depthwise(kernel: &Kernel) -> bool {
    kernel.groups == kernel.channels && kernel.groups == kernel.input[0]
}

fn composed_axis(outer: Axis, inner: Axis) -> Option<Axis> {
    let padding = if outer.padding == [0; 2] {
        inner.padding
    } else if inner.size == 1 && inner.padding == [0; 2] {
        // Zeros of the padding are what a kernel of one tap makes of zeros.
        let behind = (outer.n - 1 + outer.padding[1]) * inner.stride + 1;
        [outer.padding[0] * inner.stride, behind.saturating_sub(inner.n)]
    } else {
        return None;
    };
    let (size, dilation) = match (outer.size, inner.size) {
        (1, size) => (size, inner.dilation),
        (size, 1) => (size, outer.dilation * inner.stride),
        _ => ((outer.extent() - 1) * inner.stride + inner.extent(), 1),
    };
    let axis = Axis { n: inner.n, size, stride: outer.stride * inner.stride, padding, dilation };
    // Rows behind the last window of the first layer that the second sees: as many windows, no more.
    (axis.n_windows() == outer.n_windows()).then_some(axis)
}

/// The populations of a graph, in the order of computation, the logits last.
///
/// # Errors
/// Every layer that has no exact counterpart in a spiking network, not the first only.
pub fn populations(graph: &Graph) -> Result<Vec<Population>, Vec<LayerProblem>> {
    let (populations, problems) = lowered(graph);
    if problems.is_empty() {
        return Ok(populations);
    }
    Err(problems.into_iter().map(|(_, problem)| problem).collect())
}

/// The populations as far as they go, and what cannot be expressed.
pub(crate) fn lowered(graph: &Graph) -> (Vec<Population>, Vec<Problem>) {
    let input = Signal::whole(None, Part::spikes(Source::INPUT, graph.input()));
    let size = |node: &Node| node.output.iter().copied().fold(1, usize::saturating_mul);
    if graph.nodes().iter().any(|node| size(node) > Architecture::MAX_OUTPUTS) {
        // Refused with the shapes.
        return (Vec::new(), Vec::new());
    }
    let mut lowering = Lowering { graph, input, signals: Vec::new(), populations: Vec::new(), problems: Vec::new() };
    for (idx, node) in graph.nodes().iter().enumerate() {
        let signal = lowering.signal(idx, node);
        lowering.signals.push(signal);
    }
    lowering.logits();
    (lowering.populations, lowering.problems)
}

/// What a node gives, channel by channel out of parts, each of which comes from other populations.
#[derive(Debug, Clone)]
struct Signal {
    /// What made the currents; `None` for spikes and what is made of them alone.
    by: Option<&'static str>,
    parts: Vec<Part>,
    /// Part and channel within it of each channel.
    channels: Vec<(usize, usize)>,
}

/// Channels with the same sources.
#[derive(Debug, Clone)]
struct Part {
    /// `[C, H, W]`. Where it is flattened, a channel is the features of all its positions.
    shape: [usize; 3],
    /// What adds up to it.
    terms: Vec<Connection>,
    /// Whether it is the spikes of one population, maybe behind pools: then nothing in it is negative.
    is_spikes: bool,
}

impl Part {
    fn spikes(source: Source, shape: [usize; 3]) -> Self {
        Self { shape, terms: vec![Connection::spikes(source, shape)], is_spikes: true }
    }

    /// Some of its channels, in order.
    fn rows(&self, rows: &[usize]) -> Self {
        if rows.iter().copied().eq(0..self.shape[0]) {
            return self.clone();
        }
        let [_, height, width] = self.shape;
        let terms = self.terms.iter().map(|term| {
            // A subset of channels that each read one is a kernel that reads all, with zeros.
            let kernel = Kernel { channels: rows.len(), groups: 1, ..term.kernel };
            let of = Box::new(term.weights.clone());
            let weights = Weights::Rows { kernel: term.kernel, of, rows: rows.to_vec() };
            Connection { kernel, weights, ..term.clone() }
        });
        Self { shape: [rows.len(), height, width], terms: terms.collect(), is_spikes: false }
    }

    /// Its channels multiplied.
    ///
    /// - `channels`: index of the factor of each
    fn scaled(&self, by: &Factors, channels: &[usize]) -> Self {
        let channels = (!channels.iter().copied().eq(0..self.shape[0])).then(|| channels.to_vec());
        let scale = |term: &Connection| {
            let of = Box::new(term.weights.clone());
            let weights = Weights::Scaled { of, by: by.clone(), channels: channels.clone() };
            Connection { weights, ..term.clone() }
        };
        Self { shape: self.shape, terms: self.terms.iter().map(scale).collect(), is_spikes: false }
    }

    /// With a channel for each feature.
    fn flat(&self) -> Result<Self, String> {
        let n: usize = self.shape.iter().product();
        if self.shape[1..] == [1; 2] {
            return Ok(self.clone());
        }
        let flat = |term: &Connection| {
            if term.weights == Weights::Identity {
                return Ok(Connection { kernel: Kernel::identity([n, 1, 1]), ..term.clone() });
            }
            behind(Kernel::identity([n, 1, 1]), Weights::Identity, term, self.shape)
        };
        let terms = self.terms.iter().map(flat).collect::<Result<_, _>>()?;
        Ok(Self { shape: [n, 1, 1], terms, is_spikes: self.is_spikes })
    }
}

/// A layer behind a term.
///
/// - `shape`: of what the term gives
fn behind(kernel: Kernel, weights: Weights, term: &Connection, shape: [usize; 3]) -> Result<Connection, String> {
    if term.weights == Weights::Identity {
        return Ok(Connection { kernel, weights, ..term.clone() });
    }
    let result = match composed(&kernel, &term.kernel) {
        Some(kernel) => kernel,
        None if kernel.output()[1..] == [1; 2] => Kernel::dense(term.kernel.n_in(), kernel.channels),
        None => {
            return Err("pads what a layer with a kernel of more than one tap gives, with no activation between, so that borders \
                        would need weights of their own; put a `relu` between the two, or pad the first of them"
                .to_owned());
        }
    };
    let n = result.row_len().saturating_mul(result.channels);
    if n > MAX_COMPOSED {
        return Err(format!(
            "with what is before it, it would be one layer of {n} weights, more than the {MAX_COMPOSED} that are supported ({}×{}×{} \
             inputs); put a `relu` between the two",
            shape[0], shape[1], shape[2]
        ));
    }
    let weights = Weights::Composed {
        outer_kernel: kernel,
        outer: Box::new(weights),
        inner_kernel: term.kernel,
        inner: Box::new(term.weights.clone()),
    };
    Ok(Connection { kernel: result, weights, ..term.clone() })
}

impl Signal {
    fn whole(by: Option<&'static str>, part: Part) -> Self {
        let channels = (0..part.shape[0]).map(|channel| (0, channel)).collect();
        Self { by, parts: vec![part], channels }
    }

    fn none(by: &'static str, shape: &[usize]) -> Self {
        Self::whole(Some(by), Part { shape: image_of(shape), terms: Vec::new(), is_spikes: false })
    }

    /// Whether it is one part, all of its channels in order.
    fn is_whole(&self) -> bool {
        let in_order = self.channels.iter().enumerate().all(|(at, &(_, channel))| at == channel);
        self.parts.len() == 1 && self.parts[0].shape[0] == self.channels.len() && in_order
    }

    fn is_spikes(&self) -> bool {
        self.parts.iter().all(|part| part.is_spikes)
    }

    /// For each part, the channels of the signal that are in it, by the part's channel.
    fn members(&self) -> Vec<Vec<Vec<usize>>> {
        let mut members: Vec<Vec<Vec<usize>>> = self.parts.iter().map(|part| vec![Vec::new(); part.shape[0]]).collect();
        for (at, &(part, channel)) in self.channels.iter().enumerate() {
            members[part][channel].push(at);
        }
        members
    }

    /// Without the parts that none of its channels is in.
    fn pruned(self) -> Self {
        let used = |idx: &usize| self.channels.iter().any(|(part, _)| part == idx);
        let kept: Vec<usize> = (0..self.parts.len()).filter(used).collect();
        let place = |idx: usize| kept.iter().position(|kept| *kept == idx).expect("a part with channels is kept");
        let channels = self.channels.iter().map(|&(part, channel)| (place(part), channel)).collect();
        let parts = kept.iter().map(|&idx| self.parts[idx].clone()).collect();
        Self { by: self.by, parts, channels }
    }

    /// With one channel per feature, as a vector's.
    fn flat(&self) -> Result<Self, String> {
        let parts = self.parts.iter().map(Part::flat).collect::<Result<Vec<_>, _>>()?;
        let spans: Vec<usize> = self.parts.iter().map(|part| part.shape[1] * part.shape[2]).collect();
        let features = |&(part, channel): &(usize, usize)| {
            (channel * spans[part]..(channel + 1) * spans[part]).map(move |at| (part, at))
        };
        Ok(Self { by: self.by, parts, channels: self.channels.iter().flat_map(features).collect() })
    }

    /// One part for all channels, in order.
    fn merged(&self) -> Self {
        if self.is_whole() {
            return self.clone();
        }
        let members = self.members();
        let [_, height, width] = self.parts[0].shape;
        let n = self.channels.len();
        let mut terms = Vec::new();
        for (part, members) in self.parts.iter().zip(&members) {
            let (rows, to) = uses(members);
            for term in part.rows(&rows).terms {
                let kernel = Kernel { channels: n, groups: 1, ..term.kernel };
                let weights = Weights::Spread { kernel: term.kernel, of: Box::new(term.weights), rows: to.clone() };
                terms.push(Connection { kernel, weights, ..term });
            }
        }
        Self::whole(self.by, Part { shape: [n, height, width], terms, is_spikes: false })
    }

    /// The sum of two signals of the same shape.
    fn plus(&self, other: &Self) -> Result<Self, String> {
        let spans = |signal: &Self| signal.parts.iter().map(|part| [part.shape[1], part.shape[2]]).collect::<Vec<_>>();
        let (mine, theirs) = (spans(self), spans(other));
        if mine.iter().chain(&theirs).any(|span| *span != mine[0]) {
            return self.flat()?.plus(&other.flat()?);
        }
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let mut rows: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
        let mut channels = Vec::with_capacity(self.channels.len());
        for (&(mine, a), &(theirs, b)) in self.channels.iter().zip(&other.channels) {
            let pair = pairs.iter().position(|pair| *pair == (mine, theirs)).unwrap_or_else(|| {
                pairs.push((mine, theirs));
                rows.push((Vec::new(), Vec::new()));
                pairs.len() - 1
            });
            channels.push((pair, rows[pair].0.len()));
            rows[pair].0.push(a);
            rows[pair].1.push(b);
        }
        let parts = pairs.iter().zip(&rows).map(|(&(mine, theirs), (a, b))| {
            let (mut part, more) = (self.parts[mine].rows(a), other.parts[theirs].rows(b));
            part.terms.extend(more.terms);
            part.is_spikes = false;
            part
        });
        Ok(Self { by: None, parts: parts.collect(), channels })
    }
}

/// Channels in the order of a channel shuffle.
///
/// - `n`: number of channels, a multiple of `groups`
pub fn shuffled(n: usize, groups: usize) -> impl Iterator<Item = usize> {
    let per_group = n / groups;
    (0..per_group).flat_map(move |at| (0..groups).map(move |group| group * per_group + at))
}

/// `[C, H, W]` of an image, or `[n, 1, 1]` of a vector.
pub fn image_of(shape: &[usize]) -> [usize; 3] {
    if let [c, h, w] = shape[..] { [c, h, w] } else { [shape.iter().product(), 1, 1] }
}

/// A half of an activation: the rectifier that stands for what is above zero, or below.
struct Half {
    sign: f64,
    floor: f64,
    ceiling: f64,
    /// What it is multiplied by in the activation's output.
    factor: Weighted,
}

enum Weighted {
    By(f64),
    MinusSlope,
}

/// Goes through the nodes and collects populations and problems.
struct Lowering<'a> {
    graph: &'a Graph,
    input: Signal,
    /// Of the nodes so far.
    signals: Vec<Signal>,
    populations: Vec<Population>,
    problems: Vec<Problem>,
}

impl Lowering<'_> {
    fn signal(&mut self, idx: usize, node: &Node) -> Signal {
        let inputs: Vec<Signal> = node.inputs.iter().map(|&operand| self.of(operand).clone()).collect();
        match self.made(idx, node, inputs) {
            Ok(signal) => signal,
            Err(message) => {
                self.refuse(idx, format!("{}: {message}", node.layer()));
                // As if it were there, so that this is said once.
                Signal::none(node.layer(), &node.output)
            }
        }
    }

    fn made(&mut self, idx: usize, node: &Node, inputs: Vec<Signal>) -> Result<Signal, String> {
        let name = || node.name.clone();
        let mut inputs = inputs.into_iter();
        let signal = inputs.next().expect("every node reads something");
        match &node.kind {
            LayerKind::Flatten | LayerKind::Dropout { .. } => Ok(signal),
            LayerKind::Dense { units } => {
                let features = self.graph.shape(node.inputs[0]).iter().product();
                let kernel = Kernel::dense(features, *units);
                weighted(&signal, "dense", kernel, &Weights::Stored { node: name() })
            }
            LayerKind::Conv2d(conv) => {
                let image = image_of(self.graph.shape(node.inputs[0]));
                if node.output.contains(&0)
                    || !image[0].is_multiple_of(conv.groups)
                    || conv.on(image).output()[1..] != node.output[1..]
                {
                    // Refused with the shapes.
                    return Ok(Signal::none("conv2d", &node.output));
                }
                weighted(&signal, "conv2d", conv.on(image), &Weights::Stored { node: name() })
            }
            LayerKind::BatchNorm { epsilon } => scaled(
                &signal,
                self.graph.shape(node.inputs[0]),
                &Factors::BatchNorm { node: name(), epsilon: *epsilon },
            ),
            LayerKind::Scale => scaled(&signal, self.graph.shape(node.inputs[0]), &Factors::Scale { node: name() }),
            LayerKind::Normalize { deviation, .. } => {
                let factors = Factors::Numbers(deviation.iter().map(|deviation| deviation.recip()).collect());
                scaled(&signal, self.graph.shape(node.inputs[0]), &factors)
            }
            LayerKind::Relu if signal.is_spikes() => Ok(signal),
            LayerKind::Relu
            | LayerKind::Clip { .. }
            | LayerKind::LeakyRelu { .. }
            | LayerKind::PRelu
            | LayerKind::Abs => self.activation(idx, node, &signal),
            LayerKind::AvgPool(window) => mean(&signal, window.pool(PoolKind::Mean)),
            LayerKind::GlobalAvgPool => {
                let [_, height, width] = image_of(self.graph.shape(node.inputs[0]));
                mean(&signal, Pool::new(PoolKind::Mean, [height, width], [height, width]))
            }
            LayerKind::MaxPool(window) => max(signal, window.pool(PoolKind::Max)),
            LayerKind::Add => {
                let mut sum = inputs.try_fold(signal, |sum, signal| sum.plus(&signal))?;
                sum.by = Some(node.layer());
                Ok(sum)
            }
            LayerKind::Concat => Ok(concatenated(std::iter::once(signal).chain(inputs))),
            LayerKind::Slice { start, end } => {
                let mut signal = if node.output.len() == 1 { signal.flat()? } else { signal };
                let n = signal.channels.len();
                signal.channels = signal.channels[(*start).min(n)..(*end).min(n)].to_vec();
                Ok(signal.pruned())
            }
            LayerKind::ChannelShuffle { groups } => {
                let mut signal = if node.output.len() == 1 { signal.flat()? } else { signal };
                let order = shuffled(signal.channels.len(), *groups);
                signal.channels = order.map(|at| signal.channels[at]).collect();
                Ok(signal)
            }
            LayerKind::Residual { .. } => unreachable!("a residual block is several nodes"),
        }
    }

    fn of(&self, operand: Operand) -> &Signal {
        match operand {
            Operand::Input => &self.input,
            Operand::Node(idx) => &self.signals[idx],
        }
    }

    fn refuse(&mut self, idx: usize, message: String) {
        let path = Some(self.graph.nodes()[idx].name.clone());
        self.problems.push((idx, LayerProblem { path, message }));
    }

    /// Makes populations of currents, one or two for each part.
    fn activation(&mut self, idx: usize, node: &Node, signal: &Signal) -> Result<Signal, String> {
        let rectifier = |sign, ceiling, factor| Half { sign, floor: 0.0, ceiling, factor: Weighted::By(factor) };
        let halves = match node.kind {
            LayerKind::Relu => vec![rectifier(1.0, f64::INFINITY, 1.0)],
            LayerKind::Clip { low, high } if low >= 0.0 => {
                vec![Half { floor: low, ..rectifier(1.0, high - low, 1.0) }]
            }
            LayerKind::Clip { low, high } if high <= 0.0 => {
                vec![Half { floor: -high, ..rectifier(-1.0, high - low, -1.0) }]
            }
            LayerKind::Clip { low, high } => vec![rectifier(1.0, high, 1.0), rectifier(-1.0, -low, -1.0)],
            LayerKind::LeakyRelu { slope } => {
                vec![rectifier(1.0, f64::INFINITY, 1.0), rectifier(-1.0, f64::INFINITY, -slope)]
            }
            LayerKind::PRelu => vec![
                rectifier(1.0, f64::INFINITY, 1.0),
                Half { factor: Weighted::MinusSlope, ..rectifier(-1.0, f64::INFINITY, 0.0) },
            ],
            LayerKind::Abs => vec![rectifier(1.0, f64::INFINITY, 1.0), rectifier(-1.0, f64::INFINITY, 1.0)],
            _ => unreachable!("{} is no activation", node.kind.name()),
        };
        // Factors of single features need a channel for each of them.
        let own_slopes = matches!(node.kind, LayerKind::PRelu) && node.output.len() == 1;
        let signal = &if own_slopes { signal.flat()? } else { signal.clone() };
        let by = signal.by.unwrap_or(node.layer());
        let members = signal.members();
        let mut parts = Vec::with_capacity(signal.parts.len());
        let mut places = vec![Vec::new(); signal.parts.len()];
        for (at, (part, members)) in signal.parts.iter().zip(&members).enumerate() {
            let used: Vec<usize> = (0..part.shape[0]).filter(|&channel| !members[channel].is_empty()).collect();
            places[at] = vec![usize::MAX; part.shape[0]];
            used.iter().enumerate().for_each(|(place, &channel)| places[at][channel] = place);
            let whole: Vec<usize> = used.iter().map(|&channel| members[channel][0]).collect();
            if part.is_spikes && matches!(node.kind, LayerKind::Relu) {
                places[at] = (0..part.shape[0]).collect();
                parts.push(part.clone());
                continue;
            }
            let rows = part.rows(&used);
            let first = self.indices(node, signal, part, &whole);
            let mut terms = Vec::new();
            for half in &halves {
                let source = self.population(idx, by, &rows, half, first.clone());
                let mut spikes = Connection::spikes(source, rows.shape);
                spikes.weights = match half.factor {
                    Weighted::By(1.0) => Weights::Identity,
                    Weighted::By(factor) => Weights::Uniform(factor),
                    Weighted::MinusSlope => Weights::Scaled {
                        of: Box::new(Weights::Identity),
                        by: Factors::MinusSlope { node: node.name.clone() },
                        channels: Some(whole.clone()),
                    },
                };
                terms.push(spikes);
            }
            let is_spikes = matches!(&terms[..], [term] if term.weights == Weights::Identity)
                && !matches!(node.kind, LayerKind::Clip { low, .. } if low > 0.0);
            parts.push(Part { shape: rows.shape, terms, is_spikes });
        }
        let channels = signal.channels.iter().map(|&(part, channel)| (part, places[part][channel])).collect();
        Ok(Signal { by: None, parts, channels })
    }

    /// Where some channels of a signal are along the first dimension of a node's input; `None` if they are all of it in order.
    fn indices(&self, node: &Node, signal: &Signal, part: &Part, whole: &[usize]) -> Option<Vec<usize>> {
        let n = self.graph.shape(node.inputs[0])[0];
        let span = if node.output.len() == 1 { part.shape[1] * part.shape[2] } else { 1 };
        let first = |channel: usize| if node.output.len() == 1 { feature(signal, channel) } else { channel };
        let indices: Vec<usize> = whole.iter().flat_map(|&at| (0..span).map(move |i| first(at) + i)).collect();
        (!indices.iter().copied().eq(0..n)).then_some(indices)
    }

    /// Makes a population of a part of an activation's input.
    ///
    /// - `channels`: as in [`StandsFor`]
    fn population(
        &mut self,
        node: usize,
        by: &'static str,
        part: &Part,
        half: &Half,
        channels: Option<Vec<usize>>,
    ) -> Source {
        let mut connections = part.terms.clone();
        if half.sign < 0.0 {
            for connection in &mut connections {
                let of = Box::new(std::mem::replace(&mut connection.weights, Weights::Identity));
                let minus = Factors::Numbers(vec![-1.0; connection.kernel.channels]);
                connection.weights = Weights::Scaled { of, by: minus, channels: None };
            }
        }
        let &Half { sign, floor, ceiling, .. } = half;
        let stands_for = StandsFor { node, is_logit: false, sign, floor, ceiling, channels };
        self.push(by, part.shape, connections, stands_for)
    }

    fn push(
        &mut self,
        by: &'static str,
        shape: [usize; 3],
        connections: Vec<Connection>,
        stands_for: StandsFor,
    ) -> Source {
        let kind = if by == "conv2d" { "conv" } else { by };
        let name = format!("{kind} {}", self.populations.len() + 1);
        self.populations.push(Population { name, shape, connections, stands_for });
        Source::of_layer(self.populations.len() - 1)
    }

    /// Makes a population of the last node, which gives the logits.
    fn logits(&mut self) {
        let Some((node, signal)) = self.graph.nodes().last().zip(self.signals.last().cloned()) else {
            let message = "no layers; give at least one `dense` layer".to_owned();
            self.problems.push((0, LayerProblem { path: None, message }));
            return;
        };
        // Behind what is wrong with the layer itself.
        let refuse = |message: String| (self.signals.len(), LayerProblem { path: Some(node.name.clone()), message });
        let [_, height, width] = image_of(&node.output);
        if height * width > 1 {
            let problem = refuse(format!(
                "{}: is the last layer, and gives images of {height}×{width}; end with one number per class, such as by a \
                 `dense` layer or a `global-avg-pool`",
                node.layer()
            ));
            self.problems.push(problem);
            return;
        }
        let signal = match signal.flat() {
            Ok(signal) => signal.merged(),
            Err(message) => {
                let problem = refuse(format!("{}: {message}", node.layer()));
                self.problems.push(problem);
                return;
            }
        };
        let [part] = &signal.parts[..] else { unreachable!("merged") };
        if part.terms.iter().any(|term| term.source == Source::INPUT && term.weights == Weights::Identity) {
            let problem = refuse(format!(
                "{}: is the last layer, and there is none with weights; end with a `dense` layer with one unit per class",
                node.layer()
            ));
            self.problems.push(problem);
            return;
        }
        let stands_for = StandsFor {
            node: self.signals.len() - 1,
            is_logit: true,
            sign: 1.0,
            floor: 0.0,
            ceiling: f64::INFINITY,
            channels: None,
        };
        let (shape, terms) = (part.shape, part.terms.clone());
        self.push(signal.by.unwrap_or(node.layer()), shape, terms, stands_for);
    }
}

/// A layer with weights behind a signal.
///
/// - `kernel`: of the layer, on the whole signal
fn weighted(signal: &Signal, by: &'static str, kernel: Kernel, weights: &Weights) -> Result<Signal, String> {
    // Where every channel reads its own alone, parts stay apart.
    if is_depthwise(&kernel) && !signal.is_whole() {
        return depthwise(signal, by, kernel, weights);
    }
    let signal = &if kernel.groups > 1 { signal.merged() } else { signal.clone() };
    let is_flat = kernel.is_dense();
    let mut terms = Vec::new();
    for (part, members) in signal.parts.iter().zip(signal.members()) {
        let span = part.shape[1] * part.shape[2];
        let (input, columns) = if is_flat {
            let n = part.shape[0] * span;
            let features =
                |at: usize| members[at / span].iter().map(|&whole| feature(signal, whole) + at % span).collect();
            ([n, 1, 1], (0..n).map(features).collect::<Vec<Vec<usize>>>())
        } else {
            (part.shape, members)
        };
        let all = columns.len() == kernel.input[0] && columns.iter().enumerate().all(|(at, of)| *of == [at]);
        let own = if is_flat { Kernel::dense(input[0], kernel.channels) } else { Kernel { input, ..kernel } };
        let weights =
            if all { weights.clone() } else { Weights::Columns { kernel, of: Box::new(weights.clone()), columns } };
        for term in &part.terms {
            terms.push(behind(own, weights.clone(), term, part.shape)?);
        }
    }
    Ok(Signal::whole(Some(by), Part { shape: kernel.output(), terms, is_spikes: false }))
}

/// Index of the first feature of a channel.
fn feature(signal: &Signal, channel: usize) -> usize {
    let span = |&(part, _): &(usize, usize)| signal.parts[part].shape[1] * signal.parts[part].shape[2];
    signal.channels[..channel].iter().map(span).sum()
}

/// Each use of a part's channels: the channel, and the one of the whole that it is.
fn uses(members: &[Vec<usize>]) -> (Vec<usize>, Vec<usize>) {
    members.iter().enumerate().flat_map(|(own, whole)| whole.iter().map(move |&whole| (own, whole))).unzip()
}

fn depthwise(signal: &Signal, by: &'static str, kernel: Kernel, weights: &Weights) -> Result<Signal, String> {
    let mut parts = Vec::with_capacity(signal.parts.len());
    let mut channels = vec![(0, 0); signal.channels.len()];
    for (at, (part, members)) in signal.parts.iter().zip(signal.members()).enumerate() {
        let (own, whole) = uses(&members);
        whole.iter().enumerate().for_each(|(place, &whole)| channels[whole] = (at, place));
        let rows = part.rows(&own);
        let n = own.len();
        let here = Kernel { input: rows.shape, channels: n, groups: n, ..kernel };
        // The rows of a kernel of one channel each.
        let each = Kernel { input: [1, rows.shape[1], rows.shape[2]], groups: 1, ..kernel };
        let weights = Weights::Rows { kernel: each, of: Box::new(weights.clone()), rows: whole };
        let terms = rows.terms.iter().map(|term| behind(here, weights.clone(), term, rows.shape));
        parts.push(Part { shape: here.output(), terms: terms.collect::<Result<_, _>>()?, is_spikes: false });
    }
    Ok(Signal { by: Some(by), parts, channels })
}

/// Channels of an image, or features of a vector, multiplied.
fn scaled(signal: &Signal, shape: &[usize], by: &Factors) -> Result<Signal, String> {
    let signal = if shape.len() == 1 { signal.flat()? } else { signal.clone() };
    let mut parts = Vec::with_capacity(signal.parts.len());
    let mut channels = vec![(0, 0); signal.channels.len()];
    for (at, (part, members)) in signal.parts.iter().zip(signal.members()).enumerate() {
        let (own, whole) = uses(&members);
        whole.iter().enumerate().for_each(|(place, &whole)| channels[whole] = (at, place));
        parts.push(part.rows(&own).scaled(by, &whole));
    }
    Ok(Signal { by: signal.by, parts, channels })
}

fn mean(signal: &Signal, pool: Pool) -> Result<Signal, String> {
    let mut parts = Vec::with_capacity(signal.parts.len());
    for part in &signal.parts {
        let output = pool.output(part.shape);
        if output.contains(&0) {
            // Refused with the shapes.
            return Ok(signal.clone());
        }
        let pooled = |term: &Connection| {
            // The mean of what a pointwise layer makes is what it makes of the mean; that of padding, zero, is zero.
            if term.kernel.is_pointwise() && term.kernel.input == term.pooled_shape() {
                let mut term = term.clone();
                term.pools.push(pool);
                term.kernel.input = term.pooled_shape();
                return Ok(term);
            }
            let [channels, ..] = part.shape;
            if pool.multiples(part.shape).concat().iter().all(|multiple| *multiple == 1) && !pool.ceil {
                let Pool { kernel: size, stride, padding, .. } = pool;
                let kernel =
                    Kernel { input: part.shape, channels, size, stride, padding, dilation: [1; 2], groups: channels };
                let share = (pool.divisor(part.shape) as f64).recip();
                return behind(kernel, Weights::Uniform(share), term, part.shape);
            }
            Err("its windows have different numbers of inputs, and between it and the neurons before it stands a layer \
                 with a kernel; put a `relu` between the two"
                .to_owned())
        };
        let terms = part.terms.iter().map(pooled).collect::<Result<Vec<_>, String>>()?;
        parts.push(Part { shape: output, terms, is_spikes: part.is_spikes });
    }
    Ok(Signal { parts, ..signal.clone() })
}

fn max(mut signal: Signal, pool: Pool) -> Result<Signal, String> {
    for part in &mut signal.parts {
        let output = pool.output(part.shape);
        if output.contains(&0) {
            return Ok(signal);
        }
        let [term] = &mut part.terms[..] else {
            return Err(
                "reads no spikes of one population; put it right behind a `relu` (the network computes the same)"
                    .to_owned(),
            );
        };
        if !part.is_spikes {
            return Err(
                "stands between a layer and its activation; put the `relu` right before the pool: the network computes the same if \
                 nothing that multiplies by numbers below zero, such as a batch norm, stands between the two, and has to be trained \
                 anew otherwise"
                    .to_owned(),
            );
        }
        if term.source == Source::INPUT {
            return Err(
                "stands before the first weighted layer, where nothing spikes by a threshold; pool the images \
                        beforehand, or put a `conv2d` and a `relu` before it"
                    .to_owned(),
            );
        }
        if term.pools.iter().any(|pool| pool.kind == PoolKind::Mean) {
            return Err(
                "follows an average pool, and there is no exact rule for the largest of sums of spikes; swap them, \
                        use avg-pool for both, or put a `conv2d` and a `relu` between"
                    .to_owned(),
            );
        }
        term.pools.push(pool);
        term.kernel = Kernel::identity(term.pooled_shape());
        part.shape = output;
    }
    Ok(signal)
}

fn concatenated(signals: impl Iterator<Item = Signal>) -> Signal {
    let mut all = Signal { by: None, parts: Vec::new(), channels: Vec::new() };
    for signal in signals {
        let before = all.parts.len();
        all.by = all.by.or(signal.by);
        all.parts.extend(signal.parts);
        all.channels.extend(signal.channels.into_iter().map(|(part, channel)| (before + part, channel)));
    }
    all
}
