"""The trials of each penalty and of each augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.values import Value
from service.report.formatting import format_parts, list_idle_parameters
from service.report.ordering import NAMES, by_order
from service.study.records import Role, Trial, TrialState
from service.sweep.sweep_record import Sweep

IDLE_MARK = "*"
"""What stands behind the number of a trial of which a part had no effect."""


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """The trials of one penalty or augmentation, and the best completed one of them.

    ``gaps`` belong to that trial, in the order of the gap metrics of the report, and so do the
    parts ``not_acting``.
    """

    name: str
    complete: int
    pruned: int
    trial: int | None
    value: float | None
    gaps: tuple[float | None, ...]
    lam: Value
    dropout: Value
    not_acting: tuple[str, ...] = ()


def describe_idle(row: GroupRow) -> str:
    """Which parts of a row's trial had no effect."""
    return f"{IDLE_MARK} trial {row.trial}: no effect of {format_parts(row.not_acting)}"


def group_trials(
    sweep: Sweep, gap_metrics: tuple[str, ...], name_of: Callable[[Trial], str]
) -> tuple[GroupRow, ...]:
    """A row for each name that a trial of the search has, in the order of reports."""
    trials = [t for t in sweep.searched if t.role is not Role.BASELINE]  # it never stops early
    names = sorted({name_of(t) for t in trials}, key=by_order(NAMES))
    return tuple(
        _build_group(sweep, gap_metrics, name, [t for t in trials if name_of(t) == name])
        for name in names
    )


def _build_group(
    sweep: Sweep, gap_metrics: tuple[str, ...], name: str, trials: list[Trial]
) -> GroupRow:
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    best = min(complete, key=sweep.ranking.key, default=None)
    return GroupRow(
        name=name,
        complete=len(complete),
        pruned=sum(t.state is TrialState.PRUNED for t in trials),
        trial=best.number if best else None,
        value=best.value if best else None,
        gaps=tuple(best.best.get(m) if best else None for m in gap_metrics),
        lam=best.params.get("lambda") if best else None,
        dropout=best.params.get("dropout") if best else None,
        not_acting=list_idle_parameters(best.not_acting) if best else (),
    )
