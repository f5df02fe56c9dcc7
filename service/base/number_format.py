"""Formats numbers and durations for people."""

from __future__ import annotations

import math

MISSING = "–"


def number(value: float | None) -> str:
    """Format a number with four significant digits, or as nan or inf; a dash for None."""
    if value is None:
        return MISSING
    return f"{value:#.4g}".rstrip(".") if math.isfinite(value) else str(float(value))


def duration(seconds: float) -> str:
    """Format a duration in hours and minutes, minutes and seconds, or seconds."""
    if not math.isfinite(seconds):
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def size(count: float | None) -> str:
    """Format a number of bytes with three significant digits; a dash for None."""
    if count is None:
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB" if count < 1000 else f"{count:.0f} TiB"
