"""Values of parameters, lists and null among them, from the spec to the study and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from pydantic import ValidationError

from search_spaces.grid import choose_spread, iterate_grid
from search_spaces.points import check_point, select_representable
from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace
from search_spaces.values import is_same, write
from service.client.api_models import TrialOut
from service.client.driver_reports import TrialReport
from service.report.formatting import format_configuration
from service.study.attributes import TrialAttributes
from service.study.records import Role, Trial, TrialState
from service.study.session import StudySession
from service.study.study import SweepStudy
from service.tracking.entities import make_params
from tests.specs import parse, problems
from trainables.config.code_policy import find_paths_in
from trainables.config.trial_parameters import read_point

SPACE = """
model.hidden: {choice: [[16], [32, 32], []]}
max_norm: {choice: [null, 1.0]}
dropout: {float: [0, 0.5], when: {model.hidden: [[16], [32, 32]]}}
"""
Values = dict[str, Any]


def space(text: str = SPACE) -> SearchSpace:
    return SearchSpace.model_validate(yaml.safe_load(text))


def test_a_space_with_them_survives_a_round_trip() -> None:
    dumped = space().model_dump(mode="json", by_alias=True, exclude_none=True)
    assert dumped["model.hidden"]["choice"] == [[16], [32, 32], []]
    assert dumped["max_norm"]["choice"] == [None, 1.0]
    assert SearchSpace.model_validate(dumped) == space()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {choice: [{b: 1}]}", "number, text, true, false, null or a list of them"),
        ("a: {choice: [[[[[[[1]]]]]]]}", "at most 5 deep"),
        ("a: {choice: [[1], [1]]}", "duplicate choice [1]"),
        ("a: {choice: ['[1]', [1]]}", "duplicate choice [1]"),
        ("a: {choice: [null, null]}", "duplicate choice None"),
        ("a: {choice: [[1]]}\nb: {choice: [1], when: {a: [1]}}", "requires a to be 1, but it is"),
        ("a: {choice: [[.inf]]}", "finite"),
    ],
)
def test_what_is_refused_takes_one_line(text: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        space(text)
    (error,) = caught.value.errors()
    assert words in error["msg"]
    assert "\n" not in error["msg"]


def test_equal_lists_of_other_types_differ() -> None:
    assert is_same((1, (2,)), (1.0, (2,)))
    assert not is_same((1,), (True,))
    assert not is_same((None,), (0,))


def test_a_grid_has_them() -> None:
    points = list(iterate_grid(space(), 2))
    assert len(points) == 2 * 2 * 2 + 2
    assert {"model.hidden": (), "max_norm": None} in points
    assert len(choose_spread(space(), ["model.hidden", "max_norm"], 2, 6)) == 6


def journal(path: Path) -> optuna.Study:
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name="s",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=4),
    )


def test_a_study_on_disk_suggests_records_and_reads_them(tmp_path: Path) -> None:
    spaced, study = space(), journal(tmp_path / "j")
    session = StudySession(SweepStudy(study), spaced, metric="val/loss", max_epochs=2)
    wanted: Values = {"model.hidden": (32, 32), "max_norm": None, "dropout": 0.25}
    unusual: Values = {"model.hidden": (7,), "max_norm": None}
    session.prepare(12, [(Role.ENQUEUED, wanted), (Role.ENQUEUED, unusual)])
    seen: list[Values] = []
    for number in range(12):
        assignment = session.ask()
        assert assignment is not None
        seen.append(dict(assignment.params))
        study.tell(number, float(number % 3))
    assert seen[0] == wanted
    assert seen[1] == unusual
    read = [t.params for t in SweepStudy(journal(tmp_path / "j")).trials()]
    assert read == seen
    assert {p["model.hidden"] for p in seen[2:]} <= {(16,), (32, 32), ()}
    assert {p["max_norm"] for p in seen} == {None, 1.0}


def test_attributes_keep_them() -> None:
    point: Values = {"a": (1, (2, None)), "b": None}
    attributes = TrialAttributes(fixed=point, params=point)
    stored = attributes.dump_changed()
    assert stored["fixed"] == {"a": [1, [2, None]], "b": None}
    assert TrialAttributes.load(stored) == attributes
    assert TrialAttributes.load(stored).find_changes(stored) == {}


def test_points_are_checked_and_stored_by_value() -> None:
    point: Values = {"model.hidden": (32, 32), "max_norm": None}
    assert check_point(space(), point) == []
    assert select_representable(space(), point) == {"model.hidden": "[32, 32]", "max_norm": None}
    ((_, message),) = check_point(space(), {"model.hidden": (8,)})
    assert message == "[8] is not one of [16], [32, 32], []"
    study = optuna.create_study()
    study.enqueue_trial(select_representable(space(), {"max_norm": None}))
    assert suggest(space(), study.ask(), {"max_norm": None})["max_norm"] is None


def test_code_gets_lists() -> None:
    spec = parse(space={"model.hidden": {"choice": [[8], [4, 4]]}})
    assert read_point(spec, {"model.hidden": (4, 4)}).model == {"hidden": [4, 4]}


def test_reports_and_messages_show_them() -> None:
    params: Values = {"model.hidden": (32, 32), "max_norm": None}
    shown = format_configuration({**params, "model.act": None})
    assert shown == "no penalty, model.act = null, model.hidden = [32, 32]"
    idle = format_configuration({"penalty": "none", "lambda": 0.01, "dropout": 0.2})
    assert idle == "no penalty, dropout = 0.2"
    decay = format_configuration({"penalty": "l2", "lambda": 0.01}, half_life=3.21)
    assert decay == "l2, λ = 0.01 (decay, half-life 3.21 epochs)"
    assert [p.value for p in make_params(params)] == ["[32, 32]", "null"]
    trial = Trial(number=0, state=TrialState.COMPLETE, role=Role.SEARCH, params=params)
    report = TrialReport.model_validate_json(TrialReport.model_validate(trial).model_dump_json())
    assert report.to_trial().params == params
    assert '"model.hidden":[32,32]' in TrialOut.of(trial).model_dump_json()
    assert write(((1, None), True)) == "[[1, None], True]"


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"optimizer": {"choice": [None]}}, "invalid value None"),
        ({"dropout": {"choice": [[0.1]]}}, "invalid value [0.1]"),
        ({"lr": {"choice": [None]}}, "invalid value None"),
        ({"penalty": {"choice": [None, "l1"]}}, "invalid value None"),
    ],
)
def test_a_key_that_takes_none_of_them_says_so(parameter: Values, words: str) -> None:
    (name,) = parameter
    found = problems(space=parameter)[f"space.{name}"]
    assert words in found
    assert "\n" not in found


def test_sizes_and_import_paths_in_lists_are_checked_as_those_of_the_model_are() -> None:
    huge = {"model.hidden": {"choice": [[16], [16_384] * 10]}}
    assert "more than 1,000,000,000 weights" in problems(space=huge)["space.model.hidden"]
    assert (
        "unable to parse"
        in problems(space={"model.hidden": {"choice": [["x"]]}})["space.model.hidden"]
    )
    hidden = {"model.hidden": {"choice": [[16], ["os:system"]], "neutral": ["sys:exit"]}}
    spec = parse(space=hidden, trainable="mine:Net")
    assert {*find_paths_in(spec)} == {"os:system", "sys:exit"}
