//! Why the noise of a layer follows one norm of its weights or another: the exact prediction, the angle between weights and
//! rates, the membrane potential, and rates that know nothing of the weights.

use crate::measure::sampled_neurons;
use crate::probe::{CurrentVariance, InputMeans, PotentialVariance};
use results::record::{Angle, Fit, LayerLaw, NormFit, PotentialLaw};
use results::statistic::correlation;
use snn::{SpikingLayer, norm, philox::philox};

/// Norm orders that are compared.
pub const ORDERS: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 6.0, f64::INFINITY];

/// Draws of random rates; the fits are means over them.
const DRAWS: u32 = 8;

/// Key of the random rates: they are part of the measure, and the same for every network.
const KEY: u64 = 0x4c34;

/// Weights of a layer above which some of its channels are looked at, with as many weights in all.
const MANY_WEIGHTS: usize = 1 << 22;

/// Channels whose weights are looked at: all of a layer, or some that are drawn with [`crate::measure::SAMPLING_SEED`] where it has more than
/// 2²² weights, whose statistics would take minutes.
fn channels_looked_at(layer: &SpikingLayer) -> Vec<usize> {
    let n_channels = layer.shape()[0];
    let n = MANY_WEIGHTS / layer.weight_vector(0).count().max(1);
    sampled_neurons(0, n_channels, n.max(1)).unwrap_or_else(|| (0..n_channels).collect())
}

/// Norms of each channel's weights, in units of activations: converted weights times the channel's threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Norms {
    /// Channels that are looked at, in order.
    channels: Vec<usize>,
    /// `[p][C]`, in the order of [`ORDERS`]; 0 for channels that are not looked at.
    of_order: Vec<Vec<f64>>,
}

impl Norms {
    /// Of all orders.
    pub fn new(layer: &SpikingLayer) -> Self {
        let channels = channels_looked_at(layer);
        let mut of_order: Vec<Vec<f64>> = vec![vec![0.0; layer.shape()[0]]; ORDERS.len()];
        for &channel in &channels {
            let norms = norms(weights(layer, channel));
            of_order.iter_mut().zip(norms).for_each(|(of_order, norm)| of_order[channel] = norm);
        }
        Self { channels, of_order }
    }

    /// Channels that are looked at, in order: all, but of layers with millions of weights.
    pub fn channels(&self) -> &[usize] {
        &self.channels
    }

    /// Of order 4, `[C]`.
    pub fn l4(&self) -> &[f64] {
        let four = ORDERS.iter().position(|p| *p == 4.0).expect("4 is among the orders");
        &self.of_order[four]
    }

    /// Fit of standard deviations by each norm; `None` without any noise.
    ///
    /// - `sigmas`: `[C]`, NaN where unknown; such neurons, and those without weights, are left out
    pub fn fits(&self, sigmas: &[f64]) -> Option<Vec<NormFit>> {
        let fit = |(p, norms): (&f64, &Vec<f64>)| {
            let Fit { coefficient_of_variation, correlation } = fit(sigmas, norms)?;
            let p = if p.is_infinite() { "∞".to_owned() } else { p.to_string() };
            Some(NormFit { p, coefficient_of_variation, correlation })
        };
        ORDERS.iter().zip(&self.of_order).map(fit).collect()
    }
}

/// Norms of all [`ORDERS`], as [`snn::norm`] tells each: in one pass and by multiplication, as a power takes as long as a hundred of
/// those and large layers have millions of weights.
fn norms(values: impl Iterator<Item = f64> + Clone) -> [f64; ORDERS.len()] {
    let largest = values.clone().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if largest == 0.0 {
        return [0.0; ORDERS.len()];
    }
    let mut sums = [0.0; ORDERS.len() - 1];
    for value in values {
        let x = value.abs() / largest;
        let square = x * x;
        let powers = [x, square, square * x, square * square, square * square * square];
        sums.iter_mut().zip(powers).for_each(|(sum, power)| *sum += power);
    }
    std::array::from_fn(|at| sums.get(at).map_or(largest, |sum| largest * sum.powf(1.0 / ORDERS[at])))
}

fn weights(layer: &SpikingLayer, channel: usize) -> impl Iterator<Item = f64> + Clone {
    let lambda = f64::from(layer.thresholds()[channel]);
    layer.weight_vector(channel).map(move |weight| weight * lambda)
}

/// How well predictions predict; `None` if nothing is to be predicted, or nothing predicts.
fn fit(values: &[f64], predictions: &[f64]) -> Option<Fit> {
    let pairs: Vec<[f64; 2]> = predictions
        .iter()
        .zip(values)
        .map(|(p, v)| [*p, *v])
        .filter(|pair| pair[0] > 0.0 && !pair[1].is_nan())
        .collect();
    let coefficient_of_variation = variation(pairs.iter().map(|[prediction, value]| value / prediction))?;
    Some(Fit { coefficient_of_variation, correlation: correlation(pairs) })
}

/// Standard deviation over mean; `None` without a positive mean.
fn variation(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean > 0.0).then(|| variance.sqrt() / mean)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

/// Everything about one layer; `None` if its inputs have no variance.
///
/// - `variance`, `means`: of its current and its inputs in the run
/// - `potential`: of its membrane potentials; `None` if it never fires
pub fn law(
    layer: &SpikingLayer,
    norms: &Norms,
    variance: &CurrentVariance,
    means: &InputMeans,
    potential: Option<&PotentialVariance>,
) -> Option<LayerLaw> {
    let pairs = variance.measured.iter().zip(&variance.bernoulli).filter(|(_, bernoulli)| **bernoulli > 0.0);
    let current = roots(&variance.measured);
    Some(LayerLaw {
        prediction: fit(&current, &roots(&variance.bernoulli))?,
        dependence: mean(pairs.map(|(measured, bernoulli)| measured / bernoulli))?,
        angle: angle(layer, norms, means)?,
        potential: potential.and_then(|variance| potential_law(layer, norms, &current, variance)),
        uniform_rates: uniformly_drawn(layer, norms)?,
        shuffled_rates: shuffled(layer, norms, means)?,
    })
}

fn roots(variances: &[f64]) -> Vec<f64> {
    variances.iter().map(|variance| variance.sqrt()).collect()
}

fn angle(layer: &SpikingLayer, norms: &Norms, means: &InputMeans) -> Option<Angle> {
    let channels = || norms.channels.iter().copied();
    let squares = |channel: usize| weights(layer, channel).map(|weight| weight * weight);
    let cosines = |inputs: &dyn Fn(usize) -> Vec<f64>| -> Vec<f64> {
        channels().filter_map(|channel| cosine(squares(channel), inputs(channel).into_iter())).collect()
    };
    let cosines_to_variances = cosines(&|channel| means.variances(channel).collect());
    let cosines_to_rates = cosines(&|channel| means.rates(channel).collect());
    let roots = |cosines: &[f64]| variation(cosines.iter().map(|cosine| cosine.sqrt()));
    let mean_inputs: Vec<f64> = channels()
        .map(|channel| {
            let product: f64 = squares(channel).zip(means.variances(channel)).map(|(w, variance)| w * variance).sum();
            (product / squares(channel).sum::<f64>()).sqrt()
        })
        .filter(|mean| mean.is_finite())
        .collect();
    let aligned = channels().filter_map(|channel| {
        correlation(squares(channel).zip(means.variances(channel)).map(|(square, variance)| [square, variance]))
    });
    Some(Angle {
        cosine: mean(cosines_to_variances.iter().copied())?,
        cosine_variation: variation(cosines_to_variances.iter().copied())?,
        root_variation: roots(&cosines_to_variances)?,
        mean_root_variation: variation(mean_inputs.into_iter())?,
        rate_cosine: mean(cosines_to_rates.iter().copied())?,
        rate_root_variation: roots(&cosines_to_rates)?,
        // Where all inputs are alike, no weight can know better.
        alignment: mean(aligned).unwrap_or(0.0),
    })
}

/// Cosine of the angle between two vectors; `None` if one of them is zero.
fn cosine(a: impl Iterator<Item = f64> + Clone, b: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let product: f64 = a.clone().zip(b.clone()).map(|(x, y)| x * y).sum();
    let cosine = product / (norm(a, 2.0) * norm(b, 2.0));
    cosine.is_finite().then_some(cosine)
}

/// - `current`: σ of each channel's current, in units of activations
fn potential_law(
    layer: &SpikingLayer,
    norms: &Norms,
    current: &[f64],
    variance: &PotentialVariance,
) -> Option<PotentialLaw> {
    let (sigmas, firing) = (roots(&variance.measured), roots(&variance.firing));
    let in_thresholds = |sigmas: &[f64]| {
        let scaled = sigmas.iter().zip(layer.thresholds()).map(|(sigma, &lambda)| sigma / f64::from(lambda));
        mean(scaled.filter(|sigma| !sigma.is_nan()))
    };
    // In thresholds too, so that every neuron counts alike.
    let squares = |variances: &[f64]| -> f64 {
        variances.iter().zip(layer.thresholds()).map(|(v, &lambda)| v / f64::from(lambda).powi(2)).sum()
    };
    Some(PotentialLaw {
        sigma: in_thresholds(&sigmas)?,
        current_sigma: in_thresholds(current)?,
        drift_share: 1.0 - squares(&variance.around_trend) / squares(&variance.measured),
        norms: norms.fits(&sigmas)?,
        norms_around_trend: norms.fits(&roots(&variance.around_trend))?,
        firing_sigma: in_thresholds(&firing),
        norms_firing: norms.fits(&firing).unwrap_or_default(),
    })
}

/// Uniform in (0, 1).
///
/// - `stream`: of numbers for one purpose
fn uniform(stream: u32, draw: u32, input: usize) -> f64 {
    (f64::from(philox(KEY, [input as u32, draw, 0, stream])[0]) + 0.5) / 2_f64.powi(32)
}

/// Fits of the noise that inputs of drawn variances would cause: `Σ w² s` of each neuron, in closed form; mean over draws.
///
/// - `variance`: of a channel's input in a draw
fn drawn(layer: &SpikingLayer, norms: &Norms, variance: impl Fn(usize, u32, usize) -> f64) -> Option<Vec<NormFit>> {
    let of_draw = |draw: u32| {
        let sigma = |channel: usize| {
            let products = weights(layer, channel).enumerate().map(|(input, w)| w * w * variance(channel, draw, input));
            products.sum::<f64>().sqrt()
        };
        let mut sigmas = vec![f64::NAN; layer.shape()[0]];
        norms.channels.iter().for_each(|&channel| sigmas[channel] = sigma(channel));
        norms.fits(&sigmas)
    };
    let draws: Vec<Vec<NormFit>> = (0..DRAWS).map(of_draw).collect::<Option<_>>()?;
    let of_order = |idx: usize| {
        let fits = || draws.iter().map(move |fits| &fits[idx]);
        Some(NormFit {
            p: draws[0][idx].p.clone(),
            coefficient_of_variation: mean(fits().map(|fit| fit.coefficient_of_variation))?,
            correlation: mean(fits().filter_map(|fit| fit.correlation)),
        })
    };
    (0..ORDERS.len()).map(of_order).collect()
}

/// Rates drawn from [0, 1].
fn uniformly_drawn(layer: &SpikingLayer, norms: &Norms) -> Option<Vec<NormFit>> {
    let n_inputs = layer.weight_vector(0).count();
    let rates = |draw: u32| (0..n_inputs).map(move |input| uniform(0, draw, input));
    let variances: Vec<Vec<f64>> =
        (0..DRAWS).map(|draw| rates(draw).map(|rate| rate * (1.0 - rate)).collect()).collect();
    drawn(layer, norms, |_, draw, input| variances[draw as usize][input])
}

/// The inputs' own variances, dealt out anew: the same order for every neuron, for they share their inputs.
fn shuffled(layer: &SpikingLayer, norms: &Norms, means: &InputMeans) -> Option<Vec<NormFit>> {
    let mut variances: Vec<Vec<f64>> = vec![Vec::new(); layer.shape()[0]];
    norms.channels.iter().for_each(|&channel| variances[channel] = means.variances(channel).collect());
    let n_inputs = layer.weight_vector(0).count();
    let orders: Vec<Vec<usize>> = (0..DRAWS)
        .map(|draw| {
            let mut order: Vec<usize> = (0..n_inputs).collect();
            order.sort_by(|&a, &b| uniform(1, draw, a).total_cmp(&uniform(1, draw, b)).then(a.cmp(&b)));
            order
        })
        .collect();
    drawn(layer, norms, |channel, draw, input| variances[channel][orders[draw as usize][input]])
}

#[cfg(test)]
mod tests {
    use crate::probe::{CurrentProbe, PotentialProbe, current_variance};
    use model::config::{Encoding, Reset};
    use snn::network::ExactLayer;
    use snn::{Connection, SpikeTrain, Wiring, encoder::encode};

    use super::*;

    /// Rounding of a few f64 operations, and of a threshold in 32 bits.
    const ROUNDING: f64 = 1e-6;

    fn layer(n_in: usize, weights: Vec<f64>) -> SpikingLayer {
        let n_out = weights.len() / n_in;
        let exact = ExactLayer {
            name: "dense 2".to_owned(),
            connections: vec![Connection { wiring: Wiring::dense(snn::Source::INPUT, [n_in, 1, 1], n_out), weights }],
            biases: vec![0.0; n_out].into(),
            initial_potentials: vec![0.5; n_out],
            thresholds: vec![1.0; n_out],
        };
        SpikingLayer::round(&exact, 64).unwrap()
    }

    fn measured(layer: &SpikingLayer, train: &SpikeTrain) -> LayerLaw {
        let trains = [train.clone()];
        let inputs = [&trains[..]];
        let mut current = CurrentProbe::new(layer, train.n_steps());
        current.add(layer, &inputs);
        let (variance, means) = current.finish(layer).unwrap();
        let mut potential = PotentialProbe::new(layer, train.n_steps(), Reset::Subtract);
        potential.add(layer, &inputs, |_| vec![0.0; layer.n_out()]);
        law(layer, &Norms::new(layer), &variance, &means, potential.finish(layer).as_ref()).unwrap()
    }

    /// Two inputs of rates ½ and ¼ in eight steps, which never spike together: variances (1/4)·8/7 and (3/16)·8/7.
    fn two_inputs() -> SpikeTrain {
        let mut train = SpikeTrain::silent([2, 1, 1], 8);
        for (step, neuron) in [(0, 0), (2, 0), (4, 0), (6, 0), (1, 1), (5, 1)] {
            train.add(step, neuron);
        }
        train
    }

    #[test]
    fn of_a_layer_with_millions_of_weights_some_channels_tell_what_all_do() {
        // 5.1 million weights: 64 inputs, each neuron with its own spread.
        let (n_in, n_out) = (64, 80_000);
        let weight = |at: usize| {
            let spread = 0.5 + uniform(5, 1, at / n_in);
            spread * (uniform(5, 0, at) - 0.5)
        };
        let layer = layer(n_in, (0..n_in * n_out).map(weight).collect());
        let norms = Norms::new(&layer);
        assert_eq!(norms.channels().len(), MANY_WEIGHTS / n_in);
        assert!(norms.channels().is_sorted_by(|a, b| a < b));
        let l2 = ORDERS.iter().position(|p| *p == 2.0).unwrap();
        let sigmas: Vec<f64> = (0..n_out).map(|channel| snn::norm(weights(&layer, channel), 2.0)).collect();
        // The norm that the noise was made of predicts it without an error, also where some of all are looked at.
        assert!(norms.fits(&sigmas).unwrap()[l2].coefficient_of_variation < ROUNDING);
        let small = self::layer(n_in, (0..n_in * 100).map(weight).collect());
        assert_eq!(Norms::new(&small).channels(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn norms_of_all_orders_are_those_of_each_order() {
        let values = [3.0, -4.0, 0.5, 0.0];
        for (order, norm) in ORDERS.into_iter().zip(norms(values.into_iter())) {
            let expected = snn::norm(values.into_iter(), order);
            assert!((norm - expected).abs() <= 1e-14 * expected, "{order}: {norm} {expected}");
        }
        assert_eq!(norms([0.0, 0.0].into_iter()), [0.0; ORDERS.len()]);
    }

    #[test]
    fn fits_of_a_norm_are_those_computed_by_hand() {
        // Ratios 1 and 3: mean 2, standard deviation 1.
        let found = fit(&[1.0, 6.0], &[1.0, 2.0]).unwrap();
        assert!((found.coefficient_of_variation - 0.5).abs() < 1e-12, "{found:?}");
        assert!((found.correlation.unwrap() - 1.0).abs() < 1e-12, "{found:?}");
        assert_eq!((fit(&[0.0], &[1.0]), fit(&[1.0], &[0.0])), (None, None));
        let orders: Vec<String> =
            Norms::new(&layer(1, vec![2.0])).fits(&[1.0]).unwrap().into_iter().map(|n| n.p).collect();
        assert_eq!(orders, ["1", "2", "3", "4", "6", "∞"]);
    }

    #[test]
    fn angles_of_two_inputs_are_those_computed_by_hand() {
        // Weights 1 and 0, 0 and 1, 1 and 1: squares along the first input, the second, and between.
        let law = measured(&layer(2, vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0]), &two_inputs());
        let cosines = [0.8, 0.6, 0.7 * 2_f64.sqrt()];
        let mean = cosines.iter().sum::<f64>() / 3.0;
        let spread = (cosines.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
        assert!(
            (law.angle.cosine - mean).abs() < ROUNDING && (law.angle.cosine_variation - spread / mean).abs() < ROUNDING
        );
        // Rates ½ and ¼ have cosines 2/√5, 1/√5 and 3/√10.
        let rates = (2.0 / 5_f64.sqrt() + 1.0 / 5_f64.sqrt() + 3.0 / 10_f64.sqrt()) / 3.0;
        assert!((law.angle.rate_cosine - rates).abs() < ROUNDING, "{:?}", law.angle);
        // 1 for the first, −1 for the second; equal weights have no correlation.
        assert!(law.angle.alignment.abs() < ROUNDING, "{:?}", law.angle);
        // The third neuron's inputs exclude each other: rate ¾ in all, (3/16)/(7/16) of the variance of independent ones.
        assert!((law.dependence - (1.0 + 1.0 + 3.0 / 7.0) / 3.0).abs() < ROUNDING, "{law:?}");
    }

    #[test]
    fn the_variations_of_the_prediction_over_the_norms_are_those_of_the_angle_and_of_the_mean_input() {
        let value = |idx: usize| uniform(7, 0, idx) - 0.3;
        let layer = layer(40, (0..40 * 12).map(value).collect());
        let pixels: Vec<f32> = (0..40).map(|idx| uniform(8, 0, idx) as f32).collect();
        let train = encode(Encoding::Poisson, 1, 0, [40, 1, 1], &pixels, 0..64);
        let trains = [train];
        let variance = current_variance(&layer, &[&trains[..]]).unwrap();
        let predicted: Vec<f64> = variance.bernoulli.iter().map(|variance| variance.sqrt()).collect();
        let fits = Norms::new(&layer).fits(&predicted).unwrap();
        let of = |p: &str| fits.iter().find(|fit| fit.p == p).unwrap().coefficient_of_variation;
        let found = measured(&layer, &trains[0]).angle;
        assert!((found.root_variation - of("4")).abs() < ROUNDING, "{found:?} for {fits:?}");
        assert!((found.mean_root_variation - of("2")).abs() < ROUNDING, "{found:?} for {fits:?}");
    }

    #[test]
    fn the_l2_norm_is_best_where_rates_do_not_depend_on_the_weights() {
        // Weights of very different shapes: the k-th neuron has k + 1 large ones among 400 small.
        let weight = |idx: usize| if idx % 400 <= idx / 400 { 1.0 } else { 0.05 + 0.1 * uniform(7, 0, idx) };
        let law = measured(
            &layer(400, (0..400 * 30).map(weight).collect()),
            &encode(Encoding::Poisson, 1, 0, [400, 1, 1], &[0.3; 400], 0..64),
        );
        for fits in [&law.uniform_rates, &law.shuffled_rates] {
            let best = fits.iter().min_by(|a, b| a.coefficient_of_variation.total_cmp(&b.coefficient_of_variation));
            assert_eq!(best.unwrap().p, "2", "{fits:?}");
        }
    }

    #[test]
    fn with_many_inputs_uniform_rates_have_the_variance_that_the_l2_norm_says() {
        // Σ w² r(1 − r) over 10,000 weights of 1 is their number over 6, with a standard error of 0.45 % in a draw.
        let layer = layer(10_000, vec![0.001; 10_000]);
        let drawn = |draw: u32| {
            let variance = |input| uniform(0, draw, input) * (1.0 - uniform(0, draw, input));
            weights(&layer, 0).enumerate().map(|(input, w)| w * w * variance(input)).sum::<f64>()
        };
        let mean = (0..DRAWS).map(drawn).sum::<f64>() / f64::from(DRAWS);
        let l2 = norm(weights(&layer, 0), 2.0);
        assert!((mean / (l2 * l2 / 6.0) - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn a_potential_above_threshold_drifts_and_one_below_it_does_too() {
        // A weight of 3 at every step gains two thresholds a step, one of −1 loses one.
        let mut train = SpikeTrain::silent([1, 1, 1], 16);
        (0..15).for_each(|step| train.add(step, 0));
        let potential = measured(&layer(1, vec![3.0, -1.0]), &train).potential.unwrap();
        assert!(potential.drift_share > 0.95, "{potential:?}");
        // σ of 15 ones and a zero is ¼ by the unbiased variance 1/16.
        assert!((potential.current_sigma - 2.0 * 0.25).abs() < ROUNDING, "{potential:?}");
    }
}
