"""Networks that PyTorch trained, saved and exported, with its own logits: the fixtures of the import crate's tests.

usage: python scripts/peers/make_import_fixtures.py [FOLDER]      default: crates/import/tests/fixtures

Trains five tiny networks on the embedded optdigits and writes, in the ways that PyTorch has, what researchers bring along:
state dicts, checkpoints around them, and ONNX by both of its exporters. `expected.json` holds PyTorch's logits of the first
test images and the number of test images it gets right. Deterministic per machine and version, but for the addresses that
name storages in `mlp-legacy.pt`; made with Python 3.11,
torch 2.15.0, onnx 1.23.2, onnxscript 0.7.2, safetensors 0.8.0, numpy 2.4.6, on the CPU.
"""

import gzip
import json
import sys
from pathlib import Path

import onnx
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
N_TRAIN = 3823
N_EXPECTED = 8
"""Test images whose logits are written down."""


class Mlp(nn.Module):
    """Named as most people name them, with a dropout between."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 16)
        self.dropout = nn.Dropout(0.1)
        self.fc2 = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.dropout(F.relu(self.fc1(torch.flatten(x, 1)))))


class Cnn(nn.Module):
    """`features` and `classifier`; batch norms, a max pool (before its ReLU, as some put it) and an average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.BatchNorm2d(8, eps=1e-3),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class Block(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Resnet(nn.Module):
    """A block with an identity and one with a convolution as its shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.layer1 = Block(6, 6, 1)
        self.layer2 = Block(6, 8, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(torch.flatten(self.pool(self.layer2(self.layer1(x))), 1))


class Functional(nn.Module):
    """Without layers: normalisation inside, `view` by the batch's size, products and sums, and log-probabilities at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(64, 12) / 8)
        self.b1 = nn.Parameter(torch.zeros(12))
        self.w2 = nn.Parameter(torch.randn(12, 10) / 4)
        self.b2 = nn.Parameter(torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.3) / 0.4
        x = x.view(x.size(0), -1)
        x = F.relu(x @ self.w1 + self.b1)
        return F.log_softmax(x @ self.w2 + self.b2, dim=1)


class Bare(nn.Module):
    """Without a bias anywhere, and without batch norms in their place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.hidden = nn.Linear(64, 12, bias=False)
        self.out = nn.Linear(12, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(F.relu(self.conv(x)), 2)
        return self.out(F.relu(self.hidden(torch.flatten(x, 1))))


def digits() -> tuple[Tensor, Tensor]:
    with gzip.open(ROOT / "crates/datasets/assets/optdigits.csv.gz", "rt") as lines:
        rows = torch.tensor([[int(value) for value in line.split(",")] for line in lines])
    return (rows[:, :64].float() / 16).reshape(-1, 1, 8, 8), rows[:, 64]


def train(net: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(epochs):
        for batch in torch.randperm(N_TRAIN).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
    return net.eval()


def export(net: nn.Module, path: Path, *, dynamo: bool, external: bool = False, norms: bool = False) -> None:
    """`norms`: keeps batch norms as nodes of their own, which both exporters otherwise fold."""
    x = torch.zeros(2, 1, 8, 8)
    if dynamo:
        shapes = {"x": {0: torch.export.Dim("batch")}}
        torch.onnx.export(net, (x,), path, dynamo=True, dynamic_shapes=shapes, external_data=external, verbose=False)
    else:
        axes = {"x": {0: "batch"}}
        training = torch.onnx.TrainingMode.PRESERVE if norms else torch.onnx.TrainingMode.EVAL
        torch.onnx.export(net, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=axes, training=training)
    forget_sources(path)


def forget_sources(path: Path) -> None:
    """Takes out the lines of source code and their places, which an exporter writes beside every node."""
    model = onnx.load(path, load_external_data=False)
    for part in [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info]:
        del part.metadata_props[:]
    for value in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        value.doc_string = ""
        del value.metadata_props[:]
    path.write_bytes(model.SerializeToString())


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "crates/import/tests/fixtures"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    images, labels = digits()
    expected = {"torch": torch.__version__.split("+")[0], "images": N_EXPECTED, "networks": {}}

    def learn(name: str, net: nn.Module, epochs: int) -> nn.Module:
        train(net, images[:N_TRAIN], labels[:N_TRAIN], epochs)
        with torch.no_grad():
            logits = net(images[N_TRAIN:])
        correct = int((logits.argmax(1) == labels[N_TRAIN:]).sum())
        print(f"{name}: {correct} of {len(logits)} test images")
        expected["networks"][name] = {"correct": correct, "logits": logits[:N_EXPECTED].tolist()}
        return net

    epochs = {"mlp": 12, "cnn": 8, "resnet": 8, "functional": 12}
    nets = {"mlp": Mlp(), "cnn": Cnn(), "resnet": Resnet(), "functional": Functional()}
    for name, net in nets.items():
        learn(name, net, epochs[name])
    # Seeded anew, so that the networks before it are the same with and without it.
    torch.manual_seed(2)
    nets["bare"] = learn("bare", Bare(), 12)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")

    mlp, cnn, resnet = nets["mlp"], nets["cnn"], nets["resnet"]
    torch.save(mlp.state_dict(), folder / "mlp.pt")
    torch.save(mlp.state_dict(), folder / "mlp-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(mlp, folder / "mlp-whole.pt")
    save_file(mlp.state_dict(), folder / "mlp.safetensors")
    torch.save(mlp.double().state_dict(), folder / "mlp-f64.pt")
    mlp.float()
    parallel = nn.DataParallel(cnn)
    checkpoint = {"epoch": 8, "state_dict": parallel.state_dict(), "optimizer": torch.optim.SGD(cnn.parameters()).state_dict()}
    torch.save(checkpoint, folder / "cnn.pt")
    torch.save(resnet.state_dict(), folder / "resnet.pt")
    torch.save(nets["bare"].state_dict(), folder / "bare.pt")
    save_file(nets["bare"].state_dict(), folder / "bare.safetensors")
    for name in ["mlp", "cnn", "resnet", "bare"]:
        export(nets[name], folder / f"{name}.onnx", dynamo=True)
    export(cnn, folder / "cnn-legacy.onnx", dynamo=False)
    export(cnn, folder / "cnn-norms.onnx", dynamo=False, norms=True)
    export(resnet, folder / "resnet-legacy.onnx", dynamo=False)
    export(nets["functional"], folder / "functional.onnx", dynamo=True)
    export(nets["functional"], folder / "functional-legacy.onnx", dynamo=False)
    (folder / "external").mkdir(exist_ok=True)
    export(mlp, folder / "external/mlp.onnx", dynamo=True, external=True)


if __name__ == "__main__":
    main()
