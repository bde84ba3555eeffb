//! Layers and networks of the sizes of `ImageNet` and of MNIST, next to what the machine's caches and memory give.
//!
//! `cargo bench -p engine-event --bench layers` prints a table; words behind `--` choose the rows whose names hold one of them. A row
//! says which kernel runs the layer, how many synaptic operations a second of one thread's time does, as if every spike's weights were
//! added one by one, and how many bytes of weights a second that would be if none were read twice in a register: next to the rates at
//! which the machine reads from each level of its memory, this tells what bounds a layer. Times are those that the thread had a
//! processor, where the system tells, and medians of several runs. Random weights with long tails; fixed seeds.

#![allow(missing_docs, reason = "a program of its own")]

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use engine_event::EventEngine;
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use model::population::{Pool, PoolKind};
use pulp::{Arch, Simd, WithSimd};
use snn::network::ExactLayer;
use snn::{
    Connection, Engine, Kernel, RunSettings, Sample, Source, SpikingLayer, SpikingNetwork, SynapticOperations, Wiring,
};

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// Time steps T.
const STEPS: usize = 32;

/// Spikes of an input per step, on average over the inputs of a layer.
const RATES: [f64; 3] = [0.05, 0.15, 0.4];

/// Runs of which the median counts.
const RUNS: usize = 3;

/// Bytes that are read for a rate: within each cache of most machines, and beyond all of them.
const READ: [(&str, usize); 4] = [("L1", 16 << 10), ("L2", 256 << 10), ("L3", 8 << 20), ("memory", 512 << 20)];

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first pool of the program");
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    if is_chosen("peaks") {
        for (name, n_bytes) in READ {
            println!("{name:<8} {:>6.1} GB/s read in order", read_rate(n_bytes) / 1e9);
        }
    }
    println!("{:<28} {:<26} {:>9} {:>9} {:>8} {:>8}", "layer, rate", "kernel", "ms", "Mop", "Gop/s", "spikes");
    for (name, n_samples, wiring) in layers() {
        let chosen: Vec<(String, f64)> =
            RATES.iter().map(|&rate| (format!("{name}, {:.0} %", 100.0 * rate), rate)).collect();
        let chosen: Vec<_> = chosen.into_iter().filter(|(name, _)| is_chosen(name)).collect();
        if chosen.is_empty() {
            continue;
        }
        let (shape, output) = (wiring.source_shape, wiring.kernel.output());
        // What the decision is read from: a few neurons that see one position, so that nothing is counted of those that are timed.
        let readout = Kernel::square(output, 10, 1, output[1].max(output[2]), 0, 1);
        let readout = Wiring { source: Source::of_layer(0), source_shape: output, pools: Vec::new(), kernel: readout };
        let layers = vec![layer(&name, wiring, 0.3), layer("readout", readout, 1.0)];
        let network = SpikingNetwork::new(shape, layers).expect("layers that fit each other");
        let engine = EventEngine::new(&network);
        for (name, rate) in chosen {
            row(&name, &network, &engine, n_samples, Encoding::Regular, 2.0 * rate);
        }
    }
    for (name, n_samples, make) in NETWORKS {
        if is_chosen(name) {
            let network = make();
            row(name, &network, &EventEngine::new(&network), n_samples, Encoding::Constant, 1.0);
        }
    }
}

/// Name, samples of a run and wiring of the layers that are timed alone.
fn layers() -> Vec<(String, usize, Wiring)> {
    let conv = |channels: usize, out: usize, side: usize| {
        let input = [channels, side, side];
        let kernel = Kernel::square(input, out, 3, 1, 1, 1);
        let wiring = Wiring { source: Source::INPUT, source_shape: input, pools: Vec::new(), kernel };
        (format!("conv {channels}-{out} at {side}"), 1, wiring)
    };
    let dense = |n_in: usize, n_out: usize, n_samples: usize| {
        (format!("dense {n_in}-{n_out}, {n_samples}"), n_samples, Wiring::dense(Source::INPUT, [n_in, 1, 1], n_out))
    };
    vec![
        conv(64, 128, 112),
        conv(256, 256, 56),
        conv(512, 512, 28),
        conv(512, 512, 14),
        conv(64, 64, 32),
        conv(16, 16, 32),
        dense(512, 512, 16),
        dense(4096, 4096, 8),
        dense(25088, 4096, 1),
        dense(25088, 4096, 8),
    ]
}

/// Name, samples of a run and maker of a network.
type NetworkRow = (&'static str, usize, fn() -> SpikingNetwork);

const NETWORKS: [NetworkRow; 3] = [("mlp 784-512-512-10", 16, mlp), ("lenet", 16, lenet), ("vgg-11 at 224", 1, vgg_11)];

fn mlp() -> SpikingNetwork {
    let sizes = [784, 512, 512, 10];
    let wiring = |(idx, pair): (usize, &[usize])| Wiring::dense(Source::from_index(idx), [pair[0], 1, 1], pair[1]);
    network([784, 1, 1], sizes.windows(2).enumerate().map(wiring).collect())
}

/// A convolution that keeps the sides of its input.
fn same(source: usize, source_shape: [usize; 3], pools: Vec<Pool>, channels: usize, size: usize) -> Wiring {
    let input = pools.iter().fold(source_shape, |shape, pool| pool.output(shape));
    let kernel = Kernel::square(input, channels, size, 1, size / 2, 1);
    Wiring { source: Source::from_index(source), source_shape, pools, kernel }
}

/// 16c5-ap2-32c5-ap2-128-10 on 28 × 28 pixels.
fn lenet() -> SpikingNetwork {
    let halves = || vec![Pool::new(PoolKind::Mean, [2, 2], [2, 2])];
    let behind = Wiring {
        source: Source::of_layer(1),
        source_shape: [32, 14, 14],
        pools: halves(),
        kernel: Kernel::dense(32 * 7 * 7, 128),
    };
    let wirings = vec![
        same(0, [1, 28, 28], Vec::new(), 16, 5),
        same(1, [16, 28, 28], halves(), 32, 5),
        behind,
        Wiring::dense(Source::of_layer(2), [128, 1, 1], 10),
    ];
    network([1, 28, 28], wirings)
}

/// The convolutions and the classifier of VGG-11, for ten classes.
fn vgg_11() -> SpikingNetwork {
    let halves = || vec![Pool::new(PoolKind::Max, [2, 2], [2, 2])];
    let (mut wirings, mut shape) = (Vec::new(), [3, 224, 224]);
    for (idx, (channels, is_pooled)) in
        [(64, false), (128, true), (256, true), (256, false), (512, true), (512, false), (512, true), (512, false)]
            .into_iter()
            .enumerate()
    {
        let wiring = same(idx, shape, if is_pooled { halves() } else { Vec::new() }, channels, 3);
        shape = wiring.kernel.output();
        wirings.push(wiring);
    }
    wirings.push(Wiring {
        source: Source::of_layer(7),
        source_shape: shape,
        pools: halves(),
        kernel: Kernel::dense(512 * 7 * 7, 4096),
    });
    wirings.push(Wiring::dense(Source::of_layer(8), [4096, 1, 1], 4096));
    wirings.push(Wiring::dense(Source::of_layer(9), [4096, 1, 1], 10));
    network([3, 224, 224], wirings)
}

/// Weights for which neurons spike at about an eighth of the steps, layer after layer.
fn network(input: [usize; 3], wirings: Vec<Wiring>) -> SpikingNetwork {
    let layers = wirings.into_iter().enumerate().map(|(idx, wiring)| {
        let size = match (idx, wiring.max_pools().count(), wiring.sum_pools().count()) {
            (0, ..) => 0.7,
            (_, 0, 0) => 1.3,
            (_, 0, _) => 0.5,
            _ => 0.8,
        };
        layer(&format!("layer {idx}"), wiring, size)
    });
    SpikingNetwork::new(input, layers.collect()).expect("layers that fit each other")
}

/// A stream of numbers that look random.
struct Stream(u64);

impl Stream {
    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) >> 11) as f64 / 2_f64.powi(53)
    }
}

/// A layer with weights of mean zero, of an exponential distribution in either direction.
///
/// - `size`: what grows with their standard deviation, whatever the number of inputs
fn layer(name: &str, wiring: Wiring, size: f64) -> SpikingLayer {
    let kernel = wiring.kernel;
    let scale = size / (kernel.row_len() as f64).sqrt();
    let mut stream = Stream(kernel.row_len() as u64);
    let weights = (0..kernel.channels * kernel.row_len()).map(|_| {
        let at = 2.0 * stream.uniform() - 1.0;
        -(1.0 - at.abs()).ln() * scale * at.signum()
    });
    let exact = ExactLayer {
        name: name.to_owned(),
        connections: vec![Connection { weights: weights.collect(), wiring }],
        biases: vec![0.0; kernel.channels].into(),
        initial_potentials: vec![0.5; kernel.channels],
        thresholds: vec![1.0; kernel.channels],
    };
    SpikingLayer::round(&exact, STEPS).expect("weights below one")
}

/// Times runs of a network on random images, and prints a row of the table.
///
/// - `lit`: share of the pixels that are not dark
fn row(name: &str, network: &SpikingNetwork, engine: &EventEngine, n_samples: usize, encoding: Encoding, lit: f64) {
    let settings = RunSettings {
        encoding,
        neuron: NeuronConfig::default(),
        reset: Reset::Subtract,
        readout: Readout::Spikes,
        n_steps: STEPS,
        seed: 0,
    };
    let images: Vec<Vec<f32>> = (0..n_samples as u64)
        .map(|image| {
            let mut stream = Stream(1000 + image);
            (0..network.n_in()).map(|_| (1.0 - stream.uniform() / lit).max(0.0) as f32).collect()
        })
        .collect();
    let samples = Sample::consecutive(0, &images);
    let encode = || samples.iter().for_each(|sample| drop(black_box(sample.encode(network.input(), &settings))));
    let traces = engine.run(&samples, &settings).expect("samples that fit");
    let operations = SynapticOperations::new(network);
    let n_operations: u64 = traces.iter().flat_map(|trace| operations.of(trace)).flatten().sum();
    let rates: Vec<String> = traces[0]
        .spikes
        .iter()
        .map(|train| {
            let n: usize = (0..STEPS).map(|step| train.neurons(step).count()).sum();
            format!("{:.2}", n as f64 / (STEPS * train.n_neurons()) as f64)
        })
        .collect();
    // The time of the encoder, which is another matter, is taken off.
    let seconds = median(RUNS, || drop(black_box(engine.run(&samples, &settings)))) - median(RUNS, encode);
    let mut kernels: Vec<&str> =
        engine_event::explain(network, &settings).iter().map(|layer| layer.synapses.kernel).collect();
    kernels.dedup();
    println!(
        "{name:<28} {:<26} {:>9.2} {:>9.0} {:>8.2} {}",
        kernels.join(" "),
        1e3 * seconds,
        n_operations as f64 / 1e6,
        n_operations as f64 / seconds / 1e9,
        rates.join(" "),
    );
}

/// Seconds from which on the time that a thread had a processor is told to a few hundredths.
const LONG: f64 = 0.1;

/// Seconds that the median run takes.
fn median(n_runs: usize, mut run: impl FnMut()) -> f64 {
    let mut n_times = 1;
    let mut time = |n_times: usize| {
        let (start, on_processor) = (Instant::now(), time_on_processor());
        (0..n_times).for_each(|_| run());
        let elapsed = start.elapsed().as_secs_f64();
        on_processor.and_then(|before| Some(time_on_processor()? - before)).unwrap_or(elapsed)
    };
    while time(n_times) < LONG {
        n_times *= 2;
    }
    let mut seconds: Vec<f64> = (0..n_runs).map(|_| time(n_times) / n_times as f64).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[n_runs / 2]
}

/// Seconds that this thread had a processor so far, where the system tells.
fn time_on_processor() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}

/// Reads all numbers as often as that is said.
struct Read<'a>(&'a [u64], usize);

impl WithSimd for Read<'_> {
    type Output = u64;

    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> u64 {
        let mut sums = [0_u64; 32];
        for _ in 0..self.1 {
            for numbers in black_box(self.0).as_chunks::<32>().0 {
                for (sum, number) in sums.iter_mut().zip(black_box(numbers)) {
                    *sum ^= number;
                }
            }
        }
        sums.iter().fold(0, |all, sum| all ^ sum)
    }
}

/// Bytes a second.
fn read_rate(n_bytes: usize) -> f64 {
    let numbers = vec![1_u64; n_bytes / 8];
    let n_times = ((1 << 28) / n_bytes).max(1);
    let read = || _ = black_box(Arch::new().dispatch(Read(&numbers, n_times)));
    (n_times * n_bytes) as f64 / median(RUNS, read)
}
