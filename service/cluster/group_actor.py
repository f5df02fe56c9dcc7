"""Runs a trial in several processes: a reused Tune actor that leads a torch process group.

The leader does not train and holds no resources. It imports no torch, so that the workers start
more than a second earlier. Each worker is an actor in its own bundle of the trial's placement
group. The group is kept after a trial: the slot's next trial uses the same workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.tune import Trainable as TuneTrainable
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from service.cluster.compat import find_start_failure, is_lost_with_node
from service.cluster.rank import Rank
from service.cluster.shared import Shared
from service.cluster.tune_messages import from_config, to_result
from service.spec.resources import Resources
from service.study.messages import Answer, TrialFailure

PATIENCE = 10.0
"""Seconds to wait for the other workers after one failed: a collective may block them."""


LOST_NODE = "the trial's node was lost"


class LostWorkerError(Exception):
    """A worker's process died; the trial is handed out again and continues from its checkpoint."""


class LostNodeError(LostWorkerError):
    """A worker was lost with its node."""


class GroupActor(TuneTrainable):
    """Runs the trial in its config on every worker, one epoch a step."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:  # type: ignore[override]  # tune.with_parameters hands it over
        """Start the workers; the first step waits for them."""
        self._shared, self._refusal = shared, shared.find_refusal()
        self._ranks: list[ActorHandle[Any]] = []
        if self._refusal is not None:
            return
        self._resources = shared.resources
        self._joining: list[Any] = []
        self._start()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Hand out the next trial; return True so that Tune reuses the processes."""
        self._assignment = from_config(new_config)
        self._hand_out()
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its result.

        Raises:
            LostWorkerError: a worker's process died.
        """
        return to_result([self._refusal or self._advance()])

    def _advance(self) -> Answer:
        if not self._ranks:
            self._start()
            self._hand_out()
        answers = self._collect_answers(self._joining)
        self._joining = []
        if not _select_failures(answers):
            answers = self._collect_answers([rank.advance.remote() for rank in self._ranks])
        failures = _select_failures(answers)
        if not failures:
            return next(a for a in answers if a is not None)
        if len(answers) == len(self._ranks):
            self._join()  # in a new group, so that collectives of two trials never mix
        else:
            self.cleanup()
        return failures[0]

    def cleanup(self) -> None:
        """End every worker's process."""
        for rank in self._ranks:
            ray.kill(rank)
        self._ranks = []

    def _start(self) -> None:
        group = ray.util.get_current_placement_group()
        assert group is not None
        self._ranks = [
            _build_actor(self._resources, group, number).remote(self._shared, number)
            for number in range(self._resources.workers)
        ]
        self._address: Any = self._ranks[0].listen.remote()
        self._join()

    def _hand_out(self) -> None:
        for rank in self._ranks:
            rank.take.remote(self._assignment)

    def _join(self) -> None:
        self._joining = [rank.join.remote(self._address) for rank in self._ranks]

    def _collect_answers(self, calls: list[Any]) -> list[Answer | None]:
        """Collect every worker's answer; after a failure, only those that arrive in time."""
        answers: list[Answer | None] = []
        waiting, patience = calls, None
        while waiting:
            ready, waiting = ray.wait(waiting, timeout=patience)
            if not ready:
                break
            try:
                answers.append(ray.get(ready[0]))
            except ray.exceptions.RayActorError as error:
                lost = f"worker {calls.index(ready[0])} of {len(calls)}"
                kind = LostNodeError if is_lost_with_node(error) else LostWorkerError
                raise kind(f"{lost} {_describe_loss(error)}") from None
            if isinstance(answers[-1], TrialFailure):
                patience = PATIENCE
        return answers


def _select_failures(answers: Sequence[Answer | None]) -> list[TrialFailure]:
    return [a for a in answers if isinstance(a, TrialFailure)]


def _describe_loss(error: ray.exceptions.RayActorError) -> str:
    """Describe the loss of a worker: the error of its start, or its death."""
    refused = find_start_failure(error)
    return "died (killed, or out of memory)" if refused is None else f"did not start: {refused}"


def _build_actor(resources: Resources, group: PlacementGroup, number: int) -> Any:
    """Configure a worker's actor for its own bundle."""
    return ray.remote(Rank).options(
        num_cpus=resources.worker_cpus,
        num_gpus=resources.worker_gpus,
        scheduling_strategy=PlacementGroupSchedulingStrategy(
            placement_group=group, placement_group_bundle_index=number
        ),
    )
