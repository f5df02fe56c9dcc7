"""Runs a trial in one process: a reused Tune actor."""

from __future__ import annotations

from typing import Any

from ray.tune import Trainable as TuneTrainable

from service.base.streams import use_safe_streams
from service.cluster.shared import Shared
from service.cluster.tune_messages import from_config, to_result
from service.cluster.worker import Worker

AHEAD = 0.1
"""Seconds of training for which short epochs follow without the study's word on each.

To pass a result on costs Tune more than such an epoch takes. The study decides after every one all
the same, and what was trained after one that ended the trial is dropped.
"""


class TrialActor(TuneTrainable):
    """Runs the trial in its config, an epoch or several short ones a step."""

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
        """Train an epoch, or as many as fit into a tenth of a second, and return their result."""
        refusal = self._refusal
        return to_result(self._worker.run_ahead(AHEAD) if refusal is None else [refusal])

    def cleanup(self) -> None:
        """End the trial, so that the ``finally`` blocks of a user's own loop run."""
        if self._refusal is None:
            self._worker.close()
