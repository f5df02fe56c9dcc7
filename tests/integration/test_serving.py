"""The commands around the service: users, migrations, what a server is refused for."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from alembic import command as alembic
from alembic.script import ScriptDirectory

from service.base.ports import find_free_port
from service.client.client import Client
from service.client.endpoints import sweeps as list_of_sweeps
from service.server.store.database import Database, alembic_configuration
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from tests.commands import command, gapsweep
from tests.faults.attacks import Service, run_all
from tests.patience import patience, wait_for
from tests.rays import pids, read

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
    newest = ScriptDirectory.from_config(alembic_configuration()).get_current_head()
    assert f"the database is at migration 0001, this version needs {newest}" in words
    assert "run: gapsweep migrate --database-url" in words
    home_with_tables(tmp_path)
    assert gapsweep("users", "list", "--home", str(tmp_path)).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gpus-of", "ann"), "write it as NAME=NUMBER"),
        (("--rate", "often"), "invalid rate 'often'; write it as 600/minute"),
        (("--webhook", "ftp://x"), "write it as https://host/path"),
        (("--webhook", "https://x/y"), "give --webhook-file FILE, or set GAPSWEEP_WEBHOOKS"),
        (("--webhook", "https://x"), "GAPSWEEP_WEBHOOK_SECRET must have at least 16 characters"),
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


@dataclass
class Up:
    """`gapsweep up`, with its output so far."""

    process: subprocess.Popen[str]
    home: Path
    output: Path
    api: int
    mlflow: int
    ray: int

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def token(self) -> str:
        return self.said.partition("GAPSWEEP_TOKEN=")[2].split()[0]

    def ready(self) -> tuple[int, str]:
        answer = httpx2.get(f"http://127.0.0.1:{self.api}/readyz", timeout=patience(10))
        return answer.status_code, answer.text

    def child(self, word: str) -> int:
        (found,) = [p for p in pids() if f" {self.process.pid} " in parents(p) and word in line(p)]
        return found

    def listening(self) -> dict[str, str]:
        """The addresses at which this process and all that it started listen."""
        sessions = {self.process.pid, self.child("serve-mlflow"), self.child("ray.scripts")}
        ours = {p for p in pids() if p in sessions or session(p) in sessions}
        shown = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
        lines = [shown_line.split() for shown_line in shown.splitlines()]
        return {
            words[3]: words[-1]
            for words in lines
            if any(f"pid={pid}," in words[-1] for pid in ours)
        }


def line(pid: int) -> str:
    return read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")


def parents(pid: int) -> str:
    fields = read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()
    return f" {fields[1]} " if fields else ""


def session(pid: int) -> int:
    fields = read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()
    return int(fields[3]) if fields else 0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    (home / "mlflow.log").write_text("of a version that let all accounts read it\n")
    (folder / "cwd").mkdir()
    api, mlflow, ray = find_free_port(), find_free_port(), find_free_port()
    ports = ("--port", str(api), "--mlflow-port", str(mlflow), "--ray-port", str(ray))
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            command("up", "--home", str(home), *ports, "--cpus", "2"),
            stdout=output,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder / "cwd",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    made = Up(process, home, folder / "output", api, mlflow, ray)
    try:
        wait_for(lambda: process.poll() is not None or "--watch" in made.said, 120)
        assert process.poll() is None, made.said
        wait_for(lambda: _answers(f"http://127.0.0.1:{api}/readyz"), 30)
        yield made
    finally:
        process.terminate()
        process.wait(timeout=patience(90))


@pytest.mark.ray
class TestUp:
    """In this order: the last one ends it."""

    def test_it_starts_everything(self, up: Up) -> None:
        for port in (up.api, up.mlflow, up.ray):
            assert f"http://127.0.0.1:{port}" in up.said
        client = Client(f"http://127.0.0.1:{up.api}", up.token)
        assert client.do(list_of_sweeps()).items == ()
        assert up.ready() == (200, '{"status":"ok"}')

    def test_mlflow_takes_the_token_and_nobody_without_one(self, up: Up) -> None:
        page = f"http://127.0.0.1:{up.mlflow}/"
        assert httpx2.get(page).status_code == 401
        assert httpx2.get(page, auth=("any name", up.token)).status_code == 200

    def test_every_attack_is_refused(self, up: Up) -> None:
        database = Database(f"sqlite:///{up.home / 'service.db'}")
        users = UserStore(database)
        user, viewer = (
            users.create_or_update(role.value, role) for role in (UserRole.USER, UserRole.VIEWER)
        )
        database.close()
        api, mlflow = (f"http://127.0.0.1:{port}" for port in (up.api, up.mlflow))
        found = run_all(Service(api, mlflow, user, viewer), str(up.home))
        assert {name: achieved for name, achieved in found.items() if achieved} == {}

    def test_it_listens_on_this_machine_only(self, up: Up) -> None:
        found = up.listening()
        ports = {address.rpartition(":")[2] for address in found}
        assert {str(p) for p in (up.api, up.mlflow, up.ray)} <= ports
        assert len(found) >= 8  # Ray's too
        local = ("127.0.0.1:", "[::ffff:127.0.0.1]:")
        assert {a: who for a, who in found.items() if not a.startswith(local)} == {}
        assert "10001" not in ports  # the server of Ray's client

    def test_no_other_account_can_read_what_it_writes(self, up: Up) -> None:
        written = [up.home, *up.home.rglob("*")]
        assert {"service.db", "mlflow.db", "mlflow.log", "ray.log"} <= {p.name for p in written}
        assert [p for p in written if p.stat().st_mode & 0o077] == []
        assert _scratch(up).stat().st_mode & 0o077 == 0
        assert not list((up.home.parent / "cwd").iterdir())

    @pytest.mark.parametrize(("name", "word"), [("MLflow", "serve-mlflow"), ("Ray", "ray.scripts")])
    def test_what_is_killed_is_started_again_and_said(self, up: Up, name: str, word: str) -> None:
        os.kill(up.child(word), signal.SIGKILL)
        wait_for(lambda: f"{name}: " in said_while_not_ready(up), 20)
        wait_for(lambda: up.ready()[0] == 200, 90)
        assert f"{name} ended (killed by signal 9) and is started again" in up.said
        assert f"{name} answers again" in up.said

    def test_a_supervisors_signal_ends_all_of_it(self, up: Up) -> None:
        scratch = _scratch(up)
        sessions = {up.child("serve-mlflow"), up.child("ray.scripts")}
        up.process.terminate()
        assert up.process.wait(timeout=patience(90)) == 0
        assert not scratch.exists()
        assert [line(p) for p in pids() if session(p) in sessions and line(p)] == []
        for port in (up.api, up.mlflow, up.ray):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=2)


def said_while_not_ready(up: Up) -> str:
    """What the API says of itself while it is not ready; else nothing."""
    status, text = up.ready()
    return text if status == 503 else ""


def _scratch(up: Up) -> Path:
    (found,) = re.findall(r"--temp-dir=(\S+)/ray ", line(up.child("ray.scripts")))
    return Path(found)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.mark.parametrize("option", ["--port", "--mlflow-port", "--ray-port"])
@pytest.mark.parametrize("port", ["10002", "15000", "19999"])
def test_up_refuses_the_ports_of_rays_workers(tmp_path: Path, option: str, port: str) -> None:
    refused = gapsweep("up", "--home", str(tmp_path), option, port)
    assert refused.returncode == 2
    words = " ".join(refused.stderr.split())
    assert f"{option} {port}: Ray's workers listen on ports 10002 to 19999" in words


def test_up_refuses_one_port_for_two_servers(tmp_path: Path) -> None:
    port = str(find_free_port())
    refused = gapsweep("up", "--home", str(tmp_path), "--port", port, "--ray-port", port)
    assert refused.returncode == 2
    assert f"--port and --ray-port are both {port}" in " ".join(refused.stderr.split())
