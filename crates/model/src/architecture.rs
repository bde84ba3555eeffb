//! The layers of a network, checked, with their shapes.
//!
//! Pure data: no weights, no burn. Made by [`crate::config`]; read by [`crate::network`], by conversion and
//! by whoever prints a network.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one layer does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LayerKind {
    /// Makes a vector of an image, channel by channel, row by row.
    Flatten,
    /// Fully connected: `y = W x + b`, `W`: `[units, n_in]`.
    Dense {
        /// Number of outputs.
        units: usize,
    },
    /// `max(0, x)`; an integrate-and-fire neuron stands here in the spiking network.
    Relu,
    /// Sets inputs to zero at random while training, identity otherwise.
    Dropout {
        /// Probability of zero, in [0, 1).
        rate: f64,
    },
}

impl LayerKind {
    /// Every kind's name in configurations, with the keys it takes.
    pub const KINDS: [(&'static str, &'static [&'static str]); 4] =
        [("flatten", &[]), ("dense", &["units"]), ("relu", &[]), ("dropout", &["rate"])];

    /// The kind's name in configurations.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Flatten => "flatten",
            Self::Dense { .. } => "dense",
            Self::Relu => "relu",
            Self::Dropout { .. } => "dropout",
        }
    }
}

/// One layer in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// What it does.
    pub kind: LayerKind,
    /// Shape of one sample's input, without the batch dimension: `[C, H, W]` or `[features]`.
    pub input: Vec<usize>,
    /// Shape of one sample's output.
    pub output: Vec<usize>,
}

/// A checked network: shapes fit, every weighted layer but the last feeds a `relu`, the last gives the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    input: [usize; 3],
    layers: Vec<Layer>,
}

/// A layer that does not fit its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProblem {
    /// Index in `[[model.layers]]`; `None` for the network as a whole.
    pub layer_idx: Option<usize>,
    /// What was found and what to do, in one line.
    pub message: String,
}

impl Architecture {
    /// Most weights a layer may have, 2²⁸ (1 GiB of f32): a guard against slips such as a missing pool.
    pub const MAX_WEIGHTS: usize = 1 << 28;

    /// Checks that the layers form a network that can be trained and converted.
    ///
    /// - `input`: shape `[C, H, W]` of one sample
    /// - `kinds`: the layers in order
    ///
    /// # Errors
    /// Every [`LayerProblem`] found, not the first only.
    pub fn new(input: [usize; 3], kinds: &[LayerKind]) -> Result<Self, Vec<LayerProblem>> {
        let mut problems = Vec::new();
        let mut layers: Vec<Layer> = Vec::new();
        let mut shape: Vec<usize> = input.to_vec();
        for (layer_idx, &kind) in kinds.iter().enumerate() {
            let mut refuse = |message: String| problems.push(LayerProblem { layer_idx: Some(layer_idx), message });
            let previous = layers.last().map(|layer: &Layer| layer.kind);
            let output = match kind {
                LayerKind::Flatten => vec![shape.iter().product()],
                LayerKind::Dense { units } => {
                    if shape.len() != 1 {
                        refuse(format!(
                            "dense: its input is an image {}; put a `flatten` layer before it",
                            shape_text(&shape)
                        ));
                    }
                    let pending = layers
                        .iter()
                        .rev()
                        .find(|layer| matches!(layer.kind, LayerKind::Dense { .. } | LayerKind::Relu));
                    if matches!(pending.map(|layer| layer.kind), Some(LayerKind::Dense { .. })) {
                        refuse("dense: follows another dense layer with no `relu` between; put one in".to_owned());
                    }
                    let n_in: usize = shape.iter().product();
                    if n_in.saturating_mul(units) > Self::MAX_WEIGHTS {
                        refuse(format!(
                            "dense: {units} units × {n_in} inputs exceed the {} weights a layer may have; use fewer units",
                            Self::MAX_WEIGHTS
                        ));
                    }
                    vec![units]
                }
                LayerKind::Relu => {
                    if !matches!(previous, Some(LayerKind::Dense { .. })) {
                        refuse("relu: does not follow a weighted layer; put it right after a `dense` layer".to_owned());
                    }
                    shape.clone()
                }
                LayerKind::Dropout { .. } => shape.clone(),
            };
            layers.push(Layer { kind, input: shape, output: output.clone() });
            shape = output;
        }
        match kinds.last() {
            Some(LayerKind::Dense { .. }) => {}
            Some(last) => problems.push(LayerProblem {
                layer_idx: Some(kinds.len() - 1),
                message: format!(
                    "{}: is the last layer; end with a `dense` layer with one unit per class (its outputs are the logits)",
                    last.name()
                ),
            }),
            None => problems.push(LayerProblem {
                layer_idx: None,
                message: "no layers; give at least one `dense` layer".to_owned(),
            }),
        }
        if problems.is_empty() { Ok(Self { input, layers }) } else { Err(problems) }
    }

    /// Shape `[C, H, W]` of one sample.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layers' kinds in order, as in the configuration.
    pub fn kinds(&self) -> Vec<LayerKind> {
        self.layers.iter().map(|layer| layer.kind).collect()
    }

    /// Number of outputs, one logit per class.
    pub fn n_classes(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output.iter().product())
    }

    /// The weighted layers: index in `layers()`, and `(n_out, n_in)` of the weight matrix.
    pub fn weighted(&self) -> Vec<WeightedLayer> {
        let mut weighted = Vec::new();
        for (layer_idx, layer) in self.layers.iter().enumerate() {
            if let LayerKind::Dense { units } = layer.kind {
                weighted.push(WeightedLayer {
                    layer_idx,
                    name: format!("dense {}", weighted.len() + 1),
                    n_in: layer.input[0],
                    n_out: units,
                });
            }
        }
        weighted
    }

    /// Number of trainable parameters.
    pub fn n_parameters(&self) -> u64 {
        self.weighted().iter().map(|layer| (layer.n_in as u64 + 1) * layer.n_out as u64).sum()
    }

    /// Multiply-accumulate operations for one sample.
    pub fn macs_per_sample(&self) -> u64 {
        self.weighted().iter().map(|layer| layer.n_in as u64 * layer.n_out as u64).sum()
    }
}

/// One weighted layer of an [`Architecture`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedLayer {
    /// Index in [`Architecture::layers`]; its tensors are named after it (`1.weight`, `1.bias`).
    pub layer_idx: usize,
    /// Name for people, numbered from 1: `dense 1`.
    pub name: String,
    /// Number of inputs.
    pub n_in: usize,
    /// Number of outputs.
    pub n_out: usize,
}

impl fmt::Display for Architecture {
    /// `784-512-512-10`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.input.iter().product::<usize>())?;
        for layer in self.weighted() {
            write!(f, "-{}", layer.n_out)?;
        }
        Ok(())
    }
}

/// A shape for people: `1×28×28`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    let sizes: Vec<_> = shape.iter().map(ToString::to_string).collect();
    sizes.join("×")
}

#[cfg(test)]
mod tests {
    use super::*;
    use LayerKind::{Dense, Dropout, Flatten, Relu};

    fn problems(kinds: &[LayerKind]) -> String {
        let problems = Architecture::new([1, 28, 28], kinds).unwrap_err();
        problems.iter().map(|p| format!("{:?}: {}\n", p.layer_idx, p.message)).collect()
    }

    #[test]
    fn shapes_and_costs_of_an_mlp_are_those_computed_by_hand() {
        let kinds = [Flatten, Dense { units: 512 }, Relu, Dropout { rate: 0.2 }, Dense { units: 10 }];
        let network = Architecture::new([1, 28, 28], &kinds).unwrap();
        assert_eq!(network.to_string(), "784-512-10");
        assert_eq!(network.n_classes(), 10);
        assert_eq!(network.macs_per_sample(), 784 * 512 + 512 * 10);
        assert_eq!(network.n_parameters(), 784 * 512 + 512 + 512 * 10 + 10);
        assert_eq!(network.weighted()[1].layer_idx, 4);
    }

    #[test]
    fn every_misplaced_layer_is_named_at_once_with_its_remedy() {
        let text = problems(&[Relu, Dense { units: 5 }, Dropout { rate: 0.1 }, Dense { units: 10 }, Relu]);
        assert!(text.contains("Some(0): relu: does not follow"), "{text}");
        assert!(text.contains("Some(1): dense: its input is an image 1×28×28; put a `flatten`"), "{text}");
        assert!(text.contains("Some(3): dense: follows another dense layer"), "{text}");
        assert!(text.contains("Some(4): relu: is the last layer"), "{text}");
    }

    #[test]
    fn a_network_without_layers_is_refused() {
        assert!(problems(&[]).contains("no layers"));
    }

    #[test]
    fn a_layer_too_large_to_hold_is_refused() {
        assert!(problems(&[Flatten, Dense { units: usize::MAX }]).contains("exceed"));
    }
}
