"""Measures samples by a module's own validation: what it logs in ``validation_step``, and after.

Both sides of a gap are measured by it, so that they have the module's own loss.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainables.data.batch import Batch
from trainables.errors import ContractError
from trainables.functions import MetricObject
from trainables.loops.lightning.batches import find_hook, join_batch
from trainables.loops.lightning.samples import Form
from trainables.return_checks import read_number

STEP = "validation_step"
LOSS = "loss"
_PREFIX = re.compile(r"(val|valid|validation|eval)[_/.-]", re.IGNORECASE)
_ALIASES = {"acc": "accuracy"}
_REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sum": torch.sum,
    "min": torch.amin,
    "max": torch.amax,
}


def name_metric(logged: str) -> str:
    """The name of a logged metric without its side: ``val_acc`` is ``accuracy``."""
    name = _PREFIX.sub("", logged, count=1) if _PREFIX.match(logged) else logged
    return _ALIASES.get(name, name)


@dataclass
class _Logged:
    """What a module logged by one name: a metric object, or a value for each batch."""

    name: str
    values: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    reduction: str | Callable[[Tensor], Any] = "mean"
    metric: Any = None

    def compute(self) -> float:
        """The value of all batches, as Lightning computes it at the end of an epoch."""
        if self.metric is not None:
            return read_number(self.metric.compute(), repr(self.name))
        values = torch.tensor(self.values, dtype=torch.float64)
        if self.reduction in ("mean", "avg"):
            return float(values @ torch.tensor(self.counts, dtype=torch.float64) / sum(self.counts))
        reduce = _REDUCTIONS.get(str(self.reduction), self.reduction)
        assert callable(reduce)
        return read_number(reduce(values), repr(self.name))


class _Pass:
    """One pass of a module's validation over some samples."""

    def __init__(self, module: Any, form: Form) -> None:
        self._module, self._form, self._number = module, form, 0
        self._logged: dict[str, _Logged] = {}
        self._samples = 1
        self._in_step = False
        self._parameters = inspect.signature(type(module).log)
        self.higher_is_better: set[str] = set()
        with self._hooks():
            module.on_validation_start()
            module.on_validation_epoch_start()

    def add(self, batch: Batch) -> None:
        """Run the step on a batch."""
        module, index = self._module, self._number
        self._samples = len(batch)
        with self._hooks():
            given = self._form(batch.x, batch.y)
            given = find_hook(module, "on_before_batch_transfer")(given, 0)
            given = find_hook(module, "transfer_batch_to_device")(given, module.device, 0)
            given = find_hook(module, "on_after_batch_transfer")(given, 0)
            module.on_validation_batch_start(given, index)
            self._in_step = True
            made = module.validation_step(*([given, index][: _count_arguments(module)]))
            self._in_step = False
            module.on_validation_batch_end(made, given, index)
        self._read_returned(made)
        self._number += 1

    def end(self) -> dict[str, float]:
        """The metrics of all batches by name, ``loss`` among them.

        Raises:
            ContractError: the module logs no loss.
        """
        with self._hooks():
            self._module.on_validation_epoch_end()
            self._module.on_validation_end()
        owner = type(self._module).__name__
        found: dict[str, float] = {}
        for logged in self._logged.values():
            name = name_metric(logged.name)
            if name in found and name != LOSS:
                raise ContractError(f"{owner} logs {name!r} twice in its validation; log it once")
            found.setdefault(name, logged.compute())
        if LOSS not in found:
            what = f"logs {', '.join(found)}, but no loss" if found else "logs nothing"
            raise ContractError(
                f"{owner}.{STEP} {what}: call self.log('val_loss', loss) in it, or return the loss",
                "trainable",
            )
        return found

    def reset(self) -> None:
        """Reset the metric objects that were logged."""
        for logged in self._logged.values():
            if logged.metric is not None:
                logged.metric.reset()

    def log(self, *given: Any, **options: Any) -> None:
        """Take the place of the module's ``log``."""
        bound = self._parameters.bind(self._module, *given, **options)
        bound.apply_defaults()
        taken = bound.arguments
        name, value = taken["name"], taken["value"]
        if taken["on_epoch"] is False:
            return
        logged = self._logged.setdefault(name, _Logged(name, reduction=taken["reduce_fx"]))
        if isinstance(value, MetricObject):
            logged.metric = value
            if getattr(value, "higher_is_better", False):
                self.higher_is_better.add(name_metric(name))
            return
        logged.values.append(read_number(value, f"the logged {name!r}"))
        logged.counts.append(taken["batch_size"] or self._samples if self._in_step else 1)

    def _read_returned(self, made: Any) -> None:
        """Take the loss that the step returns, where it logs none."""
        if any(name_metric(name) == LOSS for name in self._logged if name != STEP):
            return
        loss = made.get(LOSS) if isinstance(made, Mapping) else made
        if isinstance(loss, Tensor) and loss.numel() == 1:
            logged = self._logged.setdefault(STEP, _Logged(LOSS))
            logged.values.append(float(loss))
            logged.counts.append(self._samples)

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        """Let the module's hooks log here, and see a trainer that validates."""
        module = self._module
        state = getattr(getattr(module, "_trainer", None), "state", None)
        stage = None if state is None else state.stage
        object.__setattr__(module, "log", self.log)
        try:
            if state is not None:
                module._trainer.validating = True
            yield
        finally:
            module.__dict__.pop("log", None)
            if state is not None:
                state.stage = stage


class Validation:
    """The validation of a module as a measure of batches, for ``trial.evaluate``.

    ``find_module`` gives the module to measure; ``form`` makes a batch of the user's of inputs and
    targets. ``higher_is_better`` names the metrics of which more is better, by torchmetrics.
    """

    def __init__(self, find_module: Callable[[], Any]) -> None:
        self._find_module = find_module
        self.form: Form = join_batch
        self._names: tuple[str, ...] | None = None
        self._pass: _Pass | None = None
        self._values: dict[str, float] | None = None
        self.higher_is_better: set[str] = set()

    def __call__(self, batch: Batch) -> Mapping[str, MetricObject]:
        """The module's metrics, each an object that has taken the batch into account."""
        names = self._names = self._names or self._learn_names(batch)
        if self._pass is None:
            self._pass = _Pass(self._find_module(), self.form)
        self._pass.add(batch)
        return {name: _OfPass(self, name) for name in names}

    def _learn_names(self, batch: Batch) -> tuple[str, ...]:
        """What the module logs, by a validation of one batch, as Lightning checks its sanity."""
        probe = _Pass(self._find_module(), self.form)
        try:
            probe.add(batch)
            found = tuple(probe.end())
            self.higher_is_better |= probe.higher_is_better
        finally:
            probe.reset()
        return found

    def compute(self, name: str) -> float:
        """A metric of the pass; the first call ends it.

        Raises:
            ContractError: the module logged no such metric in this pass.
        """
        assert self._pass is not None
        if self._values is None:
            self._values = self._pass.end()
        if name not in self._values:
            owner = type(self._find_module()).__name__
            raise ContractError(f"{owner} logs {name!r} in some validations only", "trainable")
        return self._values[name]

    def reset(self) -> None:
        """Forget the pass."""
        if self._pass is not None:
            self._pass.reset()
        self._pass = self._values = None


@dataclass(frozen=True)
class _OfPass:
    """One metric of a pass, as an object that collects batches."""

    validation: Validation
    name: str

    def update(self, outputs: Any, targets: Any) -> None:
        """Do nothing: the pass has taken the batch."""

    def compute(self) -> float:
        """The value of all batches."""
        return self.validation.compute(self.name)

    def reset(self) -> None:
        """Forget all batches."""
        self.validation.reset()


def _count_arguments(module: Any) -> int:
    """Whether a step takes the number of the batch, too: 2, else 1."""
    kinds = [p.kind for p in inspect.signature(module.validation_step).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 2
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(2, sum(kind in positional for kind in kinds))
