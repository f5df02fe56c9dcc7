"""Several trials in a process: what each answers, writes and leaves. No Ray."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from service.base import collection
from service.base.collection import collect_rarely
from service.cluster import checkpoint, slot_actor
from service.cluster import slot as slot_module
from service.cluster.divisions import TrialContext
from service.cluster.shared import Shared
from service.cluster.slot_actor import SlotActor
from service.cluster.tune_messages import from_slot_result, to_slot_config
from service.cluster.worker import Worker
from service.study.messages import Answer, Assignment, EpochReport, SlotOrders, TrialFailure
from service.study.records import Role
from service.sweep.home import SweepFolder
from tests.slots import EPOCHS, context, open_slot, point, train_alone
from trainables.lanes.group import Group


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trainings shared each epoch that was shared."""
    widths: list[int] = []
    advance = Group.advance

    def count(group: Group) -> Any:
        widths.append(group.width)
        return advance(group)

    monkeypatch.setattr(Group, "advance", count)
    return widths


def test_trials_join_and_leave_between_rounds_and_answer_what_they_answer_alone(
    tmp_path: Path, groups: list[int]
) -> None:
    slot = open_slot(tmp_path / "shared", *map(point, range(5)), width=6)
    found: dict[int, list[Answer]] = {number: [] for number in range(6)}
    for turn in range(5):
        for number, answer in slot.advance().items():
            found[number].append(answer)
        if turn == 0:
            slot.drop(1)
            slot.take(point(5))
    assert groups == [5, 5, 5]  # the last one went on alone
    for number, answers in found.items():
        alone = train_alone(tmp_path / "alone", point(number))
        assert answers == (alone[:1] if number == 1 else alone)
    one, other = (
        torch.load(SweepFolder(tmp_path / name).best_weights(0), weights_only=True)
        for name in ("shared", "alone")
    )
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_trials_of_other_shapes_are_trained_in_between_and_too_few_share_nothing(
    tmp_path: Path, groups: list[int]
) -> None:
    odd = Assignment(9, {**point(9).params, "batch_size": 20}, Role.SEARCH)
    slot = open_slot(tmp_path / "shared", *map(point, range(4)), odd, width=5)
    answers = slot.advance()
    assert list(answers) == [0, 1, 2, 3, 9]
    assert groups == [4]
    assert answers[9] == train_alone(tmp_path / "alone", odd)[0]
    slot.drop(0)
    slot.advance()
    assert groups == [4]


def test_a_lane_writes_the_checkpoint_of_the_trial_alone_and_goes_on_from_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PERIOD", 0)
    monkeypatch.setattr(checkpoint, "SHARE", 0)
    slot = open_slot(tmp_path / "shared", *map(point, range(4)))
    slot.advance()
    slot.advance()  # the state is written when the session has let the trial go on
    worker = Worker(context(tmp_path / "alone"))
    worker.take(point(2))
    worker.advance()
    worker.advance()
    shared, alone = (
        SweepFolder(tmp_path / name).checkpoint(2).stat().st_size for name in ("shared", "alone")
    )
    assert abs(shared - alone) < 200  # and not four times as much
    other = Worker(context(tmp_path / "shared"))
    other.take(Assignment(2, point(2).params, Role.SEARCH, recorded=1))
    assert [other.advance() for _ in range(2)] == train_alone(tmp_path / "whole", point(2))[1:]


def test_a_trial_that_fails_leaves_the_others_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cannot begin, and one diverges in its second epoch."""
    advance = Group.advance

    def spoil(group: Group) -> Any:
        for run in group.runs:
            if run.epoch == 1 and run.training.lr == 0.5:
                next(iter(run.model.parameters())).data.fill_(torch.nan)
        return advance(group)

    monkeypatch.setattr(Group, "advance", spoil)
    wrong, wild = (
        Assignment(n, {**point(n).params, "lr": lr}, Role.SEARCH) for n, lr in ((8, -1.0), (9, 0.5))
    )
    slot = open_slot(tmp_path / "shared", wrong, *map(point, range(3)), wild)
    first = slot.advance()
    assert isinstance(first[8], TrialFailure)
    assert "greater than" in first[8].reason
    second = slot.advance()
    assert second[9] == TrialFailure(
        reason="train_running/loss is nan in epoch 2",
        ran_on={"device": "CPU", "precision": "fp32"},
    )
    assert list(slot.advance()) == [0, 1, 2]
    assert [first[1], second[1]] == train_alone(tmp_path / "alone", point(1))[:2]


def test_it_runs_ahead_until_a_trial_ends_and_writes_no_state_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PERIOD", 0)
    monkeypatch.setattr(checkpoint, "SHARE", 0)
    short = Assignment(3, {**point(3).params, "max_epochs": 2}, Role.SEARCH)
    slot = open_slot(tmp_path, *map(point, range(3)), short)
    rounds = slot.run_ahead(60)
    assert [sorted(answers) for answers in rounds] == [[0, 1, 2, 3]] * 2
    ends = [a.is_last for a in rounds[-1].values() if isinstance(a, EpochReport)]
    assert ends == [False, False, False, True]
    assert not SweepFolder(tmp_path).checkpoint(0).exists()
    assert [sorted(answers) for answers in slot.run_ahead(60)] == [[0, 1, 2]]
    assert slot.run_ahead(60) == [{}]


def test_short_epochs_are_answered_together_until_the_time_is_over_or_the_trial(
    tmp_path: Path,
) -> None:
    expected = train_alone(tmp_path / "alone", point(0))
    slot = open_slot(tmp_path / "ahead", point(0), width=1)
    assert slot.run_ahead(0) == [{0: expected[0]}]
    assert slot.run_ahead(600) == [{0: answer} for answer in expected[1:]]
    slot.take(Assignment(1, {**point(1).params, "lr": -1.0}, Role.SEARCH))
    ((failed,),) = (one.values() for one in slot.run_ahead(600))
    assert isinstance(failed, TrialFailure)


@pytest.mark.parametrize("closes", [False, True])
def test_no_checkpoint_has_epochs_that_were_not_answered_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    monkeypatch.setattr(checkpoint, "PERIOD", 0)
    monkeypatch.setattr(checkpoint, "SHARE", 0)
    slot = open_slot(tmp_path, point(0), width=1, training={"max_epochs": 9})
    now = iter([0, 1, *[0, 0, 0, 1], *[0, 0, 1]])  # begins, then whether the time is over
    monkeypatch.setattr(slot_module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    assert len(slot.run_ahead(1)) == 1
    assert len(slot.run_ahead(1)) == 3
    assert _read_epoch(tmp_path) == 1
    if closes:
        slot.close()
        assert _read_epoch(tmp_path) == 1
    else:
        assert len(slot.run_ahead(1)) == 2
        assert _read_epoch(tmp_path) == 4


def test_a_trial_that_may_be_paused_is_trained_one_epoch_at_a_time(tmp_path: Path) -> None:
    slot = open_slot(tmp_path, point(0), width=1, search={"pruner": "pause_and_promote"})
    assert len(slot.run_ahead(600)) == 1


def _read_epoch(folder: Path) -> int:
    """The last epoch that the checkpoint of trial 0 has."""
    state = torch.load(SweepFolder(folder).checkpoint(0), weights_only=True)
    return int(state["last"]["epoch"])


def test_an_epoch_that_was_interrupted_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of an epoch: its trials go on from the end of the last one."""

    def interrupt(group: Group) -> Any:
        for run in group.runs:
            next(iter(run.model.parameters())).data.fill_(7.0)
        raise KeyboardInterrupt

    slot = open_slot(tmp_path / "cut", *map(point, range(4)))
    slot.advance()
    monkeypatch.setattr(Group, "advance", interrupt)
    with pytest.raises(KeyboardInterrupt):
        slot.advance()
    slot.close()
    assert not SweepFolder(tmp_path / "cut").checkpoint(1).exists()
    worker = Worker(context(tmp_path / "cut"))
    worker.take(Assignment(1, point(1).params, Role.SEARCH, recorded=1))
    found = [worker.advance() for _ in range(2)]
    assert found == train_alone(tmp_path / "whole", point(1))[1:]


class FakeShared(Shared):
    """What the processes of a sweep share, without Ray."""

    def __init__(self, context: TrialContext) -> None:
        self._context = context

    def get(self) -> TrialContext:
        return self._context

    def find_refusal(self) -> None:
        return None


def open_actor(folder: Path, assignment: Assignment) -> SlotActor:
    actor = object.__new__(SlotActor)  # Tune's constructor wants a place for its files
    actor.setup(to_slot_config([assignment]), FakeShared(context(folder)), 1)
    return actor


def list_numbers(result: dict[str, Any]) -> list[int]:
    return [number for answers in from_slot_result(result) for number in answers]


def test_a_process_takes_a_trial_after_the_other(tmp_path: Path) -> None:
    actor = open_actor(tmp_path / "shared", point(0))
    (*_, last) = from_slot_result(actor.step())
    assert last == {0: train_alone(tmp_path / "alone", point(0))[-1]}
    actor.obey(SlotOrders(take=[point(1)], drop=[0]))
    assert list_numbers(actor.step()) == [1] * EPOCHS
    actor.cleanup()


def test_a_process_that_becomes_another_slot_lets_go_of_the_trials_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_actor, "AHEAD", 0.0)
    actor = open_actor(tmp_path, point(0))
    assert list_numbers(actor.step()) == [0]
    assert actor.reset_config(to_slot_config([point(1)]))
    assert list_numbers(actor.step()) == [1]
    actor.cleanup()


def test_orders_that_fail_fail_the_step_that_tune_waits_for(tmp_path: Path) -> None:
    actor = open_actor(tmp_path, point(0))
    actor.obey(SlotOrders(take=[None]))  # type: ignore[list-item]  # on purpose
    with pytest.raises(AttributeError):
        actor.step()


def test_a_slot_of_one_trial_does_not_look_for_others_to_share_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_module, "find_key", lambda _: pytest.fail("looked"))
    assert list(open_slot(tmp_path, point(0), width=1).advance()) == [0]


def test_garbage_is_looked_for_as_usual_where_trials_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command looks for it rarely while it imports; what a user has set stays."""
    before, users = gc.get_threshold(), (600, 9, 8)
    monkeypatch.setattr(collection, "_usual", [])
    try:
        for prepare in (collect_rarely, lambda: None):
            gc.set_threshold(*users)
            prepare()
            assert (gc.get_threshold() == users) is (prepare is not collect_rarely)
            open_slot(tmp_path).close()
            assert gc.get_threshold() == users
            users = (500, 7, 6)
    finally:
        gc.set_threshold(*before)
