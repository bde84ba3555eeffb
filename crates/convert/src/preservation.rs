//! Folding and rescaling leave a network's function as it was: random networks of every kind of layer against the definition of
//! their layers.

use ann::network::{Network, values};
use burn::tensor::{Tensor, TensorData};
use model::config::{Method, Readout};
use model::kernel::Pool;
use model::population::PoolKind;
use proptest::prelude::*;
use snn::{Biases, Connection};
use specimens::{graphs, uniform};

use methods::activation::Activations;
use methods::layer::ann_layers;
use methods::rescale::rescale;
use methods::thresholds::{Choice, choose};

/// Rounding of sums of some hundred terms and products of some ten factors in f64, relative to the largest value.
const TOLERANCE: f64 = 1e-9;

/// Activations through connections and biases, as conversion sees a network: pools add, their divisor is in the weights.
///
/// - `ceilings`: where each layer saturates
fn forward_connections<'a>(
    layers: impl ExactSizeIterator<Item = (&'a [Connection<f64>], &'a Biases<f64>, Vec<f64>)>,
    pixels: &[f64],
) -> Vec<Vec<f64>> {
    let mut sources = vec![pixels.to_vec()];
    let last = layers.len() - 1;
    for (idx, (connections, biases, ceilings)) in layers.enumerate() {
        let output = connections[0].wiring.kernel.output();
        let n_positions = output[1] * output[2];
        let mut y = biases.of_neurons(n_positions);
        for Connection { wiring, weights } in connections {
            let mut x = sources[wiring.source.index()].clone();
            let mut shape = wiring.source_shape;
            for pool in &wiring.pools {
                x = pooled(&x, shape, pool);
                shape = pool.output(shape);
            }
            for (input, value) in x.iter().enumerate() {
                wiring.kernel.for_each_synapse(input, |neuron, weight| y[neuron] += weights[weight] * value);
            }
        }
        let rectified = |(neuron, value): (usize, &f64)| value.max(0.0).min(ceilings[neuron / n_positions]);
        sources.push(if idx < last { y.iter().enumerate().map(rectified).collect() } else { y });
    }
    sources.split_off(1)
}

fn pooled(x: &[f64], shape: [usize; 3], pool: &Pool) -> Vec<f64> {
    let [_, height, width] = shape;
    let [channels, rows, columns] = pool.output(shape);
    let [of_rows, of_columns] = pool.multiples(shape);
    let [down, across] = [pool.axis(0, height), pool.axis(1, width)];
    let window = |window: usize| {
        let (channel, row, column) = (window / (rows * columns), window / columns % rows, window % columns);
        let inside = (0..pool.area())
            .filter_map(|tap| down.input(row, tap / pool.kernel[1]).zip(across.input(column, tap % pool.kernel[1])))
            .map(|(y, x_)| x[(channel * height + y) * width + x_]);
        match pool.kind {
            PoolKind::Mean => inside.sum::<f64>() * (of_rows[row] * of_columns[column]) as f64,
            PoolKind::Max => inside.fold(f64::NEG_INFINITY, f64::max),
        }
    };
    (0..channels * rows * columns).map(window).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()))
}

fn pixels(seed: u64) -> Vec<f64> {
    uniform(seed, graphs::INPUT.iter().product()).iter().map(|x| x.abs()).collect()
}

/// Steps of a random network, and what becomes of its vector.
fn networks() -> impl Strategy<Value = (Vec<graphs::Step>, usize)> {
    let step = (0..19_u8, any::<u16>(), any::<u16>()).prop_map(|(step, a, b)| (step, usize::from(a), usize::from(b)));
    (proptest::collection::vec(step, 1..12), any::<u16>().prop_map(usize::from))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_trained_network_computes_what_its_layers_are_defined_as((steps, numbers) in networks(), seed in any::<u64>()) {
        /// Rounding in f32, relative to the largest activation, through up to a dozen layers that may amplify it.
        const F32_TOLERANCE: f64 = 1e-4;
        let Some(architecture) = graphs::network(&steps, numbers) else {
            return Err(TestCaseError::reject("no exact counterpart"));
        };
        let tensors = graphs::tensors(&architecture, seed);
        let narrow: Vec<f32> = pixels(!seed).iter().map(|&pixel| pixel as f32).collect();
        let wide: Vec<f64> = narrow.iter().map(|&pixel| f64::from(pixel)).collect();
        let expected = graphs::activations(&architecture, &tensors, &wide);
        for backend in ann::backend::usable() {
            let device = ann::backend::device(backend).unwrap();
            let network = Network::with_tensors(&architecture, &tensors, None, &device);
            prop_assert_eq!(&network.tensors(), &tensors);
            let images = Tensor::from_data(TensorData::new(narrow.clone(), [1, narrow.len()]), &device);
            let found = network.forward_with_activations(images);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.into_iter().zip(&expected) {
                let found = values(found);
                prop_assert_eq!(found.len(), expected.len());
                for (found, wanted) in found.into_iter().zip(expected) {
                    prop_assert!(
                        (f64::from(found) - wanted).abs() <= F32_TOLERANCE * largest(expected),
                        "{backend}, {:?}: {found} for {wanted}", architecture.graph().nodes()
                    );
                }
            }
        }
    }

    #[test]
    fn every_method_leaves_the_logits_and_divides_activations_by_their_thresholds(
        (steps, numbers) in networks(), seed in any::<u64>(),
        kappa in 0.1..2.0_f64, p in 1.0..8.0_f64, scale in 0.2..3.0_f64, spikes in any::<bool>(),
    ) {
        let Some(architecture) = graphs::network(&steps, numbers) else {
            return Err(TestCaseError::reject("no exact counterpart"));
        };
        let tensors = graphs::tensors(&architecture, seed);
        let mut layers = ann_layers(&architecture, &tensors);
        for layer in &mut layers {
            // Any thresholds: what is quantised is not looked at here.
            layer.trained = Some((0..layer.n_channels()).map(|channel| 0.5 + channel as f64).collect());
        }
        let inputs: Vec<Vec<f64>> = (0..4).map(|stream| pixels(seed ^ stream)).collect();
        let outputs: Vec<_> = inputs.iter().map(|pixels| graphs::activations(&architecture, &tensors, pixels)).collect();
        let activations: Vec<Activations> = layers.iter().enumerate().map(|(l, layer)| Activations {
            n_neurons: layer.shape.iter().product(),
            n_positions: layer.n_positions(),
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
            let noise = |idx: usize, _: &[Vec<f64>]| Ok((0..layers[idx].n_channels()).map(|j| 0.1 + j as f64).collect());
            let thresholds = match choose(&layers, Some(&activations), &choice, &noise) {
                Ok(thresholds) => thresholds,
                Err(error) => { prop_assert!(silent, "{method}: {error}"); continue }
            };
            let rescaled = rescale(&layers, &thresholds, true, 0.5);
            for (pixels, expected) in inputs.iter().zip(&outputs) {
                let exact = rescaled.iter().zip(layers.iter().zip(&thresholds)).map(|(exact, (layer, thresholds))| {
                    let ceilings = thresholds.iter().map(|threshold| layer.ceiling / threshold).collect();
                    (exact.connections.as_slice(), &exact.biases, ceilings)
                });
                let found = forward_connections(exact, pixels);
                for ((l, layer), thresholds) in layers.iter().enumerate().zip(&thresholds) {
                    for (neuron, (a, scaled)) in expected[l].iter().zip(&found[l]).enumerate() {
                        let lambda = thresholds[neuron / layer.n_positions()];
                        prop_assert!(
                            (a - scaled * lambda).abs() <= TOLERANCE * largest(&expected[l]),
                            "{method}, {}: {a} became {scaled} × {lambda}", layer.name
                        );
                    }
                }
            }
        }
    }
}
