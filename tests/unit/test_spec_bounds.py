"""No number and no size of a spec can fill a server, and checking one takes linear time."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_spaces.models import MOST_PROBLEMS
from service.base.errors import SpecError
from service.run.first_points import plan_search
from service.server.api.dependencies import MAX_SPEC_BYTES
from service.server.spec_body import parse_spec_body
from service.spec.file import build_json_schema, dump_spec, parse_spec
from service.spec.stored import parse_stored_spec
from service.spec.yaml_reader import read_yaml
from tests.specs import BASE, parse, problems

HEAD = b"name: mine\ntrainable: trainables.models:MLP\ndata: digits\nspace: {dropout: 0.5}\nmodel: "


def numbers(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every number in a JSON Schema, by where it stands."""
    if schema.get("type") in ("integer", "number"):
        yield path, schema
    for key, value in schema.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{path}/{key}")
        elif isinstance(value, list):
            for place, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from numbers(item, f"{path}/{key}/{place}")


def test_every_number_in_the_schema_has_a_lower_and_an_upper_bound() -> None:
    found = dict(numbers(build_json_schema()))
    lower, upper = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
    free = {p for p, s in found.items() if not (lower & s.keys() and upper & s.keys())}
    assert {p for p in free if "/when/" not in p and not p.endswith(VALUE)} == set()
    assert len(found) > 60


VALUE = tuple(f"anyOf/{place}" for place in (1, 2))
"""A value of any type, a choice or a condition, whose numbers are bounded by its own validator."""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("budget/minutes", math.inf),
        ("budget/minutes", "1e400"),
        ("budget/minutes", "nan"),
        ("budget/trials", 10**9),
        ("budget/gpu_hours", math.nan),
        ("resources/cpus", 1e-7),
        ("resources/cpus", "inf"),
        ("resources/concurrent", 10**9),
        ("resources/workers", 10**6),
        ("resources/retries", 10**9),
        ("resources/gpus", 1e9),
        ("search/grid_points", 3_000_000),
        ("search/seed", 10**18),
        ("search/sampler/n_startup_trials", 10**9),
        ("search/pruner/min_early_stopping_rate", 10**9),
        ("confirm/top_k", 10**9),
        ("confirm/sensitivity", 10**9),
        ("training/max_epochs", 10**9),
        ("training/batch_size", 10**12),
        ("training/lr", "1e400"),
        ("training/seed", -1),
        ("training/penalised/scale/a", math.inf),
        ("training/optimizer/betas/0", "nan"),
        ("early_stopping/patience", 10**12),
        ("data/val", "nan"),
        ("data/seed", 10**30),
        ("model/hidden/0", 10**9),
        ("model/anything/at/all", math.inf),
        ("space/model.a/int/0", 10**16),
        ("space/lr/choice/0", "1e400"),
        ("space/dropout/float/1", "1e400"),
        ("space/model.a/int/1", 10**18),
        ("search/enqueue/0/dropout", math.nan),
    ],
)
def test_a_number_out_of_bounds_is_refused_where_it_stands(path: str, value: object) -> None:
    raw = copy.deepcopy(WHOLE)
    *above, last = path.split("/")
    node: Any = raw
    for key in above:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    node[int(last) if isinstance(node, list) else last] = value
    with pytest.raises(SpecError) as caught:
        parse_spec(raw, "spec.yaml", Path())
    (problem,) = caught.value.problems
    assert path.replace("/", ".").startswith(problem.path)
    assert len(problem.path) > 3
    assert any(
        w in problem.message
        for w in ("less than", "greater than", "finite", "64 bits", "must be at least")
    )


WHOLE: dict[str, Any] = {
    **BASE,
    "model": {"hidden": [16]},
    "space": {
        "dropout": {"float": [0.0, 0.5]},
        "lr": {"choice": [1e-3]},
        "model.a": {"int": [1, 2]},
    },
    "training": {"optimizer": {"name": "adamw", "betas": [0.9, 0.9]}},
    "search": {
        "sampler": {"name": "tpe"},
        "pruner": {"name": "successive_halving"},
        "enqueue": [{"dropout": 0.1}],
    },
}


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        (
            {"resources": {"workers": 1000, "concurrent": 1000}},
            "resources.concurrent",
            "at most 100",
        ),
        ({"resources": {"workers": 4, "cpus": 0.02}}, "resources.cpus", "at least 0.04"),
        ({"model": {"hidden": [16_384] * 10}}, "model.hidden", "more than 1,000,000,000 weights"),
        ({"space": {"x": {"float": [0, 1], "step": 1e-15}}}, "space.x", "`step` is too small"),
        ({"space": {f"model.x{i}": 1 for i in range(201)}}, "space", "at most 200"),
        ({"space": {"model.x": {"choice": list(range(9000))}}}, "space.model.x.choice", "9,000"),
        ({"search": {"enqueue": [{}] * 1001}}, "search.enqueue", "at most 1,000"),
        ({"model": {"a": [0] * 30_000}}, "model.a", "more than 20,000 values"),
        ({"model": {"a": "x" * 5000}}, "model.a", "at most 4,096 characters"),
        ({"model": {"x" * 201: 1}}, "model", "at most 200"),
    ],
)
def test_sizes_that_multiply_or_fill_a_spec_are_bounded(
    changes: dict[str, Any], path: str, words: str
) -> None:
    found = problems(**changes)
    assert words in found[path]


def test_the_largest_numbers_are_planned_at_once() -> None:
    space = {f"model.x{i}": {"float": [0.0, 1.0]} for i in range(200)}
    search = {"sampler": "grid", "grid_points": 1000}
    start = time.process_time()
    trials, points = plan_search(parse(space=space, search=search, budget={"trials": 2_000}))
    assert trials == 2_000 < len(points) < 3_000
    assert time.process_time() - start < 10


def test_a_spec_that_was_accepted_before_its_bounds_is_read_as_it_is(tmp_path: Path) -> None:
    raw = {
        **BASE,
        "budget": {"trials": 10**9, "minutes": math.inf},
        "resources": {"cpus": 1e-7, "concurrent": 10**9},
        "search": {"grid_points": 3_000_000},
        "space": {f"model.x{i}": {"choice": [1, math.inf]} for i in range(300)},
        "model": {"hidden": [10**9]},
    }
    spec = parse_stored_spec(yaml.safe_dump(raw), "the spec", tmp_path)
    assert (spec.budget.trials, spec.budget.minutes) == (10**9, math.inf)
    assert (spec.resources.cpus, spec.resources.concurrent) == (1e-7, 10**9)
    assert spec.space.parameters["model.x299"].choices() == (1, math.inf)
    assert parse_stored_spec(dump_spec(spec), "the spec", tmp_path) == spec


def test_a_stored_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    spec = parse(space={"model.x": {"choice": ["1e-3", "1:30", "off", 0.001]}})
    assert parse_stored_spec(dump_spec(spec), "the spec", tmp_path) == spec


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.5E+3", 1500.0),
        (".5", 0.5),
        ("-7", -7),
        ("1_000", 1000),
        ("0x10", 16),
        ("1:30", "1:30"),
        ("010", "010"),
        ("2026-11-25", "2026-11-25"),
        ("off", False),
        ("~", None),
        ("1" * 50, "1" * 50),
    ],
)
def test_a_plain_value_is_read_as_in_yaml_1_2(text: str, value: object) -> None:
    assert read_yaml(text) == value
    assert type(read_yaml(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "model: {width: 1}\nname: a\nmodel: {depth: 2}",
        "training: {lr: 0.1, seed: 1, lr: 0.2}",
        "space: {a: [1, {b: 2, b: 3}]}",
    ],
)
def test_a_key_that_is_there_twice_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"the key '\w+' is there twice; keep one of them"):
        read_yaml(text)


def test_a_key_may_be_there_in_several_mappings() -> None:
    text = "a: &one {k: 1, l: [k, k]}\nb: {<<: *one, k: 2}\nc: [{k: 3}, {k: 4}]"
    assert read_yaml(text)["b"] == {"k": 2, "l": ["k", "k"]}


def build(part: str, count: int, head: bytes = HEAD) -> bytes:
    """A body of about so many bytes, filled with one part."""
    return head + (part * (count // len(part))).encode()


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "base 60": lambda n: build(":1", n, HEAD + b"1"),
    "tagged base 60": lambda n: build(":1", n, HEAD + b"!!int 1"),
    "nested lists": lambda n: build("[", n),
    "nested maps": lambda n: build("{a: ", n),
    "nested dashes": lambda n: build("- ", n, b""),
    "nested JSON": lambda n: build("[", n, b""),
    "long list": lambda n: build("1,", n, HEAD + b"{a: [") + b"1]}",
    "aliases": lambda n: build("*a,", n, HEAD + b"[&a 1,"),
    "digits": lambda n: build("1", n),
    "JSON digits": lambda n: build("1", n, b'{"name": '),
    "choices": lambda n: json.dumps(
        {**BASE, "space": {"model.x": {"choice": list(range(n // 7))}}}
    ).encode(),
    "many choices": lambda n: json.dumps(
        {**BASE, "space": {f"model.x{i}": {"choice": list(range(900))} for i in range(n // 5000)}}
    ).encode(),
    "choices of the training": lambda n: json.dumps(
        {**BASE, "space": {k: {"choice": list(range(n // 50))} for k in ("batch_size", "seed")}}
    ).encode(),
    "wrong choices": lambda n: json.dumps(
        {**BASE, "space": {f"x{i}": {"choice": [[]] * 900} for i in range(n // 4000)}}
    ).encode(),
    "wrong conditions": lambda n: json.dumps(
        {
            **BASE,
            "space": {f"model.x{i}": {"float": [0, 1], "when": {"y": 1}} for i in range(n // 60)},
        }
    ).encode(),
    "many wrong conditions": lambda n: json.dumps(
        {
            **BASE,
            "space": {
                f"x{i}": {"choice": [1], "when": {f"y{j}": 1 for j in range(50)}}
                for i in range(n // 600)
            },
        }
    ).encode(),
    "unknown keys": lambda n: json.dumps(
        {**BASE, **{f"key{i}": 1 for i in range(n // 16)}}
    ).encode(),
    "long names": lambda n: json.dumps({**BASE, "name": "x" * n}).encode(),
    "names in a row": lambda n: json.dumps(
        {**BASE, "space": {f"{i:060}": {"float": [0, 1]} for i in range(n // 90)}}
    ).encode(),
    "regularisers": lambda n: json.dumps(
        {
            **BASE,
            "regularisers": {f"l{i}": "m:C" for i in range(50)},
            "space": {f"l{i}.x": {"choice": list(range(n // 400))} for i in range(50)},
        }
    ).encode(),
    "metrics": lambda n: json.dumps({**BASE, "training": {"metrics": ["m:f"] * (n // 7)}}).encode(),
    "points": lambda n: json.dumps(
        {**BASE, "search": {"enqueue": [{f"n{j}": 1 for j in range(20)}] * (n // 250)}}
    ).encode(),
}


def validate(body: bytes) -> str:
    """What a server would answer, in whole."""
    try:
        return dump_spec(parse_spec(parse_spec_body(body), "the spec", Path()))
    except SpecError as error:
        return str(error)


def measure(body: bytes) -> tuple[float, str]:
    """Seconds of CPU, and the answer."""
    start = time.process_time()
    answer = validate(body)
    return time.process_time() - start, answer


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_body_is_answered_in_linear_time_and_in_a_few_words(kind: str) -> None:
    whole, half = HOSTILE[kind](MAX_SPEC_BYTES - 2_000), HOSTILE[kind](MAX_SPEC_BYTES // 2)
    assert len(half) < len(whole) <= MAX_SPEC_BYTES
    took, answer = measure(whole)
    assert len(answer) < 40_000 or "problem" not in answer[:100]
    linear = 2.6 * min(measure(half)[0] for _ in range(2)) + 0.1
    allowed = min(2.0, linear)  # a quarter of 2 s where nothing else runs
    assert took < allowed or measure(whole)[0] < allowed


def test_only_the_first_problems_are_described_and_the_others_counted() -> None:
    space = {f"model.x{i}": {"float": [0, 1], "when": {"y": 1}} for i in range(200)}
    with pytest.raises(SpecError) as caught:
        parse(space=space, trainable="wrong")
    found = caught.value.problems
    assert len(found) == MOST_PROBLEMS + 1
    assert found[0].path == "trainable"
    assert found[-1].message == f"and {201 - MOST_PROBLEMS} more problems"
    assert sum(len(str(p)) for p in found) < 40_000
