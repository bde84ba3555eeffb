//! `constant`: no spikes. The pixel's value is a current at each step, which is [`crate::SpikingLayer::drive`].

use super::Input;
use crate::spikes::SpikeTrain;

pub(super) fn encode(_: &Input<'_>, _: &mut SpikeTrain) {}
