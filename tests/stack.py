"""The whole service for tests: Ray, PostgreSQL, MLflow and the API, each of which can be killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.base.ports import find_free_port
from service.client.client import Client
from service.client.job_states import JobState
from service.server.store.database import Database
from service.server.store.job_records import Job
from service.server.store.progress_store import ProgressStore
from service.server.store.sweep_store import SweepStore
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from tests.commands import REPOSITORY, Done, command, gapsweep
from tests.databases import Postgres, postgres_server
from tests.namespaces import Namespace
from tests.patience import patience, wait_for
from tests.rays import Ray, launch_folder, pids, ray_cluster, read
from tests.scratch import scratch
from tests.small_disks import mount_small_disk

SECRET = "pa55word-nobody-may-read"
"""The database's password: whatever is written anywhere, it is not in it."""

DECOY = "raise SystemExit('a module beside the nodes was imported, not the bundle')\n"
"""A module of the name of a user's, in the folders where nothing may be imported from."""


class Program:
    """A process that can be killed without warning and started again."""

    def __init__(self, words: Sequence[str], log: Path, env: dict[str, str], url: str) -> None:
        self._words, self._log, self._env, self._url = list(words), log, env, url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._words,
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
                env={**os.environ, **self._env},
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it answers."""
        wait_for(self._answers, 90)

    def kill(self) -> None:
        """``kill -9``, its own processes too."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """As a supervisor would."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=patience(60))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(self._url, timeout=2):
                return True
        except OSError:
            return False


@dataclass
class Stack:
    """Everything, running. ``tokens`` are by the names of users."""

    folder: Path
    ray: Ray
    postgres: Postgres
    mlflow: Program
    api: Program
    server: str
    mlflow_url: str
    database: Database
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """What the nodes share."""
        return self.folder / "home"

    def env(self, user: str = "ann") -> dict[str, str]:
        """What a user's terminal has in its environment."""
        return {"GAPSWEEP_SERVER": self.server, "GAPSWEEP_TOKEN": self.tokens[user]}

    def client(self, user: str = "ann") -> Client:
        """A user's."""
        return Client(self.server, self.tokens[user])

    def gapsweep(self, *arguments: str, user: str = "ann", **environment: str) -> Done:
        """A user's command."""
        return gapsweep(*arguments, env={**self.env(user), **environment})

    def submit(self, spec: Path, *options: str, user: str = "ann") -> str:
        """Submit a sweep by the command line; its id."""
        done = self.gapsweep("submit", str(spec), "--json", *options, user=user)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["sweep_id"])

    def job(self, sweep_id: str) -> Job:
        """As the store has it."""
        return SweepStore(self.database).get(sweep_id)

    def trials(self, sweep_id: str) -> int:
        """How many of its trials the store knows to be over."""
        progress = self.job(sweep_id).progress
        return sum(int(progress.get(state, 0)) for state in ("complete", "pruned", "failed"))

    def wait(self, sweep_id: str, state: JobState, seconds: float = 120) -> Job:
        """Until a sweep is in a state; another end than that fails."""

        def arrived() -> bool:
            job = self.job(sweep_id)
            assert job.state is state or not job.state.is_over, self._describe(sweep_id)
            return job.state is state

        self._wait_for(sweep_id, arrived, seconds)
        return self.job(sweep_id)

    def reach(self, sweep_id: str, count: int, seconds: float = 120) -> None:
        """Until so many of a sweep's trials are over."""
        self._wait_for(sweep_id, lambda: self.trials(sweep_id) >= count, seconds)

    def _wait_for(self, sweep_id: str, condition: Callable[[], bool], seconds: float) -> None:
        try:
            wait_for(condition, seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self._describe(sweep_id)}") from None

    def _describe(self, sweep_id: str) -> str:
        job = self.job(sweep_id)
        return f"{job.state}: {job.cause}\n{self.log(sweep_id)}"

    def log(self, sweep_id: str) -> str:
        """What the sweep's drivers wrote."""
        path = self.home / "sweeps" / sweep_id / "driver.log"
        return path.read_text() if path.exists() else "no log"

    def logged(self, sweep_id: str) -> int:
        """How many trials its drivers wrote to be complete, also while the API is away."""
        return len(re.findall(r"^trial +\d+ complete", self.log(sweep_id), re.MULTILINE))

    def drivers(self) -> list[int]:
        """The ids of the drivers' processes."""
        mark = b"service.server.start_driver\0"
        home = str(self.home).encode()
        return [p for p in pids() if mark in (line := read(p, "cmdline")) and home in line]

    @property
    def progress(self) -> ProgressStore:
        """Trials and epochs of the store."""
        return ProgressStore(self.database)

    def mlflow_runs(self, sweep_id: str) -> list[dict[str, Any]]:
        """The sweep's runs, by MLflow's REST API."""
        asked = {
            "experiment_ids": [self._experiment()],
            "filter": f"tags.`gapsweep.sweep_id` = '{sweep_id}'",
            "max_results": 1000,
        }
        return list(self._mlflow("runs/search", asked).get("runs", []))

    def _experiment(self) -> str:
        url = f"{self.mlflow_url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=gapsweep"
        with urllib.request.urlopen(self._as_viewer(url), timeout=10) as answer:
            return str(json.load(answer)["experiment"]["experiment_id"])

    def _as_viewer(self, url: str) -> urllib.request.Request:
        return urllib.request.Request(
            url, headers={"Authorization": f"Bearer {self.tokens['vic']}"}
        )

    def _mlflow(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        request = self._as_viewer(f"{self.mlflow_url}/api/2.0/mlflow/{call}")
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@contextmanager
def stack(
    cpus: int,
    *more: int,
    options: Sequence[str] = (),
    disk_kib: int | None = None,
    network: Namespace | None = None,
) -> Iterator[Stack]:
    """Start everything and end it; ``options`` are ``gapsweep serve``'s.

    With ``disk_kib`` the home is a disk of its own, of that size. With ``network`` MLflow runs in
    a namespace that can be cut off.
    """
    with ExitStack() as opened:
        folder = Path(opened.enter_context(scratch("stack-")))
        folder.chmod(0o755)
        if disk_kib is None:
            (folder / "home").mkdir()
        else:
            opened.enter_context(mount_small_disk(folder / "home", disk_kib))
        mlflow_port, port = find_free_port(), find_free_port()
        mlflow_url = f"http://{network.inside if network else '127.0.0.1'}:{mlflow_port}"
        mlflow = _mlflow(folder, mlflow_url, port, network)
        opened.callback(mlflow.end)
        mlflow.launch()  # what takes longest starts beside the rest
        ray = opened.enter_context(ray_cluster(cpus, *more, dashboard=True))
        for place in (launch_folder(ray.folder), folder / "home"):
            (place / "paced.py").write_text(DECOY)
        postgres = opened.enter_context(postgres_server())
        url = postgres.url.replace("@", f":{SECRET}@", 1)
        database = Database(url)
        database.upgrade()
        opened.callback(database.close)
        tokens = {
            name: UserStore(database).create_or_update(name, role) for name, role in _USERS.items()
        }
        reach = ["--host", "0.0.0.0", "--driver-url", f"http://127.0.0.1:{port}"]
        more_options = [*options, *(reach if network else ())]
        api = _api(folder, ray, url, mlflow_url, port, more_options)
        opened.callback(api.end)
        api.launch()
        for program in (api, mlflow):
            program.wait()
        server = f"http://127.0.0.1:{port}"
        yield Stack(folder, ray, postgres, mlflow, api, server, mlflow_url, database, tokens)


_USERS = {
    "ann": UserRole.USER,
    "bob": UserRole.USER,
    "vic": UserRole.VIEWER,
    "root": UserRole.ADMIN,
}


def _mlflow(folder: Path, url: str, api: int, network: Namespace | None) -> Program:
    host, _, port = url.removeprefix("http://").partition(":")
    machine = network.outside if network else "127.0.0.1"
    words = [*network.before] if network else []
    words += command("serve-mlflow", "--port", port, "--api", f"http://{machine}:{api}")
    words += ["--host", host]
    words += ["--database-url", f"sqlite:///{folder / 'mlflow.db'}"]
    words += ["--artifacts", str(folder / "artifacts")]
    return Program(words, folder / "mlflow.log", {}, f"{url}/health")


def _api(
    folder: Path, ray: Ray, database: str, mlflow_url: str, port: int, options: Sequence[str]
) -> Program:
    words = command("serve", "--ray-address", ray.dashboard, "--home", str(folder / "home"))
    words += ["--mlflow-url", mlflow_url, "--port", str(port)]
    words += ["--python", sys.executable, *options]
    env = {**ray.env, "GAPSWEEP_DATABASE_URL": database}
    return Program(words, folder / "api.log", env, f"http://127.0.0.1:{port}/readyz")
