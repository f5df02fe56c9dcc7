"""The program of a sweep's driver on the cluster, which ``start_driver.py`` starts.

It finds the service's API by a file in the sweep's folder, runs the rest of the sweep, and reports
its progress over the API. Exit code 0 means that the service has recorded how the sweep ended;
after any other exit the service starts the driver of the next attempt.
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
from urllib.parse import urlsplit

from rich.console import Console
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from search_spaces.widening import read_wider
from service.base.disk import is_disk_full
from service.base.errors import (
    DamagedFileError,
    DiskFullError,
    HomeError,
    InputError,
    ServerError,
    StaleDriverError,
    SweepBusyError,
    SweepFailedError,
    UnauthorizedError,
)
from service.base.redaction import redact
from service.base.streams import make_safe, use_safe_streams
from service.base.versions import require_same_version
from service.client.client import Client
from service.client.driver_reports import DriverJobOut
from service.client.job_states import JobState, RequestedAction
from service.cluster.code_access import enter_policy
from service.report.console import open_console
from service.report.progress import LineView
from service.run.sweep_control import Orders
from service.server import driver_config
from service.server.driver_client import DriverClient
from service.server.driver_config import DriverConfig
from service.server.recorder import Recorder, StoreOutbox
from service.server.store.job_records import DriverReport
from service.spec.model import SweepSpec
from service.spec.stored import parse_stored_spec
from service.study.records import TrialState
from service.sweep.environment import use_ray_token
from service.sweep.home import Home, SweepFolder
from service.sweep.sweep_observer import SweepObserver
from service.sweep.sweep_record import SweepState
from trainables.config.code_policy import CodePolicy, restore_policy

if TYPE_CHECKING:
    from service.run.sweep_session import Ending

SERVICE_PATIENCE = 600.0
"""Seconds to wait for a service that does not answer when a sweep ends."""
START_PATIENCE = 120.0
"""Seconds to wait for a service that does not answer when the driver starts."""
_MLFLOW_CREDENTIALS = (
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_AUTH",
)
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
        self,
        home: Home,
        job: DriverJobOut,
        spec: SweepSpec,
        service: DriverClient,
        console: Console,
    ) -> None:
        self._home, self._job, self._service, self._console = home, job, service, console
        self._spec, self._orders = spec, Orders()

    def run(self) -> bool:
        """Run the sweep; False if the service could not record how it ended."""
        spec, job = self._spec, self._job
        recorder = Recorder(self._service, self._orders, spec.resources)
        outbox = StoreOutbox(recorder, SERVICE_PATIENCE)
        outcome = self._run_sweep(recorder, outbox)
        self._console.print(f"{job.sweep_id}: {outcome.state} ({outcome.cause})", soft_wrap=True)
        if self._orders.stale or outbox.close(lambda: self._end(recorder, outbox, outcome)):
            if self._orders.stale:
                self._console.print("this attempt is over; another driver may run the sweep")
            return True
        self._console.print(f"the service did not record this: {outbox.error}", soft_wrap=True)
        return False

    def _end(self, recorder: Recorder, outbox: StoreOutbox, outcome: Outcome) -> None:
        if self._orders.stale:
            return
        lost = outbox.losses.list(outbox.title)
        cause = outcome.cause + "".join(f"; not shown: {loss}" for loss in lost)
        try:
            self._service.end(recorder.report(), outcome.state, redact(cause))
        except StaleDriverError:  # perhaps by this call, whose answer was lost
            self._orders.stale = True

    def _run_sweep(self, recorder: Recorder, outbox: StoreOutbox) -> Outcome:
        try:
            ending = self._drive([LineView(self._console), outbox])
        except SweepFailedError:
            raise
        except DiskFullError as error:
            return Outcome(JobState.PAUSED, redact(str(error)))
        except InputError as error:
            return Outcome(JobState.FAILED, redact(str(error)))
        except OSError as error:  # as the sweep's files are prepared
            if not is_disk_full(error):
                raise
            where = self._home.sweep(self._job.sweep_id).path
            return Outcome(JobState.PAUSED, f"the disk of {where} is full; no trial was started")
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
                accept_changes=self._job.accept_changes,
                wider=read_wider(self._job.wider),
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
    early += f"; the search ended early: {sweep.search_end}" if sweep.search_end else ""
    missing = f"; MLflow lacks some records ({ending.unlogged})" if ending.unlogged else ""
    lost = "".join(f"; not shown: {loss}" for loss in ending.losses)
    return Outcome(JobState.SUCCEEDED, words + early + missing + redact(lost))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the driver and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.server.start_driver")
    parser.add_argument("sweep_id")
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--bundle")
    parser.add_argument("--module", action="append", default=[])
    parser.add_argument("--allow", action="append", default=[])
    options = parser.parse_args(arguments)
    home = Home(options.home)
    policy = CodePolicy(
        folders=(),
        excluded=(str(home.path),),
        bundle=options.bundle,
        bundled=tuple(options.module),
        allow=tuple(options.allow),
    )
    folder = home.sweep(options.sweep_id)
    with suppress(OSError, DiskFullError):  # else the sweep cannot be run, which is reported below
        home.create()
        folder.path.mkdir(exist_ok=True)
    with restore_policy(), _open_log(folder) as log:
        enter_policy(policy)
        console = open_console(make_safe(log), width=120)
        try:
            return 0 if _run(home, options.sweep_id, options.attempt, console) else 1
        except (SweepFailedError, HomeError) as error:
            console.print(redact(str(error)), soft_wrap=True)
            print(redact(str(error)), file=sys.stderr)  # Ray captures it
            return 1
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
    config = driver_config.take(home.sweep(sweep_id))
    service = DriverClient(Client(config.api_url, config.token))
    job = _get_job(service, config, attempt, console)
    if job is None:
        return True
    _use_mlflow(config)
    console.print(f"{_format_now()} attempt {attempt} of {sweep_id}, process {os.getpid()}")
    try:
        require_same_version(config.version, "the service", "the cluster")
        spec = parse_stored_spec(job.spec, "the spec", home.data)
    except InputError as error:
        service.end(DriverReport(), JobState.FAILED, redact(str(error)))
        return True
    return Driver(home, job, spec, service, console).run()


def _get_job(
    service: DriverClient, config: DriverConfig, attempt: int, console: Console
) -> DriverJobOut | None:
    """The job from the service; None if this attempt is over.

    Raises:
        SweepFailedError: the service cannot be reached, or does not know the driver.
    """
    try:
        job = service.wait_for_job(START_PATIENCE)
    except StaleDriverError as error:
        console.print(str(error), soft_wrap=True)
        return None
    except (ServerError, UnauthorizedError) as error:
        raise SweepFailedError(
            f"the driver cannot report to the service at {config.api_url}: {error}; the server's "
            "option --driver-url names the API as the cluster's nodes reach it"
        ) from None
    if job.attempt != attempt:
        console.print(f"{job.sweep_id} is in attempt {job.attempt}; attempt {attempt} is over")
        return None
    return job


def _use_mlflow(config: DriverConfig) -> None:
    """Log to the service's MLflow, with the sweep's token.

    Credentials of an MLflow that is the operator's own, in its URL or on this node, come first.
    """
    if config.mlflow_uri is None:
        return
    os.environ["GAPSWEEP_MLFLOW_URI"] = config.mlflow_uri
    on_node = any(os.environ.get(name) for name in _MLFLOW_CREDENTIALS)
    if not on_node and urlsplit(config.mlflow_uri).password is None:
        os.environ["MLFLOW_TRACKING_TOKEN"] = config.token


def _format_now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def start() -> int:
    """Run the driver as a process's only program and return its exit code."""
    use_safe_streams()
    use_ray_token()
    logging.captureWarnings(True)
    return main()


if __name__ == "__main__":
    sys.exit(start())
