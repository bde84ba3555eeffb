//! Measures the trained network's activations on calibration samples.

use ann::network::{Network, samples_at_once, values};
use burn::tensor::{Device, Tensor, TensorData};
use datasets::LabelledImages;
use methods::activation::Activations;
use model::population::Population;

/// Samples per forward pass.
const BATCH: usize = 256;

/// Samples per forward pass of a network of some populations.
pub(crate) fn batch(populations: &[Population]) -> usize {
    samples_at_once(populations, BATCH)
}

/// Runs the trained network on samples; one entry per layer of neurons, the logits last.
pub fn measure(
    network: &Network,
    populations: &[Population],
    samples: &LabelledImages,
    device: &Device,
) -> Vec<Activations> {
    let mut layers: Vec<Activations> = Vec::new();
    let batch = batch(populations);
    for first in (0..samples.len()).step_by(batch) {
        let range = first..samples.len().min(first + batch);
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
