"""A study's trials as records: what anybody may read of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as StudyTrialState

from service.study.records import Epoch, Role, Trial, TrialState
from trainables.analysis.anatomy import Anatomy

_STATES = {
    StudyTrialState.RUNNING: TrialState.RUNNING,
    StudyTrialState.COMPLETE: TrialState.COMPLETE,
    StudyTrialState.PRUNED: TrialState.PRUNED,
    StudyTrialState.FAIL: TrialState.FAILED,
}


def read_trials(
    study: optuna.Study, epochs: Mapping[int, Sequence[Epoch]] | None = None
) -> tuple[Trial, ...]:
    """Every started trial of a study as a record, by number, with its ``epochs`` if given."""
    started = (t for t in frozen_trials(study) if t.state is not StudyTrialState.WAITING)
    finalists = study.user_attrs.get("finalists", {})
    return tuple(
        _with_findings(read_trial(t, (epochs or {}).get(t.number, ())), finalists) for t in started
    )


def _with_findings(trial: Trial, finalists: Mapping[str, Any]) -> Trial:
    found = finalists.get(str(trial.number))
    if found is None:
        return trial
    best = {**trial.best, **found["metrics"]}
    return replace(trial, best=best, anatomy=Anatomy.from_dict(found["anatomy"]))


def read_trial(frozen: FrozenTrial, epochs: Sequence[Epoch] = ()) -> Trial:
    """One trial of a study as a record."""
    attrs = frozen.user_attrs
    complete = frozen.state is StudyTrialState.COMPLETE
    return Trial(
        number=frozen.number,
        state=_STATES[frozen.state],
        role=Role(attrs.get("role", Role.SEARCH.value)),
        params=attrs.get("params", frozen.params),
        value=frozen.value if complete else None,
        best=attrs.get("best", {}),
        stopped_epoch=attrs.get("stopped_epoch"),
        violation=sum(max(0.0, c) for c in frozen.constraints.values()) if complete else None,
        reason=attrs.get("reason"),
        confirms=attrs.get("confirms"),
        seed=attrs.get("seed"),
        ran_on=attrs.get("ran_on", {}),
        seconds=float(attrs.get("seconds", 0.0)),
        started=frozen.datetime_start.timestamp() if frozen.datetime_start else None,
        ended=frozen.datetime_complete.timestamp() if frozen.datetime_complete else None,
        epochs=tuple(epochs),
    )


def frozen_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The study's own, not copied: to be read only."""
    return study.get_trials(deepcopy=False)
