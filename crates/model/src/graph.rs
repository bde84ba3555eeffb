//! The layers of a network as a graph: what each of them reads, and the shape of what it gives.
//!
//! Pure data in the order of computation, shapes checked: no weights, no burn. [`crate::architecture`] makes a graph of a
//! configuration's layers; [`crate::population`] makes populations and connections of it.
//!
//! A node may read several others and be read by several. A residual block of a configuration is the nodes of its branches and an
//! `add` of both.

use crate::architecture::{Architecture, Conv2d, LayerKind, LayerProblem, Window, shape_text};
use crate::kernel::Pool;
use crate::population::PoolKind;

/// What a node reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The network's input.
    Input,
    /// The output of an earlier node, by its index.
    Node(usize),
}

/// One operation of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, which no other node has: the place of its layer, `3` or `5.body.0`; the sum of a residual block has the block's.
    pub name: String,
    /// What it does; never [`LayerKind::Residual`].
    pub kind: LayerKind,
    /// What it reads, in order.
    pub inputs: Vec<Operand>,
    /// Shape of one sample's output, without the batch dimension: `[C, H, W]` or `[features]`.
    pub output: Vec<usize>,
    /// Name of the residual block that it is a part of, as its sum is.
    pub block: Option<String>,
}

impl Node {
    /// What a configuration calls it: the name of its kind, or `residual` for the sum of such a block.
    pub fn layer(&self) -> &'static str {
        let is_block = matches!(self.kind, LayerKind::Add) && self.block.is_some();
        if is_block { "residual" } else { self.kind.name() }
    }
}

/// The nodes in an order in which every one follows what it reads, the last one giving the network's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    input: [usize; 3],
    nodes: Vec<Node>,
}

impl Graph {
    /// Shape `[C, H, W]` of one sample.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Shape of what a node reads.
    pub fn shape(&self, operand: Operand) -> &[usize] {
        match operand {
            Operand::Input => &self.input,
            Operand::Node(idx) => &self.nodes[idx].output,
        }
    }

    /// Shapes of all tensors by name, `[n_out, n_in]` and so on ([`LayerKind::tensors`]).
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let of = |node: &Node| {
            let tensors = node.kind.tensors(self.shape(node.inputs[0]));
            tensors.into_iter().map(|(field, shape)| (format!("{}.{field}", node.name), shape)).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of).collect()
    }

    /// Multiply-accumulate operations for one sample ([`LayerKind::macs_per_sample`]).
    pub fn macs_per_sample(&self) -> u64 {
        let of = |node: &Node| node.kind.macs_per_sample(self.shape(node.inputs[0]), &node.output);
        self.nodes.iter().map(of).sum()
    }
}

/// Makes a graph node by node and collects what does not fit.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    problems: Vec<Problem>,
}

/// A problem, with the index of the node that it was found at.
pub(crate) type Problem = (usize, LayerProblem);

impl Builder {
    /// - `input`: shape `[C, H, W]` of one sample
    pub fn new(input: [usize; 3]) -> Self {
        Self { graph: Graph { input, nodes: Vec::new() }, problems: Vec::new() }
    }

    /// Adds a node behind others. Where its inputs do not fit, a guess at its shape lets the nodes after it be checked.
    ///
    /// # Panics
    /// If it reads nothing, or nodes that are not there; or if it is a whole residual block, which is made of several nodes.
    pub fn add(&mut self, name: &str, kind: LayerKind, inputs: &[Operand]) -> Operand {
        self.push(name, kind, inputs, None)
    }

    /// - `block`: the residual block that it is a part of
    pub(crate) fn push(&mut self, name: &str, kind: LayerKind, inputs: &[Operand], block: Option<&str>) -> Operand {
        let at = self.graph.nodes.len();
        assert!(!inputs.is_empty(), "{name} reads nothing");
        if self.graph.nodes.iter().any(|node| node.name == name) {
            self.refuse(name, format!("{}: another layer has the name `{name}`; give each its own", kind.name()));
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|&operand| self.graph.shape(operand)).collect();
        let (output, found) = output(&kind, &shapes);
        let own = |message| (at, LayerProblem { path: Some(name.to_owned()), message });
        self.problems.extend(found.into_iter().map(own));
        let (name, inputs, block) = (name.to_owned(), inputs.to_vec(), block.map(str::to_owned));
        self.graph.nodes.push(Node { name, kind, inputs, output, block });
        Operand::Node(at)
    }

    /// Notes a problem at the place of the next node.
    pub(crate) fn refuse(&mut self, path: &str, message: String) {
        self.problems.push((self.graph.nodes.len(), LayerProblem { path: Some(path.to_owned()), message }));
    }

    /// Shape of what a node would give.
    ///
    /// # Errors
    /// What does not fit, one line each.
    pub fn check(&self, kind: &LayerKind, inputs: &[Operand]) -> Result<Vec<usize>, Vec<String>> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|&operand| self.graph.shape(operand)).collect();
        let (output, problems) = output(kind, &shapes);
        if problems.is_empty() { Ok(output) } else { Err(problems) }
    }

    /// Number of nodes so far.
    pub fn n_nodes(&self) -> usize {
        self.graph.nodes.len()
    }

    pub(crate) fn n_problems(&self) -> usize {
        self.problems.len()
    }

    /// Shape of what a node reads.
    pub fn shape(&self, operand: Operand) -> &[usize] {
        self.graph.shape(operand)
    }

    /// The graph as far as it goes, and what does not fit.
    pub(crate) fn into_parts(self) -> (Graph, Vec<Problem>) {
        (self.graph, self.problems)
    }

    /// The graph.
    ///
    /// # Errors
    /// Every [`LayerProblem`] found, not the first only.
    pub fn finish(self) -> Result<Graph, Vec<LayerProblem>> {
        if self.problems.is_empty() {
            return Ok(self.graph);
        }
        Err(self.problems.into_iter().map(|(_, problem)| problem).collect())
    }
}

/// Shape of what a layer makes of inputs, or a guess at it beside what does not fit.
fn output(kind: &LayerKind, inputs: &[&[usize]]) -> (Vec<usize>, Vec<String>) {
    let mut problems = Vec::new();
    let input = inputs[0];
    if inputs.len() > 1 && !matches!(kind, LayerKind::Add | LayerKind::Concat) {
        problems.push(format!("{}: reads {} layers; it takes one", kind.name(), inputs.len()));
    }
    if inputs.len() == 1 && matches!(kind, LayerKind::Add | LayerKind::Concat) {
        problems.push(format!("{}: reads one layer; it takes two or more: name them in `from`", kind.name()));
    }
    let output = match kind {
        LayerKind::Flatten => vec![input.iter().product()],
        LayerKind::Relu
        | LayerKind::Clip { .. }
        | LayerKind::LeakyRelu { .. }
        | LayerKind::PRelu
        | LayerKind::Abs
        | LayerKind::Scale
        | LayerKind::Dropout { .. }
        | LayerKind::BatchNorm { .. } => input.to_vec(),
        LayerKind::Normalize { mean, .. } => {
            if mean.len() != input[0] {
                problems.push(format!(
                    "normalize: {} means and deviations for {} channels; give one of each for all, or one for each channel",
                    mean.len(),
                    input[0]
                ));
            }
            input.to_vec()
        }
        LayerKind::Dense { units } => {
            problems.extend(dense(*units, input));
            vec![*units]
        }
        LayerKind::Conv2d(conv) => match image(kind, input, &mut problems) {
            Some(image) => conv2d(*conv, image, &mut problems),
            None => vec![conv.channels, 1, 1],
        },
        LayerKind::AvgPool(window) | LayerKind::MaxPool(window) => match image(kind, input, &mut problems) {
            Some(image) => pool(kind.name(), *window, image, &mut problems),
            None => input.to_vec(),
        },
        // A pool of the whole image leaves one number per channel: what follows is a dense layer.
        LayerKind::GlobalAvgPool => {
            image(kind, input, &mut problems).map_or(input.to_vec(), |[channels, ..]| vec![channels])
        }
        LayerKind::Add => {
            if let Some(other) = inputs.iter().find(|other| **other != input) {
                let [a, b] = [input, other].map(shape_text);
                problems.push(format!("add: its inputs are {a} and {b}; make them equal"));
            }
            input.to_vec()
        }
        LayerKind::Concat => concat(inputs, &mut problems),
        LayerKind::Slice { start, end } => {
            if start >= end || *end > input[0] {
                problems.push(format!("slice: channels {start} to {end} of {}; use 0 ≤ start < end ≤ {0}", input[0]));
                return (input.to_vec(), problems);
            }
            std::iter::once(end - start).chain(input[1..].iter().copied()).collect()
        }
        LayerKind::ChannelShuffle { groups } => {
            if *groups == 0 || !input[0].is_multiple_of(*groups) {
                problems.push(format!(
                    "channel-shuffle: groups {groups} does not divide the {} channels; use a divisor",
                    input[0]
                ));
            }
            input.to_vec()
        }
        LayerKind::Residual { .. } => unreachable!("a residual block is several nodes"),
    };
    (output, problems)
}

/// Channels, or features, of all inputs.
fn concat(inputs: &[&[usize]], problems: &mut Vec<String>) -> Vec<usize> {
    let first = inputs[0];
    if let Some(other) = inputs.iter().find(|other| other.len() != first.len() || other[1..] != first[1..]) {
        let [a, b] = [first, other].map(shape_text);
        problems.push(format!("concat: its inputs are {a} and {b}; make them equal but for the channels"));
    }
    let channels = inputs.iter().map(|shape| shape[0]).sum();
    std::iter::once(channels).chain(first[1..].iter().copied()).collect()
}

/// The shape if it is an image.
fn image(kind: &LayerKind, shape: &[usize], problems: &mut Vec<String>) -> Option<[usize; 3]> {
    let image: Result<[usize; 3], _> = shape.try_into();
    if image.is_err() {
        problems
            .push(format!("{}: its input is a vector; put it before the `flatten` or `global-avg-pool`", kind.name()));
    }
    image.ok()
}

fn dense(units: usize, input: &[usize]) -> impl Iterator<Item = String> {
    let is_image = (input.len() != 1).then(|| {
        let found = shape_text(input);
        format!("dense: its input is an image {found}; put a `flatten` layer before it")
    });
    let n_in: usize = input.iter().product();
    let too_large = (n_in.saturating_mul(units) > Architecture::MAX_WEIGHTS).then(|| {
        format!(
            "dense: {units} units × {n_in} inputs exceed the {} weights a layer may have; use fewer units",
            Architecture::MAX_WEIGHTS
        )
    });
    is_image.into_iter().chain(too_large)
}

fn conv2d(conv: Conv2d, image: [usize; 3], problems: &mut Vec<String>) -> Vec<usize> {
    let [c_in, height, width] = image;
    let Conv2d { channels, kernel: size, groups, .. } = conv;
    let kernel = conv.on(image);
    let extent = [kernel.axis(0).extent(), kernel.axis(1).extent()];
    let text = sides_text(size);
    if !c_in.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
        problems.push(format!(
            "conv2d: groups {groups} does not divide both {c_in} input and {channels} output channels; use a common divisor"
        ));
        return vec![channels, 1, 1];
    }
    let output = kernel.output();
    if output.contains(&0) {
        let least = [height, width].iter().zip(extent).map(|(n, extent)| extent.saturating_sub(*n).div_ceil(2)).max();
        let dilated = if extent == size { String::new() } else { format!(", dilated to {},", sides_text(extent)) };
        problems.push(format!(
            "conv2d: kernel {text}{dilated} exceeds its {height}×{width} input; use kernel ≤ {} or padding ≥ {}",
            height.min(width),
            least.unwrap_or_default()
        ));
    }
    let n_weights = [c_in / groups, size[0], size[1]].into_iter().fold(channels, usize::saturating_mul);
    let n_outputs = output[1..].iter().copied().fold(channels, usize::saturating_mul);
    if n_weights > Architecture::MAX_WEIGHTS || n_outputs > Architecture::MAX_OUTPUTS {
        problems.push(format!(
            "conv2d: {n_weights} weights and {n_outputs} outputs exceed the {} and {} a layer may have; use fewer channels",
            Architecture::MAX_WEIGHTS,
            Architecture::MAX_OUTPUTS
        ));
    }
    vec![channels, output[1].max(1), output[2].max(1)]
}

fn pool(name: &str, window: Window, image: [usize; 3], problems: &mut Vec<String>) -> Vec<usize> {
    let Window { kernel, padding, .. } = window;
    let [channels, height, width] = image;
    if (0..4).any(|side| padding[side] >= kernel[side % 2]) {
        problems.push(format!(
            "{name}: padding {} is not below kernel {}, so some windows see no input; use a smaller padding",
            sides_text(padding),
            sides_text(kernel)
        ));
    }
    let output = window.pool(PoolKind::Mean).output(image);
    if output.contains(&0) {
        let found = sides_text(kernel);
        let least = height.min(width);
        problems.push(format!("{name}: kernel {found} exceeds its {height}×{width} input; use kernel ≤ {least}"));
        return vec![channels, height, width];
    }
    let uneven = window.pool(PoolKind::Mean).divisor(image);
    if name == "avg-pool" && uneven > Pool::MAX_DIVISOR && uneven > kernel[0].saturating_mul(kernel[1]) {
        problems.push(format!(
            "{name}: its windows have so many different numbers of inputs that they share no divisor below {uneven}; use at most {}, \
             such as by counting the padding or without `ceil`",
            Pool::MAX_DIVISOR
        ));
    }
    output.to_vec()
}

/// Equal sizes as one number: `3`, or `1×7`.
pub fn sides_text<const N: usize>(sizes: [usize; N]) -> String {
    if sizes.iter().all(|size| *size == sizes[0]) { sizes[0].to_string() } else { shape_text(&sizes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_read_several_and_be_read_by_several() {
        let mut builder = Builder::new([2, 4, 4]);
        let conv = Conv2d { bias: false, ..Conv2d::square(2, 3, 1, 1) };
        let a = builder.add("a", LayerKind::Conv2d(conv), &[Operand::Input]);
        let b = builder.add("b", LayerKind::Relu, &[a]);
        let c = builder.add("c", LayerKind::Conv2d(conv), &[b]);
        let sum = builder.add("sum", LayerKind::Add, &[a, b, c]);
        assert_eq!(builder.shape(sum), [2, 4, 4]);
        let graph = builder.finish().unwrap();
        assert_eq!(graph.nodes()[3].inputs, [a, b, c]);
        assert_eq!(
            graph.tensors(),
            [("a.weight", [2, 2, 3, 3]), ("c.weight", [2, 2, 3, 3])]
                .map(|(name, shape)| (name.to_owned(), shape.to_vec()))
        );
        assert_eq!(graph.macs_per_sample(), 2 * 2 * 16 * 2 * 9);
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused_by_name() {
        let mut builder = Builder::new([2, 4, 4]);
        let pooled = builder.add("pooled", LayerKind::GlobalAvgPool, &[Operand::Input]);
        builder.add("sum", LayerKind::Add, &[Operand::Input, pooled]);
        builder.add("twice", LayerKind::Relu, &[pooled, pooled]);
        builder.add("pooled", LayerKind::Relu, &[pooled]);
        let problems = builder.finish().unwrap_err();
        let text: Vec<String> = problems.into_iter().map(|p| format!("{}: {}", p.path.unwrap(), p.message)).collect();
        assert_eq!(
            text,
            [
                "sum: add: its inputs are 2×4×4 and 2; make them equal",
                "twice: relu: reads 2 layers; it takes one",
                "pooled: relu: another layer has the name `pooled`; give each its own",
            ]
        );
    }
}
