//! Runs a converted network on inputs of one's own: `cargo run --release -p reproduce --example own_inputs --
//! runs/example/snn.safetensors`

use anyhow::Context as _;
use engine_event::EventEngine;
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use serde_json::Value;
use snn::{Engine as _, RunSettings, Sample};

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("name a converted network: own_inputs FILE")?;
    // What the conversion records is its command's own affair: any JSON value will do.
    let network = snn::artefact::read::<Value, Value>(path.as_ref())?.network;
    let settings = RunSettings {
        encoding: Encoding::Poisson,
        neuron: NeuronConfig::default(),
        reset: Reset::Subtract,
        readout: Readout::Potential,
        n_steps: 16,
        seed: 0,
    };
    // Two images of as many pixels as the network has inputs: from dark to bright, and back. Random numbers depend on the index.
    let n = network.n_in();
    let rising: Vec<f32> = (0..n).map(|pixel| pixel as f32 / n as f32).collect();
    let falling: Vec<f32> = rising.iter().rev().copied().collect();
    let traces = EventEngine::new(&network).run(&Sample::consecutive(0, &[rising, falling]), &settings)?;

    for trace in &traces {
        println!("decisions at T = 1 to {}: {:?}", trace.n_steps(), trace.decisions());
        let names = std::iter::once("input").chain(network.layers().iter().map(snn::SpikingLayer::name));
        for (name, spikes) in names.zip(&trace.spikes) {
            println!("  {name}: {} spikes of {} neurons", spikes.n_spikes_in_all(), spikes.n_neurons());
        }
    }
    Ok(())
}
