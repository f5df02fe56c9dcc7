"""Formats numbers and durations for people."""

from __future__ import annotations

import math

MISSING = "–"


def number(value: float | None) -> str:
    """Format a number with four significant digits; a dash for None, NaN and the infinities."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:#.4g}".rstrip(".")


def duration(seconds: float) -> str:
    """Format a duration in hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
