"""Removes secrets from texts for users and logs."""

from __future__ import annotations

import logging
import re

from service.base.plain_text import clean

_IN_URL = re.compile(
    r"(?<![\w+.-])(?P<scheme>[a-zA-Z][\w+.-]*://)"
    r"(?:[^/\s'\"@]+|[^/\s'\"@:]*:(?!\d+(?:[/\s'\"]|$))[^\n@]*)@"  # a password may contain anything
)
_IN_QUERY = re.compile(r"([?&]password=)[^&\s'\"]+")
_TOKEN = re.compile(r"\bgs_[\w-]{16,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")


def redact(text: str) -> str:
    """The text without credentials in URLs, our tokens, and authorisation headers."""
    text = redact_query(_IN_URL.sub(r"\g<scheme>***@", text))
    return _BEARER.sub(r"\1 ***", _TOKEN.sub("gs_***", text))


def redact_query(text: str) -> str:
    """The text without passwords in the queries of URLs."""
    return _IN_QUERY.sub(r"\1***", text)


class RedactingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """The formatted record, redacted and clean: it may quote a user's text."""
        return clean(redact(super().format(record)))
