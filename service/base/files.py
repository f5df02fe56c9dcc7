"""Atomic writes of files, and the repair of files of lines after a kill."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_file(
    path: Path, temporary: Path | None = None, *, mode: int | None = None
) -> Iterator[Path]:
    """Yield a temporary path, which replaces ``path`` if the block ends without an exception.

    A reader of ``path`` sees the old or the new file, never a part. ``temporary`` must be in the
    same folder; without it, several concurrent writers use different temporary files. With
    ``mode``, the file has these permissions before anything is written to it.
    """
    written = temporary or path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if mode is not None:
            written.touch(mode, exist_ok=False)
        yield written
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's text, see :func:`replace_file`."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process left half written, if there is one."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
