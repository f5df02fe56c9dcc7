"""What the API's process holds on to: its memory over the lives of 1,000 sweeps.

    python -m tests.benchmarks.many_lives

The process is made of the real app, service, keeper and reconciler, over a cluster that only
pretends: for each driver it is to start, a thread tells the store what a driver would. Clients,
eight at once, submit a sweep (no spec twice), listen to its events to the end, and read its status,
its trials and its best trial. The first hundreds of lives fill caches and pools; what counts is the
growth from the second sample to the last, at most 10 %.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import uvicorn

from service.base.amount import Amount
from service.base.ports import find_free_port
from service.client import endpoints
from service.client.client import Client
from service.client.job_states import JobState
from service.cluster.jobs import ClusterNode, JobStatus, Launch
from service.server.api.app import create_app
from service.server.api.rate_limits import RateSettings
from service.server.driver_access import Handover
from service.server.leased_loop import LeasedLoop
from service.server.queue import QueueLimits
from service.server.reconciler import Reconciler
from service.server.serve import PERIOD
from service.server.store.database import Database
from service.server.store.job_records import DriverReport
from service.server.store.lease_store import LeaseStore
from service.server.store.progress_store import ProgressStore
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from service.server.sweep_service import ServiceSettings, SweepService
from service.study.events import EpochEnded, TrialEnded, TrialStarted
from service.study.records import Epoch, Role, Trial, TrialState
from tests.databases import postgres_server
from tests.patience import wait_for

TRIALS, EPOCHS = 4, 5
AIM = 0.10
_AT_ONCE = 8
_NO_LIMIT = "1000000/minute"
_REMEMBERED = 100


class PretendCluster:
    """Takes every driver, and tells the store at once what a sweep of a few trials would."""

    def __init__(self, progress: ProgressStore) -> None:
        self._progress = progress
        self._drivers = ThreadPoolExecutor(_AT_ONCE)
        self._jobs: dict[str, JobStatus] = {}

    def start(self, launch: Launch) -> None:
        """Begin a life."""
        if launch.name not in self._jobs:
            self._jobs[launch.name] = JobStatus(False, "RUNNING: ")
            self._drivers.submit(self._drive, launch)

    def find(self, name: str) -> JobStatus | None:
        """As a cluster that forgets the oldest."""
        return self._jobs.get(name)

    def stop(self, name: str) -> None:
        """No life is long enough."""

    def read_output_tail(self, name: str) -> str:
        """They are in this process' log."""
        return ""

    def list_nodes(self) -> Sequence[ClusterNode]:
        """One, with room for all."""
        return [ClusterNode("pretended", Amount(float(_AT_ONCE), 0.0))]

    def _drive(self, launch: Launch) -> None:
        try:
            for told in lives_of_trials():
                self._progress.record(launch.sweep_id, launch.attempt, told)
            ended = (JobState.SUCCEEDED, f"{TRIALS} complete")
            self._progress.end(launch.sweep_id, launch.attempt, DriverReport(), *ended)
            found = JobStatus(True, "SUCCEEDED: ")
        except Exception as error:  # the reconciler hears of it, and in the end the client does
            logging.exception("a pretended driver broke")
            found = JobStatus(True, f"FAILED: {error}")
        self._jobs[launch.name] = found
        for name in list(self._jobs)[:-_REMEMBERED]:
            self._jobs.pop(name, None)


def lives_of_trials() -> Iterator[DriverReport]:
    """What a driver tells: each trial's start, its epochs one by one, its end."""
    for number in range(TRIALS):
        role = Role.SEARCH if number else Role.BASELINE
        params = {"dropout": number / 10}
        trial = Trial(number=number, state=TrialState.RUNNING, role=role, params=params)
        yield DriverReport(trials=[trial], events=[TrialStarted(trial=trial)])
        epochs = [_epoch(number, epoch) for epoch in range(1, EPOCHS + 1)]
        for epoch in epochs:
            event = EpochEnded(epoch=epoch)
            yield DriverReport(epochs=[epoch], events=[event], slot_seconds=float(number))
        best = epochs[-1].metrics
        trial = Trial(
            number=number,
            state=TrialState.COMPLETE,
            role=role,
            params=params,
            value=best["val/loss"],
            best=best,
            violation=0.0,
            seconds=1.0,
            ended=time.time(),
        )
        ended = TrialEnded(trial=trial)
        progress = {"complete": number + 1, "planned": TRIALS, "metric": "val/loss"}
        yield DriverReport(trials=[trial], events=[ended], progress=progress)


def _epoch(trial: int, epoch: int) -> Epoch:
    loss = 1.0 / (1 + trial + epoch)
    names = ("train/loss", "val/loss", "gap/loss", "train/accuracy", "val/accuracy")
    return Epoch(trial=trial, epoch=epoch, time=time.time(), metrics=dict.fromkeys(names, loss))


def serve(home: Path, database_url: str, port: int) -> None:
    """The process that is measured."""
    database = Database(database_url)
    service = SweepService(ServiceSettings(database_url=database_url, home=home), database)
    cluster = PretendCluster(service.progress)
    handover = Handover(home, service.sweep_tokens, f"http://127.0.0.1:{port}", None)
    reconciler = Reconciler(service, cluster, QueueLimits(running=_AT_ONCE), handover)
    leases = LeaseStore(database, "benchmark")
    keeper = LeasedLoop(
        "sweeps", leases, reconciler.round, PERIOD, on_error=reconciler.reset_timeouts
    )
    service.wake = keeper.wake
    rates = RateSettings(requests=_NO_LIMIT, submissions=_NO_LIMIT)
    app = create_app(service, cluster, rates=rates, loops=[keeper])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


@contextmanager
def server(home: Path, database_url: str) -> Iterator[tuple[str, int]]:
    """Its URL and its process' id."""
    port = find_free_port()
    new = multiprocessing.get_context("spawn")  # nothing of this process is in it
    process = new.Process(target=serve, args=(home, database_url, port))
    process.start()
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: _answers(f"{url}/readyz"), 60)
    try:
        assert process.pid is not None
        yield url, process.pid
    finally:
        process.terminate()
        process.join()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def life(client: Client, number: int) -> None:
    """One sweep, from its submission to its best trial; another end than success ends it all."""
    spec = {
        "name": f"life-{number}",
        "trainable": "trainables.models:MLP",
        "data": {"name": "digits"},
        "space": {"dropout": {"float": [0.0, 0.5]}},
        "search": {"seed": number},
        "budget": {"trials": TRIALS},
        "confirm": "off",
        "resources": {"concurrent": 1},
    }
    sweep_id = client.do(endpoints.submit(spec)).sweep_id
    heard = sum(1 for _, event in client.events(sweep_id) if event.kind == "epoch_ended")
    found, trials = client.do(endpoints.sweep(sweep_id)), client.do(endpoints.trials(sweep_id))
    best = client.do(endpoints.best(sweep_id)).best.number
    known = (found.state, heard, len(trials), best)
    if known != (JobState.SUCCEEDED, TRIALS * EPOCHS, TRIALS, TRIALS - 1):
        raise RuntimeError(f"{sweep_id}: {known}, {found.cause}")


def resident(pid: int) -> float:
    """MiB of a process that are in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


def main() -> None:
    """A sample a line, then the growth."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lives", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100, help="lives between samples")
    parser.add_argument("--store", choices=("postgresql", "sqlite"), default="postgresql")
    options = parser.parse_args()
    if options.lives < 3 * options.every:
        sys.exit("--lives: three samples at least")
    with ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{home / 'service.db'}"
        if options.store == "postgresql":
            url = opened.enter_context(postgres_server()).url
        database = Database(url)
        database.upgrade()
        token = UserStore(database).create_or_update("ann", UserRole.USER)
        database.close()
        address, pid = opened.enter_context(server(home, url))
        clients = opened.enter_context(ThreadPoolExecutor(_AT_ONCE))
        client, numbers, samples = Client(address, token), count(), list[float]()
        print(f"{options.store}, {TRIALS} trials of {EPOCHS} epochs a sweep, {_AT_ONCE} at once")
        print(" lives   seconds     MiB", flush=True)
        for lived in range(options.every, options.lives + 1, options.every):
            began = time.monotonic()
            some = [next(numbers) for _ in range(options.every)]
            list(clients.map(lambda number: life(client, number), some))
            samples.append(resident(pid))
            print(f"{lived:6}  {time.monotonic() - began:8.1f}  {samples[-1]:6.1f}", flush=True)
    growth = samples[-1] / samples[1] - 1
    verdict = "met" if growth <= AIM else "missed"
    print(f"from {2 * options.every} to {lived} lives {growth:+.1%}, at most {AIM:+.0%}: {verdict}")


if __name__ == "__main__":
    main()
