//! Spiking networks of every shape that the event-driven engine has a kernel for, and images to run them on.
//!
//! Weights and pixels are words of [`snn::philox`] times powers of two and square roots, which every CPU computes alike.

use std::fmt;

use model::population::{Pool, PoolKind};
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::philox::philox;
use snn::wiring::Source;
use snn::{Connection, Kernel, SpikingLayer, SpikingNetwork, Wiring};

/// What [`philox`] draws numbers for; no other part of the program draws under these.
const WEIGHT_STREAM: u32 = 101;
const BIAS_STREAM: u32 = 102;
const PIXEL_STREAM: u32 = 103;

/// A uniform number in [−1, 1).
fn uniform(seed: u64, counter: [u32; 4]) -> f64 {
    f64::from(philox(seed, counter)[0]) / f64::from(1_u32 << 31) - 1.0
}

/// How the event-driven engine holds and adds up weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// 32-bit floats.
    Floats,
    /// 16-bit integers.
    Integers,
    /// Bytes that are added up in 16 bits.
    Bytes,
    /// Bytes of 7 bits, of which two add up to a byte.
    SmallBytes,
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Numbers {
    /// Part of a case's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floats => "floats",
            Self::Integers => "integers",
            Self::Bytes => "bytes",
            Self::SmallBytes => "small-bytes",
        }
    }

    /// - `n_steps`: of a run
    pub fn precision(self, n_steps: usize) -> Precision {
        let (sum_bits, weight_bits) = match self {
            Self::Floats => (24, 25),
            Self::Integers => (15, 25),
            Self::Bytes => (15, 8),
            Self::SmallBytes => (15, 7),
        };
        Precision { n_steps, sum_bits, weight_bits, may_saturate: true }
    }
}

/// A network of random weights, layer by layer.
#[derive(Debug, Clone)]
pub struct Plan {
    input: [usize; 3],
    /// Wirings of each layer.
    layers: Vec<Vec<Wiring>>,
    /// Pools on the way to the layer that comes next.
    pools: Vec<Pool>,
    /// Factor of all weights and biases.
    scale: f64,
}

/// An image of so many channels, rows and columns, with no layer yet.
pub fn image(channels: usize, height: usize, width: usize) -> Plan {
    Plan { input: [channels, height, width], layers: Vec::new(), pools: Vec::new(), scale: 1.0 }
}

/// A vector of so many inputs, with no layer yet.
pub fn vector(n: usize) -> Plan {
    image(n, 1, 1)
}

impl Plan {
    /// Shape of the input, for 0, or of a layer, counted from 1.
    fn shape(&self, source: usize) -> [usize; 3] {
        source.checked_sub(1).map_or(self.input, |layer| self.layers[layer][0].kernel.output())
    }

    fn wiring(&mut self, source: usize, kernel: impl FnOnce([usize; 3]) -> Kernel) -> Wiring {
        let (source_shape, pools) = (self.shape(source), std::mem::take(&mut self.pools));
        let pooled = pools.iter().fold(source_shape, |shape, pool| pool.output(shape));
        Wiring { source: Source::from_index(source), source_shape, pools, kernel: kernel(pooled) }
    }

    fn next(mut self, kernel: impl FnOnce([usize; 3]) -> Kernel) -> Self {
        let wiring = self.wiring(self.layers.len(), kernel);
        self.layers.push(vec![wiring]);
        self
    }

    /// A fully connected layer of what came last.
    pub fn dense(self, n_out: usize) -> Self {
        self.next(|shape| Kernel::dense(shape.iter().product(), n_out))
    }

    /// A convolution of what came last.
    pub fn conv(self, channels: usize, size: usize, stride: usize, padding: usize) -> Self {
        self.grouped(1, channels, size, stride, padding)
    }

    /// The same in groups of channels.
    pub fn grouped(self, groups: usize, channels: usize, size: usize, stride: usize, padding: usize) -> Self {
        self.next(|input| Kernel::square(input, channels, size, stride, padding, groups))
    }

    /// A pool on the way to the layer, or the connection, that comes next.
    pub fn pool(mut self, kind: PoolKind, kernel: [usize; 2], stride: [usize; 2]) -> Self {
        self.pools.push(Pool::new(kind, kernel, stride));
        self
    }

    /// A square average pool.
    pub fn mean(self, size: usize, stride: usize) -> Self {
        self.pool(PoolKind::Mean, [size; 2], [stride; 2])
    }

    /// A square max pool.
    pub fn max(self, size: usize, stride: usize) -> Self {
        self.pool(PoolKind::Max, [size; 2], [stride; 2])
    }

    fn also(mut self, source: usize, kernel: impl FnOnce([usize; 3]) -> Kernel) -> Self {
        let wiring = self.wiring(source, kernel);
        self.layers.last_mut().expect("a layer to connect to").push(wiring);
        self
    }

    /// A second connection to the last layer: one weight per channel, as a skip connection has.
    ///
    /// - `source`: 0 for the input, or a layer, counted from 1
    pub fn skip(self, source: usize) -> Self {
        self.also(source, |input| Kernel::square(input, input[0], 1, 1, 0, input[0]))
    }

    /// A second connection to the last layer: a convolution.
    ///
    /// - `source`: 0 for the input, or a layer, counted from 1
    pub fn also_conv(self, source: usize, size: usize, stride: usize, padding: usize) -> Self {
        let channels = self.shape(self.layers.len())[0];
        self.also(source, |input| Kernel::square(input, channels, size, stride, padding, 1))
    }

    /// A second connection to the last layer, fully connected.
    ///
    /// - `source`: 0 for the input, or a layer, counted from 1
    pub fn also_dense(self, source: usize) -> Self {
        let n_out = self.shape(self.layers.len())[0];
        self.also(source, |input| Kernel::dense(input.iter().product(), n_out))
    }

    /// The same network with weights and biases times a factor.
    pub fn times(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// The network with random weights, of which neurons fire now and then.
    ///
    /// - `seed`: of the weights
    pub fn network(&self, seed: u64, precision: Precision) -> SpikingNetwork {
        let layers = (0_u32..).zip(&self.layers).map(|(idx, wirings)| {
            let n_channels = wirings[0].kernel.channels;
            let connections = (0_u32..).zip(wirings).map(|(at, wiring)| {
                let row_len = wiring.kernel.row_len();
                let scale = self.scale * 3.0 / ((row_len * wiring.multiplicity()) as f64).sqrt();
                let weight = |weight: usize| scale * uniform(seed, [weight as u32, at, idx, WEIGHT_STREAM]);
                Connection { wiring: wiring.clone(), weights: (0..n_channels * row_len).map(weight).collect() }
            });
            let bias = |channel: usize| self.scale * (0.1 + 0.3 * uniform(seed, [channel as u32, 0, idx, BIAS_STREAM]));
            let exact = ExactLayer {
                name: format!("layer {}", idx + 1),
                connections: connections.collect(),
                biases: (0..n_channels).map(bias).collect::<Vec<f64>>().into(),
                initial_potentials: (0..n_channels).map(|channel| 0.5 - 0.3 * (channel % 3) as f64).collect(),
                thresholds: vec![1.0; n_channels],
            };
            SpikingLayer::round(&exact, precision).expect("weights of a few thresholds")
        });
        SpikingNetwork::new(self.input, layers.collect()).expect("layers that fit each other")
    }
}

/// The networks by name.
pub fn plans() -> Vec<(&'static str, Plan)> {
    let mut all = fully_connected();
    all.extend(looked_up());
    all.extend(sliding());
    all.extend(other_convolutions());
    all.extend(pooled());
    all.extend(sums_of_connections());
    all
}

fn fully_connected() -> Vec<(&'static str, Plan)> {
    vec![
        // One block of neurons and one more neuron; two blocks and two; the only narrow site.
        ("dense", vector(70).dense(65).dense(130).dense(10)),
        ("dense-tiny", vector(1).dense(1)),
        ("dense-narrow", vector(7).dense(16).dense(3)),
        // Lists of hundreds, which are centred.
        ("dense-long", vector(300).dense(200).dense(10)),
        ("dense-wide", vector(40).dense(700).dense(20)),
    ]
}

/// Convolutions of which each neuron sees few inputs of a row.
fn looked_up() -> Vec<(&'static str, Plan)> {
    vec![
        ("grey-8", image(1, 9, 11).conv(8, 3, 1, 1).dense(10)),
        ("grey-16", image(1, 9, 11).conv(16, 5, 1, 2).dense(10)),
        ("grey-16-stride", image(1, 9, 11).conv(16, 3, 2, 1).dense(10)),
        ("two-channels-32", image(2, 9, 11).conv(32, 3, 1, 1).dense(10)),
        // Of fewer rows than the kernel has.
        ("grey-flat", image(1, 3, 13).conv(16, 5, 1, 2).dense(10)),
        // A threshold is so many steps of the grid that it needs more than 16 bits.
        ("grey-weak", image(1, 9, 11).conv(16, 5, 1, 2).times(0.2).dense(10)),
        // Of one channel of spikes.
        ("grey-later", image(2, 9, 9).conv(1, 3, 1, 1).conv(16, 3, 1, 2).dense(5)),
    ]
}

/// Convolutions of stride 1 with as many channels as make up half a site, a site, and more.
fn sliding() -> Vec<(&'static str, Plan)> {
    vec![
        ("conv3-wide", image(3, 8, 9).conv(50, 3, 1, 1).dense(10)),
        ("conv3-blocks", image(2, 7, 6).conv(130, 3, 1, 0).dense(10)),
        ("conv5-wide", image(3, 8, 9).conv(50, 5, 1, 1).dense(10)),
        ("conv5-blocks", image(3, 6, 7).conv(70, 5, 1, 4).dense(10)),
        ("conv3-twin", image(3, 8, 9).conv(32, 3, 1, 1).dense(10)),
        ("conv5-twin", image(3, 8, 9).conv(32, 5, 1, 4).dense(10)),
        // As many neurons as make the steps of their spikes lie apart.
        ("conv3-deep", image(3, 8, 8).conv(64, 3, 1, 1).conv(64, 3, 1, 1).dense(10)),
        // Behind pools of 4 and of 9, of which counts are multiplied with weights, or listed digit by digit.
        ("conv3-of-counts", image(2, 8, 8).conv(16, 3, 1, 1).mean(2, 2).conv(40, 3, 1, 1).dense(10)),
        ("conv5-of-counts", image(2, 8, 8).conv(64, 3, 1, 1).mean(2, 2).conv(48, 5, 1, 2).dense(10)),
        ("twin3-of-counts", image(2, 8, 8).conv(16, 3, 1, 1).mean(2, 2).conv(32, 3, 1, 1).dense(10)),
        ("twin5-of-counts", image(2, 8, 8).conv(16, 3, 1, 1).mean(2, 2).conv(32, 5, 1, 2).dense(10)),
        ("conv5-of-few-counts", image(2, 8, 8).conv(2, 3, 1, 1).mean(2, 2).conv(40, 5, 1, 2).dense(10)),
        ("twin5-of-few-counts", image(2, 8, 8).conv(2, 3, 1, 1).mean(2, 2).conv(32, 5, 1, 2).dense(10)),
        ("twin3-of-nine", image(2, 8, 8).conv(16, 3, 1, 1).mean(3, 1).conv(32, 3, 1, 1).dense(10)),
        ("conv5-of-nine", image(2, 8, 8).conv(16, 3, 1, 1).mean(3, 1).conv(40, 5, 1, 3).dense(10)),
    ]
}

/// Convolutions with strides, small kernels and groups, whose inputs are listed for each site.
fn other_convolutions() -> Vec<(&'static str, Plan)> {
    vec![
        ("conv1-conv2", image(3, 8, 9).conv(20, 1, 1, 0).conv(12, 2, 3, 0).dense(10)),
        ("conv-strides", image(3, 9, 10).conv(24, 5, 2, 2).conv(70, 3, 2, 1).dense(10)),
        ("conv-narrow", image(2, 4, 4).conv(1, 2, 1, 0).dense(3)),
        ("twin-strides", image(3, 9, 11).conv(32, 3, 2, 1).conv(32, 2, 1, 1).dense(10)),
        // Neurons at the border see nothing but padding.
        ("conv-far-padding", image(2, 4, 5).conv(64, 2, 1, 3).dense(10)),
        ("groups", image(4, 8, 9).grouped(2, 10, 2, 1, 0).dense(10)),
        ("groups-depthwise", image(70, 5, 6).grouped(70, 70, 3, 1, 1).dense(10)),
        ("groups-twin", image(4, 6, 7).grouped(4, 32, 3, 1, 1).grouped(4, 128, 3, 1, 1).dense(10)),
        ("groups-of-counts", image(2, 8, 8).conv(16, 3, 1, 1).mean(2, 2).grouped(8, 96, 3, 1, 1).dense(10)),
    ]
}

/// Pools before fully connected layers and before convolutions that do not slide.
fn pooled() -> Vec<(&'static str, Plan)> {
    vec![
        ("dense-of-counts", image(1, 8, 8).conv(16, 3, 1, 1).mean(2, 2).dense(40).dense(10)),
        ("dense-of-nine", image(2, 7, 8).conv(20, 3, 1, 1).mean(3, 1).dense(40).dense(10)),
        ("dense-of-means", image(2, 8, 8).conv(24, 3, 1, 1).mean(8, 8).dense(40).dense(10)),
        ("dense-of-pairs", image(2, 8, 8).conv(12, 3, 1, 1).pool(PoolKind::Mean, [1, 2], [1, 2]).dense(40).dense(10)),
        ("dense-of-pixel-counts", image(1, 8, 8).mean(2, 2).dense(40).dense(10)),
        // Up to 256 spikes of a step are one count.
        ("dense-of-pixels", image(1, 16, 16).mean(16, 16).dense(20).dense(4)),
        (
            "twin-of-counts",
            image(2, 12, 12).conv(8, 3, 1, 1).mean(2, 2).conv(32, 2, 1, 1).mean(3, 1).conv(32, 3, 2, 1).dense(10),
        ),
        ("conv-of-counts", image(2, 8, 8).conv(16, 3, 1, 1).mean(2, 2).conv(20, 3, 1, 1).dense(10)),
        (
            "conv-of-pairs",
            image(2, 8, 16).conv(16, 3, 1, 1).pool(PoolKind::Mean, [1, 2], [1, 2]).conv(20, 3, 1, 1).dense(10),
        ),
        // Columns behind the last window are left out.
        ("conv-of-pixel-nines", image(16, 6, 13).mean(3, 3).conv(40, 3, 1, 1).dense(10)),
        // So many rows of weights that those of all counts would not stay in the cache.
        ("conv4-of-counts", image(2, 8, 8).conv(64, 3, 1, 1).mean(2, 2).conv(48, 4, 2, 3).dense(10)),
        ("mean-odd", image(2, 7, 9).conv(12, 3, 1, 1).mean(2, 2).conv(20, 3, 2, 1).dense(10)),
        ("mean-twice", image(2, 9, 12).conv(12, 3, 1, 1).pool(PoolKind::Mean, [1, 2], [1, 2]).mean(2, 1).dense(10)),
        ("max", image(2, 8, 9).conv(16, 3, 1, 1).max(2, 2).conv(20, 3, 1, 1).dense(10)),
        ("max-max-mean", image(2, 8, 9).conv(16, 3, 1, 1).max(3, 1).max(2, 2).mean(2, 1).dense(10)),
    ]
}

/// Layers with two connections or three.
fn sums_of_connections() -> Vec<(&'static str, Plan)> {
    vec![
        ("residual", image(2, 8, 9).conv(16, 3, 1, 1).conv(16, 3, 1, 1).skip(1).dense(10)),
        (
            "residual-twin",
            image(2, 8, 8)
                .conv(32, 3, 1, 1)
                .mean(2, 2)
                .conv(32, 3, 1, 1)
                .mean(2, 2)
                .skip(1)
                .also_conv(0, 1, 2, 0)
                .dense(10),
        ),
        ("residual-max", image(2, 8, 8).conv(40, 3, 1, 1).max(2, 2).conv(40, 3, 1, 1).max(2, 2).skip(1).dense(10)),
        ("residual-dense", vector(40).dense(65).dense(65).skip(1).dense(10).also_dense(1)),
        ("pixels-twice", image(3, 8, 9).conv(20, 3, 1, 1).also_conv(0, 1, 1, 0).dense(10).also_dense(0)),
    ]
}

/// Two layers whose potentials run away, to where they are held, with each neuron there as often as given.
///
/// 2,000 steps of −90 thresholds pass the limits of the finest grid of a long run and of 16-bit sums.
pub fn saturating(n: usize, precision: Precision) -> SpikingNetwork {
    let layer = |source: usize, source_shape: [usize; 3], rows: &[&[f64]]| {
        let n_out = rows.len() * n;
        let exact = ExactLayer {
            name: format!("dense {}", source + 1),
            connections: vec![Connection {
                wiring: Wiring::dense(Source::from_index(source), source_shape, n_out),
                weights: (0..n_out).flat_map(|neuron| rows[neuron % rows.len()].iter().copied()).collect(),
            }],
            biases: vec![0.0; n_out].into(),
            initial_potentials: vec![0.0; n_out],
            thresholds: vec![1.0; n_out],
        };
        SpikingLayer::round(&exact, precision).expect("weights of a hundred thresholds")
    };
    // Only the first two of the first layer's neurons reach the second.
    let row: Vec<f64> = [1.0, -80.0].into_iter().chain(std::iter::repeat(0.0)).take(2 * n).collect();
    let layers = vec![layer(0, [1, 1, 1], &[&[-90.0], &[60.0]]), layer(1, [2 * n, 1, 1], &[&row])];
    SpikingNetwork::new([1, 1, 1], layers).expect("layers that fit each other")
}

/// A convolution whose second half of channels has twice the biases of the first: the same integers on grids twice as coarse.
pub fn of_two_scales(precision: Precision) -> SpikingNetwork {
    let kernel = Kernel::square([1, 3, 3], 128, 1, 1, 0, 1);
    let of_channels = |value: f64| (0..128).map(|channel| if channel < 64 { value } else { 2.0 * value }).collect();
    let exact = ExactLayer {
        name: "conv 1".to_owned(),
        connections: vec![Connection {
            wiring: Wiring { source: Source::INPUT, source_shape: [1, 3, 3], pools: Vec::new(), kernel },
            weights: of_channels(0.5),
        }],
        biases: of_channels(0.3).into(),
        initial_potentials: vec![0.0; 128],
        thresholds: vec![1.0; 128],
    };
    let layer = SpikingLayer::round(&exact, precision).expect("weights of a threshold");
    SpikingNetwork::new([1, 3, 3], vec![layer]).expect("one layer")
}

/// Nine hundred inputs with weights of one sign: what pixels k/255 differ from these fractions by adds up.
///
/// - `sum_bits`: with more than 16 it may change a rounded current
pub fn of_one_sign(sum_bits: u32) -> SpikingNetwork {
    let weight = |weight: u32| uniform(3, [weight, 0, 0, WEIGHT_STREAM]).abs() / 8.0;
    let exact = ExactLayer {
        name: "dense 1".to_owned(),
        connections: vec![Connection {
            wiring: Wiring::dense(Source::INPUT, [900, 1, 1], 40),
            weights: (0..900 * 40).map(weight).collect(),
        }],
        biases: vec![0.0; 40].into(),
        initial_potentials: vec![0.0; 40],
        thresholds: vec![1.0; 40],
    };
    let layer = SpikingLayer::round(&exact, Precision { n_steps: 3, sum_bits, weight_bits: 16, may_saturate: true });
    SpikingNetwork::new([900, 1, 1], vec![layer.expect("weights below one")]).expect("one layer")
}

/// What a pixel of the images is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// Any fraction.
    Fractions,
    /// k/255.
    Bytes,
}

/// Images of a kind of pixels: half dark twice, dark but for a corner of the first channel, bright, black, white, dark but for the
/// last column of every channel.
pub const N_IMAGES: usize = 7;

/// [`N_IMAGES`] of a shape.
pub fn images(pixels: Pixels, [channels, height, width]: [usize; 3]) -> Vec<Vec<f32>> {
    let n = channels * height * width;
    let pixel = |image: u32, at: usize| {
        let draw = uniform(11, [at as u32, image, 0, PIXEL_STREAM]);
        let (column, row) = (at % width, at / width);
        let value = match image {
            0 | 1 => draw.max(0.0),
            // For vectors, which have no rows, the first few inputs.
            2 if row < 3 && column < 5 => draw.abs(),
            3 => 1.0 - draw.abs() / 8.0,
            5 => 1.0,
            6 if column + 1 == width && (width > 1 || at + 1 == n) => draw.abs(),
            _ => 0.0,
        };
        match pixels {
            Pixels::Fractions => value as f32,
            Pixels::Bytes => (value * 255.0).round() as f32 / 255.0,
        }
    };
    (0..N_IMAGES as u32).map(|image| (0..n).map(|at| pixel(image, at)).collect()).collect()
}
