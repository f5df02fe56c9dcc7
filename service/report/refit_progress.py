"""Progress of a refit: a bar in a terminal, a few lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.base.number_format import number

_LINES = 10
"""Lines for a whole refit where there is no terminal."""


@contextmanager
def show_epochs(console: Console) -> Iterator[Callable[[int, int, float], None]]:
    """A function to call after every epoch: its number, their count, the loss of its batches."""
    if not console.is_terminal:
        yield lambda epoch, epochs, loss: _print_line(console, epoch, epochs, loss)
        return
    columns = (
        TextColumn("refit, epochs"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("refit", total=None, loss="")

        def update(epoch: int, epochs: int, loss: float) -> None:
            bar.update(task, completed=epoch, total=epochs, loss=f"loss {number(loss)}")

        yield update


def _print_line(console: Console, epoch: int, epochs: int, loss: float) -> None:
    if epoch == epochs or epoch % -(-epochs // _LINES) == 0:
        console.print(f"refit: epoch {epoch} of {epochs}, loss {number(loss)}", soft_wrap=True)
