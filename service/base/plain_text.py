"""Makes texts of users fit to be shown: no terminal, page or log obeys what is written in them.

Names, causes, values, file names and logs are other people's. Every text passes through here before
it reaches a terminal (:func:`say`, and the consoles of ``service/report/console.py``) or a page.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import TextIO

_REPLACED = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control characters, invisible ones such as those that turn the direction of writing, halves of
characters, and separators of lines and paragraphs."""
_KEPT = "\n\t"
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_IN_MARKDOWN = re.compile(r"[\\`*\[\]>!|~#]|(?<!\w)_|_(?!\w)")
_NOT_ASCII = re.compile("[\x7f-\U0010ffff]")


class _Table(dict[int, int]):
    """What :meth:`str.translate` looks up; filled when a character is first seen."""

    def __missing__(self, code: int) -> int:
        self[code] = ord(_replace(chr(code)))
        return self[code]


def _replace(character: str) -> str:
    code = ord(character)
    if character in _KEPT or unicodedata.category(character) not in _REPLACED:
        return character
    if code < 0x20:
        return chr(0x2400 + code)  # the picture of the control character
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else _UNKNOWN


_TABLE = _Table()


def clean(text: str) -> str:
    """The text with a visible sign for each character that a terminal obeys or does not show.

    Its length is the same; only new lines and tabs stay.
    """
    return text if text.isascii() and text.isprintable() else text.translate(_TABLE)


def clean_log(text: str) -> str:
    """Lines of a log, see :func:`clean`; a carriage return before the end of a line is no more."""
    return clean(text.replace("\r\n", "\n"))


def clean_json(text: str) -> str:
    """The same JSON with such characters as escapes: JSON itself escapes only those of ASCII."""
    return _NOT_ASCII.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    if clean(character) == character:
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def escape_markdown(text: str) -> str:
    """Markdown that shows this text: its names make no links, pictures or elements."""
    return _IN_MARKDOWN.sub(r"\\\g<0>", clean(text)).replace("<", "&lt;")


def say(text: object = "", *, to: TextIO | None = None, end: str = "\n") -> None:
    """Print a text to standard output, or ``to`` another stream, see :func:`clean`."""
    print(clean(str(text)), file=to or sys.stdout, end=end, flush=True)
