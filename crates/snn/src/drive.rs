//! Weighted sums of real numbers: the current of a constant input, which is the same at every step, and whatever else is
//! not a spike.

use pulp::Arch;

use crate::network::SpikingLayer;
use crate::places::by_neuron;
use crate::pool::Pooling;
use crate::wiring::{Connection, Kernel};

/// A layer's weights of pixels, packed to be multiplied.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    shape: [usize; 3],
    /// `[C]`
    biases: Vec<f64>,
    /// Steps of the channels' grids, `[C]`: powers of two.
    steps: Vec<f64>,
    connections: Vec<Weighted>,
}

/// The weights of one connection, packed to be multiplied with numbers behind its max pools, if it has any.
#[derive(Debug, Clone)]
pub(crate) struct Weighted {
    kernel: Kernel,
    pooling: Pooling,
    n_inputs: usize,
    /// `[C_in, k, k, C_out/groups]`
    weights: Vec<f32>,
}

impl Drive {
    /// `None` if no pixels reach the layer.
    pub(crate) fn of_pixels(layer: &SpikingLayer) -> Option<Self> {
        let of_pixels = layer.connections().iter().filter(|connection| connection.wiring.source == 0);
        let connections: Vec<Weighted> = of_pixels.map(Weighted::new).collect();
        (!connections.is_empty()).then(|| Self {
            shape: layer.shape(),
            biases: layer.biases().iter().map(|&bias| f64::from(bias)).collect(),
            steps: layer.grids().iter().map(|grid| grid.step()).collect(),
            connections,
        })
    }

    /// [`SpikingLayer::drive`].
    pub(crate) fn currents(&self, pixels: &[f32]) -> Vec<f32> {
        assert!(pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "pixels are in [0, 1]");
        let channels = self.shape[0];
        let pixels: Vec<f64> = pixels.iter().map(|&pixel| f64::from(pixel)).collect();
        let mut sums = vec![0.0; self.shape.iter().product()];
        for connection in &self.connections {
            connection.add(&pixels, channels, &mut sums);
        }
        let mut rounded = vec![0.0; sums.len()];
        Arch::new().dispatch(|| self.round(&sums, &mut rounded));
        by_neuron(self.shape, &rounded)
    }

    /// Adds the biases and rounds as [`crate::grid::Grid::round`] does.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    fn round(&self, sums: &[f64], rounded: &mut [f32]) {
        let channels = self.biases.len();
        for (sums, rounded) in sums.chunks_exact(channels).zip(rounded.chunks_exact_mut(channels)) {
            for (((rounded, sum), bias), step) in rounded.iter_mut().zip(sums).zip(&self.biases).zip(&self.steps) {
                *rounded = (((sum + bias) / step).round_ties_even() * step) as f32;
            }
        }
    }
}

impl Weighted {
    pub(crate) fn new(connection: &Connection<f32>) -> Self {
        let (wiring, kernel) = (&connection.wiring, connection.wiring.kernel);
        let pooling = Pooling::new(wiring);
        let Kernel { groups, size, channels, .. } = kernel;
        let (in_per_group, out_per_group) = (kernel.input[0] / groups, channels / groups);
        let mut weights = Vec::with_capacity(connection.weights.len());
        for channel in 0..kernel.input[0] {
            let (group, in_group) = (channel / in_per_group, channel % in_per_group);
            for at in 0..size * size {
                let outputs = group * out_per_group..(group + 1) * out_per_group;
                weights.extend(outputs.map(|out| connection.row(out)[in_group * size * size + at]));
            }
        }
        Self { kernel, pooling, n_inputs: wiring.source_shape.iter().product(), weights }
    }

    /// Adds the weighted sums of a source's values, which are at least 0, to sums by place, each neuron's inputs in order.
    ///
    /// - `values`: of the source's neurons; a max pool takes the largest of its window
    /// - `channels`: of the sums
    pub(crate) fn add(&self, values: &[f64], channels: usize, sums: &mut [f64]) {
        assert_eq!(values.len(), self.n_inputs, "one value per input");
        let pooled = self
            .pooling
            .max
            .iter()
            .fold(None::<Vec<f64>>, |pooled, windows| Some(windows.largest(pooled.as_deref().unwrap_or(values))));
        let values = pooled.as_deref().unwrap_or(values);
        Arch::new().dispatch(|| self.add_pooled(values, channels, sums));
    }

    /// - `values`: behind the max pools
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    fn add_pooled(&self, values: &[f64], channels: usize, sums: &mut [f64]) {
        let Kernel { input: [c_in, height, width], size, groups, .. } = self.kernel;
        let [_, out_height, out_width] = self.kernel.output();
        let out_per_group = channels / groups;
        let mut inputs = vec![0.0; self.kernel.n_in()];
        for (idx, &value) in values.iter().enumerate() {
            self.pooling.for_each_input(idx, |input| inputs[input] += value);
        }
        for (input, &value) in inputs.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let (channel, y, x) = (input / (height * width), input / width % height, input % width);
            let first = channel / (c_in / groups) * out_per_group;
            for ky in 0..size {
                let Some(row) = self.kernel.target(y, ky, out_height) else { continue };
                for kx in 0..size {
                    let Some(column) = self.kernel.target(x, kx, out_width) else { continue };
                    let weights = &self.weights[((channel * size + ky) * size + kx) * out_per_group..][..out_per_group];
                    let sums = &mut sums[(row * out_width + column) * channels + first..][..out_per_group];
                    for (sum, &weight) in sums.iter_mut().zip(weights) {
                        *sum += f64::from(weight) * value;
                    }
                }
            }
        }
    }
}
