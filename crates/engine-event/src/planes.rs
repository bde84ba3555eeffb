//! Small counts of many neurons side by side, bit by bit: plane k holds bit k of every count.
//!
//! Hundreds of counts are added or compared by a few operations on words. Used for what average pools add up, and to write counts
//! as a base that holds for all steps and the few steps that differ from it, which is less to add up.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::iter;

use model::population::Pool;
use pulp::Simd;

use crate::simd::extract_bits;
use snn::pool::Windows;
use snn::spikes::SpikeTrain;

/// Bits of the totals of counts over steps: up to 2⁸ spikes at each of 2¹⁶ steps.
const TOTAL_BITS: usize = 24;

/// Most planes of counts that are centred.
const MAX_PLANES: usize = 8;

/// Words that are computed with at once.
const LANES: usize = 8;

/// A bit of each of 512 numbers.
type Bits = [u64; LANES];

/// How average pools add up. On their way, sums stand where the first input of their window does, in rows of whole words, of which
/// there are only those that windows begin in.
#[derive(Debug)]
pub(crate) struct SumPools {
    pools: Vec<SumPool>,
    /// Words of a row.
    row_words: usize,
    /// The same, where there is a faster way.
    quads: Option<Quads>,
    /// The same, where windows are cut off at a border.
    cut: Option<CutPools>,
}

/// Windows that lie partly in the padding or stick out behind it, spike by spike.
#[derive(Debug)]
struct CutPools {
    windows: Windows,
    /// Most planes of their sums.
    n_planes: usize,
}

/// Windows of two by two, side by side, whose inputs lie in one word of each row or in the same bits of several.
#[derive(Debug)]
struct Quads {
    /// Of windows.
    n_rows: usize,
    /// Words of a row of inputs.
    row_words: usize,
    /// Bits from an input to its neighbour of the row; up to 32, or whole words.
    pitch: usize,
    /// The bits of a word that stand for windows, where the pitch is less than a word.
    valid: u64,
}

#[derive(Debug)]
struct SumPool {
    /// Of its input, in bits.
    row_pitch: usize,
    /// Rows between windows.
    stride: usize,
    /// Rows of windows.
    n_rows: usize,
    /// How far each input of a window lies from the first one, in bits.
    offsets: Vec<usize>,
    /// The bits of a row that stand for windows.
    valid: Vec<u64>,
}

/// Counts of neurons at each step. Made again and again, they keep their memory.
#[derive(Debug, Default)]
pub(crate) struct Planes {
    pub(crate) n_steps: usize,
    /// Words of a plane of a step, a multiple of [`LANES`]. As many again as are computed with at once lie behind them and mean
    /// nothing.
    n_words: usize,
    /// Number of planes.
    depth: usize,
    /// `[depth][T · (n_words + LANES)]`; more than there are planes.
    words: Vec<Vec<u64>>,
    /// The bits that are set in any plane but the lowest, `[T · (n_words + LANES)]`, if there are more.
    higher: Vec<u64>,
}

/// Counts written as `base + above − below`.
#[derive(Debug, Default)]
pub(crate) struct Centred {
    /// One step.
    pub(crate) base: Planes,
    pub(crate) above: Planes,
    pub(crate) below: Planes,
}

impl Planes {
    /// - `n_words`: a multiple of [`LANES`]
    fn reset(&mut self, n_planes: usize, n_steps: usize, n_words: usize) {
        (self.depth, self.n_steps, self.n_words) = (n_planes, n_steps, n_words);
        let n = n_steps * self.stride();
        self.words.resize_with(n_planes.max(self.words.len()), Vec::new);
        self.words[..n_planes].iter_mut().for_each(|words| words.resize(n, 0));
    }

    fn stride(&self) -> usize {
        self.n_words + LANES
    }

    pub(crate) fn n_planes(&self) -> usize {
        self.depth
    }

    /// A plane's words of a step.
    #[inline(always)]
    pub(crate) fn plane(&self, step: usize, plane: usize) -> &[u64] {
        &self.words[plane][step * self.stride()..][..self.stride()]
    }

    /// The bits of a step that are set in any plane but the lowest.
    #[inline(always)]
    pub(crate) fn higher(&self, step: usize) -> &[u64] {
        &self.higher[step * self.stride()..][..self.stride()]
    }

    /// The planes of a step, lowest first.
    #[inline(always)]
    fn at(&self, step: usize) -> impl ExactSizeIterator<Item = &[u64]> + Clone {
        let n = self.stride();
        self.words[..self.depth].iter().map(move |words| &words[step * n..][..n])
    }

    #[inline(always)]
    fn at_mut(&mut self, step: usize) -> impl Iterator<Item = &mut [u64]> {
        let n = self.stride();
        self.words[..self.depth].iter_mut().map(move |words| &mut words[step * n..][..n])
    }

    /// A train's spikes.
    pub(crate) fn copy(&mut self, train: &SpikeTrain) {
        let n_words = train.words_per_step();
        self.reset(1, train.n_steps(), n_words.next_multiple_of(LANES));
        for step in 0..self.n_steps {
            for words in self.at_mut(step) {
                words[..n_words].copy_from_slice(train.words(step));
                words[n_words..].fill(0);
            }
        }
    }

    /// Sums of a train's spikes over the windows of pools, with channels last like the spikes of a train.
    ///
    /// - `other`: memory to work in
    #[inline(always)]
    pub(crate) fn sum<S: Simd>(&mut self, simd: S, train: &SpikeTrain, pools: &SumPools, other: &mut Self) {
        if let Some(quads) = &pools.quads {
            self.sum_quads(simd, train, quads);
            self.drop_empty();
            return self.unite_higher();
        }
        if let Some(cut) = &pools.cut {
            self.sum_cut(train, cut);
            self.drop_empty();
            return self.unite_higher();
        }
        self.copy(train);
        for pool in &pools.pools {
            std::mem::swap(self, other);
            let n_planes = other.depth + (usize::BITS - (pool.offsets.len() - 1).leading_zeros()) as usize;
            self.reset(n_planes, train.n_steps(), pool.n_rows * pools.row_words);
            match n_planes {
                // As in windows of two by two spikes: sums stay in registers.
                3 => self.sum_windows::<3>(other, pool, pools.row_words),
                _ => self.sum_windows::<TOTAL_BITS>(other, pool, pools.row_words),
            }
        }
        self.drop_empty();
        std::mem::swap(self, other);
        self.put_together(simd, other, pools);
        self.unite_higher();
    }

    #[inline(always)]
    fn sum_quads<S: Simd>(&mut self, simd: S, train: &SpikeTrain, quads: &Quads) {
        let &Quads { n_rows, row_words, pitch, valid } = quads;
        let n_words = (n_rows * row_words).div_ceil(2);
        self.reset(3, train.n_steps(), n_words.next_multiple_of(LANES));
        for step in 0..self.n_steps {
            let rows = train.words(step).chunks_exact(2 * row_words).map(|rows| rows.split_at(row_words));
            let mut planes = self.at_mut(step);
            let mut planes: [&mut [u64]; 3] = std::array::from_fn(|_| planes.next().expect("three planes"));
            if pitch < 64 {
                // Half a word of windows of each word.
                let mut halves = rows.flat_map(|(top, bottom)| top.iter().zip(bottom)).map(|(&top, &bottom)| {
                    let counts = count_quads([top, bottom, top >> pitch, bottom >> pitch]);
                    counts.map(|bits| extract_bits(simd, bits, valid))
                });
                for at in 0..n_words {
                    let (low, high) = (halves.next().unwrap_or([0; 3]), halves.next().unwrap_or([0; 3]));
                    for (plane, words) in planes.iter_mut().enumerate() {
                        words[at] = low[plane] | high[plane] << 32;
                    }
                }
            } else {
                let windows = rows.flat_map(|(top, bottom)| {
                    top.chunks_exact(pitch / 32).zip(bottom.chunks_exact(pitch / 32)).flat_map(|(top, bottom)| {
                        let n = pitch / 64;
                        (0..n).map(move |k| count_quads([top[k], bottom[k], top[n + k], bottom[n + k]]))
                    })
                });
                for (at, counts) in windows.enumerate() {
                    for (words, bits) in planes.iter_mut().zip(counts) {
                        words[at] = bits;
                    }
                }
            }
            for words in planes {
                words[n_words..].fill(0);
            }
        }
    }

    fn sum_cut(&mut self, train: &SpikeTrain, CutPools { windows, n_planes }: &CutPools) {
        let [channels, rows, columns] = windows.output();
        let n_positions = rows * columns;
        self.reset(*n_planes, train.n_steps(), (channels * n_positions).div_ceil(64).next_multiple_of(LANES));
        self.words[..*n_planes].iter_mut().for_each(|words| words.fill(0));
        let mut sums = vec![0_u32; channels * n_positions];
        for step in 0..self.n_steps {
            for neuron in train.neurons(step) {
                windows.multiples_of(neuron).for_each(|(window, multiple)| sums[window] += multiple);
            }
            let first = step * self.stride();
            for (window, sum) in sums.iter_mut().enumerate() {
                let place = window % n_positions * channels + window / n_positions;
                let mut rest = std::mem::take(sum);
                while rest > 0 {
                    self.words[rest.trailing_zeros() as usize][first + place / 64] |= 1 << (place % 64);
                    rest &= rest - 1;
                }
            }
        }
    }

    /// - `P`: planes, at least as many as there are
    #[inline(always)]
    fn sum_windows<const P: usize>(&mut self, from: &Self, pool: &SumPool, row_words: usize) {
        let SumPool { row_pitch, stride, n_rows, offsets, valid } = pool;
        let n_planes = if P == TOTAL_BITS { self.depth } else { P };
        for (step, row) in (0..self.n_steps).flat_map(|step| (0..*n_rows).map(move |row| (step, row))) {
            for first in (0..row_words).step_by(LANES) {
                let valid = load(valid, first);
                let mut sum = [[0; LANES]; P];
                let sum = &mut sum[..n_planes];
                // Where there is no window, what would be added up may lie behind the last word.
                for offset in offsets.iter().filter(|_| valid != [0; LANES]) {
                    let offset = row * stride * row_pitch + 64 * first + offset;
                    add(sum, from.at(step).map(|words| load_shifted(words, offset)));
                }
                for (words, bits) in self.at_mut(step).zip(sum) {
                    store(words, row * row_words + first, &each(bits, &valid, |bits, valid| bits & valid));
                }
            }
        }
    }

    /// Puts the windows of rows of whole words side by side.
    #[inline(always)]
    fn put_together<S: Simd>(&mut self, simd: S, apart: &Self, pools: &SumPools) {
        let SumPool { valid, n_rows, .. } = pools.pools.last().expect("one at least");
        let valid: Vec<(u64, u32)> = valid.iter().map(|&valid| (valid, valid.count_ones())).collect();
        let n_valid: usize = valid.iter().map(|&(_, n)| n as usize).sum();
        self.reset(apart.depth, apart.n_steps, (n_rows * n_valid).div_ceil(64).next_multiple_of(LANES));
        for step in 0..apart.n_steps {
            for (words, apart) in self.at_mut(step).zip(apart.at(step)) {
                let (mut words, mut end) = (words.iter_mut(), 0);
                // Those that do not fill a word yet.
                let mut rest = 0;
                for row in apart.chunks_exact(pools.row_words).take(*n_rows) {
                    for (&bits, &(valid, n)) in row.iter().zip(&valid) {
                        let bits = extract_bits(simd, bits, valid);
                        rest |= bits << end;
                        end += n;
                        if end >= 64 {
                            *words.next().expect("as many words as windows fill") = rest;
                            end -= 64;
                            rest = bits.checked_shr(n - end).unwrap_or(0);
                        }
                    }
                }
                for word in words {
                    *word = std::mem::take(&mut rest);
                }
            }
        }
    }

    /// Drops the highest planes that are zero throughout.
    #[inline(always)]
    fn drop_empty(&mut self) {
        while self.depth > 0 && self.spikes_of_plane(self.depth - 1) == 0 {
            self.depth -= 1;
        }
    }

    /// Unites the planes above the lowest.
    #[inline(always)]
    fn unite_higher(&mut self) {
        if let Some([second, others @ ..]) = self.words[..self.depth].get(1..) {
            self.higher.clone_from(second);
            for words in others {
                for (higher, word) in self.higher.iter_mut().zip(words) {
                    *higher |= word;
                }
            }
        }
    }

    /// Bits that are set, which is how much there is to list.
    #[inline(always)]
    fn n_set(&self) -> usize {
        let mut n = 0;
        for plane in 0..self.depth {
            n += self.spikes_of_plane(plane);
        }
        n
    }

    #[inline(always)]
    fn spikes_of_plane(&self, plane: usize) -> usize {
        let mut n = 0;
        for words in self.words[plane].chunks_exact(self.stride()) {
            for word in &words[..self.n_words] {
                n += word.count_ones() as usize;
            }
        }
        n
    }

    /// Whether no count is greater than a limit.
    #[inline(always)]
    pub(crate) fn are_at_most(&self, limit: usize) -> bool {
        if limit >> self.depth > 0 {
            return true;
        }
        let mut any = [0; LANES];
        for step in 0..self.n_steps {
            for first in (0..self.n_words).step_by(LANES) {
                let mut counts = [[0; LANES]; TOTAL_BITS];
                let counts = &mut counts[..self.depth];
                counts.iter_mut().zip(self.at(step)).for_each(|(bits, words)| *bits = load(words, first));
                any = each(&any, &greater(counts, limit), |a, b| a | b);
            }
        }
        any == [0; LANES]
    }

    /// Writes the counts around their rounded mean over the steps.
    ///
    /// - returns `false` where that saves less than an eighth of what is to be added up, or the counts are too large; the
    ///   result means nothing then
    #[inline(always)]
    pub(crate) fn centre(&self, centred: &mut Centred) -> bool {
        match self.depth {
            1 => self.centre_planes::<1>(centred),
            2 => self.centre_planes::<2>(centred),
            3 => self.centre_planes::<3>(centred),
            4..=MAX_PLANES if self.n_steps < 1 << (TOTAL_BITS - MAX_PLANES) => {
                self.centre_planes::<MAX_PLANES>(centred);
            }
            _ => return false,
        }
        let Centred { base, above, below } = centred;
        for planes in [&mut *base, &mut *above, &mut *below] {
            planes.drop_empty();
            planes.unite_higher();
        }
        let (before, after) = (self.n_set(), base.n_set() + above.n_set() + below.n_set());
        after + before / 8 < before
    }

    /// - `P`: planes, at least as many as there are
    #[inline(always)]
    fn centre_planes<const P: usize>(&self, centred: &mut Centred) {
        let Self { n_steps, n_words, .. } = *self;
        let Centred { base: bases, above, below } = centred;
        bases.reset(P, 1, n_words);
        above.reset(P, n_steps, n_words);
        below.reset(P, n_steps, n_words);
        let total_bits = P + (usize::BITS - n_steps.leading_zeros()) as usize;
        for first in (0..n_words).step_by(LANES) {
            let at = |step: usize| {
                let mut planes = [[0; LANES]; P];
                planes.iter_mut().zip(self.at(step)).for_each(|(bits, words)| *bits = load(words, first));
                planes
            };
            let mut total = [[0; LANES]; TOTAL_BITS];
            for first in (0..n_steps).step_by(4) {
                // Four steps on their own first, in fewer planes.
                let mut few = [[0; LANES]; MAX_PLANES + 2];
                for step in first..n_steps.min(first + 4) {
                    add(&mut few[..P + 2], at(step).into_iter());
                }
                add(&mut total[..total_bits], few[..P + 2].iter().copied());
            }
            let mut base = [[0; LANES]; P];
            for value in 1..1_usize << P {
                // The mean is nearer to this value, or to one above it, than to the value below.
                let nearer = greater(&total[..total_bits], (2 * value - 1) * n_steps / 2);
                if nearer == [0; LANES] {
                    break;
                }
                add(&mut base, iter::once(nearer));
            }
            for (words, bits) in bases.at_mut(0).zip(&base) {
                store(words, first, bits);
            }
            for step in 0..n_steps {
                let (more, fewer) = differences(at(step), &base);
                for (words, bits) in above.at_mut(step).zip(&more).chain(below.at_mut(step).zip(&fewer)) {
                    store(words, first, bits);
                }
            }
        }
    }
}

impl SumPools {
    /// - `shape`: `[C, H, W]` of what is added up
    /// - `pools`: one at least
    pub(crate) fn new<'a>(shape: [usize; 3], pools: impl Iterator<Item = &'a Pool>) -> Self {
        let [channels, _, width] = shape;
        let row_words = (width * channels).div_ceil(64).next_multiple_of(LANES);
        // Of the windows so far: how many bits lie between neighbours of a row, and between rows.
        let (mut output, mut pitch, mut row_pitch) = (shape, channels, width * channels);
        let of_pool = |pool: &Pool| {
            let inputs = (0..pool.kernel[0]).flat_map(|y| (0..pool.kernel[1]).map(move |x| (y, x)));
            let offsets = inputs.map(|(y, x)| y * row_pitch + x * pitch).collect();
            output = pool.output(output);
            let (from, stride) = (row_pitch, pool.stride[0]);
            (pitch, row_pitch) = (pitch * pool.stride[1], 64 * row_words);
            let mut valid = SpikeTrain::silent([64 * row_words, 1, 1], 1);
            for bit in (0..output[2]).flat_map(|column| (0..channels).map(move |channel| column * pitch + channel)) {
                valid.add(0, bit);
            }
            SumPool { row_pitch: from, stride, n_rows: output[1], offsets, valid: valid.words(0).to_vec() }
        };
        let pools: Vec<&Pool> = pools.collect();
        if let Some(cut) = CutPools::new(shape, &pools) {
            return Self { pools: Vec::new(), row_words, quads: None, cut: Some(cut) };
        }
        let quads = Quads::new(shape, &pools);
        Self { pools: pools.into_iter().map(of_pool).collect(), row_words, quads, cut: None }
    }
}

impl CutPools {
    /// `None` if all windows lie within their inputs.
    fn new(shape: [usize; 3], pools: &[&Pool]) -> Option<Self> {
        let (mut from, mut is_cut, mut most) = (shape, false, 1_usize);
        for pool in pools {
            let output = pool.output(from);
            is_cut |= pool.padding != [0; 4] || output != Pool { ceil: false, ..**pool }.output(from);
            most *= pool.divisor(from);
            from = output;
        }
        let n_planes = (usize::BITS - most.leading_zeros()) as usize;
        is_cut.then(|| Self { windows: Windows::new(shape, pools.iter().copied()), n_planes })
    }
}

impl Quads {
    /// `None` if these are no such windows.
    fn new([pitch, height, width]: [usize; 3], pools: &[&Pool]) -> Option<Self> {
        let [Pool { kernel: [2, 2], stride: [2, 2], .. }] = pools else { return None };
        let is_such = height.is_multiple_of(2)
            && width.is_multiple_of(2)
            && (pitch * width).is_multiple_of(64)
            && (pitch.is_multiple_of(64) || 32_usize.is_multiple_of(pitch));
        // Every other pitch of a word, from the first on.
        let valid = (0..64).filter(|bit| bit / pitch % 2 == 0).fold(0, |valid, bit| valid | 1 << bit);
        is_such.then_some(Self { n_rows: height / 2, row_words: pitch * width / 64, pitch, valid })
    }
}

/// The sum of four bits, the lowest digit first, of the same bit of each word.
#[inline(always)]
fn count_quads([a, b, c, d]: [u64; 4]) -> [u64; 3] {
    let (ab, cd) = (a ^ b, c ^ d);
    let (two_of_ab, two_of_cd, two_of_both) = (a & b, c & d, ab & cd);
    // Of the three, only the first two can be set together.
    [ab ^ cd, two_of_ab ^ two_of_cd ^ two_of_both, two_of_ab & two_of_cd]
}

/// How much counts are above and below others.
#[inline(always)]
fn differences<const P: usize>(counts: [Bits; P], others: &[Bits; P]) -> ([Bits; P], [Bits; P]) {
    let mut negative = [0; LANES];
    for plane in 0..P {
        for lane in 0..LANES {
            negative[lane] = borrowed(counts[plane][lane], others[plane][lane], negative[lane]);
        }
    }
    let (mut borrow, mut carry) = ([0; LANES], negative);
    let (mut more, mut fewer) = ([[0; LANES]; P], [[0; LANES]; P]);
    for plane in 0..P {
        for lane in 0..LANES {
            let (count, other) = (counts[plane][lane], others[plane][lane]);
            let difference = count ^ other ^ borrow[lane];
            borrow[lane] = borrowed(count, other, borrow[lane]);
            // What is negative is turned over and raised by one.
            let turned = difference ^ negative[lane];
            let distance = turned ^ carry[lane];
            carry[lane] &= turned;
            (more[plane][lane], fewer[plane][lane]) = (distance & !negative[lane], distance & negative[lane]);
        }
    }
    (more, fewer)
}

/// What a difference of bits takes from the next.
#[inline(always)]
fn borrowed(number: u64, other: u64, borrow: u64) -> u64 {
    !number & (other | borrow) | other & borrow
}

/// Words from a bit on.
#[inline(always)]
fn load_shifted(words: &[u64], offset: usize) -> Bits {
    let (first, shift) = (offset / 64, offset % 64);
    // In two steps, for a shift by 64 is not allowed.
    each(&load(words, first), &load(words, first + 1), |low, high| low >> shift | high << 1 << (63 - shift))
}

#[inline(always)]
fn load(words: &[u64], first: usize) -> Bits {
    words[first..first + LANES].try_into().expect("as many as asked for")
}

#[inline(always)]
fn store(words: &mut [u64], first: usize, bits: &Bits) {
    words[first..first + LANES].copy_from_slice(bits);
}

#[inline(always)]
fn each(a: &Bits, b: &Bits, of: impl Fn(u64, u64) -> u64) -> Bits {
    let mut all = [0; LANES];
    for lane in 0..LANES {
        all[lane] = of(a[lane], b[lane]);
    }
    all
}

/// Adds a number to each of many numbers; both with the lowest plane first.
#[inline(always)]
fn add(sum: &mut [Bits], mut number: impl Iterator<Item = Bits>) {
    let mut carry = [0; LANES];
    for sum in sum {
        let bits = number.next().unwrap_or([0; LANES]);
        for lane in 0..LANES {
            let half = sum[lane] ^ bits[lane];
            let carried = sum[lane] & bits[lane] | half & carry[lane];
            sum[lane] = half ^ carry[lane];
            carry[lane] = carried;
        }
    }
}

/// Which of many numbers are greater than a constant.
#[inline(always)]
fn greater(numbers: &[Bits], constant: usize) -> Bits {
    let (mut greater, mut equal) = ([0; LANES], [u64::MAX; LANES]);
    for (idx, bits) in numbers.iter().enumerate().rev() {
        for lane in 0..LANES {
            if constant >> idx & 1 == 1 {
                equal[lane] &= bits[lane];
            } else {
                greater[lane] |= equal[lane] & bits[lane];
                equal[lane] &= !bits[lane];
            }
        }
    }
    greater
}

#[cfg(test)]
mod tests {
    use model::population::PoolKind;
    use proptest::prelude::*;
    use pulp::Scalar;

    use super::*;

    /// - `bit`: of the neuron
    fn count(planes: &Planes, step: usize, bit: usize) -> i64 {
        (0..).zip(planes.at(step)).map(|(k, words)| ((words[bit / 64] >> (bit % 64) & 1) as i64) << k).sum()
    }

    fn of_trains(trains: &[SpikeTrain]) -> Planes {
        let mut planes = Planes::default();
        let n_words = trains[0].words_per_step();
        planes.reset(trains.len(), trains[0].n_steps(), n_words.next_multiple_of(LANES));
        for step in 0..planes.n_steps {
            for (words, train) in planes.at_mut(step).zip(trains) {
                words[..n_words].copy_from_slice(train.words(step));
            }
        }
        planes
    }

    fn train(shape: [usize; 3], n_steps: usize, spikes: impl Fn(usize, usize) -> bool) -> SpikeTrain {
        let mut train = SpikeTrain::silent(shape, n_steps);
        for step in 0..n_steps {
            (0..train.n_neurons()).filter(|&neuron| spikes(step, neuron)).for_each(|neuron| train.add(step, neuron));
        }
        train
    }

    #[test]
    fn sums_over_windows_are_those_counted_one_by_one() {
        let pool = |kernel, stride| Pool::new(PoolKind::Mean, kernel, stride);
        // Overlapping windows, and pools of pools.
        let chains =
            [vec![pool([2, 3], [2, 1])], vec![pool([2, 2], [2, 2]), pool([2, 2], [1, 1])], vec![pool([2, 2], [2, 2])]];
        // The last four are of windows of two by two in whole words, an odd number of them and more than one per input too.
        let shapes = [[1, 6, 7], [16, 6, 7], [70, 6, 7], [16, 6, 12], [32, 4, 2], [1, 6, 64], [128, 4, 6]];
        for (n, (shape, chain)) in
            shapes.into_iter().flat_map(|shape| chains.iter().map(move |chain| (shape, chain))).enumerate()
        {
            let [channels, ..] = shape;
            let spikes = train(shape, 3, |step, neuron| (7 * neuron + 3 * step) % 5 < 3 + step);
            let pools = SumPools::new(shape, chain.iter());
            assert_eq!(pools.quads.is_some(), n / 3 > 2 && n % 3 == 2);
            let mut sums = Planes::default();
            // What was there before is gone.
            sums.sum(Scalar::new(), &train(shape, 4, |_, _| true), &pools, &mut Planes::default());
            sums.sum(Scalar::new(), &spikes, &pools, &mut Planes::default());
            let windows = Windows::new(shape, chain.iter());
            let [_, rows, columns] = chain.iter().fold(shape, |shape, pool| pool.output(shape));
            let n_positions = rows * columns;
            let mut total = 0;
            for step in 0..3 {
                let mut expected = vec![0; channels * n_positions];
                for neuron in spikes.neurons(step) {
                    windows.of(neuron).iter().for_each(|&window| expected[window as usize] += 1);
                }
                for (window, &expected) in expected.iter().enumerate() {
                    let bit = window % n_positions * channels + window / n_positions;
                    assert_eq!(count(&sums, step, bit), expected, "{channels} channels, {chain:?}");
                }
                total += expected.iter().sum::<i64>();
            }
            // There is nothing where there is no window.
            let found: usize = (0..sums.n_planes()).map(|plane| sums.spikes_of_plane(plane) << plane).sum();
            assert_eq!(found as i64, total);
        }
    }

    #[test]
    fn windows_that_are_cut_off_add_up_what_is_counted_one_by_one() {
        let pool = |padding, ceil, counts_padding| Pool {
            padding,
            ceil,
            counts_padding,
            ..Pool::new(PoolKind::Mean, [2, 3], [2, 2])
        };
        let whole = Pool::new(PoolKind::Mean, [1, 2], [1, 1]);
        let chains = [
            vec![pool([1, 0, 0, 1], false, true)],
            vec![pool([1, 2, 1, 0], false, false)],
            vec![whole, pool([0; 4], true, true)],
            vec![pool([0, 1, 1, 2], true, false), whole],
        ];
        for (shape, chain) in
            [[1, 6, 7], [70, 5, 6]].into_iter().flat_map(|shape| chains.iter().map(move |of| (shape, of)))
        {
            let spikes = train(shape, 3, |step, neuron| (7 * neuron + 3 * step) % 5 < 3 + step);
            let pools = SumPools::new(shape, chain.iter());
            assert!(pools.cut.is_some(), "{chain:?}");
            let mut sums = Planes::default();
            // What was there before is gone.
            sums.sum(Scalar::new(), &train(shape, 4, |_, _| true), &pools, &mut Planes::default());
            sums.sum(Scalar::new(), &spikes, &pools, &mut Planes::default());
            // Pool by pool, as its windows are defined.
            for step in 0..3 {
                let mut values: Vec<usize> =
                    (0..spikes.n_neurons()).map(|n| usize::from(spikes.get(step, n))).collect();
                let mut from = shape;
                for pool in chain {
                    let [_, height, width] = from;
                    let [of_rows, of_columns] = pool.multiples(from);
                    let output = pool.output(from);
                    let [channels, rows, columns] = output;
                    let sum = |window: usize| {
                        let (channel, row, column) =
                            (window / (rows * columns), window / columns % rows, window % columns);
                        let inside = (0..pool.area()).filter_map(|i| {
                            let y = (row * pool.stride[0] + i / pool.kernel[1]).checked_sub(pool.padding[0])?;
                            let x = (column * pool.stride[1] + i % pool.kernel[1]).checked_sub(pool.padding[1])?;
                            (y < height && x < width).then(|| values[(channel * height + y) * width + x])
                        });
                        inside.sum::<usize>() * of_rows[row] * of_columns[column]
                    };
                    values = (0..channels * rows * columns).map(sum).collect();
                    from = output;
                }
                let n_positions = from[1] * from[2];
                for (window, &expected) in values.iter().enumerate() {
                    let bit = window % n_positions * from[0] + window / n_positions;
                    assert_eq!(count(&sums, step, bit), expected as i64, "{shape:?}, {chain:?}");
                }
            }
        }
    }

    #[test]
    fn a_neuron_that_spikes_most_of_the_time_is_written_by_its_silences() {
        let spikes = train([3, 1, 1], 8, |step, neuron| [step > 1, step % 4 == 0, step % 2 == 0][neuron]);
        let mut centred = Centred::default();
        assert!(of_trains(&[spikes]).centre(&mut centred));
        let Centred { base, above, below } = centred;
        let total = |planes: &Planes, bit: usize| (0..planes.n_steps).map(|step| count(planes, step, bit)).sum::<i64>();
        assert_eq!([0, 1, 2].map(|bit| total(&base, bit)), [1, 0, 0]);
        // One that spikes half of the time is left as it is.
        assert_eq!([0, 1, 2].map(|bit| total(&above, bit)), [0, 2, 4]);
        assert_eq!([0, 1, 2].map(|bit| total(&below, bit)), [2, 0, 0]);
    }

    #[test]
    fn counts_are_at_most_the_greatest_of_them() {
        let counts = [3, 0, 4, 1];
        let digit = |digit: usize| train([4, 1, 1], 2, |step, neuron| step == 1 && counts[neuron] >> digit & 1 == 1);
        let planes = of_trains(&[digit(0), digit(1), digit(2)]);
        let limits: Vec<usize> = (0..10).filter(|&limit| planes.are_at_most(limit)).collect();
        assert_eq!(limits, [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn rare_spikes_are_left_as_they_are() {
        let spikes = train([100, 1, 1], 10, |step, neuron| (neuron + step) % 10 == 0);
        assert!(!of_trains(&[spikes]).centre(&mut Centred::default()));
    }

    proptest! {
        #[test]
        fn base_and_differences_make_up_the_counts(
            n_planes in 1..5_usize, n_steps in 1..20_usize, n in 1..140_usize, seed in any::<u64>(), share in 1..9_u64,
        ) {
            let mix = |k: u64| (seed ^ k).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 60;
            let planes: Vec<SpikeTrain> = (0..n_planes)
                .map(|k| train([n, 1, 1], n_steps, |step, neuron| mix((k * 4096 + neuron * 32 + step) as u64) < 2 * share))
                .collect();
            let planes = of_trains(&planes);
            let mut centred = Centred::default();
            prop_assume!(planes.centre(&mut centred));
            let Centred { base, above, below } = centred;
            for (step, neuron) in (0..n_steps).flat_map(|step| (0..n).map(move |neuron| (step, neuron))) {
                let [base, above, below] =
                    [count(&base, 0, neuron), count(&above, step, neuron), count(&below, step, neuron)];
                prop_assert_eq!(base + above - below, count(&planes, step, neuron));
                prop_assert!(above == 0 || below == 0);
                let total: i64 = (0..n_steps).map(|step| count(&planes, step, neuron)).sum();
                // The nearest whole number to the mean, halves down.
                prop_assert_eq!(base, (2 * total + n_steps as i64 - 1).div_euclid(2 * n_steps as i64));
            }
        }
    }
}
