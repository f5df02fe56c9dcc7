"""A worker is started with the command and the environment that Ray's own script gives it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import Any

import pytest
from ray._private.runtime_env.context import RuntimeEnvContext
from ray.core.generated.common_pb2 import Language

from service.cluster.start_worker import plan

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
