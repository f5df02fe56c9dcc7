"""Running statistics of batch norms, computed anew for weights that no step has left."""

from __future__ import annotations

from collections.abc import Iterable

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
