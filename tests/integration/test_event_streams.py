"""Streams of events: one reading of the store for all, and none longer than its token."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from service.base.errors import LimitReachedError, UnauthorizedError
from service.client import endpoints
from service.client.client import Client
from service.client.job_states import JobState
from service.server.api import event_feeds
from service.server.api.app import create_app
from service.server.store.job_records import DriverReport
from service.server.user_limits import UserLimits
from service.study.events import TrialStarted
from service.study.records import Role, Trial, TrialState
from tests.commands import gapsweep
from tests.patience import patience, wait_for
from tests.served import served
from tests.worlds import SPEC, World, refused

PERIOD = 0.1
"""Seconds between readings of the store here."""


@pytest.fixture(autouse=True)
def _short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feeds, "PERIOD", PERIOD)
    monkeypatch.setattr(event_feeds, "TOKEN_PERIOD", 2 * PERIOD)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, limits=UserLimits(streams=20))
    yield made
    made.close()


@pytest.fixture
def server(world: World) -> Iterator[str]:
    with served(create_app(world.service)) as port:
        yield f"http://127.0.0.1:{port}"


def start_trials(world: World, sweep_id: str, *numbers: int) -> None:
    trials = [
        Trial(number=n, state=TrialState.RUNNING, role=Role.SEARCH, params={}) for n in numbers
    ]
    events = [TrialStarted(trial=trial) for trial in trials]
    world.service.progress.record(sweep_id, 1, DriverReport(events=events))


class Listening:
    """A client that follows a sweep on its own thread."""

    def __init__(self, server: str, token: str, sweep_id: str, after: int = 0) -> None:
        self.heard: list[int] = []
        self.error: Exception | None = None
        self._follow = (server, token, sweep_id, after)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        server, token, sweep_id, after = self._follow
        try:
            for number, _ in Client(server, token).events(sweep_id, after):
                self.heard.append(number)
        except Exception as error:
            self.error = error

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()


def test_everybody_hears_everything_once_wherever_they_begin(world: World, server: str) -> None:
    sweep_id = world.submit()
    world.launch(sweep_id)
    start_trials(world, sweep_id, *range(5))
    first = world.service.progress.events(sweep_id)
    starts = (0, first[2].number, first[-1].number, 0)
    listening = [Listening(server, world.tokens["ann"], sweep_id, after) for after in starts]
    wait_for(lambda: len(listening[0].heard) == len(first), 10)
    start_trials(world, sweep_id, 5, 6)
    time.sleep(1.4 * PERIOD)
    late = Listening(server, world.tokens["bob"], sweep_id)
    start_trials(world, sweep_id, 7)
    world.brought_to(sweep_id, JobState.CANCELLED)
    everybody = [*listening, late]
    wait_for(lambda: all(one.ended for one in everybody), 20)
    numbers = [e.number for e in world.service.progress.events(sweep_id)]
    for one, after in zip(everybody, (*starts, 0), strict=True):
        assert one.error is None
        assert one.heard == [n for n in numbers if n > after]


def test_a_listener_behind_what_is_kept_misses_nothing(
    world: World, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feeds, "_KEPT", 3)
    monkeypatch.setattr(event_feeds, "_BATCH", 4)
    sweep_id = world.submit()
    world.launch(sweep_id)
    listening = Listening(server, world.tokens["ann"], sweep_id)
    wait_for(lambda: listening.heard, 10)
    time.sleep(1.4 * PERIOD)  # the store was read for all once
    for start in range(0, 60, 10):
        start_trials(world, sweep_id, *range(start, start + 10))
        time.sleep(PERIOD / 5)
    world.brought_to(sweep_id, JobState.CANCELLED)
    wait_for(lambda: listening.ended, 20)
    assert listening.heard == [e.number for e in world.service.progress.events(sweep_id)]


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_stream_ends_when_its_token_does(
    world: World, server: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    sweep_id = world.submit()
    lasts = patience(10)
    token, record = world.service.tokens.add("bob", expires=time.time() + lasts)
    gone, stays = (Listening(server, one, sweep_id) for one in (token, world.tokens["ann"]))
    wait_for(lambda: gone.heard and stays.heard, 10)
    if how == "revoked":
        world.service.tokens.revoke("bob", record.name)
    else:
        monkeypatch.setattr(world.service.tokens, "_clock", lambda: time.time() + lasts)
    wait_for(lambda: gone.ended, 10)
    assert isinstance(gone.error, UnauthorizedError)
    assert not stays.ended


def test_a_stream_of_a_revoked_user_says_why_it_ends(world: World, server: str) -> None:
    sweep_id = world.submit()
    headers = {"Authorization": f"Bearer {world.tokens['bob']}"}
    url = f"{server}/v1/sweeps/{sweep_id}/events"
    with httpx2.stream("GET", url, headers=headers, timeout=patience(20)) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: state_changed"
        world.service.users.revoke("bob")
        assert ": the token was revoked or has expired" in list(lines)


def test_the_store_is_read_once_for_all_listeners(
    world: World, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    find_news = world.service.progress.find_news
    monkeypatch.setattr(
        world.service.progress,
        "find_news",
        lambda ids: (asked.append(len(ids)), find_news(ids))[1],
    )
    read: list[int] = []
    events = world.service.progress.events
    monkeypatch.setattr(
        world.service.progress,
        "events",
        lambda sweep_id, *more: (read.append(more[0]), events(sweep_id, *more))[1],
    )
    sweeps = [world.submit() for _ in range(2)]
    listening = [Listening(server, world.tokens["ann"], s) for s in sweeps for _ in range(8)]
    wait_for(lambda: all(one.heard for one in listening), 20)
    time.sleep(2 * PERIOD)
    asked.clear()
    read.clear()
    began = time.monotonic()
    wait_for(lambda: len(asked) >= 4, 10)
    assert len(asked) <= 1 + (time.monotonic() - began) / PERIOD
    assert set(asked) == {2}
    assert read == []
    world.launch(sweeps[0])
    wait_for(lambda: all(len(one.heard) == 2 for one in listening[:8]), 10)
    assert len(read) == 1


def test_streams_are_limited_by_user_and_shown(world: World, server: str) -> None:
    sweep_id = world.submit()
    listening = [Listening(server, world.tokens["ann"], sweep_id) for _ in range(20)]
    wait_for(lambda: all(one.heard for one in listening), 20)
    client = Client(server, world.tokens["ann"])
    with pytest.raises(LimitReachedError, match=r"ann has 20 streams of events open; the limit"):
        next(client.events(sweep_id))
    shown = client.do(endpoints.user("ann"))
    assert (shown.streams.used, shown.streams.limit) == (20, 20)
    assert next(Client(server, world.tokens["bob"]).events(sweep_id))
    world.act(sweep_id, "cancel")
    wait_for(lambda: all(one.ended for one in listening), 20)
    wait_for(lambda: client.do(endpoints.user("ann")).streams.used == 0, 10)


def test_a_listener_that_leaves_is_forgotten(world: World, server: str) -> None:
    sweep_id = world.submit()
    client = Client(server, world.tokens["ann"])
    headers = {"Authorization": f"Bearer {world.tokens['ann']}"}
    url = f"{server}/v1/sweeps/{sweep_id}/events"
    for _ in range(3):
        with httpx2.stream("GET", url, headers=headers) as stream:
            assert next(stream.iter_lines())
    wait_for(lambda: client.do(endpoints.user("ann")).streams.used == 0, 10)
    assert 'status="500"' not in httpx2.get(f"{server}/metrics").text


class TestLimits:
    """What a user may have beside streams."""

    def test_a_sweep_too_many_in_the_queue_is_refused_with_what_helps(self, tmp_path: Path) -> None:
        world = World(tmp_path, limits=UserLimits(queued=2))
        first = world.submit(headers={"Idempotency-Key": "one"})
        world.submit()
        refusal = refused(world.call("POST", "/v1/sweeps", json=SPEC), 409)
        assert refusal["type"] == "urn:problem-type:gapsweep:limit-reached"
        assert refusal["detail"] == (
            "ann has 2 queued sweeps; the limit of a user is 2 (--queued-per-user of the server): "
            "wait until some have started, or cancel some"
        )
        assert world.submit(headers={"Idempotency-Key": "one"}) == first
        assert len(world.call("GET", "/v1/sweeps?owner=ann").json()["items"]) == 2
        world.submit("bob")
        world.act(first, "pause")
        world.submit()
        assert refused(world.act(first, "resume"), 409)["type"].endswith("limit-reached")
        assert world.call("GET", f"/v1/sweeps/{first}").json()["state"] == "paused"
        world.close()

    def test_racing_submits_are_not_more_than_the_limit(self, tmp_path: Path) -> None:
        world = World(tmp_path, limits=UserLimits(queued=5))
        ask = lambda _: world.call("POST", "/v1/sweeps", json=SPEC).status_code  # noqa: E731  # short
        with world.http, ThreadPoolExecutor(8) as pool:
            found = sorted(pool.map(ask, range(16)))
        assert found == [201] * 5 + [409] * 11
        world.close()

    def test_what_is_stored_is_limited(self, tmp_path: Path) -> None:
        world = World(tmp_path, limits=UserLimits(stored_bytes=10_000))
        sweep_id = world.submit()
        world.service.storage.record_size(sweep_id, 9_000)
        detail = refused(world.call("POST", "/v1/bundles", content=b"x" * 1_000), 409)["detail"]
        assert detail == (
            "ann has 8.79 KiB stored; the limit of a user is 9.77 KiB (--stored-per-user of the "
            "server): delete sweeps with `gapsweep delete`"
        )
        refused(world.call("POST", "/v1/bundles", content=b"x" * 100), 422)  # no zip
        world.service.storage.record_size(sweep_id, 10_000)
        refused(world.call("POST", "/v1/sweeps", json=SPEC), 409)
        world.submit("bob")
        world.close()

    def test_the_command_shows_use_and_limit_beside_each_other(
        self, world: World, server: str
    ) -> None:
        world.submit()
        env = {"GAPSWEEP_SERVER": server, "GAPSWEEP_TOKEN": world.tokens["ann"]}
        shown = gapsweep("users", "show", env=env).stdout.splitlines()
        assert shown[0] == "ann (user)"
        assert [" ".join(line.split()) for line in shown[2:]] == [
            "in use limit",
            "sweeps on the cluster 0 none",
            "sweeps in the queue 1 1,000",
            "open streams of events 0 20",
            "stored: sweeps and code 0 B 100 GiB",
        ]
        refusal = gapsweep("users", "show", "bob", env=env)
        assert "ann can see ann only" in refusal.stderr

    def test_a_user_sees_its_own_use_and_an_admin_everybodys(self, tmp_path: Path) -> None:
        world = World(tmp_path, limits=UserLimits(running=3))
        first, _ = world.submit(), world.submit()
        world.launch(first)
        world.service.storage.record_size(first, 12_345)
        mine = world.call("GET", "/v1/users/ann").json()
        assert mine["running"] == {"used": 1, "limit": 3}
        assert mine["queued"] == {"used": 1, "limit": 1000}
        assert mine["stored_bytes"] == {"used": 12_345, "limit": 100 * 2**30}
        assert world.call("GET", "/v1/users/ann", "root").json() == mine
        refused(world.call("GET", "/v1/users/ann", "bob"), 403)
        refused(world.call("GET", "/v1/users/nobody", "root"), 404)
        world.close()


def test_a_wait_that_times_out_is_told_from_a_change() -> None:
    async def both() -> tuple[bool, bool]:
        changed = asyncio.Event()
        silent = await event_feeds._wait(changed, 0.01)
        changed.set()
        return silent, await event_feeds._wait(changed, 0.01)

    assert asyncio.run(both()) == (False, True)
