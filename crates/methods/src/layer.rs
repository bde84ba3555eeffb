//! The trained network as conversion sees it: weighted connections between ReLU layers, in f64.
//!
//! Batch norm is folded into the weights before it, and an average pool's 1/k² into the weights after it, both exactly
//! but for rounding in f64.

use std::collections::BTreeMap;

use model::Architecture;
use model::artefact::TensorF32;
use model::population::{self, BatchNorm, Population, Weights};
use snn::{Connection, Kernel, Source, Wiring};

/// One layer: the sum of its connections' currents, then a ReLU in all but the last.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnLayer {
    /// Name for people: `conv 1`.
    pub name: String,
    /// `[C, H, W]`; a fully connected layer has a channel per neuron.
    pub shape: [usize; 3],
    /// Where its input comes from, with weights.
    pub connections: Vec<Connection<f64>>,
    /// Biases `[C]`.
    pub biases: Vec<f64>,
}

/// Thresholds of the layers before one, `[C]` each, or none where they are not undone.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a>(pub Option<&'a [Vec<f64>]>);

impl Before<'_> {
    /// Threshold of a channel of a source; 1 for pixels.
    pub fn lambda(self, source: Source, channel: usize) -> f64 {
        self.0.zip(source.layer()).map_or(1.0, |(before, layer)| before[layer][channel])
    }
}

impl AnnLayer {
    /// Number of channels.
    pub fn n_channels(&self) -> usize {
        self.shape[0]
    }

    /// Number of neurons of a channel.
    pub fn n_positions(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Weight vector of each neuron of a channel, times the thresholds of its sources: the kernels of all connections, the
    /// mean of an average pool being one input.
    pub fn weight_vector<'a>(&'a self, channel: usize, before: Before<'a>) -> impl Iterator<Item = f64> + Clone + 'a {
        self.connections.iter().flat_map(move |connection| {
            let wiring = &connection.wiring;
            let area = wiring.multiplicity() as f64;
            connection.row(channel).iter().enumerate().map(move |(position, weight)| {
                weight * area * before.lambda(wiring.source, wiring.source_channel(channel, position))
            })
        })
    }
}

/// The layers of a trained network, batch norms folded.
///
/// - `tensors`: as [`model::ann::AnnArtefact::read`] has checked them
pub fn ann_layers(architecture: &Architecture, tensors: &BTreeMap<String, TensorF32>) -> Vec<AnnLayer> {
    architecture.populations().iter().map(|population| ann_layer(population, tensors)).collect()
}

fn ann_layer(population: &Population, tensors: &BTreeMap<String, TensorF32>) -> AnnLayer {
    let mut biases = vec![0.0; population.shape[0]];
    let connections = population.connections.iter().map(|connection| {
        let folded = fold(connection, population, tensors);
        biases.iter_mut().zip(&folded.biases).for_each(|(sum, bias)| *sum += bias);
        folded.connection
    });
    let connections = connections.collect();
    AnnLayer { name: population.name.clone(), shape: population.shape, connections, biases }
}

struct Folded {
    connection: Connection<f64>,
    biases: Vec<f64>,
}

fn fold(connection: &population::Connection, population: &Population, tensors: &BTreeMap<String, TensorF32>) -> Folded {
    let population::Connection { source, source_shape, pools, weights } = connection;
    let pooled = pools.iter().fold(*source_shape, |shape, pool| pool.output(shape));
    let n_in: usize = pooled.iter().product();
    let n_channels = population.shape[0];
    let stored = |path: &str, field: &str| -> Option<Vec<f64>> {
        let tensor = tensors.get(&format!("{path}.{field}"))?;
        Some(tensor.values.iter().map(|&value| f64::from(value)).collect())
    };
    let weighted = |path: &str| {
        let weights = stored(path, "weight").expect("tensors were checked against the architecture");
        (weights, stored(path, "bias").unwrap_or_else(|| vec![0.0; n_channels]))
    };
    let (kernel, (mut weights, mut biases), batch_norm) = match weights {
        Weights::Dense { path, batch_norm } => (Kernel::dense(n_in, n_channels), weighted(path), batch_norm.as_ref()),
        Weights::Conv { path, conv, batch_norm } => {
            let kernel = Kernel {
                input: pooled,
                channels: conv.channels,
                size: conv.kernel,
                stride: conv.stride,
                padding: conv.padding,
                groups: conv.groups,
            };
            (kernel, weighted(path), batch_norm.as_ref())
        }
        Weights::Identity => {
            let input = if population.shape[1..] == [1, 1] { [n_in, 1, 1] } else { pooled };
            let kernel = Kernel { input, channels: n_channels, size: 1, stride: 1, padding: 0, groups: n_channels };
            (kernel, (vec![1.0; n_channels], vec![0.0; n_channels]), None)
        }
    };
    if let Some(BatchNorm { path, epsilon }) = batch_norm {
        let [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|field| stored(path, field).expect("tensors were checked against the architecture"));
        for (channel, row) in weights.chunks_exact_mut(kernel.row_len()).enumerate() {
            let scale = gamma[channel] / (variance[channel] + epsilon).sqrt();
            for weight in row {
                *weight *= scale;
            }
            biases[channel] = (biases[channel] - mean[channel]) * scale + beta[channel];
        }
    }
    let wiring = Wiring { source: *source, source_shape: *source_shape, pools: pools.clone(), kernel };
    let area = wiring.multiplicity() as f64;
    for weight in &mut weights {
        *weight /= area;
    }
    Folded { connection: Connection { wiring, weights }, biases }
}
