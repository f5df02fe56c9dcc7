"""Days and times in commands and their output, in the machine's time zone."""

from __future__ import annotations

import re
import time
from datetime import datetime

from service.base.errors import InputError

_AGO = re.compile(r"(\d{1,6})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


def format_day(when: float | None) -> str:
    """A day as 2026-11-30; nothing for None."""
    return "" if when is None else time.strftime("%Y-%m-%d", time.localtime(when))


def format_time(when: float | None) -> str:
    """A time as 2026-11-30 17:05:12; nothing for None."""
    return "" if when is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def parse_time(text: str, option: str, now: float) -> float:
    """Unix seconds of a day, a time, or a time ago such as 30m, 12h or 7d.

    Raises:
        InputError: it is none of these.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(0.0, now - int(ago[1]) * _SECONDS[ago[2]])
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"{option}: invalid time {text!r}; write it as 2026-11-30, 2026-11-30T17:05, or as a "
            "time ago: 30m, 12h, 7d"
        ) from None
