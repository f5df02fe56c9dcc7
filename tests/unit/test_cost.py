"""What a sweep costs: trials of known durations, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from service.spec.resources import Resources
from service.study.records import Role, Trial, TrialState
from service.sweep.cost import Cost, describe_cost, measure_cost


def trial(number: int, seconds: float, role: Role = Role.SEARCH, **more: Any) -> Trial:
    return Trial(
        number=number, state=TrialState.COMPLETE, role=role, params={}, seconds=seconds, **more
    )


TRIALS = (
    trial(0, 1800.0, Role.BASELINE),
    trial(1, 1800.0),
    trial(2, 7200.0, Role.AUDIT, confirms=1),
    trial(3, 3600.0, Role.REPLICATE, confirms=0, replicate=1),
    trial(4, 3600.0, Role.REMOVAL, confirms=1, replicate=1, without=("dropout",)),
)


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus"),
    [
        ({}, 1, 0),
        ({"cpus": 4}, 4, 0),
        ({"workers": 2}, 2, 0),
        ({"workers": 2, "cpus": 6, "gpus": 2}, 6, 2),
        ({"gpus": 0.25}, 1, 0.25),
        ({"executor": "local"}, 1, 0),
    ],
)
def test_a_trial_costs_its_seconds_on_the_cpus_and_gpus_of_all_its_workers(
    resources: dict[str, Any], cpus: float, gpus: float
) -> None:
    cost = measure_cost(TRIALS, Resources(**resources))
    assert cost.cpu_hours == pytest.approx((1.0 * cpus, 4.0 * cpus))
    assert cost.gpu_hours == pytest.approx((1.0 * gpus, 4.0 * gpus))


def test_folds_are_parts_of_their_trial() -> None:
    folded = trial(0, 100.0, folds=({"val/loss": 1.0}, {"val/loss": 2.0}))
    assert measure_cost([folded], Resources()).search_cpu_seconds == 100.0


def test_costs_are_added_and_described() -> None:
    cost = measure_cost(TRIALS, Resources(gpus=1))
    assert describe_cost(cost + cost) == (
        "CPU-hours: 2.000 of the search, 8.000 of the confirmation; "
        "GPU-hours: 2.000 of the search, 8.000 of the confirmation"
    )
    assert "GPU" not in describe_cost(measure_cost(TRIALS, Resources()))
    assert describe_cost(Cost()).startswith("CPU-hours: 0.000 of the search")
