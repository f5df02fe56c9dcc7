"""Scores on corrupted inputs as rows of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from service.base.number_format import MISSING
from service.sweep.answer import Mean
from service.sweep.inspection import ArmRobustness, CorruptionCurve, RobustnessSummary
from trainables.config.robustness import CALIBRATION

NAMES = {CALIBRATION: "calibration error"}
_SHOWN = (1, -1)
"""The levels of a corruption that a table shows, beside none: a low one and the highest."""
_UNITS = {
    "standard deviations": "{level:g} sd",
    "pixels (sigma)": "{level:g} px",
    "pixels": "{level:g} px",
    "share of values": "{percent:g} %",
}


@dataclass(frozen=True)
class RobustRow:
    """The scores of every arm on inputs corrupted in one way."""

    inputs: str
    cells: tuple[str, ...]


def list_scores(found: RobustnessSummary) -> tuple[str, ...]:
    """The names of the scores, the loss first."""
    return tuple(dict.fromkeys(name for arm in found.arms for name in arm.clean))


def describe_scores(found: RobustnessSummary) -> str:
    """The scores in words: ``loss, accuracy, calibration error``."""
    return ", ".join(NAMES.get(name, name) for name in list_scores(found))


def list_robust_rows(found: RobustnessSummary) -> Iterator[RobustRow]:
    """One row without corruption, and two for each kind; none without scores."""
    arms, scores = found.arms, list_scores(found)
    if not scores:
        return
    yield RobustRow("as they are", tuple(_describe(arm.clean, scores) for arm in arms))
    kinds = dict.fromkeys((c.corruption, c.unit) for arm in arms for c in arm.curves)
    for corruption, unit in kinds:
        levels = sorted({p.level for c in _find(arms, corruption) if c for p in c.levels} - {0.0})
        for level in dict.fromkeys(levels[i] for i in _SHOWN if len(levels) > max(i, 0)):
            cells = tuple(_describe(_at(c, level), scores) for c in _find(arms, corruption))
            yield RobustRow(f"{corruption} {name_level(level, unit)}", cells)


def name_level(level: float, unit: str) -> str:
    """A level in its unit."""
    return _UNITS.get(unit, "{level:g}").format(level=level, percent=100 * level)


def _find(arms: tuple[ArmRobustness, ...], corruption: str) -> list[CorruptionCurve | None]:
    return [next((c for c in a.curves if c.corruption == corruption), None) for a in arms]


def _at(curve: CorruptionCurve | None, level: float) -> dict[str, Mean]:
    points = () if curve is None else curve.levels
    return next((p.scores for p in points if p.level == level), {})


def _describe(scores: dict[str, Mean], names: tuple[str, ...]) -> str:
    if not scores:
        return MISSING
    return " ".join(_shorten(scores[n].mean) if n in scores else MISSING for n in names)


def _shorten(value: float) -> str:
    """Five characters for most scores, so that three of them fit three times into a line."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"
