//! A trained network and its thresholds → a spiking network.
//!
//! `W̃_l = diag(1/λ_l) W_l diag(λ_{l−1})`, `b̃_l = b_l / λ_l`, with λ = 1 for pixels: since the ReLU is positively
//! homogeneous, the rescaled network computes `a_l / λ_l`, and its logits are the trained network's over the readout's λ.
//! Each connection of a residual sum is rescaled with the thresholds of its own source.

use snn::network::ExactLayer;
use snn::{Connection, NetworkError, SpikingLayer, SpikingNetwork};

use crate::layer::{AnnLayer, Before};

/// Divides each channel by its threshold, before any rounding.
///
/// - `thresholds`: `[C]` per layer, each > 0
/// - `compensate`: whether each layer undoes the rescaling of those before; false changes the network's function
/// - `initial_potential`: of hidden neurons, in thresholds; the last layer starts at 0
pub fn rescale(
    layers: &[AnnLayer],
    thresholds: &[Vec<f64>],
    compensate: bool,
    initial_potential: f64,
) -> Vec<ExactLayer> {
    let last = layers.len() - 1;
    let before = Before(compensate.then_some(thresholds));
    let of = |(idx, layer): (usize, &AnnLayer)| {
        let initial_potential = if idx == last { 0.0 } else { initial_potential };
        rescale_layer(layer, before, &thresholds[idx], initial_potential)
    };
    layers.iter().enumerate().map(of).collect()
}

/// Divides each channel of one layer by its threshold, and undoes those of its sources.
///
/// - `own`: `[C]`, each > 0
pub fn rescale_layer(layer: &AnnLayer, before: Before<'_>, own: &[f64], initial_potential: f64) -> ExactLayer {
    let connection = |connection: &Connection<f64>| {
        let wiring = &connection.wiring;
        let row = |channel: usize| {
            connection.row(channel).iter().enumerate().map(move |(position, weight)| {
                weight * before.lambda(wiring.source, wiring.source_channel(channel, position)) / own[channel]
            })
        };
        Connection { wiring: wiring.clone(), weights: (0..layer.n_channels()).flat_map(row).collect() }
    };
    ExactLayer {
        name: layer.name.clone(),
        connections: layer.connections.iter().map(connection).collect(),
        biases: layer.biases.iter().zip(own).map(|(bias, lambda)| bias / lambda).collect(),
        initial_potential,
        thresholds: own.to_vec(),
    }
}

/// Rounds the layers to grids on which `n_steps` steps are exact.
///
/// - `input`: shape `[C, H, W]` of the network's input
///
/// # Errors
/// [`NetworkError`] if weights are too large or not finite.
pub fn round(input: [usize; 3], layers: &[ExactLayer], n_steps: usize) -> Result<SpikingNetwork, NetworkError> {
    let layers = layers.iter().map(|layer| SpikingLayer::round(layer, n_steps)).collect::<Result<_, _>>()?;
    SpikingNetwork::new(input, layers)
}

#[cfg(test)]
mod tests {
    use model::config::{Method, Readout};
    use proptest::prelude::*;

    use super::*;
    use crate::activation::Activations;
    use crate::threshold::{Choice, choose};

    /// Activations of every layer of a ReLU network, the logits last.
    fn forward(layers: &[(&[f64], &[f64])], input: &[f64]) -> Vec<Vec<f64>> {
        let mut all: Vec<Vec<f64>> = Vec::new();
        for (idx, (weights, biases)) in layers.iter().enumerate() {
            let x = all.last().map_or(input, Vec::as_slice);
            let sum = |(row, bias): (&[f64], &f64)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias;
            let linear = weights.chunks_exact(x.len()).zip(*biases).map(sum);
            let relu = idx + 1 < layers.len();
            all.push(linear.map(|y| if relu { y.max(0.0) } else { y }).collect());
        }
        all
    }

    fn network(sizes: &[usize], values: &[f64]) -> Vec<AnnLayer> {
        let mut values = values.iter().copied().cycle();
        sizes
            .windows(2)
            .enumerate()
            .map(|(idx, pair)| AnnLayer {
                name: format!("dense {}", idx + 1),
                n_in: pair[0],
                weights: values.by_ref().take(pair[0] * pair[1]).collect(),
                biases: values.by_ref().take(pair[1]).collect(),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_method_leaves_the_logits_and_divides_activations_by_their_thresholds(
            sizes in proptest::collection::vec(1..9_usize, 2..6),
            values in proptest::collection::vec(prop_oneof![-2.0..-0.01_f64, 0.01..2.0_f64], 211),
            inputs in proptest::collection::vec(proptest::collection::vec(0.0..1.0_f64, 9), 1..6),
            kappa in 0.1..2.0_f64, p in 1.0..8.0_f64, scale in 0.2..3.0_f64, spikes in any::<bool>(),
        ) {
            /// Rounding of products of up to five factors and sums of nine terms, relative to the largest of them.
            const TOLERANCE: f64 = 1e-9;
            let layers = network(&sizes, &values);
            let plain: Vec<_> = layers.iter().map(|l| (l.weights.as_slice(), l.biases.as_slice())).collect();
            let outputs: Vec<_> = inputs.iter().map(|x| forward(&plain, &x[..sizes[0]])).collect();
            let activations: Vec<Activations> = (0..layers.len()).map(|l| Activations {
                n_neurons: layers[l].n_out(),
                values: outputs.iter().flat_map(|output| output[l].iter().map(|&a| a as f32)).collect(),
            }).collect();
            // Methods that need activity refuse a network that has none.
            let silent = activations.iter().any(|a| a.largest() <= 0.0);
            for &method in Method::ALL {
                let choice = Choice {
                    method, p, kappa, percentile: 90.0, percentile_zeros: false, scale, target_steps: 8,
                    initial_potential: 0.5, compensate: true,
                    readout: if spikes { Readout::Spikes } else { Readout::Potential },
                };
                let noise = |idx: usize, _: &[Vec<f64>]| Ok((0..layers[idx].n_out()).map(|j| 0.1 + j as f64).collect());
                let thresholds = match choose(&layers, Some(&activations), &choice, &noise) {
                    Ok(thresholds) => thresholds,
                    Err(error) => { prop_assert!(silent, "{method}: {error}"); continue }
                };
                let rescaled = rescale(&layers, &thresholds, true, 0.5);
                let rescaled: Vec<_> = rescaled.iter().map(|l| (l.weights.as_slice(), l.biases.as_slice())).collect();
                for (input, expected) in inputs.iter().zip(&outputs) {
                    let found = forward(&rescaled, &input[..sizes[0]]);
                    for (l, thresholds) in thresholds.iter().enumerate() {
                        let largest = expected[l].iter().fold(1.0_f64, |m, a| m.max(a.abs()));
                        for ((a, scaled), lambda) in expected[l].iter().zip(&found[l]).zip(thresholds) {
                            prop_assert!((a - scaled * lambda).abs() <= TOLERANCE * largest, "{method}, layer {l}: {a} became {scaled} × {lambda}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn without_compensation_only_the_own_threshold_divides() {
        let layers = network(&[1, 1, 1], &[2.0, 1.0, 3.0, 4.0]);
        let thresholds = [vec![4.0], vec![1.0]];
        let rescaled = rescale(&layers, &thresholds, false, 0.25);
        assert_eq!((rescaled[0].weights[0], rescaled[0].biases[0]), (0.5, 0.25));
        assert_eq!((rescaled[1].weights[0], rescaled[1].biases[0]), (3.0, 4.0));
        assert_eq!((rescaled[0].initial_potential, rescaled[1].initial_potential), (0.25, 0.0));
        assert_eq!(rescale(&layers, &thresholds, true, 0.25)[1].weights, [12.0]);
    }
}
