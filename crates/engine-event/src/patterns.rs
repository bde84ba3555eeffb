//! Synapses of a convolution whose neurons see few inputs of a row, such as the pixels of a grey image.
//!
//! The weights of all combinations of a row's inputs are added up beforehand. A spike train's rows are then keys into tables: as
//! many additions as the kernel has rows, whatever spikes, with no list to make and no length of a list to guess.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::gather::{Consumer, Scale, Sites, SumsOf, WIDE};
use crate::simd::{Addend, Aligned};
use snn::network::SpikingLayer;
use snn::spikes::{SpikeTrain, word_from};
use snn::wiring::Kernel;

/// Neurons that a combination has a row of weights for.
const HALF: usize = WIDE / 2;

/// Inputs that are combined.
const MAX_BITS: usize = 6;

/// A row of weights for each combination of inputs: 4 KiB, so that those of a kernel of seven rows stay in the first-level cache.
type Combinations = [Aligned<[i16; HALF]>; 1 << MAX_BITS];

/// A layer's synapses. Neurons that lie side by side make up half a site, which reads the same inputs of each row; the other half
/// reads those a few columns further on.
#[derive(Debug)]
pub(super) struct Patterns {
    source: usize,
    sites: Sites,
    kernel: Kernel,
    /// Per row of the kernel.
    rows: Vec<Combinations>,
    scale: Scale<WIDE>,
    /// Bits from a half's inputs to the other's, and from a site's to the next's.
    half: usize,
    site: usize,
}

/// The inputs of a sample, padded.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Column by column, channel by channel, `[T, H]`.
    words: Vec<u64>,
    is_silent: bool,
}

impl Patterns {
    /// `None` if the layer's inputs are counts or too many, or its neurons do not fill half a site.
    ///
    /// - `layer`: whose sums of weights are 16-bit integers
    pub(super) fn new(layer: &SpikingLayer, sites: Sites) -> Option<Self> {
        let [connection] = layer.connections() else { return None };
        let kernel = connection.wiring.kernel;
        let Kernel { input: [n_inputs, _, width], channels, size, stride, padding, groups } = kernel;
        let n_positions = HALF / channels.min(HALF);
        let n_bits = n_inputs * (size + (n_positions - 1) * stride);
        let fits = connection.wiring.pools.is_empty()
            && groups == 1
            && !kernel.is_dense()
            && n_positions * channels == HALF
            && sites.group == 2 * n_positions
            && n_bits <= MAX_BITS
            && n_inputs * (width + 2 * padding) <= u64::BITS as usize;
        if !fits {
            return None;
        }
        let weight = |row: usize, bit: usize, lane: usize| {
            let (column, channel) = (bit / n_inputs, lane % channels);
            let column = column.checked_sub(lane / channels * stride).filter(|&column| column < size)?;
            let weight = connection.row(channel)[(bit % n_inputs * size + row) * size + column];
            Some((f64::from(weight) / layer.grids()[channel].step()) as i16)
        };
        let sum = |row: usize, combination: usize, lane: usize| {
            let set = (0..n_bits).filter(|bit| combination >> bit & 1 == 1);
            set.filter_map(|bit| weight(row, bit, lane)).fold(0, i16::wrapping_add)
        };
        let of_row =
            |row| std::array::from_fn(|combination| Aligned(std::array::from_fn(|lane| sum(row, combination, lane))));
        let half = n_positions * stride * n_inputs;
        Some(Self {
            source: connection.wiring.source.index(),
            sites,
            kernel,
            rows: (0..size).map(of_row).collect(),
            scale: Scale::of_steps(std::array::from_fn(|lane| layer.grids()[lane % channels].step() as f32)),
            half,
            site: 2 * half,
        })
    }

    /// - `spikes`: of the input and of the layers so far
    pub(super) fn read(&self, spikes: &[SpikeTrain], rows: &mut Rows) {
        let Kernel { input: [n_inputs, height, width], padding, .. } = self.kernel;
        let spikes = &spikes[self.source];
        rows.words.clear();
        rows.is_silent = spikes.is_silent();
        for step in 0..spikes.n_steps() {
            let n = width * n_inputs;
            let there = u64::MAX >> (u64::BITS as usize - n);
            let row = |row: usize| (word_from(spikes.words(step), row * n, n) & there) << (padding * n_inputs);
            rows.words.extend((0..height).map(row));
        }
    }

    /// Rows of the kernel that lie on the image, for a row of sites, and the first row of the image that they read.
    fn reads(&self, row: usize) -> (Range<usize>, usize) {
        let Kernel { input: [_, height, _], size, stride, padding, .. } = self.kernel;
        let first = padding.saturating_sub(row * stride).min(size);
        let end = (height + padding).saturating_sub(row * stride).clamp(first, size);
        (first..end, (row * stride + first).saturating_sub(padding).min(height))
    }
}

/// All sites of all samples.
pub(super) struct Sweep<'a, R, C> {
    pub(super) patterns: &'a Patterns,
    /// Per sample.
    pub(super) samples: R,
    pub(super) n_steps: usize,
    pub(super) consumer: C,
}

impl<'a, R: Iterator<Item = &'a Rows> + Clone, C: Consumer<i16, WIDE>> WithSimd for Sweep<'a, R, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Patterns { sites, kernel, rows: tables, scale, half, site, .. } = self.patterns;
        let height = kernel.input[1];
        for [row, column] in (0..sites.n_sites()).map(|site| sites.at(site)) {
            let (of_kernel, first) = self.patterns.reads(row);
            let tables = &tables[of_kernel];
            let shift = column * site;
            let seen = u64::MAX.checked_shr(64 - (half + MAX_BITS) as u32).unwrap_or(0) << shift;
            for (sample, Rows { words, is_silent }) in self.samples.clone().enumerate() {
                let steady = self.consumer.begin(sample, sites.places([row, column], 0), scale);
                let seen_at =
                    |step: usize| words[step * height + first..][..tables.len()].iter().fold(0, |any, word| any | word);
                let is_silent = *is_silent || (0..self.n_steps).all(|step| seen_at(step) & seen == 0);
                if is_silent && self.consumer.recall(&steady) {
                    self.consumer.end(false, scale);
                    continue;
                }
                let tables = if is_silent { &[] } else { tables };
                let sums = LookedUp { tables, rows: &words[first..], height, shifts: [shift, *half], steady };
                self.consumer.run(simd, self.n_steps, scale, &sums);
                self.consumer.end(is_silent, scale);
            }
        }
    }
}

/// The sums of one site of a sample.
struct LookedUp<'a> {
    /// Of the rows of the kernel that lie on the image; none if nothing arrives.
    tables: &'a [Combinations],
    /// From the first one's inputs on.
    rows: &'a [u64],
    height: usize,
    /// To the first half's inputs, and from there to the other's.
    shifts: [usize; 2],
    steady: [i16; WIDE],
}

impl SumsOf<i16, WIDE> for LookedUp<'_> {
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, step: usize) -> [i16; WIDE] {
        let [shift, half] = self.shifts;
        let [mut left, mut right] = [[0; HALF]; 2];
        left.copy_from_slice(&self.steady[..HALF]);
        right.copy_from_slice(&self.steady[HALF..]);
        for (table, word) in self.tables.iter().zip(&self.rows[step * self.height..]) {
            let inputs = word >> shift;
            i16::add(simd, &mut left, &table[inputs as usize % table.len()].0);
            i16::add(simd, &mut right, &table[(inputs >> half) as usize % table.len()].0);
        }
        let mut all = [0; WIDE];
        all[..HALF].copy_from_slice(&left);
        all[HALF..].copy_from_slice(&right);
        all
    }

    #[inline(always)]
    fn are_at_hand(&self) -> bool {
        true
    }

    #[inline(always)]
    fn are_steady(&self) -> bool {
        self.tables.is_empty()
    }
}
