"""What a sweep's trials cost: seconds of CPUs and GPUs, of the search and of the confirmation.

A trial holds the CPUs and GPUs of all its workers while it runs. Its seconds are counted once, with
all its folds, its attempts after the death of its process, and its parts in several sessions. What
it trained after its last message before its session was killed is not known, and does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from service.base.number_format import number
from service.spec.resources import Resources
from service.study.records import Trial

_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of CPUs and GPUs."""

    search_cpu_seconds: float = 0.0
    search_gpu_seconds: float = 0.0
    confirmation_cpu_seconds: float = 0.0
    confirmation_gpu_seconds: float = 0.0

    @staticmethod
    def of_seconds(search: float, confirmation: float, resources: Resources) -> Cost:
        """From the seconds of trials that each held ``resources``."""
        cpus, gpus = resources.worker_cpus * resources.workers, resources.gpus
        return Cost(
            search_cpu_seconds=search * cpus,
            search_gpu_seconds=search * gpus,
            confirmation_cpu_seconds=confirmation * cpus,
            confirmation_gpu_seconds=confirmation * gpus,
        )

    def __add__(self, other: Cost) -> Cost:
        """The cost of both."""
        names = [field.name for field in fields(self)]
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def cpu_hours(self) -> tuple[float, float]:
        """Of the search, and of the confirmation."""
        return self.search_cpu_seconds / _HOUR, self.confirmation_cpu_seconds / _HOUR

    @property
    def gpu_hours(self) -> tuple[float, float]:
        """Of the search, and of the confirmation."""
        return self.search_gpu_seconds / _HOUR, self.confirmation_gpu_seconds / _HOUR


def measure_cost(trials: Iterable[Trial], resources: Resources) -> Cost:
    """The cost of trials, as if each had held the ``resources`` of the spec as it is now."""
    search = confirmation = 0.0
    for trial in trials:
        if trial.confirms is None:
            search += trial.seconds
        else:
            confirmation += trial.seconds
    return Cost.of_seconds(search, confirmation, resources)


def describe_hours(hours: tuple[float, float]) -> str:
    """Hours of the search and of the confirmation."""
    search, confirmation = hours
    return f"{number(search)} of the search, {number(confirmation)} of the confirmation"


def describe_cost(cost: Cost) -> str:
    """CPU-hours and, if there were GPUs, GPU-hours."""
    gpus = f"; GPU-hours: {describe_hours(cost.gpu_hours)}" if any(cost.gpu_hours) else ""
    return f"CPU-hours: {describe_hours(cost.cpu_hours)}{gpus}"
