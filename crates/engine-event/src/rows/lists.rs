//! Lists of inputs, step by step: each entry stands for the rows of weights of an input that spiked.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pulp::Simd;
use snn::spikes::word_from;

use super::table::FACTORS;
use crate::planes::Planes;
use crate::simd::{LANES, list_bits, list_counts};

/// Layouts that have been made, for their numbers; no layout has the number 0.
static N_LAYOUTS: AtomicU64 = AtomicU64::new(1);

/// How the inputs of a connection are listed that a block of sites sees.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Number of this layout and of no other.
    id: u64,
    /// Strip by strip, row by row.
    runs: Vec<Run>,
    /// The same, where strips overlap much.
    segments: Option<Segments>,
    /// Rows of a strip.
    n_rows: usize,
    /// Bytes of an input's rows of weights.
    pitch: u32,
    /// Bytes from the weights times a factor to those times the next.
    per_factor: u32,
    factors: Factors,
    /// Of each row of any strip: the least and the greatest entry that is ever listed, without how many times it is added; `None`
    /// where there are no inputs.
    bounds: Vec<Option<[u32; 2]>>,
}

/// What an input's weights are multiplied with, each in rows of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Factors {
    /// Powers of two: a count is listed once for each of so many binary digits that is set.
    Digits(usize),
    /// Numbers up to this: a count is listed once.
    Values(usize),
    /// None: an entry says how many times its rows are added, up to this often.
    OfEntries(usize),
}

/// Binary digits of the greatest value.
pub(crate) const VALUE_DIGITS: usize = 3;

/// Up to 64 inputs whose bits lie side by side.
#[derive(Debug)]
pub(crate) struct Run {
    /// First bit and number of bits.
    first: usize,
    len: usize,
    /// Of as many bits.
    mask: u64,
    /// Entry of the first bit.
    entry: u32,
    /// Whether what is told apart ends here: a row of a strip, or a segment.
    ends: bool,
}

/// Rows of inputs cut where strips begin and end, so that what strips share is listed once and copied.
#[derive(Debug)]
pub(crate) struct Segments {
    /// Row by row; entries as if the strips began at the first column.
    runs: Vec<Run>,
    /// Of each strip, which segments of a row it has, and what its entries differ by.
    strips: Vec<(Range<usize>, u32)>,
    /// Rows, and segments of a row.
    n_rows: usize,
    n: usize,
}

/// Memory for the lists of segments: a step's entries, and where those of each segment begin.
#[derive(Debug, Default)]
pub(crate) struct SegmentLists {
    entries: Vec<u32>,
    starts: Vec<u32>,
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

/// What is added up of the inputs of one layout.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Number of the layout that listed them; 0 before that and while they are being made.
    layout: u64,
    /// Added at every step, listed as one step.
    base: Entries,
    /// Added at a step.
    above: Entries,
    /// Taken away at a step.
    below: Entries,
}

/// Counts are at most what pools add up.
const MOST: &str = "counts of which there are rows of weights";

impl Layout {
    /// - `n_rows`: of a strip
    /// - `runs`: of each row of each strip, which end with its last
    /// - `segments`: of the same inputs
    /// - `pitch`: bytes of an input's rows of weights
    /// - `per_factor`: bytes from the weights times a factor to those times the next
    ///
    /// # Panics
    /// If entries would not lie a whole number of pitches apart, or beyond 4 GiB.
    pub(crate) fn new(
        n_rows: usize,
        runs: Vec<Run>,
        segments: Option<Segments>,
        pitch: u32,
        per_factor: u32,
        factors: Factors,
    ) -> Self {
        if let Factors::OfEntries(most) = factors {
            assert!(pitch.is_multiple_of(FACTORS) && most < FACTORS as usize, "room for factors in entries");
        }
        let id = N_LAYOUTS.fetch_add(1, Ordering::Relaxed);
        let mut layout = Self { id, runs, segments, n_rows, pitch, per_factor, factors, bounds: vec![None; n_rows] };
        let mut bounds = vec![None; n_rows];
        let mut row = 0;
        for run in &layout.runs {
            layout.widen(&mut bounds[row % n_rows], run, 0);
            row += usize::from(run.ends);
        }
        assert!(row.is_multiple_of(n_rows) && layout.runs.last().is_none_or(|run| run.ends), "strips of whole rows");
        if let Some(Segments { runs, strips, n_rows: of_segments, n }) = &layout.segments {
            assert!(*of_segments == n_rows && strips.len() * n_rows == row, "segments of the same strips");
            let mut segment = 0;
            for run in runs {
                for (_, offset) in strips.iter().filter(|(of_strip, _)| of_strip.contains(&(segment % n))) {
                    layout.widen(&mut bounds[segment / n], run, *offset);
                }
                segment += usize::from(run.ends);
            }
            assert!(segment == n * n_rows && strips.iter().all(|(of_strip, _)| of_strip.end <= *n), "rows of segments");
        }
        layout.bounds = bounds;
        layout
    }

    /// Widens bounds so that they hold all entries that a run may have.
    ///
    /// - `offset`: wrapping, of the strip
    fn widen(&self, bounds: &mut Option<[u32; 2]>, run: &Run, offset: u32) {
        if run.len == 0 {
            return;
        }
        let n_factors = match self.factors {
            Factors::Digits(n) | Factors::Values(n) => n,
            Factors::OfEntries(_) => 1,
        };
        let least = run.entry.wrapping_add(offset);
        assert!(least.is_multiple_of(self.pitch) && self.per_factor.is_multiple_of(self.pitch), "whole pitches apart");
        let further =
            (n_factors - 1) as u64 * u64::from(self.per_factor) + (run.len - 1) as u64 * u64::from(self.pitch);
        let greatest = u32::try_from(u64::from(least) + further).expect("less than 4 GiB of weights for a few neurons");
        // Factors are less than a pitch.
        assert!(greatest <= u32::MAX - self.pitch, "less than 4 GiB of weights for a few neurons");
        *bounds = Some(bounds.map_or([least, greatest], |[from, to]| [from.min(least), to.max(greatest)]));
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Rows of a strip.
    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Bytes of an input's rows of weights.
    pub(super) fn pitch(&self) -> u32 {
        self.pitch
    }

    /// The least and the greatest entry of each row, which are a whole number of pitches.
    pub(super) fn bounds(&self) -> &[Option<[u32; 2]>] {
        &self.bounds
    }

    /// Whether entries say how many times their rows are added.
    pub(crate) fn has_factors(&self) -> bool {
        matches!(self.factors, Factors::OfEntries(_))
    }

    /// Lists that hold nothing.
    pub(crate) fn clear(&self, counts: &mut Counts) {
        let Counts { layout, base, above, below } = counts;
        [base, above, below].into_iter().for_each(Entries::clear);
        *layout = self.id;
    }

    /// Lists inputs.
    ///
    /// - `planes`: counts of the inputs that are added at every step, those that are added at a step, and those that are taken away
    #[inline(always)]
    pub(crate) fn list<S: Simd>(
        &self,
        simd: S,
        planes: [Option<&Planes>; 3],
        listed: &mut SegmentLists,
        counts: &mut Counts,
    ) {
        let Counts { layout, base, above, below } = counts;
        *layout = 0;
        let [value, zero] = if self.has_factors() { [1, 0] } else { [self.per_factor, self.per_factor.wrapping_neg()] };
        let pitches = ValuePitches { input: self.pitch, value, zero };
        // One call for the three: each is inlined, with all that it calls, at every SIMD level.
        for (entries, counts) in [base, above, below].into_iter().zip(planes) {
            let Some(counts) = counts else {
                entries.clear();
                continue;
            };
            match self.factors {
                Factors::Digits(n_digits) => {
                    assert!(counts.n_planes() <= n_digits, "{MOST}");
                    self.list_all(simd, &Digits { counts, pitches: [self.pitch, self.per_factor] }, listed, entries);
                }
                Factors::Values(most) | Factors::OfEntries(most) => {
                    assert!(counts.are_at_most(most), "{MOST}");
                    self.list_values(simd, counts, pitches, listed, entries);
                }
            }
        }
        *layout = self.id;
    }

    /// Lists inputs, by copies where there are segments.
    #[inline(always)]
    fn list_all<S: Simd>(&self, simd: S, terms: &impl Terms, listed: &mut SegmentLists, entries: &mut Entries) {
        match &self.segments {
            Some(segments) => segments.list(simd, terms, listed, entries),
            None => entries.list(simd, terms, &self.runs),
        }
    }

    /// Lists each input whose count is not zero once.
    #[inline(always)]
    fn list_values<S: Simd>(
        &self,
        simd: S,
        counts: &Planes,
        pitches: ValuePitches,
        listed: &mut SegmentLists,
        entries: &mut Entries,
    ) {
        match counts.n_planes() {
            0 => entries.clear(),
            1 => self.list_all(simd, &Values::<1> { counts, pitches }, listed, entries),
            2 => self.list_all(simd, &Values::<2> { counts, pitches }, listed, entries),
            VALUE_DIGITS => self.list_all(simd, &Values::<VALUE_DIGITS> { counts, pitches }, listed, entries),
            n => unreachable!("{n} digits of values of up to {VALUE_DIGITS}"),
        }
    }
}

impl Counts {
    /// Number of the layout that listed them.
    #[inline(always)]
    pub(super) fn layout(&self) -> u64 {
        self.layout
    }

    #[inline(always)]
    pub(super) fn base(&self) -> &Entries {
        &self.base
    }

    #[inline(always)]
    pub(super) fn above(&self) -> &Entries {
        &self.above
    }

    #[inline(always)]
    pub(super) fn below(&self) -> &Entries {
        &self.below
    }
}

impl Entries {
    /// Entries of a step, of some rows of a strip.
    ///
    /// - `n_rows`: of a strip
    /// - `first`, `n`: the first row, and their number
    #[inline(always)]
    pub(super) fn at(&self, step: usize, strip: usize, n_rows: usize, [first, n]: [usize; 2]) -> &[u32] {
        let first = self.row(step, strip, n_rows) + first;
        let [start, end] = [first, first + n].map(|row| self.starts[row]);
        &self.inputs[start as usize..end as usize]
    }

    /// Whether some rows of a strip have no entry at any step; arguments as for [`Self::at`].
    #[inline(always)]
    pub(super) fn is_silent(&self, n_steps: usize, strip: usize, n_rows: usize, [first, n]: [usize; 2]) -> bool {
        let is_silent = |step: usize| {
            let first = self.row(step, strip, n_rows) + first;
            self.starts[first] == self.starts[first + n]
        };
        self.is_empty || (0..n_steps).all(is_silent)
    }

    /// Row of all steps and strips that a strip begins at.
    #[inline(always)]
    fn row(&self, step: usize, strip: usize, n_rows: usize) -> usize {
        // Where this wrapped around, it might be another row of a strip.
        step.strict_mul(self.n_rows).strict_add(strip.strict_mul(n_rows))
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    fn clear(&mut self) {
        self.is_empty = true;
        self.starts.clear();
    }

    /// Makes room for the starts of new lists, and for no more, unless there is nothing to list.
    ///
    /// - `n_rows`: of all strips
    #[inline(always)]
    fn renew(&mut self, counts: &Planes, n_rows: usize) {
        if counts.n_planes() == 0 {
            return self.clear();
        }
        (self.is_empty, self.n_rows) = (false, n_rows);
        self.starts.resize(counts.n_steps * n_rows + 1, 0);
        self.starts[0] = 0;
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
    pub(crate) fn new(
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
                Run::split(first..first + len, entry(row * span + cut[0]), pitch, true)
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
        SegmentLists { entries: listed, starts: cuts }: &mut SegmentLists,
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
    pub(crate) fn split(bits: Range<usize>, entry: u32, pitch: u32, ends: bool) -> Vec<Self> {
        let run = |offset: usize| {
            let len = (bits.len() - offset).min(64);
            Self {
                // Of none, bits that there are.
                first: if len == 0 { 0 } else { bits.start + offset },
                len,
                mask: u64::MAX.checked_shr(64 - len as u32).unwrap_or(0),
                entry: entry.wrapping_add((offset as u32).wrapping_mul(pitch)),
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

#[cfg(test)]
mod tests {
    use model::population::{Pool, PoolKind};
    use proptest::prelude::*;
    use pulp::Scalar;
    use snn::spikes::SpikeTrain;
    use snn::wiring::{Kernel, Wiring};

    use super::*;
    use crate::events::{Input, Strips};
    use crate::gather::{Sites, WIDE};
    use crate::planes::SumPools;

    /// Entries of a step and row of a strip, in order.
    fn row(entries: &Entries, step: usize, row: usize) -> Vec<u32> {
        let mut found = entries.at(step, 0, 0, [row, 1]).to_vec();
        found.sort_unstable();
        found
    }

    /// What is listed strip by strip, and copied from lists of segments.
    fn both_ways(terms: &impl Terms, layout: &Layout) -> (Entries, Entries) {
        let (simd, segments) = (Scalar::new(), layout.segments.as_ref().expect("strips that overlap"));
        let (mut listed, mut copied) = (Entries::default(), Entries::default());
        listed.list(simd, terms, &layout.runs);
        segments.list(simd, terms, &mut SegmentLists::default(), &mut copied);
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
            let pools = if pooled { vec![Pool::new(PoolKind::Mean, [2, 2], [1, 1])] } else { Vec::new() };
            let source_shape = if pooled { [channels, height + 1, width + 1] } else { [channels, height, width] };
            let kernel = Kernel::square([channels, height, width], out, size, stride, padding, 1);
            let wiring = Wiring { source: snn::Source::INPUT, source_shape, pools, kernel };
            let sites = Sites::of_width(kernel.output(), WIDE);
            let input = Input::new(&wiring, sites, Strips::of_sites(&kernel, sites, false), 1, 64);
            let layout = input.layout(0);
            if layout.segments.is_none() {
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
            if pooled {
                let sums = SumPools::new(source_shape, wiring.sum_pools());
                counts.sum(simd, &train, &sums, &mut Planes::default());
            } else {
                counts.copy(&train);
            }
            let [pitch, per_factor] = [layout.pitch, layout.per_factor];
            let values = ValuePitches { input: pitch, value: per_factor, zero: per_factor.wrapping_neg() };
            let (listed, copied) = match (by_value, counts.n_planes()) {
                (true, 1) => both_ways(&Values::<1> { counts: &counts, pitches: values }, layout),
                (true, 2) => both_ways(&Values::<2> { counts: &counts, pitches: values }, layout),
                (true, 3) => both_ways(&Values::<3> { counts: &counts, pitches: values }, layout),
                _ => both_ways(&Digits { counts: &counts, pitches: [pitch, per_factor] }, layout),
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
