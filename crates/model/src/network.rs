//! The burn module of an [`Architecture`]: what is trained, and what tells the activations at conversion.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, Relu};
use burn::tensor::{Device, Tensor, TensorData};

use crate::architecture::{Architecture, LayerKind};
use crate::artefact::TensorF32;

/// A network of an [`Architecture`] on a burn device.
///
/// Freshly made weights and biases are uniform in `±1/sqrt(n_in)`, burn's default for linear layers.
#[derive(Module, Debug)]
pub struct Network {
    stages: Vec<Stage>,
}

/// One layer as a burn module.
#[derive(Module, Debug)]
enum Stage {
    Flatten(Flatten),
    Dense(Linear),
    Relu(Relu),
    Dropout(Dropout),
}

/// Images come as rows already, and a network of dense layers has no use for their shape.
#[derive(Module, Debug)]
struct Flatten;

impl Network {
    /// A network with fresh random weights, drawn from the device's generator (seed it first).
    pub fn new(architecture: &Architecture, device: &Device) -> Self {
        let network = Self::undrawn(architecture, device);
        // burn draws parameters at their first use; so they would depend on what else was drawn until then.
        for stage in &network.stages {
            if let Stage::Dense(linear) = stage {
                _ = linear.weight.val();
                _ = linear.bias.as_ref().map(Param::val);
            }
        }
        network
    }

    /// A network whose weights are drawn when they are first used, if they are not replaced before.
    fn undrawn(architecture: &Architecture, device: &Device) -> Self {
        let stages = architecture
            .layers()
            .iter()
            .map(|layer| match layer.kind {
                LayerKind::Flatten => Stage::Flatten(Flatten),
                LayerKind::Dense { units } => Stage::Dense(LinearConfig::new(layer.input[0], units).init(device)),
                LayerKind::Relu => Stage::Relu(Relu::new()),
                LayerKind::Dropout { rate } => Stage::Dropout(DropoutConfig::new(rate).init()),
            })
            .collect();
        Self { stages }
    }

    /// A network with the given tensors, as [`Network::tensors`] returns them. Draws nothing.
    ///
    /// # Panics
    /// If a tensor is missing or misshapen; [`crate::ann::AnnArtefact::read`] has checked them.
    pub fn with_tensors(architecture: &Architecture, tensors: &BTreeMap<String, TensorF32>, device: &Device) -> Self {
        let mut network = Self::undrawn(architecture, device);
        for weighted in architecture.weighted() {
            let Stage::Dense(linear) = &mut network.stages[weighted.layer_idx] else {
                unreachable!("weighted layers are dense");
            };
            let read = |field: &str, shape: &[usize]| {
                let tensor = &tensors[&format!("{}.{field}", weighted.layer_idx)];
                assert_eq!(tensor.shape, shape, "tensors were checked against the architecture");
                TensorData::new(tensor.values.clone(), shape.to_vec())
            };
            // burn holds [n_in, n_out]; files hold [n_out, n_in], as PyTorch does.
            let weight = Tensor::<2>::from_data(read("weight", &[weighted.n_out, weighted.n_in]), device);
            linear.weight = Param::from_tensor(weight.transpose());
            linear.bias = Some(Param::from_tensor(Tensor::<1>::from_data(read("bias", &[weighted.n_out]), device)));
        }
        network
    }

    /// The weights `[n_out, n_in]` and biases `[n_out]` by name: `1.weight` is the weight of layer 1, counted
    /// from 0 over all layers, which is the name that a PyTorch `nn.Sequential` of the same layers gives it.
    ///
    /// # Panics
    /// If the device fails to give the values back.
    pub fn tensors(&self) -> BTreeMap<String, TensorF32> {
        let mut tensors = BTreeMap::new();
        for (layer_idx, stage) in self.stages.iter().enumerate() {
            if let Stage::Dense(linear) = stage {
                let weight = linear.weight.val().transpose();
                let shape = weight.dims().to_vec();
                tensors.insert(format!("{layer_idx}.weight"), TensorF32 { shape, values: values(weight) });
                let bias = linear.bias.as_ref().expect("every dense layer has a bias").val();
                tensors.insert(
                    format!("{layer_idx}.bias"),
                    TensorF32 { shape: bias.dims().to_vec(), values: values(bias) },
                );
            }
        }
        tensors
    }

    /// Logits `[N, n_classes]` of images `[N, C·H·W]`.
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        self.stages.iter().fold(images, |x, stage| stage.forward(x))
    }

    /// Activations after each `relu`, then the logits: what a spiking layer's rates stand for.
    ///
    /// - `images`: `[N, C·H·W]`
    /// - returns one `[N, n_neurons]` per spiking layer, and `[N, n_classes]` last
    pub fn forward_with_activations(&self, images: Tensor<2>) -> Vec<Tensor<2>> {
        let mut activations = Vec::new();
        let mut x = images;
        for stage in &self.stages {
            x = stage.forward(x);
            if matches!(stage, Stage::Relu(_)) {
                activations.push(x.clone());
            }
        }
        activations.push(x);
        activations
    }
}

impl Stage {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Flatten(Flatten) => x,
            Self::Dense(linear) => linear.forward(x),
            Self::Relu(relu) => relu.forward(x),
            Self::Dropout(dropout) => dropout.forward(x),
        }
    }
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
        crate::Backend::built_in()[0].device().unwrap()
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
