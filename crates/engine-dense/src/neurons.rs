//! The neurons of [`snn::neurons`] as operations on tensors, on any backend.
//!
//! What each of them computes is defined there, and the tests hold these to it. Values are those of the exact grid, so that 32-bit
//! floats give the same sums in any order. Devices with [`ann::backend::SpikingKernels`] run the integrate-and-fire neuron in kernels
//! of their own and do not come here.

use std::fmt::Debug;

use burn::tensor::{Bool, Tensor};
use model::config::Reset;
use snn::neurons::Neuron;

/// Names of the neurons that there are.
pub(crate) const NAMES: [&str; 2] = ["if", "ternary"];

/// The update of a neuron; `None` if there is none for it here.
pub(crate) fn update(neuron: &dyn Neuron) -> Option<Box<dyn Update>> {
    match (neuron.description().integrates_and_fires, neuron.name()) {
        (Some(reset), _) => Some(Box::new(IntegrateAndFire { reset })),
        (None, "ternary") => Some(Box::new(Ternary)),
        (None, _) => None,
    }
}

/// What neurons do once the current of a step is added.
pub(crate) trait Update: Debug {
    /// Fires and resets.
    ///
    /// - `u`: potentials with the current, `[N, n]`
    /// - `thresholds`: `[N, n]`; `None` where all are 1
    /// - `emitted`: what each has put out so far, `[N, n]`, for those that remember it; `None` before the first step
    fn fire(&self, u: Tensor<2>, thresholds: Option<Tensor<2>>, emitted: &mut Option<Tensor<2>>) -> Fired;
}

/// After a step.
pub(crate) struct Fired {
    /// Quanta that come out, `[N, n]`.
    pub(crate) quanta: Tensor<2>,
    /// Potentials, `[N, n]`.
    pub(crate) potential: Tensor<2>,
}

/// Whether a potential reaches its threshold.
fn reaches(u: Tensor<2>, thresholds: Option<Tensor<2>>) -> Tensor<2, Bool> {
    match thresholds {
        None => u.greater_equal_elem(1.0),
        Some(thresholds) => u.greater_equal(thresholds),
    }
}

/// What quanta take off a potential.
fn charge(quanta: Tensor<2>, thresholds: Option<Tensor<2>>) -> Tensor<2> {
    match thresholds {
        None => quanta,
        Some(thresholds) => quanta * thresholds,
    }
}

/// [`snn::neurons::IntegrateAndFire`].
#[derive(Debug)]
pub(crate) struct IntegrateAndFire {
    pub(crate) reset: Reset,
}

impl Update for IntegrateAndFire {
    fn fire(&self, u: Tensor<2>, thresholds: Option<Tensor<2>>, _: &mut Option<Tensor<2>>) -> Fired {
        let fired = reaches(u.clone(), thresholds.clone());
        let quanta = fired.clone().float();
        let potential = match self.reset {
            Reset::Subtract => u - charge(quanta.clone(), thresholds),
            Reset::Zero => u.mask_fill(fired, 0.0),
        };
        Fired { quanta, potential }
    }
}

/// [`snn::neurons::Ternary`].
#[derive(Debug)]
pub(crate) struct Ternary;

impl Update for Ternary {
    fn fire(&self, u: Tensor<2>, thresholds: Option<Tensor<2>>, emitted: &mut Option<Tensor<2>>) -> Fired {
        let so_far = emitted.take().unwrap_or_else(|| u.zeros_like());
        // A threshold is above 0: no neuron does both.
        let taken_back = u.clone().lower_elem(0.0).float() * so_far.clone().greater_elem(0.0).float();
        let quanta = reaches(u.clone(), thresholds.clone()).float() - taken_back;
        *emitted = Some(so_far + quanta.clone());
        let potential = u - charge(quanta.clone(), thresholds);
        Fired { quanta, potential }
    }
}
