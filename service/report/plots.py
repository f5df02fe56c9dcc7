"""The plots: gap against λ, and learning curves. Inline SVG for the page, PNG for documents.

Colours are from the palette of Okabe and Ito, which is safe for colour-blind readers, and never
the only difference: penalties differ in markers, train and validation in dashes. Text and axes of
the SVG are ``currentColor``, so that a plot follows the dark mode of its page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from service.base.plain_text import clean
from service.report.curves import Curves
from service.report.report_data import ReportData
from service.report.verdict import describe_part
from service.study.records import GAP_REPORTED
from service.sweep.answer import Bounds
from trainables.config.penalties import PenaltyKind, penalties

_INK = "#1b1b1f"
BASELINE_COLOUR, BEST_COLOUR = "#D55E00", "#0072B2"
_ROLE_COLOURS = {"baseline": BASELINE_COLOUR, "best": BEST_COLOUR}
_STYLE = {
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "grid.alpha": 0.18,
    "grid.color": _INK,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "gapsweep",
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}

_WIDE = 100.0
_TRAIN_REPORTED = "train_reported/loss"
"""From this ratio of λ on, an axis has a label at decades only."""


def draw_gap_plot(data: ReportData) -> str:
    """Gap/loss against λ, one marker per completed trial, as inline SVG; empty without points."""
    return (
        render_svg("gap", (7.2, 4.0), lambda figure: _draw_gap(figure.subplots(), data))
        if any(data.gap_points.values())
        else ""
    )


def draw_curves_plot(data: ReportData) -> str:
    """Losses and gap of baseline and best over epochs, as inline SVG; empty without data."""

    def draw(figure: Figure) -> None:
        losses, gap = figure.subplots(1, 2)
        _draw_losses(losses, data)
        _draw_gap_curve(gap, data)

    return render_svg("curves", (9.6, 3.8), draw) if any(c.series for c in data.curves) else ""


def draw_effects_plot(data: ReportData) -> str:
    """The answer's differences with their intervals, as inline SVG; empty without replicates."""
    rows = list(_list_effects(data))
    if not rows:
        return ""
    return render_svg(
        "effects",
        (7.2, 1.0 + 0.36 * len(rows)),
        lambda figure: _draw_effects(figure.subplots(), rows, data),
    )


def draw_trials(figure: FigureBase, data: ReportData) -> None:
    """The gap against λ and the learning curves, side by side; without data with a note."""
    gap, losses, curve = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _draw_gap(gap, data)
    _draw_losses(losses, data)
    _draw_gap_curve(curve, data)


def save_figure(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    """Save a figure of ``size`` inches as a PNG file, on white."""
    with _apply_style():
        _save_png(_make_figure(size, draw), path)


def render_svg(
    name: str, size: tuple[float, float], draw: Callable[[Figure], None], png: Path | None = None
) -> str:
    """The figure as an ``<svg>`` element without prologue and dates, with unique ids.

    With ``png`` it is saved there, too, as by :func:`save_figure`.
    """
    buffer = StringIO()
    with _apply_style():
        figure = _make_figure(size, draw)
        if png is not None:
            _save_png(figure, png)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)


def _apply_style() -> AbstractContextManager[None]:
    return rc_context(_STYLE)  # type: ignore[arg-type]  # keys are literals in the stubs


def _make_figure(size: tuple[float, float], draw: Callable[[Figure], None]) -> Figure:
    """Draw a figure and lay it out, once: Matplotlib would again, twice, whenever it is saved."""
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    figure.set_layout_engine(None)
    return figure


def _save_png(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=130, facecolor="white", metadata={"Software": None})


def _draw_gap(axes: Axes, data: ReportData) -> None:
    axes.set(title="Generalisation gap against λ", xlabel="λ (log scale)", ylabel="gap/loss (nats)")
    axes.set_xscale("log")
    drawn = [p.lam for points in data.gap_points.values() for p in points]
    wide = bool(drawn) and max(drawn) > _WIDE * min(drawn)
    axes.xaxis.set_major_locator(LogLocator(numticks=7) if wide else LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda lam, _: f"{lam:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    for penalty, points in data.gap_points.items():
        style = penalties.built_in().get(penalty, PenaltyKind)
        lams, gaps = [p.lam for p in points], [p.gap for p in points]
        colour, marker = style.colour, style.marker
        axes.plot(
            lams, gaps, marker, color=colour, markersize=6, alpha=0.85, label=_name_line(penalty)
        )
    if data.baseline_gap is not None:
        axes.axhline(data.baseline_gap, color=_INK, linestyle="--", linewidth=1.3, label="baseline")
    _ring_best(axes, data)
    _finish(axes, bool(data.gap_points), "no completed trial with λ")


def _name_line(name: str) -> str:
    """A name for a legend, which leaves out what begins with an underscore."""
    return f" {clean(name)}" if name.startswith("_") else clean(name)


def _ring_best(axes: Axes, data: ReportData) -> None:
    for point in (p for points in data.gap_points.values() for p in points):
        if data.best is not None and point.trial == data.best.number:
            axes.scatter(
                point.lam, point.gap, s=170, facecolors="none", edgecolors=_INK, label="best trial"
            )


def _draw_losses(axes: Axes, data: ReportData) -> None:
    reported = any(_TRAIN_REPORTED in curves.series for curves in data.curves)
    train = "train as reported dotted" if reported else "train dashed"
    axes.set(title=f"Loss: {train}, validation solid", xlabel="epoch", ylabel="loss")
    for curves in data.curves:
        _draw_series(axes, curves, "train/loss", "--")
        _draw_series(axes, curves, _TRAIN_REPORTED, ":")
        _draw_series(axes, curves, "val/loss", "-")
    _finish(axes, bool(axes.lines), "no epochs")


def _draw_gap_curve(axes: Axes, data: ReportData) -> None:
    as_reported = ", as reported" if data.gap_note else ""
    axes.set(
        title=f"Generalisation gap: val − train{as_reported}", xlabel="epoch", ylabel="gap/loss"
    )
    axes.axhline(0, color=_INK, linewidth=0.8, alpha=0.6)
    for curves in data.curves:
        _draw_series(axes, curves, "gap/loss", "-")
        _draw_series(axes, curves, f"{GAP_REPORTED}/loss", "-")
    _finish(axes, len(axes.lines) > 1, "no epochs")


@dataclass(frozen=True)
class _Difference:
    label: str
    effect: float
    interval: Bounds
    colour: str


def _list_effects(data: ReportData) -> Iterator[_Difference]:
    """What the plot shows from top to bottom: the pick, early stopping, the parts."""
    answer = data.answer
    if not answer.arms:
        return
    if answer.effect is not None and answer.interval is not None:
        yield _Difference("pick − control", answer.effect, answer.interval, BEST_COLOUR)
    stopping = answer.early_stopping
    if stopping is not None:
        yield _Difference("control − baseline", stopping.effect, stopping.interval, BASELINE_COLOUR)
    params = data.best.params if data.best else {}
    for part in answer.parts:
        if part.effect is not None and part.interval is not None:
            named = describe_part(part.name, params)
            yield _Difference(f"pick − pick without {named}", part.effect, part.interval, _INK)


def _draw_effects(axes: Axes, rows: Sequence[_Difference], data: ReportData) -> None:
    better = "lower" if data.answer.mode == "min" else "higher"
    axes.set(xlabel=clean(f"difference of {data.answer.metric} ({better} is better)"))
    axes.set_yticks(range(len(rows)), [clean(row.label) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(0, color=_INK, linewidth=0.8, alpha=0.6)
    smallest = data.answer.min_effect
    if smallest is not None:
        axes.axvspan(-smallest, smallest, color=_INK, alpha=0.06)
    for place, row in enumerate(rows):
        axes.plot(row.interval, (place, place), color=row.colour, linewidth=1.7)
        axes.plot(row.effect, place, "o", color=row.colour, markersize=6)


def _draw_series(axes: Axes, curves: Curves, metric: str, line: str) -> None:
    """One line, with a dot at the epoch whose weights were kept."""
    if metric not in curves.series:
        return
    epochs, values = curves.series[metric]
    colour = _ROLE_COLOURS[curves.role]
    label = f"{curves.role} (trial {curves.trial})" if line == "-" else None
    axes.plot(epochs, values, line, color=colour, linewidth=1.7, label=label)
    if line == "-" and curves.best_epoch in epochs:
        kept = epochs.index(curves.best_epoch)
        axes.plot(epochs[kept], values[kept], "o", color=colour, markersize=6)


def _finish(axes: Axes, drawn: bool, otherwise: str) -> None:
    if drawn:
        axes.legend()
    else:
        axes.text(0.5, 0.5, otherwise, ha="center", va="center", transform=axes.transAxes)
