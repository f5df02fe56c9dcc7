"""Users and their API tokens. A token is shown once; only its hash is stored."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable

from sqlalchemy import select, update

from service.base.errors import InputError, UserNotFoundError
from service.server.store.database import Database
from service.server.store.job_records import User
from service.server.store.tables import TokenRow, UserRow
from service.server.store.user_roles import UserRole

PREFIX = "gs_"
_NAME = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}")


class UserStore:
    """The users of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def new_token(self, name: str, expires: float | None = None) -> str:
        """Create another token for a user; ``expires`` is Unix seconds, None is never.

        Raises:
            UserNotFoundError: no such user, or the user was revoked.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        with self._database.writing() as session:
            user = session.get(UserRow, name)
            if user is None or user.revoked is not None:
                raise self._unknown_user(name)
            session.add(
                TokenRow(user=name, digest=_digest(token), created=self._clock(), expires=expires)
            )
        return token

    def create_or_update(self, name: str, role: UserRole, expires: float | None = None) -> str:
        """Create a user, or set an existing user's role and undo its revocation; a new token.

        Raises:
            InputError: the name is invalid.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"invalid user name {name!r}: use at most 64 letters, digits, `.`, `_`, `-` and `@`"
            )
        with self._database.writing() as session:
            user = session.get(UserRow, name)
            if user is None:
                session.add(
                    UserRow(name=name, role=role.value, created=self._clock(), revoked=None)
                )
            else:
                user.role, user.revoked = role.value, None
        return self.new_token(name, expires)

    def rotate_tokens(self, name: str, role: UserRole) -> str:
        """Like :meth:`create_or_update`, and revoke the user's earlier tokens."""
        mine = TokenRow.user == name
        with self._database.writing() as session:
            session.execute(update(TokenRow).where(mine).values(revoked=self._clock()))
        return self.create_or_update(name, role)

    def revoke(self, name: str) -> None:
        """Revoke a user and all its tokens; the user's sweeps stay.

        Raises:
            UserNotFoundError: no such user, or the user was revoked before.
        """
        now = self._clock()
        with self._database.writing() as session:
            user = session.get(UserRow, name)
            if user is None or user.revoked is not None:
                raise self._unknown_user(name)
            user.revoked = now
            session.execute(update(TokenRow).where(TokenRow.user == name).values(revoked=now))

    def all(self) -> tuple[User, ...]:
        """Every user by name, revoked ones included."""
        with self._database.reading() as session:
            return tuple(_user(r) for r in session.scalars(select(UserRow).order_by(UserRow.name)))

    def of_token(self, token: str) -> User | None:
        """The user of a token; None if the token is unknown, expired or revoked."""
        query = (
            select(UserRow, TokenRow.expires)
            .join(TokenRow, TokenRow.user == UserRow.name)
            .where(
                TokenRow.digest == _digest(token),
                TokenRow.revoked.is_(None),
                UserRow.revoked.is_(None),
            )
        )
        with self._database.reading() as session:
            found = session.execute(query).first()
        if found is None or (found.expires is not None and found.expires <= self._clock()):
            return None
        return _user(found.UserRow)

    def _unknown_user(self, name: str) -> UserNotFoundError:
        known = ", ".join(u.name for u in self.all() if u.revoked is None) or "none"
        return UserNotFoundError(f"unknown user {name!r}; known users: {known}")


def _digest(token: str) -> str:
    """A plain hash: 256 random bits need neither a salt nor a slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def _user(row: UserRow) -> User:
    return User(name=row.name, role=UserRole(row.role), created=row.created, revoked=row.revoked)
