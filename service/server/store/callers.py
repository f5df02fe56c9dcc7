"""Who asks: a user by a token from an address, or an account at the server's command line."""

from __future__ import annotations

from dataclasses import dataclass

from service.base.accounts import get_account_name
from service.server.store.job_records import User
from service.server.store.user_roles import TokenScope, UserRole

COMMAND_LINE = "command line"
"""Where an actor is who has used a command on the server's machine."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who did something, for the audit log: a user's name, a token's name, a client's address."""

    user: str | None
    token: str | None = None
    address: str

    @staticmethod
    def at_command_line() -> Actor:
        """The operating system account that runs this process."""
        return Actor(user=get_account_name()[:64], address=COMMAND_LINE)


@dataclass(frozen=True, kw_only=True)
class Caller(User):
    """A user, by the token and from the address of a request.

    ``token`` is the token's name, ``expires`` when it does (Unix seconds, None is never). What the
    caller may do is what both the user's role and the token's ``scope`` allow.
    """

    token: str = "default"
    scope: TokenScope = TokenScope.ADMIN
    expires: float | None = None
    address: str = ""

    @property
    def rights(self) -> UserRole:
        """The role whose rights the caller has: the lesser of the user's and the token's."""
        return self.role if self.scope.role.covers(self.role) else self.scope.role

    @property
    def actor(self) -> Actor:
        """The caller in the audit log."""
        return Actor(user=self.name, token=self.token, address=self.address)
