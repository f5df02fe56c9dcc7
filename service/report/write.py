"""The report as a file beside its sweep."""

from __future__ import annotations

import optuna

from service.report import page
from service.report.data import ReportData, build
from service.study.importance import importances
from service.study.records import Sweep
from service.sweep.home import SweepFolder, write_atomically


def write_report(sweep: Sweep, study: optuna.Study, folder: SweepFolder) -> ReportData:
    """Write the page; what it says is returned for the terminal."""
    data = build(sweep, importances(study))
    write_atomically(folder.report, page.render(data))
    return data
