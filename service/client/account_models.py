"""The models of the API's answers about tokens and the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.client.audit_actions import AuditAction

Scope = Literal["read", "submit", "admin"]


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class NewToken(BaseModel):
    """A token that is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(
        None, max_length=64, description="default: `default`, `default-2`, …", examples=["laptop"]
    )
    scope: Scope | None = Field(
        None,
        description="at most the user's role and the scope of the token that asks; default: as "
        "much as that allows",
    )
    days: Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)] | None = Field(
        90, description="days until it expires; null: never"
    )
    user: str | None = Field(
        None, max_length=64, description="whose token; another user's takes an admin"
    )


class TokenOut(_Response):
    """A user's token, without the token itself. Times are Unix seconds."""

    name: str
    user: str
    scope: Scope
    created: float
    expires: float | None = Field(description="null: never")
    last_used: float | None
    last_address: str | None = Field(description="the client's address at its last use")


class TokenMade(TokenOut):
    """A new token, which is shown only now."""

    token: str = Field(examples=["gs_…"])


class TokensOut(_Response):
    """A user's tokens, the oldest first, without those that were revoked."""

    items: tuple[TokenOut, ...]


class AuditEntryOut(_Response):
    """Who did what, when and from where.

    Every change has an entry. The uses of a token, downloads and refused requests have one a day
    for each user, token, address and sweep, with the first time, the last, and how often.
    """

    number: int
    time: float = Field(description="Unix seconds; of what is repeated, the first time")
    last: float = Field(description="of what is repeated, the last time")
    times: int
    user: str | None = Field(description="null: nobody, the token was not valid")
    token: str | None = Field(description="the token's name; null on the command line")
    address: str = Field(description="the client's address, or `command line`")
    action: AuditAction
    sweep: str | None
    detail: str


class AuditOut(_Response):
    """A page of the audit log, the newest entries first; ``cursor`` leads to the next page."""

    items: tuple[AuditEntryOut, ...]
    cursor: str | None
