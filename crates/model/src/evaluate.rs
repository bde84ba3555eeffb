//! What a trained network computes: its definition, layer by layer, in loops over 64-bit floats.
//!
//! An oracle for tests: plain and slow, and the rules for borders are written down here without the arithmetic of
//! [`crate::kernel`]. What trains and converts networks does not call it.

use std::collections::BTreeMap;

use crate::architecture::{Conv2d, LayerKind, Window};
use crate::artefact::TensorF32;
use crate::graph::{Graph, Node, Operand};

/// Values of all nodes for one sample, in the graph's order, channel by channel and row by row.
///
/// - `tensors`: by name, as [`Graph::tensors`] lists them
/// - `input`: `[C, H, W]`
///
/// Sums are in f64, in the order of the inputs.
///
/// # Panics
/// If a tensor is missing, or the input is not of the graph's shape.
pub fn evaluate(graph: &Graph, tensors: &BTreeMap<String, TensorF32>, input: &[f64]) -> Vec<Vec<f64>> {
    assert_eq!(input.len(), graph.input().iter().product::<usize>(), "the input has the graph's shape");
    let mut values: Vec<Vec<f64>> = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        let of = |operand: &Operand| match operand {
            Operand::Input => input,
            Operand::Node(idx) => &values[*idx][..],
        };
        let inputs: Vec<&[f64]> = node.inputs.iter().map(of).collect();
        let result = output(node, graph.shape(node.inputs[0]), &inputs, tensors);
        assert_eq!(result.len(), node.output.iter().product::<usize>(), "{} has its shape", node.name);
        values.push(result);
    }
    values
}

/// - `shape`: of the first input
fn output(node: &Node, shape: &[usize], inputs: &[&[f64]], tensors: &BTreeMap<String, TensorF32>) -> Vec<f64> {
    let tensor = |field: &str| {
        let name = format!("{}.{field}", node.name);
        let tensor = tensors.get(&name).unwrap_or_else(|| panic!("the tensor `{name}` is there"));
        tensor.values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>()
    };
    let x = inputs[0];
    let area: usize = shape[1..].iter().product();
    let each = |f: &dyn Fn(f64) -> f64| x.iter().map(|&x| f(x)).collect();
    let of_channel = |f: &dyn Fn(usize, f64) -> f64| x.iter().enumerate().map(|(at, &x)| f(at / area, x)).collect();
    match &node.kind {
        LayerKind::Flatten | LayerKind::Dropout { .. } => x.to_vec(),
        LayerKind::Dense { .. } => dense(x, &tensor("weight"), &tensor("bias")),
        LayerKind::Conv2d(conv) => {
            let bias = if conv.bias { tensor("bias") } else { vec![0.0; conv.channels] };
            convolved(*conv, image(shape), image(&node.output), x, &tensor("weight"), &bias)
        }
        LayerKind::BatchNorm { epsilon } => {
            let [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(tensor);
            of_channel(&|c, x| weight[c] * (x - mean[c]) / (variance[c] + epsilon).sqrt() + bias[c])
        }
        LayerKind::Relu => each(&|x| x.max(0.0)),
        LayerKind::Clip { low, high } => each(&|x| x.max(*low).min(*high)),
        LayerKind::LeakyRelu { slope } => each(&|x| leaky(x, *slope)),
        LayerKind::PRelu => {
            let slopes = tensor("weight");
            of_channel(&|c, x| leaky(x, slopes[c]))
        }
        LayerKind::Abs => each(&f64::abs),
        LayerKind::Scale => {
            let [weight, bias] = ["weight", "bias"].map(tensor);
            of_channel(&|c, x| weight[c] * x + bias[c])
        }
        LayerKind::Normalize { mean, deviation } => of_channel(&|c, x| (x - mean[c]) / deviation[c]),
        LayerKind::AvgPool(window) => pooled(*window, image(shape), image(&node.output), x, mean),
        LayerKind::MaxPool(window) => pooled(*window, image(shape), image(&node.output), x, largest),
        LayerKind::GlobalAvgPool => x.chunks(area).map(|channel| channel.iter().sum::<f64>() / area as f64).collect(),
        LayerKind::Add => (0..x.len()).map(|at| inputs.iter().map(|input| input[at]).sum()).collect(),
        LayerKind::Concat => inputs.concat(),
        LayerKind::Slice { start, end } => x[start * area..end * area].to_vec(),
        LayerKind::ChannelShuffle { groups } => {
            // The channels as a matrix with a row for each group, read column by column.
            let per_group = shape[0] / groups;
            let channels = (0..per_group).flat_map(|column| (0..*groups).map(move |row| row * per_group + column));
            channels.flat_map(|channel| &x[channel * area..(channel + 1) * area]).copied().collect()
        }
        LayerKind::Residual { .. } => unreachable!("a residual block is several nodes"),
    }
}

fn leaky(x: f64, slope: f64) -> f64 {
    if x < 0.0 { slope * x } else { x }
}

fn image(shape: &[usize]) -> [usize; 3] {
    shape.try_into().expect("an image")
}

fn dense(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let sum = |(row, bias): (&[f64], &f64)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    weight.chunks(x.len()).zip(bias).map(sum).collect()
}

/// `y[o, i, j] = b[o] + Σ w[o, c, k, l] x[c, i·s − p + k·d, j·s − p + l·d]`, what lies outside being zero.
fn convolved(
    conv: Conv2d,
    [c_in, height, width]: [usize; 3],
    [channels, rows, columns]: [usize; 3],
    x: &[f64],
    weight: &[f64],
    bias: &[f64],
) -> Vec<f64> {
    let Conv2d { kernel: [k_h, k_w], stride, padding: [top, left, ..], dilation, groups, .. } = conv;
    let per_group = c_in / groups;
    let mut y = Vec::with_capacity(channels * rows * columns);
    for o in 0..channels {
        let first = o / (channels / groups) * per_group;
        for (i, j) in pairs(rows, columns) {
            let mut sum = bias[o];
            for c in 0..per_group {
                for (k, l) in pairs(k_h, k_w) {
                    let row = inside(i * stride[0] + k * dilation[0], top, height);
                    let column = inside(j * stride[1] + l * dilation[1], left, width);
                    if let (Some(row), Some(column)) = (row, column) {
                        let weight = weight[((o * per_group + c) * k_h + k) * k_w + l];
                        sum += weight * x[((first + c) * height + row) * width + column];
                    }
                }
            }
            y.push(sum);
        }
    }
    y
}

fn pairs(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

/// The input at a place that counts from the beginning of the padding; `None` outside.
fn inside(place: usize, padding: usize, n: usize) -> Option<usize> {
    place.checked_sub(padding).filter(|&at| at < n)
}

/// - `take`: of a window's inputs, and the number of places that it counts
fn pooled(
    window: Window,
    [channels, height, width]: [usize; 3],
    [_, rows, columns]: [usize; 3],
    x: &[f64],
    take: fn(&[f64], usize) -> f64,
) -> Vec<f64> {
    let Window { kernel, stride, padding: [top, left, bottom, right], counts_padding, .. } = window;
    let mut y = Vec::with_capacity(channels * rows * columns);
    for channel in x.chunks(height * width).take(channels) {
        for (i, j) in pairs(rows, columns) {
            let down = Places::new(i * stride[0], kernel[0], [top, bottom], height);
            let across = Places::new(j * stride[1], kernel[1], [left, right], width);
            let inputs: Vec<f64> = down
                .inputs
                .iter()
                .flat_map(|row| across.inputs.iter().map(move |column| channel[row * width + column]))
                .collect();
            let counted = if counts_padding { down.n_padded * across.n_padded } else { inputs.len() };
            y.push(take(&inputs, counted));
        }
    }
    y
}

/// What a window sees along one dimension.
struct Places {
    inputs: Vec<usize>,
    /// Inputs and padding, without what lies behind the padding.
    n_padded: usize,
}

impl Places {
    fn new(begin: usize, size: usize, padding: [usize; 2], n: usize) -> Self {
        let inputs = (begin..begin + size).filter_map(|place| inside(place, padding[0], n)).collect();
        let n_padded = (begin..begin + size).filter(|&place| place < padding[0] + n + padding[1]).count();
        Self { inputs, n_padded }
    }
}

fn mean(inputs: &[f64], counted: usize) -> f64 {
    inputs.iter().sum::<f64>() / counted as f64
}

fn largest(inputs: &[f64], _: usize) -> f64 {
    inputs.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;

    /// What one layer makes of an image, or of a vector of `[n, 1, 1]`.
    fn of_layer(kind: LayerKind, shape: [usize; 3], input: &[f64], tensors: &[(&str, &[f32])]) -> Vec<f64> {
        let mut builder = Builder::new(shape);
        builder.add("a", kind, &[Operand::Input]);
        let named = |(field, values): &(&str, &[f32])| {
            (format!("a.{field}"), TensorF32 { shape: vec![values.len()], values: values.to_vec() })
        };
        let graph = builder.finish().unwrap();
        evaluate(&graph, &tensors.iter().map(named).collect(), input).remove(0)
    }

    fn window(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4]) -> Window {
        Window { kernel, stride, padding, ceil: false, counts_padding: true }
    }

    const NINE: [f64; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];

    #[test]
    fn a_convolution_sees_zeros_outside_and_every_second_input_where_it_is_dilated() {
        let conv = Conv2d { kernel: [1, 2], padding: [0, 1, 0, 0], ..Conv2d::square(1, 1, 1, 0) };
        let weights: [(&str, &[f32]); 2] = [("weight", &[10.0, 1.0]), ("bias", &[0.5])];
        let rows = of_layer(LayerKind::Conv2d(conv), [1, 3, 3], &NINE, &weights);
        assert_eq!(rows, [1.5, 12.5, 23.5, 4.5, 45.5, 56.5, 7.5, 78.5, 89.5]);
        let dilated = Conv2d { kernel: [2, 1], stride: [1, 2], dilation: [2, 1], ..Conv2d::square(1, 1, 1, 0) };
        assert_eq!(of_layer(LayerKind::Conv2d(dilated), [1, 3, 3], &NINE, &weights), [17.5, 39.5]);
    }

    #[test]
    fn groups_of_channels_do_not_see_each_other() {
        let conv = Conv2d { groups: 2, bias: false, ..Conv2d::square(4, 1, 1, 0) };
        let weights: [(&str, &[f32]); 1] = [("weight", &[1.0, 2.0, 3.0, 4.0])];
        let found = of_layer(LayerKind::Conv2d(conv), [2, 1, 2], &[1.0, 2.0, 10.0, 20.0], &weights);
        assert_eq!(found, [1.0, 2.0, 2.0, 4.0, 30.0, 60.0, 40.0, 80.0]);
    }

    #[test]
    fn means_count_padding_or_do_not_and_never_what_lies_behind_it() {
        let pool = |window| of_layer(LayerKind::AvgPool(window), [1, 3, 3], &NINE, &[]);
        let padded = window([2, 2], [2, 2], [1, 1, 0, 0]);
        assert_eq!(pool(padded), [0.25, 1.25, 2.75, 7.0]);
        assert_eq!(pool(Window { counts_padding: false, ..padded }), [1.0, 2.5, 5.5, 7.0]);
        let ceil = Window { ceil: true, ..window([2, 2], [2, 2], [0; 4]) };
        assert_eq!(pool(ceil), [3.0, 4.5, 7.5, 9.0]);
        // One column of padding on the right counts, the one behind it does not.
        let wide = Window { ceil: true, ..window([3, 3], [3, 3], [0, 0, 0, 1]) };
        assert_eq!(pool(wide), [5.0]);
        let wider = Window { ceil: true, ..window([3, 3], [2, 2], [0, 0, 0, 1]) };
        assert_eq!(pool(wider), [5.0, 18.0 / 6.0]);
    }

    #[test]
    fn padding_is_never_the_largest() {
        let window = window([2, 3], [1, 2], [0, 1, 1, 1]);
        let minus: Vec<f64> = NINE.iter().map(|value| -value).collect();
        let found = of_layer(LayerKind::MaxPool(window), [1, 3, 3], &minus, &[]);
        assert_eq!(found, [-1.0, -2.0, -4.0, -5.0, -7.0, -8.0]);
    }

    #[test]
    fn activations_and_factors_of_channels_are_those_computed_by_hand() {
        let x = [-4.0, -1.0, 2.0, 8.0];
        let of = |kind, tensors: &[(&str, &[f32])]| of_layer(kind, [2, 1, 2], &x, tensors);
        assert_eq!(of(LayerKind::Relu, &[]), [0.0, 0.0, 2.0, 8.0]);
        assert_eq!(of(LayerKind::Clip { low: -2.0, high: 6.0 }, &[]), [-2.0, -1.0, 2.0, 6.0]);
        assert_eq!(of(LayerKind::LeakyRelu { slope: 0.5 }, &[]), [-2.0, -0.5, 2.0, 8.0]);
        assert_eq!(of(LayerKind::PRelu, &[("weight", &[0.25, 3.0])]), [-1.0, -0.25, 2.0, 8.0]);
        assert_eq!(of(LayerKind::Abs, &[]), [4.0, 1.0, 2.0, 8.0]);
        assert_eq!(of(LayerKind::Scale, &[("weight", &[2.0, -1.0]), ("bias", &[1.0, 0.0])]), [-7.0, -1.0, -2.0, -8.0]);
        let normalize = LayerKind::Normalize { mean: vec![1.0, 2.0], deviation: vec![0.5, 2.0] };
        assert_eq!(of(normalize, &[]), [-10.0, -4.0, 0.0, 3.0]);
        let norm: [(&str, &[f32]); 4] = [
            ("weight", &[2.0, 1.0]),
            ("bias", &[0.0, 1.0]),
            ("running_mean", &[1.0, 2.0]),
            ("running_var", &[3.0, 0.0]),
        ];
        assert_eq!(of(LayerKind::BatchNorm { epsilon: 1.0 }, &norm), [-5.0, -2.0, 1.0, 7.0]);
    }

    #[test]
    fn channels_are_shuffled_as_a_matrix_is_transposed() {
        let found = of_layer(LayerKind::ChannelShuffle { groups: 2 }, [6, 1, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[]);
        assert_eq!(found, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn sums_and_parts_of_several_layers_are_those_computed_by_hand() {
        let mut builder = Builder::new([2, 1, 2]);
        let part = builder.add("part", LayerKind::Slice { start: 1, end: 2 }, &[Operand::Input]);
        let abs = builder.add("abs", LayerKind::Abs, &[part]);
        let both = builder.add("both", LayerKind::Concat, &[abs, part]);
        let sum = builder.add("sum", LayerKind::Add, &[both, Operand::Input, both]);
        builder.add("mean", LayerKind::GlobalAvgPool, &[sum]);
        let values = evaluate(&builder.finish().unwrap(), &BTreeMap::new(), &[1.0, 2.0, -3.0, 4.0]);
        assert_eq!(values[2], [3.0, 4.0, -3.0, 4.0]);
        assert_eq!(values[3], [7.0, 10.0, -9.0, 12.0]);
        assert_eq!(values[4], [8.5, 1.5]);
    }

    #[test]
    fn a_row_of_weights_is_one_units() {
        let mut builder = Builder::new([1, 1, 2]);
        let flat = builder.add("flat", LayerKind::Flatten, &[Operand::Input]);
        builder.add("fc", LayerKind::Dense { units: 2 }, &[flat]);
        let tensor = |shape: &[usize], values: &[f32]| TensorF32 { shape: shape.to_vec(), values: values.to_vec() };
        let tensors = [("fc.weight", tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0])), ("fc.bias", tensor(&[2], &[0.0, 1.0]))];
        let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into();
        assert_eq!(evaluate(&builder.finish().unwrap(), &tensors, &[1.0, 10.0])[1], [21.0, 44.0]);
    }
}
