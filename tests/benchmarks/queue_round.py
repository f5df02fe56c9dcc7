"""How long a round of the queue takes with 10,000 queued sweeps that wait for others.

    python -m tests.benchmarks.queue_round [--postgres]

A quarter of the sweeps waits for nothing, the others for up to 20 older ones each, a half of which
have succeeded. The reconciler is the real one, over a real database; its cluster is pretended. A
round is everything: the store's queries, the decision, the shares. The first round, which reads
every sweep, is shown apart from the others; queries are counted. The aim is 1 s a round.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert
from sqlalchemy.engine import Engine

from service.base.amount import Amount
from service.client.job_states import JobState
from service.cluster.jobs import ClusterNode, JobStatus, Launch
from service.server.driver_access import Handover
from service.server.queue import QueueLimits
from service.server.reconciler import Reconciler
from service.server.store.database import Database
from service.server.store.tables import SweepRow
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from service.server.sweep_service import ServiceSettings, SweepService
from service.spec.file import dump_spec, load_spec
from tests.commands import DIGITS
from tests.databases import postgres_server

AIM = 1.0
"""Seconds of a round."""
_ROWS = 2_000


class PretendCluster:
    """A cluster of one node that starts whatever it is given."""

    def start(self, launch: Launch) -> None:
        """Take a job."""

    def find(self, name: str) -> JobStatus | None:
        """Every job runs."""
        return JobStatus(False, "RUNNING: ")

    def stop(self, name: str) -> None:
        """No job is stopped."""

    def read_output_tail(self, name: str) -> str:
        """Nothing was printed."""
        return ""

    def list_nodes(self) -> Sequence[ClusterNode]:
        """One large node."""
        return [ClusterNode("one", Amount(1000.0, 0.0))]


def sweeps(queued: int, users: int, waits_for: int) -> Iterator[dict[str, Any]]:
    """Rows: as many that succeeded as are queued, and the queued ones."""
    chance, now = random.Random(0), time.time()
    spec = dump_spec(load_spec(DIGITS))
    ids = [f"digits-mlp-{n:08x}" for n in range(2 * queued)]
    for number, sweep_id in enumerate(ids):
        done = number < queued
        count = 0 if done or chance.random() < 0.25 else chance.randint(1, waits_for)
        older = [chance.randrange(queued if n % 2 else number) for n in range(count)]
        created = now - 2 * queued + number
        yield {
            "id": sweep_id,
            "name": "digits-mlp",
            "owner": f"user{chance.randrange(users)}",
            "state": (JobState.SUCCEEDED if done else JobState.QUEUED).value,
            "created": created,
            "changed": created,
            "spec": spec.replace("digits-mlp", f"digits-{number}"),
            "priority": chance.randint(-5, 5),
            "after": [ids[n] for n in sorted(set(older))],
            "attempt": int(done),
            "failures": 0,
            "more_trials": 0,
            "last_heartbeat": created if done else None,
            "slot_seconds": 100.0 * done,
            "gpu_hours": 0.0,
            "progress": {},
        }


def fill(database: Database, queued: int, users: int, waits_for: int) -> None:
    """Fill an empty store."""
    known = UserStore(database)
    for number in range(users):
        known.create_or_update(f"user{number}", UserRole.USER)
    rows = list(sweeps(queued, users, waits_for))
    for start in range(0, len(rows), _ROWS):
        with database.writing() as session:
            session.execute(insert(SweepRow), rows[start : start + _ROWS])


def resident() -> float:
    """MiB that this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Queries:
    """Counts the statements of every engine of this process."""

    def __init__(self) -> None:
        self.count = 0
        event.listen(Engine, "before_cursor_execute", self._add)

    def _add(self, *_: object) -> None:
        self.count += 1


def build(database: Database, folder: Path, running: int) -> Reconciler:
    """A reconciler over the store."""
    settings = ServiceSettings(database_url=database.url, home=folder)
    service = SweepService(settings, database)
    handover = Handover(folder, service.sweep_tokens, "http://api:8080", None)
    return Reconciler(service, PretendCluster(), QueueLimits(running=running), handover)


def measure(reconciler: Reconciler, queries: Queries, title: str, rounds: int) -> list[float]:
    """The seconds of each round, printed."""
    seconds, before, cpu = list[float](), queries.count, time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        reconciler.round()
        seconds.append(time.perf_counter() - began)
    each, busy = (queries.count - before) / rounds, (time.process_time() - cpu) / rounds
    print(
        f"{title:34} {statistics.median(seconds):6.3f} s (at most {max(seconds):.3f}), "
        f"{busy:.3f} CPU s, {each:.0f} queries a round",
        flush=True,
    )
    return seconds


def main() -> None:
    """Fill the store, then run rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--after", type=int, default=20, help="sweeps that one waits for at most")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--postgres", action="store_true", help="instead of SQLite")
    options = parser.parse_args()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{folder / 'service.db'}"
        if options.postgres:
            url = opened.enter_context(postgres_server()).url
        database = Database(url)
        opened.callback(database.close)
        database.upgrade()
        fill(database, options.queued, options.users, options.after)
        queries = Queries()
        gc.collect()
        memory = resident()
        full = build(database, folder, running=4)
        first = measure(full, queries, "first round, 4 sweeps start", 1)
        later = measure(full, queries, "every place taken", options.rounds)
        more = build(database, folder, running=5)
        first += measure(more, queries, "first round of another process", 1)
        grown = resident() - memory
        slowest = max(first + later)
        verdict = "met" if slowest <= AIM else "missed"
        print(f"slowest round {slowest:.3f} s, aim {AIM:.0f} s: {verdict}; {grown:.0f} MiB more")


if __name__ == "__main__":
    main()
