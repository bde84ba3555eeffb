//! Synapses of a convolution of stride 1, event by event: a window slides along a row of neurons.
//!
//! An input reaches as many neighbouring positions of a row as the kernel has columns; the sums of those positions are the
//! *window*, and stay in registers. The inputs of a column are listed once, and their weights added to the whole window; then the
//! window moves on by a position. So an input is listed once, and looked at once per row of neurons, not once for each position
//! that sees it, and only at the borders is anything added that has no neuron. Weights are multiplied by the counts of a pool as
//! they are added, for rows of their multiples would not stay in the first-level cache. The sums of a row of neurons wait in memory
//! for the neurons, which then run through all steps.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use pulp::{Arch, Simd, WithSimd};

use crate::events::{Entries, Input, Lists, Slice, Strips};
use crate::gather::{Consumer, MANY_STEPS, Scale, Sites, SumsOf, TWIN, Visit, WIDE, integer_weight};
use crate::simd::{Addend, Aligned, Integer, Place, Table};
use snn::network::SpikingLayer;

/// A layer's synapses, with weights of a type.
#[derive(Debug)]
pub(super) enum Convolution<N> {
    Three(Sliding<N, 3, WIDE>),
    Five(Sliding<N, 5, WIDE>),
    TwinThree(Sliding<N, 3, TWIN>),
    TwinFive(Sliding<N, 5, TWIN>),
}

impl<N: Integer> Convolution<N> {
    /// `None` if the layer is no such convolution, or the type cannot hold a weight.
    ///
    /// - `layer`: whose sums of weights are 16-bit integers
    pub(super) fn new(layer: &SpikingLayer, sites: Sites) -> Option<Self> {
        let three = || Sliding::new(layer, sites).map(Self::Three);
        let five = || Sliding::new(layer, sites).map(Self::Five);
        let twin_three = || Sliding::new(layer, sites).map(Self::TwinThree);
        let twin_five = || Sliding::new(layer, sites).map(Self::TwinFive);
        three().or_else(five).or_else(twin_three).or_else(twin_five)
    }

    pub(super) fn input(&self) -> &Input {
        match self {
            Self::Three(sliding) => &sliding.input,
            Self::Five(sliding) => &sliding.input,
            Self::TwinThree(sliding) => &sliding.input,
            Self::TwinFive(sliding) => &sliding.input,
        }
    }

    /// - `samples`: lists of the layer's
    pub(super) fn visit(&self, arch: Arch, samples: &[Lists], n_steps: usize, visit: &mut impl Visit) {
        macro_rules! sweep {
            ($sliding:ident) => {
                arch.dispatch(Sweep { sliding: $sliding, samples, n_steps, consumer: visit.wide() })
            };
        }
        match self {
            Self::Three(sliding) => sweep!(sliding),
            Self::Five(sliding) => sweep!(sliding),
            Self::TwinThree(sliding) => sweep!(sliding),
            Self::TwinFive(sliding) => sweep!(sliding),
        }
    }
}

/// The synapses, for a kernel of `K` columns and `L` channels of a position in a site.
#[derive(Debug)]
pub(super) struct Sliding<N, const K: usize, const L: usize> {
    sites: Sites,
    input: Input,
    blocks: Vec<Block<N, K, L>>,
    padding: usize,
}

/// The weights of a block of channels.
#[derive(Debug)]
struct Block<N, const K: usize, const L: usize> {
    /// Factor of the weights by factor, row of the kernel by row, input by input: `K` rows of weights, column of the kernel by
    /// column.
    rows: Table<N, K, L>,
    scale: Scale<WIDE>,
}

impl<N: Integer, const K: usize, const L: usize> Sliding<N, K, L> {
    /// As [`Convolution::new`].
    fn new(layer: &SpikingLayer, sites: Sites) -> Option<Self> {
        let [connection] = layer.connections() else { return None };
        let kernel = connection.wiring.kernel;
        let n_channels = kernel.channels;
        let is_such = (kernel.size, kernel.stride, kernel.groups) == (K, 1, 1)
            && kernel.padding < K
            && sites.width == WIDE
            && if L == WIDE { n_channels > WIDE / 2 } else { n_channels == L && sites.group * L == WIDE };
        if !is_such {
            return None;
        }
        let strips = Strips::of_columns(&kernel);
        let input = Input::new(&connection.wiring, sites, strips, 1, (K * Table::<N, K, L>::PITCH) as u32);
        let block = |block: usize| {
            let channel = |lane: usize| Some(block * WIDE + lane).filter(|&channel| channel < n_channels);
            let mut rows = Vec::new();
            for factor in input.factors() {
                for ([row, _, listed], column) in
                    input.rows(block).flat_map(|at| (0..K).map(move |column| (at, column)))
                {
                    let mut weights = [N::default(); L];
                    for (lane, weight) in weights.iter_mut().enumerate() {
                        let Some(channel) = channel(lane) else { break };
                        if let Some(at) = input.weight(block, [row, column, listed], channel, 0) {
                            *weight = N::of(integer_weight(layer, channel, connection.row(channel)[at] * factor))?;
                        }
                    }
                    rows.push(weights);
                }
            }
            let step = |lane: usize| channel(lane % L).map_or(1.0, |channel| layer.grids()[channel].step() as f32);
            Some(Block { rows: N::table(rows), scale: Scale::of_steps(std::array::from_fn(step)) })
        };
        let blocks = (0..sites.n_blocks()).map(block).collect::<Option<_>>()?;
        let sliding = Self { sites, input, blocks, padding: kernel.padding };
        sliding.check(kernel.input[2]);
        Some(sliding)
    }

    /// What a row of neurons reads of a column of inputs.
    fn slice(&self, row: usize, column: usize, block: usize) -> Slice {
        let mut slice = self.input.slice([row, column], block, 0);
        // The first position of the window sees the input in the kernel's last column.
        slice.place.first += ((K - 1) * Table::<N, K, L>::PITCH) as isize;
        slice.place.stride = Table::<N, K, L>::PITCH;
        slice
    }

    /// - `width`: of the input
    ///
    /// # Panics
    /// If a window might read what is no row of weights: the kernel relies on it.
    fn check(&self, width: usize) {
        for (block_idx, block) in self.blocks.iter().enumerate() {
            for (row, column) in (0..self.sites.n_rows()).flat_map(|row| (0..width).map(move |column| (row, column))) {
                let slice = self.slice(row, column, block_idx);
                block.rows.check(slice.place, self.input.bounds(block_idx, &slice).flatten());
            }
        }
    }
}

/// All sites of all samples.
struct Sweep<'a, N, const K: usize, const L: usize, C> {
    sliding: &'a Sliding<N, K, L>,
    samples: &'a [Lists],
    n_steps: usize,
    consumer: C,
}

impl<N: Integer, const K: usize, const L: usize, C: Consumer<i16, WIDE>> WithSimd for Sweep<'_, N, K, L, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Self { sliding: Sliding { sites, input, blocks, padding }, samples, n_steps, .. } = self;
        let (n_columns, width) = (sites.n_columns(), input.width());
        let per_site = WIDE / L;
        // Of a row of neurons, step by step.
        let mut sums = vec![Aligned([0; WIDE]); n_steps * n_columns];
        let mut slices = Vec::with_capacity(width);
        for (block_idx, block) in blocks.iter().enumerate() {
            for row in 0..sites.n_rows() {
                slices.clear();
                slices.extend((0..width).map(|column| self.sliding.slice(row, column, block_idx)));
                for (sample, lists) in samples.iter().enumerate() {
                    let entries = &lists.of(0, block_idx).above;
                    if !entries.is_empty() {
                        for (step, sums) in sums.chunks_exact_mut(n_columns).enumerate() {
                            if input.has_factors() {
                                block.slide::<S, true>(simd, entries, step, &slices, *padding, sums);
                            } else {
                                block.slide::<S, false>(simd, entries, step, &slices, *padding, sums);
                            }
                        }
                    }
                    for column in 0..n_columns {
                        let steady = self.consumer.begin(sample, sites.places([row, column], block_idx), &block.scale);
                        // Columns of inputs that the site sees.
                        let first = (column * per_site).saturating_sub(*padding).min(width);
                        let behind = (column * per_site + per_site + K - 1).saturating_sub(*padding).min(width);
                        let is_silent = n_steps >= MANY_STEPS
                            && slices[first..behind].iter().all(|slice| entries.is_silent(slice, n_steps));
                        if is_silent && self.consumer.recall(&steady) {
                            self.consumer.end(false, &block.scale);
                            continue;
                        }
                        let site = OfSite {
                            steady,
                            sums: if entries.is_empty() { &[] } else { &sums[column..] },
                            pitch: n_columns,
                        };
                        self.consumer.run(simd, n_steps, &block.scale, &site);
                        self.consumer.end(is_silent, &block.scale);
                    }
                }
            }
        }
    }
}

impl<N: Integer, const K: usize, const L: usize> Block<N, K, L> {
    /// The sums of a row of neurons at a step.
    ///
    /// - `slices`: of each column of inputs
    /// - `sums`: site by site
    #[inline(always)]
    #[allow(unsafe_code, reason = "a bounds check per row takes as long as adding the row up")]
    fn slide<S: Simd, const HAS_FACTORS: bool>(
        &self,
        simd: S,
        entries: &Entries,
        step: usize,
        slices: &[Slice],
        padding: usize,
        sums: &mut [Aligned<[i16; WIDE]>],
    ) {
        let per_site = WIDE / L;
        let mut window = [[0; L]; K];
        // Positions before the first are not there.
        let mut position = padding.wrapping_sub(K - 1);
        let mut put = |position: usize, sum: &[i16; L]| {
            if let Some(Aligned(site)) = sums.get_mut(position / per_site) {
                site.as_chunks_mut::<L>().0[position % per_site] = *sum;
            }
        };
        for slice in slices {
            let place = Place { stride: Table::<N, K, L>::PITCH, ..slice.place };
            // SAFETY: entries lie between the bounds of their runs, a whole number of rows apart, and [`Sliding::check`] has seen
            // that the table holds those; that lists are this layer's, `visit` has.
            unsafe {
                N::add_up::<S, HAS_FACTORS, false, K, L>(&self.rows, simd, &mut window, entries.at(step, slice), place);
            }
            put(position, &window[0]);
            position = position.wrapping_add(1);
            // One by one, or the window would be moved in memory.
            for place in 1..K {
                window[place - 1] = window[place];
            }
            window[K - 1] = [0; L];
        }
        for sum in window.iter().take(K - 1) {
            put(position, sum);
            position = position.wrapping_add(1);
        }
    }
}

/// The sums of one site of a sample.
struct OfSite<'a> {
    steady: [i16; WIDE],
    /// From the site's at the first step on; none if nothing arrives.
    sums: &'a [Aligned<[i16; WIDE]>],
    /// Sites from a step to the next.
    pitch: usize,
}

impl SumsOf<i16, WIDE> for OfSite<'_> {
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, step: usize) -> [i16; WIDE] {
        let mut sums = self.steady;
        if let Some(Aligned(arrived)) = self.sums.get(step * self.pitch) {
            i16::add(simd, &mut sums, arrived);
        }
        sums
    }

    #[inline(always)]
    fn are_at_hand(&self) -> bool {
        true
    }

    #[inline(always)]
    fn are_steady(&self) -> bool {
        self.sums.is_empty()
    }
}
