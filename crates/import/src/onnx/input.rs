//! How the file sees its input: which of its dimensions are samples, channels, rows and columns.
//!
//! Files say sizes and no more. Channels may stand first or last, or there may be none, an image may come as a vector, and samples may
//! come one by one without a dimension of their own. What the first layers do with the input tells.

use std::collections::HashMap;

use super::graph::Graph;
use super::proto::Node;
use super::tensor::Store;
use super::view::{Factor, Size, View, dim, is_samples, length, merged};
use super::walk::optional;

/// Most values of an input.
const MAX_INPUT: i64 = 1 << 24;

/// Shape `[C, H, W]` of a sample, and how the file sees its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) shape: [usize; 3],
    pub(super) view: View,
}

/// Readings of the input, the likeliest first.
///
/// - `sample`: shape of the data set's images
///
/// # Errors
/// If sizes are open or too large, or the dimensions are not those of images or vectors.
pub(super) fn layouts(graph: &Graph, store: &Store, sample: Option<[usize; 3]>) -> Result<Vec<Layout>, String> {
    let text = || format!("the input `{}` has the shape {}", graph.input, dims_text(&graph.dims));
    let Some((first, inner)) = graph.dims.split_first() else {
        return Err(format!("{}; it needs dimensions [N, C, H, W], [N, H, W], [N, C, L] or [N, features]", text()));
    };
    let mut readings = Vec::new();
    // The first dimension as that of the samples; else none is.
    if !inner.is_empty() && inner.len() <= 3 {
        readings.push((first.map(|n| n as usize), sizes(inner, sample)));
    }
    if graph.dims.len() <= 3 && first.is_some_and(|n| n > 1) {
        readings.push((Some(1), sizes(&graph.dims, sample)));
    }
    if readings.is_empty() {
        return Err(format!("{}; it needs dimensions [N, C, H, W], [N, H, W], [N, C, L] or [N, features]", text()));
    }
    let mut layouts = Vec::new();
    for (n_samples, sizes) in readings {
        let Some(sizes) = sizes else { continue };
        let mut view = View::standard(n_samples, &sizes);
        if graph.dims.len() == sizes.len() {
            view.dims.remove(0);
        }
        layouts.push(layout(graph, store, view, &sizes, sample)?);
    }
    if layouts.is_empty() {
        return Err(format!("{}; export it with fixed sizes behind the first, {MAX_INPUT} values at most", text()));
    }
    Ok(layouts)
}

/// Sizes of a sample's dimensions; those that are open are the data set's.
fn sizes(dims: &[Option<i64>], sample: Option<[usize; 3]>) -> Option<Vec<usize>> {
    let of_sample = |at: usize| {
        let sample = sample.filter(|_| dims.len() == 3)?;
        let fits = dims.iter().zip(sample).all(|(dim, size)| dim.is_none_or(|dim| dim == size as i64));
        fits.then(|| sample[at] as i64)
    };
    let sizes: Vec<i64> =
        dims.iter().enumerate().map(|(at, dim)| dim.or_else(|| of_sample(at))).collect::<Option<_>>()?;
    let n = sizes.iter().try_fold(1_i64, |n, &size| n.checked_mul(size))?;
    (n <= MAX_INPUT).then(|| sizes.into_iter().map(|size| size as usize).collect())
}

fn dims_text(dims: &[Option<i64>]) -> String {
    let sizes: Vec<String> = dims.iter().map(|dim| dim.map_or("?".to_owned(), |size| size.to_string())).collect();
    format!("[{}]", sizes.join(", "))
}

/// - `view`: the file's dimensions over its values in order
/// - `sizes`: those of a sample
fn layout(
    graph: &Graph,
    store: &Store,
    view: View,
    sizes: &[usize],
    sample: Option<[usize; 3]>,
) -> Result<Layout, String> {
    if let Some(found) = first_image(graph, store, &view).and_then(|image| over_image(&view, &image)) {
        return Ok(found);
    }
    let n: usize = sizes.iter().product();
    let of_sample = sample.filter(|sample| sample.iter().product::<usize>() == n);
    let shape = match (sizes, of_sample) {
        (&[h, w, c], Some(sample)) if sample == [c, h, w] && sample != [h, w, c] => {
            let image = [dim(c, 1), dim(h, w * c), dim(w, c)];
            return over_image(&view, &image).ok_or_else(|| "its input has channels last".to_owned());
        }
        (&[c, h, w], _) => [c, h, w],
        (_, Some(sample)) => sample,
        (&[h, w], None) => [1, h, w],
        (_, None) => {
            if let Some([channels, height, width]) = sample {
                return Err(format!(
                    "its input is a vector of {n}, and the data set has images of {channels}×{height}×{width}"
                ));
            }
            [n, 1, 1]
        }
    };
    Ok(Layout { shape, view })
}

/// What the first layer that reads images takes for channels, rows and columns, as factors of the file's values.
fn first_image(graph: &Graph, store: &Store, input: &View) -> Option<[Vec<Factor>; 3]> {
    let mut views: HashMap<&str, View> = HashMap::from([(graph.input, input.clone())]);
    let mut lists: HashMap<&str, &Node> = HashMap::new();
    for node in &graph.nodes {
        if node.op_type == "Constant" {
            node.output.iter().for_each(|name| _ = lists.insert(name, node));
        }
        let Some(view) = node.input.iter().find_map(|name| views.get(name.as_str())).cloned() else { continue };
        let integers = |at: usize| integers(graph, store, &lists, node, at);
        let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let axes = || attribute("axes").map(|axes| axes.ints.clone()).or_else(|| integers(1));
        let next = match node.op_type.as_str() {
            "Conv" | "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" => return image(&view),
            "Transpose" => view.transposed(attribute("perm").map(|order| &order.ints[..])).ok(),
            "Flatten" => view.flattened(attribute("axis").map_or(1, |axis| axis.i)).ok(),
            "Squeeze" => view.squeezed(axes().as_deref()).ok(),
            "Unsqueeze" => axes().and_then(|axes| view.unsqueezed(&axes).ok()),
            "Reshape" => integers(1).and_then(|target| {
                let target: Vec<Size> = target.into_iter().map(Size::Known).collect();
                view.reshaped(&target, attribute("allowzero").is_some_and(|allow| allow.i != 0)).ok()
            }),
            "Identity" | "Cast" | "Dropout" | "Relu" | "Clip" | "LeakyRelu" | "PRelu" | "Abs" | "Neg" | "Pad"
            | "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "BatchNormalization" => Some(view),
            _ => None,
        };
        if let (Some(next), Some(name)) = (next, node.output.first()) {
            views.insert(name, next);
        }
    }
    None
}

fn image(view: &View) -> Option<[Vec<Factor>; 3]> {
    let (first, rest) = view.dims.split_first()?;
    match rest {
        [channels, across] if is_samples(first) => Some([channels.clone(), Vec::new(), across.clone()]),
        [channels, down, across] if is_samples(first) => Some([channels.clone(), down.clone(), across.clone()]),
        _ => None,
    }
}

/// Whole numbers that a node reads, where they stand in the file.
fn integers(graph: &Graph, store: &Store, lists: &HashMap<&str, &Node>, node: &Node, at: usize) -> Option<Vec<i64>> {
    let name = optional(node, at)?;
    if let Some(tensor) = graph.constants.get(name) {
        return store.integers(tensor).ok().map(|numbers| numbers.values);
    }
    let attribute = lists.get(name)?.attribute.first()?;
    match &attribute.t {
        Some(tensor) => store.integers(tensor).ok().map(|numbers| numbers.values),
        None if attribute.name == "value_ints" => Some(attribute.ints.clone()),
        None => None,
    }
}

/// The file's view of an image that is its values in another order.
fn over_image(view: &View, image: &[Vec<Factor>; 3]) -> Option<Layout> {
    let shape = [0, 1, 2].map(|axis| length(&image[axis]));
    let area = shape[1] * shape[2];
    // Each dimension walks over the file's values with one stride.
    let mut walked = Vec::new();
    for (dim, own) in image.iter().zip([area, shape[2], 1]) {
        match dim[..] {
            [] => {}
            [Factor::Values { size, stride }] => walked.push((stride, size, own)),
            _ => return None,
        }
    }
    walked.sort_unstable_by_key(|&(stride, ..)| std::cmp::Reverse(stride));
    let mut walked = walked.into_iter();
    let mut dims = Vec::with_capacity(view.dims.len());
    for dim in &view.dims {
        let mut left = length(dim);
        let mut factors: Vec<Factor> = dim.iter().copied().filter(|factor| *factor == Factor::Samples).collect();
        while left > 1 {
            let (_, size, stride) = walked.next()?;
            if !left.is_multiple_of(size) {
                return None;
            }
            left /= size;
            factors.push(Factor::Values { size, stride });
        }
        dims.push(merged(&factors));
    }
    walked.next().is_none().then(|| Layout { shape, view: view.with(dims) })
}
