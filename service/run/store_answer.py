"""The end of a sweep whose trials are done: its answer, and what is measured of its finalists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from service.answer.audit import measure_audit
from service.answer.conclude import conclude
from service.answer.planner import Planner
from service.answer.unconfirmed import leave_unconfirmed
from service.run.evidence import Evidence
from service.spec.model import SweepSpec
from service.study.session import StudySession
from service.sweep.answer import Answer
from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep


def store_answer(
    spec: SweepSpec,
    evidence: Evidence,
    folder: SweepFolder,
    trials: StudySession,
    planner: Planner | None,
    read: Callable[[], Sweep],
) -> Sweep:
    """Store the answer and what is measured when no choice is left to make; the sweep with both.

    ``read`` reads the sweep as it is stored. Weights that nobody needs any more are deleted.
    """
    study = trials.study
    answer = _conclude(spec, evidence, folder, planner, read())
    study.store(replace(study.attributes, answer=answer.model_dump(mode="json")))
    sweep = read()
    for number, finding in evidence.measure_finalists(spec, folder, sweep):
        trials.record_finalist(number, finding)
    inspection = evidence.inspect_finalists(spec, folder, sweep)
    study.store(replace(study.attributes, inspection=inspection.model_dump(mode="json")))
    _drop_weights(sweep, folder)
    return read()


def _conclude(
    spec: SweepSpec,
    evidence: Evidence,
    folder: SweepFolder,
    planner: Planner | None,
    sweep: Sweep,
) -> Answer:
    def measure_error() -> float | None:
        return evidence.measure_difference(spec, folder, sweep)

    if planner is None:
        answer = leave_unconfirmed(sweep.ranking, sweep.trials, measure_error(), "confirm is off")
    else:
        on = evidence.division
        answer = conclude(planner, sweep.trials, on=on, measure_error=measure_error)
    audit = measure_audit(sweep.ranking, sweep.trials, spec.neutral) if spec.audit else None
    found = {"target_scale": evidence.find_target_scale(), "audit": audit}
    return answer.model_copy(update=found)


def _drop_weights(sweep: Sweep, folder: SweepFolder) -> None:
    """Delete all weights except those of the baseline, the control and the finalists."""
    wanted = {t.number for t in (sweep.baseline, sweep.control, sweep.best) if t is not None}
    wanted |= {arm.trial for arm in sweep.answer.arms} if sweep.answer else set()
    for trial in sweep.trials:
        if trial.number not in wanted:
            folder.drop_trial(trial.number)
