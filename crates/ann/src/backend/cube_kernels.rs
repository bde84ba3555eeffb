//! Kernels for spikes on GPUs, in burn's language of kernels (`cubecl`), through burn's extension interface.
//!
//! A kernel is one launch for all samples and steps: a thread takes a pixel or neuron of one sample through time. All
//! arithmetic is that of whole numbers in 32 bits, or on the exact grid of [`SpikingKernels::advance`]'s callers, so the results
//! are those of the CPU bit for bit.

use std::ops::Range;

use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::cubecl::prelude::*;
use burn::cubecl::std::tensor::layout::linear::{LinearView, LinearViewMut};
use burn::cubecl::{self, calculate_cube_count_elemwise};
use burn::tensor::{FloatDType, Int, IntDType, Shape, Tensor};

use super::spiking::{Advanced, SpikingKernels};
use model::config::Reset;

/// Neurons that only integrate, as a constant of the kernel; see [`code`].
const INTEGRATES: u32 = 0;
const SUBTRACTS: u32 = 1;

fn code(fires: Option<Reset>) -> u32 {
    match fires {
        None => INTEGRATES,
        Some(Reset::Subtract) => SUBTRACTS,
        Some(Reset::Zero) => 2,
    }
}

/// The kernels of [`CubeBackend`], which is every GPU that burn knows.
#[derive(Debug)]
pub(super) struct CubeKernels;

impl SpikingKernels for CubeKernels {
    fn poisson(&self, rates: Tensor<3>, samples: Tensor<2>, seed: u64, steps: Range<usize>) -> Tensor<2> {
        let (rates, samples) = (rates.into_dispatch(), samples.into_dispatch());
        Tensor::from_dispatch(<Dispatch as Kernels>::quartic_poisson(rates, samples, seed, steps.start, steps.len()))
    }

    fn evenly(&self, rates: Tensor<3>, phases: Tensor<3>, steps: Range<usize>) -> Tensor<2> {
        let (rates, phases) = (rates.into_dispatch(), phases.into_dispatch());
        Tensor::from_dispatch(<Dispatch as Kernels>::quartic_evenly(rates, phases, steps.start, steps.len()))
    }

    fn advance(
        &self,
        currents: Tensor<3>,
        steady: Tensor<2>,
        potentials: Tensor<2>,
        limits: Tensor<2>,
        fires: Option<Reset>,
    ) -> Advanced {
        let [steady, potentials, limits] = [steady, potentials, limits].map(Tensor::into_dispatch);
        let currents = currents.into_dispatch();
        let (output, potentials) =
            <Dispatch as Kernels>::quartic_advance(currents, steady, potentials, limits, code(fires));
        Advanced { output: Tensor::from_dispatch(output), potentials: Tensor::from_dispatch(potentials) }
    }

    fn pack(&self, spikes: Tensor<2>, shape: [usize; 3]) -> Tensor<2, Int> {
        Tensor::from_dispatch(<Dispatch as Kernels>::quartic_pack(spikes.into_dispatch(), shape))
    }
}

/// [`SpikingKernels`] on a backend's own tensors; ranges of steps are the first one and their number.
#[backend_extension(Cube)]
trait Kernels: Backend {
    fn quartic_poisson(
        rates: FloatTensor<Self>,
        samples: FloatTensor<Self>,
        seed: u64,
        first: usize,
        n_steps: usize,
    ) -> FloatTensor<Self>;

    fn quartic_evenly(
        rates: FloatTensor<Self>,
        phases: FloatTensor<Self>,
        first: usize,
        n_steps: usize,
    ) -> FloatTensor<Self>;

    fn quartic_advance(
        currents: FloatTensor<Self>,
        steady: FloatTensor<Self>,
        potentials: FloatTensor<Self>,
        limits: FloatTensor<Self>,
        fires: u32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    fn quartic_pack(spikes: FloatTensor<Self>, shape: [usize; 3]) -> IntTensor<Self>;
}

impl Kernels for CubeBackend {
    fn quartic_poisson(rates: CubeTensor, samples: CubeTensor, seed: u64, first: usize, n_steps: usize) -> CubeTensor {
        let [_, n_samples, n_inputs] = dims(&rates);
        let output = floats([n_steps * n_samples, n_inputs], &rates);
        // A call of the generator serves four steps, aligned to multiples of four.
        let n_blocks = (first + n_steps).div_ceil(4) - first / 4;
        let (client, count, dim) = launch(&rates, n_blocks * n_samples * n_inputs);
        poisson_kernel::launch(
            &client,
            count,
            dim,
            rates.into_linear_view(),
            samples.into_linear_view(),
            output.clone().into_linear_view(),
            n_samples as u32,
            n_inputs as u32,
            first as u32,
            n_steps as u32,
            seed as u32,
            (seed >> 32) as u32,
        );
        output
    }

    fn quartic_evenly(rates: CubeTensor, phases: CubeTensor, first: usize, n_steps: usize) -> CubeTensor {
        let [_, n_samples, n_inputs] = dims(&rates);
        let output = floats([n_steps * n_samples, n_inputs], &rates);
        let (client, count, dim) = launch(&rates, n_samples * n_inputs);
        evenly_kernel::launch(
            &client,
            count,
            dim,
            rates.into_linear_view(),
            phases.into_linear_view(),
            output.clone().into_linear_view(),
            (n_samples * n_inputs) as u32,
            first as u32,
            n_steps as u32,
        );
        output
    }

    fn quartic_advance(
        currents: CubeTensor,
        steady: CubeTensor,
        potentials: CubeTensor,
        limits: CubeTensor,
        fires: u32,
    ) -> (CubeTensor, CubeTensor) {
        let [n_steps, n_samples, n_out] = dims(&currents);
        let output = floats([n_steps * n_samples, n_out], &currents);
        let after = floats([n_samples, n_out], &currents);
        let (client, count, dim) = launch(&currents, n_samples * n_out);
        advance_kernel::launch(
            &client,
            count,
            dim,
            currents.into_linear_view(),
            steady.into_linear_view(),
            potentials.into_linear_view(),
            limits.into_linear_view(),
            output.clone().into_linear_view(),
            after.clone().into_linear_view(),
            (n_samples * n_out) as u32,
            n_out as u32,
            n_steps as u32,
            fires,
        );
        (output, after)
    }

    fn quartic_pack(spikes: CubeTensor, [channels, height, width]: [usize; 3]) -> CubeTensor {
        let [n_rows, n_neurons] = dims(&spikes);
        let n_words = n_neurons.div_ceil(32);
        let words = Self::int_empty(Shape::from([n_rows, n_words]), &spikes.device, IntDType::U32);
        let (client, count, dim) = launch(&spikes, n_rows * n_words);
        pack_kernel::launch(
            &client,
            count,
            dim,
            spikes.into_linear_view(),
            words.clone().into_linear_view(),
            (n_rows * n_words) as u32,
            n_words as u32,
            channels as u32,
            (height * width) as u32,
        );
        words
    }
}

fn dims<const D: usize>(tensor: &CubeTensor) -> [usize; D] {
    tensor.meta.shape().dims()
}

fn floats<const D: usize>(shape: [usize; D], like: &CubeTensor) -> CubeTensor {
    CubeBackend::float_empty(Shape::from(shape), &like.device, FloatDType::F32)
}

/// Where and in what shape to launch one thread per unit of work.
fn launch(on: &CubeTensor, n_units: usize) -> (Client, CubeCount, CubeDim) {
    let client = on.client.clone();
    let dim = CubeDim::new(&client, n_units);
    let count = calculate_cube_count_elemwise(&client, n_units, dim);
    (client, count, dim)
}

/// One thread per four steps, sample and pixel.
#[cube(launch)]
fn poisson_kernel(
    rates: LinearView<'_, f32>,
    samples: LinearView<'_, f32>,
    mut output: LinearViewMut<'_, f32>,
    n_samples: u32,
    n_inputs: u32,
    first: u32,
    n_steps: u32,
    seed_low: u32,
    seed_high: u32,
) {
    let n_pixels = (n_samples * n_inputs) as usize;
    let at = ABSOLUTE_POS % n_pixels;
    let block = (ABSOLUTE_POS / n_pixels) as u32 + first / 4;
    if block * 4 >= first + n_steps {
        terminate!();
    }
    let sample = at / n_inputs as usize;
    let upper = u32::cast_from(rates.read(at));
    let rate = upper << 16 | u32::cast_from(rates.read(n_pixels + at));
    // The upper half of the rate 1 has a 17th bit.
    let always = upper >> 16 == 1;
    let mut x0 = (at % n_inputs as usize) as u32;
    let mut x1 = block;
    let mut x2 = u32::cast_from(samples.read(sample)) << 16 | u32::cast_from(samples.read(n_samples as usize + sample));
    let mut x3 = 0u32;
    let mut key0 = seed_low;
    let mut key1 = seed_high;
    for _ in 0..10u32 {
        let low = x0 * 0xD251_1F53u32;
        let low_carry = u32::mul_hi(x0, 0xD251_1F53u32);
        let high = x2 * 0xCD9E_8D57u32;
        let high_carry = u32::mul_hi(x2, 0xCD9E_8D57u32);
        x0 = high_carry ^ x1 ^ key0;
        x1 = high;
        x2 = low_carry ^ x3 ^ key1;
        x3 = low;
        key0 += 0x9E37_79B9u32;
        key1 += 0xBB67_AE85u32;
    }
    for word in 0..4u32 {
        let step = block * 4 + word;
        if step >= first && step < first + n_steps {
            let draw = select(word == 0, x0, select(word == 1, x1, select(word == 2, x2, x3)));
            let spike = always || draw < rate;
            output.write((step - first) as usize * n_pixels + at, f32::cast_from(spike));
        }
    }
}

/// One thread per sample and pixel.
#[cube(launch)]
fn evenly_kernel(
    rates: LinearView<'_, f32>,
    phases: LinearView<'_, f32>,
    mut output: LinearViewMut<'_, f32>,
    n_pixels: u32,
    first: u32,
    n_steps: u32,
) {
    let at = ABSOLUTE_POS;
    let n_pixels = n_pixels as usize;
    if at >= n_pixels {
        terminate!();
    }
    let upper = u32::cast_from(rates.read(at));
    let rate = upper << 16 | u32::cast_from(rates.read(n_pixels + at));
    let always = upper >> 16 == 1;
    let phase = u32::cast_from(phases.read(at)) << 16 | u32::cast_from(phases.read(n_pixels + at));
    // Whole numbers are of no interest, and 32 bits leave them out by themselves.
    let mut sum = phase + first * rate;
    for step in 0..n_steps {
        sum += rate;
        // Less than what was added: it went past 2³².
        let spike = always || sum < rate;
        output.write(step as usize * n_pixels + at, f32::cast_from(spike));
    }
}

/// One thread per sample and neuron.
#[cube(launch)]
fn advance_kernel(
    currents: LinearView<'_, f32>,
    steady: LinearView<'_, f32>,
    potentials: LinearView<'_, f32>,
    limits: LinearView<'_, f32>,
    mut output: LinearViewMut<'_, f32>,
    mut after: LinearViewMut<'_, f32>,
    n_neurons: u32,
    n_out: u32,
    n_steps: u32,
    #[comptime] fires: u32,
) {
    let at = ABSOLUTE_POS;
    let n_neurons = n_neurons as usize;
    if at >= n_neurons {
        terminate!();
    }
    let limit = limits.read(at % n_out as usize);
    let current = steady.read(at);
    let mut v = potentials.read(at);
    for step in 0..n_steps {
        let row = step as usize * n_neurons;
        let u = v + currents.read(row + at) + current;
        let fired = f32::cast_from(u >= 1.0);
        let mut next = u;
        if comptime!(fires == SUBTRACTS) {
            next = u - fired;
        } else if comptime!(fires != INTEGRATES) {
            next = select(u >= 1.0, 0.0, u);
        }
        next = select(next > limit, limit, next);
        v = select(next < -limit, -limit, next);
        if comptime!(fires == INTEGRATES) {
            output.write(row + at, v);
        } else {
            output.write(row + at, fired);
        }
    }
    after.write(at, v);
}

/// One thread per word.
#[cube(launch)]
fn pack_kernel(
    spikes: LinearView<'_, f32>,
    mut words: LinearViewMut<'_, u32>,
    n_words_in_all: u32,
    n_words: u32,
    channels: u32,
    n_positions: u32,
) {
    let word = ABSOLUTE_POS;
    if word >= n_words_in_all as usize {
        terminate!();
    }
    let n_words = n_words as usize;
    let row = word / n_words;
    let first = (word % n_words) as u32 * 32;
    let n_neurons = channels * n_positions;
    let mut bits = 0u32;
    for lane in 0..32u32 {
        let place = first + lane;
        if place < n_neurons {
            let neuron = place % channels * n_positions + place / channels;
            if spikes.read(row * n_neurons as usize + neuron as usize) > 0.5 {
                bits |= 1u32 << lane;
            }
        }
    }
    words.write(word, bits);
}
