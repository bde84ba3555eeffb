//! What a layer adds up of one sample: lists of inputs, step by step, that stand for rows of weights.
//!
//! Spikes go through average pools as bits, hundreds at a time, and become counts. Where the counts that a fully connected layer
//! reads stay near their mean, the mean is listed once, for all steps, and at each step only what differs from it
//! ([`crate::planes`]): a pixel that spikes nine times out of ten costs as much as one that spikes once. Sums are exact, so this
//! changes none of them. Sites of a convolution read short slices of lists, of which two cost more than one twice as long.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::gather::Sites;
use crate::planes::{Centred, Planes, SumPools};
use crate::pool::{MaxPoolState, Windows, max_pooled, max_pools};
use crate::spikes::{SpikeTrain, bits_of};
use crate::wiring::{Kernel, Wiring};

/// What one connection reads, and how its inputs are listed: position by position of the kernel's input.
#[derive(Debug)]
pub(super) struct Input {
    source: usize,
    max_pools: Vec<Windows>,
    sums: Option<SumPools>,
    kernel: Kernel,
    /// Shape `[C, H, W]` behind the pools.
    pooled: [usize; 3],
    /// Whether lists are long enough for a base and two lists of differences to cost less than one of all.
    has_long_lists: bool,
    /// Inputs of a position that each block of sites sees; one range for all blocks if they see the same.
    ranges: Vec<Range<usize>>,
    /// Where the inputs of each range are found.
    runs: Vec<Vec<Run>>,
}

/// Inputs whose bits lie side by side.
#[derive(Debug)]
struct Run {
    /// First bit and number of bits.
    first: usize,
    len: usize,
    /// Entry of the first bit.
    entry: u32,
    /// Positions that end in the run, each of as many bits; with none, the run goes on in the next one.
    n_positions: usize,
}

/// Inputs that are listed one after another, and what to add to their entries for the rows of their weights.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    positions: Range<usize>,
    pub(super) offset: u32,
}

/// Inputs to be added up, position by position and step by step. Made again and again, they keep their memory.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// `column · inputs of a position + input of the position`, as often as it counts.
    rows: Vec<u32>,
    /// Where the entries of each step and position begin, `[T · positions + 1]`.
    starts: Vec<u32>,
    n_positions: usize,
    total: usize,
}

/// What is added up of the inputs of one range.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Added at every step, listed as one step.
    pub(super) base: Entries,
    /// Added at a step.
    pub(super) above: Entries,
    /// Taken away at a step.
    pub(super) below: Entries,
}

/// What a sample's sites are computed from, per connection and range. Made for one layer after another, they keep their memory.
#[derive(Debug, Default)]
pub(crate) struct Lists(Vec<Vec<Counts>>);

/// Memory to make lists in.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    counts: Planes,
    other: Planes,
    centred: Centred,
}

/// Per connection, what its max pools have seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct PoolStates(Vec<Vec<MaxPoolState>>);

impl Lists {
    /// - `connection`, `block`: indices
    #[inline(always)]
    pub(super) fn of(&self, connection: usize, block: usize) -> &Counts {
        let ranges = &self.0[connection];
        &ranges[block.min(ranges.len() - 1)]
    }
}

impl Entries {
    /// Entries of neighbouring positions at a step.
    #[inline(always)]
    pub(super) fn at(&self, step: usize, slice: &Slice) -> &[u32] {
        let first = step * self.n_positions;
        let [start, end] = [slice.positions.start, slice.positions.end].map(|position| self.starts[first + position]);
        &self.rows[start as usize..end as usize]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn clear(&mut self) {
        self.total = 0;
    }

    /// Lists inputs, each as often as it counts.
    #[inline(always)]
    fn list(&mut self, counts: &Planes, runs: &[Run]) {
        self.total = counts.total();
        if self.is_empty() {
            return;
        }
        self.n_positions = runs.iter().map(|run| run.n_positions).sum();
        let Self { rows, starts, n_positions, total } = self;
        starts.resize(starts.len().max(counts.n_steps * *n_positions + 1), 0);
        rows.resize(rows.len().max(*total + BURST), 0);
        let mut listed = Listed { entries: rows, end: 0, starts: starts[1..].iter_mut() };
        if counts.n_planes() == 1 {
            for step in 0..counts.n_steps {
                let words = counts.plane(step, 0);
                for run in runs {
                    run.list_bits(words, &mut listed);
                }
            }
        } else {
            for step in 0..counts.n_steps {
                for run in runs {
                    run.list_counts(counts, step, &mut listed);
                }
            }
        }
    }
}

/// Lists on their way.
struct Listed<'a> {
    entries: &'a mut [u32],
    end: usize,
    /// Of the positions behind the one that is listed.
    starts: std::slice::IterMut<'a, u32>,
}

impl Listed<'_> {
    /// Writes an entry for each bit that is set.
    ///
    /// - `first`: entry of the lowest bit
    #[inline(always)]
    fn list(&mut self, mut bits: u64, first: u32) {
        let last = self.end + bits.count_ones() as usize;
        loop {
            // What is behind the last bit is written over: a branch for each would cost more.
            for entry in &mut self.entries[self.end..self.end + BURST] {
                *entry = first + bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
            }
            self.end += BURST;
            if self.end >= last {
                break;
            }
        }
        self.end = last;
    }

    /// The next position begins `later` entries behind the last one.
    #[inline(always)]
    fn begin_position(&mut self, later: u32) {
        *self.starts.next().expect("as many as there are positions") = self.end as u32 + later;
    }
}

impl Run {
    /// Lists bits and the ends of positions.
    #[inline(always)]
    fn list_bits(&self, words: &[u64], listed: &mut Listed<'_>) {
        let depth = self.len / self.n_positions.max(1);
        let mut boundary = depth;
        for offset in (0..self.len).step_by(64) {
            let n = (self.len - offset).min(64);
            let bits = bits_of(words, self.first + offset, n);
            if self.n_positions > 0 {
                while boundary <= offset + n {
                    let before = bits & (u64::MAX >> (64 - (boundary - offset)));
                    listed.begin_position(before.count_ones());
                    boundary += depth;
                }
            }
            listed.list(bits, self.entry + offset as u32);
        }
    }

    /// Lists counts of more than a bit, and the end of the position if it ends here.
    #[inline(always)]
    fn list_counts(&self, counts: &Planes, step: usize, listed: &mut Listed<'_>) {
        debug_assert!(self.n_positions <= 1, "counts of more than a bit position by position");
        for offset in (0..self.len).step_by(64) {
            let (first, n) = (self.first + offset, (self.len - offset).min(64));
            let entry = self.entry + offset as u32;
            listed.list(bits_of(counts.plane(step, 0), first, n), entry);
            if bits_of(counts.higher(step), first, n) == 0 {
                continue;
            }
            for plane in 1..counts.n_planes() {
                let bits = bits_of(counts.plane(step, plane), first, n);
                for _ in 0..1 << plane {
                    listed.list(bits, entry);
                }
            }
        }
        if self.n_positions == 1 {
            listed.begin_position(0);
        }
    }
}

/// Entries that are written at a time.
const BURST: usize = 4;

impl Input {
    pub(super) fn new(wiring: &Wiring, sites: Sites) -> Self {
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
        let runs = ranges.iter().map(|range: &Range<usize>| match &sums {
            // Inputs of a row lie side by side.
            None if range.len() == channels => {
                let run =
                    |row| Run { first: row * width * channels, len: width * channels, entry: 0, n_positions: width };
                (0..height).map(run).collect()
            }
            None => {
                let run = |position: usize| {
                    let entry = (position % width * range.len()) as u32;
                    Run { first: position * channels + range.start, len: range.len(), entry, n_positions: 1 }
                };
                (0..height * width).map(run).collect()
            }
            Some(sums) if kernel.input == pooled => {
                let run = |(position, &first): (usize, &u32)| {
                    let entry = (position % width * range.len()) as u32;
                    Run { first: first as usize + range.start, len: range.len(), entry, n_positions: 1 }
                };
                sums.firsts().iter().enumerate().map(run).collect()
            }
            // An image that has become a vector, all of it one position.
            Some(sums) => {
                let (n, channels) = (sums.firsts().len(), pooled[0]);
                let run = |(position, &first): (usize, &u32)| {
                    let entry = (position * channels) as u32;
                    Run { first: first as usize, len: channels, entry, n_positions: usize::from(position + 1 == n) }
                };
                sums.firsts().iter().enumerate().map(run).collect()
            }
        });
        let runs = runs.collect();
        let (source, max_pools, has_long_lists) = (wiring.source, max_pools(wiring), kernel.is_dense());
        Self { source, max_pools, sums, kernel, pooled, has_long_lists, ranges, runs }
    }

    /// Columns of inputs that a site covers.
    fn span(&self, sites: Sites) -> usize {
        (sites.group - 1) * self.kernel.stride + self.kernel.size
    }

    fn range(&self, block: usize) -> &Range<usize> {
        &self.ranges[block.min(self.ranges.len() - 1)]
    }

    /// Rows of weights of a block, as row and column of the kernel's window and input of the position.
    pub(super) fn rows(&self, sites: Sites, block: usize) -> impl Iterator<Item = [usize; 3]> {
        let (span, n_listed) = (self.span(sites), self.range(block).len());
        let columns = (0..self.kernel.size).flat_map(move |row| (0..span).map(move |column| (row, column)));
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
        let Kernel { size, stride, groups, input, .. } = self.kernel;
        let from = self.input_channel(self.range(block).start + listed);
        let (in_per_group, out_per_group) = (input[0] / groups, self.kernel.channels / groups);
        let kernel_column = column.checked_sub(position * stride).filter(|&column| column < size)?;
        let in_group = from.checked_sub(channel / out_per_group * in_per_group)?;
        (in_group < in_per_group).then(|| (in_group * size + row) * size + kernel_column)
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

    /// The inputs that a site reads, row by row.
    ///
    /// - `first_row`: of the block's weights for this connection
    pub(super) fn slices(
        &self,
        sites: Sites,
        [row, column]: [usize; 2],
        block: usize,
        first_row: usize,
    ) -> impl Iterator<Item = Slice> {
        let Kernel { size, stride, padding, input: [_, height, width], .. } = self.kernel;
        let (span, n_listed) = (self.span(sites), self.range(block).len());
        let start = (column * sites.group * stride) as isize - padding as isize;
        let columns = start.max(0) as usize..(start + span as isize).clamp(0, width as isize) as usize;
        (0..size).filter_map(move |kernel_row| {
            let y = (row * stride + kernel_row).checked_sub(padding).filter(|&y| y < height)?;
            // An entry counts from the start of its row, a row of weights from the start of the site; the difference may be
            // negative, the sum is not.
            let first_row = (first_row + kernel_row * span * n_listed) as u32;
            let offset = first_row.wrapping_sub((start * n_listed as isize) as u32);
            (!columns.is_empty())
                .then(|| Slice { positions: y * width + columns.start..y * width + columns.end, offset })
        })
    }

    #[inline(always)]
    fn list(
        &self,
        spikes: &[SpikeTrain],
        pools: &mut Vec<MaxPoolState>,
        scratch: &mut Scratch,
        lists: &mut Vec<Counts>,
    ) {
        lists.resize_with(self.runs.len(), Counts::default);
        let source = &spikes[self.source];
        if source.is_silent() {
            for Counts { base, above, below } in lists {
                [base, above, below].into_iter().for_each(Entries::clear);
            }
            return;
        }
        let passed = max_pooled(&self.max_pools, pools, source);
        let train = passed.as_ref().unwrap_or(source);
        let Scratch { counts, other, centred } = scratch;
        match &self.sums {
            None => counts.copy(train),
            Some(sums) => counts.sum(train, sums, other),
        }
        let is_centred = self.has_long_lists && counts.centre(centred);
        for (runs, Counts { base, above, below }) in self.runs.iter().zip(lists) {
            if is_centred {
                base.list(&centred.base, runs);
                above.list(&centred.above, runs);
                below.list(&centred.below, runs);
            } else {
                base.clear();
                above.list(counts, runs);
                below.clear();
            }
        }
    }
}

/// Lists the inputs of a layer.
pub(super) struct Listing<'a> {
    pub(super) inputs: &'a [Input],
    /// Of the input and of the layers so far.
    pub(super) spikes: &'a [SpikeTrain],
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
    fn with_simd<S: Simd>(self, _: S) {
        let n = self.inputs.len();
        self.lists.0.resize_with(n, Vec::new);
        self.pools.0.resize_with(n, Vec::new);
        for ((input, pools), lists) in self.inputs.iter().zip(&mut self.pools.0).zip(&mut self.lists.0) {
            input.list(self.spikes, pools, self.scratch, lists);
        }
    }
}
