//! Pools between layers, on spikes.
//!
//! An average pool adds spikes up: its divisor is in the weights that follow, so it is no more than a detour of the
//! synapses. Windows at a border may be means of fewer inputs; they add each input several times, so that all share one divisor. A max
//! pool lets a spike through when it raises the largest spike count of its window so far; where spikes carry more than 0 or 1, it puts out
//! the change of that count. At every
//! step the output has then spiked exactly as often as the busiest input of the window, which is what the largest
//! activation stands for. (Rueckauer et al. 2017 let the spikes of one input through, that with the largest
//! estimated rate. With counts for rates this passes one too many when an input draws level and the tie goes to it.) It costs a number per
//! input and window of how far the input is behind the busiest one: only an input that is not behind raises the largest count.

use model::kernel::Axis;
use model::population::{Pool, PoolKind};

use crate::spikes::{SpikeTrain, add_bits, word_from};
use crate::wiring::Wiring;

/// Bits of a word of spikes.
const WORD: usize = u64::BITS as usize;

/// For each input of one or more pools in a row, the windows that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// Where each input's windows begin; one more entry than inputs.
    starts: Vec<u32>,
    members: Vec<u32>,
    /// How often the input is added in each of them; none where it is once in all.
    multiples: Vec<u32>,
    /// Shape `[C, H, W]` of all windows.
    output: [usize; 3],
    /// The only pool, and the shape `[C, H, W]` of its input.
    only: Option<(Pool, [usize; 3])>,
}

impl Windows {
    /// The windows of pools that follow each other. Where pools of pools overlap, an input stands in a window more than once.
    ///
    /// - `shape`: `[C, H, W]` of the input
    #[inline]
    pub fn new<'a>(shape: [usize; 3], pools: impl Iterator<Item = &'a Pool>) -> Self {
        let pools: Vec<&Pool> = pools.collect();
        let n_inputs: usize = shape.iter().product();
        let mut lists: Vec<Vec<Member>> =
            (0..n_inputs as u32).map(|window| vec![Member { window, multiple: 1 }]).collect();
        let mut from = shape;
        for pool in &pools {
            let of: Vec<Vec<Member>> = Self::of_pool(from, pool);
            from = pool.output(from);
            for list in &mut lists {
                let members = list.iter().flat_map(|&Member { window, multiple }| {
                    let of = of[window as usize].iter();
                    of.map(move |member| Member { multiple: multiple * member.multiple, ..*member })
                });
                *list = members.collect();
            }
        }
        let mut starts = vec![0];
        starts.extend(lists.iter().scan(0, |end, list| {
            *end += list.len() as u32;
            Some(*end)
        }));
        let members = lists.iter().flatten();
        let multiples = if members.clone().all(|member| member.multiple == 1) {
            Vec::new()
        } else {
            members.clone().map(|member| member.multiple).collect()
        };
        let only = if let [pool] = pools[..] { Some((*pool, shape)) } else { None };
        Self { starts, members: members.map(|member| member.window).collect(), multiples, output: from, only }
    }

    fn of_pool(shape: [usize; 3], pool: &Pool) -> Vec<Vec<Member>> {
        let [channels, height, width] = shape;
        let [_, rows, columns] = pool.output(shape);
        let [down, across] = [pool.axis(0, height), pool.axis(1, width)];
        let [of_rows, of_columns] = pool.multiples(shape);
        let mut of = vec![Vec::new(); channels * height * width];
        for window in 0..channels * rows * columns {
            let (channel, row, column) = (window / (rows * columns), window / columns % rows, window % columns);
            let member = Member { window: window as u32, multiple: (of_rows[row] * of_columns[column]) as u32 };
            for y in (0..down.size).filter_map(|tap| down.input(row, tap)) {
                for x in (0..across.size).filter_map(|tap| across.input(column, tap)) {
                    of[(channel * height + y) * width + x].push(member);
                }
            }
        }
        of
    }

    /// The largest value of each window; 0 where none is above.
    ///
    /// - `values`: of the inputs
    #[inline]
    pub fn largest(&self, values: &[f64]) -> Vec<f64> {
        let mut largest = vec![0.0; self.output.iter().product()];
        for (input, &value) in values.iter().enumerate() {
            for &window in self.of(input) {
                largest[window as usize] = f64::max(largest[window as usize], value);
            }
        }
        largest
    }

    /// The windows of an input.
    #[inline]
    pub fn of(&self, input: usize) -> &[u32] {
        &self.members[self.starts[input] as usize..self.starts[input + 1] as usize]
    }

    /// The windows of an input, and how often it is added in each.
    #[inline]
    pub fn multiples_of(&self, input: usize) -> impl Iterator<Item = (usize, u32)> {
        let multiples = self.multiples.get(self.starts[input] as usize..).unwrap_or(&[]);
        let multiples = multiples.iter().copied().chain(std::iter::repeat(1));
        self.of(input).iter().map(|&window| window as usize).zip(multiples)
    }

    /// Shape `[C, H, W]` of all windows.
    #[inline]
    pub fn output(&self) -> [usize; 3] {
        self.output
    }
}

/// A window that an input belongs to.
#[derive(Debug, Clone, Copy)]
struct Member {
    window: u32,
    /// How often the input is added.
    multiple: u32,
}

/// Spikes so far at a max pool.
#[derive(Debug, Clone, Default)]
pub struct MaxPoolState {
    /// While every spike stood for one quantum.
    binary: Behind,
    /// Quanta of each input, once a spike has stood for another number.
    counts: Vec<i32>,
    /// Of each window, the largest.
    largest: Vec<i32>,
}

/// How many spikes each input of each window of a max pool is behind the busiest input of the window, bit by bit for 64 channels at a
/// time: word k holds bit k of the numbers.
#[derive(Debug, Clone, Default)]
struct Behind {
    n_steps: usize,
    /// Words of a number: the bits of the number of steps so far.
    n_bits: usize,
    /// Position by position of the windows, 64 channels by 64 channels: of the spikes of the busiest input, then tap by tap of how many
    /// that input is behind.
    words: Vec<u64>,
}

impl Behind {
    /// Makes room for the numbers of so many steps more.
    ///
    /// - `n`: numbers of 64 channels
    fn make_room(&mut self, n_steps: usize, n: usize) {
        self.n_steps += n_steps;
        let n_bits = (usize::BITS - self.n_steps.leading_zeros()) as usize;
        let mut words = vec![0; n * n_bits];
        if self.n_bits > 0 {
            let numbers = words.chunks_exact_mut(n_bits).zip(self.words.chunks_exact(self.n_bits));
            numbers.for_each(|(to, from)| to[..self.n_bits].copy_from_slice(from));
        }
        (self.n_bits, self.words) = (n_bits, words);
    }

    /// Lets the spikes through of the inputs that are not behind.
    fn pass(&mut self, pool: &Pool, shape: [usize; 3], train: &SpikeTrain, passed: &mut SpikeTrain) {
        let taps = Taps::new(pool, shape);
        self.make_room(train.n_steps(), taps.n_numbers());
        if self.n_bits == 0 {
            return;
        }
        let per_window = (1 + taps.per_window) * self.n_bits;
        let (to, pitch) = passed.words_mut();
        let mut inputs = Vec::with_capacity(taps.per_window);
        for (window, words) in self.words.chunks_exact_mut(per_window).enumerate() {
            let (place, n) = taps.window(window, &mut inputs);
            let there = u64::MAX >> (WORD - n);
            let (largest, behind) = words.split_at_mut(self.n_bits);
            for (step, to) in to.chunks_exact_mut(pitch.max(1)).enumerate() {
                let from = train.words(step);
                let mut raised = 0;
                for &(tap, input) in &inputs {
                    let is_behind = behind[tap * self.n_bits..][..self.n_bits].iter().fold(0, |any, word| any | word);
                    raised |= word_from(from, input, n) & !is_behind;
                }
                raised &= there;
                add(largest, [raised, 0]);
                for &(tap, input) in &inputs {
                    let spikes = word_from(from, input, n) & there;
                    add(&mut behind[tap * self.n_bits..][..self.n_bits], [raised & !spikes, spikes & !raised]);
                }
                add_bits(to, place, raised);
            }
        }
    }

    /// The spikes of each input that belongs to a window, and of the busiest of each window, by neuron.
    fn counts(&self, windows: &Windows, n_inputs: usize) -> (Vec<i32>, Vec<i32>) {
        let (mut counts, mut largest) = (vec![0; n_inputs], vec![0; windows.output.iter().product()]);
        let Some((pool, shape)) = windows.only.filter(|_| self.n_bits > 0) else { return (counts, largest) };
        let neuron = |[channels, rows, columns]: [usize; 3], place: usize| {
            place % channels * (rows * columns) + place / channels
        };
        let taps = Taps::new(&pool, shape);
        let mut inputs = Vec::new();
        for (window, words) in self.words.chunks_exact((1 + taps.per_window) * self.n_bits).enumerate() {
            let (place, n) = taps.window(window, &mut inputs);
            let number = |which: usize, lane: usize| {
                let words = words[which * self.n_bits..][..self.n_bits].iter().enumerate();
                words.map(|(bit, word)| ((word >> lane & 1) as i32) << bit).sum::<i32>()
            };
            for lane in 0..n {
                let of_busiest = number(0, lane);
                largest[neuron(windows.output, place + lane)] = of_busiest;
                for &(tap, input) in &inputs {
                    counts[neuron(shape, input + lane)] = of_busiest - number(1 + tap, lane);
                }
            }
        }
        (counts, largest)
    }
}

/// Adds one to the numbers of some lanes and takes one away from those of others.
///
/// - `words`: bit by bit
#[inline]
fn add(words: &mut [u64], [mut up, mut down]: [u64; 2]) {
    for word in words {
        if up | down == 0 {
            break;
        }
        let before = *word;
        *word ^= up | down;
        (up, down) = (up & before, down & !before);
    }
}

/// Where the inputs of a pool's windows lie.
struct Taps {
    axes: [Axis; 2],
    shape: [usize; 3],
    output: [usize; 3],
    per_window: usize,
    /// Numbers of words that the channels of a position take.
    n_chunks: usize,
}

impl Taps {
    fn new(pool: &Pool, shape: [usize; 3]) -> Self {
        let axes = [pool.axis(0, shape[1]), pool.axis(1, shape[2])];
        let n_chunks = shape[0].div_ceil(WORD);
        Self { axes, shape, output: pool.output(shape), per_window: pool.area(), n_chunks }
    }

    /// Numbers of 64 channels: of each window that of the busiest input, and one of each tap.
    fn n_numbers(&self) -> usize {
        let [_, rows, columns] = self.output;
        rows * columns * self.n_chunks * (1 + self.per_window)
    }

    /// The first place and the number of channels of a window of up to 64 channels.
    ///
    /// - `inputs`: becomes the taps that there is an input for, with the place of the first channel
    fn window(&self, window: usize, inputs: &mut Vec<(usize, usize)>) -> (usize, usize) {
        let ([channels, _, width], [_, _, columns]) = (self.shape, self.output);
        let (position, first) = (window / self.n_chunks, window % self.n_chunks * WORD);
        let [down, across] = self.axes;
        inputs.clear();
        for tap in 0..self.per_window {
            let (y, x) = (
                down.input(position / columns, tap / across.size),
                across.input(position % columns, tap % across.size),
            );
            if let (Some(y), Some(x)) = (y, x) {
                inputs.push((tap, (y * width + x) * channels + first));
            }
        }
        (position * channels + first, (channels - first).min(WORD))
    }
}

impl MaxPoolState {
    /// What the pool lets through of a train that follows what it has seen: the spikes that raise the largest count of a
    /// window.
    ///
    /// - `windows`: of the pool
    /// - returns one neuron per window
    fn pass(&mut self, windows: &Windows, train: &SpikeTrain) -> SpikeTrain {
        let mut passed = SpikeTrain::silent(windows.output, train.n_steps());
        let is_binary = !train.is_graded() && self.counts.is_empty();
        if let (Some((pool, shape)), true) = (&windows.only, is_binary) {
            self.binary.pass(pool, *shape, train, &mut passed);
            return passed;
        }
        if self.counts.is_empty() {
            (self.counts, self.largest) = std::mem::take(&mut self.binary).counts(windows, train.n_neurons());
        }
        self.pass_graded(windows, train, &mut passed);
        passed.normalized()
    }

    /// The change of each window's largest count, at each step.
    fn pass_graded(&mut self, windows: &Windows, train: &SpikeTrain, passed: &mut SpikeTrain) {
        let mut inputs_of: Vec<Vec<u32>> = vec![Vec::new(); self.largest.len()];
        for input in 0..self.counts.len() {
            windows.of(input).iter().for_each(|&window| inputs_of[window as usize].push(input as u32));
        }
        let mut touched: Vec<u32> = Vec::new();
        for step in 0..train.n_steps() {
            touched.clear();
            for (input, quanta) in train.graded_neurons(step) {
                self.counts[input] += quanta;
                touched.extend_from_slice(windows.of(input));
            }
            touched.sort_unstable();
            touched.dedup();
            for &window in &touched {
                let window = window as usize;
                let now = inputs_of[window].iter().map(|&input| self.counts[input as usize]).fold(0, i32::max);
                passed.add_quanta(step, window, now - std::mem::replace(&mut self.largest[window], now));
            }
        }
    }
}

/// What a max pool lets through: the spikes that raise the largest spike count of a window so far.
///
/// - `windows`: of one max pool
/// - returns one neuron per window
#[inline]
pub fn max_pool(windows: &Windows, train: &SpikeTrain) -> SpikeTrain {
    MaxPoolState::default().pass(windows, train)
}

/// The windows of each of a wiring's max pools, in order.
#[inline]
pub fn max_pools(wiring: &Wiring) -> Vec<Windows> {
    let mut shape = wiring.source_shape;
    let windows = wiring.max_pools().map(|pool| {
        let windows = Windows::new(shape, std::iter::once(pool));
        shape = pool.output(shape);
        windows
    });
    windows.collect()
}

/// The spikes behind max pools of a train that follows what they have seen; `None` if there are none.
///
/// - `states`: one per pool, or none before the first step
#[inline]
pub fn max_pooled(pools: &[Windows], states: &mut Vec<MaxPoolState>, train: &SpikeTrain) -> Option<SpikeTrain> {
    states.resize_with(pools.len(), MaxPoolState::default);
    let pools = pools.iter().zip(states);
    pools.fold(None, |passed, (windows, state)| Some(state.pass(windows, passed.as_ref().unwrap_or(train))))
}

/// What a pool is padded by if its last windows, which may stick out behind its padding, are to lie within: rows of zeros above, columns
/// to the left, rows below, columns to the right.
///
/// - `shape`: `[C, H, W]` of its input
pub fn padding_that_is_seen(pool: &Pool, shape: [usize; 3]) -> [usize; 4] {
    let (output, mut padding) = (pool.output(shape), pool.padding);
    for (dimension, (&n_windows, &n)) in output[1..].iter().zip(&shape[1..]).enumerate() {
        let end = (n_windows - 1) * pool.stride[dimension] + pool.kernel[dimension];
        padding[2 + dimension] = padding[2 + dimension].max(end.saturating_sub(padding[dimension] + n));
    }
    padding
}

/// The pools of a [`Wiring`], ready to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling {
    /// One per max pool, in order.
    pub max: Vec<Windows>,
    sum: Option<Windows>,
}

impl Pooling {
    /// Windows of all pools of a wiring.
    #[inline]
    pub fn new(wiring: &Wiring) -> Self {
        let adds = wiring.pools.iter().any(|pool| pool.kind == PoolKind::Mean);
        let sum = adds.then(|| Windows::new(wiring.max_pooled_shape(), wiring.sum_pools()));
        Self { max: max_pools(wiring), sum }
    }

    /// The spikes behind the max pools; `None` if there are none and the source's own spikes go on.
    #[inline]
    pub fn max_pooled(&self, train: &SpikeTrain) -> Option<SpikeTrain> {
        max_pooled(&self.max, &mut Vec::new(), train)
    }

    /// Inputs of the kernel that a spike behind the max pools is added to, and how often it is.
    #[inline]
    pub fn for_each_input(&self, neuron: usize, mut add: impl FnMut(usize, u32)) {
        match &self.sum {
            None => add(neuron, 1),
            Some(windows) => windows.multiples_of(neuron).for_each(|(window, multiple)| add(window, multiple)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(kind: PoolKind, kernel: usize, stride: usize) -> Pool {
        Pool::new(kind, [kernel; 2], [stride; 2])
    }

    #[test]
    fn windows_are_those_counted_by_hand() {
        // Windows of 2 at stride 1 on one row of 2×3: two of them, the middle column in both.
        let windows = Windows::new([1, 2, 3], [pool(PoolKind::Mean, 2, 1)].iter());
        let of: Vec<&[u32]> = (0..6).map(|input| windows.of(input)).collect();
        assert_eq!(of, [&[0][..], &[0, 1], &[1], &[0], &[0, 1], &[1]]);
        // What a stride leaves out belongs to no window; channels are apart.
        let windows = Windows::new([2, 3, 3], [pool(PoolKind::Mean, 2, 2)].iter());
        assert_eq!((windows.of(2), windows.of(4), windows.of(9 + 4)), (&[][..], &[0][..], &[1][..]));
        // Two pools in a row: 4×4 to 2×2 to one.
        let windows = Windows::new([1, 4, 4], [pool(PoolKind::Mean, 2, 2), pool(PoolKind::Mean, 2, 2)].iter());
        assert!((0..16).all(|input| windows.of(input) == [0]));
    }

    #[test]
    fn windows_that_are_cut_off_add_their_inputs_more_often() {
        // Windows of 3 at stride 2 over five places, one zero before and none behind: {·, 0, 1}, {1, 2, 3}, and, sticking out, {3, 4, ·}.
        let row = Pool { padding: [0, 1, 0, 0], ..Pool::new(PoolKind::Mean, [1, 3], [1, 2]) };
        let all = |pool: Pool| {
            let windows = Windows::new([1, 1, 5], [pool].iter());
            (0..5).map(|input| windows.multiples_of(input).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let divisor = |pool: Pool| pool.divisor([1, 1, 5]);
        assert_eq!(all(row), [vec![(0, 1)], vec![(0, 1), (1, 1)], vec![(1, 1)], vec![(1, 1)], vec![]]);
        assert_eq!(divisor(row), 3);
        // Means of three and of two, which lies behind the image never counts: both are sixths.
        let ceil = Pool { ceil: true, ..row };
        assert_eq!(all(ceil), [vec![(0, 2)], vec![(0, 2), (1, 2)], vec![(1, 2)], vec![(1, 2), (2, 3)], vec![(2, 3)]]);
        assert_eq!(divisor(ceil), 6);
        let uncounted = Pool { counts_padding: false, ..row };
        assert_eq!(all(uncounted), [vec![(0, 3)], vec![(0, 3), (1, 2)], vec![(1, 2)], vec![(1, 2)], vec![]]);
        assert_eq!(divisor(uncounted), 6);
        // A maximum has no divisor, whatever its padding.
        assert_eq!(all(Pool { kind: PoolKind::Max, ..uncounted }), all(row));
        // Of two pools in a row, multiples multiply: the second is of all three windows of the first.
        let second = Pool { ceil: true, ..Pool::new(PoolKind::Mean, [1, 2], [1, 2]) };
        let windows = Windows::new([1, 1, 5], [ceil, second].iter());
        let of = (0..5).map(|input| windows.multiples_of(input).collect::<Vec<_>>());
        assert_eq!(
            of.collect::<Vec<_>>(),
            [vec![(0, 2)], vec![(0, 2), (0, 2)], vec![(0, 2)], vec![(0, 2), (1, 6)], vec![(1, 6)]]
        );
    }

    #[test]
    fn padding_is_as_much_as_the_last_window_needs() {
        let pool = Pool { padding: [1, 0, 0, 1], ..Pool::new(PoolKind::Mean, [2, 3], [2, 2]) };
        assert_eq!(padding_that_is_seen(&pool, [1, 6, 6]), [1, 0, 0, 1]);
        // Rows −1 and 0, 1 and 2, 3 and 4, 5 and 6; columns 0 to 2, 2 to 4, 4 to 6, which the padding holds.
        assert_eq!(padding_that_is_seen(&Pool { ceil: true, ..pool }, [1, 6, 6]), [1, 0, 1, 1]);
        // Of seven columns, the last window begins at the last.
        assert_eq!(padding_that_is_seen(&Pool { ceil: true, ..pool }, [1, 5, 7]), [1, 0, 0, 2]);
    }

    proptest! {
        /// Also where the channels fill more than a word, and where spikes become graded on the way.
        #[test]
        fn a_train_in_pieces_passes_as_it_does_whole(
            channels in 1..140_usize, size in 2..5_usize, cut in 0..9_usize, first_graded in 0..12_usize, seed in any::<u64>(),
        ) {
            let (shape, n_steps) = ([channels, size, size], 9);
            let pool = Pool { padding: [1, 0, 0, 1], ..pool(PoolKind::Max, 2, 1) };
            let windows = Windows::new(shape, std::iter::once(&pool));
            let mut state = seed | 1;
            let mut pieces = [cut, n_steps - cut].map(|n_steps| SpikeTrain::silent(shape, n_steps));
            let mut quanta = vec![vec![0; channels * size * size]; n_steps];
            for (step, quanta) in quanta.iter_mut().enumerate() {
                for (neuron, quanta) in quanta.iter_mut().enumerate() {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let most = if step < first_graded { 2 } else { 4 };
                    *quanta = (state >> 20) as i32 % most;
                    let piece = usize::from(step >= cut);
                    pieces[piece].add_quanta(step - piece * cut, neuron, *quanta);
                }
            }
            let mut state = MaxPoolState::default();
            let passed = pieces.map(|piece| state.pass(&windows, &piece.normalized()));
            let mut so_far = vec![0; quanta[0].len()];
            let mut largest = vec![0; passed[0].n_neurons()];
            for (step, quanta) in quanta.iter().enumerate() {
                so_far.iter_mut().zip(quanta).for_each(|(so_far, quanta)| *so_far += quanta);
                let mut now = vec![0; largest.len()];
                for (input, &count) in so_far.iter().enumerate() {
                    for &window in windows.of(input) {
                        now[window as usize] = count.max(now[window as usize]);
                    }
                }
                let piece = usize::from(step >= cut);
                for (window, (now, before)) in now.iter().zip(&largest).enumerate() {
                    prop_assert_eq!(passed[piece].quanta(step - piece * cut, window), now - before);
                }
                largest = now;
            }
        }

        /// The definition, counted anew at every step.
        #[test]
        fn the_output_of_a_max_pool_has_spiked_as_often_as_the_busiest_input_at_every_step(
            channels in 1..3_usize, size in 2..6_usize, kernel in 1..4_usize, stride in 1..4_usize, padding in [0..3_usize, 0..3_usize],
            ceil in any::<bool>(), seed in any::<u64>(),
        ) {
            let [before, after] = padding;
            prop_assume!(kernel <= size && before.max(after) < kernel);
            let n_steps = 12;
            let shape = [channels, size, size];
            let mut train = SpikeTrain::silent(shape, n_steps);
            let mut state = seed | 1;
            for step in 0..n_steps {
                for neuron in 0..train.n_neurons() {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    if state % 3 == 0 {
                        train.add(step, neuron);
                    }
                }
            }
            let pool = Pool { padding: [before, before, after, after], ceil, ..pool(PoolKind::Max, kernel, stride) };
            let passed = max_pool(&Windows::new(shape, std::iter::once(&pool)), &train);
            let [_, rows, columns] = pool.output(shape);
            let so_far = |train: &SpikeTrain, neuron: usize, step: usize| (0..=step).filter(|&s| train.get(s, neuron)).count();
            for step in 0..n_steps {
                for window in 0..passed.n_neurons() {
                    let (channel, row, column) = (window / (rows * columns), window / columns % rows, window % columns);
                    // What lies in the padding is not there.
                    let inside = (0..kernel * kernel).filter_map(|i| {
                        let y = (row * stride + i / kernel).checked_sub(before).filter(|y| *y < size)?;
                        let x = (column * stride + i % kernel).checked_sub(before).filter(|x| *x < size)?;
                        Some(so_far(&train, (channel * size + y) * size + x, step))
                    });
                    prop_assert_eq!(so_far(&passed, window, step), inside.max().unwrap());
                }
            }
        }
    }
}
