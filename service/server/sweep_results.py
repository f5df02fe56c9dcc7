"""The results of a sweep, from the store and from its folder in the home folder."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from service.base.errors import InputError, NotReadyError
from service.client.job_states import JobState
from service.server.store.job_records import Job, Transition
from service.server.sweep_service import SweepService
from service.spec.stored import parse_stored_spec
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_summary
from service.sweep.summary import Summary, summarise
from service.sweep.sweep_record import Sweep, SweepState

if TYPE_CHECKING:
    from service.report.report_data import ReportData

_MAX_PART = 2**20
"""Bytes."""
_STATES = {
    JobState.SUCCEEDED: SweepState.SUCCEEDED,
    JobState.FAILED: SweepState.FAILED,
    JobState.CANCELLED: SweepState.INTERRUPTED,
    JobState.PAUSED: SweepState.INTERRUPTED,
}


def load_sweep(service: SweepService, job: Job) -> Sweep:
    """The sweep as recorded in the store, without epochs."""
    spec = parse_stored_spec(job.spec, job.sweep_id, service.settings.data)
    folder = _get_folder(service, job)
    ended = folder.summary.exists() and not job.state.is_active
    return Sweep.of(
        spec,
        sweep_id=job.sweep_id,
        state=_STATES.get(job.state, SweepState.RUNNING),
        seconds=sum_active_seconds(service.sweeps.history(job.sweep_id), time.time()),
        trials=service.progress.trials(job.sweep_id),
        answer=read_summary(folder).answer if ended else None,
    )


def sum_active_seconds(history: Sequence[Transition], now: float) -> float:
    """How long a sweep has been active on the cluster so far."""
    ends = [*(t.time for t in history[1:]), now]
    return sum(end - t.time for t, end in zip(history, ends, strict=True) if t.new.is_active)


def summary(service: SweepService, job: Job) -> Summary:
    """The sweep's summary, as in ``summary.json``.

    Raises:
        NotReadyError: no trial has started.
    """
    folder = _get_folder(service, job)
    if folder.summary.exists() and job.state.is_over:
        return Summary.model_validate_json(folder.summary.read_bytes())
    found = load_sweep(service, job)
    if not found.trials:
        raise NotReadyError(f"no trial of {job.sweep_id} has started yet")
    return summarise(found, folder)


def render_html(service: SweepService, job: Job) -> str:
    """The report as an HTML page.

    Raises:
        NotReadyError: no trial has started.
    """
    folder = _get_folder(service, job)
    if folder.report.exists() and not job.state.is_active:
        return folder.report.read_text(encoding="utf-8")
    from service.report.page import render

    return render(_build_report(folder))


def render_text(service: SweepService, job: Job) -> str:
    """The report as text for a terminal of 80 columns.

    Raises:
        NotReadyError: no trial has started.
    """
    from service.report.terminal import print_report

    output = io.StringIO()
    console = Console(file=output, width=80, highlight=False)
    print_report(_build_report(_get_folder(service, job)), console)
    return output.getvalue()


def _build_report(folder: SweepFolder) -> ReportData:
    from service.report.report_data import build_report
    from service.sweep.load import read_sweep

    try:
        _, study, found = read_sweep(folder)
    except InputError:
        raise NotReadyError(f"no trial of {folder.sweep_id} has started yet") from None
    return build_report(found, study.importances())


def read_log(service: SweepService, job: Job, offset: int) -> tuple[str, int]:
    """A part of the drivers' log from a byte offset on, and the offset of the next part."""
    path = _get_folder(service, job).driver_log
    if not path.exists() or offset > path.stat().st_size:
        return "", offset
    with path.open("rb") as file:
        file.seek(offset)
        part = file.read(_MAX_PART)
    lines = part[: part.rfind(b"\n") + 1]
    if not lines and (len(part) == _MAX_PART or job.state.is_over):  # the line will not get longer
        lines = part
    return lines.decode(errors="replace"), offset + len(lines)


def find_model(service: SweepService, job: Job) -> Path:
    """The file of the best trial's weights.

    Raises:
        NotReadyError: no best trial yet, or its weights are gone.
    """
    best = load_sweep(service, job).best
    path = None if best is None else _get_folder(service, job).best_weights(best.number)
    if path is None or not path.exists():
        raise NotReadyError(f"no model available for {job.sweep_id} (state: {job.state})")
    return path


def _get_folder(service: SweepService, job: Job) -> SweepFolder:
    return Home(service.settings.home).sweep(job.sweep_id)
