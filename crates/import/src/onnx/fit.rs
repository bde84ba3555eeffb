//! A file's network against the configuration's: the same layers in the same places, so that its tensors can be taken.
//!
//! What computes nothing is passed over on both sides: dropouts, and flattening, which leaves the order of values as it is. So is the
//! normalisation of pixels, which belongs to the data.

use std::collections::{BTreeMap, HashMap};

use model::Architecture;
use model::architecture::{Conv2d, LayerKind};
use model::artefact::TensorF32;
use model::config::ModelSection;
use model::graph::{Graph, Node, Operand};

/// Renames the tensors of a file's network to those of an architecture that is the same but for layers that compute nothing and for
/// biases of convolutions that the file has none of, which are zeros. Returns the names of these beside the tensors.
///
/// # Errors
/// If the architecture is another one.
pub(crate) fn fit(
    model: &ModelSection,
    mut tensors: BTreeMap<String, TensorF32>,
    architecture: &Architecture,
) -> Result<(BTreeMap<String, TensorF32>, Vec<String>), String> {
    let own = Architecture::of_entries(model.input, None, &model.layers)
        .map_err(|_| "its network cannot be converted".to_owned())?;
    let differ =
        |place: String| format!("its network is {own}, and the configuration's another one, {architecture}{place}");
    if own.input() != architecture.input() {
        return Err(differ(String::new()));
    }
    let [theirs, ours] = [own.graph(), architecture.graph()].map(Skeleton::new);
    let pairs = theirs.matched(&ours).ok_or_else(|| differ(first_difference(&theirs, &ours)))?;
    let (mut fitted, mut zeros) = (BTreeMap::new(), Vec::new());
    for (at, node) in architecture.graph().nodes().iter().enumerate() {
        let Some(from) = pairs.get(&at) else { continue };
        let their_name = &own.graph().nodes()[*from].name;
        for (field, shape) in node.kind.tensors(architecture.graph().shape(node.inputs[0])) {
            let name = format!("{}.{field}", node.name);
            let tensor = tensors.remove(&format!("{their_name}.{field}")).unwrap_or_else(|| {
                zeros.push(name.clone());
                TensorF32::zeros(shape)
            });
            fitted.insert(name, tensor);
        }
    }
    match tensors.keys().next() {
        None => Ok((fitted, zeros)),
        Some(name) => Err(format!("its network has the bias `{name}`, and the configuration says bias = false there")),
    }
}

/// A graph without what computes nothing.
struct Skeleton<'a> {
    graph: &'a Graph,
    /// For each node, what gives its value: itself, or what it passes on.
    given: Vec<Operand>,
}

fn passes(node: &Node) -> bool {
    matches!(node.kind, LayerKind::Dropout { .. } | LayerKind::Flatten | LayerKind::Normalize { .. })
}

/// The layer, as if every convolution had a bias.
fn with_bias(kind: &LayerKind) -> LayerKind {
    match kind {
        LayerKind::Conv2d(conv) => LayerKind::Conv2d(Conv2d { bias: true, ..*conv }),
        kind => kind.clone(),
    }
}

impl<'a> Skeleton<'a> {
    fn new(graph: &'a Graph) -> Self {
        let mut given: Vec<Operand> = Vec::with_capacity(graph.nodes().len());
        for (at, node) in graph.nodes().iter().enumerate() {
            given.push(if passes(node) { resolved(&given, node.inputs[0]) } else { Operand::Node(at) });
        }
        Self { graph, given }
    }

    fn of(&self, operand: Operand) -> Operand {
        resolved(&self.given, operand)
    }

    fn kept(&self) -> impl Iterator<Item = (usize, &'a Node)> {
        self.graph.nodes().iter().enumerate().filter(|(_, node)| !passes(node))
    }

    /// A number for each node, the same for those with the same layers before them.
    fn forms(&self, known: &mut HashMap<String, usize>) -> HashMap<Operand, usize> {
        let mut forms = HashMap::from([(Operand::Input, usize::MAX)]);
        for (at, node) in self.kept() {
            let mut inputs: Vec<usize> = node.inputs.iter().map(|&operand| forms[&self.of(operand)]).collect();
            if matches!(node.kind, LayerKind::Add) {
                inputs.sort_unstable();
            }
            let next = known.len();
            let form = *known.entry(format!("{:?} {inputs:?}", with_bias(&node.kind))).or_insert(next);
            forms.insert(Operand::Node(at), form);
        }
        forms
    }

    /// For each node of another graph, its counterpart here; `None` if the two are not the same.
    fn matched(&self, other: &Self) -> Option<HashMap<usize, usize>> {
        let mut known = HashMap::new();
        let (mine, theirs) = (self.forms(&mut known), other.forms(&mut known));
        let last = |skeleton: &Self| skeleton.given.last().copied();
        let mut left = vec![(last(self)?, last(other)?)];
        let mut pairs: HashMap<usize, usize> = HashMap::new();
        let mut taken: HashMap<usize, usize> = HashMap::new();
        while let Some((a, b)) = left.pop() {
            let (Operand::Node(a), Operand::Node(b)) = (a, b) else {
                if a == b {
                    continue;
                }
                return None;
            };
            if mine[&Operand::Node(a)] != theirs[&Operand::Node(b)] {
                return None;
            }
            match (pairs.insert(b, a), taken.insert(a, b)) {
                (None, None) => {}
                (Some(before), Some(_)) if before == a => continue,
                _ => return None,
            }
            let inputs = |skeleton: &Self, forms: &HashMap<Operand, usize>, at: usize| {
                let node = &skeleton.graph.nodes()[at];
                let mut inputs: Vec<Operand> = node.inputs.iter().map(|&operand| skeleton.of(operand)).collect();
                // A sum may name its terms in any order.
                if matches!(node.kind, LayerKind::Add) {
                    inputs.sort_by_key(|operand| forms[operand]);
                }
                inputs
            };
            left.extend(inputs(self, &mine, a).into_iter().zip(inputs(other, &theirs, b)));
        }
        Some(pairs)
    }
}

fn resolved(given: &[Operand], operand: Operand) -> Operand {
    match operand {
        Operand::Input => Operand::Input,
        Operand::Node(at) => given[at],
    }
}

/// Where the layers in order differ first, for people.
fn first_difference(theirs: &Skeleton, ours: &Skeleton) -> String {
    let kinds = |skeleton: &Skeleton| skeleton.kept().map(|(_, node)| node.kind.clone()).collect::<Vec<LayerKind>>();
    let (theirs, ours) = (kinds(theirs), kinds(ours));
    let differs = |(theirs, ours): &(&LayerKind, &LayerKind)| with_bias(theirs) != with_bias(ours);
    match theirs.iter().zip(&ours).find(differs) {
        // The short forms leave padding, for one, out.
        Some((theirs, ours)) => {
            format!(" (at first {}, where the configuration has {})", theirs.to_toml(), ours.to_toml())
        }
        None => String::new(),
    }
}
