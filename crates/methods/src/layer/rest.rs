//! What the trained network computes while all populations are silent: the biases of neurons.
//!
//! A layer of zeros gives its bias, which the next layer multiplies, and so on up to the next activation. Zeros that a convolution pads
//! its input with are no biases, so behind them the neurons of a channel may have biases of their own.

use model::architecture::LayerKind;
use model::graph::{Graph, Node, Operand};
use model::kernel::{Kernel, Pool};
use model::population::{PoolKind, Population, image_of, shuffled};
use snn::Biases;

use super::{Tensors, batch_norm_factors};

/// The values of a node.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    /// `[C, H, W]`; `[n, 1, 1]` for vectors.
    shape: [usize; 3],
    values: Biases<f64>,
}

impl Rest {
    fn zeros(shape: [usize; 3]) -> Self {
        Self { shape, values: Biases::OfChannels(vec![0.0; shape[0]]) }
    }

    fn n_positions(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    fn is_zero(&self) -> bool {
        let (Biases::OfChannels(values) | Biases::OfNeurons(values)) = &self.values;
        values.iter().all(|value| *value == 0.0)
    }

    fn at(&self, neuron: usize) -> f64 {
        match &self.values {
            Biases::OfChannels(values) => values[neuron / self.n_positions()],
            Biases::OfNeurons(values) => values[neuron],
        }
    }

    /// One value for each position.
    fn each(&self) -> Vec<f64> {
        (0..self.shape.iter().product()).map(|neuron| self.at(neuron)).collect()
    }

    /// With one value for each channel where all positions agree.
    fn of_each(shape: [usize; 3], values: Vec<f64>) -> Self {
        let n_positions = (shape[1] * shape[2]).max(1);
        let agree = values.chunks_exact(n_positions).all(|channel| channel.iter().all(|value| *value == channel[0]));
        let values = if agree {
            Biases::OfChannels(values.chunks_exact(n_positions).map(|channel| channel[0]).collect())
        } else {
            Biases::OfNeurons(values)
        };
        Self { shape, values }
    }

    /// Each value by its channel.
    fn map(&self, of: impl Fn(usize, f64) -> f64) -> Self {
        let n_positions = self.n_positions();
        let values = match &self.values {
            Biases::OfChannels(values) => {
                Biases::OfChannels(values.iter().enumerate().map(|(channel, &value)| of(channel, value)).collect())
            }
            Biases::OfNeurons(values) => {
                let value = |(neuron, &value): (usize, &f64)| of(neuron / n_positions, value);
                Biases::OfNeurons(values.iter().enumerate().map(value).collect())
            }
        };
        Self { shape: self.shape, values }
    }

    /// Some channels, in order.
    fn channels(&self, channels: &[usize]) -> Self {
        let shape = [channels.len(), self.shape[1], self.shape[2]];
        let n_positions = self.n_positions();
        let values = match &self.values {
            Biases::OfChannels(values) => Biases::OfChannels(channels.iter().map(|&channel| values[channel]).collect()),
            Biases::OfNeurons(values) => {
                let of = |&channel: &usize| values[channel * n_positions..][..n_positions].iter().copied();
                Biases::OfNeurons(channels.iter().flat_map(of).collect())
            }
        };
        Self { shape, values }
    }

    /// The same values in another shape of as many.
    fn reshaped(&self, shape: [usize; 3]) -> Self {
        if shape == self.shape { self.clone() } else { Self::of_each(shape, self.each()) }
    }
}

/// The values of all nodes.
pub(super) fn of_nodes(graph: &Graph, tensors: Tensors<'_>) -> Vec<Rest> {
    let mut rests: Vec<Rest> = Vec::with_capacity(graph.nodes().len());
    let input = Rest::zeros(graph.input());
    for node in graph.nodes() {
        let inputs: Vec<&Rest> = node
            .inputs
            .iter()
            .map(|operand| match operand {
                Operand::Input => &input,
                Operand::Node(idx) => &rests[*idx],
            })
            .collect();
        let rest = of_node(node, &inputs, tensors);
        debug_assert_eq!(rest.shape, image_of(&node.output), "{}", node.name);
        rests.push(rest);
    }
    rests
}

/// The biases of a population.
///
/// - `rests`: of all nodes
pub(super) fn biases(graph: &Graph, population: &Population, rests: &[Rest]) -> Biases<f64> {
    let stands_for = &population.stands_for;
    let rest = if stands_for.is_logit {
        rests[stands_for.node].clone()
    } else {
        match graph.nodes()[stands_for.node].inputs[0] {
            Operand::Node(idx) => rests[idx].clone(),
            Operand::Input => Rest::zeros(graph.input()),
        }
    };
    let rest = stands_for.channels.as_ref().map_or_else(|| rest.clone(), |channels| rest.channels(channels));
    let rest = rest.reshaped(population.shape);
    // Zero is added to get rid of its sign.
    rest.map(|_, value| 0.0 + stands_for.sign * value - stands_for.floor).values
}

fn of_node(node: &Node, inputs: &[&Rest], tensors: Tensors<'_>) -> Rest {
    let x = inputs[0];
    let output = image_of(&node.output);
    let own = |field: &str| tensors.of(&node.name, field);
    match &node.kind {
        LayerKind::Flatten => x.reshaped(output),
        LayerKind::Dropout { .. } => x.clone(),
        LayerKind::Dense { units } => {
            let kernel = Kernel::dense(x.shape.iter().product(), *units);
            weighted(&kernel, &x.reshaped(kernel.input), node, tensors)
        }
        LayerKind::Conv2d(conv) => weighted(&conv.on(x.shape), x, node, tensors),
        LayerKind::BatchNorm { epsilon } => {
            let factors = batch_norm_factors(&node.name, *epsilon, tensors);
            let (mean, beta) = (own("running_mean"), own("bias"));
            x.map(|channel, value| (value - mean[channel]) * factors[channel] + beta[channel])
        }
        LayerKind::Scale => {
            let (weight, bias) = (own("weight"), own("bias"));
            x.map(|channel, value| value * weight[channel] + bias[channel])
        }
        LayerKind::Normalize { mean, deviation } => {
            x.map(|channel, value| (value - mean[channel]) * deviation[channel].recip())
        }
        LayerKind::Clip { low, high } => {
            let least = if *low > 0.0 {
                *low
            } else if *high < 0.0 {
                *high
            } else {
                0.0
            };
            Rest::zeros(output).map(|_, _| least)
        }
        LayerKind::Relu | LayerKind::LeakyRelu { .. } | LayerKind::PRelu | LayerKind::Abs | LayerKind::MaxPool(_) => {
            Rest::zeros(output)
        }
        LayerKind::AvgPool(window) => mean(x, window.pool(PoolKind::Mean)),
        LayerKind::GlobalAvgPool => {
            let sides = [x.shape[1], x.shape[2]];
            mean(x, Pool::new(PoolKind::Mean, sides, sides))
        }
        LayerKind::Add => inputs[1..].iter().fold(x.clone(), |sum, more| plus(&sum, more)),
        LayerKind::Concat => side_by_side(inputs, output),
        LayerKind::Slice { start, end } => x.channels(&(*start..*end).collect::<Vec<_>>()),
        LayerKind::ChannelShuffle { groups } => x.channels(&shuffled(x.shape[0], *groups).collect::<Vec<_>>()),
        LayerKind::Residual { .. } => unreachable!("a residual block is several nodes"),
    }
}

fn weighted(kernel: &Kernel, x: &Rest, node: &Node, tensors: Tensors<'_>) -> Rest {
    let bias = tensors.get(&node.name, "bias").unwrap_or_else(|| vec![0.0; kernel.channels]);
    let output = kernel.output();
    if x.is_zero() {
        return Rest { shape: output, values: Biases::OfChannels(bias) };
    }
    let weights = tensors.of(&node.name, "weight");
    if let Biases::OfChannels(values) = &x.values
        && kernel.padding == [0; 4]
    {
        let sum = |(channel, row): (usize, &[f64])| {
            let of = |(at, weight): (usize, &f64)| weight * values[kernel.input_channel(channel, at)];
            row.iter().enumerate().map(of).sum::<f64>() + bias[channel]
        };
        let sums = weights.chunks_exact(kernel.row_len()).enumerate().map(sum).collect();
        return Rest { shape: output, values: Biases::OfChannels(sums) };
    }
    let n_positions = output[1] * output[2];
    let mut sums: Vec<f64> = bias.iter().flat_map(|&bias| std::iter::repeat_n(bias, n_positions)).collect();
    for input in 0..kernel.n_in() {
        let value = x.at(input);
        if value != 0.0 {
            kernel.for_each_synapse(input, |neuron, weight| sums[neuron] += weights[weight] * value);
        }
    }
    Rest::of_each(output, sums)
}

fn mean(x: &Rest, pool: Pool) -> Rest {
    let output = pool.output(x.shape);
    if let Biases::OfChannels(values) = &x.values
        && (pool.padding == [0; 4] || !pool.counts_padding || x.is_zero())
    {
        return Rest { shape: output, values: Biases::OfChannels(values.clone()) };
    }
    let [_, height, width] = x.shape;
    let (multiples, divisor) = (pool.multiples(x.shape), pool.divisor(x.shape) as f64);
    let [down, across] = [pool.axis(0, height), pool.axis(1, width)];
    let of = |window: usize| {
        let [_, rows, columns] = output;
        let (channel, row, column) = (window / (rows * columns), window / columns % rows, window % columns);
        let mut sum = 0.0;
        for y in (0..pool.kernel[0]).filter_map(|tap| down.input(row, tap)) {
            for x_ in (0..pool.kernel[1]).filter_map(|tap| across.input(column, tap)) {
                sum += x.at((channel * height + y) * width + x_);
            }
        }
        sum * (multiples[0][row] * multiples[1][column]) as f64 / divisor
    };
    Rest::of_each(output, (0..output.iter().product()).map(of).collect())
}

fn plus(a: &Rest, b: &Rest) -> Rest {
    if let (Biases::OfChannels(a_values), Biases::OfChannels(b_values)) = (&a.values, &b.values) {
        let sums = a_values.iter().zip(b_values).map(|(a, b)| a + b).collect();
        return Rest { shape: a.shape, values: Biases::OfChannels(sums) };
    }
    Rest::of_each(a.shape, a.each().iter().zip(b.each()).map(|(a, b)| a + b).collect())
}

fn side_by_side(inputs: &[&Rest], output: [usize; 3]) -> Rest {
    let of_channels: Option<Vec<&Vec<f64>>> = inputs
        .iter()
        .map(|rest| match &rest.values {
            Biases::OfChannels(values) => Some(values),
            Biases::OfNeurons(_) => None,
        })
        .collect();
    match of_channels {
        Some(all) => Rest { shape: output, values: Biases::OfChannels(all.into_iter().flatten().copied().collect()) },
        None => Rest::of_each(output, inputs.iter().flat_map(|rest| rest.each()).collect()),
    }
}
