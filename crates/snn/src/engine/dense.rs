//! The dense engine: the equations as tensors, on any burn backend.
//!
//! Batched over samples, all steps of a chunk in one matrix product per layer. The path to a GPU, and the oracle of
//! the event-driven engine.

use burn::tensor::{Device, Tensor, TensorData};
use model::config::{Encoding, Readout, Reset};
use model::network::values;

use super::{Engine, EngineError, Neurons, RunSettings, Sample, SampleTrace, check_sizes, cumulative_counts, neurons};
use crate::network::SpikingNetwork;
use crate::spikes::SpikeTrain;

/// Most elements of a tensor of one layer's currents; bounds the memory of long runs (64 MiB).
const MAX_ELEMENTS: usize = 1 << 24;

/// Runs a network on dense tensors.
#[derive(Debug)]
pub struct DenseEngine {
    network: SpikingNetwork,
    /// Per layer, `[n_in, n_out]` and `[1, n_out]`.
    tensors: Vec<(Tensor<2>, Tensor<2>)>,
    device: Device,
    batch_size: usize,
}

/// State of one layer for one batch.
struct LayerState {
    /// `[N, n_out]`
    potential: Tensor<2>,
    /// Current of each step that does not depend on spikes, `[N, n_out]` or `[1, n_out]`.
    current: Tensor<2>,
    /// Potentials are kept within ± this, `[1, n_out]`.
    limits: Option<Tensor<2>>,
    /// Spikes, or the potential after each step, `[T, N, n_out]`, chunk by chunk.
    output: Vec<f32>,
}

impl DenseEngine {
    /// Copies a network's weights to a device.
    ///
    /// - `batch_size`: samples that are run together, at least 1; does not change results
    pub fn new(network: &SpikingNetwork, device: &Device, batch_size: usize) -> Self {
        let tensors = network
            .layers()
            .iter()
            .map(|layer| {
                let weights = TensorData::new(layer.transposed_weights(), [layer.n_in(), layer.n_out()]);
                let biases = TensorData::new(layer.biases().to_vec(), [1, layer.n_out()]);
                (Tensor::from_data(weights, device), Tensor::from_data(biases, device))
            })
            .collect();
        Self { network: network.clone(), tensors, device: device.clone(), batch_size: batch_size.max(1) }
    }

    fn run_batch(&self, samples: &[Sample<'_>], settings: &RunSettings, neurons: &[Neurons]) -> Vec<SampleTrace> {
        let inputs: Vec<SpikeTrain> = samples.iter().map(|sample| sample.encode(settings)).collect();
        let mut states = self.initial_states(samples, settings, neurons);
        let widest = self.network.layers().iter().map(|layer| layer.n_in().max(layer.n_out())).max().unwrap_or(1);
        let steps_per_chunk = (MAX_ELEMENTS / (widest * samples.len())).clamp(1, settings.n_steps);
        for first in (0..settings.n_steps).step_by(steps_per_chunk) {
            let n_steps = steps_per_chunk.min(settings.n_steps - first);
            let mut spikes = self.input_tensor(&inputs, first, n_steps);
            for ((state, (weights, _)), neurons) in states.iter_mut().zip(&self.tensors).zip(neurons) {
                let n_out = weights.dims()[1];
                let currents = spikes.matmul(weights.clone()).reshape([n_steps, samples.len(), n_out]);
                let output = state.advance(&currents, neurons.fires);
                state.output.extend(values(output.clone()));
                spikes = output;
            }
        }
        self.traces(inputs, &states, settings)
    }

    fn initial_states(&self, samples: &[Sample<'_>], settings: &RunSettings, neurons: &[Neurons]) -> Vec<LayerState> {
        let row =
            |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, values.len()]), &self.device);
        let layers = self.network.layers().iter().zip(&self.tensors).zip(neurons).enumerate();
        layers
            .map(|(idx, ((layer, (_, biases)), neurons))| {
                let shape = [samples.len(), layer.n_out()];
                let current = if idx == 0 && settings.encoding == Encoding::Constant {
                    let drives = samples.iter().flat_map(|sample| layer.drive(sample.pixels)).collect::<Vec<_>>();
                    Tensor::from_data(TensorData::new(drives, shape), &self.device)
                } else {
                    biases.clone()
                };
                let potential = row(layer.initial_potentials()).expand(shape);
                LayerState { potential, current, limits: neurons.limits.as_deref().map(row), output: Vec::new() }
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
                let mut train = SpikeTrain::silent(layer.n_out(), settings.n_steps);
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
