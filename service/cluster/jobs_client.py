"""Runs drivers as Ray jobs, through the HTTP API of the cluster's dashboard.

The service never joins the cluster, so a restart of the head only interrupts it for a while.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from service.base.amount import Amount
from service.base.errors import ClusterUnavailableError, LaunchError
from service.base.redaction import redact
from service.cluster.compat import is_unknown_job, make_job_client, read_log_tail
from service.cluster.jobs import ClusterNode, JobStatus, Launch

T = TypeVar("T")

_TIMEOUT = 15.0
_TAIL = 2000
_LONGEST_MESSAGE = 30_000


class RayJobs:
    """The jobs of one cluster by the address of its dashboard or its head.

    ``python`` is the interpreter that has gapsweep on the cluster's nodes.
    """

    def __init__(self, address: str, python: str = "python") -> None:
        self._address, self._python = address, python
        self._client: Any = None

    def start(self, launch: Launch) -> None:
        """Submit the job; its name is its submission id, which Ray accepts once."""
        words = build_driver_command(self._python, launch)
        environment: dict[str, Any] = {"env_vars": {"PYTHONSAFEPATH": "1"}}
        if launch.modules:
            environment["py_modules"] = [str(m) for m in launch.modules]
        if self.find(launch.name) is not None:
            return
        try:
            self._call(
                lambda client: client.submit_job(
                    entrypoint=shlex.join(words),
                    submission_id=launch.name,
                    runtime_env=environment,
                    metadata={"gapsweep_sweep": launch.sweep_id},
                )
            )
        except _RefusedError as error:
            raise LaunchError(f"the cluster does not take the job: {error}") from None

    def find(self, name: str) -> JobStatus | None:
        """The job of that submission id."""
        try:
            info = self._call(lambda client: client.get_job_info(name))
        except _UnknownJobError:
            return None
        message = f"{info.status.value}: {info.message or ''}"[:_LONGEST_MESSAGE]
        return JobStatus(info.status.is_terminal(), message, begun=info.status.value != "PENDING")

    def stop(self, name: str) -> None:
        """Ask the job to end; Ray kills it after a while."""
        try:
            self._call(lambda client: client.stop_job(name))
        except _UnknownJobError:
            return

    def read_output_tail(self, name: str) -> str:
        """The end of the job's log."""
        try:
            return redact(self._call(lambda c: read_log_tail(c, name, _TAIL)))
        except (_UnknownJobError, _RefusedError, ClusterUnavailableError):
            return ""

    def list_nodes(self) -> Sequence[ClusterNode]:
        """The nodes that are alive."""
        from ray.util.state import list_nodes

        found = self._call(
            lambda client: list_nodes(
                client.get_address(), detail=True, timeout=int(_TIMEOUT), limit=10_000
            )
        )
        return [
            ClusterNode(
                n.node_name or n.node_ip,
                Amount(n.resources_total.get("CPU", 0.0), n.resources_total.get("GPU", 0.0)),
            )
            for n in found
            if n.state == "ALIVE"
        ]

    def _call(self, question: Callable[[Any], T]) -> T:
        try:
            self._client = self._client or _make_client(self._address)
            return question(self._client)
        except Exception as error:  # errors of requests, Ray and the dashboard, treated alike
            words = redact(f"{type(error).__name__}: {error}".splitlines()[0])
            if is_unknown_job(error):
                raise _UnknownJobError(words) from None
            if self._client is not None and _is_refusal(error):
                raise _RefusedError(redact(str(error))) from None
            self._client = None  # the head may come back elsewhere
            raise ClusterUnavailableError(
                f"the Ray cluster at {self._address} does not answer ({words})"
            ) from None


def build_driver_command(python: str, launch: Launch) -> list[str]:
    """The command of a driver. ``-P``: no module is imported from its working directory."""
    words = [python, "-P", "-m", "service.server.start_driver", launch.sweep_id]
    words += ["--attempt", str(launch.attempt), "--home", str(launch.home)]
    words += [] if launch.bundle is None else ["--bundle", launch.bundle]
    words += [f"--module={module.name}" for module in launch.modules]
    return words + [f"--allow={pattern}" for pattern in launch.allow]


class _UnknownJobError(Exception):
    """The cluster has no such job."""


class _RefusedError(Exception):
    """Ray's client refuses the arguments of a call."""


def _is_refusal(error: Exception) -> bool:
    """Whether the client refuses the arguments; errors of requests are also OSErrors."""
    return isinstance(error, ValueError | TypeError) and not isinstance(error, OSError)


def _make_client(address: str) -> Any:
    """Create Ray's job client with a timeout."""
    os.environ.pop("RAY_ADDRESS", None)  # it would override the address
    logging.getLogger("ray.dashboard").setLevel(logging.WARNING)
    return make_job_client(address, _TIMEOUT)
