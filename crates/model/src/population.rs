//! Layers → populations of neurons and the connections between them.
//!
//! A population stands where the trained network has a `relu`, or its logits. What lies between two of them
//! (pools, flatten, one weighted layer with its batch norm, a residual sum) becomes connections, whose currents
//! add. Layers that cannot be so expressed are refused here, by name and with a remedy: nothing is left out
//! silently.

use serde::{Deserialize, Serialize};

use crate::architecture::{Architecture, Conv2d, Layer, LayerKind, LayerProblem, Window, shape_text};

/// Neurons of one layer, all of them alike but for their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// Name for people, numbered from 1: `conv 1`, `residual 4`, `dense 5`.
    pub name: String,
    /// `[C, H, W]`; a vector of n is `[n, 1, 1]`.
    pub shape: [usize; 3],
    /// Where its input current comes from, at least one.
    pub connections: Vec<Connection>,
}

impl Population {
    /// Number of neurons.
    pub fn n_neurons(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Synapses from one population, or the input, onto another.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// 0 is the network's input, k the population k − 1.
    pub source: usize,
    /// Shape `[C, H, W]` of the source.
    pub source_shape: [usize; 3],
    /// What happens to the source's spikes on the way, in order: max pools first, then average pools.
    pub pools: Vec<Pool>,
    /// The weights.
    pub weights: Weights,
}

/// A pool on the way of spikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// What it takes of a window.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Distance between neighbouring windows, down and across.
    pub stride: [usize; 2],
}

impl Pool {
    /// Number of inputs of a window.
    pub fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Shape `[C, H, W]` of what comes out of an image of a shape; zero in a dimension that the window does not fit.
    pub fn output(&self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        let windows = |n, d: usize| n_windows(n, self.kernel[d], self.stride[d], 0);
        [channels, windows(height, 0), windows(width, 1)]
    }
}

/// What a pool takes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolKind {
    /// The mean.
    Mean,
    /// The largest.
    Max,
}

/// The weights of a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// A fully connected layer's.
    Dense {
        /// Its place: prefix of its tensors' names.
        path: String,
        /// The batch norm that follows.
        batch_norm: Option<BatchNorm>,
    },
    /// A convolution's.
    Conv {
        /// Its place: prefix of its tensors' names.
        path: String,
        /// Its parameters.
        conv: Conv2d,
        /// The batch norm that follows.
        batch_norm: Option<BatchNorm>,
    },
    /// One for each neuron's counterpart in the source: a skip connection without weights.
    Identity,
}

/// A batch norm, to be folded.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// Its place: prefix of its tensors' names.
    pub path: String,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Output size of a window that slides along one dimension; 0 if it does not fit.
///
/// `⌊(n + 2·padding − kernel) / stride⌋ + 1`
pub fn n_windows(n: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    (n + 2 * padding).checked_sub(kernel).map_or(0, |room| room / stride + 1)
}

/// What flows between layers at one point of the network.
#[derive(Debug, Clone)]
struct Signal {
    shape: Vec<usize>,
    source: usize,
    source_shape: [usize; 3],
    pools: Vec<Pool>,
    /// Currents that no `relu` has made spikes of yet.
    pending: Option<Pending>,
}

#[derive(Debug, Clone)]
struct Pending {
    /// Kind of the layer that made them.
    by: &'static str,
    connections: Vec<Connection>,
}

/// Checks layers one after another and collects populations and problems.
pub(crate) struct Builder {
    signal: Signal,
    populations: Vec<Population>,
    problems: Vec<LayerProblem>,
}

impl Builder {
    /// - `input`: `[C, H, W]`
    pub(crate) fn new(input: [usize; 3]) -> Self {
        let signal = Signal { shape: input.to_vec(), source: 0, source_shape: input, pools: Vec::new(), pending: None };
        Self { signal, populations: Vec::new(), problems: Vec::new() }
    }

    /// Adds layers.
    ///
    /// - `prefix`: of their places: empty, or `5.body.`
    pub(crate) fn layers(&mut self, prefix: &str, kinds: &[LayerKind]) -> Vec<Layer> {
        kinds.iter().enumerate().map(|(idx, kind)| self.layer(format!("{prefix}{idx}"), kind)).collect()
    }

    /// The populations, if there were no problems and the last layer gives logits.
    pub(crate) fn finish(mut self, kinds: &[LayerKind]) -> Result<Vec<Population>, Vec<LayerProblem>> {
        let logits = self.signal.pending.as_ref().filter(|pending| pending.by == "dense");
        match (kinds.last(), logits) {
            (None, _) => self
                .problems
                .push(LayerProblem { path: None, message: "no layers; give at least one `dense` layer".to_owned() }),
            (Some(last), None) => {
                let message = format!(
                    "{}: is the last layer; end with a `dense` layer with one unit per class (its outputs are the logits)",
                    last.name()
                );
                self.problems.push(LayerProblem { path: Some((kinds.len() - 1).to_string()), message });
            }
            (Some(_), Some(_)) => self.spike(),
        }
        if self.problems.is_empty() { Ok(self.populations) } else { Err(self.problems) }
    }

    fn refuse(&mut self, path: &str, message: String) {
        self.problems.push(LayerProblem { path: Some(path.to_owned()), message });
    }

    fn layer(&mut self, path: String, kind: &LayerKind) -> Layer {
        let input = self.signal.shape.clone();
        self.refuse_between_weights_and_relu(&path, kind);
        let (mut body, mut shortcut) = (Vec::new(), Vec::new());
        match kind {
            LayerKind::Flatten => self.signal.shape = vec![input.iter().product()],
            LayerKind::Dense { units } => self.dense(&path, *units),
            LayerKind::Conv2d(conv) => self.conv(&path, *conv),
            LayerKind::BatchNorm { epsilon } => self.batch_norm(&path, *epsilon),
            LayerKind::Relu => {
                if self.signal.pending.is_some() {
                    self.spike();
                } else {
                    let message = "relu: does not follow a weighted layer; put it right after a `dense`, `conv2d`, \
                                   `batch-norm` or `residual` layer";
                    self.refuse(&path, message.to_owned());
                }
            }
            LayerKind::Dropout { .. } => {}
            LayerKind::AvgPool(window) => self.pool(&path, PoolKind::Mean, Some(*window)),
            LayerKind::GlobalAvgPool => self.pool(&path, PoolKind::Mean, None),
            LayerKind::MaxPool(window) => self.pool(&path, PoolKind::Max, Some(*window)),
            LayerKind::Residual { body: inner, shortcut: skip } => {
                (body, shortcut) = self.residual(&path, inner, skip);
            }
        }
        Layer { path, kind: kind.clone(), input, output: self.signal.shape.clone(), body, shortcut }
    }

    /// Between a weighted layer and its `relu`, only a batch norm has a place.
    fn refuse_between_weights_and_relu(&mut self, path: &str, kind: &LayerKind) {
        let Some(pending) =
            self.signal.pending.take_if(|_| !matches!(kind, LayerKind::BatchNorm { .. } | LayerKind::Relu))
        else {
            return;
        };
        let (name, by) = (kind.name(), pending.by);
        let remedy = match kind {
            LayerKind::MaxPool(_) => "put the `relu` before it (the network computes the same)",
            LayerKind::Flatten | LayerKind::Dropout { .. } => "put the `relu` before it",
            LayerKind::AvgPool(_) | LayerKind::GlobalAvgPool => {
                "put a `relu` between; for a network that ends in conv2d and a pool, pool first and end with `dense` (the \
                 same function for a kernel of 1)"
            }
            _ => "put one in",
        };
        let message = if matches!(kind, LayerKind::Dense { .. } | LayerKind::Conv2d(_) | LayerKind::Residual { .. }) {
            let other = if name == by { format!("another {by} layer") } else { format!("a {by} layer") };
            format!("{name}: follows {other} with no `relu` between; {remedy}")
        } else {
            format!("{name}: stands between a {by} layer and its `relu`; {remedy}")
        };
        self.refuse(path, message);
    }

    fn dense(&mut self, path: &str, units: usize) {
        if self.signal.shape.len() != 1 {
            let found = shape_text(&self.signal.shape);
            self.refuse(path, format!("dense: its input is an image {found}; put a `flatten` layer before it"));
        }
        let n_in: usize = self.signal.shape.iter().product();
        if n_in.saturating_mul(units) > Architecture::MAX_WEIGHTS {
            self.refuse(
                path,
                format!(
                    "dense: {units} units × {n_in} inputs exceed the {} weights a layer may have; use fewer units",
                    Architecture::MAX_WEIGHTS
                ),
            );
        }
        let weights = Weights::Dense { path: path.to_owned(), batch_norm: None };
        self.connect("dense", weights, vec![units]);
    }

    fn conv(&mut self, path: &str, conv: Conv2d) {
        let Some([c_in, height, width]) = self.image(path, "conv2d") else {
            // A guess that lets the layers after it be checked.
            let shape = vec![conv.channels, 1, 1];
            return self.connect("conv2d", Weights::Conv { path: path.to_owned(), conv, batch_norm: None }, shape);
        };
        let Conv2d { channels, kernel, stride, padding, groups, .. } = conv;
        if padding >= kernel {
            self.refuse(
                path,
                format!("conv2d: padding {padding} is not below kernel {kernel}, so some outputs see nothing but zeros; use padding ≤ {}", kernel - 1),
            );
        }
        if !c_in.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            self.refuse(
                path,
                format!("conv2d: groups {groups} does not divide both {c_in} input and {channels} output channels; use a common divisor"),
            );
        }
        let size = [height, width].map(|n| n_windows(n, kernel, stride, padding));
        if size.contains(&0) {
            let least = (kernel - height.min(width)).div_ceil(2);
            self.refuse(
                path,
                format!(
                    "conv2d: kernel {kernel} exceeds its {height}×{width} input; use kernel ≤ {} or padding ≥ {least}",
                    height.min(width)
                ),
            );
        }
        let n_weights = [c_in / groups.max(1), kernel, kernel].into_iter().fold(channels, usize::saturating_mul);
        let n_outputs = size.into_iter().fold(channels, usize::saturating_mul);
        if n_weights > Architecture::MAX_WEIGHTS || n_outputs > Architecture::MAX_OUTPUTS {
            self.refuse(
                path,
                format!(
                    "conv2d: {n_weights} weights and {n_outputs} outputs exceed the {} and {} a layer may have; use fewer channels",
                    Architecture::MAX_WEIGHTS,
                    Architecture::MAX_OUTPUTS
                ),
            );
        }
        let weights = Weights::Conv { path: path.to_owned(), conv, batch_norm: None };
        self.connect("conv2d", weights, vec![channels, size[0].max(1), size[1].max(1)]);
    }

    fn batch_norm(&mut self, path: &str, epsilon: f64) {
        let remedy = "put it right after a `conv2d` or `dense` layer, before the `relu`";
        let message = match &mut self.signal.pending {
            None => {
                format!("batch-norm: does not follow a weighted layer, so there is nothing to fold it into; {remedy}")
            }
            Some(pending) if pending.by == "residual" => format!(
                "batch-norm: follows the sum of a residual block, where it cannot be folded into one layer's weights; \
                 {remedy} within the block"
            ),
            Some(pending) => match &mut pending.connections[0].weights {
                Weights::Dense { batch_norm, .. } | Weights::Conv { batch_norm, .. } if batch_norm.is_none() => {
                    *batch_norm = Some(BatchNorm { path: path.to_owned(), epsilon });
                    return;
                }
                _ => "batch-norm: follows another one; remove one of them".to_owned(),
            },
        };
        self.refuse(path, message);
    }

    /// - `window`: `None` for the whole image
    fn pool(&mut self, path: &str, kind: PoolKind, window: Option<Window>) {
        let name = match (kind, window) {
            (PoolKind::Max, _) => "max-pool",
            (PoolKind::Mean, Some(_)) => "avg-pool",
            (PoolKind::Mean, None) => "global-avg-pool",
        };
        let Some([channels, height, width]) = self.image(path, name) else { return };
        let pool = match window {
            Some(Window { kernel, stride }) => Pool { kind, kernel: [kernel; 2], stride: [stride; 2] },
            None => Pool { kind, kernel: [height, width], stride: [height, width] },
        };
        if pool.kernel[0] > height || pool.kernel[1] > width {
            let message = format!(
                "{name}: kernel {} exceeds its {height}×{width} input; use kernel ≤ {}",
                pool.kernel[0],
                height.min(width)
            );
            return self.refuse(path, message);
        }
        if kind == PoolKind::Max {
            if self.signal.source == 0 {
                let message = "max-pool: stands before the first weighted layer, where nothing spikes by a threshold; pool \
                               the images beforehand, or put a `conv2d` and a `relu` before it";
                self.refuse(path, message.to_owned());
            } else if self.signal.pools.iter().any(|pool| pool.kind == PoolKind::Mean) {
                let message = "max-pool: follows an average pool, and there is no exact rule for the largest of sums of \
                               spikes; swap them, use avg-pool for both, or put a `conv2d` and a `relu` between";
                self.refuse(path, message.to_owned());
            }
        }
        self.signal.pools.push(pool);
        let output = pool.output([channels, height, width]);
        // A pool of the whole image leaves one number per channel: what follows is a dense layer.
        self.signal.shape = if window.is_none() { vec![channels] } else { output.to_vec() };
    }

    fn residual(&mut self, path: &str, body: &[LayerKind], shortcut: &[LayerKind]) -> (Vec<Layer>, Vec<Layer>) {
        let nested = |kinds: &[LayerKind]| kinds.iter().any(|kind| matches!(kind, LayerKind::Residual { .. }));
        if nested(body) || nested(shortcut) {
            self.refuse(
                path,
                "residual: has another residual block within it; put them one after the other".to_owned(),
            );
            return (Vec::new(), Vec::new());
        }
        let before = self.signal.clone();
        let n_problems = self.problems.len();
        let body_layers = self.layers(&format!("{path}.body."), body);
        let after_body = std::mem::replace(&mut self.signal, before);
        let n_populations = self.populations.len();
        let shortcut_layers = self.layers(&format!("{path}.shortcut."), shortcut);
        let skip = &self.signal;
        let mut connections = Vec::new();
        let problem = if self.problems.len() > n_problems {
            None
        } else if self.populations.len() > n_populations {
            Some("shortcut has a `relu`; it may hold an average pool, and a conv2d with its batch-norm".to_owned())
        } else if after_body.pending.is_none() {
            Some("body does not end with a weighted layer (and its batch-norm); end it with one, and put the `relu` after the block".to_owned())
        } else if after_body.shape != skip.shape {
            Some(format!(
                "body gives {} but shortcut {}; make them equal, such as by a conv2d with kernel 1 and the body's stride \
                 in `shortcut`",
                shape_text(&after_body.shape),
                shape_text(&skip.shape)
            ))
        } else {
            connections = after_body.pending.as_ref().map(|pending| pending.connections.clone()).unwrap_or_default();
            match &skip.pending {
                Some(pending) => connections.extend(pending.connections.iter().cloned()),
                None => connections.push(Connection {
                    source: skip.source,
                    source_shape: skip.source_shape,
                    pools: skip.pools.clone(),
                    weights: Weights::Identity,
                }),
            }
            None
        };
        if let Some(problem) = problem {
            self.refuse(path, format!("residual: {problem}"));
        }
        self.signal = after_body;
        self.signal.pending = Some(Pending { by: "residual", connections });
        (body_layers, shortcut_layers)
    }

    /// The signal's shape if it is an image.
    fn image(&mut self, path: &str, name: &str) -> Option<[usize; 3]> {
        let shape: Result<[usize; 3], _> = self.signal.shape.clone().try_into();
        if shape.is_err() {
            self.refuse(
                path,
                format!("{name}: its input is a vector; put it before the `flatten` or `global-avg-pool`"),
            );
        }
        shape.ok()
    }

    fn connect(&mut self, by: &'static str, weights: Weights, shape: Vec<usize>) {
        let signal = &mut self.signal;
        let connection = Connection {
            source: signal.source,
            source_shape: signal.source_shape,
            pools: std::mem::take(&mut signal.pools),
            weights,
        };
        signal.pending = Some(Pending { by, connections: vec![connection] });
        signal.shape = shape;
    }

    /// Makes a population of what is pending.
    fn spike(&mut self) {
        let Some(Pending { by, connections }) = self.signal.pending.take() else { return };
        let kind = if by == "conv2d" { "conv" } else { by };
        let shape = &self.signal.shape;
        let shape = if let [c, h, w] = shape[..] { [c, h, w] } else { [shape.iter().product(), 1, 1] };
        self.populations.push(Population {
            name: format!("{kind} {}", self.populations.len() + 1),
            shape,
            connections,
        });
        self.signal.source = self.populations.len();
        self.signal.source_shape = shape;
        self.signal.pools.clear();
    }
}
