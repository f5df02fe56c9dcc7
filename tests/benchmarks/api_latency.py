"""How long the API takes to answer, over a PostgreSQL with 10,000 sweeps and 200,000 trials.

    python -m tests.benchmarks.api_latency

32 clients ask a real `gapsweep serve` for lists (with filters, and page after page), for sweeps and
for sweeps' trials: first each again at once, which finds what the server can do, then so that all
together ask about 100 times a second, as people and dashboards do. Then sweeps are submitted one
after another; they stay queued, for there is no cluster. Server, database and clients share the
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from service.base.ports import find_free_port
from service.server.store.database import Database
from service.spec.file import read_raw_spec
from tests.benchmarks.filling import NAMES, USERS, fill
from tests.commands import DIGITS, command
from tests.databases import postgres_server
from tests.stack import Program

READ_AIM, SUBMIT_AIM = 50.0, 100.0
"""Milliseconds that 99 of 100 answers should take at most."""
WARM_UP = 5
_NOBODY = "http://127.0.0.1:9"
_NO_LIMIT = "1000000/minute"

Answer = tuple[str, float]
"""What was asked for, and the seconds until the whole answer was there."""


@dataclass(frozen=True)
class Server:
    """Where it listens, whom it knows and what it has."""

    port: int
    tokens: Sequence[str]
    sweeps: Sequence[str]


class Connection:
    """Asks one thing at a time over a connection that stays open: cheaper than an HTTP client."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"

    async def open(self) -> Connection:
        self._from, self._to = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The answer's body; an error ends the benchmark."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._to.write(head.encode() + body)
        answered = (await self._from.readuntil(b"\r\n\r\n")).lower()
        length = int(answered.partition(b"content-length:")[2].partition(b"\r\n")[0])
        content = await self._from.readexactly(length)
        if not answered.startswith(b"http/1.1 20"):
            sys.exit(f"{method} {path}: {content.decode()}")
        return content


@dataclass
class Questions:
    """What a client asks for: at random, but the same each time the benchmark is run."""

    sweeps: Sequence[str]
    chance: random.Random
    _cursors: dict[str, str] = field(default_factory=dict)

    def next(self) -> tuple[str, str]:
        """What it is, and its path."""
        kind = self.chance.choice(("list", "status", "trials"))
        if kind != "list":
            sweep = f"/v1/sweeps/{self.chance.choice(self.sweeps)}"
            return kind, sweep if kind == "status" else f"{sweep}/trials"
        self._asked = self.chance.choice(self._filters())
        cursor = self._cursors.pop(self._asked, None)
        more = f"&cursor={cursor}" if cursor is not None else ""
        return kind, f"/v1/sweeps?{self._asked}{more}"

    def _filters(self) -> Sequence[str]:
        owner, name = self.chance.choice(USERS), self.chance.choice(NAMES)
        return (
            "limit=50",
            f"limit=50&owner={owner}",
            "limit=50&state=failed",
            f"limit=50&owner={owner}&state=succeeded&state=failed",
            f"limit=50&name={name}",
            f"limit=10&prefix={self.chance.choice(self.sweeps)}",
        )

    def hear(self, kind: str, body: bytes) -> None:
        """A list is gone on with when it is asked for again."""
        cursor = body.rpartition(b'"cursor":"')[2].removesuffix(b'"}')
        if kind == "list" and not body.endswith(b"null}"):
            self._cursors[self._asked] = cursor.decode()


async def client(server: Server, number: int, asks: int, pause: float) -> list[Answer]:
    """Ask so often; with ``pause`` once in about so many seconds, without one again at once.

    A question that came late because the one before took long counts from when it was due.
    """
    chance = random.Random(number)
    questions = Questions(server.sweeps, chance)
    token = server.tokens[number % len(server.tokens)]
    connection = await Connection(server.port, token).open()
    answers, due = [], time.perf_counter()
    for _ in range(asks):
        due = due + chance.expovariate(1 / pause) if pause else time.perf_counter()
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
            due = time.perf_counter()
        kind, path = questions.next()
        body = await connection.ask("GET", path)
        answers.append((kind, time.perf_counter() - due))
        questions.hear(kind, body)
    return answers


async def clients(server: Server, count: int, asks: int, rate: float | None) -> list[Answer]:
    """So many at once; at ``rate`` questions a second of all together."""
    pause = count / rate if rate else 0.0
    found = await asyncio.gather(*(client(server, n, asks, pause) for n in range(count)))
    return [answer for answers in found for answer in answers]


async def submits(server: Server, count: int) -> list[Answer]:
    """Submit sweeps one after another, as JSON, as the client does."""
    connection = await Connection(server.port, server.tokens[0]).open()
    spec, answers = json.dumps(read_raw_spec(DIGITS, whole=True)).encode(), list[Answer]()
    for _ in range(count):
        began = time.perf_counter()
        await connection.ask("POST", "/v1/sweeps", spec)
        answers.append(("submit", time.perf_counter() - began))
    return answers


def table(title: str, answers: Sequence[Answer], seconds: float, aim: float) -> None:
    """A line for each kind of question, below how busy the machine was."""
    title = f"{title} (load {os.getloadavg()[0]:.1f})"
    print(f"\n{title:38}  asked  median     p99     max      /s  aim p99", flush=True)
    for kind in sorted({kind for kind, _ in answers}):
        ms = sorted(1000 * taken for what, taken in answers if what == kind)
        p99 = ms[min(len(ms) - 1, int(0.99 * len(ms)))]
        print(
            f"  {kind:36}  {len(ms):5}  {statistics.median(ms):6.1f}  {p99:6.1f}  {ms[-1]:6.1f}"
            f"  {len(ms) / seconds:6.1f}  {aim:5.0f} {'met' if p99 <= aim else 'missed'}",
            flush=True,
        )


def measure(server: Server, options: argparse.Namespace) -> None:
    """Run every measurement, one after the other."""
    many, asks = options.clients, options.asks
    asyncio.run(clients(server, many, WARM_UP, None))
    began = time.perf_counter()
    answers = asyncio.run(clients(server, many, asks, None))
    table(f"{many} clients, again at once", answers, time.perf_counter() - began, READ_AIM)
    began = time.perf_counter()
    answers = asyncio.run(clients(server, many, asks, options.rate))
    title = f"{many} clients, {options.rate:.0f} a second"
    table(title, answers, time.perf_counter() - began, READ_AIM)
    began = time.perf_counter()
    answers = asyncio.run(submits(server, options.submits))
    table("one client, submits", answers, time.perf_counter() - began, SUBMIT_AIM)


def main() -> None:
    """Fill the store, start the server, ask."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=20, help="of each sweep")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--asks", type=int, default=100, help="of each client")
    parser.add_argument("--rate", type=float, default=100.0, help="of all clients, a second")
    parser.add_argument("--submits", type=int, default=200)
    options = parser.parse_args()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        postgres = opened.enter_context(postgres_server())
        database = Database(postgres.url)
        database.upgrade()
        began = time.perf_counter()
        tokens, sweeps = fill(database, options.sweeps, options.trials)
        database.close()
        print(f"{len(sweeps)} sweeps of {options.trials} trials, ", end="")
        print(f"written in {time.perf_counter() - began:.0f} s; {os.cpu_count()} CPUs; times in ms")
        port = find_free_port()
        words = command("serve", "--ray-address", _NOBODY, "--home", str(folder / "home"))
        words += ["--port", str(port), "--rate", _NO_LIMIT, "--submissions", _NO_LIMIT]
        env = {"GAPSWEEP_DATABASE_URL": postgres.url}
        api = Program(words, folder / "api.log", env, f"http://127.0.0.1:{port}/readyz")
        opened.callback(api.end)
        api.start()
        measure(Server(port, list(tokens.values()), sweeps), options)


if __name__ == "__main__":
    main()
