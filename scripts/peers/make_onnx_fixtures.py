"""Small networks of the kinds that torchvision has, as ONNX files: the fixtures of the import crate's comparison with a runtime.

usage: python scripts/peers/make_onnx_fixtures.py [FOLDER]      default: crates/import/tests/fixtures/zoo

The blocks are torchvision's own, at small width; where its classes fix the width, as Inception's do, they are written down again.
Weights and the statistics of batch norms are random: `crates/import/tests/runtime.rs` compares the logits that a runtime and
Quartic compute from the same file, so nothing has to be learned. Made with Python 3.11, torch 2.15.0, torchvision 0.29.2,
onnx 1.23.2, onnxscript 0.7.2, on the CPU.
"""

import sys
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import densenet, mnasnet, mobilenetv2, resnet, shufflenetv2, squeezenet
from torchvision.models.googlenet import Inception

from make_import_fixtures import ROOT, forget_sources

N_CLASSES = 5


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, N_CLASSES)]


def stem(channels: int, *, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(3, channels, 3, padding=padding, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]


def residual() -> nn.Module:
    down = nn.Sequential(nn.Conv2d(6, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
    blocks = [resnet.BasicBlock(6, 6), resnet.BasicBlock(6, 8, 2, down)]
    return nn.Sequential(*stem(6), nn.MaxPool2d(3, 2, 1), *blocks, *head(8))


def bottleneck() -> nn.Module:
    down = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
    blocks = [resnet.Bottleneck(8, 4, 2, down, groups=2, base_width=64), resnet.Bottleneck(16, 4, dilation=2)]
    return nn.Sequential(*stem(8), *blocks, *head(16))


def fire() -> nn.Module:
    end = [nn.Dropout(0.5), nn.Conv2d(12, N_CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), pool, squeezenet.Fire(8, 4, 6, 6), *end)


def dense() -> nn.Module:
    return densenet.DenseNet(4, (2, 2), 8, 2, num_classes=N_CLASSES)


def inverted() -> nn.Module:
    """ReLU6, depthwise convolutions and linear bottlenecks."""
    blocks = [mobilenetv2.InvertedResidual(6, 4, 1, 1), mobilenetv2.InvertedResidual(4, 6, 2, 3), mobilenetv2.InvertedResidual(6, 6, 1, 3)]
    first = [nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU6()]
    return nn.Sequential(*first, *blocks, *head(6))


def mnas() -> nn.Module:
    stack = [mnasnet._InvertedResidual(6, 6, 3, 1, 3), mnasnet._InvertedResidual(6, 8, 5, 2, 3)]
    return nn.Sequential(*stem(6), *stack, *head(8))


def shuffle() -> nn.Module:
    return nn.Sequential(*stem(8), shufflenetv2.InvertedResidual(8, 8, 1), shufflenetv2.InvertedResidual(8, 12, 2), *head(12))


def google() -> nn.Module:
    block = Inception(6, 3, 2, 4, 2, 3, 3)
    return nn.Sequential(*stem(6), nn.MaxPool2d(3, 2, ceil_mode=True), block, *head(13))


class InceptionC(nn.Module):
    """Kernels of 1×7 and 7×1, an average pool that counts its padding, and the branches side by side."""

    def __init__(self) -> None:
        super().__init__()
        conv = lambda n_in, n_out, **keys: nn.Sequential(
            nn.Conv2d(n_in, n_out, bias=False, **keys), nn.BatchNorm2d(n_out, eps=0.001), nn.ReLU()
        )
        self.one = conv(6, 3, kernel_size=1)
        self.seven = nn.Sequential(
            conv(6, 2, kernel_size=1),
            conv(2, 3, kernel_size=(1, 7), padding=(0, 3)),
            conv(3, 4, kernel_size=(7, 1), padding=(3, 0)),
        )
        self.pool = conv(6, 3, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        return torch.cat([self.one(x), self.seven(x), self.pool(pooled)], 1)


def inception() -> nn.Module:
    return nn.Sequential(*stem(6, padding=0), InceptionC(), nn.MaxPool2d(3, 2), *head(10))


class PreActivation(nn.Module):
    """Batch norm and ReLU before each convolution; a sum that has none behind it, and is read twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        norm = lambda: nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        conv = lambda: nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.body = nn.Sequential(norm(), conv(), norm(), conv())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def pre_activation() -> nn.Module:
    blocks = [PreActivation(6), PreActivation(6), nn.BatchNorm2d(6), nn.ReLU()]
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, bias=False), *blocks, *head(6))


class OptionA(nn.Module):
    """A shortcut without weights: every second position, and zeros for the channels that are not there (He et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 10, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return F.relu(self.conv(x) + skip)


def option_a() -> nn.Module:
    return nn.Sequential(*stem(6), OptionA(), *head(10))


class Line(nn.Module):
    """Signals of one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(2, 4, 5, 2, 2), nn.BatchNorm1d(4), nn.LeakyReLU(0.2), nn.AvgPool1d(2), nn.Conv1d(4, 6, 3, dilation=2), nn.PReLU(6)
        )
        self.fc = nn.Linear(6, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean(-1))


class Shared(nn.Module):
    """One module called twice, joined features, a slice, hard activations and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 8)
        self.again = nn.Linear(8, 8)
        self.last = nn.Linear(12, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardtanh(self.first(x / 255 - 0.5))
        x = F.hardsigmoid(self.again(torch.abs(self.again(x))))
        return self.last(torch.cat([x[:, 2:6], x.clamp(0.25, 0.75)], 1))


class Binary(nn.Module):
    """One output unit for two classes, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2), nn.Flatten())
        self.fc = nn.Linear(36, 1)
        self.side = nn.Linear(36, N_CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(x)
        return torch.sigmoid(self.fc(x)).squeeze(1), self.side(x)


def channels_last(path: Path) -> None:
    """As converters write Keras' networks: images with channels last, transposed for each convolution and back, flattened so."""
    torch.manual_seed(9)
    tensor = lambda name, *shape: numpy_helper.from_array((torch.rand(shape) - 0.4).numpy(), name)
    back, forth = [0, 2, 3, 1], [0, 3, 1, 2]
    nodes = [
        helper.make_node("Transpose", ["x"], ["x0"], perm=forth),
        helper.make_node("Conv", ["x0", "w0"], ["c0"], auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3]),
        helper.make_node("Transpose", ["c0"], ["t0"], perm=back),
        helper.make_node("Add", ["t0", "b0"], ["a0"]),
        helper.make_node("Mul", ["a0", "s0"], ["m0"]),
        helper.make_node("Relu", ["m0"], ["r0"]),
        helper.make_node("Transpose", ["r0"], ["x1"], perm=forth),
        helper.make_node("AveragePool", ["x1"], ["p1"], kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER"),
        helper.make_node("Transpose", ["p1"], ["t1"], perm=back),
        helper.make_node("Concat", ["t1", "r0"], ["j1"], axis=3),
        helper.make_node("Reshape", ["j1", "flat"], ["f1"]),
        helper.make_node("MatMul", ["f1", "w2"], ["d2"]),
        helper.make_node("Add", ["d2", "b2"], ["l2"]),
        helper.make_node("Softmax", ["l2"], ["y"]),
    ]
    tensors = [
        tensor("w0", 4, 2, 3, 3), tensor("b0", 4), tensor("s0", 1, 1, 4), tensor("w2", 72, N_CLASSES), tensor("b2", N_CLASSES),
        numpy_helper.from_array(torch.tensor([-1, 72]).numpy(), "flat"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6, 6, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", N_CLASSES])]
    graph = helper.make_graph(nodes, "channels last", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def quantised(path: Path) -> None:
    """Weights of 8 bits with a scale for each row, and a bias of 32 bits, behind DequantizeLinear."""
    torch.manual_seed(10)
    whole = lambda name, low, high, dtype, *shape: numpy_helper.from_array(torch.randint(low, high, shape).to(dtype).numpy(), name)
    scale = lambda name, *shape: numpy_helper.from_array((torch.rand(shape) / 100 + 0.001).numpy(), name)
    tensors = [
        whole("w", -128, 128, torch.int8, 6, 16), scale("ws", 6), whole("wz", 0, 1, torch.int8, 6),
        whole("b", -500, 500, torch.int32, 6), scale("bs", 6),
        whole("v", 0, 256, torch.uint8, 6, N_CLASSES), scale("vs"), whole("vz", 120, 136, torch.uint8),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["bf"], axis=0),
        helper.make_node("DequantizeLinear", ["v", "vs", "vz"], ["vf"]),
        helper.make_node("Gemm", ["x", "wf", "bf"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "vf"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", N_CLASSES])]
    graph = helper.make_graph(nodes, "quantised", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def randomised(net: nn.Module) -> nn.Module:
    """Statistics and slopes as training leaves them, and no batch norm that computes nothing."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.5, 0.9)
    return net.eval()


def export(net: nn.Module, shape: list[int], path: Path, *, dynamo: bool) -> None:
    x = torch.zeros(2 if not dynamo else 1, *shape)
    if dynamo:
        torch.onnx.export(net, (x,), path, dynamo=True, external_data=False, verbose=False)
    else:
        axes = {"x": {0: "batch"}}
        training = torch.onnx.TrainingMode.PRESERVE
        torch.onnx.export(net, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=axes, training=training)
    forget_sources(path)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "crates/import/tests/fixtures/zoo"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    images = [residual, bottleneck, fire, dense, inverted, mnas, shuffle, google, inception, pre_activation, option_a]
    nets = [(make.__name__.replace("_", "-"), make, [3, 16, 16]) for make in images]
    nets[3] = (nets[3][0], dense, [3, 32, 32])
    nets += [("line", Line, [2, 40]), ("shared", Shared, [12]), ("binary", Binary, [1, 7, 7])]
    for seed, (name, make, shape) in enumerate(nets):
        # The exporters take turns, since each writes the same network in its own way.
        for dynamo in [True, False]:
            torch.manual_seed(seed)
            path = folder / f"{name}{'' if dynamo else '-legacy'}.onnx"
            export(randomised(make()), shape, path, dynamo=dynamo)
            print(f"{path.name}: {path.stat().st_size} bytes")
    channels_last(folder / "channels-last.onnx")
    quantised(folder / "quantised.onnx")


if __name__ == "__main__":
    main()
