"""Paths with characters that mean something in a URI, accounts without a name, a long TMPDIR."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from service.base.accounts import find_account_folder, get_account_name
from service.base.uris import build_readonly_sqlite_uri
from service.cli.service_database import find_database_url
from service.cluster.compat import MAX_RAY_FOLDER
from service.cluster.connection import _find_ray_folder
from service.server.store.database import Database
from service.sweep.environment import use_ray_token
from service.sweep.home import Home
from service.tracking.mlflow_server import _find_runs_page

SERVICE = Path(__file__).parents[2] / "service"
ODD = ("a?b", "a#b", "a%41b", "a%b", "a b", "größe", "a;b&c=d", "a:b@c", "a'b", "[a]")


@pytest.mark.parametrize("name", ODD)
def test_the_databases_of_a_home_are_in_it_whatever_its_path_is(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name).create()
    database = Database(find_database_url(home, None))
    database.upgrade()
    database.close()
    assert (home.path / "service.db").stat().st_size > 0
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with closing(sqlite3.connect(home.path / "mlflow.db")) as file, file:
        file.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
        file.execute("INSERT INTO experiments VALUES (7, 'gapsweep')")
    assert "/experiments/7/" in _find_runs_page(home)
    with (
        closing(sqlite3.connect(build_readonly_sqlite_uri(home.path / "mlflow.db"), uri=True)) as f,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        f.execute("DELETE FROM experiments")


def test_no_module_writes_a_path_into_a_uri_by_hand() -> None:
    by_hand = ('f"sqlite:', "f'sqlite:", 'f"file:', "f'file:")
    found = [
        f"{path.relative_to(SERVICE)}: {line.strip()}"
        for path in SERVICE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(words in line for words in by_hand) and path.name != "uris.py"
    ]
    assert found == []


def test_a_user_id_without_a_passwd_entry_has_a_name_and_no_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)  # the passwd file does not name it
    assert get_account_name() == "uid-54321"
    assert find_account_folder() is None
    use_ray_token()


def test_rays_sockets_are_in_tmp_where_tmpdir_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/var/short")
    assert _find_ray_folder() == Path("/var/short/ray")
    monkeypatch.setenv("TMPDIR", "/" + "x" * MAX_RAY_FOLDER)
    assert _find_ray_folder() == Path("/tmp/ray")
