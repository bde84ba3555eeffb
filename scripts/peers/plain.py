"""Runs an exported network (`convert --export plain`) with NumPy and safetensors alone: what its description says, and no more.

Networks with max pools, and runs so long that potentials need limits, are refused; the format is in crates/export/src/plain.rs.
"""

import json
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import load_file


class Plain:
    """A network from `snn-plain.json`."""

    def __init__(self, path: Path) -> None:
        self.net = json.loads(path.read_text())
        self.tensors = load_file(path.parent / self.net["tensors"])
        for layer in self.net["layers"]:
            if "potential_limit" in layer or any(synapses["max_pools"] for synapses in layer["connections"]):
                raise NotImplementedError(f"{path}: {layer['name']} has a max pool or potentials with limits")

    def image(self, name: str) -> np.ndarray:
        """A tensor `[C]` as `[C, 1, 1]`."""
        return self.tensors[name][:, None, None]

    def currents(self, x: np.ndarray, synapses: dict) -> np.ndarray:
        """Currents of one connection, for the values `[C, H, W]` of its source."""
        for pool in synapses["sum_pools"]:
            down, across = pool["stride"]
            x = sliding_window_view(x, pool["kernel"], (1, 2))[:, ::down, ::across].sum((3, 4))
        weight, conv = self.tensors[synapses["weight"]], synapses.get("convolution")
        if conv is None:
            return (weight @ x.ravel())[:, None, None]
        size, stride, pad, groups = weight.shape[2], conv["stride"], conv["padding"], conv["groups"]
        x = sliding_window_view(np.pad(x, ((0, 0), (pad, pad), (pad, pad))), (size, size), (1, 2))[:, ::stride, ::stride]
        x, weight = x.reshape(groups, -1, *x.shape[1:]), weight.reshape(groups, -1, *weight.shape[1:])
        return np.einsum("gihwyx,goiyx->gohw", x, weight).reshape(-1, *x.shape[2:4])

    def run(self, inputs: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Spikes `[T, C, H, W]` of each layer and potentials `[T, classes]` of the last, for spikes or pixels `[T, C, H, W]`."""
        layers = self.net["layers"]
        v = [np.broadcast_to(self.image(layer["initial_potential"]), layer["shape"]) for layer in layers]
        spikes, readout = [[] for _ in layers], []
        for x in inputs:
            values = [x.astype(np.float64)]
            for k, layer in enumerate(layers):
                flows = [(synapses["source"], self.currents(values[synapses["source"]], synapses)) for synapses in layer["connections"]]
                # Rounding changes the currents of pixels alone: those of spikes are on the grid already.
                step = self.image(layer["grid_step"])
                pixels = self.image(layer["bias"]) + sum(flow for source, flow in flows if source == 0)
                u = v[k] + np.round(pixels / step) * step + sum(flow for source, flow in flows if source > 0)
                s = (u >= self.net["threshold"]) & layer["fires"]
                v[k] = np.where(s, u - self.net["threshold"] if self.net["reset"] == "subtract" else 0, u)
                values.append(s.astype(np.float64))
                spikes[k].append(s)
            readout.append(v[-1].ravel())
        return [np.stack(train) for train in spikes], np.stack(readout)


def encode(pixels: np.ndarray, encoding: str, steps: int) -> np.ndarray:
    """What goes in at each step, `[T, C, H, W]`; Poisson and systematic spikes come from a recording."""
    if encoding == "constant":
        return np.broadcast_to(pixels, (steps, *pixels.shape))
    if encoding == "regular":
        counts = [np.floor(t * pixels.astype(np.float64) + 0.5) for t in range(steps + 1)]
        return np.diff(counts, axis=0)
    raise NotImplementedError(f"{encoding} input is random; take its spikes from `simulate --record`")
