//! What a backend computes for spiking networks in one launch where tensor operations would need one per time step.

use std::fmt::Debug;
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};

use model::config::Reset;

/// Kernels for spikes, each one launch on the device for all samples and steps of a chunk.
///
/// N samples, T steps, n neurons; rows of two-dimensional tensors are `[T·N]`, step by step. Numbers of more than 24 bits come
/// as two floats, the upper and the lower 16 bits, for every backend has 32-bit floats of whole numbers, but not the same
/// integers.
pub trait SpikingKernels: Debug + Sync {
    /// Spikes of pixels that spike independently at each step, as a draw of Philox 4×32-10 says: at step t (from 0) the word
    /// t mod 4 of counter `[pixel, ⌊t/4⌋, sample, 0]` under the seed is a spike if it is below the rate.
    ///
    /// - `rates`: `[2, N, n]`, upper and lower half of the rate in units of 2⁻³², at most 2³²
    /// - `samples`: `[2, N]`, upper and lower half of the sample's index
    /// - returns `[T·N, n]` of 0 and 1
    fn poisson(&self, rates: Tensor<3>, samples: Tensor<2>, seed: u64, steps: Range<usize>) -> Tensor<2>;

    /// Spikes of pixels that spike when a sum of their rate passes a whole number.
    ///
    /// - `rates`: as for [`Self::poisson`]
    /// - `phases`: `[2, N, n]`, the sum before step 0, in units of 2⁻³², below 1
    /// - returns `[T·N, n]` of 0 and 1
    fn evenly(&self, rates: Tensor<3>, phases: Tensor<3>, steps: Range<usize>) -> Tensor<2>;

    /// Integrate-and-fire neurons of threshold 1.
    ///
    /// - `currents`: from spikes, `[T, N, n]`
    /// - `steady`: current of every step, `[N, n]`
    /// - `potentials`: before the first step, `[N, n]`
    /// - `limits`: `[1, n]`; potentials are kept within ± these
    /// - `fires`: what a spike does; `None` if the neurons only integrate
    fn advance(
        &self,
        currents: Tensor<3>,
        steady: Tensor<2>,
        potentials: Tensor<2>,
        limits: Tensor<2>,
        fires: Option<Reset>,
    ) -> Advanced;

    /// Spikes as bits, neurons position by position, the channels of a position side by side.
    ///
    /// - `spikes`: `[T·N, n]` of 0 and 1, neurons channel by channel
    /// - `shape`: `[C, H, W]` of the neurons
    /// - returns `[T·N, ⌈n/32⌉]`; the padding is zero
    fn pack(&self, spikes: Tensor<2>, shape: [usize; 3]) -> Tensor<2, Int>;
}

/// What [`SpikingKernels::advance`] gives.
#[derive(Debug, Clone)]
pub struct Advanced {
    /// Spikes, or the potentials after each step of neurons that only integrate, `[T·N, n]`.
    pub output: Tensor<2>,
    /// Potentials after the last step, `[N, n]`.
    pub potentials: Tensor<2>,
}

/// The kernels of a device's backend, if it has any: those that run on a GPU do.
///
/// The others run on the CPU, where a step is a step whoever makes it, and nothing has to be carried to and fro.
pub fn spiking_kernels(device: &Device) -> Option<&'static dyn SpikingKernels> {
    #[cfg(feature = "wgpu")]
    if super::super::of(device) == super::Backend::Wgpu {
        return Some(&super::cube_kernels::CubeKernels);
    }
    _ = device;
    None
}
