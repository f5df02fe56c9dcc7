"""Requests of all kinds to a real server: none may break it, or get an undocumented answer.

    python -m tests.faults.fuzz --requests 100000

schemathesis makes requests of every route from the OpenAPI document, valid and invalid ones, with
archives for bundles. They are sent over sockets to a server in a process of its own, each with one
of many tokens: of every role and scope, expired, revoked, of a running sweep, and none. Some name
sweeps that exist. Each answer must have a documented status, type and schema and be no 5xx (but for
the cluster, which this server has none of). The memory of the server's process is printed after a
tenth of the requests, at most 5,000, and at the end. The exit status is 1 if an answer was wrong.

With `--windows N` the first requests are then sent again and again, as fast as the server answers,
and its memory is printed after each of N windows of 5,000: what grows for each request shows.
"""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.base.ports import find_free_port
from service.server.api.app import create_app
from service.server.serve import list_http_options
from service.server.store.database import Database
from service.server.store.sweep_tokens import SweepScope
from service.server.store.user_roles import TokenScope
from service.server.sweep_service import ServiceSettings, SweepService
from tests.fuzzed import UNLIMITED, Fuzzed, prepare
from tests.patience import wait_for
from tests.worlds import SPEC

WINDOW = 5_000
"""Requests between two looks at the memory, when requests are repeated."""
BATCH = 100
"""Requests of one route at a time."""
EARLY = 5_000
"""Requests after which the server's memory is first looked at, or a tenth of all."""
GROWTH = 1.1
"""By how much the server's memory may grow after that."""
_TIMEOUT = 60.0
_MOST_SWEEPS = 200
_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
_SPECS = ("/v1/validate", "/v1/sweeps")
_PARTS = (*SPEC, "budget", "search", "training", "confirm", "resources", "model", "objective", "x")
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e308, 10**30, "", "x", "\0", "λ" * 1000, [], [[]], {}),
    *({"a": 1}, {"name": "csv", "path": "../x"}, {"trials": 3}, {"cpus": 1e-9}, {"preset": "x"}),
)
_INVALID = ("expired", "revoked", "sweep", "unknown", "odd", "none")
_NO_CLUSTER = "/v1/cluster"
_STREAM = "/v1/sweeps/{sweep_id}/events"


def serve(folder: Path, port: int) -> None:
    """Serve the service in a folder, as `gapsweep serve` does."""
    url = f"sqlite:///{folder / 'service.db'}"
    service = SweepService(ServiceSettings(database_url=url, home=folder), Database(url))
    app = create_app(service, rates=UNLIMITED)
    logging.getLogger("service.server.api.problems").setLevel(logging.CRITICAL)  # of the cluster
    uvicorn.run(app, host="127.0.0.1", port=port, **list_http_options(()))


def make_tokens(fuzzed: Fuzzed) -> dict[str, str | None]:
    """Tokens by what they are."""
    tokens, users = fuzzed.world.service.tokens, fuzzed.world.tokens
    found: dict[str, str | None] = {"admin": users["root"], "user": users["ann"]}
    found["viewer"] = users["vic"]
    for scope in TokenScope:
        found[f"admin, scope {scope}"] = tokens.add("root", f"fuzz-{scope}", scope)[0]
    found["expired"] = tokens.add("bob", "old", expires=time.time() - 1)[0]
    found["revoked"] = tokens.add("bob", "gone")[0]
    tokens.revoke("bob", "gone")
    found["sweep"] = fuzzed.world.service.sweep_tokens.make(SweepScope(fuzzed.acted_on, 1))
    return {**found, "unknown": "gs_" + "x" * 43, "odd": "\xff\xfe token", "none": None}


class Recorder(requests.Session):
    """Keeps the first requests that it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request as any session does."""
        if len(self.sent) < WINDOW:
            self.sent.append(request)
        return super().send(request, **options)


@dataclass
class Campaign:
    """The requests so far: how each route answered, and what was wrong."""

    fuzzed: Fuzzed
    url: str
    tokens: dict[str, str | None]
    chance: random.Random
    statuses: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self._session = Recorder()
        self._sweeps = [self.fuzzed.acted_on]

    def fuzz(self, operation: Any, count: int) -> None:
        """Send so many requests to a route."""
        done = 0

        @seed(self.chance.getrandbits(32))
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            nonlocal done
            done += 1
            self._send(case)

        while done < count:  # a route without parameters has few different requests
            send()

    def repeat(self, count: int) -> None:
        """Send so many of the first requests again; the next call goes on where this one ends."""
        with requests.Session() as session:
            for request in islice(self._repeated, count):
                with suppress(requests.RequestException):
                    session.send(request, timeout=_TIMEOUT)

    @functools.cached_property
    def _repeated(self) -> Iterator[requests.PreparedRequest]:
        kept = list(self._session.sent)
        self.chance.shuffle(kept)
        return cycle(kept)

    def _send(self, case: Any) -> None:
        name = f"{case.method} {case.operation.path}"
        if "sweep_id" in case.path_parameters and self.chance.random() < 0.6:
            ended = case.operation.path == _STREAM or case.method == "GET"
            sweeps = [self.fuzzed.looked_at] if ended else self._sweeps
            case.path_parameters["sweep_id"] = self.chance.choice(sweeps)
        if case.operation.path in _SPECS and self.chance.random() < 0.5:
            case.body = change_spec(self.chance)
        valid = self.chance.random() < 0.8
        who = self.chance.choice([who for who in self.tokens if (who in _INVALID) != valid])
        headers = {k: v for k, v in (case.headers or {}).items() if k.lower() != "authorization"}
        token = self.tokens[who]
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        case.headers = headers
        self.count += 1
        try:
            answer = case.call(base_url=self.url, session=self._session, timeout=_TIMEOUT)
        except requests.exceptions.InvalidHeader:
            return  # no client can send it
        except (requests.RequestException, OSError) as error:
            self._add(name, f"{type(error).__name__}", f"{who}: {error}")
            return
        self.statuses[name][answer.status_code] += 1
        if answer.status_code == 201 and case.operation.path == "/v1/sweeps":
            self._sweeps = [*self._sweeps, answer.json()["sweep_id"]][-_MOST_SWEEPS:]
        checks = [*_CHECKS]
        if case.operation.path != _NO_CLUSTER or answer.status_code != 503:
            checks.append(not_a_server_error)
        try:
            case.validate_response(answer, checks=checks)
        except (Failure, FailureGroup) as failure:
            failures = getattr(failure, "exceptions", [failure])
            for one in failures:
                title = f"{answer.status_code} {getattr(one, 'title', type(one).__name__)}"
                detail = f"{answer.text[:300]!r} {case.as_curl_command()[:900]}"
                self._add(name, title, f"{who}: {detail}")

    def _add(self, name: str, title: str, detail: str) -> None:
        if f"{name}: {title}" not in self.wrong:
            print(f"WRONG {name}: {title}\n      {detail}", flush=True)
        self.wrong.setdefault(f"{name}: {title}", detail)


def change_spec(chance: random.Random) -> dict[str, Any]:
    """A valid spec, or one with a part that is hardly ever valid."""
    if chance.random() < 0.3:
        return SPEC
    return {**SPEC, chance.choice(_PARTS): chance.choice(_VALUES)}


def resident(pid: int) -> float:
    """MiB that a process has in memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", text)
    return int(kib) / 1024


def run(campaign: Campaign, total: int, seconds: float, pid: int) -> bool:
    """Send all requests, or as many as the time allows; whether every answer was right."""
    schema = schemathesis.openapi.from_url(f"{campaign.url}/openapi.json")
    operations = [o.ok() for o in schema.get_all_operations() if isinstance(o, Ok)]
    began, early, said = time.monotonic(), 0.0, 0
    while campaign.count < total and time.monotonic() - began < seconds:
        for operation in operations:
            campaign.fuzz(operation, min(BATCH, max(1, total // len(operations))))
        if not early and campaign.count >= min(total / 10, EARLY):
            early = resident(pid)
        if campaign.count - said >= 5_000:
            said = campaign.count
            rate = campaign.count / (time.monotonic() - began)
            words = f"{rate:.0f} a second, server {resident(pid):.0f} MiB"
            print(f"{campaign.count:,} requests, {words}, {len(campaign.wrong)} wrong", flush=True)
    late = resident(pid)
    report(campaign)
    print(f"{campaign.count:,} requests in {time.monotonic() - began:.0f} s; {os.cpu_count()} CPUs")
    print(f"memory of the server {early:.0f} MiB early, {late:.0f} MiB at the end")
    return not campaign.wrong and late <= GROWTH * early


def repeat(campaign: Campaign, windows: int, pid: int) -> None:
    """Repeat the first requests, and print the server's memory after each window."""
    for number in range(1, windows + 1):
        campaign.repeat(WINDOW)
        words = f"window {number} of {WINDOW:,} repeated requests"
        print(f"{words}: server {resident(pid):.1f} MiB", flush=True)


def report(campaign: Campaign) -> None:
    """A line for each route: how often it gave each status."""
    for name, counts in campaign.statuses.items():
        shown = ", ".join(f"{status} × {count}" for status, count in sorted(counts.items()))
        print(f"{name:44} {sum(counts.values()):6}  {shown}")
    for name, detail in campaign.wrong.items():
        print(f"WRONG {name}\n      {detail}")


def main() -> None:
    """Start the server, send the requests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--windows", type=int, default=0, help="windows of repeated requests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), find_free_port()
        fuzzed = prepare(folder)
        tokens = make_tokens(fuzzed)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, port))
        process.start()
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: _answers(f"{url}/healthz"), 60)
            campaign = Campaign(fuzzed, url, tokens, random.Random(options.seed))
            assert process.pid is not None
            right = run(campaign, options.requests, 60 * options.minutes, process.pid)
            repeat(campaign, options.windows, process.pid)
        finally:
            process.terminate()
            process.join()
            fuzzed.world.database.close()
    sys.exit(not right)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main()
