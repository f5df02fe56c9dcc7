"""The users of the service."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from sqlalchemy import select

from service.base.errors import InputError
from service.server.store.database import Database
from service.server.store.job_records import User
from service.server.store.tables import UserRow
from service.server.store.token_store import TokenStore
from service.server.store.user_roles import UserRole
from service.server.store.user_rows import find_user

_NAME = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}")


class UserStore:
    """The users of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        self._tokens = TokenStore(database, clock)

    def create_or_update(
        self,
        name: str,
        role: UserRole,
        expires: float | None = None,
        token_name: str | None = None,
    ) -> str:
        """Create a user, or set an existing user's role and undo its revocation; a new token.

        The token has the scope of the role; ``token_name`` as in :meth:`TokenStore.add`.

        Raises:
            InputError: the name is invalid.
            ConflictError: a valid token of the user has this name, or there are too many.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"invalid user name {name!r}: use at most 64 letters, digits, `.`, `_`, `-` and `@`"
            )
        with self._database.transaction():
            with self._database.writing() as session:
                user = session.get(UserRow, name)
                if user is None:
                    session.add(
                        UserRow(name=name, role=role.value, created=self._clock(), revoked=None)
                    )
                else:
                    user.role, user.revoked = role.value, None
            return self._tokens.add(name, token_name, expires=expires)[0]

    def rotate_tokens(self, name: str, role: UserRole) -> str:
        """Like :meth:`create_or_update`, and revoke the user's earlier tokens."""
        with self._database.transaction():
            self._tokens.revoke_all(name)
            return self.create_or_update(name, role)

    def revoke(self, name: str) -> None:
        """Revoke a user and all its tokens; the user's sweeps stay.

        Raises:
            UserNotFoundError: no such user, or the user was revoked before.
        """
        with self._database.transaction():
            with self._database.writing() as session:
                find_user(session, name).revoked = self._clock()
            self._tokens.revoke_all(name)

    def get(self, name: str) -> User:
        """One user, revoked or not.

        Raises:
            UserNotFoundError: no such user.
        """
        with self._database.reading() as session:
            return _user(find_user(session, name, revoked=True))

    def all(self) -> tuple[User, ...]:
        """Every user by name, revoked ones included."""
        with self._database.reading() as session:
            return tuple(_user(r) for r in session.scalars(select(UserRow).order_by(UserRow.name)))


def _user(row: UserRow) -> User:
    return User(name=row.name, role=UserRole(row.role), created=row.created, revoked=row.revoked)
