"""Amounts of computing resources."""

from __future__ import annotations

from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Amount:
    """A number of CPUs and of GPUs."""

    cpus: float = 0.0
    gpus: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpus + other.cpus, self.gpus + other.gpus)

    def __mul__(self, count: int) -> Amount:
        return Amount(self.cpus * count, self.gpus * count)

    def fits(self, into: Amount) -> bool:
        """Whether the other amount is at least as large in both, up to rounding."""
        return self.cpus <= into.cpus + _ROUNDING and self.gpus <= into.gpus + _ROUNDING

    def dominant_share(self, of: Amount) -> float:
        """The larger of its two shares of a total: of the CPUs and of the GPUs."""
        parts = [(self.cpus, of.cpus), (self.gpus, of.gpus)]
        return max((mine / total for mine, total in parts if total), default=0.0)
