//! Runs told step by step, with neurons of any model.

use ann::network::values;
use burn::tensor::{Tensor, TensorData};
use snn::engine::{check_sizes, neurons_of};
use snn::wiring::Source;
use snn::{Emissions, EngineError, RunSettings, Sample};

use crate::DenseEngine;
use crate::neurons::{Update, update};

impl DenseEngine {
    /// Runs samples independently of each other, step by step on any backend.
    ///
    /// - returns what happened in each sample, in order: bit for bit that of [`snn::ReferenceEngine::emissions`] with the neurons of the
    ///   settings
    ///
    /// # Errors
    /// [`EngineError::WrongSize`] if a sample does not fit the network; [`EngineError::TooLarge`] if sums would not be exact;
    /// [`EngineError::Inexact`] if the backend cannot run it exactly.
    pub fn emissions(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<Emissions>, EngineError> {
        let (neuron, update) = (snn::neurons::of_run(settings), update(settings));
        let levels = neuron.levels() as f32;
        check_sizes(&self.network, samples)?;
        if samples.is_empty() {
            return Ok(Vec::new());
        }
        self.exact.get_or_init(|| self.check(samples, settings)).clone()?;
        let neurons = neurons_of(&self.network, settings, &*neuron)?;
        let plain = self.without_kernels();
        let whole = |quanta: f32| quanta as i32;
        let mut all = Vec::with_capacity(samples.len());
        for (batch, steps_per_chunk) in self.batches(samples, settings) {
            let mut emissions = vec![self.no_emissions(); batch.len()];
            let input = plain.input(batch, settings);
            let mut states = plain.initial_states(batch, settings, &neurons);
            for state in &mut states {
                state.current = state.current.clone().mul_scalar(levels);
            }
            let steps_per_chunk = if neuron.waits() { settings.n_steps } else { steps_per_chunk };
            for first in (0..settings.n_steps).step_by(steps_per_chunk) {
                let steps = first..settings.n_steps.min(first + steps_per_chunk);
                let of_input = plain.input_tensor(&input, steps.clone()).map(|spikes| spikes.mul_scalar(levels));
                let silent = || Tensor::zeros([steps.len() * batch.len(), self.network.n_in()], &self.device);
                read(of_input.clone().unwrap_or_else(silent), &mut emissions, whole, |one| {
                    &mut one.quanta[Source::INPUT.index()]
                });
                let mut outputs = vec![of_input];
                for (idx, state) in states.iter_mut().enumerate() {
                    let currents = plain.currents(idx, state, &outputs, steps.len(), batch.len());
                    let fires: Option<&dyn Update> = neurons[idx].fires.map(|_| &*update);
                    let shape = [steps.len() * batch.len(), self.network.layers()[idx].n_out()];
                    let (quanta, potentials) = state.step_by_step(&currents, fires, true, first);
                    let potentials = potentials.expect("asked for");
                    let quanta = quanta.unwrap_or_else(|| Tensor::zeros(shape, &self.device));
                    let quanta = if neuron.waits() && fires.is_some() { spread(&quanta, steps.len()) } else { quanta };
                    let quanta = plain.arriving(quanta, Source::of_layer(idx), batch, &steps);
                    read(potentials, &mut emissions, f64::from, |one| &mut one.potentials[idx]);
                    read(quanta.clone(), &mut emissions, whole, |one| &mut one.quanta[Source::of_layer(idx).index()]);
                    outputs.push(Some(quanta));
                }
            }
            all.extend(emissions);
        }
        Ok(all)
    }

    /// What a run of no steps gives.
    fn no_emissions(&self) -> Emissions {
        let n_layers = self.network.layers().len();
        Emissions { quanta: vec![Vec::new(); n_layers + 1], potentials: vec![Vec::new(); n_layers] }
    }
}

/// What neurons that wait send.
///
/// - `quanta`: that they counted, `[T·N, n]`
fn spread(quanta: &Tensor<2>, n_steps: usize) -> Tensor<2> {
    let shape = quanta.dims();
    let per_step = shape[0] * shape[1] / n_steps;
    let mut all = values(quanta.clone());
    for at in 0..per_step {
        let count: f32 = (0..n_steps).map(|step| all[step * per_step + at]).sum();
        for (step, fires) in snn::neurons::spread(count as usize, n_steps).enumerate() {
            all[step * per_step + at] = f32::from(u8::from(fires));
        }
    }
    Tensor::from_data(TensorData::new(all, shape), &quanta.device())
}

/// Appends the steps of a chunk to what is known of each sample.
///
/// - `rows`: `[T·N, n]`
/// - `list`: of a sample, `[T][n]`
fn read<T>(
    rows: Tensor<2>,
    emissions: &mut [Emissions],
    of: impl Fn(f32) -> T,
    list: impl Fn(&mut Emissions) -> &mut Vec<Vec<T>>,
) {
    let n = rows.dims()[1];
    for (row_idx, row) in values(rows).chunks_exact(n).enumerate() {
        let sample = row_idx % emissions.len();
        list(&mut emissions[sample]).push(row.iter().map(|&value| of(value)).collect());
    }
}
