"""The service behind its API in this process, over a real store and without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

from service.client.job_states import JobState
from service.server.api.app import create_app
from service.server.store.database import Database
from service.server.store.user_roles import UserRole
from service.server.sweep_service import ServiceSettings, SweepService
from tests.databases import create_tables
from tests.patience import wait_for

SPEC: dict[str, Any] = {
    "name": "digits-mlp",
    "trainable": "trainables.models:MLP",
    "data": {"name": "digits"},
    "space": {"dropout": {"float": [0.0, 0.5]}},
}


class World:
    """A service, its API, and a token for every role."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        url = f"sqlite:///{folder / 'service.db'}"
        self.database = Database(url)
        create_tables(self.database)
        made = ServiceSettings(database_url=url, home=folder, **settings)
        self.service = SweepService(made, self.database)
        names = {"vic": UserRole.VIEWER, "ann": UserRole.USER, "bob": UserRole.USER}
        roles = {**names, "root": UserRole.ADMIN}
        self.tokens = {
            name: self.service.users.create_or_update(name, role) for name, role in roles.items()
        }
        self.http = TestClient(create_app(self.service), raise_server_exceptions=False)

    def close(self) -> None:
        """Give back what it has; a thread that reads for a stream may be in a query still."""
        wait_for(lambda: self.database.checked_out() == 0, 5)
        self.database.close()

    def call(self, method: str, path: str, user: str | None = "ann", **more: Any) -> Response:
        headers = dict(more.pop("headers", {}))
        if user is not None:
            headers["Authorization"] = f"Bearer {self.tokens[user]}"
        return self.http.request(method, path, headers=headers, **more)

    def submit(self, user: str = "ann", **more: Any) -> str:
        done = self.call("POST", "/v1/sweeps", user, json=SPEC, **more)
        assert done.status_code == 201, done.text
        return str(done.json()["sweep_id"])

    def act(self, sweep_id: str, action: str, user: str = "ann", **more: Any) -> Response:
        return self.call("POST", f"/v1/sweeps/{sweep_id}:{action}", user, **more)

    def launch(self, sweep_id: str) -> None:
        """As if its job were on the cluster."""
        self.service.sweeps.change(sweep_id, JobState.STARTING, "selected", "queue", attempt=1)

    def brought_to(self, sweep_id: str, *states: JobState) -> None:
        for state in states:
            self.service.sweeps.change(sweep_id, state, "the test said so", "test")


def refused(answer: Response, status: int) -> dict[str, Any]:
    """A problem document of that status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body
