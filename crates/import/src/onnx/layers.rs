//! Steps → layers: residual blocks found, constants before the first weights folded into them, the final softmax left out.

use std::collections::{BTreeMap, HashMap};
use std::mem::take;

use model::architecture::LayerKind;
use model::artefact::TensorF32;
use model::config::ModelSection;

use super::walk::{Action, Affine, Made, Signal, Step};
use crate::floats::narrow;

/// One layer to be.
#[derive(Debug)]
struct Item {
    /// The node, for messages.
    node: String,
    /// Of one sample's input.
    input: Vec<usize>,
    what: What,
}

#[derive(Debug)]
enum What {
    Layer { kind: LayerKind, tensors: Vec<(&'static str, TensorF32)> },
    Residual { body: Vec<Item>, shortcut: Vec<Item> },
    Affine(Affine),
    Softmax,
}

/// Layers with their tensors.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) model: ModelSection,
    /// Named as the model's.
    pub(super) tensors: BTreeMap<String, TensorF32>,
    /// The node that each layer is made of, by the layer's place.
    pub(super) nodes: HashMap<String, String>,
    pub(super) notes: Vec<String>,
}

/// Makes layers of what leads to a signal.
///
/// - `sample`: shape of the data set's images, for an input that is a vector
///
/// # Errors
/// What has no layer.
pub(super) fn layers(signals: &mut [Signal], output: usize, sample: Option<[usize; 3]>) -> Result<Layers, String> {
    let mut notes = Vec::new();
    let (mut items, start) = main_line(signals, output)?;
    drop_softmax(&mut items, &mut notes)?;
    let input = input(&signals[start].shape, sample, &mut items)?;
    fold_constants(&mut items, &mut notes)?;
    relu_before_pools(&mut items, &mut notes);
    let mut layers = Layers {
        model: ModelSection { input, layers: Vec::new() },
        tensors: BTreeMap::new(),
        nodes: HashMap::new(),
        notes,
    };
    layers.model.layers = layers.place("", items)?.into_iter().map(Into::into).collect();
    Ok(layers)
}

/// Follows a signal back to the input; returns the items and the input's signal.
fn main_line(signals: &mut [Signal], output: usize) -> Result<(Vec<Item>, usize), String> {
    let mut items = Vec::new();
    let mut at = output;
    loop {
        match &signals[at].made {
            Made::Input => break,
            Made::Step { from, .. } => {
                let from = *from;
                items.push(item(signals, at));
                at = from;
            }
            Made::Sum { of, node } => {
                let (of, node) = (*of, node.clone());
                let (fork, branches) = branches(signals, of).ok_or_else(|| {
                    format!("{node}: adds branches that do not start at one place; blocks within blocks are not there")
                })?;
                let input = signals[fork].shape.clone();
                let [body, shortcut] = branches.map(|branch| -> Vec<Item> {
                    branch.into_iter().rev().map(|signal| item(signals, signal)).collect()
                });
                if body.is_empty() {
                    return Err(format!("{node}: adds a result to itself; there is no layer of its kind"));
                }
                items.push(Item { node, input, what: What::Residual { body, shortcut } });
                at = fork;
            }
        }
    }
    items.reverse();
    Ok((items, at))
}

/// Takes a step out of its signal.
fn item(signals: &mut [Signal], at: usize) -> Item {
    let Made::Step { from, step } = &mut signals[at].made else { unreachable!("only steps are made items of") };
    let from = *from;
    let Step { node, action } = step;
    let what = match action {
        // Each step lies on one way to the output, so its tensors are taken once.
        Action::Layer { kind, tensors } => What::Layer { kind: kind.clone(), tensors: take(tensors) },
        Action::Affine(affine) => What::Affine(affine.clone()),
        Action::Softmax => What::Softmax,
    };
    Item { node: node.clone(), what, input: signals[from].shape.clone() }
}

/// Where the two branches of a sum part, and the signals on each, last first: the branch with the activation, or the longer
/// one, is the body.
fn branches(signals: &[Signal], of: [usize; 2]) -> Option<(usize, [Vec<usize>; 2])> {
    let back = |from: usize| {
        let mut way = vec![from];
        while let Made::Step { from, .. } = &signals[way[way.len() - 1]].made {
            way.push(*from);
        }
        way
    };
    let [left, right] = of.map(back);
    let places: HashMap<usize, usize> = left.iter().enumerate().map(|(place, signal)| (*signal, place)).collect();
    let (in_right, fork) = right.iter().enumerate().find(|(_, signal)| places.contains_key(signal))?;
    let left = left[..places[fork]].to_vec();
    let right = right[..in_right].to_vec();
    let weight = |branch: &[usize]| {
        let is_relu = |signal: &&usize| {
            matches!(
                &signals[**signal].made,
                Made::Step { step: Step { action: Action::Layer { kind: LayerKind::Relu, .. }, .. }, .. }
            )
        };
        (branch.iter().filter(is_relu).count(), branch.len())
    };
    Some((*fork, if weight(&right) > weight(&left) { [right, left] } else { [left, right] }))
}

/// The largest logit is the largest probability, so the spiking network decides the same without.
fn drop_softmax(items: &mut Vec<Item>, notes: &mut Vec<String>) -> Result<(), String> {
    if let Some(last) = items.pop_if(|item| matches!(item.what, What::Softmax)) {
        notes.push(format!("{} at the end is left out: the decision is the same", last.node));
    }
    let inner = |item: &Item| match &item.what {
        What::Residual { body, shortcut } => body.iter().chain(shortcut).any(|item| matches!(item.what, What::Softmax)),
        _ => false,
    };
    match items.iter().find(|item| matches!(item.what, What::Softmax) || inner(item)) {
        Some(item) => Err(format!("{}: has no counterpart before the end; leave it out", item.node)),
        None => Ok(()),
    }
}

/// Shape `[C, H, W]` of a sample; a vector is an image that is flattened first.
fn input(shape: &[usize], sample: Option<[usize; 3]>, items: &mut Vec<Item>) -> Result<[usize; 3], String> {
    if let Ok(image) = <[usize; 3]>::try_from(shape) {
        return Ok(image);
    }
    let n: usize = shape.iter().product();
    let image = match sample {
        Some(image) if image.iter().product::<usize>() == n => image,
        Some([channels, height, width]) => {
            return Err(format!(
                "its input is a vector of {n}, and the data set has images of {channels}×{height}×{width}"
            ));
        }
        None => [n, 1, 1],
    };
    let what = What::Layer { kind: LayerKind::Flatten, tensors: Vec::new() };
    items.insert(0, Item { node: "the input".to_owned(), input: image.to_vec(), what });
    Ok(image)
}

/// Folds constants that the input is shifted and multiplied by into the first weights.
///
/// Exact up to the rounding of weights to 32 bits: `W (s∘x + t) + b = (W∘s) x + (b + W t)`. A mean pool on the way is
/// passed, since it commutes. Zeros that a convolution pads its input with would have to become −t/s, so a shift is not
/// folded into one with padding.
fn fold_constants(items: &mut Vec<Item>, notes: &mut Vec<String>) -> Result<(), String> {
    let mut pending: Option<(String, Affine)> = None;
    let mut at = 0;
    while at < items.len() {
        let Item { node, input, what } = &mut items[at];
        let refused = |found: String| Err(format!("{node}: {found}"));
        match what {
            What::Affine(affine) => {
                let (first, before) = pending.take().unwrap_or_else(|| {
                    let n = affine.scale.len();
                    (node.clone(), Affine { scale: vec![1.0; n], shift: vec![0.0; n] })
                });
                pending = Some((first, after(&before, affine)));
                items.remove(at);
                continue;
            }
            What::Layer { kind: LayerKind::Flatten, .. } => {
                let area: usize = input[1..].iter().product();
                pending = pending.map(|(node, affine)| (node, affine.for_each_pixel(area)));
            }
            What::Layer { kind: LayerKind::AvgPool(_) | LayerKind::GlobalAvgPool, .. } => {}
            What::Layer { kind, tensors } if matches!(kind, LayerKind::Dense { .. } | LayerKind::Conv2d(_)) => {
                if let Some((by, affine)) = pending.take() {
                    if let LayerKind::Conv2d(conv) = kind
                        && conv.padding != [0; 4]
                        && affine.shift.iter().any(|&shift| shift != 0.0)
                    {
                        return Err(format!(
                            "{by}: shifts the input of a convolution that pads with zeros ({node}), which cannot be folded into \
                             its weights; train on pixels in [0, 1] without it"
                        ));
                    }
                    if !fold(&affine, kind, tensors) {
                        return refused("the constants before it do not fold into its weights in 32 bits".to_owned());
                    }
                    notes.push(format!("the constants of {by} are folded into the weights of {node}"));
                }
                break;
            }
            _ => break,
        }
        at += 1;
    }
    if let Some((node, _)) = pending {
        return Err(format!("{node}: no weights follow that it could be folded into; train without it"));
    }
    let inner = |item: &Item| match &item.what {
        What::Affine(_) => Some(item.node.clone()),
        What::Residual { body, shortcut } => {
            body.iter().chain(shortcut).find(|item| matches!(item.what, What::Affine(_))).map(|item| item.node.clone())
        }
        _ => None,
    };
    match items.iter().find_map(inner) {
        Some(node) => {
            Err(format!("{node}: computes with constants between layers; put them into the weights before it"))
        }
        None => Ok(()),
    }
}

/// One after the other.
fn after(first: &Affine, second: &Affine) -> Affine {
    let scale = first.scale.iter().zip(&second.scale).map(|(a, b)| a * b).collect();
    let shift = first.shift.iter().zip(&second.scale).zip(&second.shift).map(|((t, s), u)| t * s + u).collect();
    Affine { scale, shift }
}

impl Affine {
    /// For each pixel of each channel, channel by channel.
    fn for_each_pixel(&self, area: usize) -> Self {
        let repeat = |values: &[f64]| values.iter().flat_map(|&value| std::iter::repeat_n(value, area)).collect();
        Self { scale: repeat(&self.scale), shift: repeat(&self.shift) }
    }
}

/// Folds what is done to a layer's input into its weights and bias; whether that could be done.
fn fold(affine: &Affine, kind: &mut LayerKind, tensors: &mut Vec<(&'static str, TensorF32)>) -> bool {
    let Some((_, weight)) = tensors.iter_mut().find(|(field, _)| *field == "weight") else { return false };
    let n_out = weight.shape[0];
    // Inputs that one output sees, and the pixels of a kernel for each.
    let (of_group, area): (usize, usize) = (weight.shape[1], weight.shape[2..].iter().product());
    let out_of_group = match kind {
        LayerKind::Conv2d(conv) => n_out / conv.groups,
        _ => n_out,
    };
    let channel = |output: usize, input: usize| output / out_of_group * of_group + input;
    let (mut weights, mut shifts) = (Vec::with_capacity(weight.values.len()), vec![0.0; n_out]);
    for (at, &value) in weight.values.iter().enumerate() {
        let (output, input) = (at / (of_group * area), at / area % of_group);
        let channel = channel(output, input);
        weights.push(f64::from(value) * affine.scale[channel]);
        shifts[output] += f64::from(value) * affine.shift[channel];
    }
    let Ok(folded) = narrow(weights.into_iter()) else { return false };
    weight.values = folded.values;
    if shifts.iter().all(|&shift| shift == 0.0) {
        return true;
    }
    if tensors.iter().all(|(field, _)| *field != "bias") {
        tensors.push(("bias", TensorF32 { shape: vec![n_out], values: vec![0.0; n_out] }));
        if let LayerKind::Conv2d(conv) = kind {
            conv.bias = true;
        }
    }
    let (_, bias) = tensors.iter_mut().find(|(field, _)| *field == "bias").expect("put there if there was none");
    let sums = bias.values.iter().zip(&shifts).map(|(&bias, shift)| f64::from(bias) + shift);
    let Ok(folded) = narrow(sums.collect::<Vec<_>>().into_iter()) else { return false };
    bias.values = folded.values;
    true
}

/// Puts each activation right behind its weights, where it stood behind a max pool or a flatten: the largest of several
/// numbers and `max(0, x)` may be taken in either order.
fn relu_before_pools(items: &mut [Item], notes: &mut Vec<String>) {
    for item in items.iter_mut() {
        if let What::Residual { body, shortcut } = &mut item.what {
            relu_before_pools(body, notes);
            relu_before_pools(shortcut, notes);
        }
    }
    let is =
        |item: &Item, wanted: fn(&LayerKind) -> bool| matches!(&item.what, What::Layer { kind, .. } if wanted(kind));
    for at in 1..items.len() {
        if !is(&items[at], |kind| *kind == LayerKind::Relu) {
            continue;
        }
        let passed = items[..at]
            .iter()
            .rev()
            .take_while(|item| is(item, |kind| matches!(kind, LayerKind::MaxPool(_) | LayerKind::Flatten)))
            .count();
        let start = at - passed;
        let pending = start > 0
            && (matches!(items[start - 1].what, What::Residual { .. })
                || is(&items[start - 1], |kind| {
                    matches!(kind, LayerKind::Dense { .. } | LayerKind::Conv2d(_) | LayerKind::BatchNorm { .. })
                }));
        if passed > 0 && pending {
            notes.push(format!(
                "{} is put before {}: they give the same in either order",
                items[at].node, items[start].node
            ));
            let input = items[start].input.clone();
            items[at].input = input;
            items[start..=at].rotate_right(1);
        }
    }
}

impl Layers {
    /// Gives items their places and collects their tensors.
    fn place(&mut self, prefix: &str, items: Vec<Item>) -> Result<Vec<LayerKind>, String> {
        let mut kinds = Vec::with_capacity(items.len());
        for (idx, Item { node, what, .. }) in items.into_iter().enumerate() {
            let path = format!("{prefix}{idx}");
            kinds.push(match what {
                What::Layer { kind, mut tensors } => {
                    if let LayerKind::Dense { units } = kind
                        && tensors.len() == 1
                    {
                        tensors.push(("bias", TensorF32 { shape: vec![units], values: vec![0.0; units] }));
                    }
                    for (field, tensor) in tensors {
                        self.tensors.insert(format!("{path}.{field}"), tensor);
                    }
                    kind
                }
                What::Residual { body, shortcut } => LayerKind::Residual {
                    body: self.place(&format!("{path}.body."), body)?,
                    shortcut: self.place(&format!("{path}.shortcut."), shortcut)?,
                },
                What::Affine(_) | What::Softmax => return Err(format!("{node}: has no layer of its kind")),
            });
            self.nodes.insert(path, node);
        }
        Ok(kinds)
    }
}
