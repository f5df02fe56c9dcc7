"""Writes the report into the folder of its sweep."""

from __future__ import annotations

from service.base.files import write_atomically
from service.report import page
from service.report.report_data import ReportData, build_report
from service.study.study import SweepStudy
from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep


def write_report(sweep: Sweep, study: SweepStudy, folder: SweepFolder) -> ReportData:
    """Write the page; returns its contents, for the terminal."""
    data = build_report(sweep, study.importances())
    write_atomically(folder.report, page.render(data))
    return data
