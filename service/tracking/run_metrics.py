"""What the runs of sweeps in MLflow say beside curves: a trial's outcome, a sweep's figures."""

from __future__ import annotations

from mlflow.entities import Metric, RunTag

from service.study.records import Trial
from service.sweep.answer import Answer
from service.sweep.sweep_record import Sweep
from service.tracking.entities import make_metrics, make_tags
from service.tracking.run_tags import NOT_ACTING_TAG, REASON_TAG, STATE_TAG


def list_outcome(trial: Trial) -> list[Metric | RunTag]:
    """A trial's record, but for its parameters and epochs."""
    tested = trial.replicate > 0
    best = {f"best/{k}": v for k, v in trial.best.items() if tested or not is_test(k)}
    best |= {f"control/{k}": v for k, v in trial.control.items() if tested or not is_test(k)}
    if trial.stopped_epoch is not None:
        best["stopped_epoch"] = float(trial.stopped_epoch)
    tags = {STATE_TAG: trial.state.value, REASON_TAG: trial.reason or ""}
    tags |= {f"gapsweep.{name}": value for name, value in trial.ran_on.items()}
    tags |= {NOT_ACTING_TAG: ", ".join(trial.not_acting)} if trial.not_acting else {}
    ended = int(1000 * (trial.ended or 0))
    folds = [
        point
        for number, fold in enumerate(trial.folds if ended else (), start=1)
        for point in make_metrics({f"folds/{k}": v for k, v in fold.items()}, ended, number)
    ]
    return [*make_metrics(best, ended, 0), *folds, *make_tags(tags)]


def is_test(metric: str) -> bool:
    """Whether a metric was measured on the test split."""
    return metric.startswith(("test/", "test_gap/"))


def list_finalist_metrics(sweep: Sweep) -> dict[str, float]:
    """The figures of the baseline, the control and the best trial: ``best/val/loss`` and alike."""
    finalists = {"baseline": sweep.baseline, "control": sweep.control, "best": sweep.best}
    return {
        f"{role}/{name}": value
        for role, trial in finalists.items()
        if trial is not None
        for name, value in trial.best.items()
    }


def list_audit_metrics(answer: Answer | None) -> dict[str, float]:
    """The audit of the pruner in numbers: ``audit/strong/regret`` and alike."""
    audit = None if answer is None else answer.audit
    if audit is None:
        return {}
    groups = {"": audit.overall, "strong/": audit.strong, "weak/": audit.weak}
    names = ("pruned", "audited", "better", "share", "regret")
    found = {f"audit/{p}{n}": getattr(group, n) for p, group in groups.items() for n in names}
    return {name: float(value) for name, value in found.items() if value is not None}
