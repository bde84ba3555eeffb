//! What a layer adds up of one sample: lists of inputs, step by step, that stand for rows of weights.
//!
//! Spikes go through average pools as bits, hundreds at a time, and become counts. Where the counts that a fully connected layer
//! reads stay near their mean, the mean is listed once, for all steps, and at each step only what differs from it
//! ([`crate::planes`]): a pixel that spikes nine times out of ten costs as much as one that spikes once. Sums are exact, so this
//! changes none of them. Sites of a convolution read short lists, of which two cost more than one twice as long.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::gather::Sites;
use crate::planes::{Centred, Planes, SumPools};
use crate::pool::{MaxPoolState, Windows, max_pooled, max_pools};
use crate::simd::{LANES, Place, list_bits};
use crate::spikes::{SpikeTrain, bits_of};
use crate::wiring::{Kernel, Wiring};

/// What one connection reads, and how its inputs are listed.
///
/// Sites of a column of sites read the same few columns of inputs, a *strip*; strips overlap. The inputs of a strip are listed row
/// by row of the kernel's input, so that those of all the rows that a site reads lie one after another: one list for a site and
/// step, whose length the processor guesses wrong once.
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
    /// Where the inputs of each range are found: strip by strip, row by row.
    runs: Vec<Vec<Run>>,
    /// Bytes of a row of weights.
    pitch: u32,
}

/// Inputs whose bits lie side by side.
#[derive(Debug)]
struct Run {
    /// First bit and number of bits.
    first: usize,
    len: usize,
    /// Entry of the first bit.
    entry: u32,
    /// Row of its strip, counted through all strips.
    row: usize,
    /// Whether that ends here.
    ends_row: bool,
}

/// Inputs that are listed one after another, and where the rows of their weights are.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    /// Of a strip.
    rows: Range<usize>,
    pub(super) place: Place,
}

/// Inputs to be added up, step by step, strip by strip and row by row. Made again and again, they keep their memory.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// `(row · columns of a strip + column) · inputs of a position + input of the position`, times the bytes of a row of weights, as
    /// often as it counts.
    inputs: Vec<u32>,
    /// Where the entries of each step and row of a strip begin, `[T · strips · rows + 1]`.
    starts: Vec<u32>,
    /// Of all strips.
    n_rows: usize,
    is_empty: bool,
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
pub(crate) struct Lists {
    /// That they are of.
    pub(super) layer: u64,
    counts: Vec<Vec<Counts>>,
}

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
        let ranges = &self.counts[connection];
        &ranges[block.min(ranges.len() - 1)]
    }
}

impl Entries {
    /// Entries of a step.
    #[inline(always)]
    pub(super) fn at(&self, step: usize, slice: &Slice) -> &[u32] {
        let first = step * self.n_rows;
        let [start, end] = [slice.rows.start, slice.rows.end].map(|row| self.starts[first + row]);
        &self.inputs[start as usize..end as usize]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    fn clear(&mut self) {
        self.is_empty = true;
    }

    /// Lists inputs, each as often as it counts.
    #[inline(always)]
    fn list<S: Simd>(&mut self, simd: S, counts: &Planes, runs: &[Run], pitch: u32) {
        self.is_empty = counts.n_planes() == 0;
        if self.is_empty {
            return;
        }
        self.n_rows = runs.iter().filter(|run| run.ends_row).count();
        let Self { inputs, starts, n_rows, .. } = self;
        starts.resize(starts.len().max(counts.n_steps * *n_rows + 1), 0);
        let (mut end, mut starts) = (0, starts[1..].iter_mut());
        for step in 0..counts.n_steps {
            for run in runs {
                // An input counts up to 2ᵈᵉᵖᵗʰ − 1 times, and more is written than listed.
                let most = end + ((run.len + 64) << counts.n_planes()) + LANES;
                if inputs.len() < most {
                    inputs.resize(2 * most, 0);
                }
                run.list(simd, counts, step, pitch, inputs, &mut end);
                if run.ends_row {
                    *starts.next().expect("as many as there are rows") = end as u32;
                }
            }
        }
    }
}

impl Run {
    /// - `end`: of the entries so far
    #[inline(always)]
    fn list<S: Simd>(&self, simd: S, counts: &Planes, step: usize, pitch: u32, entries: &mut [u32], end: &mut usize) {
        for offset in (0..self.len).step_by(64) {
            let (first, n) = (self.first + offset, (self.len - offset).min(64));
            let entry = [self.entry + offset as u32 * pitch, pitch];
            let bits = bits_of(counts.plane(step, 0), first, n);
            *end += list_bits(simd, bits, n, entry, 1, &mut entries[*end..]);
            if counts.n_planes() == 1 || bits_of(counts.higher(step), first, n) == 0 {
                continue;
            }
            for plane in 1..counts.n_planes() {
                let bits = bits_of(counts.plane(step, plane), first, n);
                *end += list_bits(simd, bits, n, entry, 1 << plane, &mut entries[*end..]);
            }
        }
    }
}

impl Input {
    /// - `pitch`: bytes of a row of weights
    pub(super) fn new(wiring: &Wiring, sites: Sites, pitch: u32) -> Self {
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
        let (source, max_pools, has_long_lists) = (wiring.source, max_pools(wiring), kernel.is_dense());
        let input = Self { source, max_pools, sums, kernel, pooled, has_long_lists, ranges, runs: Vec::new(), pitch };
        let runs = input.ranges.iter().map(|range| {
            let mut runs = Vec::new();
            for (strip, row) in (0..sites.n_columns()).flat_map(|strip| (0..height).map(move |row| (strip, row))) {
                let (start, columns) = input.strip(sites, strip);
                let last = columns.end.wrapping_sub(1);
                let run = |column: usize, n_columns: usize, ends_row: bool| {
                    let column_of_strip = (column as isize - start) as usize;
                    Run {
                        row: strip * height + row,
                        first: (row * width + column) * channels + range.start,
                        len: n_columns * range.len(),
                        entry: u32::try_from(
                            (row * input.span(sites) + column_of_strip) * range.len() * pitch as usize,
                        )
                        .expect("less than 4 GiB of weights for a few neurons"),
                        ends_row,
                    }
                };
                if range.len() == channels || columns.is_empty() {
                    runs.push(run(columns.start.max(start.max(0) as usize), columns.len(), true));
                } else {
                    // Between them lie inputs that the block does not see.
                    runs.extend(columns.map(|column| run(column, 1, column == last)));
                }
            }
            runs
        });
        let runs = runs.collect();
        Self { runs, ..input }
    }

    /// Where a strip's columns begin, in the padding perhaps, and those that there are.
    fn strip(&self, sites: Sites, column: usize) -> (isize, Range<usize>) {
        let start = (column * sites.group * self.kernel.stride) as isize - self.kernel.padding as isize;
        let width = self.kernel.input[2] as isize;
        let end = (start + self.span(sites) as isize).clamp(0, width);
        (start, start.clamp(0, end) as usize..end as usize)
    }

    /// Columns of inputs that a site covers.
    fn span(&self, sites: Sites) -> usize {
        (sites.group - 1) * self.kernel.stride + self.kernel.size
    }

    /// Rows of weights from a column that a kernel begins at to that of the next position.
    pub(super) fn stride(&self, block: usize) -> usize {
        self.kernel.stride * self.range(block).len()
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

    /// The inputs that a site reads.
    ///
    /// - `first_row`: of the block's weights for this connection
    pub(super) fn slice(&self, sites: Sites, [row, column]: [usize; 2], block: usize, first_row: usize) -> Slice {
        let Kernel { size, stride, padding, input: [_, height, _], .. } = self.kernel;
        let start = (row * stride) as isize - padding as isize;
        let end = (start + size as isize).clamp(0, height as isize) as usize;
        let rows = start.clamp(0, end as isize) as usize..end;
        // An entry counts from the first row of the input, a row of weights from the first that the site reads.
        let before = start * (self.span(sites) * self.range(block).len()) as isize;
        let bytes = |rows: isize| rows * self.pitch as isize;
        let place =
            Place { first: bytes(first_row as isize - before), stride: self.stride(block) * self.pitch as usize };
        let strip = column * height;
        Slice { rows: strip + rows.start..strip + rows.end, place }
    }

    /// The least and the greatest entry of a slice, if it may have any.
    pub(super) fn bounds(&self, block: usize, slice: &Slice) -> impl Iterator<Item = [u32; 2]> {
        let runs = &self.runs[block.min(self.runs.len() - 1)];
        let [first, end] = [slice.rows.start, slice.rows.end].map(|row| runs.partition_point(|run| run.row < row));
        let read = runs[first..end].iter().filter(|run| run.len > 0);
        read.map(|run| [run.entry, run.entry + (run.len - 1) as u32 * self.pitch])
    }

    #[inline(always)]
    fn list<S: Simd>(
        &self,
        simd: S,
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
                base.list(simd, &centred.base, runs, self.pitch);
                above.list(simd, &centred.above, runs, self.pitch);
                below.list(simd, &centred.below, runs, self.pitch);
            } else {
                base.clear();
                above.list(simd, counts, runs, self.pitch);
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
    fn with_simd<S: Simd>(self, simd: S) {
        let n = self.inputs.len();
        self.lists.counts.resize_with(n, Vec::new);
        self.pools.0.resize_with(n, Vec::new);
        for ((input, pools), lists) in self.inputs.iter().zip(&mut self.pools.0).zip(&mut self.lists.counts) {
            input.list(simd, self.spikes, pools, self.scratch, lists);
        }
    }
}
