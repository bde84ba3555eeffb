//! Geometry of convolutions and pools: which inputs an output sees.
//!
//! Pure arithmetic on shapes, shared by the layers of a network, by the connections between populations and by the engines.

use serde::{Deserialize, Serialize};

use crate::population::PoolKind;

/// Rows or columns that windows look at along one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Number of inputs.
    pub n: usize,
    /// Number of taps of a window.
    pub size: usize,
    /// Distance between neighbouring windows.
    pub stride: usize,
    /// Zeros before the first input and behind the last.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps.
    pub dilation: usize,
}

impl Axis {
    /// Inputs from the first tap of a window to its last, both included; at least one.
    pub const fn extent(&self) -> usize {
        self.dilation * (self.size.saturating_sub(1)) + 1
    }

    /// Number of windows that lie wholly within inputs and padding; 0 if none does.
    ///
    /// `⌊(n + p₀ + p₁ − extent) / stride⌋ + 1`
    pub fn n_windows(&self) -> usize {
        let room = (self.n + self.padding[0] + self.padding[1]).checked_sub(self.extent());
        room.map_or(0, |room| room / self.stride + 1)
    }

    /// Number of windows where the last one may stick out behind the padding, as long as it begins within it: `ceil_mode` of PyTorch
    /// and ONNX.
    pub fn n_windows_rounded_up(&self) -> usize {
        let room = (self.n + self.padding[0] + self.padding[1]).checked_sub(self.extent());
        let n = room.map_or(0, |room| room.div_ceil(self.stride) + 1);
        // A window that begins behind the inputs sees nothing but zeros.
        if n > 1 && (n - 1) * self.stride >= self.n + self.padding[0] { n - 1 } else { n }
    }

    /// The window that an input belongs to by a tap; `None` if there is none.
    ///
    /// - `n_windows`: number of windows
    #[inline]
    pub fn window(&self, input: usize, tap: usize, n_windows: usize) -> Option<usize> {
        let shifted = (input + self.padding[0]).checked_sub(tap * self.dilation)?;
        Some(shifted / self.stride).filter(|&window| shifted.is_multiple_of(self.stride) && window < n_windows)
    }

    /// The input that a tap of a window sees; `None` in the padding.
    #[inline]
    pub fn input(&self, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride + tap * self.dilation).checked_sub(self.padding[0]).filter(|&input| input < self.n)
    }
}

/// Number of windows of neighbouring taps, padded alike on both sides ([`Axis::n_windows`]).
pub fn n_windows(n: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    Axis { n, size: kernel, stride, padding: [padding; 2], dilation: 1 }.n_windows()
}

/// Shape of a convolution, with zero padding.
///
/// In files, equal sizes down and across are one number, and a dilation of 1 is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// `[C, H, W]` of its input.
    pub input: [usize; 3],
    /// Number of output channels.
    pub channels: usize,
    /// Taps down and across.
    #[serde(with = "brief")]
    pub size: [usize; 2],
    /// Distance between neighbouring outputs, down and across.
    #[serde(with = "brief")]
    pub stride: [usize; 2],
    /// Rows of zeros above, columns to the left, rows below, columns to the right, in the order of ONNX's `pads`.
    #[serde(with = "brief")]
    pub padding: [usize; 4],
    /// Distance between neighbouring taps, down and across.
    #[serde(with = "brief", default = "undilated", skip_serializing_if = "is_undilated")]
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

fn undilated() -> [usize; 2] {
    [1; 2]
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_undilated(dilation: &[usize; 2]) -> bool {
    *dilation == [1; 2]
}

fn is_unpadded(padding: &[usize; 4]) -> bool {
    *padding == [0; 4]
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_true(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn yes() -> bool {
    true
}

/// Equal numbers as one, others as a list.
mod brief {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Sizes {
        All(usize),
        Each(Vec<usize>),
    }

    pub(super) fn serialize<S: Serializer, const N: usize>(sizes: &[usize; N], to: S) -> Result<S::Ok, S::Error> {
        let equal = sizes.iter().all(|size| *size == sizes[0]);
        if equal { Sizes::All(sizes[0]) } else { Sizes::Each(sizes.to_vec()) }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[usize; N], D::Error> {
        match Sizes::deserialize(from)? {
            Sizes::All(size) => Ok([size; N]),
            Sizes::Each(sizes) => {
                let n = sizes.len();
                sizes.try_into().map_err(|_| D::Error::custom(format!("{n} sizes where {N} are needed")))
            }
        }
    }
}

impl Kernel {
    /// Fully connected.
    #[inline]
    pub fn dense(n_in: usize, n_out: usize) -> Self {
        Self::square([n_in, 1, 1], n_out, 1, 1, 0, 1)
    }

    /// The same in both dimensions and on all sides.
    #[inline]
    pub fn square(
        input: [usize; 3],
        channels: usize,
        size: usize,
        stride: usize,
        padding: usize,
        groups: usize,
    ) -> Self {
        Self { input, channels, size: [size; 2], stride: [stride; 2], padding: [padding; 4], dilation: [1; 2], groups }
    }

    /// One weight for each channel: every neuron reads its counterpart.
    #[inline]
    pub fn identity(input: [usize; 3]) -> Self {
        Self::square(input, input[0], 1, 1, 0, input[0])
    }

    /// Whether it is fully connected.
    #[inline]
    pub fn is_dense(&self) -> bool {
        *self == Self::dense(self.n_in(), self.channels)
    }

    /// Whether every output sees one position, its own.
    #[inline]
    pub fn is_pointwise(&self) -> bool {
        self.size == [1; 2] && self.stride == [1; 2] && self.padding == [0; 4]
    }

    /// Side, stride and padding where they are the same in both dimensions and on all sides and there is no dilation.
    #[inline]
    pub fn as_square(&self) -> Option<[usize; 3]> {
        let Self { size, stride, padding, .. } = *self;
        (*self == Self::square(self.input, self.channels, size[0], stride[0], padding[0], self.groups))
            .then_some([size[0], stride[0], padding[0]])
    }

    /// `[n_out, n_in]` for a fully connected layer, `[C_out, C_in/groups, k_h, k_w]` for others, as in PyTorch.
    #[inline]
    pub fn weight_shape(&self) -> Vec<usize> {
        if self.is_dense() {
            vec![self.channels, self.n_in()]
        } else {
            vec![self.channels, self.input[0] / self.groups, self.size[0], self.size[1]]
        }
    }

    /// Rows (0) or columns (1).
    #[inline]
    pub fn axis(&self, dimension: usize) -> Axis {
        Axis {
            n: self.input[1 + dimension],
            size: self.size[dimension],
            stride: self.stride[dimension],
            padding: [self.padding[dimension], self.padding[2 + dimension]],
            dilation: self.dilation[dimension],
        }
    }

    /// `[C, H, W]` of its output.
    #[inline]
    pub fn output(&self) -> [usize; 3] {
        [self.channels, self.axis(0).n_windows(), self.axis(1).n_windows()]
    }

    /// Number of inputs.
    #[inline]
    pub fn n_in(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of taps.
    #[inline]
    pub fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Number of weights of an output channel.
    #[inline]
    pub fn row_len(&self) -> usize {
        self.input[0] / self.groups * self.area()
    }

    /// Input channel of a weight.
    ///
    /// - `channel`: the output channel; `position`: of the weight in the channel's row
    #[inline]
    pub fn input_channel(&self, channel: usize, position: usize) -> usize {
        let per_group = self.input[0] / self.groups;
        channel / (self.channels / self.groups) * per_group + position / self.area()
    }

    /// Calls `reach` with the index of each neuron that an input reaches and the index of the weight.
    #[inline]
    pub fn for_each_synapse(&self, input: usize, mut reach: impl FnMut(usize, usize)) {
        let [c_in, height, width] = self.input;
        let [_, out_height, out_width] = self.output();
        let [down, across] = [self.axis(0), self.axis(1)];
        let (channel, y, x) = (input / (height * width), input / width % height, input % width);
        let (in_per_group, out_per_group) = (c_in / self.groups, self.channels / self.groups);
        let (group, in_group) = (channel / in_per_group, channel % in_per_group);
        for out in group * out_per_group..(group + 1) * out_per_group {
            for ky in 0..self.size[0] {
                let Some(row) = down.window(y, ky, out_height) else { continue };
                for kx in 0..self.size[1] {
                    if let Some(column) = across.window(x, kx, out_width) {
                        let weight = ((out * in_per_group + in_group) * self.size[0] + ky) * self.size[1] + kx;
                        reach((out * out_height + row) * out_width + column, weight);
                    }
                }
            }
        }
    }

    /// Number of neurons that an input reaches; less at the borders.
    #[inline]
    pub fn fan_out(&self, input: usize) -> usize {
        let mut n = 0;
        self.for_each_synapse(input, |_, _| n += 1);
        n
    }
}

/// A pool on the way of spikes.
///
/// The mean of a window is the sum of its inputs, each of them added [`Pool::multiples`] times, divided by [`Pool::divisor`]. So windows
/// at the border, whose mean is of fewer inputs, share the divisor with the others, and it can be put into the weights that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// What it takes of a window.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Distance between neighbouring windows, down and across.
    pub stride: [usize; 2],
    /// Rows above, columns to the left, rows below, columns to the right: zeros for a mean, nothing for a maximum.
    #[serde(with = "brief", default, skip_serializing_if = "is_unpadded")]
    pub padding: [usize; 4],
    /// Whether the last window may stick out behind the padding.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ceil: bool,
    /// Whether a mean counts the padding among its inputs; it never counts what lies behind the padding.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub counts_padding: bool,
}

impl Pool {
    /// Largest divisor that windows may share: more would leave the weights behind them few steps of the exact grid.
    pub const MAX_DIVISOR: usize = 1 << 16;

    /// Windows without padding.
    pub const fn new(kind: PoolKind, kernel: [usize; 2], stride: [usize; 2]) -> Self {
        Self { kind, kernel, stride, padding: [0; 4], ceil: false, counts_padding: true }
    }

    /// Rows (0) or columns (1).
    ///
    /// - `n`: number of inputs
    #[inline]
    pub fn axis(&self, dimension: usize, n: usize) -> Axis {
        Axis {
            n,
            size: self.kernel[dimension],
            stride: self.stride[dimension],
            padding: [self.padding[dimension], self.padding[2 + dimension]],
            dilation: 1,
        }
    }

    /// Number of inputs of a window.
    #[inline]
    pub fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Shape `[C, H, W]` of what comes out of an image of a shape; zero in a dimension that the window does not fit.
    #[inline]
    pub fn output(&self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        let windows = |dimension: usize, n: usize| {
            let axis = self.axis(dimension, n);
            if self.ceil { axis.n_windows_rounded_up() } else { axis.n_windows() }
        };
        [channels, windows(0, height), windows(1, width)]
    }

    /// Number of inputs that the mean of each row (0) or column (1) of windows is of.
    fn counted(&self, dimension: usize, n: usize, n_windows: usize) -> Vec<usize> {
        let axis = self.axis(dimension, n);
        let count = |window: usize| {
            let begin = window * axis.stride;
            let (first, end) = if self.counts_padding {
                (0, axis.padding[0] + n + axis.padding[1])
            } else {
                (axis.padding[0], axis.padding[0] + n)
            };
            (begin + axis.size).min(end).saturating_sub(begin.max(first))
        };
        (0..n_windows).map(count).collect()
    }

    /// What sums of windows are divided by: the least number that the counts of all windows divide.
    ///
    /// - `shape`: `[C, H, W]` of the input
    pub fn divisor(&self, shape: [usize; 3]) -> usize {
        let [_, rows, columns] = self.output(shape);
        let of = |dimension: usize, n_windows: usize| {
            let counts = self.counted(dimension, shape[1 + dimension], n_windows);
            counts.into_iter().filter(|count| *count > 0).fold(1, least_common_multiple)
        };
        of(0, rows).saturating_mul(of(1, columns))
    }

    /// How often each input is added in each row (0) and in each column (1) of windows; the product counts for a window. All are 1
    /// for a maximum and where every window has as many inputs.
    ///
    /// - `shape`: `[C, H, W]` of the input
    pub fn multiples(&self, shape: [usize; 3]) -> [Vec<usize>; 2] {
        let [_, rows, columns] = self.output(shape);
        [(0, rows), (1, columns)].map(|(dimension, n_windows)| {
            if self.kind == PoolKind::Max {
                return vec![1; n_windows];
            }
            let counts = self.counted(dimension, shape[1 + dimension], n_windows);
            let divisor = counts.iter().copied().filter(|count| *count > 0).fold(1, least_common_multiple);
            counts.into_iter().map(|count| divisor.checked_div(count).unwrap_or(0)).collect()
        })
    }
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    (a / x).saturating_mul(b)
}
