//! What the trained network says of the test samples, which the spiking network is compared with.
//!
//! A small trained network stays in memory and tells activations where they are needed. A large one is run first and let go before the
//! spiking network is read, so that the weights of one of both are in memory at a time; of its activations, some are kept.

use std::collections::BTreeMap;

use analysis::measure::{SAMPLING_SEED, sampled_neurons};
use analysis::score::TOP;
use ann::network::{Network, samples_at_once, values};
use burn::tensor::{Device, Tensor, TensorData};
use cli::Options;
use datasets::LabelledImages;
use model::architecture::Architecture;
use model::artefact::TensorF32;
use model::population::Population;
use results::record::TOP_FIVE_ABOVE;
use snn::engine::{first_largest, rank};

/// Samples per forward pass of the trained network; the unfolded images of a convolution take most of a run's memory.
const BATCH: usize = 32;

/// Activations of a large network that are kept in all, 32 MB of them.
const KEPT: usize = 1 << 23;

/// What the trained network says of the test samples.
pub(crate) struct Reference {
    pub(crate) scores: AnnScores,
    /// What it decides for each sample.
    pub(crate) decisions: Vec<usize>,
    activations: Activations,
}

/// How often the trained network is right, in [0, 1].
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnnScores {
    pub(crate) accuracy: f64,
    /// With the class among the first five; `None` with few classes.
    pub(crate) top5: Option<f64>,
}

enum Activations {
    /// Those of any sample, from the network.
    Of { network: Box<Network>, device: Device, batch: usize },
    /// Those of the probed samples: `[n_samples, n_chosen]` per layer.
    Kept { n_probed: usize, chosen: Vec<Option<Vec<usize>>>, values: Vec<Vec<f32>> },
}

impl Reference {
    /// Runs the trained network on all samples.
    ///
    /// - `levels`: number of levels of its activations, if it is quantised
    /// - `n_probed`: of the samples, the first ones, are probed
    pub(crate) fn new(
        architecture: &Architecture,
        tensors: BTreeMap<String, TensorF32>,
        levels: Option<usize>,
        device: &Device,
        samples: &LabelledImages,
        n_probed: usize,
        options: Options,
    ) -> Self {
        let network = Network::of_tensors(architecture, tensors, levels, device);
        let sizes: Vec<usize> = architecture.populations().iter().map(n_neurons).collect();
        let batch = samples_at_once(architecture.populations(), BATCH);
        let keeps = snn::artefact::is_large(architecture);
        let n_chosen = KEPT / (n_probed * sizes.len()).max(1);
        let chosen = sizes.iter().enumerate().map(|(idx, &n)| sampled_neurons(idx, n, n_chosen.max(1)));
        let chosen: Vec<Option<Vec<usize>>> = if keeps { chosen.collect() } else { Vec::new() };
        let mut kept: Vec<Vec<f32>> = vec![Vec::new(); chosen.len()];
        let n_classes = samples.n_classes();
        let mut decisions = Vec::with_capacity(samples.len());
        let (mut n_right, mut n_in_top_five) = (0_usize, 0_usize);
        let template = "trained network {wide_bar} {percent}% {elapsed} (left {eta}) {per_sec}";
        let bar = cli::progress::bar(samples.len() as u64, template, options.progress);
        for first in (0..samples.len()).step_by(batch) {
            let end = samples.len().min(first + batch);
            let images = images(samples, first, end, device);
            let logits = if keeps && first < n_probed {
                let mut layers = network.forward_with_activations(images);
                let logits = values(layers.last().expect("the logits are a population").clone());
                let n = n_probed.min(end) - first;
                // From the first on, each is let go once it has been looked at.
                for (idx, layer) in layers.drain(..).enumerate() {
                    let layer = values(layer);
                    for of_sample in layer.chunks_exact(sizes[idx]).take(n) {
                        match &chosen[idx] {
                            Some(chosen) => kept[idx].extend(chosen.iter().map(|&neuron| of_sample[neuron])),
                            None => kept[idx].extend(of_sample),
                        }
                    }
                }
                logits
            } else {
                values(network.forward(images))
            };
            for (logits, &label) in logits.chunks_exact(n_classes).zip(&samples.labels()[first..end]) {
                let (decision, label) = (first_largest(logits), usize::from(label));
                decisions.push(decision);
                n_right += usize::from(decision == label);
                n_in_top_five += usize::from(rank(logits, label) < TOP);
            }
            bar.inc((end - first) as u64);
        }
        bar.finish_and_clear();
        let share = |n: usize| n as f64 / samples.len() as f64;
        let top5 = (n_classes > TOP_FIVE_ABOVE).then(|| share(n_in_top_five));
        let activations = if keeps {
            Activations::Kept { n_probed, chosen, values: kept }
        } else {
            Activations::Of { network: Box::new(network), device: device.clone(), batch }
        };
        Self { scores: AnnScores { accuracy: share(n_right), top5 }, decisions, activations }
    }

    /// Of each layer the neurons whose activations are there; `None` if there are those of all. Empty if there are all of all layers.
    pub(crate) fn chosen(&self) -> &[Option<Vec<usize>>] {
        match &self.activations {
            Activations::Of { .. } => &[],
            Activations::Kept { chosen, .. } => chosen,
        }
    }

    /// What the user should know of them.
    pub(crate) fn note(&self) -> Option<String> {
        let most = self.chosen().iter().flatten().map(Vec::len).max()?;
        Some(format!(
            "rates are compared with activations on {most} neurons of each layer at most, drawn with seed {SAMPLING_SEED}: those of all \
             would not fit into memory beside the network"
        ))
    }

    /// Samples whose activations can be told at a time.
    pub(crate) fn at_once(&self) -> usize {
        match &self.activations {
            Activations::Of { batch, .. } => *batch,
            Activations::Kept { .. } => BATCH,
        }
    }

    /// Activations of some probed samples, `[n_samples, n_neurons]` or `[n_samples, n_chosen]` per layer, the logits last.
    pub(crate) fn of(&self, samples: &LabelledImages, first: usize, end: usize) -> Vec<Vec<f32>> {
        match &self.activations {
            Activations::Of { network, device, .. } => {
                let layers = network.forward_with_activations(images(samples, first, end, device));
                layers.into_iter().map(values).collect()
            }
            Activations::Kept { n_probed, values, .. } => {
                values.iter().map(|values| of_samples(values, first, end, *n_probed)).collect()
            }
        }
    }
}

/// Some samples' values out of those of all that were kept, which are as many for each.
fn of_samples(values: &[f32], first: usize, end: usize, n_samples: usize) -> Vec<f32> {
    let n_values = values.len() / n_samples.max(1);
    values[first * n_values..end * n_values].to_vec()
}

fn n_neurons(population: &Population) -> usize {
    population.shape.iter().product()
}

/// Images `[N, C·H·W]` of some samples on the device.
fn images(samples: &LabelledImages, first: usize, end: usize, device: &Device) -> Tensor<2> {
    let data = TensorData::new(samples.images(first..end), [end - first, samples.n_features()]);
    Tensor::from_data(data, device)
}
