"""When the state of a running trial is written to its file, and reading it. Imports no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from service.base.errors import DiskFullError
from service.sweep.torch_files import save_tensors

PERIOD = 1.0
"""Seconds between two times at which a state is written, at least."""
SHARE = 20
"""How many times longer than writing took the time between is at least."""
_KNOWN = frozenset({"rates", "loop", "folds"})
"""Entries of which a state has one, unless an older version wrote it."""


class Checkpoint:
    """The file of a trial that its process has.

    After a kill a trial trains again what came after its file, to the same bits. So the state is
    written only so often that it takes a twentieth of the time at most; a trial that ends within a
    second needs no file. It is written once the session has let the trial go on: never beside a
    decision to end it, whereupon its files are deleted.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``writers`` is how many trials of the process write their states in turns."""
        self._clock, self.writers = clock, 1
        self._since = self._took = 0.0
        self._changed = False
        self._path: Path | None = None

    def begin(self, path: Path) -> None:
        """Keep the state of another trial in a file, whose folder is there as long as it runs."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._changed, self._since = path, False, self._clock()

    def read(self) -> dict[str, Any] | None:
        """The state that an earlier session or process wrote, if there is one to go on from."""
        assert self._path is not None, "it has begun"
        if not self._path.exists():
            return None
        state: dict[str, Any] = torch.load(self._path, weights_only=True, map_location="cpu")
        return state if state.keys() & _KNOWN else None

    def note(self, *, done: bool) -> None:
        """Note that an epoch has ended that the file lacks; nothing follows it if ``done``."""
        self._changed = not done

    def save_if_due(self, get_state: Callable[[], Mapping[str, Any]]) -> None:
        """Write the state if the file is too old.

        Raises:
            DiskFullError, OSError: it cannot be written.
        """
        waited = self._clock() - self._since
        if self._changed and waited >= max(PERIOD, SHARE * self.writers * self._took):
            self.save(get_state())

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state.

        Raises:
            DiskFullError, OSError: it cannot be written.
        """
        assert self._path is not None, "it has begun"
        begun = self._clock()
        save_tensors(state, self._path)
        self._changed, self._since = False, self._clock()
        self._took = self._since - begun

    def end(self, get_state: Callable[[], Mapping[str, Any]]) -> None:
        """Let go of the trial; write its state if it may go on, which spares training it again.

        The folder of a trial that has ended otherwise was deleted.
        """
        path, self._path = self._path, None
        if path is not None and self._changed and path.parent.exists():
            with suppress(DiskFullError, OSError, RuntimeError):
                save_tensors(get_state(), path)
