"""Finds what still draws random numbers in a training step, by what it does."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.compat import seed_torch
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.nests import list_leaves
from trainables.devices import list_generators
from trainables.functions import find_device

_Call = tuple[str, list[Tensor], list[Tensor]]
_MOST = 32
_SEEDS = (1, 2, 3, 4, 5)
"""A rare draw, of a layer that is left out once in ten steps, may agree for two of them."""


class _Step(nn.Module):
    """The training step of a trainable, as the module around the network."""

    def __init__(self, trainable: Trainable, network: nn.Module) -> None:
        super().__init__()
        self.trainable = trainable
        self.add_module("network", network)

    def forward(self, batch: Batch) -> Any:
        """The loss of a batch."""
        return self.trainable.step(self.get_submodule("network"), batch)


def find_random_modules(
    trainable: Trainable, model: nn.Module, batch: Batch
) -> tuple[str | None, ...]:
    """The modules whose outputs in training mode depend on the random seed, innermost first.

    The training step runs from the same state with several seeds, of torch's, numpy's and Python's
    generators, those that modules keep included. The first module that turns equal inputs into
    different outputs is named and put into eval mode, without those that it contains, until all
    runs agree. A batch norm draws nothing: it depends on the batch alone. The network itself has
    the empty name, and the step around it None.
    """
    with keep_generators(batch):
        probe = _Step(*duplicate(trainable, model.eval(), batch)[:2]).train()
        found: list[str | None] = []
        while len(found) < _MOST:
            place = _find_first(probe, batch)
            if place is None:
                break
            name = place.removeprefix("network").removeprefix(".") if place else None
            if name in found:
                break
            found.append(name)
            if name is None:
                break
            probe.get_submodule(place).training = False
    return tuple(found)


def _find_first(step: _Step, batch: Batch) -> str | None:
    """The place of the first module whose outputs differ while its inputs are equal."""
    first = _record(step, batch, _SEEDS[0])
    for seed in _SEEDS[1:]:
        other = _record(step, batch, seed)
        for (name, before, after), (_, other_before, other_after) in zip(
            first, other, strict=False
        ):
            if _is_equal(before, other_before) and not _is_equal(after, other_after):
                return name
    return None


def _record(step: _Step, batch: Batch, seed: int) -> list[_Call]:
    """Name, inputs and outputs of every module in the order in which their calls end."""
    calls: list[_Call] = []
    pending: list[list[Tensor]] = []

    def remember_inputs(_: nn.Module, args: Any, kwargs: Any) -> None:
        pending.append(_copy((args, kwargs)))

    def remember(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, _inputs: Any, outputs: Any) -> None:
            calls.append((name, pending.pop(), _copy(outputs)))

        return hook

    trainable, network, batch = duplicate(step.trainable, step.get_submodule("network"), batch)
    probe = _Step(trainable, network)
    probe.training = True
    for name, module in probe.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # it takes no hooks
            continue
        module.register_forward_pre_hook(remember_inputs, with_kwargs=True)
        module.register_forward_hook(remember(name))
    seed_all(probe.trainable, probe, seed)
    probe(batch)
    return calls


def duplicate(
    trainable: Trainable, model: nn.Module, batch: Batch
) -> tuple[Trainable, nn.Module, Batch]:
    """Copies that belong together, so that a step on them changes nothing else.

    A trainable that cannot be copied (it may hold a lock or a file) is shared.
    """
    if not model.training:
        with torch.no_grad():
            trainable.forward(model, batch)  # old weight_norm: its weight has no graph then
    try:
        return copy.deepcopy((trainable, model, batch))
    except Exception:
        copied = copy.deepcopy((model, batch), {id(trainable): trainable})
        return trainable, *copied


def seed_all(trainable: Trainable, model: nn.Module, seed: int) -> None:
    """Seed the global generators, and those that the modules and the trainable keep."""
    seed_torch(seed)
    np.random.seed(seed)
    random.seed(seed)
    for owner in (trainable, *model.modules()):
        for name, value in vars(owner).items():
            match value:
                case torch.Generator():
                    value.manual_seed(seed)
                case random.Random():
                    value.seed(seed)
                case np.random.Generator():
                    setattr(owner, name, np.random.default_rng(seed))


@contextmanager
def keep_generators(batch: Batch) -> Iterator[None]:
    """Restore the states of all global generators."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(list_generators(str(find_device((batch.x, batch.y))))):
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)


def _copy(values: Any) -> list[Tensor]:
    """Copies of the tensors of a nest, which later calls may change in place."""
    return [t.detach().clone() for t in list_leaves(values) if isinstance(t, Tensor)]


def _is_equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return len(left) == len(right) and all(
        x.shape == y.shape and torch.equal(x, y) for x, y in zip(left, right, strict=True)
    )
