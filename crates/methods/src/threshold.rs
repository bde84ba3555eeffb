//! The conversion methods: firing thresholds λ from weights and calibration statistics.
//!
//! Pure functions on slices: no burn, no files. Reads [`crate::activation`]; feeds [`crate::rescale`].

use model::config::{Method, Readout};
use rayon::prelude::*;
use snn::norm;
use thiserror::Error;

use crate::activation::{Activations, percentile};
use crate::layer::{AnnLayer, Before};

/// Candidates for each neuron's λ of least squared error: the largest activation times 1/100, 2/100, … 1, the steps of the code
/// of Li et al. 2021, which stops at 6/100.
const MMSE_CANDIDATES: usize = 100;

/// No thresholds can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ThresholdError {
    /// All incoming weights of a channel are zero, so it has no norm to divide by.
    #[error(
        "layer {layer}: all weights of {which} are zero, so `{method}` gives it no threshold; remove it, \
         or use a method that does not divide by weights (max, percentile)"
    )]
    SilentChannel {
        /// Name of the layer.
        layer: String,
        /// `neuron 3` or, in a convolution, `channel 3`.
        which: String,
        /// The method.
        method: Method,
    },
    /// No calibration sample makes any neuron of a layer active.
    #[error(
        "layer {layer}: no calibration sample activates any neuron, so `{method}` gives no threshold; raise \
         convert.calibration_samples, check the weights, or use convert.method = \"norm\""
    )]
    SilentLayer {
        /// Name of the layer.
        layer: String,
        /// The method.
        method: Method,
    },
    /// The input current of a layer never varies, so it has no standard deviation.
    #[error(
        "layer {layer}: no input spikes vary over time, so `std` gives no threshold; raise simulate.steps, or use \
         convert.method = \"norm\""
    )]
    SteadyInput {
        /// Name of the layer.
        layer: String,
    },
}

/// What decides the thresholds, apart from the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The method.
    pub method: Method,
    /// Order of the norm.
    pub p: f64,
    /// Noise-to-threshold ratio κ of `norm` and `std`.
    pub kappa: f64,
    /// Percentile, in (0, 100].
    pub percentile: f64,
    /// Whether zeros count in percentiles.
    pub percentile_zeros: bool,
    /// Factor on every hidden λ.
    pub scale: f64,
    /// Time steps that `mmse` aims at.
    pub target_steps: usize,
    /// Initial potential of hidden neurons: what `mmse` rounds with.
    pub initial_potential: f64,
    /// Whether layers undo the rescaling of the one before.
    pub compensate: bool,
    /// Where the decision is read from.
    pub readout: Readout,
}

/// Whether a method needs calibration samples: also those that do not look at activations, if the output neurons fire.
pub fn needs_data(method: Method, readout: Readout) -> bool {
    match method {
        Method::Model => false,
        Method::None | Method::Norm => readout == Readout::Spikes,
        _ => true,
    }
}

/// Measures the standard deviation of each channel's input current per step, for [`Method::Std`].
///
/// Given a layer's index and the thresholds of all layers before it; returns `[C]`, in units of activations.
pub type MeasureNoise<'a> = dyn Fn(usize, &[Vec<f64>]) -> anyhow::Result<Vec<f64>> + 'a;

/// Thresholds λ of every layer, in units of the trained network's activations.
///
/// - `layers`: the trained network
/// - `activations`: one per layer, the logits last; needed if [`needs_data`] says so
/// - returns `[C]` per layer, each > 0, C being the channels, or the neurons of a fully connected layer. The last
///   layer's are 1 for a readout from potentials. A readout from spikes takes the largest that the method gives any output
///   neuron, for all of them: one factor on all logits, which leaves the decision as it is. `none`, `norm` and `std` do not know
///   how large logits become, and neurons that fire at every step cannot be told apart: there it is no less than the percentile
///   of the positive logits.
///
/// | method | λ of a hidden channel j |
/// |---|---|
/// | `none` | 1 |
/// | `model` | largest over the layer of `Σ_i max(0, w_ji) λ_i + max(0, b_j)` (Diehl et al. 2015), over all connections |
/// | `max` | largest activation of the layer (Diehl et al. 2015) |
/// | `percentile` | percentile of the layer's activations (Rueckauer et al. 2017) |
/// | `channel-percentile` | percentile of the channel's own (Kim et al. 2020); the layer's for a channel never active |
/// | `norm` | `‖w_j ∘ λ‖_p / κ` (p = 4: our reading of Allred & Roy 2021); `w_j` is the kernel, the mean of an average pool being one input, and of a residual sum all kernels together |
/// | `std` | measured standard deviation of the input current / κ; the layer's median where it is zero |
/// | `mmse` | `argmin_λ Σ (a − λ/T · clip(⌊aT/λ + v(0)⌋, 0, T))²` (Li et al. 2021, simplified); the layer's largest activation for a channel never active |
///
/// # Errors
/// [`ThresholdError`] if a method gives no threshold, or what `noise` fails with.
pub fn choose(
    layers: &[AnnLayer],
    activations: Option<&[Activations]>,
    choice: &Choice,
    noise: &MeasureNoise<'_>,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let last = layers.len() - 1;
    // Without the factor `scale`, which would pile up from layer to layer where λ is computed from the λ before.
    let mut bases: Vec<Vec<f64>> = Vec::new();
    let mut thresholds: Vec<Vec<f64>> = Vec::new();
    for (idx, layer) in layers.iter().enumerate() {
        if idx == last && choice.readout == Readout::Potential {
            thresholds.push(vec![1.0; layer.n_channels()]);
            break;
        }
        let before = Before(choice.compensate.then_some(bases.as_slice()));
        let measured = || &activations.expect("methods that need data are given data")[idx];
        let mut base = match choice.method {
            Method::None => vec![1.0; layer.n_channels()],
            Method::Model => vec![largest_possible(layer, before); layer.n_channels()],
            Method::Max => vec![measured().largest(); layer.n_channels()],
            Method::Percentile => vec![layer_percentile(measured(), choice); layer.n_channels()],
            Method::ChannelPercentile => channel_percentiles(measured(), choice),
            Method::Norm => norms(layer, before, choice)?,
            Method::Std => deviations(layer, noise(idx, &thresholds)?, choice)?,
            Method::Mmse => least_squares(measured(), choice),
        };
        if base.iter().any(|threshold| *threshold <= 0.0) {
            return Err(ThresholdError::SilentLayer { layer: layer.name.clone(), method: choice.method }.into());
        }
        if idx == last {
            let mut largest = base.iter().copied().fold(0.0, f64::max);
            if matches!(choice.method, Method::None | Method::Norm | Method::Std) {
                largest = largest.max(layer_percentile(measured(), choice));
            }
            base.fill(largest);
            thresholds.push(base);
        } else {
            thresholds.push(base.iter().map(|threshold| threshold * choice.scale).collect());
            bases.push(base);
        }
    }
    Ok(thresholds)
}

fn norms(layer: &AnnLayer, before: Before<'_>, choice: &Choice) -> Result<Vec<f64>, ThresholdError> {
    let of = |channel: usize| Ok(positive_norm(layer, channel, before, choice.p)? / choice.kappa);
    (0..layer.n_channels()).map(of).collect()
}

/// How much larger a norm of the incoming weights is than their L4-norm: the geometric mean over the hidden layers of that
/// over the channels of each, `‖w_j ∘ λ‖_p / ‖w_j ∘ λ‖_4`. With λ = ‖w ∘ λ‖_p / κ, a κ that is this many times larger makes
/// thresholds like those of the L4-norm. 1 if there is no hidden layer.
///
/// # Errors
/// [`ThresholdError::SilentChannel`]
pub fn ratio_to_l4(layers: &[AnnLayer], p: f64, compensate: bool) -> Result<f64, ThresholdError> {
    let hidden = &layers[..layers.len() - 1];
    let mut lambdas: Vec<Vec<f64>> = Vec::new();
    let mut sum_of_logs = 0.0;
    for layer in hidden {
        let before = Before(compensate.then_some(lambdas.as_slice()));
        let norms_of = |p: f64| -> Result<Vec<f64>, ThresholdError> {
            (0..layer.n_channels()).map(|channel| positive_norm(layer, channel, before, p)).collect()
        };
        let (of_p, of_4) = (norms_of(p)?, norms_of(4.0)?);
        let logs = of_p.iter().zip(&of_4).map(|(of_p, of_4)| (of_p / of_4).ln());
        sum_of_logs += logs.sum::<f64>() / of_4.len() as f64;
        lambdas.push(of_4);
    }
    Ok((sum_of_logs / hidden.len().max(1) as f64).exp())
}

fn positive_norm(layer: &AnnLayer, channel: usize, before: Before<'_>, p: f64) -> Result<f64, ThresholdError> {
    let norm = norm(layer.weight_vector(channel, before), p);
    if norm > 0.0 { Ok(norm) } else { Err(silent_channel(layer, channel, Method::Norm)) }
}

fn silent_channel(layer: &AnnLayer, channel: usize, method: Method) -> ThresholdError {
    let which = format!("{} {channel}", if layer.n_positions() == 1 { "neuron" } else { "channel" });
    ThresholdError::SilentChannel { layer: layer.name.clone(), which, method }
}

fn deviations(layer: &AnnLayer, sigmas: Vec<f64>, choice: &Choice) -> Result<Vec<f64>, ThresholdError> {
    let silent = |channel: &usize| layer.weight_vector(*channel, Before(None)).all(|weight| weight == 0.0);
    if let Some(channel) = (0..layer.n_channels()).find(silent) {
        return Err(silent_channel(layer, channel, choice.method));
    }
    let positive: Vec<f64> = sigmas.iter().copied().filter(|sigma| *sigma > 0.0).collect();
    let median = percentile(positive, 50.0).ok_or_else(|| ThresholdError::SteadyInput { layer: layer.name.clone() })?;
    Ok(sigmas.into_iter().map(|sigma| if sigma > 0.0 { sigma } else { median } / choice.kappa).collect())
}

fn largest_possible(layer: &AnnLayer, before: Before<'_>) -> f64 {
    let of = |(channel, bias): (usize, &f64)| {
        layer.weight_vector(channel, before).map(|weight| weight.max(0.0)).sum::<f64>() + bias.max(0.0)
    };
    layer.biases.iter().enumerate().map(of).fold(0.0, f64::max)
}

fn counts_in_percentile(value: f64, choice: &Choice) -> bool {
    value > 0.0 || choice.percentile_zeros
}

/// Negative values, which only logits have, count as zero: a neuron cannot fire for them.
fn layer_percentile(activations: &Activations, choice: &Choice) -> f64 {
    let values = activations.values.iter().map(|&value| f64::from(value).max(0.0));
    percentile(values.filter(|value| counts_in_percentile(*value, choice)).collect(), choice.percentile).unwrap_or(0.0)
}

fn channel_percentiles(activations: &Activations, choice: &Choice) -> Vec<f64> {
    let layer = layer_percentile(activations, choice);
    (0..activations.n_channels())
        .into_par_iter()
        .map(|channel| {
            let values = activations.of_channel(channel).map(|value| value.max(0.0));
            let own =
                percentile(values.filter(|value| counts_in_percentile(*value, choice)).collect(), choice.percentile);
            own.filter(|own| *own > 0.0).unwrap_or(layer)
        })
        .collect()
}

fn least_squares(activations: &Activations, choice: &Choice) -> Vec<f64> {
    let layer = activations.largest();
    (0..activations.n_channels())
        .into_par_iter()
        .map(|channel| {
            let values: Vec<f64> = activations.of_channel(channel).map(|value| value.max(0.0)).collect();
            let largest = values.iter().copied().fold(0.0, f64::max);
            if largest == 0.0 {
                return layer;
            }
            let candidates = (1..=MMSE_CANDIDATES).map(|k| largest * k as f64 / MMSE_CANDIDATES as f64);
            let error =
                |lambda: f64| values.iter().map(|&a| quantisation_error(a, lambda, choice).powi(2)).sum::<f64>();
            let scored = candidates.map(|lambda| (error(lambda), lambda));
            scored.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are candidates").1
        })
        .collect()
}

/// What is lost of an activation that T steps of a neuron with threshold λ and steady input stand for.
fn quantisation_error(activation: f64, lambda: f64, choice: &Choice) -> f64 {
    let n_steps = choice.target_steps as f64;
    let count = (activation * n_steps / lambda + choice.initial_potential).floor().clamp(0.0, n_steps);
    activation - count * lambda / n_steps
}

#[cfg(test)]
mod tests {
    use model::population::{Pool, PoolKind};
    use snn::{Connection, Kernel, Wiring};

    use super::*;

    /// Rounding of a few f64 operations.
    const ROUNDING: f64 = 1e-12;

    fn choice(method: Method) -> Choice {
        Choice {
            method,
            p: 4.0,
            kappa: 0.5,
            percentile: 50.0,
            percentile_zeros: false,
            scale: 1.0,
            target_steps: 4,
            initial_potential: 0.5,
            compensate: true,
            readout: Readout::Potential,
        }
    }

    fn dense(name: &str, source: usize, weights: Vec<f64>, biases: Vec<f64>) -> AnnLayer {
        let n_out = biases.len();
        let wiring = Wiring::dense(snn::Source::from_index(source), [weights.len() / n_out, 1, 1], n_out);
        AnnLayer {
            name: name.to_owned(),
            shape: [n_out, 1, 1],
            connections: vec![Connection { wiring, weights }],
            biases,
        }
    }

    fn layers() -> Vec<AnnLayer> {
        vec![
            dense("dense 1", 0, vec![3.0, -4.0, 1.0, 1.0], vec![0.5, -9.0]),
            dense("dense 2", 1, vec![1.0, -2.0], vec![0.0]),
        ]
    }

    fn measured(n_neurons: usize, values: &[f32]) -> Activations {
        Activations { n_neurons, n_positions: 1, values: values.to_vec() }
    }

    fn activations() -> Vec<Activations> {
        vec![measured(2, &[1.0, 0.0, 2.0, 8.0, 0.0, 4.0]), measured(1, &[-2.0, 5.0, 3.0])]
    }

    fn chosen(choice: &Choice) -> Vec<Vec<f64>> {
        choose(&layers(), Some(&activations()), choice, &|_, _| Ok(vec![0.25, 0.0])).unwrap()
    }

    #[test]
    fn thresholds_are_those_computed_by_hand() {
        let fourth_root = |x: f64| x.powf(0.25);
        let cases = [
            (Method::None, [1.0, 1.0]),
            (Method::Model, [3.5, 3.5]),
            (Method::Max, [8.0, 8.0]),
            // Of the layer's 1, 2, 4, 8 the second; of the neurons' 1, 2 and 4, 8 the first.
            (Method::Percentile, [2.0, 2.0]),
            (Method::ChannelPercentile, [1.0, 4.0]),
            (Method::Norm, [fourth_root(81.0 + 256.0) / 0.5, fourth_root(2.0) / 0.5]),
            (Method::Std, [0.5, 0.5]),
        ];
        for (method, expected) in cases {
            let thresholds = chosen(&choice(method));
            for (found, expected) in thresholds[0].iter().zip(expected) {
                assert!((found - expected).abs() < ROUNDING, "{method}: {thresholds:?}");
            }
            assert_eq!(thresholds[1], [1.0], "{method}");
        }
        let with_zeros = Choice { percentile_zeros: true, ..choice(Method::Percentile) };
        assert_eq!(chosen(&with_zeros)[0], [1.0, 1.0]);
    }

    #[test]
    fn thresholds_of_any_norm_are_like_those_of_the_l4_norm_where_kappa_is_larger_by_their_ratio() {
        let three = [&layers()[..], &[dense("dense 3", 2, vec![1.0], vec![0.0])]].concat();
        let geometric_mean = |values: &[f64]| (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp();
        for (p, compensate) in [(1.0, true), (2.0, true), (f64::INFINITY, true), (1.0, false)] {
            let ratio = ratio_to_l4(&three, p, compensate).unwrap();
            let of = |p: f64, kappa: f64| {
                let choice = Choice { p, kappa, compensate, ..choice(Method::Norm) };
                choose(&three, None, &choice, &|_, _| Ok(Vec::new())).unwrap()
            };
            // The first layer's ratio, and the second's behind the same λ, by hand: (7 · 2)^½ / (337 · 2)^⅛ for p = 1 …
            let (of_4, first) = (of(4.0, 1.0), of(p, 1.0));
            let second =
                norm([1.0, -2.0].iter().enumerate().map(|(i, w)| w * if compensate { of_4[0][i] } else { 1.0 }), p);
            let by_hand = [(geometric_mean(&first[0]) / geometric_mean(&of_4[0])), second / of_4[1][0]];
            assert!((ratio / geometric_mean(&by_hand) - 1.0).abs() < ROUNDING, "p = {p}: {ratio}");
        }
        assert_eq!(ratio_to_l4(&three, 4.0, true), Ok(1.0));
        assert_eq!(ratio_to_l4(&three[2..], 1.0, true), Ok(1.0), "no hidden layer");
        let silent = [dense("dense 1", 0, vec![0.0], vec![1.0]), three[2].clone()];
        let expected = ThresholdError::SilentChannel {
            layer: "dense 1".to_owned(),
            which: "neuron 0".to_owned(),
            method: Method::Norm,
        };
        assert_eq!(ratio_to_l4(&silent, 2.0, true), Err(expected));
    }

    #[test]
    fn mmse_finds_the_threshold_that_represents_its_values_exactly() {
        // Multiples of ¼ of 2 are exact with λ = 2 and T = 4; any other λ on the grid of candidates loses something.
        let activations = [measured(1, &[0.5, 1.0, 1.5, 2.0])];
        let two = [dense("x", 0, vec![1.0], vec![0.0]), dense("y", 1, vec![1.0], vec![0.0])];
        let found = choose(&two, Some(&activations), &choice(Method::Mmse), &|_, _| Ok(Vec::new())).unwrap();
        assert_eq!(found[0], [2.0]);
    }

    #[test]
    fn no_other_candidate_of_mmse_loses_less() {
        let activations = [measured(2, &[0.3, 7.0, 1.1, 8.0, 0.7, 7.0, 0.2, 7.0]), measured(1, &[1.0])];
        let choice = Choice { target_steps: 3, initial_potential: 0.25, ..choice(Method::Mmse) };
        let found = choose(&layers(), Some(&activations), &choice, &|_, _| Ok(Vec::new())).unwrap();
        for (neuron, largest) in [(0, f64::from(1.1_f32)), (1, 8.0)] {
            // (a − λ/T · clip(⌊aT/λ + v(0)⌋, 0, T))², summed over the neuron's activations.
            let loss = |lambda: f64| -> f64 {
                let of = |a: f64| (a - lambda / 3.0 * (a * 3.0 / lambda + 0.25).floor().clamp(0.0, 3.0)).powi(2);
                activations[0].of_channel(neuron).map(of).sum()
            };
            let least = (1..=100).map(|k| loss(largest * f64::from(k) / 100.0)).fold(f64::INFINITY, f64::min);
            assert!((loss(found[0][neuron]) - least).abs() < ROUNDING, "neuron {neuron}: {found:?}");
            assert!(least < loss(largest), "the largest activation is not the best here");
        }
    }

    #[test]
    fn a_norm_sees_the_thresholds_of_the_layer_before_only_when_they_are_undone() {
        // A percentile that is below them.
        let spikes = Choice { readout: Readout::Spikes, percentile: 1.0, ..choice(Method::Norm) };
        let before = &chosen(&spikes)[0];
        let expected = norm([before[0], -2.0 * before[1]].into_iter(), 4.0) / 0.5;
        assert!((chosen(&spikes)[1][0] - expected).abs() < ROUNDING);
        let uncompensated = Choice { compensate: false, ..spikes };
        assert!((chosen(&uncompensated)[1][0] - 17_f64.powf(0.25) / 0.5).abs() < ROUNDING);
    }

    #[test]
    fn a_norm_takes_the_mean_of_a_pool_as_one_input_and_all_connections_together() {
        let mut layers = layers();
        // One channel behind a window of two neurons, its weight of 6 halved by the pool, and another connection.
        let pool = Pool { kind: PoolKind::Mean, kernel: [1, 2], stride: [1, 2] };
        let kernel = Kernel { input: [1, 1, 1], channels: 1, size: 1, stride: 1, padding: 0, groups: 1 };
        let pooled = Wiring { source: snn::Source::INPUT, source_shape: [1, 1, 2], pools: vec![pool], kernel };
        let skip =
            Wiring { pools: Vec::new(), kernel: Kernel { input: [1, 1, 2], size: 2, ..kernel }, ..pooled.clone() };
        layers[0] = AnnLayer {
            name: "residual 1".to_owned(),
            shape: [1, 1, 1],
            connections: vec![
                Connection { wiring: pooled, weights: vec![3.0] },
                Connection { wiring: skip, weights: vec![1.0, 2.0, 0.0, 0.0] },
            ],
            biases: vec![0.5],
        };
        let found = |method| choose(&layers, None, &choice(method), &|_, _| Ok(Vec::new())).unwrap()[0][0];
        assert!((found(Method::Norm) - (1296.0 + 1.0 + 16.0_f64).powf(0.25) / 0.5).abs() < ROUNDING);
        assert!((found(Method::Model) - (6.0 + 1.0 + 2.0 + 0.5)).abs() < ROUNDING);
    }

    #[test]
    fn scale_multiplies_hidden_thresholds_once_and_leaves_the_readout() {
        for method in [Method::Max, Method::Norm, Method::Model] {
            let spikes = Choice { readout: Readout::Spikes, ..choice(method) };
            let (plain, scaled) = (chosen(&spikes), chosen(&Choice { scale: 0.5, ..spikes }));
            assert_eq!(scaled[0], plain[0].iter().map(|x| x / 2.0).collect::<Vec<_>>(), "{method}");
            assert_eq!(scaled[1], plain[1], "{method}");
        }
    }

    #[test]
    fn output_neurons_that_fire_share_one_threshold() {
        for method in Method::ALL.iter().filter(|method| **method != Method::Std) {
            let mut layers = layers();
            layers[1] = dense("dense 2", 1, vec![1.0, -2.0, 0.1, 7.0], vec![0.0; 2]);
            let mut activations = activations();
            activations[1] = measured(2, &[-2.0, 5.0, 3.0, 1.0]);
            let choice = Choice { readout: Readout::Spikes, ..choice(*method) };
            let found = choose(&layers, Some(&activations), &choice, &|_, _| Ok(Vec::new())).unwrap();
            assert!(found[1][0] > 0.0 && found[1][0] == found[1][1], "{method}: {found:?}");
        }
    }

    #[test]
    fn output_neurons_that_fire_can_tell_the_logits_apart_whatever_the_method() {
        let mut activations = activations();
        activations[1] = measured(1, &[-30.0, 10.0, 20.0]);
        for method in Method::ALL.iter().filter(|method| !matches!(method, Method::Model | Method::Mmse)) {
            let choice = Choice { readout: Readout::Spikes, percentile: 100.0, ..choice(*method) };
            let noise = |idx: usize, _: &[Vec<f64>]| Ok(vec![1.0; layers()[idx].n_channels()]);
            let found = choose(&layers(), Some(&activations), &choice, &noise).unwrap();
            assert!((found[1][0] - 20.0).abs() < ROUNDING, "{method}: {found:?}");
        }
    }

    #[test]
    fn a_silent_neuron_is_refused_by_name_where_its_weights_are_divided_by() {
        let mut layers = layers();
        layers[0].connections[0].weights[2..].fill(0.0);
        for method in [Method::Norm, Method::Std] {
            let error = choose(&layers, None, &choice(method), &|_, _| Ok(vec![1.0, 0.0])).unwrap_err().to_string();
            assert!(error.contains("layer dense 1: all weights of neuron 1 are zero"), "{error}");
        }
    }

    #[test]
    fn a_silent_layer_is_refused_by_name() {
        let mut activations = activations();
        activations[0].values.fill(0.0);
        for method in [Method::Max, Method::Percentile, Method::ChannelPercentile, Method::Mmse] {
            let error =
                choose(&layers(), Some(&activations), &choice(method), &|_, _| Ok(Vec::new())).unwrap_err().to_string();
            assert!(error.contains("layer dense 1: no calibration sample activates"), "{error}");
        }
        let error = choose(&layers(), None, &choice(Method::Std), &|_, _| Ok(vec![0.0; 2])).unwrap_err().to_string();
        assert!(error.contains("no input spikes vary"), "{error}");
    }
}
