//! `poisson`: independent spikes at each step, with the pixel's value as probability.
//!
//! Counts over T steps are binomial: mean `T x`, variance `T x (1 − x)`.

use pulp::{Arch, Simd, WithSimd};

use super::{Input, POISSON_STREAM, WORD, rates};
use crate::philox::Series;
use crate::places::by_place;
use crate::simd::{LANES, at_most};
use crate::spikes::SpikeTrain;

pub(super) fn encode(input: &Input<'_>, train: &mut SpikeTrain) {
    let &Input { seed, sample, pixels, first_step } = input;
    let rates = rates(sample, pixels);
    Arch::new().dispatch(Poisson { train, first_step, seed, sample, rates: &rates });
}

/// Draws the spikes of a few pixels at a time.
struct Poisson<'a> {
    train: &'a mut SpikeTrain,
    /// Of the run, at which the train begins.
    first_step: usize,
    seed: u64,
    sample: u32,
    /// Of each pixel.
    rates: &'a [u64],
}

impl WithSimd for Poisson<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { train, first_step, seed, sample, rates } = self;
        let (shape, n_steps) = (train.shape(), train.n_steps());
        let indices: Vec<u32> = (0..rates.len() as u32).collect();
        let (indices, rates) = (by_place(shape, &indices), by_place(shape, rates));
        let (words, pitch) = train.words_mut();
        for (word, (indices, rates)) in indices.chunks(WORD).zip(rates.chunks(WORD)).enumerate() {
            // Dark pixels are passed over where all of a group are.
            let mut lit = 0_u64;
            let (mut pixels, mut limits) = ([0; WORD], [0; WORD]);
            pixels[..indices.len()].copy_from_slice(indices);
            for (lane, &rate) in rates.iter().enumerate() {
                // A draw is below its rate if it is at most this; rates are up to 2³², one more than a draw's bits hold.
                limits[lane] = rate.saturating_sub(1) as u32;
                lit |= u64::from(rate > 0) << lane;
            }
            let (pixels, limits) = (pixels.as_chunks::<LANES>().0, limits.as_chunks::<LANES>().0);
            for (group, (pixels, limits)) in pixels.iter().zip(limits).enumerate() {
                let lit = (lit >> (LANES * group)) as u16;
                if lit == 0 {
                    continue;
                }
                let series = Series::new(seed, pixels, sample, POISSON_STREAM);
                // One call of the generator serves four steps of the run.
                for call in first_step / 4..(first_step + n_steps).div_ceil(4) {
                    for (step, draws) in (4 * call..first_step + n_steps).zip(series.at(call as u32)) {
                        if step >= first_step {
                            let spikes = u64::from(at_most(simd, &draws, limits) & lit);
                            words[(step - first_step) * pitch + word] |= spikes << (LANES * group);
                        }
                    }
                }
            }
        }
    }
}
