"""The study session over a real study: it is asked, told, interrupted and opened again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as StudyTrialState

from service.spec.sections import Constraint
from service.study.attributes import Finding
from service.study.attribution import CONTROLS, HOPELESS, POSTPONED, STALLS
from service.study.confirmation import ReplicateRun
from service.study.events import Observer
from service.study.ranking import view_control
from service.study.records import Epoch, Role, Trial, TrialState
from service.study.session import Decision, StudySession
from service.study.study import SweepStudy
from tests.studies import NEUTRAL, SPACE, new_study
from trainables.config.anatomy import Anatomy, LayerAnatomy

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Diary(Observer):
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, trial: Trial) -> None:
        self.lines.append(f"start {trial.number}")

    def epoch(self, epoch: Epoch) -> None:
        self.lines.append(f"epoch {epoch.trial}.{epoch.epoch}")

    def ended(self, trial: Trial) -> None:
        self.lines.append(f"{trial.state.value} {trial.number}")


def session(study: optuna.Study, budget: int = 4, **more: Any) -> StudySession:
    made = StudySession(SweepStudy(study), SPACE, metric="val/loss", max_epochs=5, **more)
    made.prepare(budget, [(Role.BASELINE, NEUTRAL)])
    return made


def epochs(s: StudySession, number: int, *values: float) -> list[Decision]:
    return [s.report(number, e, {"val/loss": v}) for e, v in enumerate(values, start=1)]


def test_the_baseline_comes_first_with_its_own_values() -> None:
    first = session(new_study()).ask()
    assert first is not None
    assert (first.number, first.role) == (0, Role.BASELINE)
    assert first.params == NEUTRAL


def test_an_enqueued_point_comes_next_and_then_the_samplers() -> None:
    study = new_study()
    s = StudySession(SweepStudy(study), SPACE, metric="val/loss", max_epochs=5)
    point = {"penalty": "l1", "lambda": 0.01, "dropout": 0.25}
    s.prepare(3, [(Role.BASELINE, NEUTRAL), (Role.ENQUEUED, point)])
    asked = [s.ask() for _ in range(3)]
    assert [a.role for a in asked if a] == [Role.BASELINE, Role.ENQUEUED, Role.SEARCH]
    assert asked[1] is not None
    assert asked[1].params == point


def test_every_trial_counts_against_the_budget_a_failed_one_too() -> None:
    s = session(new_study(), budget=2)
    for _ in range(2):
        trial = s.ask()
        assert trial is not None
        s.fail(trial.number, "it broke")
    assert s.ask() is None
    assert s.exhausted
    s.extend(s.budget + 1)
    assert s.ask() is not None


def test_a_complete_trial_has_its_best_value_and_constraints() -> None:
    bound = Constraint(metric="gap/loss", max=0.1)
    study = new_study()
    s = session(study, constraints=[bound])
    for gap in (0.3, 0.05):
        trial = s.ask()
        assert trial is not None
        epochs(s, trial.number, 0.9, 0.5, 0.7)
        s.complete(trial.number, {"val/loss": 0.5, "gap/loss": gap, "epoch": 2.0}, 3)
    outside, inside = s.trials()
    assert (outside.value, outside.state, outside.stopped_epoch) == (0.5, TrialState.COMPLETE, 3)
    assert outside.violation == pytest.approx(0.2)
    assert inside.violation == 0.0
    assert study.trials[0].intermediate_values == {1: 0.9, 2: 0.5, 3: 0.7}


@pytest.mark.parametrize("metric", ["val/loss", "gap/loss"])
def test_what_is_not_finite_fails_the_trial_and_not_the_sweep(metric: str) -> None:
    s = session(new_study(), constraints=[Constraint(metric="gap/loss", max=0.1)])
    trial = s.ask()
    assert trial is not None
    s.complete(trial.number, {"val/loss": 0.5, "gap/loss": 0.1, metric: float("nan")}, 5)
    assert s.trials()[0].reason == f"{metric} is nan at the kept weights"
    assert s.ask() is not None


def test_the_baseline_and_a_last_epoch_are_never_pruned() -> None:
    s = session(new_study(optuna.pruners.ThresholdPruner(upper=1.0)))
    first, second = s.ask(), s.ask()
    assert first is not None
    assert second is not None
    assert set(epochs(s, first.number, 9, 9, 9, 9, 9)) == {Decision.CONTINUE}
    answers = epochs(s, second.number, 0.5, 9, 9, 9, 9)
    keep, prune = Decision.CONTINUE, Decision.PRUNE
    assert answers == [keep, prune, prune, prune, keep]
    s.prune(second.number)
    assert s.trials()[1].state is TrialState.PRUNED


def test_an_epoch_told_twice_changes_nothing() -> None:
    diary = Diary()
    study = new_study()
    s = session(study, observers=[diary])
    trial = s.ask()
    assert trial is not None
    s.report(trial.number, 1, {"val/loss": 0.4})
    s.report(trial.number, 1, {"val/loss": 0.1})
    assert study.trials[0].intermediate_values == {1: 0.4}
    assert diary.lines == ["start 0", "epoch 0.1"]


def test_a_failure_keeps_its_words() -> None:
    study = new_study()
    s = session(study)
    trial = s.ask()
    assert trial is not None
    s.fail(trial.number, "ValueError: no")
    assert study.trials[0].state is StudyTrialState.FAIL
    assert s.trials()[0].reason == "ValueError: no"


def test_interrupted_trials_go_on_first_under_their_own_numbers() -> None:
    study = new_study()
    before = session(study)
    first, second = before.ask(), before.ask()
    assert first is not None
    assert second is not None
    epochs(before, second.number, 0.9, 0.8)
    before.interrupt()
    diary = Diary()
    after = session(study, observers=[diary])
    again = [after.ask() for _ in range(3)]
    assert [(a.number, a.recorded) for a in again if a] == [(0, 0), (1, 2), (2, 0)]
    assert again[1] is not None
    assert again[1].params == second.params
    assert after.report(1, 2, {"val/loss": 0.0}) is Decision.CONTINUE
    assert study.trials[1].intermediate_values[2] == 0.8
    assert len(study.trials) == 3


def killed(study: optuna.Study, **more: Any) -> tuple[StudySession, int]:
    """A session that a kill ends right after it has handed out its first trial."""
    s = session(study, **more)
    trial = s.ask()
    assert trial is not None
    return s, trial.number


def test_ten_kills_of_everything_are_nobodys_fault() -> None:
    study = new_study()
    assert [killed(study)[1] for _ in range(10)] == [0] * 10
    assert study.trials[0].state is StudyTrialState.RUNNING


def test_a_trial_that_stays_behind_while_others_go_on_is_given_up_and_says_why() -> None:
    study = new_study()
    baseline = session(study).ask()
    assert baseline is not None
    for kills in range(STALLS):
        s = session(study)
        first, other = s.ask(), s.ask()
        assert first is not None
        assert other is not None
        s.report(0, kills + 1, {"val/loss": 0.5})  # the baseline makes progress, trial 1 does not
    s = session(study)
    assert [a.number for a in (s.ask(), s.ask()) if a] == [0, 2]
    assert s.trials()[1].state is TrialState.FAILED
    assert "while other trials made progress" in (s.trials()[1].reason or "")


def test_a_trial_that_ends_every_session_lets_others_go_first_and_is_given_up() -> None:
    study = new_study()
    first = session(study)
    baseline = first.ask()
    assert baseline is not None
    first.complete(0, {"val/loss": 0.5}, 1)
    deadly = first.ask()
    assert deadly is not None
    for _ in range(POSTPONED - 1):
        assert killed(study)[1] == 1
    s, number = killed(study)
    assert number == 2
    s.complete(2, {"val/loss": 0.5}, 1)
    again = s.ask()
    assert again is not None
    assert again.number == 1
    s, number = killed(study, budget=4)
    assert number == 3
    s.complete(3, {"val/loss": 0.5}, 1)
    for _ in range(HOPELESS):
        last = session(study).ask()  # nothing else is left
        if last is None:
            break
        assert last.number == 1
    assert study.trials[1].state is StudyTrialState.FAIL


def test_a_process_that_dies_while_its_driver_lives_is_the_trials_fault_over_all_sessions() -> None:
    study = new_study()
    s = session(study, retries=2)
    for _ in range(2):
        assert [a.number for a in (s.ask(), s.ask()) if a] == [0, 1]
        s.crash(0, "killed")
        s.crash(1, "killed")
    s = session(study, retries=2)  # a kill of the driver pardons nothing
    assert [a.number for a in (s.ask(), s.ask()) if a] == [0, 1]
    s.crash(1, "killed by the kernel")
    assert s.trials()[1].state is TrialState.FAILED
    assert s.trials()[1].reason == "killed by the kernel, 3 times"


def test_a_control_is_tried_more_often() -> None:
    s = session(new_study(), retries=1)
    deaths = 0
    while (trial := s.ask()) is not None and trial.number == 0:
        s.crash(0, "killed")
        deaths += 1
    assert deaths == 2 * CONTROLS
    assert s.trials()[0].reason == f"killed, {deaths} times"


def test_a_trial_lost_with_its_node_is_handed_out_again_with_its_epochs() -> None:
    s = session(new_study(), budget=1, retries=0)
    for recorded in range(4):
        trial = s.ask()
        assert trial is not None
        assert (trial.number, trial.recorded) == (0, recorded)
        s.report(0, recorded + 1, {"val/loss": 0.5})
        assert s.exhausted
        s.release(0)
        assert not s.exhausted
    assert s.trials()[0].state is TrialState.RUNNING


def test_a_clean_stop_is_no_interruption() -> None:
    study = new_study()
    for _ in range(CONTROLS * HOPELESS + 1):
        s, number = killed(study)
        assert number == 0
        s.interrupt()


def test_what_the_end_finds_of_a_finalist_is_kept_beside_the_finished_trial() -> None:
    s = session(new_study())
    trial = s.ask()
    assert trial is not None
    s.complete(trial.number, {"val/loss": 0.5}, 5)
    found = Anatomy(10, 8, (LayerAnatomy("fc.weight", 6, 2, 1.5, 3, 1),))
    errors = {"gap/loss": 0.1, "control/gap/loss": 0.2}
    metrics = {"test/loss": 0.6, "control/test/loss": 0.7}
    marked = Anatomy(10, 9, found.layers, 7)
    s.record_finalist(trial.number, Finding(metrics, found, errors, marked))
    assert s.trials()[0].best == {"val/loss": 0.5, "test/loss": 0.6}
    assert s.trials()[0].control == {"test/loss": 0.7}
    assert s.trials()[0].errors == errors
    assert s.trials()[0].anatomy == found
    assert view_control(s.trials()[0], "test/loss").anatomy == marked


def test_what_time_left_out_is_unfinished_even_with_no_trial_open() -> None:
    out_of_time = False
    s = session(new_study(), budget=3, search_over=lambda: out_of_time)
    first = s.ask()
    assert first is not None
    s.complete(first.number, {"val/loss": 1.0}, 1)
    out_of_time = True
    assert s.exhausted
    assert s.unfinished


def test_a_used_up_budget_is_finished() -> None:
    s = session(new_study(), budget=1)
    first = s.ask()
    assert first is not None
    assert s.unfinished
    s.complete(first.number, {"val/loss": 1.0}, 1)
    assert not s.unfinished


class OneReplicate:
    """Confirms the baseline once."""

    trainings = 1

    def next_runs(self, trials: Sequence[Trial]) -> Sequence[ReplicateRun]:
        if any(t.confirms is not None for t in trials):
            return ()
        return (ReplicateRun(confirms=0, params=NEUTRAL, role=Role.REPLICATE, seed=7, replicate=1),)


def test_points_that_time_left_out_are_not_trained_among_the_confirmations() -> None:
    out_of_time = False
    study = new_study()
    s = StudySession(
        SweepStudy(study),
        SPACE,
        metric="val/loss",
        max_epochs=5,
        search_over=lambda: out_of_time,
        confirm=OneReplicate(),
    )
    s.prepare(3, [(Role.BASELINE, NEUTRAL), (Role.ENQUEUED, {**NEUTRAL, "dropout": 0.25})])
    first = s.ask()
    assert first is not None
    s.complete(first.number, {"val/loss": 1.0}, 1)
    out_of_time = True
    second = s.ask()
    assert second is not None
    assert second.role is Role.REPLICATE
    s.complete(second.number, {"val/loss": 1.0}, 1)
    assert s.ask() is None
    assert s.exhausted
    states = [t.state for t in study.get_trials(deepcopy=False)]
    assert states.count(StudyTrialState.WAITING) == 1
