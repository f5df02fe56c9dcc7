"""Runs trials in one process, one after the other or several at once: a Tune actor that is a slot.

To Tune a slot is one trial: a trial of Tune's own costs it several times what a small one trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray.tune import Trainable as TuneTrainable

from service.base.streams import use_safe_streams
from service.cluster.shared import Shared
from service.cluster.slot import Slot
from service.cluster.tune_messages import from_slot_config, to_slot_result
from service.study.messages import Assignment, SlotOrders

AHEAD = 0.1
"""Seconds of training for which short epochs follow without the study's word on each.

To pass a result on costs Tune more than such an epoch takes. The study decides after every one all
the same, and what was trained after one that ended the trial is dropped.
"""


class SlotActor(TuneTrainable):
    """Trains the trials that it was given, an epoch or several short ones of each a step."""

    def setup(self, config: dict[str, Any], shared: Shared, width: int) -> None:  # type: ignore[override]  # tune.with_parameters hands it over
        """Prepare the process once; later slots of the process come through `reset_config`."""
        use_safe_streams()  # a text that a trial prints cannot make it fail
        self._refusal = shared.find_refusal()
        self._refused: list[int] = []
        self._orders: list[SlotOrders] = []
        if self._refusal is None:
            self._slot = Slot(shared.get(), width)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the first trials of a new slot; return True so that Tune reuses the process."""
        if self._refusal is None:
            self._slot.drop_all()
        self._take(from_slot_config(new_config))
        return True

    def obey(self, orders: SlotOrders) -> None:
        """Drop trials that have ended, and take others, in the next step: Tune sees its errors."""
        self._orders.append(orders)

    def step(self) -> dict[str, Any]:
        """Train a round, or as many as fit into a tenth of a second, and return the answers."""
        for orders in self._orders:
            self._carry_out(orders)
        self._orders.clear()
        if self._refusal is None:
            rounds = self._slot.run_ahead(AHEAD)
        else:
            rounds = [dict.fromkeys(self._refused, self._refusal)]
            self._refused.clear()
        return to_slot_result(rounds)

    def cleanup(self) -> None:
        """Let go of the trials, whose states are written."""
        if self._refusal is None:
            self._slot.close()

    def _carry_out(self, orders: SlotOrders) -> None:
        if self._refusal is None:
            for number in orders.drop:
                self._slot.drop(number)
        self._take(orders.take)

    def _take(self, assignments: Sequence[Assignment]) -> None:
        for assignment in assignments:
            if self._refusal is None:
                self._slot.take(assignment)
            else:
                self._refused.append(assignment.number)
