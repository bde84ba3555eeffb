//! Networks that exports are tested with, and what naive simulators of them need.

use model::population::{Pool, PoolKind};
use snn::network::ExactLayer;
use snn::philox::philox;
use snn::{Biases, Connection, Kernel, Source, SpikingLayer, SpikingNetwork, Wiring};

/// Time steps that the networks are made for.
pub const N_STEPS: usize = 12;

/// Uniform numbers in [−1, 1) from a seed.
pub fn uniform(seed: u64, n: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from(philox(seed, [i as u32, 0, 0, 9])[0]) / f64::from(1_u32 << 31) - 1.0).collect()
}

fn layer(name: &str, wirings: &[Wiring], initial_potential: f64, seed: u64) -> SpikingLayer {
    let n_channels = wirings[0].kernel.channels;
    let connections = wirings.iter().zip(seed..).map(|(wiring, seed)| {
        let n_inputs = (wiring.kernel.row_len() * wiring.multiplicity()) as f64;
        let weights = uniform(seed, n_channels * wiring.kernel.row_len()).into_iter();
        Connection {
            wiring: wiring.clone(),
            weights: weights.map(|weight| 0.2 + weight * 2.0 / n_inputs.sqrt()).collect(),
        }
    });
    let exact = ExactLayer {
        name: name.to_owned(),
        connections: connections.collect(),
        biases: uniform(seed + 100, n_channels).into_iter().map(|bias| bias * 0.1).collect::<Vec<_>>().into(),
        initial_potentials: vec![initial_potential; n_channels],
        thresholds: vec![2.0; n_channels],
    };
    SpikingLayer::round(&exact, N_STEPS).unwrap()
}

/// A convolution in groups, a residual sum with a skip connection behind a pool, a dense layer, a dense readout.
pub fn network(kind: PoolKind, initial_potential: f64) -> SpikingNetwork {
    let pool = Pool::new(kind, [2, 2], [2, 2]);
    let kernel =
        |input, channels, size, stride, groups| Kernel::square(input, channels, size, stride, size / 2, groups);
    let plain = |source, source_shape, kernel| Wiring { source, source_shape, pools: Vec::new(), kernel };
    let (input, image, small) = ([2, 6, 5], [4, 6, 5], [4, 3, 2]);
    let body = Wiring { pools: vec![pool], ..plain(Source::of_layer(0), image, kernel(small, 4, 3, 1, 1)) };
    let skip = Wiring { pools: vec![pool], ..plain(Source::of_layer(0), image, kernel(small, 4, 1, 1, 4)) };
    let layers = vec![
        layer("conv 1", &[plain(Source::INPUT, input, kernel(input, 4, 3, 1, 2))], initial_potential, 1),
        layer("residual 2", &[body, skip], initial_potential, 2),
        layer("dense 3", &[plain(Source::of_layer(1), small, Kernel::dense(24, 7))], initial_potential, 4),
        layer("dense 4", &[Wiring::dense(Source::of_layer(2), [7, 1, 1], 3)], 0.0, 5),
    ];
    SpikingNetwork::new(input, layers).unwrap()
}

/// A layer whose neurons have biases of their own.
fn with_own_biases(layer: &SpikingLayer, seed: u64) -> SpikingLayer {
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
    let connections = layer.connections().iter();
    let exact = ExactLayer {
        name: layer.name().to_owned(),
        connections: connections
            .map(|Connection { wiring, weights }| Connection { wiring: wiring.clone(), weights: wide(weights) })
            .collect(),
        biases: Biases::OfNeurons(uniform(seed, layer.n_out()).into_iter().map(|bias| bias * 0.1).collect()),
        initial_potentials: wide(layer.initial_potentials()),
        thresholds: wide(layer.thresholds()),
    };
    SpikingLayer::round(&exact, N_STEPS).unwrap()
}

/// A convolution that is no square, padded, strided and dilated otherwise down than across, another behind a pool, a dense readout.
///
/// - `padding`: of the first convolution: above, to the left, below, to the right
/// - `own_biases`: whether neurons of a channel differ in theirs
pub fn uneven_network(padding: [usize; 4], pool: Pool, own_biases: bool) -> SpikingNetwork {
    let input = [2, 9, 7];
    let kernel = Kernel { input, channels: 4, size: [3, 2], stride: [1, 2], padding, dilation: [2, 1], groups: 2 };
    let image = kernel.output();
    let pooled = pool.output(image);
    let first = Wiring { source: Source::INPUT, source_shape: input, pools: Vec::new(), kernel };
    let kernel = Kernel {
        input: pooled,
        channels: 3,
        size: [1, 3],
        stride: [1; 2],
        padding: [0, 1, 0, 1],
        ..Kernel::identity(pooled)
    };
    let kernel = Kernel { groups: 1, ..kernel };
    let second = Wiring { source: Source::of_layer(0), source_shape: image, pools: vec![pool], kernel };
    let of_second = kernel.output();
    let mut layers = vec![layer("conv 1", &[first], 0.0, 11), layer("conv 2", &[second], 0.0, 12)];
    if own_biases {
        layers = layers.iter().zip(21..).map(|(layer, seed)| with_own_biases(layer, seed)).collect();
    }
    layers.push(layer("dense 3", &[Wiring::dense(Source::of_layer(1), of_second, 3)], 0.0, 13));
    SpikingNetwork::new(input, layers).unwrap()
}

/// Windows of an image `[C, H, W]`, as the values of each under a kernel, 0 beyond the border.
///
/// - `padding`: above, to the left, below, to the right
/// - `dilation`: distance between neighbouring taps, down and across
pub fn windows(
    shape: &[usize],
    x: &[f64],
    size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
) -> (Vec<usize>, Vec<Vec<f64>>) {
    let extent = [0, 1].map(|d| dilation[d] * (size[d] - 1) + 1);
    let out = [0, 1].map(|d| (shape[d + 1] + padding[d] + padding[d + 2] - extent[d]) / stride[d] + 1);
    let mut found = Vec::new();
    for c in 0..shape[0] {
        for (row, column) in (0..out[0]).flat_map(|row| (0..out[1]).map(move |column| (row, column))) {
            let at = |ky: usize, kx: usize| {
                let (y, x_at) = (row * stride[0] + ky * dilation[0], column * stride[1] + kx * dilation[1]);
                let inside = y.checked_sub(padding[0]).zip(x_at.checked_sub(padding[1]));
                inside
                    .filter(|&(y, x_at)| y < shape[1] && x_at < shape[2])
                    .map_or(0.0, |(y, x_at)| x[(c * shape[1] + y) * shape[2] + x_at])
            };
            found.push(
                (0..size[0]).flat_map(|ky| (0..size[1]).map(move |kx| (ky, kx))).map(|(ky, kx)| at(ky, kx)).collect(),
            );
        }
    }
    (vec![shape[0], out[0], out[1]], found)
}
