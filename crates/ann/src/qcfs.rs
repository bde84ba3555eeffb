//! The activation `qcfs`: a rectifier quantised to a few levels, with a threshold that is learned.
//!
//! `f(x) = λ/L · clamp(⌊L·x/λ + ½⌋, 0, L)`, λ of each channel, L of the whole network
//!
//! What a neuron with threshold λ and initial potential ½ sends in L steps of a constant current, so a network that is trained with it
//! knows what rounding and saturation do to it.
//!
//! **Gradient.** That of rounding is taken to be 1 (straight-through), so `∂f/∂x` is 1 for x in `[0, λ]`, the ends included, and 0 elsewhere, and
//! `∂f/∂λ` is `f/λ − x/λ` in `[0, λ]`, 1 above and 0 below. The second is scaled by `1/√(N·L)`, N being the number of values of a sample
//! that share what is learned: a channel's positions, or the whole layer.
//!
//! **Parameters.** `λ_j = base_j · exp(s)`, so it is positive, and a step of s is relative to λ. The parameter is s, of each channel or of
//! the layer; the base is not learned. A threshold above the ceiling of its rectifier counts as the ceiling, with the gradient as if
//! it were not cut off.
//!
//! Plain operations on tensors, for every backend.
//!
//! Source: T. Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks", ICLR 2022, for f;
//! S. Esser et al., "Learned step size quantization", ICLR 2020, for the gradient of λ and its scale. Here λ is of a channel, not of a
//! layer, and is learned by its logarithm.

use burn::module::{Module, Param, RunningState};
use burn::tensor::{Device, Tensor, TensorData};
use model::quantised::Rectifier;

use crate::network::{Thresholds, values};

/// A quantised rectifier.
#[derive(Module, Debug)]
pub(crate) struct Qcfs {
    /// s, `[C]` or `[1]`.
    log_threshold: Param<Tensor<1>>,
    /// `[C]`, not learned, but a part of what a checkpoint keeps.
    base: RunningState<Tensor<1>>,
    #[module(skip)]
    levels: usize,
    /// Largest λ.
    #[module(skip)]
    ceiling: f64,
    /// What the gradient of s is multiplied with, before the number of levels.
    #[module(skip)]
    n_shared: usize,
}

impl Qcfs {
    pub(crate) fn new(rectifier: &Rectifier, thresholds: &Thresholds, levels: usize, device: &Device) -> Self {
        let Thresholds { base, factors } = thresholds;
        let channels = if factors.len() == 1 { rectifier.n_channels } else { 1 };
        let logs: Vec<f32> = factors.iter().map(|factor| factor.ln()).collect();
        Self {
            log_threshold: Param::from_tensor(vector(&logs, device)),
            base: RunningState::new(vector(base, device)),
            levels,
            ceiling: rectifier.ceiling,
            n_shared: channels * rectifier.n_positions,
        }
    }

    pub(crate) fn set_levels(&mut self, levels: usize) {
        self.levels = levels;
    }

    pub(crate) fn set_base(&self, base: &[f32]) {
        let device = self.base.value_sync().device();
        self.base.update(vector(base, &device));
        // An update is seen from the next look on.
        _ = self.base.value_sync();
    }

    pub(crate) fn factors(&self) -> Vec<f32> {
        values(self.log_threshold.val().exp())
    }

    /// λ of each channel, `[C]`, without a gradient.
    pub(crate) fn thresholds(&self) -> Tensor<1> {
        let lambda = self.uncut().detach();
        if self.ceiling.is_finite() { lambda.clamp_max(self.ceiling) } else { lambda }
    }

    /// `base · exp(s)`
    fn uncut(&self) -> Tensor<1> {
        self.base.value_sync() * self.log_threshold.val().exp()
    }

    /// - `x`: `[N, C, …]`
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let levels = self.levels as f64;
        let mut shape = [1; D];
        shape[1] = x.dims()[1];
        let is_training = x.device().is_autodiff();
        let mut lambda = self.thresholds();
        if is_training {
            let scaled = self.uncut() * ((self.n_shared * self.levels) as f64).sqrt().recip();
            lambda = lambda + exact_zero(scaled);
        }
        let lambda = lambda.reshape(shape);
        let share = (x / lambda.clone()).clamp(0.0, 1.0);
        // Of shares in [0, 1], all these lie in [0, L].
        let rounded = |share: Tensor<D>| (share * levels + 0.5).floor() / levels;
        if !is_training {
            return rounded(share) * lambda;
        }
        let quantised = rounded(share.clone().detach());
        (quantised + exact_zero(share)) * lambda
    }
}

/// Zeros with the gradient of a tensor: what is added to them keeps its value to the last bit.
fn exact_zero<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() - x.detach()
}

fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend;

    /// Rounding of a few f32 operations on numbers near 1.
    const TOLERANCE: f64 = 1e-5;

    /// Step of finite differences in f64: their error is about its square, and that of rounding far below.
    const STEP: f64 = 1e-6;

    fn rectifier(n_channels: usize, n_positions: usize, ceiling: f64) -> Rectifier {
        Rectifier { node: 0, name: "0".to_owned(), n_channels, n_positions, ceiling }
    }

    fn of_thresholds(base: &[f32], factors: &[f32], levels: usize, ceiling: f64, device: &Device) -> Qcfs {
        let thresholds = Thresholds { base: base.to_vec(), factors: factors.to_vec() };
        Qcfs::new(&rectifier(base.len(), 1, ceiling), &thresholds, levels, device)
    }

    /// Values `[N, C]`, and the gradients of their weighted sum with respect to x and s.
    fn run(qcfs: &Qcfs, x: &[f32], weights: &[f32], device: &Device) -> [Vec<f64>; 3] {
        let n_channels = values(qcfs.thresholds()).len();
        let matrix = |values: &[f32]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [values.len() / n_channels, n_channels]), device)
        };
        let x = matrix(x).require_grad();
        let y = qcfs.forward(x.clone());
        let gradients = (y.clone() * matrix(weights)).sum().backward();
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        let of_log = qcfs.log_threshold.val().grad(&gradients).unwrap();
        [wide(values(y.detach())), wide(values(x.grad(&gradients).unwrap())), wide(values(of_log))]
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found_one, expected_one) in found.iter().zip(expected) {
            assert!((found_one - expected_one).abs() < TOLERANCE, "{found:?} is not {expected:?}");
        }
    }

    /// λ = 1, L = 4: below, two that are rounded down and up to a quarter, one in the middle, and above.
    #[test]
    fn values_and_gradients_are_those_computed_by_hand() {
        for backend in backend::usable() {
            let device = backend::device(backend).unwrap().autodiff();
            let qcfs = of_thresholds(&[1.0], &[1.0], 4, f64::INFINITY, &device);
            let [y, of_x, of_log] = run(&qcfs, &[-0.3, 0.1, 0.15, 0.6, 1.5], &[1.0, 2.0, 4.0, 8.0, 16.0], &device);
            assert_near(&y, &[0.0, 0.0, 0.25, 0.5, 1.0]);
            assert_near(&of_x, &[0.0, 2.0, 4.0, 8.0, 0.0]);
            // (0 − 0.1)·2 + (0.25 − 0.15)·4 + (0.5 − 0.6)·8 + 1·16, over √4.
            assert_near(&of_log, &[15.4 / 2.0]);
        }
    }

    #[test]
    fn training_and_inference_compute_the_same_values_to_the_last_bit() {
        let device = backend::device(backend::built_in()[0]).unwrap();
        let x: Vec<f32> = (0..600).map(|i| (i as f32 * 0.618_034).fract() * 3.0 - 0.5).collect();
        for levels in [1, 3, 4, 7, 16] {
            let of = |device: &Device| {
                let qcfs = of_thresholds(&[0.7, 1.9], &[1.3, 0.9], levels, 2.0, device);
                let x = Tensor::<2>::from_data(TensorData::new(x.clone(), [300, 2]), device);
                (values(qcfs.forward(x).detach()), values(qcfs.thresholds()))
            };
            let (y, lambda) = of(&device);
            assert_eq!(of(&device.clone().autodiff()), (y.clone(), lambda.clone()));
            // As many different values as there are levels, the largest being λ itself.
            let mut of_first: Vec<f32> = y.iter().step_by(2).copied().collect();
            of_first.sort_by(f32::total_cmp);
            of_first.dedup();
            assert_eq!((of_first.len(), of_first.last()), (levels + 1, Some(&lambda[0])));
        }
    }

    /// Their function: `λ · (q + share(x/λ) − share_0)`, q and `share_0` being what rounding and clamping made of x at the place itself.
    #[test]
    fn gradients_are_finite_differences_of_the_surrogate() {
        let device = backend::device(backend::built_in()[0]).unwrap().autodiff();
        let (base, factors, levels) = ([0.8_f32, 2.5], [1.25_f32, 0.6], 8_usize);
        let x: Vec<f32> = (0..40).map(|i| (i as f32 * 0.618_034).fract() * 2.0 - 0.3).collect();
        let weights: Vec<f32> = (0..40).map(|i| (i as f32 * 0.37).sin()).collect();
        let [_, of_x, of_log] =
            run(&of_thresholds(&base, &factors, levels, f64::INFINITY, &device), &x, &weights, &device);
        let mut expected_of_log = [0.0; 2];
        for (at, &of_x) in of_x.iter().enumerate() {
            let channel = at % 2;
            let [x, weight, base, factor] = [x[at], weights[at], base[channel], factors[channel]].map(f64::from);
            let share = |x: f64, log: f64| (x / (base * log.exp())).clamp(0.0, 1.0);
            let here = share(x, factor.ln());
            let rounded = (here * levels as f64 + 0.5).floor() / levels as f64;
            let surrogate = |x: f64, log: f64| weight * base * log.exp() * (rounded + share(x, log) - here);
            let slope = |f: &dyn Fn(f64) -> f64| (f(STEP) - f(-STEP)) / (2.0 * STEP);
            assert_near(&[of_x], &[slope(&|step| surrogate(x + step, factor.ln()))]);
            expected_of_log[channel] += slope(&|step| surrogate(x, factor.ln() + step));
        }
        assert_near(&of_log, &expected_of_log.map(|slope| slope / (levels as f64).sqrt()));
    }

    /// Above the ceiling the threshold is the ceiling, and what would lower it still arrives.
    #[test]
    fn a_threshold_above_the_ceiling_counts_as_the_ceiling_and_is_still_learned() {
        let device = backend::device(backend::built_in()[0]).unwrap().autodiff();
        let qcfs = of_thresholds(&[8.0], &[1.0], 4, 6.0, &device);
        assert_eq!(values(qcfs.thresholds()), [6.0]);
        let [y, _, of_log] = run(&qcfs, &[7.0], &[1.0], &device);
        assert_near(&y, &[6.0]);
        assert_near(&of_log, &[8.0 / 2.0]);
    }

    /// One factor for two channels of three positions: N = 6.
    #[test]
    fn a_factor_of_a_whole_layer_gets_the_gradients_of_all_channels() {
        let device = backend::device(backend::built_in()[0]).unwrap().autodiff();
        let start = Thresholds { base: vec![1.0, 2.0], factors: vec![0.5] };
        let qcfs = Qcfs::new(&rectifier(2, 3, f64::INFINITY), &start, 4, &device);
        assert_near(&qcfs.factors().into_iter().map(f64::from).collect::<Vec<_>>(), &[0.5]);
        let thresholds = || values(qcfs.thresholds()).into_iter().map(f64::from).collect::<Vec<_>>();
        assert_near(&thresholds(), &[0.5, 1.0]);
        let [_, _, of_log] = run(&qcfs, &[9.0, 9.0], &[1.0, 1.0], &device);
        assert_near(&of_log, &[1.5 / 24_f64.sqrt()]);
        qcfs.set_base(&[3.0, 4.0]);
        assert_near(&thresholds(), &[1.5, 2.0]);
    }
}
