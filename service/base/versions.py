"""This gapsweep's version, and the refusal to work with another's."""

from __future__ import annotations

from importlib.metadata import version

from service.base.errors import InputError


def installed_version() -> str:
    """The version that is installed here."""
    return version("gapsweep")


def describe_mismatch(theirs: str, who: str, here: str) -> str | None:
    """In words, that ``who`` has another version than what is installed ``here``; None if not."""
    ours = installed_version()
    if theirs == ours:
        return None
    return f"{here} has gapsweep {ours}, {who} has {theirs}; install the same version on both"


def require(theirs: str, who: str, here: str) -> None:
    """See that ``who`` has the version that is installed here.

    Raises:
        InputError: it has another.
    """
    words = describe_mismatch(theirs, who, here)
    if words is not None:
        raise InputError(words)
