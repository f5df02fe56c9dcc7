"""Whatever is sent to the API: no 5xx, and no answer that its OpenAPI document does not know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service.server.api.app import create_app
from tests.fuzzed import UNLIMITED, Fuzzed, prepare
from tests.worlds import SPEC

CALLS = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v1/me"),
    ("GET", "/v1/users/{name}"),
    ("GET", "/v1/tokens"),
    ("POST", "/v1/tokens"),
    ("DELETE", "/v1/tokens/{name}"),
    ("GET", "/v1/audit"),
    ("POST", "/v1/validate"),
    ("POST", "/v1/bundles"),
    ("POST", "/v1/sweeps"),
    ("GET", "/v1/sweeps"),
    ("GET", "/v1/cluster"),
    ("DELETE", "/v1/sweeps/{sweep_id}"),
    *(
        ("GET", f"/v1/sweeps/{{sweep_id}}{rest}")
        for rest in ("", "/trials", "/trials/{number}", "/events")
    ),
    *(("GET", f"/v1/sweeps/{{sweep_id}}/{what}") for what in ("best", "report", "logs", "model")),
    *(
        ("POST", f"/v1/sweeps/{{sweep_id}}:{action}")
        for action in ("cancel", "pause", "resume", "retry", "extend")
    ),
]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    made = prepare(tmp_path_factory.mktemp("service"))
    app = create_app(made.world.service, rates=UNLIMITED)
    made.world.http = TestClient(app, raise_server_exceptions=False)
    yield made
    made.world.close()


@pytest.fixture(scope="module")
def api(fuzzed: Fuzzed) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", fuzzed.world.http.app)


def test_every_call_is_fuzzed(api: schemathesis.BaseSchema) -> None:
    every = [o.ok() for o in api.get_all_operations() if isinstance(o, Ok)]
    assert {(o.method.upper(), o.path) for o in every} == set(CALLS)


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_answer_is_one_that_is_documented(
    fuzzed: Fuzzed, api: schemathesis.BaseSchema, method: str, path: str
) -> None:
    token = {"Authorization": f"Bearer {fuzzed.world.tokens['root']}"}
    # a document cannot say which objects are specs and which texts are cursors
    excluded: list[schemathesis.CheckFunction] = [positive_data_acceptance]
    if path == "/v1/cluster":  # this server has none, which it answers with a documented 503
        excluded.append(not_a_server_error)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method].as_strategy(), known=st.booleans())
    def fuzz(case: schemathesis.Case[Any], known: bool) -> None:
        if known and "sweep_id" in case.path_parameters:  # else there is hardly ever one
            case.path_parameters["sweep_id"] = fuzzed.known(method)
        case.call_and_validate(headers=token, excluded_checks=excluded)

    fuzz()


def test_a_cluster_that_is_not_there_is_the_only_503(fuzzed: Fuzzed) -> None:
    answer = fuzzed.world.call("GET", "/v1/cluster")
    assert (answer.status_code, answer.json()["status"]) == (503, 503)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200))
def test_whatever_bytes_come_they_are_no_spec_and_no_bundle(fuzzed: Fuzzed, body: bytes) -> None:
    for path in ("/v1/validate", "/v1/sweeps", "/v1/bundles"):
        assert fuzzed.world.call("POST", path, content=body).status_code == 422, path


def _spec(**parts: Any) -> bytes:
    return json.dumps({**SPEC, **parts}).encode()


def _yaml(model: bytes) -> bytes:
    return _spec().replace(b"{", b"{model: {x: " + model + b"}, ", 1)


TABLE = {"name": "csv", "path": "a\0b", "target": "y"}


@pytest.mark.parametrize("path", ["/v1/validate", "/v1/sweeps"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(_spec(model={"x": "\ud800"}), id="half a character"),
        pytest.param(_yaml(b"!!binary /////w=="), id="bytes"),
        pytest.param(_yaml(b"0x" + b"f" * 5000), id="a huge number"),
        pytest.param(_spec(data=TABLE), id="a path with a NUL"),
        pytest.param(_yaml(b"&x [1, *x]"), id="a list that holds itself"),
    ],
)
def test_a_spec_that_cannot_be_written_is_taken_or_refused(
    fuzzed: Fuzzed, path: str, body: bytes
) -> None:
    answer = fuzzed.world.call("POST", path, content=body)
    assert answer.status_code in (200, 201, 422), answer.text
    if answer.status_code == 201:
        assert fuzzed.world.call("GET", answer.headers["Location"]).status_code == 200


def test_a_small_spec_does_not_grow_large(fuzzed: Fuzzed) -> None:
    lists = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lists += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 6)]
    body = _spec().replace(b"{", b"{model: {" + b", ".join(lists) + b"}, ", 1)
    assert len(body) < 1000
    answer = fuzzed.world.call("POST", "/v1/validate", content=body)
    assert answer.status_code == 422
    assert len(answer.content) < 100_000
