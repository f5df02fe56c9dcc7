"""What ``Trainable.optimizer`` may return: an optimiser alone, or with schedulers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from search_spaces.unknown_names import not_one_of
from trainables.config.schedules import Interval
from trainables.errors import ContractError, blame
from trainables.return_checks import describe_returned

EXPECTED = (
    "an optimizer, (optimizer, scheduler), (optimizer, [schedulers]) or "
    '{"optimizer": …, "scheduler": …, "interval": "step" or "epoch", "monitor": "val/loss"}'
)
_MONITOR = "val/loss"
_PER_STEP = (OneCycleLR, CyclicLR)
"""Schedulers that torch documents to be stepped after every batch."""
_METHODS = ("step", "state_dict", "load_state_dict")
_SCHEDULERS = ("scheduler", "schedulers", "lr_scheduler", "lr_schedulers")
_OPTIONS = ("interval", "monitor", "frequency")
_IGNORED = ("name", "strict", "reduce_on_plateau")
"""Keys of Lightning's that say nothing here."""


@dataclass(frozen=True)
class OwnScheduler:
    """A user's scheduler, and when its ``step`` is called.

    ``interval`` is None for one that the user's code steps by itself. ``monitor`` is the metric
    that ``step`` gets. ``frequency`` is the number of intervals between two calls.
    """

    scheduler: Any
    interval: Interval | None
    monitor: str | None = None
    frequency: int = 1

    @property
    def usual_interval(self) -> Interval:
        """When it is stepped; a guess where the user's code does it."""
        return self.interval or find_interval(self.scheduler)

    def describe(self) -> str:
        """The scheduler and when it is stepped, in words."""
        name = type(self.scheduler).__name__
        if self.interval is None:
            return f"{name}, stepped by your own code"
        often = f"{self.frequency} {self.interval}s" if self.frequency > 1 else self.interval
        return f"{name}, every {often}{f' on {self.monitor}' if self.monitor else ''}"


@dataclass(frozen=True)
class Returned:
    """An optimiser and its schedulers."""

    optimizer: torch.optim.Optimizer
    schedulers: tuple[OwnScheduler, ...] = ()


def read_returned(made: Any, name: str) -> Returned:
    """The optimiser and the schedulers in one of the forms that ``optimizer`` may return.

    Raises:
        ContractError: ``name`` returned something else.
    """
    optimizer, listed = _take_apart(made, name)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ContractError(f"{name} returned {describe_returned(made)}; expected: {EXPECTED}")
    found = tuple(_read_scheduler(one, name) for one in listed)
    for own in found:
        other = getattr(own.scheduler, "optimizer", optimizer)
        if other is not optimizer:
            kind = type(own.scheduler).__name__
            raise ContractError(f"{name} returned a {kind} of another optimizer than its own")
    return Returned(optimizer, found)


def find_kept(owner: Any, returned: Returned) -> Iterator[OwnScheduler]:
    """The schedulers of the optimiser that an object keeps in attributes and did not return.

    Its own code steps them.
    """
    known = {id(own.scheduler) for own in returned.schedulers}
    for value in vars(owner).values():
        items = value if isinstance(value, list | tuple) else (value,)
        for item in items:
            if not isinstance(item, LRScheduler) or id(item) in known:
                continue
            if item.optimizer is returned.optimizer:
                known.add(id(item))
                yield OwnScheduler(item, None)


def find_interval(scheduler: Any) -> Interval:
    """When a scheduler of this kind is stepped, if nothing is said."""
    return "step" if isinstance(scheduler, _PER_STEP) else "epoch"


def has_scheduler(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a scheduler of torch was made for the optimiser, which notes the initial rates."""
    return any("initial_lr" in group for group in optimizer.param_groups)


def step_scheduler(own: OwnScheduler, metric: float | None, owner: str) -> None:
    """Step a scheduler.

    Raises:
        ContractError: it fails, as one that has fewer steps than the training.
    """
    name = f"{type(own.scheduler).__name__} of {owner}"
    with blame("trainable", name):
        if metric is None:
            own.scheduler.step()
        else:
            own.scheduler.step(metric)


def _take_apart(made: Any, name: str) -> tuple[Any, Sequence[Any]]:
    """The optimiser, and what stands for its schedulers."""
    if isinstance(made, Mapping):
        return _take_mapping_apart(made, name)
    if not isinstance(made, tuple | list) or not made:
        return made, ()
    first, *rest = made
    if isinstance(first, Mapping) and all(isinstance(item, Mapping) for item in rest):
        return _take_apart(_take_single(made, name), name)
    if isinstance(first, list | tuple):
        first = _take_single(first, name)
    others = [item for item in rest if isinstance(item, torch.optim.Optimizer)]
    if others:
        raise _refuse_several(len(others) + 1, name)
    return first, [one for item in rest for one in _list(item)]


def _take_mapping_apart(made: Mapping[str, Any], name: str) -> tuple[Any, Sequence[Any]]:
    valid = ("optimizer", *_SCHEDULERS, *_OPTIONS, *_IGNORED)
    for key in made:
        if key not in valid:
            raise ContractError(f"{name}: the key {not_one_of(key, valid)}")
    listed = [one for key in _SCHEDULERS for one in _list(made.get(key))]
    options = {key: made[key] for key in _OPTIONS if key in made}
    if options and len(listed) != 1:
        raise ContractError(
            f"{name} returned {', '.join(options)} beside {len(listed)} schedulers; give each "
            'scheduler as {"scheduler": …, "interval": …, "monitor": …}'
        )
    if options and not isinstance(listed[0], Mapping):
        listed = [{"scheduler": listed[0], **options}]
    return made.get("optimizer"), listed


def _take_single(optimizers: Sequence[Any], name: str) -> Any:
    if len(optimizers) != 1:
        raise _refuse_several(len(optimizers), name)
    return optimizers[0]


def _refuse_several(count: int, name: str) -> ContractError:
    return ContractError(
        f"{name} returned {count} optimizers, and a training has one; give it parameter groups, "
        "each with its own rate"
    )


def _list(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _read_scheduler(made: Any, name: str) -> OwnScheduler:
    options: Mapping[str, Any] = {}
    if isinstance(made, Mapping):
        options = {k: v for k, v in made.items() if k not in ("scheduler", *_IGNORED)}
        for key in options:
            if key not in _OPTIONS:
                valid = ("scheduler", *_OPTIONS, *_IGNORED)
                raise ContractError(f"{name}: the key {not_one_of(key, valid)}")
        made = made.get("scheduler")
    missing = [method for method in _METHODS if not callable(getattr(made, method, None))]
    if missing:
        raise ContractError(
            f"{name} returned {describe_returned(made)} as a scheduler, which has no "
            f"{' and no '.join(missing)}: a resumed trial could not restore it; expected: "
            f"{EXPECTED}"
        )
    return _check_times(made, options, name)


def _check_times(made: Any, options: Mapping[str, Any], name: str) -> OwnScheduler:
    plateau = isinstance(made, ReduceLROnPlateau)
    interval = options.get("interval", find_interval(made))
    monitor = options.get("monitor", _MONITOR if plateau else None)
    frequency = options.get("frequency", 1)
    kind = type(made).__name__
    if interval not in ("step", "epoch"):
        raise ContractError(f"{name}: interval {not_one_of(interval, ('step', 'epoch'))}")
    if isinstance(frequency, bool) or not isinstance(frequency, int) or frequency < 1:
        raise ContractError(f"{name}: frequency is {frequency!r}; expected: 1 or more")
    if monitor is not None and not isinstance(monitor, str):
        raise ContractError(f"{name}: monitor is {monitor!r}; expected: a metric such as val/loss")
    if monitor is not None and not plateau and isinstance(made, LRScheduler):
        monitor = None  # torch's others take no metric
    if monitor is not None and interval == "step":
        raise ContractError(
            f"{name}: {kind} monitors {monitor}, which is measured after every epoch; set its "
            "interval to epoch"
        )
    return OwnScheduler(made, interval, monitor, frequency)
