"""The program of a sweep's driver on the cluster: ``python -m service.server.driver ID``.

It finds the service's store through the home folder, runs the rest of the sweep, and reports its
progress to the store. Exit code 0 means that the store has recorded how the sweep ended; after any
other exit the service starts the driver of the next attempt.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from rich.console import Console
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from service.base.errors import (
    DamagedFileError,
    DiskFullError,
    InputError,
    SweepBusyError,
    SweepFailedError,
)
from service.base.redaction import redact
from service.base.streams import make_safe, use_safe_streams
from service.base.versions import require_same_version
from service.client.job_states import JobState, RequestedAction
from service.report.console import open_console
from service.report.progress import LineView
from service.run.sweep_control import Orders
from service.server import driver_config
from service.server.recorder import Recorder, StoreOutbox
from service.server.store.database import Database
from service.server.store.job_records import DriverReport, Job
from service.server.store.progress_store import ProgressStore
from service.server.store.sweep_store import SweepStore
from service.spec.model import SweepSpec
from service.spec.stored import parse_stored_spec
from service.study.records import TrialState
from service.sweep.environment import use_ray_token
from service.sweep.home import Home, SweepFolder
from service.sweep.sweep_observer import SweepObserver
from service.sweep.sweep_record import SweepState

if TYPE_CHECKING:
    from service.run.sweep_session import Ending

STORE_PATIENCE = 600.0
"""Seconds to wait for a store that does not answer when a sweep ends."""
_LOCK_PATIENCE = 60.0
"""Seconds to wait for the previous driver to release the sweep."""


@dataclass(frozen=True)
class Outcome:
    """The state in which a sweep ended, and why."""

    state: JobState
    cause: str


class Driver:
    """Runs one attempt of one sweep."""

    def __init__(
        self, home: Home, job: Job, spec: SweepSpec, progress: ProgressStore, console: Console
    ) -> None:
        self._home, self._job, self._progress, self._console = home, job, progress, console
        self._spec, self._orders = spec, Orders()

    def run(self) -> bool:
        """Run the sweep; False if the store could not record how it ended."""
        spec, job = self._spec, self._job
        recorder = Recorder(self._progress, job.sweep_id, job.attempt, self._orders, spec.resources)
        outbox = StoreOutbox(recorder, STORE_PATIENCE)
        outcome = self._run_sweep(recorder, outbox)
        self._console.print(f"{job.sweep_id}: {outcome.state} ({outcome.cause})", soft_wrap=True)
        if self._orders.stale:
            self._console.print("this attempt is over; another driver may run the sweep")
            return True

        def end() -> None:
            lost = outbox.losses.list(outbox.title)
            cause = outcome.cause + "".join(f"; not shown: {loss}" for loss in lost)
            self._progress.end(
                job.sweep_id, job.attempt, recorder.report(), outcome.state, redact(cause)
            )

        return outbox.close(end)

    def _run_sweep(self, recorder: Recorder, outbox: StoreOutbox) -> Outcome:
        try:
            ending = self._drive([LineView(self._console), outbox])
        except SweepFailedError:
            raise
        except DiskFullError as error:
            return Outcome(JobState.PAUSED, redact(str(error)))
        except InputError as error:
            return Outcome(JobState.FAILED, redact(str(error)))
        return _to_outcome(ending, recorder.requested_action)

    def _drive(self, observers: Sequence[SweepObserver]) -> Ending:
        from service.cluster.connection import Cluster
        from service.run.start_and_resume import continue_sweep

        return _wait_for_lock(
            lambda: continue_sweep(
                self._spec,
                self._home.create().sweep(self._job.sweep_id),
                self._home,
                cluster=Cluster("auto"),
                observers=observers,
                extension=self._job.more_trials,
                orders=self._orders,
            )
        )


def _wait_for_lock(run: Callable[[], Ending]) -> Ending:
    """Run the sweep as soon as the previous driver has released it."""
    retrying = Retrying(
        stop=stop_after_delay(_LOCK_PATIENCE),
        wait=wait_fixed(1.0),
        retry=retry_if_exception_type(SweepBusyError),
        reraise=True,
    )
    try:
        return retrying(run)
    except SweepBusyError:
        raise SweepFailedError("the previous driver is still running") from None


def _to_outcome(ending: Ending, action: RequestedAction | None) -> Outcome:
    sweep = ending.sweep
    if sweep.state is SweepState.INTERRUPTED:
        if action is None:
            raise SweepFailedError("the driver received a signal that the service did not send")
        stopped = JobState.PAUSED if action is RequestedAction.PAUSE else JobState.CANCELLED
        return Outcome(stopped, str(stopped))
    if sweep.state is SweepState.FAILED:
        reasons = {t.reason for t in sweep.of_state(TrialState.FAILED) if t.reason}
        return Outcome(
            JobState.FAILED, redact("; ".join(sorted(reasons)[:3]) or "no trial finished")
        )
    counts = {state: len(sweep.of_state(state)) for state in TrialState}
    words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    early = f"; stopped early: {ending.stopped.value}" if ending.stopped else ""
    missing = f"; MLflow lacks some records ({ending.unlogged})" if ending.unlogged else ""
    lost = "".join(f"; not shown: {loss}" for loss in ending.losses)
    return Outcome(JobState.SUCCEEDED, words + early + missing + redact(lost))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the driver and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.server.driver")
    parser.add_argument("sweep_id")
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    options = parser.parse_args(arguments)
    home = Home(options.home)
    folder = home.sweep(options.sweep_id)
    with suppress(OSError):  # else the sweep cannot be run, which is reported below
        home.create()
        folder.path.mkdir(exist_ok=True)
    with _open_log(folder) as log:
        console = open_console(make_safe(log), width=120)
        try:
            return 0 if _run(home, options.sweep_id, options.attempt, console) else 1
        except Exception:
            console.print(redact(traceback.format_exc()), soft_wrap=True)
            print(redact(traceback.format_exc()), file=sys.stderr)  # Ray captures it
            return 1


def _open_log(folder: SweepFolder) -> TextIO:
    """The sweep's log to append to; standard error, which Ray captures, if it cannot be used."""
    try:
        file: BinaryIO = folder.append(folder.driver_log)
    except (DamagedFileError, OSError) as error:
        print(f"{error}; the log continues here", file=sys.stderr)
        file = os.fdopen(os.dup(sys.stderr.fileno()), "wb")
    return io.TextIOWrapper(file, encoding="utf-8", errors="replace", line_buffering=True)


def _run(home: Home, sweep_id: str, attempt: int, console: Console) -> bool:
    config = driver_config.read(home)
    if config.mlflow_uri is not None:
        os.environ["GAPSWEEP_MLFLOW_URI"] = config.mlflow_uri
    database = Database(config.database_url)
    progress, job = ProgressStore(database), SweepStore(database).get(sweep_id)
    if job.attempt != attempt or not job.state.is_active:
        console.print(
            f"{sweep_id} is {job.state} in attempt {job.attempt}; attempt {attempt} is over"
        )
        return True
    console.print(f"{_format_now()} attempt {attempt} of {sweep_id}, process {os.getpid()}")
    try:
        require_same_version(config.version, "the service", "the cluster")
        spec = parse_stored_spec(job.spec, "the spec", home.data)
    except InputError as error:
        progress.end(sweep_id, attempt, DriverReport(), JobState.FAILED, redact(str(error)))
        return True
    return Driver(home, job, spec, progress, console).run()


def _format_now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


if __name__ == "__main__":
    use_safe_streams()
    use_ray_token()
    logging.captureWarnings(True)
    sys.exit(main())
