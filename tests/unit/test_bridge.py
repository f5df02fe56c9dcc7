"""What Tune is told and what it tells, without starting Ray."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from service.cluster.tune_adapters import Bridge, StudyScheduler, StudySearcher, SweepStopper
from service.study.records import Role
from service.study.session import StudySession
from tests.studies import SPACE, new_study


class Sides:
    """Both adapters over one study."""

    def __init__(self, budget: int = 3, upper: float = 10.0) -> None:
        self.study = new_study(optuna.pruners.ThresholdPruner(upper=upper))
        self.session = StudySession(self.study, SPACE, metric="val/loss", max_epochs=3)
        self.session.prepare(budget, [])
        self.stop = False
        self.bridge = Bridge(self.session, lambda: self.stop, lambda: 100)
        self.searcher, self.scheduler = StudySearcher(self.bridge), StudyScheduler(self.bridge)

    def epoch(self, tune_id: str, epoch: int, value: float) -> str:
        result = {"epoch": epoch, "metrics/val/loss": value}
        return self.scheduler.on_trial_result(None, SimpleNamespace(trial_id=tune_id), result)


def test_a_config_carries_number_and_params_until_none_is_left() -> None:
    sides = Sides(budget=2)
    first, second = sides.searcher.suggest("a"), sides.searcher.suggest("b")
    assert [first["number"], second["number"]] == [0, 1]
    assert set(first["params"]) <= {"penalty", "lambda", "dropout"}
    assert sides.searcher.suggest("c") == Searcher.FINISHED


def test_a_pruned_trial_is_pruned_in_the_study_with_its_values() -> None:
    sides = Sides(upper=1.0)
    sides.searcher.suggest("a")
    assert sides.epoch("a", 1, 0.5) == TrialScheduler.CONTINUE
    assert sides.epoch("a", 2, 5.0) == TrialScheduler.STOP
    sides.searcher.on_trial_complete("a", {"epoch": 2, "metrics/val/loss": 5.0})
    assert sides.study.trials[0].state is TrialState.PRUNED
    assert sides.study.trials[0].intermediate_values == {1: 0.5, 2: 5.0}


def test_an_early_stopped_trial_is_complete_with_its_best_value() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    sides.epoch("a", 1, 0.5)
    last = {"epoch": 2, "metrics/val/loss": 0.7, "outcome/best/val/loss": 0.5}
    sides.searcher.on_trial_complete("a", {**last, "outcome/stopped_epoch": 2.0})
    trial = sides.study.trials[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {1: 0.5, 2: 0.7}


@pytest.mark.parametrize(
    ("result", "crashed", "words"),
    [
        ({"failure": "ValueError: no"}, False, "ValueError: no"),
        (None, True, "process died"),
        ({"epoch": 1, "metrics/val/loss": 0.5}, True, "process died"),
    ],
)
def test_a_trial_that_breaks_fails(
    result: dict[str, Any] | None, crashed: bool, words: str
) -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    sides.searcher.on_trial_complete("a", result, crashed)
    assert sides.study.trials[0].state is TrialState.FAIL
    assert words in sides.study.trials[0].user_attrs["reason"]


def test_a_trial_cut_short_by_a_stop_stays_running() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    sides.epoch("a", 1, 0.5)
    sides.stop = True
    assert SweepStopper(sides.bridge).stop_all()
    assert sides.searcher.suggest("b") == Searcher.FINISHED
    sides.searcher.on_trial_complete("a", {"epoch": 1, "metrics/val/loss": 0.5})
    assert sides.study.trials[0].state is TrialState.RUNNING


def test_an_error_inside_is_kept_and_stops_the_sweep_instead_of_tune() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    assert sides.scheduler.on_trial_result(None, SimpleNamespace(trial_id="a"), {}) == (
        TrialScheduler.STOP
    )
    assert isinstance(sides.bridge.error, KeyError)
    assert SweepStopper(sides.bridge).stop_all()
    assert sides.searcher.suggest("b") == Searcher.FINISHED


def test_tune_may_copy_and_pickle_it_and_there_is_still_one_study() -> None:
    bridge = Sides().bridge
    assert copy.deepcopy(bridge) is bridge
    assert pickle.loads(pickle.dumps(bridge)) == "the study is the truth"


def test_roles_reach_the_records() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    assert sides.session.trials()[0].role is Role.SEARCH
