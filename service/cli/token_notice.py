"""Tells the user of a command that the token it uses expires soon."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from service.cli.dates import format_time
from service.report.console import open_console

if TYPE_CHECKING:
    import httpx2

SOON = 7 * 86_400.0
"""Seconds before the end of a token from which on commands tell of it."""


class TokenNotice:
    """Reads when the token expires from a server's responses; tells of it once."""

    def __init__(self) -> None:
        self._told = False

    def __call__(self, response: httpx2.Response) -> None:
        """Print a line on standard error if the token of the request expires soon."""
        from service.client.endpoints import TOKEN_EXPIRES

        text = response.headers.get(TOKEN_EXPIRES, "")
        if self._told or not (text.isascii() and text.isdecimal() and len(text) < 12):
            return
        left = int(text) - time.time()
        if 0 < left <= SOON:
            self._told = True
            days = math.ceil(left / 86_400)
            when = f"{format_time(int(text))}, in {days} day{'s' if days > 1 else ''}"
            line = f"the token expires on {when}; make another: gapsweep tokens add NAME"
            open_console(stderr=True).print(line, soft_wrap=True)
