"""Wider ranges for a sweep that has run: which are taken, and what its study makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, TPESampler

from search_spaces.space import SearchSpace
from search_spaces.values import Value
from search_spaces.widening import WideningError, list_values, read_wider, widen
from service.base.errors import InputError, ProblemsError
from service.run.create_sweep import write_sweep_files
from service.spec.widened import read_widenings, widen_spec, write_range
from service.study.journal_file import JournalFile
from service.study.journals import join_journals, open_journal
from service.study.records import Role
from service.study.sampled_space import read_space
from service.study.session import StudySession
from service.study.study import SweepStudy, open_study
from service.study.widen import widen_study
from service.sweep.home import Home, SweepFolder
from service.tracking.optuna_dashboard import list_journals
from tests import specs

TEXT = """
penalty: {choice: [none, l1, l2]}
lambda:
  - {float: [1.0e-3, 1.0e-1], log: true, when: {penalty: l1}}
  - {float: [1.0e-6, 1.0e-4], log: true, when: {penalty: l2}}
dropout: {float: [0.1, 0.5], step: 0.1}
model.width: {int: [8, 64], log: true}
augmentation: {choice: [none, noise]}
model.hidden: {choice: [[64], [32, 32]]}
"""
SPACE = SearchSpace.model_validate(yaml.safe_load(TEXT))


def widened(**wider: Any) -> SearchSpace:
    return widen(SPACE, read_wider({n.replace("__", "."): v for n, v in wider.items()}))


def refused(name: str, values: Any) -> str:
    with pytest.raises(WideningError) as caught:
        widen(SPACE, read_wider({name: values}))
    ((where, text),) = caught.value.problems
    assert where == name
    return text


def test_ranges_become_wider_and_choices_more() -> None:
    found = widen(
        SPACE,
        read_wider(
            {
                "lambda[penalty=l2]": (1e-7, 10),
                "dropout": (0, 0.7),
                "model.width": (8, 256),
                "augmentation": "affine",
                "model.hidden": [[64], [8]],
            }
        ),
    )
    plain = {dimension.stored: dimension.plain for dimension in found.dimensions}
    assert plain["lambda[penalty=l2]"].extremes() == (1e-7, 10)
    assert plain["lambda[penalty=l2]"].when == {"penalty": ("l2",)}
    assert plain["lambda[penalty=l1]"] == SPACE.list_dimensions("lambda")[0].plain
    assert plain["dropout"].extremes() == (0, 0.7)
    assert plain["model.width"].extremes() == (8, 256)
    assert plain["augmentation"].choices() == ("none", "noise", "affine")
    assert plain["model.hidden"].choices() == ((64,), (32, 32), (8,))
    assert list_values(found, ["dropout", "augmentation"]) == {
        "dropout": (0, 0.7),
        "augmentation": ("none", "noise", "affine"),
    }


def test_the_same_range_again_changes_nothing() -> None:
    assert widened(dropout=(0.1, 0.5), augmentation=["none"]) == SPACE


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("dropout", (0.2, 0.9), "0.2 to 0.9 does not contain the range that it has, 0.1 to 0.5"),
        ("dropout", (0.1, 0.4), "a range can only become wider"),
        ("dropout", (0.05, 0.5), "0.05 is not a whole number of steps of 0.1 below 0.1"),
        ("dropout", (0.9, 0.1), "inverted"),
        ("dropout", (0.1,), "takes two numbers"),
        ("dropout", ("a", "b"), "takes two numbers, the lowest and the highest value; got a, b"),
        ("dropout", (float("nan"), 1), "takes two numbers"),
        ("model.width", (1.5, 64), "integer"),
        ("model.width", (0, 64), "above 0"),
        ("lambda[penalty=l1]", (-1, 1), "above 0"),
        ("lambda", (1e-9, 1), "name one of lambda[penalty=l1], lambda[penalty=l2]"),
        ("dropuot", (0, 1), "did you mean 'dropout'"),
    ],
)
def test_what_is_not_wider_is_refused_by_name(name: str, values: Any, words: str) -> None:
    assert words in refused(name, values)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(WideningError) as caught:
        widened(dropout=(0.2, 0.3), nothing=(1, 2))
    assert [name for name, _ in caught.value.problems] == ["dropout", "nothing"]


def test_an_automatic_range_has_nothing_to_widen() -> None:
    space = SearchSpace.model_validate({"penalty": "l1", "lambda": "auto"})
    with pytest.raises(WideningError, match="computed when the sweep starts"):
        widen(space, {"lambda": (1, 2)})


def test_a_wider_space_is_checked_as_that_of_a_new_spec() -> None:
    spec = specs.parse(
        space={
            "penalty": {"choice": ["none", "l1"]},
            "lambda": {"float": [0.1, 1], "when": {"penalty": "l1"}},
            "dropout": {"float": [0, 0.5]},
        }
    )
    with pytest.raises(ProblemsError, match="mine-1") as caught:
        widen_spec(spec, {"dropout": (0, 1.5)}, "mine-1")
    assert "space.dropout: invalid value 1.5" in str(caught.value)
    with pytest.raises(ProblemsError, match="l2 would have no effect"):
        widen_spec(spec, {"penalty": ("l2",)}, "mine-1")
    with pytest.raises(ProblemsError, match=r"dropout: 0.2 to 0.3 does not contain"):
        widen_spec(spec, {"dropout": (0.2, 0.3)}, "mine-1")


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("lambda[penalty=l2]=1e-7:10", "lambda[penalty=l2]", (1e-7, 10)),
        ("dropout=0:0.9", "dropout", (0, 0.9)),
        ("model.width = 8 : 256", "model.width", (8, 256)),
        ("x=-1e-3:.5", "x", (-1e-3, 0.5)),
        ("augmentation=affine", "augmentation", ("affine",)),
        ("augmentation=[affine, noise]", "augmentation", ("affine", "noise")),
        ("augmentation=mine:Jitter", "augmentation", ("mine:Jitter",)),
        ("model.hidden=[[64, 64]]", "model.hidden", ((64, 64),)),
        ('x[p="a b", q=[1]]=[null, true]', 'x[p="a b", q=[1]]', (None, True)),
    ],
)  # fmt: skip
def test_a_wider_range_is_written_in_one_word(
    text: str, name: str, values: tuple[Value, ...]
) -> None:
    assert read_widenings([text]) == {name: values}


@pytest.mark.parametrize("text", ["dropout", "=1:2", "dropout=", "dropout=[1", "dropout 0:1", ""])
def test_what_has_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--widen"):
        read_widenings([text])


def test_a_written_range_reads_back_as_the_same_numbers() -> None:
    for low, high in ((1e-7, 10), (0.1 + 0.2, 1 / 3), (8, 256)):
        assert read_widenings([write_range("x", low, high)]) == {"x": (low, high)}


# The study.


def start(path: Path, sampler: BaseSampler | None = None, trials: int = 14) -> optuna.Study:
    spec = specs.parse(space=yaml.safe_load(TEXT.replace("model.hidden", "model.sizes")))
    study = open_study(spec, path)
    study.optuna.sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    session = StudySession(study, study.space, metric="val/loss", max_epochs=2)
    session.prepare(trials, [(Role.BASELINE, {"penalty": "none", "dropout": 0.1})])
    for value in range(trials - 1):
        asked = session.ask()
        assert asked is not None
        session.complete(asked.number, {"val/loss": float(value)}, 1)
    return study.optuna


WIDER = {
    "lambda[penalty=l2]": (1e-8, 1.0),
    "dropout": (0.0, 0.9),
    "model.width": (2, 512),
    "augmentation": ("shift", "affine"),
}


def make_wider(study: optuna.Study, path: Path) -> SearchSpace:
    now = read_space(study)
    assert now is not None
    space = widen(now, WIDER)
    widen_study(study.study_name, path, space)
    return space


def reopen(path: Path, sampler: BaseSampler) -> optuna.Study:
    return optuna.load_study(study_name="mine", storage=open_journal(path), sampler=sampler)


@pytest.mark.parametrize(
    "build",
    [
        lambda: TPESampler(seed=0, multivariate=True, group=True, n_startup_trials=5),
        lambda: TPESampler(seed=0, multivariate=True, n_startup_trials=5),
        lambda: GPSampler(seed=0, n_startup_trials=5),
    ],
    ids=["tpe by groups", "tpe", "gp"],
)
def test_a_sampler_models_a_widened_parameter_jointly_in_its_new_range(
    tmp_path: Path, build: Callable[[], BaseSampler]
) -> None:
    path = tmp_path / "study.journal"
    before = start(path, build())
    known = {t.number: t.params for t in before.trials if t.state.is_finished()}
    make_wider(before, path)
    sampler = build()
    study = reopen(path, sampler)
    asked = study.ask()
    joint = sampler.infer_relative_search_space(study, study.trials[asked.number])
    expected = {
        "dropout": FloatDistribution(0.0, 0.9, step=0.1),
        "model.width": IntDistribution(2, 512, log=True),
        "augmentation": CategoricalDistribution(["none", "noise", "shift", "affine"]),
    }
    if getattr(sampler, "_group", False):
        expected["lambda[penalty=l2]"] = FloatDistribution(1e-8, 1.0, log=True)
    assert {name: joint.get(name) for name in expected} == expected
    assert {t.number: t.params for t in study.trials if t.number in known} == known


def test_the_wider_range_is_sampled(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    space = make_wider(start(path, TPESampler(seed=0, multivariate=True, group=True)), path)
    reopened = reopen(path, TPESampler(seed=1, multivariate=True, group=True))
    study = SweepStudy(reopened, JournalFile(path))
    assert study.space == space
    session = StudySession(study, study.space, metric="val/loss", max_epochs=2)
    session.extend(40)
    seen: dict[str, set[Value]] = {}
    while (asked := session.ask()) is not None:
        for name, value in asked.params.items():
            seen.setdefault(name, set()).add(value)
        session.complete(asked.number, {"val/loss": 1.0}, 1)
    assert {"shift", "affine"} <= seen["augmentation"]
    assert max(seen["dropout"]) > 0.5 + 1e-9  # type: ignore[operator,type-var]  # numbers
    assert max(seen["model.width"]) > 64  # type: ignore[operator,type-var]  # numbers


def test_cma_es_begins_anew_in_the_wider_range(tmp_path: Path) -> None:
    """Its stored state counts ranges from 0 to 1, so that it would mean other values there."""
    path = tmp_path / "study.journal"
    before = start(path, CmaEsSampler(seed=0), trials=20)
    assert any(k.startswith("cma:") for t in before.trials for k in t.system_attrs)
    make_wider(before, path)
    study = reopen(path, CmaEsSampler(seed=0))
    assert not any(k.startswith("cma:") for t in study.trials for k in t.system_attrs)
    trial = study.ask()
    trial.suggest_int("model.width", 2, 512, log=True)


@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_kill_leaves_the_old_study_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "study.journal"
    study = start(path)
    before = path.read_bytes()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr("service.study.widen.store_space", die)
        else:
            patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            make_wider(study, path)
    assert path.read_bytes() == before
    # What a kill -9 leaves beside it is in nobody's way.
    path.with_name(".study.journal.wider").write_bytes(before[: len(before) // 2])
    space = make_wider(study, path)
    assert read_space(reopen(path, optuna.samplers.RandomSampler())) == space
    assert {p.name for p in tmp_path.iterdir()} == {"study.journal"}


def test_a_trial_that_was_killed_while_drawn_is_drawn_from_the_wider_space(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = start(path)
    half = study.ask()
    half.suggest_categorical("penalty", ["none", "l1", "l2"])
    make_wider(study, path)
    trial = reopen(path, optuna.samplers.RandomSampler()).trials[half.number]
    assert trial.params == {}
    found = SweepStudy(reopen(path, optuna.samplers.RandomSampler(seed=2)), JournalFile(path))
    session = StudySession(found, found.space, metric="val/loss", max_epochs=2)
    session.extend(30)
    asked = session.ask()
    assert asked is not None
    assert asked.number == half.number
    assert {d.name for d in found.space.find_dimensions(asked.params)} == set(asked.params)


def test_a_dashboard_that_is_open_sees_the_study_with_its_wider_ranges(tmp_path: Path) -> None:
    home = Home(tmp_path)
    folder: SweepFolder = write_sweep_files(
        home.create().new_sweep("mine"), specs.parse(space={"dropout": {"float": [0, 0.5]}}), []
    )
    study = start(folder.journal)
    storage = join_journals(lambda: list_journals(home))
    name = folder.sweep_id
    known = study.trials
    assert len(optuna.load_study(study_name=name, storage=storage).trials) == len(known)
    make_wider(study, folder.journal)
    seen = optuna.load_study(study_name=name, storage=storage)
    assert [t.params for t in seen.trials] == [t.params for t in known]
    widths = {t.distributions["model.width"] for t in seen.trials if t.distributions}
    assert widths == {IntDistribution(2, 512, log=True)}
    reopen(folder.journal, optuna.samplers.RandomSampler()).ask()
    assert len(optuna.load_study(study_name=name, storage=storage).trials) == len(known) + 1
    assert [s.study_name for s in optuna.get_all_study_summaries(storage)] == [name]
