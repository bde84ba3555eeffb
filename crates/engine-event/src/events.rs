//! What a layer adds up of one sample: how the inputs of each connection are listed.
//!
//! Spikes go through average pools as bits, hundreds at a time, and become counts. Where the counts that a layer with many inputs
//! reads stay near their mean, the mean is listed once, for all steps, and at each step only what differs from it
//! ([`crate::planes`]): a pixel that spikes nine times out of ten costs as much as one that spikes once. Sums are exact, so this
//! changes none of them. Sites of a small convolution read short lists, of which two cost more than one twice as long. The lists
//! themselves are made in [`crate::rows`].

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::gather::Sites;
use crate::graded::Arriving;
use crate::patterns::Rows;
use crate::planes::{Centred, Planes, SumPools};
use crate::rows::{Counts, Factors, Layout, Place, Run, SegmentLists, Segments, VALUE_DIGITS, Window};
use snn::pool::{MaxPoolState, Windows, max_pooled, max_pools};
use snn::wiring::{Kernel, Wiring};

/// What one connection reads, and how its inputs are listed.
///
/// Sites of a column of sites read the same few columns of inputs, a *strip*; strips overlap. (Where a window slides along a row of
/// sites, each column of inputs is a strip.) The inputs of a strip are listed row by row of the kernel's input, so that those of
/// all the rows that a site reads lie one after another: one list for a site and step, whose length the processor guesses wrong
/// once.
#[derive(Debug)]
pub(super) struct Input {
    source: usize,
    max_pools: Vec<Windows>,
    sums: Option<SumPools>,
    kernel: Kernel,
    strips: Strips,
    /// Shape `[C, H, W]` behind the pools.
    pooled: [usize; 3],
    /// Whether lists are long enough for a base and two lists of differences to cost less than one of all.
    has_long_lists: bool,
    /// Inputs of a position that each block of sites sees; one range for all blocks if they see the same.
    ranges: Vec<Range<usize>>,
    /// How the inputs of each range are listed.
    layouts: Vec<Layout>,
    /// Bytes of a row of weights.
    pitch: u32,
    factors: Factors,
}

/// The columns of inputs that are listed together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strips {
    n: usize,
    /// Where the first strip begins; in the padding, if negative.
    first: isize,
    /// Columns from a strip to the next.
    step: usize,
    /// Columns of a strip.
    span: usize,
    /// Whether entries may say how many times their rows are added.
    has_factors: bool,
    /// Whether what is added at every step may be listed apart.
    has_base: bool,
}

/// Weights of a neuron from which on lists are long enough for a base and two lists of differences to cost less than one of all.
const LONG: usize = 1024;

/// Most bytes of the rows of weights of inputs that are listed by their values: with more, they would not stay in the second-level
/// cache, and there are fewer rows by digit.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// What a sample's sites are computed from, per connection and range. Made for one layer after another, they keep their memory.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    counts: Vec<Vec<Counts>>,
    /// Instead, of a layer that looks sums up.
    pub(super) rows: Rows,
}

/// Memory to make lists in.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    counts: Planes,
    other: Planes,
    centred: Centred,
    listed: SegmentLists,
}

/// Per connection, what its max pools have seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct PoolStates(Vec<Vec<MaxPoolState>>);

impl Lists {
    /// - `connection`, `block`: indices
    #[inline(always)]
    pub(super) fn of(&self, connection: usize, block: usize) -> &Counts {
        let ranges = &self.counts[connection];
        &ranges[block.min(ranges.len() - 1)]
    }
}

impl Strips {
    /// A strip for each column of sites: what they read.
    ///
    /// - `has_factors`: whether entries say how many times their rows are added, if that is little
    pub(super) fn of_sites(kernel: &Kernel, sites: Sites, has_factors: bool) -> Self {
        Self {
            n: sites.n_columns(),
            first: -(kernel.padding[1] as isize),
            step: sites.group * kernel.stride[1],
            span: (sites.group - 1) * kernel.stride[1] + kernel.axis(1).extent(),
            has_factors,
            has_base: true,
        }
    }

    /// A strip for each column of inputs.
    pub(super) fn of_columns(kernel: &Kernel) -> Self {
        Self { n: kernel.input[2], first: 0, step: 1, span: 1, has_factors: true, has_base: false }
    }
}

impl Input {
    /// - `n_positions`: of a site that share a row of weights
    /// - `pitch`: bytes of a row of weights, of all that an input of a strip has
    pub(super) fn new(wiring: &Wiring, sites: Sites, strips: Strips, n_positions: usize, pitch: u32) -> Self {
        let kernel = wiring.kernel;
        let spikes = wiring.max_pooled_shape();
        let pooled = wiring.sum_pools().fold(spikes, |shape, pool| pool.output(shape));
        let sums = wiring.sum_pools().next().map(|_| SumPools::new(spikes, wiring.sum_pools()));
        let [channels, height, width] = kernel.input;
        let per_group = [channels / kernel.groups, kernel.channels / kernel.groups];
        let range = |block: usize| {
            let last = ((block + 1) * sites.width - 1).min(kernel.channels - 1);
            let groups = [block * sites.width, last].map(|channel| channel / per_group[1]);
            groups[0] * per_group[0]..(groups[1] + 1) * per_group[0]
        };
        // Without groups all blocks see the same, and the channels of an image that has become a vector do not lie side by side.
        let ranges: Vec<Range<usize>> = if kernel.groups == 1 || kernel.input != pooled {
            std::iter::once(0..channels).collect()
        } else {
            (0..sites.n_blocks()).map(range).collect()
        };
        let (source, max_pools) = (wiring.source, max_pools(wiring));
        let has_long_lists = strips.has_base && (kernel.is_dense() || kernel.row_len() >= LONG);
        let mut input = Self {
            source: source.index(),
            max_pools,
            sums,
            kernel,
            strips,
            pooled,
            has_long_lists,
            ranges,
            layouts: Vec::new(),
            pitch,
            factors: Factors::Values(1),
        };
        let rows_per_factor = |range: &Range<usize>| {
            let before = (n_positions - 1) * kernel.stride[1] * range.len();
            before + kernel.axis(0).extent() * strips.span * range.len()
        };
        let bytes =
            |rows: usize| u32::try_from(rows * pitch as usize).expect("less than 4 GiB of weights for a few neurons");
        let per_factor: Vec<u32> = input.ranges.iter().map(|range| bytes(rows_per_factor(range))).collect();
        let most: usize = per_factor.iter().map(|&bytes| bytes as usize).max().unwrap_or(0);
        input.factors = factors(wiring, strips.has_factors, most);
        let columns: Vec<_> = (0..strips.n).map(|strip| input.strip(strip)).collect();
        let runs = |range: &Range<usize>| {
            let mut runs = Vec::new();
            for (&(start, ref columns), row) in
                columns.iter().flat_map(|strip| (0..height).map(move |row| (strip, row)))
            {
                let last = columns.end.wrapping_sub(1);
                let run = |column: usize, n_columns: usize, ends_row: bool| {
                    let column_of_strip = (column as isize - start) as usize;
                    let first = (row * width + column) * channels + range.start;
                    let entry = bytes((row * strips.span + column_of_strip) * range.len());
                    Run::split(first..first + n_columns * range.len(), entry, pitch, ends_row)
                };
                if range.len() == channels || columns.is_empty() {
                    runs.extend(run(columns.start.max(start.max(0) as usize), columns.len(), true));
                } else {
                    // Between them lie inputs that the block does not see.
                    runs.extend(columns.clone().flat_map(|column| run(column, 1, column == last)));
                }
            }
            runs
        };
        let is_whole = input.ranges.len() == 1;
        let segments = || is_whole.then(|| Segments::new(&columns, kernel.input, strips.span, pitch)).flatten();
        let layouts = input.ranges.iter().zip(per_factor);
        let layout =
            |(range, per_factor)| Layout::new(height, runs(range), segments(), pitch, per_factor, input.factors);
        let layouts = layouts.map(layout).collect();
        Self { layouts, ..input }
    }

    /// Where a strip's columns begin, in the padding perhaps, and those that there are.
    fn strip(&self, strip: usize) -> (isize, Range<usize>) {
        let Strips { first, step, span, .. } = self.strips;
        let start = (strip * step) as isize + first;
        let end = (start + span as isize).clamp(0, self.kernel.input[2] as isize);
        (start, start.clamp(0, end) as usize..end as usize)
    }

    /// How the inputs are listed that a block of sites sees.
    pub(super) fn layout(&self, block: usize) -> &Layout {
        &self.layouts[block.min(self.layouts.len() - 1)]
    }

    /// Columns of the kernel's input.
    pub(super) fn width(&self) -> usize {
        self.kernel.input[2]
    }

    /// Rows of weights from a column that a kernel begins at to that of the next position.
    pub(super) fn stride(&self, block: usize) -> usize {
        self.kernel.stride[1] * self.range(block).len()
    }

    /// What the weights are multiplied with, in the order of their rows.
    pub(super) fn factors(&self) -> Vec<f32> {
        match self.factors {
            Factors::Digits(n) => (0..n).map(|digit| (1_u64 << digit) as f32).collect(),
            Factors::Values(most) => (1..=most).map(|value| value as f32).collect(),
            Factors::OfEntries(_) => vec![1.0],
        }
    }

    fn range(&self, block: usize) -> &Range<usize> {
        &self.ranges[block.min(self.ranges.len() - 1)]
    }

    /// Rows of weights of a block, as row and column of the kernel's window and input of the position. What lies between the taps of a
    /// dilated kernel has rows too, of no synapse.
    pub(super) fn rows(&self, block: usize) -> impl Iterator<Item = [usize; 3]> {
        let (span, n_listed) = (self.strips.span, self.range(block).len());
        let columns = (0..self.kernel.axis(0).extent()).flat_map(move |row| (0..span).map(move |column| (row, column)));
        columns.flat_map(move |(row, column)| (0..n_listed).map(move |listed| [row, column, listed]))
    }

    /// Index of a weight within its channel's; `None` if there is no synapse.
    ///
    /// - `row`, `column`, `listed`: of the row of weights, as [`Self::rows`] gives it
    /// - `channel`, `position`: of the neuron; the position counts from the site's first
    pub(super) fn weight(
        &self,
        block: usize,
        [row, column, listed]: [usize; 3],
        channel: usize,
        position: usize,
    ) -> Option<usize> {
        let Kernel { size, stride, dilation, groups, input, .. } = self.kernel;
        let tap = |at: usize, axis: usize| {
            (at.is_multiple_of(dilation[axis]) && at / dilation[axis] < size[axis]).then_some(at / dilation[axis])
        };
        let from = self.input_channel(self.range(block).start + listed);
        let (in_per_group, out_per_group) = (input[0] / groups, self.kernel.channels / groups);
        let (ky, kx) = (tap(row, 0)?, tap(column.checked_sub(position * stride[1])?, 1)?);
        let in_group = from.checked_sub(channel / out_per_group * in_per_group)?;
        (in_group < in_per_group).then(|| (in_group * size[0] + ky) * size[1] + kx)
    }

    /// Input channel of the kernel at a place, or of a channel of a position.
    fn input_channel(&self, place: usize) -> usize {
        let [channels, height, width] = self.pooled;
        if self.kernel.input == self.pooled {
            place
        } else {
            // Channels last, where the kernel counts channel by channel.
            place % channels * (height * width) + place / channels
        }
    }

    /// The rows of a strip that each row of sites reads.
    ///
    /// - `first_row`: of the block's weights for this connection
    pub(super) fn windows(&self, n_rows: usize, block: usize, first_row: usize) -> Vec<Window> {
        let Kernel { stride, padding, input: [_, height, _], .. } = self.kernel;
        let extent = self.kernel.axis(0).extent();
        let window = |row: usize| {
            let start = (row * stride[0]) as isize - padding[0] as isize;
            let end = (start + extent as isize).clamp(0, height as isize) as usize;
            // An entry counts from the first row of the input, a row of weights from the first that the site reads.
            let before = start * (self.strips.span * self.range(block).len()) as isize;
            let first = (first_row as isize - before) * self.pitch as isize;
            let place = Place { first, stride: self.stride(block) * self.pitch as usize };
            Window { rows: start.clamp(0, end as isize) as usize..end, place }
        };
        (0..n_rows).map(window).collect()
    }

    #[inline(always)]
    fn list<S: Simd>(
        &self,
        simd: S,
        arriving: Arriving<'_>,
        pools: &mut Vec<MaxPoolState>,
        scratch: &mut Scratch,
        lists: &mut Vec<Counts>,
    ) {
        lists.resize_with(self.layouts.len(), Counts::default);
        let source = &arriving.spikes[self.source];
        if source.is_silent() {
            return self.layouts.iter().zip(lists).for_each(|(layout, counts)| layout.clear(counts));
        }
        let passed = max_pooled(&self.max_pools, pools, source);
        let train = passed.as_ref().unwrap_or(source);
        let expanded = arriving.expanded(self.source, train);
        let train = expanded.as_ref().unwrap_or(train);
        let Scratch { counts, other, centred, listed } = scratch;
        match &self.sums {
            None => counts.copy(train),
            Some(sums) => counts.sum(simd, train, sums, other),
        }
        let planes = if self.has_long_lists && counts.centre(centred) {
            [Some(&centred.base), Some(&centred.above), Some(&centred.below)]
        } else {
            [None, Some(&*counts), None]
        };
        for (layout, counts) in self.layouts.iter().zip(lists) {
            layout.list(simd, planes, listed, counts);
        }
    }
}

/// What the weights of a connection are multiplied with.
///
/// - `of_entries`: whether entries may say how many times their rows are added
/// - `bytes`: most that the rows of weights of one factor take
fn factors(wiring: &Wiring, of_entries: bool, bytes: usize) -> Factors {
    let multiplicity = wiring.multiplicity();
    if multiplicity >= 1 << VALUE_DIGITS {
        Factors::Digits(n_digits(multiplicity))
    } else if of_entries && multiplicity > 1 {
        Factors::OfEntries(multiplicity)
    } else if !wiring.kernel.is_dense() && multiplicity * bytes <= MAX_VALUE_BYTES {
        Factors::Values(multiplicity)
    } else {
        Factors::Digits(n_digits(multiplicity))
    }
}

fn n_digits(multiplicity: usize) -> usize {
    (usize::BITS - multiplicity.leading_zeros()) as usize
}

/// The greatest multiple of a connection's weights that there are rows of, where entries may say how many times rows are added.
pub(super) fn greatest_factor(wiring: &Wiring) -> usize {
    match factors(wiring, true, 0) {
        Factors::Digits(n) => 1 << (n - 1),
        Factors::Values(most) => most,
        Factors::OfEntries(_) => 1,
    }
}

/// Lists the inputs of a layer.
pub(super) struct Listing<'a> {
    pub(super) inputs: &'a [Input],
    pub(super) arriving: Arriving<'a>,
    pub(super) pools: &'a mut PoolStates,
    pub(super) scratch: &'a mut Scratch,
    pub(super) lists: &'a mut Lists,
}

impl Listing<'_> {
    pub(super) fn run(self, arch: Arch) {
        arch.dispatch(self);
    }
}

impl WithSimd for Listing<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let n = self.inputs.len();
        self.lists.counts.resize_with(n, Vec::new);
        self.pools.0.resize_with(n, Vec::new);
        for ((input, pools), lists) in self.inputs.iter().zip(&mut self.pools.0).zip(&mut self.lists.counts) {
            input.list(simd, self.arriving, pools, self.scratch, lists);
        }
    }
}
