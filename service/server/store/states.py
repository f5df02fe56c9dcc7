"""The states of a submitted sweep and the ways between them. Nothing here acts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """How a submitted sweep stands with the service."""

    QUEUED = "queued"  # waits for its turn
    STARTING = "starting"  # its job was submitted to the cluster
    RUNNING = "running"  # its driver has been heard
    PAUSING = "pausing"  # its driver was told to stop; it will go on one day
    PAUSED = "paused"  # waits for a person
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end of itself or by a person's word."""
        return self in ENDS

    @property
    def holds_a_job(self) -> bool:
        """Whether something of it may be on the cluster."""
        return self in (JobState.STARTING, JobState.RUNNING, JobState.PAUSING)


ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

_Q, _S, _R = JobState.QUEUED, JobState.STARTING, JobState.RUNNING
_PG, _PD = JobState.PAUSING, JobState.PAUSED

LEGAL: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        _Q: frozenset({_S, _PD, JobState.FAILED, JobState.CANCELLED}),
        _S: frozenset({_R, _Q, _PG, *ENDS}),
        _R: frozenset({_Q, _PG, *ENDS}),
        _PG: frozenset({_PD, *ENDS}),
        _PD: frozenset({_Q, JobState.CANCELLED}),
        JobState.SUCCEEDED: frozenset({_Q}),  # extended
        JobState.FAILED: frozenset({_Q}),  # tried again
        JobState.CANCELLED: frozenset({_Q}),  # tried again
    }
)


def may_become(old: JobState, new: JobState) -> bool:
    """Whether a sweep may go from one state to the other at once."""
    return new in LEGAL[old]
