"""One process of a trial that has several. Imports no Tune, which takes a second.

Torch is imported by the process itself, not by its leader, which only names the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray

from service.base.streams import use_safe_streams
from service.cluster.shared import Shared
from service.study.messages import Answer, Assignment, TrialFailure

if TYPE_CHECKING:
    from trainables.distributed.process import Address, Rendezvous


class Rank:
    """One worker's process."""

    def __init__(self, shared: Shared, rank: int) -> None:
        use_safe_streams()  # a text that a trial prints cannot make it fail
        self._refusal = shared.find_refusal()
        if self._refusal is not None:
            return
        from service.cluster.worker import Worker

        context = shared.get()
        self._worker = Worker(context)
        self._rank, self._resources = rank, context.spec.resources
        self._rendezvous: Rendezvous | None = None

    def listen(self) -> Address:
        """Host the group's rendezvous; only the first worker does."""
        from trainables.distributed.process import Rendezvous

        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]  # ray leaves it untyped
        self._rendezvous = Rendezvous.host(host)
        return self._rendezvous.address

    def join(self, address: Address) -> TrialFailure | None:
        """Join the group, after leaving the previous one if there is one."""
        from trainables.distributed.process import Group, Process, Rendezvous

        if self._refusal is not None:
            return self._refusal
        if isinstance(self._worker.process, Group):
            self._worker.process.leave()
            self._worker.process = Process()
        self._rendezvous = self._rendezvous or Rendezvous.connect(address)
        self._worker.process = Group.join(
            self._rendezvous, self._rank, self._resources.workers, self._resources.device
        )
        return None

    def take(self, assignment: Assignment) -> None:
        """Take the next trial."""
        if self._refusal is None:
            self._worker.take(assignment)

    def advance(self) -> Answer | None:
        """Train one epoch; only the first worker returns an epoch report."""
        answer = self._worker.advance()
        return answer if self._rank == 0 or isinstance(answer, TrialFailure) else None
