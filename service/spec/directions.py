"""Fills in which way a metric improves, where a spec does not say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from trainables.config.training import MetricSpec, is_high_by_name, is_of_torchmetrics, prefers_high

_WATCHING = ("objective", "early_stopping")


def fill_directions(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """A spec whose objective and stopping rule have a ``mode``, by the metric that each names.

    A function that is the objective gets ``higher_is_better`` by the ``mode``; a metric of
    torchmetrics has its own. What is invalid stays as it is, for the validation to name.
    """
    training = raw.get("training")
    metrics = training.get("metrics") if isinstance(training, Mapping) else None
    metrics = metrics if isinstance(metrics, list | tuple) else ()
    own = _read_metrics(metrics)
    filled = {**raw, **{key: _fill_mode(raw[key], own) for key in _WATCHING if key in raw}}
    if not metrics or not isinstance(training, Mapping):
        return filled
    marked = [_fill_metric(metric, filled.get("objective")) for metric in metrics]
    return {**filled, "training": {**training, "metrics": marked}}


def _fill_mode(watching: Any, own: Mapping[str, bool]) -> Any:
    if not isinstance(watching, Mapping) or "mode" in watching:
        return watching
    metric = watching.get("metric")
    if not isinstance(metric, str):
        return watching
    return {**watching, "mode": "max" if is_high_good(metric, own) else "min"}


def _fill_metric(metric: Any, objective: Any) -> Any:
    if not isinstance(objective, Mapping) or objective.get("mode") not in ("min", "max"):
        return metric
    try:
        spec = MetricSpec.model_validate(metric)
    except ValidationError:
        return metric
    watched = str(objective.get("metric")).rpartition("/")[2]
    if spec.higher_is_better is not None or spec.name != watched or is_of_torchmetrics(spec):
        return metric
    given = {"path": metric} if isinstance(metric, str) else metric
    return {**given, "higher_is_better": objective["mode"] == "max"}


def _read_metrics(metrics: Iterable[Any]) -> dict[str, bool]:
    """Whether high values are good, by the names of the valid ones of these metrics."""
    found = {}
    for metric in metrics:
        try:
            spec = MetricSpec.model_validate(metric)
        except ValidationError:
            continue
        found[spec.name] = prefers_high(spec)
    return found


def is_high_good(metric: str, own: Mapping[str, bool]) -> bool:
    """Whether a metric of a side (``val/accuracy``) is better if it is higher; no gap is."""
    side, _, name = metric.rpartition("/")
    return not side.endswith("gap") and own.get(name, is_high_by_name(name))
