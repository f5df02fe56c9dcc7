"""Converts the session's messages to and from the dicts that Tune passes to and from actors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.study.messages import Answer, Assignment, TrialFailure

_ASSIGNMENT, _ANSWER = "assignment", "answer"


def to_config(assignment: Assignment) -> dict[str, Any]:
    """Convert a trial to a config for an actor."""
    return {_ASSIGNMENT: assignment}


def from_config(config: Mapping[str, Any]) -> Assignment:
    """Read the trial from a config."""
    found: Assignment = config[_ASSIGNMENT]
    return found


def to_result(answer: Answer) -> dict[str, Any]:
    """Convert an actor's answer to a result; ``done`` means that the trial has ended."""
    return {_ANSWER: answer, "done": isinstance(answer, TrialFailure) or answer.is_last}


def from_result(result: Mapping[str, Any] | None) -> Answer | None:
    """Read the answer from a result; None if the actor died before it answered."""
    found: Answer | None = (result or {}).get(_ANSWER)
    return found
