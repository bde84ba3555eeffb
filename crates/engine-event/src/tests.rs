use model::config::Encoding;
use model::config::{NeuronConfig, Readout, Reset};
use proptest::prelude::*;
use proptest::sample::select;
use snn::faults::device;
use snn::grid::Precision;
use snn::network::ExactLayer;
use snn::places::by_place;
use snn::{
    Connection, EarlyDecision, EarlyExit, EngineError, Kernel, Potentials, ReferenceEngine, SpikingNetwork, Wiring,
};
use specimens::{
    BYTES, FLOATS, INTEGERS, SHORTS, SMALL, SMALL_SHORTS, all_faults, all_settings, any_conv, conv_network, convs,
    graded_precision, graded_settings, images, images_of_bytes, network, samples, uneven_convs, uniform,
};

use super::*;
use crate::kernels::{KERNELS, LayerFacts, choose};
use crate::pixels::ByteDrive;

fn compare_with_the_definition(network: &SpikingNetwork, images: &[Vec<f32>], settings: &RunSettings) {
    let expected = ReferenceEngine::new(network).run(&samples(images), settings).unwrap();
    let traces = EventEngine::new(network).run(&samples(images), settings).unwrap();
    assert!(traces == expected, "{settings:?}");
}

#[test]
fn the_event_driven_engine_does_what_the_definition_says() {
    let network = network(&[30, 21, 17, 5], 3, 0.5, 12);
    for settings in all_settings(12) {
        compare_with_the_definition(&network, &images(4, 30, 90), &settings);
    }
}

#[test]
fn convolutions_pools_and_residual_sums_do_what_the_definition_says() {
    for conv in convs().into_iter().chain(uneven_convs()) {
        let network = conv_network([9, 11], conv, 4, 8);
        for settings in all_settings(8) {
            compare_with_the_definition(&network, &images(2, network.n_in(), 90), &settings);
        }
    }
}

#[test]
fn neurons_at_which_nothing_arrives_do_what_the_definition_says() {
    for conv in convs().into_iter().chain(uneven_convs()) {
        let network = conv_network([14, 15], conv, 4, 8);
        let mut images = images(2, network.n_in(), 90);
        // Dark but for a corner of the first channel.
        for (pixel, value) in images.iter_mut().flat_map(|image| image.iter_mut().enumerate()) {
            if pixel >= 3 * 15 || pixel % 15 > 4 {
                *value = 0.0;
            }
        }
        for settings in all_settings(8) {
            compare_with_the_definition(&network, &images, &settings);
        }
    }
}

#[test]
fn potentials_that_become_longer_than_sums_do_what_the_definition_says() {
    // A window that slides over many spikes: its sums are there before neurons fire, in few bits as long as potentials fit.
    let conv = convs()[9];
    let network = conv_network([9, 11], conv, 4, Precision { n_steps: 100, ..INTEGERS });
    assert_eq!(kernel_of(&network.layers()[0]), "sliding-int16");
    let images = images(2, network.n_in(), 90);
    for settings in all_settings(100) {
        compare_with_the_definition(&network, &images, &settings);
    }
    let residual = |n_steps: usize| {
        let settings = all_settings(n_steps)[0];
        let trace = EventEngine::new(&network).run(&samples(&images[..1]), &settings).unwrap().remove(0);
        let (residual, grids) = (trace.residual[0].by_neuron(), network.layers()[0].grids());
        let per_channel = residual.len() / grids.len();
        let in_steps = |(neuron, &u): (usize, &f32)| f64::from(u) / grids[neuron / per_channel].step();
        residual.iter().enumerate().map(in_steps).fold(0.0, f64::min)
    };
    assert!(residual(2) > f64::from(i16::MIN) && residual(100) < f64::from(i16::MIN));
}

#[test]
fn silent_neurons_of_other_scales_are_told_apart() {
    // The second half of the channels has twice the biases of the first: the same integers on grids twice as coarse.
    let kernel = Kernel::square([1, 3, 3], 128, 1, 1, 0, 1);
    let wiring = Wiring { source: snn::Source::INPUT, source_shape: [1, 3, 3], pools: Vec::new(), kernel };
    let twice = |channel: usize| if channel < 64 { 1.0 } else { 2.0 };
    let of_channels = |value: f64| (0..128).map(|channel| value * twice(channel)).collect::<Vec<f64>>();
    let exact = ExactLayer {
        name: "conv 1".to_owned(),
        connections: vec![Connection { wiring, weights: of_channels(0.5) }],
        biases: of_channels(0.3).into(),
        initial_potentials: vec![0.0; 128],
        thresholds: vec![1.0; 128],
    };
    let layer = SpikingLayer::round(&exact, INTEGERS).unwrap();
    assert_eq!(layer.grids()[0].exponent, layer.grids()[64].exponent + 1);
    let network = SpikingNetwork::new([1, 3, 3], vec![layer]).unwrap();
    let settings = RunSettings { readout: Readout::Spikes, ..all_settings(16)[0] };
    compare_with_the_definition(&network, &[vec![0.0; 9]], &settings);
}
/// The same spikes for every number of threads and SIMD level: those of the definition.
fn agree_everywhere(network: &SpikingNetwork, n_images: usize) {
    let images = images(n_images, network.n_in(), 1000);
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    for settings in all_settings(16) {
        let expected = EventEngine::new(network).run(&samples(&images), &settings).unwrap();
        let n_defined = images.len().min(2);
        let defined = ReferenceEngine::new(network).run(&samples(&images)[..n_defined], &settings).unwrap();
        assert!(expected[..n_defined] == defined, "{settings:?}");
        for n_threads in [1, 2] {
            for engine in every_simd_level(network) {
                let traces = pool(n_threads).install(|| engine.run(&samples(&images), &settings)).unwrap();
                assert!(traces == expected, "{settings:?}, {n_threads} threads, {engine:?}");
            }
        }
    }
}

fn agree_on_networks(precision: Precision) {
    agree_everywhere(&network(&[70, 65, 130, 10], 5, 0.5, precision), 70);
    for conv in convs() {
        agree_everywhere(&conv_network([8, 9], conv, 9, precision), 10);
    }
    for conv in uneven_convs() {
        agree_everywhere(&conv_network([8, 9], conv, 9, precision), 2);
    }
}

/// What comes of neurons whose spikes carry more than 0 or 1 is what the definition says, at every level.
fn graded_neurons_agree(network: &SpikingNetwork, n_steps: usize, n_images: usize) {
    let images = images(n_images, network.n_in(), 300);
    let engines = every_simd_level(network);
    for settings in graded_settings(n_steps) {
        let expected = ReferenceEngine::new(network).run(&samples(&images), &settings).unwrap();
        for engine in &engines {
            assert!(engine.run(&samples(&images), &settings).unwrap() == expected, "{settings:?} {:?}", engine.arch);
        }
    }
}

#[test]
fn neurons_that_count_or_take_back_do_what_the_definition_says() {
    const N_STEPS: usize = 6;
    for precision in [FLOATS, INTEGERS, BYTES].map(|of| graded_precision(N_STEPS, of)) {
        graded_neurons_agree(&network(&[70, 65, 130, 10], 5, 0.5, precision), N_STEPS, 20);
        for conv in convs().into_iter().chain(uneven_convs()) {
            graded_neurons_agree(&conv_network([8, 9], conv, 9, precision), N_STEPS, 2);
        }
    }
}

#[test]
fn runs_of_neurons_that_count_are_the_same_in_pieces_of_time() {
    let network = network(&[30, 21, 17, 5], 3, 0.5, graded_precision(12, INTEGERS));
    let exit = EarlyExit::new(&network, 0.9);
    let images = images(20, 30, 90);
    for settings in graded_settings(12) {
        let engine = EventEngine::new(&network);
        let traces = engine.run(&samples(&images), &settings).unwrap();
        let expected: Vec<EarlyDecision> = traces.iter().map(|trace| exit.decide(trace, &settings)).collect();
        assert_eq!(engine.run_until(&samples(&images), &settings, &exit).unwrap(), expected, "{settings:?}");
    }
    // More steps than are run at a time.
    let settings = graded_settings(2 * GRADED_PIECE + 3).remove(0);
    let network = specimens::network(&[30, 21, 17, 5], 3, 0.5, graded_precision(settings.n_steps, BYTES));
    compare_with_the_definition(&network, &images[..2], &settings);
}

#[test]
fn levels_and_threads_agree_bit_for_bit_with_sums_of_floats() {
    agree_on_networks(FLOATS);
}

/// Input channels of convolutions with more and with fewer weights than are kept side by side for all channels of a site.
const LARGE: [(usize, &str); 2] = [(232, "gather-int32-half"), (64, "gather-int32-wide")];

/// A convolution of some input channels, and what reads its spikes.
fn large_network(channels: usize, precision: Precision) -> SpikingNetwork {
    let kernel = Kernel::square([channels, 3, 4], 70, 3, 1, 1, 1);
    let wirings = [
        Wiring { source: snn::Source::INPUT, source_shape: [channels, 3, 4], pools: Vec::new(), kernel },
        Wiring::dense(snn::Source::of_layer(0), [70, 3, 4], 10),
    ];
    let layers = wirings.into_iter().map(|wiring| {
        let (n, row_len) = (wiring.kernel.channels, wiring.kernel.row_len());
        let scale = 4.0 / (row_len as f64).sqrt();
        let weights = uniform(n as u64, n * row_len).iter().map(|weight| weight * scale).collect();
        let exact = ExactLayer {
            name: "layer".to_owned(),
            connections: vec![Connection { wiring, weights }],
            biases: vec![0.0; n].into(),
            initial_potentials: vec![0.5; n],
            thresholds: vec![1.0; n],
        };
        SpikingLayer::round(&exact, precision).unwrap()
    });
    SpikingNetwork::new([channels, 3, 4], layers.collect()).unwrap()
}

#[test]
fn levels_and_threads_agree_bit_for_bit_on_large_layers() {
    for (channels, kernel) in LARGE {
        for precision in [SHORTS, SMALL_SHORTS] {
            let network = large_network(channels, precision);
            assert_eq!(kernel_of(&network.layers()[0]), kernel);
            agree_everywhere(&network, 3);
        }
        let precision = graded_precision(4, SHORTS);
        graded_neurons_agree(&large_network(channels, precision), 4, 1);
        for faults in all_faults() {
            let faulty = device(&large_network(channels, SHORTS), &faults, 3, SHORTS).unwrap();
            for settings in [all_settings(8)[0], all_settings(8)[5]] {
                compare_with_the_definition(&faulty, &images(1, faulty.n_in(), 90), &settings);
            }
        }
    }
}

#[test]
fn large_layers_are_the_same_in_pieces_of_time() {
    let network = large_network(LARGE[0].0, SMALL_SHORTS);
    let exit = EarlyExit::new(&network, 0.9);
    let images = images(5, network.n_in(), 90);
    for settings in all_settings(11) {
        let engine = EventEngine::new(&network);
        let traces = engine.run(&samples(&images), &settings).unwrap();
        let expected: Vec<EarlyDecision> = traces.iter().map(|trace| exit.decide(trace, &settings)).collect();
        assert_eq!(engine.run_until(&samples(&images), &settings, &exit).unwrap(), expected, "{settings:?}");
    }
}

#[test]
fn levels_and_threads_agree_bit_for_bit_with_sums_of_integers() {
    agree_on_networks(INTEGERS);
}

#[test]
fn levels_and_threads_agree_bit_for_bit_with_sums_of_bytes() {
    agree_on_networks(BYTES);
}

fn kernel_of(layer: &SpikingLayer) -> &'static str {
    choose(&LayerFacts::new(layer)).0.name()
}

#[test]
fn the_networks_that_engines_agree_on_are_run_by_every_kernel() {
    let mut names: Vec<_> =
        LARGE.iter().map(|&(channels, _)| kernel_of(&large_network(channels, SHORTS).layers()[0])).collect();
    for precision in [FLOATS, INTEGERS, BYTES] {
        let networks = convs().into_iter().map(|conv| conv_network([8, 9], conv, 9, precision));
        let networks = networks.chain([network(&[70, 65, 130, 10], 5, 0.5, precision)]);
        for network in networks {
            names.extend(network.layers().iter().map(kernel_of));
        }
    }
    for kernel in KERNELS {
        assert!(names.contains(&kernel.name()), "{} runs no layer of {names:?}", kernel.name());
    }
}

#[test]
fn every_kernel_that_supports_a_layer_packs_it_and_the_last_supports_all() {
    for precision in [FLOATS, INTEGERS, BYTES] {
        for conv in convs().into_iter().chain(uneven_convs()) {
            for layer in conv_network([8, 9], conv, 9, precision).layers() {
                let facts = LayerFacts::new(layer);
                let supporting: Vec<_> = KERNELS.iter().filter(|kernel| kernel.supports(&facts).is_ok()).collect();
                for kernel in &supporting {
                    drop(kernel.pack(&facts));
                }
                assert_eq!(supporting.last().map(|kernel| kernel.name()), Some(KERNELS[KERNELS.len() - 1].name()));
            }
        }
    }
}

#[test]
fn kernels_run_the_layers_that_they_are_made_for() {
    let names = |precision, layer: usize| {
        let networks = convs().into_iter().map(|conv| conv_network([8, 9], conv, 9, precision));
        networks.map(|network| kernel_of(&network.layers()[layer])).collect::<Vec<_>>()
    };
    for precision in [INTEGERS, BYTES] {
        let count = |layer: usize, name: &str| names(precision, layer).iter().filter(|of| of.starts_with(name)).count();
        // The three with few inputs a row, and the kernel of one pixel.
        assert_eq!(count(0, "tables"), 4);
        // The last five, and the second convolution of those without a skip connection.
        assert_eq!([count(0, "sliding"), count(1, "sliding")], [5, 3]);
        let of_bytes = [0, 1].map(|layer| count(layer, "sliding-bytes") + count(layer, "gather-bytes"));
        // Those that are not looked up, and those that do not read sums of nine, which have rows of multiples. Two have so many synapses
        // that their weights are small anyway.
        assert_eq!(of_bytes, if precision == BYTES { [convs().len() - 4, convs().len() - 2] } else { [0, 2] });
    }
}

/// Whether the layer multiplies bytes, after a comparison of its currents with the definition's.
fn drives_as_defined(layer: &SpikingLayer, images: &[Vec<f32>]) -> bool {
    let pixels: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let drive = Drive::of_pixels(layer).unwrap();
    let expected: Vec<Vec<f32>> = images.iter().map(|image| by_place(layer.shape(), &layer.drive(image))).collect();
    let with_zeros = |expected: &Vec<f32>| [expected.as_slice(), &[0.0; 3]].concat();
    let all = drive.currents(&pixels, 3);
    for (image, (found, expected)) in all.iter().zip(&expected).enumerate() {
        assert_eq!(*found, with_zeros(expected), "image {image} of {}", images.len());
    }
    let of_bytes = ByteDrive::new(layer).ok().map(|drive| drive.currents(&pixels, 0));
    assert!(of_bytes.is_none() || of_bytes == Some(Some(expected)), "bytes drive the layer otherwise");
    of_bytes.is_some()
}

#[test]
fn pixels_that_are_bytes_are_multiplied_as_integers_and_drive_neurons_as_the_definition_says() {
    for precision in [INTEGERS, BYTES, SMALL] {
        for (sizes, seed) in [([70, 65], 5), ([7, 16], 6), ([1, 1], 7), ([301, 40], 8)] {
            let network = network(&sizes, seed, 0.5, precision);
            let has_small_weights = ByteDrive::new(&network.layers()[0]).unwrap().not_small().is_none();
            assert_eq!(has_small_weights, precision == SMALL || sizes == [1, 1] && precision == BYTES, "{sizes:?}");
            for n in [1, 4, 6] {
                assert!(drives_as_defined(&network.layers()[0], &images_of_bytes(n, sizes[0], seed, 20)));
            }
        }
        for conv in convs() {
            let network = conv_network([8, 9], conv, 9, precision);
            let n_in = network.layers()[0].connections()[0].wiring.kernel.n_in();
            let has_one_group = conv.groups[0] == 1;
            assert_eq!(drives_as_defined(&network.layers()[0], &images_of_bytes(5, n_in, 3, 20)), has_one_group);
        }
        for conv in uneven_convs() {
            let network = conv_network([8, 9], conv, 9, precision);
            let n_in = network.layers()[0].connections()[0].wiring.kernel.n_in();
            let is_supported = conv.groups[0] == 1 && conv.dilation == [1; 2];
            assert_eq!(drives_as_defined(&network.layers()[0], &images_of_bytes(5, n_in, 3, 20)), is_supported);
        }
    }
    // Weights of more bits are not multiplied as integers, nor are pixels that lie between bytes.
    assert!(!drives_as_defined(&network(&[70, 65], 5, 0.5, FLOATS).layers()[0], &images_of_bytes(5, 70, 3, 20)));
    let network = network(&[70, 65], 5, 0.5, INTEGERS);
    let settings = RunSettings { encoding: Encoding::Constant, ..all_settings(8)[0] };
    let mut images = images_of_bytes(5, 70, 3, 20);
    for off in [f32::EPSILON / 8.0, 0.3, 1.0] {
        images[2][69] = off;
        let pixels: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
        let of_bytes = ByteDrive::new(&network.layers()[0]).unwrap().currents(&pixels, 0);
        assert_eq!(of_bytes.is_some(), off == 1.0);
        let driven = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        let alone = EventEngine::new(&network).run(&samples(&images)[2..3], &settings).unwrap();
        assert_eq!(driven[2], alone[0]);
        assert_eq!(
            Drive::of_pixels(&network.layers()[0]).unwrap().of_neurons(&images[2]),
            network.layers()[0].drive(&images[2])
        );
    }
}

#[test]
fn bytes_are_not_multiplied_where_what_pixels_differ_from_fractions_by_adds_up() {
    // Weights of one sign, and pixels that all differ by as much.
    let layer = |sum_bits| {
        let exact = ExactLayer {
            name: "dense 1".to_owned(),
            connections: vec![Connection {
                wiring: Wiring::dense(snn::Source::INPUT, [900, 1, 1], 40),
                weights: uniform(3, 900 * 40).iter().map(|weight| weight.abs() / 10.0).collect(),
            }],
            biases: vec![0.0; 40].into(),
            initial_potentials: vec![0.0; 40],
            thresholds: vec![1.0; 40],
        };
        SpikingLayer::round(&exact, Precision { n_steps: 1, sum_bits, weight_bits: 16, may_saturate: true }).unwrap()
    };
    let images: Vec<Vec<f32>> = (0..=255_u8).map(|byte| vec![f32::from(byte) / 255.0; 900]).collect();
    let by_bits = |sum_bits| drives_as_defined(&layer(sum_bits), &images);
    assert_eq!([15, 16, 17, 20, 24].map(by_bits), [true, true, false, false, false]);
}

proptest! {
    #[test]
    fn sums_of_bytes_are_rounded_as_those_of_fractions(
        n_in in 1..900_usize, seed in any::<u64>(), sum_bits in 8..=24_u32, weight_bits in 4..=16_u32, white in 0..=192_u32,
    ) {
        let precision = Precision { n_steps: 16, sum_bits, weight_bits, may_saturate: true };
        let network = network(&[n_in, 20], seed, 0.5, precision);
        let are_bytes = drives_as_defined(&network.layers()[0], &images_of_bytes(3, n_in, seed, white));
        prop_assert!(are_bytes || sum_bits > 15);
    }
}

#[test]
fn devices_with_faults_do_what_the_definition_says_of_neurons_that_count() {
    // What is lost is missing from the totals that bound sums, so that single steps have to be.
    let precision = Precision { sum_bits: 12, ..graded_precision(16, INTEGERS) };
    let networks = [network(&[40, 65, 30, 10], 5, 0.5, precision), conv_network([8, 7], convs()[2], 9, precision)];
    for faults in all_faults() {
        for network in &networks {
            graded_neurons_agree(&device(network, &faults, 3, precision).unwrap(), 4, 1);
        }
    }
}

#[test]
fn devices_with_faults_do_what_the_definition_says() {
    // One network that is added up in integers.
    let mut networks = vec![(INTEGERS, network(&[40, 65, 30, 10], 5, 0.5, INTEGERS))];
    networks.extend(convs()[..3].iter().map(|&conv| (FLOATS, conv_network([8, 7], conv, 9, FLOATS))));
    for faults in all_faults() {
        for (precision, network) in &networks {
            let faulty = device(network, &faults, 3, *precision).unwrap();
            assert_ne!(&faulty, network, "{faults:?}");
            for settings in all_settings(16) {
                compare_with_the_definition(&faulty, &images(1, network.n_in(), 90), &settings);
            }
            agree_everywhere(&faulty, 5);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn networks_of_any_size_do_what_the_definition_says(
        sizes in proptest::collection::vec(1..90_usize, 2..5), seed in 0..1000_u64, n_steps in 1..24_usize,
        initial_potential in 0.0..0.9_f64, choice in 0..16_usize, sum_bits in select(vec![15, 24]), weight_bits in 7..10_u32,
    ) {
        let network = network(&sizes, seed, initial_potential, Precision { n_steps, sum_bits, weight_bits, may_saturate: true });
        let images = images(3, sizes[0], seed + 50);
        let settings = all_settings(n_steps)[choice];
        compare_with_the_definition(&network, &images, &settings);
    }

    #[test]
    fn convolutions_of_any_shape_do_what_the_definition_says(
        seed in any::<u64>(), choice in 0..16_usize, sum_bits in select(vec![15, 24]), weight_bits in 7..10_u32,
    ) {
        let (input, conv) = any_conv(seed);
        let seed = seed % 1000;
        let precision = Precision { n_steps: 10, sum_bits, weight_bits, may_saturate: true };
        let network = conv_network(input, conv, seed, precision);
        let images = images(3, network.n_in(), seed + 50);
        let settings = all_settings(10)[choice];
        compare_with_the_definition(&network, &images, &settings);
        agree_everywhere(&network, 1);
    }

    #[test]
    fn subtractive_reset_keeps_the_overshoot(weight in 0.05..0.95_f64, n_steps in 1..60_usize) {
        // Charge is conserved: what went in is either spikes or still in the membrane.
        let layer = ExactLayer {
            name: "dense 1".to_owned(),
            connections: vec![Connection { wiring: Wiring::dense(snn::Source::INPUT, [1, 1, 1], 1), weights: vec![weight] }],
            biases: vec![0.0].into(), initial_potentials: vec![0.5], thresholds: vec![1.0],
        };
        let layer = SpikingLayer::round(&layer, n_steps).unwrap();
        let network = SpikingNetwork::new([1, 1, 1], vec![layer.clone()]).unwrap();
        let settings = RunSettings {
            encoding: Encoding::Poisson, neuron: NeuronConfig::default(), reset: Reset::Subtract, readout: Readout::Spikes, n_steps, seed: 1,
        };
        let trace = EventEngine::new(&network).run(&[Sample { index: 0, pixels: &[1.0] }], &settings).unwrap().remove(0);
        let in_all = 0.5 + n_steps as f32 * layer.connections()[0].weights[0];
        prop_assert_eq!(trace.spikes[1].counts()[0] as f32 + trace.residual[0].by_neuron()[0], in_all);
    }
}
#[test]
fn every_level_stops_at_the_step_at_which_the_whole_run_is_settled() {
    let networks = convs().into_iter().map(|conv| conv_network([8, 7], conv, 9, 16));
    let plain = network(&[70, 65, 10], 5, 0.5, 16);
    let faulty = all_faults().into_iter().skip(3).map(|faults| device(&plain, &faults, 3, 16).unwrap());
    for network in networks.chain([plain.clone()]).chain(faulty) {
        let images = images(10, network.n_in(), 1000);
        for settings in all_settings(16) {
            let traces = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
            for confidence in [0.6, 0.9, 0.99] {
                let exit = EarlyExit::new(&network, confidence);
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
                    let readout = &trace.readout[step * trace.n_classes..][..trace.n_classes];
                    watch.step(&pieces, step - first, readout)
                })
            });
            prop_assert_eq!(early, Some(exit.decide(&trace, &settings)));
        }
    }
}

#[test]
fn runs_long_enough_to_saturate_stop_at_the_limit() {
    for precision in [FLOATS, INTEGERS] {
        saturates(Precision { n_steps: 2000, ..precision });
    }
}

fn saturates(precision: Precision) {
    // 2,000 steps of −90 pass −16,384 thresholds on a grid of 2⁻¹⁰, and −65,536 on one of 2⁻⁸.
    let layer = |source: usize, weights: Vec<f64>, n_out: usize| ExactLayer {
        name: "dense".to_owned(),
        connections: vec![Connection {
            wiring: Wiring::dense(snn::Source::from_index(source), [weights.len() / n_out, 1, 1], n_out),
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
    let limits: Vec<Vec<f32>> = network.layers().iter().map(|layer| layer.potential_limits(2000).unwrap()).collect();
    assert_eq!(
        trace[0].residual.iter().map(Potentials::by_neuron).collect::<Vec<_>>(),
        [vec![-limits[0][0], limits[0][1]], vec![-limits[1][0]]]
    );
    assert_eq!(ReferenceEngine::new(&network).run(&samples, &settings).unwrap(), trace);
}

#[test]
fn rates_under_constant_input_approach_the_relu_within_one_spike() {
    // One layer, v(0) = ½: the count is T·a rounded, so |count/T − a| ≤ 1/T while a ≤ 1 and the input is steady.
    let n_steps = 500;
    let network = network(&[20, 40], 8, 0.5, n_steps);
    let images = images(3, 20, 77);
    let settings = RunSettings {
        encoding: Encoding::Constant,
        neuron: NeuronConfig::default(),
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
fn a_sample_of_the_wrong_size_is_refused() {
    let network = network(&[4, 3], 1, 0.0, 2);
    let sample = [Sample { index: 6, pixels: &[0.0; 5] }];
    let expected = Err(EngineError::WrongSize { index: 6, found: 5, expected: 4 });
    assert_eq!(EventEngine::new(&network).run(&sample, &all_settings(2)[0]), expected);
}
