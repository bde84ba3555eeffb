//! Weighted sums of pixels that are bytes, in integers: exact, and several times as fast as in 64-bit floats.
//!
//! A byte k is a pixel of k/255, or rather of the 32-bit float next to that. Where a weighted sum of the fractions is not nearly as
//! close to the middle between two steps of the grid as the sum of these differences can be, both are rounded alike: the fractions'
//! sum and the bias are a whole number of 255ths of a step, which is never closer than half of one.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::simd::{Aligned, LANES, Potential, add_products, add_products_of_bytes, list_bits};
use model::graph::sides_text;
use snn::network::{Biases, SpikingLayer};
use snn::places::by_place;
use snn::wiring::Kernel;

/// The byte of a pixel of 1.
const WHITE: u8 = u8::MAX;

/// Positions of a convolution whose sums stay in registers together.
const TOGETHER: usize = 4;

/// Of two neighbours of a padded image, for as many channels as there are lanes.
type Pair = Aligned<[[i16; 2]; LANES]>;

/// Of four neighbours, for a block of channels; neither the first two nor the last two of a channel are farther from zero together
/// than [`MOST_OF_TWO`].
type Quad = Aligned<[[[i8; 4]; LANES]; HALVES]>;

/// Registers' worth of channels of which [`Quad`]s lie side by side.
const HALVES: usize = 2;

/// What two weights may be away from zero for their products with any bytes to add up to 16 bits.
const MOST_OF_TWO: u32 = 128;

/// A layer's weights of pixels in whole steps of its channels' grids.
#[derive(Debug, Clone)]
pub(crate) struct ByteDrive {
    kernel: Kernel,
    weights: Weights,
    /// Why weights are not [`Weights::Quads`].
    not_small: Option<String>,
    /// Rows of a padded image that those of the kernel lie on at the first position.
    rows: Vec<usize>,
    /// `[C]`, or by place, in steps.
    biases: Vec<f64>,
    /// From a position's biases to the next's; 0 where they share those of the channels.
    bias_pitch: usize,
    /// `[C]`, in thresholds.
    steps: Vec<f64>,
}

/// Block of channels by block; zero beyond the last channel, and beyond the end of a row of the kernel.
#[derive(Debug, Clone)]
enum Weights {
    /// Of a fully connected layer whose weights are small enough, as those of 7 bits are.
    Quads(Vec<Quad>),
    Pairs(Vec<Pair>),
}

impl ByteDrive {
    /// # Errors
    /// Why bytes are not multiplied: what was found and what is supported, in one sentence.
    pub(crate) fn new(layer: &SpikingLayer) -> Result<Self, String> {
        let of_pixels = layer.connections().iter().filter(|connection| connection.wiring.source == snn::Source::INPUT);
        let of_pixels: Vec<_> = of_pixels.collect();
        let [connection] = of_pixels[..] else {
            return Err(format!("{} connections from the pixels; supported: one", of_pixels.len()));
        };
        let kernel = connection.wiring.kernel;
        if !connection.wiring.pools.is_empty() {
            return Err("pools between the pixels and the weights; supported: none".to_owned());
        }
        if kernel.groups != 1 {
            return Err(format!("{} groups of channels; supported: one", kernel.groups));
        }
        if kernel.dilation != [1; 2] {
            return Err(format!("a dilation of {}; supported: none", sides_text(kernel.dilation)));
        }
        let steps: Vec<f64> = layer.grids().iter().map(|grid| grid.step()).collect();
        let weights_of = |(channel, &step)| {
            let weights = connection.row(channel).iter().map(|&weight| whole(weight, step));
            weights.collect::<Option<Vec<i16>>>()
        };
        let weights: Option<Vec<Vec<i16>>> = steps.iter().enumerate().map(weights_of).collect();
        let Some(weights) = weights.filter(|weights| weights.iter().all(|weights| rounds_alike(weights))) else {
            return Err("so large are sums of weights, in steps of the grid, that those of bytes might be rounded \
                 otherwise than those of fractions: convert with convert.sum_bits = 15"
                .to_owned());
        };
        let in_steps = |channel: usize, &bias: &f32| {
            let grid = layer.grids()[channel];
            grid.holds(bias).then(|| f64::from(bias) / grid.step())
        };
        let biases = match layer.biases().map(layer.n_positions(), in_steps) {
            Biases::OfChannels(biases) => biases,
            Biases::OfNeurons(biases) => by_place(layer.shape(), &biases),
        };
        let Some(biases) = biases.into_iter().collect() else {
            return Err("biases are not whole steps of the grid".to_owned());
        };
        let bias_pitch = layer.biases().channels().map_or(kernel.channels, |_| 0);
        let (weights, not_small) = match quads(&kernel, &weights) {
            Ok(quads) => (quads, None),
            Err(reason) => (pairs(&kernel, &weights), Some(reason)),
        };
        Ok(Self { kernel, weights, not_small, rows: rows_of(&kernel), biases, bias_pitch, steps })
    }

    /// What [`super::drive::Drive::currents`] gives; `None` if a pixel is not that of a byte.
    pub(crate) fn currents(&self, samples: &[&[f32]], n_behind: usize) -> Option<Vec<Vec<f32>>> {
        let images = samples.iter().map(|pixels| self.padded(pixels)).collect::<Option<Vec<_>>>()?;
        let n_out: usize = self.kernel.output().iter().product();
        let mut currents = vec![vec![0.0; n_out + n_behind]; samples.len()];
        match &self.weights {
            Weights::Quads(quads) => {
                self.of_samples(quads.chunks_exact(self.kernel.n_in().div_ceil(4)), &images, &mut currents);
            }
            Weights::Pairs(pairs) if self.kernel.is_dense() => {
                self.of_samples(pairs.chunks_exact(self.kernel.n_in().div_ceil(2)), &images, &mut currents);
            }
            Weights::Pairs(pairs) => {
                for (image, currents) in images.iter().zip(&mut currents) {
                    Arch::new().dispatch(OfPositions { drive: self, pairs, image, currents });
                }
            }
        }
        Some(currents)
    }

    /// Why weights are not multiplied four at a time; `None` if they are.
    pub(crate) fn not_small(&self) -> Option<&str> {
        self.not_small.as_deref()
    }

    /// Currents of a fully connected layer: a block of weights serves all samples while it is in the cache.
    fn of_samples<B: Block<G, K>, G: Neighbours, const K: usize>(
        &self,
        blocks: impl Iterator<Item = B>,
        images: &[Vec<i16>],
        currents: &mut [Vec<f32>],
    ) {
        let images: Vec<(Vec<G>, Vec<u32>)> =
            images.iter().map(|image| Arch::new().dispatch(Lit::new(image))).collect();
        for (idx, block) in blocks.enumerate() {
            for ((image, lit), currents) in images.iter().zip(&mut *currents) {
                Arch::new().dispatch(OfSample::<B, G, K> { drive: self, idx, block, image, lit, currents });
            }
        }
    }

    /// Bytes with the kernel's padding around them, and one behind; `None` if they are none.
    fn padded(&self, pixels: &[f32]) -> Option<Vec<i16>> {
        let Kernel { input: [c_in, height, width], padding, .. } = self.kernel;
        assert_eq!(pixels.len(), self.kernel.n_in(), "one value per input");
        let mut bytes = vec![0; pixels.len()];
        if !Arch::new().dispatch(Bytes { pixels, bytes: &mut bytes }) {
            return None;
        }
        if padding == [0; 4] {
            bytes.push(0);
            return Some(bytes);
        }
        let [top, left, bottom, right] = padding;
        let [padded_height, padded_width] = [top + height + bottom, left + width + right];
        let mut padded = vec![0; c_in * padded_height * padded_width + 1];
        for (row, bytes) in bytes.chunks_exact(width).enumerate() {
            let first = (row / height * padded_height + row % height + top) * padded_width + left;
            padded[first..first + width].copy_from_slice(bytes);
        }
        Some(padded)
    }

    /// Adds the biases to the sums of a block and rounds as [`snn::grid::Grid::round`] does.
    ///
    /// - `currents`: of the position
    #[inline(always)]
    fn round<const K: usize>(&self, [position, block]: [usize; 2], sums: &[[i32; LANES]; K], currents: &mut [f32]) {
        let first = block * LANES * K;
        let biases = &self.biases[position * self.bias_pitch + first..];
        let channels = biases.iter().zip(&self.steps[first..]).zip(sums.as_flattened());
        for (current, ((bias, step), &sum)) in currents[first..].iter_mut().zip(channels) {
            *current = ((f64::from(sum) * f64::from(WHITE).recip() + bias).round_ties_even() * step) as f32;
        }
    }
}

/// A weight in steps of the grid; `None` if it is not that of a 16-bit integer.
fn whole(weight: f32, step: f64) -> Option<i16> {
    let steps = f64::from(weight) / step;
    let whole = steps as i16;
    (f64::from(whole) == steps).then_some(whole)
}

/// Whether what pixels differ from fractions by can never matter.
fn rounds_alike(weights: &[i16]) -> bool {
    let difference =
        |byte: u8| (f64::from(f32::from(byte) / f32::from(WHITE)) - f64::from(byte) / f64::from(WHITE)).abs();
    let largest = (0..=WHITE).map(difference).fold(0.0, f64::max);
    let sum: f64 = weights.iter().map(|&weight| f64::from(weight).abs()).sum();
    // Half a 255th, less what the 64-bit floats that are rounded are off by.
    sum * largest < 0.999 * 0.5 / f64::from(WHITE)
}

/// Values of a row of the kernel that lie side by side: all inputs of a fully connected layer.
fn row_width(kernel: &Kernel) -> usize {
    if kernel.is_dense() { kernel.n_in() } else { kernel.size[1] }
}

/// [`ByteDrive::rows`].
fn rows_of(kernel: &Kernel) -> Vec<usize> {
    let Kernel { input: [c_in, height, _], size, padding, .. } = *kernel;
    let padded_height = padding[0] + height + padding[2];
    let of_channel = |channel| (0..size[0]).map(move |y| channel * padded_height + y);
    (0..c_in).flat_map(of_channel).collect()
}

/// [`Weights::Pairs`].
///
/// - `weights`: `[C, …]`
fn pairs(kernel: &Kernel, weights: &[Vec<i16>]) -> Weights {
    let width = row_width(kernel);
    let n_rows = kernel.row_len() / width;
    let blocks = weights.chunks(LANES).flat_map(|channels| {
        let pairs = (0..n_rows).flat_map(move |row| (0..width).step_by(2).map(move |x| (row, x)));
        pairs.map(move |(row, x)| {
            let mut pair = [[0; 2]; LANES];
            for (pair, weights) in pair.iter_mut().zip(channels) {
                let of_row = &weights[row * width..(row + 1) * width];
                *pair = [of_row[x], of_row.get(x + 1).copied().unwrap_or(0)];
            }
            Aligned(pair)
        })
    });
    Weights::Pairs(blocks.collect())
}

/// [`Weights::Quads`], or why there are none.
///
/// - `weights`: `[C, …]`
fn quads(kernel: &Kernel, weights: &[Vec<i16>]) -> Result<Weights, String> {
    if !kernel.is_dense() {
        return Err("a convolution; supported: fully connected layers".to_owned());
    }
    let sum = |two: &[i16]| two.iter().map(|weight| u32::from(weight.unsigned_abs())).sum::<u32>();
    let pairs = weights.iter().flat_map(|weights| weights.chunks(2));
    let largest = pairs.max_by_key(|two| sum(two)).map_or(0, sum);
    let bytes = |weights: &Vec<i16>| weights.iter().map(|&weight| weight.try_into().ok()).collect();
    let weights = weights.iter().map(bytes).collect::<Option<Vec<Vec<i8>>>>();
    let Some(weights) = weights.filter(|_| largest <= MOST_OF_TWO) else {
        return Err(format!(
            "two neighbouring weights reach {largest} steps of the grid together, {MOST_OF_TWO} at most and 127 alone: \
             convert with convert.weight_bits = 7"
        ));
    };
    let blocks = weights.chunks(HALVES * LANES).flat_map(|channels| {
        (0..kernel.n_in()).step_by(4).map(move |first| {
            let mut quad = [[[0; 4]; LANES]; HALVES];
            for (quad, weights) in quad.as_flattened_mut().iter_mut().zip(channels) {
                quad.iter_mut().zip(&weights[first..]).for_each(|(to, &weight)| *to = weight);
            }
            Aligned(quad)
        })
    });
    Ok(Weights::Quads(blocks.collect()))
}

/// Neighbours in an image.
trait Neighbours: Copy {
    const N: usize;
    /// - `bytes`: `N` of them, or less at the end
    fn of(bytes: &[i16]) -> Self;
    fn sum(self) -> i32;
}

impl Neighbours for [i16; 2] {
    const N: usize = 2;
    #[inline(always)]
    fn of(bytes: &[i16]) -> Self {
        [bytes[0], bytes.get(1).copied().unwrap_or(0)]
    }
    #[inline(always)]
    fn sum(self) -> i32 {
        self.map(i32::from).iter().sum()
    }
}

impl Neighbours for [u8; 4] {
    const N: usize = 4;
    #[inline(always)]
    fn of(bytes: &[i16]) -> Self {
        let mut all = [0; 4];
        for k in 0..bytes.len().min(4) {
            all[k] = bytes[k] as u8;
        }
        all
    }
    #[inline(always)]
    fn sum(self) -> i32 {
        self.map(i32::from).iter().sum()
    }
}

/// Divides an image into neighbours and finds those that are not dark, at a SIMD level.
struct Lit<'a, G> {
    image: &'a [i16],
    of: PhantomData<G>,
}

impl<'a, G> Lit<'a, G> {
    fn new(image: &'a [i16]) -> Self {
        Self { image, of: PhantomData }
    }
}

impl<G: Neighbours> WithSimd for Lit<'_, G> {
    type Output = (Vec<G>, Vec<u32>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        const WORD: usize = u64::BITS as usize;
        let whole = self.image.chunks_exact(G::N);
        let last = whole.remainder();
        let mut groups = Vec::with_capacity(self.image.len() / G::N + 1);
        groups.extend(whole.map(G::of));
        if !last.is_empty() {
            groups.push(G::of(last));
        }
        let mut lit = vec![0; groups.len() + WORD + LANES];
        let mut n_lit = 0;
        for (word, groups) in groups.chunks(WORD).enumerate() {
            let mut bits = 0;
            for (k, groups) in groups.chunks(LANES).enumerate() {
                let mut sums = [0; LANES];
                for (sum, group) in sums.iter_mut().zip(groups) {
                    *sum = group.sum();
                }
                bits |= u64::from(i32::at_least(simd, &sums, &[1; LANES])) << (k * LANES);
            }
            n_lit += list_bits(simd, bits, [], WORD, [(word * WORD) as u32, 1], &mut lit[n_lit..]);
        }
        lit.truncate(n_lit);
        (groups, lit)
    }
}

/// The weights of a block of `K · LANES` channels of a fully connected layer.
trait Block<G, const K: usize>: Copy {
    /// Adds the products of some neighbours and their weights to sums.
    fn add<S: Simd>(self, simd: S, image: &[G], neighbours: usize, sums: &mut [[i32; LANES]; K]);
}

impl Block<[i16; 2], 1> for &[Pair] {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S, image: &[[i16; 2]], pair: usize, [sums]: &mut [[i32; LANES]; 1]) {
        add_products(simd, sums, &self[pair].0, image[pair]);
    }
}

impl Block<[u8; 4], HALVES> for &[Quad] {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S, image: &[[u8; 4]], quad: usize, sums: &mut [[i32; LANES]; HALVES]) {
        let (Aligned(weights), bytes) = (&self[quad], image[quad]);
        for half in 0..HALVES {
            add_products_of_bytes(simd, &mut sums[half], &weights[half], bytes);
        }
    }
}

/// Currents of a block of channels in a sample of a fully connected layer, at a SIMD level.
struct OfSample<'a, B, G, const K: usize> {
    drive: &'a ByteDrive,
    idx: usize,
    block: B,
    image: &'a [G],
    lit: &'a [u32],
    currents: &'a mut [f32],
}

impl<B: Block<G, K>, G, const K: usize> WithSimd for OfSample<'_, B, G, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { drive, idx, block, image, lit, currents } = self;
        let mut sums = [[0; LANES]; K];
        // A loop that does so little is faster unrolled.
        let (fours, rest) = lit.as_chunks::<4>();
        for four in fours {
            for k in 0..4 {
                block.add(simd, image, four[k] as usize, &mut sums);
            }
        }
        for &neighbours in rest {
            block.add(simd, image, neighbours as usize, &mut sums);
        }
        drive.round([0, idx], &sums, currents);
    }
}

/// Currents of a convolution in a sample, at a SIMD level.
struct OfPositions<'a> {
    drive: &'a ByteDrive,
    pairs: &'a [Pair],
    image: &'a [i16],
    currents: &'a mut [f32],
}

impl WithSimd for OfPositions<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { drive, pairs, image, currents } = self;
        let Kernel { input: [_, _, width], size, stride, padding, channels, .. } = drive.kernel;
        let [_, out_height, out_width] = drive.kernel.output();
        let (width, n_pairs) = (padding[1] + width + padding[3], size[1].div_ceil(2));
        let of_block = n_pairs * drive.rows.len();
        // Columns of each row of the image in which all that is not dark lies.
        let lit = |row: &[i16]| {
            let first = row.iter().position(|&byte| byte != 0).unwrap_or(width);
            first..row.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
        };
        let lit: Vec<Range<usize>> = image.chunks_exact(width).map(lit).collect();
        for (row, currents) in currents.chunks_exact_mut(out_width * channels).take(out_height).enumerate() {
            for first in (0..out_width).step_by(TOGETHER) {
                let mut columns = [0; TOGETHER];
                for (k, column) in columns.iter_mut().enumerate() {
                    *column = (first + k).min(out_width - 1) * stride[1];
                }
                let seen = columns[0]..columns[TOGETHER - 1] + size[1];
                for (block, pairs) in pairs.chunks_exact(of_block).enumerate() {
                    let mut sums = [[0; LANES]; TOGETHER];
                    for (row_of_kernel, weights) in drive.rows.iter().zip(pairs.chunks_exact(n_pairs)) {
                        let row = row_of_kernel + row * stride[0];
                        if lit[row].start >= seen.end || lit[row].end <= seen.start {
                            continue;
                        }
                        let mut values = [&[][..]; TOGETHER];
                        for (values, column) in values.iter_mut().zip(columns) {
                            *values = image[row * width + column..][..2 * n_pairs].as_chunks::<2>().0;
                        }
                        // With indices that are checked, sums would not stay in registers.
                        let [a, b, c, d] = values;
                        for ((((Aligned(weights), a), b), c), d) in weights.iter().zip(a).zip(b).zip(c).zip(d) {
                            for (sums, values) in sums.iter_mut().zip([a, b, c, d]) {
                                add_products(simd, sums, weights, *values);
                            }
                        }
                    }
                    let there = currents[first * channels..].chunks_exact_mut(channels);
                    for (position, (sums, currents)) in (row * out_width + first..).zip(sums.iter().zip(there)) {
                        drive.round([position, block], &[*sums], currents);
                    }
                }
            }
        }
    }
}

/// Finds the bytes that pixels are of, at a SIMD level, and tells whether there are such.
struct Bytes<'a> {
    pixels: &'a [f32],
    bytes: &'a mut [i16],
}

impl WithSimd for Bytes<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        // Next to it, 32-bit floats are one apart: adding it rounds, and leaves the whole number in the low bits.
        const ONES: f32 = 12_582_912.0;
        let white = f32::from(WHITE);
        let mut are_bytes = true;
        for (byte, pixel) in self.bytes.iter_mut().zip(self.pixels) {
            let moved = pixel * white + ONES;
            let nearest = moved - ONES;
            are_bytes &= nearest / white == *pixel;
            are_bytes &= nearest >= 0.0;
            are_bytes &= nearest <= white;
            *byte = moved.to_bits() as i16;
        }
        are_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snn::wiring::Wiring;

    #[test]
    fn weights_are_small_where_products_of_two_with_bytes_add_up_to_16_bits() {
        let kernel = Wiring::dense(snn::Source::INPUT, [7, 1, 1], 1).kernel;
        let most = |a: i16, b: i16| i32::from(WHITE) * (i32::from(a).abs() + i32::from(b).abs());
        let is_byte = |weight: i16| i8::try_from(weight).is_ok();
        for (a, b) in (-130..=130).flat_map(|a| (-130..=130).map(move |b| (a, b))) {
            let fit = is_byte(a) && is_byte(b) && most(a, b) <= i32::from(i16::MAX);
            let last = ([0, 0, 0, 0, -64, 64, a], is_byte(a));
            for (weights, expected) in [([a, b, 3, 0, 0, 0, 1], fit), ([90, 38, a, b, 0, 0, 0], fit), last] {
                assert_eq!(quads(&kernel, &[weights.to_vec()]).is_ok(), expected, "{weights:?}");
            }
        }
    }
}
