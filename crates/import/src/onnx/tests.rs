use model::architecture::{Conv2d, Entry, LayerKind, Window};
use proptest::prelude::*;
use prost::bytes::Bytes;
use rten_tensor::Tensor as RuntimeTensor;
use rten_tensor::prelude::*;

use super::proto::{
    Attribute, Dimension, Entry as KeyValue, Graph, Node, OperatorSet, Shape, Tensor, TensorType, Type, ValueInfo,
    data_type, kind,
};
use super::*;

fn node(op_type: &str, input: &[&str], output: &str, attribute: Vec<Attribute>) -> Node {
    Node {
        input: input.iter().map(ToString::to_string).collect(),
        output: vec![output.to_owned()],
        name: format!("n-{output}"),
        op_type: op_type.to_owned(),
        attribute,
        domain: String::new(),
    }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.to_owned(), i, kind: kind::INT, ..Attribute::default() }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.to_owned(), ints: ints.to_vec(), kind: kind::INTS, ..Attribute::default() }
}

fn float(name: &str, f: f32) -> Attribute {
    Attribute { name: name.to_owned(), f, kind: kind::FLOAT, ..Attribute::default() }
}

fn text(name: &str, s: &'static str) -> Attribute {
    let s = Bytes::from_static(s.as_bytes());
    Attribute { name: name.to_owned(), s, kind: kind::STRING, ..Attribute::default() }
}

/// A tensor with the values ⅛, 2⁄8, 3⁄8…
fn tensor(name: &str, dims: &[i64]) -> Tensor {
    let n: i64 = dims.iter().product();
    let float_data = (1..=n).map(|value| value as f32 / 8.0).collect();
    Tensor { name: name.to_owned(), dims: dims.to_vec(), data_type: data_type::FLOAT, float_data, ..Tensor::default() }
}

fn scalar(name: &str, value: f32) -> Tensor {
    Tensor { dims: Vec::new(), float_data: vec![value], ..tensor(name, &[1]) }
}

fn integers(name: &str, values: &[i64]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: data_type::INT64,
        int64_data: values.to_vec(),
        ..Tensor::default()
    }
}

fn value(name: &str, dims: &[Option<i64>]) -> ValueInfo {
    let dim = dims.iter().map(|&value| Dimension { value }).collect();
    let tensor = Some(TensorType { data_type: data_type::FLOAT, shape: Some(Shape { dim }) });
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor }) }
}

/// Nodes from `x` `[N, 1, 4, 4]` to `y`, with these tensors.
fn model(node: Vec<Node>, initializer: Vec<Tensor>) -> Model {
    let input = vec![value("x", &[None, Some(1), Some(4), Some(4)])];
    let output = vec![value("y", &[])];
    let graph = Graph { node, initializer, input, output };
    Model { ir_version: 8, graph: Some(graph), opset_import: vec![OperatorSet { domain: String::new(), version: 17 }] }
}

fn layers(model: &Model) -> Layers {
    layers_of(model, &Store::new(Path::new("x.onnx")), None, None).unwrap()
}

fn problems(model: &Model) -> String {
    layers_of(model, &Store::new(Path::new("x.onnx")), None, None).unwrap_err().join("\n")
}

/// `head` from `x` to `h`, which is an image of one channel, then a fully connected layer to `y`.
fn with_head(head: Vec<Node>, tensors: Vec<Tensor>, n_features: i64) -> Model {
    let mut nodes = head;
    nodes.push(node("Flatten", &["h"], "f", vec![]));
    nodes.push(node("Gemm", &["f", "w", "b"], "y", vec![]));
    model(nodes, [tensors, vec![tensor("w", &[n_features, 3]), tensor("b", &[3])]].concat())
}

/// A convolution with weights `[1, 1, 3, 3]` and these attributes, with its activation, before the last layer.
fn conv(attributes: Vec<Attribute>, n_features: i64) -> Model {
    let head = vec![node("Conv", &["x", "k"], "c", attributes), node("Relu", &["c"], "h", vec![])];
    with_head(head, vec![tensor("k", &[1, 1, 3, 3])], n_features)
}

/// The layers of a network, none of which needs a name.
fn kinds(layers: &Layers) -> Vec<LayerKind> {
    assert!(layers.model.layers.iter().all(|entry| entry.name.is_none() && entry.from.is_empty()));
    layers.model.layers.iter().map(|entry| entry.kind.clone()).collect()
}

/// Largest difference of logits, as a share of the largest: the rounding of 32 bits.
const ROUNDING: f64 = 5e-6;

/// Compares the logits of a model with those that a runtime computes from the same file; returns its layers.
fn agrees(model: &Model) -> Layers {
    let layers = layers(model);
    let graph = model.graph.as_ref().unwrap();
    let dims = dims_of(&graph.input[0]);
    let n: usize = dims.iter().product();
    let runtime = rten::Model::load(spelled_out(model).encode_to_vec()).unwrap_or_else(|error| panic!("{error}"));
    let architecture = Architecture::of_entries(layers.model.input, None, &layers.model.layers).unwrap();
    for shift in 0..3 {
        let values: Vec<f32> = (0..n).map(|at| ((at * 7 + shift * 5) % 16) as f32 / 8.0 - 1.0).collect();
        let own: Vec<f64> = values.iter().map(|&value| value.into()).collect();
        let found = model::evaluate::evaluate(architecture.graph(), &layers.tensors, &own).pop().unwrap();
        let input = RuntimeTensor::from_data(&dims[..], values);
        let ids = (runtime.input_ids()[0], runtime.output_ids()[0]);
        let output = runtime.run(vec![(ids.0, input.view().into())], &[ids.1], None);
        let output: RuntimeTensor<f32> =
            output.unwrap_or_else(|error| panic!("{error}")).into_iter().next().unwrap().try_into().unwrap();
        let expected: Vec<f64> = output.iter().map(|&value| f64::from(value)).collect();
        let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= ROUNDING * largest, "{found} where the runtime has {expected}");
        }
    }
    layers
}

/// With what rten 0.27 does not know: the attributes that ONNX has by default, and dropouts.
fn spelled_out(model: &Model) -> Model {
    let mut model = model.clone();
    for node in &mut graph(&mut model).node {
        let list =
            |name: &str| node.attribute.iter().find(|attribute| attribute.name == name).map(|list| list.ints.len());
        let rank = list("kernel_shape").or(list("pads").map(|n| n / 2)).unwrap_or(2);
        let names: &[&str] = match node.op_type.as_str() {
            "Conv" => &["strides", "dilations"],
            "MaxPool" | "AveragePool" => &["strides"],
            _ => &[],
        };
        let is_padded =
            node.attribute.iter().any(|attribute| attribute.name == "pads" || attribute.s.starts_with(b"SAME"));
        if !names.is_empty() && !is_padded {
            node.attribute.push(ints("pads", &vec![0; 2 * rank]));
        }
        let list = |name: &str| node.attribute.iter().any(|attribute| attribute.name == name);
        for name in names.iter().filter(|name| !list(name)).collect::<Vec<_>>() {
            node.attribute.push(ints(name, &vec![1; rank]));
        }
        if node.op_type == "Dropout" {
            node.op_type = "Identity".to_owned();
        }
    }
    model
}

fn dims_of(input: &ValueInfo) -> Vec<usize> {
    let tensor = input.kind.as_ref().unwrap().tensor.as_ref().unwrap();
    tensor.shape.as_ref().unwrap().dim.iter().map(|dim| dim.value.unwrap_or(1) as usize).collect()
}

/// With operators of another version.
fn version(mut model: Model, version: i64) -> Model {
    model.opset_import[0].version = version;
    model
}

/// An operator between a convolution of two channels, with or without an activation, and the last layer.
fn between(nodes: Vec<Node>, tensors: Vec<Tensor>, n_features: i64) -> Model {
    let head = [vec![node("Conv", &["x", "k"], "c", vec![ints("pads", &[1; 4])])], nodes].concat();
    with_head(head, [vec![tensor("k", &[2, 1, 3, 3])], tensors].concat(), n_features)
}

/// A tensor with these values.
fn values(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
    Tensor { float_data: values.to_vec(), ..tensor(name, dims) }
}

#[test]
fn weights_are_transposed_where_the_file_has_them_by_inputs() {
    let found = agrees(&with_head(vec![node("Identity", &["x"], "h", vec![])], vec![], 16));
    assert_eq!(found.model.input, [1, 4, 4]);
    assert_eq!(kinds(&found), [LayerKind::Flatten, LayerKind::Dense { units: 3 }]);
    // Row r and column c of the file hold (3r + c + 1)/8.
    let weight = &found.tensors["1.weight"];
    assert_eq!((weight.shape.as_slice(), &weight.values[..3]), (&[3, 16][..], &[0.125, 0.5, 0.875][..]));
    assert_eq!(found.tensors["1.bias"].values, [0.125, 0.25, 0.375]);
}

#[test]
fn kernels_strides_paddings_and_dilations_of_any_height_and_width_are_those_of_a_runtime() {
    let cases = [
        (vec![ints("pads", &[1; 4])], 16, [1, 1, 1, 1]),
        (vec![text("auto_pad", "SAME_UPPER")], 16, [1, 1, 1, 1]),
        (vec![text("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])], 4, [0, 0, 1, 1]),
        (vec![ints("pads", &[1, 1, 0, 0]), ints("strides", &[2, 2])], 4, [1, 1, 0, 0]),
        (vec![text("auto_pad", "VALID")], 4, [0; 4]),
        (vec![ints("pads", &[0, 1, 2, 0]), ints("strides", &[1, 2])], 8, [0, 1, 2, 0]),
        (vec![ints("dilations", &[1, 2]), ints("pads", &[0, 2, 0, 2])], 8, [0, 2, 0, 2]),
    ];
    for (attributes, n_features, padding) in cases {
        let found = agrees(&conv(attributes, n_features));
        let LayerKind::Conv2d(conv) = kinds(&found)[0] else { panic!("{:?}", found.model) };
        assert_eq!((conv.kernel, conv.padding, conv.bias), ([3, 3], padding, false));
    }
    // rten 0.27 pads as for SAME_UPPER here, where ONNX has the larger half first.
    let lower = layers(&conv(vec![text("auto_pad", "SAME_LOWER"), ints("strides", &[2, 2])], 4));
    assert!(matches!(kinds(&lower)[0], LayerKind::Conv2d(conv) if conv.padding == [1, 1, 0, 0]));
    let wide = with_head(
        vec![node("Conv", &["x", "k"], "c", vec![]), node("Relu", &["c"], "h", vec![])],
        vec![tensor("k", &[2, 1, 1, 3])],
        16,
    );
    assert!(matches!(kinds(&agrees(&wide))[0], LayerKind::Conv2d(conv) if conv.kernel == [1, 3]));
}

#[test]
fn pools_with_padding_ceil_and_windows_of_any_shape_are_those_of_a_runtime() {
    let relu = || node("Relu", &["c"], "r", vec![]);
    let pool = |operator: &str, attributes: Vec<Attribute>, n: i64| {
        let found = agrees(&between(vec![relu(), node(operator, &["r"], "h", attributes)], vec![], n));
        kinds(&found)[2].clone()
    };
    let sizes = || vec![ints("kernel_shape", &[3, 2]), ints("strides", &[2, 1])];
    let padded = |more: Vec<Attribute>| [sizes(), vec![ints("pads", &[1, 0, 1, 1])], more].concat();
    for operator in ["MaxPool", "AveragePool"] {
        let kind = pool(operator, padded(vec![]), 16);
        let (LayerKind::MaxPool(window) | LayerKind::AvgPool(window)) = kind else { panic!("{kind:?}") };
        assert_eq!((window.kernel, window.stride, window.padding), ([3, 2], [2, 1], [1, 0, 1, 1]));
        assert_eq!(window.counts_padding, operator == "MaxPool");
        let ceil = vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), int("ceil_mode", 1)];
        let kind = pool(operator, ceil, 8);
        assert!(matches!(kind, LayerKind::MaxPool(window) | LayerKind::AvgPool(window) if window.ceil));
        pool(
            operator,
            vec![ints("kernel_shape", &[2, 2]), text("auto_pad", "SAME_UPPER"), ints("strides", &[1, 1])],
            32,
        );
    }
    let counted = pool("AveragePool", padded(vec![int("count_include_pad", 1)]), 16);
    assert!(matches!(counted, LayerKind::AvgPool(window) if window.counts_padding));
    // A window that has no place to stick out is one without.
    let even = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)];
    assert_eq!(pool("MaxPool", even, 8), LayerKind::MaxPool(Window::square(2, 2)));
}

#[test]
fn padding_nodes_go_into_the_layer_behind_them() {
    let pads = integers("p", &[0, 0, 1, 0, 0, 0, 0, 2]);
    let head = vec![
        node("Pad", &["x", "p"], "d", vec![]),
        node("Conv", &["d", "k"], "c", vec![ints("pads", &[0, 1, 0, 0])]),
        node("Relu", &["c"], "h", vec![]),
    ];
    let found = agrees(&with_head(head, vec![pads.clone(), tensor("k", &[1, 1, 3, 3])], 15));
    assert!(matches!(kinds(&found)[0], LayerKind::Conv2d(conv) if conv.padding == [1, 1, 0, 2]));
    for operator in ["MaxPool", "AveragePool"] {
        let nodes = vec![
            node("Relu", &["c"], "r", vec![]),
            node("Pad", &["r", "p"], "d", vec![]),
            node(operator, &["d"], "h", vec![ints("kernel_shape", &[3, 3]), ints("strides", &[1, 1])]),
        ];
        agrees(&between(nodes, vec![pads.clone()], 24));
    }
    // Channels of zeros.
    let nodes = vec![node("Relu", &["c"], "r", vec![]), node("Pad", &["r", "p"], "h", vec![])];
    let whole = agrees(&between(nodes, vec![integers("p", &[0, 1, 0, 0, 0, 2, 0, 0])], 80));
    // By axes, which the runtime does not know.
    let nodes = vec![node("Relu", &["c"], "r", vec![]), node("Pad", &["r", "p", "", "a"], "h", vec![])];
    let axes = layers(&version(between(nodes, vec![integers("p", &[1, 2]), integers("a", &[1])], 80), 18));
    assert_eq!((axes.model, axes.tensors), (whole.model, whole.tensors));
}

#[test]
fn means_over_rows_and_columns_are_pools() {
    let relu = || node("Relu", &["c"], "r", vec![]);
    let cases = [
        (node("GlobalAveragePool", &["r"], "h", vec![]), 2),
        (node("GlobalMaxPool", &["r"], "h", vec![]), 2),
        (node("ReduceMean", &["r"], "h", vec![ints("axes", &[2, 3])]), 2),
        (node("ReduceMean", &["r"], "h", vec![ints("axes", &[-1, -2]), int("keepdims", 0)]), 2),
        (node("ReduceMean", &["r"], "h", vec![ints("axes", &[3])]), 8),
        (node("ReduceMean", &["r"], "h", vec![ints("axes", &[2]), int("keepdims", 0)]), 8),
        (node("ReduceMax", &["r"], "h", vec![ints("axes", &[2, 3])]), 2),
    ];
    for (reduce, n) in cases {
        agrees(&between(vec![relu(), reduce], vec![], n));
    }
    let axes = vec![integers("a", &[3, 2])];
    let sum = vec![relu(), node("ReduceSum", &["r", "a"], "h", vec![int("keepdims", 0)])];
    agrees(&between(sum, axes.clone(), 2));
    let mean = vec![relu(), node("ReduceMean", &["r", "a"], "h", vec![])];
    agrees(&version(between(mean, axes, 2), 18));
    // Rows and columns as one dimension, as `x.view(n, c, -1).mean(2)` makes it.
    let line = vec![
        relu(),
        node("Reshape", &["r", "s"], "l", vec![]),
        node("ReduceMean", &["l"], "h", vec![ints("axes", &[2])]),
    ];
    let found = agrees(&between(line, vec![integers("s", &[0, 0, -1])], 2));
    assert_eq!(kinds(&found)[2], LayerKind::GlobalAvgPool);
    // Logits themselves.
    let mut logits = between(vec![relu(), node("GlobalAveragePool", &["r"], "y", vec![])], vec![], 2);
    logits.graph.as_mut().unwrap().node.retain(|node| !matches!(node.op_type.as_str(), "Flatten" | "Gemm"));
    assert_eq!(kinds(&agrees(&logits)).last(), Some(&LayerKind::GlobalAvgPool));
}

#[test]
fn activations_that_are_straight_piece_by_piece_are_those_of_a_runtime() {
    let of = |nodes: Vec<Node>, tensors: Vec<Tensor>| {
        let kinds = kinds(&agrees(&between(nodes, tensors, 32)));
        kinds[1..kinds.len() - 2].to_vec()
    };
    let one = |operator: &str, more: &[&str], attributes: Vec<Attribute>, tensors: Vec<Tensor>| {
        of(vec![node(operator, &[&["c"], more].concat(), "h", attributes)], tensors)
    };
    let six = LayerKind::Clip { low: 0.0, high: 6.0 };
    let bounds = || vec![scalar("lo", 0.0), scalar("hi", 6.0)];
    assert_eq!(one("Clip", &["lo", "hi"], vec![], bounds()), std::slice::from_ref(&six));
    assert_eq!(one("Clip", &["lo"], vec![], bounds()), [LayerKind::Relu]);
    let chain = |first: &str, a: &'static str, second: &str, b: &'static str| {
        of(vec![node(first, &["c", a], "m", vec![]), node(second, &[b, "m"], "h", vec![])], bounds())
    };
    assert_eq!(chain("Max", "lo", "Min", "hi"), std::slice::from_ref(&six));
    assert_eq!(chain("Min", "hi", "Max", "lo"), [six]);
    let relus = vec![node("Relu", &["c"], "m", vec![]), node("Relu", &["m"], "h", vec![])];
    assert_eq!(of(relus, vec![]), [LayerKind::Relu]);
    assert_eq!(one("LeakyRelu", &[], vec![float("alpha", 0.1)], vec![]), [LayerKind::LeakyRelu { slope: 0.1 }]);
    assert_eq!(one("Abs", &[], vec![], vec![]), [LayerKind::Abs]);
    for slope in [tensor("s", &[2, 1, 1]), tensor("s", &[1]), scalar("s", 0.3)] {
        assert_eq!(one("PRelu", &["s"], vec![], vec![slope]), [LayerKind::PRelu]);
    }
    let unit = LayerKind::Clip { low: 0.0, high: 1.0 };
    assert_eq!(one("HardSigmoid", &[], vec![], vec![]), [LayerKind::Scale, unit]);
    // One bound that is not zero: a relu between shifts.
    let shifted = [LayerKind::Scale, LayerKind::Relu, LayerKind::Scale];
    assert_eq!(one("Max", &["bound"], vec![], vec![scalar("bound", -0.5)]), shifted);
    assert_eq!(one("Min", &["bound"], vec![], vec![scalar("bound", 0.75)]), shifted);
    // Bounds that are attributes, as before version 11; the runtime reads newer ones alone.
    let old =
        version(between(vec![node("Clip", &["c"], "h", vec![float("min", -1.0), float("max", 1.0)])], vec![], 32), 9);
    assert_eq!(kinds(&layers(&old))[1], LayerKind::Clip { low: -1.0, high: 1.0 });
}

#[test]
fn what_computes_nothing_is_left_out() {
    let nodes = vec![
        node("Identity", &["c"], "i", vec![]),
        node("Cast", &["i"], "t", vec![int("to", 1)]),
        node("Relu", &["t"], "r", vec![]),
        node("Dropout", &["r"], "d", vec![]),
        node("MaxPool", &["d"], "m", vec![ints("kernel_shape", &[1, 1]), ints("strides", &[1, 1])]),
        node("Mul", &["m", "one"], "h", vec![]),
    ];
    let found = agrees(&between(nodes, vec![scalar("one", 1.0)], 32));
    assert_eq!(kinds(&found).len(), 4);
}

#[test]
fn constants_beside_results_are_scales_and_shifts_or_the_bias_of_the_weights_before_them() {
    let of = |nodes: Vec<Node>, tensors: Vec<Tensor>| agrees(&between(nodes, tensors, 32));
    let relu = |input: &str| node("Relu", &[input], "h", vec![]);
    let biased = of(vec![node("Add", &["c", "s"], "d", vec![]), relu("d")], vec![tensor("s", &[1, 2, 1, 1])]);
    assert_eq!(biased.tensors["0.bias"].values, [0.125, 0.25]);
    assert_eq!(kinds(&biased).len(), 4);
    for operator in ["Add", "Sub", "Mul", "Div"] {
        for shape in [&[2, 1, 1][..], &[1, 1, 1, 1], &[1], &[]] {
            let constant = if shape.is_empty() { scalar("s", 0.75) } else { tensor("s", shape) };
            of(vec![node("Relu", &["c"], "r", vec![]), node(operator, &["r", "s"], "h", vec![])], vec![constant]);
        }
    }
    of(vec![node("Sub", &["s", "c"], "d", vec![]), relu("d")], vec![scalar("s", 2.0)]);
    // A constant for each position, where a vector is made of them anyway.
    let found =
        of(vec![node("Relu", &["c"], "r", vec![]), node("Mul", &["r", "s"], "h", vec![])], vec![tensor("s", &[4, 4])]);
    assert_eq!(kinds(&found)[2..4], [LayerKind::Flatten, LayerKind::Scale]);
    // Several in a row are one.
    let several = vec![
        node("Relu", &["c"], "r", vec![]),
        node("Mul", &["r", "s"], "a", vec![]),
        node("Add", &["a", "s"], "a1", vec![]),
        node("Neg", &["a1"], "h", vec![]),
    ];
    let found = of(several, vec![tensor("s", &[2, 1, 1])]);
    assert_eq!(
        (kinds(&found)[2].clone(), &found.tensors["2.weight"].values[..]),
        (LayerKind::Scale, &[-0.125, -0.25][..])
    );
    // On the input, before a convolution that pads.
    let head = vec![
        node("Sub", &["x", "m"], "a", vec![]),
        node("Div", &["a", "d"], "a1", vec![]),
        node("Conv", &["a1", "k"], "c", vec![ints("pads", &[1; 4])]),
        node("Relu", &["c"], "h", vec![]),
    ];
    let found = agrees(&with_head(head, vec![scalar("m", 0.5), scalar("d", 0.25), tensor("k", &[1, 1, 3, 3])], 16));
    assert_eq!((&found.tensors["0.weight"].values[..], &found.tensors["0.bias"].values[..]), (&[4.0][..], &[-2.0][..]));
}

#[test]
fn batch_norms_stand_anywhere() {
    let norm = |input: &str, output: &str| node("BatchNormalization", &[input, "s", "s", "s", "s"], output, vec![]);
    let one = || vec![tensor("s", &[2])];
    agrees(&between(vec![node("Relu", &["c"], "r", vec![]), norm("r", "h")], one(), 32));
    agrees(&between(vec![norm("c", "n"), node("Relu", &["n"], "h", vec![])], one(), 32));
    let first = vec![
        norm("x", "n"),
        node("Conv", &["n", "k"], "c", vec![ints("pads", &[1; 4])]),
        node("Relu", &["c"], "h", vec![]),
    ];
    agrees(&with_head(first, vec![tensor("s", &[1]), tensor("k", &[1, 1, 3, 3])], 16));
}

#[test]
fn an_activation_behind_a_max_pool_is_put_before_it_with_what_rises_between() {
    let pool = || node("MaxPool", &["c"], "m", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]);
    let plain = vec![pool(), node("Relu", &["m"], "h", vec![])];
    let found = agrees(&between(plain, vec![], 8));
    assert_eq!(kinds(&found)[1..3], [LayerKind::Relu, LayerKind::MaxPool(Window::square(2, 2))]);
    assert_eq!(
        found.notes[1],
        "node `n-h` (Relu) is put before node `n-m` (MaxPool): they give the same in either order"
    );
    let norm = |weights: Tensor| {
        let nodes = vec![
            pool(),
            node("BatchNormalization", &["m", "w0", "s", "s", "s"], "n", vec![]),
            node("Relu", &["n"], "h", vec![]),
        ];
        between(nodes, vec![Tensor { name: "w0".to_owned(), ..weights }, tensor("s", &[2])], 8)
    };
    let found = agrees(&norm(tensor("w0", &[2])));
    assert!(matches!(kinds(&found)[1], LayerKind::BatchNorm { .. }));
    let falls = problems(&norm(values("w0", &[2], &[1.0, -1.0])));
    assert!(
        falls.contains(
            "node `n-n` (BatchNormalization): not supported: factors below zero in 1 of 2 channels between node `n-m` (MaxPool) and node \
             `n-h` (Relu): what is the largest of a window becomes the smallest, which spikes do not show; supported: factors from 0, or an \
             activation before the pool, with which the network has to be trained"
        ),
        "{falls}"
    );
    assert!(!falls.contains("stands between"), "said once: {falls}");
    // Where an activation stands before the pool already, any factors may follow.
    let norm_behind_relu = vec![
        node("Relu", &["c"], "r", vec![]),
        node("MaxPool", &["r"], "m", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("BatchNormalization", &["m", "w0", "s", "s", "s"], "n", vec![]),
        node("Relu", &["n"], "h", vec![]),
    ];
    agrees(&between(norm_behind_relu, vec![values("w0", &[2], &[1.0, -1.0]), tensor("s", &[2])], 8));
}

#[test]
fn sums_joins_and_parts_have_names_where_a_layer_does_not_read_the_one_before_it() {
    let head = vec![
        node("Relu", &["c"], "r", vec![]),
        node("Split", &["r"], "s0", vec![int("axis", 1)]),
        node("Sub", &["s0", "s1"], "u", vec![]),
        node("Sum", &["u", "s0", "s1"], "t", vec![]),
        node("Concat", &["t", "r"], "j", vec![int("axis", 1)]),
        node("Slice", &["j", "from", "to", "axes"], "h", vec![]),
    ];
    let lists = vec![integers("from", &[-2]), integers("to", &[i64::MAX]), integers("axes", &[1])];
    let mut model = between(head, lists, 32);
    model.graph.as_mut().unwrap().node[2].output.push("s1".to_owned());
    let found = agrees(&model);
    let entry = |at: usize| (found.model.layers[at].name.as_deref(), found.model.layers[at].from.clone());
    assert_eq!(entry(1), (Some("r"), vec![]));
    assert_eq!(entry(2), (Some("s0"), vec![]));
    assert_eq!(entry(3), (Some("s1"), vec!["r".to_owned()]));
}

#[test]
fn channels_are_shuffled_as_exporters_write_it() {
    let nodes = vec![
        node("Relu", &["c"], "r", vec![]),
        node("Concat", &["r", "r", "r"], "j", vec![int("axis", 1)]),
        node("Reshape", &["j", "s"], "g", vec![]),
        node("Transpose", &["g"], "t", vec![ints("perm", &[0, 2, 1, 3, 4])]),
        node("Reshape", &["t", "u"], "v", vec![]),
        node("Conv", &["v", "e"], "w0", vec![int("group", 3)]),
        node("Relu", &["w0"], "h", vec![]),
    ];
    let tensors = vec![integers("s", &[-1, 2, 3, 4, 4]), integers("u", &[-1, 6, 4, 4]), tensor("e", &[3, 2, 1, 1])];
    let found = agrees(&between(nodes, tensors, 48));
    assert!(found.model.layers.iter().any(|entry| entry.kind == LayerKind::ChannelShuffle { groups: 2 }));
}

#[test]
fn every_second_position_and_every_part_of_an_image_is_a_convolution_with_one_weight() {
    for (from, to, step, n) in [([0, 0], [4, 4], [2, 2], 8), ([1, 0], [4, 3], [1, 2], 12), ([1, 1], [3, 3], [1, 1], 8)]
    {
        let nodes =
            vec![node("Relu", &["c"], "r", vec![]), node("Slice", &["r", "from", "to", "axes", "steps"], "h", vec![])];
        let lists =
            vec![integers("from", &from), integers("to", &to), integers("axes", &[2, 3]), integers("steps", &step)];
        agrees(&between(nodes, lists, n));
    }
}

#[test]
fn matrices_are_read_from_either_side_with_factors() {
    let mut gemm = with_head(vec![node("Identity", &["x"], "h", vec![])], vec![], 16);
    graph(&mut gemm).node[2].attribute = vec![float("alpha", 0.5), float("beta", 3.0)];
    assert_eq!(agrees(&gemm).tensors["1.bias"].values, [0.375, 0.75, 1.125]);
    // Constants that are moved: transposed, reshaped, joined.
    let nodes = vec![
        node("Flatten", &["x"], "f", vec![]),
        node("Transpose", &["w"], "wt", vec![]),
        node("MatMul", &["f", "wt"], "a", vec![]),
        node("Relu", &["a"], "r", vec![]),
        node("Concat", &["v", "v"], "vv", vec![int("axis", 0)]),
        node("Reshape", &["vv", "s"], "vr", vec![]),
        node("MatMul", &["r", "vr"], "y", vec![]),
    ];
    agrees(&model(nodes, vec![tensor("w", &[6, 16]), tensor("v", &[3, 2]), integers("s", &[6, -1])]));
    // Samples as columns.
    let nodes = vec![node("Reshape", &["x", "s"], "column", vec![]), node("MatMul", &["w", "column"], "y", vec![])];
    agrees(&model(nodes, vec![tensor("w", &[3, 16]), integers("s", &[-1, 16, 1])]));
}

#[test]
fn inputs_of_every_rank_are_read() {
    let dense = |n: i64| vec![tensor("w", &[n, 3]), tensor("b", &[3])];
    let with_input = |dims: &[Option<i64>], nodes: Vec<Node>, tensors: Vec<Tensor>| {
        let mut model = model(nodes, tensors);
        model.graph.as_mut().unwrap().input[0] = value("x", dims);
        model
    };
    let flat = || vec![node("Flatten", &["x"], "f", vec![]), node("Gemm", &["f", "w", "b"], "y", vec![])];
    assert_eq!(agrees(&with_input(&[None, Some(4), Some(3)], flat(), dense(12))).model.input, [1, 4, 3]);
    assert_eq!(agrees(&with_input(&[Some(1), Some(4), Some(3)], flat(), dense(12))).model.input, [1, 4, 3]);
    // One image, and no dimension for samples.
    let image = vec![node("Reshape", &["x", "s"], "f", vec![]), node("Gemm", &["f", "w", "b"], "y", vec![])];
    let one = with_input(&[Some(4), Some(3)], image, [dense(12), vec![integers("s", &[1, 12])]].concat());
    assert_eq!(agrees(&one).model.input, [1, 4, 3]);
    // Several samples at once.
    assert_eq!(layers(&with_input(&[Some(8), Some(4), Some(3)], flat(), dense(12))).model.input, [1, 4, 3]);
    // A vector that the first layer reads as an image.
    let nodes = vec![
        node("Reshape", &["x", "s"], "i", vec![]),
        node("Conv", &["i", "k"], "c", vec![]),
        node("Relu", &["c"], "r", vec![]),
        node("GlobalAveragePool", &["r"], "y", vec![]),
    ];
    let lists = vec![integers("s", &[-1, 1, 4, 3]), tensor("k", &[3, 1, 2, 2])];
    assert_eq!(agrees(&with_input(&[None, Some(12)], nodes, lists)).model.input, [1, 4, 3]);
    // A signal of one dimension.
    let nodes = vec![
        node("Conv", &["x", "k"], "c", vec![ints("pads", &[1, 0]), ints("strides", &[2])]),
        node("Relu", &["c"], "r", vec![]),
        node("MaxPool", &["r"], "p", vec![ints("kernel_shape", &[2]), ints("strides", &[2])]),
        node("Flatten", &["p"], "f", vec![]),
        node("Gemm", &["f", "w", "b"], "y", vec![]),
    ];
    let tensors = [dense(8), vec![tensor("k", &[4, 2, 3])]].concat();
    let line = agrees(&with_input(&[None, Some(2), Some(9)], nodes, tensors));
    assert_eq!(line.model.input, [2, 1, 9]);
    assert!(
        matches!(line.model.layers[0].kind, LayerKind::Conv2d(conv) if conv.kernel == [1, 3] && conv.padding == [0, 1, 0, 0])
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of refusals")]
fn what_is_not_there_is_refused_by_node_and_operator_with_what_is() {
    let relu = || node("Relu", &["c"], "r", vec![]);
    let after = |operator: &str, more: &[&str], attributes: Vec<Attribute>, tensors: Vec<Tensor>| {
        problems(&between(vec![relu(), node(operator, &[&["r"], more].concat(), "h", attributes)], tensors, 32))
    };
    let unknown = |operator: &str| after(operator, &[], vec![], vec![]);
    let cases = [
        (problems(&conv(vec![ints("strides", &[0, 0])], 2)), "strides [0, 0]; it needs two numbers from 1"),
        (problems(&conv(vec![ints("pads", &[-1; 4])], 2)), "pads [-1, -1, -1, -1]; it needs four numbers"),
        (problems(&conv(vec![int("group", 0)], 4)), "its groups do not divide its 1 channels"),
        (problems(&conv(vec![text("auto_pad", "SOME")], 4)), "not supported: auto_pad SOME; supported: NOTSET, VALID"),
        (problems(&conv(vec![ints("kernel_shape", &[5, 5])], 4)), "kernel_shape [5, 5] is not that of its weights"),
        (problems(&conv(vec![int("mystery", 1)], 4)), "node `n-c` (Conv): attribute `mystery` is not understood"),
        (problems(&conv(vec![int("strides", 1)], 4)), "attribute `strides` is of kind 2 where 7 is needed"),
        (problems(&conv(vec![], 5)), "node `n-y` (Gemm): its weights are for 5 inputs, and it has [N, 4]"),
        (
            unknown("Tanh"),
            "node `n-h` (Tanh): has no counterpart; not supported: activations that are curved; supported: Relu",
        ),
        (unknown("Gelu"), "(Gelu): has no counterpart; not supported: activations that are curved"),
        (unknown("HardSwish"), "(HardSwish): has no counterpart; not supported: activations that are curved"),
        (
            unknown("LayerNormalization"),
            "not supported: norms that depend on the sample; supported: BatchNormalization",
        ),
        (unknown("LRN"), "(LRN): has no counterpart; not supported: norms that depend on the sample"),
        (unknown("LSTM"), "(LSTM): has no counterpart; not supported: recurrent networks"),
        (unknown("Attention"), "(Attention): has no counterpart; not supported: attention and products of results"),
        (unknown("Resize"), "(Resize): has no counterpart; not supported: images that grow; supported: Conv and pools"),
        (unknown("ConvTranspose"), "(ConvTranspose): has no counterpart; not supported: images that grow"),
        (unknown("NonZero"), "(NonZero): has no counterpart; not supported: what is computed depends on the data"),
        (unknown("TopK"), "(TopK): has no counterpart; not supported: choices among outputs"),
        (unknown("QLinearConv"), "supported: weights behind DequantizeLinear"),
        (unknown("NoSuchThing"), "node `n-h` (NoSuchThing): has no counterpart; supported: Abs, Add"),
        (
            unknown("Sigmoid"),
            "node `n-h` (Sigmoid): not supported: before the end, since it is curved; supported: Relu",
        ),
        (
            unknown("Softmax"),
            "node `n-h` (Softmax): not supported: over axis 3 of [N, 2, 4, 4]; supported: over classes",
        ),
        (
            after("Mul", &["r"], vec![], vec![]),
            "node `n-h` (Mul): not supported: a product of two results, as in squeeze-and-excitation, SiLU, HardSwish",
        ),
        (
            after("MatMul", &["r"], vec![], vec![]),
            "not supported: a product of two results, as in attention; supported: with",
        ),
        (
            after("Max", &["c"], vec![], vec![]),
            "not supported: Max of several results; supported: of one and constants",
        ),
        (after("Div", &["c"], vec![], vec![]), "node `n-h` (Div): not supported: a product of two results"),
        (
            problems(&between(vec![relu(), node("Div", &["s", "r"], "h", vec![])], vec![scalar("s", 1.0)], 32)),
            "not supported: division by a result; supported: by a constant",
        ),
        (
            after("QuantizeLinear", &["s", "z"], vec![], vec![scalar("s", 1.0), integers("z", &[0])]),
            "node `n-h` (QuantizeLinear): not supported: quantised results; supported: DequantizeLinear of weights",
        ),
        (
            after("Gather", &["s"], vec![int("axis", 2)], vec![integers("s", &[0, 1])]),
            "node `n-h` (Gather): not supported: a part of axis 2 of [N, 2, 4, 4]; supported: channels",
        ),
        (
            after("ReduceMean", &[], vec![ints("axes", &[1])], vec![]),
            "not supported: over the axes [1] of [N, 2, 4, 4]; supported: over all rows",
        ),
        (
            after("Reshape", &["s"], vec![], vec![integers("s", &[-1, 3])]),
            "reshapes [N, 2, 4, 4] to [-1, 3]; supported: sizes that keep samples apart",
        ),
        (
            after("Cast", &[], vec![int("to", 7)], vec![]),
            "node `n-h` (Cast): not supported: a result as type 7; supported: floats",
        ),
        (
            after("Concat", &["s"], vec![int("axis", 1)], vec![scalar("s", 1.0)]),
            "not supported: a constant, `s`, beside results; supported: results",
        ),
        (
            after("Concat", &["r"], vec![int("axis", 2)], vec![]),
            "not supported: [N, 2, 4, 4] and [N, 2, 4, 4] side by side along axis 2; supported: channels",
        ),
        (
            after("Clip", &["s", "s"], vec![], vec![scalar("s", 1.0)]),
            "not supported: bounds 1 and 1, between which nothing lies; supported: a lower one below an upper one",
        ),
        (
            after("Max", &["s"], vec![], vec![tensor("s", &[2, 1, 1])]),
            "not supported: Max with constants that differ; supported: with one number",
        ),
        (
            after("BatchNormalization", &["s", "s", "s", "s"], vec![int("training_mode", 1)], vec![tensor("s", &[2])]),
            "is in training mode; export the network with net.eval()",
        ),
        (
            after("Dropout", &["", "t"], vec![], vec![Tensor { dims: vec![], ..integers("t", &[1]) }]),
            "node `n-h` (Dropout): is in training mode",
        ),
        (
            after("Pad", &["s"], vec![text("mode", "reflect")], vec![integers("s", &[0, 0, 1, 1, 0, 0, 1, 1])]),
            "node `n-h` (Pad): not supported: padding with mode reflect; supported: with zeros",
        ),
        (
            problems(&between(
                vec![relu(), node("Pad", &["r", "s"], "h", vec![])],
                vec![integers("s", &[0, 0, 1, 1, 0, 0, 1, 1])],
                72,
            )),
            "node `n-h` (Pad): not supported: padding before anything but Conv, MaxPool and AveragePool; supported: right before",
        ),
        (
            after("Pad", &["s"], vec![], vec![integers("s", &[0, 0, -1, 0, 0, 0, 0, 0])]),
            "not supported: pads [0, 0, -1, 0, 0, 0, 0, 0]; supported: numbers from 0",
        ),
        (
            after("Squeeze", &["s"], vec![], vec![integers("s", &[2, 3])]),
            "squeezes axis 2 of [N, 2, 4, 4], which is not of size 1",
        ),
        (
            after("MaxPool", &[], vec![ints("kernel_shape", &[2, 2]), ints("dilations", &[2, 2])], vec![]),
            "node `n-h` (MaxPool): not supported: a pool with dilations [2, 2]; supported: [1, 1], where the inputs of a window lie side by side",
        ),
        (
            problems(&between(vec![node("GlobalMaxPool", &["c"], "h", vec![])], vec![], 2)),
            "node `n-h` (GlobalMaxPool): as max-pool: stands between a layer and its activation",
        ),
        (
            after("Add", &["s"], vec![], vec![tensor("s", &[3, 1, 1])]),
            "its constant has the shape [3, 1, 1], and its input [N, 2, 4, 4]",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "expected {expected}\nfound {found}");
    }
}

#[test]
fn every_operator_without_a_counterpart_is_named_at_once() {
    let head = vec![node("Tanh", &["x"], "a", vec![]), node("Relu", &["a"], "h", vec![])];
    let mut model = with_head(head, vec![], 16);
    model.graph.as_mut().unwrap().node[1].domain = "com.example".to_owned();
    let found = problems(&model);
    assert!(
        found.contains("`n-a` (Tanh)") && found.contains("`n-h` (Relu): has no counterpart of `com.example`"),
        "{found}"
    );
}

#[test]
fn cycles_loose_ends_and_names_given_twice_are_refused() {
    let relu = |input: &str, output: &str| node("Relu", &[input], output, vec![]);
    let add = |a: &str, b: &str, output: &str| node("Add", &[a, b], output, vec![]);
    let cases = [
        (vec![add("x", "b", "a"), relu("a", "b"), relu("b", "y")], "node `n-a` (Add): depends on its own result"),
        (vec![relu("y", "y")], "depends on its own result"),
        (vec![relu("nowhere", "y")], "node `n-y` (Relu): reads `nowhere`, which nothing gives"),
        (vec![relu("x", "z")], "nothing gives the output `y`"),
        (vec![relu("x", "y"), relu("x", "y")], "gives `y`, which there is already"),
        (vec![relu("x", "x"), relu("x", "y")], "gives `x`, which there is already"),
        (vec![], "nothing gives the output `y`"),
        (vec![node("Relu", &[], "y", vec![])], "has no input 0"),
        (vec![node("Constant", &[], "y", vec![float("value_float", 1.0)])], "does not depend on the input"),
    ];
    for (nodes, expected) in cases {
        let found = problems(&model(nodes, vec![]));
        assert!(found.contains(expected), "expected {expected}\nfound {found}");
    }
    let twice = problems(&model(vec![relu("x", "y")], vec![tensor("w", &[1]), tensor("w", &[1])]));
    assert!(twice.contains("two tensors are both called `w`"), "{twice}");
}

#[test]
fn a_chain_of_many_nodes_takes_neither_stack_nor_time() {
    let n = 100_000;
    let mut nodes = vec![node("Identity", &["x"], "v0", vec![])];
    nodes.extend((1..n).map(|at| node("Identity", &[&format!("v{}", at - 1)], &format!("v{at}"), vec![])));
    nodes.push(node("Identity", &[&format!("v{}", n - 1)], "h", vec![]));
    assert_eq!(layers(&with_head(nodes, vec![], 16)).model.layers.len(), 2);
}

fn graph(model: &mut Model) -> &mut Graph {
    model.graph.as_mut().unwrap()
}

#[test]
fn inputs_and_outputs_that_leave_something_open_are_refused() {
    let good = || with_head(vec![node("Identity", &["x"], "h", vec![])], vec![], 16);
    let change = |change: &dyn Fn(&mut Model)| {
        let mut model = good();
        change(&mut model);
        problems(&model)
    };
    let cases = [
        (
            change(&|model| graph(model).input[0] = value("x", &[None, Some(1), None, Some(4)])),
            "the input `x` has the shape [?, 1, ?, 4]; export it with fixed sizes",
        ),
        (change(&|model| graph(model).input[0] = value("x", &[None, Some(1), Some(1 << 40), Some(4)])), "fixed sizes"),
        (
            change(&|model| graph(model).input[0] = value("x", &[None, Some(1), Some(1), Some(4), Some(4)])),
            "it needs dimensions [N, C, H, W]",
        ),
        (change(&|model| graph(model).input[0] = value("x", &[])), "it needs dimensions [N, C, H, W]"),
        (
            change(&|model| {
                graph(model).input.push(value("z", &[]));
                graph(model).node.push(node("Add", &["y", "z"], "yz", vec![]));
                graph(model).output[0] = value("yz", &[]);
            }),
            "a network has one input, and the file gives `x`, `z`",
        ),
        (
            change(&|model| graph(model).output.push(value("f", &[]))),
            "the file gives the outputs `y`, `f`; choose one with --output NAME",
        ),
        (change(&|model| graph(model).output.clear()), "a network has an output, and the file gives none"),
        (change(&|model| graph(model).input.clear()), "which nothing gives"),
        (change(&|model| model.opset_import[0].version = 6), "operators of version 6, where 7 to 28 are understood"),
        (change(&|model| model.opset_import.clear()), "operators of version ?"),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "expected {expected}\nfound {found}");
    }
}

#[test]
fn tensors_that_are_not_what_they_say_are_refused_before_memory_is_taken() {
    let with = |tensor: Tensor| {
        let mut model = with_head(vec![node("Identity", &["x"], "h", vec![])], vec![], 16);
        model.graph.as_mut().unwrap().initializer[0] = Tensor { name: "w".to_owned(), ..tensor };
        problems(&model)
    };
    let whole = || tensor("w", &[16, 3]);
    let bytes = |n: usize| Bytes::from(vec![0; n]);
    let entry = |key: &str, value: &str| KeyValue { key: key.to_owned(), value: value.to_owned() };
    let cases = [
        (with(Tensor { dims: vec![1 << 40, 1 << 40], ..whole() }), "`w`: its size overflows"),
        (with(Tensor { dims: vec![1 << 40, 3], ..whole() }), "`w`: it holds 48 values where its shape"),
        (with(Tensor { dims: vec![-16, 3], ..whole() }), "`w`: its shape [-16, 3] has a negative size"),
        (with(Tensor { raw_data: bytes(7), ..whole() }), "`w`: it holds 7 bytes where its shape [16, 3] needs 192"),
        (with(Tensor { data_type: data_type::INT64, ..whole() }), "`w`: it holds type 7 where floats are needed"),
        (with(Tensor { data_type: 99, ..whole() }), "`w`: it holds type 99"),
        (with(Tensor { data_location: 1, ..whole() }), "`w`: it lies in a file that is not named"),
        (
            with(Tensor { data_location: 1, external_data: vec![entry("location", "../weights")], ..whole() }),
            "`w`: its file `../weights` does not lie in the same folder",
        ),
        (
            with(Tensor { data_location: 1, external_data: vec![entry("location", "/etc/passwd")], ..whole() }),
            "does not lie in the same folder",
        ),
        (
            with(Tensor { data_location: 1, external_data: vec![entry("location", "nowhere.data")], ..whole() }),
            "its file `nowhere.data` cannot be read",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "expected {expected}\nfound {found}");
    }
}

#[test]
fn blocks_within_blocks_are_sums_of_what_they_read() {
    let conv = |input: &str, output: &str| node("Conv", &[input, "k"], output, vec![ints("pads", &[1; 4])]);
    let head = vec![
        conv("x", "a"),
        node("Relu", &["a"], "r", vec![]),
        conv("r", "c"),
        node("Add", &["c", "r"], "s", vec![]),
        node("Add", &["s", "r"], "t", vec![]),
        node("Add", &["t", "t"], "u", vec![]),
        node("Relu", &["u"], "h", vec![]),
    ];
    let found = agrees(&with_head(head, vec![tensor("k", &[1, 1, 3, 3])], 16));
    // The same tensor twice, a copy for each layer.
    let weights: Vec<&TensorF32> =
        found.tensors.iter().filter(|(_, tensor)| tensor.shape.len() == 4).map(|(_, tensor)| tensor).collect();
    assert_eq!((weights.len(), weights[0]), (2, weights[1]));
    let sums: Vec<&Entry> = found.model.layers.iter().filter(|entry| entry.kind == LayerKind::Add).collect();
    let from = |at: usize| sums[at].from.iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!((from(1), from(2)), (vec!["s", "r"], vec!["t", "t"]));
}

#[test]
fn weights_that_many_layers_share_and_constants_that_grow_take_no_memory_on_a_files_word() {
    let mut nodes = vec![node("Flatten", &["x"], "v0", vec![])];
    let n = 5000;
    nodes.extend((0..n).map(|at| node("MatMul", &[&format!("v{at}"), "w0"], &format!("v{}", at + 1), vec![])));
    nodes.push(node("Identity", &[&format!("v{n}")], "y", vec![]));
    let found = problems(&model(nodes, vec![tensor("w0", &[16, 16])]));
    assert!(found.contains("layers share the file's weights more than 64 times over"), "{found}");
    let mut nodes: Vec<Node> = (0..40)
        .map(|at| {
            node("Concat", &[&format!("w{at}"), &format!("w{at}")], &format!("w{}", at + 1), vec![int("axis", 0)])
        })
        .collect();
    nodes.push(node("Mul", &["x", "w40"], "y", vec![]));
    let found = problems(&model(nodes, vec![tensor("w0", &[4])]));
    assert!(found.contains("constants that are computed have more than 8 times the file's values"), "{found}");
    let nodes = vec![node("Expand", &["w", "s"], "e", vec![]), node("Mul", &["x", "e"], "y", vec![])];
    let found = problems(&model(nodes, vec![tensor("w", &[1]), integers("s", &[1 << 40, 1 << 40])]));
    assert!(found.contains("node `n-e` (Expand): a constant of"), "{found}");
}

#[test]
fn a_vector_takes_the_shape_of_the_data_sets_images() {
    let mut model = model(vec![node("MatMul", &["x", "w"], "y", vec![])], vec![tensor("w", &[16, 3])]);
    model.graph.as_mut().unwrap().input[0] = value("x", &[Some(1), Some(16)]);
    let store = Store::new(Path::new("x.onnx"));
    let found = layers_of(&model, &store, Some([1, 4, 4]), None).unwrap();
    assert_eq!((found.model.input, found.model.layers.len()), ([1, 4, 4], 2));
    assert_eq!(found.tensors["1.bias"].values, [0.0; 3]);
    let other = layers_of(&model, &store, Some([1, 5, 5]), None).unwrap_err().join("");
    assert!(other.contains("its input is a vector of 16, and the data set has images of 1×5×5"), "{other}");
}

fn architecture(input: [usize; 3], kinds: &[LayerKind]) -> Architecture {
    Architecture::new(input, kinds).unwrap()
}

#[test]
fn a_network_that_differs_from_the_configurations_in_more_than_dropout_is_refused() {
    let found = layers(&conv(vec![], 4));
    let with = |extra: LayerKind| {
        let mut kinds = kinds(&found);
        kinds.insert(2, extra);
        fit(&found.model, found.tensors.clone(), &architecture(found.model.input, &kinds))
    };
    let (renamed, zeros) = with(LayerKind::Dropout { rate: 0.5 }).unwrap();
    assert_eq!(zeros, [""; 0]);
    assert_eq!(renamed["4.weight"], found.tensors["3.weight"]);
    let other = with(LayerKind::AvgPool(Window::square(1, 1))).unwrap_err();
    assert!(
        other.contains("its network is 1×4×4-1c3-3, and the configuration's another one, 1×4×4-1c3-ap1-3"),
        "{other}"
    );
    // Padding is not in the short form.
    let [LayerKind::Conv2d(conv), ..] = kinds(&found)[..] else { panic!("{:?}", found.model) };
    let padded = LayerKind::Conv2d(Conv2d { padding: [1; 4], ..conv });
    let kinds = [&[padded], &kinds(&found)[1..]].concat();
    let other = fit(&found.model, found.tensors.clone(), &architecture(found.model.input, &kinds)).unwrap_err();
    assert!(other.contains("kernel = 3, stride = 1, padding = 0") && other.contains("padding = 1"), "{other}");
}

#[test]
fn residual_blocks_of_a_configuration_are_found_in_a_file_whatever_the_order_of_its_sums() {
    let conv =
        |input: &str, weight: &str, output: &str| node("Conv", &[input, weight], output, vec![ints("pads", &[1; 4])]);
    let of = |sum: [&str; 2]| {
        let head = vec![
            conv("x", "k", "a"),
            node("Relu", &["a"], "r", vec![]),
            conv("r", "k1", "c1"),
            node("Relu", &["c1"], "r1", vec![]),
            conv("r1", "k2", "c2"),
            node("Add", &sum, "s", vec![]),
            node("Relu", &["s"], "h", vec![]),
        ];
        let tensors = ["k", "k1", "k2"].iter().zip([1.0, 2.0, 3.0]);
        let tensors = tensors.map(|(name, value)| values(name, &[1, 1, 3, 3], &[value; 9])).collect();
        layers(&with_head(head, tensors, 16))
    };
    let same = LayerKind::Conv2d(Conv2d { bias: false, ..Conv2d::square(1, 3, 1, 1) });
    let block = LayerKind::Residual { body: vec![same.clone(), LayerKind::Relu, same.clone()], shortcut: Vec::new() };
    let kinds =
        [same.clone(), LayerKind::Relu, block, LayerKind::Relu, LayerKind::Flatten, LayerKind::Dense { units: 3 }];
    let ours = architecture([1, 4, 4], &kinds);
    for sum in [["c2", "r"], ["r", "c2"]] {
        let found = of(sum);
        let (tensors, _) = fit(&found.model, found.tensors, &ours).unwrap();
        let first = |name: &str| tensors[name].values[0];
        assert_eq!([first("0.weight"), first("2.body.0.weight"), first("2.body.2.weight")], [1.0, 2.0, 3.0]);
    }
    // The same layers wired in another way are another network.
    let found = of(["c2", "c1"]);
    let error = fit(&found.model, found.tensors, &ours).unwrap_err();
    assert!(error.contains("and the configuration's another one"), "{error}");
}

#[test]
fn a_bias_that_only_the_configuration_has_is_zeros_and_one_that_only_the_file_has_is_not_dropped() {
    let found = layers(&conv(vec![], 4));
    let [LayerKind::Conv2d(theirs), ..] = kinds(&found)[..] else { panic!("{:?}", found.model) };
    let with = |bias: bool, tensors: BTreeMap<String, TensorF32>| {
        let mut kinds = kinds(&found);
        kinds[0] = LayerKind::Conv2d(Conv2d { bias, ..theirs });
        let model = ModelSection { layers: kinds.iter().cloned().map(Entry::from).collect(), ..found.model.clone() };
        kinds[0] = LayerKind::Conv2d(Conv2d { bias: !bias, ..theirs });
        fit(&model, tensors, &architecture(model.input, &kinds))
    };
    let mut without = found.tensors.clone();
    without.remove("0.bias");
    let (tensors, zeros) = with(false, without.clone()).unwrap();
    assert_eq!((&tensors["0.bias"].values[..], &zeros[..]), (&[0.0][..], &["0.bias".to_owned()][..]));
    assert_eq!(tensors["0.weight"], found.tensors["0.weight"]);
    let mut with_bias = without;
    with_bias.insert("0.bias".to_owned(), TensorF32 { shape: vec![1], values: vec![2.0] });
    let error = with(true, with_bias).unwrap_err();
    assert!(error.contains("the bias `0.bias`, and the configuration says bias = false"), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(Path::new("x.onnx"), bytes, None, None).is_err());
    }
}
