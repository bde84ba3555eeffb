//! Graph → populations of neurons and the connections between them.
//!
//! A population stands where the trained network has a `relu`, or its logits. What lies between two of them
//! (pools, flatten, one weighted layer with its batch norm, sums) becomes connections, whose currents add. Layers that
//! cannot be so expressed are refused here, by name and with a remedy: nothing is left out silently.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::architecture::{Conv2d, LayerKind, LayerProblem, Window};
use crate::graph::{Graph, Node, Operand, Problem};
pub use crate::kernel::Pool;

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
    /// Where its input current comes from, at least one.
    pub connections: Vec<Connection>,
}

impl Population {
    /// Number of neurons.
    pub fn n_neurons(&self) -> usize {
        self.shape.iter().product()
    }
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
    /// The weights.
    pub weights: Weights,
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

/// The weights of a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// A fully connected layer's.
    Dense {
        /// Its place: prefix of its tensors' names.
        path: String,
        /// The batch norm that follows.
        batch_norm: Option<BatchNorm>,
    },
    /// A convolution's.
    Conv {
        /// Its place: prefix of its tensors' names.
        path: String,
        /// Its parameters.
        conv: Conv2d,
        /// The batch norm that follows.
        batch_norm: Option<BatchNorm>,
    },
    /// One for each neuron's counterpart in the source: a skip connection without weights.
    Identity,
}

/// A batch norm, to be folded.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// Its place: prefix of its tensors' names.
    pub path: String,
    /// Added to the variance.
    pub epsilon: f64,
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
    let input = Signal::spikes(Source::INPUT, graph.input());
    let mut lowering = Lowering { graph, input, signals: Vec::new(), populations: Vec::new(), problems: Vec::new() };
    for (idx, node) in graph.nodes().iter().enumerate() {
        let signal = lowering.signal(idx, node);
        lowering.signals.push(signal);
    }
    lowering.logits();
    (lowering.populations, lowering.problems)
}

/// What a node gives: spikes of one source behind pools, or currents that no `relu` has made spikes of yet.
#[derive(Debug, Clone)]
struct Signal {
    /// What made the currents; `None` for spikes, which are one connection without weights.
    by: Option<&'static str>,
    /// What adds up to it.
    connections: Vec<Connection>,
}

impl Signal {
    fn spikes(source: Source, source_shape: [usize; 3]) -> Self {
        let connection = Connection { source, source_shape, pools: Vec::new(), weights: Weights::Identity };
        Self { by: None, connections: vec![connection] }
    }

    /// Currents that a weighted layer makes of spikes.
    fn weighted(mut self, by: &'static str, weights: Weights) -> Self {
        self.connections[0].weights = weights;
        Self { by: Some(by), ..self }
    }
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
        for &operand in &node.inputs {
            self.refuse_between_weights_and_relu(idx, node, operand);
        }
        let path = node.name.clone();
        let mut inputs = node.inputs.iter().map(|&operand| self.of(operand).clone());
        let signal = inputs.next().expect("every node reads something");
        match &node.kind {
            LayerKind::Flatten | LayerKind::Dropout { .. } => signal,
            LayerKind::Dense { .. } => signal.weighted("dense", Weights::Dense { path, batch_norm: None }),
            LayerKind::Conv2d(conv) => signal.weighted("conv2d", Weights::Conv { path, conv: *conv, batch_norm: None }),
            LayerKind::BatchNorm { epsilon } => self.batch_norm(idx, node, *epsilon, signal),
            LayerKind::Relu if signal.by.is_none() => {
                let message = "relu: does not follow a weighted layer; put it right after a `dense`, `conv2d`, \
                               `batch-norm` or `residual` layer";
                self.refuse(idx, message.to_owned());
                signal
            }
            LayerKind::Relu => self.spike(signal, &node.output),
            LayerKind::AvgPool(window) => self.pool(idx, node, PoolKind::Mean, Some(*window), signal),
            LayerKind::GlobalAvgPool => self.pool(idx, node, PoolKind::Mean, None, signal),
            LayerKind::MaxPool(window) => self.pool(idx, node, PoolKind::Max, Some(*window), signal),
            LayerKind::Add => {
                let connections = inputs.fold(signal.connections, |mut all, signal| {
                    all.extend(signal.connections);
                    all
                });
                Signal { by: Some(node.layer()), connections }
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

    /// Between a weighted layer and its `relu`, only a batch norm and a sum have a place. A residual block is taken as a whole.
    fn refuse_between_weights_and_relu(&mut self, idx: usize, node: &Node, operand: Operand) {
        let Operand::Node(before) = operand else { return };
        let Some(by) = self.signals[before].by else { return };
        let enters_block = node.block.is_some() && self.graph.nodes()[before].block != node.block;
        if !enters_block && matches!(node.kind, LayerKind::BatchNorm { .. } | LayerKind::Relu | LayerKind::Add) {
            return;
        }
        let (name, path) = match &node.block {
            Some(block) if enters_block => ("residual", block.clone()),
            _ => (node.layer(), node.name.clone()),
        };
        let remedy = match node.kind {
            _ if enters_block => "put one in",
            LayerKind::MaxPool(_) => "put the `relu` before it (the network computes the same)",
            LayerKind::Flatten | LayerKind::Dropout { .. } => "put the `relu` before it",
            LayerKind::AvgPool(_) | LayerKind::GlobalAvgPool => {
                "put a `relu` between; for a network that ends in conv2d and a pool, pool first and end with `dense` (the \
                 same function for a kernel of 1)"
            }
            _ => "put one in",
        };
        let message = if enters_block || matches!(node.kind, LayerKind::Dense { .. } | LayerKind::Conv2d(_)) {
            let other = if name == by { format!("another {by} layer") } else { format!("a {by} layer") };
            format!("{name}: follows {other} with no `relu` between; {remedy}")
        } else {
            format!("{name}: stands between a {by} layer and its `relu`; {remedy}")
        };
        self.problems.push((idx, LayerProblem { path: Some(path), message }));
        // As if the `relu` were there, so that this is said once.
        let shape = self.graph.shape(operand).to_vec();
        self.signals[before] = self.spike(self.signals[before].clone(), &shape);
    }

    fn batch_norm(&mut self, idx: usize, node: &Node, epsilon: f64, mut signal: Signal) -> Signal {
        let remedy = "put it right after a `conv2d` or `dense` layer, before the `relu`";
        let message = match (signal.by, &mut signal.connections[0].weights) {
            (None, _) => {
                format!("batch-norm: does not follow a weighted layer, so there is nothing to fold it into; {remedy}")
            }
            (Some("residual"), _) => format!(
                "batch-norm: follows the sum of a residual block, where it cannot be folded into one layer's weights; \
                 {remedy} within the block"
            ),
            (Some("add"), _) => {
                format!("batch-norm: follows a sum, where it cannot be folded into one layer's weights; {remedy}")
            }
            (Some(_), Weights::Dense { batch_norm, .. } | Weights::Conv { batch_norm, .. }) if batch_norm.is_none() => {
                *batch_norm = Some(BatchNorm { path: node.name.clone(), epsilon });
                return signal;
            }
            (Some(_), _) => "batch-norm: follows another one; remove one of them".to_owned(),
        };
        self.refuse(idx, message);
        signal
    }

    /// - `window`: `None` for the whole image
    fn pool(&mut self, idx: usize, node: &Node, kind: PoolKind, window: Option<Window>, mut signal: Signal) -> Signal {
        let pool = |[_, height, width]: [usize; 3]| match window {
            Some(window) => window.pool(kind),
            None => Pool::new(kind, [height, width], [height, width]),
        };
        // What is no image, or smaller than a window, has been refused with the shapes.
        let image = <[usize; 3]>::try_from(self.graph.shape(node.inputs[0])).ok();
        let Some(pool) = image.map(pool).filter(|pool| !pool.output(image.unwrap_or_default()).contains(&0)) else {
            return signal;
        };
        let Connection { source, pools, .. } = &mut signal.connections[0];
        if kind == PoolKind::Max {
            if *source == Source::INPUT {
                let message = "max-pool: stands before the first weighted layer, where nothing spikes by a threshold; pool \
                               the images beforehand, or put a `conv2d` and a `relu` before it";
                self.refuse(idx, message.to_owned());
            } else if pools.iter().any(|pool| pool.kind == PoolKind::Mean) {
                let message = "max-pool: follows an average pool, and there is no exact rule for the largest of sums of \
                               spikes; swap them, use avg-pool for both, or put a `conv2d` and a `relu` between";
                self.refuse(idx, message.to_owned());
            }
        }
        pools.push(pool);
        signal
    }

    /// Makes a population of currents.
    ///
    /// - `shape`: of the currents
    fn spike(&mut self, signal: Signal, shape: &[usize]) -> Signal {
        let by = signal.by.expect("currents");
        let kind = if by == "conv2d" { "conv" } else { by };
        let shape = if let [c, h, w] = shape[..] { [c, h, w] } else { [shape.iter().product(), 1, 1] };
        let name = format!("{kind} {}", self.populations.len() + 1);
        self.populations.push(Population { name, shape, connections: signal.connections });
        Signal::spikes(Source::of_layer(self.populations.len() - 1), shape)
    }

    /// Makes a population of the last node, which gives the logits.
    fn logits(&mut self) {
        let Some((node, signal)) = self.graph.nodes().last().zip(self.signals.last().cloned()) else {
            let message = "no layers; give at least one `dense` layer".to_owned();
            self.problems.push((0, LayerProblem { path: None, message }));
            return;
        };
        if signal.by == Some("dense") {
            self.spike(signal, &node.output);
            return;
        }
        let message = format!(
            "{}: is the last layer; end with a `dense` layer with one unit per class (its outputs are the logits)",
            node.layer()
        );
        // Behind what is wrong with the layer itself.
        self.problems.push((self.signals.len(), LayerProblem { path: Some(node.name.clone()), message }));
    }
}
