"""The states of submitted sweeps and the actions that users request, for server and client."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """The state of a submitted sweep."""

    QUEUED = "queued"  # waits for a place on the cluster
    STARTING = "starting"  # its job was submitted to the cluster
    RUNNING = "running"  # its driver has sent a heartbeat
    PAUSING = "pausing"  # its driver is stopping; the sweep can be resumed later
    PAUSED = "paused"  # waits for a user to resume it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETING = "deleting"  # it had ended; its folder, runs and rows are being removed

    @property
    def is_over(self) -> bool:
        """Whether the sweep has ended, with a result, without one, or to be deleted."""
        return self in _ENDS or self is JobState.DELETING

    @property
    def is_kept(self) -> bool:
        """Whether the sweep has ended and is not being deleted."""
        return self in _ENDS

    @property
    def is_active(self) -> bool:
        """Whether a job of the sweep may be on the cluster."""
        return self in (JobState.STARTING, JobState.RUNNING, JobState.PAUSING)


_ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class RequestedAction(StrEnum):
    """What a user requested of a sweep that is on the cluster and its driver has not done yet."""

    PAUSE = "pause"
    CANCEL = "cancel"
