"""Reads the trials of a study as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as StudyTrialState

from search_spaces.space import SearchSpace
from service.study.attributes import Finding, StudyAttributes, TrialAttributes, is_paused
from service.study.ranking import CONTROL_PREFIX
from service.study.records import Epoch, Trial, TrialState
from service.study.sampled_space import read_space

_STATES = {
    StudyTrialState.RUNNING: TrialState.RUNNING,
    StudyTrialState.COMPLETE: TrialState.COMPLETE,
    StudyTrialState.PRUNED: TrialState.PRUNED,
    StudyTrialState.FAIL: TrialState.FAILED,
}


def read_trials(
    study: optuna.Study, epochs: Mapping[int, Sequence[Epoch]] | None = None
) -> tuple[Trial, ...]:
    """Read every started trial of a study as a record, by number, with its ``epochs`` if given."""
    started = (t for t in list_frozen_trials(study) if t.state is not StudyTrialState.WAITING)
    findings, space = StudyAttributes.of(study).findings, read_space(study)
    return tuple(
        _add_finding(read_trial(t, (epochs or {}).get(t.number, ()), space), findings.get(t.number))
        for t in started
    )


def _add_finding(trial: Trial, found: Finding | None) -> Trial:
    if found is None:
        return trial
    marked = {k: v for k, v in found.metrics.items() if k.startswith(CONTROL_PREFIX)}
    own = {k: v for k, v in found.metrics.items() if k not in marked}
    control = {k.removeprefix(CONTROL_PREFIX): v for k, v in marked.items()}
    return replace(
        trial,
        best={**trial.best, **own},
        control={**trial.control, **control},
        anatomy=found.anatomy,
        control_anatomy=found.control,
        errors=found.errors,
    )


def read_trial(
    frozen: FrozenTrial, epochs: Sequence[Epoch] = (), space: SearchSpace | None = None
) -> Trial:
    """Read one trial of a study, which samples this ``space``, as a record."""
    attributes = TrialAttributes.of(frozen)
    drawn = frozen.params if space is None else space.name_values(frozen.params)
    complete = frozen.state is StudyTrialState.COMPLETE
    return Trial(
        number=frozen.number,
        state=TrialState.PAUSED if is_paused(frozen) else _STATES[frozen.state],
        role=attributes.role,
        params=drawn if attributes.params is None else attributes.params,
        value=frozen.value if complete else None,
        best=attributes.best,
        stopped_epoch=attributes.stopped_epoch,
        violation=sum(max(0.0, c) for c in frozen.constraints.values()) if complete else None,
        reason=attributes.reason,
        confirms=attributes.confirms,
        seed=attributes.seed,
        replicate=attributes.replicate,
        without=attributes.without,
        redraws_test=attributes.redraws_test,
        control=attributes.control,
        not_acting=attributes.not_acting,
        folds=attributes.folds,
        ran_on=attributes.ran_on,
        seconds=attributes.seconds,
        started=frozen.datetime_start.timestamp() if frozen.datetime_start else None,
        ended=frozen.datetime_complete.timestamp() if frozen.datetime_complete else None,
        epochs=tuple(epochs),
    )


def list_frozen_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the study's own trials, not copies: the caller must not change them."""
    return study.get_trials(deepcopy=False)
