"""Users' API tokens: named, limited in scope and time. Only a token's hash is stored."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Collection

from sqlalchemy import ColumnElement, Select, select, update
from sqlalchemy.orm import Session

from service.base.errors import ConflictError, ForbiddenError, InputError, TokenNotFoundError
from service.server.store.callers import Caller
from service.server.store.database import Database, in_parts
from service.server.store.job_records import ApiToken
from service.server.store.tables import TokenRow, UserRow
from service.server.store.user_roles import TokenScope, UserRole
from service.server.store.user_rows import find_user

PREFIX = "gs_"
MAX_DAYS = 3650.0
MAX_TOKENS = 100
"""Of one user, that are valid."""
_DEFAULT_NAME = "default"
_NAME = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}", re.ASCII)


class TokenStore:
    """The tokens of one service's users."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def add(
        self,
        user: str,
        name: str | None = None,
        scope: TokenScope | None = None,
        expires: float | None = None,
    ) -> tuple[str, ApiToken]:
        """Create a token; returns it, which nobody can do again, and its record.

        Without a ``name`` it gets the first free one of default, default-2, and so on; without a
        ``scope`` that of the user's role. ``expires`` is Unix seconds, None is never.

        Raises:
            UserNotFoundError: no such user, or the user was revoked.
            InputError: the name is invalid.
            ForbiddenError: the scope is more than the user's role.
            ConflictError: a valid token of the user has this name, or there are too many.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        with self._database.writing() as session:
            role = UserRole(find_user(session, user).role)
            wanted = scope or role.scope
            if not role.scope.covers(wanted):
                raise ForbiddenError(
                    f"{user} is a {role}; a token of {user} has at most scope {role.scope}"
                )
            row = TokenRow(
                user=user,
                name=self._take_name(session, user, name),
                scope=wanted.value,
                digest=_digest(token),
                created=self._clock(),
                expires=expires,
            )
            session.add(row)
            return token, _to_record(row)

    def of_user(self, user: str) -> tuple[ApiToken, ...]:
        """A user's tokens that are not revoked, the oldest first; expired ones are included.

        Raises:
            UserNotFoundError: no such user.
        """
        with self._database.reading() as session:
            find_user(session, user, revoked=True)
            rows = session.scalars(_active(user).order_by(TokenRow.id))
            return tuple(_to_record(row) for row in rows)

    def get(self, user: str, name: str) -> ApiToken:
        """A user's token that is not revoked.

        Raises:
            UserNotFoundError: no such user.
            TokenNotFoundError: the user has no such token.
        """
        found = self.of_user(user)
        for token in found:
            if token.name == name:
                return token
        names = ", ".join(t.name for t in found) or "none"
        raise TokenNotFoundError(f"{user} has no token {name!r}; tokens of {user}: {names}")

    def revoke(self, user: str, name: str) -> None:
        """Revoke a token.

        Raises:
            UserNotFoundError, TokenNotFoundError: as :meth:`get`.
        """
        self.get(user, name)
        mine = (TokenRow.user == user) & (TokenRow.name == name)
        self._revoke(mine)

    def revoke_all(self, user: str) -> None:
        """Revoke every token of a user."""
        self._revoke(TokenRow.user == user)

    def find_caller(self, token: str, address: str = "") -> Caller | None:
        """Whose token it is; None if it is unknown, expired or revoked."""
        query = (
            select(UserRow, TokenRow)
            .join(TokenRow, TokenRow.user == UserRow.name)
            .where(
                TokenRow.digest == _digest(token),
                TokenRow.revoked.is_(None),
                UserRow.revoked.is_(None),
            )
        )
        with self._database.reading() as session:
            found = session.execute(query).first()
        if found is None or not self._is_valid(found.TokenRow):
            return None
        user, row = found.UserRow, found.TokenRow
        return Caller(
            name=user.name,
            role=UserRole(user.role),
            created=user.created,
            token=row.name,
            scope=TokenScope(row.scope),
            expires=row.expires,
            address=address,
        )

    def find_valid(self, tokens: Collection[str]) -> frozenset[str]:
        """Those of some tokens that are valid."""
        digests = {_digest(token): token for token in tokens}
        query = (
            select(TokenRow)
            .join(UserRow, TokenRow.user == UserRow.name)
            .where(TokenRow.revoked.is_(None), UserRow.revoked.is_(None))
        )
        with self._database.reading() as session:
            return frozenset(
                digests[row.digest]
                for some in in_parts(digests)
                for row in session.scalars(query.where(TokenRow.digest.in_(some)))
                if self._is_valid(row)
            )

    def explain(self, token: str) -> tuple[ApiToken | None, str]:
        """Why a token is not valid, in words, and its record if there is one."""
        query = select(TokenRow).where(TokenRow.digest == _digest(token))
        with self._database.reading() as session:
            row = session.scalars(query).first()
        if row is None:
            return None, "it is unknown"
        if row.expires is not None and row.expires <= self._clock() and row.revoked is None:
            day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row.expires))
            return _to_record(row), f"it expired on {day}"
        revoked = row.revoked is not None or self.find_caller(token) is None
        return _to_record(row), "it was revoked" if revoked else "it is a user's, not a sweep's"

    def mark_used(self, user: str, name: str, when: float, address: str) -> None:
        """Record the last use of a token."""
        mine = (TokenRow.user == user) & (TokenRow.name == name) & TokenRow.revoked.is_(None)
        change = update(TokenRow).where(mine).values(last_used=when, last_address=address)
        with self._database.writing() as session:
            session.execute(change)

    def _is_valid(self, row: TokenRow) -> bool:
        return row.revoked is None and (row.expires is None or row.expires > self._clock())

    def _take_name(self, session: Session, user: str, name: str | None) -> str:
        """A name for a new token; an expired token gives its name up.

        Raises:
            InputError, ConflictError: as :meth:`add`.
        """
        rows = list(session.scalars(_active(user)))
        valid = {row.name for row in rows if self._is_valid(row)}
        if len(valid) >= MAX_TOKENS:
            raise ConflictError(
                f"{user} has {len(valid)} tokens, which is the most; revoke one that is not used"
            )
        if name is None:
            numbered = (f"{_DEFAULT_NAME}-{n}" for n in range(2, MAX_TOKENS + 2))
            name = next(n for n in (_DEFAULT_NAME, *numbered) if n not in valid)
        check_token_name(name)
        if name in valid:
            raise ConflictError(
                f"{user} has a token {name!r} already; revoke it first, or choose another name"
            )
        for row in rows:
            if row.name == name:
                row.revoked = self._clock()
        session.flush()  # its name is free before it is taken
        return name

    def _revoke(self, which: ColumnElement[bool]) -> None:
        change = update(TokenRow).where(which, TokenRow.revoked.is_(None))
        with self._database.writing() as session:
            session.execute(change.values(revoked=self._clock()))


def check_token_days(days: float | None) -> None:
    """Check for how many days a token is to be valid; None is for ever.

    Raises:
        InputError: they are out of range.
    """
    if days is not None and not 0 < days <= MAX_DAYS:
        raise InputError(
            f"invalid number of days {days:g}: a token is valid for more than 0 and at most "
            f"{MAX_DAYS:g} days, or has no end"
        )


def check_token_name(name: str) -> None:
    """Check the name of a token.

    Raises:
        InputError: it is invalid.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"invalid token name {name!r}: use at most 64 letters, digits, `.`, `_`, `-` and `@`"
        )


def _active(user: str) -> Select[TokenRow]:
    return select(TokenRow).where(TokenRow.user == user, TokenRow.revoked.is_(None))


def _digest(token: str) -> str:
    """A plain hash: 256 random bits need neither a salt nor a slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def _to_record(row: TokenRow) -> ApiToken:
    return ApiToken(
        name=row.name,
        user=row.user,
        scope=TokenScope(row.scope),
        created=row.created,
        expires=row.expires,
        last_used=row.last_used,
        last_address=row.last_address,
    )
