//! The ternary neuron: it can take back a spike that later input shows to have been wrong.
//!
//! `u = v + I`; it puts out `s = 1` if `u ≥ θ`, `s = −1` if `u < 0` and it has put out more than it has taken back, else `s = 0`;
//! then `v = u − sθ`. What it has put out in all is never negative, as an activation behind a rectifier is not.
//!
//! `v + θ Σ s` is conserved, so an order of input spikes that makes a neuron fire too often is mended as soon as input of the other
//! sign arrives, up to one spike a step. Source: Wang et al. 2022, "Signed neuron with memory" (SNM), and the spike-tracking neuron of
//! ST-BIF; the form here starts wherever the layer's initial potential says.

use super::{Description, Neuron, State};

/// The ternary neuron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ternary;

impl Neuron for Ternary {
    fn name(&self) -> &'static str {
        "ternary"
    }

    fn step(&self, state: &mut State, current: f64, threshold: f64, _: usize) -> i32 {
        state.potential += current;
        let spike =
            if state.potential >= threshold { 1 } else { -i32::from(state.potential < 0.0 && state.emitted > 0) };
        state.potential -= f64::from(spike) * threshold;
        state.emitted += spike;
        spike
    }

    fn range(&self) -> [i32; 2] {
        [-1, 1]
    }

    /// A spike moves a potential of θ or more towards zero; one that is taken back leaves less than θ where less than 0 was.
    fn largest_potential(&self, before: f64, threshold: f64) -> f64 {
        before.max(threshold)
    }

    /// At most one a step.
    fn largest_total(&self, n_steps: usize) -> Option<u32> {
        u32::try_from(n_steps).ok()
    }

    fn description(&self) -> Description {
        Description {
            update: "u = v + I; s = 1 if u >= threshold, s = -1 if u < 0 and the sum of s so far is above 0, else s = 0; then v = u - s threshold",
            integrates_and_fires: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_that_was_wrong_is_taken_back() {
        let mut state = State { potential: 0.5, emitted: 0 };
        let out: Vec<i32> =
            [0.75, -1.0, -1.0, 2.5, 0.0, -0.5].map(|current| Ternary.step(&mut state, current, 1.0, 0)).into();
        // 1.25 fires and leaves 0.25; −0.75 takes it back and leaves 0.25; −0.75 has nothing to take back; 1.75 fires, then nothing is
        // left to fire with; 0.25.
        assert_eq!(out, [1, -1, 0, 1, 0, 0]);
        assert_eq!(state, State { potential: 0.25, emitted: 1 });
    }
}
