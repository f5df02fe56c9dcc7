"""The audit log over the API: every change, every token's use, every refusal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.base.errors import DatabaseUnavailableError
from service.client.audit_actions import AuditAction
from service.client.bundle_packing import pack
from service.client.job_states import JobState
from service.server import audit_counter
from service.server.audit_counter import OTHER_ADDRESSES, AuditCounter
from service.server.store.callers import Actor
from tests.worlds import World, refused


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def entries(world: World, **filters: Any) -> list[dict[str, Any]]:
    """The audit log but the uses of tokens, the oldest first."""
    answer = world.call("GET", "/v1/audit", "root", params={"limit": 500, **filters})
    assert answer.status_code == 200, answer.text
    found = [e for e in answer.json()["items"] if filters or e["action"] != "token.use"]
    return found[::-1]


def test_every_change_of_a_sweep_has_an_entry(world: World, tmp_path: Path) -> None:
    module = tmp_path / "mine.py"
    module.write_text("")
    assert world.call("POST", "/v1/bundles", content=pack([module])).status_code == 201
    sweep_id = world.submit(params={"priority": 1})
    for action in ("pause", "resume", "cancel", "retry"):
        assert world.act(sweep_id, action).status_code == 200
    world.launch(sweep_id)
    world.brought_to(sweep_id, JobState.RUNNING, JobState.SUCCEEDED)
    assert world.act(sweep_id, "extend", "root", params={"trials": 5}).status_code == 200
    found = [(e["action"], e["user"], e["token"], e["sweep"]) for e in entries(world)]
    done = ["submit", "pause", "resume", "cancel", "retry"]
    assert found == [
        ("bundle.upload", "ann", "default", None),
        *((f"sweep.{action}", "ann", "default", sweep_id) for action in done),
        ("sweep.extend", "root", "default", sweep_id),
    ]
    assert {e["address"] for e in entries(world)} == {"testclient"}
    assert entries(world)[-1]["detail"] == "extended by 5 trials"
    assert "mine" in entries(world)[0]["detail"]
    assert all(abs(e["time"] - time.time()) < 60 for e in entries(world))


def test_what_was_not_done_has_no_entry(world: World) -> None:
    sweep_id = world.submit(headers={"Idempotency-Key": "k"})
    assert world.submit(headers={"Idempotency-Key": "k"}) == sweep_id
    refused(world.act(sweep_id, "resume"), 409)
    refused(world.call("POST", "/v1/sweeps", json={}), 422)
    assert [e["action"] for e in entries(world)] == ["sweep.submit"]


def test_a_change_whose_entry_cannot_be_stored_is_not_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailableError("the database sqlite:// does not answer")

    sweep_id = world.submit()
    monkeypatch.setattr(world.service.audit, "record", fail)
    refused(world.act(sweep_id, "cancel"), 503)
    assert world.service.sweeps.get(sweep_id).state is JobState.QUEUED


def test_tokens_are_entered_without_themselves(world: World) -> None:
    token = world.call("POST", "/v1/tokens", json={"name": "laptop", "days": None}).json()["token"]
    world.call("DELETE", "/v1/tokens/laptop")
    made, gone = entries(world)
    assert (made["action"], gone["action"]) == ("token.add", "token.revoke")
    assert made["detail"] == gone["detail"] == "laptop of ann, scope submit, without end"
    assert token not in world.call("GET", "/v1/audit", "root").text


def test_uses_of_a_token_are_one_entry_a_day_and_address(world: World) -> None:
    for _ in range(5):
        world.call("GET", "/v1/sweeps")
    (used,) = entries(world, user="ann")
    assert (used["action"], used["token"], used["times"]) == ("token.use", "default", 5)
    assert used["time"] <= used["last"]


def test_downloads_are_entered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.server.sweep_results.render_text", lambda *_: "text")
    sweep_id = world.submit()
    for _ in range(2):
        world.call("GET", f"/v1/sweeps/{sweep_id}/report", "vic", params={"format": "text"})
    (found,) = entries(world, user="vic", action="report.download")
    assert (found["sweep"], found["detail"], found["times"]) == (sweep_id, "text", 2)


def test_refused_requests_are_entered(world: World) -> None:
    sweep_id = world.submit()
    for _ in range(2):
        refused(world.act(sweep_id, "cancel", "bob"), 403)
    (found,) = entries(world, action="request.forbidden")
    assert (found["user"], found["sweep"], found["times"]) == ("bob", sweep_id, 2)
    assert found["detail"] == "POST /v1/sweeps/{sweep_id}:cancel"
    world.tokens["wrong"] = "gs_wrong"
    refused(world.call("GET", "/v1/sweeps", "wrong"), 401)
    refused(world.call("GET", "/v1/sweeps", None), 401)
    world.tokens["old"], _ = world.service.tokens.add("ann", "old", expires=time.time() - 1)
    refused(world.call("GET", "/v1/sweeps", "old"), 401)
    unknown, missing, expired = entries(world, action="request.unauthorized")
    assert (unknown["user"], unknown["detail"]) == (None, "it is unknown")
    assert (missing["user"], missing["detail"]) == (None, "no token")
    assert (expired["user"], expired["token"]) == ("ann", "old")


def test_a_login_of_mlflow_names_its_client(world: World) -> None:
    client = {"Gapsweep-Client": "10.1.2.3"}
    assert world.call("GET", "/v1/me", headers=client).status_code == 200
    (used,) = entries(world, action="mlflow.use")
    assert (used["user"], used["detail"]) == ("ann", "10.1.2.3")
    world.tokens["wrong"] = "gs_wrong"
    world.call("GET", "/v1/me", "wrong", headers=client)
    world.call("GET", "/v1/me", "wrong", headers={"Gapsweep-Client": "<script>"})
    found = [e["detail"] for e in entries(world, action="request.unauthorized")]
    assert found == ["it is unknown; MLflow, from 10.1.2.3", "it is unknown"]


def test_strangers_do_not_fill_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_counter, "MAX_STRANGERS", 3)
    counter = world.service.audit_counter
    for n in range(20):
        stranger = Actor(user=None, address=f"10.0.0.{n}")
        counter.count(stranger, AuditAction.REQUEST_UNAUTHORIZED, detail="it is unknown")
    found = entries(world, action="request.unauthorized")
    assert [e["times"] for e in found] == [1, 1, 1, 17]
    assert found[-1]["address"] == OTHER_ADDRESSES
    restarted = AuditCounter(world.service.audit, world.service.tokens)
    other = Actor(user=None, address="10.0.1.1")
    restarted.count(other, AuditAction.REQUEST_UNAUTHORIZED, detail="it is unknown")
    restarted.write()
    assert [e["times"] for e in entries(world, action="request.unauthorized")] == [1, 1, 1, 18]


def test_uses_that_cannot_be_stored_fail_no_request_and_are_stored_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise DatabaseUnavailableError("the database sqlite:// does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.service.audit, "count", fail)
        for _ in range(3):
            assert world.call("GET", "/v1/sweeps").status_code == 200
    assert [e["times"] for e in entries(world, user="ann")] == [3]


def test_only_admins_read_it_in_pages(world: World) -> None:
    for name in ("ann", "vic"):
        refused(world.call("GET", "/v1/audit", name), 403)
    sweeps = [world.submit() for _ in range(5)]
    asked: dict[str, Any] = {"action": "sweep.submit", "limit": 2}
    seen: list[str] = []
    while True:
        page = world.call("GET", "/v1/audit", "root", params=asked).json()
        seen += [e["sweep"] for e in page["items"]]
        if page["cursor"] is None:
            break
        asked["cursor"] = page["cursor"]
    assert seen == sweeps[::-1]
    assert [e["sweep"] for e in entries(world, sweep=sweeps[1])] == [sweeps[1]]
    assert entries(world, until=1.0) == []
    assert len(entries(world, since=time.time() - 60, action="sweep.submit")) == 5


@pytest.mark.parametrize(
    "asked",
    [{"action": "sweep.steal"}, {"since": "NaN"}, {"since": -1}, {"limit": 0}, {"cursor": "x"}],
)
def test_wrong_filters_are_refused(world: World, asked: dict[str, Any]) -> None:
    refused(world.call("GET", "/v1/audit", "root", params=asked), 422)


def test_entries_cannot_be_changed(world: World) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert world.call(method, "/v1/audit", "root").status_code == 405
