//! `regular`: evenly spread spikes with the phase ½, so that nothing is random.

use super::{Input, ONE, even};
use crate::spikes::SpikeTrain;

pub(super) fn encode(input: &Input<'_>, train: &mut SpikeTrain) {
    even::encode(input, &phases(input.pixels.len()), train);
}

pub(super) fn phases(n: usize) -> Vec<u64> {
    vec![ONE / 2; n]
}
