"""What is trained again on all samples once a sweep has its answer, and for how many epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from service.base.errors import NotReadyError
from service.study.records import Params, Role, Trial, TrialState
from service.sweep.answer import Answer, Claim
from service.sweep.answer import Arm as ArmRecord
from service.sweep.sweep_record import Sweep
from trainables.config.regularisers import Averaging
from trainables.config.trial_parameters import EARLY_STOPPING, list_parts

if TYPE_CHECKING:
    from service.spec.model import SweepSpec

PICK, CONTROL = "pick", "control"
_PLAIN = (Role.BASELINE, Role.CONTROL)
"""Trainings without any regulariser."""


@dataclass(frozen=True, kw_only=True)
class RefitPlan:
    """A configuration, what it is trained without, and for how many epochs.

    ``trial`` is the trial of the search that it is from; ``baseline`` marks a training without any
    regulariser. ``kept_epochs`` are those that its trainings kept, ``replicates`` says whether
    these are replicates. ``arm`` is its arm in the answer, None for an unconfirmed one. ``what``
    says in a sentence what is trained and why.
    """

    trial: int
    params: Params
    without: tuple[str, ...]
    baseline: bool
    epochs: int
    kept_epochs: tuple[int, ...]
    replicates: bool
    arm: ArmRecord | None
    what: str


def plan_refit(spec: SweepSpec, sweep: Sweep) -> RefitPlan:
    """The pick of the answer; the control where the answer is that no regulariser matters.

    Epochs are the median of those that the replicates kept, and the training does not stop early:
    there are no validation samples left to watch. They are epochs and not steps. The learning rate
    and λ are functions of the epoch, so that both are at each epoch what they were in the
    replicates, while an epoch has more steps, as there are more samples; a median over replicates
    is less of an accident than one training's best epoch. Which of both is better is not settled
    (Goodfellow, Bengio & Courville 2016, Deep Learning, section 7.8, algorithm 7.2 and the text
    after it).

    Raises:
        NotReadyError: no trial has completed.
    """
    answer = sweep.answer
    confirmed = answer is not None and answer.claim is not Claim.UNCONFIRMED
    if answer is not None and confirmed:
        name = CONTROL if answer.claim is Claim.NOT_SHOWN else PICK
        arm = answer.find_arm(name)
        trainings = _list_trainings(sweep, arm)
        if arm is not None and trainings:
            return _plan_arm(spec, arm, trainings, answer)
    best = _find_best(sweep)
    if best is None:
        raise NotReadyError(
            f"{sweep.sweep_id} has no completed trial, so there is nothing to refit"
        )
    return _plan_trial(spec, best, answer, sweep)


def _find_best(sweep: Sweep) -> Trial | None:
    """The best trial; where none that regularises has completed, the best of the others."""
    best = sweep.best
    if best is None or best.role not in _PLAIN:
        return best
    plain = sweep.ranking.find_control(sweep.trials) or best
    return next(t for t in sweep.trials if t.number == plain.number)


def _plan_arm(
    spec: SweepSpec, arm: ArmRecord, trainings: Sequence[Trial], answer: Answer
) -> RefitPlan:
    is_control = arm.name == CONTROL
    params, kept = trainings[0].params, _list_epochs(trainings)
    return RefitPlan(
        trial=arm.trial,
        params=params,
        without=_leave_out(spec, arm.without, trainings),
        baseline=is_control,
        epochs=_average(kept),
        kept_epochs=kept,
        replicates=True,
        arm=arm,
        what=_describe_arm(spec, arm, params, answer),
    )


def _plan_trial(spec: SweepSpec, best: Trial, answer: Answer | None, sweep: Sweep) -> RefitPlan:
    kept = _list_epochs([best])
    reason = f"the sweep is {sweep.state.value}" if answer is None else answer.reason
    return RefitPlan(
        trial=best.number,
        params=best.params,
        without=_leave_out(spec, (), [best]),
        baseline=best.role in _PLAIN,
        epochs=_average(kept),
        kept_epochs=kept,
        replicates=False,
        arm=None,
        what=(
            f"Trial {best.number}, the best of the search. It is not confirmed"
            f"{f': {reason}' if reason else ''}.{_note_plain(spec, best.params, ())}"
        ),
    )


def _list_trainings(sweep: Sweep, arm: ArmRecord | None) -> list[Trial]:
    """The completed replicates of an arm."""
    if arm is None:
        return []
    return [
        t
        for t in sweep.trials
        if (t.confirms, t.without) == (arm.trial, arm.without)
        and t.role in (Role.REPLICATE, Role.REMOVAL)
        and t.state is TrialState.COMPLETE
        and not t.redraws_test
    ]


def _list_epochs(trainings: Sequence[Trial]) -> tuple[int, ...]:
    return tuple(_read_epoch(t) for t in trainings)


def _average(kept: Sequence[int]) -> int:
    """The median, rounded up."""
    return max(1, int(median(kept) + 0.5))


def _read_epoch(trial: Trial) -> int:
    """The epoch of the weights that count: of a control those that early stopping keeps."""
    metrics = trial.control or trial.best
    return int(metrics.get("epoch", trial.stopped_epoch or len(trial.epochs) or 1))


def _leave_out(
    spec: SweepSpec, without: Sequence[str], trainings: Sequence[Trial]
) -> tuple[str, ...]:
    """The parts that it is trained without: early stopping, and averages that none has kept."""
    averaging = Averaging.part()
    idle = all(averaging in t.not_acting for t in trainings)
    more = (EARLY_STOPPING,) if spec.early_stopping else ()
    return tuple(dict.fromkeys((*without, *more, *((averaging,) if idle else ()))))


def _describe_arm(spec: SweepSpec, arm: ArmRecord, params: Params, answer: Answer) -> str:
    if arm.name == CONTROL:
        return (
            "No regularisation, apart from the number of epochs: the answer is that no useful "
            f"effect of the pick, trial {answer.pick}, is shown."
        )
    left_out = f" without {', '.join(arm.without)}" if arm.without else ""
    claim = {
        Claim.HELPS: "which helps",
        Claim.UNDECIDED: "of which neither an effect nor its absence is shown",
    }[answer.claim]
    return (
        f"The pick, trial {arm.trial}{left_out}, {claim}.{_note_plain(spec, params, arm.without)}"
    )


def _note_plain(spec: SweepSpec, params: Params, without: Sequence[str]) -> str:
    left = {*list_parts(spec, params)} - {EARLY_STOPPING, *without}
    return "" if left else " It has no regulariser."
