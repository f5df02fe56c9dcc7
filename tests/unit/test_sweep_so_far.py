"""A running sweep that takes trial after trial is the one that is read from all of them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from service.study.ranking import Mode, Ranking
from service.study.records import Role, Trial, TrialState
from service.sweep.sweep_record import Sweep, SweepState
from service.sweep.sweep_so_far import SweepSoFar


def sweep_of(trials: dict[int, Trial], mode: Mode) -> Sweep:
    return Sweep(
        sweep_id="s-1",
        name="s",
        state=SweepState.RUNNING,
        seconds=0.0,
        ranking=Ranking("val/loss", mode),
        max_epochs=5,
        trials=tuple(trials[number] for number in sorted(trials)),
    )


def begin(chance: random.Random, number: int) -> Trial:
    role = Role.BASELINE if number == 2 else chance.choice([Role.SEARCH, Role.REPLICATE])
    return Trial(number=number, state=TrialState.RUNNING, role=role, params={})


def end(chance: random.Random, trial: Trial) -> Trial:
    state = chance.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED])
    complete = state is TrialState.COMPLETE or trial.role is Role.BASELINE
    return replace(
        trial,
        state=TrialState.COMPLETE if complete else state,
        value=chance.choice([0.1, 0.2, 0.3]) if complete else None,
        violation=chance.choice([0.0, 0.5]) if complete else None,
        seconds=chance.random(),
    )


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("known", [0, 5])
def test_it_is_the_sweep_of_its_trials(mode: Mode, known: int) -> None:
    chance = random.Random(known)
    trials = {number: begin(chance, number) for number in range(known)}
    found = SweepSoFar(sweep_of(trials, mode))
    for number in range(known, 60):
        started = begin(chance, number)
        ended = end(chance, trials[chance.choice(sorted(trials))]) if trials else started
        for trial in (started, ended if ended.number in found.running else started):
            trials[trial.number] = trial
            found.take(trial)
        whole = sweep_of(trials, mode)
        assert found.counts == {s: len(whole.of_state(s)) for s in TrialState}
        assert tuple(found.running.values()) == whole.of_state(TrialState.RUNNING)
        assert (found.best, found.baseline) == (whole.best, whole.baseline)
        settled_seconds = sum(t.seconds for t in trials.values() if t.number not in found.running)
        assert sum(found.settled_seconds) == pytest.approx(settled_seconds)
        assert (found.started, found.ended) == (len(trials), len(trials) - len(found.running))
    assert found.best is not None
