"""Keeps the user's code that a test imports from the tests after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.config.code_policy import leave_policy, restore_policy

_TESTS = Path(__file__).resolve().parent
_INSTALLED = tuple(Path(p).resolve() for p in (_TESTS.parent, sys.prefix, sys.base_prefix))
_USERS = _TESTS / "data"
"""Where modules of users lie that are kept with the tests."""


@contextmanager
def forget_user_code() -> Iterator[None]:
    """Restore the path and the policy on exit, and forget the user's modules that were imported.

    Two tests may have modules of one name: the second would find the first's, in a folder that
    exists no more.
    """
    path, before = list(sys.path), list(sys.modules)
    try:
        with restore_policy():
            yield
            leave_policy()
    finally:
        sys.path[:] = path
        new = {name: name.partition(".")[0] for name in _list_new(before)}
        users = {top for top in set(new.values()) if _is_users(top)}
        for name in (name for name, top in new.items() if top in users):
            del sys.modules[name]


def _list_new(before: list[str]) -> list[str]:
    """The modules that were not there before, of thousands that most often were."""
    now = list(sys.modules)
    if now[: len(before)] == before:  # as new ones come last
        return now[len(before) :]
    return list(set(now) - set(before))


def _is_users(name: str) -> bool:
    """Whether a module or package lies where only users' code does."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    places = [file] if file else getattr(module, "__path__", ())
    return any(_is_outside(Path(place).resolve()) for place in places)


def _is_outside(place: Path) -> bool:
    return place.is_relative_to(_USERS) or not any(place.is_relative_to(p) for p in _INSTALLED)
