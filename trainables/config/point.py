"""A trial's flat parameters, taken apart: arguments of the model, training, regularisers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from search_spaces.space import Value
from search_spaces.words import did_you_mean
from trainables.config import regularisers, training
from trainables.config.regularisers import OwnRegulariser, RegulariserConfig, regularisers_of
from trainables.config.stopping import StoppingConfig
from trainables.config.training import Training

MODEL_PREFIX = "model."


class TrainingSpec(Protocol):
    """What a spec says of one training, before a trial's parameters."""

    @property
    def trainable(self) -> str:
        """The import path of the network or trainable."""

    @property
    def model(self) -> Mapping[str, Any]:
        """The trainable's arguments."""

    @property
    def training(self) -> Training:
        """How it trains."""

    @property
    def regularisers(self) -> Mapping[str, OwnRegulariser]:
        """The user's own regularisers, by the names that the spec gives them."""

    @property
    def early_stopping(self) -> StoppingConfig | None:
        """When a training stops early, if it may."""


@dataclass(frozen=True)
class Point:
    """What one trial trains: built-in regularisers in order, then the user's own."""

    model: Mapping[str, Any]
    training: Training
    regularisers: tuple[RegulariserConfig | OwnRegulariser, ...]


def unknown_parameter(name: str, own: Mapping[str, OwnRegulariser]) -> str:
    """Why a space cannot have a parameter of this name; empty where it can."""
    known = [*regularisers.KEYS, *training.KEYS]
    prefix, dot, option = name.partition(".")
    if name in known or (dot and option and (f"{prefix}." == MODEL_PREFIX or prefix in own)):
        return ""
    named = [f"{MODEL_PREFIX}NAME for an argument of the trainable"]
    named += [f"{label}.OPTION" for label in own]
    return (
        f"unknown parameter{did_you_mean(name, known)}; valid: {', '.join(known)}, "
        f"and {', '.join(named)}"
    )


def read_point(spec: TrainingSpec, params: Mapping[str, Value]) -> Point:
    """The spec's training with a trial's parameters in place of its own values.

    Raises:
        ValueError: a parameter is unknown, or a value is out of range (pydantic's own).
    """
    for name in params:
        text = unknown_parameter(name, spec.regularisers)
        if text:
            raise ValueError(f"{name}: {text}")
    changed = {k: v for k, v in params.items() if k in training.KEYS}
    arguments = _below(MODEL_PREFIX, params)
    own = (_with_options(c, _below(f"{label}.", params)) for label, c in spec.regularisers.items())
    return Point(
        model={**spec.model, **arguments},
        training=Training.model_validate({**spec.training.model_dump(), **changed}),
        regularisers=(*regularisers_of(params), *own),
    )


def _below(prefix: str, params: Mapping[str, Value]) -> dict[str, Value]:
    return {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}


def _with_options(component: OwnRegulariser, options: Mapping[str, Value]) -> OwnRegulariser:
    return type(component).model_validate({**component.model_dump(), **options})
