"""What a server makes of its settings before it serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from service.base.errors import InputError, SweepNotFoundError
from service.client.job_states import JobState
from service.server.serve import ServerSettings, build, find_driver_url
from service.server.store.database import Database
from service.server.store.job_records import Submission
from service.server.store.sweep_store import SweepStore
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from service.server.sweep_service import ServiceSettings

LOCAL, REMOTE = "http://127.0.0.1:8265", "http://head:8265"


def settings(folder: Path, ray_address: str = LOCAL, **more: str) -> ServerSettings:
    url = f"sqlite:///{folder / 'service.db'}"
    service = ServiceSettings(database_url=url, home=folder)
    return ServerSettings(service=service, ray_address=ray_address, **more)  # type: ignore[arg-type]  # texts only


@pytest.mark.parametrize(
    ("ray", "more", "url"),
    [
        (LOCAL, {}, "http://127.0.0.1:8080"),
        ("auto", {"host": "0.0.0.0"}, "http://127.0.0.1:8080"),
        ("localhost:8265", {"host": "::1"}, "http://[::1]:8080"),
        (REMOTE, {"host": "192.0.2.7"}, "http://192.0.2.7:8080"),
        (REMOTE, {"host": "0.0.0.0", "driver_url": "http://api:80"}, "http://api:80"),
    ],
)
def test_drivers_are_told_where_the_api_is(
    tmp_path: Path, ray: str, more: dict[str, str], url: str
) -> None:
    assert find_driver_url(settings(tmp_path, ray, **more)) == url


@pytest.mark.parametrize("ray", [REMOTE, "head:8265", "http://10.1.2.3:8265", "ray://head:10001"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::"])
def test_an_address_that_drivers_cannot_reach_is_refused(
    tmp_path: Path, ray: str, host: str
) -> None:
    with pytest.raises(InputError, match=r"cannot reach this server at .*--driver-url"):
        build(settings(tmp_path, ray, host=host))


@pytest.mark.parametrize("url", ["", "api:8080", "ftp://api", "http://", "http:///x"])
def test_a_driver_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match=r"--driver-url: invalid URL .*http://HOST:8080"):
        build(settings(tmp_path, driver_url=url))


def test_the_file_with_the_databases_password_goes(tmp_path: Path) -> None:
    """Older versions left it in the home folder, where users' code reads it."""
    asked = settings(tmp_path)
    database = Database(asked.service.database_url)
    database.upgrade()
    database.close()
    (tmp_path / "service.json").write_text("{}")
    build(asked)
    assert not [p for p in tmp_path.rglob("*.json") if p.is_file()]


def test_the_served_loop_deletes_sweeps_after_their_days(tmp_path: Path) -> None:
    """And only then: a loop of the settings, not one that a test made."""
    asked = replace(settings(tmp_path), keep_days=0.0, mlflow_uri="off")
    database = Database(asked.service.database_url)
    database.upgrade()
    UserStore(database).create_or_update("ann", UserRole.USER)
    sweeps = SweepStore(database)
    sweeps.submit(Submission(sweep_id="digits-1", name="digits", owner="ann", spec="name: x"))
    sweeps.change("digits-1", JobState.CANCELLED, "enough", "ann")
    app = build(asked)
    (keeping,) = (loop for loop in app.state.loops if loop.name == "upkeep")
    keeping._work()
    with pytest.raises(SweepNotFoundError):
        sweeps.get("digits-1")
    app.state.service.database.close()
    database.close()
