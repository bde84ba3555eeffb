#!/usr/bin/env bash
# snnTorch 1.0.0 reads the integrate-and-fire neuron (IF) of a NIR graph as a leaky one that loses a tenth of its potential each step.
#
# NIR 1.0.8 defines IF without a leak, with a return to v_reset after a spike. snnTorch makes a Leaky with beta = 0.9 of it, which resets by
# subtraction. So weak inputs, below a tenth of the threshold, never cause a spike, and strong ones cause more than they should. It does
# raise an error for an `r` other than 1, but says nothing of the leak or the reset.
#
# Seen on 2026-12-01, Linux x86-64. Spikes in 64 steps, constant input, threshold 1, v_reset 0:
#
#   input 0.0625 NIR 3 snntorch 0
#   input 0.125 NIR 7 snntorch 4
#   input 0.25 NIR 12 snntorch 12
#   input 0.5 NIR 21 snntorch 29
#   imported: Leaky, beta 0.9, reset_mechanism subtract
#   messages about a leak or reset: []
#
# usage: findings/snntorch-reads-nir-if-as-leaky.sh      needs Python 3.11 with venv, and 6 GB of room, since torch for Linux brings CUDA
# along; exits with 0 while this is so
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --no-compile torch==2.15.0 snntorch==1.0.0 nir==1.0.8 nirtorch==2.6 numpy==2.4.6
venv/bin/python - <<'PYTHON' | tee found
import contextlib
import io
import logging
import warnings
from importlib.metadata import version

import nir
import numpy as np
import snntorch
import torch
from snntorch.import_nir import import_from_nir

N_STEPS = 64
THRESHOLD = 1.0
INPUTS = (0.0625, 0.125, 0.25, 0.5)

said = io.StringIO()
logging.basicConfig(stream=said, level=logging.DEBUG)
logging.captureWarnings(True)
warnings.simplefilter("always")


def imported():
    one = np.ones(1, np.float32)
    neuron = nir.IF(r=one, v_threshold=THRESHOLD * one, v_reset=0 * one)
    graph = nir.NIRGraph.from_list(nir.Affine(weight=np.eye(1, dtype=np.float32), bias=0 * one), neuron)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        return import_from_nir(graph)


def as_defined(current):
    v, n_spikes = 0.0, 0
    for _ in range(N_STEPS):
        v += current
        if v > THRESHOLD:
            v, n_spikes = 0.0, n_spikes + 1
    return n_spikes


def in_snntorch(current):
    network = imported()
    n_spikes, state = 0, None
    with torch.no_grad():
        for _ in range(N_STEPS):
            # The neuron answers with its spikes and its potential, and keeps the latter.
            (spikes, _), state = network(torch.full((1, 1), current), state)
            n_spikes += int(spikes.sum())
    return n_spikes


print("snntorch", version("snntorch"), "nir", version("nir"))
for current in INPUTS:
    print("input", current, "NIR", as_defined(current), "snntorch", in_snntorch(current))
(neuron,) = (module for module in imported().modules() if isinstance(module, snntorch.SpikingNeuron))
print(f"imported: {type(neuron).__name__}, beta {float(neuron.beta):.1f}, reset_mechanism {neuron.reset_mechanism}")
messages = said.getvalue().splitlines()
print("messages about a leak or reset:", [m for m in messages if any(word in m.lower() for word in ("leak", "beta", "reset"))])
PYTHON

expect() { grep -Fqx "$1" found || { echo "no longer so: expected $1" >&2; exit 1; }; }
expect "input 0.0625 NIR 3 snntorch 0"
expect "input 0.5 NIR 21 snntorch 29"
expect "imported: Leaky, beta 0.9, reset_mechanism subtract"
expect "messages about a leak or reset: []"
