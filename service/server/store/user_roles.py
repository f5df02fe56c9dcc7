"""The roles of users, and the scopes of their tokens."""

from __future__ import annotations

from enum import StrEnum


class UserRole(StrEnum):
    """What a user may do; each role includes the rights of the one before it."""

    VIEWER = "viewer"  # read
    USER = "user"  # submit sweeps, act on its own
    ADMIN = "admin"  # act on every sweep

    def covers(self, other: UserRole) -> bool:
        """Whether this role includes the other's rights."""
        order = list(UserRole)
        return order.index(self) >= order.index(other)

    @property
    def scope(self) -> TokenScope:
        """The scope of a token that may do all that the role may."""
        return list(TokenScope)[list(UserRole).index(self)]


class TokenScope(StrEnum):
    """What a token may be used for, at most: the rights of the role at the same place."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    @property
    def role(self) -> UserRole:
        """The role whose rights it is."""
        return list(UserRole)[list(TokenScope).index(self)]

    def covers(self, other: TokenScope) -> bool:
        """Whether this scope includes the other's rights."""
        return self.role.covers(other.role)
