"""In which order a report names penalties and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.study.records import Trial
from trainables.config.penalties import penalties

NAMES = ("none", *penalties.built_in())
METRICS = ("loss", "accuracy")


def by_order(order: tuple[str, ...]) -> Callable[[str], tuple[int, str]]:
    """Sort key: known names in the given order, then the others alphabetically."""
    return lambda name: (order.index(name) if name in order else len(order), name)


def list_metrics(trials: Iterable[Trial], side: str) -> list[str]:
    """Names of the metrics of one side (``loss`` of ``gap/loss``), the loss first."""
    keys = {key for t in trials for key in t.best if key.startswith(f"{side}/")}
    return sorted((key.partition("/")[2] for key in keys), key=by_order(METRICS))
