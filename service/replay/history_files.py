"""Finds the histories that a command names."""

from __future__ import annotations

from pathlib import Path

from service.base.errors import InputError
from service.replay.recorded_sweep import History, read_folder
from service.replay.table_file import read_table
from service.sweep.home import Home, SweepFolder


def open_history(reference: str, home: Home) -> History:
    """The history in a sweep's folder, in a file, or of a sweep of the home.

    Raises:
        InputError: there is none, or it cannot be replayed.
    """
    path = Path(reference)
    if path.is_dir():
        folder = SweepFolder(path.resolve())
        if folder.has_nothing_at(folder.spec):
            table = min(path.glob("*.npz"), default=None)
            hint = "" if table is None else f"; name a file in it, for example {table}"
            raise InputError(f"{path} is not the folder of a sweep: it has no spec.yaml{hint}")
        return read_folder(folder)
    if path.is_file():
        return read_table(path)
    if path.suffix == ".npz" or path.name != reference:
        raise InputError(f"{path}: no such file or folder")
    return read_folder(home.find(reference))
