//! What training starts from: random weights or a trained network, and with the activation `qcfs` thresholds measured on training samples.

use std::path::{Path, PathBuf};

use ann::network::{Network, Thresholds, values};
use anyhow::{Context as _, Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use datasets::LabelledImages;
use methods::activation::Activations;
use methods::layer::{AnnLayer, Before, ann_layers};
use methods::thresholds::mmse;
use model::Experiment;
use model::ann::{AnnArtefact, FILE_NAME};
use model::architecture::Architecture;
use model::config::TrainedThresholds;
use model::graph::Node;
use model::quantised::Rectifier;
use rayon::prelude::*;
use snn::norm;

/// Training samples whose activations thresholds are measured on.
const SAMPLES: usize = 500;

/// Samples per forward pass; does not change results.
const BATCH: usize = 125;

/// Initial potential of the neurons that a quantised activation stands for: it rounds to the nearest level.
const HALF: f64 = 0.5;

/// Order of the norm in `thresholds = "norm"`.
const ORDER: f64 = 4.0;

/// Least norm of a channel, relative to the largest of its layer: thresholds are above zero, also those of channels without weights.
const LEAST_NORM: f64 = 1e-3;

/// What to do about a file that is missing or damaged.
const REMEDY: &str =
    "give train.from a trained network's ann.safetensors, or the run folder that holds one (train it first)";

/// A trained network that another one starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// What was read.
    pub ann: AnnArtefact,
}

impl Start {
    /// Reads the network that `train.from` names; `None` if training starts from random weights.
    ///
    /// # Errors
    /// If the file is missing or damaged, or holds another architecture.
    pub fn of(experiment: &Experiment) -> Result<Option<Self>> {
        let Some(path) = path(experiment) else { return Ok(None) };
        let place = || format!("[train] from = \"{}\"", experiment.train.from.as_deref().unwrap_or_default());
        let ann = AnnArtefact::read_or(&path, &experiment.architecture, REMEDY).with_context(place)?;
        // Layers without tensors may differ where all tensors fit.
        let made_by = ann.metadata.as_ref().map(|metadata| metadata.config.as_str());
        if let Some(made_by) = made_by.and_then(|config| Experiment::parse(config, &path, &[]).ok()) {
            let found = other_layers(&experiment.architecture, &made_by.architecture);
            if !found.is_empty() {
                bail!(
                    "{}: {}: is another network: {}; give the experiment its [model] and [data], or train.from a network of this one",
                    place(),
                    path.display(),
                    found.join("; ")
                );
            }
        }
        Ok(Some(Self { ann }))
    }

    /// The network as it was trained.
    pub fn network(&self, architecture: &Architecture, device: &Device) -> Network {
        Network::with_tensors(architecture, &self.ann.tensors, self.ann.levels(), device)
    }
}

/// The file that `train.from` names.
fn path(experiment: &Experiment) -> Option<PathBuf> {
    let from = experiment.train.from.as_ref()?.replace("{seed}", &experiment.seed.to_string());
    let path = Path::new(&from);
    Some(if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() })
}

/// Where the layers of two networks with the same tensors differ.
fn other_layers(wanted: &Architecture, found: &Architecture) -> Vec<String> {
    let (wanted, found) = (wanted.graph(), found.graph());
    if wanted.input() != found.input() || wanted.nodes().len() != found.nodes().len() {
        let of = |graph: &model::Graph| format!("{} layers on input {:?}", graph.nodes().len(), graph.input());
        return vec![format!("it has {}, and the model has {}", of(found), of(wanted))];
    }
    let pairs = wanted.nodes().iter().zip(found.nodes());
    let differs = |(wanted, found): &(&Node, &Node)| wanted != found;
    let text = |(wanted, found): (&Node, &Node)| {
        if wanted.layer() == found.layer() {
            format!("layer `{}` is a `{}` with other settings", wanted.name, wanted.layer())
        } else {
            format!("layer `{}` is a `{}` there and a `{}` here", wanted.name, found.layer(), wanted.layer())
        }
    };
    pairs.filter(differs).map(text).collect()
}

/// A network with the thresholds of `qcfs`, from one without.
///
/// - `network`: for inference; a quantised one gives up its thresholds
/// - `samples`: training samples
/// - returns thresholds of each rectifier, in order
pub fn thresholds(
    experiment: &Experiment,
    network: &Network,
    levels: usize,
    samples: &LabelledImages,
    device: &Device,
) -> Vec<Thresholds> {
    let rectifiers = Network::rectifiers(&experiment.architecture);
    let measured = lambdas(&experiment.architecture, network, levels, samples, device);
    match experiment.train.thresholds {
        TrainedThresholds::Channel => {
            let of = |base: Vec<f32>| Thresholds { factors: vec![1.0; base.len()], base };
            measured.into_iter().map(of).collect()
        }
        TrainedThresholds::Norm => {
            let layers = ann_layers(&experiment.architecture, &network.tensors());
            let mut factors = Vec::new();
            for (rectifier, measured) in rectifiers.iter().zip(&measured) {
                // The factor of the layer fits the measured thresholds in the mean of their logarithms.
                let bases = bases(experiment, &layers, &rectifiers, &factors);
                let base = &bases[factors.len()];
                let logs = measured.iter().zip(base).map(|(lambda, base)| f64::from(*lambda / *base).ln());
                factors.push((logs.sum::<f64>() / rectifier.n_channels as f64).exp() as f32);
            }
            let bases = bases(experiment, &layers, &rectifiers, &factors);
            let of = |(base, factor): (Vec<f32>, f32)| Thresholds { base, factors: vec![factor] };
            bases.into_iter().zip(factors).map(of).collect()
        }
    }
}

/// Takes the norms of a network's weights anew, for `thresholds = "norm"`; with any other, does nothing.
pub fn renew_norms(experiment: &Experiment, network: &mut Network) {
    if experiment.train.thresholds != TrainedThresholds::Norm || experiment.train.final_levels().is_none() {
        return;
    }
    let rectifiers = Network::rectifiers(&experiment.architecture);
    let layers = ann_layers(&experiment.architecture, &network.tensors());
    let factor = |rectifier: &Rectifier| network.factors(rectifier.node).expect("rectifiers are quantised")[0];
    let factors: Vec<f32> = rectifiers.iter().map(factor).collect();
    for (rectifier, base) in rectifiers.iter().zip(bases(experiment, &layers, &rectifiers, &factors)) {
        network.set_base(rectifier.node, &base);
    }
}

/// `‖w_j ∘ λ‖₄` of each channel of the rectifiers, w being the weights with all that is affine multiplied out; λ of the layers before are
/// these norms times their factors.
///
/// - `factors`: of as many rectifiers as are known; norms are those of one more
fn bases(experiment: &Experiment, layers: &[AnnLayer], rectifiers: &[Rectifier], factors: &[f32]) -> Vec<Vec<f32>> {
    let populations = experiment.architecture.populations();
    let mut bases: Vec<Vec<f32>> = rectifiers.iter().map(|of| vec![0.0; of.n_channels]).collect();
    let mut lambdas: Vec<Vec<f64>> = Vec::new();
    for (layer, population) in layers.iter().zip(populations) {
        let stands_for = &population.stands_for;
        let Some(at) = rectifiers.iter().position(|of| of.node == stands_for.node && !stands_for.is_logit) else {
            break;
        };
        if at > factors.len() {
            break;
        }
        let before = Before(Some(lambdas.as_slice()));
        let norms: Vec<f64> =
            (0..layer.n_channels()).map(|channel| norm(layer.weight_vector(channel, before), ORDER)).collect();
        let largest = norms.iter().copied().fold(0.0, f64::max);
        let least = if largest > 0.0 { LEAST_NORM * largest } else { 1.0 };
        let norms: Vec<f64> = norms.into_iter().map(|norm| norm.max(least)).collect();
        for (own, norm) in norms.iter().enumerate() {
            let channel = stands_for.channels.as_ref().map_or(own, |channels| channels[own]);
            bases[at][channel] = *norm as f32;
        }
        let factor = factors.get(at).copied().map_or(1.0, f64::from);
        lambdas.push(norms.iter().map(|norm| (norm * factor).min(layer.ceiling)).collect());
    }
    bases
}

/// λ of least squared quantisation error of each channel of the rectifiers, on the network's own activations.
fn lambdas(
    architecture: &Architecture,
    network: &Network,
    levels: usize,
    samples: &LabelledImages,
    device: &Device,
) -> Vec<Vec<f32>> {
    let populations = architecture.populations();
    let mut measured: Vec<Activations> = populations
        .iter()
        .map(|population| Activations {
            n_neurons: population.n_neurons(),
            n_positions: population.shape[1] * population.shape[2],
            values: Vec::new(),
        })
        .collect();
    let n = samples.len().min(SAMPLES);
    for first in (0..n).step_by(BATCH) {
        let range = first..n.min(first + BATCH);
        let shape = [range.len(), samples.n_features()];
        let images = Tensor::from_data(TensorData::new(samples.images(range), shape), device);
        for (measured, activations) in measured.iter_mut().zip(network.forward_with_activations(images)) {
            measured.values.extend(values(activations));
        }
    }
    let of = |rectifier: &Rectifier| {
        let mut all = vec![1.0; rectifier.n_channels];
        for (population, measured) in populations.iter().zip(&measured) {
            let stands_for = &population.stands_for;
            if stands_for.node != rectifier.node || stands_for.is_logit {
                continue;
            }
            let largest = measured.largest();
            // A channel that is never active has the threshold of the most active one.
            let silent = if largest > 0.0 { largest } else { 1.0 };
            let lambda = |own: usize| mmse::least_error(measured.of_channel(own).collect(), levels, HALF);
            let lambdas: Vec<f64> =
                (0..measured.n_channels()).into_par_iter().map(|own| lambda(own).unwrap_or(silent)).collect();
            for (own, lambda) in lambdas.into_iter().enumerate() {
                let channel = stands_for.channels.as_ref().map_or(own, |channels| channels[own]);
                all[channel] = lambda.min(rectifier.ceiling) as f32;
            }
        }
        all
    };
    Network::rectifiers(architecture).iter().map(of).collect()
}
