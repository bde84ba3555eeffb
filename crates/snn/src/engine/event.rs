//! The event-driven engine: work is done only where a spike arrives.
//!
//! Samples run in parallel; a sample's layers one after another, each over all T steps. The weights of a fully connected
//! layer are packed in blocks of a few SIMD registers' width, one row per input, so a block's potentials stay in registers
//! while the rows of the inputs that spiked are added to them. Convolutions are scattered ([`super::scatter`]). The SIMD
//! level is chosen at run time.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use model::config::Reset;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::scatter::{Events, ScatterLayer};
use super::{
    Engine, EngineError, Neurons, RunSettings, Sample, SampleTrace, check_sizes, cumulative_counts, neurons,
    steady_currents,
};
use crate::network::{SpikingLayer, SpikingNetwork};
use crate::pool::Pooling;
use crate::spikes::SpikeTrain;
use crate::wiring::{Connection, Kernel};

/// SIMD registers that hold a block's potentials.
const REGISTERS: usize = 4;

/// Runs a network event by event on the CPU.
#[derive(Debug)]
pub struct EventEngine {
    network: SpikingNetwork,
    packed: Vec<PackedLayer>,
    arch: Arch,
}

impl EventEngine {
    /// Packs a network's weights for the machine's widest SIMD level.
    pub fn new(network: &SpikingNetwork) -> Self {
        Self::with_arch(network, Arch::new())
    }

    /// The same with the level given; every level gives the same spikes.
    fn with_arch(network: &SpikingNetwork, arch: Arch) -> Self {
        let width = arch.dispatch(BlockWidth);
        let packed = network.layers().iter().map(|layer| PackedLayer::new(layer, width)).collect();
        Self { network: network.clone(), packed, arch }
    }

    fn run_sample(&self, sample: &Sample<'_>, settings: &RunSettings, neurons: &[Neurons]) -> SampleTrace {
        let mut spikes = vec![sample.encode(settings)];
        let mut residual = Vec::with_capacity(self.packed.len());
        let mut readout = Vec::new();
        for ((layer, packed), neurons) in self.network.layers().iter().zip(&self.packed).zip(neurons) {
            let currents = steady_currents(layer, sample, settings.encoding);
            let start = layer.for_neurons(layer.initial_potentials());
            let output = match packed {
                PackedLayer::Dense(packed) => packed.run(self.arch, &spikes, &currents, &start, neurons),
                PackedLayer::Scattered(packed) => {
                    self.arch.dispatch(ScatterPass { packed, spikes: &spikes, currents, start, neurons })
                }
            };
            residual.push(output.potentials);
            match output.result {
                LayerResult::Spikes(train) => spikes.push(train),
                LayerResult::Potentials(potentials) => readout = potentials,
            }
        }
        if readout.is_empty() {
            readout = cumulative_counts(spikes.last().expect("the last layer fires"));
        }
        SampleTrace { spikes, readout, residual, n_classes: self.network.n_classes() }
    }
}

impl Engine for EventEngine {
    fn run(&self, samples: &[Sample<'_>], settings: &RunSettings) -> Result<Vec<SampleTrace>, EngineError> {
        check_sizes(&self.network, samples)?;
        let neurons = neurons(&self.network, settings);
        Ok(samples.par_iter().map(|sample| self.run_sample(sample, settings, &neurons)).collect())
    }
}

/// Number of neurons in a block.
struct BlockWidth;

impl WithSimd for BlockWidth {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        REGISTERS * S::F32_LANES
    }
}

/// A layer's weights, packed for the way they are used.
#[derive(Debug)]
enum PackedLayer {
    Dense(DenseLayer),
    Scattered(ScatterLayer),
}

impl PackedLayer {
    fn new(layer: &SpikingLayer, width: usize) -> Self {
        match layer.connections() {
            [connection] if connection.wiring.kernel.is_dense() => Self::Dense(DenseLayer::new(connection, width)),
            _ => Self::Scattered(ScatterLayer::new(layer)),
        }
    }
}

/// Weights in blocks: `[n_blocks, n_in, width]`, the last block padded with zeros.
#[derive(Debug)]
struct DenseLayer {
    source: usize,
    pooling: Pooling,
    n_in: usize,
    n_out: usize,
    width: usize,
    weights: Vec<f32>,
}

/// What one layer did.
struct LayerOutput {
    /// Membrane potentials after the last step, `[n_out]`.
    potentials: Vec<f32>,
    result: LayerResult,
}

enum LayerResult {
    Spikes(SpikeTrain),
    /// After each step, `[T, n_out]`.
    Potentials(Vec<f32>),
}

impl DenseLayer {
    fn new(connection: &Connection<f32>, width: usize) -> Self {
        let Kernel { channels: n_out, .. } = connection.wiring.kernel;
        let n_in = connection.wiring.kernel.n_in();
        let mut weights = vec![0.0; n_out.div_ceil(width) * n_in * width];
        for (neuron, row) in connection.weights.chunks_exact(n_in).enumerate() {
            let block = &mut weights[neuron / width * n_in * width..][..n_in * width];
            for (input, &weight) in row.iter().enumerate() {
                block[input * width + neuron % width] = weight;
            }
        }
        let pooling = Pooling::new(&connection.wiring);
        Self { source: connection.wiring.source, pooling, n_in, n_out, width, weights }
    }

    fn run(
        &self,
        arch: Arch,
        spikes: &[SpikeTrain],
        currents: &[f32],
        initial_potentials: &[f32],
        neurons: &Neurons,
    ) -> LayerOutput {
        let Self { n_in, n_out, width, .. } = *self;
        let input = &spikes[self.source];
        let n_steps = input.n_steps();
        let events = Events::new(input, &self.pooling);
        let mut result = match neurons.fires {
            Some(_) => LayerResult::Spikes(SpikeTrain::silent(n_out, n_steps)),
            None => LayerResult::Potentials(vec![0.0; n_steps * n_out]),
        };
        // Padding neurons start at zero and get no current, so they never fire.
        let padded = |values: &[f32], padding| {
            let mut values = values.to_vec();
            values.resize(n_out.next_multiple_of(width), padding);
            values
        };
        let (currents, mut potentials) = (padded(currents, 0.0), padded(initial_potentials, 0.0));
        let limits = neurons.limits.as_ref().map(|limits| padded(limits, f32::INFINITY));
        let mut output = vec![0.0; n_steps * width];
        let blocks = self.weights.chunks_exact(n_in * width).zip(currents.chunks_exact(width));
        for (block_idx, ((rows, currents), potentials)) in blocks.zip(potentials.chunks_exact_mut(width)).enumerate() {
            let limits = limits.as_ref().map(|limits| &limits[block_idx * width..][..width]);
            let (events, fires, output) = (&events, neurons.fires, &mut output);
            arch.dispatch(BlockPass { rows, currents, potentials, limits, events, fires, output });
            let first = block_idx * width;
            let n_real = width.min(n_out - first);
            for (step, values) in output.chunks_exact(width).enumerate() {
                match &mut result {
                    LayerResult::Spikes(train) => {
                        let bits =
                            values[..n_real].iter().rev().fold(0, |bits, &value| bits << 1 | u64::from(value != 0.0));
                        train.add_bits(step, first, bits);
                    }
                    LayerResult::Potentials(all) => {
                        all[step * n_out + first..][..n_real].copy_from_slice(&values[..n_real]);
                    }
                }
            }
        }
        potentials.truncate(n_out);
        LayerOutput { potentials, result }
    }
}

/// All steps of one block of neurons.
struct BlockPass<'a> {
    /// `[n_in, width]`
    rows: &'a [f32],
    /// Added at each step, `[width]`.
    currents: &'a [f32],
    /// `[width]`
    potentials: &'a mut [f32],
    /// `[width]`
    limits: Option<&'a [f32]>,
    events: &'a Events,
    /// What a spike does; `None` if the neurons only integrate.
    fires: Option<Reset>,
    /// After each step, `[T, width]`: 1 for a spike, or the potential of neurons that only integrate.
    output: &'a mut [f32],
}

impl WithSimd for BlockPass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.fires {
            None => self.pass(simd, |_, u| (u, None)),
            Some(Reset::Subtract) => self.pass(simd, |simd, u| {
                let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
                let spike = simd.select_f32s(simd.less_than_or_equal_f32s(one, u), one, zero);
                (simd.sub_f32s(u, spike), Some(spike))
            }),
            Some(Reset::Zero) => self.pass(simd, |simd, u| {
                let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
                let fired = simd.less_than_or_equal_f32s(one, u);
                (simd.select_f32s(fired, zero, u), Some(simd.select_f32s(fired, one, zero)))
            }),
        }
    }
}

impl BlockPass<'_> {
    /// - `fire`: the potential before firing to the potential after it, and 1 for a spike where neurons fire
    #[inline(always)]
    fn pass<S: Simd>(self, simd: S, fire: impl Fn(S, S::f32s) -> (S::f32s, Option<S::f32s>)) {
        let (rows, currents) = (registers::<S>(self.rows), registers::<S>(self.currents)[0]);
        let potentials = &mut registers_mut::<S>(self.potentials)[0];
        let output = registers_mut::<S>(self.output);
        // A limit of infinity changes nothing.
        let limits =
            self.limits.map_or([simd.splat_f32s(f32::INFINITY); REGISTERS], |limits| registers::<S>(limits)[0]);
        let mut v = *potentials;
        for (inputs, output) in self.events.steps().zip(output) {
            let mut u = [
                simd.add_f32s(v[0], currents[0]),
                simd.add_f32s(v[1], currents[1]),
                simd.add_f32s(v[2], currents[2]),
                simd.add_f32s(v[3], currents[3]),
            ];
            for &input in inputs {
                let row = &rows[input as usize];
                u = [
                    simd.add_f32s(u[0], row[0]),
                    simd.add_f32s(u[1], row[1]),
                    simd.add_f32s(u[2], row[2]),
                    simd.add_f32s(u[3], row[3]),
                ];
            }
            for register in 0..REGISTERS {
                let (after, spike) = fire(simd, u[register]);
                let limit = limits[register];
                v[register] = simd.max_f32s(simd.min_f32s(after, limit), simd.neg_f32s(limit));
                output[register] = spike.unwrap_or(v[register]);
            }
        }
        *potentials = v;
    }
}

/// All steps of a layer whose spikes are scattered.
struct ScatterPass<'a> {
    packed: &'a ScatterLayer,
    spikes: &'a [SpikeTrain],
    /// Added at each step, `[n_out]`.
    currents: Vec<f32>,
    /// Potentials before the first step, `[n_out]`.
    start: Vec<f32>,
    neurons: &'a Neurons,
}

impl WithSimd for ScatterPass<'_> {
    type Output = LayerOutput;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> LayerOutput {
        let (layout, n_out) = (&self.packed.layout, self.start.len());
        let events = self.packed.events(self.spikes);
        let n_steps = self.spikes[0].n_steps();
        // Padding neurons start at zero and get no current, so they never fire.
        let (currents, mut potentials) = (layout.arrange(&self.currents, 0.0), layout.arrange(&self.start, 0.0));
        let limits = self.neurons.limits.as_ref().map(|limits| layout.arrange(limits, f32::INFINITY));
        let mut train = SpikeTrain::silent(n_out, n_steps);
        let mut readout = Vec::new();
        for step in 0..n_steps {
            self.packed.add_step(simd, &events, step, &mut potentials);
            let fired = |place: usize| train.add(step, layout.neuron(place));
            fire_all(simd, &mut potentials, &currents, limits.as_deref(), self.neurons.fires, fired);
            if self.neurons.fires.is_none() {
                readout.extend(layout.restore(&potentials));
            }
        }
        let result =
            if self.neurons.fires.is_some() { LayerResult::Spikes(train) } else { LayerResult::Potentials(readout) };
        LayerOutput { potentials: layout.restore(&potentials), result }
    }
}

/// Adds the steady current, fires, resets and limits every neuron.
///
/// - `fired`: is told the place of each neuron that fires
#[inline(always)]
fn fire_all<S: Simd>(
    simd: S,
    potentials: &mut [f32],
    currents: &[f32],
    limits: Option<&[f32]>,
    fires: Option<Reset>,
    mut fired: impl FnMut(usize),
) {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let limits = limits.map(|limits| S::as_simd_f32s(limits).0);
    let registers = S::as_mut_simd_f32s(potentials).0.iter_mut().zip(S::as_simd_f32s(currents).0);
    for (register, (v, &current)) in registers.enumerate() {
        let u = simd.add_f32s(*v, current);
        let mut after = u;
        if let Some(reset) = fires {
            let spikes = simd.less_than_or_equal_f32s(one, u);
            if simd.first_true_m32s(spikes) < S::F32_LANES {
                after = match reset {
                    Reset::Subtract => simd.sub_f32s(u, simd.select_f32s(spikes, one, zero)),
                    Reset::Zero => simd.select_f32s(spikes, zero, u),
                };
                let mut lanes = [0.0_f32; 64];
                S::as_mut_simd_f32s(&mut lanes).0[0] = simd.select_f32s(spikes, one, zero);
                for (lane, _) in lanes[..S::F32_LANES].iter().enumerate().filter(|(_, spike)| **spike != 0.0) {
                    fired(register * S::F32_LANES + lane);
                }
            }
        }
        if let Some(limits) = limits {
            let limit = limits[register];
            after = simd.max_f32s(simd.min_f32s(after, limit), simd.neg_f32s(limit));
        }
        *v = after;
    }
}

#[inline(always)]
fn registers<S: Simd>(values: &[f32]) -> &[[S::f32s; REGISTERS]] {
    S::as_simd_f32s(values).0.as_chunks().0
}

#[inline(always)]
fn registers_mut<S: Simd>(values: &mut [f32]) -> &mut [[S::f32s; REGISTERS]] {
    S::as_mut_simd_f32s(values).0.as_chunks_mut().0
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
