"""Starts a Ray worker in the place of Ray's ``setup_worker.py``; a script, which a raylet runs.

Ray 2.60's imports all of Ray, half a second of CPU, only to set the environment variables of the
worker's runtime environment and to replace itself by the worker, which imports Ray again. Where a
runtime environment has more than variables, this replaces itself by Ray's script.
"""

import json
import os
import sys

RAYS_OWN = "GAPSWEEP_RAY_SETUP_WORKER"
"""The environment variable with the path of the script that this one stands for."""

_CONTEXT, _LANGUAGE = "--serialized-runtime-env-context=", "--language="


def plan(
    words: list[str], environment: dict[str, str], rays_own: str
) -> tuple[list[str], dict[str, str]]:
    """The command that replaces this process, and its environment."""
    context = "".join(w.removeprefix(_CONTEXT) for w in words if w.startswith(_CONTEXT))
    found = json.loads(context or "{}")
    variables = found.pop("env_vars", None) or {}
    python = found.pop("py_executable", None) or sys.executable
    has_more = any(found.values()) or any("$" in value for value in variables.values())
    if has_more or f"{_LANGUAGE}PYTHON" not in words or not os.access(python, os.X_OK):
        return [sys.executable, rays_own, *words], environment
    passed = [w for w in words if not w.startswith((_CONTEXT, _LANGUAGE))]
    return [python, *passed], {**environment, **variables}


if __name__ == "__main__":
    command, variables = plan(sys.argv[1:], dict(os.environ), os.environ[RAYS_OWN])
    os.execve(command[0], command, variables)
