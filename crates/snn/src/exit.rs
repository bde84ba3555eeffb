//! When a decision is settled: early exit from a run of T steps.
//!
//! A sequential test, fed step by step with the readout and with the spikes that make it. It knows no engine, and whoever runs a
//! network in pieces of time gets the same step, for that depends on nothing but what came before it.
//!
//! **The test.** After t of T steps class a leads class k by the margin `U_a − U_k`. Without the initial potentials, which are
//! no evidence, that is a sum `G` of t increments. Take these for independent, normal, of unknown mean and variance: then the
//! margin that is still to be added has, given what was seen, a Student's t distribution with ν degrees of freedom, so that at T
//!
//! `U_a(T) − U_k(T) = v_a(0) − v_k(0) + G T/t + τ √(s² T (T − t) / t)`, τ of Student's t.
//!
//! Class k overtakes with the probability `q_k` that this is below zero. The decision is settled at the first step at which
//! `Σ_k q_k`, a bound on the probability that any class overtakes, is at most 1 − confidence; at T at the latest. Each of these
//! probabilities is conditional on all that was seen, so looking after every step does not spend confidence as repeated tests of
//! a hypothesis do. As T and t grow this is the test of every margin against z standard deviations, `G ≥ z s √t`.
//!
//! **The variance.** Were the inputs of the last layer independent of each other and from step to step, that of an increment
//! would be `σ² = Σ_i (w_ai − w_ki)² r_i (1 − r_i)`, `r_i` the rate of input i; bias and constant current have none. But inputs
//! share the noise of the layers before, which makes it too small where pixels are Poisson spikes, and the increments seen are
//! too few to tell at first. So σ² counts as much as `ν₀ = 4` increments, as a scaled inverse χ² prior does:
//!
//! `s² = (ν₀ σ² + Σ_steps (increment − G/t)²) / ν`, `ν = ν₀ + t − 1`.
//!
//! Rates are those so far, `r_i = (n_i + ½) / (t + 1)` (Jeffreys' prior), for no input is certain after a step or two.
//!
//! **The first steps.** Increments have one mean only once the layers before have warmed up: each holds back or hands on up to a spike
//! per neuron of its own. No decision is settled before there were as many steps as the network has layers.
//!
//! The readout `spikes` is such a sum rounded to whole spikes: a difference of two counts is off by the difference of two
//! rounding errors, of variance ⅙, now (enlarged by T/t) and at T, which is added to the variance above.

use std::borrow::{Borrow, Cow};

use model::config::{Encoding, Readout};
use results::statistic::upper_tail;

use crate::engine::{RunSettings, SampleTrace, first_largest};
use crate::network::SpikingNetwork;
use crate::places::by_place;
use crate::pool::Pooling;
use crate::spikes::SpikeTrain;
use crate::wiring::Source;

/// Increments that the variance of independent inputs counts as much as, ν₀.
///
/// More make the test quicker and less true. Measured without a least number of steps on 4,000 images of Fashion-MNIST (784-512-512-10, `norm`, Poisson input,
/// T = 32 and 64), at a confidence of 0.99: the variance of independent inputs alone stops after 3.5 and 4.1 steps, and 2.3 and
/// 2.7 % of the decisions differ from those at T; ν₀ = 4 stops after 5.1 and 6.3, with 0.5 and 0.9 %; ν₀ = 2 after 6.0 and 7.2,
/// with 0.3 and 0.6 %.
const PRIOR_STEPS: usize = 4;

/// Inputs that are summed side by side.
const LANES: usize = 8;

/// The test of one network's decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyExit {
    /// Largest probability of being overtaken.
    doubt: f64,
    /// Steps before which no decision is settled: the network's layers.
    ///
    /// Without them 27 % of the decisions of a network of five layers differed from those at T at a confidence of 0.9, with them
    /// 5 % (500 images of CIFAR-10, VGG-like, `norm`, constant current, T = 32).
    least_steps: usize,
    /// Membrane potentials of the last layer before the first step, `[n_classes]`.
    initial_potentials: Vec<f64>,
    connections: Vec<Inputs>,
}

/// One connection of the last layer.
#[derive(Debug, Clone, PartialEq)]
struct Inputs {
    source: Source,
    pooling: Pooling,
    /// Weights `[n_classes]`, each of the inputs behind the max pools by place, padded with zeros to whole lanes.
    weights: Vec<Vec<f32>>,
}

/// A decision and when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlyDecision {
    /// The class with the highest readout, the first one among equals.
    pub decision: usize,
    /// Steps up to and including the one at which it was settled, at most T.
    pub n_steps: usize,
}

impl EarlyExit {
    /// The test for the last layer of a network.
    ///
    /// - `confidence`: least probability that the decision is that at T, above ½ and below 1
    ///
    /// # Panics
    /// If the confidence is out of its range.
    pub fn new(network: &SpikingNetwork, confidence: f64) -> Self {
        assert!(confidence > 0.5 && confidence < 1.0, "a confidence between ½ and 1, not {confidence}");
        let layer = network.layers().last().expect("a network has layers");
        let inputs = layer.connections().iter().map(|connection| {
            let (wiring, pooling) = (&connection.wiring, Pooling::new(&connection.wiring));
            let shape = wiring.max_pooled_shape();
            let n_neurons: usize = shape.iter().product();
            let mut weights = vec![0.0; layer.n_out() * n_neurons];
            for neuron in 0..n_neurons {
                pooling.for_each_input(neuron, |input, multiple| {
                    wiring.kernel.for_each_synapse(input, |class, weight| {
                        weights[class * n_neurons + neuron] += multiple as f32 * connection.weights[weight];
                    });
                });
            }
            let by_place = weights.chunks_exact(n_neurons).map(|weights| {
                let mut weights = by_place(shape, weights);
                weights.resize(n_neurons.next_multiple_of(LANES), 0.0);
                weights
            });
            Inputs { source: wiring.source, weights: by_place.collect(), pooling }
        });
        let initial_potentials = layer.for_neurons(layer.initial_potentials());
        Self {
            doubt: 1.0 - confidence,
            least_steps: network.layers().len(),
            initial_potentials: initial_potentials.into_iter().map(f64::from).collect(),
            connections: inputs.collect(),
        }
    }

    /// The test before the first step of a sample.
    pub fn watch(&self, settings: &RunSettings) -> Watch<'_> {
        let n_classes = self.initial_potentials.len();
        let silent = |inputs: &Inputs| vec![0.0; inputs.weights[0].len()];
        Watch {
            exit: self,
            settings: *settings,
            n_steps: 0,
            counts: self.connections.iter().map(silent).collect(),
            // Spikes are counted from none, whatever the potential.
            readout: match settings.readout {
                Readout::Potential => self.initial_potentials.clone(),
                Readout::Spikes => vec![0.0; n_classes],
            },
            products: vec![0.0; n_classes * n_classes],
        }
    }

    /// What reaches the last layer, one train for each of its connections: their sources' spikes, behind max pools.
    ///
    /// - `spikes`: of the input, then of the layers
    pub fn inputs<'a>(&self, spikes: &'a [SpikeTrain]) -> Vec<Cow<'a, SpikeTrain>> {
        let behind_pools = |inputs: &Inputs| {
            let train = &spikes[inputs.source.index()];
            inputs.pooling.max_pooled(train).map_or(Cow::Borrowed(train), Cow::Owned)
        };
        self.connections.iter().map(behind_pools).collect()
    }

    /// The first settled decision of a sample that was run to T.
    ///
    /// - `settings`: those of the run
    pub fn decide(&self, trace: &SampleTrace, settings: &RunSettings) -> EarlyDecision {
        let inputs = self.inputs(&trace.spikes);
        let mut watch = self.watch(settings);
        let mut steps = trace.readout.chunks_exact(trace.n_classes).enumerate();
        steps.find_map(|(step, readout)| watch.step(&inputs, step, readout)).expect("every decision is settled at T")
    }
}

/// The test in the middle of a sample.
#[derive(Debug, Clone)]
pub struct Watch<'a> {
    exit: &'a EarlyExit,
    settings: RunSettings,
    /// Steps taken, t.
    n_steps: usize,
    /// Spikes so far of each connection's inputs, by place, padded to whole lanes.
    counts: Vec<Vec<f32>>,
    /// Readout after the last step, `[n_classes]`.
    readout: Vec<f64>,
    /// Sums over the steps of products of the increments of two classes, `[n_classes, n_classes]`; below the diagonal.
    products: Vec<f64>,
}

impl Watch<'_> {
    /// Takes the next step; returns the decision if it is settled now.
    ///
    /// - `inputs`: trains that hold the step, as [`EarlyExit::inputs`] gives them
    /// - `step`: the step's place in these trains, from 0
    /// - `readout`: after the step, `[n_classes]`: membrane potentials, or spikes so far
    pub fn step(&mut self, inputs: &[impl Borrow<SpikeTrain>], step: usize, readout: &[f32]) -> Option<EarlyDecision> {
        self.n_steps += 1;
        let levels = self.settings.neuron.levels as f32;
        for (counts, train) in self.counts.iter_mut().zip(inputs) {
            train.borrow().graded_places(step).for_each(|(place, quanta)| counts[place] += quanta as f32 / levels);
        }
        let n_classes = readout.len();
        for (before, &now) in self.readout.iter_mut().zip(readout) {
            // For now the increment, whose products are taken next.
            *before = f64::from(now) - *before;
        }
        for (class, products) in self.products.chunks_exact_mut(n_classes).enumerate() {
            for (other, product) in products[..=class].iter_mut().enumerate() {
                *product += self.readout[class] * self.readout[other];
            }
        }
        self.readout.iter_mut().zip(readout).for_each(|(before, &now)| *before = f64::from(now));
        let decision = first_largest(readout);
        self.is_settled(decision).then_some(EarlyDecision { decision, n_steps: self.n_steps })
    }

    fn is_settled(&self, leader: usize) -> bool {
        if self.n_steps == self.settings.n_steps {
            return true;
        }
        if self.n_steps < self.exit.least_steps {
            return false;
        }
        let rivals = (0..self.readout.len()).filter(|&class| class != leader);
        // Most often the nearest one alone is too near.
        let nearest = rivals.clone().max_by(|&a, &b| self.readout[a].total_cmp(&self.readout[b]));
        let Some(nearest) = nearest else { return true };
        let mut doubt = self.overtakes(leader, nearest);
        for rival in rivals.filter(|&class| class != nearest) {
            if doubt > self.exit.doubt {
                break;
            }
            doubt += self.overtakes(leader, rival);
        }
        doubt <= self.exit.doubt
    }

    /// Probability that a class leads the leader at T.
    fn overtakes(&self, leader: usize, rival: usize) -> f64 {
        let start = match self.settings.readout {
            Readout::Potential => self.exit.initial_potentials[leader] - self.exit.initial_potentials[rival],
            Readout::Spikes => 0.0,
        };
        let (t, end) = (self.n_steps as f64, self.settings.n_steps as f64);
        let gained = self.readout[leader] - self.readout[rival] - start;
        let product = |a: usize, b: usize| self.products[a.max(b) * self.readout.len() + a.min(b)];
        let squares = product(leader, leader) + product(rival, rival) - 2.0 * product(leader, rival);
        let degrees = PRIOR_STEPS + self.n_steps - 1;
        // Rounding may leave less than nothing.
        let deviations = (squares - gained * gained / t).max(0.0);
        let variance = (PRIOR_STEPS as f64 * self.independent(leader, rival) + deviations) / degrees as f64;
        let rounding = match self.settings.readout {
            Readout::Potential => 0.0,
            Readout::Spikes => (1.0 + (end / t).powi(2)) / 6.0,
        };
        let (mean, variance) = (start + gained * end / t, variance * end * (end - t) / t + rounding);
        if variance > 0.0 {
            upper_tail(mean / variance.sqrt(), degrees)
        } else if mean > 0.0 {
            0.0
        } else {
            1.0
        }
    }

    /// Variance of an increment of the margin if all inputs were independent, in thresholds squared.
    ///
    /// Sums in f32, every eighth input together, in order.
    fn independent(&self, leader: usize, rival: usize) -> f64 {
        let n_steps = self.n_steps as f32;
        // A constant current does not vary.
        let varies = |inputs: &Inputs| inputs.source != Source::INPUT || self.settings.encoding != Encoding::Constant;
        let mut sum = 0.0;
        for (inputs, counts) in self.exit.connections.iter().zip(&self.counts).filter(|(inputs, _)| varies(inputs)) {
            let pairs = inputs.weights[leader].chunks_exact(LANES).zip(inputs.weights[rival].chunks_exact(LANES));
            let mut lanes = [0.0_f32; LANES];
            for ((ours, theirs), counts) in pairs.zip(counts.chunks_exact(LANES)) {
                for (lane, ((ours, theirs), count)) in lanes.iter_mut().zip(ours.iter().zip(theirs).zip(counts)) {
                    *lane += (ours - theirs) * (ours - theirs) * ((count + 0.5) * (n_steps - count + 0.5));
                }
            }
            sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        }
        sum / (self.n_steps as f64 + 1.0).powi(2)
    }
}

#[cfg(test)]
mod tests {
    use model::config::{NeuronConfig, Reset};
    use model::population::{Pool, PoolKind};

    use super::*;
    use crate::network::{ExactLayer, SpikingLayer};
    use crate::wiring::{Connection, Wiring};

    /// Rounding of the f32 sums of variances.
    const ROUNDING: f64 = 1e-6;

    fn settings(readout: Readout, n_steps: usize) -> RunSettings {
        RunSettings {
            encoding: Encoding::Poisson,
            neuron: NeuronConfig::default(),
            reset: Reset::Subtract,
            readout,
            n_steps,
            seed: 0,
        }
    }

    /// One layer of the given weights `[n_classes, n_in]` that starts at the given potentials.
    fn network(wiring: &Wiring, weights: Vec<f64>, initial_potentials: Vec<f64>) -> SpikingNetwork {
        let n_out = initial_potentials.len();
        let exact = ExactLayer {
            name: "dense 1".to_owned(),
            biases: vec![0.0; n_out].into(),
            initial_potentials,
            thresholds: vec![1.0; n_out],
            connections: vec![Connection { weights, wiring: wiring.clone() }],
        };
        SpikingNetwork::new(wiring.source_shape, vec![SpikingLayer::round(&exact, 64).unwrap()]).unwrap()
    }

    fn two_classes(weights: Vec<f64>, initial_potentials: Vec<f64>) -> SpikingNetwork {
        network(&Wiring::dense(Source::INPUT, [weights.len() / 2, 1, 1], 2), weights, initial_potentials)
    }

    fn train(n_neurons: usize, steps: &[&[usize]]) -> SpikeTrain {
        let mut train = SpikeTrain::silent([n_neurons, 1, 1], steps.len());
        for (step, neurons) in steps.iter().enumerate() {
            neurons.iter().for_each(|&neuron| train.add(step, neuron));
        }
        train
    }

    #[test]
    fn the_variance_of_independent_inputs_is_the_one_computed_by_hand() {
        let network = two_classes(vec![0.5, 1.0, 0.25, 0.0, -1.0, 0.25], vec![0.0; 2]);
        let exit = EarlyExit::new(&network, 0.9);
        let mut watch = exit.watch(&settings(Readout::Potential, 32));
        let inputs = [train(3, &[&[0, 1], &[0], &[0, 2]])];
        for step in 0..3 {
            assert_eq!(watch.step(&inputs, step, &[0.0, 0.0]), None);
        }
        // Counts 3, 1, 1 of 3: rates (3.5, 1.5, 1.5)/4; weights apart by ½, 2 and 0.
        let expected = 0.25 * (3.5 * 0.5) / 16.0 + 4.0 * (1.5 * 2.5) / 16.0;
        assert!((watch.independent(0, 1) - expected).abs() < ROUNDING * expected);
        // What a constant current adds does not vary.
        watch.settings.encoding = Encoding::Constant;
        assert_eq!(watch.independent(0, 1), 0.0);
    }

    #[test]
    fn inputs_behind_an_average_pool_have_the_weights_of_their_windows() {
        // Two overlapping windows of two pixels out of three: the middle one stands in both.
        let pool = Pool::new(PoolKind::Mean, [1, 2], [1, 1]);
        let mut wiring = Wiring::dense(Source::INPUT, [1, 1, 3], 2);
        (wiring.pools, wiring.kernel) = (vec![pool], crate::wiring::Kernel::dense(2, 2));
        let exit = EarlyExit::new(&network(&wiring, vec![1.0, 0.5, -1.0, 0.25], vec![0.0; 2]), 0.9);
        let weights = exit.connections[0].weights.iter().map(|weights| &weights[..3]);
        assert_eq!(weights.collect::<Vec<_>>(), [[1.0, 1.5, 0.5], [-1.0, -0.75, 0.25]]);
    }

    /// A margin that grows by 1 and by 0 in turn, from inputs that vary as much as 0.25 at most.
    fn steps_to_settle(confidence: f64, n_steps: usize, initial_potentials: [f64; 2]) -> usize {
        let network = two_classes(vec![1.0, 0.0], initial_potentials.to_vec());
        let exit = EarlyExit::new(&network, confidence);
        let mut watch = exit.watch(&settings(Readout::Potential, n_steps));
        let mut readout = initial_potentials.map(|v| v as f32);
        (0..n_steps)
            .find_map(|step| {
                let fired: &[usize] = if step % 2 == 0 { &[0] } else { &[] };
                readout[0] += fired.len() as f32;
                watch.step(&[train(1, &[fired])], 0, &readout)
            })
            .unwrap()
            .n_steps
    }

    #[test]
    fn a_decision_is_settled_at_the_step_computed_by_hand() {
        // T = 8. t = 1: G = 1, r = 1.5/2, σ² = 3/16, ν = 4, s² = σ². Margin at T: 8 ± √(3/16 · 8 · 7); τ = 8/3.2404 = 2.469,
        // tail 0.0345 by 26.7.4: sine = τ/√(4 + τ²) = 0.7771, c² = 0.3962, ½(1 − sine(1 + c²/2)) = 0.0345.
        assert_eq!(steps_to_settle(0.96, 8, [0.0; 2]), 1);
        // t = 2: G = 1, r = ½, σ² = ¼, ν = 5, deviations ½: s² = (4 · ¼ + ½)/5 = 0.3; 4 ± √(0.3 · 8 · 6/2) gives τ = 1.491, tail
        // 0.098. t = 3: G = 2, r = 2.5/4, σ² = 15/64, ν = 6, deviations ⅔: s² = (15/16 + ⅔)/6 = 0.26736; 5.333 ± √(0.26736 · 8 ·
        // 5/3) gives τ = 2.8247, tail 0.0151.
        assert_eq!(steps_to_settle(0.98, 8, [0.0; 2]), 3);
        // A head start is no evidence, but counts at the end: 0.4 more at t = 1 are τ = 8.4/3.2404 = 2.592, tail 0.0304.
        assert_eq!(steps_to_settle(0.967, 8, [0.0; 2]), 3);
        assert_eq!(steps_to_settle(0.967, 8, [0.4, 0.0]), 1);
        // Nothing is settled before the end for who wants certainty.
        assert_eq!(steps_to_settle(1.0 - 1e-12, 8, [0.0; 2]), 8);
    }

    #[test]
    fn a_tie_is_not_settled_before_the_end() {
        let network = two_classes(vec![1.0, 1.0], vec![0.0; 2]);
        for readout in [Readout::Potential, Readout::Spikes] {
            let exit = EarlyExit::new(&network, 0.6);
            let mut watch = exit.watch(&settings(readout, 3));
            let mut step = |value: f32| watch.step(&[train(1, &[&[0]])], 0, &[value; 2]);
            assert_eq!((step(1.0), step(2.0)), (None, None));
            assert_eq!(step(3.0), Some(EarlyDecision { decision: 0, n_steps: 3 }));
        }
    }

    #[test]
    fn no_decision_is_settled_before_a_step_per_layer() {
        let layer = |source: usize| {
            let exact = ExactLayer {
                name: "dense".to_owned(),
                connections: vec![Connection {
                    wiring: Wiring::dense(Source::from_index(source), [2, 1, 1], 2),
                    weights: vec![1.0, 0.0, 0.0, 1.0],
                }],
                biases: vec![0.0; 2].into(),
                initial_potentials: vec![0.0; 2],
                thresholds: vec![1.0; 2],
            };
            SpikingLayer::round(&exact, 8).unwrap()
        };
        for n_layers in 1..4 {
            let network = SpikingNetwork::new([2, 1, 1], (0..n_layers).map(layer).collect()).unwrap();
            let exit = EarlyExit::new(&network, 0.6);
            let mut watch = exit.watch(&settings(Readout::Potential, 8));
            let mut step = |n: usize| watch.step(&[train(2, &[&[0]])], 0, &[n as f32, 0.0]);
            let settled = (1..=8).find_map(&mut step).unwrap();
            assert_eq!(settled, EarlyDecision { decision: 0, n_steps: n_layers });
        }
    }

    #[test]
    fn counts_of_spikes_are_less_certain_than_potentials_by_their_rounding() {
        let network = two_classes(vec![1.0, 0.0], vec![0.0; 2]);
        let exit = EarlyExit::new(&network, 0.9);
        let doubt = |readout| {
            let mut watch = exit.watch(&settings(readout, 8));
            watch.step(&[train(1, &[&[0]])], 0, &[1.0, 0.0]);
            watch.overtakes(0, 1)
        };
        // The variance at T, 3/16 · 8 · 7 = 10.5, becomes 10.5 + (1 + 64)/6.
        assert!((doubt(Readout::Potential) - upper_tail(8.0 / 10.5_f64.sqrt(), 4)).abs() < ROUNDING);
        assert!((doubt(Readout::Spikes) - upper_tail(8.0 / (10.5 + 65.0 / 6.0_f64).sqrt(), 4)).abs() < ROUNDING);
    }
}
