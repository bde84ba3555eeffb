use model::Backend;
use model::population::{Pool, PoolKind, n_windows};
use proptest::prelude::*;

use super::event::every_simd_level;
use super::*;
use crate::grid::Precision;
use crate::network::ExactLayer;
use crate::philox::philox;
use crate::wiring::{Connection, Kernel, Wiring};

/// Uniform numbers in [−1, 1) from a seed, for weights that need no statistics.
fn uniform(seed: u64, n: usize) -> Vec<f64> {
    let draw = |i: usize| philox(seed, [i as u32, 0, 0, 7])[0];
    (0..n).map(|i| f64::from(draw(i)) / f64::from(1_u32 << 31) - 1.0).collect()
}

/// A network with the given layer sizes whose neurons fire now and then and start at that potential or a little below.
fn network(sizes: &[usize], seed: u64, initial_potential: f64, precision: impl Into<Precision>) -> SpikingNetwork {
    let precision = precision.into();
    let layers = sizes.windows(2).enumerate().map(|(idx, pair)| {
        let scale = 3.0 / (pair[0] as f64).sqrt();
        let values = uniform(seed + idx as u64, (pair[0] + 1) * pair[1]);
        let (weights, biases) = values.split_at(pair[0] * pair[1]);
        let layer = ExactLayer {
            name: format!("dense {}", idx + 1),
            connections: vec![Connection {
                wiring: Wiring::dense(idx, [pair[0], 1, 1], pair[1]),
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
struct Conv {
    /// Groups, and channels of a group of the input and the output.
    groups: [usize; 3],
    size: usize,
    stride: usize,
    padding: usize,
    pool: Option<Pool>,
}

/// A convolution of the input, a residual sum of another one and a skip connection behind a pool, and a dense readout.
fn conv_network(input: [usize; 2], conv: Conv, seed: u64, precision: impl Into<Precision>) -> SpikingNetwork {
    let precision = precision.into();
    let [groups, in_per_group, out_per_group] = conv.groups;
    let kernel = Kernel {
        input: [groups * in_per_group, input[0], input[1]],
        channels: groups * out_per_group,
        size: conv.size,
        stride: conv.stride,
        padding: conv.padding,
        groups,
    };
    let wire = |source: usize, source_shape: [usize; 3], pools: Vec<Pool>, kernel: Kernel| Wiring {
        source,
        source_shape,
        pools,
        kernel,
    };
    let first = wire(0, kernel.input, Vec::new(), kernel);
    let shape = kernel.output();
    let pooled = conv.pool.map_or(shape, |pool| pool.output(shape));
    let pools: Vec<Pool> = conv.pool.into_iter().collect();
    let again = Kernel { input: pooled, size: 3, stride: 1, padding: 1, groups: 1, ..kernel };
    let skip = Kernel { size: 1, padding: 0, groups: kernel.channels, ..again };
    let sum = [wire(1, shape, pools.clone(), again), wire(1, shape, pools, skip)];
    let wirings = [vec![first], sum.into(), vec![Wiring::dense(2, pooled, 3)]];
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

fn images(n: usize, n_in: usize, seed: u64) -> Vec<Vec<f32>> {
    (0..n).map(|i| uniform(seed + i as u64, n_in).iter().map(|x| x.max(0.0) as f32).collect()).collect()
}

fn samples(images: &[Vec<f32>]) -> Vec<Sample<'_>> {
    Sample::consecutive(0, images)
}

/// What comes out of a wiring's pools at each step: the increase of the largest count so far, or the sum, of each window.
fn pooled(spikes: &[Vec<bool>], wiring: &Wiring) -> Vec<Vec<f64>> {
    let of_step = |fired: &Vec<bool>| fired.iter().map(|&spike| f64::from(u8::from(spike))).collect();
    let mut steps: Vec<Vec<f64>> = spikes.iter().map(of_step).collect();
    let mut shape = wiring.source_shape;
    for pool in &wiring.pools {
        let [_, height, width] = shape;
        shape = pool.output(shape);
        let [channels, rows, columns] = shape;
        let inside = |window: usize| {
            let (channel, row, column) = (window / (rows * columns), window / columns % rows, window % columns);
            (0..pool.area()).map(move |i| {
                let (y, x) = (row * pool.stride[0] + i / pool.kernel[1], column * pool.stride[1] + i % pool.kernel[1]);
                (channel * height + y) * width + x
            })
        };
        let so_far = |step: usize, input: usize| steps[..step].iter().map(|values| values[input]).sum::<f64>();
        let largest = |step: usize, window: usize| inside(window).map(|input| so_far(step, input)).fold(0.0, f64::max);
        let of = |step: usize, window: usize| match pool.kind {
            PoolKind::Max => largest(step + 1, window) - largest(step, window),
            PoolKind::Mean => inside(window).map(|input| steps[step][input]).sum(),
        };
        steps =
            (0..steps.len()).map(|s| (0..channels * rows * columns).map(|window| of(s, window)).collect()).collect();
    }
    steps
}

/// The definition, neuron by neuron and step by step, in f64.
fn by_definition(
    network: &SpikingNetwork,
    sample: &Sample<'_>,
    settings: &RunSettings,
) -> (Vec<Vec<Vec<bool>>>, Vec<Vec<f64>>) {
    let input = sample.encode(network.input(), settings);
    let mut spikes: Vec<Vec<Vec<bool>>> =
        vec![(0..settings.n_steps).map(|step| (0..input.n_neurons()).map(|i| input.get(step, i)).collect()).collect()];
    let mut readout = Vec::new();
    for (idx, layer) in network.layers().iter().enumerate() {
        let integrates = idx + 1 == network.layers().len() && settings.readout == Readout::Potential;
        let limits = layer.potential_limits(settings.n_steps).map(|limits| layer.for_neurons(&limits));
        let starts = layer.for_neurons(layer.initial_potentials());
        let mut v: Vec<f64> = starts.into_iter().map(f64::from).collect();
        let constant = idx == 0 && settings.encoding == Encoding::Constant;
        let steady = if constant { layer.drive(sample.pixels) } else { layer.for_neurons(layer.biases()) };
        let inputs: Vec<Vec<Vec<f64>>> = layer
            .connections()
            .iter()
            .map(|connection| pooled(&spikes[connection.wiring.source], &connection.wiring))
            .collect();
        let mut fired = vec![vec![false; layer.n_out()]; settings.n_steps];
        for step in 0..settings.n_steps {
            let mut currents = vec![0.0; layer.n_out()];
            for (connection, inputs) in layer.connections().iter().zip(&inputs) {
                for (input, &sum) in inputs[step].iter().enumerate() {
                    let weights = &connection.weights;
                    let reach = |j: usize, weight: usize| currents[j] += sum * f64::from(weights[weight]);
                    connection.wiring.kernel.for_each_synapse(input, reach);
                }
            }
            for j in 0..layer.n_out() {
                let mut u = v[j] + f64::from(steady[j]) + currents[j];
                fired[step][j] = !integrates && u >= 1.0;
                if fired[step][j] {
                    u = if settings.reset == Reset::Subtract { u - 1.0 } else { 0.0 };
                }
                let limit = limits.as_ref().map_or(f64::INFINITY, |limits| f64::from(limits[j]));
                v[j] = u.clamp(-limit, limit);
            }
            if integrates {
                readout.push(v.clone());
            }
        }
        spikes.push(fired);
    }
    (spikes, readout)
}

fn all_settings(n_steps: usize) -> Vec<RunSettings> {
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

/// Every backend that is built in: the feature `wgpu` adds a GPU, or a software Vulkan driver.
fn devices() -> Vec<(Backend, burn::tensor::Device)> {
    Backend::built_in().into_iter().map(|backend| (backend, backend.device().unwrap())).collect()
}

fn compare_with_the_definition(network: &SpikingNetwork, images: &[Vec<f32>], settings: &RunSettings) {
    let traces = EventEngine::new(network).run(&samples(images), settings).unwrap();
    for (sample, trace) in samples(images).iter().zip(&traces) {
        let (spikes, readout) = by_definition(network, sample, settings);
        for (train, expected) in trace.spikes.iter().zip(&spikes) {
            for (step, expected) in expected.iter().enumerate() {
                assert!(expected.iter().enumerate().all(|(i, &spike)| train.get(step, i) == spike), "{settings:?}");
            }
        }
        let readout: Vec<f32> = readout.iter().flatten().map(|&v| v as f32).collect();
        assert!(settings.readout == Readout::Spikes || trace.readout == readout, "{settings:?}");
    }
}

#[test]
fn the_event_driven_engine_does_what_the_definition_says() {
    let network = network(&[30, 21, 17, 5], 3, 0.5, 12);
    for settings in all_settings(12) {
        compare_with_the_definition(&network, &images(4, 30, 90), &settings);
    }
}

/// The kinds of convolution and pool that networks have.
fn convs() -> Vec<Conv> {
    let pool = |kind, kernel, stride| Some(Pool { kind, kernel: [kernel; 2], stride: [stride; 2] });
    let plain = Conv { groups: [1, 2, 16], size: 3, stride: 1, padding: 1, pool: pool(PoolKind::Mean, 2, 2) };
    vec![
        plain,
        Conv { size: 5, padding: 2, stride: 2, pool: pool(PoolKind::Max, 2, 1), ..plain },
        Conv { groups: [3, 1, 1], pool: pool(PoolKind::Max, 2, 2), ..plain },
        Conv { groups: [2, 2, 5], size: 2, stride: 3, padding: 0, pool: None },
        // More channels than a site holds, in groups.
        Conv { groups: [70, 1, 1], pool: None, ..plain },
        Conv { size: 1, stride: 2, padding: 0, pool: pool(PoolKind::Mean, 3, 1), ..plain },
    ]
}

#[test]
fn convolutions_pools_and_residual_sums_do_what_the_definition_says() {
    for conv in convs() {
        let network = conv_network([9, 11], conv, 4, 8);
        for settings in all_settings(8) {
            compare_with_the_definition(&network, &images(2, network.n_in(), 90), &settings);
        }
    }
}

/// Sums that the event-driven engine adds as 32-bit floats, and as 16-bit integers.
const FLOATS: Precision = Precision { n_steps: 16, sum_bits: 24 };
const INTEGERS: Precision = Precision { n_steps: 16, sum_bits: 15 };

#[test]
fn both_engines_agree_bit_for_bit_on_every_backend_batch_size_thread_count_and_simd_level() {
    // The dense engine computes the same on either grid.
    let runs = [(FLOATS, &[(1, 1), (7, 1), (7, 2), (64, 1), (64, 2)][..]), (INTEGERS, &[(64, 2)])];
    for (precision, batches) in runs {
        agree_everywhere(&network(&[70, 65, 130, 10], 5, 0.5, precision), 70, batches);
        for conv in convs() {
            agree_everywhere(&conv_network([8, 7], conv, 9, precision), 10, batches);
        }
    }
}

/// - `batches`: sizes of the dense engine's batches, and threads
fn agree_everywhere(network: &SpikingNetwork, n_images: usize, batches: &[(usize, usize)]) {
    let images = images(n_images, network.n_in(), 1000);
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    for settings in all_settings(16) {
        let expected = EventEngine::new(network).run(&samples(&images), &settings).unwrap();
        for n_threads in [1, 2] {
            for engine in every_simd_level(network) {
                let traces = pool(n_threads).install(|| engine.run(&samples(&images), &settings)).unwrap();
                assert!(traces == expected, "{settings:?}, {n_threads} threads, {engine:?}");
            }
        }
        for (backend, device) in devices() {
            for &(batch_size, n_threads) in batches {
                // Batches of one take long; a few samples show as much.
                let n_samples = if batch_size == 1 { images.len().min(5) } else { images.len() };
                let engine = DenseEngine::new(network, &device, batch_size);
                let traces = pool(n_threads).install(|| engine.run(&samples(&images)[..n_samples], &settings)).unwrap();
                assert!(
                    traces == expected[..n_samples],
                    "{settings:?}, {backend}, batches of {batch_size}, {n_threads} threads"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn engines_agree_on_networks_of_any_size(
        sizes in proptest::collection::vec(1..90_usize, 2..5), seed in 0..1000_u64, n_steps in 1..24_usize,
        initial_potential in 0.0..0.9_f64, choice in 0..16_usize, sum_bits in 15..25_u32,
    ) {
        let network = network(&sizes, seed, initial_potential, Precision { n_steps, sum_bits });
        let images = images(3, sizes[0], seed + 50);
        let settings = all_settings(n_steps)[choice];
        let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        for (_, device) in devices() {
            prop_assert_eq!(&DenseEngine::new(&network, &device, 2).run(&samples(&images), &settings).unwrap(), &expected);
        }
    }

    #[test]
    fn engines_agree_on_convolutions_of_any_shape(
        input in [1..9_usize, 1..9_usize], groups in [1..4_usize, 1..3_usize, 1..40_usize], size in 1..5_usize,
        stride in 1..4_usize, padding in 0..4_usize, pool in proptest::option::of((any::<bool>(), 1..4_usize, 1..4_usize)),
        seed in 0..1000_u64, choice in 0..16_usize, sum_bits in 15..25_u32,
    ) {
        prop_assume!(padding < size && size <= input[0].min(input[1]) + 2 * padding);
        let outputs = input.map(|n| n_windows(n, size, stride, padding));
        let pool = pool.map(|(max, kernel, stride)| Pool {
            kind: if max { PoolKind::Max } else { PoolKind::Mean },
            kernel: [kernel.min(outputs[0]), kernel.min(outputs[1])],
            stride: [stride; 2],
        });
        let network = conv_network(input, Conv { groups, size, stride, padding, pool }, seed, Precision { n_steps: 10, sum_bits });
        let images = images(3, network.n_in(), seed + 50);
        let settings = all_settings(10)[choice];
        let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        compare_with_the_definition(&network, &images[..1], &settings);
        for (_, device) in devices() {
            prop_assert_eq!(&DenseEngine::new(&network, &device, 2).run(&samples(&images), &settings).unwrap(), &expected);
        }
    }

    #[test]
    fn subtractive_reset_keeps_the_overshoot(weight in 0.05..0.95_f64, n_steps in 1..60_usize) {
        // Charge is conserved: what went in is either spikes or still in the membrane.
        let layer = ExactLayer {
            name: "dense 1".to_owned(),
            connections: vec![Connection { wiring: Wiring::dense(0, [1, 1, 1], 1), weights: vec![weight] }],
            biases: vec![0.0], initial_potentials: vec![0.5], thresholds: vec![1.0],
        };
        let layer = SpikingLayer::round(&layer, n_steps).unwrap();
        let network = SpikingNetwork::new([1, 1, 1], vec![layer.clone()]).unwrap();
        let settings = RunSettings {
            encoding: Encoding::Poisson, reset: Reset::Subtract, readout: Readout::Spikes, n_steps, seed: 1,
        };
        let trace = EventEngine::new(&network).run(&[Sample { index: 0, pixels: &[1.0] }], &settings).unwrap().remove(0);
        let in_all = 0.5 + n_steps as f32 * layer.connections()[0].weights[0];
        prop_assert_eq!(trace.spikes[1].counts()[0] as f32 + trace.residual[0][0], in_all);
    }
}

#[test]
fn every_engine_stops_at_the_step_at_which_the_whole_run_is_settled() {
    let networks = convs().into_iter().map(|conv| conv_network([8, 7], conv, 9, 16));
    for network in networks.chain([network(&[70, 65, 10], 5, 0.5, 16)]) {
        let images = images(10, network.n_in(), 1000);
        for settings in all_settings(16) {
            for confidence in [0.6, 0.9, 0.99] {
                let exit = EarlyExit::new(&network, confidence);
                let traces = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
                let expected: Vec<EarlyDecision> = traces.iter().map(|trace| exit.decide(trace, &settings)).collect();
                for (early, trace) in expected.iter().zip(&traces) {
                    assert_eq!(early.decision, trace.decisions()[early.n_steps - 1], "{settings:?}");
                }
                for engine in every_simd_level(&network) {
                    assert_eq!(
                        engine.run_until(&samples(&images), &settings, &exit).unwrap(),
                        expected,
                        "{settings:?}"
                    );
                }
                let dense = DenseEngine::new(&network, &devices()[0].1, 3);
                assert_eq!(dense.run_until(&samples(&images), &settings, &exit).unwrap(), expected, "{settings:?}");
            }
        }
    }
}

/// Some steps of a train, on their own.
fn piece(train: &SpikeTrain, steps: std::ops::Range<usize>) -> SpikeTrain {
    let mut piece = SpikeTrain::silent(train.shape(), steps.len());
    for (idx, step) in steps.enumerate() {
        train.neurons(step).for_each(|neuron| piece.add(idx, neuron));
    }
    piece
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// What an engine that stops early relies on.
    #[test]
    fn a_decision_is_settled_at_the_same_step_whatever_pieces_of_time_it_is_seen_in(
        seed in 0..1000_u64, choice in 0..16_usize, confidence in 0.51..0.999_f64, piece_len in 1..9_usize,
    ) {
        let network = conv_network([8, 7], convs()[seed as usize % convs().len()], seed, 16);
        let images = images(2, network.n_in(), seed + 50);
        let settings = all_settings(16)[choice];
        let exit = EarlyExit::new(&network, confidence);
        for trace in EventEngine::new(&network).run(&samples(&images), &settings).unwrap() {
            let inputs = exit.inputs(&trace.spikes);
            let mut watch = exit.watch(&settings);
            let early = (0..16).step_by(piece_len).find_map(|first| {
                let steps = first..(first + piece_len).min(16);
                let pieces: Vec<SpikeTrain> = inputs.iter().map(|train| piece(train, steps.clone())).collect();
                steps.clone().find_map(|step| {
                    let readout = &trace.readout[step * trace.n_classes()..][..trace.n_classes()];
                    watch.step(&pieces, step - first, readout)
                })
            });
            prop_assert_eq!(early, Some(exit.decide(&trace, &settings)));
        }
    }
}

#[test]
fn runs_long_enough_to_saturate_still_agree_and_stop_at_the_limit() {
    // 2,000 steps of −90 from a grid of 2⁻¹⁰ pass −16,384 thresholds.
    let layer = |source: usize, weights: Vec<f64>, n_out: usize| ExactLayer {
        name: "dense".to_owned(),
        connections: vec![Connection { wiring: Wiring::dense(source, [weights.len() / n_out, 1, 1], n_out), weights }],
        biases: vec![0.0; n_out],
        initial_potentials: vec![0.0; n_out],
        thresholds: vec![1.0; n_out],
    };
    let layers = [layer(0, vec![-90.0, 60.0], 2), layer(1, vec![1.0, -80.0], 1)];
    let network =
        SpikingNetwork::new([1, 1, 1], layers.iter().map(|layer| SpikingLayer::round(layer, 2000).unwrap()).collect())
            .unwrap();
    let settings = RunSettings {
        encoding: Encoding::Regular,
        reset: Reset::Subtract,
        readout: Readout::Potential,
        n_steps: 2000,
        seed: 0,
    };
    let pixels = [1.0];
    let samples = [Sample { index: 0, pixels: &pixels }];
    let trace = EventEngine::new(&network).run(&samples, &settings).unwrap();
    let limits: Vec<Vec<f32>> = network.layers().iter().map(|layer| layer.potential_limits(2000).unwrap()).collect();
    assert_eq!(trace[0].residual, [vec![-limits[0][0], limits[0][1]], vec![-limits[1][0]]]);
    for (_, device) in devices() {
        assert_eq!(DenseEngine::new(&network, &device, 1).run(&samples, &settings).unwrap(), trace);
    }
}

#[test]
fn rates_under_constant_input_approach_the_relu_within_one_spike() {
    // One layer, v(0) = ½: the count is T·a rounded, so |count/T − a| ≤ 1/T while a ≤ 1 and the input is steady.
    let n_steps = 500;
    let network = network(&[20, 40], 8, 0.5, n_steps);
    let images = images(3, 20, 77);
    let settings = RunSettings {
        encoding: Encoding::Constant,
        reset: Reset::Subtract,
        readout: Readout::Spikes,
        n_steps,
        seed: 0,
    };
    let traces = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
    let mut n_active = 0;
    for (image, trace) in images.iter().zip(&traces) {
        let activations = network.layers()[0].drive(image);
        for (&count, &a) in trace.spikes[1].counts().iter().zip(&activations) {
            let expected = f64::from(a).clamp(0.0, 1.0);
            assert!((f64::from(count) / n_steps as f64 - expected).abs() <= 1.0 / n_steps as f64, "{count} for {a}");
            n_active += usize::from(a > 0.0 && a < 1.0);
        }
    }
    assert!(n_active > 20, "only {n_active} neurons in the unsaturated range");
}

#[test]
fn a_sample_of_the_wrong_size_is_refused_by_both_engines() {
    let network = network(&[4, 3], 1, 0.0, 2);
    let settings = all_settings(2)[0];
    let sample = [Sample { index: 6, pixels: &[0.0; 5] }];
    let expected = Err(EngineError::WrongSize { index: 6, found: 5, expected: 4 });
    assert_eq!(EventEngine::new(&network).run(&sample, &settings), expected);
    assert_eq!(DenseEngine::new(&network, &devices()[0].1, 1).run(&sample, &settings), expected);
}

#[test]
fn the_decision_is_the_first_of_equals() {
    let trace = SampleTrace {
        spikes: Vec::new(),
        readout: vec![0.0, 2.0, 2.0, -1.0, -2.0, -1.0],
        residual: Vec::new(),
        n_classes: 3,
    };
    assert_eq!(trace.decisions(), [1, 0]);
}

#[test]
fn synaptic_operations_at_borders_and_through_pools_are_those_counted_by_hand() {
    // One white pixel in the corner of a 3×3 image: a 3×3 kernel reaches 4 of 9 neurons in each of 2 channels.
    let kernel = Kernel { input: [1, 3, 3], channels: 2, size: 3, stride: 1, padding: 1, groups: 1 };
    let wiring = Wiring { source: 0, source_shape: [1, 3, 3], pools: Vec::new(), kernel };
    let pool = |kind| vec![Pool { kind, kernel: [2; 2], stride: [1; 2] }];
    let layer = |wiring: Wiring, weight: f64| {
        let n_channels = wiring.kernel.channels;
        let exact = ExactLayer {
            name: "x".to_owned(),
            connections: vec![Connection { weights: vec![weight; n_channels * wiring.kernel.row_len()], wiring }],
            biases: vec![0.0; n_channels],
            initial_potentials: vec![0.0; n_channels],
            thresholds: vec![1.0; n_channels],
        };
        SpikingLayer::round(&exact, 4).unwrap()
    };
    let count = |kind: PoolKind| {
        let readout = Wiring { pools: pool(kind), ..Wiring::dense(1, [2, 3, 3], 5) };
        let readout = Wiring { kernel: Kernel::dense(2 * 2 * 2, 5), ..readout };
        let network = SpikingNetwork::new([1, 3, 3], vec![layer(wiring.clone(), 1.0), layer(readout, 1.0)]).unwrap();
        let settings = RunSettings {
            encoding: Encoding::Regular,
            reset: Reset::Subtract,
            readout: Readout::Potential,
            n_steps: 1,
            seed: 0,
        };
        let mut pixels = [0.0; 9];
        pixels[0] = 1.0;
        let trace = EventEngine::new(&network).run(&[Sample { index: 0, pixels: &pixels }], &settings).unwrap();
        crate::SynapticOperations::new(&network).of(&trace[0])
    };
    // Each channel spikes at four places, which stand in 1, 2, 2 and 4 of the overlapping windows, 9 in all; each window has
    // 5 outputs.
    assert_eq!(count(PoolKind::Mean), [vec![8], vec![2 * 9 * 5], vec![0]]);
    // 9 comparisons per channel, and one spike for each of its 4 windows.
    assert_eq!(count(PoolKind::Max), [vec![8], vec![2 * 9 + 2 * 4 * 5], vec![0]]);
}
