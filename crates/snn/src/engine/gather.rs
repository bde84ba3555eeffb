//! Synapses, event by event: the weights of the inputs that spike are added up, a few neurons at a time.
//!
//! Neurons are taken in *sites* that lie side by side with channels last: up to [`WIDE`] channels of a position, or all channels
//! of a few neighbouring positions of a row. Their sums stay in registers while a list of inputs ([`super::events`]) is walked
//! through, each input standing for a row of weights, one per neuron of the site. A convolution's site reads slices of the
//! lists, one for each row that its kernel covers; nothing is unfolded, and an input that is silent costs nothing. Weights that
//! do not fit into the first-level cache are gone through in chunks that do, many sites at a time, with the sums so far kept
//! aside.
//!
//! Sums are of whole multiples of the neuron's grid, so they are exact in any order. Where the weights of every neuron of a
//! layer add up to less than 2¹⁵ steps of its grid, whatever spikes, they are kept and added as 16-bit integers.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::events::{Entries, Input, Listing, Lists, Part, PoolStates, Scratch, Slice};
use crate::network::SpikingLayer;
use crate::spikes::SpikeTrain;

/// Neurons of a site: four AVX-512 registers of 32-bit floats.
pub(crate) const WIDE: usize = 64;

/// Neurons of the only site of a small layer.
pub(crate) const NARROW: usize = 16;

/// Bytes of weights that stay in the first-level cache, beside what passes through it, unless a row of a kernel needs
/// more; the smallest one in use is 32 KiB.
const CHUNK_BYTES: usize = 24 << 10;

/// Bytes of sums that stay in the second-level cache, beside the weights.
const TILE_BYTES: usize = 256 << 10;

/// A layer's synapses, packed for one SIMD level.
#[derive(Debug)]
pub(crate) struct GatherLayer {
    sites: Sites,
    inputs: Vec<Input>,
    packed: Packed,
}

/// How neurons are divided into sites.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sites {
    /// `[C, H, W]`
    shape: [usize; 3],
    /// Most neurons of a site.
    pub(super) width: usize,
    /// Positions of a row that a site holds; 1 where a position's channels fill it.
    pub(super) group: usize,
}

#[derive(Debug)]
enum Packed {
    WideFloats(Vec<Block<f32, WIDE>>),
    NarrowFloats(Vec<Block<f32, NARROW>>),
    WideIntegers(Vec<Block<i16, WIDE>>),
    NarrowIntegers(Vec<Block<i16, NARROW>>),
}

/// The weights of the sites of a block of channels.
#[derive(Debug)]
struct Block<N, const W: usize> {
    /// Connection by connection, part of the kernel by part, column by column, input by input.
    rows: Vec<[N; W]>,
    /// What a weight of 1 stands for, in thresholds.
    steps: [f32; W],
    /// Parts of the kernels whose weights are gone through together.
    chunks: Vec<Vec<ChunkPart>>,
}

#[derive(Debug)]
struct ChunkPart {
    connection: usize,
    part: Part,
    /// Row of the weights of the kernel row's first column.
    first_row: usize,
}

/// A weight on its way to a current.
trait Weight: Copy {
    const ZERO: Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn current(self, step: f32) -> f32;
}

impl Weight for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    fn current(self, _: f32) -> f32 {
        self
    }
}

/// Partial sums may wrap around; the whole does not, so it is right.
impl Weight for i16 {
    const ZERO: Self = 0;
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
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

impl Sites {
    fn new(shape: [usize; 3]) -> Self {
        let [channels, _, columns] = shape;
        let width = if shape.iter().product::<usize>() <= NARROW { NARROW } else { WIDE };
        Self { shape, width, group: (width / channels).clamp(1, columns) }
    }

    /// Blocks of channels.
    pub(super) fn n_blocks(self) -> usize {
        self.shape[0].div_ceil(self.width)
    }

    /// Sites of a row.
    fn n_columns(self) -> usize {
        self.shape[2].div_ceil(self.group)
    }

    /// Sites of a block of channels.
    fn n_sites(self) -> usize {
        self.shape[1] * self.n_columns()
    }

    /// Row and column of a site.
    fn at(self, site: usize) -> [usize; 2] {
        [site / self.n_columns(), site % self.n_columns()]
    }

    /// Places of a site's neurons.
    fn places(self, [row, column]: [usize; 2], block: usize) -> Range<usize> {
        let [channels, _, columns] = self.shape;
        let n_positions = self.group.min(columns - column * self.group);
        let first = (row * columns + column * self.group) * channels + block * self.width;
        first..first + (n_positions * channels - block * self.width).min(self.width)
    }
}

impl<N: Weight, const W: usize> Block<N, W> {
    /// - `weight`: of a channel's weight in thresholds
    fn new(
        layer: &SpikingLayer,
        sites: Sites,
        inputs: &[Input],
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
        let max_rows = CHUNK_BYTES / size_of::<[N; W]>();
        let (mut rows, mut chunks, mut free) = (Vec::new(), Vec::new(), 0);
        for (connection, (input, synapses)) in inputs.iter().zip(layer.connections()).enumerate() {
            let per_column = input.rows_per_column(block);
            for part in input.parts(sites) {
                let n_rows = part.columns.len() * per_column;
                let first_row = rows.len().wrapping_sub(part.columns.start * per_column);
                for (column, listed) in
                    part.columns.clone().flat_map(|c| (0..per_column).map(move |listed| (c, listed)))
                {
                    let mut row = [N::ZERO; W];
                    for (value, &(channel, position)) in row.iter_mut().zip(&neurons) {
                        if let Some(at) = input.weight(block, [part.row, column, listed], channel, position) {
                            *value = weight(channel, synapses.row(channel)[at]);
                        }
                    }
                    rows.push(row);
                }
                if chunks.is_empty() || n_rows > free {
                    chunks.push(Vec::new());
                    free = max_rows;
                }
                free = free.saturating_sub(n_rows);
                chunks.last_mut().expect("one chunk at least").push(ChunkPart { connection, part, first_row });
            }
        }
        Self { rows, steps, chunks }
    }

    /// Changes sums by the rows of a step's entries.
    #[inline(always)]
    fn each_row(
        &self,
        sums: &mut [N; W],
        entries: &Entries,
        step: usize,
        slices: &[Slice],
        change: impl Fn(N, N) -> N,
    ) {
        if entries.is_empty() {
            return;
        }
        for slice in slices {
            for entry in entries.at(step, slice) {
                let row = &self.rows[entry.wrapping_add(slice.offset) as usize];
                each_lane(sums, |lane, sum| change(sum, row[lane]));
            }
        }
    }
}

#[inline(always)]
fn each_lane<N: Copy, const W: usize>(values: &mut [N; W], of: impl Fn(usize, N) -> N) {
    for lane in 0..W {
        values[lane] = of(lane, values[lane]);
    }
}

impl GatherLayer {
    pub(crate) fn new(layer: &SpikingLayer) -> Self {
        let sites = Sites::new(layer.shape());
        let inputs: Vec<Input> =
            layer.connections().iter().map(|connection| Input::new(&connection.wiring, sites)).collect();
        let units = |channel: usize, weight: f32| f64::from(weight) / layer.grids()[channel].step();
        let integer = |channel: usize, weight: f32| units(channel, weight) as i16;
        let float = |_: usize, weight: f32| weight;
        let blocks = 0..sites.n_blocks();
        let packed = match (fits_integers(layer), sites.width == NARROW) {
            (false, false) => {
                Packed::WideFloats(blocks.map(|block| Block::new(layer, sites, &inputs, block, float)).collect())
            }
            (false, true) => {
                Packed::NarrowFloats(blocks.map(|block| Block::new(layer, sites, &inputs, block, float)).collect())
            }
            (true, false) => {
                Packed::WideIntegers(blocks.map(|block| Block::new(layer, sites, &inputs, block, integer)).collect())
            }
            (true, true) => {
                Packed::NarrowIntegers(blocks.map(|block| Block::new(layer, sites, &inputs, block, integer)).collect())
            }
        };
        Self { sites, inputs, packed }
    }

    /// Whether there is one site per block of channels, so that it pays to run many samples with the weights of a block.
    pub(crate) fn has_one_position(&self) -> bool {
        self.sites.n_sites() == 1
    }

    /// - `spikes`: of the input and of the layers so far
    /// - `pools`: what the max pools have seen before
    pub(crate) fn list(
        &self,
        arch: Arch,
        spikes: &[SpikeTrain],
        pools: &mut PoolStates,
        scratch: &mut Scratch,
        lists: &mut Lists,
    ) {
        Listing { inputs: &self.inputs, spikes, pools, scratch, lists }.run(arch);
    }

    /// The slices of the lists that a site reads in a chunk, connection by connection.
    fn slices(&self, chunk: &[ChunkPart], site: [usize; 2], block: usize, slices: &mut [Vec<Slice>]) {
        slices.iter_mut().for_each(Vec::clear);
        for ChunkPart { connection, part, first_row } in chunk {
            slices[*connection].extend(self.inputs[*connection].slice(self.sites, site, block, part, *first_row));
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
        let Self { layer, blocks, samples, n_steps, .. } = self;
        let sites = layer.sites;
        let per_site = samples.len() * n_steps;
        let mut slices = vec![Vec::new(); layer.inputs.len()];
        let mut kept = Vec::new();
        for (block_idx, block) in blocks.iter().enumerate() {
            let n_chunks = block.chunks.len();
            let tile = if n_chunks == 1 { sites.n_sites() } else { TILE_BYTES / (per_site * size_of::<[N; W]>()) };
            for first in (0..sites.n_sites()).step_by(tile.max(1)) {
                let tile = first..(first + tile.max(1)).min(sites.n_sites());
                if n_chunks > 1 {
                    kept.clear();
                    kept.resize(tile.len() * per_site, [N::ZERO; W]);
                }
                for (chunk_idx, chunk) in block.chunks.iter().enumerate() {
                    let is_last = chunk_idx + 1 == n_chunks;
                    for site in tile.clone() {
                        let at = sites.at(site);
                        layer.slices(chunk, at, block_idx, &mut slices);
                        for (sample, lists) in samples.iter().enumerate() {
                            let mut base = [N::ZERO; W];
                            for (connection, slices) in slices.iter().enumerate() {
                                let counts = lists.of(connection, block_idx);
                                block.each_row(&mut base, &counts.base, 0, slices, N::plus);
                            }
                            if is_last {
                                self.consumer.begin(sample, sites.places(at, block_idx));
                            }
                            let first_kept = (site - tile.start) * per_site + sample * n_steps;
                            for step in 0..n_steps {
                                let mut sums = base;
                                if n_chunks > 1 {
                                    let kept = &kept[first_kept + step];
                                    each_lane(&mut sums, |lane, sum| sum.plus(kept[lane]));
                                }
                                for (connection, slices) in slices.iter().enumerate() {
                                    let counts = lists.of(connection, block_idx);
                                    block.each_row(&mut sums, &counts.above, step, slices, N::plus);
                                    block.each_row(&mut sums, &counts.below, step, slices, N::minus);
                                }
                                if is_last {
                                    let mut currents = [0.0; W];
                                    each_lane(&mut currents, |lane, _| sums[lane].current(block.steps[lane]));
                                    self.consumer.step(step, &currents);
                                } else {
                                    kept[first_kept + step] = sums;
                                }
                            }
                            if is_last {
                                self.consumer.end();
                            }
                        }
                    }
                }
            }
        }
    }
}
