//! Synapses of a convolution of stride 1, event by event: a window slides along a row of neurons.
//!
//! An input reaches as many neighbouring positions of a row as the kernel has columns; the sums of those positions are the
//! *window*, and stay in registers. The inputs of a column are listed once, and their weights added to the whole window; then the
//! window moves on by a position. So an input is listed once, and looked at once per row of neurons, not once for each position
//! that sees it, and only at the borders is anything added that has no neuron. Weights are multiplied by the counts of a pool as
//! they are added, for rows of their multiples would not stay in the first-level cache. The sums of a row of neurons wait in memory
//! for the neurons, which then run through all steps.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use std::marker::PhantomData;

use model::graph::sides_text;
use pulp::{Arch, Simd, WithSimd};
use snn::wiring::Kernel;

use crate::events::{Input, Listing, Lists, PoolStates, Scratch, Strips};
use crate::firing::Firing;
use crate::gather::{Consumer, MANY_STEPS, Number, Scale, Sites, SumsOf, TWIN, WIDE};
use crate::graded::Arriving;
use crate::kernels::{ComputeKernel, LayerFacts, Sums, Synapses};
use crate::rows::{Slice, Table};
use crate::simd::{Addend, Aligned};

/// Slides a window along rows of neurons, with weights of a type.
#[derive(Debug)]
pub(crate) struct Slide<N> {
    name: &'static str,
    number: PhantomData<fn() -> N>,
}

impl<N> Slide<N> {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, number: PhantomData }
    }
}

impl<N: Number<Sum = i16>> ComputeKernel for Slide<N> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn sums(&self) -> Sums {
        Sums::Int16
    }

    fn are_at_hand(&self) -> bool {
        true
    }

    fn supports(&self, layer: &LayerFacts<'_>) -> Result<(), String> {
        let kernel = layer.single_connection()?.wiring.kernel;
        let Kernel { size, stride, dilation, groups, padding, channels, .. } = kernel;
        if kernel.is_dense() {
            return Err("fully connected; supported: convolutions".to_owned());
        }
        if !matches!(size[1], 3 | 5) {
            return Err(format!("kernel {}×{}; supported: three or five columns", size[0], size[1]));
        }
        if stride[1] != 1 {
            return Err(format!("stride {}; supported: stride 1 across", sides_text(stride)));
        }
        if dilation[1] != 1 {
            return Err(format!("a dilation of {}; supported: none across", sides_text(dilation)));
        }
        if groups != 1 {
            return Err(format!("{groups} groups of channels; supported: one"));
        }
        if padding[1].max(padding[3]) >= size[1] {
            return Err(format!("padding {}; supported: less than the kernel", sides_text(padding)));
        }
        if channels < TWIN {
            return Err(format!("{channels} channels; supported: {TWIN} or more"));
        }
        if channels == TWIN && kernel.output()[2] < 2 {
            return Err(format!("{TWIN} channels in rows of one position; supported: two or more"));
        }
        N::suits(layer)
    }

    fn pack(&self, layer: &LayerFacts<'_>) -> Box<dyn Synapses> {
        let [channels, ..] = layer.layer.shape();
        match (layer.layer.connections()[0].wiring.kernel.size[1], channels) {
            (3, TWIN) => Box::new(Sliding::<N, 3, TWIN>::new(layer)),
            (3, _) => Box::new(Sliding::<N, 3, WIDE>::new(layer)),
            (_, TWIN) => Box::new(Sliding::<N, 5, TWIN>::new(layer)),
            (..) => Box::new(Sliding::<N, 5, WIDE>::new(layer)),
        }
    }
}

/// The synapses, for a kernel of `K` columns and `L` channels of a position in a site.
#[derive(Debug)]
struct Sliding<N, const K: usize, const L: usize> {
    sites: Sites,
    input: Input,
    blocks: Vec<Block<N, K, L>>,
    /// Columns of zeros to the left.
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

impl<N: Number<Sum = i16>, const K: usize, const L: usize> Sliding<N, K, L> {
    /// - `layer`: which [`Slide`] supports
    fn new(layer: &LayerFacts<'_>) -> Self {
        let connection = layer.single_connection().expect("a layer with one connection");
        let kernel = connection.wiring.kernel;
        let (n_channels, sites) = (kernel.channels, Sites::of_width(layer.layer.shape(), WIDE));
        let pitch = Table::<N, K, L>::PITCH;
        let input = Input::new(&connection.wiring, sites, Strips::of_columns(&kernel), 1, (K * pitch) as u32);
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
                            *weight = N::of_weight(layer, channel, connection.row(channel)[at] * factor);
                        }
                    }
                    rows.push(weights);
                }
            }
            let mut windows = input.windows(sites.n_rows(), block, 0);
            for window in &mut windows {
                // The first position of the window sees the input in the kernel's last column.
                window.place.first += ((K - 1) * pitch) as isize;
                window.place.stride = pitch;
            }
            let grids = layer.layer.grids();
            let step = |lane: usize| channel(lane % L).map_or(1.0, |channel| grids[channel].step() as f32);
            Block {
                rows: Table::new(&rows, [(input.layout(block), windows)]),
                scale: Scale::of_steps(std::array::from_fn(step)),
            }
        };
        let blocks = (0..sites.n_blocks()).map(block).collect();
        Self { sites, input, blocks, padding: kernel.padding[1] }
    }
}

impl<N: Number<Sum = i16>, const K: usize, const L: usize> Synapses for Sliding<N, K, L> {
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
        Listing { inputs: std::slice::from_ref(&self.input), arriving, pools, scratch, lists }.run(arch);
    }

    fn visit(&self, arch: Arch, samples: &[Lists], n_steps: usize, firing: &mut Firing<'_>) {
        let Self { sites, input, blocks, padding } = self;
        let (n_columns, width, per_site) = (sites.n_columns(), input.width(), WIDE / L);
        // Of a row of neurons, step by step.
        let mut sums = vec![Aligned([0; WIDE]); n_steps * n_columns];
        let mut silent = Vec::with_capacity(n_columns);
        let mut neurons = firing.site::<i16, WIDE>();
        for (block_idx, block) in blocks.iter().enumerate() {
            for row in 0..sites.n_rows() {
                for (sample, lists) in samples.iter().enumerate() {
                    let arriving = block.rows.slice(0, row, lists.of(0, block_idx));
                    if !arriving.is_empty() {
                        let (padding, sums) = (*padding, &mut sums[..]);
                        arch.dispatch(SlideRow { arriving, width, n_columns, padding, sums });
                    }
                    silent.clear();
                    silent.extend((0..n_columns).map(|column| {
                        // Columns of inputs that the site sees.
                        let first = (column * per_site).saturating_sub(*padding).min(width);
                        let behind = (column * per_site + per_site + K - 1).saturating_sub(*padding).min(width);
                        n_steps >= MANY_STEPS && (first..behind).all(|column| arriving.is_silent(column, n_steps))
                    }));
                    let sums: &[Aligned<[i16; WIDE]>] = if arriving.is_empty() { &[] } else { &sums };
                    let (sites, scale, silent, neurons) = (*sites, &block.scale, &*silent, &mut neurons);
                    arch.dispatch(FireRow {
                        neurons,
                        sample,
                        sites,
                        row,
                        block: block_idx,
                        scale,
                        sums,
                        silent,
                        n_steps,
                    });
                }
            }
        }
    }
}

/// Adds up the sums of a row of neurons, at all steps.
struct SlideRow<'a, N, const K: usize, const L: usize> {
    arriving: Slice<'a, N, K, L>,
    /// Columns of inputs, and of sites.
    width: usize,
    n_columns: usize,
    padding: usize,
    sums: &'a mut [Aligned<[i16; WIDE]>],
}

impl<N: Number<Sum = i16>, const K: usize, const L: usize> WithSimd for SlideRow<'_, N, K, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { arriving, width, n_columns, padding, sums } = self;
        let arriving = arriving.side_by_side();
        for (step, sums) in sums.chunks_exact_mut(n_columns).enumerate() {
            if arriving.has_factors() {
                slide::<S, N, K, L, true>(simd, &arriving, step, width, padding, sums);
            } else {
                slide::<S, N, K, L, false>(simd, &arriving, step, width, padding, sums);
            }
        }
    }
}

/// Takes a row of neurons through all steps: the same for all types of weights and kernels, for which it is compiled once.
struct FireRow<'a, C> {
    neurons: &'a mut C,
    sample: usize,
    sites: Sites,
    row: usize,
    block: usize,
    scale: &'a Scale<WIDE>,
    /// Site by site, step by step; none if nothing arrives.
    sums: &'a [Aligned<[i16; WIDE]>],
    /// Whether nothing arrives at each site.
    silent: &'a [bool],
    n_steps: usize,
}

impl<C: Consumer<i16, WIDE>> WithSimd for FireRow<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { neurons, sample, sites, row, block, scale, sums, silent, n_steps } = self;
        for (column, &is_silent) in silent.iter().enumerate() {
            let steady = neurons.begin(sample, sites.places([row, column], block), scale);
            if is_silent && neurons.recall(&steady) {
                neurons.end(false, scale);
                continue;
            }
            let site = OfSite { steady, sums: sums.get(column..).unwrap_or(&[]), pitch: silent.len() };
            neurons.run(simd, n_steps, scale, &site);
            neurons.end(is_silent, scale);
        }
    }
}

/// The sums of a row of neurons at a step.
///
/// - `width`: columns of inputs
/// - `sums`: site by site
#[inline(always)]
fn slide<S: Simd, N: Number<Sum = i16>, const K: usize, const L: usize, const HAS_FACTORS: bool>(
    simd: S,
    arriving: &Slice<'_, N, K, L>,
    step: usize,
    width: usize,
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
    for column in 0..width {
        arriving.add_above::<S, HAS_FACTORS>(simd, &mut window, step, column);
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
