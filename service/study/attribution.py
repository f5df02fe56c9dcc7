"""Who is to blame for the interruptions of a trial, and what follows. Pure functions.

A trial's own process may die while the driver lives: that is the trial's fault. Whatever ends the
driver, a node or the whole cluster ends every trial that runs, and is nobody's fault; a trial that
it interrupts continues, unless it has made no progress over several interruptions between which
other trials did. Every count has a bound, so that no trial is tried for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

STALLS = 5
"""Interruptions without progress, between which other trials made some, until a trial is failed."""

POSTPONED = 20
"""Interruptions in a row without progress, after which other trials of the search go first."""

HOPELESS = 40
"""Interruptions in a row without progress until a trial is failed, whatever others did."""

CONTROLS = 3
"""How many times as much a control may fail: without it a sweep has nothing to compare with."""


class Verdict(Enum):
    """What to do with an interrupted trial."""

    CONTINUE = "continue from its last epoch"
    POSTPONE = "continue after another trial of the search has ended"
    GIVE_UP = "end as failed"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a trial's interruptions, over all sessions.

    ``crashes`` are the deaths of its own process while the driver lived. ``idle`` interruptions
    from outside came in a row without a new epoch of this trial; during ``stalls`` of them, other
    trials recorded epochs.
    """

    crashes: int = 0
    idle: int = 0
    stalls: int = 0


def count_crash(record: Record) -> Record:
    """Count the death of the trial's own process while its driver lived."""
    return replace(record, crashes=record.crashes + 1)


def count_interruption(record: Record, *, own: int, others: int) -> Record:
    """Count an interruption from outside, by the new epochs since the trial was last handed out.

    ``own`` are those of the trial, ``others`` those of all other trials.
    """
    if own > 0:
        return replace(record, idle=0, stalls=0)
    return replace(record, idle=record.idle + 1, stalls=record.stalls + (others > 0))


def judge(record: Record, *, retries: int, control: bool) -> tuple[Verdict, str]:
    """Decide what follows from a trial's interruptions; the text is the reason of a failure.

    ``retries`` is how many deaths of its process a trial survives, ``control`` whether the sweep
    compares others with it.
    """
    factor = CONTROLS if control else 1
    if record.crashes >= factor * (retries + 1):
        times = f"{record.crashes} times" if record.crashes > 1 else "once"
        return Verdict.GIVE_UP, f"its process died {times} while the sweep ran"
    if record.stalls >= factor * STALLS:
        return Verdict.GIVE_UP, (
            f"interrupted {record.idle} times without a new epoch, while other trials made progress"
        )
    if record.idle >= factor * HOPELESS:
        return Verdict.GIVE_UP, f"interrupted {record.idle} times without a new epoch"
    return (Verdict.POSTPONE if record.idle >= POSTPONED else Verdict.CONTINUE), ""
