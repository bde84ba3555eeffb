//! `calibrate`: the mean spike rate of each channel, brought to what the trained network asks for.
//!
//! Rates err even where thresholds are right: spikes are whole numbers, arrive unevenly, and noise makes neurons fire
//! that should be silent. The mean of that error over calibration samples is a constant per channel, which a constant can
//! take back (Li et al. 2021): a current at each step, or a charge before the first. The charge counts ever less as a run
//! goes on, so that the rates of a long run are those of the function that was trained.

use anyhow::Result;
use engine_event::EventEngine;
use model::config::{Calibrate, Readout};
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::{Engine as _, RunSettings, Sample, SpikingNetwork};

use crate::activation::Activations;
use crate::rescale;

/// Samples run at once: enough for all threads, few enough that their spike trains are small.
const BATCH: usize = 64;

/// Calibration samples and what is wanted of them.
#[derive(Debug, Clone, Copy)]
pub struct Calibration<'a> {
    /// `[n_in]` each.
    pub images: &'a [Vec<f32>],
    /// The trained network's, for these images, one entry per layer.
    pub activations: &'a [Activations],
    /// The run whose rates are to be right after its last step.
    pub settings: RunSettings,
}

/// Calibrates the layers in order, each behind the calibrated ones before it.
///
/// - `input`: shape `[C, H, W]` of the network's input
/// - `layers`: rescaled, the readout last; their biases or initial potentials are changed
/// - `precision`: what the grids are made for
/// - returns per layer the mean over its channels of the magnitude of the error that was taken back: of the rate, in spikes
///   per step; of a readout that does not fire, in charge per step, in thresholds
///
/// # Errors
/// If weights are too large or not finite.
pub fn calibrate(
    how: Calibrate,
    input: [usize; 3],
    layers: &mut [ExactLayer],
    calibration: &Calibration<'_>,
    precision: Precision,
) -> Result<Vec<f64>> {
    let last = layers.len() - 1;
    let n_steps = calibration.settings.n_steps as f64;
    let mut magnitudes = Vec::with_capacity(layers.len());
    for idx in 0..layers.len() {
        let readout = if idx < last { Readout::Spikes } else { calibration.settings.readout };
        let settings = RunSettings { readout, ..calibration.settings };
        let network = rescale::round(input, &layers[..=idx], precision)?;
        let found = mean_rates(&network, calibration.images, &settings)?;
        let wanted = calibration.activations[idx].channel_means();
        let layer = &mut layers[idx];
        let errors: Vec<f64> =
            (0..found.len()).map(|channel| wanted[channel] / layer.thresholds[channel] - found[channel]).collect();
        match how {
            Calibrate::None => {}
            Calibrate::Bias => {
                let n_positions = network.layers()[idx].n_positions();
                layer.biases = layer.biases.map(n_positions, |channel, bias| bias + errors[channel]);
            }
            Calibrate::Potential => {
                let potentials = layer.initial_potentials.iter_mut().zip(&errors);
                let quanta = n_steps * f64::from(calibration.settings.neuron.levels);
                potentials.for_each(|(potential, error)| *potential += quanta * error);
            }
        }
        magnitudes.push(errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64);
    }
    Ok(magnitudes)
}

/// Mean over samples, steps and a channel's neurons of what the last layer puts out, `[C]`: spikes, or charge in thresholds.
fn mean_rates(network: &SpikingNetwork, images: &[Vec<f32>], settings: &RunSettings) -> Result<Vec<f64>> {
    let engine = EventEngine::new(network);
    let last = network.layers().last().expect("a network has layers");
    let mut sums = vec![0.0; last.shape()[0]];
    for (batch_idx, batch) in images.chunks(BATCH).enumerate() {
        for trace in engine.run(&Sample::consecutive(batch_idx * BATCH, batch), settings)? {
            let at_the_end = &trace.readout[(settings.n_steps - 1) * last.n_out()..];
            for (sum, of_channel) in sums.iter_mut().zip(at_the_end.chunks_exact(last.n_positions())) {
                *sum += of_channel.iter().map(|&value| f64::from(value)).sum::<f64>();
            }
        }
    }
    let per_threshold = if settings.readout == Readout::Spikes { settings.neuron.levels as usize } else { 1 };
    let n = (images.len() * settings.n_steps * last.n_positions() * per_threshold) as f64;
    Ok(sums.into_iter().map(|sum| sum / n).collect())
}

#[cfg(test)]
mod tests {
    use model::config::{Encoding, NeuronConfig, Reset};
    use snn::{Connection, Wiring};

    use super::*;

    const N_STEPS: usize = 8;

    /// Pixel → two neurons of weights 1 and −1 → a readout that does not fire.
    fn layers() -> Vec<ExactLayer> {
        let layer = |name: &str, source: usize, weights: Vec<f64>, n_out: usize| ExactLayer {
            name: name.to_owned(),
            connections: vec![Connection {
                wiring: Wiring::dense(snn::Source::from_index(source), [weights.len() / n_out, 1, 1], n_out),
                weights,
            }],
            biases: vec![0.0; n_out].into(),
            initial_potentials: vec![0.0; n_out],
            thresholds: vec![1.0; n_out],
        };
        vec![layer("dense 1", 0, vec![1.0, -1.0], 2), layer("dense 2", 1, vec![2.0, 1.0], 1)]
    }

    fn images() -> Vec<Vec<f32>> {
        (0..200).map(|i| vec![i as f32 / 200.0]).collect()
    }

    fn activations() -> Vec<Activations> {
        let hidden = images().iter().flat_map(|image| [image[0], 0.0]).collect();
        let readout = images().iter().map(|image| 2.0 * image[0]).collect();
        vec![
            Activations { n_neurons: 2, n_positions: 1, values: hidden },
            Activations { n_neurons: 1, n_positions: 1, values: readout },
        ]
    }

    fn settings(n_steps: usize) -> RunSettings {
        RunSettings {
            encoding: Encoding::Constant,
            neuron: NeuronConfig::default(),
            reset: Reset::Subtract,
            readout: Readout::Potential,
            n_steps,
            seed: 1,
        }
    }

    fn calibrated(how: Calibrate) -> (Vec<ExactLayer>, Vec<f64>) {
        let (images, activations) = (images(), activations());
        let calibration = Calibration { images: &images, activations: &activations, settings: settings(N_STEPS) };
        let mut layers = layers();
        let magnitudes = calibrate(how, [1, 1, 1], &mut layers, &calibration, 64.into()).unwrap();
        (layers, magnitudes)
    }

    /// Mean charge per step of the readout, in thresholds.
    fn readout(layers: &[ExactLayer], n_steps: usize) -> f64 {
        let network = rescale::round([1, 1, 1], layers, 64).unwrap();
        mean_rates(&network, &images(), &settings(n_steps)).unwrap()[0]
    }

    #[test]
    fn a_neuron_that_rounds_down_gets_half_a_threshold_by_calibration() {
        // With v(0) = 0 and a current x, ⌊8x⌋ spikes in 8 steps: on average 8x − ½, up to the grid of 200 pixels.
        let (layers, magnitudes) = calibrated(Calibrate::Potential);
        assert!((layers[0].initial_potentials[0] - 0.5).abs() < 0.03, "{layers:?}");
        // The other never fires and should not.
        assert_eq!(layers[0].initial_potentials[1], 0.0);
        assert_eq!(layers[0].biases.values(), [0.0; 2]);
        assert!((magnitudes[0] - 0.5 / 8.0 / 2.0).abs() < 0.002, "{magnitudes:?}");
        let (layers, _) = calibrated(Calibrate::Bias);
        assert!((layers[0].biases.values()[0] - 0.5 / 8.0).abs() < 0.004, "{layers:?}");
        assert_eq!(layers[0].initial_potentials, [0.0; 2]);
    }

    #[test]
    fn the_mean_readout_is_right_after_the_target_steps_and_only_potentials_keep_it_so() {
        let wanted = activations()[1].channel_means()[0];
        let error = |how, n_steps| (readout(&calibrated(how).0, n_steps) - wanted).abs();
        for how in [Calibrate::Bias, Calibrate::Potential] {
            // The last layer's own correction is exact, but for the grid.
            assert!(error(how, N_STEPS) < 1e-4, "{how}: {}", error(how, N_STEPS));
        }
        assert!(error(Calibrate::None, N_STEPS) > 0.1);
        assert!(error(Calibrate::Potential, 64) < 0.02, "{}", error(Calibrate::Potential, 64));
        assert!(error(Calibrate::Bias, 64) > 0.05, "{}", error(Calibrate::Bias, 64));
    }
}
