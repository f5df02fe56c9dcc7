"""The command that deletes sweeps, of this machine or of a server."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from service.base.errors import InputError
from service.base.number_format import size
from service.base.plain_text import say
from service.cli.app import HERE, HomeOption, Server, Token, app
from service.cli.remote_session import Remote

if TYPE_CHECKING:
    from service.sweep.home import Home

_SHOWN = 20

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="SWEEP…", help="Sweep ids, prefixes of ids, or `latest`."),
]
OlderThan = Annotated[
    float | None,
    typer.Option(
        "--older-than",
        metavar="DAYS",
        min=0,
        help="Delete every sweep that ended so many days ago (with --server: your own).",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]


@app.command(rich_help_panel=HERE)
def delete(
    sweeps: Names = None,
    older_than: OlderThan = None,
    yes: Yes = False,
    home: HomeOption = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Delete sweeps that have ended: folders and MLflow runs, on a server their records too.

    Models that `refit` registered are kept in MLflow.
    """
    if not sweeps and older_than is None:
        raise InputError("name the sweeps to delete (see `gapsweep list`), or --older-than DAYS")
    if sweeps and older_than is not None:
        raise InputError("give either SWEEP… or --older-than DAYS")
    if server:
        _delete_there(Remote.at(server, token), sweeps or [], older_than, yes=yes)
    else:
        from service.sweep.environment import locate_home

        _delete_here(locate_home(home), sweeps or [], older_than, yes=yes)


def _delete_here(home: Home, names: Sequence[str], days: float | None, *, yes: bool) -> None:
    from service.base.folder_size import measure_folder
    from service.run.deletion import (
        check_deletable,
        delete_sweep,
        find_folder,
        find_unchanged,
        finish_deletions,
    )

    finished = finish_deletions(home)
    for sweep_id in finished:
        say(f"{sweep_id} is deleted; an earlier deletion was interrupted")
    names = [name for name in names if name not in finished]
    chosen = [find_folder(home, n) for n in names] if days is None else find_unchanged(home, days)
    folders = tuple(dict.fromkeys(chosen))
    for folder in folders:
        check_deletable(folder)
    found = {f.sweep_id: measure_folder(f.path).bytes for f in folders}
    if _confirm(found, f"in {home.path}", nothing=not finished, yes=yes):
        for folder in folders:
            delete_sweep(home, folder)
            say(f"{folder.sweep_id} is deleted")


def _delete_there(remote: Remote, names: Sequence[str], days: float | None, *, yes: bool) -> None:
    from service.client import endpoints

    ids = [remote.find(name) for name in names] if days is None else _find_old(remote, days)
    found = {i: remote.client.do(endpoints.sweep(i)).size for i in dict.fromkeys(ids)}
    if _confirm(found, f"on {remote.url}", nothing=True, yes=yes):
        for sweep_id in found:
            remote.client.do(endpoints.delete(sweep_id))
            say(f"{sweep_id} is being deleted")


def _find_old(remote: Remote, days: float) -> list[str]:
    """The user's own sweeps that ended so many days ago."""
    from service.client import endpoints
    from service.client.job_states import JobState

    before, cursor, found = time.time() - 86_400.0 * days, None, []
    owner = remote.client.do(endpoints.me()).name
    states = [state for state in JobState if state.is_kept]
    while True:
        call = endpoints.sweeps(owner=owner, states=states, cursor=cursor, limit=500)
        page = remote.client.do(call)
        found += [sweep.sweep_id for sweep in page.items if sweep.changed < before]
        cursor = page.cursor
        if cursor is None:
            return found


def _confirm(found: Mapping[str, int | None], where: str, *, nothing: bool, yes: bool) -> bool:
    """Whether to delete these sweeps, of these sizes.

    Raises:
        InputError: nobody can be asked.
    """
    if not found:
        if nothing:
            say(f"no such sweeps {where}")
        return False
    if yes:
        return True
    total = size(sum(count or 0 for count in found.values()))
    shown = list(found)[:_SHOWN]
    more = [f"… and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    what = "1 sweep" if len(found) == 1 else f"{len(found)} sweeps"
    if not sys.stdin.isatty():
        raise InputError(f"{what} {where} would be deleted ({total}); confirm with --yes")
    say("\n".join([*shown, *more]))
    if typer.confirm(f"Delete {what} {where} ({total}) and their MLflow runs?"):
        return True
    say("nothing is deleted")
    raise typer.Exit(1)
