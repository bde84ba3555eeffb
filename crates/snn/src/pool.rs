//! Pools between layers, on spikes.
//!
//! An average pool adds spikes up: its divisor is in the weights that follow, so it is no more than a detour of the
//! synapses. Windows at a border may be means of fewer inputs; they add each input several times, so that all share one divisor. A max
//! pool lets a spike through when it raises the largest spike count of its window so far; where spikes carry more than 0 or 1, it puts out
//! the change of that count. At every
//! step the output has then spiked exactly as often as the busiest input of the window, which is what the largest
//! activation stands for. (Rueckauer et al. 2017 let the spikes of one input through, that with the largest
//! estimated rate. With counts for rates this passes one too many when an input draws level and the tie goes to it.) It costs a counter per input and a comparison per input spike
//! and window.

use model::population::{Pool, PoolKind};

use crate::spikes::SpikeTrain;
use crate::wiring::Wiring;

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
}

impl Windows {
    /// The windows of pools that follow each other. Where pools of pools overlap, an input stands in a window more than once.
    ///
    /// - `shape`: `[C, H, W]` of the input
    #[inline]
    pub fn new<'a>(shape: [usize; 3], pools: impl Iterator<Item = &'a Pool>) -> Self {
        let n_inputs: usize = shape.iter().product();
        let mut lists: Vec<Vec<Member>> =
            (0..n_inputs as u32).map(|window| vec![Member { window, multiple: 1 }]).collect();
        let mut from = shape;
        for pool in pools {
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
        Self { starts, members: members.map(|member| member.window).collect(), multiples, output: from }
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
    /// Quanta of each input.
    counts: Vec<i32>,
    /// Of each window, the largest.
    largest: Vec<i32>,
}

impl MaxPoolState {
    /// What the pool lets through of a train that follows what it has seen: the spikes that raise the largest count of a
    /// window.
    ///
    /// - `windows`: of the pool
    /// - returns one neuron per window
    fn pass(&mut self, windows: &Windows, train: &SpikeTrain) -> SpikeTrain {
        let mut passed = SpikeTrain::silent(windows.output, train.n_steps());
        self.counts.resize(train.n_neurons(), 0);
        self.largest.resize(passed.n_neurons(), 0);
        if train.is_graded() {
            self.pass_graded(windows, train, &mut passed);
            return passed.normalized();
        }
        for step in 0..train.n_steps() {
            for input in train.neurons(step) {
                self.counts[input] += 1;
                for &window in windows.of(input) {
                    let largest = &mut self.largest[window as usize];
                    // At most one higher: no input spikes twice in a step.
                    if self.counts[input] > *largest {
                        *largest = self.counts[input];
                        passed.add(step, window as usize);
                    }
                }
            }
        }
        passed
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
