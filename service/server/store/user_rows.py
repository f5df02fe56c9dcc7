"""The row of a user, inside the caller's transaction."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.base.errors import UserNotFoundError
from service.server.store.tables import UserRow

_SHOWN = 20


def find_user(session: Session, name: str, *, revoked: bool = False) -> UserRow:
    """A user's row, which no other transaction can change until this one ends.

    Raises:
        UserNotFoundError: no such user, or the user was revoked; with ``revoked`` no such user.
    """
    row = session.get(UserRow, name, with_for_update=not revoked)
    if row is not None and (revoked or row.revoked is None):
        return row
    query = select(UserRow.name).where(UserRow.revoked.is_(None)).order_by(UserRow.name)
    known = list(session.scalars(query.limit(_SHOWN + 1)))
    more = [*known[:_SHOWN], "…"] if len(known) > _SHOWN else known
    raise UserNotFoundError(f"unknown user {name!r}; known users: {', '.join(more) or 'none'}")
