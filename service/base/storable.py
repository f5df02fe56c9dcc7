"""Texts that every database and protocol accepts."""

from __future__ import annotations


def make_storable(text: str) -> str:
    """The text with escapes for NUL and lone surrogates, which PostgreSQL and UTF-8 lack."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
