"""The documents are current: generated parts, links, commands, and the front page's length."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gapsweep
import pytest
import typer
import yaml

from service.cli import app
from service.spec.file import load_spec
from tests import spec_keys
from tests.commands import REPOSITORY
from tests.documents import FRONT, blocks, documents

FOLDERS = ("service", "trainables", "search_spaces", "docker", "tests")
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")


def test_the_list_of_keys_is_current() -> None:
    assert spec_keys.KEYS.read_text(encoding="utf-8") == spec_keys.render(), "run `make keys`"


def test_the_front_page_is_short() -> None:
    assert len(FRONT.read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_a_page(folder: str) -> None:
    assert (REPOSITORY / folder / "README.md") in documents()


def links(document: Path) -> Iterator[tuple[str, Path, str]]:
    """Each relative link: as written, the file it leads to, the heading in it or nothing."""
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        file, _, heading = link.partition("#")
        yield link, (document.parent / file).resolve() if file else document, heading


def anchors(document: Path) -> set[str]:
    """The headings of a document as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


def test_every_link_leads_somewhere() -> None:
    found = [(d, *link) for d in documents() for link in links(d)]
    assert len(found) > 30
    broken = [
        (str(document.relative_to(REPOSITORY)), link)
        for document, link, target, heading in found
        if not target.exists() or (heading and heading not in anchors(target))
    ]
    assert broken == []


def test_every_page_is_linked_from_another_one() -> None:
    targets = {target for d in documents() for _, target, _ in links(d) if target != d}
    assert [str(d) for d in documents() if d not in targets and d != FRONT] == []


def commands() -> Iterator[list[str]]:
    """Every line that a document shows as a command of gapsweep, without its comment."""
    for document in documents():
        for block in blocks(document.read_text(encoding="utf-8")):
            for line in block.splitlines():
                found = re.match(r"(?:\$ )?(?:\S*/)?gapsweep (?=[a-z])(.*)", line)
                if found:
                    yield shlex.split(found[1], comments=True)
        text = document.read_text(encoding="utf-8")
        yield from (shlex.split(span) for span in re.findall(r"`gapsweep\s([a-z][^`]*)`", text))


def test_every_command_exists_with_its_options() -> None:
    shown = list(commands())
    assert len(shown) > 40
    program: Any = typer.main.get_command(app)
    for words in shown:
        command = program
        rest = iter(words)
        while hasattr(command, "commands"):
            command = command.commands[next(rest)]
        known = {name for p in command.params for name in p.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


def test_every_target_of_make_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, flags=re.MULTILINE))
    text = "\n".join(d.read_text(encoding="utf-8") for d in documents())
    named = set(re.findall(r"^make (\w+)|`make (\w+)`", text, flags=re.MULTILINE))
    found = {one or other for one, other in named}
    assert {"demo", "quick", "check", "keys"} <= found <= targets


def test_every_file_that_is_named_exists() -> None:
    pattern = re.compile(r"`((?:service|trainables|search_spaces|docker|tests)/[\w./-]+\.\w+)`")
    named = {path for d in documents() for path in pattern.findall(d.read_text(encoding="utf-8"))}
    assert len(named) > 10
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "search_spaces" / "sweeps").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_ready_sweeps_are_valid(path: Path) -> None:
    assert load_spec(path).name


def test_the_examples_of_specs_are_yaml() -> None:
    found = [b for d in documents() for b in blocks(d.read_text(encoding="utf-8"), "yaml")]
    assert len(found) > 8
    for block in found:
        assert isinstance(yaml.safe_load(block), dict)


@pytest.mark.parametrize("name", gapsweep.__all__)
def test_what_is_public_has_a_docstring(name: str) -> None:
    found = getattr(gapsweep, name)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        found = type(found)
    assert inspect.getdoc(found)
    assert importlib.import_module(found.__module__).__doc__


def test_the_help_begins_with_what_a_newcomer_needs_and_has_every_command() -> None:
    group: Any = typer.main.get_command(app)
    listed = group.list_commands(typer.Context(group))
    assert listed[:3] == ["run", "resume", "report"]
    assert set(listed) == set(group.commands)
