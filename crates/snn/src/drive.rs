//! The current of a constant input, the same at every step.

use pulp::Arch;

use crate::grid::Grid;
use crate::network::SpikingLayer;
use crate::places::by_neuron;
use crate::pool::Pooling;
use crate::wiring::{Connection, Kernel};

/// A layer's weights of pixels, packed to be multiplied.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    shape: [usize; 3],
    biases: Vec<f32>,
    grids: Vec<Grid>,
    connections: Vec<Pixels>,
}

#[derive(Debug, Clone)]
struct Pixels {
    kernel: Kernel,
    pooling: Pooling,
    n_pixels: usize,
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
            biases: layer.biases().to_vec(),
            grids: layer.grids().to_vec(),
            connections,
        })
    }

    /// [`SpikingLayer::drive`].
    pub(crate) fn currents(&self, pixels: &[f32]) -> Vec<f32> {
        assert!(pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "pixels are in [0, 1]");
        let channels = self.shape[0];
        let mut sums = vec![0.0; self.shape.iter().product()];
        for connection in &self.connections {
            assert_eq!(pixels.len(), connection.n_pixels, "one pixel per input");
            Arch::new().dispatch(|| connection.add(pixels, channels, &mut sums));
        }
        let rounded = sums.iter().enumerate().map(|(place, sum)| {
            let channel = place % channels;
            self.grids[channel].round(sum + f64::from(self.biases[channel]))
        });
        by_neuron(self.shape, &rounded.collect::<Vec<_>>())
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
        Self { kernel, pooling, n_pixels: wiring.source_shape.iter().product(), weights }
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
