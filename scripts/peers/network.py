"""A network that Quartic converted, and the images to run it on, as PyTorch has them.

Reads `snn.safetensors` (its layout is described in crates/snn/src/artefact.rs) and the data sets' own files. Takes networks whose
layers follow each other; a network with skip connections or max pools is refused.
"""

import copy
import gzip
import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

FORMAT = 2
"""Format of `snn.safetensors` that is understood here."""


class Unusable(Exception):
    """A file that is missing or cannot be used; the message says which and what to do."""


@dataclass
class Layer:
    """A layer of integrate-and-fire neurons, all values in thresholds."""

    name: str
    synapses: nn.Module
    """From the source's spikes `[N, C, H, W]` to currents; pools add spikes up, as Quartic's do."""
    initial_potential: Tensor
    """`[C]`, or `[C, 1, 1]` if the layer's neurons stand in an image."""
    grid_step: Tensor
    """2⁻ᵍ, shaped as the potentials: weights, biases and potentials are multiples of it."""


@dataclass
class Network:
    """A converted network; the last layer does not spike."""

    input_shape: list[int]
    """`[C, H, W]`."""
    layers: list[Layer]
    ann: dict[str, Tensor]
    """The trained network's tensors, named as in its own `nn.Sequential`."""
    ann_config: dict[str, Any]
    """`[model]` of the configuration that it was trained by."""

    def drive(self, pixels: Tensor) -> Tensor:
        """Current per step of a constant input, `[N, ...]`, computed once and rounded to the grid, as Quartic does."""
        first = self.layers[0]
        return torch.round(first.synapses(pixels) / first.grid_step) * first.grid_step

    def double(self) -> "Network":
        """The same in double precision."""

        def doubled(layer: Layer) -> Layer:
            synapses = copy.deepcopy(layer.synapses).double()
            return Layer(layer.name, synapses, layer.initial_potential.double(), layer.grid_step.double())

        return replace(self, layers=[doubled(layer) for layer in self.layers])


def read_network(path: Path) -> Network:
    """Reads and checks a converted network."""
    remedy = "make it: cargo run --release -p reproduce -- configs/paper/EXPERIMENT.toml"
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = json.loads((file.metadata() or {}).get("quartic", "{}"))
    except FileNotFoundError as error:
        raise Unusable(f"{path}: no such network; {remedy}") from error
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise Unusable(f"{path}: {error}; {remedy}") from error
    if metadata.get("format") != FORMAT:
        raise Unusable(f"{path}: format {metadata.get('format')} where {FORMAT} is needed; {remedy}")
    structure = metadata["structure"]
    layers = [_layer(path, idx, described, tensors) for idx, described in enumerate(structure["layers"])]
    ann = {name.removeprefix("ann."): tensor for name, tensor in tensors.items() if name.startswith("ann.")}
    return Network(structure["input"], layers, ann, tomllib.loads(metadata["config"])["model"])


def _layer(path: Path, idx: int, described: dict[str, Any], tensors: dict[str, Tensor]) -> Layer:
    connections = described["connections"]
    if [connection["source"] for connection in connections] != [idx]:
        raise Unusable(f"{path}: {described['name']} does not take its input from the layer before alone; use a plain network")
    [wiring] = connections
    kernel, pools = wiring["kernel"], wiring["pools"]
    if any(pool["kind"] != "mean" for pool in pools):
        raise Unusable(f"{path}: {described['name']} has a max pool; use a network with average pools")
    synapses: list[nn.Module] = [
        nn.AvgPool2d(tuple(pool["kernel"]), tuple(pool["stride"]), divisor_override=1) for pool in pools
    ]
    weight, bias = tensors[f"{idx}.0.weight"], tensors[f"{idx}.bias"]
    if weight.dim() == 2:
        synapses += [nn.Flatten(), nn.Linear(weight.shape[1], weight.shape[0])]
    else:
        shape = (kernel["input"][0], kernel["channels"], kernel["size"], kernel["stride"], kernel["padding"])
        synapses.append(nn.Conv2d(*shape, groups=kernel["groups"]))
    synapses[-1].load_state_dict({"weight": weight, "bias": bias})
    per_channel = (-1,) if weight.dim() == 2 else (-1, 1, 1)
    return Layer(
        described["name"],
        nn.Sequential(*synapses).requires_grad_(False),
        tensors[f"{idx}.initial_potential"].view(per_channel),
        torch.exp2(-tensors[f"{idx}.grid_exponent"]).view(per_channel),
    )


def read_ann(network: Network) -> nn.Sequential:
    """The trained network that was converted."""
    kinds: dict[str, Any] = {
        "conv2d": lambda given, n: nn.Conv2d(
            n, given["channels"], given["kernel"], given.get("stride", 1), given.get("padding", 0), bias=given.get("bias", True)
        ),
        "dense": lambda given, n: nn.Linear(n, given["units"], bias=given.get("bias", True)),
        "batch-norm": lambda given, n: nn.BatchNorm2d(n),
        "relu": lambda given, n: nn.ReLU(),
        "avg-pool": lambda given, n: nn.AvgPool2d(given["kernel"], given.get("stride", given["kernel"])),
        "global-avg-pool": lambda given, n: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "flatten": lambda given, n: nn.Flatten(),
        "dropout": lambda given, n: nn.Dropout(given["rate"]),
    }
    shape = torch.zeros(1, *network.ann_config["input"])
    ann = nn.Sequential()
    for given in network.ann_config["layers"]:
        if given["kind"] not in kinds:
            raise Unusable(f"the trained network has a layer of kind {given['kind']}; use a plain network")
        ann.append(kinds[given["kind"]](given, shape.shape[1]))
        with torch.no_grad():
            shape = ann[-1].eval()(shape)
    ann.load_state_dict(network.ann, strict=False)
    missing = {name for name in ann.state_dict() if not name.endswith("num_batches_tracked")} - set(network.ann)
    if missing:
        raise Unusable(f"the trained network's {', '.join(sorted(missing))} are missing; convert it again")
    return ann.eval()


def read_images(folder: Path, train: bool, n: int) -> tuple[Tensor, Tensor]:
    """The first `n` images `[N, C, H, W]`, pixels in [0, 1], and labels `[N]` of MNIST's or CIFAR-10's files."""
    remedy = f"fetch it: scripts/fetch-data {folder.name}"
    if not folder.is_dir():
        raise Unusable(f"{folder}: no such data set; {remedy}")
    try:
        if list(folder.glob("*.bin")):
            pixels, labels = _cifar(folder, train)
        else:
            prefix = "train" if train else "t10k"
            pixels, labels = _idx(folder, f"{prefix}-images-idx3-ubyte", 16), _idx(folder, f"{prefix}-labels-idx1-ubyte", 8)
            pixels = pixels.reshape(-1, 1, 28, 28)
    except (OSError, ValueError) as error:
        raise Unusable(f"{folder}: {error}; {remedy}") from error
    return torch.from_numpy(pixels[:n].astype(np.float32) / 255), torch.from_numpy(labels[:n].astype(np.int64))


def _idx(folder: Path, name: str, header: int) -> np.ndarray:
    packed = folder / f"{name}.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / name).read_bytes()
    return np.frombuffer(content, np.uint8, offset=header)


def _cifar(folder: Path, train: bool) -> tuple[np.ndarray, np.ndarray]:
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if train else ["test_batch.bin"]
    rows = np.concatenate([np.fromfile(folder / name, np.uint8) for name in names]).reshape(-1, 1 + 3 * 32 * 32)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
