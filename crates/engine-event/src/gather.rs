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
//! are kept as bytes, which takes half the memory and adds two rows at a time.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::events::{Counts, Entries, Input, Listing, Lists, PoolStates, Scratch, Slice, Strips};
use crate::patterns::{self, Patterns};
use crate::simd::{
    Addend, Aligned, Integer, LANES, Potential, Stored, Table, add_widened, fire_short, fires_short, integer,
};
use crate::slide::Convolution;
use snn::network::SpikingLayer;
use snn::spikes::SpikeTrain;
use snn::wiring::Wiring;

/// Neurons of a site: four AVX-512 registers of 32-bit floats.
pub(crate) const WIDE: usize = 64;

/// Channels of a layer whose wide sites are two positions that share weights.
pub(super) const TWIN: usize = WIDE / 2;

/// Steps from which on it pays to look whether nothing arrives at a site.
pub(super) const MANY_STEPS: usize = 8;

/// Neurons of the only site of a small layer.
pub(crate) const NARROW: usize = 16;

/// Layers that have been packed, for their numbers.
static N_LAYERS: AtomicU64 = AtomicU64::new(1);

/// A layer's synapses, packed for one SIMD level.
#[derive(Debug)]
pub(crate) struct GatherLayer {
    /// Of no other layer: lists of another would be no rows of this one's weights.
    id: u64,
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
    WideFloats(Vec<Block<f32, 1, WIDE, WIDE>>),
    TwinFloats(Vec<Block<f32, 2, TWIN, WIDE>>),
    NarrowFloats(Vec<Block<f32, 1, NARROW, NARROW>>),
    WideBytes(Vec<Block<i8, 1, WIDE, WIDE>>),
    TwinBytes(Vec<Block<i8, 2, TWIN, WIDE>>),
    WideIntegers(Vec<Block<i16, 1, WIDE, WIDE>>),
    TwinIntegers(Vec<Block<i16, 2, TWIN, WIDE>>),
    NarrowIntegers(Vec<Block<i16, 1, NARROW, NARROW>>),
    Patterns(Box<Patterns>),
    SlidingBytes(Convolution<i8>),
    SlidingIntegers(Convolution<i16>),
}

/// The weights of the sites of a block of channels.
///
/// `P`: positions of a site that share a row of `L` weights; with 1, a site of several positions has weights for all of them. `W` =
/// `P · L`: neurons of a site
#[derive(Debug)]
struct Block<N, const P: usize, const L: usize, const W: usize> {
    /// Connection by connection, factor of the weights by factor, row of the kernel by row, column of what the site covers by column,
    /// input by input.
    rows: Table<N, P, L>,
    /// First row of each connection. A stride of the kernel before the first position's weights for an input are the second's.
    first_rows: Vec<usize>,
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
    /// - `sums`: of this step; those behind the site's neurons mean nothing
    fn step<S: Simd>(&mut self, simd: S, step: usize, sums: &Aligned<[N; W]>, scale: &Scale<W>);
    /// All steps.
    ///
    /// - `sums`: as for [`Self::step`]
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, n_steps: usize, scale: &Scale<W>, sums: &impl SumsOf<N, W>) {
        self.step_by_step(simd, n_steps, scale, sums);
    }
    /// One step after the other.
    #[inline(always)]
    fn step_by_step<S: Simd>(&mut self, simd: S, n_steps: usize, scale: &Scale<W>, sums: &impl SumsOf<N, W>) {
        for step in 0..n_steps {
            self.step(simd, step, &Aligned(sums.at(simd, step)), scale);
        }
    }
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

/// What is done with a layer's currents, for either width of site.
pub(crate) trait Visit {
    fn wide<N: Weight>(&mut self) -> impl Consumer<N, WIDE>;
    fn narrow<N: Weight>(&mut self) -> impl Consumer<N, NARROW>;
}

impl Sites {
    pub(super) fn new(shape: [usize; 3]) -> Self {
        let [channels, _, columns] = shape;
        let width = if shape.iter().product::<usize>() <= NARROW { NARROW } else { WIDE };
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

    /// Places of a site's neurons.
    pub(super) fn places(self, [row, column]: [usize; 2], block: usize) -> Range<usize> {
        let [channels, _, columns] = self.shape;
        let n_positions = self.group.min(columns - column * self.group);
        let first = (row * columns + column * self.group) * channels + block * self.width;
        first..first + (n_positions * channels - block * self.width).min(self.width)
    }
}

impl<N: Stored<Sum: Weight>, const P: usize, const L: usize, const W: usize> Block<N, P, L, W> {
    /// `None` if a weight does not fit.
    ///
    /// - `weight`: of a channel's weight in thresholds
    fn new(
        layer: &SpikingLayer,
        sites: Sites,
        inputs: &[Input],
        block: usize,
        weight: impl Fn(usize, f32) -> Option<N>,
    ) -> Option<Self> {
        let n_channels = layer.shape()[0];
        let places = (sites.group / P * n_channels - block * sites.width).min(L);
        // Channel, and position within the site, of each neuron of a row.
        let neurons: Vec<(usize, usize)> =
            (0..places).map(|lane| (block * sites.width + lane % n_channels, lane / n_channels)).collect();
        let mut steps = [1.0; W];
        for (step, (channel, _)) in steps.chunks_exact_mut(L).flat_map(|steps| steps.iter_mut().zip(&neurons)) {
            *step = layer.grids()[*channel].step() as f32;
        }
        let (mut rows, mut first_rows) = (Vec::new(), Vec::new());
        for (input, synapses) in inputs.iter().zip(layer.connections()) {
            first_rows.push(rows.len() + (P - 1) * input.stride(block));
            for factor in input.factors() {
                // The columns that only the first position reads lie before the others' first.
                rows.resize(rows.len() + (P - 1) * input.stride(block), [N::default(); L]);
                for at in input.rows(block) {
                    let mut row = [N::default(); L];
                    for (value, &(channel, position)) in row.iter_mut().zip(&neurons) {
                        if let Some(at) = input.weight(block, at, channel, position) {
                            *value = weight(channel, synapses.row(channel)[at] * factor)?;
                        }
                    }
                    rows.push(row);
                }
            }
        }
        let block_idx = block;
        let block = Self { rows: N::table(rows), first_rows, scale: Scale::of_steps(steps) };
        block.check(sites, inputs, block_idx);
        Some(block)
    }

    /// # Panics
    /// If a site might read what is no row of weights: the kernel relies on it.
    fn check(&self, sites: Sites, inputs: &[Input], block: usize) {
        for at in (0..sites.n_sites()).map(|site| sites.at(site)) {
            for (input, &first_row) in inputs.iter().zip(&self.first_rows) {
                let slice = input.slice(at, block, first_row);
                self.rows.check(slice.place, input.bounds(block, &slice).flatten());
            }
        }
    }

    /// Adds the rows of a step's entries to sums, or takes them away.
    #[inline(always)]
    #[allow(unsafe_code, reason = "a bounds check per row takes as long as adding the row up")]
    fn add_rows<S: Simd, const TAKEN_AWAY: bool>(
        &self,
        simd: S,
        sums: &mut [[N::Sum; L]; P],
        entries: &Entries,
        step: usize,
        slice: &Slice,
    ) {
        if entries.is_empty() {
            return;
        }
        let entries = entries.at(step, slice);
        // SAFETY: entries lie between the bounds of their runs, a whole number of rows apart, and [`Self::check`] has seen
        // that the table holds those; that lists are this layer's, `visit` has.
        unsafe {
            if N::MULTIPLIES && slice.has_factors {
                N::add_up::<S, true, TAKEN_AWAY, P, L>(&self.rows, simd, sums, entries, slice.place);
            } else {
                N::add_up::<S, false, TAKEN_AWAY, P, L>(&self.rows, simd, sums, entries, slice.place);
            }
        }
    }
}

impl GatherLayer {
    pub(crate) fn new(layer: &SpikingLayer) -> Self {
        let sites = Sites::new(layer.shape());
        let twin = sites.width == WIDE && sites.group == 2 && layer.shape()[0] == TWIN;
        let byte = |channel: usize, weight: f32| i8::of(integer_weight(layer, channel, weight));
        let integer = |channel: usize, weight: f32| Some(integer_weight(layer, channel, weight));
        let float = |_: usize, weight: f32| Some(weight);
        let inputs = |n_positions: usize, pitch: usize, has_factors: bool| {
            let connections = layer.connections().iter();
            let input = |wiring: &Wiring| {
                let strips = Strips::of_sites(&wiring.kernel, sites, has_factors);
                Input::new(wiring, sites, strips, n_positions, pitch as u32)
            };
            connections.map(|connection| input(&connection.wiring)).collect::<Vec<_>>()
        };
        macro_rules! blocks {
            ($packed:path, $weight:ident, $number:ty, $positions:literal, $lanes:ident) => {{
                let pitch = Table::<$number, $positions, $lanes>::PITCH;
                let inputs = inputs($positions, pitch, <$number>::MULTIPLIES);
                let blocks = (0..sites.n_blocks()).map(|block| Block::new(layer, sites, &inputs, block, $weight));
                blocks.collect::<Option<_>>().map(|blocks| ($packed(blocks), inputs))
            }};
        }
        let fits_integers = fits_integers(layer);
        let id = N_LAYERS.fetch_add(1, Ordering::Relaxed);
        if let Some(packed) = fits_integers.then(|| Packed::of_convolution(layer, sites)).flatten() {
            return Self { id, sites, inputs: Vec::new(), packed };
        }
        let bytes = match (fits_integers, sites.width == NARROW) {
            (true, false) if twin => blocks!(Packed::TwinBytes, byte, i8, 2, TWIN),
            (true, false) => blocks!(Packed::WideBytes, byte, i8, 1, WIDE),
            _ => None,
        };
        let any = || match (fits_integers, sites.width == NARROW) {
            (false, false) if twin => blocks!(Packed::TwinFloats, float, f32, 2, TWIN),
            (false, false) => blocks!(Packed::WideFloats, float, f32, 1, WIDE),
            (false, true) => blocks!(Packed::NarrowFloats, float, f32, 1, NARROW),
            (true, false) if twin => blocks!(Packed::TwinIntegers, integer, i16, 2, TWIN),
            (true, false) => blocks!(Packed::WideIntegers, integer, i16, 1, WIDE),
            (true, true) => blocks!(Packed::NarrowIntegers, integer, i16, 1, NARROW),
        };
        let (packed, inputs) = bytes.or_else(any).expect("weights of their own type");
        Self { id, sites, inputs, packed }
    }

    /// Whether there is one site per block of channels, so that it pays to run many samples with the weights of a block.
    pub(crate) fn has_one_position(&self) -> bool {
        self.sites.n_sites() == 1
    }

    #[cfg(test)]
    pub(super) fn looks_up(&self) -> bool {
        matches!(self.packed, Packed::Patterns(_))
    }

    #[cfg(test)]
    pub(super) fn slides(&self) -> bool {
        matches!(self.packed, Packed::SlidingBytes(_) | Packed::SlidingIntegers(_))
    }

    #[cfg(test)]
    pub(super) fn has_bytes(&self) -> bool {
        matches!(self.packed, Packed::SlidingBytes(_) | Packed::WideBytes(_) | Packed::TwinBytes(_))
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
        lists.layer = self.id;
        let inputs = match &self.packed {
            Packed::Patterns(patterns) => return patterns.read(spikes, &mut lists.rows),
            Packed::SlidingBytes(convolution) => std::slice::from_ref(convolution.input()),
            Packed::SlidingIntegers(convolution) => std::slice::from_ref(convolution.input()),
            _ => &self.inputs,
        };
        Listing { inputs, spikes, pools, scratch, lists }.run(arch);
    }

    /// Hands the currents of a sample that is looked at once to a consumer.
    ///
    /// - `spikes`: of the input and of the layers so far
    pub(crate) fn visit_sample(&self, spikes: &[SpikeTrain], n_steps: usize, visit: &mut impl Visit) {
        let (arch, mut lists) = (Arch::new(), Lists::default());
        self.list(arch, spikes, &mut PoolStates::default(), &mut Scratch::default(), &mut lists);
        self.visit(arch, &[lists], n_steps, visit);
    }

    /// Hands the currents of all steps, site by site, sample by sample, to a consumer.
    ///
    /// # Panics
    /// If lists are another layer's.
    pub(crate) fn visit(&self, arch: Arch, samples: &[Lists], n_steps: usize, visit: &mut impl Visit) {
        assert!(samples.iter().all(|lists| lists.layer == self.id), "lists are this layer's");
        macro_rules! sweep {
            ($blocks:ident, $width:ident, $consumer:expr) => {
                arch.dispatch(Sweep::<_, _, _, $width, _> {
                    layer: self,
                    blocks: $blocks,
                    samples,
                    n_steps,
                    consumer: $consumer,
                })
            };
        }
        match &self.packed {
            Packed::SlidingBytes(convolution) => convolution.visit(arch, samples, n_steps, visit),
            Packed::SlidingIntegers(convolution) => convolution.visit(arch, samples, n_steps, visit),
            Packed::WideFloats(blocks) => sweep!(blocks, WIDE, visit.wide()),
            Packed::TwinFloats(blocks) => sweep!(blocks, WIDE, visit.wide()),
            Packed::NarrowFloats(blocks) => sweep!(blocks, NARROW, visit.narrow()),
            Packed::WideBytes(blocks) => sweep!(blocks, WIDE, visit.wide()),
            Packed::TwinBytes(blocks) => sweep!(blocks, WIDE, visit.wide()),
            Packed::WideIntegers(blocks) => sweep!(blocks, WIDE, visit.wide()),
            Packed::TwinIntegers(blocks) => sweep!(blocks, WIDE, visit.wide()),
            Packed::NarrowIntegers(blocks) => sweep!(blocks, NARROW, visit.narrow()),
            Packed::Patterns(patterns) => {
                let samples = samples.iter().map(|lists| &lists.rows);
                arch.dispatch(patterns::Sweep { patterns, samples, n_steps, consumer: visit.wide() });
            }
        }
    }
}

/// A weight, given in thresholds, in steps of the neuron's grid.
pub(super) fn integer_weight(layer: &SpikingLayer, channel: usize, weight: f32) -> i16 {
    (f64::from(weight) / layer.grids()[channel].step()) as i16
}

impl Packed {
    /// `None` if the layer is no convolution that there is a faster way for.
    ///
    /// - `layer`: whose sums of weights are 16-bit integers
    fn of_convolution(layer: &SpikingLayer, sites: Sites) -> Option<Self> {
        let patterns = Patterns::new(layer, sites).map(|patterns| Self::Patterns(Box::new(patterns)));
        patterns
            .or_else(|| Convolution::new(layer, sites).map(Self::SlidingBytes))
            .or_else(|| Convolution::new(layer, sites).map(Self::SlidingIntegers))
    }
}

/// Whether any sum of each neuron's weights and bias, in steps of its grid, is a 16-bit integer. Then so is the current of a constant
/// input: pixels are at most 1.
fn fits_integers(layer: &SpikingLayer) -> bool {
    (0..layer.shape()[0]).all(|channel| {
        let step = layer.grids()[channel].step();
        let bias = f64::from(layer.biases()[channel]) / step;
        let (mut up, mut down) = (bias.max(0.0), bias.min(0.0));
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

/// All sites of all samples, `W` = `P · L` neurons each.
struct Sweep<'a, N, const P: usize, const L: usize, const W: usize, C> {
    layer: &'a GatherLayer,
    blocks: &'a [Block<N, P, L, W>],
    samples: &'a [Lists],
    n_steps: usize,
    consumer: C,
}

impl<N, const P: usize, const L: usize, const W: usize, C> WithSimd for Sweep<'_, N, P, L, W, C>
where
    N: Stored<Sum: Weight>,
    C: Consumer<N::Sum, W>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Self { layer, blocks, samples, n_steps, .. } = self;
        let sites = layer.sites;
        let mut slices = Vec::with_capacity(layer.inputs.len());
        // The weights of one block after another: those of all may be more than the second-level cache holds.
        for (block_idx, block) in blocks.iter().enumerate() {
            for at in (0..sites.n_sites()).map(|site| sites.at(site)) {
                slices.clear();
                let inputs = layer.inputs.iter().zip(&block.first_rows);
                slices.extend(inputs.map(|(input, &first_row)| input.slice(at, block_idx, first_row)));
                for (sample, lists) in samples.iter().enumerate() {
                    let steady = self.consumer.begin(sample, sites.places(at, block_idx), &block.scale);
                    let mut is_silent = n_steps >= MANY_STEPS;
                    for (connection, slice) in slices.iter().enumerate() {
                        is_silent = is_silent && lists.of(connection, block_idx).is_silent(slice, n_steps);
                    }
                    if is_silent && self.consumer.recall(&steady) {
                        self.consumer.end(false, &block.scale);
                        continue;
                    }
                    let mut base = [[N::Sum::ZERO; L]; P];
                    base.as_flattened_mut().copy_from_slice(&steady);
                    for (connection, slice) in slices.iter().enumerate() {
                        let Counts { base: entries, .. } = lists.of(connection, block_idx);
                        block.add_rows::<S, false>(simd, &mut base, entries, 0, slice);
                    }
                    let sums = Listed { block, block_idx, base, slices: &slices, lists };
                    self.consumer.run(simd, n_steps, &block.scale, &sums);
                    self.consumer.end(is_silent, &block.scale);
                }
            }
        }
    }
}

/// Of rows that are listed.
struct Listed<'a, N: Stored, const P: usize, const L: usize, const W: usize> {
    block: &'a Block<N, P, L, W>,
    block_idx: usize,
    /// Of every step.
    base: [[N::Sum; L]; P],
    /// Per connection.
    slices: &'a [Slice],
    lists: &'a Lists,
}

impl<N: Stored<Sum: Weight>, const P: usize, const L: usize, const W: usize> SumsOf<N::Sum, W>
    for Listed<'_, N, P, L, W>
{
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, step: usize) -> [N::Sum; W] {
        let mut sums = self.base;
        for (connection, slice) in self.slices.iter().enumerate() {
            let Counts { above, below, .. } = self.lists.of(connection, self.block_idx);
            self.block.add_rows::<S, false>(simd, &mut sums, above, step, slice);
            self.block.add_rows::<S, true>(simd, &mut sums, below, step, slice);
        }
        let mut all = [N::Sum::ZERO; W];
        all.copy_from_slice(sums.as_flattened());
        all
    }
}
