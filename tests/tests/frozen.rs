//! What this version computes, frozen, so that code can be moved and rewritten without a change that nobody sees.
//!
//! - `frozen/spikes.txt`: hashes of everything that the event-driven engine does with the networks of [`networks`]
//! - `frozen/conversions.txt`, `frozen/*-description.txt`: the files that [`conversions`] write
//! - `frozen/snn.safetensors`, `frozen/snn.txt`: a converted network of today's format, and what it does
//! - `frozen/keys.txt`: what `--keys` prints
//!
//! Public interfaces alone are used, so that where code moves only `use` paths change here. Where a change is meant,
//! `FROZEN_WRITE=1 cargo test --release --workspace --test frozen` writes the files anew, and `git diff` shows every case that changed.
//!
//! Nothing depends on the machine. Weights and pixels are words of the counter-based generator, sums are exact, and the engine's other
//! arithmetic is in 64-bit floats in a fixed order. Three functions of the system's library come in: the faults' Gaussian numbers are
//! made of logarithms and sines, and rounded to 2⁻²² or coarser; norms are powers, and are rounded as [`conversions`] says; the early
//! exit compares an inverse tangent, far enough from its bound for [`last_bits_of_an_inverse_tangent_do_not_matter_to_early_decisions`].
//!
//! # What the cases reach
//!
//! Found with counters in every branch of the engine, at each SIMD level of x86-64 (portable, AVX2, AVX-512), which all give these
//! hashes. Some branches are of one level only.
//!
//! - **Weights added row by row**: floats, integers and bytes; sites of 64 neurons in one block and in several, with a last block that
//!   is not full; two positions that share weights (32 channels); the only site of a layer of at most 16 neurons, of one position and of
//!   several; bytes of 8 bits one by one and in pairs, of 7 bits by four; rows taken away; rows times a count; one, two and three
//!   connections; groups of channels whose blocks see other inputs, depthwise convolutions among them; strides, kernels of 1 to 5, padding
//!   of less and of more than the kernel.
//! - **Lists of inputs**: by binary digit (1, 2, 3, 4, 7 and 9 digits), by value (1 to 3 digits), with the count in the entry; up to 64
//!   inputs a run in one to four groups; strips listed one by one, and cut into segments and copied; strips that lie in the padding; no
//!   input that spikes, and inputs that spike but reach no window; lists of hundreds that are centred around their mean, where it pays
//!   and where it does not, of 1, 2, 3, up to 8 digits, and of 9, which are too many.
//! - **Sums looked up** (grey images): 8 and 16 channels of one input, 32 channels of two, stride 1 and 2, kernels that hang over the top,
//!   the bottom and both, and of a layer's spikes rather than pixels.
//! - **Sliding windows**: kernels of 3 and of 5, sites of 64 channels and of two times 32, integers and bytes, with and without counts
//!   in the entries, blocks of channels, padding of 0 to 4.
//! - **Average pools**: windows of 2×2 within words (16 and 32 channels) and over words (64), other windows, two pools in a row, pools of
//!   pixels, rows and columns that no window has. **Max pools**: one, two in a row, before an average pool, overlapping, and seen in pieces of
//!   time.
//! - **Neurons**: reset by subtraction and to zero, and none; thresholds of their own; limits of potentials; potentials that stay in 16
//!   bits, that leave them below and above, that were outside before, and thresholds that do not fit them; sites at which nothing arrives,
//!   which do as one before, on the same grid and on another; the last site of a row and of a layer, which is not full; spike
//!   trains whose steps would share sets of the cache.
//! - **Encoders**: all four, from the first step and from a later one; words and groups of dark pixels; samples and seeds of many bits.
//! - **Constant input**: pixels that are bytes and that are not; bytes times four small weights, times two, and a convolution's, with
//!   padding and strides; rows without light; weights for which bytes would round otherwise; groups, pools and two connections of pixels;
//!   samples by four and one by one, channels by eight and one by one.
//! - **The engine around them**: batches of networks with and without convolutions, of one thread and of several; runs that stop early,
//!   of some samples before others; spikes lost on their way, in whole runs and in pieces of time.

#[path = "frozen/conversions.rs"]
mod conversions;
#[path = "frozen/networks.rs"]
mod networks;
#[path = "frozen/record.rs"]
mod record;

use engine_dense::DenseEngine;
use engine_event::EventEngine;
use model::Backend;
use model::config::{Encoding, FaultsConfig, NeuronConfig, NoiseOf, Readout, Reset, WeightRange};
use networks::{Numbers, Pixels, images};
use rayon::prelude::*;
use record::Hash;
use snn::faults::device;
use snn::{EarlyDecision, EarlyExit, Engine, RunSettings, Sample, SampleTrace, SpikingNetwork};

/// File of the hashes of traces.
const SPIKES: &str = "spikes.txt";

/// Steps of a run: more than are kept in 16 bits at a time, and no multiple of what is drawn at a time.
const STEPS: usize = 11;

/// Steps after which potentials have left 16 bits.
const LONG: usize = 100;

/// Steps after which potentials have reached their limits.
const SATURATING: usize = 2000;

/// Steps of a run that may stop early: several pieces of time, the last a short one.
const EXIT_STEPS: usize = 18;

/// Confidence of an early exit.
const CONFIDENCE: f64 = 0.9;

/// Far more than the inverse tangent of one library differs from another's by, and far less than matters to anybody.
const LAST_BITS: f64 = 1e-9;

/// Seed of a run's random numbers.
const SEED: u64 = 42;

/// Input of a run: name, encoding, pixels.
const INPUTS: [(&str, Encoding, Pixels); 5] = [
    ("poisson", Encoding::Poisson, Pixels::Fractions),
    ("systematic", Encoding::Systematic, Pixels::Fractions),
    ("regular", Encoding::Regular, Pixels::Fractions),
    ("constant", Encoding::Constant, Pixels::Fractions),
    ("constant-bytes", Encoding::Constant, Pixels::Bytes),
];

/// A network and what is done with it.
struct Subject {
    /// Name and kind of numbers; then the runs' own names.
    name: String,
    network: SpikingNetwork,
    runs: Vec<Run>,
}

/// Samples and settings.
struct Run {
    name: String,
    pixels: Pixels,
    /// How often the images are run, as other samples each time.
    n_times: usize,
    /// Index of the first sample.
    first: usize,
    settings: RunSettings,
    /// With which confidence it may stop early, if it may.
    confidence: Option<f64>,
}

impl Run {
    fn new(
        (input, encoding, pixels): (&str, Encoding, Pixels),
        reset: Reset,
        readout: Readout,
        n_steps: usize,
    ) -> Self {
        Self {
            name: format!("{input} {reset} {readout}"),
            pixels,
            n_times: 1,
            first: 3,
            settings: RunSettings { encoding, neuron: NeuronConfig::default(), reset, readout, n_steps, seed: SEED },
            confidence: None,
        }
    }

    fn images(&self, network: &SpikingNetwork) -> Vec<Vec<f32>> {
        images(self.pixels, network.input()).into_iter().cycle().take(networks::N_IMAGES * self.n_times).collect()
    }

    /// The hash of what an engine does.
    fn hash(&self, network: &SpikingNetwork, engine: &impl Engine) -> String {
        let images = self.images(network);
        let samples = Sample::consecutive(self.first, &images);
        let mut hash = Hash::default();
        match self.confidence {
            None => {
                let traces = engine.run(&samples, &self.settings).expect("samples that fit");
                for trace in &traces {
                    add_trace(&mut hash, trace);
                }
            }
            Some(confidence) => {
                let exit = EarlyExit::new(network, confidence);
                for EarlyDecision { decision, n_steps } in
                    engine.run_until(&samples, &self.settings, &exit).expect("samples that fit")
                {
                    hash.size(decision);
                    hash.size(n_steps);
                }
            }
        }
        hash.finish()
    }
}

/// Adds all of a trace: the spikes neuron by neuron as the network's layers number them, whatever order they are kept in.
fn add_trace(hash: &mut Hash, trace: &SampleTrace) {
    hash.size(trace.spikes.len());
    for train in &trace.spikes {
        train.shape().iter().for_each(|&size| hash.size(size));
        hash.size(train.n_steps());
        let mut bits = vec![0_u8; train.n_neurons().div_ceil(8)];
        for step in 0..train.n_steps() {
            bits.fill(0);
            train.neurons(step).for_each(|neuron| bits[neuron / 8] |= 1 << (neuron % 8));
            hash.bytes(&bits);
        }
    }
    hash.floats(&trace.readout);
    hash.size(trace.residual.len());
    for potentials in &trace.residual {
        hash.floats(&potentials.by_neuron());
    }
}

/// Every input, with all resets and readouts between them.
fn all_runs(numbers: Numbers, n_steps: usize) -> Vec<Run> {
    let [poisson, systematic, regular, constant, constant_bytes] = INPUTS;
    let mut runs = vec![
        Run::new(poisson, Reset::Subtract, Readout::Potential, n_steps),
        Run::new(poisson, Reset::Zero, Readout::Spikes, n_steps),
        Run::new(systematic, Reset::Subtract, Readout::Spikes, n_steps),
        Run::new(regular, Reset::Zero, Readout::Potential, n_steps),
        Run::new(constant, Reset::Subtract, Readout::Potential, n_steps),
        Run::new(constant, Reset::Zero, Readout::Spikes, n_steps),
    ];
    if numbers != Numbers::Floats {
        // Floats are not multiplied with bytes.
        runs.push(Run::new(constant_bytes, Reset::Subtract, Readout::Spikes, n_steps));
    }
    runs
}

/// Networks whose bytes are added up in other ways where they have 7 bits.
const SMALL: [&str; 11] = [
    "dense",
    "dense-long",
    "conv3-wide",
    "conv3-blocks",
    "conv5-wide",
    "conv3-twin",
    "conv5-twin",
    "twin-strides",
    "groups-twin",
    "dense-of-counts",
    "residual-twin",
];

/// Faults by name: what neurons and axons do, and all that a device does.
fn faults() -> [(&'static str, FaultsConfig); 4] {
    let none = FaultsConfig {
        seed: 5,
        weight_noise: 0.0,
        weight_noise_of: NoiseOf::Range,
        weight_range: WeightRange::Layer,
        weight_bits: None,
        threshold_mismatch: 0.0,
        dropped_spikes: 0.0,
    };
    let few_bits = FaultsConfig { weight_bits: Some(4), weight_range: WeightRange::Channel, ..none };
    [
        ("dropped-spikes", FaultsConfig { dropped_spikes: 0.2, ..none }),
        ("threshold-mismatch", FaultsConfig { threshold_mismatch: 0.2, ..none }),
        ("few-bits", few_bits.clone()),
        ("all-faults", FaultsConfig { weight_noise: 0.05, threshold_mismatch: 0.3, dropped_spikes: 0.05, ..few_bits }),
    ]
}

/// Every case there is.
fn subjects() -> Vec<Subject> {
    use Numbers::{Bytes, Floats, Integers, SmallBytes};
    let plans = networks::plans();
    let network = |name: &str, numbers: Numbers, n_steps: usize| {
        let (_, plan) = plans.iter().find(|(known, _)| *known == name).expect("a network by its name");
        // Of the name alone, so that networks may be added.
        let seed = name.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        plan.network(seed, numbers.precision(n_steps))
    };
    let [poisson, _, regular, constant, constant_bytes] = INPUTS;
    let mut all = Vec::new();
    let mut add = |name: String, network: SpikingNetwork, runs: Vec<Run>| all.push(Subject { name, network, runs });
    for (name, _) in &plans {
        for numbers in [Floats, Integers, Bytes, SmallBytes] {
            if numbers != SmallBytes || SMALL.contains(name) {
                add(format!("{name} {numbers}"), network(name, numbers, STEPS), all_runs(numbers, STEPS));
            }
        }
    }
    // Potentials that leave 16 bits.
    for name in ["dense-long", "grey-16", "conv3-twin", "conv5-of-counts"] {
        for numbers in [Floats, Integers, Bytes] {
            let runs = vec![
                Run::new(poisson, Reset::Subtract, Readout::Potential, LONG),
                Run::new(poisson, Reset::Zero, Readout::Spikes, LONG),
                Run::new(constant, Reset::Subtract, Readout::Spikes, LONG),
            ];
            add(format!("{name} {numbers} {LONG}-steps"), network(name, numbers, LONG), runs);
        }
    }
    // Potentials that are held at limits: of a narrow site, and of wide ones.
    for (name, n) in [("saturating-narrow", 1), ("saturating-wide", 35)] {
        for numbers in [Floats, Integers] {
            let ways = [(Reset::Subtract, Readout::Potential), (Reset::Zero, Readout::Spikes)];
            let runs = ways.map(|(reset, readout)| Run::new(regular, reset, readout, SATURATING));
            add(format!("{name} {numbers}"), networks::saturating(n, numbers.precision(SATURATING)), runs.into());
        }
    }
    // Neurons at which nothing arrives, in blocks of other scales.
    let runs = vec![Run::new(poisson, Reset::Subtract, Readout::Spikes, EXIT_STEPS)];
    add(format!("two-scales {Integers}"), networks::of_two_scales(Integers.precision(EXIT_STEPS)), runs);
    // Pixels that are bytes, where what they differ from fractions by is little enough, and where it is not.
    for sum_bits in [15, 16, 17] {
        let runs = vec![Run::new(constant_bytes, Reset::Subtract, Readout::Potential, 3)];
        add(format!("one-sign {sum_bits}-bits"), networks::of_one_sign(sum_bits), runs);
    }
    // More samples than a batch holds; seeds and samples of many bits.
    for name in ["dense", "conv3-twin"] {
        let run = || Run::new(poisson, Reset::Subtract, Readout::Potential, STEPS);
        let of_large_keys = |input| {
            let run = Run::new(input, Reset::Subtract, Readout::Potential, STEPS);
            let settings = RunSettings { seed: u64::MAX - 9, ..run.settings };
            Run { name: format!("{} large-keys", run.name), first: u32::MAX as usize - 6, settings, ..run }
        };
        let many = Run { name: format!("{} many-samples", run().name), n_times: 7, ..run() };
        let runs = vec![many, of_large_keys(poisson), of_large_keys(INPUTS[1])];
        add(format!("{name} {Bytes} again"), network(name, Bytes, STEPS), runs);
    }
    for name in ["dense", "grey-16", "conv3-twin", "max-max-mean", "residual-twin", "dense-of-counts"] {
        for numbers in [Floats, Bytes] {
            let mut runs = all_runs(numbers, EXIT_STEPS);
            for run in &mut runs {
                (run.confidence, run.n_times) = (Some(CONFIDENCE), 3);
            }
            add(format!("{name} {numbers} early-exit"), network(name, numbers, EXIT_STEPS), runs);
        }
    }
    for name in ["dense", "grey-16", "conv3-twin", "residual-max"] {
        for numbers in [Floats, Integers] {
            for (fault, faults) in faults() {
                let precision = numbers.precision(EXIT_STEPS);
                let network = device(&network(name, numbers, EXIT_STEPS), &faults, 3, precision);
                let mut runs = vec![
                    Run::new(poisson, Reset::Subtract, Readout::Potential, EXIT_STEPS),
                    Run::new(constant, Reset::Subtract, Readout::Spikes, EXIT_STEPS),
                    Run::new(poisson, Reset::Zero, Readout::Spikes, EXIT_STEPS),
                ];
                let early = Run::new(poisson, Reset::Subtract, Readout::Potential, EXIT_STEPS);
                runs.push(Run {
                    name: format!("{} early-exit", early.name),
                    confidence: Some(CONFIDENCE),
                    n_times: 3,
                    ..early
                });
                add(format!("{name} {numbers} {fault}"), network.expect("weights of a few thresholds"), runs);
            }
        }
    }
    all
}

/// Name and hash of each run, as an engine does it.
///
/// - `is_of_interest`: whether a subject's run is looked at
fn hashes<E: Engine>(
    engine: impl Fn(&SpikingNetwork) -> E + Sync,
    is_of_interest: impl Fn(&Subject, &Run) -> bool + Sync,
) -> Vec<(String, String)> {
    let of_subject = |subject: &Subject| {
        let runs: Vec<&Run> = subject.runs.iter().filter(|run| is_of_interest(subject, run)).collect();
        if runs.is_empty() {
            return Vec::new();
        }
        let engine = engine(&subject.network);
        let case = |run: &Run| (format!("{} {}", subject.name, run.name), run.hash(&subject.network, &engine));
        runs.into_iter().map(case).collect::<Vec<_>>()
    };
    subjects().par_iter().flat_map_iter(of_subject).collect()
}

#[test]
fn the_event_driven_engine_gives_the_frozen_spikes() {
    let about = "What the event-driven engine does: SHA-256 of spike trains, readouts and potentials, first 16 digits.";
    record::check(SPIKES, about, &hashes(EventEngine::new, |_, _| true));
}

/// Compares some cases with the file.
fn compare_with_the_file(found: &[(String, String)], by: &str) {
    assert!(!found.is_empty(), "{by}: no case");
    if record::writes() {
        // The file may be half written.
        return;
    }
    let expected = record::expected(SPIKES);
    let other = found.iter().filter(|(name, hash)| expected.get(name) != Some(hash));
    let other: Vec<String> = other.map(|(name, hash)| format!("{name}: {hash}")).collect();
    assert!(other.is_empty(), "{by} gives other spikes than those frozen:\n{}", record::listed(&other));
}

#[test]
fn the_dense_engine_gives_the_frozen_spikes_too() {
    let device = ann::device(Backend::Flex).expect("built in for these tests");
    let is_of_interest = |subject: &Subject, run: &Run| {
        let RunSettings { encoding, reset, readout, .. } = run.settings;
        let is_one_of_few = matches!(
            (encoding, reset, readout),
            (Encoding::Poisson, Reset::Subtract, Readout::Potential)
                | (Encoding::Constant, Reset::Zero, Readout::Spikes)
        );
        // It computes in floats, on any grid.
        let is_of_floats = subject.name.contains(Numbers::Floats.name());
        is_one_of_few && is_of_floats && run.confidence.is_none()
    };
    let found = hashes(|network| DenseEngine::new(network, &device, 4), is_of_interest);
    compare_with_the_file(&found, "the dense engine");
}

#[test]
fn any_number_of_threads_gives_the_frozen_spikes() {
    for n_threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("a few threads");
        let is_of_interest = |subject: &Subject, _: &Run| subject.name.ends_with("again");
        let found = pool.install(|| hashes(EventEngine::new, is_of_interest));
        compare_with_the_file(&found, &format!("a run of {n_threads} threads"));
    }
}

#[test]
fn last_bits_of_an_inverse_tangent_do_not_matter_to_early_decisions() {
    for Subject { name, network, runs } in subjects() {
        let engine = EventEngine::new(&network);
        for mut run in runs.into_iter().filter(|run| run.confidence.is_some()) {
            let hashes = [-LAST_BITS, LAST_BITS].map(|difference| {
                run.confidence = Some(CONFIDENCE + difference);
                run.hash(&network, &engine)
            });
            assert_eq!(hashes[0], hashes[1], "{name} {}: choose another confidence", run.name);
        }
    }
}

#[test]
fn the_reference_of_all_keys_is_the_frozen_one() {
    let reference = model::config::schema::reference(&ann::backend::built_in());
    // Which backends are built in is a matter of the build.
    let lines = reference.lines().filter(|line| !line.starts_with("Backends built in: "));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    assert_eq!(text.lines().count() + 1, reference.lines().count(), "one line about backends");
    record::check_text("keys.txt", &text);
}
