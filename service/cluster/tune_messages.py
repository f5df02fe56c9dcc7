"""Converts the session's messages to and from the dicts that Tune passes to and from actors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.study.messages import Answer, Assignment, TrialFailure

_ASSIGNMENT, _ANSWERS = "assignment", "answers"
_ROUNDS = "rounds"


def to_config(assignment: Assignment) -> dict[str, Any]:
    """Convert a trial to a config for an actor."""
    return {_ASSIGNMENT: assignment}


def from_config(config: Mapping[str, Any]) -> Assignment:
    """Read the trial from a config."""
    found: Assignment = config[_ASSIGNMENT]
    return found


def to_result(answers: Sequence[Answer]) -> dict[str, Any]:
    """Convert an actor's answers, in order, to a result; ``done`` if they end the trial."""
    return {_ANSWERS: list(answers), "done": ends_trial(answers)}


def from_result(result: Mapping[str, Any] | None) -> Sequence[Answer]:
    """Read the answers from a result; none if the actor died before it answered."""
    found: Sequence[Answer] = (result or {}).get(_ANSWERS, ())
    return found


def ends_trial(answers: Sequence[Answer]) -> bool:
    """Whether the last of an actor's answers is the end of its trial."""
    if not answers:
        return False
    return isinstance(answers[-1], TrialFailure) or answers[-1].is_last


def to_slot_config(assignments: Sequence[Assignment]) -> dict[str, Any]:
    """Convert the first trials of a slot to a config for its actor."""
    return {_ASSIGNMENT: tuple(assignments)}


def from_slot_config(config: Mapping[str, Any]) -> Sequence[Assignment]:
    """Read the first trials of a slot from a config."""
    found: Sequence[Assignment] = config[_ASSIGNMENT]
    return found


def to_slot_result(rounds: Sequence[Mapping[int, Answer]]) -> dict[str, Any]:
    """Convert the answers of rounds, by trial, to a result.

    Pairs in a list, because Tune flattens dicts. A slot never says that it is done.
    """
    return {_ROUNDS: [list(r.items()) for r in rounds], "done": False}


def from_slot_result(result: Mapping[str, Any]) -> Sequence[Mapping[int, Answer]]:
    """Read the answers of rounds from a result."""
    return [dict(pairs) for pairs in result[_ROUNDS]]
