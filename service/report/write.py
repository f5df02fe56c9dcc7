"""Writes the report into the folder of its sweep, and the files that belong to it."""

from __future__ import annotations

from service.base.files import write_atomically
from service.report.column_text import write_columns
from service.report.report_data import ReportData, build_report
from service.study.study import SweepStudy
from service.sweep.home import SweepFolder
from service.sweep.inspection import Inspection
from service.sweep.sweep_record import Sweep


def write_report(sweep: Sweep, study: SweepStudy, folder: SweepFolder) -> ReportData:
    """Write the page and its files; returns its contents, for the terminal."""
    from service.report import page  # Matplotlib, which nothing else of a sweep needs

    data = build_report(sweep, study.importances())
    write_atomically(folder.report, page.render(data, folder.robustness))
    if not data.inspection.robustness.has_curves:  # the plot is an earlier session's
        folder.robustness.unlink(missing_ok=True)
    _write_columns(data.inspection, folder)
    return data


def _write_columns(found: Inspection, folder: SweepFolder) -> None:
    """Write the table, or delete that of an earlier session."""
    columns = found.columns
    if columns is not None and columns.columns:
        write_atomically(folder.columns, write_columns(columns))
    else:
        folder.columns.unlink(missing_ok=True)
