//! Weights fitted to inputs that are rounded: what a layer lost because its sources send few levels is made up for as far as a linear
//! layer can.
//!
//! With x what the sources of a layer send in the trained network and q what they send in the spiking one, the weights W and the bias b
//! become `W + D` and `b + d`, such that `Σ ‖(W + D)q + b + d − (Wx + b)‖² + ρ‖D‖²` over the calibration samples and the
//! positions is least: `D = C_rq (C_qq + ρI)⁻¹`, `d = mean(r) − D·mean(q)`, r being `W(x − q)` and C the covariances. One in four samples
//! is set aside, and tells which ρ is best, or that the weights had better stay as they are.
//!
//! Only connections with the fewest groups of a layer are fitted; what the others lost (a residual's identity) is a part of r.
//! Labels are not looked at.
//!
//! Source: the normal equations are those of linear regression. Y. Li et al., "A free lunch from ANN: towards efficient, accurate spiking
//! neural networks calibration", ICML 2021, calibrate the weights of each layer too, by gradient descent on samples.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rayon::prelude::*;
use snn::Connection;

use crate::layer::AnnLayer;

/// Strengths ρ that are tried, as shares of the mean variance of the inputs.
const RIDGES: [f64; 5] = [1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// Most rows, pairs of a sample and a position, that a fit looks at, evenly spread.
const MOST_ROWS: usize = 1 << 15;

/// Samples whose rows are multiplied at once.
const BATCH: usize = 32;

/// One in so many samples is set aside to choose ρ on.
const SET_ASIDE: usize = 4;

/// What the sources of a layer send, for each of its connections.
pub trait Sources: Sync {
    /// Number of calibration samples.
    fn n_samples(&self) -> usize;

    /// What a connection's source sends in the trained and in the spiking network, `[n]` each, before the connection's pools.
    fn of(&self, sample: usize, connection: &Connection<f64>) -> [Vec<f64>; 2];
}

/// Fits a layer's weights and biases.
///
/// - returns the share of the squared error on the samples set aside that is left; 1 where the layer stays as it is
pub fn fit(layer: &mut AnnLayer, sources: &dyn Sources) -> f64 {
    let Some(n_groups) = layer.connections.iter().map(|connection| connection.wiring.kernel.groups).min() else {
        return 1.0;
    };
    let is_fitted = |connection: &Connection<f64>| connection.wiring.kernel.groups == n_groups;
    let n_channels = layer.n_channels() / n_groups;
    let fits: Vec<Option<Fitted>> =
        (0..n_groups).into_par_iter().map(|group| of_group(layer, group * n_channels, n_channels, sources)).collect();
    let (mut left, mut all) = (0.0, 0.0);
    for (group, fitted) in fits.into_iter().enumerate() {
        let Some(Fitted { weights, biases, errors: [fitted_error, error] }) = fitted else { continue };
        left += fitted_error;
        all += error;
        for own in 0..n_channels {
            let channel = group * n_channels + own;
            let mut first = 0;
            for connection in layer.connections.iter_mut().filter(|connection| is_fitted(connection)) {
                let len = connection.wiring.kernel.row_len();
                let row = &mut connection.weights[channel * len..][..len];
                row.iter_mut().enumerate().for_each(|(position, weight)| *weight += weights[[own, first + position]]);
                first += len;
            }
            let n_positions = layer.shape[1] * layer.shape[2];
            layer.biases.of_channel_mut(channel, n_positions).iter_mut().for_each(|bias| *bias += biases[own]);
        }
    }
    if all > 0.0 { left / all } else { 1.0 }
}

/// What is added to the weights of a group of output channels.
struct Fitted {
    /// `[channels, columns]`
    weights: Array2<f64>,
    biases: Array1<f64>,
    /// Squared error on the samples set aside, with and without.
    errors: [f64; 2],
}

/// `None` where nothing is lost, or nothing is gained.
fn of_group(layer: &AnnLayer, first: usize, n_channels: usize, sources: &dyn Sources) -> Option<Fitted> {
    let columns = Columns::of(layer, first);
    let [mut of_fit, mut aside] = [0, 1].map(|_| Moments::new(n_channels, columns.n));
    let n_samples = sources.n_samples();
    let step = (n_samples * layer.n_positions()).div_ceil(MOST_ROWS).max(1);
    for batch in (0..n_samples).step_by(BATCH) {
        for is_aside in [false, true] {
            let samples = (batch..n_samples.min(batch + BATCH)).filter(|sample| (sample % SET_ASIDE == 0) == is_aside);
            let rows: Vec<[Vec<f64>; 2]> = samples
                .collect::<Vec<_>>()
                .into_par_iter()
                .flat_map_iter(|sample| columns.rows(layer, first, n_channels, sample, step, sources))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let matrix = |which: usize, width: usize| {
                let values = rows.iter().flat_map(|row| row[which].iter().copied()).collect();
                Array2::from_shape_vec([rows.len(), width], values).expect("rows of one width")
            };
            if is_aside { &mut aside } else { &mut of_fit }.add(&matrix(0, columns.n), &matrix(1, n_channels));
        }
    }
    if of_fit.n == 0.0 || aside.n == 0.0 {
        return None;
    }
    let covariances = of_fit.covariances();
    let variance = covariances.qq.diag().mean().unwrap_or(0.0);
    if variance <= 0.0 || aside.square == 0.0 {
        return None;
    }
    let fitted = |ridge: f64| {
        let mut regular = covariances.qq.clone();
        regular.diag_mut().map_inplace(|value| *value += ridge * variance);
        let weights = solve(regular, covariances.rq.clone())?;
        let biases = &covariances.r - &weights.dot(&covariances.q);
        let errors = [aside.error(&weights, &biases), aside.square];
        Some(Fitted { weights, biases, errors })
    };
    let best = RIDGES.into_par_iter().filter_map(fitted).min_by(|a, b| a.errors[0].total_cmp(&b.errors[0]))?;
    (best.errors[0] < best.errors[1]).then_some(best)
}

/// Sums over rows.
struct Moments {
    n: f64,
    /// `[columns]`
    q: Array1<f64>,
    /// `[channels]`
    r: Array1<f64>,
    /// `[columns, columns]`
    qq: Array2<f64>,
    /// `[channels, columns]`
    rq: Array2<f64>,
    /// Σ‖r‖²
    square: f64,
}

impl Moments {
    fn new(n_channels: usize, n_columns: usize) -> Self {
        Self {
            n: 0.0,
            q: Array1::zeros(n_columns),
            r: Array1::zeros(n_channels),
            qq: Array2::zeros([n_columns, n_columns]),
            rq: Array2::zeros([n_channels, n_columns]),
            square: 0.0,
        }
    }

    /// - `q`: `[rows, columns]`; `r`: `[rows, channels]`
    fn add(&mut self, q: &Array2<f64>, r: &Array2<f64>) {
        self.n += q.nrows() as f64;
        self.q += &q.sum_axis(Axis(0));
        self.r += &r.sum_axis(Axis(0));
        general_mat_mul(1.0, &q.t(), q, 1.0, &mut self.qq);
        general_mat_mul(1.0, &r.t(), q, 1.0, &mut self.rq);
        self.square += r.iter().map(|r| r * r).sum::<f64>();
    }

    /// Means and covariances in their place.
    fn covariances(self) -> Self {
        let n = self.n;
        let (q, r) = (self.q / n, self.r / n);
        let outer = |a: &Array1<f64>| a.view().insert_axis(Axis(1)).dot(&q.view().insert_axis(Axis(0)));
        let (qq, rq) = (self.qq / n - outer(&q), self.rq / n - outer(&r));
        Self { n, q, r, qq, rq, square: self.square }
    }

    /// `Σ ‖r − Dq − d‖²`
    fn error(&self, weights: &Array2<f64>, biases: &Array1<f64>) -> f64 {
        let explained = (weights * &(&self.rq * 2.0 - weights.dot(&self.qq))).sum();
        let of_biases = 2.0 * biases.dot(&(&self.r - &weights.dot(&self.q))) - self.n * biases.dot(biases);
        self.square - explained - of_biases
    }
}

/// X with `X·A = B`, by Cholesky's decomposition; `None` if A is not positive definite.
///
/// - `a`: `[n, n]`, symmetric; `b`: `[m, n]`
fn solve(mut a: Array2<f64>, mut b: Array2<f64>) -> Option<Array2<f64>> {
    let n = a.nrows();
    let sum = |a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>| {
        dot(a.as_slice().expect("rows are contiguous"), b.as_slice().expect("rows are contiguous"))
    };
    // L takes the place of the lower half of A, row by row.
    for j in 0..n {
        let (before, mut own) = a.view_mut().split_at(Axis(0), j);
        let mut own = own.row_mut(0);
        for k in 0..j {
            let known = sum(own.slice(ndarray::s![..k]), before.row(k).slice_move(ndarray::s![..k]));
            own[k] = (own[k] - known) / before[[k, k]];
        }
        let square = own[j] - sum(own.slice(ndarray::s![..j]), own.slice(ndarray::s![..j]));
        if square.is_nan() || square <= 0.0 {
            return None;
        }
        own[j] = square.sqrt();
    }
    let upper = a.t().as_standard_layout().into_owned();
    b.axis_iter_mut(Axis(0)).collect::<Vec<_>>().into_par_iter().for_each(|mut x| {
        for k in 0..n {
            let known = sum(x.slice(ndarray::s![..k]), a.row(k).slice_move(ndarray::s![..k]));
            x[k] = (x[k] - known) / a[[k, k]];
        }
        for k in (0..n).rev() {
            let known = sum(x.slice(ndarray::s![k + 1..]), upper.row(k).slice_move(ndarray::s![k + 1..]));
            x[k] = (x[k] - known) / a[[k, k]];
        }
    });
    Some(b)
}

/// Where the inputs of a position's neurons come from.
struct Columns {
    /// Columns of all fitted connections.
    n: usize,
    /// Of each connection, fitted or not.
    connections: Vec<Gather>,
}

struct Gather {
    is_fitted: bool,
    /// Place in what comes out of the pools, `[positions, row]`; `None` in the padding. Of the first channel alone where it is fitted,
    /// else of all, `[channels, positions, row]`.
    places: Vec<Option<u32>>,
    row_len: usize,
}

impl Columns {
    fn of(layer: &AnnLayer, first: usize) -> Self {
        let groups = |connection: &Connection<f64>| connection.wiring.kernel.groups;
        let n_groups = layer.connections.iter().map(groups).min().unwrap_or(1);
        let n_channels = layer.n_channels() / n_groups;
        let gather = |connection: &Connection<f64>| {
            let kernel = connection.wiring.kernel;
            let is_fitted = groups(connection) == n_groups;
            let [_, height, width] = kernel.input;
            let (rows, columns) = (kernel.axis(0), kernel.axis(1));
            let place = |channel: usize, window: usize, position: usize| {
                let (tap_y, tap_x) = (position / kernel.size[1] % kernel.size[0], position % kernel.size[1]);
                let y = rows.input(window / layer.shape[2], tap_y)?;
                let x = columns.input(window % layer.shape[2], tap_x)?;
                Some(((kernel.input_channel(channel, position) * height + y) * width + x) as u32)
            };
            let places = (first..first + if is_fitted { 1 } else { n_channels }).flat_map(|channel| {
                let windows = 0..layer.n_positions();
                windows.flat_map(move |window| (0..kernel.row_len()).map(move |at| place(channel, window, at)))
            });
            Gather { is_fitted, places: places.collect(), row_len: kernel.row_len() }
        };
        let connections: Vec<Gather> = layer.connections.iter().map(gather).collect();
        let n = connections.iter().filter(|gather| gather.is_fitted).map(|gather| gather.row_len).sum();
        Self { n, connections }
    }

    /// q and r at some positions of a sample.
    fn rows(
        &self,
        layer: &AnnLayer,
        first: usize,
        n_channels: usize,
        sample: usize,
        step: usize,
        sources: &dyn Sources,
    ) -> Vec<[Vec<f64>; 2]> {
        let n_positions = layer.n_positions();
        // Other positions in every sample.
        let windows: Vec<usize> = (sample % step..n_positions).step_by(step).collect();
        let mut rows = vec![[Vec::with_capacity(self.n), vec![0.0; n_channels]]; windows.len()];
        for (connection, gather) in layer.connections.iter().zip(&self.connections) {
            let sent = sources.of(sample, connection);
            let [x, q] = sent.map(|values| snn::reference::pooled_once(values, &connection.wiring));
            let lost: Vec<f64> = x.iter().zip(&q).map(|(x, q)| x - q).collect();
            let mut of_position = Vec::with_capacity(gather.row_len);
            for (&window, [columns, residual]) in windows.iter().zip(&mut rows) {
                for own in 0..n_channels {
                    if own == 0 || !gather.is_fitted {
                        let block = if gather.is_fitted { window } else { own * n_positions + window };
                        let places = &gather.places[block * gather.row_len..][..gather.row_len];
                        let of = |values: &[f64], place: &Option<u32>| place.map_or(0.0, |at| values[at as usize]);
                        of_position.clear();
                        of_position.extend(places.iter().map(|place| of(&lost, place)));
                        if gather.is_fitted {
                            columns.extend(places.iter().map(|place| of(&q, place)));
                        }
                    }
                    residual[own] += dot(connection.row(first + own), &of_position);
                }
            }
        }
        rows
    }
}

/// In four sums, which a compiler may keep side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (a, b) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    for (a, b) in a.0.iter().zip(b.0) {
        (0..4).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f64>() + a.1.iter().zip(b.1).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use model::population::{Pool, PoolKind};
    use proptest::prelude::*;
    use snn::{Kernel, Source, Wiring};

    use super::*;

    /// Rounding of sums of a few hundred products in f64.
    const TOLERANCE: f64 = 1e-8;

    /// Values that depend on nothing but their place.
    fn noise(seed: u64, at: usize) -> f64 {
        let mut x = seed.wrapping_add(at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((x ^ (x >> 32)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// What is sent is what the trained network sends, times a factor, plus a constant, and rounded.
    struct Distorted {
        n: usize,
        factor: f64,
        step: f64,
    }

    impl Sources for Distorted {
        fn n_samples(&self) -> usize {
            60
        }

        fn of(&self, sample: usize, connection: &Connection<f64>) -> [Vec<f64>; 2] {
            let source = connection.wiring.source.index() as u64;
            let trained: Vec<f64> = (0..self.n).map(|at| noise(1 + source, sample * self.n + at)).collect();
            let round = |x: f64| if self.step > 0.0 { (x / self.step).round() * self.step } else { x };
            let sent = trained.iter().map(|x| self.factor * round(*x)).collect();
            [trained, sent]
        }
    }

    /// A convolution of a pooled image and a skip connection beside it.
    fn layer() -> AnnLayer {
        let shape = [2, 6, 6];
        let pool = Pool::new(PoolKind::Mean, [1, 1], [1, 1]);
        let conv = Wiring {
            source: Source::of_layer(0),
            source_shape: shape,
            pools: vec![pool],
            kernel: Kernel::square(shape, 2, 3, 1, 1, 1),
        };
        let skip =
            Wiring { source: Source::of_layer(1), pools: Vec::new(), kernel: Kernel::identity(shape), ..conv.clone() };
        let weights = |n: usize| (0..n).map(|at| noise(77, at) - 0.4).collect();
        AnnLayer {
            name: "conv".to_owned(),
            shape,
            connections: vec![
                Connection { wiring: conv, weights: weights(36) },
                Connection { wiring: skip, weights: vec![1.0, 0.5] },
            ],
            biases: vec![0.25, -0.5].into(),
            ceiling: f64::INFINITY,
            may_be_silent: false,
            trained: None,
        }
    }

    #[test]
    fn sources_that_send_what_they_should_leave_the_layer_as_it_is() {
        let mut fitted = layer();
        assert_eq!(fit(&mut fitted, &Distorted { n: 72, factor: 1.0, step: 0.0 }), 1.0);
        assert_eq!(fitted, layer());
    }

    #[test]
    fn a_factor_on_what_is_sent_is_taken_back_by_the_weights() {
        let mut fitted = layer();
        fitted.connections.pop();
        let before = fitted.clone();
        let left = fit(&mut fitted, &Distorted { n: 72, factor: 0.8, step: 0.0 });
        // The least ridge takes a thousandth off what is added.
        assert!(left < 1e-4, "{left}");
        for (fitted, weight) in fitted.connections[0].weights.iter().zip(&before.connections[0].weights) {
            assert!((fitted - weight / 0.8).abs() < 0.005, "{fitted} {weight}");
        }
    }

    #[test]
    fn rounding_costs_less_behind_fitted_weights_also_of_what_other_connections_lose() {
        let sources = Distorted { n: 72, factor: 0.9, step: 0.5 };
        let mut fitted = layer();
        let left = fit(&mut fitted, &sources);
        let trained = layer();
        let columns = Columns::of(&trained, 0);
        let rows: Vec<_> = (0..60).flat_map(|at| columns.rows(&trained, 0, 2, at, 1, &sources)).collect();
        // What was lost, less what was added to make up for it.
        let error = |layer: &AnnLayer| -> f64 {
            let left = |q: &[f64], r: &[f64], channel: usize| {
                let row = layer.connections[0].row(channel).iter().zip(trained.connections[0].row(channel));
                let bias = layer.biases.values()[channel] - trained.biases.values()[channel];
                r[channel] - bias - row.zip(q).map(|((new, old), q)| (new - old) * q).sum::<f64>()
            };
            rows.iter().map(|[q, r]| (0..2).map(|channel| left(q, r, channel).powi(2)).sum::<f64>()).sum()
        };
        let share = error(&fitted) / error(&trained);
        assert!(left < 0.8 && (share - left).abs() < 0.1, "{share} {left}");
    }

    proptest! {
        #[test]
        fn what_is_solved_for_gives_the_right_hand_side(n in 1..12_usize, m in 1..4_usize, seed in any::<u64>()) {
            let root = Array2::from_shape_fn([n, n], |(i, j)| noise(seed, i * n + j) - 0.5);
            let a = root.dot(&root.t()) + &Array2::<f64>::eye(n);
            let b = Array2::from_shape_fn([m, n], |(i, j)| noise(!seed, i * n + j));
            let x = solve(a.clone(), b.clone()).unwrap();
            prop_assert!((x.dot(&a) - &b).iter().all(|error| error.abs() < TOLERANCE));
            prop_assert!(solve(-a, b).is_none());
        }
    }
}
