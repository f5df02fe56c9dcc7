"""What a sweep found, from the store and from its folder in the home."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console

from service.base.errors import InputError, NothingYetError
from service.server.actions import Service
from service.server.store.job_records import Job, Transition
from service.server.store.states import JobState
from service.spec.file import parse_spec
from service.sweep.home import Home, SweepFolder
from service.sweep.summary import Summary, summarise
from service.sweep.sweep_record import Sweep, SweepState

if TYPE_CHECKING:
    from service.report.data import ReportData

_PIECE = 2**20
_STATES = {
    JobState.SUCCEEDED: SweepState.SUCCEEDED,
    JobState.FAILED: SweepState.FAILED,
    JobState.CANCELLED: SweepState.INTERRUPTED,
    JobState.PAUSED: SweepState.INTERRUPTED,
}


def sweep_of(service: Service, job: Job) -> Sweep:
    """The sweep as the store knows it, without epochs."""
    spec = parse_spec(yaml.safe_load(job.spec), job.sweep_id, service.settings.data)
    return Sweep.of(
        spec,
        sweep_id=job.sweep_id,
        state=_STATES.get(job.state, SweepState.RUNNING),
        seconds=held_seconds(service.sweeps.history(job.sweep_id), time.time()),
        trials=service.progress.trials(job.sweep_id),
    )


def held_seconds(history: Sequence[Transition], now: float) -> float:
    """For how long a sweep has had a job on the cluster so far."""
    ends = [*(t.time for t in history[1:]), now]
    return sum(end - t.time for t, end in zip(history, ends, strict=True) if t.new.holds_a_job)


def summary(service: Service, job: Job) -> Summary:
    """The sweep in one object, as ``summary.json`` has it.

    Raises:
        NothingYetError: no driver has begun with it.
    """
    folder = _folder(service, job)
    if folder.summary.exists() and job.state.is_over:
        return Summary.model_validate_json(folder.summary.read_bytes())
    found = sweep_of(service, job)
    if not found.trials:
        raise NothingYetError(f"{job.sweep_id} has not begun a trial yet")
    return summarise(found, folder)


def page(service: Service, job: Job) -> str:
    """The report as a page.

    Raises:
        NothingYetError: no trial has begun.
    """
    folder = _folder(service, job)
    if folder.report.exists() and not job.state.holds_a_job:
        return folder.report.read_text(encoding="utf-8")
    from service.report.page import render

    return render(_report(folder))


def text(service: Service, job: Job) -> str:
    """The report as a terminal of 80 columns shows it.

    Raises:
        NothingYetError: no trial has begun.
    """
    from service.report.terminal import print_report

    written = io.StringIO()
    print_report(_report(_folder(service, job)), Console(file=written, width=80, highlight=False))
    return written.getvalue()


def _report(folder: SweepFolder) -> ReportData:
    from service.report.data import build
    from service.sweep.load import read_sweep

    try:
        _, study, found = read_sweep(folder)
    except InputError:
        raise NothingYetError(f"{folder.sweep_id} has not begun a trial yet") from None
    return build(found, study.importances())


def log(service: Service, job: Job, offset: int) -> tuple[str, int]:
    """What the drivers wrote from a byte on, and where it goes on."""
    path = _folder(service, job).driver_log
    if not path.exists():
        return "", offset
    with path.open("rb") as file:
        file.seek(offset)
        piece = file.read(_PIECE)
    whole = piece[: piece.rfind(b"\n") + 1]
    if len(whole) == 0 and (len(piece) == _PIECE or job.state.is_over):  # there is no more of it
        whole = piece
    return whole.decode(errors="replace"), offset + len(whole)


def model(service: Service, job: Job) -> Path:
    """The file of the best trial's weights.

    Raises:
        NothingYetError: there is none.
    """
    best = sweep_of(service, job).best
    path = None if best is None else _folder(service, job).best_weights(best.number)
    if path is None or not path.exists():
        raise NothingYetError(f"{job.sweep_id} is {job.state} and has no best model")
    return path


def _folder(service: Service, job: Job) -> SweepFolder:
    return Home(service.settings.home).sweep(job.sweep_id)
