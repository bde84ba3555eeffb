//! For tests: networks with every kind of layer, and samples for them.
//!
//! All numbers come from [`snn::philox`], so a network is the same on every machine.

use model::config::{Encoding, FaultsConfig, NoiseOf, Readout, Reset, WeightRange};
use model::population::{Pool, PoolKind};
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::philox::philox;
use snn::{Connection, Kernel, RunSettings, Sample, Source, SpikingLayer, SpikingNetwork, Wiring};

/// Uniform numbers in [−1, 1) from a seed, for weights that need no statistics.
pub fn uniform(seed: u64, n: usize) -> Vec<f64> {
    let draw = |i: usize| philox(seed, [i as u32, 0, 0, 7])[0];
    (0..n).map(|i| f64::from(draw(i)) / f64::from(1_u32 << 31) - 1.0).collect()
}

/// A network with the given layer sizes whose neurons fire now and then and start at that potential or a little below.
pub fn network(sizes: &[usize], seed: u64, initial_potential: f64, precision: impl Into<Precision>) -> SpikingNetwork {
    let precision = precision.into();
    let layers = sizes.windows(2).enumerate().map(|(idx, pair)| {
        let scale = 3.0 / (pair[0] as f64).sqrt();
        let values = uniform(seed + idx as u64, (pair[0] + 1) * pair[1]);
        let (weights, biases) = values.split_at(pair[0] * pair[1]);
        let layer = ExactLayer {
            name: format!("dense {}", idx + 1),
            connections: vec![Connection {
                wiring: Wiring::dense(Source::from_index(idx), [pair[0], 1, 1], pair[1]),
                weights: weights.iter().map(|weight| weight * scale).collect(),
            }],
            biases: biases.iter().map(|bias| bias * 0.2).collect(),
            initial_potentials: (0..pair[1]).map(|neuron| initial_potential - 0.1 * (neuron % 7) as f64).collect(),
            thresholds: vec![1.0; pair[1]],
        };
        SpikingLayer::round(&layer, precision).unwrap()
    });
    SpikingNetwork::new([sizes[0], 1, 1], layers.collect()).unwrap()
}

/// What a random network of convolutions is made of.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    /// Groups, and channels of a group of the input and the output.
    pub groups: [usize; 3],
    /// Side of the square kernel.
    pub size: usize,
    /// Distance between neighbouring outputs.
    pub stride: usize,
    /// Rows and columns of zeros around the input.
    pub padding: usize,
    /// Behind the first convolution.
    pub pool: Option<Pool>,
    /// Whether there is a skip connection.
    pub skip: bool,
}

/// A convolution of the input, a residual sum of another one and perhaps a skip connection behind a pool, and a dense readout.
pub fn conv_network(input: [usize; 2], conv: Conv, seed: u64, precision: impl Into<Precision>) -> SpikingNetwork {
    let precision = precision.into();
    let [groups, in_per_group, out_per_group] = conv.groups;
    let kernel = Kernel::square(
        [groups * in_per_group, input[0], input[1]],
        groups * out_per_group,
        conv.size,
        conv.stride,
        conv.padding,
        groups,
    );
    let wire = |source: Source, source_shape: [usize; 3], pools: Vec<Pool>, kernel: Kernel| Wiring {
        source,
        source_shape,
        pools,
        kernel,
    };
    let first = wire(Source::INPUT, kernel.input, Vec::new(), kernel);
    let shape = kernel.output();
    let pooled = conv.pool.map_or(shape, |pool| pool.output(shape));
    let pools: Vec<Pool> = conv.pool.into_iter().collect();
    let again = Kernel { input: pooled, size: 3, stride: 1, padding: 1, groups: 1, ..kernel };
    let skip = Kernel { size: 1, padding: 0, groups: kernel.channels, ..again };
    let mut sum = vec![wire(Source::of_layer(0), shape, pools.clone(), again)];
    sum.extend(conv.skip.then(|| wire(Source::of_layer(0), shape, pools, skip)));
    let wirings = [vec![first], sum, vec![Wiring::dense(Source::of_layer(1), pooled, 3)]];
    let layers = wirings.into_iter().enumerate().map(|(idx, wirings)| {
        let n_channels = wirings[0].kernel.channels;
        let connections = wirings.into_iter().enumerate().map(|(at, wiring)| {
            let n_weights = n_channels * wiring.kernel.row_len();
            let scale = 3.0 / ((wiring.kernel.row_len() * wiring.multiplicity()) as f64).sqrt();
            let weights = uniform(seed + (10 * idx + at) as u64, n_weights);
            Connection { wiring, weights: weights.iter().map(|weight| weight * scale).collect() }
        });
        let layer = ExactLayer {
            name: format!("layer {}", idx + 1),
            connections: connections.collect(),
            biases: uniform(seed + 99 + idx as u64, n_channels).iter().map(|bias| bias * 0.3 + 0.1).collect(),
            initial_potentials: (0..n_channels).map(|channel| 0.5 - 0.3 * (channel % 3) as f64).collect(),
            thresholds: vec![1.0; n_channels],
        };
        SpikingLayer::round(&layer, precision).unwrap()
    });
    SpikingNetwork::new(kernel.input, layers.collect()).unwrap()
}

/// Images of numbers in [0, 1), half of them 0; `[n_in]` each.
pub fn images(n: usize, n_in: usize, seed: u64) -> Vec<Vec<f32>> {
    (0..n).map(|i| uniform(seed + i as u64, n_in).iter().map(|x| x.max(0.0) as f32).collect()).collect()
}

/// Samples of images, numbered from 0.
pub fn samples(images: &[Vec<f32>]) -> Vec<Sample<'_>> {
    Sample::consecutive(0, images)
}

/// The kinds of convolution and pool that networks have.
pub fn convs() -> Vec<Conv> {
    let pool = |kind, kernel, stride| Some(Pool::new(kind, [kernel; 2], [stride; 2]));
    let plain =
        Conv { groups: [1, 2, 16], size: 3, stride: 1, padding: 1, pool: pool(PoolKind::Mean, 2, 2), skip: true };
    vec![
        plain,
        Conv { size: 5, padding: 2, stride: 2, pool: pool(PoolKind::Max, 2, 1), ..plain },
        Conv { groups: [3, 1, 1], pool: pool(PoolKind::Max, 2, 2), ..plain },
        Conv { groups: [2, 2, 5], size: 2, stride: 3, padding: 0, pool: None, ..plain },
        // More channels than a site holds, in groups.
        Conv { groups: [70, 1, 1], pool: None, ..plain },
        Conv { size: 1, stride: 2, padding: 0, pool: pool(PoolKind::Mean, 3, 1), ..plain },
        // Few inputs per row: one channel under a large kernel and with a stride, and two.
        Conv { groups: [1, 1, 16], size: 5, padding: 2, ..plain },
        Conv { groups: [1, 1, 16], stride: 2, ..plain },
        Conv { groups: [1, 2, 32], pool: None, ..plain },
        // Of a stride of one, with as many channels as make up half a site, a site, and more; and of what pools add up, a few spikes and many.
        Conv { groups: [1, 3, 32], skip: false, ..plain },
        Conv { groups: [1, 3, 32], size: 5, padding: 4, ..plain },
        Conv { groups: [1, 3, 50], size: 5, padding: 1, ..plain },
        Conv { groups: [1, 2, 130], padding: 0, skip: false, ..plain },
        Conv { groups: [1, 1, 40], size: 5, padding: 3, pool: pool(PoolKind::Mean, 3, 1), skip: false, ..plain },
    ]
}

/// Sums that the event-driven engine adds as 32-bit floats.
pub const FLOATS: Precision = Precision { n_steps: 16, sum_bits: 24, weight_bits: 25 };
/// Sums that are added as 16-bit integers.
pub const INTEGERS: Precision = Precision { sum_bits: 15, ..FLOATS };
/// Sums of bytes.
pub const BYTES: Precision = Precision { weight_bits: 8, ..INTEGERS };
/// Sums of weights of 7 bits.
pub const SMALL: Precision = Precision { weight_bits: 7, ..INTEGERS };

/// Every encoding with every reset and readout.
pub fn all_settings(n_steps: usize) -> Vec<RunSettings> {
    let mut all = Vec::new();
    for &encoding in Encoding::ALL {
        for &reset in Reset::ALL {
            for &readout in Readout::ALL {
                all.push(RunSettings { encoding, reset, readout, n_steps, seed: 42 });
            }
        }
    }
    all
}

/// Every fault alone, and all of them together.
pub fn all_faults() -> Vec<FaultsConfig> {
    let none = FaultsConfig {
        seed: 5,
        weight_noise: 0.0,
        weight_noise_of: NoiseOf::Range,
        weight_range: WeightRange::Layer,
        weight_bits: None,
        threshold_mismatch: 0.0,
        dropped_spikes: 0.0,
    };
    vec![
        FaultsConfig { weight_noise: 0.1, ..none },
        FaultsConfig { weight_noise: 0.3, weight_noise_of: NoiseOf::Weight, ..none },
        FaultsConfig { weight_bits: Some(4), weight_range: WeightRange::Channel, ..none },
        FaultsConfig { threshold_mismatch: 0.2, ..none },
        FaultsConfig { dropped_spikes: 0.2, ..none },
        FaultsConfig {
            weight_noise: 0.05,
            weight_bits: Some(6),
            threshold_mismatch: 0.3,
            dropped_spikes: 0.05,
            ..none
        },
    ]
}

/// - `white`: how many in 256 are as bright as can be; a quarter is dark
pub fn images_of_bytes(n: usize, n_in: usize, seed: u64, white: u32) -> Vec<Vec<f32>> {
    let byte = |image: usize, pixel: usize| {
        let [kind, byte, ..] = philox(seed, [pixel as u32, image as u32, 0, 8]);
        match kind % 256 {
            192.. => 0,
            kind if kind < white => 255,
            _ => byte % 256,
        }
    };
    (0..n).map(|image| (0..n_in).map(|pixel| byte(image, pixel) as f32 / 255.0).collect()).collect()
}
