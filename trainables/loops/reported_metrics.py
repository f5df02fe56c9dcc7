"""Reads the metrics that a user's loop reports for an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from search_spaces.unknown_names import did_you_mean, join_names
from trainables.errors import ContractError, DivergedError
from trainables.return_checks import describe_returned, read_number

REPORTED = "train_reported/"
"""The side of metrics of training samples that the loop computed itself."""
_MEASURED_ONLY = {
    "gap/": "the gap is computed by trial.evaluate only, from both sides at the same weights",
    "test_gap/": "the gap is computed by trial.evaluate only, from both sides at the same weights",
}
_TEST = "test/"


def read_metrics(
    reported: object,
    measured: Mapping[str, float],
    required: Mapping[str, str],
    epoch: int,
    *,
    tests: bool = False,
) -> dict[str, float]:
    """The metrics of an epoch: those that were measured, and what the loop reports beside them.

    ``required`` maps the metrics that the spec names to the key that names them. ``tests``: the
    loop has test samples of its own.

    Raises:
        ContractError: something is no metric, or a required one is missing.
        DivergedError: a required one, or a loss, is not finite.
    """
    if reported is None and measured:
        reported = {}
    if not isinstance(reported, Mapping):
        raise ContractError(
            f"the loop reported {describe_returned(reported)} in epoch {epoch}; expected: a dict "
            'of metrics by name, such as {"val/loss": 0.5}',
            "trainable",
        )
    metrics = dict(measured)
    for name, value in reported.items():
        _add(metrics, measured, name, value)
    _check_tests(metrics, required, tests=tests)
    for name, key in required.items():
        if name not in metrics:
            raise ContractError(_explain_missing(name, key, metrics, epoch), "trainable")
    for name, value in metrics.items():
        if not math.isfinite(value) and (name in required or name.endswith("/loss")):
            raise DivergedError(f"{name} is {value} in epoch {epoch}")
    return metrics


def _add(
    metrics: dict[str, float], measured: Mapping[str, float], name: object, value: Any
) -> None:
    if not (isinstance(name, str) and name.strip() and name.isprintable()):
        raise ContractError(
            f"the loop reported a metric named {name!r}; expected: a printable text", "trainable"
        )
    number = _read(name, value)
    known = measured.get(name)
    if known is not None and _is_same(known, number):
        return
    if name.startswith("train/"):
        metrics[f"{REPORTED}{name.removeprefix('train/')}"] = number
        return
    for side, why in _MEASURED_ONLY.items():
        if name.startswith(side):
            raise ContractError(f"the loop reported {name!r}: {why}; leave it out", "trainable")
    if known is not None:
        raise ContractError(
            f"the loop reported {name} = {number:g}, but trial.evaluate measured {known:g}; report "
            "it by another name",
            "trainable",
        )
    metrics[name] = number


def _check_tests(metrics: Mapping[str, float], required: Mapping[str, str], *, tests: bool) -> None:
    for name in metrics:
        if name.startswith(_TEST) and not tests:
            raise ContractError(
                f"the loop reported {name!r}: test samples choose nothing, and those of the spec's "
                "data are measured after the search; leave it out",
                "trainable",
            )
    for name, key in required.items():
        if name.startswith(_TEST):
            raise ContractError(f"{name!r} is of test samples, which choose nothing", key)


def _is_same(one: float, other: float) -> bool:
    """Whether two numbers are the same but for the rounding of float32."""
    return math.isclose(one, other, rel_tol=1e-6) or (math.isnan(one) and math.isnan(other))


def _read(name: str, value: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    try:
        if isinstance(value, bool):
            raise ContractError(f"{name} is {describe_returned(value)}; expected: one number")
        return read_number(value, f"the reported {name!r}")
    except ContractError as error:
        error.where = "trainable"
        raise


def _explain_missing(name: str, key: str, metrics: Mapping[str, float], epoch: int) -> str:
    habit = name.replace("/", "_")
    hint = f"; did you mean {name!r} by {habit!r}?" if habit in metrics else ""
    hint = hint or did_you_mean(name, metrics)
    side = name.partition("/")[0]
    if side in ("gap", "train"):
        hint = f"; {side}/* are measured by trial.evaluate(model), which was not called for it"
    if key.startswith("early_stopping"):
        hint += "; `early_stopping: {metric: …}` watches another one, `off` none"
    got = join_names(list(metrics), " and ") or "nothing"
    return f"{key} is {name!r}, but the loop reported {got} in epoch {epoch}{hint}"
