"""A sweep read back from its folder: the study and the files are all there is to know."""

from __future__ import annotations

import optuna
from filelock import FileLock, Timeout

from service.base.errors import InputError
from service.spec.file import load_spec
from service.spec.model import SweepSpec
from service.study.records import Sweep, SweepState
from service.study.study import read_study
from service.study.trial_reader import read_trials
from service.sweep.history import read_history
from service.sweep.home import SweepFolder
from service.sweep.summary import Summary
from service.sweep.time_budget import spent


def read_sweep(folder: SweepFolder) -> tuple[SweepSpec, optuna.Study, Sweep]:
    """The spec, the study and every trial of a sweep, running or not.

    Raises:
        InputError: the sweep was stopped before its study was there.
    """
    spec = load_spec(folder.spec)
    if not folder.journal.exists():
        raise InputError(f"{folder.sweep_id} has not started a trial; resume it first")
    study = read_study(spec, folder.journal)
    return spec, study, assemble(spec, study, folder, state_of(folder))


def assemble(spec: SweepSpec, study: optuna.Study, folder: SweepFolder, state: SweepState) -> Sweep:
    """A sweep from its open study and its files, in a state that the caller knows."""
    return Sweep(
        sweep_id=folder.sweep_id,
        name=spec.name,
        state=state,
        seconds=spent(study),
        metric=spec.objective.metric,
        mode=spec.objective.mode,
        max_epochs=spec.training.max_epochs,
        trials=read_trials(study, read_history(folder.history)),
        one_standard_error=spec.confirm is not None and spec.confirm.pick == "one_standard_error",
    )


def state_of(folder: SweepFolder) -> SweepState:
    """How a sweep stands: running while a process holds it, else what its summary says last."""
    lock = FileLock(folder.path / "lock", timeout=0)
    try:
        with lock:
            pass
    except Timeout:
        return SweepState.RUNNING
    if not folder.summary.exists():
        return SweepState.INTERRUPTED
    return Summary.model_validate_json(folder.summary.read_text(encoding="utf-8")).state
