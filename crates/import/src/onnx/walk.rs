//! Nodes, one after another, → signals: what each of them computes, as a layer of what others give.
//!
//! Every attribute of a node is read or the node is refused: nothing is passed over that could change what it computes. What a node
//! computes is in the files beside this one:
//!
//! - `images`: convolutions, pools, padding
//! - `arithmetic`: matrices, batch norms, activations, sums and products
//! - `moves`: reshapes, slices and joins, and all that is computed of constants

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use model::architecture::LayerKind;
use model::artefact::TensorF32;

use super::attributes::Attributes;
use super::constants::Constant;
use super::graph::{Graph, label};
use super::proto::{Node, Tensor, data_type};
use super::tensor::{Numbers, Store};
use super::view::{Size, View, dim, is_samples, length};

/// How many times the values in a file its layers may have altogether, since layers may share them.
const MAX_SHARED: usize = 64;

/// How many times the values in a file constants may have that are computed of them.
const MAX_COMPUTED: usize = 8;

/// Values that layers and constants may have in any case.
const ALWAYS: usize = 1 << 20;

/// What is asked for instead of operators of a kind.
const PIECEWISE: &str = "not supported: activations that are curved; supported: Relu, Clip, LeakyRelu, PRelu, HardSigmoid, Abs, Max and \
                         Min with constants; train with one of them";

/// Operators that networks have and spiking ones do not, with what to do instead.
const UNSUPPORTED: [(&[&str], &str); 10] = [
    (
        &[
            "Tanh",
            "Elu",
            "Selu",
            "Celu",
            "Gelu",
            "HardSwish",
            "Swish",
            "Erf",
            "Mish",
            "Softplus",
            "Softsign",
            "ThresholdedRelu",
            "Exp",
            "Log",
            "Sin",
            "Cos",
            "Pow",
            "Sqrt",
        ],
        PIECEWISE,
    ),
    (
        &[
            "LayerNormalization",
            "GroupNormalization",
            "InstanceNormalization",
            "RMSNormalization",
            "LRN",
            "LpNormalization",
            "MeanVarianceNormalization",
        ],
        "not supported: norms that depend on the sample; supported: BatchNormalization",
    ),
    (
        &["DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger"],
        "not supported: whole numbers between layers; supported: weights behind DequantizeLinear; export the network of floats",
    ),
    (&["TopK", "NonMaxSuppression"], "not supported: choices among outputs; export the network up to its logits"),
    (
        &["LSTM", "GRU", "RNN", "If", "Loop", "Scan"],
        "not supported: recurrent networks and branches that depend on data; supported: Conv, Gemm and MatMul one after another",
    ),
    (
        &["Attention", "MultiHeadAttention", "Einsum", "RotaryEmbedding"],
        "not supported: attention and products of results; supported: Conv, Gemm and MatMul with constant weights",
    ),
    (
        &["ConvTranspose", "Resize", "Upsample", "DepthToSpace", "GridSample"],
        "not supported: images that grow; supported: Conv and pools",
    ),
    (&["SpaceToDepth", "Tile"], "not supported: rearranged images; supported: Conv with a stride"),
    (
        &["NonZero", "Where", "Equal", "Greater", "Less", "ScatterND", "GatherND", "Compress", "Range", "Unique"],
        DATA_DEPENDENT,
    ),
    (
        &["LpPool", "GlobalLpPool", "MaxUnpool"],
        "not supported: pools of this kind; supported: MaxPool, AveragePool and global ones",
    ),
];

const DATA_DEPENDENT: &str = "not supported: what is computed depends on the data or on shapes that are open; supported: layers one after \
                              another; export with fixed sizes behind the first";

/// Operators that are read.
const SUPPORTED: [&str; 54] = [
    "Abs",
    "Add",
    "ArgMax",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Ceil",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "Identity",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pad",
    "QuantizeLinear",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Size",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Sum",
    "Transpose",
    "Unsqueeze",
];

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Tensor(&'a Tensor),
    Constant(Rc<Constant>),
    Signal(Ref),
}

/// A tensor of the file that depends on the input: the values of a signal, seen in the file's dimensions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ref {
    /// Position in [`Walk::signals`].
    pub(super) signal: usize,
    pub(super) view: View,
}

/// What flows between layers.
#[derive(Debug)]
pub(super) struct Signal {
    /// Of one sample: `[C, H, W]` or `[features]`.
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    /// Positions of the signals that it is made of; each stands before it.
    pub(super) from: Vec<usize>,
    /// By field.
    pub(super) tensors: Vec<(&'static str, TensorF32)>,
    /// The node, for messages.
    pub(super) node: String,
    /// The file's name of it.
    pub(super) value: String,
}

/// What makes a signal of others.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Input,
    Layer(LayerKind),
    Affine(Affine),
    /// `min(max(x, low), high)`; either bound may be infinite.
    Clip {
        low: f64,
        high: f64,
    },
    /// Rows above, columns to the left, rows below, columns to the right.
    Pad {
        padding: [usize; 4],
        fill: Fill,
    },
    /// Leaves the order of the logits as it is, so it may be left out at the end.
    Final,
}

/// What an image is padded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    Zeros,
    /// Minus infinity, which is never the largest.
    Nothing,
}

/// `scale·x + shift`, for each channel or feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
}

/// All nodes' results.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) store: &'a Store,
    pub(super) version: i64,
    values: HashMap<&'a str, Value<'a>>,
    /// How often each name will still be read.
    left: HashMap<&'a str, usize>,
    pub(super) signals: Vec<Signal>,
    /// Vectors that were made of images, by the image.
    flat: HashMap<usize, usize>,
    /// Values of the layers, and of constants that were computed.
    n_weights: usize,
    n_computed: usize,
}

/// Every node with an operator that is not read.
pub(super) fn unsupported(graph: &Graph) -> Vec<String> {
    let is_standard = |node: &Node| node.domain.is_empty() || node.domain == "ai.onnx";
    let constant = constant_names(graph);
    let is_folded = |node: &Node| {
        let names = node.input.iter().filter(|name| !name.is_empty());
        !node.input.is_empty() && names.clone().all(|name| constant.contains(name.as_str()))
    };
    let problem = |node: &&Node| {
        let operator = node.op_type.as_str();
        if is_standard(node) && (SUPPORTED.contains(&operator) || is_folded(node)) {
            return None;
        }
        let named = UNSUPPORTED.iter().find(|(names, _)| is_standard(node) && names.contains(&operator));
        let remedy = match named {
            Some((_, remedy)) => (*remedy).to_owned(),
            None => format!("supported: {}", SUPPORTED.join(", ")),
        };
        let domain = if is_standard(node) { String::new() } else { format!(" of `{}`", node.domain) };
        Some(format!("{}: has no counterpart{domain}; {remedy}", label(node)))
    };
    graph.nodes.iter().filter_map(problem).collect()
}

/// Names whose values do not depend on the input.
fn constant_names<'a>(graph: &Graph<'a>) -> HashSet<&'a str> {
    let mut constant: HashSet<&str> = graph.constants.keys().copied().collect();
    for node in &graph.nodes {
        let mut names = node.input.iter().filter(|name| !name.is_empty());
        if names.all(|name| constant.contains(name.as_str())) {
            constant.extend(node.output.iter().map(String::as_str));
        }
    }
    constant
}

/// Follows the nodes from the input to the output; returns the signals, and what the output is.
///
/// - `shape`, `view`: of the input, `[C, H, W]` or `[features]`
///
/// # Errors
/// The first node that cannot be followed.
pub(super) fn walk<'a>(
    graph: &Graph<'a>,
    store: &'a Store,
    shape: Vec<usize>,
    view: View,
) -> Result<(Vec<Signal>, Ref), String> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for name in graph.nodes.iter().flat_map(|node| &node.input) {
        *left.entry(name).or_default() += 1;
    }
    *left.entry(graph.output).or_default() += 1;
    let input = Signal {
        shape,
        kind: Kind::Input,
        from: Vec::new(),
        tensors: Vec::new(),
        node: format!("the input `{}`", graph.input),
        value: graph.input.to_owned(),
    };
    let mut walk = Walk {
        store,
        version: graph.version,
        values: graph.constants.iter().map(|(name, tensor)| (*name, Value::Tensor(tensor))).collect(),
        left,
        signals: vec![input],
        flat: HashMap::new(),
        n_weights: 0,
        n_computed: 0,
    };
    walk.values.insert(graph.input, Value::Signal(Ref { signal: 0, view }));
    for node in &graph.nodes {
        let values = walk.values_of(node).map_err(|found| format!("{}: {found}", label(node)))?;
        for (name, value) in node.output.iter().zip(values) {
            walk.values.insert(name, value);
        }
        walk.forget(node);
    }
    match walk.values.remove(graph.output) {
        Some(Value::Signal(output)) => Ok((walk.signals, output)),
        _ => Err(format!("the output `{}` does not depend on the input", graph.output)),
    }
}

impl<'a> Walk<'a> {
    fn values_of(&mut self, node: &'a Node) -> Result<Vec<Value<'a>>, String> {
        let attributes = Attributes::new(node);
        let operator = node.op_type.as_str();
        let values = if self.is_constant(node)? && !matches!(operator, "Identity" | "Dropout") {
            self.folded(node, &attributes)?
        } else {
            let one = |value: Ref| vec![Value::Signal(value)];
            match operator {
                "Identity" => vec![self.value(node, 0)?.clone()],
                "Dropout" => self.dropout(node, &attributes)?,
                "Shape" | "Size" => vec![self.shape(node, &attributes)?],
                "Split" => self.split(node, &attributes)?.into_iter().map(Value::Signal).collect(),
                "Cast" | "CastLike" => one(self.cast(node, &attributes)?),
                "Squeeze" | "Unsqueeze" | "Flatten" | "Reshape" | "Transpose" => one(self.moved(node, &attributes)?),
                "Slice" => one(self.slice(node, &attributes)?),
                "Gather" => one(self.gather(node, &attributes)?),
                "Concat" => one(self.concat(node, &attributes)?),
                "Pad" => one(self.pad(node, &attributes)?),
                "Conv" => one(self.conv(node, &attributes)?),
                "MaxPool" | "AveragePool" => one(self.pool(node, &attributes)?),
                "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMean" | "ReduceMax" | "ReduceSum" => {
                    one(self.reduce(node, &attributes)?)
                }
                "Gemm" => one(self.gemm(node, &attributes)?),
                "MatMul" => one(self.mat_mul(node)?),
                "BatchNormalization" => one(self.batch_norm(node, &attributes)?),
                "Relu" | "Clip" | "LeakyRelu" | "PRelu" | "HardSigmoid" | "Abs" | "Neg" => {
                    one(self.activation(node, &attributes)?)
                }
                "Softmax" | "LogSoftmax" | "Sigmoid" | "ArgMax" => one(self.last(node, &attributes)?),
                "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Mean" | "Max" | "Min" => one(self.arithmetic(node)?),
                "QuantizeLinear" | "DequantizeLinear" => {
                    return Err(
                        "not supported: quantised results; supported: DequantizeLinear of weights; export the \
                                network of floats"
                            .to_owned(),
                    );
                }
                "Expand" | "ConstantOfShape" | "Floor" | "Ceil" | "Reciprocal" => {
                    return Err(format!("not supported: {operator} of a result; supported: of constants"));
                }
                other => return Err(format!("`{other}` is not read")),
            }
        };
        attributes.finish()?;
        Ok(values)
    }

    /// Whether a node reads constants alone.
    fn is_constant(&self, node: &'a Node) -> Result<bool, String> {
        for at in 0..node.input.len() {
            if optional(node, at).is_some() && matches!(self.value(node, at)?, Value::Signal(_)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets go of constants that nothing reads any more.
    fn forget(&mut self, node: &'a Node) {
        for name in &node.input {
            if let Some(left) = self.left.get_mut(name.as_str()) {
                *left -= 1;
                if *left == 0 {
                    self.values.remove(name.as_str());
                }
            }
        }
        for name in node.output.iter().filter(|name| !self.left.contains_key(name.as_str())) {
            self.values.remove(name.as_str());
        }
    }

    // What a node reads.

    pub(super) fn value(&self, node: &'a Node, at: usize) -> Result<&Value<'a>, String> {
        let name = optional(node, at).ok_or_else(|| format!("has no input {at}"))?;
        self.values.get(name).ok_or_else(|| format!("reads `{name}`, an output that its node has no value for"))
    }

    pub(super) fn signal(&self, node: &'a Node, at: usize) -> Result<Ref, String> {
        match self.value(node, at)? {
            Value::Signal(signal) => Ok(signal.clone()),
            _ => Err(format!("its input {at} is a constant")),
        }
    }

    pub(super) fn constant(&self, node: &'a Node, at: usize) -> Result<Constant, String> {
        let name = optional(node, at).unwrap_or_default();
        match self.value(node, at)? {
            Value::Tensor(tensor) => {
                let floats = [data_type::FLOAT, data_type::FLOAT16, data_type::BFLOAT16, data_type::DOUBLE];
                let constant = if floats.contains(&tensor.data_type) {
                    self.store.floats(tensor).map(Constant::Floats)
                } else {
                    self.store.integers(tensor).map(|Numbers { dims, values }| {
                        Constant::Sizes(Numbers { dims, values: values.into_iter().map(Size::Known).collect() })
                    })
                };
                constant.map_err(|found| format!("`{name}`: {found}"))
            }
            Value::Constant(constant) => Ok(Constant::clone(constant)),
            Value::Signal(_) => Err(format!("not supported: `{name}`, which is computed; supported: constants there")),
        }
    }

    /// The constant floats of an input; the last reader of computed ones takes them.
    pub(super) fn floats(&mut self, node: &'a Node, at: usize) -> Result<Numbers<f32>, String> {
        let name = node.input.get(at).map_or("", String::as_str);
        let is_last = self.left.get(name) == Some(&1);
        if let Value::Tensor(tensor) = self.value(node, at)? {
            return self.store.floats(tensor).map_err(|found| format!("`{name}`: {found}"));
        }
        let constant = match self.value(node, at)? {
            Value::Constant(_) if is_last => match self.values.remove(name) {
                Some(Value::Constant(constant)) => Rc::unwrap_or_clone(constant),
                _ => unreachable!("it was there"),
            },
            _ => self.constant(node, at)?,
        };
        match constant {
            Constant::Floats(numbers) => Ok(numbers),
            Constant::Sizes(_) => Err(format!("`{name}` holds whole numbers where floats are needed")),
        }
    }

    pub(super) fn vector(&mut self, node: &'a Node, at: usize, n: usize) -> Result<TensorF32, String> {
        let Numbers { dims, values } = self.floats(node, at)?;
        if dims == [n] {
            Ok(TensorF32 { shape: dims, values })
        } else {
            Err(format!("`{}` has the shape {dims:?} where [{n}] is needed", node.input[at]))
        }
    }

    pub(super) fn sizes(&self, node: &'a Node, at: usize) -> Result<Numbers<Size>, String> {
        match self.constant(node, at)? {
            Constant::Sizes(sizes) => Ok(sizes),
            Constant::Floats(_) => Err(format!("`{}` is not of whole numbers", node.input[at])),
        }
    }

    /// Whole numbers that do not depend on the number of samples.
    pub(super) fn known(&self, node: &'a Node, at: usize) -> Result<Vec<i64>, String> {
        let known = |size| match size {
            Size::Known(size) => Ok(size),
            Size::Samples => Err(format!("`{}` depends on the number of samples", node.input[at])),
        };
        self.sizes(node, at)?.values.into_iter().map(known).collect()
    }

    /// Whole numbers that older versions have as an attribute and newer ones as an input; `None` if there are neither.
    pub(super) fn listed(
        &self,
        node: &'a Node,
        attributes: &Attributes,
        name: &str,
        at: usize,
    ) -> Result<Option<Vec<i64>>, String> {
        match attributes.ints(name)? {
            Some(values) => Ok(Some(values.clone())),
            None if optional(node, at).is_some() => self.known(node, at).map(Some),
            None => Ok(None),
        }
    }

    // What a node gives.

    pub(super) fn push(
        &mut self,
        node: &Node,
        kind: Kind,
        from: Vec<usize>,
        tensors: Vec<(&'static str, TensorF32)>,
        shape: Vec<usize>,
    ) -> Result<usize, String> {
        let n_values = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        if n_values.is_none_or(|n| n > model::Architecture::MAX_OUTPUTS) {
            return Err(format!(
                "gives {shape:?} for each sample; supported: up to {} values",
                model::Architecture::MAX_OUTPUTS
            ));
        }
        self.n_weights += tensors.iter().map(|(_, tensor)| tensor.values.len()).sum::<usize>();
        let limit = ALWAYS + MAX_SHARED.saturating_mul(self.store.n_distinct());
        if self.n_weights > limit {
            return Err(format!("layers share the file's weights more than {MAX_SHARED} times over; supported: fewer"));
        }
        let value = node.output.first().cloned().unwrap_or_default();
        self.signals.push(Signal { shape, kind, from, tensors, node: label(node), value });
        Ok(self.signals.len() - 1)
    }

    /// A layer whose output has the shape of its input, seen as its input is.
    pub(super) fn pointwise(
        &mut self,
        node: &Node,
        x: &Ref,
        kind: Kind,
        tensors: Vec<(&'static str, TensorF32)>,
    ) -> Result<Ref, String> {
        let shape = self.signals[x.signal].shape.clone();
        let signal = self.push(node, kind, vec![x.signal], tensors, shape)?;
        Ok(Ref { signal, view: x.view.clone() })
    }

    /// Counts what constants take that are computed.
    pub(super) fn computed(&mut self, constant: Constant) -> Result<Value<'a>, String> {
        self.n_computed += match &constant {
            Constant::Floats(numbers) => numbers.values.len(),
            Constant::Sizes(numbers) => numbers.values.len(),
        };
        if self.n_computed > ALWAYS + MAX_COMPUTED.saturating_mul(self.store.n_distinct()) {
            return Err(format!(
                "constants that are computed have more than {MAX_COMPUTED} times the file's values; supported: fewer"
            ));
        }
        Ok(Value::Constant(Rc::new(constant)))
    }

    /// The signal as a vector of features.
    pub(super) fn flat(&mut self, node: &Node, signal: usize) -> Result<usize, String> {
        if self.signals[signal].shape.len() == 1 {
            return Ok(signal);
        }
        if let Some(&flat) = self.flat.get(&signal) {
            return Ok(flat);
        }
        let n = self.signals[signal].shape.iter().product();
        let flat = self.push(node, Kind::Layer(LayerKind::Flatten), vec![signal], Vec::new(), vec![n])?;
        self.signals[flat].value.clear();
        self.flat.insert(signal, flat);
        Ok(flat)
    }

    /// The signal whose channels, rows and columns are the dimensions of what a node reads.
    pub(super) fn image(&mut self, node: &Node, x: &Ref) -> Result<Image, String> {
        let dims = &x.view.dims;
        let (Some(first), true) = (dims.first(), matches!(dims.len(), 3 | 4)) else {
            return Err(format!(
                "not supported: an input of {} dimensions; supported: samples, channels, rows and columns, or samples, channels and \
                 length",
                dims.len()
            ));
        };
        if !is_samples(first) {
            return Err(
                "not supported: an input whose first dimension is not that of the samples; supported: samples first"
                    .to_owned(),
            );
        }
        let is_line = dims.len() == 3;
        let (channels, down, across) =
            if is_line { (&dims[1], &Vec::new(), &dims[2]) } else { (&dims[1], &dims[2], &dims[3]) };
        let [c, h, w] = [channels, down, across].map(|dim| length(dim));
        let (channels, is_spatial) = (channels.clone(), *down == dim(h, w) && *across == dim(w, 1));
        let shape = &self.signals[x.signal].shape;
        if *shape == [c] && h * w == 1 && channels == dim(c, 1) {
            return Ok(Image { signal: x.signal, shape: [c, 1, 1], is_vector: true, is_line });
        }
        if *shape != [c, h, w] || !is_spatial {
            return Err(format!(
                "not supported: {} of each sample seen as an image of {c}×{h}×{w}; supported: channels, rows and columns as the \
                 layers before it give them",
                model::architecture::shape_text(shape)
            ));
        }
        let signal = self.in_order(node, x.signal, &channels)?;
        Ok(Image { signal, shape: [c, h, w], is_vector: false, is_line })
    }

    /// A signal with its channels in the order of a dimension.
    pub(super) fn in_order(
        &mut self,
        node: &Node,
        signal: usize,
        channels: &[super::view::Factor],
    ) -> Result<usize, String> {
        use super::view::Factor::Values;
        let shape = self.signals[signal].shape.clone();
        let area: usize = shape[1..].iter().product();
        if *channels == *dim(shape[0], area) {
            return Ok(signal);
        }
        match *channels {
            [Values { size: per_group, stride }, Values { size: groups, stride: far }]
                if stride == area && far == per_group * area && groups * per_group == shape[0] =>
            {
                let kind = Kind::Layer(LayerKind::ChannelShuffle { groups });
                self.push(node, kind, vec![signal], Vec::new(), shape)
            }
            _ => {
                Err("not supported: channels in this order; supported: as they are, or the groups' in turn".to_owned())
            }
        }
    }
}

/// How the file sees a new image.
///
/// - `like`: what it was made of
pub(super) fn seen(like: &View, [c, h, w]: [usize; 3], is_line: bool) -> View {
    let mut dims = vec![like.dims[0].clone(), dim(c, h * w)];
    if !is_line {
        dims.push(dim(h, w));
    }
    dims.push(dim(w, 1));
    like.with(dims)
}

/// A signal that is read as an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    pub(super) signal: usize,
    pub(super) shape: [usize; 3],
    /// Whether its signal is a vector, of as many features.
    pub(super) is_vector: bool,
    /// Whether the file has no rows.
    pub(super) is_line: bool,
}

/// Name of an input, if the node has it.
pub(super) fn optional(node: &Node, at: usize) -> Option<&str> {
    node.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
}

/// The number that was meant by a 32-bit float: 0.1, not the float next to it.
pub(super) fn meant(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}
