"""What one user may have of the service, and what a user has."""

from __future__ import annotations

from dataclasses import dataclass

from service.base.errors import InputError, LimitReachedError
from service.base.number_format import size

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class UserLimits:
    """The most that one user may have at a time; None is no limit.

    ``running`` sweeps are those on the cluster: more of them wait in the queue. More than
    ``queued`` sweeps, ``streams`` of events and ``stored_bytes`` are refused; what is stored are
    the folders of the user's sweeps, as last measured, and the archives of the user's code.
    """

    running: int | None = None
    queued: int = 1_000
    streams: int = 100
    stored_bytes: int = 100 * GIB


def default_running(running: int) -> int:
    """How many sweeps of one user run by default, of so many in all: some places are others'."""
    return max(min(running, 2), running - 1)


def check_queued(owner: str, queued: int, limits: UserLimits) -> None:
    """Check that a user who has ``queued`` sweeps in the queue may have one more.

    Raises:
        LimitReachedError: the user may not.
    """
    if queued >= limits.queued:
        raise LimitReachedError(
            f"{owner} has {queued:,} queued sweeps; the limit of a user is {limits.queued:,} "
            "(--queued-per-user of the server): wait until some have started, or cancel some"
        )


def check_stored(owner: str, stored: int, limits: UserLimits, more: int = 0) -> None:
    """Check that a user may store ``more`` bytes.

    Raises:
        LimitReachedError: the user may not.
    """
    if stored + more >= limits.stored_bytes:
        raise LimitReachedError(
            f"{owner} has {size(stored)} stored; the limit of a user is "
            f"{size(limits.stored_bytes)} (--stored-per-user of the server): delete sweeps "
            "with `gapsweep delete`"
        )


def parse_gib(gib: float) -> int:
    """Bytes of a number of GiB.

    Raises:
        InputError: it is no positive number.
    """
    if not 0 < gib < 2**33:
        raise InputError(f"--stored-per-user: invalid size {gib}; write it in GiB, e.g. 100")
    return int(gib * GIB)
