"""Formats numbers, shares and parameters as text for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from search_spaces.values import Value, write
from service.base.number_format import MISSING, number
from service.study.records import Metrics, Params
from trainables.config.regularisers import OFF, SYMBOLS
from trainables.config.training import HALF_LIFE

if TYPE_CHECKING:
    from service.sweep.answer import Bounds, Mean


def format_signed(value: float) -> str:
    """Three significant digits with a sign."""
    return f"{value:+.3g}"


def format_mean(mean: Mean) -> str:
    """A mean and half the width of its interval, if there is one."""
    return format_with_error(mean.mean, mean.half)


def format_with_error(value: float | None, error: float | None) -> str:
    """A value and its error, if it is known."""
    return number(value) if value is None or error is None else f"{number(value)} ± {error:.2g}"


def format_bounds(bounds: Bounds | None) -> str:
    """An interval; empty if there is none."""
    return "" if bounds is None else f"{format_signed(bounds[0])} to {format_signed(bounds[1])}"


def format_value(value: Value) -> str:
    """A parameter's value: three significant digits for a float, a dash for None."""
    return MISSING if value is None else _write(value)


def _write(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else write(value)


def format_share(share: float | None) -> str:
    """A share of 1 in per cent, without decimals from 10 % on."""
    if share is None:
        return MISSING
    digits = 0 if abs(share) >= 0.0995 else 1
    return f"{100 * share:.{digits}f} %"


class Configured(Protocol):
    """A trial's record, ours or that of a server."""

    @property
    def params(self) -> Params:
        """Its parameters."""

    @property
    def best(self) -> Metrics:
        """Its metrics at the kept weights."""


def format_trial(trial: Configured) -> str:
    """A trial's parameters in one line, with what decay is in epochs."""
    return format_configuration(trial.params, trial.best.get(HALF_LIFE))


def format_configuration(params: Params, half_life: float | None = None) -> str:
    """Parameters in one line, the penalty first: ``l2, λ = 0.003, dropout = 0.2``.

    ``half_life`` is that of weights under decay, in epochs.
    """
    penalty = str(params.get("penalty", "none"))
    parts = ["no penalty" if penalty == "none" else penalty]
    shown = {k: v for k, v in params.items() if k != "penalty" and (k not in OFF or OFF[k] != v)}
    first = [k for k in ("lambda", "l1_ratio", "dropout", "augmentation") if k in shown]
    rest = sorted(k for k in shown if k not in first)
    named = {k: f"{SYMBOLS.get(k, k)} = {_write(shown[k])}" for k in first + rest}
    if half_life is not None and "lambda" in named:
        named["lambda"] += f" (decay, half-life {_write(half_life)} epochs)"
    parts += named.values()
    return ", ".join(parts)
