//! Counter-based random numbers: Philox 4×32 with 10 rounds.
//!
//! A draw is a pure function of a key and a counter, so it does not matter in which order, batch or thread the
//! draws are made. Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".

#![allow(clippy::inline_always, reason = "it takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;

/// Multipliers of the two halves of the counter.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What is added to the key after each round: 2³²/φ and 2³²·(√3 − 1).
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Rounds; ten pass all statistical tests of the source with a margin.
const ROUNDS: usize = 10;

/// The lower half of a lane.
const LOWER: u64 = u32::MAX as u64;

/// Four words of 32 random bits for a counter, under a seed.
#[inline]
pub fn philox(seed: u64, counter: [u32; 4]) -> [u32; 4] {
    philox_lanes(seed, counter.map(|word| [word])).map(|[word]| word)
}

/// The same for several counters at once: each word of all of them side by side.
#[inline(always)]
pub fn philox_lanes<const N: usize>(seed: u64, counters: [[u32; N]; 4]) -> [[u32; N]; 4] {
    // A word stands in the lower half of a lane of 64 bits, which its product fills; the upper half of any other is ignored.
    let mut x = [[0; N]; 4];
    for word in 0..4 {
        for lane in 0..N {
            x[word][lane] = u64::from(counters[word][lane]);
        }
    }
    words(rounds(seed, x, 0..ROUNDS))
}

/// The same for many calls with counters whose second word alone changes from call to call, and whose first word alone from lane to
/// lane: what the first two rounds do with the others is done once.
#[derive(Debug)]
pub struct Series<const N: usize> {
    seed: u64,
    /// Of all lanes after the first round, without the counter's second word: the first word.
    first_word: u64,
    /// After the second round, without what becomes of that: the first three words.
    words: [[u64; N]; 3],
}

impl<const N: usize> Series<N> {
    /// - `first`, `third`, `fourth`: words of the counters
    #[inline(always)]
    pub fn new(seed: u64, first: &[u32; N], third: u32, fourth: u32) -> Self {
        let keys = [key(seed, 0), key(seed, 1)];
        let high = u64::from(MULTIPLIERS[1]) * u64::from(third);
        let mut words = [[0; N]; 3];
        for lane in 0..N {
            let low = u64::from(MULTIPLIERS[0]) * u64::from(first[lane]);
            let product = u64::from(MULTIPLIERS[1]) * ((low >> 32 ^ u64::from(fourth) ^ u64::from(keys[0][1])) & LOWER);
            words[0][lane] = product >> 32 ^ high ^ u64::from(keys[1][0]);
            words[1][lane] = product;
            words[2][lane] = low ^ u64::from(keys[1][1]);
        }
        Self { seed, first_word: high >> 32 ^ u64::from(keys[0][0]), words }
    }

    /// - `second`: word of all counters
    #[inline(always)]
    pub fn at(&self, second: u32) -> [[u32; N]; 4] {
        let low = u64::from(MULTIPLIERS[0]) * ((self.first_word ^ u64::from(second)) & LOWER);
        let mut x = [self.words[0], self.words[1], self.words[2], [low; N]];
        for lane in 0..N {
            x[2][lane] ^= low >> 32;
        }
        words(rounds(self.seed, x, 2..ROUNDS))
    }
}

/// The key of a round, from 0.
#[inline(always)]
fn key(seed: u64, round: usize) -> [u32; 2] {
    let added = |half: usize| WEYL[half].wrapping_mul(round as u32);
    [(seed as u32).wrapping_add(added(0)), ((seed >> 32) as u32).wrapping_add(added(1))]
}

#[inline(always)]
fn rounds<const N: usize>(seed: u64, mut x: [[u64; N]; 4], rounds: Range<usize>) -> [[u64; N]; 4] {
    let mut key = key(seed, rounds.start);
    for _ in rounds {
        let mut next = [[0; N]; 4];
        for lane in 0..N {
            let low = u64::from(MULTIPLIERS[0]) * (x[0][lane] & LOWER);
            let high = u64::from(MULTIPLIERS[1]) * (x[2][lane] & LOWER);
            next[0][lane] = high >> 32 ^ x[1][lane] ^ u64::from(key[0]);
            next[1][lane] = high;
            next[2][lane] = low >> 32 ^ x[3][lane] ^ u64::from(key[1]);
            next[3][lane] = low;
        }
        x = next;
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    x
}

/// The lower halves of lanes.
#[inline(always)]
fn words<const N: usize>(x: [[u64; N]; 4]) -> [[u32; N]; 4] {
    let mut words = [[0; N]; 4];
    for word in 0..4 {
        for lane in 0..N {
            words[word][lane] = x[word][lane] as u32;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_series_draws_what_each_counter_does(seed: u64, first: [u32; 3], others: [u32; 3], second: u32) {
            let series = Series::new(seed, &first, others[0], others[1]);
            for second in [second, second.wrapping_add(1), others[2]] {
                let drawn = series.at(second);
                for lane in 0..3 {
                    let expected = philox(seed, [first[lane], second, others[0], others[1]]);
                    prop_assert_eq!(drawn.map(|words| words[lane]), expected);
                }
            }
        }
    }

    #[test]
    fn known_answers_of_the_authors_are_met() {
        // `philox4x32 10` in the file kat_vectors of Random123 1.14: counter, key, result.
        let all = u32::MAX;
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([all; 4], [all; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, [low, high], expected) in cases {
            assert_eq!(philox(u64::from(high) << 32 | u64::from(low), counter), expected);
        }
    }
}
