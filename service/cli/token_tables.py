"""The table of a user's tokens."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from rich.table import Table

from service.cli.dates import format_day, format_time


class ListedToken(Protocol):
    """A token as the store and the API describe it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def scope(self) -> str:
        """What it may be used for."""

    @property
    def created(self) -> float:
        """Unix seconds."""

    @property
    def expires(self) -> float | None:
        """Unix seconds; None is never."""

    @property
    def last_used(self) -> float | None:
        """Unix seconds."""

    @property
    def last_address(self) -> str | None:
        """The client's address at its last use."""


def tokens_table(tokens: Iterable[ListedToken]) -> Table:
    """One row per token."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("token", "scope", "created", "expires", "last used", "from"):
        table.add_column(title, overflow="fold")
    for token in tokens:
        table.add_row(
            token.name,
            str(token.scope),
            format_day(token.created),
            _describe_end(token.expires),
            format_time(token.last_used) or "never",
            token.last_address or "",
        )
    return table


def _describe_end(expires: float | None) -> str:
    if expires is None:
        return "never"
    return f"expired {format_day(expires)}" if expires <= time.time() else format_day(expires)
