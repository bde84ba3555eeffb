#!/usr/bin/env bash
# neurobench 2.3.0 counts a network's MACs and ACs differently for another batch size: the values in a batch decide which they are.
#
# SynapticOperations tells multiply-accumulates (MAC), of layers that receive numbers, from accumulates (AC), of layers that receive
# spikes. It decides so at each call, by what happens to be in the batch: if all inputs of a layer are 0, 1 or −1 they are spikes, and all its
# operations ACs; a single other value makes all of them MACs, those for the spikes of other samples too. So the same network on the same
# data has other MACs and ACs (and another energy, where they are weighed) if the loader's batch size differs, or its order.
#
# Seen on 2026-12-01, Linux x86-64. One Linear(4, 3); two samples of 0 and 1 and two others:
#
#   batch size 1: Effective_MACs 5.25 Effective_ACs 5.25 Dense 12.0
#   batch size 2: Effective_MACs 10.5 Effective_ACs 0.0 Dense 12.0
#   batch size 2, sorted: Effective_MACs 5.25 Effective_ACs 5.25 Dense 12.0
#   batch size 4: Effective_MACs 10.5 Effective_ACs 0.0 Dense 12.0
#
# usage: findings/neurobench-synaptic-operations-depend-on-batch-size.sh      needs Python 3.11 with venv, and 6 GB of room, since torch for
# Linux brings CUDA along; exits with 0 while this is so
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --no-compile torch==2.15.0 neurobench==2.3.0 snntorch==1.0.0
venv/bin/python - <<'PYTHON' | tee found
from importlib.metadata import version

import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.workload import SynapticOperations
from neurobench.models import TorchModel
from torch.utils.data import DataLoader, TensorDataset

SAMPLES = [[1.0, 0.0, 1.0, 1.0], [0.5, 0.25, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]]
SORTED = sorted(SAMPLES, key=lambda sample: set(sample) <= {0.0, 1.0})


def operations(samples, batch_size):
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(4, 3))
    data = TensorDataset(torch.tensor(samples), torch.zeros(len(samples)))
    benchmark = Benchmark(TorchModel(network), DataLoader(data, batch_size), [], [], [[], [SynapticOperations]])
    counts = benchmark.run(quiet=True)["SynapticOperations"]
    return " ".join(f"{name} {count}" for name, count in counts.items())


print("neurobench", version("neurobench"))
print("batch size 1:", operations(SAMPLES, 1))
print("batch size 2:", operations(SAMPLES, 2))
print("batch size 2, sorted:", operations(SORTED, 2))
print("batch size 4:", operations(SAMPLES, 4))
PYTHON

expect() { grep -Fqx "$1" found || { echo "no longer so: expected $1" >&2; exit 1; }; }
expect "batch size 1: Effective_MACs 5.25 Effective_ACs 5.25 Dense 12.0"
expect "batch size 2: Effective_MACs 10.5 Effective_ACs 0.0 Dense 12.0"
expect "batch size 2, sorted: Effective_MACs 5.25 Effective_ACs 5.25 Dense 12.0"
expect "batch size 4: Effective_MACs 10.5 Effective_ACs 0.0 Dense 12.0"
