"""Tokens over the API: several of one user, each with a scope and an end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client.endpoints import TOKEN_EXPIRES
from service.server.store.user_roles import TokenScope
from tests.worlds import SPEC, World, refused


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def add(world: World, name: str, by: str = "ann", **asked: Any) -> dict[str, Any]:
    """A new token, which the world calls by its name."""
    answer = world.call("POST", "/v1/tokens", by, json={"name": name, **asked})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    world.tokens[name] = made["token"]
    return made


def test_a_token_is_made_listed_used_and_revoked(world: World) -> None:
    made = add(world, "laptop", scope="read", days=30)
    assert (made["name"], made["user"], made["scope"]) == ("laptop", "ann", "read")
    assert made["expires"] == pytest.approx(time.time() + 30 * 86_400, abs=60)
    assert world.call("GET", "/v1/sweeps", "laptop").status_code == 200
    listed = world.call("GET", "/v1/tokens").json()["items"]
    assert [t["name"] for t in listed] == ["default", "laptop"]
    assert listed[1]["last_address"] == "testclient"
    assert listed[1]["last_used"] == pytest.approx(time.time(), abs=60)
    assert made["token"] not in world.call("GET", "/v1/tokens").text
    assert world.call("DELETE", "/v1/tokens/laptop").status_code == 204
    assert refused(world.call("GET", "/v1/sweeps", "laptop"), 401)["detail"] == (
        "invalid token: it was revoked"
    )
    refused(world.call("DELETE", "/v1/tokens/laptop"), 404)


def test_a_token_expires_by_default_and_only_asked_for_it_does_not(world: World) -> None:
    assert add(world, "a")["expires"] == pytest.approx(time.time() + 90 * 86_400, abs=60)
    assert add(world, "b", days=None)["expires"] is None
    for days in (0, -1, 4000, "NaN", "soon"):
        answer = world.call("POST", "/v1/tokens", json={"name": "c", "days": days})
        assert "days" in refused(answer, 422)["problems"][0]["path"]


def test_an_answer_says_when_the_token_expires(world: World) -> None:
    made = add(world, "short", days=1)
    for path in ("/v1/sweeps", "/v1/me", "/v1/sweeps/none"):
        answer = world.call("GET", path, "short")
        assert answer.headers[TOKEN_EXPIRES] == f"{made['expires']:.0f}"
    assert TOKEN_EXPIRES not in world.call("GET", "/v1/sweeps").headers
    me = world.call("GET", "/v1/me", "short").json()
    assert (me["token"], me["scope"], me["expires"]) == ("short", "submit", made["expires"])


def test_an_expired_token_is_refused_as_such(world: World) -> None:
    world.tokens["old"], _ = world.service.tokens.add("ann", "old", expires=time.time() - 1)
    detail = refused(world.call("GET", "/v1/sweeps", "old"), 401)["detail"]
    assert detail.startswith("invalid token: it expired on 20")
    assert refused(world.call("GET", "/v1/me", "old"), 401)["detail"] == detail


def test_a_scope_limits_what_the_role_may_do(world: World) -> None:
    add(world, "reading", scope="read")
    add(world, "submitting", by="root", scope="submit")
    mine, anns = world.submit(), world.submit()
    words = "requires scope submit; the token 'reading' of ann has scope read"
    for method, path in (
        ("POST", "/v1/sweeps"),
        ("POST", "/v1/bundles"),
        ("POST", f"/v1/sweeps/{mine}:cancel"),
        ("POST", f"/v1/sweeps/{mine}:pause"),
    ):
        answer = world.call(method, path, "reading", json=SPEC)
        assert words in refused(answer, 403)["detail"]
    assert world.call("GET", f"/v1/sweeps/{mine}", "reading").status_code == 200
    assert world.call("GET", "/v1/me", "reading").json()["role"] == "viewer"
    for answer in (
        world.act(anns, "cancel", "submitting"),
        world.call("GET", "/v1/audit", "submitting"),
    ):
        assert "requires scope admin" in refused(answer, 403)["detail"]
    roots = world.submit("submitting")
    assert world.act(roots, "cancel", "submitting").status_code == 200
    assert world.act(anns, "cancel", "root").status_code == 200


def test_a_token_makes_none_with_more_than_it_has(world: World) -> None:
    add(world, "reading", scope="read")
    answer = world.call("POST", "/v1/tokens", "reading", json={"name": "x", "scope": "submit"})
    assert "requires scope submit" in refused(answer, 403)["detail"]
    answer = world.call("POST", "/v1/tokens", json={"name": "x", "scope": "admin"})
    words = "ann is a user; a token of ann has at most scope submit"
    assert words in refused(answer, 403)["detail"]
    again = world.call("POST", "/v1/tokens", "reading", json={"name": "another"}).json()
    assert again["scope"] == "read"
    refused(world.call("DELETE", "/v1/tokens/default", "reading"), 403)
    assert world.call("DELETE", "/v1/tokens/reading", "reading").status_code == 204


def test_only_an_admin_manages_the_tokens_of_others(world: World) -> None:
    for method, path in (("GET", "/v1/tokens"), ("DELETE", "/v1/tokens/default")):
        refused(world.call(method, path, "ann", params={"user": "bob"}), 403)
    refused(world.call("POST", "/v1/tokens", "ann", json={"user": "bob"}), 403)
    add(world, "bobs", by="root", user="bob")
    listed = world.call("GET", "/v1/tokens", "root", params={"user": "bob"}).json()["items"]
    assert [(t["name"], t["scope"]) for t in listed] == [("default", "submit"), ("bobs", "submit")]
    refused(world.call("POST", "/v1/tokens", "root", json={"user": "bob", "scope": "admin"}), 403)
    refused(world.call("GET", "/v1/tokens", "root", params={"user": "nobody"}), 404)
    gone = world.call("DELETE", "/v1/tokens/bobs", "root", params={"user": "bob"})
    assert gone.status_code == 204


def test_what_is_asked_wrongly_is_refused_with_what_would_be_right(world: World) -> None:
    add(world, "laptop")
    taken = refused(world.call("POST", "/v1/tokens", json={"name": "laptop"}), 409)
    assert "choose another name" in taken["detail"]
    refused(world.call("POST", "/v1/tokens", json={"name": "my laptop"}), 422)
    refused(world.call("POST", "/v1/tokens", json={"name": "x", "scope": "write"}), 422)
    refused(world.call("POST", "/v1/tokens", json={"name": "x", "ends": 3}), 422)


def test_a_viewer_has_tokens_that_read(world: World) -> None:
    assert add(world, "mine", by="vic")["scope"] == "read"
    assert world.service.tokens.get("vic", "mine").scope is TokenScope.READ
