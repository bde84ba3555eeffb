//! What the compiler makes of no loop: the few operations that are written for a SIMD level of their own.
//!
//! Each has a portable form, which every other level uses; all give the same bits.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use pulp::{Arch, Simd};
#[cfg(target_arch = "x86_64")]
use snn::simd::{avx2, avx512, halves};

pub(crate) use snn::simd::LANES;

/// Values that no register straddles lines of the cache for.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// The vector instructions of a level.
pub(crate) fn level_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Scalar => "portable",
        #[cfg(target_arch = "x86_64")]
        Arch::V3 { .. } => "AVX2",
        #[cfg(target_arch = "x86_64")]
        Arch::V4 { .. } => "AVX-512",
        #[allow(unreachable_patterns, reason = "some processors have no other levels")]
        _ => std::env::consts::ARCH,
    }
}

/// Whether the level compares into masks.
#[inline(always)]
fn has_masks<S: Simd>(simd: S) -> bool {
    #[cfg(target_arch = "x86_64")]
    return avx512(simd).is_some();
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = simd;
        false
    }
}

/// Values that are added up row by row.
pub(crate) trait Addend: Copy {
    /// Wraps around where it is too large.
    fn add<S: Simd, const L: usize>(simd: S, sums: &mut [Self; L], row: &[Self; L]);
    /// The same with the other sign; wraps around where it is too large.
    fn opposite(self) -> Self;
    /// A row times a factor.
    fn times<S: Simd, const L: usize>(simd: S, row: &[Self; L], factor: u32) -> [Self; L];
}

// In registers as wide as the level has: for sums of two rows, the compiler takes narrow ones.
impl Addend for f32 {
    #[inline(always)]
    fn add<S: Simd, const L: usize>(simd: S, sums: &mut [Self; L], row: &[Self; L]) {
        let ((sums, rest), (row, rest_of_row)) = (S::as_mut_simd_f32s(sums), S::as_simd_f32s(row));
        for (sum, row) in sums.iter_mut().zip(row) {
            *sum = simd.add_f32s(*sum, *row);
        }
        for (sum, row) in rest.iter_mut().zip(rest_of_row) {
            *sum += row;
        }
    }

    #[inline(always)]
    fn opposite(self) -> Self {
        -self
    }

    #[inline(always)]
    fn times<S: Simd, const L: usize>(_: S, row: &[Self; L], factor: u32) -> [Self; L] {
        let (mut product, factor) = (*row, factor as Self);
        for value in &mut product {
            *value *= factor;
        }
        product
    }
}

macro_rules! on_integers {
    ($name:ident, $avx512:ident, $avx2:ident, $portable:ident) => {
        #[inline(always)]
        fn $name<S: Simd, const L: usize>(simd: S, sums: &mut [i16; L], row: &[i16; L]) {
            #[cfg(target_arch = "x86_64")]
            if let (Some(simd), true) = (avx512(simd), L.is_multiple_of(32)) {
                for (sums, row) in sums.as_chunks_mut::<32>().0.iter_mut().zip(row.as_chunks::<32>().0) {
                    *sums = pulp::cast(simd.avx512bw.$avx512(pulp::cast(*sums), pulp::cast(*row)));
                }
                return;
            }
            #[cfg(target_arch = "x86_64")]
            if let (Some(simd), true) = (avx2(simd), L.is_multiple_of(16)) {
                for (sums, row) in sums.as_chunks_mut::<16>().0.iter_mut().zip(row.as_chunks::<16>().0) {
                    *sums = pulp::cast(simd.avx2.$avx2(pulp::cast(*sums), pulp::cast(*row)));
                }
                return;
            }
            let _ = simd;
            for lane in 0..L {
                sums[lane] = sums[lane].$portable(row[lane]);
            }
        }
    };
}

impl Addend for i16 {
    on_integers!(add, _mm512_add_epi16, _mm256_add_epi16, wrapping_add);

    #[inline(always)]
    fn opposite(self) -> Self {
        self.wrapping_neg()
    }

    #[inline(always)]
    fn times<S: Simd, const L: usize>(simd: S, row: &[Self; L], factor: u32) -> [Self; L] {
        let mut product = *row;
        multiply(simd, &mut product, &[factor as Self; L]);
        product
    }
}

impl Addend for i32 {
    #[inline(always)]
    fn add<S: Simd, const L: usize>(_: S, sums: &mut [Self; L], row: &[Self; L]) {
        for lane in 0..L {
            sums[lane] = sums[lane].wrapping_add(row[lane]);
        }
    }

    #[inline(always)]
    fn opposite(self) -> Self {
        self.wrapping_neg()
    }

    #[inline(always)]
    fn times<S: Simd, const L: usize>(_: S, row: &[Self; L], factor: u32) -> [Self; L] {
        row.map(|value| value.wrapping_mul(factor as Self))
    }
}

// Products wrap around too.
on_integers!(multiply, _mm512_mullo_epi16, _mm256_mullo_epi16, wrapping_mul);

/// Adds the products of two numbers and two weights to each sum.
#[inline(always)]
pub(crate) fn add_products<S: Simd>(simd: S, sums: &mut [i32; LANES], weights: &[[i16; 2]; LANES], numbers: [i16; 2]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx512(simd) {
        let numbers = pulp::cast([numbers; LANES]);
        let products = simd.avx512bw._mm512_madd_epi16(pulp::cast(*weights), numbers);
        *sums = pulp::cast(simd.avx512f._mm512_add_epi32(pulp::cast(*sums), products));
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx2(simd) {
        let numbers = pulp::cast([numbers; 8]);
        for (sums, weights) in sums.as_chunks_mut::<8>().0.iter_mut().zip(weights.as_chunks::<8>().0) {
            let products = simd.avx2._mm256_madd_epi16(pulp::cast(*weights), numbers);
            *sums = pulp::cast(simd.avx2._mm256_add_epi32(pulp::cast(*sums), products));
        }
        return;
    }
    let _ = simd;
    for lane in 0..LANES {
        let [a, b] = weights[lane];
        sums[lane] += i32::from(a) * i32::from(numbers[0]) + i32::from(b) * i32::from(numbers[1]);
    }
}

/// Adds the products of four bytes and four weights to each sum.
///
/// - `weights`: of which neither the products of the first two nor of the last two may add up to more than 16 bits
#[inline(always)]
pub(crate) fn add_products_of_bytes<S: Simd>(
    simd: S,
    sums: &mut [i32; LANES],
    weights: &[[i8; 4]; LANES],
    bytes: [u8; 4],
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx512(simd) {
        let (bytes, ones) = (pulp::cast([bytes; LANES]), pulp::cast([1_i16; 2 * LANES]));
        let of_two = simd.avx512bw._mm512_maddubs_epi16(bytes, pulp::cast(*weights));
        let products = simd.avx512bw._mm512_madd_epi16(of_two, ones);
        *sums = pulp::cast(simd.avx512f._mm512_add_epi32(pulp::cast(*sums), products));
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx2(simd) {
        let (bytes, ones) = (pulp::cast([bytes; 8]), pulp::cast([1_i16; 16]));
        for (sums, weights) in sums.as_chunks_mut::<8>().0.iter_mut().zip(weights.as_chunks::<8>().0) {
            let of_two = simd.avx2._mm256_maddubs_epi16(bytes, pulp::cast(*weights));
            let products = simd.avx2._mm256_madd_epi16(of_two, ones);
            *sums = pulp::cast(simd.avx2._mm256_add_epi32(pulp::cast(*sums), products));
        }
        return;
    }
    let _ = simd;
    for lane in 0..LANES {
        for k in 0..4 {
            sums[lane] += i32::from(weights[lane][k]) * i32::from(bytes[k]);
        }
    }
}

/// A membrane potential, on the scale of a neuron's weights: a 32-bit float in thresholds, or an integer in steps of the neuron's
/// grid.
pub(crate) trait Potential:
    Copy + PartialEq + PartialOrd + std::ops::Add<Output = Self> + std::ops::Sub<Output = Self>
{
    const ZERO: Self;
    /// - `units`: of the scale in a threshold
    fn of_thresholds(value: f32, units: f32) -> Self;
    /// - `step`: of the scale, in thresholds
    fn in_thresholds(self, step: f32) -> f32;
    /// The nearest value within ± a limit.
    fn within(self, limit: Self) -> Self;
    /// Bit k is 1 where value k is at least its bound; not where either is NaN.
    fn at_least<S: Simd>(simd: S, values: &[Self; LANES], bounds: &[Self; LANES]) -> u16;
    /// Whole thresholds in each value, rounded down.
    ///
    /// - `thresholds`: each above zero
    /// - `are_nominal`: whether each is that of its scale, a power of two
    fn whole<const W: usize>(values: &[Self; W], thresholds: &[Self; W], are_nominal: bool) -> [i32; W];
    /// So many times the value.
    fn times(self, n: i32) -> Self;
    /// The same; what is at least its bound is lowered by it.
    fn lower<S: Simd>(simd: S, values: &mut [Self; LANES], bounds: &[Self; LANES]) -> u16;
}

macro_rules! at_least {
    ($number:ty, $of_eight:ty, $avx512:ident, $subtract:ident, $avx2:ident) => {
        #[inline(always)]
        fn lower<S: Simd>(simd: S, values: &mut [$number; LANES], bounds: &[$number; LANES]) -> u16 {
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = avx512(simd) {
                let mask = simd.$avx512(pulp::cast(*values), pulp::cast(*bounds)).0;
                let now = pulp::cast(*values);
                *values = pulp::cast(simd.avx512f.$subtract(now, mask, now, pulp::cast(*bounds)));
                return mask;
            }
            let bits = Self::at_least(simd, values, bounds);
            for lane in 0..LANES {
                values[lane] = if values[lane] >= bounds[lane] { values[lane] - bounds[lane] } else { values[lane] };
            }
            bits
        }

        #[inline(always)]
        fn at_least<S: Simd>(simd: S, values: &[$number; LANES], bounds: &[$number; LANES]) -> u16 {
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = avx512(simd) {
                return simd.$avx512(pulp::cast(*values), pulp::cast(*bounds)).0;
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = avx2(simd) {
                let (values, bounds): ([$of_eight; 2], [$of_eight; 2]) = (pulp::cast(*values), pulp::cast(*bounds));
                let [low, high] = [simd.$avx2(values[0], bounds[0]), simd.$avx2(values[1], bounds[1])];
                return halves(simd, low, high);
            }
            let _ = simd;
            (0..LANES).fold(0, |bits, lane| bits | u16::from(values[lane] >= bounds[lane]) << lane)
        }
    };
}

impl Potential for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn of_thresholds(value: f32, _: f32) -> Self {
        value
    }
    #[inline(always)]
    fn in_thresholds(self, _: f32) -> f32 {
        self
    }
    #[inline(always)]
    fn within(self, limit: Self) -> Self {
        self.min(limit).max(-limit)
    }
    #[inline(always)]
    fn whole<const W: usize>(values: &[Self; W], thresholds: &[Self; W], are_nominal: bool) -> [i32; W] {
        if !are_nominal {
            return whole_quotients(values, thresholds);
        }
        let mut whole = [0; W];
        for lane in 0..W {
            whole[lane] = integer(values[lane].floor());
        }
        whole
    }
    #[inline(always)]
    fn times(self, n: i32) -> Self {
        self * n as Self
    }
    at_least!(f32, pulp::f32x8, cmp_ge_f32x16, _mm512_mask_sub_ps, cmp_ge_f32x8);
}

/// Quotients of whole multiples of one step below 2²⁴ of it, rounded down: the nearest 64-bit float to such a quotient is not above a
/// whole number that it is below.
#[inline(always)]
fn whole_quotients<N: Copy + Into<f64>, const W: usize>(values: &[N; W], thresholds: &[N; W]) -> [i32; W] {
    let mut whole = [0; W];
    for lane in 0..W {
        // What lies behind a site's neurons may have no threshold; a quotient without a value is then nothing.
        whole[lane] = (values[lane].into() / thresholds[lane].into()).floor() as i32;
    }
    whole
}

/// The integer that a float is, if it is one of at most 2³⁰ in magnitude.
#[inline(always)]
#[allow(unsafe_code, reason = "what `as` does with other floats is done one by one")]
#[allow(clippy::manual_clamp, reason = "`clamp` returns what is no number as it is")]
pub(crate) fn integer(value: f32) -> i32 {
    const LARGEST: f32 = 1_073_741_824.0;
    // SAFETY: no number either, a value is replaced by a limit; both are within the range of integers.
    unsafe { value.max(-LARGEST).min(LARGEST).to_int_unchecked() }
}

impl Potential for i32 {
    const ZERO: Self = 0;
    #[inline(always)]
    fn of_thresholds(value: f32, units: f32) -> Self {
        integer(value * units)
    }
    #[inline(always)]
    fn in_thresholds(self, step: f32) -> f32 {
        self as f32 * step
    }
    #[inline(always)]
    fn within(self, limit: Self) -> Self {
        self.min(limit).max(-limit)
    }
    #[inline(always)]
    fn whole<const W: usize>(values: &[Self; W], thresholds: &[Self; W], are_nominal: bool) -> [i32; W] {
        if !are_nominal {
            return whole_quotients(values, thresholds);
        }
        let mut whole = [0; W];
        for lane in 0..W {
            whole[lane] = values[lane] >> thresholds[lane].trailing_zeros();
        }
        whole
    }
    #[inline(always)]
    fn times(self, n: i32) -> Self {
        self * n
    }
    at_least!(i32, pulp::i32x8, cmp_ge_i32x16, _mm512_mask_sub_epi32, cmp_ge_i32x8);
}

/// Steps that potentials are kept in 16 bits for.
pub(crate) const SHORT: usize = 8;

/// Potentials that neurons have in 16 bits at the first of these steps at least and at most: what is left of the range serves the
/// currents.
const LOWEST: i32 = -(1 << 13);
const HIGHEST: i32 = 1 << 14;

/// Whether [`fire_short`] is the faster way for as many neurons.
#[inline(always)]
pub(crate) fn fires_short<S: Simd, const W: usize>(simd: S) -> bool {
    W.is_multiple_of(2 * LANES) && !has_masks(simd)
}

/// Adds the currents of each step to potentials, and lowers what is at least its threshold by it, in 16-bit integers.
///
/// - `currents`: of [`SHORT`] steps or fewer
/// - `spikes`: of each step; bit k becomes 1 where neuron k fires
/// - returns whether potentials are what they are in more bits; otherwise they are as before, and spikes mean nothing
#[inline(always)]
pub(crate) fn fire_short<S: Simd, const W: usize>(
    simd: S,
    potentials: &mut [i32; W],
    thresholds: &[i32; W],
    currents: &[[i16; W]],
    spikes: &mut [u64],
) -> bool {
    let (mut near, mut fits, mut is_near) = ([0; W], true, true);
    for lane in 0..W {
        near[lane] = potentials[lane].clamp(LOWEST, HIGHEST);
        is_near &= near[lane] == potentials[lane];
        // Lowered by a threshold that is not negative, a potential stays within the range.
        fits &= thresholds[lane] >= 0 && thresholds[lane] <= i32::from(i16::MAX);
    }
    if !fits {
        return false;
    }
    let [mut u, mut short_thresholds] = [[0; W]; 2];
    for lane in 0..W {
        (u[lane], short_thresholds[lane]) = (near[lane] as i16, thresholds[lane] as i16);
    }
    let [mut least, mut greatest] = [[0; LANES]; 2];
    let (mut any, mut all) = (0, u64::MAX);
    for (currents, spikes) in currents.iter().zip(spikes) {
        *spikes = step_short(simd, &mut u, &short_thresholds, currents, [&mut least, &mut greatest]);
        any |= *spikes;
        all &= *spikes;
    }
    if least.contains(&i16::MIN) || greatest.contains(&i16::MAX) {
        return false;
    }
    if !is_near {
        // One that was raised and yet did not fire would not have fired; one that was lowered and yet always fired would have.
        let [mut raised, mut lowered] = [0, 0];
        let lanes = potentials.as_chunks::<LANES>().0.iter().enumerate();
        for (k, potentials) in lanes {
            raised |= u64::from(!i32::at_least(simd, potentials, &[LOWEST; LANES])) << (LANES * k);
            lowered |= u64::from(i32::at_least(simd, potentials, &[HIGHEST + 1; LANES])) << (LANES * k);
        }
        if raised & any != 0 || lowered & !all != 0 {
            return false;
        }
    }
    for lane in 0..W {
        potentials[lane] += i32::from(u[lane]) - near[lane];
    }
    true
}

/// One step of [`fire_short`].
///
/// - `range`: the least and the greatest potential before neurons fire, of those that have the same place among as many lanes
/// - returns bit k where neuron k fires
#[inline(always)]
fn step_short<S: Simd, const W: usize>(
    simd: S,
    u: &mut [i16; W],
    thresholds: &[i16; W],
    currents: &[i16; W],
    [least, greatest]: [&mut [i16; LANES]; 2],
) -> u64 {
    let mut bits = 0;
    #[cfg(target_arch = "x86_64")]
    if let (Some(simd), true) = (avx2(simd), W.is_multiple_of(2 * LANES)) {
        let (u, thresholds) = (u.as_chunks_mut::<LANES>().0, thresholds.as_chunks::<LANES>().0);
        let currents = currents.as_chunks::<LANES>().0;
        for pair in 0..W / (2 * LANES) {
            let mut stay = [pulp::cast([0_u64; 4]); 2];
            for half in 0..2 {
                let at = 2 * pair + half;
                let (sum, threshold) = (
                    simd.avx2._mm256_adds_epi16(pulp::cast(u[at]), pulp::cast(currents[at])),
                    pulp::cast(thresholds[at]),
                );
                *least = pulp::cast(simd.avx2._mm256_min_epi16(pulp::cast(*least), sum));
                *greatest = pulp::cast(simd.avx2._mm256_max_epi16(pulp::cast(*greatest), sum));
                stay[half] = simd.avx2._mm256_cmpgt_epi16(threshold, sum);
                let lowered_by = simd.avx2._mm256_andnot_si256(stay[half], threshold);
                u[at] = pulp::cast(simd.avx2._mm256_sub_epi16(sum, lowered_by));
            }
            // Each half of either lies beside that of the other.
            let bytes = simd.avx2._mm256_packs_epi16(stay[0], stay[1]);
            let bytes = simd.avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(bytes);
            let stay = simd.avx2._mm256_movemask_epi8(bytes).cast_unsigned();
            bits |= u64::from(!stay) << (2 * LANES * pair);
        }
        return bits;
    }
    let _ = simd;
    for lane in 0..W {
        let (sum, threshold) = (u[lane].saturating_add(currents[lane]), thresholds[lane]);
        let [least, greatest] = [&mut least[lane % LANES], &mut greatest[lane % LANES]];
        (*least, *greatest) = (sum.min(*least), sum.max(*greatest));
        u[lane] = if sum >= threshold { sum.wrapping_sub(threshold) } else { sum };
        bits |= u64::from(sum >= threshold) << lane;
    }
    bits
}

/// Adds 16-bit integers to others of 32 bits.
#[inline(always)]
pub(crate) fn add_widened<S: Simd>(simd: S, sums: &mut [i32; LANES], values: &[i16; LANES]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx512(simd) {
        let values = simd.avx512f._mm512_cvtepi16_epi32(pulp::cast(*values));
        *sums = pulp::cast(simd.wrapping_add_i32x16(pulp::cast(*sums), pulp::cast(values)));
        return;
    }
    let _ = simd;
    for lane in 0..LANES {
        sums[lane] += i32::from(values[lane]);
    }
}

/// Numbers that are written at a time where they are not compressed.
const BURST: usize = 4;

/// [`list_bits`] of `G` groups of bits, compressed.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn list_groups<const G: usize, const T: usize>(
    simd: pulp::x86::V4,
    bits: u64,
    terms: [(u64, u32); T],
    [first, pitch]: [u32; 2],
    to: &mut [u32],
) {
    let mut lanes = [0; LANES];
    for lane in 0..LANES {
        lanes[lane] = first.wrapping_add(lane as u32 * pitch);
    }
    let places: pulp::u32x16 = pulp::cast(lanes);
    let (mut chosen, mut before) = ([places; G], [0; G]);
    for group in 0..G {
        let mut places = simd.wrapping_add_u32x16(places, simd.splat_u32x16((LANES * group) as u32 * pitch));
        for (bits, term) in terms {
            let (more, term) = ((bits >> (LANES * group)) as u16, simd.splat_u32x16(term));
            let now = pulp::cast(places);
            places = pulp::cast(simd.avx512f._mm512_mask_add_epi32(now, more, now, pulp::cast(term)));
        }
        let mask = (bits >> (LANES * group)) as u16;
        chosen[group] = pulp::cast(simd.avx512f._mm512_maskz_compress_epi32(mask, pulp::cast(places)));
        // Counted anew from the first bit, so that no count waits for the one before.
        before[group] = (bits & !(u64::MAX << (LANES * group))).count_ones() as usize;
    }
    let to = &mut to[..LANES * G + LANES];
    for group in 0..G {
        // What is behind the last number is written over by the next group.
        *to[before[group]..].first_chunk_mut::<LANES>().expect("room for the lanes behind the last") =
            pulp::cast(chosen[group]);
    }
}

/// Bits of 64 that are found one by one faster than byte by byte.
#[cfg(target_arch = "x86_64")]
const FEW: usize = 8;

/// Bits of a byte.
#[cfg(target_arch = "x86_64")]
const BYTE: usize = u8::BITS as usize;

/// Of each byte, the places of the bits that are set, in order; what lies behind the last means nothing.
#[cfg(target_arch = "x86_64")]
static PLACES: [[u8; BYTE]; 256] = {
    let mut places = [[0; BYTE]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut place, mut n) = (0, 0);
        while place < BYTE {
            if byte >> place & 1 == 1 {
                places[byte][n] = place as u8;
                n += 1;
            }
            place += 1;
        }
        byte += 1;
    }
    places
};

/// [`list_bits`] byte by byte, with a permutation for each.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn list_bytes<const T: usize>(
    simd: pulp::x86::V3,
    bits: u64,
    terms: [(u64, u32); T],
    n_bits: usize,
    [first, pitch]: [u32; 2],
    to: &mut [u32],
) {
    let to: &mut [u32; 64 + BYTE] = to.first_chunk_mut().expect("room for the lanes behind the last");
    let mut lanes = [0; BYTE];
    for lane in 0..BYTE {
        lanes[lane] = first.wrapping_add(lane as u32 * pitch);
    }
    let single: pulp::u32x8 = pulp::cast([1_u32, 2, 4, 8, 16, 32, 64, 128]);
    let mut places: pulp::u32x8 = pulp::cast(lanes);
    for byte in 0..n_bits.div_ceil(BYTE) {
        let shift = BYTE * byte;
        let mut values = places;
        for (bits, term) in terms {
            let bits = simd.and_u32x8(simd.splat_u32x8((bits >> shift) as u8 as u32), single);
            let is_set = pulp::cast(simd.cmp_eq_u32x8(bits, single));
            values = simd.wrapping_add_u32x8(values, simd.and_u32x8(is_set, simd.splat_u32x8(term)));
        }
        // Counted anew from the first bit, so that no count waits for the one before; at most 56.
        let before = (bits & !(u64::MAX << shift)).count_ones() as usize % 64;
        let [low, high]: [u64; 2] = [u64::from_le_bytes(PLACES[(bits >> shift) as u8 as usize]), 0];
        let order = simd.avx2._mm256_cvtepu8_epi32(pulp::cast([low, high]));
        let chosen = simd.avx2._mm256_permutevar8x32_epi32(pulp::cast(values), order);
        // What is behind the last number is written over by the next byte.
        *to[before..].first_chunk_mut().expect("room") = pulp::cast::<_, [u32; BYTE]>(chosen);
        places = simd.wrapping_add_u32x8(places, simd.splat_u32x8(BYTE as u32 * pitch));
    }
}

/// Writes `first` plus `pitch` times the place of each bit that is set, in order, and returns how many numbers that is.
///
/// - `terms`: what else is added where a bit is set, of other bits
/// - `n_bits`: above which none is set, 64 at most
/// - `to`: room for 64 numbers and [`LANES`] more; what lies behind those written means nothing then
#[inline(always)]
pub(crate) fn list_bits<S: Simd, const T: usize>(
    simd: S,
    mut bits: u64,
    terms: [(u64, u32); T],
    n_bits: usize,
    [first, pitch]: [u32; 2],
    to: &mut [u32],
) -> usize {
    let n = bits.count_ones() as usize;
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx512(simd) {
        match n_bits.div_ceil(LANES) {
            0 => {}
            1 => list_groups::<1, T>(simd, bits, terms, [first, pitch], to),
            2 => list_groups::<2, T>(simd, bits, terms, [first, pitch], to),
            3 => list_groups::<3, T>(simd, bits, terms, [first, pitch], to),
            _ => list_groups::<4, T>(simd, bits, terms, [first, pitch], to),
        }
        return n;
    }
    #[cfg(target_arch = "x86_64")]
    if let (Some(simd), true) = (avx2(simd), n > FEW || n_bits <= 2 * BYTE) {
        list_bytes(simd, bits, terms, n_bits, [first, pitch], to);
        return n;
    }
    let _ = (simd, n_bits);
    let mut end = 0;
    while end < n {
        // What is behind the last bit is written over: a branch for each would cost more.
        for to in &mut to[end..end + BURST] {
            let place = bits.trailing_zeros();
            *to = first.wrapping_add(place.wrapping_mul(pitch));
            for (bits, term) in terms {
                // Behind the last bit it means nothing.
                *to = to.wrapping_add((bits.wrapping_shr(place) as u32 & 1).wrapping_mul(term));
            }
            bits &= bits.wrapping_sub(1);
        }
        end += BURST;
    }
    n
}

/// [`list_bits`] of numbers that are not zero, each of which is added to what is written for it.
///
/// - `digits`: binary digits of the numbers, lowest first, eight at most
#[inline(always)]
pub(crate) fn list_counts<S: Simd, const D: usize>(
    simd: S,
    digits: [u64; D],
    n_bits: usize,
    [first, pitch]: [u32; 2],
    to: &mut [u32],
) -> usize {
    let mut present = 0;
    let mut terms = [(0, 0); D];
    for digit in 0..D {
        present |= digits[digit];
        terms[digit] = (digits[digit], 1 << digit);
    }
    #[cfg(target_arch = "x86_64")]
    if let (Some(simd), None) = (avx2(simd), avx512(simd)) {
        let n = present.count_ones() as usize;
        if n > BURST || n_bits <= 4 * BYTE {
            list_count_bytes(simd, present, digits, n_bits, [first, pitch], to);
            return n;
        }
    }
    list_bits(simd, present, terms, n_bits, [first, pitch], to)
}

/// [`list_counts`] byte by byte: numbers are made side by side, eight in a word, and those that are zero are squeezed out.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code, reason = "pulp does not have the instructions")]
fn list_count_bytes<const D: usize>(
    simd: pulp::x86::V3,
    present: u64,
    digits: [u64; D],
    n_bits: usize,
    [first, pitch]: [u32; 2],
    to: &mut [u32],
) {
    /// The lowest bit of each byte.
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    let to: &mut [u32; 64 + BYTE] = to.first_chunk_mut().expect("room for the lanes behind the last");
    let mut lanes = [0; BYTE];
    for lane in 0..BYTE {
        lanes[lane] = first.wrapping_add(lane as u32 * pitch);
    }
    let mut places: pulp::u32x8 = pulp::cast(lanes);
    for byte in 0..n_bits.div_ceil(BYTE) {
        let shift = BYTE * byte;
        let here = (present >> shift) as u8;
        // SAFETY: the level has BMI2.
        let counts = unsafe {
            let mut counts = 0;
            for digit in 0..D {
                counts |= std::arch::x86_64::_pdep_u64(digits[digit] >> shift, LOWEST << digit);
            }
            let there = std::arch::x86_64::_pdep_u64(here.into(), LOWEST) * 0xFF;
            std::arch::x86_64::_pext_u64(counts, there)
        };
        let [order, counts] = [u64::from_le_bytes(PLACES[here as usize]), counts]
            .map(|bytes| simd.avx2._mm256_cvtepu8_epi32(pulp::cast([bytes, 0])));
        let chosen = simd.avx2._mm256_permutevar8x32_epi32(pulp::cast(places), order);
        // Counted anew from the first bit, so that no count waits for the one before; at most 56.
        let before = (present & !(u64::MAX << shift)).count_ones() as usize % 64;
        // What is behind the last number is written over by the next byte.
        *to[before..].first_chunk_mut().expect("room") =
            pulp::cast::<_, [u32; BYTE]>(simd.avx2._mm256_add_epi32(chosen, counts));
        places = simd.wrapping_add_u32x8(places, simd.splat_u32x8(BYTE as u32 * pitch));
    }
}

/// The bits of a mask's places side by side, the lowest first.
#[inline(always)]
#[allow(unsafe_code, reason = "pulp does not have the instruction")]
pub(crate) fn extract_bits<S: Simd>(simd: S, bits: u64, mut mask: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if avx2(simd).is_some() {
        // SAFETY: the level has BMI2.
        return unsafe { std::arch::x86_64::_pext_u64(bits, mask) };
    }
    let _ = simd;
    let (mut extracted, mut end) = (0, 0);
    while mask != 0 {
        // A run of places at a time.
        let first = mask.trailing_zeros();
        let n = (mask >> first).trailing_ones();
        let run = u64::MAX >> (64 - n);
        extracted |= (bits >> first & run) << end;
        mask &= !(run << first);
        end += n;
    }
    extracted
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use pulp::{Arch, Scalar, WithSimd};

    use super::*;
    use snn::simd::at_most;

    struct ListBits(u64, [(u64, u32); 2], usize, [u32; 2]);

    impl WithSimd for ListBits {
        type Output = Vec<u32>;

        fn with_simd<S: Simd>(self, simd: S) -> Vec<u32> {
            let Self(bits, terms, n_bits, first_and_pitch) = self;
            let mut to = vec![0; 64 + LANES];
            let n = list_bits(simd, bits, terms, n_bits, first_and_pitch, &mut to);
            to.truncate(n);
            to
        }
    }

    struct ListCounts([u64; 3], usize, [u32; 2]);

    impl WithSimd for ListCounts {
        type Output = Vec<u32>;

        fn with_simd<S: Simd>(self, simd: S) -> Vec<u32> {
            let Self(digits, n_bits, first_and_pitch) = self;
            let mut to = vec![0; 64 + LANES];
            let n = list_counts(simd, digits, n_bits, first_and_pitch, &mut to);
            to.truncate(n);
            to
        }
    }

    struct AddRows<N>([N; 64], [N; 64]);

    impl<N: Addend> WithSimd for AddRows<N> {
        type Output = [N; 64];

        fn with_simd<S: Simd>(self, simd: S) -> [N; 64] {
            let Self(mut sums, row) = self;
            N::add(simd, &mut sums, &row);
            sums
        }
    }

    struct AddProducts([i32; LANES], [[i16; 2]; LANES], [i16; 2]);

    impl WithSimd for AddProducts {
        type Output = [i32; LANES];

        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(mut sums, weights, numbers) = self;
            add_products(simd, &mut sums, &weights, numbers);
            sums
        }
    }

    struct AddProductsOfBytes([i32; LANES], [[i8; 4]; LANES], [u8; 4]);

    impl WithSimd for AddProductsOfBytes {
        type Output = [i32; LANES];

        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(mut sums, weights, bytes) = self;
            add_products_of_bytes(simd, &mut sums, &weights, bytes);
            sums
        }
    }

    /// Potentials and thresholds of neurons, and their currents step by step.
    struct FireShort<'a>([i32; 64], [i32; 64], &'a [[i16; 64]]);

    impl WithSimd for FireShort<'_> {
        type Output = Option<(Vec<u64>, [i32; 64])>;

        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(mut potentials, thresholds, currents) = self;
            let mut spikes = vec![0; currents.len()];
            let is_right = fire_short(simd, &mut potentials, &thresholds, currents, &mut spikes);
            assert!(is_right || potentials == self.0);
            is_right.then_some((spikes, potentials))
        }
    }

    struct ExtractBits(u64, u64);

    impl WithSimd for ExtractBits {
        type Output = u64;

        fn with_simd<S: Simd>(self, simd: S) -> u64 {
            extract_bits(simd, self.0, self.1)
        }
    }

    struct Compare([f32; LANES], [f32; LANES]);

    impl WithSimd for Compare {
        type Output = [u16; 3];

        fn with_simd<S: Simd>(self, simd: S) -> [u16; 3] {
            let bits = [self.0, self.1].map(|values| values.map(f32::to_bits));
            let integers = bits.map(|values| values.map(u32::cast_signed));
            [
                f32::at_least(simd, &self.0, &self.1),
                i32::at_least(simd, &integers[0], &integers[1]),
                at_most(simd, &bits[0], &bits[1]),
            ]
        }
    }

    pub(crate) fn levels() -> Vec<Arch> {
        let mut levels = vec![Arch::new()];
        #[cfg(target_arch = "x86_64")]
        levels.extend(pulp::x86::V3::try_new().map(Arch::V3));
        levels
    }

    #[test]
    fn floats_become_the_integers_that_they_are_and_others_stay_within_the_range() {
        let exact = 1 << 24;
        for whole in [0, 1, -1, 4095, 1 - exact, exact] {
            assert_eq!(integer(whole as f32), whole);
        }
        assert_eq!([f32::INFINITY, 1e20, f32::MAX].map(integer), [1 << 30; 3]);
        assert_eq!([f32::NEG_INFINITY, -3e9].map(integer), [-(1 << 30); 2]);
        assert!(integer(f32::NAN).abs() <= 1 << 30);
    }

    proptest! {
        #[test]
        fn every_level_lists_the_places_of_the_bits_that_are_set(
            bits in any::<u64>(), sparse in any::<u64>(), n_bits in 1..=64_usize, first in any::<u32>(), pitch in 1..500_u32,
            terms in any::<[(u64, u32); 2]>(),
        ) {
            for bits in [bits, bits & sparse, 0, u64::MAX].map(|bits| bits & (u64::MAX >> (64 - n_bits))) {
                let expected = (0..64_u32).filter(|place| bits >> place & 1 == 1).map(|place| {
                    let terms = terms.iter().filter(|(of, _)| of >> place & 1 == 1);
                    terms.fold(first.wrapping_add(place * pitch), |sum, (_, term)| sum.wrapping_add(*term))
                });
                let expected = expected.collect::<Vec<_>>();
                prop_assert_eq!(&ListBits(bits, terms, n_bits, [first, pitch]).with_simd(Scalar::new()), &expected);
                for arch in levels() {
                    prop_assert_eq!(&arch.dispatch(ListBits(bits, terms, n_bits, [first, pitch])), &expected);
                }
            }
        }

        #[test]
        fn every_level_lists_the_numbers_that_are_not_zero(
            digits in any::<[u64; 3]>(), sparse in any::<[u64; 3]>(), n_bits in 1..=64_usize, first in any::<u32>(), pitch in 8..500_u32,
        ) {
            for sparse in [u64::MAX, sparse[0], sparse[0] & sparse[1], sparse[0] & sparse[1] & sparse[2], 0] {
                let digits = digits.map(|bits| bits & sparse & (u64::MAX >> (64 - n_bits)));
                let count = |place: u32| (0..3).map(|digit| (digits[digit] >> place & 1) << digit).sum::<u64>() as u32;
                let places = (0..64_u32).filter(|&place| count(place) > 0);
                let expected: Vec<u32> =
                    places.map(|place| first.wrapping_add(place * pitch).wrapping_add(count(place))).collect();
                prop_assert_eq!(&ListCounts(digits, n_bits, [first, pitch]).with_simd(Scalar::new()), &expected);
                for arch in levels() {
                    prop_assert_eq!(&arch.dispatch(ListCounts(digits, n_bits, [first, pitch])), &expected);
                }
            }
        }

        #[test]
        fn every_level_extracts_the_bits_of_a_mask(bits in any::<u64>(), mask in any::<u64>(), other in any::<u64>()) {
            for mask in [mask, mask & other, mask | other, 0, u64::MAX] {
                let places = (0..64).filter(|place| mask >> place & 1 == 1);
                let expected = (0..).zip(places).map(|(at, place)| (bits >> place & 1) << at).fold(0, |all, bit| all | bit);
                prop_assert_eq!(ExtractBits(bits, mask).with_simd(Scalar::new()), expected);
                for arch in levels() {
                    prop_assert_eq!(arch.dispatch(ExtractBits(bits, mask)), expected);
                }
            }
        }

        #[test]
        fn every_level_adds_alike(a in any::<[[i16; 32]; 2]>(), b in any::<[[i16; 32]; 2]>()) {
            let (a, b): ([i16; 64], [i16; 64]) = (pulp::cast(a), pulp::cast(b));
            let expected = std::array::from_fn(|k| a[k].wrapping_add(b[k]));
            let floats = |values: [i16; 64]| values.map(f32::from);
            let of_floats: [f32; 64] = std::array::from_fn(|k| f32::from(a[k]) + f32::from(b[k]));
            prop_assert_eq!(AddRows(a, b).with_simd(Scalar::new()), expected);
            prop_assert_eq!(AddRows(floats(a), floats(b)).with_simd(Scalar::new()), of_floats);
            for arch in levels() {
                prop_assert_eq!(arch.dispatch(AddRows(a, b)), expected);
                prop_assert_eq!(arch.dispatch(AddRows(floats(a), floats(b))), of_floats);
            }
        }

        #[test]
        fn every_level_adds_products_of_two(
            sums in any::<[i32; LANES]>(), weights in any::<[[i16; 2]; LANES]>(), bytes in any::<[u8; 2]>(),
        ) {
            let (sums, bytes) = (sums.map(|sum| sum / 2), bytes.map(i16::from));
            let product = |lane: usize, k: usize| i64::from(weights[lane][k]) * i64::from(bytes[k]);
            let expected = std::array::from_fn(|lane| (i64::from(sums[lane]) + product(lane, 0) + product(lane, 1)) as i32);
            prop_assert_eq!(AddProducts(sums, weights, bytes).with_simd(Scalar::new()), expected);
            for arch in levels() {
                prop_assert_eq!(arch.dispatch(AddProducts(sums, weights, bytes)), expected);
            }
        }

        #[test]
        fn every_level_adds_products_of_four_bytes(
            sums in any::<[i32; LANES]>(), weights in any::<[[i8; 4]; LANES]>(), bytes in any::<[u8; 4]>(), most in any::<bool>(),
        ) {
            // Of two that are as far from zero as they may be, often with the greatest byte.
            let weights = weights.map(|of_lane| if most { of_lane.map(|weight| weight.signum() * 64) } else { of_lane.map(|weight| weight / 2) });
            let bytes = bytes.map(|byte| if most { 255 } else { byte });
            let sums = sums.map(|sum| sum / 2);
            let product = |lane: usize, k: usize| i32::from(weights[lane][k]) * i32::from(bytes[k]);
            let expected = std::array::from_fn(|lane| sums[lane] + (0..4).map(|k| product(lane, k)).sum::<i32>());
            prop_assert_eq!(AddProductsOfBytes(sums, weights, bytes).with_simd(Scalar::new()), expected);
            for arch in levels() {
                prop_assert_eq!(arch.dispatch(AddProductsOfBytes(sums, weights, bytes)), expected);
            }
        }

        #[test]
        fn potentials_in_few_bits_are_what_they_are_in_more_or_are_found_out(
            potentials in any::<[[i16; 32]; 2]>(), thresholds in any::<[[i16; 32]; 2]>(),
            currents in prop::collection::vec(any::<[[i16; 32]; 2]>(), 1..=SHORT), of_currents in 0..15_u32,
            of_thresholds in 0..15_u32, of_potentials in 0..16_u32, is_negative in prop::bool::weighted(0.1),
        ) {
            let wide = |values: [[i16; 32]; 2]| pulp::cast::<_, [i16; 64]>(values).map(i32::from);
            // Beyond 16 bits too.
            let potentials = wide(potentials).map(|value| (value * 4) >> of_potentials);
            let mut thresholds = wide(thresholds).map(|value| value.abs() >> of_thresholds);
            thresholds[7] -= i32::from(is_negative) * 40_000;
            let currents: Vec<[i16; 64]> =
                currents.into_iter().map(|values| wide(values).map(|value| (value >> of_currents) as i16)).collect();
            let mut expected = (vec![0; currents.len()], potentials);
            let mut stays_near = true;
            for (bits, currents) in expected.0.iter_mut().zip(&currents) {
                for lane in 0..64 {
                    let (u, threshold) = (&mut expected.1[lane], thresholds[lane]);
                    *u += i32::from(currents[lane]);
                    if *u >= threshold {
                        *u -= threshold;
                        *bits |= 1 << lane;
                    }
                    stays_near &= (0..=i32::from(i16::MAX)).contains(&threshold) && u.abs() <= 1 << 13;
                }
            }
            stays_near &= potentials.iter().all(|potential| potential.abs() <= 1 << 13);
            let run = || FireShort(potentials, thresholds, &currents);
            let found = run().with_simd(Scalar::new());
            prop_assert!(found.is_some() || !stays_near);
            for arch in levels() {
                prop_assert_eq!(&arch.dispatch(run()), &found);
            }
            prop_assert!(found.is_none_or(|found| found == expected));
        }

        #[test]
        fn every_level_compares_alike(values in any::<[f32; LANES]>(), bounds in any::<[f32; LANES]>(), equal in any::<u16>()) {
            let mut bounds = bounds;
            for lane in (0..LANES).filter(|lane| equal >> lane & 1 == 1) {
                bounds[lane] = values[lane];
            }
            let all = |of: &dyn Fn(f32, f32) -> bool| {
                (0..LANES).fold(0_u16, |bits, lane| bits | u16::from(of(values[lane], bounds[lane])) << lane)
            };
            let expected = [
                all(&|value, bound| value >= bound),
                all(&|value, bound| value.to_bits().cast_signed() >= bound.to_bits().cast_signed()),
                all(&|value, bound| value.to_bits() <= bound.to_bits()),
            ];
            prop_assert_eq!(Compare(values, bounds).with_simd(Scalar::new()), expected);
            for arch in levels() {
                prop_assert_eq!(arch.dispatch(Compare(values, bounds)), expected);
            }
        }
    }
}
