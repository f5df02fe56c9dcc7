"""What a sweep's own token is good for: to report that sweep while its attempt runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from service.client.driver_reports import MAX_REPORT_BYTES, Report, TrialReport
from service.client.job_states import JobState
from service.server.store.sweep_tokens import SweepScope, SweepTokens
from service.study.records import Trial
from tests.drivers import driver_token
from tests.worlds import World, refused

DRIVERS = [("GET", "/v1/driver/job"), ("POST", "/v1/driver/report"), ("POST", "/v1/driver/end")]
TRIAL: dict[str, Any] = {
    **{name: {} for name in ("params", "best", "control", "errors", "ran_on")},
    **dict.fromkeys(("value", "stopped_epoch", "violation", "reason", "confirms", "seed")),
    **dict.fromkeys(("started", "ended")),
    **{"number": 0, "state": "running", "role": "search", "replicate": 0, "seconds": 0.0},
    **{"without": [], "redraws_test": False},
}


class Driven(World):
    """A service with two sweeps on the cluster."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.mine, self.other = self.submit(), self.submit("bob")
        for sweep_id in (self.mine, self.other):
            self.launch(sweep_id)
            self.tokens[sweep_id] = driver_token(self.service, sweep_id)

    def say(self, path: str, body: Any, sweep_id: str | None = None) -> Response:
        return self.call("POST", f"/v1/driver/{path}", sweep_id or self.mine, json=body)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Driven]:
    made = Driven(tmp_path)
    yield made
    made.close()


def test_a_driver_gets_its_job_reports_it_and_ends_it(world: Driven) -> None:
    job = world.call("GET", "/v1/driver/job", world.mine).json()
    assert (job["sweep_id"], job["attempt"], job["more_trials"]) == (world.mine, 1, 0)
    assert "digits-mlp" in job["spec"]
    assert job["wider"] == {}
    assert world.say("report", {"trials": [TRIAL]}).json() == {
        "requested_action": None,
        "slots": None,
    }
    assert world.service.sweeps.get(world.mine).state is JobState.RUNNING
    assert world.act(world.mine, "cancel").status_code == 200
    assert world.say("report", {}).json()["requested_action"] == "cancel"
    assert world.say("end", {"report": {}, "state": "cancelled", "cause": "x"}).status_code == 204
    assert world.service.sweeps.get(world.mine).state is JobState.CANCELLED
    assert world.service.sweeps.get(world.other).state is JobState.STARTING
    assert world.service.progress.trials(world.other) == ()


def test_a_sweeps_token_says_what_it_is(world: Driven) -> None:
    found = world.call("GET", "/v1/me", world.mine).json()
    of_users = {"token": None, "scope": None, "expires": None}
    assert found == {"name": world.mine, "role": "sweep", "sweep_id": world.mine, **of_users}


def test_nothing_else_takes_a_sweeps_token(world: Driven) -> None:
    paths = world.call("GET", "/openapi.json", None).json()["paths"]
    calls = [(method.upper(), path) for path, found in paths.items() for method in found]
    secured = [c for c in calls if c[1].startswith("/v1") and c[1] != "/v1/me"]
    assert len(secured) > 12
    for method, path in secured:
        asked = path.format(sweep_id=world.mine, number=0, name="x")
        assert world.call(method, asked, world.mine).status_code == 401, (method, path)


def test_users_are_no_drivers(world: Driven) -> None:
    for user in ("vic", "ann", "root", None):
        for method, path in DRIVERS:
            refused(world.call(method, path, user, json={}), 401)


def test_a_token_ends_with_its_attempt(world: Driven) -> None:
    bodies = {"/v1/driver/end": {"report": {}, "state": "failed", "cause": "x"}}

    def is_over() -> None:
        for method, path in DRIVERS:
            found = refused(world.call(method, path, world.mine, json=bodies.get(path, {})), 409)
            assert found["type"].endswith("stale-driver")
        refused(world.call("GET", "/v1/me", world.mine), 401)

    world.brought_to(world.mine, JobState.QUEUED)
    is_over()
    world.service.sweeps.change(world.mine, JobState.STARTING, "again", "queue", attempt=2)
    is_over()
    world.tokens["again"] = driver_token(world.service, world.mine, 2)
    assert world.call("GET", "/v1/me", "again").json()["sweep_id"] == world.mine


def test_a_token_is_made_by_its_service_alone(world: Driven, tmp_path: Path) -> None:
    token = world.tokens[world.mine]
    (tmp_path / "another").mkdir()
    another = World(tmp_path / "another")
    signature = token.split("_")[3]
    forged = [
        token.replace("_1_", "_2_", 1),
        token.replace(world.mine, world.other),
        token.replace(signature, signature[::-1]),
        token.replace(signature, ""),
        token.replace("_1_", "_01_", 1),
        f"{token}x",
        driver_token(another.service, world.mine),
    ]
    another.database.close()
    assert world.service.sweep_tokens.read(f"{token}\n") is None
    for text in forged:
        assert world.service.sweep_tokens.read(text) is None
        answer = world.call(
            "GET", "/v1/driver/job", None, headers={"Authorization": f"Bearer {text}"}
        )
        assert answer.status_code == 401, text


def test_a_token_is_the_same_for_every_server_of_a_service(world: Driven) -> None:
    another = SweepTokens(world.database)
    assert another.make(SweepScope(world.mine, 1)) == world.tokens[world.mine]


def test_guesses_are_counted(world: Driven) -> None:
    forged = {"Authorization": f"Bearer {world.tokens[world.mine]}x"}
    codes = [
        world.call("GET", "/v1/driver/job", None, headers=forged).status_code for _ in range(61)
    ]
    assert codes == [401] * 60 + [429]
    assert world.say("report", {}).status_code == 200


OUT_OF_BOUNDS: list[Any] = [
    {"trials": [{**TRIAL, "number": -1}]},
    {"trials": [{**TRIAL, "number": 2**31}]},
    {"trials": [{**TRIAL, "number": 10**30}]},
    {"trials": [{**TRIAL, "sweep_id": "another"}]},
    {"trials": [{**TRIAL, "best": {f"m{n}": 1.0 for n in range(1001)}}]},
    {"trials": [TRIAL] * 501},
    {"events": [{"kind": "state_changed", "new": "succeeded"}]},
    {"epochs": [{"trial": 0, "epoch": 1, "time": "Infinity", "metrics": {}}]},
    {"progress": {"anything": "x" * 100}},
    {"slot_seconds": -1.0},
    {"slot_seconds": "Infinity"},
    {"gpu_hours": "NaN"},
    [],
    None,
]


def test_what_is_out_of_bounds_is_refused_and_nothing_of_it_is_kept(world: Driven) -> None:
    for body in OUT_OF_BOUNDS:
        answer = world.say("report", body)
        refused(answer, 422)
        assert len(answer.content) < 10_000
    assert world.service.sweeps.get(world.mine).state is JobState.STARTING
    assert world.service.progress.trials(world.mine) == ()


def test_what_is_no_report_is_refused(world: Driven) -> None:
    for path in ("report", "end"):
        for content in (b"", b"{", b"\xff", b"[" * 100_000, b'{"trials": 1e999}'):
            refused(world.call("POST", f"/v1/driver/{path}", world.mine, content=content), 422)


def test_too_large_a_report_is_refused_before_it_is_read(world: Driven) -> None:
    for path in ("report", "end"):
        content = b" " * (MAX_REPORT_BYTES + 1)
        refused(world.call("POST", f"/v1/driver/{path}", world.mine, content=content), 413)


def test_a_sweep_ends_in_an_end(world: Driven) -> None:
    for state in ("queued", "starting", "running", "pausing"):
        refused(world.say("end", {"report": {}, "state": state, "cause": ""}), 422)


def test_a_report_has_every_field_of_a_trial_but_its_own_epochs_and_anatomies() -> None:
    known = {f.name for f in fields(Trial)} - {"epochs", "anatomy", "control_anatomy"}
    assert set(TrialReport.model_fields) == known
    assert Report.model_validate({"trials": [TRIAL]}).trials[0].to_trial() == Trial(
        number=0,
        state="running",
        role="search",
        params={},  # type: ignore[arg-type]  # texts equal their enum's
    )
