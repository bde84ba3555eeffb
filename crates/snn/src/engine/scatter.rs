//! Spikes scattered: each adds its kernel to the neurons it reaches.
//!
//! Potentials lie channels last within each group of channels, and a kernel's columns lie in the order of the outputs
//! that they reach, so that a row of the kernel is one run of additions.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use std::ops::Range;

use pulp::Simd;

use crate::network::SpikingLayer;
use crate::pool::Pooling;
use crate::spikes::SpikeTrain;
use crate::wiring::{Connection, Kernel};

/// Neurons are padded to whole registers of any SIMD level.
const PADDING: usize = 64;

/// A layer's weights, packed to be scattered.
#[derive(Debug)]
pub(crate) struct ScatterLayer {
    pub(crate) layout: Layout,
    connections: Vec<Scatter>,
}

/// Where each neuron's potential lies.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Channels that lie side by side.
    block: usize,
    n_positions: usize,
    n_out: usize,
    /// Neuron at each place.
    neurons: Vec<u32>,
}

#[derive(Debug)]
struct Scatter {
    source: usize,
    pooling: Pooling,
    kernel: Kernel,
    /// Per input channel, its kernels of all output channels of its group, in the order of `runs`.
    weights: Vec<f32>,
    weights_per_channel: usize,
    /// Per input channel, what is added to every place: where its group's channels lie.
    offsets: Vec<u32>,
    /// The runs of each input position.
    runs: Vec<Run>,
    ends: Vec<u32>,
}

/// Additions of neighbouring weights to neighbouring neurons.
#[derive(Debug, Clone, Copy)]
struct Run {
    weight: u32,
    place: u32,
    len: u32,
}

/// The inputs that spike, step by step.
pub(crate) struct Events {
    inputs: Vec<u32>,
    /// Where each step's inputs end.
    ends: Vec<usize>,
}

impl Events {
    /// Inputs of a kernel that a spike train reaches, as often as it does.
    pub(crate) fn new(train: &SpikeTrain, pooling: &Pooling) -> Self {
        let passed = pooling.max_pooled(train);
        let train = passed.as_ref().unwrap_or(train);
        let mut events = Self { inputs: Vec::new(), ends: Vec::with_capacity(train.n_steps()) };
        for step in 0..train.n_steps() {
            for neuron in train.neurons(step) {
                pooling.for_each_input(neuron, |input| events.inputs.push(input as u32));
            }
            events.ends.push(events.inputs.len());
        }
        events
    }

    /// One slice of inputs per step.
    #[inline]
    pub(crate) fn steps(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.ends.len()).map(|step| self.at(step))
    }

    #[inline]
    fn at(&self, step: usize) -> &[u32] {
        let first = step.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.inputs[first..self.ends[step]]
    }
}

impl Layout {
    fn new(layer: &SpikingLayer) -> Self {
        let [channels, ..] = layer.shape();
        let mut blocks = layer.connections().iter().map(|c| c.wiring.kernel.channels / c.wiring.kernel.groups);
        let first = blocks.next().unwrap_or(channels);
        let block = if blocks.all(|block| block == first) { first } else { channels };
        let mut layout = Self { block, n_positions: layer.n_positions(), n_out: layer.n_out(), neurons: Vec::new() };
        layout.neurons = vec![0; layout.n_out];
        for channel in 0..channels {
            for position in 0..layout.n_positions {
                let place = layout.place(channel, position);
                layout.neurons[place] = (channel * layout.n_positions + position) as u32;
            }
        }
        layout
    }

    fn place(&self, channel: usize, position: usize) -> usize {
        (channel / self.block * self.n_positions + position) * self.block + channel % self.block
    }

    /// Number of neurons.
    pub(crate) fn n_out(&self) -> usize {
        self.n_out
    }

    /// Neuron at a place.
    #[inline]
    pub(crate) fn neuron(&self, place: usize) -> usize {
        self.neurons[place] as usize
    }

    /// Values by neuron → by place, padded.
    pub(crate) fn arrange(&self, by_neuron: &[f32], padding: f32) -> Vec<f32> {
        let mut by_place: Vec<f32> = self.neurons.iter().map(|&neuron| by_neuron[neuron as usize]).collect();
        by_place.resize(self.n_out.next_multiple_of(PADDING), padding);
        by_place
    }

    /// Values by place → by neuron.
    pub(crate) fn restore(&self, by_place: &[f32]) -> Vec<f32> {
        let mut by_neuron = vec![0.0; self.n_out];
        for (&neuron, &value) in self.neurons.iter().zip(by_place) {
            by_neuron[neuron as usize] = value;
        }
        by_neuron
    }
}

impl ScatterLayer {
    pub(crate) fn new(layer: &SpikingLayer) -> Self {
        let layout = Layout::new(layer);
        let connections = layer.connections().iter().map(|connection| Scatter::new(connection, &layout)).collect();
        Self { layout, connections }
    }

    /// What reaches each connection.
    ///
    /// - `spikes`: of the input and of the layers so far
    pub(crate) fn events(&self, spikes: &[SpikeTrain]) -> Vec<Events> {
        self.connections.iter().map(|scatter| Events::new(&spikes[scatter.source], &scatter.pooling)).collect()
    }

    /// Adds the current of one step's spikes to values by place.
    #[inline(always)]
    pub(crate) fn add_step<S: Simd>(&self, simd: S, events: &[Events], step: usize, values: &mut [f32]) {
        for (scatter, events) in self.connections.iter().zip(events) {
            scatter.add(simd, events.at(step), values);
        }
    }
}

impl Scatter {
    fn new(connection: &Connection<f32>, layout: &Layout) -> Self {
        let kernel = connection.wiring.kernel;
        let [c_in, height, width] = kernel.input;
        let [_, out_height, out_width] = kernel.output();
        let (in_per_group, out_per_group) = (c_in / kernel.groups, kernel.channels / kernel.groups);
        // The columns of a kernel's row that an input can use together, those of one residue, in the order of the outputs
        // that they reach: the last column reaches the first output.
        let residues = kernel.stride.min(kernel.size);
        let columns = |residue: usize| (residue..kernel.size).step_by(kernel.stride).rev();
        let order: Vec<usize> = (0..residues).flat_map(columns).collect();
        let weights_per_channel = kernel.size * kernel.size * out_per_group;
        let mut weights = Vec::with_capacity(c_in * weights_per_channel);
        for channel in 0..c_in {
            let (group, in_group) = (channel / in_per_group, channel % in_per_group);
            for row in 0..kernel.size {
                for &column in &order {
                    weights.extend((0..out_per_group).map(|out| {
                        let position = (in_group * kernel.size + row) * kernel.size + column;
                        connection.row(group * out_per_group + out)[position]
                    }));
                }
            }
        }
        // Where channels of another group lie between, every weight column is a run of its own.
        let side_by_side = layout.block == out_per_group;
        let mut runs = Vec::new();
        let mut ends = Vec::with_capacity(height * width);
        for position in 0..height * width {
            let (y, x) = (position / width, position % width);
            for row in 0..kernel.size {
                let Some(out_row) = kernel.target(y, row, out_height) else { continue };
                let reached = |&(_, column): &(usize, usize)| kernel.target(x, column, out_width).is_some();
                let used: Vec<(usize, usize)> = order.iter().copied().enumerate().filter(reached).collect();
                let run = |range: Range<usize>| {
                    let (first, column) = used[range.start];
                    let out_column = kernel.target(x, column, out_width).expect("filtered for that");
                    Run {
                        weight: ((row * kernel.size + first) * out_per_group) as u32,
                        place: ((out_row * out_width + out_column) * layout.block) as u32,
                        len: (range.len() * out_per_group) as u32,
                    }
                };
                if side_by_side && !used.is_empty() {
                    runs.push(run(0..used.len()));
                } else {
                    runs.extend((0..used.len()).map(|at| run(at..at + 1)));
                }
            }
            ends.push(runs.len() as u32);
        }
        let offset = |channel: usize| layout.place(channel / in_per_group * out_per_group, 0) as u32;
        Self {
            source: connection.wiring.source,
            pooling: Pooling::new(&connection.wiring),
            kernel,
            weights,
            weights_per_channel,
            offsets: (0..c_in).map(offset).collect(),
            runs,
            ends,
        }
    }

    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, inputs: &[u32], values: &mut [f32]) {
        let n_positions = (self.kernel.input[1] * self.kernel.input[2]) as u32;
        for &input in inputs {
            let (channel, position) = ((input / n_positions) as usize, (input % n_positions) as usize);
            let kernel = &self.weights[channel * self.weights_per_channel..][..self.weights_per_channel];
            let first = position.checked_sub(1).map_or(0, |before| self.ends[before]);
            for run in &self.runs[first as usize..self.ends[position] as usize] {
                let len = run.len as usize;
                let weights = &kernel[run.weight as usize..][..len];
                let places = &mut values[(self.offsets[channel] + run.place) as usize..][..len];
                let (weights, weights_rest) = S::as_simd_f32s(weights);
                let (places, places_rest) = S::as_mut_simd_f32s(places);
                for (place, &weight) in places.iter_mut().zip(weights) {
                    *place = simd.add_f32s(*place, weight);
                }
                if !weights_rest.is_empty() {
                    let sum = simd.add_f32s(simd.partial_load_f32s(places_rest), simd.partial_load_f32s(weights_rest));
                    simd.partial_store_f32s(places_rest, sum);
                }
            }
        }
    }
}
