"""Words for people and logs without the secrets that were in them."""

from __future__ import annotations

import logging
import re

_IN_URL = re.compile(
    r"(?<![\w+.-])(?P<scheme>[a-zA-Z][\w+.-]*://)"
    r"(?:[^/\s'\"@]+|[^/\s'\"@:]*:(?!\d+(?:[/\s'\"]|$))[^\n@]*)@"  # a password may hold anything
)
_IN_QUERY = re.compile(r"([?&]password=)[^&\s'\"]+")
_TOKEN = re.compile(r"\bgs_[\w-]{16,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")


def redact(text: str) -> str:
    """The text without credentials in URLs, tokens of ours, and authorisation headers."""
    text = redact_query(_IN_URL.sub(r"\g<scheme>***@", text))
    return _BEARER.sub(r"\1 ***", _TOKEN.sub("gs_***", text))


def redact_query(text: str) -> str:
    """The text without the passwords in the queries of URLs."""
    return _IN_QUERY.sub(r"\1***", text)


class RedactingFormatter(logging.Formatter):
    """A log's lines, tracebacks too, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """As :class:`logging.Formatter` does, without them."""
        return redact(super().format(record))
