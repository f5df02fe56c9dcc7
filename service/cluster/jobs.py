"""What the service needs of a cluster: to run a driver, to look after it, to know what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from service.base.amount import Amount


@dataclass(frozen=True)
class Found:
    """A driver as the cluster sees it; ``words`` is what the cluster says of it."""

    over: bool
    words: str


@dataclass(frozen=True)
class ClusterNode:
    """A machine of the cluster that is alive."""

    name: str
    amount: Amount


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A driver to start; one ``name`` is started once, however often it is asked for.

    ``modules`` are packages that its sweep imports.
    """

    name: str
    sweep_id: str
    attempt: int
    home: Path
    modules: tuple[Path, ...] = ()


class JobCluster(Protocol):
    """A cluster that runs drivers. Every call may raise ClusterUnavailableError."""

    def start(self, launch: Launch) -> None:
        """Start a driver, unless one of that name was started before.

        Raises:
            LaunchError: the cluster will not take it.
        """

    def find(self, name: str) -> Found | None:
        """A driver; None where the cluster knows none of that name."""

    def stop(self, name: str) -> None:
        """Let a driver end; one that does not is killed."""

    def last_words(self, name: str) -> str:
        """The end of what a driver printed."""

    def nodes(self) -> Sequence[ClusterNode]:
        """The machines that are alive."""


def capacity(nodes: Sequence[ClusterNode]) -> Amount:
    """Everything together."""
    return Amount(sum(n.amount.cpus for n in nodes), sum(n.amount.gpus for n in nodes))
