//! The dense engine: the equations as tensors, on any burn backend.
//!
//! Batched over samples, all steps of a chunk in one matrix product or convolution per connection. The path to a GPU, and
//! the oracle of the event-driven engine.

use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use model::config::{Readout, Reset};
use model::network::values;
use model::population::{Pool, PoolKind};

use super::{
    Engine, EngineError, Neurons, RunSettings, Sample, SampleTrace, check_sizes, cumulative_counts, neurons,
    steady_currents,
};
use crate::drive::Drive;
use crate::network::SpikingNetwork;
use crate::spikes::SpikeTrain;
use crate::wiring::{Connection, Kernel, Wiring};

/// Most elements of a tensor of one layer's currents; bounds the memory of long runs (64 MiB).
const MAX_ELEMENTS: usize = 1 << 24;

/// Runs a network on dense tensors.
#[derive(Debug)]
pub struct DenseEngine {
    network: SpikingNetwork,
    drives: Vec<Option<Drive>>,
    /// Per layer and connection.
    synapses: Vec<Vec<Synapses>>,
    device: Device,
    batch_size: usize,
}

/// A connection's weights on the device.
#[derive(Debug)]
struct Synapses {
    wiring: Wiring,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    /// `[n_in, n_out]`
    Dense(Tensor<2>),
    /// `[C_out, C_in/groups, k, k]`
    Conv(Tensor<4>),
}

/// State of one layer for one batch.
struct LayerState {
    /// `[N, n_out]`
    potential: Tensor<2>,
    /// Current of each step that does not depend on spikes, `[N, n_out]`.
    current: Tensor<2>,
    /// Potentials are kept within ± this, `[1, n_out]`.
    limits: Option<Tensor<2>>,
    /// Spikes, or the potential after each step, `[T, N, n_out]`, chunk by chunk.
    output: Vec<f32>,
    /// For each connection and max pool, the spikes so far of the inputs and the largest of each window.
    counts: Vec<Vec<MaxPoolState>>,
}

struct MaxPoolState {
    /// `[N, C, H, W]`
    counts: Tensor<4>,
    /// `[N, C, H', W']`
    largest: Tensor<4>,
}

impl DenseEngine {
    /// Copies a network's weights to a device.
    ///
    /// - `batch_size`: samples that are run together, at least 1; does not change results
    pub fn new(network: &SpikingNetwork, device: &Device, batch_size: usize) -> Self {
        let synapses = network
            .layers()
            .iter()
            .map(|layer| layer.connections().iter().map(|connection| Synapses::new(connection, device)).collect())
            .collect();
        let drives = network.layers().iter().map(Drive::of_pixels).collect();
        Self { network: network.clone(), drives, synapses, device: device.clone(), batch_size: batch_size.max(1) }
    }

    fn run_batch(&self, samples: &[Sample<'_>], settings: &RunSettings, neurons: &[Neurons]) -> Vec<SampleTrace> {
        let inputs: Vec<SpikeTrain> =
            samples.iter().map(|sample| sample.encode(self.network.input(), settings)).collect();
        let mut states = self.initial_states(samples, settings, neurons);
        // A convolution is made a matrix product of, whose other matrix has an entry per input and weight of the kernel.
        let unfolded = |connection: &Connection<f32>| {
            let Kernel { size, .. } = connection.wiring.kernel;
            connection.wiring.kernel.n_in() * size * size
        };
        let widths = self
            .network
            .layers()
            .iter()
            .flat_map(|layer| layer.connections().iter().map(unfolded).chain([layer.n_out()]));
        let widest = widths.max().unwrap_or(1);
        let steps_per_chunk = (MAX_ELEMENTS / (widest * samples.len())).clamp(1, settings.n_steps);
        for first in (0..settings.n_steps).step_by(steps_per_chunk) {
            let n_steps = steps_per_chunk.min(settings.n_steps - first);
            let mut spikes = vec![self.input_tensor(&inputs, first, n_steps)];
            for (idx, state) in states.iter_mut().enumerate() {
                let n_out = self.network.layers()[idx].n_out();
                let connections = self.synapses[idx].iter().zip(&mut state.counts);
                let currents = connections.map(|(synapses, counts)| {
                    synapses.currents(spikes[synapses.wiring.source].clone(), counts, samples.len())
                });
                let currents = currents.reduce(|a, b| a + b).expect("a layer has connections");
                let output = state.advance(&currents.reshape([n_steps, samples.len(), n_out]), neurons[idx].fires);
                state.output.extend(values(output.clone()));
                spikes.push(output);
            }
        }
        self.traces(inputs, &states, settings)
    }

    fn initial_states(&self, samples: &[Sample<'_>], settings: &RunSettings, neurons: &[Neurons]) -> Vec<LayerState> {
        let n_samples = samples.len();
        let row = |values: Vec<f32>| {
            let shape = [1, values.len()];
            Tensor::<2>::from_data(TensorData::new(values, shape), &self.device)
        };
        let layers = self.network.layers().iter().zip(&self.drives).zip(&self.synapses).zip(neurons);
        layers
            .map(|(((layer, drive), synapses), neurons)| {
                let shape = [n_samples, layer.n_out()];
                let currents =
                    samples.iter().flat_map(|sample| steady_currents(layer, drive.as_ref(), sample, settings.encoding));
                let currents: Vec<f32> = currents.collect();
                LayerState {
                    potential: row(layer.for_neurons(layer.initial_potentials())).expand(shape),
                    current: Tensor::from_data(TensorData::new(currents, shape), &self.device),
                    limits: neurons.limits.clone().map(row),
                    output: Vec::new(),
                    counts: synapses.iter().map(|synapses| synapses.initial_counts(n_samples, &self.device)).collect(),
                }
            })
            .collect()
    }

    /// Spikes of some steps, `[T·N, n_in]`.
    fn input_tensor(&self, inputs: &[SpikeTrain], first: usize, n_steps: usize) -> Tensor<2> {
        let (n_samples, n_in) = (inputs.len(), self.network.n_in());
        let mut spikes = vec![0.0_f32; n_steps * n_samples * n_in];
        for step in 0..n_steps {
            for (sample, train) in inputs.iter().enumerate() {
                let row = &mut spikes[(step * n_samples + sample) * n_in..][..n_in];
                train.neurons(first + step).for_each(|input| row[input] = 1.0);
            }
        }
        Tensor::from_data(TensorData::new(spikes, [n_steps * n_samples, n_in]), &self.device)
    }

    fn traces(&self, inputs: Vec<SpikeTrain>, states: &[LayerState], settings: &RunSettings) -> Vec<SampleTrace> {
        let (n_samples, n_classes) = (inputs.len(), self.network.n_classes());
        let potentials: Vec<Vec<f32>> = states.iter().map(|state| values(state.potential.clone())).collect();
        let n_firing = self.network.layers().len() - usize::from(settings.readout == Readout::Potential);
        let trace = |(sample, input): (usize, SpikeTrain)| {
            let mut spikes = vec![input];
            for (layer, state) in self.network.layers()[..n_firing].iter().zip(states) {
                let mut train = SpikeTrain::silent(layer.shape(), settings.n_steps);
                for step in 0..settings.n_steps {
                    let row = &state.output[(step * n_samples + sample) * layer.n_out()..][..layer.n_out()];
                    let fired = row.iter().enumerate().filter(|(_, spike)| **spike != 0.0);
                    fired.for_each(|(neuron, _)| train.add(step, neuron));
                }
                spikes.push(train);
            }
            let readout = match settings.readout {
                Readout::Spikes => cumulative_counts(spikes.last().expect("the input at least")),
                Readout::Potential => {
                    let output = &states.last().expect("a network has layers").output;
                    let at = |step: usize| &output[(step * n_samples + sample) * n_classes..][..n_classes];
                    (0..settings.n_steps).flat_map(at).copied().collect()
                }
            };
            let left = |(all, layer): (&Vec<f32>, &crate::SpikingLayer)| {
                all[sample * layer.n_out()..][..layer.n_out()].to_vec()
            };
            let residual = potentials.iter().zip(self.network.layers()).map(left).collect();
            SampleTrace { spikes, readout, residual, n_classes }
        };
        inputs.into_iter().enumerate().map(trace).collect()
    }
}

impl Synapses {
    fn new(connection: &Connection<f32>, device: &Device) -> Self {
        let Connection { wiring, weights } = connection;
        let data = TensorData::new(weights.clone(), wiring.kernel.weight_shape());
        let weights = if wiring.kernel.is_dense() {
            Weights::Dense(Tensor::<2>::from_data(data, device).transpose())
        } else {
            Weights::Conv(Tensor::from_data(data, device))
        };
        Self { wiring: wiring.clone(), weights }
    }

    fn initial_counts(&self, n_samples: usize, device: &Device) -> Vec<MaxPoolState> {
        let zeros = |[c, h, w]: [usize; 3]| Tensor::zeros([n_samples, c, h, w], device);
        let mut shape = self.wiring.source_shape;
        let of = |pool: &Pool| {
            let counts = zeros(shape);
            shape = pool.output(shape);
            MaxPoolState { counts, largest: zeros(shape) }
        };
        self.wiring.max_pools().map(of).collect()
    }

    /// Currents `[T·N, n_out]` of spikes `[T·N, n_source]`.
    fn currents(&self, spikes: Tensor<2>, counts: &mut [MaxPoolState], n_samples: usize) -> Tensor<2> {
        let n_rows = spikes.dims()[0];
        let [channels, height, width] = self.wiring.source_shape;
        let mut x = spikes.reshape([n_rows, channels, height, width]);
        let mut counts = counts.iter_mut();
        for pool in &self.wiring.pools {
            x = match pool.kind {
                PoolKind::Max => counts.next().expect("one state per max pool").pass(x, pool, n_samples),
                // Sums of spikes are whole numbers: rounding takes the error of the division back.
                PoolKind::Mean => {
                    let options = AvgPoolOptions::new(pool.kernel).with_stride(pool.stride);
                    (avg_pool2d(x, options) * pool.area() as f32).round()
                }
            };
        }
        match &self.weights {
            Weights::Dense(weights) => x.flatten::<2>(1, 3).matmul(weights.clone()),
            Weights::Conv(weights) => {
                let Kernel { input: [c, h, w], stride, padding, groups, .. } = self.wiring.kernel;
                let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
                conv2d(x.reshape([n_rows, c, h, w]), weights.clone(), None, options).flatten(1, 3)
            }
        }
    }
}

impl MaxPoolState {
    /// The spikes that raise the largest count of a window.
    ///
    /// - `spikes`: `[T·N, C, H, W]`
    fn pass(&mut self, spikes: Tensor<4>, pool: &Pool, n_samples: usize) -> Tensor<4> {
        let n_steps = spikes.dims()[0] / n_samples;
        let steps = spikes.chunk(n_steps, 0).into_iter().map(|spikes| {
            self.counts = self.counts.clone() + spikes;
            let options = MaxPoolOptions::new(pool.kernel).with_stride(pool.stride);
            let largest = max_pool2d(self.counts.clone(), options);
            largest.clone() - std::mem::replace(&mut self.largest, largest)
        });
        Tensor::cat(steps.collect(), 0)
    }
}

impl LayerState {
    /// Runs the steps of a chunk.
    ///
    /// - `currents`: from spikes, `[T, N, n_out]`
    /// - `fires`: what a spike does; `None` if the neurons only integrate
    /// - returns spikes, or the potentials of neurons that only integrate, `[T·N, n_out]`
    fn advance(&mut self, currents: &Tensor<3>, fires: Option<Reset>) -> Tensor<2> {
        let [n_steps, n_samples, n_out] = currents.dims();
        let mut outputs = Vec::with_capacity(n_steps);
        for step in 0..n_steps {
            let current = currents.clone().slice([step..step + 1, 0..n_samples, 0..n_out]).reshape([n_samples, n_out]);
            let u = self.potential.clone() + current + self.current.clone();
            let fired = u.clone().greater_equal_elem(1.0);
            let after = match fires {
                None => u,
                Some(Reset::Subtract) => u - fired.clone().float(),
                Some(Reset::Zero) => u.mask_fill(fired.clone(), 0.0),
            };
            self.potential = match &self.limits {
                None => after,
                Some(limits) => after.min_pair(limits.clone()).max_pair(-limits.clone()),
            };
            outputs.push(if fires.is_some() { fired.float() } else { self.potential.clone() });
        }
        Tensor::cat(outputs, 0)
    }
}

impl Engine for DenseEngine {
    fn run(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<SampleTrace>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neurons = neurons(&self.network, settings);
        Ok(samples.chunks(self.batch_size).flat_map(|batch| self.run_batch(batch, settings, &neurons)).collect())
    }
}
