"""The code that a spec names, key by key, for the policies that say what may be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel

from service.spec.optunahub import check_hub
from service.spec.samplers import OptunaHub
from service.spec.space_rules import find_custom_choices
from trainables.config.code_policy import (
    ARGUMENT,
    TRAINABLE,
    CodePolicy,
    Kind,
    describe_function,
    find_paths_in,
)
from trainables.config.imports import EXTERNAL
from trainables.config.registry import Custom
from trainables.config.training import FunctionSpec

if TYPE_CHECKING:
    from service.spec.model import SweepSpec


def check_texts(spec: SweepSpec, policy: CodePolicy) -> None:
    """Check every import path of a spec by its text, those among arguments as well.

    Raises:
        ContractError: the policy does not allow one.
    """
    for _, path, kind in list_named(spec):
        policy.check_text(path, kind)
    for path in spec.import_paths():
        if path != spec.trainable:
            policy.check_text(path)
    if isinstance(spec.search.sampler, OptunaHub):
        check_hub(spec.search.sampler, policy)
    for text in find_paths_in(spec):
        policy.check_text("".join(text.split()), ARGUMENT)


def list_named(spec: SweepSpec) -> Iterator[tuple[str, str, Kind]]:
    """Every object that a spec names: the key, the import path, and what it must be."""
    if spec.trainable != EXTERNAL:
        yield "trainable", spec.trainable, TRAINABLE
    yield from _find_components(spec, "")
    for parameter, value, component in find_custom_choices(spec.space):
        yield f"space.{parameter}", str(value), component.kind


def _find_components(value: object, where: str) -> Iterator[tuple[str, str, Kind]]:
    """The user's own components, losses and metrics in a model, with their keys."""
    if isinstance(value, Custom):
        yield where, value.name, value.kind
    if isinstance(value, FunctionSpec):
        yield where, value.path, describe_function(value.arguments)
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _find_components(getattr(value, name), f"{where}.{name}".lstrip("."))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _find_components(item, f"{where}.{key}")
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _find_components(item, where)
