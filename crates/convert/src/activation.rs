//! Measures the trained network's activations on calibration samples.

use ann::network::{Network, values};
use burn::tensor::{Device, Tensor, TensorData};
use datasets::LabelledImages;
use methods::activation::Activations;
use model::population::Population;

/// Samples per forward pass.
const BATCH: usize = 256;

/// Runs the trained network on samples; one entry per layer of neurons, the logits last.
pub fn measure(
    network: &Network,
    populations: &[Population],
    samples: &LabelledImages,
    device: &Device,
) -> Vec<Activations> {
    let mut layers: Vec<Activations> = Vec::new();
    for first in (0..samples.len()).step_by(BATCH) {
        let range = first..samples.len().min(first + BATCH);
        let shape = [range.len(), samples.n_features()];
        let images = Tensor::from_data(TensorData::new(samples.images(range), shape), device);
        for (idx, tensor) in network.forward_with_activations(images).into_iter().enumerate() {
            if layers.len() == idx {
                let [_, height, width] = populations[idx].shape;
                let values = Vec::with_capacity(samples.len() * tensor.dims()[1]);
                layers.push(Activations { n_neurons: tensor.dims()[1], n_positions: height * width, values });
            }
            layers[idx].values.extend(values(tensor));
        }
    }
    layers
}
