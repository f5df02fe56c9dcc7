"""Reads a sweep from its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from service.base.errors import InputError
from service.spec.file import parse_spec, read_raw_spec
from service.spec.model import SweepSpec
from service.sweep.answer import Answer
from service.sweep.fingerprint import read_records
from service.sweep.history import read_history
from service.sweep.home import SweepFolder
from service.sweep.summary import Summary, summarise
from service.sweep.sweep_record import Sweep, SweepState

if TYPE_CHECKING:
    from service.study.study import SweepStudy


def read_sweep(folder: SweepFolder) -> tuple[SweepSpec, SweepStudy, Sweep]:
    """Read the spec, the study and every trial of a sweep, running or not.

    Raises:
        InputError: the sweep was stopped before its study was created, or a newer gapsweep has
            written its folder.
    """
    from service.study.study import read_study  # Optuna is only needed to open a study

    folder.check_format()
    spec = load_stored_spec(folder)
    if not folder.journal.exists():
        raise InputError(f"{folder.sweep_id} has not started a trial; resume it first")
    study = read_study(spec, folder.journal)
    return spec, study, assemble(spec, study, folder, read_state(folder))


def load_stored_spec(folder: SweepFolder) -> SweepSpec:
    """The spec of a sweep's folder, of an older format as well.

    Before format 2 a sweep was not confirmed unless its spec said so, and its budget of trials
    included those of the confirmation.
    """
    raw = read_raw_spec(folder.spec)
    if folder.read_format() < 2:
        confirm = raw.setdefault("confirm", None)
        if confirm and "seeds" in confirm:
            raw["budget"]["trials"] -= confirm["seeds"] * (confirm["top_k"] + 1)
    return parse_spec(raw, str(folder.spec), folder.path)


def assemble(spec: SweepSpec, study: SweepStudy, folder: SweepFolder, state: SweepState) -> Sweep:
    """A sweep from its open study and its files, in a state that the caller knows."""
    stored = study.attributes.answer
    return Sweep.of(
        spec,
        sweep_id=folder.sweep_id,
        state=state,
        seconds=study.attributes.seconds,
        trials=study.trials(read_history(folder.history)),
        answer=None if stored is None else Answer.model_validate(stored),
        changes=tuple(w for r in read_records(folder.fingerprints) if (w := r.describe())),
    )


def read_state(folder: SweepFolder) -> SweepState:
    """Read the state of a sweep: running while its lock is held, else as in its last summary."""
    lock = FileLock(folder.path / "lock", timeout=0)
    try:
        with lock:
            pass
    except Timeout:
        return SweepState.RUNNING
    if not folder.summary.exists():
        return SweepState.INTERRUPTED
    return read_summary(folder).state


def read_summary(folder: SweepFolder) -> Summary:
    """Read the summary that the last session wrote when it ended."""
    return Summary.model_validate_json(folder.summary.read_text(encoding="utf-8"))


def read_current_summary(folder: SweepFolder) -> Summary:
    """Return a sweep's current summary: from its file if it has ended, else from its study.

    Raises:
        InputError: the sweep was stopped before its study was created, or a newer gapsweep has
            written its folder.
    """
    folder.check_format()
    if folder.summary.exists() and read_state(folder) is not SweepState.RUNNING:
        return read_summary(folder)
    _, _, sweep = read_sweep(folder)
    return summarise(sweep, folder)
