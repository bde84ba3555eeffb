//! Where a network with the activation `qcfs` is quantised, and what its file holds for it.
//!
//! Every rectifier of the graph at which neurons stand computes `λ/L · clamp(⌊L·x/λ + ½⌋, 0, L)` in place of `max(0, x)`, λ being that of
//! its channel, in units of the activation, and L the number of levels of the whole network (Bu et al. 2022). A file keeps λ as the tensor
//! `NODE.threshold`, `[C]`, beside the tensors of the layers, and L in its description ([`crate::ann::Quantisation`]).
//!
//! Structure only; `ann` computes with it and `train` learns it.

use std::collections::BTreeMap;

use crate::architecture::{Architecture, LayerKind};
use crate::artefact::TensorF32;
use crate::population::StandsFor;

/// Last part of the name of a tensor of thresholds.
pub const FIELD: &str = "threshold";

/// A rectifier that can be quantised.
#[derive(Debug, Clone, PartialEq)]
pub struct Rectifier {
    /// Index of its node in the graph.
    pub node: usize,
    /// Name of its node.
    pub name: String,
    /// Number of channels, or of features of a vector: one λ each.
    pub n_channels: usize,
    /// Number of values of a channel.
    pub n_positions: usize,
    /// Where it saturates, which no λ exceeds; infinite for a `relu`.
    pub ceiling: f64,
}

impl Rectifier {
    /// Name of the tensor of its thresholds.
    pub fn tensor(&self) -> String {
        format!("{}.{FIELD}", self.name)
    }
}

/// The rectifiers of a network, in the order of computation. A `relu` behind another one has no neurons and is not among them.
///
/// # Errors
/// Every activation that has no quantised form, with the remedy, not the first only.
pub fn rectifiers(architecture: &Architecture) -> Result<Vec<Rectifier>, Vec<String>> {
    let graph = architecture.graph();
    let (mut rectifiers, mut problems) = (Vec::new(), Vec::new());
    for (idx, node) in graph.nodes().iter().enumerate() {
        let of_node = |stands_for: &StandsFor| stands_for.node == idx && !stands_for.is_logit;
        let populations: Vec<_> =
            architecture.populations().iter().filter(|population| of_node(&population.stands_for)).collect();
        if populations.is_empty() {
            continue;
        }
        let mut refuse = |why: &str| problems.push(format!("layer `{}` ({}): {why}", node.name, node.layer()));
        let ceiling = match node.kind {
            LayerKind::Relu => f64::INFINITY,
            LayerKind::Clip { low: 0.0, high } => high,
            _ => {
                refuse("has no quantised form; use `relu`, or `clip` with low = 0");
                continue;
            }
        };
        let n_channels = node.output[0];
        let channels_of = |of: &StandsFor| of.channels.as_ref().map_or(n_channels, Vec::len);
        if populations.iter().map(|population| channels_of(&population.stands_for)).sum::<usize>() != n_channels {
            refuse("some of its channels are rectified already; put the `relu` before what joins them");
            continue;
        }
        if populations.iter().any(|population| population.shape[0] != channels_of(&population.stands_for)) {
            refuse("features of an image share a threshold by their channel; put the `relu` before the `flatten`");
            continue;
        }
        let n_positions = node.output[1..].iter().product();
        rectifiers.push(Rectifier { node: idx, name: node.name.clone(), n_channels, n_positions, ceiling });
    }
    if problems.is_empty() { Ok(rectifiers) } else { Err(problems) }
}

/// Shapes of the tensors of thresholds by name; none for a network that cannot be quantised.
pub fn tensors(architecture: &Architecture) -> Vec<(String, Vec<usize>)> {
    let rectifiers = rectifiers(architecture).unwrap_or_default();
    rectifiers.iter().map(|rectifier| (rectifier.tensor(), vec![rectifier.n_channels])).collect()
}

/// λ of each channel of a population; `None` for the logits, and in a network that is not quantised.
pub fn of_population(
    architecture: &Architecture,
    stands_for: &StandsFor,
    tensors: &BTreeMap<String, TensorF32>,
) -> Option<Vec<f64>> {
    if stands_for.is_logit {
        return None;
    }
    let TensorF32 { values, .. } =
        tensors.get(&format!("{}.{FIELD}", architecture.graph().nodes()[stands_for.node].name))?;
    let lambda = |channel: usize| f64::from(values[channel]);
    Some(match &stands_for.channels {
        Some(channels) => channels.iter().map(|&channel| lambda(channel)).collect(),
        None => (0..values.len()).map(lambda).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Conv2d;

    fn conv() -> LayerKind {
        LayerKind::Conv2d(Conv2d::square(4, 3, 1, 1))
    }

    #[test]
    fn rectifiers_with_neurons_have_a_threshold_for_each_channel_or_feature() {
        let kinds = [
            conv(),
            LayerKind::Relu,
            LayerKind::Relu,
            LayerKind::Flatten,
            LayerKind::Dense { units: 3 },
            LayerKind::Clip { low: 0.0, high: 6.0 },
            LayerKind::Dense { units: 2 },
        ];
        let architecture = Architecture::new([1, 5, 5], &kinds).unwrap();
        let found = rectifiers(&architecture).unwrap();
        let facts = |r: &Rectifier| (r.tensor(), r.n_channels, r.n_positions, r.ceiling);
        let expected = [("1.threshold".to_owned(), 4, 25, f64::INFINITY), ("5.threshold".to_owned(), 3, 1, 6.0)];
        assert_eq!(found.iter().map(facts).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn activations_without_a_quantised_form_are_all_refused_by_name() {
        let kinds = [
            conv(),
            LayerKind::LeakyRelu { slope: 0.1 },
            conv(),
            LayerKind::Clip { low: -1.0, high: 1.0 },
            conv(),
            LayerKind::Flatten,
            LayerKind::Relu,
            LayerKind::Dense { units: 2 },
        ];
        let problems = rectifiers(&Architecture::new([1, 5, 5], &kinds).unwrap()).unwrap_err();
        assert_eq!(problems.len(), 3);
        assert!(problems[0].starts_with("layer `1` (leaky-relu): has no quantised form; use `relu`"), "{problems:?}");
        assert!(problems[1].starts_with("layer `3` (clip): "), "{problems:?}");
        assert!(problems[2].ends_with("put the `relu` before the `flatten`"), "{problems:?}");
    }
}
