"""The history of a sweep: every epoch of every trial, in a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from service.base.files import drop_torn_line
from service.study.events import Observer
from service.study.records import Epoch


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
        self._file.write(json.dumps(asdict(epoch)) + "\n")


def read_history(path: Path) -> Mapping[int, tuple[Epoch, ...]]:
    """Read the epochs by trial number, in order; if one was written twice, the first is kept."""
    found: dict[int, dict[int, Epoch]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                epoch = Epoch(**json.loads(line))
                found.setdefault(epoch.trial, {}).setdefault(epoch.epoch, epoch)
    return {n: tuple(by[e] for e in sorted(by)) for n, by in found.items()}
