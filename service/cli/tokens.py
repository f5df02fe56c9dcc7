"""Commands for one's own tokens, and for an admin those of others, over the API."""

from __future__ import annotations

from typing import Annotated

import typer

from service.base.plain_text import say
from service.cli.app import THERE, AsJson, Server, Token, app, print_json
from service.cli.dates import format_day
from service.cli.remote_session import Remote
from service.cli.token_options import Days, NoExpiry, choose_days
from service.report.console import open_console
from service.server.store.user_roles import TokenScope

tokens = typer.Typer(
    help="Your API tokens on a server: several, by name.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(tokens, name="tokens", rich_help_panel=THERE)

TokenName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token.")]
OfUser = Annotated[
    str | None, typer.Option("--user", metavar="USER", help="Another user's (admins only).")
]


@tokens.command("add")
def add_token(
    name: TokenName,
    scope: Annotated[
        TokenScope | None,
        typer.Option("--scope", help="What it may be used for (default: all that you may do)."),
    ] = None,
    days: Days = None,
    no_expiry: NoExpiry = False,
    user: OfUser = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Create a token. It is shown only once."""
    from service.client import endpoints
    from service.client.account_models import NewToken
    from service.server.store.token_store import check_token_days, check_token_name

    valid = choose_days(days, no_expiry=no_expiry)
    check_token_name(name)
    check_token_days(valid)
    asked = NewToken(name=name, scope=None if scope is None else scope.value, days=valid, user=user)
    made = Remote.at(server, token).client.do(endpoints.add_token(asked))
    if as_json:
        print_json(made.model_dump_json(indent=2))
        return
    say(made.token)
    until = "never expires" if made.expires is None else f"expires on {format_day(made.expires)}"
    note = f"token {made.name} of {made.user}, scope {made.scope}, {until}"
    open_console(stderr=True).print(note, soft_wrap=True)


@tokens.command("list")
def list_tokens(
    user: OfUser = None, as_json: AsJson = False, server: Server = None, token: Token = None
) -> None:
    """List tokens: scope, when they expire, and their last use."""
    from service.cli.token_tables import tokens_table
    from service.client import endpoints

    found = Remote.at(server, token).client.do(endpoints.tokens(user))
    if as_json:
        print_json(found.model_dump_json(indent=2))
    elif found.items:
        open_console().print(tokens_table(found.items))
    else:
        say("no tokens")


@tokens.command("revoke")
def revoke_token(
    name: TokenName, user: OfUser = None, server: Server = None, token: Token = None
) -> None:
    """Revoke a token, from now on."""
    from service.client import endpoints

    Remote.at(server, token).client.do(endpoints.revoke_token(name, user))
    say(f"revoked {name}")
