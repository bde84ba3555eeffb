//! The conversion methods: firing thresholds λ from weights and calibration statistics.
//!
//! One file a method, which says what its thresholds are, where they come from and which keys they depend on; one row of `rule`
//! for each. What the configuration must know of a method is its row in [`model::config::Method::facts`].
//!
//! Pure functions on slices: no burn, no files. Reads [`crate::activation`]; feeds [`crate::rescale`].

pub mod channel_percentile;
pub mod max;
pub mod mmse;
pub mod model_based;
pub mod none;
pub mod norm;
pub mod percentile;
pub mod std_dev;
pub mod trained;

use model::config::{Method, Readout};
use thiserror::Error;

use crate::activation::Activations;
use crate::layer::{AnnLayer, Before};
use crate::saturation;

/// How a method chooses the thresholds of one layer, `[C]`, in units of activations and before the factor `scale`.
type Rule = fn(&Place<'_>) -> anyhow::Result<Vec<f64>>;

/// The rule of each method.
fn rule(method: Method) -> Rule {
    match method {
        Method::None => none::thresholds,
        Method::Model => model_based::thresholds,
        Method::Max => max::thresholds,
        Method::Percentile => percentile::thresholds,
        Method::ChannelPercentile => channel_percentile::thresholds,
        Method::Norm => norm::thresholds,
        Method::Std => std_dev::thresholds,
        Method::Mmse => mmse::thresholds,
        Method::Trained => trained::thresholds,
    }
}

/// All that a rule may look at.
struct Place<'a> {
    /// The layer whose thresholds are chosen.
    layer: &'a AnnLayer,
    /// Whether it gives the logits.
    is_output: bool,
    /// Thresholds of the layers before it.
    before: Before<'a>,
    choice: &'a Choice,
    activations: Option<&'a Activations>,
    noise: &'a dyn Fn() -> anyhow::Result<Vec<f64>>,
}

impl Place<'_> {
    /// One threshold for all channels.
    fn all(&self, threshold: f64) -> Vec<f64> {
        vec![threshold; self.layer.n_channels()]
    }

    /// The layer's activations on calibration samples.
    fn activations(&self) -> &Activations {
        self.activations.expect("methods that need data are given data")
    }

    /// The measured standard deviation of each channel's input current per step, `[C]`, in units of activations.
    fn noise(&self) -> anyhow::Result<Vec<f64>> {
        (self.noise)()
    }
}

/// No thresholds can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ThresholdError {
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
    /// The network was not trained with thresholds.
    #[error(
        "layer {layer}: the trained network has no thresholds of its own, so `trained` gives none; train with train.activation = \
         \"qcfs\", or use another convert.method, such as \"mmse\""
    )]
    NotTrained {
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

/// Measures the standard deviation of each channel's input current per step, for [`Method::Std`].
///
/// Given a layer's index and the thresholds of all layers before it; returns `[C]`, in units of activations.
pub type MeasureNoise<'a> = dyn Fn(usize, &[Vec<f64>]) -> anyhow::Result<Vec<f64>> + 'a;

/// Thresholds λ of every layer, in units of the trained network's activations.
///
/// - `layers`: the trained network
/// - `activations`: one per layer, the logits last; needed if [`Method::needs_data`] says so
/// - returns `[C]` per layer, each > 0, C being the channels, or the neurons of a fully connected layer. None is above the activation at
///   which the trained network saturates itself, and, but for `none` and `trained`, none below the least activation that a channel can have. The last
///   layer's are 1 for a readout from potentials. A readout from spikes takes the largest that the method gives any output
///   neuron, for all of them: one factor on all logits, which leaves the decision as it is. `none`, `norm`, `std` and `trained` do not know
///   how large logits become, and neurons that fire at every step cannot be told apart: there it is no less than the percentile
///   of the positive logits.
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
        let place = Place {
            layer,
            is_output: idx == last,
            before: Before(choice.compensate.then_some(bases.as_slice())),
            choice,
            activations: activations.map(|activations| &activations[idx]),
            noise: &|| noise(idx, &thresholds),
        };
        let mut base = rule(choice.method)(&place)?;
        if base.iter().all(|threshold| *threshold <= 0.0) && layer.may_be_silent {
            // What its inputs allow, since calibration samples say nothing.
            let of = |channel: usize| saturation::bounds(layer, channel, place.before)[1];
            base = (0..layer.n_channels()).map(of).map(|most| if most > 0.0 { most } else { 1.0 }).collect();
        }
        if base.iter().any(|threshold| *threshold <= 0.0) {
            return Err(ThresholdError::SilentLayer { layer: layer.name.clone(), method: choice.method }.into());
        }
        if idx == last {
            let mut largest = base.iter().copied().fold(0.0, f64::max);
            if choice.method.measures_logits(choice.readout) {
                largest = largest.max(percentile::of_layer(place.activations(), choice));
            }
            base.fill(largest);
            thresholds.push(base);
        } else {
            let raised = raised(&place, &base);
            let of = |(channel, base): (usize, &mut f64)| {
                // What fires at every step whatever it sees is not scaled either.
                let own = raised[channel].unwrap_or(*base * choice.scale).min(layer.ceiling);
                *base = raised[channel].unwrap_or(*base).min(layer.ceiling);
                own
            };
            thresholds.push(base.iter_mut().enumerate().map(of).collect());
            bases.push(base);
        }
    }
    Ok(thresholds)
}

/// The largest activation that the inputs of a channel allow, where a threshold that knows of weights alone is below the least; `None`
/// where it is not, and for `none` and `trained`, whose thresholds are what they are.
fn raised(place: &Place<'_>, base: &[f64]) -> Vec<Option<f64>> {
    let of = |(channel, base): (usize, &f64)| {
        let [least, most] = saturation::bounds(place.layer, channel, place.before);
        let is_fixed = matches!(place.choice.method, Method::None | Method::Trained);
        (!is_fixed && least > *base).then_some(most)
    };
    base.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use model::population::{Pool, PoolKind};
    use snn::{Connection, Kernel, Wiring, norm};

    use super::norm::ratio_to_l4;
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
            biases: biases.into(),
            ceiling: f64::INFINITY,
            may_be_silent: false,
            trained: None,
        }
    }

    fn layers() -> Vec<AnnLayer> {
        let first = dense("dense 1", 0, vec![3.0, -4.0, 1.0, 1.0], vec![0.5, -9.0]);
        vec![AnnLayer { trained: Some(vec![1.5, 0.25]), ..first }, dense("dense 2", 1, vec![1.0, -2.0], vec![0.0])]
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
            (Method::Trained, [1.5, 0.25]),
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
            let ratio = ratio_to_l4(&three, p, compensate);
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
        assert_eq!(ratio_to_l4(&three, 4.0, true), 1.0);
        assert_eq!(ratio_to_l4(&three[2..], 1.0, true), 1.0, "no hidden layer");
        let silent = [dense("dense 1", 0, vec![0.0], vec![1.0]), three[2].clone()];
        assert_eq!(ratio_to_l4(&silent, 2.0, true), 1.0, "no channel with weights");
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
        let pool = Pool::new(PoolKind::Mean, [1, 2], [1, 2]);
        let kernel = Kernel::square([1, 1, 1], 1, 1, 1, 0, 1);
        let pooled = Wiring { source: snn::Source::INPUT, source_shape: [1, 1, 2], pools: vec![pool], kernel };
        let skip =
            Wiring { pools: Vec::new(), kernel: Kernel { input: [1, 1, 2], size: [1, 2], ..kernel }, ..pooled.clone() };
        layers[0] = AnnLayer {
            name: "residual 1".to_owned(),
            shape: [1, 1, 1],
            connections: vec![
                Connection { wiring: pooled, weights: vec![3.0] },
                Connection { wiring: skip, weights: vec![1.0, 2.0] },
            ],
            biases: vec![0.5].into(),
            ceiling: f64::INFINITY,
            may_be_silent: false,
            trained: None,
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
    fn a_neuron_without_weights_sends_its_bias_and_one_that_never_fires_is_no_obstacle() {
        let mut layers = layers();
        layers[0].connections[0].weights[2..].fill(0.0);
        for (bias, lambda) in [(0.75, 0.75), (-9.0, 1.0)] {
            layers[0].biases = vec![0.5, bias].into();
            for method in [Method::Norm, Method::Std] {
                let found = choose(&layers, None, &choice(method), &|_, _| Ok(vec![1.0, 0.0])).unwrap();
                assert_eq!(found[0][1], lambda, "{method}");
            }
        }
    }

    #[test]
    fn a_neuron_that_would_fire_at_every_step_whatever_it_sees_gets_a_threshold_that_it_can_stay_below() {
        let mut layers = layers();
        layers[0].connections[0].weights[2..].copy_from_slice(&[1e-6, -3e-6]);
        layers[0].biases = vec![0.5, 0.75].into();
        for (method, scale) in [(Method::Norm, 1.0), (Method::Std, 1.0), (Method::Norm, 0.5)] {
            let choice = Choice { scale, ..choice(method) };
            let found = choose(&layers, None, &choice, &|_, _| Ok(vec![1.0, 1e-6])).unwrap();
            assert!((found[0][1] - (0.75 + 1e-6)).abs() < ROUNDING, "{method}: {found:?}");
        }
    }

    #[test]
    fn no_threshold_is_above_the_activation_at_which_the_trained_network_saturates() {
        let mut layers = layers();
        layers[0].ceiling = 0.5;
        let free = choose(&self::layers(), None, &choice(Method::Norm), &|_, _| Ok(Vec::new())).unwrap();
        let found = choose(&layers, None, &choice(Method::Norm), &|_, _| Ok(Vec::new())).unwrap();
        assert!(free[0].iter().all(|threshold| *threshold > 0.5), "{free:?}");
        assert_eq!(found[0], [0.5, 0.5]);
    }

    #[test]
    fn thresholds_of_training_stay_what_they_are_and_a_network_without_them_is_refused_with_the_remedy() {
        let mut layers = layers();
        // Its least activation is above its threshold, as it may be after training.
        layers[0].connections[0].weights[..2].fill(0.0);
        layers[0].biases = vec![7.0, 0.0].into();
        let choose = |layers: &[AnnLayer]| choose(layers, None, &choice(Method::Trained), &|_, _| Ok(Vec::new()));
        assert_eq!(choose(&layers).unwrap()[0], [1.5, 0.25]);
        layers[0].trained = None;
        let error = choose(&layers).unwrap_err().to_string();
        assert!(error.contains("layer dense 1") && error.contains("train with train.activation = \"qcfs\""), "{error}");
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
