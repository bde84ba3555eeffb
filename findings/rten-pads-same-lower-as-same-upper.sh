#!/usr/bin/env bash
# rten 0.27.0 pads a convolution with auto_pad = SAME_LOWER as if it said SAME_UPPER, without a word.
#
# Where the padding of a dimension is odd, ONNX puts the extra zero at the end for SAME_UPPER and at the beginning for SAME_LOWER. rten
# takes both for the first, so the outputs of a SAME_LOWER convolution are shifted by one input. onnxruntime 1.32.0 follows the
# specification.
#
# Seen on 2026-12-01, Linux x86-64. A kernel [1, 10] over [1, 2, 3, 4]; SAME_LOWER must give 0 + 10·1, 1 + 10·2, …:
#
#   SAME_UPPER onnxruntime [21.0, 32.0, 43.0, 4.0]
#   SAME_UPPER rten        [21.0, 32.0, 43.0, 4.0]
#   SAME_LOWER onnxruntime [10.0, 21.0, 32.0, 43.0]
#   SAME_LOWER rten        [21.0, 32.0, 43.0, 4.0]
#
# usage: findings/rten-pads-same-lower-as-same-upper.sh      needs Python 3.11 with venv, and cargo; exits with 0 while this is so
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PYTHON' | tee found
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

for pad in ("SAME_UPPER", "SAME_LOWER"):
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=pad, kernel_shape=[1, 2], strides=[1, 1], dilations=[1, 1], group=1)
    shape = [1, 1, 1, 4]
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array([1, 10], np.float32).reshape(1, 1, 1, 2), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, f"{pad}.onnx")
    session = onnxruntime.InferenceSession(f"{pad}.onnx", providers=["CPUExecutionProvider"])
    x = np.array([1, 2, 3, 4], np.float32).reshape(shape)
    print(pad, "onnxruntime", session.run(None, {"x": x})[0].ravel().tolist())
PYTHON

mkdir -p probe/src
cat >probe/Cargo.toml <<'TOML'
[package]
name = "probe"
version = "0.1.0"
edition = "2024"
[dependencies]
rten = { version = "=0.27.0", default-features = false, features = ["onnx_format"] }
rten-tensor = "=0.27.0"
TOML
cat >probe/src/main.rs <<'RUST'
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

fn main() {
    for pad in ["SAME_UPPER", "SAME_LOWER"] {
        let model = rten::Model::load_file(format!("../{pad}.onnx")).unwrap();
        let x = Tensor::from_data(&[1, 1, 1, 4], vec![1.0_f32, 2.0, 3.0, 4.0]);
        let outputs = model.run(vec![(model.input_ids()[0], x.view().into())], &[model.output_ids()[0]], None).unwrap();
        let y: Tensor<f32> = outputs.into_iter().next().unwrap().try_into().unwrap();
        println!("{pad} rten {:?}", y.iter().copied().collect::<Vec<f32>>());
    }
}
RUST
(cd probe && cargo run --quiet --release) | tee -a found

expect() { grep -Fqx "$1" found || { echo "no longer so: expected $1" >&2; exit 1; }; }
expect "SAME_LOWER onnxruntime [10.0, 21.0, 32.0, 43.0]"
expect "SAME_LOWER rten [21.0, 32.0, 43.0, 4.0]"
expect "SAME_UPPER rten [21.0, 32.0, 43.0, 4.0]"
