//! SIMD levels: which one code is compiled for, and comparisons that every level does in its own way.
//!
//! Each has a portable form, which every other level uses; all give the same bits.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use pulp::Simd;

/// Lanes that are looked at together.
pub const LANES: usize = 16;

/// The level with AVX-512, if code is being compiled for it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn avx512<S: Simd>(simd: S) -> Option<pulp::x86::V4> {
    // Decided when the function is compiled for a level.
    (&simd as &dyn std::any::Any).downcast_ref().copied()
}

/// The level with AVX2, if code is being compiled for it or for a higher one.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn avx2<S: Simd>(simd: S) -> Option<pulp::x86::V3> {
    let level = (&simd as &dyn std::any::Any).downcast_ref().copied();
    // Has all that the lower level has.
    level.or(avx512(simd).map(|simd| *simd))
}

/// The bits of two masks side by side.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn halves(simd: pulp::x86::V3, low: pulp::m32x8, high: pulp::m32x8) -> u16 {
    let bits = [simd.avx._mm256_movemask_ps(pulp::cast(low)), simd.avx._mm256_movemask_ps(pulp::cast(high))];
    bits[0] as u16 | (bits[1] as u16) << 8
}

/// Bit k is 1 where value k is at most its bound.
#[inline(always)]
pub fn at_most<S: Simd>(simd: S, values: &[u32; LANES], bounds: &[u32; LANES]) -> u16 {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx512(simd) {
        return simd.cmp_le_u32x16(pulp::cast(*values), pulp::cast(*bounds)).0;
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx2(simd) {
        let (values, bounds): ([pulp::u32x8; 2], [pulp::u32x8; 2]) = (pulp::cast(*values), pulp::cast(*bounds));
        let [low, high] = [simd.cmp_le_u32x8(values[0], bounds[0]), simd.cmp_le_u32x8(values[1], bounds[1])];
        return halves(simd, low, high);
    }
    let _ = simd;
    let mut bits = 0;
    for (lane, (&value, &bound)) in values.iter().zip(bounds).enumerate() {
        // The sign bit of the difference; comparisons would be made one by one.
        bits |= (!(u64::from(bound).wrapping_sub(u64::from(value))) >> 63 << lane) as u16;
    }
    bits
}
