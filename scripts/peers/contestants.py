"""Whatever takes images and gives scores, with the settings that it can be run at."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from network import Network
from simulators import LAYER_BY_LAYER, ORDERS, STEP_BY_STEP, Neurons, Simulation, Source, reference

Encoding = Callable[[Network, Tensor, int], Source]


@dataclass(frozen=True)
class Setting:
    """How a contestant is run."""

    batch: int
    order: str
    channels_last: bool = False
    """Whether images are laid out pixel by pixel, all channels together."""
    compiled: bool = False
    """Whether `torch.compile` makes the neurons' code."""

    def __str__(self) -> str:
        extras = ["channels last"] * self.channels_last + ["compiled"] * self.compiled
        return ", ".join([f"batches of {self.batch}", self.order, *extras])

    def lay_out(self, images: Tensor) -> Tensor:
        """Images `[N, C, H, W]` in the setting's layout."""
        return images.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)


class Contestant(ABC):
    """Takes images and gives scores."""

    compilable = False
    has_images = True
    """Whether the layout of images matters."""

    @abstractmethod
    def prepare(self, setting: Setting, images: Tensor) -> None:
        """Gets ready for batches at this setting; `images` is the first of them."""

    @abstractmethod
    def run(self, images: Tensor) -> Tensor | None:
        """Scores `[N, classes]` of a batch, if it computes any."""

    def settings(self, batches: list[int]) -> list[Setting]:
        """All settings without compilation."""
        layouts = [False, True] if self.has_images else [False]
        return [Setting(batch, order, layout) for order in ORDERS for layout in layouts for batch in batches]


def has_images(network: nn.Module) -> bool:
    """Whether a network has convolutions."""
    return any(isinstance(module, nn.Conv2d) for module in network.modules())


class Simulated(Contestant):
    """The converted network in one of the simulators."""

    compilable = True

    def __init__(self, network: Network, neurons: type[Neurons], encoding: Encoding, n_steps: int) -> None:
        self.make = lambda: Simulation(network, neurons)
        self.encoding, self.n_steps = encoding, n_steps
        self.has_images = any(has_images(layer.synapses) for layer in network.layers)
        self.simulation = self.make()

    def prepare(self, setting: Setting, images: Tensor) -> None:
        self.setting, self.simulation = setting, self.make()
        for layer in self.simulation.network.layers:
            lay_out(layer.synapses, setting)
        if setting.compiled:
            for module in self.simulation.neurons.modules:
                module.compile(dynamic=False)

    def run(self, images: Tensor) -> Tensor:
        source = self.encoding(self.simulation.network, images, self.n_steps)
        return self.simulation.run(source, self.n_steps, self.setting.order)


class BareProducts(Contestant):
    """The layers alone, on spikes that are there beforehand: no encoding, no pools, no neurons.

    The spikes are those of the first batch, so their number is the network's own. What no simulator that computes dense products
    can surpass.
    """

    def __init__(self, network: Network, encoding: Encoding, n_steps: int) -> None:
        self.network, self.encoding, self.n_steps = network, encoding, n_steps
        self.has_images = any(has_images(layer.synapses) for layer in network.layers)

    def prepare(self, setting: Setting, images: Tensor) -> None:
        recorded: list[Tensor] = []
        first = self.network.layers[0].synapses
        hook = first.register_forward_pre_hook(lambda _, given: recorded.append(given[0]))
        _, trains = reference(self.network, self.encoding(self.network, images, self.n_steps), self.n_steps)
        hook.remove()
        self.setting, self.inputs = setting, []
        for layer, train in zip(self.network.layers, [torch.stack(recorded), *trains], strict=True):
            lay_out(layer.synapses, setting)
            pooled = layer.synapses[:-1](train.flatten(0, 1))
            pooled = setting.lay_out(pooled) if pooled.dim() == 4 else pooled
            self.inputs.append(pooled.unflatten(0, train.shape[:2]) if setting.order == STEP_BY_STEP else pooled.unsqueeze(0))

    def run(self, images: Tensor) -> None:
        for layer, batches in zip(self.network.layers, self.inputs, strict=True):
            for batch in batches:
                layer.synapses[-1](batch)


class Converted(Contestant):
    """A network that SpikingJelly converted, run as its examples do: images at each step, outputs added up."""

    compilable = True

    def __init__(self, network: nn.Module, n_steps: int) -> None:
        from spikingjelly.activation_based import functional, neuron

        self.original, self.network, self.n_steps = network, network, n_steps
        self.reset, self.set_step_mode, self.neuron = functional.reset_net, functional.set_step_mode, neuron.BaseNode
        self.has_images = has_images(network)

    def prepare(self, setting: Setting, images: Tensor) -> None:
        self.setting, self.network = setting, copy.deepcopy(self.original)
        lay_out(self.network, setting)
        self.set_step_mode(self.network, "s" if setting.order == STEP_BY_STEP else "m")
        for module in self.network.modules():
            if setting.compiled and isinstance(module, self.neuron):
                module.compile(dynamic=False)

    def run(self, images: Tensor) -> Tensor:
        self.reset(self.network)
        if self.setting.order == LAYER_BY_LAYER:
            return self.network(images.expand(self.n_steps, *images.shape)).sum(0)
        total = self.network(images)
        for _ in range(1, self.n_steps):
            total = total + self.network(images)
        return total


def lay_out(network: nn.Module, setting: Setting) -> None:
    """Lays weights out as the setting wants images."""
    network.to(memory_format=torch.channels_last if setting.channels_last else torch.contiguous_format)
