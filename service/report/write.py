"""The report as a file beside its sweep."""

from __future__ import annotations

import optuna

from service.home import SweepFolder, write_atomically
from service.records import Sweep
from service.report import page
from service.report.data import ReportData, build
from service.report.importance import importances


def write_report(sweep: Sweep, study: optuna.Study, folder: SweepFolder) -> ReportData:
    """Write the page; what it says is returned for the terminal."""
    data = build(sweep, importances(study))
    write_atomically(folder.report, page.render(data))
    return data
