"""The spec's resources: what a trial holds of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from search_spaces.models import Strict


class Resources(Strict):
    """What one trial holds, divided evenly among its workers, and how many trials run at once."""

    executor: Literal["ray", "local"] = Field(
        "ray", description="Ray Tune, or one trial after another in this process, without Ray"
    )
    workers: int = Field(1, ge=1, description="processes that train one trial together")
    cpus: float | None = Field(None, gt=0, description="CPUs of a trial; one per worker if none")
    gpus: float = Field(
        0, ge=0, description="GPUs of a trial: one per worker, or a part of one, or 0"
    )
    placement: Literal["pack", "spread", "strict_pack"] = Field(
        "pack", description="the workers on few nodes, on many, or all on one"
    )
    concurrent: int = Field(2, ge=1, description="maximum of trials at once")
    retries: int = Field(
        2, ge=0, description="times that a trial which lost a process continues from its last epoch"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_at_a_time(cls, raw: Any) -> Any:
        """The default of ``concurrent`` is what the executor can do."""
        if isinstance(raw, Mapping) and raw.get("executor") == "local":
            return {"concurrent": 1, **raw}
        return raw

    @property
    def worker_cpus(self) -> float:
        """What one worker holds."""
        return 1.0 if self.cpus is None else self.cpus / self.workers

    @property
    def worker_gpus(self) -> float:
        """What one worker holds, at most 1."""
        return self.gpus / self.workers

    @property
    def device(self) -> str:
        """Where a worker trains."""
        return "cuda" if self.gpus else "cpu"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Keys that do not fit each other, each with what would."""
        for key, asked in (("concurrent", self.concurrent), ("workers", self.workers)):
            if self.executor == "local" and asked != 1:
                yield (
                    key,
                    f"must be 1 with `executor: local`, which runs one trial at a time in one "
                    f"process; got {asked}. Set it to 1, or executor to ray",
                )
        if self.workers == 1 and self.gpus > 1:
            yield (
                "gpus",
                (
                    f"one worker trains on one GPU or a part of it, not on {self.gpus:g}; "
                    f"for a trial on {self.gpus:g} set workers to as many"
                ),
            )
        elif self.workers > 1 and self.gpus not in (0, self.workers):
            yield (
                "gpus",
                (
                    f"{self.workers} workers take {self.workers} GPUs, one each, or 0; "
                    f"got {self.gpus:g}"
                ),
            )
