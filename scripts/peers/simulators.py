"""The simulators of PyTorch, each running the network that Quartic converted.

A simulator here is its own neurons behind PyTorch's layers, as its users write it. Two orders of computation are known: step by
step through all layers, or layer by layer through all steps, which gives the matrix products larger batches. Neurons follow
`u = v + W s + b`, spike if `u >= 1` and keep `v = u - s`; the last layer only adds up.

snnTorch and Norse spike if `u > 1`. All values of a converted network are multiples of a grid step, so these two start half a step
higher, and `u + step / 2 > 1` says the same as `u >= 1`.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from network import Network

STEP_BY_STEP, LAYER_BY_LAYER = ORDERS = ("step by step", "layer by layer")


@dataclass
class Source:
    """The currents of the first layer, step by step or all at once."""

    step: Callable[[], Tensor]
    """Currents `[N, ...]` of the next step."""
    sequence: Callable[[int], Tensor]
    """Currents of all steps, time being the axis of that number: `[T, N, ...]` or `[N, T, ...]`."""


def poisson(network: Network, pixels: Tensor, n_steps: int) -> Source:
    """A pixel spikes at each step with a probability of its value."""
    synapses = network.layers[0].synapses

    def sequence(time_axis: int) -> Tensor:
        by_step = pixels.unsqueeze(time_axis)
        shape = list(by_step.shape)
        shape[time_axis] = n_steps
        return on_steps(synapses, (torch.rand(shape) < by_step).float())

    return Source(lambda: synapses((torch.rand_like(pixels) < pixels).float()), sequence)


def constant(network: Network, pixels: Tensor, n_steps: int) -> Source:
    """The pixels' values at each step; the current is computed once."""
    return steady(network.drive(pixels), n_steps)


def steady(currents: Tensor, n_steps: int) -> Source:
    """The same currents `[N, ...]` at each step."""

    def sequence(time_axis: int) -> Tensor:
        by_step = currents.unsqueeze(time_axis)
        shape = list(by_step.shape)
        shape[time_axis] = n_steps
        return by_step.expand(shape)

    return Source(lambda: currents, sequence)


def given_spikes(network: Network, spikes: Tensor) -> Source:
    """Spikes `[T, N, C, H, W]` that are known beforehand."""
    steps = iter(spikes)
    synapses = network.layers[0].synapses
    return Source(
        lambda: synapses(next(steps)), lambda time_axis: on_steps(synapses, spikes.transpose(0, time_axis).contiguous())
    )


def on_steps(synapses: nn.Module, spikes: Tensor) -> Tensor:
    """A layer's currents for spikes of samples and steps, in whatever order these two axes stand."""
    return synapses(spikes.flatten(0, 1)).unflatten(0, spikes.shape[:2])


class Neurons(ABC):
    """The spiking layers of a network in one simulator."""

    time_axis = 0
    """Where the simulator has time in a sequence."""
    strict = False
    """Whether a neuron spikes above 1 only, not at 1."""
    current_unit = 1.0
    """What the simulator wants currents multiplied by."""

    modules: list[nn.Module]
    """What may be compiled."""

    @abstractmethod
    def __init__(self, n_layers: int) -> None:
        """Makes the neurons of the layers that spike."""

    @abstractmethod
    def start(self, idx: int, potentials: Tensor) -> None:
        """Sets a layer's potentials `[N, ...]` before the first step."""

    @abstractmethod
    def step(self, idx: int, currents: Tensor) -> Tensor:
        """Spikes of a layer for the currents of one step."""

    @abstractmethod
    def sequence(self, idx: int, currents: Tensor) -> Tensor:
        """Spikes of a layer for the currents of all steps."""


class SpikingJelly(Neurons):
    """`IFNode` with soft reset; in multi-step mode where it runs layer by layer."""

    def __init__(self, n_layers: int) -> None:
        from spikingjelly.activation_based import neuron

        self.single = [neuron.IFNode(v_reset=None, step_mode="s").eval() for _ in range(n_layers)]
        self.multi = [neuron.IFNode(v_reset=None, step_mode="m").eval() for _ in range(n_layers)]
        self.modules = self.single + self.multi

    def start(self, idx: int, potentials: Tensor) -> None:
        for node in (self.single[idx], self.multi[idx]):
            node.reset()
            node.v = potentials

    def step(self, idx: int, currents: Tensor) -> Tensor:
        return self.single[idx](currents)

    def sequence(self, idx: int, currents: Tensor) -> Tensor:
        return self.multi[idx](currents)


class SnnTorch(Neurons):
    """`Leaky` without leak. It subtracts at the step after the spike, which comes to the same."""

    strict = True

    def __init__(self, n_layers: int) -> None:
        import snntorch

        settings = {"beta": 1.0, "threshold": 1.0, "surrogate_disable": True, "reset_mechanism": "subtract"}
        self.modules = [snntorch.Leaky(**settings).eval() for _ in range(n_layers)]
        self.potentials: list[Tensor] = [torch.empty(0)] * n_layers

    def start(self, idx: int, potentials: Tensor) -> None:
        self.potentials[idx] = potentials

    def step(self, idx: int, currents: Tensor) -> Tensor:
        spikes, self.potentials[idx] = self.modules[idx](currents, self.potentials[idx])
        return spikes

    def sequence(self, idx: int, currents: Tensor) -> Tensor:
        return torch.stack([self.step(idx, current) for current in currents])


class Sinabs(Neurons):
    """`IAF` with single spikes and subtraction; its own default is several spikes per step."""

    time_axis = 1

    def __init__(self, n_layers: int) -> None:
        from sinabs.activation import MembraneSubtract, SingleSpike
        from sinabs.layers import IAF

        self.modules = [IAF(spike_fn=SingleSpike, reset_fn=MembraneSubtract()).eval() for _ in range(n_layers)]

    def start(self, idx: int, potentials: Tensor) -> None:
        self.modules[idx].v_mem = potentials

    def step(self, idx: int, currents: Tensor) -> Tensor:
        return self.modules[idx](currents.unsqueeze(1)).squeeze(1)

    def sequence(self, idx: int, currents: Tensor) -> Tensor:
        return self.modules[idx](currents)


class Norse(Neurons):
    """`LIFBoxCell` with reset by subtraction.

    Norse's `IAF` only resets to a value, and the box neuron leaks: `v + r (i - v)` with a rate r. With r a power of two so small
    that `i - v` rounds to `i`, and currents larger by 1/r, nothing is left of the leak in single precision.
    """

    strict = True
    current_unit = 2.0**64

    def __init__(self, n_layers: int) -> None:
        from norse.torch import LIFBoxCell, LIFBoxParameters
        from norse.torch.functional.lif_box import LIFBoxFeedForwardState, lif_box_feed_forward_step
        from norse.torch.functional.reset import reset_subtract
        from norse.torch.module.snn import SNN

        parameters = LIFBoxParameters(
            tau_mem_inv=torch.tensor(1 / self.current_unit),
            v_leak=torch.tensor(0.0),
            v_th=torch.tensor(1.0),
            reset_method=reset_subtract,
        )
        self.single = [LIFBoxCell(parameters, dt=1.0) for _ in range(n_layers)]
        self.multi = [SNN(lif_box_feed_forward_step, cell.initial_state, parameters, dt=1.0) for cell in self.single]
        self.modules = self.single + self.multi
        self.state = LIFBoxFeedForwardState
        self.states = [None] * n_layers

    def start(self, idx: int, potentials: Tensor) -> None:
        self.states[idx] = self.state(v=potentials)

    def step(self, idx: int, currents: Tensor) -> Tensor:
        spikes, self.states[idx] = self.single[idx](currents, self.states[idx])
        return spikes

    def sequence(self, idx: int, currents: Tensor) -> Tensor:
        spikes, self.states[idx] = self.multi[idx](currents, self.states[idx])
        return spikes


SIMULATORS: dict[str, type[Neurons]] = {"SpikingJelly": SpikingJelly, "snnTorch": SnnTorch, "sinabs": Sinabs, "Norse": Norse}



class Simulation:
    """A network in one simulator."""

    def __init__(self, network: Network, neurons: type[Neurons]) -> None:
        spiking = network.layers[:-1]
        self.neurons = neurons(len(spiking))
        self.initial = [layer.initial_potential + (layer.grid_step / 2 if neurons.strict else 0) for layer in spiking]
        self.readout = network.layers[-1].initial_potential
        self.network = copy.deepcopy(network)
        for layer in self.network.layers[:-1]:
            layer.grid_step = layer.grid_step * neurons.current_unit
            for parameter in layer.synapses.parameters():
                parameter.mul_(neurons.current_unit)

    def run(self, source: Source, n_steps: int, order: str) -> Tensor:
        """Potentials `[N, classes]` of the last layer after all steps."""
        run = self._step_by_step if order == STEP_BY_STEP else self._layer_by_layer
        return self.readout + run(source, n_steps)

    def _step_by_step(self, source: Source, n_steps: int) -> Tensor:
        total = torch.zeros(())
        for step in range(n_steps):
            currents = source.step()
            for idx, initial in enumerate(self.initial):
                if step == 0:
                    self.neurons.start(idx, initial.expand_as(currents))
                currents = self.network.layers[idx + 1].synapses(self.neurons.step(idx, currents))
            total = total + currents
        return total

    def _layer_by_layer(self, source: Source, n_steps: int) -> Tensor:
        time_axis = self.neurons.time_axis
        currents = source.sequence(time_axis)
        for idx, initial in enumerate(self.initial):
            self.neurons.start(idx, initial.expand_as(currents.select(time_axis, 0)))
            currents = on_steps(self.network.layers[idx + 1].synapses, self.neurons.sequence(idx, currents))
        return currents.sum(time_axis)


def reference(network: Network, source: Source, n_steps: int) -> tuple[Tensor, list[Tensor]]:
    """The definition, written out: the last layer's potentials `[N, classes]` and the other layers' spikes `[T, N, ...]`."""
    *hidden, last = network.layers
    potentials: list[Tensor] = [layer.initial_potential for layer in hidden]
    total = last.initial_potential
    trains: list[list[Tensor]] = [[] for _ in hidden]
    for _ in range(n_steps):
        currents = source.step()
        for idx, train in enumerate(trains):
            charged = potentials[idx] + currents
            train.append((charged >= 1).to(charged.dtype))
            potentials[idx] = charged - train[-1]
            currents = network.layers[idx + 1].synapses(train[-1])
        total = total + currents
    return total, [torch.stack(train) for train in trains]
