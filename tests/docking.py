"""The stack in Docker as tests bring it up: under a project's name and on ports of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.base.ports import find_free_port
from tests.commands import REPOSITORY, gapsweep
from tests.patience import patience

PROJECT = "gapsweep-tests"
IMAGE = "gapsweep:tests"
COMPOSE_FILE = REPOSITORY / "docker" / "compose.yaml"
_READY = 120.0


@functools.cache
def why_not() -> str | None:
    """Why nothing can be run in Docker here; None where it can."""
    try:
        asked = docker("info", check=False)
    except FileNotFoundError:
        return "there is no Docker here"
    if asked.returncode:
        return "Docker's engine does not answer"
    return None if compose_words() else "there is no docker compose here"


@functools.cache
def compose_words() -> tuple[str, ...]:
    """Compose, by whichever name it is there."""
    for words in (("docker", "compose"), ("docker-compose",)):
        try:
            if not subprocess.run([*words, "version"], capture_output=True).returncode:
                return words
        except FileNotFoundError:
            continue
    return ()


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run it; what it said is in an error's text."""
    return _run(["docker", *words], dict(os.environ), check)


class Docked:
    """The stack, and what people do with it."""

    def __init__(self) -> None:
        self.api, self.mlflow, self.optuna = (
            f"http://127.0.0.1:{find_free_port()}" for _ in range(3)
        )
        ports = {"API_PORT": self.api, "MLFLOW_PORT": self.mlflow, "OPTUNA_PORT": self.optuna}
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "GAPSWEEP_IMAGE": IMAGE,
            "DOCKER_BUILDKIT": "1",
            "COMPOSE_DOCKER_CLI_BUILD": "1",
            "HEALTH_START_PERIOD": f"{patience(60):.0f}s",
            **{name: url.rpartition(":")[2] for name, url in ports.items()},
        }

    def compose(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`docker compose -f docker/compose.yaml …`."""
        return _run([*compose_words(), "-f", str(COMPOSE_FILE), *words], self.environment, check)

    def script(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """`docker/backup` and its neighbours."""
        return _run([str(REPOSITORY / "docker" / name), *words], self.environment, check=False)

    def build(self) -> None:
        """Build the image, of which all services are."""
        self.compose("build", "keys")

    def up(self, workers: int | None = None) -> float:
        """Bring it up, and wait until API and MLflow are ready; the seconds that it took.

        A worker takes seconds of CPU to start; without their number there are those of the file.
        """
        began = time.monotonic()
        scaled = () if workers is None else ("--scale", f"ray-worker={workers}")
        self.compose("up", "-d", *scaled)
        while not answers(f"{self.api}/readyz") or not answers(f"{self.mlflow}/health"):
            if time.monotonic() - began > patience(_READY):
                raise TimeoutError(self.compose("logs", "--tail", "30").stdout)
            time.sleep(0.2)
        return time.monotonic() - began

    def down(self, *words: str) -> None:
        """Take it down; with ``-v`` its volumes too."""
        self.compose("down", "--remove-orphans", *words)

    @property
    def token(self) -> str:
        """The first admin's."""
        words = ("run", "--rm", "--no-deps", "-T", "cli", "token")
        return self.compose(*words).stdout.split()[-1]

    @functools.cached_property
    def known_token(self) -> str:
        """Asked for once: a container starts to tell it."""
        return self.token

    def gapsweep(self, *words: str) -> str:
        """The host's own command line, asking the stack; its output."""
        done = gapsweep(
            *words, env={"GAPSWEEP_SERVER": self.api, "GAPSWEEP_TOKEN": self.known_token}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def container(self, service: str) -> str:
        """One of a service's containers that run."""
        labels = {"project": PROJECT, "service": service, "oneoff": "False"}
        filters = [f"--filter=label=com.docker.compose.{k}={v}" for k, v in labels.items()]
        return docker("ps", "-q", *filters).stdout.split()[0]

    def inside(
        self, service: str, *words: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's container."""
        return docker("exec", self.container(service), *words, check=check)

    def runs(self, sweep_id: str) -> list[dict[str, Any]]:
        """A sweep's runs by MLflow's own HTTP API, the parent first."""
        wanted = {
            "experiment_ids": [self.experiment()],
            "filter": f"tags.`gapsweep.sweep_id` = '{sweep_id}'",
            "max_results": 1000,
            "order_by": ["attributes.start_time ASC"],
        }
        found = self.asked_of_mlflow("runs/search", wanted).get("runs", [])
        return sorted(found, key=lambda r: int(tags(r).get("gapsweep.trial", -1)))

    def experiment(self) -> str:
        """The number of gapsweep's own."""
        path = "experiments/get-by-name?experiment_name=gapsweep"
        found = self.asked_of_mlflow(path)
        return str(found["experiment"]["experiment_id"])

    def asked_of_mlflow(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """MLflow's answer to the first admin."""
        token = f"Bearer {self.known_token}"
        return asked(f"{self.mlflow}/api/2.0/mlflow/{path}", body, Authorization=token)


class ImageBuild:
    """The image's build in a process of its own: it takes minutes, mostly of the network's."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, while other tests run."""
        words = [*compose_words(), "-f", str(COMPOSE_FILE), "build", "keys"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            words, env=Docked().environment, stdin=quiet, stdout=quiet, stderr=quiet
        )

    def wait(self) -> None:
        """Until it has ended, well or not: what went wrong is told by the build that follows."""
        if self._process is not None:
            self._process.wait(patience(900))


IMAGE_BUILD = ImageBuild()


@contextmanager
def docked() -> Iterator[Docked]:
    """The stack, built and up with one worker; nothing of it is left."""
    IMAGE_BUILD.wait()
    stack = Docked()
    stack.down("-v")  # what a run that was killed left
    try:
        stack.build()
        stack.up(workers=1)
        yield stack
    finally:
        stack.down("-v")


def tags(run: dict[str, Any]) -> dict[str, str]:
    """A run's tags."""
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def asked(url: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    """What an address answers, as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=patience(30)) as answer:
        return json.load(answer)


def answers(url: str) -> bool:
    """Whether it is there and well."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def _run(
    words: list[str], environment: dict[str, str], check: bool
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience(560),
        cwd=REPOSITORY,
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def file_of(folder: Path, name: str, text: str) -> Path:
    """A file that a user has."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
