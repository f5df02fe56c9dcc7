"""A sweep as MLflow is told of it."""

from __future__ import annotations

from pathlib import Path

from service.tracking.tracked_sweep import TrackedSweep


def tracked(sweep_id: str, spec: Path) -> TrackedSweep:
    """A small one, with the file of its spec."""
    return TrackedSweep(
        sweep_id=sweep_id,
        name="x",
        trainable="trainables.models:MLP",
        data="digits",
        data_digest="0",
        params={"trials": "2"},
        spec=spec,
    )
