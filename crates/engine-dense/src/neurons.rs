//! The neurons of [`snn::neurons`] as operations on tensors, on any backend.
//!
//! What each of them computes is defined there, and the tests hold these to it. Values are those of the exact grid, so that 32-bit
//! floats give the same sums in any order. Devices with [`ann::backend::SpikingKernels`] run the integrate-and-fire neuron in kernels
//! of their own and do not come here.

use std::fmt::Debug;

use burn::tensor::{Bool, Tensor};
use model::config::{NeuronKind, Reset};
use snn::RunSettings;
use snn::neurons::Counting;

/// The update of the neurons of a run.
pub(crate) fn update(settings: &RunSettings) -> Box<dyn Update> {
    match settings.neuron.kind {
        NeuronKind::IntegrateAndFire => Box::new(IntegrateAndFire { reset: settings.reset }),
        NeuronKind::Ternary => Box::new(Ternary),
        // What waiting ones send is spread behind them.
        NeuronKind::Counting | NeuronKind::Waiting => Box::new(Counting::new(settings.neuron, settings.n_steps)),
    }
}

/// What neurons do once the current of a step is added.
pub(crate) trait Update: Debug {
    /// Fires and resets.
    ///
    /// - `u`: potentials with the current, `[N, n]`
    /// - `thresholds`: `[N, n]`; `None` where all are 1
    /// - `emitted`: what each has put out so far, `[N, n]`, for those that remember it; `None` before the first step
    /// - `step`: of the run, from 0
    fn fire(&self, u: Tensor<2>, thresholds: Option<Tensor<2>>, emitted: &mut Option<Tensor<2>>, step: usize) -> Fired;
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
    fn fire(&self, u: Tensor<2>, thresholds: Option<Tensor<2>>, _: &mut Option<Tensor<2>>, _: usize) -> Fired {
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
    fn fire(&self, u: Tensor<2>, thresholds: Option<Tensor<2>>, emitted: &mut Option<Tensor<2>>, _: usize) -> Fired {
        let so_far = emitted.take().unwrap_or_else(|| u.zeros_like());
        // A threshold is above 0: no neuron does both.
        let taken_back = u.clone().lower_elem(0.0).float() * so_far.clone().greater_elem(0.0).float();
        let quanta = reaches(u.clone(), thresholds.clone()).float() - taken_back;
        *emitted = Some(so_far + quanta.clone());
        let potential = u - charge(quanta.clone(), thresholds);
        Fired { quanta, potential }
    }
}

impl Update for Counting {
    fn fire(&self, u: Tensor<2>, thresholds: Option<Tensor<2>>, emitted: &mut Option<Tensor<2>>, step: usize) -> Fired {
        let so_far = emitted.take().unwrap_or_else(|| u.zeros_like());
        let whole = whole(u.clone(), thresholds.clone());
        let left = so_far.clone().neg().add_scalar(self.cap(step));
        let quanta = whole.max_pair(so_far.clone().neg()).min_pair(left);
        *emitted = Some(so_far + quanta.clone());
        let potential = u - charge(quanta.clone(), thresholds);
        Fired { quanta, potential }
    }
}

/// Whole thresholds in potentials, rounded down.
///
/// The quotient of 32-bit floats may be rounded up to a whole number that it is below; what is left then says so.
fn whole(u: Tensor<2>, thresholds: Option<Tensor<2>>) -> Tensor<2> {
    let Some(thresholds) = thresholds else { return u.floor() };
    let near = (u.clone() / thresholds.clone()).floor();
    let left = u - near.clone() * thresholds.clone();
    let too_many = left.clone().lower_elem(0.0).float();
    let too_few = left.greater_equal(thresholds).float();
    near - too_many + too_few
}
