"""What baseline, control and best consist of, as rows of text for terminal and page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.base.number_format import MISSING
from service.report.formatting import format_share
from service.report.report_data import ReportData
from trainables.config.anatomy import Anatomy

NETWORKS_NOTE = (
    "Effective parameters are not zero, and the outputs depend on them; dead units have the same "
    "output for every validation sample."
)


@dataclass(frozen=True)
class NetworkRow:
    """One count of baseline, control and best."""

    name: str
    cells: tuple[str, ...]


def list_network_rows(data: ReportData) -> Iterator[NetworkRow]:
    """The counts of the three networks; nothing before they were measured."""
    finalists = (data.baseline, data.control, data.best)
    found = [None if trial is None else trial.anatomy for trial in finalists]
    if not any(found):
        return
    for name, describe in _COUNTS.items():
        yield NetworkRow(name, tuple(MISSING if a is None else describe(a) for a in found))


def name_finalists(data: ReportData) -> tuple[str, ...]:
    """The titles of the columns of baseline, control and best."""
    finalists = (("baseline", data.baseline), ("control", data.control), ("best", data.best))
    return tuple(f"{role} ({trial.number if trial else 'none'})" for role, trial in finalists)


def _count(count: int | None, of: int) -> str:
    return MISSING if count is None else f"{count:,} ({format_share(count / of if of else 0.0)})"


_COUNTS: dict[str, Callable[[Anatomy], str]] = {
    "parameters": lambda a: f"{a.parameters:,}",
    "exact zeros": lambda a: _count(a.zeros, a.parameters),
    "effective": lambda a: _count(a.effective, a.parameters),
    "dead units": lambda a: f"{a.dead:,} of {a.units:,}" if a.units else MISSING,
}
