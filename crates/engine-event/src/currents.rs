//! The currents of one layer, site by site, for whoever measures them.
//!
//! One consumer of the kernels serves all measurements: each has the kernels compiled into it once more, at every SIMD level.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]

use std::ops::Range;

use pulp::Simd;
use snn::network::SpikingLayer;
use snn::spikes::SpikeTrain;

use crate::gather::{Consumer, GatherLayer, NARROW, Scale, Visit, WIDE, Weight};
use crate::simd::Aligned;

/// The synapses of a layer, packed to tell the currents that spikes cause.
#[derive(Debug)]
pub struct LayerCurrents(GatherLayer);

impl LayerCurrents {
    /// Packs a layer's weights.
    pub fn new(layer: &SpikingLayer) -> Self {
        Self(GatherLayer::new(layer))
    }

    /// Hands the currents that the spikes of a sample cause, at all steps, to `receive`, a few neurons at a time.
    ///
    /// - `spikes`: of the input, then of the layers before this one
    /// - `receive`: is given the places ([`snn::places`]) of the neurons and their currents in thresholds, `[T, W]` with `W` not
    ///   below the number of places; columns behind the last place mean nothing
    pub fn for_each_site(
        &self,
        spikes: &[SpikeTrain],
        n_steps: usize,
        receive: &mut dyn FnMut(Range<usize>, &[f32], usize),
    ) {
        self.0.visit_sample(spikes, n_steps, &mut Recorder { receive, places: 0..0, currents: Vec::new() });
    }
}

/// Keeps the currents of a site until there are no more steps.
struct Recorder<'a> {
    receive: &'a mut dyn FnMut(Range<usize>, &[f32], usize),
    places: Range<usize>,
    currents: Vec<f32>,
}

impl Visit for Recorder<'_> {
    fn wide<N: Weight>(&mut self) -> impl Consumer<N, WIDE> {
        self
    }

    fn narrow<N: Weight>(&mut self) -> impl Consumer<N, NARROW> {
        self
    }
}

impl<N: Weight, const W: usize> Consumer<N, W> for &mut Recorder<'_> {
    #[inline(always)]
    fn begin(&mut self, _: usize, places: Range<usize>, _: &Scale<W>) -> [N; W] {
        self.places = places;
        self.currents.clear();
        [N::ZERO; W]
    }

    #[inline(always)]
    fn step<S: Simd>(&mut self, _: S, _: usize, Aligned(sums): &Aligned<[N; W]>, scale: &Scale<W>) {
        self.currents.extend_from_slice(&scale.currents(sums));
    }

    #[inline(always)]
    fn end(&mut self, _: bool, _: &Scale<W>) {
        (self.receive)(self.places.clone(), &self.currents, W);
    }
}
