//! The burn module of an [`Architecture`]: what is trained, and what tells the activations at conversion.

use std::collections::BTreeMap;

use burn::module::{Module, Param, RunningState};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, LeakyRelu, LeakyReluConfig, Linear, LinearConfig, PRelu,
    PReluConfig, PaddingConfig2d, Relu,
};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::backend;
use crate::qcfs::Qcfs;
use model::architecture::{Architecture, LayerKind};
use model::artefact::TensorF32;
use model::graph::{Graph, Node, Operand};
use model::population::{Population, StandsFor};
use model::quantised::{self, Rectifier};

/// A network of an [`Architecture`] on a burn device.
///
/// Freshly made weights and biases are uniform in `±1/sqrt(n)`, n being the inputs of one output: burn's default, and
/// `PyTorch`'s.
#[derive(Module, Debug)]
pub struct Network {
    /// What each node of the graph computes, in the order of computation.
    nodes: Vec<Layer>,
    #[module(skip)]
    plan: Plan,
}

/// What is computed when.
#[derive(Debug, Clone)]
struct Plan {
    graph: Graph,
    /// What the rates of each population stand for.
    populations: Vec<StandsFor>,
    /// How often each node is read.
    n_reads: Vec<usize>,
}

/// A node as a burn module.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are a few hundred of them in a network")]
enum Layer {
    Flatten(Flatten),
    Dense(Linear),
    Conv(Conv2d),
    BatchNorm(BatchNorm),
    Scale(Scale),
    Normalize(Normalize),
    Relu(Relu),
    Clip(Clip),
    LeakyRelu(LeakyRelu),
    PRelu(PRelu),
    Abs(Abs),
    Dropout(Dropout),
    AvgPool(AvgPool2d),
    GlobalAvgPool(GlobalAvgPool),
    MaxPool(MaxPool2d),
    Add(Add),
    Concat(Concat),
    Slice(Slice),
    ChannelShuffle(ChannelShuffle),
    Qcfs(Qcfs),
}

#[derive(Module, Debug)]
struct Flatten;

#[derive(Module, Debug)]
struct GlobalAvgPool;

#[derive(Module, Debug)]
struct Abs;

#[derive(Module, Debug)]
struct Add;

#[derive(Module, Debug)]
struct Concat;

/// `weight·x + bias` of each channel.
#[derive(Module, Debug)]
struct Scale {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

/// `(x − mean)/deviation` of each channel.
#[derive(Module, Debug)]
struct Normalize {
    #[module(skip)]
    mean: Vec<f64>,
    #[module(skip)]
    deviation: Vec<f64>,
}

#[derive(Module, Debug)]
struct Clip {
    low: f64,
    high: f64,
}

#[derive(Module, Debug)]
struct Slice {
    start: usize,
    end: usize,
}

#[derive(Module, Debug)]
struct ChannelShuffle {
    groups: usize,
}

/// What the path of every parameter holds that is a threshold, and of no other.
pub const THRESHOLD_PARAMETER: &str = "log_threshold";

/// Thresholds of a rectifier before training: `λ_j = base_j · factor`.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// What is not learned, `[C]`, above 0.
    pub base: Vec<f32>,
    /// What is learned, one per channel or one for all, above 0.
    pub factors: Vec<f32>,
}

/// Activations of a forward pass above which it is of fewer samples, so many fewer that there are not more of them than [`FEW_VALUES`].
const MANY_VALUES: usize = 1 << 27;

const FEW_VALUES: usize = 1 << 24;

/// Samples of a forward pass whose activations are all kept, so that those of large networks stay bounded; does not change results.
///
/// - `most`: of a network that is not large
pub fn samples_at_once(populations: &[Population], most: usize) -> usize {
    let n_neurons: usize = populations.iter().map(|population| population.shape.iter().product::<usize>()).sum();
    if most * n_neurons <= MANY_VALUES { most } else { (FEW_VALUES / n_neurons).max(1) }
}

/// What flows between layers of a batch of N samples.
#[derive(Debug, Clone)]
enum Signal {
    /// `[N, C, H, W]`
    Images(Tensor<4>),
    /// `[N, features]`
    Vectors(Tensor<2>),
}

impl Signal {
    /// `[N, features]`, channel by channel, row by row.
    fn flat(self) -> Tensor<2> {
        match self {
            Self::Images(x) => x.flatten(1, 3),
            Self::Vectors(x) => x,
        }
    }

    /// # Panics
    /// If these are vectors; an architecture that was checked has none where images are needed.
    fn images(self) -> Tensor<4> {
        match self {
            Self::Images(x) => x,
            Self::Vectors(_) => unreachable!("shapes were checked against the layers"),
        }
    }

    /// What is computed number by number.
    fn map(
        self,
        of_images: impl FnOnce(Tensor<4>) -> Tensor<4>,
        of_vectors: impl FnOnce(Tensor<2>) -> Tensor<2>,
    ) -> Self {
        match self {
            Self::Images(x) => Self::Images(of_images(x)),
            Self::Vectors(x) => Self::Vectors(of_vectors(x)),
        }
    }

    fn device(&self) -> Device {
        match self {
            Self::Images(x) => x.device(),
            Self::Vectors(x) => x.device(),
        }
    }
}

/// The graph's own last node gives the logits; every other is read by some.
fn n_reads(graph: &Graph) -> Vec<usize> {
    let mut n = vec![0; graph.nodes().len()];
    for operand in graph.nodes().iter().flat_map(|node| &node.inputs) {
        if let Operand::Node(idx) = operand {
            n[*idx] += 1;
        }
    }
    n
}

impl Network {
    /// A network with fresh random weights, drawn from the device's generator (seed it first).
    pub fn new(architecture: &Architecture, device: &Device) -> Self {
        let network = Self::undrawn(architecture, device);
        // burn draws parameters at their first use; so they would depend on what else was drawn until then.
        for layer in &network.nodes {
            match layer {
                Layer::Dense(linear) => {
                    _ = linear.weight.val();
                    _ = linear.bias.as_ref().map(Param::val);
                }
                Layer::Conv(conv) => {
                    _ = conv.weight.val();
                    _ = conv.bias.as_ref().map(Param::val);
                }
                _ => {}
            }
        }
        network
    }

    /// A network whose weights are drawn when they are first used, if they are not replaced before.
    fn undrawn(architecture: &Architecture, device: &Device) -> Self {
        let graph = architecture.graph().clone();
        let nodes =
            graph.nodes().iter().map(|node| Layer::undrawn(node, graph.shape(node.inputs[0]), device)).collect();
        let populations = architecture.populations().iter().map(|population| population.stands_for.clone()).collect();
        let n_reads = n_reads(&graph);
        Self { nodes, plan: Plan { graph, populations, n_reads } }
    }

    /// A network with the given tensors, as [`Network::tensors`] returns them. Draws nothing.
    ///
    /// - `levels`: number of levels of its activations; `None` for a network that is not quantised, whose thresholds, if there are any,
    ///   are not looked at
    ///
    /// # Panics
    /// If a tensor is missing or misshapen; [`model::ann::AnnArtefact::read`] has checked them.
    pub fn with_tensors(
        architecture: &Architecture,
        tensors: &BTreeMap<String, TensorF32>,
        levels: Option<usize>,
        device: &Device,
    ) -> Self {
        Self::with(architecture, &mut |name| tensors[name].clone(), levels, device)
    }

    /// The same where nothing else needs the tensors: none of them is in memory twice.
    ///
    /// # Panics
    /// As [`Network::with_tensors`].
    pub fn of_tensors(
        architecture: &Architecture,
        mut tensors: BTreeMap<String, TensorF32>,
        levels: Option<usize>,
        device: &Device,
    ) -> Self {
        let mut take = |name: &str| tensors.remove(name).expect("tensors were checked against the architecture");
        Self::with(architecture, &mut take, levels, device)
    }

    fn with(
        architecture: &Architecture,
        take: &mut dyn FnMut(&str) -> TensorF32,
        levels: Option<usize>,
        device: &Device,
    ) -> Self {
        let mut network = Self::undrawn(architecture, device);
        let graph = architecture.graph();
        for (node, layer) in graph.nodes().iter().zip(&mut network.nodes) {
            layer.set_tensors(node, graph.shape(node.inputs[0]), take, device);
        }
        let Some(levels) = levels else { return network };
        let thresholds = |rectifier: &Rectifier| {
            let lambda = take(&rectifier.tensor()).values;
            assert_eq!(lambda.len(), rectifier.n_channels, "tensors were checked against the architecture");
            Thresholds { factors: vec![1.0; lambda.len()], base: lambda }
        };
        network.quantised(&Self::rectifiers(architecture), thresholds, levels, device)
    }

    /// The same network with its rectifiers quantised.
    ///
    /// - `rectifiers`: those of its architecture
    /// - `thresholds`: of each of them
    /// - `levels`: number of levels above zero
    #[must_use]
    pub fn quantised(
        mut self,
        rectifiers: &[Rectifier],
        mut thresholds: impl FnMut(&Rectifier) -> Thresholds,
        levels: usize,
        device: &Device,
    ) -> Self {
        for rectifier in rectifiers {
            let qcfs = Qcfs::new(rectifier, &thresholds(rectifier), levels, device);
            self.nodes[rectifier.node] = Layer::Qcfs(qcfs);
        }
        self
    }

    /// Sets the number of levels of all quantised rectifiers.
    #[must_use]
    pub fn at_levels(mut self, levels: usize) -> Self {
        for layer in &mut self.nodes {
            if let Layer::Qcfs(qcfs) = layer {
                qcfs.set_levels(levels);
            }
        }
        self
    }

    /// Replaces what the learned factors of a rectifier are multiplied with; they stay as they are.
    ///
    /// - `node`: index of a quantised rectifier
    /// - `base`: `[C]`, above 0
    ///
    /// # Panics
    /// If the node is no quantised rectifier.
    pub fn set_base(&mut self, node: usize, base: &[f32]) {
        let Layer::Qcfs(qcfs) = &self.nodes[node] else { unreachable!("node {node} is no quantised rectifier") };
        qcfs.set_base(base);
    }

    /// The learned factors of a quantised rectifier, one per channel or one in all; `None` for another node.
    pub fn factors(&self, node: usize) -> Option<Vec<f32>> {
        match &self.nodes[node] {
            Layer::Qcfs(qcfs) => Some(qcfs.factors()),
            _ => None,
        }
    }

    /// The rectifiers of an architecture that is quantised.
    ///
    /// # Panics
    /// If it cannot be; such a configuration or file is refused before.
    pub fn rectifiers(architecture: &Architecture) -> Vec<Rectifier> {
        quantised::rectifiers(architecture).expect("networks that cannot be quantised were refused")
    }

    /// The tensors by name, named and shaped as [`Graph::tensors`] says: `1.weight` is the weight of layer 1, counted from 0
    /// over all layers, which is the name that a PyTorch `nn.Sequential` of the same layers gives it.
    ///
    /// # Panics
    /// If the device fails to give the values back.
    pub fn tensors(&self) -> BTreeMap<String, TensorF32> {
        let of = |(node, layer): (&Node, &Layer)| {
            let name = node.name.clone();
            let named = move |(field, tensor)| (format!("{name}.{field}"), tensor);
            layer.tensors().into_iter().map(named).collect::<Vec<_>>()
        };
        self.plan.graph.nodes().iter().zip(&self.nodes).flat_map(of).collect()
    }

    /// Logits `[N, n_classes]` of images `[N, C·H·W]`.
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        self.run(images, &mut |_, _| {})
    }

    /// What the rates of the populations stand for, in the order of [`Architecture::populations`], the logits last.
    ///
    /// - `images`: `[N, C·H·W]`
    /// - returns one `[N, n_neurons]` per population
    pub fn forward_with_activations(&self, images: Tensor<2>) -> Vec<Tensor<2>> {
        let mut activations: Vec<Option<Tensor<2>>> = vec![None; self.plan.populations.len()];
        let mut keep = |idx: usize, inputs: (&Signal, &Signal)| {
            for (activation, stands_for) in activations.iter_mut().zip(&self.plan.populations) {
                if stands_for.node == idx && !stands_for.is_logit {
                    *activation = Some(self.activation(stands_for, inputs));
                }
            }
        };
        let logits = self.run(images, &mut keep);
        *activations.last_mut().expect("the logits are a population") = Some(logits);
        activations.into_iter().map(|activation| activation.expect("every activation was run")).collect()
    }

    /// - `x`, `y`: what goes into an activation, and what comes out
    fn activation(&self, stands_for: &StandsFor, (x, y): (&Signal, &Signal)) -> Tensor<2> {
        let select = |signal: &Signal| {
            let Some(channels) = &stands_for.channels else { return signal.clone() };
            let channels: Vec<i64> = channels.iter().map(|&channel| channel as i64).collect();
            let n = channels.len();
            let channels = Tensor::<1, Int>::from_data(TensorData::new(channels, [n]), &signal.device());
            let of_vectors = channels.clone();
            signal.clone().map(|x| x.select(1, channels), |x| x.select(1, of_vectors))
        };
        // What comes out of a `relu`, and of any quantised rectifier, is what its neurons stand for.
        let is_quantised = matches!(self.nodes[stands_for.node], Layer::Qcfs(_));
        if is_quantised || self.plan.graph.nodes()[stands_for.node].kind == LayerKind::Relu {
            return select(y).flat();
        }
        let x = (select(x).flat() * stands_for.sign - stands_for.floor).clamp_min(0.0);
        if stands_for.ceiling.is_finite() { x.clamp_max(stands_for.ceiling) } else { x }
    }

    /// - `activated`: is shown the index of each activation, and what goes into and comes out of it
    fn run(&self, images: Tensor<2>, activated: &mut impl FnMut(usize, (&Signal, &Signal))) -> Tensor<2> {
        let Plan { graph, n_reads, .. } = &self.plan;
        let [channels, height, width] = graph.input();
        let n_samples = images.dims()[0];
        let input = Signal::Images(images.reshape([n_samples, channels, height, width]));
        let mut left = n_reads.clone();
        let mut signals: Vec<Option<Signal>> = Vec::with_capacity(self.nodes.len());
        for (idx, (node, layer)) in graph.nodes().iter().zip(&self.nodes).enumerate() {
            // What nobody reads any more is given away, so that it is not held, or is computed in place.
            let mut read = |operand: &Operand| match operand {
                Operand::Input => input.clone(),
                Operand::Node(from) => {
                    left[*from] -= 1;
                    let signal = &mut signals[*from];
                    if left[*from] == 0 { signal.take() } else { signal.clone() }.expect("it is read once more")
                }
            };
            let inputs: Vec<Signal> = node.inputs.iter().map(&mut read).collect();
            let x = node.kind.is_activation().then(|| inputs[0].clone());
            let y = layer.forward(inputs);
            if let Some(x) = x {
                activated(idx, (&x, &y));
            }
            signals.push(Some(y));
        }
        signals.pop().flatten().expect("the last node is read by none").flat()
    }
}

impl Layer {
    fn undrawn(node: &Node, input: &[usize], device: &Device) -> Self {
        let numbers = |value: f64| Param::from_tensor(Tensor::<1>::full([input[0]], value, device));
        match &node.kind {
            LayerKind::Flatten => Self::Flatten(Flatten),
            LayerKind::Dense { units } => Self::Dense(LinearConfig::new(input[0], *units).init(device)),
            LayerKind::Conv2d(conv) => Self::Conv(
                Conv2dConfig::new([input[0], conv.channels], conv.kernel)
                    .with_stride(conv.stride)
                    .with_padding(explicit(conv.padding))
                    .with_dilation(conv.dilation)
                    .with_groups(conv.groups)
                    .with_bias(conv.bias)
                    .init(device),
            ),
            LayerKind::BatchNorm { epsilon } => {
                Self::BatchNorm(BatchNormConfig::new(input[0]).with_epsilon(*epsilon).init(device))
            }
            LayerKind::Scale => Self::Scale(Scale { weight: numbers(1.0), bias: numbers(0.0) }),
            LayerKind::Normalize { mean, deviation } => {
                Self::Normalize(Normalize { mean: mean.clone(), deviation: deviation.clone() })
            }
            LayerKind::Relu => Self::Relu(Relu::new()),
            LayerKind::Clip { low, high } => Self::Clip(Clip { low: *low, high: *high }),
            LayerKind::LeakyRelu { slope } => {
                Self::LeakyRelu(LeakyReluConfig::new().with_negative_slope(*slope).init())
            }
            LayerKind::PRelu => Self::PRelu(PReluConfig::new().with_num_parameters(input[0]).init(device)),
            LayerKind::Abs => Self::Abs(Abs),
            LayerKind::Dropout { rate } => Self::Dropout(DropoutConfig::new(*rate).init()),
            LayerKind::AvgPool(window) => Self::AvgPool(
                AvgPool2dConfig::new(window.kernel)
                    .with_strides(window.stride)
                    .with_padding(explicit(window.padding))
                    .with_count_include_pad(window.counts_padding)
                    .with_ceil_mode(window.ceil)
                    .init(),
            ),
            LayerKind::GlobalAvgPool => Self::GlobalAvgPool(GlobalAvgPool),
            LayerKind::MaxPool(window) => Self::MaxPool(
                MaxPool2dConfig::new(window.kernel)
                    .with_strides(window.stride)
                    .with_padding(explicit(window.padding))
                    .with_ceil_mode(window.ceil)
                    .init(),
            ),
            LayerKind::Add => Self::Add(Add),
            LayerKind::Concat => Self::Concat(Concat),
            LayerKind::Slice { start, end } => Self::Slice(Slice { start: *start, end: *end }),
            LayerKind::ChannelShuffle { groups } => Self::ChannelShuffle(ChannelShuffle { groups: *groups }),
            LayerKind::Residual { .. } => unreachable!("a residual block is several nodes"),
        }
    }

    fn forward(&self, inputs: Vec<Signal>) -> Signal {
        let mut inputs = inputs.into_iter();
        let x = inputs.next().expect("every node reads something");
        match self {
            Self::Flatten(Flatten) => Signal::Vectors(x.flat()),
            Self::Dense(linear) => Signal::Vectors(linear.forward(x.flat())),
            Self::Conv(conv) => Signal::Images(backend::conv2d(conv, x.images())),
            Self::BatchNorm(norm) => x.map(|x| backend::batch_norm(norm, x), |x| norm.forward(x)),
            Self::Scale(Scale { weight, bias }) => affine(x, weight.val(), bias.val()),
            Self::Normalize(Normalize { mean, deviation }) => {
                let device = x.device();
                let row = |values: Vec<f64>| {
                    let n = values.len();
                    Tensor::<1>::from_data(
                        TensorData::new(values.into_iter().map(|x| x as f32).collect(), [n]),
                        &device,
                    )
                };
                let shift = mean.iter().zip(deviation).map(|(mean, deviation)| -mean / deviation).collect();
                affine(x, row(deviation.iter().map(|deviation| deviation.recip()).collect()), row(shift))
            }
            Self::Relu(relu) => x.map(|x| relu.forward(x), |x| relu.forward(x)),
            Self::Clip(Clip { low, high }) => x.map(|x| x.clamp(*low, *high), |x| x.clamp(*low, *high)),
            Self::LeakyRelu(leaky) => x.map(|x| leaky.forward(x), |x| leaky.forward(x)),
            Self::PRelu(prelu) => x.map(|x| prelu.forward(x), |x| prelu.forward(x)),
            Self::Abs(Abs) => x.map(Tensor::abs, Tensor::abs),
            Self::Dropout(dropout) => x.map(|x| dropout.forward(x), |x| dropout.forward(x)),
            Self::AvgPool(pool) => Signal::Images(backend::avg_pool2d(pool, x.images())),
            Self::GlobalAvgPool(GlobalAvgPool) => {
                let means = x.images().flatten::<3>(2, 3).mean_dim(2);
                Signal::Vectors(means.flatten(1, 2))
            }
            Self::MaxPool(pool) => Signal::Images(pool.forward(x.images())),
            Self::Add(Add) => inputs.fold(x, |sum, x| match (sum, x) {
                (Signal::Images(a), Signal::Images(b)) => Signal::Images(a + b),
                (a, b) => Signal::Vectors(a.flat() + b.flat()),
            }),
            Self::Concat(Concat) => match x {
                Signal::Images(first) => {
                    let all = std::iter::once(first).chain(inputs.map(Signal::images)).collect();
                    Signal::Images(Tensor::cat(all, 1))
                }
                Signal::Vectors(first) => {
                    let all = std::iter::once(first).chain(inputs.map(Signal::flat)).collect();
                    Signal::Vectors(Tensor::cat(all, 1))
                }
            },
            Self::Slice(Slice { start, end }) => {
                x.map(|x| x.narrow(1, *start, end - start), |x| x.narrow(1, *start, end - start))
            }
            Self::ChannelShuffle(ChannelShuffle { groups }) => x.map(
                |x| {
                    let [n, channels, height, width] = x.dims();
                    let grouped = x.reshape([n, *groups, channels / groups, height * width]);
                    grouped.swap_dims(1, 2).reshape([n, channels, height, width])
                },
                |x| {
                    let [n, features] = x.dims();
                    x.reshape([n, *groups, features / groups]).swap_dims(1, 2).reshape([n, features])
                },
            ),
            Self::Qcfs(qcfs) => x.map(|x| qcfs.forward(x), |x| qcfs.forward(x)),
        }
    }

    /// Its tensors by their last names.
    fn tensors(&self) -> Vec<(&'static str, TensorF32)> {
        let bias = |bias: &Option<Param<Tensor<1>>>| bias.as_ref().map(|bias| ("bias", stored(bias.val())));
        match self {
            // burn holds [n_in, n_out]; files hold [n_out, n_in], as PyTorch does.
            Self::Dense(linear) => {
                std::iter::once(("weight", stored(linear.weight.val().transpose()))).chain(bias(&linear.bias)).collect()
            }
            Self::Conv(conv) => {
                std::iter::once(("weight", stored(conv.weight.val()))).chain(bias(&conv.bias)).collect()
            }
            Self::BatchNorm(norm) => vec![
                ("weight", stored(norm.gamma.val())),
                ("bias", stored(norm.beta.val())),
                ("running_mean", stored(norm.running_mean.value_sync())),
                ("running_var", stored(norm.running_var.value_sync())),
            ],
            Self::Scale(Scale { weight, bias }) => {
                vec![("weight", stored(weight.val())), ("bias", stored(bias.val()))]
            }
            Self::PRelu(prelu) => vec![("weight", stored(prelu.alpha.val()))],
            Self::Qcfs(qcfs) => vec![(quantised::FIELD, stored(qcfs.thresholds()))],
            _ => Vec::new(),
        }
    }

    /// - `take`: is given the names of the tensors, each once
    fn set_tensors(&mut self, node: &Node, input: &[usize], take: &mut dyn FnMut(&str) -> TensorF32, device: &Device) {
        let mut data = node.kind.tensors(input).into_iter().map(|(field, shape)| {
            let tensor = take(&format!("{}.{field}", node.name));
            assert_eq!(tensor.shape, shape, "tensors were checked against the architecture");
            TensorData::new(tensor.values, shape)
        });
        let mut next = || data.next().expect("one tensor per name");
        let vector = |data: TensorData| Tensor::<1>::from_data(data, device);
        match self {
            Self::Dense(linear) => {
                let weight = Tensor::<2>::from_data(next(), device);
                linear.weight = Param::from_tensor(weight.transpose());
                linear.bias = Some(Param::from_tensor(vector(next())));
            }
            Self::Conv(conv) => {
                conv.weight = Param::from_tensor(Tensor::<4>::from_data(next(), device));
                conv.bias = conv.bias.as_ref().map(|_| Param::from_tensor(vector(next())));
            }
            Self::BatchNorm(norm) => {
                norm.gamma = Param::from_tensor(vector(next()));
                norm.beta = Param::from_tensor(vector(next()));
                norm.running_mean = RunningState::new(vector(next()));
                norm.running_var = RunningState::new(vector(next()));
            }
            Self::Scale(scale) => {
                scale.weight = Param::from_tensor(vector(next()));
                scale.bias = Param::from_tensor(vector(next()));
            }
            Self::PRelu(prelu) => prelu.alpha = Param::from_tensor(vector(next())),
            _ => {}
        }
    }
}

fn explicit([top, left, bottom, right]: [usize; 4]) -> PaddingConfig2d {
    PaddingConfig2d::Explicit(top, left, bottom, right)
}

/// `weight·x + bias` of each channel.
fn affine(x: Signal, weight: Tensor<1>, bias: Tensor<1>) -> Signal {
    let (of_vectors, shift) = (weight.clone(), bias.clone());
    x.map(
        |x| x * weight.reshape([1, -1, 1, 1]) + bias.reshape([1, -1, 1, 1]),
        |x| x * of_vectors.reshape([1, -1]) + shift.reshape([1, -1]),
    )
}

fn stored<const D: usize>(tensor: Tensor<D>) -> TensorF32 {
    TensorF32 { shape: tensor.dims().to_vec(), values: values(tensor) }
}

/// A tensor's values, row-major.
///
/// # Panics
/// If the device fails to give them back.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().expect("converted to f32 just now")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        backend::device(backend::built_in()[0]).unwrap()
    }

    fn two_layers() -> (Architecture, BTreeMap<String, TensorF32>) {
        let kinds = [LayerKind::Flatten, LayerKind::Dense { units: 2 }, LayerKind::Relu, LayerKind::Dense { units: 1 }];
        let tensor = |shape: &[usize], values: &[f32]| TensorF32 { shape: shape.to_vec(), values: values.to_vec() };
        let tensors = [
            ("1.weight".to_owned(), tensor(&[2, 3], &[1.0, 2.0, 3.0, -1.0, 0.0, 1.0])),
            ("1.bias".to_owned(), tensor(&[2], &[0.5, -3.0])),
            ("3.weight".to_owned(), tensor(&[1, 2], &[2.0, 10.0])),
            ("3.bias".to_owned(), tensor(&[1], &[-1.0])),
        ];
        (Architecture::new([1, 1, 3], &kinds).unwrap(), tensors.into())
    }

    #[test]
    fn logits_and_activations_are_those_computed_by_hand() {
        let (architecture, tensors) = two_layers();
        let network = Network::with_tensors(&architecture, &tensors, None, &device());
        let images = Tensor::<2>::from_floats([[1.0, 0.5, 0.25]], &device());
        let activations = network.forward_with_activations(images.clone());
        // [1 + 1 + 0.75 + 0.5, relu(−1 + 0.25 − 3)], then 2·3.25 − 1.
        assert_eq!(values(activations[0].clone()), [3.25, 0.0]);
        assert_eq!(values(activations[1].clone()), [5.5]);
        assert_eq!(values(network.forward(images)), [5.5]);
    }

    #[test]
    fn tensors_come_back_as_they_were_put_in() {
        let (architecture, tensors) = two_layers();
        assert_eq!(Network::with_tensors(&architecture, &tensors, None, &device()).tensors(), tensors);
    }

    #[test]
    fn a_quantised_network_computes_with_its_levels_and_keeps_its_thresholds() {
        let (architecture, mut tensors) = two_layers();
        tensors.insert("2.threshold".to_owned(), TensorF32 { shape: vec![2], values: vec![4.0, 1.0] });
        let network = Network::with_tensors(&architecture, &tensors, Some(4), &device());
        assert_eq!(network.tensors(), tensors);
        let images = Tensor::<2>::from_floats([[1.0, 0.5, 0.25]], &device());
        let logits = |network: &Network| values(network.forward(images.clone()));
        // 3.25 of λ = 4 in steps of 1 is 3, in steps of ½ it is 3.5; then 2·3 − 1.
        assert_eq!(logits(&network), [5.0]);
        assert_eq!(values(network.forward_with_activations(images.clone())[0].clone()), [3.0, 0.0]);
        assert_eq!(logits(&network.at_levels(8)), [6.0]);
    }

    /// The only test here that draws: the generator is one for all threads.
    #[test]
    fn initial_weights_are_drawn_at_once_and_depend_on_the_seed_alone() {
        let (architecture, tensors) = two_layers();
        let drawn = |seed| {
            device().seed(seed);
            // Given weights draw nothing.
            _ = Network::with_tensors(&architecture, &tensors, None, &device());
            let network = Network::new(&architecture, &device());
            device().seed(seed + 1);
            network.tensors()
        };
        assert_eq!(drawn(7), {
            device().seed(7);
            Network::new(&architecture, &device()).tensors()
        });
        assert_ne!(drawn(7), drawn(8));
    }
}
