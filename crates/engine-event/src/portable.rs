//! Every compute kernel at the portable level, without threads, on layers small enough for Miri: `scripts/check-unsafe`.

use model::population::{Pool, PoolKind};
use pulp::Arch;
use snn::grid::Precision;
use snn::network::{ExactLayer, SpikingLayer};
use snn::places::by_neuron;
use snn::spikes::SpikeTrain;
use snn::{Connection, Kernel, Wiring};
use specimens::{BYTES, FLOATS, INTEGERS, SHORTS, SMALL_SHORTS, uniform};

use crate::currents::LayerCurrents;
use crate::kernels::{KERNELS, LayerFacts};

/// Time steps, enough for a look whether nothing arrives.
const STEPS: usize = 8;

/// A layer without biases, so that its drive by pixels of 0 and 1 is what spikes cause.
fn layer(wirings: &[Wiring], precision: Precision) -> SpikingLayer {
    let channels = wirings[0].kernel.channels;
    let connections = wirings.iter().enumerate().map(|(seed, wiring)| {
        let n_weights = channels * wiring.kernel.row_len();
        let scale = 3.0 / ((wiring.kernel.row_len() * wiring.multiplicity()) as f64).sqrt();
        let weights = uniform(seed as u64, n_weights).iter().map(|weight| weight * scale).collect();
        Connection { wiring: wiring.clone(), weights }
    });
    let exact = ExactLayer {
        name: "layer".to_owned(),
        connections: connections.collect(),
        biases: vec![0.0; channels].into(),
        initial_potentials: vec![0.0; channels],
        thresholds: vec![1.0; channels],
    };
    SpikingLayer::round(&exact, precision).unwrap()
}

/// Spikes of a share of all neurons that grows from step to step, from none on.
fn spikes(shape: [usize; 3]) -> SpikeTrain {
    let mut train = SpikeTrain::silent(shape, STEPS);
    let chance = uniform(7, STEPS * train.n_neurons());
    for (at, chance) in chance.into_iter().enumerate() {
        let (step, neuron) = (at % STEPS, at / STEPS);
        if chance < 2.0 * step as f64 / STEPS as f64 - 1.0 {
            train.add(step, neuron);
        }
    }
    train
}

/// Names of the kernels that run a layer, each of which must add up what the definition does.
fn adds_up(wirings: &[Wiring], precision: Precision) -> Vec<&'static str> {
    let layer = layer(wirings, precision);
    let train = spikes(wirings[0].source_shape);
    let expected: Vec<Vec<f32>> = (0..STEPS)
        .map(|step| {
            layer.drive(&(0..train.n_neurons()).map(|neuron| f32::from(train.get(step, neuron))).collect::<Vec<_>>())
        })
        .collect();
    let facts = LayerFacts::new(&layer);
    let supporting = KERNELS.into_iter().filter(|kernel| kernel.supports(&facts).is_ok());
    let names = supporting.map(|kernel| {
        let mut found = vec![vec![0.0; layer.n_out()]; STEPS];
        let currents = LayerCurrents::of(kernel.pack(&facts), &layer);
        currents.at_level(Arch::Scalar, std::slice::from_ref(&train), STEPS, &mut |places, of_site, width| {
            for (found, of_step) in found.iter_mut().zip(of_site.chunks_exact(width)) {
                found[places.clone()].copy_from_slice(&of_step[..places.len()]);
            }
        });
        let found: Vec<Vec<f32>> = found.iter().map(|by_place| by_neuron(layer.shape(), by_place)).collect();
        assert_eq!(found, expected, "{}", kernel.name());
        kernel.name()
    });
    names.collect()
}

/// A convolution of a source behind a pool.
fn behind(input: [usize; 3], pool: Pool, kernel: Kernel) -> Wiring {
    let kernel = Kernel { input: pool.output(input), ..kernel };
    Wiring { source: snn::Source::INPUT, source_shape: input, pools: vec![pool], kernel }
}

/// A convolution of a source, behind average pools of a size if there are any.
fn convolution(input: [usize; 3], pool: Option<usize>, kernel: Kernel) -> Wiring {
    let pools: Vec<Pool> = pool.map(|size| Pool::new(PoolKind::Mean, [size; 2], [1; 2])).into_iter().collect();
    let pooled = pools.iter().fold(input, |shape, pool| pool.output(shape));
    Wiring { source: snn::Source::INPUT, source_shape: input, pools, kernel: Kernel { input: pooled, ..kernel } }
}

#[test]
fn every_kernel_adds_up_at_the_portable_level_what_the_definition_does() {
    let plain = Kernel::square([0; 3], 32, 3, 1, 1, 1);
    let wide = Kernel::square([0; 3], 34, 5, 1, 2, 1);
    let cut = |padding, counts_padding, ceil| Pool {
        padding,
        counts_padding,
        ceil,
        ..Pool::new(PoolKind::Mean, [2, 3], [2, 1])
    };
    // No two sides are alike, and there are holes in the kernel.
    let uneven = Kernel { size: [2, 3], stride: [2, 1], padding: [1, 0, 0, 2], dilation: [2, 1], ..plain };
    let layers: [Vec<Wiring>; 16] = [
        vec![Wiring::dense(snn::Source::INPUT, [70, 1, 1], 3)],
        vec![Wiring::dense(snn::Source::INPUT, [20, 1, 1], 66)],
        // So many inputs that it pays to keep weights short, of spikes and of sums of four.
        vec![Wiring::dense(snn::Source::INPUT, [520, 1, 1], 3)],
        vec![convolution([520, 2, 2], Some(2), Kernel { size: [1; 2], padding: [0; 4], channels: 17, ..plain })],
        vec![convolution([1, 4, 5], None, Kernel { channels: 16, ..plain })],
        vec![convolution([2, 4, 3], None, plain)],
        // Of sums of four, which entries say, and of nine, of which there are rows of multiples.
        vec![convolution([1, 5, 4], Some(2), plain)],
        vec![convolution([1, 5, 4], Some(3), plain)],
        vec![convolution([1, 3, 3], None, wide)],
        // Groups that blocks of sites see parts of, and two connections.
        vec![convolution([70, 2, 2], None, Kernel { channels: 70, groups: 70, ..plain })],
        vec![convolution([2, 5, 5], None, Kernel { stride: [2; 2], ..plain }), convolution([2, 5, 5], Some(3), plain)],
        vec![convolution([2, 5, 4], None, uneven)],
        vec![convolution([1, 4, 5], None, Kernel { channels: 16, dilation: [1; 2], ..uneven })],
        vec![convolution(
            [3, 3, 5],
            None,
            Kernel { channels: 33, stride: [1, 2], dilation: [1, 2], groups: 3, ..uneven },
        )],
        // Windows that lie partly in the padding, and that stick out of it, whose inputs are added several times.
        vec![behind([1, 5, 4], cut([1, 0, 1, 2], true, false), plain)],
        vec![behind(
            [1, 4, 5],
            cut([0, 2, 1, 1], false, true),
            Kernel { size: [1, 3], padding: [0, 1, 0, 0], ..plain },
        )],
    ];
    // Every kernel runs layers whose weights are bytes, and Miri takes its time.
    let precisions: &[Precision] = if cfg!(miri) { &[BYTES] } else { &[FLOATS, SHORTS, SMALL_SHORTS, INTEGERS, BYTES] };
    let mut names = Vec::new();
    for wirings in &layers {
        for &precision in precisions {
            names.extend(adds_up(wirings, precision));
        }
    }
    for kernel in KERNELS {
        assert!(names.contains(&kernel.name()), "{} ran nothing", kernel.name());
    }
}
