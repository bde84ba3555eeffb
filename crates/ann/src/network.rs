//! The burn module of an [`Architecture`]: what is trained, and what tells the activations at conversion.

use std::collections::BTreeMap;

use burn::module::{Module, Param, RunningState};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::tensor::{Device, Tensor, TensorData};

use crate::backend;
use model::architecture::{Architecture, Layer, LayerKind, Window};
use model::artefact::TensorF32;

/// A network of an [`Architecture`] on a burn device.
///
/// Freshly made weights and biases are uniform in `±1/sqrt(n)`, n being the inputs of one output: burn's default, and
/// `PyTorch`'s.
#[derive(Module, Debug)]
pub struct Network {
    input: [usize; 3],
    stages: Vec<Stage>,
}

/// One layer as a burn module.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are a few dozen of them in a network")]
enum Stage {
    Layer(Plain),
    Residual(Residual),
}

/// A layer that holds no others.
#[derive(Module, Debug)]
enum Plain {
    Flatten(Flatten),
    Dense(Linear),
    Conv(Conv2d),
    BatchNorm(BatchNorm),
    Relu(Relu),
    Dropout(Dropout),
    AvgPool(AvgPool2d),
    GlobalAvgPool(GlobalAvgPool),
    MaxPool(MaxPool2d),
}

/// `body(x) + shortcut(x)`
#[derive(Module, Debug)]
struct Residual {
    body: Vec<Plain>,
    shortcut: Vec<Plain>,
}

#[derive(Module, Debug)]
struct Flatten;

#[derive(Module, Debug)]
struct GlobalAvgPool;

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
}

impl Network {
    /// A network with fresh random weights, drawn from the device's generator (seed it first).
    pub fn new(architecture: &Architecture, device: &Device) -> Self {
        let network = Self::undrawn(architecture, device);
        // burn draws parameters at their first use; so they would depend on what else was drawn until then.
        for (_, layer) in network.plain_layers() {
            match layer {
                Plain::Dense(linear) => {
                    _ = linear.weight.val();
                    _ = linear.bias.as_ref().map(Param::val);
                }
                Plain::Conv(conv) => {
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
        let stages = architecture.layers().iter().map(|layer| match layer.kind {
            LayerKind::Residual { .. } => Stage::Residual(Residual {
                body: layer.body.iter().map(|layer| Plain::undrawn(layer, device)).collect(),
                shortcut: layer.shortcut.iter().map(|layer| Plain::undrawn(layer, device)).collect(),
            }),
            _ => Stage::Layer(Plain::undrawn(layer, device)),
        });
        Self { input: architecture.input(), stages: stages.collect() }
    }

    /// A network with the given tensors, as [`Network::tensors`] returns them. Draws nothing.
    ///
    /// # Panics
    /// If a tensor is missing or misshapen; [`model::ann::AnnArtefact::read`] has checked them.
    pub fn with_tensors(architecture: &Architecture, tensors: &BTreeMap<String, TensorF32>, device: &Device) -> Self {
        let mut network = Self::undrawn(architecture, device);
        for (layer, stage) in architecture.layers().iter().zip(&mut network.stages) {
            match stage {
                Stage::Layer(plain) => plain.set_tensors(layer, tensors, device),
                Stage::Residual(Residual { body, shortcut }) => {
                    let inner = layer.body.iter().chain(&layer.shortcut);
                    inner
                        .zip(body.iter_mut().chain(shortcut))
                        .for_each(|(layer, plain)| plain.set_tensors(layer, tensors, device));
                }
            }
        }
        network
    }

    /// The tensors by name, named and shaped as [`Layer::tensors`] says: `1.weight` is the weight of layer 1, counted from 0
    /// over all layers, which is the name that a PyTorch `nn.Sequential` of the same layers gives it.
    ///
    /// # Panics
    /// If the device fails to give the values back.
    pub fn tensors(&self) -> BTreeMap<String, TensorF32> {
        let of = |(path, layer): (String, &Plain)| {
            let named = move |(field, tensor)| (format!("{path}.{field}"), tensor);
            layer.tensors().into_iter().map(named).collect::<Vec<_>>()
        };
        self.plain_layers().into_iter().flat_map(of).collect()
    }

    /// Every layer that holds no others, with its place.
    fn plain_layers(&self) -> Vec<(String, &Plain)> {
        let mut all = Vec::new();
        for (idx, stage) in self.stages.iter().enumerate() {
            match stage {
                Stage::Layer(layer) => all.push((idx.to_string(), layer)),
                Stage::Residual(Residual { body, shortcut }) => {
                    for (branch, layers) in [("body", body), ("shortcut", shortcut)] {
                        all.extend(
                            layers.iter().enumerate().map(|(at, layer)| (format!("{idx}.{branch}.{at}"), layer)),
                        );
                    }
                }
            }
        }
        all
    }

    /// Logits `[N, n_classes]` of images `[N, C·H·W]`.
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        self.run(images, &mut |_| {})
    }

    /// Activations after each `relu`, then the logits: what the populations' rates stand for, in the order of
    /// [`Architecture::populations`].
    ///
    /// - `images`: `[N, C·H·W]`
    /// - returns one `[N, n_neurons]` per population
    pub fn forward_with_activations(&self, images: Tensor<2>) -> Vec<Tensor<2>> {
        let mut activations = Vec::new();
        let logits = self.run(images, &mut |activation: &Signal| activations.push(activation.clone().flat()));
        activations.push(logits);
        activations
    }

    /// - `activated`: is shown what comes out of each `relu`
    fn run(&self, images: Tensor<2>, activated: &mut impl FnMut(&Signal)) -> Tensor<2> {
        let [channels, height, width] = self.input;
        let n_samples = images.dims()[0];
        let mut signal = Signal::Images(images.reshape([n_samples, channels, height, width]));
        for stage in &self.stages {
            signal = match stage {
                Stage::Layer(layer) => layer.forward(signal, activated),
                Stage::Residual(Residual { body, shortcut }) => {
                    let along = |layers: &[Plain], x: Signal, activated: &mut _| {
                        layers.iter().fold(x, |x, layer| layer.forward(x, activated))
                    };
                    match (along(body, signal.clone(), activated), along(shortcut, signal, activated)) {
                        (Signal::Images(a), Signal::Images(b)) => Signal::Images(a + b),
                        (a, b) => Signal::Vectors(a.flat() + b.flat()),
                    }
                }
            };
        }
        signal.flat()
    }
}

impl Plain {
    fn undrawn(layer: &Layer, device: &Device) -> Self {
        match &layer.kind {
            LayerKind::Flatten => Self::Flatten(Flatten),
            LayerKind::Dense { units } => Self::Dense(LinearConfig::new(layer.input[0], *units).init(device)),
            LayerKind::Conv2d(conv) => Self::Conv(
                Conv2dConfig::new([layer.input[0], conv.channels], [conv.kernel; 2])
                    .with_stride([conv.stride; 2])
                    .with_padding(PaddingConfig2d::Explicit(conv.padding, conv.padding, conv.padding, conv.padding))
                    .with_groups(conv.groups)
                    .with_bias(conv.bias)
                    .init(device),
            ),
            LayerKind::BatchNorm { epsilon } => {
                Self::BatchNorm(BatchNormConfig::new(layer.input[0]).with_epsilon(*epsilon).init(device))
            }
            LayerKind::Relu => Self::Relu(Relu::new()),
            LayerKind::Dropout { rate } => Self::Dropout(DropoutConfig::new(*rate).init()),
            LayerKind::AvgPool(Window { kernel, stride }) => {
                Self::AvgPool(AvgPool2dConfig::new([*kernel; 2]).with_strides([*stride; 2]).init())
            }
            LayerKind::GlobalAvgPool => Self::GlobalAvgPool(GlobalAvgPool),
            LayerKind::MaxPool(Window { kernel, stride }) => {
                Self::MaxPool(MaxPool2dConfig::new([*kernel; 2]).with_strides([*stride; 2]).init())
            }
            LayerKind::Residual { .. } | LayerKind::Add => {
                unreachable!("residual blocks are not nested, and no sums are beside them")
            }
        }
    }

    fn forward(&self, x: Signal, activated: &mut impl FnMut(&Signal)) -> Signal {
        match self {
            Self::Flatten(Flatten) => Signal::Vectors(x.flat()),
            Self::Dense(linear) => Signal::Vectors(linear.forward(x.flat())),
            Self::Conv(conv) => Signal::Images(backend::conv2d(conv, x.images())),
            Self::BatchNorm(norm) => match x {
                Signal::Images(x) => Signal::Images(backend::batch_norm(norm, x)),
                Signal::Vectors(x) => Signal::Vectors(norm.forward(x)),
            },
            Self::Relu(relu) => {
                let x = match x {
                    Signal::Images(x) => Signal::Images(relu.forward(x)),
                    Signal::Vectors(x) => Signal::Vectors(relu.forward(x)),
                };
                activated(&x);
                x
            }
            Self::Dropout(dropout) => match x {
                Signal::Images(x) => Signal::Images(dropout.forward(x)),
                Signal::Vectors(x) => Signal::Vectors(dropout.forward(x)),
            },
            Self::AvgPool(pool) => Signal::Images(backend::avg_pool2d(pool, x.images())),
            Self::GlobalAvgPool(GlobalAvgPool) => {
                let means = x.images().flatten::<3>(2, 3).mean_dim(2);
                Signal::Vectors(means.flatten(1, 2))
            }
            Self::MaxPool(pool) => Signal::Images(pool.forward(x.images())),
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
            _ => Vec::new(),
        }
    }

    fn set_tensors(&mut self, layer: &Layer, tensors: &BTreeMap<String, TensorF32>, device: &Device) {
        let mut data = layer.tensors().into_iter().map(|(name, shape)| {
            let tensor = &tensors[&name];
            assert_eq!(tensor.shape, shape, "tensors were checked against the architecture");
            TensorData::new(tensor.values.clone(), shape)
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
            _ => {}
        }
    }
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
        let network = Network::with_tensors(&architecture, &tensors, &device());
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
        assert_eq!(Network::with_tensors(&architecture, &tensors, &device()).tensors(), tensors);
    }

    /// The only test here that draws: the generator is one for all threads.
    #[test]
    fn initial_weights_are_drawn_at_once_and_depend_on_the_seed_alone() {
        let (architecture, tensors) = two_layers();
        let drawn = |seed| {
            device().seed(seed);
            // Given weights draw nothing.
            _ = Network::with_tensors(&architecture, &tensors, &device());
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
