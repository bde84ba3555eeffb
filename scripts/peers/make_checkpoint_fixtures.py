"""Checkpoints in the ways in which people save them, with their weights: fixtures of the import crate's tests.

usage: python scripts/peers/make_checkpoint_fixtures.py [FOLDER]      default: crates/import/tests/fixtures/checkpoints

Writes one small file of each kind, of a fully connected network (4-3-2) or a convolutional one, and `expected.json`: for each file
the network, `--key` where one is needed, and the weights that PyTorch computes with in evaluation mode. Nothing is trained. Made
with Python 3.11, torch 2.15.0, safetensors 0.8.0, huggingface_hub 2.4.0, numpy 2.4.6, on the CPU.
"""

import argparse
import collections
import copy
import dataclasses
import datetime
import enum
import io
import json
import pathlib
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel

ROOT = Path(__file__).resolve().parents[2]


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.fc2 = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))

    def weights(self) -> dict[str, Tensor]:
        return {"1.weight": self.fc1.weight, "1.bias": self.fc1.bias, "3.weight": self.fc2.weight, "3.bias": self.fc2.bias}


class Cnn(nn.Module):
    """For images of 1×4×4."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.AvgPool2d(2))
        self.classifier = nn.Sequential(nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))

    def weights(self) -> dict[str, Tensor]:
        layers = {"0": self.features[0], "1": self.features[1], "5": self.classifier[0], "7": self.classifier[2]}
        weights = {f"{path}.{field}": getattr(layer, field) for path, layer in layers.items() for field in ["weight", "bias"]}
        norm = self.features[1]
        return weights | {"1.running_mean": norm.running_mean, "1.running_var": norm.running_var}


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Config:
    rate: float = 0.1
    path: pathlib.Path = pathlib.Path("/data")


def training_state(net: nn.Module) -> dict[str, object]:
    """What training loops keep beside the network."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.rand(2, 4)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    return {
        "epoch": 3,
        "best_acc1": torch.tensor(0.5),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs"), seed=np.int64(3)),
        "config": Config(),
        "color": Color.RED,
        "when": datetime.datetime(2026, 1, 1),
        "counts": collections.Counter([1, 2, 2]),
        "accuracy": np.float64(0.5),
        "confusion": np.zeros((2, 2)),
        "rng": torch.tensor([1, 2, 3], dtype=torch.uint8),
        "history": {"loss": [0.3, 0.2], "accuracy": [torch.tensor(0.1)]},
        "others": [None, True, 1j, 2**100, -5, b"abc", {1, 2}, frozenset([1]), slice(1, 2), torch.device("cpu"), torch.float16],
    }


class Fixtures:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected: dict[str, object] = {}

    def expect(self, name: str, net: nn.Module, weights: dict[str, Tensor] | None = None, key: str | None = None) -> None:
        weights = net.weights() if weights is None else weights
        values = {path: tensor.detach().float().flatten().tolist() for path, tensor in weights.items()}
        self.expected[name] = {"network": type(net).__name__.lower(), "key": key, "values": values}

    def save(self, name: str, net: nn.Module, content: object, **options: object) -> None:
        torch.save(content, self.folder / name, **options)
        self.expect(name, net)


def variants(fixtures: Fixtures, mlp: nn.Module) -> None:
    """Weights that are computed from others."""

    def save(name: str, change) -> None:
        net = copy.deepcopy(mlp)
        for layer in [net.fc1, net.fc2]:
            change(layer)
        # Norms are computed anew where the network is used.
        net.train()(torch.rand(3, 4))
        net.eval()(torch.rand(3, 4))
        fixtures.save(name, net, net.state_dict())

    def prune_both(layer: nn.Module) -> None:
        prune.l1_unstructured(layer, "weight", 0.4)
        prune.random_unstructured(layer, "bias", 0.4)

    def prune_directions(layer: nn.Module) -> None:
        weight_norm(layer)
        prune.l1_unstructured(layer, "weight_v", 0.3)

    save("weight-norm-old.pt", weight_norm)
    save("weight-norm.pt", parametrizations.weight_norm)
    save("weight-norm-dim-1.pt", lambda layer: parametrizations.weight_norm(layer, dim=1))
    save("weight-norm-of-all.pt", lambda layer: weight_norm(layer, dim=None))
    save("spectral-norm-old.pt", spectral_norm)
    save("spectral-norm.pt", parametrizations.spectral_norm)
    save("pruned.pt", prune_both)
    save("pruned-directions.pt", prune_directions)


def layouts(fixtures: Fixtures, mlp: nn.Module) -> None:
    """The same numbers, lying in other ways in memory and in the file."""
    state = mlp.state_dict()
    flat, views = torch.cat([value.flatten() for value in state.values()]), {}
    start = 0
    for name, value in state.items():
        views[name] = flat[start : start + value.numel()].view_as(value)
        start += value.numel()
    fixtures.save("one-storage.pt", mlp, views)
    fixtures.save("one-storage-legacy.pt", mlp, views, _use_new_zipfile_serialization=False)
    fixtures.save("strided.pt", mlp, {name: torch.stack([value, value + 1], -1)[..., 0] for name, value in state.items()})
    fixtures.save("transposed.pt", mlp, {name: value.T.contiguous().T if value.dim() == 2 else value for name, value in state.items()})
    arrays = {name: np.asfortranarray(value.numpy()) for name, value in state.items()}
    fixtures.save("numpy.pt", mlp, arrays)
    fixtures.save("numpy-5.pt", mlp, arrays, pickle_protocol=5)
    for kind in [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]:
        name = str(kind).removeprefix("torch.")
        narrow = {path: value.to(kind) for path, value in mlp.weights().items()}
        torch.save(narrow, fixtures.folder / f"{name}.pt")
        fixtures.expect(f"{name}.pt", mlp, narrow)
        save_file(narrow, fixtures.folder / f"{name}.safetensors")
        fixtures.expect(f"{name}.safetensors", mlp, narrow)


def archives(fixtures: Fixtures, mlp: nn.Module) -> None:
    """Archives that PyTorch reads, of other checksums, names and methods."""
    state = mlp.state_dict()
    torch.serialization.set_crc32_options(False)
    fixtures.save("no-crc.pt", mlp, state)
    torch.serialization.set_crc32_options(True)
    # The first entry of the directory is then as long as the 64-bit records at the end of it.
    fixtures.save("model_best_checkpoint.pt", mlp, state)
    fixtures.save("protocol-5.pt", mlp, state, pickle_protocol=5)
    for name, method in [("deflated.pt", zipfile.ZIP_DEFLATED), ("big-endian.pt", zipfile.ZIP_STORED)]:
        with zipfile.ZipFile(fixtures.folder / "protocol-5.pt") as source:
            with zipfile.ZipFile(fixtures.folder / name, "w", method) as target:
                for info in source.infolist():
                    is_marker = info.filename.endswith("byteorder") and name == "big-endian.pt"
                    # Without the time of day.
                    target.writestr(zipfile.ZipInfo(info.filename), b"big" if is_marker else source.read(info), method)
    fixtures.expect("deflated.pt", mlp)


def checkpoints(fixtures: Fixtures, mlp: nn.Module, cnn: nn.Module) -> None:
    """State dicts within others, beside others, and under wrapped names."""
    beside, state = training_state(mlp), mlp.state_dict()
    fixtures.save("training.pt", mlp, beside | {"net": state})
    fixtures.save("training-legacy.pt", mlp, beside | {"net": state}, _use_new_zipfile_serialization=False)
    lightning = {"state_dict": {f"model.{name}": value for name, value in state.items()} | {"criterion.weight": torch.ones(2)}}
    lightning |= {"callbacks": {"checkpoint": {"best_model_score": torch.tensor(0.9)}}, "loops": {"state_dict": {}}}
    fixtures.save("lightning.ckpt", mlp, lightning)
    fixtures.save("two-levels.pt", mlp, {"train": {"state": {"network": state}, "step": 3}})
    gradients = {name: torch.ones_like(value) for name, value in state.items()}
    fixtures.save("gradients.pt", mlp, {"net": state, "gradients": gradients})
    fixtures.save("tuple.pt", mlp, (3, {"net": state}))
    fixtures.save("wrapped.pt", mlp, {"state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}})
    fixtures.save("whole-and-state.pt", mlp, {"net": copy.deepcopy(mlp), "state_dict": state})
    averaged = AveragedModel(cnn)
    averaged.update_parameters(cnn)
    fixtures.save("averaged.pt", cnn, averaged.state_dict())
    fixtures.save("parts.pt", cnn, {"encoder": cnn.features.state_dict(), "head": cnn.classifier.state_dict()})
    fixtures.save("twice.pt", mlp, state | {"head.weight": state["fc2.weight"], "head.bias": state["fc2.bias"]})
    fixtures.save("whole-numbers.pt", mlp, state | {"step": torch.tensor(3), "mask": torch.tensor([True, False])})
    torch.manual_seed(4)
    other = Mlp()
    torch.save({"model": state, "model_ema": other.state_dict()}, fixtures.folder / "two.pt")
    fixtures.expect("two.pt", other, key="model_ema")
    flat = {f"online_model.{name}": value for name, value in state.items()}
    flat |= {f"ema_model.{name}": value for name, value in other.state_dict().items()} | {"initted": torch.tensor(True)}
    torch.save({"state_dict": flat}, fixtures.folder / "two-flat.pt")
    fixtures.expect("two-flat.pt", other, key="ema_model")
    names = dict(zip(["features.0", "features.1", "classifier.0", "classifier.2"], ["net.0", "net._orig_mod.1", "5.module", "7"]))
    layers = {name: name.rsplit(".", 1) for name in cnn.state_dict()}
    renamed = {f"{names[path]}.{field}": cnn.state_dict()[name] for name, (path, field) in layers.items()}
    save_file(renamed, fixtures.folder / "wrapped-within.safetensors")
    fixtures.expect("wrapped-within.safetensors", cnn)


def shards(fixtures: Fixtures, cnn: nn.Module) -> None:
    for safe, index in [(True, "model.safetensors.index.json"), (False, "pytorch_model.bin.index.json")]:
        with tempfile.TemporaryDirectory() as folder:
            save_torch_state_dict(cnn.state_dict(), folder, max_shard_size=200, safe_serialization=safe)
            for file in Path(folder).iterdir():
                shutil.copy(file, fixtures.folder)
        fixtures.expect(index, cnn)


def refused(folder: Path, mlp: nn.Module) -> None:
    """What cannot be read as it is."""
    state = mlp.state_dict()
    torch.save({"model": mlp, "epoch": 3}, folder / "whole-in-dictionary.pt")
    torch.save({name: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8) for name, value in state.items()}, folder / "quantized.pt")
    torch.save({name: (value * 100).to(torch.int8) for name, value in state.items()}, folder / "int8.pt")
    torch.save(state | {"temperature": torch.tensor(1.5)}, folder / "left-over.pt")
    net = copy.deepcopy(mlp)
    parametrizations.orthogonal(net.fc1)
    torch.save(net.state_dict(), folder / "orthogonal.pt")

    class Double(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    net = copy.deepcopy(mlp)
    parametrizations.spectral_norm(net.fc1)
    nn.utils.parametrize.register_parametrization(net.fc1, "weight", Double())
    torch.save(net.state_dict(), folder / "chained.pt")
    program = io.BytesIO()
    torch.jit.save(torch.jit.script(mlp), program)
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(folder / "torchscript.pt", "w") as target:
        # Without where the sources lay.
        for info in source.infolist():
            if not info.filename.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(info.filename.replace("archive/", "torchscript/")), source.read(info))
    weights = {name: value for name, value in state.items() if name.endswith("weight")}
    torch.save({"weights": weights, "biases": {"first": state["fc1.bias"]}}, folder / "apart.pt")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "crates/import/tests/fixtures/checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    mlp, cnn = Mlp(), Cnn()
    with torch.no_grad():
        cnn.features[1].running_mean.uniform_()
        cnn.features[1].running_var.uniform_(0.5, 2)
        cnn.features[1].weight.uniform_(0.5, 2)
    fixtures = Fixtures(folder)
    checkpoints(fixtures, mlp, cnn)
    variants(fixtures, mlp)
    layouts(fixtures, mlp)
    archives(fixtures, mlp)
    shards(fixtures, cnn)
    refused(folder, mlp)
    text = json.dumps({"torch": torch.__version__.split("+")[0], "files": fixtures.expected}, indent=1)
    (folder / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
