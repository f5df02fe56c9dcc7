"""A study of thousands of trials costs a sweep no more a trial than a short one, and asks alike."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.spec.model import SweepSpec
from service.spec.tpe import GroupingTpeSampler
from service.study.journal_file import JournalFile
from service.study.sample_view import TrialSelection, rank_as_tpe, thin_out
from service.study.seeded_sampler import ResumableSampler, seed_trial
from service.study.session import StudySession
from service.study.storage import StudyStorage
from service.study.study import SweepStudy, open_study
from tests.specs import parse
from tests.versions import optuna_moved

EPOCHS = 3
Direction = Literal["minimize", "maximize"]
SPACE: dict[str, Any] = {
    "penalty": {"choice": ["none", "l1"]},
    "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l1"}},
    "dropout": {"float": [0.0, 0.7]},
}
MODELLED = 100


def spec_of(sampler: Any = None) -> SweepSpec:
    asked = sampler or {"name": "tpe", "modelled_trials": MODELLED}
    return parse(
        space=SPACE,
        search={"sampler": asked, "pruner": "none"},
        training={"max_epochs": EPOCHS},
        budget={"trials": 100_000},
        confirm="off",
    )


def past_trial(chance: random.Random) -> FrozenTrial:
    """A finished trial as a session leaves it: complete, pruned, infeasible or failed."""
    dropout, l1 = chance.uniform(0, 0.7), chance.random() < 0.5
    params: dict[str, Any] = {"penalty": "l1" if l1 else "none", "dropout": dropout}
    params |= {"lambda": 10 ** chance.uniform(-4, -1)} if l1 else {}
    known = {
        "penalty": CategoricalDistribution(["none", "l1"]),
        "lambda": FloatDistribution(1e-4, 1e-1, log=True),
        "dropout": FloatDistribution(0.0, 0.7),
    }
    state = chance.choice([TrialState.COMPLETE] * 3 + [TrialState.PRUNED] * 3 + [TrialState.FAIL])
    epochs = chance.randint(0, EPOCHS) if state is not TrialState.COMPLETE else EPOCHS
    value = (dropout - 0.3) ** 2
    excess = {"constraints:gap": chance.choice([-1.0, 0.5])}
    return create_trial(
        state=state,
        value=value if state is TrialState.COMPLETE else None,
        params=params,
        distributions={name: known[name] for name in params},
        intermediate_values={e: value + 1 / e for e in range(1, epochs + 1)},
        user_attrs={"role": "search", "params": params},
        system_attrs=excess if state is TrialState.COMPLETE else {},
    )


def long_study(path: Path, count: int, spec: SweepSpec | None = None) -> SweepStudy:
    """A study with so many finished trials."""
    study, chance = open_study(spec or spec_of(), path), random.Random(0)
    study.optuna.add_trials([past_trial(chance) for _ in range(count)])
    return study


def open_session(study: SweepStudy) -> StudySession:
    session = StudySession(study, study.space, metric="val/loss", max_epochs=EPOCHS)
    session.prepare(100_000, [])
    return session


def run_trial(session: StudySession) -> Any:
    asked = session.ask()
    assert asked is not None
    for epoch in range(1, EPOCHS):
        session.report(asked.number, epoch, {"val/loss": 1.0})
    last = {"val/loss": 1.0}
    session.complete(asked.number, last, EPOCHS, last=last)
    return asked


def count_calls(run: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C: the machine's load does not change it."""
    found = 0

    def see(frame: object, event: str, argument: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    "sampler", [None, "random", {"name": "tpe", "modelled_trials": 100, "multivariate": False}]
)
def test_a_trial_takes_no_more_in_a_long_study(tmp_path: Path, sampler: Any) -> None:
    calls = []
    for count in (200, 2000):
        spec = spec_of(sampler)
        session = open_session(long_study(tmp_path / f"{count}", count, spec))
        run_trial(session)  # looks at all trials once
        calls.append(min(count_calls(partial(run_trial, session)) for _ in range(3)))
    assert calls[1] < 1.3 * calls[0]


def test_a_trial_waits_for_the_disk_at_most_once_in_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[int] = []
    monkeypatch.setattr("os.fsync", forced.append)
    now = [0.0]
    monkeypatch.setattr(
        "service.study.study.JournalFile", lambda path: JournalFile(path, clock=lambda: now[0])
    )
    session = open_session(open_study(spec_of(), tmp_path / "journal"))
    forced.clear()
    for _ in range(5):
        run_trial(session)
    assert forced == []
    now[0] += 1.0
    run_trial(session)
    assert len(forced) == 1
    session.study.close()
    assert len(forced) == 2


def test_a_resumed_study_is_suggested_what_an_undisturbed_one_is(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    session = open_session(long_study(path, 250))
    whole = [run_trial(session).params for _ in range(8)]
    again = tmp_path / "again"
    long_study(again, 250)
    resumed = [run_trial(open_session(open_study(spec_of(), again))).params for _ in range(8)]
    assert resumed == whole
    assert len({str(params) for params in whole}) == 8


def test_a_short_study_is_suggested_what_optunas_sampler_suggests(tmp_path: Path) -> None:
    """With the same seed a trial, in groups of parameters that we find faster."""
    spec, chance = spec_of(), random.Random(1)
    found: list[list[Any]] = []
    past = [past_trial(chance) for _ in range(60)]
    for ours in (True, False):
        study = optuna.create_study()
        study.add_trials(past)
        drawn = []
        for number in range(60, 64):
            study.sampler = (
                ResumableSampler(spec.search.sampler, 3)
                if ours
                else TPESampler(seed=seed_trial(3, number), multivariate=True, group=True)
            )
            trial = study.ask()
            trial.suggest_categorical("penalty", ["none", "l1"])
            trial.suggest_float("lambda", 1e-4, 1e-1, log=True)
            trial.suggest_float("dropout", 0, 0.7)
            study.tell(trial, 0.5)
            drawn.append(trial.params)
        found.append(drawn)
    assert found[0] == found[1], optuna_moved("TPESampler finds its groups otherwise")


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_one_sampler_for_several_trials_suggests_what_optunas_does(direction: Direction) -> None:
    """Each suggestion takes the trials that have ended since the one before into account."""
    found: list[list[Any]] = []
    for kind in (GroupingTpeSampler, partial(TPESampler, multivariate=True, group=True)):
        sampler = kind(seed=4, n_startup_trials=10, n_ei_candidates=24)
        study, chance = optuna.create_study(direction=direction, sampler=sampler), random.Random(2)
        drawn = []
        for _ in range(6):
            study.add_trials([past_trial(chance) for _ in range(9)])
            trial = study.ask()
            trial.suggest_categorical("penalty", ["none", "l1"])
            trial.suggest_float("lambda", 1e-4, 1e-1, log=True)
            trial.suggest_float("dropout", 0, 0.7)
            study.tell(trial, chance.random())
            drawn.append(trial.params)
        found.append(drawn)
    assert found[0] == found[1], optuna_moved("TPESampler models its groups otherwise")


class TestSelection:
    def trials(self, count: int, direction: Direction = "minimize") -> optuna.Study:
        study, chance = optuna.create_study(direction=direction), random.Random(2)
        study.add_trials([past_trial(chance) for _ in range(count)])
        return study

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_the_best_are_those_of_tpe(self, direction: Direction) -> None:
        study = self.trials(600, direction)
        shown = TrialSelection(100).select(study.trials, study.direction)
        modelled = (TrialState.COMPLETE, TrialState.PRUNED)
        finished = [t for t in study.trials if t.state in modelled]
        best, _ = _split_trials(study, finished, 25)
        assert {t.number for t in best} <= {t.number for t in shown}, optuna_moved("TPE's order")
        again, _ = _split_trials(study, [t for t in shown if t.state in modelled], 25)
        assert [t.number for t in again] == [t.number for t in best]
        assert [t.params for t in again] == [t.params for t in best]

    def test_it_is_bounded_and_follows_from_the_study_alone(self) -> None:
        study = self.trials(700)
        trials, kept = study.trials, TrialSelection(100)
        for count in range(0, 701, 50):
            shown = kept.select(trials[:count], study.direction)
            fresh = TrialSelection(100).select(trials[:count], study.direction)
            assert [t.number for t in shown] == [t.number for t in fresh]
            assert sum(t.state is not TrialState.FAIL for t in shown) <= 100

    def test_running_trials_are_shown(self) -> None:
        study = self.trials(300)
        asked = [study.ask().number for _ in range(3)]
        shown = TrialSelection(100).select(study.trials, study.direction)
        assert [t.number for t in shown][-3:] == asked

    def test_brackets_of_trials_do_not_mix(self) -> None:
        study = self.trials(600)
        trials, both = study.trials, TrialSelection(100)
        for count in (200, 400, 600):
            for start in (0, 1):
                own = trials[start:count:2]
                shown = both.select(own, study.direction)
                assert {t.number for t in shown} <= {t.number for t in own}
                fresh = TrialSelection(100).select(own, study.direction)
                assert [t.number for t in shown] == [t.number for t in fresh]

    def test_trials_are_thinned_out_evenly_over_both_parts(self) -> None:
        trials: Sequence[Any] = range(1000)
        assert thin_out([trials[:999], trials[999:]], 1000) == list(range(1000))
        assert thin_out([trials[:333], trials[333:]], 300) == list(range(0, 1000, 4))

    def test_infeasible_trials_come_last(self) -> None:
        trials = self.trials(100).trials
        finished = [t for t in trials if t.state is not TrialState.FAIL]
        kinds = [rank_as_tpe(t, 1.0)[0] for t in sorted(finished, key=lambda t: rank_as_tpe(t, 1))]
        assert kinds == sorted(kinds)
        assert set(kinds) == {0, 1, 2}


def test_a_storage_lists_the_trials_that_optunas_own_lists(tmp_path: Path) -> None:
    path, chance = tmp_path / "journal", random.Random(3)
    ours = StudyStorage(JournalFile(path))
    study = optuna.create_study(storage=ours, study_name="one")
    running: list[optuna.Trial] = []
    every: list[Any] = [None, (TrialState.WAITING,), (TrialState.COMPLETE,)]
    every += [(TrialState.COMPLETE, TrialState.PRUNED), (TrialState.RUNNING, TrialState.FAIL)]
    for step in range(60):
        if step % 10 == 0:
            study.enqueue_trial({"x": 0.5})
        running.append(study.ask())
        running[-1].suggest_float("x", 0, 1)
        if len(running) > 3:
            trial = running.pop(chance.randrange(3))
            state = chance.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
            study.tell(trial, 1.0 if state is TrialState.COMPLETE else None, state=state)
        theirs = JournalStorage(JournalFile(path))
        for states in every:
            expected = theirs.get_all_trials(study._study_id, states=states)
            assert ours.get_all_trials(study._study_id, states=states) == expected, optuna_moved(
                "JournalStorage keeps its trials otherwise"
            )
