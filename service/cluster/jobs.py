"""The interface between the service and a cluster: drivers as jobs, and the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from service.base.amount import Amount


@dataclass(frozen=True)
class JobStatus:
    """The status of a driver's job on the cluster, and the cluster's message about it.

    ``begun`` says whether the cluster has run the driver at all.
    """

    over: bool
    message: str
    begun: bool = True


@dataclass(frozen=True)
class ClusterNode:
    """A machine of the cluster that is alive."""

    name: str
    amount: Amount


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A driver to start; one ``name`` is started once, however often it is requested.

    ``modules`` are the packages of the bundle of this digest, which its sweep imports. ``allow``
    are the import paths that its spec may name; empty: any.
    """

    name: str
    sweep_id: str
    attempt: int
    home: Path
    modules: tuple[Path, ...] = ()
    bundle: str | None = None
    allow: tuple[str, ...] = ()


class JobCluster(Protocol):
    """A cluster that runs drivers. Every call may raise ClusterUnavailableError."""

    def start(self, launch: Launch) -> None:
        """Start a driver, unless one of that name was started before.

        Raises:
            LaunchError: the cluster refuses it.
        """

    def find(self, name: str) -> JobStatus | None:
        """The status of a driver; None if the cluster has no job of this name."""

    def stop(self, name: str) -> None:
        """Ask a driver to end; the cluster kills it if it does not."""

    def read_output_tail(self, name: str) -> str:
        """Read the end of a driver's output."""

    def list_nodes(self) -> Sequence[ClusterNode]:
        """List the machines that are alive."""


def sum_capacity(nodes: Sequence[ClusterNode]) -> Amount:
    """Add up the resources of the nodes."""
    return Amount(sum(n.amount.cpus for n in nodes), sum(n.amount.gpus for n in nodes))
