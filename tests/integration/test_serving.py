"""The commands around the service: users, migrations, what a server is refused for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from alembic import command as alembic

from service.base.ports import find_free_port
from service.client.client import Client
from service.client.endpoints import sweeps as list_of_sweeps
from service.server.store.database import Database, alembic_configuration
from tests.commands import command, gapsweep
from tests.patience import patience

RAY = ("--ray-address", "http://127.0.0.1:9")


def home_with_tables(folder: Path) -> tuple[str, str]:
    assert gapsweep("migrate", "--home", str(folder)).returncode == 0
    return ("--home", str(folder))


def test_users_are_made_listed_and_revoked(tmp_path: Path) -> None:
    home = home_with_tables(tmp_path)
    assert "gapsweep users add NAME --role admin" in gapsweep("users", "list", *home).stdout
    added = gapsweep("users", "add", "ann", "--role", "user", "--days", "30", *home)
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith("gs_")
    listed = gapsweep("users", "list", *home)
    assert "ann" in listed.stdout
    assert added.stdout.strip() not in listed.stdout
    assert gapsweep("users", "revoke", "ann", *home).returncode == 0
    again = gapsweep("users", "revoke", "ann", *home)
    assert again.returncode == 2
    assert "unknown user 'ann'" in again.stderr
    strange = gapsweep("users", "add", "a b", "--role", "user", *home)
    assert strange.returncode == 2
    assert "invalid user name" in strange.stderr


@pytest.mark.parametrize("asked", [("users", "list"), ("serve", *RAY)])
def test_a_database_that_is_a_migration_behind_is_refused_with_the_command(
    tmp_path: Path, asked: tuple[str, ...]
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    with database.connecting() as connection:
        alembic.upgrade(alembic_configuration(connection), "0001")
    database.close()
    refused = gapsweep(*asked, "--home", str(tmp_path))
    assert refused.returncode == 2
    words = " ".join(refused.stderr.split())
    assert "the database is at migration 0001, this version needs 0005" in words
    assert "run: gapsweep migrate --database-url" in words
    home_with_tables(tmp_path)
    assert gapsweep("users", "list", "--home", str(tmp_path)).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gpus-of", "ann"), "write it as NAME=NUMBER"),
        (("--rate", "often"), "invalid rate 'often'; write it as 600/minute"),
        (("--webhook", "ftp://x"), "write it as https://host/path"),
        (("--webhook", "https://x/y"), "GAPSWEEP_WEBHOOK_SECRET must have at least 16 characters"),
        (("--database-url", "mysql://x"), "invalid database URL"),
    ],
)
def test_settings_that_are_none_are_refused(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    home = home_with_tables(tmp_path)
    refused = gapsweep("serve", *RAY, *home, "--port", str(find_free_port()), *options)
    assert refused.returncode == 2, refused.stdout
    assert words in " ".join(refused.stderr.split())


def test_a_database_that_does_not_answer_is_no_bad_input(tmp_path: Path) -> None:
    url = "postgresql+psycopg://a:geheim@127.0.0.1:9/x"
    home = ("--home", str(tmp_path))
    failed = gapsweep("serve", *RAY, *home, "--port", str(find_free_port()), "--database-url", url)
    assert (failed.returncode, "does not answer" in failed.stderr) == (1, True)
    assert "geheim" not in failed.stderr


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    home = home_with_tables(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for asked in (("serve", *RAY, "--port", port), ("up", "--mlflow-port", port)):
            refused = gapsweep(*asked, *home)
            assert refused.returncode == 2
            assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr


@pytest.mark.ray
def test_up_starts_everything_and_ends_it(tmp_path: Path) -> None:
    api, mlflow, ray = find_free_port(), find_free_port(), find_free_port()
    ports = ("--port", str(api), "--mlflow-port", str(mlflow), "--ray-port", str(ray))
    up = subprocess.Popen(
        command("up", "--home", str(tmp_path), *ports, "--cpus", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert up.stdout is not None
    try:
        said = ""
        while "--watch" not in said:
            line = up.stdout.readline()
            assert line, said
            said += line
        token = said.partition("GAPSWEEP_TOKEN=")[2].split()[0]
        for port in (api, mlflow, ray):
            assert f"http://127.0.0.1:{port}" in said
        assert _asked(f"http://127.0.0.1:{api}", token) == ()
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(timeout=patience(60))
    assert up.returncode == 0
    for port in (api, mlflow, ray):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2)


def _asked(server: str, token: str) -> tuple[object, ...]:
    deadline = time.monotonic() + patience(30)
    while True:
        try:
            return Client(server, token).do(list_of_sweeps()).items
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
