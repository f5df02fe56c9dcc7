"""Which sweeps' runs the service has ended, and when."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from service.client.job_states import JobState
from service.server.run_cleanup import GRACE, HORIZON, RunCleanup
from tests.stores import Clock
from tests.worlds import World


class Ended:
    """The boundary to MLflow: what it was asked, and the sweeps whose runs it cannot end."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.fails: set[str] = set()

    def __call__(self, words: Sequence[str]) -> Collection[str]:
        self.asked.append(list(words))
        return {word.split("=")[0] for word in words} - self.fails


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.service.sweeps._clock = Clock(1_000_000_000.0)
    yield made
    made.close()


def test_runs_are_ended_once_after_a_sweep_has_stopped(world: World) -> None:
    clock, end = world.service.sweeps._clock, Ended()
    assert isinstance(clock, Clock)
    cleanup = RunCleanup(world.service.sweeps, end, clock)
    done, paused, running = (world.submit() for _ in range(3))
    world.brought_to(done, JobState.STARTING, JobState.SUCCEEDED)
    world.brought_to(paused, JobState.STARTING, JobState.PAUSED)
    world.brought_to(running, JobState.STARTING, JobState.RUNNING)
    cleanup.round()
    assert end.asked == []  # a request of its driver may be under way
    clock.now += GRACE
    end.fails = {paused}
    cleanup.round()
    assert sorted(end.asked.pop()) == sorted([f"{done}=succeeded", f"{paused}=paused"])
    end.fails = set()
    cleanup.round()
    assert end.asked.pop() == [f"{paused}=paused"]
    cleanup.round()
    assert end.asked == []


def test_a_sweep_that_went_on_is_looked_at_again(world: World) -> None:
    clock, end = world.service.sweeps._clock, Ended()
    assert isinstance(clock, Clock)
    cleanup = RunCleanup(world.service.sweeps, end, clock)
    sweep_id = world.submit()
    for states in (
        (JobState.STARTING, JobState.PAUSED),
        (JobState.QUEUED, JobState.STARTING, JobState.PAUSED),
    ):
        world.brought_to(sweep_id, *states)
        clock.now += GRACE
        cleanup.round()
        assert end.asked.pop() == [f"{sweep_id}=paused"]
    clock.now += HORIZON
    RunCleanup(world.service.sweeps, end, clock).round()
    assert end.asked == []
