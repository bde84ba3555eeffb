//! What is looked at closely, on a few samples: noise of the currents, rates against activations, rasters.

use model::config::{Encoding, Readout};
use report::record::{Charge, LayerRaster, LayerVariance, NeuronVariance, RateMatch, SampleRaster};
use report::statistic::correlation;
use snn::probe::current_variance;
use snn::{RunSettings, SampleTrace, SpikeTrain, SpikingLayer, SpikingNetwork};

use crate::law::{Norms, Run, law};

/// Pairs of activation and rate that are kept per layer.
const RATE_PAIRS: usize = 400;

/// Neurons of a layer in a raster.
const RASTER_ROWS: usize = 64;

/// Noise of the input current of each layer with spiking input, against norms of its weights, and why it follows them.
///
/// All in units of the trained network's activations: converted weights times the neuron's own threshold, which are the
/// trained weights times the thresholds of their sources. A convolution's neurons are taken together by channel.
///
/// - `images`: of the traces' samples, `[n_in]` each
/// - `settings`: of the traces' run
pub fn variance(
    network: &SpikingNetwork,
    traces: &[SampleTrace],
    images: &[Vec<f32>],
    settings: &RunSettings,
) -> Vec<LayerVariance> {
    let inputs: Vec<&[SpikeTrain]> = traces.iter().map(|trace| trace.spikes.as_slice()).collect();
    let last = network.layers().len() - 1;
    let of = |(idx, layer): (usize, &SpikingLayer)| {
        let variance = current_variance(layer, &inputs)?;
        let norms = Norms::new(layer);
        let neurons: Vec<NeuronVariance> = (0..layer.shape()[0])
            .map(|neuron| NeuronVariance {
                l4_norm: norms.l4()[neuron],
                sigma: variance.measured[neuron].sqrt(),
                sigma_bernoulli: variance.bernoulli[neuron].sqrt(),
            })
            .collect();
        // Without any noise there is nothing to compare.
        let fits = norms.fits(&neurons.iter().map(|neuron| neuron.sigma).collect::<Vec<_>>())?;
        let steady = |sample: usize| match settings.encoding {
            Encoding::Constant => layer.drive(&images[sample]),
            _ => layer.for_neurons(layer.biases()),
        };
        let fires = (idx < last || settings.readout == Readout::Spikes).then_some(settings.reset);
        let law = law(layer, &norms, &variance, &Run { inputs: &inputs, steady, fires });
        Some(LayerVariance { name: layer.name().to_owned(), neurons, norms: fits, law })
    };
    network.layers().iter().enumerate().filter_map(of).collect()
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

/// Rates against the trained network's activations, and potentials left, one entry per layer.
///
/// - `activations`: of the same samples, `[n_samples, n_neurons]` per layer, the logits last
pub fn rates(network: &SpikingNetwork, traces: &[SampleTrace], activations: &[Vec<f32>]) -> Vec<LayerProbe> {
    let of = |(idx, layer): (usize, &SpikingLayer)| {
        let thresholds = layer.for_neurons(layer.thresholds());
        // Never all at once: they take several times the memory of the spikes.
        let counts: Vec<Vec<u32>> =
            traces.iter().filter_map(|trace| trace.spikes.get(idx + 1)).map(SpikeTrain::counts).collect();
        let pairs = counts.iter().enumerate().flat_map(|(sample, counts)| {
            let n_steps = traces[sample].spikes[idx + 1].n_steps() as f64;
            let scaled = activations[idx][sample * layer.n_out()..].iter().zip(&thresholds);
            let scaled = scaled.map(|(&a, &lambda)| f64::from(a) / f64::from(lambda));
            scaled.zip(counts).map(move |(a, &count)| [a, f64::from(count) / n_steps])
        });
        let n_pairs = counts.len() * layer.n_out();
        let residual = traces.iter().flat_map(|trace| trace.residual[idx].by_neuron());
        let n_residual = (traces.len() * layer.n_out()) as f64;
        let every = stride(n_pairs, layer.n_out());
        LayerProbe {
            rate_correlation: correlation(pairs.clone()),
            charge: charge(&pairs),
            residual_potential: residual.map(f64::from).sum::<f64>() / n_residual,
            rate_match: RateMatch { name: layer.name().to_owned(), points: pairs.step_by(every).collect() },
        }
    };
    network.layers().iter().enumerate().map(of).collect()
}

/// - `pairs`: a/λ and rate
fn charge(pairs: &(impl Iterator<Item = [f64; 2]> + Clone)) -> Option<Charge> {
    let n_pairs = pairs.clone().count();
    let mean = |of: fn([f64; 2]) -> f64| pairs.clone().map(of).sum::<f64>() / n_pairs as f64;
    let expected = mean(|[a, _]| a.max(0.0));
    (n_pairs > 0 && expected > 0.0).then(|| Charge {
        expected,
        clipped: mean(|[a, _]| (a - 1.0).max(0.0)) / expected,
        delivered: mean(|[_, rate]| rate),
    })
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
    ann_decision: usize,
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
            .chunks_exact(trace.n_classes())
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
    use super::*;

    #[test]
    fn charge_is_the_one_computed_by_hand() {
        let found = charge(&[[0.5, 0.25], [1.5, 1.0], [0.0, 0.25], [-1.0, 0.0]].into_iter()).unwrap();
        assert_eq!(found, Charge { expected: 0.5, clipped: 0.25, delivered: 0.375 });
        assert_eq!(found.delivered_share(), 1.0);
        assert_eq!((charge(&[].into_iter()), charge(&[[0.0, 0.5]].into_iter())), (None, None));
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
