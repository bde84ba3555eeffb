//! What a layer adds up of one sample: lists of inputs, step by step, that stand for rows of weights.
//!
//! Spikes go through average pools as bits, hundreds at a time, and become counts. Where the counts that a fully connected layer
//! reads stay near their mean, the mean is listed once, for all steps, and at each step only what differs from it
//! ([`crate::planes`]): a pixel that spikes nine times out of ten costs as much as one that spikes once. Sums are exact, so this
//! changes none of them. Sites of a convolution read short lists, of which two cost more than one twice as long.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::gather::Sites;
use crate::patterns::Rows;
use crate::planes::{Centred, Planes, SumPools};
use crate::simd::{LANES, Place, list_bits, list_counts};
use snn::pool::{MaxPoolState, Windows, max_pooled, max_pools};
use snn::spikes::{SpikeTrain, word_from};
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
    /// Where the inputs of each range are found: strip by strip, row by row.
    runs: Vec<Vec<Run>>,
    /// Of the only range, where strips overlap much.
    segments: Option<Segments>,
    /// Bytes of a row of weights.
    pitch: u32,
    /// Of each range, bytes from the weights times a factor to those times the next.
    per_factor: Vec<u32>,
    factors: Factors,
}

/// What an input's weights are multiplied with, each in rows of its own.
#[derive(Debug, Clone, Copy)]
enum Factors {
    /// Powers of two: a count is listed once for each of so many binary digits that is set.
    Digits(usize),
    /// Numbers up to this: a count is listed once.
    Values(usize),
    /// None: an entry says how many times its rows are added, up to this often.
    OfEntries(usize),
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
}

/// Most bytes of the rows of weights of inputs that are listed by their values: with more, they would not stay in the second-level
/// cache, and there are fewer rows by digit.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Binary digits of the greatest value.
const VALUE_DIGITS: usize = 3;

/// Up to 64 inputs whose bits lie side by side.
#[derive(Debug)]
struct Run {
    /// First bit and number of bits.
    first: usize,
    len: usize,
    /// Of as many bits.
    mask: u64,
    /// Entry of the first bit.
    entry: u32,
    /// Row of its strip, counted through all strips.
    row: usize,
    /// Whether what is told apart ends here: a row of a strip, or a segment.
    ends: bool,
}

/// Rows of inputs cut where strips begin and end, so that what strips share is listed once and copied.
#[derive(Debug)]
struct Segments {
    /// Row by row; entries as if the strips began at the first column.
    runs: Vec<Run>,
    /// Of each strip, which segments of a row it has, and what its entries differ by.
    strips: Vec<(Range<usize>, u32)>,
    /// Rows, and segments of a row.
    n_rows: usize,
    n: usize,
}

/// Inputs that are listed one after another, and where the rows of their weights are.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    /// Of a strip.
    rows: Range<usize>,
    pub(super) place: Place,
    /// Whether entries say how many times their rows are added.
    pub(super) has_factors: bool,
}

/// Inputs to be added up, step by step, strip by strip and row by row. Made again and again, they keep their memory.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// `(row · columns of a strip + column) · inputs of a position + input of the position`, times the bytes of a row of weights. For
    /// each binary digit of a count that is set, the input is listed once, among the rows of as many times its weights.
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
    /// Instead, of a layer that looks sums up.
    pub(super) rows: Rows,
}

/// Memory to make lists in.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    counts: Planes,
    other: Planes,
    centred: Centred,
    /// A step's entries, segment by segment, and where those of each begin.
    listed: (Vec<u32>, Vec<u32>),
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

impl Counts {
    /// Whether nothing arrives by a slice at any step.
    #[inline(always)]
    pub(super) fn is_silent(&self, slice: &Slice, n_steps: usize) -> bool {
        let Self { base, above, below } = self;
        base.is_empty && above.is_silent(slice, n_steps) && below.is_silent(slice, n_steps)
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

    /// Whether a slice has no entry at any step.
    #[inline(always)]
    pub(super) fn is_silent(&self, slice: &Slice, n_steps: usize) -> bool {
        let starts = |step: usize, row: usize| self.starts[step * self.n_rows + row];
        self.is_empty || (0..n_steps).all(|step| starts(step, slice.rows.start) == starts(step, slice.rows.end))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    fn clear(&mut self) {
        self.is_empty = true;
    }

    /// Makes room for the starts of new lists, unless there is nothing to list.
    ///
    /// - `n_rows`: of all strips
    #[inline(always)]
    fn renew(&mut self, counts: &Planes, n_rows: usize) {
        (self.is_empty, self.n_rows) = (counts.n_planes() == 0, n_rows);
        self.starts.resize(self.starts.len().max(counts.n_steps * n_rows + 1), 0);
    }

    /// Lists inputs, by copies where there are segments.
    #[inline(always)]
    fn list_all<S: Simd>(
        &mut self,
        simd: S,
        terms: &impl Terms,
        runs: &[Run],
        segments: Option<&Segments>,
        listed: &mut (Vec<u32>, Vec<u32>),
    ) {
        match segments {
            Some(segments) => segments.list(simd, terms, listed, self),
            None => self.list(simd, terms, runs),
        }
    }

    /// Lists each input whose count is not zero once.
    #[inline(always)]
    fn list_values<S: Simd>(
        &mut self,
        simd: S,
        counts: &Planes,
        pitches: ValuePitches,
        runs: &[Run],
        segments: Option<&Segments>,
        listed: &mut (Vec<u32>, Vec<u32>),
    ) {
        match counts.n_planes() {
            0 => self.clear(),
            1 => self.list_all(simd, &Values::<1> { counts, pitches }, runs, segments, listed),
            2 => self.list_all(simd, &Values::<2> { counts, pitches }, runs, segments, listed),
            VALUE_DIGITS => self.list_all(simd, &Values::<VALUE_DIGITS> { counts, pitches }, runs, segments, listed),
            n => unreachable!("{n} digits of values of up to {VALUE_DIGITS}"),
        }
    }

    /// Lists inputs.
    #[inline(always)]
    fn list<S: Simd>(&mut self, simd: S, terms: &impl Terms, runs: &[Run]) {
        self.renew(terms.counts(), runs.iter().filter(|run| run.ends).count());
        if self.is_empty {
            return;
        }
        let Self { inputs, starts, .. } = self;
        let (mut end, mut starts) = (0, starts[1..].iter_mut());
        let room = room(runs, terms);
        for step in 0..terms.counts().n_steps {
            let step = terms.step(step);
            make_room(inputs, end + room);
            for run in runs {
                end += terms.list(simd, &step, run, &mut inputs[end..]);
                if run.ends {
                    *starts.next().expect("as many as there are rows") = end as u32;
                }
            }
        }
    }
}

/// What is written at a time may lie behind the last entry.
const ROOM: &str = "room for the lanes behind the last";

impl Segments {
    /// `None` if that would be more to do than to list every strip.
    ///
    /// - `strips`: first column, perhaps in the padding, and those that there are
    /// - `n_rows`, `n_columns`, `n_channels`: of the inputs
    /// - `span`: columns that a site covers
    fn new(
        strips: &[(isize, Range<usize>)],
        [n_channels, n_rows, n_columns]: [usize; 3],
        span: usize,
        pitch: u32,
    ) -> Option<Self> {
        let mut cuts: Vec<usize> = strips.iter().flat_map(|(_, columns)| [columns.start, columns.end]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let parts = |columns: usize| (columns * n_channels).div_ceil(LANES);
        let apart: usize = strips.iter().map(|(_, columns)| parts(columns.len())).sum();
        let together: usize = cuts.windows(2).map(|cut| parts(cut[1] - cut[0])).sum();
        // A copy costs as much as a part of a list.
        if together + strips.len() >= apart {
            return None;
        }
        let entry = |column: usize| ((column * n_channels) as u32).wrapping_mul(pitch);
        let runs = (0..n_rows).flat_map(|row| {
            cuts.windows(2).flat_map(move |cut| {
                let (first, len) = ((row * n_columns + cut[0]) * n_channels, (cut[1] - cut[0]) * n_channels);
                Run::split(row, first..first + len, entry(row * span + cut[0]), pitch, true)
            })
        });
        let segment = |column: usize| cuts.binary_search(&column).expect("strips are cut where they begin and end");
        let strips = strips.iter().map(|(start, columns)| {
            (
                segment(columns.start)..segment(columns.end),
                (*start * n_channels as isize * pitch as isize).wrapping_neg() as u32,
            )
        });
        Some(Self { runs: runs.collect(), strips: strips.collect(), n_rows, n: cuts.len() - 1 })
    }

    /// [`Entries::list`] by copies.
    #[inline(always)]
    fn list<S: Simd>(
        &self,
        simd: S,
        terms: &impl Terms,
        (listed, cuts): &mut (Vec<u32>, Vec<u32>),
        entries: &mut Entries,
    ) {
        entries.renew(terms.counts(), self.strips.len() * self.n_rows);
        if entries.is_empty {
            return;
        }
        let Entries { inputs, starts, .. } = entries;
        cuts.resize(self.n_rows * self.n + 1, 0);
        let (mut end, mut starts) = (0, starts[1..].iter_mut());
        make_room(listed, room(&self.runs, terms));
        for step in 0..terms.counts().n_steps {
            let step = terms.step(step);
            let (mut end_of_listed, mut ends) = (0, cuts[1..].iter_mut());
            for run in &self.runs {
                end_of_listed += terms.list(simd, &step, run, &mut listed[end_of_listed..]);
                if run.ends {
                    *ends.next().expect("as many as there are segments") = end_of_listed as u32;
                }
            }
            for &(Range { start, end: behind }, offset) in &self.strips {
                for cuts in cuts.windows(self.n + 1).step_by(self.n) {
                    let [first, behind] = [start, behind].map(|segment| cuts[segment] as usize);
                    let n = behind - first;
                    make_room(inputs, end + n + LANES);
                    // More is copied than there is: what is behind the last entry is written over.
                    for at in (0..n).step_by(LANES) {
                        let mut lanes = *listed[first + at..].first_chunk::<LANES>().expect(ROOM);
                        for lane in 0..LANES {
                            lanes[lane] = lanes[lane].wrapping_add(offset);
                        }
                        *inputs[end + at..].first_chunk_mut().expect(ROOM) = lanes;
                    }
                    end += n;
                    *starts.next().expect("as many as there are rows") = end as u32;
                }
            }
        }
    }
}

/// Entries that a step's lists of runs may have, and what is written behind the last.
fn room(runs: &[Run], terms: &impl Terms) -> usize {
    runs.iter().map(|run| run.len).sum::<usize>() * terms.n_per_input() + 64 + LANES
}

#[inline(always)]
fn make_room(entries: &mut Vec<u32>, n: usize) {
    if entries.len() < n {
        entries.resize(2 * n, 0);
    }
}

/// How inputs with a count become entries.
trait Terms {
    /// What is read of a step.
    type Step;
    fn counts(&self) -> &Planes;
    /// Entries that an input may have.
    fn n_per_input(&self) -> usize;
    fn step(&self, step: usize) -> Self::Step;
    /// Lists what is there of a run, and returns how many entries that is.
    ///
    /// - `entries`: with [`room`]
    fn list<S: Simd>(&self, simd: S, step: &Self::Step, run: &Run, entries: &mut [u32]) -> usize;
}

/// An entry for each binary digit that is set.
struct Digits<'a> {
    counts: &'a Planes,
    /// Bytes of a row of weights, and of all rows of a digit.
    pitches: [u32; 2],
}

/// The counts of a step, digit by digit.
struct DigitsStep<'a> {
    at: usize,
    lowest: &'a [u64],
    /// Where any other digit is set; `None` if there are no others.
    higher: Option<&'a [u64]>,
}

impl<'a> Terms for Digits<'a> {
    type Step = DigitsStep<'a>;

    #[inline(always)]
    fn counts(&self) -> &Planes {
        self.counts
    }

    fn n_per_input(&self) -> usize {
        self.counts.n_planes()
    }

    #[inline(always)]
    fn step(&self, step: usize) -> DigitsStep<'a> {
        let higher = (self.counts.n_planes() > 1).then(|| self.counts.higher(step));
        DigitsStep { at: step, lowest: self.counts.plane(step, 0), higher }
    }

    #[inline(always)]
    fn list<S: Simd>(&self, simd: S, step: &DigitsStep<'a>, run: &Run, entries: &mut [u32]) -> usize {
        let ([pitch, per_digit], &Run { len, entry, .. }) = (self.pitches, run);
        let mut end = 0;
        let bits = run.bits(step.lowest);
        // Few bits are often none, and rightly guessed to be.
        if bits != 0 || len > LANES {
            end += list_bits(simd, bits, [], len, [entry, pitch], entries);
        }
        if step.higher.is_none_or(|higher| run.bits(higher) == 0) {
            return end;
        }
        for plane in 1..self.counts.n_planes() {
            let bits = run.bits(self.counts.plane(step.at, plane));
            let entry = entry + plane as u32 * per_digit;
            end += list_bits(simd, bits, [], len, [entry, pitch], &mut entries[end..]);
        }
        end
    }
}

/// One entry for each input whose count is not zero.
///
/// `D`: binary digits of counts
struct Values<'a, const D: usize> {
    counts: &'a Planes,
    pitches: ValuePitches,
}

/// How far entries lie apart.
#[derive(Debug, Clone, Copy)]
struct ValuePitches {
    /// Of neighbouring inputs: bytes of a row of weights.
    input: u32,
    /// Of a count and the next.
    value: u32,
    /// From an input's to that of a count of zero, if there were one.
    zero: u32,
}

impl<'a, const D: usize> Terms for Values<'a, D> {
    /// Digits, lowest first.
    type Step = [&'a [u64]; D];

    #[inline(always)]
    fn counts(&self) -> &Planes {
        self.counts
    }

    fn n_per_input(&self) -> usize {
        1
    }

    #[inline(always)]
    fn step(&self, step: usize) -> Self::Step {
        let n = self.counts.plane(step, 0).len();
        // Cut to a length that the compiler knows to be the same, so that it looks once whether a word is there.
        std::array::from_fn(|digit| &self.counts.plane(step, digit)[..n])
    }

    #[inline(always)]
    fn list<S: Simd>(&self, simd: S, step: &Self::Step, run: &Run, entries: &mut [u32]) -> usize {
        let (ValuePitches { input, value, zero }, &Run { len, entry, .. }) = (self.pitches, run);
        // Closures would not always be inlined.
        let (mut digits, mut present) = ([0; D], 0);
        for digit in 0..D {
            digits[digit] = run.bits(step[digit]);
            present |= digits[digit];
        }
        if present == 0 && len <= LANES {
            return 0;
        }
        if (value, zero) == (1, 0) {
            return list_counts(simd, digits, len, [entry, input], entries);
        }
        let mut terms = [(0, 0); D];
        for digit in 0..D {
            terms[digit] = (digits[digit], value << digit);
        }
        list_bits(simd, present, terms, len, [entry.wrapping_add(zero), input], entries)
    }
}

impl Run {
    /// Inputs of any number, 64 at a time; none are one run.
    ///
    /// - `entry`: of the first bit
    /// - `ends`: whether what is told apart ends with them
    fn split(row: usize, bits: Range<usize>, entry: u32, pitch: u32, ends: bool) -> Vec<Self> {
        let run = |offset: usize| {
            let len = (bits.len() - offset).min(64);
            Self {
                // Of none, bits that there are.
                first: if len == 0 { 0 } else { bits.start + offset },
                len,
                mask: u64::MAX.checked_shr(64 - len as u32).unwrap_or(0),
                entry: entry.wrapping_add((offset as u32).wrapping_mul(pitch)),
                row,
                ends: ends && offset + len == bits.len(),
            }
        };
        (0..bits.len().max(1)).step_by(64).map(run).collect()
    }

    /// Its bits.
    #[inline(always)]
    fn bits(&self, words: &[u64]) -> u64 {
        word_from(words, self.first, self.len) & self.mask
    }
}

impl Strips {
    /// A strip for each column of sites: what they read.
    ///
    /// - `has_factors`: whether entries say how many times their rows are added, if that is little
    pub(super) fn of_sites(kernel: &Kernel, sites: Sites, has_factors: bool) -> Self {
        Self {
            n: sites.n_columns(),
            first: -(kernel.padding as isize),
            step: sites.group * kernel.stride,
            span: (sites.group - 1) * kernel.stride + kernel.size,
            has_factors,
        }
    }

    /// A strip for each column of inputs.
    pub(super) fn of_columns(kernel: &Kernel) -> Self {
        Self { n: kernel.input[2], first: 0, step: 1, span: 1, has_factors: true }
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
        let (source, max_pools, has_long_lists) = (wiring.source.index(), max_pools(wiring), kernel.is_dense());
        let multiplicity = wiring.multiplicity();
        let input = Self {
            source,
            max_pools,
            sums,
            kernel,
            strips,
            pooled,
            has_long_lists,
            ranges,
            runs: Vec::new(),
            segments: None,
            pitch,
            per_factor: Vec::new(),
            factors: Factors::Digits((usize::BITS - multiplicity.leading_zeros()) as usize),
        };
        let rows_per_factor = |range: &Range<usize>| {
            let before = (n_positions - 1) * kernel.stride * range.len();
            before + kernel.size * strips.span * range.len()
        };
        let bytes =
            |rows: usize| u32::try_from(rows * pitch as usize).expect("less than 4 GiB of weights for a few neurons");
        let per_factor: Vec<u32> = input.ranges.iter().map(|range| bytes(rows_per_factor(range))).collect();
        let most: usize = per_factor.iter().map(|&bytes| bytes as usize).max().unwrap_or(0);
        let by_value = !kernel.is_dense() && multiplicity < 1 << VALUE_DIGITS && multiplicity * most <= MAX_VALUE_BYTES;
        let factors = if strips.has_factors && multiplicity > 1 && multiplicity < 1 << VALUE_DIGITS {
            Factors::OfEntries(multiplicity)
        } else if by_value {
            Factors::Values(multiplicity)
        } else {
            input.factors
        };
        let runs = input.ranges.iter().map(|range| {
            let mut runs = Vec::new();
            for (strip, row) in (0..strips.n).flat_map(|strip| (0..height).map(move |row| (strip, row))) {
                let (start, columns) = input.strip(strip);
                let last = columns.end.wrapping_sub(1);
                let run = |column: usize, n_columns: usize, ends_row: bool| {
                    let column_of_strip = (column as isize - start) as usize;
                    let first = (row * width + column) * channels + range.start;
                    let entry = bytes((row * strips.span + column_of_strip) * range.len());
                    Run::split(strip * height + row, first..first + n_columns * range.len(), entry, pitch, ends_row)
                };
                if range.len() == channels || columns.is_empty() {
                    runs.extend(run(columns.start.max(start.max(0) as usize), columns.len(), true));
                } else {
                    // Between them lie inputs that the block does not see.
                    runs.extend(columns.flat_map(|column| run(column, 1, column == last)));
                }
            }
            runs
        });
        let runs = runs.collect();
        let columns: Vec<_> = (0..strips.n).map(|strip| input.strip(strip)).collect();
        let is_whole = input.ranges.len() == 1;
        let segments = is_whole.then(|| Segments::new(&columns, kernel.input, strips.span, pitch)).flatten();
        Self { runs, segments, per_factor, factors, ..input }
    }

    /// Where a strip's columns begin, in the padding perhaps, and those that there are.
    fn strip(&self, strip: usize) -> (isize, Range<usize>) {
        let Strips { first, step, span, .. } = self.strips;
        let start = (strip * step) as isize + first;
        let end = (start + span as isize).clamp(0, self.kernel.input[2] as isize);
        (start, start.clamp(0, end) as usize..end as usize)
    }

    /// Whether entries say how many times their rows are added.
    pub(super) fn has_factors(&self) -> bool {
        matches!(self.factors, Factors::OfEntries(_))
    }

    /// Columns of the kernel's input.
    pub(super) fn width(&self) -> usize {
        self.kernel.input[2]
    }

    /// Rows of weights from a column that a kernel begins at to that of the next position.
    pub(super) fn stride(&self, block: usize) -> usize {
        self.kernel.stride * self.range(block).len()
    }

    /// What the weights are multiplied with, in the order of their rows.
    pub(super) fn factors(&self) -> Vec<f32> {
        match self.factors {
            Factors::Digits(n) => (0..n).map(|digit| 2_f32.powi(digit as i32)).collect(),
            Factors::Values(most) => (1..=most).map(|value| value as f32).collect(),
            Factors::OfEntries(_) => vec![1.0],
        }
    }

    fn range(&self, block: usize) -> &Range<usize> {
        &self.ranges[block.min(self.ranges.len() - 1)]
    }

    /// Rows of weights of a block, as row and column of the kernel's window and input of the position.
    pub(super) fn rows(&self, block: usize) -> impl Iterator<Item = [usize; 3]> {
        let (span, n_listed) = (self.strips.span, self.range(block).len());
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

    /// The inputs of a strip that a row of sites reads.
    ///
    /// - `first_row`: of the block's weights for this connection
    pub(super) fn slice(&self, [row, strip]: [usize; 2], block: usize, first_row: usize) -> Slice {
        let Kernel { size, stride, padding, input: [_, height, _], .. } = self.kernel;
        let start = (row * stride) as isize - padding as isize;
        let end = (start + size as isize).clamp(0, height as isize) as usize;
        let rows = start.clamp(0, end as isize) as usize..end;
        // An entry counts from the first row of the input, a row of weights from the first that the site reads.
        let before = start * (self.strips.span * self.range(block).len()) as isize;
        let bytes = |rows: isize| rows * self.pitch as isize;
        let place =
            Place { first: bytes(first_row as isize - before), stride: self.stride(block) * self.pitch as usize };
        let strip = strip * height;
        Slice { rows: strip + rows.start..strip + rows.end, place, has_factors: self.has_factors() }
    }

    /// The least and the greatest entry of each run of a slice, for each factor.
    pub(super) fn bounds(&self, block: usize, slice: &Slice) -> impl Iterator<Item = [u32; 2]> {
        let range = block.min(self.runs.len() - 1);
        let (runs, per_factor) = (&self.runs[range], self.per_factor[range]);
        let n_factors = self.factors().len() as u32;
        let [first, end] = [slice.rows.start, slice.rows.end].map(|row| runs.partition_point(|run| run.row < row));
        let read = runs[first..end].iter().filter(|run| run.len > 0);
        read.flat_map(move |run| {
            (0..n_factors).map(move |factor| {
                let least = run.entry + factor * per_factor;
                [least, least + (run.len - 1) as u32 * self.pitch]
            })
        })
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
        let Scratch { counts, other, centred, listed } = scratch;
        match &self.sums {
            None => counts.copy(train),
            Some(sums) => counts.sum(simd, train, sums, other),
        }
        let is_centred = match self.factors {
            Factors::Digits(n_digits) => {
                let is_centred = self.has_long_lists && counts.centre(centred);
                let n_planes = if is_centred { centred.n_planes() } else { counts.n_planes() };
                assert!(n_planes <= n_digits, "{MOST}");
                is_centred
            }
            Factors::Values(most) | Factors::OfEntries(most) => {
                assert!(counts.are_at_most(most), "{MOST}");
                self.has_long_lists && counts.centre(centred)
            }
        };
        let (planes, segments) = if is_centred {
            ([Some(&centred.base), Some(&centred.above), Some(&centred.below)], None)
        } else {
            ([None, Some(&*counts), None], self.segments.as_ref())
        };
        for ((runs, &per_factor), Counts { base, above, below }) in self.runs.iter().zip(&self.per_factor).zip(lists) {
            let [value, zero] = if self.has_factors() { [1, 0] } else { [per_factor, per_factor.wrapping_neg()] };
            let pitches = ValuePitches { input: self.pitch, value, zero };
            // One call for the three: each is inlined, with all that it calls, at every SIMD level.
            for (entries, counts) in [base, above, below].into_iter().zip(planes) {
                let Some(counts) = counts else {
                    entries.clear();
                    continue;
                };
                if let Factors::Digits(_) = self.factors {
                    let terms = Digits { counts, pitches: [self.pitch, per_factor] };
                    entries.list_all(simd, &terms, runs, segments, listed);
                } else {
                    entries.list_values(simd, counts, pitches, runs, segments, listed);
                }
            }
        }
    }
}

/// Counts are at most what pools add up.
const MOST: &str = "counts of which there are rows of weights";

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

#[cfg(test)]
mod tests {
    use model::population::{Pool, PoolKind};
    use proptest::prelude::*;
    use pulp::Scalar;

    use super::*;

    /// Entries of a step and row of a strip, in order.
    fn row(entries: &Entries, step: usize, row: usize) -> Vec<u32> {
        let slice = Slice { rows: row..row + 1, place: Place { first: 0, stride: 0 }, has_factors: false };
        let mut found = entries.at(step, &slice).to_vec();
        found.sort_unstable();
        found
    }

    /// What is listed strip by strip, and copied from lists of segments.
    fn both_ways(terms: &impl Terms, input: &Input) -> (Entries, Entries) {
        let (simd, segments) = (Scalar::new(), input.segments.as_ref().expect("strips that overlap"));
        let (mut listed, mut copied) = (Entries::default(), Entries::default());
        listed.list(simd, terms, &input.runs[0]);
        segments.list(simd, terms, &mut (Vec::new(), Vec::new()), &mut copied);
        (listed, copied)
    }

    proptest! {
        #[test]
        fn strips_are_the_same_copied_and_listed(
            (channels, height, width) in (1..70_usize, 1..9_usize, 1..9_usize), out in 1..100_usize, size in 1..6_usize,
            (stride, padding) in (1..4_usize, 0..4_usize), pooled in any::<bool>(), by_value in any::<bool>(),
            seed in any::<u64>(),
        ) {
            prop_assume!(height.min(width) + 2 * padding >= size);
            let pools = if pooled { vec![Pool { kind: PoolKind::Mean, kernel: [2, 2], stride: [1, 1] }] } else { Vec::new() };
            let source_shape = if pooled { [channels, height + 1, width + 1] } else { [channels, height, width] };
            let kernel = Kernel { input: [channels, height, width], channels: out, size, stride, padding, groups: 1 };
            let wiring = Wiring { source: snn::Source::INPUT, source_shape, pools, kernel };
            let sites = Sites::new(kernel.output());
            let input = Input::new(&wiring, sites, Strips::of_sites(&kernel, sites, false), 1, 64);
            if input.segments.is_none() {
                return Ok(());
            }
            let mut train = SpikeTrain::silent(source_shape, 3);
            let n = train.n_neurons();
            for (step, neuron) in (0..3).flat_map(|step| (0..n).map(move |neuron| (step, neuron))) {
                let mixed = (seed ^ (step * 100_000 + neuron) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                if mixed >> 62 == 0 {
                    train.add(step, neuron);
                }
            }
            let simd = Scalar::new();
            let mut counts = Planes::default();
            match &input.sums {
                None => counts.copy(&train),
                Some(sums) => counts.sum(simd, &train, sums, &mut Planes::default()),
            }
            let [pitch, per_factor] = [input.pitch, input.per_factor[0]];
            let values = ValuePitches { input: pitch, value: per_factor, zero: per_factor.wrapping_neg() };
            let (listed, copied) = match (by_value, counts.n_planes()) {
                (true, 1) => both_ways(&Values::<1> { counts: &counts, pitches: values }, &input),
                (true, 2) => both_ways(&Values::<2> { counts: &counts, pitches: values }, &input),
                (true, 3) => both_ways(&Values::<3> { counts: &counts, pitches: values }, &input),
                _ => both_ways(&Digits { counts: &counts, pitches: [pitch, per_factor] }, &input),
            };
            prop_assert_eq!((listed.is_empty, listed.n_rows), (copied.is_empty, copied.n_rows));
            for (step, strip_row) in (0..counts.n_steps).flat_map(|step| (0..listed.n_rows).map(move |row| (step, row))) {
                if !listed.is_empty {
                    prop_assert_eq!(row(&listed, step, strip_row), row(&copied, step, strip_row));
                }
            }
        }
    }
}
