"""What Tune is told and what it tells, without starting Ray."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from service.cluster.bridges import SlotBridge, TrialBridge
from service.cluster.group_actor import LostNodeError, LostWorkerError
from service.cluster.tune_adapters import (
    StudyScheduler,
    StudySearcher,
    SweepStopper,
    describe_loss,
)
from service.cluster.tune_messages import (
    from_config,
    from_slot_config,
    to_result,
    to_slot_result,
)
from service.study.messages import Answer, EpochReport, SlotOrders, TrialFailure
from service.study.records import Role, Trial
from service.study.session import StudySession
from service.study.slot_flow import SlotFlow, Widths
from service.study.study import SweepStudy
from service.study.trial_flow import Loss, TrialFlow
from tests.studies import SPACE, new_study


class Sides:
    """Both adapters over one study."""

    def __init__(self, budget: int = 3, upper: float = 10.0, retries: int = 1) -> None:
        self.study = new_study(optuna.pruners.ThresholdPruner(upper=upper))
        self.session = StudySession(
            SweepStudy(self.study), SPACE, metric="val/loss", max_epochs=3, retries=retries
        )
        self.session.prepare(budget, [])
        self.stop = False
        self.flow = TrialFlow(self.session, lambda: self.stop, lambda: 100)
        self.bridge = TrialBridge(self.flow)
        self.searcher, self.scheduler = StudySearcher(self.bridge), StudyScheduler(self.bridge)

    def epoch(self, tune_id: str, epoch: int, value: float) -> str:
        return self.epochs(tune_id, report(epoch, value))

    def epochs(self, tune_id: str, *answers: Answer) -> str:
        result = to_result(answers)
        return self.scheduler.on_trial_result(None, SimpleNamespace(trial_id=tune_id), result)

    def end(
        self, tune_id: str, answer: Answer | None, crashed: bool = False, *, before: int = 0
    ) -> None:
        """``before`` are epochs with the loss of their number that come with the last answer."""
        earlier = [report(n, float(n)) for n in range(1, before + 1)]
        result = None if answer is None else flatten_dict(to_result([*earlier, answer]))
        self.searcher.on_trial_complete(tune_id, result, crashed)

    def record(self, number: int = 0) -> Trial:
        return self.session.trials()[number]


def report(epoch: int, value: float, best: float | None = None) -> EpochReport:
    kept = None if best is None else {"val/loss": best, "epoch": 1.0}
    return EpochReport(epoch=epoch, metrics={"val/loss": value}, best=kept)


def test_a_config_carries_the_assignment_until_none_is_left() -> None:
    sides = Sides(budget=2)
    configs = [sides.searcher.suggest(tune_id) for tune_id in "ab"]
    found = [from_config(config) for config in configs]
    assert [a.number for a in found] == [0, 1]
    assert set(found[0].params) <= {"penalty", "lambda", "dropout"}
    for tune_id in "ab":
        sides.end(tune_id, report(1, 0.5, best=0.5))
    assert sides.searcher.suggest("c") == Searcher.FINISHED


def test_a_pruned_trial_is_pruned_in_the_study_with_its_values() -> None:
    sides = Sides(upper=1.0)
    sides.searcher.suggest("a")
    assert sides.epoch("a", 1, 0.5) == TrialScheduler.CONTINUE
    assert sides.epoch("a", 2, 5.0) == TrialScheduler.STOP
    sides.end("a", report(2, 5.0))
    assert sides.study.trials[0].state is TrialState.PRUNED
    assert sides.study.trials[0].intermediate_values == {1: 0.5, 2: 5.0}


def test_short_epochs_that_come_together_are_recorded_up_to_the_one_that_is_pruned() -> None:
    sides = Sides(upper=1.0)
    sides.searcher.suggest("a")
    answers = [report(1, 0.5), report(2, 5.0), report(3, 0.5)]
    assert sides.epochs("a", *answers) == TrialScheduler.STOP
    assert sides.flow.error is None
    assert sides.study.trials[0].state is TrialState.PRUNED
    assert sides.study.trials[0].intermediate_values == {1: 0.5, 2: 5.0}
    sides.end("a", report(3, 0.5))
    assert sides.study.trials[0].intermediate_values == {1: 0.5, 2: 5.0}


def test_epochs_that_come_with_the_end_are_recorded_before_it() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    sides.end("a", report(3, 0.7, best=0.5), before=2)
    assert sides.study.trials[0].intermediate_values == {1: 1.0, 2: 2.0, 3: 0.7}
    assert sides.record().state.value == "complete"


@pytest.mark.parametrize("last", [report(3, 0.7, best=0.5), TrialFailure(reason="later")])
def test_an_end_that_comes_with_an_epoch_that_is_pruned_does_not_count(last: Answer) -> None:
    sides = Sides(upper=1.5)
    sides.searcher.suggest("a")
    sides.end("a", last, before=2)
    assert sides.study.trials[0].state is TrialState.PRUNED
    assert sides.study.trials[0].intermediate_values == {1: 1.0, 2: 2.0}


@pytest.mark.parametrize("ends", [False, True])
def test_a_stop_between_epochs_that_come_together_leaves_the_trial_open(ends: bool) -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    sides.flow.should_stop = lambda: bool(sides.study.trials[0].intermediate_values)
    if ends:
        sides.end("a", report(3, 0.7, best=0.5), before=2)
    else:
        sides.epochs("a", report(1, 1.0), report(2, 2.0))
    assert sides.study.trials[0].intermediate_values == {1: 1.0}
    assert sides.record().state.value == "running"


def test_the_last_answers_of_a_process_that_died_are_not_reported_again() -> None:
    sides = Sides(upper=1.5)
    sides.searcher.suggest("a")
    sides.epochs("a", report(1, 0.5))
    sides.end("a", report(1, 0.5), crashed=True)
    assert sides.record().state.value == "running"


def test_an_early_stopped_trial_is_complete_with_its_best_value() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    sides.epoch("a", 1, 0.5)
    sides.end("a", report(2, 0.7, best=0.5))
    trial = sides.study.trials[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {1: 0.5, 2: 0.7}
    assert sides.record().best == {"val/loss": 0.5, "epoch": 1.0}
    assert sides.record().stopped_epoch == 2


@pytest.mark.parametrize(
    ("answer", "crashed", "words"),
    [
        (TrialFailure(reason="ValueError: no"), False, "ValueError: no"),
        (None, True, "process died"),
        (report(1, 0.5), True, "process died"),
    ],
)
def test_a_trial_that_breaks_fails(answer: Answer | None, crashed: bool, words: str) -> None:
    sides = Sides(retries=0)
    sides.searcher.suggest("a")
    sides.end("a", answer, crashed)
    assert sides.study.trials[0].state is TrialState.FAIL
    assert words in (sides.record().reason or "")


def test_a_trial_whose_process_dies_again_and_again_fails_with_the_last_reason() -> None:
    sides = Sides(retries=1)
    for tune_id, words in (("a", "worker 0 died"), ("b", "worker 1 died")):
        assert from_config(sides.searcher.suggest(tune_id)).number == 0
        sides.bridge.record_loss(tune_id, Loss(words))
        sides.end(tune_id, None, crashed=True)
    assert sides.record().reason == "worker 1 died, 2 times"
    assert from_config(sides.searcher.suggest("c")).number == 1


def test_a_trial_that_lost_its_node_is_handed_to_tune_again_and_not_blamed() -> None:
    sides = Sides(retries=0)
    for tune_id, epoch in (("a", 1), ("b", 2)):
        found = from_config(sides.searcher.suggest(tune_id))
        assert (found.number, found.recorded) == (0, epoch - 1)
        sides.epoch(tune_id, epoch, 0.5)
        sides.bridge.record_loss(tune_id, Loss("the trial's node was lost", own=False))
        sides.end(tune_id, None, crashed=True)
    assert sides.study.trials[0].state is TrialState.RUNNING


def test_a_last_trial_whose_process_died_is_left_for_another_run_of_tune() -> None:
    """Told that none is left, Tune ends the processes that it would keep for further trials."""
    sides = Sides(budget=1, retries=1)
    sides.searcher.suggest("a")
    assert sides.searcher.suggest("b") == Searcher.FINISHED
    sides.end("a", None, crashed=True)
    assert from_config(sides.searcher.suggest("b")).number == 0
    sides.end("b", report(1, 0.5, best=0.5))
    assert sides.searcher.suggest("c") == Searcher.FINISHED


def died(text: str) -> ActorDiedError:
    error = ActorDiedError()
    error.error_msg = text
    return error


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (None, True),
        (died("The actor is dead because its worker process has died. Worker exit type: X"), True),
        (died("The actor died because its node has died. Node Id: 0a"), False),
        (ActorUnavailableError("the connection was reset", None), False),
        (RayTaskError("step", "", LostWorkerError("worker 1 of 2 died")), True),
        (RayTaskError("step", "", LostNodeError("worker 1 of 2 died")), False),
        (RayTaskError("step", "", ValueError("a bug")), True),
    ],
)
def test_only_a_process_that_ended_on_a_living_node_is_the_trials_fault(
    error: Exception | None, own: bool
) -> None:
    assert describe_loss(error).own is own


def test_a_trial_cut_short_by_a_stop_stays_running() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    sides.epoch("a", 1, 0.5)
    sides.stop = True
    assert SweepStopper(sides.bridge).stop_all()
    assert sides.searcher.suggest("b") == Searcher.FINISHED
    sides.end("a", report(1, 0.5))
    assert sides.study.trials[0].state is TrialState.RUNNING


def test_an_error_inside_is_kept_and_stops_the_sweep_instead_of_tune() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    assert sides.scheduler.on_trial_result(None, SimpleNamespace(trial_id="a"), {}) == (
        TrialScheduler.STOP
    )
    assert isinstance(sides.flow.error, TypeError)
    assert SweepStopper(sides.bridge).stop_all()
    assert sides.searcher.suggest("b") == Searcher.FINISHED


class Slot:
    """A slot of one trial over a study, and the orders that its process was sent."""

    def __init__(self, sides: Sides) -> None:
        self.bridge = SlotBridge(SlotFlow(sides.flow, Widths()))
        self.searcher, self.scheduler = StudySearcher(self.bridge), StudyScheduler(self.bridge)
        self.orders: list[SlotOrders] = []
        actor = SimpleNamespace(obey=SimpleNamespace(remote=self.orders.append))
        self._trial = SimpleNamespace(
            trial_id="a", temporary_state=SimpleNamespace(ray_actor=actor)
        )

    def answer(self, number: int, *answers: Answer) -> str:
        result = flatten_dict(to_slot_result([{number: answer} for answer in answers]))
        return self.scheduler.on_trial_result(None, self._trial, result)


def test_a_slot_is_one_trial_of_tunes_and_takes_trials_until_none_is_left() -> None:
    sides = Sides(budget=2)
    slot = Slot(sides)
    (first,) = from_slot_config(slot.searcher.suggest("a"))
    assert slot.answer(first.number, report(1, 0.5)) == TrialScheduler.CONTINUE
    assert not slot.orders
    assert slot.answer(0, report(2, 0.7, best=0.5)) == TrialScheduler.CONTINUE
    ((taken,),) = (orders.take for orders in slot.orders)
    assert (taken.number, slot.orders[0].drop) == (1, [0])
    assert slot.answer(1, report(1, 0.5, best=0.5)) == TrialScheduler.STOP
    slot.searcher.on_trial_complete("a", None)
    assert slot.searcher.suggest("b") == Searcher.FINISHED
    assert [t.state for t in sides.study.trials] == [TrialState.COMPLETE] * 2


def test_the_trial_of_a_slot_whose_process_died_is_blamed_and_goes_on_in_another() -> None:
    sides = Sides(retries=1)
    slot = Slot(sides)
    slot.searcher.suggest("a")
    slot.answer(0, report(1, 0.5))
    for words in ("killed", "killed again"):
        slot.bridge.record_loss("a", Loss(words))
        slot.searcher.on_trial_complete("a", None, error=True)
        (found,) = from_slot_config(slot.searcher.suggest("a"))
    assert sides.record().reason == "killed again, 2 times"
    assert found.number == 1


def test_tune_may_copy_and_pickle_it_and_there_is_still_one_study() -> None:
    bridge = Sides().bridge
    assert copy.deepcopy(bridge) is bridge
    assert pickle.loads(pickle.dumps(bridge)) == "the study is the truth"


def test_roles_reach_the_records() -> None:
    sides = Sides()
    sides.searcher.suggest("a")
    assert sides.session.trials()[0].role is Role.SEARCH
