"""What to do with a trial, in words, for the loop that asked for it."""

from __future__ import annotations

from service.study.messages import Assignment
from service.study.records import Role


def describe_task(given: Assignment, seed: int, max_epochs: int) -> str:
    """How to train a trial, in a sentence or two."""
    return " ".join(filter(None, (_describe_what(given, seed), _describe_end(given, max_epochs))))


def _describe_what(given: Assignment, seed: int) -> str:
    again = f" again, with seed {seed} (replicate {given.replicate})" if given.replicate else ""
    if given.baseline:
        return f"Train without any regularisation{again}."
    match given.role:
        case Role.CONTROL:
            return "Train without regularisers, with these other parameters."
        case Role.AUDIT:
            return "Train this configuration, which was pruned, to its end."
    without = _describe_without(given.without)
    return f"Train with these parameters{without}{again}."


def _describe_without(parts: tuple[str, ...]) -> str:
    named = " and ".join(part.replace("_", " ") for part in parts)
    return f", without {named}" if named else ""


def _describe_end(given: Assignment, max_epochs: int) -> str:
    if given.baseline:
        return f"Train all {max_epochs} epochs: nothing stops it early."
    return f"At most {max_epochs} epochs: stop where a report says so."
