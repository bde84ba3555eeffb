//! Convolution, batch norm and average pooling on flex, with gradients of their own, through burn's extension interface.
//!
//! burn-flex 0.22 spends most of a convolution's time on copies that one thread makes, sample by sample, and computes the
//! gradient of the weights as a convolution with as many tasks as the image has channels: one for a grey image. Here a few
//! samples at a time are unfolded (im2col; Chellapilla et al. 2006) and handed to flex's own matrix product, one chunk per
//! task. Batch norm, there some fifteen passes of one thread and several transposed copies, is two passes of all threads.
//! The functions are the same up to the rounding of f32 sums, and do not depend on the number of threads: chunks do not, and
//! their sums are added in order.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Shape, Tensor};
use rayon::prelude::*;

use model::kernel::n_windows;

/// Floats of an unfolded chunk: half a megabyte, so that it stays in a core's second-level cache.
const CHUNK_LEN: usize = 1 << 17;

/// Columns of an unfolded chunk, at least, so that the matrix product has something to work on.
const CHUNK_COLUMNS: usize = 256;

/// Operations that flex has kernels for.
#[backend_extension(Flex, Autodiff)]
trait Kernels: Backend {
    /// See [`conv2d`].
    fn quartic_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self>;

    /// See [`batch_norm`].
    fn quartic_batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// See [`batch_norm_inference`].
    fn quartic_batch_norm_inference(x: FloatTensor<Self>, of_channels: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`channel_statistics`].
    fn quartic_channel_statistics(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`avg_pool2d`].
    fn quartic_avg_pool2d(x: FloatTensor<Self>, kernel: usize) -> FloatTensor<Self>;
}

/// Convolution without bias or groups.
///
/// - `x`: `[N, C_in, H, W]`; `weight`: `[C_out, C_in, k, k]`, both on flex
/// - returns `[N, C_out, H', W']`
pub(crate) fn conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Kernels>::quartic_conv2d(x, weight, stride, padding))
}

/// Mean and (biased) variance of each channel over samples and positions, `[2, C]`; they carry no gradient.
///
/// - `x`: `[N, C, H, W]` on flex
pub(crate) fn channel_statistics(x: Tensor<4>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::quartic_channel_statistics(x.without_autodiff().into_dispatch()))
}

/// `γ (x − μ) / √(σ² + ε) + β`, per channel.
///
/// - `x`: `[N, C, H, W]`; `gamma`, `beta`: `[C]`, all on flex
/// - `statistics`: `[2, C]`, mean and σ² + ε of this very batch: the gradient takes them for functions of `x`
pub(crate) fn batch_norm(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, statistics: Tensor<2>) -> Tensor<4> {
    let [x, gamma, beta] = [x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch()];
    Tensor::from_dispatch(<Dispatch as Kernels>::quartic_batch_norm(x, gamma, beta, statistics.into_dispatch()))
}

/// `(x − μ) / σ · γ + β`, per channel: burn's batch norm with running statistics, in one pass of all threads instead of four. The
/// operations are burn's, in burn's order, and so are the values, to the last bit.
///
/// - `x`: `[N, C, H, W]` on flex, without gradients
/// - `of_channels`: `[4, C]`: μ, σ, γ, β
pub(crate) fn batch_norm_inference(x: Tensor<4>, of_channels: Tensor<2>) -> Tensor<4> {
    let (x, of_channels) = (x.into_dispatch(), of_channels.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Kernels>::quartic_batch_norm_inference(x, of_channels))
}

/// Mean of windows side by side; what is left at the right and bottom belongs to none.
///
/// - `x`: `[N, C, H, W]` on flex
/// - returns `[N, C, ⌊H/k⌋, ⌊W/k⌋]`
pub(crate) fn avg_pool2d(x: Tensor<4>, kernel: usize) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Kernels>::quartic_avg_pool2d(x.into_dispatch(), kernel))
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(shape.to_vec())), DType::F32)
}

fn dims(tensor: &FlexTensor) -> [usize; 4] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1], shape[2], shape[3]]
}

/// Row-major, without a copy where it is so already.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.layout().contiguous_offsets().is_some() { tensor } else { tensor.to_contiguous() }
}

/// # Panics
/// If the tensor has not been made [`contiguous`].
fn slice(tensor: &FlexTensor) -> &[f32] {
    let (start, end) = tensor.layout().contiguous_offsets().expect("made contiguous");
    &tensor.storage::<f32>()[start..end]
}

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    n: usize,
    c_in: usize,
    height: usize,
    width: usize,
    c_out: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    out_height: usize,
    out_width: usize,
}

impl Sizes {
    fn new(x: &FlexTensor, weight: &FlexTensor, stride: usize, padding: usize) -> Self {
        let ([n, c_in, height, width], [c_out, _, kernel, _]) = (dims(x), dims(weight));
        let out = |size: usize| n_windows(size, kernel, stride, padding);
        let (out_height, out_width) = (out(height), out(width));
        Self { n, c_in, height, width, c_out, kernel, stride, padding, out_height, out_width }
    }

    /// Samples that are unfolded together.
    fn chunk(&self) -> usize {
        let by_len = CHUNK_LEN / (self.rows() * self.positions());
        by_len.max(CHUNK_COLUMNS.div_ceil(self.positions())).clamp(1, self.n.div_ceil(2))
    }

    /// Inputs of one output.
    fn rows(&self) -> usize {
        self.c_in * self.kernel * self.kernel
    }

    /// Outputs of a channel.
    fn positions(&self) -> usize {
        self.out_height * self.out_width
    }

    fn input_len(&self) -> usize {
        self.c_in * self.height * self.width
    }

    fn output_len(&self) -> usize {
        self.c_out * self.positions()
    }

    /// Outputs along one dimension that a row or column `k` of the kernel connects with an input inside the borders.
    fn inside(&self, k: usize, size: usize, out: usize) -> std::ops::Range<usize> {
        let first = self.padding.saturating_sub(k).div_ceil(self.stride);
        let end = (size + self.padding).saturating_sub(k).div_ceil(self.stride).min(out);
        first..end.max(first)
    }

    /// Calls `visit` with each run of neighbouring outputs of a row: where it begins in `[rows, m·positions]`, where its first
    /// input lies in `[m, C_in, H, W]`, and its length.
    fn for_each_run(&self, m: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let (k, columns) = (self.kernel, m * self.positions());
        for row in 0..self.rows() {
            let (channel, ky, kx) = (row / (k * k), row / k % k, row % k);
            let xs = self.inside(kx, self.width, self.out_width);
            for sample in 0..m {
                for y in self.inside(ky, self.height, self.out_height) {
                    let from_y = y * self.stride + ky - self.padding;
                    let from_x = (xs.start * self.stride + kx).saturating_sub(self.padding);
                    let to = row * columns + sample * self.positions() + y * self.out_width + xs.start;
                    let from = ((sample * self.c_in + channel) * self.height + from_y) * self.width + from_x;
                    if !xs.is_empty() {
                        visit(to, from, xs.len());
                    }
                }
            }
        }
    }

    /// Inputs of each output as columns, `[rows, m·positions]`, of m samples.
    fn unfold(&self, x: &[f32], m: usize) -> Vec<f32> {
        let mut columns = vec![0.0; self.rows() * m * self.positions()];
        self.for_each_run(m, |to, from, len| {
            let to = &mut columns[to..to + len];
            if self.stride == 1 {
                to.copy_from_slice(&x[from..from + len]);
            } else {
                to.iter_mut().zip(x[from..].iter().step_by(self.stride)).for_each(|(to, from)| *to = *from);
            }
        });
        columns
    }

    /// The reverse: adds each column to the inputs that it was made of.
    fn fold(&self, columns: &[f32], x: &mut [f32], m: usize) {
        self.for_each_run(m, |to, from, len| {
            let values = &columns[to..to + len];
            if self.stride == 1 {
                x[from..from + len].iter_mut().zip(values).for_each(|(x, value)| *x += *value);
            } else {
                x[from..].iter_mut().step_by(self.stride).zip(values).for_each(|(x, value)| *x += *value);
            }
        });
    }

    /// Copies `[m, C_out, positions]` from or to `[C_out, m, positions]`.
    fn swap_samples_and_channels(
        &self,
        m: usize,
        mut copy: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>),
    ) {
        let range = |block: usize| block * self.positions()..(block + 1) * self.positions();
        for channel in 0..self.c_out {
            for sample in 0..m {
                copy(range(sample * self.c_out + channel), range(channel * m + sample));
            }
        }
    }
}

fn conv_forward(x: FlexTensor, weight: FlexTensor, stride: usize, padding: usize) -> FlexTensor {
    let (x, weight) = (contiguous(x), contiguous(weight));
    let sizes = Sizes::new(&x, &weight, stride, padding);
    let weight = weight.reshape(Shape::from(vec![sizes.c_out, sizes.rows()]));
    let mut y = vec![0.0; sizes.n * sizes.output_len()];
    let chunks = y.par_chunks_mut(sizes.chunk() * sizes.output_len());
    chunks.zip(slice(&x).par_chunks(sizes.chunk() * sizes.input_len())).for_each(|(y, x)| {
        let m = x.len() / sizes.input_len();
        let columns = tensor(sizes.unfold(x, m), &[sizes.rows(), m * sizes.positions()]);
        let product = Flex::float_matmul(weight.clone(), columns);
        let product = slice(&product);
        sizes.swap_samples_and_channels(m, |to, from| y[to].copy_from_slice(&product[from]));
    });
    tensor(y, &[sizes.n, sizes.c_out, sizes.out_height, sizes.out_width])
}

/// Gradients of the input, where it is asked for, and of the weights.
fn conv_backward(
    x: FlexTensor,
    weight: FlexTensor,
    dy: FlexTensor,
    (stride, padding): (usize, usize),
    input_needed: bool,
) -> (Option<FlexTensor>, FlexTensor) {
    let (x, weight, dy) = (contiguous(x), contiguous(weight), contiguous(dy));
    let sizes = Sizes::new(&x, &weight, stride, padding);
    let transposed = weight.reshape(Shape::from(vec![sizes.c_out, sizes.rows()])).transpose(0, 1);
    let inputs = slice(&x).par_chunks(sizes.chunk() * sizes.input_len());
    let of_chunk = |(x, dy): (&[f32], &[f32])| {
        let m = x.len() / sizes.input_len();
        let mut gathered = vec![0.0; dy.len()];
        sizes.swap_samples_and_channels(m, |from, to| gathered[to].copy_from_slice(&dy[from]));
        let dy = tensor(gathered, &[sizes.c_out, m * sizes.positions()]);
        let columns = tensor(sizes.unfold(x, m), &[sizes.rows(), m * sizes.positions()]);
        // The product copies what is transposed: there are fewer outputs than columns are long.
        let dw = Flex::float_matmul(columns, dy.clone().transpose(0, 1));
        let dx = input_needed.then(|| {
            let mut dx = vec![0.0; x.len()];
            sizes.fold(slice(&Flex::float_matmul(transposed.clone(), dy)), &mut dx, m);
            dx
        });
        (dx, dw)
    };
    let chunks: Vec<(Option<Vec<f32>>, FlexTensor)> =
        inputs.zip(slice(&dy).par_chunks(sizes.chunk() * sizes.output_len())).map(of_chunk).collect();
    let (dx, dw): (Vec<Option<Vec<f32>>>, Vec<FlexTensor>) = chunks.into_iter().unzip();
    let dw = dw.into_iter().reduce(Flex::float_add).expect("a batch is not empty").transpose(0, 1).to_contiguous();
    let dx: Option<Vec<Vec<f32>>> = dx.into_iter().collect();
    (
        dx.map(|chunks| tensor(chunks.concat(), &dims(&x))),
        dw.reshape(Shape::from(vec![sizes.c_out, sizes.c_in, sizes.kernel, sizes.kernel])),
    )
}

/// Sums of `f(a, b)` in lanes, which the compiler makes SIMD registers of.
fn sum_in_lanes(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [0.0_f32; LANES];
    let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in whole_a.iter().zip(whole_b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (&a, &b))| *sum += f(a, b));
    }
    let rest = rest_a.iter().zip(rest_b).map(|(&a, &b)| f(a, b));
    lanes.into_iter().chain(rest).map(f64::from).sum()
}

/// Sums per channel, over samples and positions, in f64.
///
/// - `a`, `b`: `[N, C, H, W]`
/// - `sums`: those of one sample's channel, given its index and its values in `a` and `b`
fn channel_sums<const N: usize>(
    a: &[f32],
    b: &[f32],
    [_, channels, height, width]: [usize; 4],
    sums: impl Fn(usize, &[f32], &[f32]) -> [f64; N] + Sync,
) -> Vec<[f64; N]> {
    let len = height * width;
    let of_sample = |(a, b): (&[f32], &[f32])| {
        let planes = a.chunks_exact(len).zip(b.chunks_exact(len)).enumerate();
        planes.map(|(channel, (a, b))| sums(channel, a, b)).collect::<Vec<_>>()
    };
    let per_sample: Vec<Vec<[f64; N]>> =
        a.par_chunks(channels * len).zip(b.par_chunks(channels * len)).map(of_sample).collect();
    let mut totals = vec![[0.0; N]; channels];
    for sample in &per_sample {
        for (total, sums) in totals.iter_mut().zip(sample) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }
    totals
}

fn statistics_of(x: FlexTensor) -> FlexTensor {
    let x = contiguous(x);
    let shape @ [n, channels, height, width] = dims(&x);
    let len = (n * height * width) as f64;
    let sums = channel_sums(slice(&x), slice(&x), shape, |_, x, _| [sum_in_lanes(x, x, |x, _| x)]);
    let means: Vec<f64> = sums.iter().map(|[sum]| sum / len).collect();
    // In a second pass, so that a mean far from zero does not swallow the variance.
    let squares = channel_sums(slice(&x), slice(&x), shape, |channel, x, _| {
        let mean = means[channel] as f32;
        [sum_in_lanes(x, x, |x, _| (x - mean) * (x - mean))]
    });
    let variances = squares.iter().map(|[sum]| sum / len);
    tensor(means.iter().copied().chain(variances).map(|value| value as f32).collect(), &[2, channels])
}

/// `y = scale_c · x + shift_c · other + constant_c`, plane by plane.
fn per_channel(
    x: &[f32],
    other: &[f32],
    [_, channels, height, width]: [usize; 4],
    coefficients: &[[f32; 3]],
) -> Vec<f32> {
    let len = height * width;
    let mut y = vec![0.0; x.len()];
    let inputs = x.par_chunks(channels * len).zip(other.par_chunks(channels * len));
    y.par_chunks_mut(channels * len).zip(inputs).for_each(|(y, (x, other))| {
        let planes = y.chunks_exact_mut(len).zip(x.chunks_exact(len).zip(other.chunks_exact(len)));
        for ((y, (x, other)), &[scale, shift, constant]) in planes.zip(coefficients) {
            y.iter_mut().zip(x.iter().zip(other)).for_each(|(y, (x, o))| *y = scale * x + shift * o + constant);
        }
    });
    y
}

fn norm_forward(x: FlexTensor, gamma: &FlexTensor, beta: &FlexTensor, statistics: &FlexTensor) -> FlexTensor {
    let x = contiguous(x);
    let shape = dims(&x);
    let (means, variances) = slice(statistics).split_at(shape[1]);
    let coefficients: Vec<[f32; 3]> = (0..shape[1])
        .map(|channel| {
            let scale = slice(gamma)[channel] / variances[channel].sqrt();
            [scale, 0.0, slice(beta)[channel] - scale * means[channel]]
        })
        .collect();
    tensor(per_channel(slice(&x), slice(&x), shape, &coefficients), &shape)
}

fn norm_inference(x: FlexTensor, of_channels: &FlexTensor) -> FlexTensor {
    let x = contiguous(x);
    let shape @ [_, channels, height, width] = dims(&x);
    let (of_channels, len) = (slice(of_channels), height * width);
    let [means, deviations, gammas, betas] = [0, 1, 2, 3].map(|row| &of_channels[row * channels..][..channels]);
    let mut y = vec![0.0; slice(&x).len()];
    y.par_chunks_mut(channels * len).zip(slice(&x).par_chunks(channels * len)).for_each(|(y, x)| {
        for (channel, (y, x)) in y.chunks_exact_mut(len).zip(x.chunks_exact(len)).enumerate() {
            let (mean, deviation, gamma, beta) = (means[channel], deviations[channel], gammas[channel], betas[channel]);
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) / deviation * gamma + beta);
        }
    });
    tensor(y, &shape)
}

/// Gradients of input, γ and β, with x̂ = (x − μ)/σ and m values per channel:
/// `∂x = γ/σ · (∂y − mean ∂y − x̂ · mean(∂y · x̂))`, `∂γ = Σ ∂y · x̂`, `∂β = Σ ∂y` (Ioffe & Szegedy 2015).
fn norm_backward(x: FlexTensor, gamma: &FlexTensor, statistics: &FlexTensor, dy: FlexTensor) -> [FlexTensor; 3] {
    let (x, dy) = (contiguous(x), contiguous(dy));
    let shape @ [n, channels, height, width] = dims(&x);
    let len = (n * height * width) as f64;
    let (means, variances) = slice(statistics).split_at(channels);
    let sums = channel_sums(slice(&dy), slice(&x), shape, |channel, dy, x| {
        let mean = means[channel];
        [sum_in_lanes(dy, x, |dy, _| dy), sum_in_lanes(dy, x, |dy, x| dy * (x - mean))]
    });
    let (mut d_gamma, mut coefficients) = (Vec::new(), Vec::new());
    for (channel, &[sum, product]) in sums.iter().enumerate() {
        let sigma = f64::from(variances[channel]).sqrt();
        let scale = f64::from(slice(gamma)[channel]) / sigma;
        let slope = -scale * product / (sigma * sigma * len);
        let constant = -scale * sum / len - slope * f64::from(means[channel]);
        coefficients.push([scale as f32, slope as f32, constant as f32]);
        d_gamma.push((product / sigma) as f32);
    }
    let dx = per_channel(slice(&dy), slice(&x), shape, &coefficients);
    let d_beta = sums.iter().map(|&[sum, _]| sum as f32).collect();
    [tensor(dx, &shape), tensor(d_gamma, &[channels]), tensor(d_beta, &[channels])]
}

fn pool_forward(x: FlexTensor, kernel: usize) -> FlexTensor {
    let x = contiguous(x);
    let [n, channels, height, width] = dims(&x);
    let (rows, columns) = (height / kernel, width / kernel);
    let factor = 1.0 / (kernel * kernel) as f32;
    let mut y = vec![0.0; n * channels * rows * columns];
    let images = slice(&x).par_chunks(channels * height * width);
    y.par_chunks_mut(channels * rows * columns).zip(images).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(rows * columns).zip(x.chunks_exact(height * width)) {
            for (y, band) in y.chunks_exact_mut(columns).zip(x.chunks_exact(kernel * width)) {
                for row in band.chunks_exact(width) {
                    y.iter_mut().zip(row.chunks_exact(kernel)).for_each(|(y, x)| *y += x.iter().sum::<f32>());
                }
                for y in y {
                    *y *= factor;
                }
            }
        }
    });
    tensor(y, &[n, channels, rows, columns])
}

fn pool_backward(dy: FlexTensor, shape: [usize; 4], kernel: usize) -> FlexTensor {
    let dy = contiguous(dy);
    let [n, channels, height, width] = shape;
    let (rows, columns) = (height / kernel, width / kernel);
    let factor = 1.0 / (kernel * kernel) as f32;
    let mut dx = vec![0.0; n * channels * height * width];
    let gradients = slice(&dy).par_chunks(channels * rows * columns);
    dx.par_chunks_mut(channels * height * width).zip(gradients).for_each(|(dx, dy)| {
        for (dx, dy) in dx.chunks_exact_mut(height * width).zip(dy.chunks_exact(rows * columns)) {
            for (band, dy) in dx.chunks_exact_mut(kernel * width).zip(dy.chunks_exact(columns)) {
                for row in band.chunks_exact_mut(width) {
                    row.chunks_exact_mut(kernel).zip(dy).for_each(|(dx, dy)| dx.fill(factor * dy));
                }
            }
        }
    });
    tensor(dx, &shape)
}

impl Kernels for Flex {
    fn quartic_conv2d(x: FlexTensor, weight: FlexTensor, stride: usize, padding: usize) -> FlexTensor {
        conv_forward(x, weight, stride, padding)
    }

    fn quartic_batch_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, statistics: FlexTensor) -> FlexTensor {
        norm_forward(x, &contiguous(gamma), &contiguous(beta), &contiguous(statistics))
    }

    fn quartic_batch_norm_inference(x: FlexTensor, of_channels: FlexTensor) -> FlexTensor {
        norm_inference(x, &contiguous(of_channels))
    }

    fn quartic_channel_statistics(x: FlexTensor) -> FlexTensor {
        statistics_of(x)
    }

    fn quartic_avg_pool2d(x: FlexTensor, kernel: usize) -> FlexTensor {
        pool_forward(x, kernel)
    }
}

/// Gradient of a convolution; keeps input and weights.
#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 2> for ConvBackward {
    type State = (FlexTensor, FlexTensor, (usize, usize));

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node] = ops.parents;
        let dy = gradients.consume::<Flex>(&ops.node);
        let (x, weight, geometry) = ops.state;
        let (dx, dw) = conv_backward(x, weight, dy, geometry, x_node.is_some());
        if let Some((node, dx)) = x_node.zip(dx) {
            gradients.register::<Flex>(node.id, dx);
        }
        if let Some(node) = weight_node {
            gradients.register::<Flex>(node.id, dw);
        }
    }
}

/// Gradient of a batch norm; keeps input, γ and statistics.
#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let (x, gamma, statistics) = ops.state;
        for (node, gradient) in ops.parents.into_iter().zip(norm_backward(x, &gamma, &statistics, dy)) {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// Gradient of an average pool; keeps the input's shape.
#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 1> for PoolBackward {
    type State = ([usize; 4], usize);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let dy = gradients.consume::<Flex>(&ops.node);
        let (shape, kernel) = ops.state;
        if let Some(node) = node {
            gradients.register::<Flex>(node.id, pool_backward(dy, shape, kernel));
        }
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn quartic_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        match ConvBackward.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = (x.clone(), weight.clone(), (stride, padding));
                prepared.finish(state, conv_forward(x, weight, stride, padding))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(conv_forward(x, weight, stride, padding)),
        }
    }

    fn quartic_batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (gamma, gamma_node), (beta, beta_node)) =
            (x.into_parts(), gamma.into_parts(), beta.into_parts());
        let [gamma, beta, statistics] = [gamma, beta, statistics.into_parts().0].map(contiguous);
        match NormBackward.prepare::<C>([x_node, gamma_node, beta_node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let y = norm_forward(x.clone(), &gamma, &beta, &statistics);
                prepared.finish((x, gamma, statistics), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(norm_forward(x, &gamma, &beta, &statistics)),
        }
    }

    fn quartic_batch_norm_inference(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("a network that is not trained has no gradients")
    }

    fn quartic_channel_statistics(_: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("statistics carry no gradient: they are taken of tensors without one")
    }

    fn quartic_avg_pool2d(x: FloatTensor<Self>, kernel: usize) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let shape = dims(&x);
        match PoolBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((shape, kernel), pool_forward(x, kernel)),
            OpsKind::UnTracked(prepared) => prepared.finish(pool_forward(x, kernel)),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::{avg_pool2d as burn_avg_pool2d, batch_norm_train, conv2d as burn_conv2d};
    use burn::tensor::ops::{AvgPoolOptions, ConvOptions};
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;
    use crate::network::values;

    /// Sums of up to a few hundred f32 products in another order, relative to the largest result.
    const TOLERANCE: f32 = 2e-5;

    /// Numbers in [−1, 1] that repeat late.
    fn numbers(shape: [usize; 4], seed: usize, device: &Device) -> Tensor<4> {
        let n = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn close(a: Tensor<4>, b: Tensor<4>) -> bool {
        close_within(TOLERANCE, a, b)
    }

    fn close_within(tolerance: f32, a: Tensor<4>, b: Tensor<4>) -> bool {
        assert_eq!(a.dims(), b.dims());
        let (a, b) = (values(a), values(b));
        let largest = b.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= tolerance * largest)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Output and both gradients against burn's own, the upstream gradient being different everywhere.
        #[test]
        fn convolutions_are_burn_s(
            n in 1..6_usize, c_in in 1..5_usize, c_out in 1..6_usize, height in 1..12_usize, width in 1..12_usize,
            kernel in 1..6_usize, stride in 1..4_usize, padding in 0..4_usize,
        ) {
            prop_assume!(kernel <= height.min(width) + 2 * padding);
            let device = Device::flex().autodiff();
            let run = |own: bool| {
                let x = numbers([n, c_in, height, width], 1, &device).require_grad();
                let w = numbers([c_out, c_in, kernel, kernel], 2, &device).require_grad();
                let y = if own {
                    conv2d(x.clone(), w.clone(), stride, padding)
                } else {
                    burn_conv2d(x.clone(), w.clone(), None, ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1))
                };
                let upstream = numbers(y.dims(), 3, &device);
                let gradients = (y.clone() * upstream).sum().backward();
                (y.inner(), x.grad(&gradients).unwrap(), w.grad(&gradients).unwrap())
            };
            let ((y, dx, dw), (y2, dx2, dw2)) = (run(true), run(false));
            prop_assert!(close(y, y2) && close(dx, dx2) && close(dw, dw2));
        }

        #[test]
        fn batch_norms_are_burn_s(
            n in 1..5_usize, channels in 1..5_usize, height in 1..9_usize, width in 2..9_usize, offset in -50.0..50.0_f32,
        ) {
            // The first few numbers lie close together: beside an offset, no digit of their differences is left to divide by.
            prop_assume!(n * height * width >= 16);
            let device = Device::flex().autodiff();
            let per_channel = |seed: usize| numbers([channels, 1, 1, 1], seed, &device).reshape([channels]);
            let run = |own: bool| {
                let x = (numbers([n, channels, height, width], 1, &device) + offset).require_grad();
                let (gamma, beta) = ((per_channel(2) + 1.5).require_grad(), per_channel(3).require_grad());
                let (y, mean, variance) = if own {
                    let statistics = channel_statistics(x.clone());
                    let mean = statistics.clone().slice([0..1, 0..channels]).reshape([channels]);
                    let variance = statistics.slice([1..2, 0..channels]).reshape([channels]);
                    let with_epsilon = Tensor::stack(vec![mean.clone(), variance.clone() + 1e-5], 0);
                    (batch_norm(x.clone(), gamma.clone(), beta.clone(), with_epsilon), mean, variance)
                } else {
                    let result = batch_norm_train(x.clone(), gamma.clone(), beta.clone(), 1e-5);
                    (result.output, result.mean.inner(), result.variance.inner())
                };
                let upstream = numbers(y.dims(), 4, &device);
                let gradients = (y.clone() * upstream).sum().backward();
                let whole = |x: Tensor<1>| x.reshape([1, 1, 1, channels]);
                [y.inner(), x.grad(&gradients).unwrap(), whole(gamma.grad(&gradients).unwrap()),
                    whole(beta.grad(&gradients).unwrap()), whole(mean), whole(variance)]
            };
            for (found, expected) in run(true).into_iter().zip(run(false)) {
                // An offset of 50 leaves f32 two digits less of what is around it.
                prop_assert!(close_within(50.0 * TOLERANCE, found, expected));
            }
        }

        #[test]
        fn average_pools_are_burn_s(
            n in 1..4_usize, channels in 1..4_usize, height in 1..12_usize, width in 1..12_usize, kernel in 1..5_usize,
        ) {
            prop_assume!(kernel <= height.min(width));
            let device = Device::flex().autodiff();
            let run = |own: bool| {
                let x = numbers([n, channels, height, width], 1, &device).require_grad();
                let y = if own {
                    avg_pool2d(x.clone(), kernel)
                } else {
                    burn_avg_pool2d(x.clone(), AvgPoolOptions::new([kernel; 2]))
                };
                let upstream = numbers(y.dims(), 3, &device);
                let gradients = (y.clone() * upstream).sum().backward();
                (y.inner(), x.grad(&gradients).unwrap())
            };
            let ((y, dx), (y2, dx2)) = (run(true), run(false));
            prop_assert!(close(y, y2) && close(dx, dx2));
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let run = |n_threads: usize| {
            let device = Device::flex().autodiff();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| {
                let x = numbers([16, 3, 20, 20], 1, &device).require_grad();
                let w = numbers([8, 3, 5, 5], 2, &device).require_grad();
                let y = conv2d(x.clone(), w.clone(), 1, 2);
                let ones = Tensor::ones([8], &device);
                let y = avg_pool2d(batch_norm(y.clone(), ones.clone(), ones, channel_statistics(y)), 2);
                let gradients = (y.clone() * numbers(y.dims(), 3, &device)).sum().backward();
                [y.inner(), x.grad(&gradients).unwrap(), w.grad(&gradients).unwrap()].map(values)
            })
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(7));
    }
}
