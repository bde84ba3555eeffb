use proptest::prelude::*;
use prost::bytes::Bytes;

use super::proto::{
    Attribute, Dimension, Entry, Graph, Node, OperatorSet, Shape, Tensor, TensorType, Type, ValueInfo, data_type, kind,
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
    layers_of(model, &Store::new(Path::new("x.onnx")), None).unwrap()
}

fn problems(model: &Model) -> String {
    layers_of(model, &Store::new(Path::new("x.onnx")), None).unwrap_err().join("\n")
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

/// An operator between a convolution and the last layer.
fn after_conv(op_type: &str, input: &[&str], attributes: Vec<Attribute>, tensors: Vec<Tensor>) -> String {
    let head = vec![
        node("Conv", &["x", "k"], "c", vec![]),
        node("Relu", &["c"], "r", vec![]),
        node(op_type, &[&["r"], input].concat(), "h", attributes),
    ];
    problems(&with_head(head, [vec![tensor("k", &[1, 1, 3, 3])], tensors].concat(), 4))
}

#[test]
fn weights_are_transposed_where_the_file_has_them_by_inputs() {
    let found = layers(&with_head(vec![node("Identity", &["x"], "h", vec![])], vec![], 16));
    assert_eq!(found.model.input, [1, 4, 4]);
    assert_eq!(found.model.layers, [LayerKind::Flatten, LayerKind::Dense { units: 3 }]);
    // Row r and column c of the file hold (3r + c + 1)/8.
    let weight = &found.tensors["1.weight"];
    assert_eq!((weight.shape.as_slice(), &weight.values[..3]), (&[3, 16][..], &[0.125, 0.5, 0.875][..]));
    assert_eq!(found.tensors["1.bias"].values, [0.125, 0.25, 0.375]);
}

#[test]
fn a_padding_that_keeps_the_size_is_half_an_odd_kernel() {
    for attribute in [ints("pads", &[1; 4]), text("auto_pad", "SAME_UPPER")] {
        let found = layers(&conv(vec![attribute], 16));
        let LayerKind::Conv2d(conv) = &found.model.layers[0] else { panic!("{:?}", found.model) };
        assert_eq!((conv.kernel, conv.padding, conv.stride, conv.bias), (3, 1, 1, false));
    }
}

#[test]
fn a_sum_with_a_constant_is_the_bias_of_the_weights_before_it() {
    let head = vec![
        node("Conv", &["x", "k"], "c", vec![]),
        node("Add", &["c", "s"], "d", vec![]),
        node("Relu", &["d"], "h", vec![]),
    ];
    let found = layers(&with_head(head, vec![tensor("k", &[1, 1, 3, 3]), tensor("s", &[1, 1, 1, 1])], 4));
    assert_eq!(found.tensors["0.bias"].values, [0.125]);
    assert!(matches!(&found.model.layers[0], LayerKind::Conv2d(conv) if conv.bias));
}

#[test]
fn what_is_not_there_is_refused_by_node_and_operator() {
    let cases = [
        (problems(&conv(vec![ints("dilations", &[2, 2])], 1)), "node `n-c` (Conv): dilations [2, 2]"),
        (problems(&conv(vec![ints("pads", &[0, 1, 0, 1])], 8)), "node `n-c` (Conv): pads [0, 1, 0, 1] differ"),
        (problems(&conv(vec![ints("strides", &[1, 2])], 2)), "node `n-c` (Conv): strides differ"),
        (problems(&conv(vec![ints("strides", &[0, 0])], 2)), "strides [0, 0]; it needs two numbers from 1"),
        (problems(&conv(vec![ints("pads", &[-1; 4])], 2)), "pads [-1, -1, -1, -1]; it needs four numbers"),
        (problems(&conv(vec![int("group", 0)], 4)), "its groups do not divide its 1 channels"),
        (
            problems(&conv(vec![text("auto_pad", "SAME_LOWER"), ints("strides", &[2, 2])], 4)),
            "auto_pad SAME_LOWER pads one side",
        ),
        (problems(&conv(vec![ints("kernel_shape", &[5, 5])], 4)), "kernel_shape [5, 5] is not that of its weights"),
        (problems(&conv(vec![int("mystery", 1)], 4)), "node `n-c` (Conv): attribute `mystery` is not understood"),
        (problems(&conv(vec![int("strides", 1)], 4)), "attribute `strides` is of kind 2 where 7 is needed"),
        (problems(&conv(vec![], 5)), "node `n-y` (Gemm): its weights [5, 3] are for 5 inputs, and it has 4"),
        (
            after_conv("Sigmoid", &[], vec![], vec![]),
            "node `n-h` (Sigmoid): has no counterpart; integrate-and-fire neurons",
        ),
        (after_conv("NoSuchThing", &[], vec![], vec![]), "node `n-h` (NoSuchThing): has no counterpart; only Add"),
        (
            after_conv("Mul", &["s"], vec![], vec![scalar("s", 2.0)]),
            "node `n-h` (Mul): computes with constants between layers",
        ),
        (after_conv("Mul", &["r"], vec![], vec![]), "node `n-h` (Mul): computes with two results"),
        (after_conv("Add", &["r"], vec![], vec![]), "node `n-h` (Add): adds a result to itself"),
        (after_conv("Softmax", &[], vec![], vec![]), "node `n-h` (Softmax): is not over classes"),
        (
            after_conv("MaxPool", &[], vec![ints("kernel_shape", &[2, 2]), ints("pads", &[1; 4])], vec![]),
            "node `n-h` (MaxPool): has padding; pools are without",
        ),
        (
            after_conv("AveragePool", &[], vec![ints("kernel_shape", &[2, 1])], vec![]),
            "node `n-h` (AveragePool): its window is not square",
        ),
        (
            after_conv(
                "AveragePool",
                &[],
                vec![ints("kernel_shape", &[1, 1]), ints("strides", &[3, 3]), int("ceil_mode", 1)],
                vec![],
            ),
            "ceil_mode lets windows stick out of its 2×2 input",
        ),
        (after_conv("ReduceMean", &[], vec![ints("axes", &[1])], vec![]), "means over the axes [1]"),
        (after_conv("Flatten", &[], vec![int("axis", 2)], vec![]), "flattens from axis 2"),
        (
            after_conv("Reshape", &["s"], vec![], vec![integers("s", &[-1, 2, 2, 1])]),
            "reshapes [1, 2, 2] of each sample to [-1, 2, 2, 1]",
        ),
        (
            after_conv(
                "BatchNormalization",
                &["s", "s", "s", "s"],
                vec![int("training_mode", 1)],
                vec![tensor("s", &[1])],
            ),
            "is in training mode; export the network with net.eval()",
        ),
        (
            after_conv("BatchNormalization", &["s", "s", "s", "s"], vec![], vec![tensor("s", &[1])]),
            "node `n-h` (BatchNormalization): as batch-norm: does not follow a weighted layer",
        ),
        (
            after_conv("Dropout", &["", "t"], vec![], vec![Tensor { dims: vec![], ..integers("t", &[1]) }]),
            "node `n-h` (Dropout): is in training mode",
        ),
        (
            after_conv("Pad", &["s"], vec![], vec![integers("s", &[0, 0, 1, 1, 0, 0, 1, 1])]),
            "node `n-h` (Pad): pads by [0, 0, 1",
        ),
        (after_conv("Squeeze", &["s"], vec![], vec![integers("s", &[2, 3])]), "squeezes axes [2, 3] of [1, 2, 2]"),
        (after_conv("Cast", &[], vec![int("to", 1)], vec![]), "node `n-h` (Cast): changes the type"),
        (after_conv("Concat", &["r"], vec![int("axis", 1)], vec![]), "node `n-h` (Concat): joins results"),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "expected {expected}\nfound {found}");
    }
}

#[test]
fn every_operator_without_a_counterpart_is_named_at_once() {
    let head = vec![node("Tanh", &["x"], "a", vec![]), node("Clip", &["a"], "h", vec![])];
    let mut model = with_head(head, vec![], 16);
    model.graph.as_mut().unwrap().node[1].domain = "com.example".to_owned();
    let found = problems(&model);
    assert!(
        found.contains("`n-a` (Tanh)") && found.contains("`n-h` (Clip): has no counterpart of `com.example`"),
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
        (vec![node("Relu", &[], "y", vec![])], "node `n-y` (Relu): has no input 0"),
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
            change(&|model| graph(model).input[0] = value("x", &[None, Some(4), Some(4)])),
            "it needs dimensions [N, C, H, W]",
        ),
        (
            change(&|model| graph(model).input.push(value("z", &[]))),
            "a network has one input, and the file gives `x`, `z`",
        ),
        (
            change(&|model| graph(model).output.push(value("f", &[]))),
            "a network has one output, and the file gives `y`, `f`",
        ),
        (change(&|model| graph(model).input.clear()), "a network has one input, and the file gives none"),
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
    let entry = |key: &str, value: &str| Entry { key: key.to_owned(), value: value.to_owned() };
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

/// Constants before a convolution with or without padding, with its weights and bias.
fn normalised(operator: &str, constant: Tensor, pads: i64) -> Result<(Vec<f32>, Option<f32>), String> {
    let head = vec![
        node(operator, &["x", "s"], "n", vec![]),
        node("Conv", &["n", "k"], "c", vec![ints("pads", &[pads; 4])]),
        node("Relu", &["c"], "h", vec![]),
    ];
    let size = 2 + 2 * pads;
    let model =
        with_head(head, vec![Tensor { name: "s".to_owned(), ..constant }, tensor("k", &[1, 1, 3, 3])], size * size);
    let found = layers_of(&model, &Store::new(Path::new("x.onnx")), None).map_err(|problems| problems.join("\n"))?;
    let bias = found.tensors.get("0.bias").map(|bias| bias.values[0]);
    Ok((found.tensors["0.weight"].values.clone(), bias))
}

#[test]
fn constants_before_the_first_weights_are_folded_where_that_is_exact() {
    let kernel: Vec<f32> = tensor("k", &[9]).float_data;
    let halved: Vec<f32> = kernel.iter().map(|value| value / 2.0).collect();
    // The kernel's sum is 45/8.
    assert_eq!(normalised("Sub", scalar("s", 2.0), 0), Ok((kernel.clone(), Some(-45.0 / 4.0))));
    assert_eq!(normalised("Div", scalar("s", 2.0), 0), Ok((halved.clone(), None)));
    // Zeros stay zeros when they are multiplied, so padding is no hindrance to that.
    assert_eq!(normalised("Div", Tensor { dims: vec![1, 1, 1], ..scalar("s", 2.0) }, 1), Ok((halved, None)));
    let shifted = normalised("Sub", scalar("s", 2.0), 1).unwrap_err();
    assert!(shifted.contains("node `n-n` (Sub): shifts the input of a convolution that pads with zeros"), "{shifted}");
    let pixels = normalised("Sub", tensor("s", &[4, 4]), 0).unwrap_err();
    assert!(pixels.contains("node `n-n` (Sub): its constant has the shape [4, 4]"), "{pixels}");
    let infinite = normalised("Div", scalar("s", 0.0), 0).unwrap();
    assert!(infinite.0[0].is_infinite(), "found out with every other weight that is not finite");
}

#[test]
fn blocks_within_blocks_are_refused() {
    let conv = |input: &str, output: &str| node("Conv", &[input, "k"], output, vec![ints("pads", &[1; 4])]);
    let head = vec![
        conv("x", "a"),
        node("Relu", &["a"], "r", vec![]),
        conv("r", "c"),
        node("Add", &["c", "r"], "s", vec![]),
        node("Add", &["s", "r"], "t", vec![]),
        node("Relu", &["t"], "h", vec![]),
    ];
    let found = problems(&with_head(head, vec![tensor("k", &[1, 1, 3, 3])], 16));
    assert!(found.contains("node `n-t` (Add): adds branches that do not start at one place"), "{found}");
}

#[test]
fn a_vector_takes_the_shape_of_the_data_sets_images() {
    let mut model = model(vec![node("MatMul", &["x", "w"], "y", vec![])], vec![tensor("w", &[16, 3])]);
    model.graph.as_mut().unwrap().input[0] = value("x", &[Some(1), Some(16)]);
    let store = Store::new(Path::new("x.onnx"));
    let found = layers_of(&model, &store, Some([1, 4, 4])).unwrap();
    assert_eq!((found.model.input, found.model.layers.len()), ([1, 4, 4], 2));
    assert_eq!(found.tensors["1.bias"].values, [0.0; 3]);
    let other = layers_of(&model, &store, Some([1, 5, 5])).unwrap_err().join("");
    assert!(other.contains("its input is a vector of 16, and the data set has images of 1×5×5"), "{other}");
}

#[test]
fn a_network_that_differs_from_the_configurations_in_more_than_dropout_is_refused() {
    let found = layers(&conv(vec![], 4));
    let with = |extra: LayerKind| {
        let mut kinds = found.model.layers.clone();
        kinds.insert(2, extra);
        fit(&found.model, found.tensors.clone(), &Architecture::new(found.model.input, &kinds).unwrap())
    };
    let (renamed, zeros) = with(LayerKind::Dropout { rate: 0.5 }).unwrap();
    assert_eq!(zeros, [""; 0]);
    assert_eq!(renamed["4.weight"], found.tensors["3.weight"]);
    let other = with(LayerKind::AvgPool(model::architecture::Window { kernel: 1, stride: 1 })).unwrap_err();
    assert!(
        other.contains("its network is 1×4×4-1c3-3, and the configuration's another one, 1×4×4-1c3-ap1-3"),
        "{other}"
    );
    // Padding is not in the short form.
    let [LayerKind::Conv2d(conv), ..] = found.model.layers[..] else { panic!("{:?}", found.model) };
    let padded = LayerKind::Conv2d(Conv2d { padding: 1, ..conv });
    let kinds = [&[padded], &found.model.layers[1..]].concat();
    let other = fit(&found.model, found.tensors.clone(), &Architecture::new(found.model.input, &kinds).unwrap());
    let other = other.unwrap_err();
    assert!(other.contains("kernel = 3, stride = 1, padding = 0") && other.contains("padding = 1"), "{other}");
}

#[test]
fn a_bias_that_only_the_configuration_has_is_zeros_and_one_that_only_the_file_has_is_not_dropped() {
    let found = layers(&conv(vec![], 4));
    let [LayerKind::Conv2d(theirs), ..] = found.model.layers[..] else { panic!("{:?}", found.model) };
    let with = |bias: bool, tensors: BTreeMap<String, TensorF32>| {
        let mut kinds = found.model.layers.clone();
        kinds[0] = LayerKind::Conv2d(Conv2d { bias, ..theirs });
        let model = ModelSection { layers: kinds, ..found.model.clone() };
        let ours = LayerKind::Conv2d(Conv2d { bias: !bias, ..theirs });
        let kinds = [&[ours, LayerKind::Relu], &model.layers[2..]].concat();
        fit(&model, tensors, &Architecture::new(model.input, &kinds).unwrap())
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
        prop_assert!(read(Path::new("x.onnx"), bytes, None).is_err());
    }
}
