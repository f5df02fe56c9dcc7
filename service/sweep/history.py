"""The history of a sweep: every epoch of every trial, in a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from pydantic import TypeAdapter, ValidationError

from service.base.errors import DamagedFileError
from service.base.files import drop_torn_line
from service.study.events import Observer
from service.study.records import Epoch
from service.sweep.home import SweepFolder

_EPOCH = TypeAdapter(Epoch)


class History(Observer):
    """Appends epochs as they come; an observer of the session."""

    def __init__(self, path: Path) -> None:
        drop_torn_line(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __enter__(self) -> History:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def epoch(self, epoch: Epoch) -> None:
        """Append one line."""
        line = {
            "trial": epoch.trial,
            "epoch": epoch.epoch,
            "time": epoch.time,
            "metrics": dict(epoch.metrics),
        }
        self._file.write(json.dumps(line) + "\n")


def read_history(folder: SweepFolder) -> Mapping[int, tuple[Epoch, ...]]:
    """Read the epochs by trial number, in order; if one was written twice, the first is kept.

    A last line that is not whole is left out.

    Raises:
        DamagedFileError: the file cannot be read, or a line of it is not an epoch.
    """
    found: dict[int, dict[int, Epoch]] = {}
    try:
        with folder.open(folder.history) as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    epoch = _parse_epoch(line, folder, number)
                    found.setdefault(epoch.trial, {}).setdefault(epoch.epoch, epoch)
    except FileNotFoundError:
        return {}
    return {n: tuple(by[e] for e in sorted(by)) for n, by in found.items()}


def _parse_epoch(line: bytes, folder: SweepFolder, number: int) -> Epoch:
    try:
        return _EPOCH.validate_json(line)
    except ValidationError as error:
        place = f"{folder.sweep_id}/{folder.history.name}"
        first = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise DamagedFileError(f"{place} is damaged in line {number}: {first}") from None
