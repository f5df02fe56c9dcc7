"""The API over its real store, over HTTP's own semantics, without a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import yaml
from fastapi.testclient import TestClient

from service.client.job_states import JobState
from service.server.api.app import create_app
from service.server.api.dependencies import MAX_SPEC_BYTES
from service.server.store.database import Database
from service.server.store.job_records import DriverReport, RequestedAction
from service.server.sweep_service import SweepService
from service.study.events import TrialStarted
from service.study.records import Epoch, Role, Trial, TrialState
from tests.worlds import SPEC, World, refused


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_sweep_is_submitted_as_json_and_as_yaml_and_read_back(world: World) -> None:
    as_json = world.call("POST", "/v1/sweeps", json=SPEC, params={"priority": 3})
    text = yaml.safe_dump(SPEC)
    as_yaml = world.call(
        "POST", "/v1/sweeps", content=text, headers={"Content-Type": "application/yaml"}
    )
    for done, priority in ((as_json, 3), (as_yaml, 0)):
        assert done.status_code == 201
        made = done.json()
        assert (made["state"], made["owner"], made["priority"]) == ("queued", "ann", priority)
        found = world.call("GET", done.headers["Location"], "vic").json()
        assert yaml.safe_load(found["spec"])["space"]["dropout"]["float"] == [0.0, 0.5]
        assert [(t["old"], t["new"], t["by"]) for t in found["history"]] == [
            (None, "queued", "ann")
        ]


def test_numbers_arrive_as_numbers_however_json_writes_them(world: World) -> None:
    asked = {**SPEC, "model": {"eps": 1e-05, "huge": 1e22}}
    assert "1e-05" in json.dumps(asked)
    valid = world.call("POST", "/v1/validate", json=asked).json()["spec"]
    assert valid["model"] == {"eps": 1e-05, "huge": 1e22}
    sweep_id = world.call("POST", "/v1/sweeps", json=asked).json()["sweep_id"]
    stored = yaml.safe_load(world.service.sweeps.get(sweep_id).spec)
    assert stored["model"] == {"eps": 1e-05, "huge": 1e22}


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_no_number_of_jsons_is_refused(world: World, word: bytes) -> None:
    body = (
        json.dumps({**SPEC, "model": {"eps": 1}}).encode().replace(b'"eps": 1', b'"eps": ' + word)
    )
    (problem,) = refused(world.call("POST", "/v1/sweeps", content=body), 422)["problems"]
    assert f"{word.decode()} is not a JSON number" in problem["message"]


def test_a_key_that_is_there_twice_is_refused(world: World) -> None:
    body = json.dumps(SPEC).encode()[:-1] + b', "name": "other"}'
    (problem,) = refused(world.call("POST", "/v1/sweeps", content=body), 422)["problems"]
    assert "the key 'name' is there twice; keep one of them" in problem["message"]


def test_the_same_key_gives_the_same_sweep(world: World) -> None:
    key = {"Idempotency-Key": "k1"}
    assert world.submit(headers=key) == world.submit(headers=key)
    assert world.submit(headers=key) != world.submit(user="bob", headers=key)
    assert world.submit() != world.submit()


def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    key = {"headers": {"Idempotency-Key": "monday"}}
    sweep_id = world.submit(**key)
    for more in ({"params": {"priority": 1}}, {"json": {**SPEC, "name": "other"}}):
        answer = world.call("POST", "/v1/sweeps", **{"json": SPEC, **key, **more})
        body = refused(answer, 422)
        assert body["type"] == "urn:problem-type:gapsweep:idempotency-key-reused"
        assert f"the idempotency key 'monday' was used for {sweep_id}" in body["detail"]
    assert world.submit(**key) == sweep_id
    assert world.submit("bob", **key) != sweep_id


def test_every_problem_of_a_spec_is_said_at_once_as_the_command_says_it(world: World) -> None:
    wrong = {**SPEC, "data": {"name": "digit"}, "training": {"max_epochs": "forty"}}
    for path in ("/v1/sweeps", "/v1/validate"):
        body = refused(world.call("POST", path, json=wrong), 422)
        found = {p["path"]: p["message"] for p in body["problems"]}
        assert set(found) == {"data", "training.max_epochs"}
        assert "did you mean 'digits'?" in found["data"]
    assert world.call("GET", "/v1/sweeps").json()["items"] == []


@pytest.mark.parametrize("body", [b"", b"[1, 2]", b"a: [", b"\xff\xfe", b"x" * 1000, b"&a [*a]"])
def test_what_is_no_spec_is_refused(world: World, body: bytes) -> None:
    refused(world.call("POST", "/v1/sweeps", content=body), 422)


def test_a_sweep_in_its_own_process_is_refused(world: World) -> None:
    asked = {**SPEC, "resources": {"executor": "local"}}
    for path in ("/v1/sweeps", "/v1/validate"):
        body = refused(world.call("POST", path, json=asked), 422)
        (problem,) = body["problems"]
        assert problem["path"] == "resources.executor"


def test_a_spec_whose_trials_a_loop_elsewhere_trains_is_refused(world: World) -> None:
    asked = {key: value for key, value in SPEC.items() if key not in ("trainable", "data")}
    for path in ("/v1/sweeps", "/v1/validate"):
        body = refused(world.call("POST", path, json=asked), 422)
        (problem,) = body["problems"]
        assert problem["path"] == "trainable"
        assert "gapsweep.ask_tell" in problem["message"]


def test_a_spec_may_not_read_the_servers_files(world: World) -> None:
    asked = {**SPEC, "space": {"file": "/etc/passwd"}}
    body = refused(world.call("POST", "/v1/sweeps", json=asked), 422)
    assert body["problems"][0]["path"] == "space.file"
    assert "root:" not in json.dumps(body)


def test_too_large_a_spec_is_refused(world: World) -> None:
    huge = {**SPEC, "model": {"hidden": "1" * MAX_SPEC_BYTES}}
    refused(world.call("POST", "/v1/sweeps", json=huge), 413)


def test_only_trainables_of_the_allow_list_may_be_swept(tmp_path: Path) -> None:
    world = World(tmp_path, trainables=("trainables.*",))
    world.submit()
    body = refused(world.call("POST", "/v1/sweeps", json={**SPEC, "trainable": "os:system"}), 403)
    assert "allowed: trainables.*" in body["detail"]


class TestWho:
    """Tokens and roles."""

    @pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic abc", "Bearer "])
    def test_who_is_not_known_is_told_what_is_needed(
        self, world: World, header: str | None
    ) -> None:
        headers = {} if header is None else {"Authorization": header}
        answer = world.call("GET", "/v1/sweeps", None, headers=headers)
        refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"

    def test_a_revoked_user_is_nobody(self, world: World) -> None:
        world.service.users.revoke("ann")
        refused(world.call("GET", "/v1/sweeps"), 401)

    def test_viewers_look_and_do_nothing(self, world: World) -> None:
        sweep_id = world.submit()
        assert world.call("GET", f"/v1/sweeps/{sweep_id}", "vic").status_code == 200
        refused(world.call("POST", "/v1/sweeps", "vic", json=SPEC), 403)
        refused(world.act(sweep_id, "cancel", "vic"), 403)

    def test_one_user_cannot_stop_anothers_sweep_and_an_admin_can(self, world: World) -> None:
        sweep_id = world.submit()
        for action in ("cancel", "pause", "resume", "retry", "extend?trials=1"):
            body = refused(world.act(sweep_id, action, "bob"), 403)
            assert "belongs to ann" in body["detail"]
        done = world.act(sweep_id, "cancel", "root").json()
        assert (done["state"], done["cause"]) == ("cancelled", "cancelled")

    @pytest.mark.parametrize(
        ("user", "role"), [("vic", "viewer"), ("ann", "user"), ("root", "admin")]
    )
    def test_a_token_says_whose_it_is(self, world: World, user: str, role: str) -> None:
        found = world.call("GET", "/v1/me", user)
        whose = {"name": user, "role": role, "sweep_id": None, "token": "default"}
        scope = {"viewer": "read", "user": "submit", "admin": "admin"}[role]
        assert found.json() == {**whose, "scope": scope, "expires": None}

    def test_a_token_of_nobody_has_no_role(self, world: World) -> None:
        world.service.users.revoke("ann")
        for user in ("ann", None):
            refused(world.call("GET", "/v1/me", user), 401)

    def test_health_is_open_to_all(self, world: World) -> None:
        assert world.call("GET", "/healthz", None).json() == {"status": "ok"}
        assert world.call("GET", "/readyz", None).json() == {"status": "ok"}
        assert world.call("HEAD", "/healthz", None).status_code == 200
        assert world.call("HEAD", "/readyz", None).status_code == 200

    def test_a_users_token_is_no_sweeps(self, world: World) -> None:
        body = refused(world.call("GET", "/v1/driver/job"), 401)
        assert body["detail"] == "invalid token: it is a user's, not a sweep's"


class TestActions:
    """What can be done in which state."""

    def test_what_waits_is_changed_at_once(self, world: World) -> None:
        sweep_id = world.submit()
        assert world.act(sweep_id, "pause").json()["state"] == "paused"
        assert world.act(sweep_id, "resume").json()["state"] == "queued"
        assert world.act(sweep_id, "cancel").json()["state"] == "cancelled"
        assert world.act(sweep_id, "retry").json()["state"] == "queued"

    def test_what_runs_is_wished_for(self, world: World) -> None:
        sweep_id = world.submit()
        world.brought_to(sweep_id, JobState.STARTING, JobState.RUNNING)
        done = world.act(sweep_id, "pause").json()
        assert (done["state"], done["requested_action"]) == ("pausing", "pause")
        assert world.act(sweep_id, "cancel").json()["requested_action"] == "cancel"
        assert world.service.sweeps.get(sweep_id).requested_action is RequestedAction.CANCEL

    @pytest.mark.parametrize(
        ("states", "action", "words"),
        [
            ((JobState.CANCELLED,), "cancel", "is cancelled and cannot become cancelled"),
            ((JobState.CANCELLED,), "pause", "is cancelled and cannot become paused"),
            ((), "resume", "is queued; only a paused sweep can be resumed"),
            ((), "retry", "only a failed or cancelled sweep can be retried"),
            ((JobState.STARTING,), "extend?trials=3", "only a succeeded sweep can be extended"),
        ],
    )
    def test_what_does_not_go_is_a_conflict_that_says_why(
        self, world: World, states: tuple[JobState, ...], action: str, words: str
    ) -> None:
        sweep_id = world.submit()
        world.brought_to(sweep_id, *states)
        assert words in refused(world.act(sweep_id, action), 409)["detail"]

    def test_what_succeeded_is_extended(self, world: World) -> None:
        sweep_id = world.submit()
        world.brought_to(sweep_id, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED)
        assert world.act(sweep_id, "extend?trials=20").json()["state"] == "queued"
        assert world.service.sweeps.get(sweep_id).more_trials == 20
        refused(world.act(sweep_id, "extend?trials=0"), 422)
        world.launch(sweep_id)
        world.brought_to(sweep_id, JobState.RUNNING, JobState.SUCCEEDED)
        body = refused(world.act(sweep_id, "extend?trials=100000"), 422)
        assert "at most 100,000 trials in all, of which it has 20" in body["detail"]

    def test_what_is_extended_can_have_wider_ranges(self, world: World) -> None:
        sweep_id = world.submit()
        world.brought_to(sweep_id, JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED)
        params = {"trials": 5, "widen": ["dropout=0.1:0.4"]}
        body = refused(world.act(sweep_id, "extend", params=params), 422)
        assert body["problems"] == [
            {
                "path": "dropout",
                "message": "0.1 to 0.4 does not contain the range that it has, 0 to 0.5; a range "
                "can only become wider",
            }
        ]
        for wrong, words in (
            ("nothing=1:2", "is not in the space (dropout)"),
            ("dropout=0:1.5", "invalid value 1.5"),
            ("dropout", "NAME=LOW:HIGH"),
        ):
            params = {"trials": 5, "widen": [wrong]}
            assert words in str(refused(world.act(sweep_id, "extend", params=params), 422))
        assert world.service.sweeps.get(sweep_id).wider == {}
        done = world.act(sweep_id, "extend", params={"trials": 5, "widen": ["dropout=0:0.8"]})
        assert done.json()["cause"] == "extended by 5 trials, wider: dropout=0:0.8"
        assert world.service.sweeps.get(sweep_id).wider == {"dropout": [0.0, 0.8]}
        world.brought_to(sweep_id, JobState.PAUSED)
        narrower = world.act(sweep_id, "resume", params={"widen": ["dropout=0:0.7"]})
        assert "does not contain the range that it has, 0 to 0.8" in str(refused(narrower, 422))
        world.act(sweep_id, "resume", params={"widen": ["dropout=0:0.9"]})
        assert world.service.sweeps.get(sweep_id).wider == {"dropout": [0.0, 0.9]}

    def test_what_is_not_there_is_not_found(self, world: World) -> None:
        for path in ("", "/trials", "/trials/0", "/events"):
            refused(world.call("GET", f"/v1/sweeps/nothing{path}"), 404)
        refused(world.act("nothing", "cancel"), 404)
        refused(world.call("POST", "/v1/sweeps", json=SPEC, params={"after": "nothing"}), 404)
        refused(world.call("GET", "/v1/nowhere"), 404)
        wrong = world.call("DELETE", "/v1/sweeps")
        assert "DELETE is not possible at this path; possible: GET, POST" in str(
            refused(wrong, 405)
        )
        assert wrong.headers["allow"] == "GET, POST"

    def test_an_unknown_parameter_is_not_ignored(self, world: World) -> None:
        for path, name, words in (
            ("/v1/sweeps", "stat", "; did you mean 'state'?; valid: cursor, limit, name, owner, "),
            ("/v1/sweeps/nothing/trials", "page", "; valid: none"),
        ):
            body = refused(world.call("GET", path, params={name: 2}), 422)
            assert body["problems"] == [{"path": f"query.{name}", "message": ANY}]
            assert f"unknown parameter{words}" in body["problems"][0]["message"]
        refused(world.call("GET", "/v1/sweeps?page=2", None), 401)


def test_lists_are_filtered_and_paged(world: World) -> None:
    mine = [world.submit() for _ in range(3)]
    theirs = world.submit(user="bob")
    world.act(mine[0], "cancel")

    def ids(**asked: Any) -> list[str]:
        return [
            s["sweep_id"] for s in world.call("GET", "/v1/sweeps", params=asked).json()["items"]
        ]

    assert ids() == [theirs, *reversed(mine)]
    assert ids(owner="bob") == [theirs]
    assert ids(state=["cancelled"]) == [mine[0]]
    first = world.call("GET", "/v1/sweeps", params={"limit": 3}).json()
    assert ids(limit=3, cursor=first["cursor"]) == [mine[0]]
    refused(world.call("GET", "/v1/sweeps", params={"cursor": "x"}), 422)
    refused(world.call("GET", "/v1/sweeps", params={"state": "gone"}), 422)


def test_trials_and_curves_come_as_numbers(world: World) -> None:
    sweep_id = world.submit()
    trial = Trial(
        number=0,
        state=TrialState.COMPLETE,
        role=Role.BASELINE,
        params={"penalty": "none"},
        value=0.5,
        best={"val/loss": 0.5, "gap/loss": float("nan")},
    )
    epochs = [Epoch(trial=0, epoch=e, time=1.0, metrics={"val/loss": 1.0 / e}) for e in (1, 2)]
    world.launch(sweep_id)
    world.service.progress.record(sweep_id, 1, DriverReport(trials=[trial], epochs=epochs))
    (found,) = world.call("GET", f"/v1/sweeps/{sweep_id}/trials").json()
    assert found["best"] == {"val/loss": 0.5, "gap/loss": "NaN"}
    curve = world.call("GET", f"/v1/sweeps/{sweep_id}/trials/0").json()
    assert [e["metrics"]["val/loss"] for e in curve["epochs"]] == [1.0, 0.5]
    refused(world.call("GET", f"/v1/sweeps/{sweep_id}/trials/1"), 404)
    refused(world.call("GET", f"/v1/sweeps/{sweep_id}/trials/x"), 422)


def _heard(world: World, sweep_id: str, **headers: str) -> list[tuple[int, str]]:
    """Ids and kinds of the events of a sweep that has ended."""
    answer = world.call("GET", f"/v1/sweeps/{sweep_id}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [block for block in answer.text.split("\n\n") if "id:" in block]
    fields = [dict(line.split(": ", 1) for line in e.splitlines() if ": " in line) for e in events]
    return [(int(f["id"]), f["event"]) for f in fields]


def test_events_are_streamed_to_the_end_and_resumed(world: World) -> None:
    sweep_id = world.submit()
    world.launch(sweep_id)
    for number in range(4):
        running = Trial(number=number, state=TrialState.RUNNING, role=Role.SEARCH, params={})
        started = TrialStarted(trial=running)
        world.service.progress.record(sweep_id, 1, DriverReport(events=[started]))
    world.brought_to(sweep_id, JobState.CANCELLED)
    whole = _heard(world, sweep_id)
    assert [kind for _, kind in whole] == (
        ["state_changed"] * 3 + ["trial_started"] * 4 + ["state_changed"]
    )
    rest = _heard(world, sweep_id, **{"Last-Event-ID": str(whole[2][0])})
    assert rest == whole[3:]


def test_a_database_that_is_away_is_said_without_saying_where(tmp_path: Path) -> None:
    world = World(tmp_path)
    broken = SweepService(world.service.settings, Database("sqlite:////nowhere/at/all.db"))
    http = TestClient(create_app(broken), raise_server_exceptions=False)
    body = refused(http.get("/readyz"), 503)
    assert "nowhere" not in json.dumps(body)


def test_what_nobody_foresaw_tells_nothing_of_the_inside(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("secret at line 7")

    monkeypatch.setattr(world.service.sweeps, "page", fail)
    body = refused(world.call("GET", "/v1/sweeps"), 500)
    assert "secret" not in json.dumps(body)


def test_every_call_but_health_wants_a_token(world: World) -> None:
    paths = world.call("GET", "/openapi.json", None).json()["paths"]
    assert any(path.startswith("/v1") for path in paths)
    for path, calls in paths.items():
        for method in calls:
            asked = path.format(sweep_id="x", number=0, name="ann")
            status = world.call(method.upper(), asked, None).status_code
            assert status == (401 if path.startswith("/v1") else 200), (method, path)


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            yield from [value] if name == "$ref" else _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def test_every_reference_of_the_openapi_document_leads_to_a_schema(world: World) -> None:
    document = world.call("GET", "/openapi.json", None).json()
    references = set(_references(document))
    assert "#/components/schemas/ProblemOut" in references
    for reference in references:
        found = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        assert found, reference


def test_the_openapi_document_describes_every_call(world: World) -> None:
    document = world.call("GET", "/openapi.json", None).json()
    assert {
        "/healthz",
        "/readyz",
        "/v1/validate",
        "/v1/sweeps",
        "/v1/sweeps/{sweep_id}",
        "/v1/sweeps/{sweep_id}/trials",
        "/v1/sweeps/{sweep_id}/trials/{number}",
        "/v1/sweeps/{sweep_id}/events",
        *(f"/v1/sweeps/{{sweep_id}}/{r}" for r in ("best", "report", "logs", "model")),
        "/v1/me",
        "/v1/users/{name}",
        "/v1/tokens",
        "/v1/tokens/{name}",
        "/v1/audit",
        "/v1/bundles",
        "/v1/cluster",
        "/metrics",
        *(f"/v1/sweeps/{{sweep_id}}:{a}" for a in ("cancel", "pause", "resume", "retry", "extend")),
    } == set(document["paths"])
    body = document["paths"]["/v1/sweeps"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "application/yaml"}
