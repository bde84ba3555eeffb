//! Signals → layers with names: what computes nothing is left out, neighbours that are one layer are joined, and activations stand
//! where neurons can.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::take;

use model::architecture::{Entry, LayerKind};
use model::artefact::TensorF32;
use model::config::ModelSection;

use super::images::is_not_negative;
use super::view::{Factor, dim, merged};
use super::walk::{Affine, Kind, Ref, Signal};
use crate::floats::narrow;

/// Longest name that is taken from the file.
const MAX_NAME: usize = 48;

/// Layers with their tensors.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) model: ModelSection,
    /// Named as the model's.
    pub(super) tensors: BTreeMap<String, TensorF32>,
    /// The node that each layer is made of, by the layer's place or name.
    pub(super) nodes: HashMap<String, String>,
    pub(super) notes: Vec<String>,
}

/// Signals that lead to an output, and what was done to them.
struct Network {
    signals: Vec<Signal>,
    output: usize,
    notes: Vec<String>,
}

/// Makes layers of what leads to an output.
///
/// # Errors
/// What has no layer, one line for each.
pub(super) fn layers(signals: Vec<Signal>, output: &Ref) -> Result<Layers, Vec<String>> {
    let one = |problem: String| vec![problem];
    let signal = &signals[output.signal];
    let values: Vec<Factor> =
        output.view.dims.concat().into_iter().filter(|factor| *factor != Factor::Samples).collect();
    let n: usize = signal.shape.iter().product();
    if merged(&values) != dim(n, 1) {
        return Err(one(format!(
            "{}: not supported: an output of {} whose values are in another order than its layer's; supported: logits",
            signal.node,
            super::view::sizes_text(&output.view.sizes())
        )));
    }
    let mut network = Network { signals, output: output.signal, notes: Vec::new() };
    network.drop_final()?;
    network.join_biases();
    network.join_affines();
    network.join_clips().map_err(one)?;
    network.activations_before_pools()?;
    network.two_classes();
    network.refuse_padding()?;
    network.into_layers().map_err(one)
}

impl Network {
    /// Signals that the output depends on, each after those it is made of: a whole branch before the next.
    fn order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        let mut done = HashSet::new();
        let mut left = vec![(self.output, 0)];
        while let Some((at, next)) = left.pop() {
            if next == 0 && !done.insert(at) {
                continue;
            }
            match self.signals[at].from.get(next) {
                Some(&from) => {
                    left.push((at, next + 1));
                    if !done.contains(&from) {
                        left.push((from, 0));
                    }
                }
                None => order.push(at),
            }
        }
        order
    }

    /// How many read each signal, the output counted.
    fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.signals.len()];
        readers[self.output] = 1;
        self.order().iter().flat_map(|&at| &self.signals[at].from).for_each(|&from| readers[from] += 1);
        readers
    }

    /// The largest logit is the largest probability, so the spiking network decides the same without.
    fn drop_final(&mut self) -> Result<(), Vec<String>> {
        while self.signals[self.output].kind == Kind::Final {
            let last = &self.signals[self.output];
            self.notes.push(format!("{} at the end is left out: the decision is the same", last.node));
            self.output = last.from[0];
        }
        let order = self.order();
        let inner = order.iter().filter(|&&at| self.signals[at].kind == Kind::Final);
        let problem = |&at: &usize| {
            format!(
                "{}: not supported: before the end, since it is curved; supported: Relu, Clip, LeakyRelu, PRelu, HardSigmoid, \
                 Abs there",
                self.signals[at].node
            )
        };
        let problems: Vec<String> = inner.map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Puts a signal in the place of one that reads it alone.
    fn replace(&mut self, at: usize, by: usize) {
        let Signal { kind, from, tensors, node, .. } = &mut self.signals[by];
        let (kind, from, tensors, node) = (kind.clone(), take(from), take(tensors), node.clone());
        let signal = &mut self.signals[at];
        (signal.kind, signal.from, signal.tensors, signal.node) = (kind, from, tensors, node);
    }

    /// A constant added to what a layer with weights gives is its bias, if it has none.
    fn join_biases(&mut self) {
        let readers = self.readers();
        for at in self.order() {
            let Kind::Affine(affine) = &self.signals[at].kind else { continue };
            let from = self.signals[at].from[0];
            let layer = &self.signals[from];
            let is_weighted = matches!(layer.kind, Kind::Layer(LayerKind::Dense { .. } | LayerKind::Conv2d(_)));
            if readers[from] != 1 || !is_weighted || layer.tensors.len() != 1 || affine.scale.iter().any(|&s| s != 1.0)
            {
                continue;
            }
            let Ok(shift) = narrow(affine.shift.iter().copied()) else { continue };
            self.replace(at, from);
            let signal = &mut self.signals[at];
            if let Kind::Layer(LayerKind::Conv2d(conv)) = &mut signal.kind {
                conv.bias = true;
            }
            signal.tensors.push(("bias", TensorF32 { shape: vec![shift.values.len()], values: shift.values }));
        }
    }

    /// One scale and shift behind another is one.
    fn join_affines(&mut self) {
        let readers = self.readers();
        for at in self.order() {
            let Kind::Affine(second) = &self.signals[at].kind else { continue };
            let from = self.signals[at].from[0];
            let Kind::Affine(first) = &self.signals[from].kind else { continue };
            if readers[from] == 1 {
                let joined = after(first, second);
                self.replace(at, from);
                self.signals[at].kind = Kind::Affine(joined);
            }
        }
    }

    /// One clip behind another is one, and a relu of a relu is the first.
    fn join_clips(&mut self) -> Result<(), String> {
        let readers = self.readers();
        for at in self.order() {
            let Kind::Clip { low, high } = self.signals[at].kind else { continue };
            let from = self.signals[at].from[0];
            let Kind::Clip { low: first_low, high: first_high } = self.signals[from].kind else { continue };
            let [joined_low, joined_high] = [first_low, first_high].map(|bound| bound.max(low).min(high));
            if joined_low >= joined_high {
                return Err(format!(
                    "{}: not supported: it gives the same number whatever it is given, behind {}; supported: bounds between which \
                     something lies",
                    self.signals[at].node, self.signals[from].node
                ));
            }
            if readers[from] == 1 {
                self.replace(at, from);
                self.signals[at].kind = Kind::Clip { low: joined_low, high: joined_high };
            } else if (joined_low, joined_high) == (first_low, first_high) {
                // The same as what others read.
                self.signals[at].kind = Kind::Clip { low: f64::NEG_INFINITY, high: f64::INFINITY };
            }
        }
        Ok(())
    }

    /// Puts each activation behind its weights where it stood behind a max pool: the largest of several numbers and what rises with
    /// them may be taken in either order.
    ///
    /// # Errors
    /// Where what stands between the two falls, so that the activation sees the smallest of several numbers.
    fn activations_before_pools(&mut self) -> Result<(), Vec<String>> {
        let readers = self.readers();
        let mut problems = Vec::new();
        for at in self.order() {
            if !matches!(self.signals[at].kind, Kind::Clip { low: 0.0, .. }) {
                continue;
            }
            // From the activation up.
            let mut chain = vec![at];
            let mut from = self.signals[at].from[0];
            while readers[from] == 1 && (is_max_pool(&self.signals[from]) || rises(&self.signals[from])) {
                chain.push(from);
                from = self.signals[from].from[0];
            }
            problems.extend(self.falling_behind_pool(from, at));
            while chain.last().is_some_and(|&last| !is_max_pool(&self.signals[last]) && last != at) {
                from = chain.pop().unwrap_or(from);
            }
            if chain.len() > 1 && !is_not_negative(&self.signals, from) {
                self.sort(&chain, from);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Why the factors of a signal keep an activation from being put before the max pool that they stand behind.
    ///
    /// - `at`: what may be factors
    /// - `activation`: what reads them, maybe behind others that rise
    fn falling_behind_pool(&self, at: usize, activation: usize) -> Option<String> {
        let falling = falling(&self.signals[at])?;
        let n = self.signals[at].shape[0];
        let mut pool = self.signals[at].from[0];
        while factors(&self.signals[pool]).is_some() {
            pool = self.signals[pool].from[0];
        }
        let [of, before] = [&self.signals[at].node, &self.signals[pool].node];
        (is_max_pool(&self.signals[pool]) && !is_not_negative(&self.signals, pool)).then(|| {
            format!(
                "{of}: not supported: factors below zero in {falling} of {n} channels between {before} and {}: what is the largest of a \
                 window becomes the smallest, which spikes do not show; supported: factors from 0, or an activation before the pool, \
                 with which the network has to be trained",
                self.signals[activation].node
            )
        })
    }

    /// - `chain`: an activation and what leads to it, backwards
    fn sort(&mut self, chain: &[usize], from: usize) {
        let mut contents = Vec::with_capacity(chain.len());
        for &at in chain.iter().rev() {
            let Signal { kind, tensors, node, .. } = &mut self.signals[at];
            contents.push((kind.clone(), take(tensors), node.clone()));
        }
        let (activation, pool) = (contents[contents.len() - 1].2.clone(), contents[0].2.clone());
        self.notes.push(format!("{activation} is put before {pool}: they give the same in either order"));
        contents.sort_by_key(|(kind, ..)| matches!(kind, Kind::Layer(LayerKind::MaxPool(_))));
        let mut shape = self.signals[from].shape.clone();
        for (&at, (kind, tensors, node)) in chain.iter().rev().zip(contents) {
            if let Kind::Layer(LayerKind::MaxPool(window)) = &kind
                && let Ok(image) = <[usize; 3]>::try_from(&shape[..])
            {
                shape = window.pool(model::population::PoolKind::Max).output(image).to_vec();
            }
            let signal = &mut self.signals[at];
            (signal.kind, signal.tensors, signal.node) = (kind, tensors, node);
            signal.shape.clone_from(&shape);
        }
    }

    /// One output for two classes, z, becomes two: −z/2 and z/2.
    fn two_classes(&mut self) {
        let last = &self.signals[self.output];
        if last.shape.iter().product::<usize>() != 1 {
            return;
        }
        let node = last.node.clone();
        self.notes.push(format!(
            "{node} gives one number: it is taken for two classes, the second where it is above zero, and made −z/2 and z/2"
        ));
        let is_alone = self.readers()[self.output] == 1;
        if let (Kind::Layer(LayerKind::Dense { .. }), true) = (&self.signals[self.output].kind, is_alone) {
            let layer = &mut self.signals[self.output];
            layer.kind = Kind::Layer(LayerKind::Dense { units: 2 });
            layer.shape = vec![2];
            for (_, tensor) in &mut layer.tensors {
                let halves: Vec<f32> = tensor.values.iter().map(|value| value / 2.0).collect();
                tensor.values = halves.iter().map(|value| -value).chain(halves.iter().copied()).collect();
                tensor.shape[0] = 2;
            }
            return;
        }
        let mut add = |kind: LayerKind, tensors: Vec<(&'static str, TensorF32)>, shape: Vec<usize>| {
            let (node, from) = (node.clone(), vec![self.output]);
            let signal = Signal { shape, kind: Kind::Layer(kind), from, tensors, node, value: String::new() };
            self.signals.push(signal);
            self.output = self.signals.len() - 1;
        };
        add(LayerKind::Flatten, Vec::new(), vec![1]);
        let weight = TensorF32 { shape: vec![2, 1], values: vec![-0.5, 0.5] };
        add(LayerKind::Dense { units: 2 }, vec![("weight", weight)], vec![2]);
    }

    fn refuse_padding(&self) -> Result<(), Vec<String>> {
        let order = self.order();
        let pads = order.iter().filter(|&&at| matches!(self.signals[at].kind, Kind::Pad { .. }));
        let problem = |&at: &usize| {
            format!(
                "{}: not supported: padding before anything but Conv, MaxPool and AveragePool; supported: right before these",
                self.signals[at].node
            )
        };
        let problems: Vec<String> = pads.map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn into_layers(mut self) -> Result<Layers, String> {
        let order = self.order();
        let input = order.iter().copied().find(|&at| self.signals[at].kind == Kind::Input);
        let input = input.ok_or("the output does not depend on the input")?;
        let shape: [usize; 3] = self.signals[input].shape[..].try_into().map_err(|_| "the input is no image")?;
        let mut parts = Parts { entries: Vec::new(), of: HashMap::from([(input, None)]) };
        for &at in order.iter().filter(|&&at| at != input) {
            let from = self.signals[at].from.iter().map(|from| parts.of[from]).collect();
            let made = expanded(&mut self.signals[at])?;
            parts.add(at, &self.signals[at], from, made);
        }
        let names = parts.names();
        let mut layers = Layers {
            model: ModelSection { input: shape, layers: Vec::with_capacity(parts.entries.len()) },
            tensors: BTreeMap::new(),
            nodes: HashMap::new(),
            notes: self.notes,
        };
        for (idx, part) in parts.entries.into_iter().enumerate() {
            let path = names[idx].clone().unwrap_or_else(|| idx.to_string());
            let is_next = part.from[..] == [idx.checked_sub(1)];
            let name = |from: &Option<usize>| match from {
                None => Entry::INPUT.to_owned(),
                Some(from) => names[*from].clone().expect("what is read by name has one"),
            };
            let from = if is_next { Vec::new() } else { part.from.iter().map(name).collect() };
            for (field, tensor) in part.tensors {
                layers.tensors.insert(format!("{path}.{field}"), tensor);
            }
            layers.model.layers.push(Entry { kind: part.kind, name: names[idx].clone(), from });
            layers.nodes.insert(path, part.node);
        }
        Ok(layers)
    }
}

/// A layer with its tensors by field.
type Made = (LayerKind, Vec<(&'static str, TensorF32)>);

/// One layer to be.
struct Part {
    kind: LayerKind,
    tensors: Vec<(&'static str, TensorF32)>,
    /// Positions of parts; `None` for the input.
    from: Vec<Option<usize>>,
    node: String,
    value: String,
}

struct Parts {
    entries: Vec<Part>,
    /// The part that gives each signal.
    of: HashMap<usize, Option<usize>>,
}

impl Parts {
    fn add(&mut self, at: usize, signal: &Signal, mut from: Vec<Option<usize>>, made: Vec<Made>) {
        for (kind, tensors) in made {
            let (node, value) = (signal.node.clone(), signal.value.clone());
            self.entries.push(Part { kind, tensors, from, node, value });
            from = vec![Some(self.entries.len() - 1)];
        }
        // What is made of nothing is what it reads.
        self.of.insert(at, from[0]);
    }

    /// Names of parts that others than the next read.
    fn names(&self) -> Vec<Option<String>> {
        let mut is_named = vec![false; self.entries.len()];
        for (idx, part) in self.entries.iter().enumerate() {
            if part.from[..] != [idx.checked_sub(1)] {
                part.from.iter().flatten().for_each(|&from| is_named[from] = true);
            }
        }
        let mut taken: HashSet<String> = HashSet::from([Entry::INPUT.to_owned()]);
        let name = |(idx, is_named): (usize, &bool)| {
            if !is_named {
                return None;
            }
            let own = usable(&self.entries[idx].value).filter(|name| !taken.contains(name));
            let mut name = own.unwrap_or_else(|| format!("n{idx}"));
            while taken.contains(&name) {
                name.push('_');
            }
            taken.insert(name.clone());
            Some(name)
        };
        is_named.iter().enumerate().map(name).collect()
    }
}

/// A name of the file that may be a layer's: letters, digits, `_`, `-` and `.`, a letter first.
fn usable(value: &str) -> Option<String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let good = value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.chars().all(is_good);
    (good && value.len() <= MAX_NAME).then(|| value.to_owned())
}

fn is_max_pool(signal: &Signal) -> bool {
    matches!(signal.kind, Kind::Layer(LayerKind::MaxPool(_)))
}

/// What multiplies each channel, but for a positive number; `None` where it is no such layer.
fn factors(signal: &Signal) -> Option<Vec<f64>> {
    match &signal.kind {
        Kind::Affine(affine) => Some(affine.scale.clone()),
        Kind::Layer(LayerKind::BatchNorm { .. }) => {
            let (_, weight) = signal.tensors.iter().find(|(field, _)| *field == "weight")?;
            Some(weight.values.iter().map(|&value| f64::from(value)).collect())
        }
        _ => None,
    }
}

/// Whether each channel rises with its input, or stays.
fn rises(signal: &Signal) -> bool {
    factors(signal).is_some_and(|factors| factors.iter().all(|&factor| factor >= 0.0))
}

/// Number of channels that fall with their input; `None` where there is none.
fn falling(signal: &Signal) -> Option<usize> {
    let n = factors(signal)?.iter().filter(|factor| **factor < 0.0).count();
    (n > 0).then_some(n)
}

/// One after the other.
fn after(first: &Affine, second: &Affine) -> Affine {
    let scale = first.scale.iter().zip(&second.scale).map(|(a, b)| a * b).collect();
    let shift = first.shift.iter().zip(&second.scale).zip(&second.shift).map(|((t, s), u)| t * s + u).collect();
    Affine { scale, shift }
}

/// The layers that a signal is; none where it is what it reads.
fn expanded(signal: &mut Signal) -> Result<Vec<Made>, String> {
    let n = signal.shape[0];
    let scale = |affine: &Affine| {
        let tensor = |values: &[f64]| {
            let values = narrow(values.iter().copied()).map_err(|found| format!("{}: {found}", signal.node))?.values;
            Ok::<_, String>(TensorF32 { shape: vec![values.len()], values })
        };
        Ok::<_, String>((LayerKind::Scale, vec![("weight", tensor(&affine.scale)?), ("bias", tensor(&affine.shift)?)]))
    };
    let uniform = |factor: f64, shift: f64| scale(&Affine { scale: vec![factor; n], shift: vec![shift; n] });
    let relu = || (LayerKind::Relu, Vec::new());
    match &signal.kind {
        Kind::Affine(affine) if affine.scale.iter().all(|&s| s == 1.0) && affine.shift.iter().all(|&t| t == 0.0) => {
            Ok(Vec::new())
        }
        Kind::Affine(affine) => Ok(vec![scale(affine)?]),
        &Kind::Clip { low, high } => match (low.is_finite(), high.is_finite()) {
            (false, false) => Ok(Vec::new()),
            (true, true) => Ok(vec![(LayerKind::Clip { low, high }, Vec::new())]),
            (true, false) if low == 0.0 => Ok(vec![relu()]),
            // max(x, c) = max(0, x − c) + c
            (true, false) => Ok(vec![uniform(1.0, -low)?, relu(), uniform(1.0, low)?]),
            // min(x, c) = c − max(0, c − x)
            (false, true) => Ok(vec![uniform(-1.0, high)?, relu(), uniform(-1.0, high)?]),
        },
        Kind::Layer(kind) => {
            let kind = kind.clone();
            let mut tensors = take(&mut signal.tensors);
            if let (LayerKind::Dense { units }, 1) = (&kind, tensors.len()) {
                tensors.push(("bias", TensorF32 { shape: vec![*units], values: vec![0.0; *units] }));
            }
            Ok(vec![(kind, tensors)])
        }
        Kind::Input | Kind::Pad { .. } | Kind::Final => Err(format!("{}: has no layer of its kind", signal.node)),
    }
}
