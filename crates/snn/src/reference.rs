//! The reference engine: the definition of a spiking network, neuron by neuron and step by step.
//!
//! Slow and short. It runs any model of [`crate::neurons`], and what it says is right: the fast engines are tested against it, and
//! `simulate.engine = "reference"` runs it where somebody doubts them. All sums are of whole multiples of a grid's step
//! ([`crate::grid`]) and therefore exact in the 64-bit floats used here.

use model::config::Encoding;
use model::population::PoolKind;
use rayon::prelude::*;

use crate::engine::{
    Emissions, Engine, EngineError, Neurons, RunSettings, Sample, SampleTrace, check_sizes, neurons_of,
};
use crate::network::{SpikingLayer, SpikingNetwork};
use crate::neurons::{self, Neuron, State};
use crate::wiring::{Source, Wiring};

/// Runs a network as it is defined.
#[derive(Debug, Clone)]
pub struct ReferenceEngine {
    network: SpikingNetwork,
}

impl ReferenceEngine {
    /// An engine for one network.
    pub fn new(network: &SpikingNetwork) -> Self {
        Self { network: network.clone() }
    }

    /// Runs samples independently of each other with neurons of any model in every layer that fires; tells what every neuron puts out at
    /// every step.
    ///
    /// - `neuron`: that of the settings is [`crate::neurons::of_run`]
    /// - returns what happened in each sample, in order
    ///
    /// # Errors
    /// [`EngineError::WrongSize`] if a sample does not fit the network; [`EngineError::TooLarge`] if sums would not be exact.
    pub fn emissions(
        &self,
        samples: &[Sample<'_>],
        settings: &RunSettings,
        neuron: &dyn Neuron,
    ) -> Result<Vec<Emissions>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neurons = neurons_of(&self.network, settings, neuron)?;
        Ok(samples.par_iter().map(|sample| self.run_sample(sample, settings, neuron, &neurons)).collect())
    }

    /// - `neurons`: one entry per layer
    fn run_sample(
        &self,
        sample: &Sample<'_>,
        settings: &RunSettings,
        neuron: &dyn Neuron,
        neurons: &[Neurons],
    ) -> Emissions {
        let n_steps = settings.n_steps;
        let loss = self.network.spike_loss();
        let arrives = |source: Source, step: usize, neuron: usize| {
            !loss.is_some_and(|loss| loss.loses(source, sample.index, neuron, step))
        };
        let input = sample.encode(self.network.input(), settings);
        let levels = neuron.levels();
        let of_input = |step: usize, at: usize| {
            if input.get(step, at) && arrives(Source::INPUT, step, at) { levels as i32 } else { 0 }
        };
        let inputs = (0..n_steps).map(|step| (0..input.n_neurons()).map(|at| of_input(step, at)).collect());
        let mut quanta: Vec<Vec<Vec<i32>>> = vec![inputs.collect()];
        let mut potentials = Vec::with_capacity(self.network.layers().len());
        for (idx, (layer, neurons)) in self.network.layers().iter().zip(neurons).enumerate() {
            let Neurons { fires, thresholds, limits } = neurons;
            let limit = |at: usize| limits.as_ref().map_or(f64::INFINITY, |limits| f64::from(limits[at]));
            let threshold = |at: usize| thresholds.as_ref().map_or(1.0, |all| f64::from(all[at]));
            let start = |potential| State { potential: f64::from(potential), emitted: 0 };
            let mut states: Vec<State> = layer.for_neurons(layer.initial_potentials()).into_iter().map(start).collect();
            let steady = match settings.encoding {
                Encoding::Constant => layer.drive(sample.pixels),
                _ => layer.biases().of_neurons(layer.n_positions()),
            };
            let arriving: Vec<Vec<Vec<f64>>> = layer
                .connections()
                .iter()
                .map(|connection| pooled(wide(&quanta[connection.wiring.source.index()]), &connection.wiring))
                .collect();
            let mut emitted = vec![vec![0; layer.n_out()]; n_steps];
            let mut after = Vec::with_capacity(n_steps);
            for (step, emitted) in emitted.iter_mut().enumerate() {
                let mut currents: Vec<f64> =
                    steady.iter().map(|&current| f64::from(current) * f64::from(levels)).collect();
                for (connection, arriving) in layer.connections().iter().zip(&arriving) {
                    for (at, &quanta) in arriving[step].iter().enumerate().filter(|(_, quanta)| **quanta != 0.0) {
                        let reach =
                            |j: usize, weight: usize| currents[j] += quanta * f64::from(connection.weights[weight]);
                        connection.wiring.kernel.for_each_synapse(at, reach);
                    }
                }
                for (at, (state, current)) in states.iter_mut().zip(currents).enumerate() {
                    if fires.is_some() {
                        emitted[at] = neuron.step(state, current, threshold(at), step);
                    } else {
                        state.potential += current;
                    }
                    state.potential = state.potential.clamp(-limit(at), limit(at));
                }
                after.push(states.iter().map(|state| state.potential).collect());
            }
            if neuron.waits() && fires.is_some() {
                for (at, state) in states.iter().enumerate() {
                    let spikes = neurons::spread(state.emitted as usize, n_steps);
                    emitted.iter_mut().zip(spikes).for_each(|(emitted, spike)| emitted[at] = i32::from(spike));
                }
            }
            for (step, emitted) in emitted.iter_mut().enumerate() {
                let lost = |at: &usize| !arrives(Source::of_layer(idx), step, *at);
                (0..emitted.len()).filter(lost).for_each(|at| emitted[at] = 0);
            }
            quanta.push(emitted);
            potentials.push(after);
        }
        Emissions { quanta, potentials }
    }
}

impl Engine for ReferenceEngine {
    fn run(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<SampleTrace>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neuron = neurons::of_run(settings);
        let neurons = neurons_of(&self.network, settings, &*neuron)?;
        // Sample by sample: what happened in one takes far more room than its trace.
        let run = |sample| self.run_sample(sample, settings, &*neuron, &neurons).trace(&self.network, settings);
        Ok(samples.par_iter().map(run).collect())
    }
}

/// Current per step of a constant input, the definition of [`SpikingLayer::drive`]: in f64, inputs in order, then rounded to the grid of
/// the channel, halves to even.
pub(crate) fn drive(layer: &SpikingLayer, pixels: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; layer.n_out()];
    let mut reached = false;
    for connection in layer.connections().iter().filter(|connection| connection.wiring.source == Source::INPUT) {
        assert_eq!(pixels.len(), connection.wiring.source_shape.iter().product::<usize>(), "one pixel per input");
        assert!(pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "pixels are in [0, 1]");
        let values = pooled(vec![pixels.iter().map(|&pixel| f64::from(pixel)).collect()], &connection.wiring);
        for (at, &value) in values[0].iter().enumerate() {
            let reach = |j: usize, weight: usize| sums[j] += value * f64::from(connection.weights[weight]);
            connection.wiring.kernel.for_each_synapse(at, reach);
        }
        reached = true;
    }
    if !reached {
        return layer.biases().of_neurons(layer.n_positions());
    }
    let n_positions = layer.n_positions();
    let round = |(at, sum): (usize, f64)| {
        let bias = f64::from(layer.biases().at(at, n_positions));
        let step = layer.grids()[at / n_positions].step();
        (((sum + bias) / step).round_ties_even() * step) as f32
    };
    sums.into_iter().enumerate().map(round).collect()
}

fn wide(steps: &[Vec<i32>]) -> Vec<Vec<f64>> {
    steps.iter().map(|quanta| quanta.iter().map(|&quanta| f64::from(quanta)).collect()).collect()
}

/// What comes out of a wiring's pools at each step: of a max pool the change of the largest count so far of each window, of an average
/// pool the sum of the window, each input as often as it is added (the divisor is in the weights).
///
/// - `steps`: what arrives at the pools, `[T][n]`
fn pooled(mut steps: Vec<Vec<f64>>, wiring: &Wiring) -> Vec<Vec<f64>> {
    let mut shape = wiring.source_shape;
    for pool in &wiring.pools {
        let [_, height, width] = shape;
        let [of_rows, of_columns] = pool.multiples(shape);
        shape = pool.output(shape);
        let [channels, rows, columns] = shape;
        let place = |window: usize| [window / (rows * columns), window / columns % rows, window % columns];
        let inside = |window: usize| {
            let [channel, row, column] = place(window);
            (0..pool.area()).filter_map(move |i| {
                let y = pool.axis(0, height).input(row, i / pool.kernel[1])?;
                let x = pool.axis(1, width).input(column, i % pool.kernel[1])?;
                Some((channel * height + y) * width + x)
            })
        };
        let multiple = |window: usize| (of_rows[place(window)[1]] * of_columns[place(window)[2]]) as f64;
        let n_windows = channels * rows * columns;
        let mut so_far = vec![0.0; steps.first().map_or(0, Vec::len)];
        let mut largest = vec![0.0; n_windows];
        for values in &mut steps {
            so_far.iter_mut().zip(&*values).for_each(|(sum, value)| *sum += value);
            let mut of = |window: usize| match pool.kind {
                PoolKind::Mean => inside(window).map(|at| values[at] * multiple(window)).sum(),
                PoolKind::Max => {
                    let now = inside(window).map(|at| so_far[at]).fold(0.0, f64::max);
                    now - std::mem::replace(&mut largest[window], now)
                }
            };
            *values = (0..n_windows).map(&mut of).collect();
        }
    }
    steps
}
