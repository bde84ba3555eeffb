//! Which neurons a spike reaches, and with which weight.
//!
//! Every connection is a convolution: a fully connected one has a 1×1 image with a channel per neuron, and a skip
//! connection without weights has a kernel of one weight per channel. Neurons and weights are numbered channel by
//! channel, row by row, as the trained network's tensors are.

use model::architecture::{Architecture, shape_text};
use model::graph::sides_text;
pub use model::kernel::Kernel;
pub use model::population::Source;
use model::population::{Pool, PoolKind};
use serde::{Deserialize, Serialize};

/// How one spike train reaches a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wiring {
    /// Where the spikes come from; in files, 0 is the network's input and k its layer k − 1.
    pub source: Source,
    /// `[C, H, W]` of the source.
    pub source_shape: [usize; 3],
    /// What happens to the spikes on the way: max pools first, then pools that add spikes up (the divisor of
    /// an average pool is in the weights).
    pub pools: Vec<Pool>,
    /// Where they go from there.
    pub kernel: Kernel,
}

/// A wiring with its weights `[C_out, C_in/groups, k_h, k_w]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection<W> {
    /// The wiring.
    pub wiring: Wiring,
    /// The weights, row-major.
    pub weights: Vec<W>,
}

impl<W> Connection<W> {
    /// Weights of an output channel.
    #[inline]
    pub fn row(&self, channel: usize) -> &[W] {
        let len = self.wiring.kernel.row_len();
        &self.weights[channel * len..][..len]
    }
}

impl Wiring {
    /// Fully connected to the whole of a source.
    #[inline]
    pub fn dense(source: Source, source_shape: [usize; 3], n_out: usize) -> Self {
        let kernel = Kernel::dense(source_shape.iter().product(), n_out);
        Self { source, source_shape, pools: Vec::new(), kernel }
    }

    /// Checks that the parts fit each other.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self) -> Result<(), String> {
        check_count(&self.source_shape, Architecture::MAX_OUTPUTS, "neurons of a source")?;
        let mut shape = self.source_shape;
        let mut adds = false;
        for pool in &self.pools {
            check_pool(pool)?;
            if pool.kind == PoolKind::Max && adds {
                return Err("a max pool of sums of spikes".to_owned());
            }
            adds |= pool.kind == PoolKind::Mean;
            let pooled = pool.output(shape);
            if pooled.contains(&0) {
                return Err(format!("a pool of {} for an input of {shape:?}", sides_text(pool.kernel)));
            }
            let [channels, rows, columns] = pooled;
            let seen = [channels, rows, columns, pool.kernel[0], pool.kernel[1]];
            check_count(&seen, MOST_SEEN, "inputs of all windows of a pool")?;
            shape = pooled;
        }
        let multiplicity = self.multiplicity();
        if multiplicity > MOST_ADDED {
            return Err(format!("pools whose windows need sums of {multiplicity} spikes, {MOST_ADDED} at most"));
        }
        self.check_kernel(shape)
    }

    /// - `shape`: of what comes out of the pools
    fn check_kernel(&self, shape: [usize; 3]) -> Result<(), String> {
        let Kernel { input, channels, size, stride, padding, dilation, groups } = self.kernel;
        let sizes = [size, stride, dilation].concat();
        if sizes.contains(&0) || [groups, channels].contains(&0) || input.contains(&0) {
            return Err("a kernel with a size of 0".to_owned());
        }
        check_sides(&[&sizes[..], &padding].concat())?;
        check_count(&input, Architecture::MAX_OUTPUTS, "inputs of a kernel")?;
        if !input[0].is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            return Err(format!("{groups} groups of {} and {channels} channels", input[0]));
        }
        let weights = [channels, input[0] / groups, size[0], size[1]];
        check_count(&weights, Architecture::MAX_WEIGHTS, "weights of a kernel")?;
        if shape.iter().product::<usize>() != self.kernel.n_in() || (input[1..] != [1, 1] && input != shape) {
            return Err(format!("a kernel for {input:?} behind {shape:?}"));
        }
        let output = self.kernel.output();
        if output.contains(&0) {
            return Err(format!("a kernel of size {} for an input of {input:?}", sides_text(size)));
        }
        check_count(&output, Architecture::MAX_OUTPUTS, "neurons of a layer")
    }

    /// The pools that let the spike through which raises the largest count.
    #[inline]
    pub fn max_pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(|pool| pool.kind == PoolKind::Max)
    }

    /// The pools that add spikes up.
    #[inline]
    pub fn sum_pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(|pool| pool.kind == PoolKind::Mean)
    }

    /// Shape of the spikes behind the max pools.
    #[inline]
    pub fn max_pooled_shape(&self) -> [usize; 3] {
        self.max_pools().fold(self.source_shape, |shape, pool| pool.output(shape))
    }

    /// Most spikes that are added up in one input of the kernel in a step, and what the weights of an average pool are divided by: the
    /// product of the pools' [`Pool::divisor`]s.
    pub fn multiplicity(&self) -> usize {
        let mut shape = self.max_pooled_shape();
        let divisors = self.sum_pools().map(|pool| {
            let divisor = pool.divisor(shape);
            shape = pool.output(shape);
            divisor
        });
        divisors.fold(1, usize::saturating_mul)
    }

    /// Channel of the source that a weight's input belongs to.
    ///
    /// - `channel`: the output channel; `position`: of the weight in the channel's row
    #[inline]
    pub fn source_channel(&self, channel: usize, position: usize) -> usize {
        // An image may have become a vector, with as many channels as the image has pixels in all.
        self.kernel.input_channel(channel, position) * self.source_shape[0] / self.kernel.input[0]
    }
}

/// Largest size, stride, padding or dilation, so that none of their sums overflows.
const LARGEST_SIDE: usize = 1 << 28;

/// Most inputs of all windows of a pool together, which are gone through one by one.
const MOST_SEEN: usize = 1 << 32;

/// Most that the pools of a connection add up: what a 32-bit float holds without a gap.
const MOST_ADDED: usize = 1 << 24;

fn check_sides(sides: &[usize]) -> Result<(), String> {
    match sides.iter().find(|side| **side > LARGEST_SIDE) {
        Some(side) => Err(format!("a window with a side of {side}, {LARGEST_SIDE} at most")),
        None => Ok(()),
    }
}

fn check_count(sizes: &[usize], most: usize, what: &str) -> Result<(), String> {
    let count = sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    match count.filter(|count| *count <= most) {
        Some(_) => Ok(()),
        None => Err(format!("{} {what}, {most} at most", shape_text(sizes))),
    }
}

fn check_pool(pool: &Pool) -> Result<(), String> {
    let Pool { kernel, stride, padding, .. } = *pool;
    if kernel.contains(&0) || stride.contains(&0) {
        return Err("a pool of size or stride 0".to_owned());
    }
    check_sides(&[&kernel[..], &stride, &padding].concat())?;
    // Else there are windows that see no input.
    if (0..4).any(|side| padding[side] >= kernel[side % 2]) {
        return Err(format!("a pool of {} with a padding of {}", sides_text(kernel), sides_text(padding)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dense_kernel_reaches_every_neuron_by_its_own_weight() {
        let mut found = Vec::new();
        Kernel::dense(5, 3).for_each_synapse(2, |neuron, weight| found.push((neuron, weight)));
        assert_eq!(found, [(0, 2), (1, 7), (2, 12)]);
    }

    #[test]
    fn fan_outs_at_borders_are_those_counted_by_hand() {
        let kernel = Kernel::square([1, 4, 4], 2, 3, 1, 1, 1);
        let fan_outs: Vec<usize> = (0..8).map(|input| kernel.fan_out(input)).collect();
        assert_eq!(fan_outs, [8, 12, 12, 8, 12, 18, 18, 12]);
        // Outputs at 0 and 2 of each dimension: an input at an odd place is seen by two of them, the last by one.
        let strided = Kernel { stride: [2; 2], ..kernel };
        let fan_outs: Vec<usize> = (0..8).map(|input| strided.fan_out(input)).collect();
        assert_eq!(fan_outs, [2, 4, 2, 2, 4, 8, 4, 4]);
        assert_eq!(Kernel { channels: 6, input: [3, 4, 4], groups: 3, ..kernel }.fan_out(16 + 5), 18);
    }

    #[test]
    fn a_flattened_channel_is_found_again() {
        let mut wiring = Wiring::dense(Source::of_layer(0), [3, 2, 2], 5);
        assert_eq!(
            (0..12).map(|i| wiring.source_channel(4, i)).collect::<Vec<_>>(),
            [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
        );
        wiring.kernel = Kernel::square([3, 2, 2], 6, 1, 1, 0, 3);
        assert_eq!((0..6).map(|channel| wiring.source_channel(channel, 0)).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let pool = |kind, size| Pool::new(kind, [size; 2], [size; 2]);
        let kernel = Kernel::square([2, 4, 4], 3, 3, 1, 1, 1);
        let cut = |padding, ceil| Pool { padding, ceil, ..pool(PoolKind::Mean, 2) };
        let good =
            Wiring { source: Source::INPUT, source_shape: [2, 8, 8], pools: vec![pool(PoolKind::Max, 2)], kernel };
        assert_eq!(good.check(), Ok(()));
        let bad = [
            Wiring { source_shape: [2, 9, 12], ..good.clone() },
            Wiring { pools: vec![pool(PoolKind::Mean, 0)], ..good.clone() },
            Wiring { pools: vec![pool(PoolKind::Mean, 2), pool(PoolKind::Max, 1)], ..good.clone() },
            Wiring { kernel: Kernel { groups: 2, ..kernel }, ..good.clone() },
            Wiring { kernel: Kernel { groups: 0, ..kernel }, ..good.clone() },
            Wiring { kernel: Kernel { size: [7; 2], ..kernel }, ..good.clone() },
            Wiring { kernel: Kernel { dilation: [1, 0], ..kernel }, ..good.clone() },
            // Sizes that would overflow.
            Wiring { kernel: Kernel { padding: [0, 0, usize::MAX, 0], ..kernel }, ..good.clone() },
            Wiring { kernel: Kernel { dilation: [usize::MAX / 2; 2], ..kernel }, ..good.clone() },
            Wiring { kernel: Kernel { size: [1 << 27; 2], padding: [1 << 27; 4], ..kernel }, ..good.clone() },
            Wiring { source_shape: [usize::MAX, 8, 8], ..good.clone() },
            Wiring { pools: vec![cut([0, 0, 0, usize::MAX], true)], ..good.clone() },
            Wiring {
                pools: vec![Pool { kernel: [1 << 20; 2], stride: [1; 2], ..cut([(1 << 20) - 1; 4], true) }],
                ..good.clone()
            },
            // A window of zeros alone, and one that does not fit.
            Wiring { pools: vec![cut([2, 0, 0, 0], false)], ..good.clone() },
            Wiring { pools: vec![pool(PoolKind::Max, 9), pool(PoolKind::Max, 1)], ..good.clone() },
        ];
        for (at, wiring) in bad.iter().enumerate() {
            assert!(wiring.check().is_err(), "{at}: {wiring:?}");
        }
    }

    #[test]
    fn average_pools_are_divided_by_what_all_their_windows_share() {
        // Rows of 2 and, at the end, of 1; columns of 3 throughout: 2 · 3, and no more for a max pool before.
        let pool = Pool { ceil: true, ..Pool::new(PoolKind::Mean, [2, 3], [2, 2]) };
        let max = Pool::new(PoolKind::Max, [2, 1], [1, 1]);
        let kernel = Kernel::dense(4 * 2, 1);
        let wiring = Wiring { source: Source::of_layer(0), source_shape: [1, 8, 5], pools: vec![max, pool], kernel };
        assert_eq!((wiring.check(), wiring.multiplicity()), (Ok(()), 6));
        // Two of them in a row, the second of one window of four rows and two columns.
        let second = Pool::new(PoolKind::Mean, [4, 2], [1, 1]);
        let wiring = Wiring { pools: vec![max, pool, second], kernel: Kernel::dense(1, 1), ..wiring };
        assert_eq!((wiring.check(), wiring.multiplicity()), (Ok(()), 48));
    }

    proptest! {
        /// The other way round: what a neuron sees, by the definition of a convolution.
        #[test]
        fn scattering_is_the_transpose_of_the_definition(
            groups in [1..4_usize, 1..3_usize, 1..3_usize], input in [1..7_usize, 1..7_usize], size in [1..5_usize, 1..5_usize],
            stride in [1..4_usize, 1..4_usize], padding in [0..4_usize, 0..4_usize, 0..4_usize, 0..4_usize],
            dilation in [1..3_usize, 1..3_usize],
        ) {
            let ([groups, in_per_group, out_per_group], [height, width]) = (groups, input);
            let input = [groups * in_per_group, height, width];
            let kernel = Kernel { input, channels: groups * out_per_group, size, stride, padding, dilation, groups };
            prop_assume!(!kernel.output().contains(&0));
            let [channels, out_height, out_width] = kernel.output();
            let mut expected = Vec::new();
            for out in 0..channels {
                for (row, column) in (0..out_height).flat_map(|row| (0..out_width).map(move |column| (row, column))) {
                    for position in 0..kernel.row_len() {
                        let (ky, kx) = (position / size[1] % size[0], position % size[1]);
                        let y = (row * stride[0] + ky * dilation[0]).checked_sub(padding[0]).filter(|y| *y < height);
                        let x = (column * stride[1] + kx * dilation[1]).checked_sub(padding[1]).filter(|x| *x < width);
                        if let Some((y, x)) = y.zip(x) {
                            let from = (kernel.input_channel(out, position) * height + y) * width + x;
                            expected.push((from, (out * out_height + row) * out_width + column, out * kernel.row_len() + position));
                        }
                    }
                }
            }
            // The last window is the last one that fits.
            let room = |d: usize| [height, width][d] + padding[d] + padding[2 + d] - dilation[d] * (size[d] - 1) - 1;
            prop_assert_eq!([out_height, out_width], [0, 1].map(|d| room(d) / stride[d] + 1));
            let mut found = Vec::new();
            for input in 0..kernel.n_in() {
                kernel.for_each_synapse(input, |neuron, weight| found.push((input, neuron, weight)));
            }
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
