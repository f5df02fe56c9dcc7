"""Texts of users are shown as texts: by every console, table, view, page, plot and log."""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from service.base.plain_text import clean, clean_json, clean_log, escape_markdown, say
from service.base.redaction import RedactingFormatter
from service.cli.remote_report import (
    history_table,
    nodes_table,
    status_table,
    sweeps_table,
    trials_table,
)
from service.client.api_models import NodeOut, TrialOut
from service.report.console import open_console, print_error
from service.report.page import render
from service.report.progress import LineView, LiveView, NotebookView
from service.report.report_data import build_report
from service.study.importance import Importances
from service.study.records import Trial, TrialState
from tests.hostile_texts import HOSTILE, details
from tests.reports import shown, sweep, trial

SERVICE = Path(__file__).parents[2] / "service"


def is_hostile(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def assert_plain(text: str) -> None:
    strange = {c for c in text if is_hostile(c)} - {"\n", "\t"}
    assert not strange, sorted(map(hex, map(ord, strange)))


def trials() -> tuple[Trial, ...]:
    named = {HOSTILE: HOSTILE, "lambda": 0.1}
    failed = replace(trial(2, 0.5, 0.1, TrialState.FAILED, penalty=HOSTILE), reason=HOSTILE)
    return (trial(0, 0.5, 0.4), trial(1, 0.3, 0.1, penalty=HOSTILE, **named), failed)


def own_table() -> Table:
    table = Table(title=HOSTILE, caption=HOSTILE)
    table.add_column(HOSTILE, footer=HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    return table


SHOWN: dict[str, Callable[[], RenderableType]] = {
    "a line": lambda: HOSTILE,
    "a styled text": lambda: Text.assemble(("x", "bold"), HOSTILE),
    "a table": own_table,
    "status": lambda: status_table(details()),
    "history": lambda: history_table(details()),
    "list": lambda: sweeps_table([details()]),
    "trials": lambda: trials_table([TrialOut.of(t) for t in trials()]),
    "devices": lambda: nodes_table([NodeOut(name=HOSTILE, cpus=1, gpus=0)]),
}


@pytest.mark.parametrize("make", SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize("terminal", [True, False])
def test_whatever_is_shown_is_shown_as_it_is_written(
    make: Callable[[], RenderableType], terminal: bool
) -> None:
    console = open_console(io.StringIO(), width=1000, force_terminal=terminal, color_system=None)
    console.print(make())
    text = output_of(console)
    assert_plain(text)
    assert "[/bold] [link=http://evil.example]here[/link] [red :warning:" in text
    assert "␛[2J" in text


def output_of(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_report_and_its_page_are_plain() -> None:
    data = build_report(sweep(*trials()), Importances({HOSTILE: 1.0}, {HOSTILE: 1.0}))
    text = shown(data, width=400)
    assert_plain(text)
    assert "[/bold]" in text
    page = render(replace(data, verdict=HOSTILE, name=HOSTILE))
    assert_plain(page)
    page.encode()
    assert "$x_2$" in page
    assert "<a " not in page


def test_a_penalty_whose_name_begins_with_an_underscore_is_in_the_legend() -> None:
    data = build_report(sweep(trial(0, 0.5, 0.4), *named("_mine:Own")), Importances({}, {}))
    assert ">_mine:Own<" in render(data).replace("> ", ">")


def named(penalty: str) -> Iterator[Trial]:
    yield trial(1, 0.3, 0.1, penalty=penalty, **{"lambda": 0.1})


@pytest.mark.parametrize("make", [LineView, LiveView])
def test_progress_is_plain(make: Callable[[Console], LineView | LiveView]) -> None:
    console = open_console(io.StringIO(), width=400)
    view = make(console)
    begun = replace(sweep(*trials()[:1]), sweep_id=HOSTILE)
    view.begin(begun, 3, None)
    for ended in trials():
        view.started(replace(ended, state=TrialState.RUNNING))
        view.ended(ended)
    if isinstance(view, LiveView):
        console.print(view._render())
    assert_plain(output_of(console))
    assert "[/bold] [link=" in output_of(console)


def test_the_line_of_the_baseline_does_not_call_it_the_best() -> None:
    console = open_console(io.StringIO(), width=400)
    view = LineView(console)
    begun = sweep()
    view.begin(begun, 3, None)
    for ended in (trial(0, 0.4, 0.1), trial(1, 0.5, 0.1), trial(2, 0.6, 0.1)):
        view.ended(ended)
    first, second, third = output_of(console).splitlines()[1:]
    assert first.endswith("← baseline")
    assert second.endswith("← best so far")
    assert "←" not in third


def test_the_live_table_fits_a_terminal_of_80_columns() -> None:
    console = open_console(io.StringIO(), width=80)
    view = LiveView(console)
    view.begin(sweep(*trials()), 3, None)
    console.print(view._render())
    assert "trial" in output_of(console)
    assert "baseline" in output_of(console)
    assert all(len(line) <= 80 for line in output_of(console).splitlines())


def test_a_notebook_shows_names_as_text() -> None:
    view = NotebookView()
    LiveView.begin(view, sweep(*trials()), 3, None)
    text = view._render_html()
    assert "evil.example]here" in text
    assert "<a " not in text


def test_an_error_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    console = open_console(io.StringIO(), width=80)
    print_error(console, HOSTILE)
    assert_plain(output_of(console))
    assert output_of(console).startswith("error [/bold]")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    say(HOSTILE)
    assert isinstance(sys.stdout, io.StringIO)
    assert_plain(sys.stdout.getvalue())


def test_the_servers_own_log_is_plain() -> None:
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "it died: %s", (HOSTILE,), None)
    assert_plain(RedactingFormatter().format(record))


def test_cleaning_changes_what_a_terminal_obeys_and_nothing_else() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    cleaned = clean(every)
    assert len(cleaned) == len(every)
    changed = {old for old, new in zip(every, cleaned, strict=True) if old != new}
    assert changed == {c for c in every if is_hostile(c)} - {"\n", "\t"}
    assert clean("größe 日本 🎉 λ") == "größe 日本 🎉 λ"
    assert clean_log("one\r\ntwo\rthree") == "one\ntwo␍three"


def test_json_with_such_characters_is_the_same_json() -> None:
    written = json.dumps({"cause": HOSTILE.replace("\ud800", "")}, ensure_ascii=False)
    assert_plain(clean_json(written))
    assert json.loads(clean_json(written)) == json.loads(written)
    assert clean_json('{"a": "größe"}') == '{"a": "größe"}'


def test_a_text_makes_no_markdown() -> None:
    words = "![x](http://evil) <img src=x> `code` *b* l1_ratio _i_ # a | b"
    assert escape_markdown(words) == (
        r"\!\[x\](http://evil) &lt;img src=x\> \`code\` \*b\* l1_ratio \_i\_ \# a \| b"
    )


def test_no_module_makes_a_console_or_prints_past_these() -> None:
    """``print`` where a terminal is read, ``Console`` and rich's markup anywhere."""
    printing = ("cli", "report", "run", "tracking", "study", "sweep", "client", "answer")
    found = []
    for path in SERVICE.rglob("*.py"):
        place, code = path.relative_to(SERVICE).as_posix(), path.read_text(encoding="utf-8")
        if not any(name in code for name in ("rich.markup", "Console", "print")):
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module == "rich.markup":
                found.append(f"{place}: rich.markup")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                if name == "Console" and place != "report/console.py":
                    found.append(f"{place}:{node.lineno}: Console()")
                if name == "print" and place.startswith(printing) and place != "cli/app.py":
                    found.append(f"{place}:{node.lineno}: print()")
    assert found == []
