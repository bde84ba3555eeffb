"""SpikingJelly's converter, applied to the network that Quartic converts."""

import copy

import torch
from torch import Tensor, nn

BATCH = 100
"""Images per batch of the calibration, as in SpikingJelly's example."""
KINDS = ("local threshold balancing", "99.9%")
"""The two ways that SpikingJelly publishes results of."""


def convert(ann: nn.Module, kind: str, images: Tensor) -> nn.Module:
    """Converts a trained network.

    - `kind`: one of `KINDS`
    - `images`: `[N, C, H, W]`, to calibrate on
    """
    from spikingjelly.activation_based import ann2snn

    batches = images.split(BATCH)
    if kind == "99.9%":
        recipe = ann2snn.RateCodingRecipe(dataloader=batches, mode=kind)
    else:
        recipe = ann2snn.LocalThresholdBalancingRecipe(dataloader=batches)
    return ann2snn.FXConverter(recipe).convert(copy.deepcopy(ann)).eval()


def accuracies(network: nn.Module, images: Tensor, labels: Tensor, n_steps: int) -> list[float]:
    """Accuracy after each step; the decision is the largest of the outputs added up so far."""
    from spikingjelly.activation_based import functional

    functional.set_step_mode(network, "s")
    n_correct = torch.zeros(n_steps)
    for batch, expected in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        functional.reset_net(network)
        total = torch.zeros(())
        for step in range(n_steps):
            total = total + network(batch)
            n_correct[step] += (total.argmax(1) == expected).sum()
    return (n_correct / len(images)).tolist()
