"""Terminal tables of a server's responses."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from service.base.number_format import MISSING, duration, number, size
from service.client.api_models import CostOut, NodeOut, SweepDetails, SweepOut, TrialOut
from service.client.job_states import JobState
from service.report.formatting import format_trial
from service.sweep.cost import Cost, describe_hours

_UNUSABLE = (AttributeError, KeyError, TypeError, ValueError, OverflowError)
"""What a progress report of the wrong form makes its reader raise."""


def sweeps_table(sweeps: Sequence[SweepOut]) -> Table:
    """One row per sweep."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("sweep", "owner", "state", "trials", "best", "gap/loss", "size", "age"):
        table.add_column(title, overflow="fold", no_wrap=title == "sweep")
    for sweep in sweeps:
        age = duration(max(0.0, time.time() - sweep.created))
        state, cells = str(sweep.state), _describe(sweep)
        table.add_row(sweep.sweep_id, sweep.owner, state, *cells, size(sweep.size), age)
    return table


def _describe(sweep: SweepOut) -> tuple[str, str, str]:
    """Trials, best value and its gap. A driver, which runs users' code, reported them."""
    try:
        best = sweep.progress.get("best") or {}
        value, gap = (number(_float(best.get(name))) for name in ("value", "gap/loss"))
        return _trials(sweep), value, gap
    except _UNUSABLE:
        return "damaged", MISSING, MISSING


def nodes_table(nodes: Sequence[NodeOut]) -> Table:
    """One row per node of the cluster."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("node", "CPUs", "GPUs"):
        table.add_column(title, overflow="fold")
    for node in nodes:
        table.add_row(node.name, f"{node.cpus:g}", f"{node.gpus:g}")
    return table


def status_table(sweep: SweepDetails) -> Table:
    """The fields of one sweep."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    progress = sweep.progress
    trials, _, _ = _describe(sweep)
    rows = [
        ("sweep", sweep.sweep_id),
        ("state", f"{sweep.state}: {sweep.cause}"),
        ("requested", sweep.requested_action),
        ("owner", sweep.owner),
        ("priority", str(sweep.priority) if sweep.priority else None),
        ("after", ", ".join(sweep.after)),
        ("code", f"bundle {sweep.bundle}" if sweep.bundle else None),
        ("trials", trials),
        ("concurrent", None if sweep.slots is None else str(sweep.slots)),
        ("baseline", _finalist(progress.get("baseline"), progress)),
        ("best", _finalist(progress.get("best"), progress)),
        *_describe_cost(sweep.cost),
        ("size", size(sweep.size) if sweep.size is not None else None),
        ("changes", "\n".join(progress.get("changes", ()))),
        ("driver failures", str(sweep.failures) if sweep.failures else None),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, value)
    return table


def _describe_cost(found: CostOut) -> Iterator[tuple[str, str]]:
    """What the trials have cost so far."""
    cost = Cost(**found.model_dump())
    for name, hours in (("CPU-hours", cost.cpu_hours), ("GPU-hours", cost.gpu_hours)):
        if any(hours):
            yield name, describe_hours(hours)


def history_table(sweep: SweepDetails) -> Table:
    """One row per transition of the sweep's state."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("time", "state", "by", "cause"):
        table.add_column(title, overflow="fold")
    for change in sweep.history:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(change.time))
        table.add_row(when, str(change.new), change.by, change.cause)
    return table


def trials_table(trials: Sequence[TrialOut]) -> Table:
    """One row per trial."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("trial", "state", "role", "value", "gap/loss"):
        table.add_column(title, no_wrap=True)
    table.add_column("configuration", overflow="fold")
    for trial in trials:
        table.add_row(
            str(trial.number),
            str(trial.state),
            str(trial.role),
            number(trial.value),
            number(trial.best.get("gap/loss")),
            format_trial(trial),
        )
    return table


def _trials(sweep: SweepOut) -> str:
    progress = sweep.progress
    if "planned" not in progress:
        return MISSING
    finished = sum(progress.get(state, 0) for state in ("complete", "pruned", "failed"))
    done = sweep.state is JobState.SUCCEEDED  # a confirmation may need fewer than were planned
    return f"{finished}/{finished if done else progress['planned']}"


def _finalist(found: Any, progress: Any) -> str | None:
    if not found:
        return None
    try:
        value, gap = (number(_float(found.get(name))) for name in ("value", "gap/loss"))
        return f"trial {found['trial']}: {progress['metric']} {value}, gap/loss {gap}"
    except _UNUSABLE:
        return "damaged"


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
