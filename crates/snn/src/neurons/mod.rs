//! Models of spiking neurons, each written once, in a file of its own.
//!
//! A model says what happens in one time step, in exact arithmetic, and what a spike carries. [`crate::ReferenceEngine`] runs any model
//! from that alone. The fast engines have the update of the models that they support in a form of their own, and their tests hold
//! them to this one.

mod integrate_and_fire;
mod ternary;

use std::fmt::Debug;

pub use integrate_and_fire::IntegrateAndFire;
pub use ternary::Ternary;

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
pub trait Neuron: Debug + Sync {
    /// Its name in configurations and tables.
    fn name(&self) -> &'static str;

    /// One time step: adds the current, fires, and resets.
    ///
    /// - `current`: of this step, the bias included, in thresholds λ
    /// - `threshold`: at which it fires and which a spike stands for, in thresholds λ: 1 but on faulty devices
    /// - returns what it puts out, in quanta of one spike
    fn step(&self, state: &mut State, current: f64, threshold: f64) -> i32;

    /// The least and the most that it puts out in a step, in quanta.
    fn range(&self) -> [i32; 2];
}
