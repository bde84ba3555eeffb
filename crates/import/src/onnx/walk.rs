//! Nodes, one after another, → what each computes, as steps that the layers there are can be made of.
//!
//! Every attribute of a node is read or the node is refused: nothing is passed over that could change what it computes.

use std::cell::RefCell;
use std::collections::HashMap;

use model::architecture::{Conv2d, LayerKind, Window};
use model::artefact::TensorF32;
use model::kernel::n_windows;

use super::graph::{Graph, label};
use super::proto::{Attribute, Node, Tensor, data_type, kind};
use super::tensor::{Numbers, Store};

/// Largest kernel, stride or padding.
const MAX_WINDOW: i64 = 1 << 10;

/// Largest side and number of channels of the input.
const MAX_SIDE: i64 = 4096;

/// Operators that networks have and spiking ones do not, with what to do instead.
const UNSUPPORTED: [(&[&str], &str); 7] = [
    (
        &[
            "Sigmoid",
            "Tanh",
            "LeakyRelu",
            "PRelu",
            "Elu",
            "Selu",
            "Gelu",
            "HardSwish",
            "HardSigmoid",
            "Clip",
            "Erf",
            "Mish",
            "Softplus",
        ],
        "integrate-and-fire neurons stand for Relu alone; train with it",
    ),
    (
        &["LayerNormalization", "GroupNormalization", "InstanceNormalization", "LRN"],
        "it depends on the sample, so it cannot be folded; use batch norms",
    ),
    (
        &[
            "QuantizeLinear",
            "DequantizeLinear",
            "DynamicQuantizeLinear",
            "QLinearConv",
            "QLinearMatMul",
            "MatMulInteger",
            "ConvInteger",
        ],
        "export the network of floats",
    ),
    (&["ArgMax", "TopK"], "export the network up to its logits"),
    (&["Transpose"], "export images as channels, rows, columns (NCHW)"),
    (&["If", "Loop", "Scan", "LSTM", "GRU", "RNN", "Attention"], "there is no spiking counterpart; use Conv and Gemm"),
    (&["ConvTranspose", "Resize", "Upsample"], "there is no layer of its kind; use Conv"),
];

/// Operators that are read.
const SUPPORTED: [&str; 27] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Concat",
    "Constant",
    "Conv",
    "Div",
    "Dropout",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Shape",
    "Softmax",
    "Squeeze",
    "Sub",
    "Unsqueeze",
];

/// Size of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// The number of samples, whatever it is.
    Samples,
    Known(i64),
}

/// What a name stands for.
#[derive(Debug, Clone)]
enum Value<'a> {
    Tensor(&'a Tensor),
    Floats(Numbers<f32>),
    /// Whole numbers, sizes among them.
    Sizes(Numbers<Size>),
    /// Position in [`Walk::signals`].
    Signal(usize),
}

/// What flows between layers.
#[derive(Debug)]
pub(super) struct Signal {
    /// Of one sample: `[C, H, W]` or `[features]`.
    pub(super) shape: Vec<usize>,
    pub(super) made: Made,
}

/// Where a signal comes from.
#[derive(Debug)]
pub(super) enum Made {
    Input,
    Step { from: usize, step: Step },
    Sum { of: [usize; 2], node: String },
}

/// What a node does to a signal.
#[derive(Debug)]
pub(super) struct Step {
    /// The node, for messages.
    pub(super) node: String,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    Layer {
        kind: LayerKind,
        /// By field.
        tensors: Vec<(&'static str, TensorF32)>,
    },
    /// `scale·x + shift`, for each channel, or for each feature of a vector.
    Affine(Affine),
    Softmax,
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
    store: &'a Store,
    values: HashMap<&'a str, Value<'a>>,
    pub(super) signals: Vec<Signal>,
    /// Number of samples, where the file fixes it.
    n_samples: Option<i64>,
}

/// Every node with an operator that is not read.
pub(super) fn unsupported(graph: &Graph) -> Vec<String> {
    let is_standard = |node: &Node| node.domain.is_empty() || node.domain == "ai.onnx";
    let problem = |node: &&Node| {
        if is_standard(node) && SUPPORTED.contains(&node.op_type.as_str()) {
            return None;
        }
        let named = UNSUPPORTED.iter().find(|(names, _)| is_standard(node) && names.contains(&node.op_type.as_str()));
        let remedy = match named {
            Some((_, remedy)) => (*remedy).to_owned(),
            None => format!("only {} are read", SUPPORTED.join(", ")),
        };
        let domain = if is_standard(node) { String::new() } else { format!(" of `{}`", node.domain) };
        Some(format!("{}: has no counterpart{domain}; {remedy}", label(node)))
    };
    graph.nodes.iter().filter_map(problem).collect()
}

/// Follows the nodes from the input to the output; returns the walk and the output's signal.
///
/// # Errors
/// The first node that cannot be followed.
pub(super) fn walk<'a>(graph: &Graph<'a>, store: &'a Store) -> Result<(Walk<'a>, usize), String> {
    let (n_samples, shape) = input_shape(graph)?;
    let mut walk = Walk {
        store,
        values: graph.constants.iter().map(|(name, tensor)| (*name, Value::Tensor(tensor))).collect(),
        signals: vec![Signal { shape, made: Made::Input }],
        n_samples,
    };
    walk.values.insert(graph.input, Value::Signal(0));
    for node in &graph.nodes {
        let value = walk.value_of(node).map_err(|found| format!("{}: {found}", label(node)))?;
        if let Some(name) = node.output.first() {
            walk.values.insert(name, value);
        }
    }
    match walk.values.get(graph.output) {
        Some(&Value::Signal(signal)) => Ok((walk, signal)),
        _ => Err(format!("the output `{}` does not depend on the input", graph.output)),
    }
}

fn input_shape(graph: &Graph) -> Result<(Option<i64>, Vec<usize>), String> {
    let text = || format!("the input `{}` has the shape {}", graph.input, dims_text(&graph.dims));
    let Some((n_samples, dims)) = graph.dims.split_first() else {
        return Err(format!("{}; it needs dimensions [N, C, H, W] or [N, features]", text()));
    };
    if dims.len() != 3 && dims.len() != 1 {
        return Err(format!("{}; it needs dimensions [N, C, H, W] or [N, features]", text()));
    }
    let high = if dims.len() == 3 { MAX_SIDE } else { MAX_SIDE * MAX_SIDE };
    let size = |dim: &Option<i64>| dim.filter(|size| (1..=high).contains(size)).map(|size| size as usize);
    match dims.iter().map(size).collect::<Option<Vec<usize>>>() {
        Some(shape) => Ok((*n_samples, shape)),
        None => Err(format!("{}; export it with fixed sizes from 1 to {high} behind the first", text())),
    }
}

fn dims_text(dims: &[Option<i64>]) -> String {
    let sizes: Vec<String> = dims.iter().map(|dim| dim.map_or("?".to_owned(), |size| size.to_string())).collect();
    format!("[{}]", sizes.join(", "))
}

impl<'a> Walk<'a> {
    fn value_of(&mut self, node: &'a Node) -> Result<Value<'a>, String> {
        let attributes = Attributes::new(node);
        let value = match node.op_type.as_str() {
            "Constant" => constant(node, &attributes)?,
            "Identity" => self.value(node, 0)?.clone(),
            "Dropout" => self.dropout(node, &attributes)?,
            "Shape" | "Gather" | "Unsqueeze" | "Concat" | "Cast" => self.sizes(node, &attributes)?,
            "Squeeze" => self.squeeze(node, &attributes)?,
            "Pad" => self.pad(node, &attributes)?,
            "Conv" => self.conv(node, &attributes)?,
            "Gemm" => self.gemm(node, &attributes)?,
            "MatMul" => self.mat_mul(node)?,
            "BatchNormalization" => self.batch_norm(node, &attributes)?,
            "Relu" => {
                let x = self.signal(node, 0)?;
                self.layer(node, x, LayerKind::Relu, Vec::new(), self.signals[x].shape.clone())
            }
            "MaxPool" | "AveragePool" => self.pool(node, &attributes)?,
            "GlobalAveragePool" => {
                let x = self.signal(node, 0)?;
                let [channels, ..] = self.image(x)?;
                self.layer(node, x, LayerKind::GlobalAvgPool, Vec::new(), vec![channels, 1, 1])
            }
            "ReduceMean" => self.reduce_mean(node, &attributes)?,
            "Flatten" => self.flatten(node, &attributes)?,
            "Reshape" => self.reshape(node, &attributes)?,
            "Softmax" | "LogSoftmax" => self.softmax(node, &attributes)?,
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node)?,
            other => return Err(format!("`{other}` is not read")),
        };
        attributes.finish()?;
        Ok(value)
    }

    // What a node reads.

    fn value(&self, node: &'a Node, at: usize) -> Result<&Value<'a>, String> {
        let name = optional(node, at).ok_or_else(|| format!("has no input {at}"))?;
        self.values.get(name).ok_or_else(|| format!("reads `{name}`, which is not the first output of its node"))
    }

    fn signal(&self, node: &'a Node, at: usize) -> Result<usize, String> {
        match self.value(node, at)? {
            Value::Signal(signal) => Ok(*signal),
            _ => Err(format!("its input {at} is a constant")),
        }
    }

    fn image(&self, signal: usize) -> Result<[usize; 3], String> {
        let shape = &self.signals[signal].shape;
        shape.as_slice().try_into().map_err(|_| "its input is a vector, not an image".to_owned())
    }

    /// The constant floats of an input.
    fn floats(&self, node: &'a Node, at: usize) -> Result<Numbers<f32>, String> {
        let name = node.input.get(at).map_or("", String::as_str);
        match self.value(node, at)? {
            Value::Tensor(tensor) => self.store.floats(tensor).map_err(|found| format!("`{name}`: {found}")),
            Value::Floats(numbers) => Ok(numbers.clone()),
            Value::Sizes(_) | Value::Signal(_) => {
                Err(format!("`{name}` is computed, not constant; export a trained network"))
            }
        }
    }

    fn vector(&self, node: &'a Node, at: usize, n: usize) -> Result<TensorF32, String> {
        let Numbers { dims, values } = self.floats(node, at)?;
        if dims == [n] {
            Ok(TensorF32 { shape: dims, values })
        } else {
            Err(format!("`{}` has the shape {dims:?} where [{n}] is needed", node.input[at]))
        }
    }

    fn integers(&self, node: &'a Node, at: usize) -> Result<Numbers<Size>, String> {
        let name = node.input.get(at).map_or("", String::as_str);
        match self.value(node, at)? {
            Value::Tensor(tensor) => {
                let Numbers { dims, values } =
                    self.store.integers(tensor).map_err(|found| format!("`{name}`: {found}"))?;
                Ok(Numbers { dims, values: values.into_iter().map(Size::Known).collect() })
            }
            Value::Sizes(sizes) => Ok(sizes.clone()),
            Value::Floats(_) | Value::Signal(_) => Err(format!("`{name}` is not a constant of whole numbers")),
        }
    }

    /// Whole numbers that do not depend on the number of samples.
    fn known(&self, node: &'a Node, at: usize) -> Result<Vec<i64>, String> {
        let known = |size| match size {
            Size::Known(size) => Ok(size),
            Size::Samples => Err(format!("`{}` depends on the number of samples", node.input[at])),
        };
        self.integers(node, at)?.values.into_iter().map(known).collect()
    }

    // What a node gives.

    fn layer(
        &mut self,
        node: &Node,
        from: usize,
        kind: LayerKind,
        tensors: Vec<(&'static str, TensorF32)>,
        shape: Vec<usize>,
    ) -> Value<'a> {
        self.step(node, from, Action::Layer { kind, tensors }, shape)
    }

    fn step(&mut self, node: &Node, from: usize, action: Action, shape: Vec<usize>) -> Value<'a> {
        let step = Step { node: label(node), action };
        self.signals.push(Signal { shape, made: Made::Step { from, step } });
        Value::Signal(self.signals.len() - 1)
    }

    fn conv(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let [c_in, height, width] = self.image(x)?;
        let Numbers { dims, values } = self.floats(node, 1)?;
        let [channels, of_group, kernel, across] = dims[..] else {
            return Err(format!("its weights have the shape {dims:?}; only images are convolved"));
        };
        if kernel != across {
            return Err(format!("its kernel is {kernel}×{across}; only square ones are there"));
        }
        if let Some(given) = attributes.ints("kernel_shape")?
            && *given != [kernel as i64; 2]
        {
            return Err(format!("kernel_shape {given:?} is not that of its weights {dims:?}"));
        }
        let groups = attributes.int("group", 1)?;
        let groups = usize::try_from(groups).ok().filter(|&n| n > 0 && channels.is_multiple_of(n));
        let groups = groups.ok_or_else(|| format!("its groups do not divide its {channels} channels"))?;
        if of_group.checked_mul(groups) != Some(c_in) {
            return Err(format!(
                "its weights {dims:?} are for {of_group} channels in each of {groups} groups, and its input has {c_in}"
            ));
        }
        refuse_dilation(attributes)?;
        let stride =
            square(attributes, "strides", 1)?.ok_or("strides differ down and across; only equal ones are there")?;
        let padding = padding(attributes, kernel, stride)?;
        let size = [height, width].map(|n| n_windows(n, kernel, stride, padding));
        if kernel == 0 || size.contains(&0) {
            return Err(format!("kernel {kernel} does not fit its {height}×{width} input with padding {padding}"));
        }
        let bias = optional(node, 2).is_some();
        let mut tensors = vec![("weight", TensorF32 { shape: dims, values })];
        if bias {
            tensors.push(("bias", self.vector(node, 2, channels)?));
        }
        let conv = Conv2d { groups, bias, ..Conv2d::square(channels, kernel, stride, padding) };
        Ok(self.layer(node, x, LayerKind::Conv2d(conv), tensors, vec![channels, size[0], size[1]]))
    }

    fn gemm(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let trans_a = attributes.int("transA", 0)?;
        let trans_b = attributes.int("transB", 0)?;
        let (alpha, beta) = (attributes.float("alpha", 1.0)?, attributes.float("beta", 1.0)?);
        let biased = optional(node, 2).is_some();
        if trans_a != 0 {
            return Err("transA is set; samples are rows".to_owned());
        }
        if alpha != 1.0 || (biased && beta != 1.0) {
            return Err(format!("alpha {alpha} and beta {beta}; multiply them into the weights"));
        }
        let (weights, units) = self.dense_weights(node, x, trans_b != 0)?;
        let bias = if biased {
            let Numbers { dims, values } = self.floats(node, 2)?;
            broadcast(&dims, &values, &[units])
                .ok_or_else(|| format!("its bias has the shape {dims:?} where [{units}] is needed"))?
        } else {
            vec![0.0; units]
        };
        let tensors = vec![("weight", weights), ("bias", TensorF32 { shape: vec![units], values: bias })];
        Ok(self.layer(node, x, LayerKind::Dense { units }, tensors, vec![units]))
    }

    fn mat_mul(&mut self, node: &'a Node) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let (weights, units) = self.dense_weights(node, x, false)?;
        // The bias is a node of its own, or there is none.
        Ok(self.layer(node, x, LayerKind::Dense { units }, vec![("weight", weights)], vec![units]))
    }

    /// The weights `[units, n_in]` that are a node's second input.
    ///
    /// - `rows_are_units`: whether they lie like that in the file, or transposed
    fn dense_weights(&self, node: &'a Node, x: usize, rows_are_units: bool) -> Result<(TensorF32, usize), String> {
        let [n_in] = self.signals[x].shape[..] else {
            return Err(format!("its input is an image {:?}; put a Flatten before it", self.signals[x].shape));
        };
        let Numbers { dims, values } = self.floats(node, 1)?;
        let [rows, columns] = dims[..] else {
            return Err(format!("its weights have the shape {dims:?}; only matrices are there"));
        };
        let (units, inputs) = if rows_are_units { (rows, columns) } else { (columns, rows) };
        if inputs != n_in {
            return Err(format!("its weights {dims:?} are for {inputs} inputs, and it has {n_in}"));
        }
        let values = if rows_are_units {
            values
        } else {
            (0..units)
                .flat_map(|unit| (0..n_in).map(move |input| (unit, input)))
                .map(|(unit, input)| values[input * units + unit])
                .collect()
        };
        Ok((TensorF32 { shape: vec![units, n_in], values }, units))
    }

    fn batch_norm(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let shape = self.signals[x].shape.clone();
        let _momentum = attributes.float("momentum", 0.9)?;
        let epsilon = attributes.float("epsilon", 1e-5)?;
        if attributes.int("training_mode", 0)? != 0 {
            return Err("is in training mode; export the network with net.eval()".to_owned());
        }
        if attributes.int("spatial", 1)? != 1 {
            return Err("has statistics for each pixel; only those for each channel are folded".to_owned());
        }
        // The number that was meant: 1e-5, not the float next to it.
        let epsilon: f64 = epsilon.to_string().parse().expect("a float's text is a number");
        let tensors = ["weight", "bias", "running_mean", "running_var"]
            .into_iter()
            .enumerate()
            .map(|(at, field)| Ok((field, self.vector(node, at + 1, shape[0])?)))
            .collect::<Result<_, String>>()?;
        Ok(self.layer(node, x, LayerKind::BatchNorm { epsilon }, tensors, shape))
    }

    fn pool(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let [channels, height, width] = self.image(x)?;
        // The order is that of indices, which nothing reads; what counts as a window's size matters with padding alone.
        let _ = (attributes.int("storage_order", 0)?, attributes.int("count_include_pad", 0)?);
        refuse_dilation(attributes)?;
        let kernel =
            square(attributes, "kernel_shape", 0)?.ok_or("its window is not square; only square ones are there")?;
        let stride =
            square(attributes, "strides", 1)?.ok_or("strides differ down and across; only equal ones are there")?;
        if kernel == 0 {
            return Err("has no kernel_shape".to_owned());
        }
        if padding(attributes, kernel, stride)? != 0 {
            return Err("has padding; pools are without".to_owned());
        }
        let fits = |n: usize| n >= kernel && (n - kernel).is_multiple_of(stride);
        if attributes.int("ceil_mode", 0)? != 0 && !(fits(height) && fits(width)) {
            return Err(format!("ceil_mode lets windows stick out of its {height}×{width} input; use it without"));
        }
        let size = [height, width].map(|n| n_windows(n, kernel, stride, 0));
        if size.contains(&0) {
            return Err(format!("window {kernel} exceeds its {height}×{width} input"));
        }
        let window = Window::square(kernel, stride);
        let kind = if node.op_type == "MaxPool" { LayerKind::MaxPool(window) } else { LayerKind::AvgPool(window) };
        Ok(self.layer(node, x, kind, Vec::new(), vec![channels, size[0], size[1]]))
    }

    fn reduce_mean(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let [channels, ..] = self.image(x)?;
        let _ = attributes.int("noop_with_empty_axes", 0)?;
        let keep = attributes.int("keepdims", 1)? != 0;
        let mut axes = match attributes.ints("axes")? {
            Some(axes) => axes.clone(),
            None if optional(node, 1).is_some() => self.known(node, 1)?,
            None => Vec::new(),
        };
        axes = sorted(axes, 4);
        if axes != [2, 3] {
            return Err(format!("means over the axes {axes:?}; only means over images, [2, 3], are there"));
        }
        let mean = self.layer(node, x, LayerKind::GlobalAvgPool, Vec::new(), vec![channels, 1, 1]);
        match mean {
            Value::Signal(mean) if !keep => Ok(self.layer(node, mean, LayerKind::Flatten, Vec::new(), vec![channels])),
            mean => Ok(mean),
        }
    }

    fn flatten(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let rank = self.signals[x].shape.len() as i64 + 1;
        let axis = attributes.int("axis", 1)?;
        if positive(axis, rank) != 1 {
            return Err(format!("flattens from axis {axis}; only from axis 1"));
        }
        Ok(self.flattened(node, x))
    }

    fn flattened(&mut self, node: &Node, x: usize) -> Value<'a> {
        let shape = &self.signals[x].shape;
        if shape.len() == 1 {
            return Value::Signal(x);
        }
        let n = shape.iter().product();
        self.layer(node, x, LayerKind::Flatten, Vec::new(), vec![n])
    }

    fn squeeze(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let axes = match attributes.ints("axes")? {
            Some(axes) => Some(axes.clone()),
            None if optional(node, 1).is_some() => Some(self.known(node, 1)?),
            None => None,
        };
        if let Value::Sizes(sizes) = self.value(node, 0)? {
            let [_] = sizes.values[..] else { return Err("squeezes a list of sizes".to_owned()) };
            return Ok(Value::Sizes(Numbers { dims: Vec::new(), values: sizes.values.clone() }));
        }
        let x = self.signal(node, 0)?;
        let shape = self.signals[x].shape.clone();
        let mut axes = axes.unwrap_or_default();
        axes = sorted(axes, shape.len() as i64 + 1);
        let from = match (&shape[..], &axes[..], &self.signals[x].made) {
            ([_, 1, 1], [2, 3] | [2 | 3], _) => x,
            // The rest of what was squeezed of one axis: both together are one flatten.
            ([_, 1], [2], Made::Step { from, .. }) => *from,
            _ => return Err(format!("squeezes axes {axes:?} of {shape:?}; only the 1×1 of a pooled image")),
        };
        let left = shape[..shape.len() - axes.len()].to_vec();
        Ok(self.layer(node, from, LayerKind::Flatten, Vec::new(), left))
    }

    /// Of no size: older exporters put one before each average pool.
    fn pad(&self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let _ = (attributes.string("mode", "constant")?, attributes.float("value", 0.0)?);
        let pads = match attributes.ints("pads")? {
            Some(pads) => pads.clone(),
            None => self.known(node, 1)?,
        };
        if pads.iter().any(|&pad| pad != 0) {
            return Err(format!("pads by {pads:?}; give the padding to the convolution that follows"));
        }
        Ok(self.value(node, 0)?.clone())
    }

    fn reshape(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let keep_zero = attributes.int("allowzero", 0)? != 0;
        let target = match attributes.ints("shape")? {
            Some(shape) => shape.iter().map(|&size| Size::Known(size)).collect(),
            None => self.integers(node, 1)?.values,
        };
        let shape = self.signals[x].shape.clone();
        let refused =
            || format!("reshapes {shape:?} of each sample to {}; only vectors are made of images", sizes_text(&target));
        let n: usize = shape.iter().product();
        let (first, rest) = target.split_first().ok_or_else(refused)?;
        let samples = match *first {
            Size::Samples | Size::Known(-1) => true,
            Size::Known(0) => !keep_zero,
            Size::Known(size) => self.n_samples == Some(size),
        };
        // A size of −1 is whatever is left, and there is one at most.
        let open = *first == Size::Known(-1);
        let rest: Vec<i64> = rest
            .iter()
            .map(|size| match size {
                Size::Known(size) => Some(*size),
                Size::Samples => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(refused)?;
        let is_size = |size: i64| usize::try_from(size).ok().filter(|&size| size > 0);
        let sizes: Option<Vec<usize>> = match rest[..] {
            [-1] if !open => Some(vec![n]),
            _ => rest.iter().map(|&size| is_size(size)).collect(),
        };
        let sizes =
            sizes.filter(|sizes| samples && sizes.iter().try_fold(1_usize, |a, &b| a.checked_mul(b)) == Some(n));
        match sizes.as_deref() {
            Some(sizes) if sizes == shape => Ok(Value::Signal(x)),
            Some([_]) => Ok(self.flattened(node, x)),
            // Pixels that come as a vector.
            Some(&[channels, height, width]) if matches!(self.signals[x].made, Made::Input) => {
                self.signals.push(Signal { shape: vec![channels, height, width], made: Made::Input });
                Ok(Value::Signal(self.signals.len() - 1))
            }
            _ => Err(refused()),
        }
    }

    fn softmax(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let x = self.signal(node, 0)?;
        let shape = self.signals[x].shape.clone();
        // Of a vector, the last axis is 1 in every version; before version 13 it was the default as well.
        let axis = attributes.int("axis", 1)?;
        if shape.len() != 1 || positive(axis, 2) != 1 {
            return Err("is not over classes".to_owned());
        }
        Ok(self.step(node, x, Action::Softmax, shape))
    }

    fn dropout(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let _ = (attributes.float("ratio", 0.5)?, attributes.int("seed", 0)?);
        if optional(node, 2).is_some() && self.known(node, 2)? != [0] {
            return Err("is in training mode; export the network with net.eval()".to_owned());
        }
        Ok(self.value(node, 0)?.clone())
    }

    /// Sums of two signals; else a constant added or multiplied.
    fn arithmetic(&mut self, node: &'a Node) -> Result<Value<'a>, String> {
        let operator = node.op_type.as_str();
        let (x, constant_at) = match (self.value(node, 0)?, self.value(node, 1)?) {
            (&Value::Signal(a), &Value::Signal(b)) => return self.sum(node, [a, b]),
            (&Value::Signal(x), _) => (x, 1),
            (_, &Value::Signal(x)) => (x, 0),
            _ => return self.of_sizes(node),
        };
        let shape = self.signals[x].shape.clone();
        let Numbers { dims, values } = self.floats(node, constant_at)?;
        let constants = broadcast(&dims, &values, &shape).ok_or_else(|| {
            format!("its constant has the shape {dims:?}; one number, or one for each of {} channels", shape[0])
        })?;
        if operator == "Add"
            && let Some(value) = self.with_bias(x, &constants)
        {
            return Ok(value);
        }
        let c: Vec<f64> = constants.into_iter().map(f64::from).collect();
        let same = |value: f64| vec![value; c.len()];
        let of = |f: &dyn Fn(f64) -> f64| c.iter().map(|&value| f(value)).collect();
        let affine = match (operator, constant_at) {
            ("Add", _) => Affine { scale: same(1.0), shift: c },
            ("Sub", 1) => Affine { scale: same(1.0), shift: of(&|value| -value) },
            ("Sub", _) => Affine { scale: same(-1.0), shift: c },
            ("Mul", _) => Affine { shift: same(0.0), scale: c },
            ("Div", 1) => Affine { scale: of(&|value| 1.0 / value), shift: same(0.0) },
            _ => return Err("divides by what it is given; there is no layer of its kind".to_owned()),
        };
        Ok(self.step(node, x, Action::Affine(affine), shape))
    }

    /// Arithmetic with the sizes of a shape: `x.view(-1, c * h * w)`.
    fn of_sizes(&self, node: &'a Node) -> Result<Value<'a>, String> {
        let (a, b) = (self.known(node, 0)?, self.known(node, 1)?);
        let (&[a], &[b]) = (&a[..], &b[..]) else { return Err("computes with lists of sizes".to_owned()) };
        let size = match node.op_type.as_str() {
            "Add" => a.checked_add(b),
            "Sub" => a.checked_sub(b),
            "Mul" => a.checked_mul(b),
            _ => a.checked_div(b),
        };
        let size = size.ok_or_else(|| format!("computes no size out of {a} and {b}"))?;
        Ok(Value::Sizes(Numbers { dims: Vec::new(), values: vec![Size::Known(size)] }))
    }

    fn sum(&mut self, node: &Node, of: [usize; 2]) -> Result<Value<'a>, String> {
        if node.op_type != "Add" {
            return Err("computes with two results; only their sum, a residual block's, is there".to_owned());
        }
        let shapes = of.map(|signal| self.signals[signal].shape.clone());
        if shapes[0] != shapes[1] {
            return Err(format!("adds {:?} and {:?} of each sample; both need the same shape", shapes[0], shapes[1]));
        }
        let [shape, _] = shapes;
        self.signals.push(Signal { shape, made: Made::Sum { of, node: label(node) } });
        Ok(Value::Signal(self.signals.len() - 1))
    }

    /// The weighted layer that gives a signal, with a bias that it has none of.
    fn with_bias(&mut self, signal: usize, bias: &[f32]) -> Option<Value<'a>> {
        let Signal { shape, made: Made::Step { from, step } } = &self.signals[signal] else { return None };
        let Action::Layer { kind, tensors } = &step.action else { return None };
        let kind = match kind {
            LayerKind::Dense { .. } => kind.clone(),
            LayerKind::Conv2d(conv) => LayerKind::Conv2d(Conv2d { bias: true, ..*conv }),
            _ => return None,
        };
        let [("weight", weight)] = &tensors[..] else { return None };
        let bias = TensorF32 { shape: vec![bias.len()], values: bias.to_vec() };
        let action = Action::Layer { kind, tensors: vec![("weight", weight.clone()), ("bias", bias)] };
        let step = Step { node: step.node.clone(), action };
        let biased = Signal { shape: shape.clone(), made: Made::Step { from: *from, step } };
        self.signals.push(biased);
        Some(Value::Signal(self.signals.len() - 1))
    }

    /// Nodes that compute shapes, such as `x.view(x.size(0), -1)` leaves behind.
    fn sizes(&mut self, node: &'a Node, attributes: &Attributes) -> Result<Value<'a>, String> {
        let sizes = match node.op_type.as_str() {
            "Shape" => {
                let (start, end) = (attributes.int("start", 0)?, attributes.int("end", i64::MAX)?);
                if start != 0 || end != i64::MAX {
                    return Err("gives a part of a shape".to_owned());
                }
                let shape = &self.signals[self.signal(node, 0)?].shape;
                let sizes = shape.iter().map(|&size| Size::Known(size as i64));
                let samples = self.n_samples.map_or(Size::Samples, Size::Known);
                let values: Vec<Size> = std::iter::once(samples).chain(sizes).collect();
                Numbers { dims: vec![values.len()], values }
            }
            "Gather" => {
                let from = self.integers(node, 0)?;
                let at = self.integers(node, 1)?;
                let n = from.values.len() as i64;
                let pick = |index: &Size| match index {
                    Size::Known(index) => {
                        usize::try_from(positive(*index, n)).ok().and_then(|at| from.values.get(at).copied())
                    }
                    Size::Samples => None,
                };
                let values = at.values.iter().map(pick).collect::<Option<Vec<Size>>>();
                if attributes.int("axis", 0)? != 0 || from.dims.len() != 1 {
                    return Err("gathers of more than a list".to_owned());
                }
                Numbers { dims: at.dims, values: values.ok_or("gathers what is not there")? }
            }
            "Unsqueeze" => {
                let numbers = self.integers(node, 0)?;
                let axes = match attributes.ints("axes")? {
                    Some(axes) => axes.clone(),
                    None => self.known(node, 1)?,
                };
                if !numbers.dims.is_empty() || axes.len() != 1 || !(axes[0] == 0 || axes[0] == -1) {
                    return Err("makes more than a list of one number".to_owned());
                }
                Numbers { dims: vec![1], values: numbers.values }
            }
            "Concat" => {
                if attributes.int("axis", 0)? != 0 {
                    return Err("joins results; only residual sums are there".to_owned());
                }
                let mut values = Vec::new();
                for at in 0..node.input.len() {
                    values.extend(self.integers(node, at)?.values);
                }
                Numbers { dims: vec![values.len()], values }
            }
            _ => {
                let to = attributes.int("to", 0)?;
                let _ = (attributes.int("saturate", 1)?, attributes.string("round_mode", "up")?);
                if ![data_type::INT32, data_type::INT64].map(i64::from).contains(&to) {
                    return Err("changes the type of what it is given; export the network in one type".to_owned());
                }
                self.integers(node, 0)?
            }
        };
        Ok(Value::Sizes(sizes))
    }
}

/// Name of an input, if the node has it.
fn optional(node: &Node, at: usize) -> Option<&str> {
    node.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
}

fn constant<'a>(node: &'a Node, attributes: &Attributes<'a>) -> Result<Value<'a>, String> {
    let list = |values: &[i64]| values.iter().map(|&value| Size::Known(value)).collect::<Vec<_>>();
    if let Some(tensor) = attributes.tensor("value")? {
        return Ok(Value::Tensor(tensor));
    }
    let [Attribute { name, f, i, floats, ints, .. }] = &node.attribute[..] else {
        return Err("has no value".to_owned());
    };
    attributes.used.borrow_mut().push(name);
    Ok(match name.as_str() {
        "value_float" => Value::Floats(Numbers { dims: Vec::new(), values: vec![*f] }),
        "value_floats" => Value::Floats(Numbers { dims: vec![floats.len()], values: floats.clone() }),
        "value_int" => Value::Sizes(Numbers { dims: Vec::new(), values: list(&[*i]) }),
        "value_ints" => Value::Sizes(Numbers { dims: vec![ints.len()], values: list(ints) }),
        other => return Err(format!("has a `{other}`, which is not read")),
    })
}

/// Constants for each channel or feature of a signal; `None` if their shape is another.
fn broadcast(dims: &[usize], values: &[f32], shape: &[usize]) -> Option<Vec<f32>> {
    if values.len() == 1 && dims.len() <= shape.len() + 1 {
        return Some(vec![values[0]; shape[0]]);
    }
    let mut own = shape.to_vec();
    own[1..].fill(1);
    let with_samples = [&[1], &own[..]].concat();
    (dims == own || dims == with_samples).then(|| values.to_vec())
}

fn sizes_text(sizes: &[Size]) -> String {
    let sizes: Vec<String> = sizes
        .iter()
        .map(|size| match size {
            Size::Samples => "N".to_owned(),
            Size::Known(size) => size.to_string(),
        })
        .collect();
    format!("[{}]", sizes.join(", "))
}

/// Axes counted from the front, in ascending order.
fn sorted(mut axes: Vec<i64>, rank: i64) -> Vec<i64> {
    for axis in &mut axes {
        *axis = positive(*axis, rank);
    }
    axes.sort_unstable();
    axes
}

/// An axis counted from the front.
fn positive(axis: i64, rank: i64) -> i64 {
    if axis < 0 { axis.saturating_add(rank) } else { axis }
}

fn refuse_dilation(attributes: &Attributes) -> Result<(), String> {
    match attributes.ints("dilations")? {
        Some(dilations) if dilations.iter().any(|&dilation| dilation != 1) => {
            Err(format!("dilations {dilations:?}; kernels are without"))
        }
        _ => Ok(()),
    }
}

/// A size that is the same down and across; `None` if it is not.
///
/// - `default`: where there is no attribute
fn square(attributes: &Attributes, name: &str, default: usize) -> Result<Option<usize>, String> {
    let Some(sizes) = attributes.ints(name)? else { return Ok(Some(default)) };
    if sizes.len() != 2 || !sizes.iter().all(|size| (1..=MAX_WINDOW).contains(size)) {
        return Err(format!("{name} {sizes:?}; it needs two numbers from 1 to {MAX_WINDOW}"));
    }
    Ok((sizes[0] == sizes[1]).then_some(sizes[0] as usize))
}

/// Padding that is the same on all four sides.
fn padding(attributes: &Attributes, kernel: usize, stride: usize) -> Result<usize, String> {
    let pads = attributes.ints("pads")?;
    match attributes.string("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" => {}
        "VALID" => return Ok(0),
        // As many outputs as inputs: for an odd kernel half of it on either side.
        "SAME_UPPER" | "SAME_LOWER" if stride == 1 && kernel % 2 == 1 => return Ok(kernel / 2),
        other => {
            return Err(format!("auto_pad {other} pads one side more than the other; give the padding in numbers"));
        }
    }
    let Some(pads) = pads else { return Ok(0) };
    if pads.len() != 4 || !pads.iter().all(|pad| (0..=MAX_WINDOW).contains(pad)) {
        return Err(format!("pads {pads:?}; it needs four numbers from 0 to {MAX_WINDOW}"));
    }
    if pads.iter().any(|pad| *pad != pads[0]) {
        return Err(format!("pads {pads:?} differ from side to side; only equal ones are there"));
    }
    Ok(pads[0] as usize)
}

/// A node's attributes, each to be read by its kind.
struct Attributes<'a> {
    all: &'a [Attribute],
    used: RefCell<Vec<&'a str>>,
}

impl<'a> Attributes<'a> {
    fn new(node: &'a Node) -> Self {
        Self { all: &node.attribute, used: RefCell::default() }
    }

    fn find(&self, name: &str, wanted: i32) -> Result<Option<&'a Attribute>, String> {
        let Some(attribute) = self.all.iter().find(|attribute| attribute.name == name) else { return Ok(None) };
        self.used.borrow_mut().push(&attribute.name);
        // Writers of old leave the kind out.
        if attribute.kind != wanted && attribute.kind != 0 {
            return Err(format!("attribute `{name}` is of kind {} where {wanted} is needed", attribute.kind));
        }
        Ok(Some(attribute))
    }

    fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        Ok(self.find(name, kind::INT)?.map_or(default, |attribute| attribute.i))
    }

    fn float(&self, name: &str, default: f32) -> Result<f32, String> {
        Ok(self.find(name, kind::FLOAT)?.map_or(default, |attribute| attribute.f))
    }

    fn ints(&self, name: &str) -> Result<Option<&'a Vec<i64>>, String> {
        Ok(self.find(name, kind::INTS)?.map(|attribute| &attribute.ints))
    }

    fn string(&self, name: &str, default: &str) -> Result<String, String> {
        let found = self.find(name, kind::STRING)?;
        Ok(found.map_or(default.to_owned(), |attribute| String::from_utf8_lossy(&attribute.s).into_owned()))
    }

    fn tensor(&self, name: &str) -> Result<Option<&'a Tensor>, String> {
        Ok(self.find(name, kind::TENSOR)?.and_then(|attribute| attribute.t.as_ref()))
    }

    /// # Errors
    /// If an attribute was not read, or stands twice.
    fn finish(self) -> Result<(), String> {
        let used = self.used.into_inner();
        for (at, attribute) in self.all.iter().enumerate() {
            if !used.contains(&attribute.name.as_str()) {
                return Err(format!("attribute `{}` is not understood", attribute.name));
            }
            if self.all[..at].iter().any(|other| other.name == attribute.name) {
                return Err(format!("attribute `{}` stands twice", attribute.name));
            }
        }
        Ok(())
    }
}
