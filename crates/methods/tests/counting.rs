//! The network of counting neurons is, at every step and layer by layer, the trained network with its activations rounded, bit for bit.

use engine_event::EventEngine;
use methods::layer::{AnnLayer, ann_layers};
use methods::rescale;
use model::config::{Encoding, NeuronConfig, NeuronKind, RateCap, Readout, Reset};
use model::population::PoolKind;
use proptest::prelude::*;
use snn::grid::Precision;
use snn::pool::Windows;
use snn::{Connection, Engine as _, ReferenceEngine, RunSettings, Sample, SampleTrace, Source, SpikingNetwork};
use specimens::{graphs, uniform};

const N_STEPS: usize = 5;

/// What comes out of a connection's pools if its source has these values.
fn pooled(connection: &Connection<f32>, mut values: Vec<f64>) -> Vec<f64> {
    let mut shape = connection.wiring.source_shape;
    for pool in &connection.wiring.pools {
        let windows = Windows::new(shape, std::iter::once(pool));
        shape = pool.output(shape);
        values = match pool.kind {
            PoolKind::Max => windows.largest(&values),
            PoolKind::Mean => {
                let mut sums = vec![0.0; shape.iter().product()];
                for (input, value) in values.iter().enumerate() {
                    windows.multiples_of(input).for_each(|(window, n)| sums[window] += f64::from(n) * value);
                }
                sums
            }
        };
    }
    values
}

/// The rounded network of a sample whose pixels and biases have come `t` times: quanta of each layer,
/// `clamp(⌊v(0) + τt·b + Σ w·n⌋, 0, τt)`, and what the last one has integrated. No time passes here.
fn quantised(network: &SpikingNetwork, pixels: &[f32], levels: u32, t: usize) -> Vec<Vec<f64>> {
    let most = f64::from(levels) * t as f64;
    let mut counts: Vec<Vec<f64>> = Vec::new();
    for (idx, layer) in network.layers().iter().enumerate() {
        let mut sums: Vec<f64> = layer.drive(pixels).into_iter().map(|x| f64::from(x) * most).collect();
        for (sum, start) in sums.iter_mut().zip(layer.for_neurons(layer.initial_potentials())) {
            *sum += f64::from(start);
        }
        for connection in layer.connections() {
            let Some(source) = connection.wiring.source.layer() else { continue };
            for (input, value) in pooled(connection, counts[source].clone()).into_iter().enumerate() {
                let reach = |j: usize, weight: usize| sums[j] += value * f64::from(connection.weights[weight]);
                connection.wiring.kernel.for_each_synapse(input, reach);
            }
        }
        if idx + 1 < network.layers().len() {
            for sum in &mut sums {
                *sum = sum.floor().clamp(0.0, most);
            }
        }
        counts.push(sums);
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn counting_neurons_are_the_trained_network_with_rounded_activations_at_every_step(
        steps in proptest::collection::vec((0..19_u8, any::<u16>(), any::<u16>()), 1..12), numbers in any::<u16>(), seed in any::<u64>(),
        levels in prop::sample::select(vec![1, 2, 4]), sum_bits in prop::sample::select(vec![15, 24]),
    ) {
        let steps: Vec<_> = steps.into_iter().map(|(step, a, b)| (step, usize::from(a), usize::from(b))).collect();
        let Some(architecture) = graphs::network(&steps, usize::from(numbers)) else {
            return Err(TestCaseError::reject("no exact counterpart"));
        };
        let layers = ann_layers(&architecture, &graphs::tensors(&architecture, seed));
        // Thresholds that some activations exceed and others come nowhere near.
        let of_layer = |(idx, layer): (usize, &AnnLayer)| {
            let random = uniform(seed ^ idx as u64, layer.n_channels());
            random.iter().map(|x| 0.25 + 2.0 * x.abs()).collect::<Vec<f64>>()
        };
        let thresholds: Vec<Vec<f64>> = layers.iter().enumerate().map(of_layer).collect();
        let exact = rescale::rescale(&layers, &thresholds, true, 0.5);
        let precision = Precision { n_steps: 4 * levels as usize * N_STEPS, sum_bits, weight_bits: 25, may_saturate: false };
        let network = rescale::round(architecture.input(), &exact, precision).unwrap();
        let pixels: Vec<f32> = uniform(!seed, network.n_in()).iter().map(|x| x.abs().min(1.0) as f32).collect();
        let neuron = NeuronConfig { kind: NeuronKind::Counting, levels, rate_cap: RateCap::Step };
        let settings = RunSettings {
            encoding: Encoding::Constant,
            neuron,
            reset: Reset::Subtract,
            readout: Readout::Potential,
            n_steps: N_STEPS,
            seed: 0,
        };
        let sample = [Sample { index: 0, pixels: &pixels }];
        let trace = EventEngine::new(&network).run(&sample, &settings).unwrap().remove(0);
        prop_assert_eq!(&trace, &ReferenceEngine::new(&network).run(&sample, &settings).unwrap()[0]);
        // Neurons that wait for their whole input come to the same counts with spikes of 0 and 1.
        if levels == 1 {
            let neuron = NeuronConfig { kind: NeuronKind::Waiting, ..neuron };
            let waited = EventEngine::new(&network).run(&sample, &RunSettings { neuron, ..settings }).unwrap().remove(0);
            for (counted, waited) in trace.spikes.iter().zip(&waited.spikes) {
                prop_assert!(!waited.is_graded());
                prop_assert_eq!(counted.counts(), waited.counts());
            }
            let last = |trace: &SampleTrace| trace.readout[(N_STEPS - 1) * network.n_classes()..].to_vec();
            prop_assert_eq!(last(&trace), last(&waited));
        }
        let n_layers = network.layers().len();
        let hidden = &network.layers()[..n_layers - 1];
        let mut counts: Vec<Vec<f64>> = hidden.iter().map(|layer| vec![0.0; layer.n_out()]).collect();
        for step in 0..N_STEPS {
            let expected = quantised(&network, &pixels, levels, step + 1);
            for (idx, counts) in counts.iter_mut().enumerate() {
                let train = &trace.spikes[Source::of_layer(idx).index()];
                train.graded_neurons(step).for_each(|(neuron, quanta)| counts[neuron] += f64::from(quanta));
                prop_assert_eq!(&*counts, &expected[idx], "{} at step {}", hidden[idx].name(), step);
            }
            let n_classes = network.n_classes();
            let readout = trace.readout[step * n_classes..][..n_classes].iter();
            let readout: Vec<f64> = readout.map(|&u| f64::from(u) * f64::from(levels)).collect();
            prop_assert_eq!(readout, expected[n_layers - 1].clone());
        }
    }
}
