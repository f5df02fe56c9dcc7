"""Takes a ``LightningDataModule`` apart into splits. Imports no Lightning.

Its hooks run without a Trainer: loaders are read by the training itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from trainables.config.data import LoaderOptions
from trainables.config.lightning import derives_from
from trainables.data.lazy import LazySplit, Loading, StreamSplit
from trainables.data.reading import describe
from trainables.data.returned_splits import Part, read_parts
from trainables.errors import ContractError, DataError, describe_error, is_from_outside

Stage = Literal["training", "validating", "testing"]
_LOADERS = {"train": "train_dataloader", "val": "val_dataloader", "test": "test_dataloader"}
_STAGES: dict[str, Stage] = {"train": "training", "val": "validating", "test": "testing"}
_HOOKS = ("on_before_batch_transfer", "on_after_batch_transfer")
_TRANSFER = "transfer_batch_to_device"


def is_data_module(value: object) -> bool:
    """Whether it is a ``LightningDataModule``, of either of Lightning's packages."""
    return derives_from(type(value), "LightningDataModule")


def read_data_module(path: str, module: Any, options: LoaderOptions) -> dict[str, Part]:
    """The splits of the module that ``path`` made: what its loaders of train, val and test read.

    Its hooks that change a batch are part of the reading, on the CPU.

    Raises:
        ContractError: it lacks a loader, or has what is not read here.
        DataError: one of its methods raised an error.
    """
    if _overrides(module, _TRANSFER):
        raise ContractError(
            f"{path} defines {_TRANSFER}, which is not called: batches are nests of tensors, and "
            f"the training moves them; change them in {' or '.join(_HOOKS)}"
        )
    module.trainer = NoTrainer("training")
    loaders = dict(_open(path, module))
    read = read_parts(path, loaders, options)
    parts = {name: _allow_mappings(part) for name, part in read.items()}
    hooks = tuple(hook for hook in _HOOKS if _overrides(module, hook))
    if not hooks:
        return parts
    return {name: _add_hooks(path, name, part, module, hooks) for name, part in parts.items()}


def _open(path: str, module: Any) -> Iterator[tuple[str, Any]]:
    """The loaders by the names of their splits, in the order in which Lightning asks for them."""
    _call(path, module, "prepare_data")
    _call(path, module, "setup", stage="fit")
    for name in ("train", "val"):
        yield name, _open_loader(path, module, name)
    if _overrides(module, _LOADERS["test"]):
        _call(path, module, "setup", stage="test")
        yield "test", _open_loader(path, module, "test")


def _open_loader(path: str, module: Any, name: str) -> Any:
    method = _LOADERS[name]
    if not _overrides(module, method):
        raise ContractError(f"{path} does not define {method}, which gives the {name} samples")
    made = _call(path, module, method)
    if isinstance(made, list | tuple) and len(made) == 1:
        return made[0]
    several = isinstance(made, list | tuple | dict) or type(made).__name__ == "CombinedLoader"
    if several or made is None:
        raise ContractError(
            f"{path}.{method} returned {None if made is None else describe(made)}; return one "
            "DataLoader: a gap is between one set of training samples and one of validation samples"
        )
    return made


def _call(path: str, module: Any, method: str, **arguments: str) -> Any:
    try:
        return getattr(module, method)(**arguments)
    except (Exception, SystemExit) as error:  # the user's code
        if is_from_outside(error):
            raise
        raise DataError(f"{path}.{method} raised {describe_error(error)}") from error


def _overrides(module: Any, method: str) -> bool:
    """Whether a module, or its class, has a method of its own in place of Lightning's."""
    found = getattr(module, method)
    home = getattr(found, "__module__", "") or ""
    return method in vars(module) or not home.startswith(("lightning.", "pytorch_lightning."))


def _allow_mappings(part: Part) -> Part:
    """Let batches be mappings of any keys, as a step of the user's own takes them."""
    if isinstance(part, LazySplit | StreamSplit):
        return replace(part, loading=replace(part.loading, whole=True))
    return part


def _add_hooks(path: str, name: str, part: Part, module: Any, hooks: tuple[str, ...]) -> LazySplit:
    if not isinstance(part, LazySplit):
        raise ContractError(
            f"{path} defines {' and '.join(hooks)}, but the loader of {name} owns its batches, so "
            "they cannot be changed; give a DataLoader of a map-style Dataset, or change batches "
            "in its collate_fn"
        )
    hooked = HookedCollate(part.loading.collate, module, hooks, _STAGES[name])
    measured = replace(hooked, stage="validating") if name == "train" else None
    loading: Loading = replace(part.loading, collate=hooked, collate_measured=measured)
    return replace(part, loading=loading)


@dataclass(frozen=True)
class HookedCollate:
    """Makes a batch, and hands it to hooks of a module that asks its trainer for the stage."""

    collate: Callable[[list[Any]], Any]
    module: Any
    hooks: tuple[str, ...]
    stage: Stage

    def __call__(self, items: list[Any]) -> Any:
        """The batch of these samples."""
        batch = self.collate(items)
        self.module.trainer = NoTrainer(self.stage)
        for hook in self.hooks:
            batch = getattr(self.module, hook)(batch, 0)
        return batch


class NoTrainer:
    """What a module finds as its ``trainer`` where there is none: the stage, and one process."""

    sanity_checking = predicting = False
    world_size = num_nodes = num_devices = 1
    global_rank = local_rank = node_rank = 0
    is_global_zero = True

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __getattr__(self, name: str) -> bool:
        if name in _STAGES.values():
            return bool(name == self.__dict__["stage"])
        raise AttributeError(
            f"gapsweep reads a LightningDataModule without a Trainer: self.trainer has no {name!r}"
        )
