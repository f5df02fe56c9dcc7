"""The plots of a report in one PNG file, for documents."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from service.report.inspection_plots import draw_robustness, measure_robustness_plot
from service.report.plots import draw_trials, save_figure
from service.report.report_data import ReportData

_WIDTH, _TRIALS = 13.5, 4.2  # inches


def save_png(data: ReportData, path: Path) -> None:
    """Save the gap, the learning curves and, if measured, the scores on corrupted inputs."""
    robustness = data.inspection.robustness
    below = measure_robustness_plot(robustness)[1] if robustness.has_curves else 0.0

    def draw(figure: Figure) -> None:
        if not below:
            draw_trials(figure, data)
            return
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(_TRIALS, below))
        draw_trials(parts[0, 0], data)
        draw_robustness(parts[1, 0], robustness)

    save_figure(path, (_WIDTH, _TRIALS + below), draw)
