"""Removes the folders of sweeps, in two steps that may be interrupted.

A folder is first set aside by a new name, at once and whole, so that no command finds half a sweep;
what was set aside is then deleted, by this process or by the next one that deletes something.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from service.sweep.home import Home

_ASIDE = ".deleting-"


def set_aside(home: Home, sweep_id: str) -> None:
    """Take a sweep's folder, if there is one, out of the home's sweeps.

    Raises:
        OSError: it cannot be renamed.
    """
    path = home.sweep(sweep_id).path
    if path.exists() or path.is_symlink():
        delete_aside(home, sweep_id)  # of a sweep whose folder was made again
        path.rename(_locate(home, sweep_id))


def list_aside(home: Home) -> tuple[str, ...]:
    """The ids of the sweeps that were set aside."""
    found = (home.path / "sweeps").glob(f"{_ASIDE}*")
    return tuple(sorted(path.name.removeprefix(_ASIDE) for path in found))


def delete_aside(home: Home, sweep_id: str) -> None:
    """Delete the folder of a sweep that was set aside, if there is one; no link is followed.

    Raises:
        OSError: it cannot be deleted.
    """
    path = _locate(home, sweep_id)
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _locate(home: Home, sweep_id: str) -> Path:
    return home.path / "sweeps" / f"{_ASIDE}{sweep_id}"
