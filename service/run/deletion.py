"""Deletes sweeps of this machine: their folders, and their runs in MLflow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from service.base.errors import ConflictError, HomeError
from service.base.sweep_ids import resolve_sweep
from service.sweep.environment import get_artifact_location, get_mlflow_uri
from service.sweep.folder_removal import delete_aside, list_aside, set_aside
from service.sweep.home import Home, SweepFolder


def find_unchanged(home: Home, days: float) -> tuple[SweepFolder, ...]:
    """The sweeps that no process has written to for so many days, the oldest first.

    Those of a service are left to it.
    """
    before = time.time() - 86_400.0 * days
    return tuple(f for f in home.list_all() if _find_last_change(f) < before and not _is_remote(f))


def find_folder(home: Home, reference: str) -> SweepFolder:
    """A sweep by its id, an unambiguous beginning of one, or ``latest``, damaged or not.

    Raises:
        SweepNotFoundError: no sweep, or several, match.
    """
    ids = [folder.sweep_id for folder in home.list_all()]
    return home.sweep(resolve_sweep(reference, ids, f"in {home.path}"))


def check_deletable(folder: SweepFolder) -> None:
    """Check that a sweep may be deleted here.

    Raises:
        ConflictError: it is a service's.
        SweepBusyError: a process runs it.
    """
    if _is_remote(folder):
        raise ConflictError(
            f"{folder.sweep_id} was run by a service, which has records of it: delete it there, "
            "with --server URL; if that service no longer exists, delete the folder "
            f"{folder.path}"
        )
    if folder.has_plain_folder():
        with folder.lock():
            pass


def delete_sweep(home: Home, folder: SweepFolder) -> None:
    """Delete a sweep; if it is interrupted, :func:`finish_deletions` does the rest.

    Raises:
        ConflictError, SweepBusyError: as :func:`check_deletable`.
        HomeError: the folder cannot be deleted.
        ServerError: MLflow does not answer; the sweep is gone from the lists already.
    """
    check_deletable(folder)
    try:
        if folder.has_plain_folder():
            with folder.lock():
                set_aside(home, folder.sweep_id)
        else:
            set_aside(home, folder.sweep_id)
    except OSError as error:
        raise _unwritable(folder.path, error) from None
    _finish(home, folder.sweep_id)


def finish_deletions(home: Home) -> Sequence[str]:
    """Delete what is left of deletions that were interrupted; the ids of their sweeps.

    Raises:
        HomeError, ServerError: as :func:`delete_sweep`.
    """
    found = list_aside(home)
    for sweep_id in found:
        _finish(home, sweep_id)
    return found


def _finish(home: Home, sweep_id: str) -> None:
    """Remove the runs first: the folder says that there may be some."""
    uri = get_mlflow_uri(home)
    if uri is not None:
        from service.tracking.run_removal import remove_runs  # it takes a second to import

        remove_runs(uri, get_artifact_location(home), sweep_id)
    try:
        delete_aside(home, sweep_id)
    except OSError as error:
        raise _unwritable(home.path / "sweeps", error) from None


def _is_remote(folder: SweepFolder) -> bool:
    return folder.has(folder.driver_log) or folder.has(folder.driver_file)


def _find_last_change(folder: SweepFolder) -> float:
    """When a sweep's files were last written."""
    written = (folder.spec, folder.journal, folder.history, folder.summary)
    return max(map(_get_time, written)) or _get_time(folder.path)


def _get_time(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _unwritable(path: Path, error: OSError) -> HomeError:
    return HomeError(f"{path} cannot be deleted ({error.strerror})")
