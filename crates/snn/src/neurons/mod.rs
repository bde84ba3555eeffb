//! Models of spiking neurons, each written once, in a file of its own.
//!
//! A model says what happens in one time step, in exact arithmetic, what a spike carries, how far a potential can go, and what others
//! may be told of it. [`crate::ReferenceEngine`] runs any model from that alone. The fast engines have the update of the models that
//! they support in a form of their own, and their tests hold them to this one.
//!
//! The list of the models is [`NeuronKind`]; [`of_run`] makes one.

mod counting;
mod integrate_and_fire;
mod ternary;
mod waiting;

use std::fmt::Debug;

use model::config::{NeuronKind, Reset};

pub use counting::Counting;
pub use integrate_and_fire::IntegrateAndFire;
pub use ternary::Ternary;
pub use waiting::{Waiting, spread};

use crate::engine::RunSettings;

/// The neuron of a run.
pub fn of_run(settings: &RunSettings) -> Box<dyn Neuron> {
    match settings.neuron.kind {
        NeuronKind::IntegrateAndFire => Box::new(IntegrateAndFire { reset: settings.reset }),
        NeuronKind::Ternary => Box::new(Ternary),
        NeuronKind::Counting => Box::new(Counting::new(settings.neuron, settings.n_steps)),
        NeuronKind::Waiting => Box::new(Waiting::new(settings.neuron, settings.n_steps)),
    }
}

/// What a neuron remembers between time steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// Membrane potential, in quanta: thresholds λ where a threshold is one quantum.
    pub potential: f64,
    /// Quanta that it has put out so far, those taken back subtracted.
    pub emitted: i32,
}

/// A model of a neuron.
///
/// Currents, potentials and firing thresholds are whole multiples of a step of the neuron's grid below the bound of its layer
/// ([`crate::grid`]), so 64-bit floats hold every one of them and every sum exactly.
pub trait Neuron: Debug + Send + Sync {
    /// Its name in configurations and tables.
    fn name(&self) -> &'static str;

    /// Quanta in a threshold λ, τ: a power of two. What drives a neuron from outside the layers (biases, a constant current, spikes of
    /// the input) is in thresholds and counts as many times as much in quanta.
    fn levels(&self) -> u32 {
        1
    }

    /// Whether it puts nothing out before its whole input has arrived. What the steps give in all is then the number of its spikes, and
    /// [`spread`] tells when it sends them.
    fn waits(&self) -> bool {
        false
    }

    /// One time step: adds the current, fires, and resets.
    ///
    /// - `current`: of this step, the bias included, in quanta
    /// - `threshold`: at which it fires and which a quantum takes, in nominal ones: 1 but on faulty devices
    /// - `step`: of the run, from 0
    /// - returns what it puts out, in quanta
    fn step(&self, state: &mut State, current: f64, threshold: f64, step: usize) -> i32;

    /// What a spike carries: the least and the most that the neuron puts out in a step, in quanta; 0 and 1 are within.
    ///
    /// It is what arrives at the next layer, times the weights, so it says how far a potential there can go in a step
    /// ([`crate::SpikingLayer::potential_limits_of`]).
    fn range(&self) -> [i32; 2];

    /// Largest magnitude of its potential after a step, in thresholds λ: together with [`Neuron::range`], the bound that keeps sums
    /// exact.
    ///
    /// - `before`: largest magnitude of the potential with the current, before it fires
    /// - `threshold`: as in [`Neuron::step`]
    fn largest_potential(&self, before: f64, threshold: f64) -> f64;

    /// The most that it has put out in all after a run of so many steps, and at every step before, if what it puts out follows the sum of
    /// its input and is never less than nothing in all: then sums of a whole run are exact where those of single steps need not be
    /// added up. `None` if it does not.
    fn largest_total(&self, _n_steps: usize) -> Option<u32> {
        None
    }

    /// What others may be told of it.
    fn description(&self) -> Description;
}

/// What an exporter may say of a neuron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The update of a step, for people.
    pub update: &'static str,
    /// The reset, if it is the integrate-and-fire neuron with spikes of 0 and 1 that other simulators know; `None` if it is another.
    pub integrates_and_fires: Option<Reset>,
}

#[cfg(test)]
mod tests {
    use model::config::{Encoding, NeuronConfig, RateCap, Readout};
    use proptest::prelude::*;

    use super::*;

    const N_STEPS: usize = 40;

    fn settings(neuron: NeuronConfig, reset: Reset) -> RunSettings {
        let (encoding, readout) = (Encoding::Poisson, Readout::Spikes);
        RunSettings { encoding, neuron, reset, readout, n_steps: N_STEPS, seed: 0 }
    }

    fn all() -> impl Iterator<Item = Box<dyn Neuron>> {
        let with = |kind, levels, rate_cap| NeuronConfig { kind, levels, rate_cap };
        let binary = Reset::ALL.iter().map(move |&reset| settings(NeuronConfig::default(), reset));
        let ternary = with(NeuronKind::Ternary, 1, RateCap::Step);
        let counting =
            RateCap::ALL.iter().flat_map(move |&cap| [1, 4].map(|levels| with(NeuronKind::Counting, levels, cap)));
        let waiting = with(NeuronKind::Waiting, 1, RateCap::Step);
        let others = [ternary, waiting].into_iter().chain(counting).map(|neuron| settings(neuron, Reset::Subtract));
        binary.chain(others).map(|settings| of_run(&settings))
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        for &kind in NeuronKind::ALL {
            let neuron = of_run(&settings(NeuronConfig { kind, ..NeuronConfig::default() }, Reset::Zero));
            assert_eq!(neuron.name(), kind.name());
            let reset = neuron.description().integrates_and_fires;
            assert_eq!(reset, (kind == NeuronKind::IntegrateAndFire).then_some(Reset::Zero));
        }
    }

    proptest! {
        /// What the grid and the exporters rely on, for any current and threshold on a grid of sixteenths.
        #[test]
        fn every_neuron_stays_within_the_bounds_that_it_states(
            currents in proptest::collection::vec(-80..80_i32, 1..N_STEPS), start in -8..16_i32, threshold in 1..40_i32,
        ) {
            for neuron in all() {
                let threshold = f64::from(threshold) / 16.0;
                let mut state = State { potential: f64::from(start) / 16.0, emitted: 0 };
                let mut emitted = 0;
                for (step, current) in currents.iter().enumerate() {
                    let current = f64::from(*current) / 16.0;
                    let before = (state.potential + current).abs();
                    let out = neuron.step(&mut state, current, threshold, step);
                    emitted += out;
                    let [least, most] = neuron.range();
                    prop_assert!((least..=most).contains(&out) || neuron.waits());
                    prop_assert!(least <= 0 && most >= 1);
                    prop_assert!(state.potential.abs() <= neuron.largest_potential(before, threshold), "{neuron:?}");
                    prop_assert!((state.potential * 16.0).fract() == 0.0, "{neuron:?} leaves its grid");
                    prop_assert_eq!(state.emitted, emitted);
                    prop_assert!(emitted >= 0);
                    prop_assert!(neuron.largest_total(N_STEPS).is_none_or(|most| emitted as u32 <= most));
                }
                let is_binary = neuron.range() == [0, 1];
                prop_assert!(!neuron.waits() || is_binary && emitted as usize <= N_STEPS);
                prop_assert!(is_binary && !neuron.waits() || neuron.description().integrates_and_fires.is_none());
            }
        }
    }
}
