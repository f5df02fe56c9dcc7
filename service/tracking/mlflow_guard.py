"""Stands in front of MLflow's web application: who asks, what they may do, where artifacts lie.

Every request but a health check needs a token of the service, as a bearer token or as the password
of HTTP basic authentication (a browser asks for it once; the user name does not matter). Without
an authority, for one user's MLflow on their own machine, no token is needed and the rest holds.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from service.tracking.api_tokens import Authority, RefusedError
from service.tracking.mlflow_rights import (
    ROLES,
    Right,
    creates_experiment,
    creates_version,
    find_right,
)

Scope = Mapping[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 4 * 2**20
"""The largest body of a call that is not an artifact; MLflow holds it in memory."""
_LONGEST_TOKEN = 512
_LOGGED_MODEL = re.compile(r"mlflow-artifacts:/[0-9]+/models/m-[0-9a-f]{32}/artifacts")
_HEALTH_CHECKS = (("GET", "/health"), ("HEAD", "/health"))
_WORDS = {Right.WRITE: "user", Right.DELETE: "admin"}
_CODES = {
    HTTPStatus.UNAUTHORIZED: "UNAUTHENTICATED",
    HTTPStatus.FORBIDDEN: "PERMISSION_DENIED",
    HTTPStatus.SERVICE_UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
}


class Guard:
    """An ASGI application around MLflow's."""

    def __init__(self, app: App, authority: Authority | None) -> None:
        self._app, self._authority = app, authority

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with a sentence."""
        if scope["type"] == "lifespan" or _is_health_check(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                receive = await self._admit(scope, receive)
            except RefusedError as refused:
                await _refuse(send, refused)
            else:
                await self._app(scope, receive, send)
        else:  # MLflow has no websockets
            await send({"type": "websocket.close", "code": 1008})

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        headers = _read_headers(scope["headers"])
        _check_origin(headers)
        role = await self._find_role(headers, (scope.get("client") or ("",))[0])
        _check_right(role, scope["method"], scope["path"])
        if scope["method"] == "PUT":  # an artifact, which MLflow streams to its file
            return receive
        body = await _read_body(receive)
        if creates_experiment(scope["path"]):
            _check_location(body)
        if creates_version(scope["path"]):
            _check_source(body)
        return _repeat(body, receive)

    async def _find_role(self, headers: Mapping[str, str], client: str) -> str:
        if self._authority is None:
            return "admin"
        token = _read_token(headers.get("authorization", ""))
        if token is None:
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "missing token: MLflow takes the tokens of the service, in a browser as the "
                "password (with any user name), elsewhere as MLFLOW_TRACKING_TOKEN",
            )
        return await self._authority.find_role(token, client)


def _is_health_check(scope: Scope) -> bool:
    return scope["type"] == "http" and (scope["method"], scope["path"]) in _HEALTH_CHECKS


def _read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that come once; of one that is repeated, which no client of ours does, none."""
    found: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        found[key] = "" if key in found else value.decode("latin-1")
    return found


def _check_origin(headers: Mapping[str, str]) -> None:
    """Refuse pages of other sites: a browser would send the password along with their requests."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        raise RefusedError(HTTPStatus.FORBIDDEN, "requests from pages of other sites are refused")


def _read_token(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    token = value.strip() if scheme.lower() == "bearer" else None
    if scheme.lower() == "basic":
        try:
            token = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    valid = token and token.isascii() and token.isprintable() and len(token) <= _LONGEST_TOKEN
    return token if valid else None


def _check_right(role: str, method: str, path: str) -> None:
    right = find_right(method, path)
    if right is None:
        raise RefusedError(
            HTTPStatus.FORBIDDEN,
            f"this MLflow server does not answer {method} {path[:200]}: "
            "it records the runs of sweeps, and serves them",
        )
    if role not in ROLES:
        raise RefusedError(HTTPStatus.FORBIDDEN, f"the role {role!r} has no rights in MLflow")
    if ROLES[role] < right:
        raise RefusedError(
            HTTPStatus.FORBIDDEN, f"this requires role {_WORDS[right]}; the token's is {role}"
        )


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body or b"{}")
        asked = json.loads(asked) if isinstance(asked, str) else asked  # old clients encode twice
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    return asked


def _check_source(body: bytes) -> None:
    """Refuse a version of a model that lies elsewhere than a logged model of this server."""
    source = _read_object(body).get("source")
    if not (isinstance(source, str) and _LOGGED_MODEL.fullmatch(source)):
        raise RefusedError(
            HTTPStatus.FORBIDDEN,
            "this server registers logged models of its own only: the source must be "
            "mlflow-artifacts:/EXPERIMENT/models/MODEL/artifacts",
        )


def _check_location(body: bytes) -> None:
    """Refuse an experiment that names its artifacts' place, in either spelling of the key."""
    asked = _read_object(body)
    if any(asked.get(name) for name in ("artifact_location", "artifactLocation")):
        raise RefusedError(
            HTTPStatus.FORBIDDEN,
            "this server keeps all artifacts in its own folder: "
            "create the experiment without artifact_location",
        )


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the request ended before its body")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is too large; the limit is {MAX_BODY // 2**20} MiB",
            )
        if not message.get("more_body", False):
            return bytes(body)


def _repeat(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body that was read, and then what comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return messages.pop() if messages else await receive()

    return give


async def _refuse(send: Send, refused: RefusedError) -> None:
    """The error as MLflow's clients read it."""
    code = _CODES.get(refused.status, "INVALID_PARAMETER_VALUE")
    body = json.dumps({"error_code": code, "message": refused.sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if refused.status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Basic realm="gapsweep", charset="UTF-8"'))
    if refused.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": refused.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
