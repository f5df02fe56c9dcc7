"""The project's documents, and the blocks of code in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.commands import REPOSITORY

FRONT = REPOSITORY / "README.md"


def documents() -> list[Path]:
    """Every Markdown file of the repository, committed or new."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [REPOSITORY / line for line in listed.stdout.splitlines()]


def blocks(text: str, language: str = "") -> list[str]:
    """The fenced blocks of a language, in order."""
    fenced = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, flags=re.DOTALL | re.MULTILINE)
    return [body for _, name, body in fenced if name == language]


def example(document: Path, name: str, language: str) -> str:
    """The first block of a language after the comment that names an example."""
    text = document.read_text(encoding="utf-8")
    return blocks(text[text.index(f"<!-- example: {name} -->") :], language)[0]
