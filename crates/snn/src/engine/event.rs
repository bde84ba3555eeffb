//! The event-driven engine: work is done only where a spike arrives.
//!
//! Samples run in parallel, a few at a time; a sample's layers one after another, each over all T steps. The synapses are
//! those of [`super::gather`]; here neurons fire. The SIMD level is chosen at run time.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;

use model::config::Reset;
use pulp::Arch;
use rayon::prelude::*;

use super::gather::{Consumer, GatherLayer, Lists, NARROW, Visit, WIDE};
use super::{
    Engine, EngineError, Neurons, RunSettings, Sample, SampleTrace, check_sizes, cumulative_counts, neurons,
    steady_currents,
};
use crate::drive::Drive;
use crate::network::{SpikingLayer, SpikingNetwork};
use crate::places::{by_neuron, by_place};
use crate::spikes::SpikeTrain;

/// Samples that one thread runs together, so that a block of weights is read from memory once for all of them.
const BATCH: usize = 16;

/// Runs a network event by event on the CPU.
#[derive(Debug)]
pub struct EventEngine {
    network: SpikingNetwork,
    drives: Vec<Option<Drive>>,
    packed: Vec<GatherLayer>,
    arch: Arch,
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
            drives: network.layers().iter().map(Drive::of_pixels).collect(),
            packed: network.layers().iter().map(GatherLayer::new).collect(),
            arch,
        }
    }

    fn run_batch(&self, samples: &[Sample<'_>], settings: &RunSettings, neurons: &[Neurons]) -> Vec<SampleTrace> {
        let input = self.network.input();
        let mut traces: Vec<SampleTrace> = samples
            .iter()
            .map(|sample| SampleTrace {
                spikes: vec![sample.encode(input, settings)],
                readout: Vec::new(),
                residual: Vec::with_capacity(self.packed.len()),
                n_classes: self.network.n_classes(),
            })
            .collect();
        let mut lists: Vec<Lists> = samples.iter().map(|_| Lists::default()).collect();
        for (idx, (layer, neurons)) in self.network.layers().iter().zip(neurons).enumerate() {
            // The weights of a convolution serve all positions of a sample.
            let at_once = if self.packed[idx].has_one_position() { BATCH } else { 1 };
            for (samples, traces) in samples.chunks(at_once).zip(traces.chunks_mut(at_once)) {
                for (lists, trace) in lists.iter_mut().zip(&*traces) {
                    self.packed[idx].list(&trace.spikes, lists);
                }
                let steady = samples
                    .iter()
                    .map(|sample| steady_currents(layer, self.drives[idx].as_ref(), sample, settings.encoding));
                let runs = steady.map(|currents| LayerRun::new(layer, &currents, settings.n_steps, neurons.fires));
                let mut firing = Firing::new(layer, neurons, runs.collect());
                self.packed[idx].visit(self.arch, &lists[..samples.len()], settings.n_steps, &mut firing);
                for (run, trace) in firing.runs.into_iter().zip(traces) {
                    trace.residual.push(by_neuron(layer.shape(), &run.potentials));
                    match run.output {
                        Output::Spikes(train) => trace.spikes.push(train),
                        Output::Potentials(steps) => {
                            let by_place = steps.chunks_exact(layer.n_out());
                            trace.readout = by_place.flat_map(|values| by_neuron(layer.shape(), values)).collect();
                        }
                    }
                }
            }
        }
        for trace in traces.iter_mut().filter(|trace| trace.readout.is_empty()) {
            trace.readout = cumulative_counts(trace.spikes.last().expect("the last layer fires"));
        }
        traces
    }
}

impl Engine for EventEngine {
    fn run(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<SampleTrace>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neurons = neurons(&self.network, settings);
        // Few samples are shared out evenly first.
        let batch = samples.len().div_ceil(rayon::current_num_threads()).clamp(1, BATCH);
        let batches = samples.par_chunks(batch).map(|samples| self.run_batch(samples, settings, &neurons));
        Ok(batches.flatten_iter().collect())
    }
}

/// One layer of one sample on its way through time.
#[derive(Debug)]
struct LayerRun {
    /// Added at each step, by place.
    currents: Vec<f32>,
    /// By place.
    potentials: Vec<f32>,
    output: Output,
}

#[derive(Debug)]
enum Output {
    Spikes(SpikeTrain),
    /// After each step, `[T, n_out]`, by place.
    Potentials(Vec<f32>),
}

impl LayerRun {
    /// - `currents`: added at each step, `[n_out]`
    fn new(layer: &SpikingLayer, currents: &[f32], n_steps: usize, fires: Option<Reset>) -> Self {
        let shape = layer.shape();
        let output = match fires {
            Some(_) => Output::Spikes(SpikeTrain::silent(shape, n_steps)),
            None => Output::Potentials(vec![0.0; n_steps * layer.n_out()]),
        };
        let start = layer.for_neurons(layer.initial_potentials());
        // What lies behind the last neuron starts at zero and gets no current.
        let padded = |values: &[f32]| with_room(by_place(shape, values), 0.0);
        Self { currents: padded(currents), potentials: padded(&start), output }
    }
}

/// Values by place, with as many behind the last place as a site may hold.
fn with_room(mut by_place: Vec<f32>, value: f32) -> Vec<f32> {
    by_place.resize(by_place.len() + WIDE, value);
    by_place
}

/// Turns a layer's currents into spikes or potentials.
struct Firing {
    runs: Vec<LayerRun>,
    /// By place.
    limits: Option<Vec<f32>>,
    fires: Option<Reset>,
    n_out: usize,
}

impl Firing {
    fn new(layer: &SpikingLayer, neurons: &Neurons, runs: Vec<LayerRun>) -> Self {
        let limits = neurons.limits.as_ref();
        let limits = limits.map(|limits| with_room(by_place(layer.shape(), limits), f32::INFINITY));
        Self { runs, limits, fires: neurons.fires, n_out: layer.n_out() }
    }

    fn site<const W: usize>(&mut self) -> Site<'_, W> {
        Site {
            firing: self,
            sample: 0,
            places: 0..0,
            potentials: [0.0; W],
            currents: [0.0; W],
            limits: [f32::INFINITY; W],
        }
    }
}

impl Visit for Firing {
    fn wide(&mut self) -> impl Consumer<WIDE> {
        self.site()
    }

    fn narrow(&mut self) -> impl Consumer<NARROW> {
        self.site()
    }
}

/// The neurons of one site of one sample.
struct Site<'a, const W: usize> {
    firing: &'a mut Firing,
    sample: usize,
    places: Range<usize>,
    potentials: [f32; W],
    currents: [f32; W],
    /// A limit of infinity changes nothing.
    limits: [f32; W],
}

impl<const W: usize> Site<'_, W> {
    /// Bit k for neuron k.
    ///
    /// - `reset`: the potential of a neuron that fires to what is left of it
    #[inline(always)]
    fn fire(&mut self, currents: &[f32; W], reset: impl Fn(f32) -> f32) -> u64 {
        let mut bits = 0;
        for lane in 0..W {
            let u = self.potentials[lane] + self.currents[lane] + currents[lane];
            let fired = u >= 1.0;
            let after = if fired { reset(u) } else { u };
            self.potentials[lane] = after.min(self.limits[lane]).max(-self.limits[lane]);
            bits |= u64::from(fired) << lane;
        }
        bits
    }
}

impl<const W: usize> Consumer<W> for Site<'_, W> {
    #[inline(always)]
    fn begin(&mut self, sample: usize, places: Range<usize>) {
        let run = &self.firing.runs[sample];
        let site = places.start..places.start + W;
        self.potentials.copy_from_slice(&run.potentials[site.clone()]);
        self.currents.copy_from_slice(&run.currents[site.clone()]);
        if let Some(limits) = &self.firing.limits {
            self.limits.copy_from_slice(&limits[site]);
        }
        (self.sample, self.places) = (sample, places);
    }

    #[inline(always)]
    fn step(&mut self, step: usize, currents: &[f32; W]) {
        let bits = match self.firing.fires {
            Some(Reset::Subtract) => self.fire(currents, |u| u - 1.0),
            Some(Reset::Zero) => self.fire(currents, |_| 0.0),
            None => {
                self.fire(currents, |u| u);
                0
            }
        };
        let (first, n) = (self.places.start, self.places.len());
        match &mut self.firing.runs[self.sample].output {
            // What lies behind the site's neurons may fire, but is not there.
            Output::Spikes(train) => train.add_bits(step, first, bits & (u64::MAX >> (64 - n))),
            Output::Potentials(steps) => {
                let n_out = self.firing.n_out;
                steps[step * n_out + first..][..n].copy_from_slice(&self.potentials[..n]);
            }
        }
    }

    #[inline(always)]
    fn end(&mut self) {
        let n = self.places.len();
        self.firing.runs[self.sample].potentials[self.places.clone()].copy_from_slice(&self.potentials[..n]);
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
