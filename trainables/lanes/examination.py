"""Whether trainings can share their steps, found by training some for two epochs of two steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from trainables.devices import list_used_generators
from trainables.distributed.process import Process
from trainables.lanes.batched_calls import Lanes, are_equal
from trainables.lanes.batching import batch, choose_ways
from trainables.lanes.group import Group
from trainables.lanes.reasons import CannotFuseError
from trainables.lanes.shape_key import explain_alone
from trainables.lanes.stacks import list_tensors
from trainables.lanes.tracing import record
from trainables.loop import TrainingRun, train
from trainables.regularisers.dropout import Dropout

CHECKED = "2.13"
"""The version of torch whose internals, by which calls are recorded, were checked."""
_LANES = 3
_STEPS = 2


@dataclass(frozen=True)
class Fusion:
    """Whether trainings share their steps: they do if there is no ``reason`` why not.

    ``measured_alone`` is why they share steps, and no passes that are measured; empty if both.
    """

    reason: str = ""
    measured_alone: str = ""

    def describe(self) -> str:
        """The answer in words."""
        if self.reason:
            return f"no: {self.reason}"
        measured = f", measured alone: {self.measured_alone}" if self.measured_alone else ""
        return f"yes, bit for bit with each trial alone{measured}"


def examine_fusion(run: TrainingRun) -> Fusion:
    """Whether trainings like this one, which stays as it is, can share their steps.

    Three such trainings, of other weights and dropout rates, take a few steps together and alone.
    Then the weights of one become NaN. Each of the others must have the bits that it has alone.
    """
    reason = explain_recorder() or explain_alone(run)
    if reason:
        return Fusion(reason)
    with torch.random.fork_rng(list_used_generators()):
        alone, shared = (list(_build_others(run)) for _ in range(2))
        try:
            return _compare(alone, shared)
        except CannotFuseError as error:
            return Fusion(str(error))


@cache
def explain_recorder() -> str:
    """Why no step can be recorded with this torch; empty if one can."""
    if not torch.__version__.startswith(f"{CHECKED}."):
        return f"lanes were checked with torch {CHECKED}; this is torch {torch.__version__}"
    x = torch.linspace(-1, 1, 12).view(2, 2, 3)
    try:
        made = record(lambda one: [one.mul(2).relu().sum(0)], [x[0].clone()])
        trial = [Lanes(x)]
        found = batch(made.graph, 2, choose_ways(made.graph, 2, [trial]), trial)(x)
    except Exception as error:  # of whatever type another torch raises
        return f"torch {torch.__version__} does not record a simple pass: {error}"
    same = are_equal(found[0], (x * 2).relu().sum(1))
    return "" if same else f"torch {torch.__version__} records a simple pass wrongly"


def _build_others(run: TrainingRun) -> Iterator[TrainingRun]:
    """Trainings like a given one, with weights and rates of their own."""
    torch.manual_seed(0)
    for lane in range(_LANES):
        other = run.parts.rebuild(Process())
        other.training = other.training.model_copy(update={"steps_per_epoch": _STEPS})
        for parameter in other.model.parameters():
            noise = torch.randn_like(parameter)
            parameter.data += lane * 0.01 * noise
        for module in other.model.modules():
            if isinstance(module, Dropout):
                module.p = 0.1 * lane
        yield other


def _compare(alone: list[TrainingRun], shared: list[TrainingRun]) -> Fusion:
    group = Group()
    for run in shared:
        group.take(run)
    try:
        _train_both(group, alone, shared)
    except CannotFuseError:  # that results differ says less than why lanes went alone
        if not group.reasons:
            raise
    if group.reasons:
        return Fusion(next(iter(group.reasons.values())))
    for run in (alone[1], shared[1]):
        for parameter in run.model.parameters():
            parameter.data.fill_(torch.nan)
    rest = [0, 2]
    if not all(shared[n] in group.runs for n in rest):
        return Fusion(measured_alone=group.measured_alone)  # a training of one epoch
    _train_both(group, [alone[n] for n in rest], [shared[n] for n in rest])
    return Fusion(measured_alone=group.measured_alone)


def _train_both(group: Group, alone: list[TrainingRun], shared: list[TrainingRun]) -> None:
    """Train an epoch together, and the same epoch alone.

    Raises:
        CannotFuseError: they differ.
    """
    outcomes = group.advance()
    for one, other in zip(alone, shared, strict=True):
        if outcomes[other] != next(train(one)):
            _name_difference(one, other)
            raise CannotFuseError("its metrics differ from those of the same training alone")
        _name_difference(one, other)


def _name_difference(alone: TrainingRun, shared: TrainingRun) -> None:
    pairs = zip(list_tensors(alone.model).items(), list_tensors(shared.model).values(), strict=True)
    for (name, one), other in pairs:
        if not are_equal(one, other):
            raise CannotFuseError(
                f"{name} differs by {_measure(one, other):.0e} from the same training alone"
            )


def _measure(one: Tensor, other: Tensor) -> float:
    return float((one.detach().double() - other.detach().double()).abs().max())
