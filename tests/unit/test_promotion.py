"""Trials are paused at rungs, and the best of them go on: a session over a real study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as StudyTrialState

from service.spec.pruners import pruners
from service.study.events import Observer, TrialEvent
from service.study.messages import Assignment
from service.study.records import NOT_PROMOTED, Role, TrialState
from service.study.session import Decision, StudySession
from service.study.study import SweepStudy, open_study
from service.sweep.gpu_budget import GpuBudget
from tests.specs import parse
from tests.studies import NEUTRAL, SPACE

EPOCHS = 10
CONTINUE, PAUSE = Decision.CONTINUE, Decision.PAUSE
RULE = {"name": "pause_and_promote", "reduction_factor": 2, "k": 1}


class Diary(Observer):
    def __init__(self) -> None:
        self.events: list[str] = []

    def on(self, event: TrialEvent) -> None:
        if event.kind != "epoch_ended":
            self.events.append(f"{event.kind.removeprefix('trial_')} {event.trial.number}")  # type: ignore[union-attr]  # not an epoch


class Sweep:
    """A study in a file, whose sessions end like those of a killed process."""

    def __init__(self, folder: Path, budget: int, **rule: Any) -> None:
        self.spec = parse(
            space=SPACE.dump(),
            search={"pruner": {**RULE, **rule}, "sampler": "random"},
            training={"max_epochs": EPOCHS},
        )
        self.journal, self.budget = folder / "study.journal", budget

    def open(self, **more: Any) -> StudySession:
        study = open_study(self.spec, self.journal)
        made = StudySession(study, SPACE, metric="val/loss", max_epochs=EPOCHS, **more)
        made.prepare(self.budget, [])
        return made


def train(s: StudySession, asked: Assignment, value: float, to: int = EPOCHS) -> Decision:
    """Train from where it is until something follows; a trial at its end is complete."""
    for epoch in range(asked.recorded + 1, to + 1):
        decision = s.report(asked.number, epoch, {"val/loss": value})
        if decision is PAUSE:
            s.pause(asked.number)
            return decision
    if to == EPOCHS:
        s.complete(asked.number, {"val/loss": value}, EPOCHS)
    return CONTINUE


def ask(s: StudySession) -> Assignment:
    found = s.ask()
    assert found is not None
    return found


def run(s: StudySession, values: dict[int, float]) -> list[tuple[int, int]]:
    """Train all that is handed out; from which epoch on each was, in order."""
    order = []
    while (asked := s.ask()) is not None:
        order.append((asked.number, asked.recorded))
        train(s, asked, values[asked.number])
    return order


def test_a_paused_trial_goes_on_when_it_ranks_and_a_new_one_takes_its_slot_until_then(
    tmp_path: Path,
) -> None:
    diary = Diary()
    s = Sweep(tmp_path, 4).open(observers=[diary])
    order = run(s, {0: 0.4, 1: 0.5, 2: 0.3, 3: 0.2})
    # 0 waits for another one, is the best of two, and waits at epoch 2; 2 and 3 are better at once
    assert order == [(0, 0), (1, 0), (0, 1), (2, 0), (3, 0)]
    trials = s.trials()
    assert [len(t.best) > 0 for t in trials] == [False, False, False, True]
    assert [t.state for t in trials] == [TrialState.PRUNED] * 3 + [TrialState.COMPLETE]
    assert {t.reason for t in trials[:3]} == {NOT_PROMOTED}
    assert diary.events[:6] == [
        "started 0",
        "paused 0",
        "started 1",
        "paused 1",
        "started 0",
        "paused 0",
    ]
    assert s.exhausted
    assert not s.unfinished


def test_a_paused_trial_counts_once_and_leaves_its_slot(tmp_path: Path) -> None:
    s = Sweep(tmp_path, 2).open()
    first = ask(s)
    assert train(s, first, 0.5) is PAUSE
    assert s.open_trials == ()
    assert s.trials()[0].state is TrialState.PAUSED
    assert not s.exhausted
    second = ask(s)
    assert second.number == 1
    assert s.ask() is not None  # 0 is now of the best of two
    assert s.ask() is None
    assert not s.exhausted
    assert s.unfinished


def test_the_baseline_and_the_best_are_not_paused(tmp_path: Path) -> None:
    study = SweepStudy(optuna.create_study(pruner=pruners.parse(RULE).build(EPOCHS)))
    s = StudySession(study, SPACE, metric="val/loss", max_epochs=EPOCHS)
    s.prepare(3, [(Role.BASELINE, NEUTRAL)])
    assert train(s, ask(s), 0.5) is CONTINUE
    better = ask(s)
    assert train(s, better, 0.1) is CONTINUE
    assert train(s, ask(s), 0.9) is PAUSE
    assert s.ask() is None
    assert [t.state.value for t in s.trials()] == ["complete", "complete", "pruned"]


@pytest.mark.parametrize("k", [1, 3])
def test_a_search_of_any_size_trains_k_to_their_end(tmp_path: Path, k: int) -> None:
    s = Sweep(tmp_path, 5, reduction_factor=4, k=k).open()
    run(s, {n: 0.1 * n + 0.1 for n in range(5)})
    complete = [t.number for t in s.trials() if t.state is TrialState.COMPLETE]
    assert len(complete) == k
    assert 0 in complete


def test_a_search_that_time_ends_promotes_nothing_more(tmp_path: Path) -> None:
    over = False
    s = Sweep(tmp_path, 8).open(search_over=lambda: over)
    train(s, ask(s), 0.5)
    running = ask(s)
    over = True
    assert s.ask() is None
    assert s.trials()[0].state is TrialState.PRUNED
    assert s.open_trials == (running.number,)


VALUES = dict(enumerate([0.4, 0.5, 0.3, 0.2, 0.45, 0.1, 0.35, 0.25]))


def test_kills_at_any_moment_change_nothing(tmp_path: Path) -> None:
    """A session is left without a word before each of its writes to the journal."""
    (tmp_path / "whole").mkdir()
    whole = Sweep(tmp_path / "whole", 8)
    run(whole.open(), VALUES)
    expected = [(t.params, t.reason, t.value) for t in whole.open().trials()]
    lines = len(whole.journal.read_text().splitlines())
    for cut in range(40, lines, 7):
        folder = tmp_path / str(cut)
        folder.mkdir()
        killed = Sweep(folder, 8)
        killed.journal.write_text(
            "".join(whole.journal.read_text().splitlines(keepends=True)[:cut])
        )
        again = killed.open()
        run(again, VALUES)
        assert [(t.params, t.reason, t.value) for t in again.trials()] == expected, cut
        found = [t.intermediate_values for t in again.study.optuna.trials]
        assert found == [t.intermediate_values for t in whole.open().study.optuna.trials], cut


def test_a_pause_is_no_interruption_and_a_promoted_trial_that_dies_goes_on(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, 3)
    s = sweep.open(retries=1)
    train(s, ask(s), 0.5)
    train(s, ask(s), 0.6)
    promoted = ask(s)
    assert (promoted.number, promoted.recorded) == (0, 1)
    s.crash(0, "killed")
    assert ask(s).number == 0
    after = sweep.open()  # a kill before its next epoch
    again = ask(after)
    assert (again.number, again.recorded) == (0, 1)
    assert train(after, again, 0.5) is PAUSE  # at the next rung
    assert after.study.optuna.trials[0].last_step == 2


def test_a_paused_trial_holds_no_gpu() -> None:
    now = 0.0
    study = SweepStudy(optuna.create_study(pruner=pruners.parse(RULE).build(EPOCHS)))
    gpus = GpuBudget(1.0, 1.0, study, (), clock=lambda: now)
    s = StudySession(
        study, SPACE, metric="val/loss", max_epochs=EPOCHS, observers=[gpus], clock=lambda: now
    )
    s.prepare(2, [])
    first = ask(s)
    now = 10.0
    train(s, first, 0.5)
    now = 1000.0
    assert gpus.left == 3590.0
    train(s, ask(s), 0.6)
    assert ask(s).number == 0
    now = 1005.0
    assert gpus.left == 3585.0
    s.pause(0)
    assert s.trials()[0].seconds == 15.0


def test_a_sampler_learns_from_a_paused_trial_as_from_a_pruned_one(tmp_path: Path) -> None:
    seen: list[set[StudyTrialState]] = []

    class Watching(optuna.samplers.RandomSampler):
        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            seen.append({t.state for t in study.trials if t.number != trial.number})
            return super().sample_relative(study, trial, search_space)

    s = Sweep(tmp_path, 2).open()
    s.study.optuna.sampler._inner = Watching()  # type: ignore[attr-defined]  # ours
    s.study.optuna.sampler._config = type("Kept", (), {"prepare": lambda _, inner, __: inner})()  # type: ignore[attr-defined]  # ours
    train(s, ask(s), 0.5)
    ask(s)
    assert seen == [set(), {StudyTrialState.PRUNED}]
    assert s.study.optuna.trials[0].state is StudyTrialState.RUNNING


def test_it_works_alone() -> None:
    with pytest.raises(ValueError, match="`pause_and_promote` pauses trials"):
        pruners.parse({"name": "patient", "pruner": "pause_and_promote"})
