"""Running statistics of batch norms, computed anew for weights that no step has left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from trainables.compat import NormOfBatches


def find_norms(network: nn.Module) -> list[NormOfBatches]:
    """The norms with running statistics that a training pass would update."""
    found = (m for m in network.modules() if isinstance(m, NormOfBatches))
    return [norm for norm in found if norm.track_running_stats and norm.running_mean is not None]


def recompute_statistics(network: nn.Module, passes: Iterable[object]) -> None:
    """Set the running statistics to their mean over passes of ``network`` in training mode.

    ``passes`` calls the network once for each item that it yields. Norms that the network keeps
    out of training mode, and all weights, stay as they are; so does the network's own mode.

    Izmailov et al. 2018, Averaging Weights Leads to Wider Optima, algorithm 1; as
    ``torch.optim.swa_utils.update_bn``.
    """
    was_training = network.training
    network.train()
    momenta = {norm: norm.momentum for norm in find_norms(network) if norm.training}
    for norm in momenta:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    try:
        for _ in passes:
            pass
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        network.train(was_training)


@contextmanager
def differentiate_as(network: nn.Module, other: nn.Module) -> Iterator[None]:
    """Let the weights of a copy have gradients where those of the network it is of have them.

    A training step may ask for gradients (a penalty on them, a step uphill); none is kept.
    """
    own, theirs = dict(network.named_parameters()), dict(other.named_parameters())
    changed = [p for n, p in own.items() if n in theirs and theirs[n].requires_grad]
    changed = [parameter for parameter in changed if not parameter.requires_grad]
    for parameter in changed:
        parameter.requires_grad_()
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(False).grad = None
