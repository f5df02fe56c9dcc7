"""Best values at the edge of their ranges: which are warned of, and with which command."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml

from service.report.page import render
from service.report.report_data import build_report
from service.spec.model import SweepSpec
from service.spec.widened import read_widenings, widen_spec
from service.study.importance import Importances
from service.study.records import Params, Role, Trial, TrialState
from service.sweep.answer import Answer, Claim
from service.sweep.range_edges import EdgeWarning, find_edges
from service.sweep.sweep_record import Sweep, SweepState
from tests import specs
from tests.reports import shown

SPACE = """
penalty: {choice: [none, l1, elastic_net]}
lambda:
  - {float: [1.0e-4, 1.0e-1], log: true, when: {penalty: l1}}
  - {float: [1.0e-6, 1.0e-2], log: true, when: {penalty: elastic_net}}
l1_ratio: {float: [0.05, 0.95], when: {penalty: elastic_net}}
dropout: {float: [0.0, 0.7]}
augmentation: {choice: [none, noise]}
augmentation_strength: {float: [0.1, 1.0], when: {augmentation: noise}}
lr: {float: [1.0e-4, 1.0e-2], log: true}
lambda_warmup_epochs: {int: [1, 21]}
model.hidden_size: {int: [8, 64], step: 8}
"""
MIDDLE: dict[str, Any] = {
    "penalty": "l1",
    "lambda": 3e-3,
    "dropout": 0.3,
    "augmentation": "none",
    "lr": 1e-3,
    "lambda_warmup_epochs": 10,
    "model.hidden_size": 32,
}


def spec(text: str = SPACE) -> SweepSpec:
    return specs.parse(space=yaml.safe_load(text), trainable="own:Net", budget={"trials": 40})


def sweep(
    params: Params,
    *,
    of: SweepSpec | None = None,
    not_acting: tuple[str, ...] = (),
    answer: Answer | None = None,
    declared: SweepSpec | None = None,
) -> Sweep:
    complete = TrialState.COMPLETE
    baseline = Trial(number=0, state=complete, role=Role.BASELINE, params={}, value=1.0)
    best = Trial(
        number=1,
        state=complete,
        role=Role.SEARCH,
        params=params,
        value=0.5,
        not_acting=not_acting,
        best={"val/loss": 0.5},
    )
    return Sweep.of(
        of or spec(),
        sweep_id="mine-1",
        state=SweepState.SUCCEEDED,
        seconds=1.0,
        trials=(baseline, best),
        answer=answer,
        declared=None if declared is None else declared.space,
    )


def found(**changed: Any) -> EdgeWarning | None:
    params = {**MIDDLE, **{n.replace("__", "."): v for n, v in changed.items()}}
    return find_edges(sweep({n: v for n, v in params.items() if v is not None}))


def wider(warning: EdgeWarning | None) -> dict[str, tuple[float, float]]:
    return {} if warning is None else {e.dimension: e.wider for e in warning.edges if e.wider}


def test_a_value_in_the_middle_is_no_warning() -> None:
    assert found() is None
    assert found(**{"lambda": 10**-1.31}) is None  # 10 % of three decades is 0.3 decades
    assert find_edges(sweep({}, of=spec())) is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"lambda": 10**-1.29}, {"lambda[penalty=l1]": (1e-4, 1.0)}),
        ({"lambda": 1e-1}, {"lambda[penalty=l1]": (1e-4, 1.0)}),
        ({"lambda": 1.5e-4}, {"lambda[penalty=l1]": (1e-5, 1e-1)}),
        ({"dropout": 0.65}, {"dropout": (0.0, 0.87)}),
        ({"lr": 9e-3}, {"lr": (1e-4, 1e-1)}),
        ({"lr": 1e-4}, {"lr": (1e-5, 1e-2)}),
        ({"lambda_warmup_epochs": 20}, {"lambda_warmup_epochs": (1, 31)}),
        ({"model__hidden_size": 64}, {"model.hidden_size": (8, 96)}),
        (
            {"penalty": "elastic_net", "lambda": 1e-2, "l1_ratio": 0.9},
            {"lambda[penalty=elastic_net]": (1e-6, 0.1), "l1_ratio": (0.05, 1)},
        ),
        (
            {"penalty": "elastic_net", "lambda": 1e-4, "l1_ratio": 0.06},
            {"l1_ratio": (0, 0.95)},
        ),
        (
            {"augmentation": "noise", "augmentation_strength": 0.12},
            {"augmentation_strength": (0, 1.0)},
        ),
    ],
)
def test_a_value_at_an_edge_is_told_with_a_wider_range(
    changed: dict[str, Any], expected: dict[str, tuple[float, float]]
) -> None:
    moved = wider(found(**changed))
    assert moved.keys() == expected.keys()
    for name, bounds in expected.items():
        assert moved[name] == pytest.approx(bounds)


@pytest.mark.parametrize(
    "changed",
    [
        {"dropout": 0.02},
        {"augmentation": "noise", "augmentation_strength": 1.0},
        {"model__hidden_size": 8},
        {"lambda_warmup_epochs": 1},
    ],
)
def test_a_bound_that_cannot_be_passed_is_no_warning(changed: dict[str, Any]) -> None:
    assert found(**changed) is None


def test_only_parameters_that_acted_are_judged() -> None:
    edge = {**MIDDLE, "lambda": 1e-1, "lambda_warmup_epochs": 21}
    assert find_edges(sweep(edge)) is not None
    assert find_edges(sweep(edge, not_acting=("penalty",))) is None
    without = {n: v for n, v in edge.items() if n != "lambda"}
    assert find_edges(sweep({**without, "penalty": "none"})) is None
    answer = Answer(claim=Claim.HELPS, metric="val/loss", mode="min", pick=1, without=("penalty",))
    assert find_edges(sweep(edge, answer=answer)) is None


def test_a_confirmed_pick_is_judged_and_not_the_best_of_the_search() -> None:
    made = sweep(MIDDLE)
    pick = Trial(
        number=2,
        state=TrialState.COMPLETE,
        role=Role.SEARCH,
        params={**MIDDLE, "lambda": 1e-1},
        value=0.7,
    )
    answer = Answer(claim=Claim.HELPS, metric="val/loss", mode="min", pick=2)
    confirmed = Sweep(**{**vars(made), "trials": (*made.trials, pick), "answer": answer})
    assert find_edges(made) is None
    warning = find_edges(confirmed)
    assert warning is not None
    assert warning.trial == 2


def test_a_wider_bound_has_few_digits() -> None:
    narrow = SPACE.replace("dropout: {float: [0.0, 0.7]}", "dropout: {float: [0.0, 0.2]}")
    warning = find_edges(sweep({**MIDDLE, "dropout": 0.19}, of=spec(narrow)))
    assert warning is not None
    assert warning.resume.endswith("--widen dropout=0:0.3")


def test_the_command_is_one_that_the_sweep_accepts() -> None:
    warning = found(**{"lambda": 1e-1, "lr": 1e-4, "dropout": 0.69})
    assert warning is not None
    program, verb, sweep_id, *rest = shlex.split(warning.resume)
    assert (program, verb, sweep_id, rest[:2]) == (
        "gapsweep",
        "resume",
        "mine-1",
        ["--trials", "20"],
    )
    assert rest[2::2] == ["--widen"] * 3
    widened = widen_spec(spec(), read_widenings(rest[3::2]), "mine-1")
    plain = {d.stored: d.plain for d in widened.space.dimensions}
    assert plain["lambda[penalty=l1]"].extremes() == (1e-4, 1)
    assert warning.extend == warning.resume.replace("gapsweep resume", "gapsweep extend")


def test_reports_show_the_warning_and_a_command_to_copy() -> None:
    data = build_report(sweep({**MIDDLE, "lambda": 0.09}), Importances({}, {}))
    assert data.edges is not None
    words = "lambda[penalty=l1] = 0.09 is within 10 % of the upper end of its range, 0.0001 to 0.1."
    text = shown(data)
    assert words in " ".join(text.split())
    assert data.edges.resume in text.splitlines()  # in one line, to be copied
    page = render(data)
    assert words in page
    assert "--widen &#39;lambda[penalty=l1]=0.0001:1&#39;" in page
    assert words in data.description
    assert data.edges.resume in data.description
    assert build_report(sweep(MIDDLE), Importances({}, {})).edges is None


AUTO = spec(SPACE.replace("float: [1.0e-4, 1.0e-1], log: true", "auto: true"))


def computed(lam: float, **params: Any) -> Sweep:
    """A sweep whose range of λ for l1 was left to `auto`, and the one of elastic net was not."""
    return sweep({**MIDDLE, **params, "lambda": lam}, declared=AUTO)


def test_at_the_low_end_of_a_computed_range_it_is_as_good_as_none() -> None:
    data = build_report(computed(1.2e-4), Importances({}, {}))
    assert data.edges is not None
    assert (data.edges.resume, data.edges.extend) == (None, None)
    (edge,) = data.edges.edges
    assert (edge.computed, edge.end, edge.wider) == (True, "low", None)
    text = " ".join(shown(data).split())
    assert "the lower end of its computed range, 0.0001 to 0.1. At that end it hardly acts" in text
    for said in (text, render(data), data.description):
        assert "no wider range is needed" in said
        assert "--widen" not in said
        assert "Better values may lie beyond" not in said


def test_at_the_high_end_of_a_computed_range_the_command_stays() -> None:
    data = build_report(computed(9e-2), Importances({}, {}))
    assert data.edges is not None
    text = " ".join(shown(data).split())
    assert "the network was expected to predict no better than a constant" in text
    assert "--widen 'lambda[penalty=l1]=0.0001:1'" in text


def test_beside_a_computed_range_others_are_widened_as_before() -> None:
    warning = find_edges(computed(1.2e-4, dropout=0.69))
    assert {e.dimension: e.computed for e in warning.edges if warning} == {
        "lambda[penalty=l1]": True,
        "dropout": False,
    }
    assert warning is not None
    assert warning.resume is not None
    assert "dropout" in warning.resume
    assert "lambda" not in warning.resume


def test_a_given_range_beside_an_automatic_one_is_none_that_was_computed() -> None:
    params = {"penalty": "elastic_net", "l1_ratio": 0.5}
    warning = find_edges(computed(1.1e-6, **params))
    assert wider(warning) == {"lambda[penalty=elastic_net]": (pytest.approx(1e-7), 1e-2)}
