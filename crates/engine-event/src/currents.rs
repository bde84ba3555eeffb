//! The currents of one layer, site by site, for whoever measures them.
//!
//! Neurons that hand on what arrives at them serve all measurements, and the kernels are compiled for no others.

use std::ops::Range;
use std::sync::Arc;

use pulp::Arch;
use snn::network::SpikingLayer;
use snn::spikes::SpikeTrain;

use crate::events::{Lists, PoolStates, Scratch};
use crate::firing::{Firing, with_room};
use crate::graded::Arriving;
use crate::kernels::{Synapses, pack};

/// Is given the places ([`snn::places`]) of a few neurons and their currents in thresholds, `[T, W]`, with that `W`.
pub type Receive<'a> = dyn FnMut(Range<usize>, &[f32], usize) + 'a;

/// The synapses of a layer, packed to tell the currents that spikes cause. Copies share the weights.
#[derive(Debug, Clone)]
pub struct LayerCurrents {
    synapses: Arc<dyn Synapses>,
    /// By place.
    zeros: Vec<f32>,
}

impl LayerCurrents {
    /// Packs a layer's weights.
    pub fn new(layer: &SpikingLayer) -> Self {
        Self::of(pack(layer), layer)
    }

    /// - `synapses`: of the layer
    pub(crate) fn of(synapses: impl Into<Arc<dyn Synapses>>, layer: &SpikingLayer) -> Self {
        Self { synapses: synapses.into(), zeros: with_room(vec![0.0; layer.n_out()], 0.0) }
    }

    /// Hands the currents that the spikes of a sample cause, at all steps, to `receive`, a few neurons at a time.
    ///
    /// - `spikes`: of the input, then of the layers before this one
    /// - `receive`: is given the places ([`snn::places`]) of the neurons and their currents in thresholds, `[T, W]` with `W` not
    ///   below the number of places; columns behind the last place mean nothing
    pub fn for_each_site(&self, spikes: &[SpikeTrain], n_steps: usize, receive: &mut Receive<'_>) {
        self.at_level(Arch::new(), spikes, n_steps, receive);
    }

    /// The same at a SIMD level.
    pub(crate) fn at_level(&self, arch: Arch, spikes: &[SpikeTrain], n_steps: usize, receive: &mut Receive<'_>) {
        let (mut lists, mut potentials) = ([Lists::default()], self.zeros.clone());
        self.synapses.list(
            arch,
            Arriving::binary(spikes),
            &mut PoolStates::default(),
            &mut Scratch::default(),
            &mut lists[0],
        );
        let mut firing = Firing::handing_on(receive, &self.zeros, &mut potentials, n_steps);
        self.synapses.visit(arch, &lists, n_steps, &mut firing);
    }
}
