"""Runs a trial in one process: a reused Tune actor."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.tune import Trainable as TuneTrainable

from service.base.streams import use_safe_streams
from service.base.versions import describe_mismatch
from service.cluster.code_access import enter_policy
from service.cluster.tune_messages import from_config, to_result
from service.cluster.worker import TrialContext, Worker
from service.study.messages import TrialFailure
from trainables.config.code_policy import CodePolicy
from trainables.errors import ContractError


@dataclass(frozen=True)
class Shared:
    """The sweep's context in Ray's object store, which has one copy per node."""

    reference: ray.ObjectRef[TrialContext]
    version: str
    policy: CodePolicy

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


class TrialActor(TuneTrainable):
    """Runs the trial in its config, one epoch a step."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:  # type: ignore[override]  # tune.with_parameters hands it over
        """Prepare the process once; trials come through :meth:`reset_config`."""
        use_safe_streams()  # a text that a trial prints cannot make it fail
        self._refusal = shared.find_refusal()
        if self._refusal is None:
            self._worker = Worker(shared.get())
            self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; return True so that Tune reuses the process."""
        if self._refusal is None:
            self._worker.take(from_config(new_config))
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its result."""
        return to_result(self._refusal or self._worker.advance())

    def cleanup(self) -> None:
        """Do nothing: no resources outlive the process."""
