//! Layers of neurons, each on its exact grid.
//!
//! A [`SpikingNetwork`] cannot be invalid: shapes fit, all values are finite and on the grid, and the grid's limits
//! are those of its weights. Made by conversion or read from [`crate::artefact`]; run by [`crate::engine`].

use std::sync::Arc;

use thiserror::Error;

use crate::faults::SpikeLoss;
use crate::grid::{Grid, Precision};
use crate::neurons::Neuron;
use crate::wiring::{Connection, Source, Wiring};

/// A network that cannot be run.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum NetworkError {
    /// A value is NaN or infinite.
    #[error(
        "layer {layer}: {what} of channel {channel} is {value}; train again with a lower learning rate, or correct the weights file"
    )]
    NotFinite {
        /// Name of the layer.
        layer: String,
        /// `a weight` or `the bias`.
        what: &'static str,
        /// Index of the channel, from 0; in a fully connected layer, of the neuron.
        channel: usize,
        /// The value.
        value: f64,
    },
    /// The weights are so large, in thresholds, that sums would round even on the coarsest grid, that of whole thresholds.
    #[error(
        "layer {layer}: weights of channel {channel} up to {largest:.3e} thresholds are too large for exact sums of {sum_bits} bits \
         and weights of {weight_bits}; raise its threshold (a larger convert.scale, a smaller κ, a higher percentile), or \
         convert.sum_bits (up to 24) and convert.weight_bits (up to 25)"
    )]
    TooLarge {
        /// Name of the layer.
        layer: String,
        /// Index of the channel, from 0; in a fully connected layer, of the neuron.
        channel: usize,
        /// Largest magnitude of a weight or bias, in thresholds.
        largest: f64,
        /// Those of the grid, see [`Precision`].
        sum_bits: u32,
        /// Those of the grid, with the sign.
        weight_bits: u32,
    },
    /// A value is not a multiple of the grid's step, or the grid's sums are not exact.
    #[error("layer {layer}: channel {channel} is not on an exact grid of 2^-{exponent}; convert again")]
    OffGrid {
        /// Name of the layer.
        layer: String,
        /// Index of the channel, from 0; in a fully connected layer, of the neuron.
        channel: usize,
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

/// Biases of a layer's neurons, which are numbered channel by channel, row by row.
///
/// Where a convolution's input is shifted before zeros are put around it, what the zeros leave out is a bias of its own for the neurons
/// at the border.
#[derive(Debug, Clone, PartialEq)]
pub enum Biases<W> {
    /// One for all neurons of a channel, `[C]`.
    OfChannels(Vec<W>),
    /// One for each neuron, `[n_out]`.
    OfNeurons(Vec<W>),
}

impl<W> From<Vec<W>> for Biases<W> {
    /// One for each channel.
    fn from(of_channels: Vec<W>) -> Self {
        Self::OfChannels(of_channels)
    }
}

impl<W> Biases<W> {
    /// Of a layer of some shape; `None` if there are neither as many as channels nor as many as neurons.
    ///
    /// - `values`: `[C]` or `[n_out]`
    pub fn of_shape(values: Vec<W>, shape: [usize; 3]) -> Option<Self> {
        if values.len() == shape[0] {
            return Some(Self::OfChannels(values));
        }
        (values.len() == shape.iter().product::<usize>()).then_some(Self::OfNeurons(values))
    }

    /// All of them, `[C]` or `[n_out]`.
    #[inline]
    pub fn values(&self) -> &[W] {
        match self {
            Self::OfChannels(values) | Self::OfNeurons(values) => values,
        }
    }

    /// All of them, `[C]` or `[n_out]`.
    #[inline]
    pub fn values_mut(&mut self) -> &mut [W] {
        match self {
            Self::OfChannels(values) | Self::OfNeurons(values) => values,
        }
    }

    /// Those of the channels, `[C]`, if their neurons share one.
    #[inline]
    pub fn channels(&self) -> Option<&[W]> {
        match self {
            Self::OfChannels(values) => Some(values),
            Self::OfNeurons(_) => None,
        }
    }

    /// Number of channels.
    ///
    /// - `n_positions`: neurons of a channel
    #[inline]
    pub fn n_channels(&self, n_positions: usize) -> usize {
        match self {
            Self::OfChannels(values) => values.len(),
            Self::OfNeurons(values) => values.len() / n_positions,
        }
    }

    /// Those of a channel: one, or one for each of its neurons.
    ///
    /// - `n_positions`: neurons of a channel
    #[inline]
    pub fn of_channel(&self, channel: usize, n_positions: usize) -> &[W] {
        match self {
            Self::OfChannels(values) => &values[channel..=channel],
            Self::OfNeurons(values) => &values[channel * n_positions..][..n_positions],
        }
    }

    /// Other values in their place.
    ///
    /// - `of`: is given the channel and the value
    /// - `n_positions`: neurons of a channel
    pub fn map<V>(&self, n_positions: usize, mut of: impl FnMut(usize, &W) -> V) -> Biases<V> {
        match self {
            Self::OfChannels(values) => {
                Biases::OfChannels(values.iter().enumerate().map(|(c, bias)| of(c, bias)).collect())
            }
            Self::OfNeurons(values) => {
                let values = values.iter().enumerate();
                Biases::OfNeurons(values.map(|(neuron, bias)| of(neuron / n_positions, bias)).collect())
            }
        }
    }
}

impl<W: Copy> Biases<W> {
    /// That of a neuron.
    ///
    /// - `n_positions`: neurons of a channel
    #[inline]
    pub fn at(&self, neuron: usize, n_positions: usize) -> W {
        match self {
            Self::OfChannels(values) => values[neuron / n_positions],
            Self::OfNeurons(values) => values[neuron],
        }
    }

    /// One for each neuron, `[n_out]`.
    ///
    /// - `n_positions`: neurons of a channel
    pub fn of_neurons(&self, n_positions: usize) -> Vec<W> {
        match self {
            Self::OfChannels(values) => {
                values.iter().flat_map(|&value| std::iter::repeat_n(value, n_positions)).collect()
            }
            Self::OfNeurons(values) => values.clone(),
        }
    }
}

impl<W: Copy + Into<f64>> Biases<W> {
    /// The least and the greatest of a channel.
    ///
    /// - `n_positions`: neurons of a channel
    pub fn range(&self, channel: usize, n_positions: usize) -> [f64; 2] {
        let mut of_channel = self.of_channel(channel, n_positions).iter().map(|&bias| bias.into());
        let first = of_channel.next().unwrap_or(0.0);
        of_channel.fold([first; 2], |[least, greatest], bias| [least.min(bias), greatest.max(bias)])
    }
}

/// One layer: synapses from one or more sources onto neurons of threshold 1.
///
/// Neurons are numbered channel by channel, row by row; those of a channel share threshold and grid, and most often the bias. A fully
/// connected layer has a channel per neuron.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikingLayer {
    name: String,
    shape: [usize; 3],
    connections: Vec<Connection<f32>>,
    biases: Biases<f32>,
    initial_potentials: Vec<f32>,
    thresholds: Vec<f32>,
    grids: Vec<Grid>,
    /// `[n_out]`, in thresholds λ; `None` where all are 1.
    firing_thresholds: Option<Vec<f32>>,
}

/// A layer before it is rounded to its grid, in thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct ExactLayer {
    /// Name for people: `conv 1`.
    pub name: String,
    /// Where its current comes from, with weights W̃.
    pub connections: Vec<Connection<f64>>,
    /// Biases b̃, added at each step.
    pub biases: Biases<f64>,
    /// Membrane potentials `[C]` before the first step.
    pub initial_potentials: Vec<f64>,
    /// Thresholds λ `[C]`, in units of the trained network's activations; each > 0.
    pub thresholds: Vec<f64>,
}

/// What [`SpikingLayer::on_grids`] makes a layer of, per channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelValues {
    /// Biases b̃ `[C]` or `[n_out]`, in thresholds.
    pub biases: Vec<f32>,
    /// Membrane potentials `[C]` before the first step, in thresholds.
    pub initial_potentials: Vec<f32>,
    /// Thresholds λ `[C]`, in units of activations.
    pub thresholds: Vec<f32>,
    /// Exponents g `[C]` of the grids.
    pub exponents: Vec<i32>,
}

impl SpikingLayer {
    /// Rounds each channel to the finest grid on which the sums of a run are exact.
    ///
    /// - `precision`: of the sums; a number of time steps alone stands for the finest
    ///
    /// # Errors
    /// [`NetworkError`] if values are not finite, too large, or of sizes that do not fit.
    pub fn round(layer: &ExactLayer, precision: impl Into<Precision>) -> Result<Self, NetworkError> {
        Self::round_with(layer, None, precision.into())
    }

    /// The same for neurons that fire at other potentials than λ.
    ///
    /// - `firing_thresholds`: `[n_out]`, in thresholds λ, each > 0; rounded to the grid of their channel
    ///
    /// # Errors
    /// [`NetworkError`] as for [`SpikingLayer::round`].
    pub fn round_with(
        layer: &ExactLayer,
        firing_thresholds: Option<&[f64]>,
        precision: Precision,
    ) -> Result<Self, NetworkError> {
        let ExactLayer { name, connections, biases, initial_potentials, thresholds } = layer;
        let thresholds: Vec<f32> = thresholds.iter().map(|&threshold| threshold as f32).collect();
        let shape = check_sizes(name, connections, initial_potentials.len(), &thresholds)?;
        let biases = check_biases(name, biases.values().to_vec(), shape)?;
        check_finite(name, connections, &biases, shape)?;
        let mut rounded = Self {
            name: name.clone(),
            shape,
            connections: connections
                .iter()
                .map(|Connection { wiring, weights }| Connection {
                    wiring: wiring.clone(),
                    weights: Vec::with_capacity(weights.len()),
                })
                .collect(),
            biases: Biases::OfChannels(Vec::new()),
            initial_potentials: Vec::with_capacity(shape[0]),
            thresholds,
            grids: Vec::with_capacity(shape[0]),
            firing_thresholds: firing_thresholds.map(|of_neurons| Vec::with_capacity(of_neurons.len())),
        };
        let n_positions = shape[1] * shape[2];
        for (channel, &start) in initial_potentials.iter().enumerate() {
            let range = biases.range(channel, n_positions);
            let fire_at = firing_thresholds.map_or(&[1.0][..], |all| &all[channel * n_positions..][..n_positions]);
            let largest = fire_at.iter().copied().fold(0.0, f64::max);
            let weights = synapses(connections, channel);
            let grid = Grid::finest_below(largest, &weights, range, start, precision).ok_or_else(|| {
                let weights = synapses(connections, channel).map(|(weight, _)| weight);
                NetworkError::TooLarge {
                    layer: name.clone(),
                    channel,
                    largest: weights.chain(range).fold(0.0, |largest, value| value.abs().max(largest)),
                    sum_bits: precision.sum_bits,
                    weight_bits: precision.weight_bits,
                }
            })?;
            for (to, from) in rounded.connections.iter_mut().zip(connections) {
                to.weights.extend(from.row(channel).iter().map(|&weight| grid.round(weight)));
            }
            rounded.initial_potentials.push(grid.round(start));
            // A threshold of zero would fire at nothing.
            let step = grid.step() as f32;
            let of_channel = fire_at.iter().map(|&threshold| grid.round(threshold).max(step));
            if let Some(all) = &mut rounded.firing_thresholds {
                all.extend(of_channel);
            }
            rounded.grids.push(grid);
        }
        rounded.biases = biases.map(n_positions, |channel, &bias| rounded.grids[channel].round(bias));
        Ok(rounded)
    }

    /// A layer whose values lie on grids already, as [`crate::artefact`] reads it.
    ///
    /// # Errors
    /// [`NetworkError`] if they do not, or are not finite, too large, or of sizes that do not fit.
    pub fn on_grids(
        name: &str,
        connections: Vec<Connection<f32>>,
        values: ChannelValues,
    ) -> Result<Self, NetworkError> {
        let ChannelValues { biases, initial_potentials, thresholds, exponents } = values;
        let n_channels = initial_potentials.len();
        let shape = check_sizes(name, &connections, n_channels, &thresholds)?;
        let biases = check_biases(name, biases, shape)?;
        if exponents.len() != n_channels {
            let found = format!("{} grids for {n_channels} channels", exponents.len());
            return Err(NetworkError::Misshapen { layer: name.to_owned(), found });
        }
        let n_positions = shape[1] * shape[2];
        check_finite(name, &connections, &biases.map(n_positions, |_, &bias| f64::from(bias)), shape)?;
        let mut grids = Vec::with_capacity(n_channels);
        for (channel, &exponent) in exponents.iter().enumerate() {
            let (range, start) = (biases.range(channel, n_positions), initial_potentials[channel]);
            let grid = Grid::with_exponent(exponent, synapses(&connections, channel), range, f64::from(start));
            let rows = connections.iter().flat_map(|connection| connection.row(channel));
            let mut values = rows.chain(biases.of_channel(channel, n_positions)).chain([&start]);
            let grid = grid.filter(|grid| values.all(|&value| grid.holds(value)));
            grids.push(grid.ok_or_else(|| NetworkError::OffGrid { layer: name.to_owned(), channel, exponent })?);
        }
        let (name, firing_thresholds) = (name.to_owned(), None);
        Ok(Self { name, shape, connections, biases, initial_potentials, thresholds, grids, firing_thresholds })
    }

    /// Name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `[C, H, W]` of its neurons; `[n, 1, 1]` for a fully connected layer of n.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of neurons.
    pub fn n_out(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of neurons of a channel.
    pub fn n_positions(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// One value for each neuron, out of one for each channel.
    pub fn for_neurons(&self, channels: &[f32]) -> Vec<f32> {
        channels.iter().flat_map(|&value| std::iter::repeat_n(value, self.n_positions())).collect()
    }

    /// Where its current comes from, with weights W̃ in thresholds.
    pub fn connections(&self) -> &[Connection<f32>] {
        &self.connections
    }

    /// Biases b̃, in thresholds, added at each step.
    pub fn biases(&self) -> &Biases<f32> {
        &self.biases
    }

    /// Membrane potentials `[C]` before the first step, in thresholds.
    pub fn initial_potentials(&self) -> &[f32] {
        &self.initial_potentials
    }

    /// Thresholds λ `[C]`, in units of the trained network's activations.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// Potentials `[n_out]` at which the neurons fire and which a spike subtracts, in thresholds λ, on the grid; `None` where
    /// all are 1, as only faults change.
    pub fn firing_thresholds(&self) -> Option<&[f32]> {
        self.firing_thresholds.as_deref()
    }

    /// The channels' grids, `[C]`.
    pub fn grids(&self) -> &[Grid] {
        &self.grids
    }

    /// Weight vector of each neuron of a channel, in thresholds: the kernels of all connections, the mean of an average
    /// pool being one input.
    pub fn weight_vector(&self, channel: usize) -> impl Iterator<Item = f64> + Clone {
        self.connections.iter().flat_map(move |connection| {
            let area = connection.wiring.multiplicity() as f64;
            connection.row(channel).iter().map(move |&weight| f64::from(weight) * area)
        })
    }

    /// Bounds on potentials in a run of `n_steps` steps, `[C]`, infinite for a channel that needs none; `None` if no
    /// channel does.
    pub fn potential_limits(&self, n_steps: usize) -> Option<Vec<f32>> {
        let limit = |grid: &Grid| if n_steps > grid.free_steps { grid.potential_limit } else { f32::INFINITY };
        let limits: Vec<f32> = self.grids.iter().map(limit).collect();
        limits.iter().any(|limit| limit.is_finite()).then_some(limits)
    }

    /// The same for neurons of any model in this layer and those before it, whose spikes may carry more than 0 or 1.
    ///
    /// - `is_lossy`: whether spikes are lost on their way, so that what arrives of a neuron is not what it has put out
    ///
    /// # Errors
    /// The index of the first channel whose sums would not be exact even if its potentials saturate.
    pub fn potential_limits_of(
        &self,
        neuron: &dyn Neuron,
        n_steps: usize,
        is_lossy: bool,
    ) -> Result<Option<Vec<f32>>, usize> {
        // The layer's own grids are for spikes of 0 and 1.
        if neuron.range() == [0, 1] {
            return Ok(self.potential_limits(n_steps));
        }
        let limit = |channel: usize| {
            let n_positions = self.n_positions();
            let biases = self.biases.range(channel, n_positions);
            let start = f64::from(self.initial_potentials[channel]);
            let own = self.firing_thresholds.as_ref().map(|all| &all[channel * n_positions..][..n_positions]);
            let threshold = own.map_or(1.0, |own| own.iter().copied().fold(0.0, f32::max));
            let exponent = self.grids[channel].exponent;
            if let Some(total) = neuron.largest_total(n_steps).filter(|_| !is_lossy) {
                let synapses = self.connections.iter().flat_map(|connection| {
                    let multiplicity = connection.wiring.multiplicity();
                    connection.row(channel).iter().map(move |&weight| (f64::from(weight), multiplicity))
                });
                if Grid::holds_totals(exponent, synapses, biases, start, f64::from(threshold), total) {
                    return Ok(f32::INFINITY);
                }
            }
            // What the two ends of a range bring are like two inputs of 0 or 1, one of which spikes.
            let levels = f64::from(neuron.levels());
            let synapses = self.connections.iter().flat_map(|connection| {
                let Wiring { source, .. } = connection.wiring;
                let (range, multiplicity) = (neuron.range().map(f64::from), connection.wiring.multiplicity());
                let range = if source == Source::INPUT { [0.0, levels] } else { range };
                let ends = move |&weight: &f32| range.map(|quanta| (f64::from(weight) * quanta, multiplicity));
                connection.row(channel).iter().flat_map(ends)
            });
            Grid::with_exponent(exponent, synapses, biases.map(|bias| bias * levels), start)
                .filter(|grid| {
                    let limit = f64::from(grid.potential_limit);
                    neuron.largest_potential(limit, f64::from(threshold)) <= limit
                })
                .map(|grid| if n_steps > grid.free_steps { grid.potential_limit } else { f32::INFINITY })
                .ok_or(channel)
        };
        let limits: Vec<f32> = (0..self.shape[0]).map(limit).collect::<Result<_, _>>()?;
        Ok(limits.iter().any(|limit| limit.is_finite()).then_some(limits))
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
            limited.count() * self.n_positions(),
            self.n_out()
        ))
    }

    /// Current per step of a constant input: `W̃ x + b̃`, `[n_out]`, in thresholds, on the grid, where x is behind the pools of each
    /// connection from the input. Connections from other layers do not count; a layer that no pixel reaches has its biases.
    ///
    /// - `pixels`: `[C·H·W]`, each in [0, 1]
    ///
    /// Summed in f64, connection by connection and input by input in order, the bias last; then rounded once to the channel's grid,
    /// halves to even. It does not change from step to step. This is the definition, slow as the whole of [`crate::reference`]; the fast
    /// engines compute the same numbers by `engine_event::drive`, which their tests hold to this.
    ///
    /// # Panics
    /// If a pixel is missing, left over or outside [0, 1].
    pub fn drive(&self, pixels: &[f32]) -> Vec<f32> {
        crate::reference::drive(self, pixels)
    }
}

/// Weight and multiplicity of a channel's synapses, of all connections.
fn synapses<W: Copy + Into<f64>>(
    connections: &[Connection<W>],
    channel: usize,
) -> impl Iterator<Item = (f64, usize)> + Clone {
    connections.iter().flat_map(move |connection| {
        let multiplicity = connection.wiring.multiplicity();
        connection.row(channel).iter().map(move |&weight| (weight.into(), multiplicity))
    })
}

/// The layer's shape.
fn check_sizes<W>(
    layer: &str,
    connections: &[Connection<W>],
    n_channels: usize,
    thresholds: &[f32],
) -> Result<[usize; 3], NetworkError> {
    let misshapen = |found: String| NetworkError::Misshapen { layer: layer.to_owned(), found };
    let mut shape = None;
    for Connection { wiring, weights } in connections {
        wiring.check().map_err(misshapen)?;
        let kernel = wiring.kernel;
        let output = kernel.output();
        if kernel.channels != n_channels || weights.len() != n_channels * kernel.row_len() {
            return Err(misshapen(format!("{} weights for {n_channels} channels", weights.len())));
        }
        if *shape.get_or_insert(output) != output {
            return Err(misshapen(format!("connections to {output:?} and to other shapes")));
        }
    }
    if thresholds.len() != n_channels {
        return Err(misshapen(format!("{} thresholds for {n_channels} channels", thresholds.len())));
    }
    if let Some(channel) = thresholds.iter().position(|&threshold| !(threshold > 0.0 && threshold.is_finite())) {
        return Err(misshapen(format!("the threshold of channel {channel} is {}", thresholds[channel])));
    }
    shape.ok_or_else(|| misshapen("no connections".to_owned()))
}

/// - `biases`: `[C]` or `[n_out]`
fn check_biases<W>(layer: &str, biases: Vec<W>, shape: [usize; 3]) -> Result<Biases<W>, NetworkError> {
    let found = biases.len();
    Biases::of_shape(biases, shape).ok_or_else(|| {
        let [n_channels, n_out] = [shape[0], shape.iter().product()];
        let found = format!("{found} biases for {n_channels} channels of {n_out} neurons");
        NetworkError::Misshapen { layer: layer.to_owned(), found }
    })
}

fn check_finite<W: Copy + Into<f64>>(
    layer: &str,
    connections: &[Connection<W>],
    biases: &Biases<f64>,
    shape: [usize; 3],
) -> Result<(), NetworkError> {
    let refuse = |what, channel, value| Err(NetworkError::NotFinite { layer: layer.to_owned(), what, channel, value });
    for channel in 0..shape[0] {
        if let Some((weight, _)) = synapses(connections, channel).find(|(weight, _)| !weight.is_finite()) {
            return refuse("a weight", channel, weight);
        }
        let biases = biases.of_channel(channel, shape[1] * shape[2]);
        if let Some(bias) = biases.iter().find(|bias| !bias.is_finite()) {
            return refuse("the bias", channel, *bias);
        }
    }
    Ok(())
}

/// A spiking network: layers in the order of computation, the last one read out.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikingNetwork {
    input: [usize; 3],
    /// Shared by all copies of the network, such as those that engines keep: none of them takes memory for weights of its own.
    layers: Arc<Vec<SpikingLayer>>,
    spike_loss: Option<SpikeLoss>,
}

impl SpikingNetwork {
    /// Checks that every connection has the source that it was made for.
    ///
    /// - `input`: shape `[C, H, W]` of the input
    ///
    /// # Errors
    /// [`NetworkError::Misshapen`] if there is no layer, or a source comes later or has another shape.
    pub fn new(input: [usize; 3], layers: Vec<SpikingLayer>) -> Result<Self, NetworkError> {
        if layers.is_empty() {
            return Err(NetworkError::Misshapen { layer: "network".to_owned(), found: "no layers".to_owned() });
        }
        for (idx, layer) in layers.iter().enumerate() {
            for Connection { wiring, .. } in &layer.connections {
                let misshapen = |found| Err(NetworkError::Misshapen { layer: layer.name.clone(), found });
                if wiring.source > Source::from_index(idx) {
                    return misshapen(format!("spikes of source {} at layer {idx}", wiring.source));
                }
                let source = wiring.source.layer().map_or(input, |source| layers[source].shape);
                if source != wiring.source_shape {
                    return misshapen(format!(
                        "a connection for {:?} from a source of {source:?}",
                        wiring.source_shape
                    ));
                }
                if wiring.source == Source::INPUT && wiring.max_pools().next().is_some() {
                    return misshapen("a max pool of the input".to_owned());
                }
            }
        }
        Ok(Self { input, layers: Arc::new(layers), spike_loss: None })
    }

    /// The same network, losing spikes on their way.
    #[must_use]
    pub fn with_spike_loss(self, spike_loss: Option<SpikeLoss>) -> Self {
        Self { spike_loss, ..self }
    }

    /// Which spikes are lost on their way; `None` if none are, which only faults change.
    pub fn spike_loss(&self) -> Option<SpikeLoss> {
        self.spike_loss
    }

    /// Whether neurons fire at thresholds of their own, or spikes are lost: what [`crate::faults`] does beyond weights.
    pub fn has_faulty_neurons(&self) -> bool {
        self.spike_loss.is_some() || self.layers.iter().any(|layer| layer.firing_thresholds.is_some())
    }

    /// The layers, the readout last.
    pub fn layers(&self) -> &[SpikingLayer] {
        &self.layers
    }

    /// Shape `[C, H, W]` of the input.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Number of inputs.
    pub fn n_in(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of outputs.
    pub fn n_classes(&self) -> usize {
        self.layers.last().map_or(0, SpikingLayer::n_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neurons::{IntegrateAndFire, Ternary};
    use crate::wiring::Kernel;
    use model::config::Reset;

    /// One channel of 1×2 neurons, each with a pixel of weight ½.
    fn two_neurons(biases: Biases<f64>) -> Result<SpikingLayer, NetworkError> {
        let wiring = Wiring {
            source: Source::INPUT,
            source_shape: [1, 1, 2],
            pools: Vec::new(),
            kernel: Kernel::identity([1, 1, 2]),
        };
        let exact = ExactLayer {
            name: "conv 1".to_owned(),
            connections: vec![Connection { wiring, weights: vec![0.5] }],
            biases,
            initial_potentials: vec![0.0],
            thresholds: vec![1.0],
        };
        SpikingLayer::round(&exact, 4)
    }

    #[test]
    fn neurons_of_a_channel_may_have_biases_of_their_own() {
        let layer = two_neurons(Biases::OfNeurons(vec![0.25, -0.75])).unwrap();
        assert_eq!(*layer.biases(), Biases::OfNeurons(vec![0.25, -0.75]));
        assert_eq!((layer.biases().of_channel(0, 2), layer.biases().range(0, 2)), (&[0.25, -0.75][..], [-0.75, 0.25]));
        assert_eq!(layer.drive(&[1.0, 0.5]), [0.75, -0.5]);
        // The grid is that of the greatest charge a step may bring: ½ + ¼ up, ¾ down.
        let shared = |bias| two_neurons(Biases::OfChannels(vec![bias])).unwrap().grids()[0];
        assert_eq!(layer.grids(), [shared(0.25)]);
        assert_eq!(layer.grids(), [shared(-0.75)]);
        let of_channel = two_neurons(Biases::OfChannels(vec![0.25])).unwrap();
        assert_eq!(of_channel.biases().of_neurons(2), [0.25; 2]);
        assert_eq!(of_channel.biases().map(2, |channel, bias| (channel, *bias)).values(), [(0, 0.25)]);
        assert_eq!(layer.biases().map(1, |channel, _| channel).values(), [0, 1]);
    }

    #[test]
    fn biases_that_are_too_many_or_not_finite_are_refused() {
        let refusal = |biases| two_neurons(Biases::OfNeurons(biases)).unwrap_err().to_string();
        assert_eq!(refusal(vec![0.0; 3]), "layer conv 1: 3 biases for 1 channels of 2 neurons; convert again");
        assert!(refusal(vec![0.0, f64::NAN]).starts_with("layer conv 1: the bias of channel 0 is NaN"));
        assert!(refusal(vec![0.0, 1e9]).contains("channel 0 up to 1.000e9 thresholds are too large"));
    }

    #[test]
    fn limits_of_potentials_are_those_of_what_spikes_carry() {
        let layer = |source: Source| {
            let exact = ExactLayer {
                name: "dense".to_owned(),
                connections: vec![Connection { wiring: Wiring::dense(source, [2, 1, 1], 1), weights: vec![1.0, -2.0] }],
                biases: vec![0.5].into(),
                initial_potentials: vec![0.25],
                thresholds: vec![1.0],
            };
            SpikingLayer::round(&exact, 4).unwrap()
        };
        let units = f64::from(layer(Source::INPUT).grids()[0].exponent).exp2();
        let limit = |layer: &SpikingLayer, neuron: &dyn Neuron, n_steps: usize| {
            layer.potential_limits_of(neuron, n_steps, true).unwrap().map(|limits| f64::from(limits[0]))
        };
        let without = |swing: f64| Some((16_777_216.0 - swing * units - 1.0) / units);
        let (binary, of_pixels, of_layer) =
            (IntegrateAndFire { reset: Reset::Zero }, layer(Source::INPUT), layer(Source::of_layer(0)));
        // A step brings 1.5 at most, and takes 2: with −1 for spikes, up to 3.5.
        assert_eq!(limit(&of_layer, &binary, 1_000_000), without(2.0));
        assert_eq!(limit(&of_layer, &Ternary, 1_000_000), without(3.5));
        // The input's spikes are 0 or 1 whatever the neurons do.
        assert_eq!(limit(&of_pixels, &Ternary, 1_000_000), without(2.0));
        assert_eq!((limit(&of_layer, &binary, 4), limit(&of_layer, &Ternary, 1)), (None, None));
    }
}
