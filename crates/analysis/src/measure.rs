//! What is looked at closely, on a few samples: noise of the currents, rates against activations, rasters.

use crate::probe::{CurrentProbe, PotentialProbe};
use engine_event::LayerCurrents;
use model::config::{Encoding, Readout};
use results::record::{Charge, LayerRaster, LayerVariance, NeuronVariance, RateMatch, SampleRaster};
use snn::philox::philox;
use snn::{RunSettings, SampleTrace, SpikeTrain, SpikingLayer, SpikingNetwork};

use crate::law::{Norms, law};

/// Pairs of activation and rate that are kept per layer.
const RATE_PAIRS: usize = 400;

/// Neurons of a layer in a raster.
const RASTER_ROWS: usize = 64;

/// Noise of the input current of each layer with spiking input, against norms of its weights, and why it follows them, of some
/// samples after others.
///
/// All in units of the trained network's activations: converted weights times the neuron's own threshold, which are the
/// trained weights times the thresholds of their sources. A convolution's neurons are taken together by channel.
#[derive(Debug)]
pub struct NoiseProbes {
    encoding: Encoding,
    layers: Vec<LayerNoise>,
}

/// Of one layer.
#[derive(Debug)]
struct LayerNoise {
    current: CurrentProbe,
    /// `None` if the layer never fires.
    potential: Option<PotentialProbe>,
}

impl NoiseProbes {
    /// No samples yet.
    ///
    /// - `settings`: of the run
    /// - `currents`: of a layer, by its index and itself
    pub fn new(
        network: &SpikingNetwork,
        settings: &RunSettings,
        currents: impl Fn(usize, &SpikingLayer) -> LayerCurrents,
    ) -> Self {
        let last = network.layers().len() - 1;
        let &RunSettings { n_steps, reset, readout, .. } = settings;
        let of = |(idx, layer): (usize, &SpikingLayer)| {
            let fires = idx < last || readout == Readout::Spikes;
            let currents = currents(idx, layer);
            let potential = fires.then(|| PotentialProbe::with_currents(layer, currents.clone(), n_steps, reset));
            LayerNoise { current: CurrentProbe::with_currents(layer, currents, n_steps), potential }
        };
        Self { encoding: settings.encoding, layers: network.layers().iter().enumerate().map(of).collect() }
    }

    /// Adds samples that have been run.
    ///
    /// - `network`: the same every time
    /// - `images`: of the traces' samples, `[n_in]` each
    pub fn add(&mut self, network: &SpikingNetwork, traces: &[SampleTrace], images: &[Vec<f32>]) {
        let inputs: Vec<&[SpikeTrain]> = traces.iter().map(|trace| trace.spikes.as_slice()).collect();
        for (layer, LayerNoise { current, potential }) in network.layers().iter().zip(&mut self.layers) {
            current.add(layer, &inputs);
            let Some(potential) = potential else { continue };
            potential.add(layer, &inputs, |sample| match self.encoding {
                Encoding::Constant => layer.drive(&images[sample]),
                _ => layer.biases().of_neurons(layer.n_positions()),
            });
        }
    }

    /// One entry for each layer with noise.
    pub fn into_layers(self, network: &SpikingNetwork) -> Vec<LayerVariance> {
        let of = |(layer, LayerNoise { current, potential }): (&SpikingLayer, LayerNoise)| {
            let (variance, means) = current.finish(layer)?;
            let norms = Norms::new(layer);
            let neurons: Vec<NeuronVariance> = norms
                .channels()
                .iter()
                .map(|&neuron| NeuronVariance {
                    l4_norm: norms.l4()[neuron],
                    sigma: variance.measured[neuron].sqrt(),
                    sigma_bernoulli: variance.bernoulli[neuron].sqrt(),
                })
                .collect();
            // Without any noise there is nothing to compare.
            let sigmas: Vec<f64> = variance.measured.iter().map(|variance| variance.sqrt()).collect();
            let fits = norms.fits(&sigmas)?;
            let potential = potential.and_then(|probe| probe.finish(layer));
            let law = law(layer, &norms, &variance, &means, potential.as_ref());
            Some(LayerVariance { name: layer.name().to_owned(), neurons, norms: fits, law })
        };
        network.layers().iter().zip(self.layers).filter_map(of).collect()
    }
}

/// What is known of one layer's rates and potentials.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerProbe {
    /// Correlation of a/λ with the spike rate over all samples and neurons; `None` for a layer that never fires or
    /// whose rates or activations are all the same.
    pub rate_correlation: Option<f64>,
    /// Some pairs of a/λ and rate; empty for a layer that never fires.
    pub rate_match: RateMatch,
    /// Mean potential left after the last step, in thresholds.
    pub residual_potential: f64,
    /// What it passes on; `None` for a layer that never fires or has no activations.
    pub charge: Option<Charge>,
}

/// Rates against the trained network's activations, and potentials left, of one sample after another.
#[derive(Debug)]
pub struct RateProbes {
    n_samples: usize,
    /// Quanta in a threshold.
    levels: u32,
    /// Samples added so far.
    n_added: usize,
    layers: Vec<LayerSums>,
    /// Of each layer the neurons that are compared; `None` if all are.
    neurons: Vec<Option<Vec<usize>>>,
}

/// Neurons of a layer that are compared where its activations are too many to be kept: one of each of as many stretches of equal length,
/// drawn with [`SAMPLING_SEED`].
///
/// - `idx`: of the layer, which draws others than the next one does
/// - returns `None` if there are no more than `n` neurons
pub fn sampled_neurons(idx: usize, n_neurons: usize, n: usize) -> Option<Vec<usize>> {
    (n < n_neurons).then(|| {
        let of_stretch = |k: usize| {
            let [start, end] = [k * n_neurons / n, (k + 1) * n_neurons / n];
            let [random, ..] = philox(SAMPLING_SEED, [k as u32, idx as u32, 0, 0]);
            // Uniform but for less than the length of a stretch in 2³².
            start + ((random as usize * (end - start)) >> 32)
        };
        (0..n).map(of_stretch).collect()
    })
}

/// Seed of [`sampled_neurons`].
pub const SAMPLING_SEED: u64 = 0;

/// Of one layer.
#[derive(Debug, Default)]
struct LayerSums {
    pairs: PairSums,
    residual: f64,
    /// Some pairs of a/λ and rate.
    kept: Vec<[f64; 2]>,
}

/// Sums over pairs of a/λ and rate.
#[derive(Debug, Default)]
struct PairSums {
    n: f64,
    sums: [f64; 2],
    /// Of a²/λ², of squared rates, and of products.
    products: [f64; 3],
    /// Of what is positive of a/λ, and of what is above 1.
    expected: f64,
    clipped: f64,
}

impl RateProbes {
    /// No samples yet.
    ///
    /// - `n_samples`: how many there will be
    /// - `levels`: quanta in a threshold
    pub fn new(network: &SpikingNetwork, n_samples: usize, levels: u32) -> Self {
        let layers = network.layers().iter().map(|_| LayerSums::default()).collect();
        Self { n_samples, levels, n_added: 0, layers, neurons: vec![None; network.layers().len()] }
    }

    /// The same for some neurons of each layer alone; `None` stands for all.
    #[must_use]
    pub fn of_neurons(self, neurons: Vec<Option<Vec<usize>>>) -> Self {
        Self { neurons, ..self }
    }

    /// Adds the next samples.
    ///
    /// - `activations`: of the same samples, `[n_samples, n_neurons]` per layer, the logits last, or of the neurons that are compared;
    ///   without a trained network, there is nothing that rates are compared with
    pub fn add(&mut self, network: &SpikingNetwork, traces: &[SampleTrace], activations: Option<&[Vec<f32>]>) {
        for (idx, (layer, sums)) in network.layers().iter().zip(&mut self.layers).enumerate() {
            let chosen = self.neurons[idx].as_deref();
            let n_neurons = chosen.map_or(layer.n_out(), <[usize]>::len);
            let every = stride(self.n_samples * n_neurons, n_neurons);
            for (sample, trace) in traces.iter().enumerate() {
                sums.residual += trace.residual[idx].by_neuron().into_iter().map(f64::from).sum::<f64>();
                let Some(train) = trace.spikes.get(snn::Source::of_layer(idx).index()) else { continue };
                let Some(activations) = activations else { continue };
                let activations = &activations[idx][sample * n_neurons..][..n_neurons];
                let (first, counts) = ((self.n_added + sample) * n_neurons, train.counts());
                for (at, &a) in activations.iter().enumerate() {
                    let neuron = chosen.map_or(at, |chosen| chosen[at]);
                    let lambda = f64::from(layer.thresholds()[neuron / layer.n_positions()]);
                    let rate = f64::from(counts[neuron]) / (train.n_steps() * self.levels as usize) as f64;
                    let pair = [f64::from(a) / lambda, rate];
                    sums.pairs.add(pair);
                    if (first + at).is_multiple_of(every) {
                        sums.kept.push(pair);
                    }
                }
            }
        }
        self.n_added += traces.len();
    }

    /// One entry per layer.
    pub fn into_layers(self, network: &SpikingNetwork) -> Vec<LayerProbe> {
        let n_samples = self.n_added as f64;
        let of = |(layer, sums): (&SpikingLayer, LayerSums)| LayerProbe {
            rate_correlation: sums.pairs.correlation(),
            charge: sums.pairs.charge(),
            residual_potential: sums.residual / (n_samples * layer.n_out() as f64),
            rate_match: RateMatch { name: layer.name().to_owned(), points: sums.kept },
        };
        network.layers().iter().zip(self.layers).map(of).collect()
    }
}

impl PairSums {
    fn add(&mut self, [a, rate]: [f64; 2]) {
        self.n += 1.0;
        for (sum, value) in self.sums.iter_mut().zip([a, rate]) {
            *sum += value;
        }
        for (sum, product) in self.products.iter_mut().zip([a * a, rate * rate, a * rate]) {
            *sum += product;
        }
        self.expected += a.max(0.0);
        self.clipped += (a - 1.0).max(0.0);
    }

    /// `None` if one of both never changes.
    fn correlation(&self) -> Option<f64> {
        let Self { n, sums: [a, rate], products: [a_squared, rate_squared, product], .. } = *self;
        let spreads = [n * a_squared - a * a, n * rate_squared - rate * rate];
        // What rounding leaves of a spread of zero is no spread.
        let varies = spreads.iter().zip([a_squared, rate_squared]).all(|(spread, of)| *spread > 1e-12 * n * of);
        let r = (n * product - a * rate) / (spreads[0] * spreads[1]).sqrt();
        (varies && r.is_finite()).then_some(r)
    }

    /// `None` if nothing is expected.
    fn charge(&self) -> Option<Charge> {
        let Self { n, sums: [_, delivered], expected, clipped, .. } = *self;
        (expected > 0.0).then(|| Charge {
            expected: expected / n,
            clipped: clipped / expected,
            delivered: delivered / n,
        })
    }
}

/// Distance between the pairs that are kept: one that shares no factor with the number of neurons, or always the same few
/// neurons would be seen.
fn stride(n_pairs: usize, n_neurons: usize) -> usize {
    let shares_factor = |every: usize| (2..=every).any(|d| every.is_multiple_of(d) && n_neurons.is_multiple_of(d));
    let first = n_pairs.div_ceil(RATE_PAIRS).max(1);
    // One more than a multiple of the number of neurons shares no factor with it, and stands among these.
    (first..=first + n_neurons).find(|&every| !shares_factor(every)).unwrap_or(first)
}

/// The spikes of one sample, as far as they can be drawn.
///
/// - `pixels`: `[C·H·W]`, each in [0, 1]
pub fn raster(
    network: &SpikingNetwork,
    trace: &SampleTrace,
    index: usize,
    label: usize,
    ann_decision: Option<usize>,
    shape: [usize; 3],
    pixels: &[f32],
) -> SampleRaster {
    let names = std::iter::once("input").chain(network.layers().iter().map(SpikingLayer::name));
    SampleRaster {
        index,
        label,
        ann_decision,
        decisions: trace.decisions(),
        shape,
        pixels: pixels.iter().map(|pixel| (pixel * 255.0).round() as u8).collect(),
        layers: names.zip(&trace.spikes).map(|(name, train)| layer_raster(name, train)).collect(),
        readout: trace
            .readout
            .chunks_exact(trace.n_classes)
            .map(|row| row.iter().map(|&v| f64::from(v)).collect())
            .collect(),
    }
}

fn layer_raster(name: &str, train: &SpikeTrain) -> LayerRaster {
    let n_neurons = train.n_neurons();
    let n_shown = n_neurons.min(RASTER_ROWS);
    let shown = |row: usize| row * n_neurons / n_shown;
    let at = |step: usize| {
        let fired = move |row: &usize| train.get(step, shown(*row));
        (0..n_shown).filter(fired).map(move |row| [step as u32 + 1, row as u32])
    };
    LayerRaster { name: name.to_owned(), n_neurons, n_shown, events: (0..train.n_steps()).flat_map(at).collect() }
}

#[cfg(test)]
mod tests {
    use results::statistic::correlation;

    use super::*;

    fn sums(pairs: &[[f64; 2]]) -> PairSums {
        let mut sums = PairSums::default();
        for &pair in pairs {
            sums.add(pair);
        }
        sums
    }

    #[test]
    fn charge_is_the_one_computed_by_hand() {
        let found = sums(&[[0.5, 0.25], [1.5, 1.0], [0.0, 0.25], [-1.0, 0.0]]).charge().unwrap();
        assert_eq!(found, Charge { expected: 0.5, clipped: 0.25, delivered: 0.375 });
        assert_eq!(found.delivered_share(), 1.0);
        assert_eq!((sums(&[]).charge(), sums(&[[0.0, 0.5]]).charge()), (None, None));
    }

    #[test]
    fn correlation_of_sums_is_that_of_the_pairs() {
        let pairs: Vec<[f64; 2]> =
            (0..500).map(|k| [f64::from(k * 37 % 101) / 20.0, f64::from(k * 53 % 33) / 32.0]).collect();
        let together: Vec<[f64; 2]> = pairs.iter().map(|&[a, rate]| [a, 0.3 * a + rate]).collect();
        for pairs in [pairs, together] {
            let (found, expected) = (sums(&pairs).correlation().unwrap(), correlation(pairs).unwrap());
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        // Equal values, whose sums of squares differ from the square of their sum by rounding alone.
        let constant = sums(&[[1.0 / 3.0, 0.2], [1.0 / 3.0, 0.7], [1.0 / 3.0, 0.1]]);
        assert_eq!((constant.correlation(), sums(&[]).correlation()), (None, None));
    }

    #[test]
    fn the_pairs_that_are_kept_are_of_many_neurons() {
        for (n_samples, n_neurons) in [(200, 512), (1, 512), (200, 510), (50, 7), (3, 1)] {
            let n_pairs = n_samples * n_neurons;
            let kept: Vec<usize> = (0..n_pairs).step_by(stride(n_pairs, n_neurons)).collect();
            let mut neurons: Vec<usize> = kept.iter().map(|pair| pair % n_neurons).collect();
            neurons.sort_unstable();
            neurons.dedup();
            assert!(
                kept.len() <= RATE_PAIRS && kept.len() >= n_pairs.min(RATE_PAIRS) / 4,
                "{n_samples}, {n_neurons}: {}",
                kept.len()
            );
            assert_eq!(neurons.len(), n_neurons.min(kept.len()), "{n_samples}, {n_neurons}");
        }
    }

    #[test]
    fn the_neurons_that_are_compared_are_spread_over_the_layer_and_always_the_same() {
        let chosen = sampled_neurons(3, 1003, 10).unwrap();
        assert!(chosen.iter().enumerate().all(|(k, &neuron)| (k * 1003 / 10..(k + 1) * 1003 / 10).contains(&neuron)));
        assert_eq!(sampled_neurons(3, 1003, 10).unwrap(), chosen);
        assert_ne!(sampled_neurons(4, 1003, 10).unwrap(), chosen);
        assert_eq!((sampled_neurons(0, 10, 10), sampled_neurons(0, 9, 10)), (None, None));
    }

    #[test]
    fn a_raster_shows_evenly_spaced_neurons() {
        let mut train = SpikeTrain::silent([128, 1, 1], 3);
        for (step, neuron) in [(0, 0), (0, 1), (1, 126), (2, 127)] {
            train.add(step, neuron);
        }
        let raster = layer_raster("x", &train);
        assert_eq!((raster.n_neurons, raster.n_shown), (128, 64));
        assert_eq!(raster.events, [[1, 0], [2, 63]]);
    }
}
