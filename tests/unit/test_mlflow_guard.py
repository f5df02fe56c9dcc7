"""Who may call MLflow, and what: the guard around an application that says what reached it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest

from service.tracking.api_tokens import FRESH, GRACE, ApiTokens, RefusedError
from service.tracking.mlflow_guard import MAX_BODY, Guard, Message, Receive, Scope, Send
from service.tracking.mlflow_rights import ROLES, Right, find_right

API = "/api/2.0/mlflow"
ROLE_OF = {f"gs_{role}": role for role in ROLES}


class Inner:
    """Echoes the body, and keeps what reached it."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached.append(scope["path"])
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


class Known:
    """An authority."""

    async def find_role(self, token: str, client: str = "") -> str:
        if token not in ROLE_OF:
            raise RefusedError(httpx2.codes.UNAUTHORIZED, "invalid token")  # type: ignore[arg-type]  # an HTTPStatus by value
        return ROLE_OF[token]


def call(
    method: str,
    path: str,
    token: str | None = "gs_admin",
    *,
    inner: Inner | None = None,
    headers: Mapping[str, str] | None = None,
    guarded: bool = True,
    **more: Any,
) -> httpx2.Response:
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"

    async def ask() -> httpx2.Response:
        app = Guard(inner or Inner(), Known() if guarded else None)
        transport = httpx2.ASGITransport(app=app)  # type: ignore[arg-type]  # scopes are mappings here
        async with httpx2.AsyncClient(transport=transport, base_url="http://mlflow:5000") as http:
            return await http.request(method, path, headers=sent, **more)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/version"),
        ("GET", "/static-files/main.js"),
        ("GET", "/get-artifact"),
        ("POST", "/graphql"),
        ("POST", f"{API}/runs/search"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/report.html"),
        ("POST", "/v1/traces"),
        ("GET", "/no/such/page"),
    ],
)
def test_nothing_is_answered_without_a_token(method: str, path: str) -> None:
    inner = Inner()
    for headers in ({}, {"Authorization": "Basic !"}, {"Authorization": "Digest gs_admin"}):
        answer = call(method, path, None, inner=inner, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "MLFLOW_TRACKING_TOKEN" in answer.json()["message"]
    assert call(method, path, "gs_wrong", inner=inner).status_code == 401
    assert inner.reached == []


def test_a_health_check_needs_no_token() -> None:
    assert call("GET", "/health", None).status_code == 200
    for method, path in (("POST", "/health"), ("GET", "/health/"), ("GET", "//health")):
        assert call(method, path, None).status_code == 401


def test_a_browser_logs_in_with_the_token_as_password_and_any_name() -> None:
    for name in ("", "ann", "a b"):
        word = base64.b64encode(f"{name}:gs_viewer".encode()).decode()
        for scheme in ("Basic", "basic"):
            answer = call("GET", "/", None, headers={"Authorization": f"{scheme} {word}"})
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", "/", Right.READ),
        ("GET", "/get-artifact", Right.READ),
        ("POST", "/ajax-api/2.0/mlflow/runs/search", Right.READ),
        ("POST", "/graphql", Right.READ),
        ("POST", f"{API}/runs/create", Right.WRITE),
        ("POST", f"{API}/runs/log-batch", Right.WRITE),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/a.txt", Right.WRITE),
        ("POST", f"{API}/runs/delete", Right.DELETE),
        ("GET", f"{API}/model-versions/get-download-uri", Right.READ),
        ("POST", f"{API}/registered-models/create", Right.WRITE),
        ("POST", f"{API}/logged-models", Right.WRITE),
        ("PATCH", f"{API}/logged-models/m-1", Right.WRITE),
        ("PATCH", f"{API}/model-versions/update", Right.WRITE),
        ("DELETE", f"{API}/registered-models/delete", Right.DELETE),
        ("DELETE", f"{API}/model-versions/delete", Right.DELETE),
        ("POST", f"{API}/experiments/delete", Right.DELETE),
        ("POST", f"{API}/experiments/update", Right.DELETE),
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/a.txt", Right.DELETE),
    ],
)
def test_each_role_may_do_what_it_says(method: str, path: str, right: Right) -> None:
    for token, role in ROLE_OF.items():
        answer = call(method, path, token)
        assert answer.status_code == (200 if ROLES[role] >= right else 403), role
        if answer.status_code == 403:
            assert f"the token's is {role}" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{API}/webhooks"),
        ("POST", f"{API}/model-versions/transition-stage"),
        ("POST", f"{API}/registered-models/rename"),
        ("POST", f"{API}/logged-models/m-1/artifacts/upload"),
        ("GET", "/model-versions/get-artifact?name=x&version=1&path=a"),
        ("POST", f"{API}/traces"),
        ("POST", "/v1/traces"),
        ("GET", "/ajax-api/2.0/mlflow/gateway-proxy"),
        ("POST", "/ajax-api/2.0/mlflow/runs/create-promptlab-run"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact"),
        ("POST", "/gateway/x/mlflow/invocations"),
        ("POST", "/ajax-api/3.0/jobs"),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("GET", "/model-versions/get-artifact"),
        ("GET", "/ajax-api/2.0/mlflow/get-trace-artifact"),
        ("POST", f"{API}/artifacts/presigned-upload-url"),
        ("POST", f"{API}/runs/create/"),
        ("POST", f"/{API}/runs/create"),
        ("POST", f"{API}/runs/create%0A"),
        ("PATCH", f"{API}/runs/create"),
        ("OPTIONS", f"{API}/runs/create"),
    ],
)
def test_a_call_that_is_not_listed_is_refused_to_an_admin_too(method: str, path: str) -> None:
    inner = Inner()
    answer = call(method, path, inner=inner)
    assert (answer.status_code, inner.reached) == (403, [])
    assert "does not answer" in answer.json()["message"]
    assert find_right(method, unquote(path)) is None


@pytest.mark.parametrize("place", ["file:///etc", "/etc", "s3://bucket", "mlflow-artifacts:/x"])
@pytest.mark.parametrize("key", ["artifact_location", "artifactLocation"])
@pytest.mark.parametrize("guarded", [True, False])
def test_an_experiment_may_not_say_where_its_artifacts_are(
    place: str, key: str, guarded: bool
) -> None:
    for prefix in (API, "/ajax-api/2.0/mlflow"):
        for body in (json.dumps({"name": "x", key: place}), f'{{"{key}": "", "{key}": "{place}"}}'):
            for sent in (body, json.dumps(body)):  # old clients encode twice
                inner = Inner()
                answer = call(
                    "POST",
                    f"{prefix}/experiments/create",
                    inner=inner,
                    guarded=guarded,
                    content=sent.encode(),
                )
                assert (answer.status_code, inner.reached) == (403, [])
                assert "without artifact_location" in answer.json()["message"]


def test_an_experiment_without_a_place_is_created_with_the_body_that_was_checked() -> None:
    for body in (b'{"name": "x"}', b'{"name": "x", "artifact_location": ""}'):
        answer = call("POST", f"{API}/experiments/create", "gs_user", content=body)
        assert (answer.status_code, answer.content) == (200, body)
    for body in (b"{", b"[1]", b"[" * 100_000, b"\xff"):
        assert call("POST", f"{API}/experiments/create", content=body).status_code == 400


LOGGED = f"mlflow-artifacts:/1/models/m-{'0' * 32}/artifacts"


@pytest.mark.parametrize(
    "source",
    [
        None,
        "",
        7,
        "/etc",
        "file:///etc",
        "s3://bucket/x",
        "http://evil.example/x",
        "models:/m-1",
        "runs:/1/model",
        f"{LOGGED}/../../../../..",
        f"{LOGGED}/x",
        f"{LOGGED}?x",
        f"{LOGGED}\n",
        LOGGED.replace("mlflow-artifacts:/", "mlflow-artifacts://evil.example/"),
        LOGGED.replace("models", "other"),
    ],
)
@pytest.mark.parametrize("guarded", [True, False])
def test_a_version_of_a_model_lies_where_a_logged_model_of_the_server_does(
    source: object, guarded: bool
) -> None:
    body = json.dumps({"name": "x", "source": source})
    for sent in (body, json.dumps(body)):
        inner = Inner()
        path = f"{API}/model-versions/create"
        answer = call("POST", path, inner=inner, guarded=guarded, content=sent.encode())
        assert (answer.status_code, inner.reached) == (403, [])
        assert "logged models of its own" in answer.json()["message"]


def test_a_user_registers_a_logged_model_and_a_viewer_does_not() -> None:
    body = json.dumps({"name": "x", "source": LOGGED}).encode()
    path = f"{API}/model-versions/create"
    assert call("POST", path, "gs_user", content=body).content == body
    assert call("POST", path, "gs_viewer", content=body).status_code == 403


def test_pages_of_other_sites_are_refused_whatever_the_browser_sends_along() -> None:
    for origin in ("http://evil.example", "http://localhost:8000", "null", "http://mlflow:5001"):
        inner = Inner()
        answer = call("POST", f"{API}/runs/create", inner=inner, headers={"Origin": origin})
        assert (answer.status_code, inner.reached) == (403, [])
    same = call("POST", f"{API}/runs/create", headers={"Origin": "http://mlflow:5000"})
    assert same.status_code == 200


def test_a_body_is_bounded_and_an_artifact_is_streamed() -> None:
    large = b"x" * (MAX_BODY + 1)
    assert call("POST", f"{API}/runs/log-batch", content=large).status_code == 413
    path = "/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/model.pt"
    assert call("PUT", path, content=large).content == large


def test_ones_own_mlflow_needs_no_token_and_refuses_the_rest() -> None:
    assert call("POST", f"{API}/runs/delete", None, guarded=False).status_code == 200
    assert call("POST", f"{API}/webhooks", None, guarded=False).status_code == 403


def test_websockets_are_closed() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    inner = Inner()
    scope = {"type": "websocket", "path": "/", "headers": []}
    asyncio.run(Guard(inner, None)(scope, receive, send))
    assert ([m["type"] for m in sent], inner.reached) == (["websocket.close"], [])


class Api:
    """The service's API: the answer to give next, and how often it was asked."""

    def __init__(self) -> None:
        self.status, self.role, self.asked, self.now = 200, "user", 0, 0.0
        self.clients: list[str] = []
        self.tokens = ApiTokens(
            "http://api:8080/",
            clock=lambda: self.now,
            transport=httpx2.MockTransport(self._answer),
        )

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        await asyncio.sleep(0)
        assert str(request.url) == "http://api:8080/v1/me"
        assert request.headers["Authorization"].startswith("Bearer gs_")
        self.clients.append(request.headers.get("Gapsweep-Client", ""))
        if self.status == 0:
            raise httpx2.ConnectError("refused")
        return httpx2.Response(self.status, json={"name": "ann", "role": self.role})

    async def status_of(self, token: str = "gs_a") -> str:
        """The role, or the status of the refusal."""
        try:
            return await self.tokens.find_role(token)
        except RefusedError as refused:
            return str(refused.status.value)


def with_api(check: Callable[[Api], Any]) -> None:
    async def run() -> None:
        await check(Api())

    asyncio.run(run())


def test_the_api_is_told_of_each_client_that_uses_a_token() -> None:
    async def check(api: Api) -> None:
        for client in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"):
            assert await api.tokens.find_role("gs_a", client) == "user"
        assert api.clients == ["10.0.0.1", "10.0.0.2"]
        api.now = FRESH + 0.1
        await api.tokens.find_role("gs_a", "10.0.0.1")
        await api.tokens.find_role("gs_a", "10.0.0.2")
        assert api.clients[2:] == ["10.0.0.1", "10.0.0.2"]

    with_api(check)


def test_the_client_of_a_request_is_its_peer() -> None:
    class Listening(Known):
        async def find_role(self, token: str, client: str = "") -> str:
            heard.append(client)
            return await super().find_role(token)

    async def ask() -> None:
        transport = httpx2.ASGITransport(
            app=Guard(Inner(), Listening()),  # type: ignore[arg-type]  # scopes are mappings here
            client=("10.0.0.9", 4711),
        )
        async with httpx2.AsyncClient(transport=transport, base_url="http://mlflow:5000") as http:
            await http.get("/version", headers={"Authorization": "Bearer gs_viewer"})

    heard: list[str] = []
    asyncio.run(ask())
    assert heard == ["10.0.0.9"]


def test_the_api_is_asked_once_for_many_requests_and_again_a_little_later() -> None:
    async def check(api: Api) -> None:
        found = await asyncio.gather(*(api.status_of() for _ in range(20)))
        assert (set(found), api.asked) == ({"user"}, 1)
        api.now = FRESH - 0.1
        assert (await api.status_of(), api.asked) == ("user", 1)
        api.now = FRESH + 0.1
        api.role = "viewer"
        assert (await api.status_of(), api.asked) == ("viewer", 2)

    with_api(check)


def test_a_revoked_token_is_refused_and_an_invalid_one_remembered() -> None:
    async def check(api: Api) -> None:
        assert await api.status_of() == "user"
        api.status, api.now = 401, FRESH + 1
        assert [await api.status_of() for _ in range(5)] == ["401"] * 5
        assert api.asked == 2
        api.status = 0
        api.now += FRESH + 1
        assert await api.status_of() == "503"  # it was refused: no grace

    with_api(check)


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_while_the_api_is_away_known_tokens_are_valid_for_a_while(status: int) -> None:
    async def check(api: Api) -> None:
        assert await api.status_of() == "user"
        api.status = status
        assert await api.status_of("gs_b") == "503"
        api.now = GRACE - 1
        assert await api.status_of() == "user"
        api.now = GRACE + 1
        assert await api.status_of() == "503"

    with_api(check)


def test_an_api_that_does_not_know_the_question_is_no_yes() -> None:
    async def check(api: Api) -> None:
        for status in (404, 204, 302):
            api.status = status
            assert await api.status_of(f"gs_{status}") == "503"

    with_api(check)


def test_what_is_remembered_is_bounded() -> None:
    async def check(api: Api) -> None:
        for status in (200, 401):
            api.status = status
            for number in range(1100):
                await api.status_of(f"gs_{status}_{number}")
        tokens = api.tokens
        assert len(tokens._valid) == len(tokens._invalid) == 1024
        assert tokens._asking == {}

    with_api(check)
