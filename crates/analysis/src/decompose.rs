//! Where the accuracy of a spiking network is lost: at each checkpoint, the decisions of rate models with every subset of
//! three effects, beside those of the network itself.
//!
//! - input: the counts of the very input spikes that the run had, else the pixels
//! - rounding: whole spikes, from v(0) on, else all the charge that there is
//! - saturation: a spike per step at most, else as many as the drive asks for
//!
//! What the model with all of them does not lose and the network does is the order of spikes in time. That input noise alone
//! is switched off can be seen in the network too, on a constant current: a check of the model.

use crate::rate::{Effects, RateModel};
use anyhow::{Context as _, Result};
use model::config::Encoding;
use rayon::prelude::*;
use results::record::{LossRecord, N_MODELS};
use snn::{Engine, RunSettings, Sample, SampleTrace, SpikeTrain, SpikingNetwork};

/// Sums over the samples of one simulation seed.
#[derive(Debug)]
pub struct Decomposition<'a> {
    model: RateModel,
    settings: RunSettings,
    checkpoints: &'a [usize],
    n_samples: usize,
    /// One entry per checkpoint.
    sums: Vec<Sums>,
}

/// Decisions counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    /// Right ones of each model.
    right: [u64; N_MODELS],
    /// Those of the model with all effects that are the spiking network's.
    agreeing: u64,
    /// Right ones of the spiking network on a constant current.
    right_on_current: u64,
}

impl<'a> Decomposition<'a> {
    /// No samples yet.
    ///
    /// - `settings`: of the run that is taken apart; its reset is by subtraction
    /// - `checkpoints`: steps, from 1
    pub fn new(network: &SpikingNetwork, settings: &RunSettings, checkpoints: &'a [usize]) -> Self {
        Self {
            model: RateModel::new(network, settings.readout),
            settings: *settings,
            checkpoints,
            n_samples: 0,
            sums: vec![Sums::default(); checkpoints.len()],
        }
    }

    /// Adds samples that have been run.
    ///
    /// - `engine`: that runs the network
    /// - `traces`: of the samples
    /// - `label`: class of a sample by its index
    ///
    /// # Errors
    /// If the engine cannot run a constant current.
    pub fn add(
        &mut self,
        engine: &dyn Engine,
        samples: &[Sample<'_>],
        traces: &[SampleTrace],
        label: impl Fn(usize) -> usize,
    ) -> Result<()> {
        let constant = RunSettings { encoding: Encoding::Constant, ..self.settings };
        let on_current = match self.settings.encoding {
            Encoding::Constant => None,
            _ => Some(engine.run(samples, &constant).context("simulation on a constant current")?),
        };
        let runs = samples.par_iter().zip(traces);
        let models: Vec<Vec<[usize; N_MODELS]>> = runs
            .map(|(sample, trace)| self.decisions_of_models(sample, &trace.spikes[snn::Source::INPUT.index()]))
            .collect();
        for (idx, ((sample, models), trace)) in samples.iter().zip(models).zip(traces).enumerate() {
            let label = label(sample.index as usize);
            let decisions = trace.decisions();
            let on_current = on_current.as_ref().map(|traces| traces[idx].decisions());
            for ((sums, models), &step) in self.sums.iter_mut().zip(models).zip(self.checkpoints) {
                for (right, decision) in sums.right.iter_mut().zip(models) {
                    *right += u64::from(decision == label);
                }
                sums.agreeing += u64::from(models[N_MODELS - 1] == decisions[step - 1]);
                let right = on_current.as_ref().is_some_and(|decisions| decisions[step - 1] == label);
                sums.right_on_current += u64::from(right);
            }
        }
        self.n_samples += samples.len();
        Ok(())
    }

    /// Of each checkpoint, that of each model.
    ///
    /// - `train`: the sample's input spikes
    fn decisions_of_models(&self, sample: &Sample<'_>, train: &SpikeTrain) -> Vec<[usize; N_MODELS]> {
        let Self { model, settings, .. } = self;
        let steady = model.steady(settings.encoding, sample.pixels);
        let mut counts = vec![0.0; train.n_neurons()];
        let mut counted_steps = 0;
        let of_checkpoint = |&step: &usize| {
            for neuron in (counted_steps..step).flat_map(|step| train.neurons(step)) {
                counts[neuron] += 1.0;
            }
            counted_steps = step;
            let without_noise = steady.of_steps(step);
            // A constant current has none.
            let with_noise = (settings.encoding != Encoding::Constant).then(|| model.counted(&counts, step));
            Effects::subsets().map(|effects| {
                let input = with_noise.as_ref().filter(|_| effects.input).unwrap_or(&without_noise);
                first_largest(&model.readout(input, step, effects))
            })
        };
        self.checkpoints.iter().map(of_checkpoint).collect()
    }

    /// Means over the samples, one entry per checkpoint.
    pub fn record(&self) -> Vec<LossRecord> {
        let share = |count: u64| count as f64 / self.n_samples as f64;
        let of = |(sums, &step): (&Sums, &usize)| LossRecord {
            step,
            models: sums.right.map(share),
            agreement: share(sums.agreeing),
            constant_current: (self.settings.encoding != Encoding::Constant).then(|| share(sums.right_on_current)),
        };
        self.sums.iter().zip(self.checkpoints).map(of).collect()
    }
}

/// Index of the largest value, the first one among equals, as in the network.
fn first_largest(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, idx| if values[idx] > values[best] { idx } else { best })
}

#[cfg(test)]
mod tests {
    use engine_event::EventEngine;
    use model::config::{NeuronConfig, Readout, Reset};
    use snn::network::ExactLayer;
    use snn::{Connection, SpikingLayer, Wiring};

    use super::*;

    const N_STEPS: usize = 32;

    /// Two pixels → two neurons, the second of which is asked for twice what it can pass on → two outputs.
    fn network() -> SpikingNetwork {
        let layer = |source: usize, weights: &[f64], start: f64, biases: [f64; 2]| {
            let exact = ExactLayer {
                name: format!("dense {}", source + 1),
                connections: vec![Connection {
                    wiring: Wiring::dense(snn::Source::from_index(source), [2, 1, 1], 2),
                    weights: weights.to_vec(),
                }],
                biases: biases.to_vec().into(),
                initial_potentials: vec![start; 2],
                thresholds: vec![1.0; 2],
            };
            SpikingLayer::round(&exact, N_STEPS).unwrap()
        };
        let layers =
            vec![layer(0, &[1.0, 0.0, 0.0, 2.0], 0.0, [0.0; 2]), layer(1, &[1.0, 0.0, 0.0, 1.0], 0.0, [0.25, 0.0])];
        SpikingNetwork::new([2, 1, 1], layers).unwrap()
    }

    fn settings(encoding: Encoding) -> RunSettings {
        RunSettings {
            encoding,
            neuron: NeuronConfig::default(),
            reset: Reset::Subtract,
            readout: Readout::Potential,
            n_steps: N_STEPS,
            seed: 3,
        }
    }

    fn taken_apart(encoding: Encoding, pixels: &[f32], label: usize, checkpoints: &[usize]) -> Vec<LossRecord> {
        let (network, settings) = (network(), settings(encoding));
        let engine = EventEngine::new(&network);
        let samples = [Sample { index: 0, pixels }];
        let traces = engine.run(&samples, &settings).unwrap();
        let mut decomposition = Decomposition::new(&network, &settings, checkpoints);
        decomposition.add(&engine, &samples, &traces, |_| label).unwrap();
        decomposition.record()
    }

    #[test]
    fn saturation_and_rounding_take_the_decisions_computed_by_hand() {
        // Activations 0.9 and 1.4; outputs 1.15 and 1.4. At one spike per step the second one has 1.
        let [long] = taken_apart(Encoding::Constant, &[0.9, 0.7], 1, &[20])[..] else { panic!("one checkpoint") };
        // Whole spikes after 20 steps: 18 and 28, or 20 of these in time.
        assert_eq!(long.models, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((long.agreement, long.constant_current), (1.0, None));
        // Activations 0.45 and 0.8, outputs 0.7 and 0.8; after two steps whole spikes are 0 and 1, outputs 0.5 and 1; after the
        // third, 1 and 2: 1.75 and 2.
        let found = taken_apart(Encoding::Constant, &[0.45, 0.4], 1, &[2, 3]);
        assert!(found.iter().all(|of| of.models == [1.0; 8] && of.agreement == 1.0), "{found:?}");
        // Outputs 0.75 and 0.9 for 0.5 and 0.45·2: after two steps 1.5 against 1.
        let [short] = taken_apart(Encoding::Constant, &[0.5, 0.45], 1, &[2])[..] else { panic!("one checkpoint") };
        assert_eq!(short.models, [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(short.agreement, 1.0);
    }

    #[test]
    fn the_noise_is_that_of_the_spikes_of_the_run() {
        // Nothing is rounded or saturated where pixels are whole: a white pixel spikes at every step.
        let found = taken_apart(Encoding::Poisson, &[1.0, 0.0], 0, &[1, 2, 32]);
        assert!(found.iter().all(|of| of.models == [1.0; 8] && of.constant_current == Some(1.0)), "{found:?}");
        // A grey pixel against nothing: with its counts, the model decides by them, at every step.
        let pixels = [0.0, 0.3];
        let train = Sample { index: 0, pixels: &pixels }.encode([2, 1, 1], &settings(Encoding::Poisson));
        let checkpoints: Vec<usize> = (1..=N_STEPS).collect();
        let mut count = 0;
        for (of, step) in taken_apart(Encoding::Poisson, &pixels, 1, &checkpoints).iter().zip(0..) {
            count += usize::from(train.get(step, 1));
            // Charge 2 per spike against ¼ per step; without noise 0.6.
            let by_counts = f64::from(u8::from(2.0 * count as f64 > 0.25 * (step + 1) as f64));
            assert_eq!((of.models[0], of.models[1]), (1.0, by_counts), "step {step}");
        }
    }
}
