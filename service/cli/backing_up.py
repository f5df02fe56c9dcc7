"""Commands that write a home folder to one file, and bring it back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from service.base.errors import InputError
from service.base.number_format import size
from service.base.plain_text import say
from service.cli.app import SERVICE, HomeOption, app

_PIPE = "-"
_INPUT, _OUTPUT = 0, 1
"""Descriptors of the standard streams, which carry text elsewhere."""

File = Annotated[str, typer.Argument(metavar="FILE", help="The backup; `-` for a pipe.")]


@app.command(rich_help_panel=SERVICE)
def backup(file: File, home: HomeOption = None) -> None:
    """Write sweeps, code, artifacts and SQLite databases to one file, also while sweeps run.

    A PostgreSQL database needs pg_dump, before this command.
    """
    from service.base.files import replace_file
    from service.server.backup import write_backup
    from service.sweep.environment import locate_home

    found = locate_home(home)
    if file == _PIPE:
        with os.fdopen(os.dup(_OUTPUT), "wb") as pipe:
            write_backup(found, pipe)
        return
    path = Path(file)
    if path.exists():
        raise InputError(f"{path} is there already; name another file")
    try:
        with replace_file(path, mode=0o600) as temporary, temporary.open("wb") as out:
            write_backup(found, out)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from error
    say(f"{path}, {size(path.stat().st_size)}")


@app.command(rich_help_panel=SERVICE)
def restore(file: File, home: HomeOption = None) -> None:
    """Bring back a backup into an empty data directory. Sweeps that were running continue."""
    from service.server.backup import read_backup
    from service.sweep.environment import locate_home

    found = locate_home(home)
    if file == _PIPE:
        with os.fdopen(os.dup(_INPUT), "rb") as pipe:
            read_backup(found, pipe)
        return
    path = Path(file)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise InputError(f"{path} is not there, or cannot be read")
    with path.open("rb") as source:
        read_backup(found, source)
    say(f"restored into {found.path}")
