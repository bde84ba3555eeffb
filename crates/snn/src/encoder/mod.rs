//! Pixels to input spikes: one file an encoding, and one row of `encoder` each.
//!
//! Every random number is keyed by seed, sample, pixel and step ([`crate::philox`]), so the spikes of a sample do
//! not depend on batch, thread or engine. All arithmetic is in integers: a rate is a multiple of 2⁻³².
//! `constant` input has no spikes; its current is [`crate::SpikingLayer::drive`].

mod constant;
mod even;
mod poisson;
mod regular;
mod systematic;

use std::ops::Range;

use model::config::Encoding;

use crate::spikes::SpikeTrain;

/// Streams of random numbers that must not share a counter.
const POISSON_STREAM: u32 = 0;
const PHASE_STREAM: u32 = 1;

/// A rate of one spike per step.
const ONE: u64 = 1 << 32;

/// Bits of a word of spikes.
const WORD: usize = u64::BITS as usize;

/// Adds a sample's spikes to a silent train.
type Encoder = fn(&Input<'_>, &mut SpikeTrain);

/// The encoder of each encoding.
fn encoder(encoding: Encoding) -> Encoder {
    match encoding {
        Encoding::Poisson => poisson::encode,
        Encoding::Systematic => systematic::encode,
        Encoding::Regular => regular::encode,
        Encoding::Constant => constant::encode,
    }
}

/// What an encoder is given.
struct Input<'a> {
    seed: u64,
    sample: u32,
    /// Pixels `[C·H·W]` in [0, 1], to be checked by [`rates`].
    pixels: &'a [f32],
    /// Step of the run at which the train begins.
    first_step: usize,
}

/// Input spikes of one sample.
///
/// - `sample`: index of the sample in its data set, part of the random numbers' key
/// - `shape`: `[C, H, W]` of the input
/// - `pixels`: `[C·H·W]`, the spike rate per step, each in [0, 1]
/// - `steps`: of the run, from 0
/// - returns a train of these steps; without a spike for [`Encoding::Constant`]
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
    encoder(encoding)(&Input { seed, sample, pixels, first_step: steps.start }, &mut train);
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
        Encoding::Systematic => systematic::phases(seed, sample, n),
        Encoding::Regular | Encoding::Poisson | Encoding::Constant => regular::phases(n),
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
