//! Synapses of a convolution whose neurons see few inputs of a row, such as the pixels of a grey image.
//!
//! The weights of all combinations of a row's inputs are added up beforehand. A spike train's rows are then keys into tables: as
//! many additions as the kernel has rows, whatever spikes, with no list to make and no length of a list to guess.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::events::{Lists, PoolStates, Scratch};
use crate::firing::Firing;
use crate::gather::{Consumer, Scale, Sites, SumsOf, WIDE};
use crate::graded::Arriving;
use crate::kernels::{ComputeKernel, LayerFacts, Sums, Synapses};
use crate::simd::{Addend, Aligned};
use model::graph::sides_text;
use snn::spikes::word_from;
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

/// Looks the sums of a row's inputs up.
#[derive(Debug)]
pub(crate) struct Tables;

/// Neighbouring positions of which a half of a site has the channels.
fn n_positions(kernel: &Kernel) -> usize {
    HALF / kernel.channels.min(HALF)
}

/// Inputs of a row of the kernel's that a half of a site sees.
fn n_bits(kernel: &Kernel) -> usize {
    kernel.input[0] * (kernel.size[1] + (n_positions(kernel) - 1) * kernel.stride[1])
}

impl ComputeKernel for Tables {
    fn name(&self) -> &'static str {
        "tables"
    }

    fn sums(&self) -> Sums {
        Sums::Int16
    }

    fn are_at_hand(&self) -> bool {
        true
    }

    fn supports(&self, layer: &LayerFacts<'_>) -> Result<(), String> {
        let connection = layer.single_connection()?;
        let kernel = &connection.wiring.kernel;
        let Kernel { input: [n_inputs, _, width], channels, padding, dilation, groups, .. } = *kernel;
        if kernel.is_dense() {
            return Err("fully connected; supported: convolutions".to_owned());
        }
        if !connection.wiring.pools.is_empty() {
            return Err("pools before the convolution; supported: none".to_owned());
        }
        if groups != 1 {
            return Err(format!("{groups} groups of channels; supported: one"));
        }
        if dilation != [1; 2] {
            return Err(format!("a dilation of {}; supported: none", sides_text(dilation)));
        }
        let n_bits = n_bits(kernel);
        if n_bits > MAX_BITS {
            return Err(format!("{HALF} neurons see {n_bits} inputs of a row, {MAX_BITS} at most"));
        }
        if n_positions(kernel) * channels != HALF {
            return Err(format!("{channels} channels; supported: 1, 2, 4, 8, 16 and 32"));
        }
        let n_columns = kernel.output()[2];
        let at_least = 2 * n_positions(kernel);
        if n_columns < at_least {
            return Err(format!("rows of {n_columns} positions; supported: {at_least} or more"));
        }
        let row = n_inputs * (padding[1] + width + padding[3]);
        if row > u64::BITS as usize {
            return Err(format!("rows of {row} inputs with their padding, {} at most", u64::BITS));
        }
        layer.sums_are_int16()
    }

    fn pack(&self, layer: &LayerFacts<'_>) -> Box<dyn Synapses> {
        Box::new(Patterns::new(layer))
    }
}

impl Patterns {
    /// - `layer`: which [`Tables`] support
    fn new(layer: &LayerFacts<'_>) -> Self {
        let connection = layer.single_connection().expect("a layer with one connection");
        let kernel = connection.wiring.kernel;
        let Kernel { input: [n_inputs, ..], channels, size, stride, .. } = kernel;
        let (n_positions, n_bits) = (n_positions(&kernel), n_bits(&kernel));
        let weight = |row: usize, bit: usize, lane: usize| {
            let (column, channel) = (bit / n_inputs, lane % channels);
            let column = column.checked_sub(lane / channels * stride[1]).filter(|&column| column < size[1])?;
            let weight = connection.row(channel)[(bit % n_inputs * size[0] + row) * size[1] + column];
            Some(layer.integer_weight(channel, weight))
        };
        let sum = |row: usize, combination: usize, lane: usize| {
            let set = (0..n_bits).filter(|bit| combination >> bit & 1 == 1);
            set.filter_map(|bit| weight(row, bit, lane)).fold(0, i16::wrapping_add)
        };
        let of_row =
            |row| std::array::from_fn(|combination| Aligned(std::array::from_fn(|lane| sum(row, combination, lane))));
        let half = n_positions * stride[1] * n_inputs;
        let grids = layer.layer.grids();
        Self {
            source: connection.wiring.source.index(),
            sites: Sites::of_width(layer.layer.shape(), WIDE),
            kernel,
            rows: (0..size[0]).map(of_row).collect(),
            scale: Scale::of_steps(std::array::from_fn(|lane| grids[lane % channels].step() as f32)),
            half,
            site: 2 * half,
        }
    }

    fn read(&self, arriving: Arriving<'_>, rows: &mut Rows) {
        let Kernel { input: [n_inputs, height, width], padding, .. } = self.kernel;
        let source = &arriving.spikes[self.source];
        let expanded = arriving.expanded(self.source, source);
        let spikes = expanded.as_ref().unwrap_or(source);
        rows.words.clear();
        rows.is_silent = spikes.is_silent();
        for step in 0..spikes.n_steps() {
            let n = width * n_inputs;
            let there = u64::MAX >> (u64::BITS as usize - n);
            let row = |row: usize| (word_from(spikes.words(step), row * n, n) & there) << (padding[1] * n_inputs);
            rows.words.extend((0..height).map(row));
        }
    }

    /// Rows of the kernel that lie on the image, for a row of sites, and the first row of the image that they read.
    fn reads(&self, row: usize) -> (Range<usize>, usize) {
        let Kernel { input: [_, height, _], size, stride, padding, .. } = self.kernel;
        let ([size, ..], [stride, ..], [top, ..]) = (size, stride, padding);
        let first = top.saturating_sub(row * stride).min(size);
        let end = (height + top).saturating_sub(row * stride).clamp(first, size);
        (first..end, (row * stride + first).saturating_sub(top).min(height))
    }
}

impl Synapses for Patterns {
    fn has_one_position(&self) -> bool {
        self.sites.n_sites() == 1
    }

    fn list(&self, _: Arch, arriving: Arriving<'_>, _: &mut PoolStates, _: &mut Scratch, lists: &mut Lists) {
        self.read(arriving, &mut lists.rows);
    }

    fn visit(&self, arch: Arch, samples: &[Lists], n_steps: usize, firing: &mut Firing<'_>) {
        arch.dispatch(Sweep { patterns: self, samples, n_steps, consumer: firing.site::<i16, WIDE>() });
    }
}

/// All sites of all samples.
struct Sweep<'a, C> {
    patterns: &'a Patterns,
    samples: &'a [Lists],
    n_steps: usize,
    consumer: C,
}

impl<C: Consumer<i16, WIDE>> WithSimd for Sweep<'_, C> {
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
            for (sample, Lists { rows: Rows { words, is_silent }, .. }) in self.samples.iter().enumerate() {
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
