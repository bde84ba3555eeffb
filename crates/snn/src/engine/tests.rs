use std::io::Write as _;
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use model::Backend;
use model::backend::{Advanced, SpikingKernels, spiking_kernels};
use model::config::{FaultsConfig, NoiseOf, WeightRange};
use model::network::values;
use model::population::{Pool, PoolKind, n_windows};
use proptest::prelude::*;
use proptest::sample::select;

use super::dense::{MAX_ELEMENTS, samples_per_batch, steps_per_chunk};
use super::event::every_simd_level;
use super::gather::GatherLayer;
use super::*;
use crate::drive::Drive;
use crate::faults::device;
use crate::grid::Precision;
use crate::network::ExactLayer;
use crate::philox::philox;
use crate::pixels::ByteDrive;
use crate::places::by_place;
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
    /// Whether there is a skip connection.
    skip: bool,
}

/// A convolution of the input, a residual sum of another one and perhaps a skip connection behind a pool, and a dense readout.
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
    let mut sum = vec![wire(1, shape, pools.clone(), again)];
    sum.extend(conv.skip.then(|| wire(1, shape, pools, skip)));
    let wirings = [vec![first], sum, vec![Wiring::dense(2, pooled, 3)]];
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
    pooled_values(spikes.iter().map(of_step).collect(), wiring)
}

/// The same of numbers that are not spikes.
fn pooled_values(mut steps: Vec<Vec<f64>>, wiring: &Wiring) -> Vec<Vec<f64>> {
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

/// The current of a constant input, input by input in f64, then rounded to the grid of the channel.
fn constant_current(layer: &SpikingLayer, pixels: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; layer.n_out()];
    for connection in layer.connections().iter().filter(|connection| connection.wiring.source == 0) {
        let values = pooled_values(vec![pixels.iter().map(|&pixel| f64::from(pixel)).collect()], &connection.wiring);
        for (input, &value) in values[0].iter().enumerate() {
            let reach = |j: usize, weight: usize| sums[j] += value * f64::from(connection.weights[weight]);
            connection.wiring.kernel.for_each_synapse(input, reach);
        }
    }
    let n_positions = layer.n_out() / layer.grids().len();
    let of = |(j, sum): (usize, f64)| {
        let (bias, step) = (f64::from(layer.biases()[j / n_positions]), layer.grids()[j / n_positions].step());
        (((sum + bias) / step).round_ties_even() * step) as f32
    };
    sums.into_iter().enumerate().map(of).collect()
}

/// The definition, neuron by neuron and step by step, in f64.
fn by_definition(
    network: &SpikingNetwork,
    sample: &Sample<'_>,
    settings: &RunSettings,
) -> (Vec<Vec<Vec<bool>>>, Vec<Vec<f64>>) {
    let input = sample.encode(network.input(), settings);
    let arrives = |source: usize, step: usize, neuron: usize| {
        !network.spike_loss().is_some_and(|loss| loss.loses(source, sample.index, neuron, step))
    };
    let of_step = |step: usize| (0..input.n_neurons()).map(move |i| (step, i));
    let of_input = |(step, i): (usize, usize)| input.get(step, i) && arrives(0, step, i);
    let mut spikes: Vec<Vec<Vec<bool>>> =
        vec![(0..settings.n_steps).map(|step| of_step(step).map(of_input).collect()).collect()];
    let mut readout = Vec::new();
    for (idx, layer) in network.layers().iter().enumerate() {
        let integrates = idx + 1 == network.layers().len() && settings.readout == Readout::Potential;
        let limits = layer.potential_limits(settings.n_steps).map(|limits| layer.for_neurons(&limits));
        let starts = layer.for_neurons(layer.initial_potentials());
        let mut v: Vec<f64> = starts.into_iter().map(f64::from).collect();
        let threshold = |j: usize| layer.firing_thresholds().map_or(1.0, |thresholds| f64::from(thresholds[j]));
        let constant = idx == 0 && settings.encoding == Encoding::Constant;
        let steady = if constant { constant_current(layer, sample.pixels) } else { layer.for_neurons(layer.biases()) };
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
                let fires = !integrates && u >= threshold(j);
                if fires {
                    u = if settings.reset == Reset::Subtract { u - threshold(j) } else { 0.0 };
                }
                fired[step][j] = fires && arrives(idx + 1, step, j);
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

/// Every backend that is built in and has a device: the feature `wgpu` adds a GPU, or a software Vulkan driver.
fn devices() -> Vec<(Backend, Device)> {
    Backend::usable().into_iter().map(|backend| (backend, backend.device().unwrap())).collect()
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
                let places = crate::places::by_place(shape, row);
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
    let plain =
        Conv { groups: [1, 2, 16], size: 3, stride: 1, padding: 1, pool: pool(PoolKind::Mean, 2, 2), skip: true };
    vec![
        plain,
        Conv { size: 5, padding: 2, stride: 2, pool: pool(PoolKind::Max, 2, 1), ..plain },
        Conv { groups: [3, 1, 1], pool: pool(PoolKind::Max, 2, 2), ..plain },
        Conv { groups: [2, 2, 5], size: 2, stride: 3, padding: 0, pool: None, ..plain },
        // More channels than a site holds, in groups.
        Conv { groups: [70, 1, 1], pool: None, ..plain },
        Conv { size: 1, stride: 2, padding: 0, pool: pool(PoolKind::Mean, 3, 1), ..plain },
        // Few inputs per row: one channel under a large kernel and with a stride, and two.
        Conv { groups: [1, 1, 16], size: 5, padding: 2, ..plain },
        Conv { groups: [1, 1, 16], stride: 2, ..plain },
        Conv { groups: [1, 2, 32], pool: None, ..plain },
        // Of a stride of one, with as many channels as make up half a site, a site, and more; and of what pools add up, a few spikes and many.
        Conv { groups: [1, 3, 32], skip: false, ..plain },
        Conv { groups: [1, 3, 32], size: 5, padding: 4, ..plain },
        Conv { groups: [1, 3, 50], size: 5, padding: 1, ..plain },
        Conv { groups: [1, 2, 130], padding: 0, skip: false, ..plain },
        Conv { groups: [1, 1, 40], size: 5, padding: 3, pool: pool(PoolKind::Mean, 3, 1), skip: false, ..plain },
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

#[test]
fn neurons_at_which_nothing_arrives_do_what_the_definition_and_the_dense_engine_say() {
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
            compare_with_the_definition(&network, &images, &settings);
            let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
            let dense = DenseEngine::new(&network, &devices()[0].1, 2);
            assert_eq!(dense.run(&samples(&images), &settings).unwrap(), expected, "{settings:?}");
        }
    }
}

#[test]
fn potentials_that_become_longer_than_sums_do_what_the_definition_says() {
    // A window that slides over many spikes: its sums are there before neurons fire, in few bits as long as potentials fit.
    let conv = convs()[9];
    let network = conv_network([9, 11], conv, 4, Precision { n_steps: 100, ..INTEGERS });
    assert!(GatherLayer::new(&network.layers()[0]).slides());
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
    let kernel = Kernel { input: [1, 3, 3], channels: 128, size: 1, stride: 1, padding: 0, groups: 1 };
    let wiring = Wiring { source: 0, source_shape: [1, 3, 3], pools: Vec::new(), kernel };
    let twice = |channel: usize| if channel < 64 { 1.0 } else { 2.0 };
    let of_channels = |value: f64| (0..128).map(|channel| value * twice(channel)).collect::<Vec<f64>>();
    let exact = ExactLayer {
        name: "conv 1".to_owned(),
        connections: vec![Connection { wiring, weights: of_channels(0.5) }],
        biases: of_channels(0.3),
        initial_potentials: vec![0.0; 128],
        thresholds: vec![1.0; 128],
    };
    let layer = SpikingLayer::round(&exact, INTEGERS).unwrap();
    assert_eq!(layer.grids()[0].exponent, layer.grids()[64].exponent + 1);
    let network = SpikingNetwork::new([1, 3, 3], vec![layer]).unwrap();
    let settings = RunSettings { readout: Readout::Spikes, ..all_settings(16)[0] };
    compare_with_the_definition(&network, &[vec![0.0; 9]], &settings);
}

/// Sums that the event-driven engine adds as 32-bit floats, as 16-bit integers, and as 16-bit integers of bytes.
const FLOATS: Precision = Precision { n_steps: 16, sum_bits: 24, weight_bits: 25 };
const INTEGERS: Precision = Precision { sum_bits: 15, ..FLOATS };
const BYTES: Precision = Precision { weight_bits: 8, ..INTEGERS };
const SMALL: Precision = Precision { weight_bits: 7, ..INTEGERS };

/// Networks of which both engines are to do the same on every backend, batch size, thread count and SIMD level.
///
/// - `batches`: as [`agree_everywhere`] has them
fn agree_on_networks(precision: Precision, devices: &[(Backend, Device)], batches: &[(usize, usize)]) {
    agree_everywhere(&network(&[70, 65, 130, 10], 5, 0.5, precision), 70, devices, batches);
    for conv in convs() {
        agree_everywhere(&conv_network([8, 9], conv, 9, precision), 10, devices, batches);
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
fn the_networks_that_engines_agree_on_have_layers_of_every_kind() {
    for precision in [INTEGERS, BYTES] {
        let layers = |layer: usize| {
            convs()
                .into_iter()
                .map(move |conv| GatherLayer::new(&conv_network([8, 9], conv, 9, precision).layers()[layer]))
        };
        // The three with few inputs a row, and the kernel of one pixel.
        assert_eq!(layers(0).filter(GatherLayer::looks_up).count(), 4);
        // The last five, and the second convolution of those without a skip connection.
        assert_eq!([0, 1].map(|layer| layers(layer).filter(GatherLayer::slides).count()), [5, 3]);
        let of_bytes = [0, 1].map(|layer| layers(layer).filter(GatherLayer::has_bytes).count());
        // Those that are not looked up, and those that do not read sums of nine, which have rows of multiples. Two have so many synapses
        // that their weights are small anyway.
        assert_eq!(of_bytes, if precision == BYTES { [convs().len() - 4, convs().len() - 2] } else { [0, 2] });
    }
}

/// - `white`: how many in 256 are as bright as can be; a quarter is dark
fn images_of_bytes(n: usize, n_in: usize, seed: u64, white: u32) -> Vec<Vec<f32>> {
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

/// Whether the layer multiplies bytes, after a comparison of its currents with the definition's.
fn drives_as_defined(layer: &SpikingLayer, images: &[Vec<f32>]) -> bool {
    let pixels: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let drive = Drive::of_pixels(layer).unwrap();
    let expected: Vec<Vec<f32>> =
        images.iter().map(|image| by_place(layer.shape(), &constant_current(layer, image))).collect();
    let with_zeros = |expected: &Vec<f32>| [expected.as_slice(), &[0.0; 3]].concat();
    let all = drive.currents(&pixels, 3);
    for (image, (found, expected)) in all.iter().zip(&expected).enumerate() {
        assert_eq!(*found, with_zeros(expected), "image {image} of {}", images.len());
    }
    let of_bytes = ByteDrive::new(layer).map(|drive| drive.currents(&pixels, 0));
    assert!(of_bytes.is_none() || of_bytes == Some(Some(expected)), "bytes drive the layer otherwise");
    of_bytes.is_some()
}

#[test]
fn pixels_that_are_bytes_are_multiplied_as_integers_and_drive_neurons_as_the_definition_says() {
    for precision in [INTEGERS, BYTES, SMALL] {
        for (sizes, seed) in [([70, 65], 5), ([7, 16], 6), ([1, 1], 7), ([301, 40], 8)] {
            let network = network(&sizes, seed, 0.5, precision);
            let has_small_weights = ByteDrive::new(&network.layers()[0]).unwrap().has_small_weights();
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
        assert_eq!(network.layers()[0].drive(&images[2]), constant_current(&network.layers()[0], &images[2]));
    }
}

#[test]
fn bytes_are_not_multiplied_where_what_pixels_differ_from_fractions_by_adds_up() {
    // Weights of one sign, and pixels that all differ by as much.
    let layer = |sum_bits| {
        let exact = ExactLayer {
            name: "dense 1".to_owned(),
            connections: vec![Connection {
                wiring: Wiring::dense(0, [900, 1, 1], 40),
                weights: uniform(3, 900 * 40).iter().map(|weight| weight.abs() / 10.0).collect(),
            }],
            biases: vec![0.0; 40],
            initial_potentials: vec![0.0; 40],
            thresholds: vec![1.0; 40],
        };
        SpikingLayer::round(&exact, Precision { n_steps: 1, sum_bits, weight_bits: 16 }).unwrap()
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
        let precision = Precision { n_steps: 16, sum_bits, weight_bits };
        let network = network(&[n_in, 20], seed, 0.5, precision);
        let are_bytes = drives_as_defined(&network.layers()[0], &images_of_bytes(3, n_in, seed, white));
        prop_assert!(are_bytes || sum_bits > 15);
    }
}

/// Every fault alone, and all of them together.
fn all_faults() -> Vec<FaultsConfig> {
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

#[test]
fn devices_with_faults_do_what_the_definition_says_and_the_same_on_every_engine() {
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
            agree_everywhere(&faulty, 5, &devices(), &[(3, 2)]);
        }
    }
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
        for n_threads in [1, 2] {
            for engine in every_simd_level(network) {
                let traces = pool(n_threads).install(|| engine.run(&samples(&images), &settings)).unwrap();
                assert!(traces == expected, "{settings:?}, {n_threads} threads, {engine:?}");
            }
        }
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
        let network = network(&sizes, seed, initial_potential, Precision { n_steps, sum_bits, weight_bits });
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
        input in [1..9_usize, 1..9_usize], groups in [1..4_usize, 1..3_usize, 1..40_usize], size in 1..6_usize,
        stride in 1..4_usize, padding in 0..4_usize, pool in proptest::option::of((any::<bool>(), 1..4_usize, 1..4_usize)),
        seed in 0..1000_u64, choice in 0..16_usize, sum_bits in select(vec![15, 24]), weight_bits in 7..10_u32, skip in any::<bool>(),
    ) {
        prop_assume!(padding < size && size <= input[0].min(input[1]) + 2 * padding);
        let outputs = input.map(|n| n_windows(n, size, stride, padding));
        let pool = pool.map(|(max, kernel, stride)| Pool {
            kind: if max { PoolKind::Max } else { PoolKind::Mean },
            kernel: [kernel.min(outputs[0]), kernel.min(outputs[1])],
            stride: [stride; 2],
        });
        let precision = Precision { n_steps: 10, sum_bits, weight_bits };
        let network = conv_network(input, Conv { groups, size, stride, padding, pool, skip }, seed, precision);
        let images = images(3, network.n_in(), seed + 50);
        let settings = all_settings(10)[choice];
        let expected = EventEngine::new(&network).run(&samples(&images), &settings).unwrap();
        compare_with_the_definition(&network, &images[..1], &settings);
        for (_, device) in devices() {
            for kernels in ways(&device) {
                let engine = DenseEngine::with_kernels(&network, &device, 2, kernels);
                prop_assert_eq!(&engine.run(&samples(&images), &settings).unwrap(), &expected);
            }
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
        prop_assert_eq!(trace.spikes[1].counts()[0] as f32 + trace.residual[0].by_neuron()[0], in_all);
    }
}

#[test]
fn every_engine_stops_at_the_step_at_which_the_whole_run_is_settled() {
    let networks = convs().into_iter().map(|conv| conv_network([8, 7], conv, 9, 16));
    let plain = network(&[70, 65, 10], 5, 0.5, 16);
    let faulty = all_faults().into_iter().skip(3).map(|faults| device(&plain, &faults, 3, 16).unwrap());
    for network in networks.chain([plain.clone()]).chain(faulty) {
        let images = images(10, network.n_in(), 1000);
        let dense = DenseEngine::new(&network, &devices()[0].1, 3);
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
                // It runs to T and looks back, with every confidence alike; it is the slowest.
                if confidence == 0.9 {
                    assert_eq!(dense.run_until(&samples(&images), &settings, &exit).unwrap(), expected, "{settings:?}");
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
    for precision in [FLOATS, INTEGERS] {
        saturates(Precision { n_steps: 2000, ..precision });
    }
}

fn saturates(precision: Precision) {
    // 2,000 steps of −90 pass −16,384 thresholds on a grid of 2⁻¹⁰, and −65,536 on one of 2⁻⁸.
    let layer = |source: usize, weights: Vec<f64>, n_out: usize| ExactLayer {
        name: "dense".to_owned(),
        connections: vec![Connection { wiring: Wiring::dense(source, [weights.len() / n_out, 1, 1], n_out), weights }],
        biases: vec![0.0; n_out],
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
            biases: wide(layer.biases()),
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
    if !Backend::Wgpu.is_built_in() {
        say("skipped, not built in; `cargo test --release --workspace --features wgpu` has it");
    } else if !Backend::usable().contains(&Backend::Wgpu) {
        say("skipped, no GPU and no software Vulkan driver; `scripts/setup wgpu` installs one");
    } else {
        let device = Backend::Wgpu.device().unwrap();
        assert!(spiking_kernels(&device).is_some(), "a GPU without kernels: the tests above would use plain ones");
        say("run");
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
