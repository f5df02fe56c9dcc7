"""Every exception's status, code and exit code, and its way through the API and back."""

from __future__ import annotations

import ast
import re
from http import HTTPStatus
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.base import errors
from service.base.errors import (
    BundleError,
    GapsweepError,
    InputError,
    NotFoundError,
    Problem,
    ProblemsError,
    RateLimitError,
    ServerError,
    SpecError,
    UnauthorizedError,
    find_class_of_status,
    list_error_classes,
)
from service.base.versions import get_installed_version
from service.client.endpoints import raise_for_problem
from service.client.problem_types import find_class, get_type
from service.server.api import problems

CLASSES = tuple(list_error_classes())


def made(kind: type[GapsweepError]) -> GapsweepError:
    if issubclass(kind, ProblemsError):
        return kind("the spec", [Problem("budget.trials", "must be positive"), Problem("", "no")])
    if issubclass(kind, RateLimitError):
        return kind("too many requests", 7.0)
    return kind(f"the message of {kind.__name__}")


def raised_by_client(response: httpx2.Response) -> GapsweepError:
    with pytest.raises(GapsweepError) as caught:
        raise_for_problem(response)
    return caught.value


def respond(error: Exception) -> httpx2.Response:
    """The API's response to a request for which ``error`` is raised."""
    app = FastAPI()
    problems.install(app)

    @app.get("/")
    def fail() -> None:
        raise error

    answer = TestClient(app, raise_server_exceptions=False).get("/")
    return httpx2.Response(
        answer.status_code,
        headers=dict(answer.headers),
        content=answer.content,
        request=httpx2.Request("GET", "http://server/"),
    )


def test_every_class_of_the_module_is_walked_once() -> None:
    tree = ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))
    named = {n.name for n in tree.body if isinstance(n, ast.ClassDef) and n.name.endswith("Error")}
    assert named == {kind.__name__ for kind in CLASSES if kind.__module__ == errors.__name__}
    assert len(CLASSES) == len(set(CLASSES)) > 20


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_has_a_code_of_its_own_in_kebab_case(kind: type[GapsweepError]) -> None:
    assert "code" in vars(kind)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)
    assert [other for other in CLASSES if other.code == kind.code] == [kind]


@pytest.mark.parametrize("kind", CLASSES)
def test_the_exit_code_says_whether_the_input_is_at_fault(kind: type[GapsweepError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, InputError) else 1)
    assert issubclass(kind, InputError) or kind.status >= 500


@pytest.mark.parametrize("kind", CLASSES)
def test_the_client_raises_what_the_server_raised(kind: type[GapsweepError]) -> None:
    error = made(kind)
    response = respond(error)
    assert response.status_code == kind.status
    assert response.json()["type"] == get_type(kind)
    again = raised_by_client(response)
    assert type(again) is kind
    assert str(again) == (kind.public_message or str(error))
    assert again.details() == error.details()


@pytest.mark.parametrize("kind", CLASSES)
def test_a_response_without_a_known_code_is_the_most_general_error_of_its_status(
    kind: type[GapsweepError],
) -> None:
    found = find_class_of_status(kind.status)
    assert found.exit_code == 1 if kind.status >= 500 else issubclass(kind, found)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, UnauthorizedError),
        (404, NotFoundError),
        (405, InputError),
        (418, InputError),
        (422, InputError),
        (500, ServerError),
        (502, ServerError),
    ],
)
def test_a_status_without_a_code(status: int, kind: type[GapsweepError]) -> None:
    body = {"type": "about:blank", "title": "t", "status": status, "detail": "it failed"}
    again = raised_by_client(httpx2.Response(status, json=body))
    assert (type(again), str(again)) == (kind, "it failed")


def test_a_code_of_another_version_is_told_by_its_status() -> None:
    assert find_class("urn:problem-type:gapsweep:from-the-future") is None
    assert find_class("urn:problem-type:other:not-found") is None
    body = {"type": "urn:problem-type:gapsweep:new", "title": "t", "status": 404, "detail": "gone"}
    assert type(raised_by_client(httpx2.Response(404, json=body))) is NotFoundError


def test_an_unexpected_exception_is_not_described() -> None:
    again = raised_by_client(respond(KeyError("secret")))
    assert type(again) is ServerError
    assert "secret" not in str(again)


def test_a_server_of_another_version_is_named_where_a_spec_is_invalid() -> None:
    response = respond(made(SpecError))
    response.headers["Gapsweep-Version"] = "99.0"
    words = (
        f"the spec, for the server's gapsweep 99.0 (this is {get_installed_version()}): 2 problems"
    )
    assert str(raised_by_client(response)).splitlines()[0] == words
    response = respond(made(BundleError))
    response.headers["Gapsweep-Version"] = "99.0"
    assert str(raised_by_client(response)) == "the message of BundleError"


def test_a_database_that_does_not_answer_is_the_servers_fault() -> None:
    kind = errors.DatabaseUnavailableError
    assert not issubclass(kind, InputError)
    assert (kind.exit_code, kind.status) == (1, HTTPStatus.SERVICE_UNAVAILABLE)
