"""The journal of a study, for its one writer."""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

SYNC_PERIOD = 1.0
"""Seconds between two times at which what was appended is forced to the disk."""


class JournalFile(BaseJournalBackend):
    """Appends to a journal and reads it, for one storage whose process holds the sweep's lock.

    An entry is one write to an open file. Optuna's ``JournalFileBackend`` takes a lock of its own,
    opens the file, forces it to the disk and reads the entry back: three changes of the folder and
    a wait for the disk, some twenty times a trial. Here the sweep's lock is enough, an entry that
    was appended is known, and the disk is waited for at most once in ``SYNC_PERIOD``. A killed
    process loses nothing by that; a machine that crashes may lose the last entries, whole.

    Nobody else appends between two calls, unless :meth:`close` is called between them: the next
    call opens the file anew, as network file systems want it, and reads what others wrote.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """A file that is missing is created."""
        self.path = path
        self._clock = clock
        self._synced = clock() - SYNC_PERIOD
        self._entries = self._offset = self._end = 0
        self._appended = b""
        self._closing: Callable[[], object] = lambda: None
        self._file: int | None = None
        self._open()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries: all of them, or none if the disk is full.

        Raises:
            OSError: they cannot be written.
        """
        data = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        file = self._open()
        try:
            _write(file, data)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, self._end)
            raise
        if self._end == self._offset + len(self._appended):
            self._appended += data
        self._end += len(data)
        self._sync(file)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Return the entries that were not returned before, from a number on.

        A last line that is not whole is left for later.

        Raises:
            ValueError, RecursionError: a line is not JSON, or too deep.
        """
        for line in self._read_lines():
            self._offset += len(line)
            self._entries += 1
            if self._entries > log_number_from:
                yield json.loads(line)

    def close(self) -> None:
        """Force what was appended to the disk and close the file; the next call opens it again.

        Raises:
            OSError: it cannot be forced.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.fsync(file)
        finally:
            self._closing()

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            self._closing = weakref.finalize(self, os.close, self._file)
            self._end = os.fstat(self._file).st_size
        return self._file

    def _read_lines(self) -> Iterator[bytes]:
        """The new whole lines: those that were appended here, or what the file has."""
        file = self._open()
        known, self._appended = self._appended, b""
        if self._end == self._offset + len(known):
            yield from known.splitlines(keepends=True)
            return
        with os.fdopen(os.dup(file), "rb") as lines:
            lines.seek(self._offset)
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                yield line

    def _sync(self, file: int) -> None:
        if self._clock() - self._synced >= SYNC_PERIOD:
            os.fsync(file)
            self._synced = self._clock()


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
