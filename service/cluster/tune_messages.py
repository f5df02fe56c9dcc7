"""The session's messages in the dicts that Tune carries between the driver and its actors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.study.messages import Answer, Assignment, TrialFailure

_ASSIGNMENT, _ANSWER = "assignment", "answer"


def to_config(assignment: Assignment) -> dict[str, Any]:
    """A trial on its way to an actor."""
    return {_ASSIGNMENT: assignment}


def from_config(config: Mapping[str, Any]) -> Assignment:
    """The trial that came."""
    found: Assignment = config[_ASSIGNMENT]
    return found


def to_result(answer: Answer) -> dict[str, Any]:
    """An actor's answer on its way to the driver; ``done`` tells Tune that the trial has ended."""
    return {_ANSWER: answer, "done": isinstance(answer, TrialFailure) or answer.is_last}


def from_result(result: Mapping[str, Any] | None) -> Answer | None:
    """The answer that came; None where the actor gave none before it died."""
    found: Answer | None = (result or {}).get(_ANSWER)
    return found
