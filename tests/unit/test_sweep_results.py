"""What is said of a sweep that the store holds."""

from __future__ import annotations

from service.client.job_states import JobState
from service.server.store.job_records import Transition
from service.server.sweep_results import sum_active_seconds


def history(*changes: tuple[float, JobState]) -> list[Transition]:
    return [Transition(time=t, old=None, new=s, cause="", by="ann") for t, s in changes]


def test_its_seconds_are_those_on_the_cluster_and_no_wait() -> None:
    began = history((0, JobState.QUEUED), (100, JobState.STARTING), (102, JobState.RUNNING))
    assert sum_active_seconds(began, 110.0) == 10
    paused = [*began, *history((110, JobState.PAUSING), (111, JobState.PAUSED))]
    assert sum_active_seconds(paused, 500.0) == 11
    again = [*paused, *history((500, JobState.QUEUED), (600, JobState.RUNNING))]
    assert sum_active_seconds([*again, *history((620, JobState.SUCCEEDED))], 9999.0) == 31


def test_what_was_never_started_took_no_time() -> None:
    assert sum_active_seconds(history((0, JobState.QUEUED)), 50.0) == 0
