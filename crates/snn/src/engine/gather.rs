//! Synapses, event by event: the weights of the inputs that spike are added up, a few neurons at a time.
//!
//! Neurons are taken in *sites* that lie side by side with channels last: up to [`WIDE`] channels of a position, or all channels
//! of a few neighbouring positions of a row. Their sums stay in registers while a list of inputs is walked through, each
//! input standing for a row of weights, one per neuron of the site. The list of a convolution's site is made of the lists of the
//! input's rows that its kernel covers, one slice each; a fully connected layer's is the list of all inputs that spike. Nothing
//! is unfolded, and an input that is silent costs nothing.
//!
//! Sums are of whole multiples of the neuron's grid, so they are exact in any order. Where the weights of every neuron of a
//! layer add up to less than 2¹⁵ steps of its grid, whatever spikes, they are kept and added as 16-bit integers.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::network::SpikingLayer;
use crate::pool::{Windows, max_pooled, max_pools};
use crate::spikes::SpikeTrain;
use crate::wiring::{Connection, Kernel, Wiring};

/// Neurons of a site: four AVX-512 registers of 32-bit floats.
pub(crate) const WIDE: usize = 64;

/// Neurons of the only site of a small layer.
pub(crate) const NARROW: usize = 16;

/// A layer's synapses, packed for one SIMD level.
#[derive(Debug)]
pub(crate) struct GatherLayer {
    sites: Sites,
    inputs: Vec<Input>,
    packed: Packed,
}

/// How neurons are divided into sites.
#[derive(Debug, Clone, Copy)]
struct Sites {
    /// `[C, H, W]`
    shape: [usize; 3],
    /// Most neurons of a site.
    width: usize,
    /// Positions of a row that a site holds; 1 where a position's channels fill it.
    group: usize,
}

/// What one connection reads.
#[derive(Debug)]
struct Input {
    source: usize,
    max_pools: Vec<Windows>,
    /// For each position behind the average pools, the positions that are added up there.
    sums: Option<Vec<Vec<u32>>>,
    kernel: Kernel,
    /// Shape `[C, H, W]` behind the pools, where the kernel takes it for a vector.
    flattened: Option<[usize; 3]>,
    /// Input channels of each block of channels; one range for all blocks where there are no groups.
    ranges: Vec<Range<usize>>,
    /// First row of each block's weights.
    first_rows: Vec<u32>,
}

#[derive(Debug)]
enum Packed {
    WideFloats(Vec<Block<f32, WIDE>>),
    NarrowFloats(Vec<Block<f32, NARROW>>),
    WideIntegers(Vec<Block<i16, WIDE>>),
    NarrowIntegers(Vec<Block<i16, NARROW>>),
}

/// The weights of the sites of a block of channels: connection by connection, row of the kernel by row, column of what the
/// site covers by column, input channel by input channel.
#[derive(Debug)]
struct Block<N, const W: usize> {
    rows: Vec<[N; W]>,
    /// What a weight of 1 stands for, in thresholds.
    steps: [f32; W],
}

/// A weight on its way to a current.
trait Weight: Copy {
    const ZERO: Self;
    fn plus(self, other: Self) -> Self;
    fn current(self, step: f32) -> f32;
}

impl Weight for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn current(self, _: f32) -> f32 {
        self
    }
}

impl Weight for i16 {
    const ZERO: Self = 0;
    /// Partial sums may wrap around; the whole does not, so it is right.
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn current(self, step: f32) -> f32 {
        f32::from(self) * step
    }
}

/// What the currents of a site are for.
pub(crate) trait Consumer<const W: usize> {
    /// A site of a sample follows.
    ///
    /// - `places`: of its neurons
    fn begin(&mut self, sample: usize, places: Range<usize>);
    /// - `currents`: at this step, in thresholds; those behind the site's neurons mean nothing
    fn step(&mut self, step: usize, currents: &[f32; W]);
    /// There are no more steps.
    fn end(&mut self);
}

/// What is done with a layer's currents, for either width of site.
pub(crate) trait Visit {
    fn wide(&mut self) -> impl Consumer<WIDE>;
    fn narrow(&mut self) -> impl Consumer<NARROW>;
}

/// Inputs that spike, position by position and step by step.
#[derive(Debug, Default)]
struct Spikes {
    /// Column and channel, `column · C + channel`.
    entries: Vec<u32>,
    /// Where the entries of each step and position begin, `[T · positions + 1]`.
    starts: Vec<u32>,
    n_positions: usize,
}

impl Spikes {
    /// Entries of neighbouring positions at a step.
    #[inline(always)]
    fn at(&self, step: usize, positions: &Range<usize>) -> &[u32] {
        let first = step * self.n_positions;
        &self.entries[self.starts[first + positions.start] as usize..self.starts[first + positions.end] as usize]
    }
}

/// The lists that a sample's sites are computed from, per connection. Made for one layer after another, they keep their memory.
#[derive(Debug, Default)]
pub(crate) struct Lists(Vec<InputLists>);

#[derive(Debug, Default)]
struct InputLists {
    /// Per range of input channels.
    ranges: Vec<Spikes>,
    /// Nothing spikes, and the lists mean nothing.
    silent: bool,
}

impl Sites {
    fn new(shape: [usize; 3]) -> Self {
        let [channels, _, columns] = shape;
        let width = if shape.iter().product::<usize>() <= NARROW { NARROW } else { WIDE };
        Self { shape, width, group: (width / channels).clamp(1, columns) }
    }

    /// Blocks of channels.
    fn n_blocks(self) -> usize {
        self.shape[0].div_ceil(self.width)
    }

    /// Sites of a row.
    fn n_columns(self) -> usize {
        self.shape[2].div_ceil(self.group)
    }

    /// Places of a site's neurons.
    fn places(self, row: usize, column: usize, block: usize) -> Range<usize> {
        let [channels, _, columns] = self.shape;
        let n_positions = self.group.min(columns - column * self.group);
        let first = (row * columns + column * self.group) * channels + block * self.width;
        first..first + (n_positions * channels - block * self.width).min(self.width)
    }
}

impl Input {
    fn new(wiring: &Wiring, sites: Sites) -> Self {
        let kernel = wiring.kernel;
        let spikes = wiring.max_pooled_shape();
        let pooled = wiring.sum_pools().fold(spikes, |shape, pool| pool.output(shape));
        let sums = wiring.sum_pools().next().map(|_| {
            let [_, height, width] = spikes;
            let windows = Windows::new([1, height, width], wiring.sum_pools());
            let mut sums = vec![Vec::new(); pooled[1] * pooled[2]];
            for position in 0..height * width {
                windows.of(position).iter().for_each(|&window| sums[window as usize].push(position as u32));
            }
            sums
        });
        let per_group = [kernel.input[0] / kernel.groups, kernel.channels / kernel.groups];
        let range = |block: usize| {
            let last = (block + 1) * sites.width - 1;
            let groups = [block * sites.width, last.min(kernel.channels - 1)].map(|channel| channel / per_group[1]);
            groups[0] * per_group[0]..(groups[1] + 1) * per_group[0]
        };
        Self {
            source: wiring.source,
            max_pools: max_pools(wiring),
            sums,
            kernel,
            flattened: (kernel.input != pooled).then_some(pooled),
            // Without groups all blocks read the same.
            ranges: (0..if kernel.groups == 1 { 1 } else { sites.n_blocks() }).map(range).collect(),
            first_rows: Vec::new(),
        }
    }

    /// Columns of the input that a site covers.
    fn span(&self, sites: Sites) -> usize {
        (sites.group - 1) * self.kernel.stride + self.kernel.size
    }

    fn range(&self, block: usize) -> &Range<usize> {
        &self.ranges[block.min(self.ranges.len() - 1)]
    }

    /// Input channel of the kernel that an entry's channel stands for.
    fn channel(&self, listed: usize) -> usize {
        match self.flattened {
            None => listed,
            // Channels last, where the kernel counts channel by channel.
            Some([channels, height, width]) => listed % channels * (height * width) + listed / channels,
        }
    }

    /// Channels that entries of a block may have.
    fn n_listed(&self, block: usize) -> usize {
        self.range(block).len()
    }

    /// Input channel of the kernel that row `listed` of a block belongs to.
    fn channel_of_row(&self, block: usize, listed: usize) -> usize {
        // Without groups entries are as they are found; with them, they are counted from the first channel of the range.
        if self.kernel.groups == 1 { self.channel(listed) } else { self.range(block).start + listed }
    }

    fn list_all(&self, spikes: &[SpikeTrain], lists: &mut InputLists) {
        let source = &spikes[self.source];
        lists.silent = source.is_silent();
        if lists.silent {
            return;
        }
        let passed = max_pooled(&self.max_pools, source);
        let train = passed.as_ref().unwrap_or(source);
        lists.ranges.resize_with(self.ranges.len(), Spikes::default);
        for (block, spikes) in lists.ranges.iter_mut().enumerate() {
            self.list(train, block, spikes);
        }
    }

    fn list(&self, train: &SpikeTrain, block: usize, spikes: &mut Spikes) {
        let [_, height, width] = self.kernel.input;
        let Spikes { entries, starts, n_positions } = spikes;
        *n_positions = height * width;
        entries.clear();
        starts.clear();
        starts.push(0);
        for step in 0..train.n_steps() {
            for position in 0..*n_positions {
                self.list_position(train, step, position, block, entries);
                starts.push(entries.len() as u32);
            }
        }
    }

    #[inline]
    fn list_position(&self, train: &SpikeTrain, step: usize, position: usize, block: usize, entries: &mut Vec<u32>) {
        let channels = train.shape()[0];
        let range = self.range(block);
        let width = self.kernel.input[2];
        let column = (position % width * range.len()) as u32;
        let mut add = |listed: u32| {
            if self.kernel.groups == 1 {
                entries.push(column + listed);
            } else {
                let channel = self.channel(listed as usize);
                if range.contains(&channel) {
                    entries.push(column + (channel - range.start) as u32);
                }
            }
        };
        match (&self.sums, self.flattened) {
            (None, None) => train.for_each_in(step, position * channels, channels, &mut add),
            (None, Some(_)) => train.for_each_in(step, 0, train.n_neurons(), &mut add),
            (Some(sums), None) => {
                for &from in &sums[position] {
                    train.for_each_in(step, from as usize * channels, channels, &mut add);
                }
            }
            (Some(sums), Some(_)) => {
                for (pooled, sum) in sums.iter().enumerate() {
                    let first = (pooled * channels) as u32;
                    for &from in sum {
                        train.for_each_in(step, from as usize * channels, channels, |channel| add(first + channel));
                    }
                }
            }
        }
    }

    /// Positions of the input whose entries a site reads, row by row, and what to add to an entry for the row of its weights.
    fn slices(
        &self,
        sites: Sites,
        row: usize,
        column: usize,
        block: usize,
    ) -> impl Iterator<Item = (Range<usize>, u32)> {
        let Kernel { size, stride, padding, input: [_, height, width], .. } = self.kernel;
        let (span, listed) = (self.span(sites), self.n_listed(block));
        let start = (column * sites.group * stride) as isize - padding as isize;
        let columns = start.max(0) as usize..(start + span as isize).clamp(0, width as isize) as usize;
        let first_row = self.first_rows[block];
        (0..size).filter_map(move |kernel_row| {
            let y = (row * stride + kernel_row).checked_sub(padding).filter(|&y| y < height)?;
            // An entry counts from the start of its row, a row of weights from the start of the site; the difference may be
            // negative, the sum is not.
            let offset = first_row.wrapping_add((kernel_row * span * listed) as u32);
            let offset = offset.wrapping_sub((start * listed as isize) as u32);
            (columns.start < columns.end).then(|| (y * width + columns.start..y * width + columns.end, offset))
        })
    }
}

impl<N: Weight, const W: usize> Block<N, W> {
    /// - `weight`: of a channel's weight in thresholds
    fn new(
        layer: &SpikingLayer,
        sites: Sites,
        inputs: &mut [Input],
        block: usize,
        weight: impl Fn(usize, f32) -> N,
    ) -> Self {
        let n_channels = layer.shape()[0];
        let places = (sites.group * n_channels - block * sites.width).min(sites.width);
        // Channel, and position within the site, of each neuron of a site.
        let neurons: Vec<(usize, usize)> =
            (0..places).map(|lane| (block * sites.width + lane % n_channels, lane / n_channels)).collect();
        let mut steps = [0.0; W];
        for (step, (channel, _)) in steps.iter_mut().zip(&neurons) {
            *step = layer.grids()[*channel].step() as f32;
        }
        let mut rows = Vec::new();
        for (input, Connection { weights, .. }) in inputs.iter_mut().zip(layer.connections()) {
            input.first_rows.push(rows.len() as u32);
            let Kernel { size, stride, groups, .. } = input.kernel;
            let (in_per_group, out_per_group) = (input.kernel.input[0] / groups, n_channels / groups);
            for kernel_row in 0..size {
                for column in 0..input.span(sites) {
                    for listed in 0..input.n_listed(block) {
                        let from = input.channel_of_row(block, listed);
                        let mut row = [N::ZERO; W];
                        for (value, &(channel, position)) in row.iter_mut().zip(&neurons) {
                            let kernel_column = column.checked_sub(position * stride).filter(|&column| column < size);
                            let in_group = from.checked_sub(channel / out_per_group * in_per_group);
                            let in_group = in_group.filter(|&in_group| in_group < in_per_group);
                            if let Some((kernel_column, in_group)) = kernel_column.zip(in_group) {
                                let at =
                                    ((channel * in_per_group + in_group) * size + kernel_row) * size + kernel_column;
                                *value = weight(channel, weights[at]);
                            }
                        }
                        rows.push(row);
                    }
                }
            }
        }
        Self { rows, steps }
    }
}

impl GatherLayer {
    pub(crate) fn new(layer: &SpikingLayer) -> Self {
        let sites = Sites::new(layer.shape());
        let mut inputs: Vec<Input> =
            layer.connections().iter().map(|connection| Input::new(&connection.wiring, sites)).collect();
        let units = |channel: usize, weight: f32| f64::from(weight) / layer.grids()[channel].step();
        let integer = |channel: usize, weight: f32| units(channel, weight) as i16;
        let float = |_: usize, weight: f32| weight;
        let blocks = 0..sites.n_blocks();
        let packed = match (fits_integers(layer), sites.width == NARROW) {
            (false, false) => {
                Packed::WideFloats(blocks.map(|block| Block::new(layer, sites, &mut inputs, block, float)).collect())
            }
            (false, true) => {
                Packed::NarrowFloats(blocks.map(|block| Block::new(layer, sites, &mut inputs, block, float)).collect())
            }
            (true, false) => Packed::WideIntegers(
                blocks.map(|block| Block::new(layer, sites, &mut inputs, block, integer)).collect(),
            ),
            (true, true) => Packed::NarrowIntegers(
                blocks.map(|block| Block::new(layer, sites, &mut inputs, block, integer)).collect(),
            ),
        };
        Self { sites, inputs, packed }
    }

    /// Whether there is one site per block of channels, so that it pays to run many samples with the weights of a block.
    pub(crate) fn has_one_position(&self) -> bool {
        self.sites.shape[1] * self.sites.n_columns() == 1
    }

    /// - `spikes`: of the input and of the layers so far
    pub(crate) fn list(&self, spikes: &[SpikeTrain], lists: &mut Lists) {
        lists.0.resize_with(self.inputs.len(), InputLists::default);
        for (input, lists) in self.inputs.iter().zip(&mut lists.0) {
            input.list_all(spikes, lists);
        }
    }

    /// Hands the currents of all steps, site by site, sample by sample, to a consumer.
    pub(crate) fn visit(&self, arch: Arch, samples: &[Lists], n_steps: usize, visit: &mut impl Visit) {
        match &self.packed {
            Packed::WideFloats(blocks) => {
                arch.dispatch(Sweep { layer: self, blocks, samples, n_steps, consumer: visit.wide() });
            }
            Packed::NarrowFloats(blocks) => {
                arch.dispatch(Sweep { layer: self, blocks, samples, n_steps, consumer: visit.narrow() });
            }
            Packed::WideIntegers(blocks) => {
                arch.dispatch(Sweep { layer: self, blocks, samples, n_steps, consumer: visit.wide() });
            }
            Packed::NarrowIntegers(blocks) => {
                arch.dispatch(Sweep { layer: self, blocks, samples, n_steps, consumer: visit.narrow() });
            }
        }
    }
}

/// Whether any sum of each neuron's weights, in steps of its grid, is a 16-bit integer.
fn fits_integers(layer: &SpikingLayer) -> bool {
    (0..layer.shape()[0]).all(|channel| {
        let step = layer.grids()[channel].step();
        let (mut up, mut down) = (0.0, 0.0);
        for connection in layer.connections() {
            // The most that a pool's sum can be.
            let multiplicity = connection.wiring.multiplicity() as f64;
            for &weight in connection.row(channel) {
                let units = f64::from(weight) / step * multiplicity;
                up += units.max(0.0);
                down += units.min(0.0);
            }
        }
        up <= f64::from(i16::MAX) && down >= f64::from(i16::MIN)
    })
}

/// All sites of all samples.
struct Sweep<'a, N, const W: usize, C> {
    layer: &'a GatherLayer,
    blocks: &'a [Block<N, W>],
    samples: &'a [Lists],
    n_steps: usize,
    consumer: C,
}

impl<N: Weight, const W: usize, C: Consumer<W>> WithSimd for Sweep<'_, N, W, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let GatherLayer { sites, inputs, .. } = self.layer;
        for (row, column) in (0..sites.shape[1]).flat_map(|row| (0..sites.n_columns()).map(move |column| (row, column)))
        {
            for (block_idx, block) in self.blocks.iter().enumerate() {
                let slices: Vec<Vec<(Range<usize>, u32)>> =
                    inputs.iter().map(|input| input.slices(*sites, row, column, block_idx).collect()).collect();
                let places = sites.places(row, column, block_idx);
                for (sample, lists) in self.samples.iter().enumerate() {
                    self.consumer.begin(sample, places.clone());
                    for step in 0..self.n_steps {
                        let mut sums = [N::ZERO; W];
                        for (lists, slices) in lists.0.iter().zip(&slices) {
                            if lists.silent {
                                continue;
                            }
                            let spikes = &lists.ranges[block_idx.min(lists.ranges.len() - 1)];
                            for (positions, offset) in slices {
                                for entry in spikes.at(step, positions) {
                                    let weights = &block.rows[entry.wrapping_add(*offset) as usize];
                                    for lane in 0..W {
                                        sums[lane] = sums[lane].plus(weights[lane]);
                                    }
                                }
                            }
                        }
                        let mut currents = [0.0; W];
                        for lane in 0..W {
                            currents[lane] = sums[lane].current(block.steps[lane]);
                        }
                        self.consumer.step(step, &currents);
                    }
                    self.consumer.end();
                }
            }
        }
    }
}
