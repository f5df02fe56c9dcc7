"""A worker is started with the command and the environment that Ray's own script gives it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from ray._private.runtime_env.context import RuntimeEnvContext
from ray.core.generated.common_pb2 import Language

from service.cluster import connection
from service.cluster.fork_server import OF_TABLES
from service.cluster.start_worker import plan
from service.run.prepare import start_cluster
from tests.commands import REPOSITORY
from tests.inside import as_a_process
from tests.specs import parse

WORKER = ["/ray/default_worker.py", "--node-ip-address=10.0.0.1", "--webui=", "--a=b c"]
OTHER = {"HOME": "/root", "TUNE_A": "0"}


def words(context: RuntimeEnvContext | None, language: str = "PYTHON") -> list[str]:
    said = [f"--serialized-runtime-env-context={context.serialize()}"] if context else []
    return [*WORKER, *said, f"--language={language}", "--runtime-env-hash=7"]


@pytest.mark.parametrize(
    "context", [None, RuntimeEnvContext(env_vars={"TUNE_A": "1", "PYTHONPATH": "/a:/b c"})]
)
def test_it_is_rays_own_command(
    context: RuntimeEnvContext | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(os, "execvp", lambda _, args: started.append((args, dict(os.environ))))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.clear()
    os.environ.update(OTHER)
    (context or RuntimeEnvContext()).exec_worker(
        [*WORKER, "--runtime-env-hash=7"], Language.Value("PYTHON")
    )
    ((_, _, line), environment) = started[0]
    found, variables = plan(words(context), OTHER, "/ray/setup_worker.py")
    assert ["exec", *found] == shlex.split(line)
    assert variables == environment


@pytest.mark.parametrize(
    ("context", "language"),
    [
        (RuntimeEnvContext(command_prefix=["cd", "/app", "&&"]), "PYTHON"),
        (RuntimeEnvContext(override_worker_entrypoint="/other.py"), "PYTHON"),
        (RuntimeEnvContext(py_executable="uv run"), "PYTHON"),
        (RuntimeEnvContext(env_vars={"PATH": "/bin:${PATH}"}), "PYTHON"),
        (RuntimeEnvContext(), "CPP"),
    ],
    ids=lambda value: json.dumps(value, default=lambda context: context.__dict__)[:60],
)
def test_anything_more_is_left_to_rays_own_script(
    context: RuntimeEnvContext, language: str
) -> None:
    asked = words(context, language)
    assert plan(asked, OTHER, "/ray/setup.py") == ([sys.executable, "/ray/setup.py", *asked], OTHER)


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        ({"name": "breast_cancer"}, OF_TABLES),
        ({"name": "csv", "path": "a.csv", "target": "y"}, OF_TABLES),
        ({"name": "digits"}, ()),
    ],
)
def test_those_of_a_table_are_forked_with_what_encodes_it(
    monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], asked: tuple[str, ...]
) -> None:
    """Each would import scikit-learn otherwise, for a second of CPU."""
    found: list[tuple[str, ...]] = []

    @contextmanager
    def remember(*more: str) -> Iterator[None]:
        found.append(more)
        yield

    monkeypatch.setattr(connection, "run_fork_server", remember)
    starting = SimpleNamespace(stop=lambda: None)
    monkeypatch.setattr(connection, "StartingRay", lambda *_: starting)
    with as_a_process(REPOSITORY, ["gapsweep"], {}), start_cluster(None, parse(data=data)):
        pass
    assert found == [asked]
