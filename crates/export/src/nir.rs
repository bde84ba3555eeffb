//! NIR graphs: converted networks for other simulators and for neuromorphic hardware.
//!
//! The file is what `nir.read` of the reference Python package reads, its type checks included: HDF5, a node per operation,
//! an edge per flow. Values stay those of the exact grid, thresholds are 1, and one time step is one unit of time: `r = 1`,
//! `dt = 1`.
//!
//! | in the network | in the graph |
//! |---|---|
//! | fully connected synapses | `Flatten` where they come from an image, then `Affine`; `Linear` without the biases |
//! | a convolution | `Conv2d`; of groups: one without groups and with zeros (NIR's type check knows no groups) |
//! | a skip connection | `Conv2d` of size 1 with a diagonal of weights (few simulators read `Scale`) |
//! | an average pool | `SumPool2d`: 1/k² is in the weights that follow |
//! | a sum of currents | several edges into one node |
//! | neurons | `IF` with one value for each neuron |
//! | readout from potentials | `Output` of currents: their sum over time is the potential |
//!
//! What NIR cannot say is a [`Deviation`], which the user has to allow. A spike at `v > v_threshold`, which is NIR's, is one
//! at `v ≥ 1` if the threshold is the largest 32-bit float below 1: so it is written where neurons are reset to zero. Reset
//! by subtraction takes the threshold off, so there it is 1. Until version 1.0.5 the reference package defined `IF` by reset
//! by subtraction and knew no `v_reset`; neurons that are so reset are written without it, which all versions read (since
//! 1.0.6 as `v_reset = 0`).
//!
//! Source: Pedersen et al., *Neuromorphic intermediate representation*, Nature Communications 15, 8122 (2024); files as those of
//! `nir` 1.0.8.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use model::Architecture;
use model::artefact::{ArtefactError, write_atomically};
use model::config::{Encoding, Readout, Reset};
use model::kernel::Axis;
use model::population::{Pool, PoolKind};
use snn::neurons::{Description, Neuron};
use snn::pool::padding_that_is_seen;
use snn::{Biases, Connection, Kernel, RunSettings, Source, SpikingLayer, SpikingNetwork};
use thiserror::Error;

use crate::hdf5::{self, Dataset, Group, Item, Values};
use crate::{ExportError, Exportable, Exported, Provenance, Target};

pub(crate) static TARGET: Target = Target { name: "nir", files: &[FILE_NAME], write };

/// Name of the graph in a run's folder.
pub const FILE_NAME: &str = "snn.nir";

/// Version of the reference package that the files are laid out for.
pub const VERSION: &str = "1.0.8";

/// Largest threshold that `v > threshold` passes for no 32-bit `v` below 1.
const JUST_BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;

/// What a network does and NIR has no word for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deviation {
    /// A spike takes one threshold off the potential.
    ResetBySubtraction,
    /// Potentials do not start at zero.
    InitialPotential,
    /// A max pool lets a spike through that raises the largest count of its window.
    MaxPool,
    /// Potentials are kept within limits in a run as long as this.
    Saturation,
}

impl Deviation {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::ResetBySubtraction, Self::InitialPotential, Self::MaxPool, Self::Saturation];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResetBySubtraction => "reset-by-subtraction",
            Self::InitialPotential => "initial-potential",
            Self::MaxPool => "max-pool",
            Self::Saturation => "saturation",
        }
    }

    /// What is lost, and where it is said instead.
    const fn explanation(self) -> &'static str {
        match self {
            Self::ResetBySubtraction => {
                "a spike, at v ≥ v_threshold, takes one threshold off the potential; NIR's IF does so until version 1.0.5 and sets it to v_reset \
                 since, at v > v_threshold. Tell the simulator (metadata `reset`)"
            }
            Self::InitialPotential => {
                "potentials start as the metadata `initial_potential` of their nodes say (the readout's: the graph's `output_initial_potential`); \
                 NIR's start at zero. Tell the simulator"
            }
            Self::MaxPool => {
                "a max pool lets a spike through if it raises the largest spike count of its window; in the graph it lets one \
                 through whenever any input of the window spikes (SumPool2d, then Threshold), which is more"
            }
            Self::Saturation => {
                "potentials saturate far from the threshold in a run of as many steps as are configured; in the graph they do not"
            }
        }
    }

    /// A configuration that does without.
    const fn remedy(self) -> &'static str {
        match self {
            Self::ResetBySubtraction => "simulate.reset = \"zero\"",
            Self::InitialPotential => "convert.initial_potential = 0 and no convert.calibrate = \"potential\"",
            Self::MaxPool => "avg-pool in place of max-pool",
            Self::Saturation => "fewer simulate.steps",
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Deviation {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|deviation| deviation.name() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("`{word}` is nothing that NIR lacks; use one of {known}")
        })
    }
}

/// A network that cannot become a graph.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NirError {
    /// It does what NIR has no word for, and the user has not allowed that.
    #[error("NIR has no word for what this network does:\n{}", listed(.0))]
    Unsayable(Vec<(Deviation, Vec<String>)>),
    /// Its neurons have no node.
    #[error("NIR has no node for neurons `{neuron}` ({update}); use neurons `if`")]
    Neuron {
        /// Name of the neuron.
        neuron: &'static str,
        /// What it does in a step.
        update: &'static str,
    },
    /// It has a part that no nodes stand for.
    #[error("layer {layer}: {found}; {remedy}")]
    NoNode {
        /// Name of the layer.
        layer: String,
        /// What there is.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// One line per deviation, then what to do about them.
fn listed(found: &[(Deviation, Vec<String>)]) -> String {
    let lines: String = found
        .iter()
        .map(|(deviation, layers)| format!("  {deviation} ({}): {}\n", layers.join(", "), deviation.explanation()))
        .collect();
    let names: Vec<&str> = found.iter().map(|(deviation, _)| deviation.name()).collect();
    let remedies: Vec<&str> = found.iter().map(|(deviation, _)| deviation.remedy()).collect();
    format!(
        "{lines}write the graph all the same with `--allow {}`, or convert with {}",
        names.join(","),
        remedies.join(", ")
    )
}

/// Writes [`FILE_NAME`].
fn write(folder: &Path, exportable: &Exportable<'_>) -> Result<Exported, ExportError> {
    let &Exportable { network, run, provenance, allowed } = exportable;
    let path = folder.join(FILE_NAME);
    let refused = |why: NirError| ExportError::Refused { path: path.clone(), why: why.into() };
    let graph = Graph::new(network, run, allowed, provenance).map_err(refused)?;
    graph.write(&path)?;
    let notes = graph.notes().iter().map(|note| format!("{}: {note}", path.display())).collect();
    Ok(Exported { path, what: format!("NIR graph of {} nodes", graph.n_nodes()), notes })
}

/// A graph, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    root: Group,
    n_nodes: usize,
    notes: Vec<String>,
}

impl Graph {
    /// The graph of a network of integrate-and-fire neurons.
    ///
    /// - `run`: how the network is meant to be run
    /// - `allowed`: what may be lost
    ///
    /// # Errors
    /// [`NirError`] if the graph would compute something else than the network and that is not allowed, or there are no nodes
    /// for a part of it.
    pub fn new(
        network: &SpikingNetwork,
        run: &RunSettings,
        allowed: &[Deviation],
        provenance: &Provenance,
    ) -> Result<Self, NirError> {
        Self::of_neurons(network, &*snn::neurons::of_run(run), run, allowed, provenance)
    }

    /// The graph of a network of neurons of a model ([`snn::neurons`]).
    ///
    /// - `run`: how the network is meant to be run; its reset is the neuron's
    /// - `allowed`: what may be lost
    ///
    /// # Errors
    /// [`NirError`] as for [`Graph::new`], and if the neuron is another one than integrate-and-fire, the only one that NIR knows of those.
    pub fn of_neurons(
        network: &SpikingNetwork,
        neuron: &dyn Neuron,
        run: &RunSettings,
        allowed: &[Deviation],
        provenance: &Provenance,
    ) -> Result<Self, NirError> {
        let Description { update, integrates_and_fires } = neuron.description();
        let reset = integrates_and_fires.ok_or_else(|| NirError::Neuron { neuron: neuron.name(), update })?;
        let run = &RunSettings { reset, ..*run };
        let found = deviations(network, run);
        let refused: Vec<_> = found.iter().filter(|(deviation, _)| !allowed.contains(deviation)).cloned().collect();
        if !refused.is_empty() {
            return Err(NirError::Unsayable(refused));
        }
        let mut notes: Vec<String> = found
            .iter()
            .map(|(deviation, layers)| format!("{deviation} ({}): {}", layers.join(", "), deviation.explanation()))
            .collect();
        if run.encoding == Encoding::Constant {
            notes.push(
                "constant input: here the currents of the first layer are rounded to its grid, elsewhere they are not, so that a spike \
                 can be missing or early where a potential comes within rounding of the threshold"
                    .to_owned(),
            );
        }
        let mut builder = Builder::new(network);
        for idx in 0..network.layers().len() {
            builder.layer(network, idx, run)?;
        }
        let Builder { nodes, edges, of_output, .. } = builder;
        let n_nodes = nodes.len();
        let mut metadata = of_output;
        let of_graph = [
            ("creator", Item::text(format!("Quartic {}", provenance.quartic_version))),
            ("dt", Item::floats(&[], vec![1.0])),
            ("encoding", Item::text(run.encoding.name())),
            ("notes", Item::text(notes.join("\n"))),
            ("readout", Item::text(run.readout.name())),
            ("reset", Item::text(run.reset.name())),
            ("source_sha256", Item::text(&provenance.parent)),
            ("steps", Item::integer(run.n_steps as i64)),
        ];
        metadata.extend(of_graph.map(|(name, item)| (name.to_owned(), item)));
        let edges =
            Dataset { shape: vec![edges.len(), 2], values: Values::Text(edges.into_iter().flatten().collect()) };
        let graph = Item::group([
            ("type", Item::text("NIRGraph")),
            ("nodes", Item::Group(nodes)),
            ("edges", Item::Dataset(edges)),
            ("metadata", Item::Group(metadata)),
        ]);
        let root = Group::from([("version".to_owned(), Item::text(VERSION)), ("node".to_owned(), graph)]);
        Ok(Self { root, n_nodes, notes })
    }

    /// The contents of the file: `version` and `node`.
    pub fn root(&self) -> &Group {
        &self.root
    }

    /// Number of nodes, input and output among them.
    pub fn n_nodes(&self) -> usize {
        self.n_nodes
    }

    /// What whoever runs the graph has to know, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`ArtefactError::Io`] if the system refuses; an existing file is then left as it was.
    pub fn write(&self, path: &Path) -> Result<(), ArtefactError> {
        write_atomically(path, &hdf5::bytes(&self.root))
    }
}

fn fires(network: &SpikingNetwork, idx: usize, run: &RunSettings) -> bool {
    idx + 1 < network.layers().len() || run.readout == Readout::Spikes
}

/// What is lost, with the layers that lose it.
fn deviations(network: &SpikingNetwork, run: &RunSettings) -> Vec<(Deviation, Vec<String>)> {
    let has = |deviation: Deviation, idx: usize, layer: &SpikingLayer| match deviation {
        Deviation::ResetBySubtraction => run.reset == Reset::Subtract && fires(network, idx, run),
        Deviation::InitialPotential => layer.initial_potentials().iter().any(|&potential| potential != 0.0),
        Deviation::MaxPool => {
            layer.connections().iter().any(|connection| connection.wiring.max_pools().next().is_some())
        }
        Deviation::Saturation => layer.potential_limits(run.n_steps).is_some(),
    };
    let layers_with = |deviation| -> Vec<String> {
        let layers = network.layers().iter().enumerate().filter(|(idx, layer)| has(deviation, *idx, layer));
        layers.map(|(_, layer)| layer.name().to_owned()).collect()
    };
    let found = Deviation::ALL.into_iter().map(|deviation| (deviation, layers_with(deviation)));
    found.filter(|(_, layers)| !layers.is_empty()).collect()
}

/// Where spikes or currents come out: a node and their shape, `[n]` or `[C, H, W]`.
#[derive(Debug, Clone)]
struct Flow {
    node: String,
    shape: Vec<usize>,
}

struct Builder {
    nodes: Group,
    edges: Vec<[String; 2]>,
    /// The input, then each layer that fires.
    sources: Vec<Flow>,
    /// What is to be known of an output of currents, for the graph's metadata: versions of `nir` until 1.0.5 have none for
    /// `Output`.
    of_output: Group,
    /// Digits of a layer's number: simulators go through nodes in the order of their names.
    width: usize,
}

/// Whether a kernel sees a vector, not an image.
fn sees_vector(kernel: &Kernel) -> bool {
    kernel.input[1..] == [1, 1] && kernel.size == [1; 2] && kernel.padding == [0; 4]
}

/// Whether a layer's neurons stand in an image.
fn is_image(layer: &SpikingLayer) -> bool {
    layer.connections().iter().any(|connection| !sees_vector(&connection.wiring.kernel))
}

impl Builder {
    fn new(network: &SpikingNetwork) -> Self {
        let shape = network.input();
        let images = network.layers().iter().filter(|layer| is_image(layer));
        let read_as_image =
            images.flat_map(SpikingLayer::connections).any(|connection| connection.wiring.source == Source::INPUT);
        let shape = if shape[1..] == [1, 1] && !read_as_image { vec![shape[0]] } else { shape.to_vec() };
        let mut builder = Self {
            nodes: Group::new(),
            edges: Vec::new(),
            sources: Vec::new(),
            of_output: Group::new(),
            width: network.layers().len().to_string().len(),
        };
        let fields = [("shape", Item::integers(shape.iter().copied()))];
        builder.node("input", "Input", fields);
        builder.sources.push(Flow { node: "input".to_owned(), shape });
        builder
    }

    fn node<'a>(&mut self, name: &str, kind: &str, fields: impl IntoIterator<Item = (&'a str, Item)>) {
        let node = Item::group(fields.into_iter().chain([("type", Item::text(kind))]));
        assert!(self.nodes.insert(name.to_owned(), node).is_none(), "each node has a name of its own");
    }

    /// Adds a node behind another.
    fn behind<'a>(
        &mut self,
        flow: &mut Flow,
        name: String,
        kind: &str,
        shape: Vec<usize>,
        fields: impl IntoIterator<Item = (&'a str, Item)>,
    ) {
        self.node(&name, kind, fields);
        self.edges.push([flow.node.clone(), name.clone()]);
        *flow = Flow { node: name, shape };
    }

    fn layer(&mut self, network: &SpikingNetwork, idx: usize, run: &RunSettings) -> Result<(), NirError> {
        let layer = &network.layers()[idx];
        let mut names = Names { layer: format!("layer_{:0width$}", idx + 1, width = self.width), n: 0 };
        let mut ends = Vec::with_capacity(layer.connections().len());
        for (at, connection) in layer.connections().iter().enumerate() {
            let biases = (at == 0).then(|| layer.biases());
            ends.push(self.connection(layer, connection, biases, &mut names)?);
        }
        let shape = ends[0].shape.clone();
        let mut metadata = vec![
            ("layer", Item::text(layer.name())),
            ("activation_threshold", Item::floats(&shape, layer.for_neurons(layer.thresholds()))),
        ];
        if layer.initial_potentials().iter().any(|&potential| potential != 0.0) {
            let potentials = layer.for_neurons(layer.initial_potentials());
            metadata.push(("initial_potential", Item::floats(&shape, potentials)));
        }
        let last = idx + 1 == network.layers().len();
        let to = if fires(network, idx, run) {
            let name = names.next("if");
            let all = |value| Item::floats(&shape, vec![value; layer.n_out()]);
            let (threshold, v_reset) = match run.reset {
                Reset::Subtract => (1.0, None),
                Reset::Zero => (JUST_BELOW_ONE, Some(("v_reset", all(0.0)))),
            };
            let metadata = ("metadata", Item::group(metadata));
            let fields = [("r", all(1.0)), ("v_threshold", all(threshold)), metadata].into_iter().chain(v_reset);
            self.node(&name, "IF", fields);
            self.sources.push(Flow { node: name.clone(), shape: shape.clone() });
            if last {
                self.node("output", "Output", [("shape", Item::integers(shape))]);
                self.edges.push([name.clone(), "output".to_owned()]);
            }
            name
        } else {
            self.node("output", "Output", [("shape", Item::integers(shape))]);
            self.of_output = metadata.into_iter().map(|(name, item)| (format!("output_{name}"), item)).collect();
            "output".to_owned()
        };
        self.edges.extend(ends.into_iter().map(|end| [end.node, to.clone()]));
        Ok(())
    }

    /// The nodes of one connection; returns where its currents come out.
    fn connection(
        &mut self,
        layer: &SpikingLayer,
        connection: &Connection<f32>,
        biases: Option<&Biases<f32>>,
        names: &mut Names,
    ) -> Result<Flow, NirError> {
        let Connection { wiring, weights } = connection;
        let kernel = &wiring.kernel;
        let mut flow = self.sources[wiring.source.index()].clone();
        let needs_image = || NirError::NoNode {
            layer: layer.name().to_owned(),
            found: "takes the neurons of a fully connected layer for an image, which no node does".to_owned(),
            remedy: "use a network without convolutions or pools behind fully connected layers",
        };
        for pool in &wiring.pools {
            let image = <[usize; 3]>::try_from(flow.shape.as_slice()).map_err(|_| needs_image())?;
            self.pool(layer, &mut flow, image, pool, names)?;
        }
        let n_weights = weights.len().saturating_mul(kernel.groups);
        if n_weights > Architecture::MAX_WEIGHTS {
            return Err(NirError::NoNode {
                layer: layer.name().to_owned(),
                found: format!("has {n_weights} weights once its {} groups are written as one", kernel.groups),
                remedy: "use fewer channels or groups",
            });
        }
        let biases = biases.map(|biases| biases.channels().ok_or_else(|| no_biases_of_neurons(layer))).transpose()?;
        let weights = ungrouped(kernel, weights);
        let [n_in, n_out] = [kernel.input[0], kernel.channels];
        if is_image(layer) {
            if flow.shape != kernel.input {
                return Err(needs_image());
            }
            let biases = biases.map_or_else(|| vec![0.0; n_out], <[f32]>::to_vec);
            let padding = even_padding([kernel.axis(0), kernel.axis(1)], kernel.output());
            let padding = padding.ok_or_else(|| no_uneven_padding(layer, "has a convolution", kernel.padding))?;
            let fields = [
                ("input_shape", Item::integers(kernel.input[1..].iter().copied())),
                ("weight", Item::floats(&[n_out, n_in, kernel.size[0], kernel.size[1]], weights)),
                ("bias", Item::floats(&[n_out], biases)),
                ("stride", Item::integers(kernel.stride)),
                ("padding", Item::integers(padding)),
                ("dilation", Item::integers(kernel.dilation)),
                ("groups", Item::integer(1)),
            ];
            self.behind(&mut flow, names.next("conv2d"), "Conv2d", kernel.output().to_vec(), fields);
        } else {
            if flow.shape.len() > 1 {
                let shape = Item::integers(flow.shape.iter().copied());
                let fields = [("input_type", shape), ("start_dim", Item::integer(0)), ("end_dim", Item::integer(-1))];
                self.behind(&mut flow, names.next("flatten"), "Flatten", vec![n_in], fields);
            }
            let weight = ("weight", Item::floats(&[n_out, n_in], weights));
            match biases {
                Some(biases) => {
                    let fields = [weight, ("bias", Item::floats(&[n_out], biases.to_vec()))];
                    self.behind(&mut flow, names.next("affine"), "Affine", vec![n_out], fields);
                }
                None => self.behind(&mut flow, names.next("linear"), "Linear", vec![n_out], [weight]),
            }
        }
        Ok(flow)
    }

    fn pool(
        &mut self,
        layer: &SpikingLayer,
        flow: &mut Flow,
        image: [usize; 3],
        pool: &Pool,
        names: &mut Names,
    ) -> Result<(), NirError> {
        let output = pool.output(image);
        let padding = even_padding([pool.axis(0, image[1]), pool.axis(1, image[2])], output);
        let padding =
            padding.ok_or_else(|| no_uneven_padding(layer, "is behind a pool", padding_that_is_seen(pool, image)))?;
        if pool.multiples(image).iter().flatten().any(|&multiple| multiple != 1) {
            return Err(NirError::NoNode {
                layer: layer.name().to_owned(),
                found: "is behind an average pool whose windows at the border are means of fewer inputs, and a SumPool2d node \
                        adds every input once"
                    .to_owned(),
                remedy: "count the padding among the inputs of the pool, or export `plain` in place of `nir`",
            });
        }
        let shape = output.to_vec();
        let fields = [
            ("kernel_size", Item::integers(pool.kernel)),
            ("stride", Item::integers(pool.stride)),
            ("padding", Item::integers(padding)),
        ];
        self.behind(flow, names.next("sumpool2d"), "SumPool2d", shape.clone(), fields);
        if pool.kind == PoolKind::Max {
            let threshold = Item::floats(&shape, vec![0.5; shape.iter().product()]);
            self.behind(flow, names.next("threshold"), "Threshold", shape, [("threshold", threshold)]);
        }
        Ok(())
    }
}

/// Rows and columns of zeros that, put on both sides alike, make as many windows at the same places; `None` if there are no such.
fn even_padding(axes: [Axis; 2], [_, rows, columns]: [usize; 3]) -> Option<[usize; 2]> {
    let even = |axis: Axis, n_windows: usize| {
        let padding = [axis.padding[0]; 2];
        Axis { padding, ..axis }.n_windows() == n_windows
    };
    let [down, across] = axes;
    (even(down, rows) && even(across, columns)).then_some([down.padding[0], across.padding[0]])
}

fn no_uneven_padding(layer: &SpikingLayer, what: &str, padding: [usize; 4]) -> NirError {
    let [top, left, bottom, right] = padding;
    NirError::NoNode {
        layer: layer.name().to_owned(),
        found: format!(
            "{what} that is padded by {top} above, {left} to the left, {bottom} below and {right} to the right, and a node \
             pads opposite sides alike"
        ),
        remedy: "pad opposite sides alike, or export `plain` in place of `nir`",
    }
}

fn no_biases_of_neurons(layer: &SpikingLayer) -> NirError {
    NirError::NoNode {
        layer: layer.name().to_owned(),
        found: "has a bias for each neuron, and a Conv2d node one for each channel".to_owned(),
        remedy: "export `plain` in place of `nir`, or use a network whose convolutions are padded with what their inputs are shifted to",
    }
}

/// Names of a layer's nodes, in the order of computation when sorted: `layer_1_0_flatten`, `layer_1_1_affine`, …
struct Names {
    layer: String,
    n: usize,
}

impl Names {
    fn next(&mut self, kind: &str) -> String {
        let name = format!("{}_{}_{kind}", self.layer, self.n);
        self.n += 1;
        name
    }
}

/// Weights `[C_out, C_in, k_h, k_w]` of the same convolution without groups: zero between channels that do not see each other.
fn ungrouped(kernel: &Kernel, weights: &[f32]) -> Vec<f32> {
    if kernel.groups == 1 {
        return weights.to_vec();
    }
    let area = kernel.area();
    let mut whole = vec![0.0; kernel.channels * kernel.input[0] * area];
    for (channel, row) in weights.chunks_exact(kernel.row_len()).enumerate() {
        let first = (channel * kernel.input[0] + kernel.input_channel(channel, 0)) * area;
        whole[first..first + row.len()].copy_from_slice(row);
    }
    whole
}
