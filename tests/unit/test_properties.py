"""Properties of every space and every spec, not of examples."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from search_spaces.grid import iterate_grid
from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace
from service.base.errors import Problem, SpecError
from service.spec.file import dump_spec, load_spec, parse_spec
from service.spec.model import SweepSpec
from tests.specs import BASE

optuna.logging.set_verbosity(optuna.logging.ERROR)
NAMES = ("a", "b", "c", "d", "e")


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["float", "log", "int", "choice"]))
    if kind == "choice":
        values = st.one_of(st.integers(-5, 5), st.sampled_from(["x", "y", "z"]))
        return {"choice": draw(st.lists(values, min_size=1, max_size=4, unique=True))}
    if kind == "int":
        low = draw(st.integers(-50, 50))
        step = draw(st.integers(1, 3))
        return {"int": [low, low + step * draw(st.integers(1, 20))], "step": step}
    low_number = draw(st.floats(1e-6, 10))
    high = low_number * draw(st.floats(1.5, 1000))
    return {"float": [low_number, high], "log": kind == "log"}


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters in a random order; a later one may hang on a choice before it."""
    made: dict[str, Any] = {}
    for name in draw(st.permutations(NAMES))[: draw(st.integers(1, 5))]:
        made[name] = draw(parameters())
        choices = [n for n, p in made.items() if "choice" in p and n != name]
        if choices and draw(st.booleans()):
            parent = draw(st.sampled_from(choices))
            values = st.sampled_from(made[parent]["choice"])
            made[name]["when"] = {parent: draw(st.lists(values, min_size=1, unique=True))}
    return dict(draw(st.permutations(sorted(made.items()))))


@settings(max_examples=60, deadline=None)
@given(spaces(), st.integers(0, 1000))
def test_a_draw_has_exactly_the_active_parameters_in_their_ranges(
    raw: dict[str, Any], seed: int
) -> None:
    space = SearchSpace.model_validate(raw)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = suggest(space, study.ask(), {})
    assert set(drawn) == set(space.find_active(drawn))
    for name, value in drawn.items():
        assert space.parameters[name].contains(value)
        for parent, allowed in space.parameters[name].when.items():
            assert drawn[parent] in allowed
    for name in space.parameters.keys() - drawn.keys():
        when = space.parameters[name].when
        assert any(drawn.get(parent) not in allowed for parent, allowed in when.items())


@settings(max_examples=40, deadline=None)
@given(spaces())
def test_a_grid_names_each_point_once_and_each_is_valid(raw: dict[str, Any]) -> None:
    space = SearchSpace.model_validate(raw)
    points = list(iterate_grid(space, 2))
    assert points
    assert len({tuple(sorted(map(str, p.items()))) for p in points}) == len(points)
    for point in points:
        assert set(point) == set(space.find_active(point))
        assert all(space.parameters[n].contains(v) for n, v in point.items())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
def test_a_cycle_is_refused_whatever_its_length(names: list[str]) -> None:
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    raw = {n: {"choice": ["x", "y"], "when": {following[n]: "x"}} for n in names}
    with pytest.raises(ValidationError):
        SearchSpace.model_validate(raw)


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "budget": st.fixed_dictionaries({"trials": st.integers(1, 10**5)}),
            "training": st.fixed_dictionaries(
                {}, optional={"lr": st.floats(1e-6, 1), "seed": st.integers(0, 10**9)}
            ),
            "early_stopping": st.one_of(st.none(), st.just({"patience": 3})),
            "search": st.fixed_dictionaries(
                {"sampler": st.sampled_from(["tpe", "random", "gp", "cmaes", "qmc", "grid"])}
            ),
            "resources": st.fixed_dictionaries({"cpus": st.floats(0.1, 64)}),
        },
    )
)
def test_what_is_written_is_read_back_equal(changes: dict[str, Any]) -> None:
    spec = parse_spec({**BASE, **changes}, "spec.yaml", Path())
    assert written_and_read_back(spec) == spec


def written_and_read_back(spec: SweepSpec) -> SweepSpec:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(dump_spec(spec), encoding="utf-8")
        return load_spec(path)


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ("name", "trainable", "data", "training", "space", "search", "budget", "constraints")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KEYS), JUNK)
def test_junk_is_refused_at_its_place_or_is_a_spec_that_is_written_and_read_back(
    key: str, junk: Any
) -> None:
    found = read({**BASE, key: junk})
    if isinstance(found, SweepSpec):
        assert written_and_read_back(found) == found
    else:
        assert {p.path.partition(".")[0] for p in found} == {key}
        assert all(p.message for p in found)


def read(raw: dict[str, Any]) -> SweepSpec | tuple[Problem, ...]:
    """The spec, or what is wrong with it."""
    try:
        return parse_spec(raw, "spec.yaml", Path())
    except SpecError as error:
        return tuple(error.problems)
