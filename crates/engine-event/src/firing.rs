//! Neurons that integrate their currents and fire.
//!
//! Currents come site by site from [`crate::gather`]. Where weights are integers, potentials are too, in steps of each neuron's grid,
//! which is exact: so is a conversion to 32-bit floats, in thresholds, and back. For a few steps at a time they are kept in 16 bits,
//! twice as many side by side, where the level has no faster way; it is found out when they do not fit.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use std::ops::Range;

use model::config::{NeuronConfig, NeuronKind, Reset};
use pulp::{Arch, Simd, WithSimd};

use crate::currents::Receive;
use crate::gather::{Consumer, Scale, SumsOf, WIDE, Weight};
use crate::graded::Rows;
use crate::simd::{Aligned, LANES, Potential, SHORT};
use snn::engine::Neurons;
use snn::network::SpikingLayer;
use snn::neurons::Counting;
use snn::places::by_place;
use snn::spikes::{SpikeTrain, add_bits};

/// Some steps of one layer of one sample.
#[derive(Debug)]
pub(super) struct LayerRun<'a> {
    /// Added at each step, by place.
    pub(super) currents: &'a [f32],
    /// Before these steps, by place; none if they are those of `potentials`.
    pub(super) start: Option<&'a [f32]>,
    /// Of the last step so far, by place.
    pub(super) potentials: &'a mut [f32],
    /// Quanta put out so far, by place; none where spikes are 0 or 1.
    pub(super) emitted: &'a mut [i32],
    pub(super) output: Output,
}

/// What neurons do whose spikes stand for several quanta, or take some back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Graded<'a> {
    /// That the steps became.
    pub(super) rows: &'a Rows,
    /// The neurons.
    pub(super) neuron: NeuronConfig,
    /// Steps of the whole run, T, and of those before these.
    pub(super) n_steps: usize,
    pub(super) first_step: usize,
}

impl Graded<'_> {
    /// The most that a neuron may have put out after one of these steps.
    fn cap(&self, step: usize) -> i32 {
        match self.neuron.kind {
            NeuronKind::Counting | NeuronKind::Waiting => {
                Counting::new(self.neuron, self.n_steps).cap(self.first_step + step)
            }
            _ => i32::MAX,
        }
    }

    /// The least and the most that a neuron puts out at a step.
    fn range(&self) -> [i32; 2] {
        match self.neuron.kind {
            NeuronKind::Counting | NeuronKind::Waiting => [i32::MIN, i32::MAX],
            _ => [-1, 1],
        }
    }
}

#[derive(Debug)]
pub(super) enum Output {
    Spikes(SpikeTrain),
    /// After each step, `[T, n_out]`, by place.
    Potentials(Vec<f32>),
    /// Neurons that hand their currents on have no other.
    Nothing,
}

/// Values by place, with as many behind the last place as a site may hold; what lies there starts at zero and gets no current.
pub(super) fn with_room(mut by_place: Vec<f32>, value: f32) -> Vec<f32> {
    by_place.resize(by_place.len() + WIDE, value);
    by_place
}

/// Turns a layer's currents into spikes or potentials.
pub(super) struct Firing<'a> {
    runs: Vec<LayerRun<'a>>,
    n_steps: usize,
    /// By place; `None` where all are 1.
    thresholds: Option<Vec<f32>>,
    /// By place.
    limits: Option<Vec<f32>>,
    fires: Option<Reset>,
    graded: Option<Graded<'a>>,
    n_out: usize,
    /// What each site's currents are handed to instead, and those of the site so far, `[T, W]`.
    receiver: Option<(&'a mut Receive<'a>, Vec<f32>)>,
}

impl<'a> Firing<'a> {
    /// - `graded`: where spikes are not 0 or 1
    pub(super) fn new(
        layer: &SpikingLayer,
        neurons: &Neurons,
        runs: Vec<LayerRun<'a>>,
        n_steps: usize,
        graded: Option<Graded<'a>>,
    ) -> Self {
        let of = |values: &Option<Vec<f32>>, behind: f32| {
            values.as_ref().map(|values| with_room(by_place(layer.shape(), values), behind))
        };
        Self {
            runs,
            n_steps,
            thresholds: of(&neurons.thresholds, 1.0),
            limits: of(&neurons.limits, f32::INFINITY),
            fires: neurons.fires,
            graded,
            n_out: layer.n_out(),
            receiver: None,
        }
    }

    /// Neurons that only hand on what arrives at them.
    ///
    /// - `zeros`, `potentials`: by place, with room behind the last
    pub(super) fn handing_on(
        receive: &'a mut Receive<'a>,
        zeros: &'a [f32],
        potentials: &'a mut [f32],
        n_steps: usize,
    ) -> Self {
        let run =
            LayerRun { currents: zeros, start: Some(zeros), potentials, emitted: &mut [], output: Output::Nothing };
        Self {
            runs: vec![run],
            n_steps,
            thresholds: None,
            limits: None,
            fires: None,
            graded: None,
            n_out: zeros.len() - WIDE,
            receiver: Some((receive, Vec::new())),
        }
    }

    /// One per run.
    pub(super) fn into_outputs(self) -> Vec<Output> {
        self.runs.into_iter().map(|run| run.output).collect()
    }

    /// Takes the sums of one site after the other.
    pub(super) fn site<N: Weight, const W: usize>(&mut self) -> impl Consumer<N, W> {
        Site {
            spikes: vec![0; self.n_steps],
            waiting: Vec::new(),
            firing: self,
            sample: 0,
            places: 0..0,
            potentials: Aligned([N::Potential::ZERO; W]),
            thresholds: Aligned([N::Potential::ZERO; W]),
            limits: Aligned([N::Potential::ZERO; W]),
            steady: [N::Potential::ZERO; W],
            emitted: [0; W],
            negative: Vec::new(),
            beyond_one: Vec::new(),
            silent: Silent {
                start: [N::Potential::ZERO; W],
                currents: [N::ZERO; W],
                thresholds: [N::Potential::ZERO; W],
                end: [N::Potential::ZERO; W],
                spikes: Vec::new(),
            },
        }
    }
}

/// The neurons of one site of one sample; potentials, thresholds and limits on the scale of its weights.
struct Site<'a, 'b, N: Weight, const W: usize> {
    firing: &'a mut Firing<'b>,
    sample: usize,
    places: Range<usize>,
    potentials: Aligned<[N::Potential; W]>,
    thresholds: Aligned<[N::Potential; W]>,
    /// Mean nothing where there are none.
    limits: Aligned<[N::Potential; W]>,
    /// Of graded neurons, what is added at every step, and quanta put out so far.
    steady: [N::Potential; W],
    emitted: [i32; W],
    /// Bit k for neuron k, of each step.
    spikes: Vec<u64>,
    /// The same for graded spikes that take back.
    negative: Vec<u64>,
    /// Step, bit of the magnitude less one, and bit k for neuron k where it is set.
    beyond_one: Vec<(usize, usize, u64)>,
    /// Currents of steps that are still to be run.
    waiting: Vec<Aligned<[N; W]>>,
    /// The last one at which nothing arrived.
    silent: Silent<N, W>,
}

/// What a site does at which nothing arrives. At the dark border of an image, many do the same.
struct Silent<N: Weight, const W: usize> {
    /// Potentials before the first step; of the site that is run until it ends.
    start: [N::Potential; W],
    /// Added at every step.
    currents: [N; W],
    /// They tell scales apart, on which the same integers are other potentials.
    thresholds: [N::Potential; W],
    /// Potentials after the last step.
    end: [N::Potential; W],
    /// Empty before there is one.
    spikes: Vec<u64>,
}

/// Steps from which on it pays to make potentials short.
const FEW: usize = 4;

/// Whether potentials are kept in 16 bits for a few steps at a time, where sums are 16-bit integers that are at hand.
pub(crate) fn is_short(arch: Arch, n_steps: usize) -> bool {
    struct IsShort;
    impl WithSimd for IsShort {
        type Output = bool;
        fn with_simd<S: Simd>(self, simd: S) -> bool {
            <i16 as Weight>::fires_short::<S, WIDE>(simd)
        }
    }
    n_steps >= FEW && arch.dispatch(IsShort)
}

/// Values by place hold as many as a site from each place on.
const ROOM: &str = "room behind the last place";

/// Values by place, from a site's first place on, on the scale of its weights.
#[inline(always)]
fn on_scale<N: Weight, const W: usize>(values: &[f32], scale: &Scale<W>) -> [N::Potential; W] {
    let values: &[f32; W] = values.first_chunk().expect(ROOM);
    let mut scaled = [N::Potential::ZERO; W];
    for lane in 0..W {
        scaled[lane] = N::Potential::of_thresholds(values[lane], scale.units[lane]);
    }
    scaled
}

/// Adds currents to potentials and lowers what is at least its threshold by it. Bit k is 1 where that is potential k.
#[inline(always)]
fn integrate<S: Simd, N: Weight, const W: usize>(
    simd: S,
    potentials: &mut [N::Potential; W],
    thresholds: &[N::Potential; W],
    currents: &[N; W],
) -> u64 {
    let mut bits = 0;
    let lanes = potentials.as_chunks_mut::<LANES>().0.iter_mut().zip(currents.as_chunks::<LANES>().0);
    for (k, ((u, currents), thresholds)) in lanes.zip(thresholds.as_chunks::<LANES>().0).enumerate() {
        N::add_to(simd, u, currents);
        bits |= u64::from(N::Potential::lower(simd, u, thresholds)) << (LANES * k);
    }
    bits
}

impl<N: Weight, const W: usize> Site<'_, '_, N, W> {
    /// Bit k for neuron k.
    ///
    /// - `reset`: the potential and the threshold of a neuron that fires to what is left of the potential
    #[inline(always)]
    fn fire<S: Simd>(
        &mut self,
        simd: S,
        currents: &Aligned<[N; W]>,
        reset: impl Fn(N::Potential, N::Potential) -> N::Potential,
    ) -> u64 {
        let mut u = Aligned([N::Potential::ZERO; W]);
        let Aligned(u) = &mut u;
        for lane in 0..W {
            u[lane] = self.potentials.0[lane] + currents.0[lane].widened();
        }
        let thresholds = &self.thresholds.0;
        let mut bits = 0;
        let lanes = u.as_chunks::<LANES>().0.iter().zip(thresholds.as_chunks::<LANES>().0);
        for (k, (u, thresholds)) in lanes.enumerate() {
            bits |= u64::from(N::Potential::at_least(simd, u, thresholds)) << (LANES * k);
        }
        for lane in 0..W {
            let fired = u[lane] >= thresholds[lane];
            self.potentials.0[lane] = if fired { reset(u[lane], thresholds[lane]) } else { u[lane] };
        }
        if self.firing.limits.is_some() {
            for lane in 0..W {
                self.potentials.0[lane] = self.potentials.0[lane].within(self.limits.0[lane]);
            }
        }
        bits
    }

    /// What neurons do with the currents of a step.
    #[inline(always)]
    fn step<S: Simd>(&mut self, simd: S, step: usize, currents: &Aligned<[N; W]>, scale: &Scale<W>) {
        if let Some((_, of_site)) = &mut self.firing.receiver {
            of_site.extend_from_slice(&scale.currents(&currents.0));
            return;
        }
        let bits = match self.firing.fires {
            Some(Reset::Subtract) => self.fire(simd, currents, |u, threshold| u - threshold),
            Some(Reset::Zero) => self.fire(simd, currents, |_, _| N::Potential::ZERO),
            None => {
                self.fire(simd, currents, |u, _| u);
                0
            }
        };
        self.spikes[step] = bits;
        let (first, n) = (self.places.start, self.places.len());
        if let Output::Potentials(steps) = &mut self.firing.runs[self.sample].output {
            let to = steps[step * self.firing.n_out + first..][..n].iter_mut();
            for ((to, potential), step) in to.zip(self.potentials.0).zip(scale.steps) {
                *to = potential.in_thresholds(step);
            }
        }
    }
}

/// Takes neurons through all steps whose currents wait for them, whatever they do with them.
struct StepByStep<'a, 'b, 'c, N: Weight, const W: usize> {
    site: &'a mut Site<'b, 'c, N, W>,
    scale: &'a Scale<W>,
}

impl<N: Weight, const W: usize> WithSimd for StepByStep<'_, '_, '_, N, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { site, scale } = self;
        let waiting = std::mem::take(&mut site.waiting);
        for (step, currents) in waiting.iter().enumerate() {
            site.step(simd, step, currents, scale);
        }
        site.waiting = waiting;
    }
}

/// Bit k is 1 where value k is at least its bound.
#[inline(always)]
fn bits_at_least<S: Simd, const W: usize>(simd: S, values: &[i32; W], bound: i32) -> u64 {
    let mut bits = 0;
    for (k, values) in values.as_chunks::<LANES>().0.iter().enumerate() {
        bits |= u64::from(i32::at_least(simd, values, &[bound; LANES])) << (LANES * k);
    }
    bits
}

/// Takes neurons with graded spikes through all steps, whose rows wait for them.
struct GradedSteps<'a, 'b, 'c, N: Weight, const W: usize> {
    site: &'a mut Site<'b, 'c, N, W>,
    scale: &'a Scale<W>,
    graded: Graded<'a>,
}

impl<N: Weight, const W: usize> WithSimd for GradedSteps<'_, '_, '_, N, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { site, scale, graded } = self;
        let waiting = std::mem::take(&mut site.waiting);
        let (mut u, mut emitted) = (site.potentials.0, site.emitted);
        for lane in 0..W {
            u[lane] = u[lane] + site.steady[lane];
        }
        site.negative.clear();
        site.beyond_one.clear();
        let mut step = 0;
        for (sums, row) in waiting.iter().zip(graded.rows.iter()) {
            match (row.is_negative, row.bit) {
                (false, 0) => {
                    let lanes = u.as_chunks_mut::<LANES>().0.iter_mut().zip(sums.0.as_chunks::<LANES>().0);
                    lanes.for_each(|(u, sums)| N::add_to(simd, u, sums));
                }
                (true, 0) => {
                    for lane in 0..W {
                        u[lane] = u[lane] - sums.0[lane].widened();
                    }
                }
                (is_negative, bit) => {
                    let weight = if is_negative { -(1 << bit) } else { 1 << bit };
                    for lane in 0..W {
                        u[lane] = u[lane] + sums.0[lane].widened().times(weight);
                    }
                }
            }
            if row.is_last {
                site.step_graded(simd, step, &mut u, &mut emitted, scale, graded);
                step += 1;
                for lane in 0..W {
                    u[lane] = u[lane] + site.steady[lane];
                }
            }
        }
        for lane in 0..W {
            u[lane] = u[lane] - site.steady[lane];
        }
        (site.potentials.0, site.emitted, site.waiting) = (u, emitted, waiting);
    }
}

impl<N: Weight, const W: usize> Site<'_, '_, N, W> {
    /// What neurons with graded spikes do once the current of a step is added.
    #[inline(always)]
    fn step_graded<S: Simd>(
        &mut self,
        simd: S,
        step: usize,
        u: &mut [N::Potential; W],
        emitted: &mut [i32; W],
        scale: &Scale<W>,
        graded: Graded<'_>,
    ) {
        if self.firing.fires.is_some() {
            let mut quanta = N::Potential::whole(u, &self.thresholds.0, self.firing.thresholds.is_none());
            let ([least, most], cap) = (graded.range(), graded.cap(step));
            let mut magnitudes = [0; W];
            for lane in 0..W {
                let out = quanta[lane].clamp(least, most).max(-emitted[lane]).min(cap - emitted[lane]);
                (quanta[lane], magnitudes[lane]) = (out, out.abs());
                emitted[lane] += out;
                u[lane] = u[lane] - self.thresholds.0[lane].times(out);
            }
            let spikes = bits_at_least(simd, &magnitudes, 1);
            self.spikes[step] = spikes;
            self.negative.push(spikes & !bits_at_least(simd, &quanta, 0));
            if bits_at_least(simd, &magnitudes, 2) != 0 {
                let largest = magnitudes.iter().copied().fold(0, i32::max) - 1;
                for bit in 0..i32::BITS - largest.leading_zeros() {
                    let mut of_bit = [0; W];
                    for lane in 0..W {
                        of_bit[lane] = (magnitudes[lane] - 1).max(0) >> bit & 1;
                    }
                    self.beyond_one.push((step, bit as usize, bits_at_least(simd, &of_bit, 1)));
                }
            }
        }
        if self.firing.limits.is_some() {
            for lane in 0..W {
                u[lane] = u[lane].within(self.limits.0[lane]);
            }
        }
        let (first, n) = (self.places.start, self.places.len());
        if let Output::Potentials(steps) = &mut self.firing.runs[self.sample].output {
            let levels = graded.neuron.levels as f32;
            let to = steps[step * self.firing.n_out + first..][..n].iter_mut();
            for ((to, potential), step) in to.zip(*u).zip(scale.steps) {
                *to = potential.in_thresholds(step) / levels;
            }
        }
    }

    /// Writes what a site of neurons with graded spikes has put out.
    fn end_graded(&mut self) {
        let n = self.places.len();
        let run = &mut self.firing.runs[self.sample];
        run.emitted[self.places.clone()].copy_from_slice(&self.emitted[..n]);
        let Output::Spikes(train) = &mut run.output else { return };
        let there = u64::MAX >> (64 - n);
        for (step, bits) in self.negative.iter().map(|bits| bits & there).enumerate().filter(|(_, bits)| *bits != 0) {
            train.add_negative_bits(step, self.places.start, bits);
        }
        for &(step, bit, bits) in &self.beyond_one {
            if bits & there != 0 {
                train.add_beyond_one(step, bit, self.places.start, bits & there);
            }
        }
    }
}

impl<N: Weight, const W: usize> Consumer<N, W> for Site<'_, '_, N, W> {
    #[inline(always)]
    fn begin(&mut self, sample: usize, places: Range<usize>, scale: &Scale<W>) -> [N; W] {
        let run = &self.firing.runs[sample];
        let first = places.start;
        self.potentials.0 = on_scale::<N, W>(&run.start.unwrap_or(run.potentials)[first..], scale);
        if let Some(thresholds) = &self.firing.thresholds {
            self.thresholds.0 = on_scale::<N, W>(&thresholds[first..], scale);
        } else {
            for lane in 0..W {
                self.thresholds.0[lane] = N::Potential::of_thresholds(1.0, scale.units[lane]);
            }
        }
        if let Some(limits) = &self.firing.limits {
            self.limits.0 = on_scale::<N, W>(&limits[first..], scale);
        }
        let steady: &[f32; W] = run.currents[first..].first_chunk().expect(ROOM);
        let mut currents = [N::ZERO; W];
        for lane in 0..W {
            currents[lane] = N::of_thresholds(steady[lane], scale.units[lane]);
        }
        if let Some(graded) = &self.firing.graded {
            // Not once a row.
            for lane in 0..W {
                self.steady[lane] = currents[lane].widened().times(graded.neuron.levels as i32);
            }
            self.emitted.copy_from_slice(&run.emitted[first..][..W]);
            currents = [N::ZERO; W];
        }
        (self.sample, self.places) = (sample, places);
        currents
    }

    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, n_steps: usize, scale: &Scale<W>, sums: &impl SumsOf<N, W>) {
        if let Some(graded) = self.firing.graded {
            self.waiting.clear();
            self.waiting.extend((0..n_steps).map(|row| Aligned(sums.at(simd, row))));
            simd.vectorize(GradedSteps { site: self, scale, graded });
            return;
        }
        let Firing { fires, limits, .. } = self.firing;
        let is_plain = *fires == Some(Reset::Subtract) && limits.is_none();
        // In registers throughout.
        let (mut potentials, thresholds) = (self.potentials.0, self.thresholds.0);
        if is_plain && n_steps >= FEW && sums.are_at_hand() && N::fires_short::<S, W>(simd) {
            let mut currents = [[N::ZERO; W]; SHORT];
            for (chunk, spikes) in self.spikes.chunks_mut(SHORT).enumerate() {
                let currents = &mut currents[..spikes.len()];
                if chunk == 0 || !sums.are_steady() {
                    for (step, currents) in currents.iter_mut().enumerate() {
                        *currents = sums.at(simd, SHORT * chunk + step);
                    }
                }
                if !N::fire_short(simd, &mut potentials, &thresholds, currents, spikes) {
                    for (currents, spikes) in currents.iter().zip(spikes) {
                        *spikes = integrate(simd, &mut potentials, &thresholds, currents);
                    }
                }
            }
            self.potentials.0 = potentials;
            return;
        }
        self.waiting.clear();
        // One loop for both ways: what adds up is inlined, at every SIMD level, into each that there is.
        for step in 0..n_steps {
            let currents = sums.at(simd, step);
            if is_plain {
                self.spikes[step] = integrate(simd, &mut potentials, &thresholds, &currents);
            } else {
                self.waiting.push(Aligned(currents));
            }
        }
        if is_plain {
            self.potentials.0 = potentials;
        } else {
            simd.vectorize(StepByStep { site: self, scale });
        }
    }

    #[inline(always)]
    fn recall(&mut self, currents: &[N; W]) -> bool {
        // Thresholds and limits may differ from site to site, potentials are written step by step, and quanta are counted.
        if self.firing.graded.is_some()
            || self.firing.thresholds.is_some()
            || self.firing.limits.is_some()
            || self.firing.fires.is_none()
        {
            return false;
        }
        let Silent { start, currents: before, thresholds, end, spikes } = &mut self.silent;
        let is_same =
            self.potentials.0 == *start && currents == before && self.thresholds.0 == *thresholds && !spikes.is_empty();
        (*start, *before, *thresholds) = (self.potentials.0, *currents, self.thresholds.0);
        if is_same {
            self.potentials.0 = *end;
            self.spikes.copy_from_slice(spikes);
        }
        is_same
    }

    #[inline(always)]
    fn end(&mut self, is_silent: bool, scale: &Scale<W>) {
        if is_silent {
            self.silent.end = self.potentials.0;
            self.silent.spikes.clone_from(&self.spikes);
        }
        let (first, n) = (self.places.start, self.places.len());
        let run = &mut self.firing.runs[self.sample];
        let to = &mut run.potentials[self.places.clone()];
        if let Some(to) = to.as_mut_array::<W>() {
            for lane in 0..W {
                to[lane] = self.potentials.0[lane].in_thresholds(scale.steps[lane]);
            }
        } else {
            for ((to, potential), step) in to.iter_mut().zip(self.potentials.0).zip(scale.steps) {
                *to = potential.in_thresholds(step);
            }
        }
        if let Output::Spikes(train) = &mut run.output {
            let (words, pitch) = train.words_mut();
            // What lies behind the site's neurons may fire, but is not there.
            let there = u64::MAX >> (64 - n);
            for (words, bits) in words.chunks_exact_mut(pitch).zip(&self.spikes) {
                add_bits(words, first, bits & there);
            }
        }
        if self.firing.graded.is_some() {
            self.end_graded();
        }
        if let Some((receive, of_site)) = &mut self.firing.receiver {
            receive(self.places.clone(), of_site, W);
            of_site.clear();
        }
    }
}
