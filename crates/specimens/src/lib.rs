//! For tests: networks with every kind of layer, and samples for them.
//!
//! All numbers come from [`snn::philox`], so a network is the same on every machine.

pub mod graphs;

use model::config::{Encoding, FaultsConfig, NeuronConfig, NeuronKind, NoiseOf, RateCap, Readout, Reset, WeightRange};
use model::population::{Pool, PoolKind};
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::philox::philox;
use snn::{Biases, Connection, Kernel, RunSettings, Sample, Source, SpikingLayer, SpikingNetwork, Wiring};

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
            biases: biases.iter().map(|bias| bias * 0.2).collect::<Vec<_>>().into(),
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
    /// Height and width of the kernel.
    pub size: [usize; 2],
    /// Distance between neighbouring outputs, down and across.
    pub stride: [usize; 2],
    /// Rows of zeros above, columns to the left, rows below, columns to the right.
    pub padding: [usize; 4],
    /// Distance between neighbouring taps, down and across.
    pub dilation: [usize; 2],
    /// Behind the first convolution.
    pub pool: Option<Pool>,
    /// Whether there is a skip connection.
    pub skip: bool,
    /// Whether the neurons of the convolutions have biases of their own.
    pub own_biases: bool,
}

impl Conv {
    /// The same with a square kernel, padded on all sides alike.
    #[must_use]
    pub const fn square(self, size: usize, stride: usize, padding: usize) -> Self {
        Self { size: [size; 2], stride: [stride; 2], padding: [padding; 4], dilation: [1; 2], ..self }
    }

    /// The first convolution of an image.
    ///
    /// - `input`: `[H, W]`
    pub const fn kernel(&self, input: [usize; 2]) -> Kernel {
        let Self { groups: [groups, in_per_group, out_per_group], size, stride, padding, dilation, .. } = *self;
        let input = [groups * in_per_group, input[0], input[1]];
        Kernel { input, channels: groups * out_per_group, size, stride, padding, dilation, groups }
    }
}

/// A convolution of the input, a residual sum of another one and perhaps a skip connection behind a pool, and a dense readout.
pub fn conv_network(input: [usize; 2], conv: Conv, seed: u64, precision: impl Into<Precision>) -> SpikingNetwork {
    let precision = precision.into();
    let kernel = conv.kernel(input);
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
    let again = Kernel::square(pooled, kernel.channels, 3, 1, 1, 1);
    let skip = Kernel::identity(pooled);
    let mut sum = vec![wire(Source::of_layer(0), shape, pools.clone(), again)];
    sum.extend(conv.skip.then(|| wire(Source::of_layer(0), shape, pools, skip)));
    let wirings = [vec![first], sum, vec![Wiring::dense(Source::of_layer(1), pooled, 3)]];
    let layers = wirings.into_iter().enumerate().map(|(idx, wirings)| {
        let (n_channels, shape) = (wirings[0].kernel.channels, wirings[0].kernel.output());
        let connections = wirings.into_iter().enumerate().map(|(at, wiring)| {
            let n_weights = n_channels * wiring.kernel.row_len();
            let scale = 3.0 / ((wiring.kernel.row_len() * wiring.multiplicity()) as f64).sqrt();
            let weights = uniform(seed + (10 * idx + at) as u64, n_weights);
            Connection { wiring, weights: weights.iter().map(|weight| weight * scale).collect() }
        });
        let n_biases = if conv.own_biases { shape.iter().product() } else { n_channels };
        let biases = uniform(seed + 99 + idx as u64, n_biases).iter().map(|bias| bias * 0.3 + 0.1).collect();
        let layer = ExactLayer {
            name: format!("layer {}", idx + 1),
            connections: connections.collect(),
            biases: Biases::of_shape(biases, shape).expect("one for each channel or neuron"),
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
    let plain = Conv {
        groups: [1, 2, 16],
        size: [3; 2],
        stride: [1; 2],
        padding: [1; 4],
        dilation: [1; 2],
        pool: pool(PoolKind::Mean, 2, 2),
        skip: true,
        own_biases: false,
    };
    vec![
        plain,
        Conv { pool: pool(PoolKind::Max, 2, 1), ..plain.square(5, 2, 2) },
        Conv { groups: [3, 1, 1], pool: pool(PoolKind::Max, 2, 2), ..plain },
        Conv { groups: [2, 2, 5], pool: None, ..plain.square(2, 3, 0) },
        // More channels than a site holds, in groups.
        Conv { groups: [70, 1, 1], pool: None, ..plain },
        Conv { pool: pool(PoolKind::Mean, 3, 1), ..plain.square(1, 2, 0) },
        // Few inputs per row: one channel under a large kernel and with a stride, and two.
        Conv { groups: [1, 1, 16], ..plain.square(5, 1, 2) },
        Conv { groups: [1, 1, 16], ..plain.square(3, 2, 1) },
        Conv { groups: [1, 2, 32], pool: None, ..plain },
        // Of a stride of one, with as many channels as make up half a site, a site, and more; and of what pools add up, a few spikes and many.
        Conv { groups: [1, 3, 32], skip: false, ..plain },
        Conv { groups: [1, 3, 32], ..plain.square(5, 1, 4) },
        Conv { groups: [1, 3, 50], ..plain.square(5, 1, 1) },
        Conv { groups: [1, 2, 130], skip: false, ..plain.square(3, 1, 0) },
        Conv { groups: [1, 1, 40], pool: pool(PoolKind::Mean, 3, 1), skip: false, ..plain.square(5, 1, 3) },
    ]
}

/// The same with kernels, strides, paddings and pools that differ from side to side, with dilation, and with biases of single neurons.
pub fn uneven_convs() -> Vec<Conv> {
    let plain = Conv {
        groups: [1, 2, 16],
        size: [3; 2],
        stride: [1; 2],
        padding: [1; 4],
        dilation: [1; 2],
        pool: None,
        skip: true,
        own_biases: true,
    };
    let pool = |kind, kernel, stride, padding, ceil, counts_padding| {
        Some(Pool { padding, ceil, counts_padding, ..Pool::new(kind, kernel, stride) })
    };
    let bordered = |ceil, counts_padding| pool(PoolKind::Mean, [3, 2], [2, 1], [1, 0, 1, 1], ceil, counts_padding);
    vec![
        // A row, a column, and what is padded on one side.
        Conv { size: [1, 3], padding: [0, 1, 0, 1], pool: bordered(false, true), ..plain },
        Conv { size: [3, 1], padding: [1, 0, 1, 0], pool: bordered(false, false), ..plain },
        Conv { stride: [2, 2], padding: [0, 0, 1, 1], pool: bordered(true, true), skip: false, ..plain },
        Conv { size: [2, 3], stride: [2, 1], padding: [0, 2, 1, 0], pool: bordered(true, false), ..plain },
        // Holes in the kernel: of all channels, of one each, of many.
        Conv { dilation: [2, 1], padding: [2, 1, 2, 1], ..plain },
        // Some outputs see nothing but padding.
        Conv { size: [2, 3], padding: [2, 5, 4, 3], ..plain },
        Conv { groups: [3, 1, 1], dilation: [1, 2], padding: [1, 2, 0, 2], ..plain },
        Conv { groups: [1, 3, 50], dilation: [2, 2], padding: [2; 4], own_biases: false, ..plain },
        // Max pools ignore their padding, and may begin anywhere.
        Conv { groups: [1, 3, 32], pool: pool(PoolKind::Max, [3, 3], [2, 2], [1; 4], false, true), ..plain },
        Conv { groups: [1, 1, 16], pool: pool(PoolKind::Max, [2, 3], [2, 2], [1, 0, 0, 2], true, true), ..plain },
        // Few inputs of a row, and windows that slide, where not all sides are the same.
        Conv { groups: [1, 1, 16], size: [2, 5], padding: [1, 3, 0, 1], ..plain },
        Conv { groups: [1, 3, 32], size: [2, 3], padding: [1, 2, 0, 1], stride: [2, 1], skip: false, ..plain },
        Conv {
            groups: [1, 2, 70],
            size: [4, 5],
            padding: [3, 0, 1, 2],
            dilation: [2, 1],
            pool: bordered(true, false),
            ..plain
        },
        // Strides in one direction alone, with the channels of two positions in a site.
        Conv { groups: [2, 2, 16], size: [3, 4], stride: [1, 3], padding: [1, 2, 1, 3], ..plain },
    ]
}

/// A network of any geometry: height and width of its input, and what it is made of.
///
/// Half of them have square kernels; the others differ from side to side, in any way that leaves an output.
pub fn any_conv(seed: u64) -> ([usize; 2], Conv) {
    (0..).find_map(|attempt| drawn_conv(seed, attempt)).expect("there is no end of attempts")
}

/// `None` where there is no output.
fn drawn_conv(seed: u64, attempt: u32) -> Option<([usize; 2], Conv)> {
    let mut n_drawn = 0;
    // Below a number, which is at least 1.
    let mut below = |end: usize| {
        n_drawn += 1;
        philox(seed, [n_drawn, attempt, 0, 9])[0] as usize % end
    };
    let input = [1 + below(8), 1 + below(8)];
    let groups = [1 + below(3), 1 + below(2), 1 + below(39)];
    let (own_biases, skip, has_pool) = (below(2) == 1, below(2) == 1, below(3) > 0);
    let plain =
        Conv { groups, size: [1; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2], pool: None, skip, own_biases };
    let mut conv = if below(2) == 1 {
        let (size, stride) = (1 + below(5), 1 + below(3));
        plain.square(size, stride, below(size + 2))
    } else {
        let size = [1 + below(5), 1 + below(5)];
        // Most have no holes.
        let dilation = [1 + below(4) / 2, 1 + below(4) / 2];
        let padding = [0, 1, 2, 3].map(|side| below(dilation[side % 2] * (size[side % 2] - 1) + 3));
        Conv { size, stride: [1 + below(3), 1 + below(3)], padding, dilation, ..plain }
    };
    let shape = conv.kernel(input).output();
    if has_pool {
        let kind = if below(3) == 0 { PoolKind::Max } else { PoolKind::Mean };
        let kernel = [1 + below(3), 1 + below(3)];
        let padding = if below(2) == 1 { [0; 4] } else { [0, 1, 2, 3].map(|side| below(kernel[side % 2])) };
        let (ceil, counts_padding) = (below(2) == 1, below(2) == 1);
        let stride = [1 + below(3), 1 + below(3)];
        conv.pool = Some(Pool { padding, ceil, counts_padding, ..Pool::new(kind, kernel, stride) });
    }
    let pooled = conv.pool.map_or(shape, |pool| pool.output(shape));
    (!shape.contains(&0) && !pooled.contains(&0)).then_some((input, conv))
}

/// Sums that the event-driven engine adds as 32-bit floats.
pub const FLOATS: Precision = Precision { n_steps: 16, sum_bits: 24, weight_bits: 25, may_saturate: true };
/// Sums that are added as 16-bit integers.
pub const INTEGERS: Precision = Precision { sum_bits: 15, ..FLOATS };
/// Weights of 16 bits, whose sums are added as 32-bit integers.
pub const SHORTS: Precision = Precision { weight_bits: 16, ..FLOATS };
/// Weights of 14 bits, of which four are added up in 16 bits, and more in 32.
pub const SMALL_SHORTS: Precision = Precision { weight_bits: 14, ..FLOATS };
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
                all.push(RunSettings { encoding, neuron: NeuronConfig::default(), reset, readout, n_steps, seed: 42 });
            }
        }
    }
    all
}

/// Every neuron whose spikes carry more than 0 or 1, with spikes and a constant current for input, and every readout.
///
/// A network for them is rounded for [`graded_precision`].
pub fn graded_settings(n_steps: usize) -> Vec<RunSettings> {
    let counting = |levels, rate_cap| NeuronConfig { kind: NeuronKind::Counting, levels, rate_cap };
    let ternary = NeuronConfig { kind: NeuronKind::Ternary, ..NeuronConfig::default() };
    let neurons = [
        ternary,
        counting(1, RateCap::Step),
        counting(1, RateCap::Run),
        counting(2, RateCap::Run),
        counting(MOST_LEVELS, RateCap::Step),
        NeuronConfig { kind: NeuronKind::Waiting, ..NeuronConfig::default() },
    ];
    let mut all = Vec::new();
    for neuron in neurons {
        for encoding in [Encoding::Poisson, Encoding::Constant] {
            for &readout in Readout::ALL {
                all.push(RunSettings { encoding, neuron, reset: Reset::Subtract, readout, n_steps, seed: 42 });
            }
        }
    }
    all
}

/// Most quanta in a threshold of [`graded_settings`].
const MOST_LEVELS: u32 = 8;

/// On which sums are exact for [`graded_settings`] of some steps.
pub fn graded_precision(n_steps: usize, of: Precision) -> Precision {
    Precision { n_steps: 4 * MOST_LEVELS as usize * n_steps, may_saturate: false, ..of }
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
