"""Reads a trial's flat parameters: model arguments, training options, regularisers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from search_spaces.unknown_names import join_names, shorten
from search_spaces.values import Value, is_same, thaw
from trainables.config import regularisers, training
from trainables.config.foreign_keys import suggest_key
from trainables.config.models import find_size_problems
from trainables.config.registry import Component
from trainables.config.regularisers import (
    Averaging,
    OwnRegulariser,
    Penalty,
    RegulariserConfig,
    read_regularisers,
)
from trainables.config.stopping import StoppingConfig
from trainables.config.training import Training

MODEL_PREFIX = "model."
EARLY_STOPPING = "early_stopping"
"""The name of early stopping as a part of a configuration."""
_OF_REGULARISERS: Mapping[str, str] = {
    "l1_update": Penalty.part(),
    "l2_update": Penalty.part(),
    "proximal_step": Penalty.part(),
    "lambda_schedule": Penalty.part(),
    "lambda_warmup_epochs": Penalty.part(),
    "swa_lr_share": Averaging.part(),
    "swa_cycle": Averaging.part(),
}
"""Training options that have no effect where a part of a configuration is missing, with that."""


def is_of_regularisers(name: str) -> bool:
    """Whether a training option says how a regulariser acts."""
    return name in _OF_REGULARISERS


class TrainingSpec(Protocol):
    """The part of a spec that describes a training, before a trial's parameters."""

    @property
    def trainable(self) -> str:
        """The import path of the network or trainable."""

    @property
    def model(self) -> Mapping[str, Any]:
        """The arguments of the trainable."""

    @property
    def training(self) -> Training:
        """The training options."""

    @property
    def regularisers(self) -> Mapping[str, OwnRegulariser]:
        """User-defined regularisers by their names in the spec."""

    @property
    def neutral(self) -> Mapping[str, Value]:
        """The parameters of the space, arguments of the trainable, that regularise.

        Each with its value without regularisation.
        """

    @property
    def early_stopping(self) -> StoppingConfig | None:
        """The early-stopping rule, if there is one."""


@dataclass(frozen=True)
class Point:
    """The configuration of one trial; built-in regularisers first."""

    model: Mapping[str, Any]
    training: Training
    regularisers: tuple[RegulariserConfig | OwnRegulariser, ...]


def explain_unknown_parameter(name: str, own: Mapping[str, OwnRegulariser]) -> str:
    """Why a space cannot have a parameter of this name; empty if it can."""
    known = [*regularisers.KEYS, *training.KEYS]
    prefix, dot, option = name.partition(".")
    if name in known or (dot and option and (f"{prefix}." == MODEL_PREFIX or prefix in own)):
        return ""
    if prefix == "data":
        return (
            "the data are the same in all trials, which are compared on them; give the value in "
            "`data`, and where it is a fold, let the function name `fold` or `seed` or return a "
            "list of folds, so that every replicate has another one"
        )
    named = [f"{MODEL_PREFIX}NAME for an argument of the trainable"]
    named += [f"{label}.OPTION" for label in own]
    return (
        f"unknown parameter{suggest_key(name, known)}; one of your own is an argument of the "
        f"trainable, `{MODEL_PREFIX}{shorten(name)}`; valid: {join_names(known)}, "
        f"and {join_names(named)}"
    )


def read_point(spec: TrainingSpec, params: Mapping[str, Value]) -> Point:
    """The spec's configuration, overridden by a trial's parameters.

    Raises:
        ValueError: a parameter is unknown, or a value is out of range (``ValidationError``).
    """
    for name in params:
        text = explain_unknown_parameter(name, spec.regularisers)
        if text:
            raise ValueError(f"{name}: {text}")
    changed = {k: v for k, v in params.items() if k in training.KEYS and not _is_set(spec, k, v)}
    arguments = _strip_prefix(MODEL_PREFIX, params)
    own = (
        _with_options(c, _strip_prefix(f"{label}.", params)).named(label)
        for label, c in spec.regularisers.items()
    )
    return Point(
        model={**spec.model, **arguments},
        training=Training.model_validate({**spec.training.model_dump(), **changed}),
        regularisers=(*read_regularisers(params), *own),
    )


def _is_set(spec: TrainingSpec, key: str, value: Value) -> bool:
    """Whether the spec sets this value: a component of this name, which keeps its options."""
    component = getattr(spec.training, key)
    return isinstance(component, Component) and component.name == value


def check_value(spec: TrainingSpec, name: str, value: Value) -> None:
    """Check a known parameter's value by itself.

    Raises:
        ValueError: the value is out of range.
    """
    if name.startswith(MODEL_PREFIX):
        argument = name.removeprefix(MODEL_PREFIX)
        for _, text in find_size_problems(spec.trainable, {argument: thaw(value)}):
            raise ValueError(text)
    elif name in regularisers.BY_KEY:
        regularisers.BY_KEY[name].model_validate({name: value})
    elif name in training.KEYS:
        Training.model_validate({**spec.training.model_dump(exclude_unset=True), name: value})
    else:
        label, _, option = name.partition(".")
        _with_options(spec.regularisers[label], {option: thaw(value)})


def _strip_prefix(prefix: str, params: Mapping[str, Value]) -> dict[str, Any]:
    """The arguments below a prefix, as code gets them."""
    return {k.removeprefix(prefix): thaw(v) for k, v in params.items() if k.startswith(prefix)}


def _with_options(component: OwnRegulariser, options: Mapping[str, Any]) -> OwnRegulariser:
    return type(component).model_validate({**component.model_dump(), **options})


def tunes_training(name: str) -> bool:
    """Whether a parameter of a space changes a training that nothing regularises."""
    is_option = name in training.KEYS and name not in _OF_REGULARISERS
    return is_option or name.startswith(MODEL_PREFIX)


def find_part(spec: TrainingSpec, name: str) -> str | None:
    """The part of a configuration to which a parameter of the space belongs; None if to none."""
    if name in regularisers.BY_KEY:
        return regularisers.BY_KEY[name].part()
    if name in _OF_REGULARISERS:
        return _OF_REGULARISERS[name]
    label = name.partition(".")[0]
    if label in spec.regularisers:
        return label
    return name if name in spec.neutral else None


def list_parts(spec: TrainingSpec, params: Mapping[str, Value]) -> tuple[str, ...]:
    """The parts of a configuration that regularise, early stopping last."""
    built_in = (
        config.part()
        for config in read_regularisers(params)
        if config != type(config).model_validate(config.neutral)
    )
    stopping = () if spec.early_stopping is None else (EARLY_STOPPING,)
    of_model = (n for n, v in spec.neutral.items() if n in params and not is_same(params[n], v))
    return (*built_in, *of_model, *spec.regularisers, *stopping)


def remove_parts(
    params: Mapping[str, Value], parts: Collection[str], neutral: Mapping[str, Value]
) -> dict[str, Value]:
    """A configuration with the keys of some parts at their neutral values.

    ``neutral`` has those of the arguments of the trainable.
    """
    kept = {**params, **{name: value for name, value in neutral.items() if name in parts}}
    for config in regularisers.BUILT_IN:
        if config.part() in parts:
            kept = {k: v for k, v in kept.items() if k not in config.names()}
            kept.update(config.neutral)
    own = tuple(f"{part}." for part in parts)
    return {k: v for k, v in kept.items() if not k.startswith(own)}
