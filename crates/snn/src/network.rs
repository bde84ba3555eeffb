//! Layers of integrate-and-fire neurons, each on its exact grid.
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
    #[error(
        "layer {layer}: {what} of neuron {neuron} is {value}; train again with a lower learning rate, or correct the weights file"
    )]
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
        "layer {layer}: weights of neuron {neuron} up to {largest:.3e} thresholds are too large for exact sums in 32 bits; \
         raise its threshold (a larger convert.scale, a smaller κ, a higher percentile)"
    )]
    TooLarge {
        /// Name of the layer.
        layer: String,
        /// Index of the neuron, from 0.
        neuron: usize,
        /// Largest magnitude of a weight or bias, in thresholds.
        largest: f64,
    },
    /// A value is not a multiple of the grid's step, or the grid's sums are not exact.
    #[error("layer {layer}: neuron {neuron} is not on an exact grid of 2^-{exponent}; convert again")]
    OffGrid {
        /// Name of the layer.
        layer: String,
        /// Index of the neuron, from 0.
        neuron: usize,
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
    initial_potentials: Vec<f32>,
    thresholds: Vec<f32>,
    grids: Vec<Grid>,
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
    /// Rounds each neuron to the finest grid on which `n_steps` steps are exact.
    ///
    /// # Errors
    /// [`NetworkError`] if values are not finite, too large, or of sizes that do not fit.
    pub fn round(layer: &ExactLayer, n_steps: usize) -> Result<Self, NetworkError> {
        let ExactLayer { name, weights, biases, initial_potential, thresholds } = layer;
        let thresholds: Vec<f32> = thresholds.iter().map(|&threshold| threshold as f32).collect();
        let n_in = check_sizes(name, weights.len(), biases.len(), &thresholds)?;
        check_finite(name, weights, n_in, "a weight")?;
        check_finite(name, biases, 1, "the bias")?;
        let mut rounded = Self {
            name: name.clone(),
            n_in,
            weights: Vec::with_capacity(weights.len()),
            biases: Vec::with_capacity(biases.len()),
            initial_potentials: Vec::with_capacity(biases.len()),
            thresholds,
            grids: Vec::with_capacity(biases.len()),
        };
        for (neuron, (row, &bias)) in weights.chunks_exact(n_in).zip(biases).enumerate() {
            let grid = Grid::finest(row, bias, *initial_potential, n_steps).ok_or_else(|| NetworkError::TooLarge {
                layer: name.clone(),
                neuron,
                largest: row.iter().chain([&bias]).fold(0.0, |largest, value| value.abs().max(largest)),
            })?;
            rounded.weights.extend(row.iter().map(|&weight| grid.round(weight)));
            rounded.biases.push(grid.round(bias));
            rounded.initial_potentials.push(grid.round(*initial_potential));
            rounded.grids.push(grid);
        }
        Ok(rounded)
    }

    /// A layer whose values lie on grids already, as [`crate::artefact`] reads it.
    ///
    /// - `weights`: `[n_out, n_in]`; `biases`, `initial_potentials`, `thresholds`, `exponents`: `[n_out]`
    ///
    /// # Errors
    /// [`NetworkError`] if they do not, or are not finite, too large, or of sizes that do not fit.
    pub fn on_grids(
        name: &str,
        weights: Vec<f32>,
        biases: Vec<f32>,
        initial_potentials: Vec<f32>,
        thresholds: Vec<f32>,
        exponents: &[i32],
    ) -> Result<Self, NetworkError> {
        let n_in = check_sizes(name, weights.len(), biases.len(), &thresholds)?;
        let n_out = biases.len();
        if initial_potentials.len() != n_out || exponents.len() != n_out {
            let found = format!(
                "{} initial potentials and {} grids for {n_out} neurons",
                initial_potentials.len(),
                exponents.len()
            );
            return Err(NetworkError::Misshapen { layer: name.to_owned(), found });
        }
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        check_finite(name, &wide(&weights), n_in, "a weight")?;
        check_finite(name, &wide(&biases), 1, "the bias")?;
        let mut grids = Vec::with_capacity(n_out);
        for (neuron, &exponent) in exponents.iter().enumerate() {
            let (row, bias, start) = (&weights[neuron * n_in..][..n_in], biases[neuron], initial_potentials[neuron]);
            let grid = Grid::with_exponent(exponent, &wide(row), f64::from(bias), f64::from(start));
            let grid = grid.filter(|grid| row.iter().chain([&bias, &start]).all(|&value| grid.holds(value)));
            grids.push(grid.ok_or_else(|| NetworkError::OffGrid { layer: name.to_owned(), neuron, exponent })?);
        }
        Ok(Self { name: name.to_owned(), n_in, weights, biases, initial_potentials, thresholds, grids })
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

    /// Membrane potentials `[n_out]` before the first step, in thresholds.
    pub fn initial_potentials(&self) -> &[f32] {
        &self.initial_potentials
    }

    /// Thresholds λ `[n_out]`, in units of the trained network's activations.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// The neurons' grids, `[n_out]`.
    pub fn grids(&self) -> &[Grid] {
        &self.grids
    }

    /// Bounds `[n_out]` on potentials in a run of `n_steps` steps, infinite for a neuron that needs none; `None` if no
    /// neuron does.
    pub fn potential_limits(&self, n_steps: usize) -> Option<Vec<f32>> {
        let limit = |grid: &Grid| if n_steps > grid.free_steps { grid.potential_limit } else { f32::INFINITY };
        let limits: Vec<f32> = self.grids.iter().map(limit).collect();
        limits.iter().any(|limit| limit.is_finite()).then_some(limits)
    }

    /// What the user should know of a run of `n_steps` steps in which potentials may saturate; `None` if none may.
    pub fn saturation_note(&self, n_steps: usize) -> Option<String> {
        let limited = self.grids.iter().filter(|grid| n_steps > grid.free_steps);
        let steps = limited.clone().map(|grid| grid.free_steps).min()?;
        let limit = limited.clone().map(|grid| grid.potential_limit).fold(f32::INFINITY, f32::min);
        Some(format!(
            "{}: potentials of {} of {} neurons saturate at ±{limit} thresholds or more, which they might reach after {steps} \
             steps; charge beyond that is lost (their weights are huge against their thresholds, or the run is long)",
            self.name,
            limited.count(),
            self.n_out()
        ))
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
        let rows = self.weights.chunks_exact(self.n_in).zip(&self.biases).zip(&self.grids);
        rows.map(|((row, &bias), grid)| {
            let sum = row.iter().zip(pixels).map(|(&weight, &pixel)| f64::from(weight) * f64::from(pixel)).sum::<f64>();
            grid.round(sum + f64::from(bias))
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
