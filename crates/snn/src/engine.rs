//! What runs a spiking network: the common interface, and what a run gives.
//!
//! Every engine gives the same [`SampleTrace`]s, bit for bit, for any batch size and number of threads: those of
//! [`crate::ReferenceEngine`], which the tests of each hold it to.

use std::ops::Range;

use model::Backend;
use model::config::{Encoding, NeuronConfig, Readout, Reset, SimulateConfig};
use rayon::prelude::*;
use thiserror::Error;

use crate::encoder::encode;
use crate::exit::{EarlyDecision, EarlyExit};
use crate::network::{SpikingLayer, SpikingNetwork};
use crate::neurons::Neuron;
use crate::places::Potentials;
use crate::spikes::SpikeTrain;

/// How a network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSettings {
    /// How pixels become input.
    pub encoding: Encoding,
    /// What fires.
    pub neuron: NeuronConfig,
    /// What a spike does to the membrane potential of integrate-and-fire neurons.
    pub reset: Reset,
    /// What the decision is read from.
    pub readout: Readout,
    /// Number of time steps T.
    pub n_steps: usize,
    /// Simulation seed: key of the input's random numbers.
    pub seed: u64,
}

impl RunSettings {
    /// The settings of a configuration, for one of its seeds.
    pub fn new(config: &SimulateConfig, seed: u64) -> Self {
        let SimulateConfig { encoding, neuron, reset, readout, steps, .. } = *config;
        Self { encoding, neuron, reset, readout, n_steps: steps, seed }
    }
}

/// One input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// Index in its data set; part of the key of its random numbers.
    pub index: u32,
    /// Pixels `[n_in]`, each in [0, 1].
    pub pixels: &'a [f32],
}

impl<'a> Sample<'a> {
    /// Samples of images that follow each other in their data set.
    ///
    /// - `first`: index of the first one
    /// - `images`: `[n_in]` each
    pub fn consecutive(first: usize, images: &'a [Vec<f32>]) -> Vec<Self> {
        (first..).zip(images).map(|(index, pixels)| Self { index: index as u32, pixels }).collect()
    }

    /// The input spikes of a run.
    ///
    /// - `shape`: `[C, H, W]` of the input
    pub fn encode(&self, shape: [usize; 3], settings: &RunSettings) -> SpikeTrain {
        self.encode_steps(shape, settings, 0..settings.n_steps)
    }

    /// The input spikes of some steps of a run.
    pub fn encode_steps(&self, shape: [usize; 3], settings: &RunSettings, steps: Range<usize>) -> SpikeTrain {
        encode(settings.encoding, settings.seed, self.index, shape, self.pixels, steps)
    }
}

/// What a network did with one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleTrace {
    /// Spikes of the input, then of each layer that fires: all but the last, and the last too with readout `spikes`. A spike of the
    /// input is worth a whole threshold, one of a layer as many quanta as it says.
    pub spikes: Vec<SpikeTrain>,
    /// After each step, `[T, n_classes]`, row-major: membrane potential, or spikes so far.
    pub readout: Vec<f32>,
    /// Membrane potentials left in each layer after the last step, in thresholds.
    pub residual: Vec<Potentials>,
    /// Number of classes.
    pub n_classes: usize,
}

impl SampleTrace {
    /// Number of time steps T.
    pub fn n_steps(&self) -> usize {
        self.readout.len() / self.n_classes
    }

    /// How many classes come before one after each step, `[T]` ([`rank`]).
    pub fn ranks(&self, class: usize) -> impl Iterator<Item = usize> {
        self.readout.chunks_exact(self.n_classes).map(move |values| rank(values, class))
    }

    /// The decision after each step, `[T]`: the class with the highest readout, the first one among equals.
    pub fn decisions(&self) -> Vec<usize> {
        self.readout.chunks_exact(self.n_classes).map(first_largest).collect()
    }
}

/// How many classes come before one if they are ordered by their values, largest first, the first one of equals first.
pub fn rank(values: &[f32], class: usize) -> usize {
    let value = values[class];
    let before = |&(other, &of_other): &(usize, &f32)| of_other > value || of_other == value && other < class;
    values.iter().enumerate().filter(before).count()
}

/// Index of the largest value, the first one among equals.
pub fn first_largest(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, idx| if values[idx] > values[best] { idx } else { best })
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// A sample does not fit the network.
    #[error(
        "sample {index} has {found} pixels, but the network has {expected} inputs; use the data set it was trained on"
    )]
    WrongSize {
        /// Index of the sample.
        index: u32,
        /// Its number of pixels.
        found: usize,
        /// The network's number of inputs.
        expected: usize,
    },
    /// Sums would not be exact with a neuron whose spikes carry more than those that the network was converted for.
    #[error(
        "layer {layer}: sums of channel {channel} could go beyond what is exact with neurons `{neuron}`; convert again for these neurons \
         (simulate.neuron), and use fewer simulate.steps or simulate.levels, or a smaller convert.sum_bits, if that does not help"
    )]
    TooLarge {
        /// Name of the layer.
        layer: String,
        /// Index of the channel, from 0; in a fully connected layer, of the neuron.
        channel: usize,
        /// Name of the neuron.
        neuron: &'static str,
    },
    /// A backend does not give the spikes of exact sums.
    #[error(
        "backend `{backend}`: layer {layer} differs from exact sums (a matrix product that rounds to TF32 or 16 bits would); run with `--backend flex`, or with simulate.engine = \"event\""
    )]
    Inexact {
        /// What was asked for.
        backend: Backend,
        /// Name of the first layer that differs, or `input`.
        layer: String,
    },
}

/// Runs a spiking network.
pub trait Engine: Sync {
    /// Runs samples independently of each other.
    ///
    /// - returns one trace per sample, in order
    ///
    /// # Errors
    /// [`EngineError::WrongSize`] if a sample does not fit the network; [`EngineError::Inexact`] if the backend cannot run it
    /// exactly.
    fn run(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<SampleTrace>, EngineError>;

    /// Runs each sample until its decision is settled; the decisions are those that the whole runs would have been cut at.
    ///
    /// Runs to the end and looks back, unless an engine knows how to stop.
    ///
    /// - `exit`: made for the engine's network
    /// - returns one decision per sample, in order
    ///
    /// # Errors
    /// [`EngineError::WrongSize`] if a sample does not fit the network.
    fn run_until(
        &self,
        samples: &[Sample<'_>],
        settings: &RunSettings,
        exit: &EarlyExit,
    ) -> Result<Vec<EarlyDecision>, EngineError> {
        Ok(self.run(samples, settings)?.par_iter().map(|trace| exit.decide(trace, settings)).collect())
    }
}

/// Refuses a sample that does not fit the network.
///
/// # Errors
/// [`EngineError::WrongSize`] for the first one.
pub fn check_sizes(network: &SpikingNetwork, samples: &[Sample<'_>]) -> Result<(), EngineError> {
    match samples.iter().find(|sample| sample.pixels.len() != network.n_in()) {
        None => Ok(()),
        Some(sample) => {
            Err(EngineError::WrongSize { index: sample.index, found: sample.pixels.len(), expected: network.n_in() })
        }
    }
}

/// What the neurons of a layer do in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Neurons {
    /// What a spike does; `None` if they only integrate.
    pub fires: Option<Reset>,
    /// Potentials at which they fire and which a spike subtracts, `[n_out]`; `None` where all are 1, or none fires.
    pub thresholds: Option<Vec<f32>>,
    /// Potentials are kept within ± this, `[n_out]`; `None` if no neuron needs a limit.
    pub limits: Option<Vec<f32>>,
}

/// What the neurons of each layer do in a run, one entry per layer.
pub fn neurons(network: &SpikingNetwork, settings: &RunSettings) -> Vec<Neurons> {
    let last = network.layers().len() - 1;
    let of = |(idx, layer): (usize, &SpikingLayer)| {
        let fires = (idx < last || settings.readout == Readout::Spikes).then_some(settings.reset);
        Neurons {
            fires,
            thresholds: fires.and_then(|_| layer.firing_thresholds()).map(<[f32]>::to_vec),
            limits: layer.potential_limits(settings.n_steps).map(|limits| layer.for_neurons(&limits)),
        }
    };
    network.layers().iter().enumerate().map(of).collect()
}

/// The same for neurons of any model in every layer: limits are those of what its spikes carry.
///
/// # Errors
/// [`EngineError::TooLarge`] if a layer's sums would not be exact.
pub fn neurons_of(
    network: &SpikingNetwork,
    settings: &RunSettings,
    neuron: &dyn Neuron,
) -> Result<Vec<Neurons>, EngineError> {
    let mut all = neurons(network, settings);
    let is_lossy = network.spike_loss().is_some();
    for (neurons, layer) in all.iter_mut().zip(network.layers()) {
        let limits = layer.potential_limits_of(neuron, settings.n_steps, is_lossy).map_err(|channel| {
            EngineError::TooLarge { layer: layer.name().to_owned(), channel, neuron: neuron.name() }
        })?;
        neurons.limits = limits.map(|limits| layer.for_neurons(&limits));
    }
    Ok(all)
}

/// What a network of neurons of any model did with one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Emissions {
    /// What arrives of the input, then of each layer, in quanta, of which a threshold has [`Neuron::levels`], `[source][T][n]`. A last
    /// layer that only integrates has zeros.
    pub quanta: Vec<Vec<Vec<i32>>>,
    /// Potentials of each layer after each step, in quanta, `[layer][T][n]`.
    pub potentials: Vec<Vec<Vec<f64>>>,
}

impl Emissions {
    /// The same as trains of spikes.
    ///
    /// - `network`, `settings`: of the run
    pub fn trace(&self, network: &SpikingNetwork, settings: &RunSettings) -> SampleTrace {
        let Self { quanta, potentials } = self;
        let levels = f64::from(settings.neuron.levels);
        let shapes = std::iter::once(network.input()).chain(network.layers().iter().map(SpikingLayer::shape));
        let n_firing = network.layers().len() + usize::from(settings.readout == Readout::Spikes);
        let train = |(idx, (shape, steps)): (usize, ([usize; 3], &Vec<Vec<i32>>))| {
            // A spike of the input is a whole threshold.
            let unit = if idx == 0 { settings.neuron.levels as i32 } else { 1 };
            let mut train = SpikeTrain::silent(shape, settings.n_steps);
            for (step, out) in steps.iter().enumerate() {
                out.iter().enumerate().for_each(|(at, &quanta)| train.add_quanta(step, at, quanta / unit));
            }
            train.normalized()
        };
        let spikes: Vec<SpikeTrain> = shapes.zip(quanta).enumerate().take(n_firing).map(train).collect();
        let narrow = |values: &[f64]| values.iter().map(|&value| (value / levels) as f32).collect::<Vec<f32>>();
        let readout = match settings.readout {
            Readout::Spikes => cumulative_counts(spikes.last().expect("the last layer fires")),
            Readout::Potential => potentials.last().into_iter().flatten().flat_map(|step| narrow(step)).collect(),
        };
        let residual = network.layers().iter().zip(potentials).map(|(layer, steps)| {
            let last = steps.last().map_or_else(|| layer.for_neurons(layer.initial_potentials()), |step| narrow(step));
            Potentials::of_neurons(layer.shape(), &last)
        });
        SampleTrace { spikes, readout, residual: residual.collect(), n_classes: network.n_classes() }
    }
}

/// Quanta so far after each step, `[T, n]`: spikes, where each stands for one.
pub fn cumulative_counts(train: &SpikeTrain) -> Vec<f32> {
    let mut sums = vec![0.0; train.n_neurons()];
    let mut counts = Vec::with_capacity(train.n_steps() * train.n_neurons());
    for step in 0..train.n_steps() {
        for (neuron, quanta) in train.graded_neurons(step) {
            sums[neuron] += quanta as f32;
        }
        counts.extend_from_slice(&sums);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_is_the_first_of_equals() {
        let trace = SampleTrace {
            spikes: Vec::new(),
            readout: vec![0.0, 2.0, 2.0, -1.0, -2.0, -1.0],
            residual: Vec::new(),
            n_classes: 3,
        };
        assert_eq!(trace.decisions(), [1, 0]);
        assert_eq!(trace.ranks(1).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(trace.ranks(2).collect::<Vec<_>>(), [1, 1]);
    }
}
