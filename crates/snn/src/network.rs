//! Layers of integrate-and-fire neurons, on their exact grids.
//!
//! A [`SpikingNetwork`] cannot be invalid: shapes fit, all values are finite and on the grid, and the grid's limits
//! are those of its weights. Made by conversion or read from [`crate::artefact`]; run by [`crate::engine`].

use thiserror::Error;

use crate::engine::SampleTrace;
use crate::grid::Grid;

/// A network that cannot be run.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum NetworkError {
    /// A value is NaN or infinite.
    #[error("layer {layer}: {what} of neuron {neuron} is {value}; train again with a lower learning rate, or correct the weights file")]
    NotFinite {
        /// Name of the layer.
        layer: String,
        /// `a weight` or `the bias`.
        what: &'static str,
        /// Index of the neuron, from 0.
        neuron: usize,
        /// The value.
        value: f64,
    },
    /// The weights are so large, in thresholds, that 32-bit sums would round.
    #[error(
        "layer {layer}: weights up to {largest:.3e} thresholds are too large for exact sums in 32 bits; raise its thresholds \
         (a larger convert.scale, a smaller κ, a higher percentile)"
    )]
    TooLarge {
        /// Name of the layer.
        layer: String,
        /// Largest magnitude of a weight or bias, in thresholds.
        largest: f64,
    },
    /// A value is not a multiple of the grid's step.
    #[error("layer {layer}: a weight, bias or initial potential is not on its grid of 2^-{exponent}; convert again")]
    OffGrid {
        /// Name of the layer.
        layer: String,
        /// The grid's exponent.
        exponent: i32,
    },
    /// Sizes contradict each other.
    #[error("layer {layer}: {found}; convert again")]
    Misshapen {
        /// Name of the layer, or `network`.
        layer: String,
        /// What does not fit.
        found: String,
    },
}

/// One layer: fully connected synapses onto integrate-and-fire neurons of threshold 1.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikingLayer {
    name: String,
    n_in: usize,
    weights: Vec<f32>,
    biases: Vec<f32>,
    initial_potential: f32,
    thresholds: Vec<f32>,
    grid: Grid,
}

/// A layer before it is rounded to its grid, in thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct ExactLayer {
    /// Name for people: `dense 1`.
    pub name: String,
    /// Weights W̃ `[n_out, n_in]`, row-major.
    pub weights: Vec<f64>,
    /// Biases b̃ `[n_out]`, added at each step.
    pub biases: Vec<f64>,
    /// Membrane potential before the first step.
    pub initial_potential: f64,
    /// Thresholds λ `[n_out]`, in units of the trained network's activations; each > 0.
    pub thresholds: Vec<f64>,
}

impl SpikingLayer {
    /// Rounds a layer to the finest grid on which `n_steps` steps are exact.
    ///
    /// # Errors
    /// [`NetworkError`] if values are not finite, too large, or of sizes that do not fit.
    pub fn round(layer: &ExactLayer, n_steps: usize) -> Result<Self, NetworkError> {
        let ExactLayer { name, weights, biases, initial_potential, thresholds } = layer;
        let thresholds: Vec<f32> = thresholds.iter().map(|&threshold| threshold as f32).collect();
        let n_in = check_sizes(name, weights.len(), biases.len(), &thresholds)?;
        check_finite(name, weights, n_in, "a weight")?;
        check_finite(name, biases, 1, "the bias")?;
        let grid = Grid::finest(weights, biases, *initial_potential, n_steps).ok_or_else(|| NetworkError::TooLarge {
            layer: name.clone(),
            largest: weights.iter().chain(biases).fold(0.0, |largest, value| value.abs().max(largest)),
        })?;
        Ok(Self {
            name: name.clone(),
            n_in,
            weights: weights.iter().map(|&weight| grid.round(weight)).collect(),
            biases: biases.iter().map(|&bias| grid.round(bias)).collect(),
            initial_potential: grid.round(*initial_potential),
            thresholds,
            grid,
        })
    }

    /// A layer whose values lie on a grid already, as [`crate::artefact`] reads it.
    ///
    /// # Errors
    /// [`NetworkError`] if they do not, or are not finite, too large, or of sizes that do not fit.
    pub fn on_grid(
        name: &str,
        weights: Vec<f32>,
        biases: Vec<f32>,
        initial_potential: f32,
        thresholds: Vec<f32>,
        exponent: i32,
    ) -> Result<Self, NetworkError> {
        let n_in = check_sizes(name, weights.len(), biases.len(), &thresholds)?;
        let [wide_weights, wide_biases] = [&weights, &biases].map(|values| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        check_finite(name, &wide_weights, n_in, "a weight")?;
        check_finite(name, &wide_biases, 1, "the bias")?;
        let grid = Grid::with_exponent(exponent, &wide_weights, &wide_biases, f64::from(initial_potential)).ok_or_else(|| {
            NetworkError::Misshapen { layer: name.to_owned(), found: format!("its sums are not exact on a grid of 2^-{exponent}") }
        })?;
        if !weights.iter().chain(&biases).chain([&initial_potential]).all(|&value| grid.holds(value)) {
            return Err(NetworkError::OffGrid { layer: name.to_owned(), exponent });
        }
        Ok(Self { name: name.to_owned(), n_in, weights, biases, initial_potential, thresholds, grid })
    }

    /// Name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of inputs.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Number of neurons.
    pub fn n_out(&self) -> usize {
        self.biases.len()
    }

    /// Weights W̃ `[n_out, n_in]`, row-major, in thresholds.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Weights `[n_in, n_out]`, row-major: the row that one input's spike adds.
    pub fn transposed_weights(&self) -> Vec<f32> {
        let mut transposed = Vec::with_capacity(self.weights.len());
        for input in 0..self.n_in {
            transposed.extend((0..self.n_out()).map(|neuron| self.weights[neuron * self.n_in + input]));
        }
        transposed
    }

    /// Biases b̃ `[n_out]`, in thresholds, added at each step.
    pub fn biases(&self) -> &[f32] {
        &self.biases
    }

    /// Membrane potential before the first step, in thresholds.
    pub fn initial_potential(&self) -> f32 {
        self.initial_potential
    }

    /// Thresholds λ `[n_out]`, in units of the trained network's activations.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// The grid of its values.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Bound on potentials in a run of `n_steps` steps; `None` if none is needed.
    pub fn potential_limit(&self, n_steps: usize) -> Option<f32> {
        (n_steps > self.grid.free_steps).then_some(self.grid.potential_limit)
    }

    /// Current per step of a constant input: `W̃ x + b̃`, `[n_out]`, in thresholds, on the grid.
    ///
    /// - `pixels`: `[n_in]`, each in [0, 1]
    ///
    /// Computed once in f64, inputs in order, then rounded: every engine is handed these numbers.
    ///
    /// # Panics
    /// If there are not `n_in` pixels or one is outside [0, 1].
    pub fn drive(&self, pixels: &[f32]) -> Vec<f32> {
        assert_eq!(pixels.len(), self.n_in, "one pixel per input");
        assert!(pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "pixels are in [0, 1]");
        self.weights
            .chunks_exact(self.n_in)
            .zip(&self.biases)
            .map(|(row, &bias)| {
                let sum = row.iter().zip(pixels).map(|(&weight, &pixel)| f64::from(weight) * f64::from(pixel)).sum::<f64>();
                self.grid.round(sum + f64::from(bias))
            })
            .collect()
    }
}

fn check_sizes(layer: &str, n_weights: usize, n_out: usize, thresholds: &[f32]) -> Result<usize, NetworkError> {
    let misshapen = |found: String| NetworkError::Misshapen { layer: layer.to_owned(), found };
    if n_out == 0 || n_weights == 0 || !n_weights.is_multiple_of(n_out) {
        return Err(misshapen(format!("{n_weights} weights for {n_out} biases")));
    }
    if thresholds.len() != n_out {
        return Err(misshapen(format!("{} thresholds for {n_out} neurons", thresholds.len())));
    }
    if let Some(neuron) = thresholds.iter().position(|&threshold| !(threshold > 0.0 && threshold.is_finite())) {
        return Err(misshapen(format!("the threshold of neuron {neuron} is {}", thresholds[neuron])));
    }
    Ok(n_weights / n_out)
}

fn check_finite(layer: &str, values: &[f64], per_neuron: usize, what: &'static str) -> Result<(), NetworkError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(position) => Err(NetworkError::NotFinite {
            layer: layer.to_owned(),
            what,
            neuron: position / per_neuron,
            value: values[position],
        }),
    }
}

/// A spiking network: layers one after another, the last one read out.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikingNetwork {
    layers: Vec<SpikingLayer>,
}

impl SpikingNetwork {
    /// Checks that the layers follow each other.
    ///
    /// # Errors
    /// [`NetworkError::Misshapen`] if there is none, or one has another number of inputs than the one before has
    /// neurons.
    pub fn new(layers: Vec<SpikingLayer>) -> Result<Self, NetworkError> {
        if layers.is_empty() {
            return Err(NetworkError::Misshapen { layer: "network".to_owned(), found: "no layers".to_owned() });
        }
        for pair in layers.windows(2) {
            if pair[1].n_in() != pair[0].n_out() {
                return Err(NetworkError::Misshapen {
                    layer: pair[1].name.clone(),
                    found: format!("{} inputs after a layer of {} neurons", pair[1].n_in(), pair[0].n_out()),
                });
            }
        }
        Ok(Self { layers })
    }

    /// The layers, the readout last.
    pub fn layers(&self) -> &[SpikingLayer] {
        &self.layers
    }

    /// Number of inputs.
    pub fn n_in(&self) -> usize {
        self.layers[0].n_in()
    }

    /// Number of outputs.
    pub fn n_classes(&self) -> usize {
        self.layers.last().map_or(0, SpikingLayer::n_out)
    }

    /// Synaptic operations at each step, `[T]`: spikes times the synapses that each of them reaches.
    pub fn synaptic_operations(&self, trace: &SampleTrace) -> Vec<u64> {
        let mut operations = vec![0; trace.n_steps()];
        for (layer, train) in self.layers.iter().zip(&trace.spikes) {
            for (step, operations) in operations.iter_mut().enumerate() {
                *operations += (train.n_spikes(step) * layer.n_out()) as u64;
            }
        }
        operations
    }
}
