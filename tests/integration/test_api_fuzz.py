"""Whatever is sent to the API: no 5xx, and no answer that its OpenAPI document does not know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service.store.states import JobState
from tests.integration.test_api import World

pytestmark = pytest.mark.slow

CALLS = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/v1/validate"),
    ("POST", "/v1/sweeps"),
    ("GET", "/v1/sweeps"),
    *(
        ("GET", f"/v1/sweeps/{{sweep_id}}{rest}")
        for rest in ("", "/trials", "/trials/{number}", "/events")
    ),
    *(
        ("POST", f"/v1/sweeps/{{sweep_id}}:{action}")
        for action in ("cancel", "pause", "resume", "retry", "extend")
    ),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("service"))
    made.brought_to(made.submit(), JobState.CANCELLED)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def api(world: World) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", world.http.app)


def test_every_call_is_fuzzed(api: schemathesis.BaseSchema) -> None:
    found = {(o.ok().method.upper(), o.ok().path) for o in api.get_all_operations()}
    assert found == set(CALLS)


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_answer_is_one_that_is_documented(
    world: World, api: schemathesis.BaseSchema, method: str, path: str
) -> None:
    token = {"Authorization": f"Bearer {world.tokens['root']}"}

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method].as_strategy())
    def fuzz(case: schemathesis.Case) -> None:
        # a document cannot say which objects are specs and which texts are cursors
        case.call_and_validate(headers=token, excluded_checks=[positive_data_acceptance])

    fuzz()
