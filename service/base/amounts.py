"""How much of a cluster: what it has, what a node has, what a trial takes."""

from __future__ import annotations

from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Amount:
    """CPUs and GPUs."""

    cpus: float = 0.0
    gpus: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpus + other.cpus, self.gpus + other.gpus)

    def times(self, count: int) -> Amount:
        """So many of it."""
        return Amount(self.cpus * count, self.gpus * count)

    def fits(self, into: Amount) -> bool:
        """Whether there is room for it."""
        return self.cpus <= into.cpus + _ROUNDING and self.gpus <= into.gpus + _ROUNDING

    def share(self, of: Amount) -> float:
        """The larger of its parts of the two."""
        parts = [(self.cpus, of.cpus), (self.gpus, of.gpus)]
        return max((mine / all_ for mine, all_ in parts if all_), default=0.0)
