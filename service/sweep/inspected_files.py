"""What trainings found of their own weights at their end, in files of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from pydantic import TypeAdapter

from service.base.errors import DamagedFileError
from service.base.files import write_atomically
from service.sweep.home import SweepFolder
from trainables.config.inspection import Inspected

BEST, CONTROL = "best", "control"
"""The weights that were kept, and those at the epoch that early stopping would have kept."""

_ADAPTER: TypeAdapter[dict[str, Inspected]] = TypeAdapter(dict[str, Inspected])


def write_inspected(folder: SweepFolder, number: int, found: Mapping[str, Inspected]) -> None:
    """Write what a trial found, by which weights it is of."""
    path = folder.inspected(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({name: asdict(value) for name, value in found.items()}))


def read_inspected(folder: SweepFolder, number: int) -> Mapping[str, Inspected]:
    """What a trial found; empty if its file is missing or cannot be used."""
    try:
        return _ADAPTER.validate_python(json.loads(folder.read(folder.inspected(number))))
    except (FileNotFoundError, DamagedFileError, ValueError):
        return {}
