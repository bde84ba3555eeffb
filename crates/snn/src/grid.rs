//! The exact grid: why every engine gives the same spikes, bit for bit.
//!
//! A neuron's weights, bias and initial potential are whole multiples of one power of two, 2⁻ᵍ thresholds. A 32-bit
//! float holds every multiple up to 2²⁴·2⁻ᵍ exactly, so as long as no partial sum goes beyond that, additions do not
//! round, and their order (lists, matrix products, SIMD of any width, threads, GPU) does not matter. g is the largest
//! for which the neuron's bound keeps that promise. Every neuron has its own: sums are within neurons, and one neuron
//! with huge weights must not make the others coarse.

/// 2²⁴, the whole numbers that a 32-bit float holds without a gap.
const EXACT: f64 = 16_777_216.0;

/// Finest grid that is used; the rounding is then below that of a 32-bit float next to the threshold.
const FINEST: i32 = 22;

/// Grid below which accuracy could suffer (2⁻¹⁰ thresholds, a thousandth of one). Runs so long that their worst
/// case needs a coarser one get this one and saturating potentials instead.
const COARSEST_FOR_LENGTH: i32 = 10;

/// What the sums of a grid must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precision {
    /// Time steps of a run.
    pub n_steps: usize,
    /// Bits, besides the sign, of what one step adds to a potential, in steps of the grid: 24, all that a 32-bit float
    /// holds, is the finest; 15 makes it a 16-bit integer.
    pub sum_bits: u32,
    /// Bits of a weight, with the sign: 8 make it a byte; 25 are no limit but that of the sums.
    pub weight_bits: u32,
    /// Whether potentials may saturate, far from the threshold, where a long run would otherwise need a grid coarser than 2⁻¹⁰. What
    /// counting neurons put out is right only if they never do.
    pub may_saturate: bool,
}

impl From<usize> for Precision {
    /// The finest for a number of time steps.
    fn from(n_steps: usize) -> Self {
        Self { n_steps, sum_bits: 24, weight_bits: 25, may_saturate: true }
    }
}

/// A neuron's grid and the potentials that stay exact on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// g: the step of the grid is 2⁻ᵍ thresholds.
    pub exponent: i32,
    /// Potentials are kept within ± this many thresholds; a multiple of the step.
    pub potential_limit: f32,
    /// Number of time steps for which no potential can reach the limit, whatever the input.
    pub free_steps: usize,
}

impl Grid {
    /// The step, in thresholds.
    #[inline]
    pub fn step(self) -> f64 {
        (-f64::from(self.exponent)).exp2()
    }

    /// The nearest multiple of the step, halves to even.
    ///
    /// - `value`: in thresholds, within the exact range
    #[inline]
    pub fn round(self, value: f64) -> f32 {
        ((value / self.step()).round_ties_even() * self.step()) as f32
    }

    /// Whether a value lies on the grid.
    #[inline]
    pub fn holds(self, value: f32) -> bool {
        (f64::from(value) / self.step()).fract() == 0.0
    }

    /// The finest grid on which the steps of a run of a neuron are exact; `None` if not even one step is.
    ///
    /// - `weights`: of all synapses, in thresholds, finite, each with the number of inputs that it is the weight of
    /// - `bias`, `initial_potential`: in thresholds; neurons that share a grid may have biases of their own ([`Self::finest_below`])
    ///
    /// The bound: inputs are in [0, 1], so one step adds at most the sum of the positive weights and bias, or of the
    /// negative ones, and a spike only ever moves a potential of 1 or more towards zero. Where that bound would make
    /// the grid of a long run coarser than 2⁻¹⁰, potentials saturate instead, far from the threshold.
    /// This bound is for spikes of 0 and 1. [`crate::SpikingLayer::potential_limits_of`] has the bound for other neurons on the same grid.
    #[inline]
    pub fn finest(
        weights: &(impl Iterator<Item = (f64, usize)> + Clone),
        bias: f64,
        initial_potential: f64,
        precision: Precision,
    ) -> Option<Self> {
        Self::finest_below(1.0, weights, [bias; 2], initial_potential, precision)
    }

    /// The same for neurons whose firing thresholds and biases differ.
    ///
    /// - `largest`: the largest of the thresholds, in nominal ones
    /// - `biases`: the least and the greatest of them
    ///
    /// The bound holds for any threshold above zero: a spike moves a potential of that much or more towards zero.
    #[inline]
    pub fn finest_below(
        largest: f64,
        weights: &(impl Iterator<Item = (f64, usize)> + Clone),
        biases: [f64; 2],
        initial_potential: f64,
        precision: Precision,
    ) -> Option<Self> {
        let Precision { n_steps, sum_bits, weight_bits, may_saturate } = precision;
        let largest_weight = weights.clone().map(|(weight, _)| weight.abs()).fold(0.0, f64::max);
        (0..=FINEST).rev().find_map(|exponent| {
            let units = (largest_weight * f64::from(exponent).exp2()).round_ties_even();
            if units >= f64::from(weight_bits - 1).exp2() {
                return None;
            }
            if Self::swing(exponent, weights.clone(), biases) >= f64::from(sum_bits).exp2() {
                return None;
            }
            let grid = Self::with_exponent(exponent, weights.clone(), biases, initial_potential)
                .filter(|grid| f64::from(grid.potential_limit) >= largest)?;
            (grid.free_steps >= n_steps || may_saturate && exponent <= COARSEST_FOR_LENGTH).then_some(grid)
        })
    }

    /// Largest change of the potential in one step, in steps of the grid.
    fn swing(exponent: i32, weights: impl Iterator<Item = (f64, usize)>, [least, greatest]: [f64; 2]) -> f64 {
        let scale = f64::from(exponent).exp2();
        let biases = [(least.min(0.0), 1), (greatest.max(0.0), 1)];
        // The sums are of whole numbers, so f64 is exact far beyond the range of interest.
        let (up, down) = weights.chain(biases).fold((0.0, 0.0), |(up, down): (f64, f64), (value, multiplicity)| {
            let unit = (value * scale).round_ties_even() * multiplicity as f64;
            (up + unit.max(0.0), down - unit.min(0.0))
        });
        up.max(down)
    }

    /// Whether all sums of a run are exact where no input has brought more than a total so far, nor less than nothing, and the neuron has
    /// put out as much in all: then what was ever added is bounded, however often it was taken back in between.
    ///
    /// - `exponent`: of the grid
    /// - `weights`, `biases`, `initial_potential`: as for [`Self::finest_below`]
    /// - `threshold`: the largest, in nominal ones
    /// - `total`: that an input brings in a run at most, in quanta; biases count as often
    pub fn holds_totals(
        exponent: i32,
        weights: impl Iterator<Item = (f64, usize)> + Clone,
        biases: [f64; 2],
        initial_potential: f64,
        threshold: f64,
        total: u32,
    ) -> bool {
        let scale = f64::from(exponent).exp2();
        let magnitude: f64 = weights
            .clone()
            .map(|(weight, multiplicity)| (weight * scale).round_ties_even().abs() * multiplicity as f64)
            .sum();
        let start = (initial_potential * scale).round_ties_even().abs();
        // What the potential is after any step, and what is on its way at one: both signs at once, in any order. A constant current is
        // rounded once more, by half a unit at most.
        let after = Self::swing(exponent, weights, biases) + 1.0;
        let total = f64::from(total);
        start + total * (after + magnitude) + 2.0 * threshold * scale <= EXACT
    }

    /// The limits of a grid of a given step for a neuron; `None` if not even one step is exact.
    ///
    /// Arguments as for [`Self::finest_below`].
    #[inline]
    pub fn with_exponent(
        exponent: i32,
        weights: impl Iterator<Item = (f64, usize)>,
        biases: [f64; 2],
        initial_potential: f64,
    ) -> Option<Self> {
        if !(0..=FINEST).contains(&exponent) {
            return None;
        }
        let scale = f64::from(exponent).exp2();
        // A constant current is rounded once more, by half a unit at most.
        let swing = Self::swing(exponent, weights, biases) + 1.0;
        let start = (initial_potential * scale).round_ties_even().abs();
        // What is left for the potential between steps; one threshold must fit, or nothing would ever fire.
        let limit = EXACT - swing;
        if limit < scale.max(start) {
            return None;
        }
        let free_steps = ((limit - start) / swing).floor() as usize;
        Some(Self { exponent, potential_limit: (limit / scale) as f32, free_steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn once_each(weights: &[f64]) -> impl Iterator<Item = (f64, usize)> + Clone {
        weights.iter().map(|&weight| (weight, 1))
    }

    #[test]
    fn the_finest_grid_is_the_one_computed_by_hand() {
        // One step adds at most 3: 2²⁴ / (4·3 and a little) gives 2²⁰ units per threshold, not 2²¹.
        let grid = Grid::finest(&once_each(&[1.0, 1.5, -2.0]), 0.5, 0.5, 4.into()).unwrap();
        assert_eq!((grid.exponent, grid.free_steps), (20, 4));
        assert_eq!(Grid::finest(&once_each(&[1.0, 1.5, -2.0]), 0.5, 0.5, 5.into()).unwrap().exponent, 19);
    }

    #[test]
    fn neurons_of_one_grid_may_have_different_biases() {
        // Up to 2½ + ½, and down to 2 + 1½: one step adds 3½ at most, as with a bias of 1 for all.
        let weights = once_each(&[1.0, 1.5, -2.0]);
        let of = |biases| Grid::finest_below(1.0, &weights, biases, 0.5, 4.into());
        assert_eq!(of([-1.5, 0.5]), of([1.0; 2]));
        assert_eq!(of([0.25, 1.0]), of([1.0; 2]));
        assert_ne!(of([0.25, 0.5]), of([1.0; 2]));
    }

    #[test]
    fn a_weight_of_many_inputs_counts_as_often() {
        let four_times = Grid::finest(&[(0.25, 4)].into_iter(), 0.0, 0.0, 4.into());
        assert_eq!(four_times, Grid::finest(&once_each(&[0.25; 4]), 0.0, 0.0, 4.into()));
        assert_eq!(four_times, Grid::finest(&once_each(&[1.0]), 0.0, 0.0, 4.into()));
    }

    #[test]
    fn fewer_bits_make_a_coarser_grid_that_16_bits_hold() {
        // Up to 3.5 a step: 2¹⁵/3.5 holds 2¹³ units per threshold.
        let weights = once_each(&[1.0, 1.5, -2.0]);
        let of_bits = |sum_bits, weight_bits| Precision { sum_bits, weight_bits, ..4.into() };
        let grid = Grid::finest(&weights, 1.0, 0.5, of_bits(15, 25)).unwrap();
        assert_eq!(grid.exponent, 13);
        assert_eq!(Grid::finest(&weights, 1.0, 0.5, of_bits(1, 25)), None);
        // −2 is −64 units of 2⁻⁵, and −128 of 2⁻⁶: one too many for what is symmetric.
        assert_eq!(Grid::finest(&weights, 1.0, 0.5, of_bits(15, 8)).unwrap().exponent, 5);
        assert_eq!(Grid::finest(&weights, 1.0, 0.5, of_bits(8, 15)), Grid::finest(&weights, 1.0, 0.5, of_bits(8, 25)));
        assert_eq!(Grid::finest(&weights, 1.0, 0.5, of_bits(15, 2)), None);
    }

    #[test]
    fn long_runs_keep_a_fine_grid_and_say_when_potentials_may_saturate() {
        let grid = Grid::finest(&once_each(&[100.0]), 0.0, 0.0, 1_000_000.into()).unwrap();
        assert_eq!(grid.exponent, COARSEST_FOR_LENGTH);
        // 2²⁴/2¹⁰ = 16,384 thresholds in steps of 100.
        assert_eq!(grid.free_steps, 162);
        assert!(grid.holds(grid.potential_limit));
        // Where they may not, a thousand steps of 100 thresholds leave 2²⁴/10⁵ units of each.
        let precision = Precision { may_saturate: false, ..1000.into() };
        let grid = Grid::finest(&once_each(&[100.0]), 0.0, 0.0, precision).unwrap();
        assert_eq!(grid.exponent, 7);
        assert!(grid.free_steps >= 1000);
    }

    #[test]
    fn weights_beyond_the_exact_range_have_no_grid() {
        assert_eq!(Grid::finest(&once_each(&[2e7]), 0.0, 0.0, 1.into()), None);
        assert!(Grid::finest(&once_each(&[1e6]), 0.0, 0.0, 1.into()).is_some());
    }

    proptest! {
        #[test]
        fn sums_on_the_grid_are_exact_in_any_order(
            weights in proptest::collection::vec(-3.0..3.0_f64, 1..60), n_steps in 1..64_usize, seed in any::<u64>(),
        ) {
            let grid = Grid::finest(&once_each(&weights), 0.25, 0.5, n_steps.into()).unwrap();
            prop_assert!(grid.free_steps >= n_steps);
            // The worst run: every positive weight at every step, in two orders.
            let mut terms: Vec<f32> = (0..n_steps).flat_map(|_| &weights).map(|&w| grid.round(w)).filter(|w| *w > 0.0).collect();
            let exact: f64 = terms.iter().map(|&w| f64::from(w)).sum();
            let forward: f32 = terms.iter().sum();
            let n_terms = terms.len().max(1);
            terms.rotate_left(seed as usize % n_terms);
            let rotated: f32 = terms.iter().sum();
            prop_assert_eq!(f64::from(forward), exact);
            prop_assert_eq!(f64::from(rotated), exact);
        }

        #[test]
        fn rounding_moves_a_value_by_half_a_step_at_most(value in -100.0..100.0_f64, exponent in 0..17_i32) {
            let grid = Grid { exponent, potential_limit: 0.0, free_steps: 0 };
            let rounded = grid.round(value);
            prop_assert!(grid.holds(rounded));
            prop_assert!((f64::from(rounded) - value).abs() <= grid.step() / 2.0);
        }
    }
}
