use model::Backend;
use proptest::prelude::*;

use super::event::every_simd_level;
use super::*;
use crate::network::ExactLayer;
use crate::philox::philox;

/// Uniform numbers in [−1, 1) from a seed, for weights that need no statistics.
fn uniform(seed: u64, n: usize) -> Vec<f64> {
    let draw = |i: usize| philox(seed, [i as u32, 0, 0, 7])[0];
    (0..n).map(|i| f64::from(draw(i)) / f64::from(1_u32 << 31) - 1.0).collect()
}

/// A network with the given layer sizes whose neurons fire now and then.
fn network(sizes: &[usize], seed: u64, initial_potential: f64, n_steps: usize) -> SpikingNetwork {
    let layers = sizes.windows(2).enumerate().map(|(idx, pair)| {
        let scale = 3.0 / (pair[0] as f64).sqrt();
        let values = uniform(seed + idx as u64, (pair[0] + 1) * pair[1]);
        let (weights, biases) = values.split_at(pair[0] * pair[1]);
        let layer = ExactLayer {
            name: format!("dense {}", idx + 1),
            weights: weights.iter().map(|weight| weight * scale).collect(),
            biases: biases.iter().map(|bias| bias * 0.2).collect(),
            initial_potential,
            thresholds: vec![1.0; pair[1]],
        };
        SpikingLayer::round(&layer, n_steps).unwrap()
    });
    SpikingNetwork::new(layers.collect()).unwrap()
}

fn images(n: usize, n_in: usize, seed: u64) -> Vec<Vec<f32>> {
    (0..n).map(|i| uniform(seed + i as u64, n_in).iter().map(|x| x.max(0.0) as f32).collect()).collect()
}

fn samples(images: &[Vec<f32>]) -> Vec<Sample<'_>> {
    Sample::consecutive(0, images)
}

/// The definition, neuron by neuron and step by step, in f64.
fn by_definition(
    network: &SpikingNetwork,
    sample: &Sample<'_>,
    settings: &RunSettings,
) -> (Vec<Vec<Vec<bool>>>, Vec<Vec<f64>>) {
    let input = sample.encode(settings);
    let mut spikes: Vec<Vec<Vec<bool>>> =
        vec![(0..settings.n_steps).map(|step| (0..input.n_neurons()).map(|i| input.get(step, i)).collect()).collect()];
    let mut readout = Vec::new();
    for (idx, layer) in network.layers().iter().enumerate() {
        let integrates = idx + 1 == network.layers().len() && settings.readout == Readout::Potential;
        let limits = layer.potential_limits(settings.n_steps);
        let mut v: Vec<f64> = layer.initial_potentials().iter().map(|&start| f64::from(start)).collect();
        let mut fired = vec![vec![false; layer.n_out()]; settings.n_steps];
        for step in 0..settings.n_steps {
            for j in 0..layer.n_out() {
                let constant = idx == 0 && settings.encoding == Encoding::Constant;
                let mut u = v[j] + f64::from(if constant { layer.drive(sample.pixels)[j] } else { layer.biases()[j] });
                for (i, _) in spikes[idx][step].iter().enumerate().filter(|(_, spike)| **spike) {
                    u += f64::from(layer.weights()[j * layer.n_in() + i]);
                }
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

#[test]
fn the_event_driven_engine_does_what_the_definition_says() {
    let network = network(&[30, 21, 17, 5], 3, 0.5, 12);
    let images = images(4, 30, 90);
    for settings in all_settings(12) {
        let traces = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        for (sample, trace) in samples(&images).iter().zip(&traces) {
            let (spikes, readout) = by_definition(&network, sample, &settings);
            for (train, expected) in trace.spikes.iter().zip(&spikes) {
                for (step, expected) in expected.iter().enumerate() {
                    assert!(expected.iter().enumerate().all(|(i, &spike)| train.get(step, i) == spike), "{settings:?}");
                }
            }
            let readout: Vec<f32> = readout.iter().flatten().map(|&v| v as f32).collect();
            assert!(settings.readout == Readout::Spikes || trace.readout == readout, "{settings:?}");
            assert!(trace.spikes[1].counts().iter().sum::<u32>() > 0, "a silent network tests nothing");
        }
    }
}

#[test]
fn both_engines_agree_bit_for_bit_on_every_backend_batch_size_thread_count_and_simd_level() {
    let network = network(&[70, 65, 130, 10], 5, 0.5, 16);
    let images = images(70, 70, 1000);
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    for settings in all_settings(16) {
        let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        for n_threads in [1, 2] {
            for engine in every_simd_level(&network) {
                let traces = pool(n_threads).install(|| engine.run(&samples(&images), &settings)).unwrap();
                assert!(traces == expected, "{settings:?}, {n_threads} threads, {engine:?}");
            }
        }
        for (backend, device) in devices() {
            for (batch_size, n_threads) in [(1, 1), (7, 1), (7, 2), (64, 1), (64, 2)] {
                // Batches of one take long; a few samples show as much.
                let n_samples = if batch_size == 1 { 5 } else { images.len() };
                let engine = DenseEngine::new(&network, &device, batch_size);
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
        initial_potential in 0.0..0.9_f64, choice in 0..16_usize,
    ) {
        let network = network(&sizes, seed, initial_potential, n_steps);
        let images = images(3, sizes[0], seed + 50);
        let settings = all_settings(n_steps)[choice];
        let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        for (_, device) in devices() {
            prop_assert_eq!(&DenseEngine::new(&network, &device, 2).run(&samples(&images), &settings).unwrap(), &expected);
        }
    }

    #[test]
    fn subtractive_reset_keeps_the_overshoot(weight in 0.05..0.95_f64, n_steps in 1..60_usize) {
        // Charge is conserved: what went in is either spikes or still in the membrane.
        let layer = ExactLayer {
            name: "dense 1".to_owned(), weights: vec![weight], biases: vec![0.0], initial_potential: 0.5, thresholds: vec![1.0],
        };
        let layer = SpikingLayer::round(&layer, n_steps).unwrap();
        let network = SpikingNetwork::new(vec![layer.clone()]).unwrap();
        let settings = RunSettings {
            encoding: Encoding::Poisson, reset: Reset::Subtract, readout: Readout::Spikes, n_steps, seed: 1,
        };
        let trace = EventEngine::new(&network).run(&[Sample { index: 0, pixels: &[1.0] }], &settings).unwrap().remove(0);
        let in_all = 0.5 + n_steps as f32 * layer.weights()[0];
        prop_assert_eq!(trace.spikes[1].counts()[0] as f32 + trace.residual[0][0], in_all);
    }
}

#[test]
fn runs_long_enough_to_saturate_still_agree_and_stop_at_the_limit() {
    // 2,000 steps of −90 from a grid of 2⁻¹⁰ pass −16,384 thresholds.
    let layer = |weights: Vec<f64>, n_out: usize| ExactLayer {
        name: "dense".to_owned(),
        weights,
        biases: vec![0.0; n_out],
        initial_potential: 0.0,
        thresholds: vec![1.0; n_out],
    };
    let layers = [layer(vec![-90.0, 60.0], 2), layer(vec![1.0, -80.0], 1)];
    let network =
        SpikingNetwork::new(layers.iter().map(|layer| SpikingLayer::round(layer, 2000).unwrap()).collect()).unwrap();
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
