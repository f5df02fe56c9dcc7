"""Whatever is sent to the API: no 5xx, and no answer that its OpenAPI document does not know."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service.client.job_states import JobState
from service.server.api.app import create_app
from service.server.api.rate_limits import RateSettings
from service.server.store.job_records import DriverReport
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.home import Home
from tests.worlds import SPEC, World

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


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Bundles that are fine, those that are not, and no bundles at all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in draw(st.sets(st.sampled_from(["a.py", "b/c.py", "../d.py", "json.py"]))):
            made.writestr(name, draw(st.binary(max_size=20)))
    whole = buffer.getvalue()
    return whole[: draw(st.sampled_from([len(whole), len(whole), len(whole) // 2, 0]))]


schemathesis.openapi.media_type("application/zip", archives())


@dataclass(frozen=True)
class Fuzzed:
    """A service with a sweep to look at, which has ended, and one to act on."""

    world: World
    looked_at: str
    acted_on: str

    def known(self, method: str) -> str:
        return self.looked_at if method == "GET" else self.acted_on


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder = tmp_path_factory.mktemp("service")
    world = World(folder)
    often = "1000000/minute"  # a call too many would hide what the others are answered
    rates = RateSettings(requests=often, submissions=often, failures=often)
    app = create_app(world.service, rates=rates)
    world.http = TestClient(app, raise_server_exceptions=False)
    made = Fuzzed(world, world.submit(), world.submit())
    world.launch(made.looked_at)
    nan = float("nan")
    trial = Trial(
        number=0,
        state=TrialState.COMPLETE,
        role=Role.SEARCH,
        params={"dropout": 0.5},
        value=0.5,
        best={"val/loss": 0.5, "gap/loss": nan},
    )
    epoch = Epoch(trial=0, epoch=1, time=1.0, metrics={"val/loss": nan})
    world.service.progress.record(made.looked_at, 1, DriverReport(trials=[trial], epochs=[epoch]))
    files = Home(folder).sweep(made.looked_at)
    files.trial(0).mkdir(parents=True)
    files.best_weights(0).write_bytes(b"weights")
    files.driver_log.write_bytes("λ = 1\n".encode() + bytes(range(256)) + b"\n")
    world.brought_to(made.looked_at, JobState.CANCELLED)
    yield made
    world.database.close()


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
