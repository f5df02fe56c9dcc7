"""The command that shows a server's audit log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from service.base.plain_text import say
from service.cli.app import THERE, AsJson, Server, Token, app, print_json
from service.cli.dates import format_time, parse_time
from service.cli.remote_session import Remote
from service.client.audit_actions import AuditAction
from service.report.console import open_console

if TYPE_CHECKING:
    from rich.table import Table

    from service.client.account_models import AuditEntryOut

_PAGE = 500


@app.command("audit-log", rich_help_panel=THERE)
def audit_log(
    user: Annotated[str | None, typer.Option("--user", metavar="USER", help="By one user.")] = None,
    action: Annotated[
        list[AuditAction] | None,
        typer.Option("--action", metavar="ACTION", help="Of one action; may be repeated."),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", metavar="SWEEP", help="About one sweep, by its id.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From a day, a time, or 30m, 12h, 7d ago."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Before a time, as --since.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Maximum number of entries.")] = 50,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show who did what, when and from where, the newest last. For admins."""
    now = time.time()
    found = _read(
        Remote.at(server, token),
        limit,
        user=user,
        actions=action or [],
        sweep=sweep,
        since=None if since is None else parse_time(since, "--since", now),
        until=None if until is None else parse_time(until, "--until", now),
    )
    entries = list(found)
    if as_json:
        from pydantic import TypeAdapter

        from service.client.account_models import AuditEntryOut

        print_json(TypeAdapter(list[AuditEntryOut]).dump_json(entries, indent=2).decode())
    elif entries:
        open_console().print(_build_table(entries[::-1]))
        if len(entries) == limit:
            say(f"(newest {limit} only; use --limit for more)")
    else:
        say("no entries")


def _read(remote: Remote, limit: int, **filters: object) -> Iterator[AuditEntryOut]:
    """The newest entries, from as many pages as it takes."""
    from service.client import endpoints

    cursor = None
    while limit > 0:
        call = endpoints.audit(cursor=cursor, limit=min(limit, _PAGE), **filters)  # type: ignore[arg-type]  # each is typed above
        page = remote.client.do(call)
        yield from page.items
        limit, cursor = limit - len(page.items), page.cursor
        if cursor is None:
            return


def _build_table(entries: Sequence[AuditEntryOut]) -> Table:
    """One row per entry."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("time", "user", "token", "from", "action", "what"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        table.add_row(
            format_time(entry.time),
            entry.user or "–",
            entry.token or "",
            entry.address,
            str(entry.action),
            _describe(entry),
        )
    return table


def _describe(entry: AuditEntryOut) -> str:
    """The sweep, the detail and, of what was repeated, how often and until when."""
    often = f"{entry.times} times until {format_time(entry.last)}" if entry.times > 1 else ""
    return "; ".join(part for part in (entry.sweep, entry.detail, often) if part)
