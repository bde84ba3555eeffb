//! Folding and rescaling leave a network's function as it was: random networks of every kind of layer against a naive
//! reference.

use std::collections::BTreeMap;

use ann::network::{Network, values};
use burn::tensor::{Tensor, TensorData};
use model::architecture::{Conv2d, Layer, Window};
use model::artefact::TensorF32;
use model::config::{Method, Readout};
use model::population::{Pool, PoolKind};
use model::{Architecture, LayerKind};
use proptest::prelude::*;
use snn::{Connection, philox::philox};

use methods::activation::Activations;
use methods::layer::{AnnLayer, ann_layers};
use methods::rescale::rescale;
use methods::thresholds::{Choice, choose};

/// Rounding of sums of some hundred terms and products of some ten factors in f64, relative to the largest value.
const TOLERANCE: f64 = 1e-9;

/// An image or a vector, with its shape.
#[derive(Debug, Clone, PartialEq)]
struct Values {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// Uniform in [−1, 1).
fn uniform(seed: u64, stream: u32, n: usize) -> Vec<f64> {
    let draw = |i: usize| philox(seed, [i as u32, stream, 0, 3])[0];
    (0..n).map(|i| f64::from(draw(i)) / f64::from(1_u32 << 31) - 1.0).collect()
}

fn random_tensors(architecture: &Architecture, seed: u64) -> BTreeMap<String, TensorF32> {
    let of = |(stream, (name, shape)): (usize, (String, Vec<usize>))| {
        let n: usize = shape.iter().product();
        let values = uniform(seed, stream as u32, n).into_iter().map(|x| {
            // Variances are positive; no weight is so small that a whole channel could be zero.
            let x = if name.ends_with("running_var") { x.abs() + 0.1 } else { x + 0.02 * x.signum() };
            x as f32
        });
        let values = values.collect();
        (name, TensorF32 { shape, values })
    };
    architecture.tensors().into_iter().enumerate().map(of).collect()
}

/// The definition of every layer, written down once more.
fn forward_layer(layer: &Layer, tensors: &BTreeMap<String, TensorF32>, x: Values, relus: &mut Vec<Vec<f64>>) -> Values {
    let tensor = |field: &str| -> Option<Vec<f64>> {
        let tensor = tensors.get(&format!("{}.{field}", layer.path))?;
        Some(tensor.values.iter().map(|&value| f64::from(value)).collect())
    };
    let n_positions = |shape: &[usize]| shape[1..].iter().product::<usize>();
    let windows = |x: &Values, kernel: [usize; 2], stride: [usize; 2], take: &dyn Fn(&[f64]) -> f64| {
        let [channels, height, width] = x.shape[..] else { panic!("an image") };
        let size = [(height - kernel[0]) / stride[0] + 1, (width - kernel[1]) / stride[1] + 1];
        let mut values = Vec::new();
        for channel in 0..channels {
            for (row, column) in (0..size[0]).flat_map(|row| (0..size[1]).map(move |column| (row, column))) {
                let inside: Vec<f64> = (0..kernel[0] * kernel[1])
                    .map(|i| {
                        let (y, x_) = (row * stride[0] + i / kernel[1], column * stride[1] + i % kernel[1]);
                        x.values[(channel * height + y) * width + x_]
                    })
                    .collect();
                values.push(take(&inside));
            }
        }
        Values { shape: vec![channels, size[0], size[1]], values }
    };
    let mean = |inside: &[f64]| inside.iter().sum::<f64>() / inside.len() as f64;
    let largest = |inside: &[f64]| inside.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match &layer.kind {
        LayerKind::Flatten => Values { shape: vec![x.values.len()], values: x.values },
        LayerKind::Dropout { .. } => x,
        LayerKind::Relu => {
            let values: Vec<f64> = x.values.iter().map(|value| value.max(0.0)).collect();
            relus.push(values.clone());
            Values { values, ..x }
        }
        LayerKind::Dense { units } => {
            let (weights, biases) = (tensor("weight").unwrap(), tensor("bias").unwrap());
            let sum = |(row, bias): (&[f64], &f64)| row.iter().zip(&x.values).map(|(w, x)| w * x).sum::<f64>() + bias;
            Values { shape: vec![*units], values: weights.chunks_exact(x.values.len()).zip(&biases).map(sum).collect() }
        }
        LayerKind::Conv2d(conv) => {
            let (weights, biases) = (tensor("weight").unwrap(), tensor("bias"));
            let [c_in, height, width] = x.shape[..] else { panic!("an image") };
            let in_per_group = c_in / conv.groups;
            let [channels, rows, columns] = layer.output[..] else { panic!("an image") };
            let mut values = Vec::new();
            for out in 0..channels {
                for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                    let mut sum = biases.as_ref().map_or(0.0, |biases| biases[out]);
                    for (at, ky, kx) in (0..in_per_group * conv.kernel * conv.kernel)
                        .map(|i| (i / (conv.kernel * conv.kernel), i / conv.kernel % conv.kernel, i % conv.kernel))
                    {
                        let y = (row * conv.stride[0] + ky) as isize - conv.padding[0] as isize;
                        let x_ = (column * conv.stride[1] + kx) as isize - conv.padding[1] as isize;
                        if (0..height as isize).contains(&y) && (0..width as isize).contains(&x_) {
                            let channel = out / (channels / conv.groups) * in_per_group + at;
                            let weight = weights[((out * in_per_group + at) * conv.kernel + ky) * conv.kernel + kx];
                            sum += weight * x.values[(channel * height + y as usize) * width + x_ as usize];
                        }
                    }
                    values.push(sum);
                }
            }
            Values { shape: layer.output.clone(), values }
        }
        LayerKind::BatchNorm { epsilon } => {
            let [gamma, beta, means, variances] =
                ["weight", "bias", "running_mean", "running_var"].map(|field| tensor(field).unwrap());
            let per_channel = n_positions(&x.shape);
            let normalised = x.values.iter().enumerate().map(|(i, value)| {
                let c = i / per_channel;
                (value - means[c]) / (variances[c] + epsilon).sqrt() * gamma[c] + beta[c]
            });
            Values { values: normalised.collect(), ..x }
        }
        LayerKind::AvgPool(Window { kernel, stride }) => windows(&x, [*kernel; 2], [*stride; 2], &mean),
        LayerKind::MaxPool(Window { kernel, stride }) => windows(&x, [*kernel; 2], [*stride; 2], &largest),
        LayerKind::GlobalAvgPool => {
            let whole = [x.shape[1], x.shape[2]];
            let pooled = windows(&x, whole, whole, &mean);
            Values { shape: vec![pooled.values.len()], ..pooled }
        }
        LayerKind::Add => unreachable!("no configuration has it outside a residual block"),
        LayerKind::Residual { .. } => {
            let along = |layers: &[Layer], relus: &mut Vec<Vec<f64>>| {
                layers.iter().fold(x.clone(), |x, layer| forward_layer(layer, tensors, x, relus))
            };
            let (a, b) = (along(&layer.body, relus), along(&layer.shortcut, relus));
            Values { values: a.values.iter().zip(&b.values).map(|(a, b)| a + b).collect(), shape: a.shape }
        }
    }
}

/// Outputs of every `relu`, then the logits.
fn forward(architecture: &Architecture, tensors: &BTreeMap<String, TensorF32>, pixels: &[f64]) -> Vec<Vec<f64>> {
    let mut outputs = Vec::new();
    let x = Values { shape: architecture.input().to_vec(), values: pixels.to_vec() };
    let logits = architecture.layers().iter().fold(x, |x, layer| forward_layer(layer, tensors, x, &mut outputs));
    outputs.push(logits.values);
    outputs
}

/// The same for connections and biases, as conversion sees a network: pools add, their factor is in the weights.
fn forward_connections<'a>(
    layers: impl ExactSizeIterator<Item = (&'a [Connection<f64>], &'a [f64])>,
    pixels: &[f64],
) -> Vec<Vec<f64>> {
    let mut sources = vec![pixels.to_vec()];
    let last = layers.len() - 1;
    for (idx, (connections, biases)) in layers.enumerate() {
        let output = connections[0].wiring.kernel.output();
        let n_positions = output[1] * output[2];
        let mut y: Vec<f64> = biases.iter().flat_map(|&bias| vec![bias; n_positions]).collect();
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
        sources.push(if idx < last { y.iter().map(|value| value.max(0.0)).collect() } else { y });
    }
    sources.split_off(1)
}

fn pooled(x: &[f64], shape: [usize; 3], pool: &Pool) -> Vec<f64> {
    let [channels, height, width] = shape;
    let [_, rows, columns] = pool.output(shape);
    let window = |window: usize| {
        let (channel, row, column) = (window / (rows * columns), window / columns % rows, window % columns);
        let inside = (0..pool.area()).map(|i| {
            let (y, x_) = (row * pool.stride[0] + i / pool.kernel[1], column * pool.stride[1] + i % pool.kernel[1]);
            x[(channel * height + y) * width + x_]
        });
        match pool.kind {
            PoolKind::Mean => inside.sum(),
            PoolKind::Max => inside.fold(f64::NEG_INFINITY, f64::max),
        }
    };
    (0..channels * rows * columns).map(window).collect()
}

/// One block of a random network.
#[derive(Debug, Clone)]
struct Block {
    conv: Conv2d,
    batch_norm: bool,
    residual: bool,
    pool: usize,
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let conv = (1..4_usize, 1..4_usize, 1..3_usize, any::<bool>(), any::<bool>());
    let block = (conv, any::<bool>(), any::<bool>(), 0..3_usize).prop_map(
        |((channels, kernel, stride, padded, bias), batch_norm, residual, pool)| Block {
            conv: Conv2d {
                channels: 2 * channels,
                kernel,
                stride,
                padding: if padded { kernel / 2 } else { 0 },
                groups: channels % 2 + 1,
                bias,
            },
            batch_norm,
            residual,
            pool,
        },
    );
    proptest::collection::vec(block, 0..4)
}

/// A network of the blocks that fit, for images of 2×9×8 pixels.
fn architecture(blocks: &[Block], hidden: bool, global: bool) -> Architecture {
    let input = [2, 9, 8];
    let mut kinds = Vec::new();
    let end = |kinds: &[LayerKind]| {
        let mut all = kinds.to_vec();
        all.push(if global { LayerKind::GlobalAvgPool } else { LayerKind::Flatten });
        if hidden {
            all.extend([LayerKind::Dense { units: 5 }, LayerKind::BatchNorm { epsilon: 1e-3 }, LayerKind::Relu]);
        }
        all.push(LayerKind::Dense { units: 3 });
        all
    };
    for (idx, Block { conv, batch_norm, residual, pool }) in blocks.iter().enumerate() {
        let mut layers = vec![LayerKind::Conv2d(Conv2d { groups: if idx == 0 { 1 } else { conv.groups }, ..*conv })];
        layers.extend(batch_norm.then_some(LayerKind::BatchNorm { epsilon: 1e-5 }));
        if *residual {
            let one = Conv2d { kernel: 1, padding: 0, groups: 1, ..*conv };
            let same = Conv2d { stride: 1, kernel: 3, padding: 1, groups: 1, ..*conv };
            let mut body = layers.clone();
            body.extend([LayerKind::Relu, LayerKind::Conv2d(same), LayerKind::BatchNorm { epsilon: 1e-5 }]);
            let projected = LayerKind::Residual { body, shortcut: vec![LayerKind::Conv2d(one)] };
            let identity = LayerKind::Residual { body: vec![LayerKind::Conv2d(same)], shortcut: Vec::new() };
            layers = vec![projected, LayerKind::Relu, identity];
        }
        layers.push(LayerKind::Relu);
        let window = Window { kernel: 2, stride: 1 + idx % 2 };
        match pool {
            1 => layers.push(LayerKind::AvgPool(window)),
            2 => layers.push(LayerKind::MaxPool(window)),
            _ => {}
        }
        let longer = [kinds.clone(), layers].concat();
        // Some blocks do not fit what is left of the image, or the channels of the one before.
        if Architecture::new(input, &end(&longer)).is_ok() {
            kinds = longer;
        }
    }
    Architecture::new(input, &end(&kinds)).unwrap()
}

fn plain(layers: &[AnnLayer]) -> impl ExactSizeIterator<Item = (&[Connection<f64>], &[f64])> {
    layers.iter().map(|layer| (layer.connections.as_slice(), layer.biases.values()))
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_trained_network_computes_what_its_layers_are_defined_as(
        blocks in blocks(), hidden in any::<bool>(), global in any::<bool>(), seed in any::<u64>(),
    ) {
        /// Rounding in f32, relative to the largest activation, through up to a dozen layers that may amplify it.
        const F32_TOLERANCE: f64 = 1e-4;
        let architecture = architecture(&blocks, hidden, global);
        let tensors = random_tensors(&architecture, seed);
        let pixels: Vec<f32> = uniform(seed, 999, 144).iter().map(|x| x.abs() as f32).collect();
        let wide: Vec<f64> = pixels.iter().map(|&pixel| f64::from(pixel)).collect();
        let expected = forward(&architecture, &tensors, &wide);
        for backend in ann::backend::usable() {
            let device = ann::backend::device(backend).unwrap();
            let network = Network::with_tensors(&architecture, &tensors, &device);
            prop_assert_eq!(&network.tensors(), &tensors);
            let images = Tensor::from_data(TensorData::new(pixels.clone(), [1, 144]), &device);
            let found = network.forward_with_activations(images);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.into_iter().zip(&expected) {
                for (found, wanted) in values(found).into_iter().zip(expected) {
                    prop_assert!(
                        (f64::from(found) - wanted).abs() <= F32_TOLERANCE * largest(expected),
                        "{backend}, {architecture}: {found} for {wanted}"
                    );
                }
            }
        }
    }

    #[test]
    fn folding_batch_norm_and_pools_leaves_activations_and_logits_unchanged(
        blocks in blocks(), hidden in any::<bool>(), global in any::<bool>(), seed in any::<u64>(),
    ) {
        let architecture = architecture(&blocks, hidden, global);
        let tensors = random_tensors(&architecture, seed);
        let layers = ann_layers(&architecture, &tensors);
        let pixels: Vec<f64> = uniform(seed, 999, 144).iter().map(|x| x.abs()).collect();
        let expected = forward(&architecture, &tensors, &pixels);
        let found = forward_connections(plain(&layers), &pixels);
        prop_assert_eq!(found.len(), expected.len());
        for ((found, expected), population) in found.iter().zip(&expected).zip(architecture.populations()) {
            prop_assert_eq!(expected.len(), population.n_neurons());
            for (found, wanted) in found.iter().zip(expected) {
                prop_assert!((found - wanted).abs() <= TOLERANCE * largest(expected), "{}: {found} for {wanted}", population.name);
            }
        }
    }

    #[test]
    fn every_method_leaves_the_logits_and_divides_activations_by_their_thresholds(
        blocks in blocks(), hidden in any::<bool>(), global in any::<bool>(), seed in any::<u64>(),
        kappa in 0.1..2.0_f64, p in 1.0..8.0_f64, scale in 0.2..3.0_f64, spikes in any::<bool>(),
    ) {
        let architecture = architecture(&blocks, hidden, global);
        let tensors = random_tensors(&architecture, seed);
        let layers = ann_layers(&architecture, &tensors);
        let inputs: Vec<Vec<f64>> =
            (0..4).map(|stream| uniform(seed, 900 + stream, 144).iter().map(|x| x.abs()).collect()).collect();
        let outputs: Vec<_> = inputs.iter().map(|pixels| forward(&architecture, &tensors, pixels)).collect();
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
                let exact = rescaled.iter().map(|layer| (layer.connections.as_slice(), layer.biases.values()));
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
