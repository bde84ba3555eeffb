//! Weighted sums of pixels that are bytes, in integers: exact, and several times as fast as in 64-bit floats.
//!
//! A byte k is a pixel of k/255, or rather of the 32-bit float next to that. Where a weighted sum of the fractions is not nearly as
//! close to the middle between two steps of the grid as the sum of these differences can be, both are rounded alike: the fractions'
//! sum and the bias are a whole number of 255ths of a step, which is never closer than half of one.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use pulp::{Arch, Simd, WithSimd};

use crate::network::SpikingLayer;
use crate::simd::{Aligned, LANES, add_products};
use crate::wiring::Kernel;

/// The byte of a pixel of 1.
const WHITE: u8 = u8::MAX;

/// Samples of a fully connected layer, or positions of a convolution, whose sums stay in registers together.
const TOGETHER: usize = 4;

/// A layer's weights of pixels in whole steps of its channels' grids.
#[derive(Debug, Clone)]
pub(crate) struct ByteDrive {
    kernel: Kernel,
    /// Of two neighbours of a padded image each, `[C/LANES, pairs, LANES]`; zero beyond the last channel, and beyond the end of a row
    /// of the kernel.
    weights: Vec<Aligned<[[i16; 2]; LANES]>>,
    /// Where the rows of the kernel begin in a padded image.
    rows: Vec<usize>,
    /// `[C]`, in steps.
    biases: Vec<f64>,
    /// `[C]`, in thresholds.
    steps: Vec<f64>,
}

/// What is multiplied with the weights of all channels: a few samples of a fully connected layer, without the pairs in which all are
/// dark.
struct Lit {
    pairs: Vec<u32>,
    values: Vec<[[i16; 2]; TOGETHER]>,
}

impl ByteDrive {
    /// `None` if the weights are no 16-bit integers of the grids' steps, or if the pixels get to the layer in other ways too.
    pub(crate) fn new(layer: &SpikingLayer) -> Option<Self> {
        let mut of_pixels = layer.connections().iter().filter(|connection| connection.wiring.source == 0);
        let connection = of_pixels.next().filter(|connection| {
            let wiring = &connection.wiring;
            wiring.pools.is_empty() && wiring.kernel.groups == 1
        })?;
        if of_pixels.next().is_some() {
            return None;
        }
        let steps: Vec<f64> = layer.grids().iter().map(|grid| grid.step()).collect();
        let weights_of = |(channel, &step)| {
            let weights = connection.row(channel).iter().map(|&weight| whole(weight, step));
            weights.collect::<Option<Vec<i16>>>().filter(|weights| rounds_alike(weights))
        };
        let weights: Vec<Vec<i16>> = steps.iter().enumerate().map(weights_of).collect::<Option<_>>()?;
        let biases = layer.biases().iter().zip(layer.grids());
        let biases = biases.map(|(&bias, grid)| grid.holds(bias).then(|| f64::from(bias) / grid.step()));
        Some(Self {
            kernel: connection.wiring.kernel,
            weights: packed(&connection.wiring.kernel, &weights),
            rows: rows_of(&connection.wiring.kernel),
            biases: biases.collect::<Option<_>>()?,
            steps,
        })
    }

    /// What [`super::drive::Drive::currents`] gives; `None` if a pixel is not that of a byte.
    pub(crate) fn currents(&self, samples: &[&[f32]], n_behind: usize) -> Option<Vec<Vec<f32>>> {
        let images = samples.iter().map(|pixels| self.padded(pixels)).collect::<Option<Vec<_>>>()?;
        let n_out: usize = self.kernel.output().iter().product();
        let mut currents = vec![vec![0.0; n_out + n_behind]; samples.len()];
        if self.kernel.is_dense() {
            let groups: Vec<Lit> = images.chunks(TOGETHER).map(Lit::new).collect();
            for block in 0..self.n_blocks() {
                for (group, currents) in groups.iter().zip(currents.chunks_mut(TOGETHER)) {
                    Arch::new().dispatch(OfSamples { drive: self, block, group, currents });
                }
            }
        } else {
            for (image, currents) in images.iter().zip(&mut currents) {
                Arch::new().dispatch(OfPositions { drive: self, image, currents });
            }
        }
        Some(currents)
    }

    fn n_blocks(&self) -> usize {
        self.biases.len().div_ceil(LANES)
    }

    /// Weights of a block of channels, by pair.
    fn block(&self, block: usize) -> &[Aligned<[[i16; 2]; LANES]>] {
        let n_pairs = self.weights.len() / self.n_blocks();
        &self.weights[block * n_pairs..][..n_pairs]
    }

    /// Bytes with the kernel's padding around them, and one behind; `None` if they are none.
    fn padded(&self, pixels: &[f32]) -> Option<Vec<i16>> {
        let Kernel { input: [c_in, height, width], padding, .. } = self.kernel;
        assert_eq!(pixels.len(), self.kernel.n_in(), "one value per input");
        let mut bytes = vec![0; pixels.len()];
        if !Arch::new().dispatch(Bytes { pixels, bytes: &mut bytes }) {
            return None;
        }
        if padding == 0 {
            bytes.push(0);
            return Some(bytes);
        }
        let [padded_height, padded_width] = [height, width].map(|n| n + 2 * padding);
        let mut padded = vec![0; c_in * padded_height * padded_width + 1];
        for (row, bytes) in bytes.chunks_exact(width).enumerate() {
            let first = (row / height * padded_height + row % height + padding) * padded_width + padding;
            padded[first..first + width].copy_from_slice(bytes);
        }
        Some(padded)
    }

    /// Adds the biases to the sums of a block and rounds as [`crate::grid::Grid::round`] does.
    ///
    /// - `currents`: of the position
    #[inline(always)]
    fn round(&self, block: usize, sums: &[i32; LANES], currents: &mut [f32]) {
        let first = block * LANES;
        let channels = self.biases[first..].iter().zip(&self.steps[first..]).zip(sums);
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
    if kernel.is_dense() { kernel.n_in() } else { kernel.size }
}

/// [`ByteDrive::rows`].
fn rows_of(kernel: &Kernel) -> Vec<usize> {
    let Kernel { input: [c_in, height, width], size, padding, .. } = *kernel;
    let [height, width] = [height, width].map(|n| n + 2 * padding);
    let of_channel = |channel| (0..size).map(move |y| (channel * height + y) * width);
    if kernel.is_dense() { vec![0] } else { (0..c_in).flat_map(of_channel).collect() }
}

/// [`ByteDrive::weights`].
///
/// - `weights`: `[C, …]`
fn packed(kernel: &Kernel, weights: &[Vec<i16>]) -> Vec<Aligned<[[i16; 2]; LANES]>> {
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
    blocks.collect()
}

impl Lit {
    /// - `images`: up to `TOGETHER`
    fn new(images: &[Vec<i16>]) -> Self {
        let all: [&[i16]; TOGETHER] = std::array::from_fn(|k| images[k.min(images.len() - 1)].as_slice());
        let all = all.map(|image| image.as_chunks::<2>().0);
        let n_pairs = all[0].len();
        let all = all.map(|image| &image[..n_pairs]);
        // Written in any case, and written over where it is dark.
        let (mut pairs, mut values) = (vec![0; n_pairs + 1], vec![[[0; 2]; TOGETHER]; n_pairs + 1]);
        let mut n_lit = 0;
        for pair in 0..n_pairs {
            let of_all = all.map(|image| image[pair]);
            pairs[n_lit] = pair as u32;
            values[n_lit] = of_all;
            n_lit += usize::from(of_all != [[0; 2]; TOGETHER]);
        }
        pairs.truncate(n_lit);
        values.truncate(n_lit);
        Self { pairs, values }
    }
}

/// Currents of a block of channels in a few samples of a fully connected layer, at a SIMD level.
struct OfSamples<'a> {
    drive: &'a ByteDrive,
    block: usize,
    group: &'a Lit,
    currents: &'a mut [Vec<f32>],
}

impl WithSimd for OfSamples<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { drive, block, group: Lit { pairs, values }, currents } = self;
        let mut sums = [[0; LANES]; TOGETHER];
        let weights = drive.block(block);
        for (&pair, values) in pairs.iter().zip(values) {
            let Aligned(weights) = &weights[pair as usize];
            for (sums, &values) in sums.iter_mut().zip(values) {
                add_products(simd, sums, weights, values);
            }
        }
        for (sums, currents) in sums.iter().zip(currents) {
            drive.round(block, sums, currents);
        }
    }
}

/// Currents of a convolution in a sample, at a SIMD level.
struct OfPositions<'a> {
    drive: &'a ByteDrive,
    image: &'a [i16],
    currents: &'a mut [f32],
}

impl WithSimd for OfPositions<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { drive, image, currents } = self;
        let Kernel { input: [_, _, width], stride, padding, channels, .. } = drive.kernel;
        let [_, out_height, out_width] = drive.kernel.output();
        let (n_positions, n_pairs) = (out_height * out_width, row_width(&drive.kernel).div_ceil(2));
        for first in (0..n_positions).step_by(TOGETHER) {
            let mut bases = [0; TOGETHER];
            for (k, base) in bases.iter_mut().enumerate() {
                let position = (first + k).min(n_positions - 1);
                *base = (position / out_width * (width + 2 * padding) + position % out_width) * stride;
            }
            for block in 0..drive.n_blocks() {
                let mut sums = [[0; LANES]; TOGETHER];
                for (first, weights) in drive.rows.iter().zip(drive.block(block).chunks_exact(n_pairs)) {
                    let mut values = [&[][..]; TOGETHER];
                    for (values, base) in values.iter_mut().zip(bases) {
                        *values = &image[base + first..][..2 * n_pairs].as_chunks::<2>().0[..weights.len()];
                    }
                    for (pair, Aligned(weights)) in weights.iter().enumerate() {
                        for (sums, values) in sums.iter_mut().zip(values) {
                            add_products(simd, sums, weights, values[pair]);
                        }
                    }
                }
                let there = currents[first * channels..].chunks_exact_mut(channels).take(n_positions - first);
                for (sums, currents) in sums.iter().zip(there) {
                    drive.round(block, sums, currents);
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
