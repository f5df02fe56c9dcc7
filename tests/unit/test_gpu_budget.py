"""GPU hours are counted by what trials really held, and end a sweep."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from service.run.sweep_control import Control, Reserve, Stop
from service.study.records import Trial, TrialState
from service.study.study import SweepStudy
from service.sweep.gpu_budget import GpuBudget
from tests.reports import trial
from tests.specs import parse, problems
from tests.stores import Clock


def budget(clock: Clock, *known: Trial, study: SweepStudy | None = None) -> GpuBudget:
    """A hundred GPU seconds, two GPUs a trial."""
    study = study or SweepStudy(optuna.create_study())
    return GpuBudget(100 / 3600, 2.0, study, known, clock)


def numbered(number: int, seconds: float = 0.0) -> Trial:
    return replace(trial(number, 0.4, 0.1), seconds=seconds, state=TrialState.COMPLETE)


def test_every_gpu_of_every_trial_counts_from_its_start_to_its_end() -> None:
    clock = Clock(0.0)
    gpus = budget(clock)
    control = Control(None, gpus=gpus, clock=clock)
    gpus.started(numbered(0))
    clock.now = 10
    gpus.started(numbered(1))
    clock.now = 20
    assert gpus.left == pytest.approx(100 - 2 * 20 - 2 * 10)
    gpus.ended(numbered(0))
    clock.now = 39
    assert control.reason is None
    clock.now = 41
    assert control.reason is Stop.GPU_HOURS


def test_a_trial_whose_process_died_keeps_what_it_held_before() -> None:
    clock = Clock(0.0)
    gpus = budget(clock)
    gpus.started(numbered(0))
    clock.now = 10
    gpus.started(numbered(0))
    clock.now = 15
    gpus.ended(numbered(0))
    assert gpus.left == pytest.approx(100 - 2 * 15)


def test_what_earlier_sessions_held_counts_and_an_extension_grants_it_anew() -> None:
    study, clock = SweepStudy(optuna.create_study()), Clock(0.0)
    resumed = budget(clock, numbered(0, 30.0), study=study)
    assert resumed.left == pytest.approx(40)
    resumed.extend()
    assert resumed.left == pytest.approx(100)
    again = budget(clock, numbered(0, 30.0), numbered(1, 10.0), study=study)
    assert again.left == pytest.approx(80)
    again.extend()
    assert again.left == pytest.approx(100)


def test_the_search_leaves_the_confirmation_its_share() -> None:
    clock = Clock(0.0)
    gpus = budget(clock)
    control = Control(100.0, Reserve(40.0, 50.0), gpus=gpus, clock=clock)
    gpus.started(numbered(0))
    clock.now = 24
    assert not control.is_search_over()
    clock.now = 26  # 2 GPUs: 48 of 100 GPU seconds are left
    assert control.is_search_over()
    gpus.ended(numbered(0))
    timed = Control(100.0, Reserve(40.0), clock=clock)
    clock.now = 26 + 59
    assert not timed.is_search_over()
    clock.now = 26 + 61
    assert timed.is_search_over()
    assert timed.reason is None


def test_gpu_hours_need_a_gpu() -> None:
    assert parse(budget={"gpu_hours": 2}, resources={"gpus": 1}).budget.gpu_hours == 2
    found = problems(budget={"gpu_hours": 2})
    assert "has no effect without GPUs" in found["budget.gpu_hours"]
