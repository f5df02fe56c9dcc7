"""The session of a cross-validated search: what the pruners see, and which folds are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner, WilcoxonPruner

from service.base.errors import SpecError
from service.spec.file import parse_spec
from service.spec.fold_pruners import fold_pruners
from service.spec.sections import Constraint
from service.study.fold_study import FoldPlan
from service.study.journal_file import JournalFile
from service.study.journals import open_journal
from service.study.promotion import PromotingPruner
from service.study.ranking import view_control
from service.study.records import Role, TrialState
from service.study.session import Decision, StudySession
from service.study.study import SweepStudy
from tests.studies import NEUTRAL, SPACE, new_study
from trainables.config.folds import FoldEpoch

optuna.logging.set_verbosity(optuna.logging.ERROR)
FOLDS, EPOCHS = 5, 4


def session(
    study: optuna.Study,
    rule: str | BasePruner = "none",
    *,
    journal: Path | None = None,
    **more: Any,
) -> StudySession:
    pruner = rule if isinstance(rule, BasePruner) else fold_pruners.parse(rule).build(FOLDS)
    made = StudySession(
        SweepStudy(study, None if journal is None else JournalFile(journal)),
        SPACE,
        metric="val/loss",
        max_epochs=EPOCHS,
        folds=FoldPlan(FOLDS, EPOCHS, pruner),
        **more,
    )
    made.prepare(20, [(Role.SEARCH, {**NEUTRAL, "dropout": 0.1})])
    return made


def start(s: StudySession) -> int:
    assignment = s.ask()
    assert assignment is not None
    return assignment.number


def train(s: StudySession, number: int, folds: Sequence[float], first: int = 1) -> Decision:
    """Two epochs on each fold, the second of which is kept; what came of the last one."""
    decision = Decision.CONTINUE
    for fold, value in enumerate(folds, start=first):
        before = 2 * (fold - 1)
        s.report(number, before + 1, {"val/loss": value + 1}, FoldEpoch(fold, 1))
        end = FoldEpoch(fold, 2, {"val/loss": value, "epoch": 2.0})
        decision = s.report(number, before + 2, {"val/loss": value}, end)
        if decision is Decision.PRUNE:
            s.prune(number)
            return decision
    return decision


def complete(s: StudySession, folds: Sequence[float]) -> int:
    number = start(s)
    assert train(s, number, folds[:-1]) is Decision.CONTINUE
    s.report(number, 2 * FOLDS - 1, {"val/loss": folds[-1]}, FoldEpoch(FOLDS, 1))
    end = FoldEpoch(FOLDS, 2, {"val/loss": folds[-1], "epoch": 2.0})
    mean = {"val/loss": sum(folds) / FOLDS}
    s.complete(number, mean, 2 * FOLDS, last={"val/loss": folds[-1]}, fold=end)
    return number


BEST = (0.30, 0.50, 0.40, 0.20, 0.60)  # the mean is 0.4, the worst fold 0.6


@pytest.mark.parametrize(
    ("rule", "folds", "dropped_after"),
    [
        ("none", (9.0, 9.0, 9.0, 9.0), None),
        ("forgiving", (0.61,), 1),
        ("forgiving", (0.60, 0.59, 0.55, 0.55), None),
        ("forgiving", (0.50, 0.80), 2),
        ("paired", (0.29, 0.50, 0.40, 0.20), None),
        ("paired", (0.31,), 1),
        ("paired", (0.30, 0.51), 2),
        ("aggressive", (0.41,), 1),
        ("aggressive", (0.40, 0.39, 0.35, 0.30), None),
        ("aggressive", (0.10, 0.50, 0.61), 3),
    ],
)
def test_folds_are_dropped_by_the_mean_so_far(
    rule: str, folds: tuple[float, ...], dropped_after: int | None
) -> None:
    s = session(new_study(), rule)
    complete(s, BEST)
    number = start(s)
    train(s, number, folds)
    trial = s.trials()[number]
    assert len(trial.folds) == (dropped_after or len(folds))
    if dropped_after is None:
        assert trial.state is TrialState.RUNNING
    else:
        assert trial.state is TrialState.PRUNED
        assert trial.reason == f"dropped after fold {dropped_after} of {FOLDS}"


def test_high_values_are_compared_the_other_way() -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    s = session(study, "forgiving")
    complete(s, BEST)  # the worst fold is 0.2
    one, other = start(s), start(s)
    assert train(s, one, [0.21]) is Decision.CONTINUE
    assert train(s, other, [0.19]) is Decision.PRUNE


def test_nothing_is_dropped_before_a_trial_is_complete_nor_of_the_baseline() -> None:
    s = StudySession(
        SweepStudy(new_study()),
        SPACE,
        metric="val/loss",
        max_epochs=EPOCHS,
        folds=FoldPlan(FOLDS, EPOCHS, fold_pruners.parse("aggressive").build(FOLDS)),
    )
    s.prepare(20, [(Role.SEARCH, {**NEUTRAL, "dropout": 0.1}), (Role.BASELINE, NEUTRAL)])
    first, baseline = start(s), start(s)
    assert train(s, first, [9.0]) is Decision.CONTINUE
    complete(s, BEST)
    assert train(s, baseline, [9.0] * 4) is Decision.CONTINUE
    assert train(s, first, [9.0], first=2) is Decision.PRUNE


def test_an_infeasible_trial_is_not_compared_with() -> None:
    bound = Constraint(metric="gap/loss", max=0.1)
    s = session(new_study(), "aggressive", constraints=(bound,))
    number = start(s)
    train(s, number, BEST[:-1])
    end = FoldEpoch(FOLDS, 2, {"val/loss": 0.6, "epoch": 2.0})
    best = {"val/loss": 0.4, "gap/loss": 0.2}
    s.complete(number, best, 2 * FOLDS, last={"val/loss": 0.6}, fold=end)
    assert train(s, start(s), [0.9]) is Decision.CONTINUE


WORSE = (0.42, 0.60, 0.55, 0.27, 0.71)
CLOSE = (0.35, 0.49, 0.47, 0.19, 0.61)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("folds", [WORSE, CLOSE, BEST])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6])
def test_wilcoxon_decides_as_optunas_own_study_of_folds(
    folds: tuple[float, ...], threshold: float
) -> None:
    """The same values in a study that Optuna's documentation would have: a step is a fold."""
    plain = optuna.create_study(
        pruner=WilcoxonPruner(p_threshold=threshold), sampler=optuna.samplers.RandomSampler(seed=0)
    )
    first = plain.ask()
    for fold, value in enumerate(BEST):
        first.report(value, fold)
    plain.tell(first, sum(BEST) / FOLDS)
    expected, second = None, plain.ask()
    for fold, value in enumerate(folds[:-1]):
        second.report(value, fold)
        if second.should_prune():
            expected = fold + 1
            break
    s = session(new_study(), WilcoxonPruner(p_threshold=threshold))
    complete(s, BEST)
    number = start(s)
    train(s, number, folds[:-1])
    trial = s.trials()[number]
    assert (len(trial.folds) if trial.state is TrialState.PRUNED else None) == expected
    if folds is WORSE:
        assert expected == {0.1: 4, 0.3: 2, 0.6: 2}[threshold]


class Notes(BasePruner):
    """A pruner that writes down what it is asked of."""

    def __init__(self) -> None:
        self.asked: list[dict[int, float]] = []

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.asked.append(dict(trial.intermediate_values))
        return False


def test_the_pruner_of_epochs_sees_the_first_fold_and_that_of_folds_their_ends() -> None:
    of_epochs, of_folds = Notes(), Notes()
    study = new_study(of_epochs)
    s = session(study, of_folds)
    number = complete(s, BEST)
    assert of_epochs.asked == [{1: 1.3}, {1: 1.3, 2: 0.3}]
    assert of_folds.asked == [
        dict(enumerate(BEST[:n], start=1)) for n in range(1, FOLDS)
    ]  # not after the last one
    steps = study.trials[number].intermediate_values
    assert list(steps) == [4 * fold + epoch for fold in range(FOLDS) for epoch in (1, 2)]
    assert [steps[4 * fold + 2] for fold in range(FOLDS)] == pytest.approx(
        [sum(BEST[: n + 1]) / (n + 1) for n in range(FOLDS)]
    )


def test_a_trial_that_is_pruned_in_its_first_fold_was_pruned_by_the_study() -> None:
    s = session(new_study(optuna.pruners.ThresholdPruner(upper=1.0)))
    number = start(s)
    decision = s.report(number, 1, {"val/loss": 2.0}, FoldEpoch(1, 1))
    assert decision is Decision.PRUNE
    s.prune(number)
    assert s.trials()[number].reason == "pruned by the study"


def test_a_session_after_a_kill_knows_the_folds_and_decides_what_was_left_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "study.journal"

    def study() -> optuna.Study:
        return optuna.create_study(
            storage=open_journal(journal),
            study_name="folds",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),
        )

    first = session(study(), "forgiving", journal=journal)
    complete(first, BEST)
    bad, good = start(first), start(first)
    assert train(first, good, [0.3, 0.5]) is Decision.CONTINUE
    with monkeypatch.context() as patch:  # the kill comes between the record and the decision
        patch.setattr(StudySession, "_decide_after_fold", _die)
        with pytest.raises(SystemExit):
            train(first, bad, [0.9])
    second = session(study(), "forgiving", journal=journal)
    found = {a.number: a for a in (second.ask(), second.ask()) if a is not None}
    assert {n: a.recorded for n, a in found.items()} == {bad: 2, good: 4}
    assert [len(second.trials()[n].folds) for n in (bad, good)] == [1, 2]
    again = FoldEpoch(1, 2, {"val/loss": 0.9, "epoch": 2.0})  # as a worker repeats its last result
    assert second.report(bad, 2, {"val/loss": 0.9}, again) is Decision.PRUNE
    assert train(second, good, [0.2], first=3) is Decision.CONTINUE
    assert len(second.trials()[good].folds) == 3


def _die(*_: object) -> Decision:
    raise SystemExit


def test_the_end_of_a_fold_may_come_after_its_last_epoch() -> None:
    """A loop of a user's own ends by returning: its last result comes again, as the last one."""
    s = session(new_study(), "aggressive")
    complete(s, BEST)
    number = start(s)
    assert s.report(number, 1, {"val/loss": 0.9}, FoldEpoch(1, 1)) is Decision.CONTINUE
    end = FoldEpoch(1, 1, {"val/loss": 0.9, "epoch": 1.0})
    assert s.report(number, 1, {"val/loss": 0.9}, end) is Decision.PRUNE


def test_a_trial_is_paused_in_its_first_fold_and_goes_on_through_the_others() -> None:
    study = new_study(PromotingPruner(1, 2, 1, EPOCHS))
    s = session(study, "aggressive")
    complete(s, BEST)
    number = start(s)
    assert s.report(number, 1, {"val/loss": 5.0}, FoldEpoch(1, 1)) is Decision.PAUSE
    s.pause(number)
    others = [start(s) for _ in range(2)]
    for other in others:
        assert s.report(other, 1, {"val/loss": 9.0}, FoldEpoch(1, 1)) is Decision.PAUSE
        s.pause(other)
    promoted = s.ask()
    assert promoted is not None
    assert (promoted.number, promoted.recorded) == (number, 1)
    end = FoldEpoch(1, 2, {"val/loss": 0.2, "epoch": 2.0})
    assert s.report(number, 2, {"val/loss": 0.2}, end) is Decision.CONTINUE
    assert s.report(number, 3, {"val/loss": 9.0}, FoldEpoch(2, 1)) is Decision.CONTINUE
    assert len(s.trials()[number].folds) == 1


def test_the_control_of_the_baseline_is_on_each_fold() -> None:
    s = session(new_study())
    number = start(s)
    for fold in range(1, FOLDS + 1):
        end = FoldEpoch(fold, 1, {"val/loss": 0.5, "epoch": 1.0}, {"val/loss": 0.1 * fold})
        if fold < FOLDS:
            s.report(number, fold, {"val/loss": 0.5}, end)
    s.complete(
        number, {"val/loss": 0.5}, FOLDS, {"val/loss": 0.3}, last={"val/loss": 0.5}, fold=end
    )
    trial = s.trials()[number]
    assert [fold["control/val/loss"] for fold in trial.folds] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5]
    )
    viewed = view_control(trial, "val/loss")
    assert viewed.value == 0.3
    assert [dict(fold) for fold in viewed.folds] == [
        {"val/loss": pytest.approx(0.1 * fold)} for fold in range(1, FOLDS + 1)
    ]


RAW: dict[str, Any] = {
    "name": "folds",
    "trainable": "trainables.models:MLP",
    "data": "digits",
    "space": {"preset": "dropout"},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"search": {"folds": 1}}, "greater than or equal to 2"),
        ({"search": {"folds": 101}}, "less than or equal to 100"),
        ({"search": {"fold_pruner": "aggressive"}}, "has no effect without `folds`"),
        ({"search": {"folds": 5, "fold_pruner": "forgivng"}}, "did you mean 'forgiving'?"),
        ({"search": {"folds": 5}, "data": None, "trainable": "mine:loop"}, "needs `data`"),
        ({"search": {"folds": 5}, "trainable": "external"}, "report the mean over them"),
    ],
)
def test_a_spec_that_cannot_have_folds(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({**RAW, **changes}, "spec", Path())
    assert words in str(caught.value)


def test_steps_reach_as_far_as_the_longest_training_of_the_space() -> None:
    space = {"dropout": {"float": [0, 0.5]}, "max_epochs": {"choice": [10, 70, 20]}}
    spec = parse_spec({**RAW, "space": space, "training": {"max_epochs": 30}}, "spec", Path())
    assert spec.most_epochs == 70
