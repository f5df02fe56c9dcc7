"""Runs a user's function that is suspended at each of its reports.

The function runs in the same thread as its caller, on a stack of its own (a greenlet). So signals,
debuggers, and libraries that want the main thread work in it, and only one of the two ever runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from trainables.errors import ContractError
from trainables.loops.settings import Settings, plain_mode, seed_all


class TrialEnd(BaseException):
    """Raised by ``trial.report`` (or at ``yield``, as GeneratorExit) where a trial ends.

    It is no error: the trial was stopped early, pruned, or has had all of its epochs. Let it pass;
    ``finally`` blocks and context managers run.
    """


class LoopControl(Protocol):
    """A loop as its trial drives it, from report to report.

    ``returned`` is what it returned, ``refused`` why a report of it was refused.
    """

    returned: object
    refused: str

    @property
    def generators(self) -> Mapping[str, Any]:
        """The states of the loop's generators where it is suspended."""

    def proceed(self) -> Any:
        """What the loop reports next; None if it ended."""

    def end(self) -> bool:
        """End the loop; False if it goes on."""

    def suspend(self, value: object) -> None:
        """Take what the loop reports."""


class _Ended:
    """What a loop returned."""

    def __init__(self, value: object) -> None:
        self.value = value


class Handover:
    """One run of a user's loop, resumed from report to report.

    ``body`` is the loop; ``seed`` seeds all generators before it begins. The loop has its own
    random generators and settings of torch; the caller's are restored whenever it is suspended.
    """

    def __init__(self, body: Callable[[], object], seed: int) -> None:
        self._root: Any = greenlet(lambda: _Ended(body()))
        self._at: Any = self._root
        self._seed = seed
        self._thread = threading.get_ident()
        self._theirs: Settings | None = None
        self.returned: object = None
        self.refused = ""

    @property
    def generators(self) -> Mapping[str, Any]:
        """The states of the loop's generators where it is suspended."""
        return {} if self._theirs is None else self._theirs.generators

    @property
    def ended(self) -> bool:
        """Whether the loop has returned or raised."""
        return bool(self._root.dead)

    def proceed(self) -> Any:
        """Let the loop run to its next report, and return what it reports; None if it ended.

        Raises:
            BaseException: what the loop raised.
        """
        return self._resume(lambda: self._at.switch())

    def end(self) -> bool:
        """Raise :class:`TrialEnd` where the loop is suspended; False if it reports again.

        Raises:
            BaseException: what the loop raised instead.
        """
        if self.ended or not self._root:  # it never began
            return True
        try:
            self._resume(lambda: self._at.throw(TrialEnd()))
        except TrialEnd:
            return True
        if not self.ended:
            _abandoned.append(self)
        return self.ended

    def suspend(self, value: object) -> None:
        """Hand ``value`` to the caller, and wait to be resumed; the loop calls it.

        Raises:
            TrialEnd: the trial ends here.
            ContractError: it is called by another thread than the loop's.
        """
        if threading.get_ident() != self._thread:
            text = (
                f"trial.report was called by the thread {threading.current_thread().name!r}; call "
                "it in the thread that the loop was called in"
            )
            self.refused = f"; {text}"
            raise ContractError(text, "trainable")
        self._at = getcurrent()
        with plain_mode():
            self._root.parent.switch(value)

    def _resume(self, switch: Callable[[], object]) -> Any:
        ours = Settings.take()
        self._root.parent = getcurrent()
        if self._theirs is None:
            seed_all(self._seed)
        else:
            self._theirs.apply()
        try:
            found = switch()
        finally:
            self._theirs = Settings.take()
            ours.apply()
        if isinstance(found, _Ended):
            self.returned = found.value
            return None
        return found


_abandoned: list[Handover] = []
"""Loops that swallow their end; as garbage they would be resumed once more."""
