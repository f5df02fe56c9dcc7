"""Reads a sweep from its folder. What lies there may be damaged, or a stranger's."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from service.base.errors import (
    ConflictError,
    DamagedFileError,
    GapsweepError,
    NotReadyError,
    RateLimitError,
    SpecError,
)
from service.spec.model import SweepSpec
from service.spec.stored import build_stored_spec, read_stored_spec
from service.sweep.answer import Answer
from service.sweep.asked import Claims
from service.sweep.fingerprint import read_records
from service.sweep.history import read_history
from service.sweep.home import SweepFolder
from service.sweep.inspection import Inspection
from service.sweep.refit_record import Refit, read_refit
from service.sweep.summary import Summary, summarise
from service.sweep.sweep_record import Sweep, SweepState

if TYPE_CHECKING:
    from service.study.study import SweepStudy


def read_sweep(folder: SweepFolder) -> tuple[SweepSpec, SweepStudy, Sweep]:
    """Read the spec, the study and every trial of a sweep, running or not.

    Raises:
        NotReadyError: the sweep was stopped before its first trial.
        ConflictError: a newer gapsweep has written its folder.
        DamagedFileError: one of its files cannot be used.
    """
    folder.check_format()
    spec = load_stored_spec(folder)
    study, sweep = read_trials_of(spec, folder, read_state(folder))
    return spec, study, sweep


def read_trials_of(
    spec: SweepSpec, folder: SweepFolder, state: SweepState
) -> tuple[SweepStudy, Sweep]:
    """Read the study and every trial of a sweep whose spec and state the caller knows.

    Raises:
        NotReadyError, ConflictError, DamagedFileError: as :func:`read_sweep`.
    """
    from service.study.study import read_study  # Optuna is only needed to open a study

    folder.check_format()
    if not _has_begun(folder):
        raise NotReadyError(f"{folder.sweep_id} has not started a trial; resume it first")
    with blame(folder, folder.journal):
        study = read_study(spec, partial(folder.open, folder.journal))
        return study, assemble(spec, study, folder, state)


def read_sampled_spec(spec: SweepSpec, folder: SweepFolder) -> SweepSpec:
    """A sweep's spec with the space that its study samples; as it is before the first trial.

    Raises:
        DamagedFileError: the study cannot be used.
    """
    with blame(folder, folder.journal):
        study = _read_study_if_begun(spec, folder)
        return spec if study is None else spec.with_space(study.space)


def has_ranges(spec: SweepSpec, folder: SweepFolder) -> bool:
    """Whether a session of the sweep has stored what its ranges of λ mean.

    Raises:
        DamagedFileError: the study cannot be used.
    """
    with blame(folder, folder.journal):
        study = _read_study_if_begun(spec, folder)
        return study is not None and study.attributes.ranges is not None


def _read_study_if_begun(spec: SweepSpec, folder: SweepFolder) -> SweepStudy | None:
    """The sweep's study, for reading; None before it was created."""
    from service.study.study import read_study

    if not _has_begun(folder):
        return None
    return read_study(spec, partial(folder.open, folder.journal))


def _has_begun(folder: SweepFolder) -> bool:
    """Whether the sweep's study was created.

    Raises:
        DamagedFileError: the journal is not a file that can be read.
    """
    try:
        with folder.open(folder.journal) as file:
            return b"\n" in file.readline(_LONGEST_ENTRY)
    except FileNotFoundError:
        return False


_LONGEST_ENTRY = 2**20
"""Bytes of a journal's first line."""


@contextmanager
def blame(folder: SweepFolder, path: Path) -> Iterator[None]:
    """Turn whatever an unusable file makes a parser raise into an error that names the file.

    Raises:
        DamagedFileError: the block raised something else than an error of gapsweep.
    """
    try:
        yield
    except (DamagedFileError, NotReadyError, RateLimitError):
        raise
    except FileNotFoundError:
        raise DamagedFileError(f"{folder.sweep_id}/{path.name} is missing") from None
    except Exception as error:  # a stranger's file can make a parser raise anything
        first = (str(error).splitlines() or [""])[0][:200]
        kind = "" if isinstance(error, GapsweepError) else f"{type(error).__name__}: "
        raise DamagedFileError(
            f"{folder.sweep_id}/{path.name} is damaged ({kind}{first})"
        ) from error


def load_stored_spec(folder: SweepFolder) -> SweepSpec:
    """The spec of a sweep's folder, of an older format as well.

    Before format 2 a sweep was not confirmed unless its spec said so, and its budget of trials
    included those of the confirmation.

    Raises:
        ConflictError: a newer gapsweep has written the folder.
        DamagedFileError: the spec is missing, or is not one.
    """
    source = f"{folder.sweep_id}/{folder.spec.name}"
    with blame(folder, folder.spec):
        raw = read_stored_spec(folder.read(folder.spec), source)
        if folder.read_format() < 2:
            confirm = raw.setdefault("confirm", None)
            if confirm and "seeds" in confirm:
                raw["budget"]["trials"] -= confirm["seeds"] * (confirm["top_k"] + 1)
        try:
            return build_stored_spec(raw, source, folder.path)
        except SpecError as error:
            raise DamagedFileError(
                f"{source} is not a valid spec: {'; '.join(map(str, error.problems[:3]))}"
            ) from None


def assemble(spec: SweepSpec, study: SweepStudy, folder: SweepFolder, state: SweepState) -> Sweep:
    """A sweep from its open study and its files, in a state that the caller knows.

    Raises:
        DamagedFileError: the history cannot be used.
    """
    attributes, records = study.attributes, read_records(folder)
    stored, seen = attributes.answer, attributes.inspection
    return Sweep.of(
        spec.with_space(study.space),
        sweep_id=folder.sweep_id,
        state=state,
        seconds=attributes.seconds,
        trials=study.trials(read_history(folder)),
        answer=None if stored is None else Answer.model_validate(stored),
        inspection=None if seen is None else Inspection.model_validate(seen),
        changes=tuple(w for r in records if (w := r.describe())),
        not_neutral=attributes.not_neutral,
        ranges=attributes.ranges or (),
        idle_ranges=attributes.idle_ranges,
        reading=records[-1].reading if records else (),
        refit=_find_refit(folder),
        search_end=attributes.search_end,
        repeats=study.count_repeats(),
        declared=spec.space,
    )


def _find_refit(folder: SweepFolder) -> Refit | None:
    """The sweep's refit; None where its card cannot be used, which `gapsweep refit` says."""
    try:
        return read_refit(folder)
    except (DamagedFileError, ConflictError):
        return None


def read_state(folder: SweepFolder) -> SweepState:
    """Read the state of a sweep: running while its lock is held, else as in its last summary.

    Raises:
        DamagedFileError: the lock or the summary cannot be used.
    """
    if _is_locked(folder) or Claims(folder).list_held():
        return SweepState.RUNNING
    summary = find_summary(folder)
    return SweepState.INTERRUPTED if summary is None else summary.state


def _is_locked(folder: SweepFolder) -> bool:
    """Whether a process runs the sweep. The file is not written: it may be another user's."""
    try:
        with folder.open(folder.path / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def find_summary(folder: SweepFolder) -> Summary | None:
    """The summary that the last session wrote when it ended; None if there is none.

    Raises:
        DamagedFileError: it cannot be used.
    """
    with blame(folder, folder.summary):
        try:
            return Summary.model_validate_json(folder.read(folder.summary))
        except FileNotFoundError:
            return None


def read_current_summary(folder: SweepFolder) -> Summary:
    """Return a sweep's current summary: from its file if it has ended, else from its study.

    Raises:
        NotReadyError, ConflictError, DamagedFileError: as :func:`read_sweep`.
    """
    folder.check_format()
    if not _is_locked(folder):
        found = find_summary(folder)
        if found is not None:
            return found
    _, _, sweep = read_sweep(folder)
    return summarise(sweep, folder)
