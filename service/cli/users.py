"""Commands that manage the service's users, on the server's machine."""

from __future__ import annotations

from typing import Annotated

import typer

from service.base.number_format import number
from service.base.plain_text import say
from service.cli.app import SERVICE, HomeOption, app
from service.cli.dates import format_day
from service.cli.service_database import DatabaseUrl, open_database
from service.cli.token_options import Days, NoExpiry, choose_days
from service.report.console import open_console
from service.server.store.user_roles import UserRole

users = typer.Typer(
    help="The service's users and their tokens.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(users, name="users", rich_help_panel=SERVICE)

UserName = Annotated[str, typer.Argument(metavar="NAME")]
TokenName = Annotated[
    str | None,
    typer.Option("--token-name", metavar="NAME", help="Name of the token (default: `default`)."),
]


@users.command("add")
def add_user(
    name: UserName,
    role: Annotated[UserRole, typer.Option("--role", help="Role of the user.")],
    days: Days = None,
    no_expiry: NoExpiry = False,
    token_name: TokenName = None,
    database_url: DatabaseUrl = None,
    home: HomeOption = None,
) -> None:
    """Create a user (or add a token to an existing one). The token is shown only once."""
    import time

    from service.client.audit_actions import AuditAction
    from service.server.account_service import find_expiry
    from service.server.store.audit_store import AuditStore
    from service.server.store.callers import Actor
    from service.server.store.token_store import TokenStore
    from service.server.store.user_store import UserStore

    expires = find_expiry(choose_days(days, no_expiry=no_expiry), time.time())
    database = open_database(home, database_url)
    with database.transaction():
        token = UserStore(database).create_or_update(name, role, expires, token_name)
        made = TokenStore(database).of_user(name)[-1].name
        actor, detail = Actor.at_command_line(), f"{name}, role {role}, with token {made}"
        AuditStore(database).record(actor, AuditAction.USER_ADD, detail=detail)
    say(token)


@users.command("revoke")
def revoke_user(
    name: UserName,
    token_name: Annotated[
        str | None,
        typer.Option("--token-name", metavar="NAME", help="Revoke only this token of the user."),
    ] = None,
    database_url: DatabaseUrl = None,
    home: HomeOption = None,
) -> None:
    """Revoke a user and all its tokens. Its sweeps stay and continue to run."""
    from service.client.audit_actions import AuditAction
    from service.server.store.audit_store import AuditStore
    from service.server.store.callers import Actor
    from service.server.store.token_store import TokenStore
    from service.server.store.user_store import UserStore

    database = open_database(home, database_url)
    audit, actor = AuditStore(database), Actor.at_command_line()
    if token_name is None:
        with audit.recording(actor, AuditAction.USER_REVOKE, detail=name):
            UserStore(database).revoke(name)
        say(f"revoked {name}")
    else:
        detail = f"{token_name} of {name}"
        with audit.recording(actor, AuditAction.TOKEN_REVOKE, detail=detail):
            TokenStore(database).revoke(name, token_name)
        say(f"revoked token {token_name} of {name}")


@users.command("list")
def list_users(database_url: DatabaseUrl = None, home: HomeOption = None) -> None:
    """List the users, and the hours of their sweeps: of the search + of the confirmation."""
    from rich.table import Table

    from service.server.store.cost_store import CostStore
    from service.server.store.user_store import UserStore
    from service.sweep.cost import Cost

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("user", "role", "created", "revoked", "CPU-hours", "GPU-hours"):
        table.add_column(title, overflow="fold")
    database = open_database(home, database_url)
    costs = CostStore(database).by_user()
    for user in UserStore(database).all():
        cost = costs.get(user.name, Cost())
        days = (format_day(user.created), format_day(user.revoked))
        hours = (_format_hours(cost.cpu_hours), _format_hours(cost.gpu_hours))
        table.add_row(user.name, str(user.role), *days, *hours)
    if table.row_count:
        open_console().print(table)
    else:
        say("no users yet; create the first: gapsweep users add NAME --role admin")


@users.command("tokens")
def list_user_tokens(
    name: UserName, database_url: DatabaseUrl = None, home: HomeOption = None
) -> None:
    """List the tokens of a user."""
    from service.cli.token_tables import tokens_table
    from service.server.store.token_store import TokenStore

    found = TokenStore(open_database(home, database_url)).of_user(name)
    if found:
        open_console().print(tokens_table(found))
    else:
        say(f"{name} has no tokens; add one: gapsweep users add {name} --role ROLE")


def _format_hours(hours: tuple[float, float]) -> str:
    return " + ".join(map(number, hours)) if any(hours) else ""
