#!/usr/bin/env bash
# Lava 0.10.0's fixed-point Dense floors every weight to an even number once any weight of the layer is of the other sign.
#
# Dense is Lava's usual connection between two layers, and fixed_pt its bit-accurate model of Loihi 2, with weights of 8 bits. Whole
# numbers of −128 to 127 pass through unchanged while none is negative, or none positive. With a single weight of the other sign one bit
# goes to the sign: 1 becomes 0, −1 becomes −2, 127 becomes 126, without a word; as they are floored, a layer's weights sink by 0.5 on the
# average. What survives are even numbers of −256 to 254, so weights that were quantised to int8 elsewhere have to be doubled, and the
# layer's thresholds and biases with them. The floating-point model keeps all weights.
#
# Seen on 2026-12-01, Linux x86-64. One input that spikes, a neuron for each weight, what the neurons receive:
#
#   weights     [1, 2, 3, 127]
#   floating_pt [1, 2, 3, 127]
#   fixed_pt    [1, 2, 3, 127]
#   weights     [1, 2, 3, 127, -1]
#   floating_pt [1, 2, 3, 127, -1]
#   fixed_pt    [0, 2, 2, 126, -2]
#   weights     [-1, -2, -3, -127]
#   floating_pt [-1, -2, -3, -127]
#   fixed_pt    [-1, -2, -3, -127]
#   weights     [254, 2, -2, -256]
#   floating_pt [254, 2, -2, -256]
#   fixed_pt    [254, 2, -2, -256]
#   warnings of weights: []
#
# usage: findings/lava-fixed-point-dense-floors-weights-to-even.sh      needs Python 3.10 with venv, the only one that this Lava is for,
# as python3.10 or named by PYTHON; exits with 0 while this is so
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3.10}" -m venv venv
venv/bin/pip install --quiet lava-nc==0.10.0 numpy==1.26.4
cat >probe.py <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source


def received(model, weights):
    source = Source(data=np.array([[1, 0]]))
    dense = Dense(weights=np.array(weights).reshape(-1, 1))
    sink = Sink(shape=(len(weights),), buffer=2)
    source.s_out.connect(dense.s_in)
    dense.a_out.connect(sink.a_in)
    sink.run(condition=RunSteps(num_steps=2), run_cfg=Loihi2SimCfg(select_tag=model))
    # What was sent in the first step arrives in the second.
    outputs = sink.data.get()[:, 1].astype(int).tolist()
    sink.stop()
    return outputs


# Lava's processes are processes of the operating system, so that this has to be a file with a guard.
if __name__ == "__main__":
    print("lava-nc", version("lava-nc"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for weights in ([1, 2, 3, 127], [1, 2, 3, 127, -1], [-1, -2, -3, -127], [254, 2, -2, -256]):
            print("weights    ", weights)
            for model in ("floating_pt", "fixed_pt"):
                print(f"{model:11}", received(model, weights))
    messages = [str(warning.message) for warning in caught]
    print("warnings of weights:", [message for message in messages if "weight" in message.lower()])
PYTHON
venv/bin/python probe.py | tee found

expect() { grep -Fqx -- "$1" found || { echo "no longer so: expected $1" >&2; exit 1; }; }
expect "fixed_pt    [1, 2, 3, 127]"
expect "floating_pt [1, 2, 3, 127, -1]"
expect "fixed_pt    [0, 2, 2, 126, -2]"
expect "fixed_pt    [-1, -2, -3, -127]"
expect "fixed_pt    [254, 2, -2, -256]"
expect "warnings of weights: []"
