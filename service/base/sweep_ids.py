"""How a person names a sweep: by its id, an unambiguous beginning of it, or ``latest``."""

from __future__ import annotations

from collections.abc import Sequence

from service.base.errors import SweepNotFoundError

LATEST = "latest"
_SHOWN = 10


def resolve_sweep(reference: str, ids: Sequence[str], where: str) -> str:
    """Return the id that ``reference`` matches; ``ids`` are all candidates, the newest last.

    Raises:
        SweepNotFoundError: no sweep matches, or several do; ``where`` completes the message.
    """
    if reference == LATEST and ids:
        return ids[-1]
    matches = [i for i in ids if reference and i.startswith(reference)]
    if reference in matches:
        return reference
    if len(matches) == 1:
        return matches[0]
    shown = ", ".join((matches or ids)[-_SHOWN:]) or "none yet"
    if matches:
        raise SweepNotFoundError(f"several sweeps {where} begin with {reference!r}: {shown}")
    raise SweepNotFoundError(f"no sweep {reference!r} {where}; known: {shown}")
