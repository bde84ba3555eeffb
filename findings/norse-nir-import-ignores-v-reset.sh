#!/usr/bin/env bash
# Norse 1.1.0 reads a NIR graph without the neurons' v_reset: they return to 0 whatever the graph says, without a word.
#
# NIR 1.0.8 defines of an IF neuron that its potential becomes v_reset after a spike, and of a LIF neuron likewise. Norse builds both
# with its own default of 0, so that a network spikes more often or less often than in the tool that it comes from. It does warn of an
# `r` other than 1, which it ignores too, but not of v_reset.
#
# Seen on 2026-12-01, Linux x86-64. 64 steps of dt = 1; a constant 0.375 into an IF, 8 into a LIF with tau = 20; threshold 1:
#
#   IF  v_reset -1.0 NIR 11 norse 21
#   IF  v_reset  0.0 NIR 21 norse 21
#   IF  v_reset  0.5 NIR 31 norse 21
#   LIF v_reset -1.0 NIR 13 norse 21
#   LIF v_reset  0.0 NIR 21 norse 21
#   LIF v_reset  0.5 NIR 31 norse 21
#   messages about a reset: []
#
# usage: findings/norse-nir-import-ignores-v-reset.sh      needs Python 3.11 with venv, and 6 GB of room, since torch for Linux brings
# CUDA along; exits with 0 while this is so
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --no-compile torch==2.15.0 torchvision==0.29.2 norse==1.1.0 nir==1.0.8 nirtorch==2.6 numpy==2.4.6
venv/bin/python - <<'PYTHON' | tee found
import logging
import warnings
from importlib.metadata import version

import nir
import norse
import numpy as np
import torch

STEPS = 64
THRESHOLD = 1.0
TAU = 20.0


def graph(kind, v_reset):
    one = np.ones(1, np.float32)
    neuron = {
        "IF": lambda: nir.IF(r=one, v_threshold=THRESHOLD * one, v_reset=v_reset * one),
        "LIF": lambda: nir.LIF(tau=TAU * one, r=one, v_leak=0 * one, v_threshold=THRESHOLD * one, v_reset=v_reset * one),
    }[kind]()
    return nir.NIRGraph.from_list(nir.Affine(weight=np.eye(1, dtype=np.float32), bias=0 * one), neuron)


def as_defined(kind, v_reset, current):
    v, n_spikes = 0.0, 0
    for _ in range(STEPS):
        v += current if kind == "IF" else (current - v) / TAU
        if v > THRESHOLD:
            v, n_spikes = v_reset, n_spikes + 1
    return n_spikes


said = []
logging.getLogger().addHandler(type("Keep", (logging.Handler,), {"emit": lambda self, record: said.append(record.getMessage())})())


def in_norse(kind, v_reset, current):
    network = norse.torch.from_nir(graph(kind, v_reset), dt=1.0)
    n_spikes, state = 0, None
    with torch.no_grad():
        for _ in range(STEPS):
            spikes, state = network(torch.full((1, 1), current), state)
            n_spikes += int(spikes.sum())
    return n_spikes


print("norse", version("norse"), "nir", version("nir"))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for kind, current in (("IF", 0.375), ("LIF", 8.0)):
        for v_reset in (-1.0, 0.0, 0.5):
            print(f"{kind:3} v_reset {v_reset:4.1f} NIR {as_defined(kind, v_reset, current)} norse {in_norse(kind, v_reset, current)}")
said += [str(warning.message) for warning in caught]
print("messages about a reset:", [message for message in said if "reset" in message])
PYTHON

expect() { grep -Fqx "$1" found || { echo "no longer so: expected $1" >&2; exit 1; }; }
expect "IF  v_reset -1.0 NIR 11 norse 21"
expect "IF  v_reset  0.5 NIR 31 norse 21"
expect "LIF v_reset -1.0 NIR 13 norse 21"
expect "LIF v_reset  0.5 NIR 31 norse 21"
expect "messages about a reset: []"
