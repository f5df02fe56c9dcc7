"""Standard streams that never raise: no sweep ends because a text cannot be shown.

A character that a stream's encoding lacks is written in another way. What cannot be written,
because a pipe or a terminal was closed or a disk is full, is dropped and counted.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

_LOOK_ALIKES = str.maketrans(
    {
        "←": "<-",
        "→": "->",
        "–": "-",
        "—": "-",
        "−": "-",
        "…": "...",
        "±": "+/-",
        "×": "x",
        "·": "-",
        "≤": "<=",
        "≥": ">=",
        "λ": "lambda",
        "━": "=",
        "─": "-",
        "╸": "=",
        "╺": "=",
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "\u00a0": " ",
    }
)
_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)


class SafeStream:
    """A text stream around another one; its writes and flushes never raise.

    ``dropped`` counts the lines that could not be written, ``reason`` says why.
    """

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self._gone = False
        self.dropped = 0
        self.reason: str | None = None

    def write(self, text: str) -> int:
        """Write the text, or drop it; returns its length."""
        if not self._gone:
            try:
                self._write(text)
            except (OSError, ValueError) as error:
                self._drop(error)
        if self._gone:
            self.dropped += text.count("\n")
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, if the stream can be written."""
        if not self._gone:
            try:
                self._inner.flush()
            except (OSError, ValueError) as error:
                self._drop(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _write(self, text: str) -> None:
        try:
            self._inner.write(text)
        except UnicodeEncodeError:
            self._inner.write(fit(text, self._inner.encoding))

    def _drop(self, error: OSError | ValueError) -> None:
        self.reason = f"{type(error).__name__}: {error}"
        number = getattr(error, "errno", None)
        if number not in _GONE and not isinstance(error, ValueError):
            self.dropped += 1  # a full disk, a terminal that is busy: it may be over soon
            return
        self._gone = True
        with suppress(OSError, ValueError):  # what is buffered must not fail at Python's end
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._inner.fileno())
            os.close(nowhere)


def fit(text: str, encoding: str) -> str:
    """The text for an encoding: look-alikes for common signs, ``\\uXXXX`` for other characters."""
    return fit_json(text.translate(_LOOK_ALIKES), encoding)


def fit_json(text: str, encoding: str | None) -> str:
    """The text with the characters that the encoding lacks as JSON writes them."""
    encoding = encoding or "ascii"
    with suppress(UnicodeEncodeError):
        text.encode(encoding)
        return text
    return "".join(c if _fits(c, encoding) else json.dumps(c)[1:-1] for c in text)


def _fits(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def make_safe(stream: TextIO) -> TextIO:
    """A safe stream around this one, or this one if it is safe."""
    return stream if isinstance(stream, SafeStream) else cast(TextIO, SafeStream(stream))


def use_safe_streams() -> None:
    """Make this process's standard output and error safe from now on."""
    sys.stdout, sys.stderr = make_safe(sys.stdout), make_safe(sys.stderr)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Make the standard streams safe in a block; flush them at its end."""
    before = sys.stdout, sys.stderr
    use_safe_streams()
    ours = sys.stdout, sys.stderr
    try:
        yield
    finally:
        for stream in ours:
            stream.flush()
        if (sys.stdout, sys.stderr) == ours:  # else somebody else has redirected them meanwhile
            sys.stdout, sys.stderr = before


def list_dropped() -> Iterator[tuple[str, int, str]]:
    """The standard streams that dropped lines: their names, how many lines, and why."""
    for name, stream in (("standard output", sys.stdout), ("standard error", sys.stderr)):
        if isinstance(stream, SafeStream) and stream.reason is not None:
            yield name, stream.dropped, stream.reason


def open_closed_descriptors() -> None:
    """Open what is closed of the descriptors 0, 1 and 2, so that no other file gets their numbers.

    Python sets a standard stream to None if its descriptor was closed before its start.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # as long as the process
