"""What 400 listeners of events cost the others: how long a list takes without and with them.

    python -m tests.benchmarks.streams

The server is a process of its own, over SQLite with 1,000 sweeps, as `gapsweep serve` runs it. The
listeners follow 20 sweeps on open connections. Lists are asked for in turns: with no listener, with
all of them while nothing happens, and with all of them while a trial begins in each sweep once a
second; several rounds, so that what else the machine does meets all three. The aim is a median of
at most twice that without listeners.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import uvicorn

from service.base.ports import find_free_port
from service.client.job_states import JobState
from service.server.api.app import create_app
from service.server.serve import list_http_options
from service.server.store.database import Database
from service.server.store.job_records import DriverReport, Submission
from service.server.store.progress_store import ProgressStore
from service.server.store.sweep_store import SweepStore
from service.server.sweep_service import ServiceSettings, SweepService
from service.server.user_limits import UserLimits
from service.study.events import TrialStarted
from service.study.records import Role, Trial, TrialState
from tests.benchmarks.api_latency import Connection
from tests.benchmarks.filling import fill
from tests.fuzzed import UNLIMITED
from tests.patience import wait_for

AIM = 2.0
_LIST = "/v1/sweeps?limit=50"


def serve(folder: Path, port: int) -> None:
    """Serve the service in a folder."""
    url = f"sqlite:///{folder / 'service.db'}"
    settings = ServiceSettings(database_url=url, home=folder, limits=UserLimits(streams=1000))
    app = create_app(SweepService(settings, Database(url)), rates=UNLIMITED)
    uvicorn.run(app, host="127.0.0.1", port=port, backlog=1000, **list_http_options(()))


class Listeners:
    """Open streams; what they send is read and counted."""

    def __init__(self, port: int, token: str, sweeps: list[str]) -> None:
        self._port, self._token, self._sweeps = port, token, sweeps
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.events = 0

    async def open(self, count: int) -> None:
        """Open so many and wait until each has heard something."""
        heard = []
        for number in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            sweep = self._sweeps[number % len(self._sweeps)]
            head = f"GET /v1/sweeps/{sweep}/events HTTP/1.1\r\nHost: x\r\n"
            writer.write(f"{head}Authorization: Bearer {self._token}\r\n\r\n".encode())
            self._writers.append(writer)
            heard.append(reader.readuntil(b"id: "))
            self._tasks.append(asyncio.create_task(self._count(reader, heard[-1])))
        while self.events < count:
            await asyncio.sleep(0.05)

    async def _count(self, reader: asyncio.StreamReader, first: object) -> None:
        await first  # type: ignore[misc]  # the coroutine that was made for it
        self.events += 1
        while part := await reader.read(2**16):
            self.events += part.count(b"id: ")

    def close(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()


async def ask(port: int, token: str, asks: int) -> list[float]:
    """Milliseconds of lists, asked for one after another with pauses."""
    connection = await Connection(port, token).open()
    found = []
    for _ in range(asks):
        began = time.perf_counter()
        await connection.ask("GET", _LIST)
        found.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(0.02)
    return found


async def begin_trials(database: Database, sweeps: list[str], number: int) -> None:
    """A trial begins in each sweep once a second, until it is cancelled."""
    progress = ProgressStore(database)
    while True:
        trial = Trial(number=number, state=TrialState.RUNNING, role=Role.SEARCH, params={})
        report = DriverReport(events=[TrialStarted(trial=trial)])
        for sweep in sweeps:
            await asyncio.to_thread(progress.record, sweep, 1, report)
        number += 1
        await asyncio.sleep(1.0)


async def measure(options: argparse.Namespace, port: int, database: Database, token: str) -> None:
    """Measure in turns and print the medians."""
    sweeps = [f"live-{n:08x}" for n in range(20)]
    found: dict[str, list[float]] = {"no listener": [], "silent": [], "with events": []}
    events = 0
    for turn in range(options.rounds):
        found["no listener"] += await ask(port, token, options.asks)
        listeners = Listeners(port, token, sweeps)
        await listeners.open(options.listeners)
        await asyncio.sleep(1.0)
        found["silent"] += await ask(port, token, options.asks)
        before = listeners.events
        beginning = asyncio.create_task(begin_trials(database, sweeps, 10_000 * turn))
        found["with events"] += await ask(port, token, options.asks)
        beginning.cancel()
        events += listeners.events - before
        listeners.close()
        await asyncio.sleep(1.0)
    base = statistics.median(found["no listener"])
    for name, ms in found.items():
        median = statistics.median(ms)
        print(f"{name:12} median {median:6.1f} ms, {median / base:4.2f} ×; most {max(ms):6.1f} ms")
    print(f"{options.listeners} listeners heard {events} events while lists were asked for")
    ratio = max(statistics.median(found[n]) for n in ("silent", "with events")) / base
    print(f"{ratio:.2f} ×, aim {AIM:.0f} ×: {'met' if ratio <= AIM else 'missed'}")


def main() -> None:
    """Fill the store, start the server, measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--listeners", type=int, default=400)
    parser.add_argument("--asks", type=int, default=50, help="lists of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), find_free_port()
        database = Database(f"sqlite:///{folder / 'service.db'}")
        database.upgrade()
        tokens, _ = fill(database, 1_000, 5)
        (user, token), *_ = tokens.items()
        store = SweepStore(database)
        for n in range(20):
            live = Submission(sweep_id=f"live-{n:08x}", name="live", owner=user, spec="name: live")
            store.submit(live)
            store.change(live.sweep_id, JobState.STARTING, "selected", "queue", attempt=1)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, port))
        process.start()
        try:
            wait_for(lambda: _is_open(port), 60)
            asyncio.run(measure(options, port, database, token))
        finally:
            process.terminate()
            process.join()
            database.close()


def _is_open(port: int) -> bool:
    try:
        asyncio.run(_connect(port))
    except OSError:
        return False
    return True


async def _connect(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


if __name__ == "__main__":
    main()
