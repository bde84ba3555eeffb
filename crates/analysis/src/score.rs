//! Accuracy, agreement, cost and activity of many samples, from their traces.

use model::config::NeuronConfig;
use results::record::{EarlyExitRecord, GradedRecord, LayerActivity, SeedRecord, TOP_FIVE_ABOVE};
use snn::{EarlyDecision, SampleTrace, SpikeTrain, SpikingNetwork};

/// Classes that are looked at beside the first one.
pub const TOP: usize = 5;

/// Sums over the samples of one simulation seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    n_samples: usize,
    /// Right decisions after each step, `[T]`.
    right: Vec<u64>,
    /// Samples whose class is among the first five, `[T]`; empty with few classes.
    in_top_five: Vec<u64>,
    /// Decisions equal to the trained network's, `[T]`.
    agreeing: Vec<u64>,
    /// Synaptic operations up to and including each step, `[T]`.
    operations: Vec<u64>,
    /// Sum of the samples' latencies.
    latency: u64,
}

impl Score {
    /// No samples yet.
    pub fn new(n_steps: usize) -> Self {
        let zeros = vec![0; n_steps];
        let right = zeros.clone();
        Self { n_samples: 0, right, in_top_five: Vec::new(), agreeing: Vec::new(), operations: zeros, latency: 0 }
    }

    /// Adds a sample.
    ///
    /// - `operations`: of the sample's spikes ([`snn::SynapticOperations::of`])
    /// - `label`: its class; `ann_decision`: the trained network's decision, of all samples or of none
    pub fn add(&mut self, trace: &SampleTrace, operations: &[Vec<u64>], label: usize, ann_decision: Option<usize>) {
        let decisions = trace.decisions();
        let mut so_far = 0;
        for (step, decision) in decisions.iter().enumerate() {
            so_far += operations.iter().map(|of_source| of_source[step]).sum::<u64>();
            self.operations[step] += so_far;
            self.right[step] += u64::from(*decision == label);
        }
        if let Some(ann_decision) = ann_decision {
            self.agreeing.resize(decisions.len(), 0);
            let sums = self.agreeing.iter_mut().zip(&decisions);
            sums.for_each(|(sum, decision)| *sum += u64::from(*decision == ann_decision));
        }
        if trace.n_classes > TOP_FIVE_ABOVE {
            self.in_top_five.resize(decisions.len(), 0);
            let sums = self.in_top_five.iter_mut().zip(trace.ranks(label));
            sums.for_each(|(sum, rank)| *sum += u64::from(rank < TOP));
        }
        self.latency += latency(&decisions) as u64;
        self.n_samples += 1;
    }

    /// Means over the samples.
    pub fn record(&self, seed: u64) -> SeedRecord {
        let n = self.n_samples as f64;
        let mean = |sums: &[u64]| sums.iter().map(|&sum| sum as f64 / n).collect();
        SeedRecord {
            seed,
            accuracy: mean(&self.right),
            top5: mean(&self.in_top_five),
            agreement: mean(&self.agreeing),
            synaptic_operations: mean(&self.operations),
            mean_latency: self.latency as f64 / n,
            early_exit: None,
            loss: Vec::new(),
        }
    }
}

/// First step (from 1) from which the decision no longer changes.
fn latency(decisions: &[usize]) -> usize {
    let last = decisions.last();
    decisions.iter().rposition(|decision| Some(decision) != last).map_or(1, |changed| changed + 2)
}

/// Sums over the samples of one simulation seed, each stopped at a settled decision.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyScore {
    /// Samples that stop at each step, `[T]`.
    exits: Vec<u64>,
    right: u64,
    /// Decisions equal to those after T steps.
    agreeing: u64,
    /// Synaptic operations up to the stop.
    operations: u64,
}

impl EarlyScore {
    /// No samples yet.
    pub fn new(n_steps: usize) -> Self {
        Self { exits: vec![0; n_steps], right: 0, agreeing: 0, operations: 0 }
    }

    /// Adds a sample.
    ///
    /// - `trace`, `operations`: of its run of T steps
    /// - `label`: its class
    pub fn add(&mut self, early: EarlyDecision, trace: &SampleTrace, operations: &[Vec<u64>], label: usize) {
        self.exits[early.n_steps - 1] += 1;
        self.right += u64::from(early.decision == label);
        self.agreeing += u64::from(trace.decisions().last() == Some(&early.decision));
        self.operations +=
            operations.iter().map(|of_source| of_source[..early.n_steps].iter().sum::<u64>()).sum::<u64>();
    }

    /// Means and quantiles over the samples, of which there is at least one.
    pub fn record(&self, confidence: f64) -> EarlyExitRecord {
        let n_samples: u64 = self.exits.iter().sum();
        let n = n_samples as f64;
        // The first step after which at least so many tenths have stopped.
        let quantile = |tenths: u64| {
            let mut stopped = 0;
            let steps = self.exits.iter().take_while(|&&exits| {
                stopped += exits;
                10 * stopped < tenths * n_samples
            });
            steps.count() + 1
        };
        let steps = self.exits.iter().zip(1..).map(|(&exits, step)| exits * step).sum::<u64>();
        EarlyExitRecord {
            confidence,
            accuracy: self.right as f64 / n,
            agreement: self.agreeing as f64 / n,
            mean_steps: steps as f64 / n,
            median_steps: quantile(5),
            ninth_decile_steps: quantile(9),
            unsettled_share: self.exits.last().map_or(0.0, |&exits| exits as f64 / n),
            synaptic_operations: self.operations as f64 / n,
            exits: self.exits.iter().map(|&exits| exits as f64 / n).collect(),
        }
    }
}

/// Spikes of each layer over many samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    n_samples: usize,
    n_steps: usize,
    neuron: NeuronConfig,
    layers: Vec<LayerSums>,
    grades: GradeSums,
}

/// What the spikes of all layers carry.
#[derive(Debug, Clone, PartialEq, Default)]
struct GradeSums {
    spikes: u64,
    negative: u64,
    multiple: u64,
    largest: u32,
}

#[derive(Debug, Clone, PartialEq)]
struct LayerSums {
    spikes: u64,
    /// Operations that its spikes cause.
    operations: u64,
    /// A spike of each neuron that fired for any sample, in one step.
    fired: SpikeTrain,
    /// (sample, neuron) pairs whose quanta are as many as there can be.
    saturated: u64,
}

impl Activity {
    /// No samples yet.
    pub fn new(n_steps: usize, neuron: NeuronConfig) -> Self {
        Self { n_samples: 0, n_steps, neuron, layers: Vec::new(), grades: GradeSums::default() }
    }

    /// Adds a sample.
    ///
    /// - `operations`: of its spikes ([`snn::SynapticOperations::of`])
    pub fn add(&mut self, trace: &SampleTrace, operations: &[Vec<u64>]) {
        for (idx, train) in trace.spikes.iter().enumerate() {
            if self.layers.len() == idx {
                let fired = SpikeTrain::silent(train.shape(), 1);
                self.layers.push(LayerSums { spikes: 0, operations: 0, fired, saturated: 0 });
            }
            let sums = &mut self.layers[idx];
            sums.operations += operations[idx].iter().sum::<u64>();
            sums.spikes += (0..self.n_steps).map(|step| train.n_spikes(step) as u64).sum::<u64>();
            sums.fired.unite(&train.at_any_step());
            if self.neuron.is_binary() || idx == 0 {
                sums.saturated += train.at_every_step().n_spikes(0) as u64;
            } else {
                let most = self.n_steps as i64 * i64::from(self.neuron.levels);
                sums.saturated += train.counts().into_iter().filter(|&count| i64::from(count) >= most).count() as u64;
                self.grades.add(train, self.n_steps);
            }
        }
        self.n_samples += 1;
    }

    /// What spikes carry, where it is not 0 or 1.
    pub fn graded(&self) -> Option<GradedRecord> {
        let GradeSums { spikes, negative, multiple, largest } = self.grades;
        let share = |n: u64| n as f64 / spikes.max(1) as f64;
        (!self.neuron.is_binary()).then(|| GradedRecord {
            neuron: self.neuron.kind.to_string(),
            levels: self.neuron.levels,
            rate_cap: self.neuron.rate_cap.to_string(),
            bits_per_spike: u32::from(!self.neuron.waits()) + u32::BITS - largest.leading_zeros(),
            negative_share: share(negative),
            multiple_share: share(multiple),
        })
    }

    /// One entry for the input and each layer; correlations and residual potentials are left to the probes.
    pub fn record(&self, network: &SpikingNetwork) -> Vec<LayerActivity> {
        let layers = network.layers();
        let names = std::iter::once(("input", network.n_in())).chain(layers.iter().map(|l| (l.name(), l.n_out())));
        names
            .enumerate()
            .map(|(idx, (name, n_neurons))| {
                // A readout that only integrates has no spikes.
                let sums = self.layers.get(idx);
                let spikes_per_sample = sums.map_or(0.0, |sums| sums.spikes as f64 / self.n_samples as f64);
                let pairs = (self.n_samples * n_neurons) as f64;
                LayerActivity {
                    name: name.to_owned(),
                    n_neurons,
                    spikes_per_sample,
                    mean_rate: spikes_per_sample / (n_neurons * self.n_steps) as f64,
                    synaptic_operations: sums.map_or(0.0, |sums| sums.operations as f64 / self.n_samples as f64),
                    silent_share: sums
                        .map_or(1.0, |sums| (n_neurons - sums.fired.n_spikes(0)) as f64 / n_neurons as f64),
                    saturated_share: sums.map_or(0.0, |sums| sums.saturated as f64 / pairs),
                    rate_correlation: None,
                    residual_potential: None,
                    charge: None,
                }
            })
            .collect()
    }
}

impl GradeSums {
    fn add(&mut self, train: &SpikeTrain, n_steps: usize) {
        for step in 0..n_steps {
            self.spikes += train.n_spikes(step) as u64;
            for is_negative in [false, true] {
                let width = train.magnitude_width(step, is_negative);
                for word in 0..if width > 0 { train.words_per_step() } else { 0 } {
                    let bits: Vec<u64> =
                        (0..width).map(|plane| train.magnitude_bits(step, word, plane, is_negative)).collect();
                    let any = bits.iter().fold(0, |any, plane| any | plane);
                    let higher = bits.iter().skip(1).fold(0, |any, plane| any | plane);
                    self.negative += u64::from(is_negative) * u64::from(any.count_ones());
                    self.multiple += u64::from(higher.count_ones());
                }
                // The bits are what is asked for, so that the largest number of a width will do.
                self.largest = self.largest.max((1 << width) - 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use engine_event::EventEngine;
    use model::config::{Encoding, Readout, Reset};
    use snn::network::ExactLayer;
    use snn::{Connection, Engine as _, RunSettings, Sample, SpikingLayer, SynapticOperations, Wiring};

    use super::*;

    #[test]
    fn latency_is_the_first_step_of_the_last_decision() {
        for (decisions, expected) in [(&[3, 3, 3][..], 1), (&[0, 3, 3], 2), (&[3, 0, 3], 3), (&[1, 2, 0, 0], 3)] {
            assert_eq!(latency(decisions), expected, "{decisions:?}");
        }
    }

    /// Two inputs, two hidden neurons, two outputs; a white pixel drives one hidden neuron at half its threshold.
    fn traced() -> (SpikingNetwork, SampleTrace) {
        let layer = |source: usize, weights: &[f64], biases: &[f64]| {
            let wiring = Wiring::dense(snn::Source::from_index(source), [2, 1, 1], 2);
            let exact = ExactLayer {
                name: format!("dense {}", source + 1),
                connections: vec![Connection { wiring, weights: weights.to_vec() }],
                biases: biases.to_vec().into(),
                initial_potentials: vec![0.0; 2],
                thresholds: vec![1.0; 2],
            };
            SpikingLayer::round(&exact, 4).unwrap()
        };
        let layers = vec![layer(0, &[0.5, 0.0, 0.0, 1.0], &[0.0, 0.0]), layer(1, &[1.0, 0.0, 0.0, 1.0], &[0.0, 0.25])];
        let network = SpikingNetwork::new([2, 1, 1], layers).unwrap();
        let settings = RunSettings {
            encoding: Encoding::Regular,
            neuron: NeuronConfig::default(),
            reset: Reset::Subtract,
            readout: Readout::Potential,
            n_steps: 4,
            seed: 0,
        };
        let trace = EventEngine::new(&network).run(&[Sample { index: 0, pixels: &[1.0, 0.0] }], &settings).unwrap();
        (network, trace.into_iter().next().unwrap())
    }

    #[test]
    fn scores_are_those_counted_by_hand() {
        let (network, trace) = traced();
        // Hidden neuron 1 fires at steps 2 and 4; the readout is [0, ¼], [1, ½], [1, ¾], [2, 1].
        assert_eq!(trace.decisions(), [1, 0, 0, 0]);
        let mut score = Score::new(4);
        score.add(&trace, &SynapticOperations::new(&network).of(&trace), 0, Some(1));
        let record = score.record(7);
        assert_eq!((record.seed, record.accuracy), (7, vec![0.0, 1.0, 1.0, 1.0]));
        assert_eq!(record.agreement, [1.0, 0.0, 0.0, 0.0]);
        // Each input spike reaches 2 neurons, each hidden one 2: 2, 2 + 2, 2, 2 + 2.
        assert_eq!(record.synaptic_operations, [2.0, 6.0, 8.0, 12.0]);
        assert!((record.mean_latency - 2.0).abs() < f64::EPSILON);
        // Nothing to agree with is not an agreement of zero.
        let mut score = Score::new(4);
        score.add(&trace, &SynapticOperations::new(&network).of(&trace), 0, None);
        let SeedRecord { accuracy, agreement, .. } = score.record(7);
        assert_eq!((accuracy, agreement), (vec![0.0, 1.0, 1.0, 1.0], Vec::new()));
    }

    #[test]
    fn the_first_five_of_many_classes_are_counted_by_hand() {
        let of = |n_classes: usize, label: usize| {
            // Class k has k at the first step and −k at the second.
            let readout = [1.0, -1.0].iter().flat_map(|sign| (0..n_classes).map(move |class| sign * class as f32));
            let trace = SampleTrace { spikes: Vec::new(), readout: readout.collect(), residual: Vec::new(), n_classes };
            let mut score = Score::new(2);
            score.add(&trace, &[vec![0; 2]], label, Some(0));
            score.record(0).top5
        };
        assert_eq!(of(11, 6), [1.0, 0.0]);
        assert_eq!(of(11, 5), [0.0, 0.0]);
        assert_eq!(of(11, 4), [0.0, 1.0]);
        assert!(of(10, 6).is_empty());
    }

    #[test]
    fn scores_of_stopped_samples_are_those_counted_by_hand() {
        let (network, trace) = traced();
        let operations = SynapticOperations::new(&network).of(&trace);
        let mut score = EarlyScore::new(4);
        // Decisions [1, 0, 0, 0]; operations [2, 4, 2, 4].
        for (n_steps, label) in [(1, 0), (2, 0), (2, 1), (4, 0)] {
            let early = EarlyDecision { decision: trace.decisions()[n_steps - 1], n_steps };
            score.add(early, &trace, &operations, label);
        }
        let expected = EarlyExitRecord {
            confidence: 0.9,
            accuracy: 0.5,
            agreement: 0.75,
            mean_steps: 2.25,
            median_steps: 2,
            ninth_decile_steps: 4,
            unsettled_share: 0.25,
            synaptic_operations: (2.0 + 6.0 + 6.0 + 12.0) / 4.0,
            exits: vec![0.25, 0.5, 0.0, 0.25],
        };
        assert_eq!(score.record(0.9), expected);
    }

    #[test]
    fn activity_is_the_one_counted_by_hand() {
        let (network, trace) = traced();
        let mut activity = Activity::new(4, NeuronConfig::default());
        activity.add(&trace, &SynapticOperations::new(&network).of(&trace));
        let layers = activity.record(&network);
        let of = |l: &LayerActivity| {
            (l.spikes_per_sample, l.mean_rate, l.synaptic_operations, l.silent_share, l.saturated_share)
        };
        assert_eq!(layers.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["input", "dense 1", "dense 2"]);
        assert_eq!(of(&layers[0]), (4.0, 0.5, 8.0, 0.5, 0.5));
        assert_eq!(of(&layers[1]), (2.0, 0.25, 4.0, 0.5, 0.0));
        assert_eq!(of(&layers[2]), (0.0, 0.0, 0.0, 1.0, 0.0));
    }
}
