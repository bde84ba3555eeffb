//! Spikes that are spread evenly: a pixel's rate is added up from a phase on, and each whole number passed is a spike.
//!
//! `floor(t·x + u) − floor((t − 1)·x + u)` spikes at step t, so that the count over any window is less than one spike off `x` times its
//! length. Encodings differ in the phase u.

use pulp::{Arch, Simd, WithSimd};

use super::{Input, ONE, WORD, rates};
use crate::places::by_place;
use crate::simd::{LANES, at_most};
use crate::spikes::SpikeTrain;

/// - `phases`: u of each pixel, in units of 2⁻³²
pub(super) fn encode(input: &Input<'_>, phases: &[u64], train: &mut SpikeTrain) {
    let rates = rates(input.sample, input.pixels);
    let first_step = input.first_step as u64;
    let charges: Vec<u64> = phases.iter().zip(&rates).map(|(phase, rate)| phase + rate * first_step).collect();
    Arch::new().dispatch(Even { train, charges: &charges, rates: &rates });
}

/// Spreads the spikes of a few pixels at a time evenly.
struct Even<'a> {
    train: &'a mut SpikeTrain,
    /// Of each pixel before the first step, of which only the part below a spike counts.
    charges: &'a [u64],
    /// Of each pixel.
    rates: &'a [u64],
}

impl WithSimd for Even<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
    #[allow(
        clippy::needless_range_loop,
        reason = "the same lane of several arrays, which becomes one SIMD instruction"
    )]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { train, charges, rates } = self;
        let (shape, n_steps) = (train.shape(), train.n_steps());
        let (charges, rates) = (by_place(shape, charges), by_place(shape, rates));
        let (words, pitch) = train.words_mut();
        for (word, (charges, rates)) in charges.chunks(WORD).zip(rates.chunks(WORD)).enumerate() {
            let (mut sums, mut added, mut always) = ([0; WORD], [0; WORD], 0_u64);
            for (lane, (&charge, &rate)) in charges.iter().zip(rates).enumerate() {
                // A spike is 2³², on which sums wrap around; a rate of one spike leaves them as they are.
                (sums[lane], added[lane]) = (charge as u32, rate as u32);
                always |= u64::from(rate == ONE) << lane;
            }
            if rates.iter().all(|&rate| rate == 0) {
                continue;
            }
            for step in 0..n_steps {
                let mut spikes = always;
                let groups = sums.as_chunks_mut::<LANES>().0.iter_mut().zip(added.as_chunks::<LANES>().0);
                for (group, (sums, added)) in groups.enumerate() {
                    for lane in 0..LANES {
                        sums[lane] = sums[lane].wrapping_add(added[lane]);
                    }
                    // A sum that is less than what was added to it has wrapped around.
                    spikes |= u64::from(!at_most(simd, added, sums)) << (LANES * group);
                }
                words[step * pitch + word] = spikes;
            }
        }
    }
}
