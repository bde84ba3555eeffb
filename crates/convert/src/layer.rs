//! The trained network as conversion sees it: weighted layers with a ReLU between them, in f64.

use std::collections::BTreeMap;

use model::Architecture;
use model::artefact::TensorF32;

/// One weighted layer. All but the last are followed by a ReLU.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnLayer {
    /// Name for people: `dense 1`.
    pub name: String,
    /// Number of inputs.
    pub n_in: usize,
    /// Weights `[n_out, n_in]`, row-major.
    pub weights: Vec<f64>,
    /// Biases `[n_out]`.
    pub biases: Vec<f64>,
}

impl AnnLayer {
    /// Number of neurons.
    pub fn n_out(&self) -> usize {
        self.biases.len()
    }

    /// The incoming weights of each neuron.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.weights.chunks_exact(self.n_in)
    }
}

/// The weighted layers of a trained network.
///
/// - `tensors`: as [`model::ann::AnnArtefact::read`] has checked them
pub fn ann_layers(architecture: &Architecture, tensors: &BTreeMap<String, TensorF32>) -> Vec<AnnLayer> {
    let wide = |name: String| tensors[&name].values.iter().map(|&value| f64::from(value)).collect();
    architecture
        .weighted()
        .into_iter()
        .map(|layer| AnnLayer {
            n_in: layer.n_in,
            weights: wide(format!("{}.weight", layer.layer_idx)),
            biases: wide(format!("{}.bias", layer.layer_idx)),
            name: layer.name,
        })
        .collect()
}
