//! The learning rate as a function of the step alone, so that a resumed run needs no state for it.

use std::f64::consts::PI;

use model::config::{Schedule, TrainConfig};

/// Learning rate of one step of gradient descent.
///
/// - `step`: from 0
/// - `steps_per_epoch`: at least 1
///
/// `cosine`: `f + (η − f)·(1 + cos(π·step/total))/2` from η to the final rate f over all epochs
/// (Loshchilov & Hutter 2017, without restarts).
pub fn learning_rate(config: &TrainConfig, step: usize, steps_per_epoch: usize) -> f64 {
    let initial = config.learning_rate;
    match config.schedule {
        Schedule::Constant => initial,
        Schedule::Step { epochs, factor } => initial * factor.powi((step / steps_per_epoch / epochs) as i32),
        Schedule::Cosine { final_learning_rate } => {
            let progress = step as f64 / (config.epochs * steps_per_epoch) as f64;
            final_learning_rate + (initial - final_learning_rate) * f64::midpoint(1.0, (PI * progress).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rounding of a few f64 operations on numbers near 1.
    const TOLERANCE: f64 = 1e-12;

    fn at(schedule: Schedule, step: usize) -> f64 {
        let config = TrainConfig {
            epochs: 4,
            batch_size: 1,
            patience: None,
            learning_rate: 0.8,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            schedule,
            ..TrainConfig::default()
        };
        learning_rate(&config, step, 5)
    }

    #[test]
    fn constant_stays() {
        assert!([0, 7, 19].iter().all(|&step| (at(Schedule::Constant, step) - 0.8).abs() < TOLERANCE));
    }

    #[test]
    fn step_falls_by_its_factor_after_its_epochs_and_not_before() {
        let schedule = Schedule::Step { epochs: 2, factor: 0.5 };
        for (step, expected) in [(0, 0.8), (9, 0.8), (10, 0.4), (19, 0.4), (20, 0.2)] {
            assert!((at(schedule, step) - expected).abs() < TOLERANCE, "step {step}");
        }
    }

    #[test]
    fn cosine_starts_at_the_initial_rate_is_half_way_in_the_middle_and_ends_at_the_final_rate() {
        let schedule = Schedule::Cosine { final_learning_rate: 0.2 };
        for (step, expected) in [(0, 0.8), (10, 0.5), (20, 0.2)] {
            assert!((at(schedule, step) - expected).abs() < TOLERANCE, "step {step}");
        }
    }

    proptest! {
        #[test]
        fn the_rate_never_rises_and_stays_between_its_bounds(step in 0..19usize, last in 0.0..0.8, factor in 0.01..1.0) {
            for schedule in [
                Schedule::Constant,
                Schedule::Step { epochs: 1, factor },
                Schedule::Cosine { final_learning_rate: last },
            ] {
                let (now, next) = (at(schedule, step), at(schedule, step + 1));
                let lowest = match schedule {
                    Schedule::Constant => 0.8,
                    Schedule::Step { factor, .. } => 0.8 * factor.powi(3),
                    Schedule::Cosine { final_learning_rate } => final_learning_rate,
                };
                prop_assert!(next <= now + TOLERANCE && now <= 0.8 + TOLERANCE && next >= lowest - TOLERANCE);
            }
        }
    }
}
