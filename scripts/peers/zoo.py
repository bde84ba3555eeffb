"""For scripts/run-zoo: exports a classifier of torchvision as ONNX, or prints facts of a run.

usage: zoo.py NAME FILE.onnx
       zoo.py --facts results.json
"""

import json
import sys


def export(name, path):
    import torch
    import torchvision

    torch.manual_seed(0)
    # With its own random weights, activations of inception_v3 grow to 10⁸, which no exact sum of a readout holds.
    options = {"googlenet": {"init_weights": True}, "inception_v3": {"init_weights": False}}.get(name, {})
    network = getattr(torchvision.models, name)(weights=None, **options).eval()
    side = 299 if name == "inception_v3" else 224
    torch.onnx.export(network, (torch.rand(1, 3, side, side),), path, dynamo=True, external_data=False, verbose=False)


def facts(path):
    run = json.load(open(path))["run"]
    layers = run["conversion"]["layers"]
    neurons = sum(layer["n_neurons"] for layer in layers)
    operations = run["simulation"]["seeds"][0]["synaptic_operations"][-1]
    print(f"{len(layers)} | {neurons / 1e6:.1f} M | {operations / 1e9:.2f} G", end="")


if sys.argv[1] == "--facts":
    facts(sys.argv[2])
else:
    export(sys.argv[1], sys.argv[2])
