"""Runs several trials in one process: a reused Tune actor that is a slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.tune import Trainable as TuneTrainable

from service.base.streams import use_safe_streams
from service.cluster.shared import Shared
from service.cluster.slot import Slot
from service.cluster.trial_actor import AHEAD
from service.cluster.tune_messages import from_slot_config, to_slot_result
from service.study.messages import Assignment
from service.study.slot_flow import SlotOrders


class SlotActor(TuneTrainable):
    """Trains the trials that it was given, an epoch or several short ones of each a step."""

    def setup(self, config: dict[str, Any], shared: Shared, width: int) -> None:  # type: ignore[override]  # tune.with_parameters hands it over
        """Prepare the process once; later slots of the process come through `reset_config`."""
        use_safe_streams()  # a text that a trial prints cannot make it fail
        self._refusal = shared.find_refusal()
        self._refused: list[int] = []
        if self._refusal is None:
            self._slot = Slot(shared.get(), width)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the first trials of a slot; return True so that Tune reuses the process."""
        self._take(from_slot_config(new_config))
        return True

    def obey(self, orders: SlotOrders) -> None:
        """Drop trials that have ended, and take others, before the next step."""
        if self._refusal is None:
            for number in orders.drop:
                self._slot.drop(number)
        self._take(orders.take)

    def step(self) -> dict[str, Any]:
        """Train a round, or as many as fit into a tenth of a second, and return the answers."""
        if self._refusal is None:
            rounds = self._slot.run_ahead(AHEAD)
        else:
            rounds = [dict.fromkeys(self._refused, self._refusal)]
            self._refused.clear()
        return to_slot_result(rounds, ray.get_runtime_context().current_actor)

    def cleanup(self) -> None:
        """Let go of the trials, whose states are written."""
        if self._refusal is None:
            self._slot.close()

    def _take(self, assignments: Sequence[Assignment]) -> None:
        for assignment in assignments:
            if self._refusal is None:
                self._slot.take(assignment)
            else:
                self._refused.append(assignment.number)
