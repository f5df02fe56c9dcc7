"""The roles of users."""

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
