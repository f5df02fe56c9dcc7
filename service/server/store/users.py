"""Users and their tokens. A token is shown once; what is kept of it cannot be turned back."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable

from sqlalchemy import select, update

from service.base.errors import InputError, UnknownUserError
from service.server.store.database import Database
from service.server.store.job_records import User
from service.server.store.roles import RoleOfUser
from service.server.store.tables import TokenRow, UserRow

PREFIX = "gs_"
_NAME = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}")


class Users:
    """The users of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def new_token(self, name: str, expires: float | None = None) -> str:
        """One more token for a user.

        Raises:
            UnknownUserError: there is no such user, or not any more.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        with self._database.writing() as session:
            user = session.get(UserRow, name)
            if user is None or user.revoked is not None:
                raise self._unknown(name)
            session.add(
                TokenRow(user=name, digest=_digest(token), created=self._clock(), expires=expires)
            )
        return token

    def admit(self, name: str, role: RoleOfUser, expires: float | None = None) -> str:
        """A token for a user, made or made again with that role if need be.

        Raises:
            InputError: it is no name.
        """
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name for a user: letters, digits, `.`, `_`, `-`, `@`")
        with self._database.writing() as session:
            user = session.get(UserRow, name)
            if user is None:
                session.add(
                    UserRow(name=name, role=role.value, created=self._clock(), revoked=None)
                )
            else:
                user.role, user.revoked = role.value, None
        return self.new_token(name, expires)

    def renew(self, name: str, role: RoleOfUser) -> str:
        """As :meth:`admit`; the tokens that the user had before are revoked."""
        mine = TokenRow.user == name
        with self._database.writing() as session:
            session.execute(update(TokenRow).where(mine).values(revoked=self._clock()))
        return self.admit(name, role)

    def revoke(self, name: str) -> None:
        """Take every right from a user; what the user submitted stays.

        Raises:
            UnknownUserError: there is no such user, or not any more.
        """
        now = self._clock()
        with self._database.writing() as session:
            user = session.get(UserRow, name)
            if user is None or user.revoked is not None:
                raise self._unknown(name)
            user.revoked = now
            session.execute(update(TokenRow).where(TokenRow.user == name).values(revoked=now))

    def all(self) -> tuple[User, ...]:
        """Every user there ever was, by name."""
        with self._database.reading() as session:
            return tuple(_user(r) for r in session.scalars(select(UserRow).order_by(UserRow.name)))

    def of_token(self, token: str) -> User | None:
        """Whose token it is; None where it is nobody's, has expired or was revoked."""
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

    def _unknown(self, name: str) -> UnknownUserError:
        known = ", ".join(u.name for u in self.all() if u.revoked is None) or "none"
        return UnknownUserError(f"there is no user {name!r}; there are: {known}")


def _digest(token: str) -> str:
    """A plain hash: 256 random bits need no salt and no slowness."""
    return hashlib.sha256(token.encode()).hexdigest()


def _user(row: UserRow) -> User:
    return User(name=row.name, role=RoleOfUser(row.role), created=row.created, revoked=row.revoked)
