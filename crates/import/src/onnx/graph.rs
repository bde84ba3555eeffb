//! The nodes that an ONNX graph's output depends on, in an order of computation.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::proto::{self, Model, Node, Tensor, data_type};

/// Versions of the operators that are understood: from where sums broadcast as they do today, to the newest there is
/// (ONNX 1.23).
const OPERATORS: std::ops::RangeInclusive<i64> = 7..=28;

/// A graph with one input and one output, without cycles and loose ends.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    /// The live nodes, each after those whose results it reads.
    pub(super) nodes: Vec<&'a Node>,
    pub(super) constants: HashMap<&'a str, &'a Tensor>,
    pub(super) input: &'a str,
    /// Sizes of the input's dimensions; `None` where the file leaves them open.
    pub(super) dims: Vec<Option<i64>>,
    pub(super) output: &'a str,
    pub(super) version: i64,
}

/// A node for messages: ``node `fc1` (Gemm)``.
pub(super) fn label(node: &Node) -> String {
    let name = [&node.name].into_iter().chain(&node.output).find(|name| !name.is_empty());
    format!("node `{}` ({})", name.map_or("?", String::as_str), node.op_type)
}

/// Checks how the nodes hang together.
///
/// - `wanted`: name of the output, where there are several
///
/// # Errors
/// What is wrong with the graph.
pub(super) fn check<'a>(model: &'a Model, wanted: Option<&str>) -> Result<Graph<'a>, String> {
    let graph = model.graph.as_ref().ok_or("no graph")?;
    let version = version(model)?;
    let mut constants = HashMap::new();
    for tensor in &graph.initializer {
        if constants.insert(tensor.name.as_str(), tensor).is_some() {
            return Err(format!("two tensors are both called `{}`", tensor.name));
        }
    }
    let inputs: Vec<&proto::ValueInfo> =
        graph.input.iter().filter(|input| !constants.contains_key(input.name.as_str())).collect();
    let output = output(&graph.output, wanted)?;
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (idx, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            let known = constants.contains_key(name.as_str()) || inputs.iter().any(|input| input.name == *name);
            if producers.insert(name, idx).is_some() || known {
                return Err(format!("{}: gives `{name}`, which there is already", label(node)));
            }
        }
    }
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let nodes = live_in_order(&graph.node, &producers, &constants, &names, output)?;
    let is_read = |input: &&proto::ValueInfo| nodes.iter().any(|node| node.input.contains(&input.name));
    let read: Vec<&proto::ValueInfo> = inputs.iter().copied().filter(is_read).collect();
    // With none that is read, what is wrong is found where the output is followed.
    let input = match (&read[..], &inputs[..]) {
        ([input], _) | ([], [input]) => input,
        ([], inputs) | (inputs, _) => return Err(one_is_needed(inputs)),
    };
    let dims = dims(input)?;
    Ok(Graph { nodes, constants, input: &input.name, dims, output, version })
}

/// The output that is wanted, or the only one.
fn output<'a>(outputs: &'a [proto::ValueInfo], wanted: Option<&str>) -> Result<&'a str, String> {
    let names = || {
        let names: Vec<String> = outputs.iter().map(|output| format!("`{}`", output.name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    match (wanted, outputs) {
        (None, [output]) => Ok(&output.name),
        (None, []) => Err("a network has an output, and the file gives none".to_owned()),
        (None, _) => Err(format!("the file gives the outputs {}; choose one with --output NAME", names())),
        (Some(wanted), _) => match outputs.iter().find(|output| output.name == wanted) {
            Some(output) => Ok(&output.name),
            None => Err(format!("no output is called `{wanted}`; the file gives {}", names())),
        },
    }
}

fn version(model: &Model) -> Result<i64, String> {
    let is_standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let version = model.opset_import.iter().find(|set| is_standard(&set.domain)).map(|set| set.version);
    match version {
        Some(version) if OPERATORS.contains(&version) => Ok(version),
        found => Err(format!(
            "operators of version {}, where {} to {} are understood",
            found.map_or("?".to_owned(), |version| version.to_string()),
            OPERATORS.start(),
            OPERATORS.end()
        )),
    }
}

fn one_is_needed(found: &[&proto::ValueInfo]) -> String {
    let names: Vec<String> = found.iter().map(|value| format!("`{}`", value.name)).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("a network has one input, and the file gives {names}; not supported: several inputs")
}

/// The nodes that the output depends on, each after those that it depends on.
fn live_in_order<'a>(
    nodes: &'a [Node],
    producers: &HashMap<&str, usize>,
    constants: &HashMap<&str, &Tensor>,
    inputs: &[&str],
    output: &str,
) -> Result<Vec<&'a Node>, String> {
    let sources = |node: &'a Node| node.input.iter().filter(|name| !name.is_empty()).map(String::as_str);
    let first = *producers.get(output).ok_or_else(|| format!("nothing gives the output `{output}`"))?;
    let mut live = HashSet::from([first]);
    let mut left = vec![first];
    // For each node, how many of its sources are not computed yet, and who waits for it.
    let mut waiting: HashMap<usize, usize> = HashMap::new();
    let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
    while let Some(idx) = left.pop() {
        for name in sources(&nodes[idx]) {
            if inputs.contains(&name) || constants.contains_key(name) {
                continue;
            }
            let from = *producers
                .get(name)
                .ok_or_else(|| format!("{}: reads `{name}`, which nothing gives", label(&nodes[idx])))?;
            *waiting.entry(idx).or_default() += 1;
            readers.entry(from).or_default().push(idx);
            if live.insert(from) {
                left.push(from);
            }
        }
    }
    let mut ready: BTreeSet<usize> = live.iter().copied().filter(|idx| !waiting.contains_key(idx)).collect();
    let mut order = Vec::with_capacity(live.len());
    while let Some(idx) = ready.pop_first() {
        order.push(&nodes[idx]);
        for &reader in readers.get(&idx).into_iter().flatten() {
            let n_sources = waiting.get_mut(&reader).expect("a reader waits for what it reads");
            *n_sources -= 1;
            if *n_sources == 0 {
                waiting.remove(&reader);
                ready.insert(reader);
            }
        }
    }
    match waiting.keys().min() {
        None => Ok(order),
        Some(&idx) => Err(format!("{}: depends on its own result", label(&nodes[idx]))),
    }
}

fn dims(input: &proto::ValueInfo) -> Result<Vec<Option<i64>>, String> {
    let name = &input.name;
    let tensor = input.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let tensor = tensor.ok_or_else(|| format!("the input `{name}` is no tensor"))?;
    let floats = [data_type::FLOAT, data_type::FLOAT16, data_type::BFLOAT16, data_type::DOUBLE];
    if !floats.contains(&tensor.data_type) {
        return Err(format!("the input `{name}` is not of floats (type {})", tensor.data_type));
    }
    let shape = tensor.shape.as_ref().ok_or_else(|| format!("the input `{name}` has no shape"))?;
    // Some writers put 0 or −1 for a size that is open.
    Ok(shape.dim.iter().map(|dim| dim.value.filter(|&size| size > 0)).collect())
}
