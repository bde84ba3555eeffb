//! Weighted sums of real numbers: the current of a constant input, which is the same at every step, and whatever else is
//! not a spike.

#![allow(clippy::inline_always, reason = "a kernel takes its SIMD level from the function that it is inlined into")]
#![allow(clippy::needless_range_loop, reason = "the same lane of several arrays, which becomes one SIMD instruction")]

use pulp::{Arch, Simd, WithSimd};

use crate::explain::Choice;
use crate::kernels::Refusal;
use crate::pixels::ByteDrive;
use snn::network::{Biases, SpikingLayer};
use snn::places::{by_neuron, by_place};
use snn::pool::Pooling;
use snn::wiring::{Connection, Kernel};

/// Samples whose pixels are multiplied with the weights together.
const DRIVEN: usize = 4;

/// A layer's weights of pixels, packed to be multiplied.
#[derive(Debug, Clone)]
pub struct Drive {
    shape: [usize; 3],
    /// `[C]`, or by place.
    biases: Vec<f64>,
    /// Steps of the channels' grids, `[C]`: powers of two.
    steps: Vec<f64>,
    /// Steps in a threshold, which divide as exactly, and faster.
    units: Vec<f64>,
    connections: Vec<Weighted>,
    /// For pixels that are bytes, if the weights are suited.
    of_bytes: Option<ByteDrive>,
}

/// The weights of one connection, packed to be multiplied with numbers behind its max pools, if it has any.
#[derive(Debug, Clone)]
pub struct Weighted {
    kernel: Kernel,
    pooling: Pooling,
    n_inputs: usize,
    /// `[C_in, k_h, k_w, C_out/groups]`
    weights: Vec<f32>,
}

/// [`Weighted::add_inputs`] at a SIMD level: a closure would be compiled for none.
struct AddInputs<'a, const B: usize> {
    weighted: &'a Weighted,
    inputs: &'a [Vec<f64>; B],
    channels: usize,
    sums: [&'a mut [f64]; B],
}

impl<const B: usize> WithSimd for AddInputs<'_, B> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.weighted.add_inputs(self.inputs, self.channels, self.sums);
    }
}

/// [`Drive::round`] at a SIMD level.
struct Round<'a> {
    drive: &'a Drive,
    sums: &'a [f64],
    rounded: &'a mut [f32],
}

impl WithSimd for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.drive.round(self.sums, self.rounded);
    }
}

impl Drive {
    /// `None` if no pixels reach the layer.
    pub fn of_pixels(layer: &SpikingLayer) -> Option<Self> {
        let of_pixels = layer.connections().iter().filter(|connection| connection.wiring.source == snn::Source::INPUT);
        let connections: Vec<Weighted> = of_pixels.map(Weighted::new).collect();
        (!connections.is_empty()).then(|| Self {
            shape: layer.shape(),
            biases: match layer.biases().map(layer.n_positions(), |_, &bias| f64::from(bias)) {
                Biases::OfChannels(biases) => biases,
                Biases::OfNeurons(biases) => by_place(layer.shape(), &biases),
            },
            steps: layer.grids().iter().map(|grid| grid.step()).collect(),
            units: layer.grids().iter().map(|grid| grid.step().recip()).collect(),
            connections,
            of_bytes: ByteDrive::new(layer).ok(),
        })
    }

    /// [`SpikingLayer::drive`].
    pub fn of_neurons(&self, pixels: &[f32]) -> Vec<f32> {
        by_neuron(self.shape, &self.currents(&[pixels], 0)[0])
    }

    /// [`SpikingLayer::drive`] of each sample, by place.
    ///
    /// - `samples`: their pixels
    /// - `n_behind`: zeros behind the last place
    pub fn currents(&self, samples: &[&[f32]], n_behind: usize) -> Vec<Vec<f32>> {
        let of_bytes = self.of_bytes.as_ref().and_then(|drive| drive.currents(samples, n_behind));
        of_bytes.unwrap_or_else(|| {
            let (groups, rest) = samples.as_chunks::<DRIVEN>();
            let groups = groups.iter().flat_map(|&samples| self.currents_of(samples, n_behind));
            groups.chain(rest.iter().flat_map(|&pixels| self.currents_of([pixels], n_behind))).collect()
        })
    }

    fn currents_of<const B: usize>(&self, pixels: [&[f32]; B], n_behind: usize) -> [Vec<f32>; B] {
        let wide = pixels.map(|pixels| {
            assert!(pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "pixels are in [0, 1]");
            pixels.iter().map(|&pixel| f64::from(pixel)).collect::<Vec<f64>>()
        });
        let mut sums = [(); B].map(|()| vec![0.0; self.shape.iter().product()]);
        for connection in &self.connections {
            connection.add(wide.each_ref().map(Vec::as_slice), self.shape[0], sums.each_mut().map(Vec::as_mut_slice));
        }
        sums.map(|sums| {
            let mut rounded = vec![0.0; sums.len() + n_behind];
            Arch::new().dispatch(Round { drive: self, sums: &sums, rounded: &mut rounded });
            rounded
        })
    }

    /// Adds the biases and rounds as [`snn::grid::Grid::round`] does.
    #[inline(always)]
    fn round(&self, sums: &[f64], rounded: &mut [f32]) {
        let channels = self.steps.len();
        // The only ones, or each position's.
        let biases = self.biases.chunks_exact(channels).cycle();
        let positions = sums.chunks_exact(channels).zip(rounded.chunks_exact_mut(channels));
        for ((sums, rounded), biases) in positions.zip(biases) {
            let scales = self.units.iter().zip(&self.steps);
            for (((rounded, sum), bias), (units, step)) in rounded.iter_mut().zip(sums).zip(biases).zip(scales) {
                *rounded = (((sum + bias) * units).round_ties_even() * step) as f32;
            }
        }
    }
}

/// The kernel that multiplies pixels with a layer's weights, if they are bytes, and why the faster ones do not; `None` if no
/// pixels reach the layer. Pixels that are no bytes are multiplied by the last kernel.
pub(crate) fn choose(layer: &SpikingLayer) -> Option<Choice> {
    let [int8, int16, float64] = ["drive-int8", "drive-int16", "drive-float64"];
    let refusal = |kernel, reason: &str| Refusal { kernel, reason: reason.to_owned() };
    if layer.connections().iter().all(|connection| connection.wiring.source != snn::Source::INPUT) {
        return None;
    }
    Some(match ByteDrive::new(layer) {
        Err(reason) => {
            Choice { kernel: float64, refusals: [int8, int16].map(|kernel| refusal(kernel, &reason)).to_vec() }
        }
        Ok(drive) => match drive.not_small() {
            Some(reason) => Choice { kernel: int16, refusals: vec![refusal(int8, reason)] },
            None => Choice { kernel: int8, refusals: Vec::new() },
        },
    })
}

impl Weighted {
    /// Packs the weights of a connection.
    pub fn new(connection: &Connection<f32>) -> Self {
        let (wiring, kernel) = (&connection.wiring, connection.wiring.kernel);
        let pooling = Pooling::new(wiring);
        let Kernel { groups, channels, .. } = kernel;
        let area = kernel.area();
        let (in_per_group, out_per_group) = (kernel.input[0] / groups, channels / groups);
        let mut weights = Vec::with_capacity(connection.weights.len());
        for channel in 0..kernel.input[0] {
            let (group, in_group) = (channel / in_per_group, channel % in_per_group);
            for at in 0..area {
                let outputs = group * out_per_group..(group + 1) * out_per_group;
                weights.extend(outputs.map(|out| connection.row(out)[in_group * area + at]));
            }
        }
        Self { kernel, pooling, n_inputs: wiring.source_shape.iter().product(), weights }
    }

    /// Adds the weighted sums of the source's values in `B` samples, which are at least 0, to sums by place, each neuron's inputs in
    /// order.
    ///
    /// - `values`: of the source's neurons; a max pool takes the largest of its window
    /// - `channels`: of the sums
    pub fn add<const B: usize>(&self, values: [&[f64]; B], channels: usize, sums: [&mut [f64]; B]) {
        let inputs = values.map(|values| {
            assert_eq!(values.len(), self.n_inputs, "one value per input");
            let pooled =
                self.pooling.max.iter().fold(None::<Vec<f64>>, |pooled, windows| {
                    Some(windows.largest(pooled.as_deref().unwrap_or(values)))
                });
            let mut inputs = vec![0.0; self.kernel.n_in()];
            for (idx, &value) in pooled.as_deref().unwrap_or(values).iter().enumerate() {
                self.pooling.for_each_input(idx, |input, multiple| inputs[input] += f64::from(multiple) * value);
            }
            inputs
        });
        Arch::new().dispatch(AddInputs { weighted: self, inputs: &inputs, channels, sums });
    }

    #[inline(always)]
    fn add_inputs<const B: usize>(&self, inputs: &[Vec<f64>; B], channels: usize, mut sums: [&mut [f64]; B]) {
        let Kernel { input: [c_in, height, width], size, groups, .. } = self.kernel;
        let [_, out_height, out_width] = self.kernel.output();
        let (in_per_group, out_per_group) = (c_in / groups, channels / groups);
        let [down, across] = [self.kernel.axis(0), self.kernel.axis(1)];
        let mut taps = Vec::with_capacity(in_per_group * self.kernel.area());
        for position in 0..groups * out_height * out_width {
            let (group, row, column) =
                (position / (out_height * out_width), position / out_width % out_height, position % out_width);
            taps.clear();
            for channel in group * in_per_group..(group + 1) * in_per_group {
                for ky in 0..size[0] {
                    let Some(y) = down.input(row, ky) else { continue };
                    for kx in 0..size[1] {
                        let Some(x) = across.input(column, kx) else { continue };
                        let mut values = [0.0; B];
                        for (value, inputs) in values.iter_mut().zip(inputs) {
                            *value = inputs[(channel * height + y) * width + x];
                        }
                        if values != [0.0; B] {
                            taps.push((((channel * size[0] + ky) * size[1] + kx) * out_per_group, values));
                        }
                    }
                }
            }
            let mut sums = sums.each_mut().map(|sums| {
                &mut sums[(row * out_width + column) * channels + group * out_per_group..][..out_per_group]
            });
            let mut first = 0;
            while first < out_per_group {
                first += match out_per_group - first {
                    8.. => self.add_taps::<8, B>(&taps, first, &mut sums),
                    _ => self.add_taps::<1, B>(&taps, first, &mut sums),
                };
            }
        }
    }

    /// Adds weighted inputs to `N` sums of each sample, which stay in registers, and returns `N`.
    ///
    /// - `taps`: where the weights of each input begin, and its values
    /// - `first`: of the sums
    #[inline(always)]
    fn add_taps<const N: usize, const B: usize>(
        &self,
        taps: &[(usize, [f64; B])],
        first: usize,
        sums: &mut [&mut [f64]; B],
    ) -> usize {
        let mut changed = [[0.0; N]; B];
        for (changed, sums) in changed.iter_mut().zip(&*sums) {
            changed.copy_from_slice(&sums[first..first + N]);
        }
        for (weights, values) in taps {
            let weights = self.weights[weights + first..].first_chunk::<N>().expect("a weight for each sum");
            let mut wide = [0.0; N];
            for lane in 0..N {
                wide[lane] = f64::from(weights[lane]);
            }
            for sample in 0..B {
                for lane in 0..N {
                    changed[sample][lane] += wide[lane] * values[sample];
                }
            }
        }
        for (changed, sums) in changed.iter().zip(sums) {
            sums[first..first + N].copy_from_slice(changed);
        }
        N
    }
}
