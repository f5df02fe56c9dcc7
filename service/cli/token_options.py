"""Options of commands that create tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from service.base.errors import InputError

DEFAULT_DAYS = 90.0
"""How long a token is valid unless something else is asked for."""
Days = Annotated[
    float | None,
    typer.Option("--days", help=f"Days until the token expires (default: {DEFAULT_DAYS:g})."),
]
NoExpiry = Annotated[bool, typer.Option("--no-expiry", help="The token never expires.")]


def choose_days(days: float | None, *, no_expiry: bool) -> float | None:
    """How many days a new token is valid; None is for ever.

    Raises:
        InputError: both options are given.
    """
    if no_expiry and days is not None:
        raise InputError("--days and --no-expiry contradict each other; give one of them")
    if no_expiry:
        return None
    return DEFAULT_DAYS if days is None else days
