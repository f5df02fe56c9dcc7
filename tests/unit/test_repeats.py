"""No point is trained twice in a search; a search whose points are all trained ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces.space import SearchSpace
from service.report.report_data import build_report
from service.spec.model import SweepSpec
from service.study.drawn_points import EXHAUSTED, can_repeat, is_finite
from service.study.importance import Importances
from service.study.records import Role, Trial
from service.study.session import StudySession
from service.study.study import open_study
from tests.reports import shown, sweep, trial
from tests.specs import parse

optuna.logging.set_verbosity(optuna.logging.ERROR)

PENALTY: dict[str, Any] = {
    "penalty": {"choice": ["none", "l1"]},
    "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l1"}},
}
FINITE: dict[str, Any] = {
    "batch_size": {"int": [16, 64], "step": 16},
    "dropout": {"float": [0.0, 0.3], "step": 0.1},
    "model.flag": {"choice": [1, 2], "when": {"batch_size": 16}},
}
POINTS = 3 * 4 + 4 * 2


def open_session(
    folder: Path, space: dict[str, Any], sampler: str, budget: int = 12, **more: Any
) -> StudySession:
    spec: SweepSpec = parse(space=space, search={"sampler": sampler}, training={"max_epochs": 3})
    study = open_study(spec, folder / "study.journal")
    points = more.pop("points", [])
    made = StudySession(study, spec.space, metric="val/loss", max_epochs=3, **more)
    made.prepare(budget, points)
    return made


def drive(s: StudySession, at_most: int = 100) -> None:
    for _ in range(at_most):
        asked = s.ask()
        if asked is None:
            return
        penalised = asked.params.get("penalty") == "l1"
        s.complete(asked.number, {"val/loss": 1.0 + penalised + 0.01 * asked.number}, 3)


def identify(trial: Trial) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in trial.params.items()))


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "cmaes", "qmc"])
def test_a_point_without_any_active_part_is_trained_once(sampler: str, tmp_path: Path) -> None:
    s = open_session(tmp_path, PENALTY, sampler)
    drive(s)
    points = [identify(t) for t in s.trials()]
    assert len(points) == 12
    assert len(set(points)) == 12
    assert sum(t.params["penalty"] == "none" for t in s.trials()) <= 1
    assert s.study.count_repeats() > 0
    assert s.study.attributes.search_end is None


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_every_point_of_a_finite_space_is_trained_and_then_the_search_ends(
    sampler: str, tmp_path: Path
) -> None:
    s = open_session(tmp_path, FINITE, sampler, budget=50)
    drive(s)
    assert len({identify(t) for t in s.trials()}) == len(s.trials()) == POINTS
    assert s.study.attributes.search_end == EXHAUSTED
    assert s.study.attributes.unused == 50 - POINTS
    assert s.exhausted
    assert not s.unfinished


def test_a_resumed_search_draws_what_an_undisturbed_one_draws(tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    drive(open_session(tmp_path / "whole", PENALTY, "tpe"))
    whole = (tmp_path / "whole" / "study.journal").read_text().splitlines(keepends=True)
    expected = [identify(t) for t in open_session(tmp_path / "whole", PENALTY, "tpe").trials()]
    journal = tmp_path / "parts" / "study.journal"
    for cut in range(20, len(whole), 23):  # a kill, also while the parameters are drawn
        journal.write_text("".join(whole[:cut]))
        s = open_session(tmp_path / "parts", PENALTY, "tpe")
        drive(s)
        assert [identify(t) for t in s.trials()] == expected, cut
    assert sum(t.params["penalty"] == "none" for t in s.trials()) == 1


def test_what_the_spec_names_is_trained_as_often_as_it_says(tmp_path: Path) -> None:
    named = [(Role.BASELINE, {"penalty": "none"}), (Role.ENQUEUED, {"penalty": "none"})]
    s = open_session(tmp_path, PENALTY, "random", budget=6, points=named)
    drive(s)
    assert [t.params["penalty"] for t in s.trials()][:2] == ["none", "none"]
    assert all(t.params["penalty"] == "l1" for t in s.trials()[2:])


def test_controls_are_drawn_apart_as_long_as_there_are_points(tmp_path: Path) -> None:
    space = {**PENALTY, "batch_size": {"choice": [16, 32]}}
    named = [(Role.CONTROL, {"penalty": "none"})] * 3
    s = open_session(tmp_path, space, "random", budget=6, points=named)
    drive(s)
    sizes = [t.params["batch_size"] for t in s.trials()[:3]]
    assert set(sizes[:2]) == {16, 32}
    assert all(t.params["penalty"] == "l1" for t in s.trials()[3:])


def test_an_exhausted_search_that_is_extended_says_so_again(tmp_path: Path) -> None:
    s = open_session(tmp_path, {"batch_size": {"choice": [16, 32]}}, "random", budget=5)
    drive(s)
    s.extend(9)
    assert s.ask() is None
    assert s.study.attributes.search_end == EXHAUSTED
    assert len(s.trials()) == 2


def test_a_baseline_is_no_point_of_the_search_and_a_control_may_be_another_one(
    tmp_path: Path,
) -> None:
    off = {"penalty": "none", "dropout": 0.0}  # a network may have a dropout of its own
    named = [(Role.BASELINE, off), (Role.CONTROL, off)]
    s = open_session(tmp_path, {"penalty": {"choice": ["none"]}}, "random", points=named)
    drive(s)
    assert [t.role for t in s.trials()] == [Role.BASELINE, Role.CONTROL, Role.SEARCH]
    assert s.study.attributes.search_end == EXHAUSTED


def test_which_spaces_can_repeat_and_which_end() -> None:
    def of(**space: Any) -> tuple[bool, bool]:
        parsed = SearchSpace.model_validate(space)
        return can_repeat(parsed), is_finite(parsed)

    assert of(**PENALTY) == (True, False)
    assert of(**FINITE) == (True, True)
    assert of(**PENALTY, dropout={"float": [0.0, 0.5]}) == (False, False)
    assert of(**PENALTY, dropout={"float": [0.0, 0.5], "step": 0.1}) == (True, False)


def test_the_report_counts_them() -> None:
    found = replace(sweep(trial(0, 0.5, 0.1)), search_end=EXHAUSTED, repeats=2)
    text = " ".join(shown(build_report(found, Importances({}, {}))).split())
    assert "It ended after 1 trials, before its budget: every point of the space was tr" in text
    assert "2 trials would have repeated one that was trained already" in text
