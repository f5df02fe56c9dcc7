"""The program of a sweep's driver on the cluster: ``python -m service.server.driver ID``.

It finds the service's store through the home folder, runs what is left of the sweep, and tells the
store what happens. Exit code 0: the store knows how the sweep ended. Anything else is a death,
after which the service starts another driver.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console

from service.base.errors import InputError, SweepBusyError, SweepFailedError
from service.base.redaction import redacted
from service.base.versions import require
from service.report.progress import LineView
from service.run.stopping import Orders
from service.server import driver_config
from service.server.recorder import Recorder
from service.server.store.database import Database
from service.server.store.job_records import Job, Told, Wish
from service.server.store.progress import Progress
from service.server.store.states import JobState
from service.server.store.sweeps import Sweeps
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.study.records import Epoch, Trial, TrialState
from service.sweep.environment import use_ray_token
from service.sweep.home import Home
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking.outbox import Outbox

if TYPE_CHECKING:
    from service.run.sweep_run import Ending

PATIENCE = 600.0
"""Seconds that the store may be away when a sweep ends."""
_BUSY = 60.0
"""Seconds that the driver before this one has to let go of the sweep."""


@dataclass(frozen=True)
class Outcome:
    """The state a sweep ended in, and why."""

    state: JobState
    cause: str


class DriverView:
    """Shows a sweep in the driver's log and tells the store."""

    def __init__(self, lines: LineView, recorder: Recorder, outbox: Outbox) -> None:
        self._lines, self._recorder, self._outbox = lines, recorder, outbox

    def begin(self, sweep: Sweep, budget: int, seconds: float | None) -> None:
        """The sweep as it stands: the store may not know all of it yet."""
        self._lines.begin(sweep, budget, seconds)
        self._recorder.begin(sweep, budget)
        self._outbox.repeat(sweep.trials)

    def started(self, trial: Trial) -> None:
        """A trial runs."""
        self._lines.started(trial)
        self._outbox.started(trial)

    def epoch(self, epoch: Epoch) -> None:
        """A running trial got on."""
        self._lines.epoch(epoch)
        self._outbox.epoch(epoch)

    def ended(self, trial: Trial) -> None:
        """A trial is over."""
        self._lines.ended(trial)
        self._outbox.ended(trial)


class Driver:
    """One turn of one sweep."""

    def __init__(
        self, home: Home, job: Job, spec: SweepSpec, progress: Progress, console: Console
    ) -> None:
        self._home, self._job, self._progress, self._console = home, job, progress, console
        self._spec, self._orders = spec, Orders()

    def run(self) -> bool:
        """Run the sweep; whether the store knows how it ended, or that it is another's."""
        spec, job = self._spec, self._job
        recorder = Recorder(self._progress, job.sweep_id, job.turn, self._orders, spec.resources)
        outbox = Outbox(recorder, "store", period=0.5, patience=PATIENCE)
        outcome = self._outcome(recorder, outbox)
        self._console.print(f"{job.sweep_id}: {outcome.state} ({outcome.cause})", soft_wrap=True)
        if self._orders.stale:
            self._console.print("the sweep is no longer this driver's")
            return True
        return outbox.close(
            lambda: self._progress.end(
                job.sweep_id, job.turn, recorder.told(), outcome.state, outcome.cause
            )
        )

    def _outcome(self, recorder: Recorder, outbox: Outbox) -> Outcome:
        view = DriverView(LineView(self._console), recorder, outbox)
        try:
            ending = self._drive(view)
        except SweepFailedError:
            raise
        except InputError as error:
            return Outcome(JobState.FAILED, redacted(str(error)))
        return _outcome(ending, recorder.wish)

    def _drive(self, view: DriverView) -> Ending:
        from service.cluster.connection import Cluster
        from service.run.preflight import preflight
        from service.run.sweep_run import fill, run_sweep

        spec = self._spec
        folder = self._home.create().sweep(self._job.sweep_id)
        if not folder.spec.exists():
            fill(folder, spec, [])
        cluster = Cluster("auto")
        with cluster.connected(folder.ray_log), ThreadPoolExecutor(1) as beside:
            looking = beside.submit(cluster.inventory, [self._home.path])
            splits = preflight(spec, "the spec").splits
            room = looking.result().check(spec)
            self._orders.slots = self._orders.slots or room  # until the first that comes
            return _insisted(
                lambda: run_sweep(
                    spec,
                    splits,
                    folder,
                    self._home,
                    view,
                    cluster=cluster,
                    concurrent=spec.resources.concurrent,  # the cluster may grow
                    extension=self._job.more_trials,
                    orders=self._orders,
                )
            )


def _insisted(run: Callable[[], Ending]) -> Ending:
    """Wait for the driver before this one to let go of the sweep."""
    deadline = time.monotonic() + _BUSY
    while True:
        try:
            return run()
        except SweepBusyError:
            if time.monotonic() > deadline:
                raise SweepFailedError("the driver before this one still runs") from None
            time.sleep(1)


def _outcome(ending: Ending, wish: Wish | None) -> Outcome:
    sweep = ending.sweep
    if sweep.state is SweepState.INTERRUPTED:
        if wish is None:
            raise SweepFailedError("the driver was told to stop, not by the service")
        stopped = {Wish.PAUSE: JobState.PAUSED, Wish.CANCEL: JobState.CANCELLED}[wish]
        return Outcome(stopped, str(stopped))
    if sweep.state is SweepState.FAILED:
        reasons = {t.reason for t in sweep.of_state(TrialState.FAILED) if t.reason}
        return Outcome(
            JobState.FAILED, redacted("; ".join(sorted(reasons)[:3]) or "no trial ended")
        )
    counts = {state: len(sweep.of_state(state)) for state in TrialState}
    words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    early = f"; stopped early: {ending.stopped.value}" if ending.stopped else ""
    unlogged = f"; MLflow lacks some of it ({ending.unlogged})" if ending.unlogged else ""
    return Outcome(JobState.SUCCEEDED, words + early + unlogged)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the driver; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.server.driver")
    parser.add_argument("sweep_id")
    parser.add_argument("--turn", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    asked = parser.parse_args(arguments)
    home = Home(asked.home)
    folder = home.create().sweep(asked.sweep_id)
    folder.path.mkdir(exist_ok=True)
    with folder.driver_log.open("a", encoding="utf-8", buffering=1) as log:
        console = Console(file=log, width=120, highlight=False, markup=False)
        try:
            return 0 if _run(home, asked.sweep_id, asked.turn, console) else 1
        except Exception:
            console.print(redacted(traceback.format_exc()), soft_wrap=True)
            print(redacted(traceback.format_exc()), file=sys.stderr)  # the cluster keeps that
            return 1


def _run(home: Home, sweep_id: str, turn: int, console: Console) -> bool:
    found = driver_config.find(home)
    if found.mlflow_uri is not None:
        os.environ["GAPSWEEP_MLFLOW_URI"] = found.mlflow_uri
    database = Database(found.database_url)
    progress, job = Progress(database), Sweeps(database).get(sweep_id)
    if job.turn != turn or not job.state.holds_a_job:
        console.print(f"{sweep_id} is {job.state} in turn {job.turn}: nothing to do in turn {turn}")
        return True
    console.print(f"{_now()} turn {turn} of {sweep_id}, process {os.getpid()}")
    try:
        require(found.version, "the service", "the cluster")
        spec = parse_spec(yaml.safe_load(job.spec), "the spec", home.data)
    except InputError as error:
        progress.end(sweep_id, turn, Told(), JobState.FAILED, redacted(str(error)))
        return True
    return Driver(home, job, spec, progress, console).run()


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


if __name__ == "__main__":
    use_ray_token()
    logging.captureWarnings(True)
    sys.exit(main())
