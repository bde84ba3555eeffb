//! Pixels to input spikes.
//!
//! Every random number is keyed by seed, sample, pixel and step ([`crate::philox`]), so the spikes of a sample do
//! not depend on batch, thread or engine. All arithmetic is in integers: a rate is a multiple of 2⁻³².
//! `constant` input has no spikes; its current is [`crate::SpikingLayer::drive`].

use std::ops::Range;

use model::config::Encoding;
use pulp::{Arch, Simd, WithSimd};

use crate::philox::{Series, philox_lanes};
use crate::places::by_place;
use crate::simd::{LANES, at_most};
use crate::spikes::SpikeTrain;

/// Streams of random numbers that must not share a counter.
const POISSON_STREAM: u32 = 0;
const PHASE_STREAM: u32 = 1;

/// A rate of one spike per step.
const ONE: u64 = 1 << 32;

/// Bits of a word of spikes.
const WORD: usize = u64::BITS as usize;

/// Input spikes of one sample.
///
/// - `sample`: index of the sample in its data set, part of the random numbers' key
/// - `shape`: `[C, H, W]` of the input
/// - `pixels`: `[C·H·W]`, the spike rate per step, each in [0, 1]
/// - `steps`: of the run, from 0
/// - returns a train of these steps; without a spike for [`Encoding::Constant`]
///
/// `poisson`: independently at each step with the pixel's value as probability. `systematic`:
/// `floor(t·x + u) − floor((t − 1)·x + u)` spikes at step t, with one uniform u per pixel, so that the count over
/// any window is less than one spike off `x` times its length. `regular`: the same with u = ½.
///
/// # Panics
/// If a pixel is outside [0, 1], missing or left over.
pub fn encode(
    encoding: Encoding,
    seed: u64,
    sample: u32,
    shape: [usize; 3],
    pixels: &[f32],
    steps: Range<usize>,
) -> SpikeTrain {
    let mut train = SpikeTrain::silent(shape, steps.len());
    assert_eq!(pixels.len(), train.n_neurons(), "one pixel per input");
    if encoding == Encoding::Constant {
        return train;
    }
    let rates = rates(sample, pixels);
    let first_step = steps.start;
    if encoding == Encoding::Poisson {
        Arch::new().dispatch(Poisson { train: &mut train, first_step, seed, sample, rates: &rates });
    } else {
        let phases = phases(encoding, seed, sample, rates.len());
        let charges: Vec<u64> =
            phases.iter().zip(&rates).map(|(phase, rate)| phase + rate * first_step as u64).collect();
        Arch::new().dispatch(Even { train: &mut train, charges: &charges, rates: &rates });
    }
    train
}

/// Spikes per step of each pixel, in units of 2⁻³², at most 2³².
///
/// # Panics
/// If a pixel is outside [0, 1].
pub fn rates(sample: u32, pixels: &[f32]) -> Vec<u64> {
    if let Some(pixel_idx) = pixels.iter().position(|pixel| !(0.0..=1.0).contains(pixel)) {
        panic!("pixel {pixel_idx} of sample {sample} is {}, outside [0, 1]", pixels[pixel_idx]);
    }
    // Rounded: the sum is exact.
    pixels.iter().map(|&pixel| (f64::from(pixel) * ONE as f64 + 0.5) as u64).collect()
}

/// What each pixel's sum of rates begins with, in units of 2⁻³², where spikes are spread evenly.
///
/// - `n`: pixels
pub fn phases(encoding: Encoding, seed: u64, sample: u32, n: usize) -> Vec<u64> {
    match encoding {
        Encoding::Systematic => Arch::new().dispatch(Phases { seed, sample, n }),
        _ => vec![ONE / 2; n],
    }
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

/// Spreads the spikes of a few pixels at a time evenly.
struct Even<'a> {
    train: &'a mut SpikeTrain,
    /// Of each pixel before the first step, of which only the part below a spike counts.
    charges: &'a [u64],
    /// Of each pixel.
    rates: &'a [u64],
}

impl WithSimd for Even<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    #[allow(
        clippy::needless_range_loop,
        reason = "the same lane of several arrays, which becomes one SIMD instruction"
    )]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { train, charges, rates } = self;
        let (shape, n_steps) = (train.shape(), train.n_steps());
        let (charges, rates) = (by_place(shape, charges), by_place(shape, rates));
        let (words, pitch) = train.words_mut();
        for (word, (charges, rates)) in charges.chunks(WORD).zip(rates.chunks(WORD)).enumerate() {
            let (mut sums, mut added, mut always) = ([0; WORD], [0; WORD], 0_u64);
            for (lane, (&charge, &rate)) in charges.iter().zip(rates).enumerate() {
                // A spike is 2³², on which sums wrap around; a rate of one spike leaves them as they are.
                (sums[lane], added[lane]) = (charge as u32, rate as u32);
                always |= u64::from(rate == ONE) << lane;
            }
            if rates.iter().all(|&rate| rate == 0) {
                continue;
            }
            for step in 0..n_steps {
                let mut spikes = always;
                let groups = sums.as_chunks_mut::<LANES>().0.iter_mut().zip(added.as_chunks::<LANES>().0);
                for (group, (sums, added)) in groups.enumerate() {
                    for lane in 0..LANES {
                        sums[lane] = sums[lane].wrapping_add(added[lane]);
                    }
                    // A sum that is less than what was added to it has wrapped around.
                    spikes |= u64::from(!at_most(simd, added, sums)) << (LANES * group);
                }
                words[step * pitch + word] = spikes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::philox::philox;

    const N_STEPS: usize = 2000;

    #[test]
    fn poisson_counts_have_the_mean_and_variance_of_a_binomial() {
        let rate = 0.3_f32;
        let train = encode(Encoding::Poisson, 11, 5, [400, 1, 1], &[rate; 400], 0..N_STEPS);
        let counts: Vec<f64> = train.counts().into_iter().map(f64::from).collect();
        let (n, p) = (counts.len() as f64, f64::from(rate));
        let mean = counts.iter().sum::<f64>() / n;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let expected = N_STEPS as f64 * p * (1.0 - p);
        // Five standard errors of each estimate: one failure in a million seeds, and the seed is fixed.
        assert!((mean - N_STEPS as f64 * p).abs() < 5.0 * (expected / n).sqrt(), "mean {mean}");
        assert!((variance / expected - 1.0).abs() < 5.0 * (2.0 / (n - 1.0)).sqrt(), "variance {variance}");
    }

    #[test]
    fn poisson_spikes_of_neighbouring_pixels_steps_samples_and_seeds_are_uncorrelated() {
        let train = |seed, sample| encode(Encoding::Poisson, seed, sample, [64, 1, 1], &[0.5; 64], 0..N_STEPS);
        let base = train(1, 1);
        let agreement = |other: &dyn Fn(usize, usize) -> bool| {
            let agree = |step: usize| (0..63).filter(|&i| base.get(step, i) == other(step, i)).count();
            (0..N_STEPS - 1).map(agree).sum::<usize>() as f64 / (63 * (N_STEPS - 1)) as f64
        };
        let (other_seed, other_sample) = (train(2, 1), train(1, 2));
        let shares = [
            agreement(&|step, i| other_seed.get(step, i)),
            agreement(&|step, i| other_sample.get(step, i)),
            agreement(&|step, i| base.get(step + 1, i)),
            agreement(&|step, i| base.get(step, i + 1)),
        ];
        // 126,000 fair coin tosses: a standard error of 0.0014, five of them.
        assert!(shares.iter().all(|share| (share - 0.5).abs() < 0.007), "{shares:?}");
    }

    #[test]
    fn white_pixels_spike_at_every_step_and_black_ones_never() {
        for encoding in [Encoding::Poisson, Encoding::Systematic, Encoding::Regular] {
            assert_eq!(encode(encoding, 3, 0, [2, 1, 1], &[1.0, 0.0], 0..50).counts(), [50, 0], "{encoding}");
        }
        assert_eq!(encode(Encoding::Constant, 3, 0, [2, 1, 1], &[1.0, 0.0], 0..50).counts(), [0, 0]);
    }

    proptest! {
        #[test]
        fn evenly_spread_spikes_are_less_than_one_off_over_every_window(
            pixel in 0.0..=1.0_f32, seed in any::<u64>(), first in 0..50_usize, length in 0..50_usize,
        ) {
            for encoding in [Encoding::Systematic, Encoding::Regular] {
                let train = encode(encoding, seed, 9, [1, 1, 1], &[pixel], 0..100);
                let count = (first..first + length).filter(|&step| train.get(step, 0)).count() as f64;
                // Rates are rounded to 2⁻³²: far below this slack over a hundred steps.
                prop_assert!((count - f64::from(pixel) * length as f64).abs() < 1.0 + 1e-6);
            }
        }

        #[test]
        fn any_steps_of_a_run_can_be_had_alone(
            pixel in 0.0..=1.0_f32, seed in any::<u64>(), first in 0..40_usize, n_steps in 1..40_usize,
        ) {
            for encoding in [Encoding::Poisson, Encoding::Systematic, Encoding::Regular] {
                let run = |steps| encode(encoding, seed, 2, [1, 1, 1], &[pixel], steps);
                let (part, all) = (run(first..first + n_steps), run(0..80));
                prop_assert!((0..n_steps).all(|step| part.get(step, 0) == all.get(first + step, 0)));
            }
        }
    }

    #[test]
    fn poisson_spikes_of_an_image_are_those_drawn_one_by_one() {
        let shape = [3, 5, 7];
        let pixels: Vec<f32> = (0..105).map(|i| if i % 4 == 0 { 0.0 } else { i as f32 / 104.0 }).collect();
        let train = encode(Encoding::Poisson, 8, 6, shape, &pixels, 0..11);
        for (idx, &pixel) in pixels.iter().enumerate() {
            let rate = (f64::from(pixel) * ONE as f64).round() as u64;
            for step in 0..11 {
                let draw = philox(8, [idx as u32, step as u32 / 4, 6, POISSON_STREAM])[step % 4];
                assert_eq!(train.get(step, idx), u64::from(draw) < rate, "pixel {idx}, step {step}");
            }
        }
    }

    #[test]
    fn evenly_spread_spikes_of_an_image_are_those_added_up_pixel_by_pixel() {
        let shape = [3, 5, 9];
        let pixels: Vec<f32> = (0..135).map(|i| if i % 4 == 0 { 0.0 } else { i as f32 / 134.0 }).collect();
        let rates = rates(6, &pixels);
        assert!(rates.contains(&0) && rates.contains(&ONE));
        let phase = |encoding, pixel: usize| match encoding {
            Encoding::Systematic => u64::from(philox(8, [pixel as u32, 0, 6, PHASE_STREAM])[0]),
            _ => ONE / 2,
        };
        for encoding in [Encoding::Systematic, Encoding::Regular] {
            let train = encode(encoding, 8, 6, shape, &pixels, 3..40);
            for (idx, &rate) in rates.iter().enumerate() {
                let spikes = |step: usize| (phase(encoding, idx) + rate * step as u64) / ONE;
                for step in 3..40 {
                    let expected = spikes(step + 1) - spikes(step);
                    assert_eq!(u64::from(train.get(step - 3, idx)), expected, "{encoding}, pixel {idx}, step {step}");
                }
            }
        }
    }

    #[test]
    fn the_phase_of_systematic_spikes_is_uniform() {
        let train = encode(Encoding::Systematic, 4, 0, [4000, 1, 1], &[0.25; 4000], 0..4);
        // A rate of ¼ spikes once in four steps; the step is the quarter that the phase falls into.
        for step in 0..4 {
            // 4,000 draws: a standard error of 27, five of them.
            assert!((train.n_spikes(step) as f64 - 1000.0).abs() < 137.0, "step {step}: {}", train.n_spikes(step));
        }
    }
}
