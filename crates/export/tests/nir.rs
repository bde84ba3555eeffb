//! NIR graphs against NIR's own definitions: a naive simulator of graphs, in f64, gives the spikes of the engine.

mod networks;

use std::collections::BTreeMap;

use engine_event::EventEngine;
use export::Provenance;
use export::hdf5::{self, Dataset, Group, Item, Values};
use export::nir::{Deviation, Graph, NirError};
use model::config::{Encoding, NeuronConfig, NeuronKind, Readout, Reset};
use model::population::{Pool, PoolKind};
use networks::{N_STEPS, network, uneven_network, uniform, windows};
use snn::network::ExactLayer;
use snn::{Connection, Engine as _, RunSettings, Sample, SpikingLayer, SpikingNetwork, Wiring};

fn run(reset: Reset) -> RunSettings {
    RunSettings {
        encoding: Encoding::Poisson,
        neuron: NeuronConfig::default(),
        reset,
        readout: Readout::Potential,
        n_steps: N_STEPS,
        seed: 5,
    }
}

fn provenance() -> Provenance {
    Provenance { quartic_version: "0.1.0".to_owned(), parent: "abc".to_owned() }
}

/// A value of a node, whatever its type.
fn numbers<'a>(node: &'a Group, field: &str) -> (&'a [usize], Vec<f64>) {
    match &node[field] {
        Item::Dataset(Dataset { shape, values: Values::F32(values) }) => {
            (shape, values.iter().map(|&v| f64::from(v)).collect())
        }
        Item::Dataset(Dataset { shape, values: Values::I64(values) }) => {
            (shape, values.iter().map(|&v| v as f64).collect())
        }
        other => panic!("{field} is {other:?}"),
    }
}

fn group<'a>(group: &'a Group, name: &str) -> &'a Group {
    let Item::Group(found) = &group[name] else { panic!("{name} is no group") };
    found
}

fn texts<'a>(group: &'a Group, name: &str) -> &'a [String] {
    let Item::Dataset(Dataset { values: Values::Text(texts), .. }) = &group[name] else { panic!("{name} is no text") };
    texts
}

fn pair(node: &Group, field: &str) -> [usize; 2] {
    let (_, values) = numbers(node, field);
    [values[0] as usize, values[1] as usize]
}

/// One step of a node by NIR's definition: shape and values of its output.
fn step(node: &Group, shape: &[usize], x: &[f64], potentials: &mut Vec<f64>) -> (Vec<usize>, Vec<f64>) {
    let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    match texts(node, "type")[0].as_str() {
        "Input" | "Output" => {
            let expected: Vec<f64> = shape.iter().map(|&size| size as f64).collect();
            assert_eq!(numbers(node, "shape").1, expected);
            (shape.to_vec(), x.to_vec())
        }
        "Flatten" => (vec![x.len()], x.to_vec()),
        kind @ ("Affine" | "Linear") => {
            let (size, weights) = numbers(node, "weight");
            assert_eq!(shape, [size[1]]);
            let biases = if kind == "Affine" { numbers(node, "bias").1 } else { vec![0.0; size[0]] };
            (vec![size[0]], weights.chunks_exact(size[1]).zip(biases).map(|(row, bias)| dot(row) + bias).collect())
        }
        "Conv2d" => {
            let (size, weights) = numbers(node, "weight");
            let (stride, padding) = (pair(node, "stride"), pair(node, "padding"));
            assert_eq!(numbers(node, "groups").1, [1.0]);
            assert_eq!(pair(node, "input_shape"), shape[1..]);
            let padding = [padding, padding].concat().try_into().unwrap();
            let (out, seen) = windows(shape, x, [size[2], size[3]], stride, padding, pair(node, "dilation"));
            let n = out[1] * out[2];
            let biases = numbers(node, "bias").1;
            let value = |channel: usize, position: usize| {
                let area = size[2] * size[3];
                let kernels = weights[channel * size[1] * area..][..size[1] * area].chunks_exact(area);
                let of_inputs = kernels
                    .enumerate()
                    .map(|(c, kernel)| kernel.iter().zip(&seen[c * n + position]).map(|(w, x)| w * x).sum::<f64>());
                of_inputs.sum::<f64>() + biases[channel]
            };
            let values = (0..size[0]).flat_map(|channel| (0..n).map(move |position| (channel, position)));
            (vec![size[0], out[1], out[2]], values.map(|(channel, position)| value(channel, position)).collect())
        }
        "SumPool2d" => {
            let padding = pair(node, "padding");
            let padding = [padding, padding].concat().try_into().unwrap();
            let (size, stride) = (pair(node, "kernel_size"), pair(node, "stride"));
            let (out, seen) = windows(shape, x, size, stride, padding, [1; 2]);
            (out, seen.iter().map(|window| window.iter().sum()).collect())
        }
        "Threshold" => {
            let (size, thresholds) = numbers(node, "threshold");
            assert_eq!(size, shape);
            (
                shape.to_vec(),
                x.iter().zip(thresholds).map(|(x, threshold)| f64::from(u8::from(*x > threshold))).collect(),
            )
        }
        "IF" => {
            let fields = ["r", "v_threshold", "v_reset"].map(|field| {
                let (size, values) = numbers(node, field);
                assert_eq!(size, shape, "one value for each neuron");
                values
            });
            potentials.resize(x.len(), 0.0);
            let fire = |(idx, (v, x)): (usize, (&mut f64, &f64))| {
                *v += fields[0][idx] * x;
                let spikes = *v > fields[1][idx];
                *v = if spikes { fields[2][idx] } else { *v };
                f64::from(u8::from(spikes))
            };
            (shape.to_vec(), potentials.iter_mut().zip(x).enumerate().map(fire).collect())
        }
        kind => panic!("a node of type {kind}"),
    }
}

/// Values that come out of each node at each step.
fn simulate(root: &Group, inputs: &[Vec<f64>]) -> BTreeMap<String, Vec<Vec<f64>>> {
    let graph = group(root, "node");
    let nodes = group(graph, "nodes");
    let edges: Vec<&[String]> = texts(graph, "edges").chunks_exact(2).collect();
    let mut potentials: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    let mut found: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for input in inputs {
        let mut out: BTreeMap<&String, (Vec<usize>, Vec<f64>)> = BTreeMap::new();
        while out.len() < nodes.len() {
            let sources = |name: &String| -> Vec<&String> {
                edges.iter().filter(|edge| edge[1] == *name).map(|edge| &edge[0]).collect()
            };
            let ready = nodes
                .keys()
                .find(|name| !out.contains_key(*name) && sources(name).iter().all(|source| out.contains_key(*source)));
            let name = ready.expect("every node can be reached");
            let (shape, mut x) = match sources(name).first() {
                Some(first) => (out[*first].0.clone(), vec![0.0; out[*first].1.len()]),
                None => {
                    (numbers(group(nodes, name), "shape").1.iter().map(|&size| size as usize).collect(), input.clone())
                }
            };
            for source in sources(name) {
                assert_eq!(out[source].0, shape, "what flows into {name}");
                x.iter_mut().zip(&out[source].1).for_each(|(sum, value)| *sum += value);
            }
            let of_node = step(group(nodes, name), &shape, &x, potentials.entry(name).or_default());
            found.entry(name.clone()).or_default().push(of_node.1.clone());
            out.insert(name, of_node);
        }
    }
    found
}

/// Spikes of each layer of the engine and its potentials, and those of the graph as it is read back from its file.
fn both(network: &SpikingNetwork, run: &RunSettings, allowed: &[Deviation]) -> [Vec<Vec<Vec<f64>>>; 2] {
    let graph = Graph::new(network, run, allowed, &provenance()).unwrap();
    let root = hdf5::read(&hdf5::bytes(graph.root())).unwrap();
    let pixels: Vec<f32> = uniform(77, network.n_in()).into_iter().map(|value| (value.abs() * 0.9) as f32).collect();
    let trace = EventEngine::new(network).run(&[Sample { index: 3, pixels: &pixels }], run).unwrap().remove(0);
    let of = |train: &snn::SpikeTrain| -> Vec<Vec<f64>> {
        let step = |step| (0..train.n_neurons()).map(|neuron| f64::from(u8::from(train.get(step, neuron)))).collect();
        (0..N_STEPS).map(step).collect()
    };
    let mut ours: Vec<_> = trace.spikes[1..].iter().map(of).collect();
    ours.push(
        trace
            .readout
            .chunks_exact(network.n_classes())
            .map(|row| row.iter().map(|&v| f64::from(v)).collect())
            .collect(),
    );
    let found = simulate(&root, &of(&trace.spikes[0]));
    let mut theirs: Vec<_> =
        found.iter().filter(|(name, _)| name.ends_with("_if")).map(|(_, values)| values.clone()).collect();
    let mut sums = vec![0.0; network.n_classes()];
    let potentials = found["output"].iter().map(|currents| {
        sums.iter_mut().zip(currents).for_each(|(sum, current)| *sum += current);
        sums.clone()
    });
    theirs.push(potentials.collect());
    [ours, theirs]
}

#[test]
fn a_graph_gives_the_engines_spikes_and_potentials_by_nirs_definition() {
    let network = network(PoolKind::Mean, 0.0);
    let [ours, theirs] = both(&network, &run(Reset::Zero), &[]);
    let n_spikes = |layer: &[Vec<f64>]| layer.iter().flatten().sum::<f64>();
    assert!(ours[..3].iter().all(|layer| n_spikes(layer) > 10.0), "every layer spikes, or nothing is shown");
    assert_eq!(ours, theirs);
}

#[test]
fn a_graph_has_kernels_and_pools_that_are_no_squares_if_opposite_sides_are_padded_alike() {
    let pool = Pool { padding: [1, 0, 1, 0], ..Pool::new(PoolKind::Mean, [2, 3], [2, 1]) };
    // No window would see a row of zeros below.
    let uneven = Pool { padding: [1, 0, 0, 0], ..pool };
    for pool in [pool, uneven] {
        let network = uneven_network([2, 1, 2, 1], pool, false);
        let [ours, theirs] = both(&network, &run(Reset::Zero), &[]);
        assert!(ours[..2].iter().all(|layer| layer.iter().flatten().sum::<f64>() > 10.0), "every layer spikes");
        assert_eq!(ours, theirs);
    }
}

#[test]
fn what_no_node_says_is_refused_by_name() {
    let pool = Pool { padding: [1, 0, 1, 0], ..Pool::new(PoolKind::Mean, [2, 3], [2, 1]) };
    let refusal =
        |network: &SpikingNetwork| Graph::new(network, &run(Reset::Zero), &[], &provenance()).unwrap_err().to_string();
    let remedy = "pad opposite sides alike, or export `plain` in place of `nir`";
    assert_eq!(
        refusal(&uneven_network([2, 1, 0, 1], pool, false)),
        format!(
            "layer conv 1: has a convolution that is padded by 2 above, 1 to the left, 0 below and 1 to the right, and a node pads \
             opposite sides alike; {remedy}"
        )
    );
    let sticks_out = Pool { padding: [0; 4], ceil: true, stride: [2, 3], ..pool };
    assert_eq!(
        refusal(&uneven_network([2, 1, 2, 1], sticks_out, false)),
        format!(
            "layer conv 2: is behind a pool that is padded by 0 above, 0 to the left, 1 below and 2 to the right, and a node pads \
             opposite sides alike; {remedy}"
        )
    );
    assert_eq!(
        refusal(&uneven_network([2, 1, 2, 1], Pool { counts_padding: false, ..pool }, false)),
        "layer conv 2: is behind an average pool whose windows at the border are means of fewer inputs, and a SumPool2d node adds \
         every input once; count the padding among the inputs of the pool, or export `plain` in place of `nir`"
    );
    assert_eq!(
        refusal(&uneven_network([2, 1, 2, 1], pool, true)),
        "layer conv 1: has a bias for each neuron, and a Conv2d node one for each channel; export `plain` in place of `nir`, or use \
         a network whose convolutions are padded with what their inputs are shifted to"
    );
}

#[test]
fn max_pools_pass_more_spikes_in_a_graph_than_they_should_and_only_if_that_is_allowed() {
    let network = network(PoolKind::Max, 0.0);
    let error = Graph::new(&network, &run(Reset::Zero), &[], &provenance()).unwrap_err();
    assert_eq!(error, NirError::Unsayable(vec![(Deviation::MaxPool, vec!["residual 2".to_owned()])]));
    let [ours, theirs] = both(&network, &run(Reset::Zero), &[Deviation::MaxPool]);
    assert_eq!(ours[0], theirs[0], "before the pool nothing differs");
    assert_ne!(ours[1], theirs[1]);
}

#[test]
fn everything_that_nir_cannot_say_is_refused_at_once_with_what_to_do() {
    let error = Graph::new(&network(PoolKind::Max, 0.5), &run(Reset::Subtract), &[Deviation::MaxPool], &provenance())
        .unwrap_err();
    let text = error.to_string();
    for part in [
        "reset-by-subtraction (conv 1, residual 2, dense 3): ",
        "initial-potential (conv 1, residual 2, dense 3): ",
        "`--allow reset-by-subtraction,initial-potential`",
        "simulate.reset = \"zero\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("max-pool"), "it is allowed: {text}");
}

#[test]
fn a_run_so_long_that_potentials_saturate_is_one_of_the_things_to_be_allowed() {
    let network = network(PoolKind::Mean, 0.0);
    let long = RunSettings { n_steps: 1_000_000_000, ..run(Reset::Zero) };
    let Err(NirError::Unsayable(found)) = Graph::new(&network, &long, &[], &provenance()) else {
        panic!("it is refused")
    };
    let all = ["conv 1", "residual 2", "dense 3", "dense 4"].map(str::to_owned).into();
    assert_eq!(found, [(Deviation::Saturation, all)]);
    assert!(Graph::new(&network, &long, &[Deviation::Saturation], &provenance()).is_ok());
}

#[test]
fn neurons_that_nir_does_not_know_are_refused_with_what_they_do() {
    let network = network(PoolKind::Mean, 0.0);
    for &kind in NeuronKind::ALL {
        let run = RunSettings { neuron: NeuronConfig { kind, ..NeuronConfig::default() }, ..run(Reset::Zero) };
        let graph = Graph::new(&network, &run, &[], &provenance());
        if kind == NeuronKind::IntegrateAndFire {
            assert!(graph.is_ok());
        } else {
            let message = graph.unwrap_err().to_string();
            assert!(message.contains(&format!("neurons `{kind}` (")) && message.contains("u = v + I"), "{message}");
        }
    }
}

#[test]
fn what_is_allowed_stands_in_the_graphs_metadata() {
    let network = network(PoolKind::Mean, 0.5);
    let allowed = [Deviation::ResetBySubtraction, Deviation::InitialPotential];
    let graph = Graph::new(&network, &run(Reset::Subtract), &allowed, &provenance()).unwrap();
    assert_eq!(graph.notes().len(), 2);
    let whole = group(graph.root(), "node");
    assert_eq!(texts(group(whole, "metadata"), "reset"), ["subtract"]);
    assert_eq!(texts(group(whole, "metadata"), "notes")[0], graph.notes().join("\n"));
    assert!(!group(group(whole, "nodes"), "layer_1_1_if").contains_key("v_reset"), "NIR's older definition has none");
    let neurons = group(group(whole, "nodes"), "layer_1_1_if");
    assert_eq!(numbers(neurons, "v_threshold"), (&[4, 6, 5][..], vec![1.0; 120]), "what a spike takes off");
    assert_eq!(numbers(group(neurons, "metadata"), "initial_potential"), (&[4, 6, 5][..], vec![0.5; 120]));
    assert_eq!(numbers(group(neurons, "metadata"), "activation_threshold").1, vec![2.0; 120]);
}

#[test]
fn a_spike_at_the_threshold_is_one_in_a_graph_too() {
    // One input that is always on and a weight of ½: the potential is exactly 1 at every other step.
    let exact = |name: &str, idx: usize| ExactLayer {
        name: name.to_owned(),
        connections: vec![Connection {
            wiring: Wiring::dense(snn::Source::from_index(idx), [1, 1, 1], 1),
            weights: vec![0.5],
        }],
        biases: vec![0.0].into(),
        initial_potentials: vec![0.0],
        thresholds: vec![1.0],
    };
    let layers = ["dense 1", "dense 2"]
        .iter()
        .enumerate()
        .map(|(idx, name)| SpikingLayer::round(&exact(name, idx), N_STEPS).unwrap());
    let network = SpikingNetwork::new([1, 1, 1], layers.collect()).unwrap();
    let graph = Graph::new(&network, &run(Reset::Zero), &[], &provenance()).unwrap();
    let found = simulate(graph.root(), &vec![vec![1.0]; N_STEPS]);
    let spikes: Vec<f64> = found["layer_1_1_if"].iter().flatten().copied().collect();
    assert_eq!(spikes, [0.0, 1.0].repeat(N_STEPS / 2));
}

#[test]
fn words_of_the_command_line_are_those_that_errors_name() {
    for deviation in Deviation::ALL {
        assert_eq!(deviation.name().parse(), Ok(deviation));
    }
    assert!(
        "leak"
            .parse::<Deviation>()
            .unwrap_err()
            .contains("reset-by-subtraction, initial-potential, max-pool, saturation")
    );
}
