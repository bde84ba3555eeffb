//! Networks that exports are tested with, and what naive simulators of them need.

use model::population::{Pool, PoolKind};
use snn::network::ExactLayer;
use snn::philox::philox;
use snn::{Connection, Kernel, Source, SpikingLayer, SpikingNetwork, Wiring};

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
        biases: uniform(seed + 100, n_channels).into_iter().map(|bias| bias * 0.1).collect(),
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

/// Windows of an image `[C, H, W]`, as the values of each under a kernel (`None` beyond the border).
pub fn windows(
    shape: &[usize],
    x: &[f64],
    size: [usize; 2],
    stride: [usize; 2],
    padding: usize,
) -> (Vec<usize>, Vec<Vec<f64>>) {
    let out = [0, 1].map(|d| (shape[d + 1] + 2 * padding - size[d]) / stride[d] + 1);
    let mut found = Vec::new();
    for c in 0..shape[0] {
        for (row, column) in (0..out[0]).flat_map(|row| (0..out[1]).map(move |column| (row, column))) {
            let at = |ky: usize, kx: usize| {
                let (y, x_at) = (row * stride[0] + ky, column * stride[1] + kx);
                let inside = y.checked_sub(padding).zip(x_at.checked_sub(padding));
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
