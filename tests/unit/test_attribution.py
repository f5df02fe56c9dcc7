"""Who is to blame for an interruption: the whole rule as one table."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.study.attribution import (
    CONTROLS,
    HOPELESS,
    POSTPONED,
    STALLS,
    Record,
    Verdict,
    count_crash,
    count_interruption,
    judge,
)

RETRIES = 2
GO_ON, LATER, END = Verdict.CONTINUE, Verdict.POSTPONE, Verdict.GIVE_UP

CRASH = "crash"  # its own process died, the driver lived
IDLE = (0, 0)  # killed from outside before anything made progress
STALL = (0, 7)  # killed from outside; others made progress, it did not
PROGRESS = (3, 0)  # killed from outside after it made progress

Event = str | tuple[int, int]


def record_of(events: Sequence[Event]) -> Record:
    record = Record()
    for event in events:
        if isinstance(event, str):
            record = count_crash(record)
        else:
            record = count_interruption(record, own=event[0], others=event[1])
    return record


@pytest.mark.parametrize(
    ("events", "trial", "control"),
    [
        ([], GO_ON, GO_ON),
        ([CRASH] * RETRIES, GO_ON, GO_ON),
        ([CRASH] * (RETRIES + 1), END, GO_ON),
        ([CRASH, PROGRESS] * (RETRIES + 1), END, GO_ON),  # progress pardons no crash
        ([CRASH] * CONTROLS * (RETRIES + 1), END, END),
        ([IDLE] * 10, GO_ON, GO_ON),  # ten kills within seconds of each start
        ([IDLE] * (POSTPONED - 1), GO_ON, GO_ON),
        ([IDLE] * POSTPONED, LATER, LATER),
        ([IDLE] * HOPELESS, END, LATER),
        ([IDLE] * CONTROLS * HOPELESS, END, END),
        ([IDLE] * POSTPONED + [PROGRESS], GO_ON, GO_ON),
        ([PROGRESS] * 100, GO_ON, GO_ON),
        ([STALL] * (STALLS - 1), GO_ON, GO_ON),
        ([STALL] * STALLS, END, GO_ON),
        ([STALL, IDLE] * (STALLS - 1), GO_ON, GO_ON),
        ([STALL] * (STALLS - 1) + [PROGRESS] + [STALL], GO_ON, GO_ON),
        ([(1, 9)] * 100, GO_ON, GO_ON),
        ([STALL] * CONTROLS * STALLS, END, END),
        ([IDLE] * 10 + [CRASH] * RETRIES + [IDLE] * 5, GO_ON, GO_ON),  # crashes survive sessions
    ],
)
def test_what_follows_from_interruptions(
    events: Sequence[Event], trial: Verdict, control: Verdict
) -> None:
    record = record_of(events)
    assert judge(record, retries=RETRIES, control=False)[0] is trial
    assert judge(record, retries=RETRIES, control=True)[0] is control


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("event", [CRASH, IDLE, STALL])
def test_nothing_is_tried_without_bound(event: Event, control: bool) -> None:
    record = record_of([event] * 1000)
    assert judge(record, retries=RETRIES, control=control)[0] is END


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([CRASH], "its process died once while the sweep ran"),
        ([CRASH] * 3, "its process died 3 times while the sweep ran"),
        (
            [STALL] * 5,
            "interrupted 5 times without a new epoch, while other trials made progress",
        ),
        ([IDLE] * 40, "interrupted 40 times without a new epoch"),
    ],
)
def test_a_failure_says_why(events: Sequence[Event], reason: str) -> None:
    assert judge(record_of(events), retries=0, control=False) == (END, reason)
