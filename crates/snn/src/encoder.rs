//! Pixels to input spikes.
//!
//! Every random number is keyed by seed, sample, pixel and step ([`crate::philox`]), so the spikes of a sample do
//! not depend on batch, thread or engine. All arithmetic is in integers: a rate is a multiple of 2⁻³².
//! `constant` input has no spikes; its current is [`crate::SpikingLayer::drive`].

use model::config::Encoding;

use crate::philox::philox;
use crate::spikes::SpikeTrain;

/// Streams of random numbers that must not share a counter.
const POISSON_STREAM: u32 = 0;
const PHASE_STREAM: u32 = 1;

/// A rate of one spike per step.
const ONE: u64 = 1 << 32;

/// Input spikes of one sample.
///
/// - `sample`: index of the sample in its data set, part of the random numbers' key
/// - `pixels`: `[N]`, the spike rate per step, each in [0, 1]
/// - returns `[T, N]`; without a spike for [`Encoding::Constant`]
///
/// `poisson`: independently at each step with the pixel's value as probability. `systematic`:
/// `floor(t·x + u) − floor((t − 1)·x + u)` spikes at step t, with one uniform u per pixel, so that the count over
/// any window is less than one spike off `x` times its length. `regular`: the same with u = ½.
///
/// # Panics
/// If a pixel is outside [0, 1].
pub fn encode(encoding: Encoding, seed: u64, sample: u32, pixels: &[f32], n_steps: usize) -> SpikeTrain {
    let mut train = SpikeTrain::silent(pixels.len(), n_steps);
    if encoding == Encoding::Constant {
        return train;
    }
    for (pixel_idx, &pixel) in pixels.iter().enumerate() {
        assert!((0.0..=1.0).contains(&pixel), "pixel {pixel_idx} of sample {sample} is {pixel}, outside [0, 1]");
        let rate = (f64::from(pixel) * ONE as f64).round() as u64;
        if rate == 0 {
            continue;
        }
        match encoding {
            Encoding::Poisson => poisson(&mut train, seed, sample, pixel_idx, rate),
            Encoding::Systematic => {
                let phase = philox(seed, [pixel_idx as u32, 0, sample, PHASE_STREAM])[0];
                evenly(&mut train, pixel_idx, rate, u64::from(phase));
            }
            Encoding::Regular => evenly(&mut train, pixel_idx, rate, ONE / 2),
            Encoding::Constant => unreachable!("returned above"),
        }
    }
    train
}

fn poisson(train: &mut SpikeTrain, seed: u64, sample: u32, pixel_idx: usize, rate: u64) {
    // One call of the generator serves four steps.
    for first in (0..train.n_steps()).step_by(4) {
        let draws = philox(seed, [pixel_idx as u32, (first / 4) as u32, sample, POISSON_STREAM]);
        for (step, draw) in (first..train.n_steps()).zip(draws) {
            if u64::from(draw) < rate {
                train.add(step, pixel_idx);
            }
        }
    }
}

fn evenly(train: &mut SpikeTrain, pixel_idx: usize, rate: u64, phase: u64) {
    let mut sum = phase;
    for step in 0..train.n_steps() {
        sum += rate;
        if sum >= ONE {
            sum -= ONE;
            train.add(step, pixel_idx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const N_STEPS: usize = 2000;

    #[test]
    fn poisson_counts_have_the_mean_and_variance_of_a_binomial() {
        let rate = 0.3_f32;
        let train = encode(Encoding::Poisson, 11, 5, &[rate; 400], N_STEPS);
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
        let train = |seed, sample| encode(Encoding::Poisson, seed, sample, &[0.5; 64], N_STEPS);
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
            assert_eq!(encode(encoding, 3, 0, &[1.0, 0.0], 50).counts(), [50, 0], "{encoding}");
        }
        assert_eq!(encode(Encoding::Constant, 3, 0, &[1.0, 0.0], 50).counts(), [0, 0]);
    }

    proptest! {
        #[test]
        fn evenly_spread_spikes_are_less_than_one_off_over_every_window(
            pixel in 0.0..=1.0_f32, seed in any::<u64>(), first in 0..50_usize, length in 0..50_usize,
        ) {
            for encoding in [Encoding::Systematic, Encoding::Regular] {
                let train = encode(encoding, seed, 9, &[pixel], 100);
                let count = (first..first + length).filter(|&step| train.get(step, 0)).count() as f64;
                // Rates are rounded to 2⁻³²: far below this slack over a hundred steps.
                prop_assert!((count - f64::from(pixel) * length as f64).abs() < 1.0 + 1e-6);
            }
        }

        #[test]
        fn a_longer_run_begins_as_the_shorter_one(pixel in 0.0..=1.0_f32, seed in any::<u64>(), n_steps in 1..40_usize) {
            for encoding in [Encoding::Poisson, Encoding::Systematic] {
                let (short, long) = (encode(encoding, seed, 2, &[pixel], n_steps), encode(encoding, seed, 2, &[pixel], 64));
                prop_assert!((0..n_steps).all(|step| short.get(step, 0) == long.get(step, 0)));
            }
        }
    }

    #[test]
    fn the_phase_of_systematic_spikes_is_uniform() {
        let train = encode(Encoding::Systematic, 4, 0, &[0.25; 4000], 4);
        // A rate of ¼ spikes once in four steps; the step is the quarter that the phase falls into.
        for step in 0..4 {
            // 4,000 draws: a standard error of 27, five of them.
            assert!((train.n_spikes(step) as f64 - 1000.0).abs() < 137.0, "step {step}: {}", train.n_spikes(step));
        }
    }
}
