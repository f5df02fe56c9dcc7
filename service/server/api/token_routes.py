"""Routes of users' tokens: a user's own, and for an admin everybody's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from service.client.account_models import NewToken, TokenMade, TokenOut, TokensOut
from service.server.api import problems
from service.server.api.dependencies import TheCaller, TheService, authenticate
from service.server.store.user_roles import TokenScope

token_router = APIRouter(
    prefix="/v1/tokens",
    tags=["users"],
    dependencies=[Depends(authenticate)],
    responses=problems.responses(401, 403, 404, 422, 429, 503, 507),
)

OfUser = Annotated[
    str | None,
    Query(max_length=64, description="whose tokens; another user's take an admin"),
]
TokenName = Annotated[str, Path(max_length=64, examples=["laptop"])]


@token_router.get("")
def tokens(service: TheService, caller: TheCaller, user: OfUser = None) -> TokensOut:
    """List tokens with their scopes, when they expire, and their last use."""
    found = service.accounts.list_tokens(caller, user)
    return TokensOut(items=tuple(TokenOut.model_validate(t) for t in found))


@token_router.post("", status_code=201, responses=problems.responses(409))
def add_token(service: TheService, caller: TheCaller, asked: NewToken) -> TokenMade:
    """Create a token. It is shown only in this answer."""
    token, made = service.accounts.add_token(
        caller,
        name=asked.name,
        scope=None if asked.scope is None else TokenScope(asked.scope),
        days=asked.days,
        user=asked.user,
    )
    fields = TokenOut.model_validate(made).model_dump()
    return TokenMade(**fields, token=token)


@token_router.delete("/{name}", status_code=204)
def revoke_token(
    service: TheService, caller: TheCaller, name: TokenName, user: OfUser = None
) -> None:
    """Revoke a token, from now on."""
    service.accounts.revoke_token(caller, name, user)
