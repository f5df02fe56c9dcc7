"""Tells a client when its token expires."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.client.endpoints import TOKEN_EXPIRES
from service.server.store.callers import Caller


class TokenExpiry:
    """ASGI middleware that adds the end of the caller's token to the response's headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; ``authenticate`` leaves the caller in its state."""
        state = scope.setdefault("state", {})

        async def add_and_send(message: Message) -> None:
            caller: Caller | None = state.get("caller")
            starts = message["type"] == "http.response.start"
            if starts and caller is not None and caller.expires is not None:
                MutableHeaders(scope=message)[TOKEN_EXPIRES] = f"{caller.expires:.0f}"
            await send(message)

        await self._app(scope, receive, add_and_send)
