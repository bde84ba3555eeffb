//! The event-driven engine: work is done only where a spike arrives.
//!
//! Samples run in parallel, a few at a time; a sample's layers one after another, each over all T steps. A compute kernel of the
//! list in `kernels` adds up the weights of a layer's synapses, and its neurons are those of `firing`. The SIMD level is chosen
//! at run time.
//!
//! - [`EventEngine`]: runs a spiking network
//! - [`explain`]: which compute kernel runs each layer, and why the faster ones do not
//! - [`drive`]: weighted sums of pixels, the current of a constant input
//! - [`LayerCurrents`]: the currents of one layer, for whoever measures them
//!
//! Its results are those of [`snn::ReferenceEngine`], bit for bit.

mod currents;
pub mod drive;
mod events;
mod explain;
mod firing;
mod gather;
mod graded;
mod kernels;
mod patterns;
mod pixels;
mod planes;
mod rows;
mod simd;
mod slide;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use model::config::Encoding;
use pulp::Arch;
use rayon::prelude::*;

use snn::engine::{Neurons, check_sizes, cumulative_counts, neurons_of};
use snn::exit::{EarlyDecision, EarlyExit, Watch};
use snn::network::{SpikingLayer, SpikingNetwork};
use snn::places::{Potentials, by_neuron, by_place};
use snn::spikes::SpikeTrain;
use snn::{Engine, EngineError, RunSettings, Sample, SampleTrace};

use drive::Drive;
use events::{Lists, PoolStates, Scratch};
use firing::{Firing, Graded, LayerRun, Output, with_room};
use gather::WIDE;
use graded::{Arriving, Rows};
use kernels::{Synapses, pack};

pub use currents::{LayerCurrents, Receive};
pub use explain::{Choice, LayerExplanation, explain};
pub use kernels::Refusal;

/// Samples that one thread runs together, so that a block of weights is read from memory once for all of them.
const BATCH: usize = 16;

/// The same of a network with convolutions, whose weights serve all positions of a sample as it is: with fewer at a time, threads
/// are done at more nearly the same time.
const CONVOLVED: usize = 8;

/// Steps that a sample is run on before it is asked whether it is settled: as many as one call of the random numbers serves.
const PIECE: usize = 4;

/// Steps that graded spikes are run for at a time: as rows they may be many times as many.
const GRADED_PIECE: usize = 256;

/// Runs a network event by event on the CPU.
#[derive(Debug)]
pub struct EventEngine {
    network: SpikingNetwork,
    packed: Vec<PackedLayer>,
    arch: Arch,
    /// Of threads that are done with it.
    memory: Mutex<Vec<Memory>>,
}

/// Memory to run a batch in, which keeps its size.
#[derive(Debug, Default)]
struct Memory {
    scratch: Scratch,
    /// Per sample of the batch.
    lists: Vec<Lists>,
}

#[derive(Debug)]
struct PackedLayer {
    synapses: Arc<dyn Synapses>,
    drive: Option<Drive>,
    /// By place.
    biases: Vec<f32>,
    /// By place.
    initial_potentials: Vec<f32>,
}

impl PackedLayer {
    fn new(layer: &SpikingLayer) -> Self {
        let places = |of_neurons: &[f32]| with_room(by_place(layer.shape(), of_neurons), 0.0);
        Self {
            synapses: pack(layer).into(),
            drive: Drive::of_pixels(layer),
            biases: places(&layer.biases().of_neurons(layer.n_positions())),
            initial_potentials: places(&layer.for_neurons(layer.initial_potentials())),
        }
    }
}

/// A sample on its way through time.
struct Run<'a> {
    sample: Sample<'a>,
    layers: Vec<LayerState>,
    /// Of the input and the layers that fire, so far.
    spikes: Vec<SpikeTrain>,
    /// After each step so far, `[T, n_classes]`, if the last layer does not fire.
    potentials: Vec<f32>,
}

struct LayerState {
    /// Current of the pixels at each step, by place, if they drive the layer.
    drive: Option<Vec<f32>>,
    /// By place; none before the first step.
    potentials: Vec<f32>,
    /// Quanta put out so far, by place; none where spikes are 0 or 1.
    emitted: Vec<i32>,
    pools: PoolStates,
}

impl EventEngine {
    /// Packs a network's weights for the machine's widest SIMD level.
    pub fn new(network: &SpikingNetwork) -> Self {
        Self::with_arch(network, Arch::new())
    }

    /// The same with the level given; every level gives the same spikes.
    fn with_arch(network: &SpikingNetwork, arch: Arch) -> Self {
        Self {
            network: network.clone(),
            packed: network.layers().iter().map(PackedLayer::new).collect(),
            arch,
            memory: Mutex::default(),
        }
    }

    /// The currents of a layer, for whoever measures them, from the weights that are packed already.
    pub fn currents(&self, layer_idx: usize) -> LayerCurrents {
        LayerCurrents::of(Arc::clone(&self.packed[layer_idx].synapses), &self.network.layers()[layer_idx])
    }

    fn start<'a>(&self, samples: &[Sample<'a>], encoding: Encoding) -> Vec<Run<'a>> {
        let new = |&sample| Run { sample, layers: Vec::new(), spikes: Vec::new(), potentials: Vec::new() };
        let mut runs: Vec<Run<'_>> = samples.iter().map(new).collect();
        let pixels: Vec<&[f32]> = samples.iter().map(|sample| sample.pixels).collect();
        for packed in &self.packed {
            let drive = packed.drive.as_ref().filter(|_| encoding == Encoding::Constant);
            let mut drives = drive.map(|drive| drive.currents(&pixels, WIDE).into_iter());
            for run in &mut runs {
                let drive = drives.as_mut().and_then(Iterator::next);
                run.layers.push(LayerState {
                    drive,
                    potentials: Vec::new(),
                    emitted: Vec::new(),
                    pools: PoolStates::default(),
                });
            }
        }
        runs
    }

    /// Runs the steps that follow those so far.
    ///
    /// - `neurons`: one entry per layer
    fn advance(&self, runs: &mut [Run<'_>], settings: &RunSettings, neurons: &[Neurons], steps: Range<usize>) {
        let n_steps = steps.len();
        let is_binary = settings.neuron.is_binary();
        let loss = self.network.spike_loss();
        let arrive = |mut train: SpikeTrain, source: snn::Source, sample: &Sample<'_>| {
            if let Some(loss) = loss {
                loss.thin(&mut train, source, sample.index, steps.start);
            }
            train
        };
        let encode = |run: &Run<'_>| {
            let train = run.sample.encode_steps(self.network.input(), settings, steps.clone());
            vec![arrive(train, snn::Source::INPUT, &run.sample)]
        };
        let mut spikes: Vec<Vec<SpikeTrain>> = runs.iter().map(encode).collect();
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut memory = memory.unwrap_or_default();
        let Memory { scratch, lists } = &mut memory;
        lists.resize_with(lists.len().max(runs.len()), Lists::default);
        for (idx, (layer, packed)) in self.network.layers().iter().zip(&self.packed).enumerate() {
            // The weights of a convolution serve all positions of a sample.
            let at_once = if packed.synapses.has_one_position() { BATCH } else { 1 };
            for (runs, spikes) in runs.chunks_mut(at_once).zip(spikes.chunks_mut(at_once)) {
                let lists = &mut lists[..runs.len()];
                let sources = layer.connections().iter().map(|connection| connection.wiring.source);
                let trains = sources.flat_map(|source| spikes.iter().map(move |of| (source, &of[source.index()])));
                let rows = (!is_binary).then(|| Rows::of(&trains, n_steps, settings.neuron.levels));
                for ((run, spikes), lists) in runs.iter_mut().zip(&*spikes).zip(&mut *lists) {
                    let arriving = Arriving { spikes, rows: rows.as_ref() };
                    packed.synapses.list(self.arch, arriving, &mut run.layers[idx].pools, scratch, lists);
                }
                let graded = rows.as_ref().map(|rows| Graded {
                    rows,
                    neuron: settings.neuron,
                    n_steps: settings.n_steps,
                    first_step: steps.start,
                });
                let outputs = runs
                    .iter_mut()
                    .map(|run| layer_run(layer, packed, &mut run.layers[idx], n_steps, &neurons[idx], is_binary))
                    .collect();
                let mut firing = Firing::new(layer, &neurons[idx], outputs, n_steps, graded);
                let n_rows = rows.as_ref().map_or(n_steps, Rows::len);
                packed.synapses.visit(self.arch, lists, n_rows, &mut firing);
                let outputs = firing.into_outputs();
                for ((output, run), spikes) in outputs.into_iter().zip(runs).zip(spikes) {
                    match output {
                        Output::Spikes(train) => {
                            let train = if settings.neuron.waits() { train.spread() } else { train.normalized() };
                            spikes.push(arrive(train, snn::Source::of_layer(idx), &run.sample));
                        }
                        Output::Potentials(steps) => {
                            let by_place = steps.chunks_exact(layer.n_out());
                            run.potentials.extend(by_place.flat_map(|values| by_neuron(layer.shape(), values)));
                        }
                        Output::Nothing => {}
                    }
                }
            }
        }
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        for (run, later) in runs.iter_mut().zip(spikes) {
            if run.spikes.is_empty() {
                run.spikes = later;
            } else {
                run.spikes.iter_mut().zip(&later).for_each(|(train, later)| train.append(later));
            }
        }
    }

    /// Runs samples batch by batch.
    fn by_batch<R: Send>(&self, samples: &[Sample<'_>], run: impl Fn(&[Sample<'_>]) -> Vec<R> + Send + Sync) -> Vec<R> {
        let has_one_position = self.packed.iter().all(|packed| packed.synapses.has_one_position());
        let largest = if has_one_position { BATCH } else { CONVOLVED };
        let size = batch_size(samples.len(), largest);
        if rayon::current_num_threads() == 1 {
            // To wake another thread up takes as long as a few small samples.
            return samples.chunks(size).flat_map(run).collect();
        }
        // Threads take batches one by one: two at a time, a thread that is done might wait for another's second.
        samples.par_chunks(size).with_max_len(1).flat_map_iter(run).collect()
    }

    /// What came of a run.
    ///
    /// - `levels`: quanta in a threshold
    fn trace(&self, run: Run<'_>, levels: u32) -> SampleTrace {
        let readout = run.readout().into_owned();
        let layers = self.network.layers().iter().zip(run.layers);
        let residual = layers.map(|(layer, mut state)| {
            if levels > 1 {
                state.potentials.iter_mut().for_each(|potential| *potential /= levels as f32);
            }
            Potentials::of_places(layer.shape(), state.potentials)
        });
        let residual = residual.collect();
        SampleTrace { spikes: run.spikes, readout, residual, n_classes: self.network.n_classes() }
    }

    /// Runs samples until each is settled.
    fn advance_until(
        &self,
        samples: &[Sample<'_>],
        settings: &RunSettings,
        neurons: &[Neurons],
        exit: &EarlyExit,
    ) -> Vec<EarlyDecision> {
        let mut runs = self.start(samples, settings.encoding);
        let mut watched: Vec<(usize, Watch<'_>)> = (0..).zip(samples.iter().map(|_| exit.watch(settings))).collect();
        let mut decisions = vec![None; samples.len()];
        let at_once = at_once(settings, PIECE);
        for first in (0..settings.n_steps).step_by(at_once) {
            let steps = first..settings.n_steps.min(first + at_once);
            self.advance(&mut runs, settings, neurons, steps.clone());
            let mut going_on = Vec::with_capacity(runs.len());
            for (run, (idx, mut watch)) in runs.into_iter().zip(watched) {
                let (inputs, readout) = (exit.inputs(&run.spikes), run.readout());
                let mut readout = readout.chunks_exact(self.network.n_classes()).enumerate().skip(first);
                decisions[idx] = readout.find_map(|(step, readout)| watch.step(&inputs, step, readout));
                drop(inputs);
                if decisions[idx].is_none() {
                    going_on.push((run, (idx, watch)));
                }
            }
            (runs, watched) = going_on.into_iter().unzip();
            if runs.is_empty() {
                break;
            }
        }
        decisions.into_iter().map(|decision| decision.expect("every decision is settled at T")).collect()
    }
}

impl Run<'_> {
    /// After each step so far, `[T, n_classes]`.
    fn readout(&self) -> Cow<'_, [f32]> {
        if self.potentials.is_empty() {
            Cow::Owned(cumulative_counts(self.spikes.last().expect("the last layer fires")))
        } else {
            Cow::Borrowed(&self.potentials)
        }
    }
}

/// Steps that all layers are run for before the next ones.
///
/// - `most`: for neurons that do not wait for their whole input
fn at_once(settings: &RunSettings, most: usize) -> usize {
    let at_once = if settings.neuron.waits() { settings.n_steps } else { most };
    at_once.max(1)
}

/// Samples of a thread at a time: as many as the largest batch has or a few less, so that all threads have as many batches to do.
fn batch_size(n_samples: usize, largest: usize) -> usize {
    let n_threads = rayon::current_num_threads();
    let n_rounds = n_samples.div_ceil(n_threads * largest).max(1);
    n_samples.div_ceil(n_threads * n_rounds).max(1)
}

impl Engine for EventEngine {
    fn run(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<SampleTrace>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neurons = neurons_of(&self.network, settings, &*snn::neurons::of_run(settings))?;
        let at_once = at_once(settings, if settings.neuron.is_binary() { settings.n_steps } else { GRADED_PIECE });
        Ok(self.by_batch(samples, |samples| {
            let mut runs = self.start(samples, settings.encoding);
            for first in (0..settings.n_steps).step_by(at_once) {
                self.advance(&mut runs, settings, &neurons, first..settings.n_steps.min(first + at_once));
            }
            runs.into_iter().map(|run| self.trace(run, settings.neuron.levels)).collect()
        }))
    }

    /// Runs a few steps of all layers at a time, and goes on with the samples that are not settled.
    fn run_until(
        &self,
        samples: &[Sample<'_>],
        settings: &RunSettings,
        exit: &EarlyExit,
    ) -> Result<Vec<EarlyDecision>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neurons = neurons_of(&self.network, settings, &*snn::neurons::of_run(settings))?;
        Ok(self.by_batch(samples, |samples| self.advance_until(samples, settings, &neurons, exit)))
    }
}

/// Some steps of a layer of a sample, to be run.
fn layer_run<'a>(
    layer: &SpikingLayer,
    packed: &'a PackedLayer,
    state: &'a mut LayerState,
    n_steps: usize,
    neurons: &Neurons,
    is_binary: bool,
) -> LayerRun<'a> {
    let output = match neurons.fires {
        Some(_) => Output::Spikes(SpikeTrain::silent(layer.shape(), n_steps)),
        None => Output::Potentials(vec![0.0; n_steps * layer.n_out()]),
    };
    let start = state.potentials.is_empty().then_some(packed.initial_potentials.as_slice());
    state.potentials.resize(packed.initial_potentials.len(), 0.0);
    if !is_binary {
        state.emitted.resize(packed.initial_potentials.len(), 0);
    }
    LayerRun {
        currents: state.drive.as_ref().unwrap_or(&packed.biases),
        start,
        potentials: &mut state.potentials,
        emitted: &mut state.emitted,
        output,
    }
}

#[cfg(test)]
#[test]
fn batches_are_no_larger_than_the_largest_and_as_many_for_all_threads() {
    for n_threads in 1..4 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("a few threads");
        for n_samples in 1..300_usize {
            for largest in [CONVOLVED, BATCH] {
                let size = pool.install(|| batch_size(n_samples, largest));
                let n_batches = n_samples.div_ceil(size);
                assert!((1..=largest).contains(&size), "{n_samples} samples, {n_threads} threads: {size}");
                // No more than the rounds that batches of the largest size take.
                assert_eq!(n_batches.div_ceil(n_threads), n_samples.div_ceil(largest).div_ceil(n_threads));
            }
        }
    }
}

#[cfg(test)]
fn every_simd_level(network: &SpikingNetwork) -> Vec<EventEngine> {
    let mut levels = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    levels.extend(pulp::x86::V3::try_new().map(Arch::V3));
    if !matches!(Arch::new(), Arch::Scalar) {
        levels.push(Arch::new());
    }
    levels.into_iter().map(|arch| EventEngine::with_arch(network, arch)).collect()
}

#[cfg(test)]
mod portable;

#[cfg(test)]
mod tests;
