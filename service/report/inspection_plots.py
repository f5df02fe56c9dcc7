"""The plots of robustness and of kept columns, in the style of :mod:`service.report.plots`."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from service.base.plain_text import clean
from service.report.plots import BASELINE_COLOUR, BEST_COLOUR, render_svg
from service.report.robustness_text import NAMES, list_scores
from service.sweep.inspection import (
    STABLE_SHARE,
    ColumnShare,
    CorruptionCurve,
    InputColumns,
    RobustnessSummary,
)

MOST_COLUMNS = 40
_LONGEST = 40  # characters of a column's name
_STYLES = {
    "baseline": (BASELINE_COLOUR, "s", "--"),
    "control": ("#009E73", "^", ":"),
    "pick": (BEST_COLOUR, "o", "-"),
}
_WIDTH, _ROW = 9.6, 2.1  # inches


def draw_robustness_plot(found: RobustnessSummary, png: Path | None = None) -> str:
    """Every score against every corruption's levels, as inline SVG; empty without levels.

    With ``png`` the plot is saved there, too, on white.
    """
    if not found.has_curves:
        return ""
    size = measure_robustness_plot(found)
    return render_svg("robustness", size, lambda figure: draw_robustness(figure, found), png)


def draw_columns_plot(found: InputColumns) -> str:
    """The share of trainings that keep a column, of those that most keep, as inline SVG."""
    shown = found.columns[:MOST_COLUMNS]
    return render_svg(
        "columns",
        (_WIDTH, 0.8 + 0.22 * len(shown)),
        lambda figure: _draw_columns(figure.subplots(), shown),
    )


def _list_kinds(found: RobustnessSummary) -> list[str]:
    return list(dict.fromkeys(c.corruption for arm in found.arms for c in arm.curves))


def measure_robustness_plot(found: RobustnessSummary) -> tuple[float, float]:
    """The size of the plot in inches."""
    return _WIDTH, 0.5 + _ROW * len(list_scores(found))


def draw_robustness(figure: FigureBase, found: RobustnessSummary) -> None:
    """A grid of plots: one row for each score, one column for each kind of corruption."""
    kinds, scores = _list_kinds(found), list_scores(found)
    grid = figure.subplots(len(scores), len(kinds), squeeze=False, sharex="col", sharey="row")
    for row, score in zip(grid, scores, strict=True):
        row[0].set_ylabel(clean(NAMES.get(score, score)))
        for axes, kind in zip(row, kinds, strict=True):
            for arm in found.arms:
                for curve in (c for c in arm.curves if c.corruption == kind):
                    _draw_curve(axes, arm.arm, curve, score)
    for axes, kind in zip(grid[0], kinds, strict=True):
        axes.set_title(kind)
    units = {c.corruption: c.unit for arm in found.arms for c in arm.curves}
    for axes, kind in zip(grid[-1], kinds, strict=True):
        axes.set_xlabel(units[kind])
    grid[0][0].legend()


def _draw_curve(axes: Axes, arm: str, curve: CorruptionCurve, score: str) -> None:
    points = [(p.level, p.scores[score]) for p in curve.levels if score in p.scores]
    levels, means = [level for level, _ in points], [mean.mean for _, mean in points]
    halves = [mean.half or 0.0 for _, mean in points]
    colour, marker, line = _STYLES[arm]
    axes.plot(levels, means, line, marker=marker, color=colour, markersize=4, label=arm)
    if any(halves):
        low = [m - h for m, h in zip(means, halves, strict=True)]
        high = [m + h for m, h in zip(means, halves, strict=True)]
        axes.fill_between(levels, low, high, color=colour, alpha=0.12, linewidth=0)


def _draw_columns(axes: Axes, columns: tuple[ColumnShare, ...]) -> None:
    places = range(len(columns))
    axes.barh(places, [100 * c.share for c in columns], color=BEST_COLOUR, height=0.6)
    axes.axvline(100 * STABLE_SHARE, color=BASELINE_COLOUR, linewidth=1, linestyle=":")
    axes.set_yticks(places, [clean(_cut(c.name)) for c in columns])
    axes.set_ylim(len(columns) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="trainings that keep the column, in per cent")


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
