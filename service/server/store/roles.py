"""What a user may be."""

from __future__ import annotations

from enum import StrEnum


class RoleOfUser(StrEnum):
    """What a user may do; each may do what the one before may."""

    VIEWER = "viewer"  # look
    USER = "user"  # submit, and stop what is one's own
    ADMIN = "admin"  # stop anything, make users

    def covers(self, other: RoleOfUser) -> bool:
        """Whether it may do what the other may."""
        order = list(RoleOfUser)
        return order.index(self) >= order.index(other)
