"""Formats numbers, shares and parameters as text for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from search_spaces.values import Value, write
from service.base.number_format import MISSING, number
from service.study.records import Metrics, Params
from trainables.config.regularisers import OFF, SYMBOLS
from trainables.config.training import HALF_LIFE
from trainables.config.trial_parameters import EARLY_STOPPING

_OF_PENALTY = ("lambda", "l1_ratio")
"""What strengthens or shapes a penalty: without one it means nothing."""

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
    return f"{round(100 * share, digits) + 0.0:.{digits}f} %"  # -0.0 + 0.0 is 0.0


class Configured(Protocol):
    """A trial's record, ours or that of a server."""

    @property
    def params(self) -> Params:
        """Its parameters."""

    @property
    def best(self) -> Metrics:
        """Its metrics at the kept weights."""

    @property
    def not_acting(self) -> Sequence[str]:
        """The parts without any effect."""


def format_trial(trial: Configured) -> str:
    """A trial's configuration in one line, with what decay is in epochs, and idle parts."""
    half_life = trial.best.get(HALF_LIFE)
    return format_configuration(trial.params, trial.not_acting, half_life=half_life)


def format_configuration(
    params: Params, not_acting: Sequence[str] = (), *, half_life: float | None = None
) -> str:
    """Parameters in one line, the penalty first: ``l2, λ = 0.003, dropout = 0.2``.

    Those of its parameters' parts that are in ``not_acting`` follow: ``swa = 0.2; no effect:
    averaging``. ``half_life`` is that of weights under decay, in epochs.
    """
    penalty = str(params.get("penalty", "none"))
    parts = ["no penalty" if penalty == "none" else penalty]
    idle = {"penalty", *(_OF_PENALTY if penalty == "none" else ())}
    shown = {k: v for k, v in params.items() if k not in idle and (k not in OFF or OFF[k] != v)}
    first = [k for k in ("lambda", "l1_ratio", "dropout", "augmentation") if k in shown]
    rest = sorted(k for k in shown if k not in first)
    named = {k: f"{SYMBOLS.get(k, k)} = {_write(shown[k])}" for k in first + rest}
    if half_life is not None and "lambda" in named:
        named["lambda"] += f" (decay, half-life {_write(half_life)} epochs)"
    parts += named.values()
    without = list_idle_parameters(not_acting)
    return ", ".join(parts) + (f"; no effect: {format_parts(without)}" if without else "")


def list_idle_parameters(not_acting: Sequence[str]) -> tuple[str, ...]:
    """The parts that parameters of a space belong to: early stopping has none."""
    return tuple(part for part in not_acting if part != EARLY_STOPPING)


def format_parts(parts: Sequence[str]) -> str:
    """Names of parts in words."""
    return ", ".join(part.replace("_", " ") for part in parts)


def write_trials(numbers: Sequence[int]) -> str:
    """``trial 3``, ``trials 3, 4 and 9``."""
    *first, last = map(str, numbers)
    return f"trials {', '.join(first)} and {last}" if first else f"trial {last}"
