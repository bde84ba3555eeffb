//! The network with spike counts in place of spikes: what it would decide if only counts mattered, and not when spikes come.
//!
//! A neuron of constant drive a (in thresholds per step) that starts at v(0) has spiked `min(T, max(0, floor(aT + v(0))))` times
//! after T steps: it rounds, and it cannot spike more than once a step. A layer of the rate model does that with the charge
//! that the counts of its sources bring it, `W̃ n + b̃ T`; each effect can be left out. What a spiking network does beyond that is
//! the order of its spikes: charge that comes too early or too late to be turned into a spike, or that is taken back later.
//!
//! In f64 and without a clock; for reset by subtraction, and without the limits at which potentials of very long runs saturate.
//! With all effects the counts are those of the engines after one step, and of one hidden layer under constant current at any
//! time, for then no spike comes unevenly. With none the model is the trained network, rescaled.

use model::config::{Encoding, Readout};

use engine_event::drive::{Drive, Weighted};
use snn::network::{SpikingLayer, SpikingNetwork};
use snn::places::{by_neuron, by_place};
use snn::wiring::Source;

/// What a rate model takes over from the spiking network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// Input counts are those of the run's spikes; else pixels times T.
    pub input: bool,
    /// Neurons spike whole times, and start at v(0); else they pass on all their charge.
    pub rounding: bool,
    /// Neurons spike no more than once a step; else as often as they are driven to.
    pub saturation: bool,
}

impl Effects {
    /// Number of subsets.
    pub const N_SUBSETS: usize = 8;

    /// Every subset, that of number k having the input for bit 0 of k, rounding for bit 1 and saturation for bit 2.
    pub fn subsets() -> [Self; Self::N_SUBSETS] {
        std::array::from_fn(|k| Self { input: k & 1 != 0, rounding: k & 2 != 0, saturation: k & 4 != 0 })
    }
}

/// Charge that pixels and biases bring to each layer that pixels reach, by place, in thresholds; the other layers have none.
#[derive(Debug, Clone, PartialEq)]
pub struct InputCharges(Vec<Option<Vec<f64>>>);

impl InputCharges {
    /// Of so many steps, where `self` is of one.
    #[must_use]
    pub fn of_steps(&self, n_steps: usize) -> Self {
        let times = |charges: &Vec<f64>| charges.iter().map(|charge| charge * n_steps as f64).collect();
        Self(self.0.iter().map(|charges| charges.as_ref().map(times)).collect())
    }
}

/// A spiking network's weights, ready to be multiplied with counts.
#[derive(Debug, Clone)]
pub struct RateModel {
    layers: Vec<RateLayer>,
}

#[derive(Debug, Clone)]
struct RateLayer {
    shape: [usize; 3],
    /// Each with its source.
    connections: Vec<(Source, Weighted)>,
    /// Of a constant current on its grid, if pixels reach the layer.
    drive: Option<Drive>,
    /// By place.
    biases: Vec<f64>,
    /// By place.
    initial_potentials: Vec<f64>,
    fires: bool,
}

impl RateModel {
    /// - `readout`: whether the last layer fires
    pub fn new(network: &SpikingNetwork, readout: Readout) -> Self {
        let last = network.layers().len() - 1;
        let of = |(idx, layer): (usize, &SpikingLayer)| RateLayer::new(layer, idx < last || readout == Readout::Spikes);
        Self { layers: network.layers().iter().enumerate().map(of).collect() }
    }

    /// What pixels bring in a step without noise: their value, each.
    ///
    /// - `encoding`: whose run the model is compared with; a constant current is rounded to the grid as the engines round it
    /// - `pixels`: `[n_in]`, each in [0, 1]
    pub fn steady(&self, encoding: Encoding, pixels: &[f32]) -> InputCharges {
        let wide: Vec<f64> = pixels.iter().map(|&pixel| f64::from(pixel)).collect();
        let of = |layer: &RateLayer| {
            layer.drive.as_ref().map(|drive| match encoding {
                Encoding::Constant => drive.currents(&[pixels], 0)[0].iter().copied().map(f64::from).collect(),
                _ => layer.charge_of_input(&wide, 1),
            })
        };
        InputCharges(self.layers.iter().map(of).collect())
    }

    /// What input spikes have brought in a number of steps.
    ///
    /// - `counts`: spikes of each input, `[n_in]`
    pub fn counted(&self, counts: &[f64], n_steps: usize) -> InputCharges {
        let of = |layer: &RateLayer| layer.drive.as_ref().map(|_| layer.charge_of_input(counts, n_steps));
        InputCharges(self.layers.iter().map(of).collect())
    }

    /// What the last layer has after a number of steps, `[n_classes]`: charge in thresholds, or spikes if it fires.
    ///
    /// - `input`: of these steps; whether it has noise is up to the caller
    pub fn readout(&self, input: &InputCharges, n_steps: usize, effects: Effects) -> Vec<f64> {
        let mut counts: Vec<Vec<f64>> = Vec::with_capacity(self.layers.len());
        for (layer, input) in self.layers.iter().zip(&input.0) {
            let mut charges = match input {
                Some(charges) => charges.clone(),
                None => layer.biases.iter().map(|bias| bias * n_steps as f64).collect(),
            };
            for (source, weights) in &layer.connections {
                if let Some(source) = source.layer() {
                    weights.add([&counts[source]], layer.shape[0], [&mut charges]);
                }
            }
            layer.fire(&mut charges, n_steps as f64, effects);
            counts.push(by_neuron(layer.shape, &charges));
        }
        counts.pop().expect("a network has layers")
    }
}

impl RateLayer {
    fn new(layer: &SpikingLayer, fires: bool) -> Self {
        let places = |of_neurons: Vec<f32>| {
            let neurons: Vec<f64> = of_neurons.into_iter().map(f64::from).collect();
            by_place(layer.shape(), &neurons)
        };
        let connections = layer.connections().iter();
        Self {
            shape: layer.shape(),
            connections: connections.map(|of| (of.wiring.source, Weighted::new(of))).collect(),
            drive: Drive::of_pixels(layer),
            biases: places(layer.biases().of_neurons(layer.n_positions())),
            initial_potentials: places(layer.for_neurons(layer.initial_potentials())),
            fires,
        }
    }

    /// - `counts`: of the network's input
    fn charge_of_input(&self, counts: &[f64], n_steps: usize) -> Vec<f64> {
        let mut charges: Vec<f64> = self.biases.iter().map(|bias| bias * n_steps as f64).collect();
        for (_, weights) in self.connections.iter().filter(|(source, _)| *source == Source::INPUT) {
            weights.add([counts], self.shape[0], [&mut charges]);
        }
        charges
    }

    /// Turns charges into counts; of a layer that only integrates, into potentials.
    fn fire(&self, charges: &mut [f64], n_steps: f64, effects: Effects) {
        for (charge, start) in charges.iter_mut().zip(&self.initial_potentials) {
            if effects.rounding {
                *charge += start;
            }
            if self.fires {
                let whole = if effects.rounding { charge.floor() } else { *charge };
                let most = if effects.saturation { n_steps } else { f64::INFINITY };
                *charge = whole.max(0.0).min(most);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::config::{NeuronConfig, Reset};
    use model::population::{Pool, PoolKind};
    use proptest::prelude::*;

    use super::*;
    use engine_event::EventEngine;
    use snn::network::{Biases, ExactLayer};
    use snn::wiring::{Connection, Kernel, Wiring};
    use snn::{Engine as _, RunSettings, Sample};

    const ALL: Effects = Effects { input: true, rounding: true, saturation: true };
    const NONE: Effects = Effects { input: false, rounding: false, saturation: false };

    fn layer(wirings: Vec<(Wiring, Vec<f64>)>, biases: &[f64], start: f64, n_steps: usize) -> SpikingLayer {
        let exact = ExactLayer {
            name: "x".to_owned(),
            connections: wirings.into_iter().map(|(wiring, weights)| Connection { wiring, weights }).collect(),
            biases: biases.to_vec().into(),
            initial_potentials: vec![start; biases.len()],
            thresholds: vec![1.0; biases.len()],
        };
        SpikingLayer::round(&exact, n_steps).unwrap()
    }

    /// `n_in` pixels → `n_hidden` neurons → 3 outputs, weights from a seed in [−1, 1].
    fn dense(n_in: usize, n_hidden: usize, start: f64, n_steps: usize, seed: u64) -> SpikingNetwork {
        let value = |idx: usize| f64::from(snn::philox::philox(seed, [idx as u32, 0, 0, 9])[0]) / 2_f64.powi(31) - 1.0;
        let weights = |first: usize, n: usize| (first..first + n).map(value).collect::<Vec<_>>();
        let layers = vec![
            layer(
                vec![(Wiring::dense(Source::INPUT, [n_in, 1, 1], n_hidden), weights(0, n_in * n_hidden))],
                &weights(10_000, n_hidden),
                start,
                n_steps,
            ),
            layer(
                vec![(Wiring::dense(Source::of_layer(0), [n_hidden, 1, 1], 3), weights(20_000, n_hidden * 3))],
                &weights(30_000, 3),
                0.0,
                n_steps,
            ),
        ];
        SpikingNetwork::new([n_in, 1, 1], layers).unwrap()
    }

    #[test]
    fn counts_of_one_neuron_are_those_computed_by_hand() {
        // A pixel of weight 1 and a bias of ¼ into one neuron that starts at ½, read out by a weight of 1.
        let hidden = layer(vec![(Wiring::dense(Source::INPUT, [1, 1, 1], 1), vec![1.0])], &[0.25], 0.5, 8);
        let output = layer(vec![(Wiring::dense(Source::of_layer(0), [1, 1, 1], 1), vec![1.0])], &[0.0], 0.0, 8);
        let model = RateModel::new(&SpikingNetwork::new([1, 1, 1], vec![hidden, output]).unwrap(), Readout::Potential);
        let after = |pixel: f32, n_steps, effects| {
            model.readout(&model.steady(Encoding::Poisson, &[pixel]).of_steps(n_steps), n_steps, effects)[0]
        };
        // 5 · (½ + ¼) = 3¾, and ½ more is 4¼: four spikes.
        assert_eq!([after(0.5, 5, NONE), after(0.5, 5, Effects { rounding: true, ..NONE })], [3.75, 4.0]);
        // 4 · 1¼ = 5, and ½ more: five spikes, of which four are in time.
        let saturated = Effects { saturation: true, ..NONE };
        assert_eq!([after(1.0, 4, NONE), after(1.0, 4, saturated), after(1.0, 4, ALL)], [5.0, 4.0, 4.0]);
        // Three input spikes in five steps: 3 + 1¼ + ½.
        assert_eq!(model.readout(&model.counted(&[3.0], 5), 5, ALL), [4.0]);
        assert_eq!(model.readout(&model.counted(&[3.0], 5), 5, Effects { input: true, ..NONE }), [4.25]);
    }

    #[test]
    fn subsets_are_numbered_by_their_bits() {
        let subsets = Effects::subsets();
        assert_eq!((subsets[0], subsets[7]), (NONE, ALL));
        assert_eq!(subsets[1], Effects { input: true, ..NONE });
        assert_eq!(subsets[6], Effects { input: false, ..ALL });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Nothing is left for the order of spikes: a hidden layer under constant current spikes evenly.
        #[test]
        fn one_hidden_layer_without_noise_counts_as_the_engine_does(
            n_in in 1..6_usize, n_hidden in 1..20_usize, start in 0.0..0.99_f64, seed in any::<u64>(), n_steps in 1..40_usize,
        ) {
            let network = dense(n_in, n_hidden, start, n_steps, seed);
            let pixels: Vec<f32> = (0..n_in).map(|i| (i as f32 * 0.37).fract()).collect();
            let settings = RunSettings {
                encoding: Encoding::Constant, neuron: NeuronConfig::default(), reset: Reset::Subtract, readout: Readout::Potential, n_steps, seed: 0,
            };
            let trace = EventEngine::new(&network).run(&[Sample { index: 0, pixels: &pixels }], &settings).unwrap();
            let model = RateModel::new(&network, Readout::Potential);
            let steady = model.steady(Encoding::Constant, &pixels);
            for (step, readout) in (1..).zip(trace[0].readout.chunks_exact(3)) {
                let found = model.readout(&steady.of_steps(step), step, ALL);
                prop_assert_eq!(found, readout.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
            }
        }

        /// There is no order of spikes within one step, however deep the network.
        #[test]
        fn after_one_step_the_model_is_the_engine_at_any_depth(n_hidden in 1..20_usize, seed in any::<u64>()) {
            let shallow = dense(5, n_hidden, 0.5, 1, seed);
            let again = dense(n_hidden, n_hidden, 0.25, 1, seed ^ 1);
            let mut between = again.layers()[0].connections()[0].clone();
            between.wiring.source = Source::of_layer(0);
            let mut last = again.layers()[1].connections()[0].clone();
            last.wiring.source = Source::of_layer(1);
            let of = |connection: &Connection<f32>, from: &SpikingLayer, start: f64| {
                let weights = connection.weights.iter().map(|&weight| f64::from(weight)).collect();
                let biases: Vec<f64> = from.biases().values().iter().map(|&bias| f64::from(bias)).collect();
                layer(vec![(connection.wiring.clone(), weights)], &biases, start, 1)
            };
            let layers = vec![
                shallow.layers()[0].clone(), of(&between, &again.layers()[0], 0.25), of(&last, &again.layers()[1], 0.0),
            ];
            let network = SpikingNetwork::new([5, 1, 1], layers).unwrap();
            let settings = RunSettings {
                encoding: Encoding::Poisson, neuron: NeuronConfig::default(), reset: Reset::Subtract, readout: Readout::Potential, n_steps: 1, seed,
            };
            let trace = &EventEngine::new(&network).run(&[Sample { index: 0, pixels: &[0.5; 5] }], &settings).unwrap()[0];
            let counts: Vec<f64> = trace.spikes[Source::INPUT.index()].counts().into_iter().map(f64::from).collect();
            let model = RateModel::new(&network, Readout::Potential);
            let found = model.readout(&model.counted(&counts, 1), 1, ALL);
            prop_assert_eq!(found, trace.readout.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        }

        /// The trained network's function, computed by the definition.
        #[test]
        fn without_effects_the_model_is_the_network_that_was_converted(
            n_in in 1..6_usize, n_hidden in 1..20_usize, seed in any::<u64>(), n_steps in 1..40_usize,
        ) {
            let network = dense(n_in, n_hidden, 0.5, n_steps, seed);
            let pixels: Vec<f32> = (0..n_in).map(|i| (i as f32 * 0.37).fract()).collect();
            let mut values: Vec<f64> = pixels.iter().map(|&pixel| f64::from(pixel)).collect();
            for (idx, layer) in network.layers().iter().enumerate() {
                let current = |channel: usize| {
                    let sum: f64 = layer.weight_vector(channel).zip(&values).map(|(w, x)| w * x).sum();
                    sum + f64::from(layer.biases().at(channel, 1))
                };
                values = (0..layer.n_out()).map(current).map(|a| if idx == 0 { a.max(0.0) } else { a }).collect();
            }
            let model = RateModel::new(&network, Readout::Potential);
            let found = model.readout(&model.steady(Encoding::Poisson, &pixels).of_steps(n_steps), n_steps, NONE);
            for (found, expected) in found.iter().zip(&values) {
                // Rounding of a few sums in f64.
                prop_assert!((found / n_steps as f64 - expected).abs() < 1e-9, "{found} for {expected}");
            }
        }

        /// A count is less than a spike off, so rates converge like 1/T.
        #[test]
        fn what_rounding_does_fades_as_one_over_the_number_of_steps(seed in any::<u64>(), n_steps in 1..2000_usize) {
            let network = dense(4, 12, 0.5, n_steps, seed);
            let model = RateModel::new(&network, Readout::Potential);
            let steady = model.steady(Encoding::Poisson, &[0.1, 0.4, 0.7, 0.9]).of_steps(n_steps);
            let of = |effects| model.readout(&steady, n_steps, effects);
            let (rounded, exact) = (of(Effects { rounding: true, ..NONE }), of(NONE));
            for (channel, (rounded, exact)) in rounded.iter().zip(&exact).enumerate() {
                let bound: f64 = network.layers()[1].weight_vector(channel).map(f64::abs).sum();
                prop_assert!((rounded - exact).abs() / n_steps as f64 <= bound / n_steps as f64 + 1e-9);
            }
        }
    }

    #[test]
    fn windows_of_fewer_inputs_and_biases_of_neurons_are_those_computed_by_hand() {
        // 1×1×3 pixels → the same three neurons, each with a bias of its own → means of the first two and of the last one.
        let row = [1, 1, 3];
        let through =
            Wiring { source: Source::INPUT, source_shape: row, pools: Vec::new(), kernel: Kernel::identity(row) };
        let exact = ExactLayer {
            name: "x".to_owned(),
            connections: vec![Connection { wiring: through, weights: vec![1.0] }],
            biases: Biases::OfNeurons(vec![0.0, 0.25, 0.5]),
            initial_potentials: vec![0.0],
            thresholds: vec![1.0],
        };
        let hidden = SpikingLayer::round(&exact, 4).unwrap();
        let pool = Pool { ceil: true, ..Pool::new(PoolKind::Mean, [1, 2], [1, 2]) };
        let kernel = Kernel::dense(2, 2);
        let pooled = Wiring { source: Source::of_layer(0), source_shape: row, pools: vec![pool], kernel };
        let output = layer(vec![(pooled, vec![0.5, 0.0, 0.0, 0.5])], &[0.0, 0.0], 0.0, 4);
        let model = RateModel::new(&SpikingNetwork::new(row, vec![hidden, output]).unwrap(), Readout::Potential);
        let steady = model.steady(Encoding::Poisson, &[0.25, 0.5, 0.0]);
        assert_eq!(model.readout(&steady.of_steps(4), 4, NONE), [4.0 * (0.25 + 0.75) / 2.0, 4.0 * 0.5]);
    }

    #[test]
    fn pools_and_skips_are_those_computed_by_hand() {
        // 1×2×2 pixels → the same four neurons → a max pool of all, and an average pool of all (¼ in its weight), and pixel
        // by pixel a skip, all into two outputs.
        let image = [1, 2, 2];
        let pool = |kind| Pool::new(kind, [2, 2], [2, 2]);
        let each = Kernel::square(image, 1, 1, 1, 0, 1);
        let through = Wiring { source: Source::INPUT, source_shape: image, pools: Vec::new(), kernel: each };
        let pooled = |kind| Wiring {
            source: Source::of_layer(0),
            source_shape: image,
            pools: vec![pool(kind)],
            kernel: Kernel::dense(1, 2),
        };
        let hidden = layer(vec![(through, vec![1.0])], &[0.0], 0.0, 4);
        let output = layer(
            vec![
                (pooled(PoolKind::Max), vec![1.0, 2.0]),
                (pooled(PoolKind::Mean), vec![0.25, -0.25]),
                (Wiring::dense(Source::INPUT, image, 2), vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
            ],
            &[0.0, 0.5],
            0.0,
            4,
        );
        let model = RateModel::new(&SpikingNetwork::new(image, vec![hidden, output]).unwrap(), Readout::Potential);
        let steady = model.steady(Encoding::Poisson, &[0.25, 0.5, 0.75, 0.0]);
        // Largest ¾, mean 0.375, pixels ¼ and 0, bias ½; times four steps.
        assert_eq!(model.readout(&steady.of_steps(4), 4, NONE), [4.0 * 1.375, 4.0 * (1.5 - 0.375 + 0.5)]);
        assert_eq!(model.readout(&steady.of_steps(4), 4, ALL), [4.0 * 1.375, 4.0 * (1.5 - 0.375 + 0.5)]);
        // In one step only nothing reaches the threshold.
        assert_eq!(model.readout(&steady, 1, ALL), [0.25, 0.5]);
    }
}
