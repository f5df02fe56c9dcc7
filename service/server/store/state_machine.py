"""The legal transitions between the states of a submitted sweep. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from service.client.job_states import JobState

_Q, _S, _R = JobState.QUEUED, JobState.STARTING, JobState.RUNNING
_PG, _PD = JobState.PAUSING, JobState.PAUSED
_ENDS = frozenset(state for state in JobState if state.is_kept)

LEGAL: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        _Q: frozenset({_S, _PD, JobState.FAILED, JobState.CANCELLED}),
        _S: frozenset({_R, _Q, _PG, _PD, *_ENDS}),
        _R: frozenset({_Q, _PG, _PD, *_ENDS}),  # paused by its driver: the disk is full
        _PG: frozenset({_PD, *_ENDS}),
        _PD: frozenset({_Q, JobState.CANCELLED}),
        JobState.SUCCEEDED: frozenset({_Q, JobState.DELETING}),  # extended
        JobState.FAILED: frozenset({_Q, JobState.DELETING}),  # retried
        JobState.CANCELLED: frozenset({_Q, JobState.DELETING}),  # retried
        JobState.DELETING: frozenset(),
    }
)


def is_legal(old: JobState, new: JobState) -> bool:
    """Whether a sweep may go directly from one state to the other."""
    return new in LEGAL[old]
