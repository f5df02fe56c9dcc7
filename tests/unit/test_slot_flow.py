"""Which trials slots get, and who is to blame when the process of several ends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from service.study.confirmation import Confirmation, ReplicateRun
from service.study.messages import Answer, EpochReport, SlotOrders, TrialFailure
from service.study.records import Role, Trial, TrialState
from service.study.session import StudySession
from service.study.slot_flow import SlotFlow, Widths
from service.study.study import SweepStudy
from service.study.trial_flow import Loss, NoTrial, TrialFlow
from tests.studies import SPACE, new_study

DEATH = Loss("killed")


class Slots:
    """Slots of up to three trials, by a clock that stands still unless it is told."""

    def __init__(
        self, budget: int = 6, width: int = 3, after: int = 0, confirm: Confirmation | None = None
    ) -> None:
        self.now, self.stop = 0.0, False
        study = SweepStudy(new_study())
        self.session = StudySession(
            *(study, SPACE),
            metric="val/loss",
            max_epochs=9,
            confirm=confirm,
            retries=1,
            clock=lambda: self.now,
        )
        self.session.prepare(budget, [])
        flow = TrialFlow(self.session, lambda: self.stop, lambda: 100)
        self.flow = SlotFlow(flow, Widths(width, after or width), clock=lambda: self.now)

    def open(self, slot: str) -> list[int]:
        found = self.flow.open(slot)
        assert not isinstance(found, NoTrial), found
        return [assignment.number for assignment in found]

    def answer(self, slot: str, *rounds: dict[int, Answer]) -> SlotOrders:
        return self.flow.report(slot, rounds)

    def state(self, number: int) -> TrialState:
        return self.session.trials()[number].state


class Replicates:
    """Five trainings of the first trial's point, once the search has ended."""

    trainings = 5

    def next_runs(self, trials: Sequence[Trial]) -> Sequence[ReplicateRun]:
        if len(trials) > 2:
            return ()
        run = partial(ReplicateRun, confirms=0, params=trials[0].params, role=Role.REPLICATE)
        return [run(seed=n, replicate=n) for n in range(self.trainings)]


def epoch(number: int) -> EpochReport:
    return EpochReport(epoch=number, metrics={"val/loss": 1.0 / number})


def last(number: int) -> EpochReport:
    best = {"val/loss": 0.1, "epoch": 1.0}
    return EpochReport(epoch=number, metrics={"val/loss": 1.0 / number}, best=best)


def test_a_trial_that_ends_is_replaced_by_the_next_one() -> None:
    slots = Slots(budget=5)
    assert slots.open("a") == [0, 1, 2]
    orders = slots.answer("a", {0: epoch(1), 1: last(1), 2: epoch(1)})
    assert ([a.number for a in orders.take], orders.drop) == ([3], [1])
    assert slots.state(1) is TrialState.COMPLETE
    assert slots.open("b") == [4]
    assert slots.flow.open("c") is NoTrial.NONE_LEFT


def test_what_follows_a_search_may_fill_a_slot_with_more_trials_than_the_search() -> None:
    slots = Slots(budget=2, width=1, after=4, confirm=Replicates())
    assert [slots.open(name) for name in "ab"] == [[0], [1]]
    assert not slots.answer("a", {0: last(1)}).take
    assert [a.number for a in slots.answer("b", {1: last(1)}).take] == [2, 3, 4, 5]
    assert slots.open("c") == [6]


def test_what_was_trained_after_a_trial_has_ended_is_dropped() -> None:
    slots = Slots(budget=3)
    slots.open("a")
    slots.answer("a", {0: epoch(1), 1: TrialFailure(reason="bad")}, {0: epoch(2), 1: epoch(2)})
    trials = slots.session.trials()
    assert trials[1].state is TrialState.FAILED
    assert slots.flow.list_trials("a") == (0, 2)


def test_a_stop_counts_between_two_rounds_and_no_trial_starts() -> None:
    slots = Slots()
    slots.open("a")
    slots.stop = True
    orders = slots.answer("a", {0: last(1)}, {1: last(2)})
    assert (list(orders.take), orders.drop) == ([], [0])
    assert slots.state(1) is TrialState.RUNNING
    assert slots.flow.open("b") is NoTrial.NONE_LEFT
    assert slots.flow.over


def test_trials_whose_process_died_go_on_alone_from_what_was_recorded() -> None:
    slots = Slots(budget=4)
    slots.open("a")
    slots.answer("a", {0: epoch(1), 1: epoch(1), 2: epoch(1)})
    slots.flow.close("a", DEATH)
    alone = slots.flow.open("b")
    assert not isinstance(alone, NoTrial)
    assert [(a.number, a.recorded) for a in alone] == [(0, 1)]
    assert slots.open("c") == [1]
    assert not slots.answer("b", {0: epoch(2)}).take
    assert not slots.flow.over


def test_a_trial_that_was_alone_is_to_blame_and_its_retries_are_counted() -> None:
    slots = Slots(budget=2, width=2)
    slots.open("a")
    slots.flow.close("a", DEATH)  # nobody knows whose fault that was
    assert slots.open("b") == [0]
    slots.flow.close("b", DEATH)
    assert slots.state(0) is TrialState.RUNNING
    assert slots.open("c") == [1]
    slots.answer("c", {1: last(1)})
    assert slots.flow.list_trials("c") == (0,)
    slots.flow.close("c", DEATH)
    assert [slots.state(n) for n in (0, 1)] == [TrialState.FAILED, TrialState.COMPLETE]
    assert slots.session.trials()[0].reason == "killed, 2 times"


def test_a_lost_node_is_nobodys_fault_and_its_trials_share_a_slot_again() -> None:
    slots = Slots(budget=3)
    slots.open("a")
    slots.flow.close("a", Loss("its node was lost", own=False))
    assert sorted(slots.open("b")) == [0, 1, 2]


def test_an_error_of_the_process_fails_a_trial_that_was_alone_at_once() -> None:
    slots = Slots(budget=1)
    slots.open("a")
    slots.flow.close("a", TrialFailure(reason="its code ended the process"))
    assert slots.state(0) is TrialState.FAILED


def test_the_seconds_of_a_slot_are_divided_among_its_trials() -> None:
    slots = Slots(budget=3)
    slots.open("a")
    slots.now = 30.0
    slots.answer("a", {0: last(1), 1: epoch(1), 2: epoch(1)})
    slots.now = 40.0
    slots.answer("a", {1: last(2), 2: last(2)})
    seconds = [trial.seconds for trial in slots.session.trials()]
    assert seconds == pytest.approx([10.0, 15.0, 15.0])
    assert sum(seconds) == pytest.approx(40.0)


def test_a_trial_that_waits_for_a_slot_of_its_own_takes_no_time() -> None:
    slots = Slots(budget=2, width=2)
    slots.open("a")
    slots.flow.close("a", DEATH)
    slots.open("b")
    slots.now = 10.0
    slots.answer("b", {0: last(1)})
    assert slots.flow.list_trials("b") == (1,)
    slots.now = 15.0
    slots.answer("b", {1: last(1)})
    assert [trial.seconds for trial in slots.session.trials()] == pytest.approx([10.0, 5.0])
