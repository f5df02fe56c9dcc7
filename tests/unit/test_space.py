"""Search spaces: what they refuse, in which words, and what they ask of a study."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import optuna
import pytest
import yaml
from pydantic import ValidationError

from search_spaces.grid import build_axis, iterate_grid
from search_spaces.points import check_point, select_representable
from search_spaces.presets import list_presets, load_preset
from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.ERROR)
NEUTRAL: dict[str, Any] = {"penalty": "none", "dropout": 0.0, "augmentation": "none"}


def space(text: str) -> SearchSpace:
    return SearchSpace.model_validate(yaml.safe_load(text))


@pytest.fixture
def regularisation() -> SearchSpace:
    """The preset, with a range in place of the automatic one."""
    known = {"float": [1e-6, 1e-1], "log": True, "when": {"penalty": ["l1", "l2", "elastic_net"]}}
    return SearchSpace.model_validate({**load_preset("regularisation"), "lambda": known})


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: {float: [1, 0]}", ("a",), "inverted"),
        ("a: {float: [1, 1]}", ("a",), "empty"),
        ("a: {float: [0, 1], log: true}", ("a",), "above 0"),
        ("a: {float: [1, 2], log: true, step: 0.1}", ("a",), "mutually exclusive"),
        ("a: {flaot: [0, 1]}", ("a",), "did you mean 'float'"),
        ("a: {choice: []}", ("a", "choice"), "at least 1"),
        ("a: {choice: [x, y, x]}", ("a",), "duplicate"),
        ("a: {int: [1, 2.5]}", ("a", "int", 1), "valid integer"),
        ("a: {float: [0, .inf]}", ("a", "float", 1), "finite"),
        ("a: {choice: [x], when: {a: x}}", ("a",), "itself"),
        ("aa: {choice: [x]}\nb: {float: [0, 1], when: {a: x}}", ("b",), "did you mean 'aa'"),
        ("a: {choice: [l1, l2]}\nb: {float: [0, 1], when: {a: l3}}", ("b",), "one of l1, l2"),
        ("a: {choice: [1], when: {b: 1}}\nb: {choice: [1], when: {a: 1}}", ("a",), "circular"),
        ("a: {choice: [1, 2]}\nb: {float: [0, 1], when: {a: true}}", ("b",), "True"),
    ],
)
def test_bad_space_is_refused_at_its_place(text: str, place: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        space(text)
    errors = [(e["loc"], e["msg"]) for e in caught.value.errors()]
    assert any(loc == place and words in message for loc, message in errors), errors


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        space("a: {float: [1, 0]}\nb: {choice: []}\nc: {int: [3, 2]}")
    assert {e["loc"][0] for e in caught.value.errors()} == {"a", "b", "c"}


def test_bounds_that_yaml_reads_as_text_are_numbers() -> None:
    parameter = space("lr: {float: [1e-6, 1e-1], log: true}").parameters["lr"]
    assert parameter.contains(0.1)
    assert not parameter.contains(0.2)


def test_children_come_after_parents_whatever_the_order() -> None:
    spaced = space(
        "c: {int: [1, 2], when: {b: 1}}\nb: {int: [1, 2], when: {a: x}}\na: {choice: [x]}"
    )
    assert spaced.order_names() == ("a", "b", "c")


def test_sampled_points_hold_active_parameters_only(regularisation: SearchSpace) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = [suggest(regularisation, study.ask()) for _ in range(60)]
    for point in points:
        assert set(point) == set(regularisation.find_active(point))
        assert ("lambda" in point) == (point["penalty"] != "none")
        assert ("l1_ratio" in point) == (point["penalty"] == "elastic_net")
    assert {p["penalty"] for p in points} == {"none", "l1", "l2", "elastic_net"}


def test_the_neutral_point_reaches_the_study(regularisation: SearchSpace) -> None:
    study = optuna.create_study()
    study.enqueue_trial(select_representable(regularisation, NEUTRAL))
    trial = study.ask()
    assert suggest(regularisation, trial, NEUTRAL) == NEUTRAL
    assert trial.params == NEUTRAL


def test_a_fixed_value_outside_the_space_stands_in_the_point_alone() -> None:
    spaced = space(
        "penalty: {choice: [l1, l2]}\nlambda: {float: [0.1, 1], when: {penalty: [l1, l2]}}"
    )
    trial = optuna.create_study().ask()
    assert suggest(spaced, trial, NEUTRAL) == NEUTRAL
    assert trial.params == {}


def test_known_points_are_checked_by_name(regularisation: SearchSpace) -> None:
    assert check_point(regularisation, {"penalty": "l1", "lambda": 0.01}) == []
    wrong = dict(check_point(regularisation, {"penalty": "none", "lambda": 0.01, "dropuot": 2}))
    assert "not met" in wrong["lambda"]
    assert "did you mean 'dropout'" in wrong["dropuot"]


def test_a_grid_stays_inside_its_ranges(regularisation: SearchSpace) -> None:
    for dimension in regularisation.dimensions:
        axis = build_axis(dimension.plain, 4)
        assert axis.length > 0
        assert all(dimension.plain.contains(axis.at(i)) for i in range(axis.length))


@pytest.mark.parametrize(
    ("text", "count", "values"),
    [
        ("a: {float: [0, 1]}", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("a: {float: [1.0e-4, 1], log: true}", 5, [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
        ("a: {float: [0, 1], step: 0.5}", 5, [0.0, 0.5, 1.0]),
        ("a: {float: [0, 1], step: 0.1}", 3, [0.0, 0.5, 1.0]),
        ("a: {int: [1, 9], step: 4}", 5, [1, 5, 9]),
        ("a: {int: [1, 9]}", 3, [1, 5, 9]),
        ("a: {choice: [x, 1, true]}", 2, ["x", 1, True]),
    ],
)
def test_a_grid_has_evenly_spaced_values(text: str, count: int, values: list[Any]) -> None:
    axis = build_axis(space(text).dimensions[0].plain, count)
    found = [axis.at(i) for i in range(axis.length)]
    numbers = all(isinstance(v, float) for v in values)
    assert found == (pytest.approx(values) if numbers else values)


def test_the_first_points_of_a_huge_grid_cost_nothing() -> None:
    """Ranges of a trillion values, and inactive parameters that would repeat a point for ever."""
    text = "p: {choice: [none, l1]}\n" + "\n".join(
        f"x{i}: {{float: [0, 1], when: {{p: l1}}}}" for i in range(100)
    )
    tracemalloc.start()
    first = list(itertools.islice(iterate_grid(space(text), 10**12), 3))
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    assert first[0] == {"p": "none"}
    assert first[1] == {"p": "l1", **{f"x{i}": 0.0 for i in range(100)}}
    assert first[2] == {**first[1], "x99": pytest.approx(1e-12)}


@pytest.mark.parametrize("name", list_presets())
def test_a_space_survives_a_round_trip(name: str) -> None:
    spaced = SearchSpace.model_validate(load_preset(name))
    dumped = spaced.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert SearchSpace.model_validate(dumped) == spaced
