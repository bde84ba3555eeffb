//! The event-driven engine's parts on their own, next to what the machine can do at most.
//!
//! `cargo bench --workspace --bench engine` prints a table. Items are synaptic operations (random numbers for `encode`), as if
//! every spike's weights were added one by one, so that they compare with `peak`: loads of weights from the first-level cache,
//! each with an addition, at the same SIMD level. One thread; networks, images and spikes are random, of fixed seeds. Before the
//! table stands which compute kernels run each network.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(missing_docs, reason = "a program of its own")]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use engine_event::EventEngine;
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use model::population::{Pool, PoolKind};
use pulp::{Arch, Simd, WithSimd};
use snn::encoder::encode;
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::philox::philox;
use snn::{Connection, Engine, Kernel, RunSettings, Sample, SpikingLayer, SpikingNetwork, SynapticOperations, Wiring};

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// Time steps T.
const STEPS: usize = 32;

/// Samples of a call: a batch of the engine's.
const SAMPLES: usize = 16;

/// `sum_bits`: weights are bytes that are added to 16-bit integers, for they fit here, or 32-bit floats.
const SUM_BITS: [u32; 2] = [15, 24];

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first pool of the program");
    for (name, network) in NETWORKS {
        for sum_bits in SUM_BITS {
            let layers = engine_event::explain(&network(sum_bits), &settings(Encoding::Poisson));
            let kernels: Vec<&str> = layers.iter().map(|layer| layer.synapses.kernel).collect();
            println!("{name}, {sum_bits}: {}", kernels.join(", "));
        }
    }
    divan::main();
}

/// Makes a network with a number of `sum_bits`.
type Make = fn(u32) -> SpikingNetwork;

/// The networks that are timed.
const NETWORKS: [(&str, Make); 4] = [
    ("layer_512_to_512", |sum_bits| dense(&[512, 512], sum_bits)),
    ("layer_512_to_2048", |sum_bits| dense(&[512, 2048], sum_bits)),
    ("network_784_512_512_10", |sum_bits| dense(&[784, 512, 512, 10], sum_bits)),
    ("network_lenet", lenet),
];

fn settings(encoding: Encoding) -> RunSettings {
    RunSettings {
        encoding,
        neuron: NeuronConfig::default(),
        reset: Reset::Subtract,
        readout: Readout::Spikes,
        n_steps: STEPS,
        seed: 0,
    }
}

/// Neurons whose sums stay in registers, as in the engine.
const LANES: usize = 64;

/// Rows of weights: 16 KiB of 16-bit ones, 32 KiB of 32-bit ones.
const ROWS: usize = 128;

/// Adds all rows up, to `C` sums that do not wait for each other, and how often that is done, so that the first and the last are
/// of no weight.
struct LoadAndAdd<'a, N, const C: usize>(&'a [[N; LANES]; ROWS], usize);

trait Addend: Copy + Default {
    fn plus(self, other: Self) -> Self;
}

impl Addend for i16 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Addend for f32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl<N: Addend, const C: usize> WithSimd for LoadAndAdd<'_, N, C> {
    type Output = [[N; LANES]; C];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Self(rows, n_times) = self;
        let mut sums = [[N::default(); LANES]; C];
        for _ in 0..n_times {
            // Hidden from the compiler, or it would add up once and multiply.
            let rows = black_box(rows);
            for rows in rows.chunks_exact(C) {
                for (sums, row) in sums.iter_mut().zip(rows) {
                    for (sum, weight) in sums.iter_mut().zip(row) {
                        *sum = sum.plus(*weight);
                    }
                }
            }
        }
        sums
    }
}

/// Few sums wait for each other, many do not stay in registers: the best of these is the machine's peak.
#[divan::bench(types = [i16, f32], consts = [1, 2, 4])]
fn peak<N: Addend, const C: usize>(bencher: Bencher<'_, '_>) {
    const TIMES: usize = 100;
    let rows = Box::new([[N::default(); LANES]; ROWS]);
    bencher
        .counter(ItemsCount::new(TIMES * ROWS * LANES))
        .bench_local(|| Arch::new().dispatch(LoadAndAdd::<N, C>(&rows, TIMES)));
}

/// Uniform numbers in [0, 1) from a seed.
fn uniform(seed: u64, n: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from(philox(seed, [i as u32, 0, 0, 7])[0]) / 2_f64.powi(32)).collect()
}

/// Images of which a share of the pixels is lit, evenly from dark to bright.
fn images(n_pixels: usize, lit: f64) -> Vec<Vec<f32>> {
    (0..SAMPLES as u64)
        .map(|image| uniform(1000 + image, n_pixels).iter().map(|&at| (1.0 - at / lit).max(0.0) as f32).collect())
        .collect()
}

#[divan::bench(args = [Encoding::Poisson, Encoding::Systematic])]
fn encode_784_pixels(bencher: Bencher<'_, '_>, encoding: Encoding) {
    let images = images(784, 0.5);
    let n_lit = images[0].iter().filter(|pixel| **pixel > 0.0).count();
    bencher
        .counter(ItemsCount::new(n_lit * STEPS))
        .bench_local(|| encode(encoding, 0, 0, [1, 28, 28], &images[0], 0..STEPS));
}

/// A layer whose neurons fire now and then.
fn layer(name: &str, wiring: Wiring, seed: u64, sum_bits: u32) -> SpikingLayer {
    let kernel = wiring.kernel;
    let scale = 2.0 / (kernel.row_len() as f64).sqrt();
    let weights = uniform(seed, kernel.channels * kernel.row_len());
    let exact = ExactLayer {
        name: name.to_owned(),
        connections: vec![Connection {
            wiring,
            weights: weights.iter().map(|weight| (weight - 0.45) * scale).collect(),
        }],
        biases: vec![0.0; kernel.channels].into(),
        initial_potentials: vec![0.5; kernel.channels],
        thresholds: vec![1.0; kernel.channels],
    };
    SpikingLayer::round(&exact, Precision { sum_bits, ..STEPS.into() }).expect("weights below one")
}

fn dense(sizes: &[usize], sum_bits: u32) -> SpikingNetwork {
    let layers = sizes.windows(2).enumerate().map(|(idx, pair)| {
        layer(
            &format!("dense {}", idx + 1),
            Wiring::dense(snn::Source::from_index(idx), [pair[0], 1, 1], pair[1]),
            idx as u64,
            sum_bits,
        )
    });
    SpikingNetwork::new([sizes[0], 1, 1], layers.collect()).expect("layers that fit each other")
}

/// 16c5-ap2-32c5-ap2-128-10 on 28 × 28 pixels.
fn lenet(sum_bits: u32) -> SpikingNetwork {
    let conv = |source, source_shape, pools: Vec<Pool>, input, channels| {
        let kernel = Kernel::square(input, channels, 5, 1, 2, 1);
        Wiring { source: snn::Source::from_index(source), source_shape, pools, kernel }
    };
    let halves = || vec![Pool::new(PoolKind::Mean, [2, 2], [2, 2])];
    let first = conv(0, [1, 28, 28], Vec::new(), [1, 28, 28], 16);
    let second = conv(1, [16, 28, 28], halves(), [16, 14, 14], 32);
    let third = Wiring {
        source: snn::Source::of_layer(1),
        source_shape: [32, 14, 14],
        pools: halves(),
        kernel: Kernel::dense(32 * 7 * 7, 128),
    };
    let layers = [first, second, third, Wiring::dense(snn::Source::of_layer(2), [128, 1, 1], 10)];
    let layers = (0..).zip(layers).map(|(idx, wiring)| layer(&format!("layer {idx}"), wiring, idx, sum_bits));
    SpikingNetwork::new([1, 28, 28], layers.collect()).expect("layers that fit each other")
}

/// Times a network on random images.
fn run(bencher: Bencher<'_, '_>, network: &SpikingNetwork, encoding: Encoding, lit: f64) {
    let settings = settings(encoding);
    let images = images(network.n_in(), lit);
    let samples = Sample::consecutive(0, &images);
    let engine = EventEngine::new(network);
    let traces = engine.run(&samples, &settings).expect("samples that fit");
    let operations = SynapticOperations::new(network);
    let n_operations: u64 = traces.iter().flat_map(|trace| operations.of(trace)).flatten().sum();
    bencher
        .counter(ItemsCount::new(n_operations))
        .bench_local(|| engine.run(&samples, &settings).expect("samples that fit"));
}

#[divan::bench(args = SUM_BITS)]
fn layer_512_to_512(bencher: Bencher<'_, '_>, sum_bits: u32) {
    run(bencher, &dense(&[512, 512], sum_bits), Encoding::Regular, 0.3);
}

#[divan::bench(args = SUM_BITS)]
fn layer_512_to_2048(bencher: Bencher<'_, '_>, sum_bits: u32) {
    run(bencher, &dense(&[512, 2048], sum_bits), Encoding::Regular, 0.3);
}

#[divan::bench(args = SUM_BITS)]
fn network_784_512_512_10(bencher: Bencher<'_, '_>, sum_bits: u32) {
    run(bencher, &dense(&[784, 512, 512, 10], sum_bits), Encoding::Poisson, 0.5);
}

#[divan::bench(args = SUM_BITS)]
fn network_lenet(bencher: Bencher<'_, '_>, sum_bits: u32) {
    run(bencher, &lenet(sum_bits), Encoding::Poisson, 0.2);
}
