"""The installed version of gapsweep, and the check that another part has the same."""

from __future__ import annotations

from importlib.metadata import version

from service.base.errors import InputError


def get_installed_version() -> str:
    """The installed version."""
    return version("gapsweep")


def describe_mismatch(theirs: str, who: str, here: str) -> str | None:
    """A message if the version of ``who`` differs from the one installed ``here``, else None."""
    ours = get_installed_version()
    if theirs == ours:
        return None
    return f"{here} has gapsweep {ours}, {who} has {theirs}; install the same version on both"


def require_same_version(theirs: str, who: str, here: str) -> None:
    """Check that ``who`` has the version that is installed here.

    Raises:
        InputError: the versions differ.
    """
    words = describe_mismatch(theirs, who, here)
    if words is not None:
        raise InputError(words)
