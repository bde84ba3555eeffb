//! Synapses, event by event: the weights of the inputs that spike are added up, a few neurons at a time.
//!
//! Neurons are taken in *sites* that lie side by side with channels last: up to [`WIDE`] channels of a position, or all channels
//! of a few neighbouring positions of a row. Their sums stay in registers while a list of inputs ([`super::events`]) is walked
//! through, each input standing for a row of weights, one per neuron of the site. A convolution's site reads slices of the
//! lists, one for each row that its kernel covers; nothing is unfolded, and an input that is silent costs nothing.
//!
//! Sums are of whole multiples of the neuron's grid, so they are exact in any order. Where the weights of every neuron of a
//! layer add up to less than 2¹⁵ steps of its grid, whatever spikes, they are kept and added as 16-bit integers.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::events::{Counts, Entries, Input, Listing, Lists, PoolStates, Scratch, Slice};
use crate::network::SpikingLayer;
use crate::spikes::SpikeTrain;

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
    /// Connection by connection, row of the kernel by row, column of what the site covers by column, input by input.
    rows: Vec<[N; W]>,
    /// First row of each connection.
    first_rows: Vec<usize>,
    /// What a weight of 1 stands for, in thresholds.
    steps: [f32; W],
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
        let (mut rows, mut first_rows) = (Vec::new(), Vec::new());
        for (input, synapses) in inputs.iter().zip(layer.connections()) {
            first_rows.push(rows.len());
            for at in input.rows(sites, block) {
                let mut row = [N::ZERO; W];
                for (value, &(channel, position)) in row.iter_mut().zip(&neurons) {
                    if let Some(at) = input.weight(block, at, channel, position) {
                        *value = weight(channel, synapses.row(channel)[at]);
                    }
                }
                rows.push(row);
            }
        }
        Self { rows, first_rows, steps }
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
        let mut slices = vec![Vec::new(); layer.inputs.len()];
        for at in (0..sites.n_sites()).map(|site| sites.at(site)) {
            for (block_idx, block) in blocks.iter().enumerate() {
                for ((slices, input), &first_row) in slices.iter_mut().zip(&layer.inputs).zip(&block.first_rows) {
                    slices.clear();
                    slices.extend(input.slices(sites, at, block_idx, first_row));
                }
                for (sample, lists) in samples.iter().enumerate() {
                    let mut base = [N::ZERO; W];
                    for (connection, slices) in slices.iter().enumerate() {
                        block.each_row(&mut base, &lists.of(connection, block_idx).base, 0, slices, N::plus);
                    }
                    self.consumer.begin(sample, sites.places(at, block_idx));
                    for step in 0..n_steps {
                        let mut sums = base;
                        for (connection, slices) in slices.iter().enumerate() {
                            let Counts { above, below, .. } = lists.of(connection, block_idx);
                            block.each_row(&mut sums, above, step, slices, N::plus);
                            block.each_row(&mut sums, below, step, slices, N::minus);
                        }
                        let mut currents = [0.0; W];
                        each_lane(&mut currents, |lane, _| sums[lane].current(block.steps[lane]));
                        self.consumer.step(step, &currents);
                    }
                    self.consumer.end();
                }
            }
        }
    }
}
