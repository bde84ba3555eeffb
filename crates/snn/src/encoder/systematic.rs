//! `systematic`: evenly spread spikes with a random phase, one uniform u in [0, 1) for each pixel.

use pulp::{Arch, Simd, WithSimd};

use super::{Input, PHASE_STREAM, even};
use crate::philox::philox_lanes;
use crate::simd::LANES;
use crate::spikes::SpikeTrain;

pub(super) fn encode(input: &Input<'_>, train: &mut SpikeTrain) {
    even::encode(input, &phases(input.seed, input.sample, input.pixels.len()), train);
}

pub(super) fn phases(seed: u64, sample: u32, n: usize) -> Vec<u64> {
    Arch::new().dispatch(Phases { seed, sample, n })
}

/// Draws phases, a few pixels at a time.
struct Phases {
    seed: u64,
    sample: u32,
    n: usize,
}

impl WithSimd for Phases {
    type Output = Vec<u64>;

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    fn with_simd<S: Simd>(self, _: S) -> Vec<u64> {
        let Self { seed, sample, n } = self;
        let mut phases = Vec::with_capacity(n.next_multiple_of(LANES));
        for first in (0..n).step_by(LANES) {
            let mut pixels = [first as u32; LANES];
            for (lane, pixel) in (0..).zip(&mut pixels) {
                *pixel += lane;
            }
            let [draws, ..] = philox_lanes(seed, [pixels, [0; LANES], [sample; LANES], [PHASE_STREAM; LANES]]);
            phases.extend(draws.map(u64::from));
        }
        phases.truncate(n);
        phases
    }
}
