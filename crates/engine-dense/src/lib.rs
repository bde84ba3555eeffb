//! The dense engine: the equations as tensors, on any burn backend.
//!
//! Batched over samples, all steps of a chunk in one matrix product or convolution per connection. The path to a GPU, and
//! the oracle of the event-driven engine.
//!
//! A backend with [`SpikingKernels`] encodes on the device, takes each layer through the steps of a chunk in one launch, and
//! gives spikes back as bits; what crosses to the device per sample is its pixels. On the others, which run on the CPU, spikes
//! are made and read where they are. Neurons with thresholds of their own, spikes that are lost, and neurons other than
//! integrate-and-fire ([`DenseEngine::emissions`]) have no kernels: they are run step by step on any backend.

mod emissions;
mod neurons;

use std::ops::Range;
use std::sync::OnceLock;

use ann::backend::{Advanced, SpikingKernels, spiking_kernels};
use ann::network::values;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Device, Tensor, TensorData};
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use model::population::{Pool, PoolKind};
use rayon::prelude::*;

use engine_event::EventEngine;
use engine_event::drive::Drive;
use snn::encoder::{phases, rates};
use snn::engine::{Neurons, check_sizes, cumulative_counts, neurons};
use snn::network::{SpikingLayer, SpikingNetwork};
use snn::places::Potentials;
use snn::pool::padding_that_is_seen;
use snn::spikes::SpikeTrain;
use snn::wiring::{Connection, Kernel, Source, Wiring};
use snn::{Engine, EngineError, RunSettings, Sample, SampleTrace};

use crate::neurons::{Fired, IntegrateAndFire, Update};

/// Most elements of a tensor of one layer's currents; bounds the memory of long runs (64 MiB).
const MAX_ELEMENTS: usize = 1 << 24;

/// Samples and steps that are compared with the event-driven engine before the first run: enough for spikes to get through
/// some ten layers.
const CHECKED_SAMPLES: usize = 2;
const CHECKED_STEPS: usize = 16;

/// Bits of a word that comes back from a device.
const DEVICE_WORD: usize = u32::BITS as usize;

/// Runs a network on dense tensors.
///
/// The first run is preceded by a check: a few of its samples and steps must come out of the device as they come out of the
/// event-driven engine, bit for bit.
#[derive(Debug)]
pub struct DenseEngine {
    network: SpikingNetwork,
    drives: Vec<Option<Drive>>,
    /// Per layer and connection.
    synapses: Vec<Vec<Synapses>>,
    device: Device,
    kernels: Option<&'static dyn SpikingKernels>,
    batch_size: usize,
    /// Whether the device is exact; empty before the first run.
    exact: OnceLock<Result<(), EngineError>>,
}

/// A connection's weights on the device.
#[derive(Debug, Clone)]
struct Synapses {
    wiring: Wiring,
    weights: Weights,
}

#[derive(Debug, Clone)]
enum Weights {
    /// `[n_in, n_out]`
    Dense(Tensor<2>),
    /// `[C_out, C_in/groups, k_h, k_w]`
    Conv(Tensor<4>),
}

/// Where a batch's input spikes come from.
enum Input {
    /// Encoded on the CPU.
    Trains(Vec<SpikeTrain>),
    /// Encoded on the device, from what [`SpikingKernels`] takes.
    Poisson {
        rates: Tensor<3>,
        samples: Tensor<2>,
        seed: u64,
    },
    Evenly {
        rates: Tensor<3>,
        phases: Tensor<3>,
    },
    /// No spikes: a constant current.
    Constant,
}

/// State of one layer for one batch.
struct LayerState {
    /// `[N, n_out]`
    potential: Tensor<2>,
    /// Current of each step that does not depend on spikes, `[N, n_out]`.
    current: Tensor<2>,
    /// Potentials at which neurons fire, `[1, n_out]`; `None` where all are 1, always so where kernels are.
    thresholds: Option<Tensor<2>>,
    /// Potentials are kept within ± this, `[1, n_out]`; always there where kernels are.
    limits: Option<Tensor<2>>,
    /// What neurons have put out so far, for those that remember it, `[N, n_out]`; `None` before the first step.
    emitted: Option<Tensor<2>>,
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
    /// - `batch_size`: most samples that are run together, at least 1; does not change results
    pub fn new(network: &SpikingNetwork, device: &Device, batch_size: usize) -> Self {
        Self::with_kernels(network, device, batch_size, spiking_kernels(device))
    }

    /// How a network is run on a device, in one sentence.
    pub fn explain(network: &SpikingNetwork, device: &Device) -> String {
        let backend = ann::backend::of(device);
        match spiking_kernels(device) {
            Some(_) if network.has_faulty_neurons() => format!(
                "the dense engine runs this network step by step on {backend}: its device kernels know neither thresholds \
                 of a neuron's own nor lost spikes"
            ),
            Some(_) => format!(
                "the dense engine runs this network with the device kernels of {backend}: each layer goes through the \
                 steps of a chunk in one launch"
            ),
            None => format!(
                "the dense engine runs this network step by step on {backend}, which has no device kernels; the backend \
                 wgpu has them"
            ),
        }
    }

    /// The same with the kernels given; they do not change results.
    fn with_kernels(
        network: &SpikingNetwork,
        device: &Device,
        batch_size: usize,
        kernels: Option<&'static dyn SpikingKernels>,
    ) -> Self {
        let synapses = network
            .layers()
            .iter()
            .map(|layer| layer.connections().iter().map(|connection| Synapses::new(connection, device)).collect())
            .collect();
        let drives = network.layers().iter().map(Drive::of_pixels).collect();
        let kernels = kernels.filter(|_| !network.has_faulty_neurons());
        let (device, exact) = (device.clone(), OnceLock::new());
        Self { network: network.clone(), drives, synapses, device, kernels, batch_size: batch_size.max(1), exact }
    }

    /// The same engine for what has no kernels.
    fn without_kernels(&self) -> Self {
        Self {
            network: self.network.clone(),
            drives: self.drives.clone(),
            synapses: self.synapses.clone(),
            device: self.device.clone(),
            kernels: None,
            batch_size: self.batch_size,
            exact: self.exact.clone(),
        }
    }

    /// Runs the weights of another network than it checks against, as a device would that rounds them.
    #[cfg(test)]
    fn with_other_weights(mut self, rounded: &SpikingNetwork) -> Self {
        self.synapses = Self::with_kernels(rounded, &self.device, 1, self.kernels).synapses;
        self
    }

    /// Runs all samples as one batch, without the check.
    #[cfg(test)]
    fn run_in_chunks(
        &self,
        samples: &[Sample<'_>],
        settings: &RunSettings,
        steps_per_chunk: usize,
    ) -> Vec<SampleTrace> {
        self.run_batch(samples, settings, &neurons(&self.network, settings), steps_per_chunk)
    }

    /// Compares the first samples' first steps with the event-driven engine.
    fn check(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<(), EngineError> {
        let samples = &samples[..samples.len().min(CHECKED_SAMPLES)];
        // Sums are what a backend may round; they are the same for all neurons.
        let n_steps = settings.n_steps.min(CHECKED_STEPS);
        let settings = RunSettings { n_steps, neuron: NeuronConfig::default(), ..*settings };
        let expected = EventEngine::new(&self.network).run(samples, &settings)?;
        let found = self.run_unchecked(samples, &settings);
        let layers = self.network.layers();
        let differs = |idx: usize| {
            let pairs = || expected.iter().zip(&found);
            let own = Source::of_layer(idx).index();
            let spikes = pairs().any(|(a, b)| a.spikes.get(own) != b.spikes.get(own));
            let readout = idx + 1 == layers.len() && pairs().any(|(a, b)| a.readout != b.readout);
            spikes || readout || pairs().any(|(a, b)| a.residual[idx] != b.residual[idx])
        };
        let layer = if expected
            .iter()
            .zip(&found)
            .any(|(a, b)| a.spikes[Source::INPUT.index()] != b.spikes[Source::INPUT.index()])
        {
            Some("input".to_owned())
        } else {
            (0..layers.len()).find(|&idx| differs(idx)).map(|idx| layers[idx].name().to_owned())
        };
        layer.map_or(Ok(()), |layer| Err(EngineError::Inexact { backend: ann::backend::of(&self.device), layer }))
    }

    fn run_unchecked(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Vec<SampleTrace> {
        let neurons = neurons(&self.network, settings);
        let batches = self.batches(samples, settings);
        batches.flat_map(|(batch, steps)| self.run_batch(batch, settings, &neurons, steps)).collect()
    }

    /// Samples that are run together, and how many steps of them are.
    fn batches<'a>(
        &self,
        samples: &'a [Sample<'a>],
        settings: &RunSettings,
    ) -> impl Iterator<Item = (&'a [Sample<'a>], usize)> + use<'a> {
        let n_steps = settings.n_steps;
        // A convolution is made a matrix product of, whose other matrix has an entry per input and weight of the kernel.
        let unfolded = |connection: &Connection<f32>| {
            let kernel = connection.wiring.kernel;
            kernel.n_in() * kernel.area()
        };
        let widths = self
            .network
            .layers()
            .iter()
            .flat_map(|layer| layer.connections().iter().map(unfolded).chain([layer.n_out()]));
        let widest = widths.max().unwrap_or(1).max(self.network.n_in());
        let batches = samples.chunks(samples_per_batch(widest, self.batch_size));
        batches.map(move |batch| (batch, steps_per_chunk(widest, batch.len()).min(n_steps)))
    }

    /// Currents from spikes to a layer, `[T, N, n_out]`.
    ///
    /// - `outputs`: of the input, if spikes reach the device at all, then of each layer so far, `[T·N, n]`
    fn currents(
        &self,
        idx: usize,
        state: &mut LayerState,
        outputs: &[Option<Tensor<2>>],
        n_steps: usize,
        n_samples: usize,
    ) -> Tensor<3> {
        let connections = self.synapses[idx].iter().zip(&mut state.counts);
        let currents = connections.filter_map(|(synapses, counts)| {
            let spikes = outputs[synapses.wiring.source.index()].clone()?;
            Some(synapses.currents(spikes, counts, n_samples, self.kernels))
        });
        let shape = [n_steps, n_samples, self.network.layers()[idx].n_out()];
        let currents = currents.reduce(|a, b| a + b).map(|currents| currents.reshape(shape));
        currents.unwrap_or_else(|| Tensor::zeros(shape, &self.device))
    }

    /// - `steps_per_chunk`: steps that are run together
    fn run_batch(
        &self,
        samples: &[Sample<'_>],
        settings: &RunSettings,
        neurons: &[Neurons],
        steps_per_chunk: usize,
    ) -> Vec<SampleTrace> {
        let mut traces = self.empty_traces(samples.len(), settings);
        let input = self.input(samples, settings);
        let mut states = self.initial_states(samples, settings, neurons);
        for first in (0..settings.n_steps).step_by(steps_per_chunk) {
            let steps = first..settings.n_steps.min(first + steps_per_chunk);
            // Of the input, if spikes reach the device at all, then of each layer.
            let mut outputs = vec![self.input_tensor(&input, steps.clone())];
            for (idx, state) in states.iter_mut().enumerate() {
                let currents = self.currents(idx, state, &outputs, steps.len(), samples.len());
                let output = state.advance(currents, neurons[idx].fires, self.kernels);
                let is_thinned = neurons[idx].fires.is_some() && self.network.spike_loss().is_some();
                let output =
                    if is_thinned { self.arriving(output, Source::of_layer(idx), samples, &steps) } else { output };
                outputs.push(Some(output));
            }
            self.read(outputs, steps, settings, &mut traces);
        }
        if let Input::Trains(trains) = input {
            traces.iter_mut().zip(trains).for_each(|(trace, train)| trace.spikes[Source::INPUT.index()] = train);
        }
        self.finish(&mut traces, states, settings);
        traces
    }

    /// Silent trains, spikes are added to as chunks come back; and nothing else.
    fn empty_traces(&self, n_samples: usize, settings: &RunSettings) -> Vec<SampleTrace> {
        let layers = self.network.layers();
        let n_firing = layers.len() - usize::from(settings.readout == Readout::Potential);
        let shapes = std::iter::once(self.network.input()).chain(layers[..n_firing].iter().map(SpikingLayer::shape));
        let empty = SampleTrace {
            spikes: shapes.map(|shape| SpikeTrain::silent(shape, settings.n_steps)).collect(),
            readout: Vec::new(),
            residual: Vec::new(),
            n_classes: self.network.n_classes(),
        };
        vec![empty; n_samples]
    }

    fn input(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Input {
        if settings.encoding == Encoding::Constant {
            return Input::Constant;
        }
        if self.kernels.is_none() {
            let shape = self.network.input();
            let arriving = samples.par_iter().map(|sample| {
                let mut train = sample.encode(shape, settings);
                if let Some(loss) = self.network.spike_loss() {
                    loss.thin(&mut train, Source::INPUT, sample.index, 0);
                }
                train
            });
            return Input::Trains(arriving.collect());
        }
        let (n_samples, n_in) = (samples.len(), self.network.n_in());
        let of_pixels = |values: Vec<u64>| {
            Tensor::<3>::from_data(TensorData::new(halves(&values), [2, n_samples, n_in]), &self.device)
        };
        let all_rates = samples.iter().flat_map(|sample| rates(sample.index, sample.pixels)).collect();
        if settings.encoding == Encoding::Poisson {
            let indices: Vec<u64> = samples.iter().map(|sample| u64::from(sample.index)).collect();
            let samples = Tensor::from_data(TensorData::new(halves(&indices), [2, n_samples]), &self.device);
            return Input::Poisson { rates: of_pixels(all_rates), samples, seed: settings.seed };
        }
        let phases = |sample: &Sample<'_>| phases(settings.encoding, settings.seed, sample.index, n_in);
        Input::Evenly { rates: of_pixels(all_rates), phases: of_pixels(samples.iter().flat_map(phases).collect()) }
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
                    samples.par_iter().map(|sample| steady_currents(layer, drive.as_ref(), sample, settings.encoding));
                let currents: Vec<f32> = currents.collect::<Vec<_>>().concat();
                // The largest number is as good as infinity, which not every GPU knows.
                let limits = match &neurons.limits {
                    Some(limits) => Some(limits.iter().map(|limit| limit.min(f32::MAX)).collect()),
                    None => self.kernels.map(|_| vec![f32::MAX; layer.n_out()]),
                };
                LayerState {
                    potential: row(layer.for_neurons(layer.initial_potentials())).expand(shape),
                    current: Tensor::from_data(TensorData::new(currents, shape), &self.device),
                    thresholds: neurons.thresholds.clone().map(row),
                    limits: limits.map(row),
                    emitted: None,
                    counts: synapses.iter().map(|synapses| synapses.initial_counts(n_samples, &self.device)).collect(),
                }
            })
            .collect()
    }

    /// Spikes of some steps, `[T·N, n_in]`; `None` if the input has none.
    fn input_tensor(&self, input: &Input, steps: Range<usize>) -> Option<Tensor<2>> {
        let kernels = || self.kernels.expect("where the input was prepared for them");
        match input {
            Input::Constant => None,
            Input::Poisson { rates, samples, seed } => {
                Some(kernels().poisson(rates.clone(), samples.clone(), *seed, steps))
            }
            Input::Evenly { rates, phases } => Some(kernels().evenly(rates.clone(), phases.clone(), steps)),
            Input::Trains(trains) => {
                let (n_samples, n_in) = (trains.len(), self.network.n_in());
                let mut spikes = vec![0.0_f32; steps.len() * n_samples * n_in];
                spikes.par_chunks_mut(n_in).enumerate().for_each(|(row_idx, row)| {
                    let (step, sample) = (steps.start + row_idx / n_samples, row_idx % n_samples);
                    trains[sample].neurons(step).for_each(|input| row[input] = 1.0);
                });
                let data = TensorData::new(spikes, [steps.len() * n_samples, n_in]);
                Some(Tensor::from_data(data, &self.device))
            }
        }
    }

    /// What is not lost of a layer's spikes.
    ///
    /// - `spikes`: `[T·N, n]`
    fn arriving(&self, spikes: Tensor<2>, source: Source, samples: &[Sample<'_>], steps: &Range<usize>) -> Tensor<2> {
        let Some(loss) = self.network.spike_loss() else { return spikes };
        let shape = spikes.dims();
        let mut arriving = values(spikes);
        arriving.par_chunks_mut(shape[1]).enumerate().for_each(|(row_idx, row)| {
            let (step, sample) = (steps.start + row_idx / samples.len(), samples[row_idx % samples.len()].index);
            for (neuron, spike) in row.iter_mut().enumerate().filter(|(_, spike)| **spike != 0.0) {
                if loss.loses(source, sample, neuron, step) {
                    *spike = 0.0;
                }
            }
        });
        Tensor::from_data(TensorData::new(arriving, shape), &self.device)
    }

    /// Adds what came out of a chunk to the traces.
    ///
    /// - `outputs`: of the input and of each layer, `[T·N, n]`
    fn read(
        &self,
        mut outputs: Vec<Option<Tensor<2>>>,
        steps: Range<usize>,
        settings: &RunSettings,
        traces: &mut [SampleTrace],
    ) {
        let n_samples = traces.len();
        let integrated = match settings.readout {
            Readout::Potential => outputs.pop().flatten(),
            Readout::Spikes => None,
        };
        if let Some(kernels) = self.kernels {
            read_words(kernels, outputs, steps, traces);
        } else {
            read_floats(outputs, &steps, traces);
        }
        if let Some(output) = integrated {
            for (row, potentials) in values(output).chunks_exact(self.network.n_classes()).enumerate() {
                traces[row % n_samples].readout.extend_from_slice(potentials);
            }
        }
    }

    /// Adds what is known after the last step.
    fn finish(&self, traces: &mut [SampleTrace], states: Vec<LayerState>, settings: &RunSettings) {
        let potentials = states.into_iter().map(|state| state.potential).collect();
        let potentials = values(Tensor::cat(potentials, 1));
        let row_len = potentials.len() / traces.len();
        for (trace, mut row) in traces.iter_mut().zip(potentials.chunks_exact(row_len)) {
            for layer in self.network.layers() {
                let (of_layer, rest) = row.split_at(layer.n_out());
                trace.residual.push(Potentials::of_neurons(layer.shape(), of_layer));
                row = rest;
            }
            if settings.readout == Readout::Spikes {
                trace.readout = cumulative_counts(trace.spikes.last().expect("the input at least"));
            }
        }
    }
}

/// Reads spikes of 0 and 1 where they are, on the CPU; those of the input are known.
///
/// - `outputs`: of the input and of each layer that fires, `[T·N, n]`
fn read_floats(outputs: Vec<Option<Tensor<2>>>, steps: &Range<usize>, traces: &mut [SampleTrace]) {
    let n_samples = traces.len();
    for (train, output) in outputs.into_iter().enumerate().skip(1) {
        let fired = values(output.expect("every layer has an output"));
        traces.par_iter_mut().enumerate().for_each(|(sample, trace)| {
            let train = &mut trace.spikes[train];
            let n_out = train.n_neurons();
            for (step_idx, step) in steps.clone().enumerate() {
                train.add_row(step, &fired[(step_idx * n_samples + sample) * n_out..][..n_out]);
            }
        });
    }
}

/// Reads spikes as bits, those of all layers at once.
///
/// - `outputs`: of the input and of each layer that fires, `[T·N, n]`
fn read_words(
    kernels: &dyn SpikingKernels,
    outputs: Vec<Option<Tensor<2>>>,
    steps: Range<usize>,
    traces: &mut [SampleTrace],
) {
    let is_there: Vec<bool> = outputs.iter().map(Option::is_some).collect();
    let packed = outputs.into_iter().zip(&traces[0].spikes);
    let packed = packed.filter_map(|(output, train)| Some(kernels.pack(output?, train.shape())));
    let packed: Vec<_> = packed.collect();
    if packed.is_empty() {
        return;
    }
    let data = Tensor::cat(packed, 1).into_data();
    // Integers of 32 bits or more, with or without a sign.
    let words: Vec<u32> = data.iter::<i64>().map(|word| word as u32).collect();
    let n_samples = traces.len();
    let row_len = words.len() / (steps.len() * n_samples);
    traces.par_iter_mut().enumerate().for_each(|(sample, trace)| {
        for (step_idx, step) in steps.clone().enumerate() {
            let mut row = &words[(step_idx * n_samples + sample) * row_len..][..row_len];
            for (train, _) in trace.spikes.iter_mut().zip(&is_there).filter(|(_, is_there)| **is_there) {
                let (of_train, rest) = row.split_at(train.n_neurons().div_ceil(DEVICE_WORD));
                for (word_idx, &word) in of_train.iter().enumerate() {
                    train.add_bits(step, word_idx * DEVICE_WORD, u64::from(word));
                }
                row = rest;
            }
        }
    });
}

/// How many samples fit next to each other, at most `batch_size` and at least one.
///
/// - `widest`: elements per sample and step of the largest tensor
fn samples_per_batch(widest: usize, batch_size: usize) -> usize {
    batch_size.min(MAX_ELEMENTS / widest).max(1)
}

/// How many steps of a batch fit, at least one.
fn steps_per_chunk(widest: usize, n_samples: usize) -> usize {
    (MAX_ELEMENTS / (widest * n_samples)).max(1)
}

/// The upper 16 bits (17 of 2³²) of each value, then the lower ones.
fn halves(values: &[u64]) -> Vec<f32> {
    let upper = values.iter().map(|value| (value >> 16) as f32);
    upper.chain(values.iter().map(|value| (value & 0xFFFF) as f32)).collect()
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
    fn currents(
        &self,
        spikes: Tensor<2>,
        counts: &mut [MaxPoolState],
        n_samples: usize,
        kernels: Option<&dyn SpikingKernels>,
    ) -> Tensor<2> {
        let n_rows = spikes.dims()[0];
        let [channels, height, width] = self.wiring.source_shape;
        let mut x = spikes.reshape([n_rows, channels, height, width]);
        let mut counts = counts.iter_mut();
        for pool in &self.wiring.pools {
            x = match pool.kind {
                PoolKind::Max => counts.next().expect("one state per max pool").pass(x, pool, n_samples, kernels),
                PoolKind::Mean => sums(x, pool),
            };
        }
        match &self.weights {
            Weights::Dense(weights) => x.flatten::<2>(1, 3).matmul(weights.clone()),
            Weights::Conv(weights) => {
                let Kernel { input: [c, h, w], stride, padding, dilation, groups, .. } = self.wiring.kernel;
                let x = x.reshape([n_rows, c, h, w]);
                let [top, left, bottom, right] = padding;
                let (x, padding) =
                    if [top, left] == [bottom, right] { (x, [top, left]) } else { (padded(x, padding), [0; 2]) };
                let options = ConvOptions::new(stride, padding, dilation, groups);
                conv2d(x, weights.clone(), None, options).flatten(1, 3)
            }
        }
    }
}

/// Rows of zeros above an image, columns to the left, rows below, columns to the right.
fn padded(x: Tensor<4>, [top, left, bottom, right]: [usize; 4]) -> Tensor<4> {
    if [top, left, bottom, right] == [0; 4] { x } else { x.pad([(top, bottom), (left, right)], PadMode::Constant(0.0)) }
}

/// The spikes of each window of a pool that adds up, each as often as it is added.
///
/// - `x`: `[T·N, C, H, W]`
fn sums(x: Tensor<4>, pool: &Pool) -> Tensor<4> {
    let [_, channels, height, width] = x.dims();
    let shape = [channels, height, width];
    let x = padded(x, padding_that_is_seen(pool, shape));
    let options = AvgPoolOptions::new(pool.kernel).with_stride(pool.stride);
    // Sums of spikes are whole numbers: rounding takes the error of the division back.
    let sums = (avg_pool2d(x, options) * pool.area() as f32).round();
    let [of_rows, of_columns] = pool.multiples(shape);
    let multiples = of_rows.iter().flat_map(|row| of_columns.iter().map(move |column| (row * column) as f32));
    let multiples: Vec<f32> = multiples.collect();
    if multiples.iter().all(|&multiple| multiple == 1.0) {
        return sums;
    }
    let data = TensorData::new(multiples, [1, 1, of_rows.len(), of_columns.len()]);
    let multiples = Tensor::from_data(data, &sums.device());
    sums * multiples
}

impl MaxPoolState {
    /// The spikes that raise the largest count of a window.
    ///
    /// - `spikes`: `[T·N, C, H, W]`
    fn pass(
        &mut self,
        spikes: Tensor<4>,
        pool: &Pool,
        n_samples: usize,
        kernels: Option<&dyn SpikingKernels>,
    ) -> Tensor<4> {
        let [n_rows, channels, height, width] = spikes.dims();
        let n_steps = n_rows / n_samples;
        // Counts are at least 0, so that zeros are never the largest of a window.
        let padding = padding_that_is_seen(pool, [channels, height, width]);
        let largest_of = |counts: Tensor<4>| {
            max_pool2d(padded(counts, padding), MaxPoolOptions::new(pool.kernel).with_stride(pool.stride))
        };
        let Some(kernels) = kernels else {
            let steps = spikes.chunk(n_steps, 0).into_iter().map(|spikes| {
                self.counts = self.counts.clone() + spikes;
                // Where spikes that take others back arrive and those others were lost, a count may be below none.
                let largest = largest_of(self.counts.clone()).clamp_min(0.0);
                largest.clone() - std::mem::replace(&mut self.largest, largest)
            });
            return Tensor::cat(steps.collect(), 0);
        };
        // A neuron that only integrates counts what it gets.
        let n = channels * height * width;
        let (zeros, counts) = (Tensor::zeros([n_samples, n], &spikes.device()), self.counts.clone().flatten(1, 3));
        let no_limits = Tensor::full([1, n], f32::MAX, &spikes.device());
        let counted = kernels.advance(spikes.reshape([n_steps, n_samples, n]), zeros, counts, no_limits, None);
        self.counts = counted.potentials.reshape([n_samples, channels, height, width]);
        let largest = largest_of(counted.output.reshape([n_rows, channels, height, width]));
        let before = std::mem::replace(&mut self.largest, largest.clone().narrow(0, n_rows - n_samples, n_samples));
        if n_steps == 1 {
            return largest - before;
        }
        let before = Tensor::cat(vec![before, largest.clone().narrow(0, 0, n_rows - n_samples)], 0);
        largest - before
    }
}

impl LayerState {
    /// Runs the steps of a chunk.
    ///
    /// - `currents`: from spikes, `[T, N, n_out]`
    /// - `fires`: what a spike does; `None` if the neurons only integrate
    /// - returns spikes, or the potentials of neurons that only integrate, `[T·N, n_out]`
    fn advance(
        &mut self,
        currents: Tensor<3>,
        fires: Option<Reset>,
        kernels: Option<&dyn SpikingKernels>,
    ) -> Tensor<2> {
        if let (Some(kernels), Some(limits)) = (kernels, &self.limits) {
            let (steady, before) = (self.current.clone(), self.potential.clone());
            let Advanced { output, potentials } = kernels.advance(currents, steady, before, limits.clone(), fires);
            self.potential = potentials;
            return output;
        }
        let neuron = fires.map(|reset| IntegrateAndFire { reset });
        let neuron = neuron.as_ref().map(|neuron| neuron as &dyn Update);
        let (quanta, potentials) = self.step_by_step(&currents, neuron, neuron.is_none(), 0);
        quanta.or(potentials).expect("one of them")
    }

    /// Runs the steps of a chunk with neurons of any model, without kernels.
    ///
    /// - `currents`: from spikes, `[T, N, n_out]`
    /// - `neuron`: `None` if the neurons only integrate
    /// - `tells_potentials`: whether they are asked for
    /// - `first_step`: of the run, from 0
    /// - returns quanta, if they fire, and potentials after each step, if asked for, `[T·N, n_out]` each
    fn step_by_step(
        &mut self,
        currents: &Tensor<3>,
        neuron: Option<&dyn Update>,
        tells_potentials: bool,
        first_step: usize,
    ) -> (Option<Tensor<2>>, Option<Tensor<2>>) {
        let [n_steps, n_samples, n_out] = currents.dims();
        let (mut fired, mut potentials) = (Vec::new(), Vec::new());
        let thresholds = self.thresholds.clone().map(|thresholds| thresholds.expand([n_samples, n_out]));
        for step in 0..n_steps {
            let current = currents.clone().slice([step..step + 1, 0..n_samples, 0..n_out]).reshape([n_samples, n_out]);
            let u = self.potential.clone() + current + self.current.clone();
            let after = match neuron {
                None => u,
                Some(neuron) => {
                    let Fired { quanta, potential } =
                        neuron.fire(u, thresholds.clone(), &mut self.emitted, first_step + step);
                    fired.push(quanta);
                    potential
                }
            };
            self.potential = match &self.limits {
                None => after,
                Some(limits) => after.min_pair(limits.clone()).max_pair(-limits.clone()),
            };
            potentials.extend(tells_potentials.then(|| self.potential.clone()));
        }
        let whole = |steps: Vec<Tensor<2>>| (!steps.is_empty()).then(|| Tensor::cat(steps, 0));
        (whole(fired), whole(potentials))
    }
}

impl Engine for DenseEngine {
    fn run(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<SampleTrace>, EngineError> {
        check_sizes(&self.network, samples)?;
        if samples.is_empty() {
            return Ok(Vec::new());
        }
        if !settings.neuron.is_binary() {
            let emissions = self.emissions(samples, settings)?;
            return Ok(emissions.iter().map(|emissions| emissions.trace(&self.network, settings)).collect());
        }
        self.exact.get_or_init(|| self.check(samples, settings)).clone()?;
        Ok(self.run_unchecked(samples, settings))
    }
}

/// Current of each neuron at each step that does not depend on spikes, `[n_out]`: the bias, or the drive of a constant
/// input.
///
/// - `drive`: of the layer, if pixels reach it
fn steady_currents(layer: &SpikingLayer, drive: Option<&Drive>, sample: &Sample<'_>, encoding: Encoding) -> Vec<f32> {
    match drive.filter(|_| encoding == Encoding::Constant) {
        Some(drive) => drive.of_neurons(sample.pixels),
        None => layer.biases().of_neurons(layer.n_positions()),
    }
}

#[cfg(test)]
mod tests;
