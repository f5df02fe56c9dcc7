"""Probes answer whatever else the API does, and say which part of the service does not work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.server.api.app import create_app
from service.server.api.rate_limits import RateSettings
from service.server.leased_loop import ROUND_LIMIT, LeasedLoop
from service.server.store.lease_store import LeaseStore
from service.spec.model import SweepSpec
from tests.patience import patience, wait_for
from tests.worlds import SPEC, World, refused

WAIT = patience(20.0)
PROBES = ("/healthz", "/readyz", "/metrics")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_probes_and_other_requests_do_not_wait_for_fifty_validations(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough, lock, running, most = threading.Event(), threading.Lock(), 0, 0
    check = world.service.check

    def slow(raw: Any) -> SweepSpec:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        enough.wait(WAIT)
        with lock:
            running -= 1
        return check(raw)

    monkeypatch.setattr(world.service, "check", slow)
    app = create_app(world.service, rates=RateSettings(submissions="1000/minute"))
    vic = {"Authorization": f"Bearer {world.tokens['vic']}"}
    with TestClient(app) as http, ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(http.post, "/v1/validate", json=SPEC, headers=vic) for _ in range(50)]
        wait_for(lambda: running == 2, 10)
        try:
            for path in PROBES:
                assert http.get(path).status_code == 200
            assert http.get("/v1/sweeps", headers=vic).status_code == 200
        finally:
            enough.set()
        assert {a.result(WAIT).status_code for a in asked} == {200}
    assert most == 2


def test_a_loop_that_is_stuck_is_not_ready_and_shows_in_the_metrics(world: World) -> None:
    begun, enough, now = threading.Event(), threading.Event(), [0.0]

    def work() -> None:
        begun.set()
        enough.wait(WAIT)

    leases = LeaseStore(world.database, "one", time.time)
    loop = LeasedLoop("sweeps", leases, work, 0.01, clock=lambda: now[0])
    with TestClient(create_app(world.service, loops=[loop])) as http:
        assert begun.wait(WAIT)
        assert http.get("/readyz").json() == {"status": "ok"}
        now[0] = ROUND_LIMIT + 15.0
        body = refused(http.get("/readyz"), 503)
        assert "'sweeps' has done nothing for 75 s: its round does not end" in body["detail"]
        assert http.get("/healthz").status_code == 200
        metrics = http.get("/metrics").text
        assert 'gapsweep_loop_age_seconds{loop="sweeps"} 75.0' in metrics
        assert 'gapsweep_loop_up{loop="sweeps"} 0.0' in metrics
        enough.set()
        wait_for(lambda: http.get("/readyz").status_code == 200, 10)
        metrics = http.get("/metrics").text
        assert 'gapsweep_round_seconds{loop="sweeps"}' in metrics
        assert 'gapsweep_loop_up{loop="sweeps"} 1.0' in metrics


def test_a_request_with_thousands_of_mistakes_gets_a_short_answer(world: World) -> None:
    wrong = "&".join(["state=x"] * 2_000)
    answer = world.call("GET", f"/v1/sweeps?{wrong}")
    body = refused(answer, 422)
    assert body["problems"][-1]["message"] == "and 1,970 more problems"
    assert len(answer.content) < 20_000
