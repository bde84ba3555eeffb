//! The counting neuron: what it has put out is at every step the rounded sum of its input, whatever the order of that.
//!
//! In quanta, of which a threshold λ has τ: `u = v + I`; `s = clamp(⌊u/θ⌋, −n, cap − n)`, n being what it has put out before; then
//! `v = u − sθ` and `n ← n + s`. It puts out s quanta; negative ones take back. The cap after t of T steps is τt, or τT throughout.
//!
//! `v + nθ` is conserved, so `n_t = clamp(⌊(v(0) + Σ I)/θ⌋, 0, cap)`: the neuron has no error but rounding
//! and clipping. With v(0) = ½ and a constant input current, the network after t steps is therefore the
//! trained one whose activations a, in λ, are rounded to `clamp(⌊τt·a + ½⌋, 0, τt)/(τt)`, layer by layer, at every step.
//!
//! Source: spikes of both signs that track a sum are those of Wang et al. 2022, "Signed neuron with memory", and of the spike-tracking
//! neurons of ST-BIF; several quanta a step are the multi-threshold spikes of Huang et al. 2024 (DCGS). The exactness is derived in
//! crates/snn/README.md.

use model::config::{NeuronConfig, RateCap};

use super::{Description, Neuron, State};

/// The counting neuron of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counting {
    /// Quanta in a threshold, τ.
    pub levels: u32,
    /// What bounds the quanta.
    pub rate_cap: RateCap,
    /// Steps of the run, T.
    pub n_steps: usize,
}

impl Counting {
    /// Those of a configuration.
    pub fn new(config: NeuronConfig, n_steps: usize) -> Self {
        Self { levels: config.levels, rate_cap: config.rate_cap, n_steps }
    }

    /// The most that a neuron may have put out after a step.
    ///
    /// - `step`: from 0
    #[inline]
    pub fn cap(self, step: usize) -> i32 {
        let n_steps = match self.rate_cap {
            RateCap::Step => step + 1,
            RateCap::Run => self.n_steps,
        };
        (self.levels as usize * n_steps) as i32
    }
}

impl Neuron for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn levels(&self) -> u32 {
        self.levels
    }

    fn step(&self, state: &mut State, current: f64, threshold: f64, step: usize) -> i32 {
        state.potential += current;
        let whole = (state.potential / threshold).floor();
        let quanta = whole.clamp(f64::from(-state.emitted), f64::from(self.cap(step) - state.emitted));
        state.potential -= quanta * threshold;
        state.emitted += quanta as i32;
        quanta as i32
    }

    fn range(&self) -> [i32; 2] {
        let most = self.cap(self.n_steps.saturating_sub(1));
        [-most, most]
    }

    /// Whole quanta move a potential towards zero; those that are taken back leave less than θ where less than 0 was.
    fn largest_potential(&self, before: f64, threshold: f64) -> f64 {
        before.max(threshold)
    }

    fn largest_total(&self, n_steps: usize) -> Option<u32> {
        u32::try_from(self.levels as usize * n_steps).ok()
    }

    fn description(&self) -> Description {
        Description {
            update: "in quanta of threshold/levels: u = v + I; s = clamp(floor(u), -n, cap - n), n the sum of s so far; then v = u - s",
            integrates_and_fires: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::config::NeuronKind;
    use proptest::prelude::*;

    use super::*;

    fn counting(levels: u32, rate_cap: RateCap, n_steps: usize) -> Counting {
        Counting::new(NeuronConfig { kind: NeuronKind::Counting, levels, rate_cap }, n_steps)
    }

    #[test]
    fn what_is_put_out_is_what_was_computed_by_hand() {
        let mut state = State { potential: 0.5, emitted: 0 };
        let neuron = counting(2, RateCap::Step, 4);
        let out: Vec<i32> = [(0, 2.75), (1, -3.0), (2, 9.0), (3, -0.5)]
            .map(|(t, current)| neuron.step(&mut state, current, 1.0, t))
            .into();
        // 3.25 is capped at 2, 1.25 is left; −1.75 takes all back, 0.25 is left; 9.25 is capped at 6; 2.75 at 8 − 6.
        assert_eq!(out, [2, -2, 6, 2]);
        assert_eq!(state, State { potential: 0.75, emitted: 8 });
    }

    proptest! {
        /// The counts do not depend on the order of the input.
        #[test]
        fn the_count_is_the_rounded_sum_of_the_input(
            currents in proptest::collection::vec(-40..60_i32, 1..12), rotated in any::<prop::sample::Index>(),
        ) {
            // Sums of eighths, in any order; no cap that a partial sum could reach.
            let n_steps = currents.len();
            let mut other = currents.clone();
            other.rotate_left(rotated.index(n_steps));
            let neuron = counting(64, RateCap::Run, n_steps);
            let count = |currents: &[i32]| {
                let mut state = State { potential: 0.5, emitted: 0 };
                let run = |(step, current): (usize, &i32)| neuron.step(&mut state, f64::from(*current) / 8.0, 1.0, step);
                currents.iter().enumerate().map(run).sum::<i32>()
            };
            let sum = f64::from(currents.iter().sum::<i32>()) / 8.0;
            prop_assert_eq!(count(&currents), (0.5 + sum).floor().max(0.0) as i32);
            prop_assert_eq!(count(&other), count(&currents));
        }
    }
}
