//! A trained network and its thresholds → a spiking network.
//!
//! `W̃_l = diag(1/λ_l) W_l diag(λ_{l−1})`, `b̃_l = b_l / λ_l`, with λ = 1 for pixels: since the ReLU is positively
//! homogeneous, the rescaled network computes `a_l / λ_l`, and its logits are the trained network's over the readout's λ.
//! Each connection of a residual sum is rescaled with the thresholds of its own source.

use snn::grid::Precision;
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
    each(layers, thresholds, compensate, initial_potential).collect()
}

/// The same, one layer at a time.
pub fn each<'a>(
    layers: &'a [AnnLayer],
    thresholds: &'a [Vec<f64>],
    compensate: bool,
    initial_potential: f64,
) -> impl Iterator<Item = ExactLayer> + 'a {
    let last = layers.len() - 1;
    let before = Before(compensate.then_some(thresholds));
    let of = move |(idx, layer): (usize, &AnnLayer)| {
        let initial_potential = if idx == last { 0.0 } else { initial_potential };
        rescale_layer(layer, before, &thresholds[idx], initial_potential)
    };
    layers.iter().enumerate().map(of)
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
        biases: layer.biases.map(layer.n_positions(), |channel, bias| bias / own[channel]),
        initial_potentials: vec![initial_potential; own.len()],
        thresholds: own.to_vec(),
    }
}

/// Rounds the layers to grids on which the sums of a run are exact.
///
/// - `input`: shape `[C, H, W]` of the network's input
/// - `precision`: of the sums; a number of time steps alone stands for the finest
///
/// # Errors
/// [`NetworkError`] if weights are too large or not finite.
pub fn round(
    input: [usize; 3],
    layers: &[ExactLayer],
    precision: impl Into<Precision>,
) -> Result<SpikingNetwork, NetworkError> {
    let precision = precision.into();
    let layers = layers.iter().map(|layer| SpikingLayer::round(layer, precision)).collect::<Result<_, _>>()?;
    SpikingNetwork::new(input, layers)
}

#[cfg(test)]
mod tests {
    use snn::Wiring;

    use super::*;

    #[test]
    fn without_compensation_only_the_own_threshold_divides() {
        let layer = |source: usize, weight: f64, bias: f64| AnnLayer {
            name: format!("dense {}", source + 1),
            shape: [1, 1, 1],
            connections: vec![Connection {
                wiring: Wiring::dense(snn::Source::from_index(source), [1, 1, 1], 1),
                weights: vec![weight],
            }],
            biases: vec![bias].into(),
            ceiling: f64::INFINITY,
            may_be_silent: false,
            trained: None,
        };
        let layers = [layer(0, 2.0, 1.0), layer(1, 3.0, 4.0)];
        let thresholds = [vec![4.0], vec![1.0]];
        let weight = |layer: &ExactLayer| layer.connections[0].weights[0];
        let rescaled = rescale(&layers, &thresholds, false, 0.25);
        assert_eq!((weight(&rescaled[0]), rescaled[0].biases.at(0, 1)), (0.5, 0.25));
        assert_eq!((weight(&rescaled[1]), rescaled[1].biases.at(0, 1)), (3.0, 4.0));
        assert_eq!((rescaled[0].initial_potentials[0], rescaled[1].initial_potentials[0]), (0.25, 0.0));
        assert_eq!(weight(&rescale(&layers, &thresholds, true, 0.25)[1]), 12.0);
    }
}
