"""The folder of a new sweep, with its spec."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from service.base.disk import explain_full_disk
from service.base.files import write_atomically
from service.spec.file import dump_spec
from service.spec.model import SweepSpec
from service.sweep.home import Home, SweepFolder


def create_sweep(
    spec: SweepSpec, home: Home, import_paths: Sequence[str], *, asked: bool = False
) -> SweepFolder:
    """Create the folder of a new sweep with its spec; ``asked`` if loops elsewhere train it.

    Raises:
        HomeError: the home cannot be written.
        DiskFullError: its disk is full; nothing of the sweep is left there.
    """
    with explain_full_disk(
        home.path,
        "the sweep was not started, and nothing of it is left; free some space and try again",
    ):
        folder = home.create().new_sweep(spec.name)
        try:
            if asked:
                folder.asked.mkdir()
            return write_sweep_files(folder, spec, import_paths)
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise


def write_sweep_files(
    folder: SweepFolder, spec: SweepSpec, import_paths: Sequence[str]
) -> SweepFolder:
    """Write a sweep's files into its folder, the spec last: it marks the folder as complete."""
    folder.write_format()
    folder.origin.write_text("\n".join(import_paths), encoding="utf-8")
    write_atomically(folder.spec, dump_spec(spec))
    return folder
