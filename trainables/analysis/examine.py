"""Checks of a training before its first step."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.analysis.randomness import find_random_modules
from trainables.data.batch import Batch
from trainables.data.nests import Nest, list_leaves
from trainables.data.splits import Splits
from trainables.devices import list_generators
from trainables.errors import ContractError, describe_error
from trainables.forward import call_network, computes_loss, read_outputs
from trainables.loop import EPOCH_METRICS, TrainingRun
from trainables.losses import check_outputs
from trainables.measure import measure

_FEW = 8


@dataclass(frozen=True)
class Examination:
    """The result of running one batch forward and backward.

    ``memory`` is in bytes: weights, gradients, optimiser state and the activations that a batch
    saves for its backward pass. ``seconds`` is the time of one step without the optimiser.
    ``hidden`` is regularisation that acts although every strength is neutral, in words.
    """

    metrics: tuple[str, ...]
    seconds: float
    memory: int
    hidden: tuple[str, ...]


class _Whole(nn.Module):
    """A network that can only be called, as on several workers: its attributes are hidden."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.add_module("network", network)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of the network."""
        return self.get_submodule("network")(*args, **kwargs)


def examine(run: TrainingRun, splits: Splits, workers: int = 1) -> Examination:
    """Run a batch through a copy of the network, as a training on ``workers`` processes would.

    Raises:
        ContractError: the contract is violated; the message says what to change.
    """
    names = find_metric_names(run, splits)
    seconds, saved = _time_step(run, workers)
    weights = sum(p.numel() * p.element_size() for p in run.model.parameters())
    copies = 2 + (2 if isinstance(run.parts.optimizer, torch.optim.Adam) else 1)
    hidden = tuple(_list_hidden(run))
    return Examination(names, seconds, weights * copies + saved, hidden)


def _list_hidden(run: TrainingRun) -> Iterator[str]:
    """Regularisation of step, network and optimiser that no strength of a space reaches."""
    batch = Batch(*run.data.train.head(_FEW))
    for name in find_random_modules(run.trainable, run.model, batch):
        if name is None:
            yield f"random numbers in the training step of {type(run.trainable).__name__} itself"
        elif not name:
            yield "random numbers in the network's own forward (dropout as a function?)"
        else:
            yield f"random numbers in {name} ({type(run.model.get_submodule(name)).__name__})"
    own = run.trainable.optimizer(run.model.parameters(), run.training)
    for decay in sorted({group.get("weight_decay", 0.0) for group in own.param_groups} - {0.0}):
        yield f"weight_decay {decay:g} of the optimizer, in every trial but the baseline"


def find_metric_names(run: TrainingRun, splits: Splits) -> tuple[str, ...]:
    """The names of all metrics that an epoch of this training logs.

    Raises:
        ContractError: the network, its losses or its metrics fail on a batch, or what they return
            has the wrong shape.
    """
    x, y = run.data.train.head(_FEW)
    made = _forward(run.model, x)
    if not run.trainable.has_own_loss and not computes_loss(x):
        check_outputs(read_outputs(made), y, splits.info)
    again = _forward(run.model, x)
    if not all(map(torch.equal, _list_tensors(made), _list_tensors(again))):
        raise ContractError(
            "the network returns different outputs for the same batch in eval mode: it keeps state "
            "between batches or draws random numbers; reset the state in forward, or draw only if "
            "self.training is true"
        )
    try:
        values = measure(run.model, run.trainable, [Batch(x, y)])
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(
            f"the losses or metrics fail on a batch: {describe_error(error)}"
        ) from error
    sides = [f"{side}/{name}" for side in ("train", "val", "gap") for name in values]
    return (*sides, *EPOCH_METRICS)


def _time_step(run: TrainingRun, workers: int) -> tuple[float, int]:
    """Seconds and saved bytes of a step on a copy of the network; the second of two steps."""
    model = copy.deepcopy(run.model).train()
    given = model if workers == 1 else _Whole(model)
    hint = "" if workers == 1 else "; with several workers a step must call the whole network"
    batch = Batch(*run.data.train.head(run.training.batch_size))
    with torch.random.fork_rng(list_generators(run.data.device)):
        for number in ("first", "second"):
            try:
                with _count_saved_bytes() as saved:
                    start = time.perf_counter()
                    loss = run.trainable.step(given, batch)
                    if loss.ndim:
                        raise ContractError(
                            f"the loss of a step has shape {tuple(loss.shape)}; it must be 0-dim"
                        )
                    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                    seconds = time.perf_counter() - start
            except ContractError:
                raise
            except Exception as error:
                raise ContractError(
                    f"the {number} training step fails: {type(error).__name__}: {error}{hint}"
                ) from error
    _check_gradients(model)
    return seconds, saved[0]


def _check_gradients(model: nn.Module) -> None:
    lacking = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if lacking:
        raise ContractError(
            f"no gradient reaches {', '.join(lacking[:6])}{', …' if len(lacking) > 6 else ''}: "
            "use them in forward, or set requires_grad to False for parameters that are not trained"
        )


@contextmanager
def _count_saved_bytes() -> Iterator[list[int]]:
    """Count the bytes that autograd saves for the backward pass, each storage once."""
    seen: set[int] = set()
    total = [0]

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total[0] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total


@torch.no_grad()
def _forward(model: nn.Module, x: Nest) -> Any:
    return call_network(model.eval(), x)


def _list_tensors(made: Any) -> list[Tensor]:
    return [leaf for leaf in list_leaves(read_outputs(made)) if isinstance(leaf, Tensor)]
