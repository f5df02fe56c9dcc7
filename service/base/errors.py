"""The service's exceptions, one root, one exit code each.

GapsweepError              exit code 1
├── InputError             exit code 2: what the user gave cannot be run; says where and what would
│   ├── SpecError          a spec that does not validate: every problem at once
│   ├── HomeError          a home folder that cannot be used
│   ├── NotFoundError      no such thing
│   │   ├── SweepNotFoundError no such sweep, or more than one
│   │   ├── TrialNotFoundError no such trial
│   │   ├── BundleNotFoundError no such bundle
│   │   ├── NothingYetError    a sweep that has no such thing yet
│   │   └── UnknownUserError   no such user, or not any more
│   ├── ConflictError      the thing is not in a state for it
│   │   ├── SweepBusyError     another process runs this sweep
│   │   ├── IllegalChangeError a state cannot follow the one that a sweep is in
│   │   └── StaleDriverError   a sweep has another driver by now
│   ├── UnauthorizedError  nobody that the service knows
│   ├── ForbiddenError     somebody who may not
│   ├── BundleError        code that cannot be taken as it is
│   ├── TooManyError       more requests than one may make
│   └── DatabaseError      a database that cannot be used as it is, or does not answer
├── ServerError            a server that cannot be reached, or that went wrong
│   ├── ClusterAwayError   the Ray cluster does not answer
│   └── LaunchError        the Ray cluster will not take a job
└── SweepFailedError       the sweep itself failed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class GapsweepError(Exception):
    """Root of everything the service raises on purpose; its text is for the user."""

    exit_code = 1


class InputError(GapsweepError):
    """The input cannot be run as it is."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a spec: the key's dotted path, what is wrong, what would be valid."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SpecError(InputError):
    """A spec that does not validate."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {p}" for p in self.problems)]))


class HomeError(InputError):
    """The home folder cannot be used."""


class NotFoundError(InputError):
    """What was named is not there."""


class SweepNotFoundError(NotFoundError):
    """No sweep, or more than one, goes by that name."""


class TrialNotFoundError(NotFoundError):
    """No trial of the sweep has that number."""


class BundleNotFoundError(NotFoundError):
    """No bundle has that digest."""


class NothingYetError(NotFoundError):
    """The sweep has not come so far."""


class UnknownUserError(NotFoundError):
    """No user goes by that name, or none any more."""


class ConflictError(InputError):
    """What was asked for does not go with how things stand."""


class SweepBusyError(ConflictError):
    """Another process is running this sweep."""


class IllegalChangeError(ConflictError):
    """A sweep cannot come into that state from the one it is in."""


class StaleDriverError(ConflictError):
    """The sweep was given to another driver, or taken from all."""


class UnauthorizedError(InputError):
    """Who asks is not known."""


class ForbiddenError(InputError):
    """Who asks is known and may not."""


class BundleError(InputError):
    """An archive of a user's code that cannot be taken."""


class TooManyError(InputError):
    """More requests than one may make; ``retry_after`` is in seconds."""

    def __init__(self, words: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(words)


class DatabaseError(InputError):
    """The database cannot be used as it is."""


class DatabaseSetupError(DatabaseError):
    """The database's URL is invalid or its schema is another version's."""


class ServerError(GapsweepError):
    """The server cannot be reached, or went wrong."""


class ClusterAwayError(ServerError):
    """The cluster does not answer."""


class LaunchError(ServerError):
    """The cluster will not take a job as it is."""


class SweepFailedError(GapsweepError):
    """The sweep ended without an answer."""
