//! Which compute kernel runs each layer, and why the faster ones do not.

use model::config::{Encoding, Reset};
use pulp::Arch;
use snn::RunSettings;
use snn::engine::neurons;
use snn::network::SpikingNetwork;

use crate::drive;
use crate::firing;
use crate::kernels::{self, LayerFacts, Refusal, Sums};
use crate::simd::level_name;

/// What runs a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerExplanation {
    /// Name of the layer.
    pub layer: String,
    /// Adds up the weights of the inputs that spike.
    pub synapses: Choice,
    /// Multiplies pixels with weights, where a constant input reaches the layer.
    pub drive: Option<Choice>,
    /// Number format of the sums of a time step.
    pub sums: &'static str,
    /// Number format of the membrane potentials.
    pub potentials: &'static str,
    /// The set of vector instructions.
    pub simd_level: &'static str,
}

/// A compute kernel that runs a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub kernel: &'static str,
    /// Why the faster ones do not, fastest first.
    pub refusals: Vec<Refusal>,
}

/// What [`crate::EventEngine`] runs each layer of a network with, on this machine.
pub fn explain(network: &SpikingNetwork, settings: &RunSettings) -> Vec<LayerExplanation> {
    let arch = Arch::new();
    let layers = network.layers().iter().zip(neurons(network, settings));
    let explanation = |(layer, neurons): (&snn::SpikingLayer, snn::engine::Neurons)| {
        let facts = LayerFacts::new(layer);
        let (kernel, refusals) = kernels::choose(&facts);
        let is_driven = settings.encoding == Encoding::Constant;
        let (sums, potentials) = match kernel.sums() {
            Sums::Float32 => ("float32", "float32"),
            Sums::Int32 => ("int32", "int32"),
            Sums::Int16 => {
                let subtracts =
                    settings.neuron.is_binary() && neurons.fires == Some(Reset::Subtract) && neurons.limits.is_none();
                let are_short = subtracts && kernel.are_at_hand() && firing::is_short(arch, settings.n_steps);
                ("int16", if are_short { "int32, int16 for 8 steps at a time" } else { "int32" })
            }
        };
        LayerExplanation {
            layer: layer.name().to_owned(),
            synapses: Choice { kernel: kernel.name(), refusals },
            drive: is_driven.then(|| drive::choose(layer)).flatten(),
            sums,
            potentials,
            simd_level: level_name(arch),
        }
    };
    layers.map(explanation).collect()
}

#[cfg(test)]
mod tests {
    use model::population::{Pool, PoolKind};
    use snn::grid::Precision;
    use snn::network::{ExactLayer, SpikingLayer};
    use snn::{Connection, Kernel, Wiring};
    use specimens::{all_settings, uniform};

    use super::*;

    /// 16c5-ap2-32c5-ap2-128-10 on 28 × 28 pixels.
    fn lenet(precision: Precision) -> SpikingNetwork {
        let plain = Kernel::square([1, 28, 28], 16, 5, 1, 2, 1);
        let halves = || vec![Pool::new(PoolKind::Mean, [2, 2], [2, 2])];
        let wiring = |source, source_shape, pools, kernel| Wiring { source, source_shape, pools, kernel };
        let wirings = [
            wiring(snn::Source::from_index(0), [1, 28, 28], Vec::new(), plain),
            wiring(
                snn::Source::from_index(1),
                [16, 28, 28],
                halves(),
                Kernel { input: [16, 14, 14], channels: 32, ..plain },
            ),
            wiring(snn::Source::from_index(2), [32, 14, 14], halves(), Kernel::dense(32 * 7 * 7, 128)),
            Wiring::dense(snn::Source::from_index(3), [128, 1, 1], 10),
        ];
        let layers = wirings.into_iter().zip(["conv 1", "conv 2", "dense 3", "dense 4"]).map(|(wiring, name)| {
            let (n, kernel) = (wiring.kernel.channels, wiring.kernel);
            let scale = 3.0 / (kernel.row_len() as f64).sqrt();
            let weights = uniform(1, n * kernel.row_len()).iter().map(|weight| weight * scale).collect();
            let exact = ExactLayer {
                name: name.to_owned(),
                connections: vec![Connection { wiring, weights }],
                biases: vec![0.0; n].into(),
                initial_potentials: vec![0.0; n],
                thresholds: vec![1.0; n],
            };
            SpikingLayer::round(&exact, precision).unwrap()
        });
        SpikingNetwork::new([1, 28, 28], layers.collect()).unwrap()
    }

    #[test]
    fn a_network_with_small_weights_runs_on_the_kernels_that_the_readme_names() {
        let settings = RunSettings { encoding: Encoding::Constant, ..all_settings(32)[0] };
        let layers =
            explain(&lenet(Precision { n_steps: 32, sum_bits: 15, weight_bits: 8, may_saturate: true }), &settings);
        let kernels: Vec<&str> = layers.iter().map(|layer| layer.synapses.kernel).collect();
        assert_eq!(kernels, ["tables", "sliding-bytes", "gather-bytes-wide", "gather-int16-narrow"]);
        let drives: Vec<Option<&str>> =
            layers.iter().map(|layer| layer.drive.as_ref().map(|drive| drive.kernel)).collect();
        assert_eq!(drives, [Some("drive-int16"), None, None, None]);
        assert!(layers.iter().all(|layer| layer.sums == "int16" && layer.potentials.starts_with("int32")));
        let reasons = |layer: usize| {
            let refusals = layers[layer].synapses.refusals.iter();
            refusals.map(|refusal| format!("{}: {}", refusal.kernel, refusal.reason)).collect::<Vec<_>>()
        };
        assert_eq!(reasons(1), ["tables: pools before the convolution; supported: none"]);
        let not_conv = |kernel| format!("{kernel}: fully connected; supported: convolutions");
        let convolve = ["tables", "sliding-bytes", "sliding-int16"].map(not_conv);
        let [narrow, twin] = [
            "gather-int16-narrow: 128 neurons, 16 at most",
            "gather-bytes-twin: 128 channels in rows of 1; supported: 32 in rows of two or more",
        ];
        assert_eq!(reasons(2), [&convolve[..], &[narrow.to_owned(), twin.to_owned()]].concat());
        assert_eq!(reasons(3), convolve);
    }

    #[test]
    fn finer_sums_are_longer_and_the_reason_names_the_remedy() {
        let layers = explain(
            &lenet(Precision { n_steps: 32, sum_bits: 24, weight_bits: 25, may_saturate: true }),
            &all_settings(32)[0],
        );
        let kernels: Vec<&str> = layers.iter().map(|layer| layer.synapses.kernel).collect();
        let [wide, twin, narrow] = ["wide", "twin", "narrow"].map(|width| format!("gather-float32-{width}"));
        // Of many inputs, weights are short.
        assert_eq!(kernels, [&wide, &twin, "gather-int32-wide", &narrow]);
        for (idx, layer) in layers.iter().enumerate() {
            assert_eq!([layer.sums, layer.potentials], [if idx == 2 { "int32" } else { "float32" }; 2]);
            let is_remedy = |reason: &str| {
                reason.starts_with("sums of weights reach ") && reason.ends_with("convert with convert.sum_bits = 15")
            };
            assert!(layer.synapses.refusals.iter().any(|refusal| is_remedy(&refusal.reason)), "{layer:?}");
        }
    }
}
