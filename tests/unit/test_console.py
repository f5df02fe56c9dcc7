"""Tables on consoles: whole cells for programs, whole identifiers for terminals."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from service.report.console import open_console

CELLS = ("digits-f57709e8", *(f"cell{number:02}" * 3 for number in range(8)))


def show(width: int | None = None, *, terminal: bool = False) -> list[str]:
    """The lines of a table of one row that takes more than 80 columns."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold", no_wrap=True)
    for _ in CELLS[1:]:
        table.add_column(overflow="fold")
    table.add_row(*CELLS)
    file = io.StringIO()
    console = open_console(file, width=width, force_terminal=terminal)
    console.print(table)
    console.print("word " * 30)
    return file.getvalue().splitlines()


def test_a_table_in_a_pipe_has_every_cell_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    row, *text = show()
    assert tuple(row.split()) == CELLS
    assert max(map(len, text)) <= 80


@pytest.mark.parametrize("columns", [None, "100"])
def test_a_width_that_is_given_is_kept(
    monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    lines = show(100 if columns is None else None)
    assert len(lines[0].split()[0]) == len(CELLS[0])
    assert max(map(len, lines)) <= 100


def test_a_terminal_keeps_its_width_and_the_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = show(terminal=True)
    assert lines[0].startswith(CELLS[0])
    assert max(map(len, lines)) <= 80
