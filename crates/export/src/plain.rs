//! Converted networks as plain tensors and a description: nothing to be known but NumPy's idea of an array.
//!
//! Two files. `snn-plain.safetensors` holds 32-bit floats; `snn-plain.json` says what to do with them, layer by layer:
//!
//! - `input`: `shape` `[C, H, W]` and `encoding`; `steps`, `reset`, `readout`, `threshold` (1): how the network is meant to
//!   be run
//! - `layers`, in the order of computation. Each has a `name`, a `shape` `[C, H, W]` (`[n, 1, 1]` for n neurons without an
//!   image), `fires`, and names of tensors `[C]`, one value per channel: `bias`, added at each step (where neurons of a channel
//!   differ, `[n_out]`, one value per neuron, channel by channel, row by row); `initial_potential`;
//!   `activation_threshold`, λ in units of the trained network's activations, for whoever wants rates in those; `grid_step`,
//!   of which all its values are multiples; and, where a run of so many steps needs it, `potential_limit`: potentials are
//!   kept within ± this
//! - `connections` of a layer, whose currents add: `source` (0 is the input, k the k-th layer, from 1), `max_pools` and
//!   `sum_pools` on the way (`kernel` and `stride`, `[rows, columns]` each), and the tensor `weight`: either
//!   `[n_out, n_in]` for what comes out of the pools, flattened, or, with `convolution` (`stride`, `padding`, `groups`),
//!   `[C_out, C_in/groups, k, k]`
//!
//! Where they are needed, and nowhere else: a pool has `padding`, rows of zeros `[above, left, below, right]`; a sum pool has
//! `multiples`, a number for each row and one for each column of windows, whose product the sum of a window is multiplied with, for
//! windows at a border may be means of fewer inputs; a convolution has a `stride` `[down, across]` and a `padding`
//! `[above, left, below, right]` in place of one number, and a `dilation`, the distance between neighbouring taps `[down, across]`.
//!
//! A step of a layer: `u = v + currents + bias`, a spike where `u ≥ threshold`, and there `v = u − threshold` (`reset` is
//! `subtract`) or `v = 0` (`zero`). The last layer of readout `potential` only adds up. The divisor of an average pool is in the
//! weights. With `constant` input the first layer's current, its bias included, is computed once in double precision and
//! rounded to multiples of `grid_step`, halves to even; all other sums are exact in 32-bit floats, in any order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::artefact::{self, ArtefactError, TensorF32};
use model::config::{Encoding, Readout, Reset};
use model::population::PoolKind;
use serde::{Deserialize, Serialize};
use snn::pool::padding_that_is_seen;
use snn::{Connection, Kernel, RunSettings, SpikingLayer, SpikingNetwork, Wiring};

use crate::{ExportError, Exportable, Exported, Provenance, Target};

pub(crate) static TARGET: Target =
    Target { name: "plain", files: &[FILE_NAME, TENSORS_FILE_NAME], write: write_exportable };

/// Name of the description in a run's folder.
pub const FILE_NAME: &str = "snn-plain.json";

/// Name of the tensors in a run's folder.
pub const TENSORS_FILE_NAME: &str = "snn-plain.safetensors";

/// Format of the description; raised when its meaning changes.
pub const FORMAT: u32 = 1;

/// For whoever has the files and nothing else.
const HOW_TO_RUN: &str = "At each step, layer by layer: u = v + bias + the currents of all connections; a neuron of a layer that fires \
    spikes where u >= threshold, and then keeps v = u - threshold (reset subtract) or v = 0 (reset zero); elsewhere v = u; v starts at \
    initial_potential. Tensors [C] hold a value per channel of a layer's shape [C, H, W], and a bias [C*H*W] one per neuron; potential_limit, where given, keeps v within \
    +- it. A connection takes the spikes of its source (0: the input; k: the k-th layer, from 1) through max_pools (a spike passes if it \
    raises the largest spike count of its window so far), then sum_pools (spikes of a window are added, and the sum multiplied with multiples[0] of its row and \
    multiples[1] of its column where those are given; the divisor of an average is in the weights), then a convolution \
    [C_out, C_in/groups, k_h, k_w] with zero padding, or, without `convolution`, flattened, a matrix \
    [n_out, n_in]. Lists: stride and dilation [down, across], padding [above, left, below, right]. Constant input: pixels in place of spikes, bias and currents of the input summed in double precision and rounded to \
    multiples of grid_step. Readout potential: v of the last layer; spikes: its counts; the decision is the largest.";

/// What `snn-plain.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// [`FORMAT`].
    pub plain_format: u32,
    /// Version of the program that wrote it.
    pub quartic_version: String,
    /// SHA-256 of the converted network's file.
    pub parent: String,
    /// Name of the file with the tensors, beside this one.
    pub tensors: String,
    /// SHA-256 of the tensors' file.
    pub tensors_sha256: String,
    /// What a program has to do, in words.
    pub how_to_run: String,
    /// What goes in.
    pub input: Input,
    /// Number of steps that the network was converted for.
    pub steps: usize,
    /// What a spike does.
    pub reset: Reset,
    /// What decides.
    pub readout: Readout,
    /// Of every neuron.
    pub threshold: f32,
    /// In the order of computation.
    pub layers: Vec<Layer>,
}

/// What goes into a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `[C, H, W]`.
    pub shape: [usize; 3],
    /// How pixels in [0, 1] become spikes or currents.
    pub encoding: Encoding,
}

/// One layer; tensors by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// For people.
    pub name: String,
    /// `[C, H, W]`.
    pub shape: [usize; 3],
    /// Whether its neurons spike.
    pub fires: bool,
    /// `[C]` or `[n_out]`.
    pub bias: String,
    /// `[C]`.
    pub initial_potential: String,
    /// `[C]`.
    pub activation_threshold: String,
    /// `[C]`.
    pub grid_step: String,
    /// `[C]`; infinite where there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub potential_limit: Option<String>,
    /// Where its current comes from.
    pub connections: Vec<Synapses>,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Synapses {
    /// 0 is the input, k the k-th layer.
    pub source: usize,
    /// Let a spike through that raises the largest spike count of a window.
    pub max_pools: Vec<Window>,
    /// Add spikes up.
    pub sum_pools: Vec<Window>,
    /// `None` for a matrix.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub convolution: Option<Convolution>,
    /// Name of the tensor.
    pub weight: String,
}

/// Windows of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// Down and across.
    pub stride: [usize; 2],
    /// Rows of zeros above, columns to the left, rows below, columns to the right.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub padding: [usize; 4],
    /// What the sums of each row and of each column of windows are multiplied with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub multiples: Option<[Vec<usize>; 2]>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(padding: &[usize; 4]) -> bool {
    *padding == [0; 4]
}

/// Sizes that are most often equal: one number, or a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sides {
    /// All are the same.
    All(usize),
    /// In the order of the field.
    Each(Vec<usize>),
}

impl<const N: usize> From<[usize; N]> for Sides {
    fn from(sides: [usize; N]) -> Self {
        if sides.iter().all(|side| *side == sides[0]) { Self::All(sides[0]) } else { Self::Each(sides.to_vec()) }
    }
}

impl Sides {
    /// As many as there are; `None` if the list has another length.
    pub fn sides<const N: usize>(&self) -> Option<[usize; N]> {
        match self {
            Self::All(side) => Some([*side; N]),
            Self::Each(sides) => sides.as_slice().try_into().ok(),
        }
    }
}

/// How a kernel is moved over an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Distance between neighbouring outputs, down and across.
    pub stride: Sides,
    /// Rows of zeros above the image, columns to the left, rows below, columns to the right.
    pub padding: Sides,
    /// Distance between neighbouring taps, down and across; `None` for 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dilation: Option<[usize; 2]>,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

fn write_exportable(folder: &Path, exportable: &Exportable<'_>) -> Result<Exported, ExportError> {
    let &Exportable { network, run, provenance, .. } = exportable;
    if !run.neuron.is_binary() {
        let kind = run.neuron.kind;
        let why =
            format!("the description has no neurons `{kind}`, whose spikes carry more than 0 or 1; use neurons `if`");
        return Err(ExportError::Refused { path: folder.join(FILE_NAME), why: why.into() });
    }
    let path = write(folder, network, run, provenance)?;
    Ok(Exported { path, what: format!("description of {TENSORS_FILE_NAME}"), notes: Vec::new() })
}

/// Writes both files into a folder and returns the path of the description. The tensors come first: a description names the
/// checksum of the tensors that it is for.
///
/// - `run`: how the network is meant to be run
///
/// # Errors
/// [`ArtefactError::Io`] if the system refuses.
pub fn write(
    folder: &Path,
    network: &SpikingNetwork,
    run: &RunSettings,
    provenance: &Provenance,
) -> Result<PathBuf, ArtefactError> {
    let mut tensors = BTreeMap::new();
    let last = network.layers().len() - 1;
    let layers = network.layers().iter().enumerate().map(|(idx, layer)| {
        let fires = idx < last || run.readout == Readout::Spikes;
        describe(layer, idx, fires, run.n_steps, &mut tensors)
    });
    let layers = layers.collect();
    let tensors_sha256 =
        artefact::write(&folder.join(TENSORS_FILE_NAME), &tensors, &serde_json::json!({ "described_in": FILE_NAME }))?;
    let description = Description {
        plain_format: FORMAT,
        quartic_version: provenance.quartic_version.clone(),
        parent: provenance.parent.clone(),
        tensors: TENSORS_FILE_NAME.to_owned(),
        tensors_sha256,
        how_to_run: HOW_TO_RUN.to_owned(),
        input: Input { shape: network.input(), encoding: run.encoding },
        steps: run.n_steps,
        reset: run.reset,
        readout: run.readout,
        threshold: 1.0,
        layers,
    };
    let path = folder.join(FILE_NAME);
    let text = serde_json::to_vec_pretty(&description).expect("a description has string keys only");
    artefact::write_atomically(&path, &text)?;
    Ok(path)
}

/// Describes a layer and adds its tensors.
fn describe(
    layer: &SpikingLayer,
    idx: usize,
    fires: bool,
    n_steps: usize,
    tensors: &mut BTreeMap<String, TensorF32>,
) -> Layer {
    let mut add = |field: &str, shape: Vec<usize>, values: Vec<f32>| {
        let name = format!("{}.{field}", idx + 1);
        tensors.insert(name.clone(), TensorF32 { shape, values });
        name
    };
    let n_channels = layer.shape()[0];
    let biases = layer.biases().values();
    let bias = add("bias", vec![biases.len()], biases.to_vec());
    let mut per_channel = |field: &str, values: Vec<f32>| add(field, vec![n_channels], values);
    let initial_potential = per_channel("initial_potential", layer.initial_potentials().to_vec());
    let activation_threshold = per_channel("activation_threshold", layer.thresholds().to_vec());
    let grid_step = per_channel("grid_step", layer.grids().iter().map(|grid| grid.step() as f32).collect());
    let potential_limit = layer.potential_limits(n_steps).map(|limits| per_channel("potential_limit", limits));
    let connections = layer.connections().iter().enumerate().map(|(at, Connection { wiring, weights })| {
        let (max_pools, sum_pools) = windows(wiring);
        Synapses {
            source: wiring.source.index(),
            max_pools,
            sum_pools,
            convolution: (!wiring.kernel.is_dense()).then(|| convolution(&wiring.kernel)),
            weight: add(&format!("weight.{at}"), wiring.kernel.weight_shape(), weights.clone()),
        }
    });
    let connections = connections.collect();
    Layer {
        name: layer.name().to_owned(),
        shape: layer.shape(),
        fires,
        bias,
        initial_potential,
        activation_threshold,
        grid_step,
        potential_limit,
        connections,
    }
}

fn convolution(kernel: &Kernel) -> Convolution {
    let Kernel { stride, padding, dilation, groups, .. } = *kernel;
    let dilation = (dilation != [1; 2]).then_some(dilation);
    Convolution { stride: stride.into(), padding: padding.into(), dilation, groups }
}

/// Windows of the max pools, and of the pools that add up.
fn windows(wiring: &Wiring) -> (Vec<Window>, Vec<Window>) {
    let (mut max_pools, mut sum_pools, mut shape) = (Vec::new(), Vec::new(), wiring.source_shape);
    for pool in &wiring.pools {
        let multiples = pool.multiples(shape);
        let window = Window {
            kernel: pool.kernel,
            stride: pool.stride,
            padding: padding_that_is_seen(pool, shape),
            multiples: multiples.iter().flatten().any(|&multiple| multiple != 1).then_some(multiples),
        };
        match pool.kind {
            PoolKind::Max => max_pools.push(window),
            PoolKind::Mean => sum_pools.push(window),
        }
        shape = pool.output(shape);
    }
    (max_pools, sum_pools)
}
