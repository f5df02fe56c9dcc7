"""The service's exceptions: one root; each class has an HTTP status, a code and an exit code.

GapsweepError
├── InputError                     exit code 2: the input is invalid; the message says what is valid
│   ├── ProblemsError              every problem at once, each with its place
│   │   ├── SpecError              an invalid spec
│   │   ├── RequestError           an invalid request to the API
│   │   └── ChangedSweepError      what a sweep was run on has changed
│   ├── HomeError                  a home folder that cannot be used
│   ├── NotFoundError              something that does not exist
│   │   ├── SweepNotFoundError     no such sweep, or several
│   │   ├── TrialNotFoundError     no such trial
│   │   ├── BundleNotFoundError    no such bundle
│   │   ├── UserNotFoundError      no such user, or a revoked one
│   │   ├── TokenNotFoundError     no such token of the user, or a revoked one
│   │   └── NotReadyError          a result that the sweep does not have yet
│   ├── ConflictError              an action that the current state does not allow
│   │   ├── SweepBusyError         another process runs this sweep
│   │   ├── TrialEndedError        a trial that has ended already
│   │   ├── TrialLostError         a trial that was handed out again meanwhile
│   │   ├── DamagedFileError       a file of the sweep cannot be used
│   │   ├── IllegalTransitionError a sweep's state does not allow the next one
│   │   └── StaleDriverError       the sweep's attempt is over
│   ├── UnauthorizedError          no valid token
│   ├── ForbiddenError             a user without the right
│   ├── BundleError                an archive of code that is refused
│   ├── TooLargeError              a request's body that is too large
│   ├── SlowClientError            a request's body that does not arrive
│   ├── RateLimitError             too many requests
│   ├── LimitReachedError          a user has as much as a user may have
│   ├── IdempotencyError           an idempotency key that was used for another request
│   └── DatabaseSetupError         a database URL or schema that cannot be used
├── ServerError                    a server that cannot be reached, or that failed
│   ├── DiskFullError              the disk, or the account's share of it, is full
│   ├── DatabaseUnavailableError   the database does not answer
│   ├── ClusterUnavailableError    the Ray cluster does not answer
│   ├── NotServingError            a part of the server that does not work
│   └── LaunchError                the Ray cluster refuses a job
└── SweepFailedError               the sweep itself failed

The API's problem documents and the client's exceptions derive from these attributes: an exception
that the server raises for a request is raised again by the client, of the same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, Self


@dataclass(frozen=True)
class Problem:
    """One problem of an input: the key's dotted path, and what is wrong or would be valid."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass(frozen=True)
class ErrorDetails:
    """The content of an error's problem document; ``retry_after`` is in seconds."""

    message: str
    problems: tuple[Problem, ...] = ()
    retry_after: float | None = None


class GapsweepError(Exception):
    """Root of everything the service raises on purpose; its text is for the user.

    ``code`` is stable: it identifies the class in problem documents. Where ``public_message`` is
    set, the API sends it instead of the text, which names an internal address.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    public_message: ClassVar[str | None] = None

    def details(self) -> ErrorDetails:
        """Return the content of the error's problem document."""
        return ErrorDetails(self.public_message or str(self))

    @classmethod
    def restore(cls, details: ErrorDetails) -> Self:
        """Restore an error from its problem document."""
        return cls(details.message)


class InputError(GapsweepError):
    """The input is invalid."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid-input"
    exit_code = 2


class ProblemsError(InputError):
    """Input with several problems, each with its place."""

    code = "invalid-values"

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {p}" for p in self.problems)]))

    def details(self) -> ErrorDetails:
        """The first line of the text, and the problems."""
        return ErrorDetails(str(self).splitlines()[0], self.problems)

    @classmethod
    def restore(cls, details: ErrorDetails) -> Self:
        """The error of these problems; the message begins with the name of their source."""
        return cls(details.message.rpartition(": ")[0], details.problems)


class SpecError(ProblemsError):
    """The spec is invalid."""

    code = "invalid-spec"


class RequestError(ProblemsError):
    """A request to the API is invalid."""

    code = "invalid-request"


class ChangedSweepError(ProblemsError):
    """What a sweep was run on has changed since its trials ran."""

    code = "sweep-changed"


class HomeError(InputError):
    """The home folder cannot be used."""

    code = "home-not-usable"


class NotFoundError(InputError):
    """The named thing does not exist."""

    status = HTTPStatus.NOT_FOUND
    code = "not-found"


class SweepNotFoundError(NotFoundError):
    """No sweep, or more than one, matches the name."""

    code = "sweep-not-found"


class TrialNotFoundError(NotFoundError):
    """The sweep has no trial of that number."""

    code = "trial-not-found"


class BundleNotFoundError(NotFoundError):
    """No bundle has that digest."""

    code = "bundle-not-found"


class UserNotFoundError(NotFoundError):
    """No user has that name, or the user was revoked."""

    code = "user-not-found"


class TokenNotFoundError(NotFoundError):
    """The user has no token of that name."""

    code = "token-not-found"


class NotReadyError(NotFoundError):
    """The sweep does not have this result yet."""

    code = "not-ready"


class ConflictError(InputError):
    """The current state does not allow the action."""

    status = HTTPStatus.CONFLICT
    code = "conflict"


class SweepBusyError(ConflictError):
    """Another process is running this sweep."""

    code = "sweep-busy"


class TrialEndedError(ConflictError):
    """The trial has ended, or has had its last epoch."""

    code = "trial-ended"


class TrialLostError(ConflictError):
    """The trial was handed out again, because its holder gave no sign of life."""

    code = "trial-lost"


class DamagedFileError(ConflictError):
    """A file of a sweep cannot be used: a link, damaged, too large; the message names it."""

    code = "damaged-file"


class IllegalTransitionError(ConflictError):
    """The sweep's state does not allow the next one."""

    code = "illegal-transition"


class StaleDriverError(ConflictError):
    """The attempt is over: the sweep has ended, or has another driver."""

    code = "stale-driver"


class UnauthorizedError(InputError):
    """The request has no valid token."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthorized"


class ForbiddenError(InputError):
    """The user does not have the right."""

    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class BundleError(InputError):
    """An archive of a user's code is refused."""

    code = "invalid-bundle"


class TooLargeError(InputError):
    """A request's body is too large."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "too-large"


class SlowClientError(InputError):
    """A request's body did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "request-timeout"


class RateLimitError(InputError):
    """A rate limit is exceeded; ``retry_after`` is in seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "rate-limit"

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)

    def details(self) -> ErrorDetails:
        """The text, and when to retry."""
        return ErrorDetails(str(self), retry_after=self.retry_after)

    @classmethod
    def restore(cls, details: ErrorDetails) -> Self:
        """The error with the time to retry, 1 s if none was sent."""
        return cls(details.message, 1.0 if details.retry_after is None else details.retry_after)


class LimitReachedError(ConflictError):
    """The user has as much of something as a user may have."""

    code = "limit-reached"


class IdempotencyError(InputError):
    """The idempotency key was used for another request."""

    code = "idempotency-key-reused"


class DatabaseSetupError(InputError):
    """The database's URL is invalid, or its schema is another version's."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "database-setup"
    public_message = "the database is not set up for this version of gapsweep"


class ServerError(GapsweepError):
    """The server cannot be reached, or failed."""

    code = "server-error"


class DiskFullError(ServerError):
    """The disk of the home folder, or the account's share of it, is full."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    code = "disk-full"
    public_message = "the server's disk is full; nothing was stored, try again later"


class DatabaseUnavailableError(ServerError):
    """The database does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "database-unavailable"
    public_message = "the database does not answer; try again later"


class ClusterUnavailableError(ServerError):
    """The cluster does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "cluster-unavailable"
    public_message = "the cluster does not answer; try again later"


class NotServingError(ServerError):
    """A part of the server does not work; its text says which."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "not-serving"


class LaunchError(ServerError):
    """The cluster refuses a job."""

    code = "launch-refused"


class SweepFailedError(GapsweepError):
    """The sweep ended without a result."""

    code = "sweep-failed"


def list_error_classes() -> Iterator[type[GapsweepError]]:
    """Every class of this hierarchy, a base before its subclasses, the shallower ones first."""
    level: list[type[GapsweepError]] = [GapsweepError]
    while level:
        yield from level
        level = [child for parent in level for child in parent.__subclasses__()]


def map_codes() -> Mapping[str, type[GapsweepError]]:
    """The class of each code."""
    return {kind.code: kind for kind in list_error_classes()}


def find_class_of_status(status: int) -> type[GapsweepError]:
    """The most general class with an HTTP status, for a response that names no code."""
    general: type[GapsweepError] = ServerError if status >= 500 else InputError
    return next(
        (k for k in list_error_classes() if k.status == status and issubclass(k, general)), general
    )
