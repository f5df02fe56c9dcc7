"""Batches in the form in which a ``LightningModule`` takes them: that of the user's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.config.lightning import is_of_lightning
from trainables.data.batch import LABELS
from trainables.data.nests import Inputs, Nest
from trainables.loops.trial_data import Loader

_PAIR = 2


@dataclass(frozen=True)
class Given:
    """A batch of a loader of the user's, which is not taken apart."""

    batch: Any


def join_batch(x: Nest, y: Nest) -> Any:
    """A batch as the user's loader gives it, from its inputs and targets."""
    if isinstance(x, Given):
        return x.batch
    whole = isinstance(y, Mapping) and isinstance(x, Mapping) and x.keys() == y.keys()
    if whole or (isinstance(x, Mapping) and LABELS in x):
        return x
    return (*x, y) if isinstance(x, Inputs) else (x, y)


def part_batch(batch: Any) -> tuple[Nest, Nest] | None:
    """Inputs and targets of a batch of the user's; None if it is no tuple of them."""
    if not isinstance(batch, tuple | list) or len(batch) < _PAIR:
        return None
    *inputs, targets = batch
    return (inputs[0] if len(inputs) == 1 else Inputs(inputs)), targets


def find_owner(module: Any, hook: str) -> Any:
    """Whose hook changes a batch: the fit's data module's, if it defines one, else the module's."""
    data = getattr(getattr(module, "_trainer", None), "datamodule", None)
    return data if data is not None and overrides(data, hook) else module


def find_hook(module: Any, hook: str) -> Callable[..., Any]:
    """The hook that changes a batch of a fit, see :func:`find_owner`."""
    found: Callable[..., Any] = getattr(find_owner(module, hook), hook)
    return found


def overrides(module: Any, method: str) -> bool:
    """Whether an object, or a class, defines a method in place of Lightning's."""
    home = getattr(getattr(module, method, None), "__module__", "") or ""
    return bool(home) and not is_of_lightning(home)


class Batches:
    """The batches of a loader of ours, as the user's module takes them."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return (join_batch(x, y) for x, y in self.loader)
