"""Which sweep starts next: shares, priorities, dependencies, limits, and that nothing starves."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.base.amount import Amount
from service.client.job_states import JobState
from service.server import shares
from service.server.queue import AGING, QueueLimits, Waiting, select_next
from service.server.shares import Demand, share
from service.server.store.state_machine import LEGAL, is_legal

ROOM = Amount(cpus=100.0, gpus=100.0)


def demand(sweep_id: str, owner: str, gpus: float = 0.0, trials: int = 1) -> Demand:
    return Demand(sweep_id, owner, Amount(1.0, gpus), trials)


@dataclass(frozen=True)
class Queued:
    """A queued sweep and its demand."""

    demand: Demand
    since: float
    priority: int = 0
    after: tuple[str, ...] = ()

    @property
    def waiting(self) -> Waiting:
        d = self.demand
        return Waiting(d.sweep_id, d.owner, self.since, self.priority, self.after)


def waits(
    sweep_id: str,
    owner: str,
    since: float,
    priority: int = 0,
    gpus: float = 0.0,
    after: tuple[str, ...] = (),
) -> Queued:
    return Queued(demand(sweep_id, owner, gpus), since, priority, after)


def started(
    queued: Sequence[Queued],
    holding: Sequence[Demand] = (),
    limits: QueueLimits | None = None,
    capacity: Amount = ROOM,
    succeeded: Collection[str] = (),
    used: Mapping[str, float] | None = None,
    now: float = 100.0,
) -> tuple[str, ...]:
    demands = {q.demand.sweep_id: q.demand for q in queued}
    chosen = select_next(
        [q.waiting for q in queued],
        holding,
        capacity,
        limits or QueueLimits(running=100),
        demand_of=demands.__getitem__,
        succeeded=succeeded,
        used=used or {},
        now=now,
    )
    return tuple(d.sweep_id for d in chosen)


def test_users_take_turns_however_much_one_submits() -> None:
    greedy = [waits(f"a{n}", "ann", since=float(n)) for n in range(6)]
    modest = [waits("b0", "bob", since=50.0), waits("b1", "bob", since=51.0)]
    assert started([*greedy, *modest], limits=QueueLimits(running=4)) == ("a0", "b0", "a1", "b1")
    busy = [demand("x", "ann"), demand("y", "ann")]
    assert started([*greedy, *modest], busy, QueueLimits(running=4)) == ("b0", "b1")


def test_who_has_had_less_goes_first_among_equals() -> None:
    waiting = [waits("a", "ann", since=0.0), waits("b", "bob", since=1.0)]
    assert started(waiting, limits=QueueLimits(running=1), used={"ann": 9.0, "bob": 3.0}) == ("b",)


def test_a_users_own_go_by_priority_and_then_by_age() -> None:
    waiting = [
        waits("old", "ann", since=0.0),
        waits("older", "ann", since=-1.0),
        waits("urgent", "ann", since=99.0, priority=5),
    ]
    assert started(waiting) == ("urgent", "older", "old")


def test_dependencies_are_waited_for_and_hold_up_nobody_else() -> None:
    waiting = [waits("second", "ann", since=0.0, after=("first",)), waits("c", "ann", since=5.0)]
    assert started(waiting) == ("c",)
    assert started(waiting, succeeded={"first"}) == ("second", "c")


def test_limits_of_a_user_hold_up_that_user_only() -> None:
    waiting = [waits("big", "ann", since=0.0, gpus=4.0), waits("b", "bob", since=1.0, gpus=4.0)]
    limits = QueueLimits(running=9, gpus_per_user=6.0, gpus_of={"bob": 2.0})
    assert started(waiting, [demand("x", "ann", gpus=2.0)], limits) == ("big",)
    assert started(waiting, [demand("x", "ann", gpus=3.0)], limits) == ()
    plain = [waits("a", "ann", since=0.0), waits("b", "bob", since=1.0)]
    one_each = QueueLimits(running=9, running_per_user=1)
    assert started(plain, [demand("x", "ann")], one_each) == ("b",)


def test_one_trial_of_every_sweep_must_fit_and_the_first_in_turn_is_waited_for() -> None:
    room = Amount(cpus=2.0, gpus=4.0)
    waiting = [waits("big", "ann", since=0.0, gpus=3.0), waits("small", "bob", since=1.0)]
    busy = [demand("x", "cid", gpus=2.0)]
    assert started(waiting, busy, capacity=room) == ()
    assert started(waiting, [], capacity=room) == ("big", "small")
    never = [waits("huge", "ann", since=0.0, gpus=9.0)]
    assert started(never, busy, capacity=room) == ("huge",)  # its driver says what is there


def test_nothing_starts_before_a_node_has_joined_the_cluster() -> None:
    """After a restart of everything, the queue may look at a head that has no CPUs."""
    queued = [waits("a", "ann", 0)]
    assert started(queued, capacity=Amount()) == ()
    assert started(queued, capacity=Amount(cpus=0.5)) == ("a",)  # too small: its driver says so


def test_nothing_starves_behind_a_stream_of_more_urgent_sweeps() -> None:
    """One slot; every step an urgent sweep is submitted and one sweep runs to its end."""
    waiting, ran = [waits("patient", "ann", since=0.0)], []
    for step in range(200):
        now = 60.0 * step
        waiting.append(waits(f"urgent{step}", "ann", since=now, priority=3))
        (chosen,) = started(waiting, limits=QueueLimits(running=1), now=now)
        ran.append(chosen)
        waiting = [w for w in waiting if w.demand.sweep_id != chosen]
    assert "patient" in ran
    assert 60.0 * ran.index("patient") <= 3 * AGING + 60.0


def test_shares_come_out_equal_over_time() -> None:
    """Two slots, three users with sweeps of different lengths; time decides, not their number."""
    lengths = {"ann": 1, "bob": 2, "cid": 4}
    used, running = Counter[str](), dict[str, tuple[str, int]]()
    for step in range(600):
        waiting = [waits(f"{o}{step}", o, since=float(step)) for o in lengths]
        holding = [demand(s, o) for s, (o, _) in running.items()]
        for chosen in started(waiting, holding, QueueLimits(running=2), used=used, now=float(step)):
            running[chosen] = (chosen[:3], step + lengths[chosen[:3]])
        used.update(owner for owner, _ in running.values())
        running = {s: (o, end) for s, (o, end) in running.items() if end > step + 1}
    mean = sum(used.values()) / 3
    assert all(abs(used[o] - mean) <= 0.1 * mean for o in lengths), used


class OldRule:
    """The rule as it was before it was fast: after each choice it looks at every sweep again."""

    def __init__(self, limits: QueueLimits, capacity: Amount, used: Mapping[str, float]) -> None:
        self.limits, self.capacity, self.used = limits, capacity, used

    def choose(
        self, queued: Sequence[Queued], holding: Sequence[Demand], done: set[str], now: float
    ) -> tuple[str, ...]:
        held, chosen = list(holding), list[str]()
        ready = [q for q in queued if done.issuperset(q.after)]
        while ready and len(held) < self.limits.running:
            first = next((q for q in self.order(ready, held, now) if self.allows(q, held)), None)
            if first is None or not self.fit([*held, first.demand]):
                break
            ready.remove(first)
            chosen.append(first.demand.sweep_id)
            held.append(first.demand)
        return tuple(chosen)

    def order(self, ready: list[Queued], held: list[Demand], now: float) -> Iterator[Queued]:
        shares = Counter[str]()
        for d in held:
            shares[d.owner] += d.trial.dominant_share(self.capacity)  # type: ignore[assignment]  # a Counter takes floats
        for owner in sorted(
            {q.demand.owner for q in ready}, key=lambda o: (shares[o], self.used.get(o, 0.0), o)
        ):
            yield max(
                (q for q in ready if q.demand.owner == owner),
                key=lambda q: (
                    q.priority + (now - q.since) / AGING,
                    -q.since,
                    q.demand.sweep_id,
                ),
            )

    def allows(self, q: Queued, held: list[Demand]) -> bool:
        own = [d for d in held if d.owner == q.demand.owner]
        most, gpus = self.limits.running_per_user, self.limits.gpus(q.demand.owner)
        if most is not None and len(own) >= most:
            return False
        return gpus is None or sum(d.trial.gpus for d in own) + q.demand.trial.gpus <= gpus

    def fit(self, demands: list[Demand]) -> bool:
        some = [d.trial for d in demands if d.trial.fits(self.capacity)]
        return sum(some, Amount()).fits(self.capacity)


owners = st.sampled_from(["ann", "bob", "cid", "dan"])
gpu_counts = st.sampled_from([0.0, 0.5, 1.0, 2.0, 9.0])
names = st.sampled_from([f"s{n}" for n in range(12)])
queues = st.lists(
    st.tuples(
        owners, st.integers(0, 2000), st.integers(-3, 3), gpu_counts, st.lists(names, max_size=3)
    ),
    max_size=12,
)


@settings(max_examples=400, deadline=None)
@given(
    queue=queues,
    holding=st.lists(st.tuples(owners, gpu_counts), max_size=4),
    done=st.sets(names),
    limits=st.builds(
        QueueLimits,
        running=st.integers(1, 9),
        running_per_user=st.none() | st.integers(1, 3),
        gpus_per_user=st.none() | gpu_counts,
        gpus_of=st.dictionaries(owners, gpu_counts, max_size=2),
    ),
    used=st.dictionaries(owners, st.integers(0, 3).map(float)),
    capacity=st.builds(Amount, st.integers(1, 9).map(float), st.integers(0, 4).map(float)),
)
def test_choices_are_those_of_the_rule_that_looks_at_every_sweep_each_time(
    queue: list[tuple[str, int, int, float, list[str]]],
    holding: list[tuple[str, float]],
    done: set[str],
    limits: QueueLimits,
    used: dict[str, float],
    capacity: Amount,
) -> None:
    queued = [
        waits(f"s{n}", owner, float(since), priority, gpus, tuple(after))
        for n, (owner, since, priority, gpus, after) in enumerate(queue)
    ]
    held = [demand(f"h{n}", owner, gpus) for n, (owner, gpus) in enumerate(holding)]
    expected = OldRule(limits, capacity, used).choose(queued, held, done, 2000.0)
    assert started(queued, held, limits, capacity, done, used, 2000.0) == expected


def test_only_demands_of_sweeps_that_start_or_are_held_back_are_looked_at() -> None:
    asked = list[str]()

    def demand_of(sweep_id: str) -> Demand:
        asked.append(sweep_id)
        return demand(sweep_id, sweep_id.partition("-")[0])

    queue = [Waiting(f"{o}-{n}", o, float(n)) for o in ("ann", "bob") for n in range(5_000)]
    limits = QueueLimits(running=4)
    select_next(queue, [], ROOM, limits, demand_of=demand_of, succeeded=(), used={}, now=9_000.0)
    assert asked == ["ann-0", "bob-0", "ann-1", "bob-1"]


class TestShares:
    """What each sweep on the cluster may hold."""

    def test_users_get_equal_parts_and_one_users_sweeps_share_theirs(self) -> None:
        demands = [demand(s, o, trials=9) for s, o in (("a", "ann"), ("b", "ann"), ("c", "bob"))]
        assert share(demands, Amount(cpus=8.0), {}) == {"a": 2, "b": 2, "c": 4}

    def test_what_one_does_not_want_the_others_get(self) -> None:
        demands = [demand("a", "ann", trials=1), demand("b", "bob", trials=99)]
        assert share(demands, Amount(cpus=8.0), {}) == {"a": 1, "b": 7}

    def test_a_sweep_alone_gets_what_it_wants_and_fits(self) -> None:
        assert share([demand("a", "ann", trials=3)], Amount(cpus=8.0), {}) == {"a": 3}
        assert share([demand("a", "ann", trials=99)], Amount(cpus=8.0), {}) == {"a": 8}

    def test_the_scarcest_thing_that_a_user_holds_is_what_counts(self) -> None:
        """The example of Ghodsi et al.: 9 CPUs and 18 GB, tasks of (1, 4) and (3, 1)."""
        demands = [
            Demand("a", "ann", Amount(1.0, 4.0), 99),
            Demand("b", "bob", Amount(3.0, 1.0), 99),
        ]
        assert share(demands, Amount(9.0, 18.0), {}) == {"a": 3, "b": 2}

    def test_a_users_gpus_are_bounded(self) -> None:
        demands = [demand("a", "ann", gpus=1.0, trials=9), demand("b", "bob", gpus=1.0, trials=9)]
        found = share(demands, Amount(100.0, 8.0), {"ann": 2.0, "bob": None})
        assert found == {"a": 2, "b": 6}

    @pytest.mark.parametrize(
        ("trial", "trials", "capacity"),
        [
            (Amount(1e-7), 10**9, Amount(8.0)),
            (Amount(1e-18), 10**30, Amount(8.0)),
            (Amount(1e-18), 10**30, Amount(0.0)),
            (Amount(1e-7, 1e-9), 10**9, Amount(8.0, 4.0)),
            (Amount(0.01), 10**9, Amount(100_000.0)),
        ],
    )
    def test_small_trials_are_not_counted_one_by_one(
        self, monkeypatch: pytest.MonkeyPatch, trial: Amount, trials: int, capacity: Amount
    ) -> None:
        turns = itertools.count()
        give = shares._Sharing._give

        def counted(sharing: shares._Sharing, d: Demand) -> None:
            assert next(turns) < 5_000
            give(sharing, d)

        monkeypatch.setattr(shares._Sharing, "_give", counted)
        demands = [Demand(s, o, trial, trials) for s, o in (("a", "ann"), ("b", "ann"), ("c", "c"))]
        found = share([*demands, demand("d", "dan", trials=2)], capacity, {})
        fair = min(trials, int((capacity.cpus - 2 * (capacity.cpus > 2)) / trial.cpus))
        if capacity.cpus:
            assert sum(found[s] for s in "abc") == pytest.approx(min(3 * trials, fair), rel=1e-3)
            assert found["c"] == pytest.approx(found["a"] + found["b"], rel=0.02)
            assert found["d"] == 2

    @given(
        counts=st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 9)), max_size=6),
        cpus=st.integers(6, 30),
    )
    def test_nobody_goes_without_and_no_more_is_given_than_there_is(
        self, counts: list[tuple[str, int]], cpus: int
    ) -> None:
        demands = [demand(str(n), o, trials=t) for n, (o, t) in enumerate(counts)]
        found = share(demands, Amount(float(cpus)), {})
        assert all(1 <= found[d.sweep_id] <= d.trials for d in demands)
        assert sum(found.values()) == min(cpus, sum(d.trials for d in demands))


@pytest.mark.parametrize("state", JobState)
def test_every_state_but_a_deletion_can_be_left_and_only_to_states(state: JobState) -> None:
    assert bool(LEGAL[state]) == (state is not JobState.DELETING)
    assert state not in LEGAL[state]
    ends = ("succeeded", "failed", "cancelled")
    assert state.is_kept == (state.value in ends)
    assert state.is_over == (state.value in (*ends, "deleting"))


def test_an_end_can_only_be_queued_again_or_deleted() -> None:
    for end in (s for s in JobState if s.is_kept):
        assert [s for s in JobState if is_legal(end, s)] == [JobState.QUEUED, JobState.DELETING]
