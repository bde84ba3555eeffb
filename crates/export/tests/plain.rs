//! Plain exports against their own description: a naive simulator that knows the two files alone, in f64, gives the spikes of
//! the engine.

mod networks;

use std::collections::BTreeMap;
use std::path::Path;

use engine_event::EventEngine;
use export::Provenance;
use export::plain::{self, Description, Layer, Synapses};
use model::artefact::{self, TensorF32};
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use model::population::{Pool, PoolKind};
use networks::{N_STEPS, network, uneven_network, uniform, windows};
use serde_json::{Value, json};
use snn::{Engine as _, RunSettings, Sample, SpikeTrain, SpikingNetwork};

struct Plain {
    net: Description,
    tensors: BTreeMap<String, TensorF32>,
}

/// Spikes so far at a max pool: of each input, and of each window the largest.
type MaxState = (Vec<u32>, Vec<u32>);

impl Plain {
    fn read(path: &Path) -> Self {
        let net: Description = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let contents = artefact::read::<Value>(&path.with_file_name(&net.tensors), "").unwrap();
        assert_eq!(contents.checksum, net.tensors_sha256);
        Self { net, tensors: contents.tensors }
    }

    fn tensor(&self, name: &str) -> Vec<f64> {
        self.tensors[name].values.iter().map(|&value| f64::from(value)).collect()
    }

    fn source_shape(&self, source: usize) -> [usize; 3] {
        source.checked_sub(1).map_or(self.net.input.shape, |layer| self.net.layers[layer].shape)
    }

    /// Currents of a connection, for the values of its source.
    fn currents(&self, synapses: &Synapses, x: &[f64], states: &mut Vec<MaxState>) -> Vec<f64> {
        let (mut shape, mut x) = (self.source_shape(synapses.source).to_vec(), x.to_vec());
        states.resize(synapses.max_pools.len(), MaxState::default());
        for (pool, (counts, largest)) in synapses.max_pools.iter().zip(states) {
            counts.resize(x.len(), 0);
            counts.iter_mut().zip(&x).for_each(|(count, spike)| *count += *spike as u32);
            let so_far: Vec<f64> = counts.iter().map(|&count| f64::from(count)).collect();
            let (out, seen) = windows(&shape, &so_far, pool.kernel, pool.stride, pool.padding, [1; 2]);
            largest.resize(seen.len(), 0);
            let passes = |(window, largest): (&Vec<f64>, &mut u32)| {
                let busiest = window.iter().fold(0.0, |a: f64, &b| a.max(b)) as u32;
                let passes = busiest > *largest;
                *largest = busiest;
                f64::from(u8::from(passes))
            };
            (shape, x) = (out, seen.iter().zip(largest).map(passes).collect());
        }
        for pool in &synapses.sum_pools {
            let (out, seen) = windows(&shape, &x, pool.kernel, pool.stride, pool.padding, [1; 2]);
            let multiple = |window: usize| match &pool.multiples {
                Some([rows, columns]) => (rows[window / out[2] % out[1]] * columns[window % out[2]]) as f64,
                None => 1.0,
            };
            let sums = seen.iter().enumerate().map(|(idx, window)| window.iter().sum::<f64>() * multiple(idx));
            x = sums.collect();
            shape = out;
        }
        let (size, weights) = (&self.tensors[&synapses.weight].shape, self.tensor(&synapses.weight));
        let row = weights.len() / size[0];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let Some(conv) = &synapses.convolution else {
            assert_eq!(*size, [size[0], x.len()]);
            return weights.chunks_exact(row).map(|row| dot(row, &x)).collect();
        };
        let (stride, padding) = (conv.stride.sides().unwrap(), conv.padding.sides().unwrap());
        let dilation = conv.dilation.unwrap_or([1; 2]);
        let (out, seen) = windows(&shape, &x, [size[2], size[3]], stride, padding, dilation);
        let (n, in_group, out_group) = (out[1] * out[2], size[1], size[0] / conv.groups);
        let current = |channel: usize, position: usize| {
            let kernels = weights[channel * row..][..row].chunks_exact(size[2] * size[3]).enumerate();
            let first = channel / out_group * in_group;
            kernels.map(|(c, kernel)| dot(kernel, &seen[(first + c) * n + position])).sum()
        };
        (0..size[0])
            .flat_map(|channel| (0..n).map(move |position| (channel, position)))
            .map(|(c, p)| current(c, p))
            .collect()
    }

    /// Spikes of each layer and potentials of the last after each step.
    fn run(&self, inputs: &[Vec<f64>]) -> (Vec<Vec<Vec<bool>>>, Vec<Vec<f64>>) {
        let net = &self.net;
        let of_neurons = |layer: &Layer, name: &str| -> Vec<f64> {
            let n_out: usize = layer.shape.iter().product();
            let values = self.tensor(name);
            let n = n_out / values.len();
            values.into_iter().flat_map(|value| std::iter::repeat_n(value, n)).collect()
        };
        let mut v: Vec<Vec<f64>> = net.layers.iter().map(|layer| of_neurons(layer, &layer.initial_potential)).collect();
        let mut states: BTreeMap<&str, Vec<MaxState>> = BTreeMap::new();
        let (mut spikes, mut readout) = (vec![Vec::new(); net.layers.len()], Vec::new());
        for input in inputs {
            let mut values = vec![input.clone()];
            for (k, layer) in net.layers.iter().enumerate() {
                let (mut pixels, steps) = (of_neurons(layer, &layer.bias), of_neurons(layer, &layer.grid_step));
                let mut others = vec![0.0; pixels.len()];
                for synapses in &layer.connections {
                    let states = states.entry(&synapses.weight).or_default();
                    let currents = self.currents(synapses, &values[synapses.source], states);
                    let sums = if synapses.source == 0 { &mut pixels } else { &mut others };
                    sums.iter_mut().zip(currents).for_each(|(sum, current)| *sum += current);
                }
                let mut fired = Vec::with_capacity(pixels.len());
                for (idx, v) in v[k].iter_mut().enumerate() {
                    let u = *v + (pixels[idx] / steps[idx]).round_ties_even() * steps[idx] + others[idx];
                    let spike = layer.fires && u >= f64::from(net.threshold);
                    *v = match net.reset {
                        _ if !spike => u,
                        Reset::Subtract => u - f64::from(net.threshold),
                        Reset::Zero => 0.0,
                    };
                    fired.push(spike);
                }
                values.push(fired.iter().map(|&spike| f64::from(u8::from(spike))).collect());
                spikes[k].push(fired);
            }
            readout.push(v[net.layers.len() - 1].clone());
        }
        (spikes, readout)
    }
}

/// Exports a network, runs both, and compares every spike of every neuron and every potential.
fn compare(network: &SpikingNetwork, run: &RunSettings) {
    let folder = tempfile::tempdir().unwrap();
    let provenance = Provenance { quartic_version: "0.1.0".to_owned(), parent: "abc".to_owned() };
    let plain = Plain::read(&plain::write(folder.path(), network, run, &provenance).unwrap());
    let pixels: Vec<f32> = uniform(77, network.n_in()).into_iter().map(|value| (value.abs() * 0.9) as f32).collect();
    let trace = EventEngine::new(network).run(&[Sample { index: 3, pixels: &pixels }], run).unwrap().remove(0);
    let of = |train: &SpikeTrain| -> Vec<Vec<bool>> {
        (0..run.n_steps).map(|step| (0..train.n_neurons()).map(|neuron| train.get(step, neuron)).collect()).collect()
    };
    let inputs = match run.encoding {
        Encoding::Constant => vec![pixels.iter().map(|&pixel| f64::from(pixel)).collect(); run.n_steps],
        _ => of(&trace.spikes[0])
            .iter()
            .map(|step| step.iter().map(|&spike| f64::from(u8::from(spike))).collect())
            .collect(),
    };
    let (spikes, readout) = plain.run(&inputs);
    for (source, train) in trace.spikes.iter().enumerate().skip(1) {
        assert!(train.n_spikes_in_all() > 10, "layer {source} is all but silent: {run:?}");
        assert_eq!(spikes[source - 1], of(train), "layer {source}: {run:?}");
    }
    if run.readout == Readout::Potential {
        let ours: Vec<Vec<f64>> = trace
            .readout
            .chunks_exact(network.n_classes())
            .map(|row| row.iter().map(|&v| f64::from(v)).collect())
            .collect();
        assert_eq!(readout, ours, "{run:?}");
    }
}

#[test]
fn the_two_files_alone_give_the_engines_spikes_and_potentials() {
    for kind in [PoolKind::Mean, PoolKind::Max] {
        for encoding in [Encoding::Poisson, Encoding::Constant, Encoding::Regular] {
            for reset in [Reset::Subtract, Reset::Zero] {
                for readout in [Readout::Potential, Readout::Spikes] {
                    compare(
                        &network(kind, 0.5),
                        &RunSettings {
                            encoding,
                            neuron: NeuronConfig::default(),
                            reset,
                            readout,
                            n_steps: N_STEPS,
                            seed: 5,
                        },
                    );
                }
            }
        }
    }
}

/// Pools whose windows are cut off at a border: counted with their padding and without, and sticking out behind it.
fn cut_pools(kind: PoolKind) -> [Pool; 3] {
    let pool = Pool { padding: [1, 0, 0, 1], ..Pool::new(kind, [2, 3], [2, 1]) };
    [pool, Pool { counts_padding: false, ..pool }, Pool { padding: [0; 4], ceil: true, stride: [3, 2], ..pool }]
}

#[test]
fn kernels_and_pools_of_any_geometry_and_biases_of_neurons_are_in_the_two_files() {
    for pool in [PoolKind::Mean, PoolKind::Max].into_iter().flat_map(cut_pools) {
        for encoding in [Encoding::Poisson, Encoding::Constant] {
            let network = uneven_network([2, 1, 1, 0], pool, true);
            let (reset, readout) = (Reset::Subtract, Readout::Potential);
            compare(
                &network,
                &RunSettings { encoding, neuron: NeuronConfig::default(), reset, readout, n_steps: N_STEPS, seed: 5 },
            );
        }
    }
}

#[test]
fn what_is_usual_is_described_as_it_always_was() {
    let text = |network: &SpikingNetwork| {
        let folder = tempfile::tempdir().unwrap();
        let provenance = Provenance { quartic_version: "0.1.0".to_owned(), parent: "abc".to_owned() };
        let (encoding, reset, readout) = (Encoding::Poisson, Reset::Subtract, Readout::Potential);
        let run = RunSettings { encoding, neuron: NeuronConfig::default(), reset, readout, n_steps: N_STEPS, seed: 0 };
        let text = std::fs::read(plain::write(folder.path(), network, &run, &provenance).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["layers"].clone()
    };
    let usual = text(&network(PoolKind::Mean, 0.5));
    assert_eq!(usual[1]["connections"][0]["sum_pools"], json!([{ "kernel": [2, 2], "stride": [2, 2] }]));
    assert_eq!(usual[1]["connections"][0]["convolution"], json!({ "stride": 1, "padding": 1, "groups": 1 }));
    let [_, pool, _] = cut_pools(PoolKind::Mean);
    let unusual = text(&uneven_network([2, 1, 1, 0], pool, true));
    assert_eq!(
        unusual[0]["connections"][0]["convolution"],
        json!({ "stride": [1, 2], "padding": [2, 1, 1, 0], "dilation": [2, 1], "groups": 2 })
    );
    // Eight rows, of which windows see one, two, two, two; four columns, of which they see three and, at the end, two.
    assert_eq!(
        unusual[1]["connections"][0]["sum_pools"],
        json!([{ "kernel": [2, 3], "stride": [2, 1], "padding": [1, 0, 0, 1], "multiples": [[2, 1, 1, 1], [2, 2, 3]] }])
    );
}

#[test]
fn limits_of_potentials_are_given_only_where_a_run_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let provenance = Provenance { quartic_version: "0.1.0".to_owned(), parent: "abc".to_owned() };
    let network = network(PoolKind::Mean, 0.5);
    for (n_steps, expected) in [(N_STEPS, false), (1_000_000_000, true)] {
        let run = RunSettings {
            encoding: Encoding::Poisson,
            neuron: NeuronConfig::default(),
            reset: Reset::Subtract,
            readout: Readout::Potential,
            n_steps,
            seed: 0,
        };
        let plain = Plain::read(&plain::write(folder.path(), &network, &run, &provenance).unwrap());
        assert_eq!(plain.net.layers[0].potential_limit.is_some(), expected, "T = {n_steps}");
    }
}
