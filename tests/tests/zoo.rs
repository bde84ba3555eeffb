//! Networks of every family of torchvision, at small width: the event-driven engine, and the dense one, do with what they are converted to
//! what the definition says, bit for bit.
//!
//! The files are the fixtures of the `import` crate, made by `scripts/peers/make_onnx_fixtures.py`.

use std::path::{Path, PathBuf};

use ann::network::Network;
use convert::activation;
use datasets::LabelledImages;
use engine_dense::DenseEngine;
use engine_event::EventEngine;
use methods::layer::ann_layers;
use methods::rescale;
use methods::thresholds::{Choice, choose};
use model::Architecture;
use model::config::{Encoding, Method, Readout, SimulateConfig};
use snn::philox::philox;
use snn::{Engine as _, ReferenceEngine, RunSettings, Sample, SpikingNetwork};

/// One file for each family; those of the older exporter hold the same networks.
const FAMILIES: [&str; 11] = [
    "bottleneck",
    "dense",
    "fire",
    "google",
    "inception",
    "inverted",
    "mnas",
    "option-a",
    "pre-activation",
    "residual",
    "shuffle",
];

const N_STEPS: usize = 10;

const N_IMAGES: usize = 3;

fn fixture(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../crates/import/tests/fixtures/zoo/{family}.onnx"))
}

/// Random images of bytes.
fn images(shape: [usize; 3]) -> LabelledImages {
    let n = N_IMAGES * shape.iter().product::<usize>();
    let pixels = (0..n).map(|at| (philox(7, [at as u32, 0, 0, 0])[0] >> 24) as u8).collect();
    LabelledImages::from_parts(shape, 255, 2, pixels, vec![0; N_IMAGES]).unwrap()
}

/// A network as a method converts it, thresholds of single channels, and the images that it was calibrated on.
fn converted(family: &str, method: Method, readout: Readout) -> (SpikingNetwork, Vec<Vec<f32>>) {
    let network = import::network(&fixture(family), None, None).unwrap();
    let architecture = Architecture::of_entries(network.model.input, None, &network.model.layers).unwrap();
    let tensors = network.into_weights(&architecture).unwrap().ann.tensors;
    let samples = images(architecture.input());
    let device = ann::device(ann::backend::built_in()[0]).unwrap();
    let trained = Network::with_tensors(&architecture, &tensors, None, &device);
    let activations = activation::measure(&trained, architecture.populations(), &samples, &device);
    let layers = ann_layers(&architecture, &tensors);
    let choice = Choice {
        method,
        p: 4.0,
        kappa: 0.5,
        percentile: 99.0,
        percentile_zeros: true,
        scale: 1.0,
        target_steps: N_STEPS,
        initial_potential: 0.5,
        compensate: true,
        readout,
    };
    let noise = |_: usize, _: &[Vec<f64>]| unreachable!("no method here measures noise");
    let thresholds = choose(&layers, Some(&activations), &choice, &noise).unwrap();
    let exact = rescale::rescale(&layers, &thresholds, true, 0.5);
    let spiking = rescale::round(architecture.input(), &exact, N_STEPS).unwrap();
    (spiking, (0..samples.len()).map(|sample| samples.image(sample)).collect())
}

#[test]
fn all_engines_do_the_same_with_networks_of_every_family() {
    let runs = [
        (Method::ChannelPercentile, Encoding::Constant, Readout::Potential),
        (Method::Norm, Encoding::Poisson, Readout::Spikes),
    ];
    let device = ann::device(ann::backend::built_in()[0]).unwrap();
    for family in FAMILIES {
        for (method, encoding, readout) in runs {
            let (network, images) = converted(family, method, readout);
            let config = SimulateConfig { encoding, readout, steps: N_STEPS, ..SimulateConfig::default() };
            let settings = RunSettings::new(&config, 3);
            let samples = Sample::consecutive(0, &images);
            let expected = ReferenceEngine::new(&network).run(&samples, &settings).unwrap();
            // Silent layers would agree whatever an engine does.
            let n_spikes =
                |layer: usize| expected.iter().map(|trace| trace.spikes[layer].n_spikes_in_all()).sum::<usize>();
            let n_silent = (1..expected[0].spikes.len()).filter(|&layer| n_spikes(layer) == 0).count();
            assert!(4 * n_silent <= expected[0].spikes.len(), "{family}, {method}: {n_silent} layers are silent");
            let event = EventEngine::new(&network).run(&samples, &settings).unwrap();
            assert!(event == expected, "{family}, {method}: the event-driven engine");
            let dense = DenseEngine::new(&network, &device, N_IMAGES).run(&samples, &settings).unwrap();
            assert!(dense == expected, "{family}, {method}: the dense engine");
        }
    }
}
