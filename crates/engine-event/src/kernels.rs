//! The compute kernels, and which of them runs a layer.
//!
//! Kernels are asked in the order of [`KERNELS`], the fastest first, and the first that supports a layer runs it; the last
//! supports every layer. To choose costs one call through a table per layer and batch: inside a kernel everything is compiled for
//! its types and for each SIMD level.

use std::fmt::Debug;

use pulp::Arch;
use snn::network::SpikingLayer;

use crate::events::{Lists, PoolStates, Scratch, greatest_factor};
use crate::firing::Firing;
use crate::gather::{Gather, HALF, NARROW, TWIN, WIDE};
use crate::graded::Arriving;
use crate::patterns::Tables;
use crate::rows::Short;
use crate::slide::Slide;

/// A way to add up the weights of inputs that spike.
pub(crate) trait ComputeKernel: Sync {
    /// Unique among the kernels.
    fn name(&self) -> &'static str;
    /// What sums of weights are.
    fn sums(&self) -> Sums;
    /// Whether the sums of several steps are there before neurons fire.
    fn are_at_hand(&self) -> bool;
    /// Whether it runs the layer.
    ///
    /// # Errors
    /// Why it does not: what was found and what is supported, in one sentence.
    fn supports(&self, layer: &LayerFacts<'_>) -> Result<(), String>;
    /// Packs the weights of a layer that it supports.
    fn pack(&self, layer: &LayerFacts<'_>) -> Box<dyn Synapses>;
}

/// What sums of weights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sums {
    /// 16-bit integers, in steps of the neuron's grid.
    Int16,
    /// 32-bit integers, in steps of the neuron's grid.
    Int32,
    /// 32-bit floats, in thresholds.
    Float32,
}

/// A layer's synapses, packed for a compute kernel.
pub(crate) trait Synapses: Debug + Send + Sync {
    /// Whether there is one site per block of channels, so that it pays to run many samples with the weights of a block.
    fn has_one_position(&self) -> bool;
    /// Lists what arrives in a sample.
    ///
    /// - `pools`: what the max pools have seen before
    fn list(
        &self,
        arch: Arch,
        arriving: Arriving<'_>,
        pools: &mut PoolStates,
        scratch: &mut Scratch,
        lists: &mut Lists,
    );
    /// Hands the sums of all steps to the neurons, site by site, sample by sample.
    ///
    /// - `samples`: listed by the same synapses
    /// - `n_steps`: of spikes of 0 and 1: the rows of graded ones
    fn visit(&self, arch: Arch, samples: &[Lists], n_steps: usize, firing: &mut Firing<'_>);
}

/// All compute kernels, in the order in which they are asked.
pub(crate) static KERNELS: [&dyn ComputeKernel; 13] = [
    &Tables,
    &Slide::<i8>::new("sliding-bytes"),
    &Slide::<i16>::new("sliding-int16"),
    &Gather::<i16, 1, NARROW, NARROW>::new("gather-int16-narrow"),
    &Gather::<i8, 2, TWIN, WIDE>::new("gather-bytes-twin"),
    &Gather::<i8, 1, WIDE, WIDE>::new("gather-bytes-wide"),
    &Gather::<i16, 2, TWIN, WIDE>::new("gather-int16-twin"),
    &Gather::<i16, 1, WIDE, WIDE>::new("gather-int16-wide"),
    &Gather::<f32, 1, NARROW, NARROW>::new("gather-float32-narrow"),
    &Gather::<f32, 2, TWIN, WIDE>::new("gather-float32-twin"),
    &Gather::<Short, 1, WIDE, WIDE>::new("gather-int32-wide"),
    &Gather::<Short, 1, HALF, HALF>::new("gather-int32-half"),
    &Gather::<f32, 1, WIDE, WIDE>::new("gather-float32-wide"),
];

/// Why a kernel does not run a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// What was found and what is supported, in one sentence.
    pub reason: String,
}

/// The kernel that runs a layer, and why those before it do not.
pub(crate) fn choose(layer: &LayerFacts<'_>) -> (&'static dyn ComputeKernel, Vec<Refusal>) {
    let mut refusals = Vec::new();
    for kernel in KERNELS {
        match kernel.supports(layer) {
            Ok(()) => return (kernel, refusals),
            Err(reason) => refusals.push(Refusal { kernel: kernel.name(), reason }),
        }
    }
    unreachable!("the last kernel supports every layer: {refusals:?}")
}

/// A layer's synapses, packed for the kernel that runs it.
pub(crate) fn pack(layer: &SpikingLayer) -> Box<dyn Synapses> {
    let facts = LayerFacts::new(layer);
    choose(&facts).0.pack(&facts)
}

/// A layer and what kernels ask of it.
#[derive(Debug)]
pub(crate) struct LayerFacts<'a> {
    pub(crate) layer: &'a SpikingLayer,
    /// What the weights and the bias of a neuron add up to at most, up or down, in steps of its grid, whatever spikes.
    largest_sum: f64,
    /// Bits of the weights in steps of the grid, with the sign, and with the multiples that pools need.
    weight_bits: u32,
    has_multiples: bool,
}

impl<'a> LayerFacts<'a> {
    pub(crate) fn new(layer: &'a SpikingLayer) -> Self {
        let (mut largest_sum, mut least, mut greatest) = (0.0_f64, 0.0_f64, 0.0_f64);
        for channel in 0..layer.shape()[0] {
            let step = layer.grids()[channel].step();
            let [lowest, highest] = layer.biases().range(channel, layer.n_positions());
            let (mut up, mut down) = ((highest / step).max(0.0), (lowest / step).min(0.0));
            for connection in layer.connections() {
                // The most that a pool's sum can be.
                let multiplicity = connection.wiring.multiplicity() as f64;
                let factor = greatest_factor(&connection.wiring) as f64;
                for &weight in connection.row(channel) {
                    let units = f64::from(weight) / step;
                    up += (units * multiplicity).max(0.0);
                    down += (units * multiplicity).min(0.0);
                    (least, greatest) = (least.min(units * factor), greatest.max(units * factor));
                }
            }
            // The least 16-bit integer is one further from zero than the greatest.
            largest_sum = largest_sum.max(up).max(-down - 1.0);
        }
        let weight_bits = bits(least).max(bits(greatest));
        let has_multiples = layer.connections().iter().any(|connection| greatest_factor(&connection.wiring) > 1);
        Self { layer, largest_sum, weight_bits, has_multiples }
    }

    /// Whether any sum of each neuron's weights and bias, in steps of its grid, is a 16-bit integer. Then so is the current of a
    /// constant input: pixels are at most 1.
    pub(crate) fn sums_are_int16(&self) -> Result<(), String> {
        let most = f64::from(i16::MAX);
        if self.largest_sum <= most {
            return Ok(());
        }
        let found = thousands(self.largest_sum);
        Err(format!(
            "sums of weights reach {found} steps of the grid, 32,767 at most: convert with convert.sum_bits = 15"
        ))
    }

    /// Whether weights are bytes, and sums of them 16-bit integers.
    pub(crate) fn weights_are_bytes(&self) -> Result<(), String> {
        self.sums_are_int16()?;
        if self.weight_bits <= i8::BITS {
            return Ok(());
        }
        let multiples = if self.has_multiples { " with the multiples that its pools need" } else { "" };
        let bits = self.weight_bits;
        Err(format!("weights need {bits} bits{multiples}, 8 at most: convert with convert.weight_bits = 8"))
    }

    /// Whether weights are 16-bit integers, in steps of the neuron's grid. Sums are 32-bit integers then, as they are exact in floats.
    pub(crate) fn weights_are_int16(&self) -> Result<(), String> {
        if self.weight_bits <= i16::BITS {
            return Ok(());
        }
        let multiples = if self.has_multiples { " with the multiples that its pools need" } else { "" };
        let bits = self.weight_bits;
        Err(format!("weights need {bits} bits{multiples}, 16 at most: convert with convert.weight_bits = 16"))
    }

    /// Weights of a neuron, of all connections.
    pub(crate) fn n_weights_of_neuron(&self) -> usize {
        self.layer.connections().iter().map(|connection| connection.wiring.kernel.row_len()).sum()
    }

    /// The only connection.
    pub(crate) fn single_connection(&self) -> Result<&'a snn::Connection<f32>, String> {
        match self.layer.connections() {
            [connection] => Ok(connection),
            connections => Err(format!("{} connections; supported: one", connections.len())),
        }
    }

    /// A weight, given in thresholds, in steps of the neuron's grid.
    pub(crate) fn integer_weight(&self, channel: usize, weight: f32) -> i16 {
        (f64::from(weight) / self.layer.grids()[channel].step()) as i16
    }
}

/// Bits of a whole number, with the sign.
fn bits(value: f64) -> u32 {
    let magnitude = if value < 0.0 { -value - 1.0 } else { value };
    1 + u64::BITS - (magnitude as u64).leading_zeros()
}

/// A whole number with commas between thousands.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_twos_complement() {
        for bits_of in 1..20_u32 {
            let half = f64::from(1_u32 << (bits_of - 1));
            assert_eq!([half - 1.0, -half].map(bits), [bits_of; 2], "{bits_of} bits");
            assert_eq!([half, -half - 1.0].map(bits), [bits_of + 1; 2], "more than {bits_of} bits");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([7.0, 999.0, 41_000.0, 1_234_567.0].map(thousands), ["7", "999", "41,000", "1,234,567"]);
    }

    #[test]
    fn every_kernel_has_a_name_of_its_own() {
        let mut names = KERNELS.map(ComputeKernel::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KERNELS.len());
    }
}
