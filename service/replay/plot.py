"""The plot of a comparison: regret against epochs and against time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from service.base.plain_text import clean
from service.replay.comparison import Compared, Comparison, Curve
from service.replay.replay_terminal import shorten
from service.report.plots import save_figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1b1b1f")
"""Okabe and Ito's; lines of one colour differ in their dashes."""
_DASHES = ("-", "--", ":", "-.")
_HEIGHT = 3.6  # inches


def save_plot(found: Comparison, path: Path) -> None:
    """Save the median regret of every pruner and sampler, a row of plots for each history.

    Raises:
        OSError: the file cannot be written.
    """

    def draw(figure: Figure) -> None:
        rows = figure.subplots(len(found.histories), 2, squeeze=False)
        for compared, (by_epochs, by_seconds) in zip(found.histories, rows, strict=True):
            _draw(by_epochs, compared, "by_epochs", "epochs")
            _draw(by_seconds, compared, "by_seconds", "seconds")
            by_epochs.legend()

    save_figure(path, (10.5, _HEIGHT * len(found.histories)), draw)


def _draw(axes: Axes, compared: Compared, by: str, unit: str) -> None:
    axes.set(
        title=clean(f"{compared.history}: regret of {compared.metric}, median"),
        xlabel=f"{unit} of the search",
        ylabel="regret",
    )
    names = {o.sampler for o in compared.outcomes}
    for place, outcome in enumerate(compared.outcomes):
        curve: Curve = getattr(outcome, by)
        pruner, sampler = shorten(outcome.pruner), shorten(outcome.sampler)
        whole = pruner if len(names) == 1 else f"{pruner}; {sampler}"
        end = (outcome.epochs if by == "by_epochs" else outcome.seconds).value
        shown = np.asarray(curve.at) <= end * 1.02
        axes.plot(
            np.asarray(curve.at)[shown],
            np.where(np.isfinite(curve.median), curve.median, np.nan)[shown],
            _DASHES[place // len(_COLOURS) % len(_DASHES)],
            color=_COLOURS[place % len(_COLOURS)],
            linewidth=1.6,
            label=clean(whole),
        )
    axes.set_ylim(bottom=0)
