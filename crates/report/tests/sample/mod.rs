//! A made-up experiment of realistic size and shape, for looking at and testing the page. No number in it was
//! measured.

use results::record::{
    Angle, AnnRecord, Charge, ConversionRecord, DatasetRecord, EarlyExitRecord, EnergyRecord, EpochRecord,
    ExperimentRecord, Fit, KappaTrial, LayerActivity, LayerConversion, LayerLaw, LayerRaster, LayerVariance,
    LossRecord, NeuronVariance, NormFit, PotentialLaw, Range, RateMatch, RunRecord, SampleRaster, SeedRecord,
    SimulationRecord, SweepRecord,
};

const STEPS: usize = 32;
const N_TEST: usize = 10_000;
const CHECKPOINTS: [usize; 6] = [1, 2, 4, 8, 16, 32];
const CLASSES: [&str; 10] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
const MACS: u64 = 668_672;

/// A label, and how its curve runs: accuracy at the first step, steps to come near the ANN, loss that stays,
/// operations per step, expected saturation.
struct Shape {
    label: &'static str,
    method: &'static str,
    p: Option<f64>,
    kappa: Option<f64>,
    searched: bool,
    first: f64,
    time_constant: f64,
    loss: f64,
    operations: f64,
    saturation: f64,
}

const fn shape(label: &'static str, method: &'static str, curve: (f64, f64, f64), operations: f64) -> Shape {
    Shape {
        label,
        method,
        p: None,
        kappa: None,
        searched: false,
        first: curve.0,
        time_constant: curve.1,
        loss: curve.2,
        operations,
        saturation: 0.002,
    }
}

fn shapes() -> Vec<Shape> {
    vec![
        shape("none", "none", (0.31, 5.5, 0.021), 61_000.0),
        shape("max", "max", (0.10, 9.0, 0.004), 14_000.0),
        shape("percentile 99.9", "percentile", (0.105, 2.6, 0.0005), 21_000.0),
        shape("channel-percentile 99.9", "channel-percentile", (0.107, 2.0, 0.002), 27_000.0),
        Shape {
            p: Some(4.0),
            kappa: Some(0.4),
            saturation: 0.031,
            ..shape("norm p=4 κ=0.4", "norm", (0.815, 1.7, 0.003), 41_000.0)
        },
        Shape {
            p: Some(4.0),
            kappa: Some(0.3),
            searched: true,
            ..shape("norm p=4 κ=auto", "norm", (0.776, 1.5, 0.001), 36_000.0)
        },
        Shape {
            p: Some(2.0),
            kappa: Some(1.2),
            saturation: 0.083,
            ..shape("norm p=2 κ=auto", "norm", (0.79, 1.6, 0.002), 39_000.0)
        },
        shape("mmse", "mmse", (0.62, 1.4, 0.0015), 31_000.0),
    ]
}

/// Eight methods on three networks with three simulation seeds each, every part of a record filled in.
pub(crate) fn experiment() -> ExperimentRecord {
    let mut noise = Noise(0x5EED);
    let networks: Vec<AnnRecord> = (1..=3).map(|seed| network(seed, &mut noise)).collect();
    let mut runs = Vec::new();
    for shape in shapes() {
        for ann in &networks {
            runs.push(run(&shape, ann, &mut noise));
        }
    }
    ExperimentRecord {
        name: "fashion-mlp".to_owned(),
        description: "A 784-512-512-10 network trained on Fashion-MNIST, converted by every method, run on Poisson \
                      spikes. All numbers on this page are made up."
            .to_owned(),
        quartic_version: "0.1.0".to_owned(),
        config: CONFIG.to_owned(),
        dataset: DatasetRecord {
            name: "fashion-mnist".to_owned(),
            shape: [1, 28, 28],
            class_names: CLASSES.map(str::to_owned).to_vec(),
            n_train: 60_000,
            n_test: N_TEST,
        },
        networks,
        runs,
        sweep: SweepRecord::default(),
    }
}

const CONFIG: &str = r#"name = "fashion-mlp"
seed = 7

[data]
dataset = "fashion-mnist"

[model]
input = [1, 28, 28]

[[model.layers]]
kind = "dense"
units = 512

[train]
epochs = 12
batch_size = 128

[convert]
method = "norm"
p = 4.0
kappa = 0.4

[simulate]
encoding = "poisson"
steps = 32
checkpoints = [1, 2, 4, 8, 16, 32]
seeds = [1, 2, 3]
"#;

/// `SplitMix64`: the same record every time.
struct Noise(u64);

impl Noise {
    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, mean 0 and standard deviation 1: the sum of twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn network(seed: u64, noise: &mut Noise) -> AnnRecord {
    let epochs = (1..=12)
        .map(|epoch| {
            let progress = f64::from(epoch as u32);
            EpochRecord {
                epoch,
                learning_rate: 0.05 * (1.0 + (std::f64::consts::PI * progress / 12.0).cos()),
                train_loss: 0.24 + 0.5 / progress + 0.004 * noise.normal(),
                train_accuracy: 0.915 - 0.13 / progress + 0.002 * noise.normal(),
                validation_loss: Some(0.32 + 0.25 / progress + 0.003 * progress + 0.006 * noise.normal()),
                validation_accuracy: Some(0.885 - 0.07 / progress + 0.002 * noise.normal()),
            }
        })
        .collect();
    AnnRecord {
        label: format!("seed {seed}"),
        seed,
        architecture: "784-512-512-10".to_owned(),
        n_parameters: 669_706,
        macs_per_sample: MACS,
        test_top5: None,
        test_accuracy: Some(round_to_samples(0.8795 + 0.0015 * noise.normal())),
        epochs,
    }
}

fn round_to_samples(accuracy: f64) -> f64 {
    (accuracy * N_TEST as f64).round() / N_TEST as f64
}

fn run(shape: &Shape, ann: &AnnRecord, noise: &mut Noise) -> RunRecord {
    let seeds: Vec<SeedRecord> = (1..=3).map(|seed| seed_record(shape, ann, seed, noise)).collect();
    let operations = seeds[0].synaptic_operations.clone();
    let trials = [0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0];
    let scale = if shape.p == Some(2.0) { 1.2 } else { 0.3 };
    RunRecord {
        label: shape.label.to_owned(),
        network: ann.label.clone(),
        conversion: ConversionRecord {
            method: shape.method.to_owned(),
            p: shape.p,
            kappa: shape.kappa,
            kappa_search: if shape.searched {
                let accuracy = |k: f64| 0.876 - 0.06 * (k / scale).ln().powi(2) + 0.001 * noise.normal();
                let accuracies: Vec<f64> = trials.iter().copied().map(accuracy).collect();
                trials.iter().zip(accuracies).map(|(&kappa, accuracy)| KappaTrial { kappa, accuracy }).collect()
            } else {
                Vec::new()
            },
            compensate: true,
            initial_potential: 0.5,
            calibrate: if shape.method == "mmse" { "potential" } else { "none" }.to_owned(),
            n_calibration: if shape.method == "norm" && !shape.searched || shape.method == "none" { 0 } else { 1000 },
            layers: [("dense 1", 512, 0.8), ("dense 2", 512, 1.4), ("dense 3", 10, 1.0)]
                .map(|(name, n_neurons, lambda)| layer_conversion(shape, name, n_neurons, lambda))
                .to_vec(),
            scale_search: None,
        },
        simulation: SimulationRecord {
            graded: None,
            engine: "event".to_owned(),
            encoding: "poisson".to_owned(),
            reset: "subtract".to_owned(),
            readout: "potential".to_owned(),
            steps: STEPS,
            n_samples: N_TEST,
            checkpoints: CHECKPOINTS.to_vec(),
            seeds,
            layers: activity(shape, &operations),
            variance: ["dense 1", "dense 2", "dense 3"].map(|name| variance(name, noise)).to_vec(),
            rate_match: vec![rate_match("dense 1", shape, noise), rate_match("dense 2", shape, noise)],
            rasters: [(17, 9, boot as fn(usize, usize) -> bool), (42, 0, shirt), (105, 8, bag)]
                .map(|(index, label, inside)| raster(index, label, inside, shape, noise))
                .to_vec(),
            energy: EnergyRecord {
                mac_pj: 4.6,
                add_pj: 0.9,
                source: "45 nm CMOS, 32-bit floating point; Horowitz 2014, ISSCC".to_owned(),
                snn_macs_per_sample: 0.0,
                ann_pj: MACS as f64 * 4.6,
                snn_pj: operations.iter().map(|n| n * 0.9).collect(),
            },
            faults: None,
        },
    }
}

fn seed_record(shape: &Shape, ann: &AnnRecord, seed: u64, noise: &mut Noise) -> SeedRecord {
    let trained = ann.test_accuracy.expect("every network of the sample was run");
    let end = trained - shape.loss;
    let curve = |t: usize| (-((t - 1) as f64) / shape.time_constant).exp();
    let accuracy: Vec<f64> =
        (1..=STEPS).map(|t| round_to_samples(end - (end - shape.first) * curve(t) + 0.0008 * noise.normal())).collect();
    SeedRecord {
        seed,
        loss: losses(trained, &accuracy),
        top5: Vec::new(),
        agreement: accuracy.iter().map(|a| (a / trained * 0.985).min(1.0)).collect(),
        accuracy,
        synaptic_operations: (1..=STEPS)
            .map(|t| shape.operations * (t as f64 + 0.3) * (1.0 + 0.004 * noise.normal()))
            .collect(),
        mean_latency: 1.2 + shape.time_constant * (1.0 + 0.02 * noise.normal()),
        early_exit: Some(early_exit(shape, end)),
    }
}

/// Half of the samples stop at the step after which a curve is nearly flat, the others later.
fn early_exit(shape: &Shape, accuracy: f64) -> EarlyExitRecord {
    let first = (1.0 + 2.0 * shape.time_constant).ceil() as usize;
    let mut exits = vec![0.0; STEPS];
    (exits[first - 1], exits[first], exits[STEPS - 1]) = (0.5, 0.45, 0.05);
    EarlyExitRecord {
        confidence: 0.99,
        accuracy: accuracy - 0.001,
        agreement: 0.994,
        mean_steps: exits.iter().zip(1..).map(|(share, step)| share * f64::from(step)).sum(),
        median_steps: first,
        ninth_decile_steps: first + 1,
        unsettled_share: 0.05,
        synaptic_operations: shape.operations * first as f64,
        exits,
    }
}

fn layer_conversion(shape: &Shape, name: &str, n_neurons: usize, lambda: f64) -> LayerConversion {
    let readout = n_neurons == CLASSES.len();
    let spread = if shape.method == "percentile" || readout { 1.0 } else { 2.1 };
    LayerConversion {
        name: name.to_owned(),
        n_neurons,
        lambda: Range { min: lambda / spread, median: lambda, max: lambda * spread },
        l4_norm: Range { min: 0.21 * lambda, median: 0.38 * lambda, max: 0.92 * lambda },
        grid_step: (-14_f64).exp2(),
        rounding_change: 3.05e-5,
        rate_error: (shape.method == "mmse").then_some(0.02),
        expected_saturation: (!readout && shape.method != "none").then_some(shape.saturation),
    }
}

fn activity(shape: &Shape, operations: &[f64]) -> Vec<LayerActivity> {
    let total = operations.last().copied().unwrap_or(0.0);
    let rate = shape.operations / 400_000.0;
    [
        ("input", 784, 0.286, 0.02, 0.11, 0.6),
        ("dense 1", 512, rate, 0.5 - 5.0 * rate, shape.saturation, 0.3),
        ("dense 2", 512, 0.8 * rate, 0.6 - 4.0 * rate, 0.7 * shape.saturation, 0.1),
        ("dense 3", 10, 0.0, 1.0, 0.0, 0.0),
    ]
    .map(|(name, n_neurons, mean_rate, silent_share, saturated_share, share)| LayerActivity {
        name: name.to_owned(),
        n_neurons,
        spikes_per_sample: mean_rate * n_neurons as f64 * STEPS as f64,
        mean_rate,
        synaptic_operations: share * total,
        silent_share: f64::max(silent_share, 0.0),
        saturated_share,
        rate_correlation: (mean_rate > 0.0 && name != "input").then_some(0.99 - 0.02 * shape.time_constant),
        residual_potential: (name != "input").then_some(if name == "dense 3" { 4.71 } else { 0.312 }),
        charge: (mean_rate > 0.0 && name != "input").then_some(Charge {
            expected: 1.1 * mean_rate,
            clipped: shape.saturation,
            delivered: mean_rate,
        }),
    })
    .to_vec()
}

fn variance(name: &str, noise: &mut Noise) -> LayerVariance {
    // Where the current comes from pixels the noise follows another norm than among hidden layers.
    let (n_neurons, exponent, scatter) = match name {
        "dense 1" => (512, 0.5, 0.09),
        "dense 2" => (512, 1.0, 0.05),
        _ => (10, 1.0, 0.04),
    };
    let neurons = (0..n_neurons)
        .map(|_| {
            let l4_norm = 0.35 * (0.25 * noise.normal()).exp();
            let sigma_bernoulli = 1.3 * l4_norm.powf(exponent) * (scatter * noise.normal()).exp();
            NeuronVariance { l4_norm, sigma: sigma_bernoulli * (1.0 + 0.03 * noise.normal()), sigma_bernoulli }
        })
        .collect();
    let (best, orders) = (if exponent < 1.0 { 2.0 } else { 4.0 }, ["1", "2", "3", "4", "6", "∞"]);
    let norms: Vec<NormFit> = orders
        .iter()
        .map(|p| {
            let order: f64 = p.parse().unwrap_or(12.0);
            NormFit {
                p: (*p).to_owned(),
                coefficient_of_variation: scatter * (1.0 + 0.4 * (order / best).ln().powi(2)),
                correlation: Some(0.97 - 0.05 * (order / best).ln().abs()),
            }
        })
        .collect();
    let law = law(&norms, noise);
    LayerVariance { name: name.to_owned(), neurons, norms, law: Some(law) }
}

fn law(norms: &[NormFit], noise: &mut Noise) -> LayerLaw {
    let scaled = |factor: f64| -> Vec<NormFit> {
        let of =
            |fit: &NormFit| NormFit { coefficient_of_variation: factor * fit.coefficient_of_variation, ..fit.clone() };
        norms.iter().map(of).collect()
    };
    // Without knowledge of the weights, p = 2 is best by far.
    let random = |smallest: f64| -> Vec<NormFit> {
        let of = |fit: &NormFit| {
            let order: f64 = fit.p.parse().unwrap_or(12.0);
            NormFit { coefficient_of_variation: smallest + 0.1 * (order / 2.0).ln().abs(), ..fit.clone() }
        };
        norms.iter().map(of).collect()
    };
    LayerLaw {
        prediction: Fit { coefficient_of_variation: 0.03 * (1.0 + 0.1 * noise.normal()), correlation: Some(0.99) },
        dependence: 1.1 + 0.02 * noise.normal(),
        angle: Angle {
            cosine: 0.7 + 0.01 * noise.normal(),
            cosine_variation: 0.11,
            root_variation: 0.055 + 0.002 * noise.normal(),
            mean_root_variation: 0.07,
            rate_cosine: 0.68,
            rate_root_variation: 0.06,
            alignment: 0.12 + 0.02 * noise.normal(),
        },
        potential: Some(PotentialLaw {
            sigma: 0.9,
            current_sigma: 0.41,
            drift_share: 0.6 + 0.02 * noise.normal(),
            norms: scaled(4.0),
            norms_around_trend: scaled(2.0),
            firing_sigma: Some(0.6),
            norms_firing: scaled(3.0),
        }),
        uniform_rates: random(0.001),
        shuffled_rates: random(0.002),
    }
}

/// Rounding costs as much as input noise, saturation a tenth of it, and the order of spikes takes the rest.
fn losses(ann: f64, accuracy: &[f64]) -> Vec<LossRecord> {
    let of = |&step: &usize| {
        let gap = ann - accuracy[step - 1];
        let share = |k: usize| 0.4 * ((k & 1) as f64 + (k >> 1 & 1) as f64) + 0.04 * (k >> 2 & 1) as f64;
        LossRecord {
            step,
            models: std::array::from_fn(|k| ann - share(k) * gap),
            agreement: 0.97,
            constant_current: Some(ann - 0.58 * gap),
        }
    };
    CHECKPOINTS.iter().map(of).collect()
}

fn rate_match(name: &str, shape: &Shape, noise: &mut Noise) -> RateMatch {
    let points = (0..500)
        .map(|_| {
            let activation = (0.35 * noise.normal()).max(-0.2) + 0.12;
            let rate = activation + 0.01 * shape.time_constant * noise.normal() + 0.02;
            [activation.max(0.0), (rate.clamp(0.0, 1.0) * STEPS as f64).round() / STEPS as f64]
        })
        .collect();
    RateMatch { name: name.to_owned(), points }
}

fn boot(x: usize, y: usize) -> bool {
    (8..24).contains(&y) && (x >= 16 || y >= 15) && (3..25).contains(&x) && (y < 22 || x % 9 != 4)
}

fn shirt(x: usize, y: usize) -> bool {
    let sleeve = (4..12).contains(&y) && (3..25).contains(&x);
    let body = (4..26).contains(&y) && (8..20).contains(&x);
    (sleeve || body) && !(y < 7 && (12..16).contains(&x))
}

fn bag(x: usize, y: usize) -> bool {
    let handle = (5..12).contains(&y) && (x == 8 || x == 9 || x == 18 || x == 19 || y < 7) && (8..20).contains(&x);
    handle || ((12..24).contains(&y) && (3..25).contains(&x))
}

fn raster(
    index: usize,
    label: usize,
    inside: fn(usize, usize) -> bool,
    shape: &Shape,
    noise: &mut Noise,
) -> SampleRaster {
    let shade = |i: usize, noise: &mut Noise| {
        if inside(i % 28, i / 28) { 150.0 + 3.0 * (i / 28) as f64 + 20.0 * noise.uniform() } else { 0.0 }
    };
    let pixels: Vec<u8> = (0..784).map(|i| shade(i, noise) as u8).collect();
    let mut layers = Vec::new();
    for (name, n_neurons, n_shown) in [("input", 784, 98), ("dense 1", 512, 64), ("dense 2", 512, 64)] {
        let rates: Vec<f64> = (0..n_shown)
            .map(|row| match name {
                "input" => f64::from(pixels[row * 8]) / 255.0,
                _ => (noise.normal() * 0.22).max(0.0) * shape.operations / 41_000.0,
            })
            .collect();
        let mut events = Vec::new();
        for step in 1..=STEPS as u32 {
            let fired = (0..n_shown as u32).filter(|row| noise.uniform() < rates[*row as usize]);
            events.extend(fired.map(|row| [step, row]));
        }
        layers.push(LayerRaster { name: name.to_owned(), n_neurons, n_shown, events });
    }
    let mut potentials = vec![0.0; CLASSES.len()];
    let mut readout = Vec::new();
    let mut decisions = Vec::new();
    for _ in 0..STEPS {
        for (class, potential) in potentials.iter_mut().enumerate() {
            let drive = if class == label { 1.1 } else { 0.7 - 0.25 * ((class + 3 * label) % 7) as f64 };
            *potential += drive + noise.normal();
        }
        let best = (0..CLASSES.len()).max_by(|&a, &b| f64::total_cmp(&potentials[a], &potentials[b]));
        decisions.push(best.unwrap_or(0));
        readout.push(potentials.clone());
    }
    SampleRaster {
        index,
        label,
        ann_decision: Some(if index == 42 { 6 } else { label }),
        decisions,
        shape: [1, 28, 28],
        pixels,
        layers,
        readout,
    }
}
