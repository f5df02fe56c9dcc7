"""The ``resources`` of a spec: what a trial reserves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from search_spaces.bounds import Bounds, bounds_apply
from search_spaces.models import Strict

_LEAST = 0.01
"""Of a CPU or a GPU, per worker."""
_MOST_WORKERS = 100_000
"""Of all concurrent trials together."""


class Resources(Strict):
    """The resources of a trial, divided evenly among its workers, and the concurrency."""

    executor: Literal["ray", "local"] = Field(
        "ray", description="Ray Tune, or one trial after another in this process, without Ray"
    )
    workers: Annotated[int, Bounds(1, 1024)] = Field(
        1, description="processes that train one trial together"
    )
    cpus: Annotated[float, Bounds(_LEAST, 100_000)] | None = Field(
        None, description="CPUs of a trial; default: one per worker"
    )
    gpus: Annotated[float, Bounds(0, 1024)] = Field(
        0, description="GPUs of a trial: one per worker, or a part of one, or 0"
    )
    placement: Literal["pack", "spread", "strict_pack"] = Field(
        "pack", description="the workers on few nodes, on many, or all on one"
    )
    concurrent: Annotated[int, Bounds(1, 10_000)] = Field(
        2, description="maximum of trials at once"
    )
    fuse: Literal["off", "auto"] | Annotated[int, Bounds(2, 1024)] = Field(
        "off",
        description="trials that one process trains at once with shared steps, each as if it were "
        "alone; `auto` measures how many pay; `concurrent` then counts processes",
    )
    retries: Annotated[int, Bounds(0, 100)] = Field(
        2, description="times that a trial whose process died continues; a control thrice as often"
    )

    @field_validator("fuse", mode="before")
    @classmethod
    def _read_switch(cls, raw: Any) -> Any:
        """``off`` and ``on``, which YAML may read as false and true."""
        if raw is False:
            return "off"
        return "auto" if raw is True or raw == "on" else raw

    @model_validator(mode="before")
    @classmethod
    def _set_default_concurrency(cls, raw: Any) -> Any:
        """Set the default of ``concurrent`` to 1 for the local executor."""
        if isinstance(raw, Mapping) and raw.get("executor") == "local":
            return {"concurrent": 1, **raw}
        return raw

    @property
    def worker_cpus(self) -> float:
        """CPUs per worker."""
        return 1.0 if self.cpus is None else self.cpus / self.workers

    @property
    def worker_gpus(self) -> float:
        """GPUs per worker, at most 1."""
        return self.gpus / self.workers

    @property
    def device(self) -> str:
        """The device of a worker."""
        return "cuda" if self.gpus else "cpu"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Problems of keys that contradict each other, as (key, message)."""
        for key, value in (("concurrent", self.concurrent), ("workers", self.workers)):
            if self.executor == "local" and value != 1:
                yield (
                    key,
                    f"must be 1 with `executor: local`, which runs one trial at a time in one "
                    f"process, got {value}; set it to 1, or executor to ray",
                )
        if isinstance(self.fuse, int) and self.workers > 1:
            who = f"trials with {self.workers} workers"
            yield "fuse", f"{self.fuse}, but {who} share no steps; set it to off or auto"
        yield from self._find_excesses()
        if self.workers == 1 and self.gpus > 1:
            yield (
                "gpus",
                (
                    f"one worker uses at most one GPU, got {self.gpus:g}; for a trial on "
                    f"{self.gpus:g} GPUs set workers to {self.gpus:g}"
                ),
            )
        elif self.workers > 1 and self.gpus not in (0, self.workers):
            yield (
                "gpus",
                (
                    f"must be {self.workers}, one for each of {self.workers} workers, or 0; "
                    f"got {self.gpus:g}"
                ),
            )

    def _find_excesses(self) -> Iterator[tuple[str, str]]:
        """Problems of numbers that are within their own bounds, but not together."""
        if not bounds_apply():
            return
        for key, value in (("cpus", self.cpus), ("gpus", self.gpus)):
            if value and value / self.workers < _LEAST:
                yield (
                    key,
                    f"must be at least {_LEAST * self.workers:g}, which is {_LEAST:g} for "
                    f"each worker, got {value:g}",
                )
        if self.concurrent * self.workers > _MOST_WORKERS:
            yield (
                "concurrent",
                f"must be at most {_MOST_WORKERS // self.workers:,} with {self.workers:,} workers, "
                f"which is {_MOST_WORKERS:,} processes, got {self.concurrent:,}",
            )
