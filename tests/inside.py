"""What a command needs to run inside of the tests' process as if it had one of its own."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import TextIO

from tests.isolation import forget_user_code

_WIDTH = "80"
_SET_BY_IMPORTS = "MLFLOW_"
"""Variables that a module of ours sets as it is imported, which happens in one command only."""


@contextmanager
def as_a_process(
    folder: Path, words: Sequence[str], environment: Mapping[str, str]
) -> Iterator[None]:
    """Run a block in a folder, with these arguments and additions to the environment.

    Afterwards the folder, the umask, ``sys.argv``, ``sys.path`` and the environment are what they
    were, but for variables that imports set, and the user's modules are forgotten.
    """
    before, arguments, environ = Path.cwd(), sys.argv, dict(os.environ)
    mask = os.umask(0o022)
    os.umask(mask)
    os.chdir(folder)
    sys.argv = list(words)
    os.environ.update({"COLUMNS": _WIDTH, **environment})
    importlib.invalidate_caches()
    try:
        with forget_user_code():
            yield
    finally:
        os.chdir(before)
        os.umask(mask)
        sys.argv = arguments
        once = {k: v for k, v in os.environ.items() if k.startswith(_SET_BY_IMPORTS)}
        os.environ.clear()
        os.environ.update({**once, **environ})


class Captured:
    """Everything that is written to the two standard streams in a block, by C code too.

    The streams live as long as the tests: a logger that is made in the block keeps one of them.
    """

    _files: tuple[TextIO, TextIO] | None = None

    def __init__(self) -> None:
        self.stdout = self.stderr = ""
        self._block = ExitStack()

    def __enter__(self) -> None:
        for number, stream, file, redirect in self._streams():
            stream.flush()
            file.flush()
            file.seek(0)
            file.truncate()
            saved = os.dup(number)
            self._block.callback(os.close, saved)
            os.dup2(file.fileno(), number)
            self._block.callback(os.dup2, saved, number)
            self._block.enter_context(redirect(file))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stdout, self.stderr = (_read(file) for file in self._opened())
        self._block.close()

    def _streams(self) -> Iterator[tuple[int, TextIO, TextIO, type]]:
        out, err = self._opened()
        yield 1, sys.stdout, out, redirect_stdout
        yield 2, sys.stderr, err, redirect_stderr

    @classmethod
    def _opened(cls) -> tuple[TextIO, TextIO]:
        if cls._files is None:
            cls._files = _unnamed_file(), _unnamed_file()
        return cls._files


def _unnamed_file() -> TextIO:
    return tempfile.TemporaryFile("w+", encoding="utf-8", buffering=1)  # type: ignore[return-value]  # its wrapper has all of a TextIO


def _read(file: TextIO) -> str:
    file.flush()
    file.seek(0)
    return file.read()
