"""What sweeps cost, as the API and its metrics show it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.server.api import cost_metrics
from service.server.store.job_records import DriverReport
from service.sweep.cost import Cost
from tests.worlds import World, refused


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    for user, hours in (("ann", 2.0), ("bob", 3.0), ("root", 1.0)):
        sweep_id = made.submit(user)
        made.launch(sweep_id)
        cost = Cost(search_cpu_seconds=3600 * hours, confirmation_gpu_seconds=1800 * hours)
        made.service.progress.record(sweep_id, 1, DriverReport(cost=cost))
    yield made
    made.close()


def hours(world: World, user: str | None) -> dict[str, float]:
    """The metrics of hours, by name and labels."""
    text = world.call("GET", "/metrics", user).text
    found = re.findall(r"^(gapsweep_[cg]pu_hours_total\{.*\}) (.*)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_a_sweep_has_its_cost(world: World) -> None:
    (item,) = world.call("GET", "/v1/sweeps", params={"owner": "ann"}).json()["items"]
    cost = world.call("GET", f"/v1/sweeps/{item['sweep_id']}").json()["cost"]
    assert cost == {
        "search_cpu_seconds": 7200.0,
        "search_gpu_seconds": 0.0,
        "confirmation_cpu_seconds": 0.0,
        "confirmation_gpu_seconds": 3600.0,
    }


def test_metrics_have_hours_without_names_and_by_user_for_who_has_a_token(world: World) -> None:
    assert hours(world, None) == {
        'gapsweep_cpu_hours_total{part="search"}': 6.0,
        'gapsweep_cpu_hours_total{part="confirmation"}': 0.0,
        'gapsweep_gpu_hours_total{part="search"}': 0.0,
        'gapsweep_gpu_hours_total{part="confirmation"}': 3.0,
    }
    mine = hours(world, "vic")
    assert mine['gapsweep_cpu_hours_total{part="search",user="ann"}'] == 2.0
    assert mine['gapsweep_gpu_hours_total{part="confirmation",user="bob"}'] == 1.5
    world.tokens["wrong"] = "gs_wrong"
    refused(world.call("GET", "/metrics", "wrong"), 401)
    assert "gapsweep_sweeps" in world.call("GET", "/metrics", "vic").text


def test_only_so_many_users_have_a_label(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_metrics, "MOST_USERS", 1)
    found = hours(world, "vic")
    assert found['gapsweep_cpu_hours_total{part="search",user="bob"}'] == 3.0
    assert found['gapsweep_cpu_hours_total{part="search",user="other"}'] == 3.0
    assert len(found) == 8
