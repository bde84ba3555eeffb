//! Trained networks in which anything may read anything that fits, and what their nodes and populations compute.

use std::collections::BTreeMap;

use model::architecture::{Architecture, Conv2d, Entry, LayerKind, Window};
use model::artefact::TensorF32;
use model::evaluate::evaluate;
use model::graph::{Builder, Operand};
use model::population::Population;

use crate::uniform;

/// Shape of a sample of the networks.
pub const INPUT: [usize; 3] = [2, 6, 5];

/// A step of a random graph: what to add, which of the nodes so far it reads, and a number for its parameters.
pub type Step = (u8, usize, usize);

/// What a step adds to an image of a shape.
fn kind(step: u8, parameter: usize, [channels, height, width]: [usize; 3]) -> LayerKind {
    let of = |n: usize, divisor: usize| parameter / divisor % n;
    let sides = [height, width].map(|side| side.min(3));
    let kernel = [1 + of(sides[0], 1), 1 + of(sides[1], 3)];
    let window = Window {
        kernel,
        stride: [1 + of(2, 7), 1 + of(2, 14)],
        padding: [of(kernel[0], 5), of(kernel[1], 11), of(kernel[0], 13), of(kernel[1], 17)],
        ceil: of(2, 19) == 1,
        counts_padding: of(2, 23) == 1,
    };
    let conv = Conv2d {
        channels: 2 * (1 + of(2, 29)),
        kernel,
        stride: [1 + of(2, 7), 1],
        padding: match of(4, 31) {
            0 | 1 => window.padding,
            // Outputs that see nothing but zeros.
            2 => window.padding.map(|padding| padding + of(4, 47)),
            _ => [0; 4],
        },
        dilation: [1, 1 + usize::from(2 * (kernel[1] - 1) < width) * of(2, 37)],
        groups: if channels.is_multiple_of(2) { 1 + of(2, 41) } else { 1 },
        bias: of(2, 43) == 1,
    };
    match step {
        0 | 1 => LayerKind::Conv2d(conv),
        2 => LayerKind::Conv2d(Conv2d { bias: true, ..Conv2d::square(1 + of(4, 3), 1, 1, 0) }),
        3 => LayerKind::Conv2d(Conv2d { channels, groups: channels, ..conv }),
        4 => LayerKind::BatchNorm { epsilon: 1e-3 },
        5 => LayerKind::Scale,
        6 | 7 => LayerKind::Relu,
        8 => match of(4, 3) {
            0 => LayerKind::Clip { low: 0.0, high: 0.5 },
            1 => LayerKind::Clip { low: -0.5, high: 0.25 },
            2 => LayerKind::Clip { low: 0.25, high: 0.75 },
            _ => LayerKind::Clip { low: -0.75, high: -0.25 },
        },
        9 => LayerKind::LeakyRelu { slope: 0.25 },
        10 => LayerKind::PRelu,
        11 => LayerKind::Abs,
        12 => LayerKind::AvgPool(window),
        13 => LayerKind::MaxPool(Window { counts_padding: true, ..window }),
        14 => LayerKind::Slice { start: of(channels, 1), end: channels },
        15 => LayerKind::ChannelShuffle { groups: if channels.is_multiple_of(2) { 2 } else { 1 } },
        _ => LayerKind::Dropout { rate: 0.5 },
    }
}

/// Layers that are added one by one where they fit.
struct Layers {
    builder: Builder,
    entries: Vec<Entry>,
}

impl Layers {
    fn add(&mut self, kind: LayerKind, inputs: &[Operand]) -> Option<Operand> {
        self.builder.check(&kind, inputs).ok()?;
        let name = |operand: &Operand| match operand {
            Operand::Input => Entry::INPUT.to_owned(),
            Operand::Node(idx) => format!("n{idx}"),
        };
        let made = format!("n{}", self.builder.n_nodes());
        self.entries.push(Entry {
            kind: kind.clone(),
            name: Some(made.clone()),
            from: inputs.iter().map(name).collect(),
        });
        Some(self.builder.add(&made, kind, inputs))
    }

    /// # Panics
    /// If it does not fit.
    fn must_add(&mut self, kind: LayerKind, inputs: &[Operand]) -> Operand {
        self.add(kind, inputs).expect("it fits")
    }

    fn shape(&self, at: Operand) -> &[usize] {
        self.builder.shape(at)
    }
}

/// A network of all kinds of layers with 3 logits; `None` if it has no exact counterpart in a spiking network.
///
/// - `steps`: the layers on images
/// - `numbers`: what becomes of the vector at the end
pub fn network(steps: &[Step], numbers: usize) -> Option<Architecture> {
    let mut layers = Layers { builder: Builder::new(INPUT), entries: Vec::new() };
    let mut nodes = vec![Operand::Input];
    for &(step, first, parameter) in steps {
        // Mostly what was made last.
        let at = |n: usize| nodes[nodes.len() - 1 - (n % 5 % nodes.len()) / 2 * usize::from(nodes.len() > 2)];
        let made = match step {
            17 => layers.add(LayerKind::Add, &[at(first), at(parameter)]),
            18 => layers.add(LayerKind::Concat, &[at(first), at(parameter)]),
            _ => {
                let shape = layers.shape(at(first)).try_into().expect("an image");
                layers.add(kind(step, parameter, shape), &[at(first)])
            }
        };
        nodes.extend(made);
    }
    let mut all: Vec<Operand> =
        nodes.iter().rev().take(3).map(|at| layers.must_add(LayerKind::GlobalAvgPool, &[*at])).collect();
    let mut vector = layers.must_add(LayerKind::Flatten, &[*nodes.last().expect("the input")]);
    for at in 0..numbers % 4 {
        let n = layers.shape(vector)[0];
        let kind = match numbers / 4 / 7_usize.pow(at as u32) % 7 {
            0 => LayerKind::BatchNorm { epsilon: 1e-3 },
            1 => LayerKind::Scale,
            2 => LayerKind::PRelu,
            3 => LayerKind::Slice { start: n / 3, end: n },
            4 => LayerKind::Clip { low: -0.25, high: 0.5 },
            5 => LayerKind::Dense { units: 4 },
            _ => LayerKind::Relu,
        };
        vector = layers.must_add(kind, &[vector]);
    }
    all.push(vector);
    let all = layers.must_add(LayerKind::Concat, &all);
    layers.must_add(LayerKind::Dense { units: 3 }, &[all]);
    read_once(&mut layers.entries);
    // What has no exact counterpart is refused by name; tests of the model ask what.
    Architecture::of_entries(INPUT, None, &layers.entries).ok()
}

/// Takes out layers that no other reads.
fn read_once(entries: &mut Vec<Entry>) {
    loop {
        let is_read = |name: &Option<String>| {
            entries.iter().any(|entry| entry.from.iter().any(|from| Some(from) == name.as_ref()))
        };
        let n = entries.len();
        let keep: Vec<bool> =
            entries.iter().enumerate().map(|(at, entry)| at + 1 == n || is_read(&entry.name)).collect();
        if keep.iter().all(|keep| *keep) {
            return;
        }
        let mut keep = keep.into_iter();
        entries.retain(|_| keep.next().expect("one for each"));
    }
}

/// Tensors of a network; variances are positive.
pub fn tensors(architecture: &Architecture, seed: u64) -> BTreeMap<String, TensorF32> {
    let of = |(at, (name, shape)): (usize, (String, Vec<usize>))| {
        let is_variance = name.ends_with("running_var");
        let number = |x: f64| if is_variance { x.abs() + 0.1 } else { x / 2.0 } as f32;
        let values = uniform(seed.wrapping_add(at as u64), shape.iter().product()).into_iter().map(number).collect();
        (name, TensorF32 { values, shape })
    };
    architecture.tensors().into_iter().enumerate().map(of).collect()
}

/// What the rates of all populations stand for, by the definition of the layers.
///
/// - `pixels`: `[C·H·W]`
pub fn activations(
    architecture: &Architecture,
    tensors: &BTreeMap<String, TensorF32>,
    pixels: &[f64],
) -> Vec<Vec<f64>> {
    let all = evaluate(architecture.graph(), tensors, pixels);
    architecture.populations().iter().map(|population| stood_for(architecture, population, pixels, &all)).collect()
}

/// What the rates of a population stand for, by the values of all nodes.
fn stood_for(architecture: &Architecture, population: &Population, pixels: &[f64], all: &[Vec<f64>]) -> Vec<f64> {
    let (graph, stands_for) = (architecture.graph(), &population.stands_for);
    let node = &graph.nodes()[stands_for.node];
    if stands_for.is_logit {
        return all[stands_for.node].clone();
    }
    let from = match node.inputs[0] {
        Operand::Input => pixels,
        Operand::Node(idx) => &all[idx],
    };
    let span = from.len() / graph.shape(node.inputs[0])[0];
    let every: Vec<usize> = (0..graph.shape(node.inputs[0])[0]).collect();
    let channels = stands_for.channels.as_ref().unwrap_or(&every);
    let x = channels.iter().flat_map(|&channel| from[channel * span..][..span].iter());
    x.map(|x| (stands_for.sign * x - stands_for.floor).max(0.0).min(stands_for.ceiling)).collect()
}
