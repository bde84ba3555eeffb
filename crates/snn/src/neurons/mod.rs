//! Models of spiking neurons, each written once, in a file of its own.
//!
//! A model says what happens in one time step, in exact arithmetic, what a spike carries, how far a potential can go, and what others
//! may be told of it. [`crate::ReferenceEngine`] runs any model from that alone. The fast engines have the update of the models that
//! they support in a form of their own, and their tests hold them to this one.
//!
//! [`ALL`] is the list of the models; [`by_name`] makes one.

mod integrate_and_fire;
mod ternary;

use std::fmt::Debug;

use model::config::Reset;
use thiserror::Error;

pub use integrate_and_fire::IntegrateAndFire;
pub use ternary::Ternary;

use crate::engine::RunSettings;

/// Every model, by name.
pub const ALL: [Model; 2] = [
    Model { name: "if", make: |settings| Box::new(IntegrateAndFire { reset: settings.reset }) },
    Model { name: "ternary", make: |_| Box::new(Ternary) },
];

/// One row of the list of models.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Its name in configurations and tables, that of [`Neuron::name`].
    pub name: &'static str,
    make: fn(&RunSettings) -> Box<dyn Neuron>,
}

impl Model {
    /// The neuron of a run: what it is made of beside its name, as the reset, is in the settings.
    pub fn neuron(self, settings: &RunSettings) -> Box<dyn Neuron> {
        (self.make)(settings)
    }
}

/// A name that no model has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no neuron; use one of {known}", known = ALL.map(|model| format!("`{}`", model.name)).join(", "))]
pub struct UnknownNeuron(pub String);

/// The neuron of a name.
///
/// # Errors
/// [`UnknownNeuron`] with those that there are.
pub fn by_name(name: &str, settings: &RunSettings) -> Result<Box<dyn Neuron>, UnknownNeuron> {
    let model = ALL.iter().find(|model| model.name == name);
    model.map(|model| model.neuron(settings)).ok_or_else(|| UnknownNeuron(name.to_owned()))
}

/// What a neuron remembers between time steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// Membrane potential, in thresholds λ.
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

    /// One time step: adds the current, fires, and resets.
    ///
    /// - `current`: of this step, the bias included, in thresholds λ
    /// - `threshold`: at which it fires and which a spike stands for, in thresholds λ: 1 but on faulty devices
    /// - returns what it puts out, in quanta of one spike
    fn step(&self, state: &mut State, current: f64, threshold: f64) -> i32;

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
    use model::config::{Encoding, Readout};
    use proptest::prelude::*;

    use super::*;

    fn all() -> impl Iterator<Item = Box<dyn Neuron>> {
        let with = |reset: Reset| RunSettings {
            encoding: Encoding::Poisson,
            reset,
            readout: Readout::Spikes,
            n_steps: 1,
            seed: 0,
        };
        Reset::ALL.iter().flat_map(move |&reset| ALL.map(|model| model.neuron(&with(reset))))
    }

    #[test]
    fn names_are_those_of_the_list_and_others_are_refused_with_it() {
        let settings = RunSettings {
            encoding: Encoding::Poisson,
            reset: Reset::Zero,
            readout: Readout::Spikes,
            n_steps: 1,
            seed: 0,
        };
        for model in ALL {
            assert_eq!(by_name(model.name, &settings).unwrap().name(), model.name);
        }
        assert_eq!(by_name("if", &settings).unwrap().description().integrates_and_fires, Some(Reset::Zero));
        let error = by_name("leaky", &settings).unwrap_err();
        assert_eq!(error.to_string(), "`leaky` is no neuron; use one of `if`, `ternary`");
    }

    proptest! {
        /// What the grid and the exporters rely on, for any current and threshold on a grid of sixteenths.
        #[test]
        fn every_neuron_stays_within_the_bounds_that_it_states(
            currents in proptest::collection::vec(-80..80_i32, 1..40), start in -8..16_i32, threshold in 1..40_i32,
        ) {
            for neuron in all() {
                let threshold = f64::from(threshold) / 16.0;
                let mut state = State { potential: f64::from(start) / 16.0, emitted: 0 };
                let mut emitted = 0;
                for current in &currents {
                    let current = f64::from(*current) / 16.0;
                    let before = (state.potential + current).abs();
                    let out = neuron.step(&mut state, current, threshold);
                    emitted += out;
                    let [least, most] = neuron.range();
                    prop_assert!((least..=most).contains(&out) && least <= 0 && most >= 1);
                    prop_assert!(state.potential.abs() <= neuron.largest_potential(before, threshold), "{neuron:?}");
                    prop_assert!((state.potential * 16.0).fract() == 0.0, "{neuron:?} leaves its grid");
                    prop_assert_eq!(state.emitted, emitted);
                    prop_assert!(emitted >= 0);
                }
                let is_binary = neuron.range() == [0, 1];
                prop_assert!(is_binary || neuron.description().integrates_and_fires.is_none());
            }
        }
    }
}
