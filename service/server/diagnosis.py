"""Why a driver ended or did not start, in one line, from what the cluster knows. Pure."""

from __future__ import annotations

import re

from service.base.plain_text import clean
from service.base.redaction import redact

_LONGEST = 300
_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+")
"""Numbers, addresses and ids: they differ between two attempts that fail for the same reason."""


def diagnose(message: str, log: str) -> str:
    """The beginning of the cluster's message, and the last line of the job's log.

    The cluster may end its message with lines of the log.
    """
    first, *rest = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
    if not last and "logs" in first and rest:
        last = rest[-1]
    first = re.sub(r", last available logs.*", "", first)
    known = _shorten(first) or "the cluster gives no reason"
    return f"{known}; its log ends with: {_shorten(last)}" if last else known


def is_same_cause(one: str, other: str) -> bool:
    """Whether two reasons differ in numbers and ids only."""
    return _VARYING.sub("#", one) == _VARYING.sub("#", other)


def _shorten(text: str) -> str:
    plain = clean(redact(text))
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"
