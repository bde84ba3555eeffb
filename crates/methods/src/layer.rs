//! The trained network as conversion sees it: weighted connections between rectifiers, in f64.
//!
//! All that is affine between two activations is multiplied out into the weights of one connection for each source, and an average
//! pool's divisor is put into the weights after it, both exactly but for rounding in f64.

use std::collections::BTreeMap;

use model::Architecture;
use model::artefact::TensorF32;
use model::population::{self, Factors, Population, Weights};
use model::quantised;
use snn::{Biases, Connection, Kernel, Source, Wiring};

mod rest;

/// One layer: the sum of its connections' currents, then `min(max(0, x), ceiling)` in all but the last.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnLayer {
    /// Name for people: `conv 1`.
    pub name: String,
    /// `[C, H, W]`; a fully connected layer has a channel per neuron.
    pub shape: [usize; 3],
    /// Where its input comes from, with weights.
    pub connections: Vec<Connection<f64>>,
    /// Biases.
    pub biases: Biases<f64>,
    /// The largest activation that there is, where the trained network saturates; else infinite.
    pub ceiling: f64,
    /// Whether it is a part of what the trained network activates (the side below zero, or some channels), so that it may well be
    /// that no calibration sample activates it.
    pub may_be_silent: bool,
    /// Thresholds that the network was trained with, `[C]`, where it is quantised; the logits have none.
    pub trained: Option<Vec<f64>>,
}

/// Thresholds of the layers before one, `[C]` each, or none where they are not undone.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a>(pub Option<&'a [Vec<f64>]>);

impl Before<'_> {
    /// Threshold of a channel of a source; 1 for pixels.
    pub fn lambda(self, source: Source, channel: usize) -> f64 {
        self.0.zip(source.layer()).map_or(1.0, |(before, layer)| before[layer][channel])
    }
}

impl AnnLayer {
    /// Number of channels.
    pub fn n_channels(&self) -> usize {
        self.shape[0]
    }

    /// Number of neurons of a channel.
    pub fn n_positions(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Weight vector of each neuron of a channel, times the thresholds of its sources: the kernels of all connections, the
    /// mean of an average pool being one input.
    pub fn weight_vector<'a>(&'a self, channel: usize, before: Before<'a>) -> impl Iterator<Item = f64> + Clone + 'a {
        self.connections.iter().flat_map(move |connection| {
            let wiring = &connection.wiring;
            let area = wiring.multiplicity() as f64;
            connection.row(channel).iter().enumerate().map(move |(position, weight)| {
                weight * area * before.lambda(wiring.source, wiring.source_channel(channel, position))
            })
        })
    }
}

/// The layers of a trained network, everything affine between two activations composed.
///
/// - `tensors`: as [`model::ann::AnnArtefact::read`] has checked them
pub fn ann_layers(architecture: &Architecture, tensors: &BTreeMap<String, TensorF32>) -> Vec<AnnLayer> {
    let graph = architecture.graph();
    let all = tensors;
    let tensors = Tensors(tensors);
    let rests = rest::of_nodes(graph, tensors);
    let layer = |population: &Population| AnnLayer {
        name: population.name.clone(),
        shape: population.shape,
        connections: population.connections.iter().map(|connection| composed(connection, tensors)).collect(),
        biases: rest::biases(graph, population, &rests),
        ceiling: population.ceiling(),
        may_be_silent: population.stands_for.sign < 0.0 || population.stands_for.channels.is_some(),
        trained: quantised::of_population(architecture, &population.stands_for, all),
    };
    architecture.populations().iter().map(layer).collect()
}

/// The trained network's tensors.
#[derive(Debug, Clone, Copy)]
struct Tensors<'a>(&'a BTreeMap<String, TensorF32>);

impl Tensors<'_> {
    fn get(self, node: &str, field: &str) -> Option<Vec<f64>> {
        let tensor = self.0.get(&format!("{node}.{field}"))?;
        Some(tensor.values.iter().map(|&value| f64::from(value)).collect())
    }

    fn of(self, node: &str, field: &str) -> Vec<f64> {
        self.get(node, field).expect("tensors were checked against the architecture")
    }
}

/// `γ/√(σ² + ε)` of each channel.
fn batch_norm_factors(node: &str, epsilon: f64, tensors: Tensors<'_>) -> Vec<f64> {
    let (gamma, variance) = (tensors.of(node, "weight"), tensors.of(node, "running_var"));
    gamma.iter().zip(&variance).map(|(gamma, variance)| gamma / (variance + epsilon).sqrt()).collect()
}

fn composed(connection: &population::Connection, tensors: Tensors<'_>) -> Connection<f64> {
    let population::Connection { source, source_shape, pools, kernel, weights } = connection;
    let mut weights = numbers(weights, kernel, tensors);
    let wiring = Wiring { source: *source, source_shape: *source_shape, pools: pools.clone(), kernel: *kernel };
    let area = wiring.multiplicity() as f64;
    for weight in &mut weights {
        *weight /= area;
    }
    Connection { wiring, weights }
}

/// Weights of a kernel as numbers, `[C_out, C_in/groups, k_h, k_w]`.
fn numbers(weights: &Weights, kernel: &Kernel, tensors: Tensors<'_>) -> Vec<f64> {
    let rows_of = |of: &Weights, kernel: &Kernel| {
        let all = numbers(of, kernel, tensors);
        if kernel.groups > 1 {
            (ungrouped(&all, kernel), kernel.row_len() * kernel.groups)
        } else {
            (all, kernel.row_len())
        }
    };
    match weights {
        Weights::Identity => vec![1.0; kernel.channels * kernel.row_len()],
        Weights::Uniform(value) => vec![*value; kernel.channels * kernel.row_len()],
        Weights::Stored { node } => tensors.of(node, "weight"),
        Weights::Scaled { of, by, channels } => {
            let mut all = numbers(of, kernel, tensors);
            let factors = match by {
                Factors::BatchNorm { node, epsilon } => batch_norm_factors(node, *epsilon, tensors),
                Factors::Scale { node } => tensors.of(node, "weight"),
                Factors::MinusSlope { node } => tensors.of(node, "weight").into_iter().map(|slope| -slope).collect(),
                Factors::Numbers(numbers) => numbers.clone(),
            };
            for (channel, row) in all.chunks_exact_mut(kernel.row_len()).enumerate() {
                let factor = factors[channels.as_ref().map_or(channel, |channels| channels[channel])];
                for weight in row {
                    *weight *= factor;
                }
            }
            all
        }
        Weights::Rows { kernel: all, of, rows } => {
            let (all, len) = rows_of(of, all);
            rows.iter().flat_map(|row| all[row * len..][..len].iter().copied()).collect()
        }
        Weights::Spread { kernel: own, of, rows } => {
            let (own, len) = rows_of(of, own);
            let mut all = vec![0.0; kernel.channels * len];
            for (row, values) in rows.iter().zip(own.chunks_exact(len)) {
                all[row * len..][..len].copy_from_slice(values);
            }
            all
        }
        Weights::Columns { kernel: whole, of, columns } => columns_of(&numbers(of, whole, tensors), whole, columns),
        Weights::Composed { outer_kernel, outer, inner_kernel, inner } => {
            let (outer, inner) = (numbers(outer, outer_kernel, tensors), numbers(inner, inner_kernel, tensors));
            product(outer_kernel, &outer, inner_kernel, &inner, kernel)
        }
    }
}

/// Weights of a kernel with groups as those of one group, with zeros.
fn ungrouped(weights: &[f64], kernel: &Kernel) -> Vec<f64> {
    let (len, out_per_group) = (kernel.row_len(), kernel.channels / kernel.groups);
    let mut all = vec![0.0; kernel.channels * len * kernel.groups];
    for (channel, row) in weights.chunks_exact(len).enumerate() {
        all[(channel * kernel.groups + channel / out_per_group) * len..][..len].copy_from_slice(row);
    }
    all
}

/// Weights of some input channels.
///
/// - `columns`: for each of them, the channels of the whole that read it
fn columns_of(weights: &[f64], whole: &Kernel, columns: &[Vec<usize>]) -> Vec<f64> {
    let area = whole.area();
    let mut part = Vec::with_capacity(whole.channels * columns.len() * area);
    for row in weights.chunks_exact(whole.row_len()) {
        for of in columns {
            part.extend((0..area).map(|tap| of.iter().map(|channel| row[channel * area + tap]).sum::<f64>()));
        }
    }
    part
}

/// Weights of one kernel behind another.
///
/// - `result`: its kernel, [`population::composed`] or fully connected
fn product(outer: &Kernel, outer_weights: &[f64], inner: &Kernel, inner_weights: &[f64], result: &Kernel) -> Vec<f64> {
    let mut weights = vec![0.0; result.channels * result.row_len()];
    if population::composed(outer, inner).is_none() {
        explicit_product(outer, outer_weights, inner, inner_weights, &mut weights);
    } else if outer.input == inner.output() {
        kernel_product(outer, outer_weights, inner, inner_weights, result, &mut weights);
    } else {
        // A fully connected layer behind a pointwise one: position by position.
        let n_positions = inner.input[1] * inner.input[2];
        let (n_mid, n_in) = (outer.n_in(), inner.n_in());
        for (row, outer_row) in weights.chunks_exact_mut(n_in).zip(outer_weights.chunks_exact(n_mid)) {
            for (channel, inner_row) in inner_weights.chunks_exact(inner.row_len()).enumerate() {
                for (at, inner_weight) in inner_row.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                    let from = inner.input_channel(channel, at) * n_positions;
                    for position in 0..n_positions {
                        row[from + position] += outer_row[channel * n_positions + position] * inner_weight;
                    }
                }
            }
        }
    }
    weights
}

/// `w[o, i, t] = Σ w₂[o, m, t₂]·w₁[m, i, t₁]` over the channels m between and all taps that meet in t.
fn kernel_product(
    outer: &Kernel,
    outer_weights: &[f64],
    inner: &Kernel,
    inner_weights: &[f64],
    result: &Kernel,
    weights: &mut [f64],
) {
    let tap = |dimension: usize, second: usize, first: usize| match (outer.size[dimension], inner.size[dimension]) {
        (1, _) => first,
        (_, 1) => second,
        _ => second * outer.dilation[dimension] * inner.stride[dimension] + first * inner.dilation[dimension],
    };
    let taps = |kernel: &Kernel| {
        let [_, across] = kernel.size;
        (0..kernel.area()).map(move |tap| [tap / across, tap % across]).collect::<Vec<_>>()
    };
    let (outer_taps, inner_taps) = (taps(outer), taps(inner));
    let places: Vec<Vec<usize>> = outer_taps
        .iter()
        .map(|second| {
            let place = |first: &[usize; 2]| tap(0, second[0], first[0]) * result.size[1] + tap(1, second[1], first[1]);
            inner_taps.iter().map(place).collect()
        })
        .collect();
    let (inner_area, area) = (inner.area(), result.area());
    let per_group = result.input[0] / result.groups;
    let out_per_group = result.channels / result.groups;
    for (out, (row, outer_row)) in
        weights.chunks_exact_mut(result.row_len()).zip(outer_weights.chunks_exact(outer.row_len())).enumerate()
    {
        let first_input = out / out_per_group * per_group;
        for (at, &second) in outer_row.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let channel = outer.input_channel(out, at);
            let places = &places[at % outer.area()];
            for (at, &first) in inner_weights[channel * inner.row_len()..][..inner.row_len()].iter().enumerate() {
                let input = inner.input_channel(channel, at) - first_input;
                row[input * area + places[at % inner_area]] += second * first;
            }
        }
    }
}

/// All outputs from all inputs, one by one.
fn explicit_product(outer: &Kernel, outer_weights: &[f64], inner: &Kernel, inner_weights: &[f64], weights: &mut [f64]) {
    let n_in = inner.n_in();
    let mut reached: Vec<Vec<(usize, f64)>> = vec![Vec::new(); outer.n_in()];
    for (mid, reached) in reached.iter_mut().enumerate() {
        outer.for_each_synapse(mid, |out, weight| reached.push((out, outer_weights[weight])));
    }
    for input in 0..n_in {
        inner.for_each_synapse(input, |mid, weight| {
            for (out, second) in &reached[mid] {
                weights[out * n_in + input] += second * inner_weights[weight];
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use model::population::PoolKind;
    use proptest::prelude::*;
    use specimens::graphs;

    use super::*;

    /// Rounding of sums of some thousand terms in f64 through some ten layers, relative to the largest value.
    const TOLERANCE: f64 = 1e-9;

    /// The values of every population, through its connections.
    fn through_connections(layers: &[AnnLayer], pixels: &[f64]) -> Vec<Vec<f64>> {
        let mut sources = vec![pixels.to_vec()];
        for (idx, layer) in layers.iter().enumerate() {
            let mut y = layer.biases.of_neurons(layer.n_positions());
            for Connection { wiring, weights } in &layer.connections {
                assert_eq!(wiring.check(), Ok(()));
                assert_eq!(wiring.kernel.output().iter().product::<usize>(), y.len());
                let (mut x, mut shape) = (sources[wiring.source.index()].clone(), wiring.source_shape);
                for pool in &wiring.pools {
                    let pooled = snn::pool::Windows::new(shape, std::iter::once(pool));
                    let mut sums = vec![0.0; pool.output(shape).iter().product()];
                    for (input, value) in x.iter().enumerate() {
                        pooled.multiples_of(input).for_each(|(window, n)| sums[window] += f64::from(n) * value);
                    }
                    x = if pool.kind == PoolKind::Max { pooled.largest(&x) } else { sums };
                    shape = pool.output(shape);
                }
                for (input, value) in x.iter().enumerate() {
                    wiring.kernel.for_each_synapse(input, |neuron, weight| y[neuron] += weights[weight] * value);
                }
            }
            if idx + 1 < layers.len() {
                for value in &mut y {
                    *value = value.max(0.0).min(layer.ceiling);
                }
            }
            sources.push(y);
        }
        sources.split_off(1)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn populations_compute_what_the_graph_computes_whatever_reads_what(
            steps in proptest::collection::vec((0..19_u8, any::<u16>(), any::<u16>()), 1..12), numbers in any::<u16>(), seed in any::<u64>(),
        ) {
            let steps: Vec<_> = steps.into_iter().map(|(step, a, b)| (step, usize::from(a), usize::from(b))).collect();
            let Some(architecture) = graphs::network(&steps, usize::from(numbers)) else {
                return Err(TestCaseError::reject("no exact counterpart"));
            };
            let tensors = graphs::tensors(&architecture, seed);
            let layers = ann_layers(&architecture, &tensors);
            let n_pixels = graphs::INPUT.iter().product();
            let pixels: Vec<f64> = specimens::uniform(!seed, n_pixels).iter().map(|x| x.abs()).collect();
            let expected = graphs::activations(&architecture, &tensors, &pixels);
            for ((found, expected), layer) in through_connections(&layers, &pixels).iter().zip(&expected).zip(&layers) {
                let largest = expected.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
                prop_assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    let nodes = architecture.graph().nodes();
                    prop_assert!((found - expected).abs() <= TOLERANCE * largest, "{}: {found} for {expected} in {nodes:?}", layer.name);
                }
            }
        }
    }
}
