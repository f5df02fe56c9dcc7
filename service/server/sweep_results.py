"""The results of a sweep, from the store and from its folder in the home folder."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, BinaryIO

from service.base.errors import NotReadyError, RateLimitError
from service.client.job_states import JobState
from service.server.store.job_records import Job, Transition
from service.server.sweep_service import SweepService
from service.spec.model import SweepSpec
from service.spec.stored import parse_stored_spec
from service.sweep.home import Home, SweepFolder
from service.sweep.load import blame, find_summary, read_sampled_spec, read_trials_of
from service.sweep.summary import Summary, summarise
from service.sweep.sweep_files import SERVER_LIMITS
from service.sweep.sweep_record import Sweep, SweepState

if TYPE_CHECKING:
    from service.report.report_data import ReportData

_MAX_PART = 2**20
"""Bytes."""
_REPORTS = BoundedSemaphore(4)
"""How many reports are made at the same time; the server has 40 threads."""
_REPORT_PATIENCE = 5.0
"""Seconds."""
_STATES = {
    JobState.SUCCEEDED: SweepState.SUCCEEDED,
    JobState.FAILED: SweepState.FAILED,
    JobState.CANCELLED: SweepState.INTERRUPTED,
    JobState.PAUSED: SweepState.INTERRUPTED,
}


def load_sweep(service: SweepService, job: Job) -> Sweep:
    """The sweep as recorded in the store, without epochs.

    Raises:
        DamagedFileError: its summary cannot be used.
    """
    spec = _load_spec(service, job)
    found = None if job.state.is_active else find_summary(_get_folder(service, job))
    return Sweep.of(
        spec,
        sweep_id=job.sweep_id,
        state=_STATES.get(job.state, SweepState.RUNNING),
        seconds=sum_active_seconds(service.sweeps.history(job.sweep_id), time.time()),
        trials=service.progress.trials(job.sweep_id),
        answer=None if found is None else found.answer,
        inspection=None if found is None else found.inspection,
        reading=() if found is None else found.reading,
    )


def sum_active_seconds(history: Sequence[Transition], now: float) -> float:
    """How long a sweep has been active on the cluster so far."""
    ends = [*(t.time for t in history[1:]), now]
    return sum(end - t.time for t, end in zip(history, ends, strict=True) if t.new.is_active)


def summary(service: SweepService, job: Job) -> Summary:
    """The sweep's summary, as in ``summary.json``.

    Raises:
        NotReadyError: no trial has started.
        DamagedFileError: its summary cannot be used.
    """
    folder = _get_folder(service, job)
    written = find_summary(folder) if job.state.is_over else None
    if written is not None:
        return written
    found = load_sweep(service, job)
    if not found.trials or found.spec is None:
        raise NotReadyError(f"no trial of {job.sweep_id} has started yet")
    sampled = read_sampled_spec(found.spec, folder)
    return summarise(replace(found, spec=sampled), folder)


def render_html(service: SweepService, job: Job) -> str:
    """The report as an HTML page.

    Raises:
        NotReadyError: no trial has started.
        DamagedFileError: a file of the sweep cannot be used.
    """
    folder = _get_folder(service, job)
    if not job.state.is_active:
        with suppress(FileNotFoundError):
            return folder.read(folder.report).decode(errors="replace")
    from service.report.page import render

    with blame(folder, folder.journal):
        return render(_build_report(service, job))


def render_text(service: SweepService, job: Job) -> str:
    """The report as text for a terminal of 80 columns.

    Raises:
        NotReadyError: no trial has started.
        DamagedFileError: a file of the sweep cannot be used.
    """
    from service.report.console import open_console
    from service.report.terminal import print_report

    output, folder = io.StringIO(), _get_folder(service, job)
    console = open_console(output, width=80)
    with blame(folder, folder.journal):
        print_report(_build_report(service, job), console)
    return output.getvalue()


def _build_report(service: SweepService, job: Job) -> ReportData:
    """The report on the study as it is now, by the spec of the store and not of the folder."""
    from service.report.report_data import build_report

    folder, state = _get_folder(service, job), _STATES.get(job.state, SweepState.RUNNING)
    with _limit_reports():
        try:
            study, found = read_trials_of(_load_spec(service, job), folder, state)
        except NotReadyError:
            raise NotReadyError(f"no trial of {folder.sweep_id} has started yet") from None
        return build_report(found, study.importances())


@contextmanager
def _limit_reports() -> Iterator[None]:
    """Leave threads for other requests: a report of a large study takes seconds.

    Raises:
        RateLimitError: as many reports as may be are being made.
    """
    if not _REPORTS.acquire(timeout=_REPORT_PATIENCE):
        raise RateLimitError("too many reports are being made at the same time", _REPORT_PATIENCE)
    try:
        yield
    finally:
        _REPORTS.release()


def read_log(service: SweepService, job: Job, offset: int) -> tuple[str, int]:
    """A part of the drivers' log from a byte offset on, and the offset of the next part.

    Raises:
        DamagedFileError: the log cannot be used.
    """
    folder = _get_folder(service, job)
    try:
        with folder.open(folder.driver_log) as file:
            file.seek(min(offset, os.fstat(file.fileno()).st_size))
            part = file.read(_MAX_PART)
    except FileNotFoundError:
        return "", offset
    lines = part[: part.rfind(b"\n") + 1]
    if not lines and (len(part) == _MAX_PART or job.state.is_over):  # the line will not get longer
        lines = part
    return lines.decode(errors="replace"), offset + len(lines)


def open_model(service: SweepService, job: Job) -> BinaryIO:
    """The best trial's weights, opened for reading.

    Raises:
        NotReadyError: no best trial yet, or its weights are gone.
        DamagedFileError: the file of the weights cannot be used.
    """
    best, folder = load_sweep(service, job).best, _get_folder(service, job)
    if best is not None:
        with suppress(FileNotFoundError):
            return folder.open(folder.best_weights(best.number))
    raise NotReadyError(f"no model available for {job.sweep_id} (state: {job.state})")


def _load_spec(service: SweepService, job: Job) -> SweepSpec:
    return parse_stored_spec(job.spec, job.sweep_id, service.settings.data)


def _get_folder(service: SweepService, job: Job) -> SweepFolder:
    """The sweep's folder, which users' code may have changed in any way."""
    return SweepFolder(Home(service.settings.home).sweep(job.sweep_id).path, SERVER_LIMITS)
