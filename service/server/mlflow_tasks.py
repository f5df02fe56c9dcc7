"""Has something done to the runs of sweeps in MLflow, by a program of its own.

The server imports no MLflow, and the program finds its credentials in its environment only.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from service.base.redaction import redact

RunTask = Callable[[Sequence[str]], Collection[str]]
"""Does something to the runs of sweeps, each named by a word; the sweeps for which it is done."""

REMOVE_RUNS = "service.tracking.remove_runs"
END_RUNS = "service.tracking.end_runs"
TIMEOUT = 50.0
"""Seconds for one call; what is left is done by the next one."""
_CREDENTIALS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
_log = logging.getLogger(__name__)


class MlflowTask:
    """Calls a program that acts on the service's MLflow, as the service itself.

    Credentials of an MLflow that is the operator's own, in its URL or the environment, come first.
    """

    def __init__(
        self, program: str, home: Path, mlflow_uri: str | None, make_token: Callable[[], str]
    ) -> None:
        """``program`` is a module, :data:`REMOVE_RUNS` or :data:`END_RUNS`."""
        self._program, self._home = program, home
        self._mlflow_uri, self._make_token = mlflow_uri, make_token

    def __call__(self, sweeps: Sequence[str]) -> Collection[str]:
        """The sweeps for which it is done; why it is not for others is logged."""
        words = [sys.executable, "-P", "-m", self._program, "--home", str(self._home), *sweeps]
        try:
            done = subprocess.run(
                words,
                env=self._build_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            _log.warning("%s has not ended within %.0f s: MLflow is slow", self._program, TIMEOUT)
            output = late.stdout or ""
            text = output.decode(errors="replace") if isinstance(output, bytes) else output
            return frozenset(text.split())
        if done.returncode:
            _log.warning("%s", redact((done.stderr.strip().splitlines() or ["no message"])[-1]))
        return frozenset(done.stdout.split())

    def _build_environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if self._mlflow_uri is None:
            return environment
        environment["GAPSWEEP_MLFLOW_URI"] = self._mlflow_uri
        own = any(environment.get(name) for name in _CREDENTIALS)
        if not own and urlsplit(self._mlflow_uri).password is None:
            environment["MLFLOW_TRACKING_TOKEN"] = self._make_token()
        return environment
