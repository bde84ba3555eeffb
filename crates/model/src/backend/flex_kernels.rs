//! Convolution and average pooling on flex, with gradients of their own, through burn's extension interface.
//!
//! burn-flex 0.22 spends most of a convolution's time on copies that one thread makes, sample by sample, and computes the
//! gradient of the weights as a convolution with as many tasks as the image has channels: one for a grey image. Here a few
//! samples at a time are unfolded (im2col; Chellapilla et al. 2006) and handed to flex's own matrix product, one chunk per
//! task. The function is the same up to the rounding of f32 sums, and does not depend on the number of threads: chunks do
//! not, and their gradients are added in order.

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
        let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
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
    fn swap_samples_and_channels(&self, m: usize, mut copy: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>)) {
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
        let dw = Flex::float_matmul(dy.clone(), columns.transpose(0, 1));
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
    let dw = dw.into_iter().reduce(Flex::float_add).expect("a batch is not empty");
    let dx: Option<Vec<Vec<f32>>> = dx.into_iter().collect();
    (
        dx.map(|chunks| tensor(chunks.concat(), &dims(&x))),
        dw.reshape(Shape::from(vec![sizes.c_out, sizes.c_in, sizes.kernel, sizes.kernel])),
    )
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
                y.iter_mut().for_each(|y| *y *= factor);
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
    use burn::tensor::module::{avg_pool2d as burn_avg_pool2d, conv2d as burn_conv2d};
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
        assert_eq!(a.dims(), b.dims());
        let (a, b) = (values(a), values(b));
        let largest = b.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= TOLERANCE * largest)
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
                let y = avg_pool2d(conv2d(x.clone(), w.clone(), 1, 2), 2);
                let gradients = (y.clone() * numbers(y.dims(), 3, &device)).sum().backward();
                [y.inner(), x.grad(&gradients).unwrap(), w.grad(&gradients).unwrap()].map(values)
            })
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(7));
    }
}
