//! The integrate-and-fire neuron, without a leak, whose spikes are 0 or 1.
//!
//! `u = v + I`; a spike if `u ≥ θ`; then `v = u − θ` (reset by subtraction) or `v = 0` (reset to zero), else `v = u`.
//!
//! Subtraction keeps the overshoot, so that after T steps of a steady drive a in [0, 1] the count is within one spike of `aT`.
//! Source: Rueckauer et al. 2017, "Conversion of continuous-valued deep networks to efficient event-driven networks".

use model::config::Reset;

use super::{Description, Neuron, State};

/// The integrate-and-fire neuron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegrateAndFire {
    /// What a spike does to the potential.
    pub reset: Reset,
}

impl Neuron for IntegrateAndFire {
    fn name(&self) -> &'static str {
        "if"
    }

    fn step(&self, state: &mut State, current: f64, threshold: f64, _: usize) -> i32 {
        state.potential += current;
        let spike = i32::from(state.potential >= threshold);
        if spike == 1 {
            state.potential = match self.reset {
                Reset::Subtract => state.potential - threshold,
                Reset::Zero => 0.0,
            };
        }
        state.emitted += spike;
        spike
    }

    fn range(&self) -> [i32; 2] {
        [0, 1]
    }

    /// A spike moves a potential of θ or more towards zero.
    fn largest_potential(&self, before: f64, _: f64) -> f64 {
        before
    }

    fn description(&self) -> Description {
        let update = match self.reset {
            Reset::Subtract => "u = v + I; a spike if u >= threshold; then v = u - threshold, else v = u",
            Reset::Zero => "u = v + I; a spike if u >= threshold; then v = 0, else v = u",
        };
        Description { update, integrates_and_fires: Some(self.reset) }
    }
}
