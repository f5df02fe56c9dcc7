"""What users can do with tokens: with their own, an admin with everybody's."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.base.errors import ForbiddenError
from service.client.audit_actions import AuditAction
from service.server.rights import require_role
from service.server.store.audit_store import AuditStore
from service.server.store.callers import Caller
from service.server.store.database import Database
from service.server.store.job_records import ApiToken
from service.server.store.token_store import TokenStore, check_token_days
from service.server.store.user_roles import TokenScope, UserRole


class AccountService:
    """The tokens of users; every change has an entry in the audit log."""

    def __init__(
        self, database: Database, audit: AuditStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._audit, self._clock = database, audit, clock
        self._tokens = TokenStore(database, clock)

    def list_tokens(self, caller: Caller, user: str | None = None) -> tuple[ApiToken, ...]:
        """The tokens of a user, the caller by default, that are not revoked.

        Raises:
            ForbiddenError: it is another user, and the caller is not an admin.
            UserNotFoundError: no such user.
        """
        return self._tokens.of_user(_find_subject(caller, user))

    def add_token(
        self,
        caller: Caller,
        *,
        name: str | None,
        scope: TokenScope | None,
        days: float | None,
        user: str | None = None,
    ) -> tuple[str, ApiToken]:
        """Create a token that expires after ``days``, None is never; itself and its record.

        Raises:
            ForbiddenError: it is another user's and the caller is not an admin; or the scope is
                more than the user's role or than the scope of the caller's token.
            UserNotFoundError, InputError, ConflictError: as :meth:`TokenStore.add`.
        """
        subject = _find_subject(caller, user)
        if subject == caller.name:
            scope = scope or caller.rights.scope
            _check_covered(caller, scope, "make")
        expires = find_expiry(days, self._clock())
        with self._database.transaction():
            token, made = self._tokens.add(subject, name, scope, expires)
            detail = describe_token(made)
            self._audit.record(caller.actor, AuditAction.TOKEN_ADD, detail=detail)
        return token, made

    def revoke_token(self, caller: Caller, name: str, user: str | None = None) -> None:
        """Revoke a token of the caller or, for an admin, of another user.

        Raises:
            ForbiddenError: it is another user's and the caller is not an admin, or its scope is
                more than that of the caller's token.
            UserNotFoundError, TokenNotFoundError: there is no such token.
        """
        subject = _find_subject(caller, user)
        token = self._tokens.get(subject, name)
        if subject == caller.name and caller.role.scope.covers(token.scope):
            _check_covered(caller, token.scope, "revoke")
        detail = describe_token(token)
        with self._audit.recording(caller.actor, AuditAction.TOKEN_REVOKE, detail=detail):
            self._tokens.revoke(subject, name)


def find_expiry(days: float | None, now: float) -> float | None:
    """When a token ends that is made now, in Unix seconds; None is never.

    Raises:
        InputError: the number of days is out of range.
    """
    check_token_days(days)
    return None if days is None else now + 86_400 * days


def describe_token(token: ApiToken) -> str:
    """A token for the audit log."""
    if token.expires is None:
        until = "without end"
    else:
        until = f"until {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(token.expires))}"
    return f"{token.name} of {token.user}, scope {token.scope}, {until}"


def _find_subject(caller: Caller, user: str | None) -> str:
    if user is None or user == caller.name:
        return caller.name
    require_role(caller, UserRole.ADMIN)
    return user


def _check_covered(caller: Caller, scope: TokenScope, verb: str) -> None:
    if caller.role.scope.covers(scope) and not caller.scope.covers(scope):
        raise ForbiddenError(
            f"this requires scope {scope}; the token {caller.token!r} of {caller.name} has scope "
            f"{caller.scope} and cannot {verb} one with more"
        )
