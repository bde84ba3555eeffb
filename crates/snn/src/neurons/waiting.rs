//! The waiting neuron: it puts nothing out before its whole input has arrived, and then as many spikes of 0 and 1 as counting gives.
//!
//! It adds its input up over all T steps as [`Counting`] does with one quantum to a threshold, so that it comes to
//! `N = clamp(⌊v(0) + Σ I⌋, 0, T)`. Then it fires N times in the next T steps, spread evenly: at step t, from 1, where
//! `⌊tN/T⌋ > ⌊(t − 1)N/T⌋`. So a layer starts T steps after the one before it, and the steps of a run are each layer's own.
//!
//! The counts are those of the network of counting neurons after T steps, for hardware whose spikes are 0 or 1. What it costs is time: a
//! network of D such layers decides after (D + 1)·T steps, one sample every T steps if the next one follows at once.
//!
//! Source: it stands for the methods in which each layer waits for a whole train, such as SRP and COS (Hao et al. 2023).

use model::config::NeuronConfig;

use super::{Counting, Description, Neuron, State};

/// The waiting neuron of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    counting: Counting,
}

impl Waiting {
    /// Those of a configuration.
    pub fn new(config: NeuronConfig, n_steps: usize) -> Self {
        Self { counting: Counting::new(config, n_steps) }
    }
}

impl Neuron for Waiting {
    fn name(&self) -> &'static str {
        "waiting"
    }

    fn waits(&self) -> bool {
        true
    }

    fn step(&self, state: &mut State, current: f64, threshold: f64, step: usize) -> i32 {
        self.counting.step(state, current, threshold, step)
    }

    fn range(&self) -> [i32; 2] {
        [0, 1]
    }

    fn largest_potential(&self, before: f64, threshold: f64) -> f64 {
        self.counting.largest_potential(before, threshold)
    }

    fn largest_total(&self, n_steps: usize) -> Option<u32> {
        self.counting.largest_total(n_steps)
    }

    fn description(&self) -> Description {
        Description {
            update: "u = v + I for T steps, without a spike; then N = clamp(floor(u), 0, T) spikes in the next T steps, spread evenly",
            integrates_and_fires: None,
        }
    }
}

/// When a neuron that waits fires, in the steps after its input.
///
/// - `n_spikes`: N, from 0 to T
/// - returns for each of T steps whether it does
pub fn spread(n_spikes: usize, n_steps: usize) -> impl Iterator<Item = bool> {
    (0..n_steps).map(move |step| (step + 1) * n_spikes / n_steps > step * n_spikes / n_steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_are_spread_as_by_hand_and_none_is_lost() {
        let of = |n_spikes, n_steps| spread(n_spikes, n_steps).map(u8::from).collect::<Vec<_>>();
        assert_eq!(of(3, 8), [0, 0, 1, 0, 0, 1, 0, 1]);
        assert_eq!(of(1, 4), [0, 0, 0, 1]);
        for n_steps in 1..40 {
            for n_spikes in 0..=n_steps {
                assert_eq!(spread(n_spikes, n_steps).filter(|fires| *fires).count(), n_spikes);
            }
        }
    }
}
