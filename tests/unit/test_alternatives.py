"""A parameter with another range under another condition, and a range that is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from pydantic import ValidationError

from search_spaces.grid import choose_spread, iterate_grid
from search_spaces.kinds import Alternatives, Auto, Float, UnknownRangeError
from search_spaces.points import check_point, select_representable
from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace
from service.run.first_points import plan_search
from service.spec.file import dump_spec, parse_spec
from service.spec.model import SweepSpec
from service.study.attributes import TrialAttributes
from service.study.importance import importances
from service.study.records import Role
from service.study.sampled_space import store_space
from service.study.session import StudySession
from service.study.study import SweepStudy, open_study
from tests import specs

optuna.logging.set_verbosity(optuna.logging.ERROR)
PENALTIES = """
penalty: {choice: [none, l1, l2]}
lambda:
  - {float: [1.0e-3, 1.0e-1], log: true, when: {penalty: l1}}
  - {float: [1.0e-6, 1.0e-4], log: true, when: {penalty: l2}}
"""
NEUTRAL: dict[str, Any] = {"penalty": "none"}
L1, L2 = "lambda[penalty=l1]", "lambda[penalty=l2]"


def space(text: str = PENALTIES) -> SearchSpace:
    return SearchSpace.model_validate(yaml.safe_load(text))


def spec(text: str) -> SweepSpec:
    return specs.parse(space=yaml.safe_load(text))


def problems(text: str) -> dict[str, str]:
    return specs.problems(space=yaml.safe_load(text))


def test_each_alternative_has_a_name_of_its_own_in_the_study() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = [suggest(space(), study.ask()) for _ in range(30)]
    ranges = {"none": (0, 0), "l1": (1e-3, 1e-1), "l2": (1e-6, 1e-4)}
    for point, trial in zip(points, study.trials, strict=True):
        low, high = ranges[point["penalty"]]
        assert set(point) == ({"penalty", "lambda"} if high else {"penalty"})
        assert low <= point.get("lambda", 0) <= high
        stored = {f"lambda[penalty={point['penalty']}]"} if high else set()
        assert set(trial.params) == {"penalty", *stored}
    assert {p["penalty"] for p in points} == set(ranges)


def test_tpe_models_both_alternatives_jointly_with_their_parent() -> None:
    sampler = optuna.samplers.TPESampler(seed=0, multivariate=True, group=True)
    study = optuna.create_study(sampler=sampler)
    for number in range(12):
        trial = study.ask()
        suggest(space(), trial)
        study.tell(trial, float(number))
    trial = study.ask()
    joint = sampler.infer_relative_search_space(study, study.trials[-1])
    assert set(joint) == {"penalty", L1, L2}
    suggest(space(), trial)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "random", "grid"])
def test_every_sampler_draws_from_alternatives(tmp_path: Path, sampler: str) -> None:
    made = specs.parse(
        space=yaml.safe_load(PENALTIES + "dropout: {float: [0, 0.5]}"),
        search={"sampler": {"name": sampler}, "grid_points": 2},
        budget={"trials": 16},
    )
    study = open_study(made, tmp_path / "study.journal")
    session = StudySession(study, made.space, metric="val/loss", max_epochs=2)
    session.prepare(*plan_search(made))
    while (asked := session.ask()) is not None:
        found = [] if asked.number == 0 else check_point(made.space, asked.params)
        assert found == []
        session.complete(asked.number, {"val/loss": 1.0 / (1 + asked.number)}, 1)
    stored = {name for trial in study.optuna.trials for name in trial.params}
    assert stored == {"penalty", L1, L2, "dropout"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("p: {choice: [a, b]}\nx: [{int: [0, 1], when: {p: a}}, {int: [0, 9], when: {p: b}}]",
         ["x[p=a]", "x[p=b]"]),
        ("p: {choice: [a, b, c]}\nx: [{int: [0, 1], when: {p: [a, c]}}, "
         "{choice: [5], when: {p: b}}]", ["x[p=a|c]", "x[p=b]"]),
        ("p: {choice: [true, 'true', 1, '1', null, 'null', 'a b']}\n"
         "x: [{int: [0, 1], when: {p: [true, '1', null]}}, "
         "{int: [0, 1], when: {p: ['true', 1, 'null', 'a b']}}]",
         ['x[p=true|"1"|null]', 'x[p="true"|1|"null"|"a b"]']),
        ("p: {choice: [a, b]}\nq: {choice: [[64], 2]}\nx: [{int: [0, 1], when: {p: a, q: [[64]]}},"
         " {int: [0, 9], when: {p: b}}]", ["x[p=a, q=[64]]", "x[p=b]"]),
    ],
)  # fmt: skip
def test_a_name_in_the_study_says_its_condition(text: str, names: list[str]) -> None:
    assert [d.stored for d in space(text).list_dimensions("x")] == names


def test_a_name_with_a_very_long_condition_is_its_position() -> None:
    values = [f"value-{i}" for i in range(100)]
    raw = {
        "p": {"choice": [*values, "b"]},
        "x": [{"int": [0, 1], "when": {"p": values}}, {"int": [0, 9], "when": {"p": "b"}}],
    }
    found = SearchSpace.model_validate(raw).list_dimensions("x")
    assert [d.stored for d in found] == ["x[0]", "x[p=b]"]


def test_a_parameter_without_alternatives_keeps_its_name() -> None:
    text = "penalty: {choice: [none, l1]}\nlambda: {float: [0.1, 1], when: {penalty: l1}}"
    assert [d.stored for d in space(text).dimensions] == ["penalty", "lambda"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("p: {choice: [a, b]}\nx: [{int: [0, 1], when: {p: a}}, {int: [0, 9], when: {p: [a, b]}}]",
         ("x", 1), "x.0 and x.1 can be active at the same point"),
        ("p: {choice: [a, b]}\nx: [{int: [0, 1], when: {p: a}}, {int: [0, 9]}]",
         ("x", 1), "name one parameter in the `when` of both"),
        ("p: {choice: [a, b]}\nq: {choice: [a, b]}\n"
         "x: [{int: [0, 1], when: {p: a}}, {int: [0, 9], when: {q: b}}]",
         ("x", 1), "x.0 and x.1"),
        ("p: {choice: [a, b]}\nx: [{int: [0, 1], when: {p: a}}, {int: [0, 9], when: {o: b}}]",
         ("x", 1), "not in the space"),
        ("p: {choice: [a, b]}\nx: [{int: [0, 1], when: {p: c}}, {int: [0, 9], when: {p: b}}]",
         ("x", 0), "one of a, b"),
        ("p: {choice: [a, b]}\nx: [{int: [1, 0], when: {p: a}}, {itn: [0, 9], when: {p: b}}]",
         ("x", 0), "inverted"),
        ("p: {choice: [a, b]}\nx: [{int: [0, 1], when: {p: a}}, {itn: [0, 9], when: {p: b}}]",
         ("x", 1), "did you mean 'int'"),
        ("x: [1, 2]", ("x",), "{choice: [1, 2]}"),
        ("x: []", ("x",), "a list has alternatives"),
        ("x: [{int: [0, 1], when: {x: 0}}]", ("x", 0), "itself"),
        ("p: {choice: [1], when: {x: 1}}\nx: [{int: [0, 1], when: {p: 1}}]", ("p",), "circular"),
        ("p: {choice: [a, b]}\nx: [{int: [0, 1], when: {p: a}, neutral: 0}, "
         "{int: [0, 9], when: {p: b}, neutral: 1}]", ("x",), "`neutral` must be the same"),
        ("p: {choice: [a, b]}\n'x[p=a]': {int: [0, 1]}\n"
         "x: [{int: [0, 1], when: {p: a}}, {int: [0, 9], when: {p: b}}]", ("x", 0), "taken"),
        ("dropout: {auto: true}", ("dropout",), "`auto` is only for `lambda`"),
        ("lambda: {auto: false}", ("lambda", "auto"), "True"),
    ],
)  # fmt: skip
def test_bad_alternatives_are_refused_at_their_place(
    text: str, place: tuple[str | int, ...], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        space(text)
    errors = [(e["loc"], e["msg"]) for e in caught.value.errors()]
    assert any(loc == place and words in message for loc, message in errors), errors


def test_conditions_of_parents_can_exclude_alternatives() -> None:
    text = """
penalty: {choice: [l1, elastic_net]}
l1_ratio: {choice: [0.1, 0.5], when: {penalty: elastic_net}}
lambda: [{float: [0, 1], when: {penalty: l1}}, {float: [0, 2], when: {l1_ratio: 0.5}}]
"""
    assert space(text).find_active({"penalty": "elastic_net", "l1_ratio": 0.1}) == (
        "penalty",
        "l1_ratio",
    )
    found = space(text).find_dimensions({"penalty": "elastic_net", "l1_ratio": 0.5})
    assert found[-1].stored == "lambda[l1_ratio=0.5]"


def test_a_condition_on_a_parameter_with_alternatives_holds_in_each() -> None:
    text = """
p: {choice: [a, b]}
x: [{choice: [1, 2], when: {p: a}}, {choice: [2, 3], when: {p: b}}]
y: {int: [0, 1], when: {x: 2}}
"""
    spaced = space(text)
    assert "y" in spaced.find_active({"p": "a", "x": 2})
    assert "y" in spaced.find_active({"p": "b", "x": 2})
    assert "y" not in spaced.find_active({"p": "b", "x": 3})
    assert spaced.order_names() == ("p", "x", "y")


def test_kinds_may_differ() -> None:
    text = """
p: {choice: [a, b, c]}
x:
  - {choice: [[64], [32, 32]], when: {p: a}}
  - {int: [1, 4], when: {p: b}}
  - {float: [0, 1], when: {p: c}}
"""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    points = [suggest(space(text), study.ask()) for _ in range(30)]
    assert {type(p["x"]) for p in points} == {tuple, int, float}
    assert {type(p["x"]) for p in points if p["p"] == "a"} == {tuple}


def test_values_of_a_point_are_those_of_its_own_alternative() -> None:
    spaced = space()
    assert check_point(spaced, {"penalty": "l1", "lambda": 0.01}) == []
    ((name, text),) = check_point(spaced, {"penalty": "l2", "lambda": 0.01})
    assert (name, text) == (
        "lambda",
        "0.01 is not a number from 1e-06 to 0.0001 where penalty is l2",
    )
    ((_, text),) = check_point(spaced, {"penalty": "none", "lambda": 0.01})
    assert "not met" in text
    ((_, text),) = check_point(spaced, {"penalty": "l1", "lambda": 7})
    assert text == "7 is not a number from 0.001 to 0.1 or a number from 1e-06 to 0.0001"


def test_a_named_point_is_stored_under_its_alternative() -> None:
    spaced, study = space(), optuna.create_study()
    point = {"penalty": "l2", "lambda": 1e-5}
    assert select_representable(spaced, point) == {"penalty": "l2", L2: 1e-5}
    outside = {"penalty": "l2", "lambda": 0.01}
    assert select_representable(spaced, outside) == {"penalty": "l2"}
    for fixed in (point, outside, NEUTRAL):
        study.enqueue_trial(select_representable(spaced, fixed))
        trial = study.ask()
        assert suggest(spaced, trial, fixed) == fixed
        assert trial.params == select_representable(spaced, fixed)


def test_a_grid_has_each_alternative_once() -> None:
    points = list(iterate_grid(space(), 3))
    assert [p["penalty"] for p in points] == ["none", *["l1"] * 3, *["l2"] * 3]
    found = [p["lambda"] for p in points[1:]]
    assert found == pytest.approx([1e-3, 1e-2, 1e-1, 1e-6, 1e-5, 1e-4])


def test_the_grid_of_a_control_takes_the_alternative_of_its_other_values() -> None:
    text = """
penalty: {choice: [none, l1]}
lambda: {float: [0.1, 1], when: {penalty: l1}}
lr: [{choice: [0.1, 0.2], when: {penalty: l1}}, {choice: [0.3, 0.4, 0.5], when: {penalty: none}}]
"""
    points = choose_spread(space(text), ["lr"], 5, 6, {"penalty": "none"})
    assert sorted(p["lr"] for p in points) == [0.3, 0.4, 0.5]


def test_a_spec_with_alternatives_survives_a_round_trip() -> None:
    before = spec(PENALTIES)
    assert parse_spec(yaml.safe_load(dump_spec(before)), "s", Path.cwd()) == before
    assert SearchSpace.model_validate(before.space.dump()) == before.space


def test_each_alternative_is_checked_against_the_training() -> None:
    negative = PENALTIES.replace("[1.0e-6, 1.0e-4], log: true", "[-1, 1]")
    assert "greater than or equal to 0" in problems(negative)["space.lambda.1"]
    idle = PENALTIES.replace("penalty: l2}", "penalty: [l2, none]}")
    assert "has no effect when penalty is none" in problems(idle)["space.lambda.1"]
    missing = PENALTIES.replace("[none, l1, l2]", "[none, l1, l2, group_lasso]")
    assert problems(missing)["space.penalty"] == (
        "group_lasso would have no effect: `lambda` has no range there; give it an alternative "
        "with `when: {penalty: [group_lasso]}`"
    )


def test_ema_and_swa_may_exclude_each_other_in_all_alternatives() -> None:
    text = """
augmentation: {choice: [none, shift, noise]}
augmentation_strength: {float: [0.1, 1], when: {augmentation: [shift, noise]}}
ema:
  - {float: [0.1, 0.2], when: {augmentation: none}}
  - {float: [0.1, 0.3], when: {augmentation: shift}}
swa: {float: [0.1, 0.2], when: {augmentation: noise}}
"""
    spec(text)
    both = text.replace("augmentation: shift}", "augmentation: noise}")
    assert "mutually exclusive" in problems(both)["space.swa"]


def test_the_example_point_has_the_alternative_of_the_baseline() -> None:
    text = "penalty: {choice: [l1, none]}\nlambda: {float: [0.1, 1], when: {penalty: l1}}\n"
    text += (
        "model.width: [{int: [8, 9], when: {penalty: l1}}, {int: [4, 5], when: {penalty: none}}]"
    )
    assert spec(text).example_point()["model.width"] == 4


def test_importances_are_of_the_parameter_and_not_of_the_condition() -> None:
    """λ acts within each penalty alone; between the penalties there is no difference."""
    spaced = space(PENALTIES.replace("[none, l1, l2]", "[l1, l2]"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    store_space(study, spaced)
    centres = {"l1": 1e-2, "l2": 1e-5}
    for _ in range(60):
        trial = study.ask()
        point = suggest(spaced, trial)
        value = point["lambda"] / centres[point["penalty"]]
        TrialAttributes(best={"gap/loss": value}).store(trial)
        study.tell(trial, value)
    found = importances(study)
    assert set(found.objective) == {"lambda"}


def test_a_trial_that_was_killed_while_drawn_has_the_names_of_the_spec() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    session = StudySession(SweepStudy(study), space(), metric="val/loss", max_epochs=2)
    session.prepare(3, [(Role.ENQUEUED, {"penalty": "l1", "lambda": 0.01})])
    suggest(space(), study.ask())
    (trial,) = SweepStudy(study).trials()
    assert trial.params == {"penalty": "l1", "lambda": 0.01}


def test_an_automatic_range_exists_where_there_is_a_penalty() -> None:
    found = spec("penalty: {choice: [none, l1, l2]}\nlambda: auto").space
    assert found.parameters["lambda"] == Auto(auto=True, when={"penalty": ("l1", "l2")})
    long = "penalty: {choice: [none, l1]}\nlambda: {auto: true, when: {penalty: l1}}"
    assert spec(long).space.parameters["lambda"] == Auto(auto=True, when={"penalty": ("l1",)})
    assert spec("penalty: l1\nlambda: auto").space.parameters["lambda"] == Auto(auto=True)
    mixed = PENALTIES.replace("float: [1.0e-6, 1.0e-4], log: true", "auto: true")
    assert isinstance(spec(mixed).space.list_dimensions("lambda")[1].plain, Auto)


def test_auto_is_refused_where_nothing_computes_it() -> None:
    assert "`auto` is only for `lambda`" in problems("dropout: auto")["space.dropout"]
    assert problems("lambda: auto")["space.lambda"] == (
        "has no effect without `penalty` in the space"
    )


def test_an_automatic_range_is_never_sampled() -> None:
    spaced = space("penalty: l1\nlambda: auto")
    with pytest.raises(UnknownRangeError):
        suggest(spaced, optuna.create_study().ask())
    with pytest.raises(UnknownRangeError):
        list(iterate_grid(spaced, 3))


def test_an_automatic_range_is_replaced_by_alternatives() -> None:
    spaced = space("penalty: {choice: [none, l1, l2]}\nlambda: auto\ndropout: {float: [0, 0.5]}")
    computed = Alternatives(
        (
            Float(float=(1e-3, 1e-1), log=True, when={"penalty": "l1"}),
            Float(float=(1e-6, 1e-4), log=True, when={"penalty": "l2"}),
        )
    )
    found = spaced.replace("lambda", computed)
    assert [d.stored for d in found.dimensions] == ["penalty", L1, L2, "dropout"]
    assert spaced.parameters["lambda"] == Auto(auto=True, when={"penalty": ("l1", "l2")})
    with pytest.raises(ValidationError):
        spaced.replace("lambda", Float(float=(0, 1), when={"penalty": "l3"}))


def test_an_unknown_key_of_an_alternative_is_told_those_of_its_kind() -> None:
    found = problems(PENALTIES.replace("log: true, when: {penalty: l2}", "lgo: true"))
    valid = "did you mean 'log'?; valid: float, log, neutral, step, when"
    assert found["space.lambda.1.lgo"] == f"unknown key; {valid}"
    assert problems("dropout: {choice: [0], lgo: true}")["space.dropout.lgo"] == (
        "unknown key; valid: choice, neutral, when"
    )
