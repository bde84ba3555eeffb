//! Rows of weights that are added up.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]
#![allow(unsafe_code, reason = "a bounds check per row takes as long as adding the row up")]

use std::fmt::Debug;
use std::ops::Range;

use pulp::Simd;
#[cfg(target_arch = "x86_64")]
use snn::simd::avx2;

use super::lists::{Counts, Entries, Layout};
use crate::simd::{Addend, Aligned};

/// What an entry can say besides a place: how many times its rows are added.
pub(crate) const FACTORS: u32 = 64;

/// Rows of `L` values that are added up, for `P` sums whose rows lie a stride apart.
#[derive(Debug)]
pub(crate) struct Table<N, const P: usize, const L: usize> {
    rows: Vec<Aligned<[N; L]>>,
    /// Whether two values add up to what their type holds.
    is_small: bool,
    /// Per connection.
    reads: Vec<Reads>,
}

/// What is read of the lists of one connection.
#[derive(Debug)]
struct Reads {
    /// Number of the layout of the lists.
    layout: u64,
    /// Whether entries say how many times their rows are added.
    has_factors: bool,
    /// Rows of a strip.
    n_rows: usize,
    /// Of each row of sites. The table holds all that it reads.
    windows: Vec<Window>,
}

/// The rows of a strip of inputs that a site reads, and where in the table their weights are.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) rows: Range<usize>,
    pub(crate) place: Place,
}

/// Rows of a table, by where they begin in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Added to each entry; may be negative where no entry is small.
    pub(crate) first: isize,
    /// From a row of one sum back to that of the next.
    pub(crate) stride: usize,
}

/// Lists of a connection, and the table that has rows for their entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a, N, const P: usize, const L: usize> {
    table: &'a Table<N, P, L>,
    counts: &'a Counts,
    has_factors: bool,
    /// Rows of a strip.
    n_rows: usize,
    /// First row that is read, and number of rows.
    rows: [usize; 2],
    place: Place,
}

impl<N: Stored, const P: usize, const L: usize> Table<N, P, L> {
    /// Bytes from a row to the next.
    pub(crate) const PITCH: usize = size_of::<Aligned<[N; L]>>();

    /// - `reads`: per connection, how its inputs are listed, and what each row of sites reads of the lists
    ///
    /// # Panics
    /// If an entry of such lists might stand for what is no row: the kernels rely on it.
    pub(crate) fn new<'a>(rows: &[[N; L]], reads: impl IntoIterator<Item = (&'a Layout, Vec<Window>)>) -> Self {
        let in_order = |row: &[N; L]| Aligned(N::in_order(row));
        let mut table =
            Self { rows: rows.iter().map(in_order).collect(), is_small: N::are_small(rows), reads: Vec::new() };
        for (layout, windows) in reads {
            assert!((layout.pitch() as usize).is_multiple_of(Self::PITCH), "entries lie whole rows apart");
            for Window { rows, place } in &windows {
                let bounds = layout.bounds()[rows.clone()].iter().flatten().flatten();
                assert!(bounds.copied().all(|entry| table.holds(*place, entry)), "entries are rows of weights");
            }
            let (id, has_factors, n_rows) = (layout.id(), layout.has_factors(), layout.n_rows());
            table.reads.push(Reads { layout: id, has_factors, n_rows, windows });
        }
        table
    }

    /// Whether an entry stands for rows of the table, for every sum.
    fn holds(&self, place: Place, entry: u32) -> bool {
        let pitch = Self::PITCH as isize;
        let (Some(first), Ok(stride)) = (place.first.checked_add(entry as isize), isize::try_from(place.stride)) else {
            return false;
        };
        let last = stride.checked_mul(P as isize - 1).and_then(|back| first.checked_sub(back));
        first % pitch == 0
            && stride % pitch == 0
            && last.is_some_and(|last| last >= 0)
            && first / pitch < self.rows.len() as isize
    }

    /// What a row of sites reads of a connection's lists.
    ///
    /// # Panics
    /// If the lists are of another layout than the table was made for.
    #[inline(always)]
    pub(crate) fn slice<'a>(&'a self, connection: usize, row: usize, counts: &'a Counts) -> Slice<'a, N, P, L> {
        let Reads { layout, has_factors, n_rows, windows } = &self.reads[connection];
        assert!(counts.layout() == *layout, "lists are of the table's layout");
        let Window { rows, place } = &windows[row];
        let rows = [rows.start, rows.len()];
        Slice { table: self, counts, has_factors: *has_factors, n_rows: *n_rows, rows, place: *place }
    }

    /// The row that an entry stands for.
    ///
    /// - `position`: of the sum that it is added to
    ///
    /// # Safety
    /// The table [`holds`](Self::holds) the entry.
    #[inline(always)]
    unsafe fn row(&self, entry: u32, place: Place, position: usize) -> &[N; L] {
        // Tests are run optimised, where there are no debug assertions.
        if cfg!(any(test, debug_assertions)) {
            assert!(self.holds(place, entry), "entry {entry} of {place:?} stands for rows of the table");
        }
        let first = self.rows.as_ptr().wrapping_byte_offset(place.first);
        let row = first.wrapping_byte_add(entry as usize).wrapping_byte_sub(position * place.stride);
        // SAFETY: the caller vouches that this is a row of the table, which nothing changes while `self` is borrowed.
        unsafe { &(*row).0 }
    }
}

impl<N: Stored, const P: usize, const L: usize> Slice<'_, N, P, L> {
    /// The same, for a table in which the rows of neighbouring sums lie side by side: the compiler knows the stride then.
    ///
    /// # Panics
    /// If they do not.
    #[inline(always)]
    #[must_use]
    pub(crate) fn side_by_side(self) -> Self {
        let stride = Table::<N, P, L>::PITCH;
        assert!(self.place.stride == stride, "rows of neighbouring sums lie side by side");
        Self { place: Place { stride, ..self.place }, ..self }
    }

    /// Whether entries say how many times their rows are added.
    #[inline(always)]
    pub(crate) fn has_factors(&self) -> bool {
        self.has_factors
    }

    /// Whether nothing is listed that is added at a step, in any strip.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.above().is_empty()
    }

    /// Whether nothing arrives from a strip at any step.
    #[inline(always)]
    pub(crate) fn is_silent(&self, strip: usize, n_steps: usize) -> bool {
        let is_silent = |entries: &Entries| entries.is_silent(n_steps, strip, self.n_rows, self.rows);
        self.counts.base().is_empty() && is_silent(self.counts.above()) && is_silent(self.counts.below())
    }

    /// Adds what a strip lists for every step.
    #[inline(always)]
    pub(crate) fn add_base<S: Simd>(&self, simd: S, sums: &mut [[N::Sum; L]; P], strip: usize) {
        self.add_either(simd, sums, self.counts.base(), 0, strip);
    }

    /// Adds and takes away what a strip lists for a step.
    #[inline(always)]
    pub(crate) fn add_step<S: Simd>(&self, simd: S, sums: &mut [[N::Sum; L]; P], step: usize, strip: usize) {
        let [below, above] = [self.counts.below(), self.counts.above()];
        // In a loop, so that what adds is inlined once. What is taken away is added to the sums' opposites.
        let mut lists = if below.is_empty() { &[above][..] } else { &[below, above][..] };
        while let [entries, rest @ ..] = lists {
            let is_below = !rest.is_empty();
            if is_below {
                negate(sums);
            }
            self.add_either(simd, sums, entries, step, strip);
            if is_below {
                negate(sums);
            }
            lists = rest;
        }
    }

    /// Adds what a strip lists to be added at a step, and nothing else.
    ///
    /// # Panics
    /// If entries say how many times their rows are added, and that is not to be looked at.
    #[inline(always)]
    pub(crate) fn add_above<S: Simd, const HAS_FACTORS: bool>(
        &self,
        simd: S,
        sums: &mut [[N::Sum; L]; P],
        step: usize,
        strip: usize,
    ) {
        self.add::<S, HAS_FACTORS>(simd, sums, self.counts.above(), step, strip);
    }

    /// - `entries`: of these lists
    #[inline(always)]
    fn add_either<S: Simd>(&self, simd: S, sums: &mut [[N::Sum; L]; P], entries: &Entries, step: usize, strip: usize) {
        if N::MULTIPLIES && self.has_factors {
            self.add::<S, true>(simd, sums, entries, step, strip);
        } else {
            self.add::<S, false>(simd, sums, entries, step, strip);
        }
    }

    /// - `entries`: of these lists
    #[inline(always)]
    fn add<S: Simd, const HAS_FACTORS: bool>(
        &self,
        simd: S,
        sums: &mut [[N::Sum; L]; P],
        entries: &Entries,
        step: usize,
        strip: usize,
    ) {
        if entries.is_empty() {
            return;
        }
        assert!(HAS_FACTORS || !self.has_factors, "factors of entries are looked at");
        let entries = entries.at(step, strip, self.n_rows, self.rows);
        // SAFETY: the lists are of the layout that the table was made for ([`Table::slice`]), so these entries, without factors, lie
        // between the bounds of the rows of the window, a whole number of rows apart. [`Table::new`] has seen that the table holds
        // the bounds.
        unsafe { N::add_up::<S, HAS_FACTORS, P, L>(self.table, simd, sums, entries, self.place) }
    }
}

/// The opposites of sums.
#[inline(always)]
fn negate<N: Addend, const P: usize, const L: usize>(sums: &mut [[N; L]; P]) {
    for sum in sums.as_flattened_mut() {
        *sum = sum.opposite();
    }
}

/// A weight as a table keeps it.
pub(crate) trait Stored: Copy + Default + Debug + Send + Sync + 'static {
    /// What rows are added up to; it wraps around where it is too large.
    type Sum: Addend;
    /// Whether rows are added as many times as an entry says at no cost.
    const MULTIPLIES: bool;

    /// A row as it lies in memory.
    fn in_order<const L: usize>(row: &[Self; L]) -> [Self; L] {
        *row
    }

    /// Whether two values add up to what the type holds, and it matters.
    fn are_small<const L: usize>(_rows: &[[Self; L]]) -> bool {
        false
    }

    /// Adds rows to sums: once each, or as many times as their entries say in what they exceed a multiple of [`FACTORS`] by.
    ///
    /// # Safety
    /// The table [`holds`](Table::holds) every entry, without what it exceeds that multiple by.
    unsafe fn add_up<S: Simd, const HAS_FACTORS: bool, const P: usize, const L: usize>(
        table: &Table<Self, P, L>,
        simd: S,
        sums: &mut [[Self::Sum; L]; P],
        entries: &[u32],
        place: Place,
    );
}

/// An entry's place, and how many times its rows are added.
#[inline(always)]
fn divided<const HAS_FACTORS: bool>(entry: u32) -> [u32; 2] {
    if HAS_FACTORS { [entry - entry % FACTORS, entry % FACTORS] } else { [entry, 1] }
}

macro_rules! stored_as_added {
    ($number:ty) => {
        impl Stored for $number {
            type Sum = Self;
            const MULTIPLIES: bool = false;

            #[inline(always)]
            unsafe fn add_up<S: Simd, const HAS_FACTORS: bool, const P: usize, const L: usize>(
                table: &Table<Self, P, L>,
                simd: S,
                sums: &mut [[Self; L]; P],
                entries: &[u32],
                place: Place,
            ) {
                let mut changed = *sums;
                for &entry in entries {
                    let [entry, factor] = divided::<HAS_FACTORS>(entry);
                    for (position, sums) in changed.iter_mut().enumerate() {
                        // SAFETY: the caller vouches for the entries.
                        let mut row = unsafe { table.row(entry, place, position) };
                        let product;
                        if HAS_FACTORS {
                            product = Self::times(simd, row, factor);
                            row = &product;
                        }
                        Self::add(simd, sums, row);
                    }
                }
                *sums = changed;
            }
        }
    };
}

stored_as_added!(f32);
stored_as_added!(i16);

/// Bytes that are put side by side with others of as many.
const BYTES: usize = 32;

/// Where one of four times `PART` values lies in memory, so that the values of two rows are side by side in order after each half of
/// either half was put beside that of the other row's.
const fn place_in_memory<const PART: usize>(lane: usize) -> usize {
    let part = lane / PART % 4;
    lane - PART * part + PART * [0, 2, 1, 3][part]
}

/// [`place_in_memory`] of a byte of 32.
const fn byte_place(lane: usize) -> usize {
    place_in_memory::<8>(lane)
}

/// [`place_in_memory`] of a 16-bit weight of 16.
const fn short_place(lane: usize) -> usize {
    place_in_memory::<4>(lane)
}

impl Stored for i8 {
    type Sum = i16;
    const MULTIPLIES: bool = true;

    fn in_order<const L: usize>(row: &[Self; L]) -> [Self; L] {
        std::array::from_fn(|at| row[byte_place(at)])
    }

    fn are_small<const L: usize>(rows: &[[Self; L]]) -> bool {
        rows.as_flattened().iter().all(|weight| (Self::MIN / 2..=Self::MAX / 2).contains(weight))
    }

    // Rows by two: their weights lie side by side then, and one instruction adds up the products of two. Where the sum of two weights
    // is a byte, by four.
    #[inline(always)]
    unsafe fn add_up<S: Simd, const HAS_FACTORS: bool, const P: usize, const L: usize>(
        table: &Table<Self, P, L>,
        simd: S,
        sums: &mut [[i16; L]; P],
        entries: &[u32],
        place: Place,
    ) {
        let mut changed = *sums;
        let n_by_four = if HAS_FACTORS || !table.is_small { 0 } else { entries.len() / 4 * 4 };
        let (by_four, rest) = entries.split_at(n_by_four);
        for &[a, b, c, d] in by_four.as_chunks::<4>().0 {
            for (position, sums) in changed.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the entries.
                let rows = unsafe {
                    [
                        [table.row(a, place, position), table.row(b, place, position)],
                        [table.row(c, place, position), table.row(d, place, position)],
                    ]
                };
                add_two::<S, 2, L>(simd, sums, rows, [1; 2]);
            }
        }
        let (pairs, rest) = rest.as_chunks::<2>();
        for &[a, b] in pairs {
            let ([a, a_factor], [b, b_factor]) = (divided::<HAS_FACTORS>(a), divided::<HAS_FACTORS>(b));
            for (position, sums) in changed.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the entries.
                let rows = unsafe { [[table.row(a, place, position)], [table.row(b, place, position)]] };
                add_two::<S, 1, L>(simd, sums, rows, [a_factor, b_factor]);
            }
        }
        for &entry in rest {
            let [entry, factor] = divided::<HAS_FACTORS>(entry);
            for (position, sums) in changed.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the entries.
                let row = unsafe { table.row(entry, place, position) };
                add_two::<S, 1, L>(simd, sums, [[row]; 2], [factor, 0]);
            }
        }
        *sums = changed;
    }
}

/// Adds two groups of `G` rows of bytes in the order of [`byte_place`], each as many times as its factor says, which is less than
/// 128. The sums of a group are bytes too.
#[inline(always)]
fn add_two<S: Simd, const G: usize, const L: usize>(
    simd: S,
    sums: &mut [i16; L],
    groups: [[&[i8; L]; G]; 2],
    factors: [u32; 2],
) {
    #[cfg(target_arch = "x86_64")]
    if let (Some(simd), true) = (avx2(simd), L.is_multiple_of(BYTES)) {
        // Products of 7 bits each, so the sum of two has 16 at most.
        let factors = pulp::cast(simd.splat_u16x16((factors[0] | factors[1] << 8) as u16));
        for (k, sums) in sums.as_chunks_mut::<BYTES>().0.iter_mut().enumerate() {
            let [mut a, mut b] = [pulp::cast([0_u64; 4]); 2];
            for member in 0..G {
                a = simd.avx2._mm256_add_epi8(a, pulp::cast(groups[0][member].as_chunks::<BYTES>().0[k]));
                b = simd.avx2._mm256_add_epi8(b, pulp::cast(groups[1][member].as_chunks::<BYTES>().0[k]));
            }
            let low = simd.avx2._mm256_maddubs_epi16(factors, simd.avx2._mm256_unpacklo_epi8(a, b));
            let high = simd.avx2._mm256_maddubs_epi16(factors, simd.avx2._mm256_unpackhi_epi8(a, b));
            for (sums, products) in sums.as_chunks_mut::<{ BYTES / 2 }>().0.iter_mut().zip([low, high]) {
                *sums = pulp::cast(simd.avx2._mm256_add_epi16(pulp::cast(*sums), products));
            }
        }
        return;
    }
    let _ = simd;
    let factors = factors.map(|factor| factor as i16);
    for lane in 0..L {
        let at = byte_place(lane);
        let mut sum = 0;
        for member in 0..G {
            let [a, b] = [i16::from(groups[0][member][at]), i16::from(groups[1][member][at])];
            sum += factors[0] * a + factors[1] * b;
        }
        sums[lane] = sums[lane].wrapping_add(sum);
    }
}

/// A 16-bit weight whose sums have 32 bits; an array of one, to tell it from a weight whose sums have 16.
pub(crate) type Short = [i16; 1];

/// Shorts that are put side by side with others of as many.
const SHORTS: usize = 16;

/// Rows of shorts that are added up in 16 bits where [`Stored::are_small`].
const FEW_SHORTS: i16 = 4;

impl Stored for Short {
    type Sum = i32;
    const MULTIPLIES: bool = true;

    fn in_order<const L: usize>(row: &[Self; L]) -> [Self; L] {
        std::array::from_fn(|at| row[short_place(at)])
    }

    fn are_small<const L: usize>(rows: &[[Self; L]]) -> bool {
        let range = i16::MIN / FEW_SHORTS..=i16::MAX / FEW_SHORTS;
        rows.as_flattened().as_flattened().iter().all(|weight| range.contains(weight))
    }

    // Two groups of rows at a time, as bytes are: their sums lie side by side then, and one instruction adds up the products of two.
    // Where the sums of four weights have 16 bits, the groups are of four, which reads the rows as fast as sums of 16 bits do.
    #[inline(always)]
    unsafe fn add_up<S: Simd, const HAS_FACTORS: bool, const P: usize, const L: usize>(
        table: &Table<Self, P, L>,
        simd: S,
        sums: &mut [[i32; L]; P],
        entries: &[u32],
        place: Place,
    ) {
        const GROUP: usize = FEW_SHORTS as usize;
        let mut changed = *sums;
        let in_groups = if HAS_FACTORS || !table.is_small { 0 } else { entries.len() / (2 * GROUP) * (2 * GROUP) };
        let (in_groups, rest) = entries.split_at(in_groups);
        for &[a, b, c, d, e, f, g, h] in in_groups.as_chunks::<{ 2 * GROUP }>().0 {
            for (position, sums) in changed.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the entries.
                let rows = unsafe {
                    [
                        [
                            table.row(a, place, position),
                            table.row(b, place, position),
                            table.row(c, place, position),
                            table.row(d, place, position),
                        ],
                        [
                            table.row(e, place, position),
                            table.row(f, place, position),
                            table.row(g, place, position),
                            table.row(h, place, position),
                        ],
                    ]
                };
                add_two_of_shorts::<S, GROUP, L>(simd, sums, rows, [1; 2]);
            }
        }
        let (pairs, rest) = rest.as_chunks::<2>();
        for &[a, b] in pairs {
            let ([a, a_factor], [b, b_factor]) = (divided::<HAS_FACTORS>(a), divided::<HAS_FACTORS>(b));
            for (position, sums) in changed.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the entries.
                let rows = unsafe { [[table.row(a, place, position)], [table.row(b, place, position)]] };
                add_two_of_shorts::<S, 1, L>(simd, sums, rows, [a_factor, b_factor]);
            }
        }
        for &entry in rest {
            let [entry, factor] = divided::<HAS_FACTORS>(entry);
            for (position, sums) in changed.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the entries.
                let row = unsafe { table.row(entry, place, position) };
                add_two_of_shorts::<S, 1, L>(simd, sums, [[row]; 2], [factor, 0]);
            }
        }
        *sums = changed;
    }
}

/// Adds two groups of `G` rows of shorts in the order of [`short_place`], each as many times as its factor says, which is less than
/// [`FACTORS`]. The sums of a group have 16 bits too.
#[inline(always)]
fn add_two_of_shorts<S: Simd, const G: usize, const L: usize>(
    simd: S,
    sums: &mut [i32; L],
    groups: [[&[Short; L]; G]; 2],
    factors: [u32; 2],
) {
    #[cfg(target_arch = "x86_64")]
    if let (Some(simd), true) = (avx2(simd), L.is_multiple_of(SHORTS)) {
        let factors = pulp::cast(simd.splat_u32x8(factors[0] | factors[1] << 16));
        for (k, sums) in sums.as_chunks_mut::<SHORTS>().0.iter_mut().enumerate() {
            let mut a = pulp::cast(groups[0][0].as_chunks::<SHORTS>().0[k]);
            let mut b = pulp::cast(groups[1][0].as_chunks::<SHORTS>().0[k]);
            for member in 1..G {
                a = simd.avx2._mm256_add_epi16(a, pulp::cast(groups[0][member].as_chunks::<SHORTS>().0[k]));
                b = simd.avx2._mm256_add_epi16(b, pulp::cast(groups[1][member].as_chunks::<SHORTS>().0[k]));
            }
            let low = simd.avx2._mm256_madd_epi16(simd.avx2._mm256_unpacklo_epi16(a, b), factors);
            let high = simd.avx2._mm256_madd_epi16(simd.avx2._mm256_unpackhi_epi16(a, b), factors);
            for (sums, products) in sums.as_chunks_mut::<{ SHORTS / 2 }>().0.iter_mut().zip([low, high]) {
                *sums = pulp::cast(simd.avx2._mm256_add_epi32(pulp::cast(*sums), products));
            }
        }
        return;
    }
    let _ = simd;
    let factors = factors.map(|factor| factor as i32);
    for lane in 0..L {
        let at = short_place(lane);
        for member in 0..G {
            let [[a], [b]] = [groups[0][member][at], groups[1][member][at]];
            sums[lane] = sums[lane].wrapping_add(factors[0] * i32::from(a) + factors[1] * i32::from(b));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulp::{Scalar, WithSimd};

    use super::*;
    use crate::rows::lists::{Factors, Run};
    use crate::simd::tests::levels;

    /// One row of four inputs, listed for tables of 64 bytes a row.
    fn layout() -> Layout {
        Layout::new(1, Run::split(0..4, 0, 64, true), None, 64, 256, Factors::Values(1))
    }

    fn table(n_rows: usize, layout: &Layout, first: isize) -> Table<i8, 1, 64> {
        let windows = vec![Window { rows: 0..1, place: Place { first, stride: 0 } }];
        Table::new(&vec![[0; 64]; n_rows], [(layout, windows)])
    }

    #[test]
    fn what_is_taken_away_is_the_opposite_of_what_is_added() {
        let mut sums = [[3_i16, -5, i16::MIN]];
        negate(&mut sums);
        assert_eq!(sums, [[-3, 5, i16::MIN]]);
        let mut sums = [[0.5_f32, -2.0]];
        negate(&mut sums);
        assert_eq!(sums, [[-0.5, 2.0]]);
    }

    #[test]
    #[should_panic(expected = "lists are of the table's layout")]
    fn lists_of_another_layout_are_refused() {
        let (own, other, mut counts) = (layout(), layout(), Counts::default());
        other.clear(&mut counts);
        let _ = table(4, &own, 0).slice(0, 0, &counts);
    }

    #[test]
    #[should_panic(expected = "lists are of the table's layout")]
    fn lists_that_were_never_made_are_refused() {
        let _ = table(4, &layout(), 0).slice(0, 0, &Counts::default());
    }

    #[test]
    fn a_table_with_rows_for_fewer_entries_than_can_be_listed_is_refused() {
        let layout = layout();
        for (n_rows, first, is_held) in
            [(4, 0, true), (3, 0, false), (4, 64, false), (5, 64, true), (4, -64, false), (5, 32, false)]
        {
            let made = std::panic::catch_unwind(|| table(n_rows, &layout, first));
            assert_eq!(made.is_ok(), is_held, "{n_rows} rows from byte {first} on");
        }
    }

    /// Rows that are added, and added as many times as entries say.
    struct AddUp<'a, N>(&'a Table<N, 2, 32>, &'a [u32], &'a [u32], Place);

    impl<N: Stored<Sum: Default>> WithSimd for AddUp<'_, N> {
        type Output = [[[N::Sum; 32]; 2]; 2];

        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(table, entries, with_factors, place) = self;
            assert!(entries.iter().all(|&entry| table.holds(place, entry)));
            assert!(with_factors.iter().all(|&entry| table.holds(place, entry - entry % FACTORS)));
            let [mut sums, mut multiples] = [[[N::Sum::default(); 32]; 2]; 2];
            // SAFETY: asserted above.
            unsafe {
                N::add_up::<S, false, 2, 32>(table, simd, &mut sums, entries, place);
                N::add_up::<S, true, 2, 32>(table, simd, &mut multiples, with_factors, place);
            }
            [sums, multiples]
        }
    }

    /// - `seeds`: of entries
    /// - `stored`, `summed`: a weight, and a sum of weights that may be too large, as the types have them
    fn adds_up<N: Stored<Sum: Default + PartialEq + Debug>>(
        row: impl Fn(usize, usize) -> i16,
        stored: impl Fn(i16) -> N,
        summed: impl Fn(i32) -> N::Sum,
        [n_rows, stride, before]: [usize; 3],
        seeds: &[u16],
    ) {
        let weights = |k: usize| std::array::from_fn(|lane| stored(row(k, lane)));
        let rows: Vec<[N; 32]> = (0..n_rows).map(weights).collect();
        let table: Table<N, 2, 32> = Table::new(&rows, []);
        let pitch = Table::<N, 2, 32>::PITCH;
        // Entry k is row k − before, and that of the second sum a stride earlier.
        let place = Place { first: -((before * pitch) as isize), stride: stride * pitch };
        let held: Vec<usize> =
            (0..n_rows + 2 * before + stride).filter(|k| table.holds(place, (k * pitch) as u32)).collect();
        assert_eq!(held, (before + stride..before + n_rows).collect::<Vec<_>>());
        assert!(!table.holds(place, (held[0] * pitch + 1) as u32));
        let chosen: Vec<usize> = seeds.iter().map(|&seed| held[usize::from(seed) % held.len()]).collect();
        let entries: Vec<u32> = chosen.iter().map(|k| (k * pitch) as u32).collect();
        let factors: Vec<u32> = seeds.iter().map(|&seed| u32::from(seed) >> 8 & 7).collect();
        let with_factors: Vec<u32> = entries.iter().zip(&factors).map(|(entry, factor)| entry + factor).collect();
        let mut expected = [[[0_i32; 32]; 2]; 2];
        for (k, &factor) in chosen.iter().zip(&factors) {
            for (position, lane) in (0..2).flat_map(|position| (0..32).map(move |lane| (position, lane))) {
                let weight = i32::from(row(k - before - position * stride, lane));
                for (sums, factor) in expected.iter_mut().zip([1, factor as i32]) {
                    sums[position][lane] += weight * factor;
                }
            }
        }
        let expected = expected.map(|sums| sums.map(|sums| sums.map(&summed)));
        assert_eq!(AddUp(&table, &entries, &with_factors, place).with_simd(Scalar::new()), expected);
        for arch in levels() {
            assert_eq!(arch.dispatch(AddUp(&table, &entries, &with_factors, place)), expected);
        }
    }

    proptest! {
        #[test]
        fn every_level_adds_up_the_rows_that_entries_stand_for(
            n_rows in 5..40_usize, stride in 0..5_usize, before in 0..3_usize, seeds in prop::collection::vec(any::<u16>(), 0..50),
        ) {
            let sizes = [n_rows, stride, before];
            let short = |k: usize, lane: usize| (3011 * k + 97 * lane) as i16;
            let wrapped = |sum: i32| sum as i16;
            adds_up(short, |weight| weight, wrapped, sizes, &seeds);
            // Over all that a byte holds, and half of it.
            let byte = |k: usize, lane: usize| i16::from((31 * k + 7 * lane) as u8 as i8);
            adds_up(byte, |weight| weight as i8, wrapped, sizes, &seeds);
            adds_up(|k, lane| byte(k, lane) >> 1, |weight| weight as i8, wrapped, sizes, &seeds);
            // Over all that 16 bits hold, and a quarter of it.
            adds_up::<Short>(short, |weight| [weight], |sum| sum, sizes, &seeds);
            adds_up::<Short>(|k, lane| short(k, lane) >> 2, |weight| [weight], |sum| sum, sizes, &seeds);
        }
    }
}
