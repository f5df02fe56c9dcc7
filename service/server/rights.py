"""The check of what a caller may do."""

from __future__ import annotations

from service.base.errors import ForbiddenError
from service.server.store.callers import Caller
from service.server.store.user_roles import UserRole


def require_role(caller: Caller, role: UserRole) -> None:
    """Check that a caller has the rights of a role: by the user's role and the token's scope.

    Raises:
        ForbiddenError: one of them is less.
    """
    if not caller.role.covers(role):
        raise ForbiddenError(f"{caller.name} is a {caller.role}; this requires role {role}")
    if not caller.scope.covers(role.scope):
        raise ForbiddenError(
            f"this requires scope {role.scope}; the token {caller.token!r} of {caller.name} has "
            f"scope {caller.scope}"
        )
