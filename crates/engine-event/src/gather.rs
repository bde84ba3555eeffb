//! Synapses, event by event: the weights of the inputs that spike are added up, a few neurons at a time.
//!
//! Neurons are taken in *sites* that lie side by side with channels last: up to [`WIDE`] channels of a position, or all channels
//! of a few neighbouring positions of a row. Their sums stay in registers while a list of inputs ([`crate::events`]) is walked
//! through, each input standing for a row of weights, one per neuron of the site, times its count. A convolution's site reads a
//! slice of the lists; nothing is unfolded, and an input that is silent costs nothing. Where two positions make up a site, they
//! share their weights, which then stay in the first-level cache more often. Where few inputs of a row are seen, sums are looked up
//! instead ([`crate::patterns`]); the sums of other convolutions of stride 1 are those of a row of sites at a time
//! ([`crate::slide`]).
//!
//! Sums are of whole multiples of the neuron's grid, so they are exact in any order. Where the weights of every neuron of a
//! layer add up to less than 2¹⁵ steps of its grid, whatever spikes, they are added as 16-bit integers; where each is a byte, they
//! are kept as bytes, which takes half the memory and adds two rows at a time. The sums of large layers are larger, but their weights
//! are not: these are kept as 16-bit integers, and added up in 16 bits a few at a time, then in 32. That reads half of what floats take.
//!
//! The weights of a block of channels are read once per position and step, row by row wherever there is a spike, which is fast as
//! long as the second-level cache holds them: a block of a layer with many inputs has [`HALF`] as many channels.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::events::{Input, Listing, Lists, PoolStates, Scratch, Strips};
use crate::firing::Firing;
use crate::graded::Arriving;
use crate::kernels::{ComputeKernel, LayerFacts, Sums, Synapses, thousands};
use crate::rows::{Short, Slice, Stored, Table};
use crate::simd::{Addend, LANES, Potential, add_widened, fire_short, fires_short, integer};
use snn::Connection;

/// Neurons of a site: four AVX-512 registers of 32-bit floats.
pub(crate) const WIDE: usize = 64;

/// Channels of a layer whose wide sites are two positions that share weights.
pub(super) const TWIN: usize = WIDE / 2;

/// Channels of a site where the weights of twice as many would not stay in the second-level cache.
pub(super) const HALF: usize = WIDE / 2;

/// Most bytes of the weights of a site, where there is another way: half of a common second-level cache, so that lists and potentials
/// find room there too.
const MOST_BYTES: usize = 256 << 10;

/// Steps from which on it pays to look whether nothing arrives at a site.
pub(super) const MANY_STEPS: usize = 8;

/// Neurons of the only site of a small layer.
pub(crate) const NARROW: usize = 16;

/// Adds the rows of weights up that lists stand for, `W` = `P · L` neurons at a time.
///
/// `P`: positions of a site that share a row of `L` weights; with 1, a site of several positions has weights for all of them
#[derive(Debug)]
pub(crate) struct Gather<N, const P: usize, const L: usize, const W: usize> {
    name: &'static str,
    number: PhantomData<fn() -> N>,
}

/// A layer's synapses.
#[derive(Debug)]
struct Gathered<N, const P: usize, const L: usize, const W: usize> {
    sites: Sites,
    inputs: Vec<Input>,
    blocks: Vec<Block<N, P, L, W>>,
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

/// The weights of the sites of a block of channels.
#[derive(Debug)]
struct Block<N, const P: usize, const L: usize, const W: usize> {
    /// Connection by connection, factor of the weights by factor, row of the kernel by row, column of what the site covers by column,
    /// input by input.
    rows: Table<N, P, L>,
    scale: Scale<W>,
}

/// What numbers stand for, neuron by neuron of a site; powers of two.
#[derive(Debug)]
pub(crate) struct Scale<const W: usize> {
    /// Thresholds in a unit.
    pub(crate) steps: [f32; W],
    /// Units in a threshold.
    pub(crate) units: [f32; W],
}

impl<const W: usize> Scale<W> {
    pub(super) fn of_steps(steps: [f32; W]) -> Self {
        Self { steps, units: steps.map(f32::recip) }
    }

    /// Sums of weights as currents, in thresholds.
    #[inline(always)]
    pub(crate) fn currents<N: Weight>(&self, sums: &[N; W]) -> [f32; W] {
        let mut currents = [0.0; W];
        for lane in 0..W {
            currents[lane] = sums[lane].widened().in_thresholds(self.steps[lane]);
        }
        currents
    }
}

/// A weight, or a sum of weights and of what else is added at a step.
///
/// Partial sums of integers may wrap around; the whole does not, so it is right.
pub(crate) trait Weight: Addend + PartialEq {
    /// What sums are added to.
    type Potential: Potential;
    const ZERO: Self;
    /// - `units`: in a threshold
    fn of_thresholds(value: f32, units: f32) -> Self;
    fn widened(self) -> Self::Potential;
    fn add_to<S: Simd>(simd: S, potentials: &mut [Self::Potential; LANES], sums: &[Self; LANES]);
    /// Whether [`Self::fire_short`] is the faster way.
    fn fires_short<S: Simd, const W: usize>(_simd: S) -> bool {
        false
    }
    /// [`fire_short`], or false.
    #[inline(always)]
    fn fire_short<S: Simd, const W: usize>(
        _simd: S,
        _potentials: &mut [Self::Potential; W],
        _thresholds: &[Self::Potential; W],
        _sums: &[[Self; W]],
        _spikes: &mut [u64],
    ) -> bool {
        false
    }
}

impl Weight for f32 {
    type Potential = Self;
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn of_thresholds(value: f32, _: f32) -> Self {
        value
    }
    #[inline(always)]
    fn widened(self) -> Self {
        self
    }
    #[inline(always)]
    fn add_to<S: Simd>(simd: S, potentials: &mut [Self; LANES], sums: &[Self; LANES]) {
        Self::add(simd, potentials, sums);
    }
}

impl Weight for i32 {
    type Potential = Self;
    const ZERO: Self = 0;
    #[inline(always)]
    fn of_thresholds(value: f32, units: f32) -> Self {
        integer(value * units)
    }
    #[inline(always)]
    fn widened(self) -> Self {
        self
    }
    #[inline(always)]
    fn add_to<S: Simd>(simd: S, potentials: &mut [Self; LANES], sums: &[Self; LANES]) {
        Self::add(simd, potentials, sums);
    }
}

impl Weight for i16 {
    type Potential = i32;
    const ZERO: Self = 0;
    #[inline(always)]
    fn of_thresholds(value: f32, units: f32) -> Self {
        integer(value * units) as Self
    }
    #[inline(always)]
    fn widened(self) -> i32 {
        self.into()
    }
    #[inline(always)]
    fn add_to<S: Simd>(simd: S, potentials: &mut [i32; LANES], sums: &[Self; LANES]) {
        add_widened(simd, potentials, sums);
    }
    #[inline(always)]
    fn fires_short<S: Simd, const W: usize>(simd: S) -> bool {
        fires_short::<S, W>(simd)
    }
    #[inline(always)]
    fn fire_short<S: Simd, const W: usize>(
        simd: S,
        potentials: &mut [i32; W],
        thresholds: &[i32; W],
        sums: &[[Self; W]],
        spikes: &mut [u64],
    ) -> bool {
        fire_short(simd, potentials, thresholds, sums, spikes)
    }
}

/// The sums of weights of one site of a sample.
pub(crate) trait SumsOf<N, const W: usize> {
    fn at<S: Simd>(&self, simd: S, step: usize) -> [N; W];
    /// Whether it costs little to get those of several steps before neurons fire.
    fn are_at_hand(&self) -> bool {
        false
    }
    /// Whether they are known to be the same at every step.
    fn are_steady(&self) -> bool {
        false
    }
}

/// What the currents of a site are for.
pub(crate) trait Consumer<N: Weight, const W: usize> {
    /// A site of a sample follows.
    ///
    /// - `places`: of its neurons
    /// - returns what is added at every step, of each neuron
    fn begin(&mut self, sample: usize, places: Range<usize>, scale: &Scale<W>) -> [N; W];
    /// All steps.
    ///
    /// - `sums`: those behind the site's neurons mean nothing
    fn run<S: Simd>(&mut self, simd: S, n_steps: usize, scale: &Scale<W>, sums: &impl SumsOf<N, W>);
    /// No spike arrives at the site. Whether it does as one before, at which none arrived either; its steps are left out then.
    ///
    /// - `steady`: what is added at every step
    fn recall(&mut self, _steady: &[N; W]) -> bool {
        false
    }
    /// There are no more steps.
    ///
    /// - `is_silent`: no spike has arrived
    fn end(&mut self, is_silent: bool, scale: &Scale<W>);
}

/// A type of weights.
pub(crate) trait Number: Stored<Sum: Weight> {
    /// What rows are added up to.
    const SUMS: Sums;
    /// Weights of a neuron from which on it pays to keep them in the type, if there is such a number.
    const LEAST_WEIGHTS: Option<usize> = None;
    /// Whether the layer's weights are of the type, and their sums of that of sums.
    ///
    /// # Errors
    /// Why not.
    fn suits(layer: &LayerFacts<'_>) -> Result<(), String>;
    /// A weight, given in thresholds, of a layer that suits.
    fn of_weight(layer: &LayerFacts<'_>, channel: usize, weight: f32) -> Self;
}

impl Number for f32 {
    const SUMS: Sums = Sums::Float32;
    fn suits(_: &LayerFacts<'_>) -> Result<(), String> {
        Ok(())
    }
    fn of_weight(_: &LayerFacts<'_>, _: usize, weight: f32) -> Self {
        weight
    }
}

impl Number for Short {
    const SUMS: Sums = Sums::Int32;
    // Of fewer, floats stay in the first-level cache, or nearly so, and are added up with fewer instructions.
    const LEAST_WEIGHTS: Option<usize> = Some(513);
    fn suits(layer: &LayerFacts<'_>) -> Result<(), String> {
        layer.weights_are_int16()
    }
    fn of_weight(layer: &LayerFacts<'_>, channel: usize, weight: f32) -> Self {
        [layer.integer_weight(channel, weight)]
    }
}

impl Number for i16 {
    const SUMS: Sums = Sums::Int16;
    fn suits(layer: &LayerFacts<'_>) -> Result<(), String> {
        layer.sums_are_int16()
    }
    fn of_weight(layer: &LayerFacts<'_>, channel: usize, weight: f32) -> Self {
        layer.integer_weight(channel, weight)
    }
}

impl Number for i8 {
    const SUMS: Sums = Sums::Int16;
    fn suits(layer: &LayerFacts<'_>) -> Result<(), String> {
        layer.weights_are_bytes()
    }
    fn of_weight(layer: &LayerFacts<'_>, channel: usize, weight: f32) -> Self {
        layer.integer_weight(channel, weight).try_into().expect("weights are bytes")
    }
}

impl Sites {
    /// - `width`: most neurons of a site
    pub(super) fn of_width(shape: [usize; 3], width: usize) -> Self {
        let [channels, _, columns] = shape;
        Self { shape, width, group: (width / channels).clamp(1, columns) }
    }

    /// Blocks of channels.
    pub(super) fn n_blocks(self) -> usize {
        self.shape[0].div_ceil(self.width)
    }

    /// Rows of sites.
    pub(super) fn n_rows(self) -> usize {
        self.shape[1]
    }

    /// Sites of a row.
    pub(super) fn n_columns(self) -> usize {
        self.shape[2].div_ceil(self.group)
    }

    /// Sites of a block of channels.
    pub(super) fn n_sites(self) -> usize {
        self.n_rows() * self.n_columns()
    }

    /// Row and column of a site.
    pub(super) fn at(self, site: usize) -> [usize; 2] {
        [site / self.n_columns(), site % self.n_columns()]
    }

    /// Row and column of each site, column by column.
    pub(super) fn down_columns(self) -> impl Iterator<Item = [usize; 2]> {
        (0..self.n_columns()).flat_map(move |column| (0..self.n_rows()).map(move |row| [row, column]))
    }

    /// Places of a site's neurons.
    pub(super) fn places(self, [row, column]: [usize; 2], block: usize) -> Range<usize> {
        let [channels, _, columns] = self.shape;
        let n_positions = self.group.min(columns - column * self.group);
        let first = (row * columns + column * self.group) * channels + block * self.width;
        first..first + (n_positions * channels - block * self.width).min(self.width)
    }
}

impl<N: Number, const P: usize, const L: usize, const W: usize> Block<N, P, L, W> {
    /// - `layer`: that suits the type of weights
    fn new(layer: &LayerFacts<'_>, sites: Sites, inputs: &[Input], block: usize) -> Self {
        let (n_channels, grids) = (layer.layer.shape()[0], layer.layer.grids());
        let places = (sites.group / P * n_channels - block * sites.width).min(L);
        // Channel, and position within the site, of each neuron of a row.
        let neurons: Vec<(usize, usize)> =
            (0..places).map(|lane| (block * sites.width + lane % n_channels, lane / n_channels)).collect();
        let mut steps = [1.0; W];
        for (step, (channel, _)) in steps.chunks_exact_mut(L).flat_map(|steps| steps.iter_mut().zip(&neurons)) {
            *step = grids[*channel].step() as f32;
        }
        let (mut rows, mut reads) = (Vec::new(), Vec::new());
        for (input, synapses) in inputs.iter().zip(layer.layer.connections()) {
            // A stride of the kernel before the first position's weights for an input are the second's.
            let before = (P - 1) * input.stride(block);
            reads.push((input.layout(block), input.windows(sites.n_rows(), block, rows.len() + before)));
            for factor in input.factors() {
                // The columns that only the first position reads lie before the others' first.
                rows.resize(rows.len() + before, [N::default(); L]);
                for at in input.rows(block) {
                    let mut row = [N::default(); L];
                    for (value, &(channel, position)) in row.iter_mut().zip(&neurons) {
                        if let Some(at) = input.weight(block, at, channel, position) {
                            *value = N::of_weight(layer, channel, synapses.row(channel)[at] * factor);
                        }
                    }
                    rows.push(row);
                }
            }
        }
        Self { rows: Table::new(&rows, reads), scale: Scale::of_steps(steps) }
    }
}

/// A number of weights in words.
fn number(n: usize) -> String {
    thousands(n as f64)
}

impl<N, const P: usize, const L: usize, const W: usize> Gather<N, P, L, W> {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, number: PhantomData }
    }
}

impl<N: Number, const P: usize, const L: usize, const W: usize> ComputeKernel for Gather<N, P, L, W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn sums(&self) -> Sums {
        N::SUMS
    }

    fn are_at_hand(&self) -> bool {
        false
    }

    fn supports(&self, layer: &LayerFacts<'_>) -> Result<(), String> {
        let shape = layer.layer.shape();
        let n: usize = shape.iter().product();
        if W == NARROW && n > NARROW {
            return Err(format!("{} neurons, {NARROW} at most", thousands(n as f64)));
        }
        if P == 2 && (shape[0] != TWIN || shape[2] < 2) {
            return Err(format!(
                "{} channels in rows of {}; supported: {TWIN} in rows of two or more",
                shape[0], shape[2]
            ));
        }
        if let Some(least) = N::LEAST_WEIGHTS {
            // What the widest sites have too many weights for is left to the others.
            let most = if W == WIDE { MOST_BYTES / Table::<N, P, L>::PITCH } else { usize::MAX };
            let found = layer.n_weights_of_neuron();
            if found < least {
                return Err(format!("{} weights of a neuron; supported: {} or more", number(found), number(least)));
            }
            if found > most {
                return Err(format!("{} weights of a neuron; supported: {} at most", number(found), number(most)));
            }
        }
        N::suits(layer)
    }

    fn pack(&self, layer: &LayerFacts<'_>) -> Box<dyn Synapses> {
        let sites = Sites::of_width(layer.layer.shape(), W);
        let input = |connection: &Connection<f32>| {
            let strips = Strips::of_sites(&connection.wiring.kernel, sites, N::MULTIPLIES);
            Input::new(&connection.wiring, sites, strips, P, Table::<N, P, L>::PITCH as u32)
        };
        let inputs: Vec<Input> = layer.layer.connections().iter().map(input).collect();
        let blocks = (0..sites.n_blocks()).map(|block| Block::new(layer, sites, &inputs, block)).collect();
        Box::new(Gathered::<N, P, L, W> { sites, inputs, blocks })
    }
}

impl<N: Number, const P: usize, const L: usize, const W: usize> Synapses for Gathered<N, P, L, W> {
    fn has_one_position(&self) -> bool {
        self.sites.n_sites() == 1
    }

    fn list(
        &self,
        arch: Arch,
        arriving: Arriving<'_>,
        pools: &mut PoolStates,
        scratch: &mut Scratch,
        lists: &mut Lists,
    ) {
        Listing { inputs: &self.inputs, arriving, pools, scratch, lists }.run(arch);
    }

    fn visit(&self, arch: Arch, samples: &[Lists], n_steps: usize, firing: &mut Firing<'_>) {
        arch.dispatch(Sweep { layer: self, samples, n_steps, consumer: firing.site::<N::Sum, W>() });
    }
}

/// All sites of all samples.
struct Sweep<'a, N, const P: usize, const L: usize, const W: usize, C> {
    layer: &'a Gathered<N, P, L, W>,
    samples: &'a [Lists],
    n_steps: usize,
    consumer: C,
}

impl<N, const P: usize, const L: usize, const W: usize, C> WithSimd for Sweep<'_, N, P, L, W, C>
where
    N: Number,
    C: Consumer<N::Sum, W>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Self { layer: Gathered { sites, inputs, blocks }, samples, n_steps, .. } = self;
        let mut slices = Vec::with_capacity(inputs.len());
        // The weights of one block after another: those of all may be more than the second-level cache holds.
        for (block_idx, block) in blocks.iter().enumerate() {
            // Down each column of sites, for that is how their lists lie in memory: sites of neighbouring rows share most of theirs.
            for [row, column] in sites.down_columns() {
                for (sample, lists) in samples.iter().enumerate() {
                    slices.clear();
                    let slice = |connection: usize| block.rows.slice(connection, row, lists.of(connection, block_idx));
                    slices.extend((0..inputs.len()).map(slice));
                    let steady = self.consumer.begin(sample, sites.places([row, column], block_idx), &block.scale);
                    let is_silent =
                        n_steps >= MANY_STEPS && slices.iter().all(|slice| slice.is_silent(column, n_steps));
                    if is_silent && self.consumer.recall(&steady) {
                        self.consumer.end(false, &block.scale);
                        continue;
                    }
                    let mut base = [[N::Sum::ZERO; L]; P];
                    base.as_flattened_mut().copy_from_slice(&steady);
                    for slice in &slices {
                        slice.add_base(simd, &mut base, column);
                    }
                    let sums = Listed { base, slices: &slices, column };
                    self.consumer.run(simd, n_steps, &block.scale, &sums);
                    self.consumer.end(is_silent, &block.scale);
                }
            }
        }
    }
}

/// Of rows that are listed.
struct Listed<'a, N: Stored, const P: usize, const L: usize> {
    /// Of every step.
    base: [[N::Sum; L]; P],
    /// Per connection.
    slices: &'a [Slice<'a, N, P, L>],
    /// Of the site.
    column: usize,
}

impl<N: Number, const P: usize, const L: usize, const W: usize> SumsOf<N::Sum, W> for Listed<'_, N, P, L> {
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, step: usize) -> [N::Sum; W] {
        let mut sums = self.base;
        for slice in self.slices {
            slice.add_step(simd, &mut sums, step, self.column);
        }
        let mut all = [N::Sum::ZERO; W];
        all.copy_from_slice(sums.as_flattened());
        all
    }
}
