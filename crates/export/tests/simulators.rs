//! Quartic against other simulators, without them: the spike counts that SpikingJelly and Norse gave for exported graphs, and
//! what the HDF5 library found in the files. `scripts/verify-nir fixtures` makes the fixtures; versions are named in
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine_event::EventEngine;
use export::Provenance;
use export::hdf5::{self, Dataset, Group, Item, Values};
use export::nir::{Deviation, Graph};
use model::artefact::sha256_hex;
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use serde::Deserialize;
use serde_json::Value;
use snn::artefact::SnnArtefact;
use snn::{Engine as _, RunSettings, Sample};

/// Fully connected; with average pools; with a residual sum and groups. Each for both resets.
const NETWORKS: [&str; 6] =
    ["mlp-subtract", "mlp-zero", "cnn-subtract", "cnn-zero", "residual-subtract", "residual-zero"];

#[derive(Debug, Deserialize)]
struct Fixture {
    simulators: Vec<String>,
    steps: usize,
    seed: u64,
    encoding: Encoding,
    reset: Reset,
    readout: Readout,
    /// `[N, n_in]`
    pixels: Vec<Vec<f32>>,
    /// `[N, T]` texts of `0` and `1`.
    input_spikes: Vec<Vec<String>>,
    /// `[layers, N, neurons]`
    counts: Vec<Vec<Vec<i32>>>,
    graph: FoundGraph,
}

/// What the HDF5 library found in a graph's file.
#[derive(Debug, Deserialize)]
struct FoundGraph {
    sha256: String,
    creator: String,
    types: BTreeMap<String, String>,
    shapes: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    edges: Vec<[String; 2]>,
}

fn fixture(name: &str) -> (Fixture, SnnArtefact<Value, Value>, RunSettings) {
    let path = |extension| -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).with_extension(extension)
    };
    let text = std::fs::read_to_string(path("json")).unwrap();
    let fixture: Fixture = serde_json::from_str(&text).unwrap();
    let run = RunSettings {
        encoding: fixture.encoding,
        neuron: NeuronConfig::default(),
        reset: fixture.reset,
        readout: fixture.readout,
        n_steps: fixture.steps,
        seed: fixture.seed,
    };
    (fixture, snn::artefact::read(&path("safetensors")).unwrap(), run)
}

#[test]
fn every_neuron_spikes_as_often_as_in_spikingjelly_and_norse() {
    for name in NETWORKS {
        let (fixture, snn, run) = fixture(name);
        assert!(fixture.simulators[0].starts_with("SpikingJelly "), "{name}: {:?}", fixture.simulators);
        let samples = Sample::consecutive(0, &fixture.pixels);
        let traces = EventEngine::new(&snn.network).run(&samples, &run).unwrap();
        assert_eq!(traces.len(), fixture.input_spikes.len());
        let spikes = |layer: &Vec<Vec<i32>>| layer.iter().flatten().any(|&count| count > 0);
        assert!(fixture.counts.iter().all(spikes), "{name}: a silent layer shows nothing");
        for (sample, trace) in traces.iter().enumerate() {
            let input = &trace.spikes[0];
            let of_step =
                |step| (0..input.n_neurons()).map(|pixel| if input.get(step, pixel) { '1' } else { '0' }).collect();
            let input: Vec<String> = (0..fixture.steps).map(of_step).collect();
            assert_eq!(input, fixture.input_spikes[sample], "{name}, sample {sample}: what went into the simulators");
            let counts: Vec<Vec<i32>> = trace.spikes[1..].iter().map(snn::SpikeTrain::counts).collect();
            let theirs: Vec<&Vec<i32>> = fixture.counts.iter().map(|layer| &layer[sample]).collect();
            assert_eq!(counts.iter().collect::<Vec<_>>(), theirs, "{name}, sample {sample}");
        }
    }
}

#[test]
fn graphs_are_byte_for_byte_those_that_the_simulators_read() {
    for name in NETWORKS {
        let (fixture, snn, run) = fixture(name);
        let found = fixture.graph;
        let version = found.creator.strip_prefix("Quartic ").unwrap();
        let provenance = Provenance { quartic_version: version.to_owned(), parent: snn.checksum };
        let graph = Graph::new(&snn.network, &run, &Deviation::ALL, &provenance).unwrap();
        let bytes = hdf5::bytes(graph.root());
        // First what can be understood when it fails.
        let root = hdf5::read(&bytes).unwrap();
        let graph = group(&root["node"]);
        let nodes = group(&graph["nodes"]);
        let types = nodes.iter().map(|(name, node)| (name.clone(), texts(&group(node)["type"])[0].clone()));
        assert_eq!(types.collect::<BTreeMap<_, _>>(), found.types, "{name}");
        let shapes = nodes.iter().map(|(name, node)| (name.clone(), shapes(group(node))));
        assert_eq!(shapes.collect::<BTreeMap<_, _>>(), found.shapes, "{name}");
        assert_eq!(texts(&graph["edges"]), found.edges.concat(), "{name}");
        assert_eq!(sha256_hex(&bytes), found.sha256, "{name}: values or layout of the file");
    }
}

fn group(item: &Item) -> &Group {
    let Item::Group(group) = item else { panic!("a group: {item:?}") };
    group
}

fn texts(item: &Item) -> &[String] {
    let Item::Dataset(Dataset { values: Values::Text(texts), .. }) = item else { panic!("texts: {item:?}") };
    texts
}

fn shapes(node: &Group) -> BTreeMap<String, Vec<usize>> {
    let shape = |(name, item): (&String, &Item)| match item {
        Item::Dataset(dataset) => Some((name.clone(), dataset.shape.clone())),
        Item::Group(_) => None,
    };
    node.iter().filter_map(shape).collect()
}
