"""Whose turn it is: shares, priorities, dependencies, limits, and that nothing starves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from service.jobs.queue import AGING, Holding, Limits, Waiting, next_to_start
from service.store.states import ENDS, LEGAL, JobState, may_become


def started(
    waiting: list[Waiting],
    holding: list[Holding] | None = None,
    limits: Limits | None = None,
    **more: object,
) -> tuple[str, ...]:
    facts: dict[str, object] = {"succeeded": (), "used": {}, "now": 100.0, **more}
    return next_to_start(waiting, holding or [], limits or Limits(running=100), **facts)  # type: ignore[arg-type]  # each test names its own


def test_users_take_turns_however_much_one_submits() -> None:
    greedy = [Waiting(f"a{n}", "ann", since=float(n)) for n in range(6)]
    modest = [Waiting("b0", "bob", since=50.0), Waiting("b1", "bob", since=51.0)]
    assert started([*greedy, *modest], limits=Limits(running=4)) == ("a0", "b0", "a1", "b1")
    busy = [Holding("x", "ann"), Holding("y", "ann")]
    assert started([*greedy, *modest], busy, Limits(running=4)) == ("b0", "b1")


def test_who_has_had_less_goes_first_among_equals() -> None:
    waiting = [Waiting("a", "ann", since=0.0), Waiting("b", "bob", since=1.0)]
    assert started(waiting, limits=Limits(running=1), used={"ann": 9.0, "bob": 3.0}) == ("b",)


def test_a_users_own_go_by_priority_and_then_by_age() -> None:
    waiting = [
        Waiting("old", "ann", since=0.0),
        Waiting("older", "ann", since=-1.0),
        Waiting("urgent", "ann", since=99.0, priority=5),
    ]
    assert started(waiting) == ("urgent", "older", "old")


def test_dependencies_are_waited_for_and_hold_up_nobody_else() -> None:
    waiting = [
        Waiting("second", "ann", since=0.0, after=("first",)),
        Waiting("c", "ann", since=5.0),
    ]
    assert started(waiting) == ("c",)
    assert started(waiting, succeeded={"first"}) == ("second", "c")


def test_limits_of_a_user_hold_up_that_user_only() -> None:
    waiting = [
        Waiting("big", "ann", since=0.0, gpus=4.0),
        Waiting("b", "bob", since=1.0, gpus=4.0),
    ]
    limits = Limits(running=9, gpus_per_user=6.0, gpus_of={"bob": 2.0})
    assert started(waiting, [Holding("x", "ann", gpus=2.0)], limits) == ("big",)
    assert started(waiting, [Holding("x", "ann", gpus=3.0)], limits) == ()
    one_each = Limits(running=9, running_per_user=1)
    assert started([replace(w, gpus=0.0) for w in waiting], [Holding("x", "ann")], one_each) == (
        "b",
    )


def test_nothing_starves_behind_a_stream_of_more_urgent_sweeps() -> None:
    """One slot; every step an urgent sweep is submitted and one sweep runs to its end."""
    patient = Waiting("patient", "ann", since=0.0)
    waiting, ran = [patient], []
    for step in range(200):
        now = 60.0 * step
        waiting.append(Waiting(f"urgent{step}", "ann", since=now, priority=3))
        (chosen,) = started(waiting, limits=Limits(running=1), now=now)
        ran.append(chosen)
        waiting = [w for w in waiting if w.sweep_id != chosen]
    assert "patient" in ran
    assert 60.0 * ran.index("patient") <= 3 * AGING + 60.0


def test_shares_come_out_equal_over_time() -> None:
    """Two slots, three users with sweeps of different lengths; time decides, not their number."""
    lengths = {"ann": 1, "bob": 2, "cid": 4}
    used, running = Counter[str](), dict[str, tuple[str, int]]()
    for step in range(600):
        waiting = [Waiting(f"{o}{step}", o, since=float(step)) for o in lengths]
        holding = [Holding(s, o) for s, (o, _) in running.items()]
        for chosen in started(waiting, holding, Limits(running=2), used=used, now=float(step)):
            running[chosen] = (chosen[:3], step + lengths[chosen[:3]])
        used.update(owner for owner, _ in running.values())
        running = {s: (o, end) for s, (o, end) in running.items() if end > step + 1}
    mean = sum(used.values()) / 3
    assert all(abs(used[o] - mean) <= 0.1 * mean for o in lengths), used


@pytest.mark.parametrize("state", JobState)
def test_every_state_can_be_left_and_only_to_states(state: JobState) -> None:
    assert LEGAL[state]
    assert state not in LEGAL[state]
    assert state.is_over == (state in ENDS)


def test_an_end_can_only_be_queued_again() -> None:
    for end in ENDS:
        assert [s for s in JobState if may_become(end, s)] == [JobState.QUEUED]
