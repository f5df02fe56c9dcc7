"""The consoles of all commands: they show texts of users as texts.

Rich reads brackets in a plain ``str`` as markup, and passes control characters on to the terminal.
No other module makes a console, so that neither happens in any line, table or live view.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from service.base.plain_text import clean

_UNBOUNDED = 10_000
"""Columns that no row of a table takes."""


class PlainConsole(Console):
    """A console that takes no markup and no emoji codes, and cleans every text that it shows.

    A table that goes to a file or a pipe is as wide as its rows: a program that reads it finds
    every cell in one piece. ``width`` and the variable ``COLUMNS`` limit it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})
        limited = options.get("width") is not None or "COLUMNS" in os.environ
        self._widens = not (limited or self.is_terminal)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; see :meth:`rich.console.Console.print`."""
        with self._wide_enough(objects):
            super().print(*objects, **options)

    @contextmanager
    def _wide_enough(self, objects: Iterable[Any]) -> Iterator[None]:
        """Have the width that the widest of the tables needs."""
        tables = [o for o in objects if self._widens and isinstance(o, Table)]
        if not tables:
            yield
            return
        width, free = self.width, self.options.update(width=_UNBOUNDED)
        needed = [Measurement.get(self, free, table).maximum for table in tables]
        self.width = max(width, *needed)
        try:
            yield
        finally:
            self.width = width

    def render_str(self, text: str, **options: Any) -> Text:
        """A plain text of this string."""
        return super().render_str(clean(text), **{**options, "markup": False, "emoji": False})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render; a :class:`Text`, which does not pass :meth:`render_str`, is cleaned first."""
        if isinstance(renderable, Text) and clean(renderable.plain) != renderable.plain:
            cleaned = renderable.copy()
            cleaned.plain = clean(renderable.plain)  # of the same length: styles stay in place
            renderable = cleaned
        return super().render(renderable, options)


def open_console(file: IO[str] | None = None, *, stderr: bool = False, **options: Any) -> Console:
    """A console on standard output, on standard error, or on a file."""
    return PlainConsole(file=file, stderr=stderr, **options)


def print_error(console: Console, message: str) -> None:
    """Print the message of an error, of any length, on lines that only the terminal breaks."""
    console.print(Text.assemble(("error", "bold red"), f" {message}"), soft_wrap=True)
