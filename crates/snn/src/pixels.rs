//! Weighted sums of pixels that are bytes, in integers: exact, and several times as fast as in 64-bit floats.
//!
//! A byte k is a pixel of k/255, or rather of the 32-bit float next to that. Where a weighted sum of the fractions is not nearly as
//! close to the middle between two steps of the grid as the sum of these differences can be, both are rounded alike: the fractions'
//! sum and the bias are a whole number of 255ths of a step, which is never closer than half of one.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::network::SpikingLayer;
use crate::simd::{Aligned, Factor, LANES, Potential, add_products, list_bits};
use crate::wiring::Kernel;

/// The byte of a pixel of 1.
const WHITE: u8 = u8::MAX;

/// Positions of a convolution whose sums stay in registers together.
const TOGETHER: usize = 4;

/// Weights of two neighbours of a padded image, for `K` times as many channels as there are lanes.
type Pair<N, const K: usize> = Aligned<[[[N; 2]; LANES]; K]>;

/// A layer's weights of pixels in whole steps of its channels' grids.
#[derive(Debug, Clone)]
pub(crate) struct ByteDrive {
    kernel: Kernel,
    weights: Weights,
    /// Rows of a padded image that those of the kernel lie on at the first position.
    rows: Vec<usize>,
    /// `[C]`, in steps.
    biases: Vec<f64>,
    /// `[C]`, in thresholds.
    steps: Vec<f64>,
}

/// Block of channels by block, pair by pair; zero beyond the last channel, and beyond the end of a row of the kernel.
#[derive(Debug, Clone)]
enum Weights {
    /// Of a fully connected layer, if all are bytes: more of them stay in the first-level cache.
    Bytes(Vec<Pair<i8, 2>>),
    Shorts(Vec<Pair<i16, 1>>),
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
        let bytes = |weights: &Vec<i16>| weights.iter().map(|&weight| weight.try_into().ok()).collect();
        let bytes: Option<Vec<Vec<i8>>> = weights.iter().map(bytes).collect();
        let bytes = bytes.filter(|_| connection.wiring.kernel.is_dense());
        Some(Self {
            kernel: connection.wiring.kernel,
            weights: match bytes {
                Some(bytes) => Weights::Bytes(packed(&connection.wiring.kernel, &bytes)),
                None => Weights::Shorts(packed(&connection.wiring.kernel, &weights)),
            },
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
        match &self.weights {
            Weights::Bytes(pairs) => self.of_samples(pairs, &images, &mut currents),
            Weights::Shorts(pairs) if self.kernel.is_dense() => self.of_samples(pairs, &images, &mut currents),
            Weights::Shorts(pairs) => {
                for (image, currents) in images.iter().zip(&mut currents) {
                    Arch::new().dispatch(OfPositions { drive: self, pairs, image, currents });
                }
            }
        }
        Some(currents)
    }

    /// Currents of a fully connected layer: a block of weights serves all samples while it is in the cache.
    fn of_samples<N: Factor, const K: usize>(
        &self,
        pairs: &[Pair<N, K>],
        images: &[Vec<i16>],
        currents: &mut [Vec<f32>],
    ) {
        let lit: Vec<Vec<u32>> = images.iter().map(|image| Arch::new().dispatch(Lit(image))).collect();
        for (block, pairs) in pairs.chunks_exact(self.kernel.n_in().div_ceil(2)).enumerate() {
            for ((image, lit), currents) in images.iter().zip(&lit).zip(&mut *currents) {
                Arch::new().dispatch(OfSample { drive: self, block, pairs, image, lit, currents });
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
    fn round<const K: usize>(&self, block: usize, sums: &[[i32; LANES]; K], currents: &mut [f32]) {
        let first = block * LANES * K;
        let channels = self.biases[first..].iter().zip(&self.steps[first..]).zip(sums.as_flattened());
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
    let Kernel { input: [c_in, height, _], size, padding, .. } = *kernel;
    let of_channel = |channel| (0..size).map(move |y| channel * (height + 2 * padding) + y);
    (0..c_in).flat_map(of_channel).collect()
}

/// [`Weights`].
///
/// - `weights`: `[C, …]`
fn packed<N: Factor, const K: usize>(kernel: &Kernel, weights: &[Vec<N>]) -> Vec<Pair<N, K>> {
    let width = row_width(kernel);
    let n_rows = kernel.row_len() / width;
    let blocks = weights.chunks(K * LANES).flat_map(|channels| {
        let pairs = (0..n_rows).flat_map(move |row| (0..width).step_by(2).map(move |x| (row, x)));
        pairs.map(move |(row, x)| {
            let mut pair = [[[N::default(); 2]; LANES]; K];
            for (pair, weights) in pair.as_flattened_mut().iter_mut().zip(channels) {
                let of_row = &weights[row * width..(row + 1) * width];
                *pair = [of_row[x], of_row.get(x + 1).copied().unwrap_or_default()];
            }
            Aligned(pair)
        })
    });
    blocks.collect()
}

/// Finds the pairs of an image that are not dark, at a SIMD level.
struct Lit<'a>(&'a [i16]);

impl WithSimd for Lit<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<u32> {
        const WORD: usize = u64::BITS as usize;
        let pairs = self.0.as_chunks::<2>().0;
        let mut lit = vec![0; pairs.len() + WORD + LANES];
        let mut n_lit = 0;
        for (word, pairs) in pairs.chunks(WORD).enumerate() {
            let mut bits = 0;
            for (k, pairs) in pairs.chunks(LANES).enumerate() {
                let mut lanes = [0; LANES];
                for (lane, &[a, b]) in lanes.iter_mut().zip(pairs) {
                    *lane = i32::from(a) + i32::from(b);
                }
                bits |= u64::from(i32::at_least(simd, &lanes, &[1; LANES])) << (k * LANES);
            }
            n_lit += list_bits(simd, bits, [], WORD, [(word * WORD) as u32, 1], &mut lit[n_lit..]);
        }
        lit.truncate(n_lit);
        lit
    }
}

/// Currents of a block of channels in a sample of a fully connected layer, at a SIMD level.
struct OfSample<'a, N, const K: usize> {
    drive: &'a ByteDrive,
    block: usize,
    /// Of the block.
    pairs: &'a [Pair<N, K>],
    image: &'a [i16],
    lit: &'a [u32],
    currents: &'a mut [f32],
}

impl<N: Factor, const K: usize> WithSimd for OfSample<'_, N, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { drive, block, pairs, image, lit, currents } = self;
        let mut sums = [[0; LANES]; K];
        let image = &image.as_chunks::<2>().0[..pairs.len()];
        for &pair in lit {
            let (Aligned(weights), numbers) = (&pairs[pair as usize], image[pair as usize]);
            for k in 0..K {
                add_products(simd, &mut sums[k], &N::widened(simd, &weights[k]), numbers);
            }
        }
        drive.round(block, &sums, currents);
    }
}

/// Currents of a convolution in a sample, at a SIMD level.
struct OfPositions<'a> {
    drive: &'a ByteDrive,
    pairs: &'a [Pair<i16, 1>],
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
        let (width, n_pairs) = (width + 2 * padding, size.div_ceil(2));
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
                    *column = (first + k).min(out_width - 1) * stride;
                }
                let seen = columns[0]..columns[TOGETHER - 1] + size;
                for (block, pairs) in pairs.chunks_exact(of_block).enumerate() {
                    let mut sums = [[[0; LANES]]; TOGETHER];
                    for (row_of_kernel, weights) in drive.rows.iter().zip(pairs.chunks_exact(n_pairs)) {
                        let row = row_of_kernel + row * stride;
                        if lit[row].start >= seen.end || lit[row].end <= seen.start {
                            continue;
                        }
                        let mut values = [&[][..]; TOGETHER];
                        for (values, column) in values.iter_mut().zip(columns) {
                            *values = image[row * width + column..][..2 * n_pairs].as_chunks::<2>().0;
                        }
                        // With indices that are checked, sums would not stay in registers.
                        let [a, b, c, d] = values;
                        for ((((Aligned([weights]), a), b), c), d) in weights.iter().zip(a).zip(b).zip(c).zip(d) {
                            for ([sums], values) in sums.iter_mut().zip([a, b, c, d]) {
                                add_products(simd, sums, weights, *values);
                            }
                        }
                    }
                    let there = currents[first * channels..].chunks_exact_mut(channels);
                    for (sums, currents) in sums.iter().zip(there) {
                        drive.round(block, sums, currents);
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
