"""A home and a database of version 0.1.0 are opened by this version.

``tests/data/make_service_home.py`` made them, with that version's code.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic.runtime.migration import MigrationContext

from service.base.errors import DatabaseSetupError
from service.client.job_states import JobState
from service.server.driver_access import Handover
from service.server.store.database import Database
from service.server.sweep_service import ServiceSettings, SweepService
from service.sweep.home import Home
from service.sweep.load import read_sweep
from tests.commands import gapsweep
from tests.databases import postgres
from tests.drivers import api_over_http, start_local_driver
from tests.patience import patience

RELEASED = Path(__file__).parents[1] / "data" / "service_home_0_1_0"
TOKEN = (RELEASED / "token").read_text().strip()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home as 0.1.0 left it."""
    shutil.copytree(RELEASED / "sweeps", tmp_path / "home" / "sweeps")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server, to which a database's name is added."""
    with postgres() as url:
        yield url.removesuffix("postgres")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, home: Path) -> str:
    """The database as 0.1.0 left it."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(home / "service.db")) as database:
            database.executescript((RELEASED / "service.sql").read_text())
        return f"sqlite:///{home / 'service.db'}"
    server, name = request.getfixturevalue("server"), f"of_{secrets.token_hex(4)}"
    plain = server.replace("+psycopg", "")
    with psycopg.connect(f"{plain}postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(plain + name) as connection:
        connection.execute((RELEASED / "service.postgresql.sql").read_bytes())
    return f"{server}{name}"


@contextmanager
def serving(home: Path, url: str) -> Iterator[tuple[SweepService, dict[str, str]]]:
    """The service after its migration, and what ann's terminal has in its environment."""
    assert gapsweep("migrate", "--home", str(home), "--database-url", url).returncode == 0
    service = SweepService(ServiceSettings(database_url=url, home=home), Database(url))
    with api_over_http(service) as api:
        yield service, {"GAPSWEEP_SERVER": api, "GAPSWEEP_TOKEN": TOKEN, "COLUMNS": "200"}
    service.database.close()


def test_the_database_is_refused_with_the_command_until_it_is_migrated(url: str) -> None:
    database = Database(url)
    with database.connecting() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
    assert before == "0007"
    with pytest.raises(DatabaseSetupError, match="run: gapsweep migrate"):
        database.check()
    database.upgrade()
    database.check()
    database.close()


def test_sweeps_are_listed_and_read_with_a_token_of_before(home: Path, url: str) -> None:
    with serving(home, url) as (_, env):
        listed = json.loads(gapsweep("list", "--json", env=env).stdout)["items"]
        assert {s["sweep_id"]: s["state"] for s in listed} == {
            "digits-1": "succeeded",
            "digits-2": "running",
        }
        trials = json.loads(gapsweep("trials", "digits-1", "--json", env=env).stdout)
        assert [t["state"] for t in trials] == ["complete"] * 5
        for command in (("status",), ("report",), ("report", "--json"), ("logs",)):
            done = gapsweep(command[0], "digits-1", *command[1:], env=env)
            assert done.returncode == 0, done.stderr
        best = gapsweep("download", "digits-1", "--to", str(home / "best.pt"), env=env)
        assert best.returncode == 0, best.stderr


def test_the_folders_are_read_without_a_service(home: Path) -> None:
    shown = gapsweep("list", "--home", str(home), env={"COLUMNS": "200"}).stdout
    assert "damaged" not in shown
    done = gapsweep("report", "digits-1", "--home", str(home), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["complete"] == 5


def test_a_sweep_that_was_running_continues_to_its_end(home: Path, url: str) -> None:
    before = read_sweep(Home(home).sweep("digits-2"))[2].trials
    with serving(home, url) as (service, env):
        service.sweeps.end_attempt("digits-2", 1, JobState.PAUSED, "upgraded", "test")
        queued = gapsweep("resume", "digits-2", "--accept-changes", env=env)
        assert queued.returncode == 0, queued.stderr
        job = service.sweeps.change("digits-2", JobState.STARTING, "selected", "queue", attempt=2)
        Handover(home, service.sweep_tokens, env["GAPSWEEP_SERVER"], "off").give(job)
        assert start_local_driver(home, "digits-2", 2).wait(patience(200)) == 0
        assert service.sweeps.get("digits-2").state is JobState.SUCCEEDED
        ended = [t for t in before if t.state.has_ended]
        found = service.progress.trials("digits-2")
        assert [t.number for t in found] == list(range(5))
        for old, new in zip(ended, found, strict=False):
            assert (old.number, old.value, old.params) == (new.number, new.value, new.params)
        whole = service.progress.trials("digits-1")  # the same spec, undisturbed
        assert [(t.params, t.value) for t in found] == [(t.params, t.value) for t in whole]
