use std::io::Write as _;
use std::ops::Range;

use ann::backend;
use burn::tensor::{Int, TensorData};
use model::Backend;
use proptest::prelude::*;
use proptest::sample::select;
use snn::faults::device;
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::philox::philox;
use snn::places::by_place;
use snn::{EarlyDecision, EarlyExit, ReferenceEngine, SpikingNetwork};
use specimens::{
    BYTES, Conv, FLOATS, INTEGERS, all_faults, all_settings, any_conv, conv_network, convs, graded_precision,
    graded_settings, images, network, samples, uneven_convs,
};

use model::config::NeuronKind;

use super::*;

/// Every backend that is built in and has a device: the feature `wgpu` adds a GPU, or a software Vulkan driver.
fn devices() -> Vec<(Backend, Device)> {
    backend::usable().into_iter().map(|backend| (backend, backend::device(backend).unwrap())).collect()
}

fn devices_without_gpu() -> Vec<(Backend, Device)> {
    devices().into_iter().filter(|(backend, _)| *backend != Backend::Wgpu).collect()
}

/// What a device with kernels computes, in plain loops on the CPU: puts the engine's way with kernels to the test where there
/// is no GPU.
#[derive(Debug)]
struct PlainKernels;

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Numbers out of their upper and lower halves.
fn whole(halves: &[f32]) -> Vec<u64> {
    let (upper, lower) = halves.split_at(halves.len() / 2);
    upper.iter().zip(lower).map(|(&upper, &lower)| (upper as u64) << 16 | lower as u64).collect()
}

impl SpikingKernels for PlainKernels {
    fn poisson(&self, rates: Tensor<3>, samples: Tensor<2>, seed: u64, steps: Range<usize>) -> Tensor<2> {
        let ([_, n_samples, n], device) = (rates.dims(), rates.device());
        let (rates, samples) = (whole(&values(rates)), whole(&values(samples)));
        let spike = |step: usize, at: usize| {
            let counter = [(at % n) as u32, step as u32 / 4, samples[at / n] as u32, 0];
            f32::from(u8::from(u64::from(philox(seed, counter)[step % 4]) < rates[at]))
        };
        let spikes = steps.clone().flat_map(|step| (0..rates.len()).map(move |at| (step, at)));
        tensor(spikes.map(|(step, at)| spike(step, at)).collect(), [steps.len() * n_samples, n], &device)
    }

    fn evenly(&self, rates: Tensor<3>, phases: Tensor<3>, steps: Range<usize>) -> Tensor<2> {
        let ([_, n_samples, n], device) = (rates.dims(), rates.device());
        let (rates, phases) = (whole(&values(rates)), whole(&values(phases)));
        let so_far = |step: usize, at: usize| (phases[at] + step as u64 * rates[at]) >> 32;
        let spikes = steps.clone().flat_map(|step| (0..rates.len()).map(move |at| (step, at)));
        let spikes = spikes.map(|(step, at)| (so_far(step + 1, at) - so_far(step, at)) as f32);
        tensor(spikes.collect(), [steps.len() * n_samples, n], &device)
    }

    fn advance(
        &self,
        currents: Tensor<3>,
        steady: Tensor<2>,
        potentials: Tensor<2>,
        limits: Tensor<2>,
        fires: Option<Reset>,
    ) -> Advanced {
        let ([n_steps, n_samples, n], device) = (currents.dims(), currents.device());
        let (currents, steady, limits) = (values(currents), values(steady), values(limits));
        let mut potentials = values(potentials);
        let mut output = Vec::new();
        for currents in currents.chunks_exact(n_samples * n) {
            for (at, v) in potentials.iter_mut().enumerate() {
                let u = *v + currents[at] + steady[at];
                let after = match fires {
                    Some(Reset::Subtract) if u >= 1.0 => u - 1.0,
                    Some(Reset::Zero) if u >= 1.0 => 0.0,
                    _ => u,
                };
                *v = after.clamp(-limits[at % n], limits[at % n]);
                output.push(if fires.is_some() { f32::from(u8::from(u >= 1.0)) } else { *v });
            }
        }
        Advanced {
            output: tensor(output, [n_steps * n_samples, n], &device),
            potentials: tensor(potentials, [n_samples, n], &device),
        }
    }

    fn pack(&self, spikes: Tensor<2>, shape: [usize; 3]) -> Tensor<2, Int> {
        let ([n_rows, n], device) = (spikes.dims(), spikes.device());
        let by_row = values(spikes);
        let words: Vec<i32> = by_row
            .chunks_exact(n)
            .flat_map(|row| {
                let places = by_place(shape, row);
                let word = |places: &[f32]| places.iter().rev().fold(0, |word, &spike| word << 1 | spike as i32);
                places.chunks(32).map(word).collect::<Vec<i32>>()
            })
            .collect();
        Tensor::from_data(TensorData::new(words, [n_rows, n.div_ceil(32)]), &device)
    }
}

/// The kernels to run the device with: its own, or if it has none, none and plain ones.
fn ways(device: &Device) -> Vec<Option<&'static dyn SpikingKernels>> {
    match spiking_kernels(device) {
        None => vec![None, Some(&PlainKernels)],
        own => vec![own],
    }
}

#[test]
fn neurons_at_which_nothing_arrives_do_what_the_event_driven_engine_says() {
    for conv in convs() {
        let network = conv_network([14, 15], conv, 4, 8);
        let mut images = images(2, network.n_in(), 90);
        // Dark but for a corner of the first channel.
        for (pixel, value) in images.iter_mut().flat_map(|image| image.iter_mut().enumerate()) {
            if pixel >= 3 * 15 || pixel % 15 > 4 {
                *value = 0.0;
            }
        }
        for settings in all_settings(8) {
            let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
            let dense = DenseEngine::new(&network, &devices()[0].1, 2);
            assert_eq!(dense.run(&samples(&images), &settings).unwrap(), expected, "{settings:?}");
        }
    }
}

/// Networks of which both engines are to do the same on every backend, batch size, thread count and SIMD level.
///
/// - `batches`: as [`agree_everywhere`] has them
fn agree_on_networks(precision: Precision, devices: &[(Backend, Device)], batches: &[(usize, usize)]) {
    agree_everywhere(&network(&[70, 65, 130, 10], 5, 0.5, precision), 70, devices, batches);
    for conv in convs() {
        agree_everywhere(&conv_network([8, 9], conv, 9, precision), 10, devices, batches);
    }
    for conv in uneven_convs() {
        agree_everywhere(&conv_network([8, 9], conv, 9, precision), 2, devices, batches);
    }
}

// The dense engine computes the same on any grid, and a GPU in software takes minutes for one; the random networks below try it on all.
#[test]
fn both_engines_agree_bit_for_bit_everywhere_with_sums_of_floats() {
    agree_on_networks(FLOATS, &devices(), &[(1, 1), (7, 2), (64, 1)]);
}

#[test]
fn both_engines_agree_bit_for_bit_everywhere_with_sums_of_integers() {
    agree_on_networks(INTEGERS, &devices_without_gpu(), &[(64, 2)]);
}

#[test]
fn both_engines_agree_bit_for_bit_everywhere_with_sums_of_bytes() {
    agree_on_networks(BYTES, &devices_without_gpu(), &[(64, 2)]);
}

#[test]
fn devices_with_faults_do_the_same_on_every_engine() {
    // One network that is added up in integers.
    let mut networks = vec![(INTEGERS, network(&[40, 65, 30, 10], 5, 0.5, INTEGERS))];
    networks.extend(convs()[..3].iter().map(|&conv| (FLOATS, conv_network([8, 7], conv, 9, FLOATS))));
    for faults in all_faults() {
        for (precision, network) in &networks {
            let faulty = device(network, &faults, 3, *precision).unwrap();
            assert_ne!(&faulty, network, "{faults:?}");
            agree_everywhere(&faulty, 5, &devices(), &[(3, 2)]);
        }
    }
}

/// What the neurons of the settings put out is what their definition says, as the reference engine runs it.
fn emissions_agree(network: &SpikingNetwork, images: &[Vec<f32>], settings: &RunSettings) {
    let neuron = snn::neurons::of_run(settings);
    let expected = ReferenceEngine::new(network).emissions(&samples(images), settings, &*neuron).unwrap();
    let traces: Vec<SampleTrace> = expected.iter().map(|emissions| emissions.trace(network, settings)).collect();
    for (backend, device) in devices_without_gpu() {
        for kernels in ways(&device) {
            // A batch and a part of one.
            let engine = DenseEngine::with_kernels(network, &device, 2, kernels);
            let found = engine.emissions(&samples(images), settings).unwrap();
            assert!(found == expected, "{settings:?}, {backend} with {kernels:?}");
            assert!(engine.run(&samples(images), settings).unwrap() == traces, "{settings:?}, {backend}");
        }
    }
}

#[test]
fn neurons_of_every_model_do_what_the_reference_engine_says() {
    let precision = graded_precision(9, FLOATS);
    let mut networks = vec![network(&[40, 35, 30, 10], 5, 0.5, precision)];
    let convs = [&convs()[..7], &uneven_convs()[..]].concat();
    networks.extend(convs.into_iter().map(|conv| conv_network([8, 7], conv, 9, precision)));
    for network in networks {
        for settings in all_settings(9).into_iter().chain(graded_settings(9)) {
            emissions_agree(&network, &images(3, network.n_in(), 1000), &settings);
        }
    }
}

#[test]
fn neurons_of_every_model_on_devices_with_faults_do_what_the_reference_engine_says() {
    let precision = Precision { sum_bits: 12, ..graded_precision(16, FLOATS) };
    let mut networks = vec![network(&[40, 35, 30, 10], 5, 0.5, precision)];
    networks.extend(convs()[..3].iter().map(|&conv| conv_network([8, 7], conv, 9, precision)));
    for faults in all_faults() {
        for network in &networks {
            let faulty = device(network, &faults, 3, precision).unwrap();
            for settings in all_settings(12)[..4].iter().chain(&graded_settings(4)) {
                emissions_agree(&faulty, &images(3, network.n_in(), 1000), settings);
            }
        }
    }
}

#[test]
fn ternary_neurons_take_spikes_back_where_the_tests_look_for_it() {
    let network = conv_network([8, 7], convs()[1], 9, FLOATS);
    let settings = all_settings(9)[0];
    let images = images(3, network.n_in(), 1000);
    let settings = of_ternary(settings);
    let emissions = DenseEngine::new(&network, &devices()[0].1, 2).emissions(&samples(&images), &settings);
    let taken_back = |quanta: &Vec<Vec<i32>>| quanta.iter().flatten().filter(|quanta| **quanta < 0).count();
    for emissions in emissions.unwrap() {
        assert!(emissions.quanta[1..3].iter().all(|quanta| taken_back(quanta) > 0));
    }
}

/// The same run with ternary neurons.
fn of_ternary(settings: RunSettings) -> RunSettings {
    RunSettings { neuron: NeuronConfig { kind: NeuronKind::Ternary, ..NeuronConfig::default() }, ..settings }
}

#[test]
fn spikes_that_carry_more_saturate_earlier_and_the_same_on_every_engine() {
    // One step of both weights is 180 thresholds, up or down: 90 of 0 and 1.
    let weights = vec![90.0, -90.0];
    let layer = |source: usize, weights: Vec<f64>, n_out: usize, n_steps: usize| {
        let exact = ExactLayer {
            name: "dense".to_owned(),
            connections: vec![Connection {
                wiring: Wiring::dense(Source::from_index(source), [weights.len() / n_out, 1, 1], n_out),
                weights,
            }],
            biases: vec![0.25; n_out].into(),
            initial_potentials: vec![0.0; n_out],
            thresholds: vec![1.0; n_out],
        };
        SpikingLayer::round(&exact, Precision { n_steps, ..FLOATS }).unwrap()
    };
    let layers = vec![layer(0, vec![0.5, -0.5], 2, 400), layer(1, weights, 1, 400)];
    let network = SpikingNetwork::new([1, 1, 1], layers).unwrap();
    let settings = RunSettings {
        encoding: Encoding::Regular,
        neuron: NeuronConfig::default(),
        reset: Reset::Subtract,
        readout: Readout::Potential,
        n_steps: 400,
        seed: 0,
    };
    let [binary, ternary] = [settings, of_ternary(settings)].map(|settings| snn::neurons::of_run(&settings));
    let limit = |neuron: &dyn snn::neurons::Neuron| {
        network.layers()[1].potential_limits_of(neuron, 400, false).unwrap().unwrap()[0]
    };
    assert_eq!(Some(vec![limit(&*binary)]), network.layers()[1].potential_limits(400));
    assert!(limit(&*ternary) < limit(&*binary));
    let images = [vec![1.0]];
    for (neuron, settings) in [(binary, settings), (ternary, of_ternary(settings))] {
        let emissions = ReferenceEngine::new(&network).emissions(&samples(&images), &settings, &*neuron).unwrap();
        assert_eq!(emissions[0].potentials[1][399], [f64::from(limit(&*neuron))]);
        emissions_agree(&network, &images, &settings);
    }
}

#[test]
fn weights_too_large_for_what_spikes_carry_are_refused_with_the_layer() {
    let weights = vec![-(f64::from(1 << 23)), f64::from(1 << 23)];
    let exact = |source: Source, weights: Vec<f64>, shape: [usize; 3], n_out: usize| ExactLayer {
        name: format!("dense {}", source.index() + 1),
        connections: vec![Connection { wiring: Wiring::dense(source, shape, n_out), weights }],
        biases: vec![0.0; n_out].into(),
        initial_potentials: vec![0.0; n_out],
        thresholds: vec![1.0; n_out],
    };
    let layers =
        [exact(Source::INPUT, vec![1.0, 1.0], [1, 1, 1], 2), exact(Source::of_layer(0), weights, [2, 1, 1], 1)];
    let layers = layers.iter().map(|layer| SpikingLayer::round(layer, 1).unwrap()).collect();
    let network = SpikingNetwork::new([1, 1, 1], layers).unwrap();
    let binary = all_settings(1)[0];
    let settings = of_ternary(binary);
    let neuron = snn::neurons::of_run(&settings);
    let sample = [Sample { index: 0, pixels: &[1.0] }];
    let expected = EngineError::TooLarge { layer: "dense 2".to_owned(), channel: 0, neuron: "ternary" };
    assert_eq!(ReferenceEngine::new(&network).emissions(&sample, &settings, &*neuron), Err(expected.clone()));
    let dense = DenseEngine::new(&network, &devices()[0].1, 1);
    assert_eq!(dense.emissions(&sample, &settings), Err(expected));
    assert!(dense.run(&sample, &binary).is_ok());
}

/// - `batches`: sizes of the dense engine's batches, and threads
fn agree_everywhere(
    network: &SpikingNetwork,
    n_images: usize,
    devices: &[(Backend, Device)],
    batches: &[(usize, usize)],
) {
    let images = images(n_images, network.n_in(), 1000);
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    for settings in all_settings(16) {
        let expected = EventEngine::new(network).run(&samples(&images), &settings).unwrap();
        for (backend, device) in devices {
            // Two batches and a part of one.
            let n_samples = images.len().min(9);
            for kernels in ways(device).into_iter().flatten() {
                let engine = DenseEngine::with_kernels(network, device, 4, Some(kernels));
                let traces = engine.run(&samples(&images)[..n_samples], &settings).unwrap();
                assert!(traces == expected[..n_samples], "{settings:?}, {backend} with {kernels:?}");
            }
            // A GPU's batches are as good as one another, and a GPU in software takes minutes for all of them.
            let batches = if *backend == Backend::Wgpu { &batches[batches.len() - 1..] } else { batches };
            for &(batch_size, n_threads) in batches {
                // Batches of one take long; a few samples show as much.
                let n_samples = if batch_size == 1 { images.len().min(5) } else { images.len() };
                let engine = DenseEngine::new(network, device, batch_size);
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
        initial_potential in 0.0..0.9_f64, choice in 0..16_usize, sum_bits in select(vec![15, 24]), weight_bits in 7..10_u32,
    ) {
        let network = network(&sizes, seed, initial_potential, Precision { n_steps, sum_bits, weight_bits, may_saturate: true });
        let images = images(3, sizes[0], seed + 50);
        let settings = all_settings(n_steps)[choice];
        let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        for (_, device) in devices() {
            for kernels in ways(&device) {
                let engine = DenseEngine::with_kernels(&network, &device, 2, kernels);
                prop_assert_eq!(&engine.run(&samples(&images), &settings).unwrap(), &expected);
            }
        }
    }

    #[test]
    fn engines_agree_on_convolutions_of_any_shape(
        seed in any::<u64>(), choice in 0..16_usize, sum_bits in select(vec![15, 24]), weight_bits in 7..10_u32,
    ) {
        let ((input, conv), seed) = (any_conv(seed), seed % 1000);
        let precision = Precision { n_steps: 10, sum_bits, weight_bits, may_saturate: true };
        let network = conv_network(input, conv, seed, precision);
        let images = images(3, network.n_in(), seed + 50);
        let settings = all_settings(10)[choice];
        let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        for (_, device) in devices() {
            for kernels in ways(&device) {
                let engine = DenseEngine::with_kernels(&network, &device, 2, kernels);
                prop_assert_eq!(&engine.run(&samples(&images), &settings).unwrap(), &expected);
            }
        }
    }
}

#[test]
fn it_stops_at_the_step_at_which_the_whole_run_is_settled() {
    let networks = convs().into_iter().map(|conv| conv_network([8, 7], conv, 9, 16));
    let plain = network(&[70, 65, 10], 5, 0.5, 16);
    let faulty = all_faults().into_iter().skip(3).map(|faults| device(&plain, &faults, 3, 16).unwrap());
    for network in networks.chain([plain.clone()]).chain(faulty) {
        let images = images(10, network.n_in(), 1000);
        let dense = DenseEngine::new(&network, &devices()[0].1, 3);
        for settings in all_settings(16) {
            let traces = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
            let exit = EarlyExit::new(&network, 0.9);
            let expected: Vec<EarlyDecision> = traces.iter().map(|trace| exit.decide(trace, &settings)).collect();
            assert_eq!(dense.run_until(&samples(&images), &settings, &exit).unwrap(), expected, "{settings:?}");
        }
    }
}

#[test]
fn runs_long_enough_to_saturate_agree() {
    for precision in [FLOATS, INTEGERS] {
        saturates(Precision { n_steps: 2000, ..precision });
    }
}

fn saturates(precision: Precision) {
    // 2,000 steps of −90 pass −16,384 thresholds on a grid of 2⁻¹⁰, and −65,536 on one of 2⁻⁸.
    let layer = |source: usize, weights: Vec<f64>, n_out: usize| ExactLayer {
        name: "dense".to_owned(),
        connections: vec![Connection {
            wiring: Wiring::dense(Source::from_index(source), [weights.len() / n_out, 1, 1], n_out),
            weights,
        }],
        biases: vec![0.0; n_out].into(),
        initial_potentials: vec![0.0; n_out],
        thresholds: vec![1.0; n_out],
    };
    let layers = [layer(0, vec![-90.0, 60.0], 2), layer(1, vec![1.0, -80.0], 1)];
    let network = SpikingNetwork::new(
        [1, 1, 1],
        layers.iter().map(|layer| SpikingLayer::round(layer, precision).unwrap()).collect(),
    )
    .unwrap();
    let settings = RunSettings {
        encoding: Encoding::Regular,
        neuron: NeuronConfig::default(),
        reset: Reset::Subtract,
        readout: Readout::Potential,
        n_steps: 2000,
        seed: 0,
    };
    let pixels = [1.0];
    let samples = [Sample { index: 0, pixels: &pixels }];
    let trace = EventEngine::new(&network).run(&samples, &settings).unwrap();
    assert!(network.layers().iter().all(|layer| layer.potential_limits(2000).is_some()));
    for (_, device) in devices() {
        for kernels in ways(&device) {
            let engine = DenseEngine::with_kernels(&network, &device, 1, kernels);
            assert_eq!(engine.run(&samples, &settings).unwrap(), trace);
        }
    }
}

#[test]
fn devices_encode_to_the_bits_of_the_encoder_from_whatever_step_on() {
    let shape = [3, 5, 7];
    let n = shape.iter().product();
    // Black, white, all but white, the faintest, and between.
    let edges = [0.0, 1.0, 1.0 - f32::EPSILON / 2.0, 1e-10, 2.0_f32.powi(-32), 0.5];
    let pixels: Vec<Vec<f32>> =
        images(3, n, 70).into_iter().map(|image| [&edges, &image[edges.len()..]].concat()).collect();
    // Samples of any index, seeds of any size.
    let samples: Vec<Sample<'_>> =
        [5, 0x1_0000, u32::MAX].iter().zip(&pixels).map(|(&index, pixels)| Sample { index, pixels }).collect();
    let network = conv_network([5, 7], Conv { groups: [1, 3, 2], ..convs()[0] }, 1, 8);
    for seed in [0, 42, u64::MAX - 9] {
        for encoding in [Encoding::Poisson, Encoding::Systematic, Encoding::Regular] {
            let settings = RunSettings { encoding, seed, ..all_settings(23)[0] };
            let expected: Vec<SpikeTrain> = samples.iter().map(|sample| sample.encode(shape, &settings)).collect();
            for (backend, device) in devices() {
                for (kernels, steps_per_chunk) in
                    ways(&device).into_iter().flat_map(|kernels| [1, 3, 4, 10, 23].map(|steps| (kernels, steps)))
                {
                    let engine = DenseEngine::with_kernels(&network, &device, 3, kernels);
                    let traces = engine.run_in_chunks(&samples, &settings, steps_per_chunk);
                    for (trace, expected) in traces.iter().zip(&expected) {
                        assert!(trace.spikes[0] == *expected, "{backend}, {settings:?}, {steps_per_chunk} steps");
                    }
                }
            }
        }
    }
}

#[test]
fn chunks_of_steps_of_any_length_give_the_same_traces() {
    let network = conv_network([6, 5], convs()[1], 2, 11);
    let images = images(3, network.n_in(), 7);
    for settings in all_settings(11) {
        let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        for (backend, device) in devices() {
            for kernels in ways(&device) {
                for steps_per_chunk in [1, 4, 11] {
                    let engine = DenseEngine::with_kernels(&network, &device, 3, kernels);
                    let traces = engine.run_in_chunks(&samples(&images), &settings, steps_per_chunk);
                    assert!(traces == expected, "{backend}, {settings:?}, {steps_per_chunk} steps, {kernels:?}");
                }
            }
        }
    }
}

/// A network with its weights rounded to the 10 bits behind the leading one that TF32 has, in one layer.
fn as_tf32_rounds(network: &SpikingNetwork, layer_idx: usize) -> SpikingNetwork {
    let layers = network.layers().iter().enumerate().map(|(idx, layer)| {
        let dropped_bits = if idx == layer_idx { 23 - 10 } else { 0 };
        let round = |weight: f64| {
            let bits = (weight as f32).to_bits();
            f64::from(f32::from_bits((bits + (1 << dropped_bits >> 1)) >> dropped_bits << dropped_bits))
        };
        let connections = layer.connections().iter().map(|connection| Connection {
            wiring: connection.wiring.clone(),
            weights: connection.weights.iter().map(|&weight| round(f64::from(weight))).collect(),
        });
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
        let exact = ExactLayer {
            name: layer.name().to_owned(),
            connections: connections.collect(),
            biases: layer.biases().map(layer.n_positions(), |_, &bias| f64::from(bias)),
            initial_potentials: wide(layer.initial_potentials()),
            thresholds: wide(layer.thresholds()),
        };
        SpikingLayer::round(&exact, 12).unwrap()
    });
    SpikingNetwork::new(network.input(), layers.collect()).unwrap()
}

#[test]
fn a_device_that_rounds_weights_as_tf32_does_is_refused_with_the_layer_and_the_remedy() {
    let network = network(&[30, 40, 35, 5], 3, 0.5, 12);
    let images = images(4, 30, 90);
    assert_eq!(as_tf32_rounds(&network, 9), network, "nothing else may differ");
    for settings in all_settings(12) {
        for (backend, device) in devices() {
            let engine = DenseEngine::new(&network, &device, 4);
            let exact = engine.run(&samples(&images), &settings);
            assert!(exact.is_ok(), "{exact:?}");
            for (idx, layer) in network.layers().iter().enumerate() {
                // A constant current does not go through the device's product.
                if idx == 0 && settings.encoding == Encoding::Constant {
                    continue;
                }
                let engine = DenseEngine::new(&network, &device, 4).with_other_weights(&as_tf32_rounds(&network, idx));
                let error = engine.run(&samples(&images), &settings).unwrap_err();
                assert_eq!(error, EngineError::Inexact { backend, layer: layer.name().to_owned() }, "{settings:?}");
                let message = error.to_string();
                assert!(message.contains(backend.name()) && message.contains(layer.name()), "{message}");
                assert!(message.contains("--backend flex") && message.contains("simulate.engine"), "{message}");
                assert_eq!(engine.run(&samples(&images), &settings), Err(error), "and again");
            }
        }
    }
}

proptest! {
    #[test]
    fn tensors_of_any_network_and_batch_size_stay_within_bounds(
        widest in 1..1_usize << 26, batch_size in 1..1_usize << 20, rest in 0.0..1.0_f64,
    ) {
        let most = samples_per_batch(widest, batch_size);
        prop_assert!(most >= 1 && most <= batch_size);
        // The last batch may be smaller.
        let n_samples = 1 + ((most - 1) as f64 * rest) as usize;
        let n_steps = steps_per_chunk(widest, n_samples);
        let least = n_samples == 1 && n_steps == 1;
        prop_assert!(n_steps >= 1 && (least || widest * n_samples * n_steps <= MAX_ELEMENTS));
    }
}

#[test]
fn a_run_of_no_samples_gives_no_traces() {
    let network = network(&[4, 3], 1, 0.0, 2);
    for (_, device) in devices() {
        assert_eq!(DenseEngine::new(&network, &device, 8).run(&[], &all_settings(2)[0]), Ok(Vec::new()));
    }
}

#[test]
fn gpus_are_tested_or_skipped_visibly() {
    // Past the test harness, which swallows what passing tests print.
    let say = |text: &str| std::io::stderr().write_all(format!("engine tests on wgpu: {text}\n").as_bytes()).unwrap();
    if !backend::is_built_in(Backend::Wgpu) {
        say("skipped, not built in; `cargo test --release --workspace --features wgpu` has it");
    } else if !backend::usable().contains(&Backend::Wgpu) {
        say("skipped, no GPU and no software Vulkan driver; `scripts/setup wgpu` installs one");
    } else {
        let device = backend::device(Backend::Wgpu).unwrap();
        assert!(spiking_kernels(&device).is_some(), "a GPU without kernels: the tests above would use plain ones");
        say("run");
    }
}

#[test]
fn a_sample_of_the_wrong_size_is_refused() {
    let network = network(&[4, 3], 1, 0.0, 2);
    let sample = [Sample { index: 6, pixels: &[0.0; 5] }];
    let expected = Err(EngineError::WrongSize { index: 6, found: 5, expected: 4 });
    assert_eq!(DenseEngine::new(&network, &devices()[0].1, 1).run(&sample, &all_settings(2)[0]), expected);
}
