"""What the processes of a sweep's trials share. Imports no torch."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from service.base.versions import describe_mismatch
from service.cluster.code_access import enter_policy
from service.spec.resources import Resources
from service.study.messages import TrialFailure
from trainables.config.code_policy import CodePolicy
from trainables.errors import ContractError

if TYPE_CHECKING:
    from service.cluster.divisions import TrialContext


@dataclass(frozen=True)
class Shared:
    """The sweep's context in Ray's object store, which has one copy per node."""

    reference: ray.ObjectRef[TrialContext]
    version: str
    policy: CodePolicy
    resources: Resources

    def get(self) -> TrialContext:
        """Load the context; its arrays are views of the store."""
        return ray.get(self.reference)

    def find_refusal(self) -> TrialFailure | None:
        """Return why this process must not run the sweep, else prepare it to load its context.

        The node has another version of gapsweep than the driver, or other files of the user's.
        """
        here = f"the node {socket.gethostname()}"
        words = describe_mismatch(self.version, "its driver", here)
        if words is not None:
            return TrialFailure(reason=words)
        try:
            enter_policy(self.policy)
        except ContractError as error:
            return TrialFailure(reason=f"{here}: {error}")
        return None
