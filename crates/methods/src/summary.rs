//! What conversion did to each layer, as a record and as a table.

use report::{Column, Table};
use results::record::{ConversionRecord, LayerConversion, Range};
use snn::network::ExactLayer;
use snn::{SpikingLayer, SpikingNetwork, norm};

use crate::activation::Activations;

/// One entry per layer.
///
/// - `thresholds`: λ of every layer, `[C]` each
/// - `rounding_changes`: of every layer, as [`rounding_change`] tells
/// - `rate_errors`: what [`crate::calibrate`] took back, if it did
/// - `activations`: the trained network's on calibration samples, if there are any
pub fn layers(
    network: &SpikingNetwork,
    thresholds: &[Vec<f64>],
    rounding_changes: &[f64],
    rate_errors: Option<&[f64]>,
    activations: Option<&[Activations]>,
) -> Vec<LayerConversion> {
    let last = network.layers().len() - 1;
    let of = |(idx, layer): (usize, &SpikingLayer)| LayerConversion {
        name: layer.name().to_owned(),
        n_neurons: layer.n_out(),
        lambda: range(thresholds[idx].clone()),
        l4_norm: range((0..layer.shape()[0]).map(|channel| norm(layer.weight_vector(channel), 4.0)).collect()),
        grid_step: layer.grids().iter().map(|grid| grid.step()).fold(0.0, f64::max),
        rounding_change: rounding_changes[idx],
        rate_error: rate_errors.map(|errors| errors[idx]),
        expected_saturation: activations.filter(|_| idx < last).map(|all| all[idx].share_above(&thresholds[idx])),
    };
    network.layers().iter().enumerate().map(of).collect()
}

/// The most that rounding to its grid has changed a weight or bias of a layer by, in thresholds.
///
/// - `exact`: the layer before
pub fn rounding_change(layer: &SpikingLayer, exact: &ExactLayer) -> f64 {
    let rounded = layer.connections().iter().flat_map(|connection| &connection.weights);
    let before = exact.connections.iter().flat_map(|connection| &connection.weights);
    let changes = rounded
        .chain(layer.biases().values())
        .zip(before.chain(exact.biases.values()))
        .map(|(&after, before)| (f64::from(after) - before).abs());
    changes.fold(0.0, f64::max)
}

fn range(mut values: Vec<f64>) -> Range {
    values.sort_by(f64::total_cmp);
    Range { min: values[0], median: values[values.len() / 2], max: values[values.len() - 1] }
}

/// The record's layers as a table for the terminal.
pub fn table(record: &ConversionRecord) -> Table {
    let columns = vec![
        Column::text("layer"),
        Column::number("neurons"),
        Column::number("λ min"),
        Column::number("median"),
        Column::number("max"),
        Column::number("‖w̃‖₄ min"),
        Column::number("median"),
        Column::number("max"),
        Column::number("grid"),
        Column::number("rounding"),
        Column::number("rate error"),
        Column::number("saturated"),
    ];
    let of = |layer: &LayerConversion| {
        let three = |range: Range| [range.min, range.median, range.max].map(|value| format!("{value:.4}"));
        let mut row = vec![layer.name.clone(), layer.n_neurons.to_string()];
        row.extend(three(layer.lambda));
        row.extend(three(layer.l4_norm));
        row.push(format!("2^{}", layer.grid_step.log2().round()));
        row.push(format!("{:.1e}", layer.rounding_change));
        row.push(layer.rate_error.map_or_else(|| "–".to_owned(), |error| format!("{error:.4}")));
        row.push(layer.expected_saturation.map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", 100.0 * share)));
        row
    };
    Table {
        title: "Layers: λ in units of activations, all else in thresholds; rate error: taken back by `calibrate`; \
                saturated: calibration activations above λ"
            .to_owned(),
        columns,
        rows: record.layers.iter().map(of).collect(),
    }
}

#[cfg(test)]
mod tests {
    use snn::{Connection, Wiring};

    use super::*;

    #[test]
    fn ranges_norms_rounding_and_saturation_are_those_computed_by_hand() {
        let exact = ExactLayer {
            name: "dense 1".to_owned(),
            connections: vec![Connection {
                wiring: Wiring::dense(snn::Source::INPUT, [2, 1, 1], 3),
                weights: vec![0.5, 0.5, 1.0, 0.0, 0.25 + 1e-8, 0.0],
            }],
            biases: vec![0.0; 3].into(),
            initial_potentials: vec![0.5; 3],
            thresholds: vec![3.0, 1.0, 2.0],
        };
        let layer = SpikingLayer::round(&exact, 4).unwrap();
        let network = SpikingNetwork::new([2, 1, 1], vec![layer]).unwrap();
        let activations = [Activations { n_neurons: 3, n_positions: 1, values: vec![9.0; 3] }];
        let change = rounding_change(&network.layers()[0], &exact);
        let record = &layers(&network, &[exact.thresholds], &[change], Some(&[0.125]), Some(&activations))[0];
        assert_eq!(record.lambda, Range { min: 1.0, median: 2.0, max: 3.0 });
        assert!((record.l4_norm.max - 1.0).abs() < 1e-12 && (record.l4_norm.min - 0.25).abs() < 1e-12);
        assert!((record.l4_norm.median - 0.125_f64.powf(0.25)).abs() < 1e-12);
        assert!((record.rounding_change - 1e-8).abs() < 1e-12, "{record:?}");
        assert_eq!(record.rate_error, Some(0.125));
        // The readout integrates: nothing there saturates.
        assert_eq!(record.expected_saturation, None);
    }
}
