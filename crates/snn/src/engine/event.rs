//! The event-driven engine: work is done only where a spike arrives.
//!
//! Samples run in parallel, a few at a time; a sample's layers one after another, each over all T steps. The synapses are
//! those of [`super::gather`]; here neurons fire. The SIMD level is chosen at run time.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use model::config::{Encoding, Reset};
use pulp::{Arch, Simd};
use rayon::prelude::*;

use super::events::{Lists, PoolStates, Scratch};
use super::gather::{Consumer, GatherLayer, NARROW, Visit, WIDE};
use super::{Engine, EngineError, Neurons, RunSettings, Sample, SampleTrace, check_sizes, cumulative_counts, neurons};
use crate::drive::Drive;
use crate::exit::{EarlyDecision, EarlyExit, Watch};
use crate::network::{SpikingLayer, SpikingNetwork};
use crate::places::{by_neuron, by_place};
use crate::simd::{Aligned, LANES, at_least};
use crate::spikes::{SpikeTrain, add_bits};

/// Samples that one thread runs together, so that a block of weights is read from memory once for all of them.
const BATCH: usize = 16;

/// Samples whose pixels are multiplied with the weights together.
const DRIVEN: usize = 4;

/// Steps that a sample is run on before it is asked whether it is settled: as many as one call of the random numbers serves.
const PIECE: usize = 4;

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
    synapses: GatherLayer,
    drive: Option<Drive>,
    /// By place.
    biases: Vec<f32>,
    /// By place.
    initial_potentials: Vec<f32>,
}

impl PackedLayer {
    fn new(layer: &SpikingLayer) -> Self {
        let of_neurons = |values: &[f32]| with_room(by_place(layer.shape(), &layer.for_neurons(values)), 0.0);
        Self {
            synapses: GatherLayer::new(layer),
            drive: Drive::of_pixels(layer),
            biases: of_neurons(layer.biases()),
            initial_potentials: of_neurons(layer.initial_potentials()),
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
    /// By place.
    potentials: Vec<f32>,
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

    fn start<'a>(&self, samples: &[Sample<'a>], encoding: Encoding) -> Vec<Run<'a>> {
        let (groups, rest) = samples.as_chunks::<DRIVEN>();
        let groups = groups.iter().flat_map(|samples| self.start_group(samples, encoding));
        groups.chain(rest.iter().flat_map(|sample| self.start_group(&[*sample], encoding))).collect()
    }

    fn start_group<'a, const B: usize>(&self, samples: &[Sample<'a>; B], encoding: Encoding) -> [Run<'a>; B] {
        let mut runs =
            samples.map(|sample| Run { sample, layers: Vec::new(), spikes: Vec::new(), potentials: Vec::new() });
        for packed in &self.packed {
            let drive = packed.drive.as_ref().filter(|_| encoding == Encoding::Constant);
            let mut drives = [const { None }; B];
            if let Some(drive) = drive {
                drives = drive.currents(samples.map(|sample| sample.pixels)).map(|drive| Some(with_room(drive, 0.0)));
            }
            for (run, drive) in runs.iter_mut().zip(drives) {
                let (potentials, pools) = (packed.initial_potentials.clone(), PoolStates::default());
                run.layers.push(LayerState { drive, potentials, pools });
            }
        }
        runs
    }

    /// Runs the steps that follow those so far.
    ///
    /// - `neurons`: one entry per layer
    fn advance(&self, runs: &mut [Run<'_>], settings: &RunSettings, neurons: &[Neurons], steps: Range<usize>) {
        let n_steps = steps.len();
        let loss = self.network.spike_loss();
        let arrive = |mut train: SpikeTrain, source: usize, sample: &Sample<'_>| {
            if let Some(loss) = loss {
                loss.thin(&mut train, source, sample.index, steps.start);
            }
            train
        };
        let encode = |run: &Run<'_>| {
            let train = run.sample.encode_steps(self.network.input(), settings, steps.clone());
            vec![arrive(train, 0, &run.sample)]
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
                for ((run, spikes), lists) in runs.iter_mut().zip(&*spikes).zip(&mut *lists) {
                    packed.synapses.list(self.arch, spikes, &mut run.layers[idx].pools, scratch, lists);
                }
                let outputs = runs
                    .iter_mut()
                    .map(|run| LayerRun::new(layer, packed, &mut run.layers[idx], n_steps, &neurons[idx]));
                let outputs = outputs.collect();
                let fired = match &neurons[idx].thresholds {
                    None => Firing::<false>::new(layer, &neurons[idx], outputs, n_steps).run(self.arch, packed, lists),
                    Some(_) => {
                        Firing::<true>::new(layer, &neurons[idx], outputs, n_steps).run(self.arch, packed, lists)
                    }
                };
                let outputs: Vec<Output> = fired.into_iter().map(|run| run.output).collect();
                for ((output, run), spikes) in outputs.into_iter().zip(runs).zip(spikes) {
                    match output {
                        Output::Spikes(train) => spikes.push(arrive(train, idx + 1, &run.sample)),
                        Output::Potentials(steps) => {
                            let by_place = steps.chunks_exact(layer.n_out());
                            run.potentials.extend(by_place.flat_map(|values| by_neuron(layer.shape(), values)));
                        }
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

    /// What came of a run.
    fn trace(&self, run: Run<'_>) -> SampleTrace {
        let readout = run.readout().into_owned();
        let layers = self.network.layers().iter().zip(&run.layers);
        let residual = layers.map(|(layer, state)| by_neuron(layer.shape(), &state.potentials)).collect();
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
        for first in (0..settings.n_steps).step_by(PIECE) {
            let steps = first..settings.n_steps.min(first + PIECE);
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

/// Samples of a thread at a time: few are shared out evenly first.
fn batch_size(n_samples: usize) -> usize {
    n_samples.div_ceil(rayon::current_num_threads()).clamp(1, BATCH)
}

impl Engine for EventEngine {
    fn run(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<SampleTrace>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neurons = neurons(&self.network, settings);
        let batches = samples.par_chunks(batch_size(samples.len())).map(|samples| {
            let mut runs = self.start(samples, settings.encoding);
            self.advance(&mut runs, settings, &neurons, 0..settings.n_steps);
            runs.into_iter().map(|run| self.trace(run)).collect::<Vec<_>>()
        });
        Ok(batches.flatten_iter().collect())
    }

    /// Runs a few steps of all layers at a time, and goes on with the samples that are not settled.
    fn run_until(
        &self,
        samples: &[Sample<'_>],
        settings: &RunSettings,
        exit: &EarlyExit,
    ) -> Result<Vec<EarlyDecision>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neurons = neurons(&self.network, settings);
        let batches = samples.par_chunks(batch_size(samples.len()));
        Ok(batches.flat_map_iter(|samples| self.advance_until(samples, settings, &neurons, exit)).collect())
    }
}

/// Some steps of one layer of one sample.
#[derive(Debug)]
struct LayerRun<'a> {
    /// Added at each step, by place.
    currents: &'a [f32],
    /// By place.
    potentials: &'a mut [f32],
    output: Output,
}

#[derive(Debug)]
enum Output {
    Spikes(SpikeTrain),
    /// After each step, `[T, n_out]`, by place.
    Potentials(Vec<f32>),
}

impl<'a> LayerRun<'a> {
    fn new(
        layer: &SpikingLayer,
        packed: &'a PackedLayer,
        state: &'a mut LayerState,
        n_steps: usize,
        neurons: &Neurons,
    ) -> Self {
        let output = match neurons.fires {
            Some(_) => Output::Spikes(SpikeTrain::silent(layer.shape(), n_steps)),
            None => Output::Potentials(vec![0.0; n_steps * layer.n_out()]),
        };
        Self { currents: state.drive.as_ref().unwrap_or(&packed.biases), potentials: &mut state.potentials, output }
    }
}

/// Values by place, with as many behind the last place as a site may hold; what lies there starts at zero and gets no current.
fn with_room(mut by_place: Vec<f32>, value: f32) -> Vec<f32> {
    by_place.resize(by_place.len() + WIDE, value);
    by_place
}

/// Turns a layer's currents into spikes or potentials.
///
/// `OWN`: neurons fire at thresholds of their own. The others have none to look up, and a kernel without.
struct Firing<'a, const OWN: bool> {
    runs: Vec<LayerRun<'a>>,
    n_steps: usize,
    /// By place; empty where all are 1.
    thresholds: Vec<f32>,
    /// By place.
    limits: Option<Vec<f32>>,
    fires: Option<Reset>,
    n_out: usize,
}

impl<'a, const OWN: bool> Firing<'a, OWN> {
    fn new(layer: &SpikingLayer, neurons: &Neurons, runs: Vec<LayerRun<'a>>, n_steps: usize) -> Self {
        let limits = neurons.limits.as_ref();
        let limits = limits.map(|limits| with_room(by_place(layer.shape(), limits), f32::INFINITY));
        let thresholds = neurons.thresholds.as_ref().filter(|_| OWN);
        let thresholds = thresholds.map(|thresholds| with_room(by_place(layer.shape(), thresholds), 1.0));
        let (thresholds, fires) = (thresholds.unwrap_or_default(), neurons.fires);
        Self { runs, n_steps, thresholds, limits, fires, n_out: layer.n_out() }
    }

    fn run(mut self, arch: Arch, packed: &PackedLayer, lists: &[Lists]) -> Vec<LayerRun<'a>> {
        packed.synapses.visit(arch, lists, self.n_steps, &mut self);
        self.runs
    }

    fn site<const W: usize>(&mut self) -> Site<'_, 'a, W, OWN> {
        Site {
            spikes: vec![0; self.n_steps],
            firing: self,
            sample: 0,
            places: 0..0,
            potentials: Aligned([0.0; W]),
            currents: Aligned([0.0; W]),
            thresholds: Aligned([1.0; W]),
            limits: Aligned([f32::INFINITY; W]),
            silent: Silent { start: [[0.0; W]; 2], potentials: [0.0; W], spikes: Vec::new() },
        }
    }
}

impl<const OWN: bool> Visit for Firing<'_, OWN> {
    fn wide(&mut self) -> impl Consumer<WIDE> {
        self.site()
    }

    fn narrow(&mut self) -> impl Consumer<NARROW> {
        self.site()
    }
}

/// The neurons of one site of one sample.
struct Site<'a, 'b, const W: usize, const OWN: bool> {
    firing: &'a mut Firing<'b, OWN>,
    sample: usize,
    places: Range<usize>,
    potentials: Aligned<[f32; W]>,
    currents: Aligned<[f32; W]>,
    /// Mean nothing where all are 1.
    thresholds: Aligned<[f32; W]>,
    /// Mean nothing where there are none.
    limits: Aligned<[f32; W]>,
    /// Bit k for neuron k, of each step.
    spikes: Vec<u64>,
    /// The last one at which nothing arrived.
    silent: Silent<W>,
}

/// What a site does at which nothing arrives. At the dark border of an image, many do the same.
struct Silent<const W: usize> {
    /// Potentials before the first step, and currents; of the site that is run until it ends.
    start: [[f32; W]; 2],
    potentials: [f32; W],
    /// Empty before there is one.
    spikes: Vec<u64>,
}

impl<const W: usize, const OWN: bool> Site<'_, '_, W, OWN> {
    /// Bit k for neuron k.
    ///
    /// - `reset`: the potential and the threshold of a neuron that fires to what is left of the potential
    #[inline(always)]
    fn fire<S: Simd>(&mut self, simd: S, currents: &Aligned<[f32; W]>, reset: impl Fn(f32, f32) -> f32) -> u64 {
        let mut u = Aligned([0.0; W]);
        let Aligned(u) = &mut u;
        for lane in 0..W {
            u[lane] = self.potentials.0[lane] + self.currents.0[lane] + currents.0[lane];
        }
        let thresholds = if OWN { &self.thresholds.0 } else { &[1.0; W] };
        let mut bits = 0;
        let lanes = u.as_chunks::<LANES>().0.iter().zip(thresholds.as_chunks::<LANES>().0);
        for (k, (u, thresholds)) in lanes.enumerate() {
            bits |= u64::from(at_least(simd, u, thresholds)) << (LANES * k);
        }
        for lane in 0..W {
            let fired = u[lane] >= thresholds[lane];
            self.potentials.0[lane] = if fired { reset(u[lane], thresholds[lane]) } else { u[lane] };
        }
        if self.firing.limits.is_some() {
            for lane in 0..W {
                self.potentials.0[lane] = self.potentials.0[lane].min(self.limits.0[lane]).max(-self.limits.0[lane]);
            }
        }
        bits
    }
}

impl<const W: usize, const OWN: bool> Consumer<W> for Site<'_, '_, W, OWN> {
    #[inline(always)]
    fn begin(&mut self, sample: usize, places: Range<usize>) {
        let run = &self.firing.runs[sample];
        let site = places.start..places.start + W;
        self.potentials.0.copy_from_slice(&run.potentials[site.clone()]);
        self.currents.0.copy_from_slice(&run.currents[site.clone()]);
        if OWN {
            self.thresholds.0.copy_from_slice(&self.firing.thresholds[site.clone()]);
        }
        if let Some(limits) = &self.firing.limits {
            self.limits.0.copy_from_slice(&limits[site]);
        }
        (self.sample, self.places) = (sample, places);
    }

    #[inline(always)]
    fn step<S: Simd>(&mut self, simd: S, step: usize, currents: &Aligned<[f32; W]>) {
        let bits = match self.firing.fires {
            Some(Reset::Subtract) => self.fire(simd, currents, |u, threshold| u - threshold),
            Some(Reset::Zero) => self.fire(simd, currents, |_, _| 0.0),
            None => {
                self.fire(simd, currents, |u, _| u);
                0
            }
        };
        self.spikes[step] = bits;
        let (first, n) = (self.places.start, self.places.len());
        if let Output::Potentials(steps) = &mut self.firing.runs[self.sample].output {
            steps[step * self.firing.n_out + first..][..n].copy_from_slice(&self.potentials.0[..n]);
        }
    }

    #[inline(always)]
    fn recall(&mut self) -> bool {
        // Thresholds and limits may differ from site to site, and potentials are written step by step.
        if OWN || self.firing.limits.is_some() || self.firing.fires.is_none() {
            return false;
        }
        let start = [self.potentials.0, self.currents.0];
        let is_same = start == self.silent.start && !self.silent.spikes.is_empty();
        if is_same {
            self.potentials.0 = self.silent.potentials;
            self.spikes.copy_from_slice(&self.silent.spikes);
        }
        self.silent.start = start;
        is_same
    }

    #[inline(always)]
    fn end(&mut self, is_silent: bool) {
        if is_silent {
            self.silent.potentials = self.potentials.0;
            self.silent.spikes.clone_from(&self.spikes);
        }
        let (first, n) = (self.places.start, self.places.len());
        let run = &mut self.firing.runs[self.sample];
        run.potentials[self.places.clone()].copy_from_slice(&self.potentials.0[..n]);
        if let Output::Spikes(train) = &mut run.output {
            let (words, n_words) = train.words_mut();
            // What lies behind the site's neurons may fire, but is not there.
            let there = u64::MAX >> (64 - n);
            for (words, bits) in words.chunks_exact_mut(n_words).zip(&self.spikes) {
                add_bits(words, first, bits & there);
            }
        }
    }
}

#[cfg(test)]
pub(super) fn every_simd_level(network: &SpikingNetwork) -> Vec<EventEngine> {
    let mut levels = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    levels.extend(pulp::x86::V3::try_new().map(Arch::V3));
    if !matches!(Arch::new(), Arch::Scalar) {
        levels.push(Arch::new());
    }
    levels.into_iter().map(|arch| EventEngine::with_arch(network, arch)).collect()
}
