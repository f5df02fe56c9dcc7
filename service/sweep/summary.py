"""The summary of a sweep, which `--json` prints and `summary.json` contains."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import groupby
from typing import Any

from pydantic import Field

from search_spaces.models import Frozen
from search_spaces.values import Value
from service.base.json_numbers import Number
from service.study.records import Role, Trial, TrialState
from service.sweep.answer import Answer
from service.sweep.cost import Cost
from service.sweep.home import SweepFolder
from service.sweep.inspection import Inspection
from service.sweep.lost_items import Loss
from service.sweep.range_edges import EdgeWarning, find_edges
from service.sweep.sweep_record import Sweep, SweepState

_LIBRARIES = ("gapsweep", "ray", "optuna", "mlflow", "torch", "kornia", "numpy")


class TrialCounts(Frozen):
    """The number of the search's trials in each state."""

    complete: int
    pruned: int
    failed: int
    running: int
    paused: int = 0

    @property
    def total(self) -> int:
        """The number of started trials."""
        return self.complete + self.pruned + self.failed + self.running + self.paused


class TrialSummary(Frozen):
    """A finalist. ``checkpoint`` is relative to the home folder.

    The parts ``not_acting`` of its configuration had no effect on its kept weights. Of a trial that
    was trained on several folds, ``folds`` has the metrics of each, and ``metrics`` their means.
    """

    number: int
    params: dict[str, Value]
    metrics: dict[str, Number]
    not_acting: tuple[str, ...] = ()
    folds: tuple[dict[str, Number], ...] = ()
    checkpoint: str | None


class PenaltySummary(Frozen):
    """The trials of one penalty, and the best of them."""

    penalty: str
    complete: int
    pruned: int
    best: TrialSummary | None


class CostSummary(Frozen):
    """Hours of CPUs and GPUs that trials held."""

    search_cpu_hours: Number
    search_gpu_hours: Number
    confirmation_cpu_hours: Number
    confirmation_gpu_hours: Number


class Summary(Frozen):
    """A sweep, its counts, its answer, its finalists, and where it ran.

    ``replicates`` and ``audits`` count the trainings after the search. ``answer`` is None before
    the sweep has ended, and for sweeps that an older gapsweep ran; ``inspection`` is what its
    networks are like beside their scores. ``losses`` are what the last session could not show, tell
    or log; ``changes`` say from which trial on it ran on something else, ``not_neutral`` what
    regularises the baseline all the same, ``reading`` how the data were read, ``ranges`` what the
    ranges of λ mean, ``idle_ranges`` which of them cannot act.
    """

    sweep_id: str
    name: str
    state: SweepState
    seconds: Number
    trials: TrialCounts
    replicates: int = 0
    audits: int = 0
    answer: Answer | None = None
    inspection: Inspection | None = None
    cost: CostSummary | None = None
    baseline: TrialSummary | None
    control: TrialSummary | None = None
    best: TrialSummary | None
    by_penalty: list[PenaltySummary]
    environment: dict[str, str]
    losses: tuple[Loss, ...] = ()
    changes: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()
    not_neutral: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    idle_ranges: tuple[str, ...] = ()
    search_end: str | None = Field(None, description="why the search ended before its budget")
    repeats_avoided: int = Field(
        0, description="trials that took another point than one trained already"
    )
    edges: EdgeWarning | None = Field(
        None, description="parameters of the pick at an edge of their ranges, and what to do"
    )
    not_acting: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="parts without effect, with the trials of the search"
    )


def summarise(sweep: Sweep, folder: SweepFolder, losses: tuple[Loss, ...] = ()) -> Summary:
    """Build the summary of a sweep."""
    return Summary(
        **_describe_state(sweep),
        answer=sweep.answer,
        inspection=sweep.inspection,
        baseline=_summarise_trial(sweep.baseline, folder),
        control=_summarise_trial(sweep.control, folder),
        best=_summarise_trial(sweep.best, folder),
        by_penalty=list(_summarise_penalties(sweep, folder)),
        environment=describe_environment(),
        edges=find_edges(sweep),
        losses=losses,
    )


def summarise_state(sweep: Sweep, losses: tuple[Loss, ...]) -> Summary:
    """The summary of a sweep whose figures cannot be summarised: its state and its counts."""
    state = _describe_state(sweep)
    return Summary(**state, baseline=None, best=None, by_penalty=[], environment={}, losses=losses)


def _describe_state(sweep: Sweep) -> dict[str, Any]:
    audits = sum(t.role is Role.AUDIT for t in sweep.trials)
    return {
        "sweep_id": sweep.sweep_id,
        "name": sweep.name,
        "state": sweep.state,
        "seconds": round(sweep.seconds, 3),
        "cost": None if sweep.cost is None else _summarise_cost(sweep.cost),
        "trials": TrialCounts(**{s.value: _count(sweep.searched, s) for s in TrialState}),
        "replicates": sum(t.confirms is not None for t in sweep.trials) - audits,
        "audits": audits,
        "changes": sweep.changes,
        "reading": sweep.reading,
        "not_neutral": sweep.not_neutral,
        "ranges": sweep.ranges,
        "idle_ranges": sweep.idle_ranges,
        "search_end": sweep.search_end,
        "repeats_avoided": sweep.repeats,
        "not_acting": dict(sweep.not_acting),
    }


def _summarise_cost(cost: Cost) -> CostSummary:
    (search_cpu, confirmation_cpu), (search_gpu, confirmation_gpu) = cost.cpu_hours, cost.gpu_hours
    return CostSummary(
        search_cpu_hours=search_cpu,
        search_gpu_hours=search_gpu,
        confirmation_cpu_hours=confirmation_cpu,
        confirmation_gpu_hours=confirmation_gpu,
    )


def describe_environment() -> dict[str, str]:
    """Return the properties of the machine and the versions of the libraries."""
    versions = {name: version(name) for name in _LIBRARIES}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        **versions,
    }


def _summarise_trial(trial: Trial | None, folder: SweepFolder) -> TrialSummary | None:
    if trial is None:
        return None
    weights = folder.best_weights(trial.number)
    home = folder.path.parent.parent
    return TrialSummary(
        number=trial.number,
        params=dict(trial.params),
        metrics=dict(trial.best),
        not_acting=trial.not_acting,
        folds=tuple(map(dict, trial.folds)),
        checkpoint=weights.relative_to(home).as_posix() if folder.has(weights) else None,
    )


def _summarise_penalties(sweep: Sweep, folder: SweepFolder) -> Iterator[PenaltySummary]:
    searched = (t for t in sweep.searched if t.role is not Role.BASELINE)  # it never stops early
    by_name = sorted(searched, key=lambda t: t.penalty)
    for penalty, group in groupby(by_name, key=lambda t: t.penalty):
        trials = tuple(group)
        complete = [t for t in trials if t.state is TrialState.COMPLETE]
        yield PenaltySummary(
            penalty=penalty,
            complete=len(complete),
            pruned=_count(trials, TrialState.PRUNED),
            best=_summarise_trial(min(complete, key=sweep.ranking.key, default=None), folder),
        )


def _count(trials: Iterable[Trial], state: TrialState) -> int:
    return sum(t.state is state for t in trials)
