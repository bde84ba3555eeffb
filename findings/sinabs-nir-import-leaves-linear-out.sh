#!/usr/bin/env bash
# sinabs 3.1.3 reads a NIR graph without its Linear and Scale nodes: what is left runs, and no message tells of it.
#
# Linear is NIR's matrix without a bias; with a bias it is Affine, which sinabs reads. Its import answers nothing for the kinds of node that
# it does not know, and nirtorch 2.0.2, which walks the graph, leaves such nodes out. Behind a square Linear the neurons then receive the
# graph's input as if the weights were those of the identity matrix. Norse 1.1.0 and snnTorch 1.0.0 do read Linear.
#
# Seen on 2026-12-01, Linux x86-64. Weights 2 and 4 on the diagonal, threshold 1, 8 steps of 0.25, spikes of the two neurons:
#
#   Affine read: input dense if output; spikes [4, 8]
#   Linear read: input if output; spikes [2, 2]
#   Scale  read: input if output; spikes [2, 2]
#   messages that name the kind of node: []
#
# usage: findings/sinabs-nir-import-leaves-linear-out.sh      needs Python 3.11 with venv, and 6 GB of room, since torch for Linux brings
# CUDA along; exits with 0 while this is so
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
# sinabs 3.1.3 wants a nir of 1.0.4 at most.
venv/bin/pip install --quiet --no-compile torch==2.15.0 sinabs==3.1.3 nir==1.0.4 nirtorch==2.0.2 numpy==2.4.6
venv/bin/python - <<'PYTHON' | tee found
import contextlib
import io
import logging
import warnings
from importlib.metadata import version

import nir
import numpy as np
import sinabs.nir
import torch

WEIGHTS = np.array([2, 4], np.float32)

said = io.StringIO()
logging.basicConfig(stream=said, level=logging.DEBUG)
logging.captureWarnings(True)
warnings.simplefilter("always")


def graph(node):
    neurons = nir.IF(r=np.ones(2, np.float32), v_threshold=np.ones(2, np.float32))
    nodes = {"input": nir.Input(np.array([2])), "dense": node, "if": neurons, "output": nir.Output(np.array([2]))}
    return nir.NIRGraph(nodes=nodes, edges=[("input", "dense"), ("dense", "if"), ("if", "output")])


def run(graph):
    """Names of the nodes that were read, and the spikes."""
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        network = sinabs.nir.from_nir(graph, batch_size=1)
        outputs = network(torch.full((8, 2), 0.25))
    spikes = outputs[0] if isinstance(outputs, tuple) else outputs
    return " ".join(name for name, _ in network.named_children()), spikes


print("sinabs", version("sinabs"), "nir", version("nir"), "nirtorch", version("nirtorch"))
for node in (
    nir.Affine(weight=np.diag(WEIGHTS), bias=np.zeros(2, np.float32)),
    nir.Linear(weight=np.diag(WEIGHTS)),
    nir.Scale(scale=WEIGHTS),
):
    names, spikes = run(graph(node))
    print(f"{type(node).__name__:6} read: {names}; spikes {spikes.sum(0).int().tolist()}")
print("messages that name the kind of node:", [line for line in said.getvalue().splitlines() if "Linear" in line or "Scale" in line])
PYTHON

expect() { grep -Fqx "$1" found || { echo "no longer so: expected $1" >&2; exit 1; }; }
expect "Affine read: input dense if output; spikes [4, 8]"
expect "Linear read: input if output; spikes [2, 2]"
expect "Scale  read: input if output; spikes [2, 2]"
expect "messages that name the kind of node: []"
