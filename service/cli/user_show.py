"""Shows what a user has on a server, beside what a user may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from service.base.number_format import size
from service.base.plain_text import say
from service.cli.app import AsJson, Server, Token, print_json
from service.cli.remote_session import Remote
from service.cli.users import users
from service.report.console import open_console
from service.sweep.cost import Cost, describe_cost

if TYPE_CHECKING:
    from service.client.api_models import UserOut

_ROWS = (
    ("running", "sweeps on the cluster"),
    ("queued", "sweeps in the queue"),
    ("streams", "open streams of events"),
    ("stored_bytes", "stored: sweeps and code"),
)


@users.command("show")
def show_user(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Default: whose the token is.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show what a user has on a server, and the limits. Admins can see every user."""
    from service.client import endpoints

    remote = Remote.at(server, token)
    found = remote.client.do(endpoints.user(name or remote.client.do(endpoints.me()).name))
    if as_json:
        print_json(found.model_dump_json(indent=2))
        return
    state = ", revoked" if found.revoked is not None else ""
    say(f"{found.name} ({found.role}{state})\n")
    open_console().print(_build_table(found))
    cost = Cost(**found.cost.model_dump())
    if any(cost.cpu_hours):
        say(f"\n{describe_cost(cost)}")


def _build_table(user: UserOut) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for title in ("in use", "limit"):
        table.add_column(title, justify="right")
    for field, title in _ROWS:
        found, in_words = getattr(user, field), size if "bytes" in field else "{:,}".format
        limit = "none" if found.limit is None else in_words(found.limit)
        table.add_row(title, in_words(found.used), limit)
    return table
