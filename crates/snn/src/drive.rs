//! The current of a constant input, the same at every step.

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
    connections: Vec<Pixels>,
}

#[derive(Debug, Clone)]
struct Pixels {
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
        let connections: Vec<Pixels> = of_pixels.map(Pixels::new).collect();
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
        let mut sums = vec![0.0; self.shape.iter().product()];
        for connection in &self.connections {
            assert_eq!(pixels.len(), connection.n_inputs, "one pixel per input");
            Arch::new().dispatch(|| connection.add(pixels, channels, &mut sums));
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

impl Pixels {
    fn new(connection: &Connection<f32>) -> Self {
        let (wiring, kernel) = (&connection.wiring, connection.wiring.kernel);
        let pooling = Pooling::new(wiring);
        assert!(pooling.max.is_empty(), "no max pool before the first weights");
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

    /// Adds to sums by place, each neuron's inputs in order.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    fn add(&self, pixels: &[f32], channels: usize, sums: &mut [f64]) {
        let Kernel { input: [c_in, height, width], size, groups, .. } = self.kernel;
        let [_, out_height, out_width] = self.kernel.output();
        let out_per_group = channels / groups;
        let mut inputs = vec![0.0; self.kernel.n_in()];
        for (pixel_idx, &pixel) in pixels.iter().enumerate() {
            self.pooling.for_each_input(pixel_idx, |input| inputs[input] += f64::from(pixel));
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
